//! Statistics of the history: heartbeats by monitor, their rate, and what the server itself will delete.
//!
//! Counted over the index of monitor and time, never over the rows: millions of heartbeats take a second.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::read::ids_text;
use crate::engine::{Reader, quote};
use crate::error::Result;
use crate::schema::Schema;
use crate::value::{Row, Value, server_text, server_time};

/// Heartbeats of each monitor that its page shows, and that the nightly clean-up of 2.x keeps at any age (2.5.3).
pub const NEWEST: u64 = 100;

/// Default of the days that the server keeps (2.5.3; 180 in 1.23).
const DEFAULT_DAYS: i64 = 365;
const DEFAULT_DAYS_1X: i64 = 180;

/// Days of the forecast.
pub const AHEAD: i64 = 30;

/// The history of one instance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Heartbeats, by monitor.
    pub monitors: BTreeMap<i64, MonitorBeats>,
    /// The retention of the server.
    pub retention: Retention,
    /// Rows of statistics that the server will delete next, by table. Empty before 2.0.
    pub old_statistics: BTreeMap<String, u64>,
    /// Heartbeats in the 24 hours up to the newest one.
    pub per_day: u64,
    /// Expected heartbeats in [`AHEAD`] days at the rate of that day.
    pub ahead: u64,
}

/// The heartbeats of one monitor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MonitorBeats {
    /// How many.
    pub rows: u64,
    /// Those where its status changed.
    pub important: u64,
    /// Time of the first, UTC, as stored.
    pub oldest: String,
    /// Time of the last.
    pub newest: String,
    /// How many the server itself will delete in its next clean-up.
    pub server_deletes: u64,
}

/// How long the server keeps heartbeats: its setting `keepDataPeriodDays`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The value of the setting; `None` if it is not set.
    pub set: Option<i64>,
    /// Effective days; below 1 the server deletes nothing by age.
    pub days: i64,
    /// The server also deletes unimportant heartbeats that are older than a day (2.x).
    pub thins: bool,
}

impl Retention {
    /// Heartbeats before this time are deleted; `None` if none are deleted by age.
    fn cutoff(self, now: DateTime<Utc>) -> Option<String> {
        (self.days >= 1).then(|| before(now, self.days))
    }
}

/// The time `days` before `now`, in the format of heartbeats.
pub fn before(now: DateTime<Utc>, days: i64) -> String {
    // A time out of range is before everything.
    let datetime = TimeDelta::try_days(days).and_then(|days| now.checked_sub_signed(days));
    datetime.map_or_else(|| "0000-00-00 00:00:00".into(), |datetime| server_text(&datetime))
}

/// Reads [`Retention`] as the server parses it: JSON, a number or a text that begins with one.
pub fn read_retention(reader: &mut dyn Reader, schema: &Schema) -> Result<Retention> {
    let thins = schema.table("stat_daily").is_some();
    let set = read_retention_row(reader)?;
    let set = set.and_then(|row| row.text("value").map(str::to_owned).or_else(|| Some(row.int("value")?.to_string())));
    let set = set.and_then(|text| leading_number(text.trim().trim_matches('"')));
    let days = set.unwrap_or(if thins { DEFAULT_DAYS } else { DEFAULT_DAYS_1X });
    Ok(Retention { set, days, thins })
}

/// The row of that setting, if there is one.
pub fn read_retention_row(reader: &mut dyn Reader) -> Result<Option<Row>> {
    Ok(reader.query("SELECT * FROM `setting` WHERE `key` = 'keepDataPeriodDays'", &[])?.into_iter().next())
}

fn leading_number(text: &str) -> Option<i64> {
    let end = text
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_digit() || *at == 0 && *c == '-'))
        .map_or(text.len(), |(at, _)| at);
    text[..end].parse().ok()
}

/// Reads the history as it is at `now`.
pub fn read_history(reader: &mut dyn Reader, schema: &Schema, now: DateTime<Utc>) -> Result<History> {
    let retention = read_retention(reader, schema)?;
    let mut monitors: BTreeMap<i64, MonitorBeats> = BTreeMap::new();
    let sql = "SELECT `monitor_id`, count(*) AS n, min(`time`) AS oldest, max(`time`) AS newest FROM `heartbeat` GROUP BY \
               `monitor_id`";
    reader.stream(sql, &[], &mut |row| {
        let time = |column: &str| row.text(column).unwrap_or_default().to_owned();
        let (rows, oldest, newest) = (row.int("n").unwrap_or(0).unsigned_abs(), time("oldest"), time("newest"));
        let beats = MonitorBeats { rows, oldest, newest, ..MonitorBeats::default() };
        monitors.insert(row.int("monitor_id").unwrap_or_default(), beats);
        Ok(())
    })?;
    let ids: Vec<i64> = monitors.keys().copied().collect();
    let mut part =
        |important: bool, since: Option<&str>, until: Option<&str>| count(reader, &ids, important, since, until);
    let important = part(true, None, None)?;
    let day = before(now, 1);
    let kept = part(false, Some(&day), None)?;
    let kept_important = part(true, Some(&day), None)?;
    let (old, old_important) = match retention.cutoff(now) {
        Some(cutoff) => (part(false, None, Some(&cutoff))?, part(true, None, Some(&cutoff))?),
        None => Default::default(),
    };
    // The day that ends with the newest heartbeat, so that a stopped server has a rate too.
    let newest = monitors.values().map(|beats| beats.newest.as_str()).max().unwrap_or_default();
    let end = server_time(newest).unwrap_or(now);
    let (last_day, last_week) = (before(end, 1), before(end, 7));
    let per_day: u64 = part(false, Some(&last_day), None)?.values().sum();
    let important_in_week: u64 = part(true, Some(&last_week), None)?.values().sum();
    let survivors: u64 = match retention.cutoff(now + TimeDelta::days(AHEAD)) {
        Some(cutoff) => part(retention.thins, Some(&cutoff), None)?.values().sum(),
        None if retention.thins => important.values().sum(),
        None => monitors.values().map(|beats| beats.rows).sum(),
    };
    let days = if retention.days >= 1 { retention.days.min(AHEAD) } else { AHEAD }.unsigned_abs();
    let ahead = if retention.thins {
        // Of future heartbeats, all of the last day are kept, and the important ones of other days.
        survivors + important_in_week * days / 7 + per_day
    } else {
        survivors + per_day * days
    };
    let of = |counts: &BTreeMap<i64, u64>, id: &i64| counts.get(id).copied().unwrap_or(0);
    for (id, beats) in &mut monitors {
        beats.important = of(&important, id);
        beats.server_deletes = if retention.thins && beats.rows - of(&old, id).min(beats.rows) >= NEWEST {
            let (kept, kept_important) = match of(&kept, id) {
                n if n >= NEWEST => (n, of(&kept_important, id)),
                _ => count_newest(reader, *id)?,
            };
            let thinned = (beats.rows - kept).saturating_sub(beats.important - kept_important.min(beats.important));
            thinned + of(&old_important, id)
        } else {
            of(&old, id)
        };
    }
    let old_statistics = read_old_statistics(reader, schema, retention, now)?;
    Ok(History { monitors, retention, old_statistics, per_day, ahead })
}

/// Heartbeats by monitor: all or only the important ones, since and until a time. Each monitor is a range of the index.
pub(super) fn count(
    reader: &mut dyn Reader,
    ids: &[i64],
    important: bool,
    since: Option<&str>,
    until: Option<&str>,
) -> Result<BTreeMap<i64, u64>> {
    let mut sql =
        format!("SELECT `monitor_id`, count(*) AS n FROM `heartbeat` WHERE `monitor_id` IN ({})", ids_text(ids));
    let mut params: Vec<Value> = Vec::new();
    if important {
        sql.push_str(" AND `important` = 1");
    }
    for (sign, datetime) in [(">=", since), ("<", until)] {
        if let Some(datetime) = datetime {
            sql.push_str(&format!(" AND `time` {sign} ?"));
            params.push(datetime.into());
        }
    }
    sql.push_str(" GROUP BY `monitor_id`");
    let mut counts = BTreeMap::new();
    reader.stream(&sql, &params, &mut |row| {
        counts.insert(row.int("monitor_id").unwrap_or_default(), row.int("n").unwrap_or(0).unsigned_abs());
        Ok(())
    })?;
    Ok(counts)
}

/// How many newest heartbeats are kept in any case, and how many of them are important.
fn count_newest(reader: &mut dyn Reader, id: i64) -> Result<(u64, u64)> {
    let sql = format!(
        "SELECT count(*) AS n, sum(`important`) AS important FROM \
         (SELECT `important` FROM `heartbeat` WHERE `monitor_id` = ? ORDER BY `time` DESC LIMIT {NEWEST}) newest"
    );
    let rows = reader.query(&sql, &[Value::Int(id)])?;
    let number = |column: &str| rows.first().and_then(|row| row.int(column)).unwrap_or(0).unsigned_abs();
    Ok((number("n"), number("important")))
}

/// The oldest time that the server keeps in each table of statistics, in seconds since 1970 (2.5.3): a day of minutes,
/// 30 days of hours, and as many days as of heartbeats, from the start of a day.
pub(super) fn statistics_cutoffs(schema: &Schema, days: i64, now: DateTime<Utc>) -> Vec<(&'static str, i64)> {
    let today = now.timestamp() - now.timestamp().rem_euclid(86_400);
    let periods = [
        ("stat_minutely", Some(now.timestamp() - 86_400)),
        ("stat_hourly", Some(now.timestamp() - 30 * 86_400)),
        ("stat_daily", (days >= 1).then(|| today.saturating_sub(days.saturating_mul(86_400)))),
    ];
    let known = periods.into_iter().filter(|(table, _)| schema.has(table, "timestamp"));
    known.filter_map(|(table, cutoff)| Some((table, cutoff?))).collect()
}

fn read_old_statistics(
    reader: &mut dyn Reader,
    schema: &Schema,
    retention: Retention,
    now: DateTime<Utc>,
) -> Result<BTreeMap<String, u64>> {
    let mut old = BTreeMap::new();
    for (table, cutoff) in statistics_cutoffs(schema, retention.days, now) {
        let sql = format!("SELECT count(*) AS n FROM {} WHERE `timestamp` < ?", quote(table));
        let rows = reader.query(&sql, &[Value::Int(cutoff)])?;
        old.insert(table.to_owned(), rows.first().and_then(|row| row.int("n")).unwrap_or(0).unsigned_abs());
    }
    Ok(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_days_as_the_server_does() {
        for (text, days) in
            [("30", Some(30)), ("30.5", Some(30)), ("-1", Some(-1)), ("x", None), ("", None), ("-", None)]
        {
            assert_eq!(leading_number(text), days, "{text}");
        }
    }
}
