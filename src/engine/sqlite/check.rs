//! What SQLite finds in a database: its structure, and its foreign keys.

use std::collections::BTreeSet;

use super::Sqlite;
use crate::engine::{CheckedRows, Depth, IntegrityError, Reader as _, RowTest, quote};
use crate::error::Result;
use crate::value::{Row, Value};

/// The check of the structure, up to 20 problems.
pub(super) const QUICK: &str = "PRAGMA quick_check(20)";

/// Tables with foreign keys.
const REFERRING: &str = "SELECT DISTINCT s.name FROM sqlite_schema s JOIN pragma_foreign_key_list(s.name)
    WHERE s.type = 'table' ORDER BY s.name";

/// The foreign keys of a table: `key` only if that is the ID of a row.
const REFERENCES: &str = "SELECT f.`from` AS `column`, f.`table` AS parent, p.name AS `key`,
        EXISTS (SELECT 1 FROM pragma_index_list(?1) i JOIN pragma_index_xinfo(i.name) x
            WHERE i.partial = 0 AND x.seqno = 0 AND x.name = f.`from` COLLATE NOCASE AND x.coll = 'BINARY') AS has_index
    FROM pragma_foreign_key_list(?1) f LEFT JOIN pragma_table_info(f.`table`) p ON p.name = f.`to` COLLATE NOCASE AND p.pk = 1
        AND NOT EXISTS (SELECT 1 FROM pragma_index_list(f.`table`) WHERE origin = 'pk')";

/// Fewer rows are checked one by one as fast.
const LONG: u32 = 10_000;

/// Many more different values than this take longer to look up than all rows.
const FEW: u32 = 20_000;

impl Sqlite {
    pub(super) fn check_all(&mut self, depth: Depth) -> Result<Vec<IntegrityError>> {
        let mut faults = match depth {
            Depth::References => Vec::new(),
            Depth::Structure | Depth::Quick if self.still.is_some() => self.check_unchanging()?.faults,
            Depth::Structure | Depth::Quick => self.structure(QUICK)?,
            Depth::Full => self.structure("PRAGMA integrity_check(20)")?,
        };
        match depth {
            Depth::Structure => {}
            Depth::References | Depth::Quick => faults.extend(self.all_references()?),
            // Of all that the engine can check, nothing is left out.
            Depth::Full => faults.extend(self.broken("pragma_foreign_key_check", &[])?),
        }
        Ok(faults)
    }

    /// See [`Reader::check_testing`](crate::engine::Reader::check_testing).
    pub(super) fn check_all_testing(&mut self, depth: Depth, test: &RowTest<'_>) -> Result<Option<CheckedRows>> {
        if self.still.is_none() || !matches!(depth, Depth::Structure | Depth::Quick) {
            return Ok(None);
        }
        let Some((mut faults, tested)) = self.check_unchanging_testing(test)? else { return Ok(None) };
        if depth == Depth::Quick {
            faults.extend(self.all_references()?);
        }
        Ok(Some((faults, tested)))
    }

    /// The broken references of all tables.
    fn all_references(&mut self) -> Result<Vec<IntegrityError>> {
        let mut faults = Vec::new();
        for table in self.query(REFERRING, &[])? {
            faults.extend(self.references(table.text("name").unwrap_or_default())?);
        }
        Ok(faults)
    }

    /// See [`Writer::check_changed`](crate::engine::Writer::check_changed).
    pub(super) fn check_tables(&mut self, changed: &BTreeSet<String>) -> Result<Vec<IntegrityError>> {
        if !self.query("SELECT 1 FROM sqlite_schema WHERE type = 'trigger' LIMIT 1", &[])?.is_empty() {
            return self.check_all(Depth::Quick);
        }
        // The first is the list of tables and the free pages; the other is written with each row that gets an id.
        let mut faults = self.structure("PRAGMA quick_check(sqlite_schema)")?;
        if self.has_sequence("main")? {
            faults.extend(self.structure("PRAGMA quick_check(sqlite_sequence)")?);
        }
        for table in changed {
            faults.extend(self.structure(&format!("PRAGMA quick_check({})", quote(table)))?);
            faults.extend(self.references(table)?);
        }
        Ok(faults)
    }

    pub(super) fn structure(&mut self, sql: &str) -> Result<Vec<IntegrityError>> {
        let lines = self.query(sql, &[])?;
        // The first row begins with a title, on a line of its own.
        let lines = lines.iter().filter_map(|row| row.at(0).text()).flat_map(str::lines);
        let lines = lines.filter(|line| *line != "ok" && !line.starts_with("*** in database "));
        Ok(lines.map(|line| IntegrityError { what: line.to_owned(), rows: 0 }).collect())
    }

    /// The broken references of `table`, by `pragma_foreign_key_check` unless it is long and none of them can be broken.
    fn references(&mut self, table: &str) -> Result<Vec<IntegrityError>> {
        if self.is_long(table)? && self.refers_to_existing(table)? {
            return Ok(Vec::new());
        }
        self.broken("pragma_foreign_key_check(?)", &[Value::from(table)])
    }

    fn is_long(&mut self, table: &str) -> Result<bool> {
        Ok(!self.query(&format!("SELECT 1 FROM {} LIMIT 1 OFFSET {LONG}", quote(table)), &[])?.is_empty())
    }

    /// Whether all references of `table` certainly exist: those to the ID of a row, in columns with an index. In an index, one
    /// look finds the next value that differs, and a long table refers to few rows.
    fn refers_to_existing(&mut self, table: &str) -> Result<bool> {
        for reference in self.query(REFERENCES, &[Value::from(table)])? {
            let name = |cell| reference.text(cell).map(quote);
            let (Some(column), Some(parent), Some(key)) = (name("column"), name("parent"), name("key")) else {
                return Ok(false);
            };
            if reference.int("has_index") != Some(1) {
                return Ok(false);
            }
            let column = format!("{column} COLLATE BINARY");
            let least = format!("SELECT min({column}) FROM {}", quote(table));
            let doubtful = format!(
                "WITH RECURSIVE found (value, n) AS (SELECT ({least}), 1
                     UNION ALL SELECT ({least} WHERE {column} > value), n + 1 FROM found WHERE value IS NOT NULL AND n < {FEW})
                 SELECT 1 FROM found WHERE n = {FEW}
                     OR value IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {parent} WHERE {key} = value) LIMIT 1"
            );
            if !self.query(&doubtful, &[])?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn broken(&mut self, check: &str, params: &[Value]) -> Result<Vec<IntegrityError>> {
        let broken = format!("SELECT `table`, `parent`, count(*) AS n FROM {check} GROUP BY 1, 2");
        let fault = |row: &Row| IntegrityError {
            what: format!("`{}` refers to a `{}` that does not exist", row.cell("table"), row.cell("parent")),
            rows: row.int("n").unwrap_or_default().unsigned_abs(),
        };
        Ok(self.query(&broken, params)?.iter().map(fault).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::SqliteFile;
    use super::*;

    const TABLES: &str = "
        CREATE TABLE monitor (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(9) UNIQUE);
        CREATE TABLE plain (monitor_id INTEGER REFERENCES monitor (id));
        CREATE TABLE indexed (monitor_id INTEGER REFERENCES monitor (id), n INT);
        CREATE INDEX a ON indexed (monitor_id, n);
        CREATE TABLE typeless (Monitor_ID REFERENCES monitor (ID));
        CREATE INDEX b ON typeless (monitor_id DESC);
        CREATE TABLE partly (monitor_id INTEGER REFERENCES monitor (id));
        CREATE INDEX c ON partly (monitor_id) WHERE monitor_id < 3;
        CREATE TABLE implied (monitor_id INTEGER REFERENCES monitor);
        CREATE INDEX d ON implied (monitor_id);
        CREATE TABLE named (monitor VARCHAR(9) REFERENCES monitor (name));
        CREATE INDEX e ON named (monitor);
        CREATE TABLE nocase (monitor_id TEXT COLLATE NOCASE REFERENCES monitor (id));
        CREATE INDEX f ON nocase (monitor_id COLLATE BINARY);
        INSERT INTO monitor WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000) SELECT i, i FROM n;";

    fn make(folder: &tempfile::TempDir) -> (std::path::PathBuf, rusqlite::Connection) {
        let path = folder.path().join("kuma.db");
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch(&format!("PRAGMA foreign_keys = OFF; {TABLES}")).unwrap();
        (path, connection)
    }

    /// Long tables with references of every kind, to few rows, to many, and to some that do not exist: the same answer as SQLite's.
    #[test]
    fn long_tables_are_checked_as_by_sqlite() {
        let folder = tempfile::tempdir().unwrap();
        let (path, connection) = make(&folder);
        let tables = ["plain", "indexed", "typeless", "partly", "implied", "named", "nocase"];
        let values = ["i % 7 + 1", "i", "NULL", "40000", "'x'", "0", "-3", "1.5", "'2'", "x'33'"];
        let (mut broken, mut quick) = (0, 0);
        for (table, value) in tables.iter().flat_map(|table| values.map(|value| (table, value))) {
            let columns = if *table == "indexed" { ", 1" } else { "" };
            let sql = format!(
                "DELETE FROM {table};
                 INSERT INTO {table} WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000)
                 SELECT iif(i < 24990, i % 5 + 1, {value}){columns} FROM n;"
            );
            connection.execute_batch(&sql).unwrap();
            let mut reader = SqliteFile::new(&path).read_only().unwrap();
            let found = reader.check(Depth::References).unwrap();
            assert_eq!(found, reader.broken("pragma_foreign_key_check", &[]).unwrap(), "{table}: {value}");
            broken += usize::from(!found.is_empty());
            quick += usize::from(reader.refers_to_existing(table).unwrap());
            connection.execute_batch(&format!("DELETE FROM {table}")).unwrap();
        }
        assert!(broken > 30, "{broken}");
        assert!(quick >= 3 * 3, "{quick}");
    }

    /// More different values than are looked up one by one.
    #[test]
    fn a_long_table_that_refers_to_many_rows_is_checked() {
        let folder = tempfile::tempdir().unwrap();
        let (path, connection) = make(&folder);
        connection.execute_batch("INSERT INTO indexed SELECT id, 1 FROM monitor").unwrap();
        let mut reader = SqliteFile::new(&path).read_only().unwrap();
        assert!(!reader.refers_to_existing("indexed").unwrap());
        assert_eq!(reader.check(Depth::References).unwrap(), []);
        connection.execute_batch("DELETE FROM monitor WHERE id IN (29000, 29001)").unwrap();
        let mut reader = SqliteFile::new(&path).read_only().unwrap();
        let found = reader.check(Depth::References).unwrap();
        assert_eq!(found.iter().map(|fault| fault.rows).collect::<Vec<_>>(), [2]);
    }
}
