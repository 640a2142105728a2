//! A new instance from a snapshot: its data folder, its database, or both; complete or not at all.
//!
//! Nothing is overwritten, because the target is empty, so there is nothing to take a snapshot of. A data folder is built in
//! `.kumadb-restore` inside it, verified there, and moved up entry by entry, the database last: a server that is started too
//! early finds nothing, or everything. A database on MariaDB has all but one table until everything else is complete.

mod database;
mod note;
pub mod place;
mod workshop;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use self::place::PlaceContent;
use self::workshop::BuildFolder;
use super::{Observer, Step};
use crate::backup::{Manifest, StagedCopy};
use crate::cancel::Cancel;
use crate::docker::{Docker, Image};
use crate::engine::EngineKind;
use crate::engine::mariadb::Address;
use crate::engine::mariadb::scratch::{self, ScratchMariaDb};
use crate::error::{DatabaseError, DockerError, Error, FileError, Hint, InputError, Result, SnapshotError};
use crate::files;
use crate::instance::config::{self, DbConfig};
use crate::kuma::create::{self, ExistingTables};
use crate::schema::Recording;

/// The user of an embedded MariaDB in every image of the server.
const NODE: u32 = 1000;

/// Size of the files of a new, empty MariaDB (10.11: 176 MB), in bytes.
const BARE_MARIADB: u64 = 200 << 20;

/// Space for small files, in bytes.
const SPARE: u64 = 1 << 20;

/// What is created.
pub struct Rebuild<'a> {
    /// The data folder, absent or empty; `None` where only a database is loaded.
    pub folder: Option<PathBuf>,
    /// The database.
    pub database: RebuiltDatabase<'a>,
    /// The owner of the files; by default the owner of the folder or, where that is created, this user.
    pub owner: Option<(u32, u32)>,
    /// What ends the work early; the rest of it is removed then.
    pub cancel: Cancel,
}

/// How the new instance stores its database.
pub enum RebuiltDatabase<'a> {
    /// In a `kuma.db`.
    Sqlite,
    /// In the embedded MariaDB of its container.
    Embedded(Initializer<'a>),
    /// In this database, which is empty.
    External(Address),
}

/// What creates the files of an embedded MariaDB.
pub enum Initializer<'a> {
    /// The programs of the server's own image.
    Image(&'a Docker, Image),
    /// The programs of this machine, see [`ScratchMariaDb::check_series`].
    Local,
}

/// The result.
#[derive(Debug)]
pub struct Rebuilt {
    /// The content of the database, from the manifest of the copy that it was built from.
    pub manifest: Manifest,
    /// Files beside the database that were written.
    pub files: Vec<String>,
    /// Values that became less exact from SQLite to MariaDB.
    pub rounded: Vec<String>,
}

impl RebuiltDatabase<'_> {
    /// The engine.
    pub fn engine(&self) -> EngineKind {
        match self {
            RebuiltDatabase::Sqlite => EngineKind::Sqlite,
            RebuiltDatabase::Embedded(_) | RebuiltDatabase::External(_) => EngineKind::MariaDb,
        }
    }

    /// The content of `db-config.json`.
    pub fn config(&self) -> DbConfig {
        match self {
            RebuiltDatabase::Sqlite => DbConfig::Sqlite,
            RebuiltDatabase::Embedded(_) => DbConfig::Embedded,
            RebuiltDatabase::External(address) => DbConfig::External(config::External::of(address)),
        }
    }
}

impl Rebuild<'_> {
    /// Everything that can be checked before anything is written, and most of it before the snapshot is read.
    ///
    /// # Errors
    /// [`DatabaseError::Occupied`] where the target is not empty;
    /// [`FileError::NoSpace`];
    /// [`SnapshotError::UnknownTables`] where it cannot be created.
    pub fn check(&self, manifest: &Manifest) -> Result<()> {
        if manifest.engine != self.database.engine() && manifest.recording(self.database.engine()).is_none() {
            return Err(Error::Snapshot(SnapshotError::UnknownTables {
                id: manifest.id.clone(),
                release: manifest.release.to_string(),
                engine: self.database.engine().to_string(),
            }));
        }
        if let Some(folder) = &self.folder {
            place::check(folder, &manifest.id)?;
            self.check_owner(folder)?;
            files::require_space(files::nearest(folder), self.size(manifest))?;
        }
        match &self.database {
            RebuiltDatabase::External(address) => check_database(address, manifest).map(drop),
            RebuiltDatabase::Sqlite | RebuiltDatabase::Embedded(_) => Ok(()),
        }
    }

    fn check_owner(&self, folder: &Path) -> Result<()> {
        let us = rustix::process::geteuid();
        let desired = match &self.database {
            RebuiltDatabase::Embedded(_) => Some(NODE),
            _ => self.owner.map(|(uid, _)| uid),
        };
        match desired.filter(|uid| !us.is_root() && *uid != us.as_raw()) {
            None => Ok(()),
            Some(uid) => Err(Error::File(FileError::NeedsRoot { folder: folder.to_owned(), uid })),
        }
    }

    /// Bytes that the folder needs.
    fn size(&self, manifest: &Manifest) -> u64 {
        let database = |name: &str| name == manifest.database();
        let (rows, files): (Vec<_>, Vec<_>) = manifest.members.iter().partition(|member| database(&member.name));
        let rows: u64 = rows.iter().map(|member| member.size).sum();
        let files: u64 = files.iter().map(|member| member.size).sum();
        SPARE
            + files
            + match (&self.database, manifest.engine) {
                (RebuiltDatabase::Sqlite, EngineKind::Sqlite) => rows,
                (RebuiltDatabase::Sqlite, EngineKind::MariaDb) => 2 * rows,
                (RebuiltDatabase::Embedded(_), _) => 3 * rows + BARE_MARIADB,
                (RebuiltDatabase::External(_), _) => 0,
            }
    }

    /// Builds the instance from `staged`.
    ///
    /// # Errors
    /// Nothing is left behind. After an interruption, it can be run again.
    pub fn run(&self, staged: StagedCopy, observer: &mut dyn Observer) -> Result<Rebuilt> {
        self.check(&staged.manifest)?;
        let staged = match self.database {
            RebuiltDatabase::Sqlite => staged.for_engine(EngineKind::Sqlite)?,
            _ => staged,
        };
        match &self.folder {
            None => self.fill_database(staged, observer),
            Some(folder) => self.make_folder(staged, folder, observer),
        }
    }

    fn fill_database(&self, staged: StagedCopy, observer: &mut dyn Observer) -> Result<Rebuilt> {
        let Some(address) = self.external() else {
            return Err(Error::Input(InputError::Missing {
                what: "data folder".into(),
                hint: Hint::command("--data-folder FOLDER"),
            }));
        };
        let tables = check_database(&address, &staged.manifest)?;
        let filled = database::fill(&address, staged, tables, observer)?;
        observer.step(&Step::Commit)?;
        let (manifest, rounded) = filled.finish(&address)?;
        Ok(Rebuilt { manifest, files: Vec::new(), rounded })
    }

    /// The address of an external database, whose work ends early too.
    fn external(&self) -> Option<Address> {
        let RebuiltDatabase::External(address) = &self.database else { return None };
        Some(Address { cancel: self.cancel.clone(), ..address.clone() })
    }

    fn make_folder(&self, staged: StagedCopy, folder: &Path, observer: &mut dyn Observer) -> Result<Rebuilt> {
        observer.step(&Step::Rebuild { place: folder.display().to_string() })?;
        let end_left = |data: &Path| match &self.database {
            RebuiltDatabase::Embedded(maker) => maker.end_left(data),
            RebuiltDatabase::Sqlite | RebuiltDatabase::External(_) => scratch::end_left(data).map(drop),
        };
        let mut workshop = BuildFolder::open(folder, &staged.manifest.id, self.owner, &end_left)?;
        let desired = staged.clone();
        let mut rebuilt = Rebuilt { manifest: staged.manifest.clone(), files: own_files(&staged), rounded: Vec::new() };
        if !workshop.is_ready() {
            (rebuilt.manifest, rebuilt.rounded) = self.build(staged, &workshop, observer)?;
            put_files(&desired, workshop.data())?;
            self.write_config(&desired, workshop.data())?;
            workshop.give_away()?;
            if matches!(self.database, RebuiltDatabase::Embedded(_)) {
                workshop.let_through()?;
            }
        }
        let filled = match self.external() {
            Some(address) => {
                let tables = check_database(&address, &desired.manifest)?;
                let filled = database::fill(&address, desired, tables, observer)?;
                Some((address, filled))
            }
            None => None,
        };
        observer.step(&Step::Commit)?;
        workshop.ready()?;
        workshop.move_up()?;
        if let Some((address, filled)) = filled {
            (rebuilt.manifest, rebuilt.rounded) = filled.finish(&address)?;
        }
        workshop.finish()?;
        Ok(rebuilt)
    }

    /// Builds the files of the database; returns its content, and the values that became less exact.
    fn build(
        &self,
        staged: StagedCopy,
        workshop: &BuildFolder,
        observer: &mut dyn Observer,
    ) -> Result<(Manifest, Vec<String>)> {
        match &self.database {
            RebuiltDatabase::Sqlite => {
                observer.step(&Step::Fill)?;
                database::make_sqlite(&staged, workshop.data(), &self.cancel)?;
                Ok((staged.manifest, Vec::new()))
            }
            RebuiltDatabase::Embedded(maker) => {
                observer.step(&Step::Install)?;
                database::make_embedded(maker, staged, workshop, &self.cancel, observer)
            }
            RebuiltDatabase::External(_) => Ok((staged.manifest, Vec::new())),
        }
    }

    /// Writes `db-config.json`, which 1.x does not have.
    fn write_config(&self, staged: &StagedCopy, data: &Path) -> Result<()> {
        let was = files::read_text(&staged.folder.join(config::FILE))?;
        if was.is_none() && staged.manifest.recognise().release.major < 2 {
            return Ok(());
        }
        let text = config::render(&self.database.config(), was.as_deref());
        files::replace(&data.join(config::FILE), files::PRIVATE, |file| file.write_all(text.as_bytes()))
    }
}

/// The tables that an earlier attempt left in the database, which is empty but for them.
fn check_database(address: &Address, manifest: &Manifest) -> Result<Vec<String>> {
    let recorded = manifest.recording(EngineKind::MariaDb).map(Recording::schema).cloned().unwrap_or_default();
    let known = |table: &str| manifest.counts.contains_key(table) || recorded.table(table).is_some();
    let occupied = |why: String, hint: Hint| {
        Err(Error::Database(DatabaseError::Occupied { place: address.to_string(), why, hint }))
    };
    match create::read_content(address, &known)? {
        ExistingTables::Nothing => Ok(Vec::new()),
        ExistingTables::Unfinished(tables) => Ok(tables),
        ExistingTables::Server(what) => {
            let target = address.url();
            occupied(
                format!("it is not empty: {what}"),
                Hint::command(format!("kumadb -t {target} restore {}", manifest.id)),
            )
        }
        ExistingTables::Other(what) => occupied(
            format!("it is not empty: {what}"),
            Hint::advice("create and use another database (CREATE DATABASE another CHARACTER SET utf8mb4)"),
        ),
    }
}

/// Files of a snapshot beside its database, by name.
pub fn own_files(staged: &StagedCopy) -> Vec<String> {
    extra_files(&staged.manifest)
}

/// The same from the manifest alone.
pub fn extra_files(manifest: &Manifest) -> Vec<String> {
    let names = manifest.members.iter().map(|member| member.name.clone());
    names.filter(|name| mode_of(name).is_some()).collect()
}

/// The modes of a file called `name` and of its folder, where it is one of those beside the database. Keys are
/// readable by their owner only.
fn mode_of(name: &str) -> Option<(u32, u32)> {
    match name.split_once('/')?.0 {
        "upload" | "screenshots" => Some((0o644, 0o755)),
        "docker-tls" => Some((0o600, 0o700)),
        _ => None,
    }
}

fn put_files(staged: &StagedCopy, data: &Path) -> Result<()> {
    for name in own_files(staged) {
        let Some((mode, folder_mode)) = mode_of(&name) else { continue };
        let to = data.join(&name);
        let above = to.ancestors().skip(1).take_while(|above| *above != data && !files::exists(above));
        for folder in above.collect::<Vec<_>>().into_iter().rev() {
            files::make_folder(folder)?;
            files::set_mode(folder, folder_mode)?;
        }
        files::copy_exact(&staged.folder.join(&name), &to)?;
        files::set_mode(&to, mode)?;
    }
    Ok(())
}

impl Initializer<'_> {
    /// Ends the MariaDB that a killed run left on the folder `data`: a helper container, or a process of this machine.
    fn end_left(&self, data: &Path) -> Result<()> {
        if let Initializer::Image(docker, _) = self {
            let label = database::label(data);
            for stale in docker.stale_helpers()?.iter().filter(|stale| stale.label == label) {
                docker.remove_helper(stale)?;
            }
        }
        scratch::end_left(data).map(drop)
    }

    /// Fails where the MariaDB of this machine would create files that the server's own cannot use.
    pub fn check(&self) -> Result<()> {
        match self {
            Initializer::Image(_, image) if image.has_mariadb => Ok(()),
            Initializer::Image(_, image) => {
                Err(Error::Docker(DockerError::ImageWithoutMariaDb { image: image.name.clone() }))
            }
            Initializer::Local => ScratchMariaDb::check_series(),
        }
    }
}

/// Whether `folder` is empty or does not exist.
pub fn is_free(folder: &Path) -> Result<bool> {
    Ok(matches!(place::look(folder)?, PlaceContent::Absent | PlaceContent::Empty))
}
