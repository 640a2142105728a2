//! Rows that a plan deletes, written down so that a person can read them.

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};

use crate::backup::Snapshot;
use crate::engine::{Reader, quote};
use crate::error::{Error, Result};
use crate::files;
use crate::plan::{Change, Plan};
use crate::value::Value;

/// Its name in the folder of the held copy.
pub(super) const FILE: &str = "removed.json";

/// Writes every row that `plan` deletes to a private file in the folder `held`; writes none where it deletes nothing.
pub fn write(reader: &mut dyn Reader, plan: &Plan, held: &Path) -> Result<()> {
    let path = &held.join(FILE);
    let deletes = || {
        plan.steps.iter().filter_map(|step| match &step.change {
            Change::Delete { column, value, .. } => Some((&step.table, column, *value)),
            _ => None,
        })
    };
    if deletes().next().is_none() {
        return Ok(());
    }
    files::remove(path)?;
    let mut file = BufWriter::new(files::create_private(path)?);
    let wrong = || Error::file("write", path);
    let mut separator = "[\n";
    for (table, column, value) in deletes() {
        let sql = format!("SELECT * FROM {} WHERE {} = ?", quote(table), quote(column));
        reader.stream(&sql, &[Value::Int(value)], &mut |row| {
            let cells: Map<String, Json> = row.iter().map(|(column, cell)| (column.to_owned(), cell.json())).collect();
            write!(file, "{separator}{}", json!({"table": table, "row": cells})).map_err(wrong())?;
            separator = ",\n";
            Ok(())
        })?;
    }
    let end = if separator == "[\n" { "[]\n" } else { "\n]\n" };
    file.write_all(end.as_bytes()).and_then(|()| file.flush()).map_err(wrong())?;
    file.get_ref().sync_all().map_err(Error::file("flush", path))
}

/// Puts that file, where there is one, beside `snapshot`; returns where it is now.
pub fn keep(held: &Path, snapshot: &Snapshot) -> Result<Option<PathBuf>> {
    let written = held.join(FILE);
    if written.exists() { snapshot.keep_removed(&written) } else { Ok(None) }
}
