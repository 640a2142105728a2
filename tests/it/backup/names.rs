//! An instance has one name everywhere, and its snapshots are found wherever they are.

use std::path::PathBuf;
use std::process::Command;

use assert_cmd::Command as Binary;
use kumadb::config::read_config;
use serde_json::Value as Json;

use crate::support::lab::{Lab, Ran, words};

/// The lab with a second instance in a folder that is called the same, `b/data`, and a config file of `text`.
fn two(text: &str) -> (Lab, PathBuf) {
    let lab = Lab::sqlite("2.5.3");
    let other = lab.root.path().join("b/data");
    std::fs::create_dir(lab.root.path().join("b")).unwrap();
    assert!(Command::new("cp").arg("-a").arg(lab.folder()).arg(&other).status().unwrap().success());
    configure(&lab, text);
    (lab, other)
}

/// Writes the config file; `STORE`, `ALPHA` and `BETA` are the places.
fn configure(lab: &Lab, text: &str) {
    let text = text
        .replace("STORE", &lab.store().display().to_string())
        .replace("ALPHA", &lab.target)
        .replace("BETA", &lab.root.path().join("b/data").display().to_string());
    std::fs::write(lab.root.path().join("kumadb.toml"), text).unwrap();
}

/// The binary with the config file, and no store in the environment.
fn configured(lab: &Lab) -> Binary {
    let mut bare = lab.bare();
    bare.env_remove("KUMADB_STORE").env("KUMADB_CONFIG", lab.root.path().join("kumadb.toml"));
    bare
}

/// Runs `line` with the config file.
fn run(lab: &Lab, line: &str) -> Ran {
    Ran::of(configured(lab).args(words(line)))
}

#[track_caller]
fn json(lab: &Lab, line: &str) -> Json {
    let ran = run(lab, &format!("--json {line}"));
    assert_eq!(ran.exit, 0, "{line}\n{}{}", ran.out, ran.err);
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{line}: {error}: {}", ran.out))
}

const BOTH: &str = "[stores.local]\naddress = \"STORE\"\n[instances.alpha]\ntarget = \"ALPHA\"\n\
    [instances.beta]\ntarget = \"BETA\"\n[jobs.nightly]\ncron = \"0 3 * * *\"\ninstances = [\"alpha\", \"beta\"]\n\
    stores = [\"local\"]\n";

#[test]
fn the_name_in_the_config_file_is_the_name_everywhere() {
    let (lab, other) = two(BOTH);
    let ran = json(&lab, "backup schedule --once nightly");
    let taken = ran["snapshots"].as_array().unwrap();
    let names: Vec<&str> = taken.iter().map(|one| one["instance"].as_str().unwrap()).collect();
    assert_eq!(names, ["alpha", "beta"], "{ran:#}");
    assert_eq!(taken[1]["origin"], other.display().to_string());
    for (one, name) in taken.iter().zip(&names) {
        let folder = lab.store().join(name).display().to_string();
        assert!(one["path"].as_str().unwrap().starts_with(&folder), "{ran:#}");
    }
    // By its name, by its folder, and as the only one found: the same instance, and the stores of its job.
    for (target, name, n) in [
        ("-t alpha".to_owned(), "alpha", 0),
        ("-t beta".to_owned(), "beta", 1),
        (format!("-t {}", other.display()), "beta", 1),
        (format!("-t {}/kuma.db", lab.target), "alpha", 0),
        (String::new(), "alpha", 0),
    ] {
        let status = json(&lab, &format!("{target} status"));
        assert_eq!((&status["instance"], &status["last_snapshot"]["id"]), (&name.into(), &taken[n]["id"]), "{target}");
    }
    for (line, n) in [("backup list", 2), ("-t beta backup list", 1), ("-t beta backup verify", 1)] {
        assert_eq!(json(&lab, line)["snapshots"].as_array().unwrap().len(), n, "{line}");
    }
    let never = format!("{}/never", lab.root.path().display());
    let expected = ["/never` in ", "2 snapshots of other instances; to list all: kumadb backup list"];
    let listed = run(&lab, &format!("-t {never} backup list"));
    assert!(listed.exit == 0 && expected.iter().all(|words| listed.out.contains(words)), "{}", listed.out);
    // A job must not read from it that its snapshots are intact.
    let verified = run(&lab, &format!("-t {never} backup verify"));
    assert!(verified.exit == 8 && expected.iter().all(|words| verified.err.contains(words)), "{}", verified.err);
    let selected = Ran::of(configured(&lab).env("KUMADB_TARGET", &never).args(words("backup list")));
    assert!(selected.out.contains("to list all: KUMADB_TARGET= kumadb backup list"), "{}", selected.out);
    for line in ["-t gamma backup list", "-t gamma backup verify"] {
        let unknown = run(&lab, line);
        assert!(unknown.exit != 0 && unknown.err.contains("gamma"), "{line}: {}", unknown.err);
    }
    // A write keeps its snapshot there, too, under the same name.
    json(&lab, &format!("-t {} monitor add push --name A", other.display()));
    let of = |name: &str, more: &str| {
        json(&lab, &format!("backup list --instance {name} {more}"))["snapshots"].as_array().unwrap().len()
    };
    assert_eq!((of("alpha", ""), of("beta", "")), (1, 1));
    assert_eq!((of("alpha", "--undo"), of("beta", "--undo")), (0, 1));
    assert!(!run(&lab, "backup list").out.contains("ORIGIN"));
    let found = json(&lab, "find");
    let names: Vec<&str> =
        found["instances"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    assert!(names.contains(&"alpha"), "{found:#}");
}

#[test]
fn two_of_one_name_in_one_store_are_distinguished_with_a_warning() {
    let (lab, other) = two("[stores.local]\naddress = \"STORE\"\n");
    let first = run(&lab, &format!("-t {} backup create", lab.target));
    assert_eq!((first.exit, first.err.contains("another instance")), (0, false), "{}", first.err);
    let second = run(&lab, &format!("-t {} backup create", other.display()));
    assert_eq!(second.exit, 0, "{}", second.err);
    let words = format!("another instance called `data`: of {}, and now of {}", lab.target, other.display());
    assert!(second.err.contains(&words) && second.err.contains("[instances.NAME]"), "{}", second.err);
    let write = run(&lab, &format!("-t {} monitor add push --name A", lab.target));
    assert!(write.exit == 0 && write.err.contains("another instance called `data`"), "{}", write.err);
    let listed = run(&lab, "backup list").out;
    assert!(listed.contains("ORIGIN") && listed.contains(&other.display().to_string()), "{listed}");
    let pruned = run(&lab, "backup prune --keep-last 1 --dry-run").out;
    assert!(pruned.contains("ORIGIN"), "{pruned}");
    // Named, each still has what it had before, and nobody is warned.
    configure(&lab, BOTH);
    let last = |name: &str| json(&lab, &format!("-t {name} status"))["last_snapshot"]["id"].clone();
    let (alpha, beta) = (last("alpha"), last("beta"));
    assert!(alpha.is_string() && beta.is_string() && alpha != beta);
    let of = |name: &str| json(&lab, &format!("backup list --instance {name}"))["snapshots"].clone();
    assert!(of("beta").as_array().unwrap().iter().all(|one| one["manifest"]["id"] == beta), "{:#}", of("beta"));
    let named = run(&lab, "-t beta backup create");
    assert_eq!((named.exit, named.err.contains("another instance")), (0, false), "{}", named.err);
}

#[test]
fn the_snapshots_of_the_target_are_listed_and_verified_when_it_is_gone() {
    let (lab, other) = two("[stores.local]\naddress = \"STORE\"\n");
    let id = |ran: Json| ran["manifest"]["id"].as_str().unwrap().to_owned();
    let [first, second] =
        [lab.target.clone(), other.display().to_string()].map(|one| id(json(&lab, &format!("-t {one} backup create"))));
    std::fs::remove_dir_all(&other).unwrap();
    let named = |target: &str| -> Vec<String> {
        let listed = json(&lab, &format!("-t {target} backup list"))["snapshots"].clone();
        let verified = json(&lab, &format!("-t {target} backup verify"))["snapshots"].clone();
        let ids = |all: &Json, at: &str| -> Vec<String> {
            all.as_array().unwrap().iter().map(|one| one.pointer(at).unwrap().as_str().unwrap().to_owned()).collect()
        };
        let ids = (ids(&listed, "/manifest/id"), ids(&verified, "/id"));
        assert_eq!(ids.0, ids.1, "{target}");
        ids.0
    };
    assert_eq!(named(&lab.target), [first.as_str()]);
    assert_eq!(named(&format!("{}/kuma.db", lab.target)), [first.as_str()]);
    for gone in [other.clone(), other.join("kuma.db")] {
        assert_eq!(named(&gone.display().to_string()), [second.as_str()]);
    }
    // Both are called so, as two containers on two hosts may be.
    assert_eq!(named("data").len(), 2);
}

#[test]
fn folders_of_the_same_path_on_two_hosts_are_two_instances() {
    let (lab, _) = two(BOTH);
    let id = |ran: Json| ran["manifest"]["id"].as_str().unwrap().to_owned();
    let alpha = id(json(&lab, "-t alpha backup create"));
    // As another host has it, whose data are in a folder of this path, too.
    configure(&lab, &BOTH.replace("BETA", "ALPHA").replace("alpha", "gamma"));
    let gamma = id(json(&lab, "-t gamma backup create"));
    let far =
        "[instances.gamma]\ntarget = \"kuma\"\ndocker_host = \"tcp://127.0.0.1:1\"\n[policies.one]\nkeep_last = 1\n";
    configure(&lab, &format!("{BOTH}retention = \"one\"\n{far}"));
    assert_eq!(json(&lab, "-t alpha status")["last_snapshot"]["id"], alpha);
    assert_eq!(json(&lab, "-t alpha restore latest --dry-run")["snapshot"], alpha);
    // The policy of a job removes what is its own, and nothing of the other host.
    json(&lab, "backup schedule --once nightly");
    let ids = json(&lab, "backup list")["snapshots"].clone();
    let has = |id: &str| ids.as_array().unwrap().iter().any(|one| one["manifest"]["id"] == id);
    assert_eq!((has(&alpha), has(&gamma)), (false, true), "{ids:#}");
}

#[test]
fn a_database_without_a_folder_has_the_name_too() {
    let Some(lab) = Lab::mariadb("2.5.3") else { return };
    configure(&lab, "[stores.local]\naddress = \"STORE\"\n[instances.db]\ntarget = \"ALPHA\"\n");
    for target in ["db", &lab.target] {
        assert_eq!(json(&lab, &format!("-t {target} status"))["instance"], "db");
    }
    json(&lab, "-t db monitor add push --name A");
    let listed = json(&lab, "backup list --undo --instance db");
    assert_eq!(listed["snapshots"][0]["manifest"]["instance"], "db", "{listed:#}");
    // The journal stays where it was, whoever asks.
    let folders = std::fs::read_dir(lab.root.path().join("state/kumadb/instances")).unwrap().count();
    json(&lab, &format!("-t {} monitor add push --name B", lab.target));
    assert_eq!(std::fs::read_dir(lab.root.path().join("state/kumadb/instances")).unwrap().count(), folders);
}

#[test]
fn jobs_and_instances_share_one_list_of_stores() {
    let config = read_config(
        "kumadb.toml",
        "[stores.a]\naddress = \"/a\"\n[stores.b]\naddress = \"/b\"\n[stores.c]\naddress = \"/c\"\n\
         [instances.own]\ntarget = \"x\"\nstores = [\"b\"]\n[instances.of_jobs]\ntarget = \"y\"\n\
         [instances.neither]\ntarget = \"z\"\n\
         [jobs.one]\ncron = \"@daily\"\ninstances = [\"own\", \"of_jobs\"]\nstores = [\"c\", \"a\"]\n\
         [jobs.two]\ncron = \"@daily\"\ninstances = [\"of_jobs\"]\nstores = [\"a\", \"b\"]\n\
         [jobs.without]\ncron = \"@daily\"\ninstances = [\"own\"]\n",
    )
    .unwrap();
    let names = |places: Vec<(&str, &kumadb::config::StoreConfig)>| -> String {
        places.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(config.stores_of("own")), "b");
    assert_eq!(names(config.stores_of("of_jobs")), "c a b");
    assert_eq!(names(config.stores_of("neither")), "a b c");
    let job = |n: usize| &config.jobs[n];
    assert_eq!(names(config.stores_of_job(job(0), "own")), "c a");
    assert_eq!(names(config.stores_of_job(job(2), "own")), "b");
    assert!(
        read_config("k", "[instances.a]\ntarget = \"x\"\n[jobs.a]\ncron = \"@daily\"\ninstances = [\"a\"]\n").is_err()
    );
}
