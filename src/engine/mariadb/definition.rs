//! The definition of a table in a dump, read word by word and written again: what MariaDB executes was written here.
//!
//! The words are a table: those that MariaDB shows for tables that Uptime Kuma and its users can have.

use super::dump_text::name_of;
use super::literal::{quoted_end, split_definition};
use crate::engine::quote;

/// Words that may be in a definition: parts of a table, types, attributes, and functions that draw values from nothing but
/// the row and the clock.
const WORDS: &[&str] = &[
    // Parts of a table.
    "CREATE",
    "TABLE",
    "PRIMARY",
    "UNIQUE",
    "FULLTEXT",
    "SPATIAL",
    "KEY",
    "CONSTRAINT",
    "FOREIGN",
    "REFERENCES",
    "ON",
    "DELETE",
    "UPDATE",
    "CASCADE",
    "RESTRICT",
    "NO",
    "ACTION",
    "SET",
    "NULL",
    "USING",
    "BTREE",
    "HASH",
    "RTREE",
    "CHECK",
    "ASC",
    "DESC",
    "IGNORED",
    // Types.
    "TINYINT",
    "SMALLINT",
    "MEDIUMINT",
    "INT",
    "INTEGER",
    "BIGINT",
    "DECIMAL",
    "NUMERIC",
    "FLOAT",
    "DOUBLE",
    "BIT",
    "YEAR",
    "CHAR",
    "VARCHAR",
    "BINARY",
    "VARBINARY",
    "ENUM",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "DATETIME",
    "TINYTEXT",
    "TEXT",
    "MEDIUMTEXT",
    "LONGTEXT",
    "TINYBLOB",
    "BLOB",
    "MEDIUMBLOB",
    "LONGBLOB",
    "JSON",
    "UUID",
    "INET4",
    "INET6",
    "VECTOR",
    "GEOMETRY",
    "POINT",
    "LINESTRING",
    "POLYGON",
    "MULTIPOINT",
    "MULTILINESTRING",
    "MULTIPOLYGON",
    "GEOMETRYCOLLECTION",
    // Attributes.
    "UNSIGNED",
    "SIGNED",
    "ZEROFILL",
    "CHARACTER",
    "CHARSET",
    "COLLATE",
    "NOT",
    "DEFAULT",
    "AUTO_INCREMENT",
    "COMMENT",
    "GENERATED",
    "ALWAYS",
    "AS",
    "VIRTUAL",
    "PERSISTENT",
    "STORED",
    "INVISIBLE",
    "WITHOUT",
    "SYSTEM",
    "VERSIONING",
    "COMPRESSED",
    "REF_SYSTEM_ID",
    // Options.
    "ENGINE",
    "ROW_FORMAT",
    "KEY_BLOCK_SIZE",
    "PAGE_COMPRESSED",
    "PAGE_COMPRESSION_LEVEL",
    "STATS_PERSISTENT",
    "STATS_AUTO_RECALC",
    "STATS_SAMPLE_PAGES",
    "CHECKSUM",
    "TABLE_CHECKSUM",
    "PAGE_CHECKSUM",
    "DELAY_KEY_WRITE",
    "MAX_ROWS",
    "MIN_ROWS",
    "AVG_ROW_LENGTH",
    "PACK_KEYS",
    "TRANSACTIONAL",
    "ENCRYPTED",
    "ENCRYPTION_KEY_ID",
    // Expressions.
    "AND",
    "OR",
    "XOR",
    "IN",
    "IS",
    "LIKE",
    "REGEXP",
    "BETWEEN",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "IF",
    "TRUE",
    "FALSE",
    "DIV",
    "MOD",
    "INTERVAL",
    "SECOND",
    "MINUTE",
    "HOUR",
    "DAY",
    "MONTH",
    "CURRENT_TIMESTAMP",
    "CURRENT_DATE",
    "CURDATE",
    "CURTIME",
    "NOW",
    "UNIX_TIMESTAMP",
    "FROM_UNIXTIME",
    "DATE_FORMAT",
    "UTC_TIMESTAMP",
    "JSON_VALID",
    "JSON_VALUE",
    "JSON_EXTRACT",
    "JSON_UNQUOTE",
    "JSON_LENGTH",
    "JSON_OBJECT",
    "JSON_ARRAY",
    "JSON_COMPACT",
    "CONCAT",
    "CONCAT_WS",
    "COALESCE",
    "IFNULL",
    "NULLIF",
    "LOWER",
    "UPPER",
    "LCASE",
    "UCASE",
    "CHAR_LENGTH",
    "LENGTH",
    "OCTET_LENGTH",
    "LEFT",
    "RIGHT",
    "SUBSTR",
    "TRIM",
    "LTRIM",
    "RTRIM",
    "REPLACE",
    "REVERSE",
    "LOCATE",
    "HEX",
    "UNHEX",
    "MD5",
    "SHA1",
    "SHA2",
    "CRC32",
    "CAST",
    "CONVERT",
    "ROUND",
    "FLOOR",
    "CEILING",
    "ABS",
    "SIGN",
    "GREATEST",
    "LEAST",
    "RAND",
];

/// Engines that keep the rows of a table in its own database.
const ENGINES: &[&str] = &["INNODB", "ARIA", "MYISAM", "MEMORY", "ROCKSDB"];

/// Characters that may be outside of names, texts, numbers and words.
const MARKS: &[u8] = b"(),=<>+-*/%|&.!";

/// The statement `create` of a dump, written again; `None` if it is anything but the definition of a table of its own database.
pub(super) fn rewrite(create: &str) -> Option<String> {
    let (mut rest, mut out) = (create, String::with_capacity(create.len()));
    // The last word, and what came after it.
    let mut before = String::new();
    while let Some(&byte) = rest.as_bytes().first() {
        let end = match byte {
            b' ' => {
                out.push(' ');
                rest = rest.trim_start_matches(' ');
                continue;
            }
            b'`' => {
                let end = rewrite_quoted(rest, '`', &mut out)?;
                before.clear();
                end
            }
            b'\'' => {
                let end = rewrite_quoted(rest, '\'', &mut out)?;
                before.clear();
                end
            }
            b'0'..=b'9' => {
                let end = rest.find(|c: char| !c.is_ascii_hexdigit() && !matches!(c, '.' | 'x')).unwrap_or(rest.len());
                out.push_str(&rest[..end]);
                before.clear();
                end
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                let word = rest[..end].to_ascii_uppercase();
                is_known(&word, &before, &rest[end..]).then_some(())?;
                out.push_str(&rest[..end]);
                before = format!("{before} {word}");
                end
            }
            mark if MARKS.contains(&mark) => {
                // A comment, or what MariaDB executes in one.
                if ["--", "/*", "*/"].iter().any(|comment| rest.starts_with(comment)) {
                    return None;
                }
                out.push(char::from(mark));
                match mark {
                    b'=' => before.push('='),
                    _ => before.clear(),
                }
                1
            }
            _ => return None,
        };
        rest = &rest[end..];
    }
    Some(out)
}

/// Whether `word` may come after the words `before` and before `after`.
fn is_known(word: &str, before: &str, after: &str) -> bool {
    let is_name = |kind: &str| before.ends_with(kind);
    if is_name(" ENGINE=") {
        return ENGINES.contains(&word);
    }
    // Values of options, and the names of character sets and collations. None of them is called.
    if is_name("=") || is_name(" COLLATE") || is_name(" CHARACTER SET") {
        return !after.starts_with('(');
    }
    // `_utf8mb4'text'`, `b'01'`, `x'0a'`.
    if after.starts_with('\'') && (word.starts_with('_') || ["B", "X"].contains(&word)) {
        return true;
    }
    WORDS.contains(&word)
}

/// Writes the name or text at the start of `text` again; returns its length.
fn rewrite_quoted(text: &str, quote: char, out: &mut String) -> Option<usize> {
    let (bytes, mark) = (text.as_bytes(), quote as u8);
    let mut end = 0;
    // A doubled quote reads as two adjacent ones.
    while bytes.get(end) == Some(&mark) {
        let next = end + quoted_end(&bytes[end..], mark);
        if next < end + 2 || bytes[next - 1] != mark {
            return None;
        }
        end = next;
    }
    out.push(quote);
    let mut inside = text[1..end - 1].chars();
    while let Some(c) = inside.next() {
        match c {
            // The second of a pair, or an escape, of which the text of a definition has four.
            c if c == quote => inside.next().filter(|next| *next == quote).map(|_| out.extend([c, c]))?,
            '\\' if quote == '\'' => match inside.next()? {
                next @ ('0' | 'n' | 'r' | '\\' | '\'') => out.extend(['\\', next]),
                _ => return None,
            },
            '\n' | '\r' | '\0' => return None,
            c => out.push(c),
        }
    }
    out.push(quote);
    Some(end)
}

/// One column of a definition.
pub(super) struct DefinedColumn {
    pub(super) name: String,
    /// The rest of its definition, from the type on.
    pub(super) rest: String,
    /// Whether MariaDB computes its values.
    pub(super) is_generated: bool,
}

impl DefinedColumn {
    /// The expression that reads a cell without loss.
    pub(super) fn cell(&self) -> String {
        let name = quote(&self.name);
        // MariaDB prints a FLOAT without a fixed number of decimals with six digits; as a double it prints all.
        let loses = self.rest == "float" || self.rest.starts_with("float ");
        if loses { format!("CAST({name} AS DOUBLE)") } else { name }
    }
}

/// The columns of the table in `create`, and the names of those in its primary key.
pub(super) fn columns_and_key(create: &str) -> Option<(Vec<DefinedColumn>, Vec<String>)> {
    let (parts, _) = split_definition(create)?;
    let (mut columns, mut key) = (Vec::new(), Vec::new());
    for part in parts {
        if part.starts_with('`') {
            let (name, rest) = (name_of(part)?, part[quoted_end_of_name(part)..].trim_start().to_owned());
            let is_generated = find_outside_quotes(&rest, " GENERATED ALWAYS AS ").is_some();
            columns.push(DefinedColumn { name, rest, is_generated });
        } else if let Some(rest) = part.strip_prefix("PRIMARY KEY (") {
            key = key_columns(rest)?;
        }
    }
    Some((columns, key))
}

/// The columns of the key at the start of `text`, up to its closing bracket. After a name there may be a length or an order:
/// `` `a`,`b`(10) DESC) COMMENT 'not `c`' ``.
fn key_columns(mut text: &str) -> Option<Vec<String>> {
    let (mut key, mut depth) = (Vec::new(), 1);
    while depth > 0 {
        match text.bytes().next()? {
            b'`' => {
                key.push(name_of(text)?);
                text = &text[quoted_end_of_name(text)..];
                continue;
            }
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        text = text.get(1..)?;
    }
    Some(key)
}

/// The length of the quoted name at the start of `text`, in which a backtick is doubled.
fn quoted_end_of_name(text: &str) -> usize {
    let mut end = 0;
    while text.as_bytes().get(end) == Some(&b'`') {
        end += quoted_end(&text.as_bytes()[end..], b'`');
    }
    end
}

/// Where `word` is in `text`, outside of names and texts.
pub(super) fn find_outside_quotes(text: &str, word: &str) -> Option<usize> {
    let (bytes, mut at) = (text.as_bytes(), 0);
    while at < bytes.len() {
        match bytes[at] {
            mark @ (b'`' | b'\'') => at += quoted_end(&bytes[at..], mark),
            _ if bytes[at..].starts_with(word.as_bytes()) => return Some(at),
            _ => at += 1,
        }
    }
    None
}

/// `create` without the next id.
pub(super) fn without_counter(create: &str) -> String {
    match split_counter(create) {
        Some((before, _, after)) => format!("{before}{after}"),
        None => create.to_owned(),
    }
}

/// The next id of the table in `create`.
pub(super) fn counter(create: &str) -> u64 {
    split_counter(create).and_then(|(_, number, _)| number.parse().ok()).unwrap_or(0)
}

/// `create` split before, in and after the AUTO_INCREMENT option.
fn split_counter(create: &str) -> Option<(&str, &str, &str)> {
    const OPTION: &str = " AUTO_INCREMENT=";
    let (_, rest) = split_definition(create)?;
    let end = create.len() - rest.len();
    let at = end + rest.find(OPTION)?;
    let digits = &create[at + OPTION.len()..];
    let length = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    Some((&create[..at], &digits[..length], &digits[length..]))
}

#[cfg(test)]
mod tests {
    use super::super::literal::one_line;
    use super::*;

    #[test]
    fn every_recorded_table_is_written_as_it_is() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/mariadb");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).expect("recordings") {
            let text = std::fs::read_to_string(entry.expect("a file").path()).expect("a text");
            for statement in text.split(";\n").filter_map(|part| part.find("CREATE TABLE").map(|at| &part[at..])) {
                let create = one_line(statement.trim_end_matches(';').trim()).expect("a definition");
                assert_eq!(rewrite(&create).as_ref(), Some(&create));
                count += 1;
            }
        }
        assert!(count > 100, "{count}");
    }

    #[test]
    fn usual_definitions_are_written_as_they_are() {
        for create in [
            "CREATE TABLE `t(` ( `a` varchar(255) DEFAULT '(x(' CHECK (json_valid(`a`)), `b` timestamp(3) NULL DEFAULT \
             current_timestamp(3), PRIMARY KEY (`a`), KEY `k` (`a`(191)), CONSTRAINT `c` FOREIGN KEY (`a`) REFERENCES `u` (`id`) ON \
             DELETE SET NULL ) ENGINE=InnoDB",
            "CREATE TABLE `a``b` ( `directory` int(11) COMMENT 'it''s \\\\ DATA DIRECTORY; -- x' ) ENGINE=InnoDB AUTO_INCREMENT=5 DEFAULT \
             CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci ROW_FORMAT=DYNAMIC COMMENT='x'",
            "CREATE TABLE `t` ( `a` text CHARACTER SET latin1 COLLATE latin1_swedish_ci DEFAULT NULL, `b` bit(1) DEFAULT b'0', `c` \
             int(11) GENERATED ALWAYS AS (`a` + 1) VIRTUAL, `d` text AS (concat(`a`,_utf8mb4'x')) STORED ) ENGINE=InnoDB",
        ] {
            assert_eq!(rewrite(create).as_deref(), Some(create));
        }
    }

    #[test]
    fn a_definition_that_is_more_than_it_seems_is_not_read() {
        for rest in [
            "DATA DIRECTORY='/etc'",
            "AS SELECT LOAD_FILE('/etc/shadow')",
            "ENGINE=FEDERATED CONNECTION='x'",
            "ENGINE=FEDERATED",
            "ENGINE=CONNECT FILE_NAME='/etc/shadow'",
            "UNION=(`a`)",
            "ENGINE=InnoDB; SELECT 1",
            "COMMENT='x",
            "COMMENT=\"x\"",
        ] {
            assert_eq!(rewrite(&format!("CREATE TABLE `t` ( `a` int ) {rest}")), None, "{rest}");
        }
        for part in [
            "text DEFAULT (load_file('/etc/shadow'))",
            "text AS (LOAD_FILE ('x'))",
            "text AS (`other`.f('x'))",
            "int /*! , b int */",
            "int -- x",
            "int # x",
            "int DEFAULT (@@version)",
            "int DEFAULT (sleep(5))",
            "int COLLATE f('x')",
            "int DEFAULT ((SELECT 1))",
        ] {
            let create = format!("CREATE TABLE `t` ( `a` {part} ) ENGINE=InnoDB");
            assert_eq!(rewrite(&create), None, "{part}");
        }
    }

    #[test]
    fn finds_the_columns_that_a_row_stores_and_those_of_the_key() {
        let create = "CREATE TABLE `t` ( `a``b` float NOT NULL COMMENT ' GENERATED ALWAYS AS ', `c` varchar(9) COLLATE utf8mb4_bin \
                      GENERATED ALWAYS AS (concat('`',`a``b`)) STORED, `d` float(8,2) DEFAULT NULL, `e` float unsigned, PRIMARY KEY \
                      (`a``b`,`d`(3) DESC) USING BTREE COMMENT 'not `c`, nor `e', KEY `f` (`e`) ) ENGINE=InnoDB";
        let (columns, key) = columns_and_key(create).expect("a definition");
        let columns: Vec<(&str, bool)> = columns.iter().map(|one| (one.name.as_str(), one.is_generated)).collect();
        assert_eq!(columns, [("a`b", false), ("c", true), ("d", false), ("e", false)]);
        assert_eq!(key, ["a`b", "d"]);
        let (columns, _) = columns_and_key(create).expect("a definition");
        let cells: Vec<String> = columns.iter().map(DefinedColumn::cell).collect();
        assert_eq!(cells, ["CAST(`a``b` AS DOUBLE)", "`c`", "`d`", "CAST(`e` AS DOUBLE)"]);
        assert!(columns_and_key("CREATE TABLE `t`").is_none());
    }
}
