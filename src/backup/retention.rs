//! Retention: which snapshots a policy keeps, with the rules of restic (read in 0.19), and which are always kept.
//!
//! Pure: the clock and the time zone are arguments.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, Offset as _, TimeDelta, TimeZone, Timelike as _, Utc};

use super::Manifest;

/// A calendar unit; its newest snapshot represents it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum CalendarUnit {
    /// Every snapshot on its own.
    Last,
    Hourly,
    Daily,
    /// ISO weeks, Monday to Sunday.
    Weekly,
    Monthly,
    Yearly,
}

/// All of them, in the order of the reasons.
const BUCKETS: [CalendarUnit; 6] = [
    CalendarUnit::Last,
    CalendarUnit::Hourly,
    CalendarUnit::Daily,
    CalendarUnit::Weekly,
    CalendarUnit::Monthly,
    CalendarUnit::Yearly,
];

/// How many of a bucket are kept; [`ALL`] for all of them.
pub type Count = u64;

/// Keep all.
pub const ALL: Count = Count::MAX;

/// A retention policy. What no rule keeps is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    counts: [Count; 6],
    spans: [CalendarSpan; 6],
}

/// A duration in calendar units, such as `2y5m7d3h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CalendarSpan {
    /// Years.
    pub years: u32,
    /// Months.
    pub months: u32,
    /// Days.
    pub days: u32,
    /// Hours.
    pub hours: u32,
}

impl Policy {
    /// The names of the rules, as options and in the config file: `keep-last`, `keep-within-daily`.
    pub fn rules() -> impl Iterator<Item = (String, CalendarUnit, bool)> {
        let count = |bucket: CalendarUnit| (format!("keep-{}", bucket.word()), bucket, false);
        let within = |bucket: CalendarUnit| match bucket {
            CalendarUnit::Last => ("keep-within".to_owned(), bucket, true),
            _ => (format!("keep-within-{}", bucket.word()), bucket, true),
        };
        BUCKETS.into_iter().map(count).chain(BUCKETS.into_iter().map(within))
    }

    /// Sets the rule called `rule` to `text`.
    ///
    /// # Errors
    /// There is no such rule, or the text is neither a number nor, for `keep-within…`, a duration; in words.
    pub fn set(&mut self, rule: &str, text: &str) -> Result<(), String> {
        let Some((_, bucket, within)) = Policy::rules().find(|(name, ..)| name == rule) else {
            return Err(format!("unknown rule `{rule}`"));
        };
        if within {
            self.spans[bucket as usize] = text.parse()?
        } else {
            self.counts[bucket as usize] = parse_count(text)?
        }
        Ok(())
    }

    /// The equivalent options: `--keep-last=7`.
    pub fn options(&self) -> Vec<String> {
        let given = |(rule, bucket, within): (String, CalendarUnit, bool)| {
            if within {
                Some(self.spans[bucket as usize]).filter(|span| !span.is_zero()).map(|span| format!("--{rule}={span}"))
            } else {
                match self.counts[bucket as usize] {
                    0 => None,
                    ALL => Some(format!("--{rule}=unlimited")),
                    count => Some(format!("--{rule}={count}")),
                }
            }
        };
        Policy::rules().filter_map(given).collect()
    }

    /// Whether it keeps nothing, which is a mistake.
    pub fn is_empty(&self) -> bool {
        *self == Policy::default()
    }

    /// Why each snapshot is kept; one without a reason is deleted. `times` are those of one group, newest first.
    /// Calendar units are those of `zone`. Times after `now` are in the future: durations count back from the newest
    /// that is not.
    pub fn judge<Z: TimeZone>(&self, times: &[DateTime<Utc>], now: DateTime<Utc>, zone: &Z) -> Vec<Vec<String>> {
        let latest = times.iter().find(|time| **time < now);
        let begin = |span: CalendarSpan| latest.map_or(DateTime::<Utc>::MIN_UTC, |latest| span.before(*latest, zone));
        let mut left = self.counts;
        let (mut counted, mut spanned) = ([None; 6], [None; 6]);
        let mut verdicts = Vec::with_capacity(times.len());
        for (nth, time) in times.iter().enumerate() {
            let oldest = nth + 1 == times.len();
            let local = time.with_timezone(zone).naive_local();
            let mut reasons = Vec::new();
            // The snapshot that represents its calendar unit; the oldest of all is always one, so that the history is as long
            // as the rule allows.
            let mut stands = |last: &mut Option<i64>, bucket: CalendarUnit, words: String| {
                let part = Some(bucket.part(local, nth));
                match (part == *last, oldest) {
                    (true, false) => return false,
                    (true, true) => reasons.push(format!("oldest {words}")),
                    (false, _) => reasons.push(words),
                }
                *last = part;
                true
            };
            let [plain, others @ ..] = BUCKETS;
            if !self.spans[0].is_zero() && *time > begin(self.spans[0]) {
                stands(&mut spanned[0], plain, format!("within {}", self.spans[0]));
            }
            for bucket in BUCKETS {
                let n = bucket as usize;
                if left[n] > 0
                    && stands(&mut counted[n], bucket, format!("{} snapshot", bucket.word()))
                    && left[n] != ALL
                {
                    left[n] -= 1;
                }
            }
            for bucket in others {
                let n = bucket as usize;
                let span = self.spans[n];
                if !span.is_zero() && *time > begin(span) {
                    stands(&mut spanned[n], bucket, format!("{} within {span}", bucket.word()));
                }
            }
            verdicts.push(reasons);
        }
        verdicts
    }
}

impl CalendarUnit {
    /// `daily`.
    fn word(self) -> &'static str {
        match self {
            CalendarUnit::Last => "last",
            CalendarUnit::Hourly => "hourly",
            CalendarUnit::Daily => "daily",
            CalendarUnit::Weekly => "weekly",
            CalendarUnit::Monthly => "monthly",
            CalendarUnit::Yearly => "yearly",
        }
    }

    /// The calendar unit of `local`, as a number. The hour that occurs twice in autumn counts once.
    fn part(self, local: NaiveDateTime, nth: usize) -> i64 {
        let (year, month, day) = (i64::from(local.year()), i64::from(local.month()), i64::from(local.day()));
        let week = local.iso_week();
        match self {
            CalendarUnit::Last => nth as i64,
            CalendarUnit::Hourly => ((year * 100 + month) * 100 + day) * 100 + i64::from(local.hour()),
            CalendarUnit::Daily => (year * 100 + month) * 100 + day,
            CalendarUnit::Weekly => i64::from(week.year()) * 100 + i64::from(week.week()),
            CalendarUnit::Monthly => year * 100 + month,
            CalendarUnit::Yearly => year,
        }
    }
}

impl CalendarSpan {
    fn is_zero(self) -> bool {
        self == CalendarSpan::default()
    }

    /// Subtracts the duration from `time`, in the calendar of `zone`. A day that a month does not have is carried
    /// over: a month before 31 October is 1 October.
    pub(super) fn before<Z: TimeZone>(self, time: DateTime<Utc>, zone: &Z) -> DateTime<Utc> {
        let earliest = DateTime::<Utc>::MIN_UTC;
        let local = time.with_timezone(zone).naive_local();
        let months = i64::from(local.year()) * 12 + i64::from(local.month0())
            - i64::from(self.years) * 12
            - i64::from(self.months);
        let day = i64::from(local.day()) - 1 - i64::from(self.days);
        let first = i32::try_from(months.div_euclid(12))
            .ok()
            .and_then(|year| NaiveDate::from_ymd_opt(year, months.rem_euclid(12) as u32 + 1, 1));
        let Some(date) = first.and_then(|first| first.checked_add_signed(TimeDelta::days(day))) else {
            return earliest;
        };
        let hours = TimeDelta::hours(i64::from(self.hours));
        at(date.and_time(local.time()), zone).checked_sub_signed(hours).unwrap_or(earliest)
    }
}

/// The time for the local time `local`. At a clock change it has the offset of the same hour of UTC or, if that leads
/// to another offset, that one.
fn at<Z: TimeZone>(local: NaiveDateTime, zone: &Z) -> DateTime<Utc> {
    let offset =
        |utc: NaiveDateTime| TimeDelta::seconds(i64::from(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc()));
    let first = local - offset(local);
    (local - offset(first)).and_utc()
}

impl fmt::Display for CalendarSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.years, 'y'), (self.months, 'm'), (self.days, 'd'), (self.hours, 'h')];
        parts.iter().filter(|(n, _)| *n != 0).try_for_each(|(n, unit)| write!(f, "{n}{unit}"))
    }
}

impl FromStr for CalendarSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<CalendarSpan, String> {
        let wrong = || format!("`{text}` is not a valid duration; example: 2y5m7d3h (years, months, days, hours)");
        let mut span = CalendarSpan::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let end = rest.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
            let n: u32 = rest[..end].parse().map_err(|_| wrong())?;
            let (unit, after) = rest[end..].split_at_checked(1).ok_or_else(wrong)?;
            *match unit {
                "y" => &mut span.years,
                "m" => &mut span.months,
                "d" => &mut span.days,
                "h" => &mut span.hours,
                _ => return Err(wrong()),
            } = n;
            rest = after;
        }
        if span.is_zero() { Err(wrong()) } else { Ok(span) }
    }
}

fn parse_count(text: &str) -> Result<Count, String> {
    match text.trim() {
        "unlimited" | "-1" => Ok(ALL),
        text => text.parse().map_err(|_| format!("`{text}` is not a number or `unlimited`")),
    }
}

/// A snapshot, as far as retention needs it.
#[derive(Clone, Debug)]
pub struct RetentionEntry<'a> {
    /// The snapshot.
    pub manifest: &'a Manifest,
    /// Why it is kept; empty for one that is deleted.
    pub reasons: Vec<String>,
}

/// The context of retention.
pub struct Guards<'g> {
    /// Whether the policy applies to the files of unreadable databases too; otherwise all of them are kept.
    pub raw: bool,
    /// Whether an operation on the instance of a snapshot was interrupted: then its newest full snapshot is kept,
    /// although a rollback only needs the staged copy in the data folder.
    pub unfinished: &'g dyn Fn(&Manifest) -> bool,
    /// Whether a snapshot passes its verification; called as rarely as possible.
    pub verifies: &'g mut dyn FnMut(&Manifest) -> bool,
}

/// Applies the policy to the snapshots of one store, to each instance by itself and to full and configuration-only
/// snapshots separately, and returns them in their original order.
pub fn judge<'a, Z: TimeZone>(
    all: &[&'a Manifest],
    policy: &Policy,
    now: DateTime<Utc>,
    zone: &Z,
    guards: &mut Guards<'_>,
) -> Vec<RetentionEntry<'a>> {
    let mut kept: Vec<RetentionEntry<'a>> =
        all.iter().map(|manifest| RetentionEntry { manifest, reasons: Vec::new() }).collect();
    let mut groups: Vec<usize> = (0..all.len()).collect();
    groups.sort_by(|a, b| {
        let key = |n: &usize| (group(all[*n]), std::cmp::Reverse((all[*n].created, &all[*n].id)));
        key(a).cmp(&key(b))
    });
    for members in groups.chunk_by(|a, b| group(all[*a]) == group(all[*b])) {
        let judged: Vec<usize> = members.iter().copied().filter(|n| guards.raw || !all[*n].raw).collect();
        let times: Vec<DateTime<Utc>> = judged.iter().map(|n| all[*n].created).collect();
        for (n, reasons) in judged.iter().zip(policy.judge(&times, now, zone)) {
            kept[*n].reasons = reasons;
        }
        guard(members, &mut kept, now, guards);
    }
    kept
}

/// Snapshots to which the policy applies together: those of one instance with the same scope, so that a
/// configuration-only one never counts as a full one, nor an undo snapshot as a backup.
fn group(manifest: &Manifest) -> (&str, &[String], bool) {
    (&manifest.origin, &manifest.without, manifest.undo)
}

/// Adds what is always kept; `members` are one group, newest first.
fn guard(members: &[usize], kept: &mut [RetentionEntry<'_>], now: DateTime<Utc>, guards: &mut Guards<'_>) {
    for n in members {
        let (manifest, reasons) = (kept[*n].manifest, &mut kept[*n].reasons);
        if manifest.created > now {
            reasons.push("in the future".into());
        }
        if manifest.raw && !guards.raw {
            reasons.push("files of an unreadable database".into());
        }
    }
    let mut whole = members.iter().copied().filter(|n| kept[*n].manifest.is_whole());
    if let Some(n) = whole.next().filter(|n| (guards.unfinished)(kept[*n].manifest)) {
        kept[n].reasons.push("interrupted operation on its instance".into());
    }
    // Nothing is read as long as nothing is to be deleted.
    if members.iter().all(|n| !kept[*n].reasons.is_empty()) {
        return;
    }
    let mut good = members.iter().filter(|n| !kept[**n].manifest.raw && kept[**n].manifest.created <= now);
    match good.clone().find(|n| (guards.verifies)(kept[**n].manifest)).copied() {
        Some(n) => kept[n].reasons.push("newest verified".into()),
        // Any of them may be the only good one: the others were damaged, or the key is the wrong one.
        None if good.next().is_some() => {
            for n in members.iter().filter(|n| kept[**n].reasons.is_empty()).copied().collect::<Vec<_>>() {
                kept[n].reasons.push("none could be verified".into());
            }
        }
        None => {}
    }
}
