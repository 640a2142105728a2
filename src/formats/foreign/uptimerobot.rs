//! UptimeRobot exports: a CSV with words, the JSON of version 2 of its API with numbers, or of version 3 with words.

use super::super::node::{Data, Entry, Node};
use super::SourceFile;
use super::address::{ParsedAddress, host_and_port, host_of};
use super::columns::tags;
use super::csv;
use super::draft::{Draft, DraftMonitor, Parent, entry};
use super::words::{codes, flag, is_off, number};

/// Names in the CSV and both versions of the API, without spaces and in lower case, each with ours.
const NAMES: [(&str, &str); 30] = [
    ("type", "type"),
    ("status", "status"),
    ("friendlyname", "friendly_name"),
    ("url/ip", "url"),
    ("url", "url"),
    ("subtype", "sub_type"),
    ("keywordtype", "keyword_type"),
    ("keywordvalue", "keyword_value"),
    ("keywordcasetype", "keyword_case_type"),
    ("port", "port"),
    ("interval", "interval"),
    ("monitorinterval", "interval"),
    ("monitoringinterval", "interval"),
    ("timeout", "timeout"),
    ("httpusername", "http_username"),
    ("httppassword", "http_password"),
    ("httpauthtype", "http_auth_type"),
    ("authtype", "http_auth_type"),
    ("httpmethod", "http_method"),
    ("httpmethodtype", "http_method"),
    ("customhttpheaders", "custom_http_headers"),
    ("successhttpresponsecodes", "success_codes"),
    ("followredirections", "follow_redirections"),
    ("sslexpirationreminder", "ssl_expiration_reminder"),
    ("domainexpirationreminder", "domain_expiration_reminder"),
    ("tags", "tags"),
    ("tagnames", "tags"),
    ("postvalue", "post_value"),
    ("postvaluedata", "post_value"),
    ("customhttpstatuses", "custom_http_statuses"),
];

/// What the service measures, computes or needs for itself.
const DROPPED: [&str; 19] = [
    "id",
    "createdatetime",
    "posttype",
    "postvaluetype",
    "postcontenttype",
    "ssl",
    "logs",
    "responsetimes",
    "averageresponsetime",
    "customuptimeratio",
    "alltimeuptimeratio",
    "currentstateduration",
    "lastincident",
    "lastincidentid",
    "lastdayuptimes",
    "regionaldata",
    "userid",
    "checksslerrors",
    "responsetimethreshold",
];

/// Settings without a counterpart, with the reason.
const LOST: [(&str, &str); 10] = [
    ("postvalue", "the request body has another format; set `body` manually"),
    ("postvaluedata", "the request body has another format; set `body` manually"),
    ("customhttpstatuses", "the status codes have another format; set `accepted_statuscodes` manually"),
    ("alertcontacts", "contacts are not in the export; add notifications for them"),
    ("assignedalertcontacts", "contacts are not in the export; add notifications for them"),
    ("mwindows", "maintenance windows are not in the export"),
    ("maintenancewindows", "maintenance windows are not in the export"),
    ("groupid", "groups are not in the export"),
    ("config", "its settings have no counterpart"),
    ("graceperiod", "Uptime Kuma has no grace period"),
];

/// HTTP methods, by number from 1.
const METHODS: [&str; 7] = ["HEAD", "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

pub(super) fn convert(draft: &mut Draft, sources: &[SourceFile]) {
    for source in sources {
        let is_read = source.documents.iter().any(|document| matches!(document.data, Data::Map(_) | Data::List(_)));
        if is_read {
            source.documents.iter().for_each(|document| {
                draft.root(document.clone());
                list(draft, document);
            })
        } else {
            csv::tables(draft, source).iter().for_each(|table| list(draft, table))
        }
    }
}

fn list(draft: &mut Draft, document: &Node) {
    let Data::List(monitors) = &document.first(&["monitors", "data"]).unwrap_or(document).data else {
        let message = format!("must be a list of monitors, not {}", document.noun());
        draft.wrong(&document.at, "an export of UptimeRobot", message);
        return;
    };
    pages(draft, document, monitors.len());
    check_names(draft, monitors);
    // Spreadsheets often end with lines of commas.
    monitors.iter().filter(|one| !one.entries().is_empty()).for_each(|one| monitor(draft, one));
}

/// Reports a file that is only one page of a longer list.
fn pages(draft: &mut Draft, document: &Node, count: usize) {
    draft.account_keys(document, &["stat", "nextLink", "pagination"]);
    let pagination = document.find("pagination");
    let total = pagination.and_then(|pagination| pagination.find("total")).and_then(Node::int);
    let missing = total.filter(|total| usize::try_from(*total).is_ok_and(|total| total > count));
    let next = document.find("nextLink").filter(|link| link.scalar().is_some_and(|link| !link.is_empty()));
    if let Some((total, pagination)) = missing.zip(pagination) {
        draft.skip(&pagination.at, "the other pages", format!("the file has {count} of {total} monitors"));
    } else if let Some(next) = next {
        draft.skip(&next.at, "the other pages", format!("the file is one page, with {count} monitors"));
    }
}

fn squeezed(key: &str) -> String {
    key.trim().to_lowercase().replace([' ', '_', '-'], "")
}

fn known(key: &str) -> Option<&'static str> {
    let key = squeezed(key);
    NAMES.iter().find(|(name, _)| *name == key).map(|(_, known)| *known)
}

/// Rejects unknown names, once for the list.
fn check_names(draft: &mut Draft, monitors: &[Node]) {
    let mut seen = Vec::new();
    for one in monitors.iter().flat_map(Node::entries) {
        let key = squeezed(&one.key);
        if known(&one.key).is_some() || LOST.iter().any(|(name, _)| *name == key) {
            continue;
        }
        if DROPPED.contains(&key.as_str()) || seen.contains(&&one.key) {
            draft.account(&one.value);
        } else {
            draft.unknown(one, "a monitor", NAMES.iter().map(|(_, known)| *known));
            seen.push(&one.key);
        }
    }
}

/// A monitor of UptimeRobot, with our names.
struct Robot<'n> {
    node: &'n Node,
    entries: Vec<(&'static str, &'n Node)>,
}

impl<'n> Robot<'n> {
    fn of(node: &'n Node) -> Robot<'n> {
        let entries = node.entries().iter().filter_map(|entry| Some((known(&entry.key)?, &entry.value)));
        Robot { node, entries: entries.collect() }
    }

    fn any(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    fn given(&self, key: &str) -> Option<&'n Node> {
        self.any(key).filter(|value| value.scalar().is_some_and(|text| !text.trim().is_empty()))
    }

    /// The value of `key`, in lower case.
    fn word(&self, key: &str) -> String {
        self.given(key).and_then(Node::scalar).unwrap_or_default().trim().to_lowercase()
    }
}

fn monitor(draft: &mut Draft, one: &Node) {
    let robot = Robot::of(one);
    let url = robot.given("url");
    let host = url.and_then(Node::scalar).map(|url| host_of(&url).unwrap_or(url));
    let named = robot.given("friendly_name").map(on_one_line);
    let Some(name) = named.or(host.map(|host| Node::new(one.at.clone(), host))) else {
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
            draft.skip(&one.at, what, format!("its type `{other}` is not supported"));
            return;
        }
    };
    let is_request = matches!(kind, "http" | "keyword");
    let mut fields = match kind {
        "http" | "keyword" => url.map(|url| entry("url", url.clone())).into_iter().collect(),
        "ping" | "port" => host_fields(draft, &what, &robot, kind),
        _ => {
            // The address at which UptimeRobot expects heartbeats.
            url.into_iter().for_each(|url| draft.account(url));
            Vec::new()
        }
    };
    if kind == "keyword" {
        fields.extend(keyword(draft, &what, &robot));
    }
    fields.extend(interval(draft, &what, &robot));
    if is_request || kind == "port" {
        let timeout = robot.given("timeout").map(number);
        fields.extend(timeout.filter(|seconds| seconds.int() != Some(0)).map(|seconds| entry("timeout", seconds)));
    }
    if is_request {
        fields.extend(request(draft, &what, &robot));
    }
    account_defaults(draft, &robot, is_request);
    lost(draft, &what, one);
    if let Some(status) = robot.given("status").filter(|status| status.scalar().is_some()) {
        draft.account(status);
        if matches!(robot.word("status").as_str(), "0" | "paused") {
            fields.push(entry("active", Node::new(status.at.clone(), false)));
        }
    }
    fields.extend(robot.any("tags").and_then(|list| tags(draft, list)));
    let kind = Node::new(robot.given("type").map_or(&one.at, |kind| &kind.at).clone(), kind);
    draft.monitor(DraftMonitor { at: one.at.clone(), name, kind, keys: Vec::new(), parent: Parent::Root, fields });
}

/// A name with line breaks, which the page cannot show.
fn on_one_line(name: &Node) -> Node {
    let words: Vec<String> = name.scalar().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    Node::new(name.at.clone(), words.join(" "))
}

/// Accounts for values that have no effect in Uptime Kuma, or the same.
fn account_defaults(draft: &mut Draft, robot: &Robot<'_>, is_request: bool) {
    for key in ["sub_type", "keyword_type", "keyword_case_type", "port", "http_auth_type", "timeout"] {
        let value = robot.any(key);
        value.filter(|value| is_off(value)).into_iter().for_each(|value| draft.account(value));
    }
    for key in [
        "http_auth_type",
        "http_method",
        "success_codes",
        "follow_redirections",
        "ssl_expiration_reminder",
        "domain_expiration_reminder",
        "timeout",
    ] {
        // The service has them for monitors that send no request, too.
        let value = robot.any(key).filter(|value| !is_request && value.entries().is_empty());
        value.into_iter().for_each(|value| draft.account(value));
    }
    robot.any("post_value").into_iter().for_each(|value| draft.account(value));
    robot.any("custom_http_statuses").into_iter().for_each(|value| draft.account(value));
}

/// Reports what has no counterpart.
fn lost(draft: &mut Draft, what: &str, one: &Node) {
    for setting in one.entries() {
        let key = squeezed(&setting.key);
        let Some((_, why)) = LOST.iter().find(|(name, _)| *name == key) else { continue };
        let value = &setting.value;
        let is_said = !value.list().is_empty() || !value.entries().is_empty();
        if is_said || value.scalar().is_some_and(|text| !text.trim().is_empty() && !is_off(value)) {
            draft.skip_entry(setting, format!("`{}` of {what}", setting.key), *why)
        } else {
            draft.account(&setting.value)
        }
    }
}

/// The interval; a number below the shortest interval of the service is in minutes, as on its website.
fn interval(draft: &mut Draft, what: &str, robot: &Robot<'_>) -> Option<Entry> {
    let given = robot.given("interval")?;
    let seconds = number(given);
    match seconds.int() {
        Some(0) => {
            draft.account(given);
            None
        }
        Some(n @ 1..30) => {
            draft.doubt(&given.at, format!("`interval` of {what}"), format!("{n} is read as {n} minutes"));
            Some(entry("interval", Node::new(given.at.clone(), n * 60)))
        }
        _ => Some(entry("interval", seconds)),
    }
}

/// Method, headers, login and conditions of a request.
fn request(draft: &mut Draft, what: &str, robot: &Robot<'_>) -> Vec<Entry> {
    let mut fields = Vec::new();
    if let Some(method) = robot.given("http_method") {
        let word = robot.word("http_method").to_uppercase();
        let number = method.int().and_then(|n| METHODS.get(usize::try_from(n - 1).ok()?));
        match METHODS.iter().find(|name| **name == word).or(number) {
            Some(name) => fields.push(entry("method", Node::new(method.at.clone(), *name))),
            None if is_off(method) => draft.account(method),
            None => draft.wrong(&method.at, what, format!("its method `{word}` is unknown")),
        }
    }
    let headers = robot.any("custom_http_headers").filter(|map| !map.entries().is_empty());
    fields.extend(headers.map(|map| entry("headers", map.clone())));
    fields.extend(login(draft, what, robot));
    fields.extend(robot.any("success_codes").filter(|list| !list.list().is_empty()).map(|list| {
        draft.account(list);
        entry("accepted_statuscodes_json", codes(list))
    }));
    if let Some(follow) = robot.given("follow_redirections") {
        draft.account(follow);
        fields.extend(is_off(follow).then(|| entry("maxredirects", Node::new(follow.at.clone(), 0))));
    }
    fields.extend(robot.given("ssl_expiration_reminder").map(|yes| entry("expiry_notification", flag(yes))));
    let domain = robot.given("domain_expiration_reminder");
    fields.extend(domain.map(|yes| entry("domain_expiry_notification", flag(yes))));
    fields
}

fn login(draft: &mut Draft, what: &str, robot: &Robot<'_>) -> Vec<Entry> {
    let method = robot.given("http_auth_type");
    let known = match robot.word("http_auth_type").as_str() {
        "" | "0" | "none" => {
            method.into_iter().for_each(|method| draft.account(method));
            "basic"
        }
        "1" | "http_basic" | "basic" => "basic",
        other => {
            let given = if matches!(other, "2" | "digest") { "digest" } else { other };
            let at = method.map_or(&robot.node.at, |method| &method.at);
            draft.skip(at, format!("the login of {what}"), format!("Uptime Kuma has no {given} authentication"));
            ["http_username", "http_password"]
                .iter()
                .filter_map(|key| robot.any(key))
                .for_each(|one| draft.account(one));
            return Vec::new();
        }
    };
    let Some(user) = robot.given("http_username") else { return Vec::new() };
    let at = method.map_or(&user.at, |method| &method.at).clone();
    let mut fields = vec![entry("auth_method", Node::new(at, known)), entry("basic_auth_user", user.clone())];
    fields.extend(robot.given("http_password").map(|word| entry("basic_auth_pass", word.clone())));
    fields
}

/// Host and port; the port is a separate field, part of the address, or the port of a service.
fn host_fields(draft: &mut Draft, what: &str, robot: &Robot<'_>, kind: &str) -> Vec<Entry> {
    let Some(url) = robot.given("url") else { return Vec::new() };
    let text = url.scalar().unwrap_or_default();
    let bare = text.split_once("://").map_or(text.as_str(), |(_, rest)| rest);
    let bare = bare.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, inner) = host_and_port(bare).unwrap_or_else(|| (bare.to_owned(), None));
    let mut fields = ParsedAddress::Ping(host).columns(url);
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
    robot.given("sub_type").into_iter().for_each(|kind| draft.account(kind));
    let own = robot.given("port").map(|port| (port, number(port).int()));
    match own {
        Some((port, None)) => {
            draft.wrong(&port.at, what, format!("its port `{}` is not a number", port.scalar().unwrap_or_default()));
        }
        _ => {
            let own = own.and_then(|(port, n)| Some((port, n.filter(|n| *n > 0)?)));
            match own.map(|(_, n)| n).or(service).or(inner) {
                Some(n) => fields.push(entry("port", Node::new(own.map_or(url, |(port, _)| port).at.clone(), n))),
                None => draft.wrong(&robot.node.at, what, "it checks a port, but the port is not specified"),
            }
        }
    }
    fields
}

/// UptimeRobot alerts if the keyword exists or not; Uptime Kuma inverts the condition.
fn keyword(draft: &mut Draft, what: &str, robot: &Robot<'_>) -> Vec<Entry> {
    let mut fields = Vec::new();
    fields.extend(robot.given("keyword_value").map(|word| entry("keyword", word.clone())));
    if let Some(case) = robot.given("keyword_case_type") {
        match robot.word("keyword_case_type").as_str() {
            "0" | "casesensitive" => draft.account(case),
            _ => draft.skip(
                &case.at,
                format!("`keyword_case_type` of {what}"),
                "Uptime Kuma compares upper and lower case",
            ),
        }
    }
    let Some(given) = robot.given("keyword_type") else { return fields };
    match squeezed(&robot.word("keyword_type")).trim_start_matches("alert") {
        "1" | "exists" => fields.push(entry("invert_keyword", Node::new(given.at.clone(), true))),
        "2" | "notexists" => fields.push(entry("invert_keyword", Node::new(given.at.clone(), false))),
        "0" => {}
        other => {
            draft.wrong(&given.at, what, format!("its keyword type `{other}` is neither `Exists` nor `Not Exists`"));
        }
    }
    fields
}
