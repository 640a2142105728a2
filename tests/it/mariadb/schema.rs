//! The recorded schema against what the catalogue of real databases says.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use kumadb::engine::sqlite::SqliteFile;
use kumadb::engine::{Connect as _, EngineKind, Reader};
use kumadb::kuma::init::{self, NewInstance};
use kumadb::schema::{self, Recording, Release, Schema};

use crate::support::mariadbd::Mariadbd;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/schema");

/// The catalogue's lines for one release, without its heading; with `SNAPSHOTS=overwrite`, those of a release that is new to it are `made`.
fn catalogue(release: Release, engine: EngineKind, made: &str) -> String {
    let path = format!("{FIXTURES}/{release}-{}.txt", engine.to_string().to_lowercase());
    if std::env::var("SNAPSHOTS").is_ok_and(|value| value == "overwrite") && !std::path::Path::new(&path).exists() {
        std::fs::write(&path, format!("# Uptime Kuma {release}, {engine}\n\n{made}")).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.split_once("\n\n").unwrap().1.to_owned()
}

/// A new instance of `release`, with nothing in it that the server does not put there itself.
fn bare(release: Release) -> NewInstance {
    NewInstance { release, admin: None, timezone: None }
}

/// A database in the catalogue's words.
fn render(reader: &mut dyn Reader) -> String {
    let sqlite = reader.kind() == EngineKind::Sqlite;
    let found = reader.schema().unwrap();
    let mut text = String::new();
    for (name, table) in &found.tables {
        let sql = if sqlite { made_by(reader, name) } else { String::new() };
        writeln!(text, "{name}").unwrap();
        for column in &table.columns {
            write!(text, "  {} {}", column.name, column.sql_type).unwrap();
            if column.not_null {
                text += " not null";
            }
            if column.primary_key {
                text += if sql.contains(" AUTOINCREMENT") { " primary key autoincrement" } else { " primary key" };
            }
            if !column.extra.is_empty() {
                write!(text, " {}", column.extra).unwrap();
            }
            if let Some(default) = &column.default {
                write!(text, " default {default}").unwrap();
            }
            if let Some(check) = checked(&sql, &column.name) {
                write!(text, " check {check}").unwrap();
            }
            if let Some(collation) = &column.collation {
                write!(text, " collate {collation}").unwrap();
            }
            text += "\n";
        }
        for key in &table.foreign_keys {
            let name = key.name.as_ref().map(|name| format!("{name} ")).unwrap_or_default();
            write!(text, "  foreign key {name}{} -> {}.{}", key.column, key.table, key.to).unwrap();
            for (when, action) in [("delete", &key.on_delete), ("update", &key.on_update)] {
                if !["NO ACTION", "RESTRICT"].contains(&action.as_str()) {
                    write!(text, " on {when} {}", action.to_lowercase()).unwrap();
                }
            }
            text += "\n";
        }
        for index in &table.indexes {
            let kind = if index.unique { "unique" } else { "index" };
            write!(text, "  {kind} {} ({})", index.name, index.columns.join(", ")).unwrap();
            let sql = if sqlite { made_by(reader, &index.name) } else { String::new() };
            if let Some((_, condition)) = sql.split_once(" WHERE ") {
                write!(text, " where {}", condition.replace('`', "")).unwrap();
            }
            text += "\n";
        }
        text += "\n";
    }
    if found.table("knex_migrations").is_some() {
        text += "= migrations\n";
        for row in reader.query("SELECT * FROM knex_migrations ORDER BY id", &[]).unwrap() {
            writeln!(text, "  {} {} batch {}", row.cell("id"), row.cell("name"), row.cell("batch")).unwrap();
        }
        for row in reader.query("SELECT * FROM knex_migrations_lock", &[]).unwrap() {
            writeln!(text, "  lock {} {}", row.cell("index"), row.cell("is_locked")).unwrap();
        }
        text += "\n";
    }
    text += "= settings\n";
    for row in reader.query("SELECT * FROM setting WHERE `key` <> 'jwtSecret' ORDER BY id", &[]).unwrap() {
        write!(text, "  {} {}", row.cell("key"), row.cell("value")).unwrap();
        if let Some(kind) = row.text("type") {
            write!(text, " type {kind}").unwrap();
        }
        text += "\n";
    }
    if sqlite {
        text += "\n= pragma\n";
        for pragma in ["auto_vacuum", "encoding", "page_size"] {
            let row = reader.query(&format!("PRAGMA {pragma}"), &[]).unwrap();
            writeln!(text, "  {pragma} {}", row[0].at(0)).unwrap();
        }
    }
    text
}

/// The statement that made a table or an index of SQLite.
fn made_by(reader: &mut dyn Reader, name: &str) -> String {
    let rows = reader.query("SELECT sql FROM sqlite_schema WHERE name = ?", &[name.into()]).unwrap();
    rows[0].text("sql").unwrap_or_default().to_owned()
}

/// The CHECK constraint of `column` in the statement `sql`.
fn checked<'a>(sql: &'a str, column: &str) -> Option<&'a str> {
    let line = sql.lines().find(|line| line.trim().starts_with(&format!("`{column}` ")))?;
    line.split_once(" CHECK (").map(|(_, check)| check.trim_end_matches(',').strip_suffix(')').unwrap())
}

fn assert_same(found: &str, catalogue: &str, what: &str) {
    let differences: Vec<String> = found
        .lines()
        .zip(catalogue.lines())
        .enumerate()
        .filter(|(_, (a, b))| a != b)
        .take(5)
        .map(|(at, (a, b))| format!("line {at}: made `{a}`, the catalogue says `{b}`"))
        .collect();
    assert!(found == catalogue, "{what}: {}", differences.join("\n"));
}

/// What the recording says of itself, without a database, is what the engine says of the database.
fn assert_reads_like(recording: &Recording, found: Schema) {
    let given = recording.schema();
    assert_eq!(given.names(), found.names());
    for (name, table) in &given.tables {
        assert_eq!(table, &found.tables[name], "{} {name}", recording.release);
    }
}

fn names(list: impl IntoIterator<Item = impl Into<String>>) -> BTreeSet<String> {
    list.into_iter().map(Into::into).collect()
}

#[test]
fn makes_every_recorded_release_on_sqlite_as_the_catalogue_has_it() {
    for recording in schema::recorded(EngineKind::Sqlite) {
        let folder = tempfile::tempdir().unwrap();
        init::make_folder(folder.path(), &bare(recording.release)).unwrap();
        let mut reader = SqliteFile::new(folder.path().join("kuma.db")).reader().unwrap();
        let made = render(&mut *reader);
        assert_same(&made, &catalogue(recording.release, EngineKind::Sqlite, &made), &recording.release.to_string());
        // Bytes 18 and 19 of the file: a reader of a file at rest does not say `wal`, though the file does.
        let head = std::fs::read(folder.path().join("kuma.db")).unwrap();
        assert_eq!(head[18..20], [2, 2], "{} is in WAL mode", recording.release);
        assert_reads_like(recording, reader.schema().unwrap());
    }
}

#[test]
fn makes_every_recorded_release_on_mariadb_as_the_catalogue_has_it() {
    let Some(server) = Mariadbd::start() else { return };
    for recording in schema::recorded(EngineKind::MariaDb) {
        let name = recording.release.to_string();
        // The collation that the catalogue was taken with; newer servers have another default.
        let database = server.create_database(&name, "utf8mb4 COLLATE utf8mb4_general_ci");
        init::fill_database(&database, &bare(recording.release)).unwrap();
        let mut reader = database.reader().unwrap();
        let made = render(&mut *reader);
        assert_same(&made, &catalogue(recording.release, EngineKind::MariaDb, &made), &name);
        let mut found = reader.schema().unwrap();
        for column in found.tables.values_mut().flat_map(|table| &mut table.columns) {
            // Only the definitions of these columns name a character set.
            column.charset = column.charset.take().filter(|charset| charset == "utf8mb3");
            column.collation = None;
        }
        assert_reads_like(recording, found);
    }
}

#[test]
fn has_a_recording_for_every_file_of_the_catalogue_and_no_other() {
    let files: BTreeSet<String> =
        std::fs::read_dir(FIXTURES).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let mut recorded = BTreeSet::new();
    for (engine, word) in [(EngineKind::Sqlite, "sqlite"), (EngineKind::MariaDb, "mariadb")] {
        recorded.extend(schema::recorded(engine).iter().map(|recording| format!("{}-{word}.txt", recording.release)));
    }
    assert_eq!(files, recorded);
}

#[test]
fn recognises_each_release_by_its_migrations() {
    let seen: Vec<String> = schema::recorded(EngineKind::Sqlite)
        .iter()
        .map(|recording| {
            let found = schema::recognise(&names(recording.migrations()), &recording.patches());
            assert!(found.exact && found.oldest <= recording.release && recording.release <= found.release);
            found.to_string()
        })
        .collect();
    assert_eq!(
        seen,
        [
            "1.23.0",
            "1.23.17",
            "2.0.0 to 2.0.2",
            "2.0.0 to 2.0.2",
            "2.1.0",
            "2.1.3 to 2.3.2",
            "2.1.3 to 2.3.2",
            "2.1.3 to 2.3.2",
            "2.4.0",
            "2.5.0",
            "2.5.1 to 2.5.3",
            "2.5.1 to 2.5.3",
        ]
    );
}

#[test]
fn has_the_same_migrations_on_both_engines() {
    for recording in schema::recorded(EngineKind::MariaDb) {
        let twin = schema::recording(EngineKind::Sqlite, recording.release).unwrap();
        assert!(recording.migrations().eq(twin.migrations()), "{}", recording.release);
    }
}

#[test]
fn names_the_migrations_that_no_recorded_release_has() {
    let newest = schema::recording(EngineKind::Sqlite, schema::newest()).unwrap();
    let mut applied = names(newest.migrations());
    applied.insert("2099-01-01-0000-flying-cars.js".into());
    let found = schema::recognise(&applied, &BTreeSet::new());
    assert_eq!((found.release, found.exact), (schema::newest(), false));
    assert_eq!(found.unknown, ["2099-01-01-0000-flying-cars.js"]);
    assert_eq!(found.to_string(), "newer than 2.5.3");
}

#[test]
fn names_the_migrations_that_are_missing_after_an_unfinished_upgrade() {
    let first = schema::recording(EngineKind::Sqlite, Release::new(2, 0, 0)).unwrap();
    let applied = names(first.migrations().take(10));
    let found = schema::recognise(&applied, &first.patches());
    assert_eq!((found.oldest, found.exact, found.missing.len()), (Release::new(2, 0, 0), false, 18));
    assert_eq!(found.to_string(), "older than 2.0.0");
}

#[test]
fn takes_the_neighbour_of_a_release_only_where_nothing_changed_in_between() {
    let release = |text: &str| schema::recording(EngineKind::Sqlite, text.parse().unwrap()).map(|found| found.release);
    assert_eq!(release("2.5.2"), Some(Release::new(2, 5, 1)));
    assert_eq!(release("2.3.0"), Some(Release::new(2, 2, 1)));
    for unknown in ["1.22.0", "1.23.5", "2.1.1", "2.6.0"] {
        assert_eq!(release(unknown), None, "{unknown}");
    }
}
