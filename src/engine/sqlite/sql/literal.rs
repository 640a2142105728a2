//! Cells as SQL literals on one line, and back.

use std::io::Write as _;

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

/// One cell, read from a literal.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Cell {
    /// It as SQLite binds it. Text may be invalid UTF-8.
    fn bound(&self) -> ValueRef<'_> {
        match self {
            Cell::Null => ValueRef::Null,
            Cell::Integer(n) => ValueRef::Integer(*n),
            Cell::Real(x) => ValueRef::Real(*x),
            Cell::Text(text) => ValueRef::Text(text),
            Cell::Blob(bytes) => ValueRef::Blob(bytes),
        }
    }

    /// Whether it is exactly `value`.
    pub(super) fn is(&self, value: ValueRef<'_>) -> bool {
        match (self.bound(), value) {
            // -0.0 is 0.0, but not the same bits.
            (ValueRef::Real(one), ValueRef::Real(other)) => one.to_bits() == other.to_bits(),
            (one, other) => one == other,
        }
    }
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.bound()))
    }
}

/// What is around bytes that are text.
const CAST: (&[u8], &[u8]) = (b"CAST(X'", b"' AS TEXT)");

/// Appends `value` as a literal on one line.
pub(super) fn write(value: ValueRef<'_>, out: &mut Vec<u8>) {
    match value {
        ValueRef::Null => out.extend_from_slice(b"NULL"),
        // Writing into a Vec cannot fail.
        ValueRef::Integer(n) => drop(write!(out, "{n}")),
        // Beyond the largest number: infinity.
        ValueRef::Real(x) if x.is_infinite() => out.extend_from_slice(if x > 0.0 { b"9e999" } else { b"-9e999" }),
        ValueRef::Real(x) => drop(write!(out, "{x:?}")),
        ValueRef::Text(text) if is_plain(text) => {
            out.push(b'\'');
            for part in text.split_inclusive(|byte| *byte == b'\'') {
                out.extend_from_slice(part);
                if part.ends_with(b"'") {
                    out.push(b'\'');
                }
            }
            out.push(b'\'');
        }
        ValueRef::Text(text) => {
            out.extend_from_slice(CAST.0);
            hex(text, out);
            out.extend_from_slice(CAST.1);
        }
        ValueRef::Blob(bytes) => {
            out.extend_from_slice(b"X'");
            hex(bytes, out);
            out.push(b'\'');
        }
    }
}

/// Whether `text` can be written between quotes on one line.
fn is_plain(text: &[u8]) -> bool {
    !text.iter().any(|byte| *byte < b' ' && *byte != b'\t') && std::str::from_utf8(text).is_ok()
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// The cells of the row at the start of `text`, `(1,'a')`, and what is after it; `None` for anything that [`write`] does not write.
pub(super) fn read_row<'a>(text: &'a [u8], cells: &mut Vec<Cell>) -> Option<&'a [u8]> {
    cells.clear();
    let mut rest = text.strip_prefix(b"(")?;
    loop {
        let (cell, after) = read(rest)?;
        cells.push(cell);
        match after.split_first()? {
            (b',', after) => rest = after,
            (b')', after) => return Some(after),
            _ => return None,
        }
    }
}

fn read(text: &[u8]) -> Option<(Cell, &[u8])> {
    if let Some(rest) = text.strip_prefix(CAST.0) {
        let (bytes, rest) = read_hex(rest)?;
        return Some((Cell::Text(bytes), rest.strip_prefix(CAST.1)?));
    }
    match text.first()? {
        b'N' => Some((Cell::Null, text.strip_prefix(b"NULL")?)),
        b'X' => {
            let (bytes, rest) = read_hex(text.strip_prefix(b"X'")?)?;
            Some((Cell::Blob(bytes), rest.strip_prefix(b"'")?))
        }
        b'\'' => read_text(&text[1..]),
        _ => {
            let end = text.iter().position(|byte| matches!(byte, b',' | b')'))?;
            let (number, rest) = (std::str::from_utf8(&text[..end]).ok()?, &text[end..]);
            if number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
                return Some((Cell::Integer(number.parse().ok()?), rest));
            }
            let is_number = number.bytes().all(|byte| byte.is_ascii_digit() || b"-.e".contains(&byte));
            Some((Cell::Real(number.parse().ok().filter(|_| is_number)?), rest))
        }
    }
}

/// The text at the start of `rest`, which is after its first quote.
fn read_text(mut rest: &[u8]) -> Option<(Cell, &[u8])> {
    let mut text = Vec::new();
    loop {
        let end = rest.iter().position(|byte| *byte == b'\'')?;
        text.extend_from_slice(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix(b"'") {
            Some(after) => {
                text.push(b'\'');
                rest = after;
            }
            None => return Some((Cell::Text(text), rest)),
        }
    }
}

/// The bytes in the hexadecimal digits at the start of `text`.
fn read_hex(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_hexdigit())?;
    let (digits, rest) = text.split_at(end);
    let (pairs, odd) = digits.as_chunks::<2>();
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect::<Option<_>>()?;
    odd.is_empty().then_some((bytes, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_comes_back_as_it_was() {
        let texts: [&[u8]; 8] =
            [b"", b"it's", b"'", b"a\nb", b"a\tb", b"\0", "h\u{e9}t\u{301} \u{1f600}".as_bytes(), b"caf\xe9 \xff"];
        let mut values = vec![ValueRef::Null, ValueRef::Blob(b""), ValueRef::Blob(b"\x00'\xff\n")];
        values.extend(texts.iter().map(|text| ValueRef::Text(text)));
        values.extend([0, 1, -1, i64::MIN, i64::MAX].map(ValueRef::Integer));
        let reals = [0.0, -0.0, 1.0, 0.1, -2.5e-300, 1e16, 1e300, f64::MAX, f64::MIN_POSITIVE, 5e-324];
        values.extend(reals.map(ValueRef::Real));
        values.extend([f64::INFINITY, f64::NEG_INFINITY].map(ValueRef::Real));
        let mut text = b"(".to_vec();
        for value in &values {
            write(*value, &mut text);
            text.push(b',');
        }
        text.pop();
        text.extend_from_slice(b"),(2)");
        assert!(!text.contains(&b'\n') && std::str::from_utf8(&text).is_ok());
        let mut cells = Vec::new();
        assert_eq!(read_row(&text, &mut cells), Some(&b",(2)"[..]));
        assert_eq!(cells.len(), values.len());
        for (cell, value) in cells.iter().zip(&values) {
            assert!(cell.is(*value), "{cell:?} is not {value:?}");
        }
        assert!(!Cell::Text(b"1".to_vec()).is(ValueRef::Integer(1)) && !Cell::Real(0.0).is(ValueRef::Real(-0.0)));
    }

    #[test]
    fn nothing_else_is_read() {
        for text in [
            "",
            "(",
            "()",
            "(1",
            "(1,",
            "(1,)",
            "('a)",
            "(X'0)",
            "(X'0')",
            "(x'00')",
            "(1+1)",
            "(random())",
            "(nan)",
            "(inf)",
            "(-)",
            "(1 )",
            "(CAST(X'00' AS BLOB))",
            "(NULLX)",
            "(99999999999999999999)",
            "(1e)",
            "1)",
        ] {
            assert_eq!(read_row(text.as_bytes(), &mut Vec::new()), None, "{text}");
        }
    }
}
