//! Values that the server reads, but not as they were meant: each is found alone, and cured where that is safe.

use std::fs;

use crate::doctor::findings::{codes, damage, fixed, fixes, furnish, only_reports, what};
use crate::support::lab::Lab;

#[test]
fn fixes_the_bookkeeping_of_1x() {
    const LISTED: &str = "SELECT key || '=' || value FROM setting WHERE key IN ('database_version', \
                          'databasePatchedFiles') ORDER BY key";
    for release in ["1.23.17", "2.5.3"] {
        let lab = Lab::sqlite(release);
        furnish(&lab);
        let right = lab.sql(LISTED);
        for (sql, words) in [
            ("DELETE FROM setting WHERE key = 'database_version'", "reduces table `monitor` to 12 columns"),
            ("DELETE FROM setting WHERE key = 'databasePatchedFiles'", "`databasePatchedFiles` is missing"),
            ("UPDATE setting SET value = '1' WHERE key = 'database_version'", "the tables are those of 10"),
            ("UPDATE setting SET value = '11' WHERE key = 'database_version'", "10 is the last number"),
            ("UPDATE setting SET value = 'null' WHERE key = 'database_version'", "12 columns"),
            ("UPDATE setting SET value = '' WHERE key = 'databasePatchedFiles'", "is not a list of names"),
            (
                "UPDATE setting SET value = json_remove(value, '$.\"patch-add-parent-monitor.sql\"') WHERE key = \
                 'databasePatchedFiles'",
                "does not contain `patch-add-parent-monitor.sql`",
            ),
        ] {
            damage(&lab, sql);
            let given = what(&lab, "K051").join("\n");
            assert!(given.contains(words), "{release}: {sql}\n{given}");
            assert_eq!(codes(&lab), ["K051"], "{release}: {sql}");
            lab.ok("doctor --fix K051 --yes");
            assert_eq!(lab.sql(LISTED), right, "{release}: {sql}");
        }
    }
}

#[test]
fn fixes_push_tokens() {
    let push = |id: u32, token: &str| {
        format!(
            "INSERT INTO monitor (id, name, type, user_id, push_token, timeout, active, conditions) VALUES ({id}, \
             'Push {id}', 'push', 1, {token}, 48, 1, '[]');"
        )
    };
    let sql = [
        push(11, "'clonedtoken000000000000000000001'"),
        push(12, "'clonedtoken000000000000000000001'"),
        push(13, "'backup-nas01'"),
        push(14, "' '"),
        push(15, "NULL"),
        push(17, "'aB3dE6gH9k'"),
    ];
    for (lab, _) in fixes(Lab::both("2.5.3"), "K052", &sql.concat()) {
        let rows = lab.sql("SELECT push_token FROM monitor WHERE type = 'push' ORDER BY id");
        let tokens: Vec<&str> = rows.lines().collect();
        assert_eq!(
            [tokens[0], tokens[2], tokens[5]],
            ["clonedtoken000000000000000000001", "backup-nas01", "aB3dE6gH9k"]
        );
        for new in [tokens[1], tokens[3], tokens[4]] {
            assert!(new.len() == 32 && new.chars().all(|c| c.is_ascii_alphanumeric()), "{rows}");
        }
    }
    // Heartbeats may arrive with these.
    let encoded = [push(11, "'with blank'"), push(12, "'a/b'")].concat();
    only_reports("K052", &encoded, "only arrive if this character is encoded in the URL");
    let lab = Lab::sqlite("2.5.3");
    lab.sql(&push(11, "'6f1c1f9e-7d0a-4c55-9d3b-0a3a8a4c7b11'"));
    assert!(what(&lab, "K052").concat().contains("more than 32 characters, which only SQLite can store"));
    lab.ok("doctor --fix --yes");
    assert!(lab.sql("SELECT push_token FROM monitor").starts_with("6f1c1f9e-"));
}

#[test]
fn reports_api_keys_that_no_user_can_use() {
    let key = |expires: &str, active: u8| {
        format!(
            "INSERT INTO setting (`key`, value, type) VALUES ('apiKeysEnabled', 'true', 'general'); INSERT INTO api_key \
             (`key`, name, user_id, active, expires) VALUES ('x', 'ci', 1, {active}, {expires})"
        )
    };
    only_reports("K053", &key("NULL", 0), "all are disabled or expired");
    only_reports("K053", &key("'2024-01-01 00:00:00'", 1), "`/metrics` answers 401");
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    damage(&lab, &key("NULL", 1));
    assert_eq!(codes(&lab), [""; 0]);
    damage(&lab, "UPDATE api_key SET expires = 'Invalid date'");
    assert!(what(&lab, "K053").concat().contains("it never expires"));
}

#[test]
fn fixes_domains_of_status_pages() {
    let sql = "INSERT INTO status_page (id, slug, title, icon, theme) VALUES (1, 'home', 'Home', '', 'auto'); \
               INSERT INTO status_page_cname (status_page_id, domain) VALUES (1, 'https://Status.Example.com:8443/x'), \
               (1, ' two.example.com '), (1, 'three.example.com')";
    for (lab, _) in fixes(Lab::both("2.5.3"), "K054", sql) {
        let domains = lab.sql("SELECT domain FROM status_page_cname ORDER BY id");
        assert_eq!(domains.lines().collect::<Vec<_>>(), ["status.example.com", "two.example.com", "three.example.com"]);
        // A proxy may send the port along.
        damage(&lab, "UPDATE status_page_cname SET domain = 'two.example.com:8443' WHERE domain = 'two.example.com'");
        assert_eq!(codes(&lab), ["K054"]);
        lab.sql("INSERT INTO setting (`key`, value, type) VALUES ('trustProxy', 'true', 'general')");
        assert_eq!(codes(&lab), [""; 0]);
    }
}

#[test]
fn fixes_timeouts_and_status_codes() {
    let like = |id: u32, set: &str| {
        format!(
            "INSERT INTO monitor (id, name, type, url, user_id, `interval`, retry_interval, timeout, conditions, \
             accepted_statuscodes_json) VALUES \
             ({id}, 'Like {id}', 'http', 'https://a.example', 1, 60, 60, 48, '[]', '[\"200-299\"]'); UPDATE monitor SET {set} WHERE \
             id = {id};"
        )
    };
    let timeouts = [like(11, "timeout = 0"), like(12, "timeout = 2880"), like(13, "timeout = 59")].concat();
    for (lab, _) in fixes(Lab::both("2.5.3"), "K055", &timeouts) {
        let rows = lab.sql("SELECT timeout * 10 FROM monitor WHERE id > 10 ORDER BY id");
        let rows: Vec<f64> = rows.lines().map(|row| row.parse().unwrap()).collect();
        assert_eq!(rows, [480.0, 480.0, 590.0]);
        let wrong = [(11, "[\"2xx\"]"), (12, "[\"200-299,301\"]"), (13, "[]")];
        let sql = wrong
            .map(|(id, codes)| format!("UPDATE monitor SET accepted_statuscodes_json = '{codes}' WHERE id = {id};"));
        damage(&lab, &sql.concat());
        fixed(&lab, "K056");
        let right = lab.sql("SELECT accepted_statuscodes_json FROM monitor WHERE id > 10 ORDER BY id");
        assert_eq!(right, "[\"200-299\"]\n[\"200-299\",\"301\"]\n[\"200-299\"]\n");
        damage(&lab, "UPDATE monitor SET accepted_statuscodes_json = '[\"ok\"]' WHERE id = 11");
        assert!(what(&lab, "K056").concat().contains("status code `ok`"));
        damage(&lab, "UPDATE monitor SET accepted_statuscodes_json = '[\"0-999\",\" 404 \"]' WHERE id = 11");
        assert_eq!(codes(&lab), [""; 0]);
    }
}

#[test]
fn reports_what_cannot_be_seen_or_sent() {
    let line = "INSERT INTO notification (name, active, user_id, is_default, config) VALUES ('LINE family', 1, 1, 1, \
                '{\"name\": \"LINE family\", \"type\": \"LineNotify\"}')";
    only_reports("K057", line, "Uptime Kuma has removed in 2.1");
    let group = "INSERT INTO `group` (id, name, public, active) VALUES (1, 'Public', 1, 1); \
                 INSERT INTO monitor_group (monitor_id, group_id) VALUES (3, 1)";
    only_reports("K058", group, "group `Public` with 1 monitor belongs to no status page");
    only_reports("K059", "CREATE TABLE lost_and_found (rootpgno INTEGER)", "from `.recover` of sqlite3");
}

#[test]
fn says_why_a_password_cannot_be_checked() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    let stored = lab.sql("SELECT password FROM user").trim().to_owned();
    for harmless in ["replace(password, '$2b$', '$2y$')", "replace(password, '$2y$', '$2a$')"] {
        damage(&lab, &format!("UPDATE user SET password = {harmless}"));
        assert_eq!(codes(&lab), [""; 0]);
    }
    let hash = lab.sql("SELECT password FROM user").trim().to_owned();
    for (sql, words) in [
        ("':' || password || char(10)", "begins with `:`"),
        ("password || char(10)", "space or line break around its hash"),
    ] {
        damage(&lab, &format!("UPDATE user SET password = {sql}"));
        assert!(what(&lab, "K016").concat().contains(words), "{sql}");
        fixed(&lab, "K016");
        assert_eq!(lab.sql("SELECT password FROM user").trim(), hash);
    }
    for (wrong, words) in [
        ("$argon2id$v=19$m=65536,t=3,p=4$ZXhhbXBsZQ$ZXhhbXBsZWV4YW1wbGVleGFtcGxl", "is an Argon2 hash"),
        ("Kuma-Lab-2026", "is not a hash: it may be the password itself"),
        (&stored[..59], "is a bcrypt hash of 59 characters instead of 60"),
        (&stored.replace("$10$", "$99$"), "is an invalid bcrypt hash"),
    ] {
        damage(&lab, &format!("UPDATE user SET password = '{wrong}'"));
        let given = what(&lab, "K016").concat();
        assert!(given.contains(words), "{wrong}: {given}");
    }
}

#[test]
fn fixes_texts_where_flags_and_numbers_belong() {
    let sql = "UPDATE monitor SET upside_down = 'no', ignore_tls = 'YES', maxretries = 'many' WHERE id = 3";
    for (lab, _) in fixes(vec![Lab::sqlite("2.5.3"), Lab::sqlite("1.23.17")], "K019", sql) {
        let found = lab.sql("SELECT upside_down, ignore_tls, maxretries FROM monitor WHERE id = 3");
        assert_eq!(found.trim(), "0\t1\t0");
    }
}

#[test]
fn a_missing_table_is_not_called_a_new_instance() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    lab.ok("backup create");
    damage(&lab, "DROP TABLE monitor");
    let given = what(&lab, "K021").concat();
    assert!(given.contains("everything that needs these tables fails") && !given.contains("setup page"), "{given}");
    lab.ok("restore latest --yes");
    assert_eq!(codes(&lab), [""; 0]);
    fs::write(lab.folder().join("kuma.db"), "").unwrap();
    assert!(what(&lab, "K021").concat().contains("setup page"));
}

#[test]
fn broken_references_are_not_called_verified() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        assert!(lab.ok("backup create --json").contains("foreign keys"));
        damage(&lab, "INSERT INTO monitor_notification (monitor_id, notification_id) VALUES (77, 1)");
        assert!(!lab.ok("backup create --json").contains("\"foreign keys\""), "{}", lab.engine());
    }
}

#[test]
fn fixes_games_and_reports_providers_of_other_releases() {
    let game = |id: u32, game: &str| {
        format!(
            "INSERT INTO monitor (id, name, type, user_id, hostname, port, game, timeout, active, conditions) VALUES \
             ({id}, 'Game {id}', 'gamedig', 1, 'game.example', 27015, '{game}', 48, 1, '[]');"
        )
    };
    let games = [game(21, "tf2"), game(22, "minecraft"), game(23, "mbe")].concat();
    for (lab, _) in fixes(Lab::both("2.5.3"), "K061", &games) {
        let rows = lab.sql("SELECT game FROM monitor WHERE type = 'gamedig' ORDER BY id");
        assert_eq!(rows.split_whitespace().collect::<Vec<_>>(), ["teamfortress2", "minecraft", "mbe"]);
    }
    for (lab, _) in fixes(vec![Lab::sqlite("2.0.2")], "K061", &games) {
        assert_eq!(lab.sql("SELECT game FROM monitor WHERE id IN (21, 23) ORDER BY id"), "tf2\nminecraftbe\n");
    }
    let provider = |kind: &str| {
        format!(
            "INSERT INTO notification (id, name, active, user_id, is_default, config) VALUES (9, 'other', 1, 1, 0, \
             '{{\"name\": \"other\", \"type\": \"{kind}\"}}')"
        )
    };
    for (release, kind, words) in [
        ("2.0.2", "Resend", Some("available since 2.1.0")),
        ("2.5.0", "ClickUp", Some("available since 2.5.1")),
        ("2.5.3", "ClickUp", None),
        ("1.23.17", "LineNotify", None),
        ("2.4.0", "nonsense", Some("release 2.4.0 does not have")),
        ("2.5.3", "Telegram", Some("did you mean `telegram`?")),
        // A newer server with the same tables may have it.
        ("2.5.3", "nonsense", None),
    ] {
        let lab = Lab::sqlite(release);
        damage(&lab, &provider(kind));
        let given = what(&lab, "K057").concat();
        assert_eq!(!given.is_empty(), words.is_some(), "{release} {kind}: {given}");
        assert!(given.contains(words.unwrap_or_default()), "{release} {kind}: {given}");
    }
}

#[test]
fn fixes_counters_that_are_gone() {
    for (lab, _) in fixes(vec![Lab::sqlite("2.5.3"), Lab::sqlite("1.23.17")], "K064", "DELETE FROM sqlite_sequence") {
        assert_eq!(lab.sql("SELECT seq FROM sqlite_sequence WHERE name = 'monitor'"), "4\n");
    }
}
