//! A new database file with the same tables and some of their rows: faster than deleting the others when these are many.

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, params_from_iter};

use super::cell::Bound;
use super::{Connect as _, Reader as _, Sqlite, SqliteFile};
use crate::engine::{RowDigest, RowFilter, quote};
use crate::error::{Error, OperationError, Result};

/// Bytes that are hashed at once.
const BLOCK: usize = 64 << 10;

/// What is in the schema of a database: a table, an index, a trigger or a view.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Object {
    kind: String,
    name: String,
    table: String,
    sql: Option<String>,
}

impl SqliteFile {
    /// Whether a new file can have exactly this schema: its own statements create all of it.
    pub(crate) fn can_be_made_again(&self) -> Result<bool> {
        let objects = self.read_only()?.objects("main")?;
        let opened = Connection::open_in_memory().map_err(|error| self.error(error))?;
        let trial = Sqlite::new(opened, self.clone());
        let made = trial.make(&objects, |object| object.kind == "table");
        let made = made.and_then(|()| trial.make(&objects, |object| object.kind != "table"));
        let made = made.and_then(|()| trial.make_statistics(&objects));
        Ok(made.is_ok() && sorted(trial.objects("main")?) == sorted(objects))
    }

    /// Creates the new file `to` with the format of this one: page size, encoding, `auto_vacuum`, and the versions in its
    /// header. It is not durable yet.
    pub(crate) fn create_alike(&self, to: &Path) -> Result<Sqlite> {
        let mut source = self.read_only()?;
        let made = SqliteFile::new(to).cancelled_by(self.cancel()).create()?;
        for setting in ["page_size", "auto_vacuum", "encoding", "user_version", "application_id"] {
            let row = source.query(&format!("PRAGMA {setting}"), &[])?;
            if let Some(value) = row.first().map(|row| row.at(0).to_string()) {
                made.run(&format!("PRAGMA {setting} = '{value}'"))?;
            }
        }
        // No other process uses the file, and an incomplete one is made again.
        made.run("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF")?;
        made.run("PRAGMA cache_size = -16384")?;
        Ok(made)
    }
}

impl Sqlite {
    /// Creates every table of `from` with its rows, those of `kept` only with these, and then the indexes.
    pub(crate) fn take_kept(
        &mut self,
        from: &SqliteFile,
        kept: &[RowFilter],
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<()> {
        self.attach(from)?;
        let objects = self.objects("other")?;
        self.run("BEGIN")?;
        self.make(&objects, |object| object.kind == "table")?;
        // Before the rows, which use the page of a table that is dropped again.
        self.make_statistics(&objects)?;
        let tables = self.tables()?;
        let total = tables.len() as u64 + 1;
        for (done, table) in tables.iter().enumerate() {
            self.take_rows_of(table, kept.iter().find(|filter| filter.table == *table))?;
            progress(done as u64 + 1, total);
        }
        self.make(&objects, |object| object.kind != "table")?;
        for table in objects.iter().map(|object| &object.name).filter(|name| is_internal_table(name)) {
            self.run(&format!("DELETE FROM main.{table}; INSERT INTO main.{table} SELECT * FROM other.{table}"))?;
        }
        self.run("COMMIT; DETACH other")?;
        progress(total, total);
        if sorted(self.objects("main")?) == sorted(objects) {
            Ok(())
        } else {
            let why = "the new database file has another schema".to_owned();
            Err(Error::Operation(OperationError::ChecksFailed(vec![why])))
        }
    }

    fn take_rows_of(&mut self, table: &str, filter: Option<&RowFilter>) -> Result<()> {
        let columns = self.column_list("main", table)?;
        let name = quote(table);
        let Some(filter) = filter else {
            // Without a list of columns, SQLite copies rows without reading their cells, unless a column is calculated.
            let hidden = format!("SELECT count(*) FROM pragma_table_xinfo({}) WHERE hidden <> 0", literal(table));
            let sql = match self.number(&hidden)? {
                0 => format!("INSERT INTO main.{name} SELECT * FROM other.{name}"),
                _ => format!("INSERT INTO main.{name} ({columns}) SELECT {columns} FROM other.{name}"),
            };
            return self.run(&sql);
        };
        let sql = format!(
            "INSERT INTO main.{name} ({columns}) SELECT {columns} FROM other.{name} NOT INDEXED WHERE {}",
            filter.condition
        );
        let taken = self.connection.execute(&sql, params_from_iter(filter.params.iter().map(Bound)));
        taken.map(drop).map_err(|error| self.file.error(error))
    }

    /// The rows of `table` in the order of the table, see [`Reader::digest`](crate::engine::Reader::digest).
    pub(super) fn digest_rows(&mut self, table: &str, filter: Option<&RowFilter>) -> Result<RowDigest> {
        let columns = self.column_list("main", table)?;
        let mut sql = format!("SELECT {columns} FROM main.{} NOT INDEXED", quote(table));
        if let Some(filter) = filter {
            sql.push_str(&format!(" WHERE {}", filter.condition));
        }
        let fail = |error| self.file.error(error);
        let params = filter.map_or(&[][..], |filter| &filter.params);
        let mut statement = self.connection.prepare(&sql).map_err(fail)?;
        let width = statement.column_count();
        let mut found = statement.query(params_from_iter(params.iter().map(Bound))).map_err(fail)?;
        let (mut rows, mut hasher, mut block) = (0, blake3::Hasher::new(), Vec::with_capacity(2 * BLOCK));
        while let Some(row) = found.next().map_err(fail)? {
            for at in 0..width {
                append(&mut block, row.get_ref(at).map_err(fail)?);
            }
            rows += 1;
            if block.len() >= BLOCK {
                hasher.update(&block);
                block.clear();
            }
        }
        hasher.update(&block);
        Ok(RowDigest { rows, hash: hasher.finalize() })
    }

    /// The columns that a row stores, quoted.
    fn column_list(&mut self, schema: &str, table: &str) -> Result<String> {
        let rows = self.query(&format!("PRAGMA {schema}.table_info({})", quote(table)), &[])?;
        let names: Vec<String> = rows.iter().filter_map(|row| row.text("name")).map(quote).collect();
        Ok(names.join(", "))
    }

    fn objects(&self, schema: &str) -> Result<Vec<Object>> {
        let fail = |error| self.file.error(error);
        let sql = format!("SELECT type, name, tbl_name, sql FROM {schema}.sqlite_schema ORDER BY rowid");
        let mut statement = self.connection.prepare(&sql).map_err(fail)?;
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Object { kind: row.get(0)?, name: row.get(1)?, table: row.get(2)?, sql: row.get(3)? })
        };
        let objects = statement.query_map([], read).map_err(fail)?;
        objects.collect::<rusqlite::Result<_>>().map_err(fail)
    }

    /// Creates those of `objects` that are `desired` and not SQLite's own.
    fn make(&self, objects: &[Object], desired: impl Fn(&Object) -> bool) -> Result<()> {
        let desired = objects.iter().filter(|object| desired(object) && !object.name.starts_with("sqlite_"));
        desired.filter_map(|object| object.sql.as_ref()).try_for_each(|sql| self.run_one(sql))
    }

    /// Creates the tables of ANALYZE that are in `objects`: SQLite creates all that it knows.
    fn make_statistics(&self, objects: &[Object]) -> Result<()> {
        let has = |name: &str| objects.iter().any(|object| object.name == name);
        if !objects.iter().any(|object| object.name.starts_with("sqlite_stat")) {
            return Ok(());
        }
        self.run("ANALYZE main.sqlite_schema")?;
        let made = self.objects("main")?.into_iter().map(|object| object.name);
        made.filter(|name| name.starts_with("sqlite_stat") && !has(name))
            .try_for_each(|name| self.run(&format!("DROP TABLE main.{name}")))
    }
}

/// Whether SQLite creates the table `name` itself, and it has rows that belong to the database.
fn is_internal_table(name: &str) -> bool {
    ["sqlite_sequence", "sqlite_stat1", "sqlite_stat4"].contains(&name)
}

fn sorted(mut objects: Vec<Object>) -> Vec<Object> {
    objects.sort();
    objects
}

/// `text` as a literal.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Appends the type, the length and the bytes of `cell`.
fn append(block: &mut Vec<u8>, cell: ValueRef<'_>) {
    let (number, real);
    let (kind, bytes): (u8, &[u8]) = match cell {
        ValueRef::Null => (0, &[]),
        ValueRef::Integer(value) => {
            number = value.to_le_bytes();
            (1, &number)
        }
        ValueRef::Real(value) => {
            real = value.to_le_bytes();
            (2, &real)
        }
        ValueRef::Text(bytes) => (3, bytes),
        ValueRef::Blob(bytes) => (4, bytes),
    };
    block.push(kind);
    block.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    block.extend_from_slice(bytes);
}
