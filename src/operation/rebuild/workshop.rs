//! The folder where a new data folder is built: inside it, and its entries are moved up when all of them are verified.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::note::{NAME, NOTE, ReadyNote, read_note};
use super::place::PlaceContent;
use crate::error::{DatabaseError, Error, FileError, Hint, Result};
use crate::files::{self, Lock, Pinned};
use crate::instance::config;

/// Its content: the lock, the new data folder, and the note that everything is verified.
const LOCK: &str = "lock";
const DATA: &str = "data";

/// Entries in the order in which they are moved: others first, because they are of no use alone.
const LAST: [&str; 3] = ["kuma.db", "mariadb", config::FILE];

/// An open build folder. Dropped before anything was moved out of it, it is removed, and so is the data folder if it
/// was created.
pub struct BuildFolder {
    folder: Pinned,
    /// Its path.
    place: PathBuf,
    inside: Pinned,
    data: PathBuf,
    snapshot: String,
    owner: (u32, u32),
    made: bool,
    note: Option<ReadyNote>,
    done: bool,
    _lock: Lock,
}

impl BuildFolder {
    /// Opens one for `snapshot` in `folder`, which is created if it is missing. The remains of an earlier run are
    /// removed, unless they were ready; `end_left` ends the MariaDB that may still run on them.
    ///
    /// # Errors
    /// [`OperationError::Locked`](crate::error::OperationError::Locked) when another run uses it.
    pub fn open(
        folder: &Path,
        snapshot: &str,
        owner: Option<(u32, u32)>,
        end_left: &dyn Fn(&Path) -> Result<()>,
    ) -> Result<BuildFolder> {
        let made = !files::exists(folder);
        if made {
            files::make_folder(folder)?;
            // An embedded MariaDB runs as another user than the server, and needs access.
            files::set_mode(folder, 0o755)?;
        }
        let place = folder.to_owned();
        let folder = Pinned::open(folder)?;
        files::claim_folder(&folder.path().join(NAME))?;
        let inside = Pinned::open(&folder.path().join(NAME))?;
        let note = format!("`restore`, pid {}", std::process::id());
        let _lock = Lock::take(&inside.path().join(LOCK), &note)?;
        // Another run may have finished before we had the lock.
        if !matches!(super::place::look(folder.path())?, PlaceContent::Unfinished(_)) {
            return Err(Error::Database(DatabaseError::Occupied {
                place: format!("`{}`", place.display()),
                why: "another restore into it has just finished".into(),
                hint: Hint::advice("use a new or empty folder"),
            }));
        }
        let (data, note) = (inside.path().join(DATA), read_note(folder.path())?);
        if note.is_none() {
            end_left(&place.join(NAME).join(DATA))?;
            files::remove_folder(&data)?;
            files::make_folder(&data)?;
        }
        let owner = owner.map_or_else(|| files::about_target(folder.path()).map(|found| found.owner()), Ok)?;
        let snapshot = snapshot.to_owned();
        Ok(BuildFolder { folder, place, inside, data, snapshot, owner, made, note, done: false, _lock })
    }

    /// The same folder by its path, for other programs.
    pub fn named_data(&self) -> PathBuf {
        self.place.join(NAME).join(DATA)
    }

    /// The folder that becomes the data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Whether an earlier run built and verified everything.
    pub fn is_ready(&self) -> bool {
        self.note.is_some()
    }

    /// Sets the owner of everything; the files of MariaDB have theirs.
    pub fn give_away(&self) -> Result<()> {
        for path in files::entries(&self.data)?.into_iter().filter(|path| !path.ends_with("mariadb")) {
            give(&path, self.owner)?;
        }
        // Root has access everywhere; every other user must be able to create files beside the database.
        let theirs = files::about_target(self.folder.path()).map(|found| found.owner())?;
        if theirs != self.owner && (self.made || self.owner.0 != 0) {
            files::set_owner(self.folder.path(), self.owner.0, self.owner.1)
        } else {
            Ok(())
        }
    }

    /// Lets every user pass through the folder, but not list it: an embedded MariaDB runs as another user than the
    /// server.
    pub fn let_through(&self) -> Result<()> {
        let mode = files::about_target(self.folder.path())?.mode;
        match mode & 0o011 {
            0o011 => Ok(()),
            _ => files::set_mode(self.folder.path(), mode | 0o011),
        }
    }

    /// Notes that everything is verified.
    pub fn ready(&mut self) -> Result<()> {
        if self.note.is_some() {
            return Ok(());
        }
        let names = files::entries(&self.data)?.into_iter();
        let mut entries: Vec<String> = names.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
        entries.sort_by_key(|name| LAST.iter().position(|last| last == name).map_or(0, |at| at + 1));
        let note = ReadyNote { snapshot: self.snapshot.clone(), entries };
        let text = serde_json::to_vec_pretty(&note).map_err(|error| {
            Error::File(FileError::Encode { what: "the notes of a restore", why: error.to_string() })
        })?;
        files::replace(&self.inside.path().join(NOTE), files::PRIVATE, |file| file.write_all(&text))?;
        self.note = Some(note);
        Ok(())
    }

    fn has_moved(&self) -> bool {
        let names = self.note.iter().flat_map(|note| &note.entries);
        names.map(|name| self.folder.path().join(name)).any(|path| files::exists(&path))
    }

    /// Moves everything up.
    pub fn move_up(&self) -> Result<()> {
        for name in self.note.iter().flat_map(|note| &note.entries) {
            let (from, to) = (self.data.join(name), self.folder.path().join(name));
            if !files::exists(&from) && files::exists(&to) {
                continue;
            }
            files::rename_new(&from, &to)?;
        }
        Ok(())
    }

    /// Removes everything but the data.
    pub fn finish(mut self) -> Result<()> {
        self.done = true;
        files::remove_folder(&self.folder.path().join(NAME))?;
        files::sync_folder(self.folder.path())
    }
}

impl Drop for BuildFolder {
    fn drop(&mut self) {
        // The next run removes what cannot be removed now, and finishes an interrupted move.
        if !self.done && !self.has_moved() {
            let _ = files::remove_folder(&self.folder.path().join(NAME));
            if self.made {
                let _ = files::remove_empty_folder(&self.place);
            }
        }
    }
}

/// Changes the owner of `path` and everything below it to `owner`, and flushes the folders.
pub(super) fn give(path: &Path, owner: (u32, u32)) -> Result<()> {
    let found = files::about(path)?;
    if found.is_folder() {
        files::entries(path)?.iter().try_for_each(|path| give(path, owner))?;
        files::sync_folder(path)?;
    }
    if found.owner() == owner { Ok(()) } else { files::set_owner(path, owner.0, owner.1) }
}
