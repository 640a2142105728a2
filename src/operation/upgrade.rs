//! Upgrades a database to a newer release: a new database is made from the staged copy and put in its place, and the server is
//! started once its container has an image of that release.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::journal::{NotedUpgrade, Phase};
use super::run::{Run, Write};
use super::work::{UpgradeResult, UpgradeWork};
use super::{Observer, Step};
use crate::backup::{Guarded, StagedCopy};
use crate::engine::sqlite::SqliteFile;
use crate::engine::{Connect, EngineKind, Reader};
use crate::error::{DatabaseError, Error, OperationError, Result, SnapshotError};
use crate::files;
use crate::instance::{DbLocation, Instance, Server};
use crate::kuma::read::{read_counts, read_database, read_last_beat};
use crate::kuma::transfer::{self, NewDatabase, Source};
use crate::kuma::upgrade::{self, read_facts};
use crate::model::state::Database;
use crate::upgrade::preflight::{Facts, Preflight};
use crate::upgrade::{NoRoute, Route};
use crate::value::image_parts;

/// How often the container is looked at while its image is to be changed.
const LOOK: Duration = Duration::from_secs(1);

/// What the journal notes about the upgrade of `instance`.
pub(super) fn note(instance: &Instance, route: &Route) -> NotedUpgrade {
    let container = instance.container.as_ref().map(Server::container);
    let image = container.map(|container| (container.image_id.clone(), container.image.clone()));
    NotedUpgrade { release: route.target.release.to_string(), image }
}

/// What an upgrade starts from.
#[derive(Debug)]
pub struct UpgradeStart {
    /// The database.
    pub database: Database,
    /// What was counted in it.
    pub facts: Facts,
    /// The result of the preflight.
    pub preflight: Preflight,
}

/// Reads what an upgrade of the database of `reader` along `route` depends on.
pub fn preflight(reader: &mut dyn Reader, database: Database, route: &Route) -> Result<UpgradeStart> {
    let facts = read_facts(reader, &database, route)?;
    let preflight = facts.judge(route);
    Ok(UpgradeStart { database, facts, preflight })
}

/// The image that a server in the container image `image` of another release needs: `louislam/uptime-kuma:2.5.3-slim`.
pub fn image_of(image: &str, release: &str) -> String {
    let (repository, tag) = image_parts(image);
    let flavour = tag.and_then(|tag| tag.split_once('-')).map_or("", |(_, flavour)| flavour);
    match flavour {
        "slim" | "rootless" | "slim-rootless" => format!("{repository}:{release}-{flavour}"),
        _ => format!("{repository}:{release}"),
    }
}

/// How the image of the container of `server` is changed to `needed`.
pub fn change_of(server: &Server, needed: &str) -> String {
    let container = server.container();
    match &container.compose {
        Some(compose) => format!(
            "in the compose file of service `{}`, set `image: {needed}`, then run: docker compose up -d",
            compose.service
        ),
        None => format!(
            "docker rm {0}, then the docker run command of `{0}` with the image {needed} instead of {1}",
            container.name, container.image
        ),
    }
}

/// Whether the image of `server`, as it is now, can use a database of the release of `route`; `None` where that is not known.
pub fn fits_image(server: &Server, route: &Route) -> Result<Option<bool>> {
    let names: Vec<String> = route.target.migrations().map(str::to_owned).collect();
    Ok(server.migration_files()?.map(|files| files.problems(&names).is_empty()))
}

/// Dry run: makes the new database from a copy of the present one, and removes both; on MariaDB, everything is read and nothing
/// is loaded. Returns what would change.
pub fn dry_run_upgrade(
    instance: &Instance,
    order: &UpgradeWork<'_>,
    observer: &mut dyn Observer,
) -> Result<UpgradeResult> {
    observer.step(&Step::Rehearse)?;
    if instance.engine() == EngineKind::MariaDb {
        return instance.open()?.with(|connect| read(Source::of(&mut *connect.reader()?), None, order, observer));
    }
    let scratch = files::temp_folder("kumadb-", None)?;
    files::require_space(scratch.path(), 2 * instance.size())?;
    let staged = super::copy::stage(instance, &scratch.path().join("copy"), "upgrade", &Default::default(), observer)?;
    let path = scratch.path().join("kuma.db");
    read(Source::of(&mut *staged.reader()?), Some(NewDatabase::Sqlite(&path)), order, observer)
}

/// The copy `staged` upgraded to the release of `order`, on SQLite.
///
/// # Errors
/// [`OperationError::CannotUpgrade`] for what has to be solved in it before.
pub fn upgrade_copy(
    staged: StagedCopy,
    order: &UpgradeWork<'_>,
    observer: &mut dyn Observer,
) -> Result<(StagedCopy, UpgradeResult)> {
    let path = staged.folder.with_extension("upgraded");
    files::require_space(&staged.folder, 2 * staged.manifest.size())?;
    files::remove(&path)?;
    let made = read(Source::of(&mut *staged.reader()?), Some(NewDatabase::Sqlite(&path)), order, observer)?;
    check_release(&mut *SqliteFile::new(&path).reader()?, order.route)?;
    Ok((staged.with_database(&path)?, made))
}

/// Upgrades the rows of `source` into `target`, or only reads them.
fn read(
    source: Source<'_>,
    target: Option<NewDatabase<'_>>,
    order: &UpgradeWork<'_>,
    observer: &mut dyn Observer,
) -> Result<UpgradeResult> {
    let recording = order.route.target;
    observer.step(&Step::Upgrade { release: recording.release.to_string() })?;
    let database = read_database(source.reader, "the database")?;
    // The server may have written between the preflight and its stop.
    let UpgradeStart { database, facts, preflight } = preflight(source.reader, database, order.route)?;
    if !preflight.blockers.is_empty() {
        return Err(OperationError::CannotUpgrade(preflight.blockers).into());
    }
    let mut upgrade = upgrade::Upgrade::prepare(source.reader, &database, order.route, &facts, order.options)?;
    let mut progress = |done, total| observer.progress(done, total);
    let transfer = match target {
        Some(target) => transfer::load(source, target, recording, &mut upgrade, &mut progress)?,
        None => transfer::check(source, recording, &mut upgrade, &mut progress)?,
    };
    Ok(UpgradeResult { upgraded: upgrade.done, transfer })
}

/// Fails unless the database of `reader` has the migrations of the release.
fn check_release(reader: &mut dyn Reader, route: &Route) -> Result<()> {
    let found = read_database(reader, "the new database")?;
    let expected: BTreeSet<String> = if route.has_statistics() {
        route.target.migrations().map(str::to_owned).collect()
    } else {
        route.target.patches()
    };
    if found.migrations == expected {
        Ok(())
    } else {
        Err(OperationError::ChecksFailed(vec!["the new database does not have the migrations of its release".into()])
            .into())
    }
}

/// Fails where the tables of an external MariaDB cannot be exchanged, before the server is stopped: creates the additional
/// databases, empty, and drops them.
pub fn try_tables(instance: &Instance) -> Result<()> {
    match instance.place {
        DbLocation::External(_) => instance.open()?.with(|connect| match Guarded::clear(connect)?.writer().shadow() {
            Some(shadow) => shadow.make_empty().and_then(|_| shadow.clear()),
            None => Ok(()),
        }),
        DbLocation::Sqlite(_) | DbLocation::Embedded(_) => Ok(()),
    }
}

impl Run<'_> {
    /// Makes the new database, and puts it in the place of the live one: on SQLite in one transaction, on MariaDB by an exchange
    /// of the tables.
    pub(super) fn upgrade(
        &mut self,
        guarded: &mut Guarded,
        write: &Write<'_>,
        order: &UpgradeWork<'_>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        match guarded.writer().kind() {
            EngineKind::Sqlite => {
                // A signal ends reading it, as it ends reading the live database.
                let source = SqliteFile::new(write.staged.sqlite()?).cancelled_by(write.connect.cancel());
                self.upgrade_file(guarded, &source, order, observer)?;
            }
            EngineKind::MariaDb => self.upgrade_tables(guarded, write, order, observer)?,
        }
        self.journal.record.last_beat = read_last_beat(guarded.writer())?;
        Ok(())
    }

    fn upgrade_file(
        &mut self,
        guarded: &mut Guarded,
        source: &SqliteFile,
        order: &UpgradeWork<'_>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let folder = self.instance.work().join("upgrade");
        files::remove_folder(&folder)?;
        files::make_folder(&folder)?;
        let path = folder.join("kuma.db");
        let made = read(Source::of(&mut *source.reader()?), Some(NewDatabase::Sqlite(&path)), order, observer)?;
        self.outcome.upgraded = Some(made);
        let mut made = SqliteFile::new(&path).reader()?;
        check_release(&mut *made, order.route)?;
        observer.step(&Step::PutBack)?;
        let mut progress = |done, total| observer.progress(done, total);
        let loaded = guarded.writer().load(&path, &[], &mut progress);
        self.attempted = loaded.as_ref().map_or_else(Error::is_after_commit, |()| true);
        loaded?;
        let counts = |reader: &mut dyn Reader| {
            let schema = reader.schema()?;
            Ok::<_, Error>((read_counts(reader, &schema)?, schema))
        };
        if counts(guarded.writer())? != counts(&mut *made)? {
            return Err(Error::Snapshot(SnapshotError::RestoredDiffers { what: "rows per table".into() }));
        }
        drop(made);
        files::remove_folder(&folder)
    }

    fn upgrade_tables(
        &mut self,
        guarded: &mut Guarded,
        write: &Write<'_>,
        order: &UpgradeWork<'_>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let shadow = guarded.writer().shadow().ok_or_else(|| {
            Error::Operation(OperationError::ChecksFailed(vec!["its tables cannot be exchanged".into()]))
        })?;
        // Noted before the first database is created, so that a rollback drops both.
        (self.attempted, self.journal.record.swaps) = (true, true);
        self.journal.advance(Phase::Writing)?;
        let beside = shadow.make_empty()?;
        let source =
            Source { reader: &mut *write.connect.reader()?, dump: write.staged.dumped_tables(write.connect.cancel())? };
        let made = read(source, Some(NewDatabase::MariaDb(&beside)), order, observer)?;
        transfer::publish(&beside)?;
        check_release(&mut *beside.reader()?, order.route)?;
        self.outcome.upgraded = Some(made);
        observer.step(&Step::Swap)?;
        shadow.swap()
    }

    /// Waits until the container has an image that can use the upgraded database: another one would fail, or worse, start.
    ///
    /// # Errors
    /// [`OperationError::ImageNotChanged`]: the journal stays open for `recover`.
    pub(super) fn await_image(&mut self, server: &Server, observer: &mut dyn Observer) -> Result<()> {
        let Some(noted) = self.journal.record.upgrade.clone() else { return Ok(()) };
        let end = Instant::now() + self.settings.patience;
        let recording = noted.release.parse().ok();
        let recording = recording.and_then(|release| crate::schema::recording(self.instance.engine(), release));
        let names: Vec<String> = recording.iter().flat_map(|one| one.migrations()).map(str::to_owned).collect();
        let container = server.container();
        let needed = image_of(&container.image, &noted.release);
        let mut reported = false;
        loop {
            // The lookup finds the successor of a container that is gone.
            server.is_running()?;
            match server.migration_files()? {
                Some(files) if files.problems(&names).is_empty() => return self.follow(observer),
                // Another image whose files are not those of an official one.
                None if noted.image.as_ref().is_some_and(|(id, _)| *id != server.container().image_id) => {
                    return self.follow(observer);
                }
                _ => {}
            }
            let waits = if reported {
                observer.step(&Step::LookAtImage)
            } else {
                observer.step(&Step::AwaitImage { container: server.name(), image: needed.clone() })
            };
            reported = true;
            if waits.is_err() || Instant::now() >= end {
                return Err(Error::Operation(OperationError::ImageNotChanged {
                    container: server.name(),
                    change: change_of(server, &needed),
                    image: needed,
                    release: noted.release,
                }));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// The error of an upgrade that was rolled back because of `cause`, where the container has the new image.
    pub(super) fn rolled_back_with_image(&self, cause: Error) -> Error {
        match (self.image_to_change_back(), &self.instance.container) {
            (Some(image), Some(server)) => {
                let change = change_of(server, &image);
                Error::Operation(OperationError::UpgradeRolledBack { cause: Box::new(cause), image, change })
            }
            _ => Error::Operation(OperationError::RolledBack { cause: Box::new(cause) }),
        }
    }

    /// The image that the container had before the upgrade, where it has another one: that would migrate the restored database
    /// again.
    pub(super) fn image_to_change_back(&self) -> Option<String> {
        let (id, name) = self.journal.record.upgrade.as_ref()?.image.as_ref()?;
        let now = self.instance.container.as_ref()?.container();
        (*id != now.image_id).then(|| name.clone())
    }
}

/// The error of an upgrade that `why` refuses.
pub fn refuse(why: NoRoute, from: &str, to: &str) -> Error {
    match why {
        NoRoute::NotRecorded => Error::problem("--to", format!("kumadb does not know the schema of release {to}")),
        NoRoute::Newer(migrations) => {
            OperationError::Downgrade { from: from.to_owned(), to: to.to_owned(), migrations: migrations.len() }.into()
        }
        NoRoute::Unknown(names) => DatabaseError::UnknownMigrations {
            database: "the database".into(),
            first: names.first().cloned().unwrap_or_default(),
            count: names.len(),
        }
        .into(),
    }
}
