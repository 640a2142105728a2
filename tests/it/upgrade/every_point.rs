//! An upgrade made to fail at every point, by an error and by SIGKILL: the database is wholly of the old or wholly of the new
//! release, and nothing is left over.

use std::path::Path;
use std::sync::atomic::Ordering;

use chrono::Utc;
use kumadb::error::{Error, OperationError, Result};
use kumadb::kuma::read::read_database;
use kumadb::kuma::upgrade::Options;
use kumadb::operation::UpgradeWork;
use kumadb::operation::{self, Journal, Resumed, Settings, Work, pending};
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
    let options = Options { style: Style::Intended, zone: None, now: Utc::now() };
    let order = UpgradeWork { route: &route, options };
    points.wrap(&mut instance);
    let settings = Settings::new("upgrade");
    operation::run(&instance, &place.store(), &Work::Upgrade(&order), &settings, &mut points.clone()).map(drop)
}

#[test]
#[ignore = "a part of other tests, see child.rs"]
fn killed_child() {
    let place = Place { target: reported("TARGET"), root: reported("ROOT") };
    upgrade(&place, &Points::new(reported("AT"), How::Kill)).unwrap();
}

fn kill_child(place: &Place, at: usize) -> Result<()> {
    let root = place.root.display();
    match is_killed(module_path!(), &[("AT", &at), ("TARGET", &place.target), ("ROOT", &root)]) {
        true => Err(Error::Operation(OperationError::Stopped { why: "killed".into() })),
        false => Ok(()),
    }
}

/// Fails the upgrade at each point in turn, each time on the old database, which `reset` brings back.
fn fail_everywhere(place: &Place, how: How, reset: &dyn Fn()) {
    let before = read(place);
    let (mut old, mut new) = (0, 0);
    for at in rounds::points(7) {
        assert!(at < 1000, "it never ends");
        let points = Points::new(at, how);
        let ended = if how == How::Kill { kill_child(place, at) } else { upgrade(place, &points) };
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
            assert_eq!(after["knex_migrations"].len(), 55, "point {at} {how:?}");
            assert_eq!(after["heartbeat"].len(), 4, "point {at} {how:?}");
            assert_eq!(after["monitor"][0].len(), 114, "point {at} {how:?}");
            reset();
            assert_eq!(read(place), before);
        }
        if passed {
            ended.unwrap();
            break;
        }
    }
    println!("{how:?}: {old} old, {new} new");
    assert!(old >= 3 && new >= 1, "{how:?}: {old} old, {new} new");
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
        fail_everywhere(&place_of(&lab), how, &|| {
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
        fail_everywhere(&place_of(&lab), how, &|| drop(lab.ok("restore latest --other-release --yes")));
    }
}
