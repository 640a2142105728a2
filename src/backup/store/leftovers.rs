//! The remains of snapshots in a store that were being stored or deleted when their run was interrupted.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::scratch::{Scratch, UploadNote};
use super::{PROBE, Snapshot, Store, beside, scratch};
use crate::backup::archive;
use crate::error::Result;
use crate::files;

/// A snapshot younger than this may still be in transfer.
const YOUNG: TimeDelta = TimeDelta::days(1);

/// In a folder the manifest exists before its archive, but never for this long by the clock of the folder's file system: the
/// archive is renamed at once, or copied by a run that has a lock in the same folder.
const LEFT: TimeDelta = TimeDelta::hours(1);

/// An incomplete snapshot: a manifest without its archive or, where archives become snapshots by their manifest, an archive
/// without one. Neither is ever listed.
#[derive(Clone, Debug)]
pub struct Orphan {
    store: Store,
    name: String,
    /// It may belong to a run that is at work, and is removed when it is a day old.
    pub young: bool,
}

impl Store {
    /// Incomplete snapshots. Those created less than a day before `now`, by their names, are young; in a folder only until they
    /// are an hour old there and no run is storing anything. Files with other names are ignored.
    pub fn orphans(&self, now: DateTime<Utc>) -> Result<Vec<Orphan>> {
        let objects = self.objects.list()?;
        let names: BTreeSet<&str> = objects.iter().map(|object| object.name.as_str()).collect();
        let is_half = |name: &str| match name.strip_suffix(super::BESIDE) {
            Some(archive) => archive::is_archive(archive) && !names.contains(archive),
            None => self.folder().is_none() && archive::is_archive(name) && !names.contains(beside(name).as_str()),
        };
        let left = self.clock()?;
        let is_left = |name: &str| match (self.folder(), left) {
            (Some(folder), Some(now)) => {
                let changed = files::about_target(&folder.join(name)).map(|found| found.modified);
                changed.is_ok_and(|changed| now - changed > LEFT)
            }
            _ => false,
        };
        let incomplete = names.iter().filter(|name| is_half(name));
        let orphan = |name: &&str| {
            let young = taken(name)? + YOUNG >= now && !is_left(name);
            Some(Orphan { store: self.clone(), name: (*name).to_owned(), young })
        };
        Ok(incomplete.filter_map(orphan).collect())
    }

    /// The time by the clock of the file system of a folder; `None` if the store is not a folder, cannot be written to, or has a
    /// run with a lock in it.
    fn clock(&self) -> Result<Option<DateTime<Utc>>> {
        let Some(folder) = self.folder().filter(|folder| files::is_folder(folder)) else { return Ok(None) };
        if scratch::is_busy(folder)? {
            return Ok(None);
        }
        let probe = tempfile::Builder::new().prefix(PROBE).tempfile_in(folder);
        Ok(probe.and_then(|probe| probe.as_file().metadata()?.modified()).ok().map(DateTime::from))
    }
}

impl Snapshot {
    /// Deletes it, noted in `scratch` before: if this run is killed between its archive and its manifest, the next one deletes
    /// the rest.
    pub fn remove_noted(&self, scratch: &Scratch) -> Result<()> {
        let note = UploadNote { store: self.store.address(), name: self.name.clone(), upload: None };
        // Without the note, as on a full disk, what is left is found by its age.
        let noted = scratch.note(std::slice::from_ref(&note)).is_ok();
        self.remove()?;
        if noted { scratch.note(&[]) } else { Ok(()) }
    }
}

impl Orphan {
    /// Its location: a path or an address.
    pub fn location(&self) -> String {
        self.store.locate(&self.name)
    }

    /// Deletes it.
    pub fn remove(&self) -> Result<()> {
        self.store.objects.remove(&self.name)
    }
}

/// The creation time of the snapshot that the file `name` belongs to: `<instance>/<UTC time>-<id>…`.
fn taken(name: &str) -> Option<DateTime<Utc>> {
    let (_, file) = name.rsplit_once('/')?;
    let (time, _) = file.split_once('-')?;
    NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%M%SZ").ok().map(|time| time.and_utc())
}
