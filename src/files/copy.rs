//! Copies of files, and their hashes.

use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use super::read::{drop_cached, read_block};
use super::{TEMPORARY, create_private, door, open, open_below, open_regular, open_uncached, parent, require_space};
use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// Bytes that are copied between two looks for a request to end.
const PIECE: u64 = 1 << 20;

/// Copies `from` byte for byte to the new private file `to` and flushes it. Shares the blocks where the file system can (Btrfs,
/// XFS): then it takes no time and no space.
pub fn copy_exact(from: &Path, to: &Path) -> Result<()> {
    copy_open(open(from)?, to, &Cancel::default())
}

/// The same for the regular file at `from`, which must not be a link itself, and is behind no link of another user.
pub fn copy_regular(from: &Path, to: &Path) -> Result<()> {
    let source = door::open_named(from).map_err(Error::file("open", from))?;
    copy_open(source, to, &Cancel::default())
}

/// The same, until `cancel` ends it.
pub fn copy_unless(from: &Path, to: &Path, cancel: &Cancel) -> Result<()> {
    copy_open(open_regular(from)?, to, cancel)
}

/// The same for the regular file `name` below `folder`, which is reached through no link.
pub fn copy_below(folder: &Path, name: &str, to: &Path) -> Result<()> {
    copy_open(open_below(folder, name)?, to, &Cancel::default())
}

fn copy_open(source: File, to: &Path, cancel: &Cancel) -> Result<()> {
    let copy = copy_kept(&source, to, &mut |_, _| {}, cancel)?;
    copy.sync_all().map_err(Error::file("flush", to))
}

/// The same for `source`, which stays open and may be read by others meanwhile. The copy is not flushed. `progress` is called with (done,
/// total) in bytes.
pub fn copy_kept(source: &File, to: &Path, progress: &mut dyn FnMut(u64, u64), cancel: &Cancel) -> Result<File> {
    let mut copy = create_private(to)?;
    if reflink(source, &copy) {
        return Ok(copy);
    }
    copy.set_len(0).map_err(Error::file("write", to))?;
    copy.seek(SeekFrom::Start(0)).map_err(Error::file("write", to))?;
    // No more than its present size: a file with holes, or one that grows, could fill the disk.
    let total = source.metadata().map_err(Error::file("read", to))?.len();
    let mut left = total;
    require_space(lasting(parent(to)), left)?;
    let mut piece = vec![0; PIECE.min(left) as usize];
    while left > 0 {
        let room = (piece.len() as u64).min(left) as usize;
        let count = read_block(source, total - left, &mut piece[..room]).map_err(Error::file("read", to))?;
        if count == 0 {
            break;
        }
        copy.write_all(&piece[..count]).map_err(Error::file("write", to))?;
        left -= count as u64;
        progress(total - left, total);
        cancel.check()?;
    }
    Ok(copy)
}

/// The nearest folder above the temporary ones of this process, which are gone when the user reads the error.
pub(super) fn lasting(folder: &Path) -> &Path {
    let is_temporary = |part: &Path| {
        let name = part.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(TEMPORARY) || name.starts_with(&TEMPORARY[1..])
    };
    folder.ancestors().find(|above| !above.ancestors().any(is_temporary)).unwrap_or(folder)
}

#[cfg(target_os = "linux")]
pub(super) fn reflink(source: &File, copy: &File) -> bool {
    rustix::fs::ioctl_ficlone(copy, source).is_ok()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn reflink(_source: &File, _copy: &File) -> bool {
    false
}

/// The blake3 hash of `path`, in hex, and its size in bytes, read from the disk rather than from the page cache where the
/// system supports that.
pub fn hash(path: &Path) -> Result<(String, u64)> {
    hash_open(path, &mut open_uncached(path)?)
}

/// The same for the regular file `name` below `folder`, which is reached through no link.
pub fn hash_below(folder: &Path, name: impl AsRef<Path>) -> Result<(String, u64)> {
    hash_below_unless(folder, name, &Cancel::default())
}

/// The same, until `cancel` ends it.
pub fn hash_below_unless(folder: &Path, name: impl AsRef<Path>, cancel: &Cancel) -> Result<(String, u64)> {
    let mut file = open_below(folder, &name)?;
    drop_cached(&file);
    hash_file(&folder.join(name), &mut file, cancel)
}

/// The same for the regular file at `path`, which must not be a link itself.
pub fn hash_regular(path: &Path) -> Result<(String, u64)> {
    let mut file = open_regular(path)?;
    drop_cached(&file);
    hash_open(path, &mut file)
}

/// The same for what was written to `path`, whether it is on the disk yet or not, until `cancel` ends it.
pub fn hash_written(path: &Path, cancel: &Cancel) -> Result<(String, u64)> {
    hash_file(path, &mut open(path)?, cancel)
}

/// The same for `file`, which is open at its beginning; `path` is for messages.
pub fn hash_open(path: &Path, file: &mut File) -> Result<(String, u64)> {
    hash_file(path, file, &Cancel::default())
}

fn hash_file(path: &Path, file: &mut File, cancel: &Cancel) -> Result<(String, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        cancel.check()?;
        match file.read(&mut buffer).map_err(Error::file("read", path))? {
            0 => return Ok((hasher.finalize().to_hex().to_string(), size)),
            n => {
                hasher.update(&buffer[..n]);
                size += n as u64;
            }
        }
    }
}
