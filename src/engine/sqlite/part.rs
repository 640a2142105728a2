//! Copies without the rows of some tables, and how to load one and keep the existing rows of those tables: the
//! configuration without the history.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;

use super::{Reader as _, Sqlite, SqliteFile, fault};
use crate::engine::{Connect as _, Counts, orphans, quote};
use crate::error::{DatabaseError, Error, Result};
use crate::schema::{Schema, Table};

/// Pages copied in one step of a backup: the pinned read transaction makes a larger step harmless.
const STEP: std::ffi::c_int = 2_000;

impl SqliteFile {
    /// The URI to attach this file read-only.
    pub(super) fn uri(&self) -> Result<String> {
        let still = if self.is_still()? { "immutable=1" } else { "mode=ro" };
        let path = self.path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        Ok(format!("file:{path}?{still}"))
    }
}

impl Sqlite {
    /// The copy is made by table and not by page: the pages of a long history would have to be read and written only to
    /// be emptied.
    pub(super) fn dump_part(
        &mut self,
        to: &Path,
        without: &[String],
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Counts> {
        let mut copy = self.source().create_alike(to)?;
        copy.attach(self.source())?;
        copy.run("BEGIN")?;
        let made = copy.query(
            "SELECT type, sql FROM other.sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
             ORDER BY type <> 'table'",
            &[],
        )?;
        let (tables, rest): (Vec<_>, Vec<_>) = made.iter().partition(|row| row.text("type") == Some("table"));
        let make = |copy: &Sqlite, rows: &[&crate::value::Row]| {
            rows.iter().filter_map(|row| row.text("sql")).try_for_each(|sql| copy.run_one(sql))
        };
        make(&copy, &tables)?;
        let schema = copy.schema()?;
        copy.take_rows(&schema, without, progress)?;
        make(&copy, &rest)?;
        if copy.has_sequence("other")? {
            copy.run("DELETE FROM sqlite_sequence; INSERT INTO sqlite_sequence SELECT * FROM other.sqlite_sequence")?;
        }
        let counts = copy.counts()?;
        copy.run("COMMIT; DETACH other")?;
        Ok(counts)
    }

    /// One transaction: the rows of `without` are kept, except those that refer to rows that no longer exist.
    pub(super) fn load_part(
        &mut self,
        from: &Path,
        without: &[String],
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<()> {
        let copy = SqliteFile::new(from);
        let (ours, theirs) = (self.schema()?, copy.read_only()?.schema()?);
        let differences = differences(&ours, &theirs);
        if !differences.is_empty() {
            return Err(Error::Database(DatabaseError::CopyDiffers { database: self.file.describe(), differences }));
        }
        self.attach(&copy)?;
        // Rows that are restored start no trigger: what it did then is restored too.
        self.enable_triggers(false)?;
        // Before the transaction: SQLite ignores it inside one.
        self.run("PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE")?;
        let taken = self.put_rows(&ours, without, progress).and_then(|()| self.run("COMMIT"));
        if taken.is_err() {
            self.roll_back()?;
        }
        self.run("DETACH other; PRAGMA foreign_keys = ON")?;
        self.enable_triggers(true)?;
        taken?;
        self.fold_committed()
    }

    fn enable_triggers(&self, is_enabled: bool) -> Result<()> {
        let set = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, is_enabled);
        set.map(drop).map_err(|error| self.file.error(error))
    }

    fn put_rows(&mut self, schema: &Schema, without: &[String], progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        for table in schema.tables.keys().filter(|table| !without.contains(table)) {
            self.run(&format!("DELETE FROM main.{}", quote(table)))?;
        }
        self.take_rows(schema, without, progress)?;
        if self.has_sequence("other")? {
            // Never lower than before: an id is not reused.
            self.run(
                "UPDATE sqlite_sequence AS ours SET seq = max(ours.seq, theirs.seq) FROM other.sqlite_sequence AS theirs \
                     WHERE theirs.name = ours.name; \
                 INSERT INTO sqlite_sequence SELECT * FROM other.sqlite_sequence \
                     WHERE name NOT IN (SELECT name FROM main.sqlite_sequence)",
            )?;
        }
        orphans(schema, without).iter().try_for_each(|sql| self.run(sql))
    }

    /// Copies the rows of all tables of `other` except those in `without`.
    fn take_rows(&mut self, schema: &Schema, without: &[String], progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        let total = schema.tables.len() as u64;
        for (done, (table, described)) in schema.tables.iter().enumerate() {
            if !without.contains(table) {
                let columns: Vec<String> = described.columns.iter().map(|column| quote(&column.name)).collect();
                let (table, columns) = (quote(table), columns.join(", "));
                self.run(&format!("INSERT INTO main.{table} ({columns}) SELECT {columns} FROM other.{table}"))?;
            }
            progress(done as u64 + 1, total);
        }
        Ok(())
    }

    pub(super) fn attach(&mut self, other: &SqliteFile) -> Result<()> {
        other.examine()?;
        let uri = other.uri()?;
        self.connection.execute("ATTACH ? AS other", [uri]).map(drop).map_err(|error| other.error(error))
    }

    pub(super) fn has_sequence(&self, schema: &str) -> Result<bool> {
        Ok(self.number(&format!("SELECT count(*) FROM {schema}.sqlite_schema WHERE name = 'sqlite_sequence'"))? > 0)
    }
}

/// How the tables differ.
pub(super) fn differences(ours: &Schema, theirs: &Schema) -> Vec<String> {
    let names = |table: &Table| -> Vec<String> { table.columns.iter().map(|column| column.name.clone()).collect() };
    let all: BTreeSet<&String> = ours.tables.keys().chain(theirs.tables.keys()).collect();
    let different = all.into_iter().filter_map(|name| match (ours.table(name), theirs.table(name)) {
        (Some(ours), Some(theirs)) => {
            (names(ours) != names(theirs)).then(|| format!("the columns of `{name}` are not those in the snapshot"))
        }
        (Some(_), None) => Some(format!("table `{name}` is not in the snapshot")),
        (None, _) => Some(format!("table `{name}` is only in the snapshot")),
    });
    different.collect()
}

/// Copies a database page by page; an error is reported for `file`.
pub(super) fn copy_pages(
    file: &SqliteFile,
    from: &Connection,
    to: &mut Connection,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let backup = Backup::new(from, to).map_err(|error| file.error(error))?;
    loop {
        file.cancel.check()?;
        let step = backup.step(STEP).map_err(|error| file.error(error))?;
        let at = backup.progress();
        progress((at.pagecount - at.remaining).unsigned_abs().into(), at.pagecount.unsigned_abs().into());
        match step {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            _ => return Err(fault::busy(file)),
        }
    }
}

impl Sqlite {
    /// Checkpoints the WAL into the file, so that the file alone is the complete database. Only for kumadb's copies.
    pub(crate) fn fold(&self) -> Result<()> {
        self.run("PRAGMA wal_checkpoint(TRUNCATE)")
    }

    /// The same for the database of a server, after a commit.
    ///
    /// # Errors
    /// [`DatabaseError::NotCheckpointed`]: the commit stays.
    pub(super) fn fold_committed(&self) -> Result<()> {
        let explain = |cause| {
            let database = self.file.describe();
            Error::Database(DatabaseError::NotCheckpointed { database, cause: Box::new(cause) })
        };
        self.fold().map_err(explain)
    }

    /// Rebuilds the file without free pages. Only for kumadb's copies.
    pub(crate) fn compact(&self) -> Result<()> {
        self.run("VACUUM")?;
        self.fold()
    }

    /// Number of pages, as the database itself counts them.
    pub(crate) fn pages(&self) -> Result<u64> {
        self.number("PRAGMA page_count")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What the header of the file has, so that a restore of the copy brings back the same.
    #[test]
    fn a_copy_without_the_history_has_the_settings_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copied) = (folder.path().join("kuma.db"), folder.path().join("copy.db"));
        let settings = [
            ("page_size", "1024"),
            ("encoding", "'UTF-16le'"),
            ("auto_vacuum", "2"),
            ("user_version", "-5"),
            ("application_id", "77"),
        ];
        let source = rusqlite::Connection::open(&path).unwrap();
        for (name, value) in settings {
            source.execute_batch(&format!("PRAGMA {name} = {value}")).unwrap();
        }
        source
            .execute_batch(
                "CREATE TABLE monitor (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT);
                 CREATE TABLE heartbeat (id INTEGER PRIMARY KEY, monitor_id INTEGER REFERENCES monitor (id));
                 INSERT INTO monitor VALUES (7, 'Ä');
                 INSERT INTO heartbeat VALUES (1, 7);",
            )
            .unwrap();
        let mut reader = SqliteFile::new(&path).read_only().unwrap();
        let counts = reader.dump(&copied, &["heartbeat".to_owned()], &mut |_, _| {}).unwrap();
        assert_eq!((counts["monitor"], counts["heartbeat"]), (1, 0));
        let copy = rusqlite::Connection::open(&copied).unwrap();
        let all = |connection: &rusqlite::Connection| {
            settings.map(|(name, _)| {
                connection
                    .query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, rusqlite::types::Value>(0))
                    .unwrap()
            })
        };
        assert_eq!(all(&copy), all(&source));
        let name: String = copy.query_row("SELECT name FROM monitor WHERE id = 7", [], |row| row.get(0)).unwrap();
        assert_eq!(name, "Ä");
    }
}
