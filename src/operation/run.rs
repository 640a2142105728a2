//! One run of an operation: its lock, its open journal, and what has happened so far.

use std::time::Instant;

use super::journal::{Journal, Phase};
use super::migration::is_migrating;
use super::work::{Outcome, Settings};
use super::{Observer, Step};
use crate::backup::StagedCopy;
use crate::engine::Connect;
use crate::engine::mariadb::Address;
use crate::error::{DockerError, Error, Result};
use crate::files::{EqualCopy, Lock};
use crate::instance::Instance;
use crate::kuma::read::TableHashes;
use crate::model::state::{Database, Fingerprint};

/// One run with its lock and its open journal.
pub(super) struct Run<'a> {
    pub(super) instance: &'a Instance,
    pub(super) settings: &'a Settings,
    pub(super) journal: Journal,
    pub(super) lock: Lock,
    /// Whether the database may have been changed: a transaction that never reached the commit was rolled back.
    pub(super) attempted: bool,
    /// Whether this process has committed the change while the server was stopped.
    pub(super) wrote: bool,
    /// Whether the container was recreated since the journal was opened.
    pub(super) replaced: bool,
    /// Whether the rows that are loaded were found to fit into the tables, before the server was stopped.
    pub(super) fits: bool,
    /// Files in `screenshots/` will be restored, so the undo snapshot has those that are there now.
    pub(super) screenshots: bool,
    /// The staged copy as far as it was made while the server was running.
    pub(super) early: Option<EqualCopy>,
    /// The external database that a conversion of this process fills.
    pub(super) target: Option<Address>,
    pub(super) since: Instant,
    pub(super) outcome: Outcome,
}

/// A database that is about to be changed.
pub(super) struct Write<'w> {
    pub(super) connect: &'w dyn Connect,
    /// Its copy.
    pub(super) staged: &'w StagedCopy,
    pub(super) database: &'w Database,
    /// The hash of each table before.
    pub(super) hashes: &'w TableHashes,
    /// The hash of all of them.
    pub(super) before: &'w Fingerprint,
}

impl<'a> Run<'a> {
    pub(super) fn new(instance: &'a Instance, settings: &'a Settings, journal: Journal, lock: Lock) -> Run<'a> {
        let (since, outcome) = (Instant::now(), Outcome::default());
        let (attempted, wrote, replaced, fits, screenshots) = (false, false, false, false, false);
        let (early, target) = (None, None);
        Run {
            instance,
            settings,
            journal,
            lock,
            attempted,
            wrote,
            replaced,
            fits,
            screenshots,
            early,
            target,
            since,
            outcome,
        }
    }
}

impl Run<'_> {
    /// The folder of the staged copy of this run.
    pub(super) fn staged_folder(&self) -> std::path::PathBuf {
        self.instance.work().join("held")
    }

    /// Notes the commit. A disk that is too full for the note does not cause a rollback: the previous note, with the
    /// fingerprints before and after, carries the same information.
    pub(super) fn committed(&mut self) {
        if let Err(error) = self.note_committed() {
            self.outcome.warnings.push(format!("cannot write the journal: {error}"));
        }
    }

    pub(super) fn note_committed(&mut self) -> Result<()> {
        let engine = self.instance.engine();
        if let Some(fixes) = &mut self.journal.record.fixes {
            fixes.set_committed(engine, true);
        }
        self.journal.advance(Phase::Committed)
    }

    pub(super) fn stop(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let Some(server) = &self.instance.container else { return Ok(()) };
        self.follow(observer)?;
        // For the first stop this was checked before.
        if (self.journal.record.phase != Phase::Noted || self.replaced) && is_migrating(self.instance)? {
            return Err(Error::Docker(DockerError::Migrating { container: server.name() }));
        }
        observer.step(&Step::Stop { container: server.name() })?;
        let is_first = self.journal.record.phase == Phase::Noted;
        if is_first {
            self.journal.advance(Phase::Stopping)?;
        }
        self.since = Instant::now();
        let stopped = server.stop(self.settings.grace);
        if is_first && stopped.as_ref().is_err_and(Error::is_forbidden) {
            // The server never got the request, so there is nothing to wait for.
            self.journal.advance(Phase::Noted)?;
        }
        stopped?;
        self.follow(observer)
    }
}
