//! What earlier versions stored stays readable for good. `fixtures/archives` has it, a folder for each version; its files are never
//! made again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kumadb::schedule::JobState;

use crate::backup::encrypted::identity;
use crate::support::lab::{Lab, Ran};
use crate::support::need;

/// The folders of the versions.
fn versions() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/archives");
    let mut found: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert_eq!(found[0].file_name().unwrap(), "0.1");
    found
}

/// The archives below `store`.
fn archives(store: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(store).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    let mut found: Vec<PathBuf> = files.filter(|path| !path.to_string_lossy().ends_with(".json")).collect();
    found.sort();
    found
}

/// A copy of `folder`, because commands may write beside what they read.
fn copied(folder: &Path, to: PathBuf) -> PathBuf {
    assert!(Command::new("cp").arg("-r").arg(folder).arg(&to).status().unwrap().success());
    to
}

#[test]
fn snapshots_of_every_version_are_verified_and_restored() {
    if need::mariadb().is_none() {
        return;
    }
    for version in versions() {
        let lab = Lab::sqlite("2.5.3");
        let key = identity(&lab);
        let store = copied(&version.join("store"), lab.root.path().join("earlier"));
        let run = |args: &[&str]| {
            let mut command = lab.bare();
            Ran::of(command.arg("--store").arg(&store).args(args).arg("--identity").arg(&key))
        };
        let all = archives(&store);
        assert!(all.len() >= 5, "{all:?}");
        let mut seen = [false; 4];
        for (n, archive) in all.iter().enumerate() {
            let path = archive.to_str().unwrap();
            let shown = run(&["backup", "show", path, "--json"]);
            assert_eq!(shown.exit, 0, "{path}: {shown:?}");
            let is_mariadb = shown.out.contains("\"engine\": \"mariadb\"");
            seen[usize::from(is_mariadb)] = true;
            seen[2] |= path.ends_with(".age");
            seen[3] |= shown.out.contains("\"reason\": \"monitor add\"");
            let verified = run(&["backup", "verify", "--restore-test", path]);
            assert_eq!(verified.exit, 0, "{path}: {verified:?}");
            // An undo snapshot is from before its change.
            let to = format!("./copy-{n}");
            let restored = run(&["restore", path, "--to", &to, "--engine", "sqlite", "--owner", "0:0", "--yes"]);
            assert_eq!(restored.exit, 0, "{path}: {restored:?}");
            let listed = Ran::of(lab.bare().args(["-t", &to, "monitor", "list"]));
            assert_eq!(listed.exit, 0, "{path}: {listed:?}");
            let is_first_undo = !shown.out.contains("\"reason\": \"backup");
            assert!(is_first_undo || listed.out.contains("Shop"), "{path}: {listed:?}");
        }
        assert_eq!(seen, [true; 4], "SQLite, MariaDB, encrypted, undo");
    }
}

#[test]
fn the_state_of_jobs_of_every_version_is_read() {
    for version in versions() {
        let place = tempfile::tempdir().unwrap();
        let state = copied(&version.join("state"), place.path().join("state"));
        let now = "2026-12-01T00:00:00Z".parse().unwrap();
        let state = JobState::open(&state.join("kumadb/jobs"), "nightly", now).unwrap();
        assert_eq!(state.note.runs, 1, "{}", version.display());
    }
}
