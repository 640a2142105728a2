//! A moment as people say it: `2026-11-24`, `yesterday`, `tuesday`, `3d`.

use chrono::{
    DateTime, Datelike as _, Days, Local, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _, Utc, Weekday,
};

/// The moment that `text` means to somebody who says it at `now`, in the time zone of `now`.
///
/// A day means its beginning. The name of a day means the last one that has begun. A number with `m`, `h`, `d` or `w` is so
/// long ago.
///
/// # Errors
/// What may be written, in words.
pub fn parse_moment(text: &str, now: DateTime<Local>) -> Result<DateTime<Utc>, String> {
    let text = text.trim().to_lowercase();
    if let Ok(exact) = DateTime::parse_from_rfc3339(&text.to_uppercase()) {
        return Ok(exact.to_utc());
    }
    let today = now.date_naive();
    let begins = |day: Option<NaiveDate>| day.map(|day| day.and_time(NaiveTime::MIN));
    let named = match text.as_str() {
        "now" => return Ok(now.to_utc()),
        "today" => begins(Some(today)),
        "yesterday" => begins(today.checked_sub_days(Days::new(1))),
        _ => None,
    };
    let weekday = || {
        let day: Weekday = text.parse().ok()?;
        begins(today.checked_sub_days(Days::new(now.weekday().days_since(day).into())))
    };
    let ago = || {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let minutes = match unit {
            "m" => 1,
            "h" => 60,
            "d" => 24 * 60,
            "w" => 7 * 24 * 60,
            _ => return None,
        };
        let long: i64 = number.parse().ok().filter(|long| *long >= 0)?;
        now.naive_local().checked_sub_signed(TimeDelta::try_minutes(long.checked_mul(minutes)?)?)
    };
    let written = || {
        let text = text.replace('t', " ");
        let day = || begins(NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok());
        let exact = |form| NaiveDateTime::parse_from_str(&text, form).ok();
        day().or_else(|| exact("%Y-%m-%d %H:%M")).or_else(|| exact("%Y-%m-%d %H:%M:%S"))
    };
    let local = named.or_else(weekday).or_else(ago).or_else(written);
    // An hour that the clock leaves out is as good as the next, one that it shows twice as good as the first.
    let moment = local.and_then(|local| {
        let hour = TimeDelta::hours(1);
        Local.from_local_datetime(&local).earliest().or_else(|| Local.from_local_datetime(&(local + hour)).earliest())
    });
    moment.map(|moment| moment.to_utc()).ok_or_else(|| {
        format!("`{text}` is no moment: write 2026-11-24, '2026-11-24 18:30', yesterday, tuesday, 3d or 12h")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_moments_as_people_say_them() {
        // A Tuesday.
        let now = Local.with_ymd_and_hms(2026, 11, 24, 15, 30, 0).unwrap();
        let says =
            |text: &str| parse_moment(text, now).map(|moment| moment.with_timezone(&Local).naive_local().to_string());
        for (text, meant) in [
            ("now", "2026-11-24 15:30:00"),
            ("today", "2026-11-24 00:00:00"),
            ("Yesterday", "2026-11-23 00:00:00"),
            ("tuesday", "2026-11-24 00:00:00"),
            ("wed", "2026-11-18 00:00:00"),
            ("Monday", "2026-11-23 00:00:00"),
            ("90m", "2026-11-24 14:00:00"),
            ("12h", "2026-11-24 03:30:00"),
            ("3d", "2026-11-21 15:30:00"),
            ("2w", "2026-11-10 15:30:00"),
            ("2026-11-20", "2026-11-20 00:00:00"),
            ("2026-11-20 18:30", "2026-11-20 18:30:00"),
            ("2026-11-20T18:30:15", "2026-11-20 18:30:15"),
        ] {
            assert_eq!(says(text).as_deref(), Ok(meant), "{text}");
        }
        assert_eq!(
            parse_moment("2026-11-20T18:30:00Z", now).expect("a moment").to_rfc3339(),
            "2026-11-20T18:30:00+00:00"
        );
        for text in ["", "d", "3", "-1d", "99999999999999999999d", "9223372036854775807w", "2026-13-01", "soon", "é"] {
            assert!(says(text).is_err(), "{text}");
        }
    }
}
