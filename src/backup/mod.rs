//! Snapshots: taken, proven, kept, and the only way to a connection that can write.

pub mod archive;
mod convert;
mod drill;
pub mod freshness;
pub mod hold;
pub mod manifest;
pub mod moment;
mod part;
pub mod raw;
pub mod retention;
pub mod seal;
pub mod store;
pub mod undo;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::engine::sqlite::SqliteFile;
use crate::engine::{Connect, Depth, Fault, WriteKey, Writer};
use crate::error::{Error, Result};
use crate::files;

pub use archive::Packed;
pub use drill::{Drill, Drilled};
pub use hold::{Extent, Held};
use hold::{Label, Source};
pub use manifest::{Changed, Manifest};
pub use seal::{Keys, Seal};

pub use store::{
    Credentials, Patience, Snapshot, Store, Stores, check_address, check_variable, no_snapshots, unpack_first,
};

/// Unpacks the snapshot that is meant by `wanted`, see [`Stores::find`], into the new folder `folder`: the first copy of it
/// that is whole; `warn` is told of each that is not. Or holds a database file of the server's own there, such as 1.x left
/// behind before it patched its database: `kuma.db.bak0`.
pub fn hold(stores: &Stores, wanted: &str, origin: &str, folder: &Path, warn: &mut dyn FnMut(&Error)) -> Result<Held> {
    let path = Path::new(wanted);
    if !is_database(path) {
        return unpack_first(&stores.find(wanted, origin, warn)?, folder, warn);
    }
    let copy = SqliteFile::new(folder.with_extension("found"));
    files::copy_exact(path, copy.path())?;
    // Their WAL, which is part of them, stands beside them under the name that 1.x gave it.
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let names = [format!("{name}-wal"), name.replacen("kuma.db.", "kuma.db-wal.", 1)];
    if let Some(wal) = names.iter().map(|wal| path.with_file_name(wal)).find(|wal| *wal != path && wal.exists()) {
        files::copy_exact(&wal, &copy.part("-wal"))?;
    }
    let label = Label {
        instance: name,
        origin: origin.into(),
        reason: "found".into(),
        config: None,
        undo: false,
        undoes: None,
    };
    Held::take(&Source::Still(&copy), folder, &label, &Extent::default(), &mut |_, _| {})
}

/// Whether `path` is a file that holds a SQLite database.
pub fn is_database(path: &Path) -> bool {
    let mut head = [0; 16];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head == *b"SQLite format 3\0"
}

/// A connection that may write, because what it may destroy is held in a verified copy.
///
/// There is no other way to a [`Writer`] on an existing instance: a [`WriteKey`] is made here and for the new databases of
/// `init`, nowhere else.
pub struct Guarded {
    writer: Box<dyn Writer>,
    before: Vec<Fault>,
}

impl Guarded {
    /// Opens the database of `connect` for writing under the protection of `held`, once that was read back from the disk.
    ///
    /// # Errors
    /// [`Error::Snapshot`] when it is not what was taken.
    pub fn open(held: &Held, connect: &dyn Connect) -> Result<Guarded> {
        if !held.read_back {
            Held::open(&held.folder)?;
        }
        let writer = connect.writer(&WriteKey::new())?;
        Ok(Guarded { writer, before: held.manifest.faults.clone() })
    }

    /// Opens a database to remove the tables that a finished load has set aside: nothing of what the server uses changes.
    pub(crate) fn clear(connect: &dyn Connect) -> Result<Guarded> {
        Ok(Guarded { writer: connect.writer(&WriteKey::new())?, before: Vec::new() })
    }

    /// Opens a database for a transaction that will be rolled back: a copy of ours, or a MariaDB, whose transactions
    /// touch nobody until they commit.
    pub(crate) fn rehearse(connect: &dyn Connect) -> Result<Guarded> {
        let mut writer = connect.writer(&WriteKey::new())?;
        let before = writer.check(Depth::Quick)?;
        Ok(Guarded { writer, before })
    }

    /// The connection.
    pub fn writer(&mut self) -> &mut dyn Writer {
        &mut *self.writer
    }

    /// Faults that the database had before.
    pub fn before(&self) -> &[Fault] {
        &self.before
    }
}
