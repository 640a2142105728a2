//! The configuration of Gatus: endpoints with conditions, which become types and fields of monitors where there are any.

mod conditions;

use super::super::node::{Data, Entry, Node};
use super::SourceFile;
use super::address::host_and_port;
use super::draft::{Draft, DraftMonitor, Parent, entry};
use super::words::{flag, is_off, is_on, number};
use conditions::Conditions;

/// Settings of Gatus itself.
const OWN: [&str; 12] = [
    "storage",
    "web",
    "ui",
    "metrics",
    "debug",
    "concurrency",
    "skip-invalid-config-update",
    "disable-monitoring-lock",
    "connectivity",
    "remote",
    "security",
    "tunneling",
];

/// Whether a file is a configuration of Gatus.
pub(super) fn is_gatus(document: &Node) -> bool {
    let is_endpoint = |one: &Node| one.find("url").is_some() && one.find("conditions").is_some();
    document.find("endpoints").is_some_and(|list| list.list().iter().any(is_endpoint))
        || document.find("external-endpoints").is_some_and(|list| !list.list().is_empty())
}

pub(super) fn convert(draft: &mut Draft, sources: &[SourceFile]) {
    for document in sources.iter().flat_map(|source| &source.documents) {
        draft.account_keys(document, &OWN);
        for one in document.entries() {
            match one.key.as_str() {
                "endpoints" => one.value.list().iter().for_each(|one| endpoint(draft, one)),
                "external-endpoints" => one.value.list().iter().for_each(|one| external(draft, one)),
                "alerting" => draft.skip_entry(one, "`alerting`", "add notifications for it"),
                _ => {}
            }
        }
    }
}

/// An endpoint whose state is reported to Gatus.
fn external(draft: &mut Draft, one: &Node) {
    draft.account_keys(one, &["token"]);
    let Some(name) = one.find("name") else {
        return draft.wrong(&one.at, "an external endpoint", "`name` is missing");
    };
    let interval = one.find("heartbeat").and_then(|heartbeat| heartbeat.find("interval"));
    let mut fields: Vec<Entry> = interval.map(|interval| entry("interval", number(interval))).into_iter().collect();
    fields.extend(enabled(draft, one));
    add(draft, one, name, "push", fields);
}

fn add(draft: &mut Draft, one: &Node, name: &Node, kind: &str, fields: Vec<Entry>) {
    let at = one.find("url").map_or(&one.at, |url| &url.at).clone();
    let group = one.find("group").filter(|group| group.scalar().is_some_and(|group| !group.is_empty()));
    draft.monitor(DraftMonitor {
        at: one.at.clone(),
        name: name.clone(),
        kind: Node::new(at, kind),
        keys: Vec::new(),
        parent: group.map_or(Parent::Root, |group| Parent::Groups(vec![group.clone()])),
        fields,
    });
}

/// `enabled: false` as `active: false`.
fn enabled(draft: &mut Draft, one: &Node) -> Option<Entry> {
    let enabled = one.find("enabled")?;
    match (is_on(enabled), is_off(enabled)) {
        (true, _) => {
            draft.account(enabled);
            None
        }
        (_, true) => Some(entry("active", Node::new(enabled.at.clone(), false))),
        _ => {
            draft.wrong(&enabled.at, "`enabled`", "must be true or false");
            None
        }
    }
}

fn endpoint(draft: &mut Draft, one: &Node) {
    let (Some(name), Some(url)) = (one.find("name"), one.find("url")) else {
        return draft.wrong(&one.at, "an endpoint", "`name` or `url` is missing");
    };
    let what = format!("monitor `{}`", name.scalar().unwrap_or_default());
    let text = url.scalar().unwrap_or_default();
    let (scheme, rest) = text.split_once("://").unwrap_or(("", &text));
    let target = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let conditions = Conditions::read(draft, &what, one.find("conditions").map_or(&[][..], Node::list));
    let (kind, mut fields) = match scheme {
        "http" | "https" => {
            let mut fields = vec![entry("url", url.clone())];
            let kind = conditions.of_request(&mut fields, &one.at);
            fields.extend(request(draft, one));
            (kind, fields)
        }
        "ws" | "wss" => ("websocket-upgrade", vec![entry("url", url.clone())]),
        "icmp" => ("ping", vec![entry("hostname", Node::new(url.at.clone(), target))]),
        "tcp" | "tls" | "starttls" => {
            if scheme != "tcp" {
                draft.doubt(&url.at, what.as_str(), format!("is imported as a TCP port: {scheme} is not checked"));
            }
            match host_and_port(target) {
                Some((host, Some(port))) => {
                    let at = || url.at.clone();
                    ("port", vec![entry("hostname", Node::new(at(), host)), entry("port", Node::new(at(), port))])
                }
                _ => return draft.wrong(&url.at, &what, format!("`{text}` has no port")),
            }
        }
        _ if one.find("dns").is_some() => ("dns", dns(one, url, target)),
        _ => {
            let why = format!("Uptime Kuma has no type for `{text}`");
            return draft.skip(&one.at, what, why);
        }
    };
    if !matches!(scheme, "http" | "https") {
        conditions.refuse_request(draft, &what);
    }
    fields.extend(one.find("interval").map(|interval| entry("interval", number(interval))));
    fields.extend(client(one, kind));
    fields.extend(enabled(draft, one));
    add(draft, one, name, kind, fields);
}

/// Method, headers and body.
fn request(draft: &mut Draft, one: &Node) -> Vec<Entry> {
    let mut fields = Vec::new();
    fields.extend(one.find("method").map(|method| entry("method", method.clone())));
    fields.extend(one.find("headers").map(|headers| entry("headers", headers.clone())));
    if let Some(graphql) = one.find("graphql") {
        if is_off(graphql) {
            draft.account(graphql)
        } else {
            draft.skip(&graphql.at, "`graphql`", "write the body as Gatus would send it")
        }
    }
    fields.extend(one.find("body").map(|body| entry("body", body.clone())));
    fields
}

/// The server that is asked, and what it is asked for.
fn dns(one: &Node, url: &Node, target: &str) -> Vec<Entry> {
    let query = |key: &str| one.find("dns").and_then(|dns| dns.find(key)).cloned();
    let (server, port) = host_and_port(target).unwrap_or_else(|| (target.to_owned(), None));
    let mut fields = Vec::new();
    fields.extend(query("query-name").map(|name| entry("hostname", name)));
    fields.extend(query("query-type").map(|kind| entry("dns_resolve_type", kind)));
    fields.push(entry("dns_resolve_server", Node::new(url.at.clone(), server)));
    fields.extend(port.map(|port| entry("port", Node::new(url.at.clone(), port))));
    fields
}

/// What `client` sets for this type.
fn client(one: &Node, kind: &str) -> Vec<Entry> {
    let given = |key: &str| one.find("client").and_then(|client| client.find(key));
    let is_request = matches!(kind, "http" | "keyword" | "json-query");
    let mut fields = Vec::new();
    if is_request || kind == "websocket-upgrade" {
        fields.extend(given("timeout").map(|timeout| entry("timeout", number(timeout))));
    }
    if is_request {
        fields.extend(given("insecure").map(|yes| entry("ignore_tls", flag(yes))));
        let stays = given("ignore-redirect").filter(|yes| matches!(flag(yes).data, Data::Bool(true)));
        fields.extend(stays.map(|yes| entry("maxredirects", Node::new(yes.at.clone(), 0))));
    }
    fields
}
