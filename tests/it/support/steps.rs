//! Runs that are ended at their N-th step.

use std::process::Command;

use kumadb::error::{Error, OperationError, Result};
use kumadb::operation::{Observer, Step};

/// How a run is ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum How {
    Error,
    Kill,
}

/// Ends a run at its `at`-th step.
pub struct Steps {
    pub seen: usize,
    at: usize,
    how: How,
}

impl Steps {
    pub fn ending(at: usize, how: How) -> Steps {
        Steps { seen: 0, at, how }
    }
}

impl Observer for Steps {
    fn step(&mut self, _step: &Step) -> Result<()> {
        self.seen += 1;
        match (self.seen == self.at, self.how) {
            (false, _) => Ok(()),
            (true, How::Error) => Err(Error::Operation(OperationError::Stopped { why: "made to fail".into() })),
            (true, How::Kill) => {
                Command::new("kill").args(["-9", &std::process::id().to_string()]).status().unwrap();
                unreachable!("killed");
            }
        }
    }
}
