//! `kumadb monitor add TYPE`: one subcommand per type, generated from the tables of the model.

use std::collections::BTreeMap;

use clap::{ArgMatches, Args as _, Command, FromArgMatches};
use serde_json::json;

use super::fields::{self, described, placeholder, sentence};
use crate::cli::lazy::{self, Lazily};
use crate::cli::write::{WriteArgs, WriteRequest, carry_out, read_state};
use crate::cli::{Context, Ui};
use crate::error::{Error, Exit, InputError, Problem, Result, TargetError};
use crate::instance::Instance;
use crate::kuma::init::random_text;
use crate::model::fields::{Reference, ValueShape};
use crate::model::state::{Monitor, MonitorConfig};
use crate::model::{
    FieldOption, MonitorType, NewMonitorContext, kind, kinds, new_monitor, options, parse, push_token_length,
};
use crate::operation::Outcome;
use crate::plan::monitor::{New, Notify, TagRequest, plan_add};
use crate::plan::names::{find_docker_host, find_group, find_proxy, find_remote_browser};
use crate::plan::{Cell, Change, Plan, PlanStep};
use crate::schema::{self, Release};
use crate::text::did_you_mean;
use crate::value::{Cells, Value};

/// Width of the lines of usage, so that they fit into 80 columns with the text around them.
const USAGE: usize = 62;

/// Fields that the short help shows of every type, beside the required ones.
const BRIEF: [&str; 2] = ["parent", "interval"];

/// Types that every supported release has show no release.
const OLDEST: Release = Release::new(1, 23, 0);

/// The arguments of `monitor add`.
#[derive(Clone, Debug)]
pub struct AddArgs {
    kind: String,
    /// Column and text.
    typed: BTreeMap<&'static str, String>,
    links: LinkArgs,
    duplicate: DuplicateArgs,
    write: WriteArgs,
}

/// A second monitor of the same path.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct DuplicateArgs {
    /// Do not ask if the group already contains a monitor with this name
    #[arg(long, hide_short_help = true)]
    allow_duplicate: bool,
}

impl DuplicateArgs {
    /// Asks where a monitor of the path of `row` exists.
    pub fn check(self, row: &Cells, state: &MonitorConfig, is_dry_run: bool, ui: &mut Ui) -> Result<()> {
        let (name, parent) = (row.text("name").unwrap_or_default(), row.int("parent"));
        let same = |monitor: &&Monitor| monitor.name() == name && monitor.parent() == parent;
        let Some(other) = state.monitors.values().find(same).filter(|_| !self.allow_duplicate) else { return Ok(()) };
        let (id, path) = (other.id, state.path(other.id));
        if is_dry_run {
            ui.warn(&format!("monitor {id} has the same path `{path}`"));
            return Ok(());
        }
        ui.ask(&format!("monitor {id} has the same path `{path}`: add another one?")).map_err(|error| match error {
            Error::Input(InputError::ConfirmationRequired) => Error::Input(InputError::SamePath { id, path }),
            error => error,
        })
    }
}

/// Tags and notifications of a new monitor.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Tags and notifications")]
pub struct LinkArgs {
    /// Attach a tag: NAME or NAME=VALUE (can be repeated)
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Refuse tags that do not exist yet, instead of creating them
    #[arg(long, hide_short_help = true)]
    no_create_tags: bool,
    /// Attach this notification, by name or id, instead of the default ones (can be repeated)
    #[arg(long = "notification", value_name = "NAME", conflicts_with = "no_notifications")]
    notifications: Vec<String>,
    /// Attach no notification, not even the default ones
    #[arg(long)]
    no_notifications: bool,
}

impl LinkArgs {
    pub fn tags(&self) -> Vec<TagRequest> {
        self.tags.iter().map(|tag| TagRequest::parse(tag)).collect()
    }

    pub fn creates_tags(&self) -> bool {
        !self.no_create_tags
    }

    pub fn notify(&self) -> Notify {
        match (self.no_notifications, self.notifications.is_empty()) {
            (true, _) => Notify::Nothing,
            (false, true) => Notify::Defaults,
            (false, false) => Notify::Only(self.notifications.clone()),
        }
    }
}

impl clap::Args for AddArgs {
    fn augment_args(command: Command) -> Command {
        let command = command.subcommand_required(true).subcommand_value_name("TYPE").subcommand_help_heading("Types");
        let types =
            kinds(schema::newest()).map(|kind| lazy::add_options(Command::new(kind.name), Lazily::Types, with_options));
        command.subcommands(types)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for AddArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let missing = || clap::Error::new(clap::error::ErrorKind::MissingSubcommand);
        let (name, matches) = matches.subcommand().ok_or_else(missing)?;
        let kind = kind(name).ok_or_else(missing)?;
        let typed = kind
            .fields(schema::newest())
            .iter()
            .filter_map(|field| Some((field.column, matches.get_one::<String>(&fields::id(field.column))?.clone())))
            .collect();
        Ok(AddArgs {
            kind: name.to_owned(),
            typed,
            links: LinkArgs::from_arg_matches(matches)?,
            duplicate: DuplicateArgs::from_arg_matches(matches)?,
            write: WriteArgs::from_arg_matches(matches)?,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// `one`, the command of a type of monitor, with its description.
fn with_about(one: Command, kind: &MonitorType) -> Command {
    let since = if kind.since > OLDEST { format!(", since {}", kind.since) } else { String::new() };
    let about = format!("{}{since}", kind.title);
    let note = if kind.note.is_empty() { String::new() } else { format!("; {}", kind.note) };
    one.about(about.clone()).long_about(format!("{about}{note}"))
}

/// `one`, which adds a monitor of the type that it is named after, with its options.
fn with_options(mut one: Command) -> Command {
    let newest = schema::newest();
    let Some(kind) = kind(one.get_name()) else { return one };
    let mut usage = format!("kumadb monitor add {}", kind.name);
    let mut width = usage.len();
    for option in options(kind, newest) {
        if option.required {
            let part = format!(" --{} <{}>", option.field.option(), placeholder(option.field));
            width += part.len();
            if width > USAGE {
                usage.push_str("\n          ");
                width = 10 + part.len();
            }
            usage.push_str(&part);
        }
        let heading = if option.required { "Required" } else { "Fields" };
        let arg = fields::option(option.field).help(help(&option)).help_heading(heading);
        let is_brief = option.required || BRIEF.contains(&option.field.column);
        one = one.arg(arg.hide_short_help(!is_brief));
    }
    // The docs of structs of options become the description of the type, so its own come last.
    let one = with_about(WriteArgs::augment_args(DuplicateArgs::augment_args(LinkArgs::augment_args(one))), kind);
    one.override_usage(format!("{usage} [OPTIONS]"))
}

/// Examples for a monitor of type `name`: what each does, and the command.
pub fn examples(name: &str) -> Vec<(String, String)> {
    let Some(kind) = kind(name) else { return Vec::new() };
    let mut line = format!("kumadb monitor add {name}");
    for option in options(kind, schema::newest()).iter().filter(|option| option.required) {
        let value = match (option.field.example, option.choices.first()) {
            ("", Some(choice)) => choice,
            ("", None) => "VALUE",
            (example, _) => example,
        };
        line.push_str(&format!(" --{} {value}", option.field.option()));
    }
    let title = kind.title;
    vec![
        (format!("Add a monitor of type {title}"), line.clone()),
        ("Add it to a group, and check every 5 minutes".into(), format!("{line} --parent Network --interval 300")),
    ]
}

/// The help of an option: its description, the allowed values, and the default.
fn help(option: &FieldOption) -> String {
    let mut text = match option.default {
        None => described(option.field),
        Some(_) => sentence(option.field.help),
    };
    if !option.choices.is_empty() {
        text.push_str(&format!(": {}", option.choices.join(", ")));
    }
    if let Some(default) = &option.default {
        text.push_str(&format!(" [default: {default}]"));
    }
    text
}

pub fn run(args: &AddArgs, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    let state = read_state(&instance)?;
    // Otherwise it would be reported as a value that is missing.
    state.database.check_columns(["monitor"])?;
    let (typed, mut problems) = parse_typed(&state, &args.typed);
    let table = state.database.schema.table("monitor").cloned().unwrap_or_default();
    let row = new_monitor(state.database.release.release, &table, &args.kind, &typed, &maker(&state)?);
    // An invalid value is reported as invalid, not as missing.
    let known =
        |problem: &Problem| !args.typed.contains_key(problem.subject.as_str()) || typed.contains_key(&problem.subject);
    let row = row.unwrap_or_else(|more| {
        problems.extend(more.into_iter().filter(known));
        Cells::default()
    });
    let new = New { row, tags: args.links.tags(), notify: args.links.notify() };
    let plan = plan_add(&state, std::slice::from_ref(&new), args.links.creates_tags()).unwrap_or_else(|more| {
        problems.extend(more);
        Plan::default()
    });
    if !problems.is_empty() {
        return Err(Error::Input(InputError::Problems(problems)));
    }
    warn_of_release(&state, &args.kind, context);
    args.duplicate.check(&new.row, &state, args.write.is_dry_run(), context.ui)?;
    Addition { new, plan, state }.write(&args.write, &instance, context)
}

/// Several releases have the same migrations; the oldest of them may not have a newer type.
fn warn_of_release(state: &MonitorConfig, name: &str, context: &mut Context<'_>) {
    let oldest = state.database.release.oldest;
    if let Some(kind) = kind(name).filter(|kind| kind.since > oldest) {
        context.ui.warn(&format!(
            "type `{name}` exists since {}; a database of {} does not show whether the server supports it",
            kind.since, state.database.release
        ));
    }
}

/// A new monitor, and the changes that add it to the configuration it was planned for.
pub struct Addition {
    pub new: New,
    pub plan: Plan,
    pub state: MonitorConfig,
}

impl Addition {
    /// Writes it; shared with `monitor clone`.
    pub fn write(self, write: &WriteArgs, instance: &Instance, context: &mut Context<'_>) -> Result<Exit> {
        let Addition { new, plan, state } = self;
        let text = |column: &str| new.row.text(column).unwrap_or_default().to_owned();
        let (name, kind) = (text("name"), text("type"));
        let at = plan.steps.iter().position(|step| step.table == "monitor").unwrap_or_default();
        let created = created_tags(&plan);
        warn_of_similar(&state, &created, context);
        let done = |outcome: &Outcome| {
            let id = outcome.written.ids.get(&at).copied().unwrap_or_default();
            let mut lines = vec![format!("added monitor {id} `{name}` ({kind})")];
            let push = (kind == "push").then(|| push_url(instance, &text("push_token")));
            lines.extend(push.as_ref().map(|url| format!("push to {url}")));
            lines.extend(created_lines(&created));
            let monitor = json!({"id": id, "name": name, "type": kind, "push_url": push});
            (json!({"monitor": monitor, "created_tags": created}), lines)
        };
        let request = WriteRequest { verb: "monitor add", plan, names: &state, question: None, done: &done };
        carry_out(&request, write, instance, context)
    }
}

/// The names of the tags that `plan` creates.
pub fn created_tags(plan: &Plan) -> Vec<String> {
    let name = |step: &PlanStep| match &step.change {
        Change::Insert { columns, cells } => {
            let at = columns.iter().position(|column| column == "name")?;
            if let Some(Cell::Is(name)) = cells.get(at) { name.text().map(str::to_owned) } else { None }
        }
        _ => None,
    };
    plan.steps.iter().filter(|step| step.table == "tag").filter_map(name).collect()
}

/// Warns of each tag that is about to be created and whose name is like that of one that exists.
pub fn warn_of_similar(state: &MonitorConfig, created: &[String], context: &mut Context<'_>) {
    for name in created {
        let near = did_you_mean(name, state.tags.iter().filter_map(|row| row.text("name").map(str::to_owned)));
        if !near.is_empty() {
            context.ui.warn(&format!("tag `{name}` does not exist and will be created{near}"));
        }
    }
}

/// A line for each tag that was created.
pub fn created_lines(created: &[String]) -> impl Iterator<Item = String> + '_ {
    created.iter().map(|name| format!("created tag `{name}`"))
}

/// What the server would know of the user who adds the monitor.
pub fn maker(state: &MonitorConfig) -> Result<NewMonitorContext> {
    let owner = state.owner().ok_or(TargetError::NoUser)?;
    Ok(NewMonitorContext {
        user_id: owner,
        push_token: random_text(push_token_length(state.database.release.release))?,
        proxy_id: state.proxies.iter().find(|row| row.cell("default").truthy()).and_then(|row| row.int("id")),
        created_date: None,
    })
}

/// Parses texts by the type of their fields; names of groups, Docker hosts, proxies and browsers become ids.
fn parse_typed(
    state: &MonitorConfig,
    typed: &BTreeMap<&'static str, String>,
) -> (BTreeMap<String, Value>, Vec<Problem>) {
    let mut values = BTreeMap::new();
    let mut problems = Vec::new();
    for (column, text) in typed {
        match parse_one(state, column, text) {
            Ok(value) => {
                values.insert((*column).to_owned(), value);
            }
            Err(problem) => problems.push(problem),
        }
    }
    (values, problems)
}

/// Parses one text.
pub fn parse_one(state: &MonitorConfig, column: &str, text: &str) -> Result<Value, Problem> {
    let known = crate::model::field(column).ok_or_else(|| Problem::new(column, "no such field"))?;
    let text = text.trim();
    match known.shape {
        ValueShape::Reference(_) if text.is_empty() => Ok(Value::Null),
        ValueShape::Reference(Reference::DockerHost) => find_docker_host(state, text).map(Value::Int),
        ValueShape::Reference(Reference::Proxy) => find_proxy(state, text).map(Value::Int),
        ValueShape::Reference(Reference::RemoteBrowser) => find_remote_browser(state, text).map(Value::Int),
        // The only other reference of a monitor's own columns.
        ValueShape::Reference(_) => find_group(state, text).map(Value::Int),
        _ => parse(known, text),
    }
}

/// The URL of a push monitor, as far as the container shows it.
fn push_url(instance: &Instance, token: &str) -> String {
    let base = instance.container.as_ref().and_then(|server| server.published());
    format!("{}/api/push/{token}?status=up&msg=OK&ping=", base.unwrap_or_else(|| "http://YOUR-SERVER:3001".into()))
}
