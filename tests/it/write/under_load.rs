//! Snapshots that are taken while somebody writes without a pause, and commands that are killed at any moment.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kumadb::backup::Store;
use kumadb::engine::Connect as _;
use kumadb::engine::mariadb::Address;
use kumadb::engine::sqlite::SqliteFile;

use crate::cli::monitor::furnish;
use crate::mariadb::engine::writer;
use crate::support::lab::Lab;
use crate::support::rounds;

/// What holds after every commit of the load: what goes up on one side goes down on the other, and there is a beat for it.
const BALANCE: &str = "SELECT (SELECT sum(CAST(`value` AS DECIMAL)) FROM setting WHERE `key` LIKE 'load%') AS balance, \
    (SELECT CAST(`value` AS DECIMAL) FROM setting WHERE `key` = 'load up') AS ups, (SELECT count(*) FROM heartbeat) AS beats";

/// Statements of one commit.
const COMMIT: [&str; 3] = [
    "UPDATE setting SET `value` = `value` + 1 WHERE `key` = 'load up'",
    "UPDATE setting SET `value` = `value` - 1 WHERE `key` = 'load down'",
    "INSERT INTO heartbeat (monitor_id, status, msg, time, duration, down_count, important) \
     VALUES (2, 1, 'under load', '2026-11-20 10:00:00', 60, 0, 0)",
];

/// Somebody who commits and commits.
struct Load {
    over: Arc<AtomicBool>,
    commits: Arc<AtomicU64>,
    /// Gives the longest time that one commit took.
    thread: Option<JoinHandle<Duration>>,
}

impl Load {
    fn begin(lab: &Lab) -> Load {
        Load::with(
            lab,
            match lab.engine() {
                "SQLite" => on_sqlite(&lab.folder().join("kuma.db")),
                _ => on_mariadb(&lab.target),
            },
        )
    }

    fn with(lab: &Lab, mut commit: Box<dyn FnMut() + Send>) -> Load {
        lab.sql("INSERT INTO setting (`key`, `value`) VALUES ('load up', '0'), ('load down', '0')");
        let (over, commits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stop, count) = (over.clone(), commits.clone());
        let thread = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !stop.load(Ordering::SeqCst) {
                let begun = Instant::now();
                commit();
                longest = longest.max(begun.elapsed());
                count.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(1));
            }
            longest
        });
        Load { over, commits, thread: Some(thread) }
    }

    fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    fn end(mut self) -> Duration {
        self.over.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

/// As the server does: WAL, without a flush at each commit.
fn on_sqlite(file: &Path) -> Box<dyn FnMut() + Send> {
    let db = rusqlite::Connection::open(file).unwrap();
    db.busy_timeout(Duration::from_secs(20)).unwrap();
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 100")
        .unwrap();
    Box::new(move || {
        let statements = COMMIT.join("; ");
        db.execute_batch(&format!("BEGIN IMMEDIATE; {statements}; COMMIT")).unwrap();
    })
}

/// The same by a server that is restarted again and again, so that its WAL is removed and created again, with a file of many pages that
/// come and go.
fn restarting(file: &Path) -> Box<dyn FnMut() + Send> {
    let file = file.to_owned();
    let open = move || {
        let db = rusqlite::Connection::open(&file).unwrap();
        db.busy_timeout(Duration::from_secs(20)).unwrap();
        db.execute_batch("PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 200").unwrap();
        db
    };
    let (mut db, mut count) = (Some(open()), 0);
    Box::new(move || {
        count += 1;
        if count % 40 == 0 {
            // The last connection that is closed checkpoints the WAL, and removes it.
            db = None;
        }
        let db = db.get_or_insert_with(&open);
        let pages = "INSERT OR REPLACE INTO padding VALUES (abs(random()) % 4000, randomblob(3000)); \
                     DELETE FROM padding WHERE id % 50 = abs(random()) % 50; PRAGMA incremental_vacuum(20)";
        db.execute_batch(&format!("BEGIN IMMEDIATE; {}; COMMIT; {pages}", COMMIT.join("; "))).unwrap();
    })
}

fn on_mariadb(target: &str) -> Box<dyn FnMut() + Send> {
    let mut db = writer(&Address::parse(target).unwrap());
    Box::new(move || {
        db.begin().unwrap();
        for statement in COMMIT {
            db.execute(statement, &[]).unwrap();
        }
        db.commit().unwrap();
    })
}

/// Fails unless every snapshot of the store holds one moment of the load.
fn check_balance(lab: &Lab) -> usize {
    let listing = Store::new(lab.store()).list().unwrap();
    assert!(listing.unusable.is_empty(), "{:?}", listing.unusable);
    let scratch = tempfile::tempdir().unwrap();
    let under_load: Vec<_> =
        listing.snapshots.iter().filter(|snapshot| snapshot.manifest.reason == "backup create").collect();
    for snapshot in &under_load {
        let staged = snapshot.unpack(&scratch.path().join("held")).unwrap();
        let rows = staged.reader().unwrap().query(BALANCE, &[]).unwrap();
        let number = |name: &str| rows[0].cell(name).to_string().parse::<f64>().unwrap();
        assert_eq!((number("balance"), number("ups")), (0.0, number("beats")), "{}", snapshot.manifest.id);
    }
    under_load.len()
}

#[test]
fn snapshots_under_load_are_of_one_point_in_time_each() {
    let snapshots = rounds::count(5, 50);
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let load = Load::begin(&lab);
        let (begun, mut beside) = (Instant::now(), Vec::new());
        for _ in 0..snapshots {
            let before = load.commits();
            lab.ok("backup create");
            beside.push(load.commits() - before);
        }
        let rate = beside.iter().sum::<u64>() as f64 / begun.elapsed().as_secs_f64();
        let longest = load.end();
        // On a busy machine the other client may not commit during one of them.
        let without = beside.iter().filter(|commits| **commits == 0).count();
        assert!(without * 5 <= snapshots, "{}: {beside:?} commits, the slowest of {longest:?}", lab.engine());
        assert_eq!(check_balance(&lab), snapshots, "{}", lab.engine());
        println!("{}: {snapshots} snapshots beside {rate:.0} commits/s, the slowest of {longest:?}", lab.engine());
    }
}

#[test]
fn snapshots_beside_a_server_that_restarts_are_of_one_point_in_time_each() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    lab.sql(
        "PRAGMA auto_vacuum = INCREMENTAL; VACUUM; PRAGMA journal_mode = WAL; CREATE TABLE padding (id INTEGER PRIMARY KEY, b BLOB); \
         INSERT INTO padding SELECT value, randomblob(3000) FROM generate_series(1, 4000)",
    );
    let load = Load::with(&lab, restarting(&lab.folder().join("kuma.db")));
    let snapshots = rounds::count(8, 100);
    for _ in 0..snapshots {
        lab.ok("backup create");
    }
    let commits = load.commits();
    load.end();
    assert_eq!(check_balance(&lab), snapshots);
    println!("{snapshots} snapshots beside {commits} commits");
}

#[test]
fn a_server_that_starts_during_a_snapshot_is_read_beside() {
    let lab = Lab::sqlite("2.5.3");
    let file = lab.folder().join("kuma.db");
    for without in [&[][..], &["heartbeat".to_owned()]] {
        // No process has it open, so it is read without a lock.
        lab.sql("PRAGMA journal_mode = WAL");
        assert!(!file.with_extension("db-wal").exists());
        let mut reader = SqliteFile::new(&file).reader().unwrap();
        let before = reader.query("SELECT count(*) FROM tag", &[]).unwrap()[0].at(0).int().unwrap();
        let server = rusqlite::Connection::open(&file).unwrap();
        server.execute("INSERT INTO tag (name, color) VALUES ('new', '#000000')", []).unwrap();
        let copy = lab.root.path().join(format!("copy-{}.db", without.len()));
        let counts = reader.dump(&copy, without, &mut |_, _| {}).unwrap();
        assert_eq!(counts["tag"] as i64, before + 1);
        let copied = rusqlite::Connection::open(&copy).unwrap();
        assert_eq!(copied.query_row("SELECT count(*) FROM tag", [], |row| row.get::<_, i64>(0)).unwrap(), before + 1);
        assert_eq!(copied.query_row("PRAGMA quick_check", [], |row| row.get::<_, String>(0)).unwrap(), "ok");
    }
}

/// Runs `line` on `lab` and kills it after each of `count` moments that lie evenly between its start and its end, or after
/// some of them; `check` looks at what is left.
fn kill_everywhere(lab: &Lab, line: &str, count: usize, check: &mut dyn FnMut()) -> u32 {
    let begun = Instant::now();
    assert!(lab.spawn(line).wait().unwrap().success(), "{line}");
    let whole = begun.elapsed();
    let mut killed = 0;
    for n in rounds::draw(count, 8) {
        let mut child = lab.spawn(line);
        std::thread::sleep(whole.mul_f64(n as f64 / count as f64));
        killed += u32::from(child.try_wait().unwrap().is_none());
        let _ = child.kill();
        child.wait().unwrap();
        check();
    }
    killed
}

#[test]
fn a_killed_backup_leaves_whole_snapshots_and_the_instance_alone() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let before = lab.rows();
        let killed = kill_everywhere(&lab, "backup create", 60, &mut || {
            let listing = Store::new(lab.store()).list().unwrap();
            assert!(listing.unusable.is_empty(), "{:?}", listing.unusable);
            if let Some(newest) = listing.snapshots.last() {
                newest.verify().unwrap();
            }
            assert!(lab.rows() == before);
        });
        println!("{}: a backup killed {killed} times", lab.engine());
        lab.ok("backup create");
    }
}

#[test]
fn a_killed_restore_is_ended_by_resume() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let then = lab.rows();
        let id = lab.json("backup create")["manifest"]["id"].as_str().unwrap().to_owned();
        lab.ok("monitor edit Network/Router -s interval=300");
        lab.ok("monitor delete Cron --yes");
        let now = lab.rows();
        let present = lab.json("backup create")["manifest"]["id"].as_str().unwrap().to_owned();
        let (mut old, mut new) = (0, 0);
        let killed = kill_everywhere(&lab, &format!("restore {id} --yes"), 50, &mut || {
            let resumed = lab.run("recover");
            let is_idle = resumed.err.contains("no interrupted operation");
            assert!(resumed.exit == 0 || is_idle, "{}{}", resumed.out, resumed.err);
            let rows = lab.rows();
            assert!(rows == then || rows == now, "{}: neither old nor new", lab.engine());
            if rows == now {
                old += 1;
            } else {
                new += 1;
                lab.ok(&format!("restore {present} --yes"));
            }
        });
        println!("{}: a restore killed {killed} times: {old} old, {new} new", lab.engine());
        assert!(old > 0 && new > 0);
    }
}
