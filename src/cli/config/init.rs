//! `kumadb config init`

use std::io::Write as _;
use std::path::{Path, PathBuf};

use chrono_tz::Tz;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::places;
use crate::backup::{Encryption, new_identity};
use crate::cli::Context;
use crate::cli::environment::{local_folder, value};
use crate::config::{AlertKind, ConfigDraft, DraftInstance, read_config, table_name};
use crate::engine::EngineKind;
use crate::error::{Error, Exit, InputError, Result, TargetError};
use crate::files;
use crate::instance::find::How;
use crate::instance::location::only_remote;
use crate::instance::{Instance, Location};
use crate::text::counted;

/// The names of the files beside the config file.
const KEY: &str = "identity.txt";
const ALERT_URL: &str = "alert-url";
const UNIT: &str = "kumadb.service";
const COMPOSE: &str = "kumadb.compose.yaml";

#[derive(Args, Debug)]
pub struct InitArgs {
    /// Set the time zone of the jobs, such as Europe/Berlin [default: that of this machine]
    #[arg(long, value_name = "ZONE")]
    timezone: Option<Tz>,
    /// Encrypt the snapshots with a new key, in identity.txt next to the config file
    #[arg(long, conflicts_with = "encrypt_to")]
    encrypt: bool,
    /// Encrypt the snapshots to this age recipient: age1... (can be repeated)
    #[arg(long, value_name = "RECIPIENT")]
    encrypt_to: Vec<String>,
    /// Report each run to the push monitor whose URL is in this file
    #[arg(long, value_name = "FILE")]
    push_url_file: Option<PathBuf>,
    /// Report each run to the Healthchecks check whose ping URL is in this file
    #[arg(long, value_name = "FILE")]
    healthchecks_url_file: Option<PathBuf>,
    /// Report failed runs to the ntfy topic whose URL is in this file
    #[arg(long, value_name = "FILE")]
    ntfy_url_file: Option<PathBuf>,
    /// Report each run to the webhook whose URL is in this file
    #[arg(long, value_name = "FILE")]
    webhook_file: Option<PathBuf>,
    /// Also write what runs the jobs: a systemd unit or a Compose file, next to the config file
    #[arg(long, value_enum, value_name = "KIND")]
    service: Option<Service>,
    /// Print the config file without writing it
    #[arg(short = 'n', long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Service {
    Systemd,
    Compose,
}

impl InitArgs {
    /// The alerts, each with the file of its URL.
    fn alerts(&self) -> Result<Vec<(AlertKind, PathBuf)>> {
        let given = AlertKind::ALL.into_iter().filter_map(|kind| {
            let file = match kind {
                AlertKind::Push => &self.push_url_file,
                AlertKind::Healthchecks => &self.healthchecks_url_file,
                AlertKind::Ntfy => &self.ntfy_url_file,
                AlertKind::Webhook => &self.webhook_file,
            };
            Some((kind, file.as_ref()?))
        });
        let read = |(kind, file)| {
            let file = files::absolute(file)?;
            files::read_first_line(&file).map(|_| (kind, file))
        };
        given.map(read).collect()
    }
}

/// A file to write.
struct Planned {
    path: PathBuf,
    text: String,
}

pub fn run(args: &InitArgs, context: &mut Context<'_>) -> Result<Exit> {
    let path = free_place(context)?;
    let (mut draft, mut planned) = draft(args, &path, context)?;
    let key = add_key(args, &path, &mut draft, context)?;
    let is_new_key = key.is_some();
    planned.extend(key);
    let text = draft.toml();
    // The same check as that of a file written by hand.
    read_config(&path.to_string_lossy(), &text).map_err(|why| Error::Input(InputError::Problems(why)))?;
    planned.push(Planned { path: path.clone(), text: text.clone() });
    let service = args.service.map(|kind| service(kind, &path, &draft)).transpose()?;
    let run = service.as_ref().map(|(_, run)| run.clone());
    planned.extend(service.map(|(planned, _)| planned));
    for file in &planned {
        if files::is_there(&file.path)? {
            return Err(Error::Input(InputError::FileExists { path: file.path.clone() }));
        }
    }
    let written: Vec<String> = planned.iter().map(|file| file.path.display().to_string()).collect();
    let document = json!({
        "config": path, "files": written, "text": text, "dry_run": args.dry_run,
        "instances": draft.instances.iter().map(|instance| &instance.name).collect::<Vec<_>>(),
    });
    if args.dry_run {
        context.ui.result(&document, || text.trim_end().to_owned())?;
        context.ui.say(&format!("dry run: would write {}; nothing was written", written.join(", ")));
        return Ok(Exit::Done);
    }
    for file in &planned {
        files::make_folder(files::parent(&file.path))?;
        files::replace(&file.path, files::PRIVATE, |out| out.write_all(file.text.as_bytes()))?;
    }
    let found = counted(draft.instances.len(), "instance");
    context.ui.result(&document, || format!("wrote {}: {found}", written.join(", ")))?;
    if is_new_key {
        context.ui.warn(&format!(
            "keep a copy of `{}` outside of this machine: without it, the snapshots cannot be restored",
            path.with_file_name(KEY).display()
        ));
    }
    let run = run.unwrap_or_else(|| "kumadb backup schedule".into());
    context.ui.say(&format!(
        "next: kumadb config check --connect; then: kumadb backup schedule --once configuration; then: {run}"
    ));
    Ok(Exit::Done)
}

/// Where the config file is written.
///
/// # Errors
/// [`InputError::FileExists`]: there, or where it would be found first.
fn free_place(context: &Context<'_>) -> Result<PathBuf> {
    let places = places(context);
    for path in &places {
        if files::is_there(path)? {
            return Err(Error::Input(InputError::FileExists { path: path.clone() }));
        }
    }
    let is_own = !rustix::process::geteuid().is_root() || value("XDG_CONFIG_HOME").is_some();
    let mut places = places.into_iter();
    let place = if is_own { places.next() } else { places.next_back() };
    files::absolute(place.unwrap_or_else(|| PathBuf::from("kumadb.toml")))
}

/// The content of the config file, and the files with secrets that were typed.
fn draft(args: &InitArgs, path: &Path, context: &mut Context<'_>) -> Result<(ConfigDraft, Vec<Planned>)> {
    let mut planned = Vec::new();
    let instances = instances(context)?;
    for DraftInstance { name, target, .. } in &instances {
        context.ui.say(&format!("instance `{name}`: {target}"));
    }
    let mut stores = context.global.store.clone();
    if stores.is_empty() {
        let default = local_folder("XDG_DATA_HOME", ".local/share").join("snapshots").display().to_string();
        let typed = context.ui.answer(&format!("where to store snapshots [{default}]"))?;
        stores.push(typed.unwrap_or(default));
    }
    for store in stores.iter_mut().filter(|store| !store.contains("://")) {
        *store = files::absolute(&*store)?.display().to_string();
    }
    let mut alerts = args.alerts()?;
    if alerts.is_empty() {
        let question = "URL for alerts: a push monitor on another Uptime Kuma, Healthchecks, ntfy, or a webhook [none]";
        if let Some(url) = context.ui.answer(question)? {
            let file = path.with_file_name(ALERT_URL);
            planned.push(Planned { path: file.clone(), text: format!("{url}\n") });
            alerts.push((AlertKind::of_url(&url), file));
        }
    }
    let zone = args.timezone.unwrap_or_else(local_zone);
    let draft =
        ConfigDraft { instances, stores, zone, recipients: args.encrypt_to.clone(), identity_file: None, alerts };
    Ok((draft, planned))
}

/// The instances on this machine, or the selected one.
fn instances(context: &mut Context<'_>) -> Result<Vec<DraftInstance>> {
    let mut all: Vec<DraftInstance> = Vec::new();
    if let Some(target) = context.global.target.clone() {
        let instance = context.locator()?.find(Some(&target))?.local()?;
        let is_path = instance.container.is_none() && instance.folder.is_some();
        let target = if is_path { files::absolute(&target)?.display().to_string() } else { target };
        all.push(entry(target, instance, &all));
        return Ok(all);
    }
    let everything = context.locator()?.everything()?;
    if let Some(data) = only_remote(everything.iter().map(|found| &found.location)) {
        return Err(data.into());
    }
    for found in everything {
        match found.location.and_then(Location::local) {
            _ if matches!(found.how, How::Volume(_)) => {}
            Ok(instance) => all.push(entry(found.name, instance, &all)),
            Err(error) => context.ui.warn(&format!("`{}` is left out: {error}", found.name)),
        }
    }
    if all.is_empty() { Err(Error::Target(TargetError::NoneFound)) } else { Ok(all) }
}

fn entry(target: String, instance: Instance, others: &[DraftInstance]) -> DraftInstance {
    let taken: Vec<String> = others.iter().map(|other| other.name.clone()).collect();
    let path = Path::new(&target);
    // A data folder is usually called `data`.
    let base = match path.file_name() {
        Some(name) if name == "data" || name == "kuma.db" => path.parent().and_then(Path::file_name),
        name => name,
    };
    let base = base.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    DraftInstance {
        name: table_name(&base, &taken),
        is_sqlite: instance.engine() == EngineKind::Sqlite,
        folder: instance.folder,
        target,
    }
}

/// Adds the encryption to `draft`; returns the file with a new key, if one is wanted.
fn add_key(
    args: &InitArgs,
    path: &Path,
    draft: &mut ConfigDraft,
    context: &mut Context<'_>,
) -> Result<Option<Planned>> {
    if !args.encrypt_to.is_empty() {
        return Encryption::to(args.encrypt_to.iter().map(String::as_str)).map(|_| None);
    }
    if !args.encrypt {
        let answer = context.ui.answer("encrypt the snapshots with a new key [Y/n]")?;
        let is_yes = answer.is_none_or(|answer| answer.to_lowercase().starts_with('y'));
        if !context.ui.asks() || !is_yes {
            return Ok(None);
        }
    }
    let (recipient, text) = new_identity();
    let file = path.with_file_name(KEY);
    draft.recipients = vec![recipient];
    draft.identity_file = Some(file.clone());
    Ok(Some(Planned { path: file, text: text.reveal().to_owned() }))
}

/// The file of the service, and the command that starts it.
fn service(kind: Service, path: &Path, draft: &ConfigDraft) -> Result<(Planned, String)> {
    match kind {
        Service::Systemd => {
            let program = std::env::current_exe().map_err(Error::file("find", "kumadb"))?;
            let unit = path.with_file_name(UNIT);
            let run = format!("systemctl enable --now {}", unit.display());
            Ok((Planned { text: draft.unit(path, &program), path: unit }, run))
        }
        Service::Compose => {
            let compose = path.with_file_name(COMPOSE);
            let run = format!("docker compose -f {} up -d", compose.display());
            Ok((Planned { text: draft.compose(path), path: compose }, run))
        }
    }
}

/// The time zone of this machine; UTC where it has none.
fn local_zone() -> Tz {
    let named = std::env::var("TZ").ok().and_then(|zone| zone.parse().ok());
    let system = || iana_time_zone::get_timezone().ok()?.parse().ok();
    named.or_else(system).unwrap_or(Tz::UTC)
}
