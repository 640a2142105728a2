//! Most of the history of an instance in a container pruned, made to fail at the N-th step, by an error and by SIGKILL: the
//! history is the old or the new one, and after `resume` the server runs again and nothing is left over.

use std::path::PathBuf;
use std::time::Duration;

use kumadb::backup::Store;
use kumadb::engine::EngineKind;
use kumadb::error::Result;
use kumadb::instance::Instance;
use kumadb::kuma::prune::find_delete_plans;
use kumadb::operation::{self, Settings, Transaction};
use kumadb::plan::history::{HistoryPruning, KeptHistory};

use crate::support::child::{is_killed, reported};
use crate::support::docked::{Docked, Kind, find, store_in};
use crate::support::rounds;
use crate::support::steps::{How, Steps};

/// Heartbeats of two months ago, and how many of them a pruning keeps at the least.
const OLD: u64 = 300;
const KEPT: u64 = 5;

fn settings() -> Settings {
    Settings { deadline: Duration::from_secs(60), ..Settings::new("history prune") }
}

fn write(instance: &Instance, store: &Store, steps: &mut Steps) -> Result<()> {
    let session = instance.open().unwrap();
    let mut reader = session.connect().reader().unwrap();
    let schema = reader.schema().unwrap();
    let tables = vec!["heartbeat".to_owned()];
    let keep = KeptHistory { days: 30, daily_days: 30, important: false, newest: KEPT, monitors: None, tables };
    let delete_plans = find_delete_plans(&mut *reader, &schema, &keep, chrono::Utc::now()).unwrap();
    drop(reader);
    session.close().unwrap();
    let sqlite = instance.engine() == EngineKind::Sqlite;
    let compacting = vec![if sqlite { "VACUUM" } else { "OPTIMIZE TABLE `heartbeat`" }.to_owned()];
    let pruning = HistoryPruning { delete_plans, compacting, deletes_most: true, ..HistoryPruning::default() };
    operation::run(instance, store, Transaction::Prune(&pruning), &settings(), steps).map(drop)
}

#[test]
#[ignore = "a part of other tests, see child.rs"]
fn killed_child() {
    let root: PathBuf = reported("ROOT");
    let (instance, store) = (find(&reported::<String>("TARGET"), &root), store_in(&root));
    write(&instance, &store, &mut Steps::ending(reported("AT"), How::Kill)).unwrap();
}

/// Old heartbeats of the paused monitor.
fn old(lab: &Docked) -> u64 {
    lab.sql("SELECT count(*) FROM heartbeat WHERE monitor_id = 2")[0].parse().unwrap()
}

fn fill(lab: &Docked) {
    let (numbers, time) = match lab.kind {
        Kind::Sqlite => (
            format!("WITH RECURSIVE n(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n WHERE seq < {OLD})"),
            "strftime('%Y-%m-%d %H:%M:%f', 'now', '-60 days', seq || ' minutes')",
        ),
        Kind::MariaDb => (
            format!("WITH n AS (SELECT CAST(seq AS SIGNED) AS seq FROM seq_1_to_{OLD})"),
            "utc_timestamp() - INTERVAL 60 DAY + INTERVAL seq MINUTE",
        ),
    };
    lab.inside("DELETE FROM heartbeat WHERE monitor_id = 2");
    lab.inside(&format!(
        "INSERT INTO heartbeat (important, monitor_id, status, msg, time, ping, duration, down_count) \
         {numbers} SELECT 0, 2, 1, '200 - OK', {time}, 10, 60, 0 FROM n"
    ));
}

/// Fails at the steps from the first on, a few of them in the short form.
fn fail_everywhere(kind: Kind, how: How) {
    let Some(lab) = Docked::up(kind) else { return };
    fill(&lab);
    let picture = lab.picture();
    let (mut points, mut kept, mut pruned) = (0, 0, 0);
    for at in rounds::points(5) {
        let mut steps = Steps::ending(at, how);
        let has_passed = match how {
            How::Error => {
                let ended = write(&lab.instance(), &lab.store(), &mut steps);
                steps.seen < at && ended.is_ok()
            }
            How::Kill => {
                let (target, root) = (&lab.server.name, lab.root().display());
                !is_killed(module_path!(), &[("TARGET", target), ("ROOT", &root), ("AT", &at)])
            }
        };
        if lab.is_unfinished() || !operation::pending::list(&lab.instance()).is_empty() {
            operation::resume(&lab.instance(), &lab.store(), &settings(), &mut operation::NoObserver).unwrap();
        }
        assert_eq!(lab.picture(), picture, "{kind:?}, {how:?} at step {at}");
        match old(&lab) {
            OLD => kept += 1,
            KEPT => {
                pruned += 1;
                fill(&lab);
            }
            rows => panic!("{kind:?}, {how:?} at step {at}: {rows} rows"),
        }
        if kind == Kind::MariaDb {
            assert_eq!(lab.sql("SHOW DATABASES LIKE 'kuma%'"), ["kuma"], "{how:?} at step {at}");
        }
        lab.is_well();
        if has_passed {
            break;
        }
        points += 1;
    }
    println!("{kind:?}, {how:?}: {points} points tried, {kept} old, {pruned} new");
    assert!(points >= rounds::count(3, 4) && kept > 0 && pruned > 0, "{points} points, {kept} old, {pruned} new");
}

#[test]
fn a_copied_history_in_a_container_survives_kills() {
    for kind in [Kind::Sqlite, Kind::MariaDb] {
        fail_everywhere(kind, How::Kill);
    }
}

#[test]
fn a_copied_history_in_a_container_survives_errors() {
    for kind in [Kind::Sqlite, Kind::MariaDb] {
        fail_everywhere(kind, How::Error);
    }
}
