//! `kumadb monitor list`

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value as Json, json};

use super::PickArgs;
use crate::cli::Context;
use crate::cli::format::{FormatArgs, OutputFormat};
use crate::cli::observe::{Observed, SourceArgs, StatusFilter, color, mark_color, watch};
use crate::cli::table::Painted;
use crate::cli::write::pause;
use crate::engine::both;
use crate::error::{Exit, Result};
use crate::kuma::beats::read_recent;
use crate::kuma::uptime::{read_latest, read_latest_of_all};
use crate::model::state::{Monitor, MonitorConfig};
use crate::report::status::{BeatStatus, MonitorStatus};
use crate::report::strip;
use crate::report::uptime::{Unit, UptimeTally, Window, percent, percent_text, ping_text};
use crate::text::{age_words, without_credentials};
use crate::value::{local_time, rfc3339};

/// Heartbeats in the bar of a line.
const BAR: usize = 30;

#[derive(Args, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    pick: PickArgs,
    #[command(flatten)]
    filter: StatusFilter,
    #[command(flatten)]
    format: FormatArgs,
    /// Sort by this column
    #[arg(long, value_name = "COLUMN", value_enum, default_value_t)]
    sort: Sort,
    /// Show the list again every 5 seconds, or after this time
    #[arg(long, value_name = "DURATION", value_parser = pause, num_args = 0..=1, default_missing_value = "5s")]
    watch: Option<Duration>,
    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// Id
    #[default]
    Id,
    /// Name with its groups
    Name,
    /// Status, down first
    Status,
    /// Time of the last status change, newest first
    Since,
    /// Uptime, lowest first
    Uptime,
    /// Response time, longest first
    Ping,
}

/// What is listed.
struct Listed {
    observed: Observed,
    day: BTreeMap<i64, UptimeTally>,
    /// Only for the formats that show them.
    bars: BTreeMap<i64, Vec<Option<BeatStatus>>>,
}

pub fn run(args: &ListArgs, context: &mut Context<'_>) -> Result<Exit> {
    match args.watch {
        Some(pause) => watch(pause, context, |context| show(args, context)),
        None => show(args, context),
    }
}

fn show(args: &ListArgs, context: &mut Context<'_>) -> Result<Exit> {
    let format = args.format.format;
    let mut listed = args.source.read(context, |reader, name, now| {
        let window = Window::last(Unit::Minute, 1440, now);
        let pick = args.pick.pick();
        // Most of the time of a long list.
        let (observed, day) = if pick.is_empty() && args.filter.is_empty() {
            both(
                reader,
                |reader| Observed::read(reader, name, now, (pick, &args.filter)),
                |reader| read_latest_of_all(reader, &window),
            )
        } else {
            let observed = Observed::read(reader, name, now, (pick, &args.filter))?;
            let day = read_latest(reader, &observed.state.database.schema, &observed.ids, &window);
            (Ok(observed), day)
        };
        let (observed, day) = (observed?, day?);
        let recent = match format {
            OutputFormat::Wide => read_recent(reader, &observed.ids, BAR)?,
            _ => BTreeMap::new(),
        };
        let bar = |beats: Vec<crate::kuma::beats::Beat>| beats.iter().map(|beat| beat.status).collect();
        Ok(Listed { observed, day, bars: recent.into_iter().map(|(id, beats)| (id, bar(beats))).collect() })
    })?;
    context.ui.clear_screen()?;
    listed.observed.warn(&args.source, context.ui);
    listed.sort(args.sort);
    let is_empty = listed.observed.ids.is_empty();
    let none =
        if listed.observed.state.monitors.is_empty() { "no monitors yet" } else { "no monitors with this status" };
    let (document, lines) = if context.ui.is_json() {
        (json!({"monitors": listed.each(|listed, monitor| listed.document(monitor))}), Vec::new())
    } else {
        (Json::Null, listed.each(|listed, monitor| listed.line(monitor, format)))
    };
    // With thousands of monitors, the rows and the table would be in memory at the same time.
    drop(listed);
    context.ui.painted_result(&document, || {
        let around = |table| if is_empty { none.into() } else { table };
        args.format.text(headers(format), lines, around)
    })?;
    Ok(Exit::Done)
}

fn headers(format: OutputFormat) -> &'static [&'static str] {
    match format {
        OutputFormat::Table | OutputFormat::Json => &["id", "name", "type", "status", "for", "24h", "ping", "message"],
        OutputFormat::Wide => &[
            "id",
            "name",
            "type",
            "status",
            "since",
            "24h",
            "ping",
            "heartbeats",
            "every",
            "target",
            "tags",
            "message",
        ],
        OutputFormat::Csv => &[
            "id",
            "name",
            "type",
            "status",
            "since",
            "checked",
            "uptime_24h",
            "ping",
            "every",
            "target",
            "tags",
            "message",
        ],
    }
}

impl Listed {
    fn each<T>(&self, of: impl Fn(&Listed, &Monitor) -> T) -> Vec<T> {
        let monitors = self.observed.ids.iter().filter_map(|id| self.observed.state.monitors.get(id));
        monitors.map(|monitor| of(self, monitor)).collect()
    }

    fn uptime(&self, id: i64) -> Option<f64> {
        self.day.get(&id).and_then(UptimeTally::uptime)
    }

    fn sort(&mut self, by: Sort) {
        let Observed { state, last, .. } = &self.observed;
        let mut ids = self.observed.ids.clone();
        let whole = |number: Option<f64>| number.map(|number| (number * 1e6) as i64);
        match by {
            Sort::Id => {}
            Sort::Name => ids.sort_by_cached_key(|id| state.path(*id).to_lowercase()),
            Sort::Status => ids.sort_by_key(|id| MonitorStatus::of(state, *id, last.get(id))),
            Sort::Since => ids.sort_by_key(|id| std::cmp::Reverse(last.get(id).and_then(|last| last.since))),
            // Monitors without a number come last.
            Sort::Uptime => ids.sort_by_key(|id| whole(self.uptime(*id)).map_or((1, 0), |uptime| (0, uptime))),
            Sort::Ping => {
                ids.sort_by_key(|id| std::cmp::Reverse(whole(last.get(id).and_then(|last| last.ping))));
            }
        }
        self.observed.ids = ids;
    }

    fn document(&self, monitor: &Monitor) -> Json {
        let Observed { state, last, .. } = &self.observed;
        let last = last.get(&monitor.id);
        json!({
            "id": monitor.id,
            "name": monitor.name(),
            "path": state.path(monitor.id),
            "type": monitor.kind(),
            "active": monitor.active(),
            "runs": state.runs(monitor.id),
            "status": MonitorStatus::of(state, monitor.id, last).word(),
            "since": last.and_then(|last| last.since).map(rfc3339),
            "checked": last.map(|last| rfc3339(last.at)),
            "message": last.map(|last| &last.message),
            "ping": last.and_then(|last| last.ping),
            "uptime_24h": self.uptime(monitor.id),
            "parent": monitor.parent(),
            "interval": monitor.row.int("interval"),
            "target": target(monitor),
            "tags": tags(state, monitor),
        })
    }

    fn line(&self, monitor: &Monitor, format: OutputFormat) -> Vec<Painted> {
        let Observed { state, last, .. } = &self.observed;
        let last = last.get(&monitor.id);
        let status = MonitorStatus::of(state, monitor.id, last);
        let plain = |text: String| Painted::from(text);
        let since = last.and_then(|last| last.since);
        let ping = last.and_then(|last| last.ping);
        let message = last.map_or(String::new(), |last| last.message.clone());
        let every = monitor.row.int("interval").map_or(String::new(), |seconds| format!("{seconds}s"));
        let mut cells = vec![
            plain(monitor.id.to_string()),
            plain(state.path(monitor.id)),
            plain(monitor.kind().to_owned()),
            Painted::new(status.word(), color(status)),
        ];
        let uptime = self.uptime(monitor.id);
        let rest = [every, target(monitor), tags(state, monitor).join(", ")];
        match format {
            OutputFormat::Table | OutputFormat::Json => {
                let lasting = self.observed.lasting(monitor.id).map_or("-".into(), age_words);
                // The message of a monitor that is up, or is not checked, is not news.
                let is_news =
                    !matches!(status, MonitorStatus::Up | MonitorStatus::Paused | MonitorStatus::PausedByGroup);
                let message = if is_news { message } else { String::new() };
                cells.extend([lasting, percent_text(uptime), ping_text(ping), message].map(plain));
            }
            OutputFormat::Wide => {
                let since = since.map_or("-".into(), local_time);
                cells.extend([since, percent_text(uptime), ping_text(ping)].map(plain));
                let bar = self.bars.get(&monitor.id).map_or(String::new(), |bar| strip::text(bar));
                cells.push(Painted::each(bar, mark_color));
                cells.extend(rest.map(plain));
                cells.push(plain(message));
            }
            OutputFormat::Csv => {
                let uptime = uptime.map_or(String::new(), |uptime| format!("{:.2}", percent(uptime)));
                let times = [since, last.map(|last| last.at)].map(|at| at.map_or(String::new(), rfc3339));
                cells.extend(times.map(plain));
                cells.extend([uptime, ping.map_or(String::new(), |ping| ping.to_string())].map(plain));
                cells.extend(rest.map(plain));
                cells.push(plain(message));
            }
        }
        cells
    }
}

/// What the monitor checks, in a few words.
fn target(monitor: &Monitor) -> String {
    let text = |column: &str| monitor.row.text(column).filter(|text| !text.is_empty());
    let target = match (text("hostname"), monitor.row.int("port"), text("url")) {
        (Some(host), Some(port), _) => format!("{host}:{port}"),
        (Some(host), None, _) => host.to_owned(),
        (None, _, Some(url)) if url != "https://" => url.to_owned(),
        _ => String::new(),
    };
    without_credentials(&target)
}

fn tags(state: &MonitorConfig, monitor: &Monitor) -> Vec<String> {
    let name = |tag: i64| {
        state.tags.iter().find(|row| row.int("id") == Some(tag)).and_then(|row| row.text("name")).unwrap_or("?")
    };
    monitor
        .tags
        .iter()
        .map(|link| {
            if link.value.is_empty() { name(link.tag).to_owned() } else { format!("{}={}", name(link.tag), link.value) }
        })
        .collect()
}
