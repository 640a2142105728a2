//! Reads a dump without a MariaDB.

use std::path::Path;

use super::dump_text::{each_line, name_of};
use super::literal::{quoted_end, split_definition};
use super::load::{DumpContent, values_of};
use crate::error::{Error, Result, SnapshotError};
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
        let Some(text) = line.strip_prefix(b"INSERT INTO ") else { return Ok(true) };
        let wrong = || {
            Error::Snapshot(SnapshotError::Invalid {
                name: path.display().to_string(),
                why: "the dump contains rows in a format that kumadb does not write".into(),
            })
        };
        let values = values_of(line).ok_or_else(wrong)?;
        let head = &text[..text.len() - values.len() - 2];
        let head = std::str::from_utf8(head).map_err(|_| wrong())?;
        let table = name_of(head).ok_or_else(wrong)?;
        let (parts, _) = split_definition(head).ok_or_else(wrong)?;
        let columns: Vec<String> = parts.into_iter().filter_map(name_of).collect();
        let (mut rows, mut rest) = (Vec::new(), values);
        while let Some(row) = rest.strip_prefix(b"(") {
            let (cells, after) = read_cells(row).filter(|(cells, _)| cells.len() == columns.len()).ok_or_else(wrong)?;
            rows.push(cells);
            rest = after.strip_prefix(b",").unwrap_or(after);
        }
        if !rest.is_empty() {
            return Err(wrong());
        }
        each(DumpedRows { table: &table, columns: &columns, rows })?;
        Ok(true)
    })
}

/// The cells up to the closing bracket of the row, and the rest.
fn read_cells(row: &[u8]) -> Option<(Vec<Value>, &[u8])> {
    let (mut cells, mut rest) = (Vec::new(), row);
    loop {
        let quote = rest.iter().take(2).position(|byte| *byte == b'\'');
        let end = match quote {
            Some(at) => at + quoted_end(&rest[at..], b'\''),
            None => rest.iter().position(|byte| matches!(byte, b',' | b')'))?,
        };
        cells.push(read_literal(&rest[..end])?);
        match rest.get(end)? {
            b',' => rest = &rest[end + 1..],
            b')' => return Some((cells, &rest[end + 1..])),
            _ => return None,
        }
    }
}

fn read_literal(literal: &[u8]) -> Option<Value> {
    match literal {
        b"NULL" => Some(Value::Null),
        [b'\'', text @ .., b'\''] => String::from_utf8(unescaped(text)).ok().map(Value::Text),
        [b'x', b'\'', digits @ .., b'\''] => {
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let byte = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?);
            digits.chunks(2).map(byte).collect::<Option<_>>().map(Value::Blob)
        }
        number => {
            let number = std::str::from_utf8(number).ok()?;
            let real = || number.parse().ok().map(Value::Real);
            number.parse().ok().map(Value::Int).or_else(real)
        }
    }
}

fn unescaped(text: &[u8]) -> Vec<u8> {
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
        assert_eq!(read_cells(&line), Some((cells.to_vec(), &b",(1)"[..])));
        assert_eq!(read_cells(b"1,'a"), None);
        assert_eq!(read_cells(b"'a'b)"), None);
    }
}
