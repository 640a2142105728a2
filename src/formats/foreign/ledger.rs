//! Balances a conversion: every value of a source is in the result or in the report, or accounted for by a reader.
//!
//! Values keep their positions when they are converted, so a reader cannot lose one without a word: what is neither in
//! the fixture nor accounted for is reported.

use std::collections::{HashMap, HashSet};

use super::super::node::{At, Data, Node};
use super::{ImportOutcome, ReportLine};

/// What readers accounted for.
#[derive(Default)]
pub(super) struct UsedValues {
    nodes: HashSet<At>,
}

/// The values below a node that are not empty, and those of them that are nowhere in the result.
#[derive(Clone, Copy, Default)]
struct Coverage {
    given: usize,
    lost: usize,
}

/// One loss, at the highest node of which nothing arrived.
struct Loss {
    at: At,
    what: String,
}

impl UsedValues {
    /// Accounts for the value at `at` and everything in it.
    pub(super) fn account(&mut self, at: &At) {
        self.nodes.insert(at.clone());
    }

    /// What of `roots` is neither in `result` nor accounted for, a line for each key.
    pub(super) fn balance(&self, roots: &[Node], result: &Node) -> Vec<ReportLine> {
        let mut arrived = HashSet::new();
        collect(result, &mut arrived);
        let mut losses = Vec::new();
        for root in roots {
            self.walk(root, "the file", &arrived, &mut losses);
        }
        lines(losses)
    }

    fn walk(&self, node: &Node, what: &str, arrived: &HashSet<&At>, losses: &mut Vec<Loss>) -> Coverage {
        if self.nodes.contains(&node.at) {
            return Coverage::default();
        }
        let before = losses.len();
        let mut balance = Coverage::default();
        let mut add = |inner: Coverage| {
            balance.given += inner.given;
            balance.lost += inner.lost;
        };
        match &node.data {
            Data::List(items) => {
                items.iter().for_each(|item| add(self.walk(item, &named(item, what), arrived, losses)))
            }
            Data::Map(entries) => {
                for entry in entries {
                    add(self.walk(&entry.value, &format!("`{}`", entry.key), arrived, losses));
                }
            }
            Data::Null => {}
            Data::Text(text) if text.trim().is_empty() => {}
            _ => {
                let lost = usize::from(!arrived.contains(&node.at));
                add(Coverage { given: 1, lost });
            }
        }
        if balance.lost > 0 && balance.lost == balance.given {
            losses.truncate(before);
            losses.push(Loss { at: node.at.clone(), what: what.to_owned() });
        }
        balance
    }
}

/// How an item of the list `what` is called.
fn named(item: &Node, what: &str) -> String {
    let name = item.first(&["name", "title", "friendly_name", "friendlyName"]).and_then(Node::scalar);
    name.map_or_else(|| what.to_owned(), |name| format!("`{name}` in {what}"))
}

fn collect<'n>(node: &'n Node, arrived: &mut HashSet<&'n At>) {
    match &node.data {
        Data::List(items) => items.iter().for_each(|item| collect(item, arrived)),
        Data::Map(entries) => entries.iter().for_each(|entry| collect(&entry.value, arrived)),
        _ => {
            arrived.insert(&node.at);
        }
    }
}

/// One line for each key, with the number of its losses.
fn lines(losses: Vec<Loss>) -> Vec<ReportLine> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    losses.iter().for_each(|loss| *counts.entry(loss.what.clone()).or_default() += 1);
    let mut lines = Vec::new();
    for loss in losses {
        let what = match counts.remove(&loss.what) {
            None => continue,
            Some(1) => loss.what,
            Some(count) => format!("{}, {count} times", loss.what),
        };
        lines.push(ReportLine {
            at: loss.at,
            what,
            why: "not a known key, or without a counterpart".into(),
            outcome: ImportOutcome::Skipped,
        });
    }
    lines
}
