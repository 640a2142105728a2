//! `restore --to` with a snapshot of an older release than the server that will run.

use std::fs;

use crate::support::lab::{Lab, Ran, words};
use crate::support::mariadbd::Mariadbd;
use crate::upgrade::verb::ROWS;

fn run(lab: &Lab, line: &str) -> Ran {
    Ran::of(lab.bare().args(words(line)))
}

/// The number of applied migrations, and of days with statistics, in the new folder `name`.
fn counts(lab: &Lab, name: &str) -> String {
    let sql = "SELECT (SELECT count(*) FROM knex_migrations), (SELECT count(*) FROM stat_daily)";
    let file = lab.root.path().join(name).join("kuma.db");
    let output = std::process::Command::new("sqlite3").arg(file).arg(sql).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn old() -> Lab {
    let lab = Lab::sqlite("1.23.17");
    lab.sql(ROWS);
    lab.ok("backup create");
    lab
}

#[test]
fn the_release_of_the_image_decides_whether_it_is_upgraded() {
    let lab = old();
    let restored = run(&lab, "restore latest --to ./new --image louislam/uptime-kuma:2.5.3-slim --json");
    assert_eq!(restored.exit, 0, "{}", restored.err);
    assert!(restored.err.contains("is upgraded to 2.5.3, the release of the image"), "{}", restored.err);
    let document: serde_json::Value = serde_json::from_str(&restored.out).unwrap();
    assert_eq!(document["release"], "2.5.1 to 2.5.3");
    assert!(document["start"]["command"].as_str().unwrap().ends_with("louislam/uptime-kuma:2.5.3-slim"), "{document}");
    assert_eq!(counts(&lab, "new"), "55|2\n");
    // A release without a recording of its own: the newest one before it.
    assert_eq!(run(&lab, "restore latest --to ./between --image louislam/uptime-kuma:2.4.9").exit, 0);
    assert_eq!(counts(&lab, "between"), "50|2\n");
    for line in
        ["restore latest --to ./as-it-is --image louislam/uptime-kuma:2.5.3 --no-upgrade", "restore latest --to ./same"]
    {
        let restored = run(&lab, line);
        assert_eq!(restored.exit, 0, "{}", restored.err);
        assert!(!restored.err.contains("is upgraded"), "{}", restored.err);
    }
    for name in ["as-it-is", "same"] {
        assert_eq!(counts(&lab, name), "", "{name}");
    }
}

#[test]
fn what_prevents_the_upgrade_is_named_with_what_to_type() {
    let lab = old();
    lab.sql("INSERT INTO heartbeat (monitor_id, status, time) VALUES (1, 7, '2024-01-01 10:00:00')");
    lab.ok("backup create");
    let refused = run(&lab, "restore latest --to ./new --image louislam/uptime-kuma:2.5.3");
    assert_eq!(refused.exit, 9, "{}", refused.err);
    for words in ["a status that no release has", "--to ./old", "doctor --fix", "`--no-upgrade`"] {
        assert!(refused.err.contains(words), "{words}: {}", refused.err);
    }
    assert!(!lab.root.path().join("new/kuma.db").exists());
    assert!(fs::read_dir(lab.root.path().join("new")).map_or(true, |entries| entries.count() == 0));
}

#[test]
fn a_snapshot_of_1x_fills_a_mariadb_of_2x() {
    let lab = old();
    let Some(server) = Mariadbd::start() else { return };
    server.create_database("fresh", "utf8mb4");
    let to = server.target("fresh");
    let refused = run(&lab, &format!("restore latest --to {to}"));
    assert_eq!(refused.exit, 9, "{}", refused.err);
    let restored = run(&lab, &format!("restore latest --to {to} --image louislam/uptime-kuma:2.5.3"));
    assert_eq!(restored.exit, 0, "{}", restored.err);
    let sql = "SELECT (SELECT count(*) FROM knex_migrations), (SELECT count(*) FROM stat_daily), (SELECT count(*) FROM monitor)";
    assert_eq!(server.sql("fresh", sql).trim(), "55\t2\t2");
}
