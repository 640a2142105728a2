//! How the time of frequent operations grows with the work. Writes `docs/growth.json`, and a picture of it beside it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::backup::{hold, load};
use crate::curve::{Curve, Point, draw};
use crate::fixture::fixture;
use crate::mariadbd::Mariadbd;
use crate::place::{Place, kumadb, time_command};
use crate::read::{add_beats, add_monitors};
use crate::report::{Limit, Report, median, timed};

const TIMES: [usize; 3] = [1, 10, 100];

pub fn run(report: &mut Report) {
    let Some(mariadbd) = Mariadbd::start() else {
        return report.left_out("growth", "MariaDB (apt-get install mariadb-server)");
    };
    let runs = report.runs;
    let repeated = |mut once: Box<dyn FnMut() -> Duration + '_>| (0..runs).map(|_| once()).collect::<Vec<_>>();
    let mut snapshot = curve("snapshot, SQLite", "heartbeats");
    let mut dump = curve("dump, MariaDB", "heartbeats");
    let mut loaded = curve("load, MariaDB", "heartbeats");
    let mut list = curve("monitor list, SQLite", "monitors");
    let mut apply = curve("apply, SQLite", "monitors");
    for times in TIMES {
        report.say(&format!("{times} times the work"));
        let place = Place::folder();
        add_beats(&place, 45_000 * times);
        add(report, &mut snapshot, 45_000 * times, &repeated(Box::new(|| hold(&place))));

        let place = Place::database(&mariadbd, &format!("beats{times}"));
        add_beats(&place, 10_000 * times);
        let (connect, file) = (place.instance().connect().unwrap(), place.root().join("ours.sql"));
        let once = || {
            let _ = fs::remove_file(&file);
            timed(|| connect.reader().unwrap().dump(&file, &[], &mut |_, _| {}).unwrap()).0
        };
        add(report, &mut dump, 10_000 * times, &repeated(Box::new(once)));
        let once = || {
            mariadbd.sql(&format!("beats{times}"), "TRUNCATE heartbeat");
            load(&*connect, &file)
        };
        add(report, &mut loaded, 10_000 * times, &repeated(Box::new(once)));

        let place = Place::folder();
        add_monitors(&place, 100 * times);
        let once = || {
            let mut command = kumadb(&place);
            command.args(["monitor", "list"]);
            time_command(command)
        };
        add(report, &mut list, 100 * times, &repeated(Box::new(once)));

        let empty = Place::folder();
        let path = empty.root().join("monitors.yaml");
        fs::write(&path, fixture(1_000 * times)).unwrap();
        let once = || {
            let place = empty.copy();
            let mut command = kumadb(&place);
            command.args(["apply", "--yes"]).arg(&path);
            time_command(command)
        };
        add(report, &mut apply, 1_000 * times, &repeated(Box::new(once)));
    }
    let curves = [snapshot, dump, loaded, list, apply];
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    fs::write(docs.join("growth.json"), serde_json::to_string_pretty(&curves).unwrap() + "\n").unwrap();
    fs::write(docs.join("growth.svg"), draw(&curves)).unwrap();
}

fn curve(job: &str, unit: &str) -> Curve {
    Curve { job: job.into(), unit: unit.into(), points: Vec::new() }
}

fn add(report: &mut Report, curve: &mut Curve, count: usize, times: &[Duration]) {
    report.time(&format!("{}, {count} {}", curve.job, curve.unit), times, None, Limit::None);
    let seconds = (median(times).as_secs_f64() * 10_000.0).round() / 10_000.0;
    curve.points.push(Point { count, seconds });
}
