//! Entities of AutoKuma: one per file, whose name is the entity's id, several in a list or a map, or Docker labels.

mod labels;

use super::super::node::{Data, Entry, Node};
use super::Source;
use super::address::kind_of;
use super::columns::{Keep, columns, flag, tags};
use super::draft::{Draft, Monitor, Parent, entry};
use super::dump::{self, DOCKER_HOST};
use super::status_page;

pub(super) use labels::is_labels;

/// An entity with its id.
struct Entity {
    id: String,
    kind: String,
    node: Node,
}

pub(super) fn convert(draft: &mut Draft, sources: &[Source]) {
    let mut entities = Vec::new();
    for source in sources {
        if is_labels(&source.text) {
            let labelled = labels::read(draft, source);
            entities.extend(labelled.into_iter().map(|(id, kind, node)| Entity { id, kind, node }));
            continue;
        }
        for document in &source.documents {
            read(draft, &stem(&source.file), document, &mut entities);
        }
    }
    for one in &entities {
        thing(draft, one);
    }
    let is_monitor =
        |one: &&Entity| !matches!(one.kind.as_str(), "docker_host" | "notification" | "tag" | "status_page");
    entities.iter().filter(is_monitor).for_each(|one| monitor(draft, one));
    let places = draft.place();
    for one in entities.iter().filter(|one| one.kind == "status_page") {
        if let Some(page) = status_page::status_page(draft, &one.node, &places) {
            draft.add("status_pages", page);
        }
    }
}

/// `monitors/wiki.json` as `wiki`.
fn stem(file: &str) -> String {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned()
}

/// The entities in a file: a single one, a list, or a map by id.
fn read(draft: &mut Draft, id: &str, document: &Node, entities: &mut Vec<Entity>) {
    let kind = document.find("type").and_then(Node::text);
    match &document.data {
        Data::Map(_) if kind.is_some() => {
            let kind = spelled(kind.unwrap_or_default());
            entities.push(Entity { id: id.to_owned(), kind, node: document.clone() });
        }
        Data::Map(entries) => {
            for one in entries {
                match one.value.find("type") {
                    Some(_) => read(draft, &one.key, &one.value, entities),
                    None => draft.wrong(&one.at, &format!("entity `{}`", one.key), "`type` is missing"),
                }
            }
        }
        Data::List(items) => {
            for (number, one) in items.iter().enumerate() {
                match one.find("type") {
                    Some(_) => read(draft, &format!("{id}[{number}]"), one, entities),
                    None => draft.wrong(&one.at, &format!("entity `{id}[{number}]`"), "`type` is missing"),
                }
            }
        }
        _ => draft.wrong(&document.at, &format!("entity `{id}`"), format!("must be a map, not {}", document.noun())),
    }
}

/// The type in kumadb's spelling: monitor types with `-`, others with `_`.
fn spelled(kind: &str) -> String {
    match kind.replace('-', "_").as_str() {
        known @ ("docker_host" | "notification" | "tag" | "status_page") => known.to_owned(),
        _ if crate::model::kind(&kind.replace('_', "-")).is_some() => kind.replace('_', "-"),
        _ => kind_of(kind),
    }
}

impl Entity {
    /// Its name, or its id if it has none.
    fn name(&self) -> Node {
        let own = self.node.find("name").filter(|name| name.scalar().is_some_and(|text| !text.is_empty()));
        own.cloned().unwrap_or_else(|| Node::new(self.node.at.clone(), self.id.as_str()))
    }

    /// The same with its id and name, and without its type if that is only the kind of entity.
    fn told(&self, drops_type: bool) -> Node {
        let is_own = |one: &&Entry| one.key != "id" && one.key != "name" && !(drops_type && one.key == "type");
        let id = Node::new(self.node.at.clone(), self.id.as_str());
        let own = self.node.entries().iter().filter(is_own).cloned();
        Node {
            at: self.node.at.clone(),
            data: Data::Map([entry("id", id), entry("name", self.name())].into_iter().chain(own).collect()),
        }
    }
}

/// Adds the items that monitors refer to.
fn thing(draft: &mut Draft, one: &Entity) {
    let name = one.name();
    let title = name.scalar().unwrap_or_default();
    let section = match one.kind.as_str() {
        "docker_host" => {
            dump::named(draft, "docker_hosts", &one.told(true), &DOCKER_HOST);
            "docker_hosts"
        }
        "notification" => {
            dump::notification(draft, &one.told(true));
            "notifications"
        }
        "tag" => {
            draft.tag(&name, one.node.find("color"));
            draft.refer("tags", &one.id, title.as_str());
            "tags"
        }
        _ => return,
    };
    // Some refer to items by name.
    draft.refer(section, &title, title.as_str());
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

fn monitor(draft: &mut Draft, one: &Entity) {
    let (node, name) = (&one.node, one.name());
    let what = format!("monitor `{}`", name.scalar().unwrap_or_default());
    let mut fields =
        columns(draft, &what, &one.kind, Keep::newest(), node.entries(), &[&HANDLED[..], &NOTIFIED].concat());
    if let Some(host) = node.first(&["docker_host_name", "dockerHostName"]) {
        let id = host.scalar().unwrap_or_default();
        fields.retain(|field| field.key != "docker_host");
        match draft.referred("docker_hosts", &id).map(str::to_owned) {
            Some(name) => fields.push(entry("docker_host", Node::new(host.at.clone(), name))),
            None => draft.miss("docker_hosts", &id, &host.at),
        }
    }
    if let Some(paused) = node.first(&["create_paused", "createPaused"]).filter(|paused| paused.truthy()) {
        fields.retain(|field| field.key != "active");
        fields.push(entry("active", flag(&Node::new(paused.at.clone(), false))));
    }
    fields.extend(tagged(draft, node));
    fields.push(notified(draft, node));
    let title = name.scalar().unwrap_or_default();
    let keys = vec![draft.key(&one.id), draft.key(&title)];
    let parent = node.first(&["parent_name", "parentName", "parent"]).filter(|parent| parent.int() != Some(0));
    draft.monitor(Monitor {
        at: node.at.clone(),
        kind: Node::new(node.find("type").map_or(&node.at, |kind| &kind.at).clone(), one.kind.as_str()),
        name,
        keys,
        parent: match parent.and_then(|parent| Some((parent, parent.scalar().filter(|id| !id.is_empty())?))) {
            Some((parent, id)) => Parent::Key(Node::new(parent.at.clone(), draft.key(id))),
            None => Parent::Root,
        },
        fields,
    });
}

/// `tag_names` as names of tags; one that is not in the file is used as a name.
fn tagged(draft: &mut Draft, node: &Node) -> Option<Entry> {
    let listed = node.first(&["tag_names", "tagNames", "tags"])?;
    let named = |one: &Node| {
        let id = one.find("name").unwrap_or(one);
        let name = id.scalar().and_then(|id| draft.referred("tags", &id).map(str::to_owned));
        let name = name.map_or_else(|| id.clone(), |name| Node::new(id.at.clone(), name));
        let more = ["value", "color"].into_iter().filter_map(|key| Some((key, one.find(key)?.clone())));
        Node::map(one.at.clone(), [("name", name)].into_iter().chain(more))
    };
    let list = listed.list().iter().map(named).collect::<Vec<_>>();
    tags(draft, &Node::new(listed.at.clone(), list))
}

/// The notifications by name; a monitor without a list has none.
fn notified(draft: &mut Draft, node: &Node) -> Entry {
    let listed = node.first(&NOTIFIED);
    let mut names = Vec::new();
    for one in listed.map_or(&[][..], Node::list) {
        let id = one.scalar().unwrap_or_default();
        match draft.referred("notifications", &id).map(str::to_owned) {
            Some(name) => names.push(Node::new(one.at.clone(), name)),
            None => draft.miss("notifications", &id, &one.at),
        }
    }
    entry("notifications", Node::new(listed.map_or(&node.at, |listed| &listed.at).clone(), names))
}
