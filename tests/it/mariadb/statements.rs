//! How many statements are sent, and that one about many tables finds what one for each would find.

use kumadb::engine::{Connect as _, Depth};

use super::engine::dump;
use crate::support::lab::Lab;
use crate::support::mariadbd::Mariadbd;

/// The number of statements that all clients of `server` have sent.
fn sent(server: &Mariadbd) -> u64 {
    let status = server.sql("", "SHOW GLOBAL STATUS LIKE 'Questions'");
    status.split_whitespace().last().unwrap().parse().unwrap()
}

#[test]
fn commands_send_few_statements() {
    let Some(lab) = Lab::mariadb("2.5.3") else { return };
    let server = lab.mariadbd.as_ref().unwrap();
    // Before it writes, kumadb asks up to twenty times whether a connection that it has just closed is gone.
    for (line, most) in [
        ("monitor add http --name A --url https://a.example", 200),
        ("monitor edit A --interval 120", 200),
        ("monitor list", 50),
        ("status", 40),
        ("doctor", 60),
        ("backup create", 90),
    ] {
        let before = sent(server);
        lab.ok(line);
        let statements = sent(server) - before;
        assert!(statements <= most, "{line}: {statements} statements");
    }
}

#[test]
fn more_tables_than_one_statement_asks_about_are_all_looked_at() {
    let Some(server) = Mariadbd::start() else { return };
    let address = server.create_database("ku.ma", "utf8mb4");
    let table = |n: usize| {
        format!(
            "CREATE TABLE t{n:03} (id INT PRIMARY KEY, p INT, CONSTRAINT f{n} FOREIGN KEY (p) REFERENCES t000 (id)); "
        )
    };
    server.sql("ku.ma", &(0..130).map(table).collect::<String>());
    address.check_accepts_writes().unwrap();
    let rows = "INSERT INTO t000 VALUES (1, NULL); INSERT INTO t059 VALUES (1, 7); INSERT INTO t060 VALUES (1, 1); INSERT INTO t129 \
                VALUES (1, 8), (2, 9)";
    server.sql("ku.ma", &format!("SET foreign_key_checks = 0; {rows}"));
    let mut reader = address.reader().unwrap();
    for depth in [Depth::References, Depth::Quick] {
        let faults: Vec<String> = reader.check(depth).unwrap().iter().map(ToString::to_string).collect();
        let lost = [
            "`t059`.`p` refers to a `t000` that does not exist (1 row)",
            "`t129`.`p` refers to a `t000` that does not exist (2 rows)",
        ];
        assert_eq!(faults, lost);
    }
    let text = dump(&address, tempfile::tempdir().unwrap().path());
    for line in
        ["-- `t000`: 1 rows", "-- `t001`: 0 rows", "-- `t059`: 1 rows", "-- `t060`: 1 rows", "-- `t129`: 2 rows"]
    {
        assert!(text.lines().any(|found| found == line), "{line}");
    }
    assert_eq!(text.matches("INSERT INTO").count(), 4);
}

#[test]
fn a_dump_lets_others_alter_the_tables_that_it_is_not_reading() {
    let Some(server) = Mariadbd::start() else { return };
    let address = server.create_database("kuma", "utf8mb4");
    server.sql(
        "kuma",
        "CREATE TABLE a (id INT PRIMARY KEY); INSERT INTO a SELECT seq FROM seq_1_to_10;
         CREATE TABLE b (id INT PRIMARY KEY); INSERT INTO b SELECT seq FROM seq_1_to_3000; CREATE TABLE z (id INT)",
    );
    let folder = tempfile::tempdir().unwrap();
    let mut altered = false;
    let counts = address.reader().unwrap().dump(&folder.path().join("dump.sql"), &[], &mut |done, _| {
        if done > 1_000 && !altered {
            altered = true;
            server.sql("kuma", "SET lock_wait_timeout = 1; ALTER TABLE a ADD c INT; ALTER TABLE z ADD c INT");
        }
    });
    assert!(altered);
    assert_eq!(counts.unwrap().into_values().collect::<Vec<_>>(), [10, 3_000, 0]);
}

#[test]
fn every_column_that_a_row_stores_is_dumped_in_the_order_of_the_key() {
    let Some(server) = Mariadbd::start() else { return };
    let address = server.create_database("kuma", "utf8mb4");
    server.sql(
        "kuma",
        "CREATE TABLE k (h INT INVISIBLE DEFAULT 4, g INT AS (id + 1) STORED COMMENT 'it''s `g`', id INT COMMENT ' GENERATED ALWAYS AS ', \
         `b``,x` VARCHAR(50), c FLOAT, d FLOAT(8,2), CHECK (c > 0 or d <> 'a,b'), PRIMARY KEY (id, `b``,x`(5)) COMMENT 'see `x` (and `y'); \
         INSERT INTO k (h, id, `b``,x`, c, d) VALUES (5, 2, 'two', 0.1, 1), (6, 1, 'one', 1.25, 2)",
    );
    let text = dump(&address, tempfile::tempdir().unwrap().path());
    let line =
        "INSERT INTO `k` (`h`,`id`,`b``,x`,`c`,`d`) VALUES (6,1,'one',1.25,2.00),(5,2,'two',0.10000000149011612,1.00);";
    assert!(text.lines().any(|found| found == line), "{text}");
}
