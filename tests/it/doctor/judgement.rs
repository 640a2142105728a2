//! What the doctor may not do: delete or give away what somebody may need, judge what it does not know, choose between
//! two databases.

use std::fs;
use std::path::PathBuf;

use chrono::Utc;
use kumadb::backup::Store;
use kumadb::doctor::{Fix, examine};
use kumadb::engine::Depth;
use kumadb::operation::examine::gather;
use kumadb::operation::{self, Observer, Settings, Step, Transaction};
use kumadb::plan::Plan;
use serde_json::Value as Json;

use crate::doctor::findings::{codes, damage, furnish};
use crate::support::lab::{Lab, Ran, instance_at};
use crate::support::mariadbd::copy_folder;

/// Copies kumadb's own folder as soon as the undo snapshot is stored: what a run leaves that is killed then.
struct Killed {
    work: PathBuf,
    left: PathBuf,
}

impl Observer for Killed {
    fn step(&mut self, step: &Step) -> kumadb::Result<()> {
        if let Step::Packed { .. } = step {
            copy_folder(&self.work, &self.left);
        }
        Ok(())
    }
}

/// The findings with `code`.
fn found(lab: &Lab, code: &str) -> Vec<Json> {
    let found = lab.run("doctor --json").out;
    let found: Json = serde_json::from_str(&found).unwrap();
    found["findings"].as_array().unwrap().iter().filter(|finding| finding["code"] == code).cloned().collect()
}

/// Items of every kind that belongs to a user.
fn furnish_more(lab: &Lab) {
    furnish(lab);
    lab.sql(
        "INSERT INTO proxy (id, user_id, protocol, host, port, auth, active) VALUES (1, 1, 'http', '10.0.0.1', 3128, 0, 1); \
         INSERT INTO docker_host (id, user_id, name, docker_type, docker_daemon) VALUES (1, 1, 'local', 'socket', \
         '/var/run/docker.sock'); \
         INSERT INTO remote_browser (id, user_id, name, url) VALUES (1, 1, 'chrome', 'ws://chrome:3000'); \
         INSERT INTO api_key (id, user_id, `key`, name, active) VALUES (1, 1, 'hash', 'prometheus', 1)",
    );
}

const OWNED: [&str; 7] =
    ["monitor", "notification", "proxy", "docker_host", "remote_browser", "api_key", "maintenance"];

fn owners(lab: &Lab) -> Vec<String> {
    let owners = |table: &&str| {
        let sql = format!("SELECT coalesce(user_id, 'nobody') FROM {table} ORDER BY id");
        lab.sql(&sql).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    OWNED.iter().flat_map(owners).collect()
}

#[test]
fn everything_of_a_deleted_user_is_kept_for_the_next() {
    for lab in Lab::both("2.5.3") {
        furnish_more(&lab);
        assert_eq!(codes(&lab), [""; 0], "{}", lab.engine());
        // What `DELETE FROM user` and a new setup leave behind.
        damage(&lab, "UPDATE `user` SET id = 2 WHERE id = 1; UPDATE maintenance SET user_id = NULL");
        assert_eq!(codes(&lab), ["K015"], "{}", lab.engine());
        let all = found(&lab, "K015");
        assert_eq!(all.len(), 1, "{all:?}");
        let what = all[0]["what"].as_str().unwrap();
        for part in [
            "4 monitors",
            "1 notification",
            "1 proxy",
            "1 docker host",
            "1 remote browser",
            "1 API key",
            "1 maintenance window",
        ] {
            assert!(what.contains(part), "{what}");
        }
        assert!(what.contains("no user, or to users who do not exist (1)"), "{what}");
        assert!(all[0]["fix"].as_str().unwrap().contains("set `user_id` to 2 in 4 rows of `monitor`"), "{all:?}");
        let ran = lab.run("doctor --fix --yes");
        assert_eq!(ran.exit, 0, "{}{}", ran.out, ran.err);
        assert!(!ran.err.contains("DELETED"), "{}", ran.err);
        assert_eq!(owners(&lab), ["2"; 10], "{}", lab.engine());
    }
}

#[test]
fn no_user_gets_items_that_may_belong_to_another() {
    for lab in Lab::both("2.5.3") {
        furnish_more(&lab);
        lab.sql(
            "INSERT INTO `user` (id, username, password, active) SELECT 2, 'second', password, 1 FROM `user` WHERE id = 1",
        );
        damage(
            &lab,
            "INSERT INTO `user` (id, username) VALUES (9, 'gone'); DELETE FROM `user` WHERE id = 9; UPDATE notification SET \
             user_id = 9; UPDATE monitor SET user_id = NULL WHERE id = 3",
        );
        let all = found(&lab, "K015");
        assert_eq!((all.len(), &all[0]["fixable"]), (1, &Json::Bool(false)), "{all:?}");
        assert!(all[0]["fix"].as_str().unwrap().contains("kumadb user adopt NAME"), "{all:?}");
        let before = lab.rows();
        lab.ok("doctor --fix --yes");
        assert_eq!(lab.rows(), before);
        lab.ok("user adopt second --yes");
        assert_eq!(lab.sql("SELECT user_id FROM notification").trim(), "2");
        assert_eq!(
            lab.sql("SELECT user_id FROM monitor ORDER BY id").split_whitespace().collect::<Vec<_>>(),
            ["1", "1", "2", "1"]
        );
    }
}

#[test]
fn deleted_rows_are_in_a_file_although_the_run_is_killed_right_after_its_snapshot() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    damage(&lab, "INSERT INTO heartbeat (id, monitor_id, status, time) VALUES (80, 91, 1, '2026-01-01 00:00:00')");
    let instance = instance_at(&lab.target, lab.root.path(), lab.root.path().join("state"));
    let evidence = gather(&instance, Utc::now(), Depth::Structure);
    let mut plan = Plan::of(&evidence.database.as_ref().unwrap().config.fingerprint);
    for finding in examine(&evidence).into_iter().filter(|finding| finding.code == "K007") {
        let Fix::Rows(steps) = finding.fault.fix else { panic!("{finding:?}") };
        plan.steps.extend(steps);
    }
    let (work, left) = (instance.work().to_owned(), lab.root.path().join("left"));
    let settings = Settings { keeps_removed: true, ..Settings::new("doctor --fix") };
    let mut killed = Killed { work: work.clone(), left: left.clone() };
    let outcome =
        operation::run(&instance, &Store::new(lab.store()), Transaction::Plan(&plan), &settings, &mut killed).unwrap();
    let file = outcome.removed.unwrap();
    let rows = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    fs::remove_dir_all(&work).unwrap();
    fs::rename(&left, &work).unwrap();
    lab.ok("recover");
    assert_eq!(fs::read(&file).unwrap(), rows);
    assert!(String::from_utf8(rows).unwrap().contains("\"monitor_id\":91"));
}

#[test]
fn rows_that_are_deleted_are_listed_first() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let beats: Vec<String> = (50..75).map(|id| format!("({id}, 90, 1, '2026-01-01 00:00:00')")).collect();
        damage(
            &lab,
            &format!(
                "INSERT INTO heartbeat (id, monitor_id, status, time) VALUES {}, (80, 91, 1, '2026-01-01 00:00:00'); \
                 INSERT INTO monitor_notification (id, monitor_id, notification_id) VALUES (7, 90, 1)",
                beats.join(", ")
            ),
        );
        let all = found(&lab, "K007");
        assert_eq!(all.len(), 2, "one for each table: {all:?}");
        assert!(
            all[0]["what"]
                .as_str()
                .unwrap()
                .starts_with("26 rows of `heartbeat` refer to monitor 90, 91, which do not")
        );
        assert_eq!(all[0]["fix"], "delete 26 rows of `heartbeat`");
        let ran = lab.run("doctor --fix K007 --yes");
        let (_, deleted) = ran.err.split_once("DELETED").unwrap();
        assert!(deleted.contains("- `heartbeat` of monitor 90, which does not exist: 25 rows"), "{deleted}");
        assert!(
            deleted.contains(
                "- `monitor_notification` 7 of monitor 90, which does not exist (monitor_id 90, notification_id 1)"
            ),
            "{deleted}"
        );
    }
}

#[test]
fn a_database_of_an_unknown_release_is_only_read() {
    // As a server of 3.0 makes it: users with text ids, and rows that belong to nobody until the first login.
    let later =
        "INSERT INTO knex_migrations (name, batch, migration_time) VALUES ('2025-10-29-0000-better-auth.js', 2, TIME)";
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let is_sqlite = lab.engine() == "SQLite";
        damage(&lab, &later.replace("TIME", if is_sqlite { "1784000000000" } else { "now()" }));
        let (alter, add) = ("ALTER TABLE notification DROP COLUMN user_id;", "ADD COLUMN user_id varchar(255) NULL");
        damage(
            &lab,
            &format!("{alter} ALTER TABLE notification {add}; UPDATE notification SET user_id = 'k3Xexampleid'"),
        );
        damage(&lab, "UPDATE monitor SET user_id = NULL; UPDATE maintenance SET user_id = NULL");
        damage(&lab, "INSERT INTO heartbeat (id, monitor_id, status, time) VALUES (7, 99, 5, '2026-01-01 00:00:00')");
        assert_eq!(codes(&lab), ["K020"], "{}", lab.engine());
        let what = found(&lab, "K020")[0]["what"].as_str().unwrap().to_owned();
        assert!(what.contains("a beta, a nightly build or a fork") && what.contains("rows were not checked"), "{what}");
        let before = lab.rows();
        lab.ok("doctor --fix --yes");
        for line in [
            "user adopt --yes",
            "user adopt -n",
            "user activate",
            "monitor add group --name A",
            "monitor pause Shop",
            "history prune --keep 1 --yes",
            "sql --write 'DELETE FROM tag'",
            "vacuum --yes",
        ] {
            let ran = lab.run(line);
            if ran.exit == 0 {
                assert!(ran.out.contains("nothing to"), "{line}: {}{}", ran.out, ran.err);
                continue;
            }
            assert_eq!(ran.exit, 9, "{}: {line}: {}{}", lab.engine(), ran.out, ran.err);
            assert!(
                ran.err.contains("has 1 migration that kumadb does not know (`2025-10-29-0000-better-auth.js`)"),
                "{}",
                ran.err
            );
            assert!(
                ran.err.contains("a newer kumadb may know this release") && !ran.err.contains("--allow"),
                "{}",
                ran.err
            );
        }
        assert_eq!(lab.rows(), before, "{}", lab.engine());
        for line in ["status", "monitor list", "export", "backup create", "sql 'SELECT name FROM monitor'"] {
            lab.ok(line);
        }
    }
}

/// Makes the configuration of `lab` name the MariaDB of `other`, with these fields instead.
fn name(lab: &Lab, other: &Lab, fields: &[(&str, &str)]) {
    // Only a socket in the data folder is used.
    let socket = lab.folder().join("mariadb.sock");
    fs::hard_link(other.target.split_once("socket=").unwrap().1, &socket).unwrap();
    let user = other.target.split_once("//").unwrap().1.split('@').next().unwrap();
    let mut config = serde_json::json!({
        "type": "mariadb", "hostname": "localhost", "port": 3306, "username": user, "password": "", "dbName": "kuma",
        "socketPath": socket,
    });
    for (field, value) in fields {
        config[*field] = match *field {
            "socketPath" => lab.folder().join(value).display().to_string().into(),
            _ => (*value).into(),
        };
    }
    fs::write(lab.folder().join("db-config.json"), config.to_string()).unwrap();
}

#[test]
fn a_person_chooses_between_two_databases() {
    let Some(other) = Lab::mariadb("2.5.3") else { return };
    other.mariadbd.as_ref().unwrap().create_database("empty", "utf8mb4");
    let beat = |lab: &Lab, time: &str| {
        lab.sql("DELETE FROM heartbeat; DELETE FROM monitor");
        lab.sql("INSERT INTO monitor (id, name, user_id) VALUES (3, 'Shop', 1)");
        lab.sql(&format!("INSERT INTO heartbeat (monitor_id, status, time) VALUES (3, 1, '{time}')"));
    };
    beat(&other, "2026-02-01 00:00:00");
    // What the MariaDB has, if it can be read, and the newest heartbeat of `kuma.db`.
    for (fields, time, expected) in [
        (&[("dbName", "empty")][..], "2026-01-01", "a MariaDB that cannot be read (`data` is not a database"),
        (&[("socketPath", "nowhere.sock")], "2026-01-01", "a MariaDB that cannot be read (cannot connect to MariaDB"),
        (&[("username", "nobody")], "2026-01-01", "a MariaDB that cannot be read (access denied"),
        (&[], "2026-03-01", "it is not certain which of them is the old one"),
        (&[], "2026-01-01", "an old `kuma.db` exists (1 user, 1 monitor, newest heartbeat 2026-01-01 00:00:00 UTC)"),
    ] {
        let lab = Lab::sqlite("2.5.3");
        beat(&lab, &format!("{time} 00:00:00"));
        name(&lab, &other, fields);
        let k021 = found(&lab, "K021");
        let stale = k021.iter().find(|one| one["what"].as_str().unwrap().contains("kuma.db`")).unwrap();
        let what = stale["what"].as_str().unwrap();
        assert!(what.contains(expected), "{what}");
        assert!(what.contains("1 user, 1 monitor, newest heartbeat"), "{what}");
        let is_old = expected.starts_with("an old");
        assert_eq!(stale["fixable"], is_old, "{what}");
        // Not by the way, whatever was found.
        lab.run("doctor --fix --yes");
        assert!(lab.folder().join("kuma.db").exists(), "{what}");
        let ran = lab.run("doctor --fix K021 --yes");
        assert_eq!(lab.folder().join("kuma.db").exists(), !is_old, "{what}: {}{}", ran.out, ran.err);
    }
}

#[test]
fn statistics_of_deleted_heartbeats_are_kept() {
    // The upgrade was killed while it deleted the heartbeats that it had aggregated.
    let sql = "UPDATE setting SET value = '\"migrating\"' WHERE `key` = 'migrateAggregateTableState'; \
               INSERT INTO stat_daily (monitor_id, timestamp, ping, up, down) VALUES (3, 86400, 1, 1440, 0)";
    for (lab, ran) in crate::doctor::findings::fixes(Lab::both("2.5.3"), "K005", sql) {
        assert!(!ran.err.contains("DELETED"), "{}", ran.err);
        let state = lab.sql("SELECT value FROM setting WHERE `key` = 'migrateAggregateTableState'");
        assert_eq!((state.trim(), lab.sql("SELECT up FROM stat_daily").trim()), ("\"migrated\"", "1440"));
        // Not when the heartbeats were deleted by somebody else, before those of another monitor were aggregated.
        lab.sql(
            "UPDATE setting SET value = '\"migrating\"' WHERE `key` = 'migrateAggregateTableState'; INSERT INTO heartbeat \
             (monitor_id, status, time) VALUES (1, 1, '2026-01-01 00:00:00')",
        );
        let (before, k005) = (lab.rows(), found(&lab, "K005"));
        assert!(k005[0]["what"].as_str().unwrap().contains("1 monitor with heartbeats still have no"), "{k005:?}");
        lab.run("doctor --fix --yes");
        assert_eq!(lab.rows(), before);
    }
}

#[test]
fn a_server_that_aggregates_on_a_folder_is_not_to_be_stopped() {
    let lab = Lab::sqlite("2.5.3");
    lab.sql("UPDATE setting SET value = '\"migrating\"' WHERE key = 'migrateAggregateTableState'");
    let before = lab.rows();
    // As a server on this machine has it open.
    let open = fs::File::open(lab.folder().join("kuma.db")).unwrap();
    let k005 = found(&lab, "K005");
    assert!(k005[0]["fix"].as_str().unwrap().contains("Do not stop the server"), "{k005:?}");
    lab.run("doctor --fix --yes");
    let refused = lab.fails(9, "monitor add group --name New");
    assert!(
        refused.err.contains("wait until the migration is done") && !refused.err.contains("stop that"),
        "{}",
        refused.err
    );
    assert_eq!(lab.rows(), before);
    drop(open);
    assert_eq!(found(&lab, "K005")[0]["fixable"], true);
}

#[test]
fn a_wrong_clock_deletes_no_history() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let beats: Vec<String> = (10..30).map(|id| format!("({id}, 3, 1, '2090-01-01 00:00:{id}')")).collect();
        let stats: Vec<String> =
            (0..20).map(|n| format!("(3, {}, 1, 1, 0)", 3_786_912_000_u64 / 2 + n * 3600)).collect();
        damage(&lab, &format!("INSERT INTO heartbeat (id, monitor_id, status, time) VALUES {}", beats.join(", ")));
        damage(
            &lab,
            &format!("INSERT INTO stat_hourly (monitor_id, timestamp, ping, up, down) VALUES {}", stats.join(", ")),
        );
        for finding in found(&lab, "K025").iter().chain(&found(&lab, "K031")) {
            assert!(finding["fix"].as_str().unwrap().starts_with("check the clock"), "{finding}");
        }
        let before = lab.rows();
        lab.ok("doctor --fix --yes");
        assert_eq!(lab.rows(), before);
    }
}

#[test]
fn an_embedded_mariadb_with_tables_is_not_set_aside() {
    let lab = Lab::sqlite("2.5.3");
    fs::remove_file(lab.folder().join("kuma.db")).unwrap();
    fs::write(lab.folder().join("db-config.json"), r#"{"type": "embedded-mariadb"}"#).unwrap();
    fs::create_dir_all(lab.folder().join("mariadb/kuma")).unwrap();
    fs::create_dir_all(lab.folder().join("mariadb/mysql")).unwrap();
    // Only `ibdata1` is missing.
    fs::write(lab.folder().join("mariadb/kuma/monitor.ibd"), "").unwrap();
    let k023 = found(&lab, "K023");
    assert!(k023[0]["fix"].as_str().unwrap().contains("still has the files of 1 table"), "{k023:?}");
    lab.run("doctor --fix --yes");
    assert!(lab.folder().join("mariadb/kuma/monitor.ibd").exists());
}

#[test]
fn a_damaged_database_loses_no_row_to_another_finding() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    damage(&lab, "INSERT INTO heartbeat (id, monitor_id, status, time) VALUES (7, 99, 1, '2026-01-01 00:00:00')");
    // An index that says something else than its table does: only a full check sees it.
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_setting_1'";
    let page: usize = lab.sql(sql).trim().parse().unwrap();
    let file = lab.folder().join("kuma.db");
    let mut bytes = fs::read(&file).unwrap();
    let start = (page - 1) * 4096;
    let at = bytes[start..start + 4096].windows(9).position(|part| part == b"jwtSecret").unwrap();
    bytes[start + at] = b'J';
    fs::write(&file, &bytes).unwrap();
    let before = lab.sql("SELECT count(*) FROM heartbeat");
    let ran: Ran = lab.run("doctor --fix K007 --yes");
    assert!(ran.err.contains("the database is damaged; fix that first"), "{}{}", ran.out, ran.err);
    assert_eq!(lab.sql("SELECT count(*) FROM heartbeat"), before);
}

/// Two users, each with a group `Web2` and a monitor `Shop2` in it; a notification of the second on a monitor of the first.
fn two_users(lab: &Lab) {
    furnish(lab);
    lab.sql(
        "INSERT INTO `user` (id, username, password, active) SELECT 2, 'second', password, 1 FROM `user` WHERE id = 1; \
         INSERT INTO monitor (id, name, active, user_id, `interval`, type, retry_interval, timeout) VALUES \
         (11, 'Web2', 1, 1, 60, 'group', 60, 48), (12, 'Web2', 1, 2, 60, 'group', 60, 48); \
         INSERT INTO monitor (id, name, active, user_id, `interval`, type, url, parent, retry_interval, timeout) VALUES \
         (13, 'Shop2', 1, 1, 60, 'http', 'https://shop.example.com', 11, 60, 48), \
         (14, 'Shop2', 1, 2, 60, 'http', 'https://shop.example.com', 12, 60, 48); \
         INSERT INTO notification (id, name, active, user_id, is_default, config) VALUES (2, 'ops2', 1, 2, 1, \
         '{\"name\":\"ops2\",\"type\":\"webhook\",\"webhookURL\":\"https://h.example\"}'); \
         INSERT INTO monitor_notification (monitor_id, notification_id) VALUES (11, 2)",
    );
}

#[test]
fn two_users_keep_their_own() {
    for lab in Lab::both("2.5.3") {
        two_users(&lab);
        // The server completes it when it starts.
        lab.sql("DELETE FROM maintenance");
        assert_eq!(codes(&lab), [""; 0], "{}", lab.engine());
        // The export has whose each is, and changes nothing.
        let ran = lab.run("export --secrets -o all.yaml");
        assert_eq!(ran.exit, 0, "{}{}", ran.out, ran.err);
        assert!(!ran.err.contains("ambiguous"), "{}", ran.err);
        let text = fs::read_to_string(lab.root.path().join("all.yaml")).unwrap();
        assert_eq!(
            text.matches("owner: ").count(),
            4,
            "what belongs to the second, and what is in a group of both: {text}"
        );
        let plan = lab.ok("plan all.yaml");
        assert!(plan.trim().ends_with("12 unchanged") && !plan.contains(" to change"), "{plan}");

        // What is in a group belongs to the user of the group; the others to the first user, with his default notifications.
        fs::write(
            lab.root.path().join("more.yaml"),
            "monitors: [{name: Web2, type: group, owner: second}, {name: New, type: ping, hostname: 192.0.2.1, parent: Web2, \
             owner: second}, {name: Own, type: ping, hostname: 192.0.2.2}, {name: Deep, type: group, owner: second}, \
             {name: In, type: ping, hostname: 192.0.2.3, parent: Deep}]",
        )
        .unwrap();
        lab.ok("apply more.yaml --yes");
        lab.ok("plan more.yaml");
        let found = "SELECT m.name, m.user_id, coalesce(m.parent, 0) = 12, (SELECT count(*) FROM monitor_notification n WHERE \
                     n.monitor_id = m.id) FROM monitor m WHERE m.name IN ('New', 'Own', 'Deep', 'In') ORDER BY m.name";
        let rows = lab.sql(found);
        assert_eq!(
            rows.lines().map(|row| row.replace('\t', " ")).collect::<Vec<_>>(),
            ["Deep 2 0 1", "In 2 0 1", "New 2 1 1", "Own 1 0 0"],
            "{}",
            lab.engine()
        );

        // A command does the same; a group takes what is in it along.
        lab.ok("monitor add ping --name Cmd --hostname 192.0.2.4 --parent Deep");
        lab.ok("monitor edit 1 --parent Deep");
        let owners =
            lab.sql("SELECT name, user_id FROM monitor WHERE name IN ('Cmd', 'Network', 'Router') ORDER BY name");
        assert_eq!(owners.split_whitespace().collect::<Vec<_>>(), ["Cmd", "2", "Network", "2", "Router", "2"]);

        fs::write(lab.root.path().join("who.yaml"), "monitors: [{name: X, type: group, owner: secnod}]").unwrap();
        let ran = lab.fails(2, "apply who.yaml --yes");
        assert!(ran.err.contains("no user `secnod`") && ran.err.contains("`second`"), "{}", ran.err);
        fs::write(lab.root.path().join("move.yaml"), "monitors: [{name: Own, owner: second}]").unwrap();
        lab.ok("apply move.yaml --yes");
        assert_eq!(lab.sql("SELECT user_id FROM monitor WHERE name = 'Own'").trim(), "2");

        // What names neither a user nor a group stays whose it is, and so do its notifications.
        fs::write(lab.root.path().join("stay.yaml"), "monitors: [{path: Own, description: His}]").unwrap();
        lab.ok("apply stay.yaml --yes");
        let row = lab.sql("SELECT user_id, description FROM monitor WHERE name = 'Own'");
        assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["2", "His"]);
    }
}

#[test]
fn a_missing_column_is_named_before_anything_is_added() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        damage(&lab, "ALTER TABLE monitor DROP COLUMN location");
        assert_eq!(codes(&lab), ["K009"]);
        let what = found(&lab, "K009")[0]["what"].as_str().unwrap().to_owned();
        assert!(
            what.contains("`location` of table `monitor` is missing, although the migration that adds it is recorded"),
            "{what}"
        );
        fs::write(lab.root.path().join("one.yaml"), "monitors: [{name: One, type: group}]").unwrap();
        let before = lab.rows();
        for line in [
            "monitor add globalping --name G --url https://g.example",
            "monitor add group --name A",
            "apply one.yaml --yes",
        ] {
            let ran = lab.fails(9, line);
            assert!(ran.err.contains("column `location` is missing"), "{line}: {}", ran.err);
            assert!(ran.err.contains("kumadb doctor --fix K009"), "{line}: {}", ran.err);
        }
        assert_eq!(lab.rows(), before);
        lab.ok("doctor --fix K009 --yes");
        lab.ok("monitor add group --name A");
        lab.ok("apply one.yaml --yes");
    }
}
