//! An attacker who owns the data folder, as whoever takes over the server does, and a folder of root's beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{Gid, Uid};
use serde_json::{Value as Json, json};

use crate::support::lab::{Lab, Ran};
use crate::support::need;
use crate::support::old_kernel::without_new_calls;

/// The attacker: the server's user in the images.
pub const OWNER: u32 = 1000;

/// The content of root's files.
pub const SECRET: &str = "root:$6$nobody-may-see-this";

/// A lab in a data folder of the attacker's, with a folder of root's beside it. Who is not root cannot become another user.
pub struct Attack {
    pub lab: Lab,
    pub before: BTreeMap<PathBuf, Found>,
    runs: AtomicUsize,
    /// Archives that were searched.
    searched: Mutex<BTreeSet<PathBuf>>,
}

/// What is known of one file or folder.
#[derive(Debug, PartialEq)]
pub struct Found {
    pub owner: (u32, u32),
    pub mode: u32,
    pub links: u64,
    pub content: Vec<u8>,
}

impl Attack {
    pub fn new() -> Option<Attack> {
        Attack::on("2.5.3")
    }

    /// The same on a database of `release`.
    pub fn on(release: &str) -> Option<Attack> {
        if !rustix::process::geteuid().is_root() {
            return need::left_out("the rights of root");
        }
        let lab = Lab::sqlite(release);
        let victim = lab.root.path().join("victim");
        fs::create_dir_all(victim.join("held")).unwrap();
        fs::create_dir_all(victim.join("upload")).unwrap();
        for name in
            ["shadow", "kuma.db-wal", "journal.json", "last-undo.json", "held/kuma.db-wal", "held/manifest.json"]
        {
            fs::write(victim.join(name), SECRET).unwrap();
        }
        fs::write(victim.join("upload/key.pem"), SECRET).unwrap();
        // An error that quotes a value of it would show it.
        fs::write(victim.join("config.json"), format!(r#"{{"format": "{SECRET}"}}"#)).unwrap();
        fs::write(victim.join("upload/icon.png"), SECRET).unwrap();
        // Another database, whose journals would be deleted with it.
        fs::copy(lab.folder().join("kuma.db"), victim.join("kuma.db")).unwrap();
        let other = rusqlite::Connection::open(victim.join("kuma.db")).unwrap();
        other.execute("INSERT INTO setting (key, value) VALUES ('secret', ?1)", [SECRET]).unwrap();
        drop(other);
        fs::write(victim.join("kuma.db-wal"), SECRET).unwrap();
        fs::copy(victim.join("kuma.db"), victim.join("held/kuma.db")).unwrap();
        fs::set_permissions(victim.join("shadow"), fs::Permissions::from_mode(0o4600)).unwrap();
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(lab.root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let attack = Attack { before: look(&victim), lab, runs: AtomicUsize::new(0), searched: Mutex::default() };
        attack.give();
        Some(attack)
    }

    pub fn victim(&self) -> PathBuf {
        self.lab.root.path().join("victim")
    }

    pub fn data(&self) -> PathBuf {
        self.lab.folder()
    }

    /// Gives everything in the data folder to the attacker.
    pub fn give(&self) {
        give_all(&self.data());
    }

    /// Plants a link to what is called `target` in root's folder.
    pub fn link(&self, target: &str, name: &str) {
        let path = self.data().join(name);
        let _ = fs::remove_file(&path);
        symlink(self.victim().join(target), &path).unwrap();
        std::os::unix::fs::lchown(path, Some(OWNER), Some(OWNER)).unwrap();
    }

    /// Runs `work`, at times without `openat2` and Landlock.
    pub fn on_some_kernel<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        // Twice in six, as rounds have two runs and there are four kinds of them.
        match self.runs.fetch_add(1, Ordering::Relaxed) / 2 % 3 {
            1 => without_new_calls(work),
            _ => work(),
        }
    }

    /// Runs `line` as root, at times without `openat2` and Landlock; it must end in time.
    #[track_caller]
    pub fn run(&self, line: &str) -> Ran {
        let mut child = self.on_some_kernel(|| {
            let mut begun = self.lab.begin(line);
            begun.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        });
        let end = Instant::now() + Duration::from_secs(60);
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > end {
                child.kill().unwrap();
                panic!("`{line}` does not end");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let ran = Ran { exit: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) };
        assert!(!format!("{}{}", ran.out, ran.err).contains(SECRET), "{line}: {ran:?}");
        ran
    }

    /// What is wrong: root's folder is not as it was, or its content is where the attacker or a store has it.
    pub fn harm(&self) -> Option<String> {
        let now = look(&self.victim());
        let differs = |path: &&PathBuf| self.before.get(*path) != now.get(*path);
        if let Some(path) = self.before.keys().chain(now.keys()).find(differs) {
            return Some(format!("{} is not as it was", path.display()));
        }
        let shows = |(path, found): &(PathBuf, Found)| {
            let content = match path.to_string_lossy().ends_with(".kuma.tar.zst") {
                true if !self.searched.lock().unwrap().insert(path.clone()) => return false,
                true => unpacked(&found.content),
                false => String::from_utf8_lossy(&found.content).into_owned(),
            };
            content.contains(SECRET)
        };
        let shown = [self.data(), self.lab.store()].into_iter().flat_map(|folder| look(&folder)).find(shows);
        shown.map(|(path, _)| format!("{} has what root's file has", path.display()))
    }

    /// Fails unless there is no [harm](Attack::harm).
    #[track_caller]
    pub fn is_unharmed(&self, what: &str) {
        assert_eq!(self.harm(), None, "{what}");
    }

    /// Plants a journal of an interrupted rollback, with a raw copy of `database`.
    pub fn plant_rollback(&self, database: &[u8], edit: impl FnOnce(&mut Json)) {
        let work = self.data().join(".kumadb");
        let origin = self.data().display().to_string();
        fs::create_dir_all(work.join("held")).unwrap();
        fs::write(work.join("held/kuma.db"), database).unwrap();
        let hash = blake3::hash(database).to_hex().to_string();
        let mut manifest = json!({
            "format": 1, "id": "0badc0de", "created": "2026-01-01T00:00:00Z", "made_by": "kumadb", "reason": "x",
            "instance": "data", "origin": origin, "engine": "sqlite", "raw": true, "undo": false, "release": "unreadable",
            "migrations": [], "counts": {}, "without": [], "pages": null, "faults": [], "verified": ["hash"],
            "members": [{"name": "kuma.db", "size": database.len(), "blake3": hash}],
        });
        edit(&mut manifest);
        fs::write(work.join("held/manifest.json"), manifest.to_string()).unwrap();
        fs::write(work.join("journal.json"), self.rollback().to_string()).unwrap();
        self.give();
    }

    /// The journal of an interrupted rollback.
    pub fn rollback(&self) -> Json {
        json!({
            "format": 1, "verb": "restore", "started": "2026-01-01T00:00:00Z", "origin": self.data(), "pid": 1,
            "phase": "rolling_back", "container": null, "life": null, "mode": "stopped", "loads": true, "last_beat": 0,
            "before": null, "after": null, "recipients": [],
        })
    }
}

/// Gives `folder` and everything in it to the attacker.
pub fn give_all(folder: &Path) {
    assert!(Command::new("chown").args(["-hR", "1000:1000"]).arg(folder).status().unwrap().success());
}

/// What is in the archive `bytes`.
fn unpacked(bytes: &[u8]) -> String {
    let mut content = Vec::new();
    // A part of one that was interrupted is searched too.
    let _ = zstd::Decoder::new(bytes).unwrap().read_to_end(&mut content);
    String::from_utf8_lossy(&content).into_owned()
}

/// Everything below `folder`.
pub fn look(folder: &Path) -> BTreeMap<PathBuf, Found> {
    let mut all = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let Ok(about) = fs::symlink_metadata(&path) else { continue };
        if about.is_dir() {
            open.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
        let content = if about.is_file() { fs::read(&path).unwrap_or_default() } else { Vec::new() };
        let (owner, links) = ((about.uid(), about.gid()), about.nlink());
        all.insert(path, Found { owner, mode: about.mode(), links, content });
    }
    all
}

/// Runs `race` again and again as the attacker, on a thread of its own, while `work` runs.
pub fn while_racing<T>(mut race: impl FnMut() + Send, work: impl FnOnce() -> T) -> T {
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (begun, done) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (uid, gid) = (Uid::from_raw(OWNER), Gid::from_raw(OWNER));
            rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            begun.store(true, Ordering::SeqCst);
            while !done.load(Ordering::Relaxed) {
                race();
            }
        });
        while !begun.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        let _over = Over(&done);
        work()
    })
}
