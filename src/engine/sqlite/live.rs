//! A copy of the files of a database that other processes may be writing, as fast as files can be copied: of its pages one by one,
//! SQLite takes several times as long.
//!
//! In WAL mode the files are one state of the database if the WAL is copied after the file, and no commit came between the two. While a
//! reader is open, a checkpoint writes no page to the file that is newer than what this reader sees, and the WAL that has all newer pages
//! starts again only where the file has all of its pages. So every page that changes in the file while it is copied is in the WAL too,
//! and opening the copy replaces it.

use std::fs::File;
use std::path::Path;

use rusqlite::OpenFlags;

use super::format::head_of;
use super::raw_file::with_file;
use super::{Sqlite, SqliteFile, copy_pages};
use crate::engine::Counts;
use crate::error::{Error, Result};
use crate::files::{self, EqualCopy};

/// How often a commit may come between the two files, before SQLite has to copy the pages.
const TRIES: usize = 20;

impl Sqlite {
    /// A dump. Where the file is read without a lock, it may be of no single state of the database: see `check_still`.
    pub(super) fn dump_once(
        &mut self,
        to: &Path,
        without: &[String],
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Counts> {
        if !without.is_empty() {
            return self.dump_part(to, without, progress);
        }
        if let Some(counts) = self.copy_files(to, progress)? {
            return Ok(counts);
        }
        drop(files::create_private(to)?);
        // The open read transaction pins one snapshot: without it the backup restarts at every commit of the server and
        // never ends under load.
        self.run("BEGIN")?;
        let copied = self.counts().and_then(|counts| {
            let file = SqliteFile::new(to);
            let fail = |error| file.error(error);
            let mut copy = file.connect(file.path(), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            // An incomplete copy is useless: the caller flushes the complete one.
            copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").map_err(fail)?;
            copy_pages(&self.file, &self.connection, &mut copy, progress)?;
            Ok(counts)
        });
        self.run("COMMIT")?;
        copied
    }

    /// Copies the files to the new file `to`, which is not flushed; returns the rows per table. `None`, and no copy, where this is not
    /// possible: without a WAL, or where commits come too fast.
    fn copy_files(&mut self, to: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Option<Counts>> {
        let file = self.source().clone();
        if self.still.is_some() {
            // It has no lock that could be lost. If another process has started to write, the caller notices.
            with_file(file.path(), |database| files::copy_kept(database, to, progress, &file.cancel))?;
            return self.counts().map(Some);
        }
        // What is known of a journal that was rolled back is in a copy of its own.
        if self.copy.is_some() || !files::exists(&file.part("-wal")) {
            return Ok(None);
        }
        // Nothing is written into the file from here on that it does not have already, as this connection sees it.
        self.run("BEGIN")?;
        let copied =
            self.is_wal_mode().and_then(|is_wal| if is_wal { self.copy_pinned(&file, to, progress) } else { Ok(None) });
        self.run("COMMIT")?;
        let counts = copied?;
        let copy = SqliteFile::new(to).cancelled_by(file.cancel.clone());
        if let Some(counts) = counts {
            copy.fold_wal()?;
            // A commit is in the WAL before others see it: then the copy has one more than the reader.
            if copy.read_only()?.counts()? == counts {
                return Ok(Some(counts));
            }
        }
        copy.parts().iter().try_for_each(|part| files::remove(part))?;
        Ok(None)
    }

    fn is_wal_mode(&self) -> Result<bool> {
        // It also begins to read, which `BEGIN` does not.
        self.number("SELECT count(*) FROM sqlite_schema")?;
        let mode = self.connection.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0));
        mode.map(|mode| mode == "wal").map_err(|error| self.file.error(error))
    }

    /// Copies the file, and then the WAL that goes with it.
    fn copy_pinned(
        &mut self,
        file: &SqliteFile,
        to: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Option<Counts>> {
        with_file(file.path(), |database| files::copy_kept(database, to, progress, &file.cancel))?;
        let connect = || {
            let connection = file.connect(file.path(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            Ok::<_, Error>(Sqlite::new(connection, file.clone()))
        };
        // The first sees whether another process commits, the second reads the state that is copied.
        let (watch, mut reader) = (connect()?, connect()?);
        let beside = SqliteFile::new(to).part("-wal");
        // With each start of a WAL, its header has another salt.
        let wal_head = |wal: &File| head_of(wal, &beside, 32);
        for _ in 0..TRIES {
            let before = watch.number("PRAGMA data_version")?;
            reader.run("BEGIN")?;
            reader.number("SELECT count(*) FROM sqlite_schema")?;
            files::remove(&beside)?;
            let wal = match files::open_regular(&file.part("-wal")) {
                // It was removed by a server that has ended.
                Err(error) if error.is_missing() => return Ok(None),
                wal => wal?,
            };
            files::copy_kept(&wal, &beside, &mut |_, _| {}, &file.cancel)?;
            // A WAL that starts again gets another header first, and others see it before it has one.
            let is_one = wal_head(&wal)? == wal_head(&files::open(&beside)?)?;
            if watch.number("PRAGMA data_version")? == before && is_one {
                return reader.counts().map(Some);
            }
            reader.run("COMMIT")?;
        }
        Ok(None)
    }
}

impl SqliteFile {
    /// Makes `copy` equal to the file as it is, without its WAL and its journal; returns the hash, in hex, and the size.
    pub(crate) fn copy_to(&self, copy: &mut EqualCopy, progress: &mut dyn FnMut(u64, u64)) -> Result<(String, u64)> {
        with_file(&self.path, |file| copy.update(file, progress, &self.cancel))
    }

    /// Checkpoints the WAL of a copy into it, and removes the WAL. Nothing is flushed.
    fn fold_wal(&self) -> Result<()> {
        let folding = self.read_write()?;
        folding.run("PRAGMA synchronous = OFF")?;
        folding.fold()?;
        drop(folding);
        ["-wal", "-shm"].iter().try_for_each(|suffix| files::remove(&self.part(suffix)))
    }
}
