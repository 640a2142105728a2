//! Waiting for something that only looking again shows: a container that is recreated, a database that starts.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long to wait, and how long between two looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    end: Instant,
    pause: Duration,
}

impl Deadline {
    /// `limit` from now, with `pause` between two looks.
    pub fn after(limit: Duration, pause: Duration) -> Deadline {
        Deadline::at(Instant::now() + limit, pause)
    }

    /// At `end`, with `pause` between two looks.
    pub fn at(end: Instant, pause: Duration) -> Deadline {
        Deadline { end, pause }
    }

    /// Waits until the next look, of which the last one is at the end; `false` once that was.
    pub fn wait(&self) -> bool {
        let left = self.end.saturating_duration_since(Instant::now());
        sleep(self.pause.min(left));
        !left.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_look_is_at_the_end() {
        let (begin, limit) = (Instant::now(), Duration::from_millis(30));
        let deadline = Deadline::after(limit, Duration::from_secs(600));
        assert!(deadline.wait());
        assert!(begin.elapsed() >= limit);
        assert!(!deadline.wait());
        assert!(!Deadline::after(Duration::ZERO, limit).wait());
    }
}
