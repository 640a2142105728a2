//! Salvage: whatever is done to a real database, nothing wrong is called certain, and no row that SQLite or `.recover` finds is missed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kumadb::kuma::damaged::DamagedDb;
use kumadb::schema::Release;
use kumadb::value::Value;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::support::chance::Chance;
use crate::support::need::program;
use crate::support::rounds;

/// The tables that grow; all others are the configuration.
const HISTORY: [&str; 4] = ["heartbeat", "stat_minutely", "stat_hourly", "stat_daily"];

/// Every row of a database.
type Rows = BTreeMap<(String, i64), Vec<Vec<Value>>>;

/// A database file with its WAL, as bytes.
#[derive(Clone)]
struct Database {
    file: Vec<u8>,
    wal: Vec<u8>,
}

impl Database {
    /// The real data folder of a lived-in instance, most of which stands in the WAL.
    fn real(release: &str) -> Database {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/data/{release}-sqlite"));
        let unpack = |name: &str| zstd::decode_all(fs::File::open(folder.join(name)).unwrap()).unwrap();
        Database { file: unpack("kuma.db.zst"), wal: unpack("kuma.db-wal.zst") }
    }

    /// The same after `sql`, without a WAL.
    fn changed(&self, sql: &str) -> Database {
        let folder = tempfile::tempdir().unwrap();
        let path = self.write(&folder);
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(&format!("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE; {sql}"))
            .unwrap();
        drop(connection);
        Database { file: fs::read(path).unwrap(), wal: Vec::new() }
    }

    fn write(&self, folder: &TempDir) -> PathBuf {
        let path = folder.path().join("kuma.db");
        fs::write(&path, &self.file).unwrap();
        if !self.wal.is_empty() {
            fs::write(folder.path().join("kuma.db-wal"), &self.wal).unwrap();
        }
        path
    }

    /// Its rows, as SQLite reads them.
    fn rows(&self) -> Rows {
        let folder = tempfile::tempdir().unwrap();
        rows_of(&Connection::open(self.write(&folder)).unwrap())
    }

    fn pages(&self) -> usize {
        self.file.len() / 4096
    }

    fn page(&mut self, at: usize) -> &mut [u8] {
        &mut self.file[at * 4096..(at + 1) * 4096]
    }
}

fn rows_of(connection: &Connection) -> Rows {
    let mut rows = Rows::new();
    let mut tables = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'lost_%'")
        .unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for table in tables {
        let mut statement = connection.prepare(&format!("SELECT rowid, * FROM `{table}`")).unwrap();
        let count = statement.column_count();
        let mut found = statement.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            let cells = (1..count).map(|at| value(row.get_ref(at).unwrap())).collect();
            rows.entry((table.clone(), row.get(0).unwrap())).or_default().push(cells);
        }
    }
    rows
}

fn value(cell: rusqlite::types::ValueRef<'_>) -> Value {
    use rusqlite::types::ValueRef;
    match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(n) => Value::Int(n),
        ValueRef::Real(x) => Value::Real(x),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

/// A larger instance with everything that a file can have: deep trees, rows on several pages, free pages.
const GROWN: &str = "
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
        INSERT INTO heartbeat (monitor_id, status, msg, time, ping, important)
        SELECT 1 + i % 20, i % 2, 'beat ' || i, datetime('2026-01-01', '+' || i || ' minutes'), i % 300, i % 50 = 0 FROM n;
    INSERT INTO monitor_tls_info (monitor_id, info_json)
        SELECT id, json_object('valid', 1, 'certInfo', hex(zeroblob(1000 * (id % 7 + 1)))) FROM monitor;
    UPDATE monitor SET description = hex(randomblob(3000)) WHERE id % 9 = 1;
    DELETE FROM heartbeat WHERE id % 3 = 0 AND id > 1000;
    DELETE FROM heartbeat WHERE id BETWEEN 500 AND 800;";

/// What is done to a database, and what that leaves to be found.
struct Damage {
    name: &'static str,
    database: Database,
    /// Bits that were flipped: each may change one cell that nothing else tells of.
    flips: usize,
    /// Another truth that may come out.
    other: Option<Rows>,
}

/// One of the damages that the world does, at random.
fn damage(whole: &Database, others: &[(Database, Rows)], chance: &mut Chance) -> Damage {
    let mut database = whole.clone();
    let pages = database.pages();
    let (mut flips, mut other) = (0, None);
    let name = match chance.below(9) {
        0 | 1 => {
            flips = 1 + chance.below(4);
            for _ in 0..flips {
                let at = chance.below(database.file.len());
                database.file[at] ^= 1 << chance.below(8);
            }
            "bits"
        }
        2 => {
            for _ in 0..1 + chance.below(3) {
                let at = chance.below(pages);
                database.page(at).fill(0);
            }
            "zeroes"
        }
        3 => {
            let length = chance.below(database.file.len() - 1);
            database.file.truncate(length + 1);
            "cut"
        }
        4 => {
            match chance.below(3) {
                0 => database.page(0).fill(0),
                1 => database.page(0)[..100].fill(0),
                _ => chance.fill(database.page(0)),
            }
            "page 1"
        }
        5 => {
            let (wrong, rows) = &others[chance.below(others.len())];
            database.wal.clone_from(&wrong.wal);
            match chance.below(3) {
                0 => {}
                1 => {
                    let length = chance.below(database.wal.len());
                    database.wal.truncate(length);
                }
                _ => {
                    let at = chance.below(database.wal.len());
                    database.wal[at] ^= 1 << chance.below(8);
                }
            }
            other = Some(rows.clone());
            "wrong WAL"
        }
        6 => {
            let (one, two) = (1 + chance.below(pages - 1), 1 + chance.below(pages - 1));
            let first = database.page(one).to_vec();
            let second = database.page(two).to_vec();
            database.page(one).copy_from_slice(&second);
            database.page(two).copy_from_slice(&first);
            "swapped pages"
        }
        7 => {
            let at = chance.below(pages);
            chance.fill(database.page(at));
            "noise"
        }
        _ => {
            // What a disk loses: a sector, or several.
            let at = chance.below(database.file.len() / 512) * 512;
            let end = (at + 512 * (1 + chance.below(8))).min(database.file.len());
            database.file[at..end].fill(0);
            "sectors"
        }
    };
    Damage { name, database, flips, other }
}

/// The rows that are found, with whether they are certain.
fn survey(database: &Database, release: Release) -> BTreeMap<(String, i64), (Vec<Value>, bool)> {
    let folder = tempfile::tempdir().unwrap();
    let damaged = DamagedDb::open(&database.write(&folder)).unwrap();
    let mut found = BTreeMap::new();
    // As a person would who is told that nothing tells the release.
    let surveyed = damaged.survey(None).or_else(|_| damaged.survey(Some(release)));
    let Ok((survey, _)) = surveyed else { return found };
    for table in &survey.tables {
        let name = &table.shape.table;
        let visited = survey.visit::<String>(table, &mut |row| {
            let cells = row.cells.into_iter().enumerate();
            let cells = cells.map(|(at, cell)| if table.shape.is_key(at) { row.rowid.into() } else { cell }).collect();
            let before = found.entry((name.clone(), row.rowid)).or_insert((cells, row.certain));
            // Of two with one key the first is taken; both certain would be a contradiction.
            if before.1 || !row.certain {
                Ok(())
            } else {
                Err(format!("{name} {} is certain after it was doubtful", row.rowid))
            }
        });
        visited.unwrap();
    }
    found
}

/// Whether `found` are the cells of a row as it was; cells that the table got later may be missing at its end.
fn is_true(found: &[Value], rows: &[Vec<Value>]) -> bool {
    rows.iter().any(|row| row.len() >= found.len() && row.iter().zip(found).all(|(a, b)| a.same(b)))
}

/// The rows of the configuration that others bring back as they were: SQLite itself, reading each table from both ends as far
/// as it goes, and `.recover` of its shell. Not every shell has that (Debian's lacks the table that it reads pages from):
/// `KUMADB_SQLITE3` names one that does.
fn found_by_others(database: &Database, truth: &Rows) -> BTreeSet<(String, i64)> {
    let mut found = BTreeSet::new();
    for rows in [read(database, truth), recovered(database)] {
        let kept = rows.into_iter().filter(|((table, _), _)| !HISTORY.contains(&table.as_str()));
        found.extend(kept.filter(|(key, rows)| truth.get(key) == Some(rows)).map(|(key, _)| key));
    }
    found
}

fn read(database: &Database, truth: &Rows) -> Rows {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = Rows::new();
    let Ok(connection) = Connection::open(database.write(&folder)) else { return rows };
    let tables: BTreeSet<&String> = truth.keys().map(|(table, _)| table).collect();
    for (table, order) in tables.into_iter().flat_map(|table| [(table, "ASC"), (table, "DESC")]) {
        let sql = format!("SELECT rowid, * FROM `{table}` NOT INDEXED ORDER BY rowid {order}");
        let Ok(mut statement) = connection.prepare(&sql) else { continue };
        let count = statement.column_count();
        let Ok(mut found) = statement.query([]) else { continue };
        while let Ok(Some(row)) = found.next() {
            let cells = (1..count).map(|at| value(row.get_ref(at).unwrap())).collect();
            rows.insert((table.clone(), row.get(0).unwrap()), vec![cells]);
        }
    }
    rows
}

fn recovered(database: &Database) -> Rows {
    let named = std::env::var_os("KUMADB_SQLITE3").map(PathBuf::from);
    let Some(shell) = named.or_else(|| program(&["sqlite3"])) else { return Rows::new() };
    let folder = tempfile::tempdir().unwrap();
    let path = database.write(&folder);
    let recovered = folder.path().join("recovered.db");
    let quiet = |command: &mut Command| command.stderr(Stdio::null()).stdin(Stdio::null()).output().unwrap();
    let dump = quiet(Command::new(&shell).arg(&path).arg(".recover"));
    let script = folder.path().join("recovered.sql");
    fs::write(&script, dump.stdout).unwrap();
    quiet(Command::new(&shell).arg(&recovered).arg(format!(".read {}", script.display())));
    Connection::open(&recovered).map(|connection| rows_of(&connection)).unwrap_or_default()
}

/// Damages of all kinds. Every ninth is compared with what others find.
fn torture(seed: u64) {
    let real = Database::real("2.5.3");
    let others: Vec<(Database, Rows)> = ["2.0.2", "1.23.17", "2.5.3"]
        .map(Database::real)
        .into_iter()
        .map(|other| (other.clone(), other.rows()))
        .collect();
    let wholes = [
        real.changed(""),
        real.changed(GROWN),
        real.changed(&format!(
            "{GROWN} PRAGMA auto_vacuum = INCREMENTAL; VACUUM; DELETE FROM heartbeat WHERE id % 5 = 0;"
        )),
        Database::real("1.23.17").changed(""),
    ];
    let releases = ["2.5.3", "2.5.3", "2.5.3", "1.23.17"].map(|release| release.parse().unwrap());
    let truths: Vec<Rows> = wholes.iter().map(Database::rows).collect();
    let mut chance = Chance::new(seed);
    let mut reported: BTreeMap<&str, [usize; 6]> = BTreeMap::new();
    for round in 0..rounds::count(90, 500) {
        let (whole, truth) = (&wholes[round % 4], &truths[round % 4]);
        let damage = damage(whole, &others, &mut chance);
        let found = survey(&damage.database, releases[round % 4]);
        let mut silent = 0;
        for (key, (cells, certain)) in &found {
            let right = truth.get(key).is_some_and(|rows| is_true(cells, rows))
                || damage.other.as_ref().and_then(|other| other.get(key)).is_some_and(|rows| is_true(cells, rows));
            if *certain && !right && key.0 != "sqlite_sequence" {
                silent += 1;
                let differing = |row: &Vec<Value>| row.iter().zip(cells).filter(|(a, b)| !a.same(b)).count();
                let near = truth.iter().filter(|((table, _), _)| *table == key.0).flat_map(|(_, rows)| rows);
                let nearest = near.map(differing).min();
                assert!(
                    silent <= damage.flips && nearest.is_some_and(|cells| cells <= 1),
                    "round {round}, {}: {key:?} is called certain and is wrong: {cells:?}, and was {:?}",
                    damage.name,
                    truth.get(key)
                );
            }
        }
        let line = reported.entry(damage.name).or_default();
        line[0] += 1;
        line[1] += truth.len();
        line[2] += found.iter().filter(|(key, (_, certain))| *certain && truth.contains_key(*key)).count();
        line[3] += found.iter().filter(|(key, (_, certain))| !*certain && truth.contains_key(*key)).count();
        line[4] += silent;
        // Where two databases are in one, both are right.
        if round % 9 == 0 && damage.other.is_none() {
            let theirs = found_by_others(&damage.database, truth);
            let missed: Vec<_> = theirs
                .iter()
                .filter(|key| !found.get(*key).is_some_and(|(cells, _)| is_true(cells, &truth[*key])))
                .collect();
            let ours = found.iter().filter(|((table, _), _)| !HISTORY.contains(&table.as_str()));
            let ours =
                ours.filter(|(key, (cells, _))| truth.get(*key).is_some_and(|rows| is_true(cells, rows))).count();
            assert!(
                ours >= theirs.len(),
                "round {round}, {}: {ours} rows against {}: {missed:?}",
                damage.name,
                theirs.len()
            );
            line[5] += ours - theirs.len();
        }
    }
    for (name, [cases, rows, certain, doubtful, silent, more]) in reported {
        eprintln!(
            "{name}: {cases} cases, {rows} rows, {certain} certain, {doubtful} doubtful, {silent} silently changed, {more} of the configuration more than others find"
        );
    }
}

#[test]
fn nothing_wrong_is_called_certain_whatever_the_damage() {
    torture(5);
}

#[test]
fn nothing_wrong_is_called_certain_whatever_other_damage() {
    torture(6);
}

#[test]
fn a_whole_database_comes_back_whole_and_certain() {
    for release in ["1.23.17", "2.0.2", "2.5.3"] {
        let real = Database::real(release);
        for database in [real.clone(), real.changed("")] {
            let truth = database.rows();
            let found = survey(&database, release.parse().unwrap());
            for (key, rows) in &truth {
                let (cells, certain) = found.get(key).unwrap_or_else(|| panic!("{release}: {key:?} is not found"));
                assert!(is_true(cells, rows), "{release}: {key:?}: {cells:?}, and was {rows:?}");
                assert!(certain, "{release}: {key:?} is doubtful: {cells:?}");
            }
            let more = found.keys().filter(|key| key.0 != "sqlite_sequence" && !truth.contains_key(*key));
            assert_eq!(more.count(), 0, "{release}: rows that are not there");
        }
    }
}

/// The header of a WAL has the page size, too; without it, that of the file counts. Its first page cannot be checked then.
#[test]
fn a_wal_without_its_header_is_read() {
    for release in ["1.23.17", "2.0.2", "2.5.3"] {
        let real = Database::real(release);
        let truth = real.rows();
        let was = |key: &(String, i64), cells: &[Value]| truth.get(key).is_some_and(|rows| is_true(cells, rows));
        let known = |database: &Database| {
            let mut found = survey(database, release.parse().unwrap());
            found.retain(|key, (cells, certain)| was(key, cells) && *certain);
            found.len()
        };
        let mut headless = real.clone();
        headless.wal[..32].fill(0);
        let alone = Database { wal: Vec::new(), ..real.clone() };
        let (all, found, without) = (known(&real), known(&headless), known(&alone));
        println!("{release}: {found} of {all} rows, {without} without the WAL");
        assert!(found * 10 >= all * 9 && without * 10 < all * 9, "{release}: {found} of {all} rows, {without} without");
    }
}

/// An index has the values of a row once more. Nothing else shows that one of them was damaged.
#[test]
fn a_row_that_differs_from_its_index_is_doubtful() {
    for release in ["1.23.17", "2.0.2", "2.5.3"] {
        let wrong = Database::real(release).changed(
            "CREATE TEMP TABLE kept AS SELECT * FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'heartbeat';
             PRAGMA writable_schema = ON;
             DELETE FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'heartbeat';
             PRAGMA writable_schema = RESET;
             UPDATE heartbeat SET time = '2001-02-03 04:05:06.789' WHERE id = (SELECT min(id) FROM heartbeat);
             PRAGMA writable_schema = ON;
             INSERT INTO sqlite_schema SELECT * FROM kept;
             PRAGMA writable_schema = RESET;",
        );
        let found = survey(&wrong, release.parse().unwrap());
        let beats = found.iter().filter(|((table, _), _)| table == "heartbeat");
        let doubtful: Vec<&(Vec<Value>, bool)> = beats.map(|(_, row)| row).filter(|(_, certain)| !certain).collect();
        assert_eq!(doubtful.len(), 1, "{release}: {doubtful:?}");
        assert!(doubtful[0].0.contains(&Value::from("2001-02-03 04:05:06.789")), "{release}: {doubtful:?}");
    }
}
