//! The list of monitors that the socket API sends: an array, a map by number, or a wrapper with more lists in it.

use super::super::node::{Data, Node};
use super::SourceFile;
use super::draft::Draft;
use super::dump::{self, Dump, LISTS};

pub(super) fn convert(draft: &mut Draft, sources: &[SourceFile]) {
    let mut dumps = Vec::new();
    for document in sources.iter().flat_map(|source| &source.documents) {
        let is_wrapper = LISTS.iter().any(|(keys, _)| document.first(keys).is_some_and(is_listing));
        match &document.data {
            Data::Map(_) if is_wrapper => dumps.push(dump::unwrap(draft, document)),
            Data::List(items) => dumps.push(Dump { monitors: items.clone(), ..Dump::default() }),
            Data::Map(entries) if entries.iter().all(|entry| matches!(entry.value.data, Data::Map(_))) => {
                dumps.push(Dump { monitors: dump::items(document), ..Dump::default() });
            }
            _ => draft.wrong(&document.at, "a list of monitors", format!("expected, but found {}", document.noun())),
        }
    }
    dump::convert(draft, &dumps, &[]);
}

fn is_listing(node: &Node) -> bool {
    matches!(node.data, Data::List(_) | Data::Map(_))
}
