//! Faults of the data folder: damage, space, owners, and a folder that is not the one.

use std::path::PathBuf;

use super::evidence::{Folder, Seen};
use super::{Cure, Evidence, Fault, FileChange, Subject};

use crate::schema::EngineKind;
use crate::text::{bytes, counted};

/// A database whose pages do not hold together.
pub(super) fn find_damage(evidence: &Evidence, faults: &mut Vec<Fault>) {
    if evidence.damage.is_empty() || has_loose_wal(evidence) {
        return;
    }
    faults.push(Fault {
        subject: at(evidence, "kuma.db"),
        what: format!("the database is damaged ({}): parts of it cannot be read", evidence.damage.join("; ")),
        cure: anew(evidence),
    });
}

/// A damaged database with a WAL beside it that nobody has open: most likely the WAL of another file.
pub(super) fn find_wrong_wal(evidence: &Evidence, faults: &mut Vec<Fault>) {
    if evidence.damage.is_empty() || !has_loose_wal(evidence) {
        return;
    }
    faults.push(Fault {
        subject: at(evidence, "kuma.db-wal"),
        what: format!(
            "the database cannot be read together with the `kuma.db-wal` beside it ({}): after a copy or restore by hand the \
             two are often not of one moment",
            evidence.damage.join("; ")
        ),
        cure: anew(evidence),
    });
}

/// A file can be read page by page; what MariaDB keeps cannot.
fn anew(evidence: &Evidence) -> Cure {
    match evidence.engine {
        Some(EngineKind::MariaDb) => Cure::Advice("kumadb backup list, then `kumadb restore ID`".into()),
        _ => Cure::Salvage,
    }
}

fn has_loose_wal(evidence: &Evidence) -> bool {
    let Some(folder) = &evidence.folder else { return false };
    folder.holders.is_empty() && folder.file("kuma.db-wal").is_some_and(|wal| wal.size > 0)
}

/// Less room than the database takes: the next clean-up, upgrade or backup ends half-way.
pub(super) fn find_full_disk(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(folder) = &evidence.folder else { return };
    if folder.free >= folder.size {
        return;
    }
    let old = folder.files.iter().filter(|seen| {
        !seen.folder && (seen.name.contains(".bak") || seen.name == "error.log" || seen.name.contains(".stale-"))
    });
    let old: Vec<String> = old.map(|seen| format!("`{}` ({})", seen.name, bytes(seen.size))).collect();
    let mut advice = match old.is_empty() {
        true => format!("make room on the disk of {}: df -h {0}", folder.path.display()),
        false => format!("look whether these can go, kumadb deletes none of them: {}", old.join(", ")),
    };
    if folder.screenshots > 0 {
        advice.push_str(&format!("; {} in `screenshots/`", counted(folder.screenshots, "picture")));
    }
    if let Some(content) = evidence.database.as_ref().filter(|content| content.beats.rows > 0) {
        advice.push_str(&format!(
            "; {} of history: kumadb history stats says what it takes, kumadb history prune --keep DAYS lets it go, and the \
             server uses its room again",
            counted(usize::try_from(content.beats.rows).unwrap_or(usize::MAX), "beat")
        ));
    }
    advice.push_str("; of snapshots on the same disk: kumadb backup prune");
    faults.push(Fault {
        subject: Subject { path: Some(folder.path.clone()), ..Subject::default() },
        what: format!(
            "{} are free and the database takes {}: the server stops storing when the disk is full, and no backup fits",
            bytes(folder.free),
            bytes(folder.size)
        ),
        cure: Cure::Advice(advice),
    });
}

/// Not the folder it should be, or two databases in one.
pub(super) fn find_wrong_folder(evidence: &Evidence, faults: &mut Vec<Fault>) {
    match (&evidence.nowhere, evidence.half_made) {
        // The embedded one is another code's.
        (None, _) => {}
        (Some(_), Some(_)) if is_embedded(evidence) => {}
        (Some(_), Some(tables)) => faults.push(Fault {
            subject: Subject::default(),
            what: format!(
                "the first start was cut off while it made the tables: there are {tables}, no user and no monitor; each start \
                 now ends with an error"
            ),
            cure: Cure::Advice(
                "with the server stopped, empty it: DROP DATABASE, then CREATE DATABASE … CHARACTER SET utf8mb4 (a kuma.db: give \
                 it another name); then start the server"
                    .into(),
            ),
        }),
        (Some(why), None) => faults.push(Fault {
            subject: Subject::default(),
            what: format!("{why}: the server shows its set-up page, as if all data were gone"),
            cure: Cure::Advice("kumadb find, to see where data is; then mount that folder at /app/data".into()),
        }),
    }
    let Some(folder) = &evidence.folder else { return };
    let stale = folder.file("kuma.db").filter(|seen| seen.size > 0);
    if let (Some(EngineKind::MariaDb), Some(_)) = (folder.engine, stale) {
        let parts = ["kuma.db", "kuma.db-wal", "kuma.db-shm"];
        let changes = parts.iter().filter(|name| folder.file(name).is_some()).map(|name| aside(folder, name, evidence));
        faults.push(Fault {
            subject: at(evidence, "kuma.db"),
            what: "a `kuma.db` lies beside a server on MariaDB: should `db-config.json` ever be lost, the server boots on \
                   that old file, and all newer data seem gone"
                .into(),
            cure: Cure::Files(changes.collect()),
        });
    }
}

/// Files that the user of the server cannot read and write.
pub(super) fn find_wrong_owners(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(folder) = &evidence.folder else { return };
    if folder.read_only {
        faults.push(Fault {
            subject: Subject { path: Some(folder.path.clone()), ..Subject::default() },
            what: "the container has its data folder read-only: nothing can be stored".into(),
            cure: Cure::Advice(
                "take `:ro` off the volume, or mount the file system for writing, and make the container anew".into(),
            ),
        });
    }
    find_lost_mariadb(folder, faults);
    let Some((uid, gid)) = folder.server else { return };
    // Root reads and writes everything.
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
                "`{}` belongs to user {} with mode {:o}, and the server runs as user {uid}: it cannot write it (EACCES, \
                 SQLITE_READONLY)",
                path.display(),
                seen.uid,
                seen.mode
            ),
            cure: Cure::Files(vec![FileChange::Own { path, uid, gid, mode: seen.mode | needed }]),
        });
    }
}

/// Files of the embedded MariaDB that it cannot write. Whoever the server runs as, its MariaDB runs as this user, and the
/// server gives it the uppermost folder only (2.0.2).
fn find_lost_mariadb(folder: &Folder, faults: &mut Vec<Fault>) {
    const NODE: u32 = 1000;
    // The server writes this one itself.
    let lost = |seen: &&Seen| !can_write(seen, NODE, NODE) && !seen.name.ends_with("/mysql_upgrade_info");
    let lost: Vec<&Seen> = folder.mariadb.iter().filter(lost).collect();
    let Some(first) = lost.first() else { return };
    let own = |seen: &&Seen| {
        let needed = if seen.folder { 0o700 } else { 0o600 };
        FileChange::Own { path: folder.path.join(&seen.name), uid: NODE, gid: NODE, mode: seen.mode | needed }
    };
    faults.push(Fault {
        subject: Subject { path: Some(folder.path.join("mariadb")), ..Subject::default() },
        what: format!(
            "{} in `mariadb/` cannot be written by MariaDB, which runs as user {NODE}, `{}` for one, of user {}: the server waits \
             for it for ever",
            if lost.len() == 1 { "one thing".into() } else { format!("{} things", lost.len()) },
            first.name,
            first.uid
        ),
        cure: Cure::Files(lost.iter().map(own).collect()),
    });
}

fn can_write(seen: &Seen, uid: u32, gid: u32) -> bool {
    let needed = if seen.folder { 0o7 } else { 0o6 };
    let shift = match (seen.uid == uid, seen.gid == gid) {
        (true, _) => 6,
        (false, true) => 3,
        (false, false) => 0,
    };
    (seen.mode >> shift) & needed == needed
}

/// An embedded MariaDB whose installation never ended, or in an image that has none.
pub(super) fn find_half_installed(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(folder) = evidence.folder.as_ref().filter(|folder| folder.embedded) else { return };
    let half = match (folder.mariadb_installed, evidence.half_made) {
        (Some(false), _) => {
            Some("holds no finished installation: the server waits for its MariaDB for ever".to_owned())
        }
        (_, Some(tables)) => Some(format!(
            "was cut off while the server made its tables: there are {tables}, no user and no monitor; each start now ends with \
             an error"
        )),
        _ => None,
    };
    if let Some(half) = half {
        faults.push(Fault {
            subject: at(evidence, "mariadb"),
            what: format!("`mariadb/` {half}"),
            cure: Cure::Files(vec![aside(folder, "mariadb", evidence)]),
        });
    }
    if let Some(container) = evidence.container.as_ref().filter(|container| container.has_mariadb == Some(false)) {
        faults.push(Fault {
            subject: at(evidence, "db-config.json"),
            what: format!("image `{}` has no MariaDB inside, and the data need one", container.image),
            cure: Cure::Advice("use the full image of the same release: its tag without `-slim`".into()),
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
