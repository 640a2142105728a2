//! Backups by themselves: when what the config file asks for is due, one run of it, and who is told.

pub mod job;
mod lacks;
mod notice;
mod state;
mod watch;

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::run::Observer;

pub use job::{Ended, World};
pub use lacks::lacks;
pub use state::State;
pub use watch::{once, watch};

/// Where the schedule runs: its clock, and who reads what it does.
pub trait Host: Observer {
    /// What time it is.
    fn now(&mut self) -> DateTime<Utc>;

    /// Waits, no longer than this; whether to go on.
    fn wait(&mut self, at_most: Duration) -> bool;

    /// One line of the story.
    fn say(&mut self, line: &str);

    /// Something that somebody must read.
    fn warn(&mut self, line: &str);

    /// What it is at now; the first time, it is ready.
    fn status(&mut self, line: &str);
}
