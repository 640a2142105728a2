//! Backups are watched: `backup check` as a plugin of Nagios, and what `status` warns of.

use std::path::PathBuf;

use serde_json::Value as Json;

use crate::support::lab::{Lab, Ran, words};

/// The line that a check prints, and its exit code.
#[track_caller]
fn check(lab: &Lab, exit: i32, more: &str) -> String {
    let ran = lab.run(&format!("backup check {more}"));
    assert_eq!(ran.exit, exit, "{more}\n{}{}", ran.out, ran.err);
    ran.out.trim_end().to_owned()
}

#[test]
fn age_and_verification_decide() {
    for lab in Lab::both("2.5.3") {
        let name = lab.json("status")["instance"].as_str().unwrap().to_owned();
        assert_eq!(check(&lab, 2, ""), format!("CRITICAL: {name}: no backup"));
        // An undo snapshot is none.
        lab.ok("monitor add push --name A");
        assert_eq!(check(&lab, 2, ""), format!("CRITICAL: {name}: no backup"));
        lab.ok("backup create --config-only");
        let good = check(&lab, 0, "");
        let listed = lab.json("backup list");
        let (id, size) = (&listed["snapshots"][0]["manifest"]["id"], &listed["snapshots"][0]["size_bytes"]);
        assert!(good.starts_with(&format!("OK: {name}: newest backup ")), "{good}");
        assert!(good.contains(&format!(" s old ({}, ", id.as_str().unwrap())), "{good}");
        let (age, rest) = good.split_once(" | age=").unwrap().1.split_once("s;;93600;0 size=").unwrap();
        assert!(age.parse::<u32>().is_ok_and(|age| age < 60) && rest == format!("{size}B;;;0"), "{good}");
        assert!(check(&lab, 2, "--max-age 0s").contains(", older than 0 s | age="));
        // Nothing but the configuration is in it.
        assert_eq!(check(&lab, 2, "--full"), format!("CRITICAL: {name}: no backup"));
        assert!(check(&lab, 1, "--verified-within 30d").contains(", never fully verified or test-restored | "));
        lab.ok("backup create --verify full");
        check(&lab, 0, "--full --verified-within 30d");
        assert!(check(&lab, 1, "--verified-within 0s").contains("last fully verified or test-restored 0 s ago"));
    }
}

#[test]
fn an_archive_that_was_cut_off_is_named_wherever_it_is_listed() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok("backup create");
    let folder = std::fs::read_dir(lab.store().join("data")).unwrap().flatten().map(|entry| entry.path());
    let archive = folder.into_iter().find(|path| path.extension().is_some_and(|end| end == "zst")).unwrap();
    std::fs::File::options().write(true).open(&archive).unwrap().set_len(3000).unwrap();
    for line in ["backup list", "status"] {
        let ran = lab.run(line);
        assert!(ran.err.contains("the archive has 3.0 KB instead of "), "{line}: {}", ran.err);
        assert!(line == "status" || ran.exit == 3, "{}", ran.exit);
    }
    assert!(lab.json("status")["last_snapshot"].is_null());
    assert!(check(&lab, 2, "").contains("no backup; cannot read 1 archive in the store"));
}

#[test]
fn a_restore_test_counts_as_verification() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok("backup create");
    check(&lab, 1, "--verified-within 30d");
    lab.ok("backup verify --restore-test");
    check(&lab, 0, "--verified-within 30d");
    // One that failed is worse than none.
    let notes = std::fs::read_dir(lab.store().join("data")).unwrap().flatten().map(|entry| entry.path());
    let notes: Vec<PathBuf> = notes.filter(|path| path.to_string_lossy().ends_with(".restore-tests.json")).collect();
    let failed = "[{\"at\": \"2026-01-01T00:00:00Z\", \"seconds\": 1.0, \"tables\": 0, \"rows\": 0, \"error\": \"row 3 differs\"}]";
    std::fs::write(&notes[0], failed).unwrap();
    assert!(check(&lab, 2, "").contains("its last restore test failed: row 3 differs | "));
    lab.ok("backup verify --restore-test");
    check(&lab, 0, "");
    // One that fails because the archive cannot be read.
    let archive = std::fs::read_dir(lab.store().join("data")).unwrap().flatten().map(|entry| entry.path());
    let archive = { archive }.find(|path| path.extension().is_some_and(|end| end == "zst")).unwrap();
    let mut bytes = std::fs::read(&archive).unwrap();
    bytes[5000] ^= 0xff;
    std::fs::write(&archive, bytes).unwrap();
    lab.fails(7, "backup verify --restore-test");
    assert!(check(&lab, 2, "").contains("its last restore test failed: "));
}

#[test]
fn a_restore_test_of_a_file_in_the_current_folder_is_recorded() {
    let lab = Lab::sqlite("2.5.3");
    let path = PathBuf::from(lab.json("backup create")["path"].as_str().unwrap());
    let name = path.file_name().unwrap().to_str().unwrap();
    let mut command = lab.bare();
    command.current_dir(path.parent().unwrap()).args(["-t", &lab.target, "backup", "verify", "--restore-test", name]);
    let ran = Ran::of(&mut command);
    assert_eq!((ran.exit, ran.err.contains("warning")), (0, false), "{}{}", ran.out, ran.err);

    check(&lab, 0, "--verified-within 30d");
}

#[test]
fn an_archive_that_was_cut_off_is_no_backup() {
    let lab = Lab::sqlite("2.5.3");
    let whole = lab.json("backup create");
    let second = lab.json("backup create");
    std::fs::write(second["path"].as_str().unwrap(), "").unwrap();
    let given = check(&lab, 1, "");
    assert!(given.contains(whole["manifest"]["id"].as_str().unwrap()), "{given}");
    assert!(given.contains("; cannot read 1 archive in the store"), "{given}");
    std::fs::write(whole["path"].as_str().unwrap(), "").unwrap();
    assert!(check(&lab, 2, "").contains(": no backup; cannot read 2 archives in the store"));
}

#[test]
fn what_cannot_be_distinguished_is_unknown() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok("backup create");
    // What is no folder is no store that could be read.
    let (broken, good) = (lab.root.path().join("broken"), lab.store());
    std::fs::write(&broken, "").unwrap();
    let run = |line: &str| Ran::of(lab.bare().env_remove("KUMADB_STORE").args(words(line)));
    let mistyped = run(&format!("-t nowhere --store {} backup check", good.display()));
    assert!(mistyped.exit == 3 && mistyped.out.starts_with("UNKNOWN: "), "{}{}", mistyped.out, mistyped.err);
    let unknown = run(&format!("-t {} --store {} backup check", lab.target, broken.display()));
    assert_eq!(unknown.exit, 3, "{}{}", unknown.out, unknown.err);
    assert!(unknown.out.starts_with("UNKNOWN: data: ") && unknown.out.lines().count() == 1, "{}", unknown.out);
    let one = run(&format!("-t {} --store {},{} backup check", lab.target, broken.display(), good.display()));
    assert_eq!(one.exit, 1, "{}{}", one.out, one.err);
    let lines: Vec<&str> = one.out.lines().collect();
    assert!(lines[0].starts_with("WARNING: 1 of 2 checks: data: ") && lines[0].contains(" | '"), "{lines:#?}");
    assert!(lines[1].starts_with("WARNING: data: ") && lines[2].starts_with("OK: data: newest backup"), "{lines:#?}");
    let config = lab.root.path().join("kumadb.toml");
    std::fs::write(&config, "[store]\n").unwrap();
    let wrong = run(&format!("--config {} backup check", config.display()));
    assert_eq!((wrong.exit, wrong.out.starts_with("UNKNOWN: ")), (3, true), "{}", wrong.out);
    // Its backups are found without the instance.
    std::fs::remove_dir_all(lab.folder()).unwrap();
    check(&lab, 0, "");
    let away = run(&format!("--store {} backup check", good.display()));
    assert!(away.exit == 0 && away.out.starts_with("OK: data: newest backup"), "{}{}", away.out, away.err);
}

#[test]
fn all_instances_of_the_config_file_are_checked() {
    let lab = Lab::sqlite("2.5.3");
    let config = lab.root.path().join("kumadb.toml");
    let text = format!(
        "[stores.near]\naddress = \"{}\"\n[instances.alpha]\ntarget = \"{}\"\ngroups = [\"prod\"]\n\
         [instances.beta]\ntarget = \"somewhere\"\ndocker_host = \"tcp://127.0.0.1:1\"\n[jobs.hourly]\ncron = \"0 * * * *\"\n\
         instances = [\"alpha\"]\n",
        lab.store().display(),
        lab.target
    );
    std::fs::write(&config, text).unwrap();
    let run =
        |line: &str| Ran::of(lab.bare().env_remove("KUMADB_STORE").env("KUMADB_CONFIG", &config).args(words(line)));
    assert_eq!(run("-t alpha backup create").exit, 0);
    // Neither needs its engine.
    for line in ["backup check", "backup check --all", "backup check --instance alpha --instance beta"] {
        let both = run(line);
        assert_eq!(both.exit, 2, "{line}: {}{}", both.out, both.err);
        let lines: Vec<&str> = both.out.lines().collect();
        assert_eq!(lines.len(), 3, "{lines:#?}");
        assert!(
            lines[0].starts_with("CRITICAL: 1 of 2 checks: beta: no backup in near | 'alpha@near age'="),
            "{lines:#?}"
        );
        assert!(lines[1].starts_with("OK: alpha: newest backup") && lines[1].ends_with(" in near"), "{lines:#?}");
        assert_eq!(lines[2], "CRITICAL: beta: no backup in near");
    }
    assert_eq!((run("backup check --instance-group prod").exit, run("-t alpha backup check").exit), (0, 0));
    assert!(run("backup check --instance-group prd").out.starts_with("UNKNOWN: "));
    let ran = run("--json backup check");
    let document: Json = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.exit, &document["status"]), (2, &"critical".into()));
    let (alpha, beta) = (&document["checks"][0], &document["checks"][1]);
    assert_eq!(
        (&alpha["instance"], &alpha["store"], &alpha["status"]),
        (&"alpha".into(), &"near".into(), &"ok".into())
    );
    // Twice the interval of its job, or what is usual.
    assert_eq!((&alpha["max_age_seconds"], &beta["max_age_seconds"]), (&7200.into(), &93_600.into()));
    assert!(alpha["newest"]["id"].is_string() && beta["newest"].is_null(), "{document:#}");
}

#[test]
fn status_warns_of_a_backup_that_is_old_or_not_there() {
    let lab = Lab::sqlite("2.5.3");
    let state = |line: &str| lab.json(line)["backup"]["state"].as_str().unwrap().to_owned();
    let none = lab.run("status");
    assert_eq!(none.exit, 0);
    assert!(none.err.contains("warning: `data` has no backup"), "{}", none.err);
    assert_eq!(state("status"), "none");
    lab.ok("monitor add push --name A");
    assert_eq!(state("status"), "none", "an undo snapshot is no backup");
    lab.ok("backup create");
    assert_eq!(lab.run("status").err, "");
    let backup = lab.json("status")["backup"].clone();
    assert_eq!((&backup["state"], &backup["max_age_seconds"]), (&"ok".into(), &604_800.into()));
    let old = lab.run("status --max-age 0s");
    assert_eq!((old.exit, old.err.contains("the newest backup of `data` is ")), (0, true), "{}", old.err);
    assert_eq!(state("status --max-age 0s"), "old");
    // A store that does not answer hides nothing else.
    let broken = lab.root.path().join("broken");
    std::fs::write(&broken, "").unwrap();
    let ran = Ran::of(lab.bare().args(["--json", "-t", &lab.target, "status"]).env("KUMADB_STORE", &broken));
    let document: Json = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.exit, &document["backup"]["state"]), (0, &"unknown".into()), "{}", ran.err);
}

#[test]
fn a_store_that_two_jobs_use_is_checked_once() {
    let lab = Lab::sqlite("2.5.3");
    let config = lab.root.path().join("two.toml");
    let at = |name: &str| lab.root.path().join(name).display().to_string();
    let text = format!(
        "[stores.near]\naddress = '{}'\n[stores.far]\naddress = '{}'\n[stores.third]\naddress = '{}'\n[instances.alpha]\n\
         target = '{}'\nstores = ['near']\n[jobs.a]\ncron = '@daily'\ninstances = ['alpha']\nstores = ['far', 'third']\n\
         [jobs.b]\ncron = '@daily'\ninstances = ['alpha']\nstores = ['far']\n",
        at("near"),
        at("far"),
        at("third"),
        lab.target
    );
    std::fs::write(&config, text).unwrap();
    let ran = Ran::of(lab.bare().env_remove("KUMADB_STORE").env("KUMADB_CONFIG", &config).args(["backup", "check"]));
    for store in ["near", "far", "third"] {
        let line = format!("CRITICAL: alpha: no backup in {store}");
        assert_eq!(ran.out.lines().filter(|one| *one == line).count(), 1, "{store}: {}", ran.out);
    }
}

#[test]
fn a_store_that_only_a_job_uses_is_checked_and_labels_are_unique() {
    let lab = Lab::sqlite("2.5.3");
    let config = lab.root.path().join("jobs.toml");
    let other = lab.root.path().join("other");
    let text = format!(
        "[stores.near]\naddress = '{}'\n[stores.far]\naddress = '{}'\n[instances.alpha]\ntarget = '{}'\nstores = \
         ['near']\n\
         [jobs.nightly]\ncron = '@daily'\ninstances = ['alpha']\nstores = ['far']\n",
        lab.store().display(),
        other.display(),
        lab.target
    );
    std::fs::write(&config, text).unwrap();
    let run =
        |line: &str| Ran::of(lab.bare().env_remove("KUMADB_STORE").env("KUMADB_CONFIG", &config).args(words(line)));
    assert_eq!(run("-t alpha backup create").exit, 0);
    let checked = run("backup check");
    assert_eq!(checked.exit, 2, "{checked:?}");
    assert!(checked.out.contains("\nCRITICAL: alpha: no backup in far"), "{checked:?}");
    assert_eq!(run("backup schedule --once nightly").exit, 0);
    let checked = run("backup check");
    assert_eq!(checked.exit, 0, "{checked:?}");
    assert!(checked.out.contains("'alpha@near age'=") && checked.out.contains("'alpha@far age'="), "{checked:?}");

    // Two folders of one name.
    let lab = Lab::sqlite("2.5.3");
    let second = lab.root.path().join("second/data");
    let mut init = lab.bare();
    assert_eq!(Ran::of(init.args(["init"]).arg(&second)).exit, 0);
    lab.ok("backup create");
    assert_eq!(Ran::of(lab.bare().arg("-t").arg(&second).args(["backup", "create"])).exit, 0);
    let both = Ran::of(lab.bare().args(["backup", "check"]));
    assert_eq!(both.exit, 0, "{both:?}");
    for origin in [lab.folder(), second] {
        let label = format!("'data ({})@{} age'=", origin.display(), lab.store().display());
        assert_eq!(both.out.matches(&label).count(), 1, "{label}: {}", both.out);
    }
}

#[test]
fn times_are_local_with_their_zone_and_utc_in_json() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok("backup create");
    lab.ok("monitor add group --name A");
    let there = |line: &str| Ran::of(lab.bare().env("TZ", "KUMA-5:30").args(["-t", &lab.target]).args(words(line))).out;
    for line in [
        "backup list",
        "backup list --undo",
        "backup show latest",
        "status",
        "undo --dry-run",
        "backup prune --keep-last 1",
    ] {
        assert!(there(line).contains(" +05:30"), "{line}: {}", there(line));
    }
    let created =
        serde_json::from_str::<Json>(&there("--json backup list")).unwrap()["snapshots"][0]["manifest"]["created"]
            .clone();
    assert!(created.as_str().unwrap().ends_with('Z'), "{created}");
}
