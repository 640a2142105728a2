//! The status of monitors, from their last heartbeats.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::state::{Monitor, MonitorConfig};

/// The status of one heartbeat (1.23 to 2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BeatStatus {
    /// 0.
    Down,
    /// 1.
    Up,
    /// 2: the check failed, and is repeated before the monitor is down.
    Pending,
    /// 3.
    Maintenance,
}

impl BeatStatus {
    /// The status with this number; `None` for a number that no release has.
    pub fn of(number: i64) -> Option<BeatStatus> {
        [BeatStatus::Down, BeatStatus::Up, BeatStatus::Pending, BeatStatus::Maintenance]
            .get(usize::try_from(number).ok()?)
            .copied()
    }

    /// Its name, in lower case.
    pub fn word(self) -> &'static str {
        match self {
            BeatStatus::Down => "down",
            BeatStatus::Up => "up",
            BeatStatus::Pending => "pending",
            BeatStatus::Maintenance => "maintenance",
        }
    }
}

/// The last heartbeat of a monitor.
#[derive(Clone, Debug, PartialEq)]
pub struct LastBeat {
    /// Its status; `None` for a number that is unknown.
    pub status: Option<BeatStatus>,
    /// Its time.
    pub at: DateTime<Utc>,
    /// Its message, without the credentials of URLs in it.
    pub message: String,
    /// The response time, in milliseconds.
    pub ping: Option<f64>,
    /// The time of the first heartbeat with this status. A monitor that was pending in between and did not go down has
    /// been up all the time, as on the page.
    pub since: Option<DateTime<Utc>>,
}

/// The status of a monitor, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum MonitorStatus {
    /// The last check failed.
    Down,
    /// The last check failed, and is repeated before the monitor is down.
    Pending,
    /// In a maintenance window.
    Maintenance,
    /// The last check succeeded.
    Up,
    /// Active, but without a heartbeat.
    NeverChecked,
    /// The last heartbeat has a status that no known release writes.
    Unknown,
    /// Not active.
    Paused,
    /// Active, in a group that is not.
    PausedByGroup,
}

impl MonitorStatus {
    /// All of them, worst first.
    pub const ALL: [MonitorStatus; 8] = [
        MonitorStatus::Down,
        MonitorStatus::Pending,
        MonitorStatus::Maintenance,
        MonitorStatus::Up,
        MonitorStatus::NeverChecked,
        MonitorStatus::Unknown,
        MonitorStatus::Paused,
        MonitorStatus::PausedByGroup,
    ];

    /// Its name, in lower case.
    pub fn word(self) -> &'static str {
        match self {
            MonitorStatus::Down => "down",
            MonitorStatus::Pending => "pending",
            MonitorStatus::Maintenance => "maintenance",
            MonitorStatus::Up => "up",
            MonitorStatus::NeverChecked => "never checked",
            MonitorStatus::Unknown => "unknown",
            MonitorStatus::Paused => "paused",
            MonitorStatus::PausedByGroup => "paused by group",
        }
    }

    /// The status of monitor `id` with this last heartbeat. A group writes heartbeats too: the server computes its
    /// status from the monitors in it (2.5.3).
    pub fn of(state: &MonitorConfig, id: i64, last: Option<&LastBeat>) -> MonitorStatus {
        let is_active = state.monitors.get(&id).is_some_and(Monitor::active);
        match (is_active, state.runs(id), last.map(|last| last.status)) {
            (false, ..) => MonitorStatus::Paused,
            (true, false, _) => MonitorStatus::PausedByGroup,
            (true, true, None) => MonitorStatus::NeverChecked,
            (true, true, Some(None)) => MonitorStatus::Unknown,
            (true, true, Some(Some(BeatStatus::Down))) => MonitorStatus::Down,
            (true, true, Some(Some(BeatStatus::Up))) => MonitorStatus::Up,
            (true, true, Some(Some(BeatStatus::Pending))) => MonitorStatus::Pending,
            (true, true, Some(Some(BeatStatus::Maintenance))) => MonitorStatus::Maintenance,
        }
    }
}

/// How many monitors have each status that occurs, worst first: `2 down, 40 up, 1 paused`.
pub fn count(statuses: impl Iterator<Item = MonitorStatus>) -> BTreeMap<MonitorStatus, usize> {
    let mut counts = BTreeMap::new();
    statuses.for_each(|status| *counts.entry(status).or_default() += 1);
    counts
}

/// [`count`] in words.
pub fn counts_text(counts: &BTreeMap<MonitorStatus, usize>) -> String {
    counts.iter().map(|(status, n)| format!("{n} {}", status.word())).collect::<Vec<_>>().join(", ")
}

/// Seconds that a check may be late: the server writes a heartbeat after it, and is busy at times.
const SLACK: i64 = 30;

/// Whether the server checks its monitors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// The time of the newest heartbeat of a monitor that runs.
    pub newest: Option<DateTime<Utc>>,
    /// The age that it may have: the shortest that the interval, the retry interval and the timeout of one of the
    /// monitors allow. `None` if no monitor runs by itself.
    pub limit: Option<TimeDelta>,
}

impl Freshness {
    /// From the last heartbeats. Push and manual monitors wait for others, so they do not show whether the server runs.
    pub fn of(state: &MonitorConfig, last: &BTreeMap<i64, LastBeat>) -> Freshness {
        let running = state.beating();
        let checked = || running.iter().filter_map(|id| Some((state.monitors.get(id)?, last.get(id)?)));
        let newest = checked().map(|(_, last)| last.at).max();
        Freshness { newest, limit: checked().map(|(monitor, _)| allowed(monitor)).min() }
    }

    /// The age of the newest heartbeat, if it is older than the monitors allow: the server is not checking.
    pub fn overdue(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        let age = now - self.newest?;
        (age > self.limit?).then_some(age)
    }
}

/// The longest time between two heartbeats of `monitor`. A timeout of 0 means 80 % of the interval (2.5.3).
fn allowed(monitor: &Monitor) -> TimeDelta {
    let seconds = |column: &str| monitor.row.int(column).unwrap_or(0).clamp(0, 31_536_000);
    let interval = seconds("interval").max(1);
    let timeout = match monitor.row.cell("timeout").number().unwrap_or(0.0).clamp(0.0, 86_400.0).ceil() as i64 {
        0 => interval * 8 / 10,
        timeout => timeout,
    };
    TimeDelta::seconds(interval.max(seconds("retry_interval")) + timeout + SLACK)
}
