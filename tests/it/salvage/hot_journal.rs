//! A transaction that was killed leaves `kuma.db-journal`: no verb sees half of it, none changes the files by reading,
//! and the journal of another database is told from the own one.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::doctor::findings::codes;
use crate::support::lab::{Lab, Ran};

/// An instance with forty monitors, as a desktop tool leaves it: without a WAL.
fn without_wal() -> Lab {
    let lab = Lab::sqlite("2.5.3");
    lab.sql(
        "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE; \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40) \
         INSERT INTO monitor (name, type, url, user_id, timeout, accepted_statuscodes_json) \
         SELECT 'Monitor ' || i, 'http', 'https://a.example/' || i, 1, 48, '[\"200-299\"]' FROM n",
    );
    lab
}

fn file(lab: &Lab) -> PathBuf {
    lab.folder().join("kuma.db")
}

fn journal(lab: &Lab) -> PathBuf {
    lab.folder().join("kuma.db-journal")
}

/// Leaves the files as a kill in the middle of a transaction leaves them: many pages are written, none is committed.
fn interrupt(lab: &Lab) {
    let connection = Connection::open(file(lab)).unwrap();
    let sql = "PRAGMA cache_size = 2; PRAGMA cache_spill = 1; BEGIN; DELETE FROM monitor WHERE id > 30; \
               UPDATE monitor SET name = name || ' HALF', description = hex(zeroblob(3000));";
    connection.execute_batch(sql).unwrap();
    let seized = lab.root.path().join("seized");
    fs::create_dir_all(&seized).unwrap();
    for path in [file(lab), journal(lab)] {
        fs::copy(&path, seized.join(path.file_name().unwrap())).unwrap();
    }
    connection.execute_batch("ROLLBACK").unwrap();
    drop(connection);
    for path in [file(lab), journal(lab)] {
        fs::copy(seized.join(path.file_name().unwrap()), &path).unwrap();
    }
    let raw = fs::read(file(lab)).unwrap();
    assert!(raw.windows(5).any(|bytes| bytes == b" HALF"), "half of the transaction is in the file");
}

fn files(lab: &Lab) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = fs::read_dir(lab.folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.display().to_string(), fs::read(path).unwrap()))
        .collect();
    found.sort();
    found
}

/// The names of all monitors in a database file that has nothing beside it.
fn names(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut asked = connection.prepare("SELECT name FROM monitor ORDER BY id").unwrap();
    asked.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn whole() -> Vec<String> {
    (1..=40).map(|at| format!("Monitor {at}")).collect()
}

#[test]
fn half_a_transaction_is_never_seen() {
    let lab = without_wal();
    interrupt(&lab);
    let before = files(&lab);
    // A folder for temporary files may be reached through a link.
    let (temporary, link) = (lab.root.path().join("tmp"), lab.root.path().join("link"));
    fs::create_dir(&temporary).unwrap();
    std::os::unix::fs::symlink(&temporary, &link).unwrap();
    let ran = Ran::of(lab.bare().args(["-t", &lab.target, "monitor", "list"]).env("TMPDIR", &link));
    assert_eq!(ran.exit, 0, "{}", ran.err);
    let shown = lab.ok("monitor list --json");
    assert!(shown.contains("\"Monitor 40\"") && !shown.contains("HALF"), "{shown}");
    assert_eq!(codes(&lab), ["K050"]);
    lab.ok("backup create");
    lab.ok("backup create --config-only");
    let made = lab.root.path().join("salvaged.db");
    let reported = lab.ok(&format!("salvage {} --to {}", lab.target, made.display()));
    assert!(reported.contains("an unfinished transaction was rolled back: "), "{reported}");
    assert_eq!(names(&made), whole());
    assert_eq!(files(&lab), before, "reading changes nothing");

    // The first page, which the transaction has in its journal, is lost too.
    let mut bytes = fs::read(file(&lab)).unwrap();
    bytes[..4096].fill(0);
    fs::write(file(&lab), &bytes).unwrap();
    assert!(lab.ok("monitor list --json").contains("\"Monitor 40\""));
    assert_eq!(codes(&lab), ["K050"]);

    // A write rolls it back, and so does a restore.
    lab.ok("monitor add ping --name Router --hostname 192.0.2.1");
    assert!(!journal(&lab).exists());
    assert_eq!(names(&file(&lab)), [whole(), vec!["Router".into()]].concat());
    assert_eq!(codes(&lab), [""; 0]);
    interrupt(&lab);
    lab.ok("restore latest --yes");
    assert!(!journal(&lab).exists());
    assert_eq!(codes(&lab), [""; 0]);
}

#[test]
fn a_journal_of_something_else_is_not_applied() {
    let (lab, other) = (without_wal(), without_wal());
    other.ok("monitor add ping --name Other --hostname 192.0.2.1");
    other.sql("UPDATE monitor SET weight = 1");
    interrupt(&other);
    let whole_file = fs::read(file(&lab)).unwrap();

    // What SQLite ignores: an empty one, one whose header is zeroed, one of a transaction that was committed in all databases.
    let foreign = fs::read(journal(&other)).unwrap();
    let mut zeroed = foreign.clone();
    zeroed[..28].fill(0);
    let name = b"/nowhere/at-all-mj0123";
    let sum: u32 = name.iter().map(|byte| u32::from(*byte)).sum();
    let page = ((1u32 << 30) / 4096 + 1).to_be_bytes();
    let tail = [&page[..], name, &(name.len() as u32).to_be_bytes(), &sum.to_be_bytes(), &foreign[..8]].concat();
    for harmless in [Vec::new(), zeroed, [foreign.clone(), tail].concat()] {
        fs::write(journal(&lab), &harmless).unwrap();
        assert!(lab.ok("monitor list").contains("Monitor 40"));
        assert_eq!(codes(&lab), [""; 0]);
        assert_eq!(fs::read(file(&lab)).unwrap(), whole_file);
    }

    // Of another database, of another point in time, with pages of another size.
    let mut larger = foreign.clone();
    larger[24..28].copy_from_slice(&8192u32.to_be_bytes());
    for wrong in [foreign.clone(), larger] {
        fs::write(journal(&lab), &wrong).unwrap();
        let given = lab.fails(7, "monitor list").err;
        assert!(given.contains("kuma.db-journal` does not belong to its database: "), "{given}");
        assert!(given.contains("kumadb doctor"), "{given}");
        assert_eq!(codes(&lab), ["K004"]);
        lab.fails(7, "monitor add ping --name Router --hostname 192.0.2.1");
        assert_eq!(fs::read(file(&lab)).unwrap(), whole_file);
        let reported = lab.ok("doctor --fix K004 --yes");
        assert!(reported.contains("without `kuma.db-journal`: "), "{reported}");
        assert!(!journal(&lab).exists());
        assert_eq!(names(&file(&lab)), whole());
        assert_eq!(codes(&lab), [""; 0]);
        fs::write(file(&lab), &whole_file).unwrap();
    }
}
