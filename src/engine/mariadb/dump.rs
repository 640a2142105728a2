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

use super::definition::columns_and_key;
use super::dump_text::{FIRST, LAST, SETTINGS, created_table, each_line, table_end};
use super::literal::{LiteralKind, one_line, split_definition};
use super::tables::{BaseTable, text};
use super::{MariaDb, Transaction};
use crate::engine::insert_lines::InsertLines;
use crate::engine::{Counts, quote, read_numbers};
use crate::error::{Error, Result};
use crate::files;

/// Rows between two calls of `progress`.
const STRIDE: u64 = 1_000;

/// The query and columns of one table.
pub(super) struct TableQuery {
    select: String,
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
        self.run("START TRANSACTION WITH CONSISTENT SNAPSHOT")?;
        let written = self.write_all(&file, to, without, progress);
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
        without: &[String],
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
        let tables = self.tables()?;
        let read: Vec<&BaseTable> = tables.iter().filter(|table| !without.contains(&table.name)).collect();
        let estimate: u64 = read.iter().map(|table| table.estimate).sum();
        let filled = self.with_rows(&read)?;
        let (mut counts, mut all) = (Counts::new(), 0);
        for table in &tables {
            let create = self.definition(&table.name)?;
            put(format!("DROP TABLE IF EXISTS {};\n{create};\n", quote(&table.name)).as_bytes())?;
            let mut rows = 0;
            if filled.contains(&table.name) {
                rows = self.write_rows(&create, "", &mut put, &mut |done| {
                    progress(all + done, estimate.max(all + done));
                })?;
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
        let layout =
            TableQuery::of(create, filter).ok_or_else(|| self.wrong("the definition of a table cannot be read"))?;
        let rows = self.rows(layout.select)?;
        let shapes: Vec<LiteralKind> = rows.shapes.clone();
        let (mut lines, mut text) = (layout.lines, Vec::new());
        rows.each_raw(&mut |cells| {
            text.clear();
            for (at, (cell, shape)) in cells.iter().zip(&shapes).enumerate() {
                text.push(if at == 0 { b'(' } else { b',' });
                match cell {
                    Some(mysql_async::Value::Bytes(bytes)) => shape.write(bytes, &mut text),
                    _ => text.extend_from_slice(b"NULL"),
                }
            }
            text.push(b')');
            lines.add(&text, put)?;
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

impl TableQuery {
    /// For the rows of the table of `create` that match `filter`, in the order of its primary key; `None` if `create` cannot be read.
    fn of(create: &str, filter: &str) -> Option<TableQuery> {
        let table = created_table(create.as_bytes())?;
        let (columns, key) = columns_and_key(create)?;
        let stored: Vec<_> = columns.iter().filter(|column| !column.is_generated).collect();
        let cells: Vec<String> = stored.iter().map(|column| column.cell()).collect();
        let mut select = format!("SELECT {} FROM {}", cells.join(","), quote(&table));
        if key.is_empty() {
            select.push_str(filter)
        } else {
            let key: Vec<String> = key.iter().map(|name| quote(name)).collect();
            select.push_str(&format!(" FORCE INDEX (PRIMARY){filter} ORDER BY {}", key.join(",")))
        }
        Some(TableQuery { select, lines: InsertLines::of(&table, stored.iter().map(|column| quote(&column.name))) })
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
