//! UptimeRobot exports: a CSV with words, or the JSON of its API with numbers.

use super::super::node::{Data, Entry, Node};
use super::Source;
use super::address::{Address, host_and_port, host_of};
use super::columns::unknown_key;
use super::csv;
use super::draft::{Draft, Monitor, Parent, entry};

/// The headers of the CSV and the matching names of the API.
const NAMES: [(&str, &str); 27] = [
    ("id", "id"),
    ("type", "type"),
    ("status", "status"),
    ("friendly name", "friendly_name"),
    ("friendly_name", "friendly_name"),
    ("url/ip", "url"),
    ("url", "url"),
    ("sub type", "sub_type"),
    ("sub_type", "sub_type"),
    ("keyword type", "keyword_type"),
    ("keyword_type", "keyword_type"),
    ("keyword value", "keyword_value"),
    ("keyword_value", "keyword_value"),
    ("port", "port"),
    ("interval", "interval"),
    ("timeout", "timeout"),
    ("http_username", "http_username"),
    ("http_password", "http_password"),
    ("http_auth_type", "http_auth_type"),
    ("http_method", "http_method"),
    ("custom_http_headers", "custom_http_headers"),
    ("post_value", "post_value"),
    ("custom_http_statuses", "custom_http_statuses"),
    ("alert_contacts", "alert_contacts"),
    ("mwindows", "mwindows"),
    ("monitor interval", "interval"),
    ("monitoring interval", "interval"),
];

/// Fields of the API that are not configuration.
const DROPPED: [&str; 11] = [
    "create_datetime",
    "keyword_case_type",
    "post_type",
    "post_content_type",
    "ssl",
    "logs",
    "response_times",
    "average_response_time",
    "custom_uptime_ratio",
    "all_time_uptime_ratio",
    "disable_domain_expire_notifications",
];

/// Fields that must be converted by hand, with the reason.
const LOST: [(&str, &str); 4] = [
    ("post_value", "the request body has another format; set `body` manually"),
    ("custom_http_statuses", "the status codes have another format; set `accepted_statuscodes` manually"),
    ("alert_contacts", "contacts are not in the export; add notifications for them"),
    ("mwindows", "maintenance windows are not in the export"),
];

/// HTTP methods, by number from 1.
const METHODS: [&str; 7] = ["HEAD", "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

pub(super) fn convert(draft: &mut Draft, sources: &[Source]) {
    for source in sources {
        let is_read = source.documents.iter().any(|document| matches!(document.data, Data::Map(_) | Data::List(_)));
        let documents = if is_read { source.documents.clone() } else { csv::tables(draft, source) };
        for document in &documents {
            list(draft, document);
        }
    }
}

fn list(draft: &mut Draft, document: &Node) {
    let Data::List(monitors) = &document.find("monitors").unwrap_or(document).data else {
        let message = format!("must be a list of monitors, not {}", document.noun());
        draft.wrong(&document.at, "an export of UptimeRobot", message);
        return;
    };
    check_names(draft, monitors);
    monitors.iter().for_each(|one| monitor(draft, one));
}

fn known(key: &str) -> Option<&'static str> {
    let key = key.trim().to_lowercase();
    NAMES.iter().find(|(name, _)| *name == key).map(|(_, known)| *known)
}

/// Rejects unknown names, once for the list.
fn check_names(draft: &mut Draft, monitors: &[Node]) {
    let mut seen = Vec::new();
    for one in monitors.iter().flat_map(Node::entries) {
        if !seen.contains(&&one.key) && known(&one.key).is_none() && !DROPPED.contains(&one.key.to_lowercase().as_str())
        {
            draft.problem(unknown_key(one, "a monitor", NAMES.iter().map(|(name, _)| *name)));
        }
        seen.push(&one.key);
    }
}

/// A monitor of UptimeRobot, with the names of the API.
struct Robot<'n> {
    at: &'n Node,
    entries: Vec<(&'static str, &'n Node)>,
}

impl<'n> Robot<'n> {
    fn of(one: &'n Node) -> Robot<'n> {
        let entries = one.entries().iter().filter_map(|entry| Some((known(&entry.key)?, &entry.value)));
        Robot { at: one, entries: entries.collect() }
    }

    fn said(&self, key: &str) -> Option<&'n Node> {
        let is_said = |value: &Node| value.scalar().is_some_and(|text| !text.trim().is_empty());
        self.entries.iter().find(|(name, value)| *name == key && is_said(value)).map(|(_, value)| *value)
    }

    /// The value of `key`, in lower case.
    fn word(&self, key: &str) -> String {
        self.said(key).and_then(Node::scalar).unwrap_or_default().trim().to_lowercase()
    }
}

fn monitor(draft: &mut Draft, one: &Node) {
    let robot = Robot::of(one);
    let url = robot.said("url");
    let host = url.and_then(Node::scalar).map(|url| host_of(&url).unwrap_or(url));
    let named = robot.said("friendly_name").cloned();
    let Some(name) = named.or(host.map(|host| Node::new(robot.at.at.clone(), host))) else {
        draft.wrong(&one.at, "a monitor", "friendly name and URL are missing");
        return;
    };
    let what = format!("monitor `{}`", name.scalar().unwrap_or_default());
    let kind = match robot.word("type").as_str() {
        "1" | "http" | "https" | "http(s)" => "http",
        "2" | "keyword" => "keyword",
        "3" | "ping" => "ping",
        "4" | "port" | "tcp" => "port",
        "5" | "heartbeat" | "cron job" | "cronjob" => "push",
        other => {
            let why = format!("its type `{other}` is not supported");
            draft.skip(&one.at, what, why);
            return;
        }
    };
    let mut fields = match kind {
        "http" | "keyword" => url.map(|url| entry("url", url.clone())).into_iter().collect(),
        "ping" | "port" => host_fields(draft, &what, &robot, kind),
        _ => Vec::new(),
    };
    if kind == "keyword" {
        fields.extend(keyword(draft, &what, &robot));
    }
    for (key, column) in [("interval", "interval"), ("timeout", "timeout")] {
        let is_had = column == "interval" || matches!(kind, "http" | "keyword" | "port");
        let seconds =
            robot.said(key).filter(|_| is_had).and_then(|value| Some(Node::new(value.at.clone(), value.int()?)));
        fields.extend(seconds.filter(|seconds| seconds.int() != Some(0)).map(|seconds| entry(column, seconds)));
    }
    if matches!(kind, "http" | "keyword") {
        fields.extend(request(&robot));
    }
    for (key, why) in LOST {
        let value = robot.entries.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        let value =
            value.filter(|value| !value.list().is_empty() || !value.entries().is_empty() || robot.said(key).is_some());
        if let Some(value) = value {
            draft.skip(&value.at, format!("`{key}` of {what}"), why);
        }
    }
    if let Some(status) = robot.said("status").filter(|_| matches!(robot.word("status").as_str(), "0" | "paused")) {
        fields.push(entry("active", Node::new(status.at.clone(), false)));
    }
    let kind = Node::new(robot.said("type").map_or(&one.at, |kind| &kind.at).clone(), kind);
    draft.monitor(Monitor { at: one.at.clone(), name, kind, keys: Vec::new(), parent: Parent::Root, fields });
}

/// Method, headers and login of a request.
fn request(robot: &Robot<'_>) -> Vec<Entry> {
    let mut fields = Vec::new();
    let method = robot.said("http_method");
    // Numbers from 1; other values mean the default.
    fields.extend(method.and_then(|method| {
        let name = METHODS.get(usize::try_from(method.int()? - 1).ok()?)?;
        Some(entry("method", Node::new(method.at.clone(), *name)))
    }));
    let headers = robot.entries.iter().find(|(name, _)| *name == "custom_http_headers");
    fields
        .extend(headers.filter(|(_, map)| !map.entries().is_empty()).map(|(_, map)| entry("headers", (*map).clone())));
    if let Some(user) = robot.said("http_username") {
        fields.push(entry("auth_method", Node::new(user.at.clone(), "basic")));
        fields.push(entry("basic_auth_user", user.clone()));
        fields.extend(robot.said("http_password").map(|word| entry("basic_auth_pass", word.clone())));
    }
    fields
}

/// Host and port; the port is a separate field, part of the address, or the port of a service.
fn host_fields(draft: &mut Draft, what: &str, robot: &Robot<'_>, kind: &str) -> Vec<Entry> {
    let Some(url) = robot.said("url") else { return Vec::new() };
    let text = url.scalar().unwrap_or_default();
    let bare = text.split_once("://").map_or(text.as_str(), |(_, rest)| rest);
    let bare = bare.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, inner) = host_and_port(bare).unwrap_or_else(|| (bare.to_owned(), None));
    let mut fields = Address::Ping(host).columns(url);
    if kind == "ping" {
        return fields;
    }
    let service = match robot.word("sub_type").as_str() {
        "1" | "http" => Some(80),
        "2" | "https" => Some(443),
        "3" | "ftp" => Some(21),
        "4" | "smtp" => Some(25),
        "5" | "pop3" => Some(110),
        "6" | "imap" => Some(143),
        _ => None,
    };
    let own = robot.said("port").filter(|port| port.int().is_some_and(|port| port > 0));
    match own.and_then(Node::int).or(service).or(inner) {
        Some(port) => fields.push(entry("port", Node::new(own.unwrap_or(url).at.clone(), port))),
        None => draft.wrong(&robot.at.at, what, "it checks a port, but the port is not specified"),
    }
    fields
}

/// UptimeRobot alerts if the keyword exists or not; Uptime Kuma inverts the condition.
fn keyword(draft: &mut Draft, what: &str, robot: &Robot<'_>) -> Vec<Entry> {
    let mut fields = Vec::new();
    fields.extend(robot.said("keyword_value").map(|word| entry("keyword", word.clone())));
    let Some(said) = robot.said("keyword_type") else { return fields };
    match robot.word("keyword_type").replace([' ', '_', '-'], "").as_str() {
        "1" | "exists" => fields.push(entry("invert_keyword", Node::new(said.at.clone(), true))),
        "2" | "notexists" => fields.push(entry("invert_keyword", Node::new(said.at.clone(), false))),
        "0" => {}
        other => {
            draft.wrong(&said.at, what, format!("its keyword type `{other}` is neither `Exists` nor `Not Exists`"))
        }
    }
    fields
}
