//! The parts of the page.

use std::fmt::Write as _;

use super::{BAR, Health, MaintenanceLine, MonitorLine, OutageLine, Overview, Section, escape, lines, time};
use crate::report::chart;
use crate::report::status::MonitorStatus;
use crate::report::strip;
use crate::report::uptime::{percent_text, ping_text};

/// The class of a status, which gives its colour and its mark.
fn class(status: MonitorStatus) -> char {
    match status {
        MonitorStatus::Down => 'd',
        MonitorStatus::Up => 'u',
        MonitorStatus::Pending => 'p',
        MonitorStatus::Maintenance => 'm',
        MonitorStatus::Paused | MonitorStatus::PausedByGroup | MonitorStatus::NeverChecked | MonitorStatus::Unknown => {
            'x'
        }
    }
}

fn badge(status: MonitorStatus) -> String {
    format!("<span class=\"s {}\">{}</span>", class(status), status.word())
}

pub(super) fn overview(html: &mut String, overview: &Overview) {
    match overview {
        Overview::Counts(counts) => {
            html.push_str("<ul class=counts>");
            for (status, n) in counts {
                let _ = write!(html, "<li class={}><b>{n}</b>{}</li>", class(*status), status.word());
            }
            html.push_str("</ul>");
        }
        Overview::Line(line, status) => {
            let _ = write!(html, "<ul class=counts><li class=\"s {}\">{line}</li></ul>", class(*status));
        }
    }
}

pub(super) fn section(html: &mut String, section: &Section, is_public: bool) {
    let status = section.status.map_or(String::new(), |status| format!(" {}", badge(status)));
    let _ = write!(html, "<section><h2>{}{status}</h2><table class=mon>", escape(&section.name));
    let columns: &[(&str, &str)] = if is_public {
        &[("Monitor", ""), ("Status", ""), ("Last heartbeats", ""), ("24 h", " class=n")]
    } else {
        &[
            ("Monitor", ""),
            ("Status", ""),
            ("Last heartbeats", ""),
            ("24 h", " class=n"),
            ("7 d", " class=n"),
            ("30 d", " class=n"),
            ("365 d", " class=n"),
            ("Response time (24 h)", ""),
        ]
    };
    html.push_str("<thead><tr>");
    for (name, class) in columns {
        let _ = write!(html, "<th scope=col{class}>{name}");
    }
    html.push_str("</thead><tbody>\n");
    section.monitors.iter().for_each(|entry| row(html, entry));
    html.push_str("</tbody></table></section>\n");
}

fn row(html: &mut String, entry: &MonitorLine) {
    let _ = write!(html, "<tr><th scope=row>{}", escape(&entry.name));
    if !entry.tags.is_empty() {
        html.push_str("<small>");
        for tag in &entry.tags {
            let _ = write!(html, "<span class=tag>{}</span>", escape(tag));
        }
        html.push_str("</small>");
    }
    let _ = write!(html, "<td>{}", badge(entry.status));
    if !entry.detail.is_empty() {
        let _ = write!(html, "<small>{}</small>", escape(&entry.detail));
    }
    let _ = write!(html, "<td>{}", strip::svg(&entry.beats, BAR));
    for uptime in &entry.uptimes {
        let _ = write!(html, "<td class=n>{}", percent_text(*uptime));
    }
    if !entry.pings.is_empty() {
        html.push_str("<td>");
        let known = || entry.pings.iter().flatten().copied();
        if let (Some(low), Some(high)) = (known().min_by(f64::total_cmp), known().max_by(f64::total_cmp)) {
            let [low, high, average] = [Some(low), Some(high), entry.ping].map(ping_text);
            let label = format!("hourly averages from {low} to {high}");
            let _ = write!(html, "{}<small>{average} on average</small>", chart::svg(&entry.pings, &label));
        }
    }
    html.push('\n');
}

pub(super) fn maintenance(html: &mut String, windows: &[MaintenanceLine]) {
    if windows.is_empty() {
        return;
    }
    html.push_str("<section><h2>Maintenance</h2><ul class=plain>\n");
    for window in windows {
        let _ = write!(html, "<li><b>{}</b> <span class=soft>{}</span>", escape(&window.title), escape(&window.state));
        if !window.description.is_empty() {
            let _ = write!(html, "<p>{}</p>", lines(&window.description));
        }
        html.push_str("</li>\n");
    }
    html.push_str("</ul></section>\n");
}

pub(super) fn outages(html: &mut String, outages: &[OutageLine]) {
    html.push_str("<section><h2>Outages in the last 30 days</h2>");
    if outages.is_empty() {
        html.push_str("<p>None.</p></section>\n");
        return;
    }
    html.push_str("<table><thead><tr><th scope=col>Monitor<th scope=col>Start<th scope=col>End<th scope=col>Lasted");
    html.push_str("<th scope=col>Message</thead><tbody>\n");
    for outage in outages {
        let end = outage.end.map_or_else(|| "<span class=\"s d\">still down</span>".to_owned(), time);
        let _ = writeln!(
            html,
            "<tr><th scope=row>{}<td data-l=Start>{}<td data-l=End>{end}<td data-l=Lasted>{}<td>{}",
            escape(&outage.name),
            time(outage.start),
            escape(&outage.lasted),
            escape(&outage.message)
        );
    }
    html.push_str("</tbody></table></section>\n");
}

pub(super) fn health(html: &mut String, health: &Health) {
    html.push_str("<section><h2>Database health</h2>");
    if !health.findings.is_empty() {
        html.push_str("<ul class=plain>\n");
        for (severity, code, what) in &health.findings {
            let _ = writeln!(html, "<li><b>{severity}</b> {code}: {}</li>", escape(what));
        }
        html.push_str("</ul>");
    } else if health.unread.is_empty() {
        html.push_str("<p>No problems found.</p>");
    } else {
        html.push_str("<p>No problems found in the parts that could be checked.</p>");
    }
    for unread in &health.unread {
        let _ = write!(html, "<p>Not checked: {}</p>", escape(unread));
    }
    html.push_str("</section>\n");
}
