//! Replaces statistics that a server made wrongly when it upgraded the database.

use chrono::{DateTime, Utc};

use super::{Observer, Step};
use crate::backup::{Guarded, StagedCopy};
use crate::error::{Error, OperationError, Result};
use crate::instance::Instance;
use crate::kuma::read::read_database;
use crate::kuma::upgrade::correct::{Correction, UtcStatistics, apply, compare, read_old};
use crate::schema::Schema;

/// The statistics to put in place, as `Work`.
#[derive(Debug)]
pub struct StatisticsWork {
    /// Those of the heartbeats from before the upgrade.
    pub old: UtcStatistics,
    /// The current time.
    pub now: DateTime<Utc>,
    /// A table that changes.
    pub(super) table: String,
}

/// Compares the statistics of `instance` with those that the copy `staged` from before the upgrade of the server gives; reads
/// everything and changes nothing. `name` is what messages call the copy.
///
/// # Errors
/// Why the copy does not belong to the database.
pub fn compare_with(
    instance: &Instance,
    staged: &StagedCopy,
    name: &str,
    now: DateTime<Utc>,
    observer: &mut dyn Observer,
) -> Result<(StatisticsWork, Correction)> {
    observer.step(&Step::Aggregate)?;
    let mut source = staged.reader()?;
    instance.open()?.read(|live| {
        let database = read_database(live, &instance.name)?;
        if database.schema.table("stat_daily").is_none() {
            return Err(OperationError::NoStatistics { release: database.release.to_string() }.into());
        }
        let old = read_old(&mut *source, live, name, now)?;
        let correction = compare(live, &database.schema, &old, now)?;
        let table = correction.first_table().unwrap_or("stat_daily").to_owned();
        Ok((StatisticsWork { old, now, table }, correction))
    })
}

/// Replaces them in the open transaction. Comparing again must find nothing.
pub(super) fn replace(
    guarded: &mut Guarded,
    schema: &Schema,
    order: &StatisticsWork,
    observer: &mut dyn Observer,
) -> Result<Correction> {
    let correction = compare(guarded.writer(), schema, &order.old, order.now)?;
    observer.step(&Step::Write { changes: correction.changes() })?;
    apply(guarded.writer(), &correction)?;
    observer.step(&Step::ReadBack)?;
    if !compare(guarded.writer(), schema, &order.old, order.now)?.is_empty() {
        let what = "the statistics are not what was written".into();
        return Err(Error::Operation(OperationError::ChecksFailed(vec![what])));
    }
    Ok(correction)
}
