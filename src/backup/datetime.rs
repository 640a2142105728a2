//! Date and time expressions: `2026-11-24`, `yesterday`, `tuesday 18:30`, `2 days ago`.

use chrono::{
    DateTime, Datelike as _, Days, Local, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _, Utc,
    Weekday,
};

/// Parses the expression `text`, relative to `now` and in its time zone.
///
/// A day means its beginning. The name of a weekday means the most recent one, `last` one before today; a time of day the most
/// recent one; a date without a year the most recent one. A number with a unit, such as `3d` or `2 weeks ago`, counts back from
/// `now`. A UTC marker or an offset is respected.
///
/// # Errors
/// The accepted forms, in words.
pub fn parse_datetime(text: &str, now: DateTime<Local>) -> Result<DateTime<Utc>, String> {
    let plain = plain(text);
    if let Some(exact) = parse_exact(&plain) {
        return Ok(exact);
    }
    let now = now.naive_local();
    let local = parse_ago(&plain, now).or_else(|| parse_day_and_time(&plain, now));
    local.and_then(to_utc).ok_or_else(|| {
        format!(
            "`{text}` is not a valid date or time: use 2026-11-24, '2026-11-24 18:30', '24 Nov', 18:30, yesterday, 'tuesday 18:30', \
             '2 days ago' or 12h"
        )
    })
}

/// The same for a time to come: `22:00` is the next one, and `12h` is in twelve hours. A date with its year may be in the past.
///
/// # Errors
/// What it could be instead.
pub fn parse_future(text: &str, now: DateTime<Local>) -> Result<DateTime<Utc>, String> {
    let plain = plain(text);
    if let Some(exact) = parse_exact(&plain) {
        return Ok(exact);
    }
    let now = now.naive_local();
    let span = Some(plain.strip_prefix("in ").unwrap_or(&plain)).filter(|span| !span.ends_with(" ago"));
    let mirrored = span.and_then(|span| now.checked_add_signed(now - parse_ago(span, now)?));
    mirrored.or_else(|| parse_next(&plain, now)).and_then(to_utc).ok_or_else(|| {
        format!(
            "`{text}` is not a valid date or time: use 2027-01-31, '2027-01-31 22:00', '31 Jan', 22:00, tomorrow, 'tuesday 22:00' or \
             12h"
        )
    })
}

fn plain(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").to_lowercase().replace(" am", "am").replace(" pm", "pm")
}

/// For an hour that a clock change skips the next one is used, for one that occurs twice the first.
fn to_utc(local: NaiveDateTime) -> Option<DateTime<Utc>> {
    let next = || Local.from_local_datetime(&(local + TimeDelta::hours(1))).earliest();
    Local.from_local_datetime(&local).earliest().or_else(next).map(|datetime| datetime.to_utc())
}

/// A time of day, a day or both, that comes next.
fn parse_next(text: &str, now: NaiveDateTime) -> Option<NaiveDateTime> {
    if let Some(rest) = text.strip_prefix("tomorrow") {
        return parse_day_and_time(&format!("today{rest}"), now.checked_add_days(Days::new(1))?);
    }
    let text = text.strip_prefix("next ").unwrap_or(text);
    // The last one before tomorrow, before the same day of the next week, and of the next year.
    let days: &[u64] = match parse_time(text) {
        Some(_) => &[1],
        None if ["today", "yesterday", "last "].iter().any(|word| text.starts_with(word)) => &[0],
        None => &[0, 7, 365],
    };
    let found = days.iter().filter_map(|days| parse_day_and_time(text, now.checked_add_days(Days::new(*days))?));
    found.fold(None, |first, next| first.filter(|first| *first > now).or(Some(next)))
}

/// Times with UTC or an offset, and the beginning of archive names: `20261124T183000Z`.
fn parse_exact(text: &str) -> Option<DateTime<Utc>> {
    let written = text.to_uppercase();
    if let Ok(exact) = DateTime::parse_from_rfc3339(&written) {
        return Some(exact.to_utc());
    }
    let utc = written.strip_suffix('Z').or_else(|| written.strip_suffix(" UTC"))?;
    let forms = ["%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y%m%dT%H%M%S"];
    forms.iter().find_map(|form| NaiveDateTime::parse_from_str(utc, form).ok()).map(|utc| utc.and_utc())
}

/// `now`, `90m`, `3 days`, `a week ago`.
fn parse_ago(text: &str, now: NaiveDateTime) -> Option<NaiveDateTime> {
    if text == "now" {
        return Some(now);
    }
    let span = text.strip_suffix(" ago").unwrap_or(text);
    let (number, unit): (u32, _) = match span.strip_prefix("a ").or_else(|| span.strip_prefix("an ")) {
        Some(unit) => (1, unit),
        None => {
            let digits = span.find(|letter: char| !letter.is_ascii_digit())?;
            (span[..digits].parse().ok()?, span[digits..].trim_start())
        }
    };
    let minutes = |each: i64| now.checked_sub_signed(TimeDelta::try_minutes(i64::from(number).checked_mul(each)?)?);
    let months = |each: u32| now.checked_sub_months(Months::new(number.checked_mul(each)?));
    match unit {
        "m" | "min" | "minute" | "minutes" => minutes(1),
        "h" | "hour" | "hours" => minutes(60),
        "d" | "day" | "days" => minutes(24 * 60),
        "w" | "week" | "weeks" => minutes(7 * 24 * 60),
        "month" | "months" => months(1),
        "y" | "year" | "years" => months(12),
        _ => None,
    }
}

/// A day, a time of day, or both, the day first.
fn parse_day_and_time(text: &str, now: NaiveDateTime) -> Option<NaiveDateTime> {
    let today = now.date();
    if let Some(day) = parse_day(text, today) {
        return Some(day.and_time(NaiveTime::MIN));
    }
    if let Some(time) = parse_time(text) {
        let last = today.and_time(time);
        return if last > now { last.checked_sub_days(Days::new(1)) } else { Some(last) };
    }
    let written = text.strip_suffix(|last: char| last.is_ascii_digit()).and_then(|_| text.split_once('t'));
    let (day, time) = written.filter(|(day, _)| parse_day(day, today).is_some()).or_else(|| text.rsplit_once(' '))?;
    let day = day.strip_suffix(" at").unwrap_or(day);
    Some(parse_day(day, today)?.and_time(parse_time(time)?))
}

fn parse_day(text: &str, today: NaiveDate) -> Option<NaiveDate> {
    match text {
        "today" => return Some(today),
        "yesterday" => return today.pred_opt(),
        _ => {}
    }
    let (last, name) = text.strip_prefix("last ").map_or((false, text), |name| (true, name));
    if let Ok(day) = name.parse::<Weekday>() {
        let since = u64::from(today.weekday().days_since(day));
        return today.checked_sub_days(Days::new(if last && since == 0 { 7 } else { since }));
    }
    let text = text.replace(',', "");
    let forms = ["%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d %B %Y", "%B %d %Y"];
    let parse = |text: &str| forms.iter().find_map(|form| NaiveDate::parse_from_str(text, form).ok());
    let of_year = |year: i32| parse(&format!("{text} {year}"));
    parse(&text)
        .or_else(|| of_year(today.year()).filter(|day| *day <= today))
        .or_else(|| of_year(today.year().checked_sub(1)?))
}

fn parse_time(text: &str) -> Option<NaiveTime> {
    match text {
        "midnight" => return Some(NaiveTime::MIN),
        "noon" => return NaiveTime::from_hms_opt(12, 0, 0),
        _ => {}
    }
    let half = text.strip_suffix("am").or_else(|| text.strip_suffix("pm"));
    // The time format needs minutes.
    let whole = match half.filter(|hour| !hour.contains(':')) {
        Some(hour) => format!("{hour}:00{}", &text[hour.len()..]),
        None => text.to_owned(),
    };
    let forms: &[&str] = if half.is_some() { &["%I:%M%p"] } else { &["%H:%M", "%H:%M:%S"] };
    forms.iter().find_map(|form| NaiveTime::parse_from_str(&whole, form).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn understands_moments_as_people_say_them() {
        // A Tuesday.
        let now = Local.with_ymd_and_hms(2026, 11, 24, 15, 30, 0).unwrap();
        let says = |text: &str| {
            parse_datetime(text, now).map(|datetime| datetime.with_timezone(&Local).naive_local().to_string())
        };
        for (text, meant) in [
            ("now", "2026-11-24 15:30:00"),
            ("today", "2026-11-24 00:00:00"),
            ("Yesterday", "2026-11-23 00:00:00"),
            ("yesterday  18:30", "2026-11-23 18:30:00"),
            ("tuesday", "2026-11-24 00:00:00"),
            ("last Tuesday", "2026-11-17 00:00:00"),
            ("last wed", "2026-11-18 00:00:00"),
            ("wed", "2026-11-18 00:00:00"),
            ("Monday", "2026-11-23 00:00:00"),
            ("Monday at 6 pm", "2026-11-23 18:00:00"),
            ("saturday 9:05am", "2026-11-21 09:05:00"),
            ("thursday noon", "2026-11-19 12:00:00"),
            ("12am", "2026-11-24 00:00:00"),
            ("14:00", "2026-11-24 14:00:00"),
            ("18:30:15", "2026-11-23 18:30:15"),
            ("90m", "2026-11-24 14:00:00"),
            ("12h", "2026-11-24 03:30:00"),
            ("3d", "2026-11-21 15:30:00"),
            ("2w", "2026-11-10 15:30:00"),
            ("2 days ago", "2026-11-22 15:30:00"),
            ("an hour ago", "2026-11-24 14:30:00"),
            ("1 week", "2026-11-17 15:30:00"),
            ("9 months ago", "2026-02-24 15:30:00"),
            ("2 years ago", "2024-11-24 15:30:00"),
            ("2026-11-20", "2026-11-20 00:00:00"),
            ("2026-11-20 18:30", "2026-11-20 18:30:00"),
            ("2026-11-20T18:30:15", "2026-11-20 18:30:15"),
            ("20.11.2026", "2026-11-20 00:00:00"),
            ("20.11.2026 18:30", "2026-11-20 18:30:00"),
            ("20 Nov", "2026-11-20 00:00:00"),
            ("Dec 3", "2025-12-03 00:00:00"),
            ("December 3, 2024", "2024-12-03 00:00:00"),
            ("oct 5 7:00", "2026-10-05 07:00:00"),
        ] {
            assert_eq!(says(text).as_deref(), Ok(meant), "{text}");
        }
        for text in ["2026-11-20T18:30:00Z", "2026-11-20 18:30 UTC", "20261120T183000Z", "2026-11-20 19:30:00+01:00"] {
            let datetime = parse_datetime(text, now).expect("a moment");
            assert_eq!(datetime.to_rfc3339(), "2026-11-20T18:30:00+00:00", "{text}");
        }
        let next = |text: &str| {
            parse_future(text, now).map(|datetime| datetime.with_timezone(&Local).naive_local().to_string())
        };
        for (text, meant) in [
            ("22:00", "2026-11-24 22:00:00"),
            ("15:30", "2026-11-25 15:30:00"),
            ("6 am", "2026-11-25 06:00:00"),
            ("today 22:00", "2026-11-24 22:00:00"),
            ("tomorrow", "2026-11-25 00:00:00"),
            ("Tomorrow at 6 pm", "2026-11-25 18:00:00"),
            ("tuesday 22:00", "2026-11-24 22:00:00"),
            ("tuesday 9:00", "2026-12-01 09:00:00"),
            ("next wed", "2026-11-25 00:00:00"),
            ("31 Jan", "2027-01-31 00:00:00"),
            ("24 Dec 18:00", "2026-12-24 18:00:00"),
            ("12h", "2026-11-25 03:30:00"),
            ("in 2 days", "2026-11-26 15:30:00"),
            ("2027-01-31 22:00", "2027-01-31 22:00:00"),
            // The caller refuses what has passed.
            ("2020-01-01", "2020-01-01 00:00:00"),
            ("yesterday", "2026-11-23 00:00:00"),
        ] {
            assert_eq!(next(text).as_deref(), Ok(meant), "{text}");
        }
        for text in ["2 days ago", "tomorrowish", "whenever", "in", ""] {
            assert!(next(text).is_err(), "{text}: {:?}", next(text));
        }
        for text in [
            "",
            "d",
            "3",
            "-1d",
            "99999999999999999999d",
            "4294967295 years ago",
            "4294967295w",
            "2026-13-01",
            "24:30",
            "13pm",
            "pm",
            "11/24/2026",
            "11/24",
            "30 feb",
            "last",
            "at 18:30",
            "yesterday 3d",
            "soon",
            "é",
            "é ago",
        ] {
            assert!(says(text).is_err(), "{text}: {:?}", says(text));
        }
    }
}
