//! Notifications about a run: push monitor, webhook and commands.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use ureq::Agent;
use ureq::http::Uri;

use super::job::Ended;
use crate::error::{Error, JobError, Result, io_reason, reason};
use crate::text::bytes;
use crate::value::Secret;

/// Timeout of a notification.
const PATIENCE: Duration = Duration::from_secs(30);

/// Maximum length of a pushed message; the server keeps 255 characters of a heartbeat's (read in 2.5.3).
const MESSAGE: usize = 250;

/// Pushes to a push monitor: up with the summary, or down with the error. `ping` is the duration of the run in
/// milliseconds.
/// The URL may be the one that the server shows; its status, message and ping are replaced.
pub fn push(address: &Secret, ended: &Ended) -> Result<()> {
    let base = address.reveal().split(['?', '#']).next().unwrap_or_default().to_owned();
    let message: String = ended.words().chars().take(MESSAGE).collect();
    let request = agent()
        .get(base)
        .query("status", if ended.is_good() { "up" } else { "down" })
        .query("msg", message)
        .query("ping", ended.took.as_millis().to_string());
    let answered = request.call().and_then(|mut answer| answer.body_mut().read_to_string());
    let text = answered.map_err(failed("the push"))?;
    match serde_json::from_str::<Json>(&text) {
        Ok(answer) if answer["ok"] == Json::Bool(true) => Ok(()),
        Ok(answer) => Err(notice("the push", answer["msg"].as_str().unwrap_or("the heartbeat was rejected"))),
        Err(_) => Err(notice("the push", "the response is not from Uptime Kuma")),
    }
}

/// Fails unless `address` is a valid URL for a request.
pub fn check_address(what: &str, address: &Secret) -> Result<()> {
    let is_one = address.reveal().parse::<Uri>().is_ok_and(|uri| {
        uri.host().is_some() && uri.scheme_str().is_some_and(|scheme| ["http", "https"].contains(&scheme))
    });
    match is_one {
        true => Ok(()),
        false => Err(notice(what, "invalid URL")),
    }
}

/// Posts `document` to a webhook.
pub fn webhook(address: &Secret, document: &Json) -> Result<()> {
    let request = agent().post(address.reveal()).content_type("application/json");
    request.send(document.to_string()).map(drop).map_err(failed("the webhook"))
}

pub(super) fn agent() -> Agent {
    Agent::config_builder().timeout_global(Some(PATIENCE)).user_agent("kumadb").build().into()
}

/// The URL contains a token, so no error repeats it.
pub(super) fn failed(what: &'static str) -> impl Fn(ureq::Error) -> Error {
    move |error| notice(what, &reason(&error))
}

pub(super) fn notice(what: &str, why: &str) -> Error {
    Error::Job(JobError::Notification { what: what.to_owned(), why: why.to_owned() })
}

/// Runs a command of the config file, without a shell. Its environment describes the run; its output is used for the
/// error.
/// `alive` is called while it runs.
pub fn command(
    words: &[String],
    environment: &[(&str, String)],
    timeout: Duration,
    alive: &mut dyn FnMut(),
) -> Result<()> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let failed = |why: String| Error::Job(JobError::Command { program: program.clone(), why });
    let wrong = |error: std::io::Error| failed(io_reason(&error));
    let mut output: File = tempfile::tempfile().map_err(wrong)?;
    let mut child = Command::new(program)
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(wrong)?)
        .stderr(output.try_clone().map_err(wrong)?)
        .spawn()
        .map_err(wrong)?;
    let end = Instant::now() + timeout;
    let status = loop {
        match child.try_wait().map_err(wrong)? {
            Some(status) => break status,
            None if Instant::now() >= end => {
                child.kill().map_err(wrong)?;
                child.wait().map_err(wrong)?;
                return Err(failed(format!("not finished within {} s", timeout.as_secs())));
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
        alive();
    };
    if status.success() {
        return Ok(());
    }
    let mut said = Vec::new();
    output.rewind().and_then(|()| output.read_to_end(&mut said)).map_err(wrong)?;
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    Err(failed(last.map_or_else(|| status.to_string(), |line| format!("{status}: {}", line.trim()))))
}

impl Ended {
    /// The summary: `2 snapshots, 1.2 MB, 3.4 s`.
    pub fn sum(&self) -> String {
        let taken = crate::text::counted(self.taken.len(), "snapshot");
        let sum = format!("{taken}, {}, {:.1} s", bytes(self.size()), self.took.as_secs_f64());
        let removed = match self.removed {
            0 => String::new(),
            n => format!(", {n} deleted"),
        };
        format!("{sum}{removed}")
    }

    /// The message about the run: the summary, or the errors.
    pub fn words(&self) -> String {
        match self.errors.is_empty() {
            true => self.sum(),
            false => {
                let errors: Vec<String> = self.errors.iter().map(Error::to_string).collect();
                format!("{} ({})", errors.join("; "), self.sum())
            }
        }
    }
}
