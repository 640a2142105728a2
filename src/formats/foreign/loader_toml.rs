//! TOML of a loader script: `[[monitor]]`, `[[notification]]`, `[[docker]]`, `[[maintenance]]`, `[[status]]`.

use super::super::node::{Data, Entry, Node};
use super::SourceFile;
use super::columns::KeptFields;
use super::draft::{Draft, entry};
use super::dump::{self, Dump, ListOf};
use super::listed::{self, ListContext};

/// The tables that are converted, and the list of a dump for each.
const TABLES: [(&[&str], ListOf); 8] = [
    (&["monitor", "monitors"], |dump| &mut dump.monitors),
    (&["notification", "notifications"], |dump| &mut dump.notifications),
    (&["docker", "docker_host", "docker_hosts"], |dump| &mut dump.docker_hosts),
    (&["proxy", "proxies"], |dump| &mut dump.proxies),
    (&["remote_browser", "remote_browsers"], |dump| &mut dump.remote_browsers),
    (&["tag", "tags"], |dump| &mut dump.tags),
    (&["status", "status_page", "status_pages"], |dump| &mut dump.status_pages),
    (&["maintenance"], |dump| &mut dump.maintenance),
];

pub(super) fn convert(draft: &mut Draft, sources: &[SourceFile]) {
    let documents = sources.iter().flat_map(|source| &source.documents);
    let dumps: Vec<Dump> = documents.map(|document| tables(draft, document)).collect();
    for dump in &dumps {
        dump::things(draft, dump);
    }
    let around = ListContext { above: &[], inherited: &[], keep: KeptFields::newest() };
    for one in dumps.iter().flat_map(|dump| &dump.monitors) {
        listed::monitor(draft, one, &around);
    }
    let places = draft.place();
    for dump in &dumps {
        dump::pages(draft, dump, &places);
    }
}

fn tables(draft: &mut Draft, document: &Node) -> Dump {
    let mut dump = Dump::default();
    for one in document.entries() {
        let Some((_, list)) = TABLES.iter().find(|(keys, _)| keys.contains(&one.key.as_str())) else {
            let known = TABLES.iter().flat_map(|(keys, _)| keys.iter().copied());
            draft.unknown(one, "the file", known);
            continue;
        };
        // `[monitor]` is accepted for a single `[[monitor]]`.
        let items = match &one.value.data {
            Data::Map(_) => vec![one.value.clone()],
            _ => one.value.list().to_vec(),
        };
        list(&mut dump).extend(items);
    }
    dump.notifications = dump.notifications.iter().map(configured).collect();
    dump
}

/// Keys of a notification outside its config in the native format.
const BESIDE: [&str; 7] = ["name", "type", "isDefault", "is_default", "default", "active", "applyExisting"];

/// Moves the flat config of a notification into `config`.
fn configured(one: &Node) -> Node {
    if one.find("config").is_some() {
        return one.clone();
    }
    let is_beside = |one: &&Entry| BESIDE.contains(&one.key.as_str());
    let (beside, config): (Vec<&Entry>, Vec<&Entry>) = one.entries().iter().partition(is_beside);
    let config = Node { at: one.at.clone(), data: Data::Map(config.into_iter().cloned().collect()) };
    let entries = beside.into_iter().cloned().chain([entry("config", config)]).collect();
    Node { at: one.at.clone(), data: Data::Map(entries) }
}
