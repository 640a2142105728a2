//! `kumadb monitor edit`

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value as Json, json};

use super::PickArgs;
use super::add::{created_lines, created_tags, parse_one, warn_of_similar};
use super::fields::FieldArgs;
use super::read_picked;
use crate::cli::Context;
use crate::cli::write::{WriteArgs, WriteRequest, carry_out};
use crate::error::{Error, Exit, Hint, InputError, Problem, Result};
use crate::model::fields::respell;
use crate::model::state::{Monitor, MonitorConfig};
use crate::model::{check_edit, check_names, field, nearest};
use crate::operation::Outcome;
use crate::plan::Plan;
use crate::plan::leave_out::{LeftOutMonitors, leave_out};
use crate::plan::monitor::{Edit, TagRequest, plan_edit};
use crate::schema::Release;
use crate::text::meant;
use crate::value::{Cells, Value};

#[derive(Args, Debug)]
pub struct EditArgs {
    #[command(flatten)]
    pub pick: PickArgs,
    #[command(flatten)]
    changes: ChangeArgs,
    #[command(flatten)]
    fields: FieldArgs,
    #[command(flatten)]
    write: WriteArgs,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Changes")]
struct ChangeArgs {
    /// Set a field: FIELD=VALUE, such as interval=30; an empty value unsets it
    #[arg(short, long = "set", value_name = "FIELD=VALUE")]
    set: Vec<String>,
    /// Rename the monitor
    #[arg(long, value_name = "NAME")]
    new_name: Option<String>,
    /// Attach a tag: NAME or NAME=VALUE (can be repeated)
    #[arg(long = "add-tag", value_name = "TAG")]
    add_tags: Vec<String>,
    /// Remove a tag (can be repeated)
    #[arg(long = "remove-tag", value_name = "NAME")]
    remove_tags: Vec<String>,
    /// Refuse tags that do not exist yet, instead of creating them
    #[arg(long)]
    no_create_tags: bool,
    /// Attach a notification (can be repeated)
    #[arg(long = "add-notification", value_name = "NAME")]
    add_notifications: Vec<String>,
    /// Remove a notification (can be repeated)
    #[arg(long = "remove-notification", value_name = "NAME")]
    remove_notifications: Vec<String>,
}

pub fn run(args: &EditArgs, context: &mut Context<'_>) -> Result<Exit> {
    let pick = args.pick.required()?;
    let instance = context.instance()?;
    let (state, mut monitors) = read_picked(&instance, &pick)?;
    let changes = &args.changes;
    let (set, mut problems) = parse_cells(&state, args);
    let edit = Edit {
        set,
        add_tags: changes.add_tags.iter().map(|tag| TagRequest::parse(tag)).collect(),
        remove_tags: changes.remove_tags.clone(),
        add_notifications: changes.add_notifications.clone(),
        remove_notifications: changes.remove_notifications.clone(),
    };
    let release = state.database.release.release;
    let left = if problems.is_empty() { leave_out(release, &monitors, &columns(&edit), &pick) } else { Ok(Vec::new()) };
    let left = left.unwrap_or_else(|problem| {
        problems.push(problem);
        Vec::new()
    });
    monitors.retain(|id, _| !left.iter().any(|left| left.monitors.contains(id)));
    if problems.is_empty() {
        for monitor in monitors.values() {
            problems.extend(check(release, monitor, &edit));
        }
        // The same problem in forty monitors is one problem of the command.
        problems.dedup_by(|a, b| a == b);
    }
    let plan = plan_edit(&state, &monitors, &edit, !changes.no_create_tags).unwrap_or_else(|more| {
        // A problem of a field is reported once.
        let reported: Vec<String> = problems.iter().map(|problem| problem.subject.clone()).collect();
        problems.extend(more.into_iter().filter(|problem| !reported.contains(&problem.subject)));
        Plan::default()
    });
    refuse(problems, &args.fields)?;
    left.iter().for_each(|left| context.ui.warn(&left.words()));
    let tally = plan.tally("monitor");
    let several = monitors.len() > 1;
    let created = created_tags(&plan);
    warn_of_similar(&state, &created, context);
    let done = |_: &Outcome| {
        let ids: Vec<i64> = monitors.keys().copied().collect();
        let text = match monitors.values().next() {
            Some(monitor) if !several => format!("changed monitor {} `{}`", monitor.id, state.path(monitor.id)),
            _ => format!("changed {} of {} monitors", tally.changed.max(1), monitors.len()),
        };
        (
            json!({"monitors": ids, "created_tags": created, "left_out": left_json(&left)}),
            std::iter::once(text).chain(created_lines(&created)).collect(),
        )
    };
    let question = several.then(|| format!("change {} monitors?", monitors.len()));
    let request = WriteRequest { verb: "monitor edit", plan, names: &state, question, done: &done };
    carry_out(&request, &args.write, &instance, context)
}

/// Fails if there are `problems`; the hint of each has the form in which the field was typed.
pub fn refuse(problems: Vec<Problem>, fields: &FieldArgs) -> Result<()> {
    let respelled = |problem: Problem| {
        if fields.typed.contains_key(problem.subject.as_str()) { problem } else { as_assignment(problem) }
    };
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::Input(InputError::Problems(problems.into_iter().map(respelled).collect())))
    }
}

/// The columns that `edit` sets.
fn columns(edit: &Edit) -> Vec<&str> {
    edit.set.iter().map(|(column, _)| column.as_str()).collect()
}

/// The cells that the options set, and what is wrong with the others.
fn parse_cells(state: &MonitorConfig, args: &EditArgs) -> (Cells, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut set = Cells::default();
    let name = args.changes.new_name.iter().map(|name| ("name", name));
    let typed: BTreeMap<&str, &String> =
        args.fields.typed.iter().map(|(column, text)| (*column, text)).chain(name).collect();
    for (column, text) in &typed {
        match parse_one(state, column, text) {
            Ok(value) => set.push(*column, value),
            Err(problem) => problems.push(problem),
        }
    }
    for text in &args.changes.set {
        match parse_assignment(state, text) {
            Ok((column, _)) if typed.contains_key(column.as_str()) => {
                problems.push(Problem::new("--set", format!("`{column}` is also set by another option")));
            }
            Ok((column, value)) => set.push(column, value),
            Err(problem) => problems.push(problem),
        }
    }
    (set, problems)
}

/// The monitors that an edit leaves out, as JSON.
fn left_json(left: &[LeftOutMonitors]) -> Json {
    left.iter().map(|left| json!({"type": left.kind, "monitors": left.monitors, "reason": left.reason})).collect()
}

fn parse_assignment(state: &MonitorConfig, text: &str) -> Result<(String, Value), Problem> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(Problem::new("--set", format!("`{text}` is not FIELD=VALUE")).command("--set interval=30"));
    };
    let Some(known) = field(name.trim()) else {
        let near = nearest(name.trim());
        let meant = near.map_or_else(String::new, meant);
        let problem = Problem::new("--set", format!("no field `{}`{meant}", name.trim()));
        return Err(match near {
            Some(near) => problem.command(format!("--set {near}={value}")),
            None => problem.command("kumadb monitor add TYPE --help"),
        });
    };
    parse_one(state, known.column, value).map(|value| (known.column.to_owned(), value))
}

/// The hint of `problem` in the syntax of this command: `--set interval=60` where `monitor add` takes `--interval 60`.
pub fn as_assignment(problem: Problem) -> Problem {
    let assigned =
        problem.hint.as_ref().and_then(|hint| respell(hint.text(), |column, value| format!("--set {column}={value}")));
    Problem { hint: assigned.map(|all| Hint::command(all.join(" "))).or(problem.hint), ..problem }
}

/// The problems of `monitor` after `edit`.
fn check(release: Release, monitor: &Monitor, edit: &Edit) -> Vec<Problem> {
    let touched = columns(edit);
    let mut row: Cells = monitor.row.iter().collect();
    for (column, value) in &edit.set {
        if !row.set(column, value.clone()) {
            return vec![Problem::new(column.as_str(), format!("this database has no column `{column}`"))];
        }
    }
    let kind = row.text("type").unwrap_or_default();
    let mut problems = check_names(release, kind, touched.iter().copied());
    problems.extend(check_edit(release, kind, &row, &touched));
    problems
}
