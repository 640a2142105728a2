//! Whether the rows of a copy fit into the tables of the database, which may have keys and columns that the copy does not
//! have: the doctor may have added them since. Known before the server is stopped.

use std::collections::{BTreeMap, BTreeSet};

use super::work::Load;
use crate::backup::StagedCopy;
use crate::engine::mariadb::compared;
use crate::engine::{EngineKind, IntegrityError, Reader, points_nowhere, quote};
use crate::error::{OperationError, Result, SnapshotError};
use crate::instance::Instance;
use crate::kuma::read::{history, read_fingerprint};
use crate::kuma::write::find_new;
use crate::schema::{Column, Index, Table};
use crate::value::{Row, Value};

/// Fails where `load` would be refused once the server is stopped, as far as that is known while it runs: the configuration
/// is not the one that the difference was shown of any more, or the tables do not accept the rows of the copy. Changes
/// nothing. Returns whether the rows were found to fit.
///
/// # Errors
/// [`OperationError::StaleDifference`]; [`SnapshotError::RowsRejected`].
pub fn check_load(instance: &Instance, load: &Load<'_>) -> Result<bool> {
    let read = |reader: &mut dyn Reader| {
        let schema = reader.schema()?;
        load.shown.map(|_| read_fingerprint(reader, &schema)).transpose()
    };
    let opened = instance.connect().and_then(|connect| {
        let mut reader = connect.reader()?;
        let now = read(&mut *reader)?;
        Ok((connect, reader, now))
    });
    // The MariaDB of a stopped container is not there, and nothing changes what it keeps; a SQLite file that cannot be read is
    // replaced.
    let Ok((_connect, mut reader, now)) = opened else { return Ok(false) };
    if now.as_ref() != load.shown {
        return Err(OperationError::StaleDifference { instance: instance.name.clone() }.into());
    }
    // A complete copy brings its own tables, where they differ.
    if load.kept.is_empty() { Ok(false) } else { check_rows(&mut *reader, load).map(|()| true) }
}

/// Fails where the tables of `live` do not accept the rows of `load`.
///
/// # Errors
/// [`SnapshotError::RowsRejected`].
pub(super) fn check_rows(live: &mut dyn Reader, load: &Load<'_>) -> Result<()> {
    let manifest = &load.desired.manifest;
    match find_rejected(live, load.desired, load.kept)? {
        none if none.is_empty() => Ok(()),
        why => Err(SnapshotError::RowsRejected { id: manifest.id.clone(), why, is_whole: manifest.is_whole() }.into()),
    }
}

/// Why the tables of `live` do not accept the rows of `copy`, of all tables but `kept`. Rows of the history are too many to be
/// looked through, and are checked in the transaction.
pub(super) fn find_rejected(live: &mut dyn Reader, copy: &StagedCopy, kept: &[String]) -> Result<Vec<String>> {
    let differences = live.differences(&copy.database())?;
    if !differences.is_empty() {
        return Ok(differences);
    }
    let schema = live.schema()?;
    let history = history(&schema);
    let mut reader = copy.reader()?;
    let (mut broken, mut rejected) = (BTreeMap::new(), Vec::new());
    let loaded = schema.tables.iter().filter(|(name, _)| !kept.contains(name) && !history.contains(name));
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
        for index in table.indexes.iter().filter(|index| index.unique) {
            let rows = count_duplicates(&mut *reader, name, table, index)?;
            if rows > 0 {
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

/// The number of rows in `name` whose values in `index` an earlier row has.
fn count_duplicates(reader: &mut dyn Reader, name: &str, table: &Table, index: &Index) -> Result<u64> {
    let selected: Vec<String> = index.columns.iter().map(|column| quote(column)).collect();
    let columns: Vec<Option<&Column>> = index.columns.iter().map(|column| table.column(column)).collect();
    let (mut seen, mut rows) = (BTreeSet::new(), 0);
    reader.stream(&format!("SELECT {} FROM {}", selected.join(", "), quote(name)), &[], &mut |row: Row| {
        let cells = row.cells().iter().zip(&columns);
        let key: Option<Vec<CellKey>> = cells.map(|(cell, column)| CellKey::of(cell, *column)).collect();
        rows += u64::from(key.is_some_and(|key| !seen.insert(key)));
        Ok(())
    })?;
    Ok(rows)
}

/// What is equal for cells that a unique key takes for one.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum CellKey {
    Int(i64),
    Text(String),
    Blob(Vec<u8>),
}

impl CellKey {
    /// Of `cell` in `column`. NULLs never are equal, and a number with a fraction may be rounded in the copy.
    fn of(cell: &Value, column: Option<&Column>) -> Option<CellKey> {
        let collation = column.and_then(|column| column.collation.as_deref()).unwrap_or_default();
        match cell {
            Value::Null | Value::Real(_) => None,
            Value::Int(number) => Some(CellKey::Int(*number)),
            Value::Text(text) if collation.starts_with("utf8") && collation.ends_with("_general_ci") => {
                Some(CellKey::Text(compared(text)))
            }
            Value::Text(text) => Some(CellKey::Text(text.clone())),
            Value::Blob(bytes) => Some(CellKey::Blob(bytes.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_equal_as_for_a_unique_key() {
        let column = |collation: &str| Column { collation: Some(collation.into()), ..Column::default() };
        let same = |one: Value, other: Value, collation: &str| {
            let column = column(collation);
            let (one, other) = (CellKey::of(&one, Some(&column)), CellKey::of(&other, Some(&column)));
            one.is_some() && one == other
        };
        assert!(same("Prod".into(), "próD ".into(), "utf8mb4_general_ci"));
        assert!(!same("Prod".into(), "prod".into(), "utf8mb4_bin"));
        assert!(!same("é".into(), "e".into(), "latin1_general_ci"));
        assert!(!same("1".into(), 1.into(), "utf8mb4_general_ci"));
        assert!(same(Value::Blob(vec![1, 2]), Value::Blob(vec![1, 2]), ""));
        assert!(!same(Value::Blob(vec![1, 2]), Value::Blob(vec![1, 3]), ""));
        assert!(!same(Value::Null, Value::Null, "") && !same(1.5.into(), 1.5.into(), ""));
    }
}
