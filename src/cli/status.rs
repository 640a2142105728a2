//! `kumadb status`

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use clap::Args;
use serde_json::{Value as Json, json};

use super::fleet::{self, Fleet, FleetArgs};
use super::observe::watch;
use super::write::pause;
use super::{Context, check};
use crate::backup::Snapshot;
use crate::backup::store::Listing;
use crate::docker::RunState;
use crate::doctor::evidence::Candidate;
use crate::error::{DatabaseError, DockerError, Error, Exit, OperationError, Result, TargetError};
use crate::files::FileSystem;
use crate::instance::{DbLocation, Instance};
use crate::kuma::beats::read_last_beats;
use crate::kuma::read::{read_shown_state, read_summary};
use crate::model::state::{Database, MonitorConfig, Summary};
use crate::operation::candidates::find_candidates;
use crate::operation::{Journal, JournalRecord};
use crate::report::status::{Freshness, LastBeat, MonitorStatus, count, counts_text};
use crate::schema::newest;
use crate::text::{age_words, bytes, counted, duration, lines};
use crate::value::{local_time, shown_time, utc_time};

#[derive(Args, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    pub fleet: FleetArgs,
    /// Warn when the newest backup is older than this, for example 26h or 7d [default: twice the job interval, else 7d]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_age: Option<Duration>,
    /// Show the status again every 5 seconds, or after this time
    #[arg(long, value_name = "DURATION", value_parser = pause, num_args = 0..=1, default_missing_value = "5s")]
    watch: Option<Duration>,
}

impl StatusArgs {
    /// The options that stand for the config file on a remote host.
    pub fn configured(&self, context: &Context<'_>) -> Result<Vec<String>> {
        if self.max_age.is_some() { Ok(Vec::new()) } else { check::configured_max_age(false, context) }
    }
}

/// The state of the backups of the instance.
enum Backups {
    /// The age of the newest one, and whether that is too old.
    Newest { age: TimeDelta, old: bool },
    /// There is none.
    None,
    /// Stores do not respond.
    Unknown,
}

impl Backups {
    fn word(&self) -> &'static str {
        match self {
            Backups::Newest { old: false, .. } => "ok",
            Backups::Newest { old: true, .. } => "old",
            Backups::None => "none",
            Backups::Unknown => "unknown",
        }
    }

    /// The warning about missing or old backups, if there is one.
    fn warning(&self, name: &str, max_age: TimeDelta) -> Option<String> {
        match self {
            Backups::None => Some(format!("`{name}` has no backup; to create one: kumadb backup create")),
            Backups::Newest { age, old: true } => Some(format!(
                "the newest backup of `{name}` is {} old (limit: {}); to create one: kumadb backup create",
                age_words(*age),
                age_words(max_age)
            )),
            _ => None,
        }
    }
}

/// What is read from the database.
struct StatusData {
    state: MonitorConfig,
    summary: Summary,
    last: BTreeMap<i64, LastBeat>,
}

impl StatusData {
    fn statuses(&self) -> BTreeMap<MonitorStatus, usize> {
        count(self.state.monitors.keys().map(|id| MonitorStatus::of(&self.state, *id, self.last.get(id))))
    }
}

pub fn run(args: &StatusArgs, context: &mut Context<'_>) -> Result<Exit> {
    match args.watch {
        Some(pause) => watch(pause, context, |context| show(args, context)),
        None => show(args, context),
    }
}

fn show(args: &StatusArgs, context: &mut Context<'_>) -> Result<Exit> {
    if args.fleet.is_many() {
        return fleet::read(&Fleet { args: args.fleet.clone(), more: &[], words }, context);
    }
    let instance = match context.instance() {
        Err(Error::Target(TargetError::NotDataFolder { path, why })) => {
            show_candidates(&find_candidates(&path, false), context);
            return Err(Error::Target(TargetError::NotDataFolder { path, why }));
        }
        found => found?,
    };
    let life = instance.container.as_ref().map(|server| server.life()).transpose()?;
    let (read, unread) = read_data(&instance, life, context)?;
    let saved = Saved::read(&instance, args, context)?;
    let overdue = read.as_ref().and_then(|seen| Freshness::of(&seen.state, &seen.last).overdue(Utc::now()));
    if let Some(age) = overdue {
        let name = &instance.name;
        context
            .ui
            .warn(&format!("the server of `{name}` is not checking: the newest heartbeat is {} old", age_words(age)));
    }
    let status = InstanceStatus {
        life: life.map(|life| life.to_string()),
        image: instance.container.as_ref().map(|server| server.container().image.clone()),
        server_release: read.as_ref().and_then(|seen| release_of_image(&instance, &seen.state.database)),
        statuses: read.as_ref().map(StatusData::statuses).unwrap_or_default(),
        network: instance.network()?,
        unfinished: Journal::read(instance.work()).ok().flatten().map(|journal| journal.record),
        instance,
        read,
        unread,
        overdue,
        saved,
    };
    context.ui.clear_screen()?;
    context.ui.result(&status.document(), || {
        let rows = status.rows();
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        lines(rows.iter().map(|(name, value)| format!("{name:width$}  {value}")))
    })?;
    Ok(Exit::Done)
}

/// Reads the database; or why it cannot be read now. The status starts nothing, so for a stopped embedded MariaDB only its
/// files are read.
fn read_data(
    instance: &Instance,
    life: Option<RunState>,
    context: &mut Context<'_>,
) -> Result<(Option<StatusData>, String)> {
    let read = instance.connect().and_then(|connect| connect.reader()).and_then(|mut reader| {
        let state = read_shown_state(&mut *reader, &format!("`{}`", instance.name))?;
        let summary = read_summary(&mut *reader, &state.database.schema)?;
        Ok(StatusData { last: read_last_beats(&mut *reader)?, state, summary })
    });
    match read {
        Err(Error::Database(DatabaseError::Unreachable { .. }))
            if instance.container.is_some() && !instance.is_running()? =>
        {
            Ok((None, "not running; to read it in a helper container: kumadb monitor list".to_owned()))
        }
        // An embedded MariaDB starts and stops with its server, whatever its problem.
        Err(
            error @ (Error::Database(DatabaseError::Unreachable { .. })
            | Error::Docker(DockerError::Paused { .. })
            | Error::Docker(DockerError::RestartLoop { .. })
            | Error::Target(TargetError::NoContainerForMariaDb { .. })),
        ) if life.is_some() => Ok((None, error.to_string())),
        Err(error) => Err(unreadable(error, instance, context)),
        Ok(read) => Ok((Some(read), String::new())),
    }
}

/// The backups of an instance.
struct Saved {
    backups: Backups,
    last: Option<Snapshot>,
    age: Option<TimeDelta>,
    max_age: TimeDelta,
}

impl Saved {
    /// Lists the stores, and warns of what is wrong with them and of old backups.
    fn read(instance: &Instance, args: &StatusArgs, context: &mut Context<'_>) -> Result<Saved> {
        let stores = context.stores()?;
        let listed = match stores.list() {
            Err(error @ Error::Operation(OperationError::Interrupted { .. })) => return Err(error),
            listed => listed,
        };
        let is_listed = listed.is_ok();
        // A store that does not respond hides its snapshots, and nothing else.
        let listing = listed.unwrap_or_else(|error| Listing { unusable: vec![error], ..Listing::default() });
        listing.unusable.iter().for_each(|error| context.ui.warn(&error.to_string()));
        let is_backup = |Snapshot { manifest, .. }: &Snapshot| {
            stores.is_of(manifest, &instance.origin()) && !manifest.undo && !manifest.raw
        };
        let is_whole = |snapshot: &Snapshot| {
            snapshot.check_size().inspect_err(|error| context.ui.warn(&error.to_string())).is_ok()
        };
        let mut own = listing.snapshots.into_iter().rev().filter(is_backup);
        let last = own.find(is_whole);
        let max_age = check::status_max_age(args.max_age, context)?;
        let age = last.as_ref().map(|snapshot| Utc::now() - snapshot.manifest.created);
        let backups = match age {
            Some(age) => Backups::Newest { age, old: age > max_age },
            None if is_listed && listing.unusable.is_empty() => Backups::None,
            None => Backups::Unknown,
        };
        backups.warning(&instance.name, max_age).iter().for_each(|warning| context.ui.warn(warning));
        Ok(Saved { backups, last, age, max_age })
    }

    fn words(&self) -> String {
        let none = if matches!(self.backups, Backups::Unknown) { "unknown: a store is unreachable" } else { "none" };
        self.last.as_ref().map_or(none.to_owned(), |snapshot| {
            let made = local_time(snapshot.manifest.created);
            format!("{} of {made} ({})", snapshot.manifest.id, bytes(snapshot.size))
        })
    }
}

/// What `status` shows of one instance.
struct InstanceStatus {
    instance: Instance,
    life: Option<String>,
    image: Option<String>,
    server_release: Option<String>,
    read: Option<StatusData>,
    /// Why nothing was read.
    unread: String,
    statuses: BTreeMap<MonitorStatus, usize>,
    /// The age of the newest heartbeat, if the server is not checking.
    overdue: Option<TimeDelta>,
    network: Option<FileSystem>,
    saved: Saved,
    unfinished: Option<JournalRecord>,
}

impl InstanceStatus {
    fn rows(&self) -> Vec<(&'static str, String)> {
        let instance = &self.instance;
        let mut rows = vec![("instance", instance.name.clone())];
        if let (Some(image), Some(life)) = (&self.image, &self.life) {
            rows.push(("container", format!("{life} ({image})")));
        }
        rows.extend(instance.folder.as_ref().map(|folder| ("data", folder.display().to_string())));
        if let Some(words) = self.network.as_ref().and_then(FileSystem::words) {
            rows.push(("file system", words));
        }
        rows.push(("engine", instance.engine_words().to_owned()));
        if instance.size() > 0 {
            rows.push(("size", bytes(instance.size())));
        }
        if let Some(StatusData { state: MonitorConfig { database, .. }, summary, .. }) = &self.read {
            rows.push(("release", release_words(database, self.server_release.as_deref())));
            rows.push(("monitors", format!("{} ({} active)", summary.monitors, summary.active)));
            if !self.statuses.is_empty() {
                rows.push(("status", counts_text(&self.statuses)));
            }
            rows.push(("last heartbeat", summary.newest_beat.as_deref().map_or("none".into(), shown_time)));
            if database.migrating {
                rows.push(("migration", "running, or interrupted (`knex_migrations_lock` is set)".into()));
            }
        } else {
            rows.push(("database", self.unread.clone()));
        }
        rows.push(("last snapshot", self.saved.words()));
        rows.extend(self.unfinished.as_ref().map(|record| ("interrupted", record.unfinished().to_string())));
        rows
    }

    fn document(&self) -> Json {
        let (instance, read) = (&self.instance, self.read.as_ref());
        let Saved { backups, last, age, max_age } = &self.saved;
        json!({
            "instance": instance.name,
            "container": self.life.as_ref().map(|life| json!({"state": life, "image": self.image})),
            "folder": instance.folder,
            "network_file_system": self.network.as_ref().map(|found| json!({"type": found.kind, "lock_reaches": found.reach.word()})),
            "engine": instance.engine(),
            "embedded": matches!(instance.place, DbLocation::Embedded(_)),
            "size_bytes": instance.size(),
            "release": read.map(|seen| seen.state.database.release.to_string()),
            "server_release": self.server_release,
            "release_known": read.map(|seen| seen.state.database.release.exact),
            "monitors": read.map(|seen| seen.summary.monitors),
            "active": read.map(|seen| seen.summary.active),
            "statuses": self.statuses.iter().map(|(status, n)| (status.word().to_owned(), json!(n))).collect::<serde_json::Map<_, _>>(),
            "checking": read.map(|_| self.overdue.is_none()),
            "last_heartbeat": read.and_then(|seen| seen.summary.newest_beat.as_deref().map(utc_time)),
            "migrating": read.map(|seen| seen.state.database.migrating),
            "last_snapshot": last.as_ref().map(|snapshot| json!({"id": snapshot.manifest.id, "created": snapshot.manifest.created})),
            "backup": {
                "state": backups.word(),
                "age_seconds": age.map(|age| age.num_seconds()),
                "max_age_seconds": max_age.num_seconds(),
            },
            "interrupted": self.unfinished,
        })
    }
}

/// `error` of a database that cannot be read; other copies of it in its folder are shown.
fn unreadable(error: Error, instance: &Instance, context: &mut Context<'_>) -> Error {
    if let Some(folder) = instance.folder.as_ref().filter(|_| error.is_unreadable()) {
        show_candidates(&find_candidates(folder, true), context);
    }
    error
}

/// Shows other copies of a database that is missing or cannot be read, each with the command that restores from it.
fn show_candidates(candidates: &[Candidate], context: &mut Context<'_>) {
    for candidate in candidates {
        context.ui.warn(&format!("another copy exists: {}; {}", candidate.words(), candidate.command));
    }
}

/// The release of the server, from its image, where it has exactly the migrations of the `database`.
fn release_of_image(instance: &Instance, database: &Database) -> Option<String> {
    let shipped = instance.container.as_ref()?.shipped().ok()??;
    let migrations: BTreeSet<String> = shipped.migrations().into_iter().map(str::to_owned).collect();
    shipped.release.filter(|_| migrations == database.migrations)
}

/// The release of the `database`; that of the `server` is more exact than the migrations.
fn release_words(database: &Database, server: Option<&str>) -> String {
    let found = &database.release;
    match server {
        _ if !found.exact && database.unknown_migrations().is_empty() => format!("{found}, by its recorded migrations"),
        _ if !found.exact => format!("{found}, with migrations unknown to kumadb"),
        Some(server) => server.to_owned(),
        // A later release may have no migrations of its own.
        None if found.release == newest() => {
            format!("{} or newer ({})", found.oldest, counted(database.migrations.len(), "migration"))
        }
        None => found.to_string(),
    }
}

/// Summary of one instance for the table of many.
fn words(status: &Json) -> String {
    let mut words = vec![status["container"]["state"].as_str().unwrap_or("folder").to_owned()];
    match (status["release"].as_str(), status["monitors"].as_i64()) {
        (Some(release), Some(monitors)) => {
            words.push(release.to_owned());
            words.push(counted(monitors.unsigned_abs() as usize, "monitor"));
            words.extend(status["statuses"]["down"].as_i64().map(|n| format!("{n} down")));
            words.push(format!(
                "last heartbeat {}",
                status["last_heartbeat"].as_str().map_or("none".into(), shown_time)
            ));
        }
        _ => words.push("database offline".into()),
    }
    match (status["backup"]["state"].as_str(), status["backup"]["age_seconds"].as_i64()) {
        (Some("none"), _) => words.push("no backup".into()),
        (Some("old"), Some(age)) => words.push(format!("backup {} old", age_words(TimeDelta::seconds(age)))),
        _ => {}
    }
    if !status["interrupted"].is_null() {
        words.push("interrupted operation".into());
    }
    words.join(", ")
}
