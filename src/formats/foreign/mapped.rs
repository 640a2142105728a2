//! Lists of any structure: a map specifies where the monitors are, and which of their values are which fields.
//!
//! Users write maps with `--map`, or in a file; formats that are lists under other names are maps in the folder `maps`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::node::{Data, Entry, Node};
use super::columns::{KeptFields, field_of};
use super::draft::{Draft, entry};
use super::listed::{self, ListContext, OWN};
use super::path::Path;
use super::words::{flag, is_nothing};
use super::{SourceFile, problem};
use crate::model::fields::FIELDS;
use crate::text::did_you_mean;

/// Where the monitors of a list are, and what their values mean.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListMap {
    /// The path of the monitors: `$.services[*]`.
    pub each: String,
    /// Fields of a monitor, each with the path of its value; `!path` negates, `=text` is the text itself.
    pub fields: BTreeMap<String, String>,
    /// What words of the source mean: for a field and a word, or `*` for all others, the fields to set. A type without an
    /// entry is not imported; other words are values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, Words>,
    /// References by id: the field, and where its name is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, NameList>,
    /// Fields that are lists of words between blanks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blank_separated: Vec<String>,
    /// Paths of values that have no effect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// A path with a value if the file is only one page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page: Option<String>,
    /// Paths that a file of the format has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recognize: Vec<String>,
}

/// A list in which a reference by id is looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameList {
    /// The path of its items.
    pub each: String,
    /// The path of their ids.
    pub id: String,
    /// The path of their names.
    pub name: String,
}

impl ListMap {
    /// What is wrong with it, for a user who wrote it.
    ///
    /// # Errors
    /// The first invalid path or unknown field.
    pub fn check(&self) -> Result<(), String> {
        let paths = self.fields.values().map(|path| path.trim_start_matches('!')).filter(|path| !path.starts_with('='));
        if let Some(path) = paths.chain([self.each.as_str()]).find(|path| Path::read(path).is_none()) {
            return Err(format!("`{path}` is not a path; write for example `items[0].name`"));
        }
        let is_known = |name: &&String| OWN.contains(&name.as_str()) || field_of(name).is_some();
        match self.fields.keys().find(|name| !is_known(name)) {
            Some(name) => {
                let known = FIELDS.iter().filter(|field| field.is_typed()).map(|field| field.column).chain(OWN);
                Err(format!("`{name}` is not a field of a monitor{}", did_you_mean(name, known)))
            }
            None => Ok(()),
        }
    }

    /// Whether `document` has all paths by which the format is recognised.
    pub(super) fn recognizes(&self, document: &Node) -> bool {
        let has = |path: &String| Path::read(path).is_some_and(|path| !path.find(document).is_empty());
        !self.recognize.is_empty() && self.recognize.iter().all(has)
    }
}

/// Adds the monitors of `sources` by `map`.
pub(super) fn convert(draft: &mut Draft, sources: &[SourceFile], map: &ListMap) {
    for (scope, document) in sources.iter().flat_map(|source| &source.documents).enumerate() {
        draft.scope = scope;
        let reader = Reader { map, document };
        for path in map.ignore.iter().filter_map(|path| Path::read(path)) {
            path.find(document).into_iter().for_each(|value| draft.account(value));
        }
        if let Some(next) = map.next_page.as_deref().and_then(Path::read) {
            let next =
                next.find(document).into_iter().find(|next| next.scalar().is_some_and(|link| !is_nothing(&link)));
            next.into_iter().for_each(|next| draft.skip(&next.at, "the other pages", "the file is one page of a list"));
        }
        let each = if map.each.is_empty() { "$[*]" } else { &map.each };
        let items = Path::read(each).map(|path| path.find(document)).unwrap_or_default();
        if items.is_empty() {
            draft.wrong(&document.at, "the file", format!("has no monitors at `{each}`"));
        }
        for item in items {
            // `services` is the list itself.
            match item.data {
                Data::List(_) if !each.contains('*') => {
                    let message = format!("has a list at `{each}`, not a monitor");
                    let path = each.trim().trim_start_matches('$').trim_start_matches('.');
                    let joint = if path.is_empty() || path.starts_with('[') { "" } else { "." };
                    let wrong = problem(&item.at, "the file", message);
                    draft.problem(wrong.command(format!("--each '${joint}{path}[*]'")));
                }
                _ => reader.monitor(draft, item),
            }
        }
    }
}

/// Reports paths of `map` at which no monitor of `sources` has a value.
pub(super) fn report_unused(draft: &mut Draft, sources: &[SourceFile], map: &ListMap) {
    let each = Path::read(if map.each.is_empty() { "$[*]" } else { &map.each });
    let documents = sources.iter().flat_map(|source| &source.documents);
    let items: Vec<&Node> = documents.flat_map(|document| each.iter().flat_map(|each| each.find(document))).collect();
    let Some(first) = items.first() else { return };
    for path in map.fields.values().filter(|path| !path.starts_with('=')) {
        let path = path.trim_start_matches('!');
        if Path::read(path).is_some_and(|read| items.iter().all(|item| read.find(item).is_empty())) {
            draft.doubt(&first.at, "`--map`", format!("no entry has a value at `{path}`"));
        }
    }
}

struct Reader<'m> {
    map: &'m ListMap,
    document: &'m Node,
}

impl Reader<'_> {
    fn monitor(&self, draft: &mut Draft, item: &Node) {
        let mut entries: Vec<Entry> = Vec::new();
        for (field, path) in &self.map.fields {
            entries.extend(self.value(draft, item, field, path).map(|value| entry(field.as_str(), value)));
        }
        for (field, words) in &self.map.values {
            if !translate(draft, item, &mut entries, field, words) {
                return;
            }
        }
        let row = Node { at: item.at.clone(), data: Data::Map(entries) };
        listed::monitor(draft, &row, &ListContext { above: &[], inherited: &[], keep: KeptFields::newest() });
    }

    /// The value of a field; `None` if the item has none.
    fn value(&self, draft: &mut Draft, item: &Node, field: &str, path: &str) -> Option<Node> {
        if let Some(text) = path.strip_prefix('=') {
            return Some(Node::new(item.at.clone(), text));
        }
        let is_negated = path.starts_with('!');
        let path = Path::read(path.trim_start_matches('!'))?;
        let found = path.find(item);
        let value = match (path.is_many(), found.first()) {
            (true, Some(first)) => {
                Node::new(first.at.clone(), found.iter().map(|one| (*one).clone()).collect::<Vec<_>>())
            }
            (_, Some(one)) => (*one).clone(),
            (_, None) => return None,
        };
        if value.is_null() {
            return None;
        }
        if let Some(names) = self.map.names.get(field) {
            return self.name(draft, names, &value);
        }
        if self.map.blank_separated.iter().any(|one| one == field) {
            let words = value.scalar().unwrap_or_default();
            let words = words.split_whitespace().map(|word| Node::new(value.at.clone(), word));
            return Some(Node::new(value.at.clone(), words.collect::<Vec<_>>()));
        }
        Some(if is_negated {
            let flag = flag(&value);
            match flag.data {
                Data::Bool(yes) => Node::new(value.at, !yes),
                _ => value,
            }
        } else {
            value
        })
    }

    /// The name of the item with this id; `0` refers to none.
    fn name(&self, draft: &mut Draft, names: &NameList, id: &Node) -> Option<Node> {
        let [each, id_path, name] = [&names.each, &names.id, &names.name].map(|path| Path::read(path));
        let (each, id_path, name) = (each?, id_path?, name?);
        let desired = id.scalar()?;
        let is_it = |one: &&Node| id_path.find(one).first().and_then(|id| id.scalar()).as_deref() == Some(&desired);
        if let Some(one) = each.find(self.document).into_iter().find(is_it) {
            id_path.find(one).into_iter().chain(name.find(one)).for_each(|value| draft.account(value));
            return name.find(one).first().map(|name| Node { at: id.at.clone(), data: name.data.clone() });
        }
        match id.int() {
            Some(0) => draft.account(id),
            _ => draft.skip(&id.at, format!("group `{desired}`"), "it is not in the file"),
        }
        None
    }
}

/// Replaces a word of the source by the fields that it means; returns whether the monitor can be imported.
fn translate(draft: &mut Draft, item: &Node, entries: &mut Vec<Entry>, field: &str, words: &Words) -> bool {
    let Some(at) = entries.iter().position(|one| one.key == field) else { return true };
    let Some(word) = entries[at].value.scalar() else { return true };
    let Some(fields) = words.get(&word.to_lowercase()).or_else(|| words.get("*")) else {
        if field == "type" {
            let title = entries.iter().find(|one| one.key == "name").and_then(|one| one.value.scalar());
            let why = format!("its type `{word}` is not supported");
            draft.skip(&item.at, format!("monitor `{}`", title.unwrap_or_default()), why);
        }
        return field != "type";
    };
    let written = entries.remove(at).value;
    for (field, value) in fields {
        entries.retain(|one| one.key != *field);
        entries.push(entry(field.as_str(), Node::new(written.at.clone(), value.as_str())));
    }
    draft.account(&written);
    true
}

/// The fields that each word means.
type Words = BTreeMap<String, BTreeMap<String, String>>;
