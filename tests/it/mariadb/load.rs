//! Putting a dump back: wholly or not at all.

use std::fs;
use std::path::Path;
use std::time::Instant;

use kumadb::engine::mariadb::{Address, count_dump};
use kumadb::engine::{Connect as _, WriteKey};
use kumadb::error::{DatabaseError, Error, OperationError, SnapshotError};

use crate::mariadb::engine::{dump, writer};
use crate::support::mariadbd::Mariadbd;
use crate::support::wait::wait_until;

/// Two tables that refer to each other's rows, and many of them.
fn fill(server: &Mariadbd, rows: u32) {
    server.sql(
        "kuma",
        &format!(
            "CREATE TABLE monitor (id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(150) UNIQUE, parent INT UNSIGNED,
                 CONSTRAINT up FOREIGN KEY (parent) REFERENCES monitor (id) ON DELETE SET NULL);
             CREATE TABLE heartbeat (id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, monitor_id INT UNSIGNED NOT NULL,
                 msg TEXT, ping FLOAT(20,2), KEY (monitor_id),
                 FOREIGN KEY (monitor_id) REFERENCES monitor (id) ON DELETE CASCADE);
             INSERT INTO monitor (name) SELECT CONCAT('m', seq) FROM seq_1_to_100;
             UPDATE monitor SET parent = 1 WHERE id > 50;
             INSERT INTO heartbeat (monitor_id, msg, ping) SELECT seq % 100 + 1, REPEAT('x', seq % 200), seq / 7
                 FROM seq_1_to_{rows};"
        ),
    );
}

fn change(server: &Mariadbd) {
    server.sql(
        "kuma",
        "DELETE FROM monitor WHERE id = 1; UPDATE monitor SET name = CONCAT('changed ', id); DELETE FROM heartbeat WHERE id % 3 = 0;
         INSERT INTO monitor (name) VALUES ('new')",
    );
}

fn load(address: &Address, file: &Path) -> kumadb::Result<()> {
    address.writer(&WriteKey::for_tests())?.load(file, &[], &mut |done, total| assert!(done <= total))
}

/// The dump without what a load leaves as it is.
fn rows(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("CREATE TABLE")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn puts_a_dump_back_row_by_row() {
    let Some(server) = Mariadbd::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let address = server.create_database("kuma", "utf8mb4");
    fill(&server, 20_000);
    // A copy may hold what should not be there; it comes back all the same.
    server.sql("kuma", "SET foreign_key_checks = 0; INSERT INTO heartbeat (monitor_id) VALUES (4711)");
    let before = dump(&address, folder.path());
    let file = folder.path().join("0.sql");
    assert_eq!(
        count_dump(&file).unwrap().into_iter().collect::<Vec<_>>(),
        [("heartbeat".into(), 20_001), ("monitor".into(), 100)]
    );
    change(&server);
    assert_ne!(rows(&dump(&address, folder.path())), rows(&before));
    load(&address, &file).unwrap();
    assert_eq!(rows(&dump(&address, folder.path())), rows(&before));
    // Without any right to make or drop a table.
    server.sql("", "CREATE USER few@localhost; GRANT SELECT, INSERT, UPDATE, DELETE ON kuma.* TO few@localhost");
    change(&server);
    load(&Address { user: "few".into(), ..address.clone() }, &file).unwrap();
    assert_eq!(rows(&dump(&address, folder.path())), rows(&before));
}

/// What a rollback meets: the server has written a few beats more, and one monitor is another.
#[test]
fn cuts_a_history_that_only_grew() {
    let Some(server) = Mariadbd::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let address = server.create_database("kuma", "utf8mb4");
    fill(&server, 20_000);
    let before = dump(&address, folder.path());
    let file = folder.path().join("0.sql");
    let more = "INSERT INTO heartbeat (monitor_id, msg) SELECT seq % 100 + 1, 'later' FROM seq_1_to_50";
    let changes = [
        more,
        "UPDATE heartbeat SET msg = 'changed' WHERE id = 19999",
        "UPDATE heartbeat SET msg = 'changed' WHERE id = 1",
        "UPDATE heartbeat SET id = id + 100000 WHERE id > 10000",
        "DELETE FROM heartbeat WHERE id > 19000",
        "DELETE FROM heartbeat",
        "INSERT INTO heartbeat (id, monitor_id) VALUES (0, 1)",
        "UPDATE monitor SET name = 'changed' WHERE id = 77",
    ];
    for change in changes {
        server.sql("kuma", change);
        assert_ne!(rows(&dump(&address, folder.path())), rows(&before), "{change}");
        load(&address, &file).unwrap();
        assert_eq!(rows(&dump(&address, folder.path())), rows(&before), "{change}");
    }
    // The rows before the first difference are not written again: somebody's lock on one of them is no hindrance.
    server.sql("kuma", more);
    let mut holder = writer(&address);
    // Not by `begin`, which keeps every other kumadb out.
    holder.execute("SET autocommit = 0", &[]).unwrap();
    holder.execute("UPDATE heartbeat SET msg = msg WHERE id = 3", &[]).unwrap();
    load(&address, &file).unwrap();
    holder.execute("ROLLBACK", &[]).unwrap();
    assert_eq!(rows(&dump(&address, folder.path())), rows(&before));
}

#[test]
fn refuses_a_dump_that_is_not_whole_or_does_not_fit() {
    let Some(server) = Mariadbd::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let address = server.create_database("kuma", "utf8mb4");
    fill(&server, 3_000);
    dump(&address, folder.path());
    let whole = folder.path().join("0.sql");
    let text = fs::read(&whole).unwrap();
    let file = folder.path().join("broken.sql");
    let refuse = |bytes: &[u8], word: &str| {
        fs::write(&file, bytes).unwrap();
        let error = load(&address, &file).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
        assert!(matches!(error, Error::Snapshot(SnapshotError::Invalid { .. })), "{error:?}");
        assert!(count_dump(&file).is_err());
    };
    // Cut off at the end of any line, and in the middle of some.
    let ends: Vec<usize> = (0..text.len()).filter(|at| text[*at] == b'\n').collect();
    for end in &ends[..ends.len() - 1] {
        refuse(&text[..=*end], "truncated");
    }
    for cut in [1, 10, 1_000, 30_000] {
        refuse(&text[..text.len() - cut], "");
    }
    refuse(b"", "truncated");
    refuse(b"-- MariaDB dump 10.19\n", "not a dump of kumadb");
    let edited = |from: &str, to: &str| String::from_utf8(text.clone()).unwrap().replacen(from, to, 1).into_bytes();
    refuse(&edited(",(2,", ",(2),(2,"), "fewer rows");
    refuse(&edited("INSERT INTO `heartbeat`", "INSERT INTO `monitor`"), "outside of a table");
    refuse(&edited("COMMIT;", "DROP DATABASE kuma;"), "does not write");
    refuse(&[&text[..], b"DELETE FROM monitor;\n"].concat(), "continues after");

    for (sql, undo, word) in [
        ("ALTER TABLE monitor ADD extra INT", "ALTER TABLE monitor DROP extra", "column `extra`"),
        (
            "ALTER TABLE monitor MODIFY name VARCHAR(100)",
            "ALTER TABLE monitor MODIFY name VARCHAR(150)",
            "varchar(100)",
        ),
        ("CREATE TABLE more (a INT)", "DROP TABLE more", "`more` is not in the snapshot"),
        ("RENAME TABLE heartbeat TO beats", "RENAME TABLE beats TO heartbeat", "`heartbeat` is only in the snapshot"),
    ] {
        server.sql("kuma", sql);
        let error = load(&address, &whole).unwrap_err();
        assert!(
            matches!(&error, Error::Database(DatabaseError::CopyDiffers { .. })) && error.to_string().contains(word),
            "{error}"
        );
        server.sql("kuma", undo);
    }
    // A trigger that meddles is found out by reading back.
    server.sql("kuma", "UPDATE heartbeat SET msg = 'changed' WHERE id = 1");
    let before = rows(&dump(&address, folder.path()));
    server.sql("kuma", "CREATE TRIGGER meddle BEFORE INSERT ON heartbeat FOR EACH ROW SET NEW.msg = 'meddled'");
    let error = load(&address, &whole).unwrap_err();
    assert!(
        matches!(&error, Error::Operation(OperationError::ChecksFailed(why)) if why[0].contains("`heartbeat` has other rows than in the snapshot")),
        "{error}"
    );
    server.sql("kuma", "DROP TRIGGER meddle");
    assert_eq!(rows(&dump(&address, folder.path())), before);
}

#[test]
fn a_load_that_is_cut_off_leaves_all_or_nothing() {
    let Some(mut server) = Mariadbd::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let address = server.create_database("kuma", "utf8mb4");
    fill(&server, 20_000);
    let new = rows(&dump(&address, folder.path()));
    let file = folder.path().join("0.sql");
    change(&server);
    let old = rows(&dump(&address, folder.path()));
    let begun = Instant::now();
    load(&address, &file).unwrap();
    let time = begun.elapsed();

    let (mut kept, mut replaced) = (0, 0);
    let mut judge = |server: &Mariadbd, loaded: kumadb::Result<()>| {
        let now = rows(&dump(&server.address("kuma"), folder.path()));
        assert!(now == old || now == new, "neither old nor new");
        match loaded {
            Ok(()) => assert!(now == new, "said to be loaded, but is not"),
            Err(Error::Database(DatabaseError::CommitInDoubt { .. })) => {}
            Err(error) => assert!(now == old, "said to be undone, but is not: {error}"),
        }
        *(if now == old { &mut kept } else { &mut replaced }) += 1;
    };
    for round in 0..16u32 {
        // Back to the old state, whatever the last round left.
        load(&address, &folder.path().join("1.sql")).unwrap();
        let delay = time * round / 14;
        let loader = {
            let (address, file) = (address.clone(), file.clone());
            std::thread::spawn(move || load(&address, &file))
        };
        std::thread::sleep(delay);
        if round % 2 == 0 {
            let ids = server.sql("", "SELECT id FROM information_schema.PROCESSLIST WHERE db = 'kuma'");
            for id in ids.split_whitespace() {
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    server.sql("", &format!("KILL CONNECTION {id}"))
                }));
            }
            let loaded = loader.join().unwrap();
            // The server needs a moment to undo what a killed connection did.
            wait_until(60, "no transaction is left", || server.transactions() == 0);
            judge(&server, loaded);
        } else {
            server.kill();
            let loaded = loader.join().unwrap();
            server.start_again();
            judge(&server, loaded);
        }
    }
    println!("loads cut off: {kept} left the old rows, {replaced} the new ones");
    assert!(kept > 0);
}
