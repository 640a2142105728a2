//! `kumadb config check`

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use chrono::Utc;
use clap::Args;
use serde_json::{Value as Json, json};

use super::required;
use super::risks::risks;
use crate::backup::{Store, Timeouts};
use crate::cli::environment::default_store;
use crate::cli::{Context, Ui, engine};
use crate::config::{Alert, ConfigFile, InstanceConfig, Job, StoreConfig, Text, open_stores};
use crate::error::{Error, Exit, Result, guarded};
use crate::instance::Instance;
use crate::schedule::{problems, reach as reach_alert};
use crate::text::{counted, one_line};

#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Test every instance, store and alert in the file
    #[arg(long)]
    connect: bool,
}

pub fn run(args: &CheckArgs, context: &mut Context<'_>) -> Result<Exit> {
    let (path, config) = required(context)?;
    let found = problems(&config, &context.credentials()?, &default_store(), &is_program);
    let reached = if args.connect { reach(&config, context)? } else { Vec::new() };
    let risks = risks(&config, &path, &here(&config, context));
    let now = Utc::now();
    let due = |job: &Job| {
        job.when.after(now).map(|due| due.with_timezone(&job.when.zone()).format("%Y-%m-%d %H:%M:%S %Z").to_string())
    };
    let jobs: Vec<_> = config.jobs.iter().map(|job| json!({"name": job.name, "next": due(job)})).collect();
    let wrong: Vec<_> =
        found.iter().map(|(table, error)| json!({"table": table, "error": error.to_string()})).collect();
    let unsafe_parts: Vec<_> =
        risks.iter().map(|risk| json!({"table": risk.table, "warning": risk.what, "hint": risk.advice})).collect();
    let document = json!({
        "stores": config.stores.len(), "instances": config.instances.len(), "jobs": jobs,
        "checks": reached.iter().map(AddressCheck::document).collect::<Vec<_>>(), "problems": wrong,
        "warnings": unsafe_parts,
    });
    context.ui.result(&document, || {
        let mut text: String =
            found.iter().map(|(table, error)| one_line(&format!("[{table}] {error}")).into_owned() + "\n").collect();
        text.push_str(&summary(&config, found.len() + reached.iter().filter(|one| one.result.is_err()).count()));
        if !config.jobs.is_empty() {
            let rows = config.jobs.iter().map(|job| vec![job.name.clone(), due(job).unwrap_or_else(|| "never".into())]);
            text.push_str(&format!("\n\n{}", Ui::table(&["job", "next run"], rows.collect())));
        }
        if !reached.is_empty() {
            let rows = reached.iter().map(AddressCheck::row).collect();
            text.push_str(&format!("\n\n{}", Ui::table(&["check", "name", "address", "result"], rows)));
        }
        text
    })?;
    for one in &reached {
        let Err(error) = &one.result else { continue };
        let hint = error.hints().first().map(|hint| format!(" ({hint})")).unwrap_or_default();
        context.ui.warn(&format!("{} `{}`: {error}{hint}", one.kind, one.name));
    }
    risks.iter().for_each(|risk| context.ui.warn(&risk.line()));
    Ok(reached
        .into_iter()
        .filter_map(|one| one.result.err())
        .chain(found.into_iter().map(|(_, error)| error))
        .map(|error| error.exit())
        .max_by_key(|exit| exit.severity())
        .unwrap_or(Exit::Done))
}

fn summary(config: &ConfigFile, problems: usize) -> String {
    let found = match problems {
        0 => "no problems found".into(),
        n => counted(n, "problem") + " found",
    };
    let (stores, instances) = (counted(config.stores.len(), "store"), counted(config.instances.len(), "instance"));
    format!("{found}: {stores}, {instances}, {}", counted(config.jobs.len(), "job"))
}

/// The instances of `config` on this machine, as far as they can be found without another engine.
fn here(config: &ConfigFile, context: &Context<'_>) -> Vec<(String, Instance)> {
    let is_here = |target: &&InstanceConfig| target.docker_host.is_none() && target.context.is_none();
    if !config.instances.values().any(|target| is_here(&target)) {
        return Vec::new();
    }
    let Ok(locator) = context.locator() else { return Vec::new() };
    let find = |target: &InstanceConfig| locator.find(Some(target.target.read().ok()?.reveal())).ok()?.local().ok();
    let local = config.instances.iter().filter(|(_, target)| is_here(target));
    local.filter_map(|(name, target)| Some((name.clone(), find(target)?))).collect()
}

/// The result of checking one address of the config file.
struct AddressCheck {
    /// `instance`, `store`, or the name of an alert.
    kind: &'static str,
    /// Its name in the config file; for notifications the name of the job.
    name: String,
    /// Without what may be a secret.
    address: String,
    /// The result in a few words.
    result: Result<String>,
}

impl AddressCheck {
    fn document(&self) -> Json {
        json!({
            "kind": self.kind, "name": self.name, "address": self.address, "ok": self.result.is_ok(),
            "error": self.result.as_ref().err().map(Error::to_string),
            "hint": self.result.as_ref().err().and_then(Error::hint),
        })
    }

    fn row(&self) -> Vec<String> {
        let result = match &self.result {
            Ok(seen) => seen.clone(),
            Err(_) => "FAILED".into(),
        };
        vec![self.kind.to_owned(), self.name.clone(), self.address.clone(), result]
    }
}

/// Checks every address: instances one after the other, everything else in parallel.
fn reach(config: &ConfigFile, context: &Context<'_>) -> Result<Vec<AddressCheck>> {
    let credentials = context.credentials()?.with_patience(Timeouts::SHORT);
    let fallback = default_store();
    let probe = |place: &StoreConfig| {
        let stores = open_stores(&[place], &credentials, &fallback)?;
        stores.iter().try_for_each(Store::probe).map(|()| "ok: written, read, listed, removed".to_owned())
    };
    let alert = |alert: &Alert| reach_alert(alert).map(|seen| format!("ok: {seen}"));
    std::thread::scope(|scope| {
        let mut running = Vec::new();
        for (name, place) in &config.stores {
            let task = scope.spawn(|| guarded("the check", || probe(place)));
            running.push(("store", name, place.address.clone(), task));
        }
        for job in &config.jobs {
            for one in &job.alerts {
                let task = scope.spawn(|| guarded("the check", || alert(one)));
                running.push((one.kind.name(), &job.name, server(&one.url), task));
            }
        }
        let looked = config.instances.iter().map(|(name, target)| AddressCheck {
            kind: "instance",
            name: name.clone(),
            address: target.docker_host.clone().or_else(|| target.context.clone()).unwrap_or_default(),
            result: look(target, context).map(|()| "ok: found".to_owned()),
        });
        let mut all: Vec<AddressCheck> = looked.collect();
        for (kind, name, address, task) in running {
            let result = task.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            all.push(AddressCheck { kind, name: name.clone(), address, result });
        }
        Ok(all)
    })
}

/// The host of a URL whose path is a secret.
fn server(text: &Text) -> String {
    let Ok(address) = text.read() else { return String::new() };
    let uri = address.reveal().split_once("://");
    let host = |rest: &str| rest.split(['/', '?', '#']).next().map(|host| host.rsplit('@').next().map(str::to_owned));
    let shown = uri.and_then(|(scheme, rest)| Some(format!("{scheme}://{}/…", host(rest)??)));
    shown.unwrap_or_default()
}

/// Whether the engine of `target` responds, where one is set, and the instance exists.
fn look(target: &InstanceConfig, context: &Context<'_>) -> Result<()> {
    let docker = engine::connect(&engine::of(target, &context.global));
    let docker = match docker {
        Err(error) if target.docker_host.is_some() || target.context.is_some() => return Err(error),
        docker => docker,
    };
    context.locator_on(docker)?.find(Some(target.target.read()?.reveal()))?.local().map(drop)
}

/// Whether `name` can be executed, as a path or from the PATH.
fn is_program(name: &str) -> bool {
    let runs =
        |path: &Path| path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    if name.contains('/') {
        runs(Path::new(name))
    } else {
        std::env::var_os("PATH").is_some_and(|all| std::env::split_paths(&all).any(|folder| runs(&folder.join(name))))
    }
}
