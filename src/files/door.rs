//! The door to folders that are not ours. A data folder belongs to the server, and an attacker who takes over the server may plant
//! links in it and exchange folders while kumadb runs, as root perhaps. So the way to a file below such a folder is opened
//! part by part from that folder on, and no part may be a link. What is a link in another part of a path (the path that
//! the user named) is followed as usual.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{TEMPORARY, WORK};

/// Where the system shows the open files of this process.
pub(super) const HELD: &str = "/proc/self/fd";

/// How a folder is opened.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// How a folder on the way to a file is opened: it need not be readable.
#[cfg(target_os = "linux")]
const WAY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const WAY: OFlags = FOLDER;

/// How deep folders may be nested in a folder that is not ours: without a limit, its owner could exhaust our stack.
const DEPTH: usize = 64;

/// A path, split where the part begins that a user other than this one may change: below a data folder, for kumadb's own
/// folder in it, or below an open folder (`Pinned`). The second part is empty for any other path.
pub(super) fn split(path: &Path) -> (&Path, &Path) {
    let base = if path.starts_with(HELD) {
        path.ancestors().find(|above| above.parent() == Some(Path::new(HELD)))
    } else {
        path.ancestors().filter(|above| above.file_name().is_some_and(is_own)).last().and_then(Path::parent)
    };
    match base {
        Some(base) if base.as_os_str().is_empty() => (Path::new("."), path),
        Some(base) => (base, path.strip_prefix(base).unwrap_or(Path::new(""))),
        None => (path, Path::new("")),
    }
}

/// Whether `name` is that of a folder of kumadb's own in a folder that is not ours.
fn is_own(name: &OsStr) -> bool {
    name == WORK || name.as_bytes().starts_with(TEMPORARY.as_bytes())
}

/// Whether a user other than this one may change what `path` leads to.
pub(super) fn is_foreign(path: &Path) -> bool {
    !split(path).1.as_os_str().is_empty()
}

/// Opens `path`; below a folder that is not ours, through no link.
pub fn open(path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let (base, rest) = split(path);
    if rest.as_os_str().is_empty() {
        Ok(rustix::fs::open(base, flags | OFlags::CLOEXEC, mode)?)
    } else {
        open_below(&rustix::fs::open(base, WAY, Mode::empty())?, rest, flags, mode)
    }
}

/// Opens `path` through no link at all, also where the user named it. An open folder (`Pinned`) is not resolved by name.
pub fn open_strict(path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let (base, rest) = match split(path) {
        (base, rest) if path.starts_with(HELD) => (base, rest),
        _ if path.is_absolute() => (Path::new("/"), path.strip_prefix("/").unwrap_or(path)),
        _ => (Path::new("."), path),
    };
    let rest = if rest.as_os_str().is_empty() { Path::new(".") } else { rest };
    open_below(&rustix::fs::open(base, WAY, Mode::empty())?, rest, flags, mode)
}

/// Opens `rest` below the open folder `folder`, through no link.
pub(super) fn open_below(folder: &OwnedFd, rest: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::ResolveFlags;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(folder, rest, flags, mode, resolve) {
            // Linux before 5.6, or a container whose seccomp filter does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => {}
            opened => return Ok(opened?),
        }
    }
    walk_below(folder, rest, flags, mode)
}

/// The same, part by part.
pub(super) fn walk_below(folder: &OwnedFd, rest: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let mut at = folder.try_clone()?;
    let mut parts = rest.components().filter(|part| *part != Component::CurDir).peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(part) = part else { return Err(io::ErrorKind::InvalidInput.into()) };
        let (flags, mode) = match parts.peek() {
            Some(_) => (WAY | OFlags::NOFOLLOW, Mode::empty()),
            None => (flags, mode),
        };
        at = rustix::fs::openat(&at, part, flags, mode)?;
    }
    Ok(at)
}

/// Opens what is at `path`, without reading it.
#[cfg(target_os = "linux")]
pub(super) fn open_way(path: &Path) -> io::Result<OwnedFd> {
    open(path, OFlags::PATH, Mode::empty())
}

/// Opens the folder at `path`.
pub fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    open(path, FOLDER, Mode::empty())
}

/// Opens the folder of `path`, without reading it; returns it with the last part of `path`.
pub(super) fn open_parent(path: &Path) -> io::Result<(OwnedFd, &OsStr)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    Ok((open(super::parent(path), WAY, Mode::empty())?, name))
}

/// Opens the regular file at `path`, which must not be a link itself.
pub(super) fn open_file(path: &Path, access: OFlags) -> io::Result<File> {
    let (folder, name) = open_parent(path)?;
    // Opening must not block, as it would on a FIFO.
    regular(open_below(&folder, Path::new(name), access | OFlags::NONBLOCK, Mode::empty())?)
}

/// Opens the regular file at `path`, which the user named and which must not be a link itself. On the way to it, only links of this
/// user and of root are followed: any other could lead root to what only root may read.
pub(super) fn open_named(path: &Path) -> io::Result<File> {
    /// As many as the kernel follows.
    const LINKS: usize = 40;
    // The second is the answer of a kernel before 5.6.
    let is_link = |error: &io::Error| matches!(Errno::from_io_error(error), Some(Errno::LOOP | Errno::NOTDIR));
    if look(path)?.is_some_and(|found| FileType::from_raw_mode(found.st_mode).is_symlink()) {
        return Err(Errno::LOOP.into());
    }
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match open_strict(&path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
            Err(error) if is_link(&error) => path = without_link(&path)?,
            opened => return regular(opened?),
        }
    }
    Err(Errno::LOOP.into())
}

/// `path` with the target of its first link in place of it, if that link is of this user or of root.
fn without_link(path: &Path) -> io::Result<PathBuf> {
    let mut above: Vec<&Path> = path.ancestors().filter(|part| !part.as_os_str().is_empty()).collect();
    above.reverse();
    for part in above {
        let found = rustix::fs::lstat(part)?;
        if FileType::from_raw_mode(found.st_mode).is_symlink() {
            if found.st_uid != 0 && found.st_uid != super::our_uid() {
                return Err(Errno::LOOP.into());
            }
            let target = std::fs::read_link(part)?;
            let rest = path.strip_prefix(part).unwrap_or(Path::new(""));
            let whole = super::parent(part).join(target);
            return Ok(if rest.as_os_str().is_empty() { whole } else { whole.join(rest) });
        }
    }
    Err(Errno::LOOP.into())
}

/// Removes the file, or with `flags` the empty folder, at `path`.
pub fn unlink(path: &Path, flags: AtFlags) -> io::Result<()> {
    let (folder, name) = open_parent(path)?;
    Ok(rustix::fs::unlinkat(&folder, name, flags)?)
}

/// Removes the file at `path`, whose folder is reached through no link at all.
pub fn unlink_strict(path: &Path) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let folder = open_strict(super::parent(path), FOLDER, Mode::empty())?;
    Ok(rustix::fs::unlinkat(&folder, name, AtFlags::empty())?)
}

/// Opens the folder `name` in `folder`, which must not be a link.
pub(super) fn enter(folder: &OwnedFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(folder, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())
}

/// Opens the folder `rest` below the folder `base`, and creates what is missing of it, with the owner and mode of `base`.
pub(super) fn make_way(base: &Path, rest: &Path) -> io::Result<OwnedFd> {
    let mut at = open_folder(base)?;
    let like = rustix::fs::fstat(&at)?;
    for part in rest.components().filter(|part| *part != Component::CurDir) {
        let Component::Normal(part) = part else { return Err(io::ErrorKind::InvalidInput.into()) };
        let open = || enter(&at, part);
        at = match rustix::fs::mkdirat(&at, part, Mode::RWXU) {
            Ok(()) => {
                let made = File::from(open()?);
                super::owner::be_like(&made, &like)?;
                made.into()
            }
            Err(Errno::EXIST) => open().map_err(|errno| if errno == Errno::NOTDIR { Errno::LOOP } else { errno })?,
            Err(error) => return Err(error.into()),
        };
    }
    Ok(at)
}

/// Opens the file at `path` for reading. Below a folder that is not ours, only a regular file: reading a FIFO would never
/// end.
pub(super) fn open_read(path: &Path) -> io::Result<File> {
    if is_foreign(path) {
        regular(open(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?)
    } else {
        File::open(path)
    }
}

/// The open file, if it is a regular one.
pub(super) fn regular(file: OwnedFd) -> io::Result<File> {
    let file = File::from(file);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

/// What is at `path` itself; `None` where there is nothing.
pub(super) fn look(path: &Path) -> io::Result<Option<Stat>> {
    // An open folder is shown as a link.
    if path.starts_with(HELD) && !is_foreign(path) {
        return Ok(Some(rustix::fs::stat(path)?));
    }
    let found = open_parent(path).and_then(|(folder, name)| {
        rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from)
    });
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What `path` leads to: a link that the user named is followed, and none below a folder that is not ours.
pub(super) fn look_through(path: &Path) -> io::Result<Stat> {
    if is_foreign(path) {
        look(path)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    } else {
        Ok(rustix::fs::stat(path)?)
    }
}

/// The names in the folder at `path`, unsorted.
pub(super) fn names(path: &Path) -> io::Result<Vec<OsString>> {
    names_in(&open_folder(path)?)
}

fn names_in(folder: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

/// Removes the folder at `path` with everything in it. A link at `path` is removed itself.
pub(super) fn remove_all(path: &Path) -> io::Result<()> {
    let (folder, name) = open_parent(path)?;
    remove_in(&folder, name, DEPTH)
}

fn remove_in(folder: &OwnedFd, name: &OsStr, depth: usize) -> io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        // Linux reports the first, POSIX the second.
        Err(Errno::ISDIR | Errno::PERM) => {}
        removed => return Ok(removed?),
    }
    if depth == 0 {
        return Err(io::Error::other("too many nested folders"));
    }
    let inside = enter(folder, name)?;
    for name in names_in(&inside)? {
        match remove_in(&inside, &name, depth - 1) {
            // Its owner has removed it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR)?)
}

/// Total size of all regular files below the folder at `path`, in bytes; unreadable ones count as 0.
pub(super) fn size(path: &Path) -> u64 {
    open_folder(path).map_or(0, |folder| size_in(&folder, DEPTH))
}

fn size_in(folder: &OwnedFd, depth: usize) -> u64 {
    let mut size: u64 = 0;
    for name in names_in(folder).unwrap_or_default() {
        let Ok(found) = rustix::fs::statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let kind = FileType::from_raw_mode(found.st_mode);
        if kind.is_file() {
            size = size.saturating_add(found.st_size.unsigned_abs());
        } else if kind.is_dir() && depth > 0 {
            let inside = enter(folder, &name);
            size = size.saturating_add(inside.map_or(0, |inside| size_in(&inside, depth - 1)));
        }
    }
    size
}

/// What is in the folder `rest` in `base`, links included, unsorted.
pub(super) fn look_into(base: &Path, rest: &Path) -> io::Result<Vec<(OsString, Stat)>> {
    let folder = open_below(&open_folder(base)?, rest, FOLDER, Mode::empty())?;
    // Files that disappear meanwhile, such as a -shm, are left out.
    let look = |name: OsString| Some((rustix::fs::statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW).ok()?, name));
    Ok(names_in(&folder)?.into_iter().filter_map(look).map(|(found, name)| (name, found)).collect())
}

/// Every regular file below the folder `rest` in `base`, with its path below `base` and its size, sorted. Links are skipped:
/// they could lead anywhere, and in circles.
pub(super) fn tree(base: &Path, rest: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let folder = open_below(&open_folder(base)?, rest, FOLDER, Mode::empty())?;
    let mut found = Vec::new();
    tree_in(&folder, rest, DEPTH, &mut found)?;
    found.sort();
    Ok(found)
}

fn tree_in(folder: &OwnedFd, at: &Path, depth: usize, found: &mut Vec<(PathBuf, u64)>) -> io::Result<()> {
    for name in names_in(folder)? {
        let about = match rustix::fs::statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
            // The server, or its owner, has removed it meanwhile.
            Err(Errno::NOENT) => continue,
            about => about?,
        };
        let path = at.join(&name);
        match FileType::from_raw_mode(about.st_mode) {
            FileType::RegularFile => found.push((path, about.st_size.unsigned_abs())),
            FileType::Directory if depth == 0 => return Err(io::Error::other("too many nested folders")),
            FileType::Directory => {
                let inside = enter(folder, &name)?;
                tree_in(&inside, &path, depth - 1, found)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// `path` with the links in the way to it resolved, as far as the user named that way; the file itself may be a link.
pub fn resolve_folder(path: &Path) -> PathBuf {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    match (split(path), path.file_name()) {
        ((base, rest), _) if !rest.as_os_str().is_empty() => real(base).join(rest),
        (_, Some(name)) => real(super::parent(path)).join(name),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_part_of_a_path_that_another_user_may_change_begins_below_the_data_folder() {
        let cases = [
            ("/srv/data/.kumadb/held/kuma.db", "/srv/data", ".kumadb/held/kuma.db"),
            ("/srv/data/.kumadb", "/srv/data", ".kumadb"),
            (".kumadb/lock", ".", ".kumadb/lock"),
            ("/srv/.kumadb/x/.kumadb/lock", "/srv", ".kumadb/x/.kumadb/lock"),
            ("/proc/self/fd/7/./kept/one", "/proc/self/fd/7", "kept/one"),
            ("/srv/data/kuma.db", "/srv/data/kuma.db", ""),
            ("/srv/data/.kumadb-1", "/srv/data", ".kumadb-1"),
            ("/srv/data/kumadb", "/srv/data/kumadb", ""),
            ("/srv/data/.kumadb-restore/data/kuma.db", "/srv/data", ".kumadb-restore/data/kuma.db"),
        ];
        for (path, base, rest) in cases {
            assert_eq!(split(Path::new(path)), (Path::new(base), Path::new(rest)), "{path}");
        }
    }

    #[test]
    fn links_are_followed_above_the_data_folder_and_nowhere_below_it() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::create_dir_all(path("data/.kumadb")).unwrap();
        fs::create_dir_all(path("victim/held")).unwrap();
        fs::write(path("victim/held/file"), "victim").unwrap();
        fs::write(path("data/.kumadb/file"), "ours").unwrap();
        symlink(path("data"), path("named")).unwrap();
        assert!(open_read(&path("named/.kumadb/file")).is_ok());
        symlink(path("victim/held"), path("data/.kumadb/held")).unwrap();
        symlink(path("victim/held/file"), path("data/.kumadb/link")).unwrap();
        for walked in [false, true] {
            let open = |rest: &str| {
                if walked {
                    walk_below(
                        &open_folder(&path("data")).unwrap(),
                        Path::new(rest),
                        OFlags::RDONLY | OFlags::NOFOLLOW,
                        Mode::empty(),
                    )
                } else {
                    open(&path("data").join(rest), OFlags::RDONLY, Mode::empty())
                }
            };
            assert!(open(".kumadb/file").is_ok(), "{walked}");
            for rest in [".kumadb/held/file", ".kumadb/link", ".kumadb/../../victim/held/file"] {
                assert!(open(rest).is_err(), "{walked} {rest}");
            }
        }
        // A link is removed, not what it leads to.
        remove_all(&path("data/.kumadb/held")).unwrap();
        assert!(path("victim/held/file").exists() && !path("data/.kumadb/held").is_symlink());
        symlink(path("victim"), path("data/.kumadb/x")).unwrap();
        assert!(remove_all(&path("data/.kumadb/x/held")).is_err());
        assert!(path("victim/held/file").exists());
        remove_all(&path("data/.kumadb")).unwrap();
        assert!(!path("data/.kumadb").exists() && path("victim/held/file").exists());
    }
}
