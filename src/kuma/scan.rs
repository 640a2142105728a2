//! Reads statistics of many monitors on MariaDB in the order in which the server has added them.
//!
//! An index by monitor leads to a page for each of them: 10,000 monitors are 10,000 pages, whatever is counted. (SQLite reads these
//! faster than it groups rows.) But the server adds rows as time passes, so that those of one day are next to each other in the table.
//! Where they begin is only guessed from that order; that nothing is missing is seen in the rows, for each monitor:
//!
//! - A monitor has at most one row for each hour and each day (a unique key). If all of them were found, there are no others.
//! - The minutes of an hour add up to the row of that hour.
//!
//! Monitors of which this is not so are read again by the index.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::engine::{Reader, both, quote};
use crate::error::{Error, Result};
use crate::report::uptime::{Unit, UptimeTally, WindowPart};

/// How many times as many rows may be read as the monitors can have.
const SPREAD: i64 = 4;

/// Positions that one statement looks at.
const PROBES: i64 = 31;

/// What was found of one monitor.
#[derive(Clone, Copy, Default)]
struct Found {
    /// In the part.
    tally: UptimeTally,
    rows: i64,
    /// Up and down in the hour before, as far as it is read.
    before: [f64; 2],
}

/// Adds the checks in the parts of a window to `tallies`, which has an entry for each monitor. Returns the monitors of which rows may
/// be missing in a part, and nothing was added.
pub(super) fn add_parts(
    reader: &mut dyn Reader,
    parts: &[WindowPart],
    tallies: &mut BTreeMap<i64, UptimeTally>,
) -> Result<Vec<(WindowPart, Vec<i64>)>> {
    let part = |unit: Unit| parts.iter().find(|part| part.unit == unit).copied();
    let is_end_of_hour = |minutes: &WindowPart| {
        let hour = Unit::Hour.seconds();
        (minutes.last + Unit::Minute.seconds()) % hour == 0 && minutes.first > minutes.last - hour
    };
    let minutes = part(Unit::Minute).filter(is_end_of_hour);
    let mut left = Vec::new();
    // The hour in which the window begins: its minutes are counted, or the row of all of them.
    let hour = minutes.map(|minutes| minutes.last + Unit::Minute.seconds() - Unit::Hour.seconds());
    let hours = part(Unit::Hour).or(hour.map(|hour| WindowPart { unit: Unit::Hour, first: hour + 3600, last: hour }));
    let monitors = tallies.len();
    let scan_minutes = |reader: &mut dyn Reader| match (minutes, hour) {
        (Some(minutes), Some(hour)) => scan(reader, &minutes, hour, monitors),
        _ => Ok(BTreeMap::new()),
    };
    let scan_others = |reader: &mut dyn Reader| {
        let by_hour =
            hours.map_or(Ok(BTreeMap::new()), |hours| scan(reader, &hours, hour.unwrap_or(hours.first), monitors))?;
        let by_day = part(Unit::Day).map_or(Ok(BTreeMap::new()), |days| scan(reader, &days, days.first, monitors))?;
        Ok::<_, Error>((by_hour, by_day))
    };
    let (by_minute, others) = both(reader, scan_minutes, scan_others);
    let (by_minute, (by_hour, by_day)) = (by_minute?, others?);
    for part in parts {
        let found = match part.unit {
            Unit::Minute => &by_minute,
            Unit::Hour => &by_hour,
            Unit::Day => &by_day,
        };
        let most = (part.last - part.first) / part.unit.seconds() + 1;
        let is_whole = |id: &i64, found: &Found| match part.unit {
            Unit::Minute => by_hour.get(id).is_some_and(|hour| {
                let [up, down] = found.before;
                let sum = [up + found.tally.up, down + found.tally.total - found.tally.up];
                hour.before == sum && sum != [0.0; 2]
            }),
            Unit::Hour | Unit::Day => found.rows == most,
        };
        let mut missing = Vec::new();
        for (id, tally) in tallies.iter_mut() {
            match found.get(id).filter(|found| is_whole(id, found)) {
                Some(found) => tally.add(&found.tally),
                None => missing.push(*id),
            }
        }
        if !missing.is_empty() {
            left.push((*part, missing));
        }
    }
    Ok(left)
}

/// What is found of `part`, and of the time from `from` until it begins.
fn scan(reader: &mut dyn Reader, part: &WindowPart, from: i64, monitors: usize) -> Result<BTreeMap<i64, Found>> {
    let mut all: BTreeMap<i64, Found> = BTreeMap::new();
    let (table, last) = (quote(part.unit.table()), part.last.max(from));
    let ends = reader.query(&format!("SELECT min(`id`), max(`id`) FROM {table}"), &[])?;
    let end = |at: usize| ends.first().and_then(|row| row.at(at).int());
    let (Some(lowest), Some(highest)) = (end(0), end(1)) else { return Ok(all) };
    let first = first_id(reader, &table, lowest..highest + 1, from)?;
    let end = first_id(reader, &table, first..highest + 1, last + 1)?;
    let most = (last - from) / part.unit.seconds() + 1;
    if end - first > SPREAD * most * i64::try_from(monitors).unwrap_or(i64::MAX) {
        return Ok(all);
    }
    // As floating point numbers, which MariaDB adds faster than its decimals.
    let sql = format!(
        "SELECT `monitor_id`, `timestamp` >= {start} AS `is_in`, sum(`up` + 0e0), sum(`down` + 0e0), sum(`ping` * `up`), count(*) \
         FROM {table} FORCE INDEX (PRIMARY) WHERE `id` >= {first} AND `id` < {end} AND `timestamp` >= {from} AND `timestamp` <= {last} \
         GROUP BY `monitor_id`, `is_in` ORDER BY NULL",
        start = part.first,
    );
    reader.stream(&sql, &[], &mut |row| {
        let number = |at: usize| row.at(at).number().unwrap_or(0.0);
        let found = all.entry(row.at(0).int().unwrap_or_default()).or_default();
        if row.at(1).truthy() {
            let (up, down) = (number(2), number(3));
            found.tally = UptimeTally { up, total: up + down, ping: number(4), pinged: up };
            found.rows = row.at(5).int().unwrap_or_default();
        } else {
            found.before = [number(2), number(3)]
        }
        Ok(())
    })?;
    Ok(all)
}

/// The first of `ids` in `table` from `timestamp` on, or their end, if both have the same order.
fn first_id(reader: &mut dyn Reader, table: &str, ids: Range<i64>, timestamp: i64) -> Result<i64> {
    let (mut low, mut high) = (ids.start, ids.end);
    while low < high {
        let step = ((high - low) / (PROBES + 1)).max(1);
        let positions: Vec<i64> = (1..=PROBES).map(|n| low + n * step - 1).filter(|at| *at < high).collect();
        let probe = |at: &i64| {
            format!(
                "SELECT * FROM (SELECT {at}, `timestamp` FROM {table} WHERE `id` <= {at} ORDER BY `id` DESC LIMIT 1) p"
            )
        };
        let sql = positions.iter().map(probe).collect::<Vec<_>>().join(" UNION ALL ");
        let (mut below, mut above) = (low, high);
        reader.stream(&sql, &[], &mut |row| {
            let at = row.at(0).int().unwrap_or_default();
            if row.at(1).int().is_some_and(|found| found >= timestamp) {
                above = above.min(at)
            } else {
                below = below.max(at + 1)
            }
            Ok(())
        })?;
        (low, high) = (below, above.max(below));
    }
    Ok(low)
}
