//! `kumadb upgrade --stats-from`

use std::path::Path;

use chrono::Utc;
use serde_json::{Value as Json, json};

use super::UpgradeArgs;
use crate::backup;
use crate::cli::Context;
use crate::cli::restore::scratch_for;
use crate::cli::write::{finish, outcome_json, with};
use crate::error::{Exit, Result};
use crate::instance::Instance;
use crate::kuma::upgrade::correct::{Correction, TableCorrection};
use crate::operation::statistics::{StatisticsWork, compare_with};
use crate::operation::{self, Settings, Transaction};
use crate::text::counted;
use crate::value::{local_time, rfc3339};

/// If more time is between the snapshot and the upgrade, heartbeats of it may be missing, in seconds.
const GAP: i64 = 3_600;

/// Replaces the statistics of `instance` by those of the heartbeats in `snapshot` and of what was written since.
pub fn replace(
    args: &UpgradeArgs,
    snapshot: &str,
    settings: &Settings,
    instance: &Instance,
    context: &mut Context<'_>,
) -> Result<Exit> {
    let stores = context.stores()?.with_keys(&args.keys.keys_or_ask(context.ui)?);
    let scratch = scratch_for(&stores, instance.size(), instance)?;
    let desired = database_in(snapshot);
    let warn = &mut |error: &crate::error::Error| context.ui.warn(&error.to_string());
    let staged = backup::stage_snapshot(&stores, &desired, &instance.origin(), &scratch.path().join("staged"), warn)?;
    // The copy of a file has an id that no user knows.
    let name = if backup::is_database(Path::new(&desired)) { &desired } else { &staged.manifest.id };
    let (order, correction) = compare_with(instance, &staged, name, Utc::now(), context.ui)?;
    drop(staged);
    let found = describe(instance, &order, &correction);
    if correction.is_empty() {
        let text = || format!("nothing to replace: the statistics of `{}` are right", instance.name);
        context.ui.result(&with(found, json!({"changes": []})), text)?;
        return Ok(Exit::Done);
    }
    if args.write.is_dry_run() {
        let document = with(found, json!({"dry_run": true, "statistics": tables_json(&correction)}));
        context
            .ui
            .result(&document, || format!("{}\n{}\ndry run: nothing was changed", origin(&order), text(&correction)))?;
        return Ok(Exit::Done);
    }
    context.ui.say_text(&format!("{}\n{}", origin(&order), text(&correction)));
    context.ui.ask(&format!("replace these statistics of `{}`?", instance.name))?;
    let outcome = operation::run(instance, &context.store()?, Transaction::Statistics(&order), settings, context.ui)?;
    let done = outcome.corrected.as_ref().unwrap_or(&correction);
    let document = with(with(found, json!({"statistics": tables_json(done)})), Json::Object(outcome_json(&outcome)));
    context.ui.result(&document, || {
        format!("replaced the statistics of `{}`: {}", instance.name, counted(done.changes(), "row"))
    })?;
    finish(&outcome, context.ui)
}

/// What `snapshot` stands for: a data folder stands for the database in it.
pub fn database_in(snapshot: &str) -> String {
    let within = Path::new(snapshot).join("kuma.db");
    if backup::is_database(&within) { within.display().to_string() } else { snapshot.to_owned() }
}

fn describe(instance: &Instance, order: &StatisticsWork, correction: &Correction) -> Json {
    let old = &order.old;
    json!({
        "instance": instance.name, "heartbeats_counted": old.beats, "heartbeats_skipped": old.skipped,
        "last_old_heartbeat": rfc3339(old.end()), "first_new_heartbeat": old.first().map(rfc3339),
        "ends_aggregation": correction.ends,
    })
}

fn tables_json(correction: &Correction) -> Json {
    let table = |one: &TableCorrection| {
        json!({
            "table": one.table, "replaced": one.replaced, "added": one.added, "removed": one.removed,
            "border": one.border, "kept_greater": one.kept_greater, "kept": one.kept,
        })
    };
    correction.tables.iter().map(table).collect()
}

/// What the right statistics are made of.
fn origin(order: &StatisticsWork) -> String {
    let many = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let old = &order.old;
    let mut lines =
        vec![format!("the snapshot has {}, until {}", counted(many(old.beats), "heartbeat"), local_time(old.end()))];
    if old.skipped > 0 {
        let skipped = counted(many(old.skipped), "heartbeat");
        lines.push(format!("note: {skipped} with a status that no release has are not counted"));
    }
    if let Some(first) = old.first().filter(|first| (*first - old.end()).num_seconds() > GAP) {
        lines.push(format!(
            "note: the first later heartbeat in the database is of {}: what the old server counted in between is not changed",
            local_time(first)
        ));
    }
    lines.join("\n")
}

fn text(correction: &Correction) -> String {
    let rows = |count: u64, what: &str| {
        (count > 0).then(|| format!("{} {what}", counted(usize::try_from(count).unwrap_or(usize::MAX), "row")))
    };
    let line = |one: &TableCorrection| {
        let parts = [
            rows(one.replaced, "replaced"),
            rows(one.added, "added"),
            rows(one.removed, "without heartbeats removed"),
            rows(one.kept_greater, "kept though heartbeats that they count were pruned"),
            rows(one.kept, "kept"),
        ];
        let border = match one.border {
            0 => String::new(),
            count => format!("; of all these, {count} are of the time of the upgrade"),
        };
        format!("~ {}: {}{border}", one.table, parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    };
    let mut lines: Vec<String> = correction.tables.iter().map(line).collect();
    if correction.ends {
        lines.push("~ setting migrateAggregateTableState: the aggregation is done".into());
    }
    lines.join("\n")
}
