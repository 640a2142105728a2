//! The configuration of uptime-kuma-monitor-configure by lookshe: nested maps of monitors, which are copied for each address of
//! their group.

use super::super::node::{Data, Entry, Node};
use super::SourceFile;
use super::columns::KeptFields;
use super::draft::{Draft, entry};
use super::listed::{self, ListContext};

/// What stands for the address of the group.
const ADDRESS: &str = "$$IP$$";

/// Whether a file has monitors as a map of maps with types.
pub(super) fn is_lookshe(document: &Node) -> bool {
    let monitors = document.find("monitors").map_or(&[][..], Node::entries);
    !monitors.is_empty() && monitors.iter().all(|one| one.value.find("type").is_some_and(|kind| kind.text().is_some()))
}

pub(super) fn convert(draft: &mut Draft, sources: &[SourceFile]) {
    for (scope, document) in sources.iter().flat_map(|source| &source.documents).enumerate() {
        draft.scope = scope;
        monitors(draft, document, &[], None);
    }
}

/// The monitors of a group, or of the file.
fn monitors(draft: &mut Draft, group: &Node, above: &[Node], addresses: Option<&Node>) {
    for one in group.find("monitors").map_or(&[][..], Node::entries) {
        let name = Node::new(one.at.clone(), one.key.as_str());
        let own = one.value.find("ips");
        own.into_iter().for_each(|own| draft.account(own));
        let addresses = own.or(addresses);
        let is_group = one.value.find("type").and_then(Node::text) == Some("group");
        match addresses.filter(|_| !is_group) {
            None => add(draft, &name, &one.value, above),
            Some(addresses) => {
                for address in addresses.entries() {
                    // Addresses of the first version have the plain name.
                    let version = if address.key == "v4" { String::new() } else { format!(" - {}", address.key) };
                    let name = Node::new(one.at.clone(), format!("{}{version}", one.key));
                    add(draft, &name, &filled(&one.value, &address.value.scalar().unwrap_or_default()), above);
                }
            }
        }
        if is_group {
            let above: Vec<Node> = above.iter().cloned().chain([name]).collect();
            monitors(draft, &one.value, &above, addresses);
        }
    }
}

fn add(draft: &mut Draft, name: &Node, monitor: &Node, above: &[Node]) {
    let fields = monitor.entries().iter().filter(|one| !matches!(one.key.as_str(), "ips" | "monitors")).cloned();
    let fields: Vec<Entry> = fields.chain([entry("name", name.clone())]).collect();
    let row = Node { at: monitor.at.clone(), data: Data::Map(fields) };
    listed::monitor(draft, &row, &ListContext { above, inherited: &[], keep: KeptFields::newest() });
}

/// `monitor` with `address` in its texts.
fn filled(monitor: &Node, address: &str) -> Node {
    let entries = monitor.entries().iter().map(|one| {
        let text = one.value.text().map(|text| text.replacen(ADDRESS, address, 1));
        let value = text.map_or_else(|| one.value.clone(), |text| Node::new(one.value.at.clone(), text));
        Entry { value, ..one.clone() }
    });
    Node { at: monitor.at.clone(), data: Data::Map(entries.collect()) }
}
