//! What the engine checks before a transaction commits: what the transaction can have changed.

use std::collections::BTreeSet;
use std::path::Path;

use kumadb::engine::sqlite::SqliteFile;
use kumadb::engine::{Connect, EngineKind, WriteKey, Writer};
use kumadb::plan::{Assignment, Change, Plan, PlanStep};
use kumadb::schema::{self, Schema};
use kumadb::value::Value;

use crate::support::mariadbd::Mariadbd;

const TABLES: [&str; 3] = [
    "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
    "CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER, n INTEGER CHECK (n > 0), FOREIGN KEY (parent) REFERENCES parent (id))",
    "CREATE TABLE other (id INTEGER PRIMARY KEY)",
];

/// The faults that `writer` finds where only `changed` has changed.
fn faults(writer: &mut dyn Writer, changed: &str) -> Vec<String> {
    let changed = BTreeSet::from([changed.to_owned()]);
    writer.check_changed(&changed).unwrap().iter().map(ToString::to_string).collect()
}

/// A transaction, open, that has left a reference to nothing in `child`.
fn breaking(connect: &dyn Connect, before: &[&str]) -> Box<dyn Writer> {
    let mut writer = connect.writer(&WriteKey::for_tests()).unwrap();
    for sql in before {
        writer.execute(sql, &[]).unwrap();
    }
    writer.begin().unwrap();
    for sql in ["INSERT INTO child VALUES (1, 99, 5)", "INSERT INTO other VALUES (1)"] {
        writer.execute(sql, &[]).unwrap();
    }
    writer
}

/// Checks what is found in each table, without and with a trigger.
fn finds(connect: &dyn Connect, lax: &str, trigger: &str, reference: &str) {
    let mut writer = breaking(connect, &[lax]);
    assert_eq!(faults(&mut *writer, "child"), [reference]);
    assert_eq!(faults(&mut *writer, "other"), [] as [String; 0]);
    assert_eq!(faults(&mut *writer, "parent"), [] as [String; 0]);
    writer.rollback().unwrap();
    drop(writer);
    // It may have changed any table.
    let mut writer = breaking(connect, &[trigger, lax]);
    assert_eq!(faults(&mut *writer, "other"), [reference]);
    writer.rollback().unwrap();
}

fn database(folder: &Path) -> SqliteFile {
    let path = folder.join("kuma.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(&TABLES.join(";")).unwrap();
    SqliteFile::new(&path)
}

#[test]
fn sqlite_checks_the_tables_that_changed() {
    let folder = tempfile::tempdir().unwrap();
    finds(
        &database(folder.path()),
        "PRAGMA foreign_keys = OFF",
        "CREATE TRIGGER t AFTER INSERT ON other BEGIN SELECT 1; END",
        "`child` refers to a `parent` that does not exist (1 row)",
    );
}

#[test]
fn sqlite_checks_the_structure_of_the_tables_that_changed() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = database(folder.path()).writer(&WriteKey::for_tests()).unwrap();
    writer.execute("PRAGMA ignore_check_constraints = ON", &[]).unwrap();
    writer.begin().unwrap();
    writer.execute("INSERT INTO child VALUES (1, NULL, -5)", &[]).unwrap();
    writer.execute("PRAGMA ignore_check_constraints = OFF", &[]).unwrap();
    assert_eq!(faults(&mut *writer, "child"), ["CHECK constraint failed in child"]);
    assert_eq!(faults(&mut *writer, "other"), [] as [String; 0]);
}

#[test]
fn sqlite_checks_the_free_pages_with_any_table() {
    let folder = tempfile::tempdir().unwrap();
    let file = database(folder.path());
    let mut bytes = std::fs::read(file.path()).unwrap();
    // The number of free pages in the header.
    bytes[39] = 3;
    std::fs::write(file.path(), bytes).unwrap();
    let mut writer = file.writer(&WriteKey::for_tests()).unwrap();
    writer.begin().unwrap();
    let found = faults(&mut *writer, "other").join(" ");
    assert!(found.contains("reelist"), "{found}");
}

#[test]
fn mariadb_checks_the_tables_that_changed() {
    let Some(server) = Mariadbd::start() else { return };
    let address = server.create_database("kuma", "utf8mb4");
    server.sql("kuma", &TABLES.join(";"));
    finds(
        &address,
        "SET foreign_key_checks = 0",
        "CREATE TRIGGER t AFTER INSERT ON other FOR EACH ROW SET @a = 1",
        "`child`.`parent` refers to a `parent` that does not exist (1 row)",
    );
}

fn tables(schema: &Schema, table: &str, change: Change) -> Vec<String> {
    let step = PlanStep { table: table.to_owned(), subject: String::new(), change };
    Plan { steps: vec![step], fingerprint: None }.changed_tables(schema).into_iter().collect()
}

#[test]
fn a_plan_changes_what_refers_to_the_rows_that_it_deletes() {
    let set = |column: &str| Change::Update {
        id: 1,
        set: vec![Assignment { column: column.into(), old: Value::Null, new: Value::Int(2).into(), secret: false }],
    };
    for engine in [EngineKind::Sqlite, EngineKind::MariaDb] {
        let schema = schema::recording(engine, schema::newest()).unwrap().schema();
        let insert = Change::Insert { columns: [].into(), cells: Vec::new().into() };
        assert_eq!(tables(schema, "monitor", insert), ["monitor"]);
        assert_eq!(tables(schema, "monitor", set("name")), ["monitor"]);
        let delete = || Change::Delete { column: "id".into(), value: 1, rows: 1 };
        let deleted = tables(schema, "monitor", delete());
        for table in ["heartbeat", "monitor", "monitor_group", "monitor_notification", "monitor_tag", "stat_daily"] {
            assert!(deleted.iter().any(|one| one == table), "{engine:?}: {table}: {deleted:?}");
        }
        assert!(!deleted.iter().any(|one| one == "setting"), "{deleted:?}");
        assert_eq!(tables(schema, "monitor", set("id")), deleted);
        // A user has monitors, and those have heartbeats.
        let deleted = tables(schema, "user", delete());
        assert!(deleted.iter().any(|one| one == "heartbeat"), "{deleted:?}");
    }
}
