//! Pending snapshots: staged copies whose store had no space. They stay in the data folder, can be restored from there, and go
//! into the next store that has space. They never block an operation.
//!
//! The data folder may belong to an attacker: its content is reached through open folder descriptors, never through a link, and
//! its own claims are trusted no further than the user of the folder could go without them.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::Utc;

use super::last_undo::note_last_undo;
use super::{prune, removed};
use crate::backup::manifest::is_id;
use crate::backup::{Encryption, Manifest, Snapshot, StagedCopy, Store};
use crate::error::{Error, FileError, Result, SnapshotError};
use crate::files::{self, Pinned};
use crate::instance::{Instance, KEPT, SET_ASIDE};

/// Maximum number of pending snapshots: each may be as large as the database.
const MOST: usize = 3;

/// Maximum number of entries that are read: a user who adds more only hides their own.
const SEEN: usize = 16;

/// Recipients that the snapshot is to be encrypted to; empty for an unencrypted one.
const RECIPIENTS: &str = "recipients.json";

/// Maximum size of the list of recipients, in bytes.
const LIST: u64 = 1 << 16;

/// A pending snapshot in the data folder.
#[derive(Clone, Debug)]
pub struct PendingSnapshot {
    /// Its folder.
    pub folder: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    entry: Entry,
    staged: Arc<Pinned>,
}

impl PendingSnapshot {
    /// Copies it into the new folder `folder`, and opens it there.
    ///
    /// # Errors
    /// [`FileError::Io`]; [`SnapshotError::Changed`]
    /// when the content does not match the manifest.
    pub fn copy(&self, folder: &Path) -> Result<StagedCopy> {
        files::make_folder(folder)?;
        let names = self.manifest.members.iter().map(|member| member.name.as_str());
        for name in names.chain([crate::backup::manifest::FILE]) {
            let to = folder.join(name);
            to.parent().map_or(Ok(()), files::make_folder)?;
            files::copy_below(self.staged.path(), name, &to)?;
        }
        StagedCopy::open(folder)
    }

    /// The encryption of its archive, from the configuration of this run, never from the data folder alone.
    fn encryption(&self, store: &Store, warnings: &mut Vec<Error>) -> Result<Option<Encryption>> {
        let stays = |why: String| Error::Snapshot(SnapshotError::Pending { folder: self.folder.clone(), why });
        let ours = store.recipients();
        let noted: Option<Vec<String>> = files::read_below(self.staged.path(), RECIPIENTS, LIST)
            .map_err(|error| stays(self.words(&error)))?
            .map(|text| serde_json::from_str(&text).map_err(|error| stays(format!("{RECIPIENTS}: {error}"))))
            .transpose()?;
        if noted.is_none() && ours.is_empty() {
            return Err(stays(format!(
                "`{RECIPIENTS}` is missing, so kumadb does not know whether the snapshot must be encrypted"
            )));
        }
        let foreign = judge_recipients(&noted.unwrap_or_default(), &ours).map_err(stays)?;
        if !foreign.is_empty() {
            let why = format!("encrypted without {}, which only the data folder lists", foreign.join(" "));
            warnings.push(Error::Snapshot(SnapshotError::PendingEncryption { folder: self.folder.clone(), why }));
        }
        Encryption::read(&ours, &[], None)
    }

    /// Stores it in `store`.
    fn pack(&self, instance: &Instance, store: &Store, warnings: &mut Vec<Error>) -> Result<Snapshot> {
        let mut staged = StagedCopy::open(self.staged.path()).map_err(|error| self.unusable(&error))?;
        if staged.manifest != self.manifest {
            return Err(self.unusable(&Error::Snapshot(SnapshotError::Changed {
                path: self.folder.join(crate::backup::manifest::FILE),
            })));
        }
        // It goes into the folder of this instance, whatever its manifest claims.
        staged.manifest.instance.clone_from(&instance.name);
        let store = store.clone().encrypted(self.encryption(store, warnings)?);
        let stored = find_stored(&store.list()?.snapshots, &staged.manifest, &self.folder)?;
        let snapshot = stored.map_or_else(|| store.pack(&staged, &[]), Ok)?;
        removed::keep(self.staged.path(), &snapshot)?;
        self.entry.remove()?;
        Ok(snapshot)
    }

    /// Adds to `error` what is wrong with its content.
    fn unusable(&self, error: &Error) -> Error {
        Error::Snapshot(SnapshotError::Pending { folder: self.folder.clone(), why: self.words(error) })
    }

    /// `error` with the path that users know.
    fn words(&self, error: &Error) -> String {
        error.to_string().replace(&self.staged.path().display().to_string(), &self.folder.display().to_string())
    }
}

/// Those of the recipients `noted` in a data folder that the configuration, `ours`, does not name: a snapshot is encrypted to
/// no one else.
///
/// # Errors
/// The reason why it must not be stored: it was to be encrypted, and no one is configured.
pub(super) fn judge_recipients(noted: &[String], ours: &[String]) -> Result<Vec<String>, String> {
    let foreign: Vec<String> = noted.iter().filter(|one| !ours.contains(one)).cloned().collect();
    if ours.is_empty() && !foreign.is_empty() {
        Err(format!(
            "the snapshot must be encrypted, but no recipient is configured (`encrypt_to` of the instance, or \
             KUMADB_RECIPIENTS_FILE); only the data folder lists {}",
            foreign.join(" ")
        ))
    } else {
        Ok(foreign)
    }
}

/// The snapshot among those of a store that is the same as `manifest`, where an interrupted run has stored it already.
///
/// # Errors
/// [`SnapshotError::Changed`]: another snapshot has its id. The copy is in a folder that is not ours, and must
/// not replace it.
pub(super) fn find_stored(listed: &[Snapshot], manifest: &Manifest, folder: &Path) -> Result<Option<Snapshot>> {
    let found = listed.iter().find(|snapshot| snapshot.manifest.id == manifest.id);
    let key = |one: &Manifest| (one.created, one.undo, one.origin.clone(), one.counts.clone());
    match found {
        Some(found) if key(&found.manifest) != key(manifest) => {
            Err(Error::Snapshot(SnapshotError::Changed { path: folder.join(crate::backup::manifest::FILE) }))
        }
        found => Ok(found.cloned()),
    }
}

/// The folder of a pending snapshot, by its name in an open folder.
#[derive(Clone, Debug)]
struct Entry {
    name: String,
    path: PathBuf,
    above: Arc<Pinned>,
}

impl Entry {
    fn way(&self) -> PathBuf {
        self.above.path().join(&self.name)
    }

    fn remove(&self) -> Result<()> {
        files::remove_folder(&self.way())
    }

    /// The time and the id in its name.
    fn stamp(&self) -> &str {
        self.name.strip_prefix(SET_ASIDE).unwrap_or(&self.name)
    }
}

/// The result of storing the pending snapshots.
#[derive(Debug, Default)]
pub struct Packing {
    /// The stored snapshots.
    pub packed: Vec<Snapshot>,
    /// The reasons why others stay pending.
    pub warnings: Vec<Error>,
}

/// The pending snapshots of `instance` that can be rolled back, oldest first. Anything else is skipped: the folder may
/// belong to another user.
pub fn list(instance: &Instance) -> Vec<PendingSnapshot> {
    let mut all = waiting(instance);
    all.retain(|one| one.manifest.undo);
    all
}

/// The same, and the files of unreadable databases.
pub fn waiting(instance: &Instance) -> Vec<PendingSnapshot> {
    let (origin, now) = (instance.origin(), Utc::now());
    let read = |entry: Entry| {
        let staged = Arc::new(Pinned::hold(&entry.way()).ok()?);
        let manifest = Manifest::read(staged.path()).ok().flatten()?;
        let is_one = manifest.undo || manifest.raw;
        let is_its = manifest.origin == origin && manifest.created <= now;
        (is_one && is_its).then(|| PendingSnapshot { folder: entry.path.clone(), manifest, entry, staged })
    };
    let mut all: Vec<PendingSnapshot> = entries(instance).into_iter().rev().take(SEEN).filter_map(read).collect();
    all.sort_by_key(|one| (one.manifest.created, one.manifest.id.clone()));
    all
}

/// The folders of pending snapshots, oldest first.
fn entries(instance: &Instance) -> Vec<Entry> {
    let Ok(work) = Pinned::hold(instance.work()).map(Arc::new) else { return Vec::new() };
    let kept = Pinned::hold(&work.path().join(KEPT)).map(Arc::new).ok();
    let mut all = entries_in(&work, instance.work(), SET_ASIDE);
    all.extend(kept.iter().flat_map(|kept| entries_in(kept, &instance.work().join(KEPT), "")));
    all.sort_by(|a, b| a.stamp().cmp(b.stamp()));
    all
}

fn entries_in(above: &Arc<Pinned>, path: &Path, prefix: &str) -> Vec<Entry> {
    let found = files::entries(above.path()).unwrap_or_default();
    let names = found.iter().filter_map(|way| way.file_name()?.to_str().map(str::to_owned));
    let ours = names.filter(|name| name.strip_prefix(prefix).is_some_and(is_stamp));
    let folders = ours.map(|name| Entry { path: path.join(&name), name, above: above.clone() });
    folders.filter(|entry| matches!(files::look(&entry.way()), Ok(Some(found)) if found.is_folder())).collect()
}

/// Whether `name` is the name of a pending snapshot: `20261124T101530Z-4f1c9a02`.
fn is_stamp(name: &str) -> bool {
    let Some((time, id)) = name.split_once('-') else { return false };
    let is_time = time.len() == 16
        && time.bytes().enumerate().all(|(at, byte)| match at {
            8 => byte == b'T',
            15 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        });
    is_time && (is_id(id) || id == UNREADABLE)
}

/// Replaces the id of a copy whose manifest cannot be read.
const UNREADABLE: &str = "unreadable";

/// Makes the copy in `from` a pending snapshot and removes all but a few older ones; returns its folder and its
/// manifest. Where it cannot be moved it is only renamed, which needs no space and protects it from cleanup.
///
/// # Errors
/// The copy could not be kept; it is where it was.
pub(super) fn keep(instance: &Instance, from: &Path, recipients: &[String]) -> Result<(PathBuf, Option<Manifest>)> {
    let manifest = StagedCopy::open(from).ok().map(|staged| staged.manifest);
    let id = manifest.as_ref().map_or(UNREADABLE, |manifest| &manifest.id);
    let stamp = format!("{}-{id}", Utc::now().format("%Y%m%dT%H%M%SZ"));
    let work = Pinned::hold(instance.work())?;
    let name = from.file_name().ok_or_else(|| Error::file("rename", from)(ErrorKind::InvalidInput.into()))?;
    let way = work.path().join(name);
    let to = match note_recipients(from, recipients).and_then(|()| put(instance, &way, &work, &stamp)) {
        Ok(()) => instance.work().join(KEPT).join(&stamp),
        Err(error) => {
            let aside = format!("{SET_ASIDE}{stamp}");
            files::rename_new(&way, &work.path().join(&aside)).map_err(|_| error)?;
            instance.work().join(aside)
        }
    };
    // The copy is kept. Older ones that cannot be removed can only disturb the next staged copy, which reports that.
    let _ = thin_beside(instance, MOST, &stamp);
    Ok((to, manifest))
}

/// Writes to whom the copy in `from` is encrypted, before it can be found: without the list, it would be packed unencrypted.
fn note_recipients(from: &Path, recipients: &[String]) -> Result<()> {
    let text = serde_json::to_vec(recipients).map_err(|error| {
        Error::File(FileError::Encode { what: "the recipients of a snapshot", why: error.to_string() })
    })?;
    files::replace(&from.join(RECIPIENTS), files::PRIVATE, |file| file.write_all(&text)).map(drop)
}

/// Moves the folder `way` in `work` to the pending snapshots.
fn put(instance: &Instance, way: &Path, work: &Pinned, stamp: &str) -> Result<()> {
    files::claim_folder(&instance.work().join(KEPT))?;
    let kept = Pinned::hold(&work.path().join(KEPT))?;
    files::rename_new(way, &kept.path().join(stamp))
}

/// Removes the oldest until no more than `most` are left.
pub(super) fn thin(instance: &Instance, most: usize) -> Result<()> {
    thin_beside(instance, most, "")
}

/// The same, but keeps the one with `stamp`, whatever the clock showed when the others were made.
fn thin_beside(instance: &Instance, most: usize, stamp: &str) -> Result<()> {
    let entries = entries(instance);
    let surplus = entries.len().saturating_sub(most);
    entries.iter().filter(|entry| entry.stamp() != stamp).take(surplus).try_for_each(Entry::remove)
}

/// Stores the pending snapshots of `instance` in `store`, as far as it has space. For a run that has the lock.
/// Unreadable ones are skipped; where the store fails, the rest stays pending.
pub(super) fn pack_all(instance: &Instance, store: &Store) -> Packing {
    let mut packing = Packing::default();
    let place = instance.work().join(KEPT);
    if matches!(files::look(&place), Ok(Some(found)) if !found.is_folder()) {
        packing.warnings.push(files::not_ours(&place));
    }
    let all = waiting(instance);
    for kept in &all[all.len().saturating_sub(MOST)..] {
        match kept.pack(instance, store, &mut packing.warnings) {
            Ok(snapshot) => packing.packed.push(snapshot),
            Err(error) => {
                let goes_on = matches!(
                    error,
                    Error::Snapshot(_)
                        | Error::File(
                            FileError::NotOurFolder { .. } | FileError::Link { .. } | FileError::HardLink { .. }
                        )
                );
                packing.warnings.push(error);
                if !goes_on {
                    break;
                }
            }
        }
    }
    let emptied = Pinned::hold(instance.work()).and_then(|work| files::remove_empty_folder(&work.path().join(KEPT)));
    if !packing.packed.is_empty() {
        packing.warnings.extend(emptied.err());
        let made: Vec<&str> = packing.packed.iter().map(|snapshot| snapshot.manifest.id.as_str()).collect();
        packing.warnings.extend(prune::bound(store, (&instance.name, &instance.origin()), &made, Utc::now()).err());
        let noted = packing.packed.last().map(|newest| note_last_undo(instance, newest));
        packing.warnings.extend(noted.and_then(Result::err));
    }
    packing
}

/// The same for a command that only reads `instance`: where another process has the lock, or this user may not write
/// in the data folder, they stay pending.
pub fn offer(instance: &Instance, store: &Store, verb: &str) -> Packing {
    if waiting(instance).is_empty() {
        return Packing::default();
    }
    match instance.lock(verb) {
        Ok(_lock) => pack_all(instance, store),
        Err(_) => Packing::default(),
    }
}
