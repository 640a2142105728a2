//! Statements given by the user, in one transaction, and what they change.

use std::collections::BTreeMap;

use chrono::Utc;

use super::zone::is_zone;
use crate::doctor::evidence::DatabaseContent;
use crate::doctor::{self, Evidence};
use crate::engine::statement::verb;
use crate::engine::{Counts, Reader, Writer, quote};
use crate::error::{Error, OperationError, Result};
use crate::kuma::evidence::{read_beats_within, read_content};
use crate::kuma::mark::Watched;
use crate::kuma::read::{history, is_unguarded, read_counts};
use crate::schema::Schema;
use crate::value::{Row, Value};

/// Maximum rows of a table that are compared cell by cell; rows of longer ones are only counted.
const COMPARED: u64 = 50_000;

/// Statements allowed in a script: others would end the transaction, or cannot be rolled back.
const CHANGES: [&str; 5] = ["INSERT", "UPDATE", "DELETE", "REPLACE", "WITH"];

/// Statements that change rows.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// The statements.
    pub statements: Vec<String>,
    /// The changes that a dry run found and the user confirmed; `None` for the dry run itself.
    pub shown: Option<Changes>,
}

/// What statements changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Rows that each statement changed, as the engine counts them, without those that a foreign key cascades to.
    pub affected: Vec<u64>,
    /// Tables that changed.
    pub tables: Vec<TableChange>,
    /// New findings of the doctor; only determined in a dry run.
    pub findings: Vec<String>,
}

/// How one table changed.
#[derive(Clone, Debug, PartialEq)]
pub struct TableChange {
    /// The table.
    pub table: String,
    /// Rows before.
    pub before: u64,
    /// Rows after.
    pub after: u64,
    /// Row by row; `None` where they were only counted.
    pub rows: Option<Vec<RowChange>>,
}

/// How one row changed.
#[derive(Clone, Debug, PartialEq)]
pub struct RowChange {
    /// What identifies it: the cells of its primary key.
    pub key: String,
    /// Column, cell before, cell after; the changed ones, or all of an inserted or deleted row, with NULL on the other side.
    pub cells: Vec<(String, Value, Value)>,
    /// Whether it existed before, and whether it exists after.
    pub was_and_is: (bool, bool),
}

/// Table, key, whether it existed and exists, and the columns of one changed row.
type Shape<'a> = (&'a str, &'a str, (bool, bool), Vec<&'a str>);

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.affected.iter().all(|rows| *rows == 0)
    }

    /// The changed rows and columns of the compared tables, without their values: a time or a random value may differ.
    fn shape(&self) -> Vec<Shape<'_>> {
        let compared =
            self.tables.iter().flat_map(|table| table.rows.iter().flatten().map(move |row| (&table.table, row)));
        compared
            .map(|(table, row)| {
                let columns = row.cells.iter().map(|(column, ..)| column.as_str()).collect();
                // The id of a new row differs from the dry run: MariaDB does not reuse ids.
                let key = if row.was_and_is.0 { row.key.as_str() } else { "" };
                (table.as_str(), key, row.was_and_is, columns)
            })
            .collect()
    }
}

impl Script {
    /// Fails unless every statement changes rows and does nothing else.
    ///
    /// # Errors
    /// [`OperationError::NotInTransaction`], naming the first that does not.
    pub fn check(&self) -> Result<()> {
        match self.statements.iter().map(|statement| verb(statement)).find(|verb| !CHANGES.contains(&verb.as_str())) {
            None => Ok(()),
            Some(verb) => Err(Error::Operation(OperationError::NotInTransaction { statement: verb })),
        }
    }

    /// A query whose result shows the change, where the configuration does not.
    pub(super) fn watched(&self) -> Option<Watched> {
        let shown = self.shown.as_ref()?;
        let is_reported = |table: &TableChange| {
            table
                .rows
                .iter()
                .flatten()
                .any(|row| row.cells.iter().any(|(column, ..)| !is_unguarded(&table.table, column)))
        };
        if shown.tables.iter().any(is_reported) {
            return None;
        }
        match shown.tables.first() {
            Some(table) if table.before != table.after => Some(Watched::Count { table: table.table.clone() }),
            Some(table) => Some(Watched::Rows { table: table.table.clone() }),
            // Cells of the history, which are not compared: no table has another number of rows than before.
            None => Some(Watched::Rows { table: "heartbeat".into() }),
        }
    }

    /// Runs the statements in the open transaction, and returns what they changed.
    ///
    /// # Errors
    /// [`OperationError::StalePlan`](crate::error::OperationError::StalePlan) when that differs from what was shown.
    pub(super) fn run(&self, writer: &mut dyn Writer, schema: &Schema) -> Result<Changes> {
        let dry_run = self.shown.is_none();
        let found = if dry_run { find(writer)? } else { Vec::new() };
        let counts = read_counts(writer, schema)?;
        let before = read_tables(writer, schema, &counts)?;
        let mut changes = Changes::default();
        for statement in &self.statements {
            changes.affected.push(writer.execute(statement, &[])?);
        }
        let now = read_counts(writer, schema)?;
        let after = read_tables(writer, schema, &now)?;
        for table in schema.tables.keys() {
            let rows = match (before.get(table), after.get(table)) {
                (Some(before), Some(after)) => Some(compare(before, after)),
                _ => None,
            };
            let (before, after) = (counts.get(table).copied().unwrap_or(0), now.get(table).copied().unwrap_or(0));
            if before != after || rows.as_ref().is_some_and(|rows| !rows.is_empty()) {
                changes.tables.push(TableChange { table: table.clone(), before, after, rows });
            }
        }
        match &self.shown {
            Some(shown) if shown.shape() != changes.shape() => Err(Error::Operation(OperationError::StalePlan)),
            Some(_) => Ok(changes),
            None => {
                changes.findings = find(writer)?.into_iter().filter(|finding| !found.contains(finding)).collect();
                Ok(changes)
            }
        }
    }
}

/// The doctor's findings in the rows.
fn find(reader: &mut dyn Reader) -> Result<Vec<String>> {
    let now = Utc::now();
    let beats = read_beats_within(reader, now.timestamp(), i64::MIN..=i64::MAX)?;
    let content = read_content(reader, "the database", now.timestamp(), &is_zone)?;
    let evidence = Evidence { database: Some(DatabaseContent { beats, ..content }), ..Evidence::none(now) };
    let findings = doctor::examine(&evidence);
    Ok(findings
        .iter()
        .map(|finding| format!("{} {}: {}", finding.code, finding.severity.word(), finding.fault.what))
        .collect())
}

type Rows = BTreeMap<String, Row>;

/// The rows of every table but the history and the long ones by `counts`, by what identifies them.
fn read_tables(reader: &mut dyn Reader, schema: &Schema, counts: &Counts) -> Result<BTreeMap<String, Rows>> {
    let grown = history(schema);
    let mut tables = BTreeMap::new();
    for (table, described) in &schema.tables {
        if grown.contains(table) || counts.get(table).is_some_and(|rows| *rows > COMPARED) {
            continue;
        }
        let keys: Vec<&str> =
            described.columns.iter().filter(|column| column.primary_key).map(|column| column.name.as_str()).collect();
        let mut rows = Rows::new();
        reader.stream(&format!("SELECT * FROM {}", quote(table)), &[], &mut |row| {
            let cells: Vec<String> = if keys.is_empty() {
                row.cells().iter().map(ToString::to_string).collect()
            } else {
                keys.iter().map(|key| row.cell(key).to_string()).collect()
            };
            rows.insert(cells.join(", "), row);
            Ok(())
        })?;
        tables.insert(table.clone(), rows);
    }
    Ok(tables)
}

fn compare(before: &Rows, after: &Rows) -> Vec<RowChange> {
    let mut changes = Vec::new();
    for (key, old) in before {
        let cells: Vec<(String, Value, Value)> = match after.get(key) {
            Some(new) => old
                .iter()
                .filter(|(column, cell)| *cell != new.cell(column))
                .map(|(column, cell)| (column.to_owned(), cell.clone(), new.cell(column).clone()))
                .collect(),
            None => old.iter().map(|(column, cell)| (column.to_owned(), cell.clone(), Value::Null)).collect(),
        };
        if !cells.is_empty() {
            changes.push(RowChange { key: key.clone(), cells, was_and_is: (true, after.contains_key(key)) });
        }
    }
    for (key, new) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
        let cells = new.iter().map(|(column, cell)| (column.to_owned(), Value::Null, cell.clone())).collect();
        changes.push(RowChange { key: key.clone(), cells, was_and_is: (false, true) });
    }
    changes
}
