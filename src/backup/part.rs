//! The configuration-only part of a full copy.

use std::path::Path;

use super::manifest::MARIADB;
use super::stage::{CopyScope, CopySource, SnapshotLabel, StagedCopy, member};
use crate::engine::EngineKind;
use crate::engine::mariadb::{count_dump, filter_dump};
use crate::engine::sqlite::SqliteFile;
use crate::error::{Error, Result, SnapshotError};
use crate::files;
use crate::kuma::read::history_of;

impl StagedCopy {
    /// Makes a verified copy without the rows of the history in the new folder `folder`.
    ///
    /// # Errors
    /// [`FileError::NoSpace`](crate::error::FileError::NoSpace), [`FileError::Io`](crate::error::FileError::Io); [`SnapshotError::Differs`] where it differs from the original.
    pub fn without_history(&self, folder: &Path) -> Result<StagedCopy> {
        let part = match self.manifest.engine {
            EngineKind::Sqlite => self.take_part(folder)?,
            EngineKind::MariaDb => self.filter_part(folder)?,
        };
        for (table, rows) in &self.manifest.counts {
            let expected = if part.manifest.without.contains(table) { 0 } else { *rows };
            if part.manifest.rows(table) != expected {
                return Err(Error::Snapshot(SnapshotError::Differs { what: format!("rows of `{table}`") }));
            }
        }
        Ok(part)
    }

    fn take_part(&self, folder: &Path) -> Result<StagedCopy> {
        let whole = &self.manifest;
        let config = self.folder.join("db-config.json");
        let label = SnapshotLabel {
            instance: whole.instance.clone(),
            origin: whole.origin.clone(),
            reason: whole.reason.clone(),
            config: Some(config),
            undo: whole.undo,
            undoes: None,
        };
        let scope = CopyScope { config_only: true, ..CopyScope::default() };
        let file = SqliteFile::new(self.database());
        let mut part = StagedCopy::take(CopySource::Live(&file), folder, &label, &scope, &mut |_, _| {})?;
        (part.manifest.id, part.manifest.created) = (whole.id.clone(), whole.created);
        part.manifest.changed = whole.changed;
        part.manifest.undoes.clone_from(&whole.undoes);
        part.manifest.redoes.clone_from(&whole.redoes);
        part.manifest.undoes_taken = whole.undoes_taken;
        part.manifest.write(folder)?;
        Ok(part)
    }

    fn filter_part(&self, folder: &Path) -> Result<StagedCopy> {
        files::remove_folder(folder)?;
        files::make_folder(folder)?;
        let mut manifest = self.manifest.clone();
        manifest.without = history_of(manifest.counts.keys());
        let dump = folder.join(MARIADB);
        manifest.counts = filter_dump(&self.database(), &dump, &manifest.without)?;
        files::flush(&dump)?;
        if count_dump(&dump)? != manifest.counts {
            return Err(Error::Snapshot(SnapshotError::Differs { what: "rows per table".into() }));
        }
        manifest.members = vec![member(folder, MARIADB)?];
        let config = self.folder.join("db-config.json");
        if files::exists(&config) {
            files::copy_exact(&config, &folder.join("db-config.json"))?;
            manifest.members.push(member(folder, "db-config.json")?);
        }
        manifest.write(folder)?;
        Ok(StagedCopy { folder: folder.to_owned(), manifest, read_back: true })
    }
}
