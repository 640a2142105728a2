//! The selected instance, its settings in the config file, and its stores.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::environment::{cache_folder, default_store, value};
use super::{Context, config, engine, remote_job, store};
use crate::backup::undo::Bounds;
use crate::backup::{Credentials, Encryption, Manifest, Snapshot, Store, Stores, Timeouts};
use crate::config::{ConfigFile, InstanceConfig, StoreConfig, open_stores};
use crate::engine::Connect as _;
use crate::engine::mariadb::Address;
use crate::error::Result;
use crate::instance::{Instance, Location};

/// The instance that was found.
#[derive(Clone, Debug)]
pub struct SelectedInstance {
    /// Its name in the config file, where it has one.
    pub(super) configured: Option<String>,
    /// Its name and location; `None` on a remote host.
    pub(super) here: Option<(String, String)>,
}

/// An instance of the config file.
pub struct NamedInstance {
    /// Its name there.
    pub name: String,
    /// Its table.
    pub target: InstanceConfig,
}

/// The owner of snapshots.
#[derive(Clone, Debug)]
pub struct SnapshotOwner {
    /// The name of the instance.
    pub name: String,
    /// Another name of its snapshots: the container that the config file has under this name.
    older: Option<String>,
    /// Its location, where known.
    pub origin: Option<String>,
    /// The other names in the config file: instances on two hosts may be in folders of the same path.
    others: Vec<String>,
}

impl SnapshotOwner {
    /// Whether the snapshot with this manifest belongs to it.
    pub fn has(&self, manifest: &Manifest) -> bool {
        match &self.origin {
            Some(origin) => manifest.origin == *origin && !self.others.contains(&manifest.instance),
            None => manifest.instance == self.name || self.older.as_ref() == Some(&manifest.instance),
        }
    }
}

impl SnapshotOwner {
    /// The instance at `origin`, or with this name where the location is unknown.
    pub fn at(name: String, origin: Option<String>) -> SnapshotOwner {
        SnapshotOwner { name, older: None, origin, others: Vec::new() }
    }

    /// The instance called `name` in `config`, else any with this name.
    pub fn of(name: &str, config: &ConfigFile) -> SnapshotOwner {
        let text = |target: &InstanceConfig| target.target.read().ok().map(|text| text.reveal().to_owned());
        let named = config.instances.get(name).and_then(text);
        let others = || config.instances.iter().filter(|(other, _)| *other != name);
        let is_unique = |named: &String| others().all(|(_, target)| text(target).as_ref() != Some(named));
        SnapshotOwner {
            name: name.to_owned(),
            origin: named.as_deref().and_then(origin_of),
            older: named.filter(is_unique),
            others: config.others(name),
        }
    }
}

/// Whether two different instances have the same name.
pub fn are_ambiguous<'m>(manifests: impl Iterator<Item = &'m Manifest>) -> bool {
    let mut origins: BTreeMap<&str, &str> = BTreeMap::new();
    manifests
        .into_iter()
        .any(|manifest| *origins.entry(&manifest.instance).or_insert(&manifest.origin) != manifest.origin)
}

impl Context<'_> {
    /// The owner of snapshots called `name`: the instance of this name in the config file, else any with this name.
    pub(super) fn owner(&self, name: &str) -> Result<SnapshotOwner> {
        let config = config::read(self)?.unwrap_or_default();
        Ok(SnapshotOwner::of(name, &config))
    }

    /// The owner of the snapshots of the target, where one is given. Its instance may be gone: an engine is asked only where
    /// none of `snapshots` is of what its text names.
    ///
    /// # Errors
    /// It is the name of neither an instance nor an owner of snapshots.
    pub(super) fn target_owner(&self, snapshots: &[Snapshot]) -> Result<Option<SnapshotOwner>> {
        let Some(text) = &self.global.target else { return Ok(None) };
        let config = config::read(self)?.unwrap_or_default();
        if let Some(name) = self.configured_name(&config) {
            return Ok(Some(SnapshotOwner::of(&name, &config)));
        }
        let is_location = text.contains(['/', ':']);
        let origin = is_location.then(|| former_origin_of(text)).flatten();
        let owner = self.owner_at(text.clone(), origin)?;
        if snapshots.iter().any(|snapshot| owner.has(&snapshot.manifest)) {
            return Ok(Some(owner));
        }
        match self.located_owner(text) {
            Err(_) if is_location => Ok(Some(owner)),
            found => found.map(Some),
        }
    }

    /// The owner of the snapshots of the instance that the target `text` selects.
    pub(super) fn located_owner(&self, text: &str) -> Result<SnapshotOwner> {
        match self.locate()? {
            Location::Local(instance) => self.owner_at(instance.name.clone(), Some(instance.origin())),
            Location::Remote(data) => self.owner_at(text.to_owned(), Some(data.folder.display().to_string())),
        }
    }

    /// An owner that is not in the config file; a remote job has the names of those that are.
    fn owner_at(&self, name: String, origin: Option<String>) -> Result<SnapshotOwner> {
        Ok(SnapshotOwner { others: self.others()?, ..SnapshotOwner::at(name, origin) })
    }

    /// The selected instance in the config file, if it is there: by name or by location.
    pub(super) fn named(&self) -> Result<Option<NamedInstance>> {
        let Some(mut config) = config::read(self)? else { return Ok(None) };
        let Some(name) = self.configured_name(&config) else { return Ok(None) };
        Ok(config.instances.remove(&name).map(|target| NamedInstance { name, target }))
    }

    /// The name in `config` of the selected instance.
    pub(super) fn configured_name(&self, config: &ConfigFile) -> Option<String> {
        if let Some(found) = &*self.found.borrow() {
            return found.configured.clone().filter(|name| config.instances.contains_key(name));
        }
        let text = self.global.target.as_ref()?;
        // A text with a `/` or a `:` is a location, not a name.
        if !text.contains(['/', ':']) && config.instances.contains_key(text) {
            return Some(text.clone());
        }
        let same = |target: &InstanceConfig| {
            let other = target.target.read().ok();
            other.is_some_and(|other| is_same_text(text, other.reveal()) && self.is_same_engine(target))
        };
        config.instances.iter().find(|(_, target)| same(target)).map(|(name, _)| name.clone())
    }

    /// Whether the engine of `target` is the one of the options.
    pub(super) fn is_same_engine(&self, target: &InstanceConfig) -> bool {
        if target.docker_host.is_none() && target.context.is_none() {
            return true;
        }
        let own = engine::surroundings(&self.global).endpoint();
        matches!((engine::of(target, &self.global).endpoint(), own), (Ok(other), Ok(own)) if other == own)
    }

    /// The name of `instance` in `config`.
    pub(super) fn name_of(&self, instance: &Instance, config: &ConfigFile) -> Option<String> {
        let is = |target: &InstanceConfig| is_instance(target, instance, self.is_same_engine(target));
        config.instances.iter().find(|(_, target)| is(target)).map(|(name, _)| name.clone())
    }

    /// The store of undo snapshots: the first local folder among the stores, or the default one. A safe write must not depend
    /// on a network. They are encrypted where the snapshots of the instance are.
    pub(super) fn store(&mut self) -> Result<Store> {
        let store = self.local_stores()?.into_iter().next().map_or_else(default_store, Store::new);
        self.warn_of_namesakes(std::slice::from_ref(&store));
        Ok(store.encrypted(self.encryption()?).bounded(self.undo_bounds()?).apart_from(self.others()?))
    }

    /// Warns when one of `stores` has snapshots of another instance with the same name.
    pub(super) fn warn_of_namesakes(&mut self, stores: &[Store]) {
        let Some((name, origin)) = self.found.borrow().as_ref().and_then(|found| found.here.clone()) else { return };
        for store in stores {
            // A store that does not respond is reported where it is used.
            if let Ok(Some(namesake)) = store.namesake(&name, &origin) {
                self.ui.warn(&namesake.to_string());
            }
        }
    }

    /// The encryption of the instance's snapshots, from the environment or the config file.
    pub(super) fn encryption(&self) -> Result<Option<Encryption>> {
        if let Some(recipients) = &self.recipients {
            return Encryption::read(recipients, &[], None);
        }
        match value("KUMADB_RECIPIENTS_FILE") {
            Some(file) => Encryption::read(&[], &[file.into()], None),
            None => self.named()?.map_or(Ok(None), |named| named.target.encryption()),
        }
    }

    /// The limits of undo snapshots, from the config file.
    pub(super) fn undo_bounds(&self) -> Result<Bounds> {
        match self.bounds {
            Some(bounds) => Ok(bounds),
            None => Ok(config::read(self)?.map_or_else(Bounds::default, |config| config.undo)),
        }
    }

    /// The local folders among the stores.
    pub(super) fn local_stores(&self) -> Result<Vec<String>> {
        let mut stores = self.store_addresses()?;
        stores.retain(|store| !store.contains("://"));
        Ok(stores)
    }

    /// The stores of the options, else of the config file.
    pub(super) fn store_addresses(&self) -> Result<Vec<String>> {
        let named = self.configured_stores()?.unwrap_or_default().into_iter().map(|place| place.address);
        Ok(self.global.store.iter().cloned().chain(named).collect())
    }

    /// The path or address of the selected instance, on this machine or on its remote host.
    pub(super) fn origin(&mut self) -> Result<String> {
        match self.location()? {
            Location::Remote(data) if !self.store_addresses()?.is_empty() => Ok(data.folder.display().to_string()),
            location => Ok(location.local()?.origin()),
        }
    }

    /// The stores of the options, else of the config file, else the default one.
    pub(super) fn stores(&self) -> Result<Stores> {
        self.stores_with(Timeouts::default())
    }

    /// The same; a store that does not answer is retried for as long as `patience` allows.
    pub(super) fn stores_with(&self, patience: Timeouts) -> Result<Stores> {
        let credentials = self.credentials()?.with_patience(patience);
        let stores = match self.configured_stores()? {
            Some(places) => open_stores(&places.iter().collect::<Vec<_>>(), &credentials, &default_store())?,
            None => store::open(&self.global.store, default_store(), credentials)?,
        };
        Ok(stores.apart_from(self.others()?))
    }

    /// The names of the other instances, where the config file contains the selected one.
    pub(super) fn others(&self) -> Result<Vec<String>> {
        if let Some(overrides) = remote_job::overrides()? {
            return Ok(overrides.others);
        }
        let config = config::read(self)?.unwrap_or_default();
        Ok(self.configured_name(&config).map_or(Vec::new(), |name| config.others(&name)))
    }

    /// Who uses the stores, from the environment; a signal ends a request.
    pub(super) fn credentials(&self) -> Result<Credentials> {
        let credentials = Credentials::new(store::credentials()?).cancelled_by(self.ui.signals());
        Ok(credentials.noticed_by(self.ui.notices()).cached_in(cache_folder()))
    }

    /// The stores of the config file, unless others were given: those of the selected instance, or all where it names none or
    /// none is selected.
    pub(super) fn configured_stores(&self) -> Result<Option<Vec<StoreConfig>>> {
        if !self.global.store.is_empty() {
            return Ok(None);
        }
        let Some(config) = config::read(self)? else { return Ok(None) };
        let places: Vec<StoreConfig> = match self.configured_name(&config) {
            Some(name) => config.stores_of(&name).into_iter().map(|(_, place)| place.clone()).collect(),
            None => config.stores.into_values().collect(),
        };
        Ok(Some(places).filter(|places| !places.is_empty()))
    }
}

/// Whether both texts name one location: the same word, the same folder, the same database.
fn is_same_text(text: &str, other: &str) -> bool {
    text == other || origin_of(text).is_some_and(|origin| Some(origin) == origin_of(other))
}

/// The location of the instance `text`, as far as the text shows it: not for the name of a container.
pub fn origin_of(text: &str) -> Option<String> {
    if text.starts_with("mysql://") || text.starts_with("mariadb://") {
        return Address::parse(text).ok().map(|address| address.describe());
    }
    Some(folder_of(&Path::new(text).canonicalize().ok()?))
}

/// The same for an instance that may be gone.
pub(super) fn former_origin_of(text: &str) -> Option<String> {
    let is_path = text.contains('/') && !text.contains("://");
    let absolute = || std::path::absolute(text).ok().filter(|_| is_path);
    origin_of(text).or_else(|| Some(folder_of(&absolute()?.components().collect::<PathBuf>())))
}

/// The data folder at `path`, which is this folder or its `kuma.db`.
fn folder_of(path: &Path) -> String {
    let folder = path.parent().filter(|_| path.file_name().is_some_and(|name| name == "kuma.db"));
    folder.unwrap_or(path).display().to_string()
}

/// Whether `target` of the config file is `instance`.
fn is_instance(target: &InstanceConfig, instance: &Instance, same_engine: bool) -> bool {
    let Ok(text) = target.target.read() else { return false };
    let is_container = |(id, name): (String, String)| {
        let text = text.reveal();
        same_engine && (name == text || text.len() >= 12 && id.starts_with(text))
    };
    instance.container_name().is_some_and(is_container)
        || origin_of(text.reveal()).is_some_and(|origin| origin == instance.origin())
}
