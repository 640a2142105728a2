//! Preconditions of a run: no other process works on the instance, and the server can be stopped and started.

use super::finish::settle;
use super::journal::{Journal, JournalRecord, Phase};
use super::migration::check_settled;
use super::run::Run;
use super::work::{Mode, Settings};
use super::{Observer, Step};
use crate::engine::EngineKind;
use crate::error::{Error, OperationError, Result};
use crate::files::{Lock, LockScope};
use crate::instance::{DbLocation, Instance};

impl<'a> Run<'a> {
    /// Locks `instance`, checks that its server can be stopped now, and opens the journal; `note` completes the record.
    pub(super) fn begin(
        instance: &'a Instance,
        settings: &'a Settings,
        observer: &mut dyn Observer,
        note: impl FnOnce(&mut JournalRecord, &Lock) -> Result<()>,
    ) -> Result<Run<'a>> {
        let lock = lock(instance, settings)?;
        report_network(instance, observer)?;
        instance.check_config()?;
        instance.check_alone()?;
        check_server(instance, Mode::Stopped, settings.opens_lock)?;
        observer.step(&Step::Journal)?;
        let mut record = JournalRecord::new(&settings.verb, instance, instance.life()?, Mode::Stopped, false);
        note(&mut record, &lock)?;
        Ok(Run::new(instance, settings, Journal::open(instance.work(), record)?, lock))
    }
}

/// The mode that `mode` becomes for this instance.
pub(super) fn check_mode(instance: &Instance, mode: Mode, running: bool) -> Result<Mode> {
    match (mode, instance.engine()) {
        (Mode::Stopped, EngineKind::MariaDb) if instance.container.is_none() => match instance.read_others()? {
            0 => Ok(mode),
            connections => Err(Error::Operation(OperationError::InUse {
                database: format!("the database of `{}`", instance.name),
                connections,
            })),
        },
        (Mode::Live | Mode::LiveThenRestart, EngineKind::Sqlite) if running => {
            Err(Error::Operation(OperationError::ServerRunning {
                what: "the server is running; kumadb must not write to a SQLite database at the same time".into(),
            }))
        }
        // Without a running server, a SQLite file is written as usual: while no process has it open.
        (_, EngineKind::Sqlite) => Ok(Mode::Stopped),
        _ => Ok(mode),
    }
}

/// Fails where heartbeats are to be waited for after a restart that kumadb cannot make.
pub(super) fn check_wait(instance: &Instance, settings: &Settings) -> Result<()> {
    if settings.wait_beats.is_some() && instance.container.is_none() {
        Err(OperationError::CannotWait { instance: instance.name.clone() }.into())
    } else {
        Ok(())
    }
}

/// Locks `instance`, whose earlier operation must be finished. An operation that is complete except for its undo
/// snapshot is ended here.
pub(super) fn lock(instance: &Instance, settings: &Settings) -> Result<Lock> {
    let lock = instance.lock(&settings.verb)?;
    match Journal::read(instance.work())? {
        Some(journal) if journal.record.phase == Phase::Seen && journal.record.origin == instance.origin() => {
            let mut run = Run::new(instance, settings, journal, lock);
            settle(&mut run)?;
            Ok(run.lock)
        }
        Some(journal) => Err(journal.record.unfinished()),
        None => Ok(lock),
    }
}

/// Ends an earlier write to `instance` that is complete except for its undo snapshot, as every write does before it
/// begins. Afterwards the snapshots of all writes can be listed.
///
/// # Errors
/// [`OperationError::Unfinished`](crate::error::OperationError::Unfinished) for what only `recover` can end;
/// [`OperationError::Locked`](crate::error::OperationError::Locked) while another process works on the instance.
pub fn settle_earlier(instance: &Instance, settings: &Settings) -> Result<()> {
    lock(instance, settings).map(drop)
}

/// Fails while an earlier write to `instance` is unfinished; changes nothing.
///
/// # Errors
/// [`OperationError::Unfinished`](crate::error::OperationError::Unfinished);
/// [`OperationError::Locked`](crate::error::OperationError::Locked) while another process works on the instance.
pub fn check_ended(instance: &Instance, settings: &Settings) -> Result<()> {
    let Some(journal) = Journal::read(instance.work())? else { return Ok(()) };
    instance.lock(&settings.verb)?;
    Err(journal.record.unfinished())
}

/// Warns where a server or a kumadb on another host would not see the lock: in a data folder that is mounted there
/// too, and in a Galera cluster, whose nodes have locks and connections of their own.
///
/// This is not refused: the server itself runs there all the time, and its database may be the one to repair.
pub(super) fn report_network(instance: &Instance, observer: &mut dyn Observer) -> Result<()> {
    if let DbLocation::External(address) = &instance.place
        && let Some(nodes) = address.cluster_nodes()?.filter(|&nodes| nodes > 1)
    {
        observer.step(&Step::Cluster { nodes })?;
    }
    match instance.network()? {
        Some(found) if instance.engine() == EngineKind::Sqlite && found.reach != LockScope::Hosts => {
            let what = found.words().unwrap_or_default();
            let what = format!(
                "{what}: make sure that no other host runs a server on it (SQLite on a network file system is unsafe)"
            );
            observer.step(&Step::Network { what })
        }
        _ => Ok(()),
    }
}

/// Fails unless the server, if it runs, can be stopped now and started again.
pub(super) fn check_server(instance: &Instance, mode: Mode, opens_lock: bool) -> Result<()> {
    let Some(server) = &instance.container else {
        // No user is asked to stop the server while it migrates.
        return match (&instance.place, opens_lock) {
            (DbLocation::Sqlite(_), false) => check_settled(instance),
            _ => Ok(()),
        };
    };
    if !server.is_running()? {
        return Ok(());
    }
    if mode != Mode::Live {
        server.check_stoppable()?;
    }
    // The migration lock of a server in a restart loop does not prevent opening the database; the page of a running migration
    // does.
    if opens_lock && !server.is_migrating()? {
        return Ok(());
    }
    check_settled(instance)
}
