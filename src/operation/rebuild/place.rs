//! Checks whether a folder can become a data folder, and what it contains otherwise.

use std::path::{Path, PathBuf};

use super::note::{self, ReadyNote, read_note};
use crate::error::{DatabaseError, Error, Hint, Result};
use crate::files;
use crate::kuma::init;

/// What exists at a path.
#[derive(Debug)]
pub enum PlaceContent {
    /// Nothing.
    Absent,
    /// An empty folder.
    Empty,
    /// The remains of an interrupted restore; with its note, where it was already verified.
    Unfinished(Option<ReadyNote>),
    /// The data of a server, recognised by this file.
    Server(String),
    /// Something else: this file exists.
    Other(String),
    /// A link to this path.
    Link(PathBuf),
    /// Not a folder.
    NoFolder,
}

/// Checks what exists at `folder`.
pub fn look(folder: &Path) -> Result<PlaceContent> {
    match files::look(folder)? {
        None => return Ok(PlaceContent::Absent),
        Some(about) if about.is_link() => return Ok(PlaceContent::Link(files::link_target(folder))),
        Some(about) if !about.is_folder() => return Ok(PlaceContent::NoFolder),
        Some(_) => {}
    }
    let names = files::entries(folder)?.into_iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into()));
    // mkfs creates this on every disk; it is nobody's data.
    let mut names: Vec<String> = names.filter(|name: &String| name != "lost+found").collect();
    if names.is_empty() {
        return Ok(PlaceContent::Empty);
    }
    if names.iter().any(|name| name == note::NAME) {
        let note = read_note(folder)?;
        let entries = note.as_ref().map(|note| note.entries.clone()).unwrap_or_default();
        names.retain(|name| name != note::NAME && !entries.contains(name));
        if names.is_empty() {
            return Ok(PlaceContent::Unfinished(note));
        }
    }
    let trace = names.iter().find(|name| init::TRACES.contains(&name.as_str()));
    Ok(match trace {
        Some(trace) => PlaceContent::Server(trace.clone()),
        None => PlaceContent::Other(names.swap_remove(0)),
    })
}

/// Fails unless snapshot `id` can be restored to `folder`.
pub(super) fn check(folder: &Path, id: &str) -> Result<()> {
    let shown = folder.display();
    let (why, hint) = match look(folder)? {
        PlaceContent::Absent | PlaceContent::Empty | PlaceContent::Unfinished(None) => return check_above(folder),
        PlaceContent::Unfinished(Some(note)) if note.snapshot == id => return check_above(folder),
        PlaceContent::Unfinished(Some(note)) => (
            format!("it contains an interrupted restore of snapshot `{}`", note.snapshot),
            Hint::advice(format!(
                "finish it: `kumadb restore {} --to {shown}`; or empty the folder to start over",
                note.snapshot
            )),
        ),
        PlaceContent::Server(trace) => {
            let hint = Hint::advice(format!(
                "use a new or empty folder; or restore over that instance: `kumadb -t {shown} restore {id}`"
            ));
            (format!("it is not empty: it contains `{trace}`"), hint)
        }
        PlaceContent::Other(name) => (
            format!("it is not empty: it contains `{name}`"),
            Hint::advice(format!("use another folder, such as {}", folder.join("data").display())),
        ),
        PlaceContent::Link(to) => (
            format!("the path is a symbolic link to `{}`", to.display()),
            Hint::advice(format!("use the folder itself: {}", to.display())),
        ),
        PlaceContent::NoFolder => ("it is not a folder".into(), Hint::advice("use a new or empty folder")),
    };
    Err(Error::Database(DatabaseError::Occupied { place: format!("`{shown}`"), why, hint }))
}

/// Fails unless the folder can be created and written to.
fn check_above(folder: &Path) -> Result<()> {
    let standing = files::nearest(folder);
    if files::is_folder(standing) {
        files::check_writable(standing)
    } else {
        Err(Error::Database(DatabaseError::Occupied {
            place: format!("`{}`", folder.display()),
            why: format!("`{}` is not a folder", standing.display()),
            hint: Hint::advice("use a new or empty folder"),
        }))
    }
}
