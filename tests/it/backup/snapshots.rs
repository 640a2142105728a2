//! Snapshots as a person meets them: taken, listed, verified, put back, opened without us, and never believed when a byte
//! of them is wrong.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kumadb::files;
use serde_json::{Value as Json, json};

use crate::cli::monitor::furnish;
use crate::support::lab::{Lab, instance_at};
use crate::support::mariadbd::Mariadbd;
use crate::support::rounds;

/// The archive that `backup create` makes now, and its id.
fn create(lab: &Lab) -> (PathBuf, String) {
    let made = lab.json("backup create");
    (made["path"].as_str().unwrap().into(), made["manifest"]["id"].as_str().unwrap().to_owned())
}

#[test]
fn a_snapshot_brings_everything_back() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let before = lab.rows();
        let (path, id) = create(&lab);
        for desired in ["latest", &id, &id[..4], path.to_str().unwrap()] {
            lab.ok("monitor delete --name '*' --yes");
            lab.sql("DELETE FROM notification");
            assert!(lab.rows() != before);
            let given = lab.ok(&format!("restore {desired} --yes"));
            assert!(given.contains("to its state at"), "{given}");
            assert!(lab.rows() == before, "{}: restore {desired}", lab.engine());
        }
        // Restoring keeps the present: the newest undo snapshot is of the emptied database.
        lab.ok(&format!("restore {} --yes", lab.newest_undo()));
        assert_eq!(lab.ok("monitor list"), "no monitors yet\n");
        lab.ok(&format!("restore {} --yes", lab.newest_undo()));
        assert!(lab.rows() == before, "{}: the restore is undone by a restore", lab.engine());
    }
}

#[test]
fn a_server_that_migrates_is_waited_for_or_left_alone() {
    for lab in Lab::both("2.5.3") {
        lab.sql("UPDATE knex_migrations_lock SET is_locked = 1");
        // Cut off, and nobody is at it any more: what there is can be kept.
        create(&lab);
        let mut server = instance_at(&lab.target, lab.root.path(), lab.root.path().join("state"))
            .connect()
            .unwrap()
            .reader()
            .unwrap();
        server.query("SELECT 1", &[]).unwrap();
        let refused = lab.fails(9, "backup create").err;
        assert!(refused.contains("is migrating") && refused.contains("`--wait 10m`"), "{refused}");
        let given_up = lab.fails(9, "backup create --wait 2s").err;
        assert!(given_up.contains("waiting for the server to finish migrating"), "{given_up}");
        assert!(given_up.contains("waited for 2 s"), "{given_up}");
        let config = lab.root.path().join("kumadb.toml");
        let text = format!(
            "[stores.s]\naddress = '{}'\n[instances.i]\ntarget = '{}'\n[jobs.j]\ncron = '@daily'\nwait = '60s'\n\
             instances = ['i']\nstores = ['s']\n",
            lab.store().display(),
            lab.target
        );
        fs::write(&config, text).unwrap();
        let job = format!("backup schedule --once j --config {}", config.display());
        std::thread::scope(|scope| {
            let waiting = [scope.spawn(|| lab.run(&job)), scope.spawn(|| lab.run("backup create --wait 1m"))];
            std::thread::sleep(Duration::from_secs(5));
            lab.sql("UPDATE knex_migrations_lock SET is_locked = 0");
            for ran in waiting.map(|run| run.join().unwrap()) {
                assert_eq!(ran.exit, 0, "{}", ran.err);
                assert!(ran.err.contains("waiting for the server to finish migrating"), "{}", ran.err);
            }
        });
        assert_eq!(lab.json("backup list")["snapshots"].as_array().unwrap().len(), 3);
    }
}

#[test]
fn a_snapshot_says_everything_of_itself() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let (path, id) = create(&lab);
        let shown = lab.ok(&format!("backup show {id}"));
        let hash = files::hash(&path).unwrap().0;
        for words in [
            &id,
            path.to_str().unwrap(),
            &hash,
            "everything",
            "backup create",
            "foreign keys",
            "none; to run one: kumadb",
        ] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        assert!(!shown.contains("Network/Router"), "{shown}");
        let restore_tested = lab.ok(&format!("backup verify --restore-test {id}"));
        assert!(restore_tested.contains("restore test passed"), "{restore_tested}");
        let json = lab.json(&format!("backup show {} --monitors", &id[..4]));
        assert_eq!(json["manifest"]["counts"]["monitor"], 4, "{json:#}");
        assert_eq!(json["monitors"], json!(["Cron", "Network", "Network/Router", "Network/Switch"]));
        let restore_test = &json["restore_tests"][0];
        let rows: u64 =
            json["manifest"]["counts"].as_object().unwrap().values().map(|rows| rows.as_u64().unwrap()).sum();
        assert_eq!((&restore_test["rows"], &restore_test["error"]), (&json!(rows), &Json::Null), "{json:#}");
        let shown = lab.ok("backup show latest --monitors");
        assert!(shown.contains("passed in") && shown.contains("4 monitors\nCron\n"), "{shown}");
        // One that fails is noted too, and all goes with the snapshot.
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        let snapshot = kumadb::backup::Store::read(&path).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        assert!(kumadb::backup::RestoreTest::new(scratch.path()).restore(&snapshot).is_err());
        fs::write(&path, &whole).unwrap();
        let restore_tests = lab.json(&format!("backup show {id}"))["restore_tests"].clone();
        assert!(restore_tests[1]["error"].as_str().unwrap().contains("verification failed"), "{restore_tests:#}");
        lab.ok("monitor add group --name Later");
        lab.ok("backup create");
        lab.ok("backup prune --keep-last 1 --yes");
        let names = fs::read_dir(path.parent().unwrap()).unwrap().flatten().map(|entry| entry.file_name());
        let left = { names }.filter(|name| name.to_string_lossy().contains(&id)).count();
        assert_eq!(left, 0, "the archive goes with its manifest and its drills");
        lab.fails(8, &format!("backup show {id}"));
    }
}

#[test]
fn every_write_leaves_a_snapshot_of_how_it_was() {
    for lab in Lab::both("2.5.3") {
        lab.ok("monitor add group --name A");
        let listed = lab.json("backup list");
        assert_eq!((&listed["snapshots"], &listed["undo_snapshots"]), (&json!([]), &json!(1)), "{listed:#}");
        let listed = lab.json("backup list --undo");
        let snapshots = listed["snapshots"].as_array().unwrap();
        assert_eq!(snapshots.len(), 1);
        assert_eq!((&snapshots[0]["class"], &snapshots[0]["manifest"]["undo"]), (&json!("undo"), &json!(true)));
        assert_eq!(snapshots[0]["manifest"]["reason"], "monitor add");
        assert_eq!(snapshots[0]["manifest"]["counts"]["monitor"], 0);
        lab.ok("restore latest --yes");
        assert_eq!(lab.ok("monitor list"), "no monitors yet\n");
        let verified = lab.json("backup verify");
        assert!(verified["snapshots"].as_array().unwrap().iter().all(|one| one["ok"] == true), "{verified:#}");
        assert_eq!(lab.json("backup list --instance nobody")["snapshots"].as_array().unwrap().len(), 0);
    }
}

/// What may happen to a file, at a position in it.
fn damage(whole: &[u8], how: &str, at: usize) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    match how {
        "flipped" => bytes[at] ^= 0xff,
        "one bit" => bytes[at] ^= 1 << (at % 8),
        "missing" => drop(bytes.remove(at)),
        "added" => bytes.insert(at, 0),
        "swapped" => bytes.swap(at, at + 1),
        "cut" => bytes.truncate(at),
        _ => unreachable!(),
    }
    bytes
}

#[test]
fn a_snapshot_with_one_wrong_byte_is_refused() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let (path, id) = create(&lab);
        let whole = fs::read(&path).unwrap();
        let before = lab.content();
        let mut tried = 0;
        let mut try_it = |how: &str, at: usize, binary: bool| {
            let bytes = damage(&whole, how, at);
            if bytes == whole {
                return;
            }
            tried += 1;
            fs::write(&path, &bytes).unwrap();
            let snapshot = kumadb::backup::Store::read(&path).unwrap();
            let refused = snapshot.verify();
            assert!(refused.is_err(), "{}: a byte {how} at {at} of {} went unseen", lab.engine(), whole.len());
            if binary {
                let verified = lab.fails(7, &format!("backup verify {id}"));
                assert!(verified.out.contains("FAILED"), "{}", verified.out);
                let refused = lab.fails(7, &format!("restore {id} --yes"));
                assert!(refused.err.contains("snapshot verification failed"), "{}", refused.err);
                assert!(lab.content() == before, "{how} at {at}: the refused restore changed something");
            }
        };
        // The first bytes are the header of the frame, the last ones its checksum.
        let edges = (0..24).chain(whole.len() - 12..whole.len() - 1);
        for at in edges {
            for how in ["flipped", "one bit", "missing", "added", "swapped"] {
                try_it(how, at, false);
            }
        }
        for step in rounds::draw(60, 12) {
            let at = step * (whole.len() - 2) / 59;
            for how in ["flipped", "one bit", "missing", "added", "swapped", "cut"] {
                try_it(how, at, step / 5 == 5);
            }
        }
        println!("{}: {tried} damaged archives of {} bytes were refused", lab.engine(), whole.len());
        fs::write(&path, &whole).unwrap();
        lab.ok(&format!("backup verify {id}"));
        // Wrong manifests beside it are no better.
        let beside = PathBuf::from(format!("{}.json", path.display()));
        let manifest = fs::read_to_string(&beside).unwrap();
        fs::write(&beside, manifest.replace("\"monitor\": 4", "\"monitor\": 3")).unwrap();
        lab.fails(7, &format!("backup verify {id}"));
        lab.fails(7, &format!("restore {id} --yes"));
        // A lost one is not missed.
        fs::remove_file(&beside).unwrap();
        lab.ok(&format!("backup verify {id}"));
        lab.ok(&format!("restore {id} --yes"));
    }
}

#[test]
fn one_bad_snapshot_hides_no_other() {
    let lab = Lab::sqlite("2.5.3");
    let (bad, _) = create(&lab);
    let (_, good) = create(&lab);
    fs::write(&bad, "").unwrap();
    let _ = fs::remove_file(format!("{}.json", bad.display()));
    let listed = lab.run("backup list");
    assert!(listed.out.contains(&good), "{}", listed.out);
    let verified = lab.fails(7, "backup verify");
    assert!(verified.out.contains(&format!("{good}  ok")) && verified.out.contains("FAILED"), "{}", verified.out);
    lab.ok("restore latest --yes");
}

#[test]
fn a_snapshot_opens_without_us() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let (path, _) = create(&lab);
        let folder = lab.root.path().join("opened");
        fs::create_dir(&folder).unwrap();
        let run = |program: &str, arguments: &[&str]| {
            let done = Command::new(program).args(arguments).current_dir(&folder).output().unwrap();
            assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
            String::from_utf8(done.stdout).unwrap()
        };
        run("tar", &["--zstd", "-xf", path.to_str().unwrap()]);
        run("sh", &["-c", &format!("zstd -dc '{}' | tar -t | grep -x manifest.json", path.display())]);
        let count = "SELECT count(*) FROM monitor";
        let found = match lab.engine() {
            "SQLite" => {
                assert_eq!(run("sqlite3", &["kuma.db", "PRAGMA integrity_check"]).trim(), "ok");
                run("sqlite3", &["kuma.db", count])
            }
            _ => {
                let Some(elsewhere) = Mariadbd::start() else { return };
                elsewhere.create_database("kuma", "utf8mb4");
                elsewhere.source("kuma", &folder.join("dump.sql"));
                elsewhere.sql("kuma", count)
            }
        };
        assert_eq!(found.trim(), "4");
    }
}

/// Everything below `folder` with its mode and owner.
fn owned(folder: &Path) -> Vec<(PathBuf, u32, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let about = entry.metadata().unwrap();
        found.push((entry.path(), about.mode() & 0o7777, about.uid()));
        if about.is_dir() {
            found.extend(owned(&entry.path()));
        }
    }
    found.sort();
    found
}

#[test]
fn no_other_user_reads_our_files_and_those_of_the_server_keep_their_owner() {
    let lab = Lab::sqlite("2.5.3");
    let is_root = rustix::process::geteuid().is_root();
    let user = if is_root { 1000 } else { rustix::process::geteuid().as_raw() };
    for name in ["", "kuma.db", "db-config.json", "upload", "screenshots", "docker-tls"] {
        let path = lab.folder().join(name);
        if is_root {
            chown(&path, Some(1000), Some(1000)).unwrap();
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(if path.is_dir() { 0o755 } else { 0o644 })).unwrap();
    }
    // The server keeps its database in WAL mode.
    lab.sql("PRAGMA journal_mode = WAL");
    let server = |all: Vec<(PathBuf, u32, u32)>| -> Vec<(PathBuf, u32, u32)> {
        all.into_iter().filter(|(path, ..)| !path.starts_with(lab.folder().join(".kumadb"))).collect()
    };
    let before = server(owned(&lab.folder()));
    assert!(before.iter().all(|(_, _, owner)| *owner == user));
    for line in [
        "monitor list",
        "monitor add group --name A",
        "backup create",
        "monitor edit A -s interval=30",
        "restore latest --yes",
        "monitor delete A --yes --dry-run",
    ] {
        lab.ok(line);
        assert_eq!(server(owned(&lab.folder())), before, "{line}");
    }
    for (path, mode, _) in owned(&lab.store()).into_iter().chain(owned(&lab.folder().join(".kumadb"))) {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{}", path.display());
    }
}

#[test]
fn a_snapshot_goes_back_only_where_it_fits() {
    let lab = Lab::sqlite("2.5.3");
    let (path, id) = create(&lab);
    let older = Lab::sqlite("2.0.2");
    let refused = older.fails(9, &format!("restore {} --yes", path.display()));
    let message = format!(
        "error: snapshot `{id}` is of release 2.5.1 to 2.5.3, but the database is of release 2.0.0 to 2.0.2\n  hint: if the \
         server's image is of that release or newer, add `--other-release`; otherwise start that image first\n"
    );
    assert_eq!(refused.err, message);
    // One of another instance is put back, with a word about it, whatever the engine.
    for same in [Some(Lab::sqlite("2.5.3")), Lab::mariadb("2.5.3")].into_iter().flatten() {
        let ran = same.run(&format!("restore {} --yes", path.display()));
        assert!(ran.exit == 0 && ran.err.contains("was taken from another instance"), "{}", ran.err);
    }
}

#[test]
fn a_database_that_cannot_be_read_is_kept_and_replaced() {
    for (name, content) in [
        ("empty", Vec::new()),
        ("text", b"<html>".to_vec()),
        ("random", (0..40_960u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
    ] {
        let lab = Lab::sqlite("2.5.3");
        furnish(&lab);
        let (_, id) = create(&lab);
        let before = lab.rows();
        fs::write(lab.folder().join("kuma.db"), &content).unwrap();
        lab.fails(7, "monitor list");
        let refused = lab.run(&format!("restore {id}"));
        assert_eq!(refused.exit, 9, "{name}: {}", refused.err);
        assert_eq!(fs::read(lab.folder().join("kuma.db")).unwrap(), content);
        lab.ok(&format!("restore {id} --yes"));
        assert!(lab.rows() == before, "{name}");
        assert_eq!(fs::metadata(lab.folder().join("kuma.db")).unwrap().mode() & 0o777, 0o600);
    }
}
