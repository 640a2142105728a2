//! A verified restart.

use super::Observer;
use super::begin::{check_ended, check_server};
use super::run::Run;
use super::work::{Mode, Outcome, Settings};
use crate::docker::RunState;
use crate::error::{DockerError, Error, Result};
use crate::instance::{Instance, Server};
use crate::kuma::read::read_last_beat;

/// Fails unless [`restart`] could begin now; changes nothing.
///
/// # Errors
/// The same as those of [`restart`] before the server is stopped.
pub fn check_restart(instance: &Instance, settings: &Settings) -> Result<()> {
    check_ended(instance, settings)?;
    instance.check_alone()?;
    check_server(instance, Mode::Stopped, settings.opens_lock)
}

/// Stops the server, starts it, and verifies that it is up. A server that was down is started.
///
/// # Errors
/// [`DockerError::NotUp`](crate::error::DockerError::NotUp) when it does not come up; nothing was written, so nothing is rolled back.
pub fn restart(instance: &Instance, settings: &Settings, observer: &mut dyn Observer) -> Result<Outcome> {
    let mut run = Run::begin(instance, settings, observer, |record, lock| {
        record.life = Some(RunState::Running);
        record.last_beat = instance.open_locked(lock)?.read(read_last_beat)?;
        Ok(())
    })?;
    let ended = run.stop(observer).and_then(|()| run.up(&[], observer));
    match ended {
        Err(
            cause @ (Error::Docker(DockerError::StopTimeout { .. }) | Error::Docker(DockerError::Migrating { .. })),
        ) => return Err(cause),
        Err(cause @ Error::Docker(DockerError::Removed { .. })) => {
            run.close()?;
            return Err(run.gone(cause, Some(false)));
        }
        // Whatever fails between stop and start, the server must not stay down.
        Err(_) if !instance.is_running()? => instance.container.as_ref().map_or(Ok(()), Server::start)?,
        _ => {}
    }
    run.close()?;
    ended.map(|()| run.outcome)
}
