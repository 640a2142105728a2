//! The way back: the database from the held copy, the server into the state it was in.

use super::apply::Run;
use super::journal::Phase;
use super::{Observer, Step};
use crate::backup::{Guarded, Held};
use crate::docker::Life;
use crate::engine::Counts;
use crate::error::{Error, Result};
use crate::files;
use crate::instance::Session;
use crate::kuma::read::{read_counts, read_fingerprint};
use crate::model::state::Fingerprint;

impl Run<'_> {
    /// Undoes what was begun; returns the error that the run ends with.
    pub(super) fn back(mut self, cause: Error, observer: &mut dyn Observer) -> Error {
        // A server that was told to stop may still do so, and one that migrates must never be stopped: both want time, and
        // the journal stays open for `resume`.
        if matches!(cause, Error::WouldNotStop { .. } | Error::Migrating { .. }) {
            return cause;
        }
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
        // Where nothing was begun there is nothing to put back, and nothing to tell of it.
        if self.journal.record.phase != Phase::Noted {
            observer.step(&Step::Undo { why: why.to_owned() })?;
        }
        self.instance.remove_stale_helpers()?;
        let changed = match self.journal.record.phase {
            Phase::Noted | Phase::Stopping | Phase::Seen => false,
            Phase::Writing | Phase::Committed | Phase::RollingBack => self.put_back(observer)?,
        };
        if let (Some(server), true) = (&self.instance.container, self.journal.record.was_running()) {
            if self.journal.record.phase == Phase::Stopping && server.is_running()? {
                // It was told to stop and has not yet: it would end later, with nobody left to start it.
                self.stop(observer)?;
            }
            if !server.is_running()? {
                observer.step(&Step::Start { container: server.name().to_owned() })?;
                server.start()?;
                observer.step(&Step::WaitUp)?;
                server.wait_up(self.settings.deadline)?;
                observer.step(&Step::Up { downtime: self.since.elapsed() })?;
            }
            if self.journal.record.life == Some(Life::Paused) {
                server.put_back(Life::Paused, self.settings.grace)?;
            }
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

    fn put_back_in(
        &mut self,
        session: &Session<'_>,
        held: &Held,
        sure: bool,
        observer: &mut dyn Observer,
    ) -> Result<bool> {
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

pub(super) fn check_loaded(found: &Counts, held: &Held) -> Result<()> {
    match *found == held.manifest.counts {
        true => Ok(()),
        false => Err(Error::Snapshot("what was put back has other row counts than the copy".into())),
    }
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
