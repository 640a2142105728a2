//! Snapshots on standard output and from standard input, for programs that keep equal parts of several files once.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use chrono::Utc;
use kumadb::backup::stage::{CopySource, SnapshotLabel};
use kumadb::backup::{CopyScope, SnapshotStream, StagedCopy};
use kumadb::cancel::Cancel;
use kumadb::engine::sqlite::SqliteFile;
use serde_json::{Value as Json, json};

use crate::cli::monitor::furnish;
use crate::support::lab::{Lab, Ran};
use crate::support::mariadbd::Mariadbd;
use crate::support::need;
use crate::support::rounds;

/// Writes what `line` prints on standard output into the file `name`.
fn stream(lab: &Lab, name: &str, line: &str) -> PathBuf {
    let path = lab.root.path().join(name);
    let mut command = lab.begin(line);
    let done = command.stdin(Stdio::null()).stdout(File::create(&path).unwrap()).output().unwrap();
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && told.contains("written to standard output: "), "{}: {told}", lab.engine());
    path
}

/// Runs `line` with the file at `path` as standard input.
fn fed(lab: &Lab, path: &Path, line: &str) -> Ran {
    let done = lab.begin(line).stdin(File::open(path).unwrap()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { exit: done.status.code().unwrap_or(-1), out: text(&done.stdout), err: text(&done.stderr) }
}

fn fed_ok(lab: &Lab, path: &Path, line: &str) -> Ran {
    let ran = fed(lab, path, line);
    assert_eq!(ran.exit, 0, "{}: {line}\n{}{}", lab.engine(), ran.out, ran.err);
    ran
}

/// The members of the stream at `path`, with their content.
fn members(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(File::open(path).unwrap());
    let read = |entry: std::io::Result<tar::Entry<'_, File>>| {
        let mut entry = entry.unwrap();
        let (name, mut content) = (entry.path().unwrap().display().to_string(), Vec::new());
        entry.read_to_end(&mut content).unwrap();
        (name, content)
    };
    archive.entries().unwrap().map(read).collect()
}

/// The database in the stream at `path`, as SQL.
fn sql_of(path: &Path) -> Vec<u8> {
    members(path).into_iter().find(|(name, _)| name == "kuma.sql").unwrap().1
}

/// The stream at `from` with another text of SQL, which its manifest knows, as somebody else can make one.
fn forge(from: &Path, to: &Path, sql: &[u8]) {
    let mut tar = tar::Builder::new(File::create(to).unwrap());
    for (name, content) in members(from) {
        let content = match name.as_str() {
            "kuma.sql" => sql.to_vec(),
            "manifest.json" => {
                let mut manifest: Json = serde_json::from_slice(&content).unwrap();
                let member = &mut manifest["members"][0];
                assert_eq!(member["name"], "kuma.sql");
                (member["size"], member["blake3"]) = (json!(sql.len()), json!(blake3::hash(sql).to_hex().to_string()));
                serde_json::to_vec(&manifest).unwrap()
            }
            _ => content,
        };
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, &content[..]).unwrap();
    }
    tar.finish().unwrap();
}

/// What a database may have besides what a server creates: every type in every kind of column, and definitions of every kind.
fn add_strange_things(lab: &Lab) {
    lab.sql(match lab.engine() {
        "SQLite" => {
            "CREATE TABLE [it's; `odd` -- (] (any, b BLOB, r REAL, i INTEGER, n NUMERIC, t TEXT, up TEXT AS (upper(t)) STORED);
             INSERT INTO [it's; `odd` -- (] (any, b, r, i, n, t) VALUES (NULL, X'00FF27', 1e999, -9223372036854775808, 1e300, 'it''s'),
               (1, 'text', -1e999, 'text', '0x10', char(10) || 'a' || char(13)), (1.5, 2, 0.1, 1.5, 1e16, char(0) || 'b'),
               (CAST(X'CAFF' AS TEXT), X'', 5e-324, X'0A', -0.0, 'h\u{e9} \u{1f600}'), ('', '', 3, 3, 3.0, '1e3');
             CREATE INDEX \"an index\" ON [it's; `odd` -- (] (lower(t), n) WHERE i > 0;
             CREATE TABLE pairs (k TEXT, v, PRIMARY KEY (k, v)) WITHOUT ROWID;
             INSERT INTO pairs VALUES ('b', 2), ('a', 1), ('a', X'00');
             CREATE TABLE empty (x DEFAULT (abs(-1)) CHECK (x > 0));
             CREATE TABLE noted (a DEFAULT 'AUTOINCREMENT' -- the last; one
             );
             CREATE INDEX noted_a ON noted (a) -- the end
             ;
             CREATE VIEW shown AS SELECT k FROM pairs;
             CREATE TRIGGER copied AFTER INSERT ON pairs BEGIN INSERT INTO empty VALUES (1); UPDATE empty SET x = 2; END;
             ANALYZE; PRAGMA user_version = 7; PRAGMA application_id = -5;"
        }
        _ => {
            "CREATE TABLE `odd; (rows` (id int PRIMARY KEY AUTO_INCREMENT, t text, b blob, f float, d decimal(20,10), dt datetime(6),
               up text AS (upper(t)) STORED);
             INSERT INTO `odd; (rows` (t, b, f, d, dt) VALUES ('it''s), (\\\\\\n(', x'00ff270a', 0.1, 1.5, '2026-01-01 00:00:00.123456'),
               (NULL, '', -0, -1, NULL), ('h\u{e9} \u{1f600}', '),(', 3.4e38, 0, '0001-01-01 00:00:00');"
        }
    });
}

#[test]
fn a_stream_brings_everything_back() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        add_strange_things(&lab);
        let before = lab.rows();
        let path = stream(&lab, "kuma.kuma.tar", "backup create --stdout");
        let names: Vec<String> = members(&path).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names[..2], ["manifest.json", "kuma.sql"], "{names:?}");
        // The same rows are the same text, and it is in no store.
        assert!(sql_of(&path) == sql_of(&stream(&lab, "again", "backup create --stdout")), "{}", lab.engine());
        assert_eq!(lab.json("backup list")["snapshots"], json!([]));
        for line in ["restore --stdin --yes", &format!("restore {} --yes", path.display())] {
            lab.ok("monitor delete --name '*' --yes");
            lab.sql("DELETE FROM notification");
            assert!(lab.rows() != before);
            let shown = fed_ok(&lab, &path, &format!("{line} --dry-run"));
            assert!(shown.out.contains("+ monitor `Network/Router`") && shown.out.contains("dry run"), "{}", shown.out);
            fed_ok(&lab, &path, line);
            let (rows, mut were) = (lab.rows(), before.lines());
            let other = rows.lines().find(|row| Some(*row) != were.next());
            assert!(rows == before, "{}: {line}: {other:?}", lab.engine());
        }
        let verified = fed_ok(&lab, &path, "backup verify --stdin --restore-test");
        assert!(verified.out.contains("restore test passed"), "{}", verified.out);
        let shown = lab.ok(&format!("backup show --monitors {}", path.display()));
        assert!(shown.contains("kuma.sql") && shown.contains("Network/Router"), "{shown}");
        lab.ok("monitor delete Network/Router --yes");
        fed_ok(&lab, &path, "restore --stdin --yes --monitor Network/Router");
        assert!(lab.ok("monitor list").contains("Router"), "{}", lab.engine());
        fed_ok(&lab, &path, "restore --stdin --yes --config-only");
        if lab.engine() == "SQLite" {
            assert_eq!(
                lab.sql("SELECT count(*) FROM pairs; SELECT count(*) FROM empty"),
                "3\n0\n",
                "no trigger was started"
            );
        }
    }
}

#[test]
fn a_stream_is_read_by_the_client_of_its_database() {
    for lab in Lab::both("2.0.2") {
        furnish(&lab);
        add_strange_things(&lab);
        let text = lab.root.path().join("kuma.sql");
        fs::write(&text, sql_of(&stream(&lab, "kuma.kuma.tar", "backup create --stdout"))).unwrap();
        match lab.engine() {
            "SQLite" => {
                let loaded = Lab::sqlite("2.0.2");
                fs::remove_file(loaded.folder().join("kuma.db")).unwrap();
                loaded.sql(&format!(".read '{}'", text.display()));
                // A comment at the end of a definition has one more line break.
                let lines = |lab: &Lab| {
                    let rows = lab.rows().replace("\\n", "\n");
                    rows.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect::<Vec<_>>()
                };
                assert_eq!(lines(&loaded), lines(&lab));
                let pragmas = "PRAGMA user_version; PRAGMA application_id; PRAGMA page_size; PRAGMA integrity_check";
                assert_eq!(loaded.sql(pragmas), lab.sql(pragmas));
            }
            _ => {
                let Some(elsewhere) = Mariadbd::start() else { return };
                elsewhere.create_database("kuma", "utf8mb4");
                elsewhere.source("kuma", &text);
                let count = "SELECT count(*), max(t), hex(max(b)) FROM `odd; (rows`";
                assert_eq!(elsewhere.sql("kuma", count), lab.sql(count));
            }
        }
    }
}

#[test]
fn a_database_with_large_pages_comes_back() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    add_beats(&lab, 1, 3_000);
    lab.sql("PRAGMA journal_mode = DELETE; PRAGMA page_size = 65536; VACUUM");
    assert_eq!(lab.sql("PRAGMA page_size"), "65536\n");
    let path = stream(&lab, "kuma.kuma.tar", "backup create --stdout");
    fed_ok(&lab, &path, "backup verify --stdin --restore-test");
}

/// Adds `count` heartbeats of four monitors, from id `first` on.
fn add_beats(lab: &Lab, first: u32, count: u32) {
    let series = match lab.engine() {
        "SQLite" => format!("(SELECT value AS n FROM generate_series({first}, {}))", first + count - 1),
        _ => format!("(SELECT seq AS n FROM seq_{first}_to_{})", first + count - 1),
    };
    let time = match lab.engine() {
        "SQLite" => "datetime(1760000000 + n * 3, 'unixepoch')",
        _ => "FROM_UNIXTIME(1760000000 + n * 3)",
    };
    lab.sql(&format!(
        "INSERT INTO heartbeat (id, monitor_id, status, important, msg, time, ping, duration, down_count) \
         SELECT n, 1 + n * 7 % 4, 1, 0, '200 - OK', {time}, n * 13 % 300, 60, 0 FROM {series} AS s"
    ));
}

#[test]
fn a_day_changes_little_of_a_stream() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        add_beats(&lab, 1, 30_000);
        let first = sql_of(&stream(&lab, "first", "backup create --stdout"));
        lab.sql("DELETE FROM heartbeat WHERE id <= 300");
        add_beats(&lab, 30_001, 300);
        let second = sql_of(&stream(&lab, "second", "backup create --stdout"));
        let known: HashSet<&[u8]> = first.split_inclusive(|byte| *byte == b'\n').collect();
        let new = second.split_inclusive(|byte| *byte == b'\n').filter(|line| !known.contains(line));
        let new: usize = new.map(<[u8]>::len).sum();
        // One hundredth of the rows is new; one statement in front of them has lost some.
        assert!(new * 20 < second.len(), "{}: {new} of {} bytes", lab.engine(), second.len());
    }
}

/// Runs `script`, in which `kumadb` is the binary on the instance of `lab`.
fn script(lab: &Lab, script: &str) -> String {
    let bin = lab.root.path().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let wrapper = format!("#!/bin/sh\nexec {} -t '{}' \"$@\"\n", env!("CARGO_BIN_EXE_kumadb"), lab.target);
    fs::write(bin.join("kumadb"), wrapper).unwrap();
    fs::set_permissions(bin.join("kumadb"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut command = lab.program("bash");
    let set = [
        ("RESTIC_REPOSITORY", "restic"),
        ("RESTIC_PASSWORD", "secret"),
        ("RESTIC_CACHE_DIR", "cache"),
        ("BORG_REPO", "borg"),
        ("BORG_PASSPHRASE", "secret"),
        ("BORG_BASE_DIR", "base"),
    ];
    let done =
        command.env("PATH", path).envs(set).args(["-c", &format!("set -euo pipefail\n{script}")]).output().unwrap();
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{}: {script}\n{out}{}", lab.engine(), String::from_utf8_lossy(&done.stderr));
    out
}

/// The commands of the page in the documentation, by the name of the program.
fn documented(program: &str) -> [String; 2] {
    let page = include_str!("../../../docs/restic-borg.md");
    let block = |comment: &str| {
        let start = page.find(&format!("# {comment}\n")).unwrap_or_else(|| panic!("no block `# {comment}`"));
        page[start..].split("```").next().unwrap().to_owned()
    };
    [block(&format!("back up with {program}")), block(&format!("restore with {program}"))]
}

#[test]
fn restic_and_borg_store_a_stream_and_give_it_back() {
    let programs = ["restic", "borg"];
    if programs.iter().any(|program| need::program(&[program]).is_none()) {
        need::left_out::<()>("restic and borg (apt-get install restic borgbackup)");
        return;
    }
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        add_beats(&lab, 1, 3_000);
        script(&lab, "restic init -q; borg init -e repokey-blake2");
        for program in programs {
            let [back_up, restore] = documented(program);
            script(&lab, &back_up);
            let before = lab.rows();
            lab.sql("DELETE FROM heartbeat WHERE id <= (SELECT min(id) + 150 FROM (SELECT id FROM heartbeat) AS h)");
            let last: u32 = lab.sql("SELECT max(id) FROM heartbeat").trim().parse().unwrap();
            add_beats(&lab, last + 1, 150);
            let rows = lab.rows();
            // The newest of two, in another second: borg's archives are named by it.
            std::thread::sleep(Duration::from_millis(1000 - u64::from(Utc::now().timestamp_subsec_millis().min(999))));
            script(&lab, &back_up);
            lab.sql("DELETE FROM heartbeat WHERE id > 1000");
            script(&lab, &restore);
            assert!(lab.rows() == rows && rows != before, "{}, {program}", lab.engine());
        }
    }
}

#[test]
fn a_wrong_byte_in_a_stream_is_refused() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let path = stream(&lab, "kuma.kuma.tar", "backup create --stdout");
        let whole = fs::read(&path).unwrap();
        let before = lab.content();
        let sql = whole
            .windows(16)
            .position(|window| window == b"-- kumadb SQLite" || window == b"-- kumadb dump 1")
            .unwrap();
        let end = sql + sql_of(&path).len();
        let refused = |bytes: &[u8], what: &str| {
            fs::write(&path, bytes).unwrap();
            let ran = fed(&lab, &path, "backup verify --stdin");
            assert_eq!(ran.exit, 7, "{}: {what}: {}{}", lab.engine(), ran.out, ran.err);
            let ran = fed(&lab, &path, "restore --stdin --yes");
            assert_eq!(ran.exit, 7, "{}: {what}: {}{}", lab.engine(), ran.out, ran.err);
            assert!(lab.content() == before, "{}: {what}: the refused restore changed something", lab.engine());
        };
        for step in rounds::draw(40, 6) {
            let at = sql + (end - sql - 1) * step / 39;
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            refused(&bytes, &format!("a bit flipped at {at}"));
            refused(&whole[..at], &format!("cut at {at}"));
        }
        refused(&whole[..1000], "cut in the manifest");
        // What no archive begins with is not one.
        refused(b"not a snapshot", "something else");
        fs::write(&path, "").unwrap();
        let ran = fed(&lab, &path, "restore --stdin --yes");
        assert_eq!((ran.exit, ran.err.contains("standard input is empty")), (2, true), "{}", ran.err);
    }
}

#[test]
fn sql_that_does_anything_else_is_refused() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    let path = stream(&lab, "kuma.kuma.tar", "backup create --stdout");
    let (before, text) = (lab.content(), String::from_utf8(sql_of(&path)).unwrap());
    let victim = lab.root.path().join("victim.db");
    let attach = format!("ATTACH '{}' AS v", victim.display());
    let defined = |sql: &str| format!("-- definition of {} bytes\n{sql};\n", sql.len() + 2);
    let bomb = |columns: &str| {
        let rows = vec!["(1)"; 400].join(",");
        defined(&format!("CREATE TABLE x ({columns})"))
            + &format!("INSERT INTO `x` (`a`) VALUES {rows};\n-- `x`: 400 rows\n")
    };
    let after_begin = |line: String| text.replacen("BEGIN;\n", &format!("BEGIN;\n{line}"), 1);
    let at_row = |row: &str| text.replacen(" VALUES (", &format!(" VALUES {row},("), 1);
    let evil = [
        after_begin(defined(&attach)),
        after_begin(format!("{attach};\n")),
        after_begin(defined("PRAGMA writable_schema = ON")),
        after_begin(defined("CREATE TABLE x AS SELECT 1 AS a")),
        after_begin(defined("CREATE TABLE x (a); DROP TABLE user")),
        after_begin(defined("CREATE VIRTUAL TABLE x USING fts5(a)")),
        after_begin(defined("CREATE TEMP TABLE x (a)")),
        after_begin(defined("DELETE FROM user")),
        after_begin(defined("VACUUM INTO 'x.db'")),
        // A short row that becomes a long one.
        after_begin(bomb("a, b AS (zeroblob(900000000)) STORED")),
        after_begin(bomb("a, b AS (zeroblob(100000)) STORED")),
        after_begin(bomb("a, b DEFAULT (zeroblob(100))")),
        after_begin("PRAGMA temp_store_directory = '/tmp';\n".into()),
        after_begin("PRAGMA page_size = 512; DROP TABLE user;\n".into()),
        after_begin("INSERT INTO `sqlite_schema` (`type`) VALUES ('table');\n".into()),
        after_begin("SELECT load_extension('x');\n".into()),
        at_row("((SELECT 1),2)"),
        at_row("(random())"),
        // Rows after a trigger would start it.
        text.replacen("-- definition", &(defined("CREATE VIEW v AS SELECT 1") + "-- definition"), 1),
        text.replacen("-- definition of ", "-- definition of 1", 1),
        text.replacen(" rows\n", "0 rows\n", 1),
        text.replace("-- kumadb SQLite dump complete: ", "-- kumadb SQLite dump complete: 1"),
        text.replace("-- kumadb SQLite dump 1\n", "-- kumadb SQLite dump 2\n"),
        text.clone() + "DROP TABLE user;\n",
        text.trim_end_matches(|c| c != ';').to_owned(),
        String::new(),
    ];
    let forged = lab.root.path().join("forged.kuma.tar");
    for sql in evil {
        assert!(sql != text);
        forge(&path, &forged, sql.as_bytes());
        let ran = fed(&lab, &forged, "restore --stdin --yes");
        let what: String = sql.chars().take(400).collect();
        assert_eq!(ran.exit, 7, "{what}: {}{}", ran.out, ran.err);
        assert!(
            ran.err.starts_with("error: snapshot verification failed: ") && !victim.exists(),
            "{what}: {}",
            ran.err
        );
        assert!(lab.content() == before, "{what}");
    }
    // The same way, with nothing changed.
    forge(&path, &forged, text.as_bytes());
    fed_ok(&lab, &forged, "restore --stdin --yes");
    assert_eq!(lab.json("monitor list")["monitors"].as_array().map(Vec::len), Some(4));
}

#[test]
fn what_cannot_be_a_stream_is_refused_before_a_byte_is_written() {
    let lab = Lab::sqlite("2.5.3");
    let refused = |line: &str, exit: i32, words: &str| {
        let done = lab.begin(line).stdin(Stdio::null()).output().unwrap();
        let told = String::from_utf8_lossy(&done.stderr);
        assert_eq!((done.status.code(), &done.stdout[..]), (Some(exit), &b""[..]), "{line}: {told}");
        assert!(told.contains(words), "{line}: {told}");
    };
    let refused_json = lab.fails(2, "backup create --stdout --json");
    assert!(refused_json.err.contains("cannot combine `--stdout` with `--json`"), "{}", refused_json.err);
    refused("backup create --stdout --all", 2, "cannot combine `--stdout` with several instances");
    refused("backup create --stdout --compact", 2, "cannot be used with");
    refused("backup verify --stdin --all", 2, "cannot combine `--stdin` with several instances");
    refused("restore --stdin", 9, "add `--yes` to confirm");
    refused("restore --stdin latest", 2, "cannot be used with");
    let recipients = lab.root.path().join("recipients");
    fs::write(&recipients, "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\n").unwrap();
    let encrypted = |line: &str| {
        let mut command = lab.begin(line);
        command.env("KUMADB_RECIPIENTS_FILE", &recipients).output().unwrap()
    };
    let done = encrypted("backup create --stdout");
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code() == Some(2) && done.stdout.is_empty(), "{told}");
    assert!(told.contains("would not be") && told.contains("add `--unencrypted`"), "{told}");
    assert!(encrypted("backup create --stdout --unencrypted").stdout.starts_with(b"manifest.json"));
    lab.sql("CREATE VIRTUAL TABLE found USING fts5(text)");
    refused("backup create --stdout", 9, "cannot write table `found` as SQL: it is a virtual table");
    lab.sql(
        "DROP TABLE found; CREATE TABLE twice (a, b); INSERT INTO twice VALUES (1, 1), (1, 2); CREATE UNIQUE INDEX one ON twice (b); \
         PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE UNIQUE INDEX one ON twice (a)' WHERE name = 'one'",
    );
    refused("backup create --stdout", 9, "cannot write table `twice` as SQL: ");
    lab.sql("DROP TABLE twice; CREATE TABLE odd (\"a\nb\" TEXT)");
    refused("backup create --stdout", 9, "cannot write table `odd` as SQL: a name in it has a line break");
    lab.ok("backup create");
}

#[test]
fn a_reader_that_goes_away_is_an_error() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        // More than fits into a pipe.
        add_beats(&lab, 1, 20_000);
        let mut child =
            lab.begin("backup create --stdout").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 1000];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let done = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code() == Some(1) && told.contains("standard output"), "{:?}: {told}", done.status);
        let left = fs::read_dir(lab.store()).unwrap().flatten().map(|found| found.file_name().into_string().unwrap());
        let left: Vec<_> = left.filter(|name| name.starts_with('.')).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_file_that_is_replaced_meanwhile_is_in_the_stream_as_it_was() {
    let lab = Lab::sqlite("2.5.3");
    let upload = lab.folder().join("upload");
    fs::write(upload.join("logo.png"), "before").unwrap();
    let file = SqliteFile::new(lab.folder().join("kuma.db"));
    let label = SnapshotLabel {
        instance: "kuma".into(),
        origin: "kuma".into(),
        reason: "test".into(),
        config: None,
        undo: false,
        undoes: None,
    };
    let folder = lab.root.path().join("staged");
    let staged =
        StagedCopy::take(CopySource::Live(&file), &folder, &label, &CopyScope::default(), &mut |_, _| {}).unwrap();
    let extra = [upload.clone()];
    let stream = SnapshotStream::prepare(&staged, &extra, &Cancel::default(), &mut |_, _| {}).unwrap();
    fs::write(upload.join("logo.png"), "after!").unwrap();
    let path = lab.root.path().join("kuma.kuma.tar");
    stream.write(File::create(&path).unwrap(), "the file", &mut |_, _| {}).unwrap();
    let logo = members(&path).into_iter().find(|(name, _)| name == "upload/logo.png").unwrap().1;
    assert_eq!(String::from_utf8_lossy(&logo), "before");
    fed_ok(&lab, &path, "backup verify --stdin");
    // What changes in the copy itself is not written as if it were good.
    fs::write(folder.join("upload/logo.png"), "after!").unwrap();
    let changed = stream.write(Vec::new(), "the buffer", &mut |_, _| {}).unwrap_err();
    assert!(changed.to_string().contains("was changed after it was written"), "{changed}");
}
