//! Whether the rows of a copy fit into the tables of the database, which may have keys and columns that the copy does not
//! have: the doctor may have added them since. Known before the server is stopped.

use std::collections::{BTreeMap, BTreeSet};

use super::work::Load;
use crate::backup::StagedCopy;
use crate::engine::mariadb::{compared, read_dumped_tables};
use crate::engine::{EngineKind, IntegrityError, Reader, points_nowhere, quote};
use crate::error::{Error, OperationError, Result, SnapshotError};
use crate::instance::Instance;
use crate::kuma::read::{history, read_fingerprint};
use crate::kuma::write::find_new;
use crate::schema::{Column, Index, Schema, Table};
use crate::value::Row;

/// Fails where `load` would be refused once the server is stopped, as far as that is known while it runs: the configuration
/// is not the one that the difference was shown of any more, or the tables do not accept the rows of the copy. Changes
/// nothing.
///
/// # Errors
/// [`OperationError::StaleDifference`]; [`SnapshotError::RowsRejected`].
pub fn check_load(instance: &Instance, load: &Load<'_>) -> Result<()> {
    let read = |reader: &mut dyn Reader| {
        let schema = reader.schema()?;
        let now = load.shown.map(|_| read_fingerprint(reader, &schema)).transpose()?;
        Ok((now, schema))
    };
    // The MariaDB of a stopped container is not there, and nothing changes what it keeps; a SQLite file that cannot be read is
    // replaced.
    let Ok((now, schema)) = instance.connect().and_then(|connect| read(&mut *connect.reader()?)) else { return Ok(()) };
    if now.as_ref() != load.shown {
        return Err(OperationError::StaleDifference { instance: instance.name.clone() }.into());
    }
    // A complete copy brings its own tables, where they differ.
    if load.kept.is_empty() { Ok(()) } else { check_rows(&schema, load) }
}

/// Fails where tables with the schema `live` do not accept the rows of `load`.
///
/// # Errors
/// [`SnapshotError::RowsRejected`].
pub(super) fn check_rows(live: &Schema, load: &Load<'_>) -> Result<()> {
    let manifest = &load.desired.manifest;
    match find_rejected(live, load.desired, load.kept)? {
        none if none.is_empty() => Ok(()),
        why => Err(SnapshotError::RowsRejected { id: manifest.id.clone(), why, is_whole: manifest.is_whole() }.into()),
    }
}

/// Why tables with the schema `live` do not accept the rows of `copy`, of all tables but `kept`.
pub(super) fn find_rejected(live: &Schema, copy: &StagedCopy, kept: &[String]) -> Result<Vec<String>> {
    let mut reader = copy.reader()?;
    let theirs: BTreeMap<String, Vec<String>> = match copy.manifest.engine {
        EngineKind::Sqlite => {
            reader.schema()?.tables.iter().map(|(name, table)| (name.clone(), names(table))).collect()
        }
        EngineKind::MariaDb => read_dumped_tables(&copy.database())?.into_iter().collect(),
    };
    let different = differences(live, &theirs);
    if !different.is_empty() {
        return Ok(different);
    }
    let history = history(live);
    let loaded = live.tables.iter().filter(|(name, _)| !kept.contains(name));
    let (mut broken, mut rejected) = (BTreeMap::new(), Vec::new());
    for (name, table) in loaded {
        // Rows that refer to those of a table that stays are checked in the transaction.
        for key in table.foreign_keys.iter().filter(|key| !kept.contains(&key.table)) {
            let sql = format!("SELECT count(*) AS n FROM {} WHERE {}", quote(name), points_nowhere(key));
            let rows = reader.query(&sql, &[])?.first().and_then(|row| row.int("n")).unwrap_or(0).unsigned_abs();
            // As the engine reports it.
            let from = match copy.manifest.engine {
                EngineKind::Sqlite => quote(name),
                EngineKind::MariaDb => format!("{}.{}", quote(name), quote(&key.column)),
            };
            let what = format!("{from} refers to a `{}` that does not exist", key.table);
            *broken.entry(what).or_insert(0) += rows;
        }
        // The history is too long for this.
        for index in table.indexes.iter().filter(|index| index.unique && !history.contains(name)) {
            if let Some(rows) = count_duplicates(&mut *reader, name, table, index)? {
                let columns = index.columns.iter().map(|column| quote(column)).collect::<Vec<_>>().join(", ");
                let what = format!("{} has the same {columns} as another row", quote(name));
                rejected.push(IntegrityError { what, rows }.to_string());
            }
        }
    }
    let broken: Vec<IntegrityError> =
        broken.into_iter().filter(|(_, rows)| *rows > 0).map(|(what, rows)| IntegrityError { what, rows }).collect();
    rejected.extend(find_new(&broken, &copy.manifest.faults));
    Ok(rejected)
}

fn names(table: &Table) -> Vec<String> {
    table.columns.iter().map(|column| column.name.clone()).collect()
}

/// How the tables and columns of the database differ from those of the copy, `theirs`.
fn differences(live: &Schema, theirs: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let ours: BTreeMap<String, Vec<String>> =
        live.tables.iter().map(|(name, table)| (name.clone(), names(table))).collect();
    let all: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let different = all.into_iter().filter_map(|name| match (ours.get(name), theirs.get(name)) {
        (Some(ours), Some(theirs)) if ours == theirs => None,
        (Some(_), Some(_)) => Some(format!("the columns of `{name}` differ")),
        (Some(_), None) => Some(format!("table `{name}` is not in the snapshot")),
        (None, _) => Some(format!("table `{name}` is only in the snapshot")),
    });
    different.collect()
}

/// The number of rows in `name` whose values in `index` an earlier row has; `None` if there is none.
fn count_duplicates(reader: &mut dyn Reader, name: &str, table: &Table, index: &Index) -> Result<Option<u64>> {
    let columns: Option<Vec<&Column>> = index.columns.iter().map(|column| table.column(column)).collect();
    // An index on an expression.
    let Some(columns) = columns else { return Ok(None) };
    let selected: Vec<String> = index.columns.iter().map(|column| quote(column)).collect();
    let (mut seen, mut rows) = (BTreeSet::new(), 0);
    reader.stream(&format!("SELECT {} FROM {}", selected.join(", "), quote(name)), &[], &mut |row: Row| {
        if row.cells().iter().all(|cell| !cell.is_null()) {
            let cells = row.cells().iter().zip(&columns).map(|(cell, column)| match &column.collation {
                Some(collation) if collation.ends_with("general_ci") => compared(&cell.to_string()),
                _ => cell.to_string(),
            });
            rows += u64::from(!seen.insert(cells.collect::<Vec<String>>()));
        }
        Ok::<(), Error>(())
    })?;
    Ok((rows > 0).then_some(rows))
}
