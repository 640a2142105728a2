//! Entities of AutoKuma: one per file, whose path is the entity's id, several in a list or a map, Docker labels in lines,
//! Compose files and `docker inspect`, or resources of Kubernetes.

mod containers;
mod labels;

use std::collections::HashMap;

use super::super::node::{At, Data, Entry, Node};
use super::SourceFile;
use super::address::kind_of;
use super::columns::{ColumnChoice, KeptFields, columns, tags};
use super::draft::{Draft, DraftMonitor, Parent, entry};
use super::dump::{self, DOCKER_HOST};
use super::status_page;
use super::words::{flag, is_off};
use super::words::{parsed, parts};

pub(super) use containers::is_containers;
pub use containers::{LabelledContainer, of_containers};
pub(super) use labels::is_labels;

/// An entity with its id.
struct Entity {
    id: String,
    kind: String,
    node: Node,
}

pub(super) fn convert(draft: &mut Draft, sources: &[SourceFile]) {
    let mut entities = Vec::new();
    for source in sources {
        let is_text = source.documents.iter().all(|one| matches!(one.data, Data::Text(_) | Data::Null));
        if is_text && (is_labels(&source.text) || draft.label_prefix.is_some()) {
            labelled(draft, &labels::of_lines(source), &mut entities);
            continue;
        }
        for document in &source.documents {
            read(draft, source, document, &mut entities);
        }
    }
    let directory = Directory::of(&entities);
    for (at, one) in entities.iter().enumerate() {
        thing(draft, one, at);
    }
    for (at, one) in entities.iter().enumerate().filter(|(_, one)| !is_thing(&one.kind)) {
        monitor(draft, one, at, &directory);
    }
    let places = draft.place();
    for one in entities.iter().filter(|one| one.kind == "status_page") {
        if let Some(page) = status_page::status_page(draft, &one.node, &places) {
            draft.add("status_pages", page);
        }
    }
}

fn labelled(draft: &mut Draft, labels: &[labels::Label], entities: &mut Vec<Entity>) {
    let found = labels::entities(draft, labels);
    found.iter().for_each(|one| draft.root(one.node.clone()));
    entities.extend(found);
}

/// The entities in a part of `source`.
fn read(draft: &mut Draft, source: &SourceFile, document: &Node, entities: &mut Vec<Entity>) {
    if let Some(labels) = containers::labels(draft, document) {
        return labelled(draft, &labels, entities);
    }
    if containers::is_kubernetes(document) {
        entities.extend(containers::resource(draft, document));
        return;
    }
    let mut document = document.clone();
    verbatim(&mut document);
    draft.root(document.clone());
    listed(draft, &path_of(&source.file), &document, entities);
}

/// Removes the marks around texts in which AutoKuma expands nothing.
fn verbatim(node: &mut Node) {
    match &mut node.data {
        Data::Text(text) => {
            let inner = text.strip_prefix("{% raw %}").and_then(|text| text.strip_suffix("{% endraw %}"));
            if let Some(inner) = inner.map(str::to_owned) {
                *text = inner;
            }
        }
        Data::List(items) => items.iter_mut().for_each(verbatim),
        Data::Map(entries) => entries.iter_mut().for_each(|one| verbatim(&mut one.value)),
        _ => {}
    }
}

/// `./monitors/wiki.json` as `monitors/wiki`.
fn path_of(file: &str) -> String {
    let path = file.replace('\\', "/");
    let (folder, name) = path.rsplit_once('/').map_or(("", path.as_str()), |(folder, name)| (folder, name));
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let above: Vec<&str> = folder.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect();
    above.into_iter().chain([stem]).collect::<Vec<_>>().join("/")
}

/// The entities in a file: a single one, a list, or a map by id.
fn listed(draft: &mut Draft, id: &str, document: &Node, entities: &mut Vec<Entity>) {
    let kind = document.find("type").and_then(Node::text);
    let wrong =
        |draft: &mut Draft, one: &Node, id: &str| draft.wrong(&one.at, &format!("entity `{id}`"), "`type` is missing");
    match &document.data {
        Data::Map(_) if kind.is_some() => {
            let kind = spelled(kind.unwrap_or_default());
            entities.push(Entity { id: id.to_owned(), kind, node: document.clone() });
        }
        Data::Map(entries) => {
            for one in entries {
                match one.value.find("type") {
                    Some(_) => listed(draft, &one.key, &one.value, entities),
                    None => wrong(draft, &one.value, &one.key),
                }
            }
        }
        Data::List(items) => {
            for (number, one) in items.iter().enumerate() {
                let id = format!("{id}[{number}]");
                match one.find("type") {
                    Some(_) => listed(draft, &id, one, entities),
                    None => wrong(draft, one, &id),
                }
            }
        }
        _ => draft.wrong(&document.at, &format!("entity `{id}`"), format!("must be a map, not {}", document.noun())),
    }
}

/// The type in kumadb's spelling: monitor types with `-`, others with `_`.
fn spelled(kind: &str) -> String {
    match kind.replace('-', "_").as_str() {
        known if is_thing(known) => known.to_owned(),
        _ if crate::model::kind(&kind.replace('_', "-")).is_some() => kind.replace('_', "-"),
        _ => kind_of(kind),
    }
}

/// Whether a kind of entity is not a monitor.
fn is_thing(kind: &str) -> bool {
    matches!(kind, "docker_host" | "notification" | "tag" | "status_page")
}

/// The list of the fixture that an entity belongs to.
fn section(kind: &str) -> &'static str {
    match kind {
        "docker_host" => "docker_hosts",
        "notification" => "notifications",
        "tag" => "tags",
        "status_page" => "status_pages",
        _ => "monitors",
    }
}

impl Entity {
    /// Its name, or the last part of its id if it has none.
    fn name(&self) -> Node {
        let own = self.node.find("name").filter(|name| name.scalar().is_some_and(|text| !text.is_empty()));
        own.cloned().unwrap_or_else(|| Node::new(self.node.at.clone(), last(&self.id)))
    }

    /// The same with `key` as its id, with its name, and without its type if that is only the kind of entity.
    fn reported(&self, key: &str) -> Node {
        let is_own = |one: &&Entry| !matches!(one.key.as_str(), "id" | "name" | "type");
        let id = Node::new(At::nowhere(&self.node.at.file), key);
        let own = self.node.entries().iter().filter(is_own).cloned();
        let entries = [entry("id", id), entry("name", self.name())].into_iter().chain(own).collect();
        Node { at: self.node.at.clone(), data: Data::Map(entries) }
    }
}

fn last(id: &str) -> &str {
    id.rsplit_once('/').map_or(id, |(_, last)| last)
}

/// The key of the entity number `at` in the draft.
fn key_of(at: usize) -> String {
    format!("#{at}")
}

/// Finds entities by what others write for them.
struct Directory<'e> {
    entities: &'e [Entity],
    /// By section, and by the last part of the id or the name.
    known: HashMap<(&'static str, String), Vec<usize>>,
}

impl<'e> Directory<'e> {
    fn of(entities: &'e [Entity]) -> Directory<'e> {
        let mut known: HashMap<(&'static str, String), Vec<usize>> = HashMap::new();
        for (at, one) in entities.iter().enumerate() {
            let name = one.name().scalar().unwrap_or_default();
            let section = section(&one.kind);
            known.entry((section, last(&one.id).to_owned())).or_default().push(at);
            if last(&one.id) != last(&name) {
                known.entry((section, last(&name).to_owned())).or_default().push(at);
            }
        }
        Directory { entities, known }
    }

    /// The entity that `from` means by `id`: by its whole id, by the end of its id (in its own folder first), or by its name.
    ///
    /// # Errors
    /// The ids of several.
    fn find(&self, section: &'static str, from: &Entity, id: &str) -> Result<Option<usize>, String> {
        let near = self.known.get(&(section, last(id).to_owned())).map_or(&[][..], Vec::as_slice);
        let folder = from.id.rsplit_once('/').map_or("", |(folder, _)| folder);
        let ends = |at: &usize| {
            let own = &self.entities[*at].id;
            own == id || own.ends_with(&format!("/{id}"))
        };
        let beside = |at: &usize| self.entities[*at].id == format!("{folder}/{id}");
        let is_named = |at: &usize| self.entities[*at].name().scalar().as_deref() == Some(id);
        let by_id: Vec<usize> = near.iter().copied().filter(ends).collect();
        let found =
            match by_id.iter().copied().find(|at| self.entities[*at].id == id).or(by_id.iter().copied().find(beside)) {
                Some(one) => vec![one],
                None if by_id.is_empty() => near.iter().copied().filter(is_named).collect(),
                None => outermost(by_id, |at| self.entities[*at].id.matches('/').count()),
            };
        match found.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            several => {
                Err(several.iter().map(|at| format!("`{}`", self.entities[*at].id)).collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// The name of what `from` means by `id` in `section`; a name that is not in the files may be on the instance.
    fn named(&self, draft: &mut Draft, section: &'static str, from: &Entity, id: &Node) -> Option<Node> {
        let text = id.scalar().filter(|text| !text.is_empty())?;
        match self.find(section, from, &text) {
            Ok(Some(at)) => {
                let name = draft.referred(section, &key_of(at)).map(str::to_owned);
                Some(Node::new(id.at.clone(), name.unwrap_or(text)))
            }
            Ok(None) => Some(Node::new(id.at.clone(), text)),
            Err(several) => {
                draft.wrong(&id.at, &format!("`{text}`"), format!("can be {several}: write the whole id"));
                None
            }
        }
    }
}

/// Those of the least depth: an id begins at the folder of all files.
fn outermost(found: Vec<usize>, depth: impl Fn(&usize) -> usize) -> Vec<usize> {
    let least = found.iter().map(&depth).min();
    found.into_iter().filter(|at| Some(depth(at)) == least).collect()
}

/// Adds the items that monitors refer to.
fn thing(draft: &mut Draft, one: &Entity, at: usize) {
    match one.kind.as_str() {
        "docker_host" => dump::named(draft, "docker_hosts", &one.reported(&key_of(at)), &DOCKER_HOST),
        "notification" => dump::notification(draft, &one.reported(&key_of(at))),
        "tag" => {
            let name = one.name();
            draft.tag(&name, one.node.find("color"));
            draft.refer("tags", &key_of(at), name.scalar().unwrap_or_default());
        }
        _ => return,
    }
    // It is only the kind of entity.
    let kind = one.node.entries().iter().find(|one| one.key == "type");
    kind.into_iter().for_each(|kind| draft.account(&kind.value));
}

/// Keys of a monitor that only AutoKuma has.
const HANDLED: [&str; 14] = [
    "name",
    "type",
    "parent",
    "parent_name",
    "parentName",
    "tag_names",
    "tagNames",
    "tags",
    "docker_host_name",
    "dockerHostName",
    "create_paused",
    "createPaused",
    "on_delete",
    "onDelete",
];

/// Keys under which a monitor lists its notifications.
const NOTIFIED: [&str; 6] = [
    "notification_name_list",
    "notificationNameList",
    "notification_names",
    "notification_id_list",
    "notificationIDList",
    "notificationIdList",
];

fn monitor(draft: &mut Draft, one: &Entity, at: usize, directory: &Directory<'_>) {
    let (node, name) = (&one.node, one.name());
    let what = format!("monitor `{}`", name.scalar().unwrap_or_default());
    let is_group = |one: &&Entry| one.key == "group";
    if let Some(group) = node.entries().iter().find(is_group) {
        draft.wrong(&group.value.at, &what, "unknown key `group` (did you mean `parent_name`?)");
    }
    let entries = node.entries().iter().filter(|one| !is_group(one));
    let handled = [&HANDLED[..], &NOTIFIED].concat();
    let choice = ColumnChoice { kind: &one.kind, keep: KeptFields::newest(), handled: &handled };
    let mut fields = columns(draft, &what, choice, entries);
    draft.account_keys(node, &["on_delete", "onDelete"]);
    if let Some(host) = node.first(&["docker_host_name", "dockerHostName"]) {
        fields.retain(|field| field.key != "docker_host");
        fields.extend(directory.named(draft, "docker_hosts", one, host).map(|name| entry("docker_host", name)));
    }
    if let Some(paused) = node.first(&["create_paused", "createPaused"]) {
        match is_off(paused) {
            true => draft.account(paused),
            false if flag(paused).truthy() => {
                fields.retain(|field| field.key != "active");
                fields.push(entry("active", Node::new(paused.at.clone(), false)));
            }
            false => draft.wrong(&paused.at, &what, "`create_paused` must be true or false"),
        }
    }
    fields.extend(tagged(draft, one, directory));
    fields.push(notified(draft, one, directory));
    let title = name.scalar().unwrap_or_default();
    let keys = vec![draft.key(key_of(at)), draft.key(&one.id), draft.key(last(&one.id)), draft.key(&title)];
    let kind_at = node.find("type").map_or(&node.at, |kind| &kind.at).clone();
    let parent = parent(draft, one, directory);
    draft.monitor(DraftMonitor {
        at: node.at.clone(),
        kind: Node::new(kind_at, one.kind.as_str()),
        name,
        keys,
        parent,
        fields,
    });
}

/// The group of an entity: in the files, otherwise on the instance.
fn parent(draft: &mut Draft, one: &Entity, directory: &Directory<'_>) -> Parent {
    let written = one.node.first(&["parent_name", "parentName", "parent"]).filter(|parent| parent.int() != Some(0));
    let Some((written, id)) = written.and_then(|written| Some((written, written.scalar()?))) else {
        return Parent::Root;
    };
    match directory.find("monitors", one, &id) {
        _ if id.is_empty() => Parent::Root,
        Ok(Some(at)) => Parent::Key(Node::new(written.at.clone(), draft.key(key_of(at)))),
        Ok(None) => Parent::Existing(Node::new(written.at.clone(), id)),
        Err(several) => {
            draft.wrong(&written.at, &format!("`{id}`"), format!("can be {several}: write the whole id"));
            Parent::Root
        }
    }
}

/// The items of a list, of a text with separators or JSON, or the values of a map.
fn items(value: &Node) -> Vec<Node> {
    let value = parsed(value).unwrap_or_else(|| value.clone());
    match &value.data {
        Data::Map(entries) if value.find("name").is_none() => entries.iter().map(|one| one.value.clone()).collect(),
        Data::Map(_) => vec![value],
        _ => parts(&value),
    }
}

/// `tag_names` as names of tags; one that is not in the files is used as a name.
fn tagged(draft: &mut Draft, one: &Entity, directory: &Directory<'_>) -> Option<Entry> {
    let listed = one.node.first(&["tag_names", "tagNames", "tags"])?;
    let mut list = Vec::new();
    for item in items(listed) {
        let id = item.find("name").unwrap_or(&item);
        let Some(name) = directory.named(draft, "tags", one, id) else { continue };
        let more = ["value", "color"].into_iter().filter_map(|key| Some((key, item.find(key)?.clone())));
        list.push(Node::map(item.at.clone(), [("name", name)].into_iter().chain(more)));
    }
    tags(draft, &Node::new(listed.at.clone(), list))
}

/// The notifications by name; a monitor without a list has none.
fn notified(draft: &mut Draft, one: &Entity, directory: &Directory<'_>) -> Entry {
    let listed = one.node.first(&NOTIFIED);
    let mut names = Vec::new();
    for item in listed.map(items).unwrap_or_default() {
        match item.int().filter(|_| item.text().is_none()) {
            // The number of a notification on a server that is not known.
            Some(id) => draft.miss("notifications", &id.to_string(), &item.at),
            None => names.extend(directory.named(draft, "notifications", one, &item)),
        }
    }
    entry("notifications", Node::new(listed.map_or(&one.node.at, |listed| &listed.at).clone(), names))
}
