//! Prunes the history, and keeps the heartbeats that the server requires.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::history::{before, count, statistics_cutoffs};
use super::read::ids_text;
use crate::engine::{EngineKind, Reader, RowFilter, Writer, quote};
use crate::error::{Error, OperationError, Result};
use crate::plan::history::{DeletePlan, KeptHistory, MonitorSet};
use crate::schema::Schema;
use crate::value::Value;

/// Rows per statement.
const BATCH: u64 = 50_000;

/// Plans of one table whose conditions can be checked for each row.
const MOST: usize = 100;

/// Rows of one monitor that are deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingDelete {
    /// The monitor.
    pub monitor: i64,
    /// How many.
    pub rows: u64,
    /// Time of the oldest, as stored.
    pub oldest: String,
    /// Time of the newest.
    pub newest: String,
}

/// Finds the rows that `keep` does not keep at `now`. The newest heartbeats of each monitor are kept: the server
/// compares the next heartbeat with the last one, and shows a hundred (2.5.3).
pub fn find_delete_plans(
    reader: &mut dyn Reader,
    schema: &Schema,
    keep: &KeptHistory,
    now: DateTime<Utc>,
) -> Result<Vec<DeletePlan>> {
    let mut delete_plans = Vec::new();
    let desired = |table: &str| keep.tables.iter().any(|name| name == table) && schema.table(table).is_some();
    if desired("heartbeat") {
        delete_plans.extend(plan_beats(reader, keep, &before(now, keep.days))?);
    }
    for (table, cutoff) in statistics_cutoffs(schema, keep.daily_days, now) {
        if desired(table) {
            delete_plans.push(DeletePlan {
                table: table.into(),
                column: "timestamp".into(),
                before: cutoff.into(),
                monitors: keep.monitors.clone().map_or(MonitorSet::Except(Vec::new()), MonitorSet::Only),
                keeps_important: false,
            });
        }
    }
    let mut found = Vec::new();
    for delete_plan in delete_plans {
        if is_left(reader, &delete_plan)? {
            found.push(delete_plan);
        }
    }
    Ok(found)
}

/// One deletion for all monitors with enough newer heartbeats, and one for each of the others.
fn plan_beats(reader: &mut dyn Reader, keep: &KeptHistory, cutoff: &str) -> Result<Vec<DeletePlan>> {
    let delete_plan = |before: Value, monitors: MonitorSet| DeletePlan {
        table: "heartbeat".into(),
        column: "time".into(),
        before,
        monitors,
        keeps_important: keep.important,
    };
    let ids = match &keep.monitors {
        Some(ids) => ids.clone(),
        None => read_newest(reader)?.into_keys().collect(),
    };
    let newer = count(reader, &ids, false, Some(cutoff), None)?;
    let (common, silent): (Vec<i64>, Vec<i64>) =
        ids.iter().partition(|id| newer.get(id).copied().unwrap_or(0) >= keep.newest);
    let mut own = Vec::new();
    for id in &silent {
        let last = keep.newest.saturating_sub(1);
        let sql =
            format!("SELECT `time` FROM `heartbeat` WHERE `monitor_id` = ? ORDER BY `time` DESC LIMIT 1 OFFSET {last}");
        if let Some(row) = reader.query(&sql, &[Value::Int(*id)])?.first() {
            own.push(delete_plan(row.at(0).clone(), MonitorSet::Only(vec![*id])));
        }
    }
    let all = match keep.monitors {
        Some(_) => MonitorSet::Only(common),
        None => MonitorSet::Except(silent),
    };
    own.insert(0, delete_plan(cutoff.into(), all));
    Ok(own)
}

/// The time of the newest heartbeat of each monitor. MariaDB reads one entry of the index for each. SQLite would read all entries,
/// so the monitors are found one after another.
pub fn read_newest(reader: &mut dyn Reader) -> Result<BTreeMap<i64, Value>> {
    let mut newest = BTreeMap::new();
    let sql = if has_index(reader, "heartbeat")? {
        format!(
            "{} SELECT id AS `monitor_id`, (SELECT max(`time`) FROM `heartbeat` WHERE `monitor_id` = ids.id) AS newest \
             FROM ids WHERE id IS NOT NULL",
            each_monitor("heartbeat")
        )
    } else {
        "SELECT `monitor_id`, max(`time`) AS newest FROM `heartbeat` GROUP BY `monitor_id`".to_owned()
    };
    reader.stream(&sql, &[], &mut |row| {
        newest.insert(row.int("monitor_id").unwrap_or_default(), row.cell("newest").clone());
        Ok(())
    })?;
    Ok(newest)
}

/// Whether [`each_monitor`] is fast for `table`: on SQLite, with an index that begins with the monitor.
fn has_index(reader: &mut dyn Reader, table: &str) -> Result<bool> {
    if reader.kind() == EngineKind::MariaDb {
        return Ok(false);
    }
    let sql = "SELECT 1 FROM pragma_index_list(?) l, pragma_index_info(l.name) i WHERE l.partial = 0 AND i.seqno = 0 AND \
               i.name = 'monitor_id' LIMIT 1";
    Ok(!reader.query(sql, &[table.into()])?.is_empty())
}

/// `WITH ids` of the monitors with rows in `table`, and NULL: one entry of the index by monitor is read for each of them.
fn each_monitor(table: &str) -> String {
    let table = quote(table);
    format!(
        "WITH RECURSIVE ids(id) AS (SELECT min(`monitor_id`) FROM {table} UNION ALL SELECT (SELECT min(`monitor_id`) FROM \
         {table} WHERE `monitor_id` > ids.id) FROM ids WHERE id IS NOT NULL)"
    )
}

/// Whether `table` has rows of monitors that do not exist.
pub fn has_orphans(reader: &mut dyn Reader, table: &str) -> Result<bool> {
    let sql = if has_index(reader, table)? {
        format!("{} SELECT id FROM ids WHERE id IS NOT NULL", each_monitor(table))
    } else {
        format!("SELECT `monitor_id` AS id FROM {} GROUP BY `monitor_id`", quote(table))
    };
    let sql = format!("SELECT 1 FROM ({sql}) used WHERE id NOT IN (SELECT `id` FROM `monitor`) LIMIT 1");
    Ok(!reader.query(&sql, &[])?.is_empty())
}

/// The rows to delete, by monitor.
pub fn read_pending(reader: &mut dyn Reader, delete_plan: &DeletePlan) -> Result<Vec<PendingDelete>> {
    let sql = format!(
        "SELECT `monitor_id`, count(*) AS n, min({0}) AS oldest, max({0}) AS newest FROM {1} WHERE {2} GROUP BY \
         `monitor_id`",
        quote(&delete_plan.column),
        quote(&delete_plan.table),
        condition(delete_plan)
    );
    let rows = reader.query(&sql, bound(delete_plan))?;
    Ok(rows
        .iter()
        .map(|row| PendingDelete {
            monitor: row.int("monitor_id").unwrap_or_default(),
            rows: row.int("n").unwrap_or(0).unsigned_abs(),
            oldest: row.cell("oldest").to_string(),
            newest: row.cell("newest").to_string(),
        })
        .collect())
}

/// How many rows `delete_plan` deletes.
pub fn count_pending(reader: &mut dyn Reader, delete_plan: &DeletePlan) -> Result<u64> {
    let sql = format!("SELECT count(*) AS n FROM {} WHERE {}", quote(&delete_plan.table), condition(delete_plan));
    let rows = reader.query(&sql, bound(delete_plan))?;
    Ok(rows.first().and_then(|row| row.int("n")).unwrap_or(0).unsigned_abs())
}

/// The rows that no plan of `delete_plans` deletes, of each of their tables; `None` where a table has too many plans to check
/// all of them for each row.
pub fn kept_rows(delete_plans: &[DeletePlan]) -> Option<Vec<RowFilter>> {
    let tables: BTreeSet<&String> = delete_plans.iter().map(|delete_plan| &delete_plan.table).collect();
    let filters = tables.into_iter().map(|table| {
        let of_table: Vec<&DeletePlan> =
            delete_plans.iter().filter(|delete_plan| delete_plan.table == *table).collect();
        (of_table.len() <= MOST).then(|| filter_of(table, &of_table))
    });
    filters.collect()
}

/// The rows of `table` that none of these plans deletes. Those of one monitor each are behind one condition, which most rows
/// do not meet.
fn filter_of(table: &str, delete_plans: &[&DeletePlan]) -> RowFilter {
    let (single, others): (Vec<&DeletePlan>, Vec<&DeletePlan>) =
        delete_plans.iter().copied().partition(|delete_plan| only_monitor(delete_plan).is_some());
    let mut conditions: Vec<String> =
        others.iter().map(|delete_plan| format!("({}) IS NOT TRUE", condition(delete_plan))).collect();
    let ids: Vec<i64> = single.iter().filter_map(|delete_plan| only_monitor(delete_plan)).collect();
    if !ids.is_empty() {
        let any: Vec<String> = single.iter().map(|delete_plan| format!("({})", condition(delete_plan))).collect();
        conditions.push(format!("(`monitor_id` IN ({}) AND ({})) IS NOT TRUE", ids_text(&ids), any.join(" OR ")));
    }
    let params = others.iter().chain(&single).map(|delete_plan| delete_plan.before.clone()).collect();
    RowFilter { table: table.to_owned(), condition: conditions.join(" AND "), params }
}

/// The monitor of a plan for one.
fn only_monitor(delete_plan: &DeletePlan) -> Option<i64> {
    match &delete_plan.monitors {
        MonitorSet::Only(ids) if ids.len() == 1 => ids.first().copied(),
        _ => None,
    }
}

/// The query for remaining rows of `delete_plan`, and its parameters.
pub(super) fn left(delete_plan: &DeletePlan) -> (String, Vec<Value>) {
    let sql = format!("SELECT 1 FROM {} WHERE {} LIMIT 1", quote(&delete_plan.table), condition(delete_plan));
    (sql, bound(delete_plan).to_vec())
}

/// Whether rows of `delete_plan` remain.
pub(super) fn is_left(reader: &mut dyn Reader, delete_plan: &DeletePlan) -> Result<bool> {
    let (sql, parameters) = left(delete_plan);
    Ok(!reader.query(&sql, &parameters)?.is_empty())
}

/// Deletes it in the open transaction; calls `each` with the number of rows that were checked. Returns the number of
/// deleted rows.
///
/// In the order of the ids, which is the order of the table: each page is read once, for all monitors.
///
/// # Errors
/// [`OperationError::ChecksFailed`] if rows remain. `each` can cancel it.
pub fn delete(
    writer: &mut dyn Writer,
    delete_plan: &DeletePlan,
    each: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<u64> {
    let (table, condition) = (quote(&delete_plan.table), condition(delete_plan));
    let mut gone = 0;
    if only_monitor(delete_plan).is_some() {
        each(0)?;
        gone = writer.execute(&format!("DELETE FROM {table} WHERE {condition}"), bound(delete_plan))?;
    } else {
        // SQLite would use an index here, and read each page once for every monitor.
        let hint = if writer.kind() == EngineKind::Sqlite { " NOT INDEXED" } else { "" };
        let mut delete = |writer: &mut dyn Writer, which: String| -> Result<()> {
            gone += writer
                .execute(&format!("DELETE FROM {table}{hint} WHERE {which} AND {condition}"), bound(delete_plan))?;
            Ok(())
        };
        let ends = writer.query(&format!("SELECT min(`id`), max(`id`) FROM {table}"), &[])?;
        let end_of = |at| ends.first().and_then(|row| row.at(at).int());
        // The last row separately: a range would lock the gap after it, where a running server inserts.
        let (mut from, last) = (end_of(0), end_of(1).unwrap_or_default());
        let mut seen = 0;
        while let Some(start) = from {
            each(seen)?;
            let next =
                format!("SELECT `id` FROM {table} WHERE `id` >= ? AND `id` < ? ORDER BY `id` LIMIT 1 OFFSET {BATCH}");
            let rows = writer.query(&next, &[Value::Int(start), Value::Int(last)])?;
            from = rows.first().and_then(|row| row.at(0).int());
            delete(writer, format!("`id` >= {start} AND `id` < {}", from.unwrap_or(last)))?;
            seen += BATCH;
        }
        delete(writer, format!("`id` = {last}"))?;
    }
    if is_left(writer, delete_plan)? {
        Err(Error::Operation(OperationError::ChecksFailed(vec![format!("rows of {table} were not deleted")])))
    } else {
        Ok(gone)
    }
}

/// The parameter of [`condition`].
fn bound(delete_plan: &DeletePlan) -> &[Value] {
    std::slice::from_ref(&delete_plan.before)
}

fn condition(delete_plan: &DeletePlan) -> String {
    let mut condition = format!("{} < ?", quote(&delete_plan.column));
    match &delete_plan.monitors {
        MonitorSet::Except(ids) if ids.is_empty() => {}
        MonitorSet::Except(ids) => condition.push_str(&format!(" AND `monitor_id` NOT IN ({})", ids_text(ids))),
        MonitorSet::Only(ids) => condition.push_str(&format!(" AND `monitor_id` IN ({})", ids_text(ids))),
    }
    if delete_plan.keeps_important {
        condition.push_str(" AND `important` = 0");
    }
    condition
}
