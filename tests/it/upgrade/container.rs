//! An upgrade of a server in a container: the container gets the new image while kumadb waits, or later, or never.

use std::time::Duration;

use chrono::Utc;
use kumadb::docker::{Answer, RunState};
use kumadb::engine::EngineKind;
use kumadb::engine::mariadb::Address;
use kumadb::error::{Error, OperationError, Result};
use kumadb::kuma::init::{self, NewInstance};
use kumadb::kuma::read::read_database;
use kumadb::kuma::transfer::convert::OnConflict;
use kumadb::kuma::upgrade::UpgradeOptions;
use kumadb::operation::UpgradeWork;
use kumadb::operation::convert::{Conversion, ConversionTarget, Destination};
use kumadb::operation::{self, Observer, Outcome, Replacement, Settings, Step};
use kumadb::schema::{Release, newest};
use kumadb::upgrade::Route;
use kumadb::upgrade::rules::Style;

use crate::docker::recreated::At;
use crate::docker::verbs::become_release;
use crate::support::docked::{Docked, Kind, new_instance, seed};
use crate::support::dockerd::{self, Folder, Image, cli};
use crate::support::lab::Lab;
use crate::support::mariadbd::Mariadbd;
use crate::support::wait::wait_until;

/// A server of 2.0.2 and an image of the newest release.
struct Old {
    lab: Docked,
    newer: String,
}

impl Old {
    fn up() -> Option<Old> {
        Old::of(Image::Slim, &[])
    }

    fn of(image: Image, args: &[&str]) -> Option<Old> {
        let bench = dockerd::bench()?;
        let folder = Folder::empty();
        init::make_folder(folder.path(), &NewInstance { release: Release::new(2, 0, 2), ..new_instance() }).unwrap();
        seed(&kumadb::engine::sqlite::SqliteFile::new(folder.path().join("kuma.db")));
        let mount = folder.mount();
        let server = bench.run(image, &[&["-v", mount.as_str(), "--restart", "unless-stopped"], args].concat());
        let lab = Docked::around(bench, Kind::Sqlite, folder, server);
        lab.wait_up();
        let newer = format!("kumadb-test-newer-{}", lab.server.name).to_lowercase();
        cli(&["commit", &lab.server.name, &newer]);
        become_release(&lab, "2.0.2");
        Some(Old { lab, newer })
    }

    /// As `docker compose up -d` after the image was changed.
    fn recreate(&self) {
        cli(&["rm", "-f", &self.lab.server.name]);
        let mount = self.lab.folder.mount();
        cli(&["run", "-d", "--name", &self.lab.server.name, "--restart", "unless-stopped", "-v", &mount, &self.newer]);
    }

    fn upgrade(&self, settings: Settings, observer: &mut dyn Observer) -> Result<Outcome> {
        let instance = self.lab.instance();
        let database = read_database(&mut *instance.connect()?.reader()?, "test")?;
        let route = Route::find(EngineKind::Sqlite, &database.migrations, "2.0.2", newest()).unwrap();
        let order = UpgradeWork {
            route: &route,
            options: UpgradeOptions { style: Style::Intended, zone: None, now: Utc::now() },
        };
        operation::run(&instance, &self.lab.store(), Replacement::Upgrade(&order), &settings, observer)
    }

    fn migrations(&self) -> String {
        self.lab.sql("SELECT count(*) FROM knex_migrations").join(",")
    }

    fn life(&self) -> RunState {
        self.lab.bench.look(&self.lab.server).state.life
    }
}

impl Drop for Old {
    fn drop(&mut self) {
        cli(&["rm", "-f", &self.lab.server.name]);
        wait_until(60, "the image is free", || {
            std::process::Command::new("docker").args(["rmi", &self.newer]).output().unwrap().status.success()
        });
    }
}

#[test]
fn the_server_starts_when_its_container_has_the_new_image() {
    let Some(old) = Old::up() else { return };
    let checked = old.lab.kumadb(&["upgrade", "--check", "--json"]).ended(0).json();
    assert_eq!((&checked["image_set"], &checked["image"]), (&false.into(), &"louislam/uptime-kuma:2.5.3".into()));
    assert_eq!(old.migrations(), "28");
    let mut observer = At::new(|step| matches!(step, Step::AwaitImage { .. }), || old.recreate());
    let outcome = old.upgrade(Settings::new("upgrade"), &mut observer).unwrap();
    assert!(outcome.downtime.is_some() && outcome.snapshot.is_some(), "{outcome:?}");
    let name = old.lab.server.name.clone();
    assert!(observer.reported.contains(&Step::Follow { container: name.clone() }), "{:?}", observer.reported);
    // The old container was never started on the new database.
    let started = observer.reported.iter().position(|step| *step == Step::Start { container: name.clone() });
    let waited = observer.reported.iter().position(|step| matches!(step, Step::AwaitImage { .. }));
    assert!(started > waited, "{:?}", observer.reported);
    assert_eq!(old.migrations(), "55");
    old.lab.is_well();
    // The image is right, and nothing is left to do.
    assert_eq!(old.lab.kumadb(&["upgrade", "--yes", "--json"]).ended(0).json()["changes"], serde_json::json!([]));
    // It is undone when the container has the old image again.
    old.lab.kumadb(&["undo", "--yes"]).ended(9).printed("set the image of the container back").printed("kumadb undo ");
    old.lab.is_well();
    become_release(&old.lab, "2.0.2");
    old.lab.kumadb(&["undo", "--yes"]).ended(0);
    assert_eq!(old.migrations(), "28");
    old.lab.is_well();
}

#[test]
fn recover_goes_on_when_the_image_is_changed_later_or_goes_back() {
    let Some(old) = Old::up() else { return };
    for goes_back in [true, false] {
        let settings = Settings { patience: Duration::ZERO, ..Settings::new("upgrade") };
        let ended = old.upgrade(settings, &mut operation::NoObserver);
        assert!(matches!(ended, Err(Error::Operation(OperationError::ImageNotChanged { .. }))), "{ended:?}");
        assert!(old.lab.is_unfinished());
        assert_eq!((old.life(), old.migrations().as_str()), (RunState::Stopped, "55"));
        old.lab.add("New", &[]).ended(6).printed("kumadb recover");
        if goes_back {
            old.lab.kumadb(&["recover", "--roll-back"]).ended(0).printed("restoring database");
            assert_eq!(old.migrations(), "28");
            old.lab.is_well();
        }
    }
    old.recreate();
    old.lab.kumadb(&["recover"]).ended(0);
    assert_eq!(old.migrations(), "55");
    old.lab.is_well();
}

#[test]
fn a_new_release_that_does_not_start_is_rolled_back_and_its_image_not_started() {
    let Some(old) = Old::up() else { return };
    let before = old.lab.picture();
    let recreate = || {
        old.lab.folder.misbehave("crash");
        old.recreate();
    };
    let mut observer = At::new(|step| matches!(step, Step::AwaitImage { .. }), recreate);
    let settings = Settings { deadline: Duration::from_secs(20), ..Settings::new("upgrade") };
    let ended = old.upgrade(settings, &mut observer);
    let image = match ended {
        Err(Error::Operation(OperationError::UpgradeRolledBack { image, .. })) => image,
        other => panic!("{other:?}"),
    };
    assert_eq!(image, "louislam/uptime-kuma:stand-in-slim");
    assert!(!old.lab.is_unfinished());
    assert_eq!((old.life(), old.migrations().as_str()), (RunState::Stopped, "28"));
    assert_eq!(old.lab.picture(), before);
    assert!(matches!(observer.reported.last(), Some(Step::CloseJournal)), "{:?}", observer.reported);
}

#[test]
fn a_container_that_is_recreated_too_early_is_left_to_itself() {
    let Some(old) = Old::up() else { return };
    let mut observer = At::new(|step| matches!(step, Step::Open), || old.recreate());
    let ended = old.upgrade(Settings::new("upgrade"), &mut observer);
    assert!(matches!(&ended, Err(error) if !matches!(error, Error::Operation(_))), "{ended:?}");
    assert!(!old.lab.is_unfinished());
    assert_eq!((old.life(), old.migrations().as_str()), (RunState::Running, "28"));
    let image = old.newer.clone();
    let left = Step::LeaveMigrating { container: old.lab.server.name.clone(), image };
    assert!(observer.reported.contains(&left), "{:?}", observer.reported);
}

#[test]
fn a_conversion_to_a_newer_release_starts_the_server_with_its_image_only() {
    let Some(old) = Old::of(Image::Full, &["--network", "bridge"]) else { return };
    let gateway = cli(&["inspect", "-f", "{{.NetworkSettings.Gateway}}", &old.lab.server.name]);
    let Some(server) = Mariadbd::with(&["--port={port}", "--bind-address=0.0.0.0"]) else { return };
    server.create_database("kuma", "utf8mb4");
    server.sql("mysql", "CREATE USER kuma@'%' IDENTIFIED BY 'Kuma-2026'; GRANT ALL ON kuma.* TO kuma@'%'");
    let to = format!("mysql://kuma:Kuma-2026@{}:{}/kuma", gateway.trim(), server.port());
    let convert = |settings: &Settings, observer: &mut dyn Observer| {
        let instance = old.lab.instance();
        let to = Destination::External(Address::parse(&to)?);
        let goal = ConversionTarget { to, on_conflict: OnConflict::default(), release: Some(newest()) };
        Conversion::prepare_for(&instance, goal, settings, &mut operation::NoObserver)?.run(
            &instance,
            &old.lab.store(),
            settings,
            observer,
        )
    };
    let impatient = Settings { patience: Duration::ZERO, ..Settings::new("convert") };
    let ended = convert(&impatient, &mut operation::NoObserver);
    assert!(matches!(ended, Err(Error::Operation(OperationError::ImageNotChanged { .. }))), "{ended:?}");
    assert_eq!((old.lab.is_unfinished(), old.life()), (true, RunState::Stopped));
    old.lab.kumadb(&["recover", "--roll-back"]).ended(0);
    assert_eq!((old.migrations().as_str(), server.sql("kuma", "SHOW TABLES").as_str()), ("28", ""));
    old.lab.is_well();
    let mut observer = At::new(|step| matches!(step, Step::AwaitImage { .. }), || old.recreate());
    let outcome = convert(&Settings::new("convert"), &mut observer).unwrap();
    assert!(outcome.downtime.is_some() && outcome.upgraded.is_some(), "{outcome:?}");
    assert_eq!(server.sql("kuma", "SELECT count(*) FROM knex_migrations").trim(), "55");
    assert_eq!(old.life(), RunState::Running);
}

#[test]
fn a_server_that_aggregates_is_never_stopped() {
    let Some(lab) = Docked::up(Kind::Sqlite) else { return };
    let state = |state| {
        lab.inside(&format!("UPDATE setting SET value = '\"{state}\"' WHERE key = 'migrateAggregateTableState'"))
    };
    state("migrating");
    lab.folder.misbehave("migrating");
    cli(&["restart", "-t", "60", &lab.server.name]);
    let shows_page = || matches!(lab.bench.docker.probe(&lab.bench.look(&lab.server)), Ok(Answer::Migrating));
    wait_until(60, "the page of the migration", shows_page);
    let counted = lab.starts_and_stops();
    let found = lab.kumadb(&["doctor", "--json"]).json();
    let k005 = found["findings"].as_array().unwrap().iter().find(|one| one["code"] == "K005").unwrap();
    assert!(k005["what"].as_str().unwrap().contains("aggregates the heartbeats of 1.x now"), "{k005}");
    assert!(k005["fix"].as_str().unwrap().contains("Do not stop the server"), "{k005}");
    let fixed = lab.kumadb(&["--yes", "doctor", "--fix"]);
    assert!(!fixed.out.contains("DELETED") && !fixed.err.contains("DELETED"), "{fixed:?}");
    lab.kumadb(&["--yes", "upgrade"]).ended(9).printed("wait until it has finished");
    lab.add("New", &[]).ended(9).printed("wait until the migration is done");
    assert_eq!(lab.starts_and_stops(), counted);
    assert_eq!(lab.sql("SELECT value FROM setting WHERE key = 'migrateAggregateTableState'"), ["\"migrating\""]);
    state("migrated");
    lab.folder.behave();
    lab.wait_up();
    lab.is_well();
}

/// A container whose server uses a database on a MariaDB of this machine.
fn external() -> Option<(Docked, Mariadbd)> {
    let bench = dockerd::bench()?;
    let server = Mariadbd::with(&["--port={port}", "--bind-address=0.0.0.0"])?;
    let database = server.create_database("kuma", "utf8mb4");
    init::fill_database(&database, &new_instance()).unwrap();
    seed(&database);
    server.sql("mysql", "CREATE USER kuma@'%' IDENTIFIED BY 'Kuma-2026'; GRANT ALL ON *.* TO kuma@'%'");
    // Its address is known once a container runs, which has no database yet.
    let folder = Folder::empty();
    let container = bench.run(Image::Full, &["-v", &folder.mount(), "--network", "bridge"]);
    let gateway = cli(&["inspect", "-f", "{{.NetworkSettings.Gateway}}", &container.name]);
    let config = format!(
        r#"{{"type":"mariadb","hostname":"{}","port":{},"dbName":"kuma","username":"kuma","password":"Kuma-2026"}}"#,
        gateway.trim(),
        server.port()
    );
    folder.write("db-config.json", &config);
    cli(&["restart", "-t", "60", &container.name]);
    let lab = Docked::around(bench, Kind::MariaDb, folder, container);
    lab.wait_up();
    Some((lab, server))
}

/// Restores a backup of `older`, with `days` of statistics in its new database, into `lab`.
fn restore_older(lab: &Docked, older: &Lab, days: &str) {
    become_release(lab, "2.5.3");
    older.sql(super::verb::ROWS);
    let path = older.json("backup create")["path"].as_str().unwrap().to_owned();
    lab.kumadb(&["--yes", "restore", &path]).ended(0).printed("is upgraded to 2.5.3, the release of the image");
    assert_eq!(lab.monitors(), ["Shop", "Old"]);
    assert_eq!(lab.sql("SELECT count(*) FROM knex_migrations"), ["55"]);
    assert_eq!(lab.sql("SELECT count(*) FROM stat_daily WHERE timestamp < 1710000000"), [days]);
    lab.is_well();
}

#[test]
fn a_snapshot_of_an_older_release_is_upgraded_on_mariadb() {
    std::thread::scope(|scope| {
        let embedded = scope.spawn(|| {
            Docked::up(Kind::MariaDb).iter().for_each(|lab| restore_older(lab, &Lab::sqlite("1.23.17"), "2"));
        });
        if let (Some((lab, _server)), Some(older)) = (external(), Lab::mariadb("2.0.2")) {
            restore_older(&lab, &older, "0");
        }
        assert!(embedded.join().is_ok(), "it failed on the embedded MariaDB, see above");
    });
}
