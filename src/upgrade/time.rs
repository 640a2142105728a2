//! How the aggregation of the server reads the time of a heartbeat.

/// A time as stored, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredTime {
    /// Its date and time of day, as if in UTC.
    pub written: i64,
    /// The offset that it ends with, in milliseconds: `Z` or `+02:00`.
    pub offset: Option<i64>,
}

impl StoredTime {
    /// The point in time, where a text without an offset is in UTC.
    pub fn utc(self) -> i64 {
        self.written - self.offset.unwrap_or(0)
    }
}

/// Parses `text`; `None` where `DATE()` of SQLite cannot read it, so that the server skips the heartbeat.
///
/// The rules are those of SQLite for what is a time, and those of dayjs for its value (2.0.0 to 2.5.3): day 30 of February is a
/// day in March, hour 24 is the next day, and a fraction is three digits of milliseconds at most, so that `.5` is 5 ms.
pub fn parse(text: &str) -> Option<StoredTime> {
    let mut rest = text.as_bytes();
    let (year, month, day) = (digits(&mut rest, 4)?, after(&mut rest, b"-", 2)?, after(&mut rest, b"-", 2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let mut written = days_before(year, month) + day - 1;
    written *= DAY;
    if rest.is_empty() {
        return Some(StoredTime { written, offset: None });
    }
    while let [b' ' | b'T', tail @ ..] = rest {
        rest = tail;
    }
    let (hour, minute) = (digits(&mut rest, 2)?, after(&mut rest, b":", 2)?);
    let second = if rest.first() == Some(&b':') { after(&mut rest, b":", 2)? } else { 0 };
    if hour > 24 || minute > 59 || second > 59 {
        return None;
    }
    written += (hour * 3600 + minute * 60 + second) * 1000;
    if let [b'.', tail @ ..] = rest {
        let count = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return None;
        }
        written += tail[..count.min(3)].iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        rest = &tail[count..];
    }
    Some(StoredTime { written, offset: offset(rest)? })
}

const DAY: i64 = 86_400_000;

/// The offset at the end of a time: nothing, `Z`, `+02:00` or ` -05:30`.
fn offset(rest: &[u8]) -> Option<Option<i64>> {
    let rest = rest.trim_ascii();
    match rest {
        [] => Some(None),
        [b'Z' | b'z'] => Some(Some(0)),
        [sign @ (b'+' | b'-'), tail @ ..] => {
            let mut tail = tail;
            let (hours, minutes) = (digits(&mut tail, 2)?, after(&mut tail, b":", 2)?);
            if hours > 14 || minutes > 59 || !tail.is_empty() {
                return None;
            }
            let offset = (hours * 60 + minutes) * 60_000;
            Some(Some(if *sign == b'-' { -offset } else { offset }))
        }
        _ => None,
    }
}

/// Exactly `count` digits at the start of `rest`, which are removed.
fn digits(rest: &mut &[u8], count: usize) -> Option<i64> {
    let (number, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    number.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
}

/// The same after `mark`.
fn after(rest: &mut &[u8], mark: &[u8], count: usize) -> Option<i64> {
    *rest = rest.strip_prefix(mark)?;
    digits(rest, count)
}

/// Days from 1970-01-01 to the first day of a month of the Gregorian calendar.
fn days_before(year: i64, month: i64) -> i64 {
    // Years begin in March, so that the leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> Option<i64> {
        parse(text).map(StoredTime::utc)
    }

    #[test]
    fn reads_every_format_that_the_server_reads() {
        let noon = Some(1_704_110_400_000);
        for text in ["2024-01-01 12:00:00", "2024-01-01T12:00", "2024-01-01 12:00:00Z", "2024-01-01 14:00:00+02:00"] {
            assert_eq!(utc(text), noon, "{text}");
        }
        assert_eq!(utc("2024-01-01 12:00:00.123456"), noon.map(|noon| noon + 123));
        assert_eq!(utc("2024-01-01 12:00:00.5"), noon.map(|noon| noon + 5));
        assert_eq!(utc("2024-02-30"), utc("2024-03-01"));
        assert_eq!(utc("2024-05-01 24:00:00"), utc("2024-05-02"));
        assert_eq!(utc("1970-01-01"), Some(0));
        assert_eq!(utc("2000-03-01"), Some(951_868_800_000));
        for text in ["", "garbage", "2024-13-01", "2024-01-01 12", "2024-01-01 12:00:00 x", "2024-01-01 12:00:00."] {
            assert_eq!(utc(text), None, "{text}");
        }
    }
}
