//! Checks of monitors and their notifications.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value as Json;

use super::evidence::DatabaseContent;
use super::{Evidence, Fault, Fix, Subject};
use crate::model::entities::noun;
use crate::model::state::{ConfigRows, monitor_paths};
use crate::plan::user::plan_adopt;
use crate::plan::{Assignment, Change, PlanStep};
use crate::text::counted;
use crate::value::{Row, Value};

/// The required shape of a JSON column of `monitor`.
struct JsonShape {
    column: &'static str,
    fits: fn(&Json) -> bool,
    reset: Option<&'static str>,
}

/// The JSON columns that the list of monitors is built from (2.5.3); one invalid cell hides all monitors. Headers
/// affect only their own monitor, and have no default.
const SHAPES: &[JsonShape] = &[
    JsonShape {
        column: "accepted_statuscodes_json",
        fits: |json| json.as_array().is_some_and(|codes| codes.iter().all(Json::is_string)),
        reset: Some(r#"["200-299"]"#),
    },
    JsonShape { column: "kafka_producer_brokers", fits: Json::is_array, reset: Some("[]") },
    JsonShape { column: "kafka_producer_sasl_options", fits: Json::is_object, reset: Some(r#"{"mechanism":"None"}"#) },
    JsonShape { column: "rabbitmq_nodes", fits: Json::is_array, reset: Some("[]") },
    JsonShape { column: "conditions", fits: Json::is_array, reset: Some("[]") },
    JsonShape { column: "headers", fits: |_| true, reset: None },
];

/// A cell that does not parse, is empty, or has the wrong shape. The server itself leaves NULL in a column that a type
/// does not use.
pub(super) fn find_bad_json(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(monitors) = Monitors::of(evidence) else { return };
    for row in monitors.rows {
        for shape in SHAPES {
            let cell = row.cell(shape.column);
            let Some(text) = cell.text() else { continue };
            let is_empty_header = shape.reset.is_none() && text.is_empty();
            let why = match serde_json::from_str::<Json>(text) {
                _ if is_empty_header => continue,
                Ok(json) if (shape.fits)(&json) => continue,
                Ok(_) => "has the wrong shape",
                Err(_) if text.is_empty() => "is empty",
                Err(_) => "is not valid JSON",
            };
            let (means, fix) = match shape.reset {
                Some(reset) => (
                    "the server cannot load its monitors, so the web UI shows none of them and login hangs",
                    Fix::Rows(vec![monitors.set(row, &[(shape.column, reset.into())])]),
                ),
                None => (
                    "this monitor cannot send its request and stays down",
                    Fix::Advice(format!("set the headers: kumadb monitor edit {} -s 'headers={{}}'", id(row))),
                ),
            };
            faults.push(Fault {
                subject: monitors.subject(row, shape.column),
                what: format!("{}: column {} {why}; {means}", monitors.name(row), shape.column),
                fix,
            });
        }
    }
}

/// A monitor that is its own group, groups in a cycle, and children of a monitor that is not a group.
pub(super) fn find_circles(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(monitors) = Monitors::of(evidence) else { return };
    let parents: HashMap<i64, i64> =
        monitors.rows.iter().filter_map(|row| Some((row.int("id")?, row.int("parent")?))).collect();
    let kinds: HashMap<i64, &str> =
        monitors.rows.iter().filter_map(|row| Some((row.int("id")?, row.text("type").unwrap_or_default()))).collect();
    for row in monitors.rows {
        let (Some(own), Some(parent)) = (row.int("id"), row.int("parent")) else { continue };
        let Some(kind) = kinds.get(&parent) else { continue };
        let circle = circle_of(own, &parents);
        let why = if parent == own {
            "is its own parent; the server loops endlessly, so login hangs and one CPU core is busy".to_owned()
        } else if *kind != "group" {
            format!("has monitor {parent} as its parent, which is not a group; the web UI cannot show it in that group")
        } else if circle.iter().min() == Some(&own) {
            // Removing one edge opens the cycle; the others are kept.
            format!(
                "is in a cycle of {} groups; the server loops endlessly, so login hangs and one CPU core is busy",
                circle.len()
            )
        } else {
            continue;
        };
        faults.push(Fault {
            subject: monitors.subject(row, "parent"),
            what: format!("{} {why}", monitors.name(row)),
            fix: Fix::Rows(vec![monitors.set(row, &[("parent", Value::Null)])]),
        });
    }
}

/// The monitors of the cycle through `own`; empty if there is none.
fn circle_of(own: i64, parents: &HashMap<i64, i64>) -> BTreeSet<i64> {
    let mut seen = BTreeSet::new();
    let mut at = own;
    while let Some(parent) = parents.get(&at) {
        if !seen.insert(at) {
            return BTreeSet::new();
        }
        if *parent == own {
            return seen;
        }
        at = *parent;
    }
    BTreeSet::new()
}

/// Items of any kind without a user, and monitors in a group that does not exist: they run, but no page shows them.
pub(super) fn find_ghosts(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(monitors) = Monitors::of(evidence) else { return };
    find_ownerless(&monitors.content.config, faults);
    let all: BTreeSet<Option<i64>> = monitors.rows.iter().map(|row| row.int("id")).collect();
    let mut lost: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
    for row in monitors.rows {
        let parent = row.cell("parent");
        if !parent.is_null() && !all.contains(&parent.int()) {
            lost.entry(parent.to_string()).or_default().push(row);
        }
    }
    for (parent, rows) in lost {
        let names: Vec<String> = rows.iter().map(|row| monitors.name(row)).collect();
        let (is, it) = if rows.len() == 1 { ("is", "it") } else { ("are", "them") };
        faults.push(Fault {
            subject: match rows.as_slice() {
                [row] => monitors.subject(row, "parent"),
                _ => Subject::column("monitor", "parent"),
            },
            what: format!(
                "{} {is} in group {parent}, which does not exist; the web UI does not show {it}",
                some_of(&names)
            ),
            fix: Fix::Rows(rows.iter().map(|row| monitors.set(row, &[("parent", Value::Null)])).collect()),
        });
    }
}

/// One finding for all tables: what has lost one user has usually lost all of it to the same one.
fn find_ownerless(config: &ConfigRows, faults: &mut Vec<Fault>) {
    let lost = config.ownerless();
    let Some((first, rows)) = lost.first() else { return };
    let owners: Vec<&Value> = lost.iter().flat_map(|(_, rows)| rows).map(|row| row.cell("user_id")).collect();
    let without = owners.iter().any(|owner| owner.is_null());
    let others: BTreeSet<String> = owners.iter().filter(|owner| !owner.is_null()).map(ToString::to_string).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    let whose = match (without, others.as_slice()) {
        (true, []) => "no user".to_owned(),
        (false, [one]) => format!("user {one}, who does not exist"),
        (false, several) => format!("users {}, who do not exist", several.join(", ")),
        (true, several) => format!("no user, or to users who do not exist ({})", several.join(", ")),
    };
    let called = |table: &str| if table == "maintenance" { "maintenance window" } else { noun(table) }.to_owned();
    let counts: Vec<String> = lost.iter().map(|(table, rows)| counted(rows.len(), &called(table))).collect();
    let total: usize = lost.iter().map(|(_, rows)| rows.len()).sum();
    let (belongs, they, send, them) =
        if total == 1 { ("belongs", "it is", "sends", "it") } else { ("belong", "they are", "send", "them") };
    let names = config.rows("user").iter().filter_map(|row| row.text("username")).collect::<Vec<_>>();
    faults.push(Fault {
        subject: match (lost.len(), rows.as_slice()) {
            (1, [row]) => subject(first, row, "user_id"),
            (1, _) => Subject::column(first, "user_id"),
            _ => Subject { column: Some("user_id".into()), ..Subject::default() },
        },
        what: format!(
            "{} {belongs} to {whose}; {they} still used and {send} alerts, but the web UI does not show {them} or does not \
             let anyone change {them}",
            counts.join(", ")
        ),
        fix: match (config.rows("user"), names.as_slice()) {
            ([only], _) => Fix::Rows(plan_adopt(config, id(only)).steps),
            ([], _) => {
                Fix::Advice("add a user, who then gets them: `kumadb user add NAME`, `kumadb user adopt`".into())
            }
            (_, names) => Fix::Advice(format!(
                "choose one of the users {}: `kumadb user adopt NAME` gives them all to this user",
                names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            )),
        },
    });
}

/// Up to three names, or how many monitors there are.
fn some_of(names: &[String]) -> String {
    match names {
        [one] => one.clone(),
        [first @ .., last] if first.len() < 3 => format!("{} and {last}", first.join(", ")),
        _ => format!("{} monitors", names.len()),
    }
}

/// Notifications that cannot be sent, and duplicate links.
pub(super) fn find_mute(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(monitors) = Monitors::of(evidence) else { return };
    let config = &monitors.content.config;
    for row in config.rows("notification") {
        let text = row.text("config").unwrap_or_default();
        let parsed: Option<Json> = serde_json::from_str(text).ok();
        let kind = parsed.as_ref().and_then(|json| json.get("type")).and_then(Json::as_str).unwrap_or_default();
        if kind.is_empty() {
            let why = if parsed.is_some() { "has no type" } else { "is not valid JSON" };
            let name = row.text("name").unwrap_or_default();
            faults.push(Fault {
                subject: subject("notification", row, "config"),
                what: format!("notification `{name}`: the configuration {why}, so the notification is never sent"),
                fix: Fix::Advice(format!(
                    "set up notification `{name}` again in the web UI, or with a fixture and `kumadb apply`"
                )),
            });
        }
    }
    let mut seen: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    for row in config.rows("monitor_notification") {
        let (Some(link), Some(monitor), Some(notification)) =
            (row.int("id"), row.int("monitor_id"), row.int("notification_id"))
        else {
            continue;
        };
        if let Some(first) = seen.insert((monitor, notification), link) {
            seen.insert((monitor, notification), first);
            let what = format!(
                "monitor {monitor} is linked to notification {notification} twice; every alert is sent \
                                twice"
            );
            faults.push(Fault {
                subject: subject("monitor_notification", row, "notification_id"),
                fix: Fix::Rows(vec![delete(
                    "monitor_notification",
                    &format!("link {link} of monitor {monitor}"),
                    "id",
                    link,
                    1,
                )]),
                what,
            });
        }
    }
}

/// The monitors of an instance and their names.
pub(super) struct Monitors<'e> {
    pub(super) content: &'e DatabaseContent,
    pub(super) rows: &'e [Row],
    paths: HashMap<i64, String>,
}

impl<'e> Monitors<'e> {
    pub(super) fn of(evidence: &'e Evidence) -> Option<Monitors<'e>> {
        let content = evidence.database.as_ref()?;
        let rows = content.config.rows("monitor");
        Some(Monitors { content, rows, paths: monitor_paths(rows) })
    }

    pub(super) fn name(&self, row: &Row) -> String {
        format!("monitor `{}`", self.paths.get(&id(row)).map_or("", String::as_str))
    }

    pub(super) fn subject(&self, row: &Row, column: &str) -> Subject {
        subject("monitor", row, column)
    }

    pub(super) fn set(&self, row: &Row, cells: &[(&str, Value)]) -> PlanStep {
        set("monitor", &self.name(row), row, cells)
    }
}

pub(super) fn id(row: &Row) -> i64 {
    row.int("id").unwrap_or_default()
}

pub(super) fn subject(table: &str, row: &Row, column: &str) -> Subject {
    Subject { table: Some(table.into()), id: row.int("id"), column: Some(column.into()), path: None }
}

/// New cells in `row`, which is called `name`.
pub(super) fn set(table: &str, name: &str, row: &Row, cells: &[(&str, Value)]) -> PlanStep {
    let set = Assignment::of(table, row, cells);
    PlanStep { table: table.into(), subject: name.into(), change: Change::Update { id: id(row), set } }
}

/// Deletes the `rows` rows of `table` in which `column` is `value`.
pub(super) fn delete(table: &str, name: &str, column: &str, value: i64, rows: u64) -> PlanStep {
    PlanStep {
        table: table.into(),
        subject: name.into(),
        change: Change::Delete { column: column.into(), value, rows },
    }
}

/// The number in a numeric cell.
pub(super) fn number(cell: &Value) -> Option<f64> {
    match cell {
        Value::Int(n) => Some(*n as f64),
        Value::Real(x) => Some(*x),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A cell as a message shows it.
pub(super) fn shown(cell: &Value) -> String {
    match cell {
        Value::Text(text) if text.is_empty() => "empty".into(),
        Value::Text(text) => format!("`{}`", text.chars().take(40).collect::<String>()),
        other => other.to_string(),
    }
}
