//! SQL text of either engine: where its statements end.

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

/// Whether the INSERT that `row` is added to ends with it, in a dump whose unchanged parts are to stay the same bytes from day to
/// day: the row itself decides, so rows that are deleted or added before it do not move the ends of the other statements. About
/// one row of 512 does.
pub(crate) fn ends_insert(row: &[u8]) -> bool {
    /// Enough for the id, and for what differs in tables without one.
    const READ: usize = 48;
    // FNV-1a, whose low bits reach the high ones by the last multiplication.
    let hash = row
        .iter()
        .take(READ)
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_an_insert_after_about_512_rows() {
        for row in [|id| format!("({id},0,7,1,'200 - OK')"), |id| format!("('monitor {id}',NULL)")] {
            let ends = (0..512_000).filter(|id| ends_insert(row(*id).as_bytes())).count();
            assert!((900..1100).contains(&ends), "{ends} of 1000");
        }
    }

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
