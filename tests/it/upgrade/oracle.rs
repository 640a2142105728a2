//! What the real server 2.5.3 made of a database of 1.23.17, cell by cell: `fixtures/upgrade/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chrono_tz::Tz;
use kumadb::engine::sqlite::SqliteFile;
use kumadb::engine::{Connect as _, Reader};
use kumadb::kuma::read::read_database;
use kumadb::kuma::transfer::{NewDatabase, Source, load};
use kumadb::kuma::upgrade::{Upgrade, UpgradeOptions, Upgraded, read_facts};
use kumadb::schema::{EngineKind, Release};
use kumadb::upgrade::Route;
use kumadb::upgrade::rules::Style;
use kumadb::value::Value;
use serde_json::Value as Json;

use crate::house::layers::root;

/// When the server did it.
const NOW: &str = "2026-11-30T20:32:59.500Z";

/// Cells that kumadb leaves better than the server: table, column.
const BETTER: [(&str, &str); 1] = [("status_page", "analytics_type")];

/// The old database in `folder`.
fn make_old(folder: &Path) -> PathBuf {
    let path = folder.join("old.db");
    let read = |name: &str| std::fs::read_to_string(root().join(name)).unwrap();
    let sql = read("migrations/sqlite/1.23.17.sql") + &read("fixtures/upgrade/1.23.17.sql");
    let mut sqlite3 = Command::new("sqlite3").arg(&path).stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut sqlite3.stdin.take().unwrap(), sql.as_bytes()).unwrap();
    assert!(sqlite3.wait().unwrap().success());
    path
}

fn upgrade(folder: &Path, style: Style, zone: Option<Tz>) -> (Box<dyn Reader>, Upgraded) {
    let old = SqliteFile::new(make_old(folder));
    let mut source = old.reader().unwrap();
    let database = read_database(&mut *source, "old").unwrap();
    let route = Route::find(EngineKind::Sqlite, &database.migrations, "1.23.17", Release::new(2, 5, 3)).unwrap();
    let facts = read_facts(&mut *source, &database, &route).unwrap();
    assert!(facts.judge(&route).blockers.is_empty());
    let options = UpgradeOptions { style, zone, now: NOW.parse().unwrap() };
    let mut upgrade = Upgrade::prepare(&mut *source, &database, &route, &facts, options).unwrap();
    let to = folder.join("new.db");
    let report =
        load(Source::of(&mut *source), NewDatabase::Sqlite(&to), route.target, &mut upgrade, &mut |_, _| {}).unwrap();
    assert!(report.left_out.is_empty(), "{:?}", report.left_out);
    (SqliteFile::new(&to).reader().unwrap(), upgrade.done)
}

/// A cell as it is recorded: a REAL is text after `~`, so that no bit is lost.
fn recorded(cell: &Json) -> Value {
    match cell {
        Json::Null => Value::Null,
        Json::Number(number) => Value::Int(number.as_i64().unwrap()),
        Json::String(text) => match text.strip_prefix('~') {
            Some(real) => Value::Real(real.parse().unwrap()),
            None => text.as_str().into(),
        },
        other => panic!("{other}"),
    }
}

/// Cells that differ, by table and column: id, what the server made, what kumadb made.
type Differing = BTreeMap<(String, String), Vec<(i64, Value, Value)>>;

/// Compares every recorded column with that of the new database; returns how many cells are equal, and those that differ.
fn compare(reader: &mut dyn Reader) -> (usize, Differing) {
    let text = std::fs::read_to_string(root().join("fixtures/upgrade/2.5.3.json")).unwrap();
    let expected: BTreeMap<String, Json> = serde_json::from_str(&text).unwrap();
    assert!(reader.schema().unwrap().tables.keys().eq(expected.keys()));
    let (mut equal, mut differing) = (0, BTreeMap::new());
    for (table, expected) in &expected {
        let rows = reader.query(&format!("SELECT * FROM `{table}` ORDER BY 1"), &[]).unwrap();
        assert_eq!(rows.len() as u64, expected["rows"].as_u64().unwrap(), "{table}");
        for (column, cells) in expected["columns"].as_object().into_iter().flatten() {
            for (at, row) in rows.iter().enumerate() {
                let cell = recorded(if cells.is_array() { &cells[at] } else { cells });
                let found = row.cell(column).clone();
                if found == cell {
                    equal += 1;
                    continue;
                }
                let key = (table.clone(), column.clone());
                differing.entry(key).or_insert_with(Vec::new).push((row.int("id").unwrap_or(-1), cell, found));
            }
        }
    }
    (equal, differing)
}

#[test]
fn every_cell_is_what_the_server_makes_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut new, done) = upgrade(folder.path(), Style::AsServer, Some(Tz::UTC));
    let (equal, differing) = compare(&mut *new);
    assert!(differing.is_empty(), "{differing:#?}");
    assert_eq!(equal, 29_550);
    assert_eq!(done.deleted_beats, 142);
    assert_eq!(done.statistics.values().sum::<u64>(), 897);
}

#[test]
fn what_the_server_loses_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (mut new, _) = upgrade(folder.path(), Style::Intended, None);
    let (_, differing) = compare(&mut *new);
    for ((table, column), cells) in &differing {
        assert!(BETTER.contains(&(table.as_str(), column.as_str())), "{table}.{column}: {cells:?}");
    }
    let google = &differing[&("status_page".into(), "analytics_type".into())];
    assert_eq!(google.iter().map(|(id, _, found)| (*id, found.to_string())).collect::<Vec<_>>().len(), 2);
}

#[test]
fn another_zone_of_the_server_moves_and_loses_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (mut utc, _) = upgrade(folder.path(), Style::Intended, None);
    let folder = tempfile::tempdir().unwrap();
    let (mut tokyo, _) = upgrade(folder.path(), Style::AsServer, Some(Tz::Asia__Tokyo));
    let sum = |reader: &mut dyn Reader, table: &str| {
        let rows = reader.query(&format!("SELECT sum(up + down) FROM {table}"), &[]).unwrap();
        rows[0].at(0).int().unwrap()
    };
    // Days overwrite each other.
    let (all, left) = (sum(&mut *utc, "stat_daily"), sum(&mut *tokyo, "stat_daily"));
    assert!(left * 4 < all * 3, "{left} of {all}");
}
