//! What SQLite finds in a database: its structure, and its foreign keys.

use std::collections::BTreeSet;

use super::Sqlite;
use crate::engine::{Depth, IntegrityError, Reader as _, quote};
use crate::error::Result;
use crate::value::{Row, Value};

impl Sqlite {
    pub(super) fn check_all(&mut self, depth: Depth) -> Result<Vec<IntegrityError>> {
        let mut faults = match depth {
            Depth::References => Vec::new(),
            Depth::Structure | Depth::Quick => self.structure("PRAGMA quick_check(20)")?,
            Depth::Full => self.structure("PRAGMA integrity_check(20)")?,
        };
        if depth != Depth::Structure {
            faults.extend(self.references("pragma_foreign_key_check", &[])?);
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
            faults.extend(self.references("pragma_foreign_key_check(?)", &[Value::from(table.as_str())])?);
        }
        Ok(faults)
    }

    pub(super) fn structure(&mut self, sql: &str) -> Result<Vec<IntegrityError>> {
        let lines = self.query(sql, &[])?;
        let lines = lines.iter().filter_map(|row| row.at(0).text()).filter(|line| *line != "ok");
        Ok(lines.map(|line| IntegrityError { what: line.to_owned(), rows: 0 }).collect())
    }

    fn references(&mut self, check: &str, params: &[Value]) -> Result<Vec<IntegrityError>> {
        let broken = format!("SELECT `table`, `parent`, count(*) AS n FROM {check} GROUP BY 1, 2");
        let fault = |row: &Row| IntegrityError {
            what: format!("`{}` refers to a `{}` that does not exist", row.cell("table"), row.cell("parent")),
            rows: row.int("n").unwrap_or_default().unsigned_abs(),
        };
        Ok(self.query(&broken, params)?.iter().map(fault).collect())
    }
}
