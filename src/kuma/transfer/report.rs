//! What a transfer read, wrote, changed, refused and left out.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::engine::fit::{Loss, Misfit};
use crate::engine::mariadb::compared;
use crate::engine::{Counts, quote};
use crate::error::{DatabaseError, Error, Result};
use crate::text::counted;
use crate::value::Value;

/// As many refused cells are named; all are counted.
const MOST: usize = 200;

/// As many rows are named for each loss.
const EXAMPLES: usize = 5;

/// Rows of one table of the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableCount {
    /// Its name.
    pub table: String,
    /// Rows of the source that were read for it.
    pub read: u64,
    /// Rows that it has.
    pub written: u64,
}

/// Cells of one column that became less exact in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lossy {
    /// The table of the target.
    pub table: String,
    /// Its column.
    pub column: String,
    /// What they lost.
    pub loss: Loss,
    /// Number of cells.
    pub cells: u64,
    /// The ids of the first of these rows.
    pub rows: Vec<i64>,
}

/// A cell that the target cannot store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The table of the target.
    pub table: String,
    /// Its column.
    pub column: String,
    /// The id of the row.
    pub row: Option<i64>,
    /// Why, without the value.
    pub why: String,
    #[serde(skip)]
    /// The reason.
    pub misfit: Misfit,
}

/// A table or column of the source without a place in the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOutPart {
    /// The table of the source.
    pub table: String,
    /// Its column; `None` for the whole table.
    pub column: Option<String>,
    /// Number of its rows, or of the values in the column that are not NULL.
    pub values: u64,
}

/// The result of a transfer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TransferReport {
    /// Every table of the target.
    pub tables: Vec<TableCount>,
    /// What became less exact.
    pub losses: Vec<Lossy>,
    /// The first cells that cannot be stored.
    pub refused: Vec<Refused>,
    /// The number of all of them.
    pub refused_total: u64,
    /// The first rows that were left out on purpose, each because of a cell that cannot be stored.
    pub rows_left_out: Vec<Refused>,
    /// The number of all of them.
    pub rows_left_out_total: u64,
    /// Tables and columns of the source without a place in the target.
    pub left_out: Vec<LeftOutPart>,
}

impl TransferReport {
    /// Rows per table of the target.
    pub fn counts(&self) -> Counts {
        self.tables.iter().map(|count| (count.table.clone(), count.written)).collect()
    }

    /// Number of rows of the target.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|count| count.written).sum()
    }

    /// Fails if something cannot be stored.
    ///
    /// # Errors
    /// [`DatabaseError::CannotConvert`] with the first cells.
    pub fn check(&self) -> Result<()> {
        const SHOWN: usize = 8;
        if self.refused_total == 0 {
            return Ok(());
        }
        let mut cells: Vec<String> = self.refused.iter().take(SHOWN).map(Refused::words).collect();
        let total = usize::try_from(self.refused_total).unwrap_or(usize::MAX);
        let more = total.saturating_sub(cells.len());
        cells.extend((more > 0).then(|| format!("and {} more", counted(more, "value"))));
        Err(Error::Database(DatabaseError::CannotConvert { total, cells }))
    }

    pub(super) fn lost(&mut self, table: &str, column: &str, loss: Loss, row: &[Value]) {
        let same = |found: &Lossy| found.loss == loss && found.column == column && found.table == table;
        let at = self.losses.iter().position(same);
        let at = at.unwrap_or_else(|| {
            let (table, column) = (table.to_owned(), column.to_owned());
            self.losses.push(Lossy { table, column, loss, cells: 0, rows: Vec::new() });
            self.losses.len() - 1
        });
        let found = &mut self.losses[at];
        found.cells += 1;
        if found.rows.len() < EXAMPLES {
            found.rows.extend(id(row));
        }
    }

    pub(super) fn refused(&mut self, table: &str, column: &str, misfit: &Misfit, row: &[Value]) {
        self.refused_total += 1;
        if self.refused.len() < MOST {
            self.refused.push(refused(table, column, misfit, row));
        }
    }

    pub(super) fn row_left_out(&mut self, table: &str, column: &str, misfit: &Misfit, row: &[Value]) {
        self.rows_left_out_total += 1;
        if self.rows_left_out.len() < MOST {
            self.rows_left_out.push(refused(table, column, misfit, row));
        }
    }
}

fn refused(table: &str, column: &str, misfit: &Misfit, row: &[Value]) -> Refused {
    Refused {
        table: table.to_owned(),
        column: column.to_owned(),
        row: id(row),
        why: misfit.to_string(),
        misfit: misfit.clone(),
    }
}

/// The id of a row: in every table of the server, it is the first column.
fn id(row: &[Value]) -> Option<i64> {
    row.first().and_then(Value::int)
}

impl Refused {
    /// The cell and the reason.
    pub fn words(&self) -> String {
        let row = self.row.map_or(String::new(), |id| format!(" of row {id}"));
        format!("{}.{}{row} {}", quote(&self.table), quote(&self.column), self.why)
    }
}

impl Lossy {
    /// The column, the number of cells and their loss.
    pub fn words(&self) -> String {
        let cells = counted(usize::try_from(self.cells).unwrap_or(usize::MAX), "value");
        format!("{}.{}: {cells} {}", quote(&self.table), quote(&self.column), self.loss)
    }
}

impl LeftOutPart {
    /// The table or column and its size.
    pub fn words(&self) -> String {
        let values = usize::try_from(self.values).unwrap_or(usize::MAX);
        match &self.column {
            None => format!("table {} ({})", quote(&self.table), counted(values, "row")),
            Some(column) => format!("column {}.{} ({})", quote(&self.table), quote(column), counted(values, "value")),
        }
    }
}

/// The values so far of unique keys with text, as MariaDB compares them.
pub(super) struct Duplicates {
    keys: Vec<(Vec<usize>, BTreeSet<Vec<String>>)>,
}

impl Duplicates {
    pub(super) fn of(keys: Vec<Vec<usize>>) -> Duplicates {
        Duplicates { keys: keys.into_iter().map(|key| (key, BTreeSet::new())).collect() }
    }

    /// Whether there are no keys.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The position of the first text of a key that another row has too.
    pub(super) fn find(&self, row: &[Value]) -> Option<usize> {
        let (key, _) = self.keys.iter().find(|(key, seen)| key_of(key, row).is_some_and(|key| seen.contains(&key)))?;
        key.iter().copied().find(|at| row[*at].text().is_some())
    }

    pub(super) fn add(&mut self, row: &[Value]) {
        for (key, seen) in &mut self.keys {
            seen.extend(key_of(key, row));
        }
    }
}

/// The values of a key; none if one is NULL, which equals nothing.
fn key_of(key: &[usize], row: &[Value]) -> Option<Vec<String>> {
    let cells = key.iter().map(|at| &row[*at]);
    cells.map(|cell| (!cell.is_null()).then(|| compared(&cell.to_string()))).collect()
}
