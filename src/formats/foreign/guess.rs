//! Detects the format of a source.

use super::super::node::{Data, Node};
use super::super::text::Syntax;
use super::address::ParsedAddress;
use super::autokuma::{is_containers, is_labels};
use super::{ForeignFormat, SourceFile, gatus, homepage, lines, lookshe, terraform};

/// The lists of a native fixture; a map with one of these at the top level is not in a foreign format.
const NATIVE: [&str; 13] = [
    "version",
    "defaults",
    "tags",
    "notifications",
    "proxies",
    "docker_hosts",
    "remote_browsers",
    "monitors",
    "status_pages",
    "maintenance",
    "api_keys",
    "settings",
    "users",
];

pub(super) fn guess(source: &SourceFile) -> Option<ForeignFormat> {
    let is_text = source.documents.iter().all(|one| matches!(one.data, Data::Text(_) | Data::Null));
    if is_text && is_labels(&source.text) || source.documents.iter().any(is_containers) {
        return Some(ForeignFormat::Autokuma);
    }
    let document = match source.documents.first() {
        Some(document) if matches!(document.data, Data::Map(_) | Data::List(_)) => document,
        _ => return of_text(&source.file, &source.text),
    };
    let mapped = ForeignFormat::ALL.into_iter().find(|format| format.map().is_some_and(|map| map.recognizes(document)));
    match &document.data {
        _ if mapped.is_some() => mapped,
        Data::List(items) if Syntax::of(&source.file) == Some(Syntax::Csv) => Some(of_table(items)),
        Data::List(_) if homepage::is_homepage(document) => Some(ForeignFormat::Homepage),
        Data::List(items) => of_list(items),
        _ => of_map(document),
    }
}

/// Labels or lines, if the text has any; a table, if its first line contains headers.
pub(super) fn of_text(file: &str, text: &str) -> Option<ForeignFormat> {
    if is_labels(text) {
        return Some(ForeignFormat::Autokuma);
    }
    let reported = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let first = reported().find(|line| !line.starts_with("sep="))?;
    let is_read = |line: &str| lines::read(line).is_some();
    // A file of text may be a list of hosts, too; other texts may be anything.
    let is_list = if file.ends_with(".txt") {
        reported().any(is_read) || reported().all(|line| ParsedAddress::read(line).is_some())
    } else {
        reported().all(is_read)
    };
    if is_list {
        return Some(ForeignFormat::Lines);
    }
    let headers: Vec<String> =
        first.split([',', ';', '\t']).map(|header| header.trim_matches([' ', '"']).to_lowercase()).collect();
    let has = |name: &str| headers.iter().any(|header| header == name);
    let is_addressed =
        ["url", "hostname", "type", "host", "address", "ip", "ip address", "target"].iter().any(|name| has(name));
    match (has("friendly name"), has("name") && is_addressed) {
        (true, _) => Some(ForeignFormat::UptimeRobot),
        (_, true) => Some(ForeignFormat::Csv),
        _ => None,
    }
}

fn of_table(rows: &[Node]) -> ForeignFormat {
    let is_theirs = |key: &str| matches!(key.to_lowercase().as_str(), "friendly name" | "friendly_name" | "url/ip");
    if rows.iter().flat_map(Node::entries).any(|entry| is_theirs(&entry.key)) {
        ForeignFormat::UptimeRobot
    } else {
        ForeignFormat::Csv
    }
}

fn of_list(items: &[Node]) -> Option<ForeignFormat> {
    let first = items.first()?;
    let has = |key: &str| items.iter().all(|item| item.find(key).is_some());
    match () {
        () if has("friendly_name") || has("friendlyName") => Some(ForeignFormat::UptimeRobot),
        () if is_sent(first) => Some(ForeignFormat::MonitorList),
        () if has("type") && items.iter().any(|item| item.entries().iter().any(|entry| is_autokuma(&entry.key))) => {
            Some(ForeignFormat::Autokuma)
        }
        () if items.iter().all(is_listed) => Some(ForeignFormat::YamlList),
        () => None,
    }
}

/// Whether an item is a monitor with an address.
fn is_listed(item: &Node) -> bool {
    let keys = ["url", "hostname", "host", "address", "ip", "target"];
    item.entries()
        .iter()
        .any(|entry| keys.contains(&entry.key.to_lowercase().as_str()) && entry.value.scalar().is_some())
}

fn of_map(document: &Node) -> Option<ForeignFormat> {
    let maps = |test: &dyn Fn(&Node) -> bool| {
        let entries = document.entries();
        !entries.is_empty()
            && entries.iter().all(|entry| matches!(entry.value.data, Data::Map(_)) && test(&entry.value))
    };
    let monitors = document.find("monitors");
    let is_native = document.entries().iter().any(|entry| NATIVE.contains(&entry.key.as_str()));
    match () {
        () if document.find("kumaconf").is_some() => Some(ForeignFormat::Kumaconf),
        () if gatus::is_gatus(document) => Some(ForeignFormat::Gatus),
        () if terraform::is_state(document) => Some(ForeignFormat::TerraformState),
        () if document.find("monitorList").is_some() => Some(ForeignFormat::KumaV1),
        () if monitors
            .is_some_and(|list| list.list().first().is_some_and(|one| one.find("friendly_name").is_some())) =>
        {
            Some(ForeignFormat::UptimeRobot)
        }
        () if monitors.is_some_and(|list| super::dump::items(list).first().is_some_and(is_sent)) => {
            Some(ForeignFormat::MonitorList)
        }
        () if lookshe::is_lookshe(document) => Some(ForeignFormat::Lookshe),
        () if monitors.is_some_and(|groups| matches!(groups.data, Data::Map(_))) => Some(ForeignFormat::YamlList),
        () if document
            .find("data")
            .is_some_and(|list| list.list().first().is_some_and(|one| one.find("friendlyName").is_some())) =>
        {
            Some(ForeignFormat::UptimeRobot)
        }
        () if maps(&is_sent) => Some(ForeignFormat::MonitorList),
        () if is_loader(document) => Some(ForeignFormat::LoaderToml),
        () if is_native => has_groups(document).then_some(ForeignFormat::YamlList),
        () if document.find("type").is_some_and(|kind| kind.text().is_some()) => Some(ForeignFormat::Autokuma),
        () if maps(&|value| value.find("type").is_some() && value.find("monitors").is_none()) => {
            Some(ForeignFormat::Autokuma)
        }
        () if has_groups(document) => Some(ForeignFormat::YamlList),
        () => None,
    }
}

/// Whether a map is a monitor in the server's format.
fn is_sent(one: &Node) -> bool {
    one.find("type").is_some() && (one.find("notificationIDList").is_some() || one.find("childrenIDs").is_some())
}

fn is_autokuma(key: &str) -> bool {
    matches!(
        key,
        "parent_name" | "parentName" | "notification_name_list" | "tag_names" | "docker_host_name" | "create_paused"
    )
}

/// Whether the lists have singular keys.
fn is_loader(document: &Node) -> bool {
    document.entries().iter().any(|entry| {
        matches!(entry.key.as_str(), "monitor" | "notification" | "docker" | "status")
            && entry.value.list().iter().any(|item| matches!(item.data, Data::Map(_)))
    })
}

/// Whether there is a group that contains monitors, which a native fixture never has.
fn has_groups(document: &Node) -> bool {
    let outside =
        document.entries().iter().filter(|entry| !NATIVE.contains(&entry.key.as_str()) || entry.key == "monitors");
    outside.into_iter().any(|entry| {
        let is_group =
            |node: &Node| matches!(node.data, Data::Map(_)) && (node.find("monitors").is_some() || has_groups(node));
        is_group(&entry.value)
    })
}
