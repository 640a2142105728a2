//! An upgrade, and a replacement of statistics, made to fail at every point, by an error and by SIGKILL: the database is wholly the old
//! or wholly the new one, and nothing is left over.

use std::path::Path;
use std::sync::atomic::Ordering;

use chrono::Utc;
use kumadb::backup::{self, Stores};
use kumadb::error::{Error, OperationError, Result};
use kumadb::kuma::read::read_database;
use kumadb::kuma::upgrade::UpgradeOptions;
use kumadb::operation::UpgradeWork;
use kumadb::operation::statistics::compare_with;
use kumadb::operation::{self, Journal, Replacement, Resumed, Settings, Transaction, pending};
use kumadb::upgrade::Route;
use kumadb::upgrade::rules::Style;

use super::verb::ROWS;
use crate::convert::pipe::{Rows, rows};
use crate::support::child::{is_killed, reported};
use crate::support::lab::{Lab, left_in};
use crate::support::rounds;
use crate::write::every_point::{How, Place, Points};

fn read(place: &Place) -> Rows {
    rows(&mut *place.instance().connect().unwrap().reader().unwrap())
}

fn upgrade(place: &Place, points: &Points) -> Result<()> {
    let mut instance = place.instance();
    let database = read_database(&mut *instance.connect()?.reader()?, "test")?;
    let route = Route::find(instance.engine(), &database.migrations, "old", kumadb::schema::newest()).unwrap();
    let options = UpgradeOptions { style: Style::Intended, zone: None, now: Utc::now() };
    let order = UpgradeWork { route: &route, options };
    points.wrap(&mut instance);
    let settings = Settings::new("upgrade");
    operation::run(&instance, &place.store(), Replacement::Upgrade(&order), &settings, &mut points.clone()).map(drop)
}

/// Replaces the statistics by those of `before.db`.
fn replace_statistics(place: &Place, points: &Points) -> Result<()> {
    let mut instance = place.instance();
    let scratch = tempfile::tempdir().unwrap();
    let stores = Stores::new(Vec::new(), place.store());
    let path = place.root.join("before.db").display().to_string();
    let staged = backup::stage_snapshot(&stores, &path, "", &scratch.path().join("staged"), &mut |_| {})?;
    let (order, _) = compare_with(&instance, &staged, &path, Utc::now(), &mut operation::NoObserver)?;
    points.wrap(&mut instance);
    let settings = Settings::new("upgrade");
    operation::run(&instance, &place.store(), Transaction::Statistics(&order), &settings, &mut points.clone()).map(drop)
}

/// What is made to fail.
#[derive(Clone, Copy, Debug)]
enum What {
    Upgrade,
    Statistics,
}

impl What {
    fn run(self, place: &Place, points: &Points) -> Result<()> {
        match self {
            What::Upgrade => upgrade(place, points),
            What::Statistics => replace_statistics(place, points),
        }
    }

    /// How many points a short run leaves out.
    fn stride(self) -> usize {
        match self {
            What::Upgrade => 7,
            What::Statistics => 14,
        }
    }

    /// Fails the test unless `after` is the complete result.
    fn check(self, after: &Rows, at: usize) {
        match self {
            What::Upgrade => {
                assert_eq!(after["knex_migrations"].len(), 55, "point {at}");
                assert_eq!(after["heartbeat"].len(), 4, "point {at}");
                assert_eq!(after["monitor"][0].len(), 114, "point {at}");
            }
            What::Statistics => {
                assert_eq!(after["stat_daily"].len(), 2, "point {at}");
                let state = format!("{:?}", after["setting"]);
                assert!(state.contains("migrated") && !state.contains("migrating"), "point {at}: {state}");
            }
        }
    }
}

#[test]
#[ignore = "a part of other tests, see child.rs"]
fn killed_child() {
    let place = Place { target: reported("TARGET"), root: reported("ROOT") };
    let what = if reported::<String>("WHAT") == "Upgrade" { What::Upgrade } else { What::Statistics };
    what.run(&place, &Points::new(reported("AT"), How::Kill)).unwrap();
}

fn kill_child(place: &Place, at: usize, what: What) -> Result<()> {
    let (root, what) = (place.root.display(), format!("{what:?}"));
    if is_killed(module_path!(), &[("AT", &at), ("TARGET", &place.target), ("ROOT", &root), ("WHAT", &what)]) {
        Err(Error::Operation(OperationError::Stopped { why: "killed".into() }))
    } else {
        Ok(())
    }
}

/// Makes it fail at each point in turn, each time on the old database, which `reset` brings back.
fn fail_everywhere(place: &Place, what: What, how: How, reset: &dyn Fn()) {
    let before = read(place);
    let (mut old, mut new) = (0, 0);
    for at in rounds::points(what.stride()) {
        assert!(at < 1000, "it never ends");
        let points = Points::new(at, how);
        let ended = if how == How::Kill { kill_child(place, at, what) } else { what.run(place, &points) };
        let passed = how != How::Kill && points.seen.load(Ordering::SeqCst) < at || how == How::Kill && ended.is_ok();
        if Journal::read(place.instance().work()).unwrap().is_some() {
            let resumed = operation::resume(
                &place.instance(),
                &place.store(),
                &Settings::new("upgrade"),
                &mut operation::NoObserver,
            );
            resumed.unwrap_or_else(|error| panic!("point {at} {how:?}: {error}"));
        }
        if !pending::list(&place.instance()).is_empty() {
            let resumed = operation::resume(
                &place.instance(),
                &place.store(),
                &Settings::new("upgrade"),
                &mut operation::NoObserver,
            );
            assert!(matches!(resumed, Ok(Resumed::Packed(..))), "point {at} {how:?}");
        }
        assert_eq!(left_in(place.instance().work()), ["lock"], "point {at} {how:?}: left behind");
        let after = read(place);
        if after == before {
            old += 1;
        } else {
            new += 1;
            what.check(&after, at);
            reset();
            assert_eq!(read(place), before);
        }
        if passed {
            ended.unwrap();
            break;
        }
    }
    println!("{what:?} {how:?}: {old} old, {new} new");
    assert!(old >= 2 && new >= 1, "{what:?} {how:?}: {old} old, {new} new");
}

fn place_of(lab: &Lab) -> Place {
    Place { target: lab.target.clone(), root: lab.root.path().to_owned() }
}

#[test]
fn sqlite_is_whole_wherever_an_upgrade_fails() {
    let lab = Lab::sqlite("1.23.17");
    lab.sql(ROWS);
    let saved = lab.root.path().join("saved.db");
    let live = lab.folder().join("kuma.db");
    std::fs::copy(&live, &saved).unwrap();
    let copy = |from: &Path, to: &Path| std::fs::copy(from, to).map(drop).unwrap();
    for how in [How::Error, How::Kill] {
        fail_everywhere(&place_of(&lab), What::Upgrade, how, &|| {
            for suffix in ["-wal", "-shm"] {
                let _ = std::fs::remove_file(lab.folder().join(format!("kuma.db{suffix}")));
            }
            copy(&saved, &live);
        });
    }
}

#[test]
fn mariadb_is_whole_wherever_an_upgrade_fails() {
    let Some(lab) = Lab::mariadb("2.0.2") else { return };
    lab.sql(ROWS);
    lab.ok("backup create");
    for how in [How::Error, How::Kill] {
        fail_everywhere(&place_of(&lab), What::Upgrade, how, &|| drop(lab.ok("restore latest --other-release --yes")));
    }
}

/// Statistics of a server that was interrupted before it wrote the first day.
const INTERRUPTED: &str = "DELETE FROM stat_daily; DELETE FROM stat_hourly; DELETE FROM stat_minutely; \
    UPDATE setting SET value = '\"migrating\"' WHERE `key` = 'migrateAggregateTableState'";

/// Fails the replacement of the statistics of `lab` everywhere.
fn fail_statistics(lab: &Lab) {
    let before = Lab::sqlite("1.23.17");
    before.sql(ROWS);
    before.sql(&format!("VACUUM INTO '{}'", lab.root.path().join("before.db").display()));
    lab.sql(ROWS);
    lab.sql(INTERRUPTED);
    for how in [How::Error, How::Kill] {
        fail_everywhere(&place_of(lab), What::Statistics, how, &|| drop(lab.sql(INTERRUPTED)));
    }
}

#[test]
fn sqlite_is_whole_wherever_a_replacement_of_statistics_fails() {
    fail_statistics(&Lab::sqlite("2.5.3"));
}

#[test]
fn mariadb_is_whole_wherever_a_replacement_of_statistics_fails() {
    Lab::mariadb("2.5.3").iter().for_each(fail_statistics);
}
