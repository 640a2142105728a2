//! SQLite: `kuma.db` and its WAL; safe to read while the server runs, written only while it is stopped.

mod cell;
mod check;
mod fault;
mod format;
mod journal;
mod keep;
mod live;
mod part;
mod raw_file;
mod sound;
mod sql;
// Other systems are used to reach remote instances only.
#[cfg(target_os = "linux")]
mod strange;
mod syscalls;
mod tables;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OpenFlags, params_from_iter};

use self::cell::{Bound, cell};
pub use self::format::{is_database, other_format, snapshot_format};
use self::journal::{DATABASE, RolledBackCopy};
pub use self::journal::{JournalFile, RollbackJournal};
use self::part::copy_pages;
use self::raw_file::ConnectionCount;
pub use self::sound::Structure;
use super::{
    CheckedRows, Connect, Counts, Depth, EngineKind, IntegrityError, Reader, RowDigest, RowFilter, RowTest, WriteKey,
    Writer, quote,
};
use crate::cancel::Cancel;
use crate::error::{DatabaseError, Error, FileError, Result};
use crate::files;
use crate::schema::{Schema, Table};
use crate::value::{Row, Value};

/// Instructions of SQLite between two looks for a request to end: some milliseconds.
const LOOK: std::ffi::c_int = 100_000;

/// How often a dump begins again because a server has started.
const REOPENED: usize = 3;

/// One SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteFile {
    path: PathBuf,
    /// The copy that is read instead of it while it has the journal of an interrupted transaction: one for all readers.
    rolled_back: Arc<Mutex<Option<Arc<RolledBackCopy>>>>,
    cancel: Cancel,
}

impl SqliteFile {
    /// The database at `path`; nothing is opened yet. The folder that the user named may be a link, the file itself must
    /// not be one, nor any folder in a folder that is not ours.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        SqliteFile { path: files::resolve_folder(&path.into()), rolled_back: Arc::default(), cancel: Cancel::default() }
    }

    /// The same database; `cancel` ends work on it early.
    pub fn cancelled_by(self, cancel: Cancel) -> Self {
        SqliteFile { cancel, ..self }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that make up the database at `path` and exist: itself, `-wal`, `-shm`, `-journal`.
    pub fn parts(&self) -> Vec<PathBuf> {
        ["", "-wal", "-shm", "-journal"]
            .iter()
            .map(|suffix| self.part(suffix))
            .filter(|path| files::exists(path))
            .collect()
    }

    /// Size of its files, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.parts().iter().filter_map(|part| files::look(part).ok()?).map(|found| found.size).sum()
    }

    /// The path of one part, `-wal` for instance.
    pub fn part(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    }

    /// Reads the first page before SQLite does, because SQLite accepts an empty file as a database and reports an
    /// encrypted one as "not a database" only later.
    fn examine(&self) -> Result<()> {
        let path = &self.path;
        format::refuse_folder(path)?;
        let head = match format::read_head(path, format::HEAD) {
            Err(error) if error.is_missing() && files::exists(&self.part("-wal")) => {
                return Err(DatabaseError::WalWithoutDatabase(self.part("-wal")).into());
            }
            Err(error) if error.is_missing() => return Err(DatabaseError::NoFile(path.clone()).into()),
            read => read?,
        };
        // A link beside it would be the database's too: its WAL, for instance.
        for part in self.parts() {
            if files::look(&part)?.is_some_and(|found| found.is_link()) {
                return Err(Error::File(FileError::Link { path: part }));
            }
        }
        if head.is_empty() {
            // A database whose first commit is still in the WAL is an empty file.
            let missing = (!files::exists(&self.part("-wal"))).then(|| DatabaseError::EmptyFile(path.clone()).into());
            return missing.map_or(Ok(()), Err);
        }
        if head.starts_with(DATABASE) {
            return Ok(());
        }
        // The first page may be one that the transaction was writing.
        if matches!(self.journal()?, JournalFile::Own(journal) if journal.place(1).is_some()) {
            return Ok(());
        }
        Err(format::refuse(path, &head))
    }

    /// Opens `path`, which is this file or a URI of it, through no link.
    fn connect(&self, path: impl AsRef<Path>, flags: OpenFlags) -> Result<Connection> {
        self.open_raw(path, flags).map_err(|error| self.error(error))
    }

    /// The same, with the error of SQLite.
    fn open_raw(&self, path: impl AsRef<Path>, flags: OpenFlags) -> rusqlite::Result<Connection> {
        #[cfg(target_os = "linux")]
        syscalls::install();
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let mut connection = Connection::open_with_flags(path, flags)?;
        let cancel = self.cancel.clone();
        connection.progress_handler(LOOK, Some(move || cancel.signal().is_some()))?;
        Ok(connection)
    }

    fn open(&self, flags: OpenFlags) -> Result<Sqlite> {
        self.examine()?;
        let connection = self.connect(&self.path, flags)?;
        let sqlite = Sqlite::new(connection, self.clone());
        sqlite.connection.busy_timeout(Duration::from_secs(5)).map_err(|error| self.error(error))?;
        Ok(sqlite)
    }
}

impl Connect for SqliteFile {
    fn kind(&self) -> EngineKind {
        EngineKind::Sqlite
    }

    fn describe(&self) -> String {
        format!("`{}`", self.path.display())
    }

    fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }

    fn reader(&self) -> Result<Box<dyn Reader>> {
        Ok(Box::new(self.read_only()?))
    }

    fn writer(&self, _key: &WriteKey) -> Result<Box<dyn Writer>> {
        Ok(Box::new(self.read_write()?))
    }
}

impl SqliteFile {
    /// Opens it read-only. Such a connection neither commits nor checkpoints (verified with 2.5.3), so the server may
    /// keep running.
    ///
    /// A database in WAL mode without a `-wal` is not open in any process. It is read as immutable, because SQLite
    /// would otherwise create a `-wal` and a `-shm` that belong to the present user and that the server might not be
    /// able to open.
    ///
    /// Where a transaction was interrupted and its journal has to be rolled back first, that is done on a copy.
    pub(crate) fn read_only(&self) -> Result<Sqlite> {
        let mut sqlite = match (self.is_interrupted()?, self.is_still()?) {
            (true, _) => self.rolled_back()?,
            (false, true) => self.immutable()?,
            (false, false) => self.open(OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        };
        sqlite.check_tables_are_plain()?;
        Ok(sqlite)
    }

    /// Whether no process seems to have it open.
    fn is_still(&self) -> Result<bool> {
        Ok(self.is_wal()? && !files::exists(&self.part("-wal")))
    }

    /// Whether the file header specifies WAL mode: bytes 18 and 19 are the write and read versions.
    fn is_wal(&self) -> Result<bool> {
        self.examine()?;
        let head = format::read_head(&self.path, 20)?;
        Ok(head.get(18..20) == Some(&[2, 2]))
    }

    /// Opens it to be read without a lock; [`Sqlite::check_still`] finds out whether a process has opened it since.
    pub(crate) fn immutable(&self) -> Result<Sqlite> {
        let look = self.look();
        let connection = self.connect(self.uri()?, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)?;
        Ok(Sqlite { still: Some(look), ..Sqlite::new(connection, self.clone()) })
    }

    fn look(&self) -> Look {
        let found = files::look(&self.path).ok().flatten();
        let exists = |suffix| files::exists(&self.part(suffix));
        (found.map_or(0, |found| found.size), found.map(|found| found.modified), exists("-wal"), exists("-journal"))
    }

    /// Creates a new, empty file (mode 0600) and opens it for writing; fails if it exists.
    pub(crate) fn create(&self) -> Result<Sqlite> {
        drop(files::create_private(&self.path)?);
        let connection = self.connect(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI)?;
        let sqlite = Sqlite::new(connection, self.clone());
        sqlite.run("PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL")?;
        Ok(sqlite)
    }

    /// Opens it for writing. The caller has ensured that no server has it open.
    ///
    /// # Errors
    /// [`DatabaseError::ForeignJournal`]: SQLite would apply it.
    pub(crate) fn read_write(&self) -> Result<Sqlite> {
        if let JournalFile::Foreign(why) = self.journal()? {
            return Err(self.foreign_journal(why));
        }
        let sqlite = self.open(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI)?;
        // EXCLUSIVE: fails if any other process, of any user, has the file open, and blocks later ones. FULL instead of
        // the server's NORMAL: a commit must survive a power failure, also in WAL mode.
        sqlite.run("PRAGMA locking_mode = EXCLUSIVE; PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL")?;
        sqlite.number("SELECT count(*) FROM sqlite_schema")?;
        Ok(sqlite)
    }
}

/// One open connection.
pub(crate) struct Sqlite {
    connection: Connection,
    file: SqliteFile,
    in_transaction: bool,
    /// For a file that is read without a lock: its state when it was opened.
    still: Option<Look>,
    /// The copy that is read instead of the file, because its journal had to be rolled back.
    copy: Option<Arc<RolledBackCopy>>,
    _count: ConnectionCount,
}

/// Size, modification time, WAL and journal of a file: what changes if another process opens it for writing.
type Look = (u64, Option<DateTime<Utc>>, bool, bool);

impl Sqlite {
    fn new(connection: Connection, file: SqliteFile) -> Sqlite {
        let count = ConnectionCount::of(file.path());
        Sqlite { connection, file, in_transaction: false, still: None, copy: None, _count: count }
    }

    /// The file that is read.
    fn source(&self) -> &SqliteFile {
        self.copy.as_ref().map_or(&self.file, |copy| &copy.file)
    }

    /// From here on, nothing on this connection is ended early.
    fn finish(&mut self) -> Result<()> {
        let off = self.connection.progress_handler(0, None::<fn() -> bool>);
        off.map_err(|error| self.file.error(error))
    }

    /// Rolls back what is open: SQLite has already done it where a statement that writes was interrupted, or the disk is full.
    fn roll_back(&self) -> Result<()> {
        if self.connection.is_autocommit() { Ok(()) } else { self.run("ROLLBACK") }
    }

    fn run(&self, sql: &str) -> Result<()> {
        self.connection.execute_batch(sql).map_err(|error| self.file.error(error))
    }

    /// Runs one statement from the schema of a database. What follows it may be any other statement, and must not run.
    fn run_one(&self, sql: &str) -> Result<()> {
        self.connection.execute(sql, []).map(drop).map_err(|error| self.file.error(error))
    }

    fn number(&self, sql: &str) -> Result<u64> {
        self.connection
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .map(|n| n.unsigned_abs())
            .map_err(|error| self.file.error(error))
    }

    /// Executes `sql` for each of `rows`; returns the positions of those that changed nothing.
    pub(crate) fn execute_each(&mut self, sql: &str, rows: &[Vec<Value>]) -> Result<Vec<usize>> {
        let fail = |error| self.file.error(error);
        let mut statement = self.connection.prepare_cached(sql).map_err(fail)?;
        let mut unchanged = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            if statement.execute(params_from_iter(row.iter().map(Bound))).map_err(fail)? == 0 {
                unchanged.push(at);
            }
        }
        Ok(unchanged)
    }

    fn tables(&mut self) -> Result<Vec<String>> {
        let rows = self.query(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
            &[],
        )?;
        Ok(rows.iter().filter_map(|row| row.text("name").map(str::to_owned)).collect())
    }

    /// Rows of every table, in the transaction that is open.
    fn counts(&mut self) -> Result<Counts> {
        let tables = self.tables()?;
        tables
            .into_iter()
            .map(|table| Ok((table.clone(), self.number(&format!("SELECT count(*) FROM {}", quote(&table)))?)))
            .collect()
    }

    /// Fails if another process, for example a server that starts, has started to write the file that is read without a
    /// lock.
    pub(crate) fn check_still(&self) -> Result<()> {
        match &self.still {
            Some(look) if *look != self.file.look() => Err(fault::busy(&self.file)),
            _ => Ok(()),
        }
    }
}

impl Reader for Sqlite {
    fn kind(&self) -> EngineKind {
        EngineKind::Sqlite
    }

    fn stream(&mut self, sql: &str, params: &[Value], each: &mut dyn FnMut(Row) -> Result<()>) -> Result<()> {
        let fail = |error| self.file.error(error);
        let mut statement = self.connection.prepare_cached(sql).map_err(fail)?;
        let columns: Arc<[String]> = statement.column_names().map(str::to_owned).collect();
        let mut rows = statement.query(params_from_iter(params.iter().map(Bound))).map_err(fail)?;
        while let Some(row) = rows.next().map_err(fail)? {
            let mut cells = Vec::with_capacity(columns.len());
            for at in 0..columns.len() {
                cells.push(cell(row.get_ref(at).map_err(fail)?));
            }
            each(Row::new(columns.clone(), cells))?;
        }
        Ok(())
    }

    fn more(&self) -> Option<Box<dyn Connect>> {
        (!self.in_transaction).then(|| Box::new(self.file.clone()) as Box<dyn Connect>)
    }

    fn schema(&mut self) -> Result<Schema> {
        let mut schema = Schema::default();
        schema.tables.extend(self.tables()?.into_iter().map(|name| (name, Table::default())));
        self.read_columns(&mut schema)?;
        self.read_foreign_keys(&mut schema)?;
        self.read_indexes(&mut schema)?;
        Ok(schema)
    }

    fn differences(&mut self, from: &Path) -> Result<Vec<String>> {
        Ok(part::differences(&self.schema()?, &SqliteFile::new(from).read_only()?.schema()?))
    }

    fn digest(&mut self, table: &str, filter: Option<&RowFilter>) -> Result<RowDigest> {
        self.digest_rows(table, filter)
    }

    fn check(&mut self, depth: Depth) -> Result<Vec<IntegrityError>> {
        self.check_all(depth)
    }

    fn check_testing(&mut self, depth: Depth, test: &RowTest<'_>) -> Result<Option<CheckedRows>> {
        self.check_all_testing(depth, test)
    }

    fn dump(&mut self, to: &Path, without: &[String], progress: &mut dyn FnMut(u64, u64)) -> Result<Counts> {
        let mut left = REOPENED;
        loop {
            let dumped = self.dump_once(to, without, progress);
            match self.check_still() {
                Ok(()) => return dumped,
                Err(error) if left == 0 => return Err(error),
                // A server has started: the database is read beside it instead.
                Err(_) => left -= 1,
            }
            SqliteFile::new(to).parts().iter().try_for_each(|part| files::remove(part))?;
            *self = self.file.read_only()?;
        }
    }
}

impl Writer for Sqlite {
    fn begin(&mut self) -> Result<()> {
        self.run("BEGIN IMMEDIATE")?;
        self.in_transaction = true;
        Ok(())
    }

    fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64> {
        let mut statement = self.connection.prepare_cached(sql).map_err(|error| self.file.error(error))?;
        let changed =
            statement.execute(params_from_iter(params.iter().map(Bound))).map_err(|error| self.file.error(error))?;
        Ok(changed as u64)
    }

    fn check_changed(&mut self, changed: &BTreeSet<String>) -> Result<Vec<IntegrityError>> {
        self.check_tables(changed)
    }

    fn insert(&mut self, table: &str, columns: &[&str], rows: &mut dyn Iterator<Item = Vec<Value>>) -> Result<u64> {
        let names: Vec<String> = columns.iter().map(|column| quote(column)).collect();
        let marks = vec!["?"; columns.len()].join(", ");
        let sql = format!("INSERT INTO {} ({}) VALUES ({marks})", quote(table), names.join(", "));
        let mut statement = self.connection.prepare_cached(&sql).map_err(|error| self.file.error(error))?;
        let mut count = 0;
        for row in rows {
            statement.execute(params_from_iter(row.iter().map(Bound))).map_err(|error| self.file.error(error))?;
            count += 1;
        }
        Ok(count)
    }

    fn commit(&mut self) -> Result<()> {
        self.finish()?;
        self.run("COMMIT")?;
        self.in_transaction = false;
        // The server expects an empty WAL, as it leaves itself. No other process has the file open now.
        self.fold_committed()
    }

    fn rollback(&mut self) -> Result<()> {
        if std::mem::take(&mut self.in_transaction) { self.finish().and_then(|()| self.roll_back()) } else { Ok(()) }
    }

    fn load(&mut self, from: &Path, without: &[String], progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        if !without.is_empty() {
            return self.load_part(from, without, progress);
        }
        let source = SqliteFile::new(from).read_only()?;
        // One transaction of the target: its inode, owner and mode stay, and no stale side file can be left.
        copy_pages(&self.file, &source.connection, &mut self.connection, progress)?;
        self.fold_committed()
    }
}
