//! Moves the database of an instance to the other engine, or to another MariaDB: as one operation, or not at all.
//!
//! The new database is loaded and compared while the old one is untouched. What decides which of them the server opens is
//! `db-config.json`, which is replaced in one step; the old database is set aside after that.

mod checks;
mod destination;
mod engine_switch;
mod switch;

use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::{DateTime, Utc};

pub use self::checks::check_instance;
pub use self::destination::{ConversionTarget, Destination};
pub use self::engine_switch::EngineSwitch;

use super::begin::{check_mode, check_server};
use super::journal::Phase;
use super::run::Run;
use super::upgrade::{UpgradeStart, note, preflight};
use super::work::{Mode, Outcome, Settings, UpgradeResult};
use super::{Observer, Step, label, pending, space};
use crate::backup::stage::{CopyScope, CopySource, SnapshotLabel};
use crate::backup::{Changed, StagedCopy, Store};
use crate::docker::RunState;
use crate::engine::mariadb::scratch::ScratchMariaDb;
use crate::engine::mariadb::{Address, DumpedTables};
use crate::engine::sqlite::SqliteFile;
use crate::engine::{Connect, EngineKind};
use crate::error::{ConvertError, Error, OperationError, Result};
use crate::files;
use crate::instance::config::{self};
use crate::instance::target::embedded_place;
use crate::instance::{DbLocation, Instance, Session};
use crate::kuma::create;
use crate::kuma::read::{read_database, read_last_beat};
use crate::kuma::transfer::convert::{Convert, OnConflict};
use crate::kuma::transfer::{NewDatabase, Source, TransferReport, Transform, check, load};
use crate::kuma::upgrade::{UpgradeConverted, UpgradeOptions, Upgraded};
use crate::schema::Recording;
use crate::upgrade::Route;
use crate::upgrade::rules::Style;

/// The folder of the new database, beside the journal, until it is complete.
const WORKSHOP: &str = "convert";

/// The database of an embedded MariaDB.
const EMBEDDED: &str = "kuma";

/// A conversion that was checked.
pub struct Conversion {
    to: Destination,
    on_conflict: OnConflict,
    recording: &'static Recording,
    /// The way to a newer release, where it is upgraded too.
    pub route: Option<Route>,
    /// What the upgrade changes.
    pub upgraded: Option<Upgraded>,
    /// The current time, for the upgrade.
    now: DateTime<Utc>,
    /// The new database, as the instance will open it.
    place: DbLocation,
    /// The text of the new db-config.json.
    config: String,
    /// What happens to every value, and what is refused.
    pub report: TransferReport,
}

impl Conversion {
    /// Checks everything that can be known while the server runs, and reads every row. What cannot be stored is in the
    /// report.
    ///
    /// # Errors
    /// [`ConvertError`], or why the database cannot be written to.
    pub fn prepare(
        instance: &Instance,
        to: Destination,
        on_conflict: OnConflict,
        settings: &Settings,
        observer: &mut dyn Observer,
    ) -> Result<Conversion> {
        Conversion::prepare_for(instance, ConversionTarget { to, on_conflict, release: None }, settings, observer)
    }

    /// The same, where the database may be upgraded on the way.
    ///
    /// # Errors
    /// As [`prepare`](Conversion::prepare), and what prevents the upgrade.
    pub fn prepare_for(
        instance: &Instance,
        goal: ConversionTarget,
        settings: &Settings,
        observer: &mut dyn Observer,
    ) -> Result<Conversion> {
        let folder = checks::check_instance(instance, &goal.to)?;
        checks::check_destination(instance, folder, &goal.to)?;
        let to = &goal.to;
        let container = instance.container.as_ref().map(|server| server.container());
        let place = match to {
            Destination::Sqlite => DbLocation::Sqlite(SqliteFile::new(folder.join("kuma.db"))),
            Destination::Embedded => embedded_place(folder, container.as_deref()),
            Destination::External(address) => DbLocation::External(address.clone()),
        };
        let config = config::render(&to.config(), config::read_file(folder)?.as_deref());
        observer.step(&Step::Open)?;
        let (session, now) = (instance.open()?, Utc::now());
        session.read(|reader| {
            let (recording, route) = checks::check_database(instance, reader, &goal, settings)?;
            let ConversionTarget { to, on_conflict, .. } = goal;
            let (report, upgraded) = (TransferReport::default(), None);
            let mut conversion = Conversion { to, on_conflict, recording, route, upgraded, now, place, config, report };
            let mut progress = |done, total| observer.progress(done, total);
            (conversion.report, conversion.upgraded) = conversion.transfer(Source::of(reader), None, &mut progress)?;
            Ok(conversion)
        })
    }

    /// Reads every row of `source` and loads it into `target`, if there is one; returns the report, and what an upgrade has
    /// changed.
    fn transfer(
        &self,
        source: Source<'_>,
        target: Option<NewDatabase<'_>>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(TransferReport, Option<Upgraded>)> {
        let mut pump = |source: Source<'_>, transform: &mut dyn Transform| match target {
            Some(target) => load(source, target, self.recording, transform, progress),
            None => check(source, self.recording, transform, progress),
        };
        let Some(route) = &self.route else {
            let mut convert = Convert::of(source.reader, self.recording, self.on_conflict)?;
            return Ok((pump(source, &mut convert)?, None));
        };
        let database = read_database(source.reader, "the database")?;
        // The server may have written between the first look and its stop.
        let UpgradeStart { database, facts, preflight } = preflight(source.reader, database, route)?;
        if !preflight.blockers.is_empty() {
            return Err(OperationError::CannotUpgrade(preflight.blockers).into());
        }
        let options = UpgradeOptions { style: Style::Intended, zone: None, now: self.now };
        let mut both = UpgradeConverted::prepare(source.reader, (&database, &facts), route, options, self.on_conflict)?;
        let report = pump(source, &mut both)?;
        Ok((report, Some(both.done())))
    }

    /// What happens to values that the new database cannot store.
    pub fn on_conflict(&self) -> OnConflict {
        self.on_conflict
    }

    /// The location of the new database, in words.
    pub fn place(&self) -> String {
        match &self.place {
            DbLocation::Sqlite(file) => file.describe(),
            DbLocation::Embedded(_) => "the MariaDB in the container".into(),
            DbLocation::External(address) => address.describe(),
        }
    }

    /// Loads a copy into a temporary database, and removes it; `false` where this machine has no MariaDB for it.
    pub fn dry_run(&self, instance: &Instance, observer: &mut dyn Observer) -> Result<bool> {
        self.report.check()?;
        checks::check_privileges(&self.to, self.recording)?;
        observer.step(&Step::Fill)?;
        let scratch = files::temp_folder("kumadb-", None)?;
        files::require_space(scratch.path(), 3 * instance.size())?;
        let mut tried = |target: NewDatabase<'_>| {
            let mut progress = |done, total| observer.progress(done, total);
            instance.open()?.read(|reader| self.transfer(Source::of(reader), Some(target), &mut progress))
        };
        if self.to.engine() == EngineKind::Sqlite {
            return tried(NewDatabase::Sqlite(&scratch.path().join("kuma.db"))).map(|_| true);
        }
        let Ok(server) = ScratchMariaDb::start(scratch.path()) else { return Ok(false) };
        create::make_database(&server.address(""), EMBEDDED)?;
        tried(NewDatabase::MariaDb(&server.address(EMBEDDED))).map(|_| true)
    }

    /// Converts `instance`, which it was prepared for.
    ///
    /// # Errors
    /// As [`run`](super::run): nothing is changed before the new database is complete and compared; if the server does not
    /// come up with it, the old one is back.
    pub fn run(
        &self,
        instance: &Instance,
        store: &Store,
        settings: &Settings,
        observer: &mut dyn Observer,
    ) -> Result<Outcome> {
        self.report.check()?;
        let is_running = instance.life()?.is_some_and(|life| life != RunState::Stopped);
        check_mode(instance, Mode::Stopped, is_running)?;
        let packing = pending::pack_all(instance, store);
        space::check_conversion(instance, store, &self.to)?;
        checks::check_privileges(&self.to, self.recording)?;
        let mut run = Run::begin(instance, settings, observer, |record, _| {
            check_server(instance, Mode::Stopped, settings.opens_lock)?;
            (record.loads, record.recipients) = (true, store.recipients());
            record.converts = Some(EngineSwitch::new(instance, &self.config, &self.to)?);
            record.upgrade = self.route.as_ref().map(|route| note(instance, route));
            Ok(())
        })?;
        run.outcome.warnings.extend(packing.warnings.iter().map(ToString::to_string));
        run.target = match &self.to {
            Destination::External(address) => Some(address.clone()),
            Destination::Sqlite | Destination::Embedded => None,
        };
        let moved = instance.moved_to(self.place.clone());
        if let Err(cause) = run.load_new(self, observer).and_then(|()| run.switch(&self.config, observer)) {
            return Err(run.back(cause, observer));
        }
        let mut run = Run { instance: &moved, ..run };
        match run.up(&[], observer) {
            Ok(()) => Ok(run.finish(store, observer)),
            Err(cause) => Err(run.back(cause, observer)),
        }
    }
}

impl Run<'_> {
    /// Stops the server, stages a copy, and loads the new database, which is complete and compared afterwards.
    fn load_new(&mut self, conversion: &Conversion, observer: &mut dyn Observer) -> Result<()> {
        if self.journal.record.was_running() {
            self.stop(observer)?;
        }
        observer.step(&Step::Open)?;
        let instance = self.instance;
        let session = instance.open_still(&self.lock)?;
        let loaded = self.load_from(&session, conversion, observer);
        // The helper is removed first, also when it failed: two MariaDB servers on one folder hang.
        let closed = observer.step(&Step::Close).and_then(|()| session.close());
        loaded?;
        closed
    }

    fn load_from(&mut self, session: &Session<'_>, conversion: &Conversion, observer: &mut dyn Observer) -> Result<()> {
        let connect = session.connect();
        observer.step(&Step::Hold { bytes: self.instance.size() })?;
        let began = Instant::now();
        let source = match &self.instance.place {
            DbLocation::Sqlite(file) => CopySource::Still(file, None),
            _ => CopySource::Live(connect),
        };
        let label = SnapshotLabel { undo: true, ..label(self.instance, &self.settings.verb) };
        let mut progress = |done, total| observer.progress(done, total);
        let staged = StagedCopy::take(source, &self.staged_folder(), &label, &CopyScope::default(), &mut progress)?;
        observer.step(&Step::Held { bytes: staged.manifest.size(), took: began.elapsed() })?;
        self.journal.record.last_beat = read_last_beat(&mut *connect.reader()?)?;
        self.journal.record.changed = Some(Changed::All);
        self.journal.advance(Phase::Writing)?;
        self.attempted = true;
        let workshop = self.workshop();
        files::remove_folder(&workshop)?;
        files::make_folder(&workshop)?;
        let source = (connect, staged.dumped_tables(connect.cancel())?);
        match &conversion.to {
            Destination::Sqlite => {
                let path = workshop.join("kuma.db");
                self.load_into(source, NewDatabase::Sqlite(&path), conversion, observer)
            }
            Destination::External(address) => {
                let tables = checks::check_empty(address, conversion.recording)?;
                create::clear(address, &tables)?;
                let address = Address { cancel: connect.cancel(), ..address.clone() };
                self.load_into(source, NewDatabase::MariaDb(&address), conversion, observer)
            }
            Destination::Embedded => self.load_embedded(source, &workshop, conversion, observer),
        }
    }

    fn load_into(
        &mut self,
        (connect, dump): (&dyn Connect, Option<DumpedTables>),
        target: NewDatabase<'_>,
        conversion: &Conversion,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        observer.step(&Step::Fill)?;
        let mut progress = |done, total| observer.progress(done, total);
        let source = Source { reader: &mut *connect.reader()?, dump };
        let (report, upgraded) = conversion.transfer(source, Some(target), &mut progress)?;
        self.outcome.upgraded = upgraded.map(|upgraded| UpgradeResult { upgraded, transfer: report.clone() });
        self.outcome.converted = Some(report);
        Ok(())
    }

    /// Creates an embedded MariaDB in a helper container of the server's image, and loads it.
    fn load_embedded(
        &mut self,
        source: (&dyn Connect, Option<DumpedTables>),
        workshop: &Path,
        conversion: &Conversion,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let instance = self.instance;
        let Some(server) = &instance.container else {
            return Err(Error::Convert(ConvertError::NoImage { instance: instance.name.clone() }));
        };
        observer.step(&Step::Install)?;
        let data = workshop.join("data");
        files::make_folder(&data)?;
        // The user of MariaDB passes through it, but does not list it.
        files::set_mode(&data, 0o711)?;
        let label = installed(workshop);
        server.remove_installed(&label)?;
        let on_socket = Address::in_data(&data);
        let helper = server.install_helper(&data, &label, &mut || on_socket.reader().is_ok())?;
        let database = Address { database: EMBEDDED.into(), cancel: source.0.cancel(), ..on_socket.clone() };
        let loaded = create::make_database(&on_socket, EMBEDDED)
            .and_then(|()| self.load_into(source, NewDatabase::MariaDb(&database), conversion, observer))
            // No other process can reach it, and its mark would stay in the folder.
            .and_then(|()| crate::kuma::transfer::publish(&database));
        let stopped = helper.stop();
        loaded.and(stopped)
    }

    /// The folder of the new database until it is complete.
    pub(super) fn workshop(&self) -> PathBuf {
        self.instance.work().join(WORKSHOP)
    }
}

/// The label of the helper container that creates a MariaDB in `workshop`.
fn installed(workshop: &Path) -> String {
    format!("convert in {}", workshop.display())
}
