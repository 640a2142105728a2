//! `kumadb status`

use clap::Args;
use serde_json::{Value as Json, json};

use super::Context;
use super::fleet::{self, Fleet, FleetArgs};
use crate::error::{Error, Exit, Result, bytes, counted};
use crate::files::FileSystem;
use crate::instance::Place;
use crate::kuma::read::{read_database, read_summary};
use crate::run::Journal;

#[derive(Args, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    fleet: FleetArgs,
}

pub fn run(args: &StatusArgs, context: &mut Context<'_>) -> Result<Exit> {
    if args.fleet.is_many() {
        return fleet::run(&Fleet { args: args.fleet.clone(), more: &[], words }, context);
    }
    let instance = context.instance()?;
    let life = instance.container.as_ref().map(|server| server.life()).transpose()?;
    // Asking for the status starts nothing, so a stopped embedded MariaDB is told by its files alone.
    let read = instance.connect().and_then(|connect| connect.reader()).and_then(|mut reader| {
        let database = read_database(&mut *reader, &format!("`{}`", instance.name))?;
        let summary = read_summary(&mut *reader, &database.schema)?;
        Ok((database, summary))
    });
    let (read, unread) = match read {
        Err(Error::Unreachable { .. }) if instance.container.is_some() && !instance.is_running()? => {
            (None, "not running; `kumadb monitor list` opens it in a helper container".to_owned())
        }
        // An embedded MariaDB comes and goes with its server, whatever ails that.
        Err(error @ (Error::Unreachable { .. } | Error::Paused { .. } | Error::Refused(_))) if life.is_some() => {
            (None, error.to_string())
        }
        read => (Some(read?), String::new()),
    };
    let listing = context.stores()?.list()?;
    listing.unusable.iter().for_each(|error| context.ui.warn(&error.to_string()));
    let snapshots = listing.snapshots;
    let last = snapshots
        .iter()
        .rev()
        .find(|snapshot| snapshot.manifest.origin == instance.origin() && !snapshot.manifest.undo);
    let unfinished = Journal::read(instance.work()).ok().flatten().map(|journal| journal.record);

    let image = instance.container.as_ref().map(|server| server.container().image.clone());
    let life_word = life.map(|life| format!("{life:?}").to_lowercase());
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
    if let Some((database, summary)) = &read {
        let known = if database.release.exact { "" } else { ", with migrations unknown to kumadb" };
        rows.push(("release", format!("{}{known}", database.release)));
        rows.push(("monitors", format!("{} ({} active)", summary.monitors, summary.active)));
        rows.push(("newest beat", summary.newest_beat.clone().unwrap_or_else(|| "none".into())));
        if database.migrating {
            rows.push(("migration", "`knex_migrations_lock` is set: one is running, or was cut off".into()));
        }
    } else {
        rows.push(("database", unread));
    }
    rows.push((
        "last snapshot",
        last.map_or("none".into(), |snapshot| {
            let made = snapshot.manifest.created.format("%Y-%m-%d %H:%M:%S UTC");
            format!("{} of {made} ({})", snapshot.manifest.id, bytes(snapshot.size))
        }),
    ));
    rows.extend(unfinished.as_ref().map(|record| ("unfinished", record.unfinished().to_string())));
    let document = json!({
        "instance": instance.name,
        "container": life_word.as_ref().map(|life| json!({"state": life, "image": image})),
        "folder": instance.folder,
        "network_file_system": network.as_ref().map(|found| json!({"type": found.kind, "lock_reaches": found.reach.word()})),
        "engine": instance.engine(),
        "embedded": matches!(instance.place, Place::Embedded(_)),
        "size_bytes": instance.size(),
        "release": read.as_ref().map(|(database, _)| database.release.to_string()),
        "release_known": read.as_ref().map(|(database, _)| database.release.exact),
        "monitors": read.as_ref().map(|(_, summary)| summary.monitors),
        "active": read.as_ref().map(|(_, summary)| summary.active),
        "newest_beat": read.as_ref().and_then(|(_, summary)| summary.newest_beat.clone()),
        "migrating": read.as_ref().map(|(database, _)| database.migrating),
        "last_snapshot": last.map(|snapshot| json!({"id": snapshot.manifest.id, "created": snapshot.manifest.created})),
        "unfinished": unfinished,
    });
    context.ui.result(&document, || {
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        rows.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
    })?;
    Ok(Exit::Done)
}

/// One of many in a few words.
fn words(status: &Json) -> String {
    let mut words = vec![status["container"]["state"].as_str().unwrap_or("folder").to_owned()];
    match (status["release"].as_str(), status["monitors"].as_i64()) {
        (Some(release), Some(monitors)) => {
            words.push(release.to_owned());
            words.push(counted(monitors.unsigned_abs() as usize, "monitor"));
            words.push(format!("newest beat {}", status["newest_beat"].as_str().unwrap_or("none")));
        }
        _ => words.push("its database does not run".into()),
    }
    if !status["unfinished"].is_null() {
        words.push("unfinished work".into());
    }
    words.join(", ")
}
