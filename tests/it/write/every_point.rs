//! Made to fail at the N-th point, for every N until it passes: by an error, by a full disk, by SIGKILL. After each, the
//! database is wholly old or wholly new, and nothing is left to clear away by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kumadb::backup::Store;
use kumadb::engine::mariadb::Address;
use kumadb::engine::{
    Connect, Counts, Depth, DumpFit, EngineKind, IntegrityError, Reader, RowDigest, RowFilter, Shadow, WriteKey, Writer,
};
use kumadb::error::{Error, OperationError, Result};
use kumadb::instance::Instance;
use kumadb::kuma::init;
use kumadb::kuma::read::read_state;
use kumadb::model::{NewMonitorContext, new_monitor};
use kumadb::operation::{self, Journal, Observer, Resumed, Settings, Step, Transaction, pending};
use kumadb::plan::Plan;
use kumadb::plan::monitor::{New, Notify, TagRequest, plan_add};
use kumadb::schema::{self, Schema};
use kumadb::value::{Row, Secret, Value};
use tempfile::TempDir;

use crate::support::child::{is_killed, reported};
use crate::support::lab::instance_at;
use crate::support::mariadbd::Mariadbd;
use crate::support::rounds;

/// Counts the points of a run and ends it at one of them.
#[derive(Clone)]
pub struct Points {
    pub seen: Arc<AtomicUsize>,
    at: usize,
    how: How,
    /// Whether they are counted yet.
    counts: Arc<AtomicBool>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum How {
    Error,
    DiskFull,
    Kill,
}

impl How {
    /// How many points are tried at the least.
    fn least(self) -> usize {
        match self {
            How::DiskFull => 5,
            _ => rounds::count(4, 30),
        }
    }

    /// The short form tries one point of so many.
    fn stride(self) -> usize {
        if self == How::DiskFull { 1 } else { 9 }
    }
}

impl Points {
    pub fn new(at: usize, how: How) -> Points {
        Points { seen: Arc::default(), at, how, counts: Arc::new(AtomicBool::new(true)) }
    }

    /// Only those from where a copy begins to be put in.
    pub fn of_load(at: usize, how: How) -> Points {
        Points { counts: Arc::default(), ..Points::new(at, how) }
    }

    /// Makes every statement to the database of `instance` a point too.
    pub fn wrap(&self, instance: &mut Instance) {
        let counted = self.clone();
        instance.wrap = Some(Arc::new(move |connect| Box::new(Counted(connect, counted.clone()))));
    }

    fn pass(&self) -> Result<()> {
        if !self.counts.load(Ordering::SeqCst) {
            return Ok(());
        }
        if self.seen.fetch_add(1, Ordering::SeqCst) + 1 != self.at {
            return Ok(());
        }
        match self.how {
            How::Error => Err(Error::Operation(OperationError::Stopped { why: "made to fail".into() })),
            How::DiskFull => Err(Error::file("write", "/somewhere")(std::io::ErrorKind::StorageFull.into())),
            How::Kill => {
                let me = std::process::id().to_string();
                Command::new("kill").args(["-9", &me]).status().unwrap();
                unreachable!("killed");
            }
        }
    }
}

impl Observer for Points {
    fn step(&mut self, step: &Step) -> Result<()> {
        self.counts.fetch_or(*step == Step::PutBack, Ordering::SeqCst);
        self.pass()
    }
}

/// A way to a database on which every statement is a point.
pub struct Counted<T>(pub T, pub Points);

impl Connect for Counted<Box<dyn Connect>> {
    fn kind(&self) -> EngineKind {
        self.0.kind()
    }
    fn describe(&self) -> String {
        self.0.describe()
    }
    fn reader(&self) -> Result<Box<dyn Reader>> {
        self.1.pass()?;
        Ok(Box::new(Counted(self.0.reader()?, self.1.clone())))
    }
    fn writer(&self, key: &WriteKey) -> Result<Box<dyn Writer>> {
        self.1.pass()?;
        Ok(Box::new(Counted(self.0.writer(key)?, self.1.clone())))
    }
}

macro_rules! counted_reader {
    ($inner:ty) => {
        impl Reader for Counted<$inner> {
            fn kind(&self) -> EngineKind {
                self.0.kind()
            }
            fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
                self.1.pass()?;
                self.0.query(sql, params)
            }
            fn stream(&mut self, sql: &str, params: &[Value], each: &mut dyn FnMut(Row) -> Result<()>) -> Result<()> {
                self.1.pass()?;
                self.0.stream(sql, params, each)
            }
            fn schema(&mut self) -> Result<Schema> {
                self.1.pass()?;
                self.0.schema()
            }
            fn differences(&mut self, from: &Path) -> Result<Vec<String>> {
                self.1.pass()?;
                self.0.differences(from)
            }
            fn digest(&mut self, table: &str, filter: Option<&RowFilter>) -> Result<RowDigest> {
                self.1.pass()?;
                self.0.digest(table, filter)
            }
            fn check(&mut self, depth: Depth) -> Result<Vec<IntegrityError>> {
                self.1.pass()?;
                self.0.check(depth)
            }
            fn dump(&mut self, to: &Path, without: &[String], progress: &mut dyn FnMut(u64, u64)) -> Result<Counts> {
                self.1.pass()?;
                self.0.dump(to, without, progress)
            }
        }
    };
}

counted_reader!(Box<dyn Reader>);
counted_reader!(Box<dyn Writer>);

impl Writer for Counted<Box<dyn Writer>> {
    fn begin(&mut self) -> Result<()> {
        self.1.pass()?;
        self.0.begin()
    }
    fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64> {
        self.1.pass()?;
        self.0.execute(sql, params)
    }
    fn insert(&mut self, table: &str, columns: &[&str], rows: &mut dyn Iterator<Item = Vec<Value>>) -> Result<u64> {
        self.1.pass()?;
        self.0.insert(table, columns, rows)
    }
    fn check_changed(&mut self, changed: &BTreeSet<String>) -> Result<Vec<IntegrityError>> {
        self.1.pass()?;
        self.0.check_changed(changed)
    }
    fn commit(&mut self) -> Result<()> {
        self.1.pass()?;
        self.0.commit()?;
        // Committed, and no note says so yet.
        self.1.pass()
    }
    fn rollback(&mut self) -> Result<()> {
        self.0.rollback()
    }
    fn load(&mut self, from: &Path, without: &[String], progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        self.1.pass()?;
        self.0.load(from, without, progress)?;
        self.1.pass()
    }
    fn shadow(&mut self) -> Option<&mut dyn Shadow> {
        self.0.shadow().is_some().then_some(self)
    }
}

impl Counted<Box<dyn Writer>> {
    fn inner(&mut self) -> &mut dyn Shadow {
        self.0.shadow().unwrap()
    }
}

impl Shadow for Counted<Box<dyn Writer>> {
    fn suits(&mut self, from: &Path) -> Result<DumpFit> {
        self.1.pass()?;
        self.inner().suits(from)
    }
    fn reserve(&mut self) -> Result<()> {
        self.1.pass()?;
        self.inner().reserve()
    }
    fn fill(&mut self, from: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Vec<IntegrityError>> {
        self.1.pass()?;
        let faults = self.inner().fill(from, progress)?;
        self.1.pass()?;
        Ok(faults)
    }
    fn make_empty(&mut self) -> Result<Address> {
        self.1.pass()?;
        self.inner().make_empty()
    }
    fn swap(&mut self) -> Result<()> {
        self.1.pass()?;
        self.inner().swap()?;
        // Exchanged, and nobody has heard of it yet.
        self.1.pass()
    }
    fn can_keep(&mut self, tables: &[&str]) -> Result<bool> {
        self.1.pass()?;
        self.inner().can_keep(tables)
    }
    fn fill_kept(&mut self, kept: &[RowFilter], progress: &mut dyn FnMut(u64, u64)) -> Result<Address> {
        self.1.pass()?;
        let filled = self.inner().fill_kept(kept, progress)?;
        self.1.pass()?;
        Ok(filled)
    }
    fn swap_kept(&mut self) -> Result<Address> {
        self.1.pass()?;
        let replaced = self.inner().swap_kept()?;
        // Exchanged, and nobody has heard of it yet.
        self.1.pass()?;
        Ok(replaced)
    }
    fn is_swapped(&mut self, tables: &BTreeSet<&str>) -> Result<bool> {
        self.inner().is_swapped(tables)
    }
    fn swap_back(&mut self, tables: &BTreeSet<&str>) -> Result<bool> {
        self.inner().swap_back(tables)
    }
    fn clear(&mut self) -> Result<()> {
        self.1.pass()?;
        self.inner().clear()
    }
}

/// One database, and how it is named on a command line.
pub struct Place {
    pub target: String,
    pub root: PathBuf,
}

impl Place {
    pub fn instance(&self) -> Instance {
        instance_at(&self.target, &self.root, self.root.join("state"))
    }

    pub fn store(&self) -> Store {
        Store::new(self.root.join("store"))
    }

    /// Names of the monitors, which is what the plan changes.
    pub fn monitors(&self) -> Vec<String> {
        let mut reader = self.instance().connect().unwrap().reader().unwrap();
        let state = read_state(&mut *reader, "test").unwrap();
        let tags = format!("{} tags", state.tags.len());
        state.monitors.values().map(|monitor| monitor.name().to_owned()).chain([tags]).collect()
    }

    /// Adds two monitors with a new tag, with every step and statement counted.
    fn write(&self, points: &Points) -> Result<operation::Outcome> {
        let mut instance = self.instance();
        let plan = plan(&instance, "new");
        // A full disk is met by what writes files; to a statement it is an error like any other.
        if points.how != How::DiskFull {
            points.wrap(&mut instance);
        }
        operation::run(&instance, &self.store(), Transaction::Plan(&plan), &settings(), &mut points.clone())
    }

    pub fn resume(&self) -> Result<Resumed> {
        operation::resume(&self.instance(), &self.store(), &settings(), &mut operation::NoObserver)
    }
}

pub fn settings() -> Settings {
    Settings::new("monitor add")
}

pub fn plan(instance: &Instance, name: &str) -> Plan {
    let mut reader = instance.connect().unwrap().reader().unwrap();
    let state = read_state(&mut *reader, "test").unwrap();
    let table = state.database.schema.table("monitor").unwrap();
    let monitors: Vec<New> = (1..=2)
        .map(|n| {
            let typed = BTreeMap::from([
                ("name".to_owned(), Value::from(format!("{name} {n}"))),
                ("url".to_owned(), Value::from("http://127.0.0.1:1/")),
            ]);
            let by = NewMonitorContext { user_id: state.owner().unwrap(), ..NewMonitorContext::default() };
            let row = new_monitor(state.database.release.release, table, "http", &typed, &by).unwrap();
            New { row, tags: vec![TagRequest::parse(&format!("{name}=x"))], notify: Notify::Defaults }
        })
        .collect();
    plan_add(&state, &monitors, true).unwrap()
}

pub fn new_instance() -> init::NewInstance {
    let admin = Some(("admin".to_owned(), Secret::new("Kuma-Lab-2026")));
    init::NewInstance { release: schema::newest(), admin, timezone: None }
}

fn sqlite() -> (TempDir, Place) {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    init::make_folder(&data, &new_instance()).unwrap();
    let place = Place { target: data.display().to_string(), root: root.path().to_owned() };
    place.write(&Points::new(0, How::Error)).unwrap();
    (root, place)
}

/// How often each way of ending was tried, and how it ended.
#[derive(Debug, Default)]
struct Tried {
    points: usize,
    old: usize,
    new: usize,
    rolled_back: usize,
}

/// Fails the write at every point in turn, on one database that is brought back to where it was in between.
fn fail_everywhere(place: &Place, how: How) -> Tried {
    let mut tried = Tried::default();
    for at in rounds::points(how.stride()) {
        assert!(at < 510, "it never ends");
        let before = place.monitors();
        let points = Points::new(at, how);
        let ended = match how {
            How::Kill => kill_child(place, at),
            _ => place.write(&points).map(drop),
        };
        let passed = how != How::Kill && points.seen.load(Ordering::SeqCst) < at || how == How::Kill && ended.is_ok();
        if passed {
            ended.unwrap();
            return tried;
        }
        tried.points += 1;
        let unfinished = Journal::read(place.instance().work()).unwrap().is_some();
        if unfinished {
            // Only a packing that failed may leave a journal behind an error; a kill may at any time.
            match place.resume().unwrap() {
                Resumed::Finished(..) => tried.new += 1,
                Resumed::Packed(..) => unreachable!("there was a journal"),
                Resumed::Undone(..) => {
                    tried.old += 1;
                    assert_eq!(place.monitors(), before, "point {at} {how:?}: undone is not as before");
                }
            }
        } else if matches!(ended, Err(Error::Operation(OperationError::RolledBack { .. }))) {
            tried.rolled_back += 1;
            assert_eq!(place.monitors(), before, "point {at} {how:?}: rolled back is not as before");
        } else if ended.is_err() && place.monitors() == before {
            tried.old += 1;
        } else {
            tried.new += 1;
        }
        let after = place.monitors();
        // The same two monitors come each time, and the tag only the first time.
        let whole_new = after.len() == before.len() + 2 && after.last() == before.last();
        assert!(after == before || whole_new, "point {at} {how:?}: half a change: {before:?} -> {after:?}");
        // A copy that could not be put into the store goes there as soon as it has room.
        if !pending::list(&place.instance()).is_empty() {
            assert!(matches!(place.resume(), Ok(Resumed::Packed(..))), "point {at} {how:?}");
        }
        let left = crate::support::lab::left_in(place.instance().work());
        assert_eq!(left, ["lock"], "point {at} {how:?}: left behind");
    }
    tried
}

/// Runs [`Place::write`] in a process of its own that is killed at point `at`; an error says that it was.
fn kill_child(place: &Place, at: usize) -> Result<()> {
    let root = place.root.display();
    if is_killed(module_path!(), &[("AT", &at), ("TARGET", &place.target), ("ROOT", &root)]) {
        Err(Error::Operation(OperationError::Stopped { why: "killed".into() }))
    } else {
        Ok(())
    }
}

#[test]
#[ignore = "a part of other tests, see child.rs"]
fn killed_child() {
    let place = Place { target: reported("TARGET"), root: reported("ROOT") };
    place.write(&Points::new(reported("AT"), How::Kill)).unwrap();
}

#[test]
fn sqlite_is_whole_wherever_a_write_fails() {
    let (_root, place) = sqlite();
    for how in [How::Error, How::DiskFull, How::Kill] {
        let tried = fail_everywhere(&place, how);
        println!("SQLite, {how:?}: {tried:?}");
        assert!(tried.points > how.least() && tried.old > 0, "{tried:?}");
    }
}

#[test]
fn mariadb_is_whole_wherever_a_write_fails() {
    let Some(mariadbd) = Mariadbd::start() else { return };
    let root = tempfile::tempdir().unwrap();
    mariadbd.create_database("kuma", "utf8mb4");
    let target = format!("mysql://root@localhost/kuma?socket={}", mariadbd.socket().display());
    let place = Place { target, root: root.path().to_owned() };
    init::fill_database(&*place.instance().connect().unwrap(), &new_instance()).unwrap();
    place.write(&Points::new(0, How::Error)).unwrap();
    for how in [How::Error, How::DiskFull, How::Kill] {
        let tried = fail_everywhere(&place, how);
        println!("MariaDB, {how:?}: {tried:?}");
        assert!(tried.points > how.least() && tried.old > 0, "{tried:?}");
    }
}

#[test]
fn a_disk_that_fills_up_leaves_the_old_or_the_new() {
    let root = tempfile::tempdir().unwrap();
    let disk = root.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = |size: &str| {
        Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]).arg(&disk).status().unwrap()
    };
    if !mount("64m").success() {
        return crate::support::need::left_out("the right to mount a tmpfs").unwrap_or_default();
    }
    let data = disk.join("data");
    init::make_folder(&data, &new_instance()).unwrap();
    let place = Place { target: data.display().to_string(), root: root.path().to_owned() };
    let used = || -> u64 {
        let out = Command::new("du").args(["-sk"]).arg(&disk).output().unwrap();
        String::from_utf8_lossy(&out.stdout).split_whitespace().next().unwrap().parse().unwrap()
    };
    let (mut failed, mut passed) = (0, 0);
    for spare in (0..3000).step_by(100) {
        let before = place.monitors();
        let size = format!("remount,size={}k", used() + spare);
        assert!(Command::new("mount").args(["-o", &size]).arg(&disk).status().unwrap().success());
        let ended = place.write(&Points::new(0, How::Error));
        assert!(Command::new("mount").args(["-o", "remount,size=64m"]).arg(&disk).status().unwrap().success());
        if Journal::read(place.instance().work()).unwrap().is_some() {
            place.resume().unwrap();
        }
        let after = place.monitors();
        match ended {
            Ok(_) => {
                passed += 1;
                assert_eq!(after.len(), before.len() + 2);
            }
            Err(_) => {
                failed += 1;
                assert_eq!(after, before, "{spare} KB to spare");
            }
        }
    }
    Command::new("umount").arg(&disk).status().unwrap();
    println!("disk full: {failed} sizes failed, {passed} passed");
    assert!(failed > 3 && passed > 3, "{failed} failed, {passed} passed");
}
