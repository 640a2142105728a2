//! `kumadb monitor show`

use clap::Args;
use serde_json::{Map, Value as Json, json};

use crate::cli::{Context, Ui};
use crate::error::{Error, Exit, InputError, Result};
use crate::kuma::read::{Columns, read_monitors, read_shown_state};
use crate::model::{Field, Shape, field, kind, render};
use crate::plan::pick::Pick;
use crate::schema;

#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Select the monitor by id, name or path (Group/Name)
    monitor: String,
    /// Show passwords and tokens
    #[arg(long)]
    secrets: bool,
    /// Show empty fields and those of other types, too
    #[arg(short, long)]
    all: bool,
}

/// Whether `known` is used by monitors of type `name`; for unknown types every field may be.
fn concerns(name: &str, known: &Field) -> bool {
    let Some(kind) = kind(name) else { return true };
    matches!(known.shape, Shape::Server | Shape::Kind) || kind.has(known.column, schema::newest())
}

pub fn run(args: &ShowArgs, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    let session = instance.open()?;
    let read = || {
        let mut reader = session.connect().reader()?;
        let state = read_shown_state(&mut *reader, &instance.name)?;
        let ids = Pick { named: vec![args.monitor.clone()], ..Pick::default() }.ids(&state)?;
        let monitors = read_monitors(&mut *reader, &state.database.schema, Columns::All, Some(&ids))?;
        Ok((state, monitors))
    };
    let read: Result<_> = read();
    session.close()?;
    let (state, monitors) = read?;
    let Some(monitor) = monitors.values().next() else {
        return Err(Error::Input(InputError::NoMonitor { what: format!("`{}`", args.monitor) }));
    };
    let mut document = Map::new();
    let mut rows = Vec::new();
    for (column, value) in monitor.row.iter() {
        let known = field(column);
        let hidden = known.is_some_and(|known| known.secret) && !args.secrets;
        let empty = value.is_nothing();
        let shown = match (hidden && !empty, known) {
            (true, _) => "(secret)".to_owned(),
            (false, Some(known)) if column == "parent" && !empty => {
                let group = value.int().map_or(String::new(), |id| state.path(id));
                format!("{} (`{group}`)", render(known, value))
            }
            (false, Some(known)) => render(known, value),
            (false, None) => value.to_string(),
        };
        document.insert(column.to_owned(), if hidden && !empty { json!("(secret)") } else { value.json() });
        // A row has a cell for every field of every type, most of them with a default that is unused here.
        let other = known.is_some_and(|known| !concerns(monitor.kind(), known));
        if args.all || !(empty || other) {
            rows.push(vec![column.to_owned(), shown]);
        }
    }
    let tags: Vec<Json> = monitor
        .tags
        .iter()
        .filter_map(|link| {
            let tag = state.tags.iter().find(|row| row.int("id") == Some(link.tag))?;
            Some(json!({"name": tag.text("name"), "value": link.value}))
        })
        .collect();
    let notifications: Vec<&str> = monitor
        .notifications
        .iter()
        .filter_map(|link| state.notifications.iter().find(|row| row.int("id") == Some(link.notification)))
        .filter_map(|row| row.text("name"))
        .collect();
    let named = |tag: &Json| match tag["value"].as_str() {
        Some("") | None => tag["name"].as_str().unwrap_or_default().to_owned(),
        Some(value) => format!("{}={value}", tag["name"].as_str().unwrap_or_default()),
    };
    rows.push(vec!["path".into(), state.path(monitor.id)]);
    rows.push(vec!["tags".into(), tags.iter().map(named).collect::<Vec<_>>().join(", ")]);
    rows.push(vec!["notifications".into(), notifications.join(", ")]);
    document.insert("path".into(), json!(state.path(monitor.id)));
    document.insert("tags".into(), json!(tags));
    document.insert("notifications".into(), json!(notifications));
    context.ui.result(&json!({"monitor": document}), || Ui::table(&["field", "value"], rows))?;
    Ok(Exit::Done)
}
