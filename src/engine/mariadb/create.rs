//! Fills an empty database from a dump, completely or not at all.
//!
//! MariaDB commits each CREATE immediately, so an incomplete database must be recognisable if the process is killed.
//! One table of the dump has another name, [`UNFINISHED`], from the first statement on, and gets its real name by the
//! last one, a RENAME. The caller chooses a table without which the server does not use the database.

use std::path::Path;

use super::fill::Filler;
use super::load::{CopiedTable, DumpContent};
use super::{Access, Address, MariaDb};
use crate::engine::{IntegrityError, WriteKey, quote};
use crate::error::{Error, OperationError, Result, SnapshotError};

/// The table that marks a database whose filling is running or was interrupted.
pub const UNFINISHED: &str = "kumadb_unfinished_restore";

/// A database that is complete except for the name of one table. Dropping it without [`finish`](Staged::finish) empties
/// it.
pub struct PendingCreate {
    db: MariaDb,
    last: CopiedTable,
    tables: Vec<String>,
    faults: Vec<IntegrityError>,
    done: bool,
}

impl Address {
    /// Fills this empty database with the dump at `from`, and reads every row back; the table `last` exists only after
    /// [`PendingCreate::finish`].
    ///
    /// # Errors
    /// The database is empty then. [`DatabaseError::Busy`](crate::error::DatabaseError::Busy) when another kumadb works
    /// on this database; [`OperationError::ChecksFailed`](crate::error::OperationError::ChecksFailed) when a table
    /// does not read back as it is in the dump.
    pub fn stage(
        &self,
        _key: &WriteKey,
        from: &Path,
        last: &str,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<PendingCreate> {
        let mut copy = DumpContent::read(from)?;
        let tables = copy.tables.iter().map(|table| table.name.clone()).collect();
        let at = copy.tables.iter().position(|table| table.name == last);
        let at = at.ok_or_else(|| {
            Error::Snapshot(SnapshotError::NoTable { path: from.to_owned(), table: last.to_string() })
        })?;
        let last = copy.tables.remove(at);
        let mut db = MariaDb::open(self, Access::Write)?;
        db.lock()?;
        let mut staged = PendingCreate { db, last, tables, faults: Vec::new(), done: false };
        staged.mark(from)?;
        staged.fill(&copy, from, progress)?;
        Ok(staged)
    }

    /// Drops `tables`, if they exist, and then [`UNFINISHED`].
    pub fn drop_tables(&self, _key: &WriteKey, tables: &[String]) -> Result<()> {
        let mut db = MariaDb::open(self, Access::Write)?;
        db.lock()?;
        db.drop_all(tables)
    }
}

impl PendingCreate {
    /// The broken references in the database.
    pub fn faults(&self) -> &[IntegrityError] {
        &self.faults
    }

    /// Renames the last table: from here on the server uses the database.
    pub fn finish(mut self) -> Result<()> {
        let (marked, name) = (quote(UNFINISHED), quote(&self.last.name));
        self.db.run(format!("RENAME TABLE {marked} TO {name}"))?;
        let same = self.db.reads_back(&self.last, &mut |_| {});
        if matches!(same, Ok(true)) {
            self.done = true;
            return Ok(());
        }
        self.db.run(format!("RENAME TABLE {name} TO {marked}"))?;
        same?;
        Err(Error::Operation(OperationError::ChecksFailed(vec![format!(
            "{name} differs from the snapshot after the restore"
        )])))
    }

    /// Creates the last table with its temporary name.
    fn mark(&mut self, from: &Path) -> Result<()> {
        let wrong = || Error::Snapshot(SnapshotError::Changed { path: from.to_owned() });
        let rest = self.last.create.strip_prefix(&format!("CREATE TABLE {}", quote(&self.last.name)));
        self.db.run(format!("CREATE TABLE {}{}", quote(UNFINISHED), rest.ok_or_else(wrong)?))?;
        self.last.each_insert(from, 0..self.last.lines.len(), UNFINISHED, &mut |rows| {
            self.db.run(rows.statement()).map(drop)
        })
    }

    fn fill(&mut self, copy: &DumpContent, from: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        self.faults = Filler::open(&self.db.address)?.make_all(copy, from, progress)?;
        Ok(())
    }
}

impl Drop for PendingCreate {
    fn drop(&mut self) {
        if !self.done {
            // The next run recognises tables that cannot be dropped now by the mark.
            let _ = self.db.drop_all(&self.tables);
        }
    }
}

impl MariaDb {
    fn drop_all(&mut self, tables: &[String]) -> Result<()> {
        self.run("SET SESSION foreign_key_checks = 0")?;
        for table in tables.iter().map(String::as_str).chain([UNFINISHED]) {
            self.run(format!("DROP TABLE IF EXISTS {}", quote(table)))?;
        }
        self.run("SET SESSION foreign_key_checks = 1").map(drop)
    }
}
