//! Servers that are migrating their database: they must not be stopped, and their database is between two releases.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Observer, Step};
use crate::error::{Error, OperationError, Result};
use crate::files;
use crate::instance::{DbLocation, Instance};
use crate::kuma::read::read_migrating;
use crate::kuma::upgrade::read_state;
use crate::upgrade::settings::AggregationState;

/// Polling interval for a server that migrates.
const LOOK: Duration = Duration::from_secs(1);

/// Whether a running server is migrating its database. It shows a page while it fills the statistics; during every
/// other migration the only sign is a lock in the database. Where no container is known, open connections to the
/// database indicate a running server, and a setting that it fills them.
pub(super) fn is_migrating(instance: &Instance) -> Result<bool> {
    match &instance.container {
        Some(server) if !server.is_running()? => Ok(false),
        Some(server) => match read_signs(instance) {
            Ok(MigrationSigns { is_locked: true, .. }) => Ok(true),
            // A request for the page starts two processes in the container, and it is not shown any more (2.0.0 to 2.5.3).
            Ok(MigrationSigns { aggregation: Some(AggregationState::Done), .. }) => Ok(false),
            _ => server.is_migrating(),
        },
        None if matches!(instance.place, DbLocation::Sqlite(_)) => {
            let is_filling = Some(AggregationState::Interrupted);
            let shows = |signs: MigrationSigns| signs.is_locked || signs.aggregation == is_filling;
            Ok(is_used(instance)? && read_signs(instance).is_ok_and(shows))
        }
        None => Ok(read_migrating(&mut *instance.connect()?.reader()?) && is_used(instance)?),
    }
}

/// What a database shows of a migration.
struct MigrationSigns {
    is_locked: bool,
    /// `None` where it is locked, because a migrating server may lock this table too, and where it cannot be read.
    aggregation: Option<AggregationState>,
}

fn read_signs(instance: &Instance) -> Result<MigrationSigns> {
    let mut reader = instance.connect()?.reader()?;
    let is_locked = read_migrating(&mut *reader);
    let aggregation = if is_locked { None } else { read_state(&mut *reader).unwrap_or_default() };
    Ok(MigrationSigns { is_locked, aggregation })
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
