//! Detects whether a change has been committed.
//!
//! It is stored in the journal, whose folder may belong to an attacker: so it contains tables, columns and ids, but no
//! SQL.

use serde::{Deserialize, Serialize};

use super::prune;
use super::read::{is_configuration, is_unguarded};
use crate::engine::{Reader, quote};
use crate::error::Result;
use crate::model::state::Fingerprint;
use crate::plan::history::DeletePlan;
use crate::plan::{Change, Plan, PlanStep};
use crate::value::Value;

/// Data that a change affects, if it does not change the fingerprint of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Watched {
    /// The number of rows.
    Count {
        /// Of this table.
        table: String,
    },
    /// All rows.
    Rows {
        /// Of this table.
        table: String,
    },
    /// Some cells of one row.
    Cells {
        /// The table.
        table: String,
        /// Their columns.
        columns: Vec<String>,
        /// Its id.
        id: i64,
    },
    /// Whether a row has a value.
    Holds {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The value.
        value: i64,
    },
    /// Whether history that is to be deleted still exists.
    Left(DeletePlan),
}

impl Watched {
    /// The first change of `plan`, if the plan does not change the fingerprint. One is enough, because all changes are
    /// one transaction.
    pub fn of(plan: &Plan) -> Option<Watched> {
        let shows = |step: &PlanStep| match &step.change {
            Change::Update { set, .. } => !set.iter().all(|cell| is_unguarded(&step.table, &cell.column)),
            Change::Insert { .. } | Change::Delete { .. } => is_configuration(&step.table),
        };
        if plan.steps.iter().any(shows) {
            return None;
        }
        let step = plan.steps.first()?;
        let table = step.table.clone();
        Some(match &step.change {
            Change::Update { id, set } => {
                Watched::Cells { table, columns: set.iter().map(|cell| cell.column.clone()).collect(), id: *id }
            }
            // The migration lock has no `id`.
            Change::Insert { .. } => Watched::Count { table },
            Change::Delete { column, value, .. } => Watched::Holds { table, column: column.clone(), value: *value },
        })
    }

    fn query(&self) -> (String, Vec<Value>) {
        match self {
            Watched::Count { table } => (format!("SELECT count(*) FROM {}", quote(table)), Vec::new()),
            Watched::Rows { table } => (format!("SELECT * FROM {} ORDER BY 1", quote(table)), Vec::new()),
            Watched::Cells { table, columns, id } => {
                let columns: Vec<String> = columns.iter().map(|column| quote(column)).collect();
                let sql = format!("SELECT {} FROM {} WHERE `id` = ?", columns.join(", "), quote(table));
                (sql, vec![Value::Int(*id)])
            }
            Watched::Holds { table, column, value } => {
                let sql = format!("SELECT 1 FROM {} WHERE {} = ? LIMIT 1", quote(table), quote(column));
                (sql, vec![Value::Int(*value)])
            }
            Watched::Left(delete_plan) => prune::left(delete_plan),
        }
    }
}

/// The fingerprint of the configuration, with the `watched` data.
pub fn read_mark(reader: &mut dyn Reader, fingerprint: &Fingerprint, watched: Option<&Watched>) -> Result<Fingerprint> {
    let Some(watched) = watched else { return Ok(fingerprint.clone()) };
    let mut hasher = blake3::Hasher::new();
    hasher.update(fingerprint.0.as_bytes());
    let mut text = Vec::new();
    let (sql, parameters) = watched.query();
    reader.stream(&sql, &parameters, &mut |row| {
        text.clear();
        row.cells().iter().for_each(|cell| super::read::append(&mut text, cell));
        hasher.update(&text);
        Ok(())
    })?;
    Ok(Fingerprint(hasher.finalize().to_hex().to_string()))
}
