//! `kumadb monitor outages`

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use serde_json::json;

use super::PickArgs;
use super::span::SpanArgs;
use crate::cli::Context;
use crate::cli::format::{FormatArgs, OutputFormat};
use crate::cli::observe::{Observed, SourceArgs, StatusFilter};
use crate::cli::paint::Color;
use crate::cli::table::Painted;
use crate::engine::Reader;
use crate::error::{Exit, Result};
use crate::kuma::beats::read_changes;
use crate::report::outage::{Outage, outages};
use crate::report::status::MonitorStatus;
use crate::report::uptime::{Unit, Window};
use crate::text::{counted, duration_words};
use crate::value::{local_time, rfc3339};

#[derive(Args, Debug)]
pub struct OutagesArgs {
    #[command(flatten)]
    pick: PickArgs,
    #[command(flatten)]
    filter: StatusFilter,
    #[command(flatten)]
    span: SpanArgs,
    #[command(flatten)]
    format: FormatArgs,
    #[command(flatten)]
    pub source: SourceArgs,
}

/// The outages of the selected monitors from one time to another, by monitor.
pub fn read_outages(
    reader: &mut dyn Reader,
    observed: &Observed,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<BTreeMap<i64, Vec<Outage>>> {
    let changes = read_changes(reader, &observed.ids, from)?;
    let found = changes.into_iter().map(|(id, changes)| {
        // A monitor that is not down any more, because it is paused, has no heartbeat that ends its outage.
        let stopped = observed.last.get(&id).map(|last| last.at).filter(|_| observed.status(id) != MonitorStatus::Down);
        (id, outages(&changes, from, to, stopped))
    });
    Ok(found.filter(|(_, outages)| !outages.is_empty()).collect())
}

pub fn run(args: &OutagesArgs, context: &mut Context<'_>) -> Result<Exit> {
    let (found, observed, window) = args.source.read(context, |reader, name, now| {
        let window = args.span.window(now)?.unwrap_or_else(|| Window::last(Unit::Hour, 168, now));
        let observed = Observed::read(reader, name, now, (args.pick.pick(), &args.filter))?;
        Ok((read_outages(reader, &observed, window.from, window.to)?, observed, window))
    })?;
    observed.warn(&args.source, context.ui);
    let now = window.to;
    let mut lines: Vec<(i64, &Outage)> =
        found.iter().flat_map(|(id, outages)| outages.iter().map(move |outage| (*id, outage))).collect();
    lines.sort_by_key(|(id, outage)| (std::cmp::Reverse(outage.start), *id));
    let outage = |(id, outage): &(i64, &Outage)| {
        json!({
            "id": id, "path": observed.state.path(*id), "start": rfc3339(outage.start),
            "end": outage.end.map(rfc3339), "seconds": outage.duration(now).num_seconds(), "message": outage.message,
        })
    };
    let document = json!({
        "from": rfc3339(window.from), "to": rfc3339(window.to),
        "outages": lines.iter().map(outage).collect::<Vec<_>>(),
    });
    let down: TimeDelta = lines.iter().map(|(_, outage)| outage.within(window.from, window.to)).sum();
    let summary =
        format!("{} from {} to {}", outages_text(lines.len(), down), local_time(window.from), local_time(window.to));
    context.ui.painted_result(&document, || {
        let rows = lines.iter().map(|(id, outage)| cells(*id, outage, &observed, (args.format.format, now))).collect();
        let around = |table: String| {
            if lines.is_empty() {
                format!("no outages from {} to {}", local_time(window.from), local_time(window.to))
            } else {
                format!("{table}\n\n{summary}")
            }
        };
        let headers: &[&str] = match args.format.format {
            OutputFormat::Csv => &["id", "name", "start", "end", "seconds", "message"],
            _ => &["id", "name", "start", "end", "lasted", "message"],
        };
        args.format.text(headers, rows, around)
    })?;
    Ok(Exit::Done)
}

fn cells(id: i64, outage: &Outage, observed: &Observed, (format, now): (OutputFormat, DateTime<Utc>)) -> Vec<Painted> {
    let lasted = outage.duration(now);
    let (start, end, lasted) = match format {
        OutputFormat::Csv => {
            let end = outage.end.map_or(String::new(), rfc3339);
            (rfc3339(outage.start), end.into(), lasted.num_seconds().to_string())
        }
        _ => {
            let end =
                outage.end.map_or_else(|| Painted::new("still down", Some(Color::Red)), |end| local_time(end).into());
            (local_time(outage.start), end, duration_words(lasted))
        }
    };
    vec![
        id.to_string().into(),
        observed.state.path(id).into(),
        start.into(),
        end,
        lasted.into(),
        outage.message.clone().into(),
    ]
}

/// `2 outages, 3 h 5 min down`, for a summary.
pub fn outages_text(outages: usize, down: TimeDelta) -> String {
    format!("{}, {} down", counted(outages, "outage"), duration_words(down))
}
