//! Writes a database as SQL.

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::literal::{self, Cell};
use super::{AFTER, BEFORE, DEFINITION, FIRST, INSERT, LONGEST, OWN, definition_end, last, stored_columns, table_end};
use crate::engine::insert_lines::{Grouping, InsertLines};
use crate::engine::sqlite::{Sqlite, SqliteFile};
use crate::engine::{Counts, Reader as _, quote};
use crate::error::{Error, Result, SnapshotError};

/// Rows between two looks for a request to end, and two calls of `progress`.
const STRIDE: u64 = 1_000;

/// Receives the lines.
type Put<'p> = &'p mut dyn FnMut(&[u8]) -> Result<()>;

impl Sqlite {
    /// Passes the database as SQL to `put`, in whole lines. `is_checked`, each row is read from its text again and compared. `progress` is called with
    /// (done, total) in rows. Returns the rows per table.
    ///
    /// # Errors
    /// [`SnapshotError::NotAsSql`]: a table cannot be written.
    pub(crate) fn write_sql(
        &mut self,
        is_checked: bool,
        put: Put<'_>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Counts> {
        let encoding = self.query("PRAGMA encoding", &[])?;
        if encoding.iter().any(|row| row.at(0).text() != Some("UTF-8")) {
            return Err(not_as_sql("sqlite_schema", "the text of the database is encoded in UTF-16"));
        }
        put(FIRST.as_bytes())?;
        put(b"PRAGMA foreign_keys = OFF;\n")?;
        for name in BEFORE {
            let value = self.number(&format!("PRAGMA {name}"))?;
            put(format!("PRAGMA {name} = {value};\n").as_bytes())?;
        }
        put(b"PRAGMA encoding = 'UTF-8';\nBEGIN;\n")?;
        let (tables, rest) = self.definitions()?;
        let counts_ids = try_definitions(&tables, &rest)?;
        let expected = self.counts()?;
        let (total, mut all, mut counts) = (expected.values().sum(), 0, Counts::new());
        for (name, definition) in &tables {
            put_definition(name, definition, put)?;
            if is_checked {
                self.check_unique(name)?;
            }
            let columns = stored_columns(self, name)?;
            let rows = self.put_inserts(is_checked, (name, &columns), put, &mut |rows| progress(all + rows, total))?;
            put(table_end(name, rows).as_bytes())?;
            all += rows;
            counts.insert(name.clone(), rows);
        }
        for (name, columns, before) in OWN {
            // Left behind by the last table that counted its ids, it cannot be created again.
            let is_made = name != "sqlite_sequence" || counts_ids;
            if is_made && self.has_table(name)? {
                put(before.as_bytes())?;
                let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
                self.put_inserts(is_checked, (name, &columns), put, &mut |_| {})?;
            }
        }
        for (name, definition) in &rest {
            put_definition(name, definition, put)?;
        }
        for name in AFTER {
            let value = self.query(&format!("PRAGMA {name}"), &[])?.first().and_then(|row| row.at(0).int());
            put(format!("PRAGMA {name} = {};\n", value.unwrap_or_default()).as_bytes())?;
        }
        put(b"COMMIT;\n")?;
        if self.source().is_wal()? {
            put(b"PRAGMA journal_mode = WAL;\n")?;
        }
        put(last(counts.len(), all).as_bytes())?;
        Ok(counts)
    }

    /// The names and definitions of the tables, and of everything else, in the order in which they were created.
    fn definitions(&mut self) -> Result<(Vec<Definition>, Vec<Definition>)> {
        let mut found = (Vec::new(), Vec::new());
        let sql = "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
                   ORDER BY rowid";
        for row in self.query(sql, &[])? {
            let (name, sql) = (row.text("name").unwrap_or_default(), row.text("sql").unwrap_or_default());
            if sql.len() > 14 && sql.as_bytes()[..14].eq_ignore_ascii_case(b"CREATE VIRTUAL") {
                return Err(not_as_sql(name, "it is a virtual table"));
            }
            let list = if row.text("type") == Some("table") { &mut found.0 } else { &mut found.1 };
            list.push((name.to_owned(), sql.to_owned()));
        }
        Ok(found)
    }

    /// Fails if an index that rejects equal rows does not match the rows of `table`: they could not be inserted again.
    fn check_unique(&mut self, table: &str) -> Result<()> {
        let indexes = self.query(&format!("PRAGMA index_list({})", quote(table)), &[])?;
        if !indexes.iter().any(|index| index.int("unique") == Some(1)) {
            return Ok(());
        }
        let found = self.query(&format!("PRAGMA integrity_check({})", quote(table)), &[])?;
        let problem = found.first().and_then(|row| row.at(0).text()).filter(|line| *line != "ok");
        problem.map_or(Ok(()), |problem| Err(not_as_sql(table, problem)))
    }

    fn has_table(&self, name: &str) -> Result<bool> {
        Ok(self.number(&format!("SELECT count(*) FROM sqlite_schema WHERE name = '{name}'"))? > 0)
    }

    /// Passes the INSERT lines of `table` to `put`; returns the number of rows.
    fn put_inserts(
        &mut self,
        is_checked: bool,
        (table, columns): (&str, &[String]),
        put: Put<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<u64> {
        if columns.iter().map(String::as_str).chain([table]).any(|name| name.contains(['\n', '\r'])) {
            return Err(not_as_sql(table, "a name in it has a line break"));
        }
        let fail = |error| self.file.error(error);
        let names = columns.iter().map(|name| quote(name)).collect::<Vec<_>>().join(",");
        // An index with all columns would be read instead of the table, in its own order.
        let sql = format!("SELECT {names} FROM {} NOT INDEXED", quote(table));
        let mut statement = self.connection.prepare(&sql).map_err(fail)?;
        let mut rows = statement.query([]).map_err(fail)?;
        let mut lines =
            InsertLines::after(format!("{INSERT}{} ({names}) VALUES ", quote(table)).into_bytes(), Grouping::Content);
        let (mut text, mut cells) = (Vec::new(), Vec::new());
        while let Some(row) = rows.next().map_err(fail)? {
            text.clear();
            for at in 0..columns.len() {
                text.push(if at == 0 { b'(' } else { b',' });
                literal::write(row.get_ref(at).map_err(fail)?, &mut text);
            }
            text.push(b')');
            if is_checked {
                check_row(table, &text, &mut cells, &|at| row.get_ref(at).map_err(fail))?;
            }
            lines.add(&text, put)?;
            if lines.count().is_multiple_of(STRIDE) {
                self.file.cancel.check()?;
                progress(lines.count());
            }
        }
        lines.end(put)
    }
}

/// The name and the text of a definition.
type Definition = (String, String);

fn put_definition(name: &str, definition: &str, put: Put<'_>) -> Result<()> {
    let end = definition_end(definition);
    let size = (definition.len() + end.len()) as u64;
    if size > LONGEST {
        return Err(not_as_sql(name, "its definition is too long"));
    }
    put(format!("{}{size}{}{definition}{end}", DEFINITION.0, DEFINITION.1).as_bytes())
}

/// Fails unless the literals in `text` are read as the values of the row.
fn check_row<'v>(
    table: &str,
    text: &[u8],
    cells: &mut Vec<Cell>,
    value: &dyn Fn(usize) -> Result<ValueRef<'v>>,
) -> Result<()> {
    if text.len() as u64 > LONGEST / 2 {
        return Err(not_as_sql(table, "it has a row of more than 128 MB"));
    }
    let mut is_same = literal::read_row(text, cells) == Some(&[]);
    for (at, cell) in cells.iter().enumerate() {
        is_same = is_same && cell.is(value(at)?);
    }
    if is_same { Ok(()) } else { Err(not_as_sql(table, "a row of it does not read back as it is")) }
}

/// Fails unless these definitions, and nothing else, create what they define; returns whether a table counts its ids.
fn try_definitions(tables: &[Definition], rest: &[Definition]) -> Result<bool> {
    let file = SqliteFile::new(":memory:");
    let fail = |error| file.error(error);
    let mut empty = Sqlite::new(Connection::open_in_memory().map_err(fail)?, file.clone());
    for (name, definition) in tables.iter().chain(rest) {
        empty.define(definition).map_err(|error| not_as_sql(name, &error.to_string()))?;
        let sql = "SELECT count(*) FROM sqlite_schema WHERE name = ? AND sql = ?";
        let made: i64 = empty.connection.query_row(sql, [name, definition], |row| row.get(0)).map_err(fail)?;
        if made != 1 {
            return Err(not_as_sql(name, "its definition does not create it"));
        }
    }
    empty.has_table("sqlite_sequence")
}

fn not_as_sql(table: &str, why: &str) -> Error {
    Error::Snapshot(SnapshotError::NotAsSql { table: table.to_owned(), why: why.to_owned() })
}
