//! Restore tests: a snapshot is restored into a temporary place, then compared with its manifest.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::Utc;

use super::stage::{StagedCopy, measure};
use super::store::{RestoreTestRecord, Snapshot};
use crate::engine::mariadb::scratch::ScratchMariaDb;
use crate::engine::sqlite::SqliteFile;
use crate::engine::{Depth, EngineKind, Reader as _};
use crate::error::{Error, Exit, Result, SnapshotError};
use crate::files::{self, Confined};

/// The result of a passed restore test.
#[derive(Debug)]
pub struct RestoreTestResult {
    /// Tables.
    pub tables: usize,
    /// Rows in them.
    pub rows: u64,
    /// Duration, from reading the archive on.
    pub took: Duration,
    /// Why the result could not be recorded in the store, for instance because it is read-only.
    pub unnoted: Option<Error>,
}

/// A place for restore tests, with the MariaDB that the first test that needs it starts there.
pub struct RestoreTest {
    folder: PathBuf,
    mariadb: Option<ScratchMariaDb>,
}

impl RestoreTest {
    /// Restore tests in the private folder `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> RestoreTest {
        RestoreTest { folder: folder.into(), mariadb: None }
    }

    /// Restores `snapshot` and compares every table: SQLite with all its own checks, MariaDB by loading the dump into a
    /// temporary server and dumping it again. The result is recorded beside the snapshot.
    ///
    /// # Errors
    /// [`SnapshotError::Invalid`](crate::error::SnapshotError::Invalid) or
    /// [`DatabaseError::Damaged`](crate::error::DatabaseError::Damaged) when the result differs;
    /// [`DatabaseError::MariaDbNotInstalled`](crate::error::DatabaseError::MariaDbNotInstalled) where there is no
    /// `mariadbd` to
    /// test a dump with.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<RestoreTestResult> {
        let begun = Instant::now();
        let tried = self.try_restore(snapshot);
        let took = begun.elapsed();
        let (tables, rows) = *tried.as_ref().unwrap_or(&(0, 0));
        let error = tried.as_ref().err().map(ToString::to_string);
        let note = RestoreTestRecord { at: Utc::now(), seconds: took.as_secs_f64(), tables, rows, error };
        // The failed test is the error to report; that it could not be recorded matters less.
        let unnoted = match &tried {
            Err(error) if error.exit() != Exit::Verification => None,
            _ => snapshot.note_restore_test(note, &self.folder).err(),
        };
        tried.map(|(tables, rows)| RestoreTestResult { tables, rows, took, unnoted })
    }

    /// Records that `snapshot` cannot be restored, because `error` was found when it was read.
    ///
    /// # Errors
    /// The store cannot be written to.
    pub fn note_damage(&self, snapshot: &Snapshot, error: &Error) -> Result<()> {
        if error.exit() != Exit::Verification {
            return Ok(());
        }
        let error = Some(error.to_string());
        let note = RestoreTestRecord { at: Utc::now(), seconds: 0.0, tables: 0, rows: 0, error };
        snapshot.note_restore_test(note, &self.folder)
    }

    /// Tables and rows that match.
    fn try_restore(&mut self, snapshot: &Snapshot) -> Result<(usize, u64)> {
        let staged = snapshot.unpack(&self.folder.join("held"))?;
        let manifest = &staged.manifest;
        match manifest.engine {
            _ if manifest.raw => {
                return Err(broken(
                    &snapshot.location(),
                    "it contains a database that could not be read when the snapshot was created",
                ));
            }
            EngineKind::Sqlite => {
                Confined::folder(&staged.folder).run(|| check_sqlite(&snapshot.location(), &staged))?
            }
            EngineKind::MariaDb => {
                let again = self.folder.join("again.sql");
                files::remove(&again)?;
                self.mariadb()?.try_dump(&staged.database(), &again)?;
            }
        }
        Ok((manifest.counts.len(), manifest.counts.values().sum()))
    }

    fn mariadb(&mut self) -> Result<&ScratchMariaDb> {
        let server = match self.mariadb.take() {
            Some(server) => server,
            None => {
                let data = self.folder.join("mariadb");
                files::make_folder(&data)?;
                // It runs as a user that can read nothing else there.
                files::set_mode(&self.folder, 0o711)?;
                ScratchMariaDb::start(&data)?
            }
        };
        Ok(self.mariadb.insert(server))
    }
}

fn check_sqlite(snapshot: &str, staged: &StagedCopy) -> Result<()> {
    let manifest = &staged.manifest;
    let mut reader = SqliteFile::new(staged.database()).read_only()?;
    // No file outside of the folder can be made.
    reader.query("PRAGMA temp_store = MEMORY", &[])?;
    let (database, counts) = measure(&mut reader, "the snapshot")?;
    let migrations: Vec<String> = database.migrations.into_iter().collect();
    if (&migrations, &counts, Some(reader.pages()?)) != (&manifest.migrations, &manifest.counts, manifest.pages) {
        return Err(broken(snapshot, "the restored database differs from the manifest"));
    }
    match reader.check(Depth::Full)?.iter().find(|fault| !manifest.faults.contains(fault)) {
        Some(fault) => Err(broken(snapshot, &fault.to_string())),
        None => Ok(()),
    }
}

fn broken(snapshot: &str, why: &str) -> Error {
    Error::Snapshot(SnapshotError::Invalid { name: snapshot.to_owned(), why: why.to_owned() })
}
