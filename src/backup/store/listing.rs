//! What is in a store.

use std::collections::BTreeMap;

use super::cache::ManifestCache;
use super::objects::Object;
use super::{Snapshot, Store, beside};
use crate::backup::archive;
use crate::error::{Error, Result};

/// The content of a store.
#[derive(Debug, Default)]
pub struct Listing {
    /// Snapshots, oldest first.
    pub snapshots: Vec<Snapshot>,
    /// Archives that cannot be read, and stores that do not respond, with reasons.
    pub unusable: Vec<Error>,
    /// Stores without snapshots, and addresses in the same bucket that have some.
    pub elsewhere: Vec<(String, Vec<String>)>,
}

impl Store {
    /// All snapshots, oldest first; unreadable archives are listed separately, so that one of them does not hide the
    /// rest.
    pub fn list(&self) -> Result<Listing> {
        let objects = self.objects.list()?;
        let named: BTreeMap<&str, &Object> = objects.iter().map(|object| (object.name.as_str(), object)).collect();
        let archives = objects.iter().filter(|object| archive::is_archive(&object.name));
        let (mut reported, mut unreported) = (Vec::new(), Vec::new());
        for object in archives {
            match named.get(beside(&object.name).as_str()) {
                Some(manifest) => reported.push((object, *manifest)),
                None => unreported.push(object),
            }
        }
        let mut listing = Listing::default();
        self.read_manifests(&reported, &mut listing)?;
        // In a remote store an archive without its manifest is an upload that is running or was interrupted.
        for object in unreported.iter().filter(|_| self.folder().is_some()) {
            listing.take(self.read_within(object));
        }
        listing.sort();
        if listing.snapshots.is_empty() && listing.unusable.is_empty() {
            let elsewhere = Some(self.objects.elsewhere()).filter(|others| !others.is_empty());
            listing.elsewhere.extend(elsewhere.map(|others| (self.address(), others)));
        }
        Ok(listing)
    }

    /// Adds the snapshots with these archives and manifests to `listing`. A manifest that was read before is not requested again.
    fn read_manifests(&self, reported: &[(&Object, &Object)], listing: &mut Listing) -> Result<()> {
        let mut cache = ManifestCache::read(self.cache.as_deref());
        let is_new = |(_, manifest): &&(&Object, &Object)| !cache.has(manifest);
        let new: Vec<String> = reported.iter().filter(is_new).map(|(_, one)| one.name.clone()).collect();
        let mut read = self.objects.read_all(&new)?.into_iter();
        let mut valid = Vec::new();
        for (object, manifest) in reported {
            let Some(text) = cache.take(manifest).map(Ok).or_else(|| read.next()) else { break };
            let parsed = text.and_then(|text| Ok((archive::parse(&self.locate(&object.name), &text)?, text)));
            listing.take(parsed.map(|(parsed, text)| {
                if self.cache.is_some() {
                    valid.push((*manifest, text));
                }
                self.snapshot(object, parsed)
            }));
        }
        let is_same = new.is_empty() && valid.len() == reported.len();
        // Without it the next listing is only slower.
        let _ = cache.replace(valid, is_same);
        Ok(())
    }
}

impl Listing {
    fn take(&mut self, read: Result<Snapshot>) {
        match read {
            Ok(snapshot) => self.snapshots.push(snapshot),
            Err(error) => self.unusable.push(error),
        }
    }

    /// Oldest first; copies of one snapshot side by side.
    pub(super) fn sort(&mut self) {
        let key = |snapshot: &Snapshot| (snapshot.manifest.created, snapshot.manifest.id.clone());
        self.snapshots.sort_by_cached_key(key);
    }
}
