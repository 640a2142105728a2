//! The lock of an instance.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{PRIVATE, door, owner, parent};
use crate::error::{Error, FileError, OperationError, Result};

/// Maximum length of the note in a lock, in bytes.
const NOTE: u64 = 256;

/// The exclusive right to work on one instance, owned by one process at a time; the operating system releases it when
/// the process ends, so a stale lock never has to be removed by hand.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    /// Unlocked explicitly, because a child process that is being started may still have a copy of the descriptor.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

impl Lock {
    /// Takes the lock at `path` and writes `note` into it; does not wait.
    ///
    /// # Errors
    /// [`OperationError::Locked`](crate::error::OperationError::Locked);
    /// [`FileError::NoLocks`](crate::error::FileError::NoLocks) on a file system without locks.
    pub fn take(path: &Path, note: &str) -> Result<Lock> {
        let failed = || Error::file("lock", path);
        let folder = door::open_folder(parent(path)).map_err(failed())?;
        loop {
            let mut file = open(&folder, path).map_err(failed())?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    // With an SMB lock, other processes cannot even read the file.
                    let _ = file.read_to_string(&mut holder);
                    return Err(Error::Operation(OperationError::Locked { holder: holder.trim().to_owned() }));
                }
                Err(TryLockError::Error(error)) => return Err(refused(path, error)),
            }
            // The file may have been removed meanwhile, and another process would lock a new one.
            if !is_at(&file, &folder, path).map_err(failed())? {
                continue;
            }
            file.set_len(0)
                .and_then(|()| file.seek(SeekFrom::Start(0)))
                .and_then(|_| file.write_all(note.as_bytes()))
                .map_err(Error::file("write", path))?;
            // Its content is ours now, so its owner may be too.
            if file.metadata().map_err(failed())?.nlink() == 1 {
                owner::inherit(&file, &folder, path).map_err(Error::file("change the owner of", path))?;
            }
            return Ok(Lock { file });
        }
    }
}

/// As root, removes the lock at `path` that an earlier run as root left and that no process uses: the next one is
/// created for the owner of the folder. Its owner is not changed, because the file may be any file of root's under
/// that name; a file that does not contain the note of a run stays. Returns whether it was removed.
pub fn remove_left_lock(path: &Path) -> Result<bool> {
    let failed = || Error::file("access", path);
    let (folder, name) = door::open_parent(path).map_err(failed())?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(&folder, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT | Errno::LOOP) => return Ok(false),
        Err(error) => return Err(failed()(error.into())),
    };
    let found = file.metadata().map_err(failed())?;
    if found.uid() != 0 || !owner::gives(path) || !found.is_file() {
        return Ok(false);
    }
    let mut note = Vec::new();
    (&file).take(NOTE).read_to_end(&mut note).map_err(failed())?;
    let is_note = note.is_empty() || String::from_utf8(note).is_ok_and(|note| is_note(&note));
    if !is_note || file.try_lock().is_err() || !is_at(&file, &folder, path).map_err(failed())? {
        return Ok(false);
    }
    rustix::fs::unlinkat(&folder, name, AtFlags::empty()).map_err(|error| Error::file("remove", path)(error.into()))?;
    Ok(true)
}

/// Whether `text` is the note of a run: "`monitor add`, pid 4711", and nothing else.
fn is_note(text: &str) -> bool {
    let parts = text.strip_prefix('`').and_then(|text| text.split_once("`, pid "));
    parts.is_some_and(|(verb, pid)| {
        verb.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'-'))
            && !pid.is_empty()
            && pid.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Opens the lock file, and creates it where it is missing. The folder may belong to the server's user, whose links
/// root must not follow.
fn open(folder: &OwnedFd, path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(PRIVATE as _);
    let name = owner::file_name(path)?;
    door::regular(owner::as_owner(folder, path, || rustix::fs::openat(folder, name, flags, mode))?)
}

/// Whether `file` is still the one at `path` in `folder`.
fn is_at(file: &File, folder: &OwnedFd, path: &Path) -> io::Result<bool> {
    let ours = rustix::fs::fstat(file)?;
    match rustix::fs::statat(folder, owner::file_name(path)?, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(there) => Ok((there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn refused(path: &Path, error: io::Error) -> Error {
    match Errno::from_io_error(&error) {
        Some(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => {
            let kind = super::file_system(path).map_or_else(|_| "file system".into(), |found| found.kind);
            Error::File(FileError::NoLocks { path: path.to_owned(), kind })
        }
        _ => Error::file("lock", path)(error),
    }
}
