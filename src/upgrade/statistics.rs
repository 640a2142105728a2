//! The aggregation of heartbeats into statistics by minute, hour and day, which the server does once when it upgrades a database
//! of 1.x. Read in 2.0.0 to 2.5.3, which all compute the same.

use std::collections::BTreeMap;

use chrono::{DateTime, Offset as _, TimeZone as _, Utc};
use chrono_tz::Tz;

use super::time::{self, StoredTime};
use crate::value::Value;

/// The three tables, and how long a bucket of each is, in seconds.
pub const TABLES: [(&str, i64); 3] = [("stat_minutely", 60), ("stat_hourly", 3_600), ("stat_daily", 86_400)];

/// How old the newest heartbeat of a bucket may be so that the server stores the bucket, in milliseconds.
const WINDOWS: [Option<i64>; 3] = [Some(24 * 3_600_000), Some(30 * 24 * 3_600_000), None];

/// One bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bucket {
    /// Heartbeats with status up.
    pub up: i64,
    /// Those with status down or pending.
    pub down: i64,
    /// Those with status maintenance.
    pub maintenance: i64,
    /// The mean of the response times.
    pub ping: f64,
    /// The shortest response time.
    pub ping_min: f64,
    /// The longest response time.
    pub ping_max: f64,
    /// Whether it is inside the window of its table.
    stored: bool,
}

/// A status that the server does not know; its own aggregation stops there.
#[derive(Clone, Debug, PartialEq)]
pub struct UnknownStatus(pub Value);

impl Bucket {
    /// Counts one heartbeat.
    ///
    /// The order of the operations on floating point numbers is that of the server, so that the result has the same bits.
    fn count(&mut self, status: Status, ping: Option<f64>) {
        match status {
            Status::Maintenance => self.maintenance += 1,
            Status::Down => self.down += 1,
            Status::Up => {
                self.up += 1;
                let Some(ping) = ping else { return };
                if self.up == 1 {
                    (self.ping, self.ping_min, self.ping_max) = (ping, ping, ping);
                } else {
                    let up = self.up as f64;
                    self.ping = (self.ping * (up - 1.0) + ping) / up;
                    self.ping_min = self.ping_min.min(ping);
                    self.ping_max = self.ping_max.max(ping);
                }
            }
        }
    }

    /// Counts one heartbeat of a later server, which is in this bucket.
    pub fn add(&mut self, status: &Value, ping: &Value) -> Result<(), UnknownStatus> {
        self.count(Status::of(status)?, number(ping));
        Ok(())
    }

    /// Number of heartbeats.
    pub fn total(&self) -> i64 {
        self.up + self.down + self.maintenance
    }

    /// The cell `extras`.
    pub fn extras(&self) -> Value {
        match self.maintenance {
            0 => Value::Null,
            count => format!("{{\"maintenance\":{count}}}").into(),
        }
    }
}

#[derive(Clone, Copy)]
enum Status {
    Up,
    Down,
    Maintenance,
}

impl Status {
    fn of(cell: &Value) -> Result<Status, UnknownStatus> {
        match cell {
            Value::Int(0 | 2) => Ok(Status::Down),
            Value::Int(1) => Ok(Status::Up),
            Value::Int(3) => Ok(Status::Maintenance),
            other => Err(UnknownStatus(other.clone())),
        }
    }
}

/// The time of a heartbeat, in milliseconds since 1970; `None` where the server skips the heartbeat.
pub fn time_of(cell: &Value) -> Option<i64> {
    cell.text().and_then(time::parse).map(StoredTime::utc)
}

/// Buckets by their start, in seconds since 1970.
pub type Buckets = BTreeMap<i64, Bucket>;

/// Aggregates the heartbeats of one monitor after the other; each monitor's in the order of their times.
pub struct Aggregation {
    /// The current time, in milliseconds.
    now: i64,
    /// As the server does it: times are local times of this zone, and each date of the text has its own counters.
    zone: Option<Tz>,
    date: i64,
    /// The length of a bucket, in seconds, and the window of the table, in milliseconds.
    length: i64,
    window: Option<i64>,
    counting: Buckets,
    stored: Buckets,
}

impl Aggregation {
    /// Aggregates for one of [`TABLES`] as of `now`, in milliseconds since 1970. With `zone` it makes the mistakes of a server whose
    /// process is in that zone.
    pub fn new(now: i64, zone: Option<Tz>, table: usize) -> Aggregation {
        let (length, window) = (TABLES[table].1, WINDOWS[table]);
        let (counting, stored) = Default::default();
        Aggregation { now, zone, date: i64::MIN, length, window, counting, stored }
    }

    /// A day before which no time is written of a heartbeat that counts, whatever its offset and the zone; `None` if all count.
    pub fn since(&self) -> Option<DateTime<Utc>> {
        let window = self.window?;
        DateTime::from_timestamp_millis(self.now - window - 1000 * self.length - 2 * 86_400_000)
    }

    /// Counts one heartbeat. One whose time is not a time is skipped, as the server does.
    pub fn add(&mut self, time: &Value, status: &Value, ping: &Value) -> Result<(), UnknownStatus> {
        let Some(read) = time.text().and_then(time::parse) else { return Ok(()) };
        let status = Status::of(status)?;
        let ping = number(ping);
        let (at, shift) = match self.zone {
            None => (read.utc(), 0),
            Some(zone) => {
                self.turn_to(read.utc().div_euclid(86_400_000));
                let shift = if read.offset.is_some() { 0 } else { offset(zone, read) };
                (read.utc() - shift, shift)
            }
        };
        // The minute and hour are those of the local time, the day that of UTC.
        let shift = if self.length < 86_400 { shift / 1000 } else { 0 };
        let second = at.div_euclid(1000) + shift;
        let start = second - second.rem_euclid(self.length) - shift;
        let inside = self.window.is_none_or(|window| at > self.now - window);
        // A bucket that ends before the window never gets a heartbeat inside.
        if !inside && (start + self.length) * 1000 <= self.now - self.window.unwrap_or(0) {
            return Ok(());
        }
        let bucket = self.counting.entry(start).or_default();
        bucket.count(status, ping);
        bucket.stored |= inside;
        Ok(())
    }

    /// Begins another date: with a zone, the counters of the last one are stored and start again.
    fn turn_to(&mut self, date: i64) {
        if self.date != date {
            self.date = date;
            self.store();
        }
    }

    fn store(&mut self) {
        for (start, bucket) in std::mem::take(&mut self.counting) {
            if !bucket.stored {
                continue;
            }
            let kept = self.stored.entry(start).or_default();
            // `extras` is only written where there are some.
            let maintenance = if bucket.maintenance == 0 { kept.maintenance } else { bucket.maintenance };
            *kept = Bucket { maintenance, ..bucket };
        }
    }

    /// The buckets of the monitor; the next heartbeat is of another monitor.
    pub fn take(&mut self) -> Buckets {
        self.store();
        self.date = i64::MIN;
        std::mem::take(&mut self.stored)
    }
}

/// The offset of local time in `zone` at a time that is written in that zone, in milliseconds.
fn offset(zone: Tz, read: StoredTime) -> i64 {
    let Some(written) = DateTime::from_timestamp_millis(read.written).map(|at| at.naive_utc()) else { return 0 };
    // An hour that does not exist is read with the offset before it, as JavaScript does.
    let local = zone.from_local_datetime(&written).earliest();
    let before = || zone.offset_from_utc_datetime(&(written - chrono::TimeDelta::days(1))).fix();
    let offset = local.map_or_else(before, |local| local.offset().fix());
    i64::from(offset.local_minus_utc()) * 1000
}

/// A response time as `parseFloat` of JavaScript reads it: `None` where it is not a number.
fn number(cell: &Value) -> Option<f64> {
    match cell {
        Value::Int(n) => Some(*n as f64),
        Value::Real(x) => (!x.is_nan()).then_some(*x),
        Value::Text(text) => leading_number(text.trim_start()),
        Value::Null | Value::Blob(_) => None,
    }
}

fn leading_number(text: &str) -> Option<f64> {
    let unsigned = text.trim_start_matches(['+', '-']);
    if text.len() - unsigned.len() > 1 {
        return None;
    }
    if unsigned.starts_with("Infinity") {
        return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    let count = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = count(unsigned);
    let mut end = whole;
    let mut fraction = 0;
    if unsigned[end..].starts_with('.') {
        fraction = count(&unsigned[end + 1..]);
        end += 1 + fraction;
    }
    if whole + fraction == 0 {
        return None;
    }
    if let Some(exponent) = unsigned[end..].strip_prefix(['e', 'E']) {
        let sign = usize::from(exponent.starts_with(['+', '-']));
        let digits = count(&exponent[sign..]);
        if digits > 0 {
            end += 1 + sign + digits;
        }
    }
    text[..end + text.len() - unsigned.len()].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_704_110_400_000;

    fn aggregate(zone: Option<Tz>, beats: &[(&str, i64, Value)]) -> [Buckets; 3] {
        [0, 1, 2].map(|table| {
            let mut aggregation = Aggregation::new(NOON, zone, table);
            for (time, status, ping) in beats {
                aggregation.add(&(*time).into(), &(*status).into(), ping).expect("it is valid");
            }
            aggregation.take()
        })
    }

    #[test]
    fn counts_as_the_server_does() {
        let minute = "2024-01-01 11:00:00.000";
        let beats = [
            (minute, 1, Value::Null),
            (minute, 1, 10.into()),
            (minute, 1, 20.into()),
            (minute, 3, 5.into()),
            (minute, 2, 7.into()),
        ];
        let [minutes, hours, days] = aggregate(None, &beats);
        let expected =
            Bucket { up: 3, down: 1, maintenance: 1, ping: 10.0, ping_min: 0.0, ping_max: 20.0, stored: true };
        assert_eq!(minutes, Buckets::from([(1_704_106_800, expected)]));
        assert_eq!(hours, minutes);
        assert_eq!(days, Buckets::from([(1_704_067_200, expected)]));
        assert_eq!(expected.extras(), Value::from("{\"maintenance\":1}"));
    }

    #[test]
    fn counts_all_heartbeats_of_the_bucket_at_the_border() {
        let [minutes, hours, days] = aggregate(
            None,
            &[
                ("2023-12-02 12:00:00", 1, 1.into()),
                ("2023-12-02 12:00:01", 1, 1.into()),
                ("2023-12-31 11:59:59", 1, 1.into()),
                ("2023-12-31 12:00:00", 1, 1.into()),
                ("2023-12-31 12:00:30", 1, 1.into()),
            ],
        );
        assert_eq!(minutes.values().map(|bucket| bucket.up).collect::<Vec<_>>(), [2]);
        assert_eq!(hours.values().map(|bucket| bucket.up).collect::<Vec<_>>(), [2, 1, 2]);
        assert_eq!(days.values().map(|bucket| bucket.up).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn makes_the_mistakes_of_a_server_in_another_zone() {
        let beats = [("2023-12-31 20:00:00", 1, 5.into()), ("2024-01-01 03:00:00", 1, 7.into())];
        let [_, hours, days] = aggregate(Some(Tz::Asia__Tokyo), &beats);
        // Both are of 2023-12-31 UTC for the server; the second date overwrites the first.
        assert_eq!(days.values().map(|bucket| (bucket.up, bucket.ping)).collect::<Vec<_>>(), [(1, 7.0)]);
        assert_eq!(hours.keys().copied().collect::<Vec<_>>(), [1_704_020_400, 1_704_045_600]);
        let [_, hours, _] = aggregate(Some(Tz::Asia__Kolkata), &beats);
        assert_eq!(hours.keys().map(|start| start % 3600).collect::<Vec<_>>(), [1800, 1800]);
    }

    #[test]
    fn reads_response_times_as_javascript_does() {
        for (text, expected) in [
            ("12abc", Some(12.0)),
            ("  7", Some(7.0)),
            ("-.5e1x", Some(-5.0)),
            ("0x10", Some(0.0)),
            ("1e", Some(1.0)),
            ("", None),
            ("abc", None),
            ("--1", None),
            ("Infinity x", Some(f64::INFINITY)),
        ] {
            assert_eq!(number(&text.into()), expected, "{text}");
        }
        let mut aggregation = Aggregation::new(NOON, None, 2);
        assert_eq!(
            aggregation.add(&"2024-01-01 11:00:00".into(), &7.into(), &Value::Null),
            Err(UnknownStatus(Value::Int(7)))
        );
        assert_eq!(aggregation.add(&"garbage".into(), &7.into(), &Value::Null), Ok(()));
    }
}
