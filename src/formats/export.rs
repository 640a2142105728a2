//! Exports the configuration as a native fixture: only values that differ from the defaults, always in the same order.

mod autokuma;
mod cells;
mod files;
mod monitors;
mod rest;
mod terraform;
pub mod tool;

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value as Json;

use self::cells::is_secret;
use super::node::{At, Data, Entry, Node};
use crate::model::entities::{ENTITIES, Entity, MONITORS, SERVER_SETTINGS, SETTINGS, is_secret_setting};
use crate::model::fields::{Field, ValueShape};
use crate::model::state::ConfigRows;
use crate::model::view::{existing_name, existing_names, parts_by_owner, read_cell, same_cell, spelled};
use crate::value::{Row, Value};

/// How secrets are exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Secrets {
    /// They are left out, and listed.
    #[default]
    LeaveOut,
    /// They are included.
    Include,
    /// They are replaced by `${VARIABLE}`.
    Variables,
}

/// Which part of the configuration is exported.
#[derive(Clone, Debug, Default)]
pub struct ExportChoice {
    /// Kinds, by their keys in fixtures; all if empty.
    pub kinds: BTreeSet<String>,
    /// Monitors, by id; all if `None`.
    pub monitors: Option<BTreeSet<i64>>,
    /// How secrets are exported.
    pub secrets: Secrets,
    /// The name of the source in messages.
    pub source: String,
}

/// An exported fixture with its report.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Export {
    /// The fixture.
    pub document: Node,
    /// Secrets that were left out, as `monitor `Shop`: body`.
    pub left_out: Vec<String>,
    /// Variables and their values, in the order of the fixture.
    pub variables: Vec<(String, String)>,
    /// What could not be exported.
    pub warnings: Vec<String>,
    /// Number of items of each kind.
    pub counts: Vec<(&'static str, usize)>,
}

/// Exports the part of `config` that `choice` selects.
pub fn export(config: &ConfigRows, choice: &ExportChoice) -> Export {
    let mut exporter = Exporter::new(config, choice);
    let mut entries = vec![entry("version", exporter.node(super::native::VERSION))];
    for entity in ENTITIES {
        if !choice.kinds.is_empty() && !choice.kinds.contains(entity.key) {
            continue;
        }
        let node = match entity.key {
            "monitors" => exporter.monitors(),
            "settings" => exporter.settings(),
            _ => exporter.things(entity),
        };
        entries.extend(node.map(|node| entry(entity.key, node)));
    }
    let Exporter { left_out, variables, mut warnings, counts, at, .. } = exporter;
    warnings.extend(rest::left_out(config, choice));
    Export { document: Node { at, data: Data::Map(entries) }, left_out, variables, warnings, counts }
}

struct Exporter<'a> {
    config: &'a ConfigRows,
    choice: &'a ExportChoice,
    at: At,
    /// Names of rows, by table and id.
    names: HashMap<&'static str, HashMap<i64, String>>,
    /// Paths that several monitors have.
    twins: HashSet<String>,
    /// Rows of parts, by table and parent row, in order.
    parts: HashMap<&'static str, HashMap<i64, Vec<&'a Row>>>,
    left_out: Vec<String>,
    variables: Vec<(String, String)>,
    warnings: Vec<String>,
    counts: Vec<(&'static str, usize)>,
}

fn entry(key: &str, value: Node) -> Entry {
    Entry { key: key.to_owned(), at: value.at.clone(), value }
}

impl<'a> Exporter<'a> {
    fn new(config: &'a ConfigRows, choice: &'a ExportChoice) -> Self {
        let (mut names, mut parts) = (HashMap::new(), HashMap::new());
        let mut open: Vec<&'static Entity> = Vec::new();
        for entity in ENTITIES {
            names.insert(entity.table, existing_names(entity, config));
            open.extend(entity.parts);
        }
        while let Some(part) = open.pop() {
            parts.insert(part.table, parts_by_owner(part, config));
            open.extend(part.parts);
        }
        let at = At::nowhere(&choice.source);
        let mut seen = HashSet::new();
        let paths = names.get(MONITORS.table).into_iter().flat_map(HashMap::values);
        let twins = paths.filter(|path| !seen.insert(*path)).cloned().collect();
        let (left_out, variables, warnings, counts) = Default::default();
        Exporter { config, choice, at, names, twins, parts, left_out, variables, warnings, counts }
    }

    fn node(&self, data: impl Into<Data>) -> Node {
        Node::new(self.at.clone(), data)
    }

    fn name_of(&self, entity: &Entity, id: i64) -> Option<&String> {
        self.names.get(entity.table)?.get(&id)
    }

    /// Items of one kind, by name.
    fn things(&mut self, entity: &'static Entity) -> Option<Node> {
        let config = self.config;
        let mut rows: Vec<&Row> = config.rows(entity.table).iter().collect();
        rows.sort_by_cached_key(|row| (existing_name(entity, row), row.int("id")));
        self.warn_of_twins(entity, &rows);
        let things: Vec<Node> = rows.into_iter().map(|row| self.thing(entity, row)).collect();
        self.counted(entity, things)
    }

    fn counted(&mut self, entity: &'static Entity, things: Vec<Node>) -> Option<Node> {
        if things.is_empty() {
            return None;
        }
        self.counts.push((entity.key, things.len()));
        Some(self.node(things))
    }

    /// Two items with the same name cannot be distinguished in a fixture, unless they belong to two users.
    fn warn_of_twins(&mut self, entity: &'static Entity, rows: &[&Row]) {
        let mut seen = BTreeSet::new();
        for row in rows {
            let name = row.int("id").and_then(|id| self.name_of(entity, id)).cloned().unwrap_or_default();
            let user = row.int("user_id").filter(|_| entity.has_user());
            if !seen.insert((name.clone(), user)) {
                self.warnings.push(format!(
                    "two {}s have the name `{name}`: this fixture is ambiguous when applied to the same instance",
                    entity.noun
                ));
            }
        }
    }

    /// One item that is not a monitor, or a part.
    fn thing(&mut self, entity: &'static Entity, row: &Row) -> Node {
        let subject = format!("{} `{}`", entity.noun, existing_name(entity, row));
        let mut entries = Vec::new();
        let mut left_out = Vec::new();
        let is_there = |field: &&Field| {
            // Only `type` of a notification is not a column.
            self.config.database.schema.has(entity.table, field.column) || field.column == "type"
        };
        for field in entity.fields.iter().filter(is_there).collect::<Vec<_>>() {
            let value = read_cell(entity, row, field.column);
            let default: Value = entity.default(field.column).into();
            let is_name = field.column == entity.name;
            if !is_name && same_cell(field, &value, &default) {
                continue;
            }
            let node = match field.shape {
                ValueShape::Reference(reference) => {
                    let name = value.int().and_then(|id| self.name_of(reference.entity(), id)).cloned();
                    match name {
                        Some(name) => self.text(&name),
                        None => {
                            self.warnings.push(format!("{subject}: its `{}` does not exist", field.column));
                            continue;
                        }
                    }
                }
                _ if field.column == "config" => {
                    let provider = read_cell(entity, row, "type");
                    let provider = provider.text().unwrap_or_default();
                    match self.config_node(&subject, provider, &value, &mut left_out) {
                        Some(node) => node,
                        None => continue,
                    }
                }
                _ if is_secret(entity.table, field, &value) => {
                    match self.secret(&subject, field.column, &value, &mut left_out) {
                        Some(node) => node,
                        None => continue,
                    }
                }
                _ => self.value(field, &value),
            };
            entries.push(entry(spelled(entity, field.column), node));
        }
        entries.extend(self.owner(entity, row));
        self.finish(entity, row, entries, left_out)
    }

    /// The user of an item, where it is not the one that a new item gets: the user of its group, or the first active one.
    fn owner(&self, entity: &'static Entity, row: &Row) -> Option<Entry> {
        if !entity.has_user() || self.config.rows("user").len() < 2 {
            return None;
        }
        let group = row.int("parent").and_then(|group| self.config.row(MONITORS.table, group));
        let path = group.and_then(|group| self.name_of(&MONITORS, group.int("id")?));
        // Two users may have groups of one name.
        let is_certain = path.is_none_or(|path| !self.twins.contains(path));
        let usual = group.map_or(self.config.owner, |group| group.int("user_id"));
        let user = row.int("user_id").filter(|user| Some(*user) != usual || !is_certain)?;
        let name = self.config.row("user", user)?.text("username")?;
        Some(entry("owner", self.text(name)))
    }

    /// Adds the parts of an item, and the names of its secrets that were left out.
    fn finish(&mut self, entity: &'static Entity, row: &Row, mut entries: Vec<Entry>, left_out: Vec<String>) -> Node {
        let id = row.int("id").unwrap_or_default();
        for part in entity.parts {
            let rows = self.parts.get(part.table).and_then(|by_owner| by_owner.get(&id)).cloned().unwrap_or_default();
            let nodes: Vec<Node> =
                rows.into_iter().map(|row| self.part(part, row)).filter(|node| !is_bare(node)).collect();
            let node = match part.key {
                // Absent means the default ones.
                "notifications" if nodes.is_empty() && !self.has_default_notifications() => continue,
                "notifications" => self.node(sorted(nodes)),
                _ if nodes.is_empty() => continue,
                "tags" => self.tags(nodes),
                "domains" | "status_pages" => self.node(sorted(nodes)),
                "monitors" if part.order.is_empty() => self.node(sorted(nodes)),
                _ => self.node(nodes),
            };
            entries.push(entry(part.key, node));
        }
        if !left_out.is_empty() {
            let names: Vec<Node> = left_out.iter().map(|name| self.node(name.as_str())).collect();
            entries.push(entry("left_out", self.node(names)));
        }
        self.node(Data::Map(entries))
    }

    /// A part; one with a name only is written as the name.
    fn part(&mut self, part: &'static Entity, row: &Row) -> Node {
        let node = self.thing(part, row);
        match node.entries() {
            [only] if part.short => only.value.clone(),
            _ => node,
        }
    }

    /// `{env: prod}`, or a list if a tag is attached twice.
    fn tags(&self, nodes: Vec<Node>) -> Node {
        let name = |node: &Node| node.find("name").and_then(Node::text).unwrap_or_default().to_owned();
        let names: BTreeSet<String> = nodes.iter().map(name).collect();
        if names.len() < nodes.len() {
            let mut nodes = nodes;
            nodes.sort_by_key(|node| (name(node), node.find("value").and_then(Node::scalar)));
            return self.node(nodes);
        }
        let key = |node: &Node| name(node).replace("$${", "${"); // Keys are not expanded.
        let mut entries: Vec<Entry> = nodes
            .iter()
            .map(|node| entry(&key(node), node.find("value").cloned().unwrap_or_else(|| self.node(Data::Null))))
            .collect();
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        self.node(Data::Map(entries))
    }

    fn has_default_notifications(&self) -> bool {
        self.config.rows("notification").iter().any(|row| row.cell("is_default").truthy())
    }

    fn settings(&mut self) -> Option<Node> {
        let mut entries: Vec<Entry> = Vec::new();
        for row in self.config.rows("setting") {
            let key = row.text("key").unwrap_or_default();
            if SERVER_SETTINGS.contains(&key) {
                continue;
            }
            let text = row.text("value").unwrap_or_default();
            let Ok(json) = serde_json::from_str::<Json>(text) else {
                self.warnings.push(format!("setting `{key}` is not JSON: left out"));
                continue;
            };
            let node = if is_secret_setting(key) && json.as_str().is_some_and(|text| !text.is_empty()) {
                let value = Value::from(json.as_str().unwrap_or_default());
                match self.secret(&format!("setting `{key}`"), "value", &value, &mut Vec::new()) {
                    Some(node) => node,
                    None => continue,
                }
            } else {
                self.escaped(&json)
            };
            entries.push(entry(key, node));
        }
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        if entries.is_empty() {
            return None;
        }
        self.counts.push((SETTINGS.key, entries.len()));
        Some(self.node(Data::Map(entries)))
    }
}

fn is_bare(node: &Node) -> bool {
    matches!(&node.data, Data::Map(entries) if entries.is_empty())
}

fn sorted(mut nodes: Vec<Node>) -> Vec<Node> {
    nodes.sort_by_cached_key(|node| node.scalar().unwrap_or_else(|| node.json().to_string()));
    nodes
}
