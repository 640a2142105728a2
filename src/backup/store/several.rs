//! Several stores at once: a local one and a remote one, each with its copy of a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::{Credentials, Keys, Listing, Scratch, Snapshot, Store, remote, scratch};
use crate::backup::{Manifest, StagedCopy, archive};
use crate::error::{Error, FileError, InputError, OperationError, Result, SnapshotError, StoreError, guarded};
use crate::files;
use crate::value::local_time;

/// The stores of a run, in the given order.
#[derive(Clone, Debug)]
pub struct Stores {
    all: Vec<Store>,
    /// The folder where archives are created.
    local: Store,
    /// Credentials for an archive that is named by its address and is in none of them.
    credentials: Credentials,
    /// Names of other instances: one on another host may be in a folder of the same path.
    others: Vec<String>,
}

impl Stores {
    /// These stores, and the local store where archives are created if none of them is a folder.
    pub fn new(all: Vec<Store>, fallback: Store) -> Stores {
        let local = all.iter().find(|store| store.folder().is_some()).cloned().unwrap_or(fallback);
        Stores { all, local, credentials: Credentials::default(), others: Vec::new() }
    }

    /// The same stores, with `credentials` for an archive that is named by its address and is in none of them.
    pub fn with_credentials(self, credentials: Credentials) -> Stores {
        Stores { credentials, ..self }
    }

    /// The same stores; snapshots with one of these names belong to another instance, whatever their location.
    pub fn apart_from(self, others: Vec<String>) -> Stores {
        Stores { others, ..self }
    }

    /// Whether the snapshot with this manifest is of the instance at `origin`.
    pub fn is_of(&self, manifest: &Manifest, origin: &str) -> bool {
        manifest.origin == origin && !self.others.contains(&manifest.instance)
    }

    /// The first folder: the store of the write path, because a safe write must not depend on a network.
    pub fn local(&self) -> &Store {
        &self.local
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Store> {
        self.all.iter()
    }

    /// The same stores; encrypted archives are read with `keys`.
    pub fn with_keys(self, keys: &Keys) -> Stores {
        let all = self.all.into_iter().map(|store| store.with_keys(keys.clone())).collect();
        Stores { all, local: self.local.with_keys(keys.clone()), ..self }
    }

    /// A private folder in the local store for unfinished snapshots. What interrupted runs left is removed first, in
    /// every known store.
    pub fn scratch(&self) -> Result<Scratch> {
        self.clear()?;
        match self.local.folder() {
            Some(folder) => Scratch::make(folder),
            None => Scratch::make(&std::env::temp_dir()),
        }
    }

    /// The same with `needed` bytes free, to unpack a snapshot: in the local store, else among the temporary files,
    /// else in the folder `last`.
    ///
    /// # Errors
    /// [`FileError::NoSpace`](crate::error::FileError::NoSpace) where none of them has enough.
    pub fn scratch_for(&self, needed: u64, last: &Path) -> Result<Scratch> {
        let temporary = std::env::temp_dir();
        let mut first = None;
        let local = self.local.folder().map(Path::to_owned);
        for folder in local.iter().map(PathBuf::as_path).chain([temporary.as_path(), last]) {
            let made = if Some(folder) == local.as_deref() { self.scratch() } else { Scratch::make(folder) };
            match made.and_then(|made| files::require_space(made.path(), needed).map(|()| made)) {
                Ok(made) => return Ok(made),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or(Error::Snapshot(SnapshotError::NotFound(String::new()))))
    }

    /// The same stores, and `store` unless it is one of them.
    pub fn beside(mut self, store: &Store) -> Stores {
        if self.all.iter().all(|other| other.address() != store.address()) {
            self.all.push(store.clone());
        }
        self
    }

    /// Removes the incomplete snapshots that interrupted runs left, in every known store; returns the removed folders.
    pub fn clear(&self) -> Result<Vec<PathBuf>> {
        let mut undo = |note: &scratch::UploadNote| match self.all.iter().find(|store| store.address() == note.store) {
            Some(store) => store.undo(note).is_ok(),
            None => false,
        };
        let mut gone = Vec::new();
        for folder in self.all.iter().chain([&self.local]).filter_map(Store::folder) {
            gone.extend(scratch::clear(folder, &mut undo)?);
        }
        Ok(gone)
    }

    /// The content of all of them, oldest first, the copies of one snapshot side by side. A store that does not
    /// respond is among the unusable ones.
    ///
    /// # Errors
    /// The only store does not respond.
    pub fn list(&self) -> Result<Listing> {
        let mut listing = Listing::default();
        for listed in list_all(&self.all.iter().collect::<Vec<_>>()) {
            match listed {
                Ok(listed) => {
                    listing.snapshots.extend(listed.snapshots);
                    listing.unusable.extend(listed.unusable);
                    listing.elsewhere.extend(listed.elsewhere);
                }
                Err(error)
                    if self.all.len() == 1 || matches!(error, Error::Operation(OperationError::Interrupted { .. })) =>
                {
                    return Err(error);
                }
                Err(error) => listing.unusable.push(error),
            }
        }
        listing.sort();
        Ok(listing)
    }

    /// The copies of the snapshot selected by `desired`, in the order of the stores, at least one: an archive's path or
    /// address, an id or an id prefix, or `latest`: the newest backup of the instance at `origin`, or without one its
    /// newest full undo snapshot; the last two also after the address of another store. `warn` is called for what
    /// could not be read.
    ///
    /// # Errors
    /// [`SnapshotError::NotFound`](crate::error::SnapshotError::NotFound);
    /// [`InputError::Ambiguous`](crate::error::InputError::Ambiguous) for the beginning of several ids; the error of a
    /// store that does not respond, where no other has the snapshot.
    pub fn find(&self, desired: &str, origin: &str, warn: &mut dyn FnMut(&Error)) -> Result<Vec<Snapshot>> {
        let path = Path::new(desired);
        if files::is_file(path) {
            let folder = Store::new(files::parent(path));
            return Ok(vec![folder.with_keys(self.local.keys.clone()).read_file(path)?]);
        }
        if desired.contains("://") {
            return match self.narrowed(desired)? {
                (stores, name) if name != desired => stores.find(name, origin, warn),
                _ => Ok(vec![self.read_at(desired)?]),
            };
        }
        // No id has one of these.
        if desired.contains(['/', '.']) && !files::exists(path) {
            return Err(Error::Snapshot(SnapshotError::NoFile(path.into())));
        }
        let Listing { mut snapshots, mut unusable, elsewhere } = self.list()?;
        match desired {
            "latest" => {
                snapshots.retain(|snapshot| self.is_of(&snapshot.manifest, origin) && !snapshot.manifest.raw);
                keep_last(&mut snapshots, warn);
            }
            _ => snapshots.retain(|snapshot| !desired.is_empty() && snapshot.manifest.id.starts_with(desired)),
        }
        let meant = snapshots.chunk_by(|a, b| a.manifest.id == b.manifest.id).count();
        match meant {
            1 => unusable.iter().for_each(warn),
            0 => match unusable.iter().position(|error| matches!(error, Error::Store(StoreError::Action { .. }))) {
                Some(at) => return Err(unusable.swap_remove(at)),
                None => {
                    elsewhere.iter().map(no_snapshots).for_each(|error| warn(&error));
                    return Err(Error::Snapshot(SnapshotError::NotFound(desired.to_owned())));
                }
            },
            n => {
                return Err(Error::Input(InputError::Ambiguous {
                    kind: "snapshot",
                    prefix: desired.to_owned(),
                    count: n,
                }));
            }
        }
        Ok(snapshots)
    }
}

impl Stores {
    /// The stores to search for `desired`, and the id to search for: for `s3://bucket/prefix/ID` the store
    /// `s3://bucket/prefix`
    /// only, and `ID`.
    pub fn narrowed<'a>(&self, desired: &'a str) -> Result<(Stores, &'a str)> {
        let is_name = |name: &str| name == "latest" || !name.is_empty() && name.chars().all(|c| c.is_ascii_hexdigit());
        let (place, name) = match desired.rsplit_once('/') {
            Some((place, name)) if place.contains("://") && !place.starts_with("http") && is_name(name) => {
                (place, name)
            }
            _ => return Ok((self.clone(), desired)),
        };
        let known = self.all.iter().find(|store| store.address() == place).cloned();
        let store = match known {
            Some(store) => store,
            None => Store::of(remote::open(place, &self.credentials)?).with_keys(self.local.keys.clone()),
        };
        Ok((Stores { all: vec![store], ..self.clone() }, name))
    }

    /// The copies of the last snapshot of the instance `of`, by name or location; of the only instance, where `of` is
    /// not given. With `before`, of those created before.
    ///
    /// # Errors
    /// [`SnapshotError::NotFound`](crate::error::SnapshotError::NotFound);
    /// [`SnapshotError::SeveralInstances`](crate::error::SnapshotError::SeveralInstances) or `SeveralOrigins`
    /// where one must be named.
    pub fn last_of(
        &self,
        of: Option<&str>,
        before: Option<DateTime<Utc>>,
        warn: &mut dyn FnMut(&Error),
    ) -> Result<Vec<Snapshot>> {
        let Listing { mut snapshots, unusable, .. } = self.list()?;
        unusable.iter().for_each(&mut *warn);
        snapshots.retain(|snapshot| !snapshot.manifest.raw);
        let is_of = |snapshot: &Snapshot, name: &str| {
            [&snapshot.manifest.instance, &snapshot.manifest.origin].contains(&&name.to_owned())
        };
        snapshots.retain(|snapshot| of.is_none_or(|of| is_of(snapshot, of)));
        let names: BTreeSet<&String> = snapshots.iter().map(|one| &one.manifest.instance).collect();
        if names.len() > 1 && of.is_none() {
            return Err(Error::Snapshot(SnapshotError::SeveralInstances(names.into_iter().cloned().collect())));
        }
        snapshots.retain(|snapshot| before.is_none_or(|end| snapshot.manifest.created < end));
        // The newest with a history: a new host needs both, and the configuration can be updated.
        let newest = snapshots.iter().rev().find(|one| !one.manifest.undo).map(|one| one.manifest.id.clone());
        if snapshots.iter().any(|one| !one.manifest.undo && one.manifest.is_whole()) {
            snapshots.retain(|one| one.manifest.is_whole());
        }
        check_origins(&snapshots)?;
        keep_last(&mut snapshots, warn);
        if let (Some(last), Some(newest)) = (snapshots.first(), newest)
            && newest != last.manifest.id
        {
            warn(&Error::Snapshot(SnapshotError::NewerConfiguration { newest, id: last.manifest.id.clone() }));
        }
        match (snapshots.is_empty(), of) {
            (false, _) => Ok(snapshots),
            (true, Some(of)) => Err(Error::Snapshot(SnapshotError::NotFound(format!("latest of {of}")))),
            (true, None) => Err(Error::Snapshot(SnapshotError::NotFound("latest".into()))),
        }
    }

    /// The snapshot whose archive is at `address`: in one of the stores, or anywhere else, including a web server.
    fn read_at(&self, address: &str) -> Result<Snapshot> {
        if !archive::is_archive(address) {
            let why = "it must end in `.kuma.tar.zst` or `.kuma.tar.zst.age`; download other files first, for example with `curl`";
            return Err(Error::Input(InputError::Address {
                kind: "snapshot URL",
                shown: address.to_owned(),
                why: why.into(),
            }));
        }
        let within = |store: &Store| Some((store.clone(), address.strip_prefix(&store.address())?.strip_prefix('/')?));
        let (store, name) = match self.all.iter().find_map(within) {
            Some(found) => found,
            None => {
                let (place, name) = address.rsplit_once('/').unwrap_or_default();
                let store = Store::of(remote::open(place, &self.credentials)?);
                (store.with_keys(self.local.keys.clone()), name)
            }
        };
        store.read_named(name)
    }
}

/// Fails where the newest of `snapshots` might be of a different instance: they have the same name and were taken in several
/// locations.
fn check_origins(snapshots: &[Snapshot]) -> Result<()> {
    let is_backup = snapshots.iter().any(|one| !one.manifest.undo);
    let counts = snapshots.iter().filter(|one| one.manifest.undo != is_backup).map(|one| &one.manifest);
    let newest: BTreeMap<&str, &Manifest> = counts.map(|manifest| (manifest.origin.as_str(), manifest)).collect();
    let Some((origin, manifest)) = newest.first_key_value().filter(|_| newest.len() > 1) else { return Ok(()) };
    let words = |one: &&Manifest| format!("{} (newest: `{}` of {})", one.origin, one.id, local_time(one.created));
    Err(Error::Snapshot(SnapshotError::SeveralOrigins {
        instance: manifest.instance.clone(),
        found: newest.values().map(words).collect(),
        origin: (*origin).to_owned(),
    }))
}

/// What is in each of `stores`, in their order. They are read at the same time, so one that does not answer delays
/// none of the others.
pub fn list_all(stores: &[&Store]) -> Vec<Result<Listing>> {
    if let [only] = stores {
        return vec![only.list()];
    }
    std::thread::scope(|scope| {
        let reading: Vec<_> = stores.iter().map(|store| scope.spawn(|| guarded("a store", || store.list()))).collect();
        let failed = || {
            Err(OperationError::Panic { what: "a store", why: "the thread that reads the store stopped".into() }.into())
        };
        reading.into_iter().map(|thread| thread.join().unwrap_or_else(|_| failed())).collect()
    })
}

/// Keeps the copies of the newest backup; without one, of the newest full undo snapshot, with a warning.
fn keep_last(snapshots: &mut Vec<Snapshot>, warn: &mut dyn FnMut(&Error)) {
    if snapshots.iter().any(|snapshot| !snapshot.manifest.undo) {
        snapshots.retain(|snapshot| !snapshot.manifest.undo)
    } else {
        snapshots.retain(|snapshot| snapshot.manifest.is_whole())
    }
    let last = snapshots.last().map(|snapshot| snapshot.manifest.id.clone());
    snapshots.retain(|snapshot| Some(&snapshot.manifest.id) == last.as_ref());
    if let Some(Manifest { id, reason, undo: true, .. }) = snapshots.first().map(|snapshot| &snapshot.manifest) {
        warn(&Error::Snapshot(SnapshotError::OnlyUndo { id: id.clone(), reason: reason.clone() }));
    }
}

/// The warning that a store has no snapshots, while its bucket has some under other prefixes.
pub fn no_snapshots((store, others): &(String, Vec<String>)) -> Error {
    Error::Store(StoreError::Action {
        act: "find snapshots in",
        store: store.clone(),
        why: format!("none found under this prefix, but in {}", others.join(", ")),
        hint: "check the prefix in the URL of the store",
    })
}

impl From<Store> for Stores {
    fn from(store: Store) -> Stores {
        Stores::new(vec![store.clone()], store)
    }
}

impl From<Vec<Store>> for Stores {
    /// At least one store.
    fn from(all: Vec<Store>) -> Stores {
        let first = all[0].clone();
        Stores::new(all, first)
    }
}

/// Unpacks the first intact one of these copies of one snapshot into the new folder `folder`; `warn` is called for each
/// other.
///
/// # Errors
/// The error of the last copy; [`SnapshotError::Key`](crate::error::SnapshotError::Key) at once.
pub fn unpack_first(copies: &[Snapshot], folder: &Path, warn: &mut dyn FnMut(&Error)) -> Result<StagedCopy> {
    let mut last = Error::Snapshot(SnapshotError::NotFound(String::new()));
    for (at, copy) in copies.iter().enumerate() {
        match copy.unpack(folder) {
            Err(error)
                if at + 1 < copies.len()
                    && !matches!(
                        error,
                        Error::Snapshot(SnapshotError::Key { .. })
                            | Error::File(FileError::NoSpace { .. })
                            | Error::Operation(OperationError::Interrupted { .. })
                    ) =>
            {
                warn(&error);
                last = error;
            }
            unpacked => return unpacked,
        }
    }
    Err(last)
}
