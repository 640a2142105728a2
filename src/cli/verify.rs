//! `kumadb backup verify`

use clap::Args;
use serde_json::{Value as Json, json};

use super::fleet::{self, Fleet, FleetArgs};
use super::snapshots::{find, keep, no_snapshots, of_others};
use super::store::KeyArgs;
use super::{Context, Ui};
use crate::backup::{RestoreTest, Snapshot, Stores};
use crate::error::{Error, Exit, InputError, OperationError, Result, SnapshotError};
use crate::text::{bytes, counted};

#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// Select snapshots by id or path, or `latest` [default: those of the target, else all]
    pub snapshots: Vec<String>,
    /// Restore each snapshot to a temporary database and compare every table (MariaDB snapshots need `mariadbd` on this
    /// host)
    #[arg(long)]
    restore_test: bool,
    /// Verify only snapshots of the target instance, also without -t
    #[arg(long, conflicts_with = "snapshots")]
    own: bool,
    /// Verify the snapshot on standard input
    #[arg(long, conflicts_with_all = ["snapshots", "own"])]
    pub stdin: bool,
    #[command(flatten)]
    pub keys: KeyArgs,
    #[command(flatten)]
    fleet: FleetArgs,
}

impl VerifyArgs {
    /// Selects the snapshot at `path`, which was on standard input.
    pub fn take_snapshot(&mut self, path: String) {
        (self.snapshots, self.stdin) = (vec![path], false);
    }

    /// Checks the options that need no data.
    pub fn check(&self) -> Result<()> {
        if self.stdin && self.fleet.is_many() {
            return Err(Error::Input(InputError::Conflict {
                option: "`--stdin`".into(),
                other: "several instances".into(),
            }));
        }
        Ok(())
    }

    /// Whether it is for several instances.
    pub fn is_for_many(&self) -> bool {
        self.fleet.is_many()
    }

    /// Whether only the snapshots of the selected instance are verified.
    pub fn is_own(&self, context: &Context<'_>) -> bool {
        self.own || context.global.target.is_some() && self.snapshots.is_empty() && !self.stdin
    }
}

/// What `backup verify` is about.
#[derive(Default)]
struct VerifiedSnapshots {
    desired: Vec<Snapshot>,
    /// What could not be listed.
    unusable: Vec<Error>,
}

/// The selected snapshots: the named ones, else those of the target, else all.
///
/// # Errors
/// There are none: that nothing is damaged must not be read from it.
fn select(args: &VerifyArgs, stores: &Stores, context: &mut Context<'_>) -> Result<VerifiedSnapshots> {
    let mut selected = VerifiedSnapshots::default();
    for one in &args.snapshots {
        selected.desired.extend(find(stores, one, context)?);
    }
    if args.snapshots.is_empty() {
        let listing = stores.list()?;
        let mut desired = listing.snapshots;
        let owner = context.target_owner(&desired)?;
        let excluded = if let Some(owner) = &owner {
            keep(&mut desired, |manifest| owner.has(manifest))
        } else if args.own {
            let origin = context.origin()?;
            keep(&mut desired, |manifest| stores.is_of(manifest, &origin))
        } else {
            0
        };
        if desired.is_empty() && listing.unusable.is_empty() {
            let what = no_snapshots(stores, "snapshots", owner.as_ref());
            return Err(Error::Snapshot(SnapshotError::NothingToVerify { what, others: of_others(excluded) }));
        }
        selected = VerifiedSnapshots { desired, unusable: listing.unusable };
    }
    Ok(selected)
}

pub fn run(args: &VerifyArgs, context: &mut Context<'_>) -> Result<Exit> {
    if args.fleet.is_many() {
        let more: &[&str] = if args.snapshots.is_empty() { &["--own"] } else { &[] };
        return fleet::run(&Fleet { args: args.fleet.clone(), more, words: verified_words }, context);
    }
    let stores = context.stores()?.with_keys(&args.keys.keys()?);
    let VerifiedSnapshots { desired, unusable } = select(args, &stores, context)?;
    let mut exit = Exit::Done;
    let mut documents = Vec::new();
    let mut lines = Vec::new();
    let mut fail = |error: &Error| match error.exit() {
        Exit::Verification => exit = Exit::Verification,
        // No snapshot was found damaged, but not all of them could be checked.
        _ if exit == Exit::Done => exit = Exit::Partial,
        _ => {}
    };
    for error in &unusable {
        fail(error);
        lines.push(format!("FAILED: {error}"));
        documents.push(json!({"id": null, "ok": false, "error": error.to_string()}));
    }
    let scratch = args.restore_test.then(|| stores.scratch()).transpose()?;
    let mut drill = scratch.as_ref().map(|scratch| RestoreTest::new(scratch.path()));
    let several = stores.iter().count() > 1;
    for snapshot in &desired {
        let id = &snapshot.manifest.id;
        let place = if several { format!(" in `{}`", snapshot.store().address()) } else { String::new() };
        let mut document = json!({"id": id, "path": snapshot.location(), "ok": true});
        let line = match check(snapshot, drill.as_mut(), &mut document, context.ui) {
            Ok(line) => line,
            Err(error @ Error::Operation(OperationError::Interrupted { .. })) => return Err(error),
            Err(error) => {
                fail(&error);
                document["ok"] = json!(false);
                document["error"] = json!(error.to_string());
                format!("FAILED: {error}")
            }
        };
        lines.push(format!("{id}{place}  {line}"));
        documents.push(document);
    }
    context.ui.result(&json!({"snapshots": documents}), || lines.join("\n"))?;
    Ok(exit)
}

/// Verifies one copy and runs a restore test where requested; details go into `document`, the summary line is returned.
fn check(snapshot: &Snapshot, drill: Option<&mut RestoreTest>, document: &mut Json, ui: &mut Ui) -> Result<String> {
    let drill = drill.filter(|_| !snapshot.manifest.raw);
    let proof = match snapshot.verify() {
        Ok(proof) => proof,
        Err(error) => {
            let unnoted = drill.and_then(|drill| drill.note_damage(snapshot, &error).err());
            warn_unnoted(snapshot, unnoted, ui);
            return Err(error);
        }
    };
    document["files"] = json!(proof.members);
    document["bytes"] = json!(proof.bytes);
    let mut line = format!("ok, {}, {}", counted(proof.members, "file"), bytes(proof.bytes));
    if proof.encrypted {
        document["encrypted"] = json!(true);
        let read = bytes(proof.bytes);
        line = format!("ok, archive hash of {read}; encrypted: contents not checked without a key");
    }
    if let Some(drill) = drill {
        let restore_tested = drill.restore(snapshot)?;
        let seconds = restore_tested.took.as_secs_f64();
        let (tables, rows) = (counted(restore_tested.tables, "table"), counted(restore_tested.rows as usize, "row"));
        line.push_str(&format!(", restore test passed in {seconds:.1} s: {tables} with {rows} match"));
        warn_unnoted(snapshot, restore_tested.unnoted, ui);
        document["restore_test"] =
            json!({"tables": restore_tested.tables, "rows": restore_tested.rows, "seconds": seconds});
    }
    Ok(line)
}

fn warn_unnoted(snapshot: &Snapshot, error: Option<Error>, ui: &mut Ui) {
    if let Some(error) = error {
        ui.warn(&format!("cannot record the restore test of `{}` in the store: {error}", snapshot.manifest.id));
    }
}

/// Summary of one instance for the table of many.
fn verified_words(document: &Json) -> String {
    let all = document["snapshots"].as_array().map_or(&[][..], Vec::as_slice);
    let bad: Vec<&str> =
        all.iter().filter(|one| one["ok"] != true).map(|one| one["id"].as_str().unwrap_or("one")).collect();
    if bad.is_empty() {
        format!("{} ok", counted(all.len(), "snapshot"))
    } else {
        format!("{} of {} FAILED: {}", bad.len(), counted(all.len(), "snapshot"), bad.join(" "))
    }
}
