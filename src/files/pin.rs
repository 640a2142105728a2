//! Folders that another user could replace by a link while they are being written.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::door::HELD;
use super::read::read_bounded;
use super::{door, parent};
use crate::error::{Error, Result};

/// An open folder, and a path that leads to it even when it was replaced by a link.
#[derive(Debug)]
pub struct Pinned {
    _folder: File,
    path: PathBuf,
}

impl Pinned {
    /// Opens the folder `path`, which must not be a link. Where only root or this user could replace it, `path` itself is used.
    pub fn open(path: &Path) -> Result<Pinned> {
        let folder = open_folder(path)?;
        let us = [0, rustix::process::geteuid().as_raw()];
        let is_ours = |path: &Path| fs::metadata(path).is_ok_and(|found| us.contains(&found.uid()));
        let path = if is_ours(path) && is_ours(parent(path)) || !cfg!(target_os = "linux") {
            path.to_owned()
        } else {
            PathBuf::from(format!("{HELD}/{}/.", folder.as_raw_fd()))
        };
        Ok(Pinned { _folder: folder, path })
    }

    /// Opens the folder `path`, which must not be a link. The path to it is never `path` itself, where the system has another.
    pub fn hold(path: &Path) -> Result<Pinned> {
        let folder = open_folder(path)?;
        let path = if cfg!(target_os = "linux") {
            PathBuf::from(format!("{HELD}/{}/.", folder.as_raw_fd()))
        } else {
            path.to_owned()
        };
        Ok(Pinned { _folder: folder, path })
    }

    /// The path to it.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn open_folder(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::DIRECTORY;
    door::open(path, flags, Mode::empty()).map(File::from).map_err(Error::file("open the folder", path))
}

/// Opens the regular file `name` below `folder` for reading, through no link.
pub fn open_below(folder: &Path, name: impl AsRef<Path>) -> Result<File> {
    let name = name.as_ref();
    // Opening must not block, as it would on a FIFO.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    door::open_folder(folder)
        .and_then(|folder| door::open_below(&folder, name, flags, Mode::empty()))
        .and_then(door::regular)
        .map_err(Error::file("read", folder.join(name)))
}

/// Reads the text of the regular file `name` below `folder`, of at most `most` bytes; `None` where there is none.
pub fn read_below(folder: &Path, name: &str, most: u64) -> Result<Option<String>> {
    let failed = || Error::file("read", folder.join(name));
    let file = match open_below(folder, name) {
        Err(error) if error.is_missing() => return Ok(None),
        opened => opened?,
    };
    read_bounded(file, most).map(Some).map_err(failed())
}
