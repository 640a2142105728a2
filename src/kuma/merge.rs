//! History rows that exist in a snapshot but not in the database: counts and merges them, and determines whether that
//! rolls a change of the history back.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{Reader, Writer, quote};
use crate::error::Result;
use crate::kuma::read::history;
use crate::schema::Schema;
use crate::value::{Row, Value};

/// Rows per batch.
const BATCH: usize = 2_000;

/// Statistics: the monitor and time of a row, which are unique.
type Keys = BTreeSet<(i64, i64)>;

/// Number of rows of each of `tables` that exist in `copy` but not in `reader`, without those of monitors that are not
/// in `monitors`.
pub fn count_missing(
    reader: &mut dyn Reader,
    copy: &mut dyn Reader,
    tables: &[String],
    monitors: &BTreeSet<i64>,
) -> Result<BTreeMap<String, u64>> {
    let mut missing = BTreeMap::new();
    for table in tables {
        let keys = read_keys(reader, table)?;
        let (mut after, mut count) = (i64::MIN, 0);
        while let Some(batch) = read_batch(copy, table, after)? {
            after = batch.last;
            count += select(reader, table, batch.rows, &keys, monitors)?.len() as u64;
        }
        missing.insert(table.clone(), count);
    }
    missing.retain(|_, count| *count > 0);
    Ok(missing)
}

/// Inserts them in one transaction; returns their number, by table.
pub fn merge(
    writer: &mut dyn Writer,
    copy: &mut dyn Reader,
    schema: &Schema,
    tables: &[String],
) -> Result<BTreeMap<String, u64>> {
    let monitors = read_ids(writer, "SELECT `id` FROM `monitor`", &[])?;
    writer.begin()?;
    let mut put = BTreeMap::new();
    for table in tables {
        let keys = read_keys(writer, table)?;
        let mut after = i64::MIN;
        while let Some(batch) = read_batch(copy, table, after)? {
            after = batch.last;
            let rows = select(writer, table, batch.rows, &keys, &monitors)?;
            let Some(first) = rows.first() else { continue };
            let columns: Vec<String> =
                first.columns().iter().filter(|column| schema.has(table, column)).cloned().collect();
            let names: Vec<&str> = columns.iter().map(String::as_str).collect();
            let count = rows.len() as u64;
            let cells = |row: Row| names.iter().map(|column| row.cell(column).clone()).collect();
            writer.insert(table, &names, &mut rows.into_iter().map(cells))?;
            *put.entry(table.clone()).or_insert(0) += count;
        }
    }
    writer.commit()?;
    Ok(put)
}

/// The history by table and monitor: number of rows, lowest and highest id.
#[derive(Debug)]
pub struct Spans {
    monitors: BTreeSet<i64>,
    spans: BTreeMap<(String, i64), Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    rows: i64,
    first: i64,
    last: i64,
}

/// How a change affected the history, according to [`Spans`]: updated cells are not detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryChange {
    /// No rows and no monitors were added or deleted.
    None,
    /// Rows or monitors were deleted, and [`merge`] restores the rows.
    Deleted,
    /// Rows were inserted or moved to other monitors, or rows were deleted whose monitor did not exist before.
    Other,
}

/// Reads the history of every monitor; rows without one count for 0.
pub fn read_spans(reader: &mut dyn Reader, schema: &Schema) -> Result<Spans> {
    let mut spans = BTreeMap::new();
    for table in history(schema) {
        let sql = format!(
            "SELECT `monitor_id`, count(*) AS n, min(`id`) AS first, max(`id`) AS last FROM {} GROUP BY `monitor_id`",
            quote(&table)
        );
        reader.stream(&sql, &[], &mut |row| {
            let int = |column: &str| row.int(column).unwrap_or(0);
            let span = Span { rows: int("n"), first: int("first"), last: int("last") };
            spans.insert((table.clone(), int("monitor_id")), span);
            Ok(())
        })?;
    }
    Ok(Spans { monitors: read_ids(reader, "SELECT `id` FROM `monitor`", &[])?, spans })
}

impl Spans {
    /// Compares this history with `now`.
    pub fn shift(&self, now: &Spans) -> HistoryChange {
        let is_part = |(key, span): (&(String, i64), &Span)| {
            self.spans.get(key).is_some_and(|was| {
                span == was || span.rows < was.rows && span.first >= was.first && span.last <= was.last
            })
        };
        let mut less = self.spans.iter().filter(|(key, was)| now.spans.get(*key) != Some(*was)).peekable();
        if !now.spans.iter().all(is_part) {
            return HistoryChange::Other;
        }
        match less.peek().is_some() || !self.monitors.is_subset(&now.monitors) {
            true if less.all(|((_, monitor), _)| self.monitors.contains(monitor)) => HistoryChange::Deleted,
            true => HistoryChange::Other,
            false => HistoryChange::None,
        }
    }
}

/// Rows of the snapshot in the order of their ids.
struct Batch {
    rows: Vec<Row>,
    last: i64,
}

fn read_batch(copy: &mut dyn Reader, table: &str, after: i64) -> Result<Option<Batch>> {
    let sql = format!("SELECT * FROM {} WHERE `id` > ? ORDER BY `id` LIMIT {BATCH}", quote(table));
    let rows = copy.query(&sql, &[Value::Int(after)])?;
    Ok(rows.last().and_then(|row| row.int("id")).map(|last| Batch { rows, last }))
}

/// Those of `rows` that the database does not have.
fn select(
    reader: &mut dyn Reader,
    table: &str,
    rows: Vec<Row>,
    keys: &Option<Keys>,
    monitors: &BTreeSet<i64>,
) -> Result<Vec<Row>> {
    let ids: Vec<i64> = rows.iter().filter_map(|row| row.int("id")).collect();
    let (Some(first), Some(last)) = (ids.first(), ids.last()) else { return Ok(Vec::new()) };
    let sql = format!("SELECT `id` FROM {} WHERE `id` >= ? AND `id` <= ?", quote(table));
    let there = read_ids(reader, &sql, &[Value::Int(*first), Value::Int(*last)])?;
    let is_missing = |row: &Row| {
        let monitor = row.int("monitor_id").unwrap_or(0);
        let taken = |keys: &Keys| row.int("timestamp").is_some_and(|time| keys.contains(&(monitor, time)));
        row.int("id").is_some_and(|id| !there.contains(&id))
            && monitors.contains(&monitor)
            && !keys.as_ref().is_some_and(taken)
    };
    Ok(rows.into_iter().filter(is_missing).collect())
}

fn read_keys(reader: &mut dyn Reader, table: &str) -> Result<Option<Keys>> {
    if table == "heartbeat" {
        return Ok(None);
    }
    let mut keys = Keys::new();
    reader.stream(&format!("SELECT `monitor_id`, `timestamp` FROM {}", quote(table)), &[], &mut |row| {
        keys.extend(row.int("monitor_id").zip(row.int("timestamp")));
        Ok(())
    })?;
    Ok(Some(keys))
}

fn read_ids(reader: &mut dyn Reader, sql: &str, params: &[Value]) -> Result<BTreeSet<i64>> {
    let mut ids = BTreeSet::new();
    reader.stream(sql, params, &mut |row| {
        ids.extend(row.int("id"));
        Ok(())
    })?;
    Ok(ids)
}
