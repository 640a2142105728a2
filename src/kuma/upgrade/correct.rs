//! Replaces the statistics that a server made of the heartbeats of 1.x, in a wrong time zone or not to the end, by right ones from
//! a copy of the database from before.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::facts::read_state;
use super::next_id;
use crate::engine::fit::ColumnFit;
use crate::engine::{EngineKind, Reader, Writer, quote};
use crate::error::{Error, OperationError, Result, SnapshotError};
use crate::kuma::read::read_database;
use crate::schema::Schema;
use crate::upgrade::correction::{Border, BucketVerdict, HistoryPart, decide, reach};
use crate::upgrade::settings::{AGGREGATED, AggregationState, MIGRATED};
use crate::upgrade::statistics::{Aggregation, Bucket, Buckets, TABLES, time_of};
use crate::value::{Value, server_text};

/// The newest heartbeats that both databases have must be the same; as many are compared.
const COMPARED: usize = 10_000;

/// The columns of a row of statistics after its key.
const CELLS: [&str; 6] = ["ping", "up", "down", "ping_min", "ping_max", "extras"];

/// Rows that are deleted by one statement.
const BATCH: usize = 500;

/// The statistics of all heartbeats from before the upgrade, in UTC.
#[derive(Debug)]
pub struct UtcStatistics {
    /// Monitors that are the same in both databases.
    monitors: BTreeSet<i64>,
    /// The highest id of a heartbeat.
    last: i64,
    /// The newest heartbeat, in seconds since 1970.
    end: i64,
    /// By table, in the order of [`TABLES`], and monitor.
    tables: [BTreeMap<i64, Buckets>; 3],
    /// The first heartbeat that the new server wrote, in milliseconds since 1970.
    first: Option<i64>,
    /// Heartbeats that were counted.
    pub beats: u64,
    /// Heartbeats with a status that no release has, which are not counted.
    pub skipped: u64,
}

impl UtcStatistics {
    /// The newest heartbeat from before the upgrade.
    pub fn end(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.end, 0).unwrap_or_default()
    }

    /// The first one that the new server wrote and that still exists.
    pub fn first(&self) -> Option<DateTime<Utc>> {
        self.first.and_then(DateTime::from_timestamp_millis)
    }
}

/// Aggregates the heartbeats of `old`, the copy `id` of the database of `live` from before the server upgraded it.
///
/// # Errors
/// [`SnapshotError::NotBefore`] and [`SnapshotError::OtherHistory`] for a copy that does not belong to `live`.
pub fn read_old(old: &mut dyn Reader, live: &mut dyn Reader, id: &str, now: DateTime<Utc>) -> Result<UtcStatistics> {
    let database = read_database(old, "the snapshot")?;
    if database.schema.table("stat_daily").is_some() && read_state(old)? == Some(AggregationState::Done) {
        let why = format!("its database is of release {}, and its heartbeats are aggregated already", database.release);
        return Err(SnapshotError::NotBefore { id: id.to_owned(), why }.into());
    }
    let monitors = read_same_monitors(old, live, id)?;
    let last = first_int(old, "SELECT max(`id`) FROM `heartbeat`")?.unwrap_or(0);
    check_same_beats(old, live, id, last)?;
    let sql = "SELECT min(`time`) FROM `heartbeat` WHERE `id` > ?";
    let first = live.query(sql, &[Value::Int(last)])?.first().and_then(|row| time_of(row.at(0)));
    let limit = first.unwrap_or(now.timestamp_millis());
    let mut end = None;
    old.stream("SELECT `time` FROM `heartbeat`", &[], &mut |row| {
        end = end.max(time_of(row.at(0)).filter(|at| *at < limit));
        Ok(())
    })?;
    let Some(end) = end else {
        return Err(SnapshotError::NotBefore { id: id.to_owned(), why: "it has no heartbeats".into() }.into());
    };
    if first.is_none() && live.query("SELECT 1 FROM `heartbeat` WHERE `id` = ?", &[Value::Int(last)])?.is_empty() {
        return Err(
            SnapshotError::OtherHistory { id: id.to_owned(), why: "it is newer than the database".into() }.into()
        );
    }
    let (end, tables) = (end.div_euclid(1000), Default::default());
    let mut read = UtcStatistics { monitors, last, end, tables, first, beats: 0, skipped: 0 };
    // As of the upgrade: the server deletes what becomes too old after it.
    aggregate(old, &mut read, limit.min((end + 86_400) * 1000))?;
    Ok(read)
}

fn aggregate(old: &mut dyn Reader, read: &mut UtcStatistics, now: i64) -> Result<()> {
    let mut aggregations = [0, 1, 2].map(|table| Aggregation::new(now, None, table));
    let mut monitor = None;
    let mut turn = |aggregations: &mut [Aggregation; 3], tables: &mut [BTreeMap<i64, Buckets>; 3], next| {
        if monitor != next {
            for (aggregation, table) in aggregations.iter_mut().zip(tables) {
                let buckets = aggregation.take();
                if let (Some(monitor), false) = (monitor, buckets.is_empty()) {
                    table.insert(monitor, buckets);
                }
            }
            monitor = next;
        }
    };
    let sql = "SELECT `monitor_id`, `time`, `status`, `ping` FROM `heartbeat` ORDER BY `monitor_id`, `time`, `id`";
    old.stream(sql, &[], &mut |row| {
        let id = row.at(0).int();
        if !id.is_some_and(|id| read.monitors.contains(&id)) {
            return Ok(());
        }
        turn(&mut aggregations, &mut read.tables, id);
        let added = aggregations.each_mut().map(|one| one.add(row.at(1), row.at(2), row.at(3)).is_ok());
        if added[0] {
            read.beats += 1
        } else {
            read.skipped += 1
        }
        Ok(())
    })?;
    turn(&mut aggregations, &mut read.tables, None);
    Ok(())
}

/// The monitors that are the same in both databases: name or time of creation are.
fn read_same_monitors(old: &mut dyn Reader, live: &mut dyn Reader, id: &str) -> Result<BTreeSet<i64>> {
    let read = |reader: &mut dyn Reader| -> Result<BTreeMap<i64, [Option<String>; 2]>> {
        let rows = reader.query("SELECT `id`, `name`, `created_date` FROM `monitor`", &[])?;
        let text = |cell: &Value, longest| cell.text().map(|text| text.chars().take(longest).collect());
        let describe = |row: &crate::value::Row| Some((row.int("id")?, [text(row.at(1), 150), text(row.at(2), 19)]));
        Ok(rows.iter().filter_map(describe).collect())
    };
    let (old, live) = (read(old)?, read(live)?);
    let shared: Vec<_> = old.iter().filter_map(|(id, one)| Some((*id, one, live.get(id)?))).collect();
    let is_same = |one: &[Option<String>; 2], other: &[Option<String>; 2]| {
        one.iter().zip(other).any(|(one, other)| one.is_some() && one == other)
    };
    let named = shared.iter().filter(|(_, one, other)| one[0].is_some() && one[0] == other[0]).count();
    if named * 2 < shared.len() || shared.is_empty() {
        let why = format!("{named} of {} monitors with the same id have the same name", shared.len());
        return Err(SnapshotError::OtherHistory { id: id.to_owned(), why }.into());
    }
    Ok(shared.into_iter().filter(|(_, one, other)| is_same(one, other)).map(|(id, ..)| id).collect())
}

/// Fails where a heartbeat that both databases have by its id is not the same: they are of different instances, or the copy was made
/// of a server that ran after the upgrade.
fn check_same_beats(old: &mut dyn Reader, live: &mut dyn Reader, id: &str, last: i64) -> Result<()> {
    let key = |row: &crate::value::Row| {
        let time = row.at(2).text().unwrap_or_default();
        (row.at(1).int(), time.chars().take(19).collect::<String>())
    };
    let sql = "SELECT `id`, `monitor_id`, `time` FROM `heartbeat` WHERE `id` <= ? ORDER BY `id` DESC LIMIT ?";
    let rows = live.query(sql, &[Value::Int(last), Value::Int(COMPARED as i64)])?;
    let mut kept: BTreeMap<i64, _> = rows.iter().filter_map(|row| Some((row.at(0).int()?, key(row)))).collect();
    let Some(lowest) = kept.keys().next().copied() else { return Ok(()) };
    let (all, mut same) = (kept.len(), 0);
    let sql = "SELECT `id`, `monitor_id`, `time` FROM `heartbeat` WHERE `id` >= ?";
    old.stream(sql, &[Value::Int(lowest)], &mut |row| {
        if let Some(found) = row.at(0).int().and_then(|id| kept.remove(&id)) {
            same += usize::from(found == key(&row));
        }
        Ok(())
    })?;
    if same == all {
        return Ok(());
    }
    let why = format!("{} of {all} heartbeats with the same id are others", all - same);
    Err(SnapshotError::OtherHistory { id: id.to_owned(), why }.into())
}

/// What is replaced in one table of statistics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableCorrection {
    /// Its name.
    pub table: String,
    /// Rows that count otherwise.
    pub replaced: u64,
    /// Rows that were missing.
    pub added: u64,
    /// Rows without a heartbeat.
    pub removed: u64,
    /// Replaced, added and removed rows at the time of the upgrade.
    pub border: u64,
    /// Rows at the time of the upgrade that stay, because they count more than what is left of their heartbeats.
    pub kept_greater: u64,
    /// Rows that stay: they are right, or of the time since.
    pub kept: u64,
    deleted: Vec<i64>,
    /// With their id, where they have one.
    inserted: Vec<(Option<i64>, Vec<Value>)>,
}

/// What is replaced.
#[derive(Clone, Debug, PartialEq)]
pub struct Correction {
    /// By table.
    pub tables: Vec<TableCorrection>,
    /// Whether the setting is missing that the aggregation is done.
    pub ends: bool,
}

impl Correction {
    /// Whether all statistics are right.
    pub fn is_empty(&self) -> bool {
        !self.ends && self.tables.iter().all(|table| table.deleted.is_empty() && table.inserted.is_empty())
    }

    /// Number of rows that change.
    pub fn changes(&self) -> usize {
        let changes = |table: &TableCorrection| table.replaced + table.added + table.removed;
        self.tables.iter().map(|table| usize::try_from(changes(table)).unwrap_or(usize::MAX)).sum()
    }

    /// A table that changes.
    pub fn first_table(&self) -> Option<&str> {
        let changes = |table: &&TableCorrection| !table.deleted.is_empty() || !table.inserted.is_empty();
        self.tables.iter().find(changes).map(|table| table.table.as_str())
    }
}

/// Compares the statistics of `live` with those that `old` and the heartbeats since give.
pub fn compare(live: &mut dyn Reader, schema: &Schema, old: &UtcStatistics, now: DateTime<Utc>) -> Result<Correction> {
    let since = read_since(live, schema, old, now)?;
    let mut tables = Vec::new();
    for (at, (table, _)) in TABLES.iter().enumerate().rev() {
        tables.push(compare_table(live, schema, old, &since, (at, table))?);
    }
    Ok(Correction { tables, ends: read_state(live)? != Some(AggregationState::Done) })
}

/// What the new server has counted at the border.
struct BorderCounts {
    /// Buckets with old and new heartbeats, by monitor and start.
    tables: [BTreeMap<(i64, i64), Bucket>; 3],
    borders: [Border; 3],
    /// Whether all new heartbeats of these buckets are still there.
    is_complete: bool,
    /// The newest heartbeat of each monitor, in seconds since 1970: the server has deleted what was too old then.
    newest: BTreeMap<i64, i64>,
}

fn read_since(live: &mut dyn Reader, schema: &Schema, old: &UtcStatistics, now: DateTime<Utc>) -> Result<BorderCounts> {
    let starts = |at: usize| old.tables[at].values().flat_map(|buckets| buckets.keys().copied());
    let borders = [0, 1, 2].map(|at| Border::new(old.end, TABLES[at].1, starts(at)));
    let mut tables: [BTreeMap<(i64, i64), Bucket>; 3] = Default::default();
    let until = DateTime::from_timestamp(reach(old.end), 0).unwrap_or_default();
    // The server counts a heartbeat when it is complete.
    let time = if schema.has("heartbeat", "end_time") { "COALESCE(`end_time`, `time`)" } else { "`time`" };
    let sql = format!(
        "SELECT `id`, `monitor_id`, {time}, `status`, `ping` FROM `heartbeat` WHERE `id` > ? AND {time} < ? \
         ORDER BY `monitor_id`, {time}, `id`"
    );
    let (mut count, mut highest) = (0, None);
    live.stream(&sql, &[Value::Int(old.last), server_text(&until).into()], &mut |row| {
        (count, highest) = (count + 1, highest.max(row.at(0).int()));
        let (Some(monitor), Some(at)) = (row.at(1).int(), time_of(row.at(2))) else { return Ok(()) };
        for (at_table, (_, length)) in TABLES.iter().enumerate() {
            let second = at.div_euclid(1000);
            let start = second - second.rem_euclid(*length);
            if old.monitors.contains(&monitor) && borders[at_table].part(start) != HistoryPart::Since {
                let counted = || old.tables[at_table].get(&monitor).and_then(|buckets| buckets.get(&start)).copied();
                let bucket = tables[at_table].entry((monitor, start)).or_insert_with(|| counted().unwrap_or_default());
                // A status that no release has does not count.
                let _ = bucket.add(row.at(3), row.at(4));
            }
        }
        Ok(())
    })?;
    // The server prunes heartbeats that are older than a day.
    let is_recent = old.end() > now - TimeDelta::days(1);
    let is_complete =
        is_recent || highest.map_or(old.first.is_none(), |highest| highest.saturating_sub(old.last) == count);
    let sql = "SELECT `monitor_id`, max(`time`) FROM `heartbeat` WHERE `id` > ? GROUP BY `monitor_id`";
    let rows = live.query(sql, &[Value::Int(old.last)])?;
    let newest = rows.iter().filter_map(|row| Some((row.at(0).int()?, time_of(row.at(1))?.div_euclid(1000))));
    Ok(BorderCounts { tables, borders, is_complete, newest: newest.collect() })
}

/// How long the server keeps the rows of each of [`TABLES`], in seconds.
const KEPT: [Option<i64>; 3] = [Some(86_400), Some(30 * 86_400), None];

impl BorderCounts {
    /// The right buckets of a table, but for those that the server has deleted since.
    fn desired(&self, old: &UtcStatistics, at: usize) -> BTreeMap<(i64, i64), Bucket> {
        let counted = old.tables[at]
            .iter()
            .flat_map(|(monitor, buckets)| buckets.iter().map(|(start, bucket)| ((*monitor, *start), *bucket)));
        let mut desired: BTreeMap<_, _> = counted.collect();
        desired.extend(self.tables[at].iter().map(|(key, bucket)| (*key, *bucket)));
        desired.retain(|(monitor, start), _| !self.is_deleted(*monitor, *start, at));
        desired
    }

    fn is_deleted(&self, monitor: i64, start: i64, at: usize) -> bool {
        let (Some(kept), Some(newest)) = (KEPT[at], self.newest.get(&monitor)) else { return false };
        let oldest = newest.saturating_sub(kept);
        start < oldest.saturating_sub(oldest.rem_euclid(TABLES[at].1))
    }
}

fn compare_table(
    live: &mut dyn Reader,
    schema: &Schema,
    old: &UtcStatistics,
    since: &BorderCounts,
    (at, table): (usize, &str),
) -> Result<TableCorrection> {
    let (mut desired, border) = (since.desired(old, at), &since.borders[at]);
    let cells = BucketCells::of(live.kind(), schema, table);
    let mut found = TableCorrection { table: table.into(), ..TableCorrection::default() };
    let names = CELLS.map(quote).join(", ");
    let sql = format!("SELECT `id`, `monitor_id`, `timestamp`, {names} FROM {}", quote(table));
    live.stream(&sql, &[], &mut |row| {
        let int = |at: usize| row.at(at).int().unwrap_or_default();
        let (id, monitor, start) = (int(0), int(1), int(2));
        let part = border.part(start);
        let bucket = desired.remove(&(monitor, start));
        if !old.monitors.contains(&monitor) || since.is_deleted(monitor, start, at) {
            found.kept += 1;
            return Ok(());
        }
        let own = int(4).saturating_add(int(5)).saturating_add(maintenance(row.at(8)));
        let counted = bucket.map_or(0, |bucket| bucket.total());
        match (decide(part, own, counted, since.is_complete), bucket) {
            (BucketVerdict::Keep, _) => found.kept += 1,
            (BucketVerdict::KeepGreater, _) => found.kept_greater += 1,
            (BucketVerdict::Replace, Some(bucket)) => {
                let made = cells.make(&bucket)?;
                if cells.is_same(&made, &row.cells()[3..]) {
                    found.kept += 1;
                    return Ok(());
                }
                found.deleted.push(id);
                found.put(Some(id), (monitor, start), made, part);
            }
            (BucketVerdict::Replace, None) => {
                found.deleted.push(id);
                found.removed += 1;
                found.border += u64::from(part == HistoryPart::Border);
            }
        }
        Ok(())
    })?;
    for ((monitor, start), bucket) in desired {
        found.put(None, (monitor, start), cells.make(&bucket)?, border.part(start));
    }
    Ok(found)
}

impl TableCorrection {
    fn put(&mut self, id: Option<i64>, (monitor, start): (i64, i64), made: Vec<Value>, part: HistoryPart) {
        let count = if id.is_some() { &mut self.replaced } else { &mut self.added };
        *count += 1;
        self.border += u64::from(part == HistoryPart::Border);
        let row = id.into_iter().chain([monitor, start]).map(Value::Int).chain(made).collect();
        self.inserted.push((id, row));
    }
}

/// The count of heartbeats during maintenance in the cell `extras`.
fn maintenance(cell: &Value) -> i64 {
    let parsed = cell.text().and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    parsed.and_then(|extras| extras["maintenance"].as_i64()).unwrap_or(0)
}

/// How a table stores its [`CELLS`].
struct BucketCells {
    engine: EngineKind,
    fits: Vec<ColumnFit>,
}

impl BucketCells {
    fn of(engine: EngineKind, schema: &Schema, table: &str) -> BucketCells {
        let column =
            |name: &&str| schema.table(table).and_then(|table| table.column(name)).cloned().unwrap_or_default();
        BucketCells { engine, fits: CELLS.iter().map(|name| ColumnFit::of(engine, &column(name))).collect() }
    }

    fn make(&self, bucket: &Bucket) -> Result<Vec<Value>> {
        let (pings, extras) = ([bucket.ping, bucket.ping_min, bucket.ping_max].map(Value::from), bucket.extras());
        let [ping, ping_min, ping_max] = pings;
        let mut made = vec![ping, bucket.up.into(), bucket.down.into(), ping_min, ping_max, extras];
        for (fit, cell) in self.fits.iter().zip(&mut made) {
            fit.fit(cell).map_err(|misfit| failed(format!("a row of statistics cannot be stored: {misfit}")))?;
        }
        Ok(made)
    }

    fn is_same(&self, made: &[Value], own: &[Value]) -> bool {
        let number = |cell: &Value| match cell {
            Value::Int(n) => Some(*n as f64),
            Value::Real(x) => Some(*x),
            _ => None,
        };
        made.iter().zip(own).all(|(made, own)| match (number(made), number(own)) {
            // The server has rounded the mean of MariaDB once for each heartbeat.
            (Some(made), Some(own)) if self.engine == EngineKind::MariaDb => {
                (made - own).abs() <= 0.01 + made.abs() * 6e-8
            }
            (Some(made), Some(own)) => made == own,
            _ => made == own,
        })
    }
}

/// Applies `correction` in the open transaction of `writer`.
pub fn apply(writer: &mut dyn Writer, correction: &Correction) -> Result<()> {
    for table in &correction.tables {
        for ids in table.deleted.chunks(BATCH) {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            writer.execute(&format!("DELETE FROM {} WHERE `id` IN ({})", quote(&table.table), ids.join(",")), &[])?;
        }
        for has_id in [true, false] {
            let columns: Vec<&str> =
                ["id", "monitor_id", "timestamp"].into_iter().skip(usize::from(!has_id)).chain(CELLS).collect();
            let rows = table.inserted.iter().filter(|(id, _)| id.is_some() == has_id).map(|(_, row)| row.clone());
            writer.insert(&table.table, &columns, &mut rows.into_iter())?;
        }
    }
    if correction.ends {
        let update = "UPDATE `setting` SET `value` = ? WHERE `key` = ?";
        if writer.execute(update, &[MIGRATED.into(), AGGREGATED.into()])? == 0 {
            let id = next_id(writer, "setting")?;
            let insert = "INSERT INTO `setting` (`id`, `key`, `value`, `type`) VALUES (?, ?, ?, NULL)";
            writer.execute(insert, &[id.into(), AGGREGATED.into(), MIGRATED.into()])?;
        }
    }
    Ok(())
}

fn failed(why: String) -> Error {
    Error::Operation(OperationError::ChecksFailed(vec![why]))
}

fn first_int(reader: &mut dyn Reader, sql: &str) -> Result<Option<i64>> {
    Ok(reader.query(sql, &[])?.first().and_then(|row| row.at(0).int()))
}
