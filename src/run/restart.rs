//! A restart that is watched.

use super::apply::{Mode, Outcome, Run, Settings, check_server, lock};
use super::journal::{Journal, Record};
use super::{Observer, Step};
use crate::docker::Life;
use crate::error::{Error, Result};
use crate::files::Lock;
use crate::instance::{Instance, Server};
use crate::kuma::read::read_last_beat;

/// Stops the server, starts it, and sees it working. A server that was down is started: that is what was asked for.
///
/// # Errors
/// [`Error::NotUp`] when it does not come back; nothing was written, so nothing is put back.
pub fn restart(instance: &Instance, settings: &Settings, observer: &mut dyn Observer) -> Result<Outcome> {
    let lock = lock(instance, settings)?;
    instance.check_alone()?;
    check_server(instance, Mode::Stopped, settings.opens_lock)?;
    observer.step(&Step::Journal)?;
    let mut record = Record::new(&settings.verb, instance, Some(Life::Running), Mode::Stopped, false);
    record.last_beat = read_last_beat_of(instance, &lock)?;
    let journal = Journal::open(instance.work(), record)?;
    let mut run = Run::new(instance, settings, journal, lock);
    let ended = run.stop(observer).and_then(|()| run.up(&[], observer));
    match ended {
        Err(cause @ (Error::WouldNotStop { .. } | Error::Migrating { .. })) => return Err(cause),
        // Whatever went wrong between stop and start, the server does not stay down.
        Err(_) if !instance.is_running()? => instance.container.as_ref().map_or(Ok(()), Server::start)?,
        _ => {}
    }
    run.close()?;
    ended.map(|()| run.outcome)
}

fn read_last_beat_of(instance: &Instance, lock: &Lock) -> Result<i64> {
    let session = instance.open_locked(lock)?;
    let last = session.connect().reader().and_then(|mut reader| read_last_beat(&mut *reader));
    session.close()?;
    last
}
