//! The verbs on a server in a container, on SQLite and on embedded MariaDB: what is written, what the container goes
//! through, and what is left behind.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use kumadb::docker::RunState;
use kumadb::engine::EngineKind;
use kumadb::schema;

use crate::support::docked::{Docked, Kind, both, make_folder};
use crate::support::dockerd::{Image, cli};
use crate::support::lab::Lab;
use crate::support::wait::wait_until;

/// The only row of `sql`.
#[track_caller]
fn one(lab: &Docked, sql: &str) -> String {
    let rows = lab.sql(sql);
    assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
    rows.into_iter().next().unwrap()
}

/// Every verb that writes, one after the other on one instance; each stops and starts the server exactly once.
fn every_verb(kind: Kind) {
    let Some(lab) = Docked::with(kind, &["--restart", "unless-stopped"]) else { return };
    let begun = Instant::now();
    let fresh = lab.picture();

    let since = lab.starts_and_stops();
    let added = lab.add("New", &["--wait-beats", "30s"]).ended(0).json();
    lab.was_restarted(1, since);
    lab.is_well();
    assert_eq!(added["monitor"]["id"], 3);
    assert_eq!(added["heartbeats"]["3"]["status"], "up", "{added}");
    assert_eq!(added["without_heartbeat"], serde_json::json!([]));
    assert!(added["downtime_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{added}");
    assert_eq!(one(&lab, "SELECT name, type, active FROM monitor WHERE id = 3"), "New|http|1");
    let first = added["snapshot"].as_str().unwrap().to_owned();
    let verified = lab.kumadb(&["--json", "backup", "verify", &first]).ended(0).json();
    assert_eq!(verified["snapshots"][0]["ok"], true);
    println!(
        "{kind:?}: add took {:.1} s, of which {} s down",
        begun.elapsed().as_secs_f64(),
        added["downtime_seconds"]
    );

    let restarted = |args: &[&str]| {
        let since = lab.starts_and_stops();
        let ran = lab.kumadb(args).ended(0);
        lab.was_restarted(1, since);
        lab.is_well();
        ran
    };
    restarted(&["monitor", "edit", "New", "--set", "interval=30", "--add-tag", "env=prod"]);
    assert_eq!(one(&lab, "SELECT `interval` FROM monitor WHERE id = 3"), "30");
    restarted(&["monitor", "pause", "3"]);
    assert_eq!(one(&lab, "SELECT active FROM monitor WHERE id = 3"), "0");
    restarted(&["monitor", "resume", "3", "--wait-beats"]).printed("waiting for a heartbeat (1 monitor)");
    assert_eq!(one(&lab, "SELECT active FROM monitor WHERE id = 3"), "1");
    restarted(&["monitor", "clone", "New", "--name", "Copy", "--set", "url=http://127.0.0.1:2/"]);
    assert_eq!(one(&lab, "SELECT url, `interval` FROM monitor WHERE name = 'Copy'"), "http://127.0.0.1:2/|30");
    assert_eq!(one(&lab, "SELECT count(*) FROM monitor_tag"), "2");
    restarted(&["--yes", "monitor", "delete", "New"]);
    assert_eq!(lab.monitors(), ["Shop", "Off", "Copy"]);
    assert_eq!(one(&lab, "SELECT count(*) FROM heartbeat WHERE monitor_id = 3"), "0");

    // What leaves the server alone.
    let (started, before) = (lab.started(), lab.picture());
    lab.kumadb(&["backup", "create"]).ended(0);
    let tried = lab.add("Dry", &["--dry-run"]).ended(0).json();
    assert_eq!(tried["dry_run"], true);
    lab.kumadb(&["--yes", "monitor", "delete", "Copy", "--dry-run"]).ended(0);
    lab.kumadb(&["restore", &first, "--dry-run"]).ended(0);
    lab.kumadb(&["monitor", "edit", "Copy", "--set", "interval=30"]).ended(0);
    lab.kumadb(&["monitor", "delete", "Copy"]).ended(9).printed("confirmation required");
    lab.add("Bad", &["--interval", "0"]).ended(2);
    assert_eq!((lab.started(), lab.picture()), (started, before));

    restarted(&["--yes", "restore", &first]);
    assert_eq!(lab.picture(), fresh);
    restarted(&["restart"]);
    let logs = lab.kumadb(&["logs"]).ended(0).out;
    assert!(logs.contains("Welcome to the stand-in"), "{logs}");
    assert_eq!(lab.kumadb(&["logs", "--tail", "1"]).ended(0).out.lines().count(), 1);
    assert!(lab.kumadb(&["logs", "--tail", "all"]).ended(0).out.lines().count() >= logs.lines().count());
    assert_eq!(lab.kumadb(&["logs", "--since", "2099-01-01T00:00:00Z"]).ended(0).out, "");
    lab.kumadb(&["logs", "-n", "1"]).ended(2);
    assert!(lab.kumadb(&["restart", "-n"]).ended(0).out.contains("can be restarted; nothing changed"));
    lab.kumadb(&["recover"]).ended(1).printed("no interrupted operation");
    let snapshots = lab.kumadb(&["--json", "backup", "list"]).ended(0).json();
    let counts = (snapshots["snapshots"].as_array().unwrap().len(), &snapshots["undo_snapshots"]);
    assert_eq!(counts, (1, &7.into()), "a backup, six writes and a restore: {snapshots}");
    assert_eq!(cli(&["inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", &lab.server.name]), "unless-stopped");
    if kind == Kind::MariaDb {
        let strangers =
            Command::new("find").arg(lab.folder.path().join("mariadb")).args(["!", "-uid", "1000"]).output();
        assert_eq!(String::from_utf8_lossy(&strangers.unwrap().stdout), "", "files that MariaDB cannot use");
    }
    println!("{kind:?}: every verb in {:.0} s", begun.elapsed().as_secs_f64());
}

#[test]
fn every_verb_stops_and_starts_the_server_once() {
    both(every_verb);
}

/// Follows the log with `command` until a line that is written meanwhile has come, then ends it as Ctrl-C does.
pub fn follow_log(lab: &Docked, command: &mut Command) {
    let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    // What is there already comes first.
    assert!(lines.by_ref().any(|line| line.unwrap().contains("Welcome to the stand-in")));
    let word = format!("written-by-a-test-{}", std::process::id());
    cli(&["exec", &lab.server.name, "sh", "-c", &format!("echo {word} >/proc/1/fd/1")]);
    assert!(lines.by_ref().any(|line| line.unwrap().contains(&word)), "the end of the log, and not the word");
    let pid = rustix::process::Pid::from_raw(process.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(0));
}

#[test]
fn the_log_is_followed_until_it_is_enough() {
    let Some(lab) = Docked::up(Kind::Sqlite) else { return };
    follow_log(&lab, lab.command(&lab.server.name).args(["logs", "--follow", "--tail", "all"]));
    // It ends with the container, too.
    let mut process = lab.command(&lab.server.name).args(["logs", "-f"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    cli(&["stop", "-t", "60", &lab.server.name]);
    assert_eq!(process.wait().unwrap().code(), Some(0));
}

/// Everything that shows what monitors did, also of a snapshot.
fn see(lab: &Docked) {
    let folder = tempfile::tempdir().unwrap();
    let [page, fixture] = ["page.html", "kuma.yaml"].map(|name| folder.path().join(name).display().to_string());
    for source in [&[][..], &["--at", "latest"]] {
        for verb in [&["monitor", "list"][..], &["monitor", "show", "Shop"], &["monitor", "uptime"]] {
            assert!(lab.kumadb(&[verb, source].concat()).ended(0).out.contains("Shop"), "{verb:?} {source:?}");
        }
        lab.kumadb(&[&["monitor", "outages"], source].concat()).ended(0);
        lab.kumadb(&[&["report", page.as_str()], source].concat()).ended(0);
        assert!(std::fs::read_to_string(&page).unwrap().contains("Shop"), "{source:?}");
    }
    lab.kumadb(&["maintenance", "list"]).ended(0);
    lab.kumadb(&["export", "-o", &fixture]).ended(0);
    lab.kumadb(&["drift", &fixture]).ended(0);
}

#[test]
fn a_stopped_server_stays_stopped() {
    both(|kind| {
        let Some(lab) = Docked::with(kind, &["--restart", "unless-stopped"]) else { return };
        cli(&["stop", "-t", "60", &lab.server.name]);
        let started = lab.started();
        let status = lab.kumadb(&["--json", "status"]).ended(0).json();
        assert_eq!(status["container"]["state"], "stopped");
        let found = lab.kumadb(&["--json", "find"]).ended(0).json();
        let mine = found["instances"].as_array().unwrap().iter().find(|one| one["name"] == lab.server.name.as_str());
        assert_eq!(mine.unwrap()["state"], "stopped", "{found}");
        lab.kumadb(&["monitor", "list"]).ended(0);
        lab.kumadb(&["backup", "create"]).ended(0);
        see(&lab);
        lab.add("Dry", &["--dry-run"]).ended(0);
        let first =
            lab.add("New", &["--wait-beats"]).ended(0).printed("was not running before and was not started").json();
        // Live or not is no question where nothing runs.
        lab.add("More", &["--no-restart"]).ended(0);
        lab.add("Most", &["--live"]).ended(0);
        assert_eq!(lab.monitors(), ["Shop", "Off", "New", "More", "Most"]);
        lab.kumadb(&["--yes", "restore", first["snapshot"].as_str().unwrap()]).ended(0);
        assert_eq!(lab.monitors(), ["Shop", "Off"]);
        assert_eq!((lab.life(), lab.started()), (RunState::Stopped, started));
        lab.is_tidy();

        // Whoever reads an embedded MariaDB that is down needs a helper, and so must not disturb a run at work.
        let instance = lab.instance();
        let lock = instance.lock("monitor add").unwrap();
        lab.add("No", &[]).ended(6).printed("another kumadb process is using this instance (`monitor add`");
        lab.kumadb(&["monitor", "list"]).ended(if kind == Kind::MariaDb { 6 } else { 0 });
        drop(lock);
        cli(&["start", &lab.server.name]);
        lab.wait_up();
        assert_eq!(lab.monitors(), ["Shop", "Off"]);
    });
}

#[test]
fn a_paused_server_is_paused_again() {
    both(|kind| {
        let Some(lab) = Docked::up(kind) else { return };
        lab.bench.docker.pause(&lab.bench.look(&lab.server)).unwrap();
        let status = lab.kumadb(&["--json", "status"]).ended(0).json();
        assert_eq!(status["container"]["state"], "paused");
        lab.kumadb(&["find"]).ended(0);
        match kind {
            Kind::Sqlite => {
                lab.add("New", &[]).ended(0);
                assert_eq!(lab.monitors(), ["Shop", "Off", "New"]);
                lab.folder.misbehave("only-if SELECT 1 FROM monitor WHERE name = 'Bad'\ncrash");
                lab.add("Bad", &[]).ended(4);
            }
            // Its MariaDB is frozen, so nobody can tell what is there.
            Kind::MariaDb => drop(lab.add("New", &[]).ended(9).printed("is paused").printed("docker unpause")),
        }
        assert_eq!(lab.life(), RunState::Paused);
        cli(&["unpause", &lab.server.name]);
        lab.wait_up();
    });
}

#[test]
fn mariadb_can_be_written_while_the_server_runs() {
    let Some(lab) = Docked::up(Kind::MariaDb) else { return };
    let started = lab.started();
    lab.add("Quiet", &["--no-restart"]).ended(0).printed("Uptime Kuma uses the change only after a restart");
    assert_eq!((lab.started(), lab.monitors().len()), (started.clone(), 3));
    lab.is_well();
    let since = lab.starts_and_stops();
    lab.add("Restarted", &["--live", "--wait-beats"]).ended(0);
    lab.was_restarted(1, since);
    assert_eq!(lab.monitors(), ["Shop", "Off", "Quiet", "Restarted"]);
    lab.is_well();

    // Taken back like any other.
    let before = lab.picture();
    lab.folder.misbehave("crash-if SELECT 1 FROM monitor WHERE name = 'Bad'");
    lab.add("Bad", &["--live"]).ended(4).printed("cannot bear");
    assert_eq!(lab.picture(), before);
    lab.is_well();
}

#[test]
fn sqlite_is_not_written_beside_a_running_server() {
    let Some(lab) = Docked::up(Kind::Sqlite) else { return };
    let (started, before) = (lab.started(), lab.picture());
    for how in ["--live", "--no-restart"] {
        lab.add("New", &[how]).ended(9).printed("must not write to a SQLite database at the same time");
    }
    assert_eq!((lab.started(), lab.picture()), (started, before));
    lab.is_well();
}

#[test]
fn is_found_by_name_id_folder_and_file() {
    let Some(lab) = Docked::up(Kind::Sqlite) else { return };
    let id = lab.bench.look(&lab.server).id;
    let folder = lab.folder.path().display().to_string();
    let file = format!("{folder}/kuma.db");
    for target in [lab.server.name.as_str(), &id, &id[..12], &folder, &file] {
        let status = lab.run_on(target, &["--json", "status"]).ended(0).json();
        assert_eq!(
            (&status["instance"], &status["container"]["state"]),
            (&lab.server.name.as_str().into(), &"running".into())
        );
        assert_eq!(status["monitors"], 2);
    }
    // A folder is as good as the name: the server is stopped for the write.
    let since = lab.starts_and_stops();
    let args = ["monitor", "add", "ping", "--name", "Router", "--hostname", "127.0.0.1", "--wait-beats"];
    lab.run_on(&folder, &args).ended(0);
    lab.was_restarted(1, since);
    lab.is_well();
    lab.run_on("kumadb-test-nobody", &["status"]).ended(8);

    // Another on the same folder: nobody could say whose database it is.
    let mount = lab.folder.mount();
    let sleep = ["-v", mount.as_str(), "--entrypoint", "sleep"];
    let second = lab.bench.run_as(&["-d"], Image::Slim.name(), &sleep, &["60"]);
    let started = lab.started();
    for target in [&lab.server.name, &folder, &second.name] {
        let words = ["monitor", "pause", "Shop"];
        lab.run_on(target, &words).ended(9).printed("two running containers use the data folder").printed(&second.name);
    }
    let found = lab.kumadb(&["--json", "doctor"]).json();
    let codes: Vec<&str> =
        found["findings"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"K033"), "{found}");
    assert_eq!(lab.started(), started);
    assert_eq!(lab.left(), ["lock"]);
}

#[test]
fn works_on_a_named_volume_and_at_another_port() {
    both(|kind| {
        let (Some(bench), Some(folder)) = (crate::support::dockerd::bench(), make_folder(kind)) else { return };
        let volume = format!("kumadb-test-{kind:?}-{}", std::process::id()).to_lowercase();
        cli(&["volume", "create", &volume]);
        let place = cli(&["volume", "inspect", "-f", "{{.Mountpoint}}", &volume]);
        let from = format!("{}/.", folder.path().display());
        assert!(Command::new("cp").args(["-a", &from, &place]).status().unwrap().success());
        let image = if kind == Kind::Sqlite { Image::Slim } else { Image::Full };
        let mount = format!("{volume}:/app/data");
        let server = bench.run(image, &["-v", &mount, "-e", "PORT=8080"]);
        let container = bench.look(&server);
        let minute = std::time::Duration::from_secs(60);
        bench.docker.wait_up(&container, &container.run(), minute, &mut |_| Ok(())).unwrap();
        let lab = Docked::around(bench, kind, folder, server);
        for target in [&lab.server.name, &place] {
            let status = lab.run_on(target, &["--json", "status"]).ended(0).json();
            assert_eq!(
                (&status["instance"], &status["folder"]),
                (&lab.server.name.as_str().into(), &place.as_str().into())
            );
        }
        lab.add("New", &["--wait-beats"]).ended(0);
        assert_eq!(lab.monitors(), ["Shop", "Off", "New"]);
        assert_eq!(lab.life(), RunState::Running);
        drop(lab);
        cli(&["volume", "rm", "-f", &volume]);
    });
}

#[test]
fn refuses_a_container_that_a_stop_would_delete() {
    let Some(lab) = Docked::with(Kind::Sqlite, &["--rm"]) else { return };
    let (started, before) = (lab.started(), lab.picture());
    lab.add("New", &[]).ended(9).printed("`--rm`");
    lab.kumadb(&["restart"]).ended(9).printed("`--rm`");
    lab.add("Dry", &["--dry-run"]).ended(0);
    assert_eq!((lab.started(), lab.picture()), (started, before));
    lab.is_well();
}

#[test]
fn a_second_run_meanwhile_is_refused() {
    let Some(lab) = Docked::up(Kind::Sqlite) else { return };
    lab.folder.misbehave("slow-stop 3");
    let first = ["monitor", "add", "http", "--name", "New", "--url", "http://127.0.0.1:1/"];
    let mut first = lab.command(&lab.server.name).args(first).stderr(std::process::Stdio::null()).spawn().unwrap();
    wait_until(60, "a journal", || lab.is_unfinished());
    for args in [&["monitor", "pause", "Shop"][..], &["restart"], &["recover"]] {
        lab.kumadb(args).ended(6).printed("another kumadb process is using this instance (`monitor add`, pid ");
    }
    // Reading goes on, and does not keep the other from its work.
    while first.try_wait().unwrap().is_none() {
        lab.kumadb(&["--json", "monitor", "list"]).ended(0).json();
    }
    assert!(first.wait().unwrap().success());
    assert_eq!(lab.monitors(), ["Shop", "Off", "New"]);
    lab.is_well();
}

#[test]
fn a_server_that_ends_without_closing_its_database_loses_nothing() {
    both(|kind| {
        let Some(lab) = Docked::up(kind) else { return };
        lab.folder.misbehave("dirty-stop");
        lab.wait_beat();
        let beats: i64 = one(&lab, "SELECT count(*) FROM heartbeat").parse().unwrap();
        lab.add("New", &["--wait-beats"]).ended(0);
        lab.is_well();
        assert!(one(&lab, "SELECT count(*) FROM heartbeat").parse::<i64>().unwrap() > beats);
        lab.folder.misbehave("dirty-stop\ncrash-if SELECT 1 FROM monitor WHERE name = 'Bad'");
        let before = lab.picture();
        lab.add("Bad", &[]).ended(4).printed("cannot bear");
        assert_eq!(lab.picture(), before);
        lab.is_well();
    });
}

#[test]
fn files_of_another_user_stay_his() {
    let Some(bench) = crate::support::dockerd::bench() else { return };
    let Some(folder) = make_folder(Kind::Sqlite) else { return };
    let file = folder.path().join("kuma.db");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    assert!(Command::new("chown").args(["-R", "1000:1000"]).arg(folder.path()).status().unwrap().success());
    let lab = Docked::on(bench, Kind::Sqlite, folder, &["--user", "1000:1000"]);
    let owned = || {
        let found = file.metadata().unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (1000, 1000, 0o640));
        let ours = ["(", "-name", ".kumadb", "-o", "-name", "misbehave", ")", "-prune"];
        let others = ["-o", "!", "-uid", "1000", "-print"];
        let found = Command::new("find").arg(lab.folder.path()).args(ours).args(others).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "files that the server cannot use");
    };
    owned();
    let added = lab.add("New", &["--wait-beats"]).ended(0).json();
    owned();
    lab.folder.misbehave("crash-if SELECT 1 FROM monitor WHERE name = 'Bad'");
    lab.add("Bad", &[]).ended(4);
    owned();
    lab.folder.behave();
    lab.kumadb(&["--yes", "restore", added["snapshot"].as_str().unwrap()]).ended(0);
    owned();
    assert_eq!(lab.monitors(), ["Shop", "Off"]);
    lab.is_well();
}

/// Makes the image of `lab` one of `release`, as far as its files say.
pub fn become_release(lab: &Docked, release: &str) {
    let recording = schema::recorded(EngineKind::Sqlite).iter().find(|one| one.release.to_string() == release).unwrap();
    let migrations: Vec<&str> = recording.migrations().collect();
    let script = format!(
        "echo '{{\"version\":\"{release}\"}}' >/app/package.json; cd /app/db/knex_migrations && rm * && touch {}",
        migrations.join(" ")
    );
    cli(&["exec", &lab.server.name, "sh", "-c", &script]);
}

#[test]
fn a_snapshot_of_another_release_is_compared_with_the_image() {
    let Some(lab) = Docked::up(Kind::Sqlite) else { return };
    let taken = lab.kumadb(&["--json", "backup", "create"]).ended(0).json();
    let id = taken["manifest"]["id"].as_str().unwrap();
    let before = lab.picture();
    become_release(&lab, "2.0.2");
    for args in [&["--yes", "restore", id][..], &["--yes", "restore", id, "--other-release"], &["restore", id, "-n"]] {
        let ran = lab.kumadb(args).ended(9).printed("on SQLite not check foreign keys");
        ran.printed("(2.0.2) is older than snapshot `")
            .printed("it does not have 27 migrations of it")
            .printed("docker pull louislam/uptime-kuma:2.5.1");
    }
    // Every other write too, and before the server is stopped.
    let counted = lab.starts_and_stops();
    lab.add("New", &[])
        .ended(9)
        .printed("(2.0.2) is older than the database of")
        .printed("docker pull louislam/uptime-kuma:2.5.1");
    let found = lab.kumadb(&["doctor", "--json"]).ended(0).json();
    assert!(found["findings"][0]["what"].as_str().unwrap().contains("(2.0.2) of container"), "{found}");
    assert_eq!((lab.picture(), lab.starts_and_stops()), (before, counted));
    let older = Lab::sqlite("2.0.2");
    older.ok("monitor add group --name Older");
    let path = older.json("backup create")["path"].as_str().unwrap().to_owned();
    become_release(&lab, "2.5.3");
    // Also with the container down: its files are there all the same.
    cli(&["stop", "-t", "60", &lab.server.name]);
    let as_it_is = ["restore", &path, "-n", "--no-upgrade"];
    lab.kumadb(&as_it_is).ended(0).printed("the server will migrate the database when it starts (");
    cli(&["start", &lab.server.name]);
    lab.wait_up();
    let upgraded = "(2.0.0 to 2.0.2) is upgraded to 2.5.3, the release of the image";
    lab.kumadb(&["--yes", "restore", &path]).ended(0).printed(upgraded);
    assert_eq!(
        (lab.monitors(), lab.sql("SELECT count(*) FROM knex_migrations")),
        (vec!["Older".to_owned()], vec!["55".to_owned()])
    );
    // What the server would fail at is found before it is stopped.
    older.sql("INSERT INTO maintenance (title, description, strategy, cron) VALUES ('Nightly', '', 'recurring-interval', '* * * * *')");
    older.sql("INSERT INTO heartbeat (monitor_id, status, time, msg) VALUES (77, 1, '2024-01-01 10:00:00', '')");
    let broken = older.json("backup create")["path"].as_str().unwrap().to_owned();
    let counted = lab.starts_and_stops();
    lab.kumadb(&["--yes", "restore", &broken]).ended(9).printed("cannot upgrade snapshot").printed("--to ./old");
    assert_eq!(lab.starts_and_stops(), counted);
    lab.kumadb(&["--yes", "restore", id]).ended(0);
    assert_eq!(lab.monitors(), ["Shop", "Off"]);
    lab.is_well();
}

#[test]
fn what_the_database_refuses_stops_no_server() {
    crate::support::docked::both(|kind| {
        let Some(lab) = Docked::up(kind) else { return };
        let pages = match kind {
            // Only SQLite knows what this accepts.
            Kind::Sqlite => {
                let allowed = "CHECK (analytics_type <> 'rybbit')";
                lab.inside("ALTER TABLE status_page DROP COLUMN analytics_type");
                lab.inside(&format!(
                    "ALTER TABLE status_page ADD COLUMN analytics_type varchar(255) DEFAULT NULL {allowed}"
                ));
                "status_pages: [{slug: lab, title: Lab, analytics_type: rybbit, analytics_id: '1'}]"
            }
            // MariaDB compares them without case.
            Kind::MariaDb => {
                "status_pages: [{slug: a, title: A, domains: [status.example]}, {slug: b, title: B, domains: [Status.example]}]"
            }
        };
        let path = lab.root().join("pages.yaml");
        std::fs::write(&path, pages).unwrap();
        let before = (lab.picture(), lab.starts_and_stops());
        let ran = lab.kumadb(&["--yes", "apply", path.to_str().unwrap()]);
        assert!([1, 2, 9].contains(&ran.code), "{}{}", ran.out, ran.err);
        assert_eq!((lab.picture(), lab.starts_and_stops()), before, "{}{}", ran.out, ran.err);
        lab.is_well();
    });
}
