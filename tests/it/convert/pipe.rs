//! Every row of one database into a new one: nothing is lost but what the report says.

use std::collections::BTreeMap;
use std::path::Path;

use kumadb::cancel::Cancel;
use kumadb::engine::fit::Loss;
use kumadb::engine::mariadb::{Address, DumpedTables};
use kumadb::engine::sqlite::SqliteFile;
use kumadb::engine::{Connect as _, EngineKind, Reader};
use kumadb::error::{DatabaseError, Error};
use kumadb::kuma::create::{ExistingTables, read_content};
use kumadb::kuma::transfer::convert::{Convert, OnConflict};
use kumadb::kuma::transfer::{NewDatabase, Source, TransferReport, check, load, publish};
use kumadb::schema::{self, Recording, Release};
use kumadb::value::Value;

use crate::cli::monitor::furnish;
use crate::mariadb::engine::unpack_real_dump;
use crate::support::lab::Lab;
use crate::support::mariadbd::Mariadbd;
use crate::support::rounds;

/// A history with cells of every kind that SQLite allows in it.
pub const HISTORY: &str = "
    INSERT INTO heartbeat (id, monitor_id, status, msg, time, ping, duration, important, retries) VALUES
        (0, 2, 1, 'the first''s id is 0', '2026-11-20 10:00:00.123', 12, 60, 1, 0),
        (7, 2, '0', 'down \u{1f600} \\ ', '2026-11-20T10:01:00.999Z', '12', 60.0, 'true', 0),
        (8, 3, 1, NULL, 1763632860123, 12.5, 0, 0, 0),
        (9, 3, 1, x'c3a4', '2026-11-20 12:00:00+02:00', NULL, -1, 0, 2);
    INSERT INTO heartbeat (id, monitor_id, status, msg, time) VALUES (900, 3, 1, 'deleted later', '2026-11-20 13:00:00');
    DELETE FROM heartbeat WHERE id = 900;
    INSERT INTO stat_daily (monitor_id, timestamp, ping, up, down, ping_min, ping_max, extras) VALUES
        (2, 1763596800, 12.345, 20000, 0, 0, 123456.789, '{\"maintenance\":1}'), (2, 1763683200, 3, 1, 1, 1e-3, 0.1, NULL);
    INSERT INTO setting (key, value, type) VALUES ('emoji', '\"\u{1f600}\"', NULL), ('keepDataPeriodDays', 30, 'general');
    UPDATE monitor SET timeout = 0.8, description = 'tab\t, new\nline', created_date = '2026-11-20T09:00:00Z' WHERE id = 2;
    UPDATE monitor SET timeout = 1e20, snmp_version = 3 WHERE id = 3;
    UPDATE knex_migrations SET migration_time = 1763632860123";

pub type Rows = BTreeMap<String, Vec<Vec<Value>>>;

/// Every row of every table, in the order of its key, with the columns in the order of their names.
pub fn rows(reader: &mut dyn Reader) -> Rows {
    let schema = reader.schema().unwrap();
    let mut all = Rows::new();
    for (table, described) in &schema.tables {
        let mut columns: Vec<String> = described.columns.iter().map(|column| format!("`{}`", column.name)).collect();
        columns.sort();
        let sql = format!("SELECT {} FROM `{table}` ORDER BY `{}`", columns.join(", "), described.columns[0].name);
        let rows = reader.query(&sql, &[]).unwrap();
        all.insert(table.clone(), rows.into_iter().map(|row| row.into_cells()).collect());
    }
    all
}

fn sqlite(path: &Path) -> Box<dyn Reader> {
    SqliteFile::new(path).reader().unwrap()
}

fn recording(engine: EngineKind, release: &str) -> &'static Recording {
    schema::recording(engine, release.parse().unwrap()).unwrap()
}

fn convert(source: &mut dyn Reader, target: NewDatabase<'_>, release: &str, on_conflict: OnConflict) -> TransferReport {
    let engine = match target {
        NewDatabase::Sqlite(_) => EngineKind::Sqlite,
        NewDatabase::MariaDb(_) => EngineKind::MariaDb,
    };
    let recording = recording(engine, release);
    let mut convert = Convert::of(source, recording, on_conflict).unwrap();
    let checked = check(Source::of(source), recording, &mut convert, &mut |_, _| {}).unwrap();
    let mut convert = Convert::of(source, recording, on_conflict).unwrap();
    // As a conversion reads MariaDB: from the staged copy.
    let folder = tempfile::tempdir().unwrap();
    let dump = (source.kind() == EngineKind::MariaDb).then(|| dumped(source, folder.path()));
    let loaded = load(Source { reader: source, dump }, target, recording, &mut convert, &mut |_, _| {}).unwrap();
    assert_eq!(checked, loaded, "what is told before is what happens");
    if let NewDatabase::MariaDb(address) = target {
        assert!(matches!(read_content(address, &|_| true), Ok(ExistingTables::Unfinished(_))));
        publish(address).unwrap();
    }
    loaded
}

fn dumped(source: &mut dyn Reader, folder: &Path) -> DumpedTables {
    let file = folder.join("dump.sql");
    source.dump(&file, &[], &mut |_, _| {}).unwrap();
    DumpedTables::of(&file, Cancel::default()).unwrap()
}

fn lost(report: &TransferReport) -> Vec<(String, Loss, u64)> {
    let cell = |loss: &kumadb::kuma::transfer::Lossy| format!("{}.{}", loss.table, loss.column);
    report.losses.iter().map(|loss| (cell(loss), loss.loss, loss.cells)).collect()
}

#[test]
fn every_release_is_converted_and_back_with_the_losses_that_are_reported() {
    let Some(server) = Mariadbd::start() else { return };
    for recorded in rounds::some(schema::recorded(EngineKind::MariaDb), 4) {
        let release = recorded.release.to_string();
        let lab = Lab::sqlite(&release);
        furnish(&lab);
        lab.sql(HISTORY);
        let address = server.create_database(&format!("kuma{}", release.replace('.', "_")), "utf8mb4");
        let mut source = sqlite(&lab.folder().join("kuma.db"));
        let report = convert(&mut *source, NewDatabase::MariaDb(&address), &release, OnConflict::default());
        let rounded = if recorded.release < Release::new(2, 1, 0) { Loss::Fraction } else { Loss::Precision };
        let expected = [
            ("heartbeat.ping", Loss::Fraction, 1),
            ("heartbeat.time", Loss::SecondFraction, 3),
            ("stat_daily.ping", rounded, 1),
            ("stat_daily.ping_max", Loss::Precision, 1),
            ("stat_daily.ping_min", Loss::Precision, 1),
        ];
        assert_eq!(lost(&report), expected.map(|(column, loss, cells)| (column.to_owned(), loss, cells)), "{release}");
        assert_eq!((report.left_out.len(), report.rows_left_out_total), (0, 0), "{release}");
        let mut there = address.reader().unwrap();
        let made = there.schema().unwrap();
        let keys: usize = made.tables.values().map(|table| table.foreign_keys.len()).sum();
        assert_eq!((keys, made.tables.len()), (23, recorded.schema().tables.len()), "{release}");
        let setting = |reader: &mut dyn Reader, key: &str| {
            let rows = reader.query("SELECT `value` FROM `setting` WHERE `key` = ?", &[key.into()]).unwrap();
            rows.first().map(|row| row.at(0).to_string())
        };
        assert_eq!(setting(&mut *there, "migrateAggregateTableState").as_deref(), Some("\"migrated\""));
        assert_eq!(setting(&mut *there, "database_version"), None);
        // No id is given out twice.
        server.sql(&address.database, "INSERT INTO heartbeat (monitor_id, status, time) VALUES (2, 1, now())");
        assert_eq!(server.sql(&address.database, "SELECT max(id) FROM heartbeat"), "901\n");
        server.sql(&address.database, "DELETE FROM heartbeat WHERE id = 901");

        let back = lab.root.path().join("back.db");
        let report = convert(&mut *there, NewDatabase::Sqlite(&back), &release, OnConflict::default());
        assert_eq!(lost(&report), [], "{release}");
        let again = server.create_database(&format!("again{}", release.replace('.', "_")), "utf8mb4");
        let mut back = sqlite(&back);
        assert_eq!(back.schema().unwrap(), source.schema().unwrap());
        assert_eq!(setting(&mut *back, "database_version").as_deref(), Some("10"));
        assert_eq!(setting(&mut *back, "databasePatchedFiles"), setting(&mut *source, "databasePatchedFiles"));
        let sequence = back.query("SELECT seq FROM sqlite_sequence WHERE name = 'heartbeat'", &[]).unwrap();
        assert_eq!(sequence[0].int("seq"), Some(901));
        // What is on MariaDB now has nothing left to lose.
        let report = convert(&mut *back, NewDatabase::MariaDb(&again), &release, OnConflict::default());
        assert_eq!(lost(&report), [], "{release}");
        let (mut one, mut other) = (rows(&mut *again.reader().unwrap()), rows(&mut *there));
        let without_ids =
            |rows: &mut Rows| rows.get_mut("setting").unwrap().iter_mut().for_each(|row| row[0] = Value::Null);
        without_ids(&mut one);
        without_ids(&mut other);
        assert_eq!(one, other, "{release}");
    }
}

#[test]
fn what_does_not_fit_is_refused_or_resolved_as_chosen() {
    let Some(server) = Mariadbd::start() else { return };
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    lab.sql(HISTORY);
    let (long, page) = ("n".repeat(151), "replace(hex(zeroblob(40000)), '00', 'ä')");
    lab.sql(&format!(
        "UPDATE monitor SET name = '{long}', body = {page} WHERE id = 1;
         UPDATE heartbeat SET msg = {page}, response = {page} WHERE id = 7;
         UPDATE user SET username = 'admin \u{1f600}' WHERE id = 1;
         INSERT INTO user (username, password, active) VALUES ('Ädmin', 'x', 1), ('admin', 'x', 1), ('ADMIN ', 'x', 1);
         INSERT INTO domain_expiry (domain) VALUES ('a.example'), ('A.example');
         INSERT INTO heartbeat (id, monitor_id, status, time) VALUES (20, 2, 1, 'soon');
         CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT);
         INSERT INTO notes (text) VALUES ('a'), ('b');
         ALTER TABLE tag ADD COLUMN icon TEXT;"
    ));
    let address = server.create_database("kuma", "utf8mb4");
    let mut source = sqlite(&lab.folder().join("kuma.db"));
    let recording = recording(EngineKind::MariaDb, "2.5.3");
    let reported = |on_conflict| {
        let mut source = sqlite(&lab.folder().join("kuma.db"));
        let mut convert = Convert::of(&mut *source, recording, on_conflict).unwrap();
        let report = check(Source::of(&mut *source), recording, &mut convert, &mut |_, _| {}).unwrap();
        report
            .refused
            .iter()
            .map(|refused| format!("{}.{} {:?}", refused.table, refused.column, refused.row))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        reported(OnConflict::default()),
        [
            "domain_expiry.domain Some(2)",
            "heartbeat.msg Some(7)",
            "heartbeat.response Some(7)",
            "heartbeat.time Some(20)",
            "monitor.name Some(1)",
            "monitor.body Some(1)",
            "user.username Some(1)",
            "user.username Some(3)",
            "user.username Some(4)",
        ]
    );
    // A part of a request is another request.
    assert_eq!(reported(OnConflict { cut: true, rename: true }), ["monitor.body Some(1)"]);
    let mut request = Convert::of(&mut *source, recording, OnConflict::default()).unwrap();
    let refused =
        load(Source::of(&mut *source), NewDatabase::MariaDb(&address), recording, &mut request, &mut |_, _| {});
    assert!(
        matches!(refused, Err(Error::Database(DatabaseError::CannotConvert { total: 9, cells })) if cells.len() == 9)
    );
    assert_eq!(server.sql("kuma", "SHOW TABLES"), "", "nothing is left behind");

    lab.sql("UPDATE monitor SET body = NULL");
    let mut source = sqlite(&lab.folder().join("kuma.db"));
    let report = convert(&mut *source, NewDatabase::MariaDb(&address), "2.5.3", OnConflict { cut: true, rename: true });
    assert_eq!(
        server.sql("kuma", "SELECT id, username FROM user ORDER BY id"),
        "1\tadmin _\n2\tÄdmin\n3\tadmin-2\n4\tADMIN -3\n"
    );
    assert_eq!(server.sql("kuma", "SELECT length(msg), response IS NULL FROM heartbeat WHERE id = 7"), "65534\t1\n");
    assert_eq!(server.sql("kuma", "SELECT char_length(name) FROM monitor WHERE id = 1"), "150\n");
    assert_eq!(server.sql("kuma", "SELECT id FROM domain_expiry"), "1\n");
    let rows: Vec<String> = report.rows_left_out.iter().map(|row| row.words()).collect();
    assert!(rows.iter().any(|row| row.contains("`domain_expiry`.`domain` of row 2")), "{rows:?}");
    assert!(rows.iter().any(|row| row.contains("`heartbeat`.`time` of row 20")), "{rows:?}");
    let left: Vec<String> = report.left_out.iter().map(|left| left.words()).collect();
    assert_eq!(left, ["table `notes` (2 rows)", "column `tag`.`icon` (0 values)"]);
}

#[test]
fn a_database_that_a_server_has_used_since_is_not_cleared() {
    let Some(server) = Mariadbd::start() else { return };
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    let address: Address = server.create_database("kuma", "utf8mb4");
    let mut source = sqlite(&lab.folder().join("kuma.db"));
    let recording = recording(EngineKind::MariaDb, "2.5.3");
    let mut convert = Convert::of(&mut *source, recording, OnConflict::default()).unwrap();
    load(Source::of(&mut *source), NewDatabase::MariaDb(&address), recording, &mut convert, &mut |_, _| {}).unwrap();
    assert!(matches!(read_content(&address, &|_| true), Ok(ExistingTables::Unfinished(tables)) if tables.len() == 28));
    server.sql("kuma", "INSERT INTO heartbeat (monitor_id, status, time) VALUES (2, 1, now())");
    assert!(matches!(read_content(&address, &|_| true), Ok(ExistingTables::Server(_))));
}

#[test]
fn a_table_that_changed_after_its_staged_copy_is_refused() {
    let Some(server) = Mariadbd::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let address = server.create_database("kuma", "utf8mb4");
    let recorded = folder.path().join("real.sql");
    unpack_real_dump(&recorded);
    server.source("kuma", &recorded);
    let (mut source, recording) = (address.reader().unwrap(), recording(EngineKind::Sqlite, "2.0.2"));
    let dump = Some(dumped(&mut *source, folder.path()));
    server.sql("kuma", "DELETE FROM heartbeat WHERE id = 7");
    let to = folder.path().join("kuma.db");
    let mut convert = Convert::of(&mut *source, recording, OnConflict::default()).unwrap();
    let source = Source { reader: &mut *source, dump };
    let refused = load(source, NewDatabase::Sqlite(&to), recording, &mut convert, &mut |_, _| {}).unwrap_err();
    assert!(refused.to_string().contains("`heartbeat` has another number of rows than its staged copy"), "{refused}");
    assert!(!to.exists());
}

#[test]
fn a_null_that_sqlite_does_not_store_is_reported_before() {
    let Some(server) = Mariadbd::start() else { return };
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    let address = server.create_database("kuma", "utf8mb4");
    let mut source = sqlite(&lab.folder().join("kuma.db"));
    convert(&mut *source, NewDatabase::MariaDb(&address), "2.5.3", OnConflict::default());
    server.sql("kuma", "UPDATE notification SET user_id = NULL ORDER BY id LIMIT 1");
    let back = lab.root.path().join("back.db");
    let mut there = address.reader().unwrap();
    let report = convert(&mut *there, NewDatabase::Sqlite(&back), "2.5.3", OnConflict::default());
    assert_eq!(lost(&report), [("notification.user_id".to_owned(), Loss::Null, 1)]);
    let owners = sqlite(&back).query("SELECT count(*) FROM notification WHERE user_id IS NULL", &[]).unwrap();
    assert_eq!(owners[0].at(0).int(), Some(0));
}
