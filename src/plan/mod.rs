//! Plans: the ordered row changes from the present state to the desired one, decided before anything is written.
//!
//! Pure data: a plan can be shown, saved and compared, and applying it makes no further decisions.

mod cells;
pub(crate) mod difference;
pub mod fixture;
pub mod history;
pub(crate) mod leave_out;
pub mod monitor;
pub(crate) mod names;
pub(crate) mod pick;
pub mod user;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::entities::is_secret_setting;
use crate::model::state::Fingerprint;
use crate::schema::Schema;
use crate::value::{Row, Value};

pub use cells::InsertCells;

/// The ordered changes that lead from one state to another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Changes, in the order in which they are made.
    pub steps: Vec<PlanStep>,
    /// The configuration this plan was made for; `None` fits any.
    pub fingerprint: Option<Fingerprint>,
}

/// One change of one row (or of the rows that depend on it).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanStep {
    /// The table that changes.
    pub table: String,
    /// The name of the object in messages: `` monitor `Network/Router` ``.
    pub subject: String,
    /// The change.
    pub change: Change,
}

impl PlanStep {
    /// Whether it deletes rows.
    pub fn is_delete(&self) -> bool {
        matches!(self.change, Change::Delete { .. })
    }
}

/// The change of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A new row; its id is assigned when it is written.
    Insert {
        /// Its columns; those left out get the default of the live schema. Ten thousand monitors with a hundred columns
        /// share these.
        columns: Arc<[String]>,
        /// The value of each column.
        cells: InsertCells,
    },
    /// New cells in the row with this id.
    Update {
        /// The row.
        id: i64,
        /// The cells.
        set: Vec<Assignment>,
    },
    /// Deletes all rows in which `column` is `value`.
    Delete {
        /// `id`, or the column that refers to the deleted row.
        column: String,
        /// The id.
        value: i64,
        /// How many rows that was when the plan was made.
        rows: u64,
    },
}

/// One cell that changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// Its column.
    pub column: String,
    /// The present value.
    pub old: Value,
    /// The new value.
    pub new: Cell,
    /// Neither is ever shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
}

/// The new content of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// This value.
    Is(Value),
    /// The id of the row that the step at this position of the plan inserts.
    IdOf(usize),
}

impl Cell {
    /// The id, if it is known already.
    pub fn id(&self) -> Option<i64> {
        match self {
            Cell::Is(value) => value.int(),
            Cell::IdOf(_) => None,
        }
    }
}

impl<T: Into<Value>> From<T> for Cell {
    fn from(value: T) -> Self {
        Cell::Is(value.into())
    }
}

/// What a plan does, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanTally {
    /// Objects created.
    pub created: usize,
    /// Objects changed.
    pub changed: usize,
    /// Objects deleted.
    pub deleted: usize,
}

impl Assignment {
    /// The assignments that set `cells` in `row` of `table`, for columns that exist and differ.
    pub fn of(table: &str, row: &Row, cells: &[(&str, Value)]) -> Vec<Assignment> {
        let secret = |column: &str| match (table, column) {
            ("user", "password" | "twofa_secret") | ("api_key", "key") => true,
            ("setting", "value") => row.text("key").is_some_and(is_secret_setting),
            _ => false,
        };
        cells
            .iter()
            .filter(|(column, new)| row.columns().iter().any(|known| known == column) && !row.cell(column).same(new))
            .map(|(column, new)| Assignment {
                column: (*column).to_owned(),
                old: row.cell(column).clone(),
                new: Cell::Is(new.clone()),
                secret: secret(column),
            })
            .collect()
    }
}

impl Plan {
    /// An empty plan for the configuration with this fingerprint.
    pub fn of(fingerprint: &Fingerprint) -> Plan {
        Plan { fingerprint: Some(fingerprint.clone()), ..Plan::default() }
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The tables of `schema` in which it can change rows: those of its steps, and those that refer to rows that it deletes or to a
    /// column that it sets, at any distance.
    pub fn changed_tables(&self, schema: &Schema) -> BTreeSet<String> {
        let keys = |parent: &str| {
            let keys =
                schema.tables.iter().flat_map(|(name, table)| table.foreign_keys.iter().map(move |key| (name, key)));
            keys.filter(|(_, key)| key.table.eq_ignore_ascii_case(parent)).collect::<Vec<_>>()
        };
        let mut changed: BTreeSet<String> = self.steps.iter().map(|step| step.table.clone()).collect();
        let mut parents: BTreeSet<&str> = BTreeSet::new();
        for step in &self.steps {
            let reaches = match &step.change {
                Change::Insert { .. } => false,
                Change::Update { set, .. } => keys(&step.table)
                    .iter()
                    .any(|(_, key)| set.iter().any(|one| one.column.eq_ignore_ascii_case(&key.to))),
                Change::Delete { .. } => true,
            };
            if reaches {
                parents.insert(&step.table);
            }
        }
        let mut open: Vec<&str> = parents.iter().copied().collect();
        while let Some(parent) = open.pop() {
            open.extend(
                keys(parent).into_iter().map(|(child, _)| child.as_str()).filter(|child| parents.insert(child)),
            );
        }
        changed.extend(parents.into_iter().map(str::to_owned));
        changed
    }

    /// Adds an insert and returns its position, for [`Cell::IdOf`].
    pub fn insert(&mut self, table: &str, subject: impl Into<String>, row: Vec<(String, Cell)>) -> usize {
        let like = |columns: &[String]| columns.iter().eq(row.iter().map(|(column, _)| column));
        let change = match self.steps.last() {
            Some(PlanStep { change: Change::Insert { columns, cells }, .. }) if like(columns) => {
                let cells = cells.following(row.into_iter().map(|(_, cell)| cell));
                Change::Insert { columns: columns.clone(), cells }
            }
            _ => {
                let (columns, cells): (Vec<String>, Vec<Cell>) = row.into_iter().unzip();
                Change::Insert { columns: columns.into(), cells: cells.into() }
            }
        };
        self.push(table, subject, change);
        self.steps.len() - 1
    }

    /// Adds an update, unless it changes nothing.
    pub fn update(&mut self, table: &str, subject: impl Into<String>, id: i64, set: Vec<Assignment>) {
        if !set.is_empty() {
            self.push(table, subject, Change::Update { id, set });
        }
    }

    /// Adds a delete of the `rows` rows in which a column has a value, unless there are none.
    pub fn delete(&mut self, table: &str, subject: impl Into<String>, (column, value): (&str, i64), rows: u64) {
        if rows > 0 {
            self.push(table, subject, Change::Delete { column: column.to_owned(), value, rows });
        }
    }

    fn push(&mut self, table: &str, subject: impl Into<String>, change: Change) {
        self.steps.push(PlanStep { table: table.to_owned(), subject: subject.into(), change });
    }

    /// Objects of `table` that this plan creates, changes and deletes.
    pub fn tally(&self, table: &str) -> PlanTally {
        let mut tally = PlanTally::default();
        for step in self.steps.iter().filter(|step| step.table == table) {
            match &step.change {
                Change::Insert { .. } => tally.created += 1,
                Change::Update { .. } => tally.changed += 1,
                Change::Delete { column, .. } if column == "id" => tally.deleted += 1,
                Change::Delete { .. } => {}
            }
        }
        tally
    }
}

impl fmt::Display for PlanTally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = [(self.created, "created"), (self.changed, "changed"), (self.deleted, "deleted")]
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, what)| format!("{n} {what}"))
            .collect();
        f.write_str(if parts.is_empty() { "nothing changed" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}
