//! `kumadb history prune`

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Value as Json, json};

use crate::cli::vacuum::{compacting, sizes};
use crate::cli::write::{WriteArgs, changes_json, finish, lines, outcome_json, read_from};
use crate::cli::{Context, Ui};
use crate::engine::space::{Space, read_space};
use crate::engine::{Counts, Reader};
use crate::error::{Error, Exit, Hint, InputError, Result};
use crate::instance::Instance;
use crate::kuma::history::{NEWEST, read_retention, read_retention_row};
use crate::kuma::prune::{PendingDelete, find_delete_plans, read_pending};
use crate::kuma::read::{history, read_counts, read_state};
use crate::model::state::MonitorConfig;
use crate::operation::{self, Outcome, Transaction, compact};
use crate::plan::Plan;
use crate::plan::history::{DeletePlan, HistoryPruning, KeptHistory, plan_retention};
use crate::plan::pick::Pick;
use crate::text::{counted, one_line};
use crate::value::local_time;

/// Maximum number of monitors listed on the screen.
const SHOWN: usize = 20;

#[derive(Args, Debug)]
pub struct PruneArgs {
    /// Keep heartbeats of this many days [default: the server's retention]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(1..=36_500))]
    keep: Option<i64>,
    /// Keep heartbeats at which the status of a monitor changed, however old
    #[arg(long)]
    keep_important: bool,
    /// Keep this many of the newest heartbeats of each monitor, however old
    #[arg(long, value_name = "N", default_value_t = NEWEST, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    keep_newest: u64,
    /// Prune only this monitor: id, name, path or glob 'web-*' (can be repeated)
    #[arg(long = "monitor", value_name = "MONITOR")]
    monitors: Vec<String>,
    /// Prune only these tables: heartbeat, stat_minutely, stat_hourly, stat_daily, 'stat_*'
    #[arg(long, value_name = "TABLES", value_delimiter = ',')]
    tables: Vec<String>,
    /// Set the server's own retention to this many days (0: keep forever)
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(0..=36_500))]
    set_retention: Option<i64>,
    /// Reclaim disk space afterwards, as `kumadb vacuum` does
    #[arg(long)]
    vacuum: bool,
    #[command(flatten)]
    write: WriteArgs,
}

/// The rows to delete, and what is shown about them.
struct Found {
    state: MonitorConfig,
    pruning: HistoryPruning,
    /// Rows to delete, by monitor, of each table.
    pending: Vec<Vec<PendingDelete>>,
    counts: Counts,
    space: Space,
}

pub fn run(args: &PruneArgs, instance: &Instance, context: &mut Context<'_>) -> Result<Exit> {
    if args.keep.is_none() && args.set_retention.is_none() && args.tables.is_empty() {
        return Err(Error::Input(InputError::Missing {
            what: "number of days to keep".into(),
            hint: Hint::command("--keep 30"),
        }));
    }
    let found = read_from(instance, |reader, name| find(reader, name, args, Utc::now()))?;
    let settings = args.write.settings("history prune");
    if found.pruning.is_empty() {
        context.ui.result(&json!({"changes": []}), || "nothing to delete".into())?;
        return Ok(Exit::Done);
    }
    if !found.pruning.compacting.is_empty() {
        compact::check_room(instance, &found.space)?;
    }
    let mut document = found.document();
    if args.write.is_dry_run() {
        let made =
            operation::dry_run_transaction(instance, &Transaction::Prune(&found.pruning), &settings, context.ui)?;
        document.extend([("dry_run".to_owned(), json!(true)), ("deleted".to_owned(), json!(made.deleted))]);
        context.ui.result(&Json::Object(document), || {
            format!("{}\ndry run: rolled back; nothing was changed", found.text())
        })?;
        return Ok(Exit::Done);
    }
    context.ui.say_text(&found.text());
    context.ui.ask(&found.question())?;
    let store = context.store()?;
    let before = instance.size();
    let outcome = operation::run(instance, &store, Transaction::Prune(&found.pruning), &settings, context.ui)?;
    document.extend(outcome_json(&outcome));
    document.extend([
        ("deleted".to_owned(), json!(outcome.deleted)),
        ("size_before".to_owned(), json!(before)),
        ("size_bytes".to_owned(), json!(instance.size())),
    ]);
    context.ui.result(&Json::Object(document), || found.reported(&outcome, instance, before))?;
    finish(&outcome, context.ui)
}

fn find(reader: &mut dyn Reader, name: &str, args: &PruneArgs, now: DateTime<Utc>) -> Result<Found> {
    let state = read_state(reader, name)?;
    let schema = &state.database.schema;
    let retention = read_retention(reader, schema)?;
    let set = args.set_retention.unwrap_or(retention.days);
    let tables = chosen(&args.tables, &history(schema))?;
    let mut keep = KeptHistory {
        days: args.keep.unwrap_or(set),
        daily_days: set,
        important: args.keep_important,
        newest: args.keep_newest,
        monitors: monitors(&args.monitors, &state)?,
        tables,
    };
    // Setting only the retention, perhaps to unlimited, does not delete heartbeats.
    if keep.days < 1 || args.keep.is_none() && args.tables.is_empty() {
        keep.tables.clear();
    }
    let delete_plans = find_delete_plans(reader, schema, &keep, now)?;
    let pending =
        delete_plans.iter().map(|delete_plan| read_pending(reader, delete_plan)).collect::<Result<Vec<_>>>()?;
    let settings = match args.set_retention {
        Some(days) => plan_retention(read_retention_row(reader)?.as_ref(), days),
        None => Plan::default(),
    };
    let counts = read_counts(reader, schema)?;
    let space = if args.vacuum { read_space(reader)? } else { Space::default() };
    let mut pruning = HistoryPruning {
        delete_plans,
        settings: Plan { fingerprint: Some(state.fingerprint.clone()), ..settings },
        ..HistoryPruning::default()
    };
    if args.vacuum && !pruning.delete_plans.is_empty() {
        let gone = rows_by_table(&pruning.delete_plans, &pending);
        // Where few rows are deleted, rewriting a table reclaims nothing.
        let thinner = |table: &&String| gone[*table] * 10 >= counts.get(*table).copied().unwrap_or(0);
        let tables: Vec<&String> = gone.keys().filter(thinner).collect();
        pruning.compacting = compacting(reader.kind(), &tables);
        let rows: u64 = gone.keys().map(|table| counts.get(table).copied().unwrap_or(0)).sum();
        pruning.deletes_most = gone.values().sum::<u64>() * 2 > rows;
    }
    Ok(Found { pruning, pending, counts, space, state })
}

/// The history tables that are named, by name or with a `*` at the end; all where none is.
fn chosen(named: &[String], known: &[String]) -> Result<Vec<String>> {
    let is_meant = |name: &str, table: &str| match name.strip_suffix('*') {
        Some(start) => table.starts_with(start),
        None => table == name,
    };
    if let Some(unknown) = named.iter().find(|name| !known.iter().any(|table| is_meant(name, table))) {
        return Err(Error::Input(InputError::Unknown {
            kind: "history table",
            name: unknown.clone(),
            known: known.to_vec(),
        }));
    }
    let is_desired = |table: &&String| named.is_empty() || named.iter().any(|name| is_meant(name, table));
    Ok(known.iter().filter(is_desired).cloned().collect())
}

/// Ids of the monitors selected by `desired`; `None` for all.
fn monitors(desired: &[String], state: &MonitorConfig) -> Result<Option<Vec<i64>>> {
    if desired.is_empty() {
        return Ok(None);
    }
    let mut ids = Vec::new();
    for one in desired {
        let one = vec![one.clone()];
        let pick = if one[0].contains(['*', '?', '[']) {
            Pick { globs: one, ..Pick::default() }
        } else {
            Pick { named: one, ..Pick::default() }
        };
        ids.extend(pick.ids(state)?);
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(Some(ids))
}

fn rows_by_table(delete_plans: &[DeletePlan], pending: &[Vec<PendingDelete>]) -> BTreeMap<String, u64> {
    let mut rows = BTreeMap::new();
    for (delete_plan, pending) in delete_plans.iter().zip(pending) {
        *rows.entry(delete_plan.table.clone()).or_insert(0) += pending.iter().map(|monitor| monitor.rows).sum::<u64>();
    }
    rows
}

impl Found {
    fn rows(&self) -> BTreeMap<String, u64> {
        rows_by_table(&self.pruning.delete_plans, &self.pending)
    }

    /// Rows to delete of each monitor, most first.
    fn monitors(&self) -> Vec<(&str, &PendingDelete)> {
        let delete_plans = self.pruning.delete_plans.iter().zip(&self.pending);
        let mut all: Vec<_> = delete_plans
            .flat_map(|(delete_plan, pending)| pending.iter().map(|one| (delete_plan.table.as_str(), one)))
            .collect();
        all.sort_by_key(|(table, one)| (*table, std::cmp::Reverse(one.rows), one.monitor));
        all
    }

    fn name(&self, id: i64) -> Option<String> {
        self.state.monitors.contains_key(&id).then(|| self.state.path(id))
    }

    fn document(&self) -> serde_json::Map<String, Json> {
        let monitors: Vec<Json> = self
            .monitors()
            .iter()
            .map(|(table, one)| {
                json!({
                    "table": table, "id": one.monitor, "path": self.name(one.monitor), "rows": one.rows,
                    "oldest": one.oldest, "newest": one.newest,
                })
            })
            .collect();
        let document = json!({
            "rows": self.rows(), "monitors": monitors, "changes": changes_json(&self.pruning.settings),
            "statements": self.pruning.compacting,
        });
        match document {
            Json::Object(document) => document,
            _ => serde_json::Map::new(),
        }
    }

    fn text(&self) -> String {
        let all = self.monitors();
        let rows = all
            .iter()
            .take(SHOWN)
            .map(|(table, one)| {
                let time = |text: &String| match text.parse().ok().and_then(|at| DateTime::from_timestamp(at, 0)) {
                    Some(at) => local_time(at),
                    None => text.clone(),
                };
                vec![
                    (*table).to_owned(),
                    one.monitor.to_string(),
                    self.name(one.monitor).unwrap_or_else(|| "(no such monitor)".into()),
                    one.rows.to_string(),
                    time(&one.oldest),
                    time(&one.newest),
                ]
            })
            .collect();
        let mut text = Vec::new();
        if !all.is_empty() {
            text.push(Ui::table(&["table", "id", "monitor", "rows", "oldest", "newest"], rows));
        }
        if all.len() > SHOWN {
            text.push(format!("… and {} more lines", all.len() - SHOWN));
        }
        for (table, rows) in self.rows() {
            text.push(format!("- {rows} of {} of table `{table}`", counted(self.counts[&table] as usize, "row")));
        }
        if !self.pruning.settings.is_empty() {
            text.push(lines(&self.pruning.settings));
        }
        text.extend(self.pruning.compacting.iter().map(|statement| format!("~ {}", one_line(statement))));
        text.join("\n")
    }

    fn question(&self) -> String {
        let rows: u64 = self.rows().values().sum();
        match rows {
            0 => "change the setting?".into(),
            rows => format!("delete {}?", counted(rows as usize, "row")),
        }
    }

    fn reported(&self, outcome: &Outcome, instance: &Instance, before: u64) -> String {
        let rows: u64 = outcome.deleted.values().sum();
        let mut text = vec![format!("deleted {}", counted(rows as usize, "row"))];
        if rows == 0 {
            text = vec!["changed the setting".into()];
        } else if let Some(snapshot) = &outcome.snapshot {
            text.push(format!("the only copy of the deleted rows is undo snapshot `{}`", snapshot.manifest.id));
        }
        if !self.pruning.compacting.is_empty() {
            text.push(sizes(before, instance.size()));
        } else if rows > 0 {
            text.push("the database reuses the free space; to return it to the disk: kumadb vacuum".into());
        }
        text.join("\n")
    }
}
