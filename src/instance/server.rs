//! The container of an instance: stopping, starting, and verifying that it is up.

use std::cell::RefCell;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::RemoteData;
use crate::docker::{Answer, Container, Docker, Helper, Image, LogRange, RunState, ServerFiles, Start, Successor};
use crate::error::{DockerError, Error, Result, TargetError};
use crate::wait::Deadline;

/// How long a removed container may take to be recreated: compose takes a second, a person longer.
const RECREATION: Duration = Duration::from_secs(10);

/// How long to check whether a container that was stopped by something else is being recreated.
const LEAVING: Duration = Duration::from_secs(3);

const PAUSE: Duration = Duration::from_millis(100);

/// A server in a container. It is followed by name and data folder when the container is recreated with another id.
pub struct Server {
    docker: Arc<Docker>,
    /// The container that was found.
    first: Arc<Container>,
    /// The current container: another one, once it was recreated.
    container: Mutex<Arc<Container>>,
    /// The run that kumadb started, which [`wait_up`](Server::wait_up) checks.
    started: Mutex<Option<Start>>,
}

impl Server {
    /// The server in `container`.
    pub fn new(docker: Arc<Docker>, container: Container) -> Server {
        let first = Arc::new(container);
        Server { docker, container: Mutex::new(first.clone()), first, started: Mutex::new(None) }
    }

    /// The same server, as it is now.
    pub fn again(&self) -> Server {
        let container = Mutex::new(self.container());
        Server { docker: self.docker.clone(), first: self.first.clone(), container, started: Mutex::new(None) }
    }

    /// Its data folder as one that only its host can use, in its network.
    pub(super) fn remote_data(&self, folder: &Path) -> RemoteData {
        RemoteData { docker: self.docker.clone(), container: self.container(), folder: folder.to_owned() }
    }

    /// The container's id.
    pub fn id(&self) -> String {
        self.container().id.clone()
    }

    /// The container's name.
    pub fn name(&self) -> String {
        self.container().name.clone()
    }

    /// The container as it was when it was found, or found again.
    pub fn container(&self) -> Arc<Container> {
        locked(&self.container).clone()
    }

    /// Whether it still has the image that it was found with.
    pub fn has_same_image(&self) -> bool {
        self.container().image_id == self.first.image_id
    }

    /// The current container, or its successor; `None` where neither exists now.
    fn find(&self) -> Result<Option<Container>> {
        self.look().map(Result::ok)
    }

    /// The same, or why there is none.
    fn look(&self) -> Result<Result<Container, Error>> {
        let known = self.container();
        Ok(match self.docker.successor(&known)? {
            Successor::Same(now) => Ok(*now),
            Successor::New(now) => {
                *locked(&self.container) = Arc::new((*now).clone());
                *locked(&self.started) = None;
                Ok(*now)
            }
            Successor::Elsewhere(folder) => {
                let there = folder.map_or_else(|| "on no volume".to_owned(), |folder| format!("in `{folder}`"));
                let what = format!("was recreated with its data {there}, so it no longer uses this data folder");
                Err(self.removed(what))
            }
            Successor::None => Err(self.removed("was removed and not recreated".into())),
        })
    }

    fn removed(&self, what: String) -> Error {
        Error::Docker(DockerError::Removed { container: self.name(), what, unfinished: false, hint: None })
    }

    /// The current container, or its successor, which is waited for.
    ///
    /// # Errors
    /// [`DockerError::Removed`](crate::error::DockerError::Removed).
    fn present(&self) -> Result<Container> {
        let deadline = Deadline::after(RECREATION, PAUSE);
        loop {
            match self.look()? {
                Ok(now) => return Ok(now),
                Err(_) if deadline.wait() => {}
                Err(gone) => return Err(gone),
            }
        }
    }

    /// Whether it is the container that kumadb started, not a successor.
    pub fn is_started(&self) -> bool {
        locked(&self.started).is_some()
    }

    /// Whether `error`, which occurred while waiting for the server, comes from its container being recreated.
    ///
    /// # Errors
    /// [`DockerError::Removed`] when it was removed and not recreated.
    pub fn was_replaced(&self, error: &Error) -> Result<bool> {
        let known = self.id();
        match error {
            Error::Docker(DockerError::Removed { .. }) => self.present().map(|now| now.id != known),
            Error::Docker(DockerError::NotUp { .. }) => self.is_leaving(&known),
            _ => Ok(false),
        }
    }

    /// Whether the container `known`, which ended regularly, is being replaced: it is stopped before it is removed.
    /// removed.
    fn is_leaving(&self, known: &str) -> Result<bool> {
        let deadline = Deadline::after(LEAVING, PAUSE);
        loop {
            match self.find()? {
                None => return self.present().map(|now| now.id != known),
                Some(now) if now.id != known => return Ok(true),
                Some(now) => {
                    let reported = now.state.life == RunState::Stopped && [0, 137, 143].contains(&now.state.exit_code);
                    if !reported || now.state.oom_killed || !deadline.wait() {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// The URL of its page, if a port of it is published on this machine.
    pub fn published(&self) -> Option<String> {
        self.container().published_port.map(|port| format!("http://localhost:{port}"))
    }

    /// Addresses where it may respond from outside, the likeliest first, with a description of each.
    pub fn addresses(&self) -> Result<Vec<(String, &'static str)>> {
        Ok(self.docker.addresses(&self.present()?))
    }

    /// Its state, see [`State::life_so_far`](crate::docker::State::life_so_far).
    pub fn life(&self) -> Result<RunState> {
        Ok(self.present()?.state.life_so_far())
    }

    /// The files of its image and their release, where they can be read.
    pub fn shipped(&self) -> Result<Option<ServerFiles>> {
        self.docker.shipped(&self.container())
    }

    /// The same without the release.
    pub fn migration_files(&self) -> Result<Option<ServerFiles>> {
        self.docker.migration_files(&self.container())
    }

    /// Whether its engine has the image `name`.
    pub fn has_image(&self, name: &str) -> Result<bool> {
        Ok(self.docker.image(name)?.is_some())
    }

    /// Whether its processes exist, paused or not: then nothing may be written beside them. A removed container has
    /// none.
    pub fn is_running(&self) -> Result<bool> {
        Ok(self.find()?.is_some_and(|now| now.state.life_so_far() != RunState::Stopped))
    }

    /// Whether it shows the page of a running migration.
    pub fn is_migrating(&self) -> Result<bool> {
        let Some(now) = self.find()? else { return Ok(false) };
        Ok(now.state.life_so_far() == RunState::Running && self.docker.probe(&now)? == Answer::Migrating)
    }

    /// Fails when it cannot be stopped and started again, see [`Container::check_stoppable`] and
    /// [`Docker::check_startable`].
    pub fn check_stoppable(&self) -> Result<()> {
        let container = self.container();
        container.check_stoppable()?;
        self.docker.check_startable(&container)
    }

    /// Names of other running servers on its data folder.
    pub fn others(&self) -> Result<Vec<String>> {
        self.docker.others_on(&self.container())
    }

    /// Fails when another running container uses the same data folder.
    pub fn check_alone(&self, folder: &Path) -> Result<()> {
        let others = self.others()?;
        if others.is_empty() {
            return Ok(());
        }
        let containers = std::iter::once(self.name()).chain(others).collect();
        Err(Error::Target(TargetError::TwoContainers { folder: folder.display().to_string(), containers }))
    }

    /// Stops it, with the shutdown timeout `grace`.
    ///
    /// # Errors
    /// [`DockerError::Replaced`] when its container was recreated meanwhile, and
    /// that one runs; [`DockerError::Removed`].
    pub fn stop(&self, grace: Duration) -> Result<()> {
        match self.docker.stop(&self.present()?, grace, &mut |_| Ok(())) {
            Err(Error::Docker(DockerError::Removed { .. })) => match self.present()?.state.life {
                RunState::Stopped => Ok(()),
                _ => Err(self.meanwhile()),
            },
            stopped => stopped,
        }
    }

    /// The error of a run that finds the stopped server running.
    pub fn meanwhile(&self) -> Error {
        Error::Docker(DockerError::Replaced { container: self.name() })
    }

    /// Starts it, or its successor.
    pub fn start(&self) -> Result<()> {
        let deadline = Deadline::after(RECREATION, PAUSE);
        loop {
            match self.docker.start(&self.present()?) {
                // It was removed between the check and the start, or is about to be.
                Err(Error::Docker(DockerError::Removed { .. })) if deadline.wait() => {}
                started => {
                    *locked(&self.started) = Some(started?);
                    return Ok(());
                }
            }
        }
    }

    /// Pauses it again, where it was paused before.
    pub fn put_back(&self, life: RunState, grace: Duration) -> Result<()> {
        self.docker.put_back(&self.present()?, life, grace, &mut |_| Ok(()))
    }

    /// Waits until it is verified up, see [`Docker::wait_up`]. Returns how long ago it first responded. A container
    /// that is recreated meanwhile is started and waited for instead.
    pub fn wait_up(&self, deadline: Duration) -> Result<Duration> {
        let end = Instant::now() + deadline;
        loop {
            let now = self.present()?;
            let start = match locked(&self.started).clone() {
                Some(start) => start,
                None => now.run(),
            };
            let waited = RefCell::new(Duration::ZERO);
            let left = end.saturating_duration_since(Instant::now());
            let first = self.docker.wait_up(&now, &start, left, &mut |so_far| {
                *waited.borrow_mut() = so_far;
                Ok(())
            });
            match first {
                Err(error) if self.was_replaced(&error)? => self.start()?,
                first => return Ok(waited.into_inner().saturating_sub(first?)),
            }
        }
    }

    /// Fails when it has ended or was restarted since kumadb started it.
    pub fn check_run(&self) -> Result<()> {
        let start = locked(&self.started).clone();
        start.map_or(Ok(()), |start| self.docker.check_run(&self.container(), &start))
    }

    /// The last error lines of its current run.
    pub fn last_errors(&self) -> Vec<String> {
        let since = locked(&self.started).as_ref().and_then(|start| start.at);
        self.docker.last_errors(&self.container(), since)
    }

    /// The lines of `range` of its log.
    pub fn logs(&self, range: LogRange) -> Result<Vec<String>> {
        self.docker.logs(&self.container(), range)
    }

    /// The same, then each new line, see [`Docker::follow_logs`].
    pub fn follow_logs(
        &self,
        range: LogRange,
        goes_on: &mut dyn FnMut() -> bool,
        line: &mut dyn FnMut(&str) -> Result<bool>,
    ) -> Result<()> {
        self.docker.follow_logs(&self.container(), range, goes_on, line)
    }

    /// Opens the embedded MariaDB of this stopped server in a helper container.
    pub fn start_helper(&self, label: &str, ready: &mut dyn FnMut() -> bool) -> Result<Helper<'_>> {
        self.remove_stale_helpers(label)?;
        Helper::start(&self.docker, &self.present()?, label, Some(ready))
    }

    /// Creates a new embedded MariaDB with the programs of its image, in the folder `data`, and opens it in a helper
    /// container.
    pub fn install_helper(&self, data: &Path, label: &str, ready: &mut dyn FnMut() -> bool) -> Result<Helper<'_>> {
        Helper::install(&self.docker, &Image::of(&self.container()), data, label, ready)
    }

    /// Removes what an earlier run left of such a helper: its label contains a path that only kumadb uses.
    pub fn remove_installed(&self, label: &str) -> Result<()> {
        let stale = self.docker.stale_helpers()?;
        stale.iter().filter(|stale| stale.label == label).try_for_each(|stale| self.docker.remove_helper(stale))
    }

    /// Whether its image has an embedded MariaDB.
    pub fn has_mariadb(&self) -> bool {
        Image::of(&self.container()).has_mariadb
    }

    /// Removes helper containers with this label that an earlier run left.
    pub fn remove_stale_helpers(&self, label: &str) -> Result<()> {
        // The label may be one that only a journal names, whose folder may belong to an attacker: a helper on other data is in
        // use by another run.
        let server = self.container();
        let shares = |stale: &Container| {
            stale.mounts.iter().any(|mount| server.mounts.iter().any(|ours| ours.source == mount.source))
        };
        for stale in self.docker.stale_helpers()? {
            if stale.label == label && shares(&stale.container) {
                self.docker.remove_helper(&stale)?;
            }
        }
        Ok(())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
