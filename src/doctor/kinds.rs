//! Checks of single monitors that always stay down, usually after a manual insert.

use super::monitors::{Monitors, id, shown};
use super::{Evidence, Fault, Fix};
use crate::model;
use crate::text::meant;

/// Required columns by type, and what the page writes there (2.5.3).
const NEEDED: [(&str, &str, &str); 3] = [
    ("dns", "dns_resolve_server", "1.1.1.1"),
    ("kafka-producer", "kafka_producer_brokers", "[]"),
    ("kafka-producer", "kafka_producer_sasl_options", r#"{"mechanism":"None"}"#),
];

/// A monitor whose check fails because of one empty cell. Empty JSON affects all monitors and is K001.
pub(super) fn find_lacking(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(monitors) = Monitors::of(evidence) else { return };
    for row in monitors.rows {
        for (kind, column, right) in NEEDED {
            let cell = row.cell(column);
            let problems = if column == "dns_resolve_server" { cell.is_nothing() } else { cell.is_null() };
            if row.text("type") != Some(kind) || !problems || !row.columns().iter().any(|name| name == column) {
                continue;
            }
            faults.push(Fault {
                subject: monitors.subject(row, column),
                what: format!(
                    "{}: column `{column}` is {}; each check fails, and the monitor stays down",
                    monitors.name(row),
                    shown(cell)
                ),
                fix: Fix::Rows(vec![monitors.set(row, &[(column, right.into())])]),
            });
        }
    }
}

/// A monitor of an unknown type. Not checked for a database that is newer than kumadb.
pub(super) fn find_unknown_kinds(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(monitors) = Monitors::of(evidence) else { return };
    if !monitors.content.config.database.release.exact {
        return;
    }
    for row in monitors.rows {
        let kind = row.cell("type");
        if kind.text().is_some_and(|kind| model::kind(kind).is_some()) {
            continue;
        }
        let release = monitors.content.config.database.release.release;
        let near = model::nearest_kind(kind.text().unwrap_or_default(), release);
        faults.push(Fault {
            subject: monitors.subject(row, "type"),
            what: format!(
                "{} has the unknown type {}{}; it stays down",
                monitors.name(row),
                shown(kind),
                near.map_or_else(String::new, meant)
            ),
            fix: Fix::Advice(format!(
                "set its type, which keeps its history: kumadb monitor edit {} --set type={}",
                id(row),
                near.unwrap_or("TYPE")
            )),
        });
    }
}

/// A monitor with the id 0, which much of the server treats as missing.
pub(super) fn find_zero(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(monitors) = Monitors::of(evidence) else { return };
    for row in monitors.rows.iter().filter(|row| row.int("id") == Some(0)) {
        faults.push(Fault {
            subject: monitors.subject(row, "id"),
            what: format!(
                "{} has the id 0, which the web UI treats as missing; it cannot be opened or changed in the web UI",
                monitors.name(row)
            ),
            fix: Fix::Advice(
                "`kumadb monitor clone 0 NAME`, then `kumadb monitor delete 0`; its history is kept only in the \
                 snapshot"
                    .into(),
            ),
        });
    }
}
