//! One run of one job: snapshots, verification, retention, and who is told.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};

use super::{Host, State, notice};
use crate::backup::{Credentials, Drill, Snapshot, Store};
use crate::config::{Config, Job, Place, Target, open_stores};
use crate::error::{Error, Exit, Result};
use crate::instance::{Instance, Sight};
use crate::run::prune::{Choice, Pruning};
use crate::run::{Putting, take};

/// What a run needs besides the config file.
pub struct World<'w> {
    /// Where to look for an instance, on the Docker engine that it names.
    pub sight: &'w dyn Fn(&Target) -> Result<Sight>,
    /// What opens stores that name no credentials of their own.
    pub credentials: &'w Credentials,
    /// Where the journals of instances without a data folder are.
    pub instances: PathBuf,
    /// Where the notes of jobs are.
    pub jobs: PathBuf,
    /// Where archives are made when no store is a folder.
    pub fallback: Store,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// The snapshots, the first copy of each.
    pub taken: Vec<Snapshot>,
    /// How many old ones were removed.
    pub removed: usize,
    /// What went wrong with snapshots.
    pub errors: Vec<Error>,
    /// Who could not be told.
    pub untold: Vec<Error>,
    /// How long it took.
    pub took: Duration,
    /// When it ended, UTC.
    pub at: DateTime<Utc>,
}

impl World<'_> {
    /// The instance that `target` means, under its `name` in the config file.
    pub fn instance(&self, name: &str, target: &Target) -> Result<Instance> {
        Ok((self.sight)(target)?.find(Some(target.target.read()?.reveal()))?.called(name))
    }
}

impl Ended {
    /// Whether all that was asked for is done.
    pub fn is_good(&self) -> bool {
        self.errors.is_empty()
    }

    /// Bytes of the snapshots.
    pub fn size(&self) -> u64 {
        self.taken.iter().map(|snapshot| snapshot.size).sum()
    }

    /// The run of the job called `name` as a program reads it.
    pub fn document(&self, name: &str) -> Json {
        let snapshot = |one: &Snapshot| json!({"id": one.manifest.id, "instance": one.manifest.instance, "origin": one.manifest.origin, "path": one.location(), "size_bytes": one.size});
        let words = |errors: &[Error]| errors.iter().map(Error::to_string).collect::<Vec<_>>();
        json!({
            "job": name,
            "ok": self.is_good(),
            "snapshots": self.taken.iter().map(snapshot).collect::<Vec<_>>(),
            "removed": self.removed,
            "seconds": self.took.as_secs_f64(),
            "errors": words(&self.errors),
            "untold": words(&self.untold),
        })
    }

    /// The exit code that this means.
    pub fn exit(&self) -> Exit {
        match self.errors.first() {
            Some(first) if self.taken.is_empty() => first.exit(),
            None if self.untold.is_empty() => Exit::Done,
            _ => Exit::Partial,
        }
    }
}

/// Runs `job`, tells whom it names, and notes that it is done. An instance that fails stops none of the others.
///
/// # Errors
/// [`Error::Interrupted`]: then it is not done, and is caught up at the next start; the note cannot be written.
pub(super) fn run(
    job: &Job,
    config: &Config,
    world: &World<'_>,
    state: &mut State,
    host: &mut dyn Host,
) -> Result<Ended> {
    let began = Instant::now();
    let mut ended = Ended {
        taken: Vec::new(),
        removed: 0,
        errors: Vec::new(),
        untold: Vec::new(),
        took: Duration::ZERO,
        at: host.now(),
    };
    host.say(&format!("job `{}` begins", job.name));
    tell_webhook(job, "started", &mut ended);
    let environment = [("KUMADB_JOB", job.name.clone())];
    match notice::command(&job.before, &environment, job.hook_timeout, &mut || host.progress(0, 0)) {
        Ok(()) => match job.seal() {
            Ok(seal) => {
                let putting = Putting { extent: job.extent, seal, unread: false, patience: job.wait };
                let drills = job.drill_every > 0 && (state.note.runs + 1).is_multiple_of(job.drill_every);
                Round { job, config, world, putting, drills }.back_up_all(&mut ended, host)?;
            }
            Err(error) => ended.errors.push(error),
        },
        Err(error) => ended.errors.push(error),
    }
    ended.took = began.elapsed();
    ended.at = host.now();
    // Only now: a run that is killed is missed, and caught up.
    state.note.through = ended.at;
    state.note.runs += 1;
    if ended.is_good() {
        state.note.succeeded = Some(ended.at);
    }
    state.write()?;
    tell(job, state, &mut ended, host);
    for error in ended.errors.iter().chain(&ended.untold) {
        host.warn(&format!("job `{}`: {error}", job.name));
    }
    Ok(ended)
}

/// What every instance of a run is backed up with.
struct Round<'r> {
    job: &'r Job,
    config: &'r Config,
    world: &'r World<'r>,
    putting: Putting,
    /// Whether the snapshots are restored into a scratch place.
    drills: bool,
}

impl Round<'_> {
    fn back_up_all(&self, ended: &mut Ended, host: &mut dyn Host) -> Result<()> {
        for name in &self.job.instances {
            match self.back_up(name, ended, host) {
                Err(error @ Error::Interrupted { .. }) => return Err(error),
                Err(error) => ended.errors.push(Error::Job { instance: name.clone(), cause: Box::new(error) }),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// One instance: a snapshot in every store, read back and drilled, then what is too old goes.
    fn back_up(&self, name: &str, ended: &mut Ended, host: &mut dyn Host) -> Result<()> {
        let Round { job, config, world, .. } = self;
        let places: Vec<&Place> = config.stores_of_job(job, name).into_iter().map(|(_, place)| place).collect();
        let stores = open_stores(&places, world.credentials, &world.fallback)?.with_keys(&job.keys()?);
        let target = config.instances.get(name).ok_or_else(|| Error::NoSuchTarget(name.to_owned()))?;
        let instance = world.instance(name, target)?;
        for store in stores.iter() {
            // A store that does not answer says so below.
            if let Ok(Some(namesake)) = store.namesake(&instance.name, &instance.origin()) {
                host.warn(&format!("job `{}`: {namesake}", job.name));
            }
        }
        let mut putting = self.putting.clone();
        if putting.seal.is_none() {
            putting.seal = target.seal()?;
        }
        let taken = take(&instance, &stores, &format!("schedule {}", job.name), &putting, host)?;
        ended.errors.extend(taken.failed);
        let wrong = ended.errors.len();
        if job.verify {
            ended.errors.extend(taken.copies.iter().filter_map(|copy| copy.verify().err()));
        }
        if let (true, Some(copy)) = (self.drills, taken.copies.first()) {
            host.say(&format!("restoring `{}` into a scratch place", copy.manifest.id));
            let scratch = stores.scratch()?;
            match Drill::new(scratch.path()).restore(copy) {
                Ok(drilled) => ended.untold.extend(drilled.unnoted),
                Err(error) => ended.errors.push(error),
            }
        }
        let first = taken.copies.into_iter().next();
        let whole = ended.errors.len() == wrong;
        let proven = first.as_ref().filter(|_| whole).map(|copy| copy.manifest.id.clone());
        ended.taken.extend(first);
        // A snapshot that did not pass takes the place of none.
        let Some(policy) = job.retention.filter(|_| whole) else { return Ok(()) };
        let origin = instance.origin();
        let choice = Choice {
            policy,
            undo: None,
            raw: false,
            proven: proven.as_deref(),
            about: &|manifest| manifest.origin == origin,
        };
        let pruning = Pruning::plan(&stores, &choice, host.now(), &job.when.zone(), &world.instances)?;
        ended.removed += pruning.removed().count();
        for orphan in &pruning.orphans {
            host.say(&format!("left by a run that was killed: {}", orphan.location()));
        }
        let failed = pruning.carry_out(host)?;
        ended.errors.extend(pruning.warnings.into_iter().chain(failed));
        Ok(())
    }
}

/// Tells everybody that the run is over.
fn tell(job: &Job, state: &State, ended: &mut Ended, host: &mut dyn Host) {
    let hook = if ended.is_good() { &job.after } else { &job.on_failure };
    let environment = [
        ("KUMADB_JOB", job.name.clone()),
        ("KUMADB_STATUS", if ended.is_good() { "ok" } else { "failed" }.to_owned()),
        ("KUMADB_MESSAGE", ended.words()),
        (
            "KUMADB_SNAPSHOTS",
            ended.taken.iter().map(|snapshot| snapshot.manifest.id.as_str()).collect::<Vec<_>>().join(" "),
        ),
    ];
    let ran = notice::command(hook, &environment, job.hook_timeout, &mut || host.progress(0, 0));
    let pushed = job.push.as_ref().map_or(Ok(()), |push| notice::push(&push.read()?, ended));
    let measured = notice::metrics(job, ended, &state.note);
    tell_webhook(job, if ended.is_good() { "succeeded" } else { "failed" }, ended);
    ended.untold.extend([ran, pushed, measured].into_iter().filter_map(Result::err));
}

fn tell_webhook(job: &Job, event: &str, ended: &mut Ended) {
    let Some(webhook) = &job.webhook else { return };
    let mut document = ended.document(&job.name);
    document["event"] = json!(event);
    if event == "started" {
        document["ok"] = Json::Null;
    }
    document["message"] = json!(if event == "started" { String::new() } else { ended.words() });
    document["at"] = json!(ended.at);
    let told = webhook.read().and_then(|address| notice::webhook(&address, &document));
    ended.untold.extend(told.err());
}
