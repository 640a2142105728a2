//! Rows as items with fields, in one spelling for both engines and all releases.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::entities::{Entity, MONITORS};
use super::fields::Field;
use super::same;
use super::state::{ConfigRows, monitor_paths};
use crate::value::{Row, Value};

/// Keys of a notification's JSON that are columns or separate fields.
pub(crate) const OUTSIDE_CONFIG: [&str; 4] = ["name", "type", "isDefault", "applyExisting"];

/// The name of the item in `row`.
pub fn existing_name(entity: &Entity, row: &Row) -> String {
    match entity.key {
        "proxies" => {
            let text = |column| match row.cell(column) {
                Value::Null => String::new(),
                value => value.to_string(),
            };
            proxy_name(&text("protocol"), &text("host"), &text("port"))
        }
        _ => row.text(entity.name).unwrap_or_default().to_owned(),
    }
}

/// The names of all items of one kind, by id; for monitors, their paths.
pub fn existing_names(entity: &Entity, config: &ConfigRows) -> HashMap<i64, String> {
    let rows = config.rows(entity.table);
    if entity.table == MONITORS.table {
        monitor_paths(rows)
    } else {
        rows.iter().filter_map(|row| Some((row.int("id")?, existing_name(entity, row)))).collect()
    }
}

/// Parts of one kind by the id of the item that they belong to, in order.
pub fn parts_by_owner<'c>(part: &Entity, config: &'c ConfigRows) -> HashMap<i64, Vec<&'c Row>> {
    let mut by_owner: HashMap<i64, Vec<&Row>> = HashMap::new();
    for row in config.rows(part.table) {
        if let Some(owner) = row.int(part.owner) {
            by_owner.entry(owner).or_default().push(row);
        }
    }
    if !part.order.is_empty() {
        by_owner.values_mut().for_each(|rows| rows.sort_by_key(|row| (row.int(part.order), row.int("id"))));
    }
    by_owner
}

/// The value of field `column` in `row`: usually the cell itself.
pub fn read_cell(entity: &Entity, row: &Row, column: &str) -> Value {
    match (entity.table, column) {
        ("notification", "type" | "config") => {
            let text = row.text("config").unwrap_or_default();
            let Ok(Json::Object(mut config)) = serde_json::from_str(text) else {
                // Not written by the server; it is shown and kept unchanged.
                return if column == "config" { text.into() } else { Value::Null };
            };
            match column {
                "type" => config.get("type").and_then(Json::as_str).into(),
                _ => {
                    OUTSIDE_CONFIG.iter().for_each(|key| drop(config.shift_remove(*key)));
                    Json::Object(config).to_string().into()
                }
            }
        }
        _ => canonical(column, row.cell(column)),
    }
}

/// `value` in the spelling used to compare engines and releases: dates with seconds, times without.
pub fn canonical(column: &str, value: &Value) -> Value {
    // A flag in betas of 2.0; the server ignores everything else (2.5.3).
    if column == "ip_family" {
        return if matches!(value.text(), Some("ipv4" | "ipv6")) { value.clone() } else { Value::Null };
    }
    let Value::Text(text) = value else { return value.clone() };
    match column {
        "start_date" | "end_date" | "expires" => {
            let text = text.trim().trim_end_matches('Z').replace('T', " ");
            // A fraction of a second.
            let whole = text.split_once('.').filter(|(whole, _)| whole.contains(':'));
            let text = whole.map_or(text.as_str(), |(text, _)| text);
            match text.len() {
                0 if column == "expires" => Value::Null,
                10 if text.as_bytes()[4] == b'-' => format!("{text} 00:00:00").into(),
                16 => format!("{text}:00").into(),
                _ => text.into(),
            }
        }
        // As in the form of the server and in some exports.
        "analytics_type" if text.is_empty() || text.eq_ignore_ascii_case("none") => Value::Null,
        "start_time" | "end_time" => {
            let mut parts = text.trim().split(':');
            match (parts.next(), parts.next()) {
                (Some(hour), Some(minute)) => format!("{hour:0>2}:{minute:0>2}").into(),
                _ => value.clone(),
            }
        }
        _ => value.clone(),
    }
}

/// Whether both are equal for the server; NULL and an empty text are.
pub fn same_cell(field: &Field, old: &Value, new: &Value) -> bool {
    same(field, &canonical(field.column, old), &canonical(field.column, new)) || old.is_nothing() && new.is_nothing()
}

/// The name of a field in a fixture: the column, or the shorter name of what it refers to.
pub fn spelled<'c>(entity: &Entity, column: &'c str) -> &'c str {
    match (entity.table, column) {
        ("monitor", "proxy_id") => "proxy",
        ("monitor", "accepted_statuscodes_json") => "accepted_statuscodes",
        (_, "tag_id" | "notification_id") => "name",
        (_, "monitor_id") => "monitor",
        (_, "status_page_id") => "status_page",
        ("notification", "is_default") => "default",
        ("user", "password") => "password_hash",
        (_, column) => column,
    }
}

/// The name of a proxy: its address.
pub fn proxy_name(protocol: &str, host: &str, port: &str) -> String {
    match port {
        "" => format!("{protocol}://{host}"),
        port => format!("{protocol}://{host}:{port}"),
    }
}
