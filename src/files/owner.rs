//! File owners. Files that root creates in kumadb's own folder belong to the owner of the data folder, so that root on the host
//! and the user of the data folder in a sidecar share one lock and one journal. The data folder may belong to an attacker:
//! owners are changed through descriptors only, never through a link, and never for a file with several names.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};

use super::{PRIVATE, WORK, door, parent};
use crate::error::{Error, FileError, Hint, Result};

/// The user of this process.
pub fn our_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// `root`, or `uid 1000`.
pub fn user_words(uid: u32) -> String {
    if uid == 0 { "root".into() } else { format!("uid {uid}") }
}

/// The last part of `path`.
pub(super) fn file_name(path: &Path) -> io::Result<&OsStr> {
    path.file_name().ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// Creates the new file `name` in `folder`, at `path`, with the right owner.
pub(super) fn create_in(folder: &OwnedFd, name: &OsStr, path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let create = || rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(PRIVATE as _));
    let made = File::from(as_owner(folder, path, create)?);
    inherit(&made, folder, path)?;
    Ok(made)
}

/// Runs `create`, which creates a file at `path` in `folder`, with the owner of that folder as the user of this thread
/// where root creates it in kumadb's own folder: a file that root creates and then gives away stays root's when
/// the process is killed in between. Where this user may not become another, or the owner may not create files, root
/// creates it, and [`inherit`] gives it away.
pub(super) fn as_owner<T>(folder: &OwnedFd, path: &Path, create: impl Fn() -> rustix::io::Result<T>) -> io::Result<T> {
    #[cfg(target_os = "linux")]
    if gives(path) {
        use rustix::thread::{set_thread_res_gid, set_thread_res_uid};
        let owner = rustix::fs::fstat(folder)?;
        let (uid, gid) = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
        let (our_uid, our_gid) = (rustix::process::geteuid(), rustix::process::getegid());
        // The group first: who is no longer root cannot change it. The real and saved user stay, and are the way back.
        if uid != our_uid && set_thread_res_gid(None, gid, None).is_ok() {
            let made = set_thread_res_uid(None, uid, None).and_then(|()| {
                let made = create();
                set_thread_res_uid(None, our_uid, None)?;
                made
            });
            set_thread_res_gid(None, our_gid, None)?;
            match made {
                Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => {}
                made => return Ok(made?),
            }
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (folder, path);
    Ok(create()?)
}

/// Gives `made`, which is at `path` in `folder`, to the owner of that folder, where root created it in kumadb's own
/// folder.
pub(super) fn inherit(made: &File, folder: &OwnedFd, path: &Path) -> io::Result<()> {
    if !gives(path) {
        return Ok(());
    }
    let owner = rustix::fs::fstat(folder)?;
    let now = made.metadata()?;
    if (now.uid(), now.gid()) == (owner.st_uid, owner.st_gid) {
        Ok(())
    } else {
        change(made, owner.st_uid, owner.st_gid)
    }
}

/// Whether files that this process creates at `path` are given to the owner of the folder.
pub(super) fn gives(path: &Path) -> bool {
    our_uid() == 0 && path.components().any(|part| part.as_os_str() == WORK)
}

/// Creates the folder `path` of kumadb's own, and its parents below the data folder, each with the owner of its parent.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    if door::look(path)?.is_some_and(|found| FileType::from_raw_mode(found.st_mode).is_dir()) {
        return Ok(());
    }
    let above = parent(path);
    if gives(above) {
        make_folder(above)?;
    }
    let (folder, name) = door::open_parent(path)?;
    as_owner(&folder, path, || rustix::fs::mkdirat(&folder, name, Mode::RWXU))?;
    let made = File::from(door::enter(&folder, name)?);
    inherit(&made, &folder, path)
}

/// Creates kumadb's own folder in a data folder (mode 0700), or uses the existing one. As root, one that an earlier
/// run left with root as owner is given to the owner of the data folder.
///
/// # Errors
/// [`FileError::WrongUser`](crate::error::FileError::WrongUser) when this user and the owner of the data folder could
/// not share it.
pub(super) fn claim_work(path: &Path) -> Result<()> {
    let data = parent(path);
    let us = our_uid();
    let owner = fs::metadata(data).map_err(Error::file("access", data))?.uid();
    let wrong = |path: &Path, owner: u32, hint: Hint| {
        Error::File(FileError::WrongUser {
            path: path.to_owned(),
            owner: user_words(owner),
            user: user_words(us),
            hint,
        })
    };
    if us != 0 && us != owner {
        let hint = match owner {
            0 => Hint::advice("run the same command as root"),
            uid => Hint::advice(format!("run the same command as root, or as uid {uid}: sudo -u '#{uid}' kumadb …")),
        };
        return Err(wrong(data, owner, hint));
    }
    let Ok(found) = fs::symlink_metadata(path) else {
        return super::make_folder(path);
    };
    match found.uid() {
        _ if !found.is_dir() => Err(super::not_ours(path)),
        uid if uid == owner => Ok(()),
        0 if us == 0 => give_folder(path),
        0 => Err(wrong(path, 0, give_hint(data))),
        uid => {
            let hint = Hint::advice(format!(
                "it is owned by neither the owner of the data folder nor root: check its contents; if kumadb created \
                 it, run as root: chown -hR {owner} {}",
                path.display()
            ));
            Err(wrong(path, uid, hint))
        }
    }
}

/// The hint how to change the owner of files that root left.
fn give_hint(data: &Path) -> Hint {
    Hint::advice(format!(
        "an earlier run as root created it; to change its owner, run once as root: sudo kumadb -t {} status",
        data.display()
    ))
}

/// Gives kumadb's own folder, which belongs to root, to the owner of the data folder. One without a lock in it is not
/// recognised as kumadb's.
fn give_folder(path: &Path) -> Result<()> {
    let not_changed = || Error::file("change the owner of", path);
    let (data, name) = door::open_parent(path).map_err(not_changed())?;
    let folder = door::enter(&data, name).map_err(|error| not_changed()(error.into()))?;
    let lock = rustix::fs::statat(&folder, "lock", AtFlags::SYMLINK_NOFOLLOW);
    if lock.is_err() && !door::names(path).map_err(not_changed())?.is_empty() {
        return Err(super::not_ours(path));
    }
    let folder = File::from(folder);
    inherit(&folder, &data, path).map_err(not_changed())
}

/// The entries below kumadb's own folder `path` that do not belong to `owner`.
pub fn foreign_entries(path: &Path, owner: u32) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in super::entries(path).unwrap_or_default() {
        let Ok(Some(kind)) = door::look(&entry) else { continue };
        if kind.st_uid != owner {
            found.push(entry.clone());
        }
        if FileType::from_raw_mode(kind.st_mode).is_dir() {
            found.extend(foreign_entries(&entry, owner));
        }
    }
    found
}

/// Fails when a required file in kumadb's own folder `path` belongs to another user than this one, who is not root.
/// Other files do not matter: the owner of the folder may remove them.
///
/// # Errors
/// [`FileError::WrongUser`](crate::error::FileError::WrongUser).
pub fn check_own(path: &Path) -> Result<()> {
    let us = our_uid();
    if us == 0 {
        return Ok(());
    }
    let is_needed = |entry: &std::path::PathBuf| {
        let named = entry.parent() != Some(path) || ["lock", "journal.json"].iter().any(|name| entry.ends_with(name));
        door::look(entry).ok().flatten().is_some_and(|found| {
            let kind = FileType::from_raw_mode(found.st_mode);
            kind.is_dir() || kind.is_file() && named
        })
    };
    let Some(foreign) = foreign_entries(path, us).into_iter().find(is_needed) else { return Ok(()) };
    let owner = door::look(&foreign).ok().flatten().map_or(0, |found| found.st_uid);
    Err(Error::File(FileError::WrongUser {
        path: foreign,
        owner: user_words(owner),
        user: user_words(us),
        hint: give_hint(parent(path)),
    }))
}

/// The same for the folder at `path` in kumadb's own folder.
pub fn give_subfolder(path: &Path) -> Result<bool> {
    give(path, |file| Ok(file.metadata().is_ok_and(|found| found.is_dir())))
}

/// Gives the file at `path` in kumadb's own folder, which an earlier run as root left, to the owner of the folder, if
/// `is_ours` recognises its content. Returns whether it did.
pub fn give(path: &Path, is_ours: impl FnOnce(&mut File) -> Result<bool>) -> Result<bool> {
    let failed = || Error::file("change the owner of", path);
    let (folder, name) = door::open_parent(path).map_err(failed())?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = match rustix::fs::openat(&folder, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::LOOP) => return Ok(false),
        Err(error) => return Err(failed()(error.into())),
    };
    let found = file.metadata().map_err(failed())?;
    if found.uid() != 0 || !gives(path) || found.is_file() && found.nlink() != 1 || !is_ours(&mut file)? {
        return Ok(false);
    }
    inherit(&file, &folder, path).map_err(failed())?;
    Ok(true)
}

/// Fails if what is written to the file at `path` would be written to another file too.
///
/// # Errors
/// [`FileError::Link`]; [`FileError::HardLink`].
pub fn check_only_name(path: &Path) -> Result<()> {
    let found = door::look(path).map_err(Error::file("access", path))?;
    match found.map(|found| (FileType::from_raw_mode(found.st_mode), found.st_nlink)) {
        Some((FileType::Symlink, _)) => Err(Error::File(FileError::Link { path: path.to_owned() })),
        Some((FileType::RegularFile, links)) if links > 1 => {
            Err(Error::File(FileError::HardLink { path: path.to_owned() }))
        }
        _ => Ok(()),
    }
}

/// Fails unless this process may write to the file at `path`.
///
/// # Errors
/// [`FileError::WrongUser`](crate::error::FileError::WrongUser); the file system is mounted read-only.
pub fn check_file_writable(path: &Path) -> Result<()> {
    match rustix::fs::access(path, rustix::fs::Access::WRITE_OK) {
        Err(rustix::io::Errno::ACCESS) => {
            let owner = fs::metadata(path).map_err(Error::file("access", path))?.uid();
            let hint = match owner {
                0 => Hint::advice("run the same command as root"),
                uid => Hint::advice(format!("run the same command as root, or as uid {uid}")),
            };
            let (owner, user) = (user_words(owner), user_words(our_uid()));
            Err(Error::File(FileError::WrongUser { path: path.to_owned(), owner, user, hint }))
        }
        Err(errno) => Err(Error::file("write", path)(errno.into())),
        Ok(()) => Ok(()),
    }
}

/// Gives `made` the owner and mode of `old`; never a setuid bit, with which the content would run as another user.
pub(super) fn be_like(made: &File, old: &rustix::fs::Stat) -> io::Result<()> {
    let now = made.metadata()?;
    if (now.uid(), now.gid()) != (old.st_uid, old.st_gid) {
        change(made, old.st_uid, old.st_gid)?;
    }
    Ok(rustix::fs::fchmod(made, Mode::from_raw_mode(old.st_mode & 0o777))?)
}

pub(super) fn change(file: &File, uid: u32, gid: u32) -> io::Result<()> {
    Ok(rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?)
}

/// Sets owner and group of `path`.
///
/// # Errors
/// It is a link, is behind one, or has several names.
pub fn set_owner(path: &Path, uid: u32, gid: u32) -> Result<()> {
    let failed = || Error::file("change the owner of", path);
    let file = pin(path).map_err(failed())?;
    let found = rustix::fs::fstat(&file).map_err(|error| failed()(error.into()))?;
    if (found.st_uid, found.st_gid) == (uid, gid) {
        return Ok(());
    }
    let is_file = FileType::from_raw_mode(found.st_mode).is_file();
    if is_file && found.st_nlink > 1 && found.st_uid != uid && our_uid() == 0 {
        return Err(Error::File(FileError::HardLink { path: path.to_owned() }));
    }
    chown_pinned(&file, uid, gid).map_err(failed())
}

/// Sets the permission bits of `path`.
///
/// # Errors
/// It is a link, is behind one, or root changes a file with several names: the others may be anywhere.
pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    let failed = || Error::file("change the mode of", path);
    let file = pin(path).map_err(failed())?;
    let found = rustix::fs::fstat(&file).map_err(|error| failed()(error.into()))?;
    if FileType::from_raw_mode(found.st_mode).is_file() && found.st_nlink > 1 && our_uid() == 0 {
        return Err(Error::File(FileError::HardLink { path: path.to_owned() }));
    }
    chmod_pinned(&file, mode).map_err(failed())
}

/// Opens `path`, whatever its type and mode, through no link.
#[cfg(target_os = "linux")]
fn pin(path: &Path) -> io::Result<OwnedFd> {
    let file = door::open_strict(path, OFlags::PATH, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode).is_symlink() {
        Err(rustix::io::Errno::LOOP.into())
    } else {
        Ok(file)
    }
}

#[cfg(target_os = "linux")]
fn chown_pinned(file: &OwnedFd, uid: u32, gid: u32) -> io::Result<()> {
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    Ok(rustix::fs::chownat(file, "", uid, gid, AtFlags::EMPTY_PATH)?)
}

#[cfg(target_os = "linux")]
fn chmod_pinned(file: &OwnedFd, mode: u32) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    // The only way to use a descriptor that was opened without reading.
    fs::set_permissions(
        format!("/proc/self/fd/{}", file.as_raw_fd()),
        std::os::unix::fs::PermissionsExt::from_mode(mode),
    )
}

#[cfg(not(target_os = "linux"))]
fn pin(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

#[cfg(not(target_os = "linux"))]
fn chown_pinned(file: &OwnedFd, uid: u32, gid: u32) -> io::Result<()> {
    Ok(rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?)
}

#[cfg(not(target_os = "linux"))]
fn chmod_pinned(file: &OwnedFd, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode as _))?)
}
