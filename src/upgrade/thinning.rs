//! Which heartbeats the server deletes after it has aggregated them: those that are not important, older than a day, and not among
//! the newest 100 of their monitor (2.0.0 to 2.5.3).

use std::collections::{BTreeSet, HashSet, VecDeque};

use crate::value::Value;

/// Heartbeats that are kept at any age.
const NEWEST: usize = 100;

/// Learns the newest heartbeats of each monitor, and decides about each heartbeat.
pub struct Thinning {
    /// The oldest time that is kept, as the database compares it.
    since: String,
    monitors: BTreeSet<i64>,
    monitor: Option<i64>,
    newest: VecDeque<(i64, bool)>,
    kept: HashSet<i64>,
}

impl Thinning {
    /// `since` is a day ago in the format of the database; `monitors` are those that exist.
    pub fn new(since: String, monitors: BTreeSet<i64>) -> Thinning {
        Thinning { since, monitors, monitor: None, newest: VecDeque::new(), kept: HashSet::new() }
    }

    /// Sees one heartbeat; they come monitor by monitor, in the order of time and then id.
    pub fn see(&mut self, id: i64, monitor: i64, time: &Value, important: &Value) {
        if self.monitor != Some(monitor) {
            self.end();
            self.monitor = Some(monitor);
        }
        if self.newest.len() == NEWEST {
            self.newest.pop_front();
        }
        let deletable = self.is_old(time) && important.int() == Some(0);
        self.newest.push_back((id, deletable));
    }

    /// All heartbeats were seen.
    pub fn end(&mut self) {
        self.kept.extend(self.newest.drain(..).filter(|(_, deletable)| *deletable).map(|(id, _)| id));
    }

    /// Whether the heartbeat stays.
    pub fn keeps(&self, id: i64, monitor: i64, time: &Value, important: &Value) -> bool {
        important.int() != Some(0) || !self.is_old(time) || self.kept.contains(&id) || !self.monitors.contains(&monitor)
    }

    /// As text, as both engines compare it here. A number is before every text.
    fn is_old(&self, time: &Value) -> bool {
        time.text().is_none_or(|time| time < self.since.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_the_server_keeps() {
        let mut thinning = Thinning::new("2024-01-02 00:00:00".into(), BTreeSet::from([1, 2]));
        let old: Value = "2024-01-01 00:00:00.000".into();
        for id in 1..=150 {
            thinning.see(id, 1, &old, &Value::Int(0));
        }
        thinning.see(200, 2, &old, &Value::Int(0));
        thinning.end();
        let keeps =
            |id, monitor, time: &str, important| thinning.keeps(id, monitor, &time.into(), &Value::Int(important));
        let time = "2024-01-01 00:00:00.000";
        assert_eq!((1..=150).filter(|id| keeps(*id, 1, time, 0)).collect::<Vec<_>>(), (51..=150).collect::<Vec<_>>());
        assert!(keeps(200, 2, time, 0) && keeps(1, 1, time, 1) && keeps(1, 3, time, 0));
        assert!(keeps(1, 1, "2024-01-02 00:00:00.000", 0) && !keeps(1, 1, "", 0));
    }
}
