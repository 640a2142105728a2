//! The two databases of a conversion, as the journal notes them.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::destination::Destination;
use crate::error::Result;
use crate::instance::config;
use crate::instance::{DbLocation, Instance};

/// A kind of database, by its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DatabaseFiles {
    /// `kuma.db` and its parts.
    Sqlite,
    /// The folder `mariadb`.
    Embedded,
    /// None in the data folder.
    External,
}

impl DatabaseFiles {
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            DatabaseFiles::Sqlite => &["kuma.db-wal", "kuma.db-shm", "kuma.db-journal", "kuma.db"],
            DatabaseFiles::Embedded => &["mariadb"],
            DatabaseFiles::External => &[],
        }
    }
}

/// From which database to which; the text of `db-config.json` shows which of them is used now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EngineSwitch {
    pub(super) from: DatabaseFiles,
    pub(super) to: DatabaseFiles,
    /// The hash of the new `db-config.json`.
    after: String,
    /// Whether there was one before.
    pub(super) had_config: bool,
    /// Whether the new database may be in the data folder.
    #[serde(default)]
    pub(super) placed: bool,
}

fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

impl EngineSwitch {
    pub(super) fn new(instance: &Instance, config: &str, to: &Destination) -> Result<EngineSwitch> {
        let had_config = instance.config_path().is_some();
        let from = match instance.place {
            DbLocation::Sqlite(_) => DatabaseFiles::Sqlite,
            DbLocation::Embedded(_) => DatabaseFiles::Embedded,
            DbLocation::External(_) => DatabaseFiles::External,
        };
        let to = match to {
            Destination::Sqlite => DatabaseFiles::Sqlite,
            Destination::Embedded => DatabaseFiles::Embedded,
            Destination::External(_) => DatabaseFiles::External,
        };
        Ok(EngineSwitch { from, to, after: hash(config), had_config, placed: false })
    }

    /// Whether the server on `folder` opens the new database.
    pub(super) fn is_done(&self, folder: &Path) -> Result<bool> {
        Ok(config::read_file(folder)?.is_some_and(|text| hash(&text) == self.after))
    }
}
