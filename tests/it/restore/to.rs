//! New instances out of snapshots: `restore --to`, and docs/disaster.md from its first command to a server that beats.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use kumadb::backup::{StagedCopy, Store};
use kumadb::cancel::Cancel;
use kumadb::engine::mariadb::Address;
use kumadb::error::Result;
use kumadb::operation::rebuild::{Initializer, Rebuild, RebuiltDatabase};
use kumadb::operation::{Observer, Step};

use crate::backup::encrypted;
use crate::remote::whole_verbs::{Laptop, ran};
use crate::support::child::{is_killed, reported};
use crate::support::cloud::Cloud;
use crate::support::docked::{Docked, Kind, Ran as DockedRan, both};
use crate::support::dockerd::{self, Server, cli};
use crate::support::lab::{Lab, Ran, words};
use crate::support::mariadbd::Mariadbd;
use crate::support::wait::wait_until;

/// Runs `line` without a target.
fn run(lab: &Lab, line: &str) -> Ran {
    Ran::of(lab.bare().args(words(line)))
}

#[track_caller]
fn ok(lab: &Lab, line: &str) -> Ran {
    let ran = run(lab, line);
    assert_eq!(ran.exit, 0, "{line}\n{}{}", ran.out, ran.err);
    ran
}

#[track_caller]
fn fails(lab: &Lab, exit: i32, line: &str, words: &str) {
    let ran = run(lab, line);
    assert_eq!(ran.exit, exit, "{line}\n{}{}", ran.out, ran.err);
    assert!(ran.err.contains(words), "{line}: {}", ran.err);
}

/// Every file below `folder`, by its name there, and its mode.
fn tree(folder: &Path) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap().flatten() {
            let about = entry.metadata().unwrap();
            let name = entry.path().strip_prefix(folder).unwrap().display().to_string();
            found.push((name, about.permissions().mode() & 0o7777));
            folders.extend(about.is_dir().then(|| entry.path()));
        }
    }
    found.sort();
    found
}

fn dump(file: &Path) -> String {
    let output = Command::new("sqlite3").arg(file).arg(".dump").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// A lab on an older release, with files beside its database, and a snapshot of it.
fn with_files() -> Lab {
    let lab = Lab::sqlite("2.0.2");
    lab.ok("monitor add group --name Network");
    for (name, text) in [("upload/logo1.png", "icon"), ("docker-tls/1/key.pem", "secret")] {
        let path = lab.folder().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    lab.ok("backup create");
    lab
}

#[test]
fn a_folder_gets_everything_at_the_snapshots_own_release() {
    let lab = with_files();
    let dry_run = ok(&lab, "restore latest --to ./new --dry-run");
    assert!(dry_run.out.contains("nothing was written") && !lab.root.path().join("new").exists(), "{dry_run:?}");
    let reported = ok(&lab, "restore latest --to ./new").out;
    let new = lab.root.path().join("new");
    let expected = [
        ("db-config.json", 0o600),
        ("docker-tls", 0o700),
        ("docker-tls/1", 0o700),
        ("docker-tls/1/key.pem", 0o600),
        ("kuma.db", 0o600),
        ("upload", 0o755),
        ("upload/logo1.png", 0o644),
    ];
    assert_eq!(tree(&new), expected.map(|(name, mode)| (name.to_owned(), mode)));
    assert_eq!(dump(&new.join("kuma.db")), lab.sql(".dump"));
    assert_eq!(fs::read_to_string(new.join("docker-tls/1/key.pem")).unwrap(), "secret");
    for line in [
        &format!(
            "docker run -d --name uptime-kuma --restart unless-stopped -p 3001:3001 -v {}:/app/data",
            new.display()
        ),
        "louislam/uptime-kuma:2.0.2",
        "    restart: unless-stopped",
    ] {
        assert!(reported.contains(line), "`{line}` is not in: {reported}");
    }
    // What is there now is an instance like any other, and no place for a new one.
    fails(&lab, 9, "restore latest --to ./new", "kumadb -t ");
    fs::create_dir_all(lab.root.path().join("other/pictures")).unwrap();
    fails(&lab, 9, "restore latest --to ./other", "it contains `pictures`");
    fails(&lab, 9, "restore latest --to ./new/kuma.db", "it is inside the data folder");
    std::os::unix::fs::symlink("/srv", lab.root.path().join("link")).unwrap();
    fails(&lab, 9, "restore latest --to ./link", "the path is a symbolic link to `/srv`");
    fails(&lab, 9, "restore latest --to ./new/kuma.db/data", "it is inside the data folder");
    fails(&lab, 8, "restore ffff --to ./newer", "no snapshot matches `ffff`");
    fails(&lab, 9, "-H ssh://root@cellar restore latest --to /srv/kuma-new", "docker create --name NAME");
    fails(&lab, 2, "restore latest --to ./newer --engine mariadb", "--to mysql://user@host/database");
    // Who asks for an instance that is not there yet is told how to make it.
    fs::create_dir(lab.root.path().join("empty")).unwrap();
    for target in ["./empty", "./absent"] {
        fails(&lab, 8, &format!("-t {target} restore latest"), &format!("kumadb restore latest --to {target}"));
    }
    // An empty folder that is there keeps its mode; one that root gives away gets its owner.
    if rustix::process::geteuid().is_root() {
        ok(&lab, "restore latest --to ./empty --owner 1000:1001");
        let owner =
            |name: &str| fs::metadata(lab.root.path().join(name)).map(|found| (found.uid(), found.gid())).unwrap();
        for name in ["empty", "empty/kuma.db", "empty/docker-tls/1/key.pem", "empty/db-config.json"] {
            assert_eq!(owner(name), (1000, 1001), "{name}");
        }
        // A link above the place is followed.
        std::os::unix::fs::symlink(lab.root.path(), lab.root.path().join("above")).unwrap();
        ok(&lab, "restore latest --to ./above/below/data --owner 1000");
        assert_eq!(owner("below/data/kuma.db"), (1000, 1000));
        // Without a word, they belong to the owner of the folder.
        let theirs = lab.root.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        std::os::unix::fs::chown(&theirs, Some(1000), Some(1000)).unwrap();
        ok(&lab, "restore latest --to ./theirs");
        assert_eq!((owner("theirs/kuma.db"), owner("theirs/upload")), ((1000, 1000), (1000, 1000)));
        assert_eq!(tree(&theirs).len(), expected.len());
    }
}

#[test]
fn the_last_snapshot_is_of_the_instance_that_is_named() {
    let lab = with_files();
    let id = lab.json("backup list")["snapshots"][0]["manifest"]["id"].as_str().unwrap().to_owned();
    let second = lab.root.path().join("second");
    ok(&lab, "init second");
    let created = Ran::of(lab.bare().args(["-t", second.to_str().unwrap(), "backup", "create"]));
    assert_eq!(created.exit, 0, "{created:?}");
    fails(&lab, 8, "restore latest --to ./new", "add `--of data`");
    // `-t` names it too, but not from the environment, which may be about another instance.
    for target in ["second", "./second", "./other/../second/"] {
        ok(&lab, &format!("-t {target} restore latest --to ./by-target"));
        assert_eq!(dump(&lab.root.path().join("by-target/kuma.db")), dump(&second.join("kuma.db")));
        fs::remove_dir_all(lab.root.path().join("by-target")).unwrap();
    }
    fails(&lab, 8, "-t third restore latest --to ./newer", "no snapshot matches `latest of third`");
    let from_environment =
        Ran::of(lab.bare().env("KUMADB_TARGET", "third").args(["restore", "latest", "--to", "./newer"]));
    assert!(from_environment.exit == 8 && from_environment.err.contains("add `--of data`"), "{from_environment:?}");
    ok(&lab, "restore latest --of data --to ./new");
    assert_eq!(dump(&lab.root.path().join("new/kuma.db")), lab.sql(".dump"));
    ok(&lab, &format!("restore {} --to ./by-id", &id[..5]));
    ok(&lab, "restore --before 0h --of second --to ./by-moment");
    fails(&lab, 8, "restore latest --of third --to ./newer", "no snapshot matches `latest of third`");
    // A copy of one that 1.x left behind is a snapshot too.
    fs::copy(lab.folder().join("kuma.db"), lab.root.path().join("kuma.db.bak0")).unwrap();
    ok(&lab, "restore kuma.db.bak0 --to ./from-file");
    assert_eq!(dump(&lab.root.path().join("from-file/kuma.db")), lab.sql(".dump"));
}

#[test]
fn the_last_one_has_a_history_and_newer_configuration_is_named() {
    let lab = with_files();
    let whole = lab.json("backup list")["snapshots"][0]["manifest"]["id"].as_str().unwrap().to_owned();
    let newer = lab.json("backup create --config-only")["manifest"]["id"].as_str().unwrap().to_owned();
    // Full or mounted read-only, a store can still be read.
    let store = lab.store();
    let mount = |words: &[&str]| Command::new("mount").args(words).arg(&store).status().unwrap().success();
    if !mount(&["--bind", store.to_str().unwrap()]) || !mount(&["-o", "remount,ro,bind"]) {
        return crate::support::need::left_out("the right to mount").unwrap_or_default();
    }
    let ran = Ran::of(lab.bare().env("KUMADB_STORE", &store).args(words("restore latest --to ./new")));
    assert!(Command::new("umount").arg(&store).status().unwrap().success());
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert!(
        ran.err.contains(&format!("`{newer}` is newer than `{whole}`, but contains only the configuration")),
        "{ran:?}"
    );
    assert_eq!(dump(&lab.root.path().join("new/kuma.db")), lab.sql(".dump"));
}

/// `mysql://` of the database `name` of `mariadbd`.
fn url(mariadbd: &Mariadbd, name: &str) -> String {
    let address = mariadbd.create_database(name, "utf8mb4");
    format!("mysql://{}:hidden@localhost/{name}?socket={}", address.user, mariadbd.socket().display())
}

fn rows(mariadbd: &Mariadbd, database: &str) -> String {
    let tables = mariadbd.sql(database, "SHOW TABLES");
    let rows = |table: &str| mariadbd.sql(database, &format!("SELECT * FROM `{table}` ORDER BY 1"));
    tables.lines().map(|table| format!("{table}\n{}", rows(table))).collect()
}

/// Made by the MariaDB of this machine, as no engine is in sight of the lab.
#[test]
fn an_embedded_mariadb_is_made_without_docker_and_boots_in_it() {
    let Some(bench) = dockerd::bench() else { return };
    let Some(lab) = Lab::mariadb("2.5.3").filter(|_| rustix::process::geteuid().is_root()) else { return };
    lab.ok("monitor add push --name Job");
    lab.ok("backup create");
    ok(&lab, "restore latest --to ./new");
    let new = lab.root.path().join("new");
    let owner = |name: &str| fs::metadata(new.join(name)).map(|found| found.uid()).unwrap();
    assert_eq!((owner("mariadb/ibdata1"), owner("mariadb/kuma"), owner("db-config.json")), (1000, 1000, 0));
    let names: Vec<String> = tree(&new).into_iter().map(|(name, _)| name).filter(|name| !name.contains('/')).collect();
    assert_eq!(names, ["db-config.json", "mariadb"]);
    let server = bench.run(dockerd::Image::Full, &["-v", &format!("{}:/app/data", new.display())]);
    let engine = dockerd::endpoint();
    let status =
        || Ran::of(lab.bare().env("DOCKER_HOST", engine.address()).args(["-t", &server.name, "--json", "status"])).out;
    wait_until(60, "a beat", || status().contains("\"last_heartbeat\": \"2"));
}

#[test]
fn an_empty_database_is_filled_from_both_engines() {
    let Some(lab) = Lab::mariadb("2.4.0") else { return };
    lab.ok("monitor add group --name Ours");
    lab.ok("backup create");
    let mariadbd = lab.mariadbd.as_ref().unwrap();
    let reported = ok(&lab, &format!("restore latest --to {}", url(mariadbd, "again"))).out;
    assert_eq!(rows(mariadbd, "again"), rows(mariadbd, "kuma"));
    assert!(
        reported.contains("-e UPTIME_KUMA_DB_NAME=again") && reported.contains("-e UPTIME_KUMA_DB_PASSWORD "),
        "{reported}"
    );
    assert!(!reported.contains("hidden") && reported.contains("louislam/uptime-kuma:2.4.0"), "{reported}");
    fails(&lab, 9, &format!("restore latest --to {}", lab.target), "of Uptime Kuma");
    mariadbd.create_database("theirs", "utf8mb4");
    mariadbd.sql("theirs", "CREATE TABLE shop (id int)");
    fails(&lab, 9, &format!("restore latest --to {}", lab.target.replace("/kuma?", "/theirs?")), "`shop`");

    // The other way: from SQLite, with its files, and with what the old db-config.json had besides.
    let sqlite = with_files();
    let config = r#"{"type":"mariadb","hostname":"gone.example.com","ours":"kept"}"#;
    fs::write(sqlite.folder().join("db-config.json"), config).unwrap();
    let staged = Store::new(sqlite.store()).find("latest", &sqlite.target).unwrap();
    assert!(staged.manifest.members.iter().any(|member| member.name == "db-config.json"));
    let place = url(mariadbd, "moved");
    fails(&sqlite, 9, &format!("restore latest --to {place}"), "--data-folder FOLDER");
    ok(&sqlite, &format!("restore latest --to {place} --data-folder new"));
    let new = sqlite.root.path().join("new");
    let written: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(new.join("db-config.json")).unwrap()).unwrap();
    assert_eq!(
        (&written["type"], &written["dbName"], &written["password"]),
        (&"mariadb".into(), &"moved".into(), &"hidden".into())
    );
    assert_eq!(mariadbd.sql("moved", "SELECT name FROM monitor"), "Network\n");
    assert_eq!(fs::read_to_string(new.join("upload/logo1.png")).unwrap(), "icon");
    let status = run(&sqlite, "-t ./new status");
    // The socket is in no folder of the server, so only a user who gains nothing by it takes it from its configuration.
    let expected =
        if rustix::process::geteuid().is_root() { "is not in the data folder" } else { "MariaDB (external)" };
    assert!(format!("{}{}", status.out, status.err).contains(expected), "{status:?}");
    // And back: a snapshot of MariaDB as SQLite.
    ok(&lab, "restore latest --to ./as-sqlite --engine sqlite");
    let file = lab.root.path().join("as-sqlite/kuma.db");
    let names = Command::new("sqlite3").arg(file).arg("SELECT count(*) FROM monitor").output().unwrap();
    assert_eq!(String::from_utf8(names.stdout).unwrap(), mariadbd.sql("kuma", "SELECT count(*) FROM monitor"));
}

/// Ends the run at one of its steps.
struct At {
    step: usize,
    kill: bool,
}

impl Observer for At {
    fn step(&mut self, step: &Step) -> Result<()> {
        self.step = self.step.wrapping_sub(1);
        match (self.step, self.kill) {
            (0, false) => {
                Err(kumadb::error::OperationError::Stopped { why: format!("made to fail at: {step}") }.into())
            }
            (0, true) => {
                let _ = Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
                unreachable!("killed");
            }
            _ => Ok(()),
        }
    }
}

fn rebuild<'a>(folder: Option<PathBuf>, database: RebuiltDatabase<'a>) -> Rebuild<'a> {
    Rebuild { folder, database, owner: None, cancel: Cancel::default() }
}

#[test]
#[ignore = "a part of other tests, see child.rs"]
fn killed_child() {
    let (staged, folder): (PathBuf, PathBuf) = (reported("HELD"), reported("FOLDER"));
    let database = match reported::<String>("DATABASE").as_str() {
        "sqlite" => RebuiltDatabase::Sqlite,
        "embedded" => RebuiltDatabase::Embedded(Initializer::Local),
        socket => RebuiltDatabase::External(Address::on_socket(socket, reported::<String>("USER"), "again")),
    };
    let mut at = At { step: reported("STEP"), kill: true };
    rebuild(Some(folder), database).run(StagedCopy::open(&staged).unwrap(), &mut at).unwrap();
}

/// Kills a run at `step` that makes `database`: `sqlite`, `embedded`, or one that `user` reaches at this socket.
#[track_caller]
fn killed_at(staged: &Path, folder: &Path, (database, user): (&str, &str), step: usize) {
    let (staged, place) = (staged.display(), folder.display());
    let reported: [(&str, &dyn ToString); 5] =
        [("STEP", &step), ("HELD", &staged), ("FOLDER", &place), ("DATABASE", &database), ("USER", &user)];
    assert!(is_killed(module_path!(), &reported), "step {step}");
    for name in ["kuma.db", "mariadb", "db-config.json"] {
        assert!(!folder.join(name).exists(), "step {step}");
    }
}

#[test]
fn what_fails_leaves_nothing_and_what_is_killed_can_be_typed_again() {
    let lab = with_files();
    let staged = lab.root.path().join("held");
    Store::new(lab.store()).find("latest", &lab.target).unwrap().unpack(&staged).unwrap();
    let (new, open) = (lab.root.path().join("new"), || StagedCopy::open(&staged).unwrap());
    for step in 1..=3 {
        let failed = rebuild(Some(new.clone()), RebuiltDatabase::Sqlite).run(open(), &mut At { step, kill: false });
        assert!(failed.unwrap_err().to_string().starts_with("made to fail"));
        assert!(!new.exists(), "step {step}");
    }
    (1..=3).for_each(|step| killed_at(&staged, &new, ("sqlite", ""), step));
    let written =
        rebuild(Some(new.clone()), RebuiltDatabase::Sqlite).run(open(), &mut kumadb::operation::NoObserver).unwrap();
    assert_eq!(written.files.len(), 2);
    assert_eq!(dump(&new.join("kuma.db")), lab.sql(".dump"));
    assert_eq!(fs::read_dir(&new).unwrap().count(), 4, "nothing of ours is left");
    // Verified and half moved, it is finished by the next run, and by no other snapshot.
    let half = lab.root.path().join("half");
    fs::create_dir_all(half.join(".kumadb-restore/data")).unwrap();
    fs::write(half.join("upload"), "moved already").unwrap();
    fs::copy(new.join("kuma.db"), half.join(".kumadb-restore/data/kuma.db")).unwrap();
    let id = open().manifest.id;
    let note = |id: &str| format!(r#"{{"snapshot": "{id}", "entries": ["upload", "kuma.db"]}}"#);
    fs::write(half.join(".kumadb-restore/ready.json"), note("another")).unwrap();
    fails(&lab, 9, &format!("restore {id} --to ./half"), "kumadb restore another --to");
    fs::write(half.join(".kumadb-restore/ready.json"), note(&id)).unwrap();
    ok(&lab, &format!("restore {id} --to ./half"));
    assert_eq!(tree(&half).into_iter().map(|(name, _)| name).collect::<Vec<_>>(), ["kuma.db", "upload"]);
}

#[test]
fn a_database_that_was_half_filled_is_filled_again() {
    let Some(mariadbd) = Mariadbd::start() else { return };
    // From SQLite, so that the tables are made twice.
    let lab = with_files();
    let staged = lab.root.path().join("held");
    let unpack = || Store::new(lab.store()).find("latest", &lab.target).unwrap().unpack(&staged).unwrap();
    let address = mariadbd.create_database("again", "utf8mb4");
    let (new, tables) = (lab.root.path().join("new"), || mariadbd.sql("again", "SHOW TABLES"));
    let external = || RebuiltDatabase::External(address.clone());
    let failed = rebuild(Some(new.clone()), external()).run(unpack(), &mut At { step: 4, kill: false });
    assert!(failed.unwrap_err().to_string().starts_with("made to fail at: committing"));
    assert!(!new.exists() && tables().is_empty(), "{}", tables());
    unpack();
    killed_at(&staged, &new, (mariadbd.socket().to_str().unwrap(), &mariadbd.address("").user), 4);
    assert!(tables().contains("kumadb_unfinished_restore") && !tables().contains("knex_migrations\n"), "{}", tables());
    let made = rebuild(Some(new.clone()), external()).run(unpack(), &mut kumadb::operation::NoObserver).unwrap();
    assert_eq!(mariadbd.sql("again", "SELECT name FROM monitor"), "Network\n");
    assert_eq!(tables().lines().count(), made.manifest.counts.len());
    assert!(new.join("db-config.json").exists() && !new.join(".kumadb-restore").exists());
}

/// A container that was made and not started, gone when dropped, with its volume.
fn created(bench: &dockerd::Bench, kind: Kind, args: &[&str]) -> Server {
    let image = if kind == Kind::Sqlite { dockerd::Image::Slim } else { dockerd::Image::Full };
    let server = bench.run(image, &["--entrypoint", "true"]);
    cli(&["rm", "-f", &server.name]);
    cli(&[&["create", "--name", &server.name], args, &[image.name()]].concat());
    server
}

#[test]
fn a_container_that_was_never_started_boots_on_it() {
    both(|kind| {
        let Some(lab) = Docked::up(kind) else { return };
        lab.wait_beat();
        lab.kumadb(&["backup", "create"]).ended(0);
        let name = lab.server.name.clone();
        let user: &[&str] = if kind == Kind::Sqlite { &["--user", "1000:1000"] } else { &[] };
        let new = created(&lab.bench, kind, &[user, &["-v", "/app/data"]].concat());
        let restored = lab.run_on(&name, &["restore", "latest", "--to", &new.name]).ended(0);
        assert!(restored.out.contains(&format!("docker start {}", new.name)), "{}", restored.out);
        cli(&["start", &new.name]);
        let newest = || lab.run_on(&new.name, &["--json", "status"]).json()["last_heartbeat"].clone();
        let first = newest();
        wait_until(60, "a beat of the new server", || newest() != first);
        // Started once, it is no place for a new instance any more.
        let refused = lab.run_on(&name, &["restore", "latest", "--to", &new.name]).ended(9);
        assert!(refused.err.contains(&format!("kumadb -t {} restore", new.name)), "{}", refused.err);
        let no_volume = created(&lab.bench, kind, &[]);
        lab.run_on(&name, &["restore", "latest", "--to", &no_volume.name]).ended(9).printed("is not on a volume");
    });
}

#[test]
fn a_container_on_another_machine_gets_it_there() {
    let Some(lab) = Docked::up(Kind::Sqlite) else { return };
    lab.wait_beat();
    lab.kumadb(&["backup", "create"]).ended(0);
    let laptop = Laptop::of(&lab);
    let data = lab.folder.path().parent().unwrap().join("new");
    fs::create_dir(&data).unwrap();
    let new = created(&lab.bench, Kind::Sqlite, &["-v", &format!("{}:/app/data", data.display())]);
    let store = lab.root().join("store");
    let restore = |args: &[&str]| -> DockedRan {
        ran(&mut laptop.command(&[&["--store", store.to_str().unwrap(), "restore", "latest", "--to"], args].concat()))
    };
    let restored = restore(&[&new.name]).ended(0);
    assert!(restored.out.contains("docker start") && !restored.err.contains("volume `kumadb`"), "{restored:?}");
    assert!(data.join("kuma.db").exists());
    cli(&["start", &new.name]);
    wait_until(60, "the new server", || lab.run_on(&new.name, &["probe"]).out.contains("ok   /api/"));
}

/// The commands of docs/disaster.md, line by line.
fn commands() -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/disaster.md")).unwrap();
    let blocks = text.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned());
    blocks.collect::<String>().lines().map(str::to_owned).collect()
}

#[test]
fn the_page_for_a_new_host_ends_with_a_server_that_beats() {
    both(|kind| {
        let Some(lab) = Docked::up(kind) else { return };
        let cloud = Cloud::start();
        let (address, access) = cloud.access("s3");
        lab.wait_beat();
        let key = lab.root().join("key.txt");
        fs::write(&key, encrypted::identity_text()).unwrap();
        fs::create_dir_all(lab.folder.path().join("upload")).unwrap();
        fs::write(lab.folder.path().join("upload/logo1.png"), "icon").unwrap();
        let mut create = lab.command(&lab.server.name);
        create.envs(access.clone()).args([
            "--store",
            &address,
            "backup",
            "create",
            "--encrypt-to",
            &encrypted::recipient(),
        ]);
        assert!(create.output().unwrap().status.success());
        let name = lab.server.name.clone();
        // The host is gone: no container, no folder, no local snapshots.
        cli(&["rm", "-f", "-v", &name]);
        fs::remove_dir_all(lab.folder.path()).unwrap();
        fs::remove_dir_all(lab.root().join("store")).unwrap();

        let home = tempfile::tempdir().unwrap();
        let (data, tested) = (home.path().join("uptime-kuma"), home.path().join("kuma-test"));
        let image = if kind == Kind::Sqlite { dockerd::Image::Slim } else { dockerd::Image::Full };
        let program = Path::new(env!("CARGO_BIN_EXE_kumadb")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        let shell = |line: &str| -> DockedRan {
            let mut command = Command::new("sh");
            command.arg("-ec").arg(line).current_dir(home.path()).envs(access.clone()).env("PATH", &path);
            command
                .env("KUMADB_STORE", &address)
                .env("KUMADB_IDENTITY", &key)
                .env("XDG_DATA_HOME", home.path().join("own"));
            command.env("XDG_STATE_HOME", home.path().join("state"));
            ran(&mut command)
        };
        let _tested = Server { name: format!("{name}-test") };
        for line in commands() {
            // What is another one here, or is done in other tests.
            if ["cargo ", "export ", "docker compose "].iter().any(|other| line.starts_with(other))
                || line.contains("--to uptime-kuma")
                || line.contains("mysql://")
                || kind == Kind::MariaDb && line.contains("kuma-test")
            {
                continue;
            }
            let here = line
                .replace("/srv/uptime-kuma", data.to_str().unwrap())
                .replace("/tmp/kuma-test", tested.to_str().unwrap())
                .replace("-p 3002:3001", "-p 127.0.0.1::3001")
                .replace("louislam/uptime-kuma:2.5.3", image.name())
                .replace("-t uptime-kuma", &format!("-t {name}"))
                .replace("-t kuma-test", &format!("-t {name}-test"))
                .replace("--name kuma-test", &format!("--name {name}-test"))
                .replace("rm -f kuma-test", &format!("rm -f {name}-test"))
                .replace("restore latest --to", &format!("restore latest --image {} --to", image.name()));
            if here.contains("status") || here.contains("doctor") {
                let target = here.split_whitespace().nth(2).unwrap();
                let probe = format!("kumadb -t {target} probe");
                wait_until(60, "the server", || shell(&probe).out.contains("ok   /api/entry-page"));
            }
            // The stand-in has no /metrics.
            if here.ends_with(" probe") {
                assert!(shell(&here).out.contains("ok   /api/entry-page"));
                continue;
            }
            let done = shell(&here).ended(0);
            // The command that it prints, on a port of this machine that is free.
            let start = done.out.lines().find(|line| line.starts_with("  docker run"));
            if let Some(start) = start.filter(|_| here.contains(data.to_str().unwrap()) && !here.contains("--dry-run"))
            {
                shell(&start.replace("-p 3001:3001", "-p 127.0.0.1::3001")).ended(0);
            }
        }
        let status = shell(&format!("kumadb --json -t {name} status")).json();
        assert_eq!(status["monitors"], 2, "{status:#}");
        let newest = || shell(&format!("kumadb --json -t {name} status")).json()["last_heartbeat"].clone();
        let before = newest();
        wait_until(60, "another beat", || newest() != before);
        assert_eq!(fs::read_to_string(data.join("upload/logo1.png")).unwrap(), "icon");
        assert!(!tested.exists());
        // The address alone says which, without a store.
        let id =
            shell("kumadb --json backup list").json()["snapshots"][0]["manifest"]["id"].as_str().unwrap().to_owned();
        for meant in ["latest", &id] {
            let line =
                format!("env -u KUMADB_STORE kumadb restore {address}/{meant} --to ./by-address --engine sqlite -n");
            assert!(shell(&line).ended(0).out.contains(&format!("snapshot `{id}`")));
        }
        cli(&["rm", "-f", "-v", &name]);
    });
}

/// Processes of a MariaDB whose data is below `folder`.
fn servers_below(folder: &Path) -> Vec<String> {
    let desired = format!("--datadir={}/", folder.display());
    let lines =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
    lines.filter(|line| line.split('\0').any(|arg| arg.starts_with(&desired))).collect()
}

#[test]
fn a_killed_run_that_makes_a_mariadb_leaves_nothing_that_the_next_one_does_not_clear() {
    let Some(lab) = Lab::mariadb("2.5.3").filter(|_| rustix::process::geteuid().is_root()) else { return };
    lab.ok("monitor add push --name Job");
    lab.ok("backup create");
    let staged = lab.root.path().join("held");
    let open = || {
        let snapshots = Store::new(lab.store()).list().unwrap().snapshots;
        let backup = snapshots.into_iter().find(|one| !one.manifest.undo).unwrap();
        backup.unpack(&staged).unwrap()
    };
    let new = lab.root.path().join("new");
    let mut left_running = 0;
    for step in 1..=5 {
        open();
        killed_at(&staged, &new, ("embedded", ""), step);
        left_running += servers_below(&new).len();
    }
    assert!(left_running > 0, "no step was in the middle of it");
    ok(&lab, "restore latest --to ./new");
    assert_eq!(servers_below(&new), Vec::<String>::new());
    let names: Vec<String> = tree(&new).into_iter().map(|(name, _)| name).filter(|name| !name.contains('/')).collect();
    assert_eq!(names, ["db-config.json", "mariadb"]);
}

#[test]
fn a_helper_container_of_a_killed_run_is_removed_by_the_next() {
    let Some(lab) = Docked::up(Kind::MariaDb) else { return };
    lab.wait_beat();
    lab.kumadb(&["backup", "create"]).ended(0);
    let data = lab.root().join("restored");
    let to = data.to_str().unwrap();
    let image = dockerd::Image::Full.name();
    let helpers = || -> Vec<String> {
        let about = format!("restore to {to}/.kumadb-restore/data");
        let listed = cli(&["ps", "-a", "--format", "{{.Labels}}"]);
        listed.lines().filter(|line| line.contains(&about)).map(str::to_owned).collect()
    };
    let args = ["restore", "latest", "--to", to, "--image", image];
    let mut killed = 0;
    for more in [0, 300, 2_000] {
        let mut child = lab.command(&lab.server.name).args(args).stdin(std::process::Stdio::null()).spawn().unwrap();
        wait_until(60, "a helper", || !helpers().is_empty() || child.try_wait().unwrap().is_some());
        std::thread::sleep(std::time::Duration::from_millis(more));
        let _ = child.kill();
        match child.wait().unwrap().code() {
            None => killed += 1,
            // It was faster.
            Some(code) => {
                assert_eq!(code, 0);
                std::fs::remove_dir_all(&data).unwrap();
            }
        }
        assert!(helpers().len() <= 1, "{:?}", helpers());
    }
    assert!(killed > 0);
    lab.kumadb(&args).ended(0);
    assert_eq!(helpers(), Vec::<String>::new());
    assert!(data.join("mariadb").exists() && !data.join(".kumadb-restore").exists());
}

#[test]
fn a_damaged_snapshot_names_the_next_older_valid_one() {
    let lab = with_files();
    let first = lab.json("backup list")["snapshots"][0]["manifest"]["id"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        let made = lab.json("backup create");
        let path = made["path"].as_str().unwrap();
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        fs::write(path, bytes).unwrap();
        lab.leave_out(Path::new(path));
    }
    let before = lab.content();
    for line in ["restore latest --yes", "restore --before 0h --yes"] {
        let failed = lab.fails(7, line);
        assert!(failed.err.contains("the next older valid snapshot is"), "{}", failed.err);
        assert!(failed.err.contains(&format!("kumadb restore {first}\n")), "{}", failed.err);
    }
    assert!(lab.content() == before);
    fails(&lab, 7, "restore latest --to ./new", &format!("kumadb restore {first} --to ./new"));
    assert!(!lab.root.path().join("new").exists());
    ok(&lab, &format!("restore {first} --to ./new"));
}

#[test]
fn no_place_inside_another_and_no_place_that_is_none() {
    let lab = with_files();
    let before = (tree(&lab.store()), lab.content());
    let none = run(&lab, "restore latest --to nowhere");
    assert_eq!(none.exit, 8, "{none:?}");
    assert!(none.err.contains("cannot restore to `nowhere`: it is not a path"), "{}", none.err);
    assert!(none.err.contains("use ./nowhere") && none.err.matches("error:").count() == 1, "{}", none.err);
    let store = lab.store().display().to_string();
    fails(&lab, 9, &format!("restore latest --to {store}/new"), "it is inside the store");
    fails(&lab, 9, &format!("restore latest --to {store}"), "it is inside the store");
    fails(&lab, 9, "restore latest --to ./data/new", "it is inside the data folder");
    fails(&lab, 9, "restore latest --to ./data/upload/deep/new", "it is inside the data folder");
    let root = lab.root.path().display().to_string();
    fails(&lab, 9, &format!("restore latest --to {root}"), "is inside it");
    // A folder that contains a data folder is not empty.
    fs::create_dir(lab.root.path().join("above")).unwrap();
    fs::rename(lab.folder(), lab.root.path().join("above/data")).unwrap();
    fails(&lab, 9, "restore latest --to ./above", "it is not empty");
    fs::rename(lab.root.path().join("above/data"), lab.folder()).unwrap();
    // Also a store that is not there yet.
    let later = format!("--store {store},./later/store restore latest --to ./later");
    fails(&lab, 9, &later, "is inside it");
    // Through a link.
    std::os::unix::fs::symlink(lab.folder(), lab.root.path().join("link")).unwrap();
    fails(&lab, 9, "restore latest --to ./link/new", "it is inside the data folder");
    assert!((tree(&lab.store()), lab.content()) == before);
}

#[test]
fn two_folders_of_one_name_are_distinguished() {
    let lab = with_files();
    ok(&lab, "init other/data");
    let other = lab.root.path().join("other/data");
    let created = Ran::of(lab.bare().arg("-t").arg(&other).args(["backup", "create"]));
    assert_eq!(created.exit, 0, "{created:?}");
    for line in ["restore latest --to ./new", "restore latest --of data --to ./new", "restore --before 0h --to ./new"] {
        let refused = run(&lab, line);
        assert_eq!(refused.exit, 8, "{line}: {refused:?}");
        for origin in [&lab.folder(), &other] {
            assert!(refused.err.contains(&format!("{} (newest: `", origin.display())), "{}", refused.err);
        }
        assert!(refused.err.contains("--of /"), "{}", refused.err);
    }
    assert!(!lab.root.path().join("new").exists());
    ok(&lab, &format!("restore latest --of {} --to ./new", lab.folder().display()));
    assert_eq!(dump(&lab.root.path().join("new/kuma.db")), lab.sql(".dump"));
}
