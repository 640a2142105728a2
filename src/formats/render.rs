//! From nodes to text.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::node::{Data, Node};
use super::text::Syntax;

/// `document` as text.
///
/// # Errors
/// In words, when the syntax cannot hold it: CSV holds monitors and nothing else.
pub fn render(document: &Node, syntax: Syntax) -> Result<String, String> {
    match syntax {
        Syntax::Yaml => {
            // Quoted as YAML 1.1 needs it too, which half of the tools still read. A folded line would be hard to compare.
            let options = serde_saphyr::ser_options! { folded_wrap_chars: 100_000 };
            serde_saphyr::to_string_with_options(document, options).map_err(|error| error.to_string())
        }
        Syntax::Json => {
            serde_json::to_string_pretty(document).map(|text| text + "\n").map_err(|error| error.to_string())
        }
        Syntax::Toml => toml::to_string_pretty(&without_nulls(document)).map_err(|error| error.to_string()),
        Syntax::Csv => csv(document),
    }
}

/// TOML has no word for nothing; what is left out is nothing anyway.
fn without_nulls(node: &Node) -> Node {
    let data = match &node.data {
        Data::List(items) => Data::List(items.iter().filter(|item| !item.is_null()).map(without_nulls).collect()),
        Data::Map(entries) => Data::Map(
            entries
                .iter()
                .map(|entry| {
                    let mut entry = entry.clone();
                    // A reference to nothing is an empty name.
                    entry.value = match entry.value.is_null() {
                        true => Node::new(entry.at.clone(), ""),
                        false => without_nulls(&entry.value),
                    };
                    entry
                })
                .collect(),
        ),
        other => other.clone(),
    };
    Node { at: node.at.clone(), data }
}

/// One monitor a line; lists are separated by semicolons.
fn csv(document: &Node) -> Result<String, String> {
    const FIRST: [&str; 6] = ["name", "type", "parent", "url", "hostname", "port"];
    let others: Vec<&str> = document
        .entries()
        .iter()
        .map(|entry| entry.key.as_str())
        .filter(|key| !matches!(*key, "version" | "monitors"))
        .collect();
    if !others.is_empty() {
        return Err(format!("CSV holds monitors only, not {}", others.join(", ")));
    }
    let monitors = document.find("monitors").map(Node::list).unwrap_or_default();
    let used: BTreeSet<&str> = monitors
        .iter()
        .flat_map(Node::entries)
        .map(|entry| entry.key.as_str())
        .filter(|key| *key != "left_out")
        .collect();
    let first = FIRST.into_iter().filter(|key| used.contains(key));
    let columns: Vec<&str> = first.chain(used.iter().copied().filter(|key| !FIRST.contains(key))).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&columns).map_err(|error| error.to_string())?;
    for monitor in monitors {
        let fields = columns.iter().map(|column| monitor.find(column).map(field).unwrap_or_default());
        writer.write_record(fields).map_err(|error| error.to_string())?;
    }
    let bytes = writer.into_inner().map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

fn field(node: &Node) -> String {
    match &node.data {
        Data::List(items) if items.iter().all(|item| item.scalar().is_some()) => {
            items.iter().filter_map(Node::scalar).collect::<Vec<_>>().join(";")
        }
        Data::Map(entries) if entries.iter().all(|entry| entry.value.scalar().is_some() || entry.value.is_null()) => {
            let pair = |key: &str, value: &Node| match value.scalar() {
                Some(value) => format!("{key}={value}"),
                None => key.to_owned(),
            };
            entries.iter().map(|entry| pair(&entry.key, &entry.value)).collect::<Vec<_>>().join(";")
        }
        Data::List(_) | Data::Map(_) => node.json().to_string(),
        _ => node.scalar().unwrap_or_default(),
    }
}

/// `json` over several lines, as files hold it.
pub fn render_json(json: &Json) -> String {
    format!("{json:#}\n")
}
