//! Uptime and average response time over a window, computed as the server computes them.
//!
//! 2.x counts checks in three tables, by minute, hour and day in UTC (`server/uptime-calculator.js`, 2.0.2 and 2.5.3
//! alike): uptime is up / (up + down). A pending check counts as down, one in a maintenance window as neither. The
//! average response time is weighted by the checks that were up. 1.23 has no such tables: it adds up the durations of
//! heartbeats, of which those in maintenance count as up (`server/model/monitor.js`, 1.23.17).

use chrono::{DateTime, TimeDelta, Utc};

/// The tables of statistics of 2.x.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// `stat_minutely`: the last 24 hours.
    Minute,
    /// `stat_hourly`: the last 30 days.
    Hour,
    /// `stat_daily`: as long as heartbeats are kept, in days of UTC.
    Day,
}

impl Unit {
    /// Seconds in one.
    pub fn seconds(self) -> i64 {
        match self {
            Unit::Minute => 60,
            Unit::Hour => 3600,
            Unit::Day => 86_400,
        }
    }

    /// The table.
    pub fn table(self) -> &'static str {
        match self {
            Unit::Minute => "stat_minutely",
            Unit::Hour => "stat_hourly",
            Unit::Day => "stat_daily",
        }
    }

    /// How many of them the server returns at most.
    fn most(self) -> i64 {
        match self {
            Unit::Minute => 24 * 60,
            Unit::Hour => 30 * 24,
            Unit::Day => 365,
        }
    }
}

/// A span of time, and the rows of statistics that cover it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The table.
    pub unit: Unit,
    /// Start of the first row, in seconds since 1970.
    pub first: i64,
    /// Start of the last row, which is included.
    pub last: i64,
    /// The same span for heartbeats, which 1.23 counts.
    pub from: DateTime<Utc>,
    /// Its end.
    pub to: DateTime<Utc>,
}

impl Window {
    /// The last `count` minutes, hours or days up to `now`, the current one included: `getData` of the server (2.5.3).
    pub fn last(unit: Unit, count: i64, now: DateTime<Utc>) -> Window {
        let seconds = unit.seconds();
        let last = now.timestamp() - now.timestamp().rem_euclid(seconds);
        let from = now - TimeDelta::seconds(count * seconds);
        Window { unit, first: last - (count - 1) * seconds, last, from, to: now }
    }

    /// The windows of the page of a monitor: 24 hours, 7 days, 30 days and 365 days (2.5.3).
    pub fn pages(now: DateTime<Utc>) -> [Window; 4] {
        [(Unit::Minute, 1440), (Unit::Hour, 168), (Unit::Day, 30), (Unit::Day, 365)]
            .map(|(unit, count)| Window::last(unit, count, now))
    }

    /// The window of a badge, `/api/badge/ID/uptime/DURATION`: `90m`, `24h`, `7d`, `2w`, `3M`, `1y` (2.5.3). `None` for
    /// other texts, and for a duration that is longer than the server keeps that table.
    pub fn badge(text: &str, now: DateTime<Utc>) -> Option<Window> {
        let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
        let count: i64 = text[..digits].parse().ok().filter(|count| *count > 0)?;
        let (unit, times) = match &text[digits..] {
            "m" => (Unit::Minute, 1),
            "h" => (Unit::Hour, 1),
            "d" => (Unit::Day, 1),
            "w" => (Unit::Day, 7),
            "M" => (Unit::Day, 30),
            "y" => (Unit::Day, 365),
            _ => return None,
        };
        let count = count.checked_mul(times).filter(|count| *count <= unit.most())?;
        Some(Window::last(unit, count, now))
    }

    /// From `from` to `to`, in the finest unit that the server still has for `from`. A row belongs to it if it begins in it.
    pub fn between(from: DateTime<Utc>, to: DateTime<Utc>, now: DateTime<Utc>) -> Window {
        let age = (now - from).num_seconds();
        let units = [Unit::Minute, Unit::Hour];
        let unit = units.into_iter().find(|unit| age < unit.most() * unit.seconds()).unwrap_or(Unit::Day);
        let seconds = unit.seconds();
        let up = |at: DateTime<Utc>| (at.timestamp() + seconds - 1).div_euclid(seconds) * seconds;
        Window { unit, first: up(from), last: up(to) - seconds, from, to }
    }
}

/// Rows of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowPart {
    /// The table.
    pub unit: Unit,
    /// Start of the first row, in seconds since 1970.
    pub first: i64,
    /// Start of the last row, which is included.
    pub last: i64,
}

impl Window {
    /// Few rows that count the same checks as the minutes of a window of at most a day that ends now: whole hours, and the
    /// present day. Another day would not do: its row is deleted where a server keeps heartbeats for one day only.
    pub fn parts(&self) -> Vec<WindowPart> {
        let part = |unit: Unit, first, last| WindowPart { unit, first, last };
        if self.unit != Unit::Minute {
            return vec![part(self.unit, self.first, self.last)];
        }
        let [minute, hour, day] = [Unit::Minute, Unit::Hour, Unit::Day].map(Unit::seconds);
        let up = |at: i64, seconds: i64| (at + seconds - 1).div_euclid(seconds) * seconds;
        let first_hour = up(self.first, hour);
        let midnight = up(first_hour, day);
        let parts = [
            part(Unit::Minute, self.first, first_hour - minute),
            part(Unit::Hour, first_hour, midnight - hour),
            part(Unit::Day, midnight, self.last),
        ];
        parts.into_iter().filter(|part| part.first <= part.last).collect()
    }
}

/// Checks in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UptimeTally {
    /// Checks that were up; of 1.23, seconds.
    pub up: f64,
    /// All that count.
    pub total: f64,
    /// The sum of the response times, in milliseconds, each as often as it counts.
    pub ping: f64,
    /// How often.
    pub pinged: f64,
}

impl UptimeTally {
    /// Adds the checks of `other`.
    pub fn add(&mut self, other: &UptimeTally) {
        self.up += other.up;
        self.total += other.total;
        self.ping += other.ping;
        self.pinged += other.pinged;
    }

    /// From 0 to 1; `None` without a check, where the page shows 0 %.
    pub fn uptime(&self) -> Option<f64> {
        (self.total > 0.0).then(|| (self.up / self.total).max(0.0))
    }

    /// The average response time, in milliseconds.
    pub fn ping(&self) -> Option<f64> {
        (self.pinged > 0.0).then(|| self.ping / self.pinged)
    }
}

/// One row of statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UptimeBucket {
    /// Its start, in seconds since 1970.
    pub at: i64,
    /// Checks that were up.
    pub up: f64,
    /// Average response time, in milliseconds.
    pub ping: f64,
    /// The shortest.
    pub min: f64,
    /// The longest.
    pub max: f64,
}

/// An uptime in percent as the page rounds it, to two digits (`src/components/Uptime.vue`, 1.23 to 2.5).
pub fn percent(uptime: f64) -> f64 {
    (uptime * 10_000.0 + 0.5).floor() / 100.0
}

/// The same as text; `-` if there was no check.
pub fn percent_text(uptime: Option<f64>) -> String {
    uptime.map_or_else(|| "-".to_owned(), |uptime| format!("{:.2}%", percent(uptime)))
}

/// A response time as text, in whole milliseconds; `-` if there is none.
pub fn ping_text(ping: Option<f64>) -> String {
    ping.map_or_else(|| "-".to_owned(), |ping| format!("{ping:.0} ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap_or_default().to_utc()
    }

    #[test]
    fn windows_are_those_of_the_server() {
        let now = at("2026-11-30T12:34:56Z");
        let start = |text| at(text).timestamp();
        let day = Window::last(Unit::Minute, 1440, now);
        assert_eq!((day.first, day.last), (start("2026-11-29T12:35:00Z"), start("2026-11-30T12:34:00Z")));
        let month = Window::pages(now)[2];
        assert_eq!((month.first, month.last), (start("2026-11-01T00:00:00Z"), start("2026-11-30T00:00:00Z")));
        assert_eq!(Window::badge("24h", now).map(|window| window.first), Some(start("2026-11-29T13:00:00Z")));
        assert_eq!(Window::badge("2w", now), Some(Window::last(Unit::Day, 14, now)));
        for text in ["721h", "1441m", "366d", "0d", "h", "12", "5q", ""] {
            assert_eq!(Window::badge(text, now), None, "{text}");
        }
        let span = Window::between(at("2026-11-30T10:00:30Z"), at("2026-11-30T11:00:00Z"), now);
        assert_eq!(
            (span.unit, span.first, span.last),
            (Unit::Minute, start("2026-11-30T10:01:00Z"), start("2026-11-30T10:59:00Z"))
        );
        let november = Window::between(at("2026-11-01T00:00:00Z"), at("2026-11-30T00:00:00Z"), now);
        assert_eq!((november.unit, november.last), (Unit::Hour, start("2026-11-29T23:00:00Z")));
        assert_eq!(Window::between(at("2026-10-01T00:00:00Z"), at("2026-11-01T00:00:00Z"), now).unit, Unit::Day);
    }

    #[test]
    fn a_day_is_counted_from_few_rows() {
        for minutes in 0..1440 {
            let now = at("2026-11-28T22:00:30Z") + TimeDelta::minutes(minutes);
            let window = Window::last(Unit::Minute, 1440, now);
            let parts = window.parts();
            // Each minute up to now is in one row, and none before the window; later ones are in the future.
            let holds = |part: &&WindowPart, at: i64| (part.first..part.last + part.unit.seconds()).contains(&at);
            let around = (window.first - 86_400..=window.last).step_by(60);
            let is_wrong = |at: &i64| {
                let count = parts.iter().filter(|part| holds(part, *at)).count();
                count != usize::from(*at >= window.first)
            };
            let rows: i64 = parts.iter().map(|part| (part.last - part.first) / part.unit.seconds() + 1).sum();
            assert!(!around.into_iter().any(|at| is_wrong(&at)) && rows <= 59 + 23 + 1, "{now}: {rows} {parts:?}");
        }
        let week = Window::last(Unit::Hour, 168, at("2026-11-30T12:34:56Z"));
        assert_eq!(week.parts(), [WindowPart { unit: Unit::Hour, first: week.first, last: week.last }]);
    }

    #[test]
    fn numbers_are_rounded_as_on_the_page() {
        for (uptime, text) in [(1.0, "100.00%"), (0.999_95, "100.00%"), (0.999_949, "99.99%"), (0.995, "99.50%")] {
            assert_eq!(percent_text(Some(uptime)), text);
        }
        assert_eq!(percent_text(UptimeTally::default().uptime()), "-");
        let tally = UptimeTally { up: 3.0, total: 4.0, ping: 36.0, pinged: 3.0 };
        assert_eq!((tally.uptime(), tally.ping()), (Some(0.75), Some(12.0)));
    }
}
