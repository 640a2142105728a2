//! Docker labels: `kuma.<id>.<type>.<setting>=value`.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::super::node::{At, Data, Entry, Node};
use super::super::SourceFile;
use super::super::draft::{Draft, entry};
use super::super::words::parsed;
use super::{Entity, spelled};

/// The prefix of AutoKuma's labels.
const PREFIX: &str = "kuma";

/// Maximum number of parts of a setting, as the maximum nesting of fixtures.
const DEEPEST: usize = 100;

/// One label.
pub(super) struct Label {
    /// Its key.
    pub(super) key: String,
    /// The position of the key.
    pub(super) at: At,
    /// Its value, not at the position of the key.
    pub(super) value: Node,
}

impl Label {
    /// The label in a text `key=value` at `at`.
    pub(super) fn read(text: &str, at: &At) -> Label {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let column = at.column + key.chars().count() as u32 + 1;
        let value = Node::new(At { column, ..at.clone() }, value.trim());
        Label { key: key.trim().to_owned(), at: at.clone(), value }
    }
}

/// Whether a key is one of AutoKuma's, with any prefix: `autokuma.web.http.url`.
fn prefix_of(key: &str) -> Option<&str> {
    let mut parts = key.splitn(4, '.');
    let (prefix, _, kind, _) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_word = !prefix.is_empty() && prefix.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    let kind = spelled(kind);
    let is_kind = super::is_thing(&kind) || crate::model::kind(&kind).is_some();
    (is_word && is_kind).then_some(prefix)
}

/// Whether there are labels of AutoKuma among the lines of a text, or every line is one with the same other prefix.
pub(in super::super) fn is_labels(text: &str) -> bool {
    let own = |line: &str| line.split_once('=').is_some_and(|(key, _)| prefix_of(key) == Some(PREFIX));
    if lines(text).any(|(_, _, line)| own(line)) {
        return true;
    }
    let mut all = lines(text).map(|(_, _, line)| line.split_once('=').and_then(|(key, _)| prefix_of(key))).peekable();
    all.peek().is_some_and(Option::is_some) && all.all(|prefix| prefix.is_some())
}

/// The lines that may be labels: the number, the whole line, and the line without the syntax of other files.
fn lines(text: &str) -> impl Iterator<Item = (u32, &str, &str)> {
    let all = (1..).zip(text.lines()).map(|(number, line)| (number, line, bare(line)));
    all.filter(|(_, _, line)| !line.is_empty() && !line.starts_with('#'))
}

/// A line without `- "…"` or `LABEL …`.
fn bare(line: &str) -> &str {
    let line = line.trim().trim_start_matches('\u{feff}');
    let line = line.strip_prefix("- ").or(line.strip_prefix("LABEL ")).unwrap_or(line).trim();
    unquoted(line).unwrap_or(line)
}

fn unquoted(text: &str) -> Option<&str> {
    let quoted = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    quoted('"').or(quoted('\''))
}

/// The labels in the lines of a text.
pub(super) fn of_lines(source: &SourceFile) -> Vec<Label> {
    let file: Arc<str> = source.file.as_str().into();
    let label = |(number, line, text): (u32, &str, &str)| {
        let column = line.find(text).map_or(0, |at| line[..at].chars().count()) as u32 + 1;
        Label::read(text, &At { file: file.clone(), line: number, column })
    };
    lines(&source.text).map(label).collect()
}

/// The entities in `labels`; labels of other programs are passed over.
pub(super) fn entities(draft: &mut Draft, labels: &[Label]) -> Vec<Entity> {
    let prefix = draft.label_prefix.clone();
    let is_own = |label: &Label| rest_of(&label.key, prefix.as_deref().unwrap_or(PREFIX)).is_some();
    let has_own = prefix.is_some() || labels.iter().any(is_own);
    let mut found: Vec<Entity> = Vec::new();
    let mut places: HashMap<(String, String), usize> = HashMap::new();
    for label in labels {
        let rest = if has_own {
            rest_of(&label.key, prefix.as_deref().unwrap_or(PREFIX))
        } else {
            prefix_of(&label.key).and_then(|prefix| rest_of(&label.key, prefix))
        };
        if let Some(rest) = rest {
            read(draft, (label, rest), &mut found, &mut places);
        }
    }
    found
}

/// A key without its prefix.
fn rest_of<'k>(key: &'k str, prefix: &str) -> Option<&'k str> {
    key.strip_prefix(prefix)?.strip_prefix('.')
}

fn read(
    draft: &mut Draft,
    (label, rest): (&Label, &str),
    found: &mut Vec<Entity>,
    places: &mut HashMap<(String, String), usize>,
) {
    let at = &label.at;
    let mut parts = rest.splitn(3, '.');
    let (id, kind, setting) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    if id.starts_with("__") {
        draft.skip(at, format!("`{}`", label.key), "it is a snippet, which AutoKuma expands from its own settings");
        return;
    }
    let (Some(kind), Some(setting)) = (kind, setting) else {
        return draft.wrong(at, &format!("`{}`", label.key), "is not `kuma.<id>.<type>.<setting>=value`");
    };
    if label.key.contains("{{") || label.value.text().is_some_and(|text| text.contains("{{")) {
        return draft.wrong(at, &format!("label of `{id}`"), "it contains a template, which only AutoKuma can expand");
    }
    if setting.split('.').count() > DEEPEST {
        let message = format!("its key has more than {DEEPEST} parts after the type");
        return draft.wrong(at, &format!("label of `{id}`"), message);
    }
    let kind = spelled(kind);
    let place = *places.entry((id.to_owned(), kind.clone())).or_insert_with(|| {
        let node = Node { at: at.clone(), data: Data::Map(vec![entry("type", Node::new(at.clone(), kind.as_str()))]) };
        found.push(Entity { id: id.to_owned(), kind, node });
        found.len() - 1
    });
    let path: Vec<&str> = setting.split('.').collect();
    let value = value_of(&label.value);
    // Copies of a service have the same labels.
    if is_there(&found[place].node, &path, &value) {
        return draft.account(&label.value);
    }
    if !put(&mut found[place].node, &path, value, at) {
        draft.wrong(at, &format!("label of `{id}`"), format!("`{setting}` is set twice"));
    }
}

/// A list or a map in JSON, true and false, or the text itself, without quotes that YAML kept in a list of labels.
fn value_of(value: &Node) -> Node {
    let Some(text) = value.text() else { return value.clone() };
    let text = unquoted(text).unwrap_or(text);
    let node = Node::new(value.at.clone(), text);
    match text {
        "true" | "false" => Node::new(value.at.clone(), text == "true"),
        _ => parsed(&node).unwrap_or(node),
    }
}

/// Whether `value` is at the keys of `path`.
fn is_there(map: &Node, path: &[&str], value: &Node) -> bool {
    let found = path.iter().try_fold(map, |map, key| map.find(key));
    found.is_some_and(|found| found.json() == value.json())
}

/// Sets `value` at the keys of `path`; returns whether that is possible.
fn put(map: &mut Node, path: &[&str], value: Node, at: &At) -> bool {
    let (Data::Map(entries), Some((key, rest))) = (&mut map.data, path.split_first()) else { return false };
    let known = entries.iter().position(|one| one.key == *key);
    match (known, rest.is_empty()) {
        (Some(_), true) => false,
        (None, true) => {
            entries.push(Entry { key: (*key).to_owned(), at: at.clone(), value });
            true
        }
        (Some(place), false) => put(&mut entries[place].value, rest, value, at),
        (None, false) => {
            let mut inner = Node { at: at.clone(), data: Data::Map(Vec::new()) };
            let done = put(&mut inner, rest, value, at);
            entries.push(Entry { key: (*key).to_owned(), at: at.clone(), value: inner });
            done
        }
    }
}
