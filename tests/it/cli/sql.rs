//! `kumadb sql` on both engines: questions that cannot harm, and changes that are shown before they are made.

use std::os::unix::fs::PermissionsExt as _;

use crate::cli::history::{add_beats, furnish};
use crate::support::lab::{Lab, Ran};

#[test]
fn answers_questions_in_every_form() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let before = lab.rows();
        let question = "SELECT id, name, NULL AS missing, '' AS blank, 'a,\"b' AS quoted FROM monitor ORDER BY id; -- both\n\
                        SELECT count(*) AS n FROM tag";
        let ask = |more: &[&str]| {
            let ran = Ran::of(lab.bare().args(["-t", &lab.target, "sql", question]).args(more));
            assert_eq!(ran.exit, 0, "{}", ran.err);
            ran.out
        };
        assert_eq!(
            ask(&[]),
            "id  name    missing  blank  quoted\n1   Shop    NULL            a,\"b\n2   Router  NULL            a,\"b\n(2 rows)\n\n\
             n\n0\n(1 row)\n"
        );
        assert_eq!(
            ask(&["--format", "csv"]),
            "id,name,missing,blank,quoted\n1,Shop,,\"\",\"a,\"\"b\"\n2,Router,,\"\",\"a,\"\"b\"\n\nn\n0\n"
        );
        let reported: serde_json::Value = serde_json::from_str(&ask(&["--json"])).unwrap();
        assert_eq!(reported["results"][0]["columns"][1], "name");
        assert_eq!(reported["results"][0]["rows"][1], serde_json::json!([2, "Router", null, "", "a,\"b"]));
        assert_eq!(reported["results"][1]["rows"], serde_json::json!([[0]]));
        let typed =
            Ran::of(lab.bare().args(["-t", &lab.target, "sql", "--format", "csv"]).write_stdin("SELECT 1 AS one;"));
        assert_eq!(typed.out, "one\n1\n");
        let file = lab.root.path().join("answer.csv");
        std::fs::write(lab.root.path().join("q.sql"), "SELECT username, password FROM user").unwrap();
        lab.ok("sql --file q.sql --format csv --output answer.csv");
        assert!(std::fs::read_to_string(&file).unwrap().starts_with("username,password\nadmin,$2"));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(lab.rows(), before);
    }
}

#[test]
fn refuses_to_write_where_only_questions_are_asked() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let before = lab.rows();
        for statement in [
            "DELETE FROM monitor",
            "SELECT 1; UPDATE monitor SET name = 1",
            "DROP TABLE monitor",
            "PRAGMA wal_checkpoint(TRUNCATE)",
            "PRAGMA journal_mode = DELETE",
            "VACUUM INTO 'elsewhere'",
            "ATTACH 'elsewhere' AS other",
            "SET GLOBAL general_log = 1",
            "SELECT 1 INTO OUTFILE 'elsewhere'",
            "SELECT 1 INTO\n  OUTFILE 'elsewhere'",
            "/*! DELETE FROM monitor */",
            "BEGIN",
        ] {
            let ran = Ran::of(lab.bare().args(["-t", &lab.target, "sql", statement]));
            assert!([2, 9].contains(&ran.exit), "{}: {statement}: {} {}", lab.engine(), ran.exit, ran.err);
            assert!(ran.out.is_empty(), "{}", ran.out);
        }
        let hidden = lab.run("sql 'WITH x AS (SELECT 1) DELETE FROM monitor'");
        assert!(hidden.exit != 0, "{}", hidden.out);
        assert_eq!(lab.rows(), before);
        let wrong = lab.fails(1, "sql 'SELECT * FROM nothing'");
        assert!(wrong.err.contains("nothing"), "{}", wrong.err);
        assert!(lab.fails(2, "sql ' -- only this'").err.contains("no SQL statement given"));
    }
}

#[test]
fn shows_what_a_change_does_and_makes_it() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        add_beats(&lab, 1, 1, 30);
        lab.sql("INSERT INTO tag (name, color) VALUES ('old', '#000')");
        let before = lab.rows();
        let line = "sql --write 'UPDATE monitor SET `interval` = 30 WHERE id = 1; INSERT INTO tag (name, color) VALUES (''new'', 1); \
                    DELETE FROM tag WHERE id = 1; DELETE FROM heartbeat WHERE monitor_id = 1'"
            .replace("''new''", "0");
        let tried = lab.json(&format!("{line} --dry-run"));
        assert_eq!(tried["affected"], serde_json::json!([1, 1, 1, 30]), "{}", lab.engine());
        let table = |name: &str| {
            tried["tables"].as_array().unwrap().iter().find(|table| table["table"] == name).unwrap().clone()
        };
        let beats = table("heartbeat");
        assert_eq!((&beats["before"], &beats["after"], beats["rows"].is_null()), (&30.into(), &0.into(), true));
        let cell = &table("monitor")["rows"][0]["cells"];
        assert_eq!(*cell, serde_json::json!([{"column": "interval", "old": 60, "new": 30}]));
        let tags = table("tag");
        assert_eq!((&tags["rows"][0]["action"], &tags["rows"][1]["action"]), (&"delete".into(), &"create".into()));
        let asked = lab.fails(9, &line);
        assert!(asked.err.contains("~ `monitor` 1: interval 60 → 30"), "{}", asked.err);
        assert_eq!(lab.rows(), before);
        let done = lab.json(&format!("{line} --yes"));
        assert_eq!(done["affected"], serde_json::json!([1, 1, 1, 30]));
        assert_eq!(lab.sql("SELECT `interval` FROM monitor WHERE id = 1").trim(), "30");
        assert_eq!(lab.sql("SELECT count(*) FROM heartbeat").trim(), "0");
        lab.ok(&format!("restore {} --yes", done["snapshot"].as_str().unwrap()));
        assert_eq!(lab.sql("SELECT `interval` FROM monitor WHERE id = 1").trim(), "60");
        assert_eq!(lab.sql("SELECT count(*) FROM heartbeat").trim(), "30");
        let hidden = lab.run("sql --write 'UPDATE user SET password = 12345678' --dry-run");
        assert!(hidden.out.contains("password (secret) → (secret)") && !hidden.out.contains("$2"), "{}", hidden.out);
        assert_eq!(lab.ok("sql --write 'UPDATE monitor SET `interval` = 60' --yes"), "2 rows changed\n");
    }
}

#[test]
fn refuses_a_change_that_would_break_the_server() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let before = lab.rows();
        let broken = lab.fails(9, "sql --write 'UPDATE monitor SET conditions = 0 WHERE id = 1' --yes");
        assert!(broken.err.contains("K001") && broken.err.contains("--allow-findings"), "{}", broken.err);
        for statement in
            ["DROP TABLE tag", "COMMIT", "ALTER TABLE tag ADD x INT", "PRAGMA user_version = 1", "SELECT 1"]
        {
            lab.fails(9, &format!("sql --write '{statement}' --yes"));
        }
        lab.fails(1, "sql --write 'UPDATE monitor SET nothing = 1' --yes");
        let orphan = lab.run("sql --write 'UPDATE monitor SET parent = 99 WHERE id = 1' --yes");
        assert!(orphan.exit != 0, "{}", orphan.out);
        assert_eq!(lab.rows(), before);
        lab.ok("sql --write 'UPDATE monitor SET conditions = 0 WHERE id = 1' --yes --allow-findings");
        assert_eq!(lab.sql("SELECT conditions FROM monitor WHERE id = 1").trim(), "0");
    }
}
