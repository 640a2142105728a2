//! Where the data of a verb is. It is found before the verb is dispatched: on another machine, the verb is run there.

use std::cell::RefCell;
use std::path::Path;

use super::backup::BackupVerb;
use super::instance::SelectedInstance;
use super::restore::RestoreTarget;
use super::{Context, Verb, config, engine, remote_job};
use crate::config::InstanceConfig;
use crate::error::Result;
use crate::instance::find::FoundInstance;
use crate::instance::location::only_remote;
use crate::instance::{Instance, Location, RemoteData};

/// What was found before the verb was dispatched. Each is taken by the first use of it.
#[derive(Default)]
pub struct Located {
    instance: Option<Result<Location>>,
    everything: Option<Result<Vec<FoundInstance>>>,
    new: Option<Result<Location<RestoreTarget>>>,
}

impl Verb {
    /// Checks the options that need no data, before any engine is asked.
    pub(super) fn check(&self, is_json: bool) -> Result<()> {
        match self {
            Verb::Export(args) => args.check(),
            Verb::Monitor(verb) => verb.check(),
            Verb::Maintenance(verb) => verb.check(),
            Verb::Backup(BackupVerb::Create(args)) => args.check(is_json),
            Verb::Backup(BackupVerb::Verify(args)) => args.check(),
            Verb::Upgrade(args) => args.check(),
            Verb::Convert(args) => args.check(),
            // clap has checked theirs.
            _ => Ok(()),
        }
    }

    /// The data that the verb needs, where that is on another machine and the verb can be run there. Whatever else is wrong
    /// with its instance is for the verb itself: some do without one.
    pub(super) fn remote_data(&self, context: &mut Context<'_>) -> Result<Option<RemoteData>> {
        let is_many = match self {
            Verb::Status(args) => args.fleet.is_many(),
            Verb::Plan(args) => args.fleet.is_many(),
            Verb::Drift(args) => args.fleet.is_many(),
            Verb::Apply(args) => args.fleet.is_many(),
            Verb::Doctor(args) => args.fleet.is_many(),
            Verb::Backup(verb) => verb.is_for_many(),
            _ => false,
        };
        // Each instance has a process of its own.
        if is_many {
            return Ok(None);
        }
        match self {
            Verb::Find(_) => Ok(context.everything_remote()),
            Verb::Monitor(verb) => match verb.source() {
                Some(source) => source.remote_data(context),
                None => Ok(context.instance_remote()),
            },
            // Until it is interrupted, a report would have to be sent again and again.
            Verb::Report(args) if args.repeats() => Ok(None),
            Verb::Report(args) => args.source.remote_data(context),
            Verb::Doctor(args) if args.explains() => Ok(None),
            Verb::Backup(BackupVerb::Create(_)) => Ok(context.instance_remote()),
            Verb::Backup(BackupVerb::List(_)) => context.snapshots_remote(false),
            Verb::Backup(BackupVerb::Show(args)) => context.selected_remote(std::slice::from_ref(&args.snapshot)),
            Verb::Backup(BackupVerb::Verify(args)) if args.is_own(context) => context.snapshots_remote(true),
            Verb::Backup(BackupVerb::Verify(args)) => context.selected_remote(&args.snapshots),
            Verb::Backup(BackupVerb::Prune(args)) => context.snapshots_remote(args.is_own(context)),
            Verb::Backup(BackupVerb::Check(args)) => Ok(args.remote_data(context)),
            Verb::Convert(args) => Ok(context.instance_remote_or(|instance| args.remote_data(instance))),
            Verb::Restore(args) => match &args.new.to {
                Some(place) => Ok(context.new_remote(place)),
                None => Ok(context.instance_remote()),
            },
            Verb::Status(_)
            | Verb::Maintenance(_)
            | Verb::Plan(_)
            | Verb::Drift(_)
            | Verb::Apply(_)
            | Verb::Export(_)
            | Verb::Doctor(_)
            | Verb::Probe(_)
            | Verb::Push(_)
            | Verb::User(_)
            | Verb::ApiKey(_)
            | Verb::Undo(_)
            | Verb::Upgrade(_)
            | Verb::History(_)
            | Verb::Vacuum(_)
            | Verb::Sql(_)
            | Verb::Restart(_)
            | Verb::Logs(_)
            | Verb::Recover(_) => Ok(context.instance_remote()),
            // A schedule would have to run there forever; salvage reads and writes files, which can be copied here; a new config
            // file is for this machine.
            Verb::Backup(BackupVerb::Schedule(_)) | Verb::Salvage(_) | Verb::Config(_) => Ok(None),
            // They have no instance.
            Verb::Init(_)
            | Verb::Formats(_)
            | Verb::Schema(_)
            | Verb::Completions(_)
            | Verb::Man(_)
            | Verb::RemoteJob(_) => Ok(None),
        }
    }
}

impl Context<'_> {
    /// Where the selected instance is.
    pub(super) fn locate(&self) -> Result<Location> {
        let before = self.located.borrow_mut().instance.take();
        before.unwrap_or_else(|| self.find_location())
    }

    /// The selected instance.
    ///
    /// # Errors
    /// [`RemoteError::DataNotLocal`](crate::error::RemoteError::DataNotLocal): it is on another machine.
    pub(super) fn find(&self) -> Result<Instance> {
        self.locate()?.local()
    }

    /// Selects another instance; returns the target of before.
    pub(super) fn select(&mut self, target: Option<String>) -> Option<String> {
        self.located.get_mut().instance = None;
        std::mem::replace(&mut self.global.target, target)
    }

    /// Forgets which instance was found.
    pub(super) fn forget(&mut self) {
        (self.found, self.located) = (RefCell::default(), RefCell::default());
    }

    /// Searches for the selected instance. One from the config file has its name there, however it was found.
    fn find_location(&self) -> Result<Location> {
        let config = config::read(self)?.unwrap_or_default();
        *self.found.borrow_mut() = None;
        let named = self.configured_name(&config);
        let text = self.global.target.as_deref();
        let location = match named.as_ref().and_then(|name| config.instances.get(name)) {
            Some(target) if named.as_deref() == text => {
                let docker = engine::connect(&engine::of(target, &self.global));
                self.locator_on(docker)?.find(Some(target.target.read()?.reveal()))?
            }
            _ => self.locator()?.find(text)?,
        };
        let is_container = |target: &InstanceConfig, data: &RemoteData| {
            target.target.read().is_ok_and(|text| text.reveal() == data.container.name) && self.is_same_engine(target)
        };
        let configured = named.or_else(|| match &location {
            Location::Local(instance) => self.name_of(instance, &config),
            Location::Remote(data) => {
                let mut all = config.instances.iter();
                all.find(|(_, target)| is_container(target, data)).map(|(name, _)| name.clone())
            }
        });
        let location = match location {
            Location::Local(instance) => {
                // On the remote host, the local kumadb has passed the name.
                let name = configured.clone().or(remote_job::overrides()?.and_then(|overrides| overrides.name));
                let instance = match name {
                    Some(name) => instance.called(name),
                    None => instance,
                };
                Location::Local(instance.cancelled_by(self.ui.cancel()))
            }
            remote => remote,
        };
        let here = match &location {
            Location::Local(instance) => Some((instance.name.clone(), instance.origin())),
            Location::Remote(_) => None,
        };
        *self.found.borrow_mut() = Some(SelectedInstance { configured, here });
        Ok(location)
    }

    /// Everything that looks like an instance; warns when no engine can be asked.
    pub(super) fn everything(&mut self) -> Result<Vec<FoundInstance>> {
        if let Some(before) = self.located.get_mut().everything.take() {
            return before;
        }
        let locator = self.locator()?;
        if let Err(error) = &locator.docker {
            self.ui.warn(&format!("{error}; searching folders only"));
        }
        locator.everything()
    }

    /// What a snapshot is restored to.
    pub(super) fn new_target(&self, text: &str) -> Result<Location<RestoreTarget>> {
        let before = self.located.borrow_mut().new.take();
        before.unwrap_or_else(|| RestoreTarget::find(text, self))
    }

    /// The data of the selected instance, where it is on another machine.
    pub(super) fn instance_remote(&self) -> Option<RemoteData> {
        self.instance_remote_or(|_| None)
    }

    /// The same, or what `other` finds for an instance on this machine.
    fn instance_remote_or(&self, other: impl FnOnce(&Instance) -> Option<RemoteData>) -> Option<RemoteData> {
        let location = self.locate();
        let remote = match &location {
            Ok(Location::Local(instance)) => other(instance),
            Ok(Location::Remote(data)) => Some(data.clone()),
            Err(_) => None,
        };
        self.located.borrow_mut().instance = Some(location);
        remote
    }

    /// The data of one of all instances, where none is on this machine.
    fn everything_remote(&mut self) -> Option<RemoteData> {
        let all = self.everything();
        let remote = all.as_ref().ok().and_then(|all| only_remote(all.iter().map(|found| &found.location)));
        self.located.get_mut().everything = Some(all);
        remote
    }

    fn new_remote(&self, text: &str) -> Option<RemoteData> {
        let location = self.new_target(text);
        let remote = location.as_ref().ok().and_then(Location::remote).cloned();
        self.located.borrow_mut().new = Some(location);
        remote
    }

    /// The host of the default store, if that is another machine: where no store is selected, the snapshots are where the
    /// instances are. With `is_own`, only the snapshots of the selected instance count.
    pub(super) fn snapshots_remote(&self, is_own: bool) -> Result<Option<RemoteData>> {
        if !self.store_addresses()?.is_empty() {
            return Ok(None);
        }
        match &self.global.target {
            _ if is_own => Ok(self.instance_remote()),
            Some(target) if target.contains(['/', ':']) => Ok(None),
            Some(_) => Ok(self.instance_remote()),
            None => Ok(only_remote(self.locator()?.all()?.iter().map(|(_, location)| location))),
        }
    }

    /// The same for a verb about `snapshots`: archives by path or address need no instance.
    pub(super) fn selected_remote(&self, snapshots: &[String]) -> Result<Option<RemoteData>> {
        let is_archive = |desired: &String| desired.contains("://") || Path::new(desired).is_file();
        let is_own = snapshots.iter().any(|desired| desired == "latest");
        if !is_own && !snapshots.is_empty() && snapshots.iter().all(is_archive) {
            Ok(None)
        } else {
            self.snapshots_remote(is_own)
        }
    }
}
