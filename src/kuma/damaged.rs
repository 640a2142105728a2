//! The files of a damaged database, and whether to use its WAL and its rollback journal.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::read::history;
use crate::engine::sqlite::{JournalFile, RollbackJournal, SqliteFile};
use crate::error::{DatabaseError, Error, InputError, Result};
use crate::files;
use crate::salvage::{Bytes, DatabaseImage, Frames, Survey};
use crate::schema::{self, EngineKind, Release};

/// The files of a damaged database, open for reading only.
pub struct DamagedDb {
    path: PathBuf,
    file: Box<dyn Bytes>,
    wal: Option<File>,
    frames: Option<Frames>,
    journal: JournalUse,
}

/// How the rollback journal is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalUse {
    /// There is none that matters.
    None,
    /// The transaction that was not finished is rolled back: this many pages are from the journal.
    RolledBack(u64),
    /// Not used, because it does not belong to the file: the reason.
    Ignored(String),
}

impl From<&JournalFile> for JournalUse {
    fn from(journal: &JournalFile) -> JournalUse {
        match journal {
            JournalFile::None => JournalUse::None,
            JournalFile::Own(journal) => JournalUse::RolledBack(journal.records()),
            JournalFile::Foreign(why) => JournalUse::Ignored(why.clone()),
        }
    }
}

/// How the WAL is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalUse {
    /// There is none, or it contains no committed frames.
    None,
    /// Applied to the file: this many of its frames are used.
    Used(u64),
    /// Not used, because the file alone contains more.
    Ignored,
}

impl DamagedDb {
    /// Opens the database at `path`, its WAL and its rollback journal.
    pub fn open(path: &Path) -> Result<DamagedDb> {
        let parts = SqliteFile::new(path);
        let beside = parts.part("-wal");
        let wal = if files::exists(&beside) { Some(files::open_regular(&beside)?) } else { None };
        let mut journal = JournalUse::None;
        let file: Box<dyn Bytes> = if wal.is_some() && !files::exists(path) {
            Box::new(Vec::new())
        } else {
            let (file, beside) = (files::open_regular(path)?, parts.journal()?);
            journal = (&beside).into();
            match beside {
                JournalFile::Own(journal) => Box::new(RolledBack { file, journal }),
                _ => Box::new(file),
            }
        };
        let frames = wal.as_ref().and_then(|wal| Frames::read(wal, DatabaseImage::alone(&*file).page_size()));
        Ok(DamagedDb { path: path.to_owned(), file, wal, frames, journal })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How its rollback journal is used.
    pub fn journal(&self) -> &JournalUse {
        &self.journal
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.file.size()
    }

    /// Surveys it with and without its WAL, and uses the better result: if both are complete, the one with the newer
    /// heartbeat, otherwise the one with more certain rows of the configuration.
    ///
    /// # Errors
    /// [`DatabaseError::ReleaseNotFound`] if `release` is `None` and
    /// cannot be derived; [`InputError::Problems`] where it is not recorded.
    pub fn survey(&self, release: Option<Release>) -> Result<(Survey<'_>, WalUse)> {
        if let Some(release) = release
            && schema::recording(EngineKind::Sqlite, release).is_none()
        {
            return Err(Error::Input(InputError::Problems(vec![schema::not_recorded(EngineKind::Sqlite, release)])));
        }
        let alone = Survey::take(DatabaseImage::alone(&*self.file), release);
        let with = self.wal.as_ref().zip(self.frames.as_ref()).and_then(|(wal, frames)| {
            let survey = Survey::take(DatabaseImage::with(&*self.file, wal, frames), release)?;
            Some((survey, WalUse::Used(frames.committed)))
        });
        let ignored = if self.frames.is_some() { WalUse::Ignored } else { WalUse::None };
        match (alone, with) {
            (Some(alone), Some((with, used))) => {
                if is_better(&WalEffect::of(&alone), &WalEffect::of(&with)) {
                    Ok((alone, ignored))
                } else {
                    Ok((with, used))
                }
            }
            (None, Some(with)) => Ok(with),
            (Some(alone), None) => Ok((alone, ignored)),
            (None, None) => Err(Error::Database(DatabaseError::ReleaseNotFound(self.path.clone()))),
        }
    }
}

/// The result with or without the WAL.
struct WalEffect {
    whole: bool,
    configuration: u64,
    newest: Option<String>,
}

impl WalEffect {
    fn of(survey: &Survey<'_>) -> WalEffect {
        let beats = history(survey.recording.schema());
        let tables = survey.tables.iter().filter(|table| !beats.contains(&table.shape.table));
        let certain = tables.map(|table| {
            let Ok(tally) = survey.visit::<std::convert::Infallible>(table, &mut |_| Ok(()));
            tally.certain
        });
        let configuration = certain.sum();
        let newest = survey.table("heartbeat").and_then(|table| {
            let time = survey.newest(table)?.cells.swap_remove(table.shape.position("time")?);
            time.text().map(str::to_owned)
        });
        WalEffect { whole: survey.has_whole_tables(), configuration, newest }
    }
}

/// Whether the file alone contains more than with its WAL.
fn is_better(alone: &WalEffect, with: &WalEffect) -> bool {
    match (alone.whole, with.whole) {
        (true, true) => alone.newest > with.newest,
        (true, false) => alone.configuration >= with.configuration,
        (false, true) => false,
        (false, false) => (alone.configuration, &alone.newest) > (with.configuration, &with.newest),
    }
}

/// A file as it was before the transaction that its journal rolls back.
struct RolledBack {
    file: File,
    journal: RollbackJournal,
}

impl Bytes for RolledBack {
    fn size(&self) -> u64 {
        u64::from(self.journal.pages()) * u64::from(self.journal.page_size())
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> usize {
        let size = u64::from(self.journal.page_size());
        let mut done = 0;
        while done < into.len() && at + (done as u64) < self.size() {
            let at = at + done as u64;
            let (number, within) = ((at / size) as u32 + 1, at % size);
            let end = into.len().min(done + (size - within) as usize);
            let part = &mut into[done..end];
            let read = match self.journal.place(number) {
                Some(place) => self.journal.file().read_at(place + within, part),
                None => self.file.read_at(at, part),
            };
            done += read;
            if read == 0 {
                break;
            }
        }
        done
    }
}
