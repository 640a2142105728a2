//! The two database engines behind one interface: queries, one transaction, dump and load.
//!
//! Nothing here depends on the server's tables. `sqlite` and `mariadb` implement the same traits.
//! Statements are written once for both: identifiers in backticks, `?` for parameters.

pub mod fit;
pub(crate) mod insert_lines;
pub mod mariadb;
pub mod space;
pub mod sqlite;
pub(crate) mod statement;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

use serde::{Deserialize, Serialize};

use crate::cancel::Cancel;
use crate::error::Result;
pub use crate::pages::{RawRow, RawValue};
pub use crate::schema::EngineKind;
pub use crate::schema::quote;
use crate::schema::{ForeignKey, Schema};
use crate::value::{Row, Value};

/// How many tables one statement asks about.
pub(crate) const AT_ONCE: usize = 60;

/// The number that each of `selects` returns, 0 where it returns none. Many of them are one statement, in which all their tables
/// stay locked against changes of their definitions.
pub(crate) fn read_numbers(reader: &mut dyn Reader, selects: &[String]) -> Result<Vec<i64>> {
    let mut numbers = Vec::with_capacity(selects.len());
    for selects in selects.chunks(AT_ONCE) {
        let columns: Vec<String> = selects.iter().map(|select| format!("({select}) AS n")).collect();
        let rows = reader.query(&format!("SELECT {}", columns.join(", ")), &[])?;
        let number = |at| rows.first().and_then(|row| row.at(at).int()).unwrap_or(0);
        numbers.extend((0..selects.len()).map(number));
    }
    Ok(numbers)
}

/// What [`Reader::check`] checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Foreign keys only.
    References,
    /// Structure of the file only (SQLite `quick_check`; MariaDB `CHECK TABLE … QUICK`).
    Structure,
    /// The same, and foreign keys.
    Quick,
    /// Everything the engine can check; may take long.
    Full,
}

/// One fault of a database that its engine reports. Comparable, so that new faults can be distinguished from existing
/// ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntegrityError {
    /// The fault, without a count: `` `heartbeat`.`monitor_id` refers to a `monitor` that does not exist``.
    pub what: String,
    /// The number of affected rows; 0 if rows cannot be counted (damaged file).
    pub rows: u64,
}

impl fmt::Display for IntegrityError {
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

/// Some rows of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct RowFilter {
    /// The table.
    pub table: String,
    /// An SQL condition that is true for these rows.
    pub condition: String,
    /// The values of its parameters.
    pub params: Vec<Value>,
}

/// The number of some rows, and a hash of all their cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowDigest {
    /// How many.
    pub rows: u64,
    /// Of each cell its type and its bytes, row by row in the order of the table.
    pub hash: blake3::Hash,
}

/// A test of the rows of a table, see [`Reader::check_testing`].
pub struct RowTest<'t> {
    /// The table.
    pub table: &'t str,
    /// The columns that the test looks at, none of them the row id; [`RawRow::value`] has them in this order.
    pub columns: &'t [&'t str],
    /// Whether a row passes.
    pub passes: &'t (dyn Fn(&RawRow<'_>) -> bool + Sync),
}

/// The rows of a table that was tested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestedRows {
    /// All.
    pub all: u64,
    /// Those that did not pass.
    pub failed: u64,
}

/// The faults of a database, and the rows that were tested.
pub type CheckedRows = (Vec<IntegrityError>, TestedRows);

/// A read-only connection. It does not lock for long, never writes and never checkpoints.
pub trait Reader: Send {
    /// The engine.
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

    /// Calls `each` for each row of `sql`, with one row in memory. For results of millions of rows.
    fn stream(&mut self, sql: &str, params: &[Value], each: &mut dyn FnMut(Row) -> Result<()>) -> Result<()>;

    /// How to open more connections to the same database, which are not in the same snapshot; `None` inside of a transaction.
    fn more(&self) -> Option<Box<dyn Connect>> {
        None
    }

    /// Every table of the database with its columns, keys and indexes.
    fn schema(&mut self) -> Result<Schema>;

    /// How the tables differ from those of the dump of [`dump`](Reader::dump) at `from`, as far as that prevents
    /// [`Writer::load`] from loading its rows; empty if nothing does.
    fn differences(&mut self, from: &Path) -> Result<Vec<String>>;

    /// Reads the rows of `table`, or those of `filter`, in the order of the table: by rowid in SQLite, by primary key in MariaDB.
    /// Two databases of one engine have the same rows in it if the results are equal.
    fn digest(&mut self, table: &str, filter: Option<&RowFilter>) -> Result<RowDigest>;

    /// The faults of the database; empty if there are none.
    fn check(&mut self, depth: Depth) -> Result<Vec<IntegrityError>>;

    /// The same, and how many rows of a table pass `test`. `None` unless the database is a sound SQLite file that no process has
    /// open, in which the check reads each row; then ask [`check`](Reader::check) what is wrong.
    fn check_testing(&mut self, _: Depth, _: &RowTest<'_>) -> Result<Option<CheckedRows>> {
        Ok(None)
    }

    /// Dumps the database to `to` (a new file, mode 0600, not flushed yet), from one consistent snapshot: SQLite as a
    /// database file, MariaDB as SQL that the `mariadb` client can load. The tables `without` are created without rows.
    /// `progress` is called with (done, total) in the engine's own unit (pages, tables, rows). Returns the rows per
    /// table.
    fn dump(&mut self, to: &Path, without: &[String], progress: &mut dyn FnMut(u64, u64)) -> Result<Counts>;
}

/// A connection that can change the database, inside one transaction.
/// Dropping it without [`commit`](Writer::commit) rolls back.
pub trait Writer: Reader {
    /// Opens the transaction; fails immediately if another process is writing.
    fn begin(&mut self) -> Result<()>;

    /// Runs one statement; returns how many rows it changed.
    fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64>;

    /// Inserts `rows` with `columns`, as fast as the engine can.
    fn insert(&mut self, table: &str, columns: &[&str], rows: &mut dyn Iterator<Item = Vec<Value>>) -> Result<u64>;

    /// The faults in the tables `changed`, the only ones that the open transaction can have changed: in their structure (not on
    /// MariaDB, where to check it would commit), and in their references. In all tables, where there is a trigger, which can have changed
    /// others; MariaDB shows those that the account may create. A page that belongs to two tables is only found by
    /// [`check`](Reader::check).
    fn check_changed(&mut self, changed: &BTreeSet<String>) -> Result<Vec<IntegrityError>>;

    /// Makes the transaction durable.
    fn commit(&mut self) -> Result<()>;

    /// Rolls the transaction back.
    fn rollback(&mut self) -> Result<()>;

    /// Loads the dump of [`Reader::dump`] at `from`, replacing everything, in one transaction: if it is killed, the
    /// database is either completely old or completely new. The tables must be the same as in the dump. The rows of
    /// `without` are kept, except those that refer to rows that no longer exist.
    fn load(&mut self, from: &Path, without: &[String], progress: &mut dyn FnMut(u64, u64)) -> Result<()>;

    /// A way to exchange all tables in one step, if the engine has one besides [`load`](Writer::load): MariaDB.
    fn shadow(&mut self) -> Option<&mut dyn Shadow> {
        None
    }
}

/// How a dump can be loaded into a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpFit {
    /// Its rows into the existing tables: they are the same, and most rows exist already.
    Rows,
    /// As new tables, which is faster; loading its rows is possible too.
    Either,
    /// Only as new tables.
    Tables,
}

/// A second database in which new tables are prepared and then exchanged with the existing ones.
///
/// If it is killed, [`swap_back`](Shadow::swap_back) and then [`clear`](Shadow::clear) restore the original tables.
pub trait Shadow {
    /// How the dump of [`Reader::dump`] at `from` can be loaded. Read-only: databases with kumadb's names may not be
    /// kumadb's yet.
    ///
    /// # Errors
    /// [`DatabaseError::CannotSwapTables`](crate::error::DatabaseError::CannotSwapTables) if tables cannot be
    /// exchanged, and loading rows is not possible.
    fn suits(&mut self, from: &Path) -> Result<DumpFit>;

    /// Checks the privilege to create and drop databases by creating and dropping both. From here on databases with
    /// these names are kumadb's.
    ///
    /// # Errors
    /// [`DatabaseError::CannotSwapTables`](crate::error::DatabaseError::CannotSwapTables) without that privilege.
    fn reserve(&mut self) -> Result<()>;

    /// Loads the dump of [`Reader::dump`] at `from` into the second database, and compares definitions, counters and
    /// every row. Returns its broken references.
    fn fill(&mut self, from: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Vec<IntegrityError>>;

    /// Creates the second database, empty, and returns its address: what is loaded there instead of a dump is exchanged by
    /// [`swap`](Shadow::swap) too.
    ///
    /// # Errors
    /// [`DatabaseError::CannotSwapTables`](crate::error::DatabaseError::CannotSwapTables) if tables cannot be exchanged.
    fn make_empty(&mut self) -> Result<mariadb::Address>;

    /// Replaces the existing tables by the prepared ones, and sets the old ones aside.
    fn swap(&mut self) -> Result<()>;

    /// Whether [`fill_kept`](Shadow::fill_kept) can create `tables` again and [`swap_kept`](Shadow::swap_kept) can exchange
    /// them, as far as that can be known without a change: their definitions are understood, no other table refers to them,
    /// nothing prevents an exchange, and the database is not a node of a Galera cluster.
    fn can_keep(&mut self, tables: &[&str]) -> Result<bool>;

    /// Creates the tables of `kept` in the second database, with their definitions and these rows, and returns its address.
    fn fill_kept(&mut self, kept: &[RowFilter], progress: &mut dyn FnMut(u64, u64)) -> Result<mariadb::Address>;

    /// Replaces the existing tables of the same names by the prepared ones, sets the old ones aside, and compares the
    /// definitions of both. All other tables stay. Returns the address of the old ones, to which no
    /// other client writes any more.
    ///
    /// # Errors
    /// [`OperationError::ChecksFailed`](crate::error::OperationError::ChecksFailed) after the exchange if definitions differ, or
    /// another client has added rows to the old ones.
    fn swap_kept(&mut self) -> Result<mariadb::Address>;

    /// Whether [`swap_back`](Shadow::swap_back) has something to restore.
    fn is_swapped(&mut self, tables: &BTreeSet<&str>) -> Result<bool>;

    /// Restores the tables that were set aside, and returns whether there were any. `tables` are all original tables.
    fn swap_back(&mut self, tables: &BTreeSet<&str>) -> Result<bool>;

    /// Removes the prepared tables and those that were set aside.
    fn clear(&mut self) -> Result<()>;
}

/// The key that a [`Connect`] requires to open a [`Writer`]. Only a verified snapshot creates one (and `init`, whose
/// database is new), so that every write can be rolled back.
#[derive(Debug)]
pub struct WriteKey(());

impl WriteKey {
    pub(crate) fn new() -> Self {
        WriteKey(())
    }

    /// For tests and benchmarks with their own database; a release build does not have it.
    #[cfg(any(debug_assertions, feature = "bench"))]
    #[doc(hidden)]
    pub fn for_tests() -> Self {
        WriteKey(())
    }
}

/// Opens connections to one database.
pub trait Connect: Send + Sync {
    /// The engine.
    fn kind(&self) -> EngineKind;
    /// The name of this database in messages; never contains a secret.
    fn describe(&self) -> String;
    /// What ends work on it early.
    fn cancel(&self) -> Cancel {
        Cancel::default()
    }
    /// Opens it for reading.
    fn reader(&self) -> Result<Box<dyn Reader>>;
    /// Opens it for writing.
    fn writer(&self, key: &WriteKey) -> Result<Box<dyn Writer>>;
}

/// Reads both in parallel, where the database has another connection for the second; else one after the other.
pub(crate) fn both<A, B: Send>(
    reader: &mut dyn Reader,
    first: impl FnOnce(&mut dyn Reader) -> A,
    second: impl FnOnce(&mut dyn Reader) -> B + Send,
) -> (A, B) {
    // Where it accepts no more connections, one is enough.
    match reader.more().and_then(|more| more.reader().ok()) {
        Some(mut other) => join(|| first(reader), move || second(&mut *other)),
        None => (first(reader), second(reader)),
    }
}

/// Does both in parallel.
pub(crate) fn join<A, B: Send>(first: impl FnOnce() -> A, second: impl FnOnce() -> B + Send) -> (A, B) {
    thread::scope(|scope| {
        let second = scope.spawn(second);
        let first = first();
        (first, second.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// Statements that delete rows of the tables `kept` that refer to rows that no longer exist.
fn orphans(schema: &Schema, kept: &[String]) -> Vec<String> {
    let described = kept.iter().filter_map(|table| Some((table, schema.table(table)?)));
    let keys = described.flat_map(|(table, described)| described.foreign_keys.iter().map(move |key| (table, key)));
    keys.map(|(table, key)| format!("DELETE FROM {} WHERE {}", quote(table), points_nowhere(key))).collect()
}

/// The SQL condition that a row refers by `key` to a row that does not exist.
pub fn points_nowhere(key: &ForeignKey) -> String {
    let (column, to, parent) = (quote(&key.column), quote(&key.to), quote(&key.table));
    format!("{column} IS NOT NULL AND {column} NOT IN (SELECT {to} FROM {parent})")
}
