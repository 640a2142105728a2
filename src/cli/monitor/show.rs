//! `kumadb monitor show`

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use serde_json::{Map, Value as Json, json};

use crate::cli::observe::{SourceArgs, color, mark_color};
use crate::cli::paint::painted;
use crate::cli::table::{Painted, Tabular as _};
use crate::cli::{Context, Ui};
use crate::engine::Reader;
use crate::error::{Error, Exit, InputError, Result};
use crate::kuma::beats::{Beat, read_last_beats, read_last_changes, read_recent};
use crate::kuma::expiry::{read_certificates, read_domain};
use crate::kuma::read::{Columns, read_monitors, read_shown_state};
use crate::kuma::uptime::{read_buckets, read_tallies};
use crate::model::state::{Monitor, MonitorConfig};
use crate::model::{Field, ValueShape, field, kind, render};
use crate::plan::pick::Pick;
use crate::report::outage::StatusChange;
use crate::report::status::{LastBeat, MonitorStatus};
use crate::report::uptime::{UptimeBucket, UptimeTally, Window, percent_text, ping_text};
use crate::report::{chart, strip};
use crate::schema;
use crate::text::{age_words, duration_words, one_line, without_credentials};
use crate::value::{Value, local_time, rfc3339};

/// Heartbeats in the bar, and columns of the chart.
const BAR: usize = 60;

/// Lines of the chart.
const ROWS: usize = 5;

/// Status changes that are shown.
const CHANGES: usize = 10;

/// The windows of the page of a monitor.
const PAGES: [&str; 4] = ["24h", "7d", "30d", "365d"];

#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Select the monitor by id, name or path (Group/Name or /Name)
    monitor: String,
    /// Show passwords and tokens
    #[arg(long)]
    secrets: bool,
    /// Show empty fields and those of other types, too
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    pub source: SourceArgs,
}

/// What is shown.
struct Shown {
    state: MonitorConfig,
    monitor: Monitor,
    now: DateTime<Utc>,
    last: Option<LastBeat>,
    recent: Vec<Beat>,
    changes: Vec<StatusChange>,
    tallies: [UptimeTally; 4],
    buckets: Vec<UptimeBucket>,
    certificate: Option<DateTime<Utc>>,
    domain: Option<DateTime<Utc>>,
}

/// Whether `known` is used by monitors of type `name`; for unknown types every field may be.
fn concerns(name: &str, known: &Field) -> bool {
    let Some(kind) = kind(name) else { return true };
    matches!(known.shape, ValueShape::Server | ValueShape::Kind) || kind.has(known.column, schema::newest())
}

pub fn run(args: &ShowArgs, context: &mut Context<'_>) -> Result<Exit> {
    let shown = args.source.read(context, |reader, name, now| read(reader, name, now, &args.monitor))?;
    let (mut document, rows) = fields(args, &shown);
    document.insert("path".into(), json!(shown.state.path(shown.monitor.id)));
    let mut result = json!({"monitor": document});
    if let (Json::Object(result), Json::Object(status)) = (&mut result, shown.document()) {
        result.extend(status);
    }
    context.ui.painted_result(&result, || {
        let parts =
            [shown.summary(), shown.chart(), shown.changes_table(), Ui::table(&["field", "value"], in_lines(rows))];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
    })?;
    Ok(Exit::Done)
}

/// A value of several lines gets a row for each. The mark keeps a line from looking like one of another program.
fn in_lines(rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let split = |row: Vec<String>| -> Vec<Vec<String>> {
        let name = |at: usize| if at == 0 { row[0].clone() } else { "  |".to_owned() };
        if row[1].contains('\n') {
            row[1].lines().enumerate().map(|(at, line)| vec![name(at), line.to_owned()]).collect()
        } else {
            vec![row]
        }
    };
    rows.into_iter().flat_map(split).collect()
}

fn read(reader: &mut dyn Reader, name: &str, now: DateTime<Utc>, desired: &str) -> Result<Shown> {
    let state = read_shown_state(reader, name)?;
    let ids = Pick { named: vec![desired.to_owned()], ..Pick::default() }.ids(&state)?;
    let schema = &state.database.schema;
    let monitors = read_monitors(reader, schema, Columns::All, Some(&ids))?;
    let Some((id, monitor)) = monitors.into_iter().next() else {
        return Err(Error::Input(InputError::NoMonitor { what: format!("`{desired}`") }));
    };
    let one = [id];
    let windows = Window::pages(now);
    let mut tallies = [UptimeTally::default(); 4];
    for (tally, window) in tallies.iter_mut().zip(&windows) {
        *tally = read_tallies(reader, schema, &one, window)?.remove(&id).unwrap_or_default();
    }
    Ok(Shown {
        last: read_last_beats(reader)?.remove(&id),
        recent: read_recent(reader, &one, BAR)?.remove(&id).unwrap_or_default(),
        changes: read_last_changes(reader, id, CHANGES)?,
        buckets: read_buckets(reader, schema, &one, &windows[0])?.remove(&id).unwrap_or_default(),
        certificate: read_certificates(reader, schema)?.remove(&id),
        domain: read_domain(reader, schema, &host(&monitor))?,
        tallies,
        state,
        monitor,
        now,
    })
}

/// The host that the monitor checks.
fn host(monitor: &Monitor) -> String {
    let text = |column: &str| monitor.row.text(column).unwrap_or_default();
    match text("hostname") {
        "" => {
            let url = text("url");
            let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let host = authority.rsplit('@').next().unwrap_or_default();
            host.split(':').next().unwrap_or_default().to_owned()
        }
        host => host.to_owned(),
    }
}

/// The fields of the monitor, as JSON and as lines of a table.
fn fields(args: &ShowArgs, shown: &Shown) -> (Map<String, Json>, Vec<Vec<String>>) {
    let (state, monitor) = (&shown.state, &shown.monitor);
    let mut document = Map::new();
    let mut rows = Vec::new();
    for (column, value) in monitor.row.iter() {
        let value = &match value {
            Value::Text(text) if !args.secrets => without_credentials(text).into(),
            value => value.clone(),
        };
        let known = field(column);
        let hidden = known.is_some_and(|known| known.secret) && !args.secrets;
        let empty = value.is_nothing();
        let text = match (hidden && !empty, known) {
            (true, _) => "(secret)".to_owned(),
            (false, Some(known)) if column == "parent" && !empty => {
                let group = value.int().map_or(String::new(), |id| state.path(id));
                format!("{} (`{group}`)", render(known, value))
            }
            (false, Some(known)) => render(known, value),
            (false, None) => value.to_string(),
        };
        document.insert(column.to_owned(), if hidden && !empty { json!("(secret)") } else { value.json() });
        // A row has a cell for every field of every type, most of them with a default that is unused here.
        let other = known.is_some_and(|known| !concerns(monitor.kind(), known));
        if args.all || !(empty || other) {
            rows.push(vec![column.to_owned(), text]);
        }
    }
    let tags: Vec<Json> = monitor
        .tags
        .iter()
        .filter_map(|link| {
            let tag = state.tags.iter().find(|row| row.int("id") == Some(link.tag))?;
            Some(json!({"name": tag.text("name"), "value": link.value}))
        })
        .collect();
    let notifications: Vec<&str> = monitor
        .notifications
        .iter()
        .filter_map(|link| state.notifications.iter().find(|row| row.int("id") == Some(link.notification)))
        .filter_map(|row| row.text("name"))
        .collect();
    let named = |tag: &Json| match tag["value"].as_str() {
        Some("") | None => tag["name"].as_str().unwrap_or_default().to_owned(),
        Some(value) => format!("{}={value}", tag["name"].as_str().unwrap_or_default()),
    };
    rows.push(vec!["path".into(), state.path(monitor.id)]);
    rows.push(vec!["tags".into(), tags.iter().map(named).collect::<Vec<_>>().join(", ")]);
    rows.push(vec!["notifications".into(), notifications.join(", ")]);
    document.insert("tags".into(), json!(tags));
    document.insert("notifications".into(), json!(notifications));
    (document, rows)
}

impl Shown {
    fn status(&self) -> MonitorStatus {
        MonitorStatus::of(&self.state, self.monitor.id, self.last.as_ref())
    }

    fn days_left(&self, end: DateTime<Utc>) -> i64 {
        ((end - self.now).num_seconds() as f64 / 86_400.0).round() as i64
    }

    fn document(&self) -> Json {
        let last = self.last.as_ref();
        let uptime: Map<String, Json> =
            PAGES.iter().zip(&self.tallies).map(|(name, tally)| ((*name).to_owned(), json!(tally.uptime()))).collect();
        let ends = |end: Option<DateTime<Utc>>| end.map(|end| json!({"at": rfc3339(end), "days": self.days_left(end)}));
        let [min, avg, max] = chart::extremes(&self.buckets)
            .map_or([None; 3], |[min, _, max]| [Some(min), self.tallies[0].ping(), Some(max)]);
        let change = |change: &StatusChange| {
            json!({
                "at": rfc3339(change.at), "status": change.status.map_or("unknown", |status| status.word()),
                "message": change.message,
            })
        };
        json!({
            "status": self.status().word(),
            "since": last.and_then(|last| last.since).map(rfc3339),
            "checked": last.map(|last| rfc3339(last.at)),
            "message": last.map(|last| &last.message),
            "ping": last.and_then(|last| last.ping),
            "ping_24h": {"min": min, "avg": avg, "max": max},
            "uptime": uptime,
            "certificate": ends(self.certificate),
            "domain": ends(self.domain),
            "changes": self.changes.iter().map(change).collect::<Vec<_>>(),
        })
    }

    /// The status with its bar, uptime and what expires.
    fn summary(&self) -> String {
        let status = self.status();
        let since = self.last.as_ref().and_then(|last| last.since);
        let since = since.map_or(String::new(), |since| format!(" since {}", local_time(since)));
        let mut lines = vec![("status", painted(status.word(), color(status)) + &since)];
        if let Some(last) = &self.last {
            lines.push(("last check", local_time(last.at)));
            let ping = last.ping.map_or(String::new(), |ping| format!(" ({})", ping_text(Some(ping))));
            lines.push(("message", format!("{}{ping}", one_line(&last.message))));
            let bar = strip::text(&self.recent.iter().map(|beat| beat.status).collect::<Vec<_>>());
            lines.push(("heartbeats", Painted::each(bar.clone(), mark_color).paint(&bar)));
        }
        let uptime = PAGES.iter().zip(&self.tallies);
        let uptime: Vec<String> =
            uptime.map(|(name, tally)| format!("{} ({name})", percent_text(tally.uptime()))).collect();
        lines.push(("uptime", uptime.join(", ")));
        for (name, end) in [("certificate", self.certificate), ("domain", self.domain)] {
            lines
                .extend(end.map(|end| (name, format!("{} days left, until {}", self.days_left(end), local_time(end)))));
        }
        lines.iter().map(|(name, value)| format!("{name:11} {value}")).collect::<Vec<_>>().join("\n")
    }

    /// The response times of the last 24 hours; empty without one.
    fn chart(&self) -> String {
        let Some([min, _, max]) = chart::extremes(&self.buckets) else { return String::new() };
        let day = Window::pages(self.now)[0];
        let values = chart::averages(&self.buckets, day.first, day.last + 60, BAR);
        let [min, avg, max] = [Some(min), self.tallies[0].ping(), Some(max)].map(ping_text);
        format!("response time (24h): {avg} on average, {min} to {max}\n{}", chart::text(&values, ROWS))
    }

    /// The last status changes, newest first.
    fn changes_table(&self) -> String {
        let mut rows = Vec::new();
        let mut end: Option<DateTime<Utc>> = None;
        for change in self.changes.iter().rev() {
            let word = change.status.map_or("unknown", |status| status.word());
            let status = MonitorStatus::ALL.into_iter().find(|status| status.word() == word);
            let lasted = match end {
                Some(end) => duration_words((end - change.at).max(TimeDelta::zero())),
                None => format!("{} ago", age_words(self.now - change.at)),
            };
            end = Some(change.at);
            rows.push(vec![
                local_time(change.at).into(),
                Painted::new(word, status.and_then(color)),
                lasted.into(),
                change.message.clone().into(),
            ]);
        }
        if rows.is_empty() { String::new() } else { Ui::table(&["changed", "status", "for", "message"], rows) }
    }
}
