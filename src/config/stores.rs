//! The stores in the config file.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};

use super::{ConfigFile, InstanceConfig, Job, StoreConfig};
use crate::backup::{Credentials, Encryption, Keys, Store, Stores, check_variable};
use crate::error::{Error, InputError, Result};
use crate::files;
use crate::value::Secret;

/// How many runs of a job are used to determine their interval: a week of daily runs.
const NEXT_RUNS: usize = 8;

impl ConfigFile {
    /// The stores of the instance called `name`, each with its own name: its own list, else those of the jobs that back it up,
    /// else all.
    pub fn stores_of(&self, name: &str) -> Vec<(&str, &StoreConfig)> {
        let mut names: Vec<&str> = match self.instances.get(name) {
            Some(target) if !target.stores.is_empty() => target.stores.iter().map(String::as_str).collect(),
            _ => {
                let jobs = self.jobs.iter().filter(|job| job.instances.iter().any(|one| one == name));
                jobs.flat_map(|job| &job.stores).map(String::as_str).collect()
            }
        };
        if names.is_empty() {
            names = self.stores.keys().map(String::as_str).collect();
        }
        self.places(&names)
    }

    /// The stores of `job` for snapshots of the instance called `name`: the job's own, else those of the instance.
    pub fn stores_of_job(&self, job: &Job, name: &str) -> Vec<(&str, &StoreConfig)> {
        if job.stores.is_empty() {
            self.stores_of(name)
        } else {
            self.places(&job.stores.iter().map(String::as_str).collect::<Vec<_>>())
        }
    }

    /// The longest interval between two snapshots of the instance called `name`, according to its jobs: in the store of that
    /// name, or in any. `whole`: only full snapshots.
    pub fn interval(&self, name: &str, store: Option<&str>, whole: bool, now: DateTime<Utc>) -> Option<TimeDelta> {
        let backs_up = |job: &&Job| {
            let into = |desired: &str| self.stores_of_job(job, name).iter().any(|(store, _)| *store == desired);
            job.instances.iter().any(|one| one == name) && store.is_none_or(into) && !(whole && job.scope.config_only)
        };
        self.jobs.iter().filter(backs_up).filter_map(|job| job.interval(now)).min()
    }

    /// The names of all instances but `name`.
    pub fn others(&self, name: &str) -> Vec<String> {
        self.instances.keys().filter(|other| *other != name).cloned().collect()
    }

    /// The stores with these names, each once.
    fn places(&self, names: &[&str]) -> Vec<(&str, &StoreConfig)> {
        let mut places: Vec<(&str, &StoreConfig)> = Vec::new();
        for name in names {
            if let Some((name, place)) = self.stores.get_key_value(*name)
                && !places.iter().any(|(other, _)| other == name)
            {
                places.push((name, place));
            }
        }
        places
    }
}

impl Job {
    /// The longest interval between two of its next runs; `None` where it does not run twice.
    fn interval(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        let times = std::iter::successors(self.when.after(now), |time| self.when.after(*time));
        let times: Vec<DateTime<Utc>> = times.take(NEXT_RUNS).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).max()
    }

    /// The encryption of its snapshots, where it sets one.
    pub fn encryption(&self) -> Result<Option<Encryption>> {
        Encryption::read(&self.encrypt_to, self.recipients_file.as_slice(), self.passphrase_file.as_deref())
    }

    /// The keys of its snapshots.
    pub fn keys(&self) -> Result<Keys> {
        Keys::read(self.identity_file.as_slice(), self.passphrase_file.as_deref())
    }
}

impl InstanceConfig {
    /// The encryption of its snapshots, where it sets one.
    pub fn encryption(&self) -> Result<Option<Encryption>> {
        Encryption::read(&self.encrypt_to, self.recipients_file.as_slice(), None)
    }
}

/// Opens the stores at `places` with their credential files, and with `credentials` for the rest; archives are created in
/// `fallback` when none of them is a folder.
pub fn open_stores(places: &[&StoreConfig], credentials: &Credentials, fallback: &Store) -> Result<Stores> {
    let open = |place: &&StoreConfig| {
        let own = place.credentials_file.as_deref().map(read_credentials).transpose()?.unwrap_or_default();
        let own = Credentials::new(own);
        Store::open(&place.address, &own.or(credentials))
    };
    let stores = Stores::new(places.iter().map(open).collect::<Result<_>>()?, fallback.clone());
    Ok(stores.with_credentials(credentials.clone()))
}

/// The lines `NAME=VALUE` of `file`, as in a shell or systemd: with or without `export`, with or without quotes.
///
/// # Errors
/// The file does not exist; a line has another form; no store uses such a name.
pub fn read_credentials(file: &Path) -> Result<Vec<(String, Secret)>> {
    let text = files::read_whole(file)?;
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let read = |(n, line): (usize, &str)| {
        let wrong = |why: String| Error::Input(InputError::Line { path: file.to_owned(), line: n + 1, why });
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').ok_or_else(|| wrong("use NAME=VALUE".into()))?;
        let (name, value) = (name.trim(), value.trim());
        check_variable(name).map_err(wrong)?;
        let quoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        Ok((name.to_owned(), Secret::new(quoted.unwrap_or(value))))
    };
    lines.map(read).collect()
}
