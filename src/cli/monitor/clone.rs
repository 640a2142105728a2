//! `kumadb monitor clone`

use clap::Args;

use super::add::{Addition, DuplicateArgs, LinkArgs, maker, parse_one};
use super::edit::refuse;
use super::fields::FieldArgs;
use super::read_picked;
use crate::cli::Context;
use crate::cli::write::{WriteArgs, input};
use crate::error::{Error, Exit, Hint, InputError, Result};
use crate::model::state::{Monitor, MonitorConfig};
use crate::model::{check_monitor, check_names, field};
use crate::plan::monitor::{New, Notify, TagRequest, plan_add};
use crate::plan::pick::Pick;
use crate::value::{Cells, Value};

/// Columns that are unique to a row and are not copied.
const OWN: &[&str] = &["id", "created_date", "dns_last_result", "manual_status"];

#[derive(Args, Debug)]
pub struct CloneArgs {
    /// Select the monitor to copy by id, name or path (Group/Name or /Name)
    monitor: String,
    /// Set the name of the copy
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Set a field of the copy: FIELD=VALUE (can be repeated)
    #[arg(short, long = "set", value_name = "FIELD=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    fields: FieldArgs,
    #[command(flatten)]
    links: LinkArgs,
    #[command(flatten)]
    duplicate: DuplicateArgs,
    #[command(flatten)]
    write: WriteArgs,
}

pub fn run(args: &CloneArgs, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    let pick = Pick { named: vec![args.monitor.clone()], ..Pick::default() };
    let (state, monitors) = read_picked(&instance, &pick)?;
    let Some(model) = monitors.values().next() else {
        return Err(Error::Input(InputError::NoMonitor { what: format!("`{}`", args.monitor) }));
    };
    let row = new_row(args, model, &state)?;
    let new = New { row, tags: tags(args, model, &state), notify: notify(args, model) };
    args.duplicate.check(&new.row, &state, args.write.is_dry_run(), context.ui)?;
    let plan = input(plan_add(&state, std::slice::from_ref(&new), args.links.creates_tags()))?;
    Addition { new, plan, state }.write(&args.write, &instance, context)
}

/// The row of `model` with the new name and the fields of the options.
fn new_row(args: &CloneArgs, model: &Monitor, state: &MonitorConfig) -> Result<Cells> {
    let maker = maker(state)?;
    let release = state.database.release.release;
    let own = |(column, _): &(&str, &Value)| !OWN.contains(column);
    let mut row: Cells = model.row.iter().filter(own).collect();
    let mut problems = Vec::new();
    // A column that this release does not have stays away.
    let mut give = |column: &str, value: Value| {
        row.set(column, value);
    };
    give("name", args.name.as_str().into());
    give("user_id", state.user_of(model.id).unwrap_or(maker.user_id).into());
    if model.kind() == "push" {
        give("push_token", maker.push_token.into());
    }
    let typed = args.fields.typed.iter().map(|(column, text)| (*column, text.as_str()));
    let set = args.set.iter().map(|text| assignment(text)).collect::<Result<Vec<_>>>()?;
    for (column, text) in typed.chain(set) {
        match parse_one(state, column, text) {
            Ok(value) => {
                problems.extend(check_names(release, model.kind(), [column]));
                give(column, value);
            }
            Err(problem) => problems.push(problem),
        }
    }
    problems.extend(check_monitor(release, model.kind(), &row));
    refuse(problems, &args.fields)?;
    Ok(row)
}

/// Column and value of `--set FIELD=VALUE`.
fn assignment(text: &str) -> Result<(&'static str, &str)> {
    let parsed = text.split_once('=').and_then(|(name, value)| Some((field(name.trim())?.column, value)));
    parsed.ok_or_else(|| {
        Error::Input(InputError::Option {
            option: format!("`--set {text}`"),
            why: "it must be FIELD=VALUE with an existing field".into(),
            hint: Some(Hint::command("kumadb monitor add TYPE --help")),
        })
    })
}

/// The tags of `model`, and those of the options.
fn tags(args: &CloneArgs, model: &Monitor, state: &MonitorConfig) -> Vec<TagRequest> {
    let own = model.tags.iter().filter_map(|link| {
        let tag = state.tags.iter().find(|row| row.int("id") == Some(link.tag))?;
        Some(TagRequest { name: tag.text("name")?.to_owned(), value: link.value.clone() })
    });
    own.chain(args.links.tags()).collect()
}

/// The notifications of the options, else those of `model`.
fn notify(args: &CloneArgs, model: &Monitor) -> Notify {
    match args.links.notify() {
        Notify::Defaults => {
            Notify::Only(model.notifications.iter().map(|link| link.notification.to_string()).collect())
        }
        other => other,
    }
}
