//! The rows of a dump, read as data and written again: no part of a dump is sent to MariaDB as it is.

use super::dump_text::{INSERT, name_of};
use super::literal::{quoted_end, write_byte};
use crate::engine::quote;

/// The rows in one line of a dump, as a statement that was written here.
pub(super) struct Insert {
    statement: Vec<u8>,
    /// Where the names of the columns and the rows are in it.
    columns: usize,
    rows: usize,
}

impl Insert {
    /// Reads `line`, which inserts rows into `table`, and writes it for the table `to`; `None` if it is anything else.
    pub(super) fn read(line: &[u8], table: &str, to: &str) -> Option<Insert> {
        let head = Head::read(line, table)?;
        let mut statement = format!("INSERT INTO {} ", quote(to)).into_bytes();
        let columns = statement.len();
        let names: Vec<String> = head.columns.iter().map(|name| quote(name)).collect();
        statement.extend_from_slice(format!("({}) VALUES ", names.join(",")).as_bytes());
        let rows = statement.len();
        statement.reserve(head.rows.len());
        copy_rows(head.rows, Some(&mut statement))?;
        Some(Insert { statement, columns, rows })
    }

    /// The number of rows in `line`, which inserts rows of literals into `table`; `None` if it is anything else.
    pub(super) fn count(line: &[u8], table: &str) -> Option<u64> {
        copy_rows(Head::read(line, table)?.rows, None)
    }

    /// The whole statement.
    pub(super) fn statement(&self) -> &[u8] {
        &self.statement
    }

    /// The names of the columns, in brackets.
    pub(super) fn columns(&self) -> &[u8] {
        &self.statement[self.columns..self.rows - b" VALUES ".len()]
    }

    /// The rows, each in brackets.
    pub(super) fn rows(&self) -> &[u8] {
        &self.statement[self.rows..]
    }
}

/// The parts of a line: the names of the columns, and the text of the rows.
struct Head<'a> {
    columns: Vec<String>,
    rows: &'a [u8],
}

impl Head<'_> {
    fn read<'a>(line: &'a [u8], table: &str) -> Option<Head<'a>> {
        let line = line.strip_suffix(b";\n")?.strip_prefix(INSERT)?;
        let mut rest = line.strip_prefix(quote(table).as_bytes())?.strip_prefix(b" (")?;
        let mut columns = Vec::new();
        loop {
            let mut end = 0;
            // A doubled backtick in a name reads as two adjacent names.
            while rest.get(end) == Some(&b'`') {
                end += quoted_end(&rest[end..], b'`');
            }
            let name = std::str::from_utf8(&rest[..end]).ok().and_then(name_of)?;
            // Nothing but this name: one that is not closed has another end.
            if quote(&name).as_bytes() != &rest[..end] {
                return None;
            }
            columns.push(name);
            rest = &rest[end..];
            match rest.strip_prefix(b",") {
                Some(more) => rest = more,
                None => return Some(Head { columns, rows: rest.strip_prefix(b") VALUES ")? }),
            }
        }
    }
}

/// Reads rows of literals, and writes each to `out`; returns their number, and `None` if there is anything else.
fn copy_rows(rows: &[u8], mut out: Option<&mut Vec<u8>>) -> Option<u64> {
    let (mut rest, mut count) = (rows, 0);
    loop {
        rest = rest.strip_prefix(b"(")?;
        put(&mut out, b"(");
        loop {
            rest = &rest[copy_literal(rest, &mut out)?..];
            let (end, after) = rest.split_first().filter(|(end, _)| matches!(end, b',' | b')'))?;
            put(&mut out, &[*end]);
            rest = after;
            if *end == b')' {
                break;
            }
        }
        count += 1;
        if rest.is_empty() {
            return Some(count);
        }
        rest = rest.strip_prefix(b",")?;
        put(&mut out, b",");
    }
}

fn put(out: &mut Option<&mut Vec<u8>>, bytes: &[u8]) {
    if let Some(out) = out {
        out.extend_from_slice(bytes);
    }
}

/// Reads the literal at the start of `text`: NULL, a number, text, or bytes in hexadecimal digits; returns its length.
fn copy_literal(text: &[u8], out: &mut Option<&mut Vec<u8>>) -> Option<usize> {
    let end = match text.first()? {
        b'\'' => return copy_text(text, out),
        b'N' => text.starts_with(b"NULL").then_some(4)?,
        b'x' => {
            let digits = text.strip_prefix(b"x'")?;
            let count = run(digits, u8::is_ascii_hexdigit);
            (count.is_multiple_of(2) && digits.get(count) == Some(&b'\'')).then_some(count + 3)?
        }
        _ => number_end(text)?,
    };
    put(out, &text[..end]);
    Some(end)
}

/// The same for text, whose escapes are those that a dump has.
fn copy_text(text: &[u8], out: &mut Option<&mut Vec<u8>>) -> Option<usize> {
    put(out, b"'");
    let mut at = 1;
    loop {
        let start = at;
        while !matches!(text.get(at)?, b'\'' | b'\\') {
            at += 1;
        }
        put(out, &text[start..at]);
        if text[at] == b'\'' {
            put(out, b"'");
            let is_text = std::str::from_utf8(&text[..at]).is_ok();
            return is_text.then_some(at + 1);
        }
        let byte = match text.get(at + 1)? {
            b'0' => 0,
            b'n' => b'\n',
            b'r' => b'\r',
            b'Z' => 0x1a,
            quoted @ (b'\'' | b'\\') => *quoted,
            _ => return None,
        };
        if let Some(out) = out {
            write_byte(byte, out);
        }
        at += 2;
    }
}

/// How many bytes at the start of `text` are such ones.
fn run(text: &[u8], is_part: fn(&u8) -> bool) -> usize {
    let mut count = 0;
    while text.get(count).is_some_and(is_part) {
        count += 1;
    }
    count
}

/// The end of the number at the start of `text`.
fn number_end(text: &[u8]) -> Option<usize> {
    let sign = usize::from(matches!(text.first()?, b'-' | b'+'));
    let whole = run(&text[sign..], u8::is_ascii_digit);
    let mut at = sign + whole;
    let mut digits = whole;
    if text.get(at) == Some(&b'.') {
        let fraction = run(&text[at + 1..], u8::is_ascii_digit);
        digits += fraction;
        at += 1 + fraction;
    }
    if digits > 0 && matches!(text.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'-' | b'+')));
        let exponent = run(text.get(at + 1 + sign..)?, u8::is_ascii_digit);
        at = (exponent > 0).then_some(at + 1 + sign + exponent)?;
    }
    (digits > 0).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(rows: &str) -> String {
        format!("INSERT INTO `t` (`a`) VALUES {rows};\n")
    }

    #[test]
    fn what_a_dump_has_is_written_as_it_was() {
        for (rows, count) in [
            ("(1)", 1),
            ("(NULL,-1.5e-7,'a),(\\'',x'0aff'),(2,'','',+3)", 2),
            ("('\\0\\n\\r\\Z\\\\é\u{1f600}'),(.5),(0005),(1E+20)", 4),
        ] {
            let line = line(rows);
            assert_eq!(Insert::count(line.as_bytes(), "t"), Some(count), "{rows}");
            let insert = Insert::read(line.as_bytes(), "t", "t").expect("rows");
            assert_eq!([insert.statement(), b";\n"].concat(), line.as_bytes(), "{rows}");
            assert_eq!((insert.columns(), insert.rows()), (&b"(`a`)"[..], rows.as_bytes()));
            let other = Insert::read(line.as_bytes(), "t", "o`t").expect("rows");
            assert!(other.statement().starts_with(b"INSERT INTO `o``t` (`a`) VALUES ("), "{rows}");
        }
    }

    #[test]
    fn nothing_but_rows_of_literals_is_read() {
        for rows in [
            "",
            "()",
            "(1",
            "(1),",
            "(1,)",
            "(LOAD_FILE('/etc/shadow'))",
            "((SELECT 1))",
            "(1) ON DUPLICATE KEY UPDATE a=1",
            "(1+(SELECT 1))",
            "(1-1)",
            "(1.2.3)",
            "(1e)",
            "(x'zz')",
            "(x'123')",
            "('a",
            "('it''s')",
            "('\\%')",
            "('a' 'b')",
            "(NULLIF(1,2))",
            "(1);(2)",
            "(@a)",
            "(1)--",
        ] {
            assert_eq!(Insert::count(line(rows).as_bytes(), "t"), None, "{rows}");
            assert!(Insert::read(line(rows).as_bytes(), "t", "t").is_none(), "{rows}");
        }
        assert!(Insert::count(b"INSERT INTO `t` (`a`) VALUES ('\xff');\n", "t").is_none());
        for line in ["INSERT INTO `t` (`a`,`b``c`) VALUES (1,2);\n", "INSERT INTO `t` (`a) SELECT`) VALUES (1);\n"] {
            assert!(Insert::count(line.as_bytes(), "t").is_some(), "{line}");
        }
        for line in [
            "INSERT INTO `t` (`a`) SELECT LOAD_FILE('/etc/shadow') UNION (SELECT 1) VALUES (1);\n",
            "INSERT INTO `t` (a) VALUES (1);\n",
            "INSERT INTO `t` () VALUES (1);\n",
            "INSERT INTO `other` (`a`) VALUES (1);\n",
            "INSERT INTO `t` (`a) VALUES (1);\n",
        ] {
            assert!(Insert::count(line.as_bytes(), "t").is_none(), "{line}");
        }
    }
}
