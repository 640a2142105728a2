//! SQL text: literals, parameters, and the structure of statements.

use mysql_async::Column;
use mysql_async::consts::ColumnType;

use crate::engine::quote;
use crate::value::Value;

/// The character set number that marks bytes rather than text.
const BINARY: u16 = 63;

/// The kind of literal for the cells of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LiteralKind {
    /// An integer.
    Whole,
    /// A floating point number.
    Float,
    /// An exact decimal number: text in a [`Value`], unquoted in SQL.
    Decimal,
    /// Text, dates and times included.
    Text,
    /// Bytes.
    Bytes,
}

impl LiteralKind {
    /// The shape of the cells of `column`.
    pub(super) fn of(column: &Column) -> LiteralKind {
        use ColumnType::*;
        match column.column_type() {
            MYSQL_TYPE_TINY | MYSQL_TYPE_SHORT | MYSQL_TYPE_INT24 | MYSQL_TYPE_LONG | MYSQL_TYPE_LONGLONG
            | MYSQL_TYPE_YEAR => LiteralKind::Whole,
            MYSQL_TYPE_FLOAT | MYSQL_TYPE_DOUBLE => LiteralKind::Float,
            MYSQL_TYPE_DECIMAL | MYSQL_TYPE_NEWDECIMAL => LiteralKind::Decimal,
            MYSQL_TYPE_BIT | MYSQL_TYPE_GEOMETRY => LiteralKind::Bytes,
            MYSQL_TYPE_STRING
            | MYSQL_TYPE_VAR_STRING
            | MYSQL_TYPE_VARCHAR
            | MYSQL_TYPE_BLOB
            | MYSQL_TYPE_TINY_BLOB
            | MYSQL_TYPE_MEDIUM_BLOB
            | MYSQL_TYPE_LONG_BLOB
                if column.character_set() == BINARY =>
            {
                LiteralKind::Bytes
            }
            _ => LiteralKind::Text,
        }
    }

    /// The kind of the cells of a column of this type, `float(8,2)`; `None` for a FLOAT without decimals, which a query and a dump print
    /// differently.
    pub(super) fn of_type(sql_type: &str) -> Option<LiteralKind> {
        let name = sql_type.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        match name {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" => Some(LiteralKind::Whole),
            "float" => sql_type.starts_with("float(").then_some(LiteralKind::Float),
            "double" => Some(LiteralKind::Float),
            "decimal" => Some(LiteralKind::Decimal),
            _ => Some(LiteralKind::Text),
        }
    }

    /// The cell that MariaDB sent as `bytes`. An integer beyond 63 bits stays text.
    pub(super) fn read(self, bytes: &[u8]) -> Value {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) if self != LiteralKind::Bytes => text,
            _ => return Value::Blob(bytes.to_vec()),
        };
        let number = match self {
            LiteralKind::Whole => text.parse().ok().map(Value::Int),
            LiteralKind::Float => text.parse().ok().map(Value::Real),
            _ => None,
        };
        number.unwrap_or_else(|| Value::Text(text.to_owned()))
    }

    /// Appends the cell that MariaDB sent as `bytes` as a literal of the same value.
    pub(super) fn write(self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            LiteralKind::Whole | LiteralKind::Float | LiteralKind::Decimal => out.extend_from_slice(bytes),
            LiteralKind::Text if std::str::from_utf8(bytes).is_ok() => write_text(bytes, out),
            LiteralKind::Text | LiteralKind::Bytes => write_bytes(bytes, out),
        }
    }
}

/// Appends `value` as a literal; `false` if SQL has none for it (NaN and the infinities).
pub(super) fn write_value(value: &Value, out: &mut Vec<u8>) -> bool {
    use std::io::Write as _;
    match value {
        Value::Null => out.extend_from_slice(b"NULL"),
        Value::Int(n) => {
            // Writing into a Vec cannot fail.
            let _ = write!(out, "{n}");
        }
        Value::Real(x) if x.is_finite() => {
            // The exponent makes it a double; without one MariaDB reads an exact decimal.
            let _ = write!(out, "{x:e}");
        }
        Value::Real(_) => return false,
        Value::Text(text) => write_text(text.as_bytes(), out),
        Value::Blob(bytes) => write_bytes(bytes, out),
    }
    true
}

/// Passes INSERTs of up to `limit` bytes for all of `rows` to `each`, until that returns `false`; returns the number of
/// rows.
pub(super) fn write_inserts(
    table: &str,
    columns: &[&str],
    rows: &mut dyn Iterator<Item = Vec<Value>>,
    limit: usize,
    each: &mut dyn FnMut(Vec<u8>) -> bool,
) -> Result<u64, String> {
    let names: Vec<String> = columns.iter().map(|column| quote(column)).collect();
    let head = format!("INSERT INTO {} ({}) VALUES ", quote(table), names.join(", ")).into_bytes();
    let (mut statement, mut row_text, mut count) = (head.clone(), Vec::new(), 0);
    for row in rows {
        if row.len() != columns.len() {
            return Err(format!("{} values for {} columns of `{table}`", row.len(), columns.len()));
        }
        row_text.clear();
        row_text.push(b'(');
        for (at, cell) in row.iter().enumerate() {
            if at > 0 {
                row_text.push(b',');
            }
            if !write_value(cell, &mut row_text) {
                return Err(format!("the number {cell} cannot be stored"));
            }
        }
        row_text.push(b')');
        if statement.len() > head.len() {
            if statement.len() + row_text.len() < limit {
                statement.push(b',');
            } else if !each(std::mem::replace(&mut statement, head.clone())) {
                return Ok(count);
            }
        }
        statement.extend_from_slice(&row_text);
        count += 1;
    }
    if statement.len() > head.len() {
        each(statement);
    }
    Ok(count)
}

/// Appends `text` between quotes, always on one line.
pub(super) fn write_text(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'\'');
    text.iter().for_each(|byte| write_byte(*byte, out));
    out.push(b'\'');
}

/// Appends one byte of a text between quotes.
pub(super) fn write_byte(byte: u8, out: &mut Vec<u8>) {
    let escaped = match byte {
        0 => b'0',
        b'\n' => b'n',
        b'\r' => b'r',
        0x1a => b'Z',
        b'\'' | b'\\' => byte,
        _ => return out.push(byte),
    };
    out.extend_from_slice(&[b'\\', escaped]);
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() * 2 + 3);
    out.extend_from_slice(b"x'");
    for byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    out.push(b'\'');
}

/// `text` between quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    write_text(text.as_bytes(), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// `sql` with each `?` replaced by the literal of its parameter; the error is a message if their number differs, or if
/// a second statement follows.
pub(super) fn fill(sql: &str, params: &[Value]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(sql.len() + params.len() * 16);
    let mut params_left = params.iter();
    let mut ended = false;
    for piece in Pieces(sql) {
        match piece {
            Piece::Mark => {
                let value = params_left.next().ok_or("the statement has more `?` than there are parameters")?;
                if !write_value(value, &mut out) {
                    return Err(format!("the number {value} cannot be stored"));
                }
            }
            Piece::End => ended = true,
            Piece::Code(text) | Piece::Quoted(text) => {
                if ended && !text.trim().is_empty() {
                    return Err("only one statement is allowed, without `;`".into());
                }
                out.extend_from_slice(text.as_bytes());
            }
            Piece::Comment => out.push(b' '),
        }
    }
    match params_left.count() {
        0 => Ok(out),
        n => Err(format!("{n} more parameters than `?` in the statement")),
    }
}

/// The first word of `sql` in capitals: `SELECT`. Empty if it does not start with a word.
pub(super) fn verb(sql: &str) -> String {
    for piece in Pieces(sql) {
        match piece {
            Piece::Comment => {}
            Piece::Code(text) => {
                let text = text.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
                if !text.is_empty() {
                    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
                    return text[..end].to_ascii_uppercase();
                }
            }
            _ => break,
        }
    }
    String::new()
}

enum Piece<'a> {
    Code(&'a str),
    Quoted(&'a str),
    Comment,
    Mark,
    End,
}

/// A statement split into quoted text, comments, and the rest.
struct Pieces<'a>(&'a str);

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let text = self.0;
        let bytes = text.as_bytes();
        let starts_comment = |at: usize| match bytes[at] {
            b'#' => true,
            // `/*!` and `/*M!` contain code that MariaDB executes.
            b'/' => text[at..].starts_with("/*") && !text[at..].starts_with("/*!") && !text[at..].starts_with("/*M!"),
            b'-' => text[at..].starts_with("--") && bytes.get(at + 2).is_none_or(u8::is_ascii_whitespace),
            _ => false,
        };
        let (piece, end) = match *bytes.first()? {
            quote @ (b'\'' | b'"' | b'`') => {
                let end = quoted_end(bytes, quote);
                (Piece::Quoted(&text[..end]), end)
            }
            b'?' => (Piece::Mark, 1),
            b';' => (Piece::End, 1),
            _ if starts_comment(0) => {
                let close = if bytes[0] == b'/' { "*/" } else { "\n" };
                (Piece::Comment, text.find(close).map_or(text.len(), |at| at + close.len()))
            }
            _ => {
                let special =
                    |at: &usize| matches!(bytes[*at], b'\'' | b'"' | b'`' | b'?' | b';') || starts_comment(*at);
                let end = (1..bytes.len()).find(special).unwrap_or(bytes.len());
                (Piece::Code(&text[..end]), end)
            }
        };
        self.0 = &text[end..];
        Some(piece)
    }
}

/// The end of the quoted text at the start of `bytes`. A doubled quote reads as two adjacent texts, which is correct
/// too.
pub(super) fn quoted_end(bytes: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quote != b'`' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `create` on one line; `None` if a name in it contains a newline, which MariaDB escapes everywhere but in names.
pub(super) fn one_line(create: &str) -> Option<String> {
    let (mut out, mut rest) = (String::with_capacity(create.len()), create);
    while let Some(&byte) = rest.as_bytes().first() {
        let end = match byte {
            b'\'' | b'"' | b'`' => {
                let end = quoted_end(rest.as_bytes(), byte);
                if rest[..end].contains('\n') {
                    return None;
                }
                out.push_str(&rest[..end]);
                end
            }
            b'\n' | b'\r' => {
                out.push(' ');
                rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len())
            }
            _ => {
                let end = rest.find(['\'', '"', '`', '\n', '\r']).unwrap_or(rest.len());
                out.push_str(&rest[..end]);
                end
            }
        };
        rest = &rest[end..];
    }
    Some(out)
}

/// Splits the text between the outer brackets of `create` at its commas, and returns it with the text after the
/// brackets.
pub(super) fn split_definition(create: &str) -> Option<(Vec<&str>, &str)> {
    let bytes = create.as_bytes();
    let (mut depth, mut at, mut start, mut parts) = (0, 0, 0, Vec::new());
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'\'' | b'"' | b'`') => {
                at += quoted_end(&bytes[at..], quote);
                continue;
            }
            b'(' => {
                depth += 1;
                if depth == 1 {
                    start = at + 1;
                }
            }
            b')' => {
                depth -= 1;
                if depth == 0 {
                    parts.push(create[start..at].trim());
                    return Some((parts, create[at + 1..].trim()));
                }
            }
            b',' if depth == 1 => {
                parts.push(create[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The start of the cells of each row after `VALUES` in `line`, an INSERT without column names.
pub(super) fn row_starts(line: &[u8]) -> impl Iterator<Item = usize> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < line.len() {
            match line[at] {
                b'\'' => at += quoted_end(&line[at..], b'\''),
                b'(' => {
                    at += 1;
                    return Some(at);
                }
                _ => at += 1,
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(sql: &str, params: &[Value]) -> String {
        String::from_utf8(fill(sql, params).expect("the parameters fit")).expect("text")
    }

    #[test]
    fn fills_only_the_marks_outside_of_quotes_and_comments() {
        assert_eq!(
            filled("SELECT '?', \"?\", `a?`, 'it''s\\'?', ? /* ? */ -- ?\n, ?", &[1.into(), "x'y".into()]),
            "SELECT '?', \"?\", `a?`, 'it''s\\'?', 1    , 'x\\'y'"
        );
        assert_eq!(filled("SELECT 5--?", &[2.into()]), "SELECT 5--2");
        assert_eq!(filled("SELECT 1;\n", &[]), "SELECT 1\n");
    }

    #[test]
    fn refuses_wrong_counts_and_second_statements() {
        assert!(fill("SELECT ?", &[]).is_err());
        assert!(fill("SELECT 1", &[1.into()]).is_err());
        assert!(fill("SELECT 1; DELETE FROM `user`", &[]).is_err());
        assert!(fill("SELECT 1; /*! DELETE FROM `user` */", &[]).is_err());
        assert!(fill("SELECT ?", &[f64::NAN.into()]).is_err());
    }

    #[test]
    fn writes_each_kind_of_value() {
        let blob = Value::Blob(vec![0, 0xff]);
        assert_eq!(filled("?,?,?,?,?", &[Value::Null, (-5).into(), 0.1.into(), blob, "a\n\0\x1a\\".into()]), {
            "NULL,-5,1e-1,x'00ff','a\\n\\0\\Z\\\\'"
        });
    }

    #[test]
    fn finds_the_verb_of_a_statement() {
        for (sql, expected) in [
            (" /* hi */ -- there\n (select 1)", "SELECT"),
            ("WITH x AS (SELECT 1) SELECT * FROM x", "WITH"),
            ("/*! DELETE FROM t */", ""),
            ("`x`", ""),
            ("", ""),
        ] {
            assert_eq!(verb(sql), expected, "{sql}");
        }
    }

    #[test]
    fn splits_a_definition_at_its_outer_commas() {
        let create = "CREATE TABLE `a(b` (`x` enum('1,','2)') DEFAULT '(', KEY `k` (`x`,`y`)) ENGINE=InnoDB";
        let (parts, rest) = split_definition(create).expect("a definition");
        assert_eq!(parts, ["`x` enum('1,','2)') DEFAULT '('", "KEY `k` (`x`,`y`)"]);
        assert_eq!(rest, "ENGINE=InnoDB");
        assert_eq!(row_starts(b"(1,'a),('),(2,'\\'(')").collect::<Vec<_>>(), [1, 12]);
    }
}
