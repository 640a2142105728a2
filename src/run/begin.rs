//! Whether a run may begin: nobody else is at work, and the server can be stopped and started again.

use super::apply::{Mode, Run, Settings};
use super::journal::{Journal, Record};
use super::migration::check_settled;
use super::{Observer, Step};
use crate::engine::EngineKind;
use crate::error::{Error, Result};
use crate::files::Lock;
use crate::instance::Instance;

impl<'a> Run<'a> {
    /// Locks `instance`, looks whether its server can be stopped now, and notes what is about to happen, with what `note`
    /// adds to it.
    pub(super) fn begin(
        instance: &'a Instance,
        settings: &'a Settings,
        observer: &mut dyn Observer,
        note: impl FnOnce(&mut Record, &Lock) -> Result<()>,
    ) -> Result<Run<'a>> {
        let lock = lock(instance, settings)?;
        instance.check_alone()?;
        check_server(instance, Mode::Stopped, settings.opens_lock)?;
        observer.step(&Step::Journal)?;
        let mut record = Record::new(&settings.verb, instance, instance.life()?, Mode::Stopped, false);
        note(&mut record, &lock)?;
        Ok(Run::new(instance, settings, Journal::open(instance.work(), record)?, lock))
    }
}

/// The mode that `mode` comes to here.
pub(super) fn check_mode(instance: &Instance, mode: Mode, running: bool) -> Result<Mode> {
    match (mode, instance.engine()) {
        (Mode::Stopped, EngineKind::MariaDb) if instance.container.is_none() => match instance.read_others()? {
            0 => Ok(mode),
            connections => Err(Error::InUse { database: format!("the database of `{}`", instance.name), connections }),
        },
        (Mode::Live | Mode::LiveThenRestart, EngineKind::Sqlite) if running => {
            Err(Error::Running { what: "the server is running, and SQLite must not be written beside it".into() })
        }
        // With no server to go on, a SQLite file is written as always: when nobody has it open.
        (_, EngineKind::Sqlite) => Ok(Mode::Stopped),
        _ => Ok(mode),
    }
}

/// Locks `instance`, whose earlier work must be finished.
pub(super) fn lock(instance: &Instance, settings: &Settings) -> Result<Lock> {
    let lock = instance.lock(&settings.verb)?;
    match Journal::read(instance.work())? {
        Some(journal) => Err(journal.record.unfinished()),
        None => Ok(lock),
    }
}

/// Fails unless the server, if it runs, can be stopped now and started again.
pub(super) fn check_server(instance: &Instance, mode: Mode, opens_lock: bool) -> Result<()> {
    let Some(server) = &instance.container else { return Ok(()) };
    if !server.is_running()? {
        return Ok(());
    }
    if mode != Mode::Live {
        server.check_stoppable()?;
    }
    // The lock that a server left which ends again and again is no reason not to open it; the page of a migration is one.
    if opens_lock && !server.is_migrating()? {
        return Ok(());
    }
    check_settled(instance)
}
