//! Counts what an upgrade depends on.

use std::collections::BTreeSet;

use crate::engine::{Depth, Reader, quote};
use crate::error::Result;
use crate::kuma::read::STATISTICS;
use crate::model::state::Database;
use crate::schema::Schema;
use crate::upgrade::Route;
use crate::upgrade::preflight::Facts;
use crate::upgrade::rules::{is_line_notify, is_without_cron, renamed_from};
use crate::upgrade::settings::{AGGREGATED, AggregationState};
use crate::value::Value;

/// Reads the facts of `database` for the way of `route`.
pub fn read_facts(reader: &mut dyn Reader, database: &Database, route: &Route) -> Result<Facts> {
    let schema = &database.schema;
    let mut facts = Facts {
        beats: count(reader, "SELECT count(*) FROM `heartbeat`")?,
        orphans: count(
            reader,
            "SELECT count(*) FROM `heartbeat` WHERE `monitor_id` NOT IN (SELECT `id` FROM `monitor`)",
        )?,
        state: read_state(reader)?,
        foreign: read_foreign(schema, route.target.schema()),
        locked: database.migrating,
        faults: reader.check(Depth::References)?.iter().map(ToString::to_string).collect(),
        ..Facts::default()
    };
    for table in STATISTICS.into_iter().filter(|table| schema.table(table).is_some()) {
        facts.statistics += count(reader, &format!("SELECT count(*) FROM {}", quote(table)))?;
    }
    if facts.is_aggregated(route) {
        let sql = "SELECT count(*) FROM `heartbeat` WHERE `status` IS NULL OR `status` NOT IN (0, 1, 2, 3)";
        facts.unknown_status = count(reader, sql)?;
    }
    if schema.has("maintenance", "cron") {
        let sql = "SELECT `title`, `strategy`, `cron`, `start_time` FROM `maintenance` ORDER BY `id`";
        for row in reader.query(sql, &[])? {
            let text = |column: &str| row.text(column).map(str::to_owned);
            if is_without_cron(&text) {
                facts.windows.push((text("title").unwrap_or_default(), text("start_time")));
            }
        }
    }
    let rows = reader.query("SELECT `name`, `config` FROM `notification` ORDER BY `id`", &[])?;
    let named = rows.iter().filter(|row| is_line_notify(row.cell("config")));
    facts.line_notify = named.map(|row| row.cell("name").to_string()).collect();
    for table in unguarded(schema, route.target.schema()) {
        let sql = format!("SELECT count(*) FROM {} WHERE {NO_MONITOR}", quote(&table));
        let rows = count(reader, &sql)?;
        if rows > 0 {
            facts.dangling.insert(table, rows);
        }
    }
    Ok(facts)
}

const NO_MONITOR: &str = "`monitor_id` NOT IN (SELECT `id` FROM `monitor`)";

/// Tables whose `monitor_id` has a foreign key in `target` but not in `schema`.
pub(super) fn unguarded(schema: &Schema, target: &Schema) -> BTreeSet<String> {
    let guards = |schema: &Schema, table: &str| {
        schema.table(table).is_some_and(|found| found.foreign_keys.iter().any(|key| key.column == "monitor_id"))
    };
    let unguarded =
        |table: &&String| schema.has(table, "monitor_id") && !guards(schema, table) && guards(target, table);
    target.tables.keys().filter(unguarded).cloned().collect()
}

/// Tables and columns of `schema` that `target` has no place for.
fn read_foreign(schema: &Schema, target: &Schema) -> Vec<String> {
    let mut foreign = Vec::new();
    for (name, table) in &schema.tables {
        let Some(new) = target.table(name) else {
            foreign.push(name.clone());
            continue;
        };
        let is_renamed = |column: &str| new.columns.iter().any(|new| renamed_from(name, &new.name) == Some(column));
        let lost =
            table.columns.iter().filter(|column| new.column(&column.name).is_none() && !is_renamed(&column.name));
        foreign.extend(lost.map(|column| format!("{name}.{}", column.name)));
    }
    foreign
}

/// The progress of the aggregation of the heartbeats.
pub fn read_state(reader: &mut dyn Reader) -> Result<Option<AggregationState>> {
    let rows = reader.query("SELECT `value` FROM `setting` WHERE `key` = ?", &[Value::from(AGGREGATED)])?;
    Ok(rows.first().map(|row| AggregationState::of(row.cell("value"))))
}

fn count(reader: &mut dyn Reader, sql: &str) -> Result<u64> {
    Ok(reader.query(sql, &[])?.first().and_then(|row| row.at(0).int()).unwrap_or(0).unsigned_abs())
}
