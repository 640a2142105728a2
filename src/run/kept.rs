//! Staged copies whose store had no room: they lie in the data folder, can be restored from there, and go into the next
//! store that has room. They never block anything.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use chrono::Utc;

use super::{prune, removed};
use crate::backup::{Held, Manifest, Seal, Snapshot, Store};
use crate::error::{Error, Result};
use crate::files;
use crate::instance::{Instance, KEPT};

/// So many of them are kept: each may be as large as the database.
const MOST: usize = 3;

/// Recipients that the snapshot is to be encrypted to.
const RECIPIENTS: &str = "recipients.json";

/// A staged copy that is kept in the data folder.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Where it is.
    pub folder: PathBuf,
    /// What is in it.
    pub manifest: Manifest,
}

/// The kept copies of `instance`, the oldest first. What cannot be read is left out: the folder may belong to somebody else.
pub fn list(instance: &Instance) -> Vec<Kept> {
    let read = |folder: PathBuf| {
        let text = files::read_text(&folder.join("manifest.json")).ok().flatten()?;
        let manifest: Manifest = serde_json::from_str(&text).ok()?;
        (manifest.origin == instance.origin()).then_some(Kept { folder, manifest })
    };
    let mut all: Vec<Kept> = folders(instance).into_iter().filter_map(read).collect();
    all.sort_by_key(|one| (one.manifest.created, one.manifest.id.clone()));
    all
}

fn folders(instance: &Instance) -> Vec<PathBuf> {
    let mut folders = files::entries(&instance.work().join(KEPT)).unwrap_or_default();
    folders.retain(|path| path.symlink_metadata().is_ok_and(|found| found.is_dir()));
    folders.sort();
    folders
}

/// Keeps the copy in `from`, and no more than a few older ones; returns where it is now, and what it says of itself.
pub(super) fn keep(instance: &Instance, from: &Path, recipients: &[String]) -> Result<(PathBuf, Option<Manifest>)> {
    let place = instance.work().join(KEPT);
    files::claim_folder(&place)?;
    let manifest = Held::open(from).ok().map(|held| held.manifest);
    let id = manifest.as_ref().map_or("unreadable", |manifest| &manifest.id);
    let to = place.join(format!("{}-{id}", Utc::now().format("%Y%m%dT%H%M%SZ")));
    files::rename(from, &to)?;
    if !recipients.is_empty() {
        let text = serde_json::to_vec(recipients).map_err(|error| Error::Snapshot(error.to_string()))?;
        files::replace(&to.join(RECIPIENTS), files::PRIVATE, |file| file.write_all(&text))?;
    }
    thin(instance, MOST)?;
    Ok((to, manifest))
}

/// Removes the oldest until no more than `most` are left.
pub(super) fn thin(instance: &Instance, most: usize) -> Result<()> {
    let folders = folders(instance);
    let surplus = folders.len().saturating_sub(most);
    folders[..surplus].iter().try_for_each(|folder| files::remove_folder(folder))
}

/// Packs the kept copies of `instance` into `store`, as far as it has room; returns the snapshots. For a run that has the lock.
///
/// # Errors
/// That of the first that could not be packed; it stays where it is, and so do those after it.
pub(super) fn pack_all(instance: &Instance, store: &Store) -> Result<Vec<Snapshot>> {
    let mut packed = Vec::new();
    for kept in list(instance) {
        let held = Held::open(&kept.folder)?;
        let text = files::read_text(&kept.folder.join(RECIPIENTS))?;
        let recipients: Vec<String> = match text {
            Some(text) => serde_json::from_str(&text).map_err(|error| Error::Snapshot(error.to_string()))?,
            None => store.recipients(),
        };
        let snapshot = store.clone().sealed(Seal::read(&recipients, &[], None)?).pack(&held, &[])?;
        removed::keep(&kept.folder, &snapshot)?;
        files::remove_folder(&kept.folder)?;
        packed.push(snapshot);
    }
    if folders(instance).is_empty() {
        files::remove_folder(&instance.work().join(KEPT))?;
    }
    if !packed.is_empty() {
        prune::bound(store, (&instance.name, &instance.origin()), Utc::now())?;
    }
    Ok(packed)
}

/// The same for a command that only reads `instance`: where another one is at work, or this user may not write in the data
/// folder, they stay where they are.
///
/// # Errors
/// As above.
pub fn offer(instance: &Instance, store: &Store, verb: &str) -> Result<Vec<Snapshot>> {
    if list(instance).is_empty() {
        return Ok(Vec::new());
    }
    match instance.lock(verb) {
        Ok(_lock) => pack_all(instance, store),
        Err(_) => Ok(Vec::new()),
    }
}
