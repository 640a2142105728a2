//! A conversion made to fail at the N-th step for every N, by an error and by SIGKILL: the server opens the old database or the
//! new one, and only one of them is where a server would open it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kumadb::docker::RunState;
use kumadb::engine::mariadb::Address;
use kumadb::error::{Error, OperationError, Result};
use kumadb::instance::{DbLocation, Instance};
use kumadb::kuma::transfer::convert::OnConflict;
use kumadb::operation::convert::{Conversion, Destination};
use kumadb::operation::{self, NoObserver, Observer, Settings};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::support::child::{is_killed, reported};
use crate::support::docked::{Docked, Kind, find, make_folder, store_in};
use crate::support::dockerd::{self, Image};
use crate::support::mariadbd::Mariadbd;
use crate::support::rounds;
use crate::support::steps::{How, Steps};

fn settings() -> Settings {
    Settings { deadline: Duration::from_secs(60), ..Settings::new("convert") }
}

/// The destination that `word` names.
fn destination(word: &str) -> Destination {
    match word {
        "sqlite" => Destination::Sqlite,
        "embedded" => Destination::Embedded,
        url => Destination::External(Address::parse(url).unwrap()),
    }
}

fn convert(instance: &Instance, root: &std::path::Path, to: &str, steps: &mut dyn Observer) -> Result<()> {
    let conversion =
        Conversion::prepare(instance, destination(to), OnConflict::default(), &settings(), &mut NoObserver)?;
    conversion.run(instance, &store_in(root), &settings(), steps).map(drop)
}

#[test]
#[ignore = "a part of other tests, see child.rs"]
fn killed_child() {
    let root: PathBuf = reported("ROOT");
    let instance = find(&reported::<String>("TARGET"), &root);
    let mut steps = Steps::ending(reported("AT"), How::Kill);
    convert(&instance, &root, &reported::<String>("TO"), &mut steps).unwrap();
}

/// The kind of database that the server opens, after a check that nothing else is where a server would open it.
fn opened(lab: &Docked) -> &'static str {
    let folder = lab.folder.path();
    let has = |name: &str| folder.join(name).exists();
    let words = match lab.instance().place {
        DbLocation::Sqlite(_) => "sqlite",
        DbLocation::Embedded(_) => "embedded",
        DbLocation::External(_) => "external",
    };
    assert_eq!((has("kuma.db"), has("mariadb")), (words == "sqlite", words == "embedded"), "{words}");
    words
}

/// Converts to `to` and fails at every step; then `back` undoes what succeeded.
fn fail_everywhere(lab: &Docked, to: &str, back: &str, how: How, empty: &dyn Fn()) {
    let (mut points, mut old, mut new) = (0, 0, 0);
    let monitors = lab.monitors();
    for at in rounds::points(5) {
        let was = opened(lab);
        let mut steps = Steps::ending(at, how);
        let ended = match how {
            How::Error => convert(&lab.instance(), lab.root(), to, &mut steps),
            How::Kill => {
                let (target, root) = (&lab.server.name, lab.root().display());
                if is_killed(module_path!(), &[("TARGET", target), ("ROOT", &root), ("TO", &to), ("AT", &at)]) {
                    Err(Error::Operation(OperationError::Stopped { why: "killed".into() }))
                } else {
                    Ok(())
                }
            }
        };
        let is_over = how == How::Error && steps.seen < at || how == How::Kill && ended.is_ok();
        if lab.is_unfinished() {
            operation::resume(&lab.instance(), &lab.store(), &settings(), &mut NoObserver).unwrap();
        }
        if !operation::pending::list(&lab.instance()).is_empty() {
            operation::resume(&lab.instance(), &lab.store(), &settings(), &mut NoObserver).unwrap();
        }
        let now = opened(lab);
        assert_eq!(lab.monitors(), monitors, "{how:?} at step {at} to {to}: {ended:?}");
        assert_eq!(lab.life(), RunState::Running, "{how:?} at step {at} to {to}: {ended:?}");
        lab.is_well();
        if now == was {
            old += 1;
            // What an interrupted run has left in the new database is recognised, or was removed.
            assert!(how == How::Kill || ended.is_err(), "{to} at step {at}");
        } else {
            new += 1;
            convert(&lab.instance(), lab.root(), back, &mut NoObserver).unwrap();
            empty();
            remove_old(lab);
        }
        if is_over {
            break;
        }
        points += 1;
    }
    println!("{how:?} to {to}: {points} points tried, {old} old, {new} new");
    assert!(points >= rounds::count(2, 3) && old >= 1 && new >= 1, "{points} points, {old} old, {new} new");
}

/// Removes the databases that were set aside: each MariaDB takes 200 MB.
fn remove_old(lab: &Docked) {
    for entry in std::fs::read_dir(lab.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        match path.display().to_string().contains(".before-convert-") {
            true if path.is_dir() => std::fs::remove_dir_all(&path).unwrap(),
            true => std::fs::remove_file(&path).unwrap(),
            false => {}
        }
    }
}

/// A container with MariaDB in its image, on SQLite.
fn up() -> Option<Docked> {
    let bench = dockerd::bench()?;
    let folder = make_folder(Kind::Sqlite)?;
    let server = bench.run(Image::Full, &["-v", &folder.mount()]);
    let lab = Docked::around(bench, Kind::Sqlite, folder, server);
    lab.wait_up();
    Some(lab)
}

#[test]
fn sqlite_to_the_embedded_mariadb_survives_errors_and_kills() {
    let Some(lab) = up() else { return };
    for how in [How::Error, How::Kill] {
        fail_everywhere(&lab, "embedded", "sqlite", how, &|| {});
    }
}

#[test]
fn the_embedded_mariadb_to_sqlite_survives_errors_and_kills() {
    let Some(lab) = Docked::up(Kind::MariaDb) else { return };
    for how in [How::Error, How::Kill] {
        fail_everywhere(&lab, "sqlite", "embedded", how, &|| {});
    }
}

#[test]
fn sqlite_to_an_external_mariadb_survives_errors_and_kills() {
    let Some(lab) = up() else { return };
    let Some(server) = Mariadbd::with(&["--port={port}", "--bind-address=127.0.0.1"]) else { return };
    server.create_database("kuma", "utf8mb4");
    server.sql("mysql", "CREATE USER kuma@'%' IDENTIFIED BY 'Kuma-2026'; GRANT ALL ON kuma.* TO kuma@'%'");
    let to = format!("mysql://kuma:Kuma-2026@127.0.0.1:{}/kuma", server.port());
    let empty = || {
        server.sql("", "DROP DATABASE kuma");
        server.create_database("kuma", "utf8mb4");
    };
    for how in [How::Error, How::Kill] {
        fail_everywhere(&lab, &to, "sqlite", how, &empty);
    }
}

#[test]
fn a_link_in_place_of_the_new_data_folder_is_not_installed_into() {
    let Some(lab) = up() else { return };
    let victim = tempfile::tempdir().unwrap();
    let folder = lab.folder.path();
    let (data, planted) = (folder.join(".kumadb/convert/data"), folder.join("planted"));
    let mut landed = 0;
    // The engine gets the path of the folder, and opens it a moment later. An exchange after that only makes the conversion fail.
    for delay in [10, 40] {
        std::os::unix::fs::symlink(victim.path(), &planted).unwrap();
        let over = AtomicBool::new(false);
        let ended = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !data.exists() && !over.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                std::thread::sleep(Duration::from_millis(delay));
                let _ = renameat_with(CWD, &data, CWD, &planted, RenameFlags::EXCHANGE);
            });
            let ended = convert(&lab.instance(), lab.root(), "embedded", &mut NoObserver);
            over.store(true, Ordering::SeqCst);
            ended
        });
        println!("{delay} ms: {:?}", ended.as_ref().err().map(ToString::to_string));
        assert_eq!(std::fs::read_dir(victim.path()).unwrap().count(), 0, "{delay} ms: {ended:?}");
        landed += usize::from(ended.is_err());
        if ended.is_ok() {
            convert(&lab.instance(), lab.root(), "sqlite", &mut NoObserver).unwrap();
            remove_old(&lab);
        }
        let _ = std::fs::remove_file(&planted);
        let _ = std::fs::remove_dir_all(&planted);
    }
    assert!(landed > 0, "it came too late");
}

#[test]
fn an_environment_that_sets_the_database_is_named_before_the_stop() {
    let Some(bench) = dockerd::bench() else { return };
    let Some(folder) = make_folder(Kind::Sqlite) else { return };
    let lab = Docked::on(bench, Kind::Sqlite, folder, &["-e", "UPTIME_KUMA_DB_TYPE=sqlite"]);
    let started = lab.started();
    lab.kumadb(&["--yes", "convert", "--to", "mysql://kuma:Kuma-2026@192.0.2.1/kuma"])
        .ended(9)
        .printed("UPTIME_KUMA_DB_TYPE");
    let lab = Docked::with(Kind::Sqlite, &["--network", "bridge"]).unwrap();
    lab.kumadb(&["--yes", "convert", "--to", "mysql://kuma:Kuma-2026@localhost/kuma"])
        .ended(9)
        .printed("that is the container itself");
    // The slim image has no MariaDB.
    lab.kumadb(&["--yes", "convert", "--to", "embedded"]).ended(9).printed("MariaDB");
    assert_eq!(lab.started().is_empty(), started.is_empty());
}
