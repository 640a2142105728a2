//! `history prune --vacuum` of most rows: those that stay are copied. The result is that of the deletion, cell by cell.

use std::collections::BTreeSet;
use std::process::Command;

use kumadb::engine::RowFilter;

use crate::cli::history::{add_beats, furnish};
use crate::mariadb::engine::{dump, writer};
use crate::support::lab::{Lab, Ran, words};
use crate::support::need;

const COPIES: &str = "copying the rows of heartbeat that are kept";
const DELETES: &str = "deleting rows from heartbeat";

/// Cells that a client shows as something else, or that are not of the type of their column; and what no release creates.
fn add_strange(lab: &Lab) {
    lab.sql(match lab.engine() {
        "SQLite" => {
            "INSERT INTO heartbeat (id, important, monitor_id, status, msg, time, ping, duration, end_time, response) VALUES
             (900001, 1, 1, 1, NULL, datetime('now'), 1.5, 'ten', 17, x'00ff'),
             (900003, 0, 1, 'x', x'27', datetime('now'), 9223372036854775807, -1, NULL, ''),
             (900004, 0, 1, 1, 'it''s ' || char(10, 13, 9) || ' \\ 😀', datetime('now'), NULL, 1e300, x'', 'NULL'),
             (900007, 0, 1, 1, 5, '9999-12-31', '12abc', 0, 2e-9, char(0) || 'x');
             CREATE TABLE \"other's\" (a TEXT PRIMARY KEY, b BLOB, c INT AS (length(a)) STORED, CHECK (a <> '')) WITHOUT ROWID;
             INSERT INTO \"other's\" VALUES ('x', x'00'), ('Y', NULL), ('y', 1.0);
             CREATE TABLE no_key (a, b DEFAULT (1 + 1)); INSERT INTO no_key VALUES (1, 'a'), (1.0, 'A'), (NULL, x'61');
             DELETE FROM no_key WHERE b = 'a';
             CREATE INDEX half ON no_key (lower(b), a DESC) WHERE a IS NOT NULL;
             CREATE VIEW seen AS SELECT count(*) FROM heartbeat;
             CREATE TRIGGER theirs AFTER DELETE ON no_key BEGIN SELECT 1; END;
             PRAGMA user_version = -7; PRAGMA application_id = 42; ANALYZE"
        }
        _ => {
            "SET sql_mode = '', NAMES utf8mb4;
             INSERT INTO heartbeat (id, important, monitor_id, status, msg, time, ping, duration, end_time, response) VALUES
             (900001, 1, 1, 1, NULL, utc_timestamp(), -9223372036854775808, 5, '0000-00-00', REPEAT('x', 70000)),
             (900003, 0, 1, -3, 'it''s \\n\\r\\t\\0 \\\\N 😀', utc_timestamp(), NULL, -1, NULL, ''),
             (900004, 0, 1, 1, 'NULL', '9999-12-31 23:59:59', 0, 0, '2026-02-00', '),(');
             CREATE TABLE `other's` (a varchar(20) PRIMARY KEY, b blob, c int AS (length(a)) VIRTUAL, d float, e timestamp(3) NULL,
                 f int unsigned, CONSTRAINT g FOREIGN KEY (f) REFERENCES user (id));
             INSERT INTO `other's` (a, b, d, e, f) VALUES ('x', x'00ff27', 0.1, '2026-01-01 00:00:00.123', 1);
             ALTER TABLE heartbeat ADD COLUMN `their``s` float DEFAULT 0.1, COMMENT = 'it''s REFERENCES `x`'"
        }
    });
}

/// The statements that create what is in the database, without the next id.
fn definitions(lab: &Lab) -> String {
    match &lab.mariadbd {
        None => lab.sql(
            "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY 1, 2; PRAGMA user_version; PRAGMA application_id; \
             PRAGMA auto_vacuum; PRAGMA page_size; PRAGMA journal_mode; SELECT * FROM sqlite_sequence WHERE seq > 0 ORDER BY 1",
        ),
        Some(server) => {
            let keys = "SELECT CONSTRAINT_NAME, TABLE_NAME, REFERENCED_TABLE_NAME FROM \
                        information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = 'kuma' ORDER BY 1, 2";
            let tables = server.sql("kuma", "SHOW TABLES");
            let create = |table: &str| server.sql("kuma", &format!("SHOW CREATE TABLE `{table}`"));
            tables.lines().map(create).chain([server.sql("kuma", keys)]).collect()
        }
    }
}

/// Every row, in an order that does not depend on where it is.
fn rows(lab: &Lab) -> Vec<String> {
    let text = match &lab.mariadbd {
        None => lab.rows(),
        Some(server) => dump(&server.address("kuma"), tempfile::tempdir().unwrap().path()).replace("),(", "),\n("),
    };
    // An undo notes tables whose ids have not begun.
    let is_row =
        |line: &&str| !(line.contains("sqlite_stat") || line.contains("sqlite_sequence") && line.ends_with(",0);"));
    let mut rows: Vec<String> = text.lines().filter(is_row).map(str::to_owned).collect();
    rows.sort();
    rows
}

/// Fails the test with the lines that only one of them has.
#[track_caller]
fn assert_same(left: &[String], right: &[String]) {
    let only = |these: &[String], others: &[String]| -> Vec<String> {
        these.iter().filter(|line| !others.contains(line)).take(5).cloned().collect()
    };
    assert!(left == right, "only left: {:?}\nonly right: {:?}", only(left, right), only(right, left));
}

/// Runs `line`, which must succeed by `way`, and returns the JSON that it prints.
fn prune(lab: &Lab, line: &str, way: &str) -> serde_json::Value {
    let ran = lab.run(&format!("{line} --json"));
    assert_eq!(ran.exit, 0, "{}: {line}\n{}{}", lab.engine(), ran.out, ran.err);
    assert!(ran.err.contains(way), "{}: {line}\n{}", lab.engine(), ran.err);
    let other = if way == COPIES { DELETES } else { COPIES };
    assert!(!ran.err.contains(other) && !ran.err.contains("warning"), "{}: {line}\n{}", lab.engine(), ran.err);
    if let Some(server) = &lab.mariadbd {
        assert_eq!(server.sql("", "SHOW DATABASES LIKE 'kuma%'"), "kuma\n", "left behind");
    } else {
        let left = crate::support::lab::left_in(&lab.folder().join(".kumadb"));
        assert_eq!(left, ["lock"]);
        assert_eq!(lab.sql("PRAGMA integrity_check; PRAGMA freelist_count"), "ok\n0\n");
    }
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn a_copy_has_what_the_deletion_leaves_and_can_be_undone() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        add_beats(&lab, 1, 60, 3_000);
        add_beats(&lab, 2, 90, 120);
        add_beats(&lab, 2, 1, 50);
        add_strange(&lab);
        let (before, made) = (rows(&lab), definitions(&lab));
        let line = "history prune --keep 30 --keep-newest 70 --keep-important --yes";
        let copied = prune(&lab, &format!("{line} --vacuum"), COPIES);
        let after = rows(&lab);
        assert_eq!(definitions(&lab), made);
        lab.ok("undo --yes");
        assert_same(&rows(&lab), &before);
        assert_eq!(definitions(&lab), made);
        let deleted = {
            let ran = lab.run(&format!("{line} --json"));
            assert!(ran.exit == 0 && ran.err.contains(DELETES), "{}", ran.err);
            serde_json::from_str::<serde_json::Value>(&ran.out).unwrap()
        };
        assert_eq!(copied["deleted"], deleted["deleted"]);
        assert_same(&rows(&lab), &after);
        assert!(after.len() * 2 < before.len() || lab.mariadbd.is_some());
        // The ids go on where they were, and the references hold.
        lab.ok("monitor delete Shop --yes");
        assert_eq!(lab.sql("SELECT count(*) FROM heartbeat WHERE monitor_id = 1").trim(), "0");
    }
}

#[test]
fn a_setting_changes_with_the_copy() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        add_beats(&lab, 1, 60, 1_000);
        let line = "history prune --keep 30 --set-retention 45 --vacuum --yes";
        assert_eq!(prune(&lab, line, COPIES)["deleted"]["heartbeat"], 900);
        let set = || lab.sql("SELECT value, type FROM setting WHERE `key` = 'keepDataPeriodDays'").replace('|', "\t");
        assert_eq!(set(), "45\tgeneral\n");
        // It exists now.
        add_beats(&lab, 1, 60, 1_000);
        prune(&lab, "history prune --keep 30 --set-retention 46 --vacuum --yes", COPIES);
        assert_eq!(set(), "46\tgeneral\n");
        lab.ok("undo --yes");
        assert_eq!(set(), "45\tgeneral\n");
    }
}

#[test]
fn what_cannot_be_copied_is_deleted() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let refill = || add_beats(&lab, 1, 60, 1_000);
        let line = "history prune --keep 30 --vacuum --yes";
        // Fewer rows are deleted than kept.
        add_beats(&lab, 2, 1, 1_200);
        refill();
        prune(&lab, line, DELETES);
        lab.sql("DELETE FROM heartbeat WHERE monitor_id = 2");
        if lab.mariadbd.is_none() {
            lab.sql("CREATE VIRTUAL TABLE words USING fts5 (a); INSERT INTO words VALUES ('x')");
            refill();
            prune(&lab, line, DELETES);
            lab.sql("DROP TABLE words");
        } else {
            for (make, drop) in [
                (
                    "CREATE TRIGGER theirs BEFORE INSERT ON tag FOR EACH ROW SET NEW.color = '#111'",
                    "DROP TRIGGER theirs",
                ),
                (
                    "CREATE TABLE notes (beat int unsigned, FOREIGN KEY (beat) REFERENCES heartbeat (id))",
                    "DROP TABLE notes",
                ),
                (
                    "CREATE DATABASE kuma_kumadb_old; CREATE TABLE kuma_kumadb_old.a (b int)",
                    "DROP DATABASE kuma_kumadb_old",
                ),
            ] {
                lab.sql(make);
                refill();
                let ran = lab.run(line);
                assert!(ran.exit == 0 && ran.err.contains(DELETES) && !ran.err.contains(COPIES), "{make}: {}", ran.err);
                lab.sql(drop);
            }
        }
        refill();
        prune(&lab, line, COPIES);
    }
}

#[test]
fn without_the_right_to_make_databases_rows_are_deleted() {
    let Some(mut lab) = Lab::mariadb("2.5.3") else { return };
    furnish(&lab);
    add_beats(&lab, 1, 60, 1_000);
    lab.sql("CREATE USER few@localhost IDENTIFIED BY 'a'; GRANT ALL ON `kuma`.* TO few@localhost");
    let socket = lab.mariadbd.as_ref().unwrap().socket();
    lab.target = format!("mysql://few:a@localhost/kuma?socket={}", socket.display());
    prune(&lab, "history prune --keep 30 --vacuum --yes", DELETES);
    assert_eq!(lab.sql("SELECT count(*) FROM heartbeat"), "100\n");
}

#[test]
fn many_silent_monitors_keep_their_newest_heartbeats() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        for n in 0..12 {
            lab.ok(&format!("monitor add ping --name 'Silent {n}' --hostname 192.168.2.{n}"));
            add_beats(&lab, n + 3, 60 + n, 40);
        }
        add_beats(&lab, 1, 60, 2_000);
        add_beats(&lab, 1, 1, 30);
        let copied = prune(&lab, "history prune --keep 30 --keep-newest 25 --vacuum --yes", COPIES);
        assert_eq!(copied["deleted"]["heartbeat"], 2_000 + 12 * 15);
        let left = lab.sql("SELECT count(*) FROM heartbeat GROUP BY monitor_id ORDER BY monitor_id");
        assert_eq!(left.lines().collect::<Vec<_>>(), [["30"].as_slice(), &["25"; 12]].concat());
    }
}

#[test]
fn a_disk_without_room_for_the_copy_is_refused_first() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    add_beats(&lab, 1, 60, 50_000);
    add_beats(&lab, 1, 1, 40_000);
    let disk = lab.root.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=30m", "none"]).arg(&disk).status();
    if !mounted.is_ok_and(|status| status.success()) {
        return need::left_out("the right to mount a tmpfs").unwrap_or_default();
    }
    for name in ["kuma.db", "db-config.json"] {
        std::fs::copy(lab.folder().join(name), disk.join(name)).unwrap();
    }
    let run = || Ran::of(lab.bare().arg("-t").arg(&disk).args(words("history prune --keep 30 --vacuum --yes")));
    let refused = run();
    let is_open = disk.join(".kumadb/journal.json").exists();
    let grown = Command::new("mount").args(["-o", "remount,size=80m"]).arg(&disk).status().unwrap();
    let done = run();
    Command::new("umount").arg(&disk).status().unwrap();
    assert!(refused.exit == 9 && refused.err.contains(" required"), "{}", refused.err);
    assert!(!is_open && !refused.err.contains("copy"), "{}", refused.err);
    assert!(grown.success() && done.exit == 0 && done.err.contains(COPIES), "{}", done.err);
}

/// A server without a log of its statements could leave any of these behind.
#[test]
fn it_finds_back_from_every_half_of_an_exchange() {
    let Some(lab) = Lab::mariadb("2.5.3") else { return };
    furnish(&lab);
    add_beats(&lab, 1, 60, 200);
    lab.sql("INSERT INTO stat_daily (monitor_id, timestamp, ping, up, down) SELECT 1, seq, 1, 1, 0 FROM seq_1_to_50");
    let server = lab.mariadbd.as_ref().unwrap();
    let (before, made) = (rows(&lab), definitions(&lab));
    let kept = ["heartbeat", "stat_daily"].map(|table| {
        let (table, condition) = (table.to_owned(), "`id` > ?".to_owned());
        RowFilter { table, condition, params: vec![20.into()] }
    });
    let all = lab.sql("SHOW TABLES");
    let all: BTreeSet<&str> = all.lines().collect();
    let moves = [
        "kuma.heartbeat TO kuma_kumadb_old.heartbeat",
        "kuma.stat_daily TO kuma_kumadb_old.stat_daily",
        "kuma_kumadb_new.heartbeat TO kuma.heartbeat",
        "kuma_kumadb_new.stat_daily TO kuma.stat_daily",
    ];
    for half in 0..=moves.len() {
        let mut writer = writer(&server.address("kuma"));
        let shadow = writer.shadow().unwrap();
        assert!(shadow.can_keep(&["heartbeat", "stat_daily"]).unwrap());
        shadow.reserve().unwrap();
        shadow.fill_kept(&kept, &mut |done, total| assert!(done <= total)).unwrap();
        match half {
            0 => {}
            4 => assert_eq!(shadow.swap_kept().unwrap().database, "kuma_kumadb_old"),
            _ => {
                drop(server.sql("", &format!("SET foreign_key_checks = 0; RENAME TABLE {}", moves[..half].join(", "))))
            }
        }
        if half == 4 {
            assert_eq!(
                lab.sql("SELECT count(*), min(id) FROM heartbeat; SELECT count(*) FROM stat_daily"),
                "180\t21\n30\n"
            );
            assert_eq!(definitions(&lab), made);
        }
        assert_eq!(shadow.is_swapped(&all).unwrap(), half > 0);
        assert_eq!(shadow.swap_back(&all).unwrap(), half > 0);
        assert!(!shadow.is_swapped(&all).unwrap());
        assert!(!shadow.swap_back(&all).unwrap(), "once is enough");
        shadow.clear().unwrap();
        assert_same(&rows(&lab), &before);
        assert_eq!(definitions(&lab), made, "after {half}");
        assert_eq!(server.sql("", "SHOW DATABASES LIKE 'kuma%'"), "kuma\n");
    }
}
