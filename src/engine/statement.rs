//! Splits a text into SQL statements.

use super::EngineKind;

/// The statements of `text` as `engine` reads it, without comments and without the `;` between them.
pub fn split(engine: EngineKind, text: &str) -> Vec<String> {
    let mut statements = vec![String::new()];
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let end = match comment_end(engine, rest).or_else(|| quoted_end(engine, rest)) {
            Some((end, kept)) => {
                if let Some(statement) = statements.last_mut() {
                    statement.push_str(if kept { &rest[..end] } else { " " });
                }
                end
            }
            None => {
                match (letter, statements.last_mut()) {
                    (';', _) => statements.push(String::new()),
                    (letter, Some(statement)) => statement.push(letter),
                    (_, None) => {}
                }
                letter.len_utf8()
            }
        };
        rest = &rest[end..];
    }
    statements.iter().map(|statement| statement.trim().to_owned()).filter(|statement| !statement.is_empty()).collect()
}

/// The end of the comment at the start of `text`; executable comments of MariaDB are not comments.
fn comment_end(engine: EngineKind, text: &str) -> Option<(usize, bool)> {
    let mariadb = engine == EngineKind::MariaDb;
    let line = text.starts_with("--") && (!mariadb || text[2..].chars().next().is_none_or(char::is_whitespace));
    if line || mariadb && text.starts_with('#') {
        return Some((text.find('\n').unwrap_or(text.len()), false));
    }
    if !text.starts_with("/*") || mariadb && (text.starts_with("/*!") || text.starts_with("/*M!")) {
        return None;
    }
    Some((text[2..].find("*/").map_or(text.len(), |at| at + 4), false))
}

/// The end of the quoted text or name at the start of `text`.
fn quoted_end(engine: EngineKind, text: &str) -> Option<(usize, bool)> {
    let bytes = text.as_bytes();
    let close = match bytes.first()? {
        quote @ (b'\'' | b'"' | b'`') => *quote,
        b'[' if engine == EngineKind::Sqlite => b']',
        _ => return None,
    };
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if engine == EngineKind::MariaDb && close != b'`' => at += 2,
            byte if byte == close => return Some((at + 1, true)),
            _ => at += 1,
        }
    }
    Some((text.len(), true))
}

/// The first word of `statement` in capitals: `SELECT`.
pub fn verb(statement: &str) -> String {
    let text = statement.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    text[..end].to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_statements_where_each_engine_does() {
        let text = "SELECT ';', \"a;b\", `c;d` -- no; more\n; /* x; y */ DELETE FROM t;;\n";
        for engine in [EngineKind::Sqlite, EngineKind::MariaDb] {
            assert_eq!(split(engine, text), ["SELECT ';', \"a;b\", `c;d`", "DELETE FROM t"]);
            assert_eq!(split(engine, "SELECT 'it''s; one'"), ["SELECT 'it''s; one'"]);
        }
        assert_eq!(split(EngineKind::MariaDb, "SELECT 'a\\';b'; # c;\nSELECT 2"), ["SELECT 'a\\';b'", "SELECT 2"]);
        assert_eq!(split(EngineKind::Sqlite, "SELECT 'a\\'; SELECT [b;c]"), ["SELECT 'a\\'", "SELECT [b;c]"]);
        assert_eq!(split(EngineKind::MariaDb, "/*! DELETE FROM t */"), ["/*! DELETE FROM t */"]);
    }

    #[test]
    fn reports_the_verb() {
        assert_eq!(verb(" (select 1)"), "SELECT");
        assert_eq!(verb("/*! DELETE */"), "");
    }
}
