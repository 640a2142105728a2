//! Copies that are kept in the data folder, which may belong to an attacker.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use kumadb::operation::{Outcome, pending};
use serde_json::{Value as Json, json};

use crate::backup::encrypted::recipient;
use crate::restore::undo::{add_group, work};
use crate::support::lab::{Lab, Ran, instance_at};

/// Adds the group `name` with a store that fails at the end, after `spoil`.
fn add_kept(lab: &Lab, name: &str, spoil: &dyn Fn()) -> Outcome {
    let aside = lab.root.path().join("aside");
    let outcome = add_group(lab, name, &|| {
        fs::rename(lab.store(), &aside).unwrap();
        fs::write(lab.store(), "no folder").unwrap();
        spoil();
    });
    fs::remove_file(lab.store()).unwrap();
    fs::rename(&aside, lab.store()).unwrap();
    outcome
}

/// A lab with one kept copy, and where that is.
fn with_one() -> (Lab, PathBuf) {
    let lab = Lab::sqlite("2.5.3");
    let outcome = add_kept(&lab, "Kept", &|| {});
    assert!(outcome.kept.is_some(), "{:?}", outcome.warnings);
    let only = only(&lab);
    (lab, only)
}

fn only(lab: &Lab) -> PathBuf {
    let found: Vec<PathBuf> = listed(lab).into_iter().map(|one| one.folder).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

fn listed(lab: &Lab) -> Vec<pending::PendingSnapshot> {
    pending::list(&instance_at(&lab.target, lab.root.path(), lab.root.path().join("state/kumadb/instances")))
}

fn copy_all(from: &Path, to: &Path) {
    assert!(Command::new("cp").args(["-a"]).arg(from).arg(to).status().unwrap().success());
}

/// Plants a copy of the copy in `real`, which says `change` of itself.
fn plant(real: &Path, name: &str, change: impl Fn(&mut Json)) -> PathBuf {
    let planted = real.with_file_name(name);
    copy_all(real, &planted);
    let path = planted.join("manifest.json");
    let mut manifest: Json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(&path, manifest.to_string()).unwrap();
    planted
}

/// Archives in the store, from its folder on.
fn archives(lab: &Lab) -> Vec<String> {
    let found = Command::new("find").arg(lab.store()).args(["-name", "*.kuma.tar.zst*", "-printf", "%P\n"]).output();
    let found = String::from_utf8(found.unwrap().stdout).unwrap();
    found.lines().filter(|line| !line.ends_with(".json")).map(str::to_owned).collect()
}

#[test]
fn a_planted_copy_leads_out_of_no_folder_and_is_packed_as_no_backup() {
    let (lab, real) = with_one();
    fs::write(real.parent().unwrap().join("evil"), "planted").unwrap();
    let planted = [
        plant(&real, "20300101T000000Z-00000001", |it| {
            (it["id"], it["members"][0]["name"]) = ("00000001".into(), "../evil".into());
        }),
        plant(&real, "20300101T000000Z-00000002", |it| it["id"] = "../../../../evil".into()),
        plant(&real, "20300101T000000Z-00000003", |it| {
            (it["id"], it["undo"]) = ("00000003".into(), false.into());
        }),
        plant(&real, "20300101T000000Z-00000004", |it| {
            (it["id"], it["created"]) = ("00000004".into(), "2099-01-01T00:00:00Z".into());
        }),
        plant(&real, "20300101T000000Z-00000005", |it| {
            (it["id"], it["members"][0]["name"]) = ("00000005".into(), "passwd".into());
        }),
    ];
    // A member that is a link to somebody else's file, and one that is a FIFO.
    let linked = plant(&real, "20300101T000000Z-00000006", |it| it["id"] = "00000006".into());
    fs::rename(linked.join("kuma.db"), lab.root.path().join("outside.db")).unwrap();
    symlink(lab.root.path().join("outside.db"), linked.join("kuma.db")).unwrap();
    let piped = plant(&real, "20300101T000000Z-00000007", |it| it["id"] = "00000007".into());
    fs::remove_file(piped.join("kuma.db")).unwrap();
    assert!(Command::new("mkfifo").arg(piped.join("kuma.db")).status().unwrap().success());
    for name in ["00000006", "00000007"] {
        let refused = lab.run(&format!("undo {name} --dry-run"));
        assert!(refused.exit != 0 && refused.err.contains("kuma.db"), "{}", refused.err);
    }
    for path in [&linked, &piped] {
        fs::remove_dir_all(path).unwrap();
    }
    let ids: Vec<String> = listed(&lab).into_iter().map(|one| one.manifest.id).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert!(lab.ok("undo --dry-run").contains("- monitor `Kept`\n"));
    // It goes into the folder of its own instance, whatever it calls itself.
    let path = real.join("manifest.json");
    let mut manifest: Json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["instance"] = "other".into();
    fs::write(&path, manifest.to_string()).unwrap();
    assert_eq!(lab.json("recover")["snapshots"], json!(ids));
    let packed = archives(&lab);
    assert!(packed.len() == 1 && packed[0].starts_with("data/"), "{packed:?}");
    assert!(planted.iter().all(|path| path.exists()));
}

#[test]
fn kept_copies_are_reached_through_no_link_and_the_copy_stays_beside_it() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok("monitor add group --name A");
    let outside = lab.root.path().join("outside");
    for n in 0..4 {
        fs::create_dir_all(outside.join(format!("2020010{n}T000000Z-0000000a"))).unwrap();
    }
    let count = |folder: &Path| fs::read_dir(folder).unwrap().count();
    symlink(&outside, work(&lab).join("kept")).unwrap();
    let outcome = add_kept(&lab, "B", &|| {});
    let aside = only(&lab);
    assert!(outcome.warnings.iter().any(|one| one.contains("/.kumadb/kept-20")), "{:?}", outcome.warnings);
    assert_eq!(fs::read_to_string(aside.join("recipients.json")).unwrap(), "[]");
    assert!(lab.ok("undo --dry-run").contains("- monitor `B`\n"));
    // The next write goes on, and packs it.
    let next = lab.run("monitor add group --name C");
    assert_eq!(next.exit, 3, "{}", next.err);
    assert!(next.err.contains("/kept` was not created by kumadb"), "{}", next.err);
    assert_eq!((archives(&lab).len(), listed(&lab).len(), count(&outside)), (3, 0, 4));
}

#[test]
fn a_copy_that_can_be_neither_packed_nor_kept_is_not_removed_and_blocks_nothing() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok("monitor add group --name A");
    // As on a full disk: no file can be made, a name can be changed.
    let blocked = || fs::create_dir_all(work(&lab).join("held/recipients.json")).unwrap();
    let killed = lab.root.path().join("killed");
    let outcome = add_kept(&lab, "B", &|| {
        blocked();
        copy_all(&work(&lab), &killed);
    });
    assert!(outcome.warnings[0].contains("it is pending in `"), "{:?}", outcome.warnings);
    assert!(!work(&lab).join("journal.json").exists());
    // Killed there, the next write ends it in the same way.
    fs::remove_dir_all(work(&lab)).unwrap();
    copy_all(&killed, &work(&lab));
    let next = lab.run("monitor add group --name C");
    assert_eq!(next.exit, 3, "{}", next.err);
    assert!(next.err.contains("pending snapshot `"), "{}", next.err);
    only(&lab);
    lab.fails(3, "undo --yes");
    assert!(lab.ok("undo --dry-run").contains("- monitor `B`\n"));
}

#[test]
fn a_pending_snapshot_is_not_encrypted_to_recipients_that_only_the_data_folder_names() {
    let (lab, real) = with_one();
    let list = real.join("recipients.json");
    assert_eq!(fs::read_to_string(&list).unwrap(), "[]");
    fs::remove_file(&list).unwrap();
    let unnamed = lab.fails(9, "recover");
    assert!(unnamed.err.contains("does not know whether the snapshot must be encrypted"), "{}", unnamed.err);
    let foreign = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    fs::write(&list, json!([foreign]).to_string()).unwrap();
    let refused = lab.fails(9, "recover");
    assert!(refused.err.contains("no recipient is configured"), "{}", refused.err);
    assert_eq!(archives(&lab), Vec::<String>::new());
    let recipients = lab.root.path().join("recipients");
    fs::write(&recipients, recipient()).unwrap();
    let mut resume = lab.bare();
    let ran = Ran::of(resume.args(["-t", &lab.target, "recover"]).env("KUMADB_RECIPIENTS_FILE", &recipients));
    assert_eq!(ran.exit, 3, "{}", ran.err);
    assert!(ran.err.contains(&format!("encrypted without {foreign}")), "{}", ran.err);
    let packed = archives(&lab);
    assert!(packed.len() == 1 && packed[0].ends_with(".age"), "{packed:?}");
}

#[test]
fn a_spoilt_copy_does_not_hold_up_those_after_it() {
    let (lab, spoilt) = with_one();
    // The copy that is undone last was made first.
    fs::write(spoilt.join("kuma.db"), "spoilt").unwrap();
    let next = plant(&spoilt, "20300101T000000Z-00000001", |it| it["id"] = "00000001".into());
    fs::copy(lab.folder().join("kuma.db"), next.join("kuma.db")).unwrap();
    let (hash, size) = kumadb::files::hash(&next.join("kuma.db")).unwrap();
    let path = next.join("manifest.json");
    let mut manifest: Json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let at = manifest["members"].as_array().unwrap().iter().position(|one| one["name"] == "kuma.db").unwrap();
    manifest["members"][at] = json!({"name": "kuma.db", "size": size, "blake3": hash});
    manifest["created"] = json!(chrono::Utc::now());
    fs::write(&path, manifest.to_string()).unwrap();
    let ran = lab.fails(3, "recover");
    assert!(
        ran.err.contains(&format!("`{}/kuma.db` was changed after it was written", spoilt.display())),
        "{}",
        ran.err
    );
    assert!(ran.out.contains("00000001"), "{}", ran.out);
    assert_eq!(only(&lab), spoilt);
}

#[test]
fn what_was_just_made_stays_when_the_clock_was_set_back() {
    let lab = Lab::sqlite("2.5.3");
    let config = lab.root.path().join("kumadb.toml");
    fs::write(&config, "[undo]\nkeep_last = 1\nmax_count = 1\n").unwrap();
    lab.ok("monitor add group --name A");
    let beside = lab.store().join(format!("{}.json", archives(&lab)[0]));
    let mut manifest: Json = serde_json::from_slice(&fs::read(&beside).unwrap()).unwrap();
    manifest["created"] = "2099-01-01T00:00:00Z".into();
    fs::write(&beside, manifest.to_string()).unwrap();
    let added = lab.json(&format!("monitor add group --name B --config {}", config.display()));
    let ids: Vec<Json> = lab.json("backup list --undo")["snapshots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["manifest"]["id"].clone())
        .collect();
    assert!(ids.contains(&added["snapshot"]), "{ids:?}: {added:#}");
    for n in 1..4 {
        fs::create_dir_all(work(&lab).join(format!("kept/2099010{n}T000000Z-0000000a"))).unwrap();
    }
    add_kept(&lab, "C", &|| {});
    only(&lab);
    assert_eq!(fs::read_dir(work(&lab).join("kept")).unwrap().count(), 3);
}
