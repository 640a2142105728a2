//! `kumadb probe`: checks the responses of the server to browsers, Prometheus and badges.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value as Json, json};

use super::environment::variable;
use super::inputs::Inputs;
use super::write::read_from;
use super::{Context, Ui};
use crate::docker::RunState;
use crate::error::{Error, Exit, Hint, InputError, Result, ServerError, TargetError};
use crate::files;
use crate::http::{
    HttpClient, HttpOptions, Known, Reply, ResponseVerdict, ServerLogin, ServerState, Trust, judge_badge, judge_entry,
    judge_metrics, public_monitors, read_monitors,
};
use crate::instance::Instance;
use crate::kuma::read::{read_config, read_shown_state};
use crate::model::state::{ConfigRows, MonitorConfig};
use crate::plan::pick::Pick;
use crate::text::{counted, duration, one_line};
use crate::value::Secret;

/// Number of public monitors whose badges are checked by default.
const BADGED: usize = 5;

/// Maximum number of monitors named in one line.
const NAMED: usize = 10;

#[derive(Args, Debug)]
pub struct ProbeArgs {
    /// Check the badges of these monitors, given by id, name or path [default: the first five public ones]
    #[arg(value_name = "MONITOR")]
    monitors: Vec<String>,
    /// Log in to /metrics as this user; the password comes from a prompt or standard input
    #[arg(long, value_name = "NAME", conflicts_with = "api_key")]
    user: Option<String>,
    /// Log in to /metrics with an API key from a prompt or standard input
    #[arg(long)]
    api_key: bool,
    /// Read the password or API key from this file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    address: AddressArgs,
}

/// Where the server is, seen from outside.
#[derive(Args, Debug)]
#[command(next_help_heading = "Connection")]
pub struct AddressArgs {
    /// Set the server's URL, such as https://kuma.example.com [default: the published port, else the IP
    /// address of the container]
    #[arg(long, env = variable("KUMADB_URL"), hide_env_values = true, value_name = "URL")]
    url: Option<String>,
    /// Trust the certificate authorities in this PEM file instead of the public ones
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Skip TLS certificate verification
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
    /// Set the timeout of one request
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    timeout: Duration,
}

/// A server that was contacted.
pub struct ContactedServer {
    pub face: HttpClient,
    pub page: ServerState,
    how: &'static str,
    reply: Reply,
    verdict: ResponseVerdict,
}

impl ContactedServer {
    /// Fails unless it is a real server that is up.
    pub fn check(&self) -> Result<()> {
        match self.page {
            ServerState::Server => Ok(()),
            _ => Err(no_answer(self.face.base(), &self.verdict.means, Hint::command("kumadb probe"))),
        }
    }
}

impl AddressArgs {
    /// Packs the files of these options for a remote job.
    pub fn pack(&self, inputs: &mut Inputs) -> Result<()> {
        self.ca.iter().try_for_each(|file| inputs.take(file))
    }

    /// Finds the server of `instance`: the first address where the real server responds, else the first where anything
    /// responds.
    /// answers at.
    pub fn find(&self, instance: Option<&Instance>) -> Result<ContactedServer> {
        let places = match (&self.url, instance) {
            (Some(url), _) => vec![(url.clone(), "as given")],
            (None, Some(instance)) => places(instance)?,
            (None, None) => return Err(Error::Target(TargetError::NoneFound)),
        };
        let authorities = match &self.ca {
            Some(path) => {
                let text = files::read_text(path)?;
                Some(text.ok_or_else(|| Error::Input(InputError::FileNotFound { path: path.clone() }))?)
            }
            None => None,
        };
        let manner = HttpOptions { timeout: self.timeout, trust: Trust { authorities, anybody: self.insecure } };
        let (mut other, mut silent) = (None, Vec::new());
        for (place, how) in places {
            let face = HttpClient::new(&place, &manner)?;
            let reply = face.ask("/api/entry-page", None);
            let (page, verdict) = judge_entry(&reply, || face.ask("/", None));
            let asked = ContactedServer { face, page, how, reply, verdict };
            match page {
                ServerState::Server => return Ok(asked),
                ServerState::NoResponse => silent.push(format!("{place}: {}", asked.verdict.means)),
                _ => other = other.or(Some(asked)),
            }
        }
        other.ok_or_else(|| {
            let hint = Hint::advice("see `kumadb status` and `kumadb logs`, or set another URL with `--url`");
            no_answer("any URL", &silent.join("; "), hint)
        })
    }
}

fn no_answer(place: &str, why: &str, hint: Hint) -> Error {
    Error::Server(ServerError::NoResponse { address: place.to_owned(), why: why.to_owned(), hint })
}

/// Addresses where the server of `instance` may respond.
fn places(instance: &Instance) -> Result<Vec<(String, &'static str)>> {
    let Some(server) = &instance.container else {
        let hint = Hint::command("--url http://HOST:3001");
        return Err(no_answer(&format!("`{}`", instance.name), "no container found, so its URL is unknown", hint));
    };
    let name = server.name();
    let place = format!("container `{name}`");
    match server.life()? {
        RunState::Stopped => Err(no_answer(&place, "it is stopped", Hint::command(format!("docker start {name}")))),
        RunState::Paused => Err(no_answer(&place, "it is paused", Hint::command(format!("docker unpause {name}")))),
        RunState::Running | RunState::Restarting => match server.addresses()? {
            found if found.is_empty() => {
                let why = "it publishes no port and has no IP address that this machine can reach";
                Err(no_answer(&place, why, Hint::command("--url http://HOST:3001")))
            }
            found => Ok(found),
        },
    }
}

/// One request with its response.
struct Check {
    path: String,
    reply: Reply,
    verdict: ResponseVerdict,
}

/// Differences between the running server and the database.
#[derive(Default)]
struct Differing {
    /// Monitors that should be checked and are not: id and path.
    unchecked: Vec<(i64, String)>,
    /// Monitors that the server checks, and that are missing or paused in the database.
    unwanted: Vec<Known>,
}

pub fn run(args: &ProbeArgs, context: &mut Context<'_>) -> Result<Exit> {
    let instance = match context.instance() {
        Ok(instance) => Some(instance),
        // With an address, the database may be unavailable.
        Err(Error::Target(TargetError::NoneFound) | Error::Target(TargetError::SeveralFound(_)))
            if args.address.url.is_some() =>
        {
            None
        }
        Err(error) if args.address.url.is_some() && error.exit() == Exit::NotFound => {
            context.ui.warn(&format!("no database to compare with: {error}"));
            None
        }
        Err(error) => return Err(error),
    };
    let asked = args.address.find(instance.as_ref())?;
    let is_up = asked.page == ServerState::Server;
    let ContactedServer { face, how, reply, verdict, .. } = asked;
    let mut checks = vec![Check { path: "/api/entry-page".into(), reply, verdict }];
    let mut differing = None;
    if is_up {
        let database = instance.as_ref().and_then(|instance| read(instance, context.ui));
        let login = args.login(context.ui)?;
        let reply = face.ask("/metrics", login.as_ref());
        let verdict = judge_metrics(&reply, login.as_ref(), database.as_ref().map(|(_, config)| config));
        let response =
            reply.response.as_ref().ok().filter(|response| response.status == 200 && response.body.contains("# HELP"));
        if let (Some(response), Some((state, _))) = (response, &database) {
            differing = Some(compare(&read_monitors(&response.body), state));
        }
        checks.push(Check { path: "/metrics".into(), reply, verdict });
        if let Some((state, config)) = &database {
            checks.extend(ask_badges(&args.monitors, &face, state, config)?);
        }
    }
    let agrees = differing.as_ref().is_none_or(|found| found.unchecked.is_empty() && found.unwanted.is_empty());
    let good = agrees && checks.iter().all(|check| check.verdict.good);
    context.ui.result(&document(&face, how, good, &checks, differing.as_ref()), || {
        text(&face, how, &checks, differing.as_ref())
    })?;
    Ok(match (is_up, good) {
        (false, _) => Exit::Failed,
        (true, false) => Exit::Partial,
        (true, true) => Exit::Done,
    })
}

impl ProbeArgs {
    /// Packs the files of these options for a remote job, and the password, whatever its source.
    pub fn pack(&self, inputs: &mut Inputs) -> Result<()> {
        self.address.pack(inputs)?;
        match &self.password_file {
            Some(file) => inputs.take(file),
            None if self.user.is_some() || self.api_key => inputs.take_stdin(),
            None => Ok(()),
        }
    }

    fn login(&self, ui: &mut Ui) -> Result<Option<ServerLogin>> {
        let name = match (&self.user, self.api_key) {
            (Some(name), _) => name.clone(),
            (None, true) => String::new(),
            (None, false) if self.password_file.is_some() => {
                return Err(Error::Input(InputError::Requires {
                    option: "`--password-file`".into(),
                    needs: "`--user` or `--api-key`".into(),
                }));
            }
            (None, false) => return Ok(None),
        };
        let secret = match &self.password_file {
            Some(path) => files::read_first_line(path)?,
            None => {
                ui.known_password(&if self.api_key { "API key".into() } else { format!("password of `{name}`") })?
            }
        };
        Ok(Some(ServerLogin { name, secret: Secret::new(secret) }))
    }
}

/// Reads the database for the comparison; an error becomes a warning, and the other checks continue.
fn read(instance: &Instance, ui: &mut Ui) -> Option<(MonitorConfig, ConfigRows)> {
    let read = read_from(instance, |reader, name| Ok((read_shown_state(reader, name)?, read_config(reader, name)?)));
    read.map_err(|error| ui.warn(&format!("cannot read the database to compare with it: {error}"))).ok()
}

/// Compares the monitors that a running server checks with those in its database.
fn compare(known: &[Known], state: &MonitorConfig) -> Differing {
    let ids: BTreeSet<i64> = known.iter().filter_map(|known| known.id).collect();
    let names: BTreeSet<&str> =
        known.iter().filter(|known| known.id.is_none()).map(|known| known.name.as_str()).collect();
    let is_checked =
        |id: &i64| ids.contains(id) || state.monitors.get(id).is_some_and(|monitor| names.contains(monitor.name()));
    let unchecked = state.beating().into_iter().filter(|id| !is_checked(id)).map(|id| (id, state.path(id))).collect();
    let running = |monitor: &&Known| match monitor.id {
        Some(id) => state.runs(id),
        None => state.monitors.values().any(|row| row.name() == monitor.name && state.runs(row.id)),
    };
    let unwanted = known.iter().filter(|monitor| !running(monitor)).cloned().collect();
    Differing { unchecked, unwanted }
}

/// Requests the four badges of each named monitor, or of the first public ones.
fn ask_badges(named: &[String], face: &HttpClient, state: &MonitorConfig, config: &ConfigRows) -> Result<Vec<Check>> {
    let public = public_monitors(config);
    let ids = if named.is_empty() {
        public.iter().copied().take(BADGED).collect()
    } else {
        Pick { named: named.to_vec(), ..Pick::default() }.ids(state)?
    };
    let badges = ids.iter().flat_map(|id| ["status", "uptime/24", "ping/24", "cert-exp"].map(|badge| (*id, badge)));
    Ok(badges
        .map(|(id, badge)| {
            let path = format!("/api/badge/{id}/{badge}");
            let reply = face.ask(&path, None);
            let mut verdict = judge_badge(&reply, public.contains(&id));
            verdict.means = format!("`{}`: {}", state.path(id), verdict.means);
            Check { path, reply, verdict }
        })
        .collect())
}

fn document(face: &HttpClient, how: &str, good: bool, checks: &[Check], differing: Option<&Differing>) -> Json {
    let checks: Vec<Json> = checks
        .iter()
        .map(|Check { path, reply, verdict }| {
            json!({
                "path": path, "ok": verdict.good, "status": reply.response.as_ref().ok().map(|response| response.status),
                "seconds": reply.took.as_secs_f64(), "answer": verdict.answer, "meaning": verdict.means,
            })
        })
        .collect();
    let monitors = differing.map(|found| {
        let unchecked = found.unchecked.iter().map(|(id, path)| json!({"id": id, "path": path})).collect::<Vec<_>>();
        let unwanted =
            found.unwanted.iter().map(|known| json!({"id": known.id, "name": known.name})).collect::<Vec<_>>();
        json!({"unchecked": unchecked, "unexpected": unwanted})
    });
    json!({"address": face.base(), "how": how, "ok": good, "checks": checks, "monitors": monitors})
}

fn text(face: &HttpClient, how: &str, checks: &[Check], differing: Option<&Differing>) -> String {
    let row = |check: &Check| {
        let mark = if check.verdict.good { "ok" } else { "bad" };
        vec![mark.into(), check.path.clone(), check.verdict.answer.clone(), check.verdict.means.clone()]
    };
    let table = Ui::table(&["", "request", "answer", "meaning"], checks.iter().map(row).collect());
    let mut text = format!("{} ({how})\n\n{table}", face.base());
    let Some(Differing { unchecked, unwanted }) = differing else { return text };
    if unchecked.is_empty() && unwanted.is_empty() {
        text.push_str("\n\nthe running monitors match the database");
    }
    if !unchecked.is_empty() {
        let names = unchecked.iter().map(|(id, path)| format!("`{}` ({id})", one_line(path)));
        let verb = if unchecked.len() == 1 { "is" } else { "are" };
        text.push_str(&format!(
            "\n\n{} {verb} not being checked by the server: {}\n  monitors were added while the server was running \
             (kumadb restart), or have not started yet (after a start, the server starts one monitor after another, \
             at most one second each)",
            counted(unchecked.len(), "active monitor"),
            listed(names)
        ));
    }
    if !unwanted.is_empty() {
        let id = |known: &Known| known.id.map_or(String::new(), |id| format!(" ({id})"));
        let names = unwanted.iter().map(|known| format!("`{}`{}", one_line(&known.name), id(known)));
        text.push_str(&format!(
            "\n\n{} checked by the server, but missing or paused in the database: {}\n  changed while the server ran \
             (kumadb restart), or the server uses another database",
            counted(unwanted.len(), "monitor"),
            listed(names)
        ));
    }
    text
}

fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let mut names: Vec<String> = names.take(NAMED).collect();
    names.extend((more > 0).then(|| format!("and {more} more")));
    names.join(", ")
}
