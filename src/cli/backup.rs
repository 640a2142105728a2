//! `kumadb backup …`

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value as Json, json};

use super::check::{self, CheckArgs};
use super::fleet::{self, Fleet, FleetArgs};
use super::format::FormatArgs;
use super::instance::are_ambiguous;
use super::lazy::Lazy;
use super::prune::{self, PruneArgs};
use super::schedule::{self, ScheduleArgs};
use super::show::{self, ShowArgs};
use super::snapshots::{document, keep, no_snapshots, of_others};
use super::store::EncryptionArgs;
use super::table::Header;
use super::verify::{self, VerifyArgs};
use super::write::read_from;
use super::{Context, Ui};
use crate::backup::{CopyScope, Manifest, Snapshot, Stores};
use crate::error::{Error, Exit, Hint, InputError, Result};
use crate::instance::Instance;
use crate::kuma::read::read_database;
use crate::operation::pending::{self, PendingSnapshot, offer};
use crate::operation::{BackupOptions, take, take_stream};
use crate::text::{bytes, counted, duration, lines};
use crate::value::local_time;

#[derive(Debug, Subcommand)]
pub enum BackupVerb {
    /// Create and verify a snapshot without stopping the server
    Create(Lazy<CreateArgs>),
    /// List snapshots
    #[command(visible_alias = "ls")]
    List(Lazy<ListArgs>),
    /// Show snapshot details
    Show(Lazy<ShowArgs>),
    /// Verify snapshots by reading every byte
    Verify(Lazy<VerifyArgs>),
    /// Check the age of the newest backup, for Nagios, cron and health checks
    Check(Lazy<CheckArgs>),
    /// Delete snapshots according to a retention policy
    Prune(Lazy<PruneArgs>),
    /// Run scheduled jobs in the foreground
    Schedule(Lazy<ScheduleArgs>),
}

#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Leave out heartbeats and statistics
    #[arg(long)]
    config_only: bool,
    /// SQLite: leave out free pages; takes longer
    #[arg(long)]
    compact: bool,
    /// Include screenshots/
    #[arg(long)]
    screenshots: bool,
    /// Set how thoroughly the database engine checks the copy
    #[arg(long, value_name = "DEPTH", value_enum, default_value_t)]
    verify: VerifyDepth,
    /// Wait this long for a running migration instead of refusing: 10m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait: Option<Duration>,
    /// Check instance and stores, without creating a snapshot
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Write the snapshot to standard output instead of a store, for restic, borg or another program that deduplicates: a tar
    /// with the database as SQL, neither compressed nor encrypted
    #[arg(long, conflicts_with_all = ["dry_run", "compact", "encrypt_to", "passphrase_file", "no_read_back"])]
    stdout: bool,
    /// With --stdout: allow it although encryption is configured; restic and borg encrypt what they store
    #[arg(long, hide_short_help = true, requires = "stdout")]
    unencrypted: bool,
    #[command(flatten)]
    pub encryption: EncryptionArgs,
    #[command(flatten)]
    fleet: FleetArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum VerifyDepth {
    /// Structure and references
    #[default]
    Quick,
    /// Everything: SQLite integrity_check, MariaDB CHECK TABLE EXTENDED
    Full,
}

impl BackupVerb {
    /// Whether it is for several instances.
    pub fn is_for_many(&self) -> bool {
        match self {
            BackupVerb::Create(args) => args.fleet.is_many(),
            BackupVerb::Verify(args) => args.is_for_many(),
            BackupVerb::Prune(args) => args.is_for_many(),
            BackupVerb::List(_) | BackupVerb::Show(_) | BackupVerb::Check(_) | BackupVerb::Schedule(_) => false,
        }
    }
}

impl CreateArgs {
    /// Checks the options that need no data.
    pub fn check(&self, is_json: bool) -> Result<()> {
        let other = [(is_json, "`--json`"), (self.fleet.is_many(), "several instances")];
        match other.iter().find(|(is_given, _)| *is_given && self.stdout) {
            Some((_, other)) => {
                Err(Error::Input(InputError::Conflict { option: "`--stdout`".into(), other: (*other).into() }))
            }
            None => self.encryption.check(),
        }
    }

    /// Fails for an unencrypted stream of an instance whose snapshots have to be encrypted.
    pub fn check_stream(&self, is_encrypted: bool) -> Result<()> {
        if self.unencrypted || !is_encrypted {
            return Ok(());
        }
        Err(Error::Input(InputError::Option {
            option: "`--stdout`".into(),
            why: "the snapshots of this instance have to be encrypted, and this one would not be".into(),
            hint: Some(Hint::advice("if the program that reads it encrypts, as restic does: add `--unencrypted`")),
        }))
    }

    /// Whether the snapshot goes to standard output.
    pub fn is_streamed(&self) -> bool {
        self.stdout
    }

    fn scope(&self) -> CopyScope {
        CopyScope {
            config_only: self.config_only,
            compact: self.compact,
            full_check: self.verify == VerifyDepth::Full,
            screenshots: self.screenshots,
        }
    }
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// Show only snapshots of this instance, which need not exist any more [default: the target, else all]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// List undo snapshots instead of backups
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    format: FormatArgs,
}

pub fn run(verb: &BackupVerb, context: &mut Context<'_>) -> Result<Exit> {
    match verb {
        BackupVerb::Create(args) => create(args, context),
        BackupVerb::List(args) => list(args, context),
        BackupVerb::Show(args) => show::run(args, context),
        BackupVerb::Verify(args) => verify::run(args, context),
        BackupVerb::Check(args) => check::run(args, context),
        BackupVerb::Prune(args) => prune::run(args, context),
        BackupVerb::Schedule(args) => schedule::run(args, context),
    }
}

fn create(args: &CreateArgs, context: &mut Context<'_>) -> Result<Exit> {
    if args.fleet.is_many() {
        return fleet::run(&Fleet { args: args.fleet.clone(), more: &[], words: created_words }, context);
    }
    let mut options =
        BackupOptions { patience: args.wait.unwrap_or_default(), ..args.encryption.options(args.scope())? };
    if options.encryption.is_none() {
        options.encryption = context.encryption()?;
    }
    if args.stdout {
        return write_out(args, &options, context);
    }
    let instance = context.instance()?;
    let stores = context.stores()?;
    context.warn_of_namesakes(&stores.iter().cloned().collect::<Vec<_>>());
    if args.dry_run {
        return foresee(&instance, &stores, context);
    }
    let taken = take(&instance, &stores, "backup create", &options, context.ui)?;
    for error in offer(&instance, &context.store()?, "backup create").warnings {
        context.ui.warn(&format!("cannot store a pending snapshot; it is kept in the data folder: {error}"));
    }
    let copies: Vec<&Snapshot> = taken.copies.iter().collect();
    let mut result = document(&copies);
    result["failed"] = taken.failed.iter().map(ToString::to_string).collect();
    context.ui.result(&result, || {
        format!("snapshot {} of `{}`: {}", copies[0].manifest.id, instance.name, words(copies[0]))
    })?;
    Ok(warn_of(&taken.failed, context.ui))
}

/// Writes the snapshot to standard output.
fn write_out(args: &CreateArgs, options: &BackupOptions, context: &mut Context<'_>) -> Result<Exit> {
    args.check_stream(options.encryption.is_some())?;
    let out = context.ui.stream_out()?;
    let instance = context.instance()?;
    let manifest = take_stream(&instance, &context.stores()?, options, out, context.ui)?;
    context.ui.say(&written_words(&manifest));
    Ok(Exit::Done)
}

/// The line about a snapshot that was written to standard output.
pub fn written_words(manifest: &Manifest) -> String {
    let (monitors, beats) = (manifest.rows("monitor") as usize, manifest.rows("heartbeat") as usize);
    format!(
        "snapshot {} of `{}` written to standard output: {}, {}, {} of SQL and files; verified: {}",
        manifest.id,
        manifest.instance,
        counted(monitors, "monitor"),
        counted(beats, "heartbeat"),
        bytes(manifest.size()),
        manifest.verified.join(", "),
    )
}

/// Shows what `backup create` would do: the database can be read, and the stores can be listed.
fn foresee(instance: &Instance, stores: &Stores, context: &mut Context<'_>) -> Result<Exit> {
    let database = read_from(instance, read_database)?;
    let listing = stores.list()?;
    let addresses: Vec<String> = stores.iter().map(|store| store.address()).collect();
    let (size, release) = (instance.size(), database.release.to_string());
    let document = json!({
        "dry_run": true, "instance": instance.name, "size_bytes": size, "release": release, "stores": addresses,
    });
    context.ui.result(&document, || {
        let stores = addresses.join("`, `");
        let (name, size) = (&instance.name, bytes(size));
        format!(
            "dry run: would create a snapshot of `{name}` ({size}, release {release}) in `{stores}`; nothing changed"
        )
    })?;
    Ok(warn_of(&listing.unusable, context.ui))
}

/// Warns of what could not be read or stored, and returns the exit code; the rest is fine.
fn warn_of(failed: &[Error], ui: &mut Ui) -> Exit {
    for error in failed {
        ui.warn(&error.to_string());
    }
    if failed.is_empty() { Exit::Done } else { Exit::Partial }
}

fn list(args: &ListArgs, context: &mut Context<'_>) -> Result<Exit> {
    let stores = context.stores()?;
    let listing = stores.list()?;
    let mut snapshots = listing.snapshots;
    let owner = match &args.instance {
        Some(name) => Some(context.owner(name)?),
        None => context.target_owner(&snapshots)?,
    };
    let excluded = owner.as_ref().map_or(0, |owner| keep(&mut snapshots, |manifest| owner.has(manifest)));
    let all: Vec<&Snapshot> = snapshots.iter().collect();
    let ambiguous = are_ambiguous(all.iter().map(|snapshot| &snapshot.manifest));
    let all: Vec<&[&Snapshot]> = all.chunk_by(|a, b| a.manifest.id == b.manifest.id).collect();
    let (all, others): (Vec<&[&Snapshot]>, Vec<&[&Snapshot]>) =
        all.into_iter().partition(|copies| copies[0].manifest.undo == args.undo);
    // Only where it is shown: of a thousand snapshots it takes more memory than the rest.
    let documents: Vec<Json> =
        if context.ui.is_json() { all.iter().map(|copies| document(copies)).collect() } else { Vec::new() };
    let addresses: Vec<String> = stores.iter().map(|store| store.address()).collect();
    let kept =
        if args.undo { context.find().map(|found| pending::waiting(&found)).unwrap_or_default() } else { Vec::new() };
    let mut result = json!({"store": addresses[0], "stores": addresses});
    result["snapshots"] = Json::Array(documents);
    if args.undo {
        let place = |one: &PendingSnapshot| json!({"path": one.folder, "manifest": one.manifest});
        result["pending"] = kept.iter().map(place).collect();
    } else {
        result["undo_snapshots"] = json!(others.len());
    }
    let hidden = match (args.undo, others.len()) {
        (true, _) | (_, 0) => String::new(),
        (false, 1) => "\n1 undo snapshot not shown; to list it: kumadb backup list --undo".into(),
        (false, n) => format!("\n{n} undo snapshots not shown; to list them: kumadb backup list --undo"),
    };
    context.ui.result(&result, || {
        let waiting: String = kept.iter().map(waiting_words).collect();
        let around = |table: String| {
            let kind = if args.undo { "undo snapshots" } else { "snapshots" };
            let none =
                |kind| lines([no_snapshots(&stores, kind, owner.as_ref())].into_iter().chain(of_others(excluded)));
            waiting + &if all.is_empty() { none(kind) } else { table } + &hidden
        };
        let row = |copies: &&[&Snapshot]| {
            let mut row = cells(copies[0]);
            row.extend(ambiguous.then(|| copies[0].manifest.origin.clone()));
            if addresses.len() > 1 {
                let staged = |address: &&String| copies.iter().any(|copy| copy.store().address() == **address);
                row.push(addresses.iter().filter(staged).map(String::as_str).collect::<Vec<_>>().join(", "));
            }
            row
        };
        let mut headers = vec![Header::of_text("id")];
        let others = ["created", "instance", "engine", "release", "monitors", "heartbeats", "size", "created by"];
        headers.extend(others.map(Header::from));
        headers.extend(ambiguous.then(|| Header::from("origin")));
        headers.extend((addresses.len() > 1).then(|| Header::from("stores")));
        args.format.text(&headers, all.iter().map(row).collect(), around)
    })?;
    for found in &listing.elsewhere {
        context.ui.warn(&crate::backup::no_snapshots(found).to_string());
    }
    let damaged = snapshots.iter().filter_map(|snapshot| snapshot.check_size().err());
    Ok(warn_of(&listing.unusable.into_iter().chain(damaged).collect::<Vec<_>>(), context.ui))
}

/// The cells of `snapshot` that every list has.
fn cells(snapshot: &Snapshot) -> Vec<String> {
    let manifest = &snapshot.manifest;
    vec![
        manifest.id.clone(),
        local_time(manifest.created),
        manifest.instance.clone(),
        manifest.engine.to_string(),
        manifest.release.clone(),
        manifest.rows("monitor").to_string(),
        if manifest.without.is_empty() { manifest.rows("heartbeat").to_string() } else { "excluded".into() },
        bytes(snapshot.size),
        manifest.reason.clone(),
    ]
}

/// The line about a pending snapshot.
fn waiting_words(one: &PendingSnapshot) -> String {
    let manifest = &one.manifest;
    let made = local_time(manifest.created);
    let place = one.folder.display();
    format!(
        "pending snapshot {} of {made} (`{}`) is in `{place}` until it can be stored\n",
        manifest.id, manifest.reason
    )
}

fn words(snapshot: &Snapshot) -> String {
    let manifest = &snapshot.manifest;
    format!(
        "{}, {}, {} compressed to {}; verified: {}",
        counted(manifest.rows("monitor") as usize, "monitor"),
        counted(manifest.rows("heartbeat") as usize, "heartbeat"),
        bytes(manifest.size()),
        bytes(snapshot.size),
        manifest.verified.join(", "),
    )
}

/// Summary of one instance for the table of many.
fn created_words(document: &Json) -> String {
    let size = document["size_bytes"].as_u64().unwrap_or(0);
    format!("snapshot {} ({})", document["manifest"]["id"].as_str().unwrap_or_default(), bytes(size))
}
