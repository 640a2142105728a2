//! An attacker who owns the data folder, as whoever takes over the server does, and plants things in it before root runs kumadb:
//! what is root's beside it stays as it is, to the byte, the owner and the mode, and is shown to nobody.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use crate::support::attacker::{Attack, OWNER, SECRET, look};
use crate::support::lab::Lab;
use crate::support::need;

#[test]
fn a_link_in_place_of_a_file_of_the_server_is_not_followed() {
    let Some(attack) = Attack::new() else { return };
    attack.lab.ok("monitor add group --name First");
    let store = attack.lab.store();
    let lines = ["backup create", "monitor add group --name A", "doctor --fix --yes"];
    let planted =
        [("shadow", "db-config.json"), ("kuma.db-wal", "kuma.db-wal"), ("upload", "upload"), ("kuma.db", "kuma.db")];
    for (target, name) in planted {
        let path = attack.data().join(name);
        let aside = attack.data().join("aside");
        let _ = fs::rename(&path, &aside);
        attack.link(target, name);
        for line in lines {
            attack.run(line);
            attack.is_unharmed(&format!("{name}: {line}"));
        }
        if name == "kuma.db" {
            let refused = attack.run("monitor list");
            assert!(refused.err.contains("kuma.db` is a symbolic link, which kumadb does not follow"), "{refused:?}");
            for line in ["restore latest --yes", "undo --yes", "salvage --yes"] {
                let ran = attack.run(line);
                assert_ne!(ran.exit, 0, "{line}: {ran:?}");
                attack.is_unharmed(line);
            }
        }
        fs::remove_file(&path).unwrap();
        let _ = fs::rename(&aside, &path);
    }
    assert!(store.exists());
}

#[test]
fn a_planted_journal_writes_nothing_that_its_owner_could_not_write_himself() {
    let Some(attack) = Attack::new() else { return };
    // Over another file, through the database.
    attack.link("shadow", "kuma.db");
    attack.plant_rollback(b"* * * * * root evil\n", |_| {});
    let refused = attack.run("recover");
    assert_eq!(refused.exit, 9, "{refused:?}");
    assert!(refused.err.contains("is a symbolic link"), "{refused:?}");
    attack.is_unharmed("a link in place of the database");
    // Out of another file, through the copy.
    let database = attack.data().join("kuma.db");
    fs::remove_file(&database).unwrap();
    fs::write(&database, "").unwrap();
    attack.plant_rollback(SECRET.as_bytes(), |_| {});
    attack.link("shadow", ".kumadb/held/kuma.db");
    attack.run("recover");
    attack.is_unharmed("a link in place of the copy");
    // With nothing in the way, his own folder is all that it reaches.
    fs::remove_file(attack.data().join(".kumadb/held/kuma.db")).unwrap();
    attack.plant_rollback(b"his own", |_| {});
    assert_eq!(attack.run("recover").exit, 0);
    assert_eq!(fs::read(&database).unwrap(), b"his own");
    assert_eq!(fs::metadata(&database).unwrap().uid(), OWNER);
    attack.is_unharmed("a copy of his own");
}

#[test]
fn files_that_never_end_are_not_read() {
    let Some(attack) = Attack::new() else { return };
    attack.lab.ok("monitor add group --name First");
    attack.give();
    let plant = |what: &str, path: &Path| match what {
        "a file of 4 TiB" => fs::File::create(path).unwrap().set_len(1 << 42).unwrap(),
        "a pipe" => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
        _ => symlink("/dev/zero", path).unwrap(),
    };
    let read = [
        ("db-config.json", "status"),
        (".kumadb/journal.json", "recover"),
        (".kumadb/last-undo.json", "undo --dry-run"),
        (".kumadb/lock", "monitor add group --name A"),
        ("upload/icon.png", "backup create"),
        ("kuma.db-journal", "monitor list"),
    ];
    for what in ["a file of 4 TiB", "a pipe", "a link to a device"] {
        for (name, line) in read {
            let path = attack.data().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let _ = fs::rename(&path, attack.data().join("aside"));
            plant(what, &path);
            attack.run(line);
            fs::remove_file(&path).unwrap();
            let _ = fs::rename(attack.data().join("aside"), &path);
        }
        attack.is_unharmed(what);
    }
}

/// A rollback journal that names `file` as the journal of a transaction over several databases, to be deleted.
fn super_journal(file: &Path, page: u32) -> Vec<u8> {
    let magic = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    let name = file.to_str().unwrap().as_bytes();
    let mut journal = magic.to_vec();
    // No records, the checksum's start, the pages before, the sector and the page size.
    for number in [0u32, 0, 1, 512, page] {
        journal.extend(number.to_be_bytes());
    }
    journal.resize(512, 0);
    journal.extend((0x4000_0000 / page + 1).to_be_bytes());
    journal.extend(name);
    journal.extend((name.len() as u32).to_be_bytes());
    journal.extend(name.iter().fold(0u32, |sum, byte| sum.wrapping_add(u32::from(*byte))).to_be_bytes());
    journal.extend(magic);
    journal
}

#[test]
fn a_planted_rollback_journal_deletes_no_other_file() {
    let Some(attack) = Attack::new() else { return };
    let database = attack.data().join("kuma.db");
    attack.lab.sql("PRAGMA journal_mode = DELETE");
    let page = u32::from(u16::from_be_bytes(fs::read(&database).unwrap()[16..18].try_into().unwrap()));
    for victim in ["shadow", "kuma.db-wal"] {
        for line in ["monitor list", "monitor add group --name A", "doctor", "backup create"] {
            fs::write(attack.data().join("kuma.db-journal"), super_journal(&attack.victim().join(victim), page))
                .unwrap();
            attack.give();
            attack.run(line);
            attack.is_unharmed(&format!("{victim}: {line}"));
        }
    }
}

#[test]
fn statements_hidden_in_the_schema_of_the_database_do_not_run() {
    let Some(attack) = Attack::new() else { return };
    let evil = attack.lab.root.path().join("evil");
    attack.lab.sql(&format!(
        "PRAGMA writable_schema = ON; CREATE TABLE zz (a); \
         UPDATE sqlite_schema SET sql = 'CREATE TABLE zz (a); ATTACH ''{}'' AS e; CREATE TABLE e.x (y)' WHERE name = 'zz'",
        evil.display()
    ));
    attack.give();
    for line in ["backup create --config-only", "backup create", "monitor add group --name A --dry-run"] {
        attack.run(line);
        assert!(!evil.exists(), "{line}");
    }
}

#[test]
fn no_setuid_bit_is_copied() {
    let Some(attack) = Attack::new() else { return };
    let database = attack.data().join("kuma.db");
    attack.lab.ok("backup create");
    // A raw restore replaces the file.
    fs::write(&database, "not a database").unwrap();
    attack.give();
    fs::set_permissions(&database, fs::Permissions::from_mode(0o6755)).unwrap();
    attack.run("restore latest --yes");
    assert_eq!(fs::metadata(&database).unwrap().mode() & 0o7000, 0);
}

#[test]
fn a_socket_that_only_the_configuration_of_the_server_names_is_in_its_folder() {
    let Some(attack) = Attack::new() else { return };
    let Some(other) = Lab::mariadb("2.5.3") else { return };
    let socket = PathBuf::from(other.target.split_once("socket=").unwrap().1);
    let configure = |socket: &Path| {
        let config =
            json!({"type": "mariadb", "username": "root", "password": "", "dbName": "kuma", "socketPath": socket});
        fs::write(attack.data().join("db-config.json"), config.to_string()).unwrap();
        fs::remove_file(attack.data().join("kuma.db")).unwrap_or_default();
    };
    configure(&socket);
    let refused = attack.run("monitor list");
    assert_eq!(refused.exit, 9, "{refused:?}");
    assert!(
        refused.err.contains("is not in the data folder") && refused.err.contains("kumadb -t 'mysql://"),
        "{refused:?}"
    );
    let link = attack.data().join("sock");
    symlink(&socket, &link).unwrap();
    configure(&link);
    let refused = attack.run("monitor list");
    assert!(refused.exit != 0 && refused.err.contains("symbolic link"), "{refused:?}");
    fs::remove_file(&link).unwrap();
    // An embedded one is at a known place.
    fs::create_dir_all(attack.data().join("run")).unwrap();
    symlink(&socket, attack.data().join("run/mariadb.sock")).unwrap();
    let refused = kumadb::files::open_socket(&attack.data(), &attack.data().join("run/mariadb.sock")).unwrap_err();
    assert!(refused.to_string().contains("symbolic link"), "{refused}");
}

/// Packs `members` as an archive with these sizes in its manifest, and returns its path.
fn forge(lab: &Lab, engine: &str, sizes: &[(&str, u64)], members: &[(&str, Vec<u8>)]) -> PathBuf {
    let folder = lab.root.path().join("forged");
    fs::create_dir_all(&folder).unwrap();
    let listed: Vec<Json> = sizes
        .iter()
        .map(|(name, size)| {
            let content = members.iter().find(|(other, _)| other == name).map_or(&[][..], |(_, content)| content);
            json!({"name": name, "size": size, "blake3": blake3::hash(content).to_hex().to_string()})
        })
        .collect();
    let manifest = json!({
        "format": 1, "id": "0badc0de", "created": "2026-01-01T00:00:00Z", "made_by": "kumadb", "reason": "x",
        "instance": "data", "origin": "/x", "engine": engine, "raw": false, "undo": false, "release": "2.5.3",
        "migrations": [], "counts": {"t": 1}, "without": [], "pages": null, "faults": [], "verified": [],
        "members": listed,
    });
    let file = folder.join("forged.kuma.tar.zst");
    let mut tar = tar::Builder::new(zstd::Encoder::new(fs::File::create(&file).unwrap(), 1).unwrap());
    let mut append = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        tar.append_data(&mut header, name, content).unwrap();
    };
    append("manifest.json", manifest.to_string().as_bytes());
    members.iter().for_each(|(name, content)| append(name, content));
    tar.into_inner().unwrap().finish().unwrap();
    file
}

#[test]
fn an_archive_that_unpacks_to_more_than_it_says_is_refused_before_it_is_written() {
    let lab = Lab::sqlite("2.5.3");
    let large = vec![0; 64 << 20];
    let file = forge(&lab, "sqlite", &[("kuma.db", 16)], &[("kuma.db", large.clone())]);
    let refused = lab.fails(7, &format!("backup verify {} --restore-test", file.display()));
    assert!(refused.out.contains("`kuma.db` differs from the manifest"), "{refused:?}");
    // A manifest that is larger than any.
    let file = lab.root.path().join("forged/huge.kuma.tar.zst");
    let mut zstd = zstd::Encoder::new(fs::File::create(&file).unwrap(), 1).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_path("manifest.json").unwrap();
    header.set_size(3 << 30);
    header.set_mode(0o600);
    header.set_cksum();
    std::io::Write::write_all(&mut zstd, header.as_bytes()).unwrap();
    (0..2).for_each(|_| std::io::Write::write_all(&mut zstd, &large).unwrap());
    zstd.finish().unwrap();
    let refused = lab.run(&format!("backup verify {}", file.display()));
    assert!(
        refused.exit != 0 && format!("{}{}", refused.out, refused.err).contains("its manifest is too large"),
        "{refused:?}"
    );
}

#[test]
fn a_dump_in_a_restore_test_reads_and_writes_no_file_of_this_machine() {
    let Some(lab) = Lab::mariadb("2.5.3") else { return };
    let evil = lab.root.path().join("evil");
    let evil = evil.display();
    let values = format!("(LOAD_FILE('{evil}'))");
    let dump = |rows: &str| {
        format!(
            "-- kumadb dump 1 of `kuma`, MariaDB 10.11\nDROP TABLE IF EXISTS `t`;\nCREATE TABLE `t` ( `a` text ) ENGINE=InnoDB;\n\
             {rows}-- `t`: 1 rows\nCOMMIT;\n-- kumadb dump complete: 1 tables, 1 rows\n"
        )
    };
    for rows in [
        format!("INSERT INTO `t` (`a`) VALUES {values};\n"),
        format!("INSERT INTO `t` (`a`) VALUES (1);\nSELECT 'evil' INTO OUTFILE '{evil}';\n"),
        format!("SET GLOBAL general_log_file = '{evil}';\nINSERT INTO `t` (`a`) VALUES (1);\n"),
    ] {
        let dump = dump(&rows).into_bytes();
        let file = forge(&lab, "mariadb", &[("dump.sql", dump.len() as u64)], &[("dump.sql", dump)]);
        let refused = lab.run(&format!("backup verify {} --restore-test", file.display()));
        assert_eq!(refused.exit, 7, "{rows}: {refused:?}");
        assert!(refused.out.contains("the dump contains"), "{rows}: {refused:?}");
        assert!(!lab.root.path().join("evil").exists());
    }
}

#[test]
fn an_include_stays_in_the_folder_of_its_fixture() {
    let lab = Lab::sqlite("2.5.3");
    let path = |name: &str| lab.root.path().join(name);
    fs::create_dir_all(path("given/parts")).unwrap();
    fs::write(path("secret"), "a: {b: hidden-words").unwrap();
    fs::write(path("given/parts/list.yaml"), "[{type: group, name: Part}]").unwrap();
    fs::write(path("given/good.yaml"), "monitors: !include parts/list.yaml\n").unwrap();
    assert!(lab.ok("plan given/good.yaml").contains("Part"));
    symlink(path("secret"), path("given/link")).unwrap();
    for include in ["../secret", "link", path("secret").to_str().unwrap()] {
        fs::write(path("given/evil.yaml"), format!("monitors: !include {include}\n")).unwrap();
        let refused = lab.fails(2, "plan given/evil.yaml");
        assert!(refused.err.contains("is not in the folder of the fixture"), "{}", refused.err);
        assert!(!refused.err.contains("hidden-words"), "{}", refused.err);
    }
}

#[test]
fn what_others_wrote_does_not_control_the_terminal() {
    let lab = Lab::sqlite("2.5.3");
    lab.sql("INSERT INTO monitor (name, type, active, user_id, interval) VALUES ('a' || char(27) || ']0;evil' || char(7) || char(8238), 'group', 1, 1, 60)");
    let ran = lab.run("monitor delete --name nothing-like-it --yes");
    assert!(!ran.err.contains('\u{1b}'), "{ran:?}");
    let shown = lab.run("monitor add group --name X --parent nobody");
    assert!(!shown.err.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
    // Through a terminal of its own, and a pipe.
    if need::program(&["script"]).is_some() {
        let line = format!("stty cols 200; {} -t {} monitor list", env!("CARGO_BIN_EXE_kumadb"), lab.target);
        let output = lab.program("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("evil") && !text.contains("\u{1b}]0;") && !text.contains('\u{202e}'), "{text:?}");
    }
    assert!(!lab.ok("monitor list").contains('\u{202e}'));
    assert!(lab.json("monitor list").to_string().contains('\u{202e}'), "a program gets the name itself");
}

#[test]
fn the_doctor_gives_nothing_outside_of_the_folder_to_the_user_of_the_server() {
    let Some(attack) = Attack::new() else { return };
    let (real, link) = (attack.data().join("mariadb"), attack.data().join("link"));
    fs::remove_file(attack.data().join("kuma.db")).unwrap();
    fs::write(attack.data().join("db-config.json"), r#"{"type": "embedded-mariadb"}"#).unwrap();
    // What root has left in it has to be given to the server.
    fs::create_dir_all(real.join("mysql")).unwrap();
    for name in ["ibdata1", "shadow", "mysql/user.frm"] {
        fs::write(real.join(name), "").unwrap();
        fs::set_permissions(real.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    attack.link("", "link");
    std::os::unix::fs::chown(attack.data(), Some(OWNER), Some(OWNER)).unwrap();
    std::os::unix::fs::chown(&real, Some(OWNER), Some(OWNER)).unwrap();
    fs::rename(&real, attack.data().join("aside")).unwrap();
    fs::rename(&link, &real).unwrap();
    attack.run("doctor --fix --yes");
    attack.is_unharmed("a link");
    fs::rename(&real, &link).unwrap();
    fs::rename(attack.data().join("aside"), &real).unwrap();
}

#[test]
fn a_database_with_another_name_is_not_written() {
    let Some(attack) = Attack::new() else { return };
    let database = attack.data().join("kuma.db");
    fs::remove_file(&database).unwrap();
    fs::hard_link(attack.victim().join("kuma.db"), &database).unwrap();
    for line in ["monitor add group --name A", "doctor --fix --yes", "vacuum --yes"] {
        let ran = attack.run(line);
        assert_eq!(
            fs::read(attack.victim().join("kuma.db")).unwrap(),
            attack.before[&attack.victim().join("kuma.db")].content
        );
        if line.starts_with("monitor") {
            assert_eq!(ran.exit, 9, "{ran:?}");
            assert!(ran.err.contains("kuma.db` has another hard link"), "{ran:?}");
        }
    }
}

#[test]
fn a_planted_copy_replaces_no_snapshot_and_is_encrypted_to_no_one_that_it_names() {
    let Some(attack) = Attack::new() else { return };
    attack.lab.ok("backup create");
    let listed = attack.lab.json("backup list")["snapshots"][0]["manifest"].clone();
    let stored = look(&attack.lab.store());
    let foreign = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let (id, created) = (listed["id"].as_str().unwrap(), listed["created"].as_str().unwrap());
    for (id, created, instance, recipients) in
        [(id, created, "data", json!([])), ("0badc0de", "2099-01-01T00:00:00Z", "other", json!([foreign]))]
    {
        attack.plant_rollback(b"planted", |manifest| {
            (manifest["id"], manifest["created"]) = (id.into(), created.into());
            (manifest["instance"], manifest["raw"], manifest["undo"]) = (instance.into(), false.into(), false.into());
        });
        let path = attack.data().join(".kumadb/journal.json");
        let mut journal: Json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        (journal["phase"], journal["recipients"]) = ("seen".into(), recipients);
        fs::write(&path, journal.to_string()).unwrap();
        let ran = attack.run("recover");
        assert_eq!(ran.exit, 3, "{ran:?}");
        for (path, found) in &stored {
            let now = look(&attack.lab.store());
            assert!(!path.is_file() || now[path] == *found, "{}", path.display());
        }
        assert!(!attack.lab.store().join("other").exists(), "{ran:?}");
        let archives =
            look(&attack.lab.store()).into_keys().filter(|path| path.to_string_lossy().contains(".kuma.tar.zst"));
        assert_eq!(archives.filter(|path| !path.to_string_lossy().ends_with(".json")).count(), 1, "{ran:?}");
    }
}

#[test]
fn a_link_in_place_of_a_scratch_folder_leads_to_nothing_that_is_removed() {
    let Some(attack) = Attack::new() else { return };
    // What a killed run has noted stays, and the rest of its folder goes.
    fs::write(attack.victim().join("putting.json"), r#"[{"store": "s3://unknown", "name": "x", "upload": null}]"#)
        .unwrap();
    fs::write(attack.victim().join("lock"), "").unwrap();
    let before = look(&attack.victim());
    fs::create_dir_all(attack.lab.store()).unwrap();
    assert!(Command::new("chown").args(["1000:1000"]).arg(attack.lab.store()).status().unwrap().success());
    symlink(attack.victim(), attack.lab.store().join(".kumadb-AbCdEf")).unwrap();
    for line in ["backup create", "backup list", "backup prune --keep-last 1 --yes", "monitor add group --name A"] {
        attack.run(line);
        assert_eq!(look(&attack.victim()), before, "{line}");
    }
}

#[test]
fn what_users_have_in_their_homes_does_not_hold_up_a_search() {
    let Some(attack) = Attack::new() else { return };
    let folder = attack.data().join("mariadb");
    fs::remove_file(attack.data().join("kuma.db")).unwrap();
    fs::write(attack.data().join("db-config.json"), r#"{"type": "embedded-mariadb"}"#).unwrap();
    fs::create_dir_all(folder.join("mysql")).unwrap();
    fs::write(folder.join("ibdata1"), "").unwrap();
    let version = folder.join("mariadb_upgrade_info");
    let mkfifo = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    mkfifo(&version);
    attack.give();
    attack.run("find");
    fs::remove_file(&version).unwrap();
    attack.link("shadow", "mariadb/mariadb_upgrade_info");
    attack.run("find");
    attack.is_unharmed("a link in place of the version of MariaDB");
}

#[test]
fn what_lies_beside_a_snapshot_in_the_data_folder_is_not_followed() {
    let Some(attack) = Attack::new() else { return };
    let data = attack.data();
    let (archive, manifest) = (data.join("a.kuma.tar.zst"), data.join("a.kuma.tar.zst.json"));
    // Only where the database cannot be read are other copies looked for.
    fs::write(data.join("kuma.db"), "not a database").unwrap();
    fs::write(&archive, "not an archive").unwrap();
    let restore = format!("restore {} --yes", archive.display());
    for what in ["a link", "a pipe", "a file of 4 TiB"] {
        match what {
            "a link" => attack.link("config.json", "a.kuma.tar.zst.json"),
            "a pipe" => assert!(Command::new("mkfifo").arg(&manifest).status().unwrap().success()),
            _ => fs::File::create(&manifest).unwrap().set_len(1 << 42).unwrap(),
        }
        attack.give();
        for line in ["status", "doctor", "doctor --fix --yes", "find", &restore] {
            // The restore names a file of the user's own, whose manifest may be a link.
            if line != restore || what != "a link" {
                attack.run(line);
            }
            attack.is_unharmed(&format!("{what}: {line}"));
        }
        fs::remove_file(&manifest).unwrap();
    }
    let shown = attack.run("doctor").out;
    assert!(shown.contains("`a.kuma.tar.zst`") && !shown.contains("/proc/"), "{shown}");
}
