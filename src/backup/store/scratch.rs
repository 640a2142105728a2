//! Private folders for unfinished snapshots, and the cleanup of those that interrupted runs left.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::objects::UploadProgress;
use crate::engine::mariadb::scratch::end_left;
use crate::error::{Error, FileError, OperationError, Result};
use crate::files::{self, Lock, Pinned};

/// Prefix of their names.
const PREFIX: &str = files::TEMPORARY;
/// The file with the process that uses it.
const LOCK: &str = "lock";
/// The file that notes the current upload and its store.
const NOTES: &str = "putting.json";

/// A private folder; it is removed when dropped. While it is in use it is locked, so that the next run can distinguish
/// it from one that an interrupted run left.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    _lock: Lock,
}

/// An upload that is not complete yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UploadNote {
    /// Address of the store.
    pub store: String,
    /// The archive.
    pub name: String,
    /// The id of the upload in the store, where it has one.
    pub upload: Option<String>,
}

impl Scratch {
    /// A new one in the folder `root`, which is created if it is missing.
    pub(super) fn make(root: &Path) -> Result<Scratch> {
        files::make_folder(root)?;
        let holder = format!("pid {}", std::process::id());
        loop {
            let folder = files::temp_folder(PREFIX, Some(root))?;
            let place = folder.path().join(LOCK);
            match Lock::take(&place, &holder) {
                Ok(lock) if files::read_text(&place)?.as_ref() == Some(&holder) => {
                    return Ok(Scratch { folder, _lock: lock });
                }
                // Another run that is cleaning up took it for an old one, and has removed it or is about to.
                Ok(_) | Err(Error::Operation(OperationError::Locked { .. })) => {}
                Err(_) if !files::exists(folder.path()) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Notes an upload before it begins.
    pub(super) fn note(&self, notes: &[UploadNote]) -> Result<()> {
        let text = serde_json::to_vec(notes)
            .map_err(|error| Error::File(FileError::Encode { what: "the notes of a store", why: error.to_string() }))?;
        files::replace(&self.path().join(NOTES), files::PRIVATE, |file| file.write_all(&text))
    }
}

/// Removes what interrupted runs left in the folder `root`: `undo` gets their uploads, and returns whether nothing is
/// left of them. What cannot be removed now, because that store is not known to this run, stays noted for another one.
/// Returns the removed folders.
pub(super) fn clear(root: &Path, undo: &mut dyn FnMut(&UploadNote) -> bool) -> Result<Vec<PathBuf>> {
    let mut gone = Vec::new();
    for folder in files::entries(root)?.into_iter().filter(|path| is_scratch(path)) {
        let Ok(staged) = Pinned::hold(&folder) else { continue };
        // A locked folder is in use.
        let Ok(_lock) = Lock::take(&staged.path().join(LOCK), "clearing away") else { continue };
        // A restore test may have been killed, and its MariaDB not.
        end_left(&folder)?;
        let text = files::read_text(&staged.path().join(NOTES))?.unwrap_or_default();
        let notes: Vec<UploadNote> = serde_json::from_str(&text).unwrap_or_default();
        let left: Vec<&UploadNote> = notes.iter().filter(|note| !undo(note)).collect();
        if left.is_empty() {
            files::remove_folder(&folder)?;
            gone.push(folder);
            continue;
        }
        for path in files::entries(staged.path())? {
            match path.file_name().and_then(|name| name.to_str()) {
                Some(LOCK | NOTES) => {}
                _ => files::remove_folder(&path)?,
            }
        }
    }
    Ok(gone)
}

/// Whether a run in the folder `root` has locked its scratch folder.
pub(super) fn is_busy(root: &Path) -> Result<bool> {
    let folders = files::entries(root)?.into_iter().filter(|path| is_scratch(path));
    Ok(folders
        .into_iter()
        .any(|folder| files::exists(&folder.join(LOCK)) && Lock::take(&folder.join(LOCK), "looking").is_err()))
}

/// Whether `path` is a scratch folder of this user. Others can plant one in a folder where they can write, `/tmp` for instance:
/// a link there would lead to what is removed.
fn is_scratch(path: &Path) -> bool {
    let is_named = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    is_named && matches!(files::look(path), Ok(Some(found)) if found.is_folder() && found.uid == files::our_uid())
}

/// Forwards the progress of an upload, and notes what could be left of it.
pub(super) struct NotedUpload<'a> {
    pub note: UploadNote,
    pub scratch: &'a Scratch,
    pub progress: &'a mut dyn FnMut(u64, u64),
    pub total: u64,
}

impl UploadProgress for NotedUpload<'_> {
    fn begun(&mut self, upload: &str) -> Result<()> {
        self.note.upload = Some(upload.to_owned());
        self.scratch.note(std::slice::from_ref(&self.note))
    }

    fn done(&mut self, bytes: u64) {
        (self.progress)(bytes, self.total);
    }
}
