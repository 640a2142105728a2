//! Loads a dump: one transaction of deletes and inserts, no DDL, read back before it commits.
//!
//! A table is read before it is written, and keeps the rows up to the first line that differs: a history of millions of
//! heartbeats that only grew since the snapshot is truncated, not written again.
//!
//! DDL would commit in the middle, and requires privileges that the server's user may not have. So the tables must
//! exist already, the same as in the dump; AUTO_INCREMENT is not changed, which is never too low. Other tables are
//! loaded by [`shadow`](super::shadow).

use std::ops::Range;
use std::path::Path;

use super::definition::rewrite;
use super::dump_text::{CREATE, FIRST, INSERT, LAST, SETTINGS, created_table, each_line, name_of, table_end};
use super::literal::{quoted_end, row_starts, split_definition};
use super::rows::Insert;
use super::{MariaDb, SQL_MODE, Writer as _};
use crate::engine::{Counts, orphans, quote};
use crate::error::{DatabaseError, Error, OperationError, Result, SnapshotError};

/// Session settings for loading rows, as in the header of a dump.
pub(super) const LOADING: &str = "foreign_key_checks = 0, sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'";

/// The content of a dump.
pub(super) struct DumpContent {
    pub(super) tables: Vec<CopiedTable>,
}

pub(super) struct CopiedTable {
    pub(super) name: String,
    pub(super) create: String,
    pub(super) rows: u64,
    /// The hash of each of its INSERT lines, to compare rows of a database with.
    pub(super) lines: Vec<blake3::Hash>,
    /// The position of each of these lines in the file.
    pub(super) starts: Vec<u64>,
}

/// Rows per table in the dump at `path`, counted in its statements, after a check that it is complete: every line is
/// one that [`Reader::dump`](crate::engine::Reader::dump) writes, every count is right, and the last line exists. Does
/// not require a MariaDB.
pub fn count_dump(path: &Path) -> Result<Counts> {
    Ok(DumpContent::read(path)?.tables.into_iter().map(|table| (table.name, table.rows)).collect())
}

/// The tables in the dump at `path` with their definitions. Its rows are not looked at, which takes a fraction of the time.
pub(super) fn read_definitions(path: &Path) -> Result<Vec<(String, String)>> {
    let mut tables = Vec::new();
    each_line(path, 0, &mut |line| {
        if line.starts_with(CREATE) {
            let table = definition_in(line);
            let why = |why: &str| SnapshotError::Invalid { name: path.display().to_string(), why: why.to_owned() };
            tables.push(table.map_err(why)?);
        }
        Ok(true)
    })?;
    Ok(tables)
}

/// The name and the definition of the table that `line` creates; or why the dump is invalid.
fn definition_in(line: &[u8]) -> Result<(String, String), &'static str> {
    let create = line.strip_suffix(b";\n").and_then(|line| std::str::from_utf8(line).ok());
    let create = create.ok_or("the dump contains a table that does not end")?;
    let name = created_table(line).ok_or("the dump contains a table without a name")?;
    let create = rewrite(create).ok_or("the dump contains a table with a definition that kumadb does not write")?;
    Ok((name, create))
}

impl DumpContent {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let wrong = |why: &str| {
            Error::Snapshot(SnapshotError::Invalid { name: path.display().to_string(), why: why.to_owned() })
        };
        let mut dump = DumpReader { tables: Vec::new(), open: false, complete: false };
        let (mut first, mut at) = (true, 0);
        each_line(path, 0, &mut |line| {
            let start = at;
            at += line.len() as u64;
            let read = match std::mem::take(&mut first) {
                true if line.starts_with(FIRST.as_bytes()) => Ok(()),
                true => Err("the file is not a dump of kumadb"),
                false => dump.line(line, start),
            };
            read.map(|()| true).map_err(wrong)
        })?;
        if dump.complete { Ok(DumpContent { tables: dump.tables }) } else { Err(wrong("the dump is truncated")) }
    }
}

/// A dump that is being read.
struct DumpReader {
    tables: Vec<CopiedTable>,
    /// Whether the last table has not ended yet.
    open: bool,
    /// Whether the last line was read.
    complete: bool,
}

impl DumpReader {
    /// Reads a line after the first one, which begins at `start`; or returns why the dump is invalid.
    fn line(&mut self, line: &[u8], start: u64) -> Result<(), &'static str> {
        if self.complete {
            return Err("the file continues after the last line of the dump");
        }
        let (open, table) = (self.open, self.tables.last_mut());
        match line {
            _ if line.starts_with(INSERT) => {
                let is_its =
                    |table: &&mut CopiedTable| open && line[INSERT.len()..].starts_with(quote(&table.name).as_bytes());
                let table = table.filter(is_its).ok_or("the dump contains rows outside of a table")?;
                let rows = Insert::count(line, &table.name);
                table.rows += rows.ok_or("the dump contains rows that are not plain values")?;
                table.lines.push(blake3::hash(line));
                table.starts.push(start);
            }
            _ if line.starts_with(CREATE) && open => {
                return Err("the dump contains a table within a table");
            }
            _ if line.starts_with(CREATE) => {
                let (name, create) = definition_in(line)?;
                let (lines, starts) = (Vec::new(), Vec::new());
                self.tables.push(CopiedTable { name, create, rows: 0, lines, starts });
                self.open = true;
            }
            _ if line.starts_with(LAST.as_bytes()) => {
                let rows: u64 = self.tables.iter().map(|table| table.rows).sum();
                let expected = format!("{LAST}{} tables, {rows} rows\n", self.tables.len());
                if open || line != expected.as_bytes() {
                    return Err("the content of the dump does not match its last line");
                }
                self.complete = true;
            }
            [b'-', b'-', b' ', b'`', ..] => {
                let table = table.filter(|table| open && line == table_end(&table.name, table.rows).as_bytes());
                table.ok_or("the dump has fewer rows than its last line specifies")?;
                self.open = false;
            }
            _ if line.starts_with(b"-- ") || is_setting(line) || is_drop(line) || line == b"COMMIT;\n" => {}
            _ => return Err("the dump contains a line that kumadb does not write"),
        }
        Ok(())
    }
}

impl CopiedTable {
    /// Passes its rows in the INSERT lines with these numbers in the dump at `from` to `each`, as statements for the table
    /// `to`.
    ///
    /// # Errors
    /// [`SnapshotError::Changed`]: these lines have something else than when they were read before. Other rows are found when
    /// the table is read back.
    pub(super) fn each_insert(
        &self,
        from: &Path,
        lines: Range<usize>,
        to: &str,
        each: &mut dyn FnMut(&Insert) -> Result<()>,
    ) -> Result<()> {
        let changed = || Error::Snapshot(SnapshotError::Changed { path: from.to_owned() });
        let mut left = lines.len();
        let Some(start) = self.starts.get(lines.start).filter(|_| left > 0) else { return Ok(()) };
        each_line(from, *start, &mut |line| {
            each(&Insert::read(line, &self.name, to).ok_or_else(changed)?)?;
            left -= 1;
            Ok(left > 0)
        })?;
        if left == 0 { Ok(()) } else { Err(changed()) }
    }

    /// Whether both are the same table with the same rows, at any position in their files.
    pub(super) fn is_like(&self, other: &CopiedTable) -> bool {
        (&self.name, &self.create, self.rows, &self.lines) == (&other.name, &other.create, other.rows, &other.lines)
    }
}

impl MariaDb {
    pub(super) fn load_dump(
        &mut self,
        from: &Path,
        without: &[String],
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<()> {
        let mut copy = DumpContent::read(from)?;
        self.compare(&copy)?;
        copy.tables.retain(|table| !without.contains(&table.name));
        let orphans = orphans(&self.read_schema()?, without);
        self.begin()?;
        let loaded = self
            .replace_rows(&copy, from, progress)
            .and_then(|()| orphans.into_iter().try_for_each(|sql| self.change(sql).map(drop)));
        let settings = self.run(format!("SET SESSION foreign_key_checks = 1, sql_mode = '{SQL_MODE}'"));
        match loaded.and_then(|()| settings.map(drop)).and_then(|()| self.commit()) {
            Ok(()) => Ok(()),
            Err(error) => {
                let undone = self.rollback();
                // An unknown outcome stays unknown; any other error is rolled back now, and an error of that is more
                // important.
                if matches!(error, Error::Database(DatabaseError::CommitInDoubt { .. })) {
                    Err(error)
                } else {
                    undone.and(Err(error))
                }
            }
        }
    }

    /// Rejects a dump whose tables or columns differ from those of this database.
    pub(super) fn compare(&mut self, copy: &DumpContent) -> Result<()> {
        let tables: Vec<_> = copy.tables.iter().map(|table| (table.name.clone(), table.create.clone())).collect();
        match self.differences_from(&tables)? {
            none if none.is_empty() => Ok(()),
            differences => {
                Err(Error::Database(DatabaseError::CopyDiffers { database: self.address.to_string(), differences }))
            }
        }
    }

    /// How the tables or columns differ from `tables`, names with their definitions.
    pub(super) fn differences_from(&mut self, tables: &[(String, String)]) -> Result<Vec<String>> {
        let live: Vec<String> = self.tables()?.into_iter().map(|table| table.name).collect();
        let mut differences = Vec::new();
        for name in live.iter().filter(|name| !tables.iter().any(|(table, _)| table == *name)) {
            differences.push(format!("table `{name}` is not in the snapshot"));
        }
        for (name, create) in tables {
            if live.contains(name) {
                differences.extend(column_differences(name, &self.definition(name)?, create));
            } else {
                differences.push(format!("table `{name}` is only in the snapshot"));
            }
        }
        const SHOWN: usize = 5;
        let more = differences.len().saturating_sub(SHOWN);
        differences.truncate(SHOWN);
        if more > 0 {
            differences.push(format!("and {more} more"));
        }
        Ok(differences)
    }

    fn replace_rows(&mut self, copy: &DumpContent, from: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        // No check of references: the dump may contain broken ones and must be loaded unchanged; that is verified
        // below.
        self.run(format!("SET SESSION {LOADING}"))?;
        let (mut done, total) = (0, copy.tables.iter().map(|table| table.rows * 2).sum());
        let mut wrong = Vec::new();
        for table in &copy.tables {
            let now = self.definition(&table.name)?;
            let kept = self.kept_lines(table, &now, from)?;
            if kept.is_all {
                done += table.rows * 2;
                progress(done, total);
                continue;
            }
            self.change(format!("DELETE FROM {}{}", quote(&table.name), kept.rest()))?;
            table.each_insert(from, kept.lines..table.lines.len(), &table.name, &mut |rows| {
                done += self.change(rows.statement())?;
                progress(done.min(total), total);
                Ok(())
            })?;
            let (mut at, mut same) = (kept.lines, true);
            self.write_rows(
                &now,
                &kept.rest(),
                &mut |line| {
                    same &= table.lines.get(at) == Some(&blake3::hash(line));
                    at += 1;
                    Ok(())
                },
                &mut |rows| progress((done + rows).min(total), total),
            )?;
            done += table.rows;
            if !same || at != table.lines.len() {
                wrong.push(format!("`{}` has other rows than in the snapshot", table.name));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(Error::Operation(OperationError::ChecksFailed(wrong))) }
    }

    /// How much of `table`, whose definition is `now`, is equal to the dump at `from`, counted from its first row.
    fn kept_lines(&mut self, table: &CopiedTable, now: &str, from: &Path) -> Result<KeptRows> {
        let (mut at, mut same) = (0, 0);
        self.write_rows(
            now,
            "",
            &mut |line| {
                if same == at && table.lines.get(at) == Some(&blake3::hash(line)) {
                    same += 1;
                }
                at += 1;
                Ok(())
            },
            &mut |_| {},
        )?;
        let is_all = same == at && at == table.lines.len();
        let mut last = None;
        if let (false, Some(start)) = (is_all, same.checked_sub(1).and_then(|at| table.starts.get(at))) {
            each_line(from, *start, &mut |line| {
                last = last_key(&table.create, line);
                Ok(false)
            })?;
        }
        // Without a key no rows are kept.
        Ok(KeptRows { is_all, lines: if last.is_some() { same } else { 0 }, last })
    }
}

/// Which rows of a table are kept.
struct KeptRows {
    /// All: nothing has to be written.
    is_all: bool,
    /// Number of lines of the dump that are equal.
    lines: usize,
    /// The primary key, a number, and its value in the last row of these lines.
    last: Option<(String, i64)>,
}

impl KeptRows {
    /// The rows that are not kept, as the end of a statement.
    fn rest(&self) -> String {
        self.last.as_ref().map_or(String::new(), |(key, last)| format!(" WHERE {} > {last}", quote(key)))
    }
}

/// The primary key of the table in `create` and its value in the last row of `line`, if it is one integer and the first
/// column.
fn last_key(create: &str, line: &[u8]) -> Option<(String, i64)> {
    let (parts, _) = split_definition(create)?;
    let key = parts.iter().find_map(|part| part.strip_prefix("PRIMARY KEY (")?.strip_suffix(')'))?;
    let name = name_of(key).filter(|name| quote(name) == key)?;
    parts.first().filter(|first| name_of(first).as_ref() == Some(&name))?;
    let values = values_of(line)?;
    let value = &values[row_starts(values).last()?..];
    let end = value.iter().position(|byte| *byte == b',' || *byte == b')')?;
    Some((name, std::str::from_utf8(&value[..end]).ok()?.parse().ok()?))
}

/// How the columns of `now` differ from those of `then`, both CREATE TABLE statements of `table`.
fn column_differences(table: &str, now: &str, then: &str) -> Vec<String> {
    let (Some((now, now_rest)), Some((then, then_rest))) = (split_definition(now), split_definition(then)) else {
        return vec![format!("table `{table}` cannot be compared")];
    };
    let columns = |parts: Vec<&str>| -> Vec<String> {
        parts.into_iter().filter(|part| part.starts_with('`')).map(str::to_owned).collect()
    };
    let (now, then) = (columns(now), columns(then));
    let mut differences = Vec::new();
    for column in now.iter().filter(|column| !then.contains(column)) {
        differences.push(format!("`{table}` has column {column}, which is not in the snapshot"));
    }
    for column in then.iter().filter(|column| !now.contains(column)) {
        differences.push(format!("`{table}` has column {column} only in the snapshot"));
    }
    if differences.is_empty() && now != then {
        differences.push(format!("the columns of `{table}` are in another order"));
    }
    let charset = |rest: &str| -> Vec<String> {
        rest.split(' ')
            .filter(|word| word.contains("CHARSET=") || word.starts_with("COLLATE="))
            .map(str::to_owned)
            .collect()
    };
    if charset(now_rest) != charset(then_rest) {
        let (now, then) = (charset(now_rest).join(" "), charset(then_rest).join(" "));
        differences.push(format!("`{table}` has {now}, but {then} in the snapshot"));
    }
    differences
}

/// Whether `line` is one of the settings at the beginning of a dump.
fn is_setting(line: &[u8]) -> bool {
    line.starts_with(b"SET ") && SETTINGS.split_inclusive('\n').any(|setting| setting.as_bytes() == line)
}

/// Whether `line` drops one table, and does nothing else.
fn is_drop(line: &[u8]) -> bool {
    let table = line.strip_prefix(b"DROP TABLE IF EXISTS ").and_then(|rest| rest.strip_suffix(b";\n"));
    let table = table.and_then(|table| std::str::from_utf8(table).ok());
    table.is_some_and(|table| name_of(table).is_some_and(|name| quote(&name) == table))
}

/// The text after VALUES in a complete INSERT line.
pub(super) fn values_of(line: &[u8]) -> Option<&[u8]> {
    values_in(line.strip_suffix(b";\n")?)
}

/// The same in the statement of such a line.
pub(super) fn values_in(statement: &[u8]) -> Option<&[u8]> {
    const VALUES: &[u8] = b") VALUES ";
    let mut at = 0;
    while !statement[at..].starts_with(VALUES) {
        at += if *statement.get(at)? == b'`' { quoted_end(&statement[at..], b'`') } else { 1 };
        if at >= statement.len() {
            return None;
        }
    }
    Some(&statement[at + VALUES.len()..])
}

#[cfg(test)]
mod tests {
    use super::super::literal::one_line;
    use super::*;

    #[test]
    fn reads_names_and_values() {
        assert_eq!(name_of("`a``b` ("), Some("a`b".into()));
        assert_eq!(values_of(b"INSERT INTO `a` (`x) VALUES `,`y`) VALUES (1);\n"), Some(&b"(1)"[..]));
        assert_eq!(values_of(b"INSERT INTO `a` (`x`"), None);
        assert_eq!(one_line("CREATE TABLE `a` (\n  `x` int\n) X"), Some("CREATE TABLE `a` ( `x` int ) X".into()));
        assert_eq!(one_line("CREATE TABLE `a\nb` (\n"), None);
    }

    #[test]
    fn accepts_no_line_that_is_more_than_it_seems() {
        assert!(is_setting(b"SET NAMES utf8mb4;\n") && !is_setting(b"SET GLOBAL general_log_file='/etc/cron.d/x';\n"));
        assert!(is_drop(b"DROP TABLE IF EXISTS `a``b`;\n") && !is_drop(b"DROP TABLE IF EXISTS `a`; SELECT 1;\n"));
    }

    #[test]
    fn finds_the_key_of_the_last_row() {
        let create = "CREATE TABLE `t` ( `id` int(11) NOT NULL, `b` text, PRIMARY KEY (`id`) ) ENGINE=InnoDB";
        let key = |create, values: &str| {
            last_key(create, format!("INSERT INTO `t` (`id`,`b`) VALUES {values};\n").as_bytes())
        };
        assert_eq!(key(create, "(17,'x'),(18,'(19,')"), Some(("id".into(), 18)));
        assert_eq!(key(create, "(-3,NULL)"), Some(("id".into(), -3)));
        assert_eq!(key(create, "('17','x')"), None);
        let two = "CREATE TABLE `t` ( `id` int(11) NOT NULL, `b` int, PRIMARY KEY (`id`,`b`) ) ENGINE=InnoDB";
        assert_eq!(key(two, "(17,1)"), None);
    }

    #[test]
    fn names_the_columns_that_differ() {
        let then = "CREATE TABLE `t` ( `a` int(11), `b` text, KEY `k` (`a`) ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";
        let now = "CREATE TABLE `t` ( `a` int(11), `c` text ) ENGINE=InnoDB AUTO_INCREMENT=7 DEFAULT CHARSET=latin1";
        assert_eq!(column_differences("t", then, then), Vec::<String>::new());
        assert_eq!(
            column_differences("t", now, then),
            [
                "`t` has column `c` text, which is not in the snapshot",
                "`t` has column `b` text only in the snapshot",
                "`t` has CHARSET=latin1, but CHARSET=utf8mb4 in the snapshot",
            ]
        );
    }
}
