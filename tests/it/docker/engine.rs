//! Containers of the stand-in server on a real Docker engine: found, stopped, started, seen working.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use kumadb::Error;
use kumadb::docker::{Answer, Container, Docker, Endpoint, EntryPage, GRACE, Helper, LogRange, MountKind, RunState};
use kumadb::error::{DockerError, OperationError, TargetError};

use crate::support::dockerd::{self, Bench, Folder, Image, Server, cli};
use crate::support::rounds;
use crate::support::wait::wait_until;

const SQLITE: &str = "
CREATE TABLE monitor (id INTEGER PRIMARY KEY, name VARCHAR(150), active BOOLEAN NOT NULL DEFAULT 1);
CREATE TABLE heartbeat (id INTEGER PRIMARY KEY, important BOOLEAN, monitor_id INTEGER, status SMALLINT, msg TEXT,
    time DATETIME, duration INTEGER);
INSERT INTO monitor (id, name, active) VALUES (1, 'Shop', 1), (2, 'Off', 0);";

fn sqlite() -> Folder {
    Folder::of("sqlite", SQLITE)
}

fn mariadb() -> Folder {
    Folder::of("embedded-mariadb", &SQLITE.replace("PRIMARY KEY,", "PRIMARY KEY AUTO_INCREMENT,"))
}

fn quiet(_: Duration) -> kumadb::Result<()> {
    Ok(())
}

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

/// Waits until the server in it is up, counted from the container's last start.
#[track_caller]
fn up(bench: &Bench, server: &Server) -> Container {
    let container = bench.look(server);
    bench.docker.wait_up(&container, &container.run(), SECONDS(60), &mut quiet).unwrap();
    bench.look(server)
}

/// The words of the error that `wait_up` ends with.
#[track_caller]
fn not_up(bench: &Bench, server: &Server, deadline: u64) -> (String, Vec<String>) {
    let container = bench.look(server);
    let begin = Instant::now();
    match bench.docker.wait_up(&container, &container.run(), SECONDS(deadline), &mut quiet) {
        Err(Error::Docker(DockerError::NotUp { why, log, .. })) => {
            assert!(begin.elapsed() < SECONDS(deadline + 5), "it was waited too long");
            (why, log)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn finds_the_server_by_name_id_image_label_and_environment() {
    let Some(bench) = dockerd::bench() else { return };
    let folder = sqlite();
    let server = bench.serve(Image::Slim, &folder);
    let by_name = bench.look(&server);
    assert_eq!(
        (by_name.name.as_str(), by_name.server, by_name.state.life),
        (server.name.as_str(), true, RunState::Running)
    );
    assert_eq!(bench.docker.container(&by_name.id).unwrap().unwrap().name, server.name);
    assert_eq!(bench.docker.container(&by_name.id[..12]).unwrap().unwrap().name, server.name);
    for target in ["kumadb-test-nobody", "mysql://kuma@db/kuma", "../../images/json", ""] {
        assert!(bench.docker.container(target).unwrap().is_none(), "{target}");
    }

    // Under another name the image is told by its label, and without that by its environment, stopped ones too.
    let other = format!("{}:1", server.name.to_lowercase());
    cli(&["tag", Image::Slim.name(), &other]);
    let labelled = bench.run_as(&[], &other, &["-e", "UPTIME_KUMA_IS_CONTAINER=0", "--entrypoint", "true"], &[]);
    let plain = ["--label", "org.opencontainers.image.source=", "--entrypoint", "true"];
    let by_env = bench.run_as(&[], &other, &plain, &[]);
    let foreign = [&plain[..], &["-e", "UPTIME_KUMA_IS_CONTAINER=0"]].concat();
    let foreign = bench.run_as(&[], &other, &foreign, &[]);
    let found: Vec<String> = bench.docker.containers().unwrap().into_iter().map(|one| one.name).collect();
    for (server, there) in [(&server, true), (&labelled, true), (&by_env, true), (&foreign, false)] {
        assert_eq!(found.contains(&server.name), there, "{}", server.name);
    }
    assert!(!bench.look(&foreign).server);
    cli(&["rmi", "-f", &other]);
}

#[test]
fn knows_the_data_folder_of_bind_mounts_volumes_and_neither() {
    let Some(bench) = dockerd::bench() else { return };
    let folder = sqlite();
    let idle = |args: &[&str]| bench.look(&bench.run_as(&["-d"], Image::Slim.name(), args, &[]));
    let bound = idle(&["-v", &folder.mount()]).data().unwrap();
    assert_eq!((bound.path.as_path(), bound.kind, bound.read_only), (folder.path(), MountKind::Bind, false));

    // The data folder lies below what is mounted, and elsewhere than usual.
    let parent = format!("{}:/srv:ro", folder.path().parent().unwrap().display());
    let below = idle(&["-v", &parent, "-e", "DATA_DIR=../srv/data/"]).data().unwrap();
    assert_eq!(
        (below.path.as_path(), below.inside.as_path(), below.read_only),
        (folder.path(), Path::new("/srv/data"), true)
    );

    let volume = format!("{}-volume", idle(&[]).name);
    let named = idle(&["-v", &format!("{volume}:/app/data")]).data().unwrap();
    let mountpoint = cli(&["volume", "inspect", "-f", "{{.Mountpoint}}", &volume]);
    assert_eq!((named.path.as_path(), named.kind), (Path::new(&mountpoint), MountKind::Volume(volume.clone())));
    cli(&["volume", "rm", "-f", &volume]);

    for args in [&[][..], &["--tmpfs", "/app/data"]] {
        match idle(args).data() {
            Err(Error::Target(TargetError::NotOnAVolume { .. })) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn names_two_servers_on_one_folder_and_other_containers_there() {
    let Some(bench) = dockerd::bench() else { return };
    let folder = sqlite();
    let first = bench.serve(Image::Slim, &folder);
    let container = bench.look(&first);
    assert_eq!(bench.docker.others_on(&container).unwrap(), Vec::<String>::new());
    // The second does not touch the data, so that the test does not do the very harm.
    let args = ["-v", &folder.mount(), "--entrypoint", "sleep"];
    let second = bench.run_as(&["-d"], Image::Slim.name(), &args, &["60"]);
    let parent = format!("{}:/backup:ro", folder.path().parent().unwrap().display());
    let backup = ["-v", &parent, "--entrypoint", "sleep"];
    let backup = bench.run_as(&["-d"], Image::Slim.name(), &backup, &["60"]);
    assert_eq!(bench.docker.others_on(&container).unwrap().join(", "), second.name);
    let mut there: Vec<_> = bench.docker.containers_on(folder.path()).unwrap().into_iter().collect();
    there.sort_by_key(|one| one.name.clone());
    let mut expected = [(&first.name, true, false), (&second.name, true, false), (&backup.name, false, true)];
    expected.sort();
    let there: Vec<_> = there.iter().map(|one| (&one.name, one.server, one.read_only)).collect();
    assert_eq!(there, expected);
    cli(&["kill", &second.name]);
    assert_eq!(bench.docker.others_on(&container).unwrap(), Vec::<String>::new());
}

#[test]
fn stops_and_starts_a_server_that_would_always_restart() {
    let Some(bench) = dockerd::bench() else { return };
    for (image, folder) in [(Image::Slim, sqlite()), (Image::Full, sqlite())] {
        folder.misbehave("slow-stop 0.5");
        let server = bench.run(image, &["-v", &folder.mount(), "--restart", "always"]);
        let container = up(&bench, &server);
        assert_eq!(bench.docker.probe(&container).unwrap(), Answer::Up(EntryPage::Entry));
        let mut ticks = 0;
        let mut tick = |_| {
            ticks += 1;
            Ok(())
        };
        bench.docker.stop(&container, GRACE, &mut tick).unwrap();
        assert!(ticks > 0, "it stopped within a tick");
        assert!(!folder.path().join("kuma.db-wal").exists(), "it was killed");
        std::thread::sleep(SECONDS(1));
        assert_eq!(bench.look(&server).state.life, RunState::Stopped);
        bench.docker.stop(&container, GRACE, &mut quiet).unwrap();

        let start = bench.docker.start(&container).unwrap();
        let first = bench.docker.wait_up(&container, &start, SECONDS(30), &mut quiet).unwrap();
        println!("{image:?}: answered {} ms after the start", first.as_millis());
        assert_eq!(bench.look(&server).state.restart_count, 0);
    }
}

#[test]
fn does_not_kill_a_server_that_would_not_stop() {
    let Some(bench) = dockerd::bench() else { return };
    let folder = sqlite();
    folder.misbehave("ignore-term");
    let server = bench.serve(Image::Slim, &folder);
    let container = up(&bench, &server);
    match bench.docker.stop(&container, SECONDS(2), &mut quiet) {
        Err(Error::Docker(DockerError::StopTimeout { seconds: 2, .. })) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.docker.probe(&container).unwrap(), Answer::Up(EntryPage::Entry));

    // One that only takes long is waited for; the caller can end the waiting.
    let folder = sqlite();
    folder.misbehave("slow-stop 3");
    let slow = bench.serve(Image::Slim, &folder);
    let container = up(&bench, &slow);
    let mut impatient = |taken| {
        if taken < SECONDS(1) { Ok(()) } else { Err(Error::Operation(OperationError::Interrupted { signal: 2 })) }
    };
    match bench.docker.stop(&container, GRACE, &mut impatient) {
        Err(Error::Operation(OperationError::Interrupted { .. })) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.look(&slow).state.life, RunState::Running);
    bench.docker.stop(&container, GRACE, &mut quiet).unwrap();
    assert_eq!(bench.look(&slow).state.exit_code, 0);
}

#[test]
fn refuses_to_stop_what_would_be_deleted_or_replaced() {
    let Some(bench) = dockerd::bench() else { return };
    for flag in ["--rm", "--label=com.docker.swarm.service.name=kuma"] {
        let server = bench.run_as(&["-d", flag, "--entrypoint", "sleep"], Image::Slim.name(), &[], &["60"]);
        match bench.docker.stop(&bench.look(&server), GRACE, &mut quiet) {
            Err(Error::Docker(DockerError::AutoRemove { .. } | DockerError::Swarm { .. })) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(bench.look(&server).state.life, RunState::Running);
    }
}

#[test]
fn puts_a_paused_server_back_as_it_was() {
    let Some(bench) = dockerd::bench() else { return };
    let folder = sqlite();
    let server = bench.serve(Image::Slim, &folder);
    let container = up(&bench, &server);
    bench.docker.pause(&container).unwrap();
    let before = bench.look(&server).state.life;
    assert_eq!(before, RunState::Paused);
    bench.docker.stop(&container, GRACE, &mut quiet).unwrap();
    assert_eq!(bench.look(&server).state.life, RunState::Stopped);
    for life in [before, before, RunState::Running, RunState::Stopped, RunState::Stopped] {
        bench.docker.put_back(&container, life, GRACE, &mut quiet).unwrap();
        assert_eq!(bench.look(&server).state.life, life);
    }
}

/// On control groups of version 1 every thirtieth of these is refused at first.
#[test]
fn pauses_what_starts_processes_without_end() {
    let Some(bench) = dockerd::bench() else { return };
    let busy = "for n in 1 2 3; do (while :; do sh -c :; done) & done; wait";
    let server = bench.run_as(&["-d"], Image::Slim.name(), &["--entrypoint", "sh"], &["-c", busy]);
    let container = bench.look(&server);
    for life in [RunState::Paused, RunState::Running].repeat(rounds::count(3, 40)) {
        bench.docker.put_back(&container, life, GRACE, &mut quiet).unwrap();
        // The engine handles its own events later than it answers, and at times shows the state before for a moment.
        wait_until(10, "the state that was asked for", || bench.look(&server).state.life == life);
    }
}

#[test]
fn reports_a_crash_at_once_with_the_last_errors_of_the_log() {
    let Some(bench) = dockerd::bench() else { return };
    let folder = sqlite();
    folder.misbehave("crash");
    for policy in ["no", "always"] {
        let server = bench.run(Image::Slim, &["-v", &folder.mount(), "--restart", policy]);
        let (why, log) = not_up(&bench, &server, 60);
        // Between two looks at it, the engine may have restarted it already.
        let ways = ["exited with code", "exits repeatedly with code", "exited and was restarted"];
        assert!(ways.iter().any(|way| why.contains(way)), "{why}");
        assert!(log.iter().any(|line| line.contains("ERROR: Cannot start, as I was told")), "{log:?}");
        assert!(!log.iter().any(|line| line.contains("Welcome") || line.contains("at main")), "{log:?}");
        // A container in a restart loop can be stopped too.
        bench.docker.stop(&bench.look(&server), GRACE, &mut quiet).unwrap();
        assert_eq!(bench.look(&server).state.life, RunState::Stopped);
    }
}

#[test]
fn shows_only_the_errors_of_this_run() {
    let Some(bench) = dockerd::bench() else { return };
    let folder = sqlite();
    folder.misbehave("noise");
    let server = bench.run(Image::Slim, &["-t", "-v", &folder.mount()]);
    let container = up(&bench, &server);
    let errors = bench.docker.last_errors(&container, None);
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors[2].ends_with("[MONITOR] ERROR: Something went wrong, number 3"), "{errors:?}");
    bench.docker.stop(&container, GRACE, &mut quiet).unwrap();
    folder.behave();
    let start = bench.docker.start(&container).unwrap();
    bench.docker.wait_up(&container, &start, SECONDS(30), &mut quiet).unwrap();
    // Without errors, what it said last.
    let last = bench.docker.last_errors(&container, start.at);
    assert!(!last.is_empty() && !last.iter().any(|line| line.contains("ERROR")), "{last:?}");
    assert_eq!(bench.docker.logs(&container, LogRange { tail: Some(2), since: None }).unwrap().len(), 2);
}

#[test]
fn reports_the_set_up_page_silence_and_a_late_crash_from_a_server_that_is_up() {
    let Some(bench) = dockerd::bench() else { return };
    let server = bench.serve(Image::Slim, &Folder::empty());
    let (why, _) = not_up(&bench, &server, 60);
    assert!(why.contains("setup page"), "{why}");

    let folder = sqlite();
    folder.misbehave("silent");
    let server = bench.serve(Image::Slim, &folder);
    let (why, log) = not_up(&bench, &server, 2);
    assert!(why.contains("refused"), "{why}");
    assert!(!log.is_empty());

    let folder = sqlite();
    folder.misbehave("crash-if SELECT 1 FROM monitor WHERE name = 'Shop'");
    let server = bench.serve(Image::Slim, &folder);
    let (why, log) = not_up(&bench, &server, 60);
    assert!(why.contains("exited with code 1"), "{why}");
    assert!(log.iter().any(|line| line.contains("cannot bear")), "{log:?}");
}

#[test]
fn lets_a_migration_go_on() {
    let Some(bench) = dockerd::bench() else { return };
    for image in [Image::Slim, Image::Full] {
        let folder = sqlite();
        folder.misbehave("migrating");
        let server = bench.serve(image, &folder);
        let container = bench.look(&server);
        match bench.docker.wait_up(&container, &container.run(), SECONDS(8), &mut quiet) {
            Err(Error::Docker(DockerError::Migrating { .. })) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(bench.docker.probe(&container).unwrap(), Answer::Migrating);
        folder.behave();
        up(&bench, &server);
    }
}

#[test]
fn asks_at_the_port_that_the_environment_names() {
    let Some(bench) = dockerd::bench() else { return };
    let folder = sqlite();
    let args = ["-v", &folder.mount(), "-e", "UPTIME_KUMA_PORT=8080", "-e", "http_proxy=http://192.0.2.1:1"];
    let server = bench.run(Image::Slim, &args);
    up(&bench, &server);
}

#[test]
fn runs_commands_inside_with_input_and_a_limit() {
    let Some(bench) = dockerd::bench() else { return };
    let server = bench.run_as(&["-d", "--entrypoint", "sleep"], Image::Slim.name(), &[], &["60"]);
    let container = bench.look(&server);
    let exec = |argv: &[&str], stdin: &[u8]| bench.docker.exec(&container, argv, stdin, SECONDS(20));
    let big = vec![b'x'; 3_000_000];
    let output = exec(&["sh", "-c", "cat; echo no >&2; exit 7"], &big).unwrap();
    assert_eq!((output.code, output.stdout.len(), output.stderr.as_slice()), (7, big.len(), &b"no\n"[..]));
    let missing = exec(&["no-such-program"], b"");
    assert!(missing.as_ref().is_ok_and(|output| output.code == 126 || output.code == 127) || missing.is_err());
    match bench.docker.exec(&container, &["sleep", "30"], b"", SECONDS(1)) {
        Err(Error::Docker(DockerError::Action { why, .. })) => assert!(why.contains("longer than 1 s"), "{why}"),
        other => panic!("{other:?}"),
    }
    cli(&["kill", &server.name]);
    assert!(matches!(exec(&["true"], b""), Err(Error::Docker(DockerError::Action { .. }))));
}

#[test]
fn says_why_docker_cannot_be_reached() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let address = format!("unix://{}", socket.display());
    let why = |address: &str| match Endpoint::parse(address, None).and_then(|endpoint| Docker::connect(&endpoint)) {
        Err(error @ Error::Docker(DockerError::Unreachable { .. })) => {
            assert!(error.hint().is_some());
            error.to_string()
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("{address} answered"),
    };
    assert!(why(&address).contains("no such socket"), "{}", why(&address));
    drop(UnixListener::bind(&socket).unwrap());
    assert!(why(&address).contains("connection refused"), "{}", why(&address));
    assert!(why("tcp://127.0.0.1:1").contains("connection refused"), "{}", why("tcp://127.0.0.1:1"));
    assert!(why("fd://3").contains("not supported"), "{}", why("fd://3"));
    let name = "tcp://no-such-host.invalid:1";
    assert!(why(name).contains("host name `no-such-host.invalid` not found"), "{}", why(name));
}

/// What the `mariadb` client says to `sql`, asked at the socket on the host.
fn ask(folder: &Folder, sql: &str) -> Option<String> {
    let socket = folder.path().join("run/mariadb.sock");
    let output = Command::new("mariadb")
        .args(["--no-defaults", "--user=root", "--batch", "--skip-column-names", "kuma", "-e", sql])
        .arg(format!("--socket={}", socket.display()))
        .output()
        .unwrap();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[test]
fn runs_the_embedded_mariadb_of_a_stopped_server() {
    let Some(bench) = dockerd::bench() else { return };
    let folder = mariadb();
    let server = bench.serve(Image::Full, &folder);
    let container = up(&bench, &server);
    match Helper::start(&bench.docker, &container, "test", None) {
        Err(Error::Docker(DockerError::Helper { why, .. })) => assert!(why.contains("are running"), "{why}"),
        _ => panic!("it was started beside the server"),
    }
    bench.docker.stop(&container, GRACE, &mut quiet).unwrap();

    let begin = Instant::now();
    let helper = Helper::start(&bench.docker, &container, "test", None).unwrap();
    println!("accepted connections after {} ms", begin.elapsed().as_millis());
    assert_eq!(ask(&folder, "SELECT name FROM monitor WHERE id = 1").as_deref(), Some("Shop"));
    ask(&folder, "INSERT INTO monitor (id, name) VALUES (3, 'New')").unwrap();
    assert!(!bench.docker.containers().unwrap().iter().any(|one| one.id == helper.container().id));
    assert_eq!(bench.docker.others_on(&container).unwrap(), Vec::<String>::new());
    let id = helper.container().id.clone();
    let begin = Instant::now();
    helper.stop().unwrap();
    println!("was gone after {} ms", begin.elapsed().as_millis());
    assert!(bench.docker.container(&id).unwrap().is_none());
    assert!(UnixStream::connect(folder.path().join("run/mariadb.sock")).is_err());

    let start = bench.docker.start(&container).unwrap();
    bench.docker.wait_up(&container, &start, SECONDS(60), &mut quiet).unwrap();
    let beats = "SELECT count(*) > 0 FROM heartbeat WHERE monitor_id = 3";
    let begin = Instant::now();
    while ask(&folder, beats).as_deref() != Some("1") {
        assert!(begin.elapsed() < SECONDS(20), "the new monitor has no beats");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_helper_recovers_from_a_kill_and_is_found_when_left_behind() {
    let Some(bench) = dockerd::bench() else { return };
    let folder = mariadb();
    let server = bench.serve(Image::Full, &folder);
    let container = up(&bench, &server);
    // A stale socket and pid file are left, and InnoDB has to repair itself.
    cli(&["kill", &server.name]);
    assert!(folder.path().join("run/mariadb.sock").exists());
    let socket = folder.path().join("run/mariadb.sock");
    let mut asked = 0;
    let mut ready = || {
        asked += 1;
        UnixStream::connect(&socket).is_ok()
    };
    let label = container.id.clone();
    let helper = Helper::start(&bench.docker, &container, &label, Some(&mut ready)).unwrap();
    assert!(asked > 0);
    assert_eq!(ask(&folder, "SELECT name FROM monitor WHERE id = 1").as_deref(), Some("Shop"));
    // The run is cut off here.
    std::mem::forget(helper);
    let mine = || {
        let all = bench.docker.stale_helpers().unwrap();
        all.into_iter().filter(|one| one.label == label).collect::<Vec<_>>()
    };
    let stale = mine();
    assert_eq!(stale.len(), 1);
    assert!(stale[0].name.starts_with("kumadb-helper-"));
    bench.docker.remove_helper(&stale[0]).unwrap();
    bench.docker.remove_helper(&stale[0]).unwrap();
    assert!(mine().is_empty());
}

#[test]
fn a_helper_that_cannot_work_says_why_and_leaves_nothing_behind() {
    let Some(bench) = dockerd::bench() else { return };
    let folder = sqlite();
    std::fs::create_dir(folder.path().join("mariadb")).unwrap();
    let server = bench.run_as(&["--entrypoint", "true"], Image::Full.name(), &["-v", &folder.mount()], &[]);
    let container = bench.look(&server);
    match Helper::start(&bench.docker, &container, &container.id, None) {
        Err(Error::Docker(DockerError::Helper { why, log, .. })) => {
            assert!(why.contains("exited with code"), "{why}");
            assert!(log.iter().any(|line| line.contains("[ERROR]")), "{log:?}");
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("MariaDB started on nothing"),
    }
    assert!(bench.docker.stale_helpers().unwrap().iter().all(|one| one.label != container.id));

    let loose = bench.run_as(&["--entrypoint", "true"], Image::Full.name(), &[], &[]);
    match Helper::start(&bench.docker, &bench.look(&loose), "loose", None) {
        Err(Error::Target(TargetError::NotOnAVolume { .. })) => {}
        _ => panic!("a helper without data"),
    }
}
