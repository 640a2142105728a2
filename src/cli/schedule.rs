//! `kumadb backup schedule` and `kumadb config check`

use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use sd_notify::NotifyState;
use serde_json::json;

use super::store;
use super::{Context, Ui, engine};
use crate::backup::Credentials;
use crate::error::{Error, Exit, Result, counted};
use crate::files;
use crate::instance::Sight;
use crate::run::{Observer, Step};
use crate::schedule::{self, Config, Host, Target, World, read_config};

/// How often a signal is looked for.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Args, Debug)]
pub struct ScheduleArgs {
    /// Run this job now, once, and end
    #[arg(long, value_name = "JOB")]
    once: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Say everything that is wrong with the config file, with line numbers, and when each job is due
    Check(CheckArgs),
}

#[derive(Args, Debug)]
pub struct CheckArgs {}

pub fn run(args: &ScheduleArgs, context: &mut Context<'_>) -> Result<Exit> {
    let config = required(context)?;
    let around = engine::surroundings(&context.global);
    let here = std::env::current_dir().map_err(Error::file("find", "."))?;
    let sight = |target: &Target| {
        Ok(Sight {
            docker: engine::connect(&around.or(target.docker_host.as_deref(), target.context.as_deref())),
            here: here.clone(),
            state: super::state_folder(),
        })
    };
    let credentials = Credentials::new(store::credentials()?);
    let world = World {
        sight: &sight,
        credentials: &credentials,
        instances: super::state_folder(),
        jobs: super::local_folder("XDG_STATE_HOME", ".local/state").join("jobs"),
        fallback: super::default_store(),
    };
    let mut here = Here { ui: context.ui, alive: Instant::now(), ready: false };
    match &args.once {
        Some(name) => {
            let ended = schedule::once(name, &config, &world, &mut here)?;
            context.ui.result(&ended.document(name), || format!("job `{name}`: {}", ended.words()))?;
            Ok(ended.exit())
        }
        None => {
            schedule::watch(&config, &world, &mut here)?;
            here.notify(&[NotifyState::Stopping]);
            match context.ui.signal() {
                // Whoever runs services means this as a request, not as a failure.
                0 | 15 => Ok(Exit::Done),
                signal => Err(Error::Interrupted { signal }),
            }
        }
    }
}

pub fn config(verb: &ConfigVerb, context: &mut Context<'_>) -> Result<Exit> {
    let ConfigVerb::Check(CheckArgs {}) = verb;
    let config = required(context)?;
    let now = Utc::now();
    let due = |job: &schedule::Job| {
        job.when.after(now).map(|due| due.with_timezone(&job.when.zone()).format("%Y-%m-%d %H:%M:%S %Z").to_string())
    };
    let jobs: Vec<_> = config.jobs.iter().map(|job| json!({"name": job.name, "next": due(job)})).collect();
    let document = json!({"stores": config.stores.len(), "instances": config.instances.len(), "jobs": jobs});
    context.ui.result(&document, || {
        let rows = config.jobs.iter().map(|job| vec![job.name.clone(), due(job).unwrap_or_else(|| "never".into())]);
        let sum = format!(
            "nothing is wrong: {}, {}, {}",
            counted(config.stores.len(), "store"),
            counted(config.instances.len(), "instance"),
            counted(config.jobs.len(), "job")
        );
        match config.jobs.is_empty() {
            true => sum,
            false => format!("{sum}\n\n{}", Ui::table(&["job", "next"], rows.collect())),
        }
    })?;
    Ok(Exit::Done)
}

/// The config file, which must be there.
fn required(context: &Context<'_>) -> Result<Config> {
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

/// This process: its clock, its signals, the service manager that watches it.
struct Here<'u> {
    ui: &'u mut Ui,
    alive: Instant,
    ready: bool,
}

impl Here<'_> {
    /// Tells systemd, where it listens; that it does not is no fault.
    fn notify(&mut self, states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            self.ui.say(&format!("systemd cannot be told: {error}"));
        }
    }

    fn keep_alive(&mut self) {
        if self.alive.elapsed() >= Duration::from_secs(1) {
            self.alive = Instant::now();
            self.notify(&[NotifyState::Watchdog]);
        }
    }
}

impl Observer for Here<'_> {
    fn step(&mut self, step: &Step) -> Result<()> {
        self.keep_alive();
        self.ui.step(step)
    }

    fn progress(&mut self, done: u64, total: u64) {
        self.keep_alive();
        if total > 0 {
            self.ui.progress(done, total);
        }
    }
}

impl Host for Here<'_> {
    fn now(&mut self) -> DateTime<Utc> {
        Utc::now()
    }

    fn wait(&mut self, at_most: Duration) -> bool {
        let end = Instant::now() + at_most;
        loop {
            self.keep_alive();
            if self.ui.signal() != 0 {
                return false;
            }
            match end.checked_duration_since(Instant::now()) {
                None | Some(Duration::ZERO) => return true,
                Some(left) => std::thread::sleep(left.min(LOOK)),
            }
        }
    }

    fn say(&mut self, line: &str) {
        self.ui.say(line);
    }

    fn warn(&mut self, line: &str) {
        self.ui.warn(line);
    }

    fn status(&mut self, line: &str) {
        let first = !std::mem::replace(&mut self.ready, true);
        if first {
            self.ui.say(line);
            self.notify(&[NotifyState::Ready, NotifyState::Status(line)]);
        } else {
            self.notify(&[NotifyState::Status(line)]);
        }
    }
}
