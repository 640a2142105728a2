//! Files that describe containers and contain labels: Compose files, `docker inspect`, and resources of Kubernetes.

use std::collections::BTreeMap;

use super::super::super::node::{At, Data, Entry, Node};
use super::super::SourceFile;
use super::super::draft::Draft;
use super::labels::Label;
use super::{Entity, spelled};

/// A container on a Docker engine.
#[derive(Clone, Debug, Default)]
pub struct LabelledContainer {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its image.
    pub image: String,
    /// The id of its image.
    pub image_id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// The containers that have labels with `prefix` and a point, as `docker inspect` shows them. Variables for the container in
/// these labels are replaced, as AutoKuma does.
pub fn of_containers(prefix: &str, containers: &[LabelledContainer]) -> SourceFile {
    let mut labelled = Vec::new();
    for one in containers {
        let file = format!("container {}", one.name);
        // There are no lines: a position is the number of the value.
        let mut number = 0;
        let mut at = || {
            number += 1;
            At { file: file.as_str().into(), line: 0, column: number }
        };
        let own =
            one.labels.iter().filter(|(key, _)| key.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')));
        let labels =
            own.map(|(key, value)| Entry { key: one.filled(key), at: at(), value: Node::new(at(), one.filled(value)) });
        let labels: Vec<Entry> = labels.collect();
        if !labels.is_empty() {
            let labels = Node { at: at(), data: Data::Map(labels) };
            let config = Node::map(at(), [("Labels", labels)]);
            labelled.push(Node::map(at(), [("Config", config)]));
        }
    }
    let file = "containers".to_owned();
    let document = Node::new(At::nowhere(&file), labelled);
    SourceFile { file, text: String::new(), documents: vec![document], problems: Vec::new() }
}

impl LabelledContainer {
    /// `text` with the values of its variables.
    fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in [
            ("container_name", &self.name),
            ("container_id", &self.id),
            ("image_id", &self.image_id),
            ("image", &self.image),
        ] {
            for variable in [format!("{{{{{name}}}}}"), format!("{{{{ {name} }}}}")] {
                text = text.replace(&variable, value);
            }
        }
        text
    }
}

/// Whether a file is a Compose file, the output of `docker inspect`, or a resource of AutoKuma's operator.
pub(in super::super) fn is_containers(document: &Node) -> bool {
    is_compose(document) || is_inspected(document) || is_resource(document)
}

fn is_compose(document: &Node) -> bool {
    let services = document.find("services").map_or(&[][..], Node::entries);
    let is_service = |one: &Node| ["image", "build", "labels", "deploy"].iter().any(|key| one.find(key).is_some());
    !services.is_empty() && services.iter().all(|one| is_service(&one.value))
}

fn is_inspected(document: &Node) -> bool {
    let is_container =
        |one: &Node| one.find("Config").or(one.find("Spec")).is_some_and(|inner| inner.find("Labels").is_some());
    !document.list().is_empty() && document.list().iter().all(is_container)
}

fn is_resource(document: &Node) -> bool {
    document.find("apiVersion").is_some() && document.find("kind").and_then(Node::text) == Some("KumaEntity")
}

/// Whether a file is any resource of Kubernetes.
pub(super) fn is_kubernetes(document: &Node) -> bool {
    document.find("apiVersion").is_some() && document.find("kind").and_then(Node::text).is_some()
}

/// The labels of all containers of a file; `None` if it describes none.
pub(super) fn labels(draft: &mut Draft, document: &Node) -> Option<Vec<Label>> {
    let mut found = Vec::new();
    if is_compose(document) {
        for service in document.find("services").map_or(&[][..], Node::entries) {
            let deployed = service.value.find("deploy").and_then(|deploy| deploy.find("labels"));
            [service.value.find("labels"), deployed]
                .into_iter()
                .flatten()
                .for_each(|list| add(draft, list, &mut found));
        }
    } else if is_inspected(document) {
        for one in document.list() {
            let task =
                one.find("Spec").and_then(|spec| spec.find("TaskTemplate")?.find("ContainerSpec")?.find("Labels"));
            let own = ["Config", "Spec"].iter().filter_map(|key| one.find(key)?.find("Labels"));
            own.chain(task).for_each(|list| add(draft, list, &mut found));
        }
    } else {
        return None;
    }
    Some(found)
}

fn add(draft: &mut Draft, labels: &Node, found: &mut Vec<Label>) {
    for one in labels.entries() {
        found.push(Label { key: one.key.clone(), at: one.at.clone(), value: one.value.clone() });
    }
    for one in labels.list() {
        match one.text() {
            Some(text) => found.push(Label::read(text, &one.at)),
            None => draft.wrong(&one.at, "a label", format!("must be a text, not {}", one.noun())),
        }
    }
}

/// The entity of a resource, under `spec.config`.
pub(super) fn resource(draft: &mut Draft, document: &Node) -> Option<Entity> {
    let name =
        document.find("metadata").and_then(|about| about.find("name")).and_then(Node::scalar).unwrap_or_default();
    if !is_resource(document) {
        let kind = document.find("kind").and_then(Node::scalar).unwrap_or_default();
        draft.skip(&document.at, format!("{kind} `{name}`"), "it is not a `KumaEntity`");
        return None;
    }
    let what = format!("KumaEntity `{name}`");
    let Some(config) = document.find("spec").and_then(|spec| spec.find("config")) else {
        draft.wrong(&document.at, &what, "the entity is missing: it is expected under `spec.config`");
        return None;
    };
    let Some(kind) = config.find("type").and_then(Node::scalar) else {
        draft.wrong(&config.at, &what, "`type` is missing");
        return None;
    };
    if let Some(template) = templated(config) {
        draft.wrong(&template.at, &what, "it contains a template; render the resource first (`helm template`)");
        return None;
    }
    draft.root(config.clone());
    Some(Entity { id: name, kind: spelled(&kind), node: config.clone() })
}

/// The first text with a template.
fn templated(node: &Node) -> Option<&Node> {
    match &node.data {
        Data::Text(text) if text.contains("{{") => Some(node),
        Data::List(items) => items.iter().find_map(templated),
        Data::Map(entries) => entries.iter().find_map(|one| templated(&one.value)),
        _ => None,
    }
}
