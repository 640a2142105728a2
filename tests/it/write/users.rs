//! Root on the host and the owner of the data folder in a sidecar: one lock, one journal, in both orders.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::docked::{Docked, Kind, Ran, both, make_folder};
use crate::support::dockerd;
use crate::support::lab::Lab;
use crate::support::need;

/// The owner of the data folder, as the server's user in the images.
const OWNER: u32 = 1000;

/// Who runs kumadb.
#[derive(Clone, Copy, Debug, PartialEq)]
enum User {
    Root,
    Owner,
}

impl User {
    /// `command`, run by this user. The owner may use the engine, as the group `docker` does.
    fn of(self, command: &Command) -> Command {
        let mut whole = match self {
            User::Root => Command::new("env"),
            User::Owner => {
                let mut whole = Command::new("setpriv");
                let engine = dockerd::endpoint();
                let socket = engine.address().strip_prefix("unix://").unwrap_or("/var/run/docker.sock");
                let group = fs::metadata(socket).map_or(0, |found| found.gid());
                whole.args([format!("--reuid={OWNER}"), format!("--regid={OWNER}"), format!("--groups={group}")]);
                whole
            }
        };
        whole.arg(command.get_program()).args(command.get_args());
        // The home of root is closed to everybody else.
        whole.current_dir("/").env("HOME", "/nowhere");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => whole.env(name, value),
                None => whole.env_remove(name),
            };
        }
        whole
    }
}

/// Who is not root cannot become another user, so these tests are root's.
fn is_root() -> bool {
    rustix::process::geteuid().is_root() || need::left_out::<()>("the rights of root").is_some()
}

/// An instance whose data folder belongs to [`OWNER`], who may also use the lab's own folder.
fn owned(kind: Kind) -> Option<Docked> {
    if !is_root() {
        return None;
    }
    let (bench, folder) = (dockerd::bench()?, make_folder(kind)?);
    give(folder.path());
    open(folder.path().parent().unwrap());
    let lab = Docked::on(bench, kind, folder, &[]);
    open(lab.root());
    if kind == Kind::MariaDb {
        // As the server makes it: by the name that the uid has inside the container.
        lab.inside("CREATE USER node@localhost IDENTIFIED VIA unix_socket; GRANT ALL ON kuma.* TO node@localhost");
    }
    Some(lab)
}

fn give(path: &Path) {
    assert!(Command::new("chown").args(["-R", "1000:1000"]).arg(path).status().unwrap().success());
}

fn open(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
}

/// Runs `kumadb -t CONTAINER … ARGS` as `user`, with a store of his own.
fn run(lab: &Docked, user: User, args: &[&str]) -> Ran {
    let output = command(lab, user, args).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

fn command(lab: &Docked, user: User, args: &[&str]) -> Command {
    let mut whole = Command::new(env!("CARGO_BIN_EXE_kumadb"));
    let store = lab.root().join(format!("store-{user:?}"));
    whole.args(["-t", &lab.server.name, "--store"]).arg(store).args(args).env("XDG_STATE_HOME", lab.root());
    user.of(&whole)
}

fn add(lab: &Docked, user: User, name: &str) -> Ran {
    run(lab, user, &["monitor", "add", "http", "--name", name, "--url", "http://127.0.0.1:1/"])
}

/// Fails unless everything in kumadb's own folder belongs to the owner of the data folder, and to nobody else.
#[track_caller]
fn is_the_owners(lab: &Docked) {
    let work = lab.folder.path().join(".kumadb");
    let found = Command::new("find").arg(&work).args(["-printf", "%U:%G %m %y %P\n"]).output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    for line in found.lines() {
        let mode = if line.split(' ').nth(2) == Some("d") { "700" } else { "600" };
        assert!(line.starts_with(&format!("1000:1000 {mode} ")), "{found}");
    }
}

#[test]
fn root_and_the_owner_of_the_data_folder_take_turns() {
    both(|kind| {
        let Some(lab) = owned(kind) else { return };
        // Either may be the first: what a run leaves behind is the lock alone.
        let order = if kind == Kind::Sqlite {
            [User::Root, User::Owner, User::Root]
        } else {
            [User::Owner, User::Root, User::Owner]
        };
        for (n, user) in order.into_iter().enumerate() {
            add(&lab, user, &format!("Turn {n}")).ended(0);
            is_the_owners(&lab);
        }
        assert_eq!(lab.monitors(), ["Shop", "Off", "Turn 0", "Turn 1", "Turn 2"]);
        lab.is_well();
        let lock = lab.instance().lock("monitor add").unwrap();
        add(&lab, User::Owner, "No").ended(6).printed("another kumadb process is using this instance (`monitor add`");
        drop(lock);
    });
}

/// Kills a run of `user` as soon as it tells `words`.
fn cut_off(lab: &Docked, user: User, words: &str) {
    let args = ["-v", "monitor", "add", "http", "--name", "New", "--url", "http://127.0.0.1:1/", "--allow-duplicate"];
    let mut child = command(lab, user, &args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let reported = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let reported: Vec<String> = reported
        .inspect(|line| {
            if line.starts_with(words) {
                // `env` and `setpriv` have become kumadb.
                let _ = rustix::process::kill_process(
                    rustix::process::Pid::from_child(&child),
                    rustix::process::Signal::KILL,
                );
            }
        })
        .collect();
    child.wait().unwrap();
    assert!(lab.is_unfinished(), "{}", reported.join("\n"));
}

#[test]
fn what_one_of_them_began_the_other_finishes() {
    both(|kind| {
        let Some(lab) = owned(kind) else { return };
        let mut expected = vec!["Shop", "Off"];
        for (first, second) in [(User::Root, User::Owner), (User::Owner, User::Root)] {
            cut_off(&lab, first, "copying");
            is_the_owners(&lab);
            add(&lab, second, "No").ended(6).printed("kumadb recover");
            run(&lab, second, &["recover"]).ended(0);
            // Rolled back, unless the change was committed before the signal arrived.
            if lab.monitors() != expected {
                expected.push("New");
            }
            assert_eq!(lab.monitors(), expected, "{first:?} began, {second:?} rolls back");
            lab.is_well();
            cut_off(&lab, first, "starting container");
            is_the_owners(&lab);
            run(&lab, second, &["recover"]).ended(0);
            expected.push("New");
            assert_eq!(lab.monitors(), expected, "{first:?} began, {second:?} finishes");
            lab.is_well();
            is_the_owners(&lab);
        }
    });
}

#[test]
fn what_root_left_as_its_own_is_given_to_the_owner_of_the_data_folder() {
    let Some(lab) = owned(Kind::Sqlite) else { return };
    let work = lab.folder.path().join(".kumadb");
    cut_off(&lab, User::Root, "starting container");
    let chown = |path: &Path| std::os::unix::fs::chown(path, Some(0), Some(0)).unwrap();
    for name in ["", "lock", "journal.json", "held", "held/kuma.db", "held/manifest.json", "held/db-config.json"] {
        if work.join(name).exists() {
            chown(&work.join(name));
        }
    }
    // What the owner of the folder has put there is not kumadb's, and stays root's.
    let (secret, outside) = (work.join("secret"), lab.root().join("outside"));
    for path in [&secret, &outside] {
        fs::write(path, "root's own").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    symlink(&outside, work.join("held/dump.sql")).unwrap();

    // The killed run may have asked for the start before it died, so only stops are counted.
    let (_, stops) = lab.starts_and_stops();
    for args in [&["recover"][..], &["restart"]] {
        let ran = run(&lab, User::Owner, args).ended(9).printed("is owned by root, but kumadb runs as uid 1000");
        ran.printed("an earlier run as root created it; to change its owner, run once as root: sudo kumadb -t ")
            .printed(" status");
    }
    assert_eq!(lab.starts_and_stops().1, stops);
    run(&lab, User::Root, &["status"]).ended(0).printed("which an earlier run as root had created, to uid 1000");
    assert_eq!(fs::metadata(&secret).unwrap().uid(), 0);
    assert_eq!(fs::metadata(&outside).unwrap().uid(), 0);
    run(&lab, User::Owner, &["recover"]).ended(0);
    assert_eq!(lab.monitors(), ["Shop", "Off", "New"]);
    assert_eq!(fs::metadata(&outside).unwrap().uid(), 0);
    is_the_owners(&lab);
    lab.is_well();
}

#[test]
fn the_owner_of_the_data_folder_decides_who_may_lock_it() {
    if !is_root() {
        return;
    }
    let lab = Lab::sqlite("2.5.3");
    let folder = lab.folder();
    for path in folder.ancestors().take(2) {
        open(path);
    }
    for name in ["kuma.db", "db-config.json"] {
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let add = |target: &Path| {
        let mut whole = Command::new(env!("CARGO_BIN_EXE_kumadb"));
        whole.arg("-t").arg(target).args(["--store", "/nowhere", "monitor", "add", "group", "--name", "New"]);
        let output = User::Owner.of(&whole).env("DOCKER_HOST", "unix:///nowhere").output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    // Root's, although everybody may write there: the server could not use what another user makes beside its database.
    let (code, reported) = add(&folder);
    assert_eq!(code, Some(9), "{reported}");
    assert!(reported.contains("is owned by root, but kumadb runs as uid 1000"), "{reported}");
    assert!(reported.contains("run the same command as root"), "{reported}");
    assert!(!folder.join(".kumadb").exists());
    // The owner's, but not its database.
    std::os::unix::fs::chown(&folder, Some(OWNER), Some(OWNER)).unwrap();
    let (code, reported) = add(&folder);
    assert_eq!(code, Some(9), "{reported}");
    assert!(reported.contains("/kuma.db` is owned by root"), "{reported}");
}

#[test]
fn a_file_of_root_keeps_its_owner_although_it_is_called_lock() {
    if !is_root() {
        return;
    }
    let lab = Lab::sqlite("2.5.3");
    give(&lab.folder());
    lab.ok("status");
    let work = lab.folder().join(".kumadb");
    fs::create_dir_all(&work).unwrap();
    std::os::unix::fs::chown(&work, Some(OWNER), Some(OWNER)).unwrap();
    let lock = work.join("lock");
    for secret in ["root's own", "root's own\n`status`, pid 1", "`status`, pid 1\nroot's own"] {
        fs::write(&lock, secret).unwrap();
        lab.ok("status");
        assert_eq!((fs::metadata(&lock).unwrap().uid(), fs::read_to_string(&lock).unwrap()), (0, secret.to_owned()));
    }
    // The note of an earlier run goes, and the next lock is the owner's.
    for note in ["`monitor add`, pid 4711", ""] {
        fs::write(&lock, note).unwrap();
        std::os::unix::fs::chown(&lock, Some(0), Some(0)).unwrap();
        let ran = lab.run("status");
        assert!(ran.err.contains("which an earlier run as root had created, to uid 1000"), "{}", ran.err);
        assert!(!lock.exists());
        lab.ok("monitor add group --name New --allow-duplicate");
        assert_eq!(fs::metadata(&lock).unwrap().uid(), OWNER);
    }
}

#[test]
fn owners_are_changed_through_no_link_and_of_no_file_with_another_name() {
    if !is_root() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    for name in ["file", "linked"] {
        fs::write(path(name), "text").unwrap();
    }
    fs::create_dir(path("folder")).unwrap();
    fs::write(path("folder/file"), "text").unwrap();
    fs::hard_link(path("linked"), path("other")).unwrap();
    symlink(path("file"), path("link")).unwrap();
    symlink(path("folder"), path("way")).unwrap();
    for name in ["link", "way/file", "other"] {
        assert!(kumadb::files::set_owner(&path(name), OWNER, OWNER).is_err(), "{name}");
    }
    assert!(kumadb::files::set_mode(&path("link"), 0o666).is_err());
    for name in ["file", "linked", "folder/file"] {
        assert_eq!(fs::metadata(path(name)).unwrap().uid(), 0, "{name}");
    }
    kumadb::files::set_owner(&path("file"), OWNER, OWNER).unwrap();
    kumadb::files::set_mode(&path("file"), 0o604).unwrap();
    let found = fs::metadata(path("file")).unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (OWNER, OWNER, 0o604));
}

/// A network file system that is mounted; unmounted when dropped.
struct Mounted(std::path::PathBuf);

impl Mounted {
    /// `folder` as rclone shows it, which hands no lock on.
    fn of(folder: &Path, at: &Path) -> Option<Mounted> {
        for program in ["rclone", "fusermount3"] {
            if need::program(&[program]).is_none() {
                return need::left_out(&format!("the program {program}"));
            }
        }
        if !Path::new("/dev/fuse").exists() {
            return need::left_out("FUSE");
        }
        fs::create_dir(at).unwrap();
        let status = Command::new("rclone")
            .args(["mount", "--daemon", "--vfs-cache-mode", "full", "--config", "/dev/null"])
            .arg(format!(":local:{}", folder.display()))
            .arg(at)
            .status();
        assert!(status.unwrap().success(), "rclone does not mount");
        Some(Mounted(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("fusermount3").arg("-uz").arg(&self.0).status();
    }
}

#[test]
fn a_network_file_system_is_named_with_what_holds_there() {
    let lab = Lab::sqlite("2.5.3");
    let place = tempfile::tempdir().unwrap();
    let Some(mounted) = Mounted::of(lab.folder().parent().unwrap(), &place.path().join("share")) else { return };
    let data = mounted.0.join("data");
    let run = |args: &[&str]| {
        let mut command = lab.bare();
        command.arg("-t").arg(&data).arg("--store").arg(place.path().join("store")).args(args);
        crate::support::lab::Ran::of(&mut command)
    };
    let words = "fuse.rclone, a network file system; as it is mounted, kumadb's lock only works on this host";
    let status = run(&["status"]);
    assert!(status.out.contains("file system") && status.out.contains(&format!("  {words}\n")), "{}", status.out);
    let status: serde_json::Value = serde_json::from_str(&run(&["--json", "status"]).out).unwrap();
    assert_eq!(status["network_file_system"], serde_json::json!({"type": "fuse.rclone", "lock_reaches": "host"}));
    let found: serde_json::Value = serde_json::from_str(&run(&["--json", "doctor", "K037"]).out).unwrap();
    assert_eq!(found["findings"][0]["code"], "K037", "{found}");
    // A warning, because the server runs there all the time, and its database may be what is to be repaired.
    let added = run(&["monitor", "add", "group", "--name", "New"]);
    assert_eq!(added.exit, 0, "{}", added.err);
    let warning = format!("warning: the data folder is on {words}: make sure that no other host runs a server on it");
    assert!(added.err.contains(&warning), "{}", added.err);
    // On a disk of this machine nothing is said.
    assert!(!lab.ok("status").contains("file system"));
}

#[test]
fn an_external_mariadb_has_one_lock_for_all_users() {
    if !is_root() {
        return;
    }
    let Some(mariadbd) = crate::support::mariadbd::Mariadbd::with(&["--port={port}", "--bind-address=127.0.0.1"])
    else {
        return;
    };
    let database = mariadbd.create_database("kuma", "utf8mb4");
    mariadbd.sql("mysql", "CREATE USER kuma IDENTIFIED BY 'Kuma-2026'; GRANT ALL ON kuma.* TO kuma");
    let admin = Some(("admin".to_owned(), kumadb::value::Secret::new("Kuma-Docked-2026")));
    let new = kumadb::kuma::init::NewInstance { release: kumadb::schema::newest(), admin, timezone: None };
    kumadb::kuma::init::fill_database(&database, &new).unwrap();
    let place = tempfile::tempdir().unwrap();
    open(place.path());
    let target = format!("mysql://kuma:Kuma-2026@127.0.0.1:{}/kuma", mariadbd.port());
    let add = |user: User, name: &str| {
        let mut whole = Command::new(env!("CARGO_BIN_EXE_kumadb"));
        whole.args(["-t", &target, "--store"]).arg(place.path().join(format!("store-{user:?}")));
        whole.args(["monitor", "add", "group", "--name", name, "--no-restart"]);
        whole.env("XDG_STATE_HOME", place.path().join(format!("state-{user:?}"))).env("DOCKER_HOST", "unix:///nowhere");
        let output = user.of(&whole).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (n, user) in [User::Root, User::Owner, User::Root].into_iter().enumerate() {
        let (code, reported) = add(user, &format!("Turn {n}"));
        assert_eq!(code, Some(0), "{user:?}: {reported}");
    }
    use kumadb::engine::Connect as _;
    let mut writer = database.writer(&kumadb::engine::WriteKey::for_tests()).unwrap();
    writer.begin().unwrap();
    for user in [User::Root, User::Owner] {
        let (code, reported) = add(user, "No");
        assert_eq!(code, Some(6), "{user:?}: {reported}");
        assert!(reported.contains("is locked by another writer"), "{reported}");
    }
    writer.rollback().unwrap();
}
