//! The lines of a dump that are not rows: where it begins, where a table ends, where it is complete.

use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::Path;

use crate::engine::quote;
use crate::error::{Error, Result};
use crate::files;

/// The start of the first line of a dump.
pub(super) const FIRST: &str = "-- kumadb dump 1 of ";

/// The start of the last line of a dump.
pub(super) const LAST: &str = "-- kumadb dump complete: ";

/// The start of the line that creates a table.
pub(super) const CREATE: &[u8] = b"CREATE TABLE ";

/// The start of a line with rows.
pub(super) const INSERT: &[u8] = b"INSERT INTO ";

/// Settings for the client that loads the dump.
pub(super) const SETTINGS: &str = "SET NAMES utf8mb4;
SET FOREIGN_KEY_CHECKS=0, UNIQUE_CHECKS=0, TIME_ZONE='+00:00', AUTOCOMMIT=0;
SET SQL_MODE='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES';
";

/// The name of the table that `line` creates, if it does.
pub(super) fn created_table(line: &[u8]) -> Option<String> {
    line.strip_prefix(CREATE).and_then(|rest| std::str::from_utf8(rest).ok()).and_then(name_of)
}

/// The line after the rows of a table.
pub(super) fn table_end(table: &str, rows: u64) -> String {
    format!("-- {}: {rows} rows\n", quote(table))
}

/// Passes the lines of the file at `path`, from position `start`, to `each`, including the newline, until it returns
/// `false`.
pub(super) fn each_line(path: &Path, start: u64, each: &mut dyn FnMut(&[u8]) -> Result<bool>) -> Result<()> {
    let mut file = files::open(path)?;
    file.seek(SeekFrom::Start(start)).map_err(Error::file("read", path))?;
    let (mut reader, mut line) = (BufReader::with_capacity(1 << 18, file), Vec::new());
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(Error::file("read", path))? == 0 {
            return Ok(());
        }
        if !each(&line)? {
            return Ok(());
        }
    }
}

/// The name between backticks at the start of `text`, if it ends there.
pub(super) fn name_of(text: &str) -> Option<String> {
    let mut rest = text.strip_prefix('`')?;
    let mut name = String::new();
    loop {
        let (part, after) = rest.split_once('`')?;
        name.push_str(part);
        // A doubled backtick is a part of the name.
        let Some(next) = after.strip_prefix('`') else { return Some(name) };
        name.push('`');
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_names_that_end() {
        for (text, name) in [
            ("`a`", Some("a")),
            ("`a``b` (", Some("a`b")),
            ("```` int", Some("`")),
            ("`é` text", Some("é")),
            ("``", Some("")),
            ("", None),
            ("a", None),
            ("`", None),
            ("`é", None),
            ("`a``", None),
            ("```", None),
        ] {
            assert_eq!(name_of(text).as_deref(), name, "{text}");
        }
    }
}
