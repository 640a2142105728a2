//! `kumadb upgrade` on databases of every recorded release, on both engines.

use kumadb::schema::{EngineKind, newest, recorded};

use crate::support::lab::Lab;
use crate::support::rounds;

/// Monitors of two kinds with heartbeats.
pub const ROWS: &str = "
    INSERT INTO monitor (id, name, type, user_id, active, `interval`, url) VALUES
        (1, 'Shop', 'http', 1, 1, 60, 'https://shop.example.com'), (2, 'Old', 'http', 1, 0, 60, 'https://example.de');
    INSERT INTO heartbeat (monitor_id, status, time, ping, important, msg) VALUES
        (1, 1, '2024-01-01 10:00:00', 12, 1, 'up'), (1, 0, '2024-01-01 10:01:00', NULL, 0, 'down'),
        (1, 1, '2024-01-01 10:02:00', 14, 0, 'up'), (2, 3, '2024-01-02 00:00:00', NULL, 1, 'maintenance');";

fn migrations(lab: &Lab) -> String {
    lab.sql("SELECT name FROM knex_migrations ORDER BY name")
}

/// Upgrades a database of each release to the newest one.
fn upgrade_all(engine: EngineKind) {
    let mut releases: Vec<String> = recorded(engine).iter().map(|known| known.release.to_string()).collect();
    // 2.5.1 and 2.5.3 are the same.
    releases.retain(|release| !release.starts_with("2.5.1") && *release != newest().to_string());
    for release in rounds::some(&releases, 5) {
        let lab = match engine {
            EngineKind::Sqlite => Lab::sqlite(release),
            EngineKind::MariaDb => match Lab::mariadb(release) {
                Some(lab) => lab,
                None => return,
            },
        };
        lab.sql(ROWS);
        let before = lab.rows();
        let dry = lab.json("upgrade --dry-run");
        assert_eq!((&dry["dry_run"], &dry["heartbeat_rows"]), (&true.into(), &4.into()), "{dry}");
        assert_eq!(lab.rows(), before, "{release}: a dry run changed it");
        let done = lab.json("upgrade --yes");
        assert_eq!((done["to"].as_str(), &done["blockers"]), (Some("2.5.3"), &serde_json::json!([])), "{done}");

        let fresh = match engine {
            EngineKind::Sqlite => Lab::sqlite("2.5.3"),
            EngineKind::MariaDb => Lab::mariadb("2.5.3").unwrap(),
        };
        assert_eq!(migrations(&lab), migrations(&fresh), "{release}");
        assert_eq!(lab.sql("SELECT count(*) FROM heartbeat"), "4\n", "{release}");
        if release.starts_with('1') {
            assert_eq!(lab.sql("SELECT monitor_id, up, down FROM stat_daily ORDER BY id"), "1\t2\t1\n2\t0\t0\n");
            assert_eq!(lab.sql("SELECT max(batch) FROM knex_migrations"), "1\n");
        } else {
            assert_eq!(lab.sql("SELECT max(batch) FROM knex_migrations"), "2\n", "{release}");
        }
        assert!(lab.ok("upgrade --yes").contains("nothing to upgrade"), "{release}");
        let old = lab.fails(9, "upgrade --yes --to 2.0.0");
        assert!(old.err.contains("older release"), "{}", old.err);
        // A write works, and then both are undone.
        lab.ok("monitor edit Shop --interval 90 --yes");
        lab.ok("undo --yes");
        let refused = lab.fails(9, "undo --yes --config-only");
        assert!(refused.err.contains("kumadb restore"), "{}", refused.err);
        let undone = lab.json("undo --yes");
        assert_eq!(undone["undone"], done["snapshot"], "{release}");
        assert_eq!(lab.rows(), before, "{release}: undo left differences");
    }
}

#[test]
fn every_release_on_sqlite() {
    upgrade_all(EngineKind::Sqlite);
}

#[test]
fn every_release_on_mariadb() {
    upgrade_all(EngineKind::MariaDb);
}

#[test]
fn one_step_at_a_time_is_the_same_as_all_at_once() {
    let (lab, at_once) = (Lab::sqlite("1.23.0"), Lab::sqlite("1.23.0"));
    for lab in [&lab, &at_once] {
        lab.sql(ROWS);
    }
    for release in ["1.23.17", "2.0.2", "2.1.0", "2.4.0", "2.5.0", "2.5.3"] {
        lab.ok(&format!("upgrade --yes --to {release}"));
    }
    at_once.ok("upgrade --yes");
    let rows = |lab: &Lab, table: &str| lab.sql(&format!("SELECT * FROM `{table}`"));
    for table in ["heartbeat", "stat_daily", "stat_hourly", "maintenance", "notification", "status_page"] {
        assert_eq!(rows(&lab, table), rows(&at_once, table), "{table}");
    }
    assert_eq!(migrations(&lab), migrations(&at_once));
}

#[test]
fn what_prevents_an_upgrade_is_named_and_nothing_is_changed() {
    for (sql, words) in [
        (
            "INSERT INTO maintenance (title, description, strategy, cron) VALUES ('Nightly', '', 'recurring-interval', \
             '* * * * *')",
            "maintenance `Nightly`",
        ),
        (
            "INSERT INTO heartbeat (monitor_id, status, time) VALUES (1, 7, '2024-01-01 10:00:00')",
            "1 heartbeat with a status that no release has",
        ),
        ("INSERT INTO heartbeat (monitor_id, status, time) VALUES (77, 1, '2024-01-01 10:00:00')", "does not exist"),
        (
            "INSERT INTO setting (key, value) VALUES ('migrateAggregateTableState', '\"migrating\"')",
            "the statistics are incomplete",
        ),
    ] {
        let lab = Lab::sqlite("1.23.17");
        lab.sql(ROWS);
        lab.sql(sql);
        let before = lab.content();
        let checked = lab.fails(20, "upgrade --check");
        assert!(checked.out.contains(words), "{words}: {}", checked.out);
        let refused = lab.fails(9, "upgrade --yes");
        assert!(refused.err.contains(words), "{words}: {}", refused.err);
        lab.fails(9, "upgrade --dry-run --yes");
        assert_eq!(lab.content(), before);
    }
    let lab = Lab::sqlite("1.23.17");
    lab.sql("CREATE TABLE extra (id INTEGER); ALTER TABLE monitor ADD COLUMN mine TEXT DEFAULT 'a'");
    lab.sql(ROWS);
    let checked = lab.ok("upgrade --check");
    assert!(checked.contains("`extra`") && checked.contains("`monitor.mine`"), "{checked}");
    let done = lab.json("upgrade --yes");
    assert_eq!(done["changes"]["left_out"].as_array().unwrap().len(), 2, "{done}");
    lab.fails(2, "upgrade --live");
    lab.fails(2, "upgrade --to 9.9.9");
}

#[test]
fn an_aggregation_that_was_interrupted_is_made_after_the_fix() {
    let lab = Lab::sqlite("2.5.3");
    lab.sql(ROWS);
    lab.fails(9, "upgrade --yes --to 2.5.0");
    lab.sql("UPDATE setting SET value = '\"migrating\"' WHERE key = 'migrateAggregateTableState'");
    lab.sql("INSERT INTO stat_daily (monitor_id, timestamp, ping, up, down) VALUES (1, 1704067200, 1, 1, 1)");
    assert!(lab.fails(20, "upgrade --check").out.contains("kumadb doctor --fix"));
    lab.ok("doctor --fix --yes");
    lab.ok("upgrade --yes");
    assert_eq!(lab.sql("SELECT monitor_id, up, down FROM stat_daily ORDER BY id"), "1\t2\t1\n2\t0\t0\n");
    let state = lab.sql("SELECT value FROM setting WHERE key = 'migrateAggregateTableState'");
    assert_eq!(state, "\"migrated\"\n");
    assert_eq!(lab.json("upgrade --yes"), serde_json::json!({"changes": []}));
}

#[test]
fn a_column_that_the_server_spoils_is_kept() {
    let lab = Lab::sqlite("1.23.0");
    lab.sql(ROWS);
    lab.sql("UPDATE monitor SET kafka_producer_ssl = 1");
    lab.sql("INSERT INTO status_page (slug, title, icon, theme, google_analytics_tag_id) VALUES ('a', 'A', '', 'auto', 'G-1')");
    let done = lab.json("upgrade --yes");
    assert_eq!(lab.sql("SELECT DISTINCT kafka_producer_ssl, timeout FROM monitor"), "1\t48.0\n");
    assert_eq!(lab.sql("SELECT analytics_id, analytics_type FROM status_page"), "G-1\tgoogle\n");
    lab.ok(&format!("restore {} --other-release --yes", done["snapshot"].as_str().unwrap()));
    lab.ok("upgrade --yes --as-server");
    assert_eq!(lab.sql("SELECT DISTINCT kafka_producer_ssl FROM monitor"), "0\n");
    assert_eq!(lab.sql("SELECT analytics_type IS NULL FROM status_page"), "1\n");
}

#[test]
fn without_the_privilege_to_create_databases_the_statement_that_grants_it_is_shown() {
    let Some(mut lab) = Lab::mariadb("2.0.2") else { return };
    lab.sql(ROWS);
    lab.sql("CREATE USER few@localhost IDENTIFIED BY 'a'; GRANT ALL ON `kuma`.* TO few@localhost");
    let socket = lab.mariadbd.as_ref().unwrap().socket();
    lab.target = format!("mysql://few:a@localhost/kuma?socket={}", socket.display());
    let before = lab.rows();
    let refused = lab.fails(9, "upgrade --yes");
    let grant = "GRANT ALL PRIVILEGES ON `kuma\\_kumadb\\_%`.* TO 'few'@'localhost'";
    assert!(
        refused.err.contains("is not permitted to create databases") && refused.err.contains(grant),
        "{}",
        refused.err
    );
    assert_eq!(lab.rows(), before);
    lab.sql(grant);
    // The order of the migrations, not of the alphabet.
    let done = lab.ok("upgrade --yes");
    let at = |what: &str| done.find(what).unwrap_or_else(|| panic!("{what}: {done}"));
    assert!(at("expiry of the domain enabled") < at("expiry of the domain disabled again"), "{done}");
    assert_eq!(lab.sql("SHOW DATABASES LIKE '%kumadb%'"), "");
}
