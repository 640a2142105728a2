//! Why a server does not start: the reason is in its own log, where the container is known.

use super::evidence::Running;
use super::{Evidence, Fault, Fix, Subject};

/// What the log of a server that fails at startup contains, what that means, and what to do. The first that fits counts, so
/// that the cause comes before what follows from it. Seen with 2.0.2 and 2.5.3, and with MariaDB 10.11.
const REASONS: [(&[&str], &str, &str); 18] = [
    (
        &["Migration table is already locked", "MigrationLocked"],
        "the migration lock is set, because a migration was interrupted (K008)",
        FIX,
    ),
    (
        &["Aggregate table migration is already in progress"],
        "the upgrade of the statistics was interrupted (K005)",
        FIX,
    ),
    (&["issue patching the database"], "a patch of 1.x was applied again, because its records are wrong (K051)", FIX),
    (&["Row size too large"], "the text of a table is not stored as utf8mb4 (K010)", FIX),
    (
        &["Duplicate column name", "duplicate column name", "already exists", "ER_TABLE_EXISTS_ERROR"],
        "a migration was interrupted, and its tables or columns exist already (K009)",
        FIX,
    ),
    (&["Unknown column", "no such column"], "a column is missing, as after an interrupted migration (K009)", FIX),
    (&["no such table", "ER_NO_SUCH_TABLE", "doesn't exist"], "a table is missing (K009, K021)", FIX_OR_RESTORE),
    (&["Invalid status"], "heartbeats have an invalid status (K006)", FIX),
    (
        &["FOREIGN KEY constraint failed", "a foreign key constraint fails"],
        "rows refer to rows that do not exist (K007)",
        FIX,
    ),
    (
        &["database disk image is malformed", "SQLITE_CORRUPT", "SQLITE_NOTADB", "file is not a database"],
        "the database file is damaged (K003)",
        FIX_OR_RESTORE,
    ),
    (
        &["SQLITE_FULL", "database or disk is full", "ENOSPC", "No space left on device", "Disk is full"],
        "the disk is full (K011)",
        "free disk space; check: df -h",
    ),
    (
        &["SQLITE_READONLY", "SQLITE_CANTOPEN", "EACCES", "EPERM", "Permission denied", "Errcode: 13"],
        "the server has no permission for its files (K022)",
        FIX,
    ),
    (
        &["EADDRINUSE", "address already in use", "Address already in use"],
        "its port is in use by another process",
        "stop the other process (check: ss -ltnp), or set UPTIME_KUMA_PORT to a free port",
    ),
    (&["Unknown Database type", "Invalid db-config.json"], "db-config.json is invalid (K039)", "correct the file"),
    (
        &["ER_ACCESS_DENIED_ERROR", "Access denied for user"],
        "MariaDB denies access to the user in db-config.json",
        "correct user and password in db-config.json, and in the UPTIME_KUMA_DB_* variables of the container",
    ),
    (
        &["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "ETIMEDOUT"],
        "MariaDB cannot be reached at the address in db-config.json",
        "start MariaDB, or correct the address in db-config.json",
    ),
    (
        &["[ERROR] InnoDB", "[ERROR] mariadbd", "[ERROR] Aborting", "[ERROR] Fatal error", "mariadbd: Can't"],
        "its MariaDB does not start",
        "restore a snapshot (`kumadb backup list`, then `kumadb restore ID`), or correct what MariaDB reports",
    ),
    (&["Waiting for Embedded MariaDB to start"], "its MariaDB does not become ready (K023)", FIX_OR_RESTORE),
];

const FIX: &str = "kumadb doctor --fix (stops the server, and asks before it changes anything)";
const FIX_OR_RESTORE: &str =
    "kumadb doctor --fix; or restore a snapshot: `kumadb backup list`, then `kumadb restore ID`";

/// A server that ends by itself after every start, or waits for its MariaDB forever.
pub(super) fn find_crash_loop(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(container) = &evidence.container else { return };
    let waits = container.up && evidence.database.is_none() && is_waiting(container);
    let reason = reason(&container.log);
    let state = match (container.looping, container.failed) {
        (true, _) => "keeps restarting",
        // A server with MariaDB sometimes ends so when it is stopped (2.5.3).
        (false, true) if reason.is_some() => "ended with an error",
        (false, _) if waits => "does not become ready",
        (false, _) => return,
    };
    let (why, advice) = match reason {
        Some((line, what, advice)) => (format!("{what}; its log: {}", line.trim()), advice),
        None => ("its log does not show a known reason".into(), "read its log: kumadb logs --tail 100"),
    };
    faults.push(Fault {
        subject: Subject::default(),
        what: format!("container `{}` {state}: {why}", container.name),
        fix: Fix::Advice(advice.into()),
    });
}

fn is_waiting(container: &Running) -> bool {
    container.log.iter().rev().take(3).any(|line| line.contains("Waiting for Embedded MariaDB"))
}

/// The last line of `log` with a known reason, and the reason.
fn reason(log: &[String]) -> Option<(&str, &'static str, &'static str)> {
    // What monitors report is about other servers.
    let is_about_itself = |line: &&String| !line.contains("[MONITOR]") && !line.contains(" WARN: ");
    let lines: Vec<&String> = log.iter().filter(is_about_itself).collect();
    REASONS.iter().find_map(|(marks, what, advice)| {
        let line = lines.iter().rev().find(|line| marks.iter().any(|mark| line.contains(mark)))?;
        Some((line.as_str(), *what, *advice))
    })
}

/// An operation of kumadb that was interrupted, or whose rollback failed: the server may be down until it is finished.
pub(super) fn find_unfinished(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(what) = &evidence.unfinished else { return };
    let down = match &evidence.container {
        Some(container) if !container.up => format!("; container `{}` is not running", container.name),
        _ => String::new(),
    };
    faults.push(Fault {
        subject: Subject::default(),
        what: format!("{what}{down}"),
        fix: Fix::Advice("kumadb recover; if it fails, repair what it reports first".into()),
    });
}
