//! SIGTERM ends a command that waits within two seconds, as long as nothing has to be rolled back.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::lab::Lab;
use crate::support::wait::wait_until;

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
fn a_command_that_waits_for_the_database_ends_within_two_seconds() {
    for lab in Lab::both("2.5.3") {
        let locked = lock(&lab);
        for line in ["status", "monitor list", "export", "doctor", "backup create", "history stats"] {
            let mut child = lab.begin(line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            // SQLite waits 5 s for a lock.
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(700) {
                assert!(child.try_wait().unwrap().is_none(), "{} {line}: it did not wait", lab.engine());
                std::thread::sleep(Duration::from_millis(20));
            }
            kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
            let told = Instant::now();
            let output = child.wait_with_output().unwrap();
            let took = told.elapsed();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(143), "{} {line}: {said}", lab.engine());
            assert!(took < Duration::from_millis(2500), "{} {line}: {took:?}", lab.engine());
        }
        drop(locked);
        lab.ok("monitor list");
    }
}
