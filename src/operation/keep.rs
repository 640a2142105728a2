//! Prunes most of the history: the rows that stay are copied into new tables, which then replace the old ones. On SQLite they
//! are in a new file whose pages are written into the database in one transaction, on MariaDB in a second database whose tables
//! are exchanged.

use std::collections::BTreeSet;
use std::path::Path;

use super::compact::in_scratch;
use super::journal::Phase;
use super::run::{Run, Write};
use super::work::{Transaction, Work};
use super::{Observer, Step};
use crate::backup::{Guarded, StagedCopy};
use crate::engine::mariadb::Address;
use crate::engine::sqlite::SqliteFile;
use crate::engine::{Connect as _, Depth, EngineKind, Reader as _, RowFilter, Writer, join};
use crate::error::{DatabaseError, Error, OperationError, Result, SnapshotError};
use crate::files;
use crate::instance::DbLocation;
use crate::kuma::keep::Expected;
use crate::kuma::mark::read_mark;
use crate::kuma::merge::HistoryChange;
use crate::kuma::prune::kept_rows;
use crate::kuma::read::{TableHashes, read_counts, read_fingerprint};
use crate::kuma::write::{WriteResult, check_clean, check_fits, check_known, check_written, write_plan};
use crate::model::state::Fingerprint;
use crate::plan::Plan;
use crate::plan::history::HistoryPruning;
use crate::schema::Schema;

/// Name of the folder, beside the journal, with the new file.
const NEW: &str = "new";

/// A pruning that copies the rows that stay.
pub(super) struct Copying<'a> {
    transaction: &'a Transaction<'a>,
    pruning: &'a HistoryPruning,
    /// The rows that stay, of each table that is pruned.
    kept: Vec<RowFilter>,
}

impl Run<'_> {
    /// The rows to copy, where `work` prunes so many that this takes less time than deleting them, and they can be copied.
    pub(super) fn find_copying<'w>(
        &mut self,
        guarded: &mut Guarded,
        staged: &StagedCopy,
        work: &'w Work<'_>,
    ) -> Result<Option<Copying<'w>>> {
        let Work::Transaction(transaction @ Transaction::Prune(pruning)) = work else { return Ok(None) };
        let engine = guarded.writer().kind();
        let (vacuum, optimize) = ("VACUUM", "OPTIMIZE TABLE ");
        let replaced = |statement: &String| match engine {
            EngineKind::Sqlite => statement == vacuum,
            EngineKind::MariaDb => statement.starts_with(optimize),
        };
        // A new table has no free space, so these statements would do nothing.
        let reclaims = !pruning.compacting.is_empty() && pruning.compacting.iter().all(replaced);
        if self.journal.record.live() || !pruning.deletes_most || !reclaims {
            return Ok(None);
        }
        let Some(mut kept) = kept_rows(&pruning.delete_plans) else { return Ok(None) };
        let can_copy = match engine {
            EngineKind::Sqlite => SqliteFile::new(staged.database()).can_be_made_again().unwrap_or(false),
            EngineKind::MariaDb => {
                // A table with a setting that changes is exchanged too, so that all of it is one statement.
                for step in &pruning.settings.steps {
                    if !kept.iter().any(|filter| filter.table == step.table) {
                        let (table, condition) = (step.table.clone(), "TRUE".to_owned());
                        kept.push(RowFilter { table, condition, params: Vec::new() });
                    }
                }
                self.reserve_tables(guarded, &kept)?
            }
        };
        Ok(can_copy.then_some(Copying { transaction, pruning, kept }))
    }

    /// Whether the tables of `kept` can be exchanged. From here on, the second database is ours.
    fn reserve_tables(&mut self, guarded: &mut Guarded, kept: &[RowFilter]) -> Result<bool> {
        let Some(shadow) = guarded.writer().shadow() else { return Ok(false) };
        let tables: Vec<&str> = kept.iter().map(|filter| filter.table.as_str()).collect();
        if !shadow.can_keep(&tables)? {
            return Ok(false);
        }
        let phase = self.journal.record.phase;
        // Noted before the first database is created: a rollback checks which tables are where, and drops both databases.
        (self.attempted, self.journal.record.swaps) = (true, true);
        self.journal.advance(Phase::Writing)?;
        match shadow.reserve() {
            Err(Error::Database(DatabaseError::CannotSwapTables { .. })) => {
                (self.attempted, self.journal.record.swaps) = (false, false);
                self.journal.advance(phase)?;
                Ok(false)
            }
            reserved => reserved.map(|()| true),
        }
    }

    /// Copies the rows that stay, compares them with those in the database, and replaces the tables.
    pub(super) fn copy_kept(
        &mut self,
        guarded: &mut Guarded,
        write: &Write<'_>,
        copying: &Copying<'_>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        check_fits(&copying.pruning.settings, write.before)?;
        let tables: Vec<&str> = copying.pruning.delete_plans.iter().map(|plan| plan.table.as_str()).collect();
        let tables = copying.kept.iter().map(|filter| filter.table.clone()).filter(|table| tables.contains(&&**table));
        observer.step(&Step::CopyRows { tables: tables.collect() })?;
        match &self.instance.place {
            DbLocation::Sqlite(_) => self.copy_to_file(guarded, write, copying, observer)?,
            DbLocation::Embedded(_) | DbLocation::External(_) => {
                self.copy_to_tables(guarded, write, copying, observer)?
            }
        }
        let (may, counts) = (copying.transaction.may_change(), &write.staged.manifest.counts);
        self.note_changed(guarded.writer(), may, &write.database.schema, counts);
        self.committed();
        observer.step(&Step::Committed)
    }

    fn copy_to_file(
        &mut self,
        guarded: &mut Guarded,
        write: &Write<'_>,
        copying: &Copying<'_>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let Copying { transaction, pruning, kept } = copying;
        let folder = self.instance.work().join(NEW);
        files::remove_folder(&folder)?;
        files::make_folder(&folder)?;
        let (path, schema) = (folder.join("kuma.db"), &write.database.schema);
        // The database is locked for every other connection. Its copy has the same rows, which is compared.
        let source = SqliteFile::new(write.staged.database()).cancelled_by(write.connect.cancel());
        let mut made = source.create_alike(&path)?;
        let tables: Vec<String> = schema.tables.keys().cloned().collect();
        let live = guarded.writer();
        let (taken, expected) = join(
            || {
                let mut progress = |done, total| observer.progress(done, total);
                in_scratch(&mut made, &folder, |made| made.take_kept(&source, kept, &mut progress))
            },
            || Expected::read(live, schema, (&tables, kept), &pruning.delete_plans),
        );
        taken?;
        let expected = expected?;
        observer.step(&Step::Check)?;
        // References from the rows that stay are those of the staged copy, where they were checked.
        let is_pruned = |table: &str| pruning.delete_plans.iter().any(|plan| plan.table.eq_ignore_ascii_case(table));
        let is_referred = schema.tables.values().flat_map(|table| &table.foreign_keys).any(|key| is_pruned(&key.table));
        let made_file = SqliteFile::new(&path).cancelled_by(write.connect.cancel());
        let mut second = made_file.reader()?;
        let check = || {
            let mut faults = made_file.check_structure()?.faults;
            if is_referred {
                faults.extend(made.check(Depth::References)?);
            }
            Ok::<_, Error>(faults)
        };
        let (faults, deleted) =
            join(check, || expected.check(&mut *second, &pruning.delete_plans, &write.staged.manifest.counts));
        check_known(&faults?, guarded.before())?;
        drop(second);
        let (written, hashes) = write_settings(&mut made, &pruning.settings, write.hashes)?;
        let after = read_fingerprint(&mut made, schema)?;
        check_configuration(&after, &hashes)?;
        let shift = expected.shift(&mut made, schema)?;
        let record = &mut self.journal.record;
        record.changed = Some(transaction.has_changed(shift, false));
        record.after = Some(read_mark(&mut made, &after, record.watched.as_ref())?);
        self.journal.advance(Phase::Writing)?;
        (self.outcome.written, self.outcome.deleted) = (written, deleted?);
        let counts = read_counts(&mut made, schema)?;
        drop(made);
        observer.step(&Step::Commit)?;
        self.put_pages(guarded, &path, observer)?;
        if (read_counts(guarded.writer(), schema)?, guarded.writer().schema()?) != (counts, schema.clone()) {
            return Err(Error::Snapshot(SnapshotError::RestoredDiffers { what: "rows per table".into() }));
        }
        files::remove_folder(&folder)
    }

    /// Writes the pages of the file at `path` into the database, in one transaction.
    fn put_pages(&mut self, guarded: &mut Guarded, path: &Path, observer: &mut dyn Observer) -> Result<()> {
        // An error can come after the commit too, from the checkpoint: whether the rows are changed is read from the database.
        self.attempted = true;
        guarded.writer().load(path, &[], &mut |done, total| observer.progress(done, total))
    }

    fn copy_to_tables(
        &mut self,
        guarded: &mut Guarded,
        write: &Write<'_>,
        copying: &Copying<'_>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let Copying { transaction, pruning, kept } = copying;
        let schema = &write.database.schema;
        let tables: Vec<String> = kept.iter().map(|filter| filter.table.clone()).collect();
        let mut live = write.connect.reader()?;
        let shadow = guarded.writer().shadow().ok_or_else(cannot_exchange)?;
        let (filled, expected) = join(
            || shadow.fill_kept(kept, &mut |done, total| observer.progress(done, total)),
            || Expected::read(&mut *live, schema, (&tables, kept), &pruning.delete_plans),
        );
        let (beside, expected): (Address, _) = (filled?, expected?);
        drop(live);
        observer.step(&Step::Check)?;
        let deleted = expected.check(&mut *beside.reader()?, &pruning.delete_plans, &write.staged.manifest.counts)?;
        let (written, hashes) = if pruning.settings.is_empty() {
            (WriteResult::default(), write.hashes.clone())
        } else {
            write_settings(Guarded::open(write.staged, &beside)?.writer(), &pruning.settings, write.hashes)?
        };
        (self.outcome.written, self.outcome.deleted) = (written, deleted);
        observer.step(&Step::Swap)?;
        let shift = match swap_and_check(guarded, schema, (&expected, kept), &hashes) {
            Ok(shift) => shift,
            Err(error) => {
                // As of a transaction: no server was started, and what another client has written is not in the staged copy.
                // If this fails too, the rollback repeats it.
                let _ = reverse(write);
                return Err(error);
            }
        };
        self.journal.record.changed = Some(transaction.has_changed(shift, false));
        Ok(())
    }
}

/// Exchanges the tables, and checks those that are in the database then, and those that were: returns how the history differs.
fn swap_and_check(
    guarded: &mut Guarded,
    schema: &Schema,
    (expected, kept): (&Expected, &[RowFilter]),
    hashes: &TableHashes,
) -> Result<HistoryChange> {
    let before = guarded.before().to_vec();
    let writer = guarded.writer();
    let replaced = writer.shadow().ok_or_else(cannot_exchange)?.swap_kept()?;
    // A lock from the copy to the exchange is not possible: MariaDB has no RENAME of tables that are locked. The RENAME has
    // waited for all transactions that used these tables, so what they wrote is there now.
    let (live, unchanged) = join(
        || {
            check_clean(writer, &before)?;
            check_configuration(&read_fingerprint(writer, schema)?, hashes)?;
            expected.shift(writer, schema)
        },
        || expected.check_replaced(&mut *replaced.reader()?, kept),
    );
    unchanged.and(live)
}

/// Moves the old tables back, if any were set aside.
fn reverse(write: &Write<'_>) -> Result<bool> {
    // As in a rollback, a signal waits. The statement of the connection before may have been ended by one.
    write.connect.cancel().defer(true);
    let tables: BTreeSet<&str> = write.staged.manifest.counts.keys().map(String::as_str).collect();
    Guarded::open(write.staged, write.connect)?.writer().shadow().ok_or_else(cannot_exchange)?.swap_back(&tables)
}

fn cannot_exchange() -> Error {
    Error::Operation(OperationError::ChecksFailed(vec!["its tables cannot be exchanged".into()]))
}

/// Makes the changes of settings in new tables, in a transaction; returns the configuration afterwards, which was `before`.
fn write_settings(writer: &mut dyn Writer, plan: &Plan, before: &TableHashes) -> Result<(WriteResult, TableHashes)> {
    if plan.is_empty() {
        return Ok((WriteResult::default(), before.clone()));
    }
    let schema = writer.schema()?;
    writer.begin()?;
    let written = write_plan(writer, &schema, plan)?;
    let hashes = check_written(writer, &schema, plan, &written, before)?;
    writer.commit()?;
    Ok((written, hashes))
}

/// Fails unless the configuration is the expected one.
fn check_configuration(found: &Fingerprint, expected: &TableHashes) -> Result<()> {
    if *found == expected.fingerprint() {
        Ok(())
    } else {
        let why = "rows changed that no statement should change".to_owned();
        Err(Error::Operation(OperationError::ChecksFailed(vec![why])))
    }
}
