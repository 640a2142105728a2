//! Verbs that run where the data are, over real lines: ssh, TLS, and the network that only a container has.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use crate::remote::endpoints::{Tls, engine_socket};
use crate::remote::whole_verbs::{Laptop, ran};
use crate::support::docked::{Docked, Kind, Ran};
use crate::support::dockerd::{self, Folder, Image, cli};
use crate::support::sshd::Sshd;
use crate::support::wait::wait_until;

/// A fault that the doctor cures.
const ODD_BEAT: &str = "INSERT INTO heartbeat (monitor_id, important, status, time, msg, duration) \
                        VALUES (1, 0, 5, '2026-01-01 00:00:00', 'odd', 1)";

/// Monitors are added, documents applied, a snapshot fetched and put back, a fault cured.
fn everything_works(laptop: &Laptop<'_>, lab: &Docked, run: &dyn Fn(&[&str]) -> Ran) {
    run(&["monitor", "add", "group", "--name", "Far"]).ended(0);
    laptop.write("kuma.yaml", "version: 1\nmonitors: [{name: Applied, type: group}]\n");
    run(&["--yes", "apply", "kuma.yaml"]).ended(0);
    assert_eq!(lab.monitors(), ["Shop", "Off", "Far", "Applied"]);
    let before = lab.picture();
    run(&["--store", "home", "backup", "create"]).ended(0).printed("downloaded and verified");
    run(&["--yes", "monitor", "delete", "Far"]).ended(0);
    run(&["--yes", "--store", "home", "restore", "latest"]).ended(0);
    assert_eq!(lab.picture(), before);
    lab.inside(ODD_BEAT);
    run(&["--yes", "doctor", "--fix"]).ended(0);
    assert_eq!(lab.sql("SELECT count(*) FROM heartbeat WHERE status = 5"), ["0"]);
    lab.is_well();
}

#[test]
fn everything_works_over_ssh_and_a_session_that_is_cut_loses_nothing() {
    let Some(lab) = Docked::up(Kind::Sqlite) else { return };
    let Some(sshd) = Sshd::start() else { return };
    let (laptop, engine) = (Laptop::of(&lab), engine_socket());
    let address = sshd.address();
    let words = ["-H", &address, "--remote-socket", engine.to_str().unwrap(), "-t", &lab.server.name];
    let command = |args: &[&str]| -> Command {
        let mut command = laptop.command(&[&words, args].concat());
        command.env("PATH", sshd.path());
        command
    };
    everything_works(&laptop, &lab, &|args| ran(&mut command(args)));

    let begin = |name: &str| {
        let mut command = command(&["monitor", "add", "group", "--name", name]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until(60, "a journal", || lab.is_unfinished());
        child
    };
    let begun = begin("Cut");
    sshd.cut();
    let ended = begun.wait_with_output().unwrap();
    let reported = String::from_utf8(ended.stderr).unwrap();
    // It logs in anew, and hears from the engine's log what it has missed.
    assert_eq!(ended.status.code(), Some(0), "{reported}");
    let lines: Vec<&str> = reported.lines().collect();
    assert_eq!(lines.iter().filter(|line| line.contains("stopping")).count(), 1, "{reported}");
    assert!(reported.contains("committed") && reported.contains("server is running"), "{reported}");
    assert!(String::from_utf8(ended.stdout).unwrap().contains("`Cut`"), "{reported}");
    // Where nobody lets it in again, it says where it goes on.
    let begun = begin("Lost");
    drop(sshd);
    let ended = begun.wait_with_output().unwrap();
    let reported = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{reported}");
    assert!(
        reported.contains("the remote job continues in container") && reported.contains("kumadb status"),
        "{reported}"
    );
    laptop.wait_for_errands();
    lab.wait_up();
    assert_eq!(lab.monitors().last().map(String::as_str), Some("Lost"));
    lab.is_well();
}

#[test]
fn everything_works_over_tls() {
    let Some(lab) = Docked::up(Kind::MariaDb) else { return };
    let engine = engine_socket();
    let Some(tls) = Tls::before(&engine) else { return };
    let laptop = Laptop::of(&lab);
    let address = tls.address();
    let words = ["-H", &address, "--remote-socket", engine.to_str().unwrap(), "-t", &lab.server.name];
    let run = |args: &[&str]| {
        let mut command = laptop.command(&[&words, args].concat());
        ran(command.env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", tls.certs()))
    };
    everything_works(&laptop, &lab, &run);
    run(&["--yes", "convert", "--to", "sqlite"]).ended(0).printed("server is running");
    let status = run(&["--json", "status"]).ended(0).json();
    assert_eq!((status["engine"].as_str(), &status["monitors"]), (Some("sqlite"), &4.into()), "{status}");
}

/// A network of its own; gone when dropped.
struct Network {
    name: String,
}

impl Network {
    fn new() -> Network {
        let name = tempfile::Builder::new().prefix("kumadb-test-").rand_bytes(8).tempdir().unwrap();
        let name = name.path().file_name().unwrap().to_str().unwrap().to_owned();
        cli(&["network", "create", "--internal", &name]);
        Network { name }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["network", "rm", &self.name]).output();
    }
}

#[test]
fn a_database_that_only_the_network_of_the_container_has_is_reached_from_there() {
    let Some(bench) = dockerd::bench() else { return };
    let Some(data) = crate::support::docked::make_folder(Kind::MariaDb) else { return };
    let network = Network::new();
    let mount = format!("{}:/var/lib/mysql", data.path().join("mariadb").display());
    let place = ["--network", &network.name, "--network-alias", "db", "-v", &mount, "--entrypoint", "mariadbd"];
    let socket = "--socket=/tmp/mariadb.sock";
    let words = ["--no-defaults", "--user=node", "--datadir=/var/lib/mysql", "--pid-file=/tmp/pid", socket];
    let database = bench.run_as(&["-d"], Image::Full.name(), &place, &words);
    let sql = "CREATE USER kuma@'%' IDENTIFIED BY 'Far-Away-2026'; GRANT ALL ON *.* TO kuma@'%'";
    let grant = ["exec", &database.name, "mariadb", "--no-defaults", socket, "-e", sql];
    wait_until(60, "MariaDB", || Command::new("docker").args(grant).output().unwrap().status.success());
    let folder = Folder::empty();
    folder.write(
        "db-config.json",
        r#"{"type": "mariadb", "hostname": "db", "port": 3306, "dbName": "kuma", "username": "kuma", "password": "Far-Away-2026"}"#,
    );
    let lab = Docked::on(bench, Kind::MariaDb, folder, &["--network", &network.name]);
    // The folder is here, and the database is not.
    let names = || lab.kumadb(&["--json", "export"]).ended(0).out;
    lab.kumadb(&["monitor", "add", "group", "--name", "Near"]).ended(0);
    lab.kumadb(&["monitor", "add", "group", "--name", "Live", "--live"]).ended(0);
    assert!(["Near", "Live"].iter().all(|name| names().contains(name)));
    lab.kumadb(&["backup", "create"]).ended(0).printed("downloaded and verified");
    lab.kumadb(&["--yes", "monitor", "delete", "Live"]).ended(0);
    assert!(!names().contains("Live"));
    lab.kumadb(&["--yes", "restore", "latest"]).ended(0);
    assert!(names().contains("Live"));
    // Neither of them is.
    let laptop = Laptop::of(&lab);
    laptop.kumadb(&["monitor", "add", "group", "--name", "Far", "--live"]).ended(0);
    assert!(names().contains("Far"));
    // Where it is down, that is said, and not that it is elsewhere.
    cli(&["stop", "-t", "1", &database.name]);
    lab.kumadb(&["monitor", "list"]).ended(1).printed("db:3306");
}

#[test]
fn a_fleet_is_asked_through_children_whose_instances_are_remote_as_often_as_they_ask() {
    let Some(lab) = Docked::with(Kind::MariaDb, &["--restart", "always"]) else { return };
    let laptop = Laptop::of(&lab);
    lab.inside(ODD_BEAT);
    lab.folder.misbehave("crash-if SELECT 1 FROM heartbeat WHERE status = 5");
    cli(&["restart", &lab.server.name]);
    wait_until(60, "a restart", || lab.bench.look(&lab.server).state.restart_count > 0);
    laptop.write("kumadb.toml", &format!("[instances.far]\ntarget = \"{}\"\n", lab.server.name));
    let words = ["--config", "kumadb.toml", "--json", "--asked-by-parent", "doctor", "--fix", "--all"];
    let mut command = laptop.command(&words);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut answers, mut asked, mut result) = (child.stdin.take().unwrap(), Vec::new(), String::new());
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap) {
        match serde_json::from_str::<serde_json::Value>(&line) {
            Ok(asks) if asks.get("question").is_some() => {
                asked.push(asks["shown"].to_string());
                answers.write_all(b"yes\n").unwrap();
            }
            _ => result.push_str(&line),
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(0), "{result}");
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked[0].contains("which is in a restart loop"), "{asked:?}");
    assert!(!asked[1].contains("which is in a restart loop"), "said again: {asked:?}");
    assert_eq!(lab.sql("SELECT count(*) FROM heartbeat WHERE status = 5"), ["0"]);
    lab.wait_up();
    lab.is_well();
}
