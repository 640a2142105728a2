//! `kumadb status`

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use clap::Args;
use serde_json::{Value as Json, json};

use super::fleet::{self, Fleet, FleetArgs};
use super::observe::watch;
use super::write::{duration, pause};
use super::{Context, check};
use crate::backup::store::Listing;
use crate::doctor::evidence::Candidate;
use crate::error::{DatabaseError, DockerError, Error, Exit, OperationError, Result, TargetError};
use crate::files::FileSystem;
use crate::instance::{DbLocation, Instance};
use crate::kuma::beats::read_last_beats;
use crate::kuma::read::{read_shown_state, read_summary};
use crate::model::state::{Configuration, Database, Summary};
use crate::operation::Journal;
use crate::operation::candidates::find_candidates;
use crate::report::status::{Freshness, LastBeat, Status, count, counts_text};
use crate::schema::newest;
use crate::text::{age_words, bytes, counted, lines};
use crate::value::{local_time, shown_time, utc_time};

#[derive(Args, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    fleet: FleetArgs,
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
    state: Configuration,
    summary: Summary,
    last: BTreeMap<i64, LastBeat>,
}

impl StatusData {
    fn statuses(&self) -> BTreeMap<Status, usize> {
        count(self.state.monitors.keys().map(|id| Status::of(&self.state, *id, self.last.get(id))))
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
        return fleet::run(&Fleet { args: args.fleet.clone(), more: &[], words }, context);
    }
    let instance = match context.instance() {
        Err(Error::Target(TargetError::NotDataFolder { path, why })) => {
            show_candidates(&find_candidates(&path, false), context);
            return Err(Error::Target(TargetError::NotDataFolder { path, why }));
        }
        found => found?,
    };
    let life = instance.container.as_ref().map(|server| server.life()).transpose()?;
    // The status starts nothing, so for a stopped embedded MariaDB only its files are read.
    let read = instance.connect().and_then(|connect| connect.reader()).and_then(|mut reader| {
        let state = read_shown_state(&mut *reader, &format!("`{}`", instance.name))?;
        let summary = read_summary(&mut *reader, &state.database.schema)?;
        Ok(StatusData { last: read_last_beats(&mut *reader)?, state, summary })
    });
    let (read, unread) = match read {
        Err(Error::Database(DatabaseError::Unreachable { .. }))
            if instance.container.is_some() && !instance.is_running()? =>
        {
            (None, "not running; to read it in a helper container: kumadb monitor list".to_owned())
        }
        // An embedded MariaDB starts and stops with its server, whatever its problem.
        Err(
            error @ (Error::Database(DatabaseError::Unreachable { .. })
            | Error::Docker(DockerError::Paused { .. })
            | Error::Docker(DockerError::RestartLoop { .. })
            | Error::Target(TargetError::NoContainerForMariaDb { .. })),
        ) if life.is_some() => (None, error.to_string()),
        Err(error) => return Err(unreadable(error, &instance, context)),
        Ok(read) => (Some(read), String::new()),
    };
    let stores = context.stores()?;
    let listed = match stores.list() {
        Err(error @ Error::Operation(OperationError::Interrupted { .. })) => return Err(error),
        listed => listed,
    };
    let is_listed = listed.is_ok();
    // A store that does not respond hides its snapshots, and nothing else.
    let listing = listed.unwrap_or_else(|error| Listing { unusable: vec![error], ..Listing::default() });
    listing.unusable.iter().for_each(|error| context.ui.warn(&error.to_string()));
    let snapshots = listing.snapshots;
    let last = snapshots
        .iter()
        .rev()
        .find(|snapshot| stores.is_of(&snapshot.manifest, &instance.origin()) && !snapshot.manifest.undo);
    let max_age = check::status_max_age(args.max_age, context)?;
    let age = last.map(|snapshot| Utc::now() - snapshot.manifest.created);
    let backups = match age {
        Some(age) => Backups::Newest { age, old: age > max_age },
        None if is_listed && listing.unusable.is_empty() => Backups::None,
        None => Backups::Unknown,
    };
    backups.warning(&instance.name, max_age).iter().for_each(|warning| context.ui.warn(warning));
    let unfinished = Journal::read(instance.work()).ok().flatten().map(|journal| journal.record);

    let statuses = read.as_ref().map(StatusData::statuses).unwrap_or_default();
    let overdue = read.as_ref().and_then(|seen| Freshness::of(&seen.state, &seen.last).overdue(Utc::now()));
    if let Some(age) = overdue {
        let name = &instance.name;
        context
            .ui
            .warn(&format!("the server of `{name}` is not checking: the newest heartbeat is {} old", age_words(age)));
    }
    let image = instance.container.as_ref().map(|server| server.container().image.clone());
    let server_release = read.as_ref().and_then(|seen| release_of_image(&instance, &seen.state.database));
    let life_word = life.map(|life| life.to_string());
    let mut rows = vec![("instance", instance.name.clone())];
    if let (Some(image), Some(life)) = (&image, &life_word) {
        rows.push(("container", format!("{life} ({image})")));
    }
    rows.extend(instance.folder.as_ref().map(|folder| ("data", folder.display().to_string())));
    let network = instance.network()?;
    if let Some(words) = network.as_ref().and_then(FileSystem::words) {
        rows.push(("file system", words));
    }
    rows.push(("engine", instance.engine_words().to_owned()));
    if instance.size() > 0 {
        rows.push(("size", bytes(instance.size())));
    }
    if let Some(StatusData { state: Configuration { database, .. }, summary, .. }) = &read {
        rows.push(("release", release_words(database, server_release.as_deref())));
        rows.push(("monitors", format!("{} ({} active)", summary.monitors, summary.active)));
        if !statuses.is_empty() {
            rows.push(("status", counts_text(&statuses)));
        }
        rows.push(("last heartbeat", summary.newest_beat.as_deref().map_or("none".into(), shown_time)));
        if database.migrating {
            rows.push(("migration", "running, or interrupted (`knex_migrations_lock` is set)".into()));
        }
    } else {
        rows.push(("database", unread));
    }
    let none = if matches!(backups, Backups::Unknown) { "unknown: a store is unreachable" } else { "none" };
    rows.push((
        "last snapshot",
        last.map_or(none.to_owned(), |snapshot| {
            let made = local_time(snapshot.manifest.created);
            format!("{} of {made} ({})", snapshot.manifest.id, bytes(snapshot.size))
        }),
    ));
    rows.extend(unfinished.as_ref().map(|record| ("interrupted", record.unfinished().to_string())));
    let document = json!({
        "instance": instance.name,
        "container": life_word.as_ref().map(|life| json!({"state": life, "image": image})),
        "folder": instance.folder,
        "network_file_system": network.as_ref().map(|found| json!({"type": found.kind, "lock_reaches": found.reach.word()})),
        "engine": instance.engine(),
        "embedded": matches!(instance.place, DbLocation::Embedded(_)),
        "size_bytes": instance.size(),
        "release": read.as_ref().map(|seen| seen.state.database.release.to_string()),
        "server_release": server_release,
        "release_known": read.as_ref().map(|seen| seen.state.database.release.exact),
        "monitors": read.as_ref().map(|seen| seen.summary.monitors),
        "active": read.as_ref().map(|seen| seen.summary.active),
        "statuses": statuses.iter().map(|(status, n)| (status.word().to_owned(), json!(n))).collect::<serde_json::Map<_, _>>(),
        "checking": read.as_ref().map(|_| overdue.is_none()),
        "last_heartbeat": read.as_ref().and_then(|seen| seen.summary.newest_beat.as_deref().map(utc_time)),
        "migrating": read.as_ref().map(|seen| seen.state.database.migrating),
        "last_snapshot": last.map(|snapshot| json!({"id": snapshot.manifest.id, "created": snapshot.manifest.created})),
        "backup": {
            "state": backups.word(),
            "age_seconds": age.map(|age| age.num_seconds()),
            "max_age_seconds": max_age.num_seconds(),
        },
        "interrupted": unfinished,
    });
    context.ui.clear_screen()?;
    context.ui.result(&document, || {
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        lines(rows.iter().map(|(name, value)| format!("{name:width$}  {value}")))
    })?;
    Ok(Exit::Done)
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
