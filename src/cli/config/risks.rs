//! What is valid in the config file, but not safe.

use std::path::{Path, PathBuf};

use crate::config::{AlertKind, ConfigFile, InstanceConfig, Job, Text};
use crate::error::Result;
use crate::files;
use crate::instance::Instance;
use crate::kuma::read::read_shown_state;
use crate::model::state::MonitorConfig;

/// One of them.
pub struct Risk {
    /// The table of the config file; empty for the file itself.
    pub table: String,
    /// What can happen.
    pub what: String,
    /// What to do.
    pub advice: String,
}

impl Risk {
    fn new(table: impl Into<String>, what: impl Into<String>, advice: impl Into<String>) -> Risk {
        Risk { table: table.into(), what: what.into(), advice: advice.into() }
    }

    /// All of it in one line.
    pub fn line(&self) -> String {
        if self.table.is_empty() {
            format!("{}; {}", self.what, self.advice)
        } else {
            format!("[{}] {}; {}", self.table, self.what, self.advice)
        }
    }
}

/// What is not safe in `config`, which was read from `file`. `found` are its instances on this machine, as far as they were
/// found.
pub fn risks(config: &ConfigFile, file: &Path, found: &[(String, Instance)]) -> Vec<Risk> {
    let mut all = exposed(config, file);
    for (name, target) in &config.instances {
        all.extend(unencrypted(config, name, target));
    }
    for (name, instance) in found {
        all.extend(same_disk(config, name, instance));
    }
    all.extend(silent(config));
    all.extend(config.jobs.iter().filter_map(|job| circular(job, found)));
    all
}

/// Secrets that every user of this machine can read.
fn exposed(config: &ConfigFile, file: &Path) -> Vec<Risk> {
    let open = |path: &Path| files::about_target(path).is_ok_and(|found| found.mode & 0o004 != 0);
    let mut all = Vec::new();
    let mut inside = Vec::new();
    for (table, key, path) in secrets(config) {
        match path {
            None => inside.push(format!("`{key}` of [{table}]")),
            Some(path) if open(&path) => {
                let what = format!("every user of this machine can read the secret in `{}`", path.display());
                all.push(Risk::new(table, what, format!("run: chmod 600 {}", path.display())));
            }
            Some(_) => {}
        }
    }
    if !inside.is_empty() && open(file) {
        let what = format!("every user of this machine can read `{}`, with {}", file.display(), inside.join(", "));
        all.push(Risk::new("", what, format!("run: chmod 600 {}", file.display())));
    }
    all
}

/// The secrets: table, key, and the file that contains it; `None` for the config file itself.
fn secrets(config: &ConfigFile) -> Vec<(String, &'static str, Option<PathBuf>)> {
    let mut all = Vec::new();
    let mut add = |table: &str, key, text: &Text| {
        let path = match text {
            Text::File(path) => Some(path.clone()),
            Text::Here(_) => None,
        };
        all.push((table.to_owned(), key, path));
    };
    for (name, target) in &config.instances {
        if has_password(&target.target) {
            add(&format!("instances.{name}"), "target", &target.target);
        }
    }
    for job in &config.jobs {
        let table = format!("jobs.{}", job.name);
        job.alerts.iter().for_each(|alert| add(&table, alert.kind.key(), &alert.url));
        for (key, path) in [("passphrase_file", &job.passphrase_file), ("identity_file", &job.identity_file)] {
            path.iter().for_each(|path| add(&table, key, &Text::File(path.clone())));
        }
    }
    for (name, store) in &config.stores {
        let file = store.credentials_file.iter();
        file.for_each(|path| add(&format!("stores.{name}"), "credentials_file", &Text::File(path.clone())));
    }
    all
}

/// Whether it is the URL of a database with a password.
fn has_password(target: &Text) -> bool {
    let text = target.read().ok();
    let login = text.as_ref().and_then(|text| text.reveal().split_once("://")?.1.rsplit_once('@'));
    login.is_some_and(|(login, _)| login.contains(':'))
}

/// Snapshots in a remote store, which contain every password and token of the monitors.
fn unencrypted(config: &ConfigFile, name: &str, target: &InstanceConfig) -> Vec<Risk> {
    let encrypted = |encrypt_to: &[String], list: &Option<PathBuf>| !encrypt_to.is_empty() || list.is_some();
    if encrypted(&target.encrypt_to, &target.recipients_file) {
        return Vec::new();
    }
    let jobs = config.jobs.iter().filter(|job| job.instances.iter().any(|one| one == name));
    let jobs = jobs.filter(|job| !encrypted(&job.encrypt_to, &job.recipients_file) && job.passphrase_file.is_none());
    let risk = |job: &Job| {
        let stores = config.stores_of_job(job, name);
        let (store, _) = stores.into_iter().find(|(_, place)| place.address.contains("://"))?;
        let what = format!("the snapshots of `{name}` in the remote store `{store}` are not encrypted");
        Some(Risk::new(format!("jobs.{}", job.name), what, "set `encrypt_to`, or run: kumadb config init --encrypt"))
    };
    jobs.filter_map(risk).collect()
}

/// Snapshots that are lost with the disk of the database.
fn same_disk(config: &ConfigFile, name: &str, instance: &Instance) -> Option<Risk> {
    let folder = instance.folder.as_ref()?;
    let disk = device(folder)?;
    let stores = config.stores_of(name);
    let is_same =
        |address: &str| !address.contains("://") && device(Path::new(address)).is_some_and(|other| other == disk);
    if stores.is_empty() || !stores.iter().all(|(_, place)| is_same(&place.address)) {
        return None;
    }
    let what = format!("all snapshots are on the same disk as the database in `{}`", folder.display());
    let advice = "add a store on another disk or machine: a folder, s3://, az://, gs:// or webdavs://";
    Some(Risk::new(format!("instances.{name}"), what, advice))
}

/// The file system of `path`, or of the nearest folder above it that exists.
fn device(path: &Path) -> Option<u64> {
    path.ancestors().find_map(|path| files::about_target(path).ok()).map(|found| found.device)
}

/// Jobs without an alert.
fn silent(config: &ConfigFile) -> Option<Risk> {
    let is_silent = |job: &&Job| job.alerts.is_empty() && job.on_failure.is_empty();
    let names: Vec<String> = config.jobs.iter().filter(is_silent).map(|job| format!("`{}`", job.name)).collect();
    let what = format!("no alert for {}: a failed run is only in the log", names.join(", "));
    let advice = "set `push_url_file`, `healthchecks_url_file`, `ntfy_url_file`, `webhook_file` or `on_failure`";
    (!names.is_empty()).then(|| Risk::new("jobs", what, advice))
}

/// An alert that is not sent when the server that it is about is down.
fn circular(job: &Job, found: &[(String, Instance)]) -> Option<Risk> {
    let url = job.alerts.iter().find(|alert| alert.kind == AlertKind::Push)?.url.read().ok()?;
    let token = url.reveal().split(['?', '#']).next()?.rsplit_once("/api/push/")?.1.trim_matches('/').to_owned();
    let watched = found.iter().filter(|(name, _)| job.instances.contains(name));
    let has_token = |instance: &Instance| {
        // A database that cannot be read now is not opened by other means for this.
        let read =
            || -> Result<MonitorConfig> { read_shown_state(&mut *instance.connect()?.reader()?, &instance.name) };
        read().is_ok_and(|state| {
            state.monitors.values().any(|monitor| monitor.row.text("push_token").is_some_and(|own| own == token))
        })
    };
    let (name, _) = watched.into_iter().find(|(_, instance)| has_token(instance))?;
    let what = format!("the push monitor belongs to `{name}`, the server that is backed up: no alert when it is down");
    Some(Risk::new(
        format!("jobs.{}", job.name),
        what,
        "use a push monitor of another server, Healthchecks, ntfy, or a webhook",
    ))
}
