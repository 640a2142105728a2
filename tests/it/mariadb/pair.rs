//! Dumps of large tables, which two connections read.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use kumadb::engine::Connect as _;
use kumadb::engine::mariadb::Address;

use crate::mariadb::engine::dump;
use crate::support::mariadbd::Mariadbd;

const ROWS: u32 = 40_000;

/// Two tables of more than 8 MB, one of them with every integer as a key that a part may end at.
fn fill(server: &Mariadbd) {
    server.sql(
        "kuma",
        &format!(
            "CREATE TABLE beat (id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, n INT, msg TEXT);
             INSERT INTO beat (n, msg) SELECT 0, REPEAT('x', 300) FROM seq_1_to_{ROWS};
             CREATE TABLE far (id BIGINT NOT NULL PRIMARY KEY, msg TEXT);
             INSERT INTO far SELECT CAST(seq AS SIGNED) * 7 - 100000, REPEAT('\\'', 300) FROM seq_1_to_{ROWS};
             INSERT INTO far VALUES (-9223372036854775808, NULL), (9223372036854775807, 'last');
             ANALYZE TABLE beat, far"
        ),
    );
}

/// How many dumps read over two connections: these release a lock.
fn released(server: &Mariadbd) -> u32 {
    let status = server.sql("", "SHOW GLOBAL STATUS LIKE 'Com_unlock_tables'");
    status.split_whitespace().last().unwrap().parse().unwrap()
}

/// `n` of the first and the last row.
fn ends(dump: &str) -> [&str; 2] {
    [1, ROWS].map(|id| n_of(dump, id))
}

fn n_of(dump: &str, id: u32) -> &str {
    let row = &dump[dump.find(&format!("({id},")).unwrap()..];
    row.split(',').nth(1).unwrap()
}

fn dump_text(address: &Address, file: &Path) -> String {
    let _ = fs::remove_file(file);
    address.reader().unwrap().dump(file, &[], &mut |_, _| {}).unwrap();
    fs::read_to_string(file).unwrap()
}

#[test]
fn two_connections_read_what_one_reads() {
    let Some(server) = Mariadbd::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let address = server.create_database("kuma", "utf8mb4");
    fill(&server);
    let text = dump(&address, folder.path());
    assert_eq!(released(&server), 1);
    for id in ["(1,0,", "(40000,0,", "(-9223372036854775808,NULL)", "(9223372036854775807,'last');"] {
        assert!(text.contains(id), "{id}");
    }
    // This user may not lock tables.
    server.sql("", "CREATE USER few@localhost; GRANT SELECT ON kuma.* TO few@localhost");
    assert!(dump(&Address { user: "few".into(), ..address.clone() }, folder.path()) == text);
    assert_eq!(released(&server), 1);
    // What the client loads is dumped again as it was.
    let again = server.create_database("again", "utf8mb4");
    server.source("again", &folder.path().join("0.sql"));
    server.sql("again", "ANALYZE TABLE beat, far");
    assert!(dump(&again, folder.path()) == text);
    assert_eq!(released(&server), 2);
}

#[test]
fn both_connections_have_one_snapshot_while_others_write() {
    let Some(server) = Mariadbd::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let address = server.create_database("kuma", "utf8mb4");
    fill(&server);
    let (is_ended, file) = (AtomicBool::new(false), folder.path().join("dump.sql"));
    let dumped = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_ended.load(Ordering::Relaxed) {
                server.sql("kuma", "UPDATE beat SET n = n + 1 WHERE id % 1000 IN (0, 1)");
                thread::sleep(Duration::from_millis(5));
            }
        });
        let dumped: Vec<String> = (0..6).map(|_| dump_text(&address, &file)).collect();
        is_ended.store(true, Ordering::Relaxed);
        dumped
    });
    for text in &dumped {
        // Both connections have read some of them.
        let seen: BTreeSet<&str> = (1..=ROWS / 1000).map(|n| n_of(text, n * 1000)).chain(ends(text)).collect();
        assert_eq!(seen.len(), 1, "{seen:?}");
    }
    assert_ne!(ends(&dumped[0]), ends(&dumped[5]));
    assert!(released(&server) > 0);
}

#[test]
fn a_dump_waits_for_no_transaction() {
    let Some(server) = Mariadbd::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let address = server.create_database("kuma", "utf8mb4");
    fill(&server);
    let mut other = crate::mariadb::engine::writer(&address);
    other.begin().unwrap();
    other.execute("UPDATE beat SET n = 7 WHERE id = 1", &[]).unwrap();
    let text = dump(&address, folder.path());
    assert_eq!((ends(&text), released(&server)), (["0", "0"], 0));
    other.commit().unwrap();
    assert_eq!((ends(&dump(&address, folder.path())), released(&server)), (["7", "0"], 1));
}
