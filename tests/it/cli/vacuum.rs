//! `kumadb vacuum`: the room comes back, and nothing else changes.

use std::os::unix::fs::MetadataExt as _;

use crate::cli::history::{add_beats, furnish};
use crate::support::lab::{Lab, Ran};

/// A history of which most was deleted past kumadb.
fn loosened(lab: &Lab) {
    furnish(lab);
    add_beats(lab, 1, 60, 50_000);
    add_beats(lab, 2, 1, 50);
    if lab.mariadbd.is_some() {
        // Sizes are statistics there.
        lab.sql("ANALYZE TABLE heartbeat");
    }
    lab.sql("DELETE FROM heartbeat WHERE monitor_id = 1");
}

#[test]
fn gives_the_room_of_a_file_back() {
    let lab = Lab::sqlite("2.5.3");
    loosened(&lab);
    let rows = lab.rows();
    let file = lab.folder().join("kuma.db");
    let before = std::fs::metadata(&file).unwrap();
    let tried = lab.json("vacuum --dry-run");
    assert_eq!(tried["statements"], serde_json::json!(["VACUUM"]));
    assert_eq!(std::fs::metadata(&file).unwrap().len(), before.len());
    // SQLite's temporary files may be in a folder that is reached through a link.
    let link = lab.root.path().join("link");
    std::os::unix::fs::symlink(std::env::temp_dir(), &link).unwrap();
    let ran = Ran::of(lab.bare().args(["-t", &lab.target, "vacuum", "--json"]).env("SQLITE_TMPDIR", &link));
    assert_eq!(ran.exit, 0, "{}", ran.err);
    let done: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let after = std::fs::metadata(&file).unwrap();
    assert!(after.len() * 5 < before.len(), "{} of {}", after.len(), before.len());
    assert_eq!((done["size_bytes"].as_u64(), done["size_before"].as_u64()), (Some(after.len()), Some(before.len())));
    assert_eq!((after.ino(), after.mode(), after.uid()), (before.ino(), before.mode(), before.uid()));
    assert_eq!(lab.rows(), rows);
    lab.ok(&format!("restore {} --yes", done["snapshot"].as_str().unwrap()));
    assert_eq!(lab.rows(), rows);
}

#[test]
fn gives_pages_back_a_few_at_a_time_once_the_file_is_made_for_it() {
    let lab = Lab::sqlite("2.5.3");
    loosened(&lab);
    let refused = lab.fails(9, "vacuum --incremental");
    assert!(refused.err.contains("--auto-vacuum incremental"), "{}", refused.err);
    lab.ok("vacuum --auto-vacuum incremental");
    assert_eq!(lab.sql("PRAGMA auto_vacuum").trim(), "2");
    assert!(lab.ok("vacuum --incremental").contains("nothing to reclaim"));
    add_beats(&lab, 1, 60, 20_000);
    lab.sql("DELETE FROM heartbeat WHERE monitor_id = 1");
    let free = || lab.sql("PRAGMA freelist_count").trim().parse::<u64>().unwrap();
    let (rows, before) = (lab.rows(), free());
    lab.ok("vacuum --incremental 10");
    assert_eq!(free(), before - 10);
    lab.ok("vacuum --incremental");
    assert_eq!(free(), 0);
    assert_eq!(lab.rows(), rows);
    lab.ok("vacuum --auto-vacuum none");
    assert_eq!(lab.sql("PRAGMA auto_vacuum").trim(), "0");
}

#[test]
fn writes_tables_of_mariadb_anew() {
    let Some(lab) = Lab::mariadb("2.5.3") else { return };
    assert!(lab.ok("vacuum").contains("nothing to reclaim"));
    loosened(&lab);
    let rows = lab.rows();
    let done = lab.json("vacuum --tables heartbeat");
    assert_eq!(done["statements"], serde_json::json!(["OPTIMIZE TABLE `heartbeat`"]));
    assert!(done["size_bytes"].as_u64() < done["size_before"].as_u64(), "{done}");
    assert_eq!(lab.rows(), rows);
    for (line, words) in
        [("vacuum --tables nothing", "unknown table `nothing`"), ("vacuum --incremental", "with MariaDB")]
    {
        let ran = lab.fails(2, line);
        assert!(ran.err.contains(words), "{line}: {}", ran.err);
    }
}

#[test]
fn a_shorter_history_can_give_its_room_back_at_once() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        add_beats(&lab, 1, 60, 50_000);
        let done = lab.json("history prune --keep 30 --vacuum --yes");
        assert_eq!(done["deleted"]["heartbeat"], 49_900);
        let statement = if lab.engine() == "SQLite" { "VACUUM" } else { "OPTIMIZE TABLE `heartbeat`" };
        assert_eq!(done["statements"], serde_json::json!([statement]));
        if lab.engine() == "SQLite" {
            assert!(done["size_bytes"].as_u64().unwrap() * 5 < done["size_before"].as_u64().unwrap(), "{done}");
        }
        assert_eq!(lab.sql("SELECT count(*) FROM heartbeat").trim(), "100");
    }
}

#[test]
fn says_when_there_is_no_room_for_it() {
    let lab = Lab::sqlite("2.5.3");
    loosened(&lab);
    let disk = lab.root.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=12m", "none"]).arg(&disk).status();
    if !mounted.is_ok_and(|status| status.success()) {
        return crate::support::need::left_out("the right to mount a tmpfs").unwrap_or_default();
    }
    std::fs::copy(lab.folder().join("kuma.db"), disk.join("kuma.db")).unwrap();
    std::fs::copy(lab.folder().join("db-config.json"), disk.join("db-config.json")).unwrap();
    let ran = crate::support::lab::Ran::of(lab.bare().arg("-t").arg(&disk).arg("vacuum"));
    std::process::Command::new("umount").arg(&disk).status().unwrap();
    assert_eq!(ran.exit, 9, "{}", ran.err);
    assert!(ran.err.contains(" required"), "{}", ran.err);
}
