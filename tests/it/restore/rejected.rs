//! Rows of a snapshot that the tables do not accept any more: refused before anything is done, with the way that works.

use crate::doctor::findings::{codes, damage, furnish};
use crate::doctor::migrations::two_kinds_of_damage;
use crate::support::lab::Lab;

/// `line` and its dry run are refused because of `why`, and name the complete restore of `id`; nothing is changed.
fn is_refused(lab: &Lab, line: &str, why: &str, id: &str) {
    let snapshots = lab.json("backup list --undo");
    for end in ["--dry-run", "--yes"] {
        let ran = lab.fails(9, &format!("{line} {end}"));
        assert!(ran.err.contains(why), "{line} {end}: {}", ran.err);
        assert!(ran.err.contains(&format!("kumadb restore {id}")), "{line} {end}: {}", ran.err);
        assert!(!ran.err.contains("staged copy"), "{line} {end}: {}", ran.err);
    }
    assert_eq!(lab.json("backup list --undo"), snapshots);
}

#[test]
fn a_row_that_a_new_foreign_key_rejects_is_not_undone_halfway() {
    let Some(lab) = Lab::mariadb("2.5.3") else { return };
    furnish(&lab);
    let (sql, structure) = two_kinds_of_damage(&lab);
    damage(&lab, &sql);
    let damaged = (lab.sql(structure), codes(&lab));
    lab.ok("doctor --fix --yes");
    let id = lab.newest_undo();
    let why = "`monitor_notification`.`monitor_id` refers to a `monitor` that does not exist (1 row)";
    is_refused(&lab, "undo", why, &id);
    is_refused(&lab, &format!("restore {id} --config-only"), why, &id);
    lab.ok(&format!("restore {id} --yes"));
    assert_eq!((lab.sql(structure), codes(&lab)), damaged, "the tables are restored too");
}

#[test]
fn rows_that_a_new_unique_index_rejects_are_not_restored_halfway() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        lab.sql(
            "INSERT INTO tag (id, name, color) VALUES (1, 'prod', '#fff'), (2, 'prod', '#000'), (3, 'test', '#fff')",
        );
        lab.ok("sql --write 'DELETE FROM tag WHERE id = 2' --yes");
        let id = lab.newest_undo();
        let type_of_name = if lab.engine() == "SQLite" { "name" } else { "name(100)" };
        lab.sql(&format!("CREATE UNIQUE INDEX tag_name ON tag ({type_of_name})"));
        let why = "`tag` has the same `name` as another row (1 row)";
        is_refused(&lab, "undo", why, &id);
        is_refused(&lab, &format!("restore {id} --config-only"), why, &id);
        lab.ok(&format!("restore {id} --yes"));
        assert_eq!(lab.sql("SELECT count(*) FROM tag").trim(), "3");
    }
}

#[test]
fn rows_of_tables_with_other_columns_are_not_restored_halfway() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        lab.ok("sql --write 'UPDATE monitor SET weight = 7 WHERE id = 3' --yes");
        let id = lab.newest_undo();
        lab.sql("ALTER TABLE tag ADD COLUMN note varchar(10)");
        let why = match lab.engine() {
            "SQLite" => "the columns of `tag` are not those in the snapshot",
            _ => "`tag` has column `note` varchar(10)",
        };
        is_refused(&lab, "undo", why, &id);
        lab.ok(&format!("restore {id} --yes"));
        assert_eq!(lab.sql("SELECT weight FROM monitor WHERE id = 3").trim(), "2000");
    }
}

#[test]
fn rows_of_tables_with_another_definition_are_refused_while_the_server_runs() {
    let Some(lab) = Lab::mariadb("2.5.3") else { return };
    furnish(&lab);
    let definition = || lab.sql("SHOW CREATE TABLE tag");
    for (sql, why) in [
        ("ALTER TABLE tag CONVERT TO CHARACTER SET latin1", "`tag` has CHARSET=latin1"),
        ("ALTER TABLE tag MODIFY color varchar(300) NOT NULL", "`tag` has column `color` varchar(300) NOT NULL"),
    ] {
        let then = definition();
        lab.ok("sql --write 'UPDATE monitor SET weight = weight + 1 WHERE id = 3' --yes");
        let id = lab.newest_undo();
        lab.sql(sql);
        is_refused(&lab, "undo", why, &id);
        is_refused(&lab, &format!("restore {id} --config-only"), why, &id);
        lab.ok(&format!("restore {id} --yes"));
        assert_eq!(definition(), then);
    }
}

#[test]
fn unique_indexes_on_expressions_and_some_rows_are_left_to_the_transaction() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    lab.sql("INSERT INTO tag (id, name, color) VALUES (1, 'prod', '#fff'), (2, 'test', '#fff'), (3, 'PROD', '#000')");
    lab.sql("CREATE UNIQUE INDEX some ON tag (color) WHERE name = 'x'");
    lab.ok("sql --write 'UPDATE monitor SET weight = 7 WHERE id = 3' --yes");
    lab.ok("undo --yes");
    lab.ok("sql --write 'DELETE FROM tag WHERE id = 2' --yes");
    lab.sql("CREATE UNIQUE INDEX folded ON tag (upper(color || name), name)");
    lab.ok("undo --yes");
    assert_eq!(lab.sql("SELECT count(*) FROM tag").trim(), "3");
    lab.ok("sql --write 'DELETE FROM tag WHERE id = 3' --yes");
    lab.sql("CREATE UNIQUE INDEX lower ON tag (lower(name))");
    let ran = lab.run("undo --yes");
    assert_ne!(ran.exit, 0, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("UNIQUE constraint failed"), "{}", ran.err);
    assert_eq!(lab.sql("SELECT count(*) FROM tag").trim(), "2");
}

#[test]
fn a_row_that_was_broken_before_is_restored_as_it_was() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        damage(&lab, "INSERT INTO monitor_notification (id, monitor_id, notification_id) VALUES (5, 99, 1)");
        lab.ok("sql --write 'UPDATE monitor SET weight = 7 WHERE id = 3' --yes");
        lab.ok("undo --yes");
        assert_eq!(lab.sql("SELECT count(*) FROM monitor_notification").trim(), "1");
    }
}
