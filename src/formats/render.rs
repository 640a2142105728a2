//! From nodes to text.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::node::{Data, Entry, Node};
use super::text::Syntax;
use crate::model::entities::{Entity, SETTINGS, entity};

/// `document` as text.
///
/// # Errors
/// A message if the syntax does not support it: CSV supports only monitors.
pub fn render(document: &Node, syntax: Syntax) -> Result<String, String> {
    match syntax {
        Syntax::Yaml => {
            // Quoted for YAML 1.1 too, which many tools still use. Folded lines would be hard to compare.
            let options = serde_saphyr::ser_options! { folded_wrap_chars: 100_000 };
            serde_saphyr::to_string_with_options(document, options).map_err(|error| error.to_string())
        }
        Syntax::Json => {
            serde_json::to_string_pretty(document).map(|text| text + "\n").map_err(|error| error.to_string())
        }
        Syntax::Toml => toml::to_string_pretty(&without_nulls(document).0).map_err(|error| error.to_string()),
        Syntax::Csv => csv(document),
    }
}

/// What `syntax` cannot represent and leaves out, as messages: TOML has no null.
pub fn unset(document: &Node, syntax: Syntax) -> Vec<String> {
    match syntax {
        Syntax::Toml => without_nulls(document).1,
        _ => Vec::new(),
    }
}

/// The fixture as TOML can represent it, and what is lost.
///
/// An empty field is an empty text, which is read as null. In the JSON of a notification or a setting that would be
/// another value, so it is left out there.
fn without_nulls(document: &Node) -> (Node, Vec<String>) {
    let mut lost = Vec::new();
    let node = rewritten(document, |entry| match entity(&entry.key) {
        Some(found) if found.key == SETTINGS.key => Some(rewritten(&entry.value, |setting| {
            filled(&setting.value, &format!("setting `{}`", setting.key), &mut lost)
        })),
        Some(found) => Some(things(found, &entry.value, "", &mut lost)),
        None => filled(&entry.value, &entry.key, &mut lost),
    });
    (node, lost)
}

/// A map with mapped values, without those that are `None`; other nodes are not changed.
fn rewritten(node: &Node, mut value: impl FnMut(&Entry) -> Option<Node>) -> Node {
    let Data::Map(entries) = &node.data else { return node.clone() };
    let entries = entries.iter().filter_map(|entry| Some(Entry { value: value(entry)?, ..entry.clone() })).collect();
    Node { at: node.at.clone(), data: Data::Map(entries) }
}

/// Items of one kind, or parts of `owner`.
fn things(found: &'static Entity, node: &Node, owner: &str, lost: &mut Vec<String>) -> Node {
    let empty = |value: &Node| Node::new(value.at.clone(), "");
    match &node.data {
        Data::List(items) => {
            let items: Vec<Node> = items.iter().map(|item| thing(found, item, owner, lost)).collect();
            Node::new(node.at.clone(), items)
        }
        // `tags: {env: null}`
        _ => rewritten(node, |tag| Some(if tag.value.is_null() { empty(&tag.value) } else { tag.value.clone() })),
    }
}

fn thing(found: &'static Entity, node: &Node, owner: &str, lost: &mut Vec<String>) -> Node {
    let name = node.find(found.name).and_then(Node::scalar).unwrap_or_default();
    let subject = format!("{} `{name}`{owner}", found.noun);
    rewritten(node, |entry| match found.part(&entry.key) {
        Some(part) => Some(things(part, &entry.value, &format!(" of {subject}"), lost)),
        None if entry.value.is_null() => Some(Node::new(entry.value.at.clone(), "")),
        None => filled(&entry.value, &format!("{subject}: {}", entry.key), lost),
    })
}

/// `node` without nulls; `None` if it is null.
fn filled(node: &Node, path: &str, lost: &mut Vec<String>) -> Option<Node> {
    match &node.data {
        Data::Null => {
            lost.push(format!("{path}: is null, which TOML does not support: left out"));
            None
        }
        Data::List(items) => {
            let item = |(at, item)| filled(item, &format!("{path}[{at}]"), lost);
            let items: Vec<Node> = items.iter().enumerate().filter_map(item).collect();
            Some(Node::new(node.at.clone(), items))
        }
        Data::Map(_) => Some(rewritten(node, |entry| filled(&entry.value, &format!("{path}.{}", entry.key), lost))),
        _ => Some(node.clone()),
    }
}

/// One monitor a line; lists are separated by semicolons, and a list of no notifications, which is not the same as none of its
/// own, is `[]`.
fn csv(document: &Node) -> Result<String, String> {
    const FIRST: [&str; 6] = ["name", "type", "parent", "url", "hostname", "port"];
    let others: Vec<&str> = document
        .entries()
        .iter()
        .map(|entry| entry.key.as_str())
        .filter(|key| !matches!(*key, "version" | "monitors"))
        .collect();
    if !others.is_empty() {
        return Err(format!("CSV supports only monitors, not {}", others.join(", ")));
    }
    let monitors = document.find("monitors").map(Node::list).unwrap_or_default();
    let used: BTreeSet<&str> = monitors
        .iter()
        .flat_map(Node::entries)
        .map(|entry| entry.key.as_str())
        .filter(|key| *key != "left_out")
        .collect();
    let has_notifications = |monitor: &Node| monitor.find("notifications").is_some_and(|list| !list.list().is_empty());
    let is_notified = monitors.iter().any(has_notifications);
    let first = FIRST.into_iter().filter(|key| used.contains(key));
    let columns: Vec<&str> = first.chain(used.iter().copied().filter(|key| !FIRST.contains(key))).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&columns).map_err(|error| error.to_string())?;
    for monitor in monitors {
        let cell = |column: &&str| match monitor.find(column) {
            Some(list) if is_notified && *column == "notifications" && list.list().is_empty() => "[]".to_owned(),
            value => value.map(|value| field(column, value)).unwrap_or_default(),
        };
        // Variables are not expanded in a table, so nothing is escaped.
        let fields = columns.iter().map(|column| cell(column).replace("$${", "${"));
        writer.write_record(fields).map_err(|error| error.to_string())?;
    }
    let bytes = writer.into_inner().map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

/// The cell of `node` under the header `key`. A list is JSON where a separator is part of a text.
fn field(key: &str, node: &Node) -> String {
    let is_plain = |text: &str| !text.contains([',', ';', '|']) && text.trim() == text;
    let is_name = |text: &str| is_plain(text) && !text.contains(['=', ':']);
    match &node.data {
        Data::List(items) if items.iter().all(|item| item.scalar().is_some()) => {
            let texts: Vec<String> = items.iter().filter_map(Node::scalar).collect();
            match key {
                "tags" if !texts.iter().all(|text| is_name(text)) => {
                    let names = texts.into_iter().map(|name| (name, Json::Null));
                    Json::Object(names.collect()).to_string()
                }
                _ if !texts.iter().all(|text| is_plain(text)) => Json::from(texts).to_string(),
                _ => texts.join(";"),
            }
        }
        Data::Map(entries) if entries.iter().all(|entry| is_name(&entry.key) && is_pair(&entry.value, is_plain)) => {
            let pair = |key: &str, value: &Node| match value.scalar() {
                Some(value) => format!("{key}={value}"),
                None => key.to_owned(),
            };
            entries.iter().map(|entry| pair(&entry.key, &entry.value)).collect::<Vec<_>>().join(";")
        }
        Data::List(_) | Data::Map(_) => node.json().to_string(),
        _ => node.scalar().unwrap_or_default(),
    }
}

/// Whether `value` can be written behind a `=`.
fn is_pair(value: &Node, is_plain: impl Fn(&str) -> bool) -> bool {
    value.is_null() || value.scalar().is_some_and(|text| is_plain(&text))
}

/// `json` indented, as in files.
pub fn render_json(json: &Json) -> String {
    format!("{json:#}\n")
}
