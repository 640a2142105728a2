//! Snapshots: taking, verifying and storing them, and the only way to a connection that can write.

pub(crate) mod archive;
mod convert;
pub(crate) mod datetime;
pub(crate) mod encryption;
pub mod freshness;
pub(crate) mod manifest;
mod part;
pub(crate) mod raw;
mod restore_test;
pub mod retention;
pub mod stage;
pub(crate) mod store;
mod stream;
pub mod undo;

use std::path::Path;

use crate::engine::sqlite::{self, SqliteFile};
use crate::engine::{Connect, Depth, IntegrityError, WriteKey, Writer};
use crate::error::{Error, Result};
use crate::files;

pub use archive::Packed;
pub use encryption::{Encryption, Keys, new_identity};
pub use manifest::{Changed, Manifest, Undone};
pub use restore_test::{RestoreTest, RestoreTestResult};
pub use stage::{CopyScope, StagedCopy};
use stage::{CopySource, SnapshotLabel};
pub use stream::SnapshotStream;

pub use store::{
    Credentials, NameConflict, Snapshot, Store, Stores, Timeouts, check_address, check_variable, no_snapshots,
    unpack_first,
};

/// Unpacks the snapshot selected by `desired`, see [`Stores::find`], into the new folder `folder`: the first intact copy of it;
/// `warn` is called for each other. Or copies a database file there that 1.x left behind before it patched its database:
/// `kuma.db.bak0`.
pub fn stage_snapshot(
    stores: &Stores,
    desired: &str,
    origin: &str,
    folder: &Path,
    warn: &mut dyn FnMut(&Error),
) -> Result<StagedCopy> {
    let path = Path::new(desired);
    if !is_database(path) {
        return unpack_first(&stores.find(desired, origin, warn)?, folder, warn);
    }
    let copy = SqliteFile::new(folder.with_extension("found"));
    files::copy_regular(path, copy.path())?;
    // Their WAL or journal, which is part of them, is beside them, a WAL also under the name that 1.x gave it.
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let old = name.replacen("kuma.db.", "kuma.db-wal.", 1);
    for (suffix, names) in [("-journal", vec![format!("{name}-journal")]), ("-wal", vec![format!("{name}-wal"), old])] {
        if let Some(part) =
            names.iter().map(|name| path.with_file_name(name)).find(|part| *part != path && files::exists(part))
        {
            files::copy_regular(&part, &copy.part(suffix))?;
        }
    }
    let label = SnapshotLabel {
        instance: name,
        origin: origin.into(),
        reason: "found".into(),
        config: None,
        undo: false,
        undoes: None,
    };
    StagedCopy::take(CopySource::Still(&copy, None), folder, &label, &CopyScope::default(), &mut |_, _| {})
}

/// Whether `path` is a SQLite database file.
pub fn is_database(path: &Path) -> bool {
    sqlite::is_database(&files::real(path))
}

/// A writable connection, protected by a verified copy.
///
/// There is no other way to a [`Writer`] on an existing instance: a [`WriteKey`] is created only here and for the new databases
/// of `init`.
pub struct Guarded {
    writer: Box<dyn Writer>,
    before: Vec<IntegrityError>,
}

impl Guarded {
    /// Opens the database of `connect` for writing, protected by `staged`, which was read back from the disk.
    ///
    /// # Errors
    /// [`SnapshotError::Changed`](crate::error::SnapshotError::Changed) when the copy has changed.
    pub fn open(staged: &StagedCopy, connect: &dyn Connect) -> Result<Guarded> {
        if !staged.read_back {
            StagedCopy::open_until(&staged.folder, &connect.cancel())?;
        }
        let writer = connect.writer(&WriteKey::new())?;
        Ok(Guarded { writer, before: staged.manifest.faults.clone() })
    }

    /// Opens a database to drop the tables that a finished load has set aside: nothing that the server uses changes.
    pub(crate) fn clear(connect: &dyn Connect) -> Result<Guarded> {
        Ok(Guarded { writer: connect.writer(&WriteKey::new())?, before: Vec::new() })
    }

    /// Opens a database for a transaction that will be rolled back: a copy made by kumadb, or a MariaDB, whose transactions
    /// have no effect until they commit.
    pub(crate) fn dry_run(connect: &dyn Connect) -> Result<Guarded> {
        let mut writer = connect.writer(&WriteKey::new())?;
        let before = writer.check(Depth::Quick)?;
        Ok(Guarded { writer, before })
    }

    /// The connection.
    pub fn writer(&mut self) -> &mut dyn Writer {
        &mut *self.writer
    }

    /// Faults that the database had before.
    pub fn before(&self) -> &[IntegrityError] {
        &self.before
    }
}
