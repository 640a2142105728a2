//! What is down, for how long, and how often: status, uptime and outages on both engines, from an instance and from a
//! snapshot.

use std::process::Stdio;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value as Json;

use crate::cli::monitor::furnish;
use crate::support::lab::Lab;
use crate::support::need;

const DOWN: i64 = 0;
const UP: i64 = 1;
const PENDING: i64 = 2;
const MAINTENANCE: i64 = 3;

fn ago(minutes: i64) -> DateTime<Utc> {
    Utc::now() - TimeDelta::minutes(minutes)
}

/// Heartbeats of monitor `id`: minutes ago, status, and whether the status changed.
pub fn add_beats(lab: &Lab, id: i64, beats: &[(i64, i64, bool)]) {
    let rows = beats.iter().map(|(minutes, status, important)| {
        let (time, important) = (ago(*minutes).format("%Y-%m-%d %H:%M:%S"), i64::from(*important));
        let (message, ping) = if *status == UP { ("200 - OK", "12") } else { ("timed out", "NULL") };
        format!("({important}, {id}, {status}, '{message}', '{time}', {ping}, 60)")
    });
    let rows = rows.collect::<Vec<_>>().join(", ");
    lab.sql(&format!("INSERT INTO heartbeat (important, monitor_id, status, msg, time, ping, duration) VALUES {rows}"));
}

/// Statistics of monitor `id` in `table`: seconds ago, checks that were up, down, and their response time.
fn add_statistics(lab: &Lab, id: i64, (table, unit): (&str, i64), rows: &[(i64, i64, i64, i64)]) {
    let rows = rows.iter().map(|(seconds, up, down, ping)| {
        let at = Utc::now().timestamp() - seconds;
        format!("({id}, {}, {up}, {down}, {ping}, {ping}, {ping})", at - at.rem_euclid(unit))
    });
    let rows = rows.collect::<Vec<_>>().join(", ");
    lab.sql(&format!("INSERT INTO {table} (monitor_id, timestamp, up, down, ping, ping_min, ping_max) VALUES {rows}"));
}

/// Network/Router is up, Network/Switch down for 10 minutes, Network pending, Cron paused, Shop in maintenance, and Blog was
/// never checked.
fn observed(release: &str) -> Vec<Lab> {
    let labs = if release.starts_with('1') { vec![Lab::sqlite(release)] } else { Lab::both(release) };
    for lab in &labs {
        furnish(lab);
        lab.ok("monitor add http --name Shop --url https://shop.example.com");
        lab.ok("monitor add http --name Blog --url https://blog.example.com");
        lab.ok("monitor pause Cron");
        let id = |name: &str| lab.json(&format!("monitor show {name}"))["monitor"]["id"].as_i64().unwrap();
        add_beats(lab, id("Router"), &[(90, UP, true), (30, PENDING, false), (29, UP, false), (1, UP, false)]);
        let switch = [
            (100, UP, true),
            (60, DOWN, true),
            (50, UP, true),
            (11, PENDING, false),
            (10, DOWN, true),
            (1, DOWN, false),
        ];
        add_beats(lab, id("Switch"), &switch);
        add_beats(lab, id("Network"), &[(60, UP, true), (9, PENDING, false), (1, PENDING, false)]);
        add_beats(lab, id("Cron"), &[(300, UP, true), (200, DOWN, true)]);
        add_beats(lab, id("Shop"), &[(60, UP, true), (5, MAINTENANCE, true), (1, MAINTENANCE, false)]);
    }
    labs
}

fn names(list: &Json) -> Vec<&str> {
    list["monitors"].as_array().unwrap().iter().map(|monitor| monitor["name"].as_str().unwrap()).collect()
}

/// How many minutes ago the time in `value` was.
fn minutes(value: &Json) -> i64 {
    let at = DateTime::parse_from_rfc3339(value.as_str().unwrap()).unwrap();
    (Utc::now() - at.to_utc()).num_minutes()
}

#[test]
fn a_list_says_what_is_down_and_since_when() {
    for lab in ["1.23.17", "2.0.2", "2.5.3"].into_iter().flat_map(observed) {
        let list = lab.json("monitor list");
        let status = |name: &str| {
            let found = list["monitors"].as_array().unwrap().iter().find(|monitor| monitor["name"] == name);
            found.unwrap().clone()
        };
        for (name, word, since) in
            [("Router", "up", 90), ("Switch", "down", 10), ("Network", "pending", 9), ("Shop", "maintenance", 5)]
        {
            let monitor = status(name);
            assert_eq!((&monitor["status"], minutes(&monitor["since"])), (&word.into(), since), "{name}: {monitor}");
            assert_eq!(minutes(&monitor["checked"]), 1);
        }
        assert_eq!((&status("Router")["ping"], &status("Switch")["message"]), (&12.0.into(), &"timed out".into()));
        assert_eq!((&status("Cron")["status"], &status("Blog")["status"]), (&"paused".into(), &"never checked".into()));
        for (filter, expected) in [
            ("--down", vec!["Switch"]),
            ("--down --pending", vec!["Network", "Switch"]),
            ("--up", vec!["Router"]),
            ("--maintenance --paused", vec!["Cron", "Shop"]),
            ("--status never-checked", vec!["Blog"]),
            ("--status up,paused --group Network", vec!["Router"]),
            ("--sort status", vec!["Switch", "Network", "Shop", "Router", "Blog", "Cron"]),
        ] {
            let listed = lab.json(&format!("monitor list {filter}"));
            let mut found = names(&listed);
            if !filter.starts_with("--sort") {
                found.sort_unstable();
            }
            assert_eq!(found, expected, "{} {filter}", lab.engine());
        }
        lab.ok("monitor pause Network");
        let paused = lab.json("monitor list Router");
        assert_eq!(paused["monitors"][0]["status"], "paused by group");
        assert_eq!(lab.ok("monitor list --up"), "no monitors with this status\n");
        let wrong = lab.fails(2, "monitor list --status donw");
        assert!(wrong.err.contains("unknown status `donw` (did you mean `down`?)"), "{}", wrong.err);
    }
}

#[test]
fn tables_show_ages_bars_and_times() {
    for lab in observed("2.5.3") {
        let table = lab.ok("monitor list");
        let line = |text: &str, name: &str| text.lines().find(|line| line.contains(name)).unwrap().to_owned();
        let words: Vec<String> = line(&table, "Switch").split_whitespace().map(str::to_owned).collect();
        assert_eq!(words[1..], ["Network/Switch", "port", "down", "10", "min", "-", "-", "timed", "out"]);
        assert!(!line(&table, "Router").contains("200 - OK"), "{table}");
        let wide = line(&lab.ok("monitor list --format wide"), "Switch");
        let words: Vec<&str> = wide.split_whitespace().rev().take(6).collect();
        assert_eq!(words, ["out", "timed", "env=test", "192.168.1.2:22", "60s", "▇▁▇▅▁▁"]);
        let csv = lab.ok("monitor list --format csv");
        assert!(csv.starts_with("id,name,type,status,since,checked,uptime_24h,ping,every,target,tags,message\n"));
        assert!(line(&csv, "Router").contains("Z,,12,60s,192.168.1.1,env=prod,200 - OK"), "{csv}");
    }
}

#[test]
fn uptime_is_counted_as_the_server_counts_it() {
    for release in ["2.0.2", "2.5.3"] {
        for lab in observed(release) {
            let id = lab.json("monitor show Router")["monitor"]["id"].as_i64().unwrap();
            // The last 24 hours are 1,440 minutes with the current one; the minute before is out.
            let minutes = [(120, 3, 1, 10), (3600, 1, 0, 50), (86_400 - 120, 1, 0, 10), (86_400 + 60, 0, 9, 0)];
            add_statistics(&lab, id, ("stat_minutely", 60), &minutes);
            // Pending checks count as down, those in maintenance do not count, and neither has an `up` here.
            let hours = [(120, 3, 1, 10), (3 * 86_400, 0, 1, 0), (8 * 86_400, 0, 9, 0)];
            add_statistics(&lab, id, ("stat_hourly", 3600), &hours);
            add_statistics(
                &lab,
                id,
                ("stat_daily", 86_400),
                &[(0, 5, 1, 18), (29 * 86_400, 1, 2, 9), (300 * 86_400, 0, 3, 0)],
            );
            let report = lab.json("monitor uptime Router");
            let monitor = &report["monitors"][0];
            let uptime = |window: &str| monitor["uptime"][window].as_f64().unwrap();
            assert_eq!(uptime("24h"), 5.0 / 6.0, "{monitor}");
            assert_eq!((uptime("7d"), uptime("30d"), uptime("365d")), (3.0 / 5.0, 6.0 / 9.0, 6.0 / 12.0));
            assert_eq!(monitor["ping"]["24h"], (3.0 * 10.0 + 50.0 + 10.0) / 5.0);
            assert_eq!(lab.json("monitor show Router")["uptime"], monitor["uptime"]);
            // As the badge of 30 days.
            let month = lab.json("monitor uptime Router --since 30d");
            assert_eq!(month["monitors"][0]["uptime"], monitor["uptime"]["30d"]);
            assert_eq!(lab.json("monitor uptime Switch")["monitors"][0]["uptime"]["24h"], Json::Null);
            let text = lab.ok("monitor uptime Router Switch");
            assert!(text.contains(" 83.33%") && text.contains(" -"), "{text}");
            // The list counts the same checks from fewer rows.
            for table in [("stat_minutely", 60), ("stat_hourly", 3600), ("stat_daily", 86_400)] {
                add_statistics(&lab, id + 1, table, &[(600, 3, 1, 10)]);
            }
            assert_eq!(lab.json("monitor list --name Switch")["monitors"][0]["uptime_24h"], 0.75);
        }
    }
}

#[test]
fn before_2_0_uptime_is_the_duration_of_heartbeats() {
    let lab = Lab::sqlite("1.23.17");
    lab.ok("monitor add http --name Shop --url https://shop.example.com");
    lab.ok("monitor add http --name Blog --url https://blog.example.com");
    // The first heartbeat reaches into the last 24 hours with half of its duration.
    let day = 24 * 60;
    for (minutes, status, seconds) in [(day - 1, UP, 120), (30, UP, 180), (20, DOWN, 60), (10, MAINTENANCE, 120)] {
        let time = ago(minutes).format("%Y-%m-%d %H:%M:%S");
        lab.sql(&format!(
            "INSERT INTO heartbeat (important, monitor_id, status, msg, time, ping, duration) \
             VALUES (1, 1, {status}, '', '{time}', 20, {seconds})"
        ));
    }
    add_beats(&lab, 2, &[(1, UP, true)]);
    lab.sql("UPDATE heartbeat SET duration = 0 WHERE monitor_id = 2");
    let report = lab.json("monitor uptime");
    let uptime = |at: usize, window: &str| report["monitors"][at]["uptime"][window].as_f64().unwrap();
    assert!((uptime(0, "24h") - 360.0 / 420.0).abs() < 0.005, "{report}");
    assert!((uptime(0, "7d") - 420.0 / 480.0).abs() < 1e-9, "{report}");
    // The only heartbeat has no duration.
    assert_eq!(uptime(1, "24h"), 1.0);
    assert_eq!(report["monitors"][0]["ping"]["24h"], 20.0);
}

#[test]
fn outages_have_a_start_and_an_end() {
    for lab in observed("2.5.3") {
        let report = lab.json("monitor outages");
        let outages: Vec<(&str, i64, i64, bool)> = report["outages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|outage| {
                let path = outage["path"].as_str().unwrap();
                (path, minutes(&outage["start"]), outage["seconds"].as_i64().unwrap() / 60, outage["end"].is_null())
            })
            .collect();
        // A paused monitor was down until its last heartbeat, as far as anybody knows.
        let expected = [("Network/Switch", 10, 10, true), ("Network/Switch", 60, 10, false), ("Cron", 200, 0, false)];
        assert_eq!(outages, expected, "{}", lab.engine());
        let hour = lab.json("monitor uptime --since 55m --group Network");
        let switch = hour["monitors"].as_array().unwrap().iter().find(|one| one["path"] == "Network/Switch").unwrap();
        assert_eq!((&switch["outages"], switch["down_seconds"].as_i64().unwrap() / 60), (&2.into(), 15));
        let groups = lab.json("monitor uptime --since 55m --by-group");
        let network = groups["groups"].as_array().unwrap().iter().find(|group| group["group"] == "Network").unwrap();
        assert_eq!((&network["monitors"], &network["outages"]), (&2.into(), &2.into()));
        let text = lab.ok("monitor outages Switch --since 1h");
        assert!(text.contains("still down") && text.contains("2 outages, 20 min"), "{text}");
        assert!(lab.ok("monitor outages Router").starts_with("no outages from "));
        let csv = lab.ok("monitor outages Switch --format csv");
        assert!(csv.starts_with("id,name,start,end,seconds,message\n"), "{csv}");
        for (line, why) in [
            ("--since yesteryear", "`yesteryear` is not a valid date or time"),
            ("--to 2026-01-01", "requires --from"),
            ("--from now --to 2020-01-01", "begins at"),
        ] {
            let wrong = lab.fails(2, &format!("monitor outages {line}"));
            assert!(wrong.err.contains(why), "{line}: {}", wrong.err);
        }
    }
}

#[test]
fn one_monitor_is_shown_with_its_bar_chart_and_changes() {
    for lab in observed("2.5.3") {
        let id = lab.json("monitor show Switch")["monitor"]["id"].as_i64().unwrap();
        add_statistics(&lab, id, ("stat_minutely", 60), &[(1800, 1, 0, 80), (7200, 1, 0, 20)]);
        let end = (Utc::now() + TimeDelta::days(40)).format("%Y-%m-%dT%H:%M:%S.000Z");
        let info = format!(r#"{{"valid":true,"certInfo":{{"validTo":"{end}","daysRemaining":1}}}}"#);
        lab.sql(&format!("INSERT INTO monitor_tls_info (monitor_id, info_json) VALUES ({id}, '{info}')"));
        lab.sql("INSERT INTO domain_expiry (domain, expiry) VALUES ('example.com', '2099-01-01 00:00:00')");
        let text = lab.ok("monitor show Switch");
        for part in [
            "status      down since ",
            "message     timed out\n",
            "heartbeats  ▇▁▇▅▁▁\n",
            "uptime      100.00% (24h), - (7d)",
            "certificate 40 days left, until ",
            "response time (24h): 50 ms on average, 20 ms to 80 ms\n80 ms ",
            " CHANGED ",
            " FIELD ",
        ] {
            assert!(text.contains(part), "{}: {part:?}\n{text}", lab.engine());
        }
        let shown = lab.json("monitor show Switch");
        assert_eq!((&shown["status"], &shown["certificate"]["days"]), (&"down".into(), &40.into()));
        assert_eq!(shown["ping_24h"]["max"], 80.0);
        assert_eq!(shown["changes"].as_array().unwrap().len(), 4);
        assert_eq!(shown["changes"][3]["status"], "down");
        let shop = lab.json("monitor show Shop");
        assert!(shop["domain"]["at"].as_str().is_some_and(|at| at.starts_with("2099-01-01")), "{shop}");
    }
}

#[test]
fn an_old_newest_heartbeat_means_that_the_server_is_not_checking() {
    for lab in observed("2.5.3") {
        assert_eq!(lab.run("monitor list").err, "");
        let fresh = lab.json("status");
        assert_eq!((&fresh["checking"], &fresh["statuses"]["down"]), (&true.into(), &1.into()));
        assert!(lab.ok("status").contains("1 down, 1 pending, 1 maintenance, 1 up, 1 never checked, 1 paused"));
        lab.sql(match lab.engine() {
            "SQLite" => "UPDATE heartbeat SET time = datetime(time, '-3 hours')",
            _ => "UPDATE heartbeat SET time = time - INTERVAL 3 HOUR",
        });
        let listed = lab.run("monitor list");
        assert_eq!(listed.exit, 0);
        assert!(
            listed.err.contains("warning: the server is not checking: the newest heartbeat is 3 h old"),
            "{}",
            listed.err
        );
        // The status is that of the last check, for as long as there were checks.
        let switch = listed.out.lines().find(|line| line.contains("Switch")).unwrap();
        assert!(switch.contains("down") && switch.contains(" 9 min "), "{switch}");
        let old = lab.run("status");
        assert_eq!(old.exit, 0);
        assert!(old.err.contains("is not checking"), "{}", old.err);
        assert_eq!(lab.json("status")["checking"], false);
        // Push monitors wait for others.
        lab.ok("monitor pause Network Shop --yes");
        assert_eq!(lab.run("monitor list").err, "");
    }
}

#[test]
fn a_snapshot_shows_what_was_down_then() {
    for lab in observed("2.5.3") {
        let id = lab.json("backup create")["manifest"]["id"].as_str().unwrap().to_owned();
        lab.sql("DELETE FROM heartbeat");
        assert!(lab.json("monitor list --down")["monitors"].as_array().unwrap().is_empty());
        let then = lab.run(&format!("monitor list --down --at {id}"));
        assert!(then.out.contains("Network/Switch") && then.err.is_empty(), "{then:?}");
        let outages = lab.json("monitor outages Switch --at latest");
        assert_eq!(outages["outages"].as_array().unwrap().len(), 2);
        assert_eq!(lab.json("monitor show Switch --at latest")["status"], "down");
        let bare = lab.json("backup create --config-only")["manifest"]["id"].as_str().unwrap().to_owned();
        let warned = lab.run(&format!("monitor list --at {bare}"));
        assert!(warned.err.contains("was taken without the history"), "{}", warned.err);
    }
}

/// Through a terminal of its own: coloured, unless NO_COLOR is set; and shown again until a signal comes.
#[test]
fn a_terminal_shows_colours() {
    if need::program(&["script"]).is_none() {
        return;
    }
    let lab = observed("2.5.3").swap_remove(0);
    let run_at = |width: u16, line: &str, plain: &str| {
        let line = format!("stty cols {width}; {} -t {} {line}", env!("CARGO_BIN_EXE_kumadb"), lab.target);
        let mut script = lab.program("script");
        script.args(["-qec", &line, "/dev/null"]).env("NO_COLOR", plain).env("TERM", "xterm").stdin(Stdio::null());
        String::from_utf8(script.output().unwrap().stdout).unwrap()
    };
    let run = |line: &str, plain: &str| run_at(200, line, plain);
    // A terminal of unknown width has 80 columns.
    assert!(run_at(0, "monitor list", "1").contains("Network/Switch"));
    let wide = run("monitor list --format wide", "");
    assert!(wide.contains("\u{1b}[31mdown\u{1b}[0m") && wide.contains("\u{1b}[31m▁▁\u{1b}[0m"), "{wide:?}");
    let table = run("monitor list", "");
    assert!(table.contains("down") && table.contains("\u{1b}["), "{table:?}");
    for line in ["monitor list", "monitor list --format wide", "monitor show Switch"] {
        assert!(!run(line, "1").contains('\u{1b}'), "{line}");
    }
    let watched = run("monitor list --watch 1s & sleep 2.5; kill -INT $!; wait $!; echo ended with $?", "1");
    assert!(watched.matches("Network/Switch").count() >= 2 && watched.contains("ended with 130"), "{watched:?}");
}
