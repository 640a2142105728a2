//! How the time of frequent operations grows with the work. Writes `docs/growth.json`, and a picture of it beside it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::backup::{dump_to, hold, load};
use crate::curve::{Curve, Point, draw};
use crate::fixture::fixture;
use crate::mariadbd::Mariadbd;
use crate::place::{Place, kumadb, time_command};
use crate::read::{add_beats, add_monitors};
use crate::report::{Limit, Report, median};

const TIMES: [usize; 3] = [1, 10, 100];

pub fn run(report: &mut Report) {
    let Some(mariadbd) = Mariadbd::start() else {
        return report.left_out("growth", "MariaDB (apt-get install mariadb-server)");
    };
    let mut snapshot = curve("snapshot, SQLite", "heartbeats");
    let mut dump = curve("dump, MariaDB", "heartbeats");
    let mut loaded = curve("load, MariaDB", "heartbeats");
    let mut list = curve("monitor list, SQLite", "monitors");
    let mut apply = curve("apply, SQLite", "monitors");
    for times in TIMES {
        report.say(&format!("{times} times the work"));
        let place = Place::folder();
        add_beats(&place, 45_000 * times);
        add(report, &mut snapshot, 45_000 * times, || hold(&place));

        let name = format!("beats{times}");
        let place = Place::database(&mariadbd, &name);
        add_beats(&place, 10_000 * times);
        let (connect, file) = (place.instance().connect().unwrap(), place.root().join("ours.sql"));
        add(report, &mut dump, 10_000 * times, || dump_to(&*connect, &file));
        add(report, &mut loaded, 10_000 * times, || {
            mariadbd.sql(&name, "TRUNCATE heartbeat");
            load(&*connect, &file)
        });

        let place = Place::folder();
        add_monitors(&place, 100 * times);
        add(report, &mut list, 100 * times, || {
            let mut command = kumadb(&place);
            command.args(["monitor", "list"]);
            time_command(command)
        });

        let empty = Place::folder();
        let path = empty.root().join("monitors.yaml");
        fs::write(&path, fixture(1_000 * times)).unwrap();
        add(report, &mut apply, 1_000 * times, || {
            let place = empty.copy();
            let mut command = kumadb(&place);
            command.args(["apply", "--yes"]).arg(&path);
            time_command(command)
        });
    }
    let curves = [snapshot, dump, loaded, list, apply];
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    fs::write(docs.join("growth.json"), serde_json::to_string_pretty(&curves).unwrap() + "\n").unwrap();
    fs::write(docs.join("growth.svg"), draw(&curves)).unwrap();
}

fn curve(job: &str, unit: &str) -> Curve {
    Curve { job: job.into(), unit: unit.into(), points: Vec::new() }
}

/// Adds the median of some runs of `once` with `count` heartbeats or monitors.
fn add(report: &mut Report, curve: &mut Curve, count: usize, mut once: impl FnMut() -> Duration) {
    let times: Vec<Duration> = (0..report.runs).map(|_| once()).collect();
    report.time(&format!("{}, {count} {}", curve.job, curve.unit), &times, None, Limit::None);
    let seconds = (median(&times).as_secs_f64() * 10_000.0).round() / 10_000.0;
    curve.points.push(Point { count, seconds });
}
