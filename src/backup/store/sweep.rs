//! The remains of snapshots in a store that were being stored or deleted when their run was interrupted.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::{Store, beside};
use crate::backup::archive;
use crate::error::Result;

/// A snapshot younger than this may still be in transfer.
const YOUNG: TimeDelta = TimeDelta::days(1);

/// An incomplete snapshot: a manifest without its archive or, where archives become snapshots by their manifest, an archive
/// without one. Neither is ever listed.
#[derive(Clone, Debug)]
pub struct Orphan {
    store: Store,
    name: String,
}

impl Store {
    /// Incomplete snapshots created more than a day before `now`, by their names; files with other names are ignored.
    pub fn orphans(&self, now: DateTime<Utc>) -> Result<Vec<Orphan>> {
        let objects = self.objects.list()?;
        let names: BTreeSet<&str> = objects.iter().map(|object| object.name.as_str()).collect();
        let is_half = |name: &str| match name.strip_suffix(super::BESIDE) {
            Some(archive) => archive::is_archive(archive) && !names.contains(archive),
            None => self.folder().is_none() && archive::is_archive(name) && !names.contains(beside(name).as_str()),
        };
        let is_old = |name: &str| taken(name).is_some_and(|taken| taken + YOUNG < now);
        let old_halves = names.iter().filter(|name| is_half(name) && is_old(name));
        Ok(old_halves.map(|name| Orphan { store: self.clone(), name: (*name).to_owned() }).collect())
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
