//! Staged copies of a stopped database that were begun while its server was running.

use std::fs;
use std::path::{Path, PathBuf};

use kumadb::backup::stage::{CopySource, SnapshotLabel, begin_copy};
use kumadb::backup::{CopyScope, StagedCopy};
use kumadb::engine::sqlite::SqliteFile;
use kumadb::error::Result;
use kumadb::files::EqualCopy;
use rusqlite::Connection;

use crate::support::lab::Lab;

/// Begins a copy of the database of `lab`, which has some hundred pages.
fn begin(lab: &Lab) -> (SqliteFile, PathBuf, EqualCopy) {
    let path = lab.folder().join("kuma.db");
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
                INSERT INTO setting (`key`, value) SELECT 'key ' || i, hex(randomblob(40)) FROM n";
    run(&path, &format!("{rows}; PRAGMA wal_checkpoint(TRUNCATE)"));
    let (file, folder) = (SqliteFile::new(path), lab.root.path().join("staged"));
    let early = begin_copy(&file, &folder, &mut |_, _| {}).unwrap();
    (file, folder, early)
}

fn run(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

fn complete(file: &SqliteFile, folder: &Path, early: EqualCopy) -> Result<StagedCopy> {
    let label = SnapshotLabel {
        instance: "kuma".into(),
        origin: "kuma".into(),
        reason: "test".into(),
        config: None,
        undo: true,
        undoes: None,
    };
    let source = CopySource::Still(file, Some(early));
    StagedCopy::take(source, folder, &label, &CopyScope::default(), &mut |_, _| {})
}

#[test]
fn it_is_the_stopped_database_whatever_was_written_since() {
    let writes = [
        "",
        "UPDATE setting SET value = 'other' WHERE `key` IN ('key 7', 'key 19000')",
        "INSERT INTO setting (`key`, value) SELECT `key` || ' again', value FROM setting",
        "DELETE FROM setting WHERE `key` LIKE 'key %'; VACUUM",
    ];
    for write in writes {
        let lab = Lab::sqlite("2.5.3");
        let (file, folder, early) = begin(&lab);
        // The last connection checkpoints and removes the WAL, as a server that stops does.
        run(file.path(), write);
        let staged = complete(&file, &folder, early).unwrap();
        let (there, copied) = (fs::read(file.path()).unwrap(), fs::read(staged.database()).unwrap());
        assert!(there == copied, "{write}: {} and {} bytes", there.len(), copied.len());
        assert_eq!(StagedCopy::open(&folder).unwrap().manifest.members, staged.manifest.members, "{write}");
        let words = ["pages", "schema", "migrations", "counts", "structure", "foreign keys", "hash"];
        assert_eq!(staged.manifest.verified, words, "{write}");
    }
}

#[test]
fn it_has_what_is_only_in_the_wal() {
    let lab = Lab::sqlite("2.5.3");
    let (file, folder, early) = begin(&lab);
    // A server that was killed leaves its WAL.
    let server = Connection::open(file.path()).unwrap();
    server.execute_batch("UPDATE setting SET value = 'in the WAL' WHERE `key` = 'key 7'").unwrap();
    let staged = complete(&file, &folder, early).unwrap();
    drop(server);
    let copy = Connection::open(staged.database()).unwrap();
    let value: String =
        copy.query_row("SELECT value FROM setting WHERE `key` = 'key 7'", [], |row| row.get(0)).unwrap();
    assert_eq!(value, "in the WAL");
}

#[test]
fn it_is_the_stopped_database_without_wal_mode_too() {
    let lab = Lab::sqlite("2.5.3");
    let (file, folder, early) = begin(&lab);
    run(file.path(), "PRAGMA journal_mode = DELETE; UPDATE setting SET value = 'other' WHERE `key` = 'key 7'");
    let staged = complete(&file, &folder, early).unwrap();
    assert_eq!(fs::read(file.path()).unwrap(), fs::read(staged.database()).unwrap());
}

#[test]
fn a_file_that_was_put_at_its_path_is_neither_written_nor_used() {
    let lab = Lab::sqlite("2.5.3");
    let (file, folder, early) = begin(&lab);
    let other = lab.root.path().join("other");
    fs::write(&other, "not ours").unwrap();
    fs::remove_file(folder.join("kuma.db")).unwrap();
    fs::hard_link(&other, folder.join("kuma.db")).unwrap();
    let refused = complete(&file, &folder, early).unwrap_err();
    assert!(refused.to_string().contains("was changed after it was written"), "{refused}");
    assert_eq!(fs::read_to_string(&other).unwrap(), "not ours");
}

#[test]
fn a_page_that_is_damaged_after_it_was_copied_is_found() {
    let lab = Lab::sqlite("2.5.3");
    let (file, folder, early) = begin(&lab);
    let mut bytes = fs::read(file.path()).unwrap();
    let last = bytes.len() - 4096;
    bytes[last..].fill(0xab);
    fs::write(file.path(), bytes).unwrap();
    let refused = complete(&file, &folder, early).unwrap_err();
    assert!(refused.to_string().contains("damaged"), "{refused}");
    assert!(!folder.join("manifest.json").exists());
}
