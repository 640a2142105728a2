//! Snapshots in places elsewhere, and in several at once: whole there or not there at all, whatever happens on the way.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use kumadb::backup::{Credentials, Store};
use kumadb::value::Secret;
use serde_json::Value as Json;

use crate::backup::encrypted::recipient;
use crate::cli::monitor::furnish;
use crate::support::cloud::{Cloud, Trouble};
use crate::support::lab::{Lab, Ran, words};
use crate::support::rounds;

/// A lab and a place elsewhere.
pub struct Away {
    pub lab: Lab,
    pub cloud: Cloud,
    pub address: String,
    environment: Vec<(&'static str, String)>,
}

impl Away {
    pub fn new(lab: Lab, scheme: &str) -> Away {
        let cloud = Cloud::start();
        let (address, environment) = cloud.access(scheme);
        Away { lab, cloud, address, environment }
    }

    /// With a database that packs to about 12 MB, which is more than one part of an upload.
    fn large(scheme: &str) -> Away {
        let lab = Lab::sqlite("2.5.3");
        furnish(&lab);
        lab.sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
             INSERT INTO heartbeat (important, monitor_id, status, msg, time, duration)
             SELECT 0, 1, 1, hex(randomblob(2000)), '2026-01-01 00:00:00', 1 FROM n",
        );
        Away::new(lab, scheme)
    }

    fn command(&self, line: &str) -> assert_cmd::Command {
        let mut command = self.lab.bare();
        command.envs(self.environment.clone()).env("XDG_DATA_HOME", self.lab.root.path().join("home"));
        command.args(["-t", &self.lab.target]).args(words(line));
        command
    }

    /// Runs `line` with the store of the lab and then the one elsewhere.
    pub fn both(&self, line: &str) -> Ran {
        let store = self.lab.store();
        Ran::of(self.command(line).env("KUMADB_STORE", format!("{},{}", store.display(), self.address)))
    }

    /// Runs `line` with the store elsewhere alone.
    pub fn away(&self, line: &str) -> Ran {
        Ran::of(self.command(line).env("KUMADB_STORE", &self.address))
    }

    /// The store elsewhere, as the library has it.
    pub fn store(&self) -> Store {
        let named = self.environment.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(value.clone())));
        Store::open(&self.address, &Credentials::new(named)).unwrap()
    }

    /// Objects elsewhere that belong to no whole snapshot, and uploads that nobody ended. One without parts holds
    /// nothing; it is left when the process ends in the instant in which the place has begun it and nobody has heard
    /// of it.
    pub fn leftovers(&self) -> Vec<String> {
        let names = self.cloud.names();
        let alone = |name: &&String| match name.strip_suffix(".json") {
            Some(archive) => !names.iter().any(|other| other == archive),
            None => !names.contains(&format!("{name}.json")),
        };
        let shelf = self.cloud.shelf();
        let uploads = shelf.uploads.iter().filter(|(_, parts)| !parts.is_empty()).map(|(id, _)| id.clone());
        names.iter().filter(alone).cloned().chain(uploads).collect()
    }
}

#[track_caller]
pub fn json(ran: &Ran) -> Json {
    assert_eq!(ran.exit, 0, "{}{}", ran.out, ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

/// What lies in the folder of a store besides snapshots.
fn remains(store: &Path) -> Vec<String> {
    let entries = fs::read_dir(store).unwrap().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).filter(|name| name.starts_with('.')).collect()
}

#[test]
fn a_snapshot_goes_away_and_comes_back() {
    for scheme in ["s3", "gs", "webdav"] {
        // The engine makes no difference to a place: both are tried with the first.
        for lab in if scheme == "s3" { Lab::both("2.5.3") } else { vec![Lab::sqlite("2.5.3")] } {
            let away = Away::new(lab, scheme);
            furnish(&away.lab);
            fs::remove_dir_all(away.lab.store()).unwrap();
            let before = away.lab.rows();
            let made = json(&away.both("backup create --json"));
            assert_eq!(made["paths"].as_array().unwrap().len(), 2, "{made:#}");
            assert!(made["paths"][1].as_str().unwrap().starts_with(&away.address), "{made:#}");
            let listed = json(&away.both("backup list --json"));
            assert_eq!(listed["snapshots"].as_array().unwrap().len(), 1, "one snapshot, however many copies");
            assert_eq!(listed["stores"].as_array().unwrap().len(), 2);
            assert_eq!(json(&away.away("backup list --json"))["snapshots"][0]["manifest"], made["manifest"]);
            let verified = json(&away.both("backup verify --json"));
            assert_eq!(verified["snapshots"].as_array().unwrap().len(), 2, "both copies are verified");
            // The local one is gone, then damaged: the other takes its place.
            let local = PathBuf::from(made["path"].as_str().unwrap());
            let whole = fs::read(&local).unwrap();
            for content in [None, Some(Vec::new()), Some(whole[..whole.len() / 2].to_vec())] {
                away.lab.ok("monitor delete --name '*' --yes");
                match &content {
                    None => fs::rename(&local, local.with_extension("gone")).unwrap(),
                    Some(bytes) => fs::write(&local, bytes).unwrap(),
                }
                let id = made["manifest"]["id"].as_str().unwrap();
                let ran = away.both(&format!("restore {id} --yes"));
                assert_eq!(ran.exit, 0, "{}", ran.err);
                assert_eq!(ran.err.contains("warning"), content.is_some(), "{}", ran.err);
                assert!(away.lab.rows() == before, "{scheme} {}", away.lab.engine());
            }
            assert_eq!(away.leftovers(), Vec::<String>::new());
            // By its address alone it is found where no store was named, on a plain web server too.
            let there = made["paths"][1].as_str().unwrap();
            let web = there.replacen("webdav://", "http://", 1);
            let address = if scheme == "webdav" { &web } else { there };
            let alone = |line: &str| Ran::of(away.command(line).env("KUMADB_STORE", away.lab.root.path().join("none")));
            for line in ["backup show", "backup verify", "restore --yes"] {
                away.lab.sql("UPDATE monitor SET name = 'spoilt'");
                let ran = alone(&format!("{line} {address}"));
                assert_eq!(ran.exit, 0, "{line} {address}: {}{}", ran.out, ran.err);
            }
            assert!(away.lab.rows() == before, "{scheme} {}", away.lab.engine());
            let missing = alone(&format!("restore --yes {}", address.replacen("kuma.tar", "x.kuma.tar", 1)));
            assert_eq!(missing.exit, 8, "{}", missing.err);
            let other = alone(&format!("restore --yes {address}.zip"));
            assert!(other.exit == 2 && other.err.contains("must end in `.kuma.tar.zst`"), "{}", other.err);
        }
    }
}

#[test]
fn a_large_snapshot_goes_in_parts_over_a_bad_line() {
    for scheme in ["s3", "gs", "webdav"] {
        let away = Away::large(scheme);
        let mut seen = BTreeMap::<String, usize>::new();
        away.cloud.trouble(move |request| {
            // Every request of a kind fails in another way before it passes.
            let kind = format!("{} {:?}", request.method, request.query.get("partNumber"));
            let count = seen.entry(kind).or_default();
            *count += 1;
            match (request.method.as_str(), *count) {
                (_, 1) => Some(Trouble::Status(503, "SlowDown")),
                ("GET" | "PUT", 2) if request.query.contains_key("list-type") => None,
                ("PUT", 2) => Some(Trouble::Hang),
                ("GET", 3) => Some(Trouble::Half),
                _ => None,
            }
        });
        let made = away.both("backup create --json");
        assert_eq!(json(&made)["failed"], Json::Array(Vec::new()), "{scheme}: {}", made.err);
        assert!(json(&made)["size_bytes"].as_u64().unwrap() > 10 << 20, "more than a part");
        away.cloud.no_trouble();
        let log = away.cloud.shelf().log.clone();
        assert!(log.iter().filter(|line| line.starts_with("PUT")).count() >= 4, "{log:#?}");
        assert_eq!(away.away("backup verify").exit, 0);
        assert_eq!(away.leftovers(), Vec::<String>::new());
        assert_eq!(remains(&away.lab.store()), Vec::<String>::new());
    }
}

#[test]
fn a_store_that_fails_is_named_and_the_others_are_whole() {
    for scheme in ["s3", "webdav"] {
        let away = Away::new(Lab::sqlite("2.5.3"), scheme);
        let puts = |request: &crate::support::cloud::Request| request.method == "PUT" || request.method == "MKCOL";
        away.cloud.trouble(move |request| puts(request).then_some(Trouble::Status(403, "AccessDenied")));
        let ran = away.both("backup create");
        assert_eq!(ran.exit, 3, "{}", ran.err);
        assert!(ran.err.contains(&format!("warning: cannot write to the store `{}`", away.address)), "{}", ran.err);
        assert_eq!(json(&away.both("backup list --json"))["snapshots"].as_array().unwrap().len(), 1);
        away.lab.ok("backup verify");
        // Alone it is an error.
        let ran = away.away("backup create");
        assert_eq!(ran.exit, 1, "{}", ran.err);
        assert!(ran.err.contains("  hint: check "), "{}", ran.err);
        away.cloud.no_trouble();
        assert_eq!(away.both("backup create").exit, 0);
        assert_eq!(away.leftovers(), Vec::<String>::new());
        assert_eq!(remains(&away.lab.store()), Vec::<String>::new());
        // A listing tells what it could not see; what needs only the local store goes on.
        away.cloud.trouble(|_| Some(Trouble::Status(403, "AccessDenied")));
        let ran = away.both("backup list");
        assert_eq!(ran.exit, 3, "{}", ran.err);
        let ran = away.both("backup verify");
        assert_eq!(ran.exit, 3, "{}{}", ran.out, ran.err);
        assert_eq!(away.both("restore latest --yes").exit, 0);
    }
}

#[test]
fn problems_of_a_store_are_reported() {
    let mut away = Away::new(Lab::sqlite("2.5.3"), "s3");
    let address = away.address.clone();
    let good = away.environment.clone();
    let refused = |away: &Away, exit: i32, words: &str| {
        let ran = away.away("backup list");
        assert_eq!(ran.exit, exit, "{}", ran.err);
        assert!(ran.err.contains(words), "{}", ran.err);
        assert!(!ran.err.contains("hidden-in-the-lab"), "{}", ran.err);
    };
    away.environment[0].1 = "SOMEBODY".into();
    refused(
        &away,
        1,
        &format!(
            "cannot list the store `{address}`: no: InvalidAccessKeyId (InvalidAccessKeyId)\n  hint: the server does \
             not know AWS_ACCESS_KEY_ID"
        ),
    );
    away.environment = good.clone();
    away.address = "s3://nobody/kuma".into();
    refused(&away, 1, "no: NoSuchBucket (NoSuchBucket)\n  hint: create the bucket");
    away.environment[2].1 = "http://127.0.0.1:1".into();
    let began = Instant::now();
    refused(&away, 1, "127.0.0.1:1: connection refused\n  hint: no service listens on that port");
    // As long as a server may take to restart.
    assert!((30..60).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    for (address, words) in [
        ("ftp://host/path", "`ftp` is not a supported scheme (s3, az, gs, webdav, webdavs)"),
        ("s3:///path", "the bucket, container or host is missing"),
        ("webdav://user:word@host/path", "a store URL must not contain user and password"),
        ("s3://bucket/a//b", "invalid store URL: `s3://bucket/a//b`"),
        ("https://host/path", "for WebDAV write `webdavs://host/path`"),
    ] {
        away.address = address.into();
        refused(&away, 2, words);
    }
    let mut dav = Away::new(Lab::sqlite("2.5.3"), "webdav");
    dav.environment[1].1 = "wrong".into();
    refused(&dav, 1, "401 Unauthorized\n  hint: check WEBDAV_USERNAME and WEBDAV_PASSWORD");
}

#[test]
fn every_kind_of_address_is_understood() {
    let named = [
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0"),
        ("GOOGLE_BEARER_TOKEN", "token"),
    ];
    let credentials = Credentials::new(named.map(|(name, value)| (name.to_owned(), Secret::new(value))));
    for address in ["s3://b", "s3://b/", "s3://b/p/q", "az://c/p", "gs://b/p", "webdav://h:80/p", "webdavs://h/p"] {
        let store = Store::open(address, &credentials).unwrap();
        assert_eq!(store.address(), address.trim_end_matches('/'));
        assert!(store.folder().is_none());
    }
    let store = Store::open("/some/folder", &credentials).unwrap();
    assert_eq!(store.folder(), Some(Path::new("/some/folder")));
}

#[test]
fn a_write_does_not_need_the_network() {
    let away = Away::new(Lab::sqlite("2.5.3"), "s3");
    away.cloud.trouble(|_| Some(Trouble::Hang));
    // With nothing but a place elsewhere, its own snapshot goes into the default folder.
    let ran = away.away("monitor add group --name A");
    assert_eq!(ran.exit, 0, "{}", ran.err);
    assert!(away.cloud.shelf().log.is_empty());
    let home = away.lab.root.path().join("home/kumadb/snapshots/data");
    assert_eq!(fs::read_dir(home).unwrap().count(), 2, "the archive and its manifest");
}

#[test]
fn three_folders_have_three_copies() {
    let lab = Lab::sqlite("2.5.3");
    let folders: Vec<PathBuf> = ["a", "b", "a/c"].iter().map(|name| lab.root.path().join(name)).collect();
    let options: String = folders.iter().map(|folder| format!("--store {} ", folder.display())).collect();
    lab.ok(&format!("backup create {options}"));
    lab.ok(&format!("backup verify {options}"));
    for folder in &folders {
        let listed = lab.json(&format!("backup list --store {}", folder.display()));
        assert_eq!(listed["snapshots"].as_array().unwrap().len(), 1, "{}", folder.display());
    }
    let listed = lab.ok(&format!("backup list {options}"));
    assert_eq!(listed.lines().count(), 2, "{listed}");
}

#[test]
fn a_folder_that_is_full_or_closed_keeps_what_it_has() {
    let lab = Lab::sqlite("2.5.3");
    let disk = lab.root.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mounted = |arguments: &[&str]| Command::new("mount").args(arguments).arg(&disk).status().unwrap().success();
    if !mounted(&["-t", "tmpfs", "-o", "size=64m", "none"]) {
        return crate::support::need::left_out("the right to mount a tmpfs").unwrap_or_default();
    }
    let (mut failed, mut passed) = (0, 0);
    for spare in (0..2400).step_by(100) {
        let used = String::from_utf8(Command::new("du").args(["-sk"]).arg(&disk).output().unwrap().stdout).unwrap();
        let used: u64 = used.split_whitespace().next().unwrap().parse().unwrap();
        assert!(mounted(&["-o", &format!("remount,size={}k", used + spare + 4)]));
        // As the only store, and beside another.
        for store in [
            format!("--store {}", disk.display()),
            format!("--store {} --store {}", lab.store().display(), disk.display()),
        ] {
            let ran = lab.run(&format!("backup create {store}"));
            match ran.exit {
                0 => passed += 1,
                1 | 3 | 9 => failed += 1,
                other => panic!("{other}: {}", ran.err),
            }
        }
        assert!(mounted(&["-o", "remount,size=64m"]));
        let verified = lab.run(&format!("backup verify --store {}", disk.display()));
        assert_eq!(verified.exit, if passed == 0 { 8 } else { 0 }, "{}", verified.err);
    }
    println!("disk full: {failed} failed, {passed} passed");
    assert!(failed > 3 && passed > 3, "{failed} failed, {passed} passed");
    assert!(mounted(&["-o", "remount,ro"]));
    let ran = lab.run(&format!("backup create --store {} --store {}", lab.store().display(), disk.display()));
    assert!(ran.exit == 3 && ran.err.contains("read-only"), "{}", ran.err);
    // What is there can be read all the same.
    lab.ok(&format!("backup verify --store {}", disk.display()));
    lab.ok(&format!("restore latest --yes --store {} --store {}", lab.store().display(), disk.display()));
    assert!(mounted(&["-o", "remount,rw,size=64m"]));
    lab.ok(&format!("backup create --store {}", disk.display()));
    assert_eq!(remains(&disk), Vec::<String>::new(), "the next run has cleared everything away");
    // Of a MariaDB that may be anywhere too it is seen beforehand, and a copy without the history has room.
    if let Some(mariadb) = Lab::mariadb("2.5.3") {
        mariadb.sql(
            "INSERT INTO monitor (name) VALUES ('A'); INSERT INTO heartbeat (monitor_id, status, msg, time) \
             SELECT 1, 1, repeat('x', 4000), now() FROM seq_1_to_4000; ANALYZE TABLE heartbeat",
        );
        assert!(mounted(&["-o", "remount,size=12m"]));
        let before = fs::read_dir(&disk).unwrap().count();
        let refused = mariadb.fails(9, &format!("backup create --store {}", disk.display()));
        assert!(refused.err.contains(" required") && refused.err.contains("df -h"), "{}", refused.err);
        assert_eq!((fs::read_dir(&disk).unwrap().count(), remains(&disk)), (before, Vec::new()));
        mariadb.ok(&format!("backup create --config-only --store {}", disk.display()));
    }
    Command::new("umount").arg(&disk).status().unwrap();
}

/// Kills `backup create` at moments spread over its whole run, again and again.
fn kill(away: &Away, encryption: &str) {
    let began = Instant::now();
    let whole = away.both(&format!("backup create {encryption}"));
    assert_eq!(whole.exit, 0, "{}", whole.err);
    let length = began.elapsed();
    let (mut killed, mut ended) = (0, 0);
    let mut snapshots = json(&away.both("backup list --json"))["snapshots"].as_array().unwrap().len();
    for at in rounds::draw(50, 12) {
        let moment = length * at as u32 / 50;
        let mut child = Command::new(env!("CARGO_BIN_EXE_kumadb"))
            .envs(away.environment.clone())
            .env("DOCKER_HOST", "unix:///no-docker-here.sock")
            .env("KUMADB_STORE", format!("{},{}", away.lab.store().display(), away.address))
            .args(["-t", &away.lab.target, "backup", "create"])
            .args(words(encryption))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(moment);
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            ended += 1
        } else {
            killed += 1
        }
        let listed = json(&away.both("backup list --json"));
        let now = listed["snapshots"].as_array().unwrap().len();
        assert!(now == snapshots || now == snapshots + 1, "{snapshots} snapshots became {now}");
        snapshots = now;
    }
    // Whatever is listed anywhere is whole.
    let verified = away.both("backup verify");
    assert_eq!(verified.exit, 0, "{}{}", verified.out, verified.err);
    let left = (away.leftovers().len(), remains(&away.lab.store()).len());
    assert_eq!(away.both(&format!("backup create {encryption}")).exit, 0);
    assert_eq!(away.leftovers(), Vec::<String>::new(), "the next run has cleared away what the last left");
    assert_eq!(remains(&away.lab.store()), Vec::<String>::new());
    println!(
        "{}: {killed} killed, {ended} had ended, {snapshots} whole; left until the next run: {left:?}",
        away.address
    );
}

#[test]
fn a_killed_upload_in_parts_leaves_nothing_half() {
    kill(&Away::large("s3"), "");
}

#[test]
fn a_killed_upload_in_one_piece_leaves_nothing_half() {
    kill(&Away::large("webdav"), "");
}

#[test]
fn a_killed_encrypted_upload_leaves_nothing_half() {
    kill(&Away::new(Lab::sqlite("2.5.3"), "gs"), &format!("--encrypt-to {}", recipient()));
}

#[test]
fn runs_at_the_same_time_leave_each_other_alone() {
    let away = Away::new(Lab::sqlite("2.5.3"), "s3");
    std::thread::scope(|scope| {
        let create = || (0..5).map(|_| away.both("backup create")).collect::<Vec<_>>();
        let runs: Vec<_> = (0..6).map(|_| scope.spawn(create)).collect();
        for ran in runs.into_iter().flat_map(|run| run.join().unwrap()) {
            assert_eq!(ran.exit, 0, "{}", ran.err);
        }
    });
    let verified = json(&away.both("backup verify --json"));
    assert_eq!(verified["snapshots"].as_array().unwrap().len(), 60);
    assert_eq!((away.leftovers().len(), remains(&away.lab.store()).len()), (0, 0));
}

#[test]
fn secrets_come_by_file_too() {
    let mut away = Away::new(Lab::sqlite("2.5.3"), "webdav");
    let file = away.lab.root.path().join("password");
    fs::write(&file, format!("{}\n", away.environment[1].1)).unwrap();
    away.environment[1] = ("WEBDAV_PASSWORD_FILE", file.display().to_string());
    assert_eq!(away.away("backup create").exit, 0);
    fs::remove_file(&file).unwrap();
    let ran = away.away("backup list");
    assert!(ran.exit == 2 && ran.err.contains("no such file or directory"), "{}", ran.err);
}
