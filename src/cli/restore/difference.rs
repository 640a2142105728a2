//! The changes of a restore, shown before the question: field by field, and as numbers of rows where there are too many.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use crate::backup::StagedCopy;
use crate::cli::Ui;
use crate::cli::write::{all_lines, changes_json, lines};
use crate::engine::{Counts, EngineKind, Reader};
use crate::error::Result;
use crate::kuma::merge::count_missing;
use crate::kuma::read::{is_moving, read_config, read_counts, read_dependents};
use crate::model::entities::MONITORS;
use crate::model::state::{ConfigRows, Database, Fingerprint};
use crate::model::view::existing_names;
use crate::plan::Plan;
use crate::plan::difference::difference;
use crate::text::counted;
use crate::value::Row;

/// The current state.
pub struct Now {
    config: ConfigRows,
    /// Its fingerprint, so that the restore does what was shown or nothing.
    pub fingerprint: Fingerprint,
    counts: Counts,
    /// Rows that belong to each monitor, for monitors that will be deleted.
    hanging: BTreeMap<i64, BTreeMap<String, u64>>,
    /// Rows of the history that will be restored, by table.
    missing: BTreeMap<String, u64>,
}

impl Now {
    /// Reads the current state, what `staged` would remove from it, and the configuration in `staged`. Rows of the tables `merges`
    /// are restored among the existing ones.
    ///
    /// # Errors
    /// The database cannot be read. An unreadable copy is the second result.
    pub fn read(
        reader: &mut dyn Reader,
        name: &str,
        staged: &StagedCopy,
        merges: &[String],
    ) -> Result<(Now, Result<ConfigRows>)> {
        let config = read_config(reader, name)?;
        let counts = read_counts(reader, &config.database.schema)?;
        let fingerprint = config.fingerprint.clone();
        let mut now = Now { config, fingerprint, counts, hanging: BTreeMap::new(), missing: BTreeMap::new() };
        let then = staged.reader().and_then(|mut copy| {
            let mut then = read_config(&mut *copy, "the snapshot")?;
            leave_out_added(&mut then, &now.config);
            let ids = |config: &ConfigRows| -> BTreeSet<i64> {
                config.rows("monitor").iter().filter_map(|row| row.int("id")).collect()
            };
            for id in &ids(&now.config) - &ids(&then) {
                now.hanging.insert(id, read_dependents(reader, &now.config.database.schema, id)?);
            }
            if !merges.is_empty() {
                now.missing = count_missing(reader, &mut *copy, merges, &ids(&then))?;
            }
            Ok(then)
        });
        Ok((now, then))
    }

    /// The database.
    pub fn database(&self) -> &Database {
        &self.config.database
    }
}

/// The differences between now and the snapshot.
pub struct Difference {
    plan: Plan,
    /// Tables with other numbers of rows: name, rows now, rows in the snapshot.
    rows: Vec<(String, u64, u64)>,
    /// Tables that are compared row by row, and need no number.
    compared: BTreeSet<String>,
    /// Monitors that are missing in the snapshot.
    gone: Vec<String>,
    /// Monitors that only the snapshot has.
    back: Vec<String>,
    /// Rows of the history that will be restored among the existing ones, by table.
    pub missing: BTreeMap<String, u64>,
    /// Heartbeats of deleted monitors, where the history stays.
    lost: u64,
}

impl Difference {
    /// The differences in all tables but `kept`.
    pub fn between(now: Now, then: &ConfigRows, staged: &StagedCopy, kept: &[String]) -> Difference {
        let names = |config: &ConfigRows| -> BTreeSet<String> {
            existing_names(&MONITORS, config).into_iter().map(|(id, path)| format!("{path} ({id})")).collect()
        };
        let (here, there) = (names(&now.config), names(then));
        let counts = now.counts.iter().filter(|(table, _)| !kept.contains(table));
        let rows = counts.map(|(table, now)| (table.clone(), *now, staged.manifest.rows(table)));
        let lost = if kept.is_empty() { 0 } else { sum(&now.hanging, "heartbeat") };
        Difference {
            compared: now.config.tables.keys().cloned().collect(),
            plan: difference(&now.config, then, &is_moving),
            rows: rows.filter(|(_, now, then)| now != then).collect(),
            gone: here.difference(&there).cloned().collect(),
            back: there.difference(&here).cloned().collect(),
            missing: now.missing,
            lost,
        }
    }

    /// Whether a restore would change nothing.
    pub fn is_empty(&self) -> bool {
        self.plan.is_empty() && self.rows.is_empty() && self.missing.is_empty()
    }

    /// As JSON.
    pub fn json(&self) -> Json {
        let rows = |(table, now, then): &(String, u64, u64)| json!({"table": table, "now": now, "snapshot": then});
        json!({
            "changes": changes_json(&self.plan),
            "tables": self.rows.iter().map(rows).collect::<Vec<_>>(),
            "monitors_deleted": self.gone,
            "monitors_restored": self.back,
            "history_restored": self.missing,
            "heartbeats_lost": self.lost,
        })
    }

    /// As text: all of it where `whole`, else no more than fits on a screen.
    pub fn text(&self, whole: bool) -> String {
        let counted_only =
            self.rows.iter().filter(|(table, ..)| !self.compared.contains(table) || self.plan.is_empty());
        let rows: Vec<Vec<String>> =
            counted_only.map(|(table, now, then)| vec![table.clone(), now.to_string(), then.to_string()]).collect();
        let mut parts = Vec::new();
        if !self.plan.is_empty() {
            parts.push(if whole { all_lines(&self.plan) } else { lines(&self.plan) });
        }
        if !rows.is_empty() {
            parts.push(Ui::table(&["table", "rows now", "rows in snapshot"], rows));
        }
        let mut history: Vec<String> = self
            .missing
            .iter()
            .map(|(table, rows)| {
                format!("{} of `{table}` will be restored; newer rows stay", counted(*rows as usize, "row"))
            })
            .collect();
        if self.lost > 0 {
            let lost = counted(self.lost as usize, "heartbeat");
            history.push(format!("{lost} of deleted monitors will be lost"));
        }
        parts.extend((!history.is_empty()).then(|| history.join("\n")));
        parts.join("\n\n")
    }
}

fn sum(hanging: &BTreeMap<i64, BTreeMap<String, u64>>, table: &str) -> u64 {
    hanging.values().filter_map(|tables| tables.get(table)).sum()
}

/// Settings that a server on SQLite has and one on MariaDB has not: a dump is read as a database on SQLite, with them.
const ADDED: [&str; 2] = ["database_version", "databasePatchedFiles"];

/// Removes the settings from `then` that only the way it was read has added.
fn leave_out_added(then: &mut ConfigRows, now: &ConfigRows) {
    let key = |row: &Row| row.text("key").unwrap_or_default().to_owned();
    let known: BTreeSet<String> = now.rows("setting").iter().map(key).collect();
    if let (EngineKind::MariaDb, Some(rows)) = (now.database.engine, then.tables.get_mut("setting")) {
        rows.retain(|row| !ADDED.contains(&key(row).as_str()) || known.contains(&key(row)));
    }
}
