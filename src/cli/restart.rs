//! `kumadb restart` and `kumadb logs`

use std::time::Duration;

use chrono::{DateTime, Local, Utc};
use clap::Args;
use serde_json::json;

use super::Context;
use super::write::{finish, outcome_json};
use crate::backup::datetime::parse_datetime;
use crate::docker::LogRange;
use crate::error::{Error, Exit, Result, TargetError};
use crate::instance::{Instance, Server};
use crate::operation::{self, Settings};
use crate::text::duration;

#[derive(Args, Debug)]
pub struct RestartArgs {
    /// Check that the server can be restarted, without restarting it
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Set the shutdown timeout, at least 60s
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "60s")]
    grace: Duration,
    /// Set how long to wait for the server to start and write a heartbeat
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "3m")]
    deadline: Duration,
}

#[derive(Args, Debug)]
pub struct LogsArgs {
    /// Show the last N lines, or `all`
    #[arg(long, value_name = "N", value_parser = tail, default_value = "50")]
    tail: Tail,
    /// Follow the log until the container stops or Ctrl-C is pressed
    #[arg(short, long)]
    follow: bool,
    /// Show only lines since this date or time: 10m, '2026-11-24 18:30', yesterday (local time)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<DateTime<Utc>>,
    /// Show only error lines since the server started
    #[arg(long, conflicts_with_all = ["tail", "follow", "since"])]
    errors: bool,
}

impl LogsArgs {
    fn range(&self) -> LogRange {
        LogRange { tail: self.tail.0, since: self.since }
    }
}

/// How many lines; `None` for all.
#[derive(Clone, Copy, Debug)]
struct Tail(Option<u32>);

fn tail(text: &str) -> Result<Tail, String> {
    match (text, text.parse()) {
        ("all", _) => Ok(Tail(None)),
        (_, Ok(lines)) => Ok(Tail(Some(lines))),
        _ => Err(format!("`{text}` is not a number of lines or `all`")),
    }
}

fn since(text: &str) -> Result<DateTime<Utc>, String> {
    parse_datetime(text, Local::now())
}

pub fn run(args: &RestartArgs, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    let server = server(&instance)?;
    let settings = Settings {
        grace: args.grace.max(Duration::from_secs(60)),
        deadline: args.deadline,
        ..Settings::new("restart")
    };
    if args.dry_run {
        operation::check_restart(&instance, &settings)?;
        let state = server.life()?.to_string();
        let document = json!({"dry_run": true, "instance": instance.name, "state": state});
        let text = || format!("dry run: `{}` ({state}) can be restarted; nothing changed", instance.name);
        context.ui.result(&document, text)?;
        return Ok(Exit::Done);
    }
    let outcome = operation::restart(&instance, &settings, context.ui)?;
    let mut document = json!({"restarted": instance.name});
    if let Some(document) = document.as_object_mut() {
        document.extend(outcome_json(&outcome));
    }
    context.ui.result(&document, || format!("server `{}` is running", instance.name))?;
    finish(&outcome, context.ui)
}

pub fn logs(args: &LogsArgs, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    let server = server(&instance)?;
    let lines = match args.errors {
        true => server.last_errors(),
        false if args.follow => return follow(args, server, context),
        false => server.logs(args.range())?,
    };
    context.ui.raw_result(&json!({"lines": lines}), || lines.join("\n"))?;
    Ok(Exit::Done)
}

/// Prints the lines as they come. Ctrl-C is the normal way to end it, so it is not a failure.
fn follow(args: &LogsArgs, server: &Server, context: &mut Context<'_>) -> Result<Exit> {
    let (signal, json) = (context.ui.signals(), context.ui.is_json());
    server.follow_logs(args.range(), &mut || signal() == 0, &mut |line| {
        if json {
            context.ui.put(&format!("{}\n", json!({"line": line})))
        } else {
            context.ui.put(&format!("{line}\n"))
        }
    })?;
    Ok(Exit::Done)
}

fn server(instance: &Instance) -> Result<&Server> {
    instance
        .container
        .as_ref()
        .ok_or_else(|| Error::Target(TargetError::NoContainer { instance: instance.name.clone() }))
}
