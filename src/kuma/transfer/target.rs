//! Creates the target, loads it and reads it back.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::{Mutex, PoisonError, mpsc};

use super::{Pipe, Source, TransferReport, Transform};
use crate::cancel::Cancel;
use crate::engine::mariadb::{Address, UNFINISHED, split_keys};
use crate::engine::sqlite::SqliteFile;
use crate::engine::{Connect as _, Depth, EngineKind, IntegrityError, Reader, WriteKey, Writer, join, quote};
use crate::error::{Error, OperationError, Result};
use crate::files;
use crate::kuma::create::clear;
use crate::kuma::read::{append, read_fingerprint, read_last_beat};
use crate::schema::{self, Recording, Schema};
use crate::value::Value;

/// A new database.
#[derive(Clone, Copy)]
pub enum NewDatabase<'a> {
    /// A file that does not exist.
    Sqlite(&'a Path),
    /// A database without tables.
    MariaDb(&'a Address),
}

/// From this number of rows on, a table is large: on MariaDB, its keys are created after its rows.
const MANY: u64 = 20_000;

/// In how many parts the rows of a large SQLite table are read back.
const PARTS: i64 = 8;

/// One batch of rows, in bytes of its values and in rows.
const BATCH: (usize, usize) = (256 << 10, 500);

/// Creates the tables of `recording` in `target` and loads them from `source`. Every row is read back and compared.
///
/// A target on MariaDB is marked as unfinished until it is [published](publish); [`read_content`](crate::kuma::create::read_content)
/// recognises one whose load was interrupted.
///
/// # Errors
/// Nothing is left in the target. [`DatabaseError::CannotConvert`](crate::error::DatabaseError::CannotConvert) for what it cannot store;
/// [`OperationError::ChecksFailed`] where it reads back differently.
pub fn load(
    source: Source<'_>,
    target: NewDatabase<'_>,
    recording: &Recording,
    transform: &mut dyn Transform,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<TransferReport> {
    let loaded = match target {
        NewDatabase::Sqlite(path) => load_sqlite(source, path, recording, transform, progress),
        NewDatabase::MariaDb(address) => load_mariadb(source, address, recording, transform, progress),
    };
    if loaded.is_err() {
        // The first error is reported. What cannot be removed now is recognised later.
        let _ = match target {
            NewDatabase::Sqlite(path) => files::remove(path),
            // Also where a signal has ended the load.
            NewDatabase::MariaDb(address) => {
                clear(&Address { cancel: Cancel::default(), ..address.clone() }, &tables_of(recording))
            }
        };
    }
    loaded
}

/// Removes the mark of a loaded target: from here on its database is one of the server.
pub fn publish(address: &Address) -> Result<()> {
    let sql = format!("DROP TABLE IF EXISTS {}", quote(UNFINISHED));
    address.writer(&WriteKey::new())?.execute(&sql, &[]).map(drop)
}

fn tables_of(recording: &Recording) -> Vec<String> {
    recording.schema().tables.keys().cloned().collect()
}

fn load_sqlite(
    source: Source<'_>,
    path: &Path,
    recording: &Recording,
    transform: &mut dyn Transform,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<TransferReport> {
    let sequences = read_sequences(source.reader)?;
    let mut writer = SqliteFile::new(path).create()?;
    for statement in schema::script(recording.sql).filter(|sql| sql.starts_with("PRAGMA")) {
        if !statement.contains("journal_mode") {
            writer.query(statement, &[])?;
        }
    }
    // No process uses the file before it is complete. Its indexes are sorted beside it, where the space was checked.
    let folder = files::parent(path).display().to_string().replace('\'', "''");
    for setting in ["journal_mode = OFF", "synchronous = OFF", "foreign_keys = OFF", "cache_size = -16384"] {
        writer.query(&format!("PRAGMA {setting}"), &[])?;
    }
    writer.query(&format!("PRAGMA temp_store_directory = '{folder}'"), &[])?;
    writer.begin()?;
    let (late, tables): (Vec<&str>, Vec<&str>) = schema::script(recording.sql)
        .filter(|sql| sql.starts_with("CREATE"))
        .partition(|sql| !sql.starts_with("CREATE TABLE"));
    for statement in &tables {
        writer.execute(statement, &[])?;
    }
    let mut pipe = Pipe::new(source, recording, transform, progress)?;
    let mut loaded = Loaded::default();
    for table in pipe.tables() {
        loaded.fill(&mut pipe, &mut writer, &table)?;
    }
    let schema = pipe.to.clone();
    let report = pipe.finish()?;
    report.check()?;
    for statement in late {
        writer.execute(statement, &[])?;
    }
    continue_sequences(&mut writer, &sequences, &tables)?;
    writer.commit()?;
    writer.query("PRAGMA journal_mode = WAL", &[])?;
    let mut reader = SqliteFile::new(path).reader()?;
    let queue = Mutex::new(loaded.pieces(&mut writer)?);
    let (checked, found) = join(
        || writer.check(Depth::Quick).and_then(|faults| Ok((faults, loaded.read_back(&mut writer, &queue)?))),
        || loaded.read_back(&mut *reader, &queue),
    );
    let (faults, more) = checked?;
    loaded.compare(&[found?, more], &writer.schema()?, &schema)?;
    check_faults(faults)?;
    drop((reader, writer));
    files::flush(path)?;
    Ok(report)
}

/// Continues the ids of the `tables` after the highest that the source has given out.
fn continue_sequences(writer: &mut dyn Writer, sequences: &BTreeMap<String, i64>, tables: &[&str]) -> Result<()> {
    let is_counted = |table: &str| {
        let head = format!("CREATE TABLE {} ", quote(table));
        tables.iter().any(|sql| sql.starts_with(&head) && sql.contains("AUTOINCREMENT"))
    };
    for (table, last) in sequences.iter().filter(|(table, last)| **last > 0 && is_counted(table)) {
        let cells = [Value::from(table.as_str()), Value::Int(*last)];
        let missing = "INSERT INTO `sqlite_sequence` (`name`, `seq`) SELECT ?1, 0 WHERE NOT EXISTS (SELECT 1 FROM \
                       `sqlite_sequence` WHERE `name` = ?1)";
        writer.execute(missing, &cells[..1])?;
        let highest = "UPDATE `sqlite_sequence` SET `seq` = max(`seq`, ?2) WHERE `name` = ?1";
        writer.execute(highest, &cells)?;
    }
    Ok(())
}

fn load_mariadb(
    source: Source<'_>,
    address: &Address,
    recording: &Recording,
    transform: &mut dyn Transform,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<TransferReport> {
    let sequences = read_sequences(source.reader)?;
    let mut writer = address.loader(&WriteKey::new())?;
    let mark = "(`fingerprint` varchar(64) NOT NULL, `last_beat` bigint NOT NULL)";
    writer.execute(&format!("CREATE TABLE {} {mark}", quote(UNFINISHED)), &[])?;
    let mut pipe = Pipe::new(source, recording, transform, progress)?;
    let (mut loaded, mut large) = (Loaded::default(), Vec::new());
    for statement in schema::script(recording.sql).filter(|sql| sql.starts_with("CREATE")) {
        let name = statement.strip_prefix("CREATE TABLE `").and_then(|rest| rest.split('`').next()).unwrap_or_default();
        match split_keys(statement) {
            (bare, Some(keys)) if pipe.source_rows(name)? >= MANY => {
                writer.execute(&bare, &[])?;
                large.push(keys);
            }
            _ => drop(writer.execute(statement, &[])?),
        }
    }
    for table in pipe.tables() {
        loaded.fill(&mut pipe, &mut writer, &table)?;
    }
    let schema = pipe.to.clone();
    let report = pipe.finish()?;
    report.check()?;
    for keys in large {
        writer.execute(&keys, &[])?;
    }
    let is_counted = |table: &&String| {
        let columns = schema.table(table).map_or(&[][..], |table| &table.columns);
        columns.iter().any(|column| column.extra.contains("auto_increment"))
    };
    for (table, last) in sequences.iter().filter(|(table, _)| is_counted(table)) {
        writer.execute(&format!("ALTER TABLE {} AUTO_INCREMENT = {}", quote(table), last + 1), &[])?;
    }
    let queue = Mutex::new(loaded.pieces(&mut writer)?);
    let found = loaded.read_back(&mut writer, &queue)?;
    loaded.compare(&[found], &writer.schema()?, &schema)?;
    check_faults(writer.check(Depth::References)?)?;
    let mark = [read_fingerprint(&mut writer, &schema)?.0.into(), Value::Int(read_last_beat(&mut writer)?)];
    writer.execute(&format!("INSERT INTO {} VALUES (?, ?)", quote(UNFINISHED)), &mark)?;
    Ok(report)
}

fn check_faults(faults: Vec<IntegrityError>) -> Result<()> {
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Error::Operation(OperationError::ChecksFailed(faults.iter().map(ToString::to_string).collect())))
    }
}

/// The highest id that each table of `source` has given out, where that is known.
fn read_sequences(source: &mut dyn Reader) -> Result<BTreeMap<String, i64>> {
    let sql = match source.kind() {
        EngineKind::Sqlite => {
            let exists = "SELECT 1 AS n FROM sqlite_schema WHERE name = 'sqlite_sequence'";
            if source.query(exists, &[])?.is_empty() {
                return Ok(BTreeMap::new());
            }
            "SELECT `name`, `seq` AS last FROM `sqlite_sequence`"
        }
        EngineKind::MariaDb => {
            "SELECT TABLE_NAME AS `name`, AUTO_INCREMENT - 1 AS last FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = DATABASE() AND AUTO_INCREMENT IS NOT NULL"
        }
    };
    let rows = source.query(sql, &[])?;
    Ok(rows.iter().filter_map(|row| Some((row.text("name")?.to_owned(), row.int("last")?))).collect())
}

/// What was loaded. The keys are new for each load, so that rows with equal digests cannot be prepared, and fast hashes are enough.
#[derive(Default)]
struct Loaded {
    keys: [RandomState; 2],
    tables: BTreeMap<String, LoadedTable>,
}

/// The columns of a table that have rows, and a digest of these.
struct LoadedTable {
    columns: Vec<String>,
    digest: Digest,
}

/// A digest of rows in any order: the sums of two hashes of each.
#[derive(Default, PartialEq, Eq)]
struct Digest {
    rows: u64,
    sums: [u64; 2],
}

impl Digest {
    fn add(&mut self, row: &[Value], keys: &[RandomState; 2], buffer: &mut Vec<u8>) {
        buffer.clear();
        row.iter().for_each(|cell| append(buffer, cell));
        self.rows += 1;
        for (sum, key) in self.sums.iter_mut().zip(keys) {
            *sum = sum.wrapping_add(key.hash_one(&buffer[..]));
        }
    }

    /// Adds the rows of `part`.
    fn join(&mut self, part: &Digest) {
        self.rows += part.rows;
        self.sums.iter_mut().zip(&part.sums).for_each(|(sum, more)| *sum = sum.wrapping_add(*more));
    }
}

impl Loaded {
    /// Loads the rows of `table`: they are inserted while the next ones are read.
    fn fill<W: Writer>(&mut self, pipe: &mut Pipe<'_, '_>, writer: &mut W, table: &str) -> Result<()> {
        let columns = pipe.columns(table);
        let names: Vec<&str> = columns.iter().map(String::as_str).collect();
        let (mut digest, mut buffer) = (Digest::default(), Vec::new());
        let (queue, batches) = mpsc::sync_channel::<Vec<Vec<Value>>>(2);
        let read = || {
            let (mut batch, mut size) = (Vec::new(), 0);
            pipe.pump(table, &mut |row| {
                digest.add(&row, &self.keys, &mut buffer);
                size += buffer.len();
                batch.push(row);
                if size < BATCH.0 && batch.len() < BATCH.1 {
                    return Ok(());
                }
                size = 0;
                // A receiver that does not take it has failed, and returns the reason.
                queue.send(std::mem::take(&mut batch)).map_err(|_| stopped())
            })?;
            queue.send(batch).map_err(|_| stopped())?;
            drop(queue);
            Ok(())
        };
        let insert = move || writer.insert(table, &names, &mut batches.iter().flatten()).map(drop);
        let (read, inserted): (Result<()>, _) = join(read, insert);
        inserted?;
        read?;
        self.tables.insert(table.into(), LoadedTable { columns, digest });
        Ok(())
    }

    /// The queries that read all rows: those of large tables in several parts, which can be read at the same time.
    fn pieces(&self, reader: &mut dyn Reader) -> Result<Vec<(String, String)>> {
        let mut pieces = Vec::new();
        for (table, loaded) in self.tables.iter().filter(|(_, loaded)| !loaded.columns.is_empty()) {
            let names: Vec<String> = loaded.columns.iter().map(|column| quote(column)).collect();
            let all = format!("SELECT {} FROM {}", names.join(", "), quote(table));
            if reader.kind() == EngineKind::MariaDb || loaded.digest.rows < MANY {
                pieces.push((table.clone(), all));
                continue;
            }
            let ends = reader.query(&format!("SELECT min(rowid), max(rowid) FROM {}", quote(table)), &[])?;
            let end = |at: usize| ends.first().and_then(|row| row.at(at).int()).unwrap_or(0);
            let (mut first, step) = (end(0), (end(1) - end(0)) / PARTS + 1);
            for _ in 1..PARTS {
                pieces.push((table.clone(), format!("{all} WHERE rowid >= {first} AND rowid < {}", first + step)));
                first += step;
            }
            pieces.push((table.clone(), format!("{all} WHERE rowid >= {first}")));
        }
        Ok(pieces)
    }

    /// The digests of the rows that the queries in `queue` find, by table, until it is empty.
    fn read_back(
        &self,
        reader: &mut dyn Reader,
        queue: &Mutex<Vec<(String, String)>>,
    ) -> Result<BTreeMap<String, Digest>> {
        let (mut all, mut buffer): (BTreeMap<String, Digest>, _) = (BTreeMap::new(), Vec::new());
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((table, sql)) = next else { return Ok(all) };
            let found = all.entry(table).or_default();
            reader.stream(&sql, &[], &mut |row| {
                found.add(row.cells(), &self.keys, &mut buffer);
                Ok(())
            })?;
        }
    }

    /// Fails unless exactly these rows were `found`, and the `live` tables have the columns of `schema`.
    fn compare(&self, found: &[BTreeMap<String, Digest>], live: &Schema, schema: &Schema) -> Result<()> {
        let mut wrong = Vec::new();
        for (table, loaded) in &self.tables {
            let mut sum = Digest::default();
            found.iter().filter_map(|found| found.get(table)).for_each(|part| sum.join(part));
            let columns = |schema: &Schema| schema.table(table).map(|table| table.columns.len());
            if sum != loaded.digest || columns(live) != columns(schema) {
                wrong.push(format!("{} reads back with other rows than were loaded", quote(table)));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(Error::Operation(OperationError::ChecksFailed(wrong))) }
    }
}

fn stopped() -> Error {
    Error::Operation(OperationError::ChecksFailed(vec!["the target takes no more rows".into()]))
}
