//! `kumadb undo`

use std::path::Path;

use clap::Args;
use serde_json::json;

use super::Context;
use super::restore::difference::{Difference, Now};
use super::restore::scratch_for;
use super::store::KeyArgs;
use super::write::{WriteArgs, finish, outcome_json, read_from};
use crate::backup::undo::next;
use crate::backup::{Changed, Manifest, Snapshot, StagedCopy, Store, Stores, Undone, unpack_first};
use crate::docker::ServerFiles;
use crate::error::{Error, Exit, Hint, InputError, Result, SnapshotError};
use crate::files;
use crate::instance::Instance;
use crate::kuma::read::history;
use crate::model::state::{Database, Fingerprint};
use crate::operation::pending::{self, PendingSnapshot};
use crate::operation::{self, LastUndo, Load, Settings, put_files_back};
use crate::schema::RecognizedRelease;
use crate::text::counted;
use crate::value::local_time;

/// The reason of the undo snapshots of conversions.
const CONVERT: &str = "convert";

#[derive(Args, Debug)]
pub struct UndoArgs {
    /// Select the undo snapshot by id or id prefix, see `kumadb backup list --undo` [default: the newest change]
    id: Option<String>,
    /// Restore only the configuration, even if heartbeats were deleted
    #[arg(long)]
    config_only: bool,
    #[command(flatten)]
    pub keys: KeyArgs,
    #[command(flatten)]
    write: WriteArgs,
}

/// An undo snapshot, stored or pending.
enum Found {
    /// The copies in the stores.
    Stored(Vec<Snapshot>),
    /// A pending one in the data folder.
    Kept(Box<PendingSnapshot>),
}

impl Found {
    fn manifest(&self) -> &Manifest {
        match self {
            Found::Stored(copies) => &copies[0].manifest,
            Found::Kept(kept) => &kept.manifest,
        }
    }

    /// Unpacks it into the new folder `folder`.
    fn open(&self, folder: &Path, context: &mut Context<'_>) -> Result<StagedCopy> {
        match self {
            Found::Stored(copies) => unpack_first(copies, folder, &mut |error| context.ui.warn(&error.to_string())),
            // A copy, because the write that restores it may store and remove the original.
            Found::Kept(kept) => kept.copy(folder),
        }
    }
}

/// How a change is rolled back.
struct UndoMethod {
    staged: StagedCopy,
    /// Tables whose rows stay.
    kept: Vec<String>,
    /// Whether rows that those tables have lost are restored.
    merges: bool,
    difference: Difference,
    /// The configuration that the difference is of.
    shown: Fingerprint,
}

pub fn run(args: &UndoArgs, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    let settings = args.write.settings("undo");
    if args.write.is_dry_run() {
        operation::check_ended(&instance, &settings)?
    } else {
        operation::settle_earlier(&instance, &settings)?
    }
    let store = context.store()?;
    let stores = context.stores()?.beside(&store).with_keys(&args.keys.keys_or_ask(context.ui)?);
    let (all, replaced) = list(&stores, &instance, context)?;
    let manifests: Vec<&Manifest> = all.iter().map(Found::manifest).collect();
    let elsewhere = unsearched(&stores, &manifests, &instance)?;
    let none = || {
        Error::from(SnapshotError::NothingToUndo {
            instance: instance.name.clone(),
            stores: stores.iter().map(|store| format!("`{}`", store.address())).collect(),
            elsewhere: elsewhere.as_ref().map(|last| last.store.clone()),
        })
    };
    // A change before it is never undone silently.
    let newest = |all: &[&Manifest]| match (next(all), &replaced) {
        (found, Some(raw)) if found.is_none_or(|at| all[at].created < raw.created) => {
            Err(Error::from(SnapshotError::RawChange {
                id: raw.id.clone(),
                reason: raw.reason.clone(),
                created: local_time(raw.created),
                before: found.map(|at| all[at].id.clone()),
            }))
        }
        (found, _) => found.ok_or_else(none),
    };
    let mut at = match &args.id {
        Some(id) => named(&manifests, id)?,
        None => newest(&manifests)?,
    };
    if let (Some(last), None) = (&elsewhere, &args.id) {
        context.ui.warn(&format!(
            "the newest undo snapshot of `{}`, `{}`, was stored in `{}`, which is not searched: kumadb --store {} undo",
            instance.name, last.snapshot, last.store, last.store
        ));
    }
    let scratch = scratch_for(&stores, all[at].manifest().size(), &instance)?;
    let way = loop {
        let staged = all[at].open(&scratch.path().join("held"), context)?;
        let undone = if args.id.is_some() { &manifests[at..] } else { &manifests[at..=at] };
        let changed = changed(undone);
        let way = compare(staged, changed, args, &instance)?;
        // A change of the history may not show in a comparison.
        if args.id.is_some() || !way.difference.is_empty() || changed > Changed::Configuration {
            report_of_lost(&way, undone, args, context);
            break way;
        }
        context.ui.say(&format!(
            "nothing to undo for `{}`: the database already equals its undo snapshot; checking the previous change",
            manifests[at].reason
        ));
        files::remove_folder(&way.staged.folder)?;
        at = newest(&manifests[..at])?;
    };
    carry_out(args, &way, &instance, &store, context)
}

/// Every undo snapshot of `instance`, oldest first; and of the newest change that has none, because the database before it could
/// not be read, the files.
fn list(stores: &Stores, instance: &Instance, context: &mut Context<'_>) -> Result<(Vec<Found>, Option<Manifest>)> {
    let listing = stores.list()?;
    listing.unusable.iter().for_each(|error| context.ui.warn(&error.to_string()));
    let mut all: Vec<Found> = pending::list(instance).into_iter().map(|one| Found::Kept(Box::new(one))).collect();
    let ours = |one: &&Snapshot| one.manifest.undo && stores.is_of(&one.manifest, &instance.origin());
    let stored: Vec<&Snapshot> = listing.snapshots.iter().filter(ours).collect();
    for copies in stored.chunk_by(|a, b| a.manifest.id == b.manifest.id) {
        all.push(Found::Stored(copies.iter().map(|copy| (*copy).clone()).collect()));
    }
    all.sort_by_key(|one| (one.manifest().created, one.manifest().id.clone()));
    all.dedup_by(|a, b| a.manifest().id == b.manifest().id);
    let raw = listing.snapshots.into_iter().map(|one| one.manifest);
    let raw = raw.filter(|manifest| manifest.raw && stores.is_of(manifest, &instance.origin()));
    Ok((all, raw.max_by_key(|manifest| manifest.created)))
}

/// The location of the newest undo snapshot according to the note in the data folder, if that is none of the stores and
/// the snapshot was not found. It is used for a message only, because the note may be of any origin.
fn unsearched(stores: &Stores, all: &[&Manifest], instance: &Instance) -> Result<Option<LastUndo>> {
    let Some(last) = operation::read_last_undo(instance) else { return Ok(None) };
    if all.iter().any(|one| one.id == last.snapshot) {
        return Ok(None);
    }
    for store in stores.iter() {
        if store.absolute_address()? == last.store {
            return Ok(None);
        }
    }
    Ok(Some(last))
}

fn named(all: &[&Manifest], id: &str) -> Result<usize> {
    let meant: Vec<usize> = (0..all.len()).filter(|at| !id.is_empty() && all[*at].id.starts_with(id)).collect();
    match meant.as_slice() {
        [one] => Ok(*one),
        [] => Err(Error::Snapshot(SnapshotError::NoUndo(id.to_owned()))),
        several => Err(Error::Input(InputError::Ambiguous {
            kind: "undo snapshot",
            prefix: id.to_owned(),
            count: several.len(),
        })),
    }
}

/// What the writes of the snapshots `undone` changed. Without a note (older snapshots), everything is restored.
fn changed(undone: &[&Manifest]) -> Changed {
    undone.iter().map(|one| one.changed.unwrap_or(Changed::All)).max().unwrap_or(Changed::All)
}

/// Warns where those writes have deleted history that is not in the undo snapshot.
fn report_of_lost(way: &UndoMethod, undone: &[&Manifest], args: &UndoArgs, context: &mut Context<'_>) {
    if args.config_only || way.staged.manifest.is_whole() {
        return;
    }
    let of_history = undone.iter().filter(|one| changed(&[**one]) > Changed::Configuration);
    let verbs: Vec<String> = of_history.map(|one| format!("`{}`", one.reason)).collect();
    if !verbs.is_empty() {
        context.ui.warn(&format!(
            "undo snapshot `{}` contains only the configuration: changes to the history by {} are not rolled back",
            way.staged.manifest.id,
            verbs.join(", ")
        ));
    }
}

/// Determines how `staged` is restored to undo what was `changed`, and the differences.
fn compare(staged: StagedCopy, changed: Changed, args: &UndoArgs, instance: &Instance) -> Result<UndoMethod> {
    let manifest = &staged.manifest;
    if manifest.reason == CONVERT {
        let (id, engine) = (manifest.id.clone(), manifest.engine.to_string());
        return Err(Error::Snapshot(SnapshotError::OfConversion { id, engine }));
    }
    if manifest.engine != instance.engine() {
        return Err(Error::Snapshot(SnapshotError::OtherEngine {
            id: manifest.id.clone(),
            engine: manifest.engine.to_string(),
            here: instance.engine().to_string(),
        }));
    }
    let parts = args.config_only || !manifest.without.is_empty() || changed != Changed::All;
    let merges = parts && changed == Changed::History && manifest.is_whole() && !args.config_only;
    let (now, then, kept) = read_from(instance, |reader, name| {
        let tables = history(&reader.schema()?);
        let merged = if merges { tables.as_slice() } else { &[] };
        let (now, then) = Now::read(reader, name, &staged, merged)?;
        Ok((now, then, tables))
    })?;
    check_release(now.database(), manifest, parts, instance)?;
    let kept = if parts { kept } else { Vec::new() };
    let shown = now.fingerprint.clone();
    let difference = Difference::between(now, &then?, &staged, &kept);
    Ok(UndoMethod { staged, kept, merges, difference, shown })
}

/// Fails where `manifest` is of another release than the database `now`, and only `parts` of it are restored, or the container does
/// not have an image of that release: the server would migrate the database again, or not be able to use it.
fn check_release(now: &Database, manifest: &Manifest, parts: bool, instance: &Instance) -> Result<()> {
    if now.migrations.iter().eq(&manifest.migrations) {
        return Ok(());
    }
    let fits = match &instance.container {
        Some(server) => server.shipped()?.is_some_and(|shipped| is_of(&shipped, manifest)),
        None => true,
    };
    if fits && !parts {
        return Ok(());
    }
    Err(Error::Snapshot(SnapshotError::OtherRelease {
        id: manifest.id.clone(),
        release: manifest.release.to_string(),
        here: now.release.to_string(),
        hint: Some(if fits {
            Hint::command(format!("kumadb restore {} --other-release", manifest.id))
        } else {
            Hint::advice(format!(
                "set the image of the container back to release {} without starting it (docker compose up --no-start, or \
                 docker create), then run: kumadb undo {}",
                manifest.release, manifest.id
            ))
        }),
    }))
}

/// Whether the image with the files `shipped` is of the release of `manifest`. Images of 1.x have files of patches that are not
/// applied.
fn is_of(shipped: &ServerFiles, manifest: &Manifest) -> bool {
    let RecognizedRelease { oldest, release, .. } = manifest.recognise();
    let named = shipped.release.as_ref().and_then(|release| release.parse().ok());
    shipped.problems(&manifest.migrations).is_empty()
        && (named.is_some_and(|named| (oldest..=release).contains(&named))
            || shipped.migrations().into_iter().eq(&manifest.migrations))
}

fn carry_out(
    args: &UndoArgs,
    way: &UndoMethod,
    instance: &Instance,
    store: &Store,
    context: &mut Context<'_>,
) -> Result<Exit> {
    let load = Load { desired: &way.staged, kept: &way.kept, merges: way.merges, shown: Some(&way.shown) };
    operation::check_load(instance, &load)?;
    let manifest = &way.staged.manifest;
    let created = local_time(manifest.created);
    let text = way.difference.text(context.global.verbose);
    let document = json!({
        "undone": manifest.id, "verb": manifest.reason, "at": manifest.created, "differs": way.difference.json(),
        "full": way.kept.is_empty(),
    });
    let lost = if way.kept.is_empty() {
        format!(
            "heartbeats since {created} will be lost: the full database is restored (to keep the history: \
             --config-only)"
        )
    } else {
        String::new()
    };
    let shown: Vec<&str> = [text.as_str(), &lost].into_iter().filter(|part| !part.is_empty()).collect();
    if args.write.is_dry_run() {
        let mut document = document;
        document["dry_run"] = json!(true);
        context.ui.result(&document, || {
            let what = format!("dry run: would undo `{}` of {created}; nothing was changed", manifest.reason);
            shown.iter().copied().chain([what.as_str()]).collect::<Vec<_>>().join("\n")
        })?;
        return Ok(Exit::Done);
    }
    shown.iter().for_each(|part| context.ui.say_text(part));
    context.ui.ask(&format!("undo `{}` of {created}?", manifest.reason))?;
    let settings = Settings { undoes: Some(Undone::of(manifest)), ..args.write.settings("undo") };
    let mut outcome = operation::run(instance, store, load, &settings, context.ui)?;
    let files = if way.kept.is_empty() { put_files_back(instance, &way.staged, &mut outcome) } else { Vec::new() };
    let mut document = document;
    document["files"] = json!(files);
    document["history_rows"] = json!(outcome.merged);
    let redo = outcome.made().map(|made| made.id.clone());
    document["redo"] = json!(redo);
    if let Some(document) = document.as_object_mut() {
        document.extend(outcome_json(&outcome));
    }
    context.ui.result(&document, || {
        let rows: u64 = outcome.merged.values().sum();
        let with = match rows {
            0 => String::new(),
            rows => format!(", {} of the history restored", counted(rows as usize, "row")),
        };
        let redo = redo.map_or(String::new(), |id| format!("\nto redo: kumadb undo {id}"));
        format!("undone: `{}` of {created}{with}{redo}", manifest.reason)
    })?;
    finish(&outcome, context.ui)
}
