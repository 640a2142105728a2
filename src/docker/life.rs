//! Stopping, starting and pausing a container, with verification.

use std::future::Future;
use std::time::{Duration, Instant};

use bollard::query_parameters::{StartContainerOptions, StopContainerOptionsBuilder};
use chrono::{DateTime, TimeDelta, Utc};

use super::{Container, Docker, Orchestrator, RunState, status};
use crate::error::{DockerError, Error, Result};
use crate::wait::Deadline;

/// Interval of `tick` calls.
const TICK: Duration = Duration::from_millis(100);

/// How long pausing is retried.
const FREEZING: Duration = Duration::from_secs(10);

/// Minimum shutdown timeout of a server. It needs 4 to 5 s, and gives itself 30 (read in 2.5.3).
pub const GRACE: Duration = Duration::from_secs(60);

/// The beginning of a run, to recognise restart loops and new log lines.
#[derive(Clone, Debug)]
pub struct Start {
    /// Log lines from before this time do not belong to this run; None when there are none. By the engine's clock.
    pub at: Option<DateTime<Utc>>,
    /// Number of restarts by the restart policy until then.
    pub restart_count: i64,
}

impl Container {
    /// The run that this container was in, or had ended, when it was inspected.
    pub fn run(&self) -> Start {
        let at = match self.state.life {
            // The end of the previous run.
            RunState::Running | RunState::Paused => self.state.finished_at,
            // The engine records the start late, when a process that ends at once has already written its log.
            RunState::Restarting | RunState::Stopped => self.state.started_at.map(|at| at - TimeDelta::seconds(1)),
        };
        Start { at, restart_count: self.state.restart_count }
    }

    /// Whether this container can be stopped and started again.
    ///
    /// # Errors
    /// [`DockerError::AutoRemove`](crate::error::DockerError::AutoRemove) when stopping would delete the container (`--rm`) or make a swarm start another one.
    pub fn check_stoppable(&self) -> Result<()> {
        let name = &self.name;
        match &self.orchestrator {
            _ if self.auto_remove => Err(Error::Docker(DockerError::AutoRemove { container: name.clone() })),
            Some(Orchestrator::Swarm(service)) => {
                Err(Error::Docker(DockerError::Swarm { container: name.clone(), service: service.clone() }))
            }
            Some(Orchestrator::Kubernetes(namespace, pod)) => Err(Error::Docker(DockerError::Kubernetes {
                container: name.clone(),
                namespace: namespace.clone(),
                pod: pod.clone(),
            })),
            None => Ok(()),
        }
    }
}

impl Docker {
    /// Stops the container with its stop signal, and waits until it has ended. The shutdown timeout is `grace` (at least
    /// [`GRACE`] for a server), and it is not killed after that. A paused container is unpaused first, so that it can end
    /// cleanly. Its restart policy does not restart it, unless the engine itself restarts under the policy `always`.
    ///
    /// `tick` is called every 100 ms with the elapsed time; an error it returns ends the waiting, not the stopping.
    ///
    /// # Errors
    /// [`DockerError::StopTimeout`] after `grace`; the signal was delivered, so the container may still end. The errors of
    /// [`Container::check_stoppable`].
    pub fn stop(
        &self,
        container: &Container,
        grace: Duration,
        tick: &mut dyn FnMut(Duration) -> Result<()>,
    ) -> Result<()> {
        let now = self.again(container)?;
        if now.state.life == RunState::Stopped {
            return Ok(());
        }
        now.check_stoppable()?;
        if now.state.life == RunState::Paused {
            self.unpause(&now)?;
        }
        self.end(&now, grace, tick)
    }

    /// Makes the engine stop `container` without ever killing it, and verifies that it did within `grace`.
    pub(super) fn end(
        &self,
        container: &Container,
        grace: Duration,
        tick: &mut dyn FnMut(Duration) -> Result<()>,
    ) -> Result<()> {
        // 68 years: no SIGKILL, however long it takes; -1 means the same, but not for Podman. The engine continues when this
        // request is dropped.
        let options = StopContainerOptionsBuilder::default().t(i32::MAX).build();
        let patient = self.client.clone().with_timeout(grace + Duration::from_secs(30));
        let would_not =
            || Error::Docker(DockerError::StopTimeout { container: container.name.clone(), seconds: grace.as_secs() });
        match self.watch(patient.stop_container(&container.id, Some(options)), grace, tick)? {
            Some(Err(error)) if status(&error) != Some(304) => {
                return Err(self.failed("stop", &container.name, &error));
            }
            Some(_) => {}
            None => return Err(would_not()),
        }
        match self.again(container)?.state.life {
            RunState::Stopped => Ok(()),
            _ => Err(would_not()),
        }
    }

    /// Checks that the engine would also start `container` again, before it is stopped: for a container that runs, the
    /// request has no effect.
    ///
    /// # Errors
    /// [`DockerError::Action`], where the engine, or a proxy in front of it, does not allow it.
    pub fn check_startable(&self, container: &Container) -> Result<()> {
        if self.again(container)?.state.life != RunState::Running {
            return Ok(());
        }
        match self.block(self.client.start_container(&container.id, None::<StartContainerOptions>)) {
            Err(error) => match self.failed("start", &container.name, &error) {
                refused if refused.is_forbidden() => Err(refused),
                _ => Ok(()),
            },
            Ok(()) => Ok(()),
        }
    }

    /// Starts the container, or unpauses it; does nothing when it runs.
    pub fn start(&self, container: &Container) -> Result<Start> {
        let now = self.again(container)?;
        match now.state.life {
            RunState::Running | RunState::Restarting => return Ok(now.run()),
            RunState::Paused => return self.unpause(&now).map(|()| now.run()),
            RunState::Stopped => {}
        }
        match self.block(self.client.start_container(&now.id, None::<StartContainerOptions>)) {
            Err(error) if status(&error) != Some(304) => return Err(self.failed("start", &now.name, &error)),
            _ => {}
        }
        // It may have crashed and been restarted by now, so its start time is useless; the end of the previous run is reliable.
        // The engine restarts its count of restarts here.
        Ok(Start { at: now.state.finished_at, restart_count: 0 })
    }

    /// Restores the state `before`, in which the container was found. For [`RunState::Stopped`] it is stopped as by
    /// [`stop`](Self::stop).
    pub fn put_back(
        &self,
        container: &Container,
        before: RunState,
        grace: Duration,
        tick: &mut dyn FnMut(Duration) -> Result<()>,
    ) -> Result<()> {
        match before {
            RunState::Running | RunState::Restarting => self.start(container).map(drop),
            RunState::Paused if self.again(container)?.state.life == RunState::Paused => Ok(()),
            RunState::Paused => {
                self.start(container)?;
                self.pause(container)
            }
            RunState::Stopped => self.stop(container, grace, tick),
        }
    }

    /// Pauses the container's processes. While a process is being started, control groups of version 1 sometimes cannot freeze
    /// them all (runc 1.1.5, "unable to freeze"); a moment later they can.
    pub fn pause(&self, container: &Container) -> Result<()> {
        let deadline = Deadline::after(FREEZING, TICK);
        loop {
            match self.block(self.client.pause_container(&container.id)) {
                Err(error) if error.to_string().contains("unable to freeze") && deadline.wait() => {}
                paused => return paused.map_err(|error| self.failed("pause", &container.name, &error)),
            }
        }
    }

    fn unpause(&self, container: &Container) -> Result<()> {
        let unpaused = self.block(self.client.unpause_container(&container.id));
        unpaused.map_err(|error| self.failed("unpause", &container.name, &error))
    }

    /// Waits for `future` until `limit`, calling `tick`; None when it took longer.
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
