//! A dump in the place of a MariaDB database with other tables: made beside it, exchanged, and taken back from everywhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kumadb::backup::stage::{CopySource, SnapshotLabel};
use kumadb::backup::{CopyScope, StagedCopy, Store};
use kumadb::engine::DumpFit;
use kumadb::error::{Error, OperationError, Result};
use kumadb::instance::Instance;
use kumadb::kuma::init;
use kumadb::operation::{self, Journal, Load, Settings};
use kumadb::value::Secret;

use crate::cli::monitor::furnish;
use crate::mariadb::engine::{dump, writer};
use crate::support::child::{is_killed, reported};
use crate::support::lab::{Lab, instance_at};
use crate::support::mariadbd::Mariadbd;
use crate::support::rounds;
use crate::write::every_point::{Counted, How, Points};

/// What a migration to 2.5 that was killed leaves behind: some of its changes, and the lock.
const HALF: &str = "
    ALTER TABLE monitor ADD `half_made` varchar(255), ADD `save_response` tinyint(1) NOT NULL DEFAULT 0, DROP COLUMN `description`;
    ALTER TABLE heartbeat DROP KEY monitor_important_time_index, MODIFY ping FLOAT;
    ALTER TABLE setting CONVERT TO CHARACTER SET latin1;
    CREATE TABLE `domain_expiry` (`id` int PRIMARY KEY, monitor_id int(10) unsigned,
        CONSTRAINT half FOREIGN KEY (monitor_id) REFERENCES monitor (id));
    INSERT INTO knex_migrations (name, batch) VALUES ('2025-10-14-0000-never-ended.js', 2);
    DROP TABLE status_page_cname;
    UPDATE knex_migrations_lock SET is_locked = 1;
";

fn text(lab: &Lab) -> String {
    dump(&lab.mariadbd.as_ref().unwrap().address("kuma"), tempfile::tempdir().unwrap().path())
}

fn databases(server: &Mariadbd) -> String {
    server.sql("", "SHOW DATABASES LIKE 'kuma%'")
}

fn beats(lab: &Lab, rows: u32) {
    lab.sql(&format!(
        "INSERT INTO heartbeat (monitor_id, status, msg, time, ping) \
         SELECT 2, 1, CONCAT('beat ', seq), FROM_UNIXTIME(1700000000 + seq * 20), seq % 90 FROM seq_1_to_{rows}"
    ));
}

#[test]
fn a_half_upgraded_schema_is_replaced_by_the_whole_one() {
    let Some(lab) = Lab::mariadb("2.0.2") else { return };
    let server = lab.mariadbd.as_ref().unwrap();
    furnish(&lab);
    beats(&lab, 300);
    // Texts that would end a cell, a row or a line, or be something else, were they not taken for what they are.
    lab.sql(
        r"CREATE TABLE `of ``others` (`a) VALUES (` int NOT NULL, b text, c blob) ENGINE=Aria;
          INSERT INTO `of ``others` VALUES (1, 'NULL', NULL), (2, NULL, x'0027ff'), (3, '', ''), (4, '\\N', NULL),
          (5, 'it''s', NULL), (6, ''','' ', 'x'), (7, '\'),(8,\'', NULL), (8, 'C:\\', '\\'), (9, '\0\n\r\t\Z,\\n', NULL),
          (10, '(x''00'')', 'x'), (11, '😀 \'', NULL), (12, ' 1, 2 ', '''');",
    );
    let id = lab.json("backup create")["manifest"]["id"].as_str().unwrap().to_owned();
    let before = text(&lab);
    lab.sql(HALF);
    let half = text(&lab);
    let locked = lab.fails(9, "monitor delete Cron --yes");
    assert!(locked.err.contains("is running or was interrupted"), "{}", locked.err);
    let refused = lab.fails(9, "restore latest --yes");
    assert!(refused.err.contains("`--other-release`"), "{}", refused.err);
    lab.ok("restore latest --other-release --yes");
    assert_eq!(text(&lab), before);
    assert_eq!(databases(server), "kuma\n");
    assert_eq!(lab.ok("monitor list --json").matches("\"Cron\"").count(), 2, "name and path");
    // The database was nobody's business, nor is its character set.
    assert_eq!(server.sql("kuma", "SELECT @@character_set_database"), "utf8mb4\n");
    // What was there before is held in a snapshot, and comes back as whole; also where MariaDB takes no files.
    server.sql("", "SET GLOBAL local_infile = 0");
    lab.ok(&format!("restore {} --other-release --yes", lab.newest_undo()));
    assert_eq!(text(&lab), half);
    server.sql("", "SET GLOBAL local_infile = 1");
    // Killed before it was noted, a migration is seen by what it has made only.
    lab.sql("DELETE FROM knex_migrations WHERE name LIKE '%never-ended.js'");
    let half = text(&lab);
    lab.ok("restore --before now --yes --other-release");
    assert_ne!(text(&lab), half);
    lab.ok(&format!("restore {} --yes --other-release", lab.newest_undo()));
    assert_eq!(text(&lab), half);
    // A half that a list of monitors cannot be read from is compared column by column all the same.
    lab.sql("ALTER TABLE tag DROP COLUMN color");
    let given = lab.run(&format!("restore {id} --yes"));
    assert_eq!(given.exit, 0, "{}", given.err);
    assert_eq!(text(&lab), before);
}

#[test]
fn another_release_comes_and_goes() {
    let (Some(older), Some(lab)) = (Lab::mariadb("2.0.2"), Lab::mariadb("2.5.3")) else { return };
    furnish(&older);
    let path = older.json("backup create")["path"].as_str().unwrap().to_owned();
    let before = text(&lab);
    lab.fails(9, &format!("restore {path} --yes --other-release --config-only"));
    lab.ok(&format!("restore {path} --yes --other-release"));
    assert_eq!(lab.json("status")["release"], "2.0.0 to 2.0.2");
    assert_eq!(text(&lab), text(&older));
    lab.ok("monitor add group --name Written");
    lab.ok("restore --before now --yes");
    lab.ok("undo --yes");
    assert_eq!(lab.sql("SELECT count(*) FROM monitor WHERE name = 'Written'"), "1\n");
    let first = lab.json("backup list --undo")["snapshots"][0]["manifest"]["id"].as_str().unwrap().to_owned();
    lab.ok(&format!("restore {first} --yes --other-release"));
    assert_eq!(text(&lab), before);
    // Into a database that was made a moment ago.
    let server = lab.mariadbd.as_ref().unwrap();
    server.sql("", "DROP DATABASE kuma; CREATE DATABASE kuma CHARACTER SET utf8mb4");
    let given = lab.run(&format!("restore {path} --yes"));
    assert_eq!(given.exit, 0, "{}", given.err);
    assert!(
        given.err.contains("it has no tables; the undo snapshot will contain its tables as they are"),
        "{}",
        given.err
    );
    assert_eq!(text(&lab), text(&older));
    assert_eq!(databases(server), "kuma\n");
}

#[test]
fn a_history_that_is_lost_comes_by_tables_and_a_few_rows_do_not() {
    let Some(lab) = Lab::mariadb("2.5.3") else { return };
    furnish(&lab);
    beats(&lab, 60_000);
    lab.sql("ALTER TABLE heartbeat AUTO_INCREMENT = 70000");
    let id = lab.json("backup create")["manifest"]["id"].as_str().unwrap().to_owned();
    let before = text(&lab);
    let made = "SELECT TABLE_NAME, CREATE_TIME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'kuma' ORDER BY 1";
    let tables = lab.sql(made);
    let rows = |text: String| text.lines().filter(|line| !line.starts_with("CREATE")).collect::<Vec<_>>().join("\n");
    lab.sql("DELETE FROM heartbeat WHERE id > 59000; INSERT INTO tag (name, color) VALUES ('new', '#000')");
    lab.ok(&format!("restore {id} --yes"));
    assert_eq!(rows(text(&lab)), rows(before.clone()));
    assert_eq!(lab.sql(made), tables);
    std::thread::sleep(Duration::from_millis(1_100));
    lab.sql("TRUNCATE heartbeat");
    lab.ok(&format!("restore {id} --yes"));
    assert_eq!(text(&lab), before);
    assert_ne!(lab.sql(made), tables);
    assert_eq!(
        lab.sql("SELECT AUTO_INCREMENT FROM information_schema.TABLES WHERE TABLE_NAME = 'heartbeat'"),
        "70000\n"
    );
}

#[test]
fn without_the_right_to_make_databases_rows_are_put_back_and_tables_refused() {
    let Some(mut lab) = Lab::mariadb("2.0.2") else { return };
    furnish(&lab);
    lab.sql("CREATE USER few@localhost IDENTIFIED BY 'a'; GRANT ALL ON `kuma`.* TO few@localhost");
    let socket = lab.mariadbd.as_ref().unwrap().socket();
    lab.target = format!("mysql://few:a@localhost/kuma?socket={}", socket.display());
    let first = lab.json("backup create")["manifest"]["id"].as_str().unwrap().to_owned();
    let before = text(&lab);
    // An index more is no reason to refuse what rows can do.
    lab.sql("DELETE FROM tag; CREATE INDEX more ON monitor (name)");
    lab.ok("restore latest --yes");
    assert_eq!(lab.sql("SELECT count(*) FROM tag"), "1\n");
    lab.sql(HALF);
    let half = text(&lab);
    let refused = lab.fails(9, "restore --before now --other-release --yes");
    let grant = "GRANT ALL PRIVILEGES ON `kuma\\_kumadb\\_%`.* TO 'few'@'localhost'";
    assert!(
        refused.err.contains("is not permitted to create databases") && refused.err.contains(grant),
        "{}",
        refused.err
    );
    assert_eq!(text(&lab), half);
    lab.sql(grant);
    // Somebody's trigger would be lost without a word.
    lab.sql("CREATE TRIGGER theirs BEFORE INSERT ON tag FOR EACH ROW SET NEW.color = '#111'");
    let refused = lab.fails(9, &format!("restore {first} --other-release --yes"));
    assert!(refused.err.contains("the trigger `theirs` prevents the exchange of tables"), "{}", refused.err);
    lab.sql("DROP TRIGGER theirs");
    lab.sql("CREATE DATABASE kuma_kumadb_old; CREATE TABLE kuma_kumadb_old.tag (id int)");
    let refused = lab.fails(9, &format!("restore {first} --other-release --yes"));
    assert!(refused.err.contains("DROP DATABASE `kuma_kumadb_old`"), "{}", refused.err);
    lab.sql("DROP DATABASE kuma_kumadb_old");
    lab.ok(&format!("restore {first} --other-release --yes"));
    assert_eq!(text(&lab), before);
    assert_eq!(databases(lab.mariadbd.as_ref().unwrap()), "kuma\n");
}

/// A database of 2.5.3, a copy of it, and a copy of one of 2.0.2 that is to be put in.
struct Place {
    target: String,
    root: PathBuf,
}

impl Place {
    fn make(server: &Mariadbd, root: &Path) -> Place {
        let place = |name: &str| {
            let target = format!("mysql://root@localhost/{name}?socket={}", server.socket().display());
            Place { target, root: root.to_owned() }
        };
        for (name, release) in [("kuma", "2.5.3"), ("older", "2.0.2")] {
            server.create_database(name, "utf8mb4");
            let admin = Some(("admin".to_owned(), Secret::new("Kuma-Lab-2026")));
            let new = init::NewInstance { release: release.parse().unwrap(), admin, timezone: None };
            let connect = place(name).instance().connect().unwrap();
            init::fill_database(&*connect, &new).unwrap();
            let label = SnapshotLabel {
                instance: name.into(),
                origin: name.into(),
                reason: "test".into(),
                config: None,
                undo: false,
                undoes: None,
            };
            let (source, extent) = (CopySource::Live(&*connect), CopyScope::default());
            StagedCopy::take(source, &root.join(name), &label, &extent, &mut |_, _| {}).unwrap();
        }
        place("kuma")
    }

    fn instance(&self) -> Instance {
        instance_at(&self.target, &self.root, self.root.join("state"))
    }

    fn store(&self) -> Store {
        Store::new(self.root.join("store"))
    }

    /// Puts the copy of `name` in, with every step and statement from there on counted.
    fn load(&self, name: &str, points: &Points) -> Result<operation::Outcome> {
        let mut instance = self.instance();
        let desired = StagedCopy::open(&self.root.join(name)).unwrap();
        let counted = points.clone();
        instance.wrap = Some(Arc::new(move |connect| Box::new(Counted(connect, counted.clone()))));
        let work = Load { desired: &desired, kept: &[], merges: false, shown: None };
        operation::run(&instance, &self.store(), work, &Settings::new("restore"), &mut points.clone())
    }

    /// The same in a process of its own that is killed at point `at`.
    fn load_and_die(&self, at: usize) -> Result<()> {
        let root = self.root.display();
        if is_killed(module_path!(), &[("AT", &at), ("TARGET", &self.target), ("ROOT", &root)]) {
            Err(Error::Operation(OperationError::Stopped { why: "killed".into() }))
        } else {
            Ok(())
        }
    }

    /// Ends what was left open, if anything was, and judges what came of it: whether the copy is in.
    fn judge(&self, server: &Mariadbd, [old, new]: &[String; 2], what: &str) -> bool {
        if Journal::read(self.instance().work()).unwrap().is_some() {
            operation::resume(&self.instance(), &self.store(), &Settings::new("recover"), &mut operation::NoObserver)
                .unwrap();
        }
        let now = dump(&server.address("kuma"), tempfile::tempdir().unwrap().path());
        assert!(now == *old || now == *new, "{what}: neither old nor new");
        assert_eq!(databases(server), "kuma\n", "{what}: left behind");
        now == *new
    }
}

#[test]
#[ignore = "a part of other tests, see child.rs"]
fn killed_child() {
    let place = Place { target: reported("TARGET"), root: reported("ROOT") };
    place.load("older", &Points::of_load(reported("AT"), How::Kill)).unwrap();
}

/// A server that waits for no disk: it is not the one that is killed.
fn quick() -> Option<Mariadbd> {
    Mariadbd::with(&[
        "--skip-networking",
        "--debug-no-sync",
        "--skip-sync-frm",
        "--innodb-flush-method=nosync",
        "--skip-innodb-doublewrite",
    ])
}

/// What the database is before, and with the copy of 2.0.2 in it.
fn both(server: &Mariadbd) -> [String; 2] {
    ["kuma", "older"].map(|name| dump(&server.address(name), tempfile::tempdir().unwrap().path()))
}

#[test]
fn it_is_whole_wherever_the_exchange_is_cut_off() {
    let Some(server) = quick() else { return };
    let root = tempfile::tempdir().unwrap();
    let place = Place::make(&server, root.path());
    let both = both(&server);
    for how in [How::Error, How::Kill] {
        let (mut kept, mut replaced) = (0, 0);
        let dense = if how == How::Kill { 14 } else { 2 };
        let early = rounds::draw(dense - 1, 5).into_iter().map(|n| 1 + n);
        let stride = rounds::count(4, 2);
        for at in early.chain((dense..).step_by(stride)) {
            assert!(at < 200 + stride, "it never ends");
            let points = Points::of_load(at, how);
            let ended = match how {
                How::Kill => place.load_and_die(at),
                _ => place.load("older", &points).map(drop),
            };
            let is_new = place.judge(&server, &both, &format!("point {at}, {how:?}: {ended:?}"));
            *(if is_new { &mut replaced } else { &mut kept }) += 1;
            if is_new {
                place.load("kuma", &Points::new(0, how)).unwrap();
            }
            let passed =
                how != How::Kill && points.seen.load(Ordering::SeqCst) < at || how == How::Kill && ended.is_ok();
            if passed {
                ended.unwrap();
                break;
            }
        }
        println!("exchange, {how:?}: {kept} old, {replaced} new");
        assert!(kept > 3 && replaced > 0, "{kept} old, {replaced} new");
    }
}

#[test]
fn it_is_whole_when_mariadb_is_killed_in_the_middle() {
    let Some(mut server) = Mariadbd::start() else { return };
    let root = tempfile::tempdir().unwrap();
    let place = Place::make(&server, root.path());
    let both = both(&server);
    let begun = Instant::now();
    place.load("older", &Points::new(0, How::Error)).unwrap();
    let time = begun.elapsed();
    place.load("kuma", &Points::new(0, How::Error)).unwrap();
    let rounds = rounds::count(4, 40) as u32;
    let (mut kept, mut replaced) = (0, 0);
    for round in 0..rounds {
        let ended = std::thread::scope(|scope| {
            let loading = scope.spawn(|| place.load("older", &Points::new(0, How::Error)).map(drop));
            // The exchange itself is at the end of the first half; the first one dies before anything is done.
            std::thread::sleep(time * (90 * round / rounds) / 100);
            server.kill();
            loading.join().unwrap()
        });
        server.start_again();
        let is_new = place.judge(&server, &both, &format!("round {round}: {ended:?}"));
        *(if is_new { &mut replaced } else { &mut kept }) += 1;
        if is_new {
            place.load("kuma", &Points::new(0, How::Error)).unwrap();
        }
    }
    println!("mariadbd killed: {kept} old, {replaced} new");
    assert!(kept > 0, "{kept} old, {replaced} new");
}

/// It looks whether it may make databases by making two, before anything else.
#[test]
fn nothing_is_left_behind_when_mariadb_is_killed_as_its_databases_appear() {
    let Some(mut server) = Mariadbd::start() else { return };
    let root = tempfile::tempdir().unwrap();
    let place = Place::make(&server, root.path());
    let both = both(&server);
    for round in 0..rounds::count(3, 20) {
        let appeared = server.data().join("kuma_kumadb_old");
        let ended = std::thread::scope(|scope| {
            let loading = scope.spawn(|| place.load("older", &Points::new(0, How::Error)).map(drop));
            while !appeared.exists() && !loading.is_finished() {
                std::thread::yield_now();
            }
            server.kill();
            loading.join().unwrap()
        });
        server.start_again();
        assert!(ended.is_err(), "round {round}: it was quicker than the kill");
        assert!(!place.judge(&server, &both, &format!("round {round}: {ended:?}")), "round {round}");
    }
}

/// A server without a log of its statements could leave any of these behind.
#[test]
fn it_finds_back_from_every_half_of_a_rename() {
    let Some(server) = quick() else { return };
    let root = tempfile::tempdir().unwrap();
    let place = Place::make(&server, root.path());
    let [old, _] = both(&server);
    let address = server.address("kuma");
    let names =
        |database: &str| -> Vec<String> { server.sql(database, "SHOW TABLES").lines().map(str::to_owned).collect() };
    let tables = names("kuma");
    let tables: BTreeSet<&str> = tables.iter().map(String::as_str).collect();
    let moves: Vec<String> = std::iter::empty()
        .chain(tables.iter().map(|name| format!("kuma.`{name}` TO kuma_kumadb_old.`{name}`")))
        .chain(names("older").iter().map(|name| format!("kuma_kumadb_new.`{name}` TO kuma.`{name}`")))
        .collect();
    for half in rounds::draw(moves.len() + 1, 8) {
        let mut writer = writer(&address);
        let shadow = writer.shadow().unwrap();
        let desired = root.path().join("older/dump.sql");
        assert_eq!(shadow.suits(&desired).unwrap(), DumpFit::Tables);
        shadow.reserve().unwrap();
        assert_eq!(shadow.fill(&desired, &mut |_, _| {}).unwrap(), []);
        if half > 0 {
            server.sql("", &format!("SET foreign_key_checks = 0; RENAME TABLE {}", moves[..half].join(", ")));
        }
        assert_eq!(shadow.swap_back(&tables).unwrap(), half > 0);
        assert!(!shadow.swap_back(&tables).unwrap(), "once is enough");
        shadow.clear().unwrap();
        assert_eq!(dump(&address, tempfile::tempdir().unwrap().path()), old, "after {half} of {}", moves.len());
        assert_eq!(databases(&server), "kuma\n");
    }
    assert!(!place.instance().work().join("journal.json").exists());
}
