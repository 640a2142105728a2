//! Reads a dump without a MariaDB.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use super::dump_text::{INSERT, created_table, each_line, name_of};
use super::literal::{LiteralKind, quoted_end, split_definition};
use super::load::{DumpContent, values_of};
use crate::cancel::Cancel;
use crate::engine::join;
use crate::error::{Error, Result, SnapshotError};
use crate::schema::{Column, Table};
use crate::value::Value;

/// The tables in the dump at `path` with the names of their columns, after a check that it is complete.
pub fn read_dumped_tables(path: &Path) -> Result<Vec<(String, Vec<String>)>> {
    let columns = |create: &str| -> Vec<String> {
        let (parts, _) = split_definition(create).unwrap_or_default();
        parts.into_iter().filter(|part| part.starts_with('`')).filter_map(name_of).collect()
    };
    Ok(DumpContent::read(path)?.tables.into_iter().map(|table| (table.name, columns(&table.create))).collect())
}

/// Rows of one table with the names of their columns: one line of a dump.
pub struct DumpedRows<'a> {
    /// The table.
    pub table: &'a str,
    /// Its columns, without those that MariaDB generates.
    pub columns: &'a [String],
    /// The rows, some hundred KB of them.
    pub rows: Vec<Vec<Value>>,
}

/// Calls `each` for all rows in the dump at `path`, in its order.
///
/// Numbers with a decimal point are read as floating point numbers, as in SQLite.
///
/// # Errors
/// [`SnapshotError::Invalid`](crate::error::SnapshotError::Invalid) for a line that kumadb did not write; errors of
/// `each`.
pub fn stream_dumped_rows(path: &Path, each: &mut dyn FnMut(DumpedRows<'_>) -> Result<()>) -> Result<()> {
    each_line(path, 0, &mut |line| {
        if !line.starts_with(INSERT) {
            return Ok(true);
        }
        let Head { table, columns, rows: values } = Head::read(line).ok_or_else(|| not_ours(path))?;
        let mut rows = Vec::new();
        let read = vec![Read::AsWritten; columns.len()];
        each_row(values, &read, &mut |cells| rows.push(cells)).ok_or_else(|| not_ours(path))?;
        each(DumpedRows { table: &table, columns: &columns, rows })?;
        Ok(true)
    })
}

/// The tables in a dump, whose rows are read as from its database, and faster.
pub struct DumpedTables {
    path: PathBuf,
    /// Where the first line with rows is.
    starts: BTreeMap<String, u64>,
    /// What ends reading early.
    cancel: Cancel,
}

impl DumpedTables {
    /// Those of the dump at `path`; `cancel` ends reading them early.
    pub fn of(path: &Path, cancel: Cancel) -> Result<DumpedTables> {
        let (mut starts, mut at) = (BTreeMap::new(), 0);
        each_line(path, 0, &mut |line| {
            at += line.len() as u64;
            starts.extend(created_table(line).map(|name| (name, at)));
            Ok(true)
        })?;
        Ok(DumpedTables { path: path.into(), starts, cancel })
    }

    /// Whether it has the cells of `columns` of the table `name` as a query returns them. It has none that MariaDB generates, and more
    /// digits of a FLOAT without a fixed number of decimals.
    pub fn has(&self, name: &str, table: &Table, columns: &[String]) -> bool {
        let has = |column: &Column| {
            !column.extra.to_uppercase().contains("GENERATED") && LiteralKind::of_type(&column.sql_type).is_some()
        };
        self.starts.contains_key(name) && columns.iter().all(|name| table.column(name).is_some_and(has))
    }

    /// Calls `each` with the cells of `columns` for all rows of the table `name`, in the order of its primary key. The rows are read in
    /// another thread, while `each` runs.
    ///
    /// # Errors
    /// As [`stream_dumped_rows`].
    pub fn stream(
        &self,
        (name, table): (&str, &Table),
        columns: &[String],
        each: &mut dyn FnMut(Vec<Value>) -> Result<()>,
    ) -> Result<()> {
        let (queue, batches) = mpsc::sync_channel::<Vec<Vec<Value>>>(1);
        let read = || {
            let queue = queue;
            let start = self.starts.get(name).copied().ok_or_else(|| not_ours(&self.path))?;
            each_line(&self.path, start, &mut |line| {
                if !line.starts_with(INSERT) {
                    return Ok(false);
                }
                self.cancel.check()?;
                let head = Head::read(line).filter(|head| head.table == name).ok_or_else(|| not_ours(&self.path))?;
                let kinds = columns_of(&head, table, columns).ok_or_else(|| not_ours(&self.path))?;
                let mut batch = Vec::new();
                let mut is_taken = true;
                each_row(head.rows, &kinds, &mut |cells| {
                    batch.push(cells);
                    if batch.len() == BATCH {
                        // Who does not take it has failed, and returns the reason.
                        is_taken = is_taken && queue.send(std::mem::take(&mut batch)).is_ok();
                    }
                })
                .ok_or_else(|| not_ours(&self.path))?;
                Ok(is_taken && queue.send(batch).is_ok())
            })
        };
        let take = move || batches.iter().flatten().try_for_each(each);
        let (taken, read) = join(take, read);
        taken.and(read)
    }
}

/// Rows that are passed on together.
const BATCH: usize = 1_000;

fn not_ours(path: &Path) -> Error {
    Error::Snapshot(SnapshotError::Invalid {
        name: path.display().to_string(),
        why: "the dump contains rows in a format that kumadb does not write".into(),
    })
}

/// One line of a dump with rows.
struct Head<'a> {
    table: String,
    columns: Vec<String>,
    rows: &'a [u8],
}

impl Head<'_> {
    fn read(line: &[u8]) -> Option<Head<'_>> {
        let (text, rows) = (line.strip_prefix(INSERT)?, values_of(line)?);
        let head = std::str::from_utf8(&text[..text.len() - rows.len() - 2]).ok()?;
        let (parts, _) = split_definition(head)?;
        Some(Head { table: name_of(head)?, columns: parts.into_iter().filter_map(name_of).collect(), rows })
    }
}

/// How a cell of a dump is read.
#[derive(Clone, Copy)]
enum Read {
    /// By what is written there: a number with a decimal point is a floating point number.
    AsWritten,
    /// As a cell of this column, the first that is desired being 0.
    As(LiteralKind, usize),
    /// Not at all.
    Skipped,
}

/// How the columns in `head` are read to have those that are desired, in their order.
fn columns_of(head: &Head<'_>, table: &Table, desired: &[String]) -> Option<Vec<Read>> {
    let read = |name: &String| match desired.iter().position(|desired| desired == name) {
        Some(at) => Some(Read::As(LiteralKind::of_type(&table.column(name)?.sql_type)?, at)),
        None => Some(Read::Skipped),
    };
    let read: Vec<Read> = head.columns.iter().map(read).collect::<Option<_>>()?;
    let found = read.iter().filter(|read| matches!(read, Read::As(..))).count();
    (found == desired.len()).then_some(read)
}

/// Calls `each` with the cells of every row in `rows`; `None` if there is anything but rows.
fn each_row(mut rows: &[u8], columns: &[Read], each: &mut dyn FnMut(Vec<Value>)) -> Option<()> {
    while let Some(row) = rows.strip_prefix(b"(") {
        let (cells, after) = read_cells(row, columns)?;
        each(cells);
        rows = after.strip_prefix(b",").unwrap_or(after);
    }
    rows.is_empty().then_some(())
}

/// The cells up to the closing bracket of the row, and the rest.
fn read_cells<'a>(row: &'a [u8], columns: &[Read]) -> Option<(Vec<Value>, &'a [u8])> {
    let count = columns.iter().filter(|read| !matches!(read, Read::Skipped)).count();
    let (mut cells, mut rest) = (vec![Value::Null; count], row);
    for (at, read) in columns.iter().enumerate() {
        let quote = rest.iter().take(2).position(|byte| *byte == b'\'');
        let end = match quote {
            Some(at) => at + quoted_end(&rest[at..], b'\''),
            None => rest.iter().position(|byte| matches!(byte, b',' | b')'))?,
        };
        match read {
            Read::AsWritten => cells[at] = read_literal(&rest[..end], None)?,
            Read::As(kind, at) => cells[*at] = read_literal(&rest[..end], Some(*kind))?,
            Read::Skipped => {}
        }
        let after = rest.get(end)?;
        rest = &rest[end + 1..];
        match after {
            b',' if at + 1 < columns.len() => {}
            b')' if at + 1 == columns.len() => return Some((cells, rest)),
            _ => return None,
        }
    }
    None
}

fn read_literal(literal: &[u8], kind: Option<LiteralKind>) -> Option<Value> {
    match literal {
        b"NULL" => Some(Value::Null),
        [b'\'', text @ .., b'\''] => String::from_utf8(unescaped(text)).ok().map(Value::Text),
        [b'x', b'\'', digits @ .., b'\''] => {
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let byte = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?);
            digits.chunks(2).map(byte).collect::<Option<_>>().map(Value::Blob)
        }
        number => {
            if let Some(kind) = kind {
                return Some(kind.read(number));
            }
            let number = std::str::from_utf8(number).ok()?;
            let real = || number.parse().ok().map(Value::Real);
            number.parse().ok().map(Value::Int).or_else(real)
        }
    }
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    if !text.contains(&b'\\') {
        return text.to_vec();
    }
    let (mut out, mut bytes) = (Vec::with_capacity(text.len()), text.iter().copied());
    while let Some(byte) = bytes.next() {
        out.push(match (byte, byte == b'\\') {
            (_, true) => match bytes.next() {
                Some(b'0') => 0,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b'Z') => 0x1a,
                Some(other) => other,
                None => b'\\',
            },
            (byte, false) => byte,
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::literal::write_value;
    use super::*;

    #[test]
    fn reads_back_what_was_written() {
        let cells = [
            Value::Null,
            (-5).into(),
            0.1.into(),
            Value::Blob(vec![0, 0xff, b'\'']),
            "x'),(\n\0\x1a\\n, 'é\u{1f600}".into(),
            "".into(),
        ];
        let mut line = Vec::new();
        for cell in &cells {
            assert!(write_value(cell, &mut line));
            line.push(b',');
        }
        line.pop();
        line.extend_from_slice(b"),(1)");
        assert_eq!(read_cells(&line, &[Read::AsWritten; 6]), Some((cells.to_vec(), &b",(1)"[..])));
        for wrong in ["1,'a", "'a'b)", "1)", "1,2,3)"] {
            assert_eq!(read_cells(wrong.as_bytes(), &[Read::AsWritten; 2]), None, "{wrong}");
        }
        let desired = [Read::As(LiteralKind::Float, 1), Read::Skipped, Read::As(LiteralKind::Decimal, 0)];
        assert_eq!(read_cells(b"5,'a)',1.50)", &desired), Some((vec!["1.50".into(), 5.0.into()], &b""[..])));
    }
}
