//! Where the newest undo snapshot of an instance was stored, noted in its data folder: so that `kumadb undo` that looks in
//! other stores can name it. No write depends on the content of the note, because the folder may belong to an attacker.

use std::io::Write as _;

use serde::{Deserialize, Serialize};

use crate::backup::Snapshot;
use crate::error::{Error, FileError, Result};
use crate::files;
use crate::instance::{Instance, LAST_UNDO};

/// The largest note that is read, in bytes.
const MOST: u64 = 1 << 14;

/// The newest undo snapshot, and its store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastUndo {
    /// Address of the store.
    pub store: String,
    /// Id of the snapshot.
    pub snapshot: String,
}

/// Notes where the undo snapshot of the newest write is.
pub(super) fn note_last_undo(instance: &Instance, snapshot: &Snapshot) -> Result<()> {
    if !snapshot.manifest.undo {
        return Ok(());
    }
    let note = LastUndo { store: snapshot.store().absolute_address()?, snapshot: snapshot.manifest.id.clone() };
    let text = serde_json::to_vec(&note).map_err(|error| {
        Error::File(FileError::Encode { what: "the store of an undo snapshot", why: error.to_string() })
    })?;
    files::replace(&instance.work().join(LAST_UNDO), files::PRIVATE, |file| file.write_all(&text))
}

/// The content of the note, as far as it can be read and shown.
pub fn read_last_undo(instance: &Instance) -> Option<LastUndo> {
    let text = files::read_below(instance.work(), LAST_UNDO, MOST).ok().flatten()?;
    let note: LastUndo = serde_json::from_str(&text).ok()?;
    let is_plain = |text: &String| !text.is_empty() && !text.chars().any(char::is_control);
    (is_plain(&note.store) && is_plain(&note.snapshot)).then_some(note)
}
