//! A private folder for what is no snapshot yet, and how what a killed run left in one is cleared away.

use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::files::{self, Lock};

/// What their names begin with.
const PREFIX: &str = ".kumadb-";
/// The file that says who is at it.
const LOCK: &str = "lock";
/// The file that says what is being put into which store.
const NOTES: &str = "putting.json";

/// A private folder; it goes when it is dropped. While it is in use a lock in it is held, so that the next run can tell what
/// a killed one left behind from what another is working with.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    _lock: Lock,
}

/// Something that is being put into a store and is not whole yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// Address of the store.
    pub store: String,
    /// The archive.
    pub name: String,
    /// What the store calls the upload, where it has a name for it.
    pub upload: Option<String>,
}

impl Scratch {
    /// A new one in the folder `root`, which is made if it is not there.
    pub(super) fn make(root: &Path) -> Result<Scratch> {
        files::make_folder(root)?;
        let holder = format!("pid {}", std::process::id());
        loop {
            let made = tempfile::Builder::new().prefix(PREFIX).tempdir_in(root);
            let folder = made.map_err(Error::file("make a folder in", root))?;
            let place = folder.path().join(LOCK);
            match Lock::take(&place, &holder) {
                Ok(lock) if files::read_text(&place)?.as_ref() == Some(&holder) => {
                    return Ok(Scratch { folder, _lock: lock });
                }
                // Another run that is clearing away was quicker, took it for an old one, and has removed it or is about to.
                Ok(_) | Err(Error::Locked { .. }) => {}
                Err(_) if !folder.path().exists() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Notes what is about to be put, before it is.
    pub(super) fn note(&self, notes: &[Note]) -> Result<()> {
        let text = serde_json::to_vec(notes).map_err(|error| Error::Snapshot(error.to_string()))?;
        files::replace(&self.path().join(NOTES), files::PRIVATE, |file| file.write_all(&text))
    }
}

/// Clears away what killed runs left in the folder `root`: `undo` is told what they were putting, and says whether nothing
/// of it is left. What it cannot undo now, because that store is not in sight, stays noted for another run.
pub(super) fn clear(root: &Path, undo: &mut dyn FnMut(&Note) -> bool) -> Result<()> {
    for folder in files::entries(root)?.into_iter().filter(|path| is_scratch(path)) {
        // Who holds the lock is at work; a folder that cannot be locked belongs to another user.
        let Ok(_lock) = Lock::take(&folder.join(LOCK), "clearing away") else { continue };
        let text = files::read_text(&folder.join(NOTES))?.unwrap_or_default();
        let notes: Vec<Note> = serde_json::from_str(&text).unwrap_or_default();
        let left: Vec<&Note> = notes.iter().filter(|note| !undo(note)).collect();
        if left.is_empty() {
            files::remove_folder(&folder)?;
            continue;
        }
        for path in files::entries(&folder)? {
            match path.file_name().and_then(|name| name.to_str()) {
                Some(LOCK | NOTES) => {}
                _ if path.is_dir() => files::remove_folder(&path)?,
                _ => files::remove(&path)?,
            }
        }
    }
    Ok(())
}

fn is_scratch(path: &Path) -> bool {
    path.is_dir() && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX))
}
