//! The schedule: waits for the next job, runs it, and waits again.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::job::{RunEnv, run};
use super::result::RunResult;
use super::{Event, Host, JobState, Level};
use crate::config::{ConfigFile, Job};
use crate::error::{Error, InputError, OperationError, Result};

/// The longest wait at a time, so that a change of the clock is noticed within it.
const TICK: Duration = Duration::from_secs(20);

/// A clock that goes back by less than this is being adjusted.
const BACK: TimeDelta = TimeDelta::seconds(2);

/// A job that waits for its time.
struct Waiting<'c> {
    job: &'c Job,
    state: JobState,
    /// When it is due, and when it begins: some jitter later. `None` where it never runs again.
    due: Option<DateTime<Utc>>,
}

impl Waiting<'_> {
    /// Plans the first run after `time`.
    fn plan(&mut self, time: DateTime<Utc>) {
        self.due = self.job.when.after(time).map(|due| due + jitter(self.job.jitter));
    }
}

/// Runs all jobs of `config` when they are due, until `host` ends it. Missed runs are caught up once. A job that
/// another schedule works on is skipped.
///
/// # Errors
/// There is no job, or other schedules work on all of them.
pub fn watch(config: &ConfigFile, env: &RunEnv<'_>, host: &mut dyn Host) -> Result<()> {
    let mut before = host.now();
    let mut waiting = Vec::new();
    let mut refused = None;
    for job in &config.jobs {
        match JobState::open(&env.jobs, &job.name, before) {
            Ok(state) => {
                let mut one = Waiting { job, state, due: None };
                // A state from the future was written with a wrong clock.
                one.plan(one.state.note.through.min(before));
                waiting.push(one);
            }
            Err(error) => {
                host.log(&Event::new(Level::Warn, "job_skipped", error.to_string()).of(&job.name));
                refused = Some(error);
            }
        }
    }
    if waiting.is_empty() {
        return Err(refused.unwrap_or(Error::Input(InputError::NoSection { section: "[jobs.NAME]" })));
    }
    loop {
        let now = host.now();
        if now < before - BACK {
            let message = "the system clock was set back: the next run of each job is calculated from the new time";
            host.log(&Event::new(Level::Warn, "clock_set_back", message));
            waiting.iter_mut().for_each(|one| one.plan(now));
        }
        before = now;
        waiting.sort_by_key(|one| one.due.unwrap_or(DateTime::<Utc>::MAX_UTC));
        let first = &mut waiting[0];
        match first.due {
            Some(due) if due <= now => {
                host.status(&format!("running job `{}`", first.job.name));
                match run(first.job, config, env, &mut first.state, host) {
                    Err(Error::Operation(OperationError::Interrupted { .. })) => return Ok(()),
                    Err(error) => {
                        host.log(&Event::new(Level::Error, "run_failed", error.to_string()).of(&first.job.name));
                    }
                    Ok(_) => {}
                }
                // This run also covers what became due meanwhile.
                before = host.now();
                first.plan(before);
            }
            due => {
                host.status(&match due {
                    Some(due) => format!(
                        "next run: `{}` at {}",
                        first.job.name,
                        due.with_timezone(&first.job.when.zone()).format("%Y-%m-%d %H:%M:%S %Z")
                    ),
                    None => "no more runs".into(),
                });
                let left = due.and_then(|due| (due - now).to_std().ok()).unwrap_or(TICK);
                if !host.wait(left.min(TICK)) {
                    return Ok(());
                }
            }
        }
    }
}

/// Runs the job called `name` now.
///
/// # Errors
/// The job does not exist, another schedule works on it, or it was interrupted.
pub fn once(name: &str, config: &ConfigFile, env: &RunEnv<'_>, host: &mut dyn Host) -> Result<RunResult> {
    let Some(job) = config.jobs.iter().find(|job| job.name == name) else {
        let names: Vec<&str> = config.jobs.iter().map(|job| job.name.as_str()).collect();
        return Err(Error::Input(InputError::Unknown {
            kind: "job",
            name: name.to_owned(),
            known: names.into_iter().map(str::to_owned).collect(),
        }));
    };
    let now = host.now();
    let mut state = JobState::open(&env.jobs, name, now)?;
    run(job, config, env, &mut state, host)
}

/// A random duration up to `longest`.
fn jitter(longest: Duration) -> TimeDelta {
    let mut bytes = [0; 8];
    // Without entropy there is no jitter, which is harmless.
    let part = getrandom::fill(&mut bytes).map_or(0.0, |()| u64::from_le_bytes(bytes) as f64 / u64::MAX as f64);
    TimeDelta::from_std(longest.mul_f64(part)).unwrap_or_default()
}
