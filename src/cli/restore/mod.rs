//! `kumadb restore`

mod choice;
pub mod difference;
mod launch;
mod monitors;
mod place;
mod release;
mod source;
mod to;

use std::path::Path;

use chrono::Local;
use clap::Args;
use serde_json::{Value as Json, json};

use self::choice::NewArgs;
use crate::backup::datetime::parse_datetime;
use crate::backup::store::Scratch;
use crate::backup::{self, Manifest, Snapshot, StagedCopy, Stores, unpack_first};
use crate::cli::store::KeyArgs;
use crate::cli::table::Header;
use crate::cli::write::{WriteArgs, finish, outcome_json};
use crate::cli::{Context, Ui};
use crate::docker::RunState;
use crate::engine::EngineKind;
use crate::error::{DatabaseError, Error, Exit, FileError, Hint, InputError, Result, SnapshotError, TargetError};
use crate::files::{self, Lock};
use crate::instance::{DbLocation, Instance, Session};
use crate::kuma::read::history;
use crate::model::state::{ConfigRows, Fingerprint};
use crate::operation::examine::while_stopped;
use crate::operation::{self, Load, put_files_back};
use crate::text::{bytes, counted};
use crate::value::local_time;

pub use place::RestoreTarget;

use difference::{Difference, Now};

#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// Select the snapshot: an id or an id prefix, a path, `latest`, or a kuma.db.bak of release 1.x
    pub snapshot: Option<String>,
    /// Select the last snapshot before this date or time: 2026-11-24, '24 Nov 18:30', yesterday, '2 days ago', 12h
    /// (local time)
    #[arg(long, value_name = "TIME", conflicts_with = "snapshot")]
    pub before: Option<String>,
    /// Read the snapshot from standard input: restic dump latest kuma.kuma.tar | kumadb restore --stdin --yes
    #[arg(long, conflicts_with_all = ["snapshot", "before"])]
    stdin: bool,
    /// Restore only the configuration; history and uploaded files stay as they are
    #[arg(long)]
    config_only: bool,
    /// Restore only these monitors: a name, a path, or a glob 'Shop/*' (can be repeated)
    #[arg(long = "monitor", value_name = "GLOB", conflicts_with = "config_only")]
    monitors: Vec<String>,
    /// Restore a database of another release even if the server's image cannot be inspected
    #[arg(long)]
    other_release: bool,
    /// Restore a snapshot of an older release as it is; the server migrates it when it starts
    #[arg(long, hide_short_help = true)]
    no_upgrade: bool,
    #[command(flatten)]
    pub new: NewArgs,
    #[command(flatten)]
    pub keys: KeyArgs,
    #[command(flatten)]
    write: WriteArgs,
}

impl RestoreArgs {
    /// Selects the snapshot at `path`, wherever it came from.
    pub fn take_snapshot(&mut self, path: String) {
        (self.snapshot, self.before, self.stdin) = (Some(path), None, false);
    }

    /// With `--to`, `-t` names the instance whose last snapshot is restored, as `--of` does. The environment may name another
    /// one, which is on this machine.
    pub fn take_target(&mut self, target: Option<&str>) {
        let is_last =
            self.before.is_some() || self.snapshot.as_ref().is_some_and(|desired| desired.ends_with("latest"));
        if self.new.to.is_none() || self.new.of.is_some() || !is_last {
            return;
        }
        let typed = target.filter(|target| std::env::var("KUMADB_TARGET").as_deref() != Ok(*target));
        self.new.of = typed.map(|target| match files::absolute(target) {
            Ok(folder) if target.contains('/') && !target.contains("://") => folder.display().to_string(),
            _ => target.to_owned(),
        });
    }

    /// Whether the snapshot is on standard input.
    ///
    /// # Errors
    /// [`InputError::ConfirmationRequired`]: no one can be asked then.
    pub fn reads_stdin(&self, is_yes: bool) -> Result<bool> {
        if self.stdin && !is_yes && self.new.to.is_none() && !self.write.is_dry_run() {
            return Err(Error::Input(InputError::ConfirmationRequired));
        }
        Ok(self.stdin)
    }

    /// The archive in question, of an instance at `origin`, where it is in a folder of this machine that is given as a
    /// store.
    pub fn local_archive(&self, origin: &str, context: &Context<'_>) -> Result<Option<String>> {
        if self.new.to.is_some() {
            return source::local_archive(self, context);
        }
        let desired = match (&self.snapshot, &self.before) {
            (Some(snapshot), _) => snapshot.clone(),
            (None, Some(_)) if context.local_stores()?.is_empty() => return Ok(None),
            (None, Some(before)) => last_before(&context.stores()?.with_keys(&self.keys.keys()?), before, origin)?,
            (None, None) => return Ok(None),
        };
        local_archive(&desired, &self.keys, origin, context)
    }
}

/// The file of this machine that `desired` selects, a path or a snapshot of an instance at `origin` in a folder that is a
/// store.
pub fn local_archive(desired: &str, keys: &KeyArgs, origin: &str, context: &Context<'_>) -> Result<Option<String>> {
    if Path::new(desired).exists() {
        return Ok(Some(desired.to_owned()));
    }
    if context.local_stores()?.is_empty() {
        return Ok(None);
    }
    let copies = context.stores()?.with_keys(&keys.keys()?).find(desired, origin, &mut |_| {})?;
    Ok(source::local(&copies))
}

pub fn run(args: &RestoreArgs, context: &mut Context<'_>) -> Result<Exit> {
    if let Some(place) = &args.new.to {
        return to::run(args, place, context);
    }
    let instance = context.instance().map_err(|error| not_yet(error, args, context))?;
    let stores = context.stores()?.with_keys(&args.keys.keys_or_ask(context.ui)?);
    let desired = match (&args.snapshot, &args.before) {
        (Some(snapshot), _) => snapshot.clone(),
        (None, Some(before)) => last_before(&stores, before, &instance.origin())?,
        (None, None) => return Err(offer(&stores, &instance, context)?),
    };
    let scratch = scratch_for(&stores, instance.size(), &instance)?;
    let staged = unpack(&desired, &scratch.path().join("held"), &stores, &instance, context)?;
    if !args.monitors.is_empty() {
        return monitors::restore(&staged, &args.monitors, &args.write, &instance, context);
    }
    let shipped = match &instance.container {
        Some(server) => server.shipped()?,
        None => None,
    };
    let newer = if args.config_only || args.no_upgrade { None } else { shipped.as_ref() };
    let staged = release::upgrade(staged, newer, &instance, context.ui)?;
    let Prepared { staged, rounded, read } = prepare_still(staged, args, &instance, context)?;
    rounded.iter().for_each(|what| context.ui.warn(&format!("{what}, as MariaDB stores it")));
    // A configuration-only restore keeps the current release anyway.
    if let (Some(shipped), Some(server), false) = (&shipped, &instance.container, args.config_only) {
        release::check_image(&staged.manifest, shipped, &server.container().image, context.ui)?;
    }
    let change = match read {
        Ok((now, then)) => {
            if !args.other_release && shipped.is_none() || args.config_only {
                release::check_same(now.database(), &staged.manifest, args.config_only)?;
            }
            Change::between(now, &then?, &staged, args.config_only)
        }
        Err(error) => Change::unknown(error, &instance, context)?,
    };
    operation::check_load(&instance, &change.load(&staged))?;
    if args.write.is_dry_run() {
        return change.dry_run(&staged.manifest, context);
    }
    change.ask(&staged.manifest, &instance, context)?;
    change.make(&staged, &args.write, &instance, context)
}

/// Unpacks the snapshot `desired` into `folder`.
fn unpack(
    desired: &str,
    folder: &Path,
    stores: &Stores,
    instance: &Instance,
    context: &mut Context<'_>,
) -> Result<StagedCopy> {
    if desired == "latest" {
        report_of_newer(stores, instance, context)?;
    }
    let staged = if backup::is_database(Path::new(desired)) {
        backup::stage_snapshot(stores, desired, &instance.origin(), folder, &mut |_| {})?
    } else {
        let copies = stores.find(desired, &instance.origin(), &mut |error| context.ui.warn(&error.to_string()))?;
        let unpacked = unpack_first(&copies, folder, &mut |error| context.ui.warn(&error.to_string()));
        unpacked.map_err(|error| with_older(error, stores, &copies[0].manifest, "", context))?
    };
    if staged.manifest.raw {
        Err(Error::Snapshot(SnapshotError::Raw { id: staged.manifest.id.clone() }))
    } else {
        Ok(staged)
    }
}

/// What a restore changes, as far as it is known before.
struct Change {
    /// The difference, where the current state can be read.
    shown: Option<Difference>,
    /// The tables whose rows stay.
    kept: Vec<String>,
    /// The configuration that the difference was shown of.
    fingerprint: Option<Fingerprint>,
}

impl Change {
    fn between(now: Now, then: &ConfigRows, staged: &StagedCopy, config_only: bool) -> Change {
        let kept = if config_only || !staged.manifest.without.is_empty() {
            history(&now.database().schema)
        } else {
            Vec::new()
        };
        let fingerprint = Some(now.fingerprint.clone());
        Change { shown: Some(Difference::between(now, then, staged, &kept)), kept, fingerprint }
    }

    /// The change of a database that cannot be read because of `error`; returns other errors.
    fn unknown(error: Error, instance: &Instance, context: &mut Context<'_>) -> Result<Change> {
        // An interrupted migration may have left tables that cannot be read as the server's.
        let is_other = instance.address().is_some() && matches!(error, Error::Database(DatabaseError::Sql { .. }));
        if !error.is_unreadable() && !is_other {
            return Err(error);
        }
        let what = match instance.engine() {
            EngineKind::Sqlite => "its files are kept as they are, in a snapshot",
            EngineKind::MariaDb => "the undo snapshot will contain its tables as they are",
        };
        context.ui.warn(&format!("{error}; {what}"));
        Ok(Change { shown: None, kept: Vec::new(), fingerprint: None })
    }

    fn load<'a>(&'a self, staged: &'a StagedCopy) -> Load<'a> {
        Load { desired: staged, kept: &self.kept, merges: false, shown: self.fingerprint.as_ref() }
    }

    fn document(&self) -> Json {
        self.shown.as_ref().map_or(json!({}), Difference::json)
    }

    fn text(&self, context: &Context<'_>) -> String {
        self.shown.as_ref().map_or(String::new(), |shown| shown.text(context.global.verbose))
    }

    fn dry_run(&self, manifest: &Manifest, context: &mut Context<'_>) -> Result<Exit> {
        let document = json!({"dry_run": true, "snapshot": manifest.id, "differs": self.document()});
        let text = self.text(context);
        context.ui.result(&document, || {
            let between = if text.is_empty() { "" } else { "\n" };
            format!("{text}{between}dry run: snapshot `{}` is valid; nothing was changed", manifest.id)
        })?;
        Ok(Exit::Done)
    }

    fn ask(&self, manifest: &Manifest, instance: &Instance, context: &mut Context<'_>) -> Result<()> {
        let text = self.text(context);
        if !text.is_empty() {
            context.ui.say_text(&text);
        }
        if manifest.origin != instance.origin() {
            context
                .ui
                .warn(&format!("snapshot `{}` was taken from another instance, at {}", manifest.id, manifest.origin));
        }
        let what = if self.kept.is_empty() { "" } else { "the configuration of " };
        let (created, size) = (local_time(manifest.created), bytes(manifest.size()));
        context.ui.ask(&format!("restore {what}`{}` to its state at {created} ({size})?", instance.name))
    }

    fn make(
        &self,
        staged: &StagedCopy,
        write: &WriteArgs,
        instance: &Instance,
        context: &mut Context<'_>,
    ) -> Result<Exit> {
        let kept = &self.kept;
        let load = self.load(staged);
        let mut outcome = operation::run(instance, &context.store()?, load, &write.settings("restore"), context.ui)?;
        // They belong to full snapshots: an undo with a configuration-only snapshot would not restore today's files.
        let files = if kept.is_empty() { put_files_back(instance, staged, &mut outcome) } else { Vec::new() };
        let mut document = json!({"restored": staged.manifest.id, "differs": self.document(), "files": files});
        if let Some(document) = document.as_object_mut() {
            document.extend(outcome_json(&outcome));
        }
        context.ui.result(&document, || {
            let with = if files.is_empty() { String::new() } else { format!(", and {}", counted(files.len(), "file")) };
            let what = if kept.is_empty() { "database" } else { "configuration" };
            let created = local_time(staged.manifest.created);
            format!("restored the {what} of `{}` to its state at {created}{with}", instance.name)
        })?;
        finish(&outcome, context.ui)
    }
}

/// The same as [`prepare`]; a server in a restart loop is stopped for it.
fn prepare_still(
    staged: StagedCopy,
    args: &RestoreArgs,
    instance: &Instance,
    context: &mut Context<'_>,
) -> Result<Prepared> {
    if !ends_with_its_database(instance)? || args.write.is_dry_run() {
        return prepare(staged, instance, &|| instance.open());
    }
    context.ui.ask(&format!("stop `{}`, which is in a restart loop, to compare its database?", instance.name))?;
    let settings = operation::Settings { opens_lock: true, ..args.write.settings("restore") };
    let look = |lock: &Lock| prepare(staged, instance, &|| instance.open_locked(lock));
    while_stopped(instance, &settings, context.ui, look)?
}

/// A snapshot, and what it is compared with.
struct Prepared {
    /// The snapshot as the engine of the instance takes it.
    staged: StagedCopy,
    /// Values that MariaDB stores otherwise.
    rounded: Vec<String>,
    /// The current state, and the configuration in the snapshot.
    read: Result<(Now, Result<ConfigRows>)>,
}

fn prepare<'i>(staged: StagedCopy, instance: &Instance, open: &dyn Fn() -> Result<Session<'i>>) -> Result<Prepared> {
    let (staged, rounded) = match (staged.manifest.engine, instance.address()) {
        (EngineKind::Sqlite, Some(address)) => {
            open()?.with(|_| address.read_only().and_then(|mut database| staged.for_mariadb(&mut database)))?
        }
        _ => (staged.for_engine(instance.engine())?, Vec::new()),
    };
    let name = format!("`{}`", instance.name);
    let read = open().and_then(|session| session.read(|reader| Now::read(reader, &name, &staged, &[])));
    Ok(Prepared { staged, rounded, read })
}

/// Whether its database cannot be read now because the container, and its MariaDB with it, is in a restart loop.
fn ends_with_its_database(instance: &Instance) -> Result<bool> {
    Ok(matches!(instance.place, DbLocation::Embedded(_)) && instance.life()? == Some(RunState::Restarting))
}

/// An error that the target contains no instance, with the command that creates one there.
fn not_yet(error: Error, args: &RestoreArgs, context: &Context<'_>) -> Error {
    let is_path = |target: &String| target.contains('/') || Path::new(target).exists();
    let Some(target) = context.global.target.as_ref().filter(|target| is_path(target) && !target.contains("://"))
    else {
        return error;
    };
    let snapshot = match (&args.snapshot, &args.before) {
        (Some(snapshot), _) => snapshot.clone(),
        (None, Some(before)) => format!("--before '{before}'"),
        (None, None) => "SNAPSHOT".into(),
    };
    match error {
        Error::Target(TargetError::NotDataFolder { .. }) | Error::Target(TargetError::NotFound(_)) => {
            Error::Target(TargetError::NotCreatedYet {
                cause: Box::new(error),
                hint: Hint::command(format!("kumadb restore {snapshot} --to {target}")),
            })
        }
        other => other,
    }
}

/// How many older snapshots are verified when one is damaged.
const VERIFIED: usize = 5;

/// `error` of unpacking the snapshot `damaged`, with the next older one that is valid as what to restore instead, `
/// {rest}` behind
/// it. It is never chosen silently.
pub fn with_older(error: Error, stores: &Stores, damaged: &Manifest, rest: &str, context: &mut Context<'_>) -> Error {
    if error.exit() != Exit::Verification {
        return error;
    }
    // The error that is reported is that of the snapshot.
    let mut older = stores.list().map(|listing| listing.snapshots).unwrap_or_default();
    older.retain(|Snapshot { manifest, .. }| {
        manifest.created < damaged.created
            && (&manifest.instance, &manifest.origin) == (&damaged.instance, &damaged.origin)
            && !manifest.raw
            && (manifest.is_whole() || !damaged.is_whole())
            && (!manifest.undo || damaged.undo)
    });
    let chunks: Vec<&[Snapshot]> = older.chunk_by(|a, b| a.manifest.id == b.manifest.id).collect();
    let newest: Vec<&[Snapshot]> = chunks.into_iter().rev().take(VERIFIED).collect();
    if newest.is_empty() {
        return error;
    }
    context.ui.say(&format!("snapshot `{}` is damaged: verifying older ones", damaged.id));
    let valid = newest.iter().find(|copies| copies.iter().any(|copy| copy.verify().is_ok()));
    let hint = match valid {
        Some(copies) => {
            let Manifest { id, created, .. } = &copies[0].manifest;
            format!("the next older valid snapshot is `{id}` of {}: kumadb restore {id}{rest}", local_time(*created))
        }
        None => format!(
            "the {} before it are also damaged; to check all: kumadb backup verify",
            counted(newest.len(), "snapshot")
        ),
    };
    Error::Snapshot(SnapshotError::Damaged { cause: Box::new(error), hint: Hint::advice(hint) })
}

/// A folder to unpack a snapshot of `size` bytes: in the store, unless the write would run out of space there.
pub fn scratch_for(stores: &Stores, size: u64, instance: &Instance) -> Result<Scratch> {
    // Unpacked, converted, and the undo snapshot of the write.
    let desired = 3 * size + size / 2 + (2 << 20);
    match stores.scratch_for(desired, instance.work()) {
        Err(Error::File(FileError::NoSpace { .. })) => stores.scratch(),
        made => made,
    }
}

/// Notes writes that were made after the newest backup: perhaps only the last of them is to be undone.
fn report_of_newer(stores: &Stores, instance: &Instance, context: &mut Context<'_>) -> Result<()> {
    let mut found = stores.list()?.snapshots;
    found.retain(|snapshot| stores.is_of(&snapshot.manifest, &instance.origin()) && !snapshot.manifest.raw);
    let backup = found.iter().rposition(|snapshot| !snapshot.manifest.undo);
    if let Some(at) = backup
        && let Some(newest) = found[at..].iter().rev().find(|snapshot| snapshot.manifest.undo)
    {
        let manifest = &newest.manifest;
        context.ui.say(&format!(
            "`{}` changed the database after this snapshot, at {}; to undo only that: kumadb undo",
            manifest.reason,
            local_time(manifest.created)
        ));
    }
    Ok(())
}

/// The id of the last snapshot of the instance at `origin` created before `datetime`.
fn last_before(stores: &Stores, datetime: &str, origin: &str) -> Result<String> {
    let end = parse_datetime(datetime, Local::now()).map_err(|why| Error::Input(InputError::Time { why }))?;
    let mut found = stores.list()?.snapshots;
    found.retain(|snapshot| {
        let manifest = &snapshot.manifest;
        let whole = !manifest.raw && (!manifest.undo || manifest.is_whole());
        manifest.created < end && stores.is_of(manifest, origin) && whole
    });
    let last = found.pop().ok_or_else(|| Error::Snapshot(SnapshotError::NotFound(format!("before {datetime}"))))?;
    Ok(last.manifest.id)
}

/// Lists the snapshots, when none was named.
fn offer(stores: &Stores, instance: &Instance, context: &mut Context<'_>) -> Result<Error> {
    let mut rows = Vec::new();
    let mut snapshots = stores.list()?.snapshots;
    snapshots.dedup_by(|a, b| a.manifest.id == b.manifest.id);
    for snapshot in snapshots.iter().rev().filter(|found| stores.is_of(&found.manifest, &instance.origin())) {
        let manifest = &snapshot.manifest;
        let taken = local_time(manifest.created);
        let what = if manifest.without.is_empty() { "full" } else { "configuration-only" };
        let class = manifest.class().to_owned();
        rows.push(vec![
            manifest.id.clone(),
            taken,
            manifest.release.clone(),
            class,
            what.into(),
            manifest.reason.clone(),
        ]);
    }
    for (path, changed) in instance.old_copies() {
        let taken = local_time(changed);
        rows.push(vec![
            path.display().to_string(),
            taken,
            String::new(),
            "backup".into(),
            "full".into(),
            "server (1.x)".into(),
        ]);
    }
    if !rows.is_empty() {
        let mut headers = vec![Header::of_text("snapshot")];
        headers.extend(["created", "release", "kind", "scope", "created by"].map(Header::from));
        context.ui.say_text(&Ui::table(&headers, rows));
    }
    Ok(Error::Input(InputError::Missing {
        what: "snapshot".into(),
        hint: Hint::advice(
            "give its id, `latest`, or `--before yesterday`; to roll back the newest change: `kumadb undo`",
        ),
    }))
}
