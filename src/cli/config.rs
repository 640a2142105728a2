//! `kumadb config check`, and where the config file is.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use chrono::Utc;
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Context, Ui, default_store, engine, store};
use crate::backup::Credentials;
use crate::config::{Config, Job, Target, read_config};
use crate::error::{Error, Exit, Result, counted};
use crate::files;
use crate::schedule::lacks;

#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Say everything that is wrong with the config file, with line numbers, and when each job is due
    Check(CheckArgs),
}

#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Look at every instance too: does its engine answer, is it there
    #[arg(long)]
    connect: bool,
}

pub fn run(verb: &ConfigVerb, context: &mut Context<'_>) -> Result<Exit> {
    let ConfigVerb::Check(args) = verb;
    let config = required(context)?;
    let lacks = lacks(&config, &Credentials::new(store::credentials()?), &default_store(), &is_program);
    let now = Utc::now();
    let due = |job: &Job| {
        job.when.after(now).map(|due| due.with_timezone(&job.when.zone()).format("%Y-%m-%d %H:%M:%S %Z").to_string())
    };
    let looks: Vec<(&String, Result<()>)> = match args.connect {
        true => config.instances.iter().map(|(name, target)| (name, look(target, context))).collect(),
        false => Vec::new(),
    };
    let jobs: Vec<_> = config.jobs.iter().map(|job| json!({"name": job.name, "next": due(job)})).collect();
    let reached: Vec<_> = looks
        .iter()
        .map(|(name, look)| json!({"name": name, "ok": look.is_ok(), "error": look.as_ref().err().map(Error::to_string)}))
        .collect();
    let wrong: Vec<_> =
        lacks.iter().map(|(table, error)| json!({"table": table, "error": error.to_string()})).collect();
    let document = json!({
        "stores": config.stores.len(), "instances": config.instances.len(), "jobs": jobs, "reached": reached,
        "wrong": wrong,
    });
    context.ui.result(&document, || {
        let mut text: String = lacks.iter().map(|(table, error)| format!("[{table}] {error}\n")).collect();
        text.push_str(&format!(
            "{}: {}, {}, {}",
            match lacks.len() {
                0 => "nothing is wrong".into(),
                n => counted(n, "thing") + " to put right",
            },
            counted(config.stores.len(), "store"),
            counted(config.instances.len(), "instance"),
            counted(config.jobs.len(), "job")
        ));
        if !config.jobs.is_empty() {
            let rows = config.jobs.iter().map(|job| vec![job.name.clone(), due(job).unwrap_or_else(|| "never".into())]);
            text.push_str(&format!("\n\n{}", Ui::table(&["job", "next"], rows.collect())));
        }
        if !looks.is_empty() {
            let words = |look: &Result<()>| look.as_ref().err().map_or_else(|| "there".into(), Error::to_string);
            let rows = looks.iter().map(|(name, look)| vec![(*name).clone(), words(look)]);
            text.push_str(&format!("\n\n{}", Ui::table(&["instance", "seen"], rows.collect())));
        }
        text
    })?;
    Ok(looks
        .into_iter()
        .filter_map(|(_, look)| look.err())
        .chain(lacks.into_iter().map(|(_, error)| error))
        .map(|error| error.exit())
        .max_by_key(|exit| exit.gravity())
        .unwrap_or(Exit::Done))
}

/// Whether the engine of `target` answers, where one is named, and the instance is there.
fn look(target: &Target, context: &Context<'_>) -> Result<()> {
    let docker = engine::connect(&engine::of(target, &context.global));
    let docker = match docker {
        Err(error) if target.docker_host.is_some() || target.context.is_some() => return Err(error),
        docker => docker,
    };
    context.sight_on(docker)?.find(Some(target.target.read()?.reveal())).map(drop)
}

/// The config file, which must be there.
pub fn required(context: &Context<'_>) -> Result<Config> {
    read(context)?.ok_or_else(|| {
        let places: Vec<String> = places(context).iter().map(|path| format!("`{}`", path.display())).collect();
        Error::Usage(format!("there is no config file that could be read: looked for {}", places.join(", ")))
    })
}

/// The config file, if there is one.
///
/// # Errors
/// One that was named and is not there; everything that is wrong with it.
pub fn read(context: &Context<'_>) -> Result<Option<Config>> {
    for path in places(context) {
        match files::read_text(&path) {
            Ok(Some(text)) => return read_config(&path.to_string_lossy(), &text).map(Some).map_err(Error::Input),
            Ok(None) if context.global.config.is_some() => {
                return Err(Error::Usage(format!("there is no config file `{}`", path.display())));
            }
            // That of root, which may hold secrets, is nobody else's.
            Err(Error::File { source, .. })
                if source.kind() == std::io::ErrorKind::PermissionDenied && context.global.config.is_none() => {}
            Err(error) => return Err(error),
            Ok(None) => {}
        }
    }
    Ok(None)
}

/// Where the config file may be; the first that is there counts.
fn places(context: &Context<'_>) -> Vec<PathBuf> {
    if let Some(path) = &context.global.config {
        return vec![path.clone()];
    }
    let named = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = named("XDG_CONFIG_HOME").or_else(|| Some(named("HOME")?.join(".config")));
    let own = home.map(|home| home.join("kumadb/kumadb.toml"));
    own.into_iter().chain([PathBuf::from("/etc/kumadb/kumadb.toml")]).collect()
}

/// Whether `name` can be run, as it is or from the PATH.
fn is_program(name: &str) -> bool {
    let runs =
        |path: &Path| path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    match name.contains('/') {
        true => runs(Path::new(name)),
        false => std::env::var_os("PATH")
            .is_some_and(|all| std::env::split_paths(&all).any(|folder| runs(&folder.join(name)))),
    }
}
