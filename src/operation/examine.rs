//! Gathers the evidence for the doctor, without changing anything, from every part that can be read.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::candidates::find_candidates;
use super::journal::Journal;
use super::run::Run;
use super::work::Settings;
use super::zone::is_zone;
use super::{Observer, Step};
use crate::docker::{Container, LogRange, RunState};
use crate::doctor::Evidence;
use crate::doctor::evidence::{DatabaseContent, FileEvidence, Folder, Running, Unavailable};
use crate::engine::sqlite::{JournalFile, SqliteFile};
use crate::engine::{Connect as _, Depth, EngineKind, join};
use crate::error::{DatabaseError, Error, Result, TargetError};
use crate::files::{self, About, Lock};
use crate::instance::{DbLocation, Instance, Session};
use crate::kuma::evidence::{check_with_beats, read_beats, read_content, read_half_made};
use crate::kuma::init::random_text;
use crate::kuma::read::read_overview;
use crate::model::push_token_length;
use crate::wait::Deadline;

/// Lines of the log that are searched: those of several runs of a server in a restart loop.
const LOG: u32 = 200;

/// How long to wait for a server in a restart loop to end and start again.
const LOOP: Duration = Duration::from_secs(30);

/// Gathers the evidence about `instance` at `now`. A part that cannot be read is named, and the rest is gathered
/// anyway.
/// `depth` is what the engine checks for damage.
pub fn gather(instance: &Instance, now: DateTime<Utc>, depth: Depth) -> Evidence {
    gather_under(instance, None, now, depth)
}

/// The same for a server in a restart loop whose MariaDB restarts with it: the server is stopped for the examination
/// and started again.
///
/// # Errors
/// The server cannot be stopped or started again; the journal stays for `recover` then.
pub fn gather_stopped(
    instance: &Instance,
    now: DateTime<Utc>,
    depth: Depth,
    settings: &Settings,
    observer: &mut dyn Observer,
) -> Result<Evidence> {
    while_stopped(instance, settings, observer, |lock| gather_under(instance, Some(lock), now, depth))
}

/// Stops the server of `instance`, which is in a restart loop, runs `look`, and starts the server again.
///
/// # Errors
/// As [`gather_stopped`].
pub fn while_stopped<T>(
    instance: &Instance,
    settings: &Settings,
    observer: &mut dyn Observer,
    look: impl FnOnce(&Lock) -> T,
) -> Result<T> {
    let mut run = Run::begin(instance, settings, observer, |_, _| Ok(()))?;
    if let Err(cause) = run.stop(observer) {
        return Err(run.back(cause, observer));
    }
    let seen = look(&run.lock);
    if let Some(server) = &instance.container {
        observer.step(&Step::Start { container: server.name().to_owned() })?;
        server.start()?;
    }
    // The next step has to see the server as it is: the first of its runs looks like a stable one.
    let deadline = Deadline::after(LOOP, Duration::from_millis(200));
    while instance.life()? != Some(RunState::Restarting) && deadline.wait() {}
    run.close()?;
    Ok(seen)
}

fn gather_under(instance: &Instance, lock: Option<&Lock>, now: DateTime<Utc>, depth: Depth) -> Evidence {
    let mut evidence = Evidence { engine: Some(instance.engine()), ..Evidence::none(now) };
    // Only a server in a restart loop is stopped for it.
    if let Err(error) = read_container(instance, lock.is_some(), &mut evidence) {
        evidence.unread.push(Unavailable { part: "container", why: error.to_string() });
    }
    if let Some(path) = &instance.folder {
        match read_folder(instance, path) {
            Ok(folder) => evidence.folder = Some(folder),
            Err(error) => evidence.unread.push(Unavailable { part: "folder", why: error.to_string() }),
        }
    }
    if let DbLocation::Sqlite(file) = &instance.place {
        match read_journal(file) {
            Ok(pages) => evidence.journal = pages,
            Err(error) => evidence.unread.push(Unavailable { part: "kuma.db-journal", why: error.to_string() }),
        }
    }
    match instance.config_problem() {
        Ok(problem) => evidence.config_problem = problem,
        Err(error) => evidence.unread.push(Unavailable { part: "db-config.json", why: error.to_string() }),
    }
    // The journal of the examination itself is not an interrupted operation.
    match if lock.is_some() { Ok(None) } else { Journal::read(instance.work()) } {
        Ok(journal) => evidence.unfinished = journal.map(|journal| journal.record.unfinished().to_string()),
        Err(error) => evidence.unread.push(Unavailable { part: "journal", why: error.to_string() }),
    }
    match read_database(instance, lock, now, depth, &mut evidence.damage) {
        Ok(content) => {
            match make_tokens(&content) {
                Ok(tokens) => evidence.tokens = tokens,
                Err(error) => evidence.unread.push(Unavailable { part: "random numbers", why: error.to_string() }),
            }
            evidence.database = Some(content);
        }
        Err(Error::Database(DatabaseError::Damaged { problems, .. })) => evidence.damage = problems,
        Err(
            error @ Error::Database(
                DatabaseError::NoFile(_) | DatabaseError::EmptyFile(_) | DatabaseError::NotKuma { .. },
            ),
        ) => {
            evidence.nowhere = Some(error.to_string());
            // There is nothing more to report about an empty file.
            evidence.half_made = half_made(instance, lock).unwrap_or(None);
        }
        Err(Error::Database(DatabaseError::OtherFormat { what, command, .. })) => {
            evidence.other_format = Some((what, command));
        }
        Err(Error::Database(DatabaseError::ForeignJournal { why, .. })) => evidence.foreign_journal = Some(why),
        Err(error) if error.is_unreadable() => evidence.damage = vec![error.to_string()],
        Err(error) => evidence.unread.push(Unavailable { part: "database", why: error.to_string() }),
    }
    read_beside(instance, lock, &mut evidence);
    if let Some(folder) = instance.folder.as_ref().filter(|_| has_database_problem(&evidence)) {
        evidence.candidates = find_candidates(folder, true);
    }
    if let Err(error) = read_image(instance, &mut evidence) {
        evidence.unread.push(Unavailable { part: "image", why: error.to_string() });
    }
    evidence
}

/// Whether the database is missing or cannot be read, whatever the reason in the files.
fn has_database_problem(evidence: &Evidence) -> bool {
    !evidence.damage.is_empty()
        || evidence.nowhere.is_some()
        || evidence.other_format.is_some()
        || evidence.foreign_journal.is_some()
}

/// The two databases of a folder with a `kuma.db` whose configuration names a MariaDB.
fn read_beside(instance: &Instance, lock: Option<&Lock>, evidence: &mut Evidence) {
    let Some(folder) = evidence.folder.as_ref().filter(|folder| folder.engine == Some(EngineKind::MariaDb)) else {
        return;
    };
    if folder.file("kuma.db").is_none_or(|seen| seen.size == 0) {
        return;
    }
    let old = SqliteFile::new(folder.path.join("kuma.db"));
    let read = old.reader().and_then(|mut reader| read_overview(&mut *reader, "`kuma.db`"));
    evidence.beside = Some(read.map(|(_, summary)| summary).map_err(|error| error.to_string()));
    // Where the database itself could not be read, the reason is noted already.
    if evidence.database.is_some() {
        let name = format!("`{}`", instance.name);
        match open(instance, lock).and_then(|session| session.read(|reader| read_overview(reader, &name))) {
            Ok((_, summary)) => evidence.summary = Some(summary),
            Err(error) => evidence.unread.push(Unavailable { part: "database", why: error.to_string() }),
        }
    }
}

/// The release of the image, and what it does not know of the database.
fn read_image(instance: &Instance, evidence: &mut Evidence) -> Result<()> {
    let (Some(server), Some(running)) = (&instance.container, &mut evidence.container) else { return Ok(()) };
    let Some(shipped) = server.shipped()? else { return Ok(()) };
    running.lacking = evidence
        .database
        .as_ref()
        .map(|content| shipped.problems(&content.config.database.migrations).into_iter().map(str::to_owned).collect());
    running.release = shipped.release;
    Ok(())
}

/// A new token for each push monitor.
fn make_tokens(content: &DatabaseContent) -> Result<BTreeMap<i64, String>> {
    let length = push_token_length(content.config.database.release.release);
    let rows = content.config.rows("monitor").iter().filter(|row| row.text("type") == Some("push"));
    rows.filter_map(|row| row.int("id")).map(|id| Ok((id, random_text(length)?))).collect()
}

/// Pages in the journal of an interrupted transaction of this database.
fn read_journal(file: &SqliteFile) -> Result<Option<u64>> {
    Ok(match file.is_interrupted()?.then(|| file.journal()).transpose()? {
        Some(JournalFile::Own(journal)) => Some(journal.records()),
        _ => None,
    })
}

fn open<'a>(instance: &'a Instance, lock: Option<&Lock>) -> Result<Session<'a>> {
    lock.map_or_else(|| instance.open(), |lock| instance.open_locked(lock))
}

fn half_made(instance: &Instance, lock: Option<&Lock>) -> Result<Option<usize>> {
    open(instance, lock)?.read(read_half_made)
}

/// The evidence where no instance was found: the reason.
///
/// # Errors
/// `error` itself, unless it is about a place that should contain an instance.
pub fn gather_nowhere(error: Error, now: DateTime<Utc>) -> Result<Evidence> {
    match error {
        Error::Target(TargetError::NotDataFolder { ref path, .. }) => {
            let candidates = find_candidates(path, false);
            Ok(Evidence { nowhere: Some(error.to_string()), candidates, ..Evidence::none(now) })
        }
        Error::Target(TargetError::NoDataFolder { .. }) => {
            Ok(Evidence { nowhere: Some(error.to_string()), ..Evidence::none(now) })
        }
        Error::Target(TargetError::DbConfig { why, .. }) => {
            let unread = vec![Unavailable { part: "database", why: "db-config.json is invalid".into() }];
            Ok(Evidence { config_problem: Some(why), unread, ..Evidence::none(now) })
        }
        error => Err(error),
    }
}

fn read_database(
    instance: &Instance,
    lock: Option<&Lock>,
    now: DateTime<Utc>,
    depth: Depth,
    damage: &mut Vec<String>,
) -> Result<DatabaseContent> {
    // A large history is read once, or twice in parallel: for its structure, and for its heartbeats.
    open(instance, lock)?.with(|connect| {
        let (now, name) = (now.timestamp(), format!("`{}`", instance.name));
        // References are checked one by one. `CHECK TABLE` of MariaDB runs only for a full examination.
        let is_checked = connect.kind() == EngineKind::Sqlite || depth == Depth::Full;
        let check = || if is_checked { connect.reader()?.check(depth) } else { Ok(Vec::new()) };
        let check_with_beats = || match check_with_beats(&mut *connect.reader()?, depth, now)? {
            Some((faults, beats)) => Ok::<_, Error>((Ok(faults), Ok(beats))),
            None => Ok(join(check, || read_beats(connect, now))),
        };
        let content = || read_content(&mut *connect.reader()?, &name, now, &is_zone);
        let (content, checked) = join(content, check_with_beats);
        let (faults, beats) = checked?;
        damage.extend(faults?.into_iter().filter(|fault| fault.rows == 0).map(|fault| fault.what));
        let content = content?;
        Ok(DatabaseContent { beats: beats?, ..content })
    })
}

fn read_container(instance: &Instance, was_looping: bool, evidence: &mut Evidence) -> Result<()> {
    let Some(server) = &instance.container else { return Ok(()) };
    let (container, life) = (server.container(), server.life()?);
    // Of one that has ended, only the last run counts.
    let since = container.state.failed().then(|| container.run().at).flatten();
    evidence.container = Some(Running {
        name: server.name().to_owned(),
        image: container.image.clone(),
        up: life != RunState::Stopped,
        looping: was_looping || life == RunState::Restarting,
        failed: container.state.failed(),
        others: server.others()?,
        has_mariadb: container.server.then(|| container.env.contains_key("UPTIME_KUMA_ENABLE_EMBEDDED_MARIADB")),
        log: server.logs(LogRange { tail: Some(LOG), since }).unwrap_or_default(),
        release: None,
        lacking: None,
    });
    Ok(())
}

fn read_folder(instance: &Instance, path: &Path) -> Result<Folder> {
    let mut files = vec![seen(String::new(), &files::about_target(path)?)];
    files::check_readable(path).map_err(Error::file("read the folder", path))?;
    files.extend(look_into(path, "."));
    let container = instance.container.as_ref().map(|server| server.container());
    let embedded = matches!(instance.place, DbLocation::Embedded(_));
    let holders = match &instance.place {
        DbLocation::Sqlite(file) => files::holders(&file.parts()),
        _ => Vec::new(),
    };
    let mariadb = files.iter().find(|seen| seen.name == "mariadb" && seen.folder);
    let inside = if embedded { look_below(path) } else { Vec::new() };
    let owner = files.first().map(|seen| (seen.uid, seen.gid));
    Ok(Folder {
        engine: Some(instance.engine()),
        embedded,
        free: files::free_space(path)?,
        mariadb_installed: (embedded && mariadb.is_some()).then(|| {
            ["mysql", "ibdata1"]
                .iter()
                .all(|desired| inside.iter().any(|seen| seen.name == format!("mariadb/{desired}")))
        }),
        mariadb: inside,
        uploads: look_into(path, "upload"),
        screenshots: look_into(path, "screenshots").len(),
        size: instance.size(),
        server: container.as_deref().map_or(owner, Container::ids),
        read_only: container.and_then(|container| container.data().ok()).is_some_and(|data| data.read_only),
        read_only_file_system: files::is_read_only(path)?,
        holders,
        network: instance.network()?.and_then(|found| found.words()),
        path: path.to_owned(),
        files,
    })
}

/// The entries of the folder `name` in the data folder `path`, by name; empty where it does not exist.
fn look_into(path: &Path, name: &str) -> Vec<FileEvidence> {
    files::look_into(path, name).into_iter().map(|(name, found)| seen(name, &found)).collect()
}

/// The entries of `mariadb/`, and of the folders of its databases.
fn look_below(path: &Path) -> Vec<FileEvidence> {
    let under = |folder: &str| {
        let found = look_into(path, folder).into_iter();
        found.map(|seen| FileEvidence { name: format!("{folder}/{}", seen.name), ..seen }).collect::<Vec<_>>()
    };
    let mut found = under("mariadb");
    let folders: Vec<String> = found.iter().filter(|seen| seen.folder).map(|seen| seen.name.clone()).collect();
    found.extend(folders.iter().flat_map(|folder| under(folder)));
    found
}

fn seen(name: String, found: &About) -> FileEvidence {
    let About { size, uid, gid, mode, .. } = *found;
    FileEvidence { name, size, uid, gid, mode: mode & 0o777, folder: found.is_folder() }
}
