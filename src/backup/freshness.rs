//! Whether the newest backup of an instance in a store is recent and verified: facts and the clock in, a verdict out; pure.

use chrono::{DateTime, TimeDelta, Utc};

use crate::text::{age_words, bytes};
use crate::value::local_time;

/// A backup dated further in the future than this was made with a wrong clock.
const AHEAD: TimeDelta = TimeDelta::minutes(5);

/// The status of a Nagios plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PluginStatus {
    /// No problem.
    Ok,
    /// It cannot be determined.
    Unknown,
    /// A problem that needs attention.
    Warning,
    /// There is no reliable backup.
    Critical,
}

impl PluginStatus {
    /// The rank of the status: of several the highest counts.
    pub fn severity(self) -> u8 {
        match self {
            PluginStatus::Ok => 0,
            PluginStatus::Unknown => 1,
            PluginStatus::Warning => 2,
            PluginStatus::Critical => 3,
        }
    }

    /// The exit code of a Nagios plugin.
    pub fn code(self) -> u8 {
        match self {
            PluginStatus::Ok => 0,
            PluginStatus::Warning => 1,
            PluginStatus::Critical => 2,
            PluginStatus::Unknown => 3,
        }
    }

    /// The name that a Nagios plugin prints.
    pub fn name(self) -> &'static str {
        match self {
            PluginStatus::Ok => "OK",
            PluginStatus::Warning => "WARNING",
            PluginStatus::Critical => "CRITICAL",
            PluginStatus::Unknown => "UNKNOWN",
        }
    }
}

/// The newest backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newest {
    /// Its id.
    pub id: String,
    /// When it was created.
    pub created: DateTime<Utc>,
    /// Size of its archive.
    pub size: u64,
    /// Why its last restore test failed, if it did.
    pub failed: Option<String>,
}

/// The requirements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum age of the newest backup.
    pub max_age: TimeDelta,
    /// Maximum time since a backup was last fully verified or test-restored; `None` for no limit.
    pub verified_within: Option<TimeDelta>,
}

/// A verdict with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The status.
    pub status: PluginStatus,
    /// The reason.
    pub message: String,
}

impl Verdict {
    /// A result.
    pub fn new(status: PluginStatus, message: impl Into<String>) -> Verdict {
        Verdict { status, message: message.into() }
    }

    /// The result for `newest`, when a backup was last verified at `verified`.
    pub fn on(
        newest: Option<&Newest>,
        verified: Option<DateTime<Utc>>,
        limits: &Limits,
        now: DateTime<Utc>,
    ) -> Verdict {
        let Some(newest) = newest else { return Verdict::new(PluginStatus::Critical, "no backup") };
        let age = now - newest.created;
        let what = format!("({}, {})", newest.id, bytes(newest.size));
        let words = format!("newest backup {} old {what}", age_words(age));
        if age > limits.max_age {
            return Verdict::new(PluginStatus::Critical, format!("{words}, older than {}", age_words(limits.max_age)));
        }
        if let Some(why) = &newest.failed {
            return Verdict::new(PluginStatus::Critical, format!("{words}; its last restore test failed: {why}"));
        }
        if age < -AHEAD {
            let message = format!("newest backup {what} is dated in the future, {}", local_time(newest.created));
            return Verdict::new(PluginStatus::Warning, message);
        }
        match (limits.verified_within, verified) {
            (Some(_), None) => {
                Verdict::new(PluginStatus::Warning, format!("{words}, never fully verified or test-restored"))
            }
            (Some(within), Some(at)) if now - at > within => {
                let last = age_words(now - at);
                Verdict::new(PluginStatus::Warning, format!("{words}, last fully verified or test-restored {last} ago"))
            }
            _ => Verdict::new(PluginStatus::Ok, words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    fn verdict(age: i64, verified: Option<i64>, failed: Option<&str>) -> (PluginStatus, String) {
        let now = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(20_000);
        let newest = Newest {
            id: "1057faa9".into(),
            created: now - TimeDelta::seconds(age),
            size: 19_000,
            failed: failed.map(str::to_owned),
        };
        let limits = Limits { max_age: TimeDelta::hours(26), verified_within: verified.map(|_| TimeDelta::days(30)) };
        let verified = verified.filter(|ago| *ago >= 0).map(|ago| now - TimeDelta::seconds(ago));
        let Verdict { status, message } = Verdict::on(Some(&newest), verified, &limits, now);
        (status, message)
    }

    #[test]
    fn age_decides_first_then_restore_tests_then_verification() {
        let words = "newest backup 4 h old (1057faa9, 19 KB)";
        assert_eq!(verdict(4 * HOUR, None, None), (PluginStatus::Ok, words.into()));
        assert_eq!(verdict(26 * HOUR, None, None).0, PluginStatus::Ok);
        let old = "newest backup 26 h old (1057faa9, 19 KB), older than 26 h";
        assert_eq!(verdict(26 * HOUR + 1, None, None), (PluginStatus::Critical, old.into()));
        assert_eq!(
            verdict(50 * HOUR, Some(-1), Some("x")).1,
            "newest backup 2 d old (1057faa9, 19 KB), older than 26 h"
        );
        assert_eq!(
            verdict(4 * HOUR, None, Some("x")),
            (PluginStatus::Critical, format!("{words}; its last restore test failed: x"))
        );
        assert_eq!(verdict(4 * HOUR, Some(29 * 24 * HOUR), None).0, PluginStatus::Ok);
        let (status, message) = verdict(4 * HOUR, Some(31 * 24 * HOUR), None);
        assert_eq!(
            (status, message),
            (PluginStatus::Warning, format!("{words}, last fully verified or test-restored 31 d ago"))
        );
        assert_eq!(verdict(4 * HOUR, Some(-1), None).0, PluginStatus::Warning);
        assert_eq!(
            (verdict(-60, None, None).0, verdict(-HOUR, None, None).0),
            (PluginStatus::Ok, PluginStatus::Warning)
        );
    }

    #[test]
    fn no_backup_is_critical() {
        let limits = Limits { max_age: TimeDelta::hours(26), verified_within: None };
        let verdict = Verdict::on(None, None, &limits, DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(20_000));
        assert_eq!((verdict.status.code(), verdict.message.as_str()), (2, "no backup"));
    }
}
