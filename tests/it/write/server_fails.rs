//! Servers that do not come back, would not stop, or are busy; and runs that somebody interrupts.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use kumadb::Error;
use kumadb::backup::StagedCopy;
use kumadb::docker::RunState;
use kumadb::doctor::FileChange;
use kumadb::error::{DockerError, OperationError};
use kumadb::operation::{self, NoObserver, Observer, Resumed, Settings, Step, Transaction};
use kumadb::plan::Plan;
use kumadb::plan::monitor::{Edit, plan_edit};

use rustix::process::Signal;

use crate::salvage::fix::zero_root;
use crate::support::docked::{Docked, Kind, Picture, Ran, both};
use crate::support::dockerd::cli;
use crate::support::wait::wait_until;

/// Only a server that meets the new monitor misbehaves.
const ONLY_IF_BAD: &str = "only-if SELECT 1 FROM monitor WHERE name = 'Bad'";

/// A monitor of that name is added, the server does not come back, and everything is as it was.
fn is_taken_back(lab: &Docked, before: &Picture, how: &str, deadline: &str, words: &str) {
    lab.folder.misbehave(&format!("{ONLY_IF_BAD}\n{how}"));
    let begun = Instant::now();
    let ran = lab.add("Bad", &["--deadline", deadline]).ended(4);
    let ran = ran.printed("everything was rolled back").printed(words).printed("kumadb logs");
    assert_eq!(lab.picture(), *before, "{how}: {}", ran.err);
    lab.is_well();
    println!("{:?}: `{how}` was taken back after {:.1} s", lab.kind, begun.elapsed().as_secs_f64());
}

fn takes_back(kind: Kind) {
    let Some(lab) = Docked::with(kind, &["--restart", "unless-stopped"]) else { return };
    let before = lab.picture();
    // The server's own last errors are told.
    is_taken_back(&lab, &before, "crash", "60s", "ERROR: Cannot start, as I was told");
    is_taken_back(&lab, &before, "crash-if SELECT 1", "60s", "ERROR: The database holds what I cannot bear");
    is_taken_back(
        &lab,
        &before,
        "no-database",
        "60s",
        "it shows the setup page, which means that it found no database",
    );
    // It is noticed at once that there is nothing to wait for any more.
    let begun = Instant::now();
    is_taken_back(&lab, &before, "crash-after 3\nno-beats", "300s", "as I was told");
    assert!(begun.elapsed() < Duration::from_secs(250), "it waited for beats of a server that had ended");
    is_taken_back(&lab, &before, "no-beats", "15s", "none of 2 active monitors has written a heartbeat");
    is_taken_back(&lab, &before, "silent", "15s", "onnect");
    if kind == Kind::Sqlite {
        is_taken_back(&lab, &before, "slow-start 60", "15s", "onnect");
    }
}

#[test]
fn everything_is_put_back_when_the_server_does_not_come_back() {
    both(takes_back);
}

#[test]
fn a_restore_that_the_server_cannot_bear_is_put_back() {
    both(|kind| {
        let Some(lab) = Docked::up(kind) else { return };
        let snapshot = lab.add("Good", &[]).ended(0).json()["snapshot"].as_str().unwrap().to_owned();
        let before = lab.picture();
        lab.folder.misbehave("crash-if SELECT 1 FROM (SELECT count(*) AS n FROM monitor) AS t WHERE n = 2");
        lab.kumadb(&["--yes", "restore", &snapshot]).ended(4).printed("cannot bear");
        assert_eq!(lab.picture(), before);
        lab.is_well();
    });
}

#[test]
fn a_new_database_that_the_server_cannot_bear_gives_way_to_the_damaged_one() {
    let Some(lab) = Docked::up(Kind::Sqlite) else { return };
    cli(&["stop", "-t", "60", &lab.server.name]);
    zero_root(&lab.folder.path().join("kuma.db"), "tag");
    // A query that only the new database answers.
    lab.folder.misbehave("crash-if SELECT 1 WHERE (SELECT count(*) FROM tag) >= 0");
    cli(&["start", &lab.server.name]);
    lab.wait_up();
    let beats = || lab.sql("SELECT count(*) FROM heartbeat")[0].parse::<u64>().unwrap();
    let written = beats();
    let ran = lab.kumadb(&["doctor", "--fix", "K003", "--yes"]).ended(4).printed("cannot bear");
    assert!(ran.err.contains("everything was rolled back"), "{}", ran.err);
    assert!(beats() >= written);
    lab.kumadb(&["doctor", "K003", "--detailed-exitcode"]).ended(20);
    lab.is_well();

    lab.folder.behave();
    lab.kumadb(&["doctor", "--fix", "K003", "--yes"]).ended(3);
    lab.kumadb(&["doctor", "K003", "--detailed-exitcode"]).ended(0);
    assert_eq!(lab.monitors(), ["Shop", "Off"]);
    lab.is_well();
}

#[test]
fn a_rollback_that_fails_leaves_the_journal_for_resume() {
    both(|kind| {
        let Some(lab) = Docked::up(kind) else { return };
        let before = lab.picture();
        lab.folder.misbehave("crash");
        lab.add("Bad", &[])
            .ended(5)
            .printed("the database is as before, but the rollback could not be completed")
            .printed("Cannot start, as I was told")
            .printed("docker logs --tail 50")
            .printed("kumadb recover");
        assert!(lab.is_unfinished());
        let found = lab.kumadb(&["doctor", "--json"]).json();
        let codes: Vec<&str> =
            found["findings"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
        assert!(codes.contains(&"K063"), "{codes:?}");
        lab.add("More", &[]).ended(6).printed("was interrupted").printed("kumadb recover");
        lab.kumadb(&["restart"]).ended(6);
        lab.kumadb(&["status"]).ended(0).printed("kumadb recover");
        lab.kumadb(&["recover"]).ended(5).printed("Cannot start, as I was told");
        assert!(lab.is_unfinished());
        assert_eq!(lab.picture(), before);

        // Somebody mends it and starts it; what it has written since stays.
        lab.folder.behave();
        cli(&["start", &lab.server.name]);
        lab.wait_up();
        let newest = || lab.sql("SELECT coalesce(max(id), 0) FROM heartbeat");
        let first = newest();
        wait_until(120, "a beat", || newest() != first);
        let beats = newest();
        let started = lab.started();
        lab.kumadb(&["recover"]).ended(0);
        assert_eq!(lab.started(), started);
        assert_eq!(lab.picture(), before);
        let beat = format!("SELECT id FROM heartbeat WHERE id = {}", beats[0]);
        assert_eq!(lab.sql(&beat), beats, "{kind:?}: beats from after the rollback are gone");
        lab.is_well();
    });
}

/// A plan that calls the first monitor `name`.
pub fn renaming(lab: &Docked, name: &str) -> Plan {
    let instance = lab.instance();
    let session = instance.open().unwrap();
    let state = kumadb::kuma::read::read_state(&mut *session.connect().reader().unwrap(), "test").unwrap();
    session.close().unwrap();
    let monitors = state.monitors.iter().filter(|(id, _)| **id == 1).map(|(id, one)| (*id, one.clone())).collect();
    let edit = Edit { set: [("name".to_owned(), name.into())].into_iter().collect(), ..Edit::default() };
    plan_edit(&state, &monitors, &edit, false).unwrap()
}

#[test]
fn a_server_that_would_not_stop_is_waited_for_by_resume() {
    both(|kind| {
        let Some(lab) = Docked::up(kind) else { return };
        let before = lab.picture();
        let hasty = Settings { grace: Duration::from_secs(1), ..Settings::new("monitor edit") };
        let patient = Settings::new("recover");
        let plan = renaming(&lab, "Changed");
        lab.folder.misbehave("slow-stop 4");
        match operation::run(&lab.instance(), &lab.store(), Transaction::Plan(&plan), &hasty, &mut NoObserver) {
            Err(Error::Docker(DockerError::StopTimeout { seconds: 1, .. })) => {}
            other => panic!("{other:?}"),
        }
        assert!(lab.is_unfinished());
        lab.add("More", &[]).ended(6);
        match operation::resume(&lab.instance(), &lab.store(), &patient, &mut NoObserver).unwrap() {
            Resumed::Undone(_, false) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(lab.picture(), before);
        lab.is_well();

        // One that never ends has to be killed by somebody else.
        lab.folder.misbehave("ignore-term");
        cli(&["restart", &lab.server.name]);
        lab.wait_up();
        for _ in 0..2 {
            let ended = if lab.is_unfinished() {
                operation::resume(&lab.instance(), &lab.store(), &hasty, &mut NoObserver).map(drop)
            } else {
                operation::run(&lab.instance(), &lab.store(), Transaction::Plan(&plan), &hasty, &mut NoObserver)
                    .map(drop)
            };
            assert!(matches!(ended, Err(Error::Docker(DockerError::StopTimeout { .. }))), "{ended:?}");
            assert!(lab.is_unfinished());
            assert_eq!(lab.life(), RunState::Running);
        }
        lab.folder.behave();
        cli(&["kill", &lab.server.name]);
        lab.kumadb(&["recover"]).ended(0);
        assert_eq!(lab.picture(), before);
        lab.is_well();
    });
}

#[test]
fn a_server_that_migrates_is_never_stopped() {
    let cases = [(Kind::Sqlite, "migrating"), (Kind::Sqlite, "migrating-unseen"), (Kind::MariaDb, "migrating-unseen")];
    std::thread::scope(|scope| {
        for (kind, how) in cases {
            scope.spawn(move || outlasts_a_migration(kind, how));
        }
    });
}

fn outlasts_a_migration(kind: Kind, how: &str) {
    let Some(lab) = Docked::up(kind) else { return };
    lab.folder.misbehave(how);
    let since = lab.starts_and_stops();
    lab.add("New", &["--deadline", "15s"]).ended(9).printed("is migrating").printed("kumadb recover");
    assert!(lab.is_unfinished());
    lab.kumadb(&["recover", "--deadline", "1s"]).ended(9).printed("is migrating");
    lab.folder.behave();
    lab.kumadb(&["recover"]).ended(0);
    lab.was_restarted(1, since);
    assert_eq!(lab.monitors(), ["Shop", "Off", "New"]);
    lab.is_well();
}

#[test]
fn a_server_that_ends_again_and_again_can_be_mended() {
    both(|kind| {
        let Some(lab) = Docked::with(kind, &["--restart", "always"]) else { return };
        let before = lab.picture();
        lab.folder.misbehave("crash-if SELECT 1 FROM monitor WHERE name = 'Shop'");
        cli(&["restart", "-t", "60", &lab.server.name]);
        wait_until(120, "a restart", || lab.life() == RunState::Restarting);
        if kind == Kind::MariaDb {
            // Nobody can read it as it is. Stopped, it can be mended; and whoever stopped it starts it.
            lab.kumadb(&["status"]).ended(0);
            cli(&["stop", "-t", "60", &lab.server.name]);
            lab.kumadb(&["monitor", "edit", "Shop", "--set", "name=Mended"]).ended(0);
            cli(&["start", &lab.server.name]);
            lab.wait_up();
            return lab.is_well();
        }
        // What does not help is put back, and it goes on as before: that is no failure of the rollback.
        lab.kumadb(&["monitor", "edit", "Shop", "--set", "interval=30"]).ended(4).printed("cannot bear");
        assert_eq!(lab.picture(), before);
        assert_ne!(lab.life(), RunState::Stopped);
        lab.is_tidy();
        lab.kumadb(&["monitor", "edit", "Shop", "--set", "name=Mended"]).ended(0);
        lab.is_well();
    });
}

#[test]
fn a_server_that_is_at_a_migration_is_left_alone() {
    both(|kind| {
        let Some(lab) = Docked::up(kind) else { return };
        let started = lab.started();
        lab.inside("UPDATE knex_migrations_lock SET is_locked = 1");
        lab.add("New", &[]).ended(9).printed("migrating");
        lab.kumadb(&["restart"]).ended(9).printed("migrating");
        assert_eq!(lab.started(), started);
        lab.inside("UPDATE knex_migrations_lock SET is_locked = 0");
        assert_eq!(lab.monitors(), ["Shop", "Off"]);
        lab.is_well();
    });
}

#[test]
fn a_server_that_ends_again_and_again_is_examined_and_restored() {
    both(|kind| {
        let Some(lab) = Docked::with(kind, &["--restart", "always"]) else { return };
        lab.kumadb(&["backup", "create"]).ended(0);
        lab.folder.misbehave("crash-locked");
        lab.inside("UPDATE knex_migrations_lock SET is_locked = 1");
        cli(&["restart", "-t", "60", &lab.server.name]);
        wait_until(120, "a restart", || lab.life() == RunState::Restarting);
        let found = |ran: Ran| -> Vec<String> {
            let findings = ran.json()["findings"].as_array().unwrap().clone();
            let text = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap().to_owned();
            let lines = findings.iter().map(|one| format!("{} {}", text(one, "code"), text(one, "what")));
            lines.collect()
        };
        // The reason is in the log, also where nobody can read the database.
        let seen = found(lab.kumadb(&["doctor", "--json"]));
        let named = |seen: &[String]| {
            let of = |line: &&String| line.starts_with("K062") && line.contains("keeps restarting");
            let line = seen.iter().find(of).unwrap_or_else(|| panic!("{seen:?}"));
            assert!(line.contains("(K008)") && line.contains("Migration table is already locked"), "{line}");
        };
        named(&seen);
        let seen = found(lab.kumadb(&["doctor", "--json", "--yes"]).ended(0));
        named(&seen);
        assert!(seen.iter().any(|line| line.starts_with("K008")), "{seen:?}");
        assert_ne!(lab.life(), RunState::Stopped);
        lab.kumadb(&["restore", "latest", "--yes"]).ended(0);
        lab.is_well();
    });
}

/// Somebody presses Ctrl-C while the server is waited for.
struct Pressed(bool);

impl Observer for Pressed {
    fn step(&mut self, step: &Step) -> kumadb::error::Result<()> {
        self.0 |= *step == Step::WaitUp;
        if self.0 && step.is_before_commit() {
            Err(Error::Operation(OperationError::Interrupted { signal: 2 }))
        } else {
            Ok(())
        }
    }
}

#[test]
fn files_are_put_back_although_somebody_interrupts_or_the_server_would_not_stop() {
    let Some(lab) = Docked::up(Kind::Sqlite) else { return };
    let [path, to] = ["old", "aside"].map(|name| lab.folder.path().join(name));
    lab.folder.write("old", "here");
    let changes = [FileChange::SetAside { path: path.clone(), to: to.clone() }];
    let as_before = || assert!(path.exists() && !to.exists());
    let (deadline, grace) = (Duration::from_secs(3), Duration::from_secs(20));
    let settings = Settings { deadline, grace, ..Settings::new("doctor --fix") };

    let (starts, _) = lab.starts_and_stops();
    lab.folder.misbehave("silent");
    let ended = operation::repair(&lab.instance(), &changes, &settings, &mut Pressed(false));
    assert!(matches!(ended, Err(Error::Operation(OperationError::RolledBack { .. }))), "{ended:?}");
    as_before();
    assert_ne!(lab.life(), RunState::Stopped);
    lab.is_tidy();

    // Started with the files as they were, it is not to read yet what the next one has to do wrong.
    wait_until(120, "a start", || lab.starts_and_stops().0 >= starts + 2);
    lab.folder.misbehave("silent\nignore-term");
    let ended = operation::repair(&lab.instance(), &changes, &settings, &mut Pressed(false));
    let Err(Error::Operation(OperationError::RollbackFailed { failure, .. })) = ended else { panic!("{ended:?}") };
    assert!(matches!(*failure, Error::Docker(DockerError::StopTimeout { .. })), "{failure}");
    as_before();
    assert!(lab.is_unfinished());
    lab.folder.behave();
    cli(&["kill", &lab.server.name]);
    lab.kumadb(&["recover"]).ended(0);
    as_before();
    lab.is_well();

    lab.kumadb(&["restart"]).ended(0);
    operation::repair(&lab.instance(), &changes, &Settings::new("doctor --fix"), &mut NoObserver).unwrap();
    assert!(!path.exists() && to.exists());
    lab.is_well();
}

/// Sends `signal` to `kumadb monitor add` as soon as it tells `words`; its exit code.
fn interrupt(lab: &Docked, signal: Signal, words: &str, args: &[&str]) -> (Option<i32>, String) {
    let add = ["-v", "monitor", "add", "http", "--name", "New", "--url", "http://127.0.0.1:1/", "--allow-duplicate"];
    let mut command = lab.command(&lab.server.name);
    let mut child = command.args(add).args(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut reported = String::new();
    let mut sent = false;
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if !sent && line.starts_with(words) {
            let process = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(process, signal).unwrap();
            // `timeout` sends each signal twice.
            if signal == Signal::TERM {
                std::thread::sleep(Duration::from_millis(20));
                rustix::process::kill_process(process, signal).unwrap();
            }
            sent = true;
        }
        reported.push_str(&line);
        reported.push('\n');
    }
    let code = child.wait().unwrap().code();
    assert!(sent, "`{words}` was never told:\n{reported}");
    (code, reported)
}

fn interrupted(kind: Kind) {
    let Some(lab) = Docked::up(kind) else { return };
    lab.folder.misbehave("slow-stop 0.5");
    let before = lab.picture();
    for (signal, words, code) in [
        (Signal::INT, "stopping", 130),
        (Signal::TERM, "stopping", 143),
        (Signal::INT, "copying", 130),
        (Signal::TERM, "reading back", 143),
    ] {
        let (ended, reported) = interrupt(&lab, signal, words, &[]);
        // The server takes more than half a second to stop. What comes after that may be done before the signal arrives.
        if words != "stopping" && reported.contains("committed") {
            assert_eq!((ended, lab.monitors().len()), (Some(0), 3), "at `{words}`:\n{reported}");
            lab.kumadb(&["--yes", "monitor", "delete", "New"]).ended(0);
        } else {
            assert_eq!(ended, Some(code), "at `{words}`:\n{reported}");
            assert_eq!(lab.picture(), before, "at `{words}`:\n{reported}");
        }
        lab.is_well();
    }
    // Once the change is made there is no harmless way out: it is finished.
    for (n, words) in ["committed", "starting container", "waiting for the server"].into_iter().enumerate() {
        let (ended, reported) = interrupt(&lab, Signal::INT, words, &[]);
        assert_eq!(ended, Some(0), "at `{words}`:\n{reported}");
        assert_eq!(lab.monitors().len(), 3 + n);
        lab.is_well();
    }
    // A second signal ends it at once, and leaves the rest to resume.
    let staged = lab.folder.path().join(".kumadb/held");
    let (ended, _) = interrupt(&lab, Signal::KILL, "starting container", &[]);
    assert_eq!(ended, None);
    assert!(lab.is_unfinished() && StagedCopy::open(&staged).is_ok());
    lab.kumadb(&["recover"]).ended(0).printed("stored");
    assert_eq!(lab.monitors().len(), 6);
    lab.is_well();
}

#[test]
fn signals_undo_before_the_commit_and_finish_after_it() {
    both(interrupted);
}
