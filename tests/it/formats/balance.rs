//! No reader loses a value without a word: whatever is added to a file of others, or has the wrong type, is in the result
//! or in the report.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use kumadb::formats::foreign::{Converted, ForeignFormat, SourceFile, convert};
use kumadb::formats::import::{InputFormat, read_source};
use kumadb::formats::{At, Data, Entry, NoSources, Node};

/// What is put into the files.
const STRANGE: &str = "strange-value";

fn sources() -> Vec<(ForeignFormat, SourceFile)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/foreign");
    let mut found = Vec::new();
    for folder in [folder.clone(), folder.join("autokuma"), folder.join("cases")] {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
            let Ok(text) = String::from_utf8(fs::read(entry.path()).unwrap()) else { continue };
            let name = entry.file_name().into_string().unwrap();
            let text = text.trim_start_matches('\u{feff}').to_owned();
            if let Ok((Some(format), source)) = read_source(name, text, InputFormat::Detected, &NoSources) {
                found.push((format, source));
            }
        }
    }
    found
}

/// The number of maps and scalars below a node.
fn count(node: &Node) -> usize {
    1 + match &node.data {
        Data::List(items) => items.iter().map(count).sum(),
        Data::Map(entries) => entries.iter().map(|entry| count(&entry.value)).sum(),
        _ => 0,
    }
}

/// Changes the node number `left`, counted down; returns whether it was there.
fn change(node: &mut Node, left: &mut usize, change_it: &mut dyn FnMut(&mut Node)) -> bool {
    if *left == 0 {
        change_it(node);
        return true;
    }
    *left -= 1;
    match &mut node.data {
        Data::List(items) => items.iter_mut().any(|item| change(item, left, change_it)),
        Data::Map(entries) => entries.iter_mut().any(|entry| change(&mut entry.value, left, change_it)),
        _ => false,
    }
}

fn lines(converted: &Converted) -> HashSet<String> {
    let remarks = converted.remarks.iter().map(|one| format!("{} {} {}", one.at, one.what, one.why));
    remarks.chain(converted.problems.iter().map(|one| format!("{} {}", one.subject, one.message))).collect()
}

fn arrived(node: &Node, places: &mut HashSet<At>) {
    match &node.data {
        Data::List(items) => items.iter().for_each(|item| arrived(item, places)),
        Data::Map(entries) => entries.iter().for_each(|entry| arrived(&entry.value, places)),
        _ => {
            places.insert(node.at.clone());
        }
    }
}

/// Files that describe more than monitors: of these, only labels or `spec.config` are read.
const WIDER: [&str; 3] = ["docker-compose.yml", "kuma-entities.yaml", "kuma-entities-guessed.yaml"];

/// Whether anything in `node` is in the result: the rest of what is skipped as a whole is not told again.
fn has_arrived(node: &Node, places: &HashSet<At>) -> bool {
    match &node.data {
        Data::List(items) => items.iter().any(|item| has_arrived(item, places)),
        Data::Map(entries) => entries.iter().any(|entry| has_arrived(&entry.value, places)),
        _ => places.contains(&node.at),
    }
}

/// Whether a changed file shows the change.
fn shows(format: ForeignFormat, source: &SourceFile, before: &HashSet<String>) -> bool {
    let after = convert(format, std::slice::from_ref(source));
    after.document.json().to_string().contains(STRANGE) || !lines(&after).is_subset(before)
}

fn strange(at: &At) -> Node {
    // No other value has this position.
    let at = At { line: at.line, column: at.column + 100_000, ..at.clone() };
    Node::new(at, STRANGE)
}

/// Makes `edit` at each node of `sources` where it is possible, given the places that arrive in the result; every such change
/// must show.
fn every_change_shows(
    sources: impl Iterator<Item = (ForeignFormat, SourceFile)>,
    edit: fn(&mut Node, &HashSet<At>) -> bool,
) {
    let (mut tried, mut lost) = (0, Vec::new());
    for (format, source) in sources {
        let converted = convert(format, std::slice::from_ref(&source));
        let before = lines(&converted);
        let mut places = HashSet::new();
        arrived(&converted.document, &mut places);
        for number in 0..source.documents.iter().map(count).sum() {
            let mut changed = source.clone();
            let (mut left, mut place) = (number, None);
            let mut edit_it = |node: &mut Node| {
                let at = node.at.clone();
                place = edit(node, &places).then_some(at);
            };
            changed.documents.iter_mut().any(|document| change(document, &mut left, &mut edit_it));
            if let Some(place) = place {
                tried += 1;
                if !shows(format, &changed, &before) {
                    lost.push(format!("{} {place}", format.name()));
                }
            }
        }
    }
    assert!(tried > 150, "{tried}");
    assert!(lost.is_empty(), "{} of {tried}: {lost:#?}", lost.len());
}

fn strange_entry(at: &At) -> Entry {
    let value = strange(at);
    Entry { key: "strange_key".into(), at: value.at.clone(), value }
}

#[test]
fn an_unknown_key_anywhere_is_reported() {
    let narrow = sources().into_iter().filter(|(_, source)| !WIDER.contains(&source.file.as_str()));
    every_change_shows(narrow, |node, places| {
        let is_read = has_arrived(node, places);
        let entry = strange_entry(&node.at);
        match &mut node.data {
            Data::Map(entries) if is_read => entries.push(entry),
            _ => return false,
        }
        true
    });
}

#[test]
fn a_wrong_type_of_anything_that_is_imported_is_reported() {
    every_change_shows(sources().into_iter(), |node, places| {
        let is_imported = node.scalar().is_some() && places.contains(&node.at);
        if is_imported {
            node.data = Data::Map(vec![strange_entry(&node.at)]);
        }
        is_imported
    });
}
