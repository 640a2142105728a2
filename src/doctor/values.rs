//! Checks of values that the server reads, but not as they were meant.

use serde_json::Value as Json;

use super::monitors::{Monitors, id, number, shown, subject};
use super::{Evidence, Fault, Fix, Subject};
use crate::model::defaults::page_default;
use crate::model::fields::FIELDS;
use crate::model::games::renamed_game;
use crate::model::providers::{Missing, missing_provider};
use crate::model::release::{R2_1, R2_5};
use crate::model::{self, ValueShape};
use crate::schema::{self, Release};
use crate::text::{counted, meant};
use crate::value::{Row, Value};

/// The longest wait of a timer of the server, in seconds; with more, it does not wait at all.
const LONGEST: i64 = 2_073_600;

/// The longest plausible timeout, in intervals: a monitor with an interval of 20 s that was edited keeps its 48 s.
const MOST: f64 = 10.0;

/// Seconds that are not a number, or out of the range of the server's timers; `active` that is neither 0 nor 1.
pub(super) fn find_bad_numbers(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(monitors) = Monitors::of(evidence) else { return };
    let release = monitors.content.config.database.release.release;
    let least = if release < R2_1 { 20 } else { 1 };
    // 2.5 has only the limit of the timer.
    let most = if release < R2_5 { LONGEST } else { i64::from(i32::MAX / 1000) };
    for row in monitors.rows {
        let interval = whole(row.cell("interval")).filter(|n| *n > 0).unwrap_or(60).clamp(least, LONGEST);
        let limits = [
            ("interval", least, most, interval, "the monitor is checked without a pause, or never"),
            ("retry_interval", 0, most, interval, "the monitor is retried without a pause, or never"),
            (
                "timeout",
                0,
                most,
                (interval * 4 / 5).max(1),
                "checks of the monitor never time out, or time out \
                                                             immediately",
            ),
        ];
        for (column, least, most, right, means) in limits {
            let cell = row.cell(column);
            if !row.columns().iter().any(|name| name == column) || (column != "interval" && cell.is_null()) {
                continue;
            }
            let fits = match cell {
                Value::Int(n) => (least..=most).contains(n),
                // A timeout may be a fraction: the page computes it.
                Value::Real(x) => column == "timeout" && *x >= 0.0 && *x <= most as f64,
                // DOUBLE and DECIMAL are read as text.
                Value::Text(text) => {
                    text.parse().is_ok_and(|x: f64| column == "timeout" && x >= 0.0 && x <= most as f64)
                }
                _ => false,
            };
            if !fits {
                // Zero and negative numbers mean no pause at all, which is never intended.
                let right = whole(cell).filter(|n| *n > 0).map_or(right, |n| n.clamp(least.max(1), LONGEST));
                faults.push(Fault {
                    subject: monitors.subject(row, column),
                    what: format!("{}: column `{column}` is {}; {means}", monitors.name(row), shown(cell)),
                    fix: Fix::Rows(vec![monitors.set(row, &[(column, right.into())])]),
                });
            }
        }
        let active = row.cell("active");
        if !matches!(active, Value::Int(0 | 1)) {
            let right = i64::from(active.truthy() || active.text() == Some("true"));
            faults.push(Fault {
                subject: monitors.subject(row, "active"),
                what: format!(
                    "{}: column `active` is {}, neither 0 nor 1; the monitor may never start, or never stop",
                    monitors.name(row),
                    shown(active)
                ),
                fix: Fix::Rows(vec![monitors.set(row, &[("active", right.into())])]),
            });
        }
        find_texts(&monitors, row, faults);
    }
}

/// The integer in a numeric cell.
fn whole(cell: &Value) -> Option<i64> {
    match cell {
        Value::Int(n) => Some(*n),
        other => number(other).map(|x| x.round() as i64),
    }
}

/// Flags and whole numbers of a monitor that are texts, which SQLite stores in any column. The columns of which more is known are
/// checked with their ranges.
fn find_texts(monitors: &Monitors<'_>, row: &Row, faults: &mut Vec<Fault>) {
    const RANGED: [&str; 4] = ["active", "interval", "retry_interval", "timeout"];
    let database = &monitors.content.config.database;
    let (release, name) = (database.release.release, row.text("type").unwrap_or_default());
    let own = model::kind(name);
    for field in FIELDS.iter().filter(|field| own.is_none_or(|kind| kind.has(field.column, release))) {
        let column = field.column;
        let cell = row.cell(column);
        let Some(text) = cell.text().filter(|_| number(cell).is_none() && !RANGED.contains(&column)) else { continue };
        let (means, right) = match field.shape {
            ValueShape::Flag => {
                let is_false = ["", "no", "false", "off", "n", "f"].contains(&text.trim().to_lowercase().as_str());
                let means = if text.is_empty() { "false" } else { "true" };
                (format!("which the server takes for {means}"), Some(Value::Int(i64::from(!is_false))))
            }
            ValueShape::Whole(..) => {
                let default = page_default(column, name, release).filter(|default| default.int().is_some());
                let live = database.schema.table("monitor").and_then(|table| table.column(column));
                let null = live.filter(|live| !live.not_null).map(|_| Value::Null);
                ("which is not a number".to_owned(), default.or(null))
            }
            _ => continue,
        };
        faults.push(Fault {
            subject: monitors.subject(row, column),
            what: format!("{}: column `{column}` is {}, {means}", monitors.name(row), shown(cell)),
            fix: match right {
                Some(right) => Fix::Rows(vec![monitors.set(row, &[(column, right)])]),
                None => Fix::Advice(format!("set it: kumadb monitor edit {} --set {column}=NUMBER", id(row))),
            },
        });
    }
}

/// Timeouts of 0, for which the server waits 800 times the interval, and timeouts of many intervals (1.23.17, 2.5.3).
pub(super) fn find_bad_timeouts(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(monitors) = Monitors::of(evidence) else { return };
    let release = monitors.content.config.database.release.release;
    for row in monitors.rows {
        let kind = row.text("type").and_then(model::kind);
        // A ping has a range of its own, which the server enforces.
        if !kind.is_some_and(|kind| kind.name != "ping" && kind.has("timeout", release)) {
            continue;
        }
        let (Some(timeout), Some(interval)) = (number(row.cell("timeout")), number(row.cell("interval"))) else {
            continue;
        };
        if interval <= 0.0 || timeout < 0.0 {
            continue;
        }
        let means = if timeout == 0.0 {
            let hours = interval * 800.0 / 3600.0;
            format!("is 0: the server waits {hours:.1} hours before a check that gets no answer fails")
        } else if timeout > interval * MOST {
            format!("of {timeout} s is over ten times its interval of {interval} s: an outage is seen much too late")
        } else {
            continue;
        };
        faults.push(Fault {
            subject: monitors.subject(row, "timeout"),
            what: format!("{}: the timeout {means}", monitors.name(row)),
            fix: Fix::Rows(vec![monitors.set(row, &[("timeout", Value::Real(interval * 0.8))])]),
        });
    }
}

/// Status codes that match no response: the server understands `404` and `200-299` (1.23.17, 2.5.3).
pub(super) fn find_bad_codes(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(monitors) = Monitors::of(evidence) else { return };
    let release = monitors.content.config.database.release.release;
    for row in monitors.rows {
        let column = "accepted_statuscodes_json";
        if !row.text("type").and_then(model::kind).is_some_and(|kind| kind.has(column, release)) {
            continue;
        }
        // Anything else is K001.
        let Ok(codes) = serde_json::from_str::<Vec<String>>(row.text(column).unwrap_or_default()) else { continue };
        let is_several = |code: &str| code.contains([',', ';']);
        let why = match codes.iter().find(|code| !is_code(code) || is_several(code)) {
            Some(code) => {
                let read = if is_code(code) { "only partly understands" } else { "matches with no response" };
                format!("accepts the status code {}, which the server {read}", shown(&code.as_str().into()))
            }
            None if codes.is_empty() => "accepts no status code, so it is always down".to_owned(),
            None => continue,
        };
        let meant: Option<Vec<String>> = if codes.is_empty() {
            Some(vec!["200-299".into()])
        } else {
            codes.iter().map(|code| meant_by(code)).collect::<Option<Vec<_>>>().map(|codes| codes.concat())
        };
        let fix = match meant.filter(|codes| !codes.is_empty()) {
            Some(codes) => {
                Fix::Rows(vec![monitors.set(row, &[(column, Json::from(codes).to_string().as_str().into())])])
            }
            None => {
                Fix::Advice(format!("set the codes: kumadb monitor edit {} -s accepted_statuscodes=200-299", id(row)))
            }
        };
        faults.push(Fault {
            subject: monitors.subject(row, column),
            what: format!("{} {why}", monitors.name(row)),
            fix,
        });
    }
}

/// Whether a response can have `code`, as the server reads it: one or two numbers, of which it takes the digits that
/// come first (2.5.3). Codes of websockets have four digits.
fn is_code(code: &str) -> bool {
    let number = |text: &str| {
        let text = text.trim_start();
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        text[..digits].parse::<u32>().ok()
    };
    let possible = 100..=4999;
    match code.split('-').map(number).collect::<Vec<_>>()[..] {
        [Some(one)] => possible.contains(&one),
        [Some(from), Some(to)] => from <= to && from <= *possible.end() && to >= *possible.start(),
        _ => false,
    }
}

/// What a person meant with `2xx`, or with several codes in one text.
fn meant_by(text: &str) -> Option<Vec<String>> {
    let code = |part: &str| {
        let part: String = part.chars().filter(|c| !c.is_whitespace()).collect();
        match part.to_lowercase().as_bytes() {
            [class @ b'1'..=b'5', b'x', b'x'] => Some(format!("{0}00-{0}99", char::from(*class))),
            _ => is_code(&part).then_some(part),
        }
    };
    text.split([',', ';']).filter(|part| !part.trim().is_empty()).map(code).collect()
}

/// Notifications of a provider that the release does not have: its server refuses to send them (2.5.3).
pub(super) fn find_missing_providers(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    let config = &content.config;
    let image = server_release(evidence);
    let release = image.unwrap_or(config.database.release.release);
    // A newer server with the same tables may have a provider that is not recorded.
    let is_recorded = image.map_or(release < schema::newest(), |image| image <= schema::newest());
    for row in config.rows("notification") {
        let parsed: Option<Json> = serde_json::from_str(row.text("config").unwrap_or_default()).ok();
        let Some(kind) = parsed.as_ref().and_then(|json| json.get("type")).and_then(Json::as_str) else { continue };
        let why = match missing_provider(kind, release) {
            Some(Missing::Removed(since)) => format!("which Uptime Kuma has removed in {since}"),
            Some(Missing::Later(since)) => format!("which is available since {since}, and the server is {release}"),
            Some(Missing::Unknown(near)) if is_recorded || near.is_some_and(|near| near.eq_ignore_ascii_case(kind)) => {
                format!("which release {release} does not have{}", near.map_or_else(String::new, meant))
            }
            _ => continue,
        };
        let links = config.rows("monitor_notification");
        let uses = links.iter().filter(|link| link.int("notification_id") == row.int("id")).count();
        let name = row.text("name").unwrap_or_default();
        faults.push(Fault {
            subject: subject("notification", row, "config"),
            what: format!(
                "notification `{name}` uses `{kind}`, {why}: it is never sent; used by {}",
                counted(uses, "monitor")
            ),
            fix: Fix::Advice(
                "set up a notification of another provider for these monitors, and delete this one".into(),
            ),
        });
    }
}

/// The release of the image, where it is known and belongs to the database.
fn server_release(evidence: &Evidence) -> Option<Release> {
    let found = &evidence.database.as_ref()?.config.database.release;
    let image: Release = evidence.container.as_ref()?.release.as_ref()?.parse().ok()?;
    (found.exact && image >= found.oldest).then_some(image)
}

/// Games by the ids of another release: GameDig does not know them, and the monitors stay down.
pub(super) fn find_renamed_games(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(monitors) = Monitors::of(evidence) else { return };
    let release = monitors.content.config.database.release.release;
    for row in monitors.rows.iter().filter(|row| row.text("type") == Some("gamedig")) {
        let Some((game, here)) = row.text("game").and_then(|game| Some((game, renamed_game(game, release)?))) else {
            continue;
        };
        faults.push(Fault {
            subject: monitors.subject(row, "game"),
            what: format!(
                "{}: release {release} knows the game `{game}` as `{here}`; each check fails, and the monitor stays down",
                monitors.name(row)
            ),
            fix: Fix::Rows(vec![monitors.set(row, &[("game", here.into())])]),
        });
    }
}

/// Groups of monitors that belong to no status page: no page shows them.
pub(super) fn find_lost_groups(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    let rows = content.config.rows("group").iter();
    for row in rows.filter(|row| row.cell("status_page_id").is_null()) {
        let links = content.config.rows("monitor_group").iter().filter(|link| link.int("group_id") == row.int("id"));
        faults.push(Fault {
            subject: subject("group", row, "status_page_id"),
            what: format!(
                "group `{}` with {} belongs to no status page: no page shows it",
                row.text("name").unwrap_or_default(),
                counted(links.count(), "monitor")
            ),
            fix: Fix::Advice(
                "add the group to a status page with a fixture and `kumadb apply`; to delete it: kumadb sql --write \
                 \"DELETE FROM monitor_group WHERE group_id = …; DELETE FROM `group` WHERE id = …\""
                    .replace('…', &id(row).to_string()),
            ),
        });
    }
}

/// Tables that refer to tables that do not exist, and what the `.recover` of sqlite3 leaves.
pub(super) fn find_lost_tables(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    let schema = &content.config.database.schema;
    let at = |table: &str| Subject { table: Some(table.into()), ..Subject::default() };
    for (name, table) in &schema.tables {
        for key in table.foreign_keys.iter().filter(|key| schema.table(&key.table).is_none()) {
            faults.push(Fault {
                subject: at(name),
                what: format!(
                    "column `{}` of table `{name}` refers to table `{}`, which does not exist: rows of `{name}` cannot \
                     be written",
                    key.column, key.table
                ),
                fix: Fix::Advice(
                    "restore a snapshot (`kumadb backup list`), or create a new instance with `kumadb init` and apply \
                     an export there"
                        .into(),
                ),
            });
        }
    }
    for name in schema.tables.keys().filter(|name| name.starts_with("lost_and_found")) {
        faults.push(Fault {
            subject: at(name),
            what: format!(
                "table `{name}` is from `.recover` of sqlite3: it contains rows that could not be assigned to a table, \
                 which may be missing in their tables"
            ),
            fix: Fix::Advice(
                "compare with a snapshot, or run `kumadb salvage` on the damaged original, which assigns such rows"
                    .into(),
            ),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_people_write() {
        let meant = |text: &str| meant_by(text).map(|codes| codes.join(" "));
        for (text, expected) in [
            ("2xx", Some("200-299")),
            ("200-299,301", Some("200-299 301")),
            (" 404 ", Some("404")),
            ("2XX; 3xx", Some("200-299 300-399")),
            ("ok", None),
            ("299-200", None),
        ] {
            assert_eq!(meant(text).as_deref(), expected, "{text}");
        }
    }
}
