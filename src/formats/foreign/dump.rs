//! Converts items as sent by the server's socket API; the backup of 1.x, lists of monitors and tables use it.

use super::super::node::{At, Data, Entry, Node};
use super::address::type_of;
use super::columns::{ColumnChoice, KeptFields, check_keys, columns, tags};
use super::draft::id_of;
use super::draft::{Draft, DraftMonitor, Parent, Places, entry};
use super::words::parsed;
use super::words::{self, flag, is_off};
use super::{maintenance, status_page};

/// The lists of one file.
#[derive(Default)]
pub(super) struct Dump {
    pub(super) monitors: Vec<Node>,
    pub(super) notifications: Vec<Node>,
    pub(super) proxies: Vec<Node>,
    pub(super) docker_hosts: Vec<Node>,
    pub(super) remote_browsers: Vec<Node>,
    pub(super) tags: Vec<Node>,
    pub(super) status_pages: Vec<Node>,
    pub(super) maintenance: Vec<Node>,
}

/// One of the lists of a dump.
pub(super) type ListOf = fn(&mut Dump) -> &mut Vec<Node>;

/// The keys of a wrapper that are converted, each with the list it fills.
pub(super) const LISTS: [(&[&str], ListOf); 8] = [
    (&["monitors", "monitorList", "monitor_list"], |dump| &mut dump.monitors),
    (&["notifications", "notificationList", "notification_list"], |dump| &mut dump.notifications),
    (&["proxies", "proxyList", "proxy_list"], |dump| &mut dump.proxies),
    (&["dockerHosts", "dockerHostList", "docker_hosts", "docker_host_list"], |dump| &mut dump.docker_hosts),
    (&["remoteBrowsers", "remoteBrowserList", "remote_browsers"], |dump| &mut dump.remote_browsers),
    (&["tags", "tagList", "tag_list"], |dump| &mut dump.tags),
    (&["statusPages", "statusPageList", "status_pages"], |dump| &mut dump.status_pages),
    (&["maintenance", "maintenances", "maintenanceList", "maintenance_list"], |dump| &mut dump.maintenance),
];

/// Facts about a file and its server.
const ABOUT: [&str; 9] =
    ["version", "timestamp", "instance", "url", "exported_at", "exportedAt", "created_at", "generated_at", "server"];

fn is_empty(node: &Node) -> bool {
    match &node.data {
        Data::Null => true,
        Data::List(items) => items.is_empty(),
        Data::Map(entries) => entries.is_empty(),
        _ => node.text() == Some(""),
    }
}

/// The lists in a wrapper. Other lists and maps are reported as skipped.
pub(super) fn unwrap(draft: &mut Draft, wrapper: &Node) -> Dump {
    let mut dump = Dump::default();
    for one in wrapper.entries() {
        match LISTS.iter().find(|(keys, _)| keys.contains(&one.key.as_str())) {
            Some((_, list)) => list(&mut dump).extend(items(&one.value)),
            None if ABOUT.contains(&one.key.as_str()) => draft.account(&one.value),
            None if is_empty(&one.value) => {}
            None => {
                let why = "it is not configuration, or the server creates it itself";
                draft.skip_entry(one, format!("`{}`", one.key), why);
            }
        }
    }
    dump
}

/// The items in a list, or in a map by id.
pub(super) fn items(node: &Node) -> Vec<Node> {
    match &node.data {
        Data::List(items) => items.clone(),
        Data::Map(entries) => entries.iter().map(|entry| entry.value.clone()).collect(),
        _ => Vec::new(),
    }
}

/// Converts all `dumps`; ids of one are not valid in another.
pub(super) fn convert(draft: &mut Draft, dumps: &[Dump], keep: &[KeptFields]) {
    for (scope, dump) in dumps.iter().enumerate() {
        draft.scope = scope;
        things(draft, dump);
        let keep = keep.get(scope).copied().unwrap_or_else(KeptFields::newest);
        dump.monitors.iter().for_each(|one| monitor(draft, one, keep));
    }
    let places = draft.place();
    for (scope, dump) in dumps.iter().enumerate() {
        draft.scope = scope;
        pages(draft, dump, &places);
    }
}

/// Adds everything except monitors, status pages and maintenance.
pub(super) fn things(draft: &mut Draft, dump: &Dump) {
    dump.tags.iter().for_each(|tag| match tag.find("name") {
        Some(name) => {
            draft.account_keys(tag, &STORED);
            if name.scalar().is_some() {
                draft.account(name);
            }
            draft.tag(name, tag.find("color"));
        }
        None => draft.skip(&tag.at, "a tag", "the name is missing"),
    });
    dump.notifications.iter().for_each(|one| notification(draft, one));
    dump.proxies.iter().for_each(|one| proxy(draft, one));
    for (section, nodes, columns) in [
        ("docker_hosts", &dump.docker_hosts, &DOCKER_HOST[..]),
        ("remote_browsers", &dump.remote_browsers, &REMOTE_BROWSER[..]),
    ] {
        nodes.iter().for_each(|one| named(draft, section, one, columns));
    }
}

/// Columns with their names in sources.
pub(super) type ColumnNames = [(&'static str, &'static [&'static str])];

/// The columns of a Docker host.
pub(super) const DOCKER_HOST: [(&str, &[&str]); 2] = [
    ("docker_type", &["dockerType", "docker_type", "connection_type", "connectionType", "type"]),
    ("docker_daemon", &["dockerDaemon", "docker_daemon", "host", "path"]),
];
/// The columns of a remote browser.
pub(super) const REMOTE_BROWSER: [(&str, &[&str]); 1] = [("url", &["url"])];

/// An item that others refer to by name.
pub(super) fn named(draft: &mut Draft, section: &'static str, one: &Node, columns: &ColumnNames) {
    let Some(name) = text(one, &["name"]) else {
        draft.skip(&one.at, format!("one of `{section}`"), "the name is missing");
        return;
    };
    let title = name.scalar().unwrap_or_default();
    draft.account_keys(one, &STORED);
    let known: Vec<&str> = columns.iter().flat_map(|(_, names)| names.iter().copied()).chain(OWN).collect();
    check_keys(draft, &format!("`{title}`"), one, &known);
    let unique = draft.unique(section, &title);
    refer(draft, section, one, &unique);
    let mut entries = vec![("name", Node::new(name.at.clone(), unique))];
    for (column, names) in columns {
        entries.extend(one.first(names).map(|value| (*column, value.clone())));
    }
    draft.add(section, Node::map(one.at.clone(), entries));
}

fn refer(draft: &mut Draft, section: &'static str, one: &Node, name: &str) {
    if let Some(id) = one.find("id").and_then(id_of) {
        draft.refer(section, &id, name);
    }
}

/// Columns of every row of the server.
const OWN: [&str; 7] = ["id", "name", "userID", "userId", "user_id", "createdDate", "created_date"];

/// Those that are not configuration.
const STORED: [&str; 6] = ["id", "userID", "userId", "user_id", "createdDate", "created_date"];

/// The first of `keys` with a text.
fn text<'n>(node: &'n Node, keys: &[&str]) -> Option<&'n Node> {
    node.first(keys).filter(|found| found.scalar().is_some_and(|text| !text.trim().is_empty()))
}

/// Keys of a config that are separate fields in the native format or are not stored.
const NOT_CONFIG: [&str; 7] = ["name", "type", "isDefault", "applyExisting", "id", "active", "userId"];

/// Keys of a notification outside its config.
const BESIDE_CONFIG: [&str; 7] = ["type", "config", "isDefault", "is_default", "default", "active", "applyExisting"];

/// Adds a notification.
pub(super) fn notification(draft: &mut Draft, one: &Node) {
    let config = match one.find("config") {
        Some(Node { data: Data::Text(_), .. }) => one.find("config").and_then(parsed),
        Some(config @ Node { data: Data::Map(_), .. }) => Some(config.clone()),
        _ => Some(Node { at: one.at.clone(), data: Data::Map(Vec::new()) }),
    };
    let Some(name) = text(one, &["name"]).or(config.as_ref().and_then(|config| text(config, &["name"]))).cloned()
    else {
        draft.skip(&one.at, "a notification", "the name is missing");
        return;
    };
    let title = name.scalar().unwrap_or_default();
    let what = format!("notification `{title}`");
    let Some(config) = config.filter(|config| matches!(config.data, Data::Map(_))) else {
        let at = one.find("config").map_or(&one.at, |config| &config.at).clone();
        draft.wrong(&at, &what, "its `config` is not a JSON object");
        return;
    };
    check_keys(draft, &what, one, &[&BESIDE_CONFIG[..], &OWN].concat());
    draft.account_keys(one, &STORED);
    draft.account_keys(one, &["applyExisting"]);
    draft.account_keys(&config, &["isDefault", "applyExisting", "id", "active", "userId"]);
    if let Some(own) = text(&config, &["name"]) {
        draft.account(own);
    }
    let (inner, outer) = (text(&config, &["type"]), text(one, &["type"]));
    if let (Some(inner), Some(outer)) = (inner, outer)
        && inner.scalar() == outer.scalar()
    {
        draft.account(outer);
    }
    let unique = draft.unique("notifications", &title);
    refer(draft, "notifications", one, &unique);
    let mut entries = vec![("name", Node::new(name.at, unique))];
    entries.extend(text(&config, &["type"]).or(text(one, &["type"])).map(|kind| ("type", kind.clone())));
    let default = one.first(&["isDefault", "is_default", "default"]).or(config.find("isDefault"));
    entries.extend(default.map(|yes| ("default", flag(yes))));
    entries.extend(one.find("active").filter(|yes| !yes.is_null()).map(|yes| ("active", flag(yes))));
    let kept = config.entries().iter().filter(|entry| !NOT_CONFIG.contains(&entry.key.as_str()));
    entries.push(("config", Node { at: config.at.clone(), data: Data::Map(kept.cloned().collect()) }));
    draft.add("notifications", Node::map(one.at.clone(), entries));
}

/// Keys of a proxy.
const PROXY: [&str; 8] = ["protocol", "host", "port", "auth", "username", "password", "active", "default"];

/// Adds a proxy.
pub(super) fn proxy(draft: &mut Draft, one: &Node) {
    let part = |key: &str| one.find(key).and_then(Node::scalar).unwrap_or_default();
    let address = format!("{}://{}:{}", part("protocol"), part("host"), part("port"));
    refer(draft, "proxies", one, &address);
    if draft.is_taken("proxies", &address) {
        draft.skip(
            &one.at,
            format!("proxy `{address}`"),
            "the file contains this address twice; the first one is \
                                                           used",
        );
        return;
    }
    check_keys(draft, &format!("proxy `{address}`"), one, &[&PROXY[..], &OWN].concat());
    draft.account_keys(one, &STORED);
    let mut entries = Vec::new();
    for key in PROXY {
        let value = one.find(key).filter(|value| !value.is_null() && value.text() != Some(""));
        entries.extend(value.map(|value| match key {
            "auth" | "active" | "default" => (key, flag(value)),
            _ => (key, value.clone()),
        }));
    }
    draft.add("proxies", Node::map(one.at.clone(), entries));
}

/// Keys of a monitor that are not columns.
const HANDLED: [&str; 10] = [
    "name",
    "type",
    "parent",
    "tags",
    "notificationIDList",
    "notificationIdList",
    "notification_id_list",
    "notifications",
    "notificationList",
    "parent_name",
];

fn monitor(draft: &mut Draft, one: &Node, keep: KeptFields) {
    let Some(name) = text(one, &["name"]) else {
        draft.wrong(&one.at, "a monitor", "`name` is missing");
        return;
    };
    let what = format!("monitor `{}`", name.scalar().unwrap_or_default());
    let Some(kind) = text(one, &["type"]) else {
        draft.wrong(&one.at, &what, "`type` is missing");
        return;
    };
    let kind = Node::new(kind.at.clone(), type_of(&kind.scalar().unwrap_or_default()));
    let choice = ColumnChoice { kind: kind.text().unwrap_or_default(), keep, handled: &HANDLED };
    let mut fields = columns(draft, &what, choice, one.entries());
    fields.extend(one.find("tags").and_then(|value| tags(draft, value)));
    fields.extend(notifications(draft, one));
    let (parent, named) = (one.find("parent"), one.find("parent_name"));
    if parent.is_some_and(|parent| !is_no_parent(parent)) {
        named.into_iter().for_each(|name| draft.account(name));
    }
    let parent = [parent, named].into_iter().flatten().find(|parent| {
        let is_none = is_no_parent(parent);
        if is_none {
            draft.account(parent);
        }
        !is_none
    });
    draft.monitor(DraftMonitor {
        at: one.at.clone(),
        name: name.clone(),
        kind,
        keys: one.find("id").and_then(id_of).map(|id| draft.key(id)).into_iter().collect(),
        parent: match parent.and_then(|parent| Some((parent, id_of(parent)?))) {
            Some((parent, id)) => Parent::Key(Node::new(parent.at.clone(), draft.key(id))),
            None => Parent::Root,
        },
        fields,
    });
}

/// `0`, and what tools write for nothing.
fn is_no_parent(parent: &Node) -> bool {
    parent.is_null() || parent.int() == Some(0) || parent.scalar().is_some_and(|text| words::is_nothing(&text))
}

/// `notifications` of a monitor, by name, also if empty: the default ones are not intended then. Without a list
/// they are, as for a new monitor of the page.
fn notifications(draft: &mut Draft, one: &Node) -> Option<Entry> {
    let keys =
        ["notificationIDList", "notificationIdList", "notification_id_list", "notificationList", "notifications"];
    let list = one.first(&keys)?;
    let desired: Vec<(String, At)> = match &list.data {
        Data::Map(entries) => {
            let (on, off): (Vec<&Entry>, Vec<&Entry>) = entries.iter().partition(|entry| entry.value.truthy());
            off.into_iter().filter(|entry| is_off(&entry.value)).for_each(|entry| draft.account(&entry.value));
            on.into_iter().map(|entry| (entry.key.clone(), entry.value.at.clone())).collect()
        }
        Data::List(items) => items.iter().filter_map(|item| Some((id_of(item)?, item.at.clone()))).collect(),
        _ => Vec::new(),
    };
    let mut names = Vec::new();
    for (id, at) in desired {
        match draft.referred("notifications", &id).map(str::to_owned) {
            Some(name) => names.push(Node::new(at, name)),
            // A name refers to an existing notification.
            None if id.parse::<i64>().is_err() => names.push(Node::new(at, id)),
            None => draft.miss("notifications", &id, &at),
        }
    }
    Some(entry("notifications", Node::new(list.at.clone(), names)))
}

/// Adds status pages and maintenance.
pub(super) fn pages(draft: &mut Draft, dump: &Dump, places: &Places) {
    for one in &dump.status_pages {
        if let Some(page) = status_page::status_page(draft, one, places) {
            draft.add("status_pages", page);
        }
    }
    for one in &dump.maintenance {
        if let Some(window) = maintenance::maintenance(draft, one, places) {
            draft.add("maintenance", window);
        }
    }
}
