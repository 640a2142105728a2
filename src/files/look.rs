//! What is at a path. No link is followed below a folder that is not ours, and none at the end of a path, except by what is named `target`, `real`, `is_file` or `is_folder`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rustix::fs::{FileType, Stat};

use super::door;
use crate::error::{Error, Result};

/// What is at a path.
#[derive(Clone, Copy, Debug)]
pub struct About {
    kind: FileType,
    /// Its size, in bytes.
    pub size: u64,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits, setuid and the like included.
    pub mode: u32,
    /// The file system it is on.
    pub device: u64,
    /// When its content was changed.
    pub modified: DateTime<Utc>,
}

impl About {
    /// A regular file.
    pub fn is_regular(&self) -> bool {
        self.kind.is_file()
    }

    /// A folder.
    pub fn is_folder(&self) -> bool {
        self.kind.is_dir()
    }

    /// A symbolic link.
    pub fn is_link(&self) -> bool {
        self.kind.is_symlink()
    }

    /// Owner and group.
    pub fn owner(&self) -> (u32, u32) {
        (self.uid, self.gid)
    }
}

impl From<&Stat> for About {
    #[allow(clippy::unnecessary_cast, reason = "on macOS some of them have other types")]
    fn from(found: &Stat) -> About {
        let modified = DateTime::from_timestamp(found.st_mtime as i64, found.st_mtime_nsec as u32);
        About {
            kind: FileType::from_raw_mode(found.st_mode),
            size: found.st_size.unsigned_abs(),
            uid: found.st_uid,
            gid: found.st_gid,
            mode: found.st_mode as u32 & 0o7777,
            device: found.st_dev as u64,
            modified: modified.unwrap_or_default(),
        }
    }
}

/// What is at `path` itself; `None` where there is nothing.
pub fn look(path: &Path) -> Result<Option<About>> {
    let found = door::look(path).map_err(Error::file("access", path))?;
    Ok(found.as_ref().map(About::from))
}

/// The same, where something must be.
pub fn about(path: &Path) -> Result<About> {
    look(path)?.ok_or_else(|| Error::file("access", path)(io::ErrorKind::NotFound.into()))
}

/// Device and inode of what is at `path`, which show whether another program that opens that path gets the same.
pub fn identity(path: &Path) -> Result<(u64, u64)> {
    stat(path).map(|found| ids(&found))
}

/// The same of an open file.
pub fn identity_of(file: &File) -> io::Result<(u64, u64)> {
    Ok(ids(&rustix::fs::fstat(file)?))
}

/// The same, where a folder must be.
pub fn folder_identity(path: &Path) -> Result<(u64, u64)> {
    let found = stat(path)?;
    if FileType::from_raw_mode(found.st_mode).is_dir() {
        Ok(ids(&found))
    } else {
        Err(Error::file("access", path)(io::ErrorKind::NotADirectory.into()))
    }
}

fn stat(path: &Path) -> Result<Stat> {
    let found = door::look(path).and_then(|found| found.ok_or_else(|| io::ErrorKind::NotFound.into()));
    found.map_err(Error::file("access", path))
}

#[allow(clippy::unnecessary_cast, reason = "on macOS some of them have other types")]
fn ids(found: &Stat) -> (u64, u64) {
    (found.st_dev as u64, found.st_ino as u64)
}

/// What `path` leads to: a link that the user named is followed.
pub fn about_target(path: &Path) -> Result<About> {
    door::look_through(path).map(|found| About::from(&found)).map_err(Error::file("access", path))
}

/// Whether something is at `path`, even a link.
pub fn is_there(path: &Path) -> Result<bool> {
    look(path).map(|found| found.is_some())
}

/// Whether something is at `path`, even a link, as far as this user can see.
pub fn exists(path: &Path) -> bool {
    door::look(path).is_ok_and(|found| found.is_some())
}

/// Whether `path` leads to a folder.
pub fn is_folder(path: &Path) -> bool {
    about_target(path).is_ok_and(|found| found.is_folder())
}

/// Whether `path` leads to a regular file.
pub fn is_file(path: &Path) -> bool {
    about_target(path).is_ok_and(|found| found.is_regular())
}

/// `path`, or the nearest existing folder above it.
pub fn nearest(path: &Path) -> &Path {
    let found = path.ancestors().find(|above| above.as_os_str().is_empty() || exists(above));
    found.filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The entries of the folder `rest` in `base`, by name, without links; empty where it does not exist or is a link.
pub fn look_into(base: &Path, rest: impl AsRef<Path>) -> Vec<(String, About)> {
    let found = door::look_into(base, rest.as_ref()).unwrap_or_default().into_iter();
    let mut found: Vec<(String, About)> = found
        .map(|(name, found)| (name.to_string_lossy().into_owned(), About::from(&found)))
        .filter(|(_, found)| !found.is_link())
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// Fails where this user cannot read the folder that `path` leads to.
pub fn check_readable(path: &Path) -> io::Result<()> {
    door::open_folder(path).map(drop)
}

/// What the link at `path` names, as a path of its own.
pub fn link_target(path: &Path) -> PathBuf {
    let named = path.read_link().unwrap_or_default();
    path.parent().map_or_else(|| named.clone(), |folder| folder.join(&named))
}

/// `path`, which the user or the Docker engine named, without links in it.
pub fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
