//! Builds a native fixture: its sections, and the tree of its monitors.

mod tree;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::super::node::{At, Data, Entry, Node};
use super::ledger::UsedValues;
use super::{Converted, ImportOutcome, ReportLine, SourceFile, problem};
use crate::error::Problem;
use crate::model::Reference;
use crate::model::entities::entity;
use crate::text::counted;
use crate::text::did_you_mean;

/// The lists of a native fixture, in order.
const SECTIONS: [&str; 8] =
    ["tags", "notifications", "proxies", "docker_hosts", "remote_browsers", "monitors", "status_pages", "maintenance"];

/// The result of a converter.
pub(super) struct Draft {
    /// The start of the source.
    at: At,
    /// The present file: ids of one file are not valid in another.
    pub(super) scope: usize,
    /// The beginning of the labels that are read; if it is not specified, that of AutoKuma or the only other one.
    pub(super) label_prefix: Option<String>,
    sections: BTreeMap<&'static str, Vec<Node>>,
    settings: Vec<Entry>,
    /// Used names, each with the number of its last duplicate.
    names: HashMap<(&'static str, String), usize>,
    colors: HashMap<String, Option<String>>,
    references: HashMap<(&'static str, String), String>,
    missed: HashSet<(&'static str, String)>,
    monitors: Vec<DraftMonitor>,
    opened: Vec<Vec<Node>>,
    remarks: Vec<ReportLine>,
    problems: Vec<Problem>,
    ledger: UsedValues,
    /// The values of the source: those of the files, unless a reader parses them further.
    roots: Option<Vec<Node>>,
    /// Fields that the type of a monitor does not have: the first position and the number of each field and type.
    dropped: BTreeMap<(String, String), (At, usize)>,
}

/// A monitor whose parent is not resolved yet.
pub(super) struct DraftMonitor {
    /// Its position.
    pub(super) at: At,
    /// Its name.
    pub(super) name: Node,
    /// Its type.
    pub(super) kind: Node,
    /// Keys by which others in the source refer to it, from [`Draft::key`].
    pub(super) keys: Vec<String>,
    /// The group it is in.
    pub(super) parent: Parent,
    /// Everything else about it.
    pub(super) fields: Vec<Entry>,
}

/// How a source specifies the group of a monitor.
#[derive(Clone)]
pub(super) enum Parent {
    /// In none.
    Root,
    /// The group with this key.
    Key(Node),
    /// The group with this path on the instance.
    Existing(Node),
    /// In the last of these groups, each inside the one before; missing groups are created.
    Groups(Vec<Node>),
}

/// The resolved monitors.
pub(super) struct Places(HashMap<String, Place>);

/// The result for a monitor.
pub(super) struct Place {
    /// Its path.
    pub(super) path: String,
    /// Its URL, if it has one.
    pub(super) url: Option<String>,
}

impl Places {
    /// The resolved monitor with this key.
    pub(super) fn of(&self, key: &str) -> Option<&Place> {
        self.0.get(key)
    }
}

/// The section of the fixture that `reference` refers to.
pub(super) fn section_of(reference: Reference) -> &'static str {
    reference.entity().key
}

/// The noun for an item in `section`.
fn noun(section: &str) -> &'static str {
    entity(section).map_or("monitor", |entity| entity.noun)
}

impl Draft {
    /// An empty fixture for the source that begins at `at`.
    pub(super) fn new(at: At) -> Draft {
        Draft {
            at,
            scope: 0,
            label_prefix: None,
            sections: BTreeMap::new(),
            settings: Vec::new(),
            names: HashMap::new(),
            colors: HashMap::new(),
            references: HashMap::new(),
            missed: HashSet::new(),
            monitors: Vec::new(),
            opened: Vec::new(),
            remarks: Vec::new(),
            problems: Vec::new(),
            ledger: UsedValues::default(),
            roots: None,
            dropped: BTreeMap::new(),
        }
    }

    /// A unique key for `id` in this file.
    pub(super) fn key(&self, id: impl std::fmt::Display) -> String {
        format!("{}/{id}", self.scope)
    }

    /// Reports that the value `what` at `at` is skipped, with everything in it.
    pub(super) fn skip(&mut self, at: &At, what: impl Into<String>, why: impl Into<String>) {
        self.ledger.account(at);
        self.remark(at, what, why, ImportOutcome::Skipped);
    }

    /// Reports that an entry of a map is skipped.
    pub(super) fn skip_entry(&mut self, one: &Entry, what: impl Into<String>, why: impl Into<String>) {
        self.account(&one.value);
        self.remark(&one.at, what, why, ImportOutcome::Skipped);
    }

    /// Reports that `what` at `at` is imported, but is probably not intended.
    pub(super) fn doubt(&mut self, at: &At, what: impl Into<String>, why: impl Into<String>) {
        self.remark(at, what, why, ImportOutcome::Doubtful);
    }

    fn remark(&mut self, at: &At, what: impl Into<String>, why: impl Into<String>, outcome: ImportOutcome) {
        self.remarks.push(ReportLine { at: at.clone(), what: what.into(), why: why.into(), outcome });
    }

    /// Reports that a monitor of type `kind` has no field for `one`.
    pub(super) fn drop_field(&mut self, one: &Entry, kind: &str) {
        self.account(&one.value);
        let dropped = self.dropped.entry((one.key.clone(), kind.to_owned()));
        dropped.or_insert_with(|| (one.at.clone(), 0)).1 += 1;
    }

    /// Accounts for a value whose meaning is in another value of the fixture, or that has no effect.
    pub(super) fn account(&mut self, value: &Node) {
        // Nothing has no position of its own in YAML.
        if !value.is_null() {
            self.ledger.account(&value.at);
        }
    }

    /// Accounts for the values of these keys of a map.
    pub(super) fn account_keys(&mut self, map: &Node, keys: &[&str]) {
        let entries = map.entries().iter().filter(|one| keys.contains(&one.key.as_str()));
        entries.for_each(|one| self.account(&one.value));
    }

    /// Adds values of the source, if a reader parses its files further.
    pub(super) fn root(&mut self, node: Node) {
        self.roots.get_or_insert_default().push(node);
    }

    /// Reports that `what` at `at` is invalid.
    pub(super) fn wrong(&mut self, at: &At, what: &str, message: impl AsRef<str>) {
        self.problem(problem(at, what, message));
    }

    /// Reports an entry whose key is none of `known`.
    pub(super) fn unknown<'k>(&mut self, one: &Entry, what: &str, known: impl Iterator<Item = &'k str>) {
        self.account(&one.value);
        self.problems.push(unknown_key(one, what, known));
    }

    /// Adds a problem of a value.
    pub(super) fn problem(&mut self, problem: Problem) {
        if let Some(at) = &problem.at {
            self.ledger.account(at);
        }
        self.problems.push(problem);
    }

    /// Adds `node` to a list of the fixture.
    pub(super) fn add(&mut self, section: &'static str, node: Node) {
        self.sections.entry(section).or_default().push(node);
    }

    /// Adds a setting of the server.
    pub(super) fn setting(&mut self, entry: Entry) {
        self.settings.push(entry);
    }

    /// `name`, or if it is used in that list, the first free one of `name (2)`, `name (3)`…
    pub(super) fn unique(&mut self, section: &'static str, name: &str) -> String {
        let key = (section, name.to_owned());
        let Some(mut count) = self.names.get(&key).copied() else {
            self.names.insert(key, 1);
            return name.to_owned();
        };
        let free = loop {
            count += 1;
            let free = format!("{name} ({count})");
            if !self.is_taken(section, &free) {
                break free;
            }
        };
        self.names.insert(key, count);
        free
    }

    /// Whether a list of the fixture has an item `name` already; marks it as used.
    pub(super) fn is_taken(&mut self, section: &'static str, name: &str) -> bool {
        let key = (section, name.to_owned());
        let is_taken = self.names.contains_key(&key);
        self.names.entry(key).or_insert(1);
        is_taken
    }

    /// Adds a tag once.
    pub(super) fn tag(&mut self, name: &Node, color: Option<&Node>) {
        let Some(text) = name.scalar() else { return };
        let shade = color.and_then(Node::scalar).filter(|shade| !shade.is_empty());
        color.filter(|color| color.scalar().is_some()).into_iter().for_each(|color| self.account(color));
        let listed = |at: &At| {
            let node = |data: Data| Node::new(at.clone(), data);
            // A tag without a definition keeps its color.
            let color = match (color, &shade) {
                (Some(color), Some(_)) => ("color", color.clone()),
                _ => ("left_out", node(Data::List(vec![node("color".into())]))),
            };
            Node::map(at.clone(), [("name", node(text.clone().into())), color])
        };
        match self.colors.get(&text).cloned() {
            None => {
                self.add("tags", listed(&name.at));
                self.colors.insert(text, shade);
            }
            // It had no definition before.
            Some(None) if shade.is_some() => {
                let tags = self.sections.entry("tags").or_default().iter_mut();
                let is_it = |tag: &&mut Node| tag.find("name").and_then(Node::text) == Some(&text);
                tags.filter(is_it).for_each(|tag| *tag = listed(&tag.at));
                self.colors.insert(text, shade);
            }
            Some(Some(first)) if shade.as_ref().is_some_and(|shade| *shade != first) => {
                let second = shade.unwrap_or_default();
                let mark = format!("{text} {second}");
                if self.missed.insert(("tags", mark)) {
                    let why = format!(
                        "another tag with the same name has the color {first}; its monitors get that \
                                       one"
                    );
                    self.skip(&name.at, format!("tag `{text}` in {second}"), why);
                }
            }
            Some(_) => {}
        }
    }

    /// Maps the id in the source to the name in the fixture, for an item in `section`.
    pub(super) fn refer(&mut self, section: &'static str, id: &str, name: impl Into<String>) {
        let key = self.key(id);
        self.references.entry((section, key)).or_insert_with(|| name.into());
    }

    /// The name of the item in `section` with this id in the source.
    pub(super) fn referred(&self, section: &'static str, id: &str) -> Option<&str> {
        self.references.get(&(section, self.key(id))).map(String::as_str)
    }

    /// Reports, once, a reference to an item that is not in the file.
    pub(super) fn miss(&mut self, section: &'static str, id: &str, at: &At) {
        let key = self.key(id);
        self.ledger.account(at);
        if self.missed.insert((section, key)) {
            let why = "it is not in the file; the monitors that refer to it are created without it";
            self.skip(at, format!("{} `{id}`", noun(section)), why);
        }
    }

    /// Adds a monitor.
    pub(super) fn monitor(&mut self, monitor: DraftMonitor) {
        self.monitors.push(monitor);
    }

    /// Adds the last of `names` as a group, each inside the one before, unless the source has it.
    pub(super) fn group(&mut self, names: Vec<Node>) {
        self.opened.push(names);
    }

    /// The fixture, and the report about everything of `sources` that is not in it.
    pub(super) fn finish(mut self, format: &str, sources: &[SourceFile]) -> Converted {
        if !self.monitors.is_empty() || !self.opened.is_empty() {
            self.place();
        }
        let mut entries = vec![("version", Node::new(At::nowhere(&self.at.file), 1))];
        for section in SECTIONS {
            if let Some(nodes) = self.sections.remove(section)
                && let Some(first) = nodes.first()
            {
                entries.push((section, Node::new(first.at.clone(), nodes)));
            }
        }
        if let Some(first) = self.settings.first() {
            entries.push(("settings", Node { at: first.at.clone(), data: Data::Map(self.settings) }));
        }
        let document = Node::map(self.at, entries);
        for ((key, kind), (at, count)) in self.dropped {
            let what = format!("`{key}` of {}", counted(count, &format!("{kind} monitor")));
            let why = "the type has no such field".to_owned();
            self.remarks.push(ReportLine { at, what, why, outcome: ImportOutcome::Dropped });
        }
        let roots = self.roots.unwrap_or_else(|| sources.iter().flat_map(|source| source.documents.clone()).collect());
        self.remarks.extend(self.ledger.balance(&roots, &document));
        let (imported, wrong) = (files_of_items(&document), files_of_problems(&self.problems));
        for source in sources.iter().filter(|source| !wrong.contains(&*source.file) && !is_in(source, &imported)) {
            let message = format!("contains nothing that can be imported as {format}");
            self.problems.push(Problem::new(&source.file, message));
        }
        Converted { document, remarks: self.remarks, problems: self.problems }
    }
}

/// The files from which the lists of `document` have items.
fn files_of_items(document: &Node) -> HashSet<Arc<str>> {
    let items = document.entries().iter().flat_map(|section| {
        section.value.list().iter().chain(section.value.entries().iter().map(|entry| &entry.value))
    });
    items.map(|item| item.at.file.clone()).collect()
}

/// The files with problems.
fn files_of_problems(problems: &[Problem]) -> HashSet<Arc<str>> {
    problems.iter().filter_map(|problem| Some(problem.at.as_ref()?.file.clone())).collect()
}

/// Whether one of the files of `source` is in `imported`.
fn is_in(source: &SourceFile, imported: &HashSet<Arc<str>>) -> bool {
    imported.contains(&*source.file) || source.documents.iter().any(|document| has_file(document, imported))
}

fn has_file(node: &Node, files: &HashSet<Arc<str>>) -> bool {
    let mut inner = node.list().iter().chain(node.entries().iter().map(|entry| &entry.value));
    files.contains(&node.at.file) || inner.any(|inner| has_file(inner, files))
}

/// An entry whose key has the position of its value.
pub(super) fn entry(key: impl Into<String>, value: Node) -> Entry {
    Entry { key: key.into(), at: value.at.clone(), value }
}

/// The problem of a key that is not in `known`.
pub(super) fn unknown_key<'k>(one: &Entry, what: &str, known: impl Iterator<Item = &'k str>) -> Problem {
    problem(&one.at, what, format!("unknown key `{}`{}", one.key, did_you_mean(&one.key, known)))
}

/// An id as text: tools write `2` as `2.0` or `"2"`.
pub(super) fn id_of(node: &Node) -> Option<String> {
    node.int().map_or_else(|| node.scalar(), |id| Some(id.to_string()))
}
