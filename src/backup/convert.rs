//! Converts a dump of MariaDB to a SQLite database, to read it or to load it into an instance on SQLite; and a SQLite database
//! to a dump.

use std::path::{Path, PathBuf};

use super::manifest::MARIADB;
use super::stage::{StagedCopy, measure, member};
use crate::engine::mariadb::{MariaDb, read_dumped_tables, stream_dumped_rows};
use crate::engine::sqlite::SqliteFile;
use crate::engine::{Connect as _, Depth, EngineKind, Reader, Writer, quote};
use crate::error::{Error, Hint, Result, SnapshotError};
use crate::files;
use crate::kuma::init::write_schema;
use crate::kuma::read::{read_counts, read_database};
use crate::schema::Recording;
use crate::value::Value;

/// The copy as a SQLite database, where it is a dump.
const CONVERTED: &str = "converted.db";

/// Tables with the history of the schema, which differs between the engines.
const OWN: &[&str] = &["knex_migrations", "knex_migrations_lock"];

impl StagedCopy {
    /// A reader of the copy.
    pub fn reader(&self) -> Result<Box<dyn Reader>> {
        SqliteFile::new(self.sqlite()?).reader()
    }

    /// The copy as a SQLite database: itself, or one built from the dump beside it.
    pub fn sqlite(&self) -> Result<PathBuf> {
        if self.manifest.engine == EngineKind::Sqlite {
            return Ok(self.database());
        }
        let path = self.folder.join(CONVERTED);
        if !files::exists(&path) {
            files::require_space(&self.folder, 2 * self.manifest.size())?;
            let temp = self.folder.join("converting.db");
            files::remove(&temp)?;
            self.convert(&temp)?;
            files::rename(&temp, &path)?;
        }
        Ok(path)
    }

    /// The recorded schema on SQLite, where it has all of `tables`.
    fn recording_with(&self, tables: &[(String, Vec<String>)]) -> Option<&'static Recording> {
        let recording = self.manifest.recording(EngineKind::Sqlite)?;
        let schema = recording.schema();
        let has = |(table, columns): &(String, Vec<String>)| columns.iter().all(|column| schema.has(table, column));
        tables.iter().all(has).then_some(recording)
    }

    /// The same copy for an instance on `engine`.
    ///
    /// # Errors
    /// [`SnapshotError::UnknownTables`] where it cannot be converted.
    pub fn for_engine(mut self, engine: EngineKind) -> Result<StagedCopy> {
        let id = &self.manifest.id;
        match (self.manifest.engine, engine) {
            (from, to) if from == to => return Ok(self),
            (EngineKind::MariaDb, _) if self.recording_with(&read_dumped_tables(&self.database())?).is_some() => {}
            (EngineKind::MariaDb, _) => {
                return Err(Error::Snapshot(SnapshotError::OtherTables {
                    id: id.clone(),
                    release: self.manifest.release.to_string(),
                }));
            }
            (EngineKind::Sqlite, _) => {
                return Err(Error::Snapshot(SnapshotError::UnknownTables {
                    id: id.clone(),
                    release: self.manifest.release.to_string(),
                    engine: EngineKind::MariaDb.to_string(),
                }));
            }
        }
        let converted = self.sqlite()?;
        let dump = self.manifest.database();
        self.manifest.members.retain(|member| member.name != dump);
        self.manifest.engine = engine;
        files::rename(&converted, &self.database())?;
        let file = SqliteFile::new(self.database());
        let mut reader = file.read_only()?;
        let schema = reader.schema()?;
        self.manifest.counts = read_counts(&mut reader, &schema)?;
        self.manifest.faults = reader.check(Depth::Quick)?;
        self.manifest.pages = Some(reader.pages()?);
        let member = member(&self.folder, self.manifest.database())?;
        self.manifest.members.insert(0, member);
        Ok(self)
    }

    /// The same copy of a SQLite database as a dump for the MariaDB `database` of the same release, with the table
    /// definitions of that database. Also returns the values that became less exact.
    ///
    /// # Errors
    /// [`SnapshotError::UnknownTables`] where MariaDB cannot store all of
    /// it, or the releases differ.
    pub fn for_mariadb(mut self, database: &mut MariaDb) -> Result<(StagedCopy, Vec<String>)> {
        let there = read_database(database, "the database")?;
        if there.migrations.iter().ne(&self.manifest.migrations) {
            return Err(Error::Snapshot(SnapshotError::OtherRelease {
                id: self.manifest.id.clone(),
                release: self.manifest.release.to_string(),
                here: there.release.to_string(),
                hint: Some(Hint::advice(
                    "to convert a snapshot, first start the image of its release on the new database",
                )),
            }));
        }
        files::require_space(&self.folder, 2 * self.manifest.size())?;
        let mut source = SqliteFile::new(self.database()).read_only()?;
        let dump = self.folder.join(MARIADB);
        let transferred = database.transfer(&mut source, &dump, OWN, &mut |_, _| {})?;
        drop(source);
        // Queries about the copy are answered by the original database.
        files::rename(&self.database(), &self.folder.join(CONVERTED))?;
        let was = self.manifest.database();
        self.manifest.members.retain(|member| member.name != was);
        (self.manifest.engine, self.manifest.pages) = (EngineKind::MariaDb, None);
        self.manifest.counts = transferred.counts;
        self.manifest.members.insert(0, member(&self.folder, self.manifest.database())?);
        Ok((self, transferred.rounded))
    }

    /// The same copy with the SQLite database at `path`, which is moved into it, in place of its own.
    pub fn with_database(mut self, path: &Path) -> Result<StagedCopy> {
        let was = self.manifest.database();
        self.manifest.members.retain(|member| member.name != was);
        files::remove(&self.database())?;
        files::remove(&self.folder.join(CONVERTED))?;
        self.manifest.engine = EngineKind::Sqlite;
        files::rename(path, &self.database())?;
        let file = SqliteFile::new(self.database());
        let mut reader = file.read_only()?;
        let (database, counts) = measure(&mut reader, "the snapshot")?;
        (self.manifest.release, self.manifest.counts) = (database.release.to_string(), counts);
        self.manifest.migrations = database.migrations.into_iter().collect();
        self.manifest.faults = reader.check(Depth::Quick)?;
        self.manifest.pages = Some(reader.pages()?);
        let member = member(&self.folder, self.manifest.database())?;
        self.manifest.members.insert(0, member);
        Ok(self)
    }

    fn convert(&self, to: &Path) -> Result<()> {
        let mut writer = SqliteFile::new(to).create()?;
        // The rows come in the order of the table names.
        writer.execute("PRAGMA foreign_keys = OFF", &[])?;
        let tables = read_dumped_tables(&self.database())?;
        let recording = self.recording_with(&tables);
        match recording {
            Some(recording) => {
                write_schema(&mut writer, recording)?;
                writer.begin()?;
                for (table, _) in &tables {
                    writer.execute(&format!("DELETE FROM {}", quote(table)), &[])?;
                }
            }
            // An unknown schema, or one between two releases, can be read anyway.
            None => {
                writer.begin()?;
                for (table, columns) in &tables {
                    let columns: Vec<String> = columns.iter().map(|column| quote(column)).collect();
                    writer.execute(&format!("CREATE TABLE {} ({})", quote(table), columns.join(", ")), &[])?;
                }
            }
        }
        stream_dumped_rows(&self.database(), &mut |dumped| {
            let columns: Vec<&str> = dumped.columns.iter().map(String::as_str).collect();
            writer.insert(dumped.table, &columns, &mut dumped.rows.into_iter()).map(drop)
        })?;
        if let (Some(recording), Some(was)) = (recording, self.manifest.recording(EngineKind::MariaDb)) {
            write_own_settings(&mut writer, recording, was)?;
        }
        writer.commit()?;
        drop(writer);
        files::flush(to)
    }
}

/// Adds the settings that only a SQLite database has: without `database_version` and `databasePatchedFiles` the server
/// treats it as older than 1.0, and crashes while it patches it (seen with 2.5.3).
fn write_own_settings(writer: &mut dyn Writer, recording: &Recording, was: &Recording) -> Result<()> {
    let own = |(key, _): &(&str, &str)| was.settings().all(|(other, _)| other != *key);
    for (key, value) in recording.settings().filter(own) {
        let cells = [key, value, key].map(|text| Value::Text(text.into()));
        let sql =
            "INSERT INTO setting (`key`, `value`) SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM setting WHERE `key` = ?)";
        writer.execute(sql, &cells)?;
    }
    Ok(())
}
