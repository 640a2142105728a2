//! Snapshots: taken, proven, kept, and the only way to a connection that can write.

pub mod archive;
pub mod hold;
pub mod manifest;
pub mod raw;
pub mod retention;
pub mod seal;
pub mod store;

use crate::engine::{Connect, Depth, Fault, WriteKey, Writer};
use crate::error::Result;

pub use archive::Packed;
pub use hold::Held;
pub use manifest::Manifest;
pub use seal::{Keys, Seal};
pub use store::{Credentials, Snapshot, Store, Stores};

/// A connection that may write, because what it may destroy is held in a verified copy.
///
/// There is no other way to a [`Writer`] on an existing instance: a [`WriteKey`] is made here and for the new databases of
/// `init`, nowhere else.
pub struct Guarded {
    writer: Box<dyn Writer>,
    before: Vec<Fault>,
}

impl Guarded {
    /// Opens the database of `connect` for writing under the protection of `held`.
    pub fn open(held: &Held, connect: &dyn Connect) -> Result<Guarded> {
        let writer = connect.writer(&WriteKey::new())?;
        Ok(Guarded { writer, before: held.manifest.faults.clone() })
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
