//! Whole instances on the bench: a data folder with the server's own tables, the stand-in on it in a container, a store
//! for its snapshots, and the real binary.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use kumadb::backup::Store;
use kumadb::docker::{Answer, Docker, LogRange, RunState};
use kumadb::engine::{Connect, WriteKey, quote};
use kumadb::instance::{Instance, Location, Locator};
use kumadb::kuma::init::{self, NewInstance};
use kumadb::operation::Journal;
use kumadb::schema;
use kumadb::value::{Secret, Value};
use tempfile::TempDir;

use crate::support::dockerd::{self, Bench, Folder, Image, Server, cli};
use crate::support::lab::prepared;
use crate::support::mariadbd::Mariadbd;
use crate::support::wait::wait_until;

/// How an instance keeps its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    MariaDb,
}

/// Runs `test` on both at the same time: it is mostly waiting.
pub fn both(test: impl Fn(Kind) + Sync) {
    std::thread::scope(|scope| {
        let mariadb = scope.spawn(|| test(Kind::MariaDb));
        test(Kind::Sqlite);
        // The panic has told what went wrong.
        assert!(mariadb.join().is_ok(), "it failed on MariaDB, see above");
    });
}

/// Tables that the server writes by itself.
const HISTORY: [&str; 7] = [
    "heartbeat",
    "stat_minutely",
    "stat_hourly",
    "stat_daily",
    "monitor_tls_info",
    "notification_sent_history",
    "knex_migrations_lock",
];

/// Every row that somebody configured, by table.
pub type Picture = BTreeMap<String, Vec<String>>;

/// One instance.
pub struct Docked {
    pub kind: Kind,
    pub server: Server,
    pub folder: Folder,
    pub bench: Bench,
    root: TempDir,
}

/// How a run of the binary ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Its result, which must be there.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Fails the test unless it ended with `code`.
    #[track_caller]
    pub fn ended(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "{}\n{}", self.err, self.out);
        self
    }

    /// Fails the test unless `words` stand in what it told.
    #[track_caller]
    pub fn printed(self, words: &str) -> Ran {
        assert!(self.err.contains(words), "`{words}` is not in: {}", self.err);
        self
    }
}

/// What runs a program that files and sockets of others are closed to, as they are to everybody but root.
pub fn without_privileges() -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new("env");
    }
    let mut command = Command::new("setpriv");
    command.arg("--bounding-set=-dac_override,-dac_read_search");
    command
}

impl Docked {
    /// An instance with the monitors `Shop` (1, active) and `Off` (2, paused), whose server is up.
    pub fn up(kind: Kind) -> Option<Docked> {
        Self::with(kind, &[])
    }

    /// The same with more arguments for `docker run`.
    pub fn with(kind: Kind, args: &[&str]) -> Option<Docked> {
        let bench = dockerd::bench()?;
        let folder = make_folder(kind)?;
        Some(Self::on(bench, kind, folder, args))
    }

    /// The same on a folder that is there.
    pub fn on(bench: Bench, kind: Kind, folder: Folder, args: &[&str]) -> Docked {
        let image = if kind == Kind::Sqlite { Image::Slim } else { Image::Full };
        let mount = folder.mount();
        let server = bench.run(image, &[&["-v", mount.as_str()], args].concat());
        let lab = Self::around(bench, kind, folder, server);
        lab.wait_up();
        lab
    }

    /// A container that is there.
    pub fn around(bench: Bench, kind: Kind, folder: Folder, server: Server) -> Docked {
        Docked { kind, server, folder, bench, root: tempfile::tempdir().unwrap() }
    }

    /// Runs `kumadb -t CONTAINER … ARGS`.
    pub fn kumadb(&self, args: &[&str]) -> Ran {
        self.run_on(&self.server.name, args)
    }

    /// Runs `kumadb -t TARGET … ARGS`.
    pub fn run_on(&self, target: &str, args: &[&str]) -> Ran {
        let output = self.command(target).args(args).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The binary with target and store.
    pub fn command(&self, target: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kumadb"));
        command.args(["-t", target, "--store"]).arg(self.root.path().join("store"));
        command.env("XDG_STATE_HOME", self.root.path()).current_dir(self.root.path());
        command
    }

    /// A folder of this lab's own.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Adds the monitor `name` with `kumadb monitor add`.
    pub fn add(&self, name: &str, args: &[&str]) -> Ran {
        let words = ["--json", "monitor", "add", "http", "--name", name, "--url", "http://127.0.0.1:1/"];
        self.kumadb(&[&words, args].concat())
    }

    pub fn store(&self) -> Store {
        store_in(self.root.path())
    }

    /// The instance as the library finds it.
    pub fn instance(&self) -> Instance {
        find(&self.server.name, self.root.path())
    }

    /// The rows of `sql`, whatever the state of the server; cells between bars.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> Vec<String> {
        let instance = self.instance();
        let session = instance.open().unwrap();
        let rows = session.connect().reader().unwrap().query(sql, &[]).unwrap();
        session.close().unwrap();
        rows.iter().map(|row| row.cells().iter().map(Value::to_string).collect::<Vec<_>>().join("|")).collect()
    }

    /// Names of the monitors.
    #[track_caller]
    pub fn monitors(&self) -> Vec<String> {
        self.sql("SELECT name FROM monitor ORDER BY id")
    }

    /// Everything that is configured.
    #[track_caller]
    pub fn picture(&self) -> Picture {
        let instance = self.instance();
        let session = instance.open().unwrap();
        let mut reader = session.connect().reader().unwrap();
        let mut picture = Picture::new();
        for table in reader.schema().unwrap().tables.keys().filter(|table| !HISTORY.contains(&table.as_str())) {
            let rows = reader.query(&format!("SELECT * FROM {}", quote(table)), &[]).unwrap();
            let mut rows: Vec<String> = rows.iter().map(|row| format!("{:?}", row.cells())).collect();
            rows.sort();
            picture.insert(table.clone(), rows);
        }
        drop(reader);
        session.close().unwrap();
        picture
    }

    /// What the container does.
    pub fn life(&self) -> RunState {
        self.bench.look(&self.server).state.life
    }

    /// When the container was last started.
    pub fn started(&self) -> String {
        cli(&["inspect", "-f", "{{.State.StartedAt}}", &self.server.name])
    }

    /// Waits for the first beat of all.
    #[track_caller]
    pub fn wait_beat(&self) {
        wait_until(60, "a beat", || self.sql("SELECT count(*) FROM heartbeat") != ["0"]);
    }

    /// Waits until the server answers. Whether it goes on to is what kumadb itself looks at for a second.
    #[track_caller]
    pub fn wait_up(&self) {
        let listens = || self.log().iter().any(|line| line.contains("Listening on port"));
        wait_until(60, "the server", || {
            listens() && matches!(self.bench.docker.probe(&self.bench.look(&self.server)), Ok(Answer::Up(_)))
        });
    }

    /// Fails the test unless the server runs and answers, and no run left anything behind.
    #[track_caller]
    pub fn is_well(&self) {
        let container = self.bench.look(&self.server);
        assert_eq!(container.state.life, RunState::Running);
        let answer = self.bench.docker.probe(&container).unwrap();
        assert!(matches!(answer, Answer::Up(_)), "{answer:?}");
        self.is_tidy();
    }

    /// Fails the test if a run left anything behind.
    #[track_caller]
    pub fn is_tidy(&self) {
        assert_eq!(self.left(), ["lock"]);
        assert_eq!(self.helpers(), Vec::<String>::new());
        for part in ["kuma.db-journal", ".kumadb-journal"] {
            assert!(!self.folder.path().join(part).exists(), "{part}");
        }
    }

    /// What is in our own folder.
    pub fn left(&self) -> Vec<String> {
        crate::support::lab::left_in(&self.folder.path().join(".kumadb"))
    }

    /// Helper containers of this instance that are still there.
    pub fn helpers(&self) -> Vec<String> {
        let stale = self.bench.docker.stale_helpers().unwrap();
        stale.into_iter().filter(|one| one.label == self.server.name).map(|one| one.name).collect()
    }

    pub fn is_unfinished(&self) -> bool {
        Journal::read(&self.folder.path().join(".kumadb")).unwrap().is_some()
    }

    /// The lines of its log.
    fn log(&self) -> Vec<String> {
        self.bench.docker.logs(&self.bench.look(&self.server), LogRange::default()).unwrap()
    }

    /// How often the server was started and was told to stop, as its log has it.
    pub fn starts_and_stops(&self) -> (usize, usize) {
        let log = self.log();
        let count = |words: &str| log.iter().filter(|line| line.contains(words)).count();
        (count("Welcome to the stand-in"), count("Shutdown requested"))
    }

    /// Fails the test unless the server was stopped and started `times` since `before`.
    #[track_caller]
    pub fn was_restarted(&self, times: usize, before: (usize, usize)) {
        assert_eq!(self.starts_and_stops(), (before.0 + times, before.1 + times));
    }

    /// Runs SQL inside the running container, as somebody else would.
    #[track_caller]
    pub fn inside(&self, sql: &str) {
        match self.kind {
            Kind::Sqlite => {
                let words = ["exec", &self.server.name, "sqlite3", "-cmd", ".timeout 5000", "/app/data/kuma.db", sql];
                cli(&words);
            }
            Kind::MariaDb => {
                let socket = "--socket=/app/data/run/mariadb.sock";
                cli(&["exec", &self.server.name, "mariadb", "--no-defaults", socket, "kuma", "-e", sql]);
            }
        }
    }
}

/// The instance named `target`, with the engine of this bench.
pub fn find(target: &str, root: &Path) -> Instance {
    let docker = Docker::connect(&dockerd::endpoint()).map(Arc::new);
    let locator = Locator { docker, here: root.to_owned(), state: root.join("state"), on_host: false };
    locator.find(Some(target)).and_then(Location::local).unwrap()
}

/// The store of the instance whose own folder is `root`.
pub fn store_in(root: &Path) -> Store {
    Store::new(root.join("store"))
}

/// A data folder with the newest recorded schema, a user and two monitors.
pub fn make_folder(kind: Kind) -> Option<Folder> {
    let folder = Folder::empty();
    match kind {
        Kind::Sqlite => {
            // The hashes in it would be most of the work.
            let made = prepared("docked-sqlite", &schema::newest().to_string(), |place| {
                init::make_folder(place, &new_instance()).unwrap();
                seed(&kumadb::engine::sqlite::SqliteFile::new(place.join("kuma.db")));
            });
            let whole = [made.join("."), folder.path().to_owned()];
            assert!(Command::new("cp").arg("-a").args(whole).status().unwrap().success());
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        }
        Kind::MariaDb => {
            let data = folder.path().join("mariadb");
            assert!(Command::new("cp").arg("-a").arg(template()?).arg(&data).status().unwrap().success());
            assert!(Command::new("chown").args(["-R", "1000:1000"]).arg(&data).status().unwrap().success());
            folder.write("db-config.json", r#"{"type":"embedded-mariadb"}"#);
        }
    }
    Some(folder)
}

/// The files of a MariaDB with such a database in it, made once for all tests.
fn template() -> Option<PathBuf> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kuma-mariadb-data-{}", schema::newest()));
    let lock = fs::File::create(place.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if !place.exists() {
        // With the log size that the server starts it with; with another one, the log is written again at each start.
        let mariadbd = Mariadbd::with(&["--skip-networking", "--innodb-log-file-size=96M"])?;
        let database = mariadbd.create_database("kuma", "utf8mb4");
        init::fill_database(&database, &new_instance()).unwrap();
        seed(&database);
        let made = place.with_extension("new");
        let _ = fs::remove_dir_all(&made);
        mariadbd.shut_down(&made);
        fs::rename(&made, &place).unwrap();
    }
    Some(place)
}

pub fn new_instance() -> NewInstance {
    let admin = Some(("admin".to_owned(), Secret::new("Kuma-Docked-2026")));
    NewInstance { release: schema::newest(), admin, timezone: None }
}

pub fn seed(database: &dyn Connect) {
    let mut writer = database.writer(&WriteKey::for_tests()).unwrap();
    writer.begin().unwrap();
    for (name, active) in [("Shop", 1), ("Off", 0)] {
        let sql = "INSERT INTO `monitor` (`name`, `active`, `user_id`, `interval`, `url`, `type`, \
                   `accepted_statuscodes_json`) VALUES (?, ?, 1, 60, 'http://127.0.0.1:1/', 'http', '[\"200-299\"]')";
        writer.execute(sql, &[name.into(), Value::Int(active)]).unwrap();
    }
    writer.commit().unwrap();
}
