//! What a running server writes beside kumadb (`--live`) is never rolled back with a change that fails after its commit.

use kumadb::backup::Store;
use kumadb::error::{Error, OperationError, Result};
use kumadb::kuma::read::history;
use kumadb::operation::{self, Fixes, Load, Mode, Observer, Outcome, Replacement, Settings, Step, Transaction, Work};
use kumadb::plan::Plan;

use crate::doctor::findings::{damage, furnish};
use crate::doctor::migrations::two_kinds_of_damage;
use crate::support::lab::{Lab, instance_at};
use crate::support::rounds;
use crate::write::every_point::{How, Points};

/// At which step.
type At = fn(&Step) -> bool;

/// A server that writes with `sql` once, when the run is `at` this step.
struct Server<'a> {
    lab: &'a Lab,
    at: At,
    sql: &'a str,
    has_written: bool,
    points: Points,
}

impl Observer for Server<'_> {
    fn step(&mut self, step: &Step) -> Result<()> {
        if !self.has_written && (self.at)(step) {
            self.lab.sql(self.sql);
            self.has_written = true;
        }
        let passed = self.points.step(step);
        // No observer stops a run after its commit.
        if step.is_before_commit() { passed } else { Ok(()) }
    }
}

/// Makes `work` beside `server`, each point of which is one of its points.
fn run(work: Work<'_>, server: &mut Server<'_>) -> Result<Outcome> {
    let root = server.lab.root.path();
    let mut instance = instance_at(&server.lab.target, root, root.join("state"));
    server.points.wrap(&mut instance);
    let settings = Settings { mode: Mode::Live, ..Settings::new("test") };
    operation::run(&instance, &Store::new(root.join("store")), work, &settings, server)
}

#[test]
fn what_a_user_saves_while_tables_are_changed_stays() {
    let Some(lab) = Lab::mariadb("2.5.3") else { return };
    furnish(&lab);
    let (index, optimize) = (["CREATE INDEX late ON tag (color)".to_owned()], ["OPTIMIZE TABLE tag".to_owned()]);
    let none = Plan::default();
    let fixes = Fixes { plan: &none, statements: &index };
    let works: [(Work<'_>, At, usize); 2] = [
        (Transaction::Fixes(fixes).into(), |step| matches!(step, Step::Execute { .. }), 1),
        (Replacement::Compact(&optimize).into(), |step| matches!(step, Step::Compact { .. }), 0),
    ];
    for (n, (work, at, warnings)) in works.into_iter().enumerate() {
        let sql = format!("UPDATE monitor SET description = 'saved {n}' WHERE id = 3");
        let points = Points::new(0, How::Error);
        let mut server = Server { lab: &lab, at, sql: &sql, has_written: false, points };
        let outcome = run(work, &mut server).unwrap();
        assert!(server.has_written);
        assert_eq!(outcome.warnings.len(), warnings, "{:?}", outcome.warnings);
        assert_eq!(lab.sql("SELECT description FROM monitor WHERE id = 3").trim(), format!("saved {n}"));
    }
}

#[test]
fn a_load_that_fails_after_its_commit_does_not_lose_heartbeats() {
    let Some(lab) = Lab::mariadb("2.5.3") else { return };
    furnish(&lab);
    let beats = || lab.sql("SELECT count(*) FROM heartbeat WHERE monitor_id = 4").trim().parse::<u64>().unwrap();
    let (mut warned, mut failed) = (0, 0);
    for at in rounds::points(3) {
        assert!(at < 100, "it never ends");
        lab.ok("monitor edit Shop -s interval=77");
        let held = tempfile::tempdir().unwrap();
        let id = lab.newest_undo();
        let staged = Store::new(lab.store()).find(&id, &lab.target).unwrap().unpack(&held.path().join("held")).unwrap();
        let schema = instance_at(&lab.target, lab.root.path(), lab.root.path().join("state"));
        let kept = history(&schema.connect().unwrap().reader().unwrap().schema().unwrap());
        let load = Load { desired: &staged, kept: &kept, merges: true, shown: None };
        let (points, before) = (Points::of_load(at, How::Error), beats());
        let sql = "INSERT INTO heartbeat (important, monitor_id, status, msg, time, duration, down_count) VALUES \
                   (1, 4, 1, 'beat', '2026-11-03 10:00:00', 60, 0)";
        let is_at = |step: &Step| *step == Step::PutBack;
        let mut server = Server { lab: &lab, at: is_at, sql, has_written: false, points: points.clone() };
        let ended = run(load.into(), &mut server);
        assert_eq!((server.has_written, beats()), (true, before + 1), "point {at}: {ended:?}");
        let interval = lab.sql("SELECT `interval` FROM monitor WHERE id = 3").trim().to_owned();
        match ended {
            Err(Error::Operation(OperationError::RolledBack { .. } | OperationError::RollbackFailed { .. })) => {
                panic!("point {at}: {ended:?}");
            }
            Err(_) => failed += 1,
            Ok(outcome) => {
                assert_ne!(interval, "77", "point {at}");
                if points.seen.load(std::sync::atomic::Ordering::SeqCst) < at {
                    assert_eq!(outcome.warnings, [""; 0]);
                    break;
                }
                warned += usize::from(!outcome.warnings.is_empty());
            }
        }
    }
    // Few points are before the commit: the short form may have drawn none of them.
    assert!(warned > 0 && (failed > 0 || !rounds::is_long()), "{warned} {failed}");
}

#[test]
fn a_statement_that_fails_beside_a_running_server_rolls_nothing_back() {
    let Some(lab) = Lab::mariadb("2.5.3") else { return };
    furnish(&lab);
    let (sql, _) = two_kinds_of_damage(&lab);
    // A column of another type cannot get the foreign key.
    damage(&lab, &format!("{sql}; ALTER TABLE monitor_notification MODIFY monitor_id bigint unsigned NOT NULL"));
    let ran = lab.run("doctor --fix --live --yes");
    assert!(ran.err.contains("made: 1 of 1 row change, "), "{}", ran.err);
    assert!(ran.err.contains("the next part failed"), "{}", ran.err);
    assert!(!ran.err.contains("rolled back"), "{}", ran.err);
    assert_eq!(lab.sql("SELECT count(*) FROM monitor_notification").trim(), "0");
    assert_eq!(lab.json("backup list --undo")["snapshots"].as_array().unwrap().len(), 2, "that of the apply, and one");
}
