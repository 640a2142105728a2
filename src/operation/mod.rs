//! The write path: every change of an instance, its rollback, and recovery after an interruption.

pub(crate) mod apply;
pub(crate) mod beats;
mod begin;
pub(crate) mod candidates;
pub(crate) mod compact;
pub mod convert;
pub(crate) mod copy;
pub mod examine;
mod finish;
mod follow;
pub(crate) mod journal;
mod keep;
mod last_undo;
mod load;
mod migration;
mod owner;
pub mod pending;
pub mod prune;
mod put;
pub mod rebuild;
mod release;
mod removed;
mod repair;
mod restart;
pub mod resume;
mod rows_fit;
mod run;
mod salvage;
pub mod script;
mod space;
pub mod statistics;
mod transact;
mod undo;
pub mod upgrade;
mod work;
mod zone;

use std::fmt;
use std::time::Duration;

use crate::backup::stage::SnapshotLabel;
use crate::error::Result;
use crate::instance::Instance;
use crate::text::{bytes, counted};

pub use apply::run;
pub use begin::{check_ended, settle_earlier};
pub use copy::{BackupOptions, BackupResult, take, take_stream};
pub use journal::{Journal, JournalRecord, Phase};
pub use last_undo::{LastUndo, read_last_undo};
pub use owner::repair_owner;
pub use put::put_files_back;
pub use release::check_shipped;
pub use repair::{dry_run_files, repair};
pub use restart::{check_restart, restart};
pub use resume::{Preview, Resumed, foresee, resume};
pub use rows_fit::check_load;
pub use transact::{TransactionResult, dry_run, dry_run_transaction};
pub use work::{
    DoneOf, FixProgress, Fixes, Load, Mode, Outcome, RebuiltFrom, Replacement, Settings, Transaction, UpgradeResult,
    UpgradeWork, Work,
};

/// The label of a copy of `instance` that is made for `reason`.
fn label(instance: &Instance, reason: &str) -> SnapshotLabel {
    SnapshotLabel {
        instance: instance.name.clone(),
        origin: instance.origin(),
        reason: reason.to_owned(),
        config: instance.config_path(),
        undo: false,
        undoes: None,
    }
}

/// The steps of the write path, each reported before it is done. An observer can show it, or refuse to continue.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the words of each variant are its documentation")]
#[non_exhaustive]
pub enum Step {
    Journal,
    Network { what: String },
    Cluster { nodes: u64 },
    WaitSettled { waited: Duration },
    Stop { container: String },
    Open,
    CopyEarly { bytes: u64 },
    Hold { bytes: u64 },
    Held { bytes: u64, took: Duration },
    Begin,
    Write { changes: usize },
    Execute { statements: usize },
    ReadBack,
    Check,
    Commit,
    Committed,
    Close,
    Follow { container: String },
    Start { container: String },
    WaitUp,
    WaitBeats { monitors: usize },
    Up { downtime: Duration },
    Pack,
    Put { store: String, bytes: u64 },
    WriteOut { bytes: u64 },
    Packed { id: String, bytes: u64, undo: bool },
    Remove { snapshot: String },
    CloseJournal,
    Undo { why: String },
    PutBack,
    Swap,
    Clear,
    LeaveDown { container: String },
    Rehearse,
    ChangeFiles { changes: usize },
    Salvage,
    Sweep { table: String },
    Batch { seen: u64 },
    Compact { what: String },
    CopyRows { tables: Vec<String> },
    Rebuild { place: String },
    Install,
    Fill,
    Upgrade { release: String },
    Aggregate,
    AwaitImage { container: String, image: String },
    LookAtImage,
    LeaveUntilImage { container: String, image: String },
    LeaveMigrating { container: String, image: String },
    SetAside { name: String, to: String },
}

impl Step {
    /// Whether the step is shown by default; the others are shown with `--verbose`.
    pub fn is_reported(&self) -> bool {
        matches!(
            self,
            Step::WaitSettled { waited: Duration::ZERO }
                | Step::Network { .. }
                | Step::Cluster { .. }
                | Step::Stop { .. }
                | Step::Held { .. }
                | Step::Put { .. }
                | Step::Write { .. }
                | Step::Execute { .. }
                | Step::Committed
                | Step::Follow { .. }
                | Step::Start { .. }
                | Step::WaitBeats { .. }
                | Step::Up { .. }
                | Step::Packed { .. }
                | Step::Undo { .. }
                | Step::PutBack
                | Step::LeaveDown { .. }
                | Step::ChangeFiles { .. }
                | Step::Salvage
                | Step::Sweep { .. }
                | Step::Compact { .. }
                | Step::CopyRows { .. }
                | Step::Rebuild { .. }
                | Step::Install
                | Step::Fill
                | Step::Upgrade { .. }
                | Step::Aggregate
                | Step::AwaitImage { .. }
                | Step::LeaveUntilImage { .. }
                | Step::LeaveMigrating { .. }
                | Step::SetAside { .. }
        )
    }

    /// Whether stopping here leaves the database as it was. After the commit that is no longer possible, so Ctrl-C is
    /// honoured only before it.
    pub fn is_before_commit(&self) -> bool {
        matches!(
            self,
            Step::Journal
                | Step::Network { .. }
                | Step::Cluster { .. }
                | Step::WaitSettled { .. }
                | Step::Stop { .. }
                | Step::Open
                | Step::CopyEarly { .. }
                | Step::Hold { .. }
                | Step::Held { .. }
                | Step::Put { .. }
                | Step::WriteOut { .. }
                | Step::Remove { .. }
                | Step::Begin
                | Step::Write { .. }
                | Step::Execute { .. }
                | Step::ReadBack
                | Step::Check
                | Step::Swap
                | Step::Commit
                | Step::Rehearse
                | Step::ChangeFiles { .. }
                | Step::Salvage
                | Step::Sweep { .. }
                | Step::Batch { .. }
                | Step::CopyRows { .. }
                | Step::Rebuild { .. }
                | Step::Install
                | Step::Fill
                | Step::Upgrade { .. }
                | Step::Aggregate
        )
    }

    /// Whether a signal ends the run here: nothing was changed, or the run only waits for a person, and `recover` continues it.
    pub fn can_end(&self) -> bool {
        self.is_before_commit() || matches!(self, Step::AwaitImage { .. } | Step::LookAtImage)
    }
}

impl fmt::Display for Step {
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Journal => f.write_str("writing journal"),
            Step::Network { what } => write!(f, "warning: the data folder is on {what}"),
            Step::Cluster { nodes } => write!(
                f,
                "warning: the database is on a Galera cluster of {nodes} nodes, and locks and connections are seen only on \
                 this node: make sure that no other server or kumadb uses the database through another node"
            ),
            Step::WaitSettled { waited: Duration::ZERO } => {
                f.write_str("waiting for the server to finish migrating its database")
            }
            Step::WaitSettled { waited } => write!(f, "still migrating after {} s", waited.as_secs()),
            Step::Stop { container } => write!(f, "stopping container {container}"),
            Step::Open => f.write_str("opening database"),
            Step::CopyEarly { bytes: size } => write!(f, "copying database while the server runs ({})", bytes(*size)),
            Step::Hold { bytes: 0 } => f.write_str("copying database"),
            Step::Hold { bytes: size } => write!(f, "copying database ({})", bytes(*size)),
            Step::Held { bytes: size, took } => {
                write!(f, "staged copy verified ({}, {:.1} s)", bytes(*size), took.as_secs_f64())
            }
            Step::Begin => f.write_str("starting transaction"),
            Step::Write { changes } => write!(f, "writing {}", counted(*changes, "row change")),
            Step::Execute { statements } => write!(f, "executing {}", counted(*statements, "statement")),
            Step::ReadBack => f.write_str("reading back changes"),
            Step::Check => f.write_str("checking database"),
            Step::Commit => f.write_str("committing"),
            Step::Committed => f.write_str("committed"),
            Step::Close => f.write_str("closing database"),
            Step::Follow { container } => {
                write!(f, "container was recreated: continuing with the new container {container}")
            }
            Step::Start { container } => write!(f, "starting container {container}"),
            Step::WaitUp => f.write_str("waiting for the server to respond"),
            Step::WaitBeats { monitors: 1 } => f.write_str("waiting for a heartbeat (1 monitor)"),
            Step::WaitBeats { monitors } => write!(f, "waiting for heartbeats ({monitors} monitors)"),
            Step::Up { downtime } => write!(f, "server is running ({:.1} s)", downtime.as_secs_f64()),
            Step::Pack => f.write_str("packing snapshot"),
            Step::Put { store, bytes: size } => write!(f, "storing {} in {store}", bytes(*size)),
            Step::WriteOut { bytes: size } => write!(f, "writing {} to standard output", bytes(*size)),
            Step::Packed { id, bytes: size, undo } => {
                let kind = if *undo { "undo snapshot" } else { "snapshot" };
                write!(f, "{kind} {id} stored ({})", bytes(*size))
            }
            Step::Remove { snapshot } => write!(f, "deleting snapshot {snapshot}"),
            Step::CloseJournal => f.write_str("closing journal"),
            Step::Undo { why } => write!(f, "rolling back: {why}"),
            Step::PutBack => f.write_str("restoring database"),
            Step::Swap => f.write_str("exchanging tables"),
            Step::Clear => f.write_str("dropping the old tables"),
            Step::LeaveDown { container } => {
                write!(
                    f,
                    "container {container} was not running before and was not started; to start it: kumadb restart"
                )
            }
            Step::ChangeFiles { changes } => write!(f, "making {}", counted(*changes, "file change")),
            Step::Salvage => f.write_str("building a new database from the damaged one"),
            Step::Sweep { table } => write!(f, "deleting rows from {table}"),
            Step::Batch { seen } => write!(f, "scanned {}", counted(*seen as usize, "row")),
            Step::CopyRows { tables } => write!(f, "copying the rows of {} that are kept", tables.join(", ")),
            Step::Compact { what } => write!(f, "reclaiming disk space: {what}"),
            Step::Rebuild { place } => write!(f, "creating instance in {place}"),
            Step::Install => f.write_str("initializing embedded MariaDB"),
            Step::Fill => f.write_str("loading database"),
            Step::Upgrade { release } => write!(f, "building a new database of release {release}"),
            Step::Aggregate => f.write_str("counting the heartbeats from before the upgrade"),
            Step::AwaitImage { container, image } => write!(
                f,
                "waiting for container {container} with the image {image}: change the image now (Ctrl-C: later, with \
                 kumadb recover)"
            ),
            Step::LookAtImage => f.write_str("the container does not have the image yet"),
            Step::LeaveUntilImage { container, image } => {
                write!(f, "container {container} was not started: change its image back to {image}, then start it")
            }
            Step::LeaveMigrating { container, image } => {
                write!(f, "container {container} is running with the image {image}, which upgrades the database itself")
            }
            Step::SetAside { name, to } => write!(f, "renaming {name} to {to}"),
            Step::Rehearse => f.write_str("dry run: running the transaction and rolling it back"),
        }
    }
}

/// Receives the steps of a run.
pub trait Observer {
    /// Called before each step; an error stops the run there, and what was done is rolled back.
    fn step(&mut self, step: &Step) -> Result<()>;

    /// Progress of a long step, in its own unit; `total` is 0 where it is unknown.
    fn progress(&mut self, _done: u64, _total: u64) {}
}

/// An observer that ignores everything.
pub struct NoObserver;

impl Observer for NoObserver {
    fn step(&mut self, _step: &Step) -> Result<()> {
        Ok(())
    }
}
