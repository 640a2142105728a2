//! Applies a plan inside the open transaction, and verifies the result before the commit.

use std::collections::BTreeMap;

use super::read::{TableHashes, ids_text, is_configuration, is_unguarded, read_configuration};
use crate::engine::{Depth, EngineKind, IntegrityError, Reader, Writer, quote, read_numbers};
use crate::error::{DatabaseError, Error, OperationError, Result};
use crate::model::state::Fingerprint;
use crate::plan::{Assignment, Cell, Change, Plan, PlanStep};
use crate::schema::{HIGHEST_ID, Schema};
use crate::value::{Row, Value};

/// Rows read back per statement.
const BATCH: usize = 500;

/// The result of a plan.
#[derive(Clone, Debug, Default)]
pub struct WriteResult {
    /// The id of each inserted row, by the position of its step in the plan.
    pub ids: BTreeMap<usize, i64>,
}

/// Fails if the configuration is not the one, of the hash `now`, that `plan` was made for.
///
/// # Errors
/// [`OperationError::StalePlan`].
pub fn check_fits(plan: &Plan, now: &Fingerprint) -> Result<()> {
    match &plan.fingerprint {
        Some(expected) if expected != now => Err(Error::Operation(OperationError::StalePlan)),
        _ => Ok(()),
    }
}

/// Makes every change of `plan`, in order, inside the open transaction of `writer`.
///
/// # Errors
/// [`OperationError::StalePlan`] if a cell that is not in the fingerprint has changed since the plan was made.
pub fn write_plan(writer: &mut dyn Writer, schema: &Schema, plan: &Plan) -> Result<WriteResult> {
    let mut written = WriteResult { ids: assign_ids(writer, schema, plan)? };
    let mut at = 0;
    while at < plan.steps.len() {
        at = match &plan.steps[at].change {
            Change::Insert { .. } => insert_run(writer, plan, at, &mut written)?,
            Change::Update { id, set } => {
                check_old(writer, &plan.steps[at], *id, set)?;
                let columns: Vec<String> = set.iter().map(|cell| format!("{} = ?", quote(&cell.column))).collect();
                let mut params: Vec<Value> = set.iter().map(|cell| resolve(&cell.new, &written.ids)).collect();
                params.push(Value::Int(*id));
                let table = quote(&plan.steps[at].table);
                writer.execute(&format!("UPDATE {table} SET {} WHERE `id` = ?", columns.join(", ")), &params)?;
                at + 1
            }
            Change::Delete { column, value, .. } => {
                let table = quote(&plan.steps[at].table);
                writer.execute(&format!("DELETE FROM {table} WHERE {} = ?", quote(column)), &[Value::Int(*value)])?;
                at + 1
            }
        };
    }
    Ok(written)
}

/// Cells that are not in the fingerprint must still have the value they had when the plan was made.
///
/// # Errors
/// [`OperationError::StalePlan`](crate::error::OperationError::StalePlan) if one does not.
fn check_old(writer: &mut dyn Writer, step: &PlanStep, id: i64, set: &[Assignment]) -> Result<()> {
    if !set.iter().any(|cell| is_unguarded(&step.table, &cell.column)) {
        return Ok(());
    }
    let rows = writer.query(&format!("SELECT * FROM {} WHERE `id` = ?", quote(&step.table)), &[Value::Int(id)])?;
    let holds = |row: &Row| set.iter().all(|cell| row.cell(&cell.column).same(&cell.old));
    if rows.first().is_some_and(holds) { Ok(()) } else { Err(Error::Operation(OperationError::StalePlan)) }
}

/// Gives each insert an id that its table never had and that no row refers to: an id is not used twice, because rows left
/// behind by a deleted monitor (heartbeats, statistics, tags, notifications), old links and the server's own caches would
/// become those of the new one.
///
/// # Errors
/// [`DatabaseError::NoFreeId`] when the column has no higher id left.
fn assign_ids(writer: &mut dyn Writer, schema: &Schema, plan: &Plan) -> Result<BTreeMap<usize, i64>> {
    let mut next: BTreeMap<&str, i64> = BTreeMap::new();
    let mut ids = BTreeMap::new();
    for (at, step) in plan.steps.iter().enumerate() {
        if !matches!(step.change, Change::Insert { .. }) || !schema.has(&step.table, "id") {
            continue;
        }
        let last = match next.get(step.table.as_str()) {
            Some(id) => *id,
            None => highest_id(writer, schema, &step.table)?,
        };
        if last >= HIGHEST_ID {
            return Err(DatabaseError::NoFreeId { table: step.table.clone(), highest: last }.into());
        }
        ids.insert(at, last + 1);
        next.insert(&step.table, last + 1);
    }
    Ok(ids)
}

/// The highest id that `table` has or had, or that any row refers to; 0 when there is none.
fn highest_id(writer: &mut dyn Writer, schema: &Schema, table: &str) -> Result<i64> {
    let last = last_ids(writer, &[table])?.into_iter().fold(0, i64::max);
    Ok(highest_in(writer, schema.references_to(table).into_iter())?.into_iter().fold(last, i64::max))
}

/// The highest id that each of `tables` has or had, as far as the engine knows: the server's next row gets the one after it.
///
/// # Errors
/// What the engine reports.
pub(super) fn last_ids(reader: &mut dyn Reader, tables: &[&str]) -> Result<Vec<i64>> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let counters = match reader.kind() {
        EngineKind::Sqlite => {
            if reader.query("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'", &[])?.is_empty() {
                Vec::new()
            } else {
                reader.query("SELECT name, max(seq) AS last FROM sqlite_sequence GROUP BY name", &[])?
            }
        }
        EngineKind::MariaDb => {
            let marks = vec!["?"; tables.len()].join(", ");
            let sql = format!(
                "SELECT TABLE_NAME AS name, AUTO_INCREMENT - 1 AS last FROM information_schema.TABLES \
                 WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN ({marks})"
            );
            let names: Vec<Value> = tables.iter().map(|table| (*table).into()).collect();
            reader.query(&sql, &names)?
        }
    };
    let counter =
        |table: &str| counters.iter().find(|row| row.text("name") == Some(table)).and_then(|row| row.int("last"));
    let in_rows = highest_in(reader, tables.iter().map(|table| (*table, "id")))?;
    Ok(tables.iter().zip(in_rows).map(|(table, highest)| counter(table).unwrap_or(0).max(highest).max(0)).collect())
}

/// The highest integer in each of `columns` with their tables; 0 where there is none. Each is one step in an index.
pub(super) fn highest_in<'c>(
    reader: &mut dyn Reader,
    columns: impl Iterator<Item = (&'c str, &'c str)>,
) -> Result<Vec<i64>> {
    let select = |(table, column)| format!("SELECT max({}) FROM {}", quote(column), quote(table));
    read_numbers(reader, &columns.map(select).collect::<Vec<_>>())
}

/// Writes the consecutive inserts into one table that begin at `at` together; returns their end.
fn insert_run(writer: &mut dyn Writer, plan: &Plan, at: usize, written: &mut WriteResult) -> Result<usize> {
    let table = &plan.steps[at].table;
    let Change::Insert { columns, .. } = &plan.steps[at].change else { return Ok(at + 1) };
    let ids = &written.ids;
    let run = plan.steps[at..].iter().map_while(|step| match &step.change {
        Change::Insert { columns: these, cells } if step.table == *table && these == columns => Some(cells),
        _ => None,
    });
    let end = at + run.clone().count();
    let mut names: Vec<&str> = columns.iter().map(String::as_str).collect();
    if ids.contains_key(&at) {
        names.push("id");
    }
    let mut rows = run.enumerate().map(|(offset, cells)| {
        let id = ids.get(&(at + offset)).map(|id| Value::Int(*id));
        cells.iter().map(|cell| resolve(cell, ids)).chain(id).collect()
    });
    writer.insert(table, &names, &mut rows)?;
    Ok(end)
}

fn resolve(cell: &Cell, ids: &BTreeMap<usize, i64>) -> Value {
    match cell {
        Cell::Is(value) => value.clone(),
        Cell::IdOf(step) => ids.get(step).copied().into(),
    }
}

/// Reads back each change of `plan` inside the same transaction, and in the same pass the tables that it may have changed:
/// returns the hashes of all tables, which were `before`.
///
/// # Errors
/// [`OperationError::ReadBack`] for the first cell that differs from what was
/// written.
pub fn check_written(
    writer: &mut dyn Writer,
    schema: &Schema,
    plan: &Plan,
    written: &WriteResult,
    before: &TableHashes,
) -> Result<TableHashes> {
    let mut expected = Expected::new();
    for (at, step) in plan.steps.iter().enumerate() {
        let id = match &step.change {
            Change::Insert { .. } => written.ids.get(&at).copied(),
            Change::Update { id, .. } => Some(*id),
            Change::Delete { column, value, .. } => {
                check_gone(writer, step, column, *value)?;
                None
            }
        };
        if let Some(id) = id {
            expected.entry(&step.table).or_default().entry(id).or_default().push(step);
        }
    }
    // A deletion is passed on to other tables by their foreign keys.
    let deletes = plan.steps.iter().any(PlanStep::is_delete);
    let changed = |table: &str| deletes || plan.steps.iter().any(|step| step.table == table);
    let hashes = read_configuration(writer, schema, &changed, &mut |table, row| {
        check_found(&mut expected, table, &row, written)
    })?;
    let elsewhere: Vec<(String, Vec<i64>)> = expected
        .iter()
        .filter(|(table, _)| !is_configuration(table))
        .map(|(table, rows)| ((*table).to_owned(), rows.keys().copied().collect()))
        .collect();
    for (table, ids) in elsewhere {
        for batch in ids.chunks(BATCH) {
            let sql = format!("SELECT * FROM {} WHERE `id` IN ({})", quote(&table), ids_text(batch));
            writer.stream(&sql, &[], &mut |row| check_found(&mut expected, &table, &row, written))?;
        }
    }
    match expected.into_values().flatten().next() {
        Some((id, steps)) => Err(unlike(steps[0], "id", id.to_string(), "missing".into())),
        None => Ok(before.with(hashes)),
    }
}

/// The steps that wrote a row, by table and id.
type Expected<'p> = BTreeMap<&'p str, BTreeMap<i64, Vec<&'p PlanStep>>>;

/// Removes `row` from the expected ones, if it contains what was written.
fn check_found(expected: &mut Expected<'_>, table: &str, row: &Row, written: &WriteResult) -> Result<()> {
    let steps = row.int("id").and_then(|id| expected.get_mut(table)?.remove(&id));
    steps.into_iter().flatten().try_for_each(|step| check_row(step, row, &written.ids))
}

fn check_gone(writer: &mut dyn Writer, step: &PlanStep, column: &str, value: i64) -> Result<()> {
    let sql = format!("SELECT count(*) AS n FROM {} WHERE {} = ?", quote(&step.table), quote(column));
    let left = writer.query(&sql, &[Value::Int(value)])?;
    match left.first().and_then(|row| row.int("n")) {
        Some(0) => Ok(()),
        n => Err(unlike(step, column, "gone".into(), format!("still in {} rows", n.unwrap_or(0)))),
    }
}

/// Whether `row` contains what `step` wrote.
fn check_row(step: &PlanStep, row: &Row, ids: &BTreeMap<usize, i64>) -> Result<()> {
    let mut at = 0;
    let mut check = |column: &str, cell: &Cell| {
        let names = row.columns();
        // Starts at the previous column: a plan usually has its cells in the order of the table, which has a hundred.
        at = (at..names.len()).chain(0..at).find(|at| names[*at] == column).unwrap_or(names.len());
        let holds = match cell {
            Cell::Is(value) => row.at(at).same(value),
            Cell::IdOf(_) => row.at(at).same(&resolve(cell, ids)),
        };
        if holds {
            Ok(())
        } else {
            // The values may be secrets, so only their kind is reported.
            Err(unlike(step, column, kind_of(&resolve(cell, ids)), kind_of(row.at(at))))
        }
    };
    match &step.change {
        Change::Insert { columns, cells } => {
            columns.iter().zip(cells.iter()).try_for_each(|(column, cell)| check(column, cell))
        }
        Change::Update { set, .. } => set.iter().try_for_each(|cell| check(&cell.column, &cell.new)),
        Change::Delete { .. } => Ok(()),
    }
}

fn unlike(step: &PlanStep, column: &str, expected: String, found: String) -> Error {
    Error::Operation(OperationError::ReadBack {
        subject: step.subject.clone(),
        column: column.to_owned(),
        expected,
        found,
    })
}

fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::Int(n) => n.to_string(),
        Value::Real(x) => x.to_string(),
        Value::Text(text) => format!("a text of {} characters", text.chars().count()),
        Value::Blob(bytes) => format!("{} bytes", bytes.len()),
    }
}

/// Fails if the engine reports a fault that is not in `before`, or one in more rows.
pub fn check_clean(writer: &mut dyn Writer, before: &[IntegrityError]) -> Result<()> {
    check_known(&writer.check(Depth::Quick)?, before)
}

/// Fails if `faults` contains one that is not in `before`, or one in more rows.
pub fn check_known(faults: &[IntegrityError], before: &[IntegrityError]) -> Result<()> {
    let new = find_new(faults, before);
    if new.is_empty() { Ok(()) } else { Err(Error::Operation(OperationError::ChecksFailed(new))) }
}

/// Those of `faults` that are not in `before`, or are in more rows.
pub fn find_new(faults: &[IntegrityError], before: &[IntegrityError]) -> Vec<String> {
    let known = |fault: &IntegrityError| before.iter().any(|old| old.what == fault.what && fault.rows <= old.rows);
    faults.iter().filter(|fault| !known(fault)).map(IntegrityError::to_string).collect()
}
