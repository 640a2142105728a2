//! Where a conversion moves the database.

use crate::engine::EngineKind;
use crate::engine::mariadb::Address;
use crate::instance::config::{self, DbConfig};
use crate::kuma::transfer::convert::OnConflict;
use crate::schema::Release;

/// Where the database goes.
#[allow(clippy::large_enum_variant, reason = "there is one of it")]
#[derive(Clone, Debug)]
pub enum Destination {
    /// A `kuma.db` in the data folder.
    Sqlite,
    /// The MariaDB inside the container.
    Embedded,
    /// This database, which is empty.
    External(Address),
}

impl Destination {
    /// The content of `db-config.json`.
    pub fn config(&self) -> DbConfig {
        match self {
            Destination::Sqlite => DbConfig::Sqlite,
            Destination::Embedded => DbConfig::Embedded,
            Destination::External(address) => DbConfig::External(config::External::of(address)),
        }
    }

    /// The engine.
    pub fn engine(&self) -> EngineKind {
        match self {
            Destination::Sqlite => EngineKind::Sqlite,
            Destination::Embedded | Destination::External(_) => EngineKind::MariaDb,
        }
    }

    /// The engine in words, as [`Instance::engine_words`].
    pub fn words(&self) -> &'static str {
        match self {
            Destination::Sqlite => "SQLite",
            Destination::Embedded => "MariaDB (embedded)",
            Destination::External(_) => "MariaDB (external)",
        }
    }
}

/// What a conversion makes of a database.
#[derive(Clone, Debug)]
pub struct ConversionTarget {
    /// Where it goes.
    pub to: Destination,
    /// What happens to values that the new database cannot store.
    pub on_conflict: OnConflict,
    /// The release to upgrade it to.
    pub release: Option<Release>,
}
