//! `kumadb history …` on both engines: what is told, what goes, and what never does.

use crate::support::lab::Lab;

/// Two monitors in a group.
pub fn furnish(lab: &Lab) {
    lab.ok("monitor add http --name Shop --url https://shop.example.com");
    lab.ok("monitor add ping --name Router --hostname 192.168.1.1");
}

/// Gives monitor `id` `count` beats, a minute apart, the last of them `days` days ago; every tenth is important.
pub fn add_beats(lab: &Lab, id: i64, days: i64, count: i64) {
    let (numbers, time) = match lab.engine() {
        "SQLite" => (
            format!("WITH RECURSIVE n(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n WHERE seq < {count})"),
            format!("strftime('%Y-%m-%d %H:%M:%f', 'now', '-{days} days', (seq - {count}) || ' minutes')"),
        ),
        _ => (
            format!("WITH n AS (SELECT CAST(seq AS SIGNED) AS seq FROM seq_1_to_{count})"),
            format!("utc_timestamp() - INTERVAL {days} DAY + INTERVAL (seq - {count}) MINUTE"),
        ),
    };
    lab.sql(&format!(
        "INSERT INTO heartbeat (important, monitor_id, status, msg, time, ping, duration, down_count) \
         {numbers} SELECT seq % 10 = 0, {id}, 1, '200 - OK', {time}, 10, 60, 0 FROM n"
    ));
}

/// Gives monitor 1 statistics in each table that are `hours` old.
fn add_statistics(lab: &Lab, hours: i64) {
    let at = chrono::Utc::now().timestamp() - hours * 3600;
    for table in ["stat_minutely", "stat_hourly", "stat_daily"] {
        lab.sql(&format!("INSERT INTO {table} (monitor_id, timestamp, ping, up, down) VALUES (1, {at}, 1, 1, 0)"));
    }
}

fn count(lab: &Lab, what: &str) -> i64 {
    lab.sql(&format!("SELECT count(*) FROM {what}")).trim().parse().unwrap()
}

#[test]
fn reports_rows_disk_space_and_the_next_cleanup() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        add_beats(&lab, 1, 0, 1440);
        add_beats(&lab, 1, 40, 60);
        add_beats(&lab, 2, 400, 150);
        add_statistics(&lab, 50);
        let before = lab.rows();
        let reported = lab.json("history stats");
        assert_eq!(reported["heartbeats"], 1650);
        let monitors = reported["monitors"].as_array().unwrap();
        assert_eq!((monitors[0]["path"].as_str(), monitors[0]["heartbeats"].as_u64()), (Some("Shop"), Some(1500)));
        assert_eq!((&monitors[1]["id"], &monitors[1]["important"]), (&2.into(), &15.into()));
        assert!((monitors[0]["share"].as_f64().unwrap() - 90.9).abs() < 0.1);
        assert!(monitors[1]["oldest"].as_str() < monitors[1]["newest"].as_str());
        // Of Shop the unimportant ones of 40 days ago; of Router, silent for longer than a year, all.
        assert_eq!((&monitors[0]["server_deletes"], &monitors[1]["server_deletes"]), (&54.into(), &150.into()));
        let deletes = &reported["server_deletes"];
        assert_eq!(
            (&deletes["heartbeat"], &deletes["stat_minutely"], &deletes["stat_daily"]),
            (&204.into(), &1.into(), &0.into())
        );
        assert!(
            (1430..=1441).contains(&reported["per_day"]["heartbeats"].as_u64().unwrap()),
            "{}",
            reported["per_day"]
        );
        let retention = &reported["retention"];
        assert_eq!(
            (&retention["days"], retention["set"].is_null(), &retention["deletes_unimportant"]),
            (&365.into(), true, &true.into())
        );
        let beats = reported["tables"].as_array().unwrap().iter().find(|table| table["table"] == "heartbeat").unwrap();
        assert!(
            beats["bytes"].as_u64().unwrap() > 10_000 && beats["index_bytes"].as_u64().unwrap() > 10_000,
            "{beats}"
        );
        assert!(reported["size_bytes"].as_u64() > beats["bytes"].as_u64());
        assert_eq!(reported["sqlite"].is_null(), lab.engine() != "SQLite");
        assert_eq!(lab.rows(), before);
        let text = lab.ok("history stats --top 1");
        for words in ["heartbeat", "Shop", "… and 1 more", "heartbeats a day", "(default)", "deletes 204 heartbeats"]
        {
            assert!(text.contains(words), "{words}\n{text}");
        }
    }
}

#[test]
fn an_instance_of_1x_forgets_by_age_alone() {
    let lab = Lab::sqlite("1.23.17");
    furnish(&lab);
    add_beats(&lab, 1, 200, 30);
    add_beats(&lab, 1, 10, 300);
    let reported = lab.json("history stats");
    assert_eq!((&reported["retention"]["days"], &reported["server_deletes"]["heartbeat"]), (&180.into(), &30.into()));
    let done = lab.json("history prune --keep 100 --keep-newest 1 --yes");
    assert_eq!(done["deleted"]["heartbeat"], 30);
    assert_eq!(count(&lab, "heartbeat"), 300);
}

#[test]
fn deletes_what_is_old_and_keeps_the_newest_of_each() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        add_beats(&lab, 1, 60, 100);
        add_beats(&lab, 1, 1, 200);
        add_beats(&lab, 2, 500, 120);
        add_statistics(&lab, 24 * 40);
        let before = lab.rows();
        lab.fails(9, "history prune --keep 30");
        let tried = lab.json("history prune --keep 30 --dry-run");
        assert_eq!((&tried["deleted"]["heartbeat"], &tried["rows"]["heartbeat"]), (&120.into(), &120.into()));
        assert_eq!(lab.rows(), before);
        let done = lab.json("history prune --keep 30 --yes");
        assert_eq!(done["deleted"], serde_json::json!({"heartbeat": 120, "stat_hourly": 1, "stat_minutely": 1}));
        assert_eq!(count(&lab, "heartbeat WHERE monitor_id = 1"), 200);
        assert_eq!(count(&lab, "heartbeat WHERE monitor_id = 2"), 100, "its newest stay, however old");
        assert_eq!(count(&lab, "stat_daily"), 1, "as the retention says, not as `--keep`");
        assert_eq!(lab.ok("history prune --keep 30 --yes"), "nothing to delete\n");
        lab.ok(&format!("restore {} --yes", done["snapshot"].as_str().unwrap()));
        assert_eq!(lab.rows(), before, "the snapshot holds what was deleted");
    }
}

#[test]
fn keeps_what_it_has_to_keep() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        for id in [1, 2] {
            add_beats(&lab, id, 60, 100);
            add_beats(&lab, id, 1, 200);
        }
        add_statistics(&lab, 24 * 40);
        let done = lab.json("history prune --keep 30 --keep-important --monitor 'Sh*' --tables heartbeat --yes");
        assert_eq!(done["deleted"], serde_json::json!({"heartbeat": 90}));
        assert_eq!(count(&lab, "heartbeat WHERE monitor_id = 1 AND important = 1"), 30);
        assert_eq!(count(&lab, "heartbeat WHERE monitor_id = 2"), 300);
        let done = lab.json("history prune --tables 'stat_*' --set-retention 10 --yes");
        assert_eq!(done["deleted"], serde_json::json!({"stat_daily": 1, "stat_hourly": 1, "stat_minutely": 1}));
        assert_eq!(
            lab.sql("SELECT value, type FROM setting WHERE `key` = 'keepDataPeriodDays'").trim().replace('|', "\t"),
            "10\tgeneral"
        );
        assert_eq!(count(&lab, "heartbeat"), 510);
        lab.ok("history prune --set-retention 0 --yes");
        assert_eq!(lab.sql("SELECT value FROM setting WHERE `key` = 'keepDataPeriodDays'").trim(), "0");
        assert_eq!(lab.ok("history prune --set-retention 0 --yes"), "nothing to delete\n");
        assert_eq!(count(&lab, "heartbeat"), 510);
        assert!(lab.ok("history stats").contains("unlimited"));
    }
}

#[test]
fn says_what_is_wrong_with_what_was_typed() {
    let lab = Lab::sqlite("2.5.3");
    for (exit, line, words) in [
        (2, "history prune", "--keep 30"),
        (2, "history prune --keep 0", "0 is not in"),
        (2, "history prune --keep 30 --tables monitor", "unknown history table `monitor`"),
        (8, "history prune --keep 30 --monitor Nobody", "no monitor"),
        (2, "history prune --keep 30 --keep-newest 0", "0 is not in"),
    ] {
        let ran = lab.fails(exit, line);
        assert!(ran.err.contains(words), "{line}: {}", ran.err);
    }
}
