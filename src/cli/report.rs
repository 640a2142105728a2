//! `kumadb report`

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use serde_json::json;

use super::Context;
use super::monitor::read_outages;
use super::observe::{Observed, SourceArgs, StatusFilter, repeat};
use super::write::pause;
use crate::doctor;
use crate::engine::{Depth, Reader};
use crate::error::{Exit, Result};
use crate::files;
use crate::kuma::beats::{Beat, read_recent};
use crate::kuma::expiry::read_certificates;
use crate::kuma::public::{StatusPage, read_maintenance, read_server_zone, read_status_page};
use crate::kuma::uptime::{read_buckets, read_latest};
use crate::operation::examine::gather;
use crate::plan::pick::Pick;
use crate::report::chart;
use crate::report::html::{
    BAR, Health, HtmlPage, MaintenanceLine, MonitorLine, OutageLine, Overview, Section, overall, render,
};
use crate::report::maintenance::{WindowState, end, start, state};
use crate::report::status::{BeatStatus, MonitorStatus, count};
use crate::report::uptime::{Unit, UptimeBucket, UptimeTally, Window};
use crate::text::{age_words, bytes, counted, duration_words, without_credentials};
use crate::value::{Row, local_time};

/// Days of outages on the page, and how many at most.
const OUTAGES: (i64, usize) = (30, 200);

/// Columns of the chart of a monitor: hours of a day.
const HOURS: i64 = 24;

#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Write the page to this file; an existing file is replaced
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Show only what the public status page with this slug shows
    #[arg(long, value_name = "SLUG")]
    status_page: Option<String>,
    /// Write the page again after this time, until interrupted: 60s, 5m
    #[arg(long, value_name = "DURATION", value_parser = pause, conflicts_with = "at")]
    every: Option<Duration>,
    /// Leave out the findings of the doctor, which reads the whole database
    #[arg(long)]
    no_doctor: bool,
    #[command(flatten)]
    pub source: SourceArgs,
}

impl ReportArgs {
    /// The file that it writes.
    pub fn written(&self) -> PathBuf {
        self.file.clone()
    }

    /// Whether it runs until it is interrupted.
    pub fn repeats(&self) -> bool {
        self.every.is_some()
    }
}

pub fn run(args: &ReportArgs, context: &mut Context<'_>) -> Result<Exit> {
    match args.every {
        // Until it can be read again, the page of before stays.
        Some(pause) => repeat(pause, context, |context| write(args, context)),
        None => write(args, context),
    }
}

fn write(args: &ReportArgs, context: &mut Context<'_>) -> Result<Exit> {
    let health = if args.no_doctor || args.status_page.is_some() || args.source.is_snapshot() {
        None
    } else {
        Some(examine(context)?)
    };
    let page = args.source.read(context, |reader, name, now| match &args.status_page {
        Some(slug) => public_page(reader, name, now, slug),
        None => private_page(reader, name, now),
    })?;
    let monitors = page.sections.iter().map(|section| section.monitors.len()).sum();
    let html = render(&HtmlPage { health, refresh: args.every.map(|every| every.as_secs().max(1)), ..page });
    files::write_output(&args.file, 0o644, |file| file.write_all(html.as_bytes()))?;
    let document = json!({"written": args.file, "size_bytes": html.len(), "monitors": monitors});
    let shown = args.file.display();
    context.ui.result(&document, || {
        format!("wrote {} to `{shown}` ({})", counted(monitors, "monitor"), bytes(html.len() as u64))
    })?;
    Ok(Exit::Done)
}

fn examine(context: &mut Context<'_>) -> Result<Health> {
    let evidence = gather(&context.instance()?, Utc::now(), Depth::References);
    context.ui.cancel().check()?;
    let findings = doctor::examine(&evidence).into_iter();
    Ok(Health {
        findings: findings
            .map(|finding| (finding.severity.word(), finding.code, without_credentials(&finding.fault.what)))
            .collect(),
        unread: evidence.unread.iter().map(|unread| format!("{}: {}", unread.part, unread.why)).collect(),
    })
}

/// What is read of all monitors for their lines.
struct ReportData {
    observed: Observed,
    beats: BTreeMap<i64, Vec<Beat>>,
    tallies: Vec<BTreeMap<i64, UptimeTally>>,
    buckets: BTreeMap<i64, Vec<UptimeBucket>>,
    day: Window,
}

impl ReportData {
    fn read(reader: &mut dyn Reader, observed: Observed, windows: &[Window]) -> Result<ReportData> {
        let (schema, ids) = (&observed.state.database.schema, &observed.ids);
        let day = Window::last(Unit::Hour, HOURS, observed.now);
        let tallies: Result<Vec<_>> = windows.iter().map(|window| read_latest(reader, schema, ids, window)).collect();
        Ok(ReportData {
            beats: read_recent(reader, ids, BAR)?,
            buckets: read_buckets(reader, schema, ids, &day)?,
            tallies: tallies?,
            day,
            observed,
        })
    }

    fn beats(&self, id: i64) -> Vec<Option<BeatStatus>> {
        self.beats.get(&id).map_or(Vec::new(), |beats| beats.iter().map(|beat| beat.status).collect())
    }

    fn uptimes(&self, id: i64) -> Vec<Option<f64>> {
        self.tallies.iter().map(|tally| tally.get(&id).and_then(UptimeTally::uptime)).collect()
    }

    /// The line of a monitor, with what only its owner sees.
    fn entry(&self, id: i64) -> MonitorLine {
        let observed = &self.observed;
        let status = observed.status(id);
        let lasting = observed.lasting(id).map(|lasting| format!("for {}", age_words(lasting)));
        let message = observed.last.get(&id).map(|last| last.message.clone());
        let is_news = !matches!(status, MonitorStatus::Up | MonitorStatus::Paused | MonitorStatus::PausedByGroup);
        let message = message.filter(|message| is_news && !message.is_empty());
        let end = self.day.last + self.day.unit.seconds();
        let pings = self.buckets.get(&id).map(|buckets| chart::averages(buckets, self.day.first, end, HOURS as usize));
        MonitorLine {
            name: observed.state.monitors.get(&id).map_or(String::new(), |monitor| monitor.name().to_owned()),
            status,
            detail: lasting.into_iter().chain(message).collect::<Vec<_>>().join(": "),
            beats: self.beats(id),
            uptimes: self.uptimes(id),
            ping: self.tallies[0].get(&id).and_then(UptimeTally::ping),
            pings: pings.unwrap_or_default(),
            tags: Vec::new(),
        }
    }
}

fn private_page(reader: &mut dyn Reader, name: &str, now: DateTime<Utc>) -> Result<HtmlPage> {
    let observed = Observed::read(reader, name, now, (Pick::default(), &StatusFilter::default()))?;
    let outages = read_outages(reader, &observed, now - TimeDelta::days(OUTAGES.0), now)?;
    let zone = read_server_zone(reader)?;
    let windows = read_maintenance(reader, &observed.state.database.schema)?;
    let figures = ReportData::read(reader, observed, &Window::pages(now))?;
    let observed = &figures.observed;
    let stale = observed.freshness.overdue(now).map(|age| {
        format!(
            "The server is not checking: the newest heartbeat is {} old. Each status is that of the last check.",
            age_words(age)
        )
    });
    let mut lines: Vec<OutageLine> = outages
        .iter()
        .flat_map(|(id, outages)| outages.iter().map(|outage| (observed.state.path(*id), outage)))
        .map(|(name, outage)| OutageLine {
            name,
            start: outage.start,
            end: outage.end,
            lasted: duration_words(outage.duration(now)),
            message: outage.message.clone(),
        })
        .collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.start));
    lines.truncate(OUTAGES.1);
    let counts = count(observed.ids.iter().map(|id| observed.status(*id)));
    Ok(HtmlPage {
        title: format!("Status of {}", name.trim_matches('`')),
        description: String::new(),
        at: now,
        source: source(name, now),
        notice: stale,
        overview: Overview::Counts(counts.into_iter().collect()),
        incidents: Vec::new(),
        sections: sections(&figures),
        outages: Some(lines),
        maintenance: windows.iter().filter_map(|row| maintenance(row, zone, now, true)).collect(),
        health: None,
        refresh: None,
    })
}

/// The monitors of each group, those without one first.
fn sections(figures: &ReportData) -> Vec<Section> {
    let state = &figures.observed.state;
    let mut sections: BTreeMap<String, Section> = BTreeMap::new();
    for id in &figures.observed.ids {
        let Some(monitor) = state.monitors.get(id) else { continue };
        if monitor.kind() == "group" {
            let path = state.path(*id);
            let section = sections.entry(path.clone()).or_default();
            (section.name, section.status) = (path, Some(figures.observed.status(*id)));
            continue;
        }
        let path = monitor.parent().map_or_else(String::new, |parent| state.path(parent));
        let section = sections.entry(path.clone()).or_default();
        section.name = if path.is_empty() { "Monitors".into() } else { path };
        section.monitors.push(figures.entry(*id));
    }
    sections.into_values().filter(|section| !section.monitors.is_empty()).collect()
}

/// A maintenance window that is not over; on a status page only one that is in progress.
fn maintenance(row: &Row, zone: chrono_tz::Tz, now: DateTime<Utc>, is_private: bool) -> Option<MaintenanceLine> {
    let state = state(row, zone, now);
    let is_shown = match state {
        WindowState::UnderMaintenance => true,
        WindowState::Scheduled | WindowState::Unknown => is_private,
        WindowState::Ended | WindowState::Inactive => false,
    };
    let text = |column: &str| row.text(column).unwrap_or_default().to_owned();
    let zone = row.text("timezone").and_then(|name| name.parse().ok()).unwrap_or(zone);
    let mut words = state.word().to_owned();
    for (word, at) in [("from", start(row, zone)), ("until", end(row, zone))] {
        words.extend(at.map(|at| format!(" {word} {}", local_time(at))));
    }
    is_shown.then(|| MaintenanceLine { title: text("title"), description: text("description"), state: words })
}

/// What the visitors of the status page see (`getStatusPageData` and `/api/status-page/heartbeat`, 2.5.3): no message, no
/// target, no monitor of a group that is not public.
fn public_page(reader: &mut dyn Reader, name: &str, now: DateTime<Utc>, slug: &str) -> Result<HtmlPage> {
    let mut observed = Observed::read(reader, name, now, (Pick::default(), &StatusFilter::default()))?;
    let schema = &observed.state.database.schema;
    let StatusPage { row, groups, incidents, maintenance: shown } = read_status_page(reader, schema, slug)?;
    let shows = |column: &str| row.cell(column).truthy();
    let certificates =
        if shows("show_certificate_expiry") { read_certificates(reader, schema)? } else { BTreeMap::new() };
    let (zone, windows) = (read_server_zone(reader)?, read_maintenance(reader, schema)?);
    observed.ids = groups.iter().flat_map(|(_, ids)| ids).copied().collect();
    let figures = ReportData::read(reader, observed, &Window::pages(now)[..1])?;
    let entry = |id: &i64| {
        let mut entry = figures.entry(*id);
        (entry.detail, entry.pings) = (String::new(), Vec::new());
        entry.status = figures.beats(*id).last().copied().flatten().map_or(MonitorStatus::NeverChecked, public_status);
        if shows("show_tags") {
            entry.tags = tags(&figures.observed, *id);
        }
        let days = certificates.get(id).map(|end| (*end - now).num_days());
        entry.tags.extend(days.map(|days| format!("certificate: {} left", counted(days.max(0) as usize, "day"))));
        entry
    };
    let section = |(name, ids): &(String, Vec<i64>)| Section {
        name: name.clone(),
        status: None,
        monitors: ids.iter().map(entry).collect(),
    };
    let sections: Vec<Section> = groups.iter().map(section).collect();
    let last: Vec<Option<BeatStatus>> =
        figures.observed.ids.iter().filter_map(|id| figures.beats(*id).last().copied()).collect();
    let text = |column: &str| row.text(column).unwrap_or_default().to_owned();
    let windows = windows.iter().filter(|row| row.int("id").is_some_and(|id| shown.contains(&id)));
    Ok(HtmlPage {
        title: text("title"),
        description: text("description"),
        at: now,
        source: text("footer_text"),
        notice: None,
        overview: overall(&last),
        incidents,
        sections,
        outages: None,
        maintenance: windows.filter_map(|row| maintenance(row, zone, now, false)).collect(),
        health: None,
        refresh: None,
    })
}

/// A status page shows the last heartbeat, also of a monitor that is paused.
fn public_status(beat: BeatStatus) -> MonitorStatus {
    match beat {
        BeatStatus::Down => MonitorStatus::Down,
        BeatStatus::Up => MonitorStatus::Up,
        BeatStatus::Pending => MonitorStatus::Pending,
        BeatStatus::Maintenance => MonitorStatus::Maintenance,
    }
}

fn tags(observed: &Observed, id: i64) -> Vec<String> {
    let state = &observed.state;
    let links = state.monitors.get(&id).map_or(&[][..], |monitor| &monitor.tags);
    let tag = |link: &crate::model::state::TagLink| {
        let name = state.tags.iter().find(|row| row.int("id") == Some(link.tag))?.text("name")?;
        Some(if link.value.is_empty() { name.to_owned() } else { format!("{name}: {}", link.value) })
    };
    links.iter().filter_map(tag).collect()
}

fn source(name: &str, now: DateTime<Utc>) -> String {
    format!("Read from {} by kumadb {} at {}.", name.trim_matches('`'), env!("CARGO_PKG_VERSION"), local_time(now))
}
