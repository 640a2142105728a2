//! `backup prune` on a store of real archives: what goes, what is asked first, and that a kill leaves no half snapshot.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use age::secrecy::ExposeSecret as _;
use chrono::{DateTime, TimeDelta, Utc};

use crate::backup::encrypted::{identity, recipient};
use crate::backup::stores::{Away, json};
use crate::support::cloud::Trouble;
use crate::support::lab::{Lab, Ran, words};
use crate::support::rounds;

/// Copies of one real snapshot, `days` old each, oldest last; returns their ids.
fn age(lab: &Lab, days: &[i64]) -> Vec<String> {
    let made = lab.json("backup create");
    let archive = PathBuf::from(made["path"].as_str().unwrap());
    let beside = |archive: &Path| PathBuf::from(format!("{}.json", archive.display()));
    let folder = archive.parent().unwrap().to_owned();
    let opened = lab.root.path().join("opened");
    fs::create_dir_all(&opened).unwrap();
    let unpacked =
        std::process::Command::new("tar").args(["--zstd", "-xf"]).arg(&archive).arg("-C").arg(&opened).status();
    assert!(unpacked.unwrap().success());
    let outer: serde_json::Value = serde_json::from_slice(&fs::read(beside(&archive)).unwrap()).unwrap();
    let members: Vec<String> =
        outer["members"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect();
    let mut ids = Vec::new();
    for (n, days) in days.iter().enumerate() {
        let created: DateTime<Utc> = Utc::now() - TimeDelta::days(*days) - TimeDelta::seconds(n as i64);
        let id = format!("{n:08x}");
        let mut manifest = outer.clone();
        for own in ["archive_blake3", "archive_size"] {
            manifest.as_object_mut().unwrap().remove(own);
        }
        manifest["id"] = id.as_str().into();
        manifest["created"] = serde_json::to_value(created).unwrap();
        fs::write(opened.join("manifest.json"), manifest.to_string()).unwrap();
        let copy = folder.join(format!("{}-{id}.kuma.tar.zst", created.format("%Y%m%dT%H%M%SZ")));
        let packed = std::process::Command::new("tar")
            .args(["--zstd", "-C"])
            .arg(&opened)
            .arg("-cf")
            .arg(&copy)
            .arg("manifest.json")
            .args(&members)
            .status();
        assert!(packed.unwrap().success());
        fs::write(beside(&copy), manifest.to_string()).unwrap();
        ids.push(id);
    }
    fs::remove_file(beside(&archive)).unwrap();
    fs::remove_file(&archive).unwrap();
    ids
}

fn listed(lab: &Lab) -> BTreeSet<String> {
    let listed = lab.json("backup list");
    listed["snapshots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["manifest"]["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn removes_what_no_rule_keeps_and_says_why_the_rest_stays() {
    let lab = Lab::sqlite("2.5.3");
    let ids = age(&lab, &[1, 2, 3, 40, 41]);
    let all: BTreeSet<String> = ids.iter().cloned().collect();
    let refused = lab.fails(2, "backup prune --yes");
    assert!(refused.err.contains("no retention rule given"), "{}", refused.err);
    lab.fails(2, "backup prune --keep-last 0 --yes");
    let wrong = lab.fails(2, "backup prune --keep-within 3w --yes");
    assert!(wrong.err.contains("--keep-within: `3w` is not a valid duration; example: 2y5m7d3h"), "{}", wrong.err);
    let shown = lab.ok("backup prune --keep-last 2 --dry-run");
    assert!(shown.contains("would delete 3 snapshots") && shown.contains("last snapshot"), "{shown}");
    lab.fails(9, "backup prune --keep-last 2");
    lab.ok("backup prune --keep-last 1 --instance nobody --yes");
    assert_eq!(listed(&lab), all, "nothing was removed so far");
    let pruned = lab.json("backup prune --keep-last 2 --yes");
    assert_eq!(pruned["deleted"], 3);
    assert_eq!(listed(&lab), ids[..2].iter().cloned().collect());
    assert!(pruned["snapshots"][0]["reasons"].as_array().unwrap().is_empty());
    assert_eq!(pruned["snapshots"][4]["reasons"][0], "last snapshot");
    assert_eq!(fs::read_dir(lab.store().join("data")).unwrap().count(), 4, "two archives, two manifests");
    lab.ok("backup verify");
}

#[test]
fn keeps_the_newest_that_verifies_and_names_those_that_do_not() {
    let lab = Lab::sqlite("2.5.3");
    let ids = age(&lab, &[1, 2, 3]);
    let newest = fs::read_dir(lab.store().join("data")).unwrap().flatten().map(|entry| entry.path());
    let newest = { newest }.find(|path| path.to_string_lossy().ends_with(&format!("{}.kuma.tar.zst", ids[0]))).unwrap();
    let whole = fs::read(&newest).unwrap();
    fs::write(&newest, &whole[..whole.len() / 2]).unwrap();
    lab.leave_out(&newest);
    let ran = lab.run("backup prune --keep-last 1 --yes");
    assert_eq!(ran.exit, 3, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("newest verified") && ran.err.contains(&ids[0]), "{}", ran.err);
    assert_eq!(listed(&lab), ids[..2].iter().cloned().collect());
}

#[test]
fn nothing_is_deleted_where_nothing_can_be_verified() {
    let lab = Lab::sqlite("2.5.3");
    let (key, made) = (identity(&lab).display().to_string(), format!("backup create --encrypt-to {}", recipient()));
    let paths: Vec<PathBuf> = (0..2).map(|_| lab.json(&made)["path"].as_str().unwrap().into()).collect();
    let damage = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[9000] ^= 0xff;
        fs::write(path, bytes).unwrap();
        lab.leave_out(path);
    };
    damage(&paths[1]);
    // The wrong key opens none, but the hash of the archive shows which is damaged.
    let wrong = lab.root.path().join("wrong.txt");
    fs::write(&wrong, age::x25519::Identity::generate().to_string().expose_secret()).unwrap();
    let ran = lab.fails(3, &format!("backup prune --keep-last 1 --yes --identity {}", wrong.display()));
    assert!(ran.err.contains("none of the identities can decrypt it"), "{}", ran.err);
    assert_eq!(listed(&lab).len(), 2, "{}", ran.err);
    damage(&paths[0]);
    let ran = lab.fails(3, &format!("backup prune --keep-last 1 --yes --identity {key}"));
    assert!(ran.out.contains("none could be verified"), "{}", ran.out);
    assert_eq!(listed(&lab).len(), 2);
}

#[test]
fn unfinished_work_protects_the_newest_whole_snapshot_and_no_other() {
    let lab = Lab::sqlite("2.5.3");
    let ids = age(&lab, &[1, 2, 3]);
    fs::create_dir_all(lab.folder().join(".kumadb")).unwrap();
    fs::write(lab.folder().join(".kumadb/journal.json"), "{").unwrap();
    let pruned = lab.json("backup prune --keep-last 1 --yes");
    assert_eq!(pruned["deleted"], 2);
    assert_eq!(
        pruned["snapshots"][2]["reasons"],
        serde_json::json!(["last snapshot", "interrupted operation on its instance", "newest verified"])
    );
    assert_eq!(listed(&lab), [ids[0].clone()].into());
}

#[test]
fn cleans_up_what_killed_runs_left_and_names_it() {
    let lab = Lab::sqlite("2.5.3");
    age(&lab, &[1, 5]);
    let folder = lab.store().join("data");
    let orphan = folder.join("20200101T000000Z-0badcafe.kuma.tar.zst.json");
    let young = folder.join(format!("{}-0badcafe.kuma.tar.zst.json", Utc::now().format("%Y%m%dT%H%M%SZ")));
    let not_ours = folder.join("notes.json");
    let scratch = lab.store().join(".kumadb-killed");
    for file in [&orphan, &young, &not_ours] {
        fs::write(file, "{}").unwrap();
    }
    fs::create_dir(&scratch).unwrap();
    fs::write(scratch.join("archive.kuma.tar.zst"), "half").unwrap();
    let shown = lab.json("backup prune --keep-last 5 --dry-run");
    assert!(orphan.exists() && scratch.exists(), "a dry run removes nothing");
    assert_eq!(shown["leftovers"][0], orphan.display().to_string());
    let given = lab.ok("backup prune --keep-last 5");
    for gone in [&orphan, &scratch] {
        assert!(given.contains(&gone.display().to_string()) && !gone.exists(), "{given}");
    }
    assert!(young.exists() && not_ours.exists());
    assert_eq!(listed(&lab).len(), 2);
}

#[test]
fn who_names_an_instance_means_no_other() {
    let lab = Lab::sqlite("2.5.3");
    age(&lab, &[0, 1, 2]);
    let run = |line: &str| Ran::of(lab.bare().env("KUMADB_ADMIN_PASSWORD", "Kuma-Lab-2026").args(words(line)));
    for line in ["init other --admin admin", "-t other backup create", "-t other backup create"] {
        assert_eq!(run(line).exit, 0, "{line}");
    }
    assert_eq!(run("-t other backup prune --keep-last 1 --yes").exit, 0);
    let all = || json(&run("--json backup list"))["snapshots"].clone();
    assert_eq!(listed(&lab).len(), 3, "those of the other one");
    assert_eq!(all().as_array().unwrap().len(), 4, "and one of this");
    let unknown = run("-t nowhere backup prune --keep-last 1 --yes");
    assert_ne!(unknown.exit, 0, "{unknown:?}");
    assert_eq!(all().as_array().unwrap().len(), 4);
}

#[test]
fn a_kill_leaves_only_whole_snapshots() {
    let lab = Lab::sqlite("2.5.3");
    let (mut kills, mut runs) = (0, 0);
    let rounds = rounds::draw(12, 4);
    // On a busy machine a run can be over before it is looked at.
    for round in rounds.iter().cycle().take(40).map(|round| *round as u64) {
        if runs >= rounds.len() && kills > 0 {
            break;
        }
        runs += 1;
        let ids = age(&lab, &(0..30).collect::<Vec<_>>());
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kumadb"));
        command.args(["backup", "prune", "--keep-last", "1", "--yes", "--quiet"]);
        command.env("KUMADB_STORE", lab.store()).env("XDG_STATE_HOME", lab.root.path().join("state"));
        let mut prune = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The kill comes when so many are gone, however fast this machine is.
        let gone = |n: u64| fs::read_dir(lab.store().join("data")).unwrap().count() as u64 <= 60 - n;
        while prune.try_wait().unwrap().is_none() && !gone(1 + round * 4) {
            std::thread::sleep(Duration::from_micros(20));
        }
        kills += u32::from(prune.try_wait().unwrap().is_none());
        let _ = prune.kill();
        prune.wait().unwrap();
        let left = listed(&lab);
        assert!(left.contains(&ids[0]), "round {round}: the newest is gone");
        lab.ok("backup verify");
        lab.ok("backup prune --keep-last 1 --yes");
        assert_eq!(listed(&lab), BTreeSet::from([ids[0].clone()]));
        assert_eq!(fs::read_dir(lab.store().join("data")).unwrap().count(), 2, "round {round}");
        fs::remove_dir_all(lab.store()).unwrap();
    }
    println!("{kills} of {runs} runs were killed half-way");
    assert!(kills > 0);
}

#[test]
fn prunes_every_store_for_itself_and_a_store_that_fails_hides_no_other() {
    for scheme in ["s3", "webdav"] {
        let away = Away::new(Lab::sqlite("2.5.3"), scheme);
        for _ in 0..3 {
            assert_eq!(away.both("backup create").exit, 0);
        }
        assert_eq!(away.away("backup create").exit, 0);
        let pruned = json(&away.both("backup prune --keep-last 2 --yes --json"));
        assert_eq!(pruned["deleted"], 3, "one here, two there: {pruned:#}");
        assert_eq!(pruned["snapshots"].as_array().unwrap().len(), 7);
        assert_eq!(listed(&away.lab).len(), 2);
        assert_eq!(away.store().list().unwrap().snapshots.len(), 2);
        // An old upload or removal that was cut off, named and gone; a young one may be on its way.
        let archive = away.cloud.names().into_iter().find(|name| name.ends_with(".zst")).unwrap();
        let (folder, _) = archive.rsplit_once('/').unwrap();
        let old = format!("{folder}/20200101T000000Z-0badcafe.kuma.tar.zst");
        let young = format!("{folder}/{}-0badcafe.kuma.tar.zst", Utc::now().format("%Y%m%dT%H%M%SZ"));
        for half in [&old, &young] {
            away.cloud.shelf().objects.insert(half.clone(), b"half".to_vec());
        }
        let pruned = json(&away.both("backup prune --keep-last 2 --yes --json"));
        assert_eq!(pruned["leftovers"].as_array().unwrap().len(), 1, "{pruned:#}");
        assert!(!away.cloud.names().contains(&old) && away.cloud.names().contains(&young));
        away.cloud.shelf().objects.remove(&young);
        // It does not let us remove archives: their manifests are gone, so they are listed no more.
        away.cloud.trouble(|request| {
            let removes = request.method == "DELETE" || request.query.contains_key("delete");
            (removes && !request.path.ends_with(".json")).then_some(Trouble::Status(403, "AccessDenied"))
        });
        let refused = away.both("backup prune --keep-last 1 --yes");
        away.cloud.no_trouble();
        assert_eq!(refused.exit, 3, "{}", refused.err);
        assert_eq!(listed(&away.lab).len(), 1);
        let left = away.store().list().unwrap();
        assert!(left.unusable.is_empty(), "{:?}", left.unusable);
        assert!(left.snapshots.iter().all(|snapshot| snapshot.verify().is_ok()));
        // Nobody answers there: what is here is pruned all the same.
        assert_eq!(away.lab.run("backup create").exit, 0);
        away.cloud.trouble(|_| Some(Trouble::Status(403, "AccessDenied")));
        let unseen = away.both("backup prune --keep-last 1 --yes");
        assert_eq!(unseen.exit, 3, "{}", unseen.err);
        assert_eq!(listed(&away.lab).len(), 1);
    }
}

#[test]
fn what_a_killed_prune_or_create_left_is_cleared_when_that_is_safe() {
    use std::time::{Duration, SystemTime};
    let lab = Lab::sqlite("2.5.3");
    let made = lab.json("backup create");
    let archive = std::path::PathBuf::from(made["path"].as_str().unwrap());
    let manifest = archive.with_file_name(format!("{}.json", archive.file_name().unwrap().to_str().unwrap()));
    let text = std::fs::read(&manifest).unwrap();
    lab.ok("backup create");
    let prune = || lab.json("backup prune --keep-last 5 --yes");
    // As if it had been killed between the two: a note says what was being removed, and nobody has its lock.
    std::fs::remove_file(&archive).unwrap();
    let scratch = lab.store().join(".kumadb-killed");
    std::fs::create_dir(&scratch).unwrap();
    let name = format!("data/{}", archive.file_name().unwrap().to_str().unwrap());
    let note = serde_json::json!([{"store": lab.store(), "name": name, "upload": null}]);
    std::fs::write(scratch.join("putting.json"), note.to_string()).unwrap();
    lab.ok("backup create");
    assert!(!manifest.exists() && !scratch.exists());
    // Without a note, it is named while it is young, and removed after an hour by the clock of its own file system.
    std::fs::write(&manifest, text).unwrap();
    let young = prune();
    assert_eq!(young["young_leftovers"][0], manifest.display().to_string(), "{young:#}");
    assert!(manifest.exists() && young["leftovers"].as_array().unwrap().is_empty(), "{young:#}");
    assert!(lab.ok("backup prune --keep-last 5 --yes").contains("incomplete: another run may be storing it"));
    let file = std::fs::File::options().write(true).open(&manifest).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3_700)).unwrap();
    // A run that is at work in this store may be the one.
    let busy = lab.store().join(".kumadb-busy");
    std::fs::create_dir(&busy).unwrap();
    let lock = kumadb::files::Lock::take(&busy.join("lock"), "pid 1").unwrap();
    prune();
    assert!(manifest.exists());
    drop(lock);
    assert_eq!(prune()["leftovers"][0], manifest.display().to_string());
    assert!(!manifest.exists());
}
