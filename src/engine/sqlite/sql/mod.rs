//! A database as SQL, which `sqlite3` can load too: the same rows are the same bytes, wherever their pages are.
//!
//! ```text
//! -- kumadb SQLite dump 1
//! PRAGMA …;
//! BEGIN;
//! -- definition of 43 bytes
//! CREATE TABLE `tag` (…);
//! INSERT INTO `tag` (`id`,`name`) VALUES (1,'prod'),(2,'test');
//! -- `tag`: 2 rows
//! -- definition of 38 bytes
//! CREATE INDEX …;
//! COMMIT;
//! -- kumadb SQLite dump complete: 1 tables, 2 rows
//! ```
//!
//! Every statement but a definition is on one line. The rows are in the order of the table. Indexes, views and triggers come after all
//! rows. Statistics of the query planner are there as rows of `sqlite_stat1`.

mod literal;
mod load;
mod write;

use super::Sqlite;
use crate::engine::{Reader as _, quote};
use crate::error::Result;

/// The first line.
const FIRST: &str = "-- kumadb SQLite dump 1\n";

/// The start of the last line.
const LAST: &str = "-- kumadb SQLite dump complete: ";

/// The start of the line before a definition, and its end, around the number of bytes up to its `;`.
const DEFINITION: (&str, &str) = ("-- definition of ", " bytes\n");

/// The start of a line with rows.
const INSERT: &str = "INSERT INTO ";

/// Bytes of the longest line, and of the longest definition: a program that reads them has one in memory.
const LONGEST: u64 = 256 << 20;

/// The properties of the file that are set before its tables are created: each by its name, which is that of the pragma.
const BEFORE: [&str; 2] = ["page_size", "auto_vacuum"];

/// The same for those that are set after its rows.
const AFTER: [&str; 2] = ["user_version", "application_id"];

/// The tables of SQLite itself whose rows are a part of the dump, with their columns, and the statement before those rows.
const OWN: [(&str, &[&str], &str); 2] = [
    ("sqlite_sequence", &["name", "seq"], "DELETE FROM sqlite_sequence;\n"),
    ("sqlite_stat1", &["tbl", "idx", "stat"], "ANALYZE sqlite_schema;\n"),
];

/// What ends `definition`: a comment at its end must not reach further.
fn definition_end(definition: &str) -> &'static str {
    if definition.contains("--") { "\n;\n" } else { ";\n" }
}

/// The columns of `table` that have values of their own, in their order.
fn stored_columns(database: &mut Sqlite, table: &str) -> Result<Vec<String>> {
    let rows = database.query(&format!("PRAGMA table_xinfo({})", quote(table)), &[])?;
    let stored = rows.iter().filter(|row| row.int("hidden") == Some(0));
    Ok(stored.filter_map(|row| row.text("name").map(str::to_owned)).collect())
}

/// The line after the rows of a table.
fn table_end(table: &str, rows: u64) -> String {
    format!("-- {}: {rows} rows\n", quote(table))
}

/// The last line.
fn last(tables: usize, rows: u64) -> String {
    format!("{LAST}{tables} tables, {rows} rows\n")
}
