//! Files that survive a power failure: written to a temporary file, flushed, renamed, and the folder flushed.
//!
//! All renames of the project are here, and every Linux-only call has a portable alternative, so that kumadb also builds on
//! macOS.

mod confine;
mod copy;
mod door;
mod equal;
mod folder;
mod list;
mod lock;
mod look;
mod mount;
mod owner;
mod pin;
mod read;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, FileError, Result};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, StatVfs, StatVfsMountFlags};

pub use confine::{Confined, Confinement};
pub use copy::{
    copy_below, copy_exact, copy_kept, copy_regular, copy_unless, hash, hash_below, hash_below_unless, hash_open,
    hash_regular, hash_written,
};
pub use door::{open as open_raw, open_folder, open_strict, resolve_folder, unlink as unlink_raw, unlink_strict};
pub use equal::EqualCopy;
pub use folder::{
    claim_folder, entries, folder_size, make_folder, not_ours, remove, remove_empty_folder, remove_folder,
    remove_temp_folders, temp_folder, tree_below,
};
pub use list::JsonList;
pub use lock::{Lock, remove_left_lock};
pub use look::{
    About, about, about_target, check_readable, exists, folder_identity, identity, identity_of, is_file, is_folder,
    is_there, link_target, look, look_into, nearest, real,
};
pub use mount::{FileSystem, LockScope, file_system};
pub use owner::{
    check_file_writable, check_only_name, check_own, foreign_entries, give, give_subfolder, our_uid, set_mode,
    set_owner, user_words,
};
pub use pin::{Pinned, open_below, read_below};
pub use read::{
    open, open_regular, open_socket, open_stored, open_to_write, open_uncached, read_block, read_first_line, read_most,
    read_small_text, read_text, read_whole,
};

/// The name of kumadb's own folder inside a data folder. Files that root creates below it belong to the owner of the folder
/// that they are in.
pub const WORK: &str = ".kumadb";

/// Beginning of the names of its other folders and files, in which something is made until it is complete.
pub const TEMPORARY: &str = ".kumadb-";

/// Mode of files that only the owner may read: snapshots, journals, everything that may contain a secret.
pub const PRIVATE: u32 = 0o600;

/// Maximum size of a text that is read from a folder that is not ours, in bytes.
pub const SMALL: u64 = 1 << 20;

/// Maximum size of any other text that is read as a whole, in bytes: the largest fixture.
pub const LARGE: u64 = 1 << 30;

/// Replaces `path` atomically with the output of `write`: temporary file beside it, fsync, rename, fsync of the folder. An
/// existing file keeps its owner and mode; a new one gets `mode`.
pub fn replace(path: &Path, mode: u32, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    let above = parent(path);
    let folder = door::open_folder(above).map_err(Error::file("write in", above))?;
    replace_in(&folder, path, mode, None, write)
}

/// The same for an output that the user names. An existing one that is not a file (`/dev/null`, `/dev/stdout`, a FIFO) is written to,
/// because replacing it would take it from every other program.
pub fn write_output(path: &Path, mode: u32, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    let is_special = |found: fs::Metadata| !found.is_file() && !found.is_dir();
    let leads_to_open_file = |path: &Path| path.starts_with("/proc") || path.starts_with("/dev/fd");
    let is_stream = fs::metadata(path).is_ok_and(is_special)
        || leads_to_open_file(path)
        || fs::read_link(path).is_ok_and(|target| leads_to_open_file(&target));
    if !is_stream {
        return replace(path, mode, write);
    }
    let opened = fs::OpenOptions::new().write(true).open(path);
    opened.and_then(|mut file| write(&mut file)).map_err(Error::file("write", path))
}

/// Replaces the file `name` below `folder`, whose owner may be an attacker, with the content of `source`. The file and the
/// folders that are missing belong to the owner of `folder`; a new file gets `mode`, and a new folder that of `folder`.
///
/// # Errors
/// [`FileError::Link`]: a part of the way is a link.
pub fn put_below(folder: &Path, name: &Path, mode: u32, source: &mut File) -> Result<()> {
    let path = folder.join(name);
    let inside = door::make_way(folder, parent(name)).map_err(Error::file("make the folder of", &path))?;
    let like = fs::metadata(folder).map_err(Error::file("access", folder))?;
    // Before it has its name: the owner of the folder may have put another file there by then.
    let owner = Some((like.uid(), like.gid()));
    replace_in(&inside, &path, mode, owner, |file| io::copy(source, file).map(drop))
}

fn replace_in(
    folder: &OwnedFd,
    path: &Path,
    mode: u32,
    owner: Option<(u32, u32)>,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<()> {
    let above = parent(path);
    let name = owner::file_name(path).map_err(Error::file("write", path))?;
    let temp = temp_name()?;
    let mut file = owner::create_in(folder, &temp, path).map_err(Error::file("write in", above))?;
    let put = || {
        write(&mut file).map_err(Error::file("write", path))?;
        // The owner of a link does not count: its target belongs to another user.
        let old = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok();
        match old.filter(|old| FileType::from_raw_mode(old.st_mode).is_file() && !owner::gives(path)) {
            Some(old) => owner::be_like(&file, &old),
            None => rustix::fs::fchmod(&file, Mode::from_raw_mode(mode as _)).map_err(io::Error::from),
        }
        .and_then(|()| owner.map_or(Ok(()), |(uid, gid)| owner::change(&file, uid, gid)))
        .map_err(Error::file("change the owner of", path))?;
        file.sync_all().map_err(Error::file("flush", path))?;
        rustix::fs::renameat(folder, &temp, folder, name)
            .map_err(|errno| Error::file("put in place", path)(errno.into()))
    };
    if let Err(error) = put() {
        // The original error counts.
        let _ = rustix::fs::unlinkat(folder, &temp, AtFlags::empty());
        return Err(error);
    }
    rustix::fs::fsync(folder).map_err(|errno| Error::file("flush the folder", above)(errno.into()))
}

/// `.kumadb-0123456789abcdef`: an unused name.
fn temp_name() -> Result<OsString> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| Error::File(FileError::Random { why: error.to_string() }))?;
    Ok(format!(".kumadb-{:016x}", u64::from_be_bytes(bytes)).into())
}

/// Moves `from` to `to` within one file system, durably.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    let open = |path: &Path| door::open_folder(parent(path)).map_err(Error::file("rename", from));
    let name = |path| owner::file_name(path).map_err(Error::file("rename", from));
    let (old, new, name, new_name) = (open(from)?, open(to)?, name(from)?, name(to)?);
    rustix::fs::renameat(&old, name, &new, new_name).map_err(|errno| Error::file("rename", from)(errno.into()))?;
    let flush = |folder: &OwnedFd, path: &Path| {
        rustix::fs::fsync(folder).map_err(|errno| Error::file("flush the folder", path)(errno.into()))
    };
    flush(&new, parent(to))?;
    if parent(from) == parent(to) { Ok(()) } else { flush(&old, parent(from)) }
}

/// Moves `from` to the place of the file `to`, whose owner and mode it gets. This needs no disk space.
///
/// # Errors
/// [`FileError::HardLink`]: `from` has another name.
pub fn move_over(from: &Path, to: &Path) -> Result<()> {
    let like = door::look(to).map_err(Error::file("access", to))?;
    let like = like.filter(|found| FileType::from_raw_mode(found.st_mode).is_file());
    let like = like.ok_or(io::ErrorKind::NotFound).map_err(|kind| Error::file("access", to)(kind.into()))?;
    set_owner(from, like.st_uid, like.st_gid)?;
    let file = open_regular(from)?;
    let fail = || Error::file("change the mode of", from);
    if rustix::fs::fstat(&file).map_err(|errno| fail()(errno.into()))?.st_nlink > 1 {
        return Err(FileError::HardLink { path: from.to_owned() }.into());
    }
    rustix::fs::fchmod(&file, Mode::from_raw_mode(like.st_mode & 0o7777)).map_err(|errno| fail()(errno.into()))?;
    rename(from, to)
}

/// As [`rename`], where `to` does not exist yet.
pub fn rename_new(from: &Path, to: &Path) -> Result<()> {
    if door::look(to).map_err(Error::file("access", to))?.is_some() {
        return Err(Error::file("rename", from)(io::ErrorKind::AlreadyExists.into()));
    }
    rename(from, to)
}

/// Creates `path` for writing with mode 0600; fails if it exists.
pub fn create_private(path: &Path) -> Result<File> {
    let create = || owner::create_in(&door::open_folder(parent(path))?, owner::file_name(path)?, path);
    create().map_err(Error::file("make", path))
}

/// `path` as an absolute path, without `.` and `..`; links are not resolved.
pub fn absolute(path: impl AsRef<Path>) -> Result<PathBuf> {
    let path = std::path::absolute(&path).map_err(Error::file("find", &path))?;
    Ok(tidy(&path))
}

/// `path` without `.`, `..` and a trailing slash.
pub fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(tidy.pop()),
            Component::CurDir => {}
            part => tidy.push(part),
        }
    }
    tidy
}

/// Flushes the file at `path` to the disk.
pub fn flush(path: &Path) -> Result<()> {
    door::open_read(path).and_then(|file| file.sync_all()).map_err(Error::file("flush", path))
}

/// Flushes the entries of `folder` to the disk.
pub fn sync_folder(folder: &Path) -> Result<()> {
    door::open_folder(folder)
        .and_then(|folder| Ok(rustix::fs::fsync(folder)?))
        .map_err(Error::file("flush the folder", folder))
}

fn space(path: &Path) -> Result<StatVfs> {
    rustix::fs::statvfs(path).map_err(|error| Error::file("look at", path)(error.into()))
}

/// Free bytes for this user on the file system of `path`.
pub fn free_space(path: &Path) -> Result<u64> {
    let found = space(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Whether the file system of `path` is mounted read-only.
pub fn is_read_only(path: &Path) -> Result<bool> {
    Ok(space(path)?.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Fails unless `needed` bytes are free on the file system of `path`.
pub fn require_space(path: &Path, needed: u64) -> Result<()> {
    let free = free_space(path)?;
    if free < needed { Err(Error::File(FileError::NoSpace { path: path.to_owned(), needed, free })) } else { Ok(()) }
}

/// Fails unless this process may create files in `folder`.
pub fn check_writable(folder: &Path) -> Result<()> {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK)
        .map_err(|errno| Error::file("write in", folder)(errno.into()))
}

/// Other processes that have any of `paths` open, as `node (pid 4711)`. Only root sees processes of other users; systems
/// without /proc show none.
pub fn holders(paths: &[PathBuf]) -> Vec<String> {
    let desired: Vec<Stat> = paths.iter().filter_map(|path| rustix::fs::stat(path).ok()).collect();
    let mut found = Vec::new();
    if desired.is_empty() {
        return found;
    }
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if pid == std::process::id() {
            continue;
        }
        if has_open(&process.path().join("fd"), &desired).unwrap_or(false) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            found.push(format!("{} (pid {pid})", name.trim()));
        }
    }
    found
}

/// Whether a descriptor in `folder`, the `fd` of a process, is one of `files`. They are looked at from their folder: a host has many
/// thousands of them, and each of their paths leads through all of /proc again.
fn has_open(folder: &Path, files: &[Stat]) -> io::Result<bool> {
    let folder = rustix::fs::open(folder, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for descriptor in Dir::read_from(&folder)? {
        // It may be closed by now.
        if let Ok(file) = rustix::fs::statat(&folder, descriptor?.file_name(), AtFlags::empty())
            && files.iter().any(|one| (one.st_dev, one.st_ino) == (file.st_dev, file.st_ino))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The folder that `path` is in.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
