//! `kumadb backup check`

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clap::Args;
use serde_json::{Value as Json, json};

use super::environment::default_store;
use super::fleet::FleetArgs;
use super::instance::{SnapshotOwner, former_origin_of};
use super::{Context, config};
use crate::backup::freshness::{Limits, Newest, PluginStatus, Verdict};
use crate::backup::store::{Listing, list_all};
use crate::backup::{Snapshot, Store, Timeouts};
use crate::config::{ConfigFile, StoreConfig, open_stores};
use crate::error::{Error, Exit, InputError, OperationError, RemoteError, Result};
use crate::instance::{Location, RemoteData};
use crate::text::{age_words, counted, duration};

/// Default maximum age of the newest backup, without an option or a job.
const MAX_AGE: TimeDelta = TimeDelta::hours(26);

/// Default maximum age in status output, without a job.
const STATUS_MAX_AGE: TimeDelta = TimeDelta::days(7);

#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Report CRITICAL when the newest backup is older than this, for example 26h or 7d [default: twice the job
    /// interval, else 26h]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_age: Option<Duration>,
    /// Report WARNING when no backup was fully verified or test-restored within this time: 30d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    verified_within: Option<Duration>,
    /// Check only full snapshots, not configuration-only ones
    #[arg(long)]
    full: bool,
    /// Check this instance of the config file (can be repeated)
    #[arg(long = "instance", value_name = "NAME")]
    instances: Vec<String>,
    /// Check the instances of this group of the config file (can be repeated)
    #[arg(long = "instance-group", value_name = "NAME")]
    groups: Vec<String>,
    /// Check all instances of the config file [default without -t]
    #[arg(long)]
    all: bool,
}

impl CheckArgs {
    /// The options that stand for the config file on a remote host.
    pub fn configured(&self, context: &Context<'_>) -> Result<Vec<String>> {
        match self.max_age {
            Some(_) => Ok(Vec::new()),
            None => configured_max_age(self.full, context),
        }
    }

    /// The host of the default store, where that is another machine. Whatever else is wrong is a result of the check.
    pub fn remote_data(&self, context: &mut Context<'_>) -> Option<RemoteData> {
        let remote = self.default_store(context).ok().flatten();
        if remote.is_none() {
            context.forget();
        }
        remote
    }

    fn default_store(&self, context: &mut Context<'_>) -> Result<Option<RemoteData>> {
        let config = config::read(context)?.unwrap_or_default();
        match self.names(&config, context)?.as_slice() {
            [] => context.snapshots_remote(context.global.target.is_some()),
            [name] if context.global.store.is_empty() && stores_of(name, &config).is_empty() => {
                let target = context.select(Some(name.clone()));
                let remote = context.instance_remote();
                if remote.is_none() {
                    context.select(target);
                }
                Ok(remote)
            }
            _ => Ok(None),
        }
    }

    /// The names of the selected instances in the config file.
    fn names(&self, config: &ConfigFile, context: &Context<'_>) -> Result<Vec<String>> {
        let fleet = FleetArgs::of(self.instances.clone(), self.groups.clone(), self.all);
        match (fleet.is_many(), &context.global.target) {
            (true, Some(_)) => Err(Error::Input(InputError::Conflict {
                option: "`-t`".into(),
                other: "`--instance`, `--instance-group` or `--all`".into(),
            })),
            (true, None) => fleet.names(config),
            (false, Some(_)) => Ok(context.named()?.map(|named| named.name).into_iter().collect()),
            (false, None) => Ok(config.instances.keys().cloned().collect()),
        }
    }
}

/// The stores of the instance `name`, each with its name in `config`. One that only a job names has backups too.
fn stores_of<'c>(name: &str, config: &'c ConfigFile) -> Vec<(&'c str, &'c StoreConfig)> {
    let mut places = config.stores_of(name);
    for job in config.jobs.iter().filter(|job| job.instances.iter().any(|one| one == name)) {
        for other in config.stores_of_job(job, name) {
            if !places.iter().any(|(known, _)| *known == other.0) {
                places.push(other);
            }
        }
    }
    places
}

/// `--max-age` from the jobs of the config file.
pub fn configured_max_age(full: bool, context: &Context<'_>) -> Result<Vec<String>> {
    let config = config::read(context)?.unwrap_or_default();
    let interval = context.named()?.and_then(|named| config.interval(&named.name, None, full, Utc::now()));
    Ok(interval.map_or(Vec::new(), |interval| vec!["--max-age".into(), format!("{}s", (interval * 2).num_seconds())]))
}

/// The maximum age of the newest backup of the found instance: the option, twice the interval of its jobs, or a week.
pub fn status_max_age(option: Option<Duration>, context: &Context<'_>) -> Result<TimeDelta> {
    if let Some(max_age) = option.and_then(|option| TimeDelta::from_std(option).ok()) {
        return Ok(max_age);
    }
    let config = config::read(context)?.unwrap_or_default();
    let interval = context.named()?.and_then(|named| config.interval(&named.name, None, false, Utc::now()));
    Ok(interval.map_or(STATUS_MAX_AGE, |interval| interval * 2))
}

/// The backups of one instance, and the stores to check.
struct Subject {
    owner: SnapshotOwner,
    /// The stores, each with its name in the config file.
    stores: Vec<(Option<String>, Store)>,
}

/// The result for one instance in one store.
struct Check {
    /// The place of the instance, where another one has the same name.
    origin: Option<String>,
    instance: String,
    store: String,
    verdict: Verdict,
    newest: Option<Newest>,
    verified: Option<DateTime<Utc>>,
    max_age: TimeDelta,
}

pub fn run(args: &CheckArgs, context: &mut Context<'_>) -> Result<Exit> {
    let now = Utc::now();
    let checks = match subjects(args, context) {
        Ok(subjects) => look(args, subjects, &config::read(context)?.unwrap_or_default(), now),
        // The user pressed Ctrl-C.
        Err(error @ Error::Operation(OperationError::Interrupted { .. })) => return Err(error),
        Err(error) => {
            let message = plugin_text(&error.to_string());
            let document = json!({"status": "unknown", "message": message, "checks": []});
            context.ui.result(&document, || format!("{}: {message}", PluginStatus::Unknown.name()))?;
            return Ok(exit(PluginStatus::Unknown));
        }
    };
    let worst = checks.iter().max_by_key(|check| check.verdict.status.severity());
    let status = worst.map_or(PluginStatus::Unknown, |check| check.verdict.status);
    let document = json!({
        "status": status.name().to_lowercase(),
        "message": headline(&checks, status, now),
        "checks": checks.iter().map(|check| check.json(now)).collect::<Vec<_>>(),
    });
    context.ui.result(&document, || text(&checks, status, now))?;
    Ok(exit(status))
}

/// The exit code of a plugin, whose numbers mean something else in other verbs.
fn exit(status: PluginStatus) -> Exit {
    Exit::of(i32::from(status.code())).unwrap_or(Exit::Partial)
}

/// The selected instances. No engine is asked for an instance that the config file names and that has stores.
fn subjects(args: &CheckArgs, context: &mut Context<'_>) -> Result<Vec<Subject>> {
    let config = config::read(context)?.unwrap_or_default();
    let names = args.names(&config, context)?;
    match (names.is_empty(), context.global.target.clone()) {
        (false, _) => names.iter().map(|name| configured(name, &config, context)).collect(),
        (true, Some(target)) => Ok(vec![Subject { owner: typed(&target, context)?, stores: all_stores(context)? }]),
        (true, None) => unnamed(context),
    }
}

/// The instance `name` of the config file.
fn configured(name: &str, config: &ConfigFile, context: &mut Context<'_>) -> Result<Subject> {
    let owner = SnapshotOwner::of(name, config);
    let places = stores_of(name, config);
    if !context.global.store.is_empty() {
        return Ok(Subject { owner, stores: all_stores(context)? });
    }
    if places.is_empty() {
        // The default store is on the host of the instance.
        let target = context.select(Some(name.to_owned()));
        if let Ok(Location::Remote(_)) = context.locate() {
            return Err(Error::Remote(RemoteError::SnapshotsNotLocal { instance: name.to_owned() }));
        }
        context.select(target);
        return Ok(Subject { owner, stores: vec![(None, default_store())] });
    }
    // A check waits for an answer no longer than plugins do.
    let credentials = context.credentials()?.with_patience(Timeouts::SHORT);
    let open = |(name, place): &(&str, &StoreConfig)| {
        let stores = open_stores(&[*place], &credentials, &default_store())?;
        Ok(stores.iter().next().cloned().map(|store| (Some((*name).to_owned()), store)))
    };
    let stores: Vec<Option<_>> = places.iter().map(open).collect::<Result<_>>()?;
    Ok(Subject { owner, stores: stores.into_iter().flatten().collect() })
}

/// The meaning of `-t` where it is not in the config file: a location, or a container, which may be gone.
fn typed(target: &str, context: &Context<'_>) -> Result<SnapshotOwner> {
    context.located_owner(target).or_else(|error| {
        let owner = SnapshotOwner::at(target.to_owned(), former_origin_of(target));
        let stores = all_stores(context)?;
        let listings = list_all(&stores.iter().map(|(_, store)| store).collect::<Vec<_>>());
        let has_any = |listing: Result<Listing>| match listing {
            Ok(listing) => listing.snapshots.iter().any(|snapshot| owner.has(&snapshot.manifest)),
            // A store that does not respond is reported as such.
            Err(_) => true,
        };
        // The name of a removed container is in the stores; a name in neither is a typo.
        if owner.origin.is_none() && !listings.into_iter().any(has_any) { Err(error) } else { Ok(owner) }
    })
}

/// The stores from the options or the config file, or the default one.
fn all_stores(context: &Context<'_>) -> Result<Vec<(Option<String>, Store)>> {
    Ok(context.stores_with(Timeouts::SHORT)?.iter().map(|store| (None, store.clone())).collect())
}

/// The instances found, or all that have a backup in the stores.
fn unnamed(context: &mut Context<'_>) -> Result<Vec<Subject>> {
    let stores = all_stores(context)?;
    let mut found: Vec<SnapshotOwner> = Vec::new();
    if context.store_addresses()?.is_empty() {
        let all = context.locator()?.all()?.into_iter().filter_map(|(_, location)| location.ok()?.local().ok());
        found.extend(all.map(|instance| SnapshotOwner::at(instance.name.clone(), Some(instance.origin()))));
    }
    if found.is_empty() {
        let all = list_all(&stores.iter().map(|(_, store)| store).collect::<Vec<_>>());
        let listings: Vec<Listing> = all.into_iter().filter_map(Result::ok).collect();
        for manifest in listings.iter().flat_map(|listing| &listing.snapshots).map(|snapshot| &snapshot.manifest) {
            if !manifest.undo && !found.iter().any(|owner| owner.has(manifest)) {
                found.push(SnapshotOwner::at(manifest.instance.clone(), Some(manifest.origin.clone())));
            }
        }
    }
    if found.is_empty() {
        found.push(SnapshotOwner::at("backups".into(), None));
    }
    Ok(found.into_iter().map(|owner| Subject { owner, stores: stores.clone() }).collect())
}

/// Checks each of `subjects` in each of its stores; every store is listed once.
fn look(args: &CheckArgs, subjects: Vec<Subject>, config: &ConfigFile, now: DateTime<Utc>) -> Vec<Check> {
    let mut stores: BTreeMap<String, &Store> = BTreeMap::new();
    for (_, store) in subjects.iter().flat_map(|subject| &subject.stores) {
        stores.entry(store.address()).or_insert(store);
    }
    let listed = list_all(&stores.values().copied().collect::<Vec<_>>());
    let listings: BTreeMap<String, Result<Listing>> = stores.into_keys().zip(listed).collect();
    let is_ambiguous =
        |owner: &SnapshotOwner| subjects.iter().filter(|other| other.owner.name == owner.name).count() > 1;
    let mut checks = Vec::new();
    for Subject { owner, stores } in &subjects {
        let mut own = Vec::new();
        for (name, store) in stores {
            let Some(listing) = listings.get(&store.address()) else { continue };
            let max_age = args.max_age.and_then(|max_age| TimeDelta::from_std(max_age).ok()).unwrap_or_else(|| {
                let interval = config.interval(&owner.name, name.as_deref(), args.full, now);
                interval.map_or(MAX_AGE, |interval| interval * 2)
            });
            let verified_within = args.verified_within.and_then(|within| TimeDelta::from_std(within).ok());
            let mut check = Check {
                instance: owner.name.clone(),
                origin: owner.origin.clone().filter(|_| is_ambiguous(owner)),
                store: name.clone().unwrap_or_else(|| store.address()),
                verdict: Verdict::new(PluginStatus::Unknown, ""),
                newest: None,
                verified: None,
                max_age,
            };
            check.verdict = match listing.as_ref().map_err(ToString::to_string).and_then(|listing| {
                check.read(store, listing, owner, args.full).map_err(|error| error.to_string())?;
                let cut_off = listing.snapshots.iter().filter(|snapshot| snapshot.check_size().is_err());
                Ok(listing.unusable.len() + cut_off.count())
            }) {
                Err(error) => Verdict::new(PluginStatus::Unknown, format!("unreachable: {error}")),
                Ok(unusable) => {
                    let limits = Limits { max_age, verified_within };
                    with_unusable(Verdict::on(check.newest.as_ref(), check.verified, &limits, now), unusable)
                }
            };
            own.push(check);
        }
        // A copy in another store is good: the backup is fine, the store is in doubt.
        if own.iter().any(|check| check.verdict.status == PluginStatus::Ok) {
            for check in own.iter_mut().filter(|check| check.verdict.status == PluginStatus::Unknown) {
                check.verdict.status = PluginStatus::Warning;
            }
        }
        checks.extend(own);
    }
    checks
}

/// The same verdict where archives in the store cannot be read: they may belong to any instance.
fn with_unusable(verdict: Verdict, unusable: usize) -> Verdict {
    if unusable == 0 {
        return verdict;
    }
    let status = if verdict.status == PluginStatus::Ok { PluginStatus::Warning } else { verdict.status };
    let unread = counted(unusable, "archive");
    Verdict { status, message: format!("{}; cannot read {unread} in the store", verdict.message) }
}

impl Check {
    /// Reads the backups of `owner`.
    fn read(&mut self, store: &Store, listing: &Listing, owner: &SnapshotOwner, full: bool) -> Result<()> {
        let is_backup = |snapshot: &&Snapshot| {
            let manifest = &snapshot.manifest;
            let counts = !manifest.undo && !manifest.raw && snapshot.check_size().is_ok();
            owner.has(manifest) && counts && (!full || manifest.is_whole())
        };
        let backups: Vec<&Snapshot> = listing.snapshots.iter().filter(is_backup).collect();
        let Some(newest) = backups.last() else { return Ok(()) };
        let mut tests = store.restore_tests(&backups)?;
        let checked = backups.iter().filter(|one| one.manifest.is_fully_checked()).map(|one| one.manifest.created);
        let tested = tests.iter().flatten().filter(|test| test.error.is_none()).map(|test| test.at);
        self.verified = checked.chain(tested).max();
        self.newest = Some(Newest {
            id: newest.manifest.id.clone(),
            created: newest.manifest.created,
            size: newest.size,
            failed: tests.pop().and_then(|mut tests| tests.pop()?.error),
        });
        Ok(())
    }

    /// The name of the instance, with its place where another one has the same name.
    fn name(&self) -> String {
        match &self.origin {
            Some(origin) => format!("{} ({})", self.instance, plugin_text(origin)),
            None => self.instance.clone(),
        }
    }

    fn line(&self) -> String {
        let Verdict { status, message } = &self.verdict;
        format!("{}: {}: {} in {}", status.name(), self.name(), plugin_text(message), plugin_text(&self.store))
    }

    fn json(&self, now: DateTime<Utc>) -> Json {
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
        let newest = self.newest.as_ref();
        json!({
            "instance": self.instance,
            "origin": self.origin,
            "store": self.store,
            "status": self.verdict.status.name().to_lowercase(),
            "message": self.verdict.message,
            "newest": newest.map(|one| json!({"id": one.id, "created": time(one.created), "size_bytes": one.size})),
            "age_seconds": newest.map(|one| (now - one.created).num_seconds()),
            "max_age_seconds": self.max_age.num_seconds(),
            "verified": self.verified.map(time),
        })
    }

    /// Performance data; with `several`, labels contain instance and store.
    fn figures(&self, several: bool, now: DateTime<Utc>) -> Option<String> {
        let newest = self.newest.as_ref()?;
        let label = |figure: &str| {
            if several {
                let text = format!("{}@{} {figure}", self.name(), self.store);
                format!("'{}'", plugin_text(&text).replace(['\'', '='], "_"))
            } else {
                figure.to_owned()
            }
        };
        let age = (now - newest.created).num_seconds().max(0);
        let max_age = self.max_age.num_seconds();
        Some(format!("{}={age}s;;{max_age};0 {}={}B;;;0", label("age"), label("size"), newest.size))
    }
}

/// The summary of all checks, in one line.
fn headline(checks: &[Check], status: PluginStatus, now: DateTime<Utc>) -> String {
    let bad: Vec<&Check> = checks.iter().filter(|check| check.verdict.status != PluginStatus::Ok).collect();
    match (checks, bad.iter().find(|check| check.verdict.status == status)) {
        ([only], _) => format!("{}: {}", only.name(), plugin_text(&only.verdict.message)),
        (_, None) => {
            let oldest =
                checks.iter().filter_map(|check| check.newest.as_ref()).map(|newest| now - newest.created).max();
            let age = oldest.map_or(String::new(), |age| format!(", the oldest {} old", age_words(age)));
            format!("{}{age}", counted(checks.len(), "backup"))
        }
        (_, Some(worst)) => {
            let line = worst.line();
            let words = line.split_once(": ").map_or("", |(_, words)| words);
            format!("{} of {}: {words}", bad.len(), counted(checks.len(), "check"))
        }
    }
}

/// One line with performance data, as plugins print it, and one line for each check where there are several.
fn text(checks: &[Check], status: PluginStatus, now: DateTime<Utc>) -> String {
    let several = checks.len() > 1;
    let figures: Vec<String> = checks.iter().filter_map(|check| check.figures(several, now)).collect();
    let mut text = format!("{}: {}", status.name(), headline(checks, status, now));
    if !figures.is_empty() {
        text.push_str(&format!(" | {}", figures.join(" ")));
    }
    if several {
        checks.iter().for_each(|check| text.push_str(&format!("\n{}", check.line())));
    }
    text
}

/// `text` without the characters that have a meaning in plugin output.
fn plugin_text(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ").replace('|', "/").replace(char::is_control, " ")
}
