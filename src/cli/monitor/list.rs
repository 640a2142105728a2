//! `kumadb monitor list`

use clap::Args;
use serde_json::{Value as Json, json};

use super::PickArgs;
use crate::cli::Context;
use crate::cli::format::FormatArgs;
use crate::cli::write::read_shown_state;
use crate::error::{Exit, Result};
use crate::model::state::{Monitor, State};

#[derive(Args, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    pick: PickArgs,
    #[command(flatten)]
    format: FormatArgs,
}

pub fn run(args: &ListArgs, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    let state = read_shown_state(&instance)?;
    let ids = args.pick.pick().ids(&state)?;
    let monitors: Vec<&Monitor> = ids.iter().filter_map(|id| state.monitors.get(id)).collect();
    let empty = monitors.is_empty();
    let (document, lines) = match context.ui.is_json() {
        true => {
            let list: Vec<_> = monitors.iter().map(|monitor| document(&state, monitor)).collect();
            (json!({"monitors": list}), Vec::new())
        }
        false => (json!(null), monitors.iter().map(|monitor| line(&state, monitor)).collect()),
    };
    // With thousands of monitors, the rows and the table would be in memory at the same time.
    drop(state);
    context.ui.result(&document, || {
        let around = |table| if empty { "no monitors yet".into() } else { table };
        args.format.text(&["id", "name", "type", "state", "every", "target", "tags"], lines, around)
    })?;
    Ok(Exit::Done)
}

fn document(state: &State, monitor: &Monitor) -> Json {
    json!({
        "id": monitor.id,
        "name": monitor.name(),
        "path": state.path(monitor.id),
        "type": monitor.kind(),
        "active": monitor.active(),
        "runs": state.runs(monitor.id),
        "parent": monitor.parent(),
        "interval": monitor.row.int("interval"),
        "target": target(monitor),
        "tags": tags(state, monitor),
    })
}

fn line(state: &State, monitor: &Monitor) -> Vec<String> {
    let active = match (monitor.active(), state.runs(monitor.id)) {
        (true, true) => "active",
        (true, false) => "paused by group",
        (false, _) => "paused",
    };
    let every = monitor.row.int("interval").map_or(String::new(), |seconds| format!("{seconds}s"));
    vec![
        monitor.id.to_string(),
        state.path(monitor.id),
        monitor.kind().to_owned(),
        active.to_owned(),
        every,
        target(monitor),
        tags(state, monitor).join(", "),
    ]
}

/// What the monitor checks, in a few words.
fn target(monitor: &Monitor) -> String {
    let text = |column: &str| monitor.row.text(column).filter(|text| !text.is_empty());
    match (text("hostname"), monitor.row.int("port"), text("url")) {
        (Some(host), Some(port), _) => format!("{host}:{port}"),
        (Some(host), None, _) => host.to_owned(),
        (None, _, Some(url)) if url != "https://" => url.to_owned(),
        _ => String::new(),
    }
}

fn tags(state: &State, monitor: &Monitor) -> Vec<String> {
    let name = |tag: i64| {
        state.tags.iter().find(|row| row.int("id") == Some(tag)).and_then(|row| row.text("name")).unwrap_or("?")
    };
    monitor
        .tags
        .iter()
        .map(|link| match link.value.is_empty() {
            true => name(link.tag).to_owned(),
            false => format!("{}={}", name(link.tag), link.value),
        })
        .collect()
}
