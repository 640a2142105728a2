//! The container of an instance: stopped, started, and seen working.

use std::cell::RefCell;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::docker::{Answer, Container, Docker, Helper, Life, Shipped, Start};
use crate::error::{Error, Result};

/// A server in a container.
pub struct Server {
    docker: Arc<Docker>,
    container: Container,
    /// The run that we started, which [`wait_up`](Server::wait_up) looks at.
    started: Mutex<Option<Start>>,
}

impl Server {
    /// The server in `container`.
    pub fn new(docker: Arc<Docker>, container: Container) -> Server {
        Server { docker, container, started: Mutex::new(None) }
    }

    /// The container's id.
    pub fn id(&self) -> &str {
        &self.container.id
    }

    /// The container's name.
    pub fn name(&self) -> &str {
        &self.container.name
    }

    /// The container as it was when it was found.
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// Where people reach its page, if a port of it is published on this machine.
    pub fn published(&self) -> Option<String> {
        self.container.published_port.map(|port| format!("http://localhost:{port}"))
    }

    /// Where it may answer from outside as it runs now, the likeliest first, and what each address is.
    pub fn addresses(&self) -> Result<Vec<(String, &'static str)>> {
        Ok(self.docker.addresses(&self.docker.again(&self.container)?))
    }

    /// What it does, see [`State::life_so_far`](crate::docker::State::life_so_far).
    pub fn life(&self) -> Result<Life> {
        Ok(self.docker.again(&self.container)?.state.life_so_far())
    }

    /// What its image brings along, where that can be seen.
    pub fn shipped(&self) -> Result<Option<Shipped>> {
        self.docker.shipped(&self.container)
    }

    /// Whether its processes exist, frozen or not: then nothing may be written beside them.
    pub fn is_running(&self) -> Result<bool> {
        Ok(self.life()? != Life::Stopped)
    }

    /// Whether it shows the page that it has while it migrates its database.
    pub fn is_migrating(&self) -> Result<bool> {
        Ok(self.life()? == Life::Running && self.docker.probe(&self.container)? == Answer::Migrating)
    }

    /// Fails when it cannot be stopped and started again, see [`Container::check_stoppable`].
    pub fn check_stoppable(&self) -> Result<()> {
        self.container.check_stoppable()
    }

    /// Names of other running servers on its data folder.
    pub fn others(&self) -> Result<Vec<String>> {
        self.docker.others_on(&self.container)
    }

    /// Fails when another running container uses the same data folder.
    pub fn check_alone(&self, folder: &Path) -> Result<()> {
        let others = self.others()?;
        if others.is_empty() {
            return Ok(());
        }
        let containers = std::iter::once(self.name().to_owned()).chain(others).collect();
        Err(Error::TwoContainers { folder: folder.display().to_string(), containers })
    }

    /// Stops it, giving it `grace`.
    pub fn stop(&self, grace: Duration) -> Result<()> {
        self.docker.stop(&self.container, grace, &mut |_| Ok(()))
    }

    /// Starts it.
    pub fn start(&self) -> Result<()> {
        let start = self.docker.start(&self.container)?;
        *self.lock() = Some(start);
        Ok(())
    }

    /// Freezes it again, where that is what it was before.
    pub fn put_back(&self, life: Life, grace: Duration) -> Result<()> {
        self.docker.put_back(&self.container, life, grace, &mut |_| Ok(()))
    }

    /// Waits until it is seen working, see [`Docker::wait_up`]. Returns how long ago it first answered.
    pub fn wait_up(&self, deadline: Duration) -> Result<Duration> {
        let start = match self.lock().clone() {
            Some(start) => start,
            None => self.docker.again(&self.container)?.run(),
        };
        let waited = RefCell::new(Duration::ZERO);
        let first = self.docker.wait_up(&self.container, &start, deadline, &mut |so_far| {
            *waited.borrow_mut() = so_far;
            Ok(())
        })?;
        Ok(waited.into_inner().saturating_sub(first))
    }

    /// Fails when it has ended or was restarted since we started it.
    pub fn check_run(&self) -> Result<()> {
        let start = self.lock().clone();
        start.map_or(Ok(()), |start| self.docker.check_run(&self.container, &start))
    }

    /// The last error lines of its present run.
    pub fn last_errors(&self) -> Vec<String> {
        let since = self.lock().as_ref().and_then(|start| start.at);
        self.docker.last_errors(&self.container, since)
    }

    /// The last `tail` lines of its log.
    pub fn logs(&self, tail: u32) -> Result<Vec<String>> {
        self.docker.logs(&self.container, tail, None)
    }

    /// Opens the embedded MariaDB of this stopped server in a container of its own.
    pub fn start_helper(&self, label: &str, ready: &mut dyn FnMut() -> bool) -> Result<Helper<'_>> {
        self.remove_stale_helpers(label)?;
        Helper::start(&self.docker, &self.container, label, Some(ready))
    }

    /// Removes helper containers with this label that an earlier run left behind.
    pub fn remove_stale_helpers(&self, label: &str) -> Result<()> {
        for stale in self.docker.stale_helpers()?.iter().filter(|stale| stale.label == label) {
            self.docker.remove_helper(stale)?;
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Start>> {
        self.started.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
