//! Many instances of one config file at once.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use kumadb::error::Exit;
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::support::lab::{PASSWORD, Ran, words};
use crate::support::wait::wait_until;

/// Data folders `a`, `b` and so on, and a config file that names them.
struct Fleet {
    root: TempDir,
}

impl Fleet {
    /// Of instances with the lines of their tables.
    fn of(instances: &[(&str, &str)]) -> Fleet {
        let fleet = Fleet { root: tempfile::Builder::new().prefix("kumadb-fleet-").tempdir().unwrap() };
        let mut text = format!("[stores.near]\naddress = \"{}\"\n", fleet.at("near").display());
        text.push_str("[policies.short]\nkeep_last = 1\n");
        for (n, (name, lines)) in instances.iter().enumerate() {
            let folder = fleet.at(name);
            if n == 0 {
                let mut init = fleet.command(&format!("init {} --admin admin", folder.display()));
                assert!(init.env("KUMADB_ADMIN_PASSWORD", PASSWORD).status().unwrap().success());
            } else {
                let first = fleet.at(instances[0].0);
                assert!(Command::new("cp").arg("-a").arg(first).arg(&folder).status().unwrap().success());
            }
            text.push_str(&format!("[instances.{name}]\ntarget = \"{}\"\n{lines}\n", folder.display()));
        }
        fleet.write("kumadb.toml", &text);
        fleet
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kumadb"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("DOCKER_HOST", "unix:///no-docker-here.sock")
            .env("KUMADB_CONFIG", self.at("kumadb.toml"))
            .env("XDG_STATE_HOME", self.at("state"))
            .env("XDG_DATA_HOME", self.at("home"))
            .current_dir(self.root.path())
            .args(words(line));
        command
    }

    fn run(&self, line: &str) -> Ran {
        let output = self.command(line).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { exit: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    fn json(&self, exit: i32, line: &str) -> Json {
        let ran = self.run(&format!("--json {line}"));
        assert_eq!(ran.exit, exit, "{line}\n{}{}", ran.out, ran.err);
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{line}: {error}: {}", ran.out))
    }
}

/// The names of the instances that a document is about.
fn names(document: &Json) -> Vec<&str> {
    document["instances"].as_array().unwrap().iter().map(|one| one["instance"].as_str().unwrap()).collect()
}

#[test]
fn reports_the_status_of_all_of_a_group_and_of_chosen_ones() {
    let fleet = Fleet::of(&[("a", "groups = [\"prod\"]"), ("b", "groups = [\"prod\", \"cellar\"]"), ("c", "")]);
    assert_eq!(names(&fleet.json(0, "status --all")), ["a", "b", "c"]);
    assert_eq!(names(&fleet.json(0, "status --instance-group prod --parallel 1")), ["a", "b"]);
    assert_eq!(names(&fleet.json(0, "status --instance-group cellar --instance c")), ["b", "c"]);
    let one = &fleet.json(0, "status --instance=a")["instances"][0];
    assert_eq!((&one["exit"], &one["result"]["monitors"], &one["error"]), (&0.into(), &0.into(), &Json::Null));

    let table = fleet.run("status --all").out;
    assert!(table.trim_start().starts_with("INSTANCE"), "{table}");
    assert!(table.contains("folder, 2.5.1 to 2.5.3, 0 monitors, last heartbeat none"), "{table}");

    let unknown = fleet.run("status --instance-group prd");
    assert_eq!(unknown.exit, 8);
    assert!(unknown.err.contains("did you mean `prod`?"), "{}", unknown.err);
    let both = fleet.run("-t a status --all");
    assert_eq!(both.exit, 2);
    assert!(both.err.contains("cannot combine `-t` with"), "{}", both.err);
}

#[test]
fn one_that_fails_stops_no_other_and_gives_the_exit_code() {
    let fleet = Fleet::of(&[("a", ""), ("b", ""), ("c", "")]);
    fs::write(fleet.at("b/kuma.db"), "this is no database, whatever it says").unwrap();
    let document = fleet.json(7, "backup create --all");
    let ended: Vec<i64> =
        document["instances"].as_array().unwrap().iter().map(|one| one["exit"].as_i64().unwrap()).collect();
    assert_eq!(ended, [0, 7, 0], "{document:#}");
    assert_eq!(document["exit"], 7);
    let failed = &document["instances"][1];
    assert!(failed["error"]["message"].as_str().unwrap().contains("kuma.db"), "{failed:#}");
    assert!(failed["result"].is_null());
    let table = fleet.run("status --all");
    assert_eq!(table.exit, 7, "{}", table.out);
    assert!(table.out.contains("verification failed"), "{}", table.out);
}

#[test]
fn each_uses_its_own_stores_and_policy() {
    let fleet = Fleet::of(&[
        ("a", "stores = [\"near\"]\npolicy = \"short\""),
        ("b", "stores = [\"other\"]\n[stores.other]\naddress = \"other\""),
    ]);
    for _ in 0..2 {
        fleet.json(0, "backup create --all --config-only");
    }
    let taken = |folder: &str| fs::read_dir(fleet.at(folder)).map(|found| found.count()).unwrap_or(0);
    assert_eq!(taken("near/data") + taken("near/a"), taken("near/data").max(taken("near/a")));
    let near = fleet.json(0, &format!("--store {} backup list", fleet.at("near").display()));
    assert_eq!(near["snapshots"].as_array().unwrap().len(), 2, "{near:#}");
    let verified = fleet.json(0, "backup verify --all");
    let good = |n: usize| verified["instances"][n]["result"]["snapshots"].as_array().unwrap().len();
    assert_eq!((good(0), good(1)), (2, 2), "{verified:#}");

    let tried = fleet.json(2, "backup prune --all --dry-run");
    assert_eq!(tried["instances"][0]["result"]["deleted"], 1, "{tried:#}");
    assert_eq!(tried["instances"][1]["exit"], 2, "b has no policy: {tried:#}");
    assert_eq!(fleet.json(0, "backup prune --all --keep-last 1 --yes")["instances"][1]["result"]["deleted"], 1);
    let near = fleet.json(0, &format!("--store {} backup list", fleet.at("near").display()));
    assert_eq!(near["snapshots"].as_array().unwrap().len(), 1, "{near:#}");
}

#[test]
fn plans_and_applies_one_document_on_all() {
    let fleet = Fleet::of(&[("a", ""), ("b", "")]);
    fleet.write("doc.yaml", "version: 1\nmonitors:\n  - {name: Shop, type: http, url: \"https://shop.example.com\"}\n");
    let planned = fleet.json(20, "plan doc.yaml --all --detailed-exitcode");
    assert_eq!(planned["instances"][1]["result"]["summary"]["created"], 1, "{planned:#}");
    // Nobody can be asked here.
    let asked = fleet.run("apply doc.yaml --all");
    assert_eq!(asked.exit, 9, "{}", asked.err);
    assert!(asked.err.contains("confirmation required") && asked.err.contains("+ monitor `Shop`"), "{}", asked.err);
    assert_eq!(fleet.json(0, "status --all")["instances"][0]["result"]["monitors"], 0);

    fleet.json(0, "apply doc.yaml --all --yes");
    for one in fleet.json(0, "status --all")["instances"].as_array().unwrap() {
        assert_eq!(one["result"]["monitors"], 1, "{one:#}");
    }
    let again = fleet.run("apply doc.yaml --all");
    assert_eq!(again.exit, 0, "{}", again.err);
    assert!(again.out.contains("nothing to change"), "{}", again.out);
    assert_eq!(fleet.run("doctor --all").exit, 0);
    assert_eq!(fleet.run("plan - --all").exit, 2);
}

#[test]
fn an_answer_through_the_parent_counts_as_one_of_a_person() {
    use std::io::{BufRead as _, BufReader, Write as _};
    let fleet = Fleet::of(&[("a", "")]);
    fleet.write("doc.yaml", "version: 1\nmonitors:\n  - {name: Shop, type: http, url: \"https://shop.example.com\"}\n");
    for (answer, exit, monitors) in [("no\n", 1, 0), ("", 1, 0), ("yes\n", 0, 1)] {
        let mut command = fleet.command("-t a --json --asked-by-parent apply doc.yaml");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        out.read_line(&mut first).unwrap();
        let asks: Json = serde_json::from_str(&first).unwrap();
        assert!(asks["question"].as_str().unwrap().starts_with("apply these changes"), "{asks}");
        assert!(asks["shown"].to_string().contains("+ monitor `Shop`"), "{asks}");
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(answer.as_bytes()).unwrap();
        drop(stdin);
        std::io::copy(&mut out, &mut std::io::sink()).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(exit), "{answer:?}");
        assert_eq!(fleet.json(0, "status --all")["instances"][0]["result"]["monitors"], monitors);
    }
}

#[test]
fn the_status_of_all_is_shown_again_until_a_signal_comes() {
    let fleet = Fleet::of(&[("a", ""), ("b", "")]);
    let out = tempfile::NamedTempFile::new().unwrap();
    let mut child = fleet
        .command("status --all --watch 1s")
        .stdin(Stdio::null())
        .stdout(out.reopen().unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until(30, "the second table", || fs::read_to_string(out.path()).unwrap().matches("INSTANCE").count() >= 2);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_signal_reaches_all_and_no_other_run_is_started() {
    let names: Vec<String> = (0..12).map(|n| format!("i{n:02}")).collect();
    let fleet = Fleet::of(&names.iter().map(|name| (name.as_str(), "")).collect::<Vec<_>>());
    let mut child = fleet
        .command("--json backup create --all --parallel 1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Until the first one is at work.
    while children(child.id()).is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "it has ended before");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let listed = fleet.json(0, "backup list")["snapshots"].as_array().unwrap().len();
    assert!(listed < names.len(), "all {listed} were taken all the same");
    if listed > 0 {
        assert_eq!(fleet.json(0, "backup verify")["snapshots"].as_array().unwrap().len(), listed);
    }
}

/// The processes that the process `parent` has started.
fn children(parent: u32) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{parent}/task")).unwrap().flatten();
    let of_thread = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).unwrap_or_default();
    threads.map(of_thread).flat_map(|pids| words(&pids)).collect()
}

#[test]
fn a_shared_process_reports_what_a_process_of_its_own_does() {
    // More than one process reads.
    let names: Vec<String> = (0..60).map(|n| format!("i{n:02}")).collect();
    let mut instances: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    instances[1].1 = "stores = [\"other\"]\n[stores.other]\naddress = \"other\"";
    let fleet = Fleet::of(&instances);
    fs::write(fleet.at("i07/kuma.db"), "this is no database, whatever it says").unwrap();
    fs::remove_dir_all(fleet.at("i08")).unwrap();
    assert_eq!(fleet.run("-t i01 backup create").exit, 0);
    let all = fleet.json(7, "status --all --parallel 1");
    assert_eq!(self::names(&all), names);
    for (n, name) in names.iter().enumerate() {
        let own = fleet.run(&format!("--json -t {name} status"));
        let mut document: Json = serde_json::from_str(&own.out).unwrap();
        let mut one = all["instances"][n].clone();
        assert_eq!(one["exit"], own.exit, "{name}");
        // The seconds that passed meanwhile.
        for document in [&mut document, &mut one["result"]] {
            if let Some(backup) = document.get_mut("backup") {
                backup["age_seconds"].take();
            }
        }
        match document.get("error") {
            Some(error) => assert_eq!(&one["error"], error),
            None => assert_eq!(one["result"], document),
        }
        let warned: Vec<&str> = own.err.lines().filter_map(|line| line.strip_prefix("warning: ")).collect();
        assert_eq!(one["warnings"], Json::from(warned), "{name}");
    }
}

#[test]
fn a_run_that_ends_its_process_hits_no_other() {
    // A server that never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("mysql://kuma@127.0.0.1:{}/kuma", silent.local_addr().unwrap().port());
    let fleet = Fleet::of(&[("a", ""), ("b", ""), ("c", "")]);
    let config = fs::read_to_string(fleet.at("kumadb.toml")).unwrap();
    fleet.write("kumadb.toml", &config.replace(&fleet.at("b").display().to_string(), &target));
    let mut command = fleet.command("--json status --all --parallel 1");
    let parent = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // The process that has read `a`, and the one in which `b` is read again.
    let mut killed = Vec::new();
    for _ in 0..2 {
        let connection = silent.accept().unwrap();
        let pids = children(parent.id());
        let [pid] = pids.as_slice() else { panic!("{pids:?}") };
        assert!(!killed.contains(pid));
        assert!(Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
        killed.push(pid.clone());
        drop(connection);
    }
    let output = parent.wait_with_output().unwrap();
    let document: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(names(&document), ["a", "b", "c"]);
    let exits = |n: usize| document["instances"][n]["exit"].as_i64().unwrap();
    assert_eq!((exits(0), exits(1), exits(2)), (0, 1, 0), "{document:#}");
    assert_eq!(document["instances"][1]["error"]["message"], "it exited without a message", "{document:#}");
    assert_eq!(document["instances"][2]["result"]["monitors"], 0, "{document:#}");
}

#[test]
fn the_config_file_is_checked_for_names_and_reached() {
    let fleet = Fleet::of(&[("a", "stores = [\"nera\"]\npolicy = \"shrot\"\ngroup = [\"x\"]")]);
    let wrong = fleet.run("config check");
    assert_eq!(wrong.exit, 2, "{}", wrong.err);
    for words in [
        "no section `[stores.nera]` (did you mean `near`?)",
        "no section `[policies.shrot]` (did you mean `short`?)",
        "unknown key `group` (did you mean `groups`?)",
    ] {
        assert!(wrong.err.contains(words), "{words}: {}", wrong.err);
    }
    let fleet = Fleet::of(&[("a", ""), ("b", "docker_host = \"tcp://127.0.0.1:1\"")]);
    assert_eq!(fleet.run("config check").exit, 0);
    let seen = fleet.json(1, "config check --connect");
    assert_eq!(seen["checks"][0]["ok"], true, "{seen:#}");
    assert!(seen["checks"][1]["error"].as_str().unwrap().contains("127.0.0.1:1"), "{seen:#}");
}

#[test]
fn the_gravest_exit_code_is_the_one_that_needs_somebody_soonest() {
    let order = [5, 4, 143, 130, 7, 1, 6, 9, 8, 2, 3, 20, 0].map(|code| Exit::of(code).unwrap());
    assert!(order.windows(2).all(|pair| pair[0].severity() > pair[1].severity()));
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/many.md")).unwrap();
    assert!(page.contains("5, 4, 143, 130, 7, 1, 6, 9, 8, 2, 3, 20, 0"), "docs/many.md says another order");
}
