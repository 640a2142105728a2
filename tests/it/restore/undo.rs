//! Undo snapshots: a class of their own, bounded, and never in the way.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use chrono::{DateTime, TimeDelta, Utc};
use kumadb::backup::undo::{Bounds, next, parse_age, parse_size};
use kumadb::backup::{Manifest, Store};
use kumadb::error::Result;
use kumadb::model::{NewMonitorContext, new_monitor};
use kumadb::operation::{self, Load, Observer, Outcome, Settings, Step, Transaction};
use kumadb::plan::monitor::{New, Notify, plan_add};
use kumadb::value::Value;

use crate::support::lab::{Lab, instance_at};

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
    let next_of = |all: &[Manifest]| next(&all.iter().collect::<Vec<_>>()).map(|at| all[at].id.clone());
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
    let entry = |hours: i64, size: u64, whole: bool| {
        let made = Manifest { created: now - TimeDelta::hours(hours), ..manifest("a", 0, None) };
        (Manifest { without: if whole { Vec::new() } else { vec!["heartbeat".into()] }, ..made }, size)
    };
    // Newest first.
    let kept = |bounds: Bounds, all: &[(Manifest, u64)]| -> Vec<usize> {
        let sized: Vec<(&Manifest, u64)> = all.iter().rev().map(|(manifest, size)| (manifest, *size)).collect();
        let mut judged = bounds.judge(&sized, now);
        judged.reverse();
        (0..all.len()).filter(|n| judged[*n].is_some()).collect()
    };
    let bounds = Bounds { keep_last: 2, max_count: 4, max_age: 24, max_size: 100 };
    let small: Vec<(Manifest, u64)> = (0..6).map(|n| entry(n, 1, true)).collect();
    assert_eq!(kept(bounds, &small), [0, 1, 2, 3]);
    let old: Vec<(Manifest, u64)> = (0..6).map(|n| entry(n * 20, 1, true)).collect();
    assert_eq!(kept(bounds, &old), [0, 1], "one of 40 hours is too old, those before stay");
    let large: Vec<(Manifest, u64)> = (0..6).map(|n| entry(n, 45, true)).collect();
    assert_eq!(kept(bounds, &large), [0, 1]);
    assert_eq!(kept(bounds, &[entry(1, 900, true), entry(2, 900, true), entry(3, 1, true)]), [0, 1]);
    let parts: Vec<(Manifest, u64)> = (0..7).map(|n| entry(n, 1, n == 6)).collect();
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
    assert_eq!(lab.json("backup prune --keep-last 1 --yes")["deleted"], 0);
    // The newest backup and not what a write has made since.
    assert_eq!(lab.json("backup show latest")["manifest"]["id"], backup.as_str());
    let shown = lab.ok("backup list");
    assert!(shown.ends_with("4 undo snapshots not shown; to list them: kumadb backup list --undo\n"), "{shown}");
    let pruned = lab.json(&format!("backup prune --undo --yes --config {}", config.display()));
    assert_eq!((&pruned["deleted"], count("backup list --undo")), (&2.into(), 2), "{pruned:#}");
    assert_eq!(lab.json("backup prune --undo --keep-last 1 --yes")["deleted"], 1);
    assert_eq!((count("backup list"), count("backup list --undo")), (1, 1));
    // Without a backup, `latest` is the newest undo snapshot.
    std::fs::write(&config, "[undo]\nmax_count = 0\n").unwrap();
    let wrong = lab.fails(2, &format!("config check --config {}", config.display()));
    assert!(wrong.err.contains("`max_count` must be a number of at least 1"), "{}", wrong.err);
}

/// Everything that a person configured.
fn configuration(lab: &Lab) -> String {
    lab.ok("export --secrets")
}

/// Gives the monitor called `name` so many heartbeats, on a day of November.
fn beat(lab: &Lab, name: &str, count: usize, day: u32) {
    let values: Vec<String> = (0..count)
        .map(|n| {
            format!(
                "(1, (SELECT id FROM monitor WHERE name = '{name}'), 1, 'ok', '2026-11-{day:02} 10:00:{n:02}', 60, 0)"
            )
        })
        .collect();
    let values = values.join(", ");
    lab.sql(&format!(
        "INSERT INTO heartbeat (important, monitor_id, status, msg, time, duration, down_count) VALUES {values}"
    ));
}

fn beats(lab: &Lab) -> u64 {
    lab.sql("SELECT count(*) FROM heartbeat").trim().parse().unwrap()
}

#[test]
fn undo_restores_the_configuration_and_keeps_the_heartbeats_since() {
    for lab in Lab::both("2.5.3") {
        lab.ok(
            "monitor add http --name Shop --url https://ann:old-secret@shop.example.com --basic-auth-pass old-secret",
        );
        let first = configuration(&lab);
        let url = "-s url=https://ann:new-secret@shop.example.com";
        let edited = lab.run(&format!("monitor edit Shop -s interval=30 {url} -s basic_auth_pass=new-secret"));
        let listed = format!("{}{}", lab.ok("monitor list --format wide"), lab.ok("monitor show Shop"));
        assert!(listed.contains("https://***@shop.example.com"), "{listed}");
        assert!(!format!("{edited:?}{listed}").contains("-secret"), "{edited:?}{listed}");
        let second = configuration(&lab);
        lab.ok("monitor add group --name Later");
        beat(&lab, "Shop", 5, 20);
        beat(&lab, "Later", 2, 20);
        let shown = lab.ok("undo --dry-run");
        assert!(shown.contains("- monitor `Later`\n"), "{shown}");
        assert!(shown.contains("2 heartbeats of deleted monitors will be lost"), "{shown}");
        lab.fails(9, "undo");
        let undone = lab.json("undo --yes");
        assert_eq!((&undone["verb"], configuration(&lab)), (&"monitor add".into(), second.clone()), "{undone:#}");
        assert_eq!(beats(&lab), 5, "{}", lab.engine());
        let shown = lab.run("undo --yes");
        assert!(shown.err.contains("~ monitor `Shop`: interval 30 → 60\n"), "{}", shown.err);
        assert!(shown.err.contains("basic_auth_pass (secret, changed)"), "{}", shown.err);
        assert!(shown.err.contains("~ monitor `Shop`: url (secret, changed)\n"), "{}", shown.err);
        assert!(!format!("{shown:?}").contains("-secret"), "{shown:?}");
        assert_eq!((configuration(&lab), beats(&lab)), (first, 5), "two steps back");
        // What it printed leads forward again.
        let redo = shown.out.lines().find_map(|line| line.strip_prefix("to redo: kumadb ")).unwrap();
        lab.ok(&format!("{redo} --yes"));
        assert_eq!((configuration(&lab), beats(&lab)), (second.clone(), 5), "{}", lab.engine());
        // A restore shows the same before its question.
        lab.ok("backup create");
        lab.ok("monitor edit Shop -s interval=45");
        let restored = lab.run("restore latest --dry-run");
        assert!(restored.out.contains("~ monitor `Shop`: interval 45 → 30\n"), "{}", restored.out);
        assert!(restored.err.contains("to undo only that: kumadb undo"), "{}", restored.err);
        lab.fails(8, "undo 0000nope --yes");
    }
}

#[test]
fn undo_brings_back_deleted_heartbeats_beside_the_newer_ones() {
    for lab in Lab::both("2.5.3") {
        lab.ok("monitor add group --name Old");
        lab.ok("monitor add group --name Stays");
        beat(&lab, "Old", 30, 10);
        beat(&lab, "Stays", 4, 10);
        lab.ok("monitor delete Old --yes");
        beat(&lab, "Stays", 3, 20);
        assert_eq!(beats(&lab), 7);
        let shown = lab.ok("undo --dry-run");
        assert!(shown.contains("+ monitor `Old`\n"), "{shown}");
        assert!(shown.contains("30 rows of `heartbeat` will be restored; newer rows stay"), "{shown}");
        let undone = lab.json("undo --yes");
        assert_eq!((&undone["history_rows"]["heartbeat"], beats(&lab)), (&30.into(), 37), "{}", lab.engine());
        let each =
            "SELECT name, count(*) FROM heartbeat JOIN monitor ON monitor.id = monitor_id GROUP BY name ORDER BY name";
        assert_eq!(lab.sql(each).replace('|', "\t"), "Old\t30\nStays\t7\n");
        // Heartbeats that were pruned come back too.
        lab.ok("history prune --keep 5 --keep-newest 1 --yes");
        let left = beats(&lab);
        assert!(left < 37, "{left}");
        lab.ok("undo --yes");
        assert_eq!(beats(&lab), 37, "{}", lab.engine());
    }
}

/// Makes the history longer than a change of the configuration is packed with.
fn grow(lab: &Lab) {
    let text = "x".repeat(3_300);
    let rows = match lab.engine() {
        "SQLite" => {
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000) SELECT 0, 1, 1, i, \
             '2026-11-01 00:00:00', 60, 0 FROM n"
        }
        _ => "SELECT 0, 1, 1, seq, '2026-11-01 00:00:00', 60, 0 FROM seq_1_to_6000",
    };
    let rows = rows.replace("1, 1, i,", &format!("1, 1, '{text}',")).replace("1, 1, seq,", &format!("1, 1, '{text}',"));
    lab.sql(&format!("INSERT INTO heartbeat (important, monitor_id, status, msg, time, duration, down_count) {rows}"));
}

#[test]
fn a_small_change_of_a_large_database_is_undone_by_a_small_snapshot() {
    for lab in Lab::both("2.5.3") {
        lab.ok("monitor add group --name A");
        grow(&lab);
        lab.ok("monitor add group --name B");
        let before = configuration(&lab);
        lab.ok("monitor add group --name C");
        lab.ok("monitor add group --name D");
        let listed = lab.json("backup list --undo");
        let without: Vec<bool> =
            listed["snapshots"].as_array().unwrap().iter().map(|one| one["manifest"]["without"].is_array()).collect();
        // The first of the large database is whole, because the one before it is of 24 h and small, and counts as a base.
        assert_eq!(without, [false, true, true, true], "{}: {listed:#}", lab.engine());
        lab.ok("backup verify");
        lab.ok("undo --yes");
        lab.ok("undo --yes");
        assert_eq!(configuration(&lab), before, "{}", lab.engine());
        assert_eq!(beats(&lab), 6_000);
        // What deletes history is held whole.
        lab.ok("monitor delete A --yes");
        assert_eq!(beats(&lab), 0);
        let part = listed["snapshots"][2]["manifest"]["id"].as_str().unwrap();
        let shown = lab.run(&format!("undo {part} --dry-run"));
        let lost = "contains only the configuration: changes to the history by `monitor delete` are not rolled back";
        assert!(shown.err.contains(lost), "{}", shown.err);
        lab.ok("undo --yes");
        assert_eq!((configuration(&lab), beats(&lab)), (before, 6_000), "{}", lab.engine());
    }
}

/// Does something with the folders of a lab just before the undo snapshot is packed.
struct AtPack<'a>(&'a dyn Fn());

impl Observer for AtPack<'_> {
    fn step(&mut self, step: &Step) -> Result<()> {
        if *step == Step::Pack {
            (self.0)();
        }
        Ok(())
    }
}

/// Adds the group `name`, and does `spoil` just before the undo snapshot is packed.
pub fn add_group(lab: &Lab, name: &str, spoil: &dyn Fn()) -> Outcome {
    let instance = instance_at(&lab.target, lab.root.path(), lab.root.path().join("state/kumadb/instances"));
    let mut reader = instance.connect().unwrap().reader().unwrap();
    let state = kumadb::kuma::read::read_state(&mut *reader, "test").unwrap();
    let table = state.database.schema.table("monitor").unwrap();
    let typed = BTreeMap::from([("name".to_owned(), Value::from(name))]);
    let by = NewMonitorContext { user_id: state.owner().unwrap(), ..NewMonitorContext::default() };
    let row = new_monitor(state.database.release.release, table, "group", &typed, &by).unwrap();
    let monitor = New { row, tags: Vec::new(), notify: Notify::Defaults };
    let plan = plan_add(&state, &[monitor], false).unwrap();
    drop(reader);
    let settings = Settings::new("monitor add");
    operation::run(&instance, &Store::new(lab.store()), Transaction::Plan(&plan), &settings, &mut AtPack(spoil))
        .unwrap()
}

pub fn work(lab: &Lab) -> std::path::PathBuf {
    instance_at(&lab.target, lab.root.path(), lab.root.path().join("state/kumadb/instances")).work().to_owned()
}

#[test]
fn a_store_that_is_gone_at_the_end_blocks_nothing() {
    for lab in Lab::both("2.5.3") {
        lab.ok("monitor add group --name A");
        let before = configuration(&lab);
        let aside = lab.root.path().join("aside");
        let spoil = || {
            fs::rename(lab.store(), &aside).unwrap();
            fs::write(lab.store(), "no folder").unwrap();
        };
        let restore = || {
            fs::remove_file(lab.store()).unwrap();
            fs::rename(&aside, lab.store()).unwrap();
        };
        let outcome = add_group(&lab, "B", &spoil);
        restore();
        assert_eq!(outcome.warnings.len(), 1, "{:?}", outcome.warnings);
        assert!(outcome.warnings[0].contains("it is pending in `"), "{:?}", outcome.warnings);
        assert!(!work(&lab).join("journal.json").exists());
        let listed = lab.json("backup list --undo");
        let kept = &listed["pending"][0];
        assert_eq!(
            (&kept["manifest"]["reason"], listed["snapshots"].as_array().unwrap().len()),
            (&"monitor add".into(), 1)
        );
        // It is an undo snapshot like any other, where it lies.
        assert!(lab.ok("undo --dry-run").contains("- monitor `B`\n"));
        lab.ok("undo --yes");
        assert_eq!(configuration(&lab), before, "{}", lab.engine());
        let listed = lab.json("backup list --undo");
        assert_eq!(
            (listed["pending"].as_array().unwrap().len(), listed["snapshots"].as_array().unwrap().len()),
            (0, 3)
        );
        // The other two that put it into the store.
        for line in ["recover", "backup create"] {
            add_group(&lab, line, &spoil);
            restore();
            let ran = lab.json(line);
            assert!(line != "recover" || ran["ended"] == "stored", "{ran:#}");
            assert_eq!(lab.json("backup list --undo")["pending"].as_array().unwrap().len(), 0, "{line}");
        }
        assert_eq!(lab.json("backup list --undo")["snapshots"].as_array().unwrap().len(), 5);
        // No more than a few of them are kept.
        for n in 0..5 {
            let aside = aside.clone();
            add_group(&lab, &format!("N{n}"), &|| {
                fs::rename(lab.store(), &aside).unwrap();
                fs::write(lab.store(), "no folder").unwrap();
                fs::create_dir_all(work(&lab).join("kept/20200101T000000Z-0000000a")).unwrap();
            });
            restore();
        }
        assert!(fs::read_dir(work(&lab).join("kept")).unwrap().count() <= 3);
    }
}

/// Copies the folder `from` to `to`, which is not there.
fn copy_all(from: &Path, to: &Path) {
    assert!(Command::new("cp").args(["-a"]).arg(from).arg(to).status().unwrap().success());
}

#[test]
fn what_was_killed_while_packing_is_ended_by_the_next_write() {
    for lab in Lab::both("2.5.3") {
        lab.ok("monitor add group --name A");
        let copy = lab.root.path().join("killed");
        add_group(&lab, "B", &|| copy_all(&work(&lab), &copy));
        let packed = lab.newest_undo();
        // As if it had been killed there.
        fs::remove_dir_all(work(&lab)).unwrap();
        copy_all(&copy, &work(&lab));
        let status = lab.json("status");
        assert_eq!(status["interrupted"]["phase"], "seen", "{status:#}");
        lab.ok("monitor add group --name C");
        let listed = lab.json("backup list --undo");
        let ids: Vec<&str> =
            listed["snapshots"].as_array().unwrap().iter().map(|one| one["manifest"]["id"].as_str().unwrap()).collect();
        assert_eq!(
            (ids.len(), ids[1], listed["pending"].as_array().unwrap().len()),
            (3, packed.as_str(), 0),
            "{listed:#}"
        );
        assert!(lab.ok("undo --dry-run").contains("- monitor `C`\n"));
    }
}

#[test]
fn room_is_made_in_the_store_and_a_full_one_is_refused_before_anything_is_done() {
    let lab = Lab::sqlite("2.5.3");
    let disk = lab.store();
    fs::create_dir_all(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "none"]).arg(&disk).status().unwrap();
    if !mounted.success() {
        return crate::support::need::left_out("the right to mount a tmpfs").unwrap_or_default();
    }
    let unmount = || assert!(Command::new("umount").arg(&disk).status().unwrap().success());
    let fill = |bytes: usize| fs::write(disk.join("filler"), vec![1; bytes]).unwrap();
    let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        lab.ok("monitor add group --name First");
        let size = fs::metadata(lab.folder().join("kuma.db")).unwrap().len() as usize;
        // Room for little more than what a write wants to see.
        let archives = 120 << 10;
        fill((4 << 20) - (size / 2 + (1 << 20)) - archives);
        for n in 0..12 {
            lab.ok(&format!("monitor add group --name N{n}"));
        }
        let left = lab.json("backup list --undo")["snapshots"].as_array().unwrap().len();
        assert!((1..12).contains(&left), "{left}");
        assert!(lab.ok("undo --yes").starts_with("undone: `monitor add`"));
        assert_eq!(lab.sql("SELECT count(*) FROM monitor WHERE name = 'N11'"), "0\n");
        fill((4 << 20) - (900 << 10));
        let before = (lab.content(), lab.json("backup list --undo")["snapshots"].clone());
        let refused = lab.fails(9, "monitor add group --name Last");
        assert!(refused.err.contains("required for the undo snapshot"), "{}", refused.err);
        assert!(refused.err.contains("--store FOLDER"), "{}", refused.err);
        assert!((lab.content(), lab.json("backup list --undo")["snapshots"].clone()) == before, "{}", refused.err);
        assert!(!work(&lab).join("journal.json").exists());
    }));
    unmount();
    if let Err(panic) = tried {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn changes_of_heartbeats_by_sql_are_undone_and_not_the_change_before() {
    let changed = |lab: &Lab| {
        let listed = lab.json("backup list --undo");
        listed["snapshots"].as_array().unwrap().last().unwrap()["manifest"]["changed"].as_str().unwrap().to_owned()
    };
    for lab in Lab::both("2.5.3") {
        lab.ok("monitor add group --name Shop");
        beat(&lab, "Shop", 3, 10);
        let content = || {
            lab.sql("SELECT monitor.id, name, heartbeat.id, status, heartbeat.msg FROM monitor JOIN heartbeat ON monitor.id = monitor_id ORDER BY heartbeat.id")
        };
        let before = content();
        for sql in [
            "UPDATE heartbeat SET status = 0 WHERE status = 1",
            "INSERT INTO heartbeat (important, monitor_id, status, msg, time, duration) SELECT 0, monitor_id, 1, msg, \
             time, 0 FROM heartbeat",
            "UPDATE monitor SET id = 100 WHERE id = 1",
        ] {
            lab.ok(&format!("sql '{sql}' --write --yes"));
            assert_ne!(content(), before, "{}: {sql}", lab.engine());
            assert_eq!(changed(&lab), "all", "{}: {sql}", lab.engine());
            let shown = lab.ok("undo --dry-run");
            assert!(shown.contains("will be lost: the full database is restored"), "{sql}: {shown}");
            let undone = lab.json("undo --yes");
            assert_eq!((&undone["full"], content()), (&true.into(), before.clone()), "{}: {sql}", lab.engine());
        }
        // Rows that were only deleted come back among newer ones.
        lab.ok("sql 'DELETE FROM heartbeat WHERE status = 1' --write --yes");
        assert_eq!((changed(&lab), beats(&lab)), ("history".into(), 0), "{}", lab.engine());
        beat(&lab, "Shop", 2, 20);
        assert_eq!(lab.json("undo --yes")["full"], false);
        assert_eq!(beats(&lab), 5, "{}", lab.engine());
        // What no comparison of configurations shows is not passed over.
        lab.ok("sql 'UPDATE monitor SET manual_status = 1' --write --yes");
        lab.ok("undo --yes");
        assert_eq!(lab.sql("SELECT count(*) FROM monitor WHERE manual_status = 1"), "0\n", "{}", lab.engine());
        assert_eq!(beats(&lab), 5, "{}", lab.engine());
        if lab.engine() == "MariaDB" {
            // What a server does at the same time is not told from what the script does.
            lab.ok("sql 'UPDATE monitor SET description = name' --write --live --yes");
            assert_eq!(changed(&lab), "history");
        }
        // The first change and all since: the history goes along.
        lab.ok("monitor edit Shop -s interval=30");
        let edit = lab.newest_undo();
        lab.ok("history prune --keep 1 --keep-newest 1 --yes");
        assert!(beats(&lab) < 5, "{}", lab.engine());
        lab.ok(&format!("undo {edit} --yes"));
        assert_eq!(beats(&lab), 5, "{}", lab.engine());
    }
}

#[test]
fn a_restore_replaces_files_only_where_an_undo_brings_them_back() {
    let lab = Lab::sqlite("2.5.3");
    let icon = lab.folder().join("upload/logo.png");
    fs::create_dir_all(icon.parent().unwrap()).unwrap();
    fs::write(&icon, "old").unwrap();
    lab.ok("backup create");
    fs::write(&icon, "new").unwrap();
    assert_eq!(lab.json("restore latest --config-only --yes")["files"], serde_json::json!([]));
    assert_eq!(fs::read(&icon).unwrap(), b"new");
    lab.ok("restore latest --yes");
    assert_eq!(fs::read(&icon).unwrap(), b"old");
    lab.ok("undo --yes");
    assert_eq!(fs::read(&icon).unwrap(), b"new");
    // The store failed, so nothing has a copy of what is there.
    let snapshots = Store::new(lab.store()).list().unwrap().snapshots;
    let staged = snapshots[0].unpack(&lab.root.path().join("held")).unwrap();
    let instance = instance_at(&lab.target, lab.root.path(), lab.root.path().join("state/kumadb/instances"));
    let mut outcome = Outcome::default();
    assert!(operation::put_files_back(&instance, &staged, &mut outcome).is_empty());
    assert_eq!(fs::read(&icon).unwrap(), b"new");
    assert!(outcome.warnings[0].starts_with("1 file of the snapshot was not restored"), "{:?}", outcome.warnings);
}

#[test]
fn undo_ends_the_write_that_was_cut_off_before_it_looks_for_the_newest() {
    for lab in Lab::both("2.5.3") {
        lab.ok("monitor add group --name A");
        let copy = lab.root.path().join("killed");
        add_group(&lab, "B", &|| copy_all(&work(&lab), &copy));
        let packed = Store::new(lab.store()).list().unwrap().snapshots.pop().unwrap();
        packed.remove().unwrap();
        fs::remove_dir_all(work(&lab)).unwrap();
        copy_all(&copy, &work(&lab));
        // As if it had been killed there.
        let refused = lab.fails(6, "undo --dry-run");
        assert!(refused.err.contains("kumadb recover"), "{}", refused.err);
        lab.ok("undo --yes");
        assert_eq!(lab.sql("SELECT name FROM monitor"), "A\n", "{}", lab.engine());
    }
}

#[test]
fn two_instances_at_one_place_do_not_share_bounds() {
    let lab = Lab::sqlite("2.5.3");
    let on = |name: &str, line: &str| {
        let config = lab.root.path().join(format!("{name}.toml"));
        let text = "[undo]\nkeep_last = 1\nmax_count = 1\n[instances.NAME]\ntarget = 'TARGET'\n";
        fs::write(&config, text.replace("NAME", name).replace("TARGET", &lab.target)).unwrap();
        lab.ok(&format!("{line} --config {}", config.display()));
    };
    let listed = || -> Vec<String> {
        let snapshots = Store::new(lab.store()).list().unwrap().snapshots;
        snapshots.into_iter().map(|one| one.manifest.instance).collect()
    };
    on("one", "monitor add group --name A");
    on("two", "monitor add group --name B");
    assert_eq!(listed(), ["one", "two"]);
    on("two", "monitor add group --name C");
    on("one", "backup prune --undo --yes");
    assert_eq!(listed(), ["one", "two"]);
}

/// A store that only knows manifests: what each undo snapshot would restore is a list of the writes that are in effect.
struct Model {
    bounds: Bounds,
    all: Vec<Manifest>,
    /// What was in effect before the write that made each of them.
    before: BTreeMap<String, Vec<usize>>,
    now: Vec<usize>,
    writes: usize,
}

impl Model {
    fn new(max_count: u64) -> Model {
        let bounds = Bounds { keep_last: 1, max_count, ..Bounds::default() };
        Model { bounds, all: Vec::new(), before: BTreeMap::new(), now: Vec::new(), writes: 0 }
    }

    fn add(&mut self, undone: Option<&Manifest>) {
        let id = format!("{:08x}", self.before.len());
        let start = DateTime::<Utc>::UNIX_EPOCH;
        let mut made = manifest(&id, 0, undone.map(|one| one.id.as_str()));
        // Old ones must not go by their age.
        made.created = start + TimeDelta::seconds(self.before.len() as i64);
        made.undoes_taken = undone.map(|one| one.created);
        made.redoes = undone.and_then(|one| one.undoes.clone());
        self.before.insert(id, self.now.clone());
        self.all.push(made);
        let sized: Vec<(&Manifest, u64)> = self.all.iter().map(|one| (one, 1)).collect();
        let judged = self.bounds.judge(&sized, start + TimeDelta::days(20));
        let mut reasons = judged.into_iter();
        self.all.retain(|_| reasons.next().unwrap().is_some());
    }

    fn write(&mut self) {
        self.add(None);
        self.writes += 1;
        self.now.push(self.writes);
    }

    /// Undoes one step, which must be the last of those in effect; says whether there was one.
    fn undo(&mut self) -> bool {
        let Some(at) = next(&self.all.iter().collect::<Vec<_>>()) else { return false };
        let step = self.all[at].clone();
        let then = self.before[&step.id].clone();
        assert_eq!(then[..], self.now[..self.now.len() - 1], "{} of {:?}", step.id, self.all);
        self.add(Some(&step));
        self.now = then;
        true
    }

    /// Redoes the newest undo, if one can be redone.
    fn redo(&mut self) -> bool {
        let Some(undo) = self.all.last().filter(|one| one.undoes.is_some()).cloned() else { return false };
        let then = self.before[&undo.id].clone();
        self.add(Some(&undo));
        self.now = then;
        true
    }
}

#[test]
fn as_many_steps_can_be_undone_as_the_bound_says() {
    let mut model = Model::new(50);
    (0..60).for_each(|_| model.write());
    let undone = (0..60).take_while(|_| model.undo()).count();
    assert_eq!((undone, model.now.len()), (50, 10));
    assert!(model.all.len() <= 51, "{}", model.all.len());
    // The newest redo is always there.
    assert!(model.redo() && model.undo());
    // Writes after undos count as any others.
    (0..30).for_each(|_| model.write());
    assert_eq!((0..60).take_while(|_| model.undo()).count(), 30);

    // In any order, each undo goes exactly one step back, and a redo is undone as one step.
    let mut random = 7u32;
    for round in 0..200 {
        let mut model = Model::new(2 + round % 5);
        for _ in 0..60 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            match (random >> 16) % 5 {
                0 | 1 => model.write(),
                2 | 3 => drop(model.undo()),
                _ => drop(model.redo().then(|| model.undo())),
            }
        }
    }
}

/// Writes the config file of `lab`, and says how it is named.
fn config(lab: &Lab, name: &str, text: &str) -> String {
    let path = lab.root.path().join(name);
    fs::write(&path, text).unwrap();
    format!("--config {}", path.display())
}

#[test]
fn undo_after_undo_reaches_the_first_state() {
    for lab in Lab::both("2.5.3") {
        let bounded = config(&lab, "kumadb.toml", "[undo]\nkeep_last = 1\nmax_count = 6\n");
        let first = configuration(&lab);
        for name in ["A", "B", "C", "D", "E", "F"] {
            lab.ok(&format!("monitor add group --name {name} {bounded}"));
        }
        let last = configuration(&lab);
        for _ in 0..6 {
            lab.ok(&format!("undo --yes {bounded}"));
        }
        assert_eq!(configuration(&lab), first, "{}", lab.engine());
        let none = lab.fails(8, &format!("undo --yes {bounded}"));
        assert!(none.err.contains("left to undo") && none.err.contains(&lab.store().display().to_string()), "{none:?}");
        let listed = lab.json("backup list --undo")["snapshots"].as_array().unwrap().len();
        assert!(listed <= 7, "{listed}");
        // Forward again, and back.
        let redo = lab.newest_undo();
        lab.ok(&format!("undo {redo} --yes {bounded}"));
        assert_eq!(lab.sql("SELECT name FROM monitor"), "A\n", "{}", lab.engine());
        lab.ok(&format!("undo --yes {bounded}"));
        assert_eq!(configuration(&lab), first, "{}", lab.engine());
        assert_ne!(last, first);
    }
}

#[test]
fn undo_snapshots_of_a_former_name_go_when_they_are_old() {
    let lab = Lab::sqlite("2.5.3");
    let named = |name: &str, more: &str| {
        config(&lab, "kumadb.toml", &format!("{more}\n[instances.{name}]\ntarget = '{}'\n", lab.target))
    };
    let before = named("alpha", "");
    for name in ["A", "B", "C"] {
        lab.ok(&format!("monitor add group --name {name} {before}"));
    }
    let count = |name: &str| {
        let snapshots = Store::new(lab.store()).list().unwrap().snapshots;
        snapshots.iter().filter(|one| one.manifest.instance == name).count()
    };
    let after = named("beta", "");
    lab.ok(&format!("monitor add group --name D {after}"));
    assert_eq!((count("alpha"), count("beta")), (3, 1));
    // What was written under the old name is undone as before.
    lab.ok(&format!("undo --yes {after}"));
    lab.ok(&format!("undo --yes {after}"));
    assert_eq!(lab.sql("SELECT group_concat(name) FROM monitor"), "A,B\n");
    // As if it had been two days ago.
    for path in fs::read_dir(lab.store().join("alpha")).unwrap().map(|entry| entry.unwrap().path()) {
        if path.extension().is_some_and(|ending| ending == "json") {
            let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            manifest["created"] = serde_json::json!(Utc::now() - TimeDelta::hours(48));
            fs::write(&path, manifest.to_string()).unwrap();
        }
    }
    let old = named("beta", "[undo]\nkeep_last = 1\nmax_age = '24h'\n");
    lab.ok(&format!("monitor add group --name E {old}"));
    assert_eq!(count("alpha"), 1);
}

#[test]
fn what_was_shown_is_done_or_nothing() {
    for lab in Lab::both("2.5.3") {
        lab.ok("monitor add group --name A");
        let instance = instance_at(&lab.target, lab.root.path(), lab.root.path().join("state/kumadb/instances"));
        let fingerprint = || {
            let mut reader = instance.connect().unwrap().reader().unwrap();
            let schema = reader.schema().unwrap();
            kumadb::kuma::read::read_fingerprint(&mut *reader, &schema).unwrap()
        };
        let shown = fingerprint();
        lab.sql("UPDATE monitor SET name = 'Changed'");
        let before = lab.content();
        let snapshots = Store::new(lab.store()).list().unwrap().snapshots;
        let staged = snapshots[0].unpack(&lab.root.path().join("held")).unwrap();
        let load = |shown| {
            let work = Load { desired: &staged, kept: &[], merges: false, shown: Some(shown) };
            let settings = Settings::new("undo");
            operation::run(&instance, &Store::new(lab.store()), work, &settings, &mut operation::NoObserver)
        };
        let refused = load(&shown).unwrap_err();
        assert!(
            matches!(refused, kumadb::Error::Operation(kumadb::error::OperationError::StaleDifference { .. })),
            "{refused}"
        );
        assert!(refused.hint().unwrap().starts_with("run the same command again"), "{refused}");
        assert!(lab.content() == before && !work(&lab).join("journal.json").exists(), "{}", lab.engine());
        // Also what changes between the lock and the write.
        let shown = fingerprint();
        struct Meanwhile<'a>(&'a Lab);
        impl Observer for Meanwhile<'_> {
            fn step(&mut self, step: &Step) -> Result<()> {
                if *step == Step::Journal {
                    self.0.sql("UPDATE monitor SET name = 'Again'");
                }
                Ok(())
            }
        }
        let load = Load { desired: &staged, kept: &[], merges: false, shown: Some(&shown) };
        let settings = Settings::new("undo");
        let refused =
            operation::run(&instance, &Store::new(lab.store()), load, &settings, &mut Meanwhile(&lab)).unwrap_err();
        assert!(
            matches!(refused, kumadb::Error::Operation(kumadb::error::OperationError::StaleDifference { .. })),
            "{refused}"
        );
        assert_eq!(lab.sql("SELECT name FROM monitor"), "Again\n", "{}", lab.engine());
        assert!(!work(&lab).join("journal.json").exists(), "{}", lab.engine());
        lab.ok("undo --yes");
        assert_eq!(lab.sql("SELECT count(*) FROM monitor"), "0\n", "{}", lab.engine());
    }
}

#[test]
fn undo_names_the_store_that_it_does_not_search() {
    for lab in Lab::both("2.5.3") {
        lab.ok("monitor add group --name A");
        let other = lab.root.path().join("other");
        let none = lab.fails(8, &format!("--store {} undo --yes", other.display()));
        let store = lab.store().display().to_string();
        assert!(none.err.contains(&format!("left to undo; searched stores: `{}`", other.display())), "{}", none.err);
        assert!(none.err.contains(&format!("kumadb --store {store} undo")), "{}", none.err);
        // An older change in this store is not undone without a word.
        lab.ok(&format!("--store {} monitor add group --name B", other.display()));
        let warned = lab.run("undo --dry-run");
        assert!(
            warned.err.contains(&format!("was stored in `{}`, which is not searched", other.display())),
            "{warned:?}"
        );
        assert_eq!(lab.run(&format!("--store {} undo --dry-run", other.display())).err, "");
        // What the folder says is shown and not believed.
        fs::write(work(&lab).join("last-undo.json"), "{\"store\": \"a\\u001b[2J\", \"snapshot\": \"x\"}").unwrap();
        assert!(
            !lab.fails(8, &format!("--store {} undo --yes", lab.root.path().join("third").display()))
                .err
                .contains('\u{1b}')
        );
    }
}

#[test]
fn screenshots_that_a_restore_overwrites_are_undone() {
    let lab = Lab::sqlite("2.5.3");
    let shot = lab.folder().join("screenshots/1.png");
    fs::create_dir_all(shot.parent().unwrap()).unwrap();
    fs::write(&shot, "old").unwrap();
    lab.ok("backup create --screenshots");
    fs::write(&shot, "new").unwrap();
    lab.ok("monitor add group --name A");
    lab.ok("restore latest --yes");
    assert_eq!(fs::read(&shot).unwrap(), b"old");
    lab.ok("undo --yes");
    assert_eq!(fs::read(&shot).unwrap(), b"new");
}

#[test]
fn links_are_shown_once_with_both_of_their_ends() {
    for lab in Lab::both("2.5.3") {
        fs::write(
            lab.root.path().join("kuma.yaml"),
            "version: 1\ntags: [{name: env}]\nnotifications: [{name: ops, type: webhook, config: {webhookURL: \
             'http://x'}}]\n\
             monitors:\n  - {name: Shop, type: group}\n  - {name: Bare, type: group}\n\
             status_pages:\n  - {slug: home, title: Home, groups: [{name: Services, monitors: [Bare]}]}\n\
             maintenance:\n  - {title: Night, strategy: manual, monitors: [Bare]}\n",
        )
        .unwrap();
        lab.ok("apply kuma.yaml --yes");
        lab.ok("backup create");
        lab.sql("INSERT INTO monitor_tag (monitor_id, tag_id, value) SELECT monitor.id, tag.id, 'prod' FROM monitor, tag WHERE monitor.name = 'Shop'");
        lab.sql("INSERT INTO monitor_notification (monitor_id, notification_id) SELECT monitor.id, notification.id FROM monitor, notification WHERE monitor.name = 'Shop'");
        lab.sql("INSERT INTO monitor_group (monitor_id, group_id, weight) SELECT monitor.id, `group`.id, 2 FROM monitor, `group` WHERE monitor.name = 'Shop'");
        lab.sql("INSERT INTO monitor_maintenance (monitor_id, maintenance_id) SELECT monitor.id, maintenance.id FROM monitor, maintenance WHERE monitor.name = 'Shop'");
        let shown = lab.ok("restore latest --dry-run");
        for line in [
            "- monitor `Shop`: tag `env: prod`\n",
            "- monitor `Shop`: notification `ops`\n",
            "- status page `home`: group `Services`: monitor `Shop`\n",
            "- maintenance `Night`: monitor `Shop`\n",
        ] {
            assert_eq!(shown.matches(line).count(), 1, "{}: {line}{shown}", lab.engine());
        }
        assert_eq!(shown.lines().filter(|line| line.starts_with(['-', '+', '~'])).count(), 4, "{shown}");
        assert!(!shown.contains("monitor_tag"), "{shown}");
        // The server makes the links of what is edited anew: the same ones have other ids.
        for table in ["monitor_tag", "monitor_notification", "monitor_maintenance"] {
            lab.sql(&format!("DELETE FROM {table} WHERE monitor_id = (SELECT id FROM monitor WHERE name = 'Shop')"));
        }
        lab.sql("DELETE FROM monitor_group WHERE weight = 2");
        lab.sql("UPDATE monitor_group SET id = id + 100");
        lab.sql("UPDATE monitor_maintenance SET id = id + 100");
        let shown = lab.ok("restore latest --dry-run");
        assert!(!shown.lines().any(|line| line.starts_with(['-', '+', '~'])), "{}: {shown}", lab.engine());
        lab.sql("UPDATE monitor_group SET weight = 7");
        let shown = lab.ok("restore latest --dry-run");
        assert!(shown.contains("~ status page `home`: group `Services`: monitor `Bare`: weight 7 → 1\n"), "{shown}");
    }
}
