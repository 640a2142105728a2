//! Folders: making, listing and removing them and what is in them.

use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::{AtFlags, FileType};

use super::{WORK, door, our_uid, owner, parent};
use crate::error::{Error, FileError, Result};

/// Creates the folder `path` (mode 0700) and its parents.
pub fn make_folder(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = if owner::gives(path) {
        owner::make_folder(path)
    } else {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
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

/// Every regular file below the folder `name` in `folder`, with its path below `folder` and its size, sorted; none is reached
/// through a link.
pub fn tree_below(folder: &Path, name: &Path) -> Result<Vec<(PathBuf, u64)>> {
    door::tree(folder, name).map_err(Error::file("read the folder", folder.join(name)))
}

/// Total size of all files below `folder`, in bytes; unreadable ones count as 0.
pub fn folder_size(folder: &Path) -> u64 {
    door::size(folder)
}
