//! Which rows of the statistics a server has made wrongly when it aggregated the heartbeats of 1.x, and what belongs there.

use std::collections::BTreeSet;

/// The most that the time zone of a server moves a heartbeat, in seconds: zones are between UTC-12 and UTC+14.
const SHIFT: i64 = 14 * 3_600;

/// Seconds from 1970 to a time that no row of a server has.
const FAR: i64 = 1 << 40;

/// The parts of the history, as seen from the upgrade of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryPart {
    /// Complete before the upgrade: only old heartbeats count.
    Before,
    /// Old and new heartbeats can count.
    Border,
    /// Only what the new server has counted.
    Since,
}

/// The end of the old heartbeats, in one table of statistics.
#[derive(Clone, Debug)]
pub struct Border {
    /// The newest old heartbeat, in seconds since 1970; those in the future do not count.
    end: i64,
    /// The length of a bucket, in seconds.
    length: i64,
    /// Buckets with old heartbeats in the future.
    future: BTreeSet<i64>,
}

impl Border {
    /// The border at `end` of a table whose buckets have `length`; `starts` are those with old heartbeats.
    pub fn new(end: i64, length: i64, starts: impl Iterator<Item = i64>) -> Border {
        let future = starts.filter(|start| *start > end + SHIFT).collect();
        Border { end, length, future }
    }

    /// The part of the bucket that begins at `start`.
    pub fn part(&self, start: i64) -> HistoryPart {
        // A row may contain any number.
        let start = start.clamp(-FAR, FAR);
        if start + self.length <= self.end {
            return HistoryPart::Before;
        }
        let reach = SHIFT + self.length;
        let is_near = self.future.range(start - reach..=start + reach).next().is_some();
        if start <= self.end + SHIFT || is_near { HistoryPart::Border } else { HistoryPart::Since }
    }
}

/// The end of the last bucket of any table that begins near `end`: later heartbeats change nothing at the border.
pub fn reach(end: i64) -> i64 {
    const DAY: i64 = 86_400;
    (end + SHIFT).div_euclid(DAY) * DAY + DAY
}

/// What becomes of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketVerdict {
    /// It is not changed.
    Keep,
    /// It stays, because it counts more than what is left of its heartbeats: some of those were pruned.
    KeepGreater,
    /// It is replaced by what was counted again, or removed where that is nothing.
    Replace,
}

/// Decides about a bucket in `part` that counts `own` heartbeats, where counting again gives `counted`; `is_complete` if no new
/// heartbeat is missing for that.
pub fn decide(part: HistoryPart, own: i64, counted: i64, is_complete: bool) -> BucketVerdict {
    match part {
        HistoryPart::Before => BucketVerdict::Replace,
        HistoryPart::Border if is_complete || counted >= own => BucketVerdict::Replace,
        HistoryPart::Border => BucketVerdict::KeepGreater,
        HistoryPart::Since => BucketVerdict::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn divides_the_history_at_the_upgrade() {
        let end = 100 * DAY + 5 * 3_600 + 30;
        let parts = |length: i64, starts: &[i64], future: &[i64]| -> Vec<HistoryPart> {
            let border = Border::new(end, length, future.iter().copied());
            starts.iter().map(|start| border.part(*start)).collect()
        };
        use HistoryPart::{Before, Border as At, Since};
        assert_eq!(parts(DAY, &[98, 99, 100, 101].map(|day| day * DAY), &[]), [Before, Before, At, Since]);
        let hours = [4, 5, 6, 19, 20].map(|hour| 100 * DAY + hour * 3_600);
        assert_eq!(parts(3_600, &hours, &[]), [Before, At, At, At, Since]);
        // A bucket that ends with the newest heartbeat is complete.
        assert_eq!(parts(60, &[end - 60, end - 59], &[]), [Before, At]);
        // Heartbeats in the future were moved too.
        let future = 140 * DAY;
        assert_eq!(parts(DAY, &[138, 139, 140, 141, 142].map(|day| day * DAY), &[future]), [Since, At, At, At, Since]);
        assert_eq!(reach(end), 101 * DAY);
        assert_eq!(reach(100 * DAY + 10 * 3_600), 102 * DAY);
    }

    #[test]
    fn never_replaces_a_count_by_a_smaller_one_of_pruned_heartbeats() {
        assert_eq!(decide(HistoryPart::Border, 10, 7, false), BucketVerdict::KeepGreater);
        assert_eq!(decide(HistoryPart::Border, 7, 10, false), BucketVerdict::Replace);
        assert_eq!(decide(HistoryPart::Border, 10, 7, true), BucketVerdict::Replace);
        assert_eq!(decide(HistoryPart::Before, 10, 0, false), BucketVerdict::Replace);
        assert_eq!(decide(HistoryPart::Since, 10, 0, true), BucketVerdict::Keep);
    }
}
