//! What prevents an upgrade, and what it changes that people should know before.

use std::collections::BTreeMap;

use super::Route;
use super::rules::cron_of;
use super::settings::AggregationState;
use crate::error::Problem;
use crate::text::counted;

/// How long the server takes to aggregate one heartbeat: an estimate from one measurement, 41,158 heartbeats in 66 s with 2.5.3 on a
/// machine with two cores and a fast disk. Users report from 1 to 2 ms each.
const SERVER_SECONDS: f64 = 66.0 / 41_158.0;

/// What was counted in the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Heartbeats.
    pub beats: u64,
    /// Heartbeats whose status is none of 0 to 3.
    pub unknown_status: u64,
    /// Heartbeats of monitors that do not exist.
    pub orphans: u64,
    /// Rows of statistics.
    pub statistics: u64,
    /// The progress of the aggregation.
    pub state: Option<AggregationState>,
    /// Maintenance windows whose cron expression is made from their start time: title, start time.
    pub windows: Vec<(String, Option<String>)>,
    /// Notifications of LINE Notify, by name.
    pub line_notify: Vec<String>,
    /// Tables and columns that no release has, as `table` or `table.column`.
    pub foreign: Vec<String>,
    /// Rows without the row that they refer to, by table, where the target has a foreign key and the database has none.
    pub dangling: BTreeMap<String, u64>,
    /// A server migrates the database, or was interrupted.
    pub locked: bool,
    /// Broken references and damage, as the engine reports them.
    pub faults: Vec<String>,
}

/// The result.
#[derive(Clone, Debug, Default)]
pub struct Preflight {
    /// What has to be solved before.
    pub blockers: Vec<Problem>,
    /// What the upgrade deletes or leaves out.
    pub notes: Vec<Problem>,
    /// Heartbeats that are aggregated.
    pub aggregates: u64,
}

impl Facts {
    /// Whether the heartbeats are aggregated on the way of `route`.
    pub fn is_aggregated(&self, route: &Route) -> bool {
        route.has_statistics()
            && self.state.unwrap_or(AggregationState::None) == AggregationState::None
            && self.statistics == 0
    }

    /// Judges the upgrade along `route`.
    pub fn judge(&self, route: &Route) -> Preflight {
        let mut found = Preflight::default();
        self.judge_history(route, &mut found);
        self.judge_configuration(route, &mut found);
        found
    }

    fn judge_history(&self, route: &Route, found: &mut Preflight) {
        let n = |count: u64, what: &str| counted(usize::try_from(count).unwrap_or(usize::MAX), what);
        if self.locked {
            found.blockers.push(
                Problem::new(
                    "knex_migrations_lock",
                    "a server migrates this database, or was interrupted while it did",
                )
                .command("kumadb doctor"),
            );
        }
        if self.state == Some(AggregationState::Interrupted) {
            found.blockers.push(
                Problem::new(
                    "migrateAggregateTableState",
                    "a server aggregates the heartbeats, or was interrupted while it did: the statistics are incomplete, \
                     and no 2.x server starts with this database after an interruption",
                )
                .hint("if a server is running, wait until it has finished; otherwise: kumadb doctor --fix"),
            );
        }
        found
            .blockers
            .extend(self.faults.iter().map(|fault| Problem::new("database", fault).command("kumadb doctor --fix")));
        if self.orphans > 0 && self.faults.is_empty() {
            found.blockers.push(
                Problem::new("heartbeat", format!("{} of monitors that do not exist", n(self.orphans, "heartbeat")))
                    .command("kumadb doctor --fix"),
            );
        }
        if self.is_aggregated(route) {
            found.aggregates = self.beats;
            if self.unknown_status > 0 {
                found.blockers.push(
                    Problem::new(
                        "heartbeat",
                        format!("{} with a status that no release has", n(self.unknown_status, "heartbeat")),
                    )
                    .command("kumadb doctor --fix"),
                );
            }
        } else if route.has_statistics()
            && self.state.unwrap_or(AggregationState::None) == AggregationState::None
            && self.statistics > 0
        {
            found.notes.push(Problem::new(
                "statistics",
                "the database has some already, as those of 2.0 development releases do: heartbeats are not aggregated",
            ));
        }
    }

    fn judge_configuration(&self, route: &Route, found: &mut Preflight) {
        let is_due = |name: &str| route.migrations.contains(name);
        if is_due("2025-06-13-0000-maintenance-add-last-start.js") {
            let bad = self.windows.iter().filter(|(_, start)| start.as_deref().and_then(cron_of).is_none());
            found.blockers.extend(bad.map(|(title, start)| {
                let start =
                    start.as_ref().map_or("no start time".to_owned(), |start| format!("the start time `{start}`"));
                let message = format!("has {start}: the server would fail, or the window would never begin");
                Problem::new(format!("maintenance `{title}`"), message)
                    .hint("set its start time on the page of the server, or delete it: kumadb maintenance list")
            }));
        }
        if is_due("2025-12-29-0000-remove-line-notify.js") {
            found.notes.extend(
                self.line_notify.iter().map(|name| {
                    Problem::new(format!("notification `{name}`"), "is deleted: LINE Notify was shut down")
                }),
            );
        }
        found.notes.extend(self.foreign.iter().map(|name| {
            Problem::new(format!("`{name}`"), "is not part of Uptime Kuma and is left out; the undo snapshot has it")
        }));
        found.notes.extend(self.dangling.iter().map(|(table, rows)| {
            let rows = counted(usize::try_from(*rows).unwrap_or(usize::MAX), "row");
            Problem::new(format!("`{table}`"), format!("{rows} of monitors that do not exist are left out"))
        }));
    }
}

/// How long the server would take to aggregate `beats`, in seconds, at the rate measured with 2.5.3.
pub fn server_seconds(beats: u64) -> f64 {
    beats as f64 * SERVER_SECONDS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{EngineKind, Release, recording};

    #[test]
    fn names_every_blocker() {
        let old = recording(EngineKind::Sqlite, Release::new(1, 23, 17)).expect("it is recorded");
        let route =
            Route::find(EngineKind::Sqlite, &old.patches(), "1.23.17", Release::new(2, 5, 3)).expect("it is newer");
        let facts = Facts {
            beats: 41_158,
            unknown_status: 1,
            orphans: 2,
            state: Some(AggregationState::Interrupted),
            windows: vec![("a".into(), None), ("b".into(), Some("xx".into())), ("c".into(), Some("02:30".into()))],
            line_notify: vec!["l".into()],
            foreign: vec!["extra".into()],
            dangling: BTreeMap::from([("monitor_tls_info".into(), 3)]),
            locked: true,
            ..Facts::default()
        };
        let found = facts.judge(&route);
        let subjects: Vec<&str> = found.blockers.iter().map(|problem| problem.subject.as_str()).collect();
        let expected =
            ["knex_migrations_lock", "migrateAggregateTableState", "heartbeat", "maintenance `a`", "maintenance `b`"];
        assert_eq!(subjects, expected);
        assert_eq!((found.notes.len(), found.aggregates), (3, 0));
        let found = Facts { state: None, ..facts }.judge(&route);
        assert_eq!((found.blockers.len(), found.aggregates), (5, 41_158));
        assert_eq!(server_seconds(found.aggregates).round(), 66.0);
    }
}
