//! One run of one job: snapshots, verification, retention, and notifications.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use super::alert::{RunEvent, send};
use super::result::{RunResult, StoredCopy};
use super::{Event, Host, JobState, Level, metrics, notice};
use crate::backup::store::Scratch;
use crate::backup::{Credentials, RestoreTest, Snapshot, Store, Stores};
use crate::config::{ConfigFile, InstanceConfig, Job, StoreConfig, open_stores};
use crate::error::{Error, JobError, OperationError, Result, TargetError, guarded};
use crate::instance::{Instance, Locator};
use crate::operation::prune::{PruneChoice, Pruning};
use crate::operation::{BackupOptions, take};
use crate::text::{bytes, counted};

/// What a run needs besides the config file.
pub struct RunEnv<'w> {
    /// Finds an instance, on the Docker engine of its table.
    pub locator: &'w dyn Fn(&InstanceConfig) -> Result<Locator>,
    /// Credentials of stores that have none of their own.
    pub credentials: &'w Credentials,
    /// The folder of journals of instances without a data folder.
    pub instances: PathBuf,
    /// The folder of the states of jobs.
    pub jobs: PathBuf,
    /// Where archives are created when no store is a folder.
    pub fallback: Store,
}

impl RunEnv<'_> {
    /// The instance of `target`, under its `name` in the config file.
    pub fn instance(&self, name: &str, target: &InstanceConfig) -> Result<Instance> {
        Ok((self.locator)(target)?.find(Some(target.target.read()?.reveal()))?.local()?.called(name))
    }
}

/// Runs `job`, sends its notifications, and records the run. A failing instance does not stop the others.
///
/// # Errors
/// [`OperationError::Interrupted`](crate::error::OperationError::Interrupted): the run does not count, and is repeated
/// at the next start; the state cannot be written.
pub(super) fn run(
    job: &Job,
    config: &ConfigFile,
    env: &RunEnv<'_>,
    state: &mut JobState,
    host: &mut dyn Host,
) -> Result<RunResult> {
    let began = Instant::now();
    let mut ended = RunResult {
        taken: Vec::new(),
        copies: Vec::new(),
        removed: 0,
        errors: Vec::new(),
        warnings: Vec::new(),
        unreported: Vec::new(),
        took: Duration::ZERO,
        at: host.now(),
    };
    for instance in &job.instances {
        for (store, _) in config.stores_of_job(job, instance) {
            let (instance, store) = (instance.clone(), store.to_owned());
            ended.copies.push(StoredCopy { instance, store, snapshot: None, good: false, took: Duration::ZERO });
        }
    }
    host.log(&Event::new(Level::Info, "run_started", "started").of(&job.name));
    alert(job, RunEvent::Started, &mut ended);
    let environment = [("KUMADB_JOB", job.name.clone())];
    let begun = notice::command(&job.before, &environment, job.hook_timeout, &mut || host.progress(0, 0));
    match begun.and_then(|()| job.encryption()) {
        Ok(encryption) => {
            let options = BackupOptions { scope: job.scope, encryption, unread: false, patience: job.wait };
            let restore_tests =
                job.restore_test_every > 0 && (state.note.runs + 1).is_multiple_of(job.restore_test_every);
            BackupContext { job, config, env, options, restore_tests }.back_up_all(&mut ended, host)?;
        }
        Err(error) => {
            host.log(&Event::new(Level::Error, "error", error.to_string()).of(&job.name));
            ended.errors.push(error);
        }
    }
    ended.took = began.elapsed();
    ended.at = host.now();
    note(&ended, state)?;
    report(job, state, &mut ended, host);
    for error in &ended.unreported {
        host.log(&Event::new(Level::Warn, "notification_failed", error.to_string()).of(&job.name));
    }
    let (level, kind, words) = if ended.is_good() {
        (Level::Info, "run_finished", "finished")
    } else {
        (Level::Error, "run_failed", "failed")
    };
    let details = json!({"snapshots": ended.taken.len(), "size_bytes": ended.size(), "deleted": ended.removed,
        "errors": ended.errors.len(), "seconds": ended.took.as_secs_f64()});
    host.log(&Event::new(level, kind, format!("{words}: {}", ended.sum())).of(&job.name).with(details));
    Ok(ended)
}

/// Records that the run is done. Only now: an interrupted run counts as missed, and is repeated.
fn note(ended: &RunResult, state: &mut JobState) -> Result<()> {
    let note = &mut state.note;
    note.through = ended.at;
    note.runs += 1;
    if ended.is_good() {
        note.succeeded = Some(ended.at);
    }
    let mut before = std::mem::take(&mut note.copied);
    for StoredCopy { instance, store, good, .. } in &ended.copies {
        let last = before.get_mut(instance).and_then(|stores| stores.remove(store));
        if let Some(at) = good.then_some(ended.at).or(last) {
            note.copied.entry(instance.clone()).or_default().insert(store.clone(), at);
        }
    }
    state.write()
}

/// What every instance of a run is backed up with.
struct BackupContext<'r> {
    job: &'r Job,
    config: &'r ConfigFile,
    env: &'r RunEnv<'r>,
    options: BackupOptions,
    /// Whether the snapshots get a restore test.
    restore_tests: bool,
}

impl BackupContext<'_> {
    fn back_up_all(&self, ended: &mut RunResult, host: &mut dyn Host) -> Result<()> {
        for name in &self.job.instances {
            // A panic counts as a failure: the other instances continue, and the notifications are sent.
            match guarded("the backup", || self.back_up(name, ended, host)) {
                Err(error @ Error::Operation(OperationError::Interrupted { .. })) => return Err(error),
                Err(error) => {
                    host.log(&self.event(name, Level::Error, "error", error.to_string()));
                    ended
                        .errors
                        .push(Error::Job(JobError::Instance { instance: name.clone(), cause: Box::new(error) }));
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// An event of this job about the instance `name`.
    fn event<'e>(&'e self, name: &'e str, level: Level, kind: &'static str, message: impl Into<String>) -> Event<'e> {
        Event::new(level, kind, message).of(&self.job.name).about(name)
    }

    /// Backs up one instance: a snapshot in every store, verified and test-restored, then retention.
    fn back_up(&self, name: &str, ended: &mut RunResult, host: &mut dyn Host) -> Result<()> {
        let BackupContext { job, config, env, .. } = self;
        let places = config.stores_of_job(job, name);
        let opened: Vec<&StoreConfig> = places.iter().map(|(_, place)| *place).collect();
        let stores = open_stores(&opened, env.credentials, &env.fallback)?.with_keys(&job.keys()?);
        let stores = stores.apart_from(config.others(name));
        let target = config.instances.get(name).ok_or_else(|| Error::Target(TargetError::NotFound(name.to_owned())))?;
        let instance = env.instance(name, target)?;
        for store in stores.iter() {
            // A store that does not respond is reported below.
            if let Ok(Some(namesake)) = store.namesake(&instance.name, &instance.origin()) {
                host.log(&self.event(name, Level::Warn, "same_name", namesake.to_string()));
                ended.warnings.push(namesake.to_string());
            }
        }
        let mut options = self.options.clone();
        if options.encryption.is_none() {
            options.encryption = target.encryption()?;
        }
        let began = Instant::now();
        let taken = take(&instance, &stores, &format!("schedule {}", job.name), &options, host)?;
        let (took, wrong) = (began.elapsed(), ended.errors.len());
        let backed_up = InstanceBackup { context: self, instance: &instance, stores: &stores };
        let good = backed_up.judge(&taken.copies, ended, host)?;
        for error in taken.failed {
            self.fail(name, error, ended, host);
        }
        for one in ended.copies.iter_mut().filter(|one| one.instance == name) {
            let address = places.iter().find(|(store, _)| *store == one.store).map(|(_, place)| &place.address);
            let copy = taken.copies.iter().find(|copy| Some(&copy.store().address()) == address);
            one.snapshot = copy.map(|copy| (copy.manifest.id.clone(), copy.size));
            one.good = address.is_some_and(|address| good.contains(address));
            one.took = took;
        }
        let first = taken.copies.into_iter().next();
        let whole = ended.errors.len() == wrong;
        let proven = first.as_ref().filter(|_| whole).map(|copy| copy.manifest.id.clone());
        ended.taken.extend(first);
        // A snapshot that failed its checks does not replace older ones.
        if whole { backed_up.prune(proven.as_deref(), ended, host) } else { Ok(()) }
    }

    fn fail(&self, name: &str, error: Error, ended: &mut RunResult, host: &mut dyn Host) {
        host.log(&self.event(name, Level::Error, "error", error.to_string()));
        ended.errors.push(error);
    }
}

/// An instance of the run with its stores.
struct InstanceBackup<'b> {
    context: &'b BackupContext<'b>,
    /// Under its name in the config file.
    instance: &'b Instance,
    stores: &'b Stores,
}

impl InstanceBackup<'_> {
    fn event<'e>(&'e self, level: Level, kind: &'static str, message: impl Into<String>) -> Event<'e> {
        self.context.event(&self.instance.name, level, kind, message)
    }

    /// Verifies and test-restores the snapshot, as the job requires; returns the addresses of the stores whose copy is
    /// good.
    fn judge(&self, copies: &[Snapshot], ended: &mut RunResult, host: &mut dyn Host) -> Result<Vec<String>> {
        let BackupContext { job, config, restore_tests, .. } = self.context;
        let name = &self.instance.name;
        let mut good = Vec::new();
        for (n, copy) in copies.iter().enumerate() {
            let (id, store) = (&copy.manifest.id, copy.store().address());
            let given = format!("snapshot {id} created ({}) in {store}", bytes(copy.size));
            let places = config.stores_of_job(job, name);
            let configured = places.iter().find(|(_, place)| place.address == store).map(|(name, _)| *name);
            let details = json!({"id": id, "size_bytes": copy.size, "path": copy.location(), "store": configured});
            host.log(&self.event(Level::Info, "snapshot_created", given).with(details));
            let verified = if job.verify { copy.verify().map(drop) } else { Ok(()) };
            let tested = verified.and_then(|()| {
                if *restore_tests && n == 0 {
                    self.stores.scratch().and_then(|scratch| self.test_restore(copy, &scratch, ended, host))
                } else {
                    Ok(())
                }
            });
            match tested {
                Ok(()) => good.push(store),
                Err(error @ Error::Operation(OperationError::Interrupted { .. })) => return Err(error),
                Err(error) => self.context.fail(name, error, ended, host),
            }
        }
        Ok(good)
    }

    /// Runs a restore test of `copy`.
    fn test_restore(
        &self,
        copy: &Snapshot,
        scratch: &Scratch,
        ended: &mut RunResult,
        host: &mut dyn Host,
    ) -> Result<()> {
        let tested = RestoreTest::new(scratch.path()).restore(copy)?;
        let given = format!("restore test of snapshot {} passed", copy.manifest.id);
        let details = json!({"id": copy.manifest.id, "seconds": tested.took.as_secs_f64()});
        host.log(&self.event(Level::Info, "restore_test_passed", given).with(details));
        ended.unreported.extend(tested.unnoted);
        Ok(())
    }

    /// Deletes the snapshots that no rule of the job's policy keeps.
    fn prune(&self, proven: Option<&str>, ended: &mut RunResult, host: &mut dyn Host) -> Result<()> {
        let BackupContext { job, env, .. } = self.context;
        let Some(policy) = job.retention else { return Ok(()) };
        let (name, origin, stores) = (&self.instance.name, self.instance.origin(), self.stores);
        let choice =
            PruneChoice { policy, undo: None, raw: false, proven, about: &|manifest| stores.is_of(manifest, &origin) };
        let mut pruning = Pruning::plan(stores, &choice, host.now(), &job.when.zone(), &env.instances)?;
        for orphan in pruning.orphans.iter().filter(|orphan| !orphan.young) {
            let given = format!("deleting leftovers of an interrupted run: {}", orphan.location());
            host.log(&self.event(Level::Info, "leftover_deleted", given).with(json!({"path": orphan.location()})));
        }
        let failed = pruning.carry_out(stores, host)?;
        let removed = pruning.removed().count();
        ended.removed += removed;
        if removed > 0 {
            let given = format!("deleted {} by the retention policy", counted(removed, "snapshot"));
            host.log(&self.event(Level::Info, "snapshots_deleted", given).with(json!({"deleted": removed})));
        }
        for error in pruning.warnings.into_iter().chain(failed) {
            self.context.fail(name, error, ended, host);
        }
        Ok(())
    }
}

/// Sends all notifications about the run.
fn report(job: &Job, state: &JobState, ended: &mut RunResult, host: &mut dyn Host) {
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
    // A failing notification, even a panic, does not prevent the others.
    let ran =
        guarded("the command", || notice::command(hook, &environment, job.hook_timeout, &mut || host.progress(0, 0)));
    let measured = guarded("the metrics", || metrics::write(job, ended, &state.note));
    ended.unreported.extend([ran, measured].into_iter().filter_map(Result::err));
    alert(job, if ended.is_good() { RunEvent::Succeeded } else { RunEvent::Failed }, ended);
}

fn alert(job: &Job, event: RunEvent, ended: &mut RunResult) {
    for alert in &job.alerts {
        let sent = guarded(alert.kind.what(), || send(alert, event, &job.name, ended));
        ended.unreported.extend(sent.err());
    }
}
