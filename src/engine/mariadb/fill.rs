//! Creates a table from a dump as fast as possible, in a database that is not in use.
//!
//! Measured for a million rows with 10.11.19 on two busy cores: LOAD DATA takes two thirds of the time of statements,
//! which MariaDB has to parse; two connections fill one table in 0.8 of the time; keys are created faster for all rows
//! than row by row, and the rows can be read back for verification meanwhile.
//!
//! `unique_checks = 0` is not set: with `foreign_key_checks = 0`, MariaDB 10.11 then collects the rows of an empty table, sorts them
//! in temporary files and inserts them at the end ("bulk insert"), which takes twice the processor time for rows in the order
//! of their primary key.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::dump_text::name_of;
use super::literal::split_definition;
use super::load::{CopiedTable, DumpContent, LOADING};
use super::{Access, Address, MariaDb};
use crate::engine::{IntegrityError, WriteKey, join, quote};
use crate::error::{Error, OperationError, Result};

/// From this number of rows on, two connections fill one table, and its keys are created after the rows. More than two
/// connections were not tried.
pub(super) const MANY: u64 = 50_000;
/// Bytes of one packet of LOAD DATA; below any `max_allowed_packet`.
const PACKET: usize = 256 * 1024;
/// The format of rows and cells after VALUES.
const FORM: &[u8] = b" CHARACTER SET utf8mb4 FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\\'' ESCAPED BY '\\\\' \
                      LINES STARTING BY '(' TERMINATED BY ')' ";
/// Lock timeout in seconds. No other process uses these tables.
const PATIENCE: u32 = 86_400;

/// A connection that fills tables.
pub(super) struct Filler {
    db: MariaDb,
    /// Whether MariaDB accepts LOAD DATA LOCAL.
    takes_files: bool,
    /// Whether it is a node of a Galera cluster.
    is_node: bool,
}

impl Filler {
    /// # Errors
    /// If the database at `address` cannot be reached.
    pub(super) fn open(address: &Address) -> Result<Filler> {
        let mut db = MariaDb::open(address, Access::Write)?;
        db.run(format!("SET SESSION {LOADING}, lock_wait_timeout = {PATIENCE}"))?;
        let takes_files = db.one("SELECT @@local_infile")?.at(0).truthy();
        let is_node = db.cluster_nodes()?.is_some();
        Ok(Filler { db, takes_files, is_node })
    }

    /// Runs one statement.
    pub(super) fn run(&mut self, sql: impl Into<Vec<u8>>) -> Result<()> {
        self.db.run(sql).map(drop)
    }

    /// Creates every table of `copy` with [`make`](Self::make); returns the broken references.
    pub(super) fn make_all(
        &mut self,
        copy: &DumpContent,
        from: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Vec<IntegrityError>> {
        let (mut done, total) = (0, copy.tables.iter().map(|table| table.rows * 2).sum());
        let mut wrong = Vec::new();
        for table in &copy.tables {
            wrong.extend(self.make(table, from, &mut |rows| progress((done + rows).min(total), total))?);
            done += table.rows * 2;
        }
        if !wrong.is_empty() {
            return Err(Error::Operation(OperationError::ChecksFailed(wrong)));
        }
        self.db.check_references(None)
    }

    /// Creates `table` with its rows from the dump at `from`, and reads all of it back; returns the difference.
    /// `progress` counts each row twice.
    fn make(&mut self, table: &CopiedTable, from: &Path, progress: &mut dyn FnMut(u64)) -> Result<Option<String>> {
        let is_large = table.rows >= MANY;
        let (create, keys) = if is_large { split_keys(&table.create) } else { (table.create.clone(), None) };
        self.db.run(create)?;
        self.put_rows(table, from, is_large, progress)?;
        let mut read_back = |db: &mut MariaDb| db.reads_back(table, &mut |rows| progress(table.rows + rows));
        let same = match keys {
            None => read_back(&mut self.db)?,
            // There, a statement that alters the table aborts those that read it.
            Some(keys) if self.is_node => {
                self.db.run(keys)?;
                read_back(&mut self.db)?
            }
            Some(keys) => {
                let mut maker = Filler::open(&self.db.address)?;
                let read_later = || {
                    // MariaDB starts to create keys only if the table is not being read.
                    thread::sleep(Duration::from_millis(200));
                    read_back(&mut self.db)
                };
                let (same, made) = join(read_later, || maker.db.run(keys));
                made?;
                same?
            }
        };
        let wrong = if !self.db.is_made_as(table)? {
            "has another definition than in the snapshot"
        } else if !same {
            "has other rows than in the snapshot"
        } else {
            return Ok(None);
        };
        Ok(Some(format!("`{}` {wrong}", table.name)))
    }

    /// Writes the rows of `table`; for a large one the second half over another connection.
    fn put_rows(
        &mut self,
        table: &CopiedTable,
        from: &Path,
        is_large: bool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        if !is_large {
            let mut written = 0;
            return self.put_part(table, from, 0..table.lines.len(), &mut |rows| {
                written += rows;
                progress(written);
            });
        }
        let (half, all) = (table.lines.len().div_ceil(2), table.lines.len());
        let (address, written) = (self.db.address.clone(), AtomicU64::new(0));
        let count = |rows| written.fetch_add(rows, Ordering::Relaxed) + rows;
        let put_others = || {
            let mut other = Filler::open(&address)?;
            other.put_part(table, from, half..all, &mut |rows| {
                count(rows);
            })
        };
        let (put, put_others) =
            join(|| self.put_part(table, from, 0..half, &mut |rows| progress(count(rows))), put_others);
        put.and(put_others)
    }

    /// Writes the rows of `table` in these of its lines in the dump at `from`.
    fn put_part(
        &mut self,
        table: &CopiedTable,
        from: &Path,
        lines: Range<usize>,
        written: &mut dyn FnMut(u64),
    ) -> Result<()> {
        table.each_insert(from, lines, &table.name, &mut |insert| {
            let (rows, name) = (insert.rows(), quote(&table.name));
            written(if self.takes_files && !holds_bytes(rows) {
                self.db.run_with_file(
                    [b"LOAD DATA LOCAL INFILE 'rows' INTO TABLE ", name.as_bytes(), FORM, insert.columns()].concat(),
                    rows,
                )?
            } else {
                self.db.run(insert.statement())?
            });
            Ok(())
        })
    }
}

impl Address {
    /// A connection that loads rows into this empty database, which is locked meanwhile: unique keys and references are not
    /// checked.
    ///
    /// # Errors
    /// [`DatabaseError::Busy`](crate::error::DatabaseError::Busy) when another kumadb works on this database.
    pub(crate) fn loader(&self, _key: &WriteKey) -> Result<MariaDb> {
        let mut db = MariaDb::open(self, Access::Write)?;
        db.lock()?;
        let checks = "foreign_key_checks = 0, unique_checks = 0";
        db.run(format!("SET SESSION {checks}, lock_wait_timeout = {PATIENCE}"))?;
        Ok(db)
    }
}

impl MariaDb {
    /// Runs a LOAD DATA that reads `rows`.
    fn run_with_file(&mut self, sql: Vec<u8>, rows: &[u8]) -> Result<u64> {
        let packets: Vec<_> = rows.chunks(PACKET).map(|packet| Ok(Bytes::copy_from_slice(packet))).collect();
        if let Some(conn) = self.conn.as_mut() {
            conn.set_infile_handler(async move { Ok(stream::iter(packets).boxed()) });
        }
        self.run(sql)
    }

    /// Whether the rows of `table` are those of the copy, cell by cell.
    pub(super) fn reads_back(&mut self, table: &CopiedTable, progress: &mut dyn FnMut(u64)) -> Result<bool> {
        let (mut at, mut same) = (0, true);
        self.write_rows(
            &table.create,
            "",
            &mut |line| {
                same &= table.lines.get(at) == Some(&blake3::hash(line));
                at += 1;
                Ok(())
            },
            progress,
        )?;
        Ok(same && at == table.lines.len())
    }
}

/// Whether `values` may contain a cell in hexadecimal digits, which LOAD DATA does not support.
fn holds_bytes(values: &[u8]) -> bool {
    values.windows(3).any(|window| matches!(window, b"(x'" | b",x'"))
}

/// `create` with the primary key only, and the statement that adds the other keys after the rows. A table whose
/// AUTO_INCREMENT column needs one of them is not changed.
pub fn split_keys(create: &str) -> (String, Option<String>) {
    let whole = || (create.to_owned(), None);
    let Some((parts, rest)) = split_definition(create) else { return whole() };
    let is_key = |part: &&str| {
        ["KEY ", "UNIQUE KEY ", "FULLTEXT KEY ", "SPATIAL KEY "].iter().any(|kind| part.starts_with(kind))
            || part.starts_with("CONSTRAINT ") && part.contains(" FOREIGN KEY (")
    };
    let (keys, columns): (Vec<&str>, Vec<&str>) = parts.into_iter().partition(is_key);
    let counted = columns.iter().find(|part| part.contains(" AUTO_INCREMENT")).and_then(|part| name_of(part));
    let primary = columns.iter().find_map(|part| part.strip_prefix("PRIMARY KEY ("));
    let stays = counted.is_none_or(|name| primary.is_some_and(|primary| primary.starts_with(&quote(&name))));
    let Some(table) = create.strip_prefix("CREATE TABLE ").and_then(name_of).filter(|_| stays && !keys.is_empty())
    else {
        return whole();
    };
    let added: Vec<String> = keys.iter().map(|key| format!("ADD {key}")).collect();
    let bare = format!("CREATE TABLE {} ({}) {rest}", quote(&table), columns.join(", "));
    (bare, Some(format!("ALTER TABLE {} {}", quote(&table), added.join(", "))))
}
