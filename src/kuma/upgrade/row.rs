//! How the cells of a row become those of the same table of a newer release.

use std::collections::{BTreeMap, BTreeSet};

use crate::schema::{Column, Schema};
use crate::upgrade::rules::{RowCells, Rule, due, renamed_from};
use crate::value::Value;

/// One table of both releases.
#[derive(Clone, Debug, Default)]
pub(super) struct TableMap {
    /// The columns of the source.
    pub source: Vec<String>,
    /// The columns of the target.
    pub columns: Vec<String>,
    /// The rules for its rows, in their order.
    pub rules: Vec<&'static Rule>,
    from: Vec<From>,
}

#[derive(Clone, Debug)]
enum From {
    /// The column of the source with this position.
    Column(usize),
    /// A new column has its default.
    Default(Value),
}

impl TableMap {
    /// The row before any rule.
    pub fn make<'a>(&'a self, old: &'a [Value]) -> NewRow<'a> {
        let cells = self.from.iter().map(|from| match from {
            From::Column(at) => old[*at].clone(),
            From::Default(default) => default.clone(),
        });
        NewRow { map: self, old, cells: cells.collect() }
    }

    /// The cell under `column` of a row of the source.
    pub fn old<'r>(&self, row: &'r [Value], column: &str) -> &'r Value {
        position(&self.source, column).map_or(&NULL, |at| &row[at])
    }
}

const NULL: Value = Value::Null;

fn position(columns: &[String], column: &str) -> Option<usize> {
    columns.iter().position(|name| name == column)
}

/// The maps of all tables that both releases have.
pub(super) fn maps(schema: &Schema, target: &Schema, missing: &BTreeSet<String>) -> BTreeMap<String, TableMap> {
    let mut maps = BTreeMap::new();
    for (name, table) in &target.tables {
        let Some(old) = schema.table(name) else { continue };
        // Columns without a place are not read, and the transfer reports them.
        let has_place = |column: &&Column| {
            let renamed = |new: &Column| renamed_from(name, &new.name) == Some(column.name.as_str());
            table.column(&column.name).is_some() || table.columns.iter().any(renamed)
        };
        let source: Vec<String> = old.columns.iter().filter(has_place).map(|column| column.name.clone()).collect();
        let from = table.columns.iter().map(|column| {
            let renamed = renamed_from(name, &column.name).and_then(|from| position(&source, from));
            let at = renamed.or_else(|| position(&source, &column.name));
            at.map_or_else(|| From::Default(default_of(column)), From::Column)
        });
        let map = TableMap {
            from: from.collect(),
            source,
            columns: table.columns.iter().map(|column| column.name.clone()).collect(),
            rules: due(missing).filter(|rule| rule.table == name).collect(),
        };
        maps.insert(name.clone(), map);
    }
    maps
}

/// The default of a column that a migration added: a literal in all releases.
fn default_of(column: &Column) -> Value {
    match column.default.as_deref() {
        None => Value::Null,
        Some(text) if text.eq_ignore_ascii_case("null") => Value::Null,
        Some(text) => match text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
            Some(text) => text.replace("''", "'").into(),
            None => text.parse().map_or_else(|_| text.into(), Value::Int),
        },
    }
}

/// A row that is being made.
pub(super) struct NewRow<'a> {
    map: &'a TableMap,
    old: &'a [Value],
    /// Its cells, in the order of the columns of the target.
    pub cells: Vec<Value>,
}

impl NewRow<'_> {
    /// The position of `column` of the target.
    pub fn at(&self, column: &str) -> Option<usize> {
        position(&self.map.columns, column)
    }
}

impl RowCells for NewRow<'_> {
    fn old(&self, column: &str) -> &Value {
        self.map.old(self.old, column)
    }

    fn get(&self, column: &str) -> &Value {
        self.at(column).map_or(&NULL, |at| &self.cells[at])
    }

    fn set(&mut self, column: &str, cell: Value) {
        if let Some(at) = self.at(column) {
            self.cells[at] = cell;
        }
    }
}
