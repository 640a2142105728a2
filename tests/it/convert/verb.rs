//! `kumadb convert` on a plain data folder: there and back, what is shown before, and what is refused.

use crate::cli::monitor::furnish;
use crate::convert::pipe::HISTORY;
use crate::support::lab::Lab;
use crate::support::mariadbd::Mariadbd;

/// An instance on SQLite with a history, and an empty database for it.
fn start() -> Option<(Lab, Mariadbd, String)> {
    let server = Mariadbd::with(&["--port={port}", "--bind-address=127.0.0.1"])?;
    server.create_database("kuma", "utf8mb4");
    server.sql("mysql", "CREATE USER kuma@'%' IDENTIFIED BY 'Kuma-2026'; GRANT ALL ON *.* TO kuma@'%'");
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    lab.sql(HISTORY);
    let to = target(&server, "kuma");
    Some((lab, server, to))
}

fn target(server: &Mariadbd, database: &str) -> String {
    format!("mariadb://kuma:Kuma-2026@127.0.0.1:{}/{database}", server.port())
}

fn names(lab: &Lab) -> Vec<String> {
    let entries = std::fs::read_dir(lab.folder()).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The codes of what the doctor finds.
fn findings(lab: &Lab) -> Vec<String> {
    let ran = lab.run("doctor --json");
    let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let found = found["findings"].as_array().unwrap();
    found.iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_folder_goes_over_and_back() {
    let Some((lab, server, to)) = start() else { return };
    std::fs::write(lab.folder().join("db-config.json"), r#"{"type": "sqlite", "authSecret": "of 3.0"}"#).unwrap();
    let exported = lab.ok("export --secrets");
    // Some of what it finds is of no engine: a monitor whose server is not there, for instance.
    let known = findings(&lab);
    let before = std::fs::read(lab.folder().join("kuma.db")).unwrap();
    let dry = lab.json(&format!("convert --to {to} --dry-run"));
    assert_eq!((&dry["dry_run"], &dry["loaded"]), (&true.into(), &true.into()), "{dry:#}");
    assert_eq!(dry["database"], format!("kuma at 127.0.0.1:{}", server.port()));
    assert_eq!(dry["losses"][1]["column"], "time", "{dry:#}");
    assert_eq!((&dry["losses"][1]["loss"], &dry["losses"][1]["cells"]), (&"second_fraction".into(), &3.into()));
    assert_eq!(server.sql("kuma", "SHOW TABLES"), "");
    let done = lab.json(&format!("convert --to {to} --yes"));
    assert_eq!((&done["from"], &done["to"]), (&"SQLite".into(), &"MariaDB (external)".into()), "{done:#}");
    assert!(done["snapshot"].is_string(), "{done:#}");
    let aside = names(&lab).into_iter().find(|name| name.starts_with("kuma.db.before-convert-")).unwrap();
    assert_eq!(std::fs::read(lab.folder().join(aside)).unwrap(), before);
    assert!(!names(&lab).contains(&"kuma.db".to_owned()));
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(lab.folder().join("db-config.json")).unwrap()).unwrap();
    assert_eq!((&config["type"], &config["authSecret"]), (&"mariadb".into(), &"of 3.0".into()), "{config:#}");
    assert_eq!(lab.ok("export --secrets"), exported);
    assert_eq!(server.sql("kuma", "SHOW TABLES LIKE 'kumadb%'"), "");
    assert!(findings(&lab).iter().all(|code| known.contains(code)), "{:?}", findings(&lab));
    // The address of the instance may be the database that it uses already.
    lab.fails(9, &format!("convert --to {to} --yes"));
    let undo = lab.fails(9, "undo --yes");
    assert!(undo.err.contains("cannot undo `convert`"), "{}", undo.err);
    assert!(undo.err.contains("kumadb convert --to sqlite"), "{}", undo.err);
    lab.ok("monitor add group --name Later");
    lab.ok("undo --yes");
    lab.ok("monitor add group --name Later");
    lab.ok("convert --to sqlite --yes");
    assert!(lab.ok("export").contains("Later"));
    assert!(names(&lab).contains(&"kuma.db".to_owned()));
    assert!(findings(&lab).iter().all(|code| known.contains(code)), "{:?}", findings(&lab));
    // The old database is still there.
    let refused = lab.fails(9, &format!("convert --to {to} --yes"));
    assert!(refused.err.contains("it is not empty: it already contains 28 tables"), "{}", refused.err);
    lab.fails(9, "convert --to sqlite --yes");
}

#[test]
fn what_cannot_be_stored_is_listed_with_the_choice_that_helps() {
    let Some((lab, server, to)) = start() else { return };
    lab.sql(&format!("UPDATE monitor SET name = '{}' WHERE id = 1", "n".repeat(151)));
    lab.sql("INSERT INTO user (username, password, active) VALUES ('ADMIN', 'x', 1)");
    let refused = lab.fails(9, &format!("convert --to {to} --yes"));
    for what in [
        "`monitor`.`name` of row 1 has length 151, but varchar(150) allows 150 (--on-conflict cut)",
        "`user`.`username` of row 2 is a duplicate: MariaDB ignores case and accents (--on-conflict rename)",
        "to change all of them in the new database: --on-conflict cut,rename",
    ] {
        assert!(refused.err.contains(what), "{what}: {}", refused.err);
    }
    // The choice that was made is part of the one that is advised.
    lab.sql(&format!("UPDATE monitor SET body = '{}' WHERE id = 2", "b".repeat(65_536)));
    let renamed = lab.fails(9, &format!("convert --to {to} --on-conflict rename --yes"));
    for what in [
        "MariaDB cannot store 2 values of this database: ",
        "to change some of them in the new database: --on-conflict cut,rename",
        "change the values without a choice",
    ] {
        assert!(renamed.err.contains(what), "{what}: {}", renamed.err);
    }
    let dry = lab.fails(9, &format!("convert --to {to} --on-conflict cut,rename --dry-run"));
    let end = "\n! `monitor`.`body` of row 2 has length 65536, but text allows 65535\ndry run: the conversion would be refused; nothing was changed\n";
    assert!(dry.out.ends_with(end), "{}", dry.out);
    lab.sql("UPDATE monitor SET body = NULL WHERE id = 2");
    let dry = lab.fails(9, &format!("convert --to {to} --dry-run --json"));
    let dry: serde_json::Value = serde_json::from_str(&dry.out).unwrap();
    let choices: Vec<&str> =
        dry["refused"].as_array().unwrap().iter().map(|one| one["choice"].as_str().unwrap()).collect();
    assert_eq!((choices, &dry["refused_total"]), (vec!["cut", "rename"], &2.into()), "{dry:#}");
    assert_eq!(server.sql("kuma", "SHOW TABLES"), "");
    let done = lab.json(&format!("convert --to {to} --on-conflict cut,rename --yes"));
    assert_eq!(done["refused_total"], 0, "{done:#}");
    assert_eq!(server.sql("kuma", "SELECT username FROM user ORDER BY id"), "admin\nADMIN-2\n");
}

#[test]
fn what_would_go_wrong_is_refused_before_anything_changes() {
    let Some((lab, server, to)) = start() else { return };
    let before = lab.content();
    let refuses = |line: &str, words: &str| {
        let ran = lab.run(line);
        assert!([2, 9].contains(&ran.exit), "{line}: {ran:?}");
        assert!(ran.err.contains(words), "{line}: {}", ran.err);
        assert_eq!(lab.content(), before, "{line}");
    };
    refuses("convert --to sqlite --yes", "already uses SQLite");
    refuses("convert --to embedded --yes", "has no container");
    refuses("convert --to kuma:secret@host/kuma --yes", "must be `sqlite`, `embedded` or");
    refuses(&format!("convert --to {to} --no-restart --yes"), "the server has to open the new database");
    refuses("convert --to mariadb://kuma:p/w:1@127.0.0.1/kuma --yes", "write `/` as %2F");
    refuses(&format!("convert --to {to}"), "--yes");
    server.create_database("narrow", "latin1");
    refuses(&format!("convert --to {} --yes", target(&server, "narrow")), "latin1");
    refuses(&format!("convert --to {} --yes", server.target("kuma")), "is not in the data folder");
    // What the account may not do is found before the server is stopped.
    server.sql("mysql", "CREATE USER viewer@'%' IDENTIFIED BY 'Kuma-2026'; GRANT SELECT ON *.* TO viewer@'%'");
    let ran = lab.fails(1, &format!("convert --to {} --yes", to.replace("kuma:Kuma", "viewer:Kuma")));
    assert!(ran.err.contains("missing privilege") && !ran.err.contains("staged copy"), "{}", ran.err);
    assert_eq!((lab.content(), server.sql("kuma", "SHOW TABLES")), (before.clone(), String::new()));
    let old = Lab::sqlite("1.23.17");
    let refused = old.fails(9, &format!("convert --to {to} --yes"));
    assert!(refused.err.contains("release 1.23.17 does not support MariaDB"), "{}", refused.err);
    lab.sql("PRAGMA foreign_keys = OFF; INSERT INTO heartbeat (monitor_id, status, time) VALUES (77, 1, '2026-11-20 10:00:00')");
    let refused = lab.fails(9, &format!("convert --to {to} --yes"));
    assert!(refused.err.contains("kumadb doctor --fix"), "{}", refused.err);
    lab.sql("DELETE FROM heartbeat WHERE monitor_id = 77; UPDATE setting SET value = '\"migrating\"' WHERE key = 'migrateAggregateTableState'");
    let refused = lab.fails(9, &format!("convert --to {to} --yes"));
    assert!(refused.err.contains("the statistics of this database are not complete"), "{}", refused.err);
    // A database without its folder.
    let Some(bare) = Lab::mariadb("2.5.3") else { return };
    let refused = bare.fails(9, "convert --to sqlite --yes");
    assert!(refused.err.contains("has no data folder here"), "{}", refused.err);
}

/// Every row of every table of a database on MariaDB; of migrations the name, of settings what the server uses.
fn rows_of(server: &Mariadbd, database: &str) -> Vec<String> {
    let tables = server.sql(database, "SHOW TABLES");
    let row = |table: &str| match table {
        "knex_migrations" => server.sql(database, "SELECT id, name, batch FROM knex_migrations ORDER BY id"),
        "setting" => server.sql(database, "SELECT `key`, value, type FROM setting ORDER BY `key`"),
        _ => server.sql(database, &format!("SELECT * FROM `{table}` ORDER BY 1")),
    };
    tables.lines().map(|table| format!("{table}\n{}", row(table))).collect()
}

#[test]
fn an_old_release_is_upgraded_on_the_way() {
    let Some((_, server, to)) = start() else { return };
    server.create_database("later", "utf8mb4");
    let labs = [Lab::sqlite("1.23.17"), Lab::sqlite("1.23.17")];
    for lab in &labs {
        lab.sql(crate::upgrade::verb::ROWS);
        lab.sql("UPDATE monitor SET created_date = '2024-01-01 00:00:00'; UPDATE setting SET value = 'a' WHERE key = 'jwtSecret'");
        lab.sql("UPDATE user SET password = 'a'");
    }
    let [at_once, in_two] = &labs;
    let refused = at_once.fails(9, &format!("convert --to {to} --yes"));
    assert!(refused.err.contains("--release 2.5.3"), "{}", refused.err);
    let before = at_once.rows();
    let dry = at_once.json(&format!("convert --to {to} --release 2.5.3 --dry-run"));
    assert_eq!((&dry["loaded"], &dry["upgraded"]["to"]), (&true.into(), &"2.5.3".into()), "{dry:#}");
    assert_eq!((at_once.rows(), server.sql("kuma", "SHOW TABLES")), (before, String::new()));
    at_once.ok(&format!("convert --to {to} --release 2.5.3 --yes"));
    in_two.ok("upgrade --yes");
    in_two.ok(&format!("convert --to {} --yes", target(&server, "later")));
    assert_eq!(rows_of(&server, "kuma"), rows_of(&server, "later"));
    assert!(findings(at_once).iter().all(|code| findings(in_two).contains(code)), "{:?}", findings(at_once));
    // The other way, from 2.0.2.
    let old = Lab::sqlite("2.0.2");
    old.sql(crate::upgrade::verb::ROWS);
    server.create_database("old", "utf8mb4");
    old.ok(&format!("convert --to {} --yes", target(&server, "old")));
    old.ok("convert --to sqlite --release 2.5.3 --yes");
    assert_eq!(old.sql("SELECT count(*), max(batch) FROM knex_migrations"), "55\t2\n");
    assert_eq!(old.sql("SELECT count(*) FROM setting WHERE key = 'databasePatchedFiles'"), "1\n");
    let nothing = old.json("upgrade --yes");
    assert_eq!(nothing["changes"], serde_json::json!([]));
    // A problem of the upgrade is found before.
    let lab = Lab::sqlite("1.23.17");
    lab.sql("INSERT INTO heartbeat (monitor_id, status, time) VALUES (77, 1, '2024-01-01 10:00:00')");
    lab.fails(9, &format!("convert --to {} --release 2.5.3 --yes", target(&server, "old")));
}
