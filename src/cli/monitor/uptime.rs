//! `kumadb monitor uptime`

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use serde_json::{Value as Json, json};

use super::PickArgs;
use super::outages::read_outages;
use super::span::SpanArgs;
use crate::cli::Context;
use crate::cli::format::{FormatArgs, OutputFormat};
use crate::cli::observe::{Observed, SourceArgs, StatusFilter};
use crate::engine::Reader;
use crate::error::{Exit, Result};
use crate::kuma::uptime::read_tallies;
use crate::report::outage::Outage;
use crate::report::uptime::{UptimeTally, Window, percent, percent_text, ping_text};
use crate::text::duration_words;
use crate::value::{local_time, rfc3339};

#[derive(Args, Debug)]
pub struct UptimeArgs {
    #[command(flatten)]
    pick: PickArgs,
    #[command(flatten)]
    filter: StatusFilter,
    #[command(flatten)]
    span: SpanArgs,
    /// Show the average of the monitors in each group
    #[arg(long)]
    by_group: bool,
    #[command(flatten)]
    format: FormatArgs,
    #[command(flatten)]
    pub source: SourceArgs,
}

/// The report: monitors or groups, each with its numbers in every window.
struct Report {
    windows: Vec<(String, Window)>,
    /// Whether the window was chosen, so that there is one, with its outages.
    is_chosen: bool,
    lines: Vec<UptimeRow>,
}

/// A monitor, or the average of a group.
#[derive(Default)]
struct UptimeRow {
    id: Option<i64>,
    name: String,
    /// In each window; `None` without a check.
    uptimes: Vec<Option<f64>>,
    /// Average response time in each window, in milliseconds.
    pings: Vec<Option<f64>>,
    outages: usize,
    down: TimeDelta,
    monitors: usize,
}

pub fn run(args: &UptimeArgs, context: &mut Context<'_>) -> Result<Exit> {
    let report = args.source.read(context, |reader, name, now| read(reader, name, now, args))?;
    context.ui.raw_result(&report.document(args.by_group), || {
        let lines = report.lines.iter().map(|line| report.cells(line, args)).collect::<Vec<_>>();
        let around = |table: String| match (report.lines.is_empty(), report.is_chosen) {
            (true, _) => "no monitors yet".into(),
            (false, true) => format!("{}\n\n{table}", report.title()),
            (false, false) => table,
        };
        args.format.text(&report.headers(args), lines, around)
    })?;
    Ok(Exit::Done)
}

fn read(reader: &mut dyn Reader, name: &str, now: DateTime<Utc>, args: &UptimeArgs) -> Result<Report> {
    let chosen = args.span.window(now)?;
    let windows: Vec<(String, Window)> = match chosen {
        Some(window) => vec![("uptime".into(), window)],
        None => ["24h", "7d", "30d", "365d"].map(str::to_owned).into_iter().zip(Window::pages(now)).collect(),
    };
    let observed = Observed::read(reader, name, now, (args.pick.pick(), &args.filter))?;
    let schema = &observed.state.database.schema;
    let mut tallies = Vec::new();
    for (_, window) in &windows {
        tallies.push(read_tallies(reader, schema, &observed.ids, window)?);
    }
    let outages = match chosen {
        Some(window) => read_outages(reader, &observed, window.from, window.to)?,
        None => BTreeMap::new(),
    };
    let line = |id: &i64| {
        let own: &[Outage] = outages.get(id).map_or(&[], Vec::as_slice);
        let within = |outage: &Outage| chosen.map_or(TimeDelta::zero(), |window| outage.within(window.from, window.to));
        let of = |value: fn(&UptimeTally) -> Option<f64>| {
            tallies.iter().map(|tally| tally.get(id).and_then(value)).collect::<Vec<_>>()
        };
        UptimeRow {
            id: Some(*id),
            name: observed.state.path(*id),
            uptimes: of(UptimeTally::uptime),
            pings: of(UptimeTally::ping),
            outages: own.len(),
            down: own.iter().map(within).sum(),
            monitors: 1,
        }
    };
    let lines = if args.by_group { group(&observed, &line) } else { observed.ids.iter().map(line).collect() };
    Ok(Report { windows, is_chosen: chosen.is_some(), lines })
}

/// The averages of the monitors of each group, groups themselves not counted.
fn group(observed: &Observed, line: &dyn Fn(&i64) -> UptimeRow) -> Vec<UptimeRow> {
    let monitors = &observed.state.monitors;
    let mut groups: BTreeMap<String, Vec<UptimeRow>> = BTreeMap::new();
    for id in observed.ids.iter().filter(|id| monitors.get(id).is_some_and(|monitor| monitor.kind() != "group")) {
        let parent = monitors.get(id).and_then(|monitor| monitor.parent());
        let name = parent.map_or_else(|| "(no group)".to_owned(), |parent| observed.state.path(parent));
        groups.entry(name).or_default().push(line(id));
    }
    groups.into_iter().map(|(name, lines)| average(name, &lines)).collect()
}

fn average(name: String, lines: &[UptimeRow]) -> UptimeRow {
    let mean = |of: fn(&UptimeRow) -> &Vec<Option<f64>>| {
        let windows = lines.first().map_or(0, |line| of(line).len());
        let mean = |at: usize| {
            let known: Vec<f64> = lines.iter().filter_map(|line| of(line)[at]).collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        (0..windows).map(mean).collect()
    };
    UptimeRow {
        id: None,
        name,
        uptimes: mean(|line| &line.uptimes),
        pings: mean(|line| &line.pings),
        outages: lines.iter().map(|line| line.outages).sum(),
        down: lines.iter().map(|line| line.down).sum(),
        monitors: lines.len(),
    }
}

impl Report {
    fn title(&self) -> String {
        let (_, window) = &self.windows[0];
        format!("uptime from {} to {}", local_time(window.from), local_time(window.to))
    }

    fn headers(&self, args: &UptimeArgs) -> Vec<&str> {
        let mut headers = if args.by_group { vec!["group", "monitors"] } else { vec!["id", "name"] };
        headers.extend(self.windows.iter().map(|(name, _)| name.as_str()));
        if self.is_chosen {
            headers.extend(["ping", "outages", "down"]);
        }
        headers
    }

    fn cells(&self, line: &UptimeRow, args: &UptimeArgs) -> Vec<String> {
        let is_csv = args.format.format == OutputFormat::Csv;
        let mut cells = if args.by_group {
            vec![line.name.clone(), line.monitors.to_string()]
        } else {
            vec![line.id.map_or(String::new(), |id| id.to_string()), line.name.clone()]
        };
        let uptime = |uptime: &Option<f64>| {
            if is_csv {
                uptime.map_or(String::new(), |uptime| format!("{:.2}", percent(uptime)))
            } else {
                percent_text(*uptime)
            }
        };
        cells.extend(line.uptimes.iter().map(uptime));
        if self.is_chosen {
            let ping = line.pings[0];
            cells.extend(if is_csv {
                [
                    ping.map_or(String::new(), |ping| format!("{ping:.2}")),
                    line.outages.to_string(),
                    line.down.num_seconds().to_string(),
                ]
            } else {
                [ping_text(ping), line.outages.to_string(), down_text(line.down)]
            });
        }
        cells
    }

    fn document(&self, by_group: bool) -> Json {
        let of = |values: &[Option<f64>]| -> Json {
            self.windows
                .iter()
                .zip(values)
                .map(|((name, _), value)| (name.clone(), json!(value)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let line = |line: &UptimeRow| {
            let mut document = match line.id {
                Some(id) => json!({"id": id, "path": line.name}),
                None => json!({"group": line.name, "monitors": line.monitors}),
            };
            if self.is_chosen {
                document["uptime"] = json!(line.uptimes[0]);
                document["ping"] = json!(line.pings[0]);
                document["outages"] = json!(line.outages);
                document["down_seconds"] = json!(line.down.num_seconds());
            } else {
                document["uptime"] = of(&line.uptimes);
                document["ping"] = of(&line.pings);
            }
            document
        };
        let lines: Vec<Json> = self.lines.iter().map(line).collect();
        let mut document = json!({});
        document[if by_group { "groups" } else { "monitors" }] = json!(lines);
        if self.is_chosen {
            let (_, window) = &self.windows[0];
            document["from"] = json!(rfc3339(window.from));
            document["to"] = json!(rfc3339(window.to));
        }
        document
    }
}

/// A sum of outages; `-` for none.
fn down_text(down: TimeDelta) -> String {
    if down.num_seconds() > 0 { duration_words(down) } else { "-".into() }
}
