//! Uptime and response times are those of real servers: `fixtures/badges.json` has the statistics of 25 monitors, and the badges
//! that 2.0.2 and 2.5.3 made of them at the time `now`.

use chrono::DateTime;
use kumadb::report::uptime::{Tally, Window};
use serde_json::Value as Json;

use crate::house::layers::root;

/// The rows of `monitor` in `window`, counted.
fn tally(monitor: &Json, window: &Window) -> Tally {
    let rows = monitor["rows"][window.unit.table()].as_array().unwrap().iter();
    let number = |row: &Json, at: usize| row[at].as_f64().unwrap();
    let is_inside = |row: &&Json| (window.first..=window.last).contains(&row[0].as_i64().unwrap());
    rows.filter(is_inside).fold(Tally::default(), |sum, row| {
        let (up, down, ping) = (number(row, 1), number(row, 2), number(row, 3));
        Tally { up: sum.up + up, total: sum.total + up + down, ping: sum.ping + ping * up, pinged: sum.pinged + up }
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
