//! Databases to measure on, and the binary that is measured.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kumadb::engine::{Connect, WriteKey};
use kumadb::error::{DockerError, Error, Hint};
use kumadb::instance::{Instance, Location, Locator};
use kumadb::kuma::init;
use kumadb::kuma::read::read_state;
use kumadb::model::state::MonitorConfig;
use kumadb::model::{NewMonitorContext, new_monitor};
use kumadb::plan::Plan;
use kumadb::plan::monitor::{New, Notify, TagRequest, plan_add};
use kumadb::schema;
use kumadb::value::{Secret, Value};
use tempfile::TempDir;

use crate::mariadbd::Mariadbd;
use crate::report::timed;

/// A new instance with one user, two tags and a default notification.
fn new_instance() -> init::NewInstance {
    let admin = Some(("admin".to_owned(), Secret::new("Kuma-Bench-2026")));
    init::NewInstance { release: schema::newest(), admin, timezone: None }
}

fn seed(connect: &dyn Connect) {
    let mut writer = connect.writer(&WriteKey::for_tests()).unwrap();
    writer.begin().unwrap();
    let mut tags = ["env", "team"].into_iter().map(|name| vec![name.into(), "#4B5563".into()]);
    writer.insert("tag", &["name", "color"], &mut tags).unwrap();
    let config = r#"{"type":"webhook","webhookURL":"http://127.0.0.1:9/"}"#;
    let mut ops = std::iter::once(vec!["ops".into(), config.into(), 1.into(), 1.into(), 1.into()]);
    writer.insert("notification", &["name", "config", "active", "user_id", "is_default"], &mut ops).unwrap();
    writer.commit().unwrap();
}

/// A database, its target on the command line, and the folder for its snapshots and journals.
pub struct Place {
    pub target: String,
    root: TempDir,
}

impl Place {
    /// A new data folder on SQLite.
    pub fn folder() -> Place {
        Self::of(&schema::newest().to_string())
    }

    /// The same of `release`.
    pub fn of(release: &str) -> Place {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        let new = init::NewInstance { release: release.parse().unwrap(), ..new_instance() };
        init::make_folder(&data, &new).unwrap();
        let place = Place { target: data.display().to_string(), root };
        seed(&*place.instance().connect().unwrap());
        place
    }

    /// A copy of a data folder, on the disk.
    pub fn copy(&self) -> Place {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        fs::create_dir(&data).unwrap();
        for name in ["kuma.db", "db-config.json"] {
            fs::copy(Path::new(&self.target).join(name), data.join(name)).unwrap();
        }
        assert!(Command::new("sync").arg("-f").arg(&data).status().unwrap().success());
        Place { target: data.display().to_string(), root }
    }

    /// A new database on `mariadbd`.
    pub fn database(mariadbd: &Mariadbd, name: &str) -> Place {
        mariadbd.create_database(name, "utf8mb4");
        let target = format!("mysql://root@localhost/{name}?socket={}", mariadbd.socket().display());
        let place = Place { target, root: tempfile::tempdir().unwrap() };
        let connect = place.instance().connect().unwrap();
        init::fill_database(&*connect, &new_instance()).unwrap();
        seed(&*connect);
        place
    }

    /// The file of a database on SQLite.
    pub fn file(&self) -> PathBuf {
        Path::new(&self.target).join("kuma.db")
    }

    /// A folder for temporary files.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub fn instance(&self) -> Instance {
        let docker = Err(Error::Docker(DockerError::Unreachable {
            address: "none".into(),
            why: "not in this measurement".into(),
            hint: Hint::advice(""),
        }));
        let locator =
            Locator { docker, here: self.root().to_owned(), state: self.root().join("state"), on_host: false };
        locator.find(Some(&self.target)).and_then(Location::local).unwrap()
    }

    pub fn state(&self) -> MonitorConfig {
        read_state(&mut *self.instance().connect().unwrap().reader().unwrap(), "bench").unwrap()
    }
}

/// A plan for `count` typical monitors: mostly http monitors, each with two tags and the default notification.
pub fn plan(state: &MonitorConfig, count: usize) -> Plan {
    let table = state.database.schema.table("monitor").unwrap();
    let by = NewMonitorContext { user_id: state.owner().unwrap(), ..NewMonitorContext::default() };
    let monitors: Vec<New> = (1..=count)
        .map(|n| {
            let host = format!("host-{n}.example.com");
            let (kind, typed): (_, &[(&str, Value)]) = match n % 5 {
                0 => ("ping", &[("hostname", host.as_str().into())]),
                1 => ("port", &[("hostname", host.as_str().into()), ("port", 443.into())]),
                _ => ("http", &[("url", format!("https://{host}/health").into())]),
            };
            let name = ("name", Value::from(format!("Monitor {n}")));
            let typed: BTreeMap<String, Value> =
                typed.iter().cloned().chain([name]).map(|(column, value)| (column.to_owned(), value)).collect();
            let row = new_monitor(state.database.release.release, table, kind, &typed, &by).unwrap();
            let tags = vec![TagRequest::parse("env=prod"), TagRequest::parse(&format!("team=team {}", n % 7))];
            New { row, tags, notify: Notify::Defaults }
        })
        .collect();
    plan_add(state, &monitors, false).unwrap()
}

/// The kumadb binary, independent of the configuration of the user.
pub fn kumadb(place: &Place) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kumadb"));
    command.args(["--target", &place.target]).arg("--store").arg(place.root().join("store"));
    command.env("XDG_STATE_HOME", place.root()).env_remove("KUMADB_TARGET");
    command
}

/// Runs `command`, which must succeed, without its output; returns its duration.
pub fn time_command(mut command: Command) -> Duration {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let (time, status) = timed(|| command.status().unwrap());
    assert!(status.success(), "{command:?}: {status}");
    time
}

/// Peak memory of `command`, in MB, if GNU time is available.
pub fn memory_of(command: &Command) -> Option<f64> {
    measure(command).1
}

/// Duration and peak memory of `command`, as [`memory_of`].
pub fn measure(command: &Command) -> (Duration, Option<f64>) {
    let again = |program: &str| {
        let mut again = Command::new(program);
        again.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        again
    };
    let time = "/usr/bin/time";
    if !Path::new(time).exists() {
        let mut plain = again(&command.get_program().to_string_lossy());
        plain.args(command.get_args());
        return (time_command(plain), None);
    }
    let reported = tempfile::NamedTempFile::new().unwrap();
    let mut watched = again(time);
    watched.args(["-f", "%M", "-o"]).arg(reported.path()).arg(command.get_program()).args(command.get_args());
    let took = time_command(watched);
    let kilobytes: f64 = fs::read_to_string(reported.path()).unwrap().trim().parse().unwrap();
    (took, Some(kilobytes * 1024.0 / 1e6))
}

/// A client that reads SQL from a file.
pub fn time_client(mut client: Command, sql: &Path) -> Duration {
    client.stdin(File::open(sql).unwrap()).stdout(Stdio::null()).stderr(Stdio::inherit());
    let (time, status) = timed(|| client.status().unwrap());
    assert!(status.success(), "{client:?}: {status}");
    time
}
