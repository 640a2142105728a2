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

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use super::dump_text::{FIRST, LAST, SETTINGS, each_line, table_end};
use super::literal::{LiteralKind, one_line, split_definition};
use super::tables::text;
use super::{MariaDb, Transaction};
use crate::engine::insert_lines::InsertLines;
use crate::engine::{Counts, quote};
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
        let tables = self.tables()?;
        let is_left_out = |table: &str| without.iter().any(|left_out| left_out == table);
        let estimate: u64 = tables.iter().filter(|table| !is_left_out(&table.name)).map(|table| table.estimate).sum();
        let (mut counts, mut all) = (Counts::new(), 0);
        for table in tables {
            let create = self.definition(&table.name)?;
            put(format!("DROP TABLE IF EXISTS {};\n{create};\n", quote(&table.name)).as_bytes())?;
            // No rows.
            let filter = if is_left_out(&table.name) { " WHERE FALSE" } else { "" };
            // Releases the metadata lock of the table before the next one is read; ALTER TABLE waits for it.
            self.run("SAVEPOINT one_table")?;
            let rows = self.write_rows(&table.name, filter, &mut put, &mut |done| {
                progress(all + done, estimate.max(all + done));
            })?;
            self.run("ROLLBACK TO SAVEPOINT one_table")?;
            put(table_end(&table.name, rows).as_bytes())?;
            all += rows;
            counts.insert(table.name, rows);
        }
        put(b"COMMIT;\n")?;
        put(format!("{LAST}{} tables, {all} rows\n", counts.len()).as_bytes())?;
        out.into_inner().map_err(|error| wrong(error.into_error()))?;
        progress(all, all);
        Ok(counts)
    }

    /// The statement that creates `table`, on one line.
    pub(super) fn definition(&mut self, table: &str) -> Result<String> {
        let row = self.one(&format!("SHOW CREATE TABLE {}", quote(table)))?;
        let line = one_line(&text(&row, 1)).filter(|line| split_definition(line).is_some());
        line.ok_or_else(|| self.wrong(format!("the definition of table `{table}` cannot be read")))
    }

    /// Passes the INSERT lines of the rows of `table` that match `filter` (` WHERE …`, or empty) to `put`; returns
    /// their number.
    pub(super) fn write_rows(
        &mut self,
        table: &str,
        filter: &str,
        put: &mut dyn FnMut(&[u8]) -> Result<()>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<u64> {
        let layout = self.layout(table, filter)?;
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

    fn layout(&mut self, table: &str, filter: &str) -> Result<TableQuery> {
        let place = format!("WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {}", super::literal::quoted(table));
        let (mut names, mut cells) = (Vec::new(), Vec::new());
        for row in self.all(&format!(
            "SELECT COLUMN_NAME, COLUMN_TYPE, EXTRA FROM information_schema.COLUMNS {place} ORDER BY ORDINAL_POSITION"
        ))? {
            if text(&row, 2).to_uppercase().contains("GENERATED") {
                continue;
            }
            let name = quote(&text(&row, 0));
            // MariaDB prints a FLOAT without a fixed number of decimals with six digits; as a double it prints all.
            let kind = text(&row, 1);
            let loses = kind == "float" || kind.starts_with("float ");
            cells.push(if loses { format!("CAST({name} AS DOUBLE)") } else { name.clone() });
            names.push(name);
        }
        let key: Vec<String> = self
            .all(&format!(
                "SELECT COLUMN_NAME FROM information_schema.STATISTICS {place} AND INDEX_NAME = 'PRIMARY' \
                 ORDER BY SEQ_IN_INDEX"
            ))?
            .iter()
            .map(|row| quote(&text(row, 0)))
            .collect();
        let mut select = format!("SELECT {} FROM {}", cells.join(","), quote(table));
        if key.is_empty() {
            select.push_str(filter)
        } else {
            select.push_str(&format!(" FORCE INDEX (PRIMARY){filter} ORDER BY {}", key.join(",")))
        }
        Ok(TableQuery { select, lines: InsertLines::of(table, names.into_iter()) })
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
