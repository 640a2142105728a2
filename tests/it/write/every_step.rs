//! A write with a container, made to fail at the N-th step for every N, by an error and by SIGKILL: the database is wholly
//! old or wholly new, and after `resume` the container is what it was before and nothing is left over. The statements in
//! between are the points of `crash.rs`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kumadb::backup::Store;
use kumadb::docker::RunState;
use kumadb::error::{Error, OperationError, Result};
use kumadb::instance::Instance;
use kumadb::kuma::read::read_state;
use kumadb::model::{NewMonitorContext, new_monitor};
use kumadb::operation::{self, Mode, Settings, Transaction};
use kumadb::plan::Plan;
use kumadb::plan::monitor::{New, Notify, plan_add};
use kumadb::value::Value;

use crate::support::child::{is_killed, reported};
use crate::support::docked::{Docked, Kind, find, store_in};
use crate::support::dockerd::cli;
use crate::support::rounds;
use crate::support::steps::{How, Steps};

fn settings(mode: Mode) -> Settings {
    Settings { mode, deadline: Duration::from_secs(60), ..Settings::new("monitor add") }
}

/// Adds two monitors, of which the server may see both or none.
fn plan(instance: &Instance) -> Plan {
    let session = instance.open().unwrap();
    let state = read_state(&mut *session.connect().reader().unwrap(), "test").unwrap();
    session.close().unwrap();
    let table = state.database.schema.table("monitor").unwrap();
    let monitors: Vec<New> = ["one", "two"]
        .map(|name| {
            let url = ("url".to_owned(), Value::from("http://127.0.0.1:1/"));
            let typed = BTreeMap::from([("name".to_owned(), Value::from(name)), url]);
            let by = NewMonitorContext { user_id: state.owner().unwrap(), ..NewMonitorContext::default() };
            let row = new_monitor(state.database.release.release, table, "http", &typed, &by).unwrap();
            New { row, tags: Vec::new(), notify: Notify::Defaults }
        })
        .into();
    plan_add(&state, &monitors, false).unwrap()
}

fn write(instance: &Instance, store: &Store, mode: Mode, steps: &mut Steps) -> Result<()> {
    operation::run(instance, store, Transaction::Plan(&plan(instance)), &settings(mode), steps).map(drop)
}

#[test]
#[ignore = "a part of other tests, see child.rs"]
fn killed_child() {
    let root: PathBuf = reported("ROOT");
    let (instance, store) = (find(&reported::<String>("TARGET"), &root), store_in(&root));
    let mode = if reported("LIVE") { Mode::LiveThenRestart } else { Mode::Stopped };
    write(&instance, &store, mode, &mut Steps::ending(reported("AT"), How::Kill)).unwrap();
}

/// Runs [`write`] in a process that is killed at step `at`; whether it was.
fn kill_child(lab: &Docked, mode: Mode, at: usize) -> bool {
    let (target, root, is_live) = (&lab.server.name, lab.root().display(), mode != Mode::Stopped);
    is_killed(module_path!(), &[("TARGET", target), ("ROOT", &root), ("LIVE", &is_live), ("AT", &at)])
}

/// How often it was tried, and how it ended.
#[derive(Debug, Default)]
struct Tried {
    points: usize,
    old: usize,
    new: usize,
    resumed: usize,
}

/// How many containers share the steps of one kind of failure: it is mostly waiting.
const SHARED: usize = 2;

/// What is failed, and how.
#[derive(Clone, Copy, Debug)]
struct Case {
    kind: Kind,
    how: How,
    life: RunState,
    mode: Mode,
    /// Every so many steps, all of them in the long form.
    every: usize,
}

/// Fails at every step.
fn fail_everywhere(case: Case) {
    let begun = Instant::now();
    let tried: Vec<Tried> = std::thread::scope(|scope| {
        let shares: Vec<_> = (0..SHARED).map(|share| scope.spawn(move || fail_from(case, share))).collect();
        shares.into_iter().filter_map(|share| share.join().expect("it failed, see above")).collect()
    });
    if tried.len() < SHARED {
        return;
    }
    let sum = |of: fn(&Tried) -> usize| tried.iter().map(of).sum::<usize>();
    let (points, old, new) = (sum(|one| one.points), sum(|one| one.old), sum(|one| one.new));
    let (resumed, seconds) = (sum(|one| one.resumed), begun.elapsed().as_secs());
    println!(
        "{:?}, server {:?}, written {:?}, {:?}: {points} points tried, {old} old, {new} new, {resumed} resumed, in {seconds} s",
        case.kind, case.life, case.mode, case.how
    );
    let [least_points, least_old, least_new] = if rounds::is_long() { [11, 6, 3] } else { [3, 1, 0] };
    assert!(points >= least_points && old >= least_old && new >= least_new, "{points} points, {old} old, {new} new");
}

/// Fails at the steps of one share, on one container.
fn fail_from(case: Case, share: usize) -> Option<Tried> {
    let Case { kind, how, life, mode, every } = case;
    let lab = Docked::up(kind)?;
    if life == RunState::Stopped {
        cli(&["stop", "-t", "60", &lab.server.name]);
    }
    let mut tried = Tried::default();
    let mut before = lab.picture();
    for at in rounds::points(every).skip(share).step_by(SHARED) {
        let mut steps = Steps::ending(at, how);
        let ended = match how {
            How::Error => write(&lab.instance(), &lab.store(), mode, &mut steps),
            How::Kill if kill_child(&lab, mode, at) => {
                Err(Error::Operation(OperationError::Stopped { why: "killed".into() }))
            }
            How::Kill => Ok(()),
        };
        if how == How::Error && steps.seen < at || how == How::Kill && ended.is_ok() {
            break;
        }
        tried.points += 1;
        if lab.is_unfinished() {
            tried.resumed += 1;
            operation::resume(&lab.instance(), &lab.store(), &settings(Mode::Stopped), &mut operation::NoObserver)
                .unwrap();
        }
        if !operation::pending::list(&lab.instance()).is_empty() {
            operation::resume(&lab.instance(), &lab.store(), &settings(Mode::Stopped), &mut operation::NoObserver)
                .unwrap();
        }
        let after = lab.picture();
        let unchanged = after == before;
        let added = after["monitor"].len() == before["monitor"].len() + 2;
        assert!(unchanged || added, "{kind:?}, {how:?} at step {at}: half a change");
        if unchanged {
            tried.old += 1
        } else {
            tried.new += 1
        }
        if how == How::Error && ended.is_err() {
            assert!(unchanged, "{kind:?}, {how:?} at step {at}: {ended:?}, and yet it was changed");
        }
        assert_eq!(lab.life(), life, "{kind:?}, {how:?} at step {at}");
        match life {
            RunState::Running => lab.is_well(),
            _ => lab.is_tidy(),
        }
        before = after;
    }
    Some(tried)
}

const KILLED: Case =
    Case { kind: Kind::Sqlite, how: How::Kill, life: RunState::Running, mode: Mode::Stopped, every: 4 };

#[test]
fn sqlite_in_a_container_survives_errors_and_kills() {
    fail_everywhere(KILLED);
    fail_everywhere(Case { how: How::Error, ..KILLED });
}

#[test]
fn mariadb_in_a_container_survives_errors() {
    fail_everywhere(Case { kind: Kind::MariaDb, how: How::Error, ..KILLED });
}

#[test]
fn mariadb_in_a_container_survives_kills() {
    fail_everywhere(Case { kind: Kind::MariaDb, ..KILLED });
}

#[test]
fn mariadb_survives_kills_while_it_is_written_live() {
    // At more steps: where the server starts again, its MariaDB is not there yet when `resume` looks for it.
    fail_everywhere(Case { kind: Kind::MariaDb, mode: Mode::LiveThenRestart, every: 2, ..KILLED });
}

#[test]
fn a_stopped_container_survives_kills() {
    fail_everywhere(Case { life: RunState::Stopped, ..KILLED });
    // Fewer steps, because each costs several starts of a helper.
    fail_everywhere(Case { kind: Kind::MariaDb, life: RunState::Stopped, every: 5, ..KILLED });
}
