//! Frequent commands: `monitor list` with many monitors, `status` and `doctor` on a long history.

use std::process::Command;
use std::time::Duration;

use kumadb::backup::Store;
use kumadb::engine::{EngineKind, WriteKey};
use kumadb::operation::{self, NoObserver, Settings, Transaction};

use crate::mariadbd::Mariadbd;
use crate::need;
use crate::place::{Place, kumadb, memory_of, plan, time_command};
use crate::report::{Limit, Report};

const MONITORS: usize = 10_000;

/// About 500 MB on SQLite, indexes included.
const BEATS: usize = 4_500_000;

const LIST: &str = "SELECT m.id, m.name, m.type, m.active, m.interval, m.url, m.hostname, \
    (SELECT group_concat(t.name) FROM monitor_tag l JOIN tag t ON t.id = l.tag_id WHERE l.monitor_id = m.id) \
    FROM monitor m";

const EXAMINED: usize = 3_000_000;

const EXAMINE: &str = "SELECT count(*), sum(status IN (0, 1, 2, 3)), sum(msg LIKE 'Knex: Timeout%') FROM heartbeat";

const STATUS: &str = "SELECT count(*) FROM monitor; SELECT time FROM heartbeat ORDER BY id DESC LIMIT 1";

pub fn list(report: &mut Report) {
    let fill = |place: &Place| add_monitors(place, MONITORS);
    let words = ["monitor", "list"];
    let what = "monitor list, 10,000 monitors";
    let limits = [Limit::Time(Duration::from_millis(100)), Limit::Memory(60.0)];
    on_both(report, what, &fill, &words, LIST, limits);
}

/// A day of heartbeats, 500 of each monitor.
const DAY: usize = 5_000_000;

const STATE: &str = "SELECT m.id, m.name, h.status, h.time, h.msg, h.ping, \
    (SELECT max(time) FROM heartbeat i WHERE i.monitor_id = m.id AND i.important = 1), \
    (SELECT sum(up) / (sum(up) + sum(down)) FROM stat_hourly s WHERE s.monitor_id = m.id AND s.timestamp > 0) \
    FROM monitor m LEFT JOIN heartbeat h ON h.id = \
    (SELECT id FROM heartbeat l WHERE l.monitor_id = m.id ORDER BY time DESC LIMIT 1)";

/// The status of many monitors with a long history.
pub fn state(report: &mut Report) {
    let words = ["monitor", "list"];
    let what = "monitor list, 10,000 monitors, 5 million heartbeats";
    let limits = [Limit::Time(Duration::from_millis(200)), Limit::Memory(60.0)];
    on_both(report, what, &add_day, &words, STATE, limits);
}

/// The page of 1,000 monitors.
pub fn html(report: &mut Report) {
    let place = Place::folder();
    add_monitors(&place, 1000);
    add_history(&place, 1000, 1_000_000);
    let page = place.root().join("page.html");
    let words = ["report", page.to_str().unwrap(), "--no-doctor"];
    let times: Vec<Duration> = (0..report.runs).map(|_| time_command(run_on(&place, &words))).collect();
    let size = page.metadata().unwrap().len() / 1000;
    let what = format!("report, 1,000 monitors, 1 million heartbeats, SQLite: a page of {size} KB");
    report.time(&what, &times, None, Limit::Time(Duration::from_secs(1)));
}

fn run_on(place: &Place, words: &[&str]) -> Command {
    let mut command = kumadb(place);
    command.args(words);
    command
}

fn add_day(place: &Place) {
    add_monitors(place, MONITORS);
    add_history(place, MONITORS, DAY);
}

pub fn add_monitors(place: &Place, count: usize) {
    let store = Store::new(place.root().join("store"));
    let plan = plan(&place.state(), count);
    operation::run(&place.instance(), &store, Transaction::Plan(&plan), &Settings::new("bench"), &mut NoObserver)
        .unwrap();
}

/// Heartbeats of the last 24 hours, of all monitors in turn, and the statistics that the server makes of them.
fn add_history(place: &Place, monitors: usize, count: usize) {
    let mut writer = place.instance().connect().unwrap().writer(&WriteKey::for_tests()).unwrap();
    let begin = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() - 86_300;
    let step = 86_200 * monitors / count;
    let (numbers, round, time) = match writer.kind() {
        EngineKind::Sqlite => (
            format!("WITH RECURSIVE n(seq) AS (SELECT 0 UNION ALL SELECT seq + 1 FROM n WHERE seq < {count} - 1)"),
            format!("seq / {monitors}"),
            "strftime('%Y-%m-%d %H:%M:%f', at, 'unixepoch')",
        ),
        EngineKind::MariaDb => (
            format!("WITH n AS (SELECT seq FROM seq_0_to_{})", count - 1),
            format!("seq DIV {monitors}"),
            "from_unixtime(at)",
        ),
    };
    let beats = format!("SELECT seq, seq % {monitors} + 1 AS monitor_id, {begin} + {round} * {step} AS at FROM n");
    writer.begin().unwrap();
    writer
        .execute(
            &format!(
                "INSERT INTO heartbeat (important, monitor_id, status, msg, time, ping, duration, down_count) {numbers} \
                 SELECT seq < {monitors}, monitor_id, 1, '200 - OK', {time}, seq % 90 + 10, 60, 0 FROM ({beats}) b"
            ),
            &[],
        )
        .unwrap();
    for (table, unit) in [("stat_minutely", 60), ("stat_hourly", 3600), ("stat_daily", 86_400)] {
        let sql = format!(
            "INSERT INTO {table} (monitor_id, timestamp, up, down, ping) {numbers} \
             SELECT monitor_id, start, count(*), 0, 50 FROM \
             (SELECT monitor_id, at - at % {unit} AS start FROM ({beats}) b) c GROUP BY start, monitor_id"
        );
        writer.execute(&sql, &[]).unwrap();
    }
    writer.commit().unwrap();
}

pub fn status(report: &mut Report) {
    let words = ["status"];
    let what = "status, 4.5 million heartbeats";
    let limits = [Limit::Time(Duration::from_millis(50)), Limit::None];
    on_both(report, what, &|place| add_beats(place, BEATS), &words, STATUS, limits);
}

/// Compared with the minimum that it must read: every page of the file, and every heartbeat once.
pub fn doctor(report: &mut Report) {
    let words = ["doctor"];
    let what = "doctor, 3 million heartbeats";
    let limits = [Limit::Time(Duration::from_secs(2)), Limit::Memory(100.0)];
    on_both(report, what, &|place| add_beats(place, EXAMINED), &words, EXAMINE, limits);
}

fn on_both(
    report: &mut Report,
    what: &str,
    fill: &dyn Fn(&Place),
    words: &[&str],
    sql: &str,
    [time, memory]: [Limit; 2],
) {
    report.say(&format!("{what} (SQLite)"));
    let place = Place::folder();
    fill(&place);
    let size = place.file().metadata().unwrap().len() / 1_000_000;
    let name = format!("{what}, SQLite ({size} MB)");
    let client = need::program(&["sqlite3"]).map(|program| {
        let mut client = Command::new(program);
        // Without `-readonly`, which would leave an empty WAL behind: the next run would find a database that seems to be open.
        client.arg("-batch").arg(place.file()).arg(sql);
        client
    });
    compare(report, &name, &place, words, client.map(|client| ("sqlite3", client)), time, memory);

    let Some(mariadbd) = Mariadbd::start() else {
        return report.left_out(&format!("{what}, MariaDB"), "MariaDB (apt-get install mariadb-server)");
    };
    report.say(&format!("{what} (MariaDB)"));
    let place = Place::database(&mariadbd, "ours");
    fill(&place);
    let mut client = Command::new(need::program(&["mariadb", "mysql"]).unwrap());
    client.arg("--no-defaults").arg(format!("--socket={}", mariadbd.socket().display()));
    client.args(["--batch", "--execute", sql, "ours"]);
    compare(report, &format!("{what}, MariaDB"), &place, words, Some(("mariadb", client)), time, memory);
}

fn compare(
    report: &mut Report,
    what: &str,
    place: &Place,
    words: &[&str],
    other: Option<(&str, Command)>,
    time: Limit,
    memory: Limit,
) {
    let mine = || {
        let mut command = kumadb(place);
        command.args(words);
        command
    };
    let again = |command: &Command| {
        let mut again = Command::new(command.get_program());
        again.args(command.get_args());
        again
    };
    // One run without measurement, so that the file is cached in memory for both.
    time_command(mine());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..report.runs {
        ours.push(time_command(mine()));
        theirs.extend(other.as_ref().map(|(_, command)| time_command(again(command))));
    }
    let beside = other.as_ref().map(|(name, _)| (format!("{name}, the same query"), theirs.as_slice()));
    report.time(what, &ours, beside.as_ref().map(|(name, times)| (name.as_str(), *times)), time);
    report.memory(&format!("{what}: memory"), memory_of(&mine()), memory);
}

/// Time of the first heartbeat, in seconds since 1970, and the interval between heartbeats.
pub const BEGIN: i64 = 1_700_000_000;
pub const SECONDS: i64 = 6;

/// Adds ten monitors to `place`, with `count` heartbeats in total.
pub fn add_beats(place: &Place, count: usize) {
    let plan = plan(&place.state(), 10);
    let store = Store::new(place.root().join("store"));
    operation::run(&place.instance(), &store, Transaction::Plan(&plan), &Settings::new("bench"), &mut NoObserver)
        .unwrap();
    let mut writer = place.instance().connect().unwrap().writer(&WriteKey::for_tests()).unwrap();
    let (numbers, time) = match writer.kind() {
        EngineKind::Sqlite => (
            format!("WITH RECURSIVE n(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n WHERE seq < {count})"),
            format!("strftime('%Y-%m-%d %H:%M:%f', {BEGIN} + seq * {SECONDS}, 'unixepoch')"),
        ),
        EngineKind::MariaDb => (
            format!("WITH n AS (SELECT seq FROM seq_1_to_{count})"),
            format!("from_unixtime({BEGIN} + seq * {SECONDS})"),
        ),
    };
    let sql = format!(
        "INSERT INTO heartbeat (important, monitor_id, status, msg, time, ping, duration, down_count) \
         {numbers} SELECT 0, seq % 10 + 1, 1, '200 - OK', {time}, seq % 90 + 10, 60, 0 FROM n"
    );
    writer.begin().unwrap();
    writer.execute(&sql, &[]).unwrap();
    writer.commit().unwrap();
}
