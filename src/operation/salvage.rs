//! Replaces a damaged SQLite database: by a snapshot, or by a new one built from its files. The old files are kept as they are.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::journal::Phase;
use super::run::Run;
use super::work::RebuiltFrom;
use super::{Observer, Step, compact, label, removed};
use crate::backup::{StagedCopy, raw};
use crate::engine::sqlite::{JournalFile, SqliteFile};
use crate::engine::{Connect as _, Depth, Reader, Writer};
use crate::error::{DatabaseError, Error, FileError, Result, SnapshotError};
use crate::files::{self, Confined};
use crate::kuma::damaged::DamagedDb;
use crate::kuma::fresh::salvage;
use crate::kuma::read::{read_counts, read_database, read_last_beat};
use crate::schema::Release;

impl Run<'_> {
    /// Keeps the files of an unreadable database, and puts `desired` in its place.
    pub(super) fn replace(
        &mut self,
        file: &SqliteFile,
        desired: &StagedCopy,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let kept = self.keep(file, observer)?;
        self.put(file, &kept, &desired.database(), observer)
    }

    /// Keeps the files of a damaged database, builds a new one from the copy, and puts it in their place.
    pub(super) fn salvage(
        &mut self,
        file: &SqliteFile,
        release: Option<Release>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let kept = self.keep(file, observer)?;
        observer.step(&Step::Salvage)?;
        let workshop = self.instance.work().join("salvage");
        // The staged copy and what is built from it are both there.
        let (made, database) = Confined::folder(self.instance.work())
            .run_with_progress(&mut |done, total| observer.progress(done, total), |progress| {
                make(&kept.folder, &workshop, release, progress)
            })?;
        self.outcome.rebuilt = Some(made);
        self.put(file, &kept, &database, observer)
    }

    fn keep(&mut self, file: &SqliteFile, observer: &mut dyn Observer) -> Result<StagedCopy> {
        observer.step(&Step::Hold { bytes: self.instance.size() })?;
        let began = Instant::now();
        let kept = raw::take(file, &self.staged_folder(), &label(self.instance, &self.settings.verb))?;
        observer.step(&Step::Held { bytes: kept.manifest.size(), took: began.elapsed() })?;
        self.journal.advance(Phase::Writing)?;
        Ok(kept)
    }

    fn put(&mut self, file: &SqliteFile, kept: &StagedCopy, desired: &Path, observer: &mut dyn Observer) -> Result<()> {
        let counts = |reader: &mut dyn Reader| {
            let schema = reader.schema()?;
            read_counts(reader, &schema)
        };
        let expected = counts(&mut SqliteFile::new(desired).read_only()?)?;
        observer.step(&Step::PutBack)?;
        self.attempted = true;
        raw::replace(file, kept, desired)?;
        let mut reader = self.instance.connect()?.reader()?;
        if counts(&mut *reader)? != expected {
            return Err(Error::Snapshot(SnapshotError::RestoredDiffers { what: "rows per table".into() }));
        }
        self.journal.record.last_beat = read_last_beat(&mut *reader)?;
        self.committed();
        observer.step(&Step::Committed)
    }
}

/// Builds a database in the new folder `workshop` from the files in `kept`: the files as they are where SQLite finds no damage
/// after the indexes are rebuilt, with the WAL or without it, whichever has the newest heartbeat; otherwise the rows in their
/// pages, of `release` if they do not show their own.
fn make(
    kept: &Path,
    workshop: &Path,
    release: Option<Release>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(RebuiltFrom, PathBuf)> {
    files::remove_folder(workshop)?;
    // Two copies, or one and what is built from it.
    files::require_space(kept, 2 * files::folder_size(kept))?;
    let mut best: Option<(i64, bool, PathBuf)> = None;
    let has_wal = files::exists(&kept.join("kuma.db-wal"));
    let journal = SqliteFile::new(kept.join("kuma.db")).journal()?;
    for with_wal in if has_wal { [true, false].as_slice() } else { &[false] } {
        let with_wal = *with_wal;
        let folder = workshop.join(if with_wal { "with" } else { "without" });
        match try_whole(kept, &folder, with_wal, &journal) {
            Ok(beat) if best.as_ref().is_none_or(|(newest, ..)| beat > *newest) => {
                best = Some((beat, with_wal, folder.join("kuma.db")));
            }
            // An error such as a full disk is not one of the database.
            Err(error @ (Error::File(FileError::Io { .. }) | Error::File(FileError::NoSpace { .. }))) => {
                return Err(error);
            }
            // What cannot be opened, read or repaired is not a candidate; the reason does not help anyone.
            _ => {}
        }
    }
    if let Some((_, with_wal, database)) = best {
        return Ok((RebuiltFrom::Whole { with_wal: with_wal || !has_wal, journal: (&journal).into() }, database));
    }
    files::remove_folder(workshop)?;
    files::make_folder(workshop)?;
    let database = workshop.join("kuma.db");
    let damaged = DamagedDb::open(&kept.join("kuma.db"))?;
    let notes = kept.join(removed::FILE);
    let mut salvaged = salvage(&damaged, &database, &notes, release, progress)?;
    // They go with the snapshot.
    salvaged.notes = None;
    Ok((RebuiltFrom::Salvaged(Box::new(salvaged)), database))
}

/// Copies the files into `folder`, rolls back the transaction in `journal`, and rebuilds the indexes of the copy; returns
/// its newest heartbeat.
///
/// # Errors
/// It is not a complete database of the server even then.
fn try_whole(kept: &Path, folder: &Path, with_wal: bool, journal: &JournalFile) -> Result<i64> {
    files::make_folder(folder)?;
    let database = folder.join("kuma.db");
    for suffix in if with_wal { ["", "-wal"].as_slice() } else { &[""] } {
        let name = format!("kuma.db{suffix}");
        files::copy_exact(&kept.join(&name), &folder.join(&name))?;
    }
    if let JournalFile::Own(journal) = journal {
        journal.apply(&database)?;
    }
    let mut copy = SqliteFile::new(&database).read_write()?;
    compact::in_scratch(&mut copy, folder, |copy| {
        copy.begin()?;
        copy.execute("REINDEX", &[])?;
        copy.commit()
    })?;
    let faults: Vec<String> = copy.check(Depth::Structure)?.iter().map(ToString::to_string).collect();
    if !faults.is_empty() {
        return Err(Error::Database(DatabaseError::Damaged {
            database: SqliteFile::new(&database).describe(),
            problems: faults,
        }));
    }
    read_database(&mut copy, "the copy")?;
    let beat = read_last_beat(&mut copy)?;
    drop(copy);
    files::flush(&database)?;
    Ok(beat)
}
