//! Reads native fixtures. All problems are reported together.

use std::ops::Range;

use super::expand::{self, Expand, Lookup};
use super::node::{Data, Entry, Node};
use crate::error::Problem;
use crate::model::entities::{ENTITIES, Entity, MONITORS, SETTINGS, entity};
use crate::model::fields::{Field, ValueShape};
use crate::model::fixture::{Desired, FieldValue, Fixture, ValueOrRef};
use crate::model::{from_json, kind, normalise};
use crate::text::{At, meant, nearest};
use crate::value::Value;

/// The newest version of the format.
pub const VERSION: i64 = 1;

/// One part of a fixture.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its content.
    pub node: Node,
    /// Which `${…}` in its texts are expanded.
    pub expand: Expand,
    /// Whether it was converted: problems then name its items, because their numbers are not those of the source.
    pub converted: bool,
}

/// What was read, with everything that is wrong.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The valid items.
    pub fixture: Fixture,
    /// All problems.
    pub problems: Vec<Problem>,
    /// Whether each part contains a list or a map of items, even an empty one.
    pub says_something: Vec<bool>,
    /// The items with problems.
    pub invalid: Vec<Invalid>,
}

/// An item with problems.
#[derive(Clone, Debug)]
pub struct Invalid {
    /// The positions of its problems among all.
    pub problems: Range<usize>,
    /// Its path in the fixture, with which they begin.
    pub path: String,
    /// Its name in messages.
    pub subject: String,
}

/// Reads the native fixtures in `documents`.
///
/// # Errors
/// Every problem in all of them, each with file, line, column and its path in the fixture.
pub fn read_fixture(documents: &[Node], lookup: &dyn Lookup) -> Result<Fixture, Vec<Problem>> {
    let native = |node: &Node| Document { node: node.clone(), expand: Expand::All, converted: false };
    let contents = read_contents(documents.iter().map(native), lookup);
    if contents.problems.is_empty() { Ok(contents.fixture) } else { Err(contents.problems) }
}

/// Reads the fixtures in `documents`; items with problems are left out. Each part of a fixture is freed once it is read: of a
/// hundred thousand monitors, the nodes take as much memory as the items.
pub fn read_contents(documents: impl IntoIterator<Item = Document>, lookup: &dyn Lookup) -> Contents {
    let contents = Contents::default();
    let mut reader = Reader { lookup, contents, defaults: None, expand: Expand::All, converted: false };
    for Document { node, expand, converted } in documents {
        (reader.expand, reader.converted) = (expand, converted);
        reader.contents.says_something.push(false);
        reader.document(node);
    }
    reader.contents
}

struct Reader<'r> {
    lookup: &'r dyn Lookup,
    contents: Contents,
    /// `defaults` of the present fixture.
    defaults: Option<Desired>,
    /// See [`Document::expand`] of the present fixture.
    expand: Expand,
    /// See [`Document::converted`] of the present fixture.
    converted: bool,
}

impl Reader<'_> {
    fn wrong(&mut self, at: &At, path: &str, message: impl Into<String>) {
        self.contents.problems.push(Problem::at(at, path, message));
    }

    fn document(&mut self, document: Node) {
        if document.is_null() {
            return;
        }
        if !matches!(document.data, Data::Map(_)) {
            return self.wrong(&document.at, "fixture", format!("must be a map, not {}", document.noun()));
        }
        self.defaults = None;
        // First, at any position.
        if let Some(defaults) = document.find("defaults") {
            self.defaults = self.thing(&MONITORS, defaults, "defaults");
        }
        let Data::Map(entries) = document.data else { return };
        for Entry { key, at, value } in entries {
            match entity(&key) {
                _ if key == "version" => match value.int() {
                    Some(VERSION) => {}
                    _ => self.wrong(&value.at, "version", format!("must be {VERSION}")),
                },
                _ if key == "defaults" => {}
                // For notes and anchors.
                _ if key.starts_with("x-") || key == "$schema" => {}
                Some(found) => self.list(found, value),
                None => {
                    let keys = ENTITIES.iter().map(|entity| entity.key).chain(["version", "defaults"]);
                    let near = nearest(&key, keys);
                    let meant = near.map_or_else(String::new, meant);
                    self.contents.problems.push(Problem::at(&at, &key, format!("unknown key{meant}")));
                }
            }
        }
    }

    fn list(&mut self, found: &'static Entity, value: Node) {
        // A key without a value is not an empty list: `--prune` would delete everything.
        if value.is_null() {
            return;
        }
        if let Some(says) = self.contents.says_something.last_mut() {
            *says = true;
        }
        if self.contents.fixture.kinds.iter().all(|kind| kind.key != found.key) {
            self.contents.fixture.kinds.push(found);
        }
        let noun = value.noun();
        match value.data {
            Data::Map(entries) if found.key == SETTINGS.key => {
                for entry in &entries {
                    self.setting(entry);
                }
            }
            Data::List(items) => {
                self.contents.fixture.things.reserve(items.len());
                for (at, item) in items.into_iter().enumerate() {
                    let path = self.path_of(found, at, &item);
                    let before = self.contents.problems.len();
                    let mut thing = self.thing(found, &item, &path);
                    thing.iter_mut().for_each(|thing| self.finish(thing));
                    let problems = before..self.contents.problems.len();
                    if problems.is_empty() {
                        self.contents.fixture.things.extend(thing)
                    } else {
                        let subject = subject_of(found, &item, &path);
                        self.contents.invalid.push(Invalid { problems, path, subject });
                    }
                }
            }
            _ => {
                let must = if found.key == SETTINGS.key { "a map" } else { "a list" };
                self.wrong(&value.at, found.key, format!("must be {must}, not {noun}"));
            }
        }
    }

    /// How problems name an item: `monitors[3]`, or `monitors[Shop]` if the source has no such list.
    fn path_of(&self, found: &Entity, at: usize, item: &Node) -> String {
        let name = item.find(found.name).and_then(Node::scalar);
        match name.filter(|_| self.converted) {
            Some(name) => format!("{}[{name}]", found.key),
            None => format!("{}[{at}]", found.key),
        }
    }

    fn setting(&mut self, entry: &Entry) {
        let path = format!("settings.{}", entry.key);
        let Some(value) = self.expanded(&entry.value, &path) else { return };
        if self.is_masked(&value, &path) {
            return;
        }
        let [key, text] = &SETTINGS.fields else { return };
        let given = |field: &'static Field, value: String| FieldValue {
            field,
            value: ValueOrRef::Value(value.into()),
            at: entry.value.at.clone(),
        };
        let cells = vec![given(key, entry.key.clone()), given(text, value.json().to_string())];
        self.contents.fixture.things.push(bare(&SETTINGS, entry.at.clone(), path, cells));
    }

    /// Reads one item; `None` if it is invalid.
    fn thing(&mut self, found: &'static Entity, node: &Node, path: &str) -> Option<Desired> {
        let mut thing = bare(found, node.at.clone(), path.to_owned(), Vec::new());
        let entries = match &node.data {
            Data::Map(entries) => entries,
            // `- status.example.com` for `- domain: status.example.com`.
            _ if found.short && node.scalar().is_some() => {
                let field = found.field(found.name)?;
                self.cell(&mut thing, field, node, path);
                return Some(thing);
            }
            _ => {
                self.wrong(&node.at, path, format!("must be a map, not {}", node.noun()));
                return None;
            }
        };
        for Entry { key, at, value } in entries {
            let here = format!("{path}.{key}");
            match key.as_str() {
                "id" => match value.int() {
                    Some(id) => thing.id = Some(id),
                    None => self.wrong(&value.at, &here, format!("must be a number, not {}", value.noun())),
                },
                "was" => match self.text(value, &here) {
                    Some(was) => thing.was = Some(was),
                    None => self.wrong(&value.at, &here, "must be the former name, as text"),
                },
                "owner" if found.has_user() => match self.text(value, &here) {
                    Some(user) => thing.user = Some(user),
                    None => self.wrong(&value.at, &here, "must be the name of a user, as text"),
                },
                "left_out" => thing.left_out = value.list().iter().filter_map(Node::scalar).collect(),
                "path" if found.key == MONITORS.key && found.owner.is_empty() => self.path(&mut thing, value, &here),
                _ => match (found.part(key), found.field(key)) {
                    (Some(part), _) => {
                        let items = self.parts(part, value, &here);
                        thing.parts.push((part, items));
                    }
                    (None, Some(field)) if !field.is_typed() => {
                        self.wrong(at, &here, "is only written by the server; remove it");
                    }
                    (None, Some(field)) if thing.given(field.column).is_some() => {
                        self.wrong(at, &here, format!("`{}` is specified twice", field.column));
                    }
                    (None, Some(field)) => self.cell(&mut thing, field, value, &here),
                    (None, None) => {
                        let instead = match (found.nearest(key), found.field("config")) {
                            (Some(near), _) => meant(near),
                            (None, Some(_)) => {
                                format!("; a setting of its provider is written as `config: {{{key}: …}}`")
                            }
                            (None, None) => String::new(),
                        };
                        self.wrong(at, &here, format!("is not a field of a {}{instead}", found.noun));
                    }
                },
            }
        }
        thing.cells.shrink_to_fit();
        thing.parts.shrink_to_fit();
        Some(thing)
    }

    /// `path: Group/Name` for name and parent.
    fn path(&mut self, thing: &mut Desired, value: &Node, here: &str) {
        let Some(text) = self.text(value, here) else {
            return self.wrong(&value.at, here, "must be a path, for example `Group/Name`");
        };
        let at = &value.at;
        let (parent, name) = text.rsplit_once('/').unwrap_or(("", &text));
        for (column, text) in [("name", name), ("parent", parent)] {
            if let (Some(field), None) = (MONITORS.field(column), thing.given(column)) {
                let value = match column {
                    "parent" if !text.is_empty() => ValueOrRef::Named(text.to_owned()),
                    "parent" => ValueOrRef::Value(Value::Null),
                    _ => ValueOrRef::Value(text.into()),
                };
                thing.cells.push(FieldValue { field, value, at: at.clone() });
            }
        }
    }

    fn parts(&mut self, part: &'static Entity, value: &Node, here: &str) -> Vec<Desired> {
        let mut parts = self.parts_of(part, value, here);
        parts.shrink_to_fit();
        parts
    }

    fn parts_of(&mut self, part: &'static Entity, value: &Node, here: &str) -> Vec<Desired> {
        match &value.data {
            Data::Null => Vec::new(),
            Data::List(items) => items
                .iter()
                .enumerate()
                .filter_map(|(at, item)| {
                    let here = format!("{here}[{at}]");
                    // `- env`, although a value could follow.
                    match (item.scalar(), part.field(part.name)) {
                        (Some(_), Some(field)) => {
                            let mut thing = bare(part, item.at.clone(), here.clone(), Vec::new());
                            self.cell(&mut thing, field, item, &here);
                            Some(thing)
                        }
                        _ => self.thing(part, item, &here),
                    }
                })
                .collect(),
            // `tags: {env: prod}`
            Data::Map(entries) if !part.also.is_empty() => entries
                .iter()
                .filter_map(|entry| {
                    let here = format!("{here}.{}", entry.key);
                    let (name, also) = (part.field(part.name)?, part.field(part.also)?);
                    let mut thing = bare(part, entry.at.clone(), here.clone(), Vec::with_capacity(2));
                    let text = ValueOrRef::Named(entry.key.clone());
                    thing.cells.push(FieldValue { field: name, value: text, at: entry.at.clone() });
                    self.cell(&mut thing, also, &entry.value, &here);
                    Some(thing)
                })
                .collect(),
            // A single item does not need a list.
            _ if part.short && value.scalar().is_some() => self.thing(part, value, here).into_iter().collect(),
            _ => {
                self.wrong(&value.at, here, format!("must be a list, not {}", value.noun()));
                Vec::new()
            }
        }
    }

    fn cell(&mut self, thing: &mut Desired, field: &'static Field, node: &Node, here: &str) {
        let Some(node) = self.expanded(node, here) else { return };
        if self.is_masked(&node, here) {
            return;
        }
        let value = match (field.shape, node.scalar()) {
            (ValueShape::Reference(_), Some(text)) if text.trim().is_empty() => ValueOrRef::Value(Value::Null),
            (ValueShape::Reference(_), Some(text)) => ValueOrRef::Named(text),
            (ValueShape::Reference(_), None) if node.is_null() => ValueOrRef::Value(Value::Null),
            _ => match from_json(field, &json_of(field, &node)).and_then(|value| normalise(field, value)) {
                Ok(value) => ValueOrRef::Value(value),
                Err(problem) => return self.wrong(&node.at, here, problem.message),
            },
        };
        thing.cells.push(FieldValue { field, value, at: node.at });
    }

    /// Reports whether `node` is a masked secret or contains one.
    fn is_masked(&mut self, node: &Node, path: &str) -> bool {
        match &node.data {
            Data::Text(text) if is_masked(text) => {
                self.wrong(&node.at, path, "is a masked secret (only asterisks): set the real value");
                true
            }
            Data::List(items) => items.iter().any(|item| self.is_masked(item, path)),
            Data::Map(entries) => {
                entries.iter().any(|entry| self.is_masked(&entry.value, &format!("{path}.{}", entry.key)))
            }
            _ => false,
        }
    }

    /// Adds `defaults`, and checks that the item has a name.
    fn finish(&mut self, thing: &mut Desired) {
        let is_monitor = thing.entity.key == MONITORS.key;
        if is_monitor {
            thing.whole = thing.given("type").is_some();
            if let (true, Some(defaults)) = (thing.whole, &self.defaults) {
                add_defaults(thing, defaults);
            }
        }
        if thing.name().is_empty() && thing.id.is_none() && thing.was.is_none() {
            let unnamed = is_monitor && thing.whole;
            // The default name of a monitor is its host, as on the server's page.
            if !unnamed {
                let (at, path) = (thing.at.clone(), thing.path.clone());
                self.wrong(&at, &path, format!("requires a `{}`", thing.entity.name));
            }
        }
    }

    fn text(&mut self, node: &Node, path: &str) -> Option<String> {
        self.expanded(node, path)?.scalar()
    }

    fn expand(&self, text: &str, at: &At) -> Result<String, String> {
        expand::expand(text, at, self.expand, self.lookup)
    }

    /// `node` with every `${VARIABLE}` and `${file:path}` expanded.
    fn expanded(&mut self, node: &Node, path: &str) -> Option<Node> {
        let data = match &node.data {
            Data::Text(text) if text.contains('$') => match self.expand(text, &node.at) {
                Ok(text) => Data::Text(text),
                Err(message) => {
                    self.wrong(&node.at, path, message);
                    return None;
                }
            },
            Data::List(items) => {
                let items: Vec<Option<Node>> = items.iter().map(|item| self.expanded(item, path)).collect();
                Data::List(items.into_iter().collect::<Option<_>>()?)
            }
            Data::Map(entries) => {
                let expand = |entry: &Entry| {
                    let value = self.expanded(&entry.value, &format!("{path}.{}", entry.key))?;
                    Some(Entry { key: entry.key.clone(), at: entry.at.clone(), value })
                };
                let entries: Vec<Option<Entry>> = entries.iter().map(expand).collect();
                Data::Map(entries.into_iter().collect::<Option<_>>()?)
            }
            other => other.clone(),
        };
        Some(Node { at: node.at.clone(), data })
    }
}

/// The value of `node` for `field`: numbers in fields for text as they were written.
fn json_of(field: &Field, node: &Node) -> serde_json::Value {
    match (field.shape, &node.data) {
        (ValueShape::Text(_) | ValueShape::LongText | ValueShape::Choice(_), Data::Written(text, _)) => {
            text.as_str().into()
        }
        _ => node.json(),
    }
}

fn bare(entity: &'static Entity, at: At, path: String, cells: Vec<FieldValue>) -> Desired {
    Desired {
        entity,
        at,
        path,
        id: None,
        was: None,
        user: None,
        whole: true,
        cells,
        left_out: Vec::new(),
        parts: Vec::new(),
    }
}

/// The name of an invalid item in messages, or its path if it has none.
fn subject_of(found: &Entity, item: &Node, path: &str) -> String {
    let name = [found.name, "path", "id"].into_iter().find_map(|key| item.find(key).and_then(Node::scalar));
    name.map_or_else(|| format!("{} `{path}`", found.noun), |name| format!("{} `{name}`", found.noun))
}

/// Only asterisks: what the server's page shows instead of a secret.
fn is_masked(text: &str) -> bool {
    text.len() >= 3 && text.bytes().all(|byte| byte == b'*')
}

/// The values of `defaults` for fields of `thing` that it does not specify.
fn add_defaults(thing: &mut Desired, defaults: &Desired) {
    let kind = thing.text("type").and_then(kind);
    for given in &defaults.cells {
        let column = given.field.column;
        let has = kind.is_none_or(|kind| kind.has(column, crate::schema::newest()));
        if has && thing.given(column).is_none() {
            thing.cells.push(given.clone());
        }
    }
    thing.cells.shrink_to_fit();
    for (part, items) in &defaults.parts {
        if thing.part(part.key).is_none() {
            thing.parts.reserve_exact(1);
            thing.parts.push((part, items.clone()));
        }
    }
}
