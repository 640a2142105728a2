//! Shared by all verbs that write: options, the plan on the screen, the question, the outcome.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use serde_json::{Value as Json, json};

use super::{Context, Ui};
use crate::engine::Reader;
use crate::error::{Error, Exit, InputError, Result};
use crate::instance::Instance;
use crate::kuma;
use crate::model::state::{ConfigRows, MonitorConfig};
use crate::operation::{self, Mode, Outcome, Settings, Transaction};
use crate::plan::{Assignment, Cell, Change, Plan, PlanStep};
use crate::text::{self, counted, duration, one_line, without_credentials};
use crate::value::Value;

/// Changes of one kind that have a line each on the screen.
const SHOWN: usize = 20;

/// Options of every verb that writes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Write options")]
pub struct WriteArgs {
    /// Preview changes without applying them
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// MariaDB: write while the server runs, then restart it
    #[arg(long, hide_short_help = true)]
    live: bool,
    /// MariaDB: write while the server runs, without restarting it
    #[arg(long, hide_short_help = true, conflicts_with_all = ["live", "wait_beats"])]
    no_restart: bool,
    /// Wait for a heartbeat from each changed monitor: 30s, 2m
    #[arg(long, hide_short_help = true, value_name = "DURATION", value_parser = duration, num_args = 0..=1, default_missing_value = "60s")]
    wait_beats: Option<Duration>,
    /// Set the shutdown timeout, at least 60s
    #[arg(long, hide_short_help = true, value_name = "DURATION", value_parser = duration, default_value = "60s")]
    grace: Duration,
    /// Set how long to wait for the server to start before rolling back
    #[arg(long, hide_short_help = true, value_name = "DURATION", value_parser = duration, default_value = "3m")]
    deadline: Duration,
    /// Write to a database even if kumadb does not know its migrations
    #[arg(long, hide_short_help = true)]
    allow_unknown_release: bool,
}

impl WriteArgs {
    /// The settings of `verb` from these options.
    pub fn settings(&self, verb: &str) -> Settings {
        Settings {
            mode: match (self.no_restart, self.live) {
                (true, _) => Mode::Live,
                (false, true) => Mode::LiveThenRestart,
                (false, false) => Mode::Stopped,
            },
            grace: self.grace.max(Duration::from_secs(60)),
            deadline: self.deadline,
            wait_beats: self.wait_beats,
            allow_unknown_release: self.allow_unknown_release,
            ..Settings::new(verb)
        }
    }

    /// Whether it is a dry run.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }
}

/// The time between two rounds of something that is repeated: without a pause it would use a processor.
pub fn pause(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be 1s or more".into()),
        time => Ok(time),
    }
}

/// A write that a verb requests.
pub struct WriteRequest<'a> {
    /// The verb, as typed.
    pub verb: &'a str,
    /// The changes.
    pub plan: Plan,
    /// Names of the monitors.
    pub names: &'a dyn MonitorNames,
    /// The question, for changes that need confirmation.
    pub question: Option<String>,
    /// The result as JSON and as lines, from the outcome.
    pub done: &'a dyn Fn(&Outcome) -> (Json, Vec<String>),
}

/// Names of monitors by id.
pub trait MonitorNames {
    /// The name of the monitor with this id.
    fn name(&self, id: i64) -> Option<String>;
}

impl MonitorNames for MonitorConfig {
    fn name(&self, id: i64) -> Option<String> {
        self.monitors.get(&id).map(|monitor| monitor.name().to_owned())
    }
}

impl MonitorNames for ConfigRows {
    fn name(&self, id: i64) -> Option<String> {
        let row = self.rows("monitor").iter().find(|row| row.int("id") == Some(id))?;
        row.text("name").map(str::to_owned)
    }
}

/// Shows the plan, asks, and writes it; or does a dry run.
pub fn carry_out(
    request: &WriteRequest<'_>,
    args: &WriteArgs,
    instance: &Instance,
    context: &mut Context<'_>,
) -> Result<Exit> {
    let settings = args.settings(request.verb);
    if request.plan.is_empty() {
        context.ui.result(&json!({"changes": []}), || "nothing to change".into())?;
        return Ok(Exit::Done);
    }
    if args.dry_run {
        operation::dry_run(instance, &request.plan, &settings, context.ui)?;
        let changes = changes_json(&request.plan);
        let shown = shown_lines(&request.plan, context.ui);
        let text = || {
            let tried = counted(request.plan.steps.len(), "row change");
            format!("{}\ndry run: {tried} rolled back; nothing was changed", shown.join("\n"))
        };
        context.ui.result(&json!({"dry_run": true, "changes": changes}), text)?;
        return Ok(Exit::Done);
    }
    if let Some(question) = &request.question {
        let shown = shown_lines(&request.plan, context.ui);
        context.ui.say_text(&shown.join("\n"));
        context.ui.ask(question)?;
    }
    let store = context.store()?;
    let outcome = operation::run(instance, &store, Transaction::Plan(&request.plan), &settings, context.ui)?;
    let (mut document, lines) = (request.done)(&outcome);
    if let Json::Object(document) = &mut document {
        document.extend(outcome_json(&outcome));
    }
    context.ui.result(&document, || {
        let (text, beats) = (text::lines(lines), beats_text(&outcome, request));
        if beats.is_empty() { text } else { format!("{text}\n\n{beats}") }
    })?;
    finish(&outcome, context.ui)
}

/// Prints the warnings of the outcome and whether a restart is due, and returns the exit code.
pub fn finish(outcome: &Outcome, ui: &mut Ui) -> Result<Exit> {
    for warning in &outcome.warnings {
        ui.warn(warning);
    }
    if outcome.restart_due {
        ui.say("Uptime Kuma uses the change only after a restart: restart the server");
    }
    if !outcome.silent.is_empty() {
        let ids: Vec<String> = outcome.silent.iter().map(i64::to_string).collect();
        ui.warn(&format!("no heartbeat in time from monitor {}", ids.join(", ")));
    }
    Ok(if outcome.warnings.is_empty() && outcome.silent.is_empty() { Exit::Done } else { Exit::Partial })
}

/// The JSON keys of every verb that writes.
pub fn outcome_json(outcome: &Outcome) -> serde_json::Map<String, Json> {
    let snapshot = outcome.snapshot.as_ref().map(|snapshot| snapshot.manifest.id.as_str());
    let beats: BTreeMap<String, Json> = outcome
        .beats
        .iter()
        .map(|(id, row)| (id.to_string(), json!({"status": status_word(row.int("status")), "msg": row.text("msg")})))
        .collect();
    let mut document = serde_json::Map::new();
    document.insert("snapshot".into(), json!(snapshot));
    document.insert("downtime_seconds".into(), json!(outcome.downtime.map(|time| time.as_secs_f64())));
    document.insert("heartbeats".into(), json!(beats));
    document.insert("without_heartbeat".into(), json!(outcome.silent));
    document.insert("restart_due".into(), json!(outcome.restart_due));
    document.insert("warnings".into(), json!(outcome.warnings));
    document
}

fn beats_text(outcome: &Outcome, request: &WriteRequest<'_>) -> String {
    if outcome.beats.is_empty() {
        return String::new();
    }
    let rows = outcome
        .beats
        .iter()
        .map(|(id, row)| {
            let made = outcome
                .written
                .ids
                .iter()
                .find(|(at, made)| *made == id && request.plan.steps[**at].table == "monitor");
            let name = match (request.names.name(*id), made) {
                (Some(name), _) => name,
                (None, Some((at, _))) => request.plan.steps[*at].subject.clone(),
                (None, None) => String::new(),
            };
            let status = status_word(row.int("status")).to_owned();
            vec![id.to_string(), name, status, row.text("msg").unwrap_or_default().to_owned()]
        })
        .collect();
    Ui::table(&["id", "name", "status", "message"], rows)
}

/// A heartbeat's status as a word (2.5.3: 0 down, 1 up, 2 pending, 3 maintenance).
pub fn status_word(status: Option<i64>) -> &'static str {
    match status {
        Some(0) => "down",
        Some(1) => "up",
        Some(2) => "pending",
        Some(3) => "maintenance",
        _ => "unknown",
    }
}

/// A plan as text: one line per change, secrets hidden, links of new items omitted. Where more than [`SHOWN`] changes are of
/// one kind, one line summarises them; deletions always have a line each.
pub fn lines(plan: &Plan) -> String {
    summarised(plan).join("\n")
}

/// The same with a line for every change.
pub fn all_lines(plan: &Plan) -> String {
    plan_lines(plan).join("\n")
}

/// The lines of a plan for the screen: summarised on a terminal, unless details are wanted.
pub fn shown_lines(plan: &Plan, ui: &Ui) -> Vec<String> {
    if ui.shows_all() { plan_lines(plan) } else { summarised(plan) }
}

fn plan_lines(plan: &Plan) -> Vec<String> {
    plan.steps.iter().filter(|step| !hangs_on_new(step)).flat_map(step_lines).collect()
}

fn summarised(plan: &Plan) -> Vec<String> {
    let mut groups: Vec<Vec<&PlanStep>> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for step in plan.steps.iter().filter(|step| !hangs_on_new(step)) {
        let columns = match &step.change {
            Change::Insert { .. } => "+".to_owned(),
            Change::Update { set, .. } => set.iter().map(|cell| cell.column.as_str()).collect::<Vec<_>>().join(", "),
            Change::Delete { .. } => {
                groups.push(vec![step]);
                continue;
            }
        };
        let at = *known.entry(format!("{} {columns}", kind_of(step))).or_insert(groups.len());
        match groups.get_mut(at) {
            Some(group) => group.push(step),
            None => groups.push(vec![step]),
        }
    }
    let shown = |group: Vec<&PlanStep>| {
        let lines: Vec<String> = group.iter().flat_map(|step| step_lines(step)).collect();
        if lines.len() > SHOWN { vec![group_line(&group)] } else { lines }
    };
    groups.into_iter().flat_map(shown).collect()
}

/// Many changes of one kind: `+ 50 monitors (http 30, ping 20)`, `~ 50 monitors: interval 60 → 30`.
fn group_line(group: &[&PlanStep]) -> String {
    let many = |word: &str| counted(2, word).trim_start_matches("2 ").to_owned();
    let kind = kind_of(group[0]);
    let mut words = kind.split(" of ");
    let first = counted(group.len(), words.next().unwrap_or_default());
    let what = words.fold(first, |text, word| format!("{text} of {}", many(word)));
    let Change::Update { set, .. } = &group[0].change else {
        let mut types: BTreeMap<String, usize> = BTreeMap::new();
        for step in group.iter().filter(|step| step.table == "monitor") {
            let Change::Insert { columns, cells } = &step.change else { continue };
            let at = columns.iter().position(|column| column == "type");
            if let Some(Cell::Is(value)) = at.and_then(|at| cells.get(at)) {
                *types.entry(value.to_string()).or_default() += 1;
            }
        }
        let types: Vec<String> = types.into_iter().map(|(name, n)| format!("{name} {n}")).collect();
        let types = if types.is_empty() { String::new() } else { format!(" ({})", types.join(", ")) };
        return one_line(&format!("+ {what}{types}")).into_owned();
    };
    let columns = set.iter().enumerate().map(|(at, first)| {
        let same = |step: &&PlanStep| match &step.change {
            Change::Update { set, .. } => {
                set.get(at).is_some_and(|cell| cell.old == first.old && cell.new == first.new)
            }
            _ => false,
        };
        if !first.secret && group.iter().all(same) { cell_words(first) } else { first.column.clone() }
    });
    one_line(&format!("~ {what}: {}", columns.collect::<Vec<_>>().join(", "))).into_owned()
}

/// The kind of what `step` changes, without names: `tag of monitor`.
fn kind_of(step: &PlanStep) -> String {
    let plain: Vec<&str> = step.subject.split('`').step_by(2).map(str::trim).filter(|part| !part.is_empty()).collect();
    plain.join(" ")
}

/// Whether `step` links something to an item that the plan creates: a tag of a new monitor, for instance.
fn hangs_on_new(step: &PlanStep) -> bool {
    const OWNERS: [&str; 4] = ["monitor_id", "status_page_id", "group_id", "maintenance_id"];
    match &step.change {
        Change::Insert { columns, cells } => {
            columns.first().is_some_and(|column| OWNERS.contains(&column.as_str()))
                && matches!(cells.get(0), Some(Cell::IdOf(_)))
        }
        _ => false,
    }
}

/// All changes, as JSON.
pub fn changes_json(plan: &Plan) -> Json {
    plan.steps.iter().map(step_json).collect()
}

/// The lines of one change.
pub fn step_lines(step: &PlanStep) -> Vec<String> {
    let lines = match &step.change {
        Change::Insert { .. } => vec![format!("+ {}", step.subject)],
        Change::Delete { column, rows, .. } => {
            let rows = counted(*rows as usize, "row");
            vec![if column == "id" { format!("- {}", step.subject) } else { format!("- {}: {rows}", step.subject) }]
        }
        Change::Update { set, .. } => {
            set.iter().map(|cell| format!("~ {}: {}", step.subject, cell_words(cell))).collect()
        }
    };
    lines.iter().map(|line| one_line(line).into_owned()).collect()
}

/// One changed cell: `interval 60 → 30`.
fn cell_words(cell: &Assignment) -> String {
    if is_secret(cell) {
        format!("{} (secret, changed)", cell.column)
    } else {
        format!("{} {} → {}", cell.column, shown(false, &cell.old), shown_new(false, &cell.new))
    }
}

/// Whether neither value is shown: also where only the credentials in a URL differ.
fn is_secret(cell: &Assignment) -> bool {
    let same = |old: &str, new: &str| without_credentials(old) == without_credentials(new);
    cell.secret || matches!((&cell.old, &cell.new), (Value::Text(old), Cell::Is(Value::Text(new))) if same(old, new))
}

fn shown_new(secret: bool, cell: &Cell) -> String {
    match cell {
        Cell::Is(value) => shown(secret, value),
        Cell::IdOf(_) => "(new)".into(),
    }
}

fn shown(secret: bool, value: &Value) -> String {
    match value {
        Value::Null => "(none)".into(),
        Value::Text(text) if text.is_empty() => "(empty)".into(),
        _ if secret => "(secret)".into(),
        Value::Text(text) => without_credentials(text),
        value => value.to_string(),
    }
}

/// `document` with the keys of `more`.
pub fn with(mut document: Json, more: Json) -> Json {
    if let (Json::Object(document), Json::Object(more)) = (&mut document, more) {
        document.extend(more);
    }
    document
}

fn step_json(step: &PlanStep) -> Json {
    let document = json!({"table": step.table, "subject": step.subject});
    let what = match &step.change {
        Change::Insert { .. } => json!({"action": "create"}),
        Change::Delete { rows, .. } => json!({"action": "delete", "rows": rows}),
        Change::Update { id, set } => {
            let cells: Vec<Json> = set
                .iter()
                .map(|cell| {
                    let secret = is_secret(cell);
                    let (old, new) = (shown(secret, &cell.old), shown_new(secret, &cell.new));
                    json!({"column": cell.column, "old": old, "new": new})
                })
                .collect();
            json!({"action": "change", "id": id, "cells": cells})
        }
    };
    with(document, what)
}

/// Reads the state that a plan is made for, in any state of the server.
pub fn read_state(instance: &Instance) -> Result<MonitorConfig> {
    read_from(instance, kuma::read::read_state)
}

/// Reads the state for display only, which is faster; nothing is written from it.
pub fn read_shown_state(instance: &Instance) -> Result<MonitorConfig> {
    read_from(instance, kuma::read::read_shown_state)
}

/// Opens `instance` once, in any state of the server, and reads from it; `read` gets the name for messages.
pub fn read_from<T>(instance: &Instance, read: impl FnOnce(&mut dyn Reader, &str) -> Result<T>) -> Result<T> {
    let name = format!("`{}`", instance.name);
    instance.open()?.read(|reader| read(reader, &name))
}

/// Converts problems of the input into one error.
pub fn input<T>(result: Result<T, Vec<crate::error::Problem>>) -> Result<T> {
    result.map_err(|why| Error::Input(InputError::Problems(why)))
}
