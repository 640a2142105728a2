//! The locks of SQLite, which POSIX drops as soon as any descriptor of a file is closed.

use std::io::Write as _;
use std::process::{Command, Stdio};

use kumadb::engine::sqlite::{SqliteFile, is_database};
use kumadb::engine::{Connect as _, Reader};

use crate::support::lab::Lab;
use crate::support::need;
use crate::support::wait::wait_until;

/// The number of settings that `reader` sees.
fn settings(reader: &mut dyn Reader) -> String {
    reader.query("SELECT count(*) AS count FROM setting", &[]).unwrap()[0].cells()[0].to_string()
}

/// A server that has the last lock on a database when it ends copies the WAL into it and removes it: a reader would see pages of two
/// states.
#[test]
fn a_reader_keeps_its_lock_whatever_else_is_read() {
    if need::program(&["sqlite3"]).is_none() {
        return need::left_out("the program sqlite3").unwrap_or_default();
    }
    let lab = Lab::sqlite("2.5.3");
    let path = lab.folder().join("kuma.db");
    let wal = lab.folder().join("kuma.db-wal");
    let mut server = Command::new("sqlite3").arg(&path).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut input = server.stdin.take().unwrap();
    input.write_all(b"PRAGMA wal_autocheckpoint = 0; INSERT INTO setting (key, value) VALUES ('a', '1');\n").unwrap();
    wait_until(20, "the first row", || std::fs::metadata(&wal).is_ok_and(|wal| wal.len() > 0));

    let file = SqliteFile::new(&path);
    let mut reader = file.reader().unwrap();
    let before = settings(&mut *reader);
    // All of these read the first bytes of the file.
    assert!(is_database(&path));
    let mut second = file.reader().unwrap();
    assert_eq!(settings(&mut *second), before);
    drop(second);
    let copy = lab.root.path().join("copy.db");
    reader.dump(&copy, &["heartbeat".to_owned()], &mut |_, _| {}).unwrap();
    // One descriptor is read by all of them.
    let whole = ["one.db", "two.db"].map(|name| lab.root.path().join(name));
    for to in &whole {
        reader.dump(to, &[], &mut |_, _| {}).unwrap();
    }
    let [one, two] = whole.map(|path| std::fs::read(path).unwrap());
    assert!(one == two && one.len() > 100_000, "{} and {} bytes", one.len(), two.len());

    input.write_all(b"INSERT INTO setting (key, value) VALUES ('b', '2');\n").unwrap();
    drop(input);
    assert!(server.wait().unwrap().success());
    assert!(wal.exists(), "the server had the last lock");
    assert_ne!(settings(&mut *reader), before);
    drop(reader);
    assert_eq!(lab.sql("SELECT count(*) FROM setting WHERE key IN ('a', 'b')").trim(), "2");
    assert!(!wal.exists());
}
