//! The parameters of a run and its result: mode, settings, work and outcome.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::script::{Changes, Script};
use super::statistics;
use crate::backup::{Manifest, Snapshot, StagedCopy, Undone};
use crate::kuma::damaged::JournalUse;
use crate::kuma::fresh::Salvaged;
use crate::kuma::transfer::{self, TransferReport};
use crate::kuma::upgrade::correct::Correction;
use crate::kuma::upgrade::{UpgradeOptions, Upgraded};
use crate::kuma::write::WriteResult;
use crate::model::state::Fingerprint;
use crate::plan::Plan;
use crate::plan::history::HistoryPruning;
use crate::schema::Release;
use crate::upgrade::Route;
use crate::value::Row;

/// What happens to the server during the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It is stopped before the write and started afterwards.
    Stopped,
    /// MariaDB only: it keeps running and is restarted afterwards.
    LiveThenRestart,
    /// MariaDB only: it keeps running and picks up the change at its next start.
    Live,
}

/// The settings of one run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The verb, for the journal and the snapshot.
    pub verb: String,
    /// What happens to the server.
    pub mode: Mode,
    /// Shutdown timeout; at least 60 s, because Docker's default of 10 s can kill the server during a checkpoint.
    pub grace: Duration,
    /// Timeout for the server to come up and write heartbeats.
    pub deadline: Duration,
    /// How long to wait for a heartbeat from every changed monitor.
    pub wait_beats: Option<Duration>,
    /// How long to wait for a container with the image of the release, after an upgrade.
    pub patience: Duration,
    /// Whether `recover` rolls back what was committed, without trying to finish it.
    pub rolls_back: bool,
    /// Whether a release with unknown migrations may be written to.
    pub allow_unknown_release: bool,
    /// Whether the work releases the lock that an interrupted migration left, so that this lock does not prevent the
    /// run.
    pub opens_lock: bool,
    /// Whether every deleted row is written to a readable file beside the snapshot.
    pub keeps_removed: bool,
    /// The undo snapshot that is restored, where the run is a `kumadb undo`.
    pub undoes: Option<Undone>,
}

impl Settings {
    /// The default settings.
    pub fn new(verb: impl Into<String>) -> Settings {
        Settings {
            verb: verb.into(),
            mode: Mode::Stopped,
            grace: Duration::from_secs(60),
            deadline: Duration::from_secs(180),
            wait_beats: None,
            patience: Duration::from_secs(3600),
            rolls_back: false,
            allow_unknown_release: false,
            opens_lock: false,
            keeps_removed: false,
            undoes: None,
        }
    }
}

/// What to do to the database.
pub enum Work<'a> {
    /// The changes of a plan, in one transaction.
    Plan(&'a Plan),
    /// Pruning of the history, in one transaction.
    Prune(&'a HistoryPruning),
    /// Statements given by the user, in one transaction.
    Script(&'a Script),
    /// Statements that rewrite the file, or a table of MariaDB, with the same content. Each is atomic by itself, and
    /// none can run in a transaction.
    Compact(&'a [String]),
    /// Statements that change how tables are stored but no cell of them, such as a new index or column. They are not
    /// rolled back: MariaDB makes each durable at once, and each is harmless to keep.
    Statements(&'a [String]),
    /// The content of a staged copy or snapshot.
    Load {
        /// The copy.
        desired: &'a StagedCopy,
        /// Tables whose rows stay, except rows that refer to something that the load removes.
        kept: &'a [String],
        /// Whether rows of those tables that the copy has and that are missing in the database are restored too.
        merges: bool,
        /// The configuration that the difference was shown of; when it has changed since, nothing is done.
        shown: Option<&'a Fingerprint>,
    },
    /// SQLite: a new database built from a damaged one, of this release if the database does not show its own.
    Salvage(Option<Release>),
    /// A new database of a newer release, made from the present one.
    Upgrade(&'a UpgradeWork<'a>),
    /// Right statistics in place of those that a server made wrongly when it upgraded the database.
    Statistics(&'a statistics::StatisticsWork),
}

impl Work<'_> {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Work::Plan(plan) => plan.is_empty(),
            Work::Prune(pruning) => pruning.is_empty(),
            Work::Script(script) => script.statements.is_empty(),
            Work::Compact(statements) | Work::Statements(statements) => statements.is_empty(),
            Work::Load { .. } | Work::Salvage(_) | Work::Upgrade(_) | Work::Statistics(_) => false,
        }
    }

    /// Whether a running server uses the result only after a restart: it has read the configuration when it started.
    pub(super) fn needs_restart(&self) -> bool {
        match self {
            Work::Plan(_)
            | Work::Script(_)
            | Work::Load { .. }
            | Work::Salvage(_)
            | Work::Upgrade(_)
            | Work::Statistics(_) => true,
            Work::Prune(pruning) => !pruning.settings.is_empty(),
            Work::Compact(_) | Work::Statements(_) => false,
        }
    }

    /// Whether the copy has screenshots, which are restored with the whole of it.
    pub(super) fn restores_screenshots(&self) -> bool {
        match self {
            Work::Load { desired, kept: [], .. } => {
                desired.manifest.members.iter().any(|member| member.name.starts_with("screenshots/"))
            }
            _ => false,
        }
    }
}

/// The outcome of a run.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Outcome {
    /// Ids of the inserted rows.
    pub written: WriteResult,
    /// Deleted rows of the history, by table.
    pub deleted: BTreeMap<String, u64>,
    /// What a script changed.
    pub changes: Changes,
    /// The undo snapshot.
    pub snapshot: Option<Snapshot>,
    /// The undo snapshots of earlier runs of the same command.
    pub earlier: Vec<Snapshot>,
    /// The manifest of the pending snapshot, where the store has no space.
    pub kept: Option<Manifest>,
    /// The file with the deleted rows, where there is one.
    pub removed: Option<PathBuf>,
    /// Rows of the history that an undo has restored, by table.
    pub merged: BTreeMap<String, u64>,
    /// What a new database was built from, where one was.
    pub rebuilt: Option<RebuiltFrom>,
    /// What an upgrade has changed.
    pub upgraded: Option<UpgradeResult>,
    /// What was replaced in the statistics.
    pub corrected: Option<Correction>,
    /// What a conversion read, wrote and changed.
    pub converted: Option<TransferReport>,
    /// Downtime of the server, where it was running before.
    pub downtime: Option<Duration>,
    /// The newest heartbeat after the start, by monitor, of those that were waited for.
    pub beats: BTreeMap<i64, Row>,
    /// Changed active monitors without a heartbeat within the timeout.
    pub silent: Vec<i64>,
    /// Whether a server may be running that uses the change only after a restart, and kumadb has not restarted it.
    pub restart_due: bool,
    /// Warnings: the run itself succeeded.
    pub warnings: Vec<String>,
}

impl Outcome {
    /// The IDs of the stored undo snapshots, in the order in which they were taken.
    pub fn snapshots(&self) -> Vec<&str> {
        self.earlier.iter().chain(&self.snapshot).map(|snapshot| snapshot.manifest.id.as_str()).collect()
    }

    /// The outcome of `self` and then `next`, as one.
    pub fn then(self, mut next: Outcome) -> Outcome {
        next.warnings.splice(0..0, self.warnings);
        next.earlier = self.earlier.into_iter().chain(self.snapshot).chain(next.earlier).collect();
        next.removed = next.removed.or(self.removed);
        next.rebuilt = next.rebuilt.or(self.rebuilt);
        next
    }

    /// The manifest of the undo snapshot, stored or pending.
    pub fn made(&self) -> Option<&Manifest> {
        self.snapshot.as_ref().map(|snapshot| &snapshot.manifest).or(self.kept.as_ref())
    }
}

/// An upgrade, as `Work`.
#[derive(Clone, Debug)]
pub struct UpgradeWork<'a> {
    /// The way to the release.
    pub route: &'a Route,
    /// How it is done.
    pub options: UpgradeOptions,
}

/// What became of a database.
#[derive(Clone, Debug)]
pub struct UpgradeResult {
    /// The changes of its rows.
    pub upgraded: Upgraded,
    /// The rows of each table.
    pub transfer: transfer::TransferReport,
}

/// What the new database was built from.
#[derive(Clone, Debug)]
pub enum RebuiltFrom {
    /// The files as they are, with rebuilt indexes, and with the WAL or without it.
    Whole {
        /// Whether its WAL, if there was one, is part of it.
        with_wal: bool,
        /// How its rollback journal was used.
        journal: JournalUse,
    },
    /// The rows that its pages still contain.
    Salvaged(Box<Salvaged>),
}

impl RebuiltFrom {
    /// Whether everything was recovered without doubt.
    pub fn is_whole(&self) -> bool {
        match self {
            RebuiltFrom::Whole { .. } => true,
            RebuiltFrom::Salvaged(salvaged) => salvaged.is_whole(),
        }
    }
}
