//! The state of the Terraform provider `uptimekuma`: a state file, or the output of `terraform show -json`.

use super::super::node::{Data, Entry, Node};
use super::super::resources::{self, PREFIX};
use super::SourceFile;
use super::draft::id_of;
use super::draft::{Draft, entry};
use super::dump::{self, Dump};

/// One resource of the provider.
struct Resource<'n> {
    /// Its type without the prefix.
    kind: String,
    attributes: &'n Node,
    /// It is only read by Terraform: it exists on the instance.
    is_data: bool,
}

/// Whether a file is a state of Terraform.
pub(super) fn is_state(document: &Node) -> bool {
    document.find("terraform_version").is_some() && document.first(&["resources", "values"]).is_some()
}

pub(super) fn convert(draft: &mut Draft, sources: &[SourceFile]) {
    let mut dumps = Vec::new();
    for document in sources.iter().flat_map(|source| &source.documents) {
        let (found, others) = resources(document);
        if others > 0 {
            let what = crate::text::counted(others, "resource");
            draft.doubt(&document.at, what, "of other providers, which are not imported");
        }
        account(draft, document);
        dumps.push(dump_of(draft, &found));
    }
    dump::convert(draft, &dumps, &[]);
}

/// Accounts for what Terraform itself stores, and for resources of other providers.
fn account(draft: &mut Draft, node: &Node) {
    const OWN: [&str; 25] = [
        "version",
        "format_version",
        "terraform_version",
        "serial",
        "lineage",
        "outputs",
        "check_results",
        "checks",
        "mode",
        "type",
        "name",
        "provider",
        "provider_name",
        "address",
        "module",
        "each",
        "index",
        "index_key",
        "schema_version",
        "sensitive_attributes",
        "identity_schema_version",
        "sensitive_values",
        "depends_on",
        "dependencies",
        "private",
    ];
    let is_other = |kind: &str| !kind.starts_with(PREFIX);
    if node.find("mode").is_some() && node.find("type").and_then(Node::text).is_some_and(is_other) {
        return draft.account(node);
    }
    draft.account_keys(node, &OWN);
    let inner = ["values", "root_module", "child_modules", "resources", "instances"];
    for inner in inner.into_iter().filter_map(|key| node.find(key)).filter(|_| node.find("mode").is_none()) {
        account(draft, inner);
        inner.list().iter().for_each(|one| account(draft, one));
    }
    // The instances of a resource; what is in them is the provider's.
    if node.find("mode").is_some() {
        let instances = node.find("instances").map_or(&[][..], Node::list);
        instances.iter().for_each(|instance| draft.account_keys(instance, &OWN));
    }
}

/// The resources of the provider, and the number of other resources.
fn resources(document: &Node) -> (Vec<Resource<'_>>, usize) {
    let (mut found, mut others) = (Vec::new(), 0);
    let mut add = |one: &'_ Node, attributes: Vec<&'_ Node>| match one.find("type").and_then(Node::text) {
        Some(kind) if kind.starts_with(PREFIX) => Some((kind[PREFIX.len()..].to_owned(), attributes.len())),
        _ => {
            others += 1;
            None
        }
    };
    let is_data = |one: &Node| one.find("mode").and_then(Node::text) == Some("data");
    for one in document.find("resources").map_or(&[][..], Node::list) {
        let instances = one.find("instances").map_or(&[][..], Node::list).iter();
        let attributes: Vec<&Node> = instances.filter_map(|instance| instance.find("attributes")).collect();
        if let Some((kind, _)) = add(one, attributes.clone()) {
            found.extend(attributes.into_iter().map(|attributes| Resource {
                kind: kind.clone(),
                attributes,
                is_data: is_data(one),
            }));
        }
    }
    let mut modules: Vec<&Node> =
        document.find("values").and_then(|values| values.find("root_module")).into_iter().collect();
    while let Some(module) = modules.pop() {
        modules.extend(module.find("child_modules").map_or(&[][..], Node::list));
        for one in module.find("resources").map_or(&[][..], Node::list) {
            if let Some((kind, _)) = add(one, Vec::new()) {
                let values = one.find("values");
                found.extend(values.map(|attributes| Resource { kind, attributes, is_data: is_data(one) }));
            }
        }
    }
    (found, others)
}

/// The resources as the server would send them.
fn dump_of(draft: &mut Draft, resources: &[Resource<'_>]) -> Dump {
    let mut dump = Dump::default();
    let tags: Vec<&Node> = resources.iter().filter(|one| one.kind == "tag").map(|one| one.attributes).collect();
    for one in resources {
        let node = one.attributes;
        if one.is_data {
            existing(draft, one);
            continue;
        }
        match one.kind.as_str() {
            "tag" => dump.tags.push(node.clone()),
            "proxy" => dump.proxies.push(node.clone()),
            "docker_host" => dump.docker_hosts.push(node.clone()),
            "remote_browser" => dump.remote_browsers.push(node.clone()),
            "status_page" => dump.status_pages.push(node.clone()),
            "notification" => dump.notifications.push(generic_notification(node)),
            kind if kind.starts_with("notification_") => {
                typed_notification(draft, node, &kind["notification_".len()..])
            }
            kind => match kind.strip_prefix("monitor_") {
                Some(kind) => dump.monitors.push(monitor(node, kind, &tags)),
                None => {
                    draft.skip(&node.at, format!("a resource of type `{PREFIX}{kind}`"), "the type is not supported")
                }
            },
        }
    }
    dump
}

/// Accounts for an item that is only read; monitors refer to it by name.
fn existing(draft: &mut Draft, one: &Resource<'_>) {
    draft.account(one.attributes);
    let part = |key: &str| one.attributes.find(key).and_then(Node::scalar).unwrap_or_default();
    let (section, name) = match one.kind.as_str() {
        "docker_host" => ("docker_hosts", part("name")),
        "proxy" => ("proxies", format!("{}://{}:{}", part("protocol"), part("host"), part("port"))),
        "notification" => ("notifications", part("name")),
        _ => return,
    };
    if let Some(id) = one.attributes.find("id").and_then(id_of) {
        draft.refer(section, &id, name);
    }
}

/// A monitor with its type, its notifications by id, and the names of its tags.
fn monitor(node: &Node, kind: &str, tags: &[&Node]) -> Node {
    let resource = resources::of_name(kind);
    let kind = resource.map_or_else(|| kind.replace('_', "-"), |resource| resource.kind.to_owned());
    let mut entries = vec![entry("type", Node::new(node.at.clone(), kind))];
    if node.first(&["notification_ids"]).is_none() {
        entries.push(entry("notificationIDList", Node::new(node.at.clone(), Vec::new())));
    }
    for one in node.entries().iter().filter(|one| !one.value.is_null()) {
        entries.push(match one.key.as_str() {
            "notification_ids" => Entry { key: "notificationIDList".into(), ..one.clone() },
            "tags" => {
                let named = one.value.list().iter().map(|tag| with_name(tag, tags)).collect::<Vec<_>>();
                entry("tags", Node::new(one.value.at.clone(), named))
            }
            "conditions" => entry("conditions", conditions(&one.value)),
            key => match resource.and_then(|resource| resource.column(key)) {
                Some(column) => Entry { key: column.to_owned(), ..one.clone() },
                None => one.clone(),
            },
        });
    }
    Node { at: node.at.clone(), data: Data::Map(entries) }
}

/// Conditions as the server has them.
fn conditions(list: &Node) -> Node {
    let one = |one: &Node| {
        let renamed = one.entries().iter().map(|part| match part.key.as_str() {
            "and_or" => Entry { key: "andOr".into(), ..part.clone() },
            _ => part.clone(),
        });
        let kind = entry("type", Node::new(one.at.clone(), "expression"));
        Node { at: one.at.clone(), data: Data::Map(std::iter::once(kind).chain(renamed).collect()) }
    };
    Node::new(list.at.clone(), list.list().iter().map(one).collect::<Vec<_>>())
}

fn with_name(tag: &Node, tags: &[&Node]) -> Node {
    let id = tag.find("tag_id").and_then(id_of);
    let named = tags.iter().find(|one| one.find("id").and_then(id_of) == id).and_then(|one| one.find("name"));
    let mut entries = tag.entries().to_vec();
    entries.extend(named.map(|name| entry("name", name.clone())));
    Node { at: tag.at.clone(), data: Data::Map(entries) }
}

/// A notification whose settings are those of the server, as JSON.
fn generic_notification(node: &Node) -> Node {
    let renamed = |one: &Entry| match one.key.as_str() {
        "is_active" => Entry { key: "active".into(), ..one.clone() },
        "apply_existing" => Entry { key: "applyExisting".into(), ..one.clone() },
        _ => one.clone(),
    };
    Node { at: node.at.clone(), data: Data::Map(node.entries().iter().map(renamed).collect()) }
}

/// A notification whose settings have names of the provider: monitors refer to the one on the instance.
fn typed_notification(draft: &mut Draft, node: &Node, kind: &str) {
    let name = node.find("name").and_then(Node::scalar).unwrap_or_default();
    if let Some(id) = node.find("id").and_then(id_of) {
        draft.refer("notifications", &id, name.as_str());
    }
    let why = format!("the provider has other names for the settings of {kind}; monitors use the one on the instance");
    draft.skip(&node.at, format!("notification `{name}`"), why);
}
