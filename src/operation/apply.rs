//! The write path: lock, journal, stop, staged copy, verification, transaction, commit, start, check that the server is up; and
//! the rollback from each of these.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::beats::{self, Awaited};
use super::begin::{check_mode, check_server, check_wait, lock, report_network};
use super::journal::{Journal, JournalRecord, Phase};
use super::release::{check_before_stop, check_release};
use super::rows_fit::check_load;
use super::run::{Run, Write};
use super::transact::try_before_stop;
use super::work::{Mode, Outcome, Replacement, Settings, Transaction, Work};
use super::{Observer, Step, compact, label, pending, space, upgrade};
use crate::backup::stage::{CopyScope, CopySource, Opened, SnapshotLabel, begin_copy};
use crate::backup::{Changed, Guarded, StagedCopy, Store};
use crate::docker::RunState;
use crate::engine::{Connect, EngineKind, Reader};
use crate::error::{DatabaseError, DockerError, Error, OperationError, Result};
use crate::files;
use crate::instance::{DbLocation, Instance, Server, Session};
use crate::kuma::mark::read_mark;
use crate::kuma::read::{read_any_database, read_database, read_last_beat, read_shown_state, read_table_hashes};
use crate::model::state::Fingerprint;
use crate::plan::history::HistoryPruning;
use crate::wait::Deadline;

/// Runs `work` on `instance`, or leaves everything as it was.
///
/// # Errors
/// Before the commit: the error itself; nothing is changed and the server is as before. After it:
/// [`OperationError::RolledBack`], or
/// [`OperationError::RollbackFailed`] with the journal left for
/// `recover`.
pub fn run<'w>(
    instance: &Instance,
    store: &Store,
    work: impl Into<Work<'w>>,
    settings: &Settings,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let work = work.into();
    if work.is_empty() { Ok(Outcome::default()) } else { run_work(instance, store, &work, settings, observer) }
}

fn run_work(
    instance: &Instance,
    store: &Store,
    work: &Work<'_>,
    settings: &Settings,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let lock = lock(instance, settings)?;
    report_network(instance, observer)?;
    instance.check_config()?;
    // Whether that works out or not, no copy is in the way.
    let packing = pending::pack_all(instance, store);
    let life = instance.life()?;
    let is_running = life.is_some_and(|life| life != RunState::Stopped);
    let mode = check_mode(instance, settings.mode, is_running)?;
    check_wait(instance, settings)?;
    instance.check_alone()?;
    // A load replaces what an interrupted migration left. A server that is still migrating is never stopped.
    let opens_lock = settings.opens_lock || work.load().is_some() && life == Some(RunState::Restarting);
    check_server(instance, mode, opens_lock)?;
    instance.check_accepts_writes()?;
    check_before_stop(instance, work, settings)?;
    if let Work::Transaction(Transaction::Fixes(fixes)) = work {
        debug_assert!(fixes.are_one(instance.engine(), mode), "a rollback would not be safe");
    }
    let fits = work.load().map(|load| check_load(instance, load)).transpose()?.unwrap_or(false);
    space::check(instance, store, work)?;
    if is_running && mode != Mode::Live {
        try_before_stop(instance, work)?;
    }
    observer.step(&Step::Journal)?;
    let record = JournalRecord {
        lasts: matches!(work, Work::Transaction(transaction) if transaction.lasts(instance.engine())),
        recipients: store.recipients(),
        upgrade: match work {
            Work::Replacement(Replacement::Upgrade(order)) => Some(upgrade::note(instance, order.route)),
            _ => None,
        },
        fixes: settings.fixes,
        ..JournalRecord::new(&settings.verb, instance, life, mode, work.replaces_all())
    };
    let journal = Journal::open(instance.work(), record)?;
    let mut run = Run::new(instance, settings, journal, lock);
    (run.fits, run.screenshots) = (fits, work.restores_screenshots());
    run.outcome.warnings.extend(packing.warnings.iter().map(ToString::to_string));
    match run.forward(work, observer) {
        Ok(()) => {
            let may_run = match instance.container {
                Some(_) => is_running && mode == Mode::Live,
                // With `Mode::Stopped`, nothing else is connected to the database.
                None => mode != Mode::Stopped,
            };
            run.outcome.restart_due = may_run && work.needs_restart();
            Ok(run.finish(store, observer))
        }
        Err(cause) => Err(run.back(cause, observer)),
    }
}

impl Run<'_> {
    fn forward(&mut self, work: &Work<'_>, observer: &mut dyn Observer) -> Result<()> {
        let live = self.journal.record.live();
        if self.journal.record.was_running() && !live {
            self.copy_early(work, observer)?;
            self.stop(observer)?;
        }
        observer.step(&Step::Open)?;
        let instance = self.instance;
        let session = if live { instance.open_locked(&self.lock)? } else { instance.open_still(&self.lock)? };
        let wrote = self.write(&session, work, observer);
        // The helper is removed first, also when the write failed: two MariaDB servers on one folder hang.
        let closed = observer.step(&Step::Close).and_then(|()| session.close());
        let touched = wrote?;
        match closed {
            // A rollback would lose what the running server has written since the commit.
            Err(error) if live => self.outcome.warnings.push(format!("cannot close the database: {error}")),
            closed => closed?,
        }
        self.wrote = true;
        self.up(&touched, observer)
    }

    /// Stages a copy, writes, checks and commits. Returns the changed monitors that should have heartbeats.
    fn write(&mut self, session: &Session<'_>, work: &Work<'_>, observer: &mut dyn Observer) -> Result<Vec<i64>> {
        if let (Work::Replacement(Replacement::Salvage(release)), DbLocation::Sqlite(file)) =
            (work, &self.instance.place)
        {
            return self.salvage(file, *release, observer).map(|()| Vec::new());
        }
        let connect = session.connect();
        let early = self.early.take();
        let (reader, database) = match (self.read_before(connect, work), work.load(), &self.instance.place) {
            (Err(error), Some(load), DbLocation::Sqlite(file)) if error.is_unreadable() => {
                drop(early);
                return self.replace(file, load.desired, observer).map(|()| Vec::new());
            }
            (opened, ..) => opened?,
        };
        let source = match &self.instance.place {
            DbLocation::Sqlite(file) => {
                // Its files are copied.
                drop(reader);
                CopySource::Still(file, early)
            }
            _ => CopySource::Opened(connect, (reader, database.clone())),
        };
        let staged = self.stage(source, observer)?;
        let mut guarded = Guarded::open(&staged, connect)?;
        let copying = self.find_copying(&mut guarded, &staged, work)?;
        if let (Work::Transaction(_), false, None) = (work, self.journal.record.lasts, &copying) {
            // The configuration that is checked is the one that the transaction changes.
            observer.step(&Step::Begin)?;
            guarded.writer().begin()?;
        }
        let hashes = read_table_hashes(guarded.writer(), &database.schema)?;
        let before = hashes.fingerprint();
        if work.load().and_then(|load| load.shown).is_some_and(|shown| *shown != before) {
            return Err(OperationError::StaleDifference { instance: self.instance.name.clone() }.into());
        }
        if let Work::Transaction(transaction) = work {
            self.journal.record.watched = transaction.watched();
        }
        self.journal.record.before = Some(read_mark(guarded.writer(), &before, self.journal.record.watched.as_ref())?);
        if database.schema.table("heartbeat").is_some() {
            self.journal.record.last_beat = read_last_beat(guarded.writer())?;
        }
        self.journal.advance(Phase::Writing)?;
        let write = Write { connect, staged: &staged, database: &database, hashes: &hashes, before: &before };
        if let Some(copying) = copying {
            return self.copy_kept(&mut guarded, &write, &copying, observer).map(|()| Vec::new());
        }
        match work {
            Work::Transaction(transaction) => self.write_rows(&mut guarded, &write, transaction, observer),
            Work::Replacement(replacement) => {
                self.write_all(&mut guarded, &write, replacement, observer).map(|()| Vec::new())
            }
        }
    }

    /// Runs `transaction`, and what follows its commit. Returns the changed monitors that should have heartbeats.
    fn write_rows(
        &mut self,
        guarded: &mut Guarded,
        write: &Write<'_>,
        transaction: &Transaction<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Vec<i64>> {
        let statements = transaction.statements_after(guarded.writer().kind());
        let (touched, after) = if self.journal.record.lasts {
            // There is nothing to roll back, so it is not noted as committed.

            self.journal.record.changed = Some(Changed::Nothing);
            (Vec::new(), write.before.clone())
        } else {
            self.commit(guarded, write, transaction, observer)?
        };
        if let Transaction::Prune(HistoryPruning { compacting, .. }) = transaction
            && let Err(error) = compact::run(guarded.writer(), compacting, self.instance.work(), observer)
        {
            self.outcome.warnings.push(format!("cannot reclaim disk space: {error}"));
        }
        if !statements.is_empty() {
            self.execute(guarded.writer(), statements, (&write.database.schema, &after), observer)?;
        }
        Ok(touched)
    }

    fn commit(
        &mut self,
        guarded: &mut Guarded,
        write: &Write<'_>,
        transaction: &Transaction<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(Vec<i64>, Fingerprint)> {
        let schema = &write.database.schema;
        let made = self.transact(guarded, write, transaction, observer)?;
        self.note_changed(guarded.writer(), transaction.may_change(), schema, &write.staged.manifest.counts);
        self.committed();
        observer.step(&Step::Committed)?;
        Ok(made)
    }

    /// Replaces the database.
    fn write_all(
        &mut self,
        guarded: &mut Guarded,
        write: &Write<'_>,
        replacement: &Replacement<'_>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        match replacement {
            Replacement::Compact(statements) => {
                // A running server writes meanwhile.
                let then = (!self.journal.record.live()).then_some((write.before, &write.staged.manifest.counts));
                compact::run(guarded.writer(), statements, self.instance.work(), observer)?;
                // The staged copy is complete, and what was rewritten may not be.
                (self.attempted, self.journal.record.loads) = (true, true);
                compact::check(guarded.writer(), then, observer)?;
                (self.attempted, self.journal.record.loads) = (false, false);
                self.journal.record.changed = Some(Changed::Nothing);
                // Not noted as committed: there is nothing to roll back.
                return Ok(());
            }
            Replacement::Salvage(_) => {
                let database = self.instance.name.clone();
                return Err(Error::Database(DatabaseError::NotSalvageable { database }));
            }
            Replacement::Upgrade(order) => self.upgrade(guarded, write, order, observer)?,
            Replacement::Load(load) => self.load(guarded, load, observer)?,
        }
        let changed = match replacement.may_change() {
            // While a running server adds heartbeats, the total number does not show that those of a deleted monitor are gone.
            Changed::Configuration if self.journal.record.live() => Changed::History,
            changed => changed,
        };
        self.note_changed(guarded.writer(), changed, &write.database.schema, &write.staged.manifest.counts);
        self.committed();
        observer.step(&Step::Committed)
    }

    /// Copies a SQLite database before its server is stopped, so that little of it has to be copied while it is. Nothing is concluded
    /// from this copy: what cannot be copied now is an error, if at all, when the database is staged. Too little space is one now, unless
    /// the database may be damaged and replaced, which needs less.
    fn copy_early(&mut self, work: &Work<'_>, observer: &mut dyn Observer) -> Result<()> {
        let DbLocation::Sqlite(file) = &self.instance.place else { return Ok(()) };
        if matches!(work, Work::Replacement(Replacement::Salvage(_))) {
            return Ok(());
        }
        observer.step(&Step::CopyEarly { bytes: self.instance.size() })?;
        let folder = self.staged_folder();
        match begin_copy(file, &folder, &mut |done, total| observer.progress(done, total)) {
            Ok(copy) => self.early = Some(copy),
            Err(error @ Error::Operation(OperationError::Interrupted { .. })) => return Err(error),
            Err(error) if error.is_full() && work.load().is_none() => return Err(error),
            Err(_) => files::remove_folder(&folder)?,
        }
        Ok(())
    }

    /// Opens the database, and reads what it is before anything is changed.
    fn read_before(&self, connect: &dyn Connect, work: &Work<'_>) -> Result<Opened> {
        let mut reader = connect.reader()?;
        let database = match (read_database(&mut *reader, &self.instance.name), work.load(), connect.kind()) {
            // On SQLite, the file is replaced.
            (Err(Error::Database(DatabaseError::NotKuma { .. })), Some(_), EngineKind::MariaDb) => {
                read_any_database(&mut *reader)?
            }
            (database, ..) => database?,
        };
        // A load replaces all of it, so the leftovers of a migration do not matter; an upgrade has checked more.
        if !work.replaces_all() {
            check_release(&database, self.instance, self.settings)?;
        }
        Ok((reader, database))
    }

    fn stage(&self, source: CopySource<'_>, observer: &mut dyn Observer) -> Result<StagedCopy> {
        let began = Instant::now();
        observer.step(&Step::Hold { bytes: self.instance.size() })?;
        let undoes = self.settings.undoes.clone();
        let label = SnapshotLabel { undo: true, undoes, ..label(self.instance, &self.settings.verb) };
        let mut progress = |done, total| observer.progress(done, total);
        let staged = StagedCopy::take(source, &self.staged_folder(), &label, &CopyScope::default(), &mut progress)?;
        observer.step(&Step::Held { bytes: staged.manifest.size(), took: began.elapsed() })?;
        Ok(staged)
    }

    /// Starts the server if it was running and verifies that it is up; then waits for the requested heartbeats.
    pub(super) fn up(&mut self, touched: &[i64], observer: &mut dyn Observer) -> Result<()> {
        let record = &self.journal.record;
        let Some(server) = &self.instance.container else { return Ok(()) };
        if !record.was_running() {
            return match record.upgrade {
                // It needs another image before it is started.
                Some(_) => Ok(()),
                None => observer.step(&Step::LeaveDown { container: server.name() }),
            };
        }
        self.await_image(server, observer)?;
        let record = &self.journal.record;
        match (record.live(), record.mode) {
            (true, Mode::Live) => return Ok(()),
            (true, _) => {
                // Heartbeats from before the stop do not show that it works. An earlier run may have stopped the server already, or have
                // started it a moment ago: then its database does not exist yet, and the server must not be stopped while it
                // starts.
                if server.is_running()? {
                    let end = Instant::now() + self.settings.deadline;
                    self.journal.record.last_beat = self.read_by(end, read_last_beat)?;
                }
                self.stop(observer)?;
            }
            _ => {}
        }
        let end = Instant::now() + self.settings.deadline;
        let (downtime, beating) = loop {
            let known = server.id();
            match self.see_working(server, end, observer) {
                Ok(seen) if server.is_started() => break seen,
                // The container was recreated after it had responded: the new one counts, with heartbeats of its own.
                Ok(_) => {}
                Err(error) => {
                    let replaced = if server.is_started() {
                        server.was_replaced(&error)?
                    } else {
                        // It could not even be started.
                        server.id() != known
                    };
                    if !replaced || Instant::now() >= end {
                        return Err(error);
                    }
                }
            }
            self.wrote = false;
            if let Ok(newest) = self.instance.connect().and_then(|connect| read_last_beat(&mut *connect.reader()?)) {
                self.journal.record.last_beat = newest;
            }
        };
        self.outcome.downtime = Some(downtime);
        observer.step(&Step::Up { downtime })?;
        self.await_beats(touched, &beating, observer)?;
        if self.journal.record.life == Some(RunState::Paused)
            && let Err(error) = server.put_back(RunState::Paused, self.settings.grace)
        {
            self.outcome.warnings.push(format!("the container was paused before and is running now: {error}"));
        }
        Ok(())
    }

    /// Waits for a heartbeat of each monitor of `touched` that should have heartbeats, if that was requested.
    fn await_beats(&mut self, touched: &[i64], beating: &BTreeSet<i64>, observer: &mut dyn Observer) -> Result<()> {
        let Some(limit) = self.settings.wait_beats else { return Ok(()) };
        let desired: BTreeSet<i64> = touched.iter().copied().filter(|id| beating.contains(id)).collect();
        if desired.is_empty() {
            return Ok(());
        }
        observer.step(&Step::WaitBeats { monitors: desired.len() })?;
        let last = self.journal.record.last_beat;
        // The server is verified up: from here on nothing is a reason to roll back.
        let connect = self.instance.connect();
        let awaited = Awaited::All(desired.clone());
        let seen = connect.and_then(|connect| beats::wait(&*connect, last, &awaited, limit, &mut || Ok(())));
        let mut seen = seen.unwrap_or_else(|error| {
            self.outcome.warnings.push(format!("cannot read heartbeats: {error}"));
            BTreeMap::new()
        });
        seen.retain(|id, _| desired.contains(id));
        self.outcome.silent = desired.into_iter().filter(|id| !seen.contains_key(id)).collect();
        self.outcome.beats = seen;
        Ok(())
    }

    /// Brings the server up and waits for a heartbeat, until `end` at most; returns the downtime, and the monitors
    /// that should have heartbeats.
    fn see_working(
        &mut self,
        server: &Server,
        end: Instant,
        observer: &mut dyn Observer,
    ) -> Result<(Duration, BTreeSet<i64>)> {
        let steady = self.bring_up(server, end, observer)?;
        let downtime = self.since.elapsed().saturating_sub(steady);
        let state = self.read_by(end, |reader| read_shown_state(reader, &self.instance.name))?;
        let beating: BTreeSet<i64> = state.beating().into_iter().collect();
        let last = self.journal.record.last_beat;
        if !beating.is_empty() {
            observer.step(&Step::WaitBeats { monitors: beating.len() })?;
            let connect = self.instance.connect()?;
            let limit = end.saturating_duration_since(Instant::now());
            if beats::wait(&*connect, last, &Awaited::Any, limit, &mut || server.check_run())?.is_empty() {
                return Err(Error::Docker(DockerError::NotUp {
                    container: server.name(),
                    seconds: self.settings.deadline.as_secs(),
                    why: format!(
                        "the server responds, but none of {} active monitors has written a heartbeat",
                        beating.len()
                    ),
                    log: server.last_errors(),
                }));
            }
            // A heartbeat of a container that is gone by now does not show that its successor works.
            server.check_run()?;
        }
        Ok((downtime, beating))
    }

    /// Reads the database of a server that has just come up, or is about to, and may be busy. Retries until `end`,
    /// then returns the last error.
    fn read_by<T>(&self, end: Instant, read: impl Fn(&mut dyn Reader) -> Result<T>) -> Result<T> {
        let deadline = Deadline::at(end, Duration::from_millis(200));
        loop {
            let result = self.instance.connect().and_then(|connect| read(&mut *connect.reader()?));
            if result.is_ok() || !deadline.wait() {
                return result;
            }
        }
    }
}
