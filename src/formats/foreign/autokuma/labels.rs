//! Docker labels: `kuma.<id>.<type>.<setting>=value`, one per line.

use super::super::super::node::{At, Data, Entry, Node};
use super::super::Source;
use super::super::columns::parsed;
use super::super::draft::{Draft, entry};
use super::spelled;

/// The prefix of AutoKuma's labels.
const PREFIX: &str = "kuma.";

/// Whether there are labels among the lines of a text.
pub(in super::super) fn is_labels(text: &str) -> bool {
    text.lines().map(bare).any(|line| {
        let key = line.split_once('=').map_or("", |(key, _)| key);
        key.starts_with(PREFIX) && key.split('.').count() > 3
    })
}

/// A line without the syntax of other files: `- "…"`, `LABEL …`.
fn bare(line: &str) -> &str {
    let line = line.trim().trim_start_matches('\u{feff}');
    let line = line.strip_prefix("- ").or(line.strip_prefix("LABEL ")).unwrap_or(line).trim();
    let quoted = |quote: char| line.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    quoted('"').or(quoted('\'')).unwrap_or(line)
}

/// Id, type and settings of all entities in the labels of `source`.
pub(super) fn read(draft: &mut Draft, source: &Source) -> Vec<(String, String, Node)> {
    let mut found: Vec<(String, String, Node)> = Vec::new();
    for (number, line) in (1..).zip(source.text.lines()) {
        let text = bare(line);
        // The same files contain other labels and settings of other programs.
        if !text.starts_with(PREFIX) {
            continue;
        }
        let column = line.find(text).map_or(0, |at| line[..at].chars().count()) as u32 + 1;
        let at = At { file: source.file.as_str().into(), line: number, column };
        let label = text.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
        let mut parts = label.map_or("", |(key, _)| key).splitn(4, '.').skip(1);
        let (Some((_, value)), Some(id), Some(kind), Some(setting)) = (label, parts.next(), parts.next(), parts.next())
        else {
            draft.wrong(&at, &format!("`{text}`"), "is not `kuma.<id>.<type>.<setting>=value`");
            continue;
        };
        if value.contains("{{") {
            draft.wrong(&at, &format!("label of `{id}`"), "it contains a template, which only AutoKuma can expand");
            continue;
        }
        let kind = spelled(kind);
        let place = found.iter().position(|(known, of, _)| known == id && *of == kind).unwrap_or_else(|| {
            let map =
                Node { at: at.clone(), data: Data::Map(vec![entry("type", Node::new(at.clone(), kind.as_str()))]) };
            found.push((id.to_owned(), kind.clone(), map));
            found.len() - 1
        });
        let path: Vec<&str> = setting.split('.').collect();
        if !put(&mut found[place].2, &path, value_of(&at, value)) {
            draft.wrong(&at, &format!("label of `{id}`"), format!("`{setting}` is set twice"));
        }
    }
    found
}

/// A list or a map in JSON, true and false, or the text itself.
fn value_of(at: &At, text: &str) -> Node {
    let node = Node::new(at.clone(), text);
    match text {
        "true" | "false" => Node::new(at.clone(), text == "true"),
        _ => parsed(&node).unwrap_or(node),
    }
}

/// Sets `value` at the keys of `path`; returns whether that is possible.
fn put(map: &mut Node, path: &[&str], value: Node) -> bool {
    let (Data::Map(entries), Some((key, rest))) = (&mut map.data, path.split_first()) else { return false };
    let known = entries.iter().position(|one| one.key == *key);
    match (known, rest.is_empty()) {
        (Some(_), true) => false,
        (None, true) => {
            entries.push(entry(*key, value));
            true
        }
        (Some(at), false) => put(&mut entries[at].value, rest, value),
        (None, false) => {
            let mut inner = Node { at: value.at.clone(), data: Data::Map(Vec::new()) };
            let done = put(&mut inner, rest, value);
            entries.push(Entry { key: (*key).to_owned(), at: inner.at.clone(), value: inner });
            done
        }
    }
}
