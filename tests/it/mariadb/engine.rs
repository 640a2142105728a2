//! MariaDB as an engine, on a real server: reading, writing, dumping.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kumadb::cancel::Cancel;
use kumadb::engine::mariadb::{Address, DumpedTables, count_dump};
use kumadb::engine::{Connect as _, Depth, EngineKind, Reader, WriteKey, Writer};
use kumadb::error::{DatabaseError, Error, InputError};
use kumadb::value::Value;
use proptest::prelude::*;

use crate::support::mariadbd::Mariadbd;

pub fn writer(address: &Address) -> Box<dyn Writer> {
    address.writer(&WriteKey::for_tests()).unwrap()
}

/// The text of a dump without its first line, which names the database.
pub fn dump(address: &Address, folder: &Path) -> String {
    let file = folder.join(format!("{}.sql", fs::read_dir(folder).unwrap().count()));
    let counts = address.reader().unwrap().dump(&file, &[], &mut |done, total| assert!(done <= total)).unwrap();
    assert_eq!(count_dump(&file).unwrap(), counts);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("-- kumadb dump 1 of `"), "{text}");
    text.split_once('\n').unwrap().1.to_owned()
}

fn one(reader: &mut dyn Reader, sql: &str) -> Value {
    reader.query(sql, &[]).unwrap()[0].at(0).clone()
}

/// Every type that a column may have, with what is hard about it.
const HARD: &str = "
    CREATE TABLE `all types` (
        id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        big BIGINT UNSIGNED, small TINYINT(1), padded INT(5) ZEROFILL, y YEAR,
        price DECIMAL(40,20), ping FLOAT(20,2), plain FLOAT, exact DOUBLE, fixed DOUBLE(10,3),
        at DATETIME, at3 DATETIME(3), stamp TIMESTAMP NULL, day DATE, hour TIME(6),
        `te``xt` TEXT COMMENT 'a, (comment) with ''quotes'' and a\nnewline', long_text LONGTEXT, j JSON,
        fixed_text CHAR(10), choice ENUM('a','b''c'), many SET('x','y'),
        bytes BLOB, fixed_bytes BINARY(4), var_bytes VARBINARY(20), bits BIT(12), point GEOMETRY,
        older TEXT CHARACTER SET latin1, wide TEXT CHARACTER SET utf16, address INET6, uid UUID,
        doubled INT AS (small * 2) STORED, shown VARCHAR(50) AS (concat('(', small, '),(')) VIRTUAL,
        UNIQUE KEY `b(` (big), CHECK (small < 100)
    ) COMMENT='x, y' DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
    SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', time_zone = '+02:00';
    INSERT INTO `all types` (id, big, small, padded, y, price, ping, plain, exact, fixed, at, at3, stamp, day, hour, `te``xt`,
        long_text, j, fixed_text, choice, many, bytes, fixed_bytes, var_bytes, bits, point, older, wide, address, uid) VALUES
        (0, 18446744073709551615, -1, 42, 2026, '12345678901234567890.01234567890123456789', 0.1, 16777217, 0.1, 1.0005,
         '2026-02-31 25:00:00', '2026-01-31 08:00:00.120', '2026-07-01 02:00:00', '0000-00-00', '-838:59:59.999999',
         'it''s \\\\ \\n\\r\\t\\0\\Z \"quoted\" `x` ; -- # /* 🦊 \u{2028}', REPEAT('🦊', 1000), '{\"a\": \"\\\\n\"}', 'pad ', 'b''c',
         'x,y', x'00ff27220a5c', x'01', '', b'101010101010', ST_GeomFromText('POINT(1 2)'), 'caf\u{e9} \u{20ac}', 'wide \u{1f98a}',
         '::1', '00000000-0000-0000-0000-000000000001'),
        (7, 9223372036854775807, NULL, 0, 0, -0.00000000000000000001, 16777217.37, 1e-38, -1.7976931348623157e308, -5, NULL,
         '0000-00-00 00:00:00', '1970-01-01 02:00:01', '2026-12-31', '00:00:00', '', NULL, 'null', '', 'wrong', '', '', NULL,
         x'80', 0, NULL, '', '', NULL, NULL),
        (8, NULL, 1, NULL, NULL, NULL, -0.005, 3.14159274, 5e-324, 1e6, NULL, NULL, NULL, NULL, NULL, NULL, '', '[]', NULL,
         NULL, NULL, NULL, x'', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    CREATE TABLE empty (a INT);
    CREATE TABLE keyless (a INT, b TEXT);
    INSERT INTO keyless VALUES (2, 'two'), (1, 'one'), (2, 'two');
    CREATE TABLE `pair` (a VARCHAR(20), b INT, PRIMARY KEY (b, a));
    INSERT INTO `pair` VALUES ('b', 1), ('a', 2), ('a', 1);
";

#[test]
fn dumps_what_the_client_loads_and_dumps_it_again_the_same() {
    let Some(server) = Mariadbd::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let first = server.create_database("first", "utf8mb4");
    let second = server.create_database("sec`ond", "latin1");
    server.sql("first", HARD);
    let text = dump(&first, folder.path());
    server.source("sec`ond", &folder.path().join("0.sql"));
    assert_eq!(dump(&second, folder.path()), text);
    // Onto what is there already, too.
    server.source("sec`ond", &folder.path().join("0.sql"));
    assert_eq!(dump(&second, folder.path()), text);

    for line in text.lines() {
        assert!(line.ends_with(';') || line.starts_with("-- "), "{line}");
    }
    assert!(text.ends_with("COMMIT;\n-- kumadb dump complete: 4 tables, 9 rows\n"), "{text}");
    for part in ["18446744073709551615", "1.6777217e7,", "'2026-07-01 00:00:00'", "AUTO_INCREMENT=9", "x'00ff27220a5c'"]
    {
        let part = part.replace("1.6777217e7", "16777216");
        assert!(text.contains(&part), "{part} in {text}");
    }
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(folder.path().join("0.sql")).unwrap().permissions().mode() & 0o777, 0o600);
    // Every cell, not only as text of ours, but as MariaDB compares it.
    for cell in [
        "a.exact <=> b.exact",
        "a.plain <=> b.plain",
        "a.ping <=> b.ping",
        "a.bits <=> b.bits",
        "a.bytes <=> b.bytes",
        "a.fixed_bytes <=> b.fixed_bytes",
        "BINARY a.older <=> BINARY b.older",
        "BINARY a.wide <=> BINARY b.wide",
        "ST_AsText(a.point) <=> ST_AsText(b.point)",
        "a.stamp <=> b.stamp",
        "a.choice + 0 <=> b.choice + 0",
        "a.many + 0 <=> b.many + 0",
    ] {
        let sql = format!(
            "SELECT COUNT(*) FROM first.`all types` a JOIN `sec``ond`.`all types` b ON a.id = b.id WHERE {cell}"
        );
        assert_eq!(server.sql("", &sql).trim(), "3", "{cell}");
    }
}

/// The dump of a small lived-in instance of 2.0.2 on the embedded MariaDB, unpacked at `to`.
pub fn unpack_real_dump(to: &Path) {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/data/2.0.2-mariadb.sql.zst");
    fs::write(to, zstd::decode_all(fs::File::open(packed).unwrap()).unwrap()).unwrap();
}

#[test]
fn a_real_database_comes_back_the_same() {
    let Some(server) = Mariadbd::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("real.sql");
    unpack_real_dump(&file);
    let counts = count_dump(&file).unwrap();
    assert_eq!((counts.len(), counts["monitor"], counts["heartbeat"], counts["knex_migrations"]), (27, 25, 248, 28));
    let address = server.create_database("kuma", "utf8mb4");
    server.source("kuma", &file);
    let recorded = fs::read_to_string(&file).unwrap();
    assert_eq!(dump(&address, folder.path()), recorded.split_once('\n').unwrap().1);

    let mut writer = writer(&address);
    let schema = writer.schema().unwrap();
    assert_eq!(schema.tables.len(), 27);
    assert_eq!(schema.table("monitor").unwrap().columns.len(), 95);
    assert_eq!(writer.check(Depth::Full).unwrap(), []);
    writer.begin().unwrap();
    writer.execute("DELETE FROM monitor WHERE id < ?", &[5.into()]).unwrap();
    writer.execute("UPDATE stat_daily SET ping = ping + 0.01", &[]).unwrap();
    writer.commit().unwrap();
    assert_ne!(dump(&address, folder.path()), recorded.split_once('\n').unwrap().1);
    writer.load(&file, &[], &mut |_, _| {}).unwrap();
    assert_eq!(dump(&address, folder.path()), recorded.split_once('\n').unwrap().1);
}

#[test]
fn the_tables_of_a_dump_read_as_those_of_its_database() {
    let Some(server) = Mariadbd::start() else { return };
    let address = server.create_database("kuma", "utf8mb4");
    server.sql("kuma", HARD);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hard.sql");
    let mut reader = address.reader().unwrap();
    let counts = reader.dump(&file, &[], &mut |_, _| {}).unwrap();
    let dumped = DumpedTables::of(&file, Cancel::default()).unwrap();
    let mut not_there = Vec::new();
    for (name, table) in &reader.schema().unwrap().tables {
        let names = || table.columns.iter().map(|column| column.name.clone());
        let (has, has_not): (Vec<_>, Vec<_>) =
            names().partition(|column| dumped.has(name, table, std::slice::from_ref(column)));
        not_there.extend(has_not);
        // All columns of a table, the same backwards, and one alone.
        for columns in [has.clone(), has.iter().rev().cloned().collect(), has[has.len() / 2..=has.len() / 2].to_vec()] {
            let cells: Vec<String> = columns.iter().map(|column| format!("`{}`", column.replace('`', "``"))).collect();
            let rows = reader.query(&format!("SELECT {} FROM `{name}`", cells.join(", ")), &[]).unwrap();
            let mut expected: Vec<Vec<Value>> = rows.into_iter().map(|row| row.into_cells()).collect();
            let mut found = Vec::new();
            let mut add = |row| {
                found.push(row);
                Ok(())
            };
            dumped.stream((name, table), &columns, &mut add).unwrap();
            [&mut found, &mut expected].into_iter().for_each(|rows| rows.sort_by_key(|row| format!("{row:?}")));
            assert_eq!(found, expected, "{name}: {columns:?}");
            assert_eq!(found.len() as u64, counts[name], "{name}");
        }
    }
    assert_eq!(not_there, ["plain", "doubled", "shown"]);
    let all_types = reader.schema().unwrap().tables.remove("all types").unwrap();
    let failed = dumped.stream(("all types", &all_types), &["id".into()], &mut |_| {
        Err(DatabaseError::EmptyFile("first".into()).into())
    });
    assert!(failed.unwrap_err().to_string().contains("first"));
    assert!(DumpedTables::of(&folder.path().join("none.sql"), Cancel::default()).is_err());
}

#[test]
fn reads_each_type_as_it_is_stored() {
    let Some(server) = Mariadbd::start() else { return };
    let address = server.create_database("kuma", "utf8mb4");
    server.sql("kuma", HARD);
    let mut reader = address.reader().unwrap();
    assert_eq!(reader.kind(), EngineKind::MariaDb);
    let rows = reader.query("SELECT * FROM `all types` WHERE id IN (?, ?) ORDER BY id", &[0.into(), 7.into()]).unwrap();
    let (first, second) = (&rows[0], &rows[1]);
    for (column, expected) in [
        ("id", Value::Int(0)),
        ("big", "18446744073709551615".into()),
        ("small", Value::Int(-1)),
        ("padded", Value::Int(42)),
        ("y", Value::Int(2026)),
        ("price", "12345678901234567890.01234567890123456789".into()),
        ("ping", Value::Real(0.1)),
        ("exact", Value::Real(0.1)),
        ("at3", "2026-01-31 08:00:00.120".into()),
        ("stamp", "2026-07-01 00:00:00".into()),
        ("day", "0000-00-00".into()),
        ("hour", "-838:59:59.999999".into()),
        ("bytes", Value::Blob(vec![0, 0xff, 0x27, 0x22, 0x0a, 0x5c])),
        ("older", "caf\u{e9} \u{20ac}".into()),
        ("wide", "wide \u{1f98a}".into()),
        ("choice", "b'c".into()),
    ] {
        assert_eq!(first.cell(column), &expected, "{column}");
    }
    assert_eq!(second.cell("big"), &Value::Int(i64::MAX));
    assert_eq!(second.cell("exact"), &Value::Real(-f64::MAX));
    assert_eq!(second.cell("choice"), &"".into());
    assert_eq!(second.cell("small"), &Value::Null);

    // What was read goes back in as it was.
    let mut writer = writer(&address);
    writer.begin().unwrap();
    let columns: Vec<&str> =
        first.columns().iter().map(String::as_str).filter(|c| !["id", "big", "doubled", "shown"].contains(c)).collect();
    let copy: Vec<Value> = columns.iter().map(|column| first.cell(column).clone()).collect();
    writer.insert("all types", &columns, &mut std::iter::once(copy)).unwrap();
    writer.commit().unwrap();
    let copy = reader.query("SELECT * FROM `all types` ORDER BY id DESC LIMIT 1", &[]).unwrap().remove(0);
    for column in columns {
        assert_eq!(copy.cell(column), first.cell(column), "{column}");
    }
}

#[test]
fn reports_the_schema() {
    let Some(server) = Mariadbd::start() else { return };
    let address = server.create_database("kuma", "utf8mb4");
    server.sql(
        "kuma",
        "CREATE TABLE parent (a INT, b VARCHAR(20) CHARACTER SET latin1, PRIMARY KEY (a, b));
         CREATE TABLE child (id INT(10) UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, a INT DEFAULT 5,
            b VARCHAR(20) CHARACTER SET latin1 DEFAULT 'x', made DATETIME NOT NULL DEFAULT current_timestamp(), note TEXT,
            UNIQUE KEY z (note(10), a), CONSTRAINT two FOREIGN KEY (a, b) REFERENCES parent (a, b) ON DELETE CASCADE);
         CREATE VIEW seen AS SELECT * FROM child;",
    );
    let schema = address.reader().unwrap().schema().unwrap();
    assert_eq!(schema.names().into_iter().collect::<Vec<_>>(), ["child", "parent"]);
    let child = schema.table("child").unwrap();
    let id = child.column("id").unwrap();
    assert_eq!((id.sql_type.as_str(), id.not_null, id.primary_key), ("int(10) unsigned", true, true));
    assert_eq!((id.extra.as_str(), &id.default), ("auto_increment", &None));
    assert_eq!(child.column("a").unwrap().default.as_deref(), Some("5"));
    assert_eq!(child.column("b").unwrap().default.as_deref(), Some("'x'"));
    assert_eq!(child.column("b").unwrap().charset.as_deref(), Some("latin1"));
    assert_eq!(child.column("made").unwrap().default.as_deref(), Some("current_timestamp()"));
    assert_eq!(child.column("note").unwrap().default, None);
    assert_eq!(child.column("note").unwrap().collation.as_deref(), Some("utf8mb4_general_ci"));
    let keys: Vec<_> =
        child.foreign_keys.iter().map(|k| (k.column.as_str(), k.to.as_str(), k.name.as_deref())).collect();
    assert_eq!(keys, [("a", "a", Some("two")), ("b", "b", Some("two"))]);
    assert_eq!(
        (child.foreign_keys[0].on_update.as_str(), child.foreign_keys[0].on_delete.as_str()),
        ("RESTRICT", "CASCADE")
    );
    let indexes: Vec<_> = child.indexes.iter().map(|i| (i.name.as_str(), i.unique, i.columns.join(","))).collect();
    assert_eq!(indexes, [("PRIMARY", true, "id".into()), ("two", false, "a,b".into()), ("z", true, "note,a".into())]);
}

#[test]
fn counts_references_that_point_nowhere() {
    let Some(server) = Mariadbd::start() else { return };
    let address = server.create_database("kuma", "utf8mb4");
    server.sql(
        "kuma",
        "CREATE TABLE parent (a INT, b INT, PRIMARY KEY (a, b));
         CREATE TABLE lost (id INT PRIMARY KEY);
         CREATE TABLE child (id INT PRIMARY KEY, a INT, b INT, parent INT, lost INT,
            CONSTRAINT two FOREIGN KEY (a, b) REFERENCES parent (a, b),
            CONSTRAINT self FOREIGN KEY (parent) REFERENCES child (id),
            CONSTRAINT gone FOREIGN KEY (lost) REFERENCES lost (id));
         INSERT INTO parent VALUES (1, 1), (2, 2);
         INSERT INTO child VALUES (1, 1, 1, NULL, NULL), (2, 1, NULL, 1, NULL);",
    );
    let mut reader = address.reader().unwrap();
    for depth in [Depth::References, Depth::Quick, Depth::Full] {
        assert_eq!(reader.check(depth).unwrap(), []);
    }
    server.sql(
        "kuma",
        "SET foreign_key_checks = 0; INSERT INTO child VALUES (3, 1, 2, 3, NULL), (4, 2, 1, 99, 5); DROP TABLE lost;",
    );
    for depth in [Depth::References, Depth::Quick, Depth::Full] {
        let faults: Vec<String> = reader.check(depth).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            faults,
            [
                "`child`.`lost` refers to a `lost` that does not exist (1 row)",
                "`child`.`parent` refers to a `child` that does not exist (1 row)",
                "`child`.`a`, `child`.`b` refers to a `parent` that does not exist (2 rows)",
            ]
        );
    }
}

#[test]
fn a_reader_changes_nothing() {
    let Some(server) = Mariadbd::start() else { return };
    let address = server.create_database("kuma", "utf8mb4");
    server.sql(
        "kuma",
        "CREATE TABLE t (a INT PRIMARY KEY); INSERT INTO t VALUES (1);
CREATE FUNCTION f() RETURNS INT BEGIN DELETE FROM t; RETURN 1; END",
    );
    let mut reader = address.reader().unwrap();
    for sql in [
        "DELETE FROM t",
        "(DELETE FROM t)",
        "/* SELECT */ DELETE FROM t",
        "/*! DELETE FROM t */",
        "SELECT 1; DELETE FROM t",
        "SET SESSION TRANSACTION READ WRITE",
        "DROP TABLE t",
        "TRUNCATE t",
        "COMMIT",
        "SELECT f()",
        "WITH x AS (SELECT 1) SELECT f() FROM x",
        "ANALYZE DELETE FROM t",
        "CREATE TABLE u (a INT)",
        "",
    ] {
        let error = reader.query(sql, &[]).expect_err(sql);
        assert!(
            matches!(
                error,
                Error::Database(DatabaseError::ReadOnly { .. }) | Error::Database(DatabaseError::Sql { .. })
            ),
            "{sql}: {error}"
        );
    }
    assert_eq!(one(&mut *reader, "SELECT COUNT(*) FROM t"), Value::Int(1));
    assert_eq!(one(&mut *reader, "SHOW TABLES"), "t".into());
}

#[test]
fn writes_in_one_transaction_or_not_at_all() {
    let Some(server) = Mariadbd::start() else { return };
    let address = server.create_database("kuma", "utf8mb4");
    server.sql("kuma", "CREATE TABLE t (a INT PRIMARY KEY, b TEXT); CREATE TABLE old (a INT) ENGINE=MyISAM;");
    let mut reader = address.reader().unwrap();
    let mut count = || one(&mut *reader, "SELECT COUNT(*) FROM t").int().unwrap();
    let mut first = writer(&address);
    let error = first.begin().unwrap_err().to_string();
    assert!(error.contains("`old` uses the engine MyISAM"), "{error}");
    assert_eq!(first.execute("DROP TABLE old", &[]).unwrap(), 0);

    first.begin().unwrap();
    assert!(matches!(first.begin(), Err(Error::Database(DatabaseError::Sql { .. }))));
    assert!(matches!(writer(&address).begin(), Err(Error::Database(DatabaseError::Busy { .. }))));
    assert!(matches!(first.execute("CREATE TABLE u (a INT)", &[]), Err(Error::Database(DatabaseError::Sql { .. }))));
    let mut rows = (0..5_000).map(|n| vec![n.into(), "x".repeat(2_000).into()]);
    assert_eq!(first.insert("t", &["a", "b"], &mut rows).unwrap(), 5_000);
    // Rows met, whether they change or not.
    assert_eq!(first.execute("UPDATE t SET b = ? WHERE a < ?", &["y".into(), 10.into()]).unwrap(), 10);
    assert_eq!(first.execute("UPDATE t SET b = ? WHERE a < ?", &["y".into(), 10.into()]).unwrap(), 10);
    assert_eq!(first.check(Depth::Full).unwrap(), []);
    assert_eq!(count(), 0);
    first.rollback().unwrap();
    assert_eq!(count(), 0);
    first.rollback().unwrap();

    first.begin().unwrap();
    first.insert("t", &["a"], &mut (0..3).map(|n| vec![n.into()])).unwrap();
    drop(first);
    assert_eq!(count(), 0);

    let mut second = writer(&address);
    second.begin().unwrap();
    second.insert("t", &["a", "b"], &mut std::iter::once(vec![0.into(), "?".into()])).unwrap();
    let none = second.insert("t", &["a"], &mut std::iter::empty()).unwrap();
    assert_eq!(none, 0);
    second.commit().unwrap();
    assert_eq!(count(), 1);
}

#[test]
fn one_connection_works_inside_a_callback_of_another() {
    let Some(server) = Mariadbd::start() else { return };
    let address = server.create_database("kuma", "utf8mb4");
    server.sql("kuma", "CREATE TABLE t (a INT PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3);");
    let (mut reader, mut other) = (address.reader().unwrap(), address.reader().unwrap());
    let mut seen = Vec::new();
    let stopped = reader.stream("SELECT a FROM t ORDER BY a", &[], &mut |row| {
        seen.push(other.query("SELECT a * 10 FROM t WHERE a = ?", &[row.at(0).clone()])?[0].at(0).clone());
        if seen.len() == 2 { Err(Error::Input(InputError::Cancelled)) } else { Ok(()) }
    });
    assert!(matches!(stopped, Err(Error::Input(InputError::Cancelled))));
    assert_eq!(seen, [Value::Int(10), Value::Int(20)]);
    // What was not read of the first result does not get into the next.
    assert_eq!(one(&mut *reader, "SELECT COUNT(*) FROM t"), Value::Int(3));
}

#[test]
fn rows_do_not_wait_for_others_and_end_with_their_reader() {
    let Some(server) = Mariadbd::start() else { return };
    let address = server.create_database("kuma", "utf8mb4");
    let mut reader = address.reader().unwrap();
    // Each is larger than the buffer of the server, which sends it at once.
    let slow = "SELECT seq, repeat('x', 40000), IF(seq > 4, SLEEP(600), 0) FROM seq_1_to_9";
    let mut seen = Vec::new();
    let stopped = reader.stream(slow, &[], &mut |row| {
        seen.push(row.at(0).int());
        match seen.len() {
            2 => Err(Error::Input(InputError::Cancelled)),
            _ => Ok(()),
        }
    });
    assert!(matches!(stopped, Err(Error::Input(InputError::Cancelled))), "{stopped:?}");
    assert_eq!(seen, [Some(1), Some(2)]);
    let mut next = address.reader().unwrap();
    // Many batches, large rows, and none.
    let sums = [("seq_1_to_100000", 0, 100_000), ("seq_1_to_20", 1 << 20, 20), ("seq_1_to_5 WHERE seq > 9", 0, 0)];
    for (table, length, count) in sums {
        let (mut rows, mut last) = (0, 0);
        let sql = format!("SELECT seq, repeat('x', {length}) FROM {table}");
        next.stream(&sql, &[], &mut |row| {
            assert_eq!(row.at(1).text().map(str::len), Some(length));
            (rows, last) = (rows + 1, row.at(0).int().unwrap());
            Ok(())
        })
        .unwrap();
        assert_eq!((rows, last), (count, count), "{table}");
    }
}

#[test]
fn keeps_a_latin1_database_as_it_is() {
    let Some(server) = Mariadbd::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let address = server.create_database("kuma", "latin1");
    server.sql("kuma", "CREATE TABLE t (a INT PRIMARY KEY, b TEXT); INSERT INTO t VALUES (1, 'caf\u{e9} \u{20ac}')");
    let mut writer = writer(&address);
    assert_eq!(one(&mut *writer, "SELECT b FROM t"), "caf\u{e9} \u{20ac}".into());
    writer.begin().unwrap();
    let fox = writer.insert("t", &["a", "b"], &mut std::iter::once(vec![2.into(), "🦊".into()])).unwrap_err();
    assert!(fox.to_string().contains("(…)"), "{fox}");
    writer.rollback().unwrap();
    let text = dump(&address, folder.path());
    let copy = server.create_database("copy", "utf8mb4");
    server.source("copy", &folder.path().join("0.sql"));
    assert_eq!(dump(&copy, folder.path()), text);
    assert!(text.contains("CHARSET=latin1") && text.contains("caf\u{e9} \u{20ac}"), "{text}");
    let faults = writer.load(&folder.path().join("0.sql"), &[], &mut |_, _| {});
    assert!(faults.is_ok(), "{faults:?}");
}

#[test]
fn names_in_the_dump_what_is_no_table() {
    let Some(server) = Mariadbd::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let address = server.create_database("kuma", "utf8mb4");
    server.sql(
        "kuma",
        "CREATE TABLE t (a INT PRIMARY KEY); CREATE VIEW `v` AS SELECT * FROM t;
                        CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW SET @x = 1; CREATE PROCEDURE p() SELECT 1;",
    );
    let text = dump(&address, folder.path());
    for part in ["VIEW `v` AS select", "TRIGGER tr AFTER INSERT", "PROCEDURE `p`()"] {
        let found = text.lines().any(|line| line.starts_with("-- not a table") && line.contains(part));
        assert!(found, "{part} in {text}");
    }
    assert_eq!(address.read_only().unwrap().extras().unwrap().len(), 3);
    assert!(address.read_only().unwrap().is_mariadb());
}

#[test]
fn any_text_number_and_bytes_come_back() {
    let Some(server) = Mariadbd::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let address = server.create_database("kuma", "utf8mb4");
    let copy = server.create_database("copy", "utf8mb4");
    server.sql(
        "kuma",
        "CREATE TABLE t (id BIGINT PRIMARY KEY, txt LONGTEXT, num DOUBLE, raw LONGBLOB, f FLOAT, d FLOAT(20,2))",
    );
    let text = prop_oneof![
        any::<String>(),
        proptest::collection::vec(
            prop_oneof![
                Just('\\'),
                Just('\''),
                Just('\n'),
                Just('\r'),
                Just('\0'),
                Just('\x1a'),
                Just('"'),
                Just('`'),
                Just('?'),
                Just(';'),
                Just('('),
                Just(')'),
                Just(','),
                Just('-'),
                Just('🦊'),
                any::<char>()
            ],
            0..40
        )
        .prop_map(|all| all.into_iter().collect::<String>()),
    ];
    let number = prop_oneof![
        any::<f64>().prop_filter("finite", |x| x.is_finite()),
        any::<i32>().prop_map(|n| f64::from(n) / 100.0)
    ];
    let bytes = proptest::collection::vec(any::<u8>(), 0..60);
    let float = any::<f32>().prop_filter("finite", |x| x.is_finite());
    let row = (any::<i64>(), text, number, bytes, float, -9_999_999i32..9_999_999);
    let rows = proptest::collection::vec(row, 1..40);
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(rows in rows)| {
        let rows: BTreeMap<i64, Vec<Value>> = rows
            .into_iter()
            .map(|(id, text, number, bytes, float, cents)| {
                (id, vec![id.into(), text.into(), number.into(), Value::Blob(bytes), f64::from(float).into(),
                    (f64::from(cents) / 100.0).into()])
            })
            .collect();
        let mut writer = writer(&address);
        writer.begin().unwrap();
        writer.execute("DELETE FROM t", &[]).unwrap();
        writer.insert("t", &["id", "txt", "num", "raw", "f", "d"], &mut rows.values().cloned()).unwrap();
        writer.commit().unwrap();
        let read = writer.query("SELECT id, txt, num, raw, CAST(f AS DOUBLE) AS f, d FROM t ORDER BY id", &[]).unwrap();
        prop_assert_eq!(read.len(), rows.len());
        for (read, row) in read.iter().zip(rows.values()) {
            prop_assert_eq!(&read.cells()[..5], &row[..5]);
            // A FLOAT of two decimals holds as many digits as fit in 24 bits.
            let (Value::Real(read), Value::Real(written)) = (read.at(5), &row[5]) else { panic!("no number") };
            let off = (read - written).abs();
            prop_assert!(off < 0.6);
        }
        let text = dump(&address, folder.path());
        let files = std::fs::read_dir(folder.path()).unwrap().count();
        server.source("copy", &folder.path().join(format!("{}.sql", files - 1)));
        prop_assert_eq!(dump(&copy, folder.path()), text);
    });
}
