//! Checks of the data folder: damage, disk space, owners, wrong folder.

use std::path::PathBuf;

use super::evidence::{FileEvidence, Folder};
use super::{Evidence, Fault, FileChange, Fix, Subject};
use crate::schema::EngineKind;
use crate::text::{bytes, counted};

const RESTORE: &str = "restore a snapshot: `kumadb backup list`, then `kumadb restore ID`";

/// A database whose pages are inconsistent.
pub(super) fn find_damage(evidence: &Evidence, faults: &mut Vec<Fault>) {
    if let Some((what, command)) = &evidence.other_format {
        faults.push(Fault {
            subject: at(evidence, "kuma.db"),
            what: format!("`kuma.db` is not a SQLite database but {what}: the server does not start with it"),
            fix: Fix::Advice(format!("{command}; check the result with `kumadb status`, or {RESTORE}")),
        });
    }
    if evidence.damage.is_empty() || has_loose_wal(evidence) {
        return;
    }
    faults.push(Fault {
        subject: at(evidence, "kuma.db"),
        what: format!("the database is damaged ({}): parts of it cannot be read", evidence.damage.join("; ")),
        fix: rebuild(evidence),
    });
}

/// A transaction that was interrupted and has to be rolled back.
pub(super) fn find_open_transaction(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(pages) = evidence.journal else { return };
    faults.push(Fault {
        subject: at(evidence, "kuma.db-journal"),
        what: format!(
            "a transaction was interrupted: `kuma.db-journal` has {} as they were before it, and `kuma.db` alone \
             contains a part of the transaction",
            counted(usize::try_from(pages).unwrap_or(usize::MAX), "page")
        ),
        fix: Fix::Advice(
            "start the server, or write with kumadb: both roll the transaction back. Until then, do not copy `kuma.db` \
             without this file; `kumadb backup create` and all verbs that read use the state before the transaction"
                .into(),
        ),
    });
}

/// A damaged database with a WAL that no process has open, most likely the WAL of another file; or the journal of
/// another file.
pub(super) fn find_wrong_wal(evidence: &Evidence, faults: &mut Vec<Fault>) {
    if let Some(why) = &evidence.foreign_journal {
        faults.push(Fault {
            subject: at(evidence, "kuma.db-journal"),
            what: format!(
                "`kuma.db-journal` does not belong to the database: {why}; at its next start, the server writes old \
                 pages from it into the database and damages it"
            ),
            fix: rebuild(evidence),
        });
    }
    if evidence.damage.is_empty() || !has_loose_wal(evidence) {
        return;
    }
    faults.push(Fault {
        subject: at(evidence, "kuma.db-wal"),
        what: format!(
            "the database cannot be read together with its `kuma.db-wal` ({}): after a manual copy or restore the two \
             files are often from different points in time",
            evidence.damage.join("; ")
        ),
        fix: rebuild(evidence),
    });
}

/// A SQLite file can be read page by page; the files of MariaDB cannot.
fn rebuild(evidence: &Evidence) -> Fix {
    // A new database is made for a known release, without the tables of any other.
    if evidence.engine == Some(EngineKind::MariaDb) || evidence.has_unknown_migrations() {
        Fix::Advice(RESTORE.into())
    } else {
        Fix::Salvage
    }
}

fn has_loose_wal(evidence: &Evidence) -> bool {
    let Some(folder) = &evidence.folder else { return false };
    folder.holders.is_empty() && folder.file("kuma.db-wal").is_some_and(|wal| wal.size > 0)
}

/// Less disk space than the size of the database: the next clean-up, upgrade or backup fails.
pub(super) fn find_full_disk(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(folder) = &evidence.folder else { return };
    if folder.free >= folder.size {
        return;
    }
    let old = folder.files.iter().filter(|seen| {
        !seen.folder && (seen.name.contains(".bak") || seen.name == "error.log" || seen.name.contains(".stale-"))
    });
    let old: Vec<String> = old.map(|seen| format!("`{}` ({})", seen.name, bytes(seen.size))).collect();
    let mut advice = if old.is_empty() {
        format!("free disk space for {}; check: df -h {0}", folder.path.display())
    } else {
        format!("check whether these files can be deleted (kumadb does not delete them): {}", old.join(", "))
    };
    if folder.screenshots > 0 {
        advice.push_str(&format!(", {} in `screenshots/`", counted(folder.screenshots, "image")));
    }
    if let Some(content) = evidence.database.as_ref().filter(|content| content.beats.rows > 0) {
        advice.push_str(&format!(
            "; history: {}; `kumadb history stats` shows its size, `kumadb history prune --keep DAYS` deletes old \
             rows, and the server reuses their disk space",
            counted(usize::try_from(content.beats.rows).unwrap_or(usize::MAX), "beat")
        ));
    }
    advice.push_str("; snapshots on the same disk: `kumadb backup prune`");
    faults.push(Fault {
        subject: Subject { path: Some(folder.path.clone()), ..Subject::default() },
        what: format!(
            "{} free, but the database has {}: the server stops storing heartbeats when the disk is full, and there is \
             no space for a backup",
            bytes(folder.free),
            bytes(folder.size)
        ),
        fix: Fix::Advice(advice),
    });
}

/// The wrong folder, or two databases in one folder.
pub(super) fn find_wrong_folder(evidence: &Evidence, faults: &mut Vec<Fault>) {
    match (&evidence.nowhere, evidence.half_made) {
        // The embedded MariaDB is K023.
        (None, _) => {}
        (Some(_), Some(_)) if is_embedded(evidence) => {}
        (Some(_), Some(tables)) => faults.push(Fault {
            subject: Subject::default(),
            what: format!(
                "the first start was interrupted while it created the tables ({tables} exist, without users and \
                 monitors); each start now fails"
            ),
            fix: Fix::Advice(
                "stop the server, then recreate the database: DROP DATABASE and CREATE DATABASE … CHARACTER SET \
                 utf8mb4 (SQLite: rename kuma.db); then start the server"
                    .into(),
            ),
        }),
        // The server starts, and does not ask for a set-up: it has a database (2.5.3).
        (Some(why), None) if has_database(evidence) => faults.push(Fault {
            subject: at(evidence, "kuma.db"),
            what: format!(
                "{why}: the server starts with this file, and everything that needs these tables fails with \"no such \
                 table\""
            ),
            fix: Fix::Advice(RESTORE.into()),
        }),
        (Some(why), None) => faults.push(Fault {
            subject: Subject::default(),
            what: format!("{why}: the server shows its setup page, as if all data were lost"),
            fix: Fix::Advice(
                "find the data with `kumadb find`, then mount that folder at /app/data; or restore a snapshot: kumadb \
                 backup list"
                    .into(),
            ),
        }),
    }
    find_stale(evidence, faults);
}

/// A `kuma.db` beside a configuration for MariaDB. It is only certain to be the old one if both were read, and the other
/// has users and newer heartbeats; and even then a person decides.
fn find_stale(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let (Some(folder), Some(beside)) = (&evidence.folder, &evidence.beside) else { return };
    let has = match beside {
        Ok(old) => format!("has {}", old.words()),
        Err(why) => format!("cannot be read ({why})"),
    };
    let in_use = evidence.summary.as_ref().filter(|summary| summary.users > 0);
    let (what, fix) = match (in_use, beside) {
        (None, _) => {
            let unread =
                evidence.unread.iter().find(|unread| unread.part == "database").map(|unread| unread.why.clone());
            let why = match (&evidence.summary, unread.or_else(|| evidence.nowhere.clone())) {
                (Some(_), _) => "has no users".to_owned(),
                (None, why) => format!("cannot be read ({})", why.unwrap_or_else(|| "unknown reason".into())),
            };
            let what = format!(
                "the configuration names a MariaDB that {why}, but `kuma.db` in the same folder {has}: it may be the \
                 database that the server used until now"
            );
            (
                what,
                "if the data is in `kuma.db`, stop the server and write {\"type\": \"sqlite\"} into db-config.json \
                    (and into UPTIME_KUMA_DB_TYPE, if the container sets it); otherwise make the MariaDB reachable, and \
                    run `kumadb doctor` again: kumadb does not rename `kuma.db` before it has read both",
            )
        }
        (Some(now), Ok(old)) if now.newest_second() > old.newest_second() => {
            let names = ["kuma.db", "kuma.db-wal", "kuma.db-shm", "kuma.db-journal"];
            let changes = names.iter().filter(|name| folder.file(name).is_some());
            faults.push(Fault {
                subject: at(evidence, "kuma.db"),
                what: format!(
                    "an old `kuma.db` exists ({}), but the server uses MariaDB ({}): if `db-config.json` is ever lost, the \
                     server starts with that file, and all newer data seem to be lost",
                    old.words(),
                    now.words()
                ),
                fix: Fix::Files(changes.map(|name| aside(folder, name, evidence)).collect()),
            });
            return;
        }
        (Some(now), _) => (
            format!(
                "the server uses MariaDB ({}), but `kuma.db` in the same folder {has}: it is not certain which of them is \
                 the old one",
                now.words()
            ),
            "check which of the two has your monitors (`kumadb -t FOLDER/kuma.db monitor list`); then rename the other one, or \
             correct db-config.json, with the server stopped",
        ),
    };
    faults.push(Fault { subject: at(evidence, "kuma.db"), what, fix: Fix::Advice(fix.into()) });
}

/// Other copies of a database that is missing or cannot be read. Nothing is restored unasked.
pub(super) fn find_candidates(evidence: &Evidence, faults: &mut Vec<Fault>) {
    faults.extend(evidence.candidates.iter().map(|candidate| Fault {
        subject: at(evidence, &candidate.name),
        what: format!("another copy of the database is in the data folder: {}", candidate.words()),
        fix: Fix::Advice(candidate.command.clone()),
    }));
}

/// A `kuma.db` with anything in it.
fn has_database(evidence: &Evidence) -> bool {
    evidence.folder.as_ref().and_then(|folder| folder.file("kuma.db")).is_some_and(|file| file.size > 0 && !file.folder)
        && evidence.engine == Some(EngineKind::Sqlite)
}

/// A `db-config.json` that the server cannot use.
pub(super) fn find_invalid_config(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(why) = &evidence.config_problem else { return };
    let sqlite = evidence.folder.as_ref().and_then(|folder| folder.file("kuma.db"));
    let consequence = match (sqlite, evidence.engine) {
        (Some(_), Some(EngineKind::Sqlite)) => {
            "at its next start the server replaces the file and opens `kuma.db`, even if it used MariaDB before"
        }
        _ => "the server does not start, or shows its setup page",
    };
    faults.push(Fault {
        subject: Subject {
            path: evidence.folder.as_ref().map(|folder| folder.path.join("db-config.json")),
            ..Subject::default()
        },
        what: format!("`db-config.json` is invalid: {why}; {consequence}"),
        fix: Fix::Advice(
            "correct the file manually: {\"type\": \"sqlite\"}, {\"type\": \"embedded-mariadb\"}, or {\"type\": \
             \"mariadb\", \
             \"hostname\": …, \"port\": 3306, \"username\": …, \"password\": …, \"dbName\": …}; until then kumadb \
             does not write anything"
                .into(),
        ),
    });
}

/// Files that the server process cannot read and write.
pub(super) fn find_wrong_owners(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(folder) = &evidence.folder else { return };
    if folder.read_only {
        faults.push(Fault {
            subject: Subject { path: Some(folder.path.clone()), ..Subject::default() },
            what: "the data folder is read-only in the container: nothing can be stored".into(),
            fix: Fix::Advice(
                "remove `:ro` from the volume, or mount the file system read-write, and recreate the container".into(),
            ),
        });
    }
    if folder.read_only_file_system {
        faults.push(Fault {
            subject: Subject { path: Some(folder.path.clone()), ..Subject::default() },
            what: "the file system of the data folder is mounted read-only: nothing can be stored; the kernel does that after \
                   errors of a disk"
                .into(),
            fix: Fix::Advice(
                "create a backup on another disk first (`kumadb backup create --store FOLDER`); look for errors in the log of \
                 the kernel (`dmesg`), check the file system, and mount it read-write"
                    .into(),
            ),
        });
    }
    find_lost_mariadb(folder, faults);
    let Some((uid, gid)) = folder.server else { return };
    // Root can read and write every file.
    if uid == 0 {
        return;
    }
    for seen in &folder.files {
        let is_data = seen.name.starts_with("kuma.db") && !seen.name.contains(".bak") && !seen.name.contains(".stale-");
        if !(is_data
            || ["", "upload", "docker-tls", "screenshots", "db-config.json", "mariadb"].contains(&seen.name.as_str()))
            || can_write(seen, uid, gid)
        {
            continue;
        }
        let needed = if seen.folder { 0o700 } else { 0o600 };
        let path = folder.path.join(&seen.name);
        faults.push(Fault {
            subject: Subject { path: Some(path.clone()), ..Subject::default() },
            what: format!(
                "`{}` is owned by user {} (mode {:o}), but the server runs as user {uid} and cannot write to it \
                 (EACCES, SQLITE_READONLY)",
                path.display(),
                seen.uid,
                seen.mode
            ),
            fix: Fix::Files(vec![FileChange::Own { path, uid, gid, mode: seen.mode | needed }]),
        });
    }
}

/// Files that the embedded MariaDB cannot write. It always runs as this user, and the server changes the owner of the
/// top folder only (2.0.2).
fn find_lost_mariadb(folder: &Folder, faults: &mut Vec<Fault>) {
    const NODE: u32 = 1000;
    // The server writes this one itself.
    let lost = |seen: &&FileEvidence| !can_write(seen, NODE, NODE) && !seen.name.ends_with("/mysql_upgrade_info");
    let lost: Vec<&FileEvidence> = folder.mariadb.iter().filter(lost).collect();
    let Some(first) = lost.first() else { return };
    let own = |seen: &&FileEvidence| {
        let needed = if seen.folder { 0o700 } else { 0o600 };
        FileChange::Own { path: folder.path.join(&seen.name), uid: NODE, gid: NODE, mode: seen.mode | needed }
    };
    faults.push(Fault {
        subject: Subject { path: Some(folder.path.join("mariadb")), ..Subject::default() },
        what: format!(
            "MariaDB runs as user {NODE} and cannot write to {} in `mariadb/`, for example `{}`, which is owned by \
             user {}: the server waits for MariaDB endlessly",
            if lost.len() == 1 { "one file".into() } else { format!("{} files", lost.len()) },
            first.name,
            first.uid
        ),
        fix: Fix::Files(lost.iter().map(own).collect()),
    });
}

fn can_write(seen: &FileEvidence, uid: u32, gid: u32) -> bool {
    let needed = if seen.folder { 0o7 } else { 0o6 };
    let shift = match (seen.uid == uid, seen.gid == gid) {
        (true, _) => 6,
        (false, true) => 3,
        (false, false) => 0,
    };
    (seen.mode >> shift) & needed == needed
}

/// An embedded MariaDB whose installation is incomplete, or an image without MariaDB.
pub(super) fn find_half_installed(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(folder) = evidence.folder.as_ref().filter(|folder| folder.embedded) else { return };
    let half = match (folder.mariadb_installed, evidence.half_made) {
        (Some(false), _) => {
            Some("contains an incomplete installation: the server waits for its MariaDB endlessly".to_owned())
        }
        (_, Some(tables)) => Some(format!(
            "is from a first start that was interrupted while it created the tables ({tables} exist, without users and \
             monitors); each start now fails"
        )),
        _ => None,
    };
    if let Some(half) = half {
        // Tables of the server: an installation that was complete once, and lost a part.
        let is_table = |seen: &&FileEvidence| seen.name.starts_with("mariadb/kuma/") && seen.name.ends_with(".ibd");
        let tables = folder.mariadb.iter().filter(is_table).count();
        let fix = match (evidence.half_made, tables) {
            (None, 1..) => Fix::Advice(format!(
                "`mariadb/kuma/` still has the files of {}, so nothing is renamed: restore the missing `mysql/` or \
                 `ibdata1` from a copy of the folder, or {RESTORE}",
                counted(tables, "table")
            )),
            _ => Fix::Files(vec![aside(folder, "mariadb", evidence)]),
        };
        faults.push(Fault { subject: at(evidence, "mariadb"), what: format!("`mariadb/` {half}"), fix });
    }
    if let Some(container) = evidence.container.as_ref().filter(|container| container.has_mariadb == Some(false)) {
        faults.push(Fault {
            subject: at(evidence, "db-config.json"),
            what: format!("image `{}` does not contain MariaDB, which this data folder requires", container.image),
            fix: Fix::Advice("use the full image of the same release (the tag without `-slim`)".into()),
        });
    }
}

fn is_embedded(evidence: &Evidence) -> bool {
    evidence.folder.as_ref().is_some_and(|folder| folder.embedded)
}

fn aside(folder: &Folder, name: &str, evidence: &Evidence) -> FileChange {
    let to = format!("{name}.stale-{}", evidence.now.format("%Y%m%dT%H%M%SZ"));
    FileChange::SetAside { path: folder.path.join(name), to: folder.path.join(to) }
}

fn at(evidence: &Evidence, name: &str) -> Subject {
    let path: Option<PathBuf> = evidence.folder.as_ref().map(|folder| folder.path.join(name));
    Subject { path, ..Subject::default() }
}
