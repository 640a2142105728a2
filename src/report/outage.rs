//! Outages: from the heartbeat with which a monitor went down to the one with which it was down no more.

use chrono::{DateTime, TimeDelta, Utc};

use super::status::BeatStatus;

/// A heartbeat where the status changed: the server marks it as important, and keeps it as long as any (1.23 to 2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusChange {
    /// Its time.
    pub at: DateTime<Utc>,
    /// The new status; `None` for a number that is unknown.
    pub status: Option<BeatStatus>,
    /// The message of the heartbeat.
    pub message: String,
}

/// One outage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// When it began.
    pub start: DateTime<Utc>,
    /// When it ended; `None` if it has not.
    pub end: Option<DateTime<Utc>>,
    /// The message of the first heartbeat that was down.
    pub message: String,
}

impl Outage {
    /// How long it lasted, up to `now` if it has not ended.
    pub fn duration(&self, now: DateTime<Utc>) -> TimeDelta {
        self.end.unwrap_or(now) - self.start
    }

    /// The part of it from `from` to `to`.
    pub fn within(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> TimeDelta {
        (self.end.unwrap_or(to).min(to) - self.start.max(from)).max(TimeDelta::zero())
    }
}

/// The outages of one monitor among its status changes, oldest first, of which at least a part is after `from` and before `to`.
///
/// The changes should include the last one before `from`. `stopped` is the time of the last heartbeat of a monitor that
/// is not checked any more: an outage is not known to have lasted longer.
pub fn outages(
    changes: &[StatusChange],
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    stopped: Option<DateTime<Utc>>,
) -> Vec<Outage> {
    let mut found: Vec<Outage> = Vec::new();
    let mut open: Option<Outage> = None;
    for change in changes {
        match (change.status, &mut open) {
            (Some(BeatStatus::Down), None) => {
                open = Some(Outage { start: change.at, end: None, message: change.message.clone() });
            }
            (Some(BeatStatus::Down), Some(_)) => {}
            (_, _) => found.extend(open.take().map(|outage| Outage { end: Some(change.at), ..outage })),
        }
    }
    found.extend(open.map(|outage| Outage { end: stopped.map(|at| at.max(outage.start)), ..outage }));
    found.retain(|outage| outage.start < to && outage.end.is_none_or(|end| end > from));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::minutes(minute)
    }

    fn changes(all: &[(i64, BeatStatus)]) -> Vec<StatusChange> {
        let change = |(minute, status): &(i64, BeatStatus)| StatusChange {
            at: at(*minute),
            status: Some(*status),
            message: format!("{} at {minute}", status.word()),
        };
        all.iter().map(change).collect()
    }

    #[test]
    fn an_outage_lasts_from_down_to_anything_else() {
        use BeatStatus::{Down, Maintenance, Up};
        let all = changes(&[(0, Up), (10, Down), (15, Up), (20, Down), (21, Down), (30, Maintenance), (50, Down)]);
        let spans = |from, to, stopped| -> Vec<(DateTime<Utc>, Option<DateTime<Utc>>)> {
            outages(&all, from, to, stopped).iter().map(|outage| (outage.start, outage.end)).collect()
        };
        let [first, second] = [(at(10), Some(at(15))), (at(20), Some(at(30)))];
        assert_eq!(spans(at(0), at(60), None), [first, second, (at(50), None)]);
        assert_eq!(spans(at(0), at(60), Some(at(55))), [first, second, (at(50), Some(at(55)))]);
        // One that began before counts, one that ended before does not.
        assert_eq!(spans(at(15), at(50), None), [second]);
        let outage = &outages(&all, at(0), at(60), None)[1];
        assert_eq!(outage.message, "down at 20");
        assert_eq!(outage.within(at(25), at(60)), TimeDelta::minutes(5));
        assert_eq!(outages(&all, at(0), at(60), None)[2].duration(at(58)), TimeDelta::minutes(8));
    }
}
