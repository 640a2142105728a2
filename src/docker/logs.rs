//! The log of the server.

use bollard::query_parameters::LogsOptionsBuilder;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;

use super::{Container, Docker};
use crate::error::Result;

/// Maximum number of lines in an error.
const LAST: usize = 6;

/// How many lines are searched for error lines.
const SEARCHED: u32 = 400;

/// Maximum length of a line, in characters.
const WIDEST: usize = 500;

impl Docker {
    /// The last `tail` lines of the container's log, oldest first, without colours; only those written at or after
    /// `since` (by the engine's clock).
    pub fn logs(&self, container: &Container, tail: u32, since: Option<DateTime<Utc>>) -> Result<Vec<String>> {
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            // Whole seconds only; the rest is sorted out below.
            .since(since.map_or(0, |since| since.timestamp().clamp(0, i32::MAX.into()) as i32))
            .tail(&tail.to_string())
            .build();
        let pieces = self.client.logs(&container.id, Some(options)).try_collect::<Vec<_>>();
        let pieces = self.block(pieces).map_err(|error| self.failed("read the log of", &container.name, &error))?;
        let mut lines = Vec::new();
        for piece in pieces {
            for line in String::from_utf8_lossy(piece.as_ref()).lines() {
                let (stamp, text) = line.split_once(' ').unwrap_or((line, ""));
                let time = DateTime::parse_from_rfc3339(stamp).ok();
                if time.zip(since).is_some_and(|(time, since)| time < since) {
                    continue;
                }
                lines.push((time, without_colours(if time.is_some() { text } else { line })));
            }
        }
        // Both streams in the order of their time stamps.
        lines.sort_by_key(|(time, _)| *time);
        Ok(lines.into_iter().map(|(_, text)| text).collect())
    }

    /// The last lines since `since` that look like errors, else the last lines; empty when the log cannot be read.
    pub fn last_errors(&self, container: &Container, since: Option<DateTime<Utc>>) -> Vec<String> {
        let mut lines = self.logs(container, SEARCHED, since).unwrap_or_default();
        lines.retain(|line| !line.trim().is_empty());
        if lines.iter().any(|line| is_error(line)) {
            lines.retain(|line| is_error(line));
        }
        lines.drain(..lines.len().saturating_sub(LAST));
        lines
    }
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
    fn errors_are_told_from_chatter() {
        for line in ["2026-01-31T08:00:00Z [DB] ERROR: x", "Error: listen EADDRINUSE", "… [ERROR] InnoDB: y"] {
            assert!(is_error(line), "{line}");
        }
        for line in ["2026-01-31T08:00:00Z [MONITOR] WARN: x", "    at Error: (file.js:1)", "[SERVER] INFO: Listening"]
        {
            assert!(!is_error(line), "{line}");
        }
    }
}
