//! Heartbeats newer than the start: the strongest evidence that the server works.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::engine::Connect;
use crate::error::Result;
use crate::kuma::read::read_beats;
use crate::value::Row;
use crate::wait::Deadline;

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
    let deadline = Deadline::after(limit, PAUSE);
    let mut checked = Instant::now();
    loop {
        // The embedded MariaDB may not listen yet, or the server may have locked the file for a moment.
        let read = connect.reader().and_then(|mut reader| read_beats(&mut *reader, after));
        let is_enough = read.as_ref().is_ok_and(|beats| match awaited {
            Awaited::Any => !beats.is_empty(),
            Awaited::All(monitors) => monitors.iter().all(|id| beats.contains_key(id)),
        });
        if is_enough || !deadline.wait() {
            return read;
        }
        if checked.elapsed() >= CHECK {
            check()?;
            checked = Instant::now();
        }
    }
}
