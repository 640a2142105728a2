//! The columns of a monitor, from a map with the names of the server, its page or common synonyms.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::super::node::{Data, Entry, Node};
use super::draft::{Draft, entry, section_of};
use super::words;
use super::words::{as_text, parsed, parts};
use crate::model::defaults::{defaults_of, page_default, template};
use crate::model::fields::FIELDS;
use crate::model::{Field, MonitorType, ValueShape, field, from_json, kind, normalise, same};
use crate::schema::{Release, newest};

/// Synonyms of columns, in addition to the names of the database and the page.
const ALSO: [(&str, &str); 14] = [
    ("accepted_status_codes", "accepted_statuscodes_json"),
    ("acceptedStatusCodes", "accepted_statuscodes_json"),
    ("acceptedStatuscodes", "accepted_statuscodes_json"),
    ("status_codes", "accepted_statuscodes_json"),
    ("command", "database_query"),
    ("host", "hostname"),
    ("max_redirects", "maxredirects"),
    ("maxRedirects", "maxredirects"),
    ("max_retries", "maxretries"),
    ("maxRetries", "maxretries"),
    ("retries", "maxretries"),
    ("query", "database_query"),
    ("enabled", "active"),
    ("proxy", "proxy_id"),
];

/// Fields of a monitor that the server sends but computes on every request.
pub(super) const DERIVED: [&str; 18] = [
    "id",
    "path",
    "path_name",
    "pathName",
    "children_i_ds",
    "childrenIDs",
    "children_ids",
    "childrenIds",
    "force_inactive",
    "forceInactive",
    "include_sensitive_data",
    "includeSensitiveData",
    "screenshot",
    "maintenance",
    "humanReadableInterval",
    "human_readable_interval",
    "user_id",
    "userId",
];

/// Which fields of a monitor are converted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum KeptFields {
    /// The fields that its type has in this release: programs export all columns of every monitor.
    OfType(Release),
    /// All fields: written by hand, so unsupported ones are refused.
    All,
    /// The fields that its type has, of defaults for monitors of several types.
    Inherited,
}

impl KeptFields {
    /// The fields that its type has in the newest release.
    pub(super) fn newest() -> KeptFields {
        KeptFields::OfType(newest())
    }
}

/// The common spellings of all columns: a file contains each of them thousands of times.
static SPELLINGS: LazyLock<HashMap<&'static str, &'static Field>> = LazyLock::new(|| {
    let own = FIELDS.iter().flat_map(|field| [(field.api, field), (field.column, field)]);
    let also = ALSO.iter().filter_map(|(name, column)| Some((*name, field(column)?)));
    also.chain(own).collect()
});

/// The field for the key of a source.
pub(super) fn field_of(key: &str) -> Option<&'static Field> {
    SPELLINGS.get(key).copied().or_else(|| field(key))
}

/// Which keys of a monitor become columns.
#[derive(Clone, Copy)]
pub(super) struct ColumnChoice<'c> {
    /// The type of the monitor.
    pub(super) kind: &'c str,
    /// Which fields.
    pub(super) keep: KeptFields,
    /// The keys that the format has converted itself.
    pub(super) handled: &'c [&'c str],
}

/// The columns in `entries` for the monitor `what`.
pub(super) fn columns<'e>(
    draft: &mut Draft,
    what: &str,
    choice: ColumnChoice<'_>,
    entries: impl IntoIterator<Item = &'e Entry>,
) -> Vec<Entry> {
    let ColumnChoice { kind: name, keep, handled } = choice;
    let kind = kind(name);
    let mut found = Vec::new();
    for one in entries.into_iter().filter(|one| !handled.contains(&one.key.as_str())) {
        if keep != KeptFields::All && DERIVED.contains(&one.key.as_str()) {
            draft.account(&one.value);
            continue;
        }
        let Some(field) = field_of(&one.key) else {
            let known = FIELDS.iter().filter(|field| field.is_typed()).map(|field| field.column);
            draft.unknown(one, what, handled.iter().copied().chain(known));
            continue;
        };
        match () {
            () if !field.is_typed() || says_nothing(field, kind, &one.value) => draft.account(&one.value),
            () if fits(field, kind, keep) => found.extend(column(draft, field, &one.value)),
            () if keep == KeptFields::Inherited => {}
            () if is_default(field, &one.value) => draft.account(&one.value),
            () => draft.drop_field(one, name),
        }
    }
    doubt_milliseconds(draft, what, &found);
    found
}

/// Reports times that are probably milliseconds: other tools use them.
fn doubt_milliseconds(draft: &mut Draft, what: &str, fields: &[Entry]) {
    for (column, least) in [("interval", 20_000), ("retry_interval", 20_000), ("timeout", 1_000)] {
        let time = fields.iter().find(|field| field.key == column);
        if let Some((time, n)) = time.and_then(|time| Some((time, time.value.int()?)))
            && n >= least
            && n % 1000 == 0
        {
            let why = format!("{n} seconds: if these are milliseconds, write {}", n / 1000);
            draft.doubt(&time.value.at, format!("`{column}` of {what}"), why);
        }
    }
}

/// Whether `column` is one that a monitor of type `name` has.
pub(super) fn has(name: &str, column: &str) -> bool {
    kind(name).is_none_or(|kind| kind.has(column, newest()))
}

fn fits(field: &Field, kind: Option<&MonitorType>, keep: KeptFields) -> bool {
    match (kind, keep) {
        (Some(kind), KeptFields::OfType(release)) => kind.has(field.column, release.max(kind.since)),
        (Some(kind), KeptFields::Inherited) => kind.has(field.column, newest()),
        _ => true,
    }
}

/// Whether a value is what the page or the database stores in `field` of monitors that do not use it.
fn is_default(field: &Field, value: &Node) -> bool {
    let is_nothing = match &value.data {
        Data::Bool(yes) => !yes,
        Data::List(items) => items.is_empty(),
        Data::Map(entries) => {
            entries.iter().all(|one| is_default(field, &one.value) || one.value.text() == Some("None"))
        }
        Data::Text(text) => text.trim().is_empty() || matches!(text.as_str(), "[]" | "{}" | "null"),
        _ => value.int() == Some(0),
    };
    let stored = || from_json(field, &value.json()).and_then(|value| normalise(field, value)).ok();
    is_nothing || stored().is_some_and(|value| defaults_of(field.column).iter().any(|one| same(field, &value, one)))
}

/// Whether a value is equal to the default.
fn says_nothing(field: &Field, kind: Option<&MonitorType>, value: &Node) -> bool {
    let name = kind.map_or("", |kind| kind.name);
    match &value.data {
        Data::Null => true,
        // The page has a default text here, so an empty one is intended, unless the column is required.
        Data::Text(text) if text.is_empty() => {
            let filled =
                page_default(field.column, name, newest()).is_some_and(|default| !default.to_string().is_empty());
            let is_text = matches!(field.shape, ValueShape::Text(_) | ValueShape::LongText);
            !(filled && is_text && kind.is_some_and(|kind| !kind.is_needed(field.column)))
        }
        Data::Text(text) => {
            template(field.column, name) == Some(text.as_str()) || !is_free(field) && words::is_nothing(text)
        }
        _ => false,
    }
}

/// Whether any text can be meant in `field`, also `none`.
fn is_free(field: &Field) -> bool {
    let is_text =
        matches!(field.shape, ValueShape::Text(_) | ValueShape::LongText | ValueShape::Choice(_) | ValueShape::Kind);
    is_text && !matches!(field.column, "hostname" | "url" | "dns_resolve_server" | "push_token" | "docker_container")
}

fn column(draft: &mut Draft, field: &Field, value: &Node) -> Option<Entry> {
    let ValueShape::Reference(reference) = field.shape else {
        return Some(entry(field.column, shaped(field, value)));
    };
    let key = match field.column {
        "proxy_id" => "proxy",
        column => column,
    };
    let section = section_of(reference);
    let id = value.scalar()?;
    if id.trim() == "0" {
        draft.account(value);
        return None;
    }
    match draft.referred(section, &id) {
        Some(name) => Some(entry(key, Node::new(value.at.clone(), name))),
        None if id.parse::<i64>().is_err() => Some(entry(key, value.clone())),
        None => {
            draft.miss(section, &id, &value.at);
            None
        }
    }
}

/// `value` in the native format: flags as true and false, numbers as numbers, lists as lists.
fn shaped(field: &Field, value: &Node) -> Node {
    match field.shape {
        ValueShape::Flag => words::flag(value),
        ValueShape::Whole(..) | ValueShape::Real => words::number(value),
        ValueShape::StatusCodes => words::codes(value),
        ValueShape::Texts => texts(value),
        ValueShape::Array | ValueShape::Object => parsed(value).unwrap_or_else(|| value.clone()),
        _ => value.clone(),
    }
}

/// A list of texts, from a list, JSON, or a text with separators.
pub(super) fn texts(value: &Node) -> Node {
    let value = parsed(value).unwrap_or_else(|| value.clone());
    let items = match &value.data {
        Data::List(items) => items.iter().map(as_text).collect(),
        _ => parts(&value),
    };
    Node::new(value.at, items)
}

/// The groups in a path `A/B`, or in a list of names.
pub(super) fn groups(value: &Node) -> Vec<Node> {
    match &value.data {
        Data::List(items) => items.clone(),
        _ => {
            let text = value.scalar().unwrap_or_default();
            let names = text.split('/').map(str::trim).filter(|name| !name.is_empty());
            names.map(|name| Node::new(value.at.clone(), name)).collect()
        }
    }
}

/// The tags of a monitor in the native format; they are added to the list of tags too.
///
/// `env`, `env=prod` and `env:prod` in a list or in one text, maps with `name` and `value`, or a map from name to value.
pub(super) fn tags(draft: &mut Draft, value: &Node) -> Option<Entry> {
    let mut found = Vec::new();
    match &value.data {
        Data::Null => {}
        Data::Text(text) if words::is_nothing(text) => draft.account(value),
        Data::Map(entries) => {
            for one in entries {
                let name = Node::new(one.at.clone(), one.key.as_str());
                draft.tag(&name, None);
                found.push(tag(&name, Some(&one.value)));
            }
        }
        _ => {
            for part in parts(value) {
                let Some(text) = part.text() else {
                    draft.account_keys(&part, &["id", "tag_id", "monitor_id"]);
                    let name = part.find("name").map(as_text).unwrap_or_else(|| as_text(&part));
                    draft.tag(&name, part.find("color"));
                    found.push(tag(&name, part.find("value")));
                    continue;
                };
                let (name, rest) = text.split_once(['=', ':']).map_or((text, None), |(name, rest)| (name, Some(rest)));
                let name = Node::new(part.at.clone(), name.trim());
                draft.tag(&name, None);
                found.push(tag(&name, rest.map(|rest| Node::new(part.at.clone(), rest.trim())).as_ref()));
            }
        }
    }
    (!found.is_empty()).then(|| entry("tags", Node::new(value.at.clone(), found)))
}

fn tag(name: &Node, value: Option<&Node>) -> Node {
    match value.map(as_text).filter(|value| value.text() != Some("") && !value.is_null()) {
        Some(value) => Node::map(name.at.clone(), [("name", name.clone()), ("value", value)]),
        None => name.clone(),
    }
}

/// Rejects keys of `node` that are not in `known`.
pub(super) fn check_keys(draft: &mut Draft, what: &str, node: &Node, known: &[&str]) {
    for one in node.entries().iter().filter(|one| !known.contains(&one.key.as_str())) {
        draft.unknown(one, what, known.iter().copied());
    }
}
