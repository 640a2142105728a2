//! The time that a report is about: `--since`, `--from`, `--to`.

use chrono::{DateTime, Local, Utc};
use clap::Args;

use crate::backup::datetime::parse_datetime;
use crate::error::{Error, Result};
use crate::report::uptime::Window;

#[derive(Args, Debug, Default)]
pub struct SpanArgs {
    /// Report the time up to now: 24h, 7d, 2w, 3M, 1y, or a date
    #[arg(long, value_name = "TIME", conflicts_with = "from")]
    since: Option<String>,
    /// Report the time from here: '2026-11-01', '2026-11-24 18:30', 'monday 8:00'
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Report the time up to here [default: now]
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
}

impl SpanArgs {
    /// The window of these options; `None` if none is set.
    pub fn window(&self, now: DateTime<Utc>) -> Result<Option<Window>> {
        let at = |option: &str, text: &String| {
            parse_datetime(text, now.with_timezone(&Local)).map_err(|why| Error::problem(option, why))
        };
        let to = self.to.as_ref().map(|text| at("--to", text)).transpose()?;
        if let (Some(text), None) = (&self.since, to)
            && let Some(window) = Window::badge(text, now)
        {
            return Ok(Some(window));
        }
        let from = match (&self.since, &self.from) {
            (Some(text), _) => at("--since", text)?,
            (None, Some(text)) => at("--from", text)?,
            (None, None) if to.is_some() => {
                return Err(Error::problem("--to", "requires --from, for example --from 2026-11-01"));
            }
            (None, None) => return Ok(None),
        };
        let to = to.unwrap_or(now).min(now);
        if from >= to {
            let why =
                format!("begins at {} and ends at {}", crate::value::local_time(from), crate::value::local_time(to));
            return Err(Error::problem("the time of the report", why));
        }
        Ok(Some(Window::between(from, to, now)))
    }
}
