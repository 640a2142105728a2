//! Rows that a plan deletes, written to a readable file.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::backup::Snapshot;
use crate::engine::{Reader, quote};
use crate::error::Result;
use crate::files::{self, JsonList};
use crate::plan::{Change, Plan};
use crate::value::Value;

/// Its name in the folder of the staged copy.
pub(super) const FILE: &str = "removed.json";

/// Writes every row that `plan` deletes to a private file in the folder `staged`; writes none where it deletes nothing.
pub fn write(reader: &mut dyn Reader, plan: &Plan, staged: &Path) -> Result<()> {
    let path = staged.join(FILE);
    files::remove(&path)?;
    let mut list = JsonList::new(&path);
    for step in &plan.steps {
        let Change::Delete { column, value, .. } = &step.change else { continue };
        let sql = format!("SELECT * FROM {} WHERE {} = ?", quote(&step.table), quote(column));
        reader.stream(&sql, &[Value::Int(*value)], &mut |row| {
            list.add(&json!({"table": step.table, "row": row.json()}))
        })?;
    }
    list.finish().map(drop)
}

/// Moves that file, where there is one, beside `snapshot`; returns its path.
pub fn keep(staged: &Path, snapshot: &Snapshot) -> Result<Option<PathBuf>> {
    let written = staged.join(FILE);
    // The folder may belong to another user, and a link there may lead to a file that this user must not read.
    if files::look(&written)?.is_some_and(|found| found.is_regular()) {
        snapshot.keep_removed(&written)
    } else {
        Ok(None)
    }
}
