//! Which rows of the history are deleted.

use serde::{Deserialize, Serialize};

use super::{Assignment, Plan};
use crate::value::{Row, Value};

/// What is kept of the history.
#[derive(Clone, Debug)]
pub struct KeptHistory {
    /// Days of heartbeats.
    pub days: i64,
    /// Days of daily statistics; below 1 all of them are kept.
    pub daily_days: i64,
    /// Keep heartbeats where the status changed, at any age.
    pub important: bool,
    /// Number of newest heartbeats of each monitor to keep at any age.
    pub newest: u64,
    /// Only these monitors; `None` for all.
    pub monitors: Option<Vec<i64>>,
    /// Only these tables.
    pub tables: Vec<String>,
}

/// Rows of one table that are deleted: those of some monitors that are older than a point in time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeletePlan {
    /// The table.
    pub table: String,
    /// Its column with the time.
    pub column: String,
    /// Older than this, in the format of the column.
    pub before: Value,
    /// Of these monitors.
    pub monitors: MonitorSet,
    /// Keep heartbeats where the status changed.
    pub keeps_important: bool,
}

/// Some of all monitors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MonitorSet {
    /// These.
    Only(Vec<i64>),
    /// All but these.
    Except(Vec<i64>),
}

/// All changes that prune a history.
#[derive(Clone, Debug, Default)]
pub struct HistoryPruning {
    /// What is deleted, in this order.
    pub delete_plans: Vec<DeletePlan>,
    /// Changes of settings, in the same transaction.
    pub settings: Plan,
    /// Statements that reclaim disk space, run after the commit.
    pub compacting: Vec<String>,
    /// Whether more rows of these tables are deleted than kept. If disk space is to be reclaimed too, those that are kept are
    /// copied then, which takes less time than both.
    pub deletes_most: bool,
}

impl HistoryPruning {
    /// Whether nothing is done.
    pub fn is_empty(&self) -> bool {
        self.delete_plans.is_empty() && self.settings.is_empty()
    }
}

/// Sets how many days the server keeps (`keepDataPeriodDays`; 0 for no limit), given the row of that setting, as the
/// server itself writes it (2.5.3).
pub fn plan_retention(setting: Option<&Row>, days: i64) -> Plan {
    const KEY: &str = "keepDataPeriodDays";
    let (subject, value) = (format!("setting `{KEY}`"), Value::from(days.to_string()));
    let mut plan = Plan::default();
    match setting.and_then(|row| Some((row.int("id")?, row.cell("value")))) {
        Some((_, old)) if old.same(&value) => {}
        Some((id, old)) => {
            let set = vec![Assignment { column: "value".into(), old: old.clone(), new: value.into(), secret: false }];
            plan.update("setting", subject, id, set);
        }
        None => {
            let cells = [("key", Value::from(KEY)), ("value", value), ("type", "general".into())];
            let cells = cells.into_iter().map(|(column, cell)| (column.to_owned(), cell.into())).collect();
            plan.insert("setting", subject, cells);
        }
    }
    plan
}
