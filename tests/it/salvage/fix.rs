//! `kumadb salvage`, and the doctor's cure of a damaged database through the one write path.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use kumadb::backup::Store;
use kumadb::engine::sqlite::SqliteFile;
use kumadb::error::{Error, OperationError, Result};
use kumadb::instance::{DbLocation, Instance};
use kumadb::operation::{self, Journal, NoObserver, Observer, Replacement, Settings, Step};
use rusqlite::Connection;
use serde_json::Value as Json;

use crate::support::child::{is_killed, reported};
use crate::support::lab::{Lab, Ran};
use crate::support::rounds;
use crate::write::every_point::{How, Points};

/// Three monitors in a group, with a tag, a notification and 300 beats.
fn lived_in() -> Lab {
    let lab = Lab::sqlite("2.5.3");
    lab.sql("INSERT INTO tag (id, name, color) VALUES (1, 'env', '#059669')");
    lab.sql(
        "INSERT INTO notification (id, name, active, user_id, is_default, config) VALUES (1, 'ops', 1, 1, 1, \
         '{\"type\": \"webhook\", \"name\": \"ops\"}')",
    );
    lab.ok("monitor add group --name Network");
    lab.ok("monitor add http --name Shop --url https://shop.example.com --tag env=prod --parent Network");
    lab.ok("monitor add ping --name Router --hostname 192.168.1.1 --parent Network");
    lab.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) INSERT INTO heartbeat (monitor_id, status, \
         msg, time) SELECT 2 + i % 2, 1, '200 - OK ' || i, datetime('2026-01-01', '+' || i || ' minutes') FROM n",
    );
    lab
}

fn file(lab: &Lab) -> PathBuf {
    lab.folder().join("kuma.db")
}

/// Fills the page that a table or index of `file` begins at with zeroes; returns what the file holds then.
pub fn zero_root(file: &Path, name: &str) -> Vec<u8> {
    let connection = Connection::open(file).unwrap();
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?";
    let page: u32 = connection.query_row(sql, [name], |row| row.get(0)).unwrap();
    let page = page as usize;
    drop(connection);
    let mut bytes = fs::read(file).unwrap();
    bytes[(page - 1) * 4096..page * 4096].fill(0);
    // In place: it keeps its owner.
    fs::write(file, &bytes).unwrap();
    bytes
}

fn findings(lab: &Lab) -> BTreeSet<String> {
    let ran = lab.run("doctor --json");
    let found: Json = serde_json::from_str(&ran.out).unwrap();
    let findings = found["findings"].as_array().unwrap().iter();
    findings.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

/// The newest snapshot is the damaged file, byte for byte.
fn is_kept(lab: &Lab, damaged: &[u8]) {
    let listed: Json = serde_json::from_str(&lab.ok("backup list --json")).unwrap();
    let kept = &listed["snapshots"].as_array().unwrap().last().unwrap()["manifest"];
    assert_eq!(kept["raw"], true);
    assert_eq!(kept["members"][0]["blake3"], blake3::hash(damaged).to_hex().as_str());
    let left = crate::support::lab::left_in(&lab.folder().join(".kumadb"));
    assert_eq!(left, ["lock"]);
}

fn fix(lab: &Lab, code: &str) -> Ran {
    assert_eq!(findings(lab), BTreeSet::from([code.to_owned()]));
    let before = fs::read(file(lab)).unwrap();
    lab.fails(9, "doctor --fix");
    lab.ok("doctor --fix --dry-run");
    assert_eq!(fs::read(file(lab)).unwrap(), before, "asking and trying change nothing");
    let ran = lab.run(&format!("doctor --fix {code} --yes"));
    assert_eq!(findings(lab), BTreeSet::new(), "{}{}", ran.out, ran.err);
    ran
}

/// What it holds, in whatever order.
fn rows(lab: &Lab) -> BTreeSet<String> {
    lab.rows().lines().map(str::to_owned).collect()
}

#[test]
fn makes_indexes_anew_where_only_they_are_hurt() {
    let lab = lived_in();
    let before = rows(&lab);
    // An index that says another name than its table does: only a full check sees it.
    let mut bytes = fs::read(file(&lab)).unwrap();
    let connection = Connection::open(file(&lab)).unwrap();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_setting_1'";
    let page: u32 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    drop(connection);
    let start = (page as usize - 1) * 4096;
    let at = bytes[start..start + 4096].windows(9).position(|part| part == b"jwtSecret").unwrap();
    bytes[start + at] = b'J';
    fs::write(file(&lab), &bytes).unwrap();
    let ran = lab.run("doctor --full --detailed-exitcode");
    assert_eq!(ran.exit, 20, "{}{}", ran.out, ran.err);
    let ran = lab.run("doctor --full --fix K003 --yes");
    assert_eq!(ran.exit, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("the database is complete: its indexes were rebuilt"), "{}", ran.out);
    assert_eq!(rows(&lab), before);
    is_kept(&lab, &bytes);
}

#[test]
fn an_index_that_cannot_be_read_costs_no_row() {
    let lab = lived_in();
    let before = rows(&lab);
    let damaged = zero_root(&file(&lab), "monitor_time_index");
    let ran = fix(&lab, "K003");
    assert_eq!(ran.exit, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("1 index damaged and rebuilt"), "{}", ran.out);
    assert_eq!(rows(&lab), before);
    is_kept(&lab, &damaged);
}

#[test]
fn makes_a_new_database_of_the_rows_that_are_left() {
    let lab = lived_in();
    let monitors = lab.sql("SELECT * FROM monitor");
    fs::set_permissions(file(&lab), fs::Permissions::from_mode(0o640)).unwrap();
    let damaged = zero_root(&file(&lab), "notification");
    let ran = fix(&lab, "K003");
    // A notification is lost, and with it what pointed to it.
    assert_eq!(ran.exit, 3, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("notification"), "{}", ran.out);
    let named =
        ran.err.split_once("has 1 notification more than can be recovered; to restore it instead: kumadb restore ");
    let id = named.unwrap_or_else(|| panic!("{}", ran.err)).1.split(';').next().unwrap().to_owned();
    assert_eq!(lab.sql("SELECT * FROM monitor"), monitors);
    assert_eq!(lab.sql("SELECT count(*) FROM heartbeat").trim(), "300");
    assert_eq!(lab.sql("SELECT count(*) FROM monitor_notification").trim(), "0");
    assert_eq!(fs::metadata(file(&lab)).unwrap().permissions().mode() & 0o7777, 0o640);
    is_kept(&lab, &damaged);
    // What could not be put in is beside the snapshot, readable.
    let kept = fs::read_dir(lab.store()).unwrap().flatten().flat_map(|folder| fs::read_dir(folder.path()).unwrap());
    let notes: Vec<PathBuf> = kept
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(".removed.json"))
        .collect();
    let notes: Json = serde_json::from_str(&fs::read_to_string(&notes[0]).unwrap()).unwrap();
    let tables: BTreeSet<&str> = notes.as_array().unwrap().iter().filter_map(|note| note["table"].as_str()).collect();
    assert_eq!(tables, BTreeSet::from(["monitor_notification"]));
    // The counter of ids goes on.
    lab.ok("monitor add group --name New");
    assert_eq!(lab.sql("SELECT max(id) FROM monitor").trim(), "4");
    lab.ok(&format!("restore {id} --yes"));
    assert_eq!(lab.sql("SELECT count(*) FROM notification").trim(), "1");
    // Without a snapshot, that is what is shown.
    zero_root(&file(&lab), "notification");
    fs::remove_dir_all(lab.store()).unwrap();
    let ran = lab.run("doctor --fix --dry-run");
    assert!(ran.err.contains("no snapshot of this instance has more of them"), "{}", ran.err);
}

#[test]
fn a_lost_first_page_costs_no_row() {
    let lab = lived_in();
    let before = rows(&lab);
    let mut bytes = fs::read(file(&lab)).unwrap();
    bytes[..4096].fill(0);
    fs::write(file(&lab), &bytes).unwrap();
    fix(&lab, "K003");
    assert_eq!(rows(&lab), before);
    is_kept(&lab, &bytes);
}

#[test]
fn takes_the_release_from_the_user_where_nothing_shows_it() {
    let lab = lived_in();
    let users = lab.sql("SELECT * FROM user");
    // Only the page with the users is left.
    lab.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    let kept = fs::read(file(&lab)).unwrap();
    let mut damaged = zero_root(&file(&lab), "user");
    for (page, kept) in damaged.chunks_mut(4096).zip(kept.chunks(4096)) {
        page.copy_from_slice(&if page == kept { [0; 4096] } else { kept.try_into().unwrap() });
    }
    fs::write(file(&lab), &damaged).unwrap();
    let ran = lab.fails(9, "doctor --fix --yes");
    assert!(ran.err.contains("`--release`"), "{}", ran.err);
    let ran = lab.fails(2, "doctor --fix --yes --release 9.9.9");
    assert!(ran.err.contains("use one of"), "{}", ran.err);
    assert_eq!(fs::read(file(&lab)).unwrap(), damaged);
    let ran = lab.run("doctor --fix --yes --release 2.5.3");
    assert_eq!(ran.exit, 3, "{}{}", ran.out, ran.err);
    assert_eq!(lab.sql("SELECT * FROM user"), users);
    assert!(lab.ok("status").contains("2.5.1 or newer"));
    is_kept(&lab, &damaged);
}

#[test]
fn leaves_a_wal_of_another_time_out() {
    let lab = lived_in();
    let before = rows(&lab);
    let whole = fs::read(file(&lab)).unwrap();
    // Somebody puts an old kuma.db back over one whose WAL stays: here, one that was packed anew since.
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("kuma.db");
    fs::write(&other, &whole).unwrap();
    let connection = Connection::open(&other).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; DELETE FROM heartbeat WHERE id < 250; VACUUM; \
             PRAGMA wal_checkpoint(TRUNCATE); UPDATE monitor SET name = name || ' x'; DELETE FROM stat_daily; \
             UPDATE heartbeat SET msg = hex(randomblob(90))",
        )
        .unwrap();
    fs::copy(folder.path().join("kuma.db-wal"), lab.folder().join("kuma.db-wal")).unwrap();
    drop(connection);
    let ran = fix(&lab, "K004");
    assert!(ran.out.contains("without its WAL"), "{}{}", ran.out, ran.err);
    assert_eq!(rows(&lab), before);
    assert!(!lab.folder().join("kuma.db-wal").exists());
}

/// Fails at its `at`-th step.
struct FailAt(usize);

impl Observer for FailAt {
    fn step(&mut self, _step: &Step) -> Result<()> {
        self.0 = self.0.wrapping_sub(1);
        match self.0 {
            0 => Err(Error::Operation(OperationError::Stopped { why: "made to fail".into() })),
            _ => Ok(()),
        }
    }
}

#[test]
fn leaves_the_damaged_file_as_it_was_whichever_step_fails() {
    let lab = lived_in();
    let damaged = zero_root(&file(&lab), "heartbeat");
    let (instance, store) = place(lab.root.path());
    let mut failed = 0;
    for at in 1.. {
        let ended = operation::run(
            &instance,
            &store,
            Replacement::Salvage(None),
            &Settings::new("doctor --fix"),
            &mut FailAt(at),
        );
        match ended {
            Err(error) => {
                assert!(
                    matches!(
                        error,
                        Error::Operation(OperationError::Stopped { .. })
                            | Error::Operation(OperationError::RolledBack { .. })
                    ),
                    "step {at}: {error}"
                );
                assert_eq!(fs::read(file(&lab)).unwrap(), damaged, "step {at}");
                let left = crate::support::lab::left_in(&lab.folder().join(".kumadb"));
                assert_eq!(left, ["lock"], "step {at}");
                failed += 1;
            }
            // From here on the new database is in place, and a step only packs.
            Ok(outcome) => {
                assert!(outcome.rebuilt.is_some());
                break;
            }
        }
    }
    assert!(failed >= 6, "{failed} steps failed");
    assert_eq!(lab.sql("SELECT count(*) FROM monitor").trim(), "3");
}

/// The instance and the store of a lab whose folder is `root`.
fn place(root: &Path) -> (Instance, Store) {
    let place = DbLocation::Sqlite(SqliteFile::new(root.join("data/kuma.db")));
    let instance = Instance::new("data".into(), Some(root.join("data")), None, place, &root.join("state"));
    (instance, Store::new(root.join("store")))
}

#[test]
#[ignore = "a part of other tests, see child.rs"]
fn killed_child() {
    let (instance, store) = place(&reported::<PathBuf>("ROOT"));
    let mut points = Points::new(reported("AT"), How::Kill);
    operation::run(&instance, &store, Replacement::Salvage(None), &Settings::new("doctor --fix"), &mut points).unwrap();
}

#[test]
fn killed_at_any_step_it_is_the_damaged_database_or_the_new_one() {
    let lab = lived_in();
    let damaged = zero_root(&file(&lab), "notification");
    // Of another moment, and part of the damage.
    let wal = b"what is no WAL".as_slice();
    let (mut old, mut new) = (0, 0);
    for at in rounds::points(2) {
        fs::write(file(&lab), &damaged).unwrap();
        fs::write(lab.folder().join("kuma.db-wal"), wal).unwrap();
        let killed = is_killed(module_path!(), &[("AT", &at), ("ROOT", &lab.root.path().display())]);
        let (instance, store) = place(lab.root.path());
        if Journal::read(instance.work()).unwrap().is_some() {
            operation::resume(&instance, &store, &Settings::new("recover"), &mut NoObserver).unwrap();
        }
        if fs::read(file(&lab)).unwrap() == damaged {
            assert_eq!(fs::read(lab.folder().join("kuma.db-wal")).unwrap(), wal, "step {at}");
            old += 1;
        } else {
            check_whole(&file(&lab));
            assert_eq!(lab.sql("SELECT count(*) FROM heartbeat").trim(), "300", "step {at}");
            new += 1;
        }
        let left = crate::support::lab::left_in(&lab.folder().join(".kumadb"));
        assert_eq!(left, ["lock"], "step {at}");
        if !killed {
            break;
        }
    }
    println!("{old} times the damaged one, {new} times the new one");
    assert!(old >= 2 && new >= 2, "{old} old, {new} new");
}

fn salvage(lab: &Lab, args: &[&str]) -> Ran {
    Ran::of(lab.bare().arg("salvage").args(args))
}

#[test]
fn salvages_a_file_without_an_instance_and_never_writes_to_it() {
    let lab = lived_in();
    let damaged = zero_root(&file(&lab), "tag");
    let copy = lab.root.path().join("copy.db");
    fs::rename(file(&lab), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o400)).unwrap();
    let new = lab.root.path().join("new.db");
    let (from, to) = (copy.to_str().unwrap(), new.to_str().unwrap());
    let ran = salvage(&lab, &[from, "--dry-run"]);
    assert_eq!(ran.exit, 3, "{}", ran.err);
    assert!(!new.exists());
    let ran = salvage(&lab, &[from, "--to", to, "--json"]);
    assert_eq!(ran.exit, 3, "{}", ran.err);
    let reported: Json = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(reported["release"], "2.5.3");
    assert_eq!(reported["complete"], false);
    let table = |name: &str| {
        reported["tables"].as_array().unwrap().iter().find(|table| table["table"] == name).unwrap().clone()
    };
    assert_eq!(table("heartbeat")["certain"], 300);
    assert_eq!(table("tag")["missing_pages"], 1);
    assert_eq!(table("monitor_tag")["left_out"], 1);
    assert_eq!(fs::read(&copy).unwrap(), damaged);
    assert_eq!(fs::metadata(&new).unwrap().permissions().mode() & 0o777, 0o600);
    let beside: BTreeSet<String> = fs::read_dir(lab.root.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("new") || name.starts_with("copy") || name.starts_with(".kumadb"))
        .collect();
    assert_eq!(beside, BTreeSet::from(["copy.db".into(), "new.db".into(), "new.left-out.json".into()]));
    check_whole(&new);
    // What is there is not written over.
    let ran = salvage(&lab, &[from, "--to", to]);
    assert_eq!(ran.exit, 1, "{}", ran.err);
}

fn check_whole(path: &Path) {
    let connection = Connection::open(path).unwrap();
    let given: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(given, "ok");
    let broken: i64 =
        connection.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).unwrap();
    assert_eq!(broken, 0);
}

#[test]
fn asks_for_the_release_where_nothing_shows_it() {
    let lab = lived_in();
    let noise: Vec<u8> = (0..40_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let path = lab.root.path().join("noise.db");
    fs::write(&path, &noise).unwrap();
    let to = lab.root.path().join("new.db");
    let ran = salvage(&lab, &[path.to_str().unwrap(), "--to", to.to_str().unwrap()]);
    assert_eq!(ran.exit, 9, "{}", ran.err);
    assert!(ran.err.contains("--release"), "{}", ran.err);
    let ran = salvage(&lab, &[path.to_str().unwrap(), "--to", to.to_str().unwrap(), "--release", "2.5.3"]);
    assert_eq!(ran.exit, 9, "{}", ran.err);
    assert!(ran.err.contains("no rows of Uptime Kuma found"), "{}", ran.err);
    assert!(!to.exists());
}
