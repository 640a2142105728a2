//! The rollback journal, `kuma.db-journal`: pages as they were before a transaction that was not finished. It is a part
//! of the database as the WAL is, where it belongs to it.
//!
//! kumadb rolls back copies itself, because SQLite trusts a journal: it applies one of another database too, and deletes
//! the file that a journal names as its super-journal.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use chrono::{DateTime, Utc};
use rusqlite::OpenFlags;

use super::{Look, Sqlite, SqliteFile, raw_file};
use crate::error::{DatabaseError, Error, Result};
use crate::files;

/// The first bytes of each header of a journal.
const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// The first bytes of a database.
pub(super) const DATABASE: &[u8] = b"SQLite format 3\0";

/// Records without a number: the journal was written without syncs, and its size counts.
const UNCOUNTED: u32 = u32::MAX;

/// What the `-journal` beside a database is.
#[derive(Debug)]
pub enum JournalFile {
    /// There is none, or SQLite ignores it: empty, zeroed, without complete records, or of a transaction that was
    /// committed in all its databases.
    None,
    /// The pages before a transaction of this database that was not finished.
    Own(RollbackJournal),
    /// It cannot belong to this database: the reason.
    Foreign(String),
}

/// A journal that belongs to its database.
#[derive(Debug)]
pub struct RollbackJournal {
    file: File,
    page_size: u32,
    pages: u32,
    places: BTreeMap<u32, u64>,
}

/// A copy of a database without the transaction that its journal rolls back.
#[derive(Debug)]
pub(super) struct RolledBackCopy {
    /// What the database and its journal were like.
    look: (Look, Option<Metadata>),
    pub(super) file: SqliteFile,
    _folder: tempfile::TempDir,
}

/// Size and modification time of a file.
type Metadata = (u64, DateTime<Utc>);

/// What the first 100 bytes of a database contain.
struct Head {
    page_size: u32,
    is_wal: bool,
    changes: u32,
    pages: u32,
}

impl Head {
    fn read(bytes: &[u8; 100]) -> Option<Head> {
        let page_size = match u16::from_be_bytes([bytes[16], bytes[17]]) {
            1 => 65536,
            size => u32::from(size),
        };
        let changes = be32(bytes, 24);
        // The number of pages counts where the program that wrote the file kept it up to date.
        let pages = if be32(bytes, 92) == changes { be32(bytes, 28) } else { 0 };
        bytes.starts_with(DATABASE).then_some(Head { page_size, is_wal: bytes[18] == 2, changes, pages })
    }
}

impl RollbackJournal {
    /// Bytes of a page.
    pub fn page_size(&self) -> u32 {
        self.page_size
    }

    /// Pages of the database before the transaction.
    pub fn pages(&self) -> u32 {
        self.pages
    }

    /// How many pages it has.
    pub fn records(&self) -> u64 {
        self.places.len() as u64
    }

    /// The position of page `number` in the journal.
    pub fn place(&self, number: u32) -> Option<u64> {
        self.places.get(&number).copied()
    }

    /// The journal itself, open for reading.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Rolls back `copy`, a copy of the database.
    pub(crate) fn apply(&self, copy: &Path) -> Result<()> {
        let fail = || Error::file("write", copy);
        let file = files::open_to_write(copy)?;
        let size = u64::from(self.page_size);
        let mut page = vec![0; self.page_size as usize];
        for (number, at) in &self.places {
            self.file.read_exact_at(&mut page, *at).map_err(Error::file("read", copy))?;
            file.write_all_at(&page, (u64::from(*number) - 1) * size).map_err(fail())?;
        }
        file.set_len(u64::from(self.pages) * size).map_err(fail())
    }

    /// Reads the records as SQLite does: up to the first that is incomplete or has a wrong checksum. `None` without a
    /// valid header.
    fn read(file: File, total: u64) -> std::io::Result<Option<RollbackJournal>> {
        let mut first = [0; 28];
        if total < 28 {
            return Ok(None);
        }
        file.read_exact_at(&mut first, 0)?;
        let (pages, sector, page_size) = (be32(&first, 16), be32(&first, 20), be32(&first, 24));
        let is_size = |size: u32, least: u32| size.is_power_of_two() && (least..=65536).contains(&size);
        if !first.starts_with(&MAGIC) || !is_size(sector, 32) || !is_size(page_size, 512) {
            return Ok(None);
        }
        let mut journal = RollbackJournal { file, page_size, pages, places: BTreeMap::new() };
        let (sector, record) = (u64::from(sector), u64::from(page_size) + 8);
        let mut at = 0;
        while at + 28 <= total {
            let mut header = [0; 28];
            journal.file.read_exact_at(&mut header, at)?;
            if !header.starts_with(&MAGIC) {
                break;
            }
            let (counted, seed) = (be32(&header, 8), be32(&header, 12));
            at += sector;
            let room = total.saturating_sub(at) / record;
            let count = if counted == UNCOUNTED { room } else { u64::from(counted).min(room) };
            if !journal.take(at, count, seed)? || counted == UNCOUNTED || count < u64::from(counted) {
                break;
            }
            at = (at + count * record).next_multiple_of(sector);
        }
        Ok(Some(journal))
    }

    /// Notes `count` records from `at` on; the first content of a page counts. Returns whether all were valid.
    fn take(&mut self, at: u64, count: u64, seed: u32) -> std::io::Result<bool> {
        let size = self.page_size as usize;
        let mut record = vec![0; size + 8];
        for one in 0..count {
            let at = at + one * record.len() as u64;
            self.file.read_exact_at(&mut record, at)?;
            let (number, page) = (be32(&record, 0), &record[4..size + 4]);
            // The page of the locks, which no database has, is before the name of a super-journal.
            if number == 0 || number == (1 << 30) / self.page_size + 1 {
                return Ok(false);
            }
            if number > self.pages || self.places.contains_key(&number) {
                continue;
            }
            if checksum(page, seed) != be32(&record, size + 4) {
                return Ok(false);
            }
            self.places.insert(number, at + 4);
        }
        Ok(true)
    }

    /// The header of the database before the transaction: `None` if the journal does not have that page, `Some(None)` if
    /// the page is not the first one of a database.
    fn head(&self) -> std::io::Result<Option<Option<Head>>> {
        let Some(at) = self.place(1) else { return Ok(None) };
        let mut bytes = [0; 100];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(Some(Head::read(&bytes)))
    }
}

impl SqliteFile {
    /// The journal beside the database, if it matters.
    pub fn journal(&self) -> Result<JournalFile> {
        let path = self.part("-journal");
        let file = match files::open_regular(&path) {
            Err(error) if error.is_missing() => return Ok(JournalFile::None),
            opened => opened?,
        };
        let fail = || Error::file("read", &path);
        let total = file.metadata().map_err(fail())?.len();
        let several = super_journal(&file, total).map_err(fail())?;
        let Some(journal) = RollbackJournal::read(file, total).map_err(fail())? else { return Ok(JournalFile::None) };
        if let Some(name) = several {
            // The path may be one of a container.
            let beside = name.file_name().map(|name| self.path.with_file_name(name));
            return Ok(if files::exists(&name) || beside.is_some_and(|path| files::exists(&path)) {
                JournalFile::Foreign(format!(
                    "it is part of a transaction in several databases, with the super-journal `{}`",
                    name.display()
                ))
            } else {
                JournalFile::None
            });
        }
        self.judge(journal).map_err(fail())
    }

    /// Whether a journal has to be rolled back before the database can be read, and no process is writing it. SQLite
    /// decides: it sees the lock of the writer.
    pub fn is_interrupted(&self) -> Result<bool> {
        let mut first = [0];
        match files::open_regular(&self.part("-journal")).map(|mut file| file.read_exact(&mut first)) {
            // Empty, missing or zeroed; one that cannot be read is reported with the database.
            Err(_) | Ok(Err(_)) => return Ok(false),
            Ok(Ok(())) if first == [0] => return Ok(false),
            Ok(Ok(())) => {}
        }
        let asked = self
            .open_raw(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .and_then(|connection| connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())));
        let code = asked.err().and_then(|error| error.sqlite_error().map(|error| error.extended_code));
        Ok(code == Some(rusqlite::ffi::SQLITE_READONLY_ROLLBACK))
    }

    /// Opens a copy without the transaction that was interrupted: the one that an earlier reader has made, if the files are
    /// still the same.
    pub(super) fn rolled_back(&self) -> Result<Sqlite> {
        let about = |path: &Path| files::look(path).ok().flatten().map(|found| (found.size, found.modified));
        let look = (self.look(), about(&self.part("-journal")));
        let mut kept = self.rolled_back.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = match kept.as_ref().filter(|copy| copy.look == look) {
            Some(copy) => copy.clone(),
            None => {
                let folder = files::temp_folder("kumadb-", None)?;
                files::require_space(folder.path(), self.size())?;
                let file = SqliteFile::new(folder.path().join("kuma.db"));
                self.copy_rolled_back(&file)?;
                kept.insert(Arc::new(RolledBackCopy { look, file, _folder: folder })).clone()
            }
        };
        drop(kept);
        let opened = copy.file.read_only()?;
        let sqlite = Sqlite { file: self.clone(), still: Some(look.0), copy: Some(copy), ..opened };
        sqlite.check_still()?;
        Ok(sqlite)
    }

    /// Compares `journal` with the database.
    fn judge(&self, journal: RollbackJournal) -> std::io::Result<JournalFile> {
        let mut bytes = [0; 100];
        let read = raw_file::with_file(&self.path, |file| {
            let now = file.read_exact_at(&mut bytes, 0).ok().and_then(|()| Head::read(&bytes));
            Ok((now, file.metadata().map_err(Error::file("read", &self.path))?.len()))
        });
        let (now, size) = read.map_err(std::io::Error::other)?;
        let size = size / u64::from(journal.page_size);
        let before = match journal.head()? {
            Some(None) => return Ok(JournalFile::Foreign("its first page is not that of a SQLite database".into())),
            head => head.flatten(),
        };
        let why = mismatch(&journal, size, now.as_ref(), before.as_ref(), self.has_wal());
        Ok(match why {
            Some(why) => JournalFile::Foreign(why),
            None if journal.places.is_empty() && size == u64::from(journal.pages) => JournalFile::None,
            None => JournalFile::Own(journal),
        })
    }

    /// The error for a journal of something else.
    pub(super) fn foreign_journal(&self, why: String) -> Error {
        DatabaseError::ForeignJournal { journal: self.part("-journal"), why }.into()
    }

    /// Whether the file alone is the database, and a process that starts to write it would be noticed: WAL mode without a WAL, and
    /// without a journal that matters.
    pub(crate) fn is_alone(&self) -> Result<bool> {
        Ok(self.is_still()? && matches!(self.journal()?, JournalFile::None))
    }

    pub(super) fn has_wal(&self) -> bool {
        matches!(files::look(&self.part("-wal")), Ok(Some(wal)) if wal.size > 0)
    }

    /// Copies the database and its WAL to `copy`, without the transaction that its journal rolls back. The shared memory is
    /// only an index of the WAL, which every reader rebuilds.
    ///
    /// # Errors
    /// [`DatabaseError::ForeignJournal`] if the journal is not its own.
    pub(crate) fn copy_rolled_back(&self, copy: &SqliteFile) -> Result<()> {
        let journal = self.journal()?;
        files::copy_unless(&self.path, &copy.path, &self.cancel)?;
        let wal = self.part("-wal");
        if files::is_there(&wal)? {
            files::copy_unless(&wal, &copy.part("-wal"), &self.cancel)?;
        }
        match journal {
            JournalFile::None => Ok(()),
            JournalFile::Own(journal) => journal.apply(&copy.path),
            JournalFile::Foreign(why) => Err(self.foreign_journal(why)),
        }
    }
}

/// Why `journal` cannot be of the database with `size` pages and the header `now`; `before` is the header in the
/// journal. Every transaction that is committed without a WAL counts the changes up by one, and keeps the first page in
/// its journal; so does one that changes the number of pages.
fn mismatch(
    journal: &RollbackJournal,
    size: u64,
    now: Option<&Head>,
    before: Option<&Head>,
    has_wal: bool,
) -> Option<String> {
    let RollbackJournal { page_size, pages, .. } = journal;
    if let Some(other) = [now, before].into_iter().flatten().find(|head| head.page_size != *page_size) {
        return Some(format!("its pages have {page_size} bytes, those of the database {}", other.page_size));
    }
    if let (Some(now), Some(before)) = (now, before)
        && ![before.changes, before.changes.wrapping_add(1)].contains(&now.changes)
    {
        return Some(format!(
            "it is of change {} of a database, and `kuma.db` has change {}: it is from another database or another \
             point in time",
            before.changes, now.changes
        ));
    }
    if now.is_some_and(|now| now.is_wal) && has_wal {
        return Some("the database has a WAL, and does not use a journal with it".into());
    }
    let known = before.map_or(0, |head| head.pages);
    if known != 0 && known != *pages {
        return Some(format!("it is of a database of {pages} pages, but its own first page has {known}"));
    }
    let is_changed = before.is_none() && size != u64::from(*pages);
    let is_short = (size + 1..=u64::from(*pages)).any(|number| !journal.places.contains_key(&(number as u32)));
    (is_changed || is_short)
        .then(|| format!("it is of a database of {pages} pages, but `kuma.db` has {size} and no sign of a change"))
}

/// The name of the super-journal at the end of a journal of a transaction in several databases.
fn super_journal(file: &File, total: u64) -> std::io::Result<Option<std::path::PathBuf>> {
    let mut tail = [0; 16];
    let Some(at) = total.checked_sub(16) else { return Ok(None) };
    file.read_exact_at(&mut tail, at)?;
    let (length, sum) = (u64::from(be32(&tail, 0)), be32(&tail, 4));
    if tail[8..] != MAGIC || length == 0 || length > at.min(4096) {
        return Ok(None);
    }
    let mut name = vec![0; length as usize];
    file.read_exact_at(&mut name, at - length)?;
    let added = name.iter().fold(0u32, |sum, byte| sum.wrapping_add(i32::from(*byte as i8) as u32));
    Ok((added == sum).then(|| Path::new(std::ffi::OsStr::from_bytes(&name)).to_owned()))
}

/// SQLite's checksum of a page in a journal: every 200th byte from the end.
fn checksum(page: &[u8], seed: u32) -> u32 {
    let mut at = page.len().saturating_sub(200);
    let mut sum = seed;
    while at > 0 {
        sum = sum.wrapping_add(u32::from(page[at]));
        at = at.saturating_sub(200);
    }
    sum
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
