//! Staged copies: taken before anything is written; exact, flushed, read back and compared with the source.

use std::path::{Path, PathBuf};

use chrono::Utc;

use super::manifest::{Changed, FORMAT, MARIADB, Manifest, Member, SQLITE, Undone};
use crate::cancel::Cancel;
use crate::engine::mariadb::{DumpedTables, count_dump};
use crate::engine::space::{Layout, TableSpace, read_space};
use crate::engine::sqlite::{SqliteFile, Structure};
use crate::engine::{Connect, Counts, Depth, EngineKind, IntegrityError, Reader, join};
use crate::error::{DatabaseError, Error, Result, SnapshotError};
use crate::files::{self, EqualCopy};
use crate::kuma::read::{history, read_counts, read_database};
use crate::model::state::Database;

/// Space for the transaction itself, the journal and the packed snapshot, in bytes.
const SPARE: u64 = 1 << 20;

/// The check of the structure of a SQLite file, by our own reader where it can: manifests of earlier versions called it
/// quick_check.
const STRUCTURE: &str = "structure";

/// Called with the progress: done, total.
type Progress<'p> = &'p mut dyn FnMut(u64, u64);

/// A verified copy in a folder of its own, not compressed yet.
#[derive(Clone, Debug)]
pub struct StagedCopy {
    /// Its folder.
    pub folder: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    /// Whether its files were read back from the disk since they were written.
    pub(super) read_back: bool,
}

/// How the copy is made.
pub enum CopySource<'a> {
    /// A SQLite database that no process has open: its files are copied as they are, over what [`begin_copy`] has copied.
    Still(&'a SqliteFile, Option<EqualCopy>),
    /// A database of the server, in use or not: one consistent snapshot through the engine.
    Live(&'a dyn Connect),
    /// The same for a MariaDB database that is open already, and was identified over this connection; it may be empty or belong to
    /// another application.
    Opened(&'a dyn Connect, Opened),
}

/// An open database and what it is.
pub type Opened = (Box<dyn Reader>, Database);

/// The instance of a snapshot, and why it is taken.
pub struct SnapshotLabel {
    /// The instance.
    pub instance: String,
    /// Its location.
    pub origin: String,
    /// The verb.
    pub reason: String,
    /// db-config.json of the instance, where it has one.
    pub config: Option<PathBuf>,
    /// Taken by a write, to roll it back.
    pub undo: bool,
    /// The undo snapshot that this write restores.
    pub undoes: Option<Undone>,
}

/// The contents of a copy, and how thoroughly it is verified.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyScope {
    /// Exclude the history: heartbeats and statistics.
    pub config_only: bool,
    /// SQLite: rewrite the copy without free pages.
    pub compact: bool,
    /// Let the engine check everything it can, however long it takes.
    pub full_check: bool,
    /// Include the screenshots of browser monitors.
    pub screenshots: bool,
}

impl CopyScope {
    /// The tables of `database` whose rows are excluded.
    fn without(&self, database: &Database) -> Vec<String> {
        if self.config_only { history(&database.schema) } else { Vec::new() }
    }
}

impl StagedCopy {
    /// Takes the copy into the new folder `folder` and verifies it.
    ///
    /// # Errors
    /// [`DatabaseError::Damaged`] when the source itself is damaged, [`SnapshotError::Differs`] when the copy differs from the source,
    /// [`FileError::NoSpace`](crate::error::FileError::NoSpace) before anything is written.
    pub fn take(
        source: CopySource<'_>,
        folder: &Path,
        label: &SnapshotLabel,
        scope: &CopyScope,
        progress: Progress<'_>,
    ) -> Result<StagedCopy> {
        if !matches!(source, CopySource::Still(_, Some(_))) {
            files::remove_folder(folder)?;
            files::make_folder(folder)?;
        }
        let proof = match source {
            CopySource::Still(file, early) => copy_still(file, folder, early, progress)?,
            CopySource::Live(connect) => match connect.kind() {
                EngineKind::Sqlite => copy_live(connect, folder, scope, progress)?,
                EngineKind::MariaDb => dump_live(connect, open(connect)?, folder, scope, progress)?,
            },
            CopySource::Opened(connect, opened) => dump_live(connect, opened, folder, scope, progress)?,
        };
        let Proof { engine, database, counts, without, pages, faults, verified, member: copy, read_back } = proof;
        let mut members = vec![copy];
        if let Some(config) = label.config.as_ref().filter(|config| files::exists(config)) {
            files::copy_regular(config, &folder.join("db-config.json"))?;
            members.push(member(folder, "db-config.json")?);
        }
        let manifest = Manifest {
            format: FORMAT,
            id: new_id(),
            created: Utc::now(),
            made_by: format!("kumadb {}", env!("CARGO_PKG_VERSION")),
            reason: label.reason.clone(),
            instance: label.instance.clone(),
            origin: label.origin.clone(),
            engine,
            raw: false,
            undo: label.undo,
            changed: None,
            undoes: label.undoes.as_ref().map(|undone| undone.id.clone()),
            undoes_taken: label.undoes.as_ref().map(|undone| undone.taken),
            redoes: label.undoes.as_ref().and_then(|undone| undone.redoes.clone()),
            release: database.release.to_string(),
            migrations: database.migrations.into_iter().collect(),
            counts,
            without,
            pages,
            faults,
            members,
            archive_blake3: None,
            archive_size: None,
            verified,
        };
        // Written last: the manifest makes the folder complete.
        manifest.write(folder)?;
        Ok(StagedCopy { folder: folder.to_owned(), manifest, read_back })
    }

    /// The tables of a dump; `None` of a SQLite database. `cancel` ends reading them early.
    pub fn dumped_tables(&self, cancel: Cancel) -> Result<Option<DumpedTables>> {
        match self.manifest.engine {
            EngineKind::Sqlite => Ok(None),
            EngineKind::MariaDb => DumpedTables::of(&self.database(), cancel).map(Some),
        }
    }

    /// Opens a copy that an earlier run took.
    ///
    /// # Errors
    /// [`SnapshotError::Differs`] when it is incomplete, has an unexpected member, or a file has another hash than before.
    pub fn open(folder: &Path) -> Result<StagedCopy> {
        Self::open_until(folder, &Cancel::default())
    }

    /// The same, until `cancel` ends it.
    pub(super) fn open_until(folder: &Path, cancel: &Cancel) -> Result<StagedCopy> {
        let manifest = Manifest::read(folder)?
            .ok_or_else(|| Error::Snapshot(SnapshotError::Unfinished { folder: folder.to_owned() }))?;
        let staged = StagedCopy { folder: folder.to_owned(), manifest, read_back: true };
        for expected in &staged.manifest.members {
            let (blake3, size) = files::hash_below_unless(folder, &expected.name, cancel)?;
            if (&blake3, size) != (&expected.blake3, expected.size) {
                return Err(Error::Snapshot(SnapshotError::Changed { path: folder.join(&expected.name) }));
            }
        }
        Ok(staged)
    }

    /// As root, gives a copy that an earlier run as root took in kumadb's own folder to the owner of that folder: the files in
    /// its manifest that have the hash noted there. Returns whether an owner was changed.
    pub fn give(folder: &Path) -> Result<bool> {
        let Ok(Some(manifest)) = Manifest::read(folder) else { return Ok(false) };
        let mut given = files::give_subfolder(folder)?;
        for member in manifest.members.iter().filter(|member| !member.name.contains('/')) {
            let path = folder.join(&member.name);
            given |= files::give(&path, |file| Ok(files::hash_open(&path, file)?.0 == member.blake3))?;
        }
        if given {
            // A rewritten file belongs to the owner of the folder.
            manifest.write(folder)?;
        }
        Ok(given)
    }

    /// Notes what the write has changed that the copy was taken for.
    pub fn note_changed(&mut self, changed: Option<Changed>) -> Result<()> {
        self.manifest.changed = changed;
        self.manifest.write(&self.folder)
    }

    /// The copy of the database, as [`Writer::load`](crate::engine::Writer::load) loads it.
    pub fn database(&self) -> PathBuf {
        self.folder.join(self.manifest.database())
    }
}

/// The result of comparing a copy with its source.
struct Proof {
    engine: EngineKind,
    database: Database,
    counts: Counts,
    without: Vec<String>,
    pages: Option<u64>,
    faults: Vec<IntegrityError>,
    verified: Vec<String>,
    member: Member,
    /// Whether the copy was read back from the disk.
    read_back: bool,
}

impl Proof {
    /// Of a whole copy with these rows and pages, in which `check` found only `faults`; not read back from the disk.
    fn of_sqlite(
        (database, counts, pages): (Database, Counts, u64),
        check: &str,
        faults: Vec<IntegrityError>,
        member: Member,
    ) -> Proof {
        let references = faults.is_empty().then_some("foreign keys");
        let verified = ["pages", "schema", "migrations", "counts", check].into_iter().chain(references).chain(["hash"]);
        Proof {
            engine: EngineKind::Sqlite,
            database,
            counts,
            without: Vec::new(),
            pages: Some(pages),
            verified: verified.map(str::to_owned).collect(),
            faults,
            member,
            read_back: false,
        }
    }
}

/// Copies the file of a database into the new folder `folder` while a server may still write it, so that little of it has to be
/// copied once the server is stopped. It may be of no single state of the database.
pub fn begin_copy(file: &SqliteFile, folder: &Path, progress: Progress<'_>) -> Result<EqualCopy> {
    files::remove_folder(folder)?;
    files::make_folder(folder)?;
    // Before the server that writes to the same disk is left with none.
    files::require_space(folder, space_of(file))?;
    let mut copy = EqualCopy::create(&folder.join(SQLITE))?;
    file.copy_to(&mut copy, progress)?;
    Ok(copy)
}

/// Copies the files of a database that no process has open.
fn copy_still(file: &SqliteFile, folder: &Path, early: Option<EqualCopy>, progress: Progress<'_>) -> Result<Proof> {
    if file.is_alone()? {
        let copied = early.as_ref().map_or(Ok(0), EqualCopy::own_size)?;
        files::require_space(folder, space_of(file).saturating_sub(copied))?;
        return copy_alone(file, folder, early, progress);
    }
    // Its space is free only when it is closed.
    if early.map(drop).is_some() {
        files::remove(&folder.join(SQLITE))?;
    }
    files::require_space(folder, space_of(file))?;
    copy_files(file, folder)
}

/// What a copy of `file` needs, twice its size: restoring it needs a WAL of the same size.
fn space_of(file: &SqliteFile) -> u64 {
    2 * file.size() + SPARE
}

/// Copies the one file of a database. The copy has the same bytes, so what is found in the source is true of it as well, and
/// all of it runs in parallel.
fn copy_alone(file: &SqliteFile, folder: &Path, early: Option<EqualCopy>, progress: Progress<'_>) -> Result<Proof> {
    let source = file.describe();
    let still = file.immutable()?;
    let copy = || {
        let mut copy = early.map_or_else(|| EqualCopy::create(&folder.join(SQLITE)), Ok)?;
        file.copy_to(&mut copy, progress)
    };
    let measure_all = || {
        let mut reader = file.read_only()?;
        let database = read_database(&mut reader, &source)?;
        Ok::<_, Error>((database, reader.pages()?, sound(reader.check(Depth::References)?, &source)?))
    };
    let ((copied, measured), checked) = join(|| join(copy, measure_all), || file.check_structure());
    let ((blake3, size), (database, pages, references), Structure { faults, rows }) = (copied?, measured?, checked?);
    let mut faults = sound(faults, &source)?;
    let counts = counts_of(rows, &database, file)?;
    still.check_still()?;
    faults.extend(references);
    let member = Member { name: SQLITE.to_owned(), size, blake3 };
    Ok(Proof { read_back: true, ..Proof::of_sqlite((database, counts, pages), STRUCTURE, faults, member) })
}

/// Copies the files of a database with a WAL or a journal into one, then compares the contents of both.
fn copy_files(file: &SqliteFile, folder: &Path) -> Result<Proof> {
    let copy = SqliteFile::new(folder.join(SQLITE)).cancelled_by(file.cancel());
    file.copy_rolled_back(&copy)?;
    let folding = copy.read_write()?;
    folding.fold()?;
    drop(folding);
    for suffix in ["-wal", "-shm"] {
        files::remove(&copy.part(suffix))?;
    }
    let mut source = file.read_only()?;
    let there = measure(&mut source, &file.describe())?;
    let source_pages = source.pages()?;
    drop(source);
    let proof = verify_sqlite(folder, &there, file, false)?;
    compare("pages", &Some(source_pages), &proof.pages)?;
    for suffix in ["-wal", "-shm"] {
        files::remove(&copy.part(suffix))?;
    }
    Ok(proof)
}

/// Compares the copy in `folder` with the contents `there` of its source, and checks it. The check of the structure
/// takes longest, so everything else runs in parallel.
fn verify_sqlite(folder: &Path, there: &(Database, Counts), source: &dyn Connect, full: bool) -> Result<Proof> {
    let (source, cancel) = (source.describe(), source.cancel());
    let copy = SqliteFile::new(folder.join(SQLITE)).cancelled_by(cancel.clone());
    let check = if full { "integrity_check" } else { STRUCTURE };
    let compare_all = || {
        let mut copied = copy.read_only()?;
        let database = read_database(&mut copied, "the copy")?;
        compare("tables", &there.0.schema, &database.schema)?;
        compare("migrations", &there.0.migrations, &database.migrations)?;
        // The full check includes references.
        let faults = if full { Vec::new() } else { sound(copied.check(Depth::References)?, &source)? };
        Ok::<_, Error>((database, copied.pages()?, faults))
    };
    let check_file = || {
        if !full {
            return copy.check_structure();
        }
        Ok(Structure { faults: copy.read_only()?.check(Depth::Full)?, rows: None })
    };
    let ((compared, member), checked) = join(|| join(compare_all, || written(folder, SQLITE, &cancel)), check_file);
    let ((database, pages, references), member, Structure { faults, rows }) = (compared?, member?, checked?);
    let mut faults = sound(faults, &source)?;
    let counts = counts_of(rows, &database, &copy)?;
    compare("rows per table", &there.1, &counts)?;
    faults.extend(references);
    Ok(Proof::of_sqlite((database, counts, pages), check, faults, member))
}

/// Rows per table of `database`, which is in `file`: those that the check of its structure has `counted`, or else read from it.
fn counts_of(counted: Option<Counts>, database: &Database, file: &SqliteFile) -> Result<Counts> {
    let tables = database.schema.tables.keys();
    let counts = counted.and_then(|counted| tables.map(|table| Some((table.clone(), *counted.get(table)?))).collect());
    counts.map_or_else(|| read_counts(&mut file.read_only()?, &database.schema), Ok)
}

/// Structural damage is an error; broken references are recorded in the manifest, because they are common and fixed in other
/// ways.
fn sound(faults: Vec<IntegrityError>, database: &str) -> Result<Vec<IntegrityError>> {
    let (damage, faults): (Vec<_>, Vec<_>) = faults.into_iter().partition(|fault| fault.rows == 0);
    if damage.is_empty() {
        Ok(faults)
    } else {
        Err(Error::Database(DatabaseError::Damaged {
            database: database.to_owned(),
            problems: damage.iter().map(ToString::to_string).collect(),
        }))
    }
}

/// Copies a SQLite database that may be in use, through SQLite itself.
fn copy_live(connect: &dyn Connect, folder: &Path, scope: &CopyScope, progress: Progress<'_>) -> Result<Proof> {
    let (mut source, database) = open(connect)?;
    let without = scope.without(&database);
    if !scope.config_only {
        let layout = Layout::read(&mut *source)?;
        files::require_space(folder, layout.pages * layout.page_size)?;
    }
    let copy = folder.join(SQLITE);
    let counts = source.dump(&copy, &without, progress)?;
    drop(source);
    if scope.compact {
        SqliteFile::new(&copy).cancelled_by(connect.cancel()).read_write()?.compact()?;
    }
    let proof = verify_sqlite(folder, &(database, counts), connect, scope.full_check)?;
    Ok(Proof { without, ..proof })
}

/// Dumps a MariaDB. The dump is parsed again, statement by statement, as a restore will do.
fn dump_live(
    connect: &dyn Connect,
    (mut source, database): Opened,
    folder: &Path,
    scope: &CopyScope,
    progress: Progress<'_>,
) -> Result<Proof> {
    let without = scope.without(&database);
    // A dump is about as large as the rows in the tables, wherever the MariaDB is.
    let dumped = |(table, _): &(&String, &TableSpace)| !without.contains(table);
    let rows = read_space(&mut *source)?.tables.iter().filter(dumped).map(|(_, space)| space.rows).sum::<u64>();
    files::require_space(folder, rows)?;
    let copy = folder.join(MARIADB);
    let counts = source.dump(&copy, &without, progress)?;
    compare("tables", &database.schema.names(), &counts.keys().map(String::as_str).collect())?;
    let depth = if scope.full_check { Depth::Full } else { Depth::References };
    let check_source = || sound(source.check(depth)?, &connect.describe());
    let count = || compare("rows per table", &counts, &count_dump(&copy)?);
    let (faults, (counted, member)) =
        join(check_source, || join(count, || written(folder, MARIADB, &connect.cancel())));
    let (faults, (), member) = (faults?, counted?, member?);
    let full = scope.full_check.then_some("CHECK TABLE EXTENDED");
    let references = faults.is_empty().then_some("foreign keys");
    let verified = ["schema", "migrations", "counts"].into_iter().chain(references).chain(["hash"]).chain(full);
    let verified = verified.map(str::to_owned).collect();
    let (engine, pages, read_back) = (EngineKind::MariaDb, None, false);
    Ok(Proof { engine, database, counts, without, pages, faults, verified, member, read_back })
}

fn open(connect: &dyn Connect) -> Result<Opened> {
    let mut source = connect.reader()?;
    let database = read_database(&mut *source, &connect.describe())?;
    Ok((source, database))
}

pub(super) fn measure(reader: &mut dyn Reader, name: &str) -> Result<(Database, Counts)> {
    let database = read_database(reader, name)?;
    let counts = read_counts(reader, &database.schema)?;
    Ok((database, counts))
}

fn compare<T: PartialEq>(what: &str, source: &T, copy: &T) -> Result<()> {
    if source == copy { Ok(()) } else { Err(Error::Snapshot(SnapshotError::Differs { what: what.to_owned() })) }
}

/// The file `name` of `folder`, as it is on the disk.
pub(super) fn member(folder: &Path, name: &str) -> Result<Member> {
    let (blake3, size) = files::hash_below(folder, name)?;
    Ok(Member { name: name.to_owned(), size, blake3 })
}

/// Flushes the copy `name` in `folder`; returns its member entry as written. The content of the disk is compared with it when
/// it is relied on: by [`StagedCopy::open`] before anything is written to the database, and in the archive.
fn written(folder: &Path, name: &str, cancel: &Cancel) -> Result<Member> {
    let path = folder.join(name);
    // The disk writes while the file is hashed.
    let (hashed, flushed) = join(|| files::hash_written(&path, cancel), || files::flush(&path));
    flushed?;
    let (blake3, size) = hashed?;
    Ok(Member { name: name.to_owned(), size, blake3 })
}

pub(super) fn new_id() -> String {
    let mut bytes = [0u8; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => {}
        // Without entropy, the last digits of the clock still distinguish two snapshots.
        Err(_) => bytes = Utc::now().timestamp_subsec_nanos().to_le_bytes(),
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
