//! A real instance in a folder of its own, and the real binary on it, as a person at a terminal has them.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use assert_cmd::Command;
use kumadb::error::{DockerError, Error, Hint, Result};
use kumadb::instance::{Instance, Locator};
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::support::mariadbd::{self, Mariadbd};
use crate::support::need;

/// The password of the first user of every lab.
pub const PASSWORD: &str = "Kuma-Lab-2026";

/// One instance, its store, and everything else that kumadb would keep at home.
pub struct Lab {
    pub root: TempDir,
    pub target: String,
    pub mariadbd: Option<Mariadbd>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub exit: i32,
    pub out: String,
    pub err: String,
}

impl Lab {
    /// A data folder with SQLite, made by `kumadb init`.
    pub fn sqlite(release: &str) -> Lab {
        Self::sqlite_in("data", release)
    }

    /// The same in a folder called `folder`, which is the name of the instance too.
    pub fn sqlite_in(folder: &str, release: &str) -> Lab {
        let root = tempfile::Builder::new().prefix("kumadb-lab-").tempdir().unwrap();
        let place = root.path().join(folder);
        mariadbd::copy_folder(&prepared("sqlite", release, |place| init(place.to_str().unwrap(), release)), &place);
        Lab { root, target: place.display().to_string(), mariadbd: None }
    }

    /// An external MariaDB, filled by `kumadb init`; `None` where there is no MariaDB.
    pub fn mariadb(release: &str) -> Option<Lab> {
        need::mariadb()?;
        let data = prepared("mariadb", release, |place| {
            let mariadbd = Mariadbd::start().unwrap();
            mariadbd.create_database("kuma", "utf8mb4");
            init(&mariadbd.target("kuma"), release);
            mariadbd.shut_down(place);
        });
        let mariadbd = Mariadbd::start_on(&data)?;
        let root = tempfile::Builder::new().prefix("kumadb-lab-").tempdir().unwrap();
        Some(Lab { root, target: mariadbd.target("kuma"), mariadbd: Some(mariadbd) })
    }

    /// One of each.
    pub fn both(release: &str) -> Vec<Lab> {
        std::iter::once(Lab::sqlite(release)).chain(Lab::mariadb(release)).collect()
    }

    /// `SQLite` or `MariaDB`.
    pub fn engine(&self) -> &'static str {
        if self.mariadbd.is_some() { "MariaDB" } else { "SQLite" }
    }

    /// The data folder; only SQLite has one here.
    pub fn folder(&self) -> PathBuf {
        self.target.clone().into()
    }

    /// Where its snapshots are.
    pub fn store(&self) -> PathBuf {
        self.root.path().join("store")
    }

    /// The binary, without an instance.
    pub fn bare_without_lab() -> Command {
        Command::new(env!("CARGO_BIN_EXE_kumadb"))
    }

    /// The binary, with nothing of this machine in sight.
    pub fn bare(&self) -> Command {
        Command::from_std(self.process())
    }

    /// Runs `line` on the instance and does not wait for it.
    pub fn spawn(&self, line: &str) -> std::process::Child {
        self.begin(line).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// `line` on the instance, to be started.
    pub fn begin(&self, line: &str) -> std::process::Command {
        let mut process = self.process();
        process.args(["-t", &self.target]).args(words(line));
        process
    }

    pub fn process(&self) -> std::process::Command {
        self.program(env!("CARGO_BIN_EXE_kumadb"))
    }

    /// `program`, with nothing of this machine in its environment.
    pub fn program(&self, program: &str) -> std::process::Command {
        let mut command = std::process::Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("DOCKER_HOST", "unix:///no-docker-here.sock")
            .env("KUMADB_STORE", self.store())
            .env("XDG_STATE_HOME", self.root.path().join("state"))
            .env("XDG_CONFIG_HOME", self.root.path().join("config"))
            .env("XDG_CACHE_HOME", self.root.path().join("cache"))
            .env("XDG_DATA_HOME", self.root.path().join("home"))
            .env("TMPDIR", std::env::temp_dir())
            .env("TZ", "UTC")
            .current_dir(self.root.path());
        command
    }

    /// Runs `line` on the instance, split as a shell does.
    pub fn run(&self, line: &str) -> Ran {
        Ran::of(self.bare().args(["-t", &self.target]).args(words(line)))
    }

    /// Runs `line`, which must succeed, and returns what it printed as its result.
    pub fn ok(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.exit, 0, "{}: {line}\n{}{}", self.engine(), ran.out, ran.err);
        self.restore_test();
        ran.out
    }

    /// With `KUMADB_TEST_RESTORE_TESTS` set, restores each snapshot in its store that is new into a place of its own; a second for
    /// each of MariaDB is too much for every run of the tests.
    fn restore_test(&self) {
        if std::env::var_os("KUMADB_TEST_RESTORE_TESTS").is_none() {
            return;
        }
        let tried = self.root.path().join("tried");
        std::fs::create_dir_all(&tried).unwrap();
        let entries =
            |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        // What is hidden is nobody's snapshot yet.
        let folders =
            entries(&self.store()).filter(|folder| !folder.file_name().unwrap().to_string_lossy().starts_with('.'));
        let files = folders.flat_map(|folder| entries(&folder).collect::<Vec<_>>());
        for archive in files.filter(|file| file.to_string_lossy().ends_with(".kuma.tar.zst")) {
            let copy = tried.join(archive.file_name().unwrap());
            if !copy.exists() {
                std::fs::copy(&archive, &copy).unwrap();
                let ran = Ran::of(self.bare().args(["backup", "verify", "--restore-test"]).arg(&copy));
                assert_eq!(ran.exit, 0, "{}: {}{}", archive.display(), ran.out, ran.err);
                // From here on only its name counts.
                std::fs::write(&copy, "").unwrap();
            }
        }
    }

    /// The test has spoilt `archive`: no drill is made of it.
    pub fn leave_out(&self, archive: &Path) {
        let tried = self.root.path().join("tried");
        std::fs::create_dir_all(&tried).unwrap();
        std::fs::write(tried.join(archive.file_name().unwrap()), "").unwrap();
    }

    /// Runs `line --json`, which must succeed, and returns the document.
    pub fn json(&self, line: &str) -> Json {
        let out = self.ok(&format!("{line} --json"));
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{line}: {error}: {out}"))
    }

    /// Runs `line`, which must end with `exit`, and returns how.
    pub fn fails(&self, exit: i32, line: &str) -> Ran {
        let ran = self.run(line);
        assert_eq!(ran.exit, exit, "{}: {line}\n{}{}", self.engine(), ran.out, ran.err);
        ran
    }

    /// The id of the newest undo snapshot.
    pub fn newest_undo(&self) -> String {
        let listed = self.json("backup list --undo");
        listed["snapshots"].as_array().unwrap().last().unwrap()["manifest"]["id"].as_str().unwrap().to_owned()
    }

    /// Runs SQL past kumadb, as somebody else would.
    pub fn sql(&self, sql: &str) -> String {
        match &self.mariadbd {
            Some(mariadbd) => mariadbd.sql("kuma", sql),
            None => {
                let output = std::process::Command::new("sqlite3")
                    .args(["-batch", "-separator", "\t"])
                    .arg(self.folder().join("kuma.db"))
                    .arg(sql)
                    .output()
                    .unwrap();
                assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
                mariadbd::printed(output.stdout)
            }
        }
    }

    /// Every row of every table, however it lies in the file.
    pub fn rows(&self) -> String {
        match self.mariadbd {
            None => self.sql(".dump"),
            Some(_) => String::from_utf8(self.content()).unwrap(),
        }
    }

    /// Everything in the database: the bytes of the file, or every row of every table.
    pub fn content(&self) -> Vec<u8> {
        match &self.mariadbd {
            None => std::fs::read(self.folder().join("kuma.db")).unwrap(),
            Some(mariadbd) => {
                let tables = mariadbd.sql("kuma", "SHOW TABLES");
                // One client for all: there are thirty.
                let rows = |table: &str| format!("SELECT '{table}'; SELECT * FROM `{table}` ORDER BY 1;");
                mariadbd.sql("kuma", &tables.lines().map(rows).collect::<String>()).into_bytes()
            }
        }
    }

    /// `text` without this lab's folder and without dates.
    pub fn rooted(&self, text: &str) -> String {
        plain(text, self.root.path(), &SHAPES[..3])
    }

    /// `text` without what differs from run to run: paths, ids of snapshots, times, sizes, durations.
    pub fn plain(&self, text: &str) -> String {
        plain(text, self.root.path(), &SHAPES)
    }
}

/// Makes an instance of `release` with `kumadb init`.
fn init(target: &str, release: &str) {
    Lab::bare_without_lab()
        .args(["init", target, "--release", release, "--admin", "admin"])
        .env("DOCKER_HOST", "unix:///no-docker-here.sock")
        .env("XDG_STATE_HOME", std::env::temp_dir())
        .env("KUMADB_ADMIN_PASSWORD", PASSWORD)
        .assert()
        .success();
}

/// What `make` makes at the place that it is given, made once for each build of the binary.
pub fn prepared(kind: &str, release: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let built = std::fs::metadata(env!("CARGO_BIN_EXE_kumadb")).unwrap().modified().unwrap();
    let built = built.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lab-{kind}-{release}"));
    let (made, stamp) = (place.join("made"), place.join("built"));
    std::fs::create_dir_all(&place).unwrap();
    let lock = std::fs::File::create(place.join("lock")).unwrap();
    lock.lock().unwrap();
    if std::fs::read_to_string(&stamp).ok() != Some(built.to_string()) {
        let _ = std::fs::remove_dir_all(&made);
        make(&made);
        std::fs::write(&stamp, built.to_string()).unwrap();
    }
    made
}

impl Ran {
    /// Runs `command`.
    pub fn of(command: &mut Command) -> Ran {
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { exit: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// `line` as words: blanks part them, single quotes hold them together.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    assert!(!quoted, "{line}");
    words.extend(word);
    words
}

fn plain(text: &str, root: &Path, shapes: &[(&str, &str)]) -> String {
    let text = text.replace(&root.display().to_string(), "<root>");
    let mut plain = String::new();
    let mut rest = text.as_str();
    while let Some(letter) = rest.chars().next() {
        let starts = !plain.ends_with(|before: char| before.is_ascii_alphanumeric() || before == '.');
        match shapes.iter().find_map(|(shape, name)| Some((fits(rest, shape).filter(|_| starts)?, name))) {
            Some((length, name)) => {
                plain.push_str(name);
                rest = &rest[length..];
            }
            None => {
                plain.push(letter);
                rest = &rest[letter.len_utf8()..];
            }
        }
    }
    plain
}

/// What differs from run to run: `9` is a digit, `x` a hex digit, `+` more digits, points and dashes, the rest itself.
const SHAPES: [(&str, &str); 9] = [
    ("99999999T999999Z-xxxxxxxx", "<time>-<id>"),
    ("9999-99-99T99:99:99.+Z", "<time>"),
    ("9999-99-99 99:99:99", "<time>"),
    ("xxxxxxxx", "<id>"),
    ("9+ KB", "<size>"),
    ("9+ MB", "<size>"),
    ("9+ B", "<size>"),
    ("9+ s", "<time>"),
    ("9+ bytes", "<size>"),
];

fn fits(text: &str, shape: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    for desired in shape.bytes() {
        if desired == b'+' {
            while bytes.get(at).is_some_and(|byte| byte.is_ascii_digit() || *byte == b'.') {
                at += 1;
            }
            continue;
        }
        let byte = *bytes.get(at)?;
        let ok = match desired {
            b'9' => byte.is_ascii_digit(),
            b'x' => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            same => byte == same,
        };
        if !ok {
            return None;
        }
        at += 1;
    }
    let ends = !bytes.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric());
    ends.then_some(at)
}

/// The instance `target`, seen from the folder `here` by somebody who has no Docker and keeps journals in `state`.
pub fn instance_at(target: &str, here: &Path, state: PathBuf) -> Instance {
    find_at(target, here, state).unwrap()
}

/// The same, if it can be found.
pub fn find_at(target: &str, here: &Path, state: PathBuf) -> Result<Instance> {
    let docker = Err(Error::Docker(DockerError::Unreachable {
        address: "none".into(),
        why: "not in this test".into(),
        hint: Hint::advice(""),
    }));
    Locator { docker, here: here.to_owned(), state, on_host: false }.find(Some(target))?.local()
}

/// What a run left in the folder `work` besides the note of its undo snapshot's store, which stays.
pub fn left_in(work: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(work).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "last-undo.json");
    names.sort();
    names
}
