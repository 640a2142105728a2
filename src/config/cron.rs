//! Cron expressions of jobs.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;

use crate::value::parse_cron;

/// A cron expression in a time zone, with the meaning that the server gives it in maintenance windows (croner, in
/// 2.5.3).
#[derive(Clone, Debug)]
pub struct CronSchedule {
    cron: Cron,
    zone: Tz,
}

impl CronSchedule {
    /// Five fields, or six with the seconds first.
    ///
    /// # Errors
    /// The expression is invalid, or never matches; in words.
    pub fn parse(text: &str, zone: Tz) -> Result<CronSchedule, String> {
        if reads_differently(text) {
            return Err(format!(
                "`{text}`: the server interprets `?`, `W` and `L` after a weekday differently; for the last Friday, \
                 write `FRI#L`"
            ));
        }
        Ok(CronSchedule { cron: parse_cron(text)?, zone })
    }

    /// The first match after `time`; `None` where there is none.
    pub fn after(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let next = self.cron.find_next_occurrence(&time.with_timezone(&self.zone), false).ok()?;
        Some(next.with_timezone(&Utc))
    }

    /// Its time zone.
    pub fn zone(&self) -> Tz {
        self.zone
    }
}

/// Whether it uses syntax that the server reads differently or not at all: croner 8.1 takes `?` for the time of its
/// start, does not support `15W`, and reads `5L` as every Friday (in 2.5.3).
fn reads_differently(text: &str) -> bool {
    let mut fields = text.split_whitespace().rev();
    let weekday = fields.next().unwrap_or_default().to_ascii_uppercase();
    let day = fields.nth(1).unwrap_or_default().to_ascii_uppercase();
    text.contains('?') || day.contains('W') || weekday.split(',').any(|one| one.ends_with('L') && !one.contains('#'))
}
