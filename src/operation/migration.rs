//! Servers that are migrating their database: they must not be stopped, and their database is between two releases.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Observer, Step};
use crate::error::{Error, OperationError, Result};
use crate::files;
use crate::instance::{DbLocation, Instance, Server};
use crate::kuma::read::read_migrating;
use crate::kuma::upgrade::read_state;
use crate::upgrade::settings::AggregationState;

/// Polling interval for a server that migrates.
const LOOK: Duration = Duration::from_secs(1);

/// Whether a running server is migrating its database. It shows a page while it fills the statistics; during every
/// other migration the only sign is a lock in the database. Where no container is known, open connections to the
/// database indicate a running server, and a setting that it fills them.
pub(super) fn is_migrating(instance: &Instance) -> Result<bool> {
    let is_locked = || instance.connect()?.reader().map(|mut reader| read_migrating(&mut *reader));
    match &instance.container {
        Some(server) => Ok(server.is_running()? && (is_locked().unwrap_or(false) || shows_page(instance, server)?)),
        None if matches!(instance.place, DbLocation::Sqlite(_)) => {
            let is_filling =
                || read_aggregation(instance).is_ok_and(|state| state == Some(AggregationState::Interrupted));
            Ok(is_used(instance)? && (is_locked().unwrap_or(false) || is_filling()))
        }
        None => Ok(is_locked()? && is_used(instance)?),
    }
}

/// Whether a server shows the page of a running migration. A request for it starts two processes in its container, and
/// it shows none once its setting has that the statistics are filled (2.0.0 to 2.5.3).
pub(super) fn shows_page(instance: &Instance, server: &Server) -> Result<bool> {
    let is_done = read_aggregation(instance).is_ok_and(|state| state == Some(AggregationState::Done));
    if is_done { Ok(false) } else { server.is_migrating() }
}

fn read_aggregation(instance: &Instance) -> Result<Option<AggregationState>> {
    read_state(&mut *instance.connect()?.reader()?)
}

fn is_used(instance: &Instance) -> Result<bool> {
    match &instance.place {
        DbLocation::Sqlite(file) => Ok(!files::holders(&file.parts()).is_empty()),
        _ => Ok(instance.read_others()? > 0),
    }
}

/// Fails while a server is migrating.
pub(super) fn check_settled(instance: &Instance) -> Result<()> {
    if is_migrating(instance)? {
        Err(busy(instance, "wait until the migration is done, then run the same command again"))
    } else {
        Ok(())
    }
}

/// Waits until no server is migrating, until `end` of `patience` at most.
///
/// # Errors
/// It is still migrating then; [`OperationError::Interrupted`](crate::error::OperationError::Interrupted).
pub(super) fn wait_settled(
    instance: &Instance,
    patience: Duration,
    end: Instant,
    observer: &mut dyn Observer,
) -> Result<()> {
    let (began, mut waited) = (Instant::now(), Duration::ZERO);
    while is_migrating(instance)? {
        if Instant::now() >= end {
            return Err(if patience.is_zero() {
                busy(instance, "run the same command again when the migration is done, or add `--wait 10m`")
            } else {
                busy(instance, &format!("waited for {} s", patience.as_secs()))
            });
        }
        observer.step(&Step::WaitSettled { waited })?;
        sleep(LOOK);
        waited = began.elapsed();
    }
    Ok(())
}

fn busy(instance: &Instance, what: &str) -> Error {
    let name = &instance.name;
    Error::Operation(OperationError::Migrating { instance: name.clone(), what: what.to_owned() })
}
