//! Waiting for what others do, and no longer than it may take.

use std::time::{Duration, Instant};

/// Waits until `done`; fails the test when it is not after so many seconds.
#[track_caller]
pub fn wait_until(seconds: u64, what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(seconds);
    while !done() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
