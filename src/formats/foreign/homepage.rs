//! The services of Homepage (`services.yaml`): groups of services, of which each has an address or a check.

use super::super::node::{Data, Entry, Node};
use super::SourceFile;
use super::columns::KeptFields;
use super::draft::{Draft, entry};
use super::listed::{self, ListContext};

/// Keys that are only displayed, or that Homepage needs to display something.
const SHOWN: [&str; 12] = [
    "abbr",
    "hideErrors",
    "icon",
    "id",
    "keywords",
    "showStats",
    "statusStyle",
    "target",
    "weight",
    "widget",
    "widgets",
    "namespace",
];

/// Keys of a service.
const SERVICE: [&str; 7] = ["href", "ping", "siteMonitor", "container", "description", "widget", "icon"];

/// The name and the content of an item: a map with one key.
fn item(node: &Node) -> Option<&Entry> {
    match node.entries() {
        [only] => Some(only),
        _ => None,
    }
}

fn is_service(entry: &Entry) -> bool {
    SERVICE.iter().any(|key| entry.value.find(key).is_some())
}

/// Whether a file has groups of services.
pub(super) fn is_homepage(document: &Node) -> bool {
    let is_group = |node: &Node| {
        let inside = item(node).map_or(&[][..], |group| group.value.list());
        !inside.is_empty()
            && inside.iter().all(|one| item(one).is_some_and(|one| is_service(one) || is_list(&one.value)))
    };
    !document.list().is_empty() && document.list().iter().all(is_group)
}

fn is_list(node: &Node) -> bool {
    matches!(node.data, Data::List(_))
}

pub(super) fn convert(draft: &mut Draft, sources: &[SourceFile]) {
    for document in sources.iter().flat_map(|source| &source.documents) {
        document.list().iter().for_each(|group| inside(draft, group, &[]));
    }
}

/// A service, or a group with its services.
fn inside(draft: &mut Draft, node: &Node, above: &[Node]) {
    let Some(one) = item(node) else {
        return draft.wrong(&node.at, "an item", "must be a map with one key, the name of a service or a group");
    };
    let name = Node::new(one.at.clone(), one.key.as_str());
    if is_list(&one.value) {
        let above: Vec<Node> = above.iter().cloned().chain([name]).collect();
        return one.value.list().iter().for_each(|node| inside(draft, node, &above));
    }
    service(draft, &name, &one.value, above);
}

/// The monitors of a service: one for each check, or else one for its address, or else one for its container.
fn service(draft: &mut Draft, name: &Node, service: &Node, above: &[Node]) {
    draft.account_keys(service, &SHOWN);
    let title = name.scalar().unwrap_or_default();
    let what = format!("service `{title}`");
    if let Some(template) =
        service.entries().iter().find(|one| one.value.text().is_some_and(|text| text.contains("{{")))
    {
        draft.account(service);
        return draft.wrong(&template.value.at, &what, "contains a variable of Homepage; write its value");
    }
    let (site, ping) = (service.find("siteMonitor"), service.find("ping"));
    let (href, container) = (service.find("href"), service.find("container"));
    let mut checks: Vec<(String, Vec<Entry>)> = Vec::new();
    let field = |key: &str, value: &Node| Entry { key: key.to_owned(), at: value.at.clone(), value: value.clone() };
    if let Some(site) = site {
        checks.push((title.clone(), vec![field("url", site), entry("type", Node::new(site.at.clone(), "http"))]));
    }
    if let Some(ping) = ping {
        let own = if site.is_some() { format!("{title} ping") } else { title.clone() };
        checks.push((own, vec![field("url", ping), entry("type", Node::new(ping.at.clone(), "ping"))]));
    }
    match (href, container) {
        // Only a link, if there is a check.
        (Some(href), _) if !checks.is_empty() => draft.account(href),
        (Some(href), _) => checks.push((title.clone(), vec![field("url", href)])),
        (None, Some(container)) if checks.is_empty() => {
            let host = service.find("server").map(|server| field("docker_host", server));
            let kind = entry("type", Node::new(container.at.clone(), "docker"));
            checks
                .push((title.clone(), [kind, field("docker_container", container)].into_iter().chain(host).collect()));
        }
        (None, Some(_)) | (None, None) => {}
    }
    if let Some(container) = container.filter(|_| checks.iter().all(|(_, fields)| fields[0].key == "url")) {
        draft.account_keys(service, &["server"]);
        draft.skip(&container.at, format!("the container of {what}"), "its address or its check is imported instead");
    }
    if checks.is_empty() {
        return draft.skip(&service.at, what, "it has neither an address nor a check");
    }
    for (own, mut fields) in checks {
        fields.push(entry("name", Node::new(name.at.clone(), own)));
        fields.extend(service.find("description").map(|text| field("description", text)));
        let row = Node { at: service.at.clone(), data: Data::Map(fields) };
        listed::monitor(draft, &row, &ListContext { above, inherited: &[], keep: KeptFields::newest() });
    }
}
