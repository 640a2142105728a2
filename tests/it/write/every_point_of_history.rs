//! Less history, and a file written anew, made to fail at every point: old or new, and what was deleted is in a snapshot.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kumadb::backup::Store;
use kumadb::engine::EngineKind;
use kumadb::error::Result;
use kumadb::instance::Instance;
use kumadb::kuma::prune::find_delete_plans;
use kumadb::operation::script::Script;
use kumadb::operation::{self, Journal, Replacement, Resumed, Settings, Transaction, Work};
use kumadb::plan::history::{HistoryPruning, KeptHistory};

use crate::cli::history::{add_beats, furnish};
use crate::support::child::{self, reported};
use crate::support::lab::{Lab, instance_at};
use crate::support::rounds;
use crate::write::every_point::{Counted, How, Points};

/// What is done to the instance.
#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Prune,
    /// The same, with the rows that stay copied.
    Copy,
    Script,
    Vacuum,
}

impl What {
    /// Beats that are left of sixty days and twenty recent ones.
    fn leaves(self) -> u64 {
        match self {
            What::Prune | What::Copy => 25,
            What::Script => 20,
            What::Vacuum => 40,
        }
    }
}

/// What somebody wrote by hand.
const DELETION: &str = "DELETE FROM heartbeat WHERE monitor_id = 1";

struct Place {
    target: String,
    root: PathBuf,
}

impl Place {
    fn of(lab: &Lab) -> Place {
        Place { target: lab.target.clone(), root: lab.root.path().to_owned() }
    }

    fn instance(&self) -> Instance {
        instance_at(&self.target, &self.root, self.root.join("state").join("instances"))
    }

    fn is_unfinished(&self) -> bool {
        Journal::read(self.instance().work()).unwrap().is_some()
    }

    fn store(&self) -> Store {
        Store::new(self.root.join("store"))
    }

    fn write(&self, what: What, points: &Points) -> Result<operation::Outcome> {
        let mut instance = self.instance();
        let mut pruning = self.pruning();
        if what == What::Copy {
            let sqlite = instance.engine() == EngineKind::Sqlite;
            pruning.compacting = vec![if sqlite { "VACUUM" } else { "OPTIMIZE TABLE `heartbeat`" }.to_owned()];
            pruning.deletes_most = true;
        }
        let mut script = Script { statements: vec![DELETION.into()], shown: None };
        if what == What::Script {
            let settings = Settings::new("test");
            let tried = operation::dry_run_transaction(
                &instance,
                &Transaction::Script(&script),
                &settings,
                &mut operation::NoObserver,
            )?;
            script.shown = Some(tried.changes);
        }
        let counted = points.clone();
        instance.wrap = Some(Arc::new(move |connect| Box::new(Counted(connect, counted.clone()))));
        let statements = vec!["VACUUM".to_owned()];
        let work: Work<'_> = match what {
            What::Prune | What::Copy => Transaction::Prune(&pruning).into(),
            What::Script => Transaction::Script(&script).into(),
            What::Vacuum => Replacement::Compact(&statements).into(),
        };
        operation::run(&instance, &self.store(), work, &Settings::new("test"), &mut points.clone())
    }

    fn pruning(&self) -> HistoryPruning {
        let mut reader = self.instance().connect().unwrap().reader().unwrap();
        let schema = reader.schema().unwrap();
        let tables = vec!["heartbeat".to_owned()];
        let keep = KeptHistory { days: 30, daily_days: 30, important: false, newest: 5, monitors: None, tables };
        let delete_plans = find_delete_plans(&mut *reader, &schema, &keep, chrono::Utc::now()).unwrap();
        HistoryPruning { delete_plans, ..HistoryPruning::default() }
    }
}

/// Runs it in a process of its own that is killed at point `at`; says whether it was.
fn is_killed(place: &Place, what: What, at: usize) -> bool {
    let (what, root) = (format!("{what:?}"), place.root.display());
    child::is_killed(module_path!(), &[("WHAT", &what), ("AT", &at), ("TARGET", &place.target), ("ROOT", &root)])
}

#[test]
#[ignore = "a part of other tests, see child.rs"]
fn killed_child() {
    let place = Place { target: reported("TARGET"), root: reported("ROOT") };
    let (what, known): (String, _) = (reported("WHAT"), [What::Prune, What::Copy, What::Script, What::Vacuum]);
    let what = known.into_iter().find(|known| format!("{known:?}") == what).unwrap();
    place.write(what, &Points::new(reported("AT"), How::Kill)).unwrap();
}

/// Points at the end of a run at which it is killed: from before the transaction on.
const LAST: usize = 22;

/// Fails it at many points; returns how often the database was the old and the new one then.
fn fail_everywhere(lab: &Lab, what: What, how: How) -> (usize, usize) {
    let place = Place::of(lab);
    let beats = || lab.sql("SELECT count(*) FROM heartbeat").trim().parse::<u64>().unwrap();
    let fill = || {
        lab.sql("DELETE FROM heartbeat");
        add_beats(lab, 1, 60, 20);
        add_beats(lab, 2, 1, 20);
        let _ = std::fs::remove_dir_all(lab.store());
    };
    fill();
    let points = Points::new(0, how);
    place.write(what, &points).unwrap();
    let total = points.seen.load(Ordering::SeqCst);
    fill();
    let (before, mut rows) = (beats(), lab.rows());
    // A copy is compared table by table after it replaced the rows.
    let few = if what == What::Copy { 6 } else { 3 };
    let early = rounds::draw(total - LAST, few).into_iter().filter(|at| *at > 0);
    // The last one is always there, so that it is done at least once.
    let late = rounds::draw(LAST, 6).into_iter().map(|n| total - LAST + n);
    let at_all: Vec<usize> = early.chain(late).chain([total]).collect();
    let (mut old, mut new) = (0, 0);
    for at in at_all {
        match how {
            // MariaDB shows connections that have just ended for a moment, and is then asked again.
            How::Kill => {
                let spared = lab.engine() == "MariaDB" && at > total - LAST / 2;
                assert!(is_killed(&place, what, at) || spared, "{at} of {total}");
            }
            _ => drop(place.write(what, &Points::new(at, how))),
        }
        let resumed = place.is_unfinished().then(|| {
            operation::resume(&place.instance(), &place.store(), &Settings::new("test"), &mut operation::NoObserver)
                .unwrap()
        });
        if let Some(server) = &lab.mariadbd {
            assert_eq!(server.sql("", "SHOW DATABASES LIKE 'kuma%'"), "kuma\n", "{what:?}, point {at}: left behind");
        }
        let now = beats();
        if now == before {
            assert_eq!(lab.rows(), rows, "{what:?}, point {at}");
            old += 1;
            continue;
        }
        new += 1;
        assert_eq!(now, what.leaves(), "{what:?}, point {at}");
        assert!(!matches!(resumed, Some(Resumed::Undone(..))), "point {at}: it says undone, and beats are gone");
        let kept = place.store().list().unwrap().snapshots;
        let packed = kept.iter().map(|snapshot| snapshot.manifest.counts["heartbeat"]);
        let staged =
            operation::pending::list(&place.instance()).into_iter().map(|copy| copy.manifest.counts["heartbeat"]);
        let kept: Vec<u64> = packed.chain(staged).collect();
        assert_eq!(kept, [before], "point {at}: what was deleted is in a snapshot, or in a copy that is kept");
        let _ = std::fs::remove_dir_all(place.instance().work().join("kept"));
        fill();
        rows = lab.rows();
    }
    (old, new)
}

#[test]
fn a_shorter_history_is_whole_wherever_it_is_cut_off() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let hows = if lab.engine() == "SQLite" { &[How::Error, How::Kill][..] } else { &[How::Kill] };
        for how in hows {
            let (old, new) = fail_everywhere(&lab, What::Prune, *how);
            println!("{}, {how:?}: {old} old, {new} new", lab.engine());
            assert!(old >= rounds::count(3, 10) && new >= rounds::count(1, 3), "{old} old, {new} new");
        }
    }
}

#[test]
fn copied_rows_are_whole_wherever_it_is_cut_off() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        for how in [How::Error, How::Kill] {
            let (old, new) = fail_everywhere(&lab, What::Copy, how);
            println!("{}, {how:?}: {old} old, {new} new", lab.engine());
            assert!(old >= rounds::count(3, 10) && new >= rounds::count(1, 3), "{old} old, {new} new");
        }
    }
}

#[test]
fn what_somebody_wrote_is_done_or_not_wherever_it_is_cut_off() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let (old, new) = fail_everywhere(&lab, What::Script, How::Kill);
        println!("{}: {old} old, {new} new", lab.engine());
        assert!(old >= rounds::count(3, 10) && new >= rounds::count(1, 3), "{old} old, {new} new");
    }
}

#[test]
fn a_file_written_anew_is_whole_wherever_it_is_cut_off() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    let (old, new) = fail_everywhere(&lab, What::Vacuum, How::Kill);
    assert!(old >= rounds::count(7, 20) && new == 0, "{old} points");
}

#[test]
fn killed_while_it_writes_the_rows_anew_they_are_the_same() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        add_beats(&lab, 1, 60, 30_000);
        let rows = lab.rows();
        let (line, check, fine) = match lab.engine() {
            "SQLite" => ("vacuum", "PRAGMA quick_check", "ok"),
            _ => (
                "vacuum --tables heartbeat,stat_minutely",
                "CHECK TABLE heartbeat",
                "kuma.heartbeat\tcheck\tstatus\tOK",
            ),
        };
        // Where the command keeps its journals of databases that have no folder.
        let state = lab.root.path().join("state/kumadb/instances");
        let mut cut_off = 0;
        for n in rounds::draw(9, 4) {
            let mut child = lab.spawn(line);
            let work = instance_at(&lab.target, lab.root.path(), state.clone()).work().to_owned();
            while Journal::read(&work).unwrap().is_none() && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(35 * n as u64));
            child.kill().unwrap();
            child.wait().unwrap();
            let resumed = lab.run("recover");
            match resumed.exit {
                0 => cut_off += 1,
                _ => assert!(resumed.err.contains("no interrupted operation"), "{}", resumed.err),
            }
            assert_eq!(lab.sql(check).trim(), fine);
        }
        assert_eq!(lab.rows(), rows);
        println!("{}: cut off {cut_off} times", lab.engine());
        assert!(cut_off > 0, "never met it at work");
        lab.ok(line);
    }
}
