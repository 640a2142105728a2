//! Builds a native fixture: its sections, and the tree of its monitors.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::node::{At, Data, Entry, Node};
use super::{Converted, Skipped, problem};
use crate::error::Problem;
use crate::model::Reference;
use crate::model::entities::entity;

/// The lists of a native fixture, in order.
const SECTIONS: [&str; 8] =
    ["tags", "notifications", "proxies", "docker_hosts", "remote_browsers", "monitors", "status_pages", "maintenance"];

/// The result of a converter.
pub(super) struct Draft {
    /// The start of the source.
    at: At,
    /// The present file: ids of one file are not valid in another.
    pub(super) scope: usize,
    sections: BTreeMap<&'static str, Vec<Node>>,
    settings: Vec<Entry>,
    /// Used names, each with the number of its last duplicate.
    names: HashMap<(&'static str, String), usize>,
    colors: HashMap<String, Option<String>>,
    references: HashMap<(&'static str, String), String>,
    missed: HashSet<(&'static str, String)>,
    monitors: Vec<Monitor>,
    opened: Vec<Vec<Node>>,
    skipped: Vec<Skipped>,
    problems: Vec<Problem>,
}

/// A monitor whose parent is not resolved yet.
pub(super) struct Monitor {
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
pub(super) enum Parent {
    /// In none.
    Root,
    /// The group with this key.
    Key(Node),
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
            sections: BTreeMap::new(),
            settings: Vec::new(),
            names: HashMap::new(),
            colors: HashMap::new(),
            references: HashMap::new(),
            missed: HashSet::new(),
            monitors: Vec::new(),
            opened: Vec::new(),
            skipped: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// A unique key for `id` in this file.
    pub(super) fn key(&self, id: impl std::fmt::Display) -> String {
        format!("{}/{id}", self.scope)
    }

    /// Reports that `what` at `at` is skipped.
    pub(super) fn skip(&mut self, at: &At, what: impl Into<String>, why: impl Into<String>) {
        self.skipped.push(Skipped { at: at.clone(), what: what.into(), why: why.into() });
    }

    /// Reports that `what` at `at` is invalid.
    pub(super) fn wrong(&mut self, at: &At, what: &str, message: impl AsRef<str>) {
        self.problems.push(problem(at, what, message));
    }

    /// Adds a problem.
    pub(super) fn problem(&mut self, problem: Problem) {
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
        if self.missed.insert((section, key)) {
            let why = "it is not in the file; the monitors that refer to it are created without it";
            self.skip(at, format!("{} `{id}`", noun(section)), why);
        }
    }

    /// Adds a monitor.
    pub(super) fn monitor(&mut self, monitor: Monitor) {
        self.monitors.push(monitor);
    }

    /// Adds the last of `names` as a group, each inside the one before, unless the source has it.
    pub(super) fn group(&mut self, names: Vec<Node>) {
        self.opened.push(names);
    }

    /// Resolves the parents of monitors and adds them to the fixture, groups first.
    pub(super) fn place(&mut self) -> Places {
        let mut monitors = std::mem::take(&mut self.monitors);
        let mut parents = self.parents(&mut monitors);
        self.open_circles(&monitors, &mut parents);
        let depths: Vec<usize> = (0..monitors.len()).map(|at| depth(&parents, at)).collect();
        let mut order: Vec<usize> = (0..monitors.len()).collect();
        order.sort_by_key(|at| match is_group(&monitors[*at]) {
            true => (0, depths[*at]),
            false => (1, 0),
        });
        // Parents come before children, also if the source has children in a monitor that is not a group.
        let mut placing = order.clone();
        placing.sort_by_key(|at| depths[*at]);
        let mut paths: Vec<String> = vec![String::new(); monitors.len()];
        for at in placing {
            let monitor = &mut monitors[at];
            let name = monitor.name.scalar().unwrap_or_default();
            let above = parents[at].map(|parent| paths[parent].clone());
            let prefix = above.map(|path| path + "/").unwrap_or_default();
            let path = self.unique("monitors", &format!("{prefix}{name}"));
            monitor.name = Node::new(monitor.name.at.clone(), &path[prefix.len()..]);
            paths[at] = path;
        }
        let mut places = HashMap::new();
        for (monitor, path) in monitors.iter().zip(&paths) {
            let url = monitor.fields.iter().find(|field| field.key == "url").and_then(|field| field.value.scalar());
            for key in &monitor.keys {
                places.entry(key.clone()).or_insert_with(|| Place { path: path.clone(), url: url.clone() });
            }
        }
        let mut nodes: Vec<Option<Node>> = monitors
            .into_iter()
            .zip(&parents)
            .map(|(monitor, parent)| Some(node(monitor, parent.map(|parent| paths[parent].as_str()))))
            .collect();
        for at in order {
            if let Some(node) = nodes[at].take() {
                self.add("monitors", node);
            }
        }
        Places(places)
    }

    /// The index of the parent of each monitor; groups that exist only in paths are appended.
    fn parents(&mut self, monitors: &mut Vec<Monitor>) -> Vec<Option<usize>> {
        let mut keys: HashMap<String, usize> = HashMap::new();
        for (at, monitor) in monitors.iter().enumerate() {
            for key in &monitor.keys {
                keys.entry(key.clone()).or_insert(at);
            }
        }
        let mut parents = vec![None; monitors.len()];
        for (at, monitor) in monitors.iter().enumerate() {
            let Parent::Key(key) = &monitor.parent else { continue };
            parents[at] = key.text().and_then(|key| keys.get(key)).copied();
            if parents[at].is_none() {
                let id = key.scalar().unwrap_or_default();
                let id = id.split_once('/').map_or(id.as_str(), |(_, id)| id).to_owned();
                self.miss_group(&id, &key.at);
            }
        }
        // Shorter paths first: `A/B` then finds `A` in any order of the source.
        let length = |monitor: &Monitor| match &monitor.parent {
            Parent::Groups(names) => names.len(),
            _ => 0,
        };
        let mut order: Vec<usize> = (0..monitors.len()).collect();
        order.sort_by_key(|at| (!is_group(&monitors[*at]), length(&monitors[*at])));
        let mut groups: HashMap<(Option<usize>, String), usize> = HashMap::new();
        for at in order {
            if let Parent::Groups(names) = &monitors[at].parent {
                let names = names.clone();
                parents[at] = open_groups(&names, monitors, &mut parents, &mut groups);
            }
            if is_group(&monitors[at]) {
                let name = monitors[at].name.scalar().unwrap_or_default();
                groups.entry((parents[at], name)).or_insert(at);
            }
        }
        for names in std::mem::take(&mut self.opened) {
            open_groups(&names, monitors, &mut parents, &mut groups);
        }
        parents
    }

    fn miss_group(&mut self, id: &str, at: &At) {
        if self.missed.insert(("groups", self.key(id))) {
            self.skip(at, format!("group `{id}`"), "it is not in the file; its monitors are imported without a group");
        }
    }

    /// Removes monitors from groups that contain themselves.
    fn open_circles(&mut self, monitors: &[Monitor], parents: &mut [Option<usize>]) {
        for at in 0..parents.len() {
            let mut above = parents[at];
            let mut steps = 0;
            while let Some(parent) = above {
                steps += 1;
                if parent == at || steps > parents.len() {
                    break;
                }
                above = parents[parent];
            }
            if above == Some(at) {
                parents[at] = None;
                let name = monitors[at].name.scalar().unwrap_or_default();
                let why = "the group contains itself; the monitor is imported without a group";
                self.skip(&monitors[at].at, format!("the parent of monitor `{name}`"), why);
            }
        }
    }

    /// The fixture, or all problems.
    pub(super) fn finish(mut self) -> Result<Converted, Vec<Problem>> {
        if !self.monitors.is_empty() || !self.opened.is_empty() {
            self.place();
        }
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let mut entries = vec![("version", Node::new(self.at.clone(), 1))];
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
        Ok(Converted { document: Node::map(self.at, entries), skipped: self.skipped })
    }
}

fn is_group(monitor: &Monitor) -> bool {
    monitor.kind.text() == Some("group")
}

fn depth(parents: &[Option<usize>], at: usize) -> usize {
    std::iter::successors(parents[at], |parent| parents[*parent]).take(parents.len()).count()
}

/// The index of the last of `names`, each inside the one before; missing ones are created.
fn open_groups(
    names: &[Node],
    monitors: &mut Vec<Monitor>,
    parents: &mut Vec<Option<usize>>,
    groups: &mut HashMap<(Option<usize>, String), usize>,
) -> Option<usize> {
    let mut above = None;
    for name in names {
        let key = (above, name.scalar().unwrap_or_default());
        let at = *groups.entry(key).or_insert_with(|| {
            let at = name.at.clone();
            monitors.push(Monitor {
                at: at.clone(),
                name: name.clone(),
                kind: Node::new(at, "group"),
                keys: Vec::new(),
                parent: Parent::Root,
                fields: Vec::new(),
            });
            parents.push(above);
            monitors.len() - 1
        });
        above = Some(at);
    }
    above
}

/// A monitor of the native fixture.
fn node(monitor: Monitor, parent: Option<&str>) -> Node {
    let at = match &monitor.parent {
        Parent::Key(key) => key.at.clone(),
        Parent::Groups(names) => names.last().map_or(monitor.at.clone(), |name| name.at.clone()),
        Parent::Root => monitor.at.clone(),
    };
    let mut entries = vec![entry("name", monitor.name), entry("type", monitor.kind)];
    entries.extend(parent.map(|path| entry("parent", Node::new(at, path))));
    entries.extend(monitor.fields);
    Node { at: monitor.at, data: Data::Map(entries) }
}

/// An entry whose key has the position of its value.
pub(super) fn entry(key: impl Into<String>, value: Node) -> Entry {
    Entry { key: key.into(), at: value.at.clone(), value }
}
