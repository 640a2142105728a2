//! Reads what uptime is computed from: the statistics of 2.x, the heartbeats of 1.23.

use std::collections::BTreeMap;

use super::read::{LISTED_IDS, ids_text};
use super::scan::add_parts;
use crate::engine::{EngineKind, Reader, quote};
use crate::error::Result;
use crate::report::uptime::{Unit, UptimeBucket, UptimeTally, Window, WindowPart};
use crate::schema::Schema;
use crate::value::{Value, server_text};

/// For fewer monitors than this, rows are found by the index.
const MANY: usize = 500;

/// Whether the server computes uptime from its heartbeats: before 2.0.
pub fn counts_beats(schema: &Schema) -> bool {
    !schema.has(Unit::Minute.table(), "timestamp")
}

/// The checks of these monitors in `window`. A monitor without one is missing.
pub fn read_tallies(
    reader: &mut dyn Reader,
    schema: &Schema,
    ids: &[i64],
    window: &Window,
) -> Result<BTreeMap<i64, UptimeTally>> {
    if counts_beats(schema) {
        tally_beats(reader, ids, window)
    } else {
        tally_statistics(reader, schema, ids, &[whole(window)])
    }
}

/// The same for a window that ends now, from fewer rows. The tables do not round response times alike: on
/// MariaDB, the average may differ by 0.01 ms.
pub fn read_latest(
    reader: &mut dyn Reader,
    schema: &Schema,
    ids: &[i64],
    window: &Window,
) -> Result<BTreeMap<i64, UptimeTally>> {
    let has = |unit: Unit| schema.has(unit.table(), "timestamp");
    if has(Unit::Hour) && has(Unit::Day) {
        tally_statistics(reader, schema, ids, &window.parts())
    } else {
        read_tallies(reader, schema, ids, window)
    }
}

/// The same for all monitors, where only a connection is at hand.
pub fn read_latest_of_all(reader: &mut dyn Reader, window: &Window) -> Result<BTreeMap<i64, UptimeTally>> {
    let rows = reader.query("SELECT `id` FROM `monitor`", &[])?;
    let ids: Vec<i64> = rows.iter().filter_map(|row| row.at(0).int()).collect();
    let schema = reader.schema()?;
    read_latest(reader, &schema, &ids, window)
}

/// The rows of `window`.
fn whole(window: &Window) -> WindowPart {
    WindowPart { unit: window.unit, first: window.first, last: window.last }
}

/// The sum of `parts`.
fn tally_statistics(
    reader: &mut dyn Reader,
    schema: &Schema,
    ids: &[i64],
    parts: &[WindowPart],
) -> Result<BTreeMap<i64, UptimeTally>> {
    let mut tallies: BTreeMap<i64, UptimeTally> = ids.iter().map(|id| (*id, UptimeTally::default())).collect();
    let parts: Vec<WindowPart> =
        parts.iter().filter(|part| schema.has(part.unit.table(), "timestamp")).copied().collect();
    let is_scanned = ids.len() >= MANY && reader.kind() == EngineKind::MariaDb;
    let left = if is_scanned {
        add_parts(reader, &parts, &mut tallies)?
    } else {
        parts.into_iter().map(|part| (part, ids.to_vec())).collect()
    };
    for (part, ids) in left {
        for batch in ids.chunks(LISTED_IDS) {
            add_by_index(reader, &part, batch, &mut tallies)?;
        }
    }
    tallies.retain(|_, tally| *tally != UptimeTally::default());
    Ok(tallies)
}

/// Adds the checks of these monitors in `part`, found by the index.
fn add_by_index(
    reader: &mut dyn Reader,
    part: &WindowPart,
    ids: &[i64],
    tallies: &mut BTreeMap<i64, UptimeTally>,
) -> Result<()> {
    let sql = format!(
        "SELECT `monitor_id`, sum(`up`), sum(`down`), sum(`ping` * `up`) FROM {} \
         WHERE `monitor_id` IN ({}) AND `timestamp` >= ? AND `timestamp` <= ? GROUP BY `monitor_id`",
        quote(part.unit.table()),
        ids_text(ids)
    );
    reader.stream(&sql, &[Value::Int(part.first), Value::Int(part.last)], &mut |row| {
        let number = |at: usize| row.at(at).number().unwrap_or(0.0);
        let (up, down) = (number(1), number(2));
        if let Some(tally) = row.at(0).int().and_then(|id| tallies.get_mut(&id)) {
            tally.add(&UptimeTally { up, total: up + down, ping: number(3), pinged: up });
        }
        Ok(())
    })
}

/// As `calcUptime` and `sendAvgPing` of 1.23.17: the first heartbeat of the window counts only from its start on.
/// A monitor whose only heartbeat has no duration is up if that heartbeat is.
fn tally_beats(reader: &mut dyn Reader, ids: &[i64], window: &Window) -> Result<BTreeMap<i64, UptimeTally>> {
    let [from, to] = [window.from, window.to].map(|at| server_text(&at));
    let sql = format!(
        "SELECT `monitor_id`, sum(`span`), sum(CASE WHEN `status` IN (1, 3) THEN `span` END), \
         sum(`ping`), count(`ping`), count(*), sum(`status` = 1) FROM (\
         SELECT `monitor_id`, `status`, `ping`, CASE WHEN (julianday(`time`) - julianday(?)) * 86400 < `duration` \
         THEN (julianday(`time`) - julianday(?)) * 86400 ELSE `duration` END AS `span` FROM `heartbeat` \
         WHERE `monitor_id` IN ({}) AND `time` > ? AND `time` <= ?) b GROUP BY `monitor_id`",
        ids_text(ids)
    );
    // The end is written without a fraction, and a heartbeat of the same second has one.
    let params = [from.as_str(), &from, &from, &format!("{to}.999")].map(Value::from);
    let mut tallies = BTreeMap::new();
    reader.stream(&sql, &params, &mut |row| {
        let number = |at: usize| row.at(at).number().unwrap_or(0.0);
        let (up, total) = if number(1) > 0.0 { (number(2), number(1)) } else { (number(6), number(5)) };
        let tally = UptimeTally { up, total, ping: number(3), pinged: number(4) };
        tallies.insert(row.at(0).int().unwrap_or_default(), tally);
        Ok(())
    })?;
    Ok(tallies)
}

/// The statistics of these monitors in `window`, oldest first; those of 1.23 are made of its heartbeats.
pub fn read_buckets(
    reader: &mut dyn Reader,
    schema: &Schema,
    ids: &[i64],
    window: &Window,
) -> Result<BTreeMap<i64, Vec<UptimeBucket>>> {
    let ids = ids_text(ids);
    let (sql, params) = if counts_beats(schema) {
        let seconds = window.unit.seconds();
        let sql = format!(
            "SELECT `monitor_id`, CAST(strftime('%s', `time`) AS INTEGER) / {seconds} * {seconds} AS `at`, count(`ping`), \
             avg(`ping`), min(`ping`), max(`ping`) FROM `heartbeat` WHERE `monitor_id` IN ({ids}) \
             AND `time` >= datetime(?, 'unixepoch') AND `time` < datetime(?, 'unixepoch') \
             GROUP BY `monitor_id`, `at` ORDER BY `at`"
        );
        (sql, [window.first, window.last + seconds])
    } else if schema.has(window.unit.table(), "timestamp") {
        let [min, max] = ["ping_min", "ping_max"]
            .map(|column| if schema.has(window.unit.table(), column) { quote(column) } else { quote("ping") });
        let sql = format!(
            "SELECT `monitor_id`, `timestamp`, `up`, `ping`, {min}, {max} FROM {} WHERE `monitor_id` IN ({ids}) \
             AND `timestamp` >= ? AND `timestamp` <= ? ORDER BY `timestamp`",
            quote(window.unit.table())
        );
        (sql, [window.first, window.last])
    } else {
        return Ok(BTreeMap::new());
    };
    let mut buckets: BTreeMap<i64, Vec<UptimeBucket>> = BTreeMap::new();
    reader.stream(&sql, &params.map(Value::Int), &mut |row| {
        let number = |at: usize| row.at(at).number().unwrap_or(0.0);
        let at = row.at(1).int().unwrap_or_default();
        let bucket = UptimeBucket { at, up: number(2), ping: number(3), min: number(4), max: number(5) };
        buckets.entry(row.at(0).int().unwrap_or_default()).or_default().push(bucket);
        Ok(())
    })?;
    Ok(buckets)
}
