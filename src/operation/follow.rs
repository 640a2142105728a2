//! A container that is recreated during a run: found by name and data folder, started in place of the old one, and noted in the
//! journal.

use std::time::{Duration, Instant};

use super::journal::Phase;
use super::migration::is_migrating;
use super::run::Run;
use super::{Observer, Step};
use crate::error::{DockerError, Error, Hint, Result};
use crate::instance::{DbLocation, Server};

impl Run<'_> {
    /// Notes the current container, if it is not the one in the journal.
    pub(super) fn follow(&mut self, observer: &mut dyn Observer) -> Result<()> {
        // The lookup finds the successor of a container that is gone.
        self.instance.is_running()?;
        let now = self.instance.container_name();
        let Some((id, name)) = now.clone().filter(|_| now != self.journal.record.container) else { return Ok(()) };
        self.replaced |= self.journal.record.container.as_ref().is_some_and(|(known, _)| *known != id);
        self.journal.record.container = now;
        // A disk that is too full for the note must not keep the server down: the container is found by its data folder anyway.
        if let Err(error) = self.journal.advance(self.journal.record.phase) {
            self.outcome.warnings.push(format!("cannot write the journal: {error}"));
        }
        if self.replaced { observer.step(&Step::Follow { container: name }) } else { Ok(()) }
    }

    /// Starts the server after the change and waits until it responds, until `end` at most. Returns how long ago it
    /// first did.
    ///
    /// A server that something else has started during the write is restarted, so that it sees the change: its
    /// database was locked. One of another image may be migrating and is not stopped.
    pub(super) fn bring_up(&mut self, server: &Server, end: Instant, observer: &mut dyn Observer) -> Result<Duration> {
        self.follow(observer)?;
        let is_early = self.wrote && !self.journal.record.live() && server.is_running()?;
        let migrates = !server.has_same_image() || self.journal.record.loads;
        if is_early && !migrates {
            self.stop(observer)?;
        }
        let up = self.start_and_wait(server, end, observer);
        let again = match &up {
            Ok(_) => matches!(self.instance.place, DbLocation::External(_)),
            Err(error) => {
                matches!(error, Error::Docker(DockerError::NotUp { .. }))
                    && !is_migrating(self.instance).unwrap_or(false)
            }
        };
        if is_early && migrates && again {
            self.stop(observer)?;
            self.start_and_wait(server, end.max(Instant::now() + self.settings.deadline), observer)
        } else {
            up
        }
    }

    fn start_and_wait(&mut self, server: &Server, end: Instant, observer: &mut dyn Observer) -> Result<Duration> {
        observer.step(&Step::Start { container: server.name() })?;
        server.start()?;
        observer.step(&Step::WaitUp)?;
        let up = server.wait_up(end.saturating_duration_since(Instant::now()));
        self.follow(observer)?;
        up
    }

    /// The error of a run whose container was removed and not recreated; it states what is in the database.
    pub(super) fn gone(&self, cause: Error, changed: Option<bool>) -> Error {
        let Error::Docker(DockerError::Removed { container, what, .. }) = cause else { return cause };
        let folder = self.instance.origin();
        let create = format!("recreate it with the data folder `{folder}` (docker compose up -d)");
        let (state, hint) = match changed {
            // The journal stays open.
            None => ("the change is committed", format!("{create}, then run: kumadb -t {folder} recover")),
            Some(true) => ("rolled back: the previous state of the database was restored", create),
            Some(false) => ("the database was not changed", create),
        };
        let what = format!("{what}; {state}");
        Error::Docker(DockerError::Removed {
            container,
            what,
            unfinished: changed.is_none(),
            hint: Some(Hint::advice(hint)),
        })
    }

    /// Whether a run that ends with `cause` is left to `recover`, because only the container is missing.
    pub(super) fn waits_for_container(&self, cause: &Error) -> bool {
        matches!(cause, Error::Docker(DockerError::Removed { .. }))
            && matches!(self.journal.record.phase, Phase::Committed | Phase::Seen)
    }
}
