//! Files of a database that are opened besides SQLite's own descriptors.
//!
//! POSIX drops all locks that a process has on a file as soon as the process closes any descriptor of it. A reader that lost its lock
//! sees pages of two states when the server ends and copies its WAL into the file, and a writer lets others in. So what was opened
//! while there are connections to its database is closed after the last of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::files;

/// What is open of each database that has connections.
static CONNECTED: Mutex<BTreeMap<PathBuf, Connected>> = Mutex::new(BTreeMap::new());

#[derive(Default)]
struct Connected {
    connections: usize,
    /// One for each file that was opened.
    files: Vec<Arc<File>>,
}

fn connected() -> MutexGuard<'static, BTreeMap<PathBuf, Connected>> {
    CONNECTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts one connection to a database; dropped after it.
pub(super) struct ConnectionCount(PathBuf);

impl ConnectionCount {
    pub(super) fn of(database: &Path) -> ConnectionCount {
        connected().entry(database.to_owned()).or_default().connections += 1;
        ConnectionCount(database.to_owned())
    }
}

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        let mut all = connected();
        if let Some(database) = all.get_mut(&self.0) {
            database.connections -= 1;
            if database.connections == 0 {
                all.remove(&self.0);
            }
        }
    }
}

/// A database file, opened for reading at positions.
pub(super) struct RawFile {
    file: Arc<File>,
    database: PathBuf,
}

impl RawFile {
    /// Opens the regular file at `database`, which must not be a link.
    pub(super) fn of(database: &Path) -> Result<RawFile> {
        let raw = |file| RawFile { file, database: database.to_owned() };
        let known = connected().get(database).map_or(Vec::new(), |found| found.files.clone());
        if !known.is_empty() {
            let wanted = files::identity(database)?;
            if let Some(same) = known.into_iter().find(|file| files::identity_of(file).ok() == Some(wanted)) {
                return Ok(raw(same));
            }
        }
        files::open_regular(database).map(|file| raw(Arc::new(file)))
    }
}

impl Deref for RawFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl Drop for RawFile {
    fn drop(&mut self) {
        if let Some(database) = connected().get_mut(&self.database)
            && !database.files.iter().any(|file| Arc::ptr_eq(file, &self.file))
        {
            database.files.push(self.file.clone());
        }
    }
}
