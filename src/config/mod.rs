//! The config file, `kumadb.toml`: stores, instances, policies and jobs. All problems in it are reported at once.

mod alert;
mod cron;
mod draft;
mod stores;
mod undo;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;

use crate::backup::retention::Policy;
use crate::backup::undo::Bounds;
use crate::backup::{CopyScope, check_address};
use crate::error::{Problem, Result};
use crate::files;
use crate::formats::node::{At, Data, Entry, Node};
use crate::formats::text::{Syntax, no_files, read};
use crate::text::{did_you_mean, duration};
use crate::value::Secret;

pub use alert::{Alert, AlertKind};
pub use cron::CronSchedule;
pub use draft::{ConfigDraft, DraftInstance, table_name};
pub use stores::{open_stores, read_credentials};

/// The whole config file.
#[derive(Clone, Debug, Default)]
pub struct ConfigFile {
    /// Stores, by name.
    pub stores: BTreeMap<String, StoreConfig>,
    /// Instances, by name.
    pub instances: BTreeMap<String, InstanceConfig>,
    /// Retention policies, by name.
    pub policies: BTreeMap<String, Policy>,
    /// Jobs, by name.
    pub jobs: Vec<Job>,
    /// Limits of undo snapshots.
    pub undo: Bounds,
}

/// A store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// A folder, or `s3://…` and the like.
    pub address: String,
    /// A file with credentials in lines `NAME=VALUE`.
    pub credentials_file: Option<PathBuf>,
}

/// An instance.
#[derive(Clone, Debug)]
pub struct InstanceConfig {
    /// A container, a data folder, a `kuma.db`, or `mysql://…`.
    pub target: Text,
    /// The Docker engine that runs it.
    pub docker_host: Option<String>,
    /// The context of the docker CLI for this engine, instead of `docker_host`.
    pub context: Option<String>,
    /// Names of the stores of its snapshots; see [`ConfigFile::stores_of`].
    pub stores: Vec<String>,
    /// Age recipients of its snapshots, where a job has none of its own.
    pub encrypt_to: Vec<String>,
    /// And the recipients in this file.
    pub recipients_file: Option<PathBuf>,
    /// The policy of `backup prune` for it.
    pub policy: Option<Policy>,
    /// Its instance groups.
    pub groups: Vec<String>,
}

/// A text that may be a secret: in the config file, or in the first line of a file of its own.
#[derive(Clone, Debug)]
pub enum Text {
    /// In the config file.
    Here(Secret),
    /// In this file.
    File(PathBuf),
}

impl Text {
    /// Reads the text.
    pub fn read(&self) -> Result<Secret> {
        match self {
            Text::Here(text) => Ok(text.clone()),
            Text::File(path) => files::read_first_line(path).map(|line| Secret::new(line.trim())),
        }
    }
}

/// A scheduled job.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// Its schedule.
    pub when: CronSchedule,
    /// The longest random delay.
    pub jitter: Duration,
    /// Names of instances.
    pub instances: Vec<String>,
    /// Names of stores; see [`ConfigFile::stores_of_job`].
    pub stores: Vec<String>,
    /// What its snapshots contain.
    pub scope: CopyScope,
    /// Encrypt to these age recipients.
    pub encrypt_to: Vec<String>,
    /// Encrypt to the recipients in this file.
    pub recipients_file: Option<PathBuf>,
    /// Encrypt with the passphrase in this file.
    pub passphrase_file: Option<PathBuf>,
    /// Keys of encrypted snapshots, to verify them.
    pub identity_file: Option<PathBuf>,
    /// Whether each copy is read back from its store again.
    pub verify: bool,
    /// Run a restore test every so many runs; 0 for never.
    pub restore_test_every: u64,
    /// The retention policy to apply afterwards.
    pub retention: Option<Policy>,
    /// Which services its runs are reported to.
    pub alerts: Vec<Alert>,
    /// A command to run before; when it fails, the run ends.
    pub before: Vec<String>,
    /// A command to run after a successful run.
    pub after: Vec<String>,
    /// A command to run after a failed run.
    pub on_failure: Vec<String>,
    /// Timeout of a command.
    pub hook_timeout: Duration,
    /// How long to wait for a server that migrates its database.
    pub wait: Duration,
    /// A text file with metrics for Prometheus.
    pub metrics: Option<PathBuf>,
}

const SECTIONS: [&str; 5] = ["stores", "instances", "policies", "jobs", "undo"];
const STORE: [&str; 2] = ["address", "credentials_file"];
const INSTANCE: [&str; 9] =
    ["target", "target_file", "docker_host", "context", "stores", "encrypt_to", "recipients_file", "policy", "groups"];
const JOB: [&str; 30] = [
    "cron",
    "timezone",
    "jitter",
    "instances",
    "stores",
    "config_only",
    "compact",
    "full_check",
    "screenshots",
    "encrypt_to",
    "recipients_file",
    "passphrase_file",
    "identity_file",
    "verify",
    "restore_test_every",
    "retention",
    "push_url",
    "push_url_file",
    "webhook",
    "webhook_file",
    "healthchecks_url",
    "healthchecks_url_file",
    "ntfy_url",
    "ntfy_url_file",
    "before",
    "after",
    "on_failure",
    "hook_timeout",
    "wait",
    "metrics",
];

/// Parses the config file `text`, called `file`.
///
/// # Errors
/// All problems in it, with line and column.
pub fn read_config(file: &str, text: &str) -> Result<ConfigFile, Vec<Problem>> {
    let documents = read(file, text, Syntax::Toml, &no_files).map_err(|problem| vec![problem])?;
    let mut reader = Reader::default();
    let mut config = ConfigFile::default();
    for root in &documents {
        reader.check_keys(root, &SECTIONS);
        config.undo = reader.undo(root);
        for (name, table) in reader.tables(root, "stores") {
            reader.check_keys(table, &STORE);
            if let Some(address) = reader.required(table, "address") {
                if let (Err(why), Some(node)) = (check_address(&address), table.find("address")) {
                    reader.wrong(node, why);
                }
                let place = StoreConfig { address, credentials_file: reader.path(table, "credentials_file") };
                config.stores.insert(name.to_owned(), place);
            }
        }
        for (name, table) in reader.tables(root, "policies") {
            let policy = reader.policy(table);
            config.policies.insert(name.to_owned(), policy);
        }
        for (name, table) in reader.tables(root, "instances") {
            let target = reader.instance(table, root, &config);
            config.instances.extend(target.map(|target| (name.to_owned(), target)));
        }
        for (name, table) in reader.tables(root, "jobs") {
            config.jobs.extend(reader.job(name, table, root, &config));
        }
        reader.check_metrics(&config.jobs, root);
    }
    let mut problems = reader.problems;
    problems.sort_by_key(|(at, _)| (at.line, at.column));
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(problems.into_iter().map(|(at, message)| Problem::new(at.to_string(), message)).collect())
    }
}

/// Reads values, and collects the problems.
#[derive(Default)]
struct Reader {
    problems: Vec<(At, String)>,
}

impl Reader {
    fn wrong(&mut self, node: &Node, message: impl Into<String>) {
        self.problems.push((node.at.clone(), message.into()));
    }

    /// Reports every key that is not in `known`, with the nearest that is.
    fn check_keys(&mut self, table: &Node, known: &[&str]) {
        for Entry { key, at, .. } in table.entries().iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            self.problems.push((at.clone(), format!("unknown key `{key}`{}", did_you_mean(key, known))));
        }
    }

    /// The named tables in the section `section`.
    fn tables<'n>(&mut self, root: &'n Node, section: &str) -> Vec<(&'n str, &'n Node)> {
        let Some(node) = root.find(section) else { return Vec::new() };
        let Data::Map(entries) = &node.data else {
            self.wrong(node, format!("`{section}` must contain tables: [{section}.NAME]"));
            return Vec::new();
        };
        let plain = |name: &str| name.chars().all(|c| c.is_alphanumeric() || "-_".contains(c)) && !name.is_empty();
        let mut found = Vec::new();
        for Entry { key, value, at } in entries {
            match (&value.data, plain(key)) {
                (Data::Map(_), true) => found.push((key.as_str(), value)),
                (Data::Map(_), false) => self
                    .problems
                    .push((at.clone(), format!("`{key}` is not a valid name; allowed: letters, digits, `-` and `_`"))),
                _ => self.wrong(value, format!("`{section}.{key}` must be a table")),
            }
        }
        found
    }

    fn text(&mut self, table: &Node, key: &str) -> Option<String> {
        let node = table.find(key)?;
        match node.text().filter(|text| !text.is_empty()) {
            Some(text) => Some(text.to_owned()),
            None => {
                self.wrong(node, format!("`{key}` must be a string, not {}", node.noun()));
                None
            }
        }
    }

    fn required(&mut self, table: &Node, key: &str) -> Option<String> {
        if table.find(key).is_none() {
            self.wrong(table, format!("`{key}` is missing"));
        }
        self.text(table, key)
    }

    fn path(&mut self, table: &Node, key: &str) -> Option<PathBuf> {
        self.text(table, key).map(PathBuf::from)
    }

    /// `key`, or the file that `key_file` names.
    fn secret(&mut self, table: &Node, key: &str) -> Option<Text> {
        let file_key = format!("{key}_file");
        match (table.find(key), table.find(&file_key)) {
            (Some(_), Some(node)) => {
                self.wrong(node, format!("`{key}` and `{file_key}` set the same value; use only one of them"));
                None
            }
            (Some(_), None) => self.text(table, key).map(|text| Text::Here(Secret::new(text))),
            (None, _) => self.path(table, &file_key).map(Text::File),
        }
    }

    fn texts(&mut self, table: &Node, key: &str) -> Vec<String> {
        let Some(node) = table.find(key) else { return Vec::new() };
        let texts: Option<Vec<String>> = match &node.data {
            Data::List(items) => items.iter().map(|item| item.text().map(str::to_owned)).collect(),
            _ => None,
        };
        texts.unwrap_or_else(|| {
            self.wrong(node, format!("`{key}` must be a list of strings: [\"…\"]"));
            Vec::new()
        })
    }

    fn flag(&mut self, table: &Node, key: &str) -> bool {
        match table.find(key).map(|node| (node, &node.data)) {
            None => false,
            Some((_, Data::Bool(yes))) => *yes,
            Some((node, _)) => {
                self.wrong(node, format!("`{key}` must be true or false"));
                false
            }
        }
    }

    fn count(&mut self, table: &Node, key: &str) -> u64 {
        let Some(node) = table.find(key) else { return 0 };
        match &node.data {
            Data::Int(n) if *n > 0 => n.unsigned_abs(),
            _ => {
                self.wrong(node, format!("`{key}` must be a number; 1 selects every run"));
                0
            }
        }
    }

    fn duration(&mut self, table: &Node, key: &str, default: Duration) -> Duration {
        let Some(node) = table.find(key) else { return default };
        let text = node.scalar().unwrap_or_default();
        match duration(&text).ok().filter(|time| time.as_secs() <= 7 * 86_400) {
            Some(time) => time,
            None => {
                self.wrong(
                    node,
                    format!("`{key}` must be a duration such as \"30s\", \"5m\" or \"1h\", at most one week"),
                );
                default
            }
        }
    }

    /// The names in the list `key`, each of which must be a table in the section of that name.
    fn names(&mut self, table: &Node, key: &str, root: &Node) -> Vec<String> {
        let names = self.texts(table, key);
        if let Some(node) = table.find(key) {
            let known: Vec<&str> = root
                .find(key)
                .map(|section| section.entries().iter().map(|entry| entry.key.as_str()).collect())
                .unwrap_or_default();
            for (name, item) in names.iter().zip(node.list()).filter(|(name, _)| !known.contains(&name.as_str())) {
                self.wrong(item, format!("there is no section `[{key}.{name}]`{}", did_you_mean(name, &known)));
            }
        }
        names
    }

    fn policy(&mut self, table: &Node) -> Policy {
        let mut policy = Policy::default();
        let rules: Vec<String> = Policy::rules().map(|(rule, ..)| rule.replace('-', "_")).collect();
        self.check_keys(table, &rules.iter().map(String::as_str).collect::<Vec<_>>());
        for entry in table.entries().iter().filter(|entry| rules.contains(&entry.key)) {
            let text = entry.value.scalar().unwrap_or_default();
            if let Err(why) = policy.set(&entry.key.replace('_', "-"), &text) {
                self.wrong(&entry.value, format!("`{}`: {why}", entry.key));
            }
        }
        // Its problems are already reported.
        if policy.is_empty() && table.entries().iter().all(|entry| !rules.contains(&entry.key)) {
            self.wrong(table, "no retention rule given");
        }
        policy
    }

    fn instance(&mut self, table: &Node, root: &Node, config: &ConfigFile) -> Option<InstanceConfig> {
        self.check_keys(table, &INSTANCE);
        if ["target", "target_file"].iter().all(|key| table.find(key).is_none()) {
            self.wrong(table, "`target` or `target_file` is missing");
        }
        let (docker_host, context) = (self.text(table, "docker_host"), self.text(table, "context"));
        if let (Some(_), Some(_), Some(node)) = (&docker_host, &context, table.find("context")) {
            self.wrong(node, "`docker_host` and `context` cannot both be set");
        }
        Some(InstanceConfig {
            docker_host,
            context,
            stores: self.names(table, "stores", root),
            encrypt_to: self.texts(table, "encrypt_to"),
            recipients_file: self.path(table, "recipients_file"),
            policy: self.policy_of(table, "policy", config),
            groups: self.texts(table, "groups"),
            // Last, after all keys were read.
            target: self.secret(table, "target")?,
        })
    }

    /// The policy that `key` names.
    fn policy_of(&mut self, table: &Node, key: &str, config: &ConfigFile) -> Option<Policy> {
        let name = self.text(table, key)?;
        let policy = config.policies.get(&name).copied();
        if let (None, Some(node)) = (policy, table.find(key)) {
            let known: Vec<&str> = config.policies.keys().map(String::as_str).collect();
            self.wrong(node, format!("there is no section `[policies.{name}]`{}", did_you_mean(&name, &known)));
        }
        policy
    }

    /// The times of the job in `table`.
    fn cron(&mut self, table: &Node) -> Option<CronSchedule> {
        let zone = match self.text(table, "timezone") {
            None => Tz::UTC,
            Some(text) => text.parse().unwrap_or_else(|_| {
                if let Some(node) = table.find("timezone") {
                    self.wrong(node, format!("`{text}` is not a valid time zone; example: Europe/Berlin"));
                }
                Tz::UTC
            }),
        };
        match CronSchedule::parse(&self.required(table, "cron")?, zone) {
            Ok(when) => Some(when),
            Err(why) => {
                self.wrong(table.find("cron").unwrap_or(table), why);
                None
            }
        }
    }

    fn job(&mut self, name: &str, table: &Node, root: &Node, config: &ConfigFile) -> Option<Job> {
        self.check_keys(table, &JOB);
        let when = self.cron(table);
        let instances = self.names(table, "instances", root);
        let stores = self.names(table, "stores", root);
        if instances.is_empty() {
            self.wrong(table.find("instances").unwrap_or(table), "`instances` is empty");
        }
        if stores.is_empty() && (table.find("stores").is_some() || config.stores.is_empty()) {
            self.wrong(table.find("stores").unwrap_or(table), "`stores` is empty");
        }
        let retention = self.policy_of(table, "retention", config);
        let (encrypt_to, recipients_file) = (self.texts(table, "encrypt_to"), self.path(table, "recipients_file"));
        let passphrase_file = self.path(table, "passphrase_file");
        if passphrase_file.is_some() && (!encrypt_to.is_empty() || recipients_file.is_some()) {
            let node = table.find("passphrase_file").unwrap_or(table);
            self.wrong(node, "encrypt to recipients or with a passphrase, not both");
        }
        Some(Job {
            name: name.to_owned(),
            jitter: self.duration(table, "jitter", Duration::ZERO),
            instances,
            stores,
            scope: CopyScope {
                config_only: self.flag(table, "config_only"),
                compact: self.flag(table, "compact"),
                full_check: self.flag(table, "full_check"),
                screenshots: self.flag(table, "screenshots"),
            },
            encrypt_to,
            recipients_file,
            passphrase_file,
            identity_file: self.path(table, "identity_file"),
            verify: self.flag(table, "verify"),
            restore_test_every: self.count(table, "restore_test_every"),
            retention,
            alerts: AlertKind::ALL
                .into_iter()
                .filter_map(|kind| Some(Alert { kind, url: self.secret(table, kind.key())? }))
                .collect(),
            before: self.texts(table, "before"),
            after: self.texts(table, "after"),
            on_failure: self.texts(table, "on_failure"),
            hook_timeout: self.duration(table, "hook_timeout", Duration::from_secs(300)),
            wait: self.duration(table, "wait", Duration::from_secs(600)),
            metrics: self.path(table, "metrics"),
            // Last, after all keys were read.
            when: when?,
        })
    }

    /// Two jobs must not overwrite each other's metrics.
    fn check_metrics(&mut self, jobs: &[Job], root: &Node) {
        for (at, job) in jobs.iter().enumerate() {
            let taken = |other: &&Job| other.metrics.is_some() && other.metrics == job.metrics;
            if let Some(other) = jobs[..at].iter().find(taken) {
                let table = root.find("jobs").and_then(|jobs| jobs.find(&job.name));
                let node = table.and_then(|table| table.find("metrics")).unwrap_or(root);
                self.wrong(node, format!("job `{}` writes its metrics to the same file", other.name));
            }
        }
    }
}
