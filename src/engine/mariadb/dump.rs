//! Dumps the database as SQL, every statement on one line.
//!
//! ```text
//! -- kumadb dump 1 of `kuma`, MariaDB 10.11.18-MariaDB
//! SET …;
//! DROP TABLE IF EXISTS `tag`;
//! CREATE TABLE `tag` (…) ENGINE=InnoDB …;
//! INSERT INTO `tag` (`id`,`name`) VALUES (1,'prod'),(2,'test');
//! -- `tag`: 2 rows
//! COMMIT;
//! -- kumadb dump complete: 1 tables, 2 rows
//! ```
//!
//! Rows are in the order of the primary key, so that the same rows always produce the same lines: [`load`](super::load)
//! verifies its result by producing them again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use super::definition::{DefinedColumn, columns_and_key};
use super::dump_text::{FIRST, LAST, SETTINGS, created_table, each_line, table_end};
use super::literal::{LiteralKind, one_line, split_definition};
use super::pair::Pair;
use super::tables::{BaseTable, text};
use super::texts::each_text;
use super::{MariaDb, Transaction};
use crate::engine::insert_lines::InsertLines;
use crate::engine::{Counts, quote, read_numbers};
use crate::error::{Error, Result};
use crate::files;

/// Rows between two calls of `progress`.
const STRIDE: u64 = 1_000;

/// Bytes of a table that are read by one query, if two connections read it.
const PART: u64 = 2 << 20;

/// The number of such queries for one table: its size is what MariaDB reports.
const MOST_PARTS: u64 = 4096;

/// Types of cells that may have more than 64 KB: too much for the rows of a part to wait in memory.
const LONG: [&str; 5] = ["mediumtext", "mediumblob", "longtext", "longblob", "json"];

/// What is dumped.
struct Content<'a> {
    tables: Vec<BaseTable>,
    /// The tables whose rows are left out.
    without: &'a [String],
    pair: Option<Pair>,
}

/// The query and columns of one table.
struct TableQuery {
    table: String,
    columns: String,
    /// The names of the primary key.
    order: String,
    /// The primary key, if it is one integer and a row has at most a few times 64 KB.
    counted: Option<String>,
    lines: InsertLines,
}

impl MariaDb {
    pub(super) fn write_dump(
        &mut self,
        to: &Path,
        without: &[String],
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Counts> {
        if self.transaction != Transaction::None {
            return Err(self.wrong("a dump cannot be made inside of a transaction"));
        }
        let file = files::create_private(to)?;
        let tables = self.tables()?;
        let pair = self.begin_snapshot(tables.iter().filter(|table| !without.contains(&table.name)))?;
        let written = self.write_all(&file, to, Content { tables, without, pair }, progress);
        let ended = self.run("ROLLBACK");
        match written.and_then(|counts| ended.map(|_| counts)) {
            Ok(counts) => Ok(counts),
            Err(error) => {
                // An incomplete dump is useless, and the first error matters.
                let _ = files::remove(to);
                Err(error)
            }
        }
    }

    fn write_all(
        &mut self,
        file: &File,
        to: &Path,
        mut content: Content<'_>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Counts> {
        let mut out = BufWriter::with_capacity(1 << 18, file);
        let wrong = Error::file("write", to);
        let mut put = |line: &[u8]| out.write_all(line).map_err(|error| Error::file("write", to)(error));
        let head = format!("{FIRST}{}, MariaDB {}", quote(&self.address.database), self.version());
        put(comment(&head).as_bytes())?;
        for extra in self.extras()? {
            put(comment(&format!("-- not a table, to be created manually after the tables: {extra};")).as_bytes())?;
        }
        put(SETTINGS.as_bytes())?;
        // Rolling back to it releases the metadata lock of a table before the next one is read; ALTER TABLE waits for it.
        self.run("SAVEPOINT no_table")?;
        let read = content.tables.iter().filter(|table| !content.without.contains(&table.name));
        let read: Vec<&BaseTable> = read.collect();
        let estimate: u64 = read.iter().map(|table| table.estimate).sum();
        let filled = self.with_rows(&read)?;
        let (mut counts, mut all) = (Counts::new(), 0);
        for table in &content.tables {
            let create = self.definition(&table.name)?;
            put(format!("DROP TABLE IF EXISTS {};\n{create};\n", quote(&table.name)).as_bytes())?;
            let mut rows = 0;
            if filled.contains(&table.name) {
                let mut counted = |done| progress(all + done, estimate.max(all + done));
                rows = match content.pair.as_mut().filter(|pair| pair.has(&table.name)) {
                    Some(pair) => self.write_in_parts(pair, (&create, table.bytes), &mut put, &mut counted)?,
                    None => self.write_rows(&create, "", &mut put, &mut counted)?,
                };
                self.run("ROLLBACK TO SAVEPOINT no_table")?;
            }
            put(table_end(&table.name, rows).as_bytes())?;
            all += rows;
            counts.insert(table.name.clone(), rows);
        }
        put(b"COMMIT;\n")?;
        put(format!("{LAST}{} tables, {all} rows\n", counts.len()).as_bytes())?;
        out.into_inner().map_err(|error| wrong(error.into_error()))?;
        progress(all, all);
        Ok(counts)
    }

    /// Those of `tables` that have rows in the snapshot of the open transaction.
    fn with_rows(&mut self, tables: &[&BaseTable]) -> Result<BTreeSet<String>> {
        // From the rows themselves: a damaged index may contain none.
        let any = |table: &&BaseTable| format!("SELECT 1 FROM {} USE INDEX () LIMIT 1", quote(&table.name));
        let found = read_numbers(self, &tables.iter().map(any).collect::<Vec<_>>())?;
        self.run("ROLLBACK TO SAVEPOINT no_table")?;
        let filled = tables.iter().zip(found).filter(|(_, any)| *any > 0);
        Ok(filled.map(|(table, _)| table.name.clone()).collect())
    }

    /// The statement that creates `table`, on one line.
    pub(super) fn definition(&mut self, table: &str) -> Result<String> {
        let row = self.one(&format!("SHOW CREATE TABLE {}", quote(table)))?;
        let line = one_line(&text(&row, 1)).filter(|line| split_definition(line).is_some());
        line.ok_or_else(|| self.wrong(format!("the definition of table `{table}` cannot be read")))
    }

    /// Passes the INSERT lines of the rows that match `filter` (` WHERE …`, or empty), of the table whose definition is `create`, to
    /// `put`; returns their number.
    pub(super) fn write_rows(
        &mut self,
        create: &str,
        filter: &str,
        put: &mut dyn FnMut(&[u8]) -> Result<()>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<u64> {
        let query = self.query_of(create)?;
        let selects = [query.select(filter)];
        query.write(vec![self], &selects, put, progress)
    }

    fn query_of(&self, create: &str) -> Result<TableQuery> {
        TableQuery::of(create).ok_or_else(|| self.wrong("the definition of a table cannot be read"))
    }

    /// The same for all rows of a table with so many bytes, over both connections of `pair`.
    fn write_in_parts(
        &mut self,
        pair: &mut Pair,
        (create, bytes): (&str, u64),
        put: &mut dyn FnMut(&[u8]) -> Result<()>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<u64> {
        let query = self.query_of(create)?;
        let range = match query.range() {
            Some(range) => self.all(&range)?,
            None => Vec::new(),
        };
        let end = |at| range.first().and_then(|row| row.at(at).int());
        let Some(range) = end(0).zip(end(1)) else {
            let selects = [query.select("")];
            return query.write(vec![self], &selects, put, progress);
        };
        let selects = query.parts(range, (bytes / PART + 2).min(MOST_PARTS));
        pair.other.run("SAVEPOINT no_table")?;
        let count = query.write(vec![self, &mut pair.other], &selects, put, progress)?;
        pair.other.run("ROLLBACK TO SAVEPOINT no_table")?;
        Ok(count)
    }
}

impl TableQuery {
    /// For the table of `create`; `None` if that cannot be read.
    fn of(create: &str) -> Option<TableQuery> {
        let table = created_table(create.as_bytes())?;
        let (columns, key) = columns_and_key(create)?;
        let stored: Vec<_> = columns.iter().filter(|column| !column.is_generated).collect();
        let cells: Vec<String> = stored.iter().map(|column| column.cell()).collect();
        let is_long = |column: &&DefinedColumn| LONG.iter().any(|long| column.rest.starts_with(long));
        let is_whole = |column: &&&DefinedColumn| LiteralKind::of_type(&column.rest) == Some(LiteralKind::Whole);
        let counted = match key.as_slice() {
            [name] if !stored.iter().any(is_long) => stored.iter().find(|column| column.name == *name).filter(is_whole),
            _ => None,
        };
        let key: Vec<String> = key.iter().map(|name| quote(name)).collect();
        Some(TableQuery {
            columns: cells.join(","),
            order: key.join(","),
            counted: counted.map(|column| quote(&column.name)),
            lines: InsertLines::of(&table, stored.iter().map(|column| quote(&column.name))),
            table: quote(&table),
        })
    }

    /// The query for the rows that match `filter` (` WHERE …`, or empty), in the order of the primary key.
    fn select(&self, filter: &str) -> String {
        let (columns, table, order) = (&self.columns, &self.table, &self.order);
        match order.as_str() {
            "" => format!("SELECT {columns} FROM {table}{filter}"),
            _ => format!("SELECT {columns} FROM {table} FORCE INDEX (PRIMARY){filter} ORDER BY {order}"),
        }
    }

    /// The query for the first and the last value of a primary key that is one integer.
    fn range(&self) -> Option<String> {
        let key = self.counted.as_ref()?;
        Some(format!("SELECT MIN({key}), MAX({key}) FROM {}", self.table))
    }

    /// `count` queries, at least two, that together return all rows in order, for keys from `first` to `last`.
    fn parts(&self, (first, last): (i64, i64), count: u64) -> Vec<String> {
        let (key, first) = (&self.order, i128::from(first));
        let step = (i128::from(last) - first) / i128::from(count) + 1;
        let bound = |n: u64| first + step * i128::from(n);
        let limits = |n: u64| {
            // The first and the last one have one limit: no row is outside of all parts.
            let from = (n > 0).then(|| format!("{key} >= {}", bound(n)));
            let to = (n + 1 < count).then(|| format!("{key} < {}", bound(n + 1)));
            from.into_iter().chain(to).collect::<Vec<_>>().join(" AND ")
        };
        (0..count).map(|n| self.select(&format!(" WHERE {}", limits(n)))).collect()
    }

    /// Passes the INSERT lines of the rows that `selects` return to `put`; returns their number.
    fn write(
        self,
        connections: Vec<&mut MariaDb>,
        selects: &[String],
        put: &mut dyn FnMut(&[u8]) -> Result<()>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<u64> {
        let mut lines = self.lines;
        each_text(connections, selects, &mut |row| {
            lines.add(row, put)?;
            if lines.count().is_multiple_of(STRIDE) {
                progress(lines.count());
            }
            Ok(())
        })?;
        let count = lines.end(put)?;
        progress(count);
        Ok(count)
    }
}

/// `line` as one line: what a server reports about itself must not end the comment that it is in.
fn comment(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).chain(['\n']).collect()
}

/// Copies the dump at `from` to the new file `to`, without the rows of the tables `without`; returns the rows per
/// table.
///
/// # Errors
/// [`SnapshotError::Invalid`](crate::error::SnapshotError::Invalid) if it is not a dump of kumadb.
pub fn filter_dump(from: &Path, to: &Path, without: &[String]) -> Result<Counts> {
    let mut counts = super::load::count_dump(from)?;
    let heads: Vec<String> = without.iter().map(|table| format!("INSERT INTO {} (", quote(table))).collect();
    let ends: BTreeMap<String, &String> =
        without.iter().filter_map(|table| Some((table_end(table, *counts.get(table)?), table))).collect();
    for table in without {
        counts.entry(table.clone()).and_modify(|rows| *rows = 0);
    }
    let file = files::create_private(to)?;
    let mut out = BufWriter::with_capacity(1 << 18, &file);
    each_line(from, 0, &mut |line| {
        let text = std::str::from_utf8(line).unwrap_or_default();
        let written = if heads.iter().any(|head| line.starts_with(head.as_bytes())) {
            Ok(())
        } else if let Some(table) = ends.get(text) {
            out.write_all(table_end(table, 0).as_bytes())
        } else if text.starts_with(LAST) {
            let all: u64 = counts.values().sum();
            out.write_all(format!("{LAST}{} tables, {all} rows\n", counts.len()).as_bytes())
        } else {
            out.write_all(line)
        };
        written.map(|()| true).map_err(Error::file("write", to))
    })?;
    out.flush().map_err(Error::file("write", to))?;
    drop(out);
    Ok(counts)
}
