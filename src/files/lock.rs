//! The lock of an instance.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{PRIVATE, owner, parent};
use crate::error::{Error, Result};

/// No note in a lock is longer, in bytes.
const NOTE: u64 = 256;

/// The right to work on one instance, held by one process at a time; the operating system takes it back when the process
/// ends, however it ends, so that no stale lock ever has to be cleared by hand.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    /// Said, because a process that is just being started may still hold a copy of the descriptor.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

impl Lock {
    /// Takes the lock at `path`, leaving `note` there for whoever meets it; does not wait.
    ///
    /// # Errors
    /// [`Error::Locked`]; [`Error::NoLocks`] on a file system that has no locks.
    pub fn take(path: &Path, note: &str) -> Result<Lock> {
        let failed = || Error::file("lock", path);
        let folder = owner::open_folder(parent(path)).map_err(failed())?;
        loop {
            let mut file = open(&folder, path).map_err(failed())?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    // Where the lock is one of an SMB server, others may not even read the file.
                    let _ = file.read_to_string(&mut holder);
                    return Err(Error::Locked { holder: holder.trim().to_owned() });
                }
                Err(TryLockError::Error(error)) => return Err(refused(path, error)),
            }
            // Somebody may have removed the file meanwhile, and a third one would lock another.
            if !is_at(&file, &folder, path).map_err(failed())? {
                continue;
            }
            file.set_len(0)
                .and_then(|()| file.seek(SeekFrom::Start(0)))
                .and_then(|_| file.write_all(note.as_bytes()))
                .map_err(Error::file("write", path))?;
            // What is in it is ours now, so its owner may be, too.
            if file.metadata().map_err(failed())?.nlink() == 1 {
                owner::inherit(&file, &folder, path).map_err(Error::file("change the owner of", path))?;
            }
            return Ok(Lock { file });
        }
    }
}

/// As root, removes the lock at `path` that an earlier run as root left as root's own and that nobody holds: the next one is
/// made anew, for the owner of the folder. Its owner is not changed, because he may have given any file of root's that name;
/// what is no note of a run stays. Says whether it was removed.
pub fn remove_left_lock(path: &Path) -> Result<bool> {
    let failed = || Error::file("look at", path);
    let folder = owner::open_folder(parent(path)).map_err(failed())?;
    let name = owner::file_name(path).map_err(failed())?;
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

/// Whether a run leaves `text` in its lock: "`monitor add`, pid 4711", and nothing else.
fn is_note(text: &str) -> bool {
    let parts = text.strip_prefix('`').and_then(|text| text.split_once("`, pid "));
    parts.is_some_and(|(verb, pid)| {
        verb.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'-'))
            && !pid.is_empty()
            && pid.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Opens the file of the lock, made where there is none. The folder may belong to the server's user, whose link root must not
/// follow.
fn open(folder: &OwnedFd, path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(PRIVATE as _);
    Ok(File::from(rustix::fs::openat(folder, owner::file_name(path)?, flags, mode)?))
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
            Error::NoLocks { path: path.to_owned(), kind }
        }
        _ => Error::file("lock", path)(error),
    }
}
