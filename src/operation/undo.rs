//! Rollback: restores the database from the staged copy, and the server to its previous state.

use super::journal::{Journal, Phase};
use super::migration::is_migrating;
use super::run::Run;
use super::{Observer, Step};
use crate::backup::{Guarded, StagedCopy, raw};
use crate::docker::RunState;
use crate::engine::{Connect, Counts, Reader};
use crate::error::{DockerError, Error, OperationError, Result, SnapshotError};
use crate::instance::DbLocation;
use crate::kuma::mark::read_mark;
use crate::kuma::read::{read_counts, read_fingerprint};
use crate::model::state::Fingerprint;

impl Run<'_> {
    /// Rolls back the operation; returns the error that the run ends with.
    pub(super) fn back(mut self, cause: Error, observer: &mut dyn Observer) -> Error {
        // A server that was asked to stop may still do so, and one that migrates must never be stopped: both need time, and the
        // journal stays open for `recover`.
        if matches!(
            cause,
            Error::Docker(DockerError::StopTimeout { .. }) | Error::Docker(DockerError::Migrating { .. })
        ) {
            return cause;
        }
        if matches!(cause, Error::Operation(OperationError::ImageNotChanged { .. })) {
            return cause;
        }
        if self.waits_for_container(&cause) {
            return self.gone(cause, None);
        }
        // Most migrations run before any page is shown, so a server that is merely not up yet may be in one.
        if let Error::Docker(DockerError::NotUp { container, .. }) = &cause
            && is_migrating(self.instance).unwrap_or(false)
        {
            return Error::Docker(DockerError::Migrating { container: container.clone() });
        }
        // An observer cannot stop a rollback.
        let mut telling = IgnoreRefusal(observer);
        match self.undo(&cause.to_string(), &mut telling) {
            Ok(false) => cause,
            // The error itself states what became of the database, and nothing is left for `recover`.
            Err(gone @ Error::Docker(DockerError::Removed { hint: Some(_), .. }))
                if matches!(cause, Error::Docker(DockerError::Removed { .. })) =>
            {
                gone
            }
            // The container was recreated from a newer image: the only option is to wait for its migration.
            Err(wait @ Error::Docker(DockerError::Migrating { .. })) if self.replaced => wait,
            Ok(true) => self.rolled_back_with_image(cause),
            Err(failure) => self.failed(cause, failure),
        }
    }

    /// The error of a rollback that was not completed.
    pub(super) fn failed(&self, cause: Error, failure: Error) -> Error {
        let is_back = match self.journal.record.phase {
            Phase::Noted | Phase::Stopping | Phase::PutBack => true,
            Phase::Writing => !self.attempted || self.journal.record.lasts,
            Phase::Committed | Phase::RollingBack | Phase::Seen => false,
        };
        let (cause, failure) = (Box::new(cause), Box::new(failure));
        Error::Operation(OperationError::RollbackFailed { cause, failure, is_back })
    }

    /// Restores the database and the server to their previous state; returns whether the database had been changed.
    pub(super) fn undo(&mut self, why: &str, observer: &mut dyn Observer) -> Result<bool> {
        // Where nothing was done there is nothing to roll back, and nothing to report.
        if self.journal.record.phase != Phase::Noted {
            observer.step(&Step::Undo { why: why.to_owned() })?;
        }
        self.instance.remove_stale_helpers()?;
        let changed = match self.journal.record.phase {
            Phase::Noted | Phase::Stopping | Phase::Seen => false,
            Phase::Writing | Phase::Committed | Phase::RollingBack if self.journal.record.converts.is_some() => {
                self.switch_back(observer)?
            }
            Phase::Writing if !self.attempted || self.journal.record.lasts => false,
            Phase::Writing | Phase::Committed | Phase::RollingBack if self.journal.record.swaps => {
                self.swap_back(observer)?
            }
            Phase::Writing if !self.journal.record.loads => match self.put_back(observer) {
                Ok(changed) => changed,
                // One transaction, so the database is consistent, old or new: the server need not stay down.
                Err(failure) => {
                    self.start_again(observer)?;
                    return Err(failure);
                }
            },
            Phase::Writing | Phase::Committed | Phase::RollingBack => self.put_back(observer)?,
            Phase::PutBack => true,
        };
        if let (Some(fixes), true) = (&mut self.journal.record.fixes, changed) {
            fixes.set_committed(self.instance.engine(), false);
        }
        let started = if self.journal.record.was_running() { self.start_again(observer) } else { Ok(()) };
        if !matches!(started, Ok(()) | Err(Error::Docker(DockerError::Removed { .. }))) {
            return started.map(|()| changed);
        }
        observer.step(&Step::CloseJournal)?;
        self.close()?;
        started.map(|()| changed).map_err(|gone| self.gone(gone, Some(changed)))
    }

    /// Brings a server that was running into its previous state.
    fn start_again(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let Some(server) = &self.instance.container else { return Ok(()) };
        self.follow(observer)?;
        if let Some(image) = self.image_to_change_back() {
            let container = server.name();
            // The container was recreated before the upgrade was ready for it.
            if server.is_running()? {
                let image = server.container().image.clone();
                return observer.step(&Step::LeaveMigrating { container, image });
            }
            return observer.step(&Step::LeaveUntilImage { container, image });
        }
        let record = &self.journal.record;
        if record.phase == Phase::Stopping && !self.replaced && server.is_running()? {
            // It was asked to stop and has not yet: it would end later, and nothing would start it again.
            self.stop(observer)?;
        }
        let record = &self.journal.record;
        let life = record.life;
        let untouched = record.phase == Phase::Noted || record.live() && record.phase == Phase::Writing;
        if !untouched {
            observer.step(&Step::Start { container: server.name() })?;
            server.start()?;
            // A server that was in a restart loop before is not expected to do more than that.
            if life != Some(RunState::Restarting) {
                observer.step(&Step::WaitUp)?;
                server.wait_up(self.settings.deadline)?;
                observer.step(&Step::Up { downtime: self.since.elapsed() })?;
            }
        }
        match life {
            Some(RunState::Paused) => server.put_back(RunState::Paused, self.settings.grace),
            _ => Ok(()),
        }
    }

    /// Restores the staged copy if the configuration differs from the one before; returns whether there was a change.
    fn put_back(&mut self, observer: &mut dyn Observer) -> Result<bool> {
        let record = &self.journal.record;
        let sure = record.loads || record.phase == Phase::Committed;
        if !sure && !self.is_changed()? {
            // An interrupted restore was one transaction, so it is complete, and the server may have been running since.
            return Ok(self.journal.record.phase == Phase::RollingBack);
        }
        if self.instance.is_running()? {
            self.stop(observer)?;
        }
        let folder = self.staged_folder();
        if let DbLocation::Sqlite(_) = &self.instance.place
            && raw::is_moved_back(&folder)?
        {
            return Ok(true);
        }
        let staged = StagedCopy::open(&folder)?;
        if let (true, DbLocation::Sqlite(file)) = (staged.manifest.raw, &self.instance.place) {
            let _ = self.journal.advance(Phase::RollingBack);
            observer.step(&Step::PutBack)?;
            raw::put_back(file, &staged)?;
            self.journal.advance(Phase::PutBack)?;
            return Ok(true);
        }
        let session = self.instance.open_still(&self.lock)?;
        let loaded = session.with(|connect| put_back_in(&mut self.journal, connect, &staged, observer));
        match (loaded, &self.instance.place) {
            (Err(error), DbLocation::Sqlite(file)) if error.is_full() => raw::move_back(file, &staged)?,
            (loaded, _) => loaded?,
        }
        self.journal.advance(Phase::PutBack)?;
        Ok(true)
    }

    /// Whether the database differs from before. The work is one transaction, so it is completely the old or completely the new
    /// one.
    fn is_changed(&self) -> Result<bool> {
        Ok(Some(self.read_mark()?) != self.journal.record.before)
    }

    /// Whether the configuration is the one from before a change that was committed, as far as that can be read.
    pub(super) fn is_rolled_back(&self) -> bool {
        let record = &self.journal.record;
        let differs = record.before.is_some() && record.after.is_some() && record.before != record.after;
        differs && self.read_mark().is_ok_and(|now| Some(now) == record.before)
    }

    /// The current state of what distinguishes before and after.
    pub(super) fn read_mark(&self) -> Result<Fingerprint> {
        self.instance.open_locked(&self.lock)?.read(|reader| {
            let schema = reader.schema()?;
            let fingerprint = read_fingerprint(reader, &schema)?;
            read_mark(reader, &fingerprint, self.journal.record.watched.as_ref())
        })
    }
}

fn put_back_in(
    journal: &mut Journal,
    connect: &dyn Connect,
    staged: &StagedCopy,
    observer: &mut dyn Observer,
) -> Result<()> {
    // A disk that is too full for the note must not prevent the restore.
    let _ = journal.advance(Phase::RollingBack);
    observer.step(&Step::PutBack)?;
    let mut guarded = Guarded::open(staged, connect)?;
    guarded.writer().load(&staged.database(), &[], &mut |done, total| observer.progress(done, total))?;
    check_loaded(guarded.writer(), staged, &[])
}

/// Fails unless all tables but `kept` have as many rows as the copy.
pub(super) fn check_loaded(reader: &mut dyn Reader, staged: &StagedCopy, kept: &[String]) -> Result<()> {
    let schema = reader.schema()?;
    let found = read_counts(reader, &schema)?;
    let loaded = |counts: &Counts| -> Counts {
        counts.iter().filter(|(table, _)| !kept.contains(table)).map(|(table, rows)| (table.clone(), *rows)).collect()
    };
    if loaded(&found) == loaded(&staged.manifest.counts) {
        Ok(())
    } else {
        Err(Error::Snapshot(SnapshotError::RestoredDiffers { what: "rows per table".into() }))
    }
}

/// An observer that is informed but cannot refuse.
pub(super) struct IgnoreRefusal<'a>(pub(super) &'a mut dyn Observer);

impl Observer for IgnoreRefusal<'_> {
    fn step(&mut self, step: &Step) -> Result<()> {
        let _ = self.0.step(step);
        Ok(())
    }

    fn progress(&mut self, done: u64, total: u64) {
        self.0.progress(done, total);
    }
}
