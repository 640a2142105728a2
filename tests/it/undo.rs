//! Undo snapshots: a class of their own, bounded, and never in the way.

use chrono::{DateTime, TimeDelta, Utc};
use kumadb::backup::Manifest;
use kumadb::backup::undo::{Bounds, Entry, next, parse_age, parse_size};

use crate::lab::Lab;

fn manifest(id: &str, minutes: i64, undoes: Option<&str>) -> Manifest {
    let created = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::minutes(minutes);
    let made = serde_json::json!({
        "format": 1, "id": id, "created": created, "made_by": "test", "reason": "test", "instance": "kuma",
        "origin": "/data", "engine": "sqlite", "release": "2.5.3", "migrations": [], "counts": {}, "members": [],
        "verified": ["hash"], "undo": true, "undoes": undoes,
    });
    serde_json::from_value(made).unwrap()
}

#[test]
fn undo_after_undo_goes_back_step_by_step_and_a_redo_forward() {
    let mut all = vec![manifest("a", 0, None), manifest("b", 1, None), manifest("c", 2, None)];
    let next_of = |all: &[Manifest]| next(&all.iter().collect::<Vec<_>>()).map(|one| one.id.clone());
    for (made, undone, then) in
        [("u", "c", Some("b")), ("v", "b", Some("a")), ("r", "v", Some("b")), ("w", "a", None), ("x", "w", Some("b"))]
    {
        all.push(manifest(made, all.len() as i64, Some(undone)));
        assert_eq!(next_of(&all).as_deref(), then, "after {made} has undone {undone}");
    }
    // A write after an undo is the next to be undone.
    all.push(manifest("d", 9, None));
    assert_eq!(next_of(&all).as_deref(), Some("d"));
    assert_eq!(next_of(&[]), None);
}

#[test]
fn the_bounds_keep_the_newest_and_a_base_whatever_they_say() {
    let now = Utc::now();
    let entry = |hours: i64, size: u64, whole: bool| Entry { created: now - TimeDelta::hours(hours), size, whole };
    let kept = |bounds: Bounds, all: &[Entry]| -> Vec<usize> {
        let judged = bounds.judge(all, now);
        (0..all.len()).filter(|n| judged[*n].is_some()).collect()
    };
    let bounds = Bounds { keep_last: 2, max_count: 4, max_age: 24, max_size: 100 };
    let small: Vec<Entry> = (0..6).map(|n| entry(n, 1, true)).collect();
    assert_eq!(kept(bounds, &small), [0, 1, 2, 3]);
    let old: Vec<Entry> = (0..6).map(|n| entry(n * 20, 1, true)).collect();
    assert_eq!(kept(bounds, &old), [0, 1], "one of 40 hours is too old, those before stay");
    let large: Vec<Entry> = (0..6).map(|n| entry(n, 45, true)).collect();
    assert_eq!(kept(bounds, &large), [0, 1]);
    assert_eq!(kept(bounds, &[entry(1, 900, true), entry(2, 900, true), entry(3, 1, true)]), [0, 1]);
    let parts: Vec<Entry> = (0..7).map(|n| entry(n, 1, n == 6)).collect();
    assert_eq!(kept(bounds, &parts), [0, 1, 2, 3, 6], "the others rely on the whole one");
    let default = Bounds::default();
    assert_eq!((default.keep_last, default.max_count, default.max_age, default.max_size), (3, 50, 720, 1 << 30));
    assert_eq!((parse_age("30d"), parse_age("1d12h")), (Ok(720), Ok(36)));
    assert_eq!((parse_size("500MB"), parse_size("1GiB"), parse_size("7")), (Ok(500_000_000), Ok(1 << 30), Ok(7)));
    assert!(parse_size("1 potato").is_err() && parse_age("soon").is_err());
}

#[test]
fn a_policy_neither_counts_nor_removes_undo_snapshots() {
    let lab = Lab::sqlite("2.5.3");
    let config = lab.root.path().join("kumadb.toml");
    let text = format!(
        "[undo]\nkeep_last = 1\nmax_count = 2\n[stores.s]\naddress = '{}'\n[instances.i]\ntarget = '{}'\n\
         [policies.p]\nkeep_last = 1\n[jobs.j]\ncron = '@daily'\ninstances = ['i']\nstores = ['s']\nretention = 'p'\n",
        lab.store().display(),
        lab.target
    );
    std::fs::write(&config, text).unwrap();
    let count = |line: &str| lab.json(line)["snapshots"].as_array().unwrap().len();
    lab.ok("backup create");
    for name in ["A", "B", "C"] {
        lab.ok(&format!("monitor add group --name {name}"));
    }
    let job = format!("backup schedule --once j --config {}", config.display());
    lab.ok(&job);
    assert_eq!((count("backup list"), count("backup list --undo")), (1, 3), "one backup is kept, the newest");
    let backup = lab.json("backup list")["snapshots"][0]["manifest"]["id"].as_str().unwrap().to_owned();
    lab.ok("monitor add group --name D");
    assert_eq!(lab.json("backup prune --keep-last 1 --yes")["removed"], 0);
    // The newest backup and not what a write has made since.
    assert_eq!(lab.json("backup show latest")["manifest"]["id"], backup.as_str());
    let shown = lab.ok("backup list");
    assert!(shown.ends_with("4 undo snapshots are not shown: kumadb backup list --undo\n"), "{shown}");
    let pruned = lab.json(&format!("backup prune --undo --yes --config {}", config.display()));
    assert_eq!((&pruned["removed"], count("backup list --undo")), (&2.into(), 2), "{pruned:#}");
    assert_eq!(lab.json("backup prune --undo --keep-last 1 --yes")["removed"], 1);
    assert_eq!((count("backup list"), count("backup list --undo")), (1, 1));
    // Without a backup, `latest` is the newest undo snapshot.
    std::fs::write(&config, "[undo]\nmax_count = 0\n").unwrap();
    let wrong = lab.fails(2, &format!("config check --config {}", config.display()));
    assert!(wrong.err.contains("`max_count` must be a number from 1 on"), "{}", wrong.err);
}
