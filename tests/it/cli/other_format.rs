//! Files that should be a database and are something else, and exports of odd values.

use std::fs;
use std::process::Command;

use crate::doctor::findings::codes;
use crate::support::lab::Lab;

/// What `status` reports of `bytes` as kuma.db.
fn reported(lab: &Lab, bytes: &[u8]) -> String {
    fs::write(lab.folder().join("kuma.db"), bytes).unwrap();
    let given = lab.fails(7, "monitor list").err;
    assert_eq!(codes(lab), ["K003"], "{given}");
    given
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
        let given = reported(&lab, bytes);
        assert!(given.contains(&format!("is not a SQLite database but {what}")), "{given}");
        assert!(given.contains(&format!("try: {command}")), "{given}");
        // Nothing can be salvaged from it.
        lab.ok("doctor --fix --yes");
        assert_eq!(fs::read(&file).unwrap(), bytes);
    }

    // Pages are left behind a first page of zeros or noise: damaged, and not something else.
    for first in [vec![0; 4096], (0..4096u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()] {
        let given = reported(&lab, &[first, whole[4096..].to_vec()].concat());
        assert!(given.contains("kuma.db` is damaged: its first page"), "{given}");
    }

    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let given = lab.fails(7, "monitor list").err;
    assert!(given.contains("a folder: Docker creates one") && given.contains("try: rmdir "), "{given}");
}

#[test]
fn a_tar_archive_given_to_restore_is_named() {
    let lab = Lab::sqlite("2.5.3");
    let archive = lab.root.path().join("data.tar");
    let made = Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(lab.root.path()).arg("data").status();
    assert!(made.unwrap().success());
    let given = lab.fails(7, &format!("restore {} --yes", archive.display())).err;
    assert!(
        given.contains("a tar archive with `data/kuma.db`") && given.contains("try: mkdir kuma.unpacked && tar -xf "),
        "{given}"
    );
}

#[test]
fn archives_and_dumps_given_to_apply_are_named() {
    let lab = Lab::sqlite("2.5.3");
    lab.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    let archive = lab.root.path().join("data.tar");
    let made = Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(lab.root.path()).arg("data").status();
    assert!(made.unwrap().success());
    let whole = fs::read(lab.folder().join("kuma.db")).unwrap();
    let before = lab.content();
    for (name, bytes, what, command) in [
        (
            "data.tar",
            fs::read(&archive).unwrap(),
            "a tar archive with `data/kuma.db`",
            "mkdir kuma.unpacked && tar -xf",
        ),
        ("data.tgz", b"\x1f\x8b\x08\0\0\0\0\0".to_vec(), "a gzip file", "gunzip -c"),
        ("b.zst", zstd::encode_all(whole.as_slice(), 1).unwrap(), "a zstd file", "kumadb apply --from snapshot"),
        (
            "kuma.sql",
            b"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n".to_vec(),
            "a SQL script",
            "sqlite3 kuma.db.new <",
        ),
        ("dump.sql", b"/*M!999999\\- enable the sandbox mode */\n".to_vec(), "a dump of MariaDB", "mariadb NEW_EMPTY"),
    ] {
        let file = lab.root.path().join(name);
        fs::write(&file, bytes).unwrap();
        for verb in ["plan", "apply --yes"] {
            let given = lab.fails(2, &format!("{verb} {}", file.display())).err;
            assert!(given.contains(&format!("is not a fixture but {what}")), "{given}");
            assert!(given.contains(&format!("try: {command}")), "{given}");
        }
    }
    assert_eq!(lab.content(), before);
    // A copy of a database is read, whatever its name.
    fs::copy(lab.folder().join("kuma.db"), lab.root.path().join("kuma.db.bak0")).unwrap();
    lab.ok("plan kuma.db.bak0");
}

#[test]
fn other_copies_are_found_beside_a_database_that_cannot_be_read() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok("monitor add http --name Shop --url https://shop.example");
    lab.sql("INSERT INTO heartbeat (id, monitor_id, status, time, msg) VALUES (1, 1, 1, '2026-01-01 00:00:00.5', '200 - OK')");
    lab.sql("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE");
    let folder = lab.folder();
    let file = folder.join("kuma.db");
    lab.ok("backup create");
    let snapshots = lab.json("backup list");
    let id = snapshots["snapshots"][0]["manifest"]["id"].as_str().unwrap();
    // The undo snapshot is beside it, and may be of the same second.
    let mut stored = fs::read_dir(lab.store().join("data")).unwrap().map(|entry| entry.unwrap().path());
    let archive = stored.find(|path| path.to_string_lossy().ends_with(&format!("-{id}.kuma.tar.zst"))).unwrap();
    fs::copy(archive, folder.join("mine.kuma.tar.zst")).unwrap();
    fs::copy(&file, folder.join("kuma.db.corrupt")).unwrap();
    fs::copy(&file, folder.join("kuma-copy.sqlite")).unwrap();
    fs::write(folder.join("kuma.db.gz"), b"\x1f\x8b\x08\0\0\0\0\0").unwrap();
    fs::write(folder.join("kuma.db.old"), [&fs::read(&file).unwrap()[..4096], &[7; 8192]].concat()).unwrap();
    fs::write(folder.join("notes.txt"), "mine").unwrap();
    // Beside a database that is well they are nobody's business.
    assert_eq!(codes(&lab), [""; 0]);
    let copies = |folder: &std::path::Path| {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != ".kumadb").collect();
        names.sort();
        names
    };
    for content in [Some(vec![0; 40_000]), Some(Vec::new()), None] {
        match &content {
            Some(bytes) => fs::write(&file, bytes).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let before = copies(&folder);
        let found = serde_json::from_str::<serde_json::Value>(&lab.run("doctor --json").out).unwrap();
        let found: Vec<_> = found["findings"].as_array().unwrap().iter().filter(|one| one["code"] == "K060").collect();
        let about = |name: &str| {
            let of = |one: &&&serde_json::Value| one["what"].as_str().unwrap().contains(&format!("`{name}` ("));
            let one = found.iter().find(of).unwrap_or_else(|| panic!("{name}: {found:#?}"));
            (one["what"].as_str().unwrap().to_owned(), one["fix"].as_str().unwrap().to_owned())
        };
        for name in ["kuma.db.corrupt", "kuma-copy.sqlite"] {
            let (what, fix) = about(name);
            for words in ["release 2.5.1 to 2.5.3", "1 user, 1 monitor", "newest heartbeat 2026-01-01 00:00:00 UTC"] {
                assert!(what.contains(words), "{words}: {what}");
            }
            assert!(fix.contains("restore "), "{fix}");
            let status = lab.fails(7, "status").err;
            assert!(status.contains(&what["another copy of the database is in the data folder: ".len()..]), "{status}");
        }
        assert!(about("mine.kuma.tar.zst").0.contains(&format!("snapshot `{id}`")));
        assert!(about("kuma.db.gz").1.contains("gunzip -c"));
        assert!(about("kuma.db.old").0.contains("cannot be read"));
        assert_eq!(found.len(), 5, "{found:#?}");
        assert_eq!(copies(&folder), before);
    }
    // The commands do what they say.
    fs::copy(folder.join("kuma.db.corrupt"), &file).unwrap();
    assert_eq!(codes(&lab), [""; 0]);
    for (copy, is_there) in [("kuma.db.corrupt", true), ("kuma.db.corrupt", false), ("mine.kuma.tar.zst", true)] {
        fs::write(&file, vec![0; 40_000]).unwrap();
        if !is_there {
            fs::remove_file(&file).unwrap();
        }
        lab.ok(&format!("restore {} --yes", folder.join(copy).display()));
        assert!(lab.ok("monitor list").contains("Shop"));
    }
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
