//! Creates a database from SQL that kumadb wrote. The text may be an attacker's: only statements of these forms are run, with names and
//! values of our own; a definition can do nothing but define.

use std::path::Path;

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::params_from_iter;

use super::literal;
use super::{
    AFTER, BEFORE, DEFINITION, FIRST, INSERT, LAST, LONGEST, OWN, definition_end, last, stored_columns, table_end,
};
use crate::engine::sqlite::{Sqlite, SqliteFile};
use crate::engine::{Counts, quote};
use crate::error::{Error, Result, SnapshotError};
use crate::files;

/// Replaces the content of a buffer by the next line, with its line break; by nothing at the end.
type NextLine<'l> = &'l mut dyn FnMut(&mut Vec<u8>) -> Result<()>;

impl SqliteFile {
    /// Creates this database from the lines of [`Sqlite::write_sql`], which are in `name`, with no more than `most` pages. It is not
    /// flushed. Returns the rows per table.
    ///
    /// # Errors
    /// [`SnapshotError::Invalid`] for anything that kumadb does not write; [`FileError::NoSpace`](crate::error::FileError::NoSpace) if so
    /// many pages do not fit on the disk.
    pub(crate) fn load_sql(&self, name: &str, most: u64, next: NextLine<'_>) -> Result<Counts> {
        let database = self.create()?;
        let limit = i32::try_from(LONGEST / 2).unwrap_or(i32::MAX);
        // What a definition computes of a short row is limited too.
        database.connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, limit).map_err(|error| self.error(error))?;
        let folder = self.path.parent().map(|folder| folder.display().to_string().replace('\'', "''"));
        // Incomplete, it is useless; sorting for an index takes place beside it.
        database.run(&format!(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; PRAGMA temp_store_directory = '{}'",
            folder.unwrap_or_default()
        ))?;
        let counts = Counts::new();
        let mut loading = Loading { database, name, most, counts, table: None, is_past_tables: false };
        let loaded = loading.load(next);
        // It is one for the whole process.
        let reset = loading.database.run("PRAGMA temp_store_directory = ''");
        loaded.and(reset)?;
        Ok(loading.counts)
    }
}

impl Sqlite {
    /// Runs a definition, which can do nothing else.
    pub(super) fn define(&mut self, definition: &str) -> Result<()> {
        self.authorize(Some(only_define))?;
        let defined = self.run_one(definition);
        self.authorize(None)?;
        defined
    }

    fn authorize(&mut self, hook: Option<fn(AuthContext<'_>) -> Authorization>) -> Result<()> {
        self.connection.authorizer(hook).map_err(|error| self.file.error(error))
    }
}

struct Loading<'n> {
    database: Sqlite,
    name: &'n str,
    /// The largest number of pages.
    most: u64,
    /// The rows of each table so far.
    counts: Counts,
    /// The table whose rows are being read, and their number so far.
    table: Option<(String, u64)>,
    /// Whether something else than a table was defined: from there on, rows could start a trigger.
    is_past_tables: bool,
}

impl Loading<'_> {
    fn load(&mut self, next: NextLine<'_>) -> Result<()> {
        let mut line = Vec::new();
        next(&mut line)?;
        if line != FIRST.as_bytes() {
            return Err(self.wrong("it is not SQL that kumadb wrote"));
        }
        loop {
            next(&mut line)?;
            if line.is_empty() {
                return Err(self.wrong("it is truncated"));
            }
            if line.starts_with(LAST.as_bytes()) {
                break;
            }
            self.line(&mut line, next)?;
        }
        let rows = self.counts.values().sum();
        if line != last(self.counts.len(), rows).as_bytes() || self.table.is_some() {
            return Err(self.wrong("its content does not match its last line"));
        }
        next(&mut line)?;
        if line.is_empty() { Ok(()) } else { Err(self.wrong("it continues after its last line")) }
    }

    fn line(&mut self, line: &mut Vec<u8>, next: NextLine<'_>) -> Result<()> {
        if line.starts_with(INSERT.as_bytes()) {
            return self.insert(line);
        }
        let unknown = "it contains a line that kumadb does not write";
        let Ok(text) = std::str::from_utf8(line) else { return Err(self.wrong(unknown)) };
        if let Some(size) = text.strip_prefix(DEFINITION.0).and_then(|rest| rest.strip_suffix(DEFINITION.1)) {
            let size = size.parse().ok().filter(|size| *size <= LONGEST).ok_or_else(|| self.wrong(unknown))?;
            return self.define(size, line, next);
        }
        if let Some((table, rows)) = self.table.take_if(|(table, rows)| table_end(table, *rows) == text) {
            self.counts.insert(table, rows);
            return Ok(());
        }
        match text {
            "BEGIN;\n" => {
                let size = self.database.number("PRAGMA page_size")?;
                let folder = self.database.file.path.parent().unwrap_or(Path::new("/"));
                files::require_space(folder, self.most.saturating_mul(size))?;
                self.database.run(&format!("PRAGMA max_page_count = {}; BEGIN", self.most))
            }
            "COMMIT;\n" => self.database.run(text),
            "PRAGMA foreign_keys = OFF;\n" => Ok(()),
            "PRAGMA journal_mode = WAL;\n" => self.database.run(text),
            _ if OWN.iter().any(|(_, _, before)| *before == text) => {
                self.database.run(text)?;
                // The SQLite of the server does not create this one.
                self.database.run("DROP TABLE IF EXISTS sqlite_stat4")
            }
            _ if is_property(text) => self.database.run(text),
            _ => Err(self.wrong(unknown)),
        }
    }

    /// Reads a definition of `size` bytes into `text`, and runs it.
    fn define(&mut self, size: u64, text: &mut Vec<u8>, next: NextLine<'_>) -> Result<()> {
        let (mut definition, size) = (Vec::new(), size as usize);
        while definition.len() < size {
            next(text)?;
            if text.is_empty() {
                return Err(self.wrong("it is truncated"));
            }
            definition.append(text);
        }
        let whole = String::from_utf8(definition).ok().filter(|whole| whole.len() == size);
        let without_end = |whole: String| {
            let ends = ["\n;\n", ";\n"].map(|end| whole.strip_suffix(end));
            ends.into_iter()
                .flatten()
                .find(|text| whole.len() == text.len() + definition_end(text).len())
                .map(str::to_owned)
        };
        let definition = whole.and_then(without_end);
        let definition = definition.ok_or_else(|| self.wrong("it contains a definition of another length"))?;
        if self.table.is_some() {
            return Err(self.wrong("it contains a definition among the rows of a table"));
        }
        let before = self.tables()?;
        let defined = self.database.define(&definition);
        defined.map_err(|error| self.wrong(&format!("a definition in it cannot be run: {error}")))?;
        let mut new = self.tables()?;
        new.retain(|table| !before.contains(table));
        match (new.pop(), self.is_past_tables) {
            (Some(table), false) => self.table = Some((table, 0)),
            (Some(_), true) => return Err(self.wrong("it contains a table after an index")),
            (None, _) => self.is_past_tables = true,
        }
        Ok(())
    }

    fn tables(&self) -> Result<Vec<String>> {
        let fail = |error| self.database.file.error(error);
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
        let mut statement = self.database.connection.prepare_cached(sql).map_err(fail)?;
        let names = statement.query_map([], |row| row.get(0)).map_err(fail)?;
        names.collect::<rusqlite::Result<_>>().map_err(fail)
    }

    fn insert(&mut self, line: &[u8]) -> Result<()> {
        let read = match Head::read(line) {
            Some(head) if self.takes(&head)? => Some(head),
            _ => None,
        };
        let Some(Head { table, columns, mut rows }) = read else {
            return Err(self.wrong("it contains rows that kumadb does not write"));
        };
        self.database.file.cancel.check()?;
        let (names, marks) = (columns.join(","), vec!["?"; columns.len()].join(","));
        let sql = format!("INSERT INTO {} ({names}) VALUES ({marks})", quote(&table));
        let failed = |error| {
            Error::Snapshot(SnapshotError::Invalid {
                name: self.name.to_owned(),
                why: format!("a row in it cannot be inserted: {error}"),
            })
        };
        let mut statement = self.database.connection.prepare_cached(&sql).map_err(failed)?;
        let (mut cells, mut count) = (Vec::new(), 0);
        loop {
            let after = literal::read_row(rows, &mut cells).filter(|_| cells.len() == columns.len());
            let Some(after) = after else { return Err(self.wrong("it contains rows that kumadb does not write")) };
            statement.execute(params_from_iter(&cells)).map_err(failed)?;
            count += 1;
            match after {
                b";\n" => break,
                _ => rows = after.strip_prefix(b",").unwrap_or_default(),
            }
        }
        if let Some((_, rows)) = &mut self.table {
            *rows += count;
        }
        Ok(())
    }

    /// Whether rows of this table may come here, with all of its columns.
    fn takes(&mut self, head: &Head<'_>) -> Result<bool> {
        let is_expected = match &self.table {
            Some((table, _)) => *table == head.table,
            None => !self.is_past_tables && OWN.iter().any(|(own, ..)| *own == head.table),
        };
        if !is_expected {
            return Ok(false);
        }
        let stored = stored_columns(&mut self.database, &head.table)?;
        Ok(stored.iter().map(|column| quote(column)).eq(head.columns.iter().cloned()))
    }

    fn wrong(&self, why: &str) -> Error {
        Error::Snapshot(SnapshotError::Invalid { name: self.name.to_owned(), why: why.to_owned() })
    }
}

/// What a definition may do: nothing is read, and nothing but the schema is written.
fn only_define(context: AuthContext<'_>) -> Authorization {
    let is_schema = |table: &str| ["sqlite_master", "sqlite_schema", "sqlite_sequence"].contains(&table);
    let is_allowed = match context.action {
        AuthAction::CreateTable { .. }
        | AuthAction::CreateIndex { .. }
        | AuthAction::CreateView { .. }
        | AuthAction::CreateTrigger { .. }
        | AuthAction::Reindex { .. }
        // Columns and functions in the expression of an index, a default or a check.
        | AuthAction::Read { .. }
        | AuthAction::Function { .. } => true,
        AuthAction::Insert { table_name } | AuthAction::Update { table_name, .. } => is_schema(table_name),
        _ => false,
    };
    if is_allowed { Authorization::Allow } else { Authorization::Deny }
}

/// Whether `text` sets one of the properties of the file.
fn is_property(text: &str) -> bool {
    let Some((name, value)) =
        text.strip_prefix("PRAGMA ").and_then(|rest| rest.strip_suffix(";\n")).and_then(|rest| rest.split_once(" = "))
    else {
        return false;
    };
    let is_number = !value.is_empty() && value.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit());
    match name {
        "encoding" => value == "'UTF-8'",
        _ => is_number && BEFORE.iter().chain(&AFTER).any(|known| *known == name),
    }
}

/// The parts of a line with rows.
struct Head<'l> {
    table: String,
    /// The columns, quoted.
    columns: Vec<String>,
    rows: &'l [u8],
}

impl Head<'_> {
    fn read(line: &[u8]) -> Option<Head<'_>> {
        let (table, mut rest) = name_at(line.strip_prefix(INSERT.as_bytes())?)?;
        rest = rest.strip_prefix(b" (")?;
        let mut columns = Vec::new();
        loop {
            let (column, after) = name_at(rest)?;
            columns.push(quote(&column));
            match after.strip_prefix(b",") {
                Some(after) => rest = after,
                None => return Some(Head { table, columns, rows: after.strip_prefix(b") VALUES ")? }),
            }
        }
    }
}

/// The name in backticks at the start of `text`, and what is after it.
fn name_at(text: &[u8]) -> Option<(String, &[u8])> {
    let (mut rest, mut name) = (text.strip_prefix(b"`")?, Vec::new());
    loop {
        let end = rest.iter().position(|byte| *byte == b'`')?;
        name.extend_from_slice(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix(b"`") {
            // A doubled backtick is a part of the name.
            Some(after) => {
                name.push(b'`');
                rest = after;
            }
            None => return Some((String::from_utf8(name).ok()?, rest)),
        }
    }
}
