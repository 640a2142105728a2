//! `kumadb backup schedule`

use std::time::{Duration, Instant};

use chrono::{DateTime, Local, Utc};
use clap::Args;
use sd_notify::NotifyState;

use super::environment::{default_store, local_folder, state_folder};
use super::{Context, Ui, config, engine};
use crate::config::InstanceConfig;
use crate::error::{Error, Exit, OperationError, Result};
use crate::instance::Locator;
use crate::operation::{Observer, Step};
use crate::schedule::{self, Event, Host, Level, RunEnv};

/// Polling interval for signals.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Args, Debug)]
pub struct ScheduleArgs {
    /// Run this job once, now, and exit
    #[arg(long, value_name = "JOB")]
    once: Option<String>,
}

pub fn run(args: &ScheduleArgs, context: &mut Context<'_>) -> Result<Exit> {
    let (_, config) = config::required(context)?;
    let global = context.global.clone();
    let here = std::env::current_dir().map_err(Error::file("find", "."))?;
    let locator = |target: &InstanceConfig| {
        Ok(Locator {
            docker: engine::connect(&engine::of(target, &global)),
            here: here.clone(),
            state: state_folder(),
            on_host: false,
        })
    };
    let credentials = context.credentials()?;
    let world = RunEnv {
        locator: &locator,
        credentials: &credentials,
        instances: state_folder(),
        jobs: local_folder("XDG_STATE_HOME", ".local/state").join("jobs"),
        fallback: default_store(),
    };
    let (json, verbose) = (context.global.json, context.global.verbose);
    let journal = is_journal();
    let mut here = ProcessHost { ui: context.ui, alive: Instant::now(), ready: false, json, verbose, journal };
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
                // Service managers and Ctrl-C end the scheduler regularly, not as a failure.
                0 | 2 | 15 => Ok(Exit::Done),
                signal => Err(Error::Operation(OperationError::Interrupted { signal })),
            }
        }
    }
}

/// This process: its clock, its signals, and the service manager.
struct ProcessHost<'u> {
    ui: &'u mut Ui,
    alive: Instant,
    ready: bool,
    /// Whether the log is JSON.
    json: bool,
    /// Whether every step is logged.
    verbose: bool,
    /// Whether the log goes to systemd's journal, which records the time and expects a priority.
    journal: bool,
}

/// Whether stderr is connected to systemd's journal, as `JOURNAL_STREAM` shows: device and inode.
fn is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(rustix::stdio::stderr()).is_ok_and(|found| named == format!("{}:{}", found.st_dev, found.st_ino))
}

impl ProcessHost<'_> {
    /// Notifies systemd, where it listens; without a listener this is not an error.
    fn notify(&mut self, states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            self.log(&Event::new(Level::Warn, "notification_failed", format!("cannot notify systemd: {error}")));
        }
    }

    fn keep_alive(&mut self) {
        if self.alive.elapsed() >= Duration::from_secs(1) {
            self.alive = Instant::now();
            self.notify(&[NotifyState::Watchdog]);
        }
    }
}

impl Observer for ProcessHost<'_> {
    fn step(&mut self, step: &Step) -> Result<()> {
        self.keep_alive();
        match step {
            // The only step that can take minutes without being a problem.
            Step::WaitSettled { waited: Duration::ZERO } => {
                self.log(&Event::new(Level::Info, "waiting", step.to_string()));
            }
            _ if self.verbose => self.log(&Event::new(Level::Debug, "step", step.to_string())),
            _ => {}
        }
        self.ui.check_signal(step)
    }

    fn progress(&mut self, _done: u64, _total: u64) {
        self.keep_alive();
    }
}

impl Host for ProcessHost<'_> {
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

    fn log(&mut self, event: &Event<'_>) {
        let line = match (self.json, self.journal) {
            (true, _) => event.json(Utc::now()).to_string(),
            (false, true) => event.text::<Local>(None),
            (false, false) => event.text(Some(Local::now())),
        };
        let priority = if self.journal { format!("<{}>", event.level.priority()) } else { String::new() };
        self.ui.log(&format!("{priority}{line}"), event.level >= Level::Warn);
    }

    fn status(&mut self, line: &str) {
        let first = !std::mem::replace(&mut self.ready, true);
        if first {
            self.log(&Event::new(Level::Info, "schedule_started", line));
            self.notify(&[NotifyState::Ready, NotifyState::Status(line)]);
        } else {
            self.notify(&[NotifyState::Status(line)]);
        }
    }
}
