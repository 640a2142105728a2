//! Stopping, starting and pausing: what is done to a container, and the proof that it was.

use std::future::Future;
use std::time::{Duration, Instant};

use bollard::query_parameters::{StartContainerOptions, StopContainerOptionsBuilder};
use chrono::{DateTime, TimeDelta, Utc};

use super::{Container, Docker, Life, Orchestrator, status};
use crate::error::{Error, Result};

/// How often a waiting caller is told the time.
const TICK: Duration = Duration::from_millis(100);

/// How long a container may refuse to be frozen.
const FREEZING: Duration = Duration::from_secs(10);

/// The least time that a server is given to stop. It needs 4 to 5 s, and gives itself 30 (read in 2.5.3).
pub const GRACE: Duration = Duration::from_secs(60);

/// The beginning of a run, against which a restart loop and new log lines are told.
#[derive(Clone, Debug)]
pub struct Start {
    /// Log lines from before this are not of this run; None when there are none. By the engine's clock.
    pub at: Option<DateTime<Utc>>,
    /// How often the restart policy had started the container by then.
    pub restart_count: i64,
}

impl Container {
    /// The run that this container was in, or had ended, when it was looked at.
    pub fn run(&self) -> Start {
        let at = match self.state.life {
            // The end of the run before.
            Life::Running | Life::Paused => self.state.finished_at,
            // The engine notes the beginning late, when a process that ends at once has already had its say.
            Life::Restarting | Life::Stopped => self.state.started_at.map(|at| at - TimeDelta::seconds(1)),
        };
        Start { at, restart_count: self.state.restart_count }
    }

    /// Whether this container can be stopped and started again.
    ///
    /// # Errors
    /// [`Error::Refused`] when stopping would delete the container (`--rm`) or make a swarm start another one.
    pub fn check_stoppable(&self) -> Result<()> {
        let name = &self.name;
        let elsewhere = "and name its data folder with `-t` instead";
        match &self.orchestrator {
            _ if self.auto_remove => Err(Error::Refused(format!(
                "container `{name}` was started with `--rm`: the engine deletes it when it stops"
            ))),
            Some(Orchestrator::Swarm(service)) => Err(Error::Refused(format!(
                "container `{name}` belongs to the swarm service `{service}`, which would start another in its place: \
                 `docker service scale {service}=0` first, {elsewhere}"
            ))),
            Some(Orchestrator::Kubernetes(namespace, pod)) => Err(Error::Refused(format!(
                "container `{name}` belongs to the pod `{pod}`, and Kubernetes would start another in its place: \
                 `kubectl -n {namespace} scale --replicas=0` what owns it first, {elsewhere}"
            ))),
            None => Ok(()),
        }
    }
}

impl Docker {
    /// Stops the container by its stop signal, and waits until it has ended. It gets `grace` ([`GRACE`] at least, if it
    /// is a server), and is not killed after that. A paused one is unpaused first, so that it can end in order. Its
    /// restart policy does not revive it, except when the engine itself starts anew under the policy `always`.
    ///
    /// `tick` hears every 100 ms how long it has taken; an error it returns ends the waiting, not the stopping.
    ///
    /// # Errors
    /// [`Error::WouldNotStop`] after `grace`; the signal stays delivered, so the container may yet end.
    /// What [`Container::check_stoppable`] refuses.
    pub fn stop(
        &self,
        container: &Container,
        grace: Duration,
        tick: &mut dyn FnMut(Duration) -> Result<()>,
    ) -> Result<()> {
        let now = self.again(container)?;
        if now.state.life == Life::Stopped {
            return Ok(());
        }
        now.check_stoppable()?;
        if now.state.life == Life::Paused {
            self.unpause(&now)?;
        }
        self.end(&now, grace, tick)
    }

    /// Has the engine stop `container` without ever killing it, and sees that it did within `grace`.
    pub(super) fn end(
        &self,
        container: &Container,
        grace: Duration,
        tick: &mut dyn FnMut(Duration) -> Result<()>,
    ) -> Result<()> {
        // 68 years: no SIGKILL, however long it takes; -1 says the same, but not to Podman. The engine goes on when this
        // request is dropped.
        let options = StopContainerOptionsBuilder::default().t(i32::MAX).build();
        let patient = self.client.clone().with_timeout(grace + Duration::from_secs(30));
        let would_not = || Error::WouldNotStop { container: container.name.clone(), seconds: grace.as_secs() };
        match self.watch(patient.stop_container(&container.id, Some(options)), grace, tick)? {
            Some(Err(error)) if status(&error) != Some(304) => {
                return Err(self.failed("stop", &container.name, &error));
            }
            Some(_) => {}
            None => return Err(would_not()),
        }
        match self.again(container)?.state.life {
            Life::Stopped => Ok(()),
            _ => Err(would_not()),
        }
    }

    /// Starts the container, or unpauses it; nothing when it runs.
    pub fn start(&self, container: &Container) -> Result<Start> {
        let now = self.again(container)?;
        match now.state.life {
            Life::Running | Life::Restarting => return Ok(now.run()),
            Life::Paused => return self.unpause(&now).map(|()| now.run()),
            Life::Stopped => {}
        }
        match self.block(self.client.start_container(&now.id, None::<StartContainerOptions>)) {
            Err(error) if status(&error) != Some(304) => return Err(self.failed("start", &now.name, &error)),
            _ => {}
        }
        // It may have crashed and been restarted by now, so what it says of this run's beginning is of no use; the end of
        // the one before is. The engine counts restarts anew from here.
        Ok(Start { at: now.state.finished_at, restart_count: 0 })
    }

    /// Brings the container into the state `before`, in which it was found. For [`Life::Stopped`] it is stopped as
    /// [`stop`](Self::stop) does.
    pub fn put_back(
        &self,
        container: &Container,
        before: Life,
        grace: Duration,
        tick: &mut dyn FnMut(Duration) -> Result<()>,
    ) -> Result<()> {
        match before {
            Life::Running | Life::Restarting => self.start(container).map(drop),
            Life::Paused if self.again(container)?.state.life == Life::Paused => Ok(()),
            Life::Paused => {
                self.start(container)?;
                self.pause(container)
            }
            Life::Stopped => self.stop(container, grace, tick),
        }
    }

    /// Freezes the container's processes. While one of them is just starting another, control groups of version 1 at
    /// times cannot freeze them all (runc 1.1.5, "unable to freeze"); a moment later they can.
    pub fn pause(&self, container: &Container) -> Result<()> {
        let begin = Instant::now();
        loop {
            match self.block(self.client.pause_container(&container.id)) {
                Err(error) if error.to_string().contains("unable to freeze") && begin.elapsed() < FREEZING => {
                    std::thread::sleep(TICK);
                }
                paused => return paused.map_err(|error| self.failed("pause", &container.name, &error)),
            }
        }
    }

    fn unpause(&self, container: &Container) -> Result<()> {
        let unpaused = self.block(self.client.unpause_container(&container.id));
        unpaused.map_err(|error| self.failed("unpause", &container.name, &error))
    }

    /// Waits for `future` until `limit`, telling `tick` the time; None when it took longer.
    pub(super) fn watch<T>(
        &self,
        future: impl Future<Output = T>,
        limit: Duration,
        tick: &mut dyn FnMut(Duration) -> Result<()>,
    ) -> Result<Option<T>> {
        let begin = Instant::now();
        self.block(async {
            let mut future = std::pin::pin!(future);
            loop {
                if let Ok(done) = tokio::time::timeout(TICK, future.as_mut()).await {
                    return Ok(Some(done));
                }
                tick(begin.elapsed())?;
                if begin.elapsed() >= limit {
                    return Ok(None);
                }
            }
        })
    }
}
