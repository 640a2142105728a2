//! Databases as people have them: what the doctor finds in each, what an export leaves out, and that applying the export to
//! the same database changes nothing.
//!
//! `fixtures/cases/NAME.sql` is run on the databases of real servers in `fixtures/data`; `fixtures/cases/expected.txt` says
//! what comes of it, and is renewed with `SNAPSHOTS=overwrite`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chrono::{DateTime, Utc};
use kumadb::doctor::examine;
use kumadb::engine::{Connect as _, Depth, Reader};
use kumadb::formats::NoSources;
use kumadb::formats::export::{ExportChoice, Secrets, export};
use kumadb::formats::native::read_fixture;
use kumadb::formats::render::render;
use kumadb::formats::text::{Syntax, no_files, read};
use kumadb::kuma::read::read_config;
use kumadb::model::state::ConfigRows;
use kumadb::operation::examine::gather;
use kumadb::plan::fixture::{ApplyOptions, plan_fixture};
use tempfile::TempDir;

use crate::formats::round_trip::Counted;
use crate::mariadb::engine::unpack_real_dump;
use crate::support::lab::instance_at;
use crate::support::mariadbd::Mariadbd;

/// A moment after all of these databases were made, from which none of their rows is in the future.
fn now() -> DateTime<Utc> {
    "2027-01-01T00:00:00Z".parse().unwrap()
}

fn fixtures(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

/// The data folder of a real server of `release`, after `sql`.
fn made(release: &str, sql: &str) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("data");
    fs::create_dir(&folder).unwrap();
    for part in ["kuma.db", "kuma.db-wal"] {
        let packed = fs::File::open(fixtures(&format!("data/{release}-sqlite/{part}.zst"))).unwrap();
        fs::write(folder.join(part), zstd::decode_all(packed).unwrap()).unwrap();
    }
    if !release.starts_with("1.") {
        fs::write(folder.join("db-config.json"), "{\"type\": \"sqlite\"}").unwrap();
    }
    let mut sqlite3 = Command::new("sqlite3");
    sqlite3.arg("-batch").arg("-bail").arg(folder.join("kuma.db")).stdin(Stdio::piped());
    let mut child = sqlite3.spawn().unwrap();
    child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{sql}");
    root
}

/// The codes that the doctor finds on the instance `target`.
fn codes(target: &str, root: &Path) -> Vec<&'static str> {
    let evidence = gather(&instance_at(target, root, root.join("state")), now(), Depth::Structure);
    let mut codes: Vec<&str> = examine(&evidence).iter().map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// What an export leaves out, and the changes that applying it to the same database would make.
fn round_trip(config: &ConfigRows) -> (Vec<String>, Vec<String>) {
    let exported = export(config, &ExportChoice { secrets: Secrets::Include, ..ExportChoice::default() });
    let text = render(&exported.document, Syntax::Yaml).unwrap();
    let documents = read("export.yaml", &text, Syntax::Yaml, &no_files).unwrap();
    let changes = match read_fixture(&documents, &NoSources) {
        Err(problems) => problems.iter().map(|problem| format!("{}: {}", problem.subject, problem.message)).collect(),
        Ok(fixture) => match plan_fixture(config, &fixture, &ApplyOptions::default(), &mut Counted(0)).unwrap() {
            Err(problems) => {
                problems.iter().map(|problem| format!("{}: {}", problem.subject, problem.message)).collect()
            }
            Ok(report) => report.plan.steps.iter().map(|step| format!("{}: {:?}", step.subject, step.change)).collect(),
        },
    };
    (exported.warnings, changes)
}

fn config_of(reader: &mut dyn Reader) -> ConfigRows {
    read_config(reader, "the database").unwrap()
}

/// The lines about one database.
fn reported(name: &str, codes: &[&str], left_out: &[String], changes: &[String]) -> String {
    let list = |title: &str, all: &[String]| all.iter().map(|one| format!("  {title}: {one}\n")).collect::<String>();
    format!("{name}: {}\n{}{}", codes.join(" "), list("left out", left_out), list("CHANGES", changes))
}

#[test]
fn every_database_is_judged_and_exported_as_expected() {
    let mut names: Vec<PathBuf> = fs::read_dir(fixtures("cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|ending| ending == "sql"));
    names.sort();
    let mut cases: Vec<(String, String, String)> =
        ["1.23.17", "2.0.2", "2.5.3"].map(|release| ("as it is".into(), release.into(), String::new())).into();
    for path in names {
        let sql = fs::read_to_string(&path).unwrap();
        let bases = sql.lines().find_map(|line| line.strip_prefix("-- bases: ")).unwrap().to_owned();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        cases.extend(bases.split(' ').map(|base| (name.clone(), base.to_owned(), sql.clone())));
    }
    let mut text = String::new();
    for (name, release, sql) in cases {
        let root = made(&release, &sql);
        let folder = root.path().join("data");
        let codes = codes(folder.to_str().unwrap(), root.path());
        let instance = instance_at(folder.to_str().unwrap(), root.path(), root.path().join("state"));
        let config = config_of(&mut *instance.connect().unwrap().reader().unwrap());
        let (left_out, changes) = round_trip(&config);
        text.push_str(&reported(&format!("{name}, {release}"), &codes, &left_out, &changes));
    }
    let path = fixtures("cases/expected.txt");
    if std::env::var("SNAPSHOTS").is_ok_and(|value| value == "overwrite") {
        fs::write(&path, &text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    for (line, desired) in text.lines().zip(expected.lines()) {
        assert_eq!(line, desired);
    }
    assert_eq!(text.lines().count(), expected.lines().count());
}

#[test]
fn a_real_database_on_mariadb_is_exported_and_unchanged() {
    let Some(server) = Mariadbd::start() else { return };
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("real.sql");
    unpack_real_dump(&file);
    let address = server.create_database("kuma", "utf8mb4");
    server.source("kuma", &file);
    assert_eq!(round_trip(&config_of(&mut *address.reader().unwrap())), (Vec::new(), Vec::new()));
    for sql in [
        "UPDATE user SET id = 2 WHERE id = 1",
        "INSERT INTO monitor_tag (monitor_id, tag_id, value) SELECT 9999, min(id), 'lost' FROM tag",
        "INSERT INTO `group` (name, status_page_id) VALUES ('Nowhere', 9999)",
        "ALTER TABLE monitor ADD COLUMN fork_color TEXT; UPDATE monitor SET fork_color = 'red' WHERE id = 1",
        "CREATE TABLE fork_note (id INT PRIMARY KEY, note TEXT); INSERT INTO fork_note VALUES (1, 'one')",
    ] {
        server.sql("kuma", &format!("SET SESSION foreign_key_checks = 0; {sql}"));
    }
    let (left_out, changes) = round_trip(&config_of(&mut *address.reader().unwrap()));
    assert_eq!(changes, Vec::<String>::new());
    for words in [
        "1 row of `monitor_tag` belongs to no monitor",
        "group `Nowhere` belongs to no status page",
        "column `fork_color` of `monitor` is unknown: 1 value left out",
        "table `fork_note` is unknown: 1 row left out",
    ] {
        assert!(left_out.iter().any(|line| line.contains(words)), "{words}: {left_out:#?}");
    }
}
