//! Instances whose files this process cannot see: the whole verb runs where they are.

use std::fs;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kumadb::backup::Store;
use kumadb::docker::RunState;

use crate::docker::verbs::follow_log;
use crate::remote::endpoints::engine_socket;
use crate::support::docked::{self, Docked, Kind, Ran, both};
use crate::support::dockerd::{self, cli};
use crate::support::rounds;
use crate::support::sshd::Sshd;
use crate::support::wait::wait_until;

/// The kumadb that sends remote jobs: the static one, where there is one.
pub fn sender() -> PathBuf {
    std::env::var_os("KUMADB_TEST_STATIC").map_or_else(|| env!("CARGO_BIN_EXE_kumadb").into(), PathBuf::from)
}

/// A machine that sees the engine of `lab`, and nothing of the data folder.
pub struct Laptop<'a> {
    lab: &'a Docked,
    home: PathBuf,
}

impl<'a> Laptop<'a> {
    pub fn of(lab: &'a Docked) -> Laptop<'a> {
        let home = lab.root().join("laptop");
        fs::create_dir_all(&home).unwrap();
        Laptop { lab, home }
    }

    /// `kumadb ARGS` there.
    pub fn command(&self, args: &[&str]) -> Command {
        let hide = "mount -t tmpfs none \"$0\" && exec \"$@\"";
        let hidden = self.lab.folder.path().parent().unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", hide]).arg(hidden).arg(sender()).args(args);
        command.stdin(Stdio::null()).current_dir(&self.home).env("XDG_DATA_HOME", &self.home);
        for name in ["KUMADB_TARGET", "KUMADB_STORE", "KUMADB_CONFIG"] {
            command.env_remove(name);
        }
        command
    }

    /// `kumadb -t CONTAINER ARGS` there.
    pub fn kumadb(&self, args: &[&str]) -> Ran {
        ran(&mut self.command(&[&["-t", self.lab.server.name.as_str()], args].concat()))
    }

    /// Writes a file there.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Waits until nothing runs over there any more.
    pub fn wait_for_errands(&self) {
        let about = format!("label=kumadb.remote-job={}", self.lab.bench.look(&self.lab.server).id);
        wait_until(60, "the end of it", || cli(&["ps", "-q", "--filter", &about]).is_empty());
        // The engine may be at it already.
        self.errands().iter().for_each(|id| drop(Command::new("docker").args(["rm", "-f", id]).output()));
    }

    /// Containers of verbs that run over there, or have run.
    fn errands(&self) -> Vec<String> {
        let about = format!("label=kumadb.remote-job={}", self.lab.bench.look(&self.lab.server).id);
        let listed = cli(&["ps", "-aq", "--filter", &about]);
        listed.lines().map(str::to_owned).collect()
    }
}

pub fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn a_monitor_is_added_where_the_files_are() {
    both(|kind| {
        let Some(lab) = Docked::up(kind) else { return };
        let laptop = Laptop::of(&lab);
        let listed = laptop.kumadb(&["--json", "monitor", "list"]).ended(0);
        assert!(listed.out.contains("\"Shop\""), "{listed:?}");
        let before = lab.starts_and_stops();
        let words = ["monitor", "add", "http", "--name", "Far", "--url", "https://far.example.com"];
        laptop.kumadb(&words).ended(0).printed("server is running");
        lab.was_restarted(1, before);
        lab.is_well();
        assert_eq!(lab.monitors(), ["Shop", "Off", "Far"]);
        // Its snapshot is where the server is, and so is the list of them.
        let list = ["--json", "backup", "list", "--undo", "--instance", &lab.server.name];
        let snapshots = laptop.kumadb(&list).ended(0);
        assert_eq!(snapshots.json()["snapshots"][0]["manifest"]["reason"], "monitor add");
        laptop.kumadb(&["monitor", "show", "Nobody"]).ended(8).printed("Nobody");
        assert_eq!(laptop.errands(), Vec::<String>::new());
    });
}

#[test]
fn what_a_verb_reads_and_writes_here_goes_along_and_comes_back() {
    both(|kind| {
        let Some(lab) = Docked::up(kind) else { return };
        let laptop = Laptop::of(&lab);
        laptop.write("docs/secret.txt", "Far-Secret-2026\n");
        laptop.write("docs/more.yaml", "- {name: Included, type: group}\n");
        laptop.write(
            "docs/kuma.yaml",
            "version: 1\nmonitors: !include more.yaml\nnotifications:\n  - name: ops\n    type: webhook\n    \
             config: {webhookURL: \"${FAR_HOOK}\", httpMethod: post, secret: \"${file:secret.txt}\"}\n",
        );
        let with_hook = |args: &[&str]| {
            let target = ["-t", lab.server.name.as_str()];
            ran(laptop.command(&[&target, args].concat()).env("FAR_HOOK", "https://hook.example.com/"))
        };
        let planned = with_hook(&["plan", "docs/kuma.yaml", "-o", "made.plan"]).ended(0);
        assert!(planned.out.contains("Included"), "{planned:?}");
        assert!(fs::read_to_string(laptop.home.join("made.plan")).unwrap().contains("Far-Secret-2026"));
        laptop.kumadb(&["--yes", "apply", "made.plan"]).ended(0);
        let picture = lab.picture();
        assert!(picture["notification"][0].contains("Far-Secret-2026"), "{picture:?}");
        assert!(picture["notification"][0].contains("https://hook.example.com/"), "{picture:?}");
        assert_eq!(lab.monitors(), ["Shop", "Off", "Included"]);
        // The same again changes nothing; a document from stdin does.
        assert!(with_hook(&["--yes", "apply", "docs/kuma.yaml"]).ended(0).out.contains("unchanged"));
        let text = laptop.write("stdin.yaml", "version: 1\nmonitors: [{name: Piped, type: group}]\n");
        let target = ["-t", lab.server.name.as_str(), "--yes", "apply", "-"];
        ran(laptop.command(&target).stdin(fs::File::open(text).unwrap())).ended(0);
        assert_eq!(lab.monitors(), ["Shop", "Off", "Included", "Piped"]);
        // What is wrong with a document is said before anything is run over there.
        laptop.write("wrong.yaml", "version: 1\nmonitors: [{name: X, type: nonsense}]\n");
        laptop.kumadb(&["apply", "wrong.yaml"]).ended(2).printed("nonsense");
        laptop.kumadb(&["export", "-o", "all.yaml"]).ended(0);
        assert!(fs::read_to_string(laptop.home.join("all.yaml")).unwrap().contains("Piped"));
        // What shows what monitors did, and a window of the server.
        laptop.kumadb(&["drift", "all.yaml"]).ended(0);
        with_hook(&["drift", "docs/kuma.yaml"]).ended(20);
        assert!(laptop.kumadb(&["monitor", "uptime"]).ended(0).out.contains("Shop"));
        laptop.kumadb(&["monitor", "outages"]).ended(0);
        laptop.kumadb(&["report", "page.html"]).ended(0);
        assert!(fs::read_to_string(laptop.home.join("page.html")).unwrap().contains("Shop"));
        laptop.kumadb(&["backup", "create"]).ended(0);
        assert!(laptop.kumadb(&["monitor", "list", "--at", "latest"]).ended(0).out.contains("Shop"));
        laptop.kumadb(&["maintenance", "start", "Shop", "--for", "45m", "--title", "Deploy", "--yes"]).ended(0);
        assert!(laptop.kumadb(&["maintenance", "list"]).ended(0).out.contains("Deploy"));
        lab.is_well();
        assert_eq!(laptop.errands(), Vec::<String>::new());
    });
}

#[test]
fn a_log_is_shown_and_followed_where_the_server_is() {
    let Some(lab) = Docked::up(Kind::Sqlite) else { return };
    let laptop = Laptop::of(&lab);
    let last = laptop.kumadb(&["logs", "--tail", "1"]).ended(0);
    assert_eq!(last.out.lines().count(), 1, "{last:?}");
    follow_log(&lab, &mut laptop.command(&["-t", &lab.server.name, "logs", "--tail", "all", "-f"]));
    assert_eq!(laptop.errands(), Vec::<String>::new());
}

#[test]
fn a_snapshot_comes_home_whole_and_goes_back() {
    both(|kind| {
        let Some(lab) = Docked::up(kind) else { return };
        let laptop = Laptop::of(&lab);
        let store = laptop.home.join("snapshots");
        let taken = laptop.kumadb(&["--json", "--store", "snapshots", "backup", "create"]).ended(0);
        assert!(taken.err.contains("downloaded and verified"), "{taken:?}");
        let id = taken.json()["manifest"]["id"].as_str().unwrap().to_owned();
        let path = PathBuf::from(taken.json()["path"].as_str().unwrap());
        assert!(path.starts_with(&store) && path.is_file(), "{path:?}");
        assert_eq!(Store::new(&store).list().unwrap().snapshots.len(), 1);
        laptop.kumadb(&["--store", "snapshots", "backup", "verify"]).ended(0);
        // An archive that is here needs no engine.
        let nowhere = ["-H", "unix:///nowhere/docker.sock", "-t", "kuma"];
        for verb in ["show", "verify"] {
            ran(&mut laptop.command(&[&nowhere[..], &["backup", verb, path.to_str().unwrap()]].concat())).ended(0);
        }

        // As a stream it comes compressed, and its result is nowhere in it.
        let (stream, target) = (laptop.home.join("kuma.kuma.tar"), lab.server.name.as_str());
        let create = ["-t", target, "backup", "create", "--stdout"];
        let streamed = ran(laptop.command(&create).stdout(fs::File::create(&stream).unwrap())).ended(0);
        assert!(streamed.err.contains("written to standard output: 2 monitors"), "{streamed:?}");
        assert!(fs::read(&stream).unwrap().starts_with(b"manifest.json\0"));

        let before = lab.picture();
        laptop.kumadb(&["--yes", "monitor", "delete", "Shop"]).ended(0);
        let restore = ["-t", target, "--yes", "restore", "--stdin"];
        let restored = ran(laptop.command(&restore).stdin(fs::File::open(&stream).unwrap())).ended(0);
        assert!(restored.out.contains("to its state at"), "{restored:?}");
        assert_eq!(lab.picture(), before);
        laptop.kumadb(&["--yes", "monitor", "delete", "Shop"]).ended(0);
        assert_eq!(lab.monitors(), ["Off"]);
        let restored = laptop.kumadb(&["--yes", "--store", "snapshots", "restore", &id]).ended(0);
        assert!(restored.out.contains("to its state at"), "{restored:?}");
        assert_eq!(lab.picture(), before);
        laptop.kumadb(&["--yes", "--store", "snapshots", "restore", "latest", "--dry-run"]).ended(0);
        let refused = laptop.kumadb(&["--yes", "--store", "snapshots", "upgrade", "--stats-from", &id]).ended(9);
        refused.printed(&format!("cannot replace the statistics from `{id}`")).printed("are aggregated already");
        // Its backups are checked without the engine where the store is here, else where they are.
        let checked = laptop.kumadb(&["--store", "snapshots", "backup", "check"]).ended(0);
        assert!(checked.out.starts_with(&format!("OK: {}: newest backup ", lab.server.name)), "{checked:?}");
        let checked = laptop.kumadb(&["backup", "check"]).ended(2);
        assert_eq!(checked.out, format!("CRITICAL: {}: no backup\n", lab.server.name), "{checked:?}");
        laptop.kumadb(&["backup", "create"]).ended(0);
        laptop.kumadb(&["backup", "create"]).ended(0);
        // A policy of this machine counts for the snapshots over there.
        let config = format!(
            "[policies.one]\nkeep_last = 1\n[instances.far]\ntarget = \"{}\"\npolicy = \"one\"\n",
            lab.server.name
        );
        let config = laptop.write("kumadb.toml", &config);
        let prune = ["--config", config.to_str().unwrap(), "-t", "far", "--json", "--yes", "backup", "prune", "--own"];
        let pruned = ran(&mut laptop.command(&prune)).ended(0).json();
        assert_eq!(
            (&pruned["deleted"], pruned["snapshots"].as_array().map(Vec::len)),
            (&1.into(), Some(2)),
            "{pruned:#}"
        );
        let check = ["--config", config.to_str().unwrap(), "backup", "check", "--max-age", "1h"];
        let checked = ran(&mut laptop.command(&check)).ended(0);
        assert!(checked.out.starts_with("OK: far: newest backup ") && checked.out.contains(";;3600;0 "), "{checked:?}");
        // So does the name that it has in the config file of this machine.
        let status = ["--config", config.to_str().unwrap(), "-t", &lab.server.name, "--json", "status"];
        assert_eq!(ran(&mut laptop.command(&status)).ended(0).json()["instance"], "far");
        lab.is_well();
        laptop.kumadb(&["doctor"]).ended(0);
        laptop.kumadb(&["status"]).ended(0);
    });
}

#[test]
fn data_that_this_user_may_not_read_is_reached_through_the_engine() {
    let Some(lab) = Docked::up(Kind::Sqlite) else { return };
    let laptop = Laptop::of(&lab);
    let set_mode = |mode| fs::set_permissions(lab.folder.path(), fs::Permissions::from_mode(mode)).unwrap();
    let run = |args: &[&str]| {
        let mut command = docked::without_privileges();
        command.arg(sender()).args(["-t", &lab.server.name]).args(args).stdin(Stdio::null());
        ran(command.current_dir(&laptop.home).env("XDG_DATA_HOME", &laptop.home))
    };
    set_mode(0o000);
    let seen = [run(&["--json", "status"]), run(&["monitor", "add", "group", "--name", "Far"])];
    set_mode(0o755);
    let [status, added] = seen;
    assert_eq!(status.ended(0).json()["monitors"], 2);
    added.ended(0).printed("server is running");
    lab.is_well();
}

#[test]
fn instances_are_found_where_they_are() {
    let Some(lab) = Docked::up(Kind::Sqlite) else { return };
    let laptop = Laptop::of(&lab);
    // Other instances of this engine can be seen here, so the one that cannot stands with the reason.
    let found = ran(&mut laptop.command(&["--json", "find"])).ended(0).json();
    let mine = found["instances"].as_array().unwrap().iter().find(|one| one["name"] == lab.server.name.as_str());
    assert!(mine.is_some(), "{found:?}");
}

/// Passes on what goes to the engine's socket, until it is cut.
struct Line {
    path: PathBuf,
    cut: Arc<AtomicBool>,
}

impl Line {
    fn to(engine: &str, path: PathBuf) -> Line {
        let cut = Arc::new(AtomicBool::new(false));
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (engine, over) = (engine.to_owned(), cut.clone());
        std::thread::spawn(move || {
            let mut ends = Vec::new();
            while !over.load(Ordering::SeqCst) {
                let Ok((near, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(2));
                    continue;
                };
                near.set_nonblocking(false).unwrap();
                let far = UnixStream::connect(&engine).unwrap();
                for (mut from, mut to) in
                    [(&near, &far), (&far, &near)].map(|(a, b)| (a.try_clone().unwrap(), b.try_clone().unwrap()))
                {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Write);
                    });
                }
                ends.extend([near, far]);
            }
            for end in ends {
                let _ = end.shutdown(Shutdown::Both);
            }
        });
        Line { path, cut }
    }

    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        let _ = fs::remove_file(&self.path);
    }
}

/// Every write that is cut off at this end, at whatever moment, ends over there by itself; one that is killed over
/// there is ended by `resume`.
#[test]
fn a_write_that_is_cut_off_leaves_the_far_side_old_or_new() {
    let endpoint = dockerd::endpoint();
    let Some(engine) = endpoint.address().strip_prefix("unix://").map(str::to_owned) else { return };
    let cuts = rounds::count(6, 50);
    both(|kind| {
        let Some(lab) = Docked::up(kind) else { return };
        let laptop = Laptop::of(&lab);
        // One in five stops the server and starts it again. The others take a third of the time: the server stands still, or
        // goes on.
        let few = cuts.div_ceil(5);
        cut_off(&laptop, &engine, &format!("{kind:?}, restarted"), few, &[]);
        let (how, words): (_, &[&str]) = match kind {
            Kind::Sqlite => {
                cli(&["stop", &lab.server.name]);
                ("stopped", &[])
            }
            Kind::MariaDb => ("running on", &["--no-restart"]),
        };
        cut_off(&laptop, &engine, &format!("{kind:?}, {how}"), cuts - few, words);
        cli(&["start", &lab.server.name]);
        lab.wait_up();
        lab.is_well();
    });
}

/// Cuts `cuts` writes off and ends each of them, with the server as it is.
fn cut_off(laptop: &Laptop<'_>, engine: &str, what: &str, cuts: usize, more: &[&str]) {
    let lab = laptop.lab;
    let running = lab.life() == RunState::Running;
    // The first one sends kumadb.
    let whole = ["sent", "there"].map(|name| {
        let began = Instant::now();
        laptop.kumadb(&[&["monitor", "add", "group", "--name", &format!("{what}, {name}")], more].concat()).ended(0);
        began.elapsed()
    })[1];
    let (mut names, mut seen) = (lab.monitors(), [0; 2]);
    for n in 0..cuts {
        let name = format!("{what}, cut {n}");
        let line = Line::to(engine, laptop.home.join("engine.sock"));
        let words = ["-H", line.path.to_str().unwrap(), "--remote-socket", engine, "-t", &lab.server.name];
        let add = ["monitor", "add", "group", "--name", &name];
        let mut command = laptop.command(&[&words[..], &add, more].concat());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut random = [0; 2];
        getrandom::fill(&mut random).unwrap();
        std::thread::sleep(whole.mul_f64(f64::from(u16::from_le_bytes(random)) / 65536.0));
        match n % 3 {
            0 => child.kill().unwrap(),
            1 => line.cut(),
            // The far side itself, as a power cut would.
            _ => laptop.errands().iter().for_each(|id| drop(Command::new("docker").args(["kill", id]).output())),
        }
        child.wait().unwrap();
        line.cut();
        laptop.wait_for_errands();
        if lab.is_unfinished() {
            let ran = laptop.kumadb(&["recover"]);
            assert!([0, 3].contains(&ran.code), "{name}: {ran:?}");
        } else if lab.left() != ["lock"] {
            // Killed in its last moment: the journal is gone, the copy is not.
            laptop.kumadb(&["recover"]).printed("no interrupted operation");
        }
        if running {
            lab.wait_up();
        }
        let now = lab.monitors();
        let fresh = now.len() > names.len();
        assert_eq!(now, [names, vec![name.clone(); usize::from(fresh)]].concat(), "{name}");
        seen[usize::from(fresh)] += 1;
        names = now;
        assert_eq!(lab.left(), ["lock"], "{name}");
        assert_eq!(lab.helpers(), Vec::<String>::new(), "{name}");
    }
    let [old, new] = seen;
    println!("{what}: {cuts} cuts, {old} old, {new} new, a whole write takes {:.1} s", whole.as_secs_f64());
}

#[test]
fn undo_works_where_the_files_are_also_over_ssh() {
    both(|kind| {
        let Some(lab) = Docked::up(kind) else { return };
        let laptop = Laptop::of(&lab);
        laptop.kumadb(&["monitor", "add", "group", "--name", "First"]).ended(0);
        laptop.kumadb(&["monitor", "edit", "Shop", "-s", "interval=77"]).ended(0);
        let shown = laptop.kumadb(&["undo", "--dry-run"]).ended(0);
        assert!(shown.out.contains("~ monitor `Shop`: interval 77 → "), "{shown:?}");
        laptop.kumadb(&["undo"]).ended(9).printed("--yes");
        laptop.kumadb(&["--yes", "undo"]).ended(0).printed("server is running (");
        assert_eq!(lab.sql("SELECT count(*) FROM monitor WHERE `interval` = 77"), ["0"]);
        let Some(sshd) = Sshd::start() else { return };
        let address = format!("ssh://root@127.0.0.1:{}", sshd.port);
        let engine = engine_socket().display().to_string();
        let there =
            ["-H", address.as_str(), "--remote-socket", engine.as_str(), "-t", lab.server.name.as_str(), "--yes"];
        let args = [&there[..], &["--json", "undo"]].concat();
        let undone = ran(laptop.command(&args).env("PATH", sshd.path())).ended(0);
        assert_eq!(undone.json()["verb"], "monitor add", "{undone:?}");
        assert_eq!(lab.monitors(), ["Shop", "Off"]);
        lab.is_well();
        let none = ran(laptop.command(&[&there[..], &["undo"]].concat()).env("PATH", sshd.path()));
        none.ended(8).printed("left to undo");
    });
}
