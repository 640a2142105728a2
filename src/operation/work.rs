//! The parameters of a run and its result: mode, settings, work and outcome.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::script::{Changes, Script};
use super::statistics;
use crate::backup::{Manifest, Snapshot, StagedCopy, Undone};
use crate::engine::EngineKind;
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
use crate::text::counted;
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
    /// The fixes of a `doctor --fix`, and which of them earlier parts of the command have made.
    pub fixes: Option<FixProgress>,
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
            fixes: None,
            undoes: None,
        }
    }
}

/// What an operation does to the database.
pub enum Work<'a> {
    /// Changes in one transaction, which is checked before it commits and can be rolled back in a dry run.
    Transaction(Transaction<'a>),
    /// Another content, or another form of the same content, in place of the whole database.
    Replacement(Replacement<'a>),
}

/// Changes in one transaction.
#[derive(Clone, Copy)]
pub enum Transaction<'a> {
    /// The changes of a plan.
    Plan(&'a Plan),
    /// What the doctor fixes.
    Fixes(Fixes<'a>),
    /// Pruning of the history.
    Prune(&'a HistoryPruning),
    /// Statements given by the user.
    Script(&'a Script),
    /// Right statistics in place of those that a server made wrongly when it upgraded the database.
    Statistics(&'a statistics::StatisticsWork),
}

/// Changes of rows, and then statements that change how tables are stored but no cell of them, such as a new index or
/// column.
///
/// On SQLite, both are one transaction. MariaDB makes each statement durable at once, so they come after the commit, and
/// are not rolled back: each is harmless to keep.
#[derive(Clone, Copy)]
pub struct Fixes<'a> {
    /// The rows.
    pub plan: &'a Plan,
    /// The statements.
    pub statements: &'a [String],
}

/// What replaces the whole database.
#[derive(Clone, Copy)]
pub enum Replacement<'a> {
    /// The content of a staged copy or snapshot.
    Load(Load<'a>),
    /// SQLite: a new database built from a damaged one, of this release if the database does not show its own.
    Salvage(Option<Release>),
    /// A new database of a newer release, made from the present one.
    Upgrade(&'a UpgradeWork<'a>),
    /// Statements that rewrite the file, or a table of MariaDB, with the same content. Each is atomic by itself, and
    /// none can run in a transaction.
    Compact(&'a [String]),
}

/// What is loaded from a copy.
#[derive(Clone, Copy)]
pub struct Load<'a> {
    /// The copy.
    pub desired: &'a StagedCopy,
    /// Tables whose rows stay, except rows that refer to something that the load removes.
    pub kept: &'a [String],
    /// Whether rows of those tables that the copy has and that are missing in the database are restored too.
    pub merges: bool,
    /// The configuration that the difference was shown of; when it has changed since, nothing is done.
    pub shown: Option<&'a Fingerprint>,
}

impl<'a> From<Transaction<'a>> for Work<'a> {
    fn from(transaction: Transaction<'a>) -> Work<'a> {
        Work::Transaction(transaction)
    }
}

impl<'a> From<Replacement<'a>> for Work<'a> {
    fn from(replacement: Replacement<'a>) -> Work<'a> {
        Work::Replacement(replacement)
    }
}

impl<'a> From<Load<'a>> for Work<'a> {
    fn from(load: Load<'a>) -> Work<'a> {
        Work::Replacement(Replacement::Load(load))
    }
}

impl Work<'_> {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Work::Transaction(Transaction::Plan(plan)) => plan.is_empty(),
            Work::Transaction(Transaction::Fixes(fixes)) => fixes.plan.is_empty() && fixes.statements.is_empty(),
            Work::Transaction(Transaction::Prune(pruning)) => pruning.is_empty(),
            Work::Transaction(Transaction::Script(script)) => script.statements.is_empty(),
            Work::Replacement(Replacement::Compact(statements)) => statements.is_empty(),
            Work::Transaction(Transaction::Statistics(_)) | Work::Replacement(_) => false,
        }
    }

    /// Whether a running server uses the result only after a restart: it has read the configuration when it started.
    pub(super) fn needs_restart(&self) -> bool {
        match self {
            Work::Transaction(Transaction::Fixes(fixes)) => !fixes.plan.is_empty(),
            Work::Transaction(Transaction::Prune(pruning)) => !pruning.settings.is_empty(),
            Work::Replacement(Replacement::Compact(_)) => false,
            Work::Transaction(_) | Work::Replacement(_) => true,
        }
    }

    /// The copy that is loaded.
    pub(super) fn load(&self) -> Option<&Load<'_>> {
        match self {
            Work::Replacement(Replacement::Load(load)) => Some(load),
            _ => None,
        }
    }

    /// The changes of rows that were planned.
    pub(super) fn plan(&self) -> Option<&Plan> {
        match self {
            Work::Transaction(transaction) => transaction.plan(),
            Work::Replacement(_) => None,
        }
    }

    /// Whether the present content of the database does not matter, so that a database that cannot be read, or is of an
    /// unknown release, is not refused.
    pub(super) fn replaces_all(&self) -> bool {
        matches!(self, Work::Replacement(Replacement::Load(_) | Replacement::Salvage(_) | Replacement::Upgrade(_)))
    }

    /// Whether the copy has screenshots, which are restored with the whole of it.
    pub(super) fn restores_screenshots(&self) -> bool {
        self.load().is_some_and(|load| {
            load.kept.is_empty()
                && load.desired.manifest.members.iter().any(|member| member.name.starts_with("screenshots/"))
        })
    }
}

impl<'a> Transaction<'a> {
    /// The changes of rows that were planned.
    pub(super) fn plan(&self) -> Option<&'a Plan> {
        match self {
            Transaction::Plan(plan) => Some(plan),
            Transaction::Fixes(fixes) => Some(fixes.plan),
            Transaction::Prune(_) | Transaction::Script(_) | Transaction::Statistics(_) => None,
        }
    }

    /// The statements that are executed after the commit, one by one.
    pub(super) fn statements_after(&self, engine: EngineKind) -> &'a [String] {
        match self {
            Transaction::Fixes(fixes) if engine == EngineKind::MariaDb => fixes.statements,
            _ => &[],
        }
    }

    /// Whether it only has statements that are durable one by one: there is nothing to roll back.
    pub(super) fn lasts(&self, engine: EngineKind) -> bool {
        !self.statements_after(engine).is_empty() && self.plan().is_some_and(Plan::is_empty)
    }
}

impl Fixes<'_> {
    /// Whether the rows and the statements can be one operation on `engine`: after the statements, a rollback must be
    /// able to restore the rows. MariaDB refuses rows of other columns or character sets, and rows that a new unique
    /// index does not allow; a new foreign key is not checked while rows are restored. What a running server has written
    /// since the rows were committed would be lost.
    pub fn are_one(&self, engine: EngineKind, mode: Mode) -> bool {
        let keeps_rows = |statement: &String| {
            let is_key = statement.contains(" FOREIGN KEY (") && !statement.contains(" COLUMN ");
            let is_counter = statement.contains(" AUTO_INCREMENT = ");
            statement.starts_with("CREATE INDEX") || statement.starts_with("ALTER TABLE") && (is_key || is_counter)
        };
        let is_one_kind = self.plan.is_empty() || self.statements.is_empty();
        engine == EngineKind::Sqlite || is_one_kind || mode == Mode::Stopped && self.statements.iter().all(keeps_rows)
    }
}

/// How much of the fixes is done: changes of files, rows and the structure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixProgress {
    /// Files.
    pub files: DoneOf,
    /// Rows.
    pub rows: DoneOf,
    /// Statements.
    pub statements: DoneOf,
}

/// How many of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoneOf {
    /// Those that are made and stay.
    pub done: usize,
    /// All of them.
    pub all: usize,
}

impl FixProgress {
    /// Notes whether the transaction on `engine` is committed.
    pub(super) fn set_committed(&mut self, engine: EngineKind, committed: bool) {
        let done = |part: &mut DoneOf| part.done = if committed { part.all } else { 0 };
        done(&mut self.rows);
        if engine == EngineKind::Sqlite {
            done(&mut self.statements);
        }
    }

    /// In words: `made: 5 of 5 row changes, 1 of 3 statements`; `None` while nothing is.
    pub fn words(&self) -> Option<String> {
        let parts = [(self.files, "file change"), (self.rows, "row change"), (self.statements, "statement")];
        let all = parts.iter().filter(|(part, _)| part.all > 0);
        let words: Vec<String> =
            all.map(|(part, noun)| format!("{} of {}", part.done, counted(part.all, noun))).collect();
        parts.iter().any(|(part, _)| part.done > 0).then(|| format!("made: {}", words.join(", ")))
    }

    /// Whether something is not done.
    pub fn is_partial(&self) -> bool {
        [self.files, self.rows, self.statements].iter().any(|part| part.done < part.all)
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
    /// The fixes that are made.
    pub fixes: Option<FixProgress>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Change, PlanStep};

    #[test]
    fn only_what_takes_the_old_rows_back_is_one_operation_with_them() {
        let change = Change::Delete { column: "id".into(), value: 1, rows: 1 };
        let step = PlanStep { table: "tag".into(), subject: "tag".into(), change };
        let (rows, none) = (Plan { steps: vec![step], ..Plan::default() }, Plan::default());
        for (statement, are_one) in [
            ("CREATE INDEX `a` ON `heartbeat` (`time`)", true),
            ("ALTER TABLE `tag` ADD CONSTRAINT `b` FOREIGN KEY (`x`) REFERENCES `user` (`id`) ON DELETE CASCADE", true),
            ("ALTER TABLE `monitor` AUTO_INCREMENT = 100", true),
            ("CREATE UNIQUE INDEX `a` ON `tag` (`name`)", false),
            ("ALTER TABLE `tag` CONVERT TO CHARACTER SET utf8mb4", false),
            ("ALTER TABLE `tag` ADD COLUMN `x` int, ADD FOREIGN KEY (`x`) REFERENCES `user` (`id`)", false),
            ("CREATE TABLE `t` (`id` int, FOREIGN KEY (`id`) REFERENCES `user` (`id`))", false),
        ] {
            let statements = [statement.to_owned()];
            let fixes = |plan| Fixes { plan, statements: &statements };
            assert_eq!(fixes(&rows).are_one(EngineKind::MariaDb, Mode::Stopped), are_one, "{statement}");
            for live in [Mode::Live, Mode::LiveThenRestart] {
                assert!(!fixes(&rows).are_one(EngineKind::MariaDb, live), "{statement}");
                assert!(fixes(&none).are_one(EngineKind::MariaDb, live), "{statement}");
            }
            assert!(fixes(&rows).are_one(EngineKind::Sqlite, Mode::Stopped));
        }
    }
}
