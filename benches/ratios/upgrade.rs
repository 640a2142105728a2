//! Upgrades a database of 1.23.17 with a million heartbeats, compared with the server: 41,158 heartbeats in 66 s.

use std::time::Duration;

use crate::place::{Place, kumadb, measure};
use crate::read::add_beats;
use crate::report::{Limit, Report};

const BEATS: usize = 1_000_000;

/// How long the server 2.5.3 takes, measured on two cores.
fn server() -> Duration {
    Duration::from_secs(66) * 1_000_000 / 41_158
}

/// One run is enough: it needs a new database each time.
pub fn run(report: &mut Report) {
    report.say("upgrade (SQLite)");
    let place = Place::of("1.23.17");
    add_beats(&place, BEATS);
    let mut upgrade = kumadb(&place);
    upgrade.args(["upgrade", "--to", "2.5.3", "--yes"]);
    let (took, memory) = measure(&upgrade);
    let what = "1.23.17 to 2.5.3, 1 million heartbeats aggregated, with a snapshot";
    report.time(
        what,
        &[took],
        Some(("2.5.3, calculated from 41,158 heartbeats", &[server()])),
        Limit::Ratio(1.0 / 300.0),
    );
    report.memory(&format!("{what}: memory"), memory, Limit::Memory(100.0));
}
