//! The log of the server.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::{Container, Docker};
use crate::error::Result;

/// Maximum number of lines in an error.
const LAST: usize = 6;

/// How many lines are searched for error lines.
const SEARCHED: u32 = 400;

/// Maximum length of a line, in characters.
const WIDEST: usize = 500;

/// How often a log that is followed checks whether to stop.
const TICK: Duration = Duration::from_millis(100);

/// Which lines of a log.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogRange {
    /// This many last ones; `None` for all.
    pub tail: Option<u32>,
    /// Only those written at or after this time, by the engine's clock.
    pub since: Option<DateTime<Utc>>,
}

impl Docker {
    /// The lines of `range` of the container's log, oldest first, without colours.
    pub fn logs(&self, container: &Container, range: LogRange) -> Result<Vec<String>> {
        let options = options(range).build();
        let pieces = self.client.logs(&container.id, Some(options)).try_collect::<Vec<_>>();
        let pieces = self.block(pieces).map_err(|error| self.failed("read the log of", &container.name, &error))?;
        let mut lines = Vec::new();
        for piece in pieces {
            for line in String::from_utf8_lossy(piece.as_ref()).lines() {
                lines.extend(text_since(line, range.since).map(|text| (timed(line).0, text)));
            }
        }
        // Both streams in the order of their time stamps.
        lines.sort_by_key(|(time, _)| *time);
        Ok(lines.into_iter().map(|(_, text)| text).collect())
    }

    /// Passes the lines that [`logs`](Docker::logs) returns to `line`, then each new one as it is written, until the
    /// container ends or `goes_on` returns false. `line` returns false when nothing reads the lines any more.
    pub fn follow_logs(
        &self,
        container: &Container,
        range: LogRange,
        goes_on: &mut dyn FnMut() -> bool,
        line: &mut dyn FnMut(&str) -> Result<bool>,
    ) -> Result<()> {
        let options = options(range).follow(true).build();
        let mut pieces = Box::pin(self.client.logs(&container.id, Some(options)));
        // A long line comes in pieces, and the two streams may come in turns.
        let mut open = [String::new(), String::new()];
        while goes_on() {
            let piece = match self.block(async { tokio::time::timeout(TICK, pieces.next()).await }) {
                Err(_) => continue,
                Ok(None) => break,
                Ok(Some(piece)) => piece.map_err(|error| self.failed("read the log of", &container.name, &error))?,
            };
            let stream = &mut open[usize::from(matches!(piece, LogOutput::StdErr { .. }))];
            stream.push_str(&String::from_utf8_lossy(piece.as_ref()));
            while let Some(end) = stream.find('\n') {
                let whole: String = stream.drain(..=end).collect();
                if let Some(text) = text_since(whole.trim_end_matches('\n'), range.since)
                    && !line(&text)?
                {
                    return Ok(());
                }
            }
        }
        for rest in open.iter().filter(|rest| !rest.is_empty()) {
            text_since(rest, range.since).map_or(Ok(true), |text| line(&text))?;
        }
        Ok(())
    }

    /// The last lines since `since` that look like errors, else the last lines; empty when the log cannot be read.
    pub fn last_errors(&self, container: &Container, since: Option<DateTime<Utc>>) -> Vec<String> {
        let mut lines = self.logs(container, LogRange { tail: Some(SEARCHED), since }).unwrap_or_default();
        lines.retain(|line| !line.trim().is_empty());
        if lines.iter().any(|line| is_error(line)) {
            lines.retain(|line| is_error(line));
        }
        lines.drain(..lines.len().saturating_sub(LAST));
        lines
    }
}

fn options(LogRange { tail, since }: LogRange) -> LogsOptionsBuilder {
    LogsOptionsBuilder::default()
        .stdout(true)
        .stderr(true)
        .timestamps(true)
        // Whole seconds only; the rest is sorted out by `text_since`.
        .since(since.map_or(0, |since| since.timestamp().clamp(0, i32::MAX.into()) as i32))
        .tail(&tail.map_or_else(|| "all".to_owned(), |tail| tail.to_string()))
}

/// The time in front of a line of the log, and the line without it.
fn timed(line: &str) -> (Option<DateTime<Utc>>, &str) {
    let (stamp, text) = line.split_once(' ').unwrap_or((line, ""));
    match DateTime::parse_from_rfc3339(stamp) {
        Ok(time) => (Some(time.to_utc()), text),
        Err(_) => (None, line),
    }
}

/// What is shown of a line; nothing when it was written before `since`.
fn text_since(line: &str, since: Option<DateTime<Utc>>) -> Option<String> {
    let (time, text) = timed(line);
    let is_old = time.zip(since).is_some_and(|(time, since)| time < since);
    (!is_old).then(|| without_colours(text))
}

/// Whether a line of the server, of Node or of MariaDB reports an error.
fn is_error(line: &str) -> bool {
    // The frames of a stack trace do not name an error.
    !line.trim_start().starts_with("at ")
        && ["] ERROR:", "Error:", "[ERROR]", "FATAL", "fatal", "SQLITE_", "ENOENT", "EACCES", "ENOSPC"]
            .iter()
            .any(|mark| line.contains(mark))
}

/// `line` without terminal escapes and control characters, truncated.
fn without_colours(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => {
                // ESC [ parameters letter
                if chars.next() == Some('[') {
                    chars.by_ref().find(|c| c.is_ascii_alphabetic());
                }
            }
            c if c.is_control() && c != '\t' => {}
            c => text.push(c),
        }
    }
    match text.char_indices().nth(WIDEST) {
        Some((at, _)) => format!("{} …", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_go_and_words_stay() {
        let line = "\u{1b}[36m2026-01-31T08:00:00Z\u{1b}[0m [\u{1b}[35mDB\u{1b}[0m] \u{1b}[31mERROR:\u{1b}[0m no\r";
        assert_eq!(without_colours(line), "2026-01-31T08:00:00Z [DB] ERROR: no");
        assert!(without_colours(&"ü".repeat(2000)).chars().count() < 510);
    }

    #[test]
    fn errors_are_distinguished_from_other_output() {
        for line in ["2026-01-31T08:00:00Z [DB] ERROR: x", "Error: listen EADDRINUSE", "… [ERROR] InnoDB: y"] {
            assert!(is_error(line), "{line}");
        }
        for line in ["2026-01-31T08:00:00Z [MONITOR] WARN: x", "    at Error: (file.js:1)", "[SERVER] INFO: Listening"]
        {
            assert!(!is_error(line), "{line}");
        }
    }
}
