//! The structure of a file that does not change, checked by our own reader of it, and by SQLite where that is not certain.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::available_parallelism;

use super::check::QUICK;
use super::raw_file::with_file;
use super::{JournalFile, Sqlite, SqliteFile};
use crate::engine::fit::Affinity;
use crate::engine::{CheckedRows, Counts, IntegrityError, Reader as _, RowTest, TestedRows, quote};
use crate::error::Result;
use crate::pages::{self, ColumnKind, ColumnRule, Contents, LeafTest, Tree};
use crate::value::{Row, Value};

/// The columns of the list of tables and indexes, which is on the first page.
const LIST: [ColumnKind; 5] =
    [ColumnKind::Text, ColumnKind::Text, ColumnKind::Text, ColumnKind::Number, ColumnKind::Text];

/// The structure of a file.
pub struct Structure {
    /// What is wrong with it.
    pub faults: Vec<IntegrityError>,
    /// Rows of each table; `None` where SQLite made the check, which does not count them.
    pub rows: Option<Counts>,
}

/// The tables and indexes of a database.
struct Tables {
    trees: Vec<Tree>,
    roots: BTreeMap<String, u32>,
    /// The tables whose rows only SQLite can check.
    others: Vec<String>,
}

impl SqliteFile {
    /// What `PRAGMA quick_check` finds. Nothing may write to the file meanwhile.
    pub fn check_structure(&self) -> Result<Structure> {
        self.read_only()?.check_unchanging()
    }

    /// What is in the file if it consists of `trees` and is sound, else `None`.
    fn check_trees(&self, trees: &[Tree], test: Option<&LeafTest<'_>>) -> Result<Option<Contents>> {
        let threads = available_parallelism().map_or(1, usize::from);
        let go_on = || self.cancel.signal().is_none();
        with_file(&self.path, |file| Ok(pages::check(file, trees, test, threads, &go_on)))
    }
}

impl Sqlite {
    /// What `PRAGMA quick_check` finds in a file that nothing writes to.
    pub(super) fn check_unchanging(&mut self) -> Result<Structure> {
        if let Some(tables) = self.readable_tables()?
            && let Some((faults, contents)) = self.check_with(&tables, None)?
        {
            let rows = |(name, root): (String, u32)| Some((name, *contents.rows.get(&root)?));
            return Ok(Structure { faults, rows: tables.roots.into_iter().map(rows).collect() });
        }
        Ok(Structure { faults: self.structure(QUICK)?, rows: None })
    }

    /// The same, and the rows of `test`; `None` where SQLite has to be asked.
    pub(super) fn check_unchanging_testing(&mut self, test: &RowTest<'_>) -> Result<Option<CheckedRows>> {
        let Some(tables) = self.readable_tables()? else { return Ok(None) };
        let Some((root, columns)) = self.place(test, &tables)? else { return Ok(None) };
        let leaves = LeafTest { root, columns: &columns, passes: test.passes };
        let checked = self.check_with(&tables, Some(&leaves))?;
        let rows = |contents: Contents| TestedRows {
            all: contents.rows.get(&root).copied().unwrap_or_default(),
            failed: contents.failed,
        };
        Ok(checked.map(|(faults, contents)| (faults, rows(contents))))
    }

    /// Checks the file, which consists of `tables`; `None` where SQLite has to be asked.
    fn check_with(
        &mut self,
        tables: &Tables,
        test: Option<&LeafTest<'_>>,
    ) -> Result<Option<(Vec<IntegrityError>, Contents)>> {
        let Some(contents) = self.file.check_trees(&tables.trees, test)? else { return Ok(None) };
        if self.check_still().is_err() {
            return Ok(None);
        }
        let mut faults = Vec::new();
        for table in &tables.others {
            faults.extend(self.structure(&format!("PRAGMA quick_check({})", quote(table)))?);
        }
        Ok(Some((faults, contents)))
    }

    /// The root of the table of `test` and the places of its columns; `None` where one does not exist, or only SQLite can check the rows.
    fn place(&mut self, test: &RowTest<'_>, tables: &Tables) -> Result<Option<(u32, Vec<usize>)>> {
        let columns = self.query("SELECT name FROM pragma_table_xinfo(?) ORDER BY cid", &[Value::from(test.table)])?;
        let place = |column: &&str| columns.iter().position(|row| row.text("name") == Some(*column));
        let places = test.columns.iter().map(place).collect::<Option<Vec<usize>>>();
        let is_readable = tables.others.iter().all(|table| table != test.table);
        Ok(tables.roots.get(test.table).copied().filter(|_| is_readable).zip(places))
    }

    /// All tables and indexes; `None` where only SQLite can check them: the file has a WAL or a journal, or tables of other kinds.
    fn readable_tables(&mut self) -> Result<Option<Tables>> {
        const TABLES: &str = "SELECT s.name, s.rootpage, s.sql, l.type, l.wr, l.strict
            FROM sqlite_schema s JOIN pragma_table_list l ON l.name = s.name AND l.schema = 'main' WHERE s.type = 'table'";
        const COLUMNS: &str = "SELECT s.name AS `table`, c.type, c.`notnull`, c.dflt_value, c.pk, c.hidden
            FROM sqlite_schema s JOIN pragma_table_xinfo(s.name) c WHERE s.type = 'table' ORDER BY s.name, c.cid";
        const INDEXES: &str = "SELECT s.rootpage, t.rootpage AS `table`, i.partial
            FROM sqlite_schema s JOIN sqlite_schema t ON t.name = s.tbl_name AND t.type = 'table'
            JOIN pragma_index_list(t.name) i ON i.name = s.name WHERE s.type = 'index'";
        const COUNT: &str = "SELECT count(*) FROM sqlite_schema WHERE type IN ('table', 'index')";

        if self.copy.is_some() || self.file.has_wal() || !matches!(self.file.journal()?, JournalFile::None) {
            return Ok(None);
        }
        let mut columns = BTreeMap::<String, Vec<Row>>::new();
        for column in self.query(COLUMNS, &[])? {
            columns.entry(column.text("table").unwrap_or_default().to_owned()).or_default().push(column);
        }
        let list = LIST.map(|kind| ColumnRule { kind, not_null: false, has_default: false });
        let mut trees = vec![Tree::Table { root: 1, columns: Some(list.to_vec()) }];
        let (mut roots, mut others) = (BTreeMap::new(), Vec::new());
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
            roots.insert(name.to_owned(), root);
            trees.push(Tree::Table { root, columns: rules });
        }
        for index in self.query(INDEXES, &[])? {
            let (Some(root), Some(table)) = (root(&index, "rootpage"), root(&index, "table")) else { return Ok(None) };
            trees.push(Tree::Index { root, table: (index.int("partial") == Some(0)).then_some(table) });
        }
        let different: BTreeSet<u32> = trees.iter().map(Tree::root).collect();
        let is_all = self.number(COUNT)? + 1 == trees.len() as u64 && different.len() == trees.len();
        Ok(is_all.then_some(Tables { trees, roots, others }))
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
            let tables = file.read_only().unwrap().readable_tables().unwrap().unwrap();
            let others = &tables.others;
            assert!(others.len() < 5 && !others.contains(&"heartbeat".to_owned()), "{release}: {others:?}");
            assert!(file.check_trees(&tables.trees, None).unwrap().is_some(), "{release}");
            let structure = file.check_structure().unwrap();
            assert_eq!((structure.faults, structure.rows.unwrap()["heartbeat"]), (vec![], 30_000 - 6_001), "{release}");
        }
    }
}
