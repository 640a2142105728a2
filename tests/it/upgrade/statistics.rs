//! `kumadb upgrade --stats-from`: statistics that a server aggregated in another time zone are replaced by right ones.

use std::path::PathBuf;

use chrono::{TimeDelta, Utc};
use serde_json::json;

use crate::support::lab::Lab;

/// Two monitors with heartbeats of three days, all minutes but at the borders of what 2.x keeps; and one in the future.
const OLD: &str = "
    INSERT INTO monitor (id, name, type, user_id, active, `interval`, url) VALUES
        (1, 'Shop', 'http', 1, 1, 60, 'https://shop.example.com'), (2, 'Mail', 'port', 1, 0, 60, NULL);
    INSERT INTO heartbeat (monitor_id, status, time, ping, important, msg)
        WITH RECURSIVE n(i) AS (SELECT 617 UNION ALL SELECT i - 1 FROM n WHERE i > 0)
        SELECT 1 + i % 2, CASE i % 9 WHEN 0 THEN 0 WHEN 4 THEN 3 ELSE 1 END,
               strftime('%Y-%m-%d %H:%M:%S.000', 'now', '-' || (i * 7 + 3) || ' minutes'),
               CASE WHEN i % 9 IN (0, 4) OR i % 5 = 0 THEN NULL ELSE i % 37 + 0.5 END, 0, '' FROM n;
    INSERT INTO heartbeat (monitor_id, status, time, ping, important, msg)
        VALUES (2, 1, strftime('%Y-%m-%d %H:%M:%S', 'now', '+20 days'), 9, 1, '');";

/// What the new server writes.
fn new() -> String {
    let at = |minutes: i64| (Utc::now() - TimeDelta::minutes(minutes)).format("%Y-%m-%d %H:%M:%S").to_string();
    let (first, second) = (at(1), at(0));
    format!(
        "INSERT INTO heartbeat (monitor_id, status, time, ping, important, msg) VALUES
            (1, 1, '{first}', 70, 1, ''), (2, 0, '{first}', NULL, 1, ''), (1, 1, '{second}', 71, 0, '')"
    )
}

fn statistics(lab: &Lab) -> Vec<String> {
    let cells = "monitor_id, timestamp, up, down, ping, ping_min, ping_max, extras";
    let read = |table| lab.sql(&format!("SELECT {cells} FROM {table} ORDER BY monitor_id, timestamp"));
    ["stat_daily", "stat_hourly", "stat_minutely"].map(read).into()
}

/// A database of 1.x, and a copy of it.
fn old() -> (Lab, PathBuf) {
    let lab = Lab::sqlite("1.23.17");
    lab.sql(OLD);
    let copy = lab.folder().with_file_name("before.db");
    lab.sql(&format!("VACUUM INTO '{}'", copy.display()));
    (lab, copy)
}

#[test]
fn what_a_server_in_another_zone_has_aggregated_becomes_right() {
    let (lab, copy) = old();
    let right = Lab::sqlite("1.23.17");
    right.sql(&format!("ATTACH '{}' AS old; INSERT INTO monitor SELECT * FROM old.monitor; INSERT INTO heartbeat SELECT * FROM old.heartbeat", copy.display()));
    let new = new();
    right.sql(&new);
    right.ok("upgrade --yes");
    lab.ok("upgrade --yes --as-server --server-timezone America/Los_Angeles");
    lab.sql(&new);
    assert_ne!(statistics(&lab), statistics(&right));
    let from = format!("upgrade --stats-from {}", copy.display());
    let before = lab.content();
    let dry = lab.json(&format!("{from} --dry-run"));
    assert_eq!((&dry["dry_run"], &dry["heartbeats_counted"]), (&true.into(), &619.into()), "{dry}");
    assert_eq!(dry["statistics"].as_array().unwrap().len(), 3, "{dry}");
    assert!(dry["statistics"][0]["border"].as_u64() > Some(0), "{dry}");
    assert_eq!(lab.content(), before);
    let done = lab.json(&format!("{from} --yes"));
    assert_eq!(done["statistics"], dry["statistics"]);
    assert_eq!(statistics(&lab), statistics(&right));
    assert_eq!(lab.json(&format!("{from} --yes"))["changes"], json!([]));
    let id = done["snapshot"].as_str().unwrap();
    let newer = lab.fails(9, &format!("upgrade --yes --stats-from {id}"));
    assert!(newer.err.contains("aggregated already"), "{}", newer.err);
    lab.sql(
        "DELETE FROM stat_daily; UPDATE setting SET value = '\"migrating\"' WHERE key = 'migrateAggregateTableState'",
    );
    let ended = lab.json(&format!("{from} --yes"));
    assert_eq!(ended["ends_aggregation"], true, "{ended}");
    assert_eq!(statistics(&lab), statistics(&right));
    assert_eq!(lab.sql("SELECT value FROM setting WHERE key = 'migrateAggregateTableState'"), "\"migrated\"\n");
    lab.ok("undo --yes");
    assert_eq!(lab.sql("SELECT count(*) FROM stat_daily"), "0\n");
}

#[test]
fn they_become_right_on_mariadb_too() {
    let (lab, copy) = old();
    let Some(moved) = Lab::mariadb("2.5.3") else { return };
    let rows = |table: &str, cells: &str| {
        let quoted = cells.split(", ").map(|cell| format!("quote(`{cell}`)")).collect::<Vec<_>>().join(" || ',' || ");
        let rows = lab.sql(&format!("SELECT '(' || {quoted} || ')' FROM {table}"));
        let cells = cells.split(", ").map(|cell| format!("`{cell}`")).collect::<Vec<_>>().join(", ");
        moved.sql(&format!("INSERT INTO {table} ({cells}) VALUES {}", rows.trim().replace('\n', ",")));
    };
    rows("monitor", "id, name, type, user_id, active, interval, url");
    rows("heartbeat", "id, monitor_id, status, time, ping, important, msg");
    moved.sql("INSERT INTO stat_daily (monitor_id, timestamp, ping, up, down, ping_min, ping_max) VALUES (1, 86400, 1, 1, 1, 1, 1)");
    let from = format!("upgrade --stats-from {} --yes", copy.display());
    let done = moved.json(&from);
    assert_eq!(
        (&done["statistics"][0]["removed"], &done["statistics"][0]["replaced"]),
        (&1.into(), &0.into()),
        "{done}"
    );
    assert_eq!(moved.json(&from)["changes"], json!([]));
    lab.ok("upgrade --yes");
    let counts = "SELECT monitor_id, timestamp, up, down, extras FROM stat_hourly ORDER BY monitor_id, timestamp";
    assert_eq!(moved.sql(counts).replace("NULL", ""), lab.sql(counts));
    moved.ok("undo --yes");
    assert_eq!(moved.sql("SELECT count(*), sum(up) FROM stat_daily"), "1\t1\n");
}

#[test]
fn a_copy_that_does_not_belong_to_the_database_is_refused() {
    let (lab, copy) = old();
    let refused = |words: &str, sql: &str| {
        let other = copy.with_file_name("other.db");
        let _ = std::fs::remove_file(&other);
        std::fs::copy(&copy, &other).unwrap();
        let made = std::process::Command::new("sqlite3").arg(&other).arg(sql).status().unwrap();
        assert!(made.success());
        let before = lab.content();
        let ran = lab.fails(9, &format!("upgrade --yes --stats-from {}", other.display()));
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
        assert_eq!(lab.content(), before);
    };
    let ran = lab.fails(9, &format!("upgrade --yes --stats-from {}", copy.display()));
    assert!(ran.err.contains("release 1.23.17, which has no statistics"), "{}", ran.err);
    lab.ok("upgrade --yes --as-server --server-timezone Asia/Tokyo");
    refused("0 of 2 monitors with the same id have the same name", "UPDATE monitor SET name = 'Other' || id");
    refused(
        "heartbeats with the same id are others",
        "UPDATE heartbeat SET time = '2020-01-01 00:00:00' WHERE id > 600",
    );
    refused("it has no heartbeats", "DELETE FROM heartbeat");
    refused(
        "it is newer than the database",
        "INSERT INTO heartbeat (monitor_id, status, time, msg) VALUES (1, 1, strftime('%Y-%m-%d %H:%M:%S', 'now'), '')",
    );
    lab.fails(2, &format!("upgrade --stats-from {} --live", copy.display()));
}
