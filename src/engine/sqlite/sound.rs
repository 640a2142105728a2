//! The structure of a file that does not change, checked by our own reader of it, and by SQLite where that is not certain.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::available_parallelism;

use super::check::QUICK;
use super::raw_file::with_file;
use super::{JournalFile, Sqlite, SqliteFile};
use crate::engine::fit::Affinity;
use crate::engine::{CheckedRows, IntegrityError, Reader as _, RowTest, quote};
use crate::error::Result;
use crate::pages::{self, ColumnKind, ColumnRule, LeafTest, TestedRows, Tree};
use crate::value::{Row, Value};

/// The columns of the list of tables and indexes, which is on the first page.
const LIST: [ColumnKind; 5] =
    [ColumnKind::Text, ColumnKind::Text, ColumnKind::Text, ColumnKind::Number, ColumnKind::Text];

impl SqliteFile {
    /// What `PRAGMA quick_check` finds. Nothing may write to the file meanwhile.
    pub fn check_structure(&self) -> Result<Vec<IntegrityError>> {
        self.read_only()?.check_unchanging()
    }

    /// The rows of `test` where the file consists of `trees` and is sound, else `None`.
    fn check_trees(&self, trees: &[Tree], test: Option<&LeafTest<'_>>) -> Result<Option<TestedRows>> {
        let threads = available_parallelism().map_or(1, usize::from);
        let go_on = || self.cancel.signal().is_none();
        with_file(&self.path, |file| Ok(pages::check(file, trees, test, threads, &go_on)))
    }
}

impl Sqlite {
    /// What `PRAGMA quick_check` finds in a file that nothing writes to.
    pub(super) fn check_unchanging(&mut self) -> Result<Vec<IntegrityError>> {
        match self.check_with(None)? {
            Some((faults, _)) => Ok(faults),
            None => self.structure(QUICK),
        }
    }

    /// The same, and the rows of `test`; `None` where SQLite has to be asked.
    pub(super) fn check_with(&mut self, test: Option<&RowTest<'_>>) -> Result<Option<CheckedRows>> {
        let file = self.file.clone();
        if self.copy.is_some() || file.has_wal() || !matches!(file.journal()?, JournalFile::None) {
            return Ok(None);
        }
        let Some((trees, others)) = self.trees()? else { return Ok(None) };
        let mut place = None;
        if let Some(test) = test {
            place = self.place(test, &trees)?;
            if place.is_none() {
                return Ok(None);
            }
        }
        let test = test.zip(place.as_ref());
        let test = test.map(|(test, (root, columns))| LeafTest { root: *root, columns, passes: test.passes });
        let Some(tested) = file.check_trees(&trees, test.as_ref())? else { return Ok(None) };
        if self.check_still().is_err() {
            return Ok(None);
        }
        let mut faults = Vec::new();
        for table in others {
            faults.extend(self.structure(&format!("PRAGMA quick_check({})", quote(&table)))?);
        }
        Ok(Some((faults, tested)))
    }

    /// The root of the table of `test` and the places of its columns; `None` where one does not exist, or only SQLite can check the rows.
    fn place(&mut self, test: &RowTest<'_>, trees: &[Tree]) -> Result<Option<(u32, Vec<usize>)>> {
        const COLUMNS: &str = "SELECT s.rootpage, c.name FROM sqlite_schema s JOIN pragma_table_xinfo(s.name) c
            WHERE s.type = 'table' AND s.name = ? ORDER BY c.cid";
        let found = self.query(COLUMNS, &[Value::from(test.table)])?;
        let place = |column: &&str| found.iter().position(|row| row.text("name") == Some(*column));
        let columns: Option<Vec<usize>> = test.columns.iter().map(place).collect();
        let root = found.first().and_then(|row| root(row, "rootpage"));
        let has_rules = |root: &u32| {
            trees.iter().any(|tree| matches!(tree, Tree::Table { root: own, columns: Some(_) } if own == root))
        };
        Ok(root.filter(has_rules).zip(columns))
    }

    /// All tables and indexes, and the tables whose rows only SQLite can check; `None` if there are tables of other kinds.
    fn trees(&mut self) -> Result<Option<(Vec<Tree>, Vec<String>)>> {
        const TABLES: &str = "SELECT s.name, s.rootpage, s.sql, l.type, l.wr, l.strict
            FROM sqlite_schema s JOIN pragma_table_list l ON l.name = s.name AND l.schema = 'main' WHERE s.type = 'table'";
        const COLUMNS: &str = "SELECT s.name AS `table`, c.type, c.`notnull`, c.dflt_value, c.pk, c.hidden
            FROM sqlite_schema s JOIN pragma_table_xinfo(s.name) c WHERE s.type = 'table' ORDER BY s.name, c.cid";
        const INDEXES: &str = "SELECT s.rootpage, t.rootpage AS `table`, i.partial
            FROM sqlite_schema s JOIN sqlite_schema t ON t.name = s.tbl_name AND t.type = 'table'
            JOIN pragma_index_list(t.name) i ON i.name = s.name WHERE s.type = 'index'";
        const COUNT: &str = "SELECT count(*) FROM sqlite_schema WHERE type IN ('table', 'index')";

        let mut columns = BTreeMap::<String, Vec<Row>>::new();
        for column in self.query(COLUMNS, &[])? {
            columns.entry(column.text("table").unwrap_or_default().to_owned()).or_default().push(column);
        }
        let list = LIST.map(|kind| ColumnRule { kind, not_null: false, has_default: false });
        let mut trees = vec![Tree::Table { root: 1, columns: Some(list.to_vec()) }];
        let mut others = Vec::new();
        for table in self.query(TABLES, &[])? {
            let (Some(name), Some(root)) = (table.text("name"), root(&table, "rootpage")) else { return Ok(None) };
            if table.text("type") != Some("table") || table.int("wr") != Some(0) {
                return Ok(None);
            }
            let is_plain = table.int("strict") == Some(0) && table.text("sql").is_some_and(has_no_check);
            let rules = columns.get(name).filter(|_| is_plain).and_then(|columns| rules(columns));
            if rules.is_none() {
                others.push(name.to_owned());
            }
            trees.push(Tree::Table { root, columns: rules });
        }
        for index in self.query(INDEXES, &[])? {
            let (Some(root), Some(table)) = (root(&index, "rootpage"), root(&index, "table")) else { return Ok(None) };
            trees.push(Tree::Index { root, table: (index.int("partial") == Some(0)).then_some(table) });
        }
        let roots: BTreeSet<u32> = trees.iter().map(Tree::root).collect();
        let is_all = self.number(COUNT)? + 1 == trees.len() as u64 && roots.len() == trees.len();
        Ok(is_all.then_some((trees, others)))
    }
}

fn root(row: &Row, column: &str) -> Option<u32> {
    row.int(column).and_then(|root| u32::try_from(root).ok())
}

/// Whether the text of a table certainly has no `CHECK`.
fn has_no_check(sql: &str) -> bool {
    !sql.to_ascii_uppercase().contains("CHECK")
}

/// The rules of these columns; `None` if some are generated.
fn rules(columns: &[Row]) -> Option<Vec<ColumnRule>> {
    let keys = columns.iter().filter(|column| column.int("pk") != Some(0)).count();
    let rule = |column: &Row| {
        (column.int("hidden") == Some(0)).then_some(())?;
        let declared = column.text("type")?;
        let is_row_id = keys == 1 && column.int("pk") == Some(1) && declared.eq_ignore_ascii_case("INTEGER");
        Some(ColumnRule {
            kind: if is_row_id { ColumnKind::RowId } else { kind(declared) },
            not_null: column.int("notnull")? != 0,
            // Of the others, it is not obvious that they are not NULL.
            has_default: column
                .text("dflt_value")
                .is_some_and(|default| default.starts_with(|c: char| c == '\'' || c.is_ascii_digit())),
        })
    };
    columns.iter().map(rule).collect()
}

fn kind(declared: &str) -> ColumnKind {
    match Affinity::of(declared) {
        Affinity::Text => ColumnKind::Text,
        Affinity::Numeric | Affinity::Real => ColumnKind::Number,
        Affinity::None => ColumnKind::Any,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Nothing of what the server makes has to be left to SQLite, but for the rows of tables with a `CHECK`.
    #[test]
    fn every_release_is_understood() {
        for (release, sql) in [
            ("1.23.17", include_str!("../../../migrations/sqlite/1.23.17.sql")),
            ("2.0.2", include_str!("../../../migrations/sqlite/2.0.2.sql")),
            ("2.5.3", include_str!("../../../migrations/sqlite/2.5.3.sql")),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("kuma.db");
            let connection = rusqlite::Connection::open(&path).unwrap();
            connection.execute_batch(sql).unwrap();
            connection
                .execute_batch(
                    "PRAGMA foreign_keys = OFF;
                INSERT INTO heartbeat (id, important, monitor_id, status, msg, time, ping, duration)
                WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
                SELECT i, i % 7 = 0, i % 9, 1, '200 - OK', '2026-01-01 00:00:00.' || i, i % 90, 60 FROM n;
                DELETE FROM heartbeat WHERE id BETWEEN 9000 AND 15000;
                UPDATE heartbeat SET msg = replace(hex(zeroblob(9000)), '00', 'ab') WHERE id % 1000 = 1;
                ",
                )
                .unwrap();
            drop(connection);
            let file = SqliteFile::new(&path);
            let (trees, others) = file.read_only().unwrap().trees().unwrap().unwrap();
            assert!(others.len() < 5 && !others.contains(&"heartbeat".to_owned()), "{release}: {others:?}");
            assert!(file.check_trees(&trees, None).unwrap().is_some(), "{release}");
        }
    }
}
