//! The report as one HTML page that needs nothing else: no script, no font, no image, no network.
//!
//! Everything that a person or a server wrote is escaped.

mod parts;

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use super::status::{BeatStatus, MonitorStatus};
use crate::value::{local_time, rfc3339};

/// Places in the bar of a monitor.
pub const BAR: usize = 50;

/// What the page shows.
#[derive(Clone, Debug)]
pub struct HtmlPage {
    /// The heading.
    pub title: String,
    /// A line or more below it.
    pub description: String,
    /// The time of the data.
    pub at: DateTime<Utc>,
    /// Where it was read, for the end of the page.
    pub source: String,
    /// A warning above everything else.
    pub notice: Option<String>,
    /// The overall state: that of a status page, or how many monitors have which status.
    pub overview: Overview,
    /// Open incidents: title and content.
    pub incidents: Vec<(String, String)>,
    /// Monitors, by group.
    pub sections: Vec<Section>,
    /// Outages, newest first; `None` for a status page, which shows none.
    pub outages: Option<Vec<OutageLine>>,
    /// Maintenance windows.
    pub maintenance: Vec<MaintenanceLine>,
    /// What the doctor found; `None` for a status page.
    pub health: Option<Health>,
    /// Seconds after which a browser should load the page again.
    pub refresh: Option<u64>,
}

/// The state of all monitors together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overview {
    /// How many monitors have each status.
    Counts(Vec<(MonitorStatus, usize)>),
    /// The line of a status page, and the status whose colour it has.
    Line(&'static str, MonitorStatus),
}

/// Monitors under one heading.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// The heading.
    pub name: String,
    /// The status of the group itself.
    pub status: Option<MonitorStatus>,
    /// Its monitors.
    pub monitors: Vec<MonitorLine>,
}

/// One monitor.
#[derive(Clone, Debug)]
pub struct MonitorLine {
    /// Its name.
    pub name: String,
    /// Its status.
    pub status: MonitorStatus,
    /// How long it has had that, and its message, where it is not up.
    pub detail: String,
    /// Its last heartbeats, oldest first.
    pub beats: Vec<Option<BeatStatus>>,
    /// Uptime of the last 24 hours, 7 days, 30 days and 365 days; a status page shows the first.
    pub uptimes: Vec<Option<f64>>,
    /// Average response time of the last 24 hours, in milliseconds.
    pub ping: Option<f64>,
    /// The averages by hour; empty on a status page.
    pub pings: Vec<Option<f64>>,
    /// Tags and other short remarks.
    pub tags: Vec<String>,
}

/// One outage.
#[derive(Clone, Debug)]
pub struct OutageLine {
    /// The monitor.
    pub name: String,
    /// When it began.
    pub start: DateTime<Utc>,
    /// When it ended, unless it has not.
    pub end: Option<DateTime<Utc>>,
    /// How long it lasted, in words.
    pub lasted: String,
    /// The message of its first heartbeat.
    pub message: String,
}

/// One maintenance window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaintenanceLine {
    /// Its title.
    pub title: String,
    /// Its description; empty for none.
    pub description: String,
    /// Its state, in words.
    pub state: String,
}

/// What the doctor found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Severity, code, and what is wrong.
    pub findings: Vec<(&'static str, &'static str, String)>,
    /// What could not be checked, and why.
    pub unread: Vec<String>,
}

/// The overall line of a status page, from the last heartbeats of its monitors (`overallStatus`, 2.5.3).
pub fn overall(beats: &[Option<BeatStatus>]) -> Overview {
    if beats.is_empty() {
        return Overview::Line("No Services", MonitorStatus::NeverChecked);
    }
    if beats.contains(&Some(BeatStatus::Maintenance)) {
        return Overview::Line("Under maintenance", MonitorStatus::Maintenance);
    }
    let up = beats.iter().filter(|beat| **beat == Some(BeatStatus::Up)).count();
    match up {
        0 => Overview::Line("Degraded Service", MonitorStatus::Down),
        up if up < beats.len() => Overview::Line("Partially Degraded Service", MonitorStatus::Pending),
        _ => Overview::Line("All Systems Operational", MonitorStatus::Up),
    }
}

/// The page as HTML.
pub fn render(page: &HtmlPage) -> String {
    let mut html = String::with_capacity(64 * 1024);
    html.push_str("<!doctype html>\n<html lang=en><head><meta charset=utf-8>");
    html.push_str("<meta name=viewport content=\"width=device-width,initial-scale=1\">");
    if let Some(seconds) = page.refresh {
        let _ = write!(html, "<meta http-equiv=refresh content={seconds}>");
    }
    let title = escape(&page.title);
    let _ = write!(
        html,
        "<title>{title}</title><link rel=icon href=\"data:,\"><style>{}</style>",
        include_str!("page.css")
    );
    let _ = write!(html, "</head>\n<body><main><header><h1>{title}</h1>");
    if !page.description.is_empty() {
        let _ = write!(html, "<p>{}</p>", lines(&page.description));
    }
    let _ = write!(html, "<p class=soft>As of {}</p>", time(page.at));
    parts::overview(&mut html, &page.overview);
    html.push_str("</header>\n");
    if let Some(notice) = &page.notice {
        let _ = writeln!(html, "<p class=notice role=status>{}</p>", escape(notice));
    }
    for (title, content) in &page.incidents {
        let _ = writeln!(html, "<section class=notice><h2>{}</h2><p>{}</p></section>", escape(title), lines(content));
    }
    let is_public = page.outages.is_none();
    page.sections.iter().for_each(|section| parts::section(&mut html, section, is_public));
    parts::maintenance(&mut html, &page.maintenance);
    if let Some(outages) = &page.outages {
        parts::outages(&mut html, outages);
    }
    if let Some(health) = &page.health {
        parts::health(&mut html, health);
    }
    let _ = writeln!(html, "<footer>{}</footer></main></body></html>", escape(&page.source));
    html
}

/// `text` as text of HTML, in elements and in quoted attributes. Characters that no page may contain become a question mark.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(letter),
            // Marks of direction change the order of what others wrote.
            letter if letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                escaped.push('?');
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// The same with its line breaks.
fn lines(text: &str) -> String {
    escape(text.trim()).replace('\n', "<br>")
}

fn time(at: DateTime<Utc>) -> String {
    format!("<time datetime=\"{}\">{}</time>", rfc3339(at), escape(&local_time(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_others_wrote_is_html() {
        assert_eq!(escape("<b a=\"x\" b='y'>&\u{1b}\u{202e}"), "&lt;b a=&quot;x&quot; b=&#39;y&#39;&gt;&amp;??");
        assert_eq!(lines("a\nb<"), "a<br>b&lt;");
    }

    #[test]
    fn the_line_of_a_status_page_is_that_of_the_server() {
        use BeatStatus::{Down, Maintenance, Pending, Up};
        let line = |beats: &[BeatStatus]| match overall(&beats.iter().copied().map(Some).collect::<Vec<_>>()) {
            Overview::Line(line, _) => line,
            Overview::Counts(_) => "",
        };
        assert_eq!(line(&[]), "No Services");
        assert_eq!(line(&[Up, Up]), "All Systems Operational");
        assert_eq!(line(&[Up, Pending]), "Partially Degraded Service");
        assert_eq!(line(&[Down, Down]), "Degraded Service");
        assert_eq!(line(&[Down, Maintenance]), "Under maintenance");
    }
}
