//! Uptime and response times are those of real servers: `fixtures/badges.json` has the statistics of 25 monitors, and the badges
//! that 2.0.2 and 2.5.3 made of them at the time `now`.

use std::collections::BTreeMap;

use chrono::DateTime;
use kumadb::kuma::uptime::read_latest;
use kumadb::report::uptime::{Unit, UptimeTally, Window};
use serde_json::Value as Json;

use crate::house::layers::root;
use crate::support::lab::{Lab, instance_at};

/// The rows of `monitor` in `window`, counted.
fn tally(monitor: &Json, window: &Window) -> UptimeTally {
    let rows = monitor["rows"][window.unit.table()].as_array().unwrap().iter();
    let number = |row: &Json, at: usize| row[at].as_f64().unwrap();
    let is_inside = |row: &&Json| (window.first..=window.last).contains(&row[0].as_i64().unwrap());
    rows.filter(is_inside).fold(UptimeTally::default(), |sum, row| {
        let (up, down, ping) = (number(row, 1), number(row, 2), number(row, 3));
        UptimeTally {
            up: sum.up + up,
            total: sum.total + up + down,
            ping: sum.ping + ping * up,
            pinged: sum.pinged + up,
        }
    })
}

/// `number` with four digits, as a badge shows a percentage.
fn four_digits(number: f64) -> String {
    let before = if number < 1.0 { 1 } else { number.log10().floor() as usize + 1 };
    format!("{number:.*}", 4_usize.saturating_sub(before))
}

#[test]
fn numbers_are_those_of_the_badges_of_real_servers() {
    let text = std::fs::read_to_string(root().join("fixtures/badges.json")).unwrap();
    let recorded: Json = serde_json::from_str(&text).unwrap();
    let (mut count, mut wrong) = (0, Vec::new());
    for (release, server) in recorded.as_object().unwrap() {
        let now = DateTime::from_timestamp(server["now"].as_i64().unwrap(), 0).unwrap();
        for (at, monitor) in server["monitors"].as_array().unwrap().iter().enumerate() {
            for (badge, shown) in monitor["badges"].as_object().unwrap() {
                let (what, duration) = badge.split_once(' ').unwrap();
                let (tally, shown) = (tally(monitor, &Window::badge(duration, now).unwrap()), shown.as_str().unwrap());
                let expected = match what {
                    "uptime" => format!("{}%", four_digits(tally.uptime().unwrap_or(0.0) * 100.0)),
                    // A badge leaves out the fraction, and shows no number where there is none.
                    _ => tally.ping().map_or_else(
                        || {
                            if shown.contains(|letter: char| letter.is_ascii_digit()) {
                                "none".into()
                            } else {
                                shown.into()
                            }
                        },
                        |ping| format!("{}ms", ping.trunc()),
                    ),
                };
                count += 1;
                if expected != shown {
                    wrong.push(format!("{release}, monitor {at}, {badge}: {shown}, not {expected}"));
                }
            }
        }
    }
    assert!(count == 900 && wrong.is_empty(), "{count}: {}", wrong.join("\n"));
}

/// Of many monitors, rows are read in the order in which they were added; of few, by the index.
#[test]
fn the_uptime_of_many_monitors_does_not_depend_on_the_order_of_rows() {
    const COUNT: i64 = 510;
    let now = DateTime::parse_from_rfc3339("2026-11-30T12:34:56Z").unwrap().to_utc();
    for lab in Lab::both("2.5.3") {
        // A check each 45 minutes for 26 hours; monitor 3 is slow, 4 was added in between.
        let (numbers, div) = match lab.mariadbd {
            None => ("WITH RECURSIVE n(seq) AS (SELECT 0 UNION ALL SELECT seq + 1 FROM n WHERE seq < 17849) ", "/"),
            Some(_) => ("WITH n AS (SELECT seq FROM seq_0_to_17849) ", "DIV"),
        };
        let checks = format!(
            "SELECT seq % {COUNT} + 1 AS monitor_id, {begin} + seq {div} {COUNT} * 2700 AS at FROM n",
            begin = now.timestamp() - 94_496
        );
        lab.sql(&format!(
            "INSERT INTO monitor (name, type, user_id, `interval`) {numbers} SELECT 'm', 'http', 1, 60 FROM n WHERE seq < {COUNT}"
        ));
        for (table, unit) in [("stat_minutely", 60), ("stat_hourly", 3600), ("stat_daily", 86_400)] {
            lab.sql(&format!(
                "INSERT INTO {table} (monitor_id, timestamp, up, down, ping) {numbers} \
                 SELECT monitor_id, at - at % {unit}, sum((at {div} 2700 + monitor_id) % 7 > 0), \
                 sum((at {div} 2700 + monitor_id) % 7 = 0), monitor_id % 50 FROM ({checks}) c \
                 WHERE (monitor_id <> 3 OR at % 7200 < 2700) AND (monitor_id <> 4 OR at > {added}) \
                 GROUP BY at - at % {unit}, monitor_id ORDER BY at - at % {unit}, monitor_id",
                added = now.timestamp() - 20_000
            ));
        }
        let compare = |what: &str| {
            let instance = instance_at(&lab.target, lab.root.path(), lab.root.path().join("state"));
            let mut reader = instance.connect().unwrap().reader().unwrap();
            let schema = reader.schema().unwrap();
            let window = Window::last(Unit::Minute, 1440, now);
            let ids: Vec<i64> = (1..=COUNT).collect();
            let all = read_latest(&mut *reader, &schema, &ids, &window).unwrap();
            let mut each = BTreeMap::new();
            for batch in ids.chunks(100) {
                each.extend(read_latest(&mut *reader, &schema, batch, &window).unwrap());
            }
            assert_eq!(all.len(), ids.len(), "{what}");
            assert_eq!(all, each, "{}: {what}", lab.engine());
            all
        };
        let before = compare("in the order of time");
        assert!(before[&1].total == 32.0 && before[&3].total < 20.0 && before[&4].total < 10.0, "{before:?}");
        // Rows that are elsewhere, are missing, or do not add up.
        for (table, seconds) in [("stat_minutely", 60), ("stat_hourly", 3600), ("stat_daily", 86_400)] {
            lab.sql(&format!("UPDATE {table} SET id = id + 1000000 WHERE monitor_id BETWEEN 10 AND 19"));
            lab.sql(&format!(
                "DELETE FROM {table} WHERE monitor_id BETWEEN 20 AND 29 AND timestamp % {} = 0",
                7 * seconds
            ));
        }
        lab.sql("UPDATE stat_minutely SET up = up + 1 WHERE monitor_id BETWEEN 30 AND 39 AND timestamp % 3600 = 2700");
        assert_ne!(compare("with other ids"), before);
        // As after an upgrade, by monitor.
        for table in ["stat_minutely", "stat_hourly", "stat_daily"] {
            lab.sql(&format!("UPDATE {table} SET id = id + 2000000 + monitor_id * 1000000"));
        }
        compare("by monitor");
    }
}
