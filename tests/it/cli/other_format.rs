//! Files that should be a database and are something else, and exports of odd values.

use std::fs;
use std::process::Command;

use crate::doctor::findings::codes;
use crate::support::lab::Lab;

/// What `status` reports of `bytes` as kuma.db.
fn told(lab: &Lab, bytes: &[u8]) -> String {
    fs::write(lab.folder().join("kuma.db"), bytes).unwrap();
    let said = lab.fails(7, "monitor list").err;
    assert_eq!(codes(lab), ["K003"], "{said}");
    said
}

#[test]
fn a_file_of_another_format_is_named_with_the_command_that_helps() {
    let lab = Lab::sqlite("2.5.3");
    lab.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    let file = lab.folder().join("kuma.db");
    let whole = fs::read(&file).unwrap();
    let zstd = zstd::encode_all(whole.as_slice(), 1).unwrap();
    for (bytes, what, command) in [
        (b"\x1f\x8b\x08\0\0\0\0\0".as_slice(), "a gzip file", "gunzip -c"),
        (zstd.as_slice(), "a zstd file", "zstd -d"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "a pointer of Git LFS", "git lfs pull"),
        (b"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n", "a SQL script", "sqlite3 kuma.db.new <"),
        (b"-- MariaDB dump 10.19\n", "a dump of MariaDB", "mariadb NEW_EMPTY_DATABASE <"),
        (b"{\"version\": \"1.23.17\"}", "a JSON file", "kumadb apply"),
        (b"age-encryption.org/v1\n-> X25519", "encrypted with age", "age -d"),
    ] {
        let said = told(&lab, bytes);
        assert!(said.contains(&format!("is not a SQLite database but {what}")), "{said}");
        assert!(said.contains(&format!("try: {command}")), "{said}");
        // Nothing can be salvaged from it.
        lab.ok("doctor --fix --yes");
        assert_eq!(fs::read(&file).unwrap(), bytes);
    }

    // Pages are left behind a first page of zeros or noise: damaged, and not something else.
    for first in [vec![0; 4096], (0..4096u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()] {
        let said = told(&lab, &[first, whole[4096..].to_vec()].concat());
        assert!(said.contains("kuma.db` is damaged: its first page"), "{said}");
    }

    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let said = lab.fails(7, "monitor list").err;
    assert!(said.contains("a folder: Docker creates one") && said.contains("try: rmdir "), "{said}");
}

#[test]
fn a_tar_archive_given_to_restore_is_named() {
    let lab = Lab::sqlite("2.5.3");
    let archive = lab.root.path().join("data.tar");
    let made = Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(lab.root.path()).arg("data").status();
    assert!(made.unwrap().success());
    let said = lab.fails(7, &format!("restore {} --yes", archive.display())).err;
    assert!(
        said.contains("a tar archive with `data/kuma.db`") && said.contains("try: mkdir kuma.unpacked && tar -xf "),
        "{said}"
    );
}

#[test]
fn an_export_of_odd_values_is_accepted_and_changes_nothing() {
    for lab in Lab::both("2.5.3") {
        lab.ok("monitor add http --name A --url https://a.example");
        lab.ok("monitor add http --name B --url https://b.example");
        lab.ok("monitor add push --name C");
        lab.ok("monitor add push --name D");
        lab.sql("UPDATE monitor SET ip_family = '0', retry_interval = 0 WHERE name = 'A'");
        lab.sql("UPDATE monitor SET ip_family = '1' WHERE name = 'B'");
        lab.sql("UPDATE monitor SET push_token = 'with blank' WHERE name = 'C'");
        lab.sql("UPDATE monitor SET push_token = NULL WHERE name = 'D'");
        lab.sql("INSERT INTO `group` (name, public, active) VALUES ('Lost', 1, 1)");
        let file = lab.root.path().join("export.yaml");
        for secrets in ["", " --secrets"] {
            let ran = lab.run(&format!("export{secrets} -o {}", file.display()));
            assert_eq!(ran.exit, 3, "{}", ran.err);
            for words in
                ["group `Lost` belongs to no status page: left out", "`ip_family` is `0`", "`ip_family` is `1`"]
            {
                assert!(ran.err.contains(words), "{words}: {}", ran.err);
            }
            lab.ok(&format!("plan {} --detailed-exitcode", file.display()));
        }
        // A value that is changed is still checked.
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("retry_interval: 0", "retry_interval: -1")).unwrap();
        lab.fails(2, &format!("plan {}", file.display()));
    }
}
