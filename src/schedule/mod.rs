//! Backups by themselves: when what the config file asks for is due, one run of it, and who is told.

mod event;
pub mod job;
mod lacks;
mod metrics;
mod notice;
mod reach;
mod state;
mod watch;

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::run::Observer;

pub use event::{Event, Level};
pub use job::{Ended, World};
pub use lacks::lacks;
pub use reach::{reach_push, reach_webhook};
pub use state::State;
pub use watch::{once, watch};

/// Where the schedule runs: its clock, and who reads what it does.
pub trait Host: Observer {
    /// What time it is.
    fn now(&mut self) -> DateTime<Utc>;

    /// Waits, no longer than this; whether to go on.
    fn wait(&mut self, at_most: Duration) -> bool;

    /// Writes one event to the log.
    fn log(&mut self, event: &Event<'_>);

    /// What it is at now; the first time, it is ready.
    fn status(&mut self, line: &str);
}
