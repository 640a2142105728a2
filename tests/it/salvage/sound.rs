//! The structure of a database: whatever is done to a file, kumadb finds damage where SQLite finds it, and only there.

use std::fs;
use std::path::Path;

use kumadb::engine::sqlite::{SqliteFile, Structure};
use rusqlite::{Connection, OpenFlags};

use crate::support::chance::Chance;
use crate::support::rounds;

/// The database of an instance that has run for some time, in one file, after `sql`.
fn database(release: &str, sql: &str) -> Vec<u8> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/data/{release}-sqlite"));
    let folder = tempfile::tempdir().unwrap();
    for name in ["kuma.db", "kuma.db-wal"] {
        let packed = fs::File::open(data.join(format!("{name}.zst"))).unwrap();
        fs::write(folder.path().join(name), zstd::decode_all(packed).unwrap()).unwrap();
    }
    let path = folder.path().join("kuma.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE").unwrap();
    connection.execute_batch(sql).unwrap();
    drop(connection);
    fs::read(path).unwrap()
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(format!("file:{}?immutable=1", path.display()), flags)
}

/// What SQLite finds; `None` if it finds nothing.
fn found_by_sqlite(path: &Path) -> Option<String> {
    match open(path)
        .and_then(|connection| connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)))
    {
        Ok(line) => (line != "ok").then_some(line),
        Err(error) => Some(error.to_string()),
    }
}

fn found(path: &Path) -> Option<String> {
    match SqliteFile::new(path).check_structure() {
        Ok(Structure { faults, rows }) => {
            for (table, rows) in rows.into_iter().flatten().filter(|_| faults.is_empty()) {
                let sql = format!("SELECT count(*) FROM \"{table}\" NOT INDEXED");
                let counted = open(path).unwrap().query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap();
                assert_eq!(counted.unsigned_abs(), rows, "{table}");
            }
            faults.first().map(ToString::to_string)
        }
        Err(error) => Some(error.to_string()),
    }
}

/// Rows on several pages, free pages, a table that SQLite has to check, and columns that were added later.
const CHANGES: [&str; 4] = [
    "",
    "UPDATE monitor SET description = replace(hex(zeroblob(9000)), '00', 'ab') WHERE id % 2;
     DELETE FROM heartbeat WHERE id % 5 = 0; DELETE FROM heartbeat WHERE id < 40",
    "CREATE TABLE checked (a INT CHECK (a > 1), b TEXT NOT NULL); INSERT INTO checked VALUES (2, 'x'), (3, 'y');
     ALTER TABLE tag ADD COLUMN later TEXT NOT NULL DEFAULT 'z'; CREATE TABLE w (k TEXT PRIMARY KEY, v) WITHOUT ROWID;
     INSERT INTO w VALUES ('a', 1); CREATE INDEX part ON heartbeat (msg) WHERE status = 1",
    "PRAGMA page_size = 512; VACUUM; UPDATE monitor SET url = replace(hex(zeroblob(700)), '00', 'cd');
     CREATE INDEX wide ON heartbeat (msg, time, ping)",
];

/// One change of the kind that disks, other programs and people make.
fn damage(file: &mut Vec<u8>, chance: &mut Chance) {
    let size = match u16::from_be_bytes([file[16], file[17]]) {
        0 | 1 => 4096,
        size => usize::from(size),
    };
    let pages = (file.len() / size).max(1);
    let page = chance.below(pages) * size;
    let head = if page == 0 { 100 } else { 0 };
    match chance.below(12) {
        0 => file[chance.below(100)] = chance.next() as u8,
        // The header of a page, and its list of cells.
        1 | 2 => file[page + head + chance.below(12)] = chance.next() as u8,
        3 | 4 => file[page + head + 8 + chance.below(40)] = chance.next() as u8,
        5 => file[page + chance.below(size - 1)] ^= 1 << chance.below(8),
        6 | 7 => {
            // A cell: its size, row id and header.
            let cell = page + head + 8 + 2 * chance.below(10);
            let at = page + usize::from(u16::from_be_bytes([file[cell], file[cell + 1]])) % (size - 12);
            file[at + chance.below(12)] = [0, 1, 9, 10, 13, 0x7f, 0x80, 0xff][chance.below(8)];
        }
        8 => file[page..page + size].fill(0),
        9 => {
            let other = chance.below(pages) * size;
            file.copy_within(other..other + size, page);
        }
        10 => {
            let (one, other) = (file[page..page + size].to_vec(), chance.below(pages) * size);
            file.copy_within(other..other + size, page);
            file[other..other + size].copy_from_slice(&one);
        }
        _ => file.truncate(file.len() - 1 - chance.below(file.len() / 4)),
    }
}

#[test]
fn damage_is_found_where_sqlite_finds_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kuma.db");
    let mut chance = Chance::new(rounds::seed());
    let (mut sound, mut damaged) = (0, 0);
    for release in ["1.23.17", "2.0.2", "2.5.3"] {
        for sql in CHANGES {
            let whole = database(release, sql);
            fs::write(&path, &whole).unwrap();
            assert_eq!((found(&path), found_by_sqlite(&path)), (None, None), "{release}: {sql}");
            for _ in 0..rounds::count(20, 2000) {
                let mut file = whole.clone();
                (0..=chance.below(2)).for_each(|_| damage(&mut file, &mut chance));
                fs::write(&path, &file).unwrap();
                let (ours, theirs) = (found(&path), found_by_sqlite(&path));
                if ours.is_none() != theirs.is_none() {
                    let kept = std::env::temp_dir().join("damaged.db");
                    fs::write(&kept, &file).unwrap();
                    panic!("{release}, {sql}: {ours:?}, but SQLite finds {theirs:?}: {}", kept.display());
                }
                *if ours.is_none() { &mut sound } else { &mut damaged } += 1;
            }
        }
    }
    assert!(sound > 0 && damaged > sound, "{sound} sound, {damaged} damaged");
}
