//! Converts a database with a million heartbeats to the other engine and back, compared with a dump of its rows that the client of the
//! other engine loads into tables that exist, without a snapshot and without a comparison afterwards.

use std::process::Command;
use std::time::Duration;

use crate::mariadbd::Mariadbd;
use crate::need;
use crate::place::{Place, kumadb, measure, time_command};
use crate::read::add_beats;
use crate::report::{Limit, Report};

const BEATS: usize = 1_000_000;

/// One run is enough: it needs a new database each time.
pub fn run(report: &mut Report) {
    let (Some(mariadbd), Some(dumper)) =
        (Mariadbd::with(&["--bind-address=127.0.0.1", "--port={port}"]), need::program(&["mariadb-dump"]))
    else {
        return report.left_out("convert", "MariaDB (apt-get install mariadb-server)");
    };
    if need::program(&["sqlite3"]).is_none() {
        return report.left_out("convert", "sqlite3 (apt-get install sqlite3)");
    }
    report.say("convert");
    let place = Place::folder();
    add_beats(&place, BEATS);
    let source = place.copy();
    mariadbd.create_database("ours", "utf8mb4");
    mariadbd.sql("", "CREATE USER kuma@'%' IDENTIFIED BY 'bench'; GRANT ALL ON ours.* TO kuma@'%'");
    let (took, memory) = convert(&place, &format!("mysql://kuma:bench@127.0.0.1:{}/ours", mariadbd.port()));
    let _theirs = Place::database(&mariadbd, "theirs");
    let client = format!("mariadb --no-defaults --socket={} --user=root", mariadbd.socket().display());
    // With their columns, which are not in the same order. The other tables have a few rows.
    let load = format!(
        "(echo \"SET sql_mode='ANSI_QUOTES,NO_BACKSLASH_ESCAPES', foreign_key_checks=0; BEGIN;\"; sqlite3 -cmd '.headers on' \
         -cmd '.mode insert heartbeat' '{}' 'SELECT * FROM heartbeat'; echo 'COMMIT;') | {client} theirs",
        source.file().display()
    );
    let theirs = time_command(shell(&load));
    let what = "convert 1 million heartbeats to MariaDB, with a snapshot, compared";
    report.time(what, &[took], Some(("sqlite3 into mariadb, not compared", &[theirs])), Limit::Ratio(0.6));
    report.memory(&format!("{what}: memory"), memory, Limit::Memory(100.0));
    let (took, memory) = convert(&place, "sqlite");
    let empty = Place::folder();
    let load = format!(
        "(echo 'PRAGMA foreign_keys=0; BEGIN;'; {} --no-defaults --socket={} --user=root --compact --quick --single-transaction \
         --no-create-info --complete-insert --compatible=ansi ours heartbeat; echo 'COMMIT;') | sqlite3 -bail '{}'",
        dumper.display(),
        mariadbd.socket().display(),
        empty.file().display()
    );
    let theirs = time_command(shell(&load));
    let what = "convert 1 million heartbeats to SQLite, with a snapshot, compared";
    report.time(what, &[took], Some(("mariadb-dump into sqlite3, not compared", &[theirs])), Limit::Ratio(0.6));
    report.memory(&format!("{what}: memory"), memory, Limit::Memory(100.0));
}

fn convert(place: &Place, to: &str) -> (Duration, Option<f64>) {
    let mut convert = kumadb(place);
    convert.args(["convert", "--to", to, "--yes"]);
    measure(&convert)
}

fn shell(line: &str) -> Command {
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("set -o pipefail; {line}")]);
    shell
}
