//! Monitors under the names of their groups: `monitors: {Network: [...], default: [...]}`, and nested groups, each with
//! `monitors` and defaults for its content.

use super::super::node::{Data, Entry, Node};
use super::SourceFile;
use super::address::ParsedAddress;
use super::columns::{KeptFields, field_of};
use super::draft::{Draft, entry};
use super::lines;
use super::listed::{self, ListContext, OWN};

/// Keys of a group that are neither defaults nor groups.
const OF_GROUP: [&str; 7] = ["monitors", "groups", "defaults", "name", "version", "type", "children"];

/// A group that is being read.
#[derive(Clone, Default)]
struct Group {
    /// Its name and those of the groups it is in, outermost first.
    path: Vec<Node>,
    /// Defaults of its monitors.
    defaults: Vec<Entry>,
}

impl Group {
    /// The group `name` inside this one.
    fn inner(&self, name: Node) -> Group {
        let mut inner = self.clone();
        inner.path.push(name);
        inner
    }

    /// Sets a default; it overrides that of an outer group.
    fn take(&mut self, one: &Entry) {
        let column = |key: &str| field_of(key).map_or(key.to_owned(), |field| field.column.to_owned());
        self.defaults.retain(|known| column(&known.key) != column(&one.key));
        self.defaults.push(one.clone());
    }
}

pub(super) fn convert(draft: &mut Draft, sources: &[SourceFile]) {
    for (scope, document) in sources.iter().flat_map(|source| &source.documents).enumerate() {
        draft.scope = scope;
        match &document.data {
            Data::Map(_) => group(draft, &Group::default(), document),
            Data::List(_) => members(draft, &Group::default(), document),
            _ => draft.wrong(&document.at, "a list of monitors", format!("expected, but found {}", document.noun())),
        }
    }
}

/// Reads a map: defaults first, at any position.
fn group(draft: &mut Draft, outer: &Group, map: &Node) {
    let mut own = outer.clone();
    for one in map.entries() {
        match one.key.as_str() {
            "defaults" => one.value.entries().iter().for_each(|default| own.take(default)),
            "type" if one.value.text() == Some("group") => draft.account(&one.value),
            "version" if outer.path.is_empty() => draft.account(&one.value),
            _ if is_default(one) => own.take(one),
            _ => {}
        }
    }
    for one in map.entries() {
        match (one.key.as_str(), &one.value.data) {
            ("monitors" | "groups" | "children", Data::List(_)) => members(draft, &own, &one.value),
            ("monitors" | "groups" | "children", Data::Map(groups)) => {
                groups.iter().for_each(|inner| named(draft, &own, inner));
            }
            ("monitors" | "groups" | "children", Data::Null) => {}
            ("defaults" | "name" | "version" | "type", _) => {}
            _ if is_default(one) => {}
            (_, data) if own.path.is_empty() && is_bare(data) => {
                draft.skip_entry(one, format!("group `{}`", one.key), "it contains no monitors")
            }
            (_, Data::Map(_) | Data::List(_) | Data::Null) => named(draft, &own, one),
            _ => {
                let known = crate::model::fields::FIELDS.iter().map(|field| field.column);
                let what = own
                    .path
                    .last()
                    .and_then(Node::scalar)
                    .map_or("the file".to_owned(), |name| format!("group `{name}`"));
                draft.unknown(one, &what, OF_GROUP.into_iter().chain(known));
            }
        }
    }
}

fn is_bare(data: &Data) -> bool {
    match data {
        Data::Null => true,
        Data::List(items) => items.is_empty(),
        Data::Map(entries) => entries.is_empty(),
        _ => false,
    }
}

/// Whether an entry of a group is a default, and not a group with the name of a column.
fn is_default(one: &Entry) -> bool {
    let is_known = field_of(&one.key).is_some() || OWN.contains(&one.key.as_str());
    let is_group =
        one.value.find("monitors").is_some() || one.value.list().iter().any(|item| !item.entries().is_empty());
    let is_tags = one.key == "tags";
    is_known && !matches!(one.key.as_str(), "name" | "monitors" | "parent" | "group") && (is_tags || !is_group)
}

/// Reads the content of a group; `default` means no group.
fn named(draft: &mut Draft, outer: &Group, one: &Entry) {
    let inner = match one.key.as_str() {
        "default" | "ungrouped" => outer.clone(),
        name => outer.inner(Node::new(one.at.clone(), name)),
    };
    if !inner.path.is_empty() {
        draft.group(inner.path.clone());
    }
    match &one.value.data {
        Data::Map(_) => group(draft, &inner, &one.value),
        Data::List(_) => members(draft, &inner, &one.value),
        Data::Null => {}
        _ => draft.wrong(
            &one.value.at,
            &format!("group `{}`", one.key),
            format!(
                "contains {} instead of \
                                                                                  monitors",
                one.value.noun()
            ),
        ),
    }
}

/// Reads a list of monitors, and of groups with a name.
fn members(draft: &mut Draft, own: &Group, list: &Node) {
    for one in list.list() {
        match &one.data {
            Data::Map(_) if one.first(&["monitors", "groups", "children"]).is_some() => {
                let Some(name) = one.find("name") else {
                    draft.wrong(&one.at, "a group", "`name` is missing");
                    continue;
                };
                let inner = own.inner(name.clone());
                draft.group(inner.path.clone());
                group(draft, &inner, one);
            }
            Data::Map(_) => {
                let around = ListContext { above: &own.path, inherited: &own.defaults, keep: KeptFields::All };
                listed::monitor(draft, one, &around);
            }
            Data::Text(text) => written(draft, own, one, text),
            _ => draft.wrong(&one.at, "a monitor", format!("expected, but found {}", one.noun())),
        }
    }
}

/// Reads a monitor that is a single line of text.
fn written(draft: &mut Draft, own: &Group, one: &Node, text: &str) {
    let entries = match (lines::read(text), ParsedAddress::read(text)) {
        (Some(line), _) => line.entries(one),
        (None, Some(_)) => vec![entry("url", one.clone())],
        (None, None) => {
            draft.wrong(
                &one.at,
                &format!("`{text}`"),
                "is not an address from which the type of the monitor can be \
                                                        derived",
            );
            return;
        }
    };
    let around = ListContext { above: &own.path, inherited: &own.defaults, keep: KeptFields::All };
    listed::monitor(draft, &Node { at: one.at.clone(), data: Data::Map(entries) }, &around);
}
