//! The transaction: checked before it commits, or rolled back in a dry run.

use std::collections::BTreeMap;
use std::path::Path;

use super::journal::Phase;
use super::release::check_writable;
use super::run::{Run, Write};
use super::script::Changes;
use super::work::{Fixes, Replacement, Settings, Transaction, Work};
use super::{NoObserver, Observer, Step, removed, statistics};
use crate::backup::Guarded;
use crate::engine::sqlite::SqliteFile;
use crate::engine::{Connect, EngineKind, Reader, Writer};
use crate::error::{DatabaseError, Error, OperationError, Result};
use crate::files;
use crate::instance::{DbLocation, Instance};
use crate::kuma::mark::{Watched, read_mark};
use crate::kuma::merge::read_spans;
use crate::kuma::prune::{self, read_newest};
use crate::kuma::read::{TableHashes, history, history_of, read_database, read_fingerprint, read_table_hashes};
use crate::kuma::upgrade::correct::Correction;
use crate::kuma::write::{WriteResult, check_clean, check_fits, check_known, check_written, write_plan};
use crate::model::state::Fingerprint;
use crate::plan::history::HistoryPruning;
use crate::plan::{Change, Plan};
use crate::schema::{Schema, Table};
use crate::value::Value;

/// Dry run of `plan`: the same transaction with the same checks, then rolled back. A SQLite database is copied for
/// this, because not even a transaction that is rolled back may be opened beside a running server.
pub fn dry_run(instance: &Instance, plan: &Plan, settings: &Settings, observer: &mut dyn Observer) -> Result<()> {
    dry_run_transaction(instance, &Transaction::Plan(plan), settings, observer).map(drop)
}

/// Tries a plan while the server still runs, so that what the database refuses (a CHECK, a foreign key, two values that
/// MariaDB takes for one) does not cost a stop: on a copy without the history, or in a transaction that is rolled back.
///
/// # Errors
/// What the database or a check refuses. A plan that could not be tried is not refused: the write makes the same checks.
pub(super) fn try_before_stop(instance: &Instance, work: &Work<'_>) -> Result<()> {
    if let Work::Replacement(Replacement::Upgrade(_)) = work {
        return super::upgrade::try_tables(instance);
    }
    let Some(plan) = work.plan().filter(|plan| !plan.is_empty()) else { return Ok(()) };
    // Rows of the history are only deleted, and deleting many of them takes locks or a copy of all.
    if !history_of(plan.steps.iter().map(|step| &step.table)).is_empty() {
        return Ok(());
    }
    let Ok(scratch) = files::temp_folder("kumadb-", None) else { return Ok(()) };
    // What fails before the plan is tried is not a fault of the plan, which may be the fix of a damaged database.
    let Ok(Some((mut guarded, schema))) = prepare(instance, plan, &scratch.path().join("kuma.db")) else {
        return Ok(());
    };
    let Ok(before) = read_table_hashes(guarded.writer(), &schema) else { return Ok(()) };
    let tried = write_and_check(&mut guarded, (&schema, &before), plan, &mut NoObserver);
    // A connection that ends without a commit rolls back as well.
    let _ = guarded.writer().rollback();
    match tried {
        Err(Error::Database(DatabaseError::Sql { message, .. })) => {
            let database = format!("the database of `{}` would refuse this change", instance.name);
            Err(Error::Database(DatabaseError::Sql { database, message }))
        }
        Err(
            error @ (Error::Database(DatabaseError::NoFreeId { .. })
            | Error::Operation(
                OperationError::StalePlan | OperationError::ReadBack { .. } | OperationError::ChecksFailed(_),
            )),
        ) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// An open transaction in which `plan` can be tried, on a copy at `copy` where the engine has files; `None` where it
/// would do harm.
fn prepare(instance: &Instance, plan: &Plan, copy: &Path) -> Result<Option<(Guarded, Schema)>> {
    let connect = instance.connect()?;
    let schema = connect.reader()?.schema()?;
    // A row that is rolled back uses up its id, so this is only for tables in which two rows can be taken for one.
    let may_clash = || plan.steps.iter().any(|step| schema.table(&step.table).is_some_and(is_unique));
    if instance.engine() == EngineKind::MariaDb && !may_clash() {
        return Ok(None);
    }
    let mut guarded = open_trial(instance, &*connect, copy, &history(&schema), &mut |_, _| {})?;
    guarded.writer().begin()?;
    Ok(Some((guarded, schema)))
}

/// Whether values of `table` other than its id must differ.
fn is_unique(table: &Table) -> bool {
    table.indexes.iter().any(|index| index.unique && index.columns != ["id"])
}

/// Dry run of `transaction`; returns its result. The statements that MariaDB makes durable at once are not tried.
pub fn dry_run_transaction(
    instance: &Instance,
    transaction: &Transaction<'_>,
    settings: &Settings,
    observer: &mut dyn Observer,
) -> Result<TransactionResult> {
    dry_run_with(instance, settings, observer, |guarded, schema| {
        guarded.writer().begin()?;
        let before = read_table_hashes(guarded.writer(), schema)?;
        let tried = make(guarded, (schema, &before), transaction, &mut NoObserver);
        guarded.writer().rollback()?;
        tried
    })
}

/// Opens the database where a change can be tried: a new copy at `copy` of a SQLite database, with tables `without` empty;
/// a MariaDB database itself, for a transaction that is rolled back.
fn open_trial(
    instance: &Instance,
    connect: &dyn Connect,
    copy: &Path,
    without: &[String],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Guarded> {
    match &instance.place {
        DbLocation::Sqlite(_) => {
            connect.reader()?.dump(copy, without, progress)?;
            Guarded::dry_run(&SqliteFile::new(copy))
        }
        _ => Guarded::dry_run(connect),
    }
}

/// Runs `attempt` where it does no harm: on a copy of a SQLite database, or in a MariaDB transaction that is rolled
/// back.
fn dry_run_with<T>(
    instance: &Instance,
    settings: &Settings,
    observer: &mut dyn Observer,
    attempt: impl FnOnce(&mut Guarded, &Schema) -> Result<T>,
) -> Result<T> {
    instance.check_accepts_writes()?;
    observer.step(&Step::Rehearse)?;
    let scratch = files::temp_folder("kumadb-", None)?;
    instance.open()?.with(|connect| {
        let copy = scratch.path().join("kuma.db");
        let mut guarded = open_trial(instance, connect, &copy, &[], &mut |done, total| observer.progress(done, total))?;
        let database = read_database(guarded.writer(), &instance.name)?;
        check_writable(instance, &database, settings)?;
        attempt(&mut guarded, &database.schema)
    })
}

/// The result of a transaction.
#[derive(Debug)]
pub struct TransactionResult {
    /// Ids of the inserted rows.
    pub written: WriteResult,
    /// Deleted rows of the history, by table.
    pub deleted: BTreeMap<String, u64>,
    /// What a script changed.
    pub changes: Changes,
    /// What was replaced in the statistics.
    pub corrected: Option<Correction>,
    /// The configuration afterwards.
    pub after: Fingerprint,
}

impl Transaction<'_> {
    /// A query whose result shows the change, where the configuration does not.
    pub(super) fn watched(&self) -> Option<Watched> {
        match self {
            Transaction::Plan(plan) => Watched::of(plan),
            Transaction::Fixes(fixes) => Watched::of(fixes.plan),
            Transaction::Prune(pruning) => match pruning.delete_plans.first() {
                Some(delete_plan) => Some(Watched::Left(delete_plan.clone())),
                None => Watched::of(&pruning.settings),
            },
            Transaction::Script(script) => script.watched(),
            Transaction::Statistics(order) => Some(Watched::Rows { table: order.table.clone() }),
        }
    }
}

impl Run<'_> {
    /// Runs `transaction`, which is open, and commits it. Returns the changed monitors that should have heartbeats, and the
    /// configuration afterwards.
    pub(super) fn transact(
        &mut self,
        guarded: &mut Guarded,
        write: &Write<'_>,
        transaction: &Transaction<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(Vec<i64>, Fingerprint)> {
        let schema = &write.database.schema;
        if let (Some(plan), true) = (transaction.plan(), self.settings.keeps_removed) {
            removed::write(guarded.writer(), plan, &self.staged_folder())?;
        }
        let history =
            transaction.is_reported_by_monitors().then(|| read_spans(guarded.writer(), schema)).transpose()?;
        let made = make(guarded, (schema, write.hashes), transaction, observer)?;
        if let Some(before) = history {
            let shift = before.shift(&read_spans(guarded.writer(), schema)?);
            self.journal.record.changed = Some(transaction.has_changed(shift, self.journal.record.live()));
        }
        let touched = transaction.plan().map_or(Vec::new(), |plan| touched_monitors(plan, &made.written));
        let record = &mut self.journal.record;
        record.after = Some(read_mark(guarded.writer(), &made.after, record.watched.as_ref())?);
        self.journal.advance(Phase::Writing)?;
        self.outcome.corrected = made.corrected;
        (self.outcome.written, self.outcome.deleted, self.outcome.changes) = (made.written, made.deleted, made.changes);
        observer.step(&Step::Commit)?;
        self.attempted = true;
        guarded.writer().commit()?;
        Ok((touched, made.after))
    }

    /// Executes `statements` that are durable one by one, notes each in the journal, and checks that they change no cell: the
    /// configuration is `before` in the tables of `schema`.
    ///
    /// # Errors
    /// [`OperationError::StatementsStay`] where some are made.
    pub(super) fn execute(
        &mut self,
        writer: &mut dyn Writer,
        statements: &[String],
        (schema, before): (&Schema, &Fingerprint),
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let (mut made, all) = (0, statements.len());
        let executed = execute_all(writer, statements, observer, &mut |done| {
            made = done;
            let Some(fixes) = &mut self.journal.record.fixes else { return Ok(()) };
            fixes.statements.done = done;
            self.journal.advance(self.journal.record.phase)
        });
        let live = self.journal.record.live();
        let ended = executed.and_then(|()| match check_unchanged(writer, schema, before, observer) {
            Err(Error::Operation(OperationError::ChecksFailed(_))) if live => {
                let warning = "the configuration changed while the structure was fixed: the server may have changed it";
                self.outcome.warnings.push(warning.into());
                Ok(())
            }
            checked => checked,
        });
        ended.map_err(|cause| match made {
            0 => cause,
            done => OperationError::StatementsStay { cause: Box::new(cause), done, all }.into(),
        })
    }
}

/// Runs `transaction` in the open transaction and checks it.
fn make(
    guarded: &mut Guarded,
    tables: (&Schema, &TableHashes),
    transaction: &Transaction<'_>,
    observer: &mut dyn Observer,
) -> Result<TransactionResult> {
    let mut made = TransactionResult {
        written: WriteResult::default(),
        deleted: BTreeMap::new(),
        changes: Changes::default(),
        corrected: None,
        after: Fingerprint::none(),
    };
    let schema = tables.0;
    match transaction {
        Transaction::Plan(plan) => {
            (made.written, made.after) = write_and_check(guarded, tables, plan, observer)?;
        }
        Transaction::Fixes(Fixes { plan, statements }) => {
            (made.written, made.after) = write_and_check(guarded, tables, plan, observer)?;
            if guarded.writer().kind() == EngineKind::Sqlite && !statements.is_empty() {
                execute_all(guarded.writer(), statements, observer, &mut |_| Ok(()))?;
                check_unchanged(guarded.writer(), schema, &made.after, observer)?;
            }
        }
        Transaction::Prune(pruning) => {
            made.deleted = prune_all(guarded.writer(), pruning, observer)?;
            (made.written, made.after) = write_and_read_back(guarded, tables, &pruning.settings, observer)?;
            check_all(guarded, observer)?;
        }
        Transaction::Script(script) => {
            observer.step(&Step::Execute { statements: script.statements.len() })?;
            made.changes = script.run(guarded.writer(), schema)?;
            check_all(guarded, observer)?;
            made.after = read_fingerprint(guarded.writer(), schema)?;
        }
        Transaction::Statistics(order) => {
            made.corrected = Some(statistics::replace(guarded, schema, order, observer)?);
            check_all(guarded, observer)?;
            made.after = read_fingerprint(guarded.writer(), schema)?;
        }
    }
    Ok(made)
}

/// Writes `plan` in the open transaction and checks it; returns the new ids, and the configuration afterwards. `tables` are
/// those before.
fn write_and_check(
    guarded: &mut Guarded,
    tables: (&Schema, &TableHashes),
    plan: &Plan,
    observer: &mut dyn Observer,
) -> Result<(WriteResult, Fingerprint)> {
    let written = write_and_read_back(guarded, tables, plan, observer)?;
    // What else there is was checked in the copy. If that has faults, nothing is taken for granted.
    if guarded.before().is_empty() {
        observer.step(&Step::Check)?;
        check_known(&guarded.writer().check_changed(&plan.changed_tables(tables.0))?, &[])?;
    } else {
        check_all(guarded, observer)?;
    }
    Ok(written)
}

/// The same without the checks of the engine.
fn write_and_read_back(
    guarded: &mut Guarded,
    (schema, before): (&Schema, &TableHashes),
    plan: &Plan,
    observer: &mut dyn Observer,
) -> Result<(WriteResult, Fingerprint)> {
    check_fits(plan, &before.fingerprint())?;
    if !plan.is_empty() {
        observer.step(&Step::Write { changes: plan.steps.len() })?;
    }
    let written = write_plan(guarded.writer(), schema, plan)?;
    observer.step(&Step::ReadBack)?;
    let after = check_written(guarded.writer(), schema, plan, &written, before)?;
    Ok((written, after.fingerprint()))
}

/// Lets the engine check all tables.
fn check_all(guarded: &mut Guarded, observer: &mut dyn Observer) -> Result<()> {
    observer.step(&Step::Check)?;
    let before = guarded.before().to_vec();
    check_clean(guarded.writer(), &before)
}

/// Deletes the rows, and checks that each monitor still has its newest heartbeat. Returns the number of deleted rows,
/// by table.
fn prune_all(
    writer: &mut dyn Writer,
    pruning: &HistoryPruning,
    observer: &mut dyn Observer,
) -> Result<BTreeMap<String, u64>> {
    let newest = read_newest(writer)?;
    let mut deleted = BTreeMap::new();
    for delete_plan in &pruning.delete_plans {
        observer.step(&Step::Sweep { table: delete_plan.table.clone() })?;
        let mut each = |seen| {
            observer.progress(seen, 0);
            observer.step(&Step::Batch { seen })
        };
        *deleted.entry(delete_plan.table.clone()).or_insert(0) += prune::delete(writer, delete_plan, &mut each)?;
    }
    let now = read_newest(writer)?;
    // A running server may have written newer ones.
    let is_kept = |monitor: &i64, time: &Value| now.get(monitor).is_some_and(|now| now.to_string() >= time.to_string());
    match newest.iter().find(|(monitor, time)| !is_kept(monitor, time)) {
        Some((monitor, _)) => Err(Error::Operation(OperationError::ChecksFailed(vec![format!(
            "monitor {monitor} would lose its newest heartbeat"
        )]))),
        None => Ok(deleted),
    }
}

/// Executes `statements`; calls `made` with the number of those that are made by then.
fn execute_all(
    writer: &mut dyn Writer,
    statements: &[String],
    observer: &mut dyn Observer,
    made: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<()> {
    observer.step(&Step::Execute { statements: statements.len() })?;
    for (at, statement) in statements.iter().enumerate() {
        match writer.execute(statement, &[]) {
            Err(Error::Database(DatabaseError::Sql { message, .. })) => {
                let database = format!("statement {} of {} (`{statement}`)", at + 1, statements.len());
                return Err(Error::Database(DatabaseError::Sql { database, message }));
            }
            executed => executed?,
        };
        made(at + 1)?;
    }
    Ok(())
}

/// Fails where statements that change no cell have changed the configuration, which was `before`, in the tables of `schema`.
fn check_unchanged(
    reader: &mut dyn Reader,
    schema: &Schema,
    before: &Fingerprint,
    observer: &mut dyn Observer,
) -> Result<()> {
    observer.step(&Step::ReadBack)?;
    if read_fingerprint(reader, schema)? == *before {
        Ok(())
    } else {
        Err(Error::Operation(OperationError::ChecksFailed(vec!["rows changed that no statement should change".into()])))
    }
}

/// Monitors that a plan creates or changes.
fn touched_monitors(plan: &Plan, written: &WriteResult) -> Vec<i64> {
    let mut touched: Vec<i64> = plan
        .steps
        .iter()
        .enumerate()
        .filter(|(_, step)| step.table == "monitor")
        .filter_map(|(at, step)| match &step.change {
            Change::Insert { .. } => written.ids.get(&at).copied(),
            Change::Update { id, .. } => Some(*id),
            Change::Delete { .. } => None,
        })
        .collect();
    touched.sort_unstable();
    touched.dedup();
    touched
}
