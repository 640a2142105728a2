//! The doctor on migrations that were cut off, on single monitors, and on what the data are run with.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{Duration, Utc};
use kumadb::doctor::evidence::Running;
use kumadb::doctor::{Evidence, FileChange, Fix, examine, plan_fixes};
use kumadb::engine::Depth;
use kumadb::error::{Exit, Result};
use kumadb::instance::Instance;
use kumadb::kuma::evidence::read_content;
use kumadb::operation::{self, DoneOf, FixProgress, Fixes, Journal, Mode, Resumed, Settings, Transaction};
use kumadb::plan::Plan;

use crate::doctor::findings::{ONCE_THERE, codes, damage, fixed, fixes, furnish, only_reports};
use crate::support::child::{is_killed, reported};
use crate::support::lab::{Lab, Ran, instance_at};
use crate::support::rounds;
use crate::write::every_point::{How, Points};

const NTP: &str = "2026-03-27-0000-add-ntp-monitor.js";
const EXPIRY: &str = "2025-09-02-0000-add-domain-expiry.js";

#[test]
fn finishes_a_migration_that_was_cut_off_half_way() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let whole = lab.sql("SELECT name FROM knex_migrations ORDER BY name");
        lab.sql("UPDATE monitor SET domain_expiry_notification = 0 WHERE id = 3");
        let marked = "SELECT id FROM monitor WHERE domain_expiry_notification = 0";
        let before = lab.sql(marked);
        damage(&lab, &format!("DELETE FROM knex_migrations WHERE name = '{EXPIRY}'; DROP TABLE domain_expiry"));
        let ran = fixed(&lab, "K009");
        assert!(ran.err.contains(EXPIRY), "{}", ran.err);
        assert_eq!(lab.sql("SELECT name FROM knex_migrations ORDER BY name"), whole);
        assert_eq!(lab.sql("SELECT count(*) FROM domain_expiry").trim(), "0");
        assert_eq!(lab.sql(marked), before, "what was there stays as it was");
    }
}

#[test]
fn goes_on_between_two_releases() {
    for lab in Lab::both("2.4.0") {
        furnish(&lab);
        damage(&lab, "ALTER TABLE monitor ADD COLUMN ntp_stratum_threshold INTEGER DEFAULT 5");
        fixed(&lab, "K009");
        let noted = format!("SELECT count(*), max(batch) FROM knex_migrations WHERE name = '{NTP}'");
        assert_eq!(lab.sql(&noted).trim(), "1\t2");
        let made = "SELECT ntp_time_offset_threshold, ntp_root_dispersion_threshold FROM monitor WHERE id = 3";
        assert_eq!(lab.sql(made).trim(), "1000\t500");
    }
}

#[test]
fn finishes_the_migration_and_opens_its_lock_together() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        damage(
            &lab,
            &format!(
                "DELETE FROM knex_migrations WHERE name = '{EXPIRY}'; DROP TABLE domain_expiry; \
                 UPDATE knex_migrations_lock SET is_locked = 1; UPDATE monitor SET conditions = '' WHERE id = 3"
            ),
        );
        assert_eq!(codes(&lab), ["K008", "K001", "K009"]);
        let ran = lab.fails(3, "doctor --fix --yes");
        assert!(ran.err.contains("to fix 1 other finding, run this command again afterwards"), "{}", ran.err);
        assert_eq!(lab.sql("SELECT is_locked FROM knex_migrations_lock").trim(), "0");
        assert_eq!(codes(&lab), ["K001"]);
        lab.ok("doctor --fix --yes");
        assert_eq!(codes(&lab), [""; 0]);
    }
}

#[test]
fn makes_columns_and_tables_of_its_release_that_are_missing() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        damage(&lab, "ALTER TABLE monitor DROP COLUMN location; DROP TABLE domain_expiry");
        fixed(&lab, "K009");
        assert_eq!(lab.sql("SELECT count(*) FROM monitor WHERE location IS NULL").trim(), "4");
    }
}

#[test]
fn records_again_what_was_applied() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let recorded = "SELECT name FROM knex_migrations ORDER BY name";
        let whole = lab.sql(recorded);
        let release = || lab.json("status")["release"].as_str().unwrap().to_owned();
        // The records of the first, of one that changes only rows with one that creates columns, and of all.
        for (lost, shown) in [
            ("WHERE name = '2023-08-16-0000-create-uptime.js'", "incomplete 2.5.1"),
            (
                "WHERE name IN ('2026-05-25-0000-add-gamedig-token.js', '2026-06-19-1412-analytics-type-to-string.js')",
                "between 2.3.2 and 2.5.1",
            ),
            ("", "older than 2.0.0"),
        ] {
            damage(&lab, &format!("DELETE FROM knex_migrations {lost}"));
            assert_eq!(release(), shown);
            let ran = lab.fails(9, "monitor add group --name A");
            assert!(ran.err.contains("kumadb doctor"), "{}", ran.err);
            fixed(&lab, "K009");
            if lost.is_empty() && lab.engine() == "MariaDB" {
                // The last one changes only SQLite: without it, it is the older release.
                assert_eq!(release(), "2.5.0");
            } else {
                assert_eq!(lab.sql(recorded), whole, "{lost}");
                assert_eq!(release(), "2.5.1 to 2.5.3");
            }
        }
    }
}

#[test]
fn records_nothing_that_was_not_applied() {
    // Those after the first of 2.5.0 change columns that exist; 2.4.0 has only these two.
    let ntp = [
        "ntp_stratum_threshold INTEGER DEFAULT 5",
        "ntp_time_offset_threshold INTEGER DEFAULT 1000",
        "ntp_root_dispersion_threshold INTEGER DEFAULT 500",
    ];
    let tokens = ["bearer_token TEXT", "gamedig_token TEXT"];
    let named = ["2026-05-20-0000-add-bearer-token.js", "2026-05-25-0000-add-gamedig-token.js"];
    for (release, added, expected) in [("2.4.0", &ntp[..], &[NTP][..]), ("2.3.2", &tokens, &named)] {
        for lab in Lab::both(release) {
            furnish(&lab);
            let recorded = "SELECT name FROM knex_migrations ORDER BY name";
            let before = lab.sql(recorded);
            let add = |column: &&str| format!("ALTER TABLE monitor ADD COLUMN {column}");
            damage(&lab, &added.iter().map(add).collect::<Vec<_>>().join("; "));
            fixed(&lab, "K009");
            let after = lab.sql(recorded);
            let new: Vec<&str> = after.lines().filter(|name| !before.contains(name)).collect();
            assert_eq!(new, expected, "{}", lab.engine());
        }
    }
}

#[test]
fn finds_a_migration_behind_one_that_can_be_applied_again() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        damage(
            &lab,
            &format!(
                "DELETE FROM knex_migrations WHERE name IN ('2024-10-31-0000-fix-snmp-monitor.js', '{EXPIRY}'); \
                 DROP TABLE domain_expiry"
            ),
        );
        fixed(&lab, "K009");
        assert_eq!(lab.sql(&format!("SELECT count(*) FROM knex_migrations WHERE name = '{EXPIRY}'")).trim(), "1");
        assert_eq!(lab.sql("SELECT count(*) FROM domain_expiry").trim(), "0");
    }
}

#[test]
fn lifts_what_a_column_may_only_have() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        lab.sql(
            "INSERT INTO status_page (slug, title, icon, theme, analytics_id, analytics_type) VALUES \
             ('old', 'Old', '/icon.svg', 'auto', 'G-1', 'google')",
        );
        let page = |kind: &str| {
            let text = format!("status_pages: [{{slug: lab, title: Lab, analytics_type: {kind}, analytics_id: '1'}}]");
            fs::write(lab.root.path().join("page.yaml"), text).unwrap();
        };
        damage(
            &lab,
            match lab.engine() {
                "SQLite" => {
                    "ALTER TABLE status_page ADD COLUMN had text; UPDATE status_page SET had = analytics_type; \
                     ALTER TABLE status_page DROP COLUMN analytics_type; ALTER TABLE status_page ADD COLUMN \
                     analytics_type text CHECK (analytics_type in ('google','umami','plausible','matomo')) null; \
                     UPDATE status_page SET analytics_type = had; ALTER TABLE status_page DROP COLUMN had"
                }
                _ => "ALTER TABLE status_page MODIFY analytics_type enum('google','umami','plausible','matomo')",
            },
        );
        page("rybbit");
        let refused = lab.fails(2, "apply page.yaml --yes");
        assert!(refused.err.contains("the column only accepts `google`, `umami`"), "{}", refused.err);
        let ran = fixed(&lab, "K009");
        assert!(ran.err.contains("only accepts `google`, `umami`, `plausible`, `matomo`"), "{}", ran.err);
        assert_eq!(lab.sql("SELECT analytics_type FROM status_page").trim(), "google");
        lab.ok("apply page.yaml --yes");
        // As some exports have it.
        page("NONE");
        lab.ok("apply page.yaml --yes");
        assert_eq!(lab.sql("SELECT count(*) FROM status_page WHERE analytics_type IS NULL").trim(), "1");
    }
}

#[test]
fn leaves_a_migration_that_reckons_to_a_person() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        lab.sql("UPDATE maintenance SET strategy = 'recurring-interval', cron = '* * * * *'");
        damage(&lab, "DELETE FROM knex_migrations WHERE name = '2025-06-13-0000-maintenance-add-last-start.js'");
        assert_eq!(codes(&lab), ["K009"]);
        let before = lab.rows();
        lab.ok("doctor --fix --yes");
        assert_eq!(lab.rows(), before);
    }
}

#[test]
fn gives_a_monitor_what_its_type_needs() {
    let sql = "UPDATE monitor SET type = 'dns', dns_resolve_server = NULL WHERE id = 3; \
               UPDATE monitor SET type = 'kafka-producer', kafka_producer_sasl_options = NULL, kafka_producer_brokers = \
               NULL WHERE id = 4";
    for (lab, _) in fixes(Lab::both("2.5.3"), "K026", sql) {
        assert_eq!(lab.sql("SELECT dns_resolve_server FROM monitor WHERE id = 3").trim(), "1.1.1.1");
        let found = lab.sql("SELECT kafka_producer_brokers, kafka_producer_sasl_options FROM monitor WHERE id = 4");
        assert_eq!(found.trim(), "[]\t{\"mechanism\":\"None\"}");
    }
}

#[test]
fn only_reports_what_a_person_has_to_decide() {
    for (code, sql) in [
        ("K027", "UPDATE monitor SET type = 'htpp' WHERE id = 3"),
        ("K027", "UPDATE monitor SET type = NULL WHERE id = 3"),
        ("K028", "UPDATE monitor SET id = 0 WHERE id = 4"),
        (
            "K030",
            "INSERT INTO status_page (id, slug, title, icon, theme) VALUES (1, 's', 'S', '', 'light'); \
             INSERT INTO status_page_cname (id, status_page_id, domain) VALUES (1, 1, 'kuma.example.com'); \
             INSERT INTO setting (`key`, value) VALUES ('primaryBaseURL', '\"https://kuma.example.com:8443/x\"')",
        ),
    ] {
        only_reports(code, sql, "");
    }
}

#[test]
fn deletes_the_setting_that_the_server_does_not_read() {
    // MariaDB keeps no two keys that differ in their letters' case.
    let sql = "INSERT INTO setting (`key`, value) VALUES ('checkUpdate', 'true'), ('CHECKUPDATE', 'false')";
    for (lab, _) in fixes(vec![Lab::sqlite("2.5.3")], "K029", sql) {
        let found = lab.sql("SELECT `key`, value FROM setting WHERE lower(`key`) = 'checkupdate'");
        assert_eq!(found.trim(), "checkUpdate\ttrue");
    }
    let lab = Lab::sqlite("2.5.3");
    lab.sql("INSERT INTO setting (`key`, value) VALUES ('mine', '1'), ('Mine', '2')");
    assert_eq!(codes(&lab), ["K029"]);
    lab.ok("doctor --fix --yes");
    assert_eq!(codes(&lab), ["K029"], "nobody but a person knows which");
}

#[test]
fn deletes_beats_of_the_future() {
    let soon = (Utc::now() + Duration::hours(20)).format("%Y-%m-%d %H:%M:%S");
    let sql = format!(
        "INSERT INTO heartbeat (id, monitor_id, status, time) VALUES (7, 3, 1, '2037-01-01 00:00:00'), (8, 3, 1, '{soon}')"
    );
    for (lab, _) in fixes(Lab::both("2.5.3"), "K031", &sql) {
        assert_eq!(lab.sql("SELECT id FROM heartbeat ORDER BY id").trim(), "1\n8", "a day ahead may be a time zone");
    }
}

#[test]
fn knows_a_file_that_moves_pages_at_every_delete() {
    let lab = Lab::sqlite("2.5.3");
    lab.sql("PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = 1; VACUUM");
    assert_eq!(codes(&lab), ["K032"]);
    lab.ok("vacuum --auto-vacuum incremental --yes");
    assert_eq!(codes(&lab), [""; 0]);
}

#[test]
fn names_pictures_that_nothing_shows() {
    let lab = Lab::sqlite("2.5.3");
    lab.sql(
        "INSERT INTO status_page (id, slug, title, icon, theme) VALUES (1, 's', 'S', '/upload/logo1.png?t=5', 'light')",
    );
    for (folder, file) in [("upload", "logo1.png"), ("upload", "logo7.png"), ("screenshots", "a.png")] {
        fs::create_dir_all(lab.folder().join(folder)).unwrap();
        fs::write(lab.folder().join(folder).join(file), "x").unwrap();
    }
    let found = lab.json("doctor");
    let what: Vec<&str> =
        found["findings"].as_array().unwrap().iter().map(|finding| finding["what"].as_str().unwrap()).collect();
    assert_eq!(found["findings"][0]["severity"], "info");
    assert!(what[0].starts_with("`upload/` contains 1 image that no status page uses (1 B): `logo7.png`"), "{what:?}");
    assert!(what[1].starts_with("`screenshots/` contains 1 image for 0 browser monitors"), "{what:?}");
    lab.ok("doctor --fix --yes");
    assert!(lab.folder().join("upload/logo7.png").exists());
}

#[test]
fn knows_a_first_start_that_was_cut_off() {
    let Some(lab) = Lab::mariadb("2.5.3") else { return };
    let tables = lab.sql("SHOW TABLES");
    let gone = tables.lines().filter(|table| !["docker_host", "group"].contains(table));
    let drops: String = gone.map(|table| format!("DROP TABLE `{table}`;")).collect();
    damage(&lab, &drops);
    let found = lab.json("doctor");
    assert_eq!(found["findings"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found["findings"][0]["code"], "K021");
    let what = found["findings"][0]["what"].as_str().unwrap();
    assert!(what.contains("2 exist, without users and monitors"), "{what}");

    let mut embedded = evidence(&Lab::sqlite("2.5.3"), "louislam/uptime-kuma:2");
    embedded.database = None;
    (embedded.nowhere, embedded.half_made) = (Some("it has 2 tables".into()), Some(2));
    let mut folder = crate::doctor::findings::contained().folder.unwrap();
    folder.mariadb_installed = Some(true);
    embedded.folder = Some(folder);
    let found = examine(&embedded);
    assert_eq!(found.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["K023"], "{found:?}");
    assert!(matches!(&found[0].fault.fix, kumadb::doctor::Fix::Files(changes) if changes.len() == 1));
}

/// The evidence of a healthy `lab`, in a container with `image`.
fn evidence(lab: &Lab, image: &str) -> Evidence {
    let instance = instance(&lab.target, lab.root.path());
    let mut reader = instance.connect().unwrap().reader().unwrap();
    let content = read_content(&mut *reader, "lab", Utc::now().timestamp(), &|_| true).unwrap();
    Evidence {
        database: Some(content),
        container: Some(Running {
            name: "uptime-kuma".into(),
            image: image.into(),
            up: true,
            looping: false,
            failed: false,
            others: Vec::new(),
            has_mariadb: None,
            release: None,
            lacking: None,
            log: Vec::new(),
        }),
        ..Evidence::none(Utc::now())
    }
}

#[test]
fn judges_images_and_engines() {
    for lab in Lab::both("2.5.3") {
        let found = |evidence: &Evidence| examine(evidence).iter().map(|finding| finding.code).collect::<Vec<_>>();
        for (image, sqlite, mariadb) in [
            ("louislam/uptime-kuma:2.5.3", &[][..], &[][..]),
            ("louislam/uptime-kuma:2", &[], &[]),
            ("louislam/uptime-kuma:latest", &["K020"], &["K020"]),
            ("louislam/uptime-kuma:2.5.0-slim", &["K020"], &["K020"]),
            ("louislam/uptime-kuma:2.3.0", &["K020", "K035"], &["K020"]),
        ] {
            let expected = if lab.engine() == "SQLite" { sqlite } else { mariadb };
            assert_eq!(found(&evidence(&lab, image)), expected, "{image} {}", lab.engine());
        }
        let old = examine(&evidence(&lab, "louislam/uptime-kuma:1")).remove(0);
        assert!(format!("{:?}", old.fault.fix).contains("louislam/uptime-kuma:2.5.1 or newer"), "the oldest that fits");

        let mut crowded = evidence(&lab, "louislam/uptime-kuma:2");
        crowded.container.as_mut().unwrap().others.push("kuma-two".into());
        assert_eq!(found(&crowded), ["K033"]);

        let mut mysql = evidence(&lab, "louislam/uptime-kuma:2");
        mysql.database.as_mut().unwrap().version = "8.4.3".into();
        assert_eq!(found(&mysql), if lab.engine() == "SQLite" { &[][..] } else { &["K034"] });
    }
}

#[test]
fn a_dry_run_says_what_it_did_not_try() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let on = if lab.engine() == "SQLite" { "" } else { " ON heartbeat" };
        damage(&lab, &format!("DROP INDEX monitor_time_index{on}; UPDATE monitor SET conditions = '' WHERE id = 3"));
        let before = lab.rows();
        let out = lab.ok("doctor --fix --dry-run");
        let given = match lab.engine() {
            "SQLite" => "dry run: 1 row change rolled back, 1 statement rolled back; nothing was changed",
            _ => {
                "dry run: 1 row change rolled back, 1 statement not tested (MariaDB cannot roll them back); nothing was changed"
            }
        };
        assert!(out.contains(given), "{out}");
        assert_eq!(lab.rows(), before);
    }
}

fn instance(target: &str, root: &Path) -> Instance {
    instance_at(target, root, root.join("state"))
}

fn store(root: &Path) -> kumadb::backup::Store {
    kumadb::backup::Store::new(root.join("store"))
}

/// Fixes what there is as `doctor --fix` does, with every step a point.
fn fix(target: &str, root: &Path, points: &Points) -> Result<()> {
    let mut instance = instance(target, root);
    let evidence = operation::examine::gather(&instance, Utc::now(), Depth::Structure);
    let found = examine(&evidence);
    let plan = plan_fixes(&found.iter().collect::<Vec<_>>(), &evidence);
    let (mut statements, mut files) = (Vec::new(), Vec::new());
    for finding in found {
        match finding.fault.fix {
            Fix::Statements(more) => statements.extend(more),
            Fix::Files(more) => files.extend(more),
            _ => {}
        }
    }
    let part = |all| DoneOf { done: 0, all };
    let (rows, all) = (part(plan.steps.len()), part(statements.len()));
    let settings = Settings {
        allow_unknown_release: kumadb::doctor::is_between_releases(&evidence),
        fixes: Some(FixProgress { files: part(files.len()), rows, statements: all }),
        ..Settings::new("doctor --fix")
    };
    points.wrap(&mut instance);
    if !files.is_empty() {
        operation::repair(&instance, &files, &settings, &mut points.clone())?;
    }
    let fixes = Fixes { plan: &plan, statements: &statements };
    assert!(fixes.are_one(instance.engine(), Mode::Stopped));
    operation::run(&instance, &store(root), Transaction::Fixes(fixes), &settings, &mut points.clone()).map(drop)
}

#[test]
#[ignore = "a part of other tests, see child.rs"]
fn killed_child() {
    let (target, root): (String, PathBuf) = (reported("TARGET"), reported("ROOT"));
    fix(&target, &root, &Points::new(reported("AT"), How::Kill)).unwrap();
}

/// Kills a fix at every point in turn. Each time `resume` ends what was cut off, `state` is as before, as after, or as
/// `between` allows for what `resume` says is made; then the same fix, made again, ends as it should. The short form tries
/// one point of each `stride`. Returns about how many points there were.
fn kill_everywhere(
    lab: &Lab,
    damage: &dyn Fn(),
    state: &dyn Fn() -> String,
    between: &dyn Fn(&str, FixProgress) -> bool,
    stride: usize,
) -> usize {
    for at in rounds::points(stride) {
        assert!(at < 310, "it never ends");
        damage();
        let old = state();
        let root = lab.root.path().display();
        let killed = is_killed(module_path!(), &[("AT", &at), ("TARGET", &lab.target), ("ROOT", &root)]);
        let work = instance(&lab.target, lab.root.path()).work().to_owned();
        let mut made = FixProgress::default();
        if Journal::read(&work).unwrap().is_some() {
            assert!(killed);
            let (instance, store) = (instance(&lab.target, lab.root.path()), store(lab.root.path()));
            let settings = Settings::new("recover");
            made = match operation::resume(&instance, &store, &settings, &mut operation::NoObserver).unwrap() {
                Resumed::Finished(record, _) | Resumed::Undone(record, _) => record.fixes.unwrap(),
                Resumed::Packed(_) => unreachable!("the journal is open"),
            };
        }
        let left = state();
        fix(&lab.target, lab.root.path(), &Points::new(0, How::Error)).unwrap();
        let new = state();
        let allowed = left == old || left == new || between(&left, made);
        assert!(allowed, "point {at}: {old} -> {left} -> {new}, made: {made:?}");
        assert!(made.rows.done == 0 || left != old, "point {at}: {old} -> {left}, made: {made:?}");
        assert_ne!(old, new);
        let kept = crate::support::lab::left_in(&work);
        assert_eq!(kept, ["lock"], "point {at}");
        if !killed {
            return at - 1;
        }
    }
    0
}

#[test]
fn a_fix_by_statements_can_be_killed_and_made_again() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        // Each on the engine where it is harder: SQLite takes a whole migration back, MariaDB no part of one.
        let sql = match lab.engine() {
            "SQLite" => "DROP INDEX monitor_time_index; DROP INDEX monitor_important_time_index".to_owned(),
            _ => format!(
                "ALTER TABLE monitor DROP COLUMN ntp_time_offset_threshold; \
                 ALTER TABLE monitor DROP COLUMN ntp_root_dispersion_threshold; \
                 DELETE FROM knex_migrations WHERE name = '{NTP}'"
            ),
        };
        let damage = || damage(&lab, &sql);
        let state = || {
            match lab.engine() {
            "SQLite" => lab.sql("SELECT count(*) FROM sqlite_master WHERE type = 'index'"),
            _ => lab.sql(&format!(
                "SELECT count(*), (SELECT count(*) FROM knex_migrations WHERE name = '{NTP}') FROM information_schema.COLUMNS \
                 WHERE TABLE_SCHEMA = 'kuma' AND TABLE_NAME = 'monitor'"
            )),
        }
        };
        let points = kill_everywhere(&lab, &damage, &state, &|_, _| true, 8);
        println!("{}: killed at {points} points", lab.engine());
        assert!(points > 20, "{points}");
        assert_eq!(codes(&lab), [""; 0]);
        assert_eq!(lab.sql(&format!("SELECT count(*) FROM knex_migrations WHERE name = '{NTP}'")).trim(), "1");
    }
}

#[test]
fn a_fix_of_rows_and_structure_can_be_killed_and_says_what_is_made() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let (sql, structure) = two_kinds_of_damage(&lab);
        let damage = || damage(&lab, &sql);
        let state = || lab.sql(&format!("SELECT (SELECT count(*) FROM monitor_notification), ({structure})"));
        let at_start = state();
        damage();
        let damaged = state();
        assert_ne!(at_start, damaged);
        let rows = |state: &str| state.split_whitespace().next().unwrap().to_owned();
        // On MariaDB, the rows are committed before each statement.
        let between = |left: &str, made: FixProgress| {
            lab.engine() == "MariaDB" && rows(left) == rows(&at_start) && made.rows.done == made.rows.all
        };
        fix(&lab.target, lab.root.path(), &Points::new(0, How::Error)).unwrap();
        assert_eq!(state(), at_start);
        let points = kill_everywhere(&lab, &damage, &state, &between, 9);
        println!("{}: killed at {points} points", lab.engine());
        assert!(points > 20, "{points}");
        assert_eq!(codes(&lab), [""; 0]);
    }
}

/// SQL that damages rows and the structure, and a query of the structure.
pub fn two_kinds_of_damage(lab: &Lab) -> (String, &'static str) {
    let row = "DELETE FROM monitor_notification; INSERT INTO monitor_notification (id, monitor_id, notification_id) VALUES (5, 99, 1)";
    if lab.engine() == "SQLite" {
        let sql = format!("{ONCE_THERE} {row}; DROP INDEX monitor_time_index; DROP INDEX monitor_important_time_index");
        return (sql, "SELECT count(*) FROM sqlite_master WHERE type = 'index'");
    }
    let key = lab.sql(
        "SELECT CONSTRAINT_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = 'kuma' AND TABLE_NAME = \
         'monitor_notification' AND REFERENCED_TABLE_NAME = 'monitor'",
    );
    let sql = format!(
        "{ONCE_THERE} ALTER TABLE monitor_notification DROP FOREIGN KEY {}; {row}; \
         DROP INDEX monitor_time_index ON heartbeat",
        key.trim()
    );
    let structure = "SELECT (SELECT count(*) FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = 'kuma') + \
                     (SELECT count(*) FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = 'kuma')";
    (sql, structure)
}

#[test]
fn rows_and_structure_are_fixed_by_one_operation() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let (sql, structure) = two_kinds_of_damage(&lab);
        let before = lab.sql(structure);
        damage(&lab, &sql);
        let fixed = lab.json("doctor --fix --yes");
        assert_eq!(fixed["findings"].as_array().unwrap().len(), 0, "{fixed}");
        assert_eq!(fixed["snapshots"].as_array().unwrap().len(), 1, "{fixed}");
        assert_eq!(lab.sql(structure), before);
        assert_eq!(lab.sql("SELECT count(*) FROM monitor_notification").trim(), "0");
    }
}

#[test]
fn a_statement_that_fails_leaves_no_row_changed() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        damage(&lab, &two_kinds_of_damage(&lab).0);
        let (before, journal) = (lab.rows(), instance(&lab.target, lab.root.path()).work().to_owned());
        let evidence =
            operation::examine::gather(&instance(&lab.target, lab.root.path()), Utc::now(), Depth::Structure);
        let plan = plan_fixes(&examine(&evidence).iter().collect::<Vec<_>>(), &evidence);
        assert!(!plan.is_empty());
        let statements = ["CREATE INDEX late ON nowhere (id)".to_owned()];
        let fixes = Fixes { plan: &plan, statements: &statements };
        let (instance, store) = (instance(&lab.target, lab.root.path()), store(lab.root.path()));
        let settings = Settings::new("doctor --fix");
        let ended = operation::run(&instance, &store, Transaction::Fixes(fixes), &settings, &mut operation::NoObserver);
        let why = ended.unwrap_err().to_string();
        assert!(why.contains("statement 1 of 1 (`CREATE INDEX late ON nowhere (id)`)"), "{why}");
        assert_eq!(why.contains("rolled back"), lab.engine() == "MariaDB", "{why}");
        assert_eq!(lab.rows(), before);
        assert!(Journal::read(&journal).unwrap().is_none());
    }
}

#[test]
fn statements_that_stay_are_counted_when_the_rows_are_rolled_back() {
    let Some(lab) = Lab::mariadb("2.5.3") else { return };
    furnish(&lab);
    damage(&lab, &two_kinds_of_damage(&lab).0);
    let before = lab.rows();
    let (instance, store) = (instance(&lab.target, lab.root.path()), store(lab.root.path()));
    let evidence = operation::examine::gather(&instance, Utc::now(), Depth::Structure);
    let plan = plan_fixes(&examine(&evidence).iter().collect::<Vec<_>>(), &evidence);
    let statements =
        ["CREATE INDEX late ON tag (color)", "CREATE INDEX late ON nowhere (id)", "CREATE INDEX more ON tag (name)"];
    let statements = statements.map(str::to_owned);
    let run = |plan: &Plan| {
        let fixes = Fixes { plan, statements: &statements };
        let settings = Settings::new("doctor --fix");
        let ended = operation::run(&instance, &store, Transaction::Fixes(fixes), &settings, &mut operation::NoObserver);
        let error = ended.unwrap_err();
        (error.exit(), error.to_string())
    };
    let (exit, why) = run(&plan);
    assert!(why.starts_with("the changes of rows were rolled back: statement 2 of 3"), "{why}");
    assert!(why.ends_with("1 of 3 statements were executed and stay"), "{why}");
    assert_eq!((exit, lab.rows()), (Exit::RolledBack, before));
    let keys = "SELECT count(*) FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = 'kuma' AND INDEX_NAME = 'late'";
    assert_eq!(lab.sql(keys).trim(), "1");
    lab.sql("DROP INDEX late ON tag");
    let (exit, why) = run(&Plan::default());
    assert!(why.starts_with("statement 2 of 3"), "{why}");
    assert!(why.ends_with("1 of 3 statements were executed and stay"), "{why}");
    assert_eq!((exit, lab.sql(keys).trim()), (Exit::Partial, "1"));
}

#[test]
fn what_the_first_part_made_is_said_when_the_second_fails() {
    let Some(lab) = Lab::mariadb("2.5.3") else { return };
    furnish(&lab);
    let (sql, _) = two_kinds_of_damage(&lab);
    // A column of another type cannot get the foreign key, and a table in another character set needs a part of its own.
    damage(
        &lab,
        &format!(
            "{sql}; ALTER TABLE monitor_notification MODIFY monitor_id bigint unsigned NOT NULL; \
             ALTER TABLE tag CONVERT TO CHARACTER SET latin1"
        ),
    );
    let ran = lab.run("doctor --fix --yes");
    assert_eq!(ran.exit, 3, "{}{}", ran.out, ran.err);
    let undo = lab.newest_undo();
    let made = format!("made: 1 of 1 row change, 1 of 4 statements (undo snapshot {undo}); the next part failed");
    assert!(ran.err.contains(&made), "{}", ran.err);
    assert_eq!(lab.sql("SELECT count(*) FROM monitor_notification").trim(), "0");
}

#[test]
fn a_fix_of_files_can_be_killed_and_made_again() {
    let lab = Lab::sqlite("2.5.3");
    fs::remove_file(lab.folder().join("kuma.db")).unwrap();
    fs::write(lab.folder().join("db-config.json"), r#"{"type": "embedded-mariadb"}"#).unwrap();
    let damage = || {
        for entry in fs::read_dir(lab.folder()).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("mariadb.stale-") {
                fs::remove_dir_all(entry.path()).unwrap();
            }
        }
        fs::create_dir_all(lab.folder().join("mariadb")).unwrap();
    };
    let state = || lab.folder().join("mariadb").exists().to_string();
    let points = kill_everywhere(&lab, &damage, &state, &|_, _| false, 2);
    assert!(points >= 2, "{points}");
    let changes = [FileChange::SetAside { path: lab.folder().join("nothing"), to: lab.folder().join("mariadb") }];
    fs::create_dir_all(lab.folder().join("mariadb")).unwrap();
    assert!(operation::dry_run_files(&changes).is_err(), "what is in the way is found before anything is done");
    damage();
    let ran: Ran = lab.run("doctor --fix --dry-run");
    assert!(ran.out.contains("1 file change checked"), "{}{}", ran.out, ran.err);
    assert!(lab.folder().join("mariadb").exists());
}
