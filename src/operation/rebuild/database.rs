//! The database of a new instance: copied, loaded and compared with the manifest.

use std::path::Path;

use super::Initializer;
use super::workshop::BuildFolder;
use crate::backup::{Manifest, StagedCopy};
use crate::cancel::Cancel;
use crate::docker::{Docker, Helper, Image};
use crate::engine::mariadb::scratch::ScratchMariaDb;
use crate::engine::mariadb::{Address, PendingCreate};
use crate::engine::sqlite::SqliteFile;
use crate::engine::{Connect, Depth, EngineKind};
use crate::error::{Error, Result, SnapshotError};
use crate::files;
use crate::kuma::create;
use crate::kuma::read::{read_counts, read_database};
use crate::kuma::write::check_known;
use crate::operation::{Observer, Step};

/// The file of a SQLite database, and the folder of an embedded MariaDB.
const SQLITE: &str = "kuma.db";
const MARIADB: &str = "mariadb";

/// The database of an embedded MariaDB.
const EMBEDDED: &str = "kuma";

/// Copies the SQLite database of `held` into the folder `data`, and verifies the copy.
pub fn make_sqlite(held: &StagedCopy, data: &Path, cancel: &Cancel) -> Result<()> {
    let copy = SqliteFile::new(data.join(SQLITE)).cancelled_by(cancel.clone());
    files::copy_unless(&held.database(), copy.path(), cancel)?;
    let member = held.manifest.members.iter().find(|member| member.name == SQLITE);
    let (hash, _) = files::hash(copy.path())?;
    if member.is_none_or(|member| member.blake3 != hash) {
        return Err(Error::Snapshot(SnapshotError::Changed { path: copy.path().to_owned() }));
    }
    compare(&copy, &held.manifest)?;
    ["-wal", "-shm"].iter().try_for_each(|suffix| files::remove(&copy.part(suffix)))
}

/// Fails unless the database has the migrations and rows of `manifest`, and no faults that are not in it.
fn compare(database: &dyn Connect, manifest: &Manifest) -> Result<()> {
    let mut reader = database.reader()?;
    let found = read_database(&mut *reader, &database.describe())?;
    let counts = read_counts(&mut *reader, &found.schema)?;
    let migrations: Vec<&String> = found.migrations.iter().collect();
    let mut expected: Vec<&String> = manifest.migrations.iter().collect();
    expected.sort();
    let differs = |what: &str| Err(Error::Snapshot(SnapshotError::RestoredDiffers { what: what.to_owned() }));
    if migrations != expected {
        return differs("the migrations");
    }
    if counts != manifest.counts {
        return differs("the numbers of rows");
    }
    check_known(&reader.check(Depth::Quick)?, &manifest.faults)
}

/// A database that is complete but for its name.
pub struct Filled {
    manifest: Manifest,
    rounded: Vec<String>,
    staged: PendingCreate,
}

impl Filled {
    /// Publishes the database, and compares it with the manifest; returns its counts, and the values that became less exact.
    pub fn finish(self, address: &Address) -> Result<(Manifest, Vec<String>)> {
        self.staged.finish()?;
        match compare(address, &self.manifest) {
            Ok(()) => Ok((self.manifest, self.rounded)),
            Err(error) => {
                create::empty(address, self.manifest.counts.keys().cloned())?;
                Err(error)
            }
        }
    }
}

/// Loads `held` into the database at `address`, which is empty but for the tables `left` by an earlier attempt.
pub fn fill(address: &Address, held: StagedCopy, left: Vec<String>, observer: &mut dyn Observer) -> Result<Filled> {
    observer.step(&Step::Fill)?;
    create::clear(address, &left)?;
    let (held, rounded) = match held.manifest.engine {
        EngineKind::MariaDb => (held, Vec::new()),
        EngineKind::Sqlite => convert(address, held)?,
    };
    let staged = create::stage(address, &held.database(), &mut |done, total| observer.progress(done, total))?;
    check_known(staged.faults(), &held.manifest.faults)?;
    observer.step(&Step::Check)?;
    Ok(Filled { manifest: held.manifest, rounded, staged })
}

/// A dump of the SQLite database in `held` for the empty database at `address`.
fn convert(address: &Address, held: StagedCopy) -> Result<(StagedCopy, Vec<String>)> {
    let recording = held.manifest.recording(EngineKind::MariaDb).ok_or_else(|| {
        Error::Snapshot(SnapshotError::UnknownTables {
            id: held.manifest.id.clone(),
            release: held.manifest.release.to_string(),
            engine: EngineKind::MariaDb.to_string(),
        })
    })?;
    create::with_tables(address, recording, || {
        let mut database = address.read_only()?;
        held.for_mariadb(&mut database)
    })
}

/// Creates the embedded MariaDB in the folder of `workshop`, and loads it.
pub fn make_embedded(
    maker: &Initializer<'_>,
    held: StagedCopy,
    workshop: &BuildFolder,
    cancel: &Cancel,
    observer: &mut dyn Observer,
) -> Result<(Manifest, Vec<String>)> {
    let database = |server: &Address| Address { database: EMBEDDED.into(), cancel: cancel.clone(), ..server.clone() };
    match maker {
        Initializer::Image(docker, image) => with_image(docker, image, workshop, &mut |server| {
            fill_embedded(server, &database(server), held.clone(), observer)
        }),
        Initializer::Local => with_programs(&workshop.named_data(), &mut |server| {
            fill_embedded(server, &database(server), held.clone(), observer)
        }),
    }
}

/// The label of the helper container that makes a MariaDB in the folder `data`.
pub fn label(data: &Path) -> String {
    format!("restore to {}", data.display())
}

/// Fills the new MariaDB at an address.
type Fill<'a> = &'a mut dyn FnMut(&Address) -> Result<(Manifest, Vec<String>)>;

fn with_image(
    docker: &Docker,
    image: &Image,
    workshop: &BuildFolder,
    fill: Fill<'_>,
) -> Result<(Manifest, Vec<String>)> {
    let data = &workshop.named_data();
    let label = label(data);
    let_pass(data)?;
    let server = Address::in_data(data);
    let helper = Helper::install(docker, image, data, &label, &mut || server.reader().is_ok())?;
    let filled = fill(&server);
    let stopped = helper.stop();
    let filled = filled?;
    stopped?;
    files::remove_folder(&data.join("run"))?;
    Ok(filled)
}

/// Lets the user of a MariaDB into the folder `data`. Those who reach the folder above see names of files, but no content.
fn let_pass(data: &Path) -> Result<()> {
    files::set_mode(data, 0o711)?;
    data.parent().map_or(Ok(()), |above| files::set_mode(above, 0o711))
}

fn with_programs(data: &Path, fill: Fill<'_>) -> Result<(Manifest, Vec<String>)> {
    let folder = data.join(MARIADB);
    files::make_folder(&folder)?;
    let_pass(data)?;
    let server = ScratchMariaDb::start_kept(&folder, super::NODE)?;
    let filled = fill(&server.address(""))?;
    server.keep()?;
    files::set_mode(&folder, 0o755)?;
    super::workshop::give(&folder, (super::NODE, super::NODE))?;
    Ok(filled)
}

fn fill_embedded(
    server: &Address,
    database: &Address,
    held: StagedCopy,
    observer: &mut dyn Observer,
) -> Result<(Manifest, Vec<String>)> {
    create::make_database(server, EMBEDDED)?;
    fill(database, held, Vec::new(), observer)?.finish(database)
}
