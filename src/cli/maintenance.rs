//! `kumadb maintenance …`: maintenance windows of the server, which its page shows and which end automatically.

use std::time::Duration;

use chrono::{DateTime, Local, TimeDelta, Utc};
use chrono_tz::Tz;
use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::Context;
use super::apply::carry_out_planned;
use super::document::{plan_on, read_written};
use super::format::FormatArgs;
use super::lazy::Lazy;
use super::monitor::PickArgs;
use super::user::PlannedChange;
use super::write::{WriteArgs, read_from};
use crate::backup::datetime::parse_future;
use crate::error::{Error, Exit, InputError, Problem, Result};
use crate::formats::{At, Node};
use crate::instance::Instance;
use crate::kuma::public::read_server_zone;
use crate::kuma::read::{read_config, read_shown_state};
use crate::model::state::ConfigRows;
use crate::plan::fixture::ApplyOptions;
use crate::plan::user::plan_cells;
use crate::plan::{Cell, Plan};
use crate::report::maintenance::{WindowState, end as end_of, start as start_of, state};
use crate::text::{counted, duration};
use crate::value::{Row, Value, local_time, rfc3339, server_text};

#[derive(Debug, Subcommand)]
pub enum MaintenanceVerb {
    /// List maintenance windows
    #[command(visible_alias = "ls")]
    List(FormatArgs),
    /// Start a maintenance window now
    Start(Lazy<StartArgs>),
    /// Schedule a maintenance window
    Schedule(Lazy<ScheduleArgs>),
    /// End maintenance windows now, or cancel scheduled ones
    End(Lazy<EndArgs>),
}

#[derive(Args, Debug)]
pub struct StartArgs {
    #[command(flatten)]
    window: WindowArgs,
}

#[derive(Args, Debug)]
#[command(override_usage = "kumadb maintenance schedule --from <TIME> --for <DURATION> [MONITOR]...")]
pub struct ScheduleArgs {
    /// Set when it begins: '2027-01-31 22:00', 22:00, tomorrow, 12h; RFC 3339 for other time zones
    #[arg(long, value_name = "TIME")]
    from: String,
    #[command(flatten)]
    window: WindowArgs,
}

/// A new window, without its start.
#[derive(Args, Debug)]
struct WindowArgs {
    /// Set how long it lasts: 45m, 2h
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    lasts: Duration,
    #[command(flatten)]
    pick: PickArgs,
    /// Set the title [default: Maintenance and its start]
    #[arg(long)]
    title: Option<String>,
    /// Set the description
    #[arg(long, default_value = "")]
    description: String,
    /// Show it on the status page with this slug (can be repeated)
    #[arg(long = "status-page", value_name = "SLUG")]
    status_pages: Vec<String>,
    #[command(flatten)]
    write: WriteArgs,
}

#[derive(Args, Debug)]
pub struct EndArgs {
    /// Select windows by title or id
    #[arg(value_name = "WINDOW", required = true)]
    windows: Vec<String>,
    #[command(flatten)]
    write: WriteArgs,
}

impl MaintenanceVerb {
    /// Whether it changes anything.
    pub fn writes(&self) -> bool {
        !matches!(self, MaintenanceVerb::List(_))
    }

    /// Checks the options that need no data.
    pub fn check(&self) -> Result<()> {
        let now = Utc::now();
        let (from, window) = match self {
            MaintenanceVerb::Start(args) => (now, &args.window),
            MaintenanceVerb::Schedule(args) => (args.start(now)?, &args.window),
            MaintenanceVerb::List(_) | MaintenanceVerb::End(_) => return Ok(()),
        };
        window.pick.required().and(window.end(from)).map(drop)
    }
}

impl ScheduleArgs {
    fn start(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
        let from = parse_future(&self.from, now.with_timezone(&Local)).map_err(|why| Error::problem("--from", why))?;
        if from < now {
            Err(Error::problem("--from", format!("{} is in the past", local_time(from))))
        } else {
            Ok(from)
        }
    }
}

impl WindowArgs {
    /// When a window ends that starts at `from`.
    fn end(&self, from: DateTime<Utc>) -> Result<DateTime<Utc>> {
        let lasts = TimeDelta::from_std(self.lasts).ok().filter(|lasts| *lasts >= TimeDelta::minutes(1));
        let until = lasts.and_then(|lasts| from.checked_add_signed(lasts));
        until.ok_or_else(|| Error::problem("--for", "a window lasts at least one minute"))
    }
}

pub fn run(verb: &MaintenanceVerb, context: &mut Context<'_>) -> Result<Exit> {
    let now = Utc::now();
    match verb {
        MaintenanceVerb::List(format) => list(*format, now, context),
        MaintenanceVerb::Start(args) => add("maintenance start", now, &args.window, context),
        MaintenanceVerb::Schedule(args) => add("maintenance schedule", args.start(now)?, &args.window, context),
        MaintenanceVerb::End(args) => end(args, now, context),
    }
}

/// The configuration, and the time zone of the server.
fn read(instance: &Instance) -> Result<(ConfigRows, Tz)> {
    read_from(instance, |reader, name| Ok((read_config(reader, name)?, read_server_zone(reader)?)))
}

/// The time zone of a window; that of the server where it has none of its own.
fn zone_of(row: &Row, server: Tz) -> Tz {
    row.text("timezone").and_then(|name| name.parse().ok()).unwrap_or(server)
}

fn list(format: FormatArgs, now: DateTime<Utc>, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    let (config, server) = read(&instance)?;
    let windows = config.rows("maintenance");
    let monitors = |row: &Row| {
        config.rows("monitor_maintenance").iter().filter(|link| link.int("maintenance_id") == row.int("id")).count()
    };
    let text = |row: &Row, column: &str| row.text(column).unwrap_or_default().to_owned();
    let document = |row: &Row| {
        let zone = zone_of(row, server);
        json!({
            "id": row.int("id"), "title": row.text("title"), "strategy": row.text("strategy"),
            "state": state(row, server, now).word(), "start": start_of(row, zone).map(rfc3339),
            "end": end_of(row, zone).map(rfc3339), "monitors": monitors(row),
        })
    };
    let documents: Vec<Json> = windows.iter().map(document).collect();
    context.ui.result(&json!({"maintenance": documents}), || {
        let line = |row: &Row| {
            let zone = zone_of(row, server);
            let [start, end] = [start_of(row, zone), end_of(row, zone)].map(|at| at.map_or("-".into(), local_time));
            let id = row.int("id").unwrap_or_default().to_string();
            let state = state(row, server, now).word().to_owned();
            vec![id, text(row, "title"), text(row, "strategy"), state, start, end, monitors(row).to_string()]
        };
        let around = |table| if windows.is_empty() { "no maintenance windows yet".into() } else { table };
        let headers = ["id", "title", "strategy", "state", "start", "end", "monitors"];
        format.text(&headers, windows.iter().map(line).collect(), around)
    })?;
    Ok(Exit::Done)
}

/// Adds a window through a fixture, with the same checks: of the strategy `single`, in UTC.
fn add(verb: &str, from: DateTime<Utc>, args: &WindowArgs, context: &mut Context<'_>) -> Result<Exit> {
    let (pick, until) = (args.pick.required()?, args.end(from)?);
    let instance = context.instance()?;
    let (config, monitors) = read_from(&instance, |reader, name| {
        let state = read_shown_state(reader, name)?;
        let monitors: Vec<(i64, String)> = pick.ids(&state)?.into_iter().map(|id| (id, state.path(id))).collect();
        Ok((read_config(reader, name)?, monitors))
    })?;
    let title = args.title.clone().unwrap_or_else(|| format!("Maintenance {}", local_time(from)));
    if config.rows("maintenance").iter().any(|row| row.text("title") == Some(&title)) {
        return Err(Error::Input(InputError::Exists { kind: "maintenance window", name: title }));
    }
    let at = At::nowhere(verb);
    let text = |text: &str| Node::new(at.clone(), text.replace("${", "$${"));
    let texts = |list: &[String]| Node::new(at.clone(), list.iter().map(|one| text(one)).collect::<Vec<_>>());
    let mut window = vec![
        ("title", text(&title)),
        ("description", text(&args.description)),
        ("strategy", text("single")),
        ("start_date", text(&server_text(&from))),
        ("end_date", text(&server_text(&until))),
        ("timezone", text("UTC")),
    ];
    if !args.status_pages.is_empty() {
        window.push(("status_pages", texts(&args.status_pages)));
    }
    let windows = Node::new(at.clone(), vec![Node::map(at.clone(), window)]);
    let fixture = read_written(&[Node::map(at.clone(), [("maintenance", windows)])])?;
    let mut planned = plan_on(config, fixture, &ApplyOptions::default())?;
    // By their ids: a fixture has only names, and several monitors may have the same.
    let plan = &mut planned.report.plan;
    if let Some(window) = plan.steps.iter().position(|step| step.table == "maintenance") {
        let named = plan.steps[window].subject.clone();
        for (id, path) in &monitors {
            let row = [("maintenance_id", Cell::IdOf(window)), ("monitor_id", Cell::Is(Value::Int(*id)))];
            let row = row.map(|(column, cell)| (column.to_owned(), cell)).to_vec();
            plan.insert("monitor_maintenance", format!("monitor `{path}` of {named}"), row);
        }
    }
    context.ui.say(&format!("{} under maintenance until {}", counted(monitors.len(), "monitor"), local_time(until)));
    carry_out_planned(verb, planned, &args.write, &instance, context)
}

/// Ends windows: one with an end by ending it now, a manual one and one that has not started by making it inactive.
fn end(args: &EndArgs, now: DateTime<Utc>, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    let (config, server) = read(&instance)?;
    let (mut plan, mut problems, mut titles) = (Plan::of(&config.fingerprint), Vec::new(), Vec::new());
    for desired in &args.windows {
        let row = match find(&config, desired) {
            Ok(row) => row,
            Err(why) => {
                problems.push(why);
                continue;
            }
        };
        let title = row.text("title").unwrap_or_default();
        let subject = format!("maintenance window `{title}`");
        let zone = zone_of(row, server);
        let cell: (&str, Value) = match (state(row, server, now), row.text("strategy")) {
            (WindowState::UnderMaintenance, Some("single")) => {
                ("end_date", server_text(&now.with_timezone(&zone)).into())
            }
            (WindowState::UnderMaintenance, Some("manual")) | (WindowState::Scheduled, Some("single")) => {
                ("active", false.into())
            }
            (WindowState::Ended | WindowState::Inactive | WindowState::Unknown, _) => {
                let why = "is neither in progress nor scheduled";
                problems.push(Problem::new(subject, why).command("kumadb maintenance list"));
                continue;
            }
            _ => {
                let why = "repeats: one occurrence cannot be ended";
                problems
                    .push(Problem::new(subject, why).hint("disable it in the web UI or in a fixture (active: false)"));
                continue;
            }
        };
        plan_cells(&mut plan, "maintenance", &subject, row, &[cell]);
        titles.push(format!("`{title}`"));
    }
    if !problems.is_empty() {
        return Err(Error::Input(InputError::Problems(problems)));
    }
    let done_text = format!("ended maintenance {}", titles.join(", "));
    PlannedChange { verb: "maintenance end", plan, done_text }.write(&args.write, &instance, &config, context)
}

fn find<'c>(config: &'c ConfigRows, desired: &str) -> Result<&'c Row, Problem> {
    let rows = config.rows("maintenance");
    let named: Vec<&Row> = rows.iter().filter(|row| row.text("title") == Some(desired)).collect();
    let by_id = || rows.iter().find(|row| desired.parse().ok() == row.int("id") && row.int("id").is_some());
    match named.as_slice() {
        [one] => Ok(one),
        [] => by_id().ok_or_else(|| {
            let titles = rows.iter().filter_map(|row| row.text("title"));
            let meant = crate::text::did_you_mean(desired, titles);
            Problem::new("maintenance end", format!("no maintenance window `{desired}`{meant}"))
                .command("kumadb maintenance list")
                .not_found()
        }),
        several => {
            let why = format!(
                "{} are called `{desired}`; select one by its id",
                counted(several.len(), "maintenance window")
            );
            Err(Problem::new("maintenance end", why).command("kumadb maintenance list").not_found())
        }
    }
}
