//! The doctor: every code is found on a database that was damaged for it, cured, and gone; and the healthy have nothing.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use kumadb::doctor::evidence::{FileEvidence, Folder, Running};
use kumadb::doctor::{CHECKS, Evidence, FileChange, Fix};
use kumadb::engine::EngineKind;
use kumadb::schema;
use serde_json::Value as Json;

use crate::support::lab::{Lab, Ran};
use crate::support::rounds;

/// The codes that `doctor` finds, each once.
pub fn codes(lab: &Lab) -> Vec<String> {
    let found = lab.json("doctor");
    let mut codes: Vec<String> = found["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["code"].as_str().unwrap().to_owned())
        .collect();
    codes.dedup();
    assert_eq!(found["unread"].as_array().unwrap().len(), 0, "{found}");
    codes
}

/// What `doctor` reports with `code`.
pub fn what(lab: &Lab, code: &str) -> Vec<String> {
    let found = lab.json("doctor");
    let findings = found["findings"].as_array().unwrap().iter();
    findings
        .filter(|finding| finding["code"] == code)
        .map(|finding| finding["what"].as_str().unwrap().to_owned())
        .collect()
}

/// Four monitors, two of them groups, a maintenance window and a notification, as people have them.
pub fn furnish(lab: &Lab) {
    let monitors = "monitors: [{name: Network, type: group}, {name: Home, type: group}, \
                    {name: Shop, type: http, url: \"https://shop.example.com\"}, \
                    {name: Router, type: ping, hostname: 192.168.1.1, parent: Network}]";
    fs::write(lab.root.path().join("furniture.yaml"), monitors).unwrap();
    lab.ok("apply furniture.yaml --yes");
    lab.sql(
        "INSERT INTO maintenance (id, title, description, user_id, active, strategy, start_time, end_time, weekdays, \
         days_of_month, timezone) VALUES (1, 'Nightly', '', 1, 1, 'recurring-weekday', '02:00:00', '03:00:00', '[1]', '[]', \
         'Europe/Berlin')",
    );
    lab.sql(
        "INSERT INTO notification (id, name, active, user_id, is_default, config) VALUES (1, 'ops', 1, 1, 0, \
         '{\"type\": \"webhook\", \"name\": \"ops\"}')",
    );
    lab.sql(
        "INSERT INTO heartbeat (id, monitor_id, status, time, msg) VALUES (1, 3, 1, '2026-01-01 00:00:00', '200 - OK')",
    );
}

/// SQL past all checks, as a conversion or a person with a tool leaves it.
pub fn damage(lab: &Lab, sql: &str) {
    match lab.engine() {
        "SQLite" => lab.sql(&format!("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; {sql}")),
        _ => lab.sql(&format!("SET SESSION foreign_key_checks = 0, sql_mode = ''; {sql}")),
    };
}

/// Statements after which rows 99 of tables that others refer to were there once, as the counters know.
pub const ONCE_THERE: &str = "INSERT INTO monitor (id, name) VALUES (99, 'gone'); DELETE FROM monitor WHERE id = 99; \
    INSERT INTO notification (id, name, user_id) VALUES (99, 'gone', 1); DELETE FROM notification WHERE id = 99; \
    INSERT INTO docker_host (id, name, user_id) VALUES (99, 'gone', 1); DELETE FROM docker_host WHERE id = 99; \
    INSERT INTO user (id, username) VALUES (99, 'gone'); DELETE FROM user WHERE id = 99;";

/// Damages furnished instances with `sql`; then exactly `code` is found, is cured by its name, and there is nothing
/// left to find or to do. Returns the instances, and how the cure ended.
pub fn fixes(labs: Vec<Lab>, code: &str, sql: &str) -> Vec<(Lab, Ran)> {
    labs.into_iter()
        .map(|lab| {
            furnish(&lab);
            assert_eq!(codes(&lab), [""; 0], "{}", lab.engine());
            damage(&lab, sql);
            let ran = fixed(&lab, code);
            (lab, ran)
        })
        .collect()
}

pub fn fixed(lab: &Lab, code: &str) -> Ran {
    assert_eq!(codes(lab), [code], "{}", lab.engine());
    let before = lab.rows();
    lab.fails(9, &format!("doctor --fix {code}"));
    lab.ok(&format!("doctor --fix {code} --dry-run"));
    assert_eq!(lab.rows(), before, "asking and trying change nothing");
    lab.fails(20, "doctor --detailed-exitcode");
    let ran = lab.run(&format!("doctor --fix {code} --yes"));
    assert_eq!(ran.exit, 0, "{}: {code}\n{}{}", lab.engine(), ran.out, ran.err);
    assert!(ran.out.contains("checked again: no findings"), "{}", ran.out);
    assert_eq!(codes(lab), [""; 0]);
    let after = lab.rows();
    lab.ok("doctor --fix --yes --detailed-exitcode");
    assert_eq!(lab.rows(), after, "there is nothing left to do");
    ran
}

/// Where the deleted rows were put.
fn removed(ran: &Ran) -> Json {
    let path = ran.out.split("the deleted rows are saved in ").nth(1).unwrap().trim();
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn finds_nothing_on_a_healthy_instance_of_any_release() {
    for engine in [EngineKind::Sqlite, EngineKind::MariaDb] {
        for recording in rounds::some(schema::recorded(engine), 5) {
            let release = recording.release.to_string();
            let lab = match engine {
                EngineKind::Sqlite => Some(Lab::sqlite(&release)),
                EngineKind::MariaDb => Lab::mariadb(&release),
            };
            let Some(lab) = lab else { return };
            furnish(&lab);
            let ran = lab.run("doctor --full --detailed-exitcode");
            assert_eq!((ran.exit, ran.out.as_str()), (0, "no findings\n"), "{release} {}: {}", lab.engine(), ran.err);
        }
    }
}

#[test]
fn fixes_columns_that_are_no_json() {
    let sql = "UPDATE monitor SET conditions = '' WHERE id = 3; \
               UPDATE monitor SET accepted_statuscodes_json = '[200]', kafka_producer_sasl_options = '[]' WHERE id = 4; \
               UPDATE monitor SET rabbitmq_nodes = 'null', kafka_producer_brokers = '{' WHERE id = 1";
    for (lab, _) in fixes(Lab::both("2.5.3"), "K001", sql) {
        let columns = "accepted_statuscodes_json, conditions, rabbitmq_nodes, kafka_producer_brokers, \
                       kafka_producer_sasl_options";
        let rows = lab.sql(&format!("SELECT {columns} FROM monitor WHERE id IN (1, 3, 4) ORDER BY id"));
        let rows: Vec<Vec<&str>> = rows.lines().map(|line| line.split('\t').collect()).collect();
        assert_eq!(rows[0][2..4], ["[]", "[]"]);
        assert_eq!(rows[1][1], "[]");
        assert_eq!((rows[2][0], rows[2][4]), ("[\"200-299\"]", "{\"mechanism\":\"None\"}"));
    }
}

#[test]
fn only_reports_headers_that_are_no_json() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        damage(&lab, "UPDATE monitor SET headers = 'Accept: text/plain' WHERE id = 3");
        assert_eq!(codes(&lab), ["K001"]);
        let before = lab.rows();
        assert!(lab.ok("doctor --fix --yes").contains("this monitor cannot send its request"));
        assert_eq!(lab.rows(), before);
    }
}

#[test]
fn fixes_maintenance_windows() {
    let wrong = [
        ("timezone = 'Europe/Nowhere'", "SAME_AS_SERVER\t1"),
        ("weekdays = 'monday', timezone = 'SAME_AS_SERVER'", "SAME_AS_SERVER\t1"),
        ("days_of_month = '{}'", "Europe/Berlin\t1"),
        ("strategy = 'sometimes'", "Europe/Berlin\t0"),
        ("strategy = 'cron', cron = 'daily'", "Europe/Berlin\t0"),
    ];
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        for (set, expected) in wrong {
            damage(
                &lab,
                &format!(
                    "UPDATE maintenance SET timezone = 'Europe/Berlin', weekdays = '[1]', days_of_month = '[]', \
                     active = 1, \
                     strategy = 'recurring-weekday'; UPDATE maintenance SET {set}"
                ),
            );
            fixed(&lab, "K002");
            assert_eq!(lab.sql("SELECT timezone, active FROM maintenance").trim(), expected, "{set}");
        }
    }
}

#[test]
fn switches_off_maintenance_with_dates_and_times_that_are_none() {
    // MariaDB keeps nothing of the kind in its columns, but for a date of zeroes.
    for (lab, set) in [
        (Some(Lab::sqlite("2.5.3")), "start_date = 'tomorrow'"),
        (Some(Lab::sqlite("2.5.3")), "start_time = '25:00'"),
        (Lab::mariadb("2.5.3"), "start_date = '0000-00-00 00:00:00'"),
    ] {
        let Some(lab) = lab else { continue };
        furnish(&lab);
        damage(&lab, &format!("UPDATE maintenance SET {set}"));
        fixed(&lab, "K002");
        assert_eq!(lab.sql("SELECT active FROM maintenance").trim(), "0");
    }
}

#[test]
fn fixes_an_upgrade_of_the_statistics_that_was_cut_off() {
    let sql = "UPDATE setting SET value = '\"migrating\"' WHERE `key` = 'migrateAggregateTableState'; \
               INSERT INTO stat_minutely (monitor_id, timestamp, ping, up, down) VALUES (3, 60, 1, 1, 0), (3, 120, 1, 1, 0); \
               INSERT INTO stat_daily (monitor_id, timestamp, ping, up, down) VALUES (3, 86400, 1, 1, 0)";
    for (lab, ran) in fixes(Lab::both("2.5.3"), "K005", sql) {
        assert_eq!(lab.sql("SELECT value FROM setting WHERE `key` = 'migrateAggregateTableState'").trim(), "\"\"");
        assert_eq!(
            lab.sql("SELECT (SELECT count(*) FROM stat_minutely) + (SELECT count(*) FROM stat_daily)").trim(),
            "0"
        );
        assert_eq!(lab.sql("SELECT count(*) FROM heartbeat").trim(), "1");
        let kept = removed(&ran);
        assert_eq!(kept.as_array().unwrap().len(), 3);
        assert_eq!(kept[0]["row"]["timestamp"], 60);
    }
}

#[test]
fn deletes_beats_with_an_unknown_status_and_keeps_them_in_a_file() {
    let sql = "INSERT INTO heartbeat (id, monitor_id, status, time, msg) VALUES (7, 3, 5, '2026-01-01 00:00:00', 'odd'), \
               (8, 3, -1, '2026-01-01 00:01:00', 'odder')";
    for (lab, ran) in fixes(Lab::both("2.5.3"), "K006", sql) {
        assert_eq!(lab.sql("SELECT count(*) FROM heartbeat").trim(), "1");
        let kept = removed(&ran);
        assert_eq!(kept[0]["table"], "heartbeat");
        let mut messages: Vec<&str> =
            kept.as_array().unwrap().iter().map(|kept| kept["row"]["msg"].as_str().unwrap()).collect();
        messages.sort_unstable();
        assert_eq!(messages, ["odd", "odder"]);
    }
    let text = "INSERT INTO heartbeat (id, monitor_id, status, time) VALUES (7, 3, 'up', '2026-01-01 00:00:00')";
    let done = fixes(vec![Lab::sqlite("2.5.3")], "K006", text);
    assert_eq!(removed(&done[0].1)[0]["row"]["status"], "up");
}

#[test]
fn fixes_rows_that_point_nowhere() {
    let sql = "INSERT INTO heartbeat (id, monitor_id, status, time) VALUES (7, 99, 1, '2026-01-01 00:00:00'); \
               INSERT INTO monitor_notification (id, monitor_id, notification_id) VALUES (7, 3, 77); \
               UPDATE monitor SET docker_host = 55 WHERE id = 3";
    for (lab, ran) in fixes(Lab::both("2.5.3"), "K007", &format!("{ONCE_THERE}{sql}")) {
        assert_eq!(lab.sql("SELECT count(*) FROM heartbeat").trim(), "1");
        assert_eq!(lab.sql("SELECT count(*) FROM monitor_notification").trim(), "0");
        assert_eq!(lab.sql("SELECT count(*) FROM monitor WHERE docker_host IS NOT NULL").trim(), "0");
        assert_eq!(removed(&ran).as_array().unwrap().len(), 2, "what is kept without its reference is not deleted");
    }
}

#[test]
fn a_new_monitor_inherits_nothing_of_a_deleted_one() {
    // A monitor that was deleted in a database tool, and the counter set back: nothing but the rows it left knows its id.
    let left = "INSERT INTO heartbeat (id, monitor_id, status, time, msg) VALUES (7, 5, 0, '2026-01-01 00:00:00', 'old'); \
                INSERT INTO stat_daily (monitor_id, timestamp, ping, up, down) VALUES (6, 86400, 1, 0, 9); \
                INSERT INTO notification_sent_history (type, monitor_id, days) VALUES ('certificate', 8, 7)";
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        damage(&lab, left);
        let found = lab.json("doctor");
        let found = found["findings"].as_array().unwrap().iter().find(|finding| finding["code"] == "K038").unwrap();
        assert!(found["what"].as_str().unwrap().contains("the next id of `monitor` is 5"), "{found}");
        // What the page would do.
        lab.ok("monitor add ping --name New --hostname 192.168.1.9 --no-notifications");
        assert_eq!(lab.sql("SELECT id FROM monitor WHERE name = 'New'").trim(), "9", "{}", lab.engine());
        lab.ok("monitor delete New --yes");
    }
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        damage(&lab, left);
        let before = lab.rows();
        lab.ok("doctor --fix K038 --yes");
        assert!(!codes(&lab).contains(&"K038".into()));
        if lab.engine() == "MariaDB" {
            assert_eq!(lab.rows(), before, "only the counter changes");
        }
        damage(&lab, "INSERT INTO monitor (name) VALUES ('of the page')");
        assert_eq!(lab.sql("SELECT id FROM monitor WHERE name = 'of the page'").trim(), "9", "{}", lab.engine());
    }
}

#[test]
fn an_id_that_nothing_can_follow_is_refused() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        damage(
            &lab,
            "INSERT INTO stat_daily (monitor_id, timestamp, ping, up, down) VALUES (4294967295, 86400, 1, 0, 9)",
        );
        let before = lab.rows();
        let ran = lab.fails(9, "monitor add ping --name New --hostname 192.168.1.9");
        assert!(ran.err.contains("no free id in table `monitor`"), "{}", ran.err);
        assert_eq!(lab.rows(), before);
    }
}

#[test]
fn opens_the_lock_of_a_migration_that_was_cut_off() {
    for sql in [
        "UPDATE knex_migrations_lock SET is_locked = 1",
        "DELETE FROM knex_migrations_lock",
        "INSERT INTO knex_migrations_lock (is_locked) VALUES (0)",
        "INSERT INTO knex_migrations_lock (is_locked) VALUES (1)",
    ] {
        for (lab, _) in fixes(Lab::both("2.5.3"), "K008", sql) {
            assert_eq!(lab.sql("SELECT is_locked FROM knex_migrations_lock").trim(), "0", "{sql}");
        }
    }
}

#[test]
fn leaves_the_lock_of_a_server_that_runs_alone() {
    let lab = Lab::sqlite("2.5.3");
    lab.sql("UPDATE knex_migrations_lock SET is_locked = 1");
    let mut holder = std::process::Command::new("sh")
        .args(["-c", "exec 3<\"$1\"; echo; exec cat >/dev/null", "sh"])
        .arg(lab.folder().join("kuma.db"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let found = lab.json("doctor");
    assert_eq!(
        (found["findings"][0]["code"].as_str(), found["findings"][0]["fixable"].as_bool()),
        (Some("K008"), Some(false))
    );
    drop(holder.stdin.take());
    holder.wait().unwrap();
}

#[test]
fn opens_circles_of_groups() {
    for (sql, parents) in [
        ("UPDATE monitor SET parent = 1 WHERE id = 1", "NULL\tNULL\tNULL\t1"),
        ("UPDATE monitor SET parent = 2 WHERE id = 1; UPDATE monitor SET parent = 1 WHERE id = 2", "NULL\t1\tNULL\t1"),
        ("UPDATE monitor SET parent = 3 WHERE id = 4", "NULL\tNULL\tNULL\tNULL"),
    ] {
        for (lab, _) in fixes(Lab::both("2.5.3"), "K014", sql) {
            let found = lab.sql("SELECT coalesce(parent, 'NULL') FROM monitor ORDER BY id");
            assert_eq!(found.lines().collect::<Vec<_>>().join("\t"), parents, "{sql}");
        }
    }
}

#[test]
fn brings_ghosts_back_to_the_page() {
    let sql = &format!(
        "{ONCE_THERE} UPDATE monitor SET user_id = NULL WHERE id = 3; UPDATE monitor SET user_id = 9, parent = 88 \
         WHERE id = 4"
    );
    for (lab, _) in fixes(Lab::both("2.5.3"), "K015", sql) {
        let found = lab.sql("SELECT user_id, coalesce(parent, 'none') FROM monitor WHERE id > 2 ORDER BY id");
        assert_eq!(found.trim(), "1\tnone\n1\tnone");
    }
}

#[test]
fn lets_people_in_again() {
    for sql in ["UPDATE `user` SET active = 0", "UPDATE `user` SET twofa_status = 1, twofa_secret = NULL"] {
        for (lab, _) in fixes(Lab::both("2.5.3"), "K016", sql) {
            assert_eq!(lab.sql("SELECT id, active, twofa_status FROM `user`").trim(), "1\t1\t0");
        }
    }
    for lab in Lab::both("2.5.3") {
        damage(&lab, "UPDATE `user` SET password = 'Kuma-Lab-2026'");
        assert_eq!(codes(&lab), ["K016"]);
        let mut command = lab.bare();
        command.args(["-t", &lab.target, "doctor", "--fix", "--yes"]).write_stdin("short\n");
        assert_eq!(Ran::of(&mut command).exit, 2, "a password that the server would not take");
        let file = lab.root.path().join("password");
        fs::write(&file, "New-Lab-2027\n").unwrap();
        let ran = Ran::of(command.arg("--password-file").arg(&file).write_stdin(""));
        assert_eq!(ran.exit, 0, "{}", ran.err);
        assert!(ran.err.contains("password (secret, changed)"), "{}", ran.err);
        let hash = lab.sql("SELECT password FROM `user`");
        assert!(bcrypt::verify("New-Lab-2027", hash.trim()).unwrap());
        assert!(!ran.err.contains("New-Lab-2027") && !ran.err.contains("Kuma-Lab-2026") && !ran.err.contains("$2a$"));
    }
}

#[test]
fn removes_an_empty_key_of_sessions() {
    for sql in [
        "UPDATE setting SET value = '' WHERE `key` = 'jwtSecret'",
        "UPDATE setting SET value = NULL WHERE `key` = 'jwtSecret'",
    ] {
        for (lab, _) in fixes(Lab::both("2.5.3"), "K017", sql) {
            assert_eq!(lab.sql("SELECT count(*) FROM setting WHERE `key` = 'jwtSecret'").trim(), "0");
        }
    }
}

#[test]
fn leads_to_the_dashboard_where_the_entry_page_is_lost() {
    for value in ["\"statusPage-gone\"", "statusPage-gone", "7"] {
        let sql = format!("INSERT INTO setting (`key`, value, type) VALUES ('entryPage', '{value}', 'general')");
        for (lab, _) in fixes(Lab::both("2.5.3"), "K018", &sql) {
            assert_eq!(
                lab.sql("SELECT value FROM setting WHERE `key` = 'entryPage'").trim(),
                "\"dashboard\"",
                "{value}"
            );
        }
    }
}

#[test]
fn mends_numbers_that_no_timer_takes() {
    let sql = "UPDATE monitor SET `interval` = 0 WHERE id = 3; UPDATE monitor SET retry_interval = -5 WHERE id = 4; \
               UPDATE monitor SET timeout = -1 WHERE id = 4; UPDATE monitor SET active = 2 WHERE id = 4";
    for (lab, _) in fixes(Lab::both("2.5.3"), "K019", sql) {
        let found = lab.sql("SELECT `interval`, retry_interval, timeout, active FROM monitor WHERE id > 2 ORDER BY id");
        let found: Vec<Vec<f64>> =
            found.lines().map(|line| line.split('\t').map(|cell| cell.parse().unwrap()).collect()).collect();
        assert_eq!(found[0][0], 60.0);
        assert_eq!(found[1][1..], [60.0, 48.0, 1.0]);
    }
    let sql = "UPDATE monitor SET `interval` = 'often', active = 'true' WHERE id = 3";
    for (lab, _) in fixes(vec![Lab::sqlite("2.5.3"), Lab::sqlite("1.23.17")], "K019", sql) {
        assert_eq!(lab.sql("SELECT `interval`, active FROM monitor WHERE id = 3").trim(), "60\t1");
    }
}

#[test]
fn the_limits_of_an_interval_are_those_of_the_release() {
    let often = "UPDATE monitor SET `interval` = 10 WHERE id = 3";
    for (lab, _) in fixes(Lab::both("2.0.2"), "K019", often) {
        assert_eq!(lab.sql("SELECT `interval` FROM monitor WHERE id = 3").trim(), "20");
    }
    let rarely = "UPDATE monitor SET `interval` = 2147484 WHERE id = 3";
    fixes(Lab::both("2.5.3"), "K019", rarely);
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        damage(&lab, &format!("{often}; UPDATE monitor SET `interval` = 2147483 WHERE id = 4"));
        assert_eq!(codes(&lab), [""; 0], "{}", lab.engine());
    }
}

#[test]
fn deletes_statistics_of_the_future() {
    let sql = "INSERT INTO stat_hourly (monitor_id, timestamp, ping, up, down) VALUES (3, 2147480000, 1, 1, 0), \
               (3, 1700000000, 1, 1, 0)";
    for (lab, ran) in fixes(Lab::both("2.5.3"), "K025", sql) {
        assert_eq!(lab.sql("SELECT timestamp FROM stat_hourly").trim(), "1700000000");
        assert_eq!(removed(&ran)[0]["row"]["timestamp"], 2_147_480_000i64);
    }
}

#[test]
fn deletes_the_second_of_two_like_links() {
    let sql = "INSERT INTO monitor_notification (id, monitor_id, notification_id) VALUES (5, 3, 1), (6, 3, 1)";
    for (lab, _) in fixes(Lab::both("2.5.3"), "K024", sql) {
        assert_eq!(lab.sql("SELECT id FROM monitor_notification").trim(), "5");
    }
}

/// What `sql` does is found as `code` on both engines, with `words`, and nothing is changed to cure it.
pub fn only_reports(code: &str, sql: &str, words: &str) {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        damage(&lab, sql);
        assert_eq!(codes(&lab), [code], "{}: {sql}", lab.engine());
        let given = what(&lab, code).join("\n");
        assert!(given.contains(words), "{}: {given}", lab.engine());
        let before = lab.rows();
        lab.ok("doctor --fix --yes");
        assert_eq!(lab.rows(), before);
    }
}

#[test]
fn only_reports_what_the_user_has_to_decide() {
    for (code, sql) in [
        ("K024", "UPDATE notification SET config = 'webhook'"),
        ("K024", "UPDATE notification SET config = '{}'"),
        (
            "K012",
            "INSERT INTO heartbeat (id, monitor_id, status, time, msg) VALUES (7, 3, 0, '2026-01-01 00:00:00', \
                  'Knex: Timeout acquiring a connection. The pool is probably full.')",
        ),
        ("K020", "INSERT INTO knex_migrations (name, batch) VALUES ('2029-01-01-0000-later.js', 9)"),
    ] {
        only_reports(code, sql, "");
    }
}

#[test]
fn makes_indexes_that_a_conversion_lost() {
    let on = |lab: &Lab| if lab.engine() == "SQLite" { "" } else { " ON heartbeat" };
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        damage(&lab, &format!("DROP INDEX monitor_time_index{}", on(&lab)));
        let before = lab.rows();
        fixed(&lab, "K013");
        assert_eq!(lab.rows().lines().count(), before.lines().count() + usize::from(lab.engine() == "SQLite"));
    }
}

#[test]
fn an_index_with_another_name_is_not_lost() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let on = if lab.engine() == "SQLite" { "" } else { " ON heartbeat" };
        let renamed = "CREATE INDEX by_time ON heartbeat (monitor_id, time)";
        damage(&lab, &format!("DROP INDEX monitor_time_index{on}; {renamed}"));
        assert_eq!(codes(&lab), [""; 0], "{}", lab.engine());
    }
}

#[test]
fn makes_foreign_keys_once_the_orphans_are_gone() {
    let Some(lab) = Lab::mariadb("2.5.3") else { return };
    furnish(&lab);
    let key = lab.sql(
        "SELECT CONSTRAINT_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = 'kuma' AND TABLE_NAME = \
         'monitor_notification' AND REFERENCED_TABLE_NAME = 'monitor'",
    );
    damage(
        &lab,
        &format!(
            "{ONCE_THERE} ALTER TABLE monitor_notification DROP FOREIGN KEY {}; INSERT INTO monitor_notification (id, \
             monitor_id, \
             notification_id) VALUES (5, 99, 1)",
            key.trim()
        ),
    );
    assert_eq!(codes(&lab), ["K013", "K007"]);
    lab.ok("doctor --fix --yes");
    assert_eq!(codes(&lab), [""; 0]);
    assert_eq!(lab.sql("SELECT count(*) FROM monitor_notification").trim(), "0");
}

#[test]
fn converts_tables_to_utf8mb4() {
    let Some(lab) = Lab::mariadb("2.5.3") else { return };
    furnish(&lab);
    lab.sql("INSERT INTO tag (id, name, color) VALUES (1, 'Zürich', '#fff')");
    damage(&lab, "ALTER TABLE tag CONVERT TO CHARACTER SET latin1; ALTER DATABASE kuma CHARACTER SET latin1");
    fixed(&lab, "K010");
    assert_eq!(lab.sql("SELECT name FROM tag").trim(), "Zürich");
    assert_eq!(
        lab.sql("SELECT DEFAULT_CHARACTER_SET_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'kuma'").trim(),
        "utf8mb4"
    );
}

#[test]
fn the_fix_of_equal_findings_is_shown_once() {
    let Some(lab) = Lab::mariadb("2.5.3") else { return };
    damage(&lab, "ALTER TABLE tag CONVERT TO CHARACTER SET latin1; ALTER TABLE proxy CONVERT TO CHARACTER SET latin1");
    let shown = lab.ok("doctor");
    let lines: Vec<&str> = shown.lines().take(4).map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(lines, ["K010 error", "K010 error", "     fix for each", "2 findings"], "{shown}");
    lab.ok("doctor --fix --yes");
    assert_eq!(codes(&lab), [""; 0]);
}

/// Destroys two pages in the middle of the database; returns where it is and what it holds now.
fn zero_the_middle(lab: &Lab) -> (std::path::PathBuf, Vec<u8>) {
    let path = lab.folder().join("kuma.db");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8192].fill(0);
    fs::write(&path, &bytes).unwrap();
    (path, bytes)
}

#[test]
fn finds_a_wal_of_another_time() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    zero_the_middle(&lab);
    fs::write(lab.folder().join("kuma.db-wal"), [7; 9000]).unwrap();
    let ran = lab.run("doctor --json");
    let found: Json = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(found["findings"][0]["code"], "K004", "{found}");
}

#[test]
fn knows_a_folder_that_is_not_the_one() {
    let lab = Lab::sqlite("2.5.3");
    let empty = lab.root.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let ran = Ran::of(lab.bare().args(["-t", empty.to_str().unwrap(), "doctor", "--detailed-exitcode", "--json"]));
    assert_eq!(ran.exit, 20, "{}", ran.err);
    let found: Json = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((found["findings"][0]["code"].as_str(), found["findings"].as_array().unwrap().len()), (Some("K021"), 1));
    fs::write(empty.join("kuma.db"), "").unwrap();
    let ran = Ran::of(lab.bare().args(["-t", empty.to_str().unwrap(), "doctor"]));
    assert!(ran.out.starts_with("K021 "), "{}", ran.out);
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 1, "looking leaves nothing behind");
}

#[test]
fn gives_files_back_to_the_user_of_the_server() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let lab = Lab::sqlite("2.5.3");
    for entry in fs::read_dir(lab.folder()).unwrap() {
        std::os::unix::fs::chown(entry.unwrap().path(), Some(1000), Some(1000)).unwrap();
    }
    std::os::unix::fs::chown(lab.folder(), Some(1000), Some(1000)).unwrap();
    assert_eq!(codes(&lab), [""; 0]);
    let path = lab.folder().join("kuma.db");
    std::os::unix::fs::chown(&path, Some(0), Some(0)).unwrap();
    assert_eq!(codes(&lab), ["K022"]);
    let ran = lab.run("doctor --fix --yes");
    assert_eq!(ran.exit, 0, "{}{}", ran.out, ran.err);
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (1000, 1000, 0o600));
    assert_eq!(codes(&lab), [""; 0]);
}

#[test]
fn sets_a_stale_file_beside_mariadb_aside() {
    let Some(other) = Lab::mariadb("2.5.3") else { return };
    let lab = Lab::sqlite("2.5.3");
    // Only a socket in the data folder is used because the configuration in it says so.
    let socket = lab.folder().join("sock");
    fs::hard_link(other.target.split_once("socket=").unwrap().1, &socket).unwrap();
    let socket = socket.display();
    let user = other.target.split_once("//").unwrap().1.split('@').next().unwrap();
    let config = format!(
        r#"{{"type": "mariadb", "hostname": "localhost", "port": 3306, "username": "{user}", "password": "", "dbName": "kuma", "socketPath": "{socket}"}}"#
    );
    fs::write(lab.folder().join("db-config.json"), config).unwrap();
    other.sql("INSERT INTO monitor (id, name, type, user_id) VALUES (1, 'Shop', 'group', 1)");
    other.sql("INSERT INTO heartbeat (monitor_id, status, time) VALUES (1, 1, '2026-01-01 00:00:00')");
    assert_eq!(codes(&lab), ["K021"]);
    lab.ok("doctor --fix K021 --yes");
    assert_eq!(codes(&lab), [""; 0]);
    let aside = fs::read_dir(lab.folder()).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
    assert_eq!(aside.filter(|name| name.starts_with("kuma.db")).collect::<Vec<_>>().len(), 1, "nothing is deleted");
    assert!(!lab.folder().join("kuma.db").exists());
}

#[test]
fn sets_a_half_made_embedded_mariadb_aside() {
    let lab = Lab::sqlite("2.5.3");
    fs::remove_file(lab.folder().join("kuma.db")).unwrap();
    fs::write(lab.folder().join("db-config.json"), r#"{"type": "embedded-mariadb"}"#).unwrap();
    fs::create_dir(lab.folder().join("mariadb")).unwrap();
    let ran = lab.fails(3, "doctor --json");
    let found: Json = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(found["findings"][0]["code"], "K023", "{found}");
    assert_eq!(found["unread"][0]["part"], "database", "what could not be looked at is named");
    lab.fails(3, "doctor --fix --yes");
    assert!(!lab.folder().join("mariadb").exists());
    let kept = fs::read_dir(lab.folder()).unwrap().flatten();
    assert_eq!(kept.filter(|entry| entry.file_name().to_string_lossy().starts_with("mariadb.stale-")).count(), 1);
}

#[test]
fn fixes_everything_at_once_in_one_transaction() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        damage(&lab, ONCE_THERE);
        damage(
            &lab,
            "UPDATE monitor SET conditions = '', `interval` = 0, user_id = NULL, parent = 3 WHERE id = 3; \
             UPDATE maintenance SET timezone = 'Nowhere'; UPDATE setting SET value = '' WHERE `key` = 'jwtSecret'; \
             UPDATE setting SET value = '\"migrating\"' WHERE `key` = 'migrateAggregateTableState'; \
             UPDATE knex_migrations_lock SET is_locked = 1; \
             INSERT INTO stat_daily (monitor_id, timestamp, ping, up, down) VALUES (99, 2147480000, 1, 1, 0); \
             INSERT INTO heartbeat (id, monitor_id, status, time) VALUES (7, 98, 9, '2026-01-01 00:00:00')",
        );
        let found = codes(&lab);
        assert_eq!(found.len(), 11, "{found:?}");
        // What stopped the first start stands before what came of it.
        let at = |code: &str| found.iter().position(|found| found == code).unwrap();
        assert!(at("K006") < at("K005") && at("K007") < at("K005"), "{found:?}");
        lab.ok("doctor --fix --yes");
        assert_eq!(codes(&lab), [""; 0]);
        assert_eq!(
            lab.json("backup list --undo")["snapshots"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|s| s["manifest"]["reason"] == "doctor --fix")
                .count(),
            1
        );
    }
}

#[test]
fn fixes_only_what_is_named() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        damage(&lab, "UPDATE monitor SET conditions = '', user_id = NULL WHERE id = 3");
        lab.ok("doctor --fix k15 --yes");
        assert_eq!(codes(&lab), ["K001"]);
    }
}

#[test]
fn explains_every_code() {
    let lab = Lab::sqlite("2.5.3");
    for check in CHECKS {
        let text = lab.ok(&format!("doctor --explain {}", check.code));
        assert!(text.starts_with(&format!("{}: {}", check.code, check.title)), "{text}");
        for explained in check.explains {
            assert!(CHECKS.iter().any(|other| other.code == *explained), "{}: {explained}", check.code);
        }
    }
    assert_eq!(lab.ok("doctor --explain").lines().count(), CHECKS.len() + 1);
    assert!(lab.fails(2, "doctor --explain K999").err.contains("unknown code `K999`"));
    assert!(CHECKS.is_sorted_by_key(|check| check.code));
}

#[test]
fn the_page_lists_every_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/doctor.md");
    let page = fs::read_to_string(path).unwrap();
    let rows: String = CHECKS
        .iter()
        .map(|check| {
            format!(
                "| {} | {} | {} | {} | {} |\n",
                check.code,
                check.severity.word(),
                check.title,
                check.explanation,
                check.fix
            )
        })
        .collect();
    let (begin, end) = ("<!-- codes -->\n", "<!-- /codes -->");
    let head = page.split_once(begin).unwrap().0;
    let tail = page.split_once(end).unwrap().1;
    let desired = format!(
        "{head}{begin}| code | severity | what | how it shows | what `--fix` does \
         |\n|---|---|---|---|---|\n{rows}{end}{tail}"
    );
    if std::env::var("SNAPSHOTS").is_ok_and(|value| value == "overwrite") {
        fs::write(path, &desired).unwrap();
        return;
    }
    assert!(page == desired, "docs/doctor.md is not what the table says: run with SNAPSHOTS=overwrite");
}

/// A data folder of the embedded MariaDB, in a container that runs, with nothing wrong.
pub fn contained() -> Evidence {
    let file =
        |name: &str, folder| FileEvidence { name: name.into(), size: 500, uid: 1000, gid: 1000, mode: 0o755, folder };
    Evidence {
        folder: Some(Folder {
            path: "/data".into(),
            engine: Some(EngineKind::MariaDb),
            embedded: true,
            free: 5_000,
            size: 1_000,
            files: vec![file("", true), file("db-config.json", false), file("error.log", false), file("mariadb", true)],
            server: Some((1000, 1000)),
            mariadb_installed: Some(true),
            read_only: false,
            read_only_file_system: false,
            holders: Vec::new(),
            network: None,
            mariadb: Vec::new(),
            uploads: Vec::new(),
            screenshots: 0,
        }),
        container: Some(Running {
            name: "uptime-kuma".into(),
            image: "louislam/uptime-kuma:2-slim".into(),
            up: true,
            looping: false,
            failed: false,
            others: Vec::new(),
            has_mariadb: Some(true),
            release: None,
            lacking: None,
            log: Vec::new(),
        }),
        ..Evidence::none(chrono::DateTime::UNIX_EPOCH)
    }
}

/// The only finding of `evidence`.
fn only(evidence: &Evidence) -> kumadb::doctor::Finding {
    let mut findings = kumadb::doctor::examine(evidence);
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings.remove(0)
}

#[test]
fn judges_what_no_test_can_make_of_a_disk_and_an_image() {
    assert_eq!(kumadb::doctor::examine(&contained()), []);

    let mut full = contained();
    full.folder.as_mut().unwrap().free = 999;
    let found = only(&full);
    assert_eq!((found.code, found.is_fixable()), ("K011", false));
    let Fix::Advice(advice) = found.fault.fix else { panic!("nothing is deleted by itself") };
    assert!(advice.contains("`error.log` (500 B)"), "{advice}");
    assert!(advice.contains("kumadb backup prune"), "{advice}");

    let mut mounted = contained();
    mounted.folder.as_mut().unwrap().read_only = true;
    assert_eq!(only(&mounted).code, "K022");

    let mut dumped = contained();
    let file = |name: &str, uid, mode| FileEvidence { name: name.into(), size: 5, uid, gid: uid, mode, folder: false };
    dumped.folder.as_mut().unwrap().server = Some((0, 0));
    dumped.folder.as_mut().unwrap().mariadb = vec![
        file("mariadb/ibdata1", 1000, 0o660),
        file("mariadb/kuma/monitor.ibd", 0, 0o660),
        file("mariadb/mysql_upgrade_info", 0, 0o644),
    ];
    let found = only(&dumped);
    assert_eq!(found.code, "K022");
    let path = "/data/mariadb/kuma/monitor.ibd".into();
    assert_eq!(found.fault.fix, Fix::Files(vec![FileChange::Own { path, uid: 1000, gid: 1000, mode: 0o660 }]));

    let mut slim = contained();
    slim.container.as_mut().unwrap().has_mariadb = Some(false);
    assert_eq!(only(&slim).code, "K023");

    let mut copied = contained();
    copied.folder.as_mut().unwrap().files[1].uid = 0;
    copied.folder.as_mut().unwrap().files[1].gid = 0;
    let Fix::Files(changes) = only(&copied).fault.fix else { panic!() };
    let path = "/data/db-config.json".into();
    assert_eq!(changes, [FileChange::Own { path, uid: 1000, gid: 1000, mode: 0o755 }]);
}

#[test]
fn the_log_of_a_server_that_does_not_start_names_the_reason() {
    let crashed = |log: &[&str]| {
        let mut evidence = contained();
        let container = evidence.container.as_mut().unwrap();
        container.looping = true;
        container.log = log.iter().map(|line| (*line).to_owned()).collect();
        let found = only(&evidence);
        assert_eq!(found.code, "K062");
        found.fault.what
    };
    for (line, words) in [
        // As 2.5.3 writes them.
        ("[SERVER] ERROR: Failed to prepare your database: Migration table is already locked", "(K008)"),
        ("[SERVER] ERROR: Failed to prepare your database: Aggregate table migration is already in progress", "(K005)"),
        (
            "[SERVER] ERROR: Failed to prepare your database: alter table `monitor` add column `bearer_token` text default \
             null - SQLITE_ERROR: duplicate column name: bearer_token",
            "(K009)",
        ),
        (
            "[SERVER] ERROR: Failed to prepare your database: SELECT `value` FROM setting WHERE `key` = 'database_version'  \
             limit 1 - SQLITE_ERROR: no such table: setting",
            "a table is missing",
        ),
        ("[SERVER] ERROR: Failed to prepare your database: Invalid status", "(K006)"),
        ("[DB] ERROR: Start Uptime-Kuma failed due to issue patching the database", "(K051)"),
        ("Error: ER_NO_SUCH_TABLE: Table 'kuma.setting' doesn't exist", "a table is missing"),
        ("Error: listen EADDRINUSE: address already in use :::3001", "its port is in use"),
        ("Error: SQLITE_READONLY: attempt to write a readonly database", "no permission"),
        (
            "2026-11-30  1:02:03 0 [ERROR] InnoDB: The log sequence number is in the future",
            "its MariaDB does not start",
        ),
        ("Error: ENOSPC: no space left on device, write", "the disk is full"),
    ] {
        let given = crashed(&["2026-11-30T01:02:03Z [SERVER] INFO: Welcome", line, "    at main (server.js:1:1)"]);
        assert!(given.contains(words) && given.contains(line), "{line}: {given}");
    }
    // What a monitor could not reach is no reason.
    let monitor = "2026-11-30T01:02:03Z [MONITOR] WARN: Monitor #1 'db': Failing: connect ECONNREFUSED 10.0.0.1:5432";
    assert!(crashed(&[monitor]).contains("does not show a known reason"));

    let mut failed = contained();
    let container = failed.container.as_mut().unwrap();
    (container.up, container.failed) = (false, true);
    // As after a stop that did not close the database.
    assert_eq!(kumadb::doctor::examine(&failed), []);
    failed.container.as_mut().unwrap().log = vec!["Error: listen EADDRINUSE: address already in use".into()];
    assert!(only(&failed).fault.what.contains("ended with an error: its port is in use"));

    let mut unfinished = contained();
    unfinished.unfinished = Some("an earlier `monitor add` was interrupted".into());
    unfinished.container.as_mut().unwrap().up = false;
    let found = only(&unfinished);
    assert_eq!(found.code, "K063");
    assert!(found.fault.what.contains("container `uptime-kuma` is not running"), "{}", found.fault.what);
}

/// A `db-config.json` as people write it by hand, what is said of it, and whether the server then opens the `kuma.db`
/// beside it.
const INVALID_CONFIGS: [(&str, &str, bool); 8] = [
    ("{\"type\": \"embedded-mariadb\",}", "invalid JSON", true),
    ("\u{feff}{\"type\": \"sqlite\"}", "byte order mark", true),
    ("[]", "not a JSON object", true),
    ("{}", "`type` is missing", true),
    ("{\"type\": 3}", "`type` must be text", true),
    ("{\"type\": \"MariaDB\", \"dbName\": \"kuma\"}", "`MariaDB` is not a database type", false),
    ("{\"type\": \"mariadb\", \"dbName\": \"kuma\", \"password\": 12345}", "`password` must be text", false),
    ("{\"type\": \"mariadb\", \"hostname\": \"db\", \"port\": \"3306\"}", "`dbName` is missing", false),
];

#[test]
fn nothing_is_written_beside_an_invalid_db_config() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    lab.ok("backup create");
    let config = lab.folder().join("db-config.json");
    for (text, why, opens) in INVALID_CONFIGS {
        fs::write(&config, text).unwrap();
        let before = lab.content();
        // It is not all that was to be looked at, where no database could be opened.
        let ran = lab.run("doctor --json");
        assert_eq!(ran.exit, if opens { 0 } else { 3 }, "{text}: {}{}", ran.out, ran.err);
        let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let found = found["findings"].as_array().unwrap().iter().find(|finding| finding["code"] == "K039");
        assert!(found.is_some_and(|found| found["what"].as_str().unwrap().contains(why)), "{text}: {found:?}");
        lab.run("doctor --fix --yes");
        let exit = lab.run("monitor list").exit;
        assert_eq!(exit == 0, opens, "{text}: {exit}");
        for write in ["monitor pause Router", "vacuum --yes", "restore latest --yes"] {
            let ran = lab.run(write);
            assert!(
                ran.exit != 0 && ran.err.contains("db-config.json") && ran.err.contains(why),
                "{text}: {write}: {}",
                ran.err
            );
        }
        assert!(!ran_secret(&lab), "{text}");
        assert_eq!(lab.content(), before, "{text}");
        assert_eq!(fs::read_to_string(&config).unwrap(), text);
    }
    // Port as text, empty fields that mean nothing, and keys that are not known are as the server takes them.
    for text in [
        "{\"type\": \"sqlite\", \"authSecret\": \"keep\"}",
        "{\"type\": \"sqlite\", \"port\": 3306, \"hostname\": \"\", \"dbName\": null}",
    ] {
        fs::write(&config, text).unwrap();
        assert_eq!(codes(&lab), [""; 0], "{text}");
        lab.ok("monitor pause Router");
        lab.ok("monitor resume Router");
    }
}

/// The password of such a file is in no message.
fn ran_secret(lab: &Lab) -> bool {
    let ran = lab.run("status");
    ran.err.contains("12345") || ran.out.contains("12345")
}
