//! The step from the old database to the new one, and back: `db-config.json` decides, and the old files are renamed.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::engine_switch::DatabaseFiles;
use super::installed;
use crate::engine::mariadb::UNFINISHED;
use crate::engine::{Connect as _, EngineKind};
use crate::error::{ConvertError, Error, Result};
use crate::files;
use crate::instance::DbLocation;
use crate::instance::config;
use crate::kuma::create;
use crate::kuma::transfer::publish;
use crate::operation::journal::{JournalRecord, Phase};
use crate::operation::run::Run;
use crate::operation::{Observer, Step};
use crate::schema;

/// The name of a file or folder that is set aside by an operation that began at `started`: nothing opens it by this name.
fn aside(name: &str, started: chrono::DateTime<chrono::Utc>) -> String {
    format!("{name}.before-convert-{}", started.format("%Y%m%dT%H%M%SZ"))
}

impl JournalRecord {
    /// Whether an interrupted conversion that was rolled back has left tables in a database whose address is not known any more.
    pub fn leaves_tables(&self, was_switched: bool) -> bool {
        let is_external = self.converts.as_ref().is_some_and(|switch| switch.to == DatabaseFiles::External);
        is_external && !was_switched && !matches!(self.phase, Phase::Noted | Phase::Stopping)
    }
}

impl Run<'_> {
    /// Moves the new database to its place, makes it the one of the server, and sets the old one aside.
    pub(super) fn switch(&mut self, config: &str, observer: &mut dyn Observer) -> Result<()> {
        let (Some(switch), Some(folder)) = (self.journal.record.converts.clone(), self.instance.folder.clone()) else {
            return Ok(());
        };
        self.place(switch.to, &folder)?;
        observer.step(&Step::Commit)?;
        write_config(&folder, config, switch.to == DatabaseFiles::External)?;
        self.committed();
        self.wrote = true;
        observer.step(&Step::Committed)?;
        self.set_aside(observer)
    }

    /// Moves the files of the new database, which no server opens yet, into the data folder.
    fn place(&mut self, to: DatabaseFiles, folder: &Path) -> Result<()> {
        let (workshop, name) = match to {
            DatabaseFiles::Sqlite => (self.workshop(), "kuma.db"),
            DatabaseFiles::Embedded => (self.workshop().join("data"), "mariadb"),
            DatabaseFiles::External => return Ok(()),
        };
        let (built, path) = (workshop.join(name), folder.join(name));
        if files::is_there(&path)? {
            return Err(Error::Convert(ConvertError::Exists { path }));
        }
        match to {
            DatabaseFiles::Embedded => let_pass(folder)?,
            _ => {
                let (uid, gid) = files::about_target(folder)?.owner();
                files::set_owner(&built, uid, gid)?;
            }
        }
        // From here on, a rollback removes what has this name.
        if let Some(switch) = &mut self.journal.record.converts {
            switch.placed = true;
        }
        self.journal.advance(Phase::Writing)?;
        files::rename_new(&built, &path)
    }

    /// Renames the files of the old database. It can be repeated.
    pub(in crate::operation) fn set_aside(&mut self, observer: &mut dyn Observer) -> Result<()> {
        for (from, to) in self.set_aside_paths() {
            if files::exists(&from) {
                observer.step(&Step::SetAside { name: file_name(&from), to: file_name(&to) })?;
                files::rename_new(&from, &to)?;
            }
        }
        Ok(())
    }

    /// Each file of the old database, and where it is set aside.
    fn set_aside_paths(&self) -> Vec<(PathBuf, PathBuf)> {
        let record = &self.journal.record;
        let (Some(switch), Some(folder)) = (&record.converts, &self.instance.folder) else { return Vec::new() };
        let names = switch.from.names().iter();
        names.map(|name| (folder.join(name), folder.join(aside(name, record.started)))).collect()
    }

    /// Whether the interrupted operation is a conversion after which the server opens the new database.
    pub(in crate::operation) fn is_switched(&self) -> Result<bool> {
        match (&self.journal.record.converts, &self.instance.folder) {
            (Some(switch), Some(folder)) => switch.is_done(folder),
            _ => Ok(false),
        }
    }

    /// Advances the journal where the switch was made, and only its note is missing; completes it then.
    pub(in crate::operation) fn notice_switch(&mut self, observer: &mut dyn Observer) -> Result<()> {
        if self.journal.record.converts.is_none() {
            return Ok(());
        }
        if self.journal.record.phase == Phase::Writing && self.is_switched()? {
            self.journal.advance(Phase::Committed)?;
        }
        match self.journal.record.phase {
            Phase::Committed => self.set_aside(observer),
            _ => Ok(()),
        }
    }

    /// Makes the old database the one of the server again, and removes the new one; returns whether the switch had been made.
    pub(in crate::operation) fn switch_back(&mut self, observer: &mut dyn Observer) -> Result<bool> {
        let (Some(switch), Some(folder)) = (self.journal.record.converts.clone(), self.instance.folder.clone()) else {
            return Ok(false);
        };
        let was_done = switch.is_done(&folder)?;
        if was_done && self.instance.is_running()? {
            self.stop(observer)?;
        }
        // A disk that is too full for the note must not prevent the rollback.
        let _ = self.journal.advance(Phase::RollingBack);
        observer.step(&Step::PutBack)?;
        self.remove_helpers()?;
        for (from, to) in self.set_aside_paths().iter().rev() {
            // Where the old file has its name, what has the other one is not of this operation.
            if files::exists(to) && !files::exists(from) {
                files::rename_new(to, from)?;
            }
        }
        if was_done {
            let path = folder.join(config::FILE);
            match files::read_below(&self.staged_folder(), config::FILE, files::SMALL)? {
                Some(text) if switch.had_config => write_config(&folder, &text, false)?,
                _ => files::remove(&path)?,
            }
        }
        // The configuration is the old one, so what the new database has of files is of no use any more.
        if switch.placed && switch.to != switch.from {
            switch.to.names().iter().try_for_each(|name| files::remove_folder(&folder.join(name)))?;
        }
        self.clear_target(was_done)?;
        if was_done {
            self.journal.advance(Phase::PutBack)?;
        }
        Ok(was_done)
    }

    /// Ends the MariaDB that may still run in the folder of the new database.
    fn remove_helpers(&self) -> Result<()> {
        match &self.instance.container {
            Some(server) => server.remove_installed(&installed(&self.workshop())),
            None => Ok(()),
        }
    }

    /// Empties the database on an external MariaDB that this operation has filled, which its mark shows.
    fn clear_target(&mut self, was_done: bool) -> Result<()> {
        let of_config = match &self.instance.place {
            DbLocation::External(address) if was_done => Some(address.clone()),
            _ => None,
        };
        let Some(address) = self.target.clone().or(of_config) else { return Ok(()) };
        let cleared = address.reader().and_then(|mut reader| match reader.schema()?.table(UNFINISHED) {
            Some(_) => {
                let recorded = schema::recorded(EngineKind::MariaDb).iter();
                let mut tables: Vec<String> =
                    recorded.flat_map(|recording| recording.schema().tables.keys().cloned()).collect();
                tables.sort();
                tables.dedup();
                create::clear(&address, &tables)
            }
            None => Ok(()),
        });
        if let Err(error) = cleared {
            // The next conversion to this database empties it.
            self.outcome.warnings.push(format!("cannot empty {address}: {error}"));
        }
        Ok(())
    }

    /// Removes the mark of the new database: the server is verified up with it.
    pub(in crate::operation) fn publish(&self) -> Result<()> {
        match (&self.journal.record.converts, &self.instance.place) {
            (Some(_), DbLocation::External(address)) => publish(address),
            _ => Ok(()),
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Replaces `db-config.json`. An external database brings a password, which other users must not read.
fn write_config(folder: &Path, text: &str, has_password: bool) -> Result<()> {
    let path = folder.join(config::FILE);
    let is_new = !files::exists(&path);
    if let (true, Some(found)) = (has_password, files::look(&path)?)
        && found.owner() == files::about_target(folder)?.owner()
    {
        files::set_mode(&path, files::PRIVATE)?;
    }
    files::replace(&path, files::PRIVATE, |file| file.write_all(text.as_bytes()))?;
    if is_new {
        let (uid, gid) = files::about_target(folder)?.owner();
        files::set_owner(&path, uid, gid)?;
    }
    Ok(())
}

/// Lets every user pass through the data folder, but not list it: an embedded MariaDB runs as another user than the server.
fn let_pass(folder: &Path) -> Result<()> {
    let mode = files::about_target(folder)?.mode & 0o7777;
    match mode & 0o011 {
        0o011 => Ok(()),
        _ => files::set_mode(folder, mode | 0o011),
    }
}
