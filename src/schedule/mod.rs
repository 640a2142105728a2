//! Scheduled backups: runs the jobs of the config file when they are due, and sends notifications.

mod alert;
mod event;
pub(crate) mod job;
mod metrics;
mod notice;
mod problems;
mod result;
mod state;
mod watch;

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::operation::Observer;

pub use alert::reach;
pub use event::{Event, Level};
pub use job::RunEnv;
pub use problems::problems;
pub use result::{RunResult, StoredCopy};
pub use state::JobState;
pub use watch::{once, watch};

/// The environment of the schedule: its clock, and its log.
pub trait Host: Observer {
    /// The current time.
    fn now(&mut self) -> DateTime<Utc>;

    /// Waits, at most this long; returns whether to continue.
    fn wait(&mut self, at_most: Duration) -> bool;

    /// Writes one event to the log.
    fn log(&mut self, event: &Event<'_>);

    /// The current activity; the first call means that the schedule is ready.
    fn status(&mut self, line: &str);
}
