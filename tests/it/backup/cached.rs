//! Manifests of a store elsewhere, which are read once.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::Value as Json;

use crate::backup::stores::{Away, json};
use crate::support::lab::Lab;

/// Ids that `backup list` shows, and how many manifests it asked the store for.
fn list(away: &Away) -> (Vec<String>, usize) {
    away.cloud.shelf().log.clear();
    // An exit code of its own says that one cannot be read.
    let ran = away.away("backup list --json");
    let listed: Json = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}{}", ran.out, ran.err));
    let ids =
        listed["snapshots"].as_array().unwrap().iter().map(|one| one["manifest"]["id"].as_str().unwrap().to_owned());
    let asked = |line: &&String| line.starts_with("GET") && line.ends_with(".json");
    (ids.collect(), away.cloud.shelf().log.iter().filter(asked).count())
}

/// The one file of the cache.
fn file(away: &Away) -> PathBuf {
    let folder = away.lab.root.path().join("cache/kumadb/manifests");
    let files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    files[0].clone()
}

#[test]
fn a_manifest_is_read_once() {
    let away = Away::new(Lab::sqlite("2.5.3"), "s3");
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(json(&away.away("backup create --json"))["manifest"]["id"].as_str().unwrap().to_owned());
    }
    list(&away);
    assert_eq!(list(&away), (made.clone(), 0));
    assert_eq!(fs::metadata(file(&away)).unwrap().permissions().mode() & 0o777, 0o600);
    // A new one alone.
    made.push(json(&away.away("backup create --json"))["manifest"]["id"].as_str().unwrap().to_owned());
    assert_eq!(list(&away), (made.clone(), 1));
    // One that was changed, and one that is no manifest any more, whenever it is listed.
    let manifest = |id: &str| {
        let is_its = |name: &String| name.contains(id) && name.ends_with(".json");
        away.cloud.names().into_iter().find(is_its).unwrap()
    };
    let changed = manifest(&made[1]);
    let text = String::from_utf8(away.cloud.shelf().objects[&changed].clone()).unwrap();
    away.cloud.shelf().objects.insert(changed, text.replace(&made[1], "01234567").into_bytes());
    made[1] = "01234567".into();
    assert_eq!(list(&away), (made.clone(), 1));
    let broken = manifest(&made[0]);
    away.cloud.shelf().objects.insert(broken.clone(), b"<html>".to_vec());
    for _ in 0..2 {
        assert_eq!(list(&away), (made[1..].to_vec(), 1));
    }
    // What is gone is gone, and is not cached any more.
    away.cloud.shelf().objects.retain(|name, _| !name.starts_with(broken.trim_end_matches(".json")));
    assert_eq!(list(&away), (made[1..].to_vec(), 0));
    assert!(!fs::read_to_string(file(&away)).unwrap().contains(&made[0]));
}

#[test]
fn a_cache_that_is_damaged_or_of_another_user_is_not_believed() {
    let away = Away::new(Lab::sqlite("2.5.3"), "s3");
    let made = json(&away.away("backup create --json"))["manifest"]["id"].as_str().unwrap().to_owned();
    list(&away);
    let (file, expected) = (file(&away), vec![made.clone()]);
    let whole = fs::read_to_string(&file).unwrap();
    for content in ["", "[]", "{}", &whole[..whole.len() / 2], &whole.replace("text", "texts")] {
        fs::write(&file, content).unwrap();
        assert_eq!(list(&away), (expected.clone(), 1), "{content}");
        assert_eq!(list(&away), (expected.clone(), 0), "{content}");
    }
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // A forged one in a folder that another user can write to.
    let folder = file.parent().unwrap();
    fs::write(&file, whole.replace(&made, "forged")).unwrap();
    std::os::unix::fs::chown(folder, Some(65534), Some(65534)).unwrap();
    assert_eq!(list(&away), (expected.clone(), 1));
    std::os::unix::fs::chown(folder, Some(0), Some(0)).unwrap();
    // A folder that everybody can write to.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(&file, whole.replace(&made, "forged")).unwrap();
    assert_eq!(list(&away), (expected.clone(), 1));
    // One where nothing can be made.
    fs::remove_dir_all(folder).unwrap();
    fs::write(folder, "a file").unwrap();
    assert_eq!(list(&away), (expected, 1));
}
