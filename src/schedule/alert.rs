//! Alerts about runs: push monitors, Healthchecks, ntfy and webhooks. The URL of each contains a token, so no error repeats it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::{Value as Json, json};
use ureq::http::Uri;
use ureq::{Agent, RequestBuilder};

use super::result::RunResult;
use crate::config::{Alert, AlertKind};
use crate::error::{Error, JobError, Result, reason};
use crate::value::Secret;

/// Timeout of an alert.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum length of a pushed message; the server keeps 255 characters of a heartbeat's (read in 2.5.3).
const PUSHED: usize = 250;

/// Maximum length of a message of ntfy, in characters of up to four bytes: longer ones than 4,096 bytes become attachments.
const PUBLISHED: usize = 1_000;

/// A token that no push monitor has, and a UUID that no check of Healthchecks has.
const NO_TOKEN: &str = "kumadb-config-check";
const NO_CHECK: &str = "00000000-0000-0000-0000-000000000000";

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEvent {
    /// A run starts.
    Started,
    /// A run was successful.
    Succeeded,
    /// A run failed.
    Failed,
}

/// Reports a run of `job` to the service of `alert`, if this event is reported there.
///
/// # Errors
/// The file with the URL cannot be read; the service cannot be reached, or rejected the message.
pub fn send(alert: &Alert, event: RunEvent, job: &str, ended: &RunResult) -> Result<()> {
    let url = alert.url.read()?;
    match (alert.kind, event) {
        (AlertKind::Push, RunEvent::Started) | (AlertKind::Ntfy, RunEvent::Started | RunEvent::Succeeded) => Ok(()),
        (AlertKind::Push, _) => push(&url, ended),
        (AlertKind::Webhook, _) => {
            let request = to(&url, Agent::post).content_type("application/json");
            request.send(document(event, job, ended).to_string()).map(drop).map_err(failed(alert.kind))
        }
        (AlertKind::Healthchecks, _) => {
            let (suffix, body) = match event {
                RunEvent::Started => ("/start", String::new()),
                RunEvent::Succeeded => ("", ended.words()),
                RunEvent::Failed => ("/fail", ended.words()),
            };
            let (base, query) = split(&url);
            let url = Secret::new(format!("{}{suffix}{query}", base.trim_end_matches('/')));
            to(&url, Agent::post).send(body).map(drop).map_err(failed(alert.kind))
        }
        (AlertKind::Ntfy, _) => {
            let request = to(&url, Agent::post).query("title", format!("Backup job {job} failed"));
            let message: String = ended.words().chars().take(PUBLISHED).collect();
            let request = request.query("priority", "high").query("tags", "warning");
            request.send(message).map(drop).map_err(failed(alert.kind))
        }
    }
}

/// The JSON of a webhook.
fn document(event: RunEvent, job: &str, ended: &RunResult) -> Json {
    let mut document = ended.document(job);
    let (name, message) = match event {
        RunEvent::Started => ("started", String::new()),
        RunEvent::Succeeded => ("succeeded", ended.words()),
        RunEvent::Failed => ("failed", ended.words()),
    };
    document["event"] = json!(name);
    if event == RunEvent::Started {
        document["ok"] = Json::Null;
    }
    document["message"] = json!(message);
    document["at"] = json!(ended.at);
    document
}

/// Pushes to a push monitor: up with the summary, or down with the error, and the duration of the run as the ping in
/// milliseconds.
/// The URL may be the one that the server shows; its status, message and ping are replaced.
fn push(url: &Secret, ended: &RunResult) -> Result<()> {
    let message: String = ended.words().chars().take(PUSHED).collect();
    let request = to(&Secret::new(split(url).0), Agent::get)
        .query("status", if ended.is_good() { "up" } else { "down" })
        .query("msg", message)
        .query("ping", ended.took.as_millis().to_string());
    let answered = request.call().and_then(|mut answer| answer.body_mut().read_to_string());
    let text = answered.map_err(failed(AlertKind::Push))?;
    match serde_json::from_str::<Json>(&text) {
        Ok(answer) if answer["ok"] == Json::Bool(true) => Ok(()),
        Ok(answer) => Err(wrong(AlertKind::Push, answer["msg"].as_str().unwrap_or("the heartbeat was rejected"))),
        Err(_) => Err(wrong(AlertKind::Push, "the response is not from Uptime Kuma")),
    }
}

/// Fails unless the URL of `alert` is valid.
pub fn check_url(alert: &Alert) -> Result<()> {
    let url = alert.url.read()?;
    let is_valid = url.reveal().parse::<Uri>().is_ok_and(|uri| {
        uri.host().is_some() && uri.scheme_str().is_some_and(|scheme| ["http", "https"].contains(&scheme))
    });
    if !is_valid {
        return Err(wrong(alert.kind, "invalid URL"));
    }
    match alert.kind {
        AlertKind::Push => push_base(&url).map(drop),
        _ => Ok(()),
    }
}

/// Checks whether the service of `alert` can be reached, without sending an alert, and returns what was seen. The token
/// in the URL is not checked.
///
/// # Errors
/// There is no response; it is not from an Uptime Kuma; a proxy reports that the server behind it is not running.
pub fn reach(alert: &Alert) -> Result<String> {
    let url = alert.url.read()?;
    let request = match alert.kind {
        AlertKind::Push => return reach_push(&url),
        // Every method is a ping.
        AlertKind::Healthchecks => {
            let base = split(&url).0;
            let parent = base.trim_end_matches('/').rsplit_once('/').map_or(base.as_str(), |(parent, _)| parent);
            to(&Secret::new(format!("{parent}/{NO_CHECK}")), Agent::get)
        }
        AlertKind::Ntfy | AlertKind::Webhook => to(&url, Agent::options),
    };
    let request = request.config().http_status_as_error(false).build();
    match request.call().map_err(failed(alert.kind))?.status().as_u16() {
        status @ 502..=504 => {
            let why = format!("the response was {status}: the server behind the proxy is not running");
            Err(wrong(alert.kind, &why))
        }
        status => Ok(format!("HTTP {status} (no alert was sent)")),
    }
}

/// Sends a push for a monitor that does not exist: no heartbeat is written, and every proxy on the way lets pushes
/// through.
fn reach_push(url: &Secret) -> Result<String> {
    let address = Secret::new(format!("{}/api/push/{NO_TOKEN}", push_base(url)?));
    let request = to(&address, Agent::get).config().http_status_as_error(false).build();
    let answered = request.call().and_then(|mut answer| answer.body_mut().read_to_string());
    match serde_json::from_str::<Json>(&answered.map_err(failed(AlertKind::Push))?) {
        Ok(answer) if answer["ok"].is_boolean() => Ok("reachable (nothing was pushed)".to_owned()),
        _ => Err(wrong(AlertKind::Push, "the response is not from Uptime Kuma")),
    }
}

/// The address of the server of a push URL.
fn push_base(url: &Secret) -> Result<String> {
    let base = split(url).0;
    let why = "its URL does not contain `/api/push/TOKEN`: copy it from the push monitor in the web UI";
    base.split_once("/api/push/").map(|(base, _)| base.to_owned()).ok_or_else(|| wrong(AlertKind::Push, why))
}

/// A URL without its query, and the query with its `?`.
fn split(url: &Secret) -> (String, String) {
    let url = url.reveal().split('#').next().unwrap_or_default();
    let at = url.find('?').unwrap_or(url.len());
    (url[..at].to_owned(), url[at..].to_owned())
}

/// A request to `url`, with its user and password as the credentials of basic authentication.
fn to<B>(url: &Secret, method: impl Fn(&Agent, String) -> RequestBuilder<B>) -> RequestBuilder<B> {
    let agent: Agent = Agent::config_builder().timeout_global(Some(TIMEOUT)).user_agent("kumadb").build().into();
    let url = url.reveal();
    let parts = url.split_once("://").and_then(|(scheme, rest)| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (login, host) = rest[..end].rsplit_once('@')?;
        Some((login, format!("{scheme}://{host}{}", &rest[end..])))
    });
    match parts {
        None => method(&agent, url.to_owned()),
        Some((login, url)) => {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
            let login = [decoded(user), decoded(password)].join(&b':');
            method(&agent, url).header("Authorization", format!("Basic {}", STANDARD.encode(login)))
        }
    }
}

fn failed(kind: AlertKind) -> impl Fn(ureq::Error) -> Error {
    move |error| wrong(kind, &reason(&error))
}

fn wrong(kind: AlertKind, why: &str) -> Error {
    Error::Job(JobError::Notification { what: kind.what().to_owned(), why: why.to_owned() })
}
