//! Maintenance windows: whether one is in progress, by the rules of the server (`getStatus` of
//! `server/model/maintenance.js`, 1.23.17 to 2.5.3).

use chrono::{DateTime, NaiveDateTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

use crate::value::{Row, parse_cron};

/// The state of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowState {
    /// In progress.
    UnderMaintenance,
    /// In the future.
    Scheduled,
    /// In the past.
    Ended,
    /// Not active.
    Inactive,
    /// The server cannot compute it either; the doctor shows why.
    Unknown,
}

impl WindowState {
    /// Its name, in lower case.
    pub fn word(self) -> &'static str {
        match self {
            WindowState::UnderMaintenance => "in progress",
            WindowState::Scheduled => "scheduled",
            WindowState::Ended => "ended",
            WindowState::Inactive => "inactive",
            WindowState::Unknown => "unknown",
        }
    }
}

/// The state of the window in `row` at `now`. `server_zone` is the time zone of the server, for windows that have none.
pub fn state(row: &Row, server_zone: Tz, now: DateTime<Utc>) -> WindowState {
    if !row.cell("active").truthy() {
        return WindowState::Inactive;
    }
    let strategy = row.text("strategy").unwrap_or_default();
    if strategy == "manual" {
        return WindowState::UnderMaintenance;
    }
    let zone = match row.text("timezone") {
        None | Some("" | "SAME_AS_SERVER") => Some(server_zone),
        Some(name) => name.parse().ok(),
    };
    let Some(zone) = zone else { return WindowState::Unknown };
    if start(row, zone).is_some_and(|start| now < start) {
        return WindowState::Scheduled;
    }
    if end(row, zone).is_some_and(|end| now > end) {
        return WindowState::Ended;
    }
    match strategy {
        "single" => WindowState::UnderMaintenance,
        _ => occurrence(row, zone, now),
    }
}

/// When the window begins, or may begin for the first time.
pub fn start(row: &Row, zone: Tz) -> Option<DateTime<Utc>> {
    date(row, "start_date", zone)
}

/// When the window ends, or ends for the last time.
pub fn end(row: &Row, zone: Tz) -> Option<DateTime<Utc>> {
    date(row, "end_date", zone)
}

/// A date as it was typed, in the time zone of the window.
fn date(row: &Row, column: &str, zone: Tz) -> Option<DateTime<Utc>> {
    let text = row.text(column)?.trim().trim_end_matches('Z').replace('T', " ");
    let forms = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"];
    let local = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(&text, form).ok());
    let local = local.or_else(|| text.parse().ok().and_then(|date: chrono::NaiveDate| date.and_hms_opt(0, 0, 0)))?;
    Some(zone.from_local_datetime(&local).earliest()?.to_utc())
}

/// Whether an occurrence of a repeated window is in progress: the next one after `now` less its duration has started.
fn occurrence(row: &Row, zone: Tz, now: DateTime<Utc>) -> WindowState {
    let cron = row.text("cron").and_then(|cron| parse_cron(cron).ok());
    let (Some(cron), Some(seconds)) = (cron, row.int("duration")) else { return WindowState::Unknown };
    let Some(before) = TimeDelta::try_seconds(seconds).and_then(|span| now.checked_sub_signed(span)) else {
        return WindowState::Unknown;
    };
    match cron.find_next_occurrence(&before.with_timezone(&zone), false) {
        Ok(begins) if begins.to_utc() < now => WindowState::UnderMaintenance,
        Ok(_) => WindowState::Scheduled,
        Err(_) => WindowState::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    const COLUMNS: [&str; 7] = ["active", "strategy", "timezone", "start_date", "end_date", "cron", "duration"];

    fn row(cells: [&str; 7]) -> Row {
        let cell = |text: &str| if text.is_empty() { Value::Null } else { Value::from(text) };
        Row::new(COLUMNS.map(str::to_owned).to_vec().into(), cells.map(cell).to_vec())
    }

    #[test]
    fn windows_are_in_progress_when_the_server_says_so() {
        use WindowState::{Ended, Inactive, Scheduled, UnderMaintenance, Unknown};
        let now = DateTime::parse_from_rfc3339("2026-11-30T12:00:00Z").unwrap_or_default().to_utc();
        for (cells, expected) in [
            (["0", "manual", "", "", "", "", ""], Inactive),
            (["1", "manual", "", "", "", "", ""], UnderMaintenance),
            (["1", "single", "UTC", "2026-11-30 11:00:00", "2026-11-30 12:30", "", ""], UnderMaintenance),
            (["1", "single", "Europe/Berlin", "2026-11-30 13:30:00", "2026-11-30 14:30:00", "", ""], Scheduled),
            (["1", "single", "UTC", "2026-11-30 10:00", "2026-11-30 11:59", "", ""], Ended),
            // 12:00 UTC is 13:00 in Berlin, which may be the zone of the server.
            (["1", "recurring-weekday", "SAME_AS_SERVER", "", "", "30 12 * * 1", "3600"], UnderMaintenance),
            (["1", "recurring-weekday", "SAME_AS_SERVER", "", "", "30 12 * * 1", "1200"], Scheduled),
            (["1", "cron", "Nowhere/Town", "", "", "* * * * *", "60"], Unknown),
            (["1", "cron", "UTC", "", "", "never", "60"], Unknown),
        ] {
            assert_eq!(state(&row(cells), chrono_tz::Europe::Berlin, now), expected, "{cells:?}");
        }
    }
}
