//! The log of a schedule: one event per line.

use std::fmt;

use chrono::{DateTime, SecondsFormat, TimeZone, Utc};
use serde_json::{Value as Json, json};

/// The level of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A single step, for detailed logs.
    Debug,
    /// Normal operation.
    Info,
    /// A problem that needs attention.
    Warn,
    /// A backup is missing or not good.
    Error,
}

/// One event.
#[derive(Clone, Debug)]
pub struct Event<'e> {
    /// How much it matters.
    pub level: Level,
    /// Its type, for programs: `snapshot_created`.
    pub kind: &'static str,
    /// The job, if any.
    pub job: Option<&'e str>,
    /// The instance, if any.
    pub instance: Option<&'e str>,
    /// The message, for people.
    pub message: String,
    /// More keys for programs: a map, or nothing.
    pub details: Json,
}

impl<'e> Event<'e> {
    /// An event of the schedule as a whole.
    pub fn new(level: Level, kind: &'static str, message: impl Into<String>) -> Event<'e> {
        Event { level, kind, job: None, instance: None, message: message.into(), details: Json::Null }
    }

    /// The same event of `job`.
    pub fn of(self, job: &'e str) -> Event<'e> {
        Event { job: Some(job), ..self }
    }

    /// The same event of `instance`.
    pub fn about(self, instance: &'e str) -> Event<'e> {
        Event { instance: Some(instance), ..self }
    }

    /// The same event with more keys for programs.
    pub fn with(self, details: Json) -> Event<'e> {
        Event { details, ..self }
    }

    /// As one line for people: `2026-11-29T03:15:00+01:00 INFO alpha/nightly: …`, without the time where the log service adds
    /// it.
    pub fn text<Z: TimeZone<Offset: fmt::Display>>(&self, at: Option<DateTime<Z>>) -> String {
        let time = at.map_or(String::new(), |at| format!("{} ", at.to_rfc3339_opts(SecondsFormat::Secs, false)));
        let subject = match (self.instance, self.job) {
            (Some(instance), Some(job)) => format!("{instance}/{job}: "),
            (Some(one), None) | (None, Some(one)) => format!("{one}: "),
            (None, None) => String::new(),
        };
        format!("{time}{} {subject}{}", self.level, self.line())
    }

    /// As one JSON document, without line breaks.
    pub fn json(&self, at: DateTime<Utc>) -> Json {
        let mut document = json!({
            "time": at.to_rfc3339_opts(SecondsFormat::Millis, true),
            "level": self.level.to_string().to_lowercase(),
            "event": self.kind,
            "job": self.job,
            "instance": self.instance,
            "message": self.line(),
        });
        if let (Some(document), Some(details)) = (document.as_object_mut(), self.details.as_object()) {
            document.extend(details.clone());
        }
        document
    }

    /// The message in one line, whatever an error contains.
    fn line(&self) -> String {
        let lines: Vec<&str> = self.message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
        lines.join("; ").chars().map(escape).collect()
    }
}

impl Level {
    /// Its priority for syslog and systemd.
    pub fn priority(self) -> u8 {
        match self {
            Level::Debug => 7,
            Level::Info => 6,
            Level::Warn => 4,
            Level::Error => 3,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
        })
    }
}
