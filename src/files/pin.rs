//! A folder that another user could exchange for a link while it is being filled.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::parent;
use crate::error::{Error, Result};

/// Where the system shows what this process holds open.
const HELD: &str = "/proc/self/fd";

/// A folder that is held open, and a way to it that leads there even when somebody has put a link in its place.
#[derive(Debug)]
pub struct Pinned {
    _folder: File,
    path: PathBuf,
}

impl Pinned {
    /// Opens the folder `path`, which must not be a link. Where everybody who could exchange it is root or this user, `path`
    /// itself is the way.
    pub fn open(path: &Path) -> Result<Pinned> {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::DIRECTORY;
        let folder = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path);
        let folder = folder.map_err(Error::file("open the folder", path))?;
        let us = [0, rustix::process::geteuid().as_raw()];
        let is_ours = |path: &Path| fs::metadata(path).is_ok_and(|found| us.contains(&found.uid()));
        let path = match is_ours(path) && is_ours(parent(path)) || !cfg!(target_os = "linux") {
            true => path.to_owned(),
            false => PathBuf::from(format!("{HELD}/{}/.", folder.as_raw_fd())),
        };
        Ok(Pinned { _folder: folder, path })
    }

    /// The way to it.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The folder that `path` leads through by [`Pinned::path`], and the rest of `path`; no folder where it is any other path.
#[cfg(target_os = "linux")]
pub(super) fn split(path: &Path) -> std::io::Result<(Option<File>, &Path)> {
    let Ok(inside) = path.strip_prefix(HELD) else { return Ok((None, path)) };
    let mut parts = inside.components();
    let Some(number) = parts.next() else { return Ok((None, path)) };
    let folder = File::open(Path::new(HELD).join(number))?;
    let rest = parts.as_path();
    Ok((Some(folder), if rest.as_os_str().is_empty() { Path::new(".") } else { rest }))
}
