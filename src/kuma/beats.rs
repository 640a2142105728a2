//! Reads heartbeats: the last one of each monitor, the last few, and those where the status changed. Each is found by an
//! index, so that the length of the history does not matter.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::read::{LISTED_IDS, ids_text, read_last_beat};
use crate::engine::{EngineKind, Reader};
use crate::error::Result;
use crate::report::outage::StatusChange;
use crate::report::status::{BeatStatus, LastBeat};
use crate::text::without_credentials;
use crate::value::{Row, Value, server_text, server_time};

/// Monitors in one statement with a part for each. SQLite allows 500 parts.
const BATCH: usize = 200;

/// Heartbeats for each monitor at the end of the table that are read for the last ones.
const TAIL: i64 = 4;

/// The last heartbeat of each monitor: the one with the greatest id, as for the server (`getPreviousHeartbeat`, 2.5.3).
pub fn read_last_beats(reader: &mut dyn Reader) -> Result<BTreeMap<i64, LastBeat>> {
    let mut beats = BTreeMap::new();
    match reader.kind() {
        EngineKind::Sqlite => add_last(
            reader,
            "`monitor` m JOIN `heartbeat` h ON h.`id` = (SELECT max(`id`) FROM `heartbeat` WHERE `monitor_id` = m.`id`)",
            &mut beats,
        )?,
        EngineKind::MariaDb => add_newest(reader, &mut beats)?,
    }
    let changed = match reader.kind() {
        EngineKind::Sqlite => {
            "SELECT `id`, (SELECT max(`time`) FROM `heartbeat` WHERE `monitor_id` = m.`id` AND `important` = 1) FROM `monitor` m"
        }
        // MariaDB chooses between few important heartbeats, and skipping from group to group of an index.
        EngineKind::MariaDb => {
            "SELECT `monitor_id`, max(`time`) FROM `heartbeat` WHERE `important` = 1 GROUP BY `monitor_id` ORDER BY NULL"
        }
    };
    reader.stream(changed, &[], &mut |row| {
        if let Some(beat) = row.at(0).int().and_then(|id| beats.get_mut(&id)) {
            beat.since = time(row.at(1));
        }
        Ok(())
    })?;
    // The server does not mark the change from up to pending.
    let pending = beats.iter().filter(|(_, beat)| beat.status == Some(BeatStatus::Pending)).map(|(id, _)| *id);
    let pending: Vec<i64> = pending.collect();
    for (id, recent) in read_recent(reader, &pending, 100)? {
        let first = recent.iter().rev().take_while(|beat| beat.status == Some(BeatStatus::Pending)).last();
        if let (Some(first), Some(beat)) = (first, beats.get_mut(&id)) {
            beat.since = Some(first.at);
        }
    }
    Ok(beats)
}

/// Adds the last heartbeats on MariaDB, which reads the whole range of a monitor for a subquery as on SQLite. Those at the end of the
/// table are read first: usually, they are those of nearly all monitors, and the index leads to a page for each monitor.
fn add_newest(reader: &mut dyn Reader, beats: &mut BTreeMap<i64, LastBeat>) -> Result<()> {
    let rows = reader.query("SELECT `id` FROM `monitor`", &[])?;
    let ids: Vec<i64> = rows.iter().filter_map(|row| row.at(0).int()).collect();
    let of = |greatest: String| {
        format!("({greatest} GROUP BY `monitor_id` ORDER BY NULL) m JOIN `heartbeat` h ON h.`id` = m.`id`")
    };
    let end = TAIL * i64::try_from(ids.len()).unwrap_or(i64::MAX);
    let from = read_last_beat(reader)?.saturating_sub(end);
    let tail = format!("SELECT max(`id`) AS `id` FROM `heartbeat` FORCE INDEX (PRIMARY) WHERE `id` > {from}");
    add_last(reader, &of(tail), beats)?;
    let left: Vec<i64> = ids.into_iter().filter(|id| !beats.contains_key(id)).collect();
    for batch in left.chunks(LISTED_IDS) {
        let greatest = format!("SELECT max(`id`) AS `id` FROM `heartbeat` WHERE `monitor_id` IN ({})", ids_text(batch));
        add_last(reader, &of(greatest), beats)?;
    }
    Ok(())
}

/// A message as it may be shown: the server may quote the URL of the monitor.
fn message(cell: &Value) -> String {
    without_credentials(cell.text().unwrap_or_default())
}

/// Adds the heartbeats `h` of `source`.
fn add_last(reader: &mut dyn Reader, source: &str, beats: &mut BTreeMap<i64, LastBeat>) -> Result<()> {
    let sql = format!("SELECT h.`monitor_id`, h.`status`, h.`msg`, h.`ping`, h.`time` FROM {source}");
    reader.stream(&sql, &[], &mut |row| {
        if let (Some(monitor), Some(at)) = (row.at(0).int(), time(row.at(4))) {
            let message = message(row.at(2));
            let (status, ping) = (status(row.at(1)), row.at(3).number());
            beats.insert(monitor, LastBeat { status, at, message, ping, since: None });
        }
        Ok(())
    })
}

/// One heartbeat of a bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beat {
    /// Its time.
    pub at: DateTime<Utc>,
    /// Its status; `None` for a number that is unknown.
    pub status: Option<BeatStatus>,
    /// The response time, in milliseconds.
    pub ping: Option<f64>,
}

/// The last `count` heartbeats of each of these monitors, oldest first.
pub fn read_recent(reader: &mut dyn Reader, ids: &[i64], count: usize) -> Result<BTreeMap<i64, Vec<Beat>>> {
    let part = |id: &i64| {
        format!(
            "SELECT * FROM (SELECT `monitor_id`, `time`, `status`, `ping` FROM `heartbeat` WHERE `monitor_id` = {id} \
             ORDER BY `time` DESC LIMIT {count}) b"
        )
    };
    let mut recent: BTreeMap<i64, Vec<Beat>> = BTreeMap::new();
    for batch in ids.chunks(BATCH) {
        let sql = batch.iter().map(part).collect::<Vec<_>>().join(" UNION ALL ");
        reader.stream(&sql, &[], &mut |row| {
            if let (Some(id), Some(at)) = (row.at(0).int(), time(row.at(1))) {
                let beat = Beat { at, status: status(row.at(2)), ping: row.at(3).number() };
                recent.entry(id).or_default().push(beat);
            }
            Ok(())
        })?;
    }
    recent.values_mut().for_each(|beats| beats.sort_by_key(|beat| beat.at));
    Ok(recent)
}

/// The status changes of these monitors from `from` on, and the last one before it, oldest first.
pub fn read_changes(
    reader: &mut dyn Reader,
    ids: &[i64],
    from: DateTime<Utc>,
) -> Result<BTreeMap<i64, Vec<StatusChange>>> {
    let from = Value::from(server_text(&from));
    let mut changes: BTreeMap<i64, Vec<StatusChange>> = BTreeMap::new();
    let mut add = |row: Row| {
        if let (Some(id), Some(at)) = (row.at(0).int(), time(row.at(1))) {
            let (status, message) = (status(row.at(2)), message(row.at(3)));
            changes.entry(id).or_default().push(StatusChange { at, status, message });
        }
        Ok(())
    };
    // One monitor in each part: for a list of them, SQLite does not use the partial index of 2.5.
    let part = |id: &i64, rest: &str| {
        format!(
            "SELECT * FROM (SELECT `monitor_id`, `time`, `status`, `msg` FROM `heartbeat` WHERE `monitor_id` = {id} \
             AND `important` = 1 AND `time` {rest}) b"
        )
    };
    for batch in ids.chunks(BATCH) {
        for rest in [">= ?", "< ? ORDER BY `time` DESC LIMIT 1"] {
            let sql = batch.iter().map(|id| part(id, rest)).collect::<Vec<_>>().join(" UNION ALL ");
            reader.stream(&sql, &vec![from.clone(); batch.len()], &mut add)?;
        }
    }
    changes.values_mut().for_each(|changes| changes.sort_by_key(|change| change.at));
    Ok(changes)
}

/// The last `count` status changes of monitor `id`, oldest first.
pub fn read_last_changes(reader: &mut dyn Reader, id: i64, count: usize) -> Result<Vec<StatusChange>> {
    let sql = format!(
        "SELECT `time`, `status`, `msg` FROM `heartbeat` WHERE `monitor_id` = ? AND `important` = 1 \
         ORDER BY `time` DESC LIMIT {count}"
    );
    let mut changes = Vec::new();
    reader.stream(&sql, &[Value::Int(id)], &mut |row| {
        if let Some(at) = time(row.at(0)) {
            let message = message(row.at(2));
            changes.push(StatusChange { at, status: status(row.at(1)), message });
        }
        Ok(())
    })?;
    changes.reverse();
    Ok(changes)
}

fn status(cell: &Value) -> Option<BeatStatus> {
    cell.int().and_then(BeatStatus::of)
}

fn time(cell: &Value) -> Option<DateTime<Utc>> {
    cell.text().and_then(server_time)
}
