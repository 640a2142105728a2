//! A monitor in tables and lists: a name, an address, and optional fields.

use super::super::node::{At, Data, Entry, Node};
use super::address::{ParsedAddress, host_of, kind_of};
use super::columns::{ColumnChoice, KeptFields, columns, field_of, groups, tags};
use super::draft::{Draft, DraftMonitor, Parent, entry};
use super::words::{parsed, parts};

/// Keys of a listed monitor that are not columns of the database.
pub(super) const OWN: [&str; 17] = [
    "name",
    "type",
    "group",
    "parent",
    "tags",
    "tag",
    "client",
    "notifications",
    "notification",
    "notificationIDList",
    "notification_list",
    "status_page",
    "public_group",
    "friendly_name",
    "kind",
    "title",
    "monitors",
];

/// The context of a listed monitor.
pub(super) struct ListContext<'a> {
    /// The groups it is in, outermost first; its own `group` is relative to them.
    pub(super) above: &'a [Node],
    /// Its defaults.
    pub(super) inherited: &'a [Entry],
    /// Which of its own fields are converted.
    pub(super) keep: KeptFields,
}

/// Adds the monitor in `row` and returns its key.
pub(super) fn monitor(draft: &mut Draft, row: &Node, around: &ListContext<'_>) -> Option<String> {
    let own = |key: &str| row.find(key).filter(|value| !is_empty(value));
    let inherited = |key: &str| around.inherited.iter().find(|one| one.key == key).map(|one| &one.value);
    let address = own("url").and_then(Node::scalar).and_then(|url| ParsedAddress::read(&url));
    let named = address.as_ref().map(ParsedAddress::name).or_else(|| own("hostname").and_then(Node::scalar));
    let name = own("name").or(own("friendly_name")).or(own("title")).cloned();
    let Some(name) = name.or(named.map(|name| Node::new(row.at.clone(), name))) else {
        draft.wrong(&row.at, "a monitor", "`name` is missing");
        return None;
    };
    let title = name.scalar().unwrap_or_default();
    let what = format!("monitor `{title}`");
    let Some(kind) = kind(row, inherited("type"), address.as_ref()) else {
        let (at, message) = match own("url").map(|url| (&url.at, url.scalar().unwrap_or_default())) {
            Some((at, url)) => (at, format!("the type cannot be derived from `{url}`; add a `type`")),
            None => (
                &row.at,
                "`type` is missing, and there is no address from which the type can be \
                               derived"
                    .to_owned(),
            ),
        };
        draft.account(row);
        draft.wrong(at, &what, message);
        return None;
    };
    let type_name = kind.text().unwrap_or_default();
    let addressed = addressed(row, type_name, address.as_ref());
    let entries = row.entries().iter().filter(|one| one.key != "url" || addressed.is_empty()).chain(&addressed);
    let choice = ColumnChoice { kind: type_name, keep: around.keep, handled: &OWN };
    let mut fields = columns(draft, &what, choice, entries);
    let is_said = |one: &&Entry| !row.entries().iter().chain(&addressed).any(|own| same_key(&own.key, &one.key));
    let unset: Vec<Entry> = around.inherited.iter().filter(is_said).cloned().collect();
    fields.extend(columns(draft, &what, ColumnChoice { keep: KeptFields::Inherited, ..choice }, &unset));
    fields.extend(tags_of(draft, row, inherited("tags")));
    let notified = ["notifications", "notification", "notificationIDList", "notification_list"];
    let notified = notified.iter().find_map(|key| row.find(key).or(inherited(key)));
    if let Some(list) = notified {
        let read = parsed(list);
        if read.as_ref().is_some_and(|read| matches!(&read.data, Data::List(items) if items.is_empty())) {
            // `[]`, which has no item to account for it.
            draft.account(list);
        }
        fields.push(entry("notifications", Node::new(list.at.clone(), parts(read.as_ref().unwrap_or(list)))));
    }
    let mut above = around.above.to_vec();
    above.extend(own("group").or(own("parent")).map(groups).unwrap_or_default());
    let key = draft.key(&title);
    draft.monitor(DraftMonitor {
        at: row.at.clone(),
        name,
        kind,
        keys: vec![line_key(draft, &row.at), key.clone()],
        parent: if above.is_empty() { Parent::Root } else { Parent::Groups(above) },
        fields,
    });
    Some(line_key(draft, &row.at))
}

/// A unique key: its position.
fn line_key(draft: &Draft, at: &At) -> String {
    draft.key(format!("at {}:{}", at.line, at.column))
}

fn is_empty(value: &Node) -> bool {
    value.is_null() || value.text() == Some("")
}

/// Whether both keys are names of the same column.
fn same_key(a: &str, b: &str) -> bool {
    let column = |key: &str| field_of(key).map(|field| field.column);
    a == b || column(a).is_some() && column(a) == column(b)
}

/// The type, as written or derived from the other columns.
fn kind(row: &Node, inherited: Option<&Node>, address: Option<&ParsedAddress>) -> Option<Node> {
    let written = row.first(&["type", "kind"]).or(inherited);
    if let Some(written) = written.filter(|kind| kind.text().is_some_and(|kind| !kind.is_empty())) {
        return Some(Node::new(written.at.clone(), kind_of(written.text().unwrap_or_default())));
    }
    let at = row.find("url").map_or(&row.at, |url| &url.at).clone();
    let has = |column: &str| {
        row.entries()
            .iter()
            .any(|one| !is_empty(&one.value) && field_of(&one.key).is_some_and(|field| field.column == column))
    };
    let reported = match address {
        Some(ParsedAddress::Web(_)) if has("json_path") && has("expected_value") => "json-query",
        Some(ParsedAddress::Web(_)) if has("keyword") => "keyword",
        Some(address) => address.kind(),
        None if has("url") => return None,
        None if has("dns_resolve_server") || has("dns_resolve_type") => "dns",
        None if has("docker_container") => "docker",
        None if has("hostname") && has("port") => "port",
        None if has("hostname") => "ping",
        None => return None,
    };
    Some(Node::new(at, reported))
}

/// Host and port from `url`, for types without a URL.
fn addressed(row: &Node, kind: &str, address: Option<&ParsedAddress>) -> Vec<Entry> {
    let is_hosted = crate::model::kind(kind).is_some_and(|kind| kind.needs.contains(&"hostname"));
    let Some(url) = row.find("url").filter(|url| is_hosted && !is_empty(url)) else { return Vec::new() };
    let columns = match address {
        Some(ParsedAddress::Web(text) | ParsedAddress::Socket(text)) => {
            host_of(text).map(|host| vec![entry("hostname", Node::new(url.at.clone(), host))]).unwrap_or_default()
        }
        Some(address) => address.columns(url),
        None => vec![entry("hostname", url.clone())],
    };
    columns.into_iter().filter(|column| !row.entries().iter().any(|own| same_key(&own.key, &column.key))).collect()
}

/// The tags in `tags`, and the client as another tag.
fn tags_of(draft: &mut Draft, row: &Node, inherited: Option<&Node>) -> Option<Entry> {
    let written = row.first(&["tags", "tag"]).or(inherited);
    let read = written.and_then(parsed);
    let written = read.as_ref().or(written);
    let mut all = match written.map(|written| (&written.data, written)) {
        Some((Data::Map(entries), _)) => entries.iter().map(|one| pair(&one.at, &one.key, &one.value)).collect(),
        Some((_, written)) => parts(written),
        None => Vec::new(),
    };
    if let Some(client) = row.find("client").filter(|client| !is_empty(client)) {
        all.push(pair(&client.at, "client", client));
    }
    let at = all.first()?.at.clone();
    tags(draft, &Node::new(at, all))
}

fn pair(at: &At, name: &str, value: &Node) -> Node {
    Node::map(at.clone(), [("name", Node::new(at.clone(), name)), ("value", value.clone())])
}
