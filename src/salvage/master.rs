//! The list of tables and indexes in the database, and the release that its rows indicate.

use std::collections::{BTreeMap, BTreeSet};

use crate::schema::{self, EngineKind, Recording, Release};
use crate::value::Value;

/// One table or index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaEntry {
    /// It is an index.
    pub index: bool,
    /// Its name.
    pub name: String,
    /// The table, or the table of the index.
    pub table: String,
    /// The page its tree begins at.
    pub root: u32,
    /// Its definition; empty for the index of a constraint.
    pub sql: String,
}

impl SchemaEntry {
    /// The entry in a row of the list; `None` for entries without a tree, and for rows of other tables.
    pub fn read(cells: &[Value]) -> Option<SchemaEntry> {
        let [Value::Text(kind), Value::Text(name), Value::Text(table), Value::Int(root), sql] = cells else {
            return None;
        };
        let sql = match sql {
            Value::Null => "",
            Value::Text(sql) if sql.starts_with("CREATE ") => sql,
            _ => return None,
        };
        let index = match kind.as_str() {
            "table" => false,
            "index" => true,
            _ => return None,
        };
        let root = u32::try_from(*root).ok().filter(|root| *root > 1)?;
        Some(SchemaEntry { index, name: name.clone(), table: table.clone(), root, sql: sql.to_owned() })
    }

    /// The columns of the table or index, in order. `None` if they are unknown, and for a partial index.
    pub fn columns(&self) -> Vec<String> {
        let Some((head, rest)) = self.sql.split_once('(') else { return Vec::new() };
        if self.index && (rest.to_uppercase().contains(" WHERE ") || head.is_empty()) {
            return Vec::new();
        }
        let constraints = ["PRIMARY", "UNIQUE", "FOREIGN", "CHECK", "CONSTRAINT"];
        let (mut columns, mut part, mut depth, mut quote) = (Vec::new(), String::new(), 0, None);
        for letter in rest.chars() {
            match (quote, letter) {
                (Some(mark), letter) if mark == letter => quote = None,
                (None, '`' | '"' | '\'') => quote = Some(letter),
                (None, '[') => quote = Some(']'),
                (None, '(') => depth += 1,
                (None, ')') => depth -= 1,
                _ => {}
            }
            if depth < 0 || (letter == ',' && depth == 0 && quote.is_none()) {
                columns.push(std::mem::take(&mut part));
                if depth < 0 {
                    break;
                }
            } else {
                part.push(letter);
            }
        }
        columns
            .iter()
            .map(|part| part.trim())
            .filter(|part| !constraints.iter().any(|word| part.to_uppercase().starts_with(word)))
            .map(name)
            .collect()
    }
}

/// The name at the start of a definition.
fn name(definition: &str) -> String {
    let mark = definition.chars().next().filter(|mark| "`\"[".contains(*mark));
    let end = mark.map(|mark| if mark == '[' { ']' } else { mark });
    match end {
        Some(end) => definition[1..].split(end).next().unwrap_or_default().to_owned(),
        None => definition.split_whitespace().next().unwrap_or_default().to_owned(),
    }
}

/// Hints in the rows of a database to its release.
#[derive(Clone, Debug, Default)]
pub struct ReleaseHints {
    /// Names in `knex_migrations`.
    pub migrations: BTreeSet<String>,
    /// Names in the setting `databasePatchedFiles`.
    pub patches: BTreeSet<String>,
    /// The most cells of a row, by table.
    pub cells: BTreeMap<String, usize>,
    /// The columns of tables with definitions.
    pub columns: BTreeMap<String, usize>,
}

impl ReleaseHints {
    /// The release that fits: by its migrations if they are complete, otherwise the first one with enough columns.
    /// `None` if there are no hints.
    pub fn release(&self) -> Option<Release> {
        let all = schema::recorded(EngineKind::Sqlite);
        let fitting = |recording: &&Recording| {
            let migrations: BTreeSet<&str> = recording.migrations().collect();
            let tables = recording.schema();
            let width = |table: &String| tables.table(table).map_or(0, |table| table.columns.len());
            self.migrations.iter().all(|name| migrations.contains(name.as_str()))
                && self.columns.iter().all(|(table, columns)| width(table) == *columns)
                && self.cells.iter().all(|(table, cells)| width(table) >= *cells)
        };
        let known = schema::recognise(&self.migrations, &self.patches);
        let exact = all.iter().find(|recording| known.exact && recording.release == known.release);
        if let Some(exact) = exact.filter(|exact| fitting(exact)) {
            return Some(exact.release);
        }
        if !self.cells.contains_key("monitor") && !self.columns.contains_key("monitor") && self.migrations.is_empty() {
            return None;
        }
        let first = all.iter().find(fitting)?;
        let same = |other: &&Recording| other.schema() == first.schema() && other.migrations().eq(first.migrations());
        all.iter().rev().find(same).map(|recording| recording.release)
    }
}
