//! Files that survive a power failure: written to a temporary file, flushed, renamed, and the folder flushed.
//!
//! All renames of the project are here, and every Linux-only call has a portable alternative, so that kumadb also builds on
//! macOS.

mod confine;
mod door;
mod lock;
mod look;
mod mount;
mod owner;
mod pin;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use serde_json::Value as Json;

use crate::cancel::Cancel;
use crate::error::{Error, FileError, InputError, Result};

pub use confine::{Confined, Confinement};
pub use door::{open as open_raw, open_folder, open_strict, resolve_folder, unlink as unlink_raw, unlink_strict};
pub use lock::{Lock, remove_left_lock};
pub use look::{
    About, about, about_target, check_readable, exists, folder_identity, is_file, is_folder, is_there, link_target,
    look, look_into, nearest, real,
};
pub use mount::{FileSystem, LockScope, file_system};
pub use owner::{
    check_file_writable, check_only_name, check_own, foreign_entries, give, give_subfolder, our_uid, set_mode,
    set_owner, user_words,
};
pub use pin::{Pinned, open_below, read_below};

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

/// Bytes that are copied between two looks for a request to end.
const PIECE: u64 = 16 << 20;

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

/// A JSON array in a private file, one entry per line. The file is created with its first entry.
pub struct JsonList {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl JsonList {
    /// An empty list, to be written to `path`.
    pub fn new(path: &Path) -> JsonList {
        JsonList { path: path.to_owned(), file: None }
    }

    /// Adds an entry.
    pub fn add(&mut self, entry: &Json) -> Result<()> {
        let (file, separator) = match &mut self.file {
            Some(file) => (file, ",\n"),
            none => (none.insert(BufWriter::new(create_private(&self.path)?)), "[\n"),
        };
        write!(file, "{separator}{entry}").map_err(Error::file("write", &self.path))
    }

    /// Completes and flushes it; returns its path, if it has entries.
    pub fn finish(self) -> Result<Option<PathBuf>> {
        let Some(mut file) = self.file else { return Ok(None) };
        file.write_all(b"\n]\n")
            .and_then(|()| file.flush())
            .and_then(|()| file.get_ref().sync_all())
            .map_err(Error::file("write", &self.path))?;
        Ok(Some(self.path))
    }
}

/// Creates the folder `path` (mode 0700) and its parents.
pub fn make_folder(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = match owner::gives(path) {
        true => owner::make_folder(path),
        false => fs::DirBuilder::new().recursive(true).mode(0o700).create(path),
    };
    made.map_err(Error::file("make the folder", path))
}

/// Creates a private folder (mode 0700, whatever the umask) with an unused name that begins with `prefix` in `folder`, or in
/// the temporary folder. It is removed with its content when dropped.
pub fn temp_folder(prefix: &str, folder: Option<&Path>) -> Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder.map_or_else(std::env::temp_dir, Path::to_owned);
    let prefix = format!("{prefix}{}", own_temp());
    let mut made = tempfile::Builder::new();
    made.prefix(&prefix).permissions(fs::Permissions::from_mode(0o700));
    made.tempdir_in(&folder).map_err(Error::file("make a folder in", &folder))
}

/// Removes the folders of this process in the temporary folder, before it ends without dropping them.
pub fn remove_temp_folders() {
    for path in entries(&std::env::temp_dir()).unwrap_or_default() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(&format!("kumadb-{}", own_temp())) {
            let _ = remove_folder(&path);
        }
    }
}

/// A part of the names of this process's temporary folders.
fn own_temp() -> String {
    format!("{}-", std::process::id())
}

/// Creates the private folder `path` (mode 0700), or uses the existing one. In a data folder it belongs to the owner of that,
/// also when root creates it.
///
/// # Errors
/// It is a link, or belongs to a user other than this one, root and the owner of the parent: root must not write where another
/// user points it. [`FileError::WrongUser`] when this user cannot share it with the owner of the data folder.
pub fn claim_folder(path: &Path) -> Result<()> {
    if path.file_name().is_some_and(|name| name == WORK) {
        return owner::claim_work(path);
    }
    let above = door::open_folder(parent(path)).and_then(|above| Ok(rustix::fs::fstat(above)?.st_uid)).ok();
    let owners = [Some(our_uid()), Some(0), above];
    match door::look(path).map_err(Error::file("access", path))? {
        None => make_folder(path),
        Some(found) if FileType::from_raw_mode(found.st_mode).is_dir() && owners.contains(&Some(found.st_uid)) => {
            Ok(())
        }
        Some(_) => Err(not_ours(path)),
    }
}

/// The error for a folder of another user, or something that is not a folder.
pub fn not_ours(path: &Path) -> Error {
    Error::File(FileError::NotOurFolder { path: path.to_owned() })
}

/// Removes `path` if it exists.
pub fn remove(path: &Path) -> Result<()> {
    match door::unlink(path, AtFlags::empty()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes the folder `path` if it exists and is empty.
pub fn remove_empty_folder(path: &Path) -> Result<()> {
    match door::unlink(path, AtFlags::REMOVEDIR) {
        Err(error) if ![io::ErrorKind::NotFound, io::ErrorKind::DirectoryNotEmpty].contains(&error.kind()) => {
            Err(Error::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Removes the folder `path` with its contents, or the file or link at `path`, if it exists.
pub fn remove_folder(path: &Path) -> Result<()> {
    match door::remove_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
        _ => Ok(()),
    }
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
fn read_bounded(mut file: File, most: u64) -> io::Result<String> {
    let text = String::from_utf8(read_most(&mut file, most)?);
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8"))
}

/// Everything that is left of `source`.
///
/// # Errors
/// [`io::ErrorKind::FileTooLarge`]: it is more than `most` bytes.
pub fn read_most(source: &mut dyn Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match source.take(most + 1).read_to_end(&mut bytes)? as u64 > most {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(bytes),
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

fn copy_open(mut source: File, to: &Path, cancel: &Cancel) -> Result<()> {
    let mut copy = create_private(to)?;
    if !reflink(&source, &copy) {
        copy.set_len(0).map_err(Error::file("write", to))?;
        copy.seek(SeekFrom::Start(0)).map_err(Error::file("write", to))?;
        // No more than its present size: a file with holes, or one that grows, could fill the disk.
        let mut left = source.metadata().map_err(Error::file("read", to))?.len();
        require_space(lasting(parent(to)), left)?;
        while left > 0 {
            let mut piece = (&mut source).take(PIECE.min(left));
            match io::copy(&mut piece, &mut copy).map_err(Error::file("write", to))? {
                0 => break,
                copied => left -= copied,
            }
            cancel.check()?;
        }
    }
    copy.sync_all().map_err(Error::file("flush", to))
}

/// The nearest folder above the temporary ones of this process, which are gone when the user reads the error.
fn lasting(folder: &Path) -> &Path {
    let is_temporary = |part: &Path| {
        let name = part.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(TEMPORARY) || name.starts_with(&TEMPORARY[1..])
    };
    folder.ancestors().find(|above| !above.ancestors().any(is_temporary)).unwrap_or(folder)
}

#[cfg(target_os = "linux")]
fn reflink(source: &File, copy: &File) -> bool {
    rustix::fs::ioctl_ficlone(copy, source).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn reflink(_source: &File, _copy: &File) -> bool {
    false
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

/// Opens `path` to be read from the disk rather than from the page cache, where the system supports that.
pub fn open_uncached(path: &Path) -> Result<File> {
    let file = open_stored(path)?;
    drop_cached(&file);
    Ok(file)
}

/// The paths in `folder`, sorted; none where it does not exist.
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = match door::names(folder) {
        Ok(names) => names.iter().map(|name| folder.join(name)).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("read the folder", folder)(error)),
    };
    paths.sort();
    Ok(paths)
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

#[cfg(target_os = "linux")]
fn drop_cached(file: &File) {
    // Only clean pages are dropped, so callers flush first; without support the hash may come from the cache.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn drop_cached(_file: &File) {}

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

/// Free bytes for this user on the file system of `path`.
pub fn free_space(path: &Path) -> Result<u64> {
    let found = rustix::fs::statvfs(path).map_err(|error| Error::file("look at", path)(error.into()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
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
    let desired: Vec<(u64, u64)> =
        paths.iter().filter_map(|path| fs::metadata(path).ok()).map(|found| (found.dev(), found.ino())).collect();
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if pid == std::process::id() {
            continue;
        }
        let open = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten().any(|descriptor| {
            fs::metadata(descriptor.path()).is_ok_and(|file| desired.contains(&(file.dev(), file.ino())))
        });
        if open {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            found.push(format!("{} (pid {pid})", name.trim()));
        }
    }
    found
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Every regular file below the folder `name` in `folder`, with its path below `folder` and its size, sorted; none is reached
/// through a link.
pub fn tree_below(folder: &Path, name: &Path) -> Result<Vec<(PathBuf, u64)>> {
    door::tree(folder, name).map_err(Error::file("read the folder", folder.join(name)))
}

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

/// Total size of all files below `folder`, in bytes; unreadable ones count as 0.
pub fn folder_size(folder: &Path) -> u64 {
    door::size(folder)
}
