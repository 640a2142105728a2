//! Snapshots compared with the tools of the engines: duration, memory usage, and how long another process that writes
//! has to wait.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kumadb::backup::stage::{CopySource, SnapshotLabel};
use kumadb::backup::{CopyScope, StagedCopy, Store};
use kumadb::engine::{Connect, DumpFit, WriteKey};

use crate::cloud::Cloud;
use crate::mariadbd::Mariadbd;
use crate::need;
use crate::place::{Place, kumadb, measure, memory_of, time_command};
use crate::read::add_beats;
use crate::report::{Limit, Report, timed};

/// About 512 MiB on SQLite, indexes included.
const LARGE: usize = 4_700_000;
/// A fifth of that.
const SMALL: usize = 900_000;
const ROWS: usize = 1_000_000;
const LISTED: usize = 1_000;
const LISTED_IN_S3: usize = 1_200;

pub fn run(report: &mut Report) {
    list(report);
    on_sqlite(report);
    on_mariadb(report);
}

/// A store with 1,000 copies of one snapshot.
fn list(report: &mut Report) {
    let place = Place::folder();
    time_command(create(&place));
    let store = Store::new(place.root().join("store"));
    let snapshot = store.list().unwrap().snapshots.remove(0);
    let (archive, id) = (snapshot.location(), &snapshot.manifest.id);
    let beside = format!("{archive}.json");
    let manifest = fs::read_to_string(&beside).unwrap();
    for n in 1..LISTED {
        let other = |text: &str| text.replace(id, &format!("{n:08x}"));
        fs::hard_link(&archive, other(&archive)).unwrap();
        fs::write(other(&beside), other(&manifest)).unwrap();
    }
    assert_eq!(store.list().unwrap().snapshots.len(), LISTED);
    let list = || {
        let mut command = kumadb(&place);
        command.args(["backup", "list"]);
        command
    };
    let times: Vec<_> = (0..report.runs).map(|_| time_command(list())).collect();
    report.time("backup list, 1,000 snapshots", &times, None, Limit::None);
}

/// An S3 server on the loopback with copies of one snapshot, listed without and with the manifests of the time before.
pub fn list_s3(report: &mut Report) {
    let place = Place::folder();
    time_command(create(&place));
    let snapshot = Store::new(place.root().join("store")).list().unwrap().snapshots.remove(0);
    let (archive, id) = (snapshot.location(), &snapshot.manifest.id);
    let name = Path::new(&archive).strip_prefix(place.root().join("store")).unwrap().display().to_string();
    let manifest = fs::read_to_string(format!("{archive}.json")).unwrap();
    let content = fs::read(&archive).unwrap();
    let cloud = Cloud::start();
    let (address, environment) = cloud.access("s3");
    for n in 0..LISTED_IN_S3 {
        let other = |text: &str| text.replace(id, &format!("{n:08x}"));
        let key = format!("shelf/kuma/off-site/{}", other(&name));
        cloud.shelf().objects.insert(format!("{key}.json"), other(&manifest).into_bytes());
        cloud.shelf().objects.insert(key, content.clone());
    }
    let cache = place.root().join("cache");
    let list = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kumadb"));
        command.args(["--store", &address, "backup", "list"]).envs(environment.clone());
        command.env("XDG_CACHE_HOME", &cache).env("XDG_STATE_HOME", place.root()).env_remove("KUMADB_TARGET");
        command
    };
    let (mut first, mut again, mut most) = (Vec::new(), Vec::new(), None::<f64>);
    for n in 1..=report.runs {
        report.say(&format!("list of S3, {n}"));
        let _ = fs::remove_dir_all(&cache);
        let (took, memory) = measure(&list());
        first.push(took);
        most = memory.map(|memory| most.unwrap_or_default().max(memory));
        again.push(time_command(list()));
    }
    let what = format!("backup list, {LISTED_IN_S3} snapshots in S3 on the loopback");
    report.time(&format!("{what}, the first time"), &first, None, Limit::Time(Duration::from_secs(3)));
    report.time(&format!("{what}, again"), &again, None, Limit::Time(Duration::from_millis(500)));
    report.memory(&format!("{what}: memory"), most, Limit::Memory(64.0));
}

fn on_sqlite(report: &mut Report) {
    let small = Place::folder();
    add_beats(&small, SMALL);
    let place = Place::folder();
    add_beats(&place, LARGE);
    let size = place.file().metadata().unwrap().len() >> 20;
    let (mut staged, mut created) = (Vec::new(), Vec::new());
    let (mut plain, mut packed) = (Vec::new(), Vec::new());
    let copy = place.root().join("theirs.db");
    for n in 1..=report.runs {
        report.say(&format!("snapshot of SQLite, {n}"));
        staged.push(hold(&place));
        created.push(time_command(create(&place)));
        let _ = fs::remove_file(&copy);
        plain.push(time_command(client(&place, &copy)));
        packed.push(time_command(zstd(&copy)) + plain[plain.len() - 1]);
    }
    let what = format!("snapshot, SQLite ({size} MiB)");
    let beside = Some(("sqlite3 .backup, not checked", plain.as_slice()));
    report.time(&format!("{what}: copied and checked"), &staged, beside, Limit::Ratio(1.5));
    let beside = Some(("sqlite3 .backup, then zstd -1", packed.as_slice()));
    report.time(&format!("{what}: copied, checked, packed, read back"), &created, beside, Limit::None);
    report.memory(&format!("{what}: memory"), memory_of(&create(&place)), Limit::Memory(64.0));
    let fifth = small.file().metadata().unwrap().len() >> 20;
    report.memory(&format!("snapshot, SQLite ({fifth} MiB): memory"), memory_of(&create(&small)), Limit::Memory(64.0));
}

fn on_mariadb(report: &mut Report) {
    let (Some(mariadbd), Some(dumper)) = (Mariadbd::start(), need::program(&["mariadb-dump", "mysqldump"])) else {
        return report.left_out("snapshot, MariaDB", "MariaDB (apt-get install mariadb-server)");
    };
    let place = Place::database(&mariadbd, "ours");
    add_beats(&place, ROWS);
    let connect = place.instance().connect().unwrap();
    let dump = place.root().join("ours.sql");
    let theirs = place.root().join("theirs.sql");
    let (mut dumped, mut dumped_theirs, mut loaded, mut loaded_theirs) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for n in 1..=report.runs {
        report.say(&format!("snapshot of MariaDB, {n}"));
        dumped.push(dump_to(&*connect, &dump));
        let mut command = Command::new(&dumper);
        command.arg("--no-defaults").arg(format!("--socket={}", mariadbd.socket().display()));
        command.args(["--single-transaction", "--quick", "--result-file"]).arg(&theirs).arg("ours");
        dumped_theirs.push(time_command(command));
    }
    let beside = Some(("mariadb-dump", dumped_theirs.as_slice()));
    report.time("dump of 1 million heartbeats, MariaDB", &dumped, beside, Limit::Ratio(1.0));
    report.memory("snapshot of 1 million heartbeats, MariaDB: memory", memory_of(&create(&place)), Limit::Memory(64.0));
    // One run is enough for slow operations.
    report.say("loading a dump into MariaDB");
    for change in ["TRUNCATE heartbeat", "DELETE FROM heartbeat WHERE id > 990000"] {
        mariadbd.sql("ours", change);
        loaded.push(load(&*connect, &dump));
    }
    mariadbd.create_database("theirs", "utf8mb4");
    loaded_theirs.push(timed(|| mariadbd.source("theirs", &theirs)).0);
    let beside = Some(("mariadb < dump", loaded_theirs.as_slice()));
    report.time("load of 1 million heartbeats, MariaDB: all missing", &loaded[..1], beside, Limit::Ratio(0.6));
    report.time("the same, one in a hundred missing", &loaded[1..], beside, Limit::Ratio(0.6));
}

/// A copy that is compared with its source and checked, not packed.
pub fn hold(place: &Place) -> Duration {
    let connect = place.instance().connect().unwrap();
    let label = SnapshotLabel {
        instance: "bench".into(),
        origin: "bench".into(),
        reason: "bench".into(),
        config: None,
        undo: false,
        undoes: None,
    };
    let folder = place.root().join("held");
    timed(|| {
        StagedCopy::take(CopySource::Live(&*connect), &folder, &label, &CopyScope::default(), &mut |_, _| {}).unwrap()
    })
    .0
}

fn create(place: &Place) -> Command {
    let mut command = kumadb(place);
    command.args(["backup", "create"]);
    command
}

fn client(place: &Place, to: &Path) -> Command {
    let mut command = Command::new("sqlite3");
    command.arg(place.file()).arg(format!(".backup {}", to.display()));
    command
}

fn zstd(file: &Path) -> Command {
    let mut command = Command::new("zstd");
    command.args(["-1", "-q", "-f", "-k"]).arg(file);
    command
}

/// A dump that replaces the one before.
pub fn dump_to(connect: &dyn Connect, file: &Path) -> Duration {
    let _ = fs::remove_file(file);
    timed(|| connect.reader().unwrap().dump(file, &[], &mut |_, _| {}).unwrap()).0
}

/// The load of `restore`: with new tables if most rows are missing.
pub fn load(connect: &dyn Connect, dump: &Path) -> Duration {
    let mut writer = connect.writer(&WriteKey::for_tests()).unwrap();
    let took = timed(|| {
        let shadow = writer.shadow().unwrap();
        if shadow.suits(dump).unwrap() == DumpFit::Rows {
            return writer.load(dump, &[], &mut |_, _| {}).unwrap();
        }
        shadow.reserve().unwrap();
        shadow.fill(dump, &mut |_, _| {}).unwrap();
        shadow.swap().unwrap();
        shadow.clear().unwrap();
    });
    took.0
}
