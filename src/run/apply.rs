//! Lock, journal, stop, copy, prove, write, check, commit, start, see it working; and the way back from each of these.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::journal::{Journal, Phase, Record};
use super::{Observer, Step, beats};
use crate::backup::{Guarded, Held, Snapshot, Store};
use crate::backup::hold::{Label, Source};
use crate::engine::EngineKind;
use crate::engine::sqlite::SqliteFile;
use crate::error::{Error, Result};
use crate::files;
use crate::instance::{Instance, Place, Session};
use crate::kuma::read::{read_counts, read_database, read_fingerprint, read_last_beat, read_state};
use crate::kuma::write::{Written, check_clean, check_written, write_plan};
use crate::model::state::{Database, Fingerprint, State};
use crate::plan::Plan;
use crate::schema::{Recognition, Schema};
use crate::value::Row;

/// What happens to the server while we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It is stopped first and started again afterwards.
    Stopped,
    /// MariaDB only: it goes on, and is restarted afterwards.
    LiveThenRestart,
    /// MariaDB only: it goes on, and will see the change at its next start.
    Live,
}

/// How a run goes about it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The verb, for the journal and the snapshot.
    pub verb: String,
    /// What happens to the server.
    pub mode: Mode,
    /// How long it gets to stop; at least 60 s, because Docker's own 10 s can kill it while it checkpoints.
    pub grace: Duration,
    /// How long it gets to come up and write beats.
    pub deadline: Duration,
    /// Wait this long for a beat of every touched monitor.
    pub wait_beats: Option<Duration>,
    /// Write to a release with migrations unknown to us.
    pub allow_unknown_release: bool,
}

impl Settings {
    /// The settings people get who say nothing.
    pub fn new(verb: impl Into<String>) -> Settings {
        Settings {
            verb: verb.into(),
            mode: Mode::Stopped,
            grace: Duration::from_secs(60),
            deadline: Duration::from_secs(180),
            wait_beats: None,
            allow_unknown_release: false,
        }
    }
}

/// What is to be done to the database.
pub enum Work<'a> {
    /// The changes of a plan, in one transaction.
    Plan(&'a Plan),
    /// The whole content of a copy.
    Load(&'a Held),
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Ids of the inserted rows.
    pub written: Written,
    /// The snapshot of how it was before.
    pub snapshot: Option<Snapshot>,
    /// How long the server was away, where it was running before.
    pub downtime: Option<Duration>,
    /// The newest beat after the start, by monitor, of those that were waited for.
    pub beats: BTreeMap<i64, Row>,
    /// Touched active monitors that have not beaten in time.
    pub silent: Vec<i64>,
    /// Things to know that are not failures.
    pub warnings: Vec<String>,
}

/// Does `work` to `instance`, or leaves everything as it was.
///
/// # Errors
/// Before the commit: the error itself, nothing is changed and the server is as before. After it:
/// [`Error::RolledBack`], or [`Error::RollbackFailed`] with the journal left for `resume`.
pub fn run(
    instance: &Instance,
    store: &Store,
    work: &Work<'_>,
    settings: &Settings,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    if matches!(work, Work::Plan(plan) if plan.is_empty()) {
        return Ok(Outcome::default());
    }
    let _lock = instance.lock(&settings.verb)?;
    if let Some(journal) = Journal::read(instance.work())? {
        return Err(journal.record.unfinished());
    }
    let running = instance.is_running()?;
    check_mode(instance, settings.mode, running)?;
    instance.check_alone()?;
    observer.step(&Step::Journal)?;
    let loads = matches!(work, Work::Load(_));
    let record = Record::new(&settings.verb, instance.container_name(), running, settings.mode, loads);
    let journal = Journal::open(instance.work(), record)?;
    let mut run = Run { instance, settings, journal, since: Instant::now(), outcome: Outcome::default() };
    match run.forward(work, observer) {
        Ok(()) => run.finish(store, observer),
        Err(cause) => Err(run.back(cause, observer)),
    }
}

/// Stops the server, starts it, and sees it working. A server that was down is started: that is what was asked for.
///
/// # Errors
/// [`Error::NotUp`] when it does not come back; nothing was written, so nothing is put back.
pub fn restart(instance: &Instance, settings: &Settings, observer: &mut dyn Observer) -> Result<Outcome> {
    let _lock = instance.lock(&settings.verb)?;
    if let Some(journal) = Journal::read(instance.work())? {
        return Err(journal.record.unfinished());
    }
    instance.check_alone()?;
    observer.step(&Step::Journal)?;
    let mut record = Record::new(&settings.verb, instance.container_name(), true, Mode::Stopped, false);
    record.last_beat = read_last_beat_of(instance)?;
    let journal = Journal::open(instance.work(), record)?;
    let mut run = Run { instance, settings, journal, since: Instant::now(), outcome: Outcome::default() };
    let ended = run.stop(observer).and_then(|()| run.up(&[], observer));
    // Whatever went wrong between stop and start, the server does not stay down.
    if let (Err(_), Some(server)) = (&ended, &instance.container)
        && !server.is_running()?
    {
        server.start()?;
    }
    run.journal.close()?;
    ended.map(|()| run.outcome)
}

fn read_last_beat_of(instance: &Instance) -> Result<i64> {
    let session = instance.open()?;
    let last = session.connect().reader().and_then(|mut reader| read_last_beat(&mut *reader));
    session.close()?;
    last
}

fn check_mode(instance: &Instance, mode: Mode, running: bool) -> Result<()> {
    match (mode, instance.engine()) {
        (Mode::Stopped, EngineKind::MariaDb) if instance.container.is_none() => match instance.read_others()? {
            0 => Ok(()),
            n => Err(Error::Running {
                what: format!("{n} connections use the database, and kumadb does not know whose they are"),
            }),
        },
        (Mode::Live | Mode::LiveThenRestart, EngineKind::Sqlite) if running => {
            Err(Error::Running { what: "the server is running, and SQLite must not be written beside it".into() })
        }
        _ => Ok(()),
    }
}

/// Rehearses `plan`: the same transaction with the same checks, then rolled back. A SQLite database is rehearsed on a
/// copy of its own, because not even a rolled back transaction may be opened beside a running server.
pub fn rehearse(instance: &Instance, plan: &Plan, settings: &Settings, observer: &mut dyn Observer) -> Result<()> {
    observer.step(&Step::Rehearse)?;
    let scratch = tempfile::tempdir().map_err(Error::file("make a folder in", std::env::temp_dir()))?;
    let session = instance.open()?;
    let mut try_it = || {
        let mut guarded = match &instance.place {
            Place::Sqlite(_) => {
                let copy = scratch.path().join("kuma.db");
                session.connect().reader()?.dump(&copy, &mut |done, total| observer.progress(done, total))?;
                Guarded::rehearse(&SqliteFile::new(copy))?
            }
            _ => Guarded::rehearse(session.connect())?,
        };
        let database = read_database(guarded.writer(), &instance.name)?;
        check_release(&database, instance, settings)?;
        guarded.writer().begin()?;
        let tried = transact(&mut guarded, &database.schema, plan, &mut super::Silent);
        guarded.writer().rollback()?;
        tried.map(drop)
    };
    let tried = try_it();
    session.close()?;
    tried
}

fn check_release(database: &Database, instance: &Instance, settings: &Settings) -> Result<()> {
    if database.migrating {
        return Err(Error::MigrationLocked { database: instance.name.clone() });
    }
    if !database.release.exact && !settings.allow_unknown_release {
        return Err(Error::UnknownRelease {
            database: format!("the database of `{}`", instance.name),
            why: difference(&database.release),
        });
    }
    Ok(())
}

fn difference(found: &Recognition) -> String {
    let named = |names: &[String]| match names {
        [] => String::new(),
        [one] => format!("`{one}`"),
        [first, rest @ ..] => format!("`{first}` and {} more", rest.len()),
    };
    match (found.unknown.as_slice(), found.missing.as_slice()) {
        ([], missing) => format!("nearest to {}, but without {}", found.release, named(missing)),
        (unknown, []) => format!("newer than {}, with {}", found.release, named(unknown)),
        (unknown, missing) => {
            format!("nearest to {}, with {} and without {}", found.release, named(unknown), named(missing))
        }
    }
}

fn transact(
    guarded: &mut Guarded,
    schema: &Schema,
    plan: &Plan,
    observer: &mut dyn Observer,
) -> Result<Written> {
    observer.step(&Step::Write { changes: plan.steps.len() })?;
    let written = write_plan(guarded.writer(), schema, plan)?;
    observer.step(&Step::ReadBack)?;
    check_written(guarded.writer(), plan, &written)?;
    observer.step(&Step::Check)?;
    let before = guarded.before().to_vec();
    check_clean(guarded.writer(), &before)?;
    Ok(written)
}

/// One run with its open journal.
pub(super) struct Run<'a> {
    pub(super) instance: &'a Instance,
    pub(super) settings: &'a Settings,
    pub(super) journal: Journal,
    pub(super) since: Instant,
    pub(super) outcome: Outcome,
}

impl Run<'_> {
    /// The folder that the copy of this run is held in.
    fn held_folder(&self) -> std::path::PathBuf {
        self.instance.work().join("held")
    }

    fn forward(&mut self, work: &Work<'_>, observer: &mut dyn Observer) -> Result<()> {
        let live = self.journal.record.live();
        if self.journal.record.was_running && !live {
            self.stop(observer)?;
        }
        observer.step(&Step::Open)?;
        let session = if live { self.instance.open()? } else { self.instance.open_still()? };
        let wrote = self.write(&session, work, observer);
        // The helper goes before anything else happens, also when the write failed: two MariaDBs on one folder hang.
        let closed = observer.step(&Step::Close).and_then(|()| session.close());
        let touched = wrote?;
        closed?;
        self.up(&touched, observer)
    }

    /// Holds a copy, writes, checks, commits. Returns the touched monitors that should beat.
    fn write(&mut self, session: &Session<'_>, work: &Work<'_>, observer: &mut dyn Observer) -> Result<Vec<i64>> {
        let connect = session.connect();
        let database = read_database(&mut *connect.reader()?, &self.instance.name)?;
        check_release(&database, self.instance, self.settings)?;
        let began = Instant::now();
        observer.step(&Step::Hold { bytes: self.instance.size() })?;
        let source = match &self.instance.place {
            Place::Sqlite(file) => Source::Still(file),
            _ => Source::Live(connect),
        };
        let config = self.instance.config_path();
        let label =
            Label { instance: &self.instance.name, reason: &self.settings.verb, config: config.as_deref() };
        let held =
            Held::take(&source, &self.held_folder(), &label, &mut |done, total| observer.progress(done, total))?;
        observer.step(&Step::Held { bytes: held.manifest.size(), took: began.elapsed() })?;

        let mut guarded = Guarded::open(&held, connect)?;
        let before = read_fingerprint(guarded.writer(), &database.schema)?;
        self.journal.record.before = Some(before);
        self.journal.record.last_beat = read_last_beat(guarded.writer())?;
        self.journal.advance(Phase::Writing)?;
        let touched = match work {
            Work::Plan(plan) => {
                observer.step(&Step::Begin)?;
                guarded.writer().begin()?;
                let written = transact(&mut guarded, &database.schema, plan, observer)?;
                let touched = touched_monitors(plan, &written);
                self.outcome.written = written;
                observer.step(&Step::Commit)?;
                guarded.writer().commit()?;
                touched
            }
            Work::Load(wanted) => {
                observer.step(&Step::PutBack)?;
                guarded.writer().load(&wanted.database(), &mut |done, total| observer.progress(done, total))?;
                let schema = guarded.writer().schema()?;
                check_loaded(&read_counts(guarded.writer(), &schema)?, wanted)?;
                Vec::new()
            }
        };
        self.journal.advance(Phase::Committed)?;
        observer.step(&Step::Committed)?;
        Ok(touched)
    }

    fn stop(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let Some(server) = &self.instance.container else { return Ok(()) };
        observer.step(&Step::Stop { container: server.name().to_owned() })?;
        self.since = Instant::now();
        server.stop(self.settings.grace)
    }

    /// Starts the server if it was running, and sees it working; then waits for the beats that were asked for.
    pub(super) fn up(&mut self, touched: &[i64], observer: &mut dyn Observer) -> Result<()> {
        let record = &self.journal.record;
        let Some(server) = &self.instance.container else { return Ok(()) };
        if !record.was_running {
            return observer.step(&Step::LeaveDown { container: server.name().to_owned() });
        }
        match (record.live(), record.mode) {
            (true, Mode::Live) => return Ok(()),
            (true, _) => self.stop(observer)?,
            _ => {}
        }
        observer.step(&Step::Start { container: server.name().to_owned() })?;
        server.start()?;
        observer.step(&Step::WaitUp)?;
        let end = Instant::now() + self.settings.deadline;
        let steady = server.wait_up(self.settings.deadline)?;
        let downtime = self.since.elapsed().saturating_sub(steady);
        let state = self.read_state()?;
        let beating: BTreeSet<i64> = state.beating().into_iter().collect();
        let last = self.journal.record.last_beat;
        let connect = self.instance.connect()?;
        if !beating.is_empty() {
            observer.step(&Step::WaitBeats { monitors: beating.len() })?;
            let limit = end.saturating_duration_since(Instant::now());
            if beats::wait(&*connect, last, &beating, true, limit)?.is_empty() {
                return Err(Error::NotUp {
                    container: server.name().to_owned(),
                    seconds: self.settings.deadline.as_secs(),
                    why: format!("it answers, but none of {} active monitors has written a beat", beating.len()),
                    log: server.last_errors(),
                });
            }
        }
        self.outcome.downtime = Some(downtime);
        observer.step(&Step::Up { downtime })?;
        if let Some(limit) = self.settings.wait_beats {
            let wanted: BTreeSet<i64> = touched.iter().copied().filter(|id| beating.contains(id)).collect();
            if !wanted.is_empty() {
                observer.step(&Step::WaitBeats { monitors: wanted.len() })?;
                let mut seen = beats::wait(&*connect, last, &wanted, false, limit)?;
                seen.retain(|id, _| wanted.contains(id));
                self.outcome.silent = wanted.into_iter().filter(|id| !seen.contains_key(id)).collect();
                self.outcome.beats = seen;
            }
        }
        Ok(())
    }

    fn read_state(&self) -> Result<State> {
        read_state(&mut *self.instance.connect()?.reader()?, &self.instance.name)
    }

    /// The server is seen: the copy becomes a snapshot, the journal goes.
    pub(super) fn finish(mut self, store: &Store, observer: &mut dyn Observer) -> Result<Outcome> {
        self.journal.advance(Phase::Seen)?;
        let packed = self.pack(store, observer);
        let mut outcome = std::mem::take(&mut self.outcome);
        match packed {
            Ok(snapshot) => {
                outcome.snapshot = Some(snapshot);
                observer.step(&Step::CloseJournal)?;
                files::remove_folder(&self.held_folder())?;
                self.journal.close()?;
            }
            // The change is made and the server is up: that the copy is not in the store yet is no reason to undo it.
            Err(error) => outcome.warnings.push(format!(
                "the snapshot could not be packed: {error}; the copy stays in `{}`, `kumadb resume` packs it",
                self.held_folder().display()
            )),
        }
        Ok(outcome)
    }

    fn pack(&self, store: &Store, observer: &mut dyn Observer) -> Result<Snapshot> {
        observer.step(&Step::Pack)?;
        let held = Held::open(&self.held_folder())?;
        let snapshot = store.pack(&held, &self.instance.extras())?;
        observer.step(&Step::Packed { id: snapshot.manifest.id.clone(), bytes: snapshot.size })?;
        Ok(snapshot)
    }

    /// Undoes what was begun; returns the error that the run ends with.
    pub(super) fn back(mut self, cause: Error, observer: &mut dyn Observer) -> Error {
        // What is told on the way back cannot stop it.
        let mut telling = Telling(observer);
        match self.undo(&cause.to_string(), &mut telling) {
            Ok(false) => cause,
            Ok(true) => Error::RolledBack { cause: Box::new(cause) },
            Err(failure) => Error::RollbackFailed { cause: Box::new(cause), failure: Box::new(failure) },
        }
    }

    /// Puts the database and the server back as they were; says whether the database had been changed.
    pub(super) fn undo(&mut self, why: &str, observer: &mut dyn Observer) -> Result<bool> {
        observer.step(&Step::Undo { why: why.to_owned() })?;
        self.instance.remove_stale_helpers()?;
        let changed = match self.journal.record.phase {
            Phase::Stopping | Phase::Seen => false,
            Phase::Writing | Phase::Committed | Phase::RollingBack => self.put_back(observer)?,
        };
        if self.journal.record.was_running
            && let Some(server) = &self.instance.container
            && !server.is_running()?
        {
            observer.step(&Step::Start { container: server.name().to_owned() })?;
            server.start()?;
            observer.step(&Step::WaitUp)?;
            server.wait_up(self.settings.deadline)?;
            observer.step(&Step::Up { downtime: self.since.elapsed() })?;
        }
        observer.step(&Step::CloseJournal)?;
        files::remove_folder(&self.held_folder())?;
        self.journal.close()?;
        Ok(changed)
    }

    /// Puts the held copy back if the configuration is not the one from before; says whether it was needed.
    fn put_back(&mut self, observer: &mut dyn Observer) -> Result<bool> {
        let held = Held::open(&self.held_folder())?;
        let half_way = self.journal.record.phase == Phase::RollingBack || self.journal.record.loads;
        let committed = self.journal.record.phase == Phase::Committed;
        if (committed || half_way) && self.instance.is_running()? {
            self.stop(observer)?;
        }
        let session = if self.journal.record.live() && self.instance.is_running()? {
            self.instance.open()?
        } else {
            self.instance.open_still()?
        };
        let put = self.put_back_in(&session, &held, half_way || committed, observer);
        session.close()?;
        put
    }

    fn put_back_in(&mut self, session: &Session<'_>, held: &Held, sure: bool, observer: &mut dyn Observer) -> Result<bool> {
        if !sure && read_now(session)? == self.journal.record.before {
            return Ok(false);
        }
        self.journal.advance(Phase::RollingBack)?;
        observer.step(&Step::PutBack)?;
        let mut guarded = Guarded::open(held, session.connect())?;
        guarded.writer().load(&held.database(), &mut |done, total| observer.progress(done, total))?;
        let schema = guarded.writer().schema()?;
        check_loaded(&read_counts(guarded.writer(), &schema)?, held)?;
        Ok(true)
    }
}

fn read_now(session: &Session<'_>) -> Result<Option<Fingerprint>> {
    let mut reader = session.connect().reader()?;
    let schema = reader.schema()?;
    Ok(Some(read_fingerprint(&mut *reader, &schema)?))
}

fn check_loaded(found: &crate::engine::Counts, held: &Held) -> Result<()> {
    match *found == held.manifest.counts {
        true => Ok(()),
        false => Err(Error::Snapshot("what was put back has other row counts than the copy".into())),
    }
}

/// Monitors that a plan makes or changes.
fn touched_monitors(plan: &Plan, written: &Written) -> Vec<i64> {
    let mut touched: Vec<i64> = plan
        .steps
        .iter()
        .enumerate()
        .filter(|(_, step)| step.table == "monitor")
        .filter_map(|(at, step)| match &step.change {
            crate::plan::Change::Insert { .. } => written.ids.get(&at).copied(),
            crate::plan::Change::Update { id, .. } => Some(*id),
            crate::plan::Change::Delete { .. } => None,
        })
        .collect();
    touched.sort_unstable();
    touched.dedup();
    touched
}

/// An observer that is told and cannot object.
struct Telling<'a>(&'a mut dyn Observer);

impl Observer for Telling<'_> {
    fn step(&mut self, step: &Step) -> Result<()> {
        let _ = self.0.step(step);
        Ok(())
    }

    fn progress(&mut self, done: u64, total: u64) {
        self.0.progress(done, total);
    }
}
