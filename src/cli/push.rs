//! `kumadb push`: sends one heartbeat of a push monitor, like the watched job would.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value as Json, json};

use super::Context;
use super::probe::AddressArgs;
use super::write::{read_shown_state, status_word};
use crate::error::{Error, Exit, InputError, Result, ServerError};
use crate::instance::Instance;
use crate::kuma::read::read_last_beat;
use crate::model::state::{Monitor, MonitorConfig};
use crate::operation::beats::{self, Awaited};
use crate::plan::names::find_monitor;
use crate::text::duration;
use crate::value::{Row, Secret, utc_time};

#[derive(Args, Debug)]
pub struct PushArgs {
    /// Select the push monitor by id, name or path (Group/Name or /Name)
    monitor: String,
    /// Set the status to report
    #[arg(long, value_enum, default_value = "up")]
    status: Status,
    /// Set the message
    #[arg(long, value_name = "TEXT", default_value = "OK")]
    msg: String,
    /// Set the response time in milliseconds
    #[arg(long, value_name = "MS", value_parser = ping)]
    ping: Option<f64>,
    /// Wait up to this long for the heartbeat to appear in the database, and show it: 10s, 1m
    #[arg(long, value_name = "DURATION", value_parser = duration, num_args = 0..=1, default_missing_value = "10s")]
    wait_beats: Option<Duration>,
    /// Check monitor and server, without sending the heartbeat
    #[arg(short = 'n', long, conflicts_with = "wait_beats")]
    dry_run: bool,
    #[command(flatten)]
    pub address: AddressArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Status {
    Up,
    Down,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Status::Up => "up",
            Status::Down => "down",
        }
    }
}

/// Parses milliseconds, up to the maximum of the server (2.5.3).
fn ping(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().map_err(|_| format!("`{text}` is not a valid number of milliseconds"))?;
    if (0.0..=1e11).contains(&number) { Ok(number) } else { Err(format!("`{text}` is not between 0 and 100000000000")) }
}

pub fn run(args: &PushArgs, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    // Checked before the database is opened: that of a stopped server need not be.
    let asked = args.address.find(Some(&instance))?;
    asked.check()?;
    let state = read_shown_state(&instance)?;
    let monitor =
        find_monitor(&state, &args.monitor).map_err(|problem| Error::Input(InputError::Problems(vec![problem])))?;
    let path = state.path(monitor.id);
    let token = token(&state, monitor)?;
    if args.dry_run {
        let base = asked.face.base();
        let document = json!({"dry_run": true, "monitor": {"id": monitor.id, "path": path}, "address": base});
        context.ui.result(&document, || format!("dry run: `{path}` can receive heartbeats at {base}; nothing sent"))?;
        return Ok(Exit::Done);
    }
    let since = args.wait_beats.map(|_| read_newest(&instance)).transpose()?;
    asked.face.push(&token, args.status.word(), &args.msg, args.ping).map_err(|why| ServerError::PushRefused {
        address: asked.face.base().to_owned(),
        monitor: path.clone(),
        why,
    })?;
    let beat = match (args.wait_beats, since) {
        (Some(limit), Some(since)) => Some(wait(&instance, monitor.id, since, limit)?),
        _ => None,
    };
    report(args, &Sent { address: asked.face.base(), id: monitor.id, path: &path, beat }, context)
}

/// The token of a push monitor that is active.
fn token(state: &MonitorConfig, monitor: &Monitor) -> Result<Secret> {
    let (path, kind) = (state.path(monitor.id), monitor.kind());
    if kind != "push" {
        return Err(Error::Input(InputError::NotAPushMonitor { monitor: path, kind: kind.to_owned() }));
    }
    if !state.runs(monitor.id) {
        return Err(Error::Server(ServerError::MonitorPaused { monitor: path }));
    }
    let token = monitor.row.text("push_token").filter(|token| !token.is_empty());
    token.map(Secret::new).ok_or(Error::Server(ServerError::NoToken { monitor: path }))
}

fn read_newest(instance: &Instance) -> Result<i64> {
    read_last_beat(&mut *instance.connect()?.reader()?)
}

/// The first heartbeat of the monitor with an id above `since`.
fn wait(instance: &Instance, id: i64, since: i64, limit: Duration) -> Result<Option<Row>> {
    let connect = instance.connect()?;
    let mut found = beats::wait(&*connect, since, &Awaited::All([id].into()), limit, &mut || Ok(()))?;
    Ok(found.remove(&id))
}

/// A heartbeat that the server has accepted.
struct Sent<'s> {
    address: &'s str,
    /// The monitor.
    id: i64,
    path: &'s str,
    /// Its row, or none in time; `None` where it was not waited for.
    beat: Option<Option<Row>>,
}

fn report(args: &PushArgs, sent: &Sent<'_>, context: &mut Context<'_>) -> Result<Exit> {
    let Sent { address, id, path, beat } = sent;
    let shown = |row: &Row| json!({"status": status_word(row.int("status")), "msg": row.text("msg"), "ping": row.cell("ping").json(), "time": row.text("time").map(utc_time)});
    let seen: Json = beat.as_ref().and_then(Option::as_ref).map_or(Json::Null, shown);
    let status = args.status.word();
    let document = json!({
        "monitor": {"id": id, "path": path}, "address": address, "status": status, "msg": args.msg, "ping": args.ping,
        "heartbeat": seen,
    });
    context.ui.result(&document, || {
        let sent = format!("sent {status} for `{path}` ({id}) to {address}");
        match beat {
            Some(Some(row)) => {
                let (status, message) = (status_word(row.int("status")), row.text("msg").unwrap_or_default());
                format!("{sent}; heartbeat: {status}: {message}")
            }
            _ => sent,
        }
    })?;
    if let Some(None) = beat {
        context
            .ui
            .warn(&format!("the heartbeat is not in the database; does the server at {address} use this database?"));
        return Ok(Exit::Partial);
    }
    Ok(Exit::Done)
}
