//! The two engines behind one narrow door: rows in, rows out, one transaction.
//!
//! Nothing here knows the server's tables. `sqlite.rs` and `mariadb.rs` hold the same functions in the same order.
//! Statements are written once for both: identifiers in backticks, `?` for parameters.

pub mod mariadb;
pub mod space;
pub mod sqlite;
pub mod statement;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

use serde::{Deserialize, Serialize};

use crate::error::Result;
pub use crate::schema::EngineKind;
pub use crate::schema::quote;
use crate::schema::{ForeignKey, Schema};
use crate::value::{Row, Value};

/// How deep [`Reader::check`] looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Foreign keys only.
    References,
    /// Structure of the file only (SQLite `quick_check`; MariaDB `CHECK TABLE … QUICK`).
    Structure,
    /// The same, and foreign keys.
    Quick,
    /// Everything the engine can check, however long it takes.
    Full,
}

/// One thing wrong with a database as its engine sees it. Comparable, so that what a change broke can be told from what
/// was broken before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What is wrong, without a count: `` `heartbeat`.`monitor_id` points to a `monitor` that is not there``.
    pub what: String,
    /// How many rows are affected; 0 where rows cannot be counted (damage of the file).
    pub rows: u64,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rows {
            0 => f.write_str(&self.what),
            1 => write!(f, "{} (1 row)", self.what),
            n => write!(f, "{} ({n} rows)", self.what),
        }
    }
}

/// Rows per table, as counted in one snapshot.
pub type Counts = BTreeMap<String, u64>;

/// A connection that can only read. It takes no lock for long, never writes and never checkpoints.
pub trait Reader: Send {
    /// Which engine answers.
    fn kind(&self) -> EngineKind;

    /// All rows of `sql`. For results that fit in memory.
    fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        self.stream(sql, params, &mut |row| {
            rows.push(row);
            Ok(())
        })?;
        Ok(rows)
    }

    /// Hands each row of `sql` to `each`, holding one at a time. For results of millions of rows.
    fn stream(&mut self, sql: &str, params: &[Value], each: &mut dyn FnMut(Row) -> Result<()>) -> Result<()>;

    /// Every table of the database with its columns, keys and indexes.
    fn schema(&mut self) -> Result<Schema>;

    /// What is wrong with the database; empty when nothing is.
    fn check(&mut self, depth: Depth) -> Result<Vec<Fault>>;

    /// Makes a copy of the whole database at `to` (a new file, mode 0600, not flushed yet), all of it from one consistent
    /// snapshot: SQLite as a database file, MariaDB as SQL that the `mariadb` client loads as it is.
    /// The tables `without` are made, but their rows are left out.
    /// `progress` is called with (done, total) in the engine's own unit (pages, tables, rows). Returns what went into the
    /// copy.
    fn dump(&mut self, to: &Path, without: &[String], progress: &mut dyn FnMut(u64, u64)) -> Result<Counts>;
}

/// A connection that can change the database, inside one transaction.
/// Dropping it without [`commit`](Writer::commit) leaves the database as it was.
pub trait Writer: Reader {
    /// Opens the transaction; fails at once when somebody else is writing.
    fn begin(&mut self) -> Result<()>;

    /// Runs one statement; returns how many rows it changed.
    fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64>;

    /// Inserts `rows` under `columns`, as fast as the engine can.
    fn insert(&mut self, table: &str, columns: &[&str], rows: &mut dyn Iterator<Item = Vec<Value>>) -> Result<u64>;

    /// Makes the transaction durable.
    fn commit(&mut self) -> Result<()>;

    /// Undoes the transaction.
    fn rollback(&mut self) -> Result<()>;

    /// Puts back what [`Reader::dump`] wrote at `from`, replacing everything, as one transaction of its own: killed at
    /// any moment, the database is wholly old or wholly new. The tables must be the same as in the copy.
    /// The rows of `without` stay as they are, except those that point to rows that are gone by then.
    fn load(&mut self, from: &Path, without: &[String], progress: &mut dyn FnMut(u64, u64)) -> Result<()>;

    /// The way to exchange all tables at once, where the engine has another than [`load`](Writer::load): MariaDB.
    fn shadow(&mut self) -> Option<&mut dyn Shadow> {
        None
    }
}

/// How a dump can come into a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Its rows into the tables that are there: they are the same, and most rows are there.
    Rows,
    /// As new tables, which is faster; its rows would do as well.
    Either,
    /// Only as new tables.
    Tables,
}

/// A place beside a database, where other tables are made ready and then exchanged with those that are there.
///
/// Killed at any moment, [`swap_back`](Shadow::swap_back) and then [`clear`](Shadow::clear) leave what was there before.
pub trait Shadow {
    /// How what [`Reader::dump`] wrote at `from` can come in. Only looks: what has the names of our databases may still be
    /// somebody else's.
    ///
    /// # Errors
    /// [`DatabaseError::CannotSwapTables`](crate::error::DatabaseError::CannotSwapTables) where something is in the way, and rows would not do.
    fn suits(&mut self, from: &Path) -> Result<Fit>;

    /// Checks the right to create and drop databases by creating and dropping both. From here on what has their names is ours.
    ///
    /// # Errors
    /// [`DatabaseError::CannotSwapTables`](crate::error::DatabaseError::CannotSwapTables) without that right.
    fn reserve(&mut self) -> Result<()>;

    /// Makes ready what [`Reader::dump`] wrote at `from`, and compares it with that: definitions, counters, every row. Returns
    /// the references in it that are broken.
    fn fill(&mut self, from: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Vec<Fault>>;

    /// Puts what was made ready in the place of what is there, which is set aside.
    fn swap(&mut self) -> Result<()>;

    /// Puts back what was set aside, if anything was; says so. `tables` are all that the database had before.
    fn swap_back(&mut self, tables: &BTreeSet<&str>) -> Result<bool>;

    /// Removes what is ready or set aside.
    fn clear(&mut self) -> Result<()>;
}

/// What a [`Connect`] wants to see before it opens a [`Writer`]. Only a verified snapshot makes one (and `init`, whose
/// database is new), so that nothing can be written that could not be put back.
#[derive(Debug)]
pub struct WriteKey(());

impl WriteKey {
    pub(crate) fn new() -> Self {
        WriteKey(())
    }

    /// For tests that bring a database of their own; nothing in the library or the binary may call it.
    #[doc(hidden)]
    pub fn for_tests() -> Self {
        WriteKey(())
    }
}

/// A way to one database, that can be used more than once.
pub trait Connect: Send + Sync {
    /// Which engine is there.
    fn kind(&self) -> EngineKind;
    /// What a message calls this database; never holds a secret.
    fn describe(&self) -> String;
    /// Opens it for reading.
    fn reader(&self) -> Result<Box<dyn Reader>>;
    /// Opens it for writing.
    fn writer(&self, key: &WriteKey) -> Result<Box<dyn Writer>>;
}

/// Does both at the same time.
pub(crate) fn beside<A, B: Send>(first: impl FnOnce() -> A, second: impl FnOnce() -> B + Send) -> (A, B) {
    thread::scope(|scope| {
        let second = scope.spawn(second);
        let first = first();
        (first, second.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// Statements that take from the tables `kept` the rows that point to what is no longer there.
fn orphans(schema: &Schema, kept: &[String]) -> Vec<String> {
    let described = kept.iter().filter_map(|table| Some((table, schema.table(table)?)));
    let keys = described.flat_map(|(table, described)| described.foreign_keys.iter().map(move |key| (table, key)));
    keys.map(|(table, key)| format!("DELETE FROM {} WHERE {}", quote(table), points_nowhere(key))).collect()
}

/// The condition in SQL that a row points by `key` to one that is not there.
pub fn points_nowhere(key: &ForeignKey) -> String {
    let (column, to, parent) = (quote(&key.column), quote(&key.to), quote(&key.table));
    format!("{column} IS NOT NULL AND {column} NOT IN (SELECT {to} FROM {parent})")
}
