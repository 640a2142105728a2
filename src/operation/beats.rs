//! Heartbeats newer than the start: the strongest evidence that the server works.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::engine::Connect;
use crate::error::Result;
use crate::kuma::read::read_beats;
use crate::value::Row;

/// Polling interval of the database.
const PAUSE: Duration = Duration::from_millis(200);

/// Polling interval of `check`.
const CHECK: Duration = Duration::from_secs(1);

/// The heartbeats that end the wait.
pub enum Awaited {
    /// One, of any monitor.
    Any,
    /// One of each of these monitors.
    All(BTreeSet<i64>),
}

/// Waits for heartbeats newer than the one with id `after`, until `limit` has passed. Returns the newest heartbeat of each
/// monitor that has one. `check` is called once a second and may end the wait with an error.
pub fn wait(
    connect: &dyn Connect,
    after: i64,
    awaited: &Awaited,
    limit: Duration,
    check: &mut dyn FnMut() -> Result<()>,
) -> Result<BTreeMap<i64, Row>> {
    let end = Instant::now() + limit;
    let mut checked = Instant::now();
    loop {
        let beats = match connect.reader().and_then(|mut reader| read_beats(&mut *reader, after)) {
            Ok(beats) => beats,
            // The embedded MariaDB may not listen yet, or the server may have locked the file for a moment.
            Err(_) if Instant::now() < end => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        let enough = match awaited {
            Awaited::Any => !beats.is_empty(),
            Awaited::All(monitors) => monitors.iter().all(|id| beats.contains_key(id)),
        };
        if enough || Instant::now() >= end {
            return Ok(beats);
        }
        if checked.elapsed() >= CHECK {
            check()?;
            checked = Instant::now();
        }
        std::thread::sleep(PAUSE);
    }
}
