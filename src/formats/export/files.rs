//! The files that an export for another tool consists of, and what they cannot contain.

use std::collections::{BTreeMap, HashSet};

use super::{ExportChoice, Exporter};
use crate::model::entities::{API_KEYS, ENTITIES, SETTINGS, USERS};
use crate::text::counted;

/// The files of a tool, with their report.
#[derive(Clone, Debug, Default)]
pub struct ToolFiles {
    /// The path of each file, and its text; the path is empty for the only one.
    pub files: Vec<(String, String)>,
    /// Secrets that were left out, as ``monitor `Shop`: body``.
    pub left_out: Vec<String>,
    /// Variables and their values.
    pub variables: Vec<(String, String)>,
    /// What the files do not contain, although it was to be exported.
    pub warnings: Vec<String>,
    /// What they never contain: how the server itself is used.
    pub notes: Vec<String>,
    /// Number of items of each kind.
    pub counts: Vec<(&'static str, usize)>,
}

/// What the files of a tool do not contain.
#[derive(Default)]
pub(super) struct Losses {
    fields: BTreeMap<(String, String, &'static str), Vec<String>>,
}

impl Losses {
    /// The monitor at `path` of type `kind` has a value of `field` that is left out for the reason `why`.
    pub(super) fn field(&mut self, field: &str, kind: &str, path: &str, why: &'static str) {
        self.fields.entry((field.to_owned(), kind.to_owned(), why)).or_default().push(path.to_owned());
    }

    /// One line for each field, type and reason.
    pub(super) fn lines(self) -> impl Iterator<Item = String> {
        self.fields.into_iter().map(|((field, kind, why), paths)| {
            let of = match paths.as_slice() {
                [path] => format!("monitor `{path}`"),
                paths => counted(paths.len(), &format!("{kind} monitor")),
            };
            format!("`{field}` of {of}: {why}: left out")
        })
    }
}

/// Reports the items of all chosen kinds that are not in `known`. Returns what is not a loss: those that every instance has, and
/// that were not asked for.
pub(super) fn other_kinds(exporter: &mut Exporter<'_>, known: &[&str], why: &str) -> Vec<String> {
    let choice = exporter.choice;
    let mut notes = Vec::new();
    // A selection of monitors is not a complete export anyway.
    if choice.monitors.is_some() {
        return notes;
    }
    for entity in ENTITIES.into_iter().filter(|one| is_chosen(choice, one.key) && !known.contains(&one.key)) {
        let is_own = [USERS.key, API_KEYS.key, SETTINGS.key].contains(&entity.key) && choice.kinds.is_empty();
        match exporter.config.rows(entity.table).len() {
            0 => {}
            n if is_own => notes.push(format!("{}: {why}", counted(n, entity.noun))),
            n => exporter.warnings.push(format!("{}: {why}", counted(n, entity.noun))),
        }
    }
    notes
}

/// Whether items of a kind are exported.
pub(super) fn is_chosen(choice: &ExportChoice, key: &str) -> bool {
    choice.kinds.is_empty() || choice.kinds.contains(key)
}

/// Names in lower case that are used once each.
pub(super) struct Labels {
    separator: char,
    used: HashSet<String>,
}

impl Labels {
    pub(super) fn new(separator: char) -> Labels {
        Labels { separator, used: HashSet::new() }
    }

    /// `scope` and `name`, with the separator for everything but letters, digits and `/`; with a number if it is used.
    pub(super) fn label(&mut self, scope: &str, name: &str) -> String {
        let mut plain = String::new();
        for letter in name.chars().flat_map(char::to_lowercase) {
            match letter {
                'a'..='z' | '0'..='9' => plain.push(letter),
                '/' if self.separator == '-' => plain.push('/'),
                _ if plain.is_empty() || plain.ends_with([self.separator, '/']) => {}
                _ => plain.push(self.separator),
            }
        }
        let plain: Vec<&str> = plain.split('/').map(|part| part.trim_matches(self.separator)).collect();
        let plain: Vec<&str> = plain.into_iter().map(|part| if part.is_empty() { "unnamed" } else { part }).collect();
        let plain = plain.join("/");
        // A label of Terraform does not begin with a digit.
        let digit = self.separator == '_' && plain.starts_with(|first: char| first.is_ascii_digit());
        let plain = format!("{scope}{}{plain}", if digit { "_" } else { "" });
        let is_new = |used: &HashSet<String>, label: &String| !used.contains(label);
        let label = if is_new(&self.used, &plain) {
            plain
        } else {
            let numbered = (2..).map(|n| format!("{plain}{}{n}", self.separator));
            numbered.into_iter().find(|label| is_new(&self.used, label)).unwrap_or(plain)
        };
        self.used.insert(label.clone());
        label
    }
}
