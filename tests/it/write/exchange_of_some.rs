//! Another client of MariaDB that writes while the rows that stay are copied and their tables exchanged, and a rollback of that
//! exchange that fails: nothing is lost, and nothing is reported that did not happen.

use std::thread;
use std::time::{Duration, Instant};

use kumadb::backup::Store;
use kumadb::engine::Writer;
use kumadb::error::{Error, OperationError, Result};
use kumadb::instance::Instance;
use kumadb::kuma::history::read_retention_row;
use kumadb::kuma::prune::find_delete_plans;
use kumadb::operation::{self, Journal, NoObserver, Observer, Phase, Resumed, Settings, Step, Transaction};
use kumadb::plan::history::{HistoryPruning, KeptHistory, plan_retention};

use crate::cli::history::{add_beats, furnish};
use crate::mariadb::engine::writer;
use crate::support::lab::{Lab, instance_at};

/// Heartbeats of two months ago, and how many of them and of the recent ones are kept.
const OLD: i64 = 200;
const KEPT: &str = "25\n";

/// Does something once, at a step.
struct At<F: FnMut() -> Result<()>>(Step, F);

impl<F: FnMut() -> Result<()>> Observer for At<F> {
    fn step(&mut self, step: &Step) -> Result<()> {
        if *step == self.0 { (self.1)() } else { Ok(()) }
    }
}

fn lab() -> Option<Lab> {
    let lab = Lab::mariadb("2.5.3")?;
    furnish(&lab);
    lab.sql("INSERT INTO setting (`key`, value, type) VALUES ('theirs', '1', 'general')");
    add_beats(&lab, 1, 60, OLD);
    add_beats(&lab, 2, 1, 20);
    Some(lab)
}

fn instance(lab: &Lab) -> Instance {
    instance_at(&lab.target, lab.root.path(), lab.root.path().join("state").join("instances"))
}

fn settings() -> Settings {
    Settings::new("history prune")
}

/// Prunes the heartbeats and sets the retention, by an exchange of both tables.
fn prune(lab: &Lab, observer: &mut dyn Observer) -> Result<()> {
    let instance = instance(lab);
    let mut reader = instance.connect().unwrap().reader().unwrap();
    let schema = reader.schema().unwrap();
    let tables = vec!["heartbeat".to_owned()];
    let keep = KeptHistory { days: 30, daily_days: 30, important: false, newest: 5, monitors: None, tables };
    let delete_plans = find_delete_plans(&mut *reader, &schema, &keep, chrono::Utc::now()).unwrap();
    let plan = plan_retention(read_retention_row(&mut *reader).unwrap().as_ref(), 30);
    drop(reader);
    let compacting = vec!["OPTIMIZE TABLE `heartbeat`".to_owned()];
    let pruning = HistoryPruning { delete_plans, compacting, deletes_most: true, settings: plan };
    let store = Store::new(lab.root.path().join("store"));
    operation::run(&instance, &store, Transaction::Prune(&pruning), &settings(), observer).map(drop)
}

fn beats(lab: &Lab) -> String {
    lab.sql("SELECT count(*) FROM heartbeat")
}

/// The instance is as if nothing had been done, apart from `rows`.
#[track_caller]
fn assert_closed(lab: &Lab, rows: &str, what: &str) {
    assert_eq!(lab.rows(), rows, "{what}");
    assert!(Journal::read(instance(lab).work()).unwrap().is_none(), "{what}");
    assert_eq!(lab.sql("SHOW DATABASES LIKE 'kuma%'"), "kuma\n", "{what}");
}

#[track_caller]
fn assert_refused(ended: Result<()>, named: &str, what: &str) {
    match ended {
        Err(Error::Operation(OperationError::ChecksFailed(why))) => assert!(why.join(" ").contains(named), "{why:?}"),
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn what_another_client_writes_before_the_exchange_of_kept_rows_stays() {
    let Some(lab) = lab() else { return };
    let insert = |time: &str| {
        format!("INSERT INTO heartbeat (important, monitor_id, status, time, duration) VALUES (0, 2, 0, {time}, 1)")
    };
    for (sql, named) in [
        (&*insert("utc_timestamp()"), "another client added rows to `heartbeat`"),
        // It would be deleted too, but only by a pruning that has seen it.
        (&*insert("utc_timestamp() - INTERVAL 50 DAY"), "another client added rows to `heartbeat`"),
        ("UPDATE heartbeat SET msg = 'theirs' ORDER BY time DESC LIMIT 1", "another client wrote to `heartbeat`"),
        ("DELETE FROM heartbeat ORDER BY time DESC LIMIT 1", "another client wrote to `heartbeat`"),
        ("UPDATE setting SET value = '2' WHERE `key` = 'theirs'", "another client wrote to `setting`"),
        ("INSERT INTO setting (`key`, value) VALUES ('more', '1')", "another client "),
        // It is in a table that is not exchanged.
        ("UPDATE monitor SET name = 'Theirs' WHERE id = 1", "rows changed"),
    ] {
        let mut rows = String::new();
        let ended = prune(
            &lab,
            &mut At(Step::Swap, || {
                lab.sql(sql);
                rows = lab.rows();
                Ok(())
            }),
        );
        assert!(!rows.is_empty(), "{sql}: tables were not exchanged");
        assert_refused(ended, named, sql);
        assert_closed(&lab, &rows, sql);
    }
    prune(&lab, &mut NoObserver).unwrap();
    let left = lab.sql("SELECT count(*) FROM heartbeat WHERE time < utc_timestamp() - INTERVAL 30 DAY");
    assert_eq!(left, "5\n");
}

/// Whether a statement waits for a table that a transaction uses.
fn is_waiting(lab: &Lab) -> bool {
    lab.sql("SELECT 1 FROM information_schema.PROCESSLIST WHERE INFO LIKE 'RENAME TABLE%' AND STATE LIKE 'Waiting%'")
        == "1\n"
}

#[test]
fn what_a_transaction_writes_that_the_exchange_of_kept_rows_waits_for_stays() {
    let Some(lab) = lab() else { return };
    let address = lab.mariadbd.as_ref().unwrap().address("kuma");
    let mut before = Some(lab.rows());
    let ended = thread::scope(|scope| {
        prune(
            &lab,
            &mut At(Step::Swap, || {
                let mut other = writer(&address);
                other.execute("START TRANSACTION", &[]).unwrap();
                other.execute("UPDATE heartbeat SET msg = 'theirs' WHERE monitor_id = 2", &[]).unwrap();
                let lab = &lab;
                scope.spawn(move || {
                    let end = Instant::now() + Duration::from_secs(60);
                    while !is_waiting(lab) && Instant::now() < end {
                        thread::sleep(Duration::from_millis(5));
                    }
                    other.execute("COMMIT", &[]).unwrap();
                });
                before = None;
                Ok(())
            }),
        )
    });
    assert_eq!(before, None, "tables were not exchanged");
    assert_refused(ended, "another client wrote to `heartbeat`", "a transaction");
    assert_eq!(lab.sql("SELECT count(*) FROM heartbeat WHERE msg = 'theirs'"), "20\n");
    assert_closed(&lab, &lab.rows(), "a transaction");
}

#[test]
fn a_rollback_of_an_exchange_of_kept_rows_that_failed_is_repeated() {
    let Some(lab) = lab() else { return };
    let (address, before) = (lab.mariadbd.as_ref().unwrap().address("kuma"), lab.rows());
    let mut lock: Option<Box<dyn Writer>> = None;
    let ended = prune(
        &lab,
        &mut At(Step::Committed, || {
            assert_eq!(beats(&lab), KEPT);
            // What a server that was started then writes to a table that was not exchanged.
            lab.sql(
                "UPDATE monitor SET name = 'Theirs' WHERE id = 1; INSERT INTO tag (name, color) VALUES ('a', '#111')",
            );
            let other = lock.insert(writer(&address));
            other.execute("START TRANSACTION", &[]).unwrap();
            other.execute("UPDATE tag SET color = '#222'", &[]).unwrap();
            Err(Error::Operation(OperationError::Stopped { why: "made to fail".into() }))
        }),
    );
    let store = Store::new(lab.root.path().join("store"));
    let resume = || operation::resume(&instance(&lab), &store, &settings(), &mut NoObserver);
    let failed =
        |error: &Error| matches!(error, Error::Operation(OperationError::RollbackFailed { is_back: false, .. }));
    assert!(ended.as_ref().is_err_and(failed), "{ended:?}");
    for _ in 0..2 {
        // The tables are back, and what was written since is still there.
        assert_ne!(beats(&lab), KEPT);
        assert_eq!(lab.sql("SELECT name FROM monitor WHERE id = 1; SELECT name FROM tag"), "Theirs\na\n");
        assert_eq!(Journal::read(instance(&lab).work()).unwrap().unwrap().record.phase, Phase::RollingBack);
        if lock.is_some() {
            let again = resume();
            assert!(again.as_ref().is_err_and(failed), "{again:?}");
            lock = None;
        }
    }
    let resumed = resume().unwrap();
    assert!(matches!(resumed, Resumed::Undone(_, true)), "{resumed:?}");
    assert_closed(&lab, &before, "a rollback");
}
