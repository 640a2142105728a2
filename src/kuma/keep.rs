//! Verifies that a copy of some rows has exactly those that a pruning keeps.

use std::collections::BTreeMap;

use super::merge::{HistoryChange, Spans, read_spans};
use super::prune::{count_pending, has_orphans, is_left, read_newest};
use crate::engine::{Counts, Reader, RowDigest, RowFilter, quote};
use crate::error::{Error, OperationError, Result};
use crate::plan::history::DeletePlan;
use crate::schema::Schema;
use crate::value::Value;

/// What the copy has to have, read from the database itself.
#[derive(Debug)]
pub struct Expected {
    /// Of each table, the rows that stay.
    digests: BTreeMap<String, RowDigest>,
    /// The number of rows to delete, by table.
    pending: BTreeMap<String, u64>,
    newest: BTreeMap<i64, Value>,
    /// The history of each monitor, where some of it belongs to monitors that do not exist.
    spans: Option<Spans>,
}

impl Expected {
    /// Reads it for the `tables`, of which `kept` selects the rows that `delete_plans` do not delete.
    pub fn read(
        reader: &mut dyn Reader,
        schema: &Schema,
        (tables, kept): (&[String], &[RowFilter]),
        delete_plans: &[DeletePlan],
    ) -> Result<Expected> {
        let mut digests = BTreeMap::new();
        for table in tables {
            let filter = kept.iter().find(|filter| filter.table == *table);
            digests.insert(table.clone(), reader.digest(table, filter)?);
        }
        let mut pending = BTreeMap::new();
        for delete_plan in delete_plans {
            *pending.entry(delete_plan.table.clone()).or_insert(0) += count_pending(reader, delete_plan)?;
        }
        let mut spans = None;
        for table in pending.keys() {
            if has_orphans(reader, table)? {
                spans = Some(read_spans(reader, schema)?);
                break;
            }
        }
        Ok(Expected { digests, pending, newest: read_newest(reader)?, spans })
    }

    /// Compares it with the rows of the copy of `reader`; `counts` are the rows of each table before. Returns how many rows are
    /// deleted, by table.
    ///
    /// # Errors
    /// [`OperationError::ChecksFailed`] for each difference.
    pub fn check(
        &self,
        reader: &mut dyn Reader,
        delete_plans: &[DeletePlan],
        counts: &Counts,
    ) -> Result<BTreeMap<String, u64>> {
        let mut wrong = Vec::new();
        for (table, expected) in &self.digests {
            let (found, name) = (reader.digest(table, None)?, quote(table));
            if found != *expected {
                wrong.push(format!("the rows of {name} that are kept are not those of the database"));
            }
            let pending = self.pending.get(table).copied().unwrap_or(0);
            if found.rows + pending != counts.get(table).copied().unwrap_or(0) {
                wrong.push(format!("{name} would lose rows that are not to be deleted"));
            }
        }
        for delete_plan in delete_plans {
            if is_left(reader, delete_plan)? {
                wrong.push(format!("rows of {} were not deleted", quote(&delete_plan.table)));
            }
        }
        let newest = if self.digests.contains_key("heartbeat") { read_newest(reader)? } else { self.newest.clone() };
        let lost = self.newest.iter().filter(|(monitor, time)| newest.get(*monitor) != Some(*time));
        wrong.extend(lost.map(|(monitor, _)| format!("monitor {monitor} would lose its newest heartbeat")));
        if wrong.is_empty() {
            Ok(self.pending.clone())
        } else {
            Err(Error::Operation(OperationError::ChecksFailed(wrong)))
        }
    }

    /// Compares it with the tables of `reader`, which were replaced by those with the rows of `kept`: what another client has
    /// written to them since they were read would be lost.
    ///
    /// # Errors
    /// [`OperationError::ChecksFailed`] with the first table that has other rows.
    pub fn check_replaced(&self, reader: &mut dyn Reader, kept: &[RowFilter]) -> Result<()> {
        let is_equal = |reader: &mut dyn Reader, filter: &RowFilter, counts: bool| -> Result<bool> {
            let (table, expected) = (&filter.table, self.digests.get(&filter.table));
            if !counts {
                return Ok(Some(&reader.digest(table, Some(filter))?) == expected);
            }
            let rows = expected.map(|digest| digest.rows + self.pending.get(table).copied().unwrap_or(0));
            let counted = reader.query(&format!("SELECT COUNT(*) FROM {}", quote(table)), &[])?;
            let found = counted.first().and_then(|row| row.at(0).int()).and_then(|rows| u64::try_from(rows).ok());
            Ok(found == rows)
        };
        // Counting takes the least time, and what is written to the new tables meanwhile is lost if the old ones come back.
        for counts in [true, false] {
            for filter in kept {
                if !is_equal(reader, filter, counts)? {
                    let why = format!("another client wrote to {} while its rows were copied", quote(&filter.table));
                    return Err(Error::Operation(OperationError::ChecksFailed(vec![why])));
                }
            }
        }
        Ok(())
    }

    /// How the history of `reader`, where the rows are deleted, differs from the one before. Nothing else than these rows does,
    /// which was checked.
    pub fn shift(&self, reader: &mut dyn Reader, schema: &Schema) -> Result<HistoryChange> {
        match &self.spans {
            Some(spans) => Ok(spans.shift(&read_spans(reader, schema)?)),
            None => Ok(HistoryChange::Deleted),
        }
    }
}
