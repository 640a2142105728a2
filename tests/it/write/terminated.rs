//! SIGTERM and SIGINT end a command within two seconds, as long as nothing has been committed. The limits are wider, because
//! other tests run too; what was measured is printed.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kumadb::cancel::Cancel;
use kumadb::engine::mariadb::Address;
use kumadb::engine::sqlite::SqliteFile;
use kumadb::engine::{Connect as _, WriteKey};
use kumadb::error::{Error, OperationError, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::docked::{Docked, Kind};
use crate::support::lab::{Lab, left_in};
use crate::support::wait::wait_until;

/// How long a command may take to end.
const LIMIT: Duration = Duration::from_secs(10);

/// A database whose tables cannot be read for now: the connection that locks them.
enum Locked {
    Sqlite(#[allow(dead_code, reason = "locks until it is dropped")] rusqlite::Connection),
    MariaDb(std::process::Child),
}

fn lock(lab: &Lab) -> Locked {
    let Some(mariadbd) = &lab.mariadbd else {
        let connection = rusqlite::Connection::open(lab.folder().join("kuma.db")).unwrap();
        connection.execute_batch("PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE").unwrap();
        return Locked::Sqlite(connection);
    };
    let mut session = mariadbd.client("kuma").stdin(Stdio::piped()).spawn().unwrap();
    session.stdin.as_mut().unwrap().write_all(b"LOCK TABLES monitor WRITE, heartbeat WRITE, setting WRITE;\n").unwrap();
    wait_until(10, "the tables are locked", || !mariadbd.sql("kuma", "SHOW OPEN TABLES WHERE In_use > 0").is_empty());
    Locked::MariaDb(session)
}

impl Drop for Locked {
    fn drop(&mut self) {
        if let Locked::MariaDb(session) = self {
            drop(session.stdin.take());
            session.wait().unwrap();
        }
    }
}

#[test]
fn a_command_that_waits_for_the_database_ends_soon() {
    for lab in Lab::both("2.5.3") {
        let locked = lock(&lab);
        let ends = |line: &str| {
            let mut child = lab.begin(line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            waits(&mut child, line);
            end(child, Signal::TERM, &format!("{} {line}", lab.engine()));
        };
        std::thread::scope(|scope| {
            for line in ["status", "monitor list", "export", "doctor", "backup create", "history stats"] {
                scope.spawn(|| ends(line));
            }
        });
        ends("monitor add group --name A");
        ends("doctor --fix --yes");
        drop(locked);
        lab.ok("monitor list");
    }
}

/// Fails the test unless `child` runs on for a while: SQLite waits 5 s for a lock, MariaDB as long.
#[track_caller]
fn waits(child: &mut Child, what: &str) {
    wait_until(10, "it handles signals", || handles_signals(child));
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(700) {
        assert!(child.try_wait().unwrap().is_none(), "{what}: it did not wait");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether `child` is so far that a SIGTERM does not end it by itself.
fn handles_signals(child: &Child) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & 1 << (Signal::TERM.as_raw() - 1) != 0
}

/// Sends `signal` to `child`, which must end by itself and say so.
#[track_caller]
fn end(child: Child, signal: Signal, what: &str) -> String {
    kill_process(Pid::from_child(&child), signal).unwrap();
    let reported = Instant::now();
    let output = child.wait_with_output().unwrap();
    let took = reported.elapsed();
    let given = String::from_utf8_lossy(&output.stderr).into_owned();
    println!("{what}: ended after {:.2} s", took.as_secs_f64());
    let exit = if signal == Signal::TERM { 143 } else { 130 };
    assert_eq!(output.status.code(), Some(exit), "{what}: {given}");
    assert!(took < LIMIT, "{what}: {took:?}");
    given
}

/// Waits until `child` has said `words`.
#[track_caller]
fn has_printed(child: &mut Child, words: &str) {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(words)), "it never said `{words}`");
    // The rest must not fill the pipe.
    std::thread::spawn(move || lines.for_each(drop));
}

fn started(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_statement_of_a_write_that_waits_for_a_lock_is_killed() {
    let Some(lab) = Lab::mariadb("2.5.3") else { return };
    let mariadbd = lab.mariadbd.as_ref().unwrap();
    let before = lab.content();
    let mut other = mariadbd.client("kuma").stdin(Stdio::piped()).spawn().unwrap();
    let lock = b"START TRANSACTION; SELECT * FROM monitor FOR UPDATE; SELECT * FROM tag FOR UPDATE; DO SLEEP(0);\n";
    other.stdin.as_mut().unwrap().write_all(lock).unwrap();
    wait_until(10, "the rows are locked", || mariadbd.transactions() == 1);
    for signal in [Signal::TERM, Signal::INT] {
        let mut child = started(&mut lab.begin("-v monitor add group --name Waits --live"));
        has_printed(&mut child, "writing 1 row change");
        waits(&mut child, "a write");
        end(child, signal, "a write that waits for a lock");
        // Nor does its connection keep anything locked.
        wait_until(5, "only the other transaction is left", || mariadbd.transactions() == 1);
        let state = lab.root.path().join("state");
        assert!(!files_below(&state).iter().any(|name| name.contains("journal") || name.contains("held")), "{state:?}");
    }
    drop(other.stdin.take());
    other.wait().unwrap();
    assert_eq!(lab.content(), before);
    lab.ok("monitor add group --name Waits --live");
}

fn files_below(folder: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| {
            if entry.path().is_dir() { files_below(&entry.path()) } else { vec![entry.path().display().to_string()] }
        })
        .collect()
}

/// Ends `work` after a moment, as a signal does; it must not take much longer.
fn is_ended(work: impl FnOnce(&Cancel) -> Result<()>, what: &str) {
    let signal = Arc::new(AtomicUsize::new(0));
    let cancel = Cancel::by(signal.clone());
    let reported = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        signal.store(15, Ordering::SeqCst);
        Instant::now()
    });
    let ended = work(&cancel);
    let took = reported.join().unwrap().elapsed();
    assert!(matches!(ended, Err(Error::Operation(OperationError::Interrupted { signal: 15 }))), "{what}: {ended:?}");
    println!("{what}: ended after {:.2} s", took.as_secs_f64());
    assert!(took < LIMIT, "{what}: {took:?}");
}

#[test]
fn a_long_query_ends_with_the_run() {
    const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    let lab = Lab::sqlite("2.5.3");
    let file = SqliteFile::new(lab.folder().join("kuma.db"));
    let query = |cancel: &Cancel| {
        let mut reader = file.clone().cancelled_by(cancel.clone()).reader()?;
        reader.query(ENDLESS, &[]).map(drop)
    };
    is_ended(query, "SQLite");
    let Some(lab) = Lab::mariadb("2.5.3") else { return };
    let query = |cancel: &Cancel| {
        let address = Address { cancel: cancel.clone(), ..Address::parse(&lab.target).unwrap() };
        address.reader()?.query("SELECT SLEEP(60)", &[]).map(drop)
    };
    is_ended(query, "MariaDB");
    let running =
        "SELECT count(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%SLEEP(60)%' AND ID <> CONNECTION_ID()";
    wait_until(5, "the statement has ended", || lab.mariadbd.as_ref().unwrap().sql("kuma", running).trim() == "0");
    // Rows that have all arrived are not waited for.
    let many = |cancel: &Cancel| {
        let address = Address { cancel: cancel.clone(), ..Address::parse(&lab.target).unwrap() };
        address.reader()?.stream("SELECT seq FROM seq_1_to_100000000", &[], &mut |_| Ok(()))
    };
    is_ended(many, "rows of MariaDB");
}

/// SQLite has already rolled back when a statement that writes is interrupted.
#[test]
fn a_write_that_is_interrupted_can_be_rolled_back() {
    let lab = Lab::sqlite("2.5.3");
    let before = lab.rows();
    let file = SqliteFile::new(lab.folder().join("kuma.db"));
    let write = |cancel: &Cancel| {
        let mut writer = file.clone().cancelled_by(cancel.clone()).writer(&WriteKey::for_tests())?;
        writer.begin()?;
        let endless = "INSERT INTO setting (`key`, value) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                       SELECT 'key ' || i, i FROM n";
        let ended = writer.execute(endless, &[]).map(drop);
        writer.rollback()?;
        ended
    };
    is_ended(write, "a write");
    assert_eq!(lab.rows(), before);
}

#[test]
fn a_large_staged_copy_is_given_up_and_removed() {
    let lab = Lab::sqlite("2.5.3");
    // Some seconds to copy, hash and check.
    lab.sql(
        "PRAGMA journal_mode = DELETE; CREATE TABLE large (id INTEGER PRIMARY KEY, content BLOB); \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400) \
         INSERT INTO large SELECT i, randomblob(1000000) FROM n; PRAGMA journal_mode = WAL",
    );
    let (size, before) = (fs::metadata(lab.folder().join("kuma.db")).unwrap().len(), lab.sql("SELECT * FROM monitor"));
    for signal in [Signal::TERM, Signal::INT] {
        let mut child = started(&mut lab.begin("-v monitor add group --name Large"));
        has_printed(&mut child, "copying database");
        end(child, signal, "a staged copy of 400 MB");
        assert_eq!(left_in(&lab.folder().join(".kumadb")), ["lock"]);
        assert_eq!(fs::metadata(lab.folder().join("kuma.db")).unwrap().len(), size);
        assert_eq!(lab.sql("SELECT * FROM monitor"), before);
    }
    // The same where a new instance is made of a snapshot.
    lab.ok("backup create");
    let mut child = started(
        lab.process().args(["restore", "latest", "--of", "data", "--to"]).arg(lab.root.path().join("new")).arg("-v"),
    );
    has_printed(&mut child, "creating instance");
    end(child, Signal::TERM, "restore --to");
    assert!(!lab.root.path().join("new").exists());
}

#[test]
fn a_server_that_is_stopping_is_started_again() {
    let Some(lab) = Docked::up(Kind::Sqlite) else { return };
    fs::write(lab.folder.path().join("misbehave"), "slow-stop 3\n").unwrap();
    let before = lab.picture();
    for signal in [Signal::TERM, Signal::INT] {
        let words = ["-v", "monitor", "add", "group", "--name", "Stopping"];
        let mut child = started(lab.command(&lab.server.name).args(words));
        has_printed(&mut child, "stopping container");
        std::thread::sleep(Duration::from_millis(300));
        end(child, signal, "a server that takes 3 s to stop, and is started again");
        lab.is_well();
        assert_eq!(lab.picture(), before);
    }
}
