//! Reclaims disk space: rewrites a SQLite file or the tables of MariaDB with the same content.

use std::path::Path;

use super::{Observer, Step};
use crate::engine::space::Space;
use crate::engine::{Counts, Depth, EngineKind, Writer};
use crate::error::{DatabaseError, Error, OperationError, Result};
use crate::files;
use crate::instance::Instance;
use crate::kuma::read::{read_counts, read_fingerprint};
use crate::model::state::Fingerprint;

/// Space for the journal and the packed snapshot, in bytes.
const SPARE: u64 = 1 << 20;

/// Fails unless there is space for the staged copy and twice for the rewritten database: SQLite writes it into a
/// temporary file first, and from there into the WAL; MariaDB writes a table beside the old one.
///
/// # Errors
/// [`FileError::NoSpace`](crate::error::FileError::NoSpace). The disk of an external MariaDB cannot be checked.
pub fn check_room(instance: &Instance, space: &Space) -> Result<()> {
    let used = space.total - space.free;
    let largest = space.tables.values().map(|table| table.rows + table.indexes).max().unwrap_or(0);
    let anew = match instance.engine() {
        EngineKind::Sqlite => 2 * used,
        EngineKind::MariaDb => largest,
    };
    match &instance.folder {
        Some(folder) => files::require_space(folder, space.total + anew + SPARE),
        None => Ok(()),
    }
}

/// Runs `statements` one by one. SQLite puts its temporary files into the folder `scratch`: its default place may have
/// no space, and others may be able to read it.
///
/// SQLite does each as one commit: interrupted, the file is the old one. MariaDB makes a copy of a table and renames
/// it.
pub(super) fn run(
    writer: &mut dyn Writer,
    statements: &[String],
    scratch: &Path,
    observer: &mut dyn Observer,
) -> Result<()> {
    if writer.kind() == EngineKind::MariaDb {
        return run_each(writer, statements, observer);
    }
    in_scratch(writer, scratch, |writer| run_each(writer, statements, observer))
}

/// Runs `work` with the temporary files of SQLite in the folder `scratch`.
pub(super) fn in_scratch<W: Writer + ?Sized, T>(
    writer: &mut W,
    scratch: &Path,
    work: impl FnOnce(&mut W) -> Result<T>,
) -> Result<T> {
    let scratch = scratch.display().to_string().replace('\'', "''");
    writer.query(&format!("PRAGMA temp_store_directory = '{scratch}'"), &[])?;
    let done = work(writer);
    // The pragma applies to every database of the process.
    writer.query("PRAGMA temp_store_directory = ''", &[])?;
    done
}

fn run_each(writer: &mut dyn Writer, statements: &[String], observer: &mut dyn Observer) -> Result<()> {
    for statement in statements {
        observer.step(&Step::Compact { what: statement.clone() })?;
        // `OPTIMIZE TABLE` returns rows, and reports an error in one of them.
        for row in writer.query(statement, &[])? {
            if row.text("Msg_type").is_some_and(|kind| kind.eq_ignore_ascii_case("error")) {
                let message = row.text("Msg_text").unwrap_or_default().to_owned();
                return Err(Error::Database(DatabaseError::Sql { database: format!("`{statement}`"), message }));
            }
        }
    }
    Ok(())
}

/// Fails unless only the size has changed: the configuration and the rows of each table are those of `then` (where no server
/// is running that changes them), and SQLite finds no damage in its file.
pub(super) fn check(
    writer: &mut dyn Writer,
    then: Option<(&Fingerprint, &Counts)>,
    observer: &mut dyn Observer,
) -> Result<()> {
    observer.step(&Step::Check)?;
    let mut wrong = Vec::new();
    if let Some((before, counts)) = then {
        let schema = writer.schema()?;
        if read_fingerprint(writer, &schema)? != *before {
            wrong.push("rows changed that no statement should change".to_owned());
        }
        if read_counts(writer, &schema)? != *counts {
            wrong.push("the number of rows in a table changed".to_owned());
        }
    }
    if writer.kind() == EngineKind::Sqlite {
        wrong.extend(writer.check(Depth::Structure)?.iter().map(ToString::to_string));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Error::Operation(OperationError::ChecksFailed(wrong))) }
}
