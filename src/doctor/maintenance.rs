//! Checks of maintenance windows: one invalid window prevents the state changes of all monitors from being stored.

use chrono::{NaiveDate, NaiveTime};
use serde_json::Value as Json;

use super::monitors::{set, shown, subject};
use super::{Evidence, Fault, Fix};
use crate::value::{Row, Value};

/// The strategies of the server (2.5.3).
const STRATEGIES: [&str; 6] =
    ["manual", "single", "cron", "recurring-interval", "recurring-weekday", "recurring-day-of-month"];

/// Finds windows that the server cannot compute.
pub(super) fn find_bad_windows(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    for row in content.config.rows("maintenance") {
        let zone = row.text("timezone").unwrap_or_default();
        if content.unknown_zones.contains(zone) {
            fault(faults, row, "timezone", "which is not a valid time zone", &[("timezone", "SAME_AS_SERVER".into())]);
        }
        for column in ["start_date", "end_date"] {
            if row.cell("active").truthy() && !is_nothing(row, column) && !is_date(row.cell(column)) {
                fault(faults, row, column, "which is not a valid date", &[("active", 0.into())]);
            }
        }
        for column in ["weekdays", "days_of_month"] {
            let is_list = |text: &str| serde_json::from_str::<Json>(text).is_ok_and(|json| json.is_array());
            if !is_nothing(row, column) && !row.text(column).is_some_and(is_list) {
                fault(faults, row, column, "which is not a JSON list", &[(column, "[]".into())]);
            }
        }
        let strategy = row.text("strategy").unwrap_or_default();
        if strategy.starts_with("recurring-") {
            for column in ["start_time", "end_time"] {
                // Disabled as well: an unintended window must not silence alerts.
                if !is_nothing(row, column) && !is_time(row.cell(column)) {
                    fault(
                        faults,
                        row,
                        column,
                        "which is not a valid time of day",
                        &[(column, "00:00".into()), ("active", 0.into())],
                    );
                }
            }
        }
        let fields = row.text("cron").unwrap_or_default().split_whitespace().count();
        if strategy == "cron" && ![5, 6].contains(&fields) {
            fault(
                faults,
                row,
                "cron",
                "which is not a valid cron expression",
                &[("cron", "30 3 * * *".into()), ("active", 0.into())],
            );
        }
        if !STRATEGIES.contains(&strategy) {
            let manual = [("strategy", "manual".into()), ("active", 0.into())];
            fault(faults, row, "strategy", "which is not a valid strategy", &manual);
        }
    }
}

fn fault(faults: &mut Vec<Fault>, row: &Row, column: &str, why: &str, cells: &[(&str, Value)]) {
    let name = format!("maintenance `{}`", row.text("title").unwrap_or_default());
    faults.push(Fault {
        subject: subject("maintenance", row, column),
        what: format!(
            "{name}: column `{column}` is {}, {why}; state changes of all monitors are not stored, and alerts repeat",
            shown(row.cell(column))
        ),
        fix: Fix::Rows(vec![set("maintenance", &name, row, cells)]),
    });
}

fn is_nothing(row: &Row, column: &str) -> bool {
    row.cell(column).is_nothing()
}

fn is_date(cell: &Value) -> bool {
    let Some(text) = cell.text() else { return false };
    let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, ""));
    let time = time.trim_end_matches('Z');
    NaiveDate::parse_from_str(date, "%Y-%m-%d").is_ok() && (time.is_empty() || is_time(&time.into()))
}

fn is_time(cell: &Value) -> bool {
    let Some(text) = cell.text() else { return false };
    let text = text.split('.').next().unwrap_or_default();
    ["%H:%M:%S", "%H:%M"].iter().any(|form| NaiveTime::parse_from_str(text, form).is_ok())
}
