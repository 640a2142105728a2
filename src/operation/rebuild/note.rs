//! The note that a build folder is ready to be moved up.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, FileError, Result};
use crate::files;

/// The name of the folder.
pub(super) const NAME: &str = ".kumadb-restore";

/// The file in it.
pub(super) const NOTE: &str = "ready.json";

/// The note that everything is built and verified: from here on the next run finishes an interrupted one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadyNote {
    /// The snapshot.
    pub snapshot: String,
    /// The entries to move up, in this order.
    pub entries: Vec<String>,
}

/// Reads the note in `folder`, if there is one.
pub(super) fn read_note(folder: &Path) -> Result<Option<ReadyNote>> {
    let path = folder.join(NAME).join(NOTE);
    let note = files::read_text(&path)?.map(|text| serde_json::from_str(&text));
    note.transpose().map_err(|error| Error::File(FileError::Decode { path: path.clone(), why: error.to_string() }))
}
