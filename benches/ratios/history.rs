//! Deletes two million of three million heartbeats and reclaims the disk space, compared with plain SQL.

use std::process::Command;

use chrono::{DateTime, Utc};

use crate::mariadbd::Mariadbd;
use crate::need;
use crate::place::{Place, kumadb, measure, time_command};
use crate::read::{BEGIN, SECONDS, add_beats};
use crate::report::{Limit, Report};

const BEATS: usize = 3_000_000;
const DELETED: i64 = 2_000_000;

/// One run is enough: it is slow and requires a new history each time.
pub fn run(report: &mut Report) {
    let days = (Utc::now().timestamp() - BEGIN - DELETED * SECONDS) / 86_400;
    let last = DateTime::from_timestamp(Utc::now().timestamp() - days * 86_400, 0).unwrap();
    let delete = format!("DELETE FROM heartbeat WHERE time < '{}'", last.format("%Y-%m-%d %H:%M:%S"));

    report.say("history prune (SQLite)");
    let place = Place::folder();
    add_beats(&place, BEATS);
    let theirs = place.copy();
    let mut client = Command::new("sqlite3");
    client.arg(theirs.file()).arg(format!("PRAGMA foreign_keys = ON; {delete}; VACUUM"));
    compare(report, "SQLite", &place, days, ("sqlite3, DELETE and VACUUM", client));

    let (Some(mariadbd), Some(program)) = (Mariadbd::start(), need::program(&["mariadb", "mysql"])) else {
        return report.left_out("history prune, MariaDB", "MariaDB (apt-get install mariadb-server)");
    };
    report.say("history prune (MariaDB)");
    let [ours, _theirs] = ["ours", "theirs"].map(|name| {
        let place = Place::database(&mariadbd, name);
        add_beats(&place, BEATS);
        place
    });
    let mut client = Command::new(program);
    client.arg("--no-defaults").arg(format!("--socket={}", mariadbd.socket().display()));
    client.args(["theirs", "-e", &format!("{delete}; OPTIMIZE TABLE heartbeat")]);
    compare(report, "MariaDB", &ours, days, ("mariadb, DELETE and OPTIMIZE", client));
}

fn compare(report: &mut Report, engine: &str, place: &Place, days: i64, (name, client): (&str, Command)) {
    let what = format!("2 of 3 million heartbeats deleted, disk space reclaimed, {engine}");
    let mut prune = kumadb(place);
    prune.args(["history", "prune", "--tables", "heartbeat", "--vacuum", "--yes", "--keep", &days.to_string()]);
    let (took, memory) = measure(&prune);
    report.time(&format!("{what}, with a snapshot"), &[took], Some((name, &[time_command(client)])), Limit::None);
    report.memory(&format!("{what}: memory"), memory, Limit::None);
}
