//! Opening and reading files, of bounded size.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use super::{LARGE, SMALL, door};
use crate::error::{Error, InputError, Result};

/// Reads the text at `path`; `None` where the file does not exist.
pub fn read_text(path: &Path) -> Result<Option<String>> {
    if_exists(path, read_small(path))
}

/// What was read at `path`; `None` where there is nothing.
fn if_exists(path: &Path, read: io::Result<String>) -> Result<Option<String>> {
    match read {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("read", path)(error)),
    }
}

/// The text at `path`, if it exists, of at most [`SMALL`] bytes.
pub fn read_small_text(path: &Path) -> Result<Option<String>> {
    if_exists(path, door::open_read(path).and_then(|file| read_bounded(file, SMALL)))
}

/// Reads the text at `path`, which must exist.
pub fn read_whole(path: &Path) -> Result<String> {
    read_small(path).map_err(Error::file("read", path))
}

/// The text at `path`.
fn read_small(path: &Path) -> io::Result<String> {
    let most = if door::is_foreign(path) { SMALL } else { LARGE };
    read_bounded(door::open_read(path)?, most)
}

/// The text of `file`, of at most `most` bytes.
pub(super) fn read_bounded(mut file: File, most: u64) -> io::Result<String> {
    let text = String::from_utf8(read_most(&mut file, most)?);
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8"))
}

/// Everything that is left of `source`.
///
/// # Errors
/// [`io::ErrorKind::FileTooLarge`]: it is more than `most` bytes.
pub fn read_most(source: &mut dyn Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if source.take(most + 1).read_to_end(&mut bytes)? as u64 > most {
        Err(io::ErrorKind::FileTooLarge.into())
    } else {
        Ok(bytes)
    }
}

/// The first line of the text at `path`, without its line break: a secret in a file of its own.
///
/// # Errors
/// [`InputError::FileNotFound`] when the file does not exist, or that line is empty.
pub fn read_first_line(path: &Path) -> Result<String> {
    let text = read_text(path)?.ok_or_else(|| Error::Input(InputError::FileNotFound { path: path.to_owned() }))?;
    match text.lines().next().filter(|line| !line.is_empty()) {
        Some(line) => Ok(line.to_owned()),
        None => Err(Error::Input(InputError::EmptyFirstLine { path: path.to_owned() })),
    }
}

/// Opens the file at `path` for reading. Below a folder that is not ours, it must be a regular file, and no part of the
/// way a link.
pub fn open(path: &Path) -> Result<File> {
    door::open_read(path).map_err(Error::file("read", path))
}

/// Opens the regular file that `path` leads to for reading; reading anything else may never end.
pub fn open_stored(path: &Path) -> Result<File> {
    let opened = door::open(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).and_then(door::regular);
    opened.map_err(Error::file("read", path))
}

/// Opens the regular file at `path` for reading; the file itself must not be a link.
pub fn open_regular(path: &Path) -> Result<File> {
    door::open_file(path, OFlags::RDONLY).map_err(Error::file("open", path))
}

/// Opens the existing regular file at `path` for writing; the file itself must not be a link.
pub fn open_to_write(path: &Path) -> Result<File> {
    door::open_file(path, OFlags::WRONLY).map_err(Error::file("write", path))
}

/// Fills `block` from `at` on; returns how many bytes there are, fewer at the end.
pub fn read_block(file: &File, at: u64, block: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < block.len() {
        match file.read_at(&mut block[done..], at + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Opens `path` to be read from the disk rather than from the page cache, where the system supports that.
pub fn open_uncached(path: &Path) -> Result<File> {
    let file = open_stored(path)?;
    drop_cached(&file);
    Ok(file)
}

#[cfg(target_os = "linux")]
pub(super) fn drop_cached(file: &File) {
    // Only clean pages are dropped, so callers flush first; without support the hash may come from the cache.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
pub(super) fn drop_cached(_file: &File) {}

/// The same for `size` bytes from `at` on.
#[cfg(target_os = "linux")]
pub(super) fn drop_cached_part(file: &File, at: u64, size: u64) {
    let _ = rustix::fs::fadvise(file, at, std::num::NonZeroU64::new(size), rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
pub(super) fn drop_cached_part(_file: &File, _at: u64, _size: u64) {}

/// Opens the socket at `path`, to be connected to, which must be below `folder` and is reached through no link: a service of
/// this machine may let its own users in through a socket without a password.
pub fn open_socket(folder: &Path, path: &Path) -> io::Result<OwnedFd> {
    let rest = path.strip_prefix(folder).map_err(|_| io::ErrorKind::InvalidInput)?;
    #[cfg(target_os = "linux")]
    let flags = OFlags::PATH;
    #[cfg(not(target_os = "linux"))]
    let flags = OFlags::RDONLY;
    let link = || io::Error::other("the socket is a symbolic link, which kumadb does not follow");
    let opened = door::open_folder(folder).and_then(|folder| door::open_below(&folder, rest, flags, Mode::empty()));
    let is_link = |error: &io::Error| rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::LOOP);
    let socket = opened.map_err(|error| if is_link(&error) { link() } else { error })?;
    match FileType::from_raw_mode(rustix::fs::fstat(&socket)?.st_mode) {
        FileType::Socket => Ok(socket),
        // Opened by its path only, a link is opened itself.
        FileType::Symlink => Err(link()),
        _ => Err(io::Error::other("it is not a socket")),
    }
}
