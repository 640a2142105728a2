//! Files of a database that are opened besides SQLite's own descriptors.
//!
//! POSIX drops all locks that a process has on a file as soon as the process closes any descriptor of it. A reader that lost its lock
//! sees pages of two states when the server ends and copies its WAL into the file, and a writer lets others in. So what was opened
//! while there are connections to its database is closed after the last of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::files;
use crate::pages::Bytes;

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

/// Opens the regular file at `database`, which must not be a link, and passes it to `read`, which reads at positions: others may read it
/// at the same time.
pub(super) fn with_file<T>(database: &Path, read: impl FnOnce(&File) -> Result<T>) -> Result<T> {
    let file = match known_file(database)? {
        Some(known) => known,
        None => Arc::new(files::open_regular(database)?),
    };
    let result = read(&file);
    // Without connections it is closed here, before one can be counted.
    let mut all = connected();
    match all.get_mut(database) {
        Some(found) if !found.files.iter().any(|known| Arc::ptr_eq(known, &file)) => found.files.push(file),
        _ => drop(file),
    }
    result
}

/// The file that was opened before, if it is still the one at `database`.
fn known_file(database: &Path) -> Result<Option<Arc<File>>> {
    let all = connected();
    let Some(found) = all.get(database).filter(|found| !found.files.is_empty()) else { return Ok(None) };
    let wanted = files::identity(database)?;
    Ok(found.files.iter().find(|file| files::identity_of(file).ok() == Some(wanted)).cloned())
}

/// Parts with read errors are empty.
impl Bytes for File {
    fn size(&self) -> u64 {
        let file = self;
        file.metadata().map_or(0, |found| found.len())
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> usize {
        let mut done = 0;
        while done < into.len() {
            match FileExt::read_at(self, &mut into[done..], at + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        done
    }
}
