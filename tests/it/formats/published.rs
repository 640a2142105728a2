//! Files that people published, and what becomes of them: fixtures/foreign/cases.

use std::fs;
use std::path::{Path, PathBuf};

use kumadb::engine::sqlite::SqliteFile;
use kumadb::engine::{Connect as _, WriteKey};
use kumadb::formats::decode::decode;
use kumadb::formats::foreign::{ImportOutcome, ReportLine, SourceFile, convert};
use kumadb::formats::import::{ImportOptions, InputFormat, import, read_source};
use kumadb::formats::native::read_fixture;
use kumadb::formats::{At, NoSources, Node};
use kumadb::kuma::read::read_config;
use kumadb::kuma::write::write_plan;
use kumadb::model::entities::MONITORS;
use kumadb::model::state::ConfigRows;
use kumadb::model::view::existing_names;
use kumadb::plan::fixture::{ApplyOptions, plan_fixture};
use snapbox::{Data, assert_data_eq};

use super::round_trip::{Counted, Made};

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/foreign/cases")
}

/// A file or the files of a folder, decoded.
fn texts(name: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![name.to_owned()];
    while let Some(name) = open.pop() {
        let path = cases().join(&name);
        if path.is_dir() {
            let inside = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            open.extend(inside.map(|file| format!("{name}/{file}")));
        } else if !name.ends_with(".md") && !name.ends_with(".bak") {
            found.push((name, decode(fs::read(path).unwrap()).unwrap().text));
        }
    }
    found.sort();
    found
}

fn line(remark: &ReportLine) -> String {
    let end = match remark.outcome {
        ImportOutcome::Skipped => ": skipped",
        ImportOutcome::Dropped => ": dropped",
        ImportOutcome::Doubtful => "",
    };
    format!("{}: {}: {}{end}\n", remark.at, remark.what, remark.why)
}

/// What becomes of a file: its format, the fixture, the report and the problems.
fn reported(name: &str) -> String {
    let mut sources: Vec<SourceFile> = Vec::new();
    let mut format = None;
    for (file, text) in texts(name) {
        match read_source(file, text, InputFormat::Detected, &NoSources) {
            Err(problem) => return format!("{}: {}\n{:?}\n", problem.subject, problem.message, problem.hint),
            Ok((found, source)) => {
                format = found;
                sources.push(source);
            }
        }
    }
    let Some(format) = format else {
        let nodes: Vec<_> = sources.into_iter().flat_map(|source| source.documents).collect();
        return match read_fixture(&nodes, &NoSources) {
            Ok(fixture) => format!("native, {} items\n", fixture.things.len()),
            Err(problems) => format!("{problems:#?}"),
        };
    };
    let converted = convert(format, &sources);
    let document = serde_json::to_string_pretty(&converted.document.json()).unwrap();
    let report: String = converted.remarks.iter().map(line).collect();
    let problems = converted.problems.iter().map(|problem| format!("{}: {}\n", problem.subject, problem.message));
    format!("{}\n{document}\n\nreport:\n{report}\nproblems:\n{}", format.name(), problems.collect::<String>())
}

#[test]
fn every_published_file_is_read_or_named() {
    let mut names: Vec<String> =
        fs::read_dir(cases()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/formats/published/{name}.txt"));
        assert_data_eq!(reported(&name), Data::read_from(&file, None).raw());
    }
}

/// Reads one text as `plan` does, without variables and files.
fn read(file: &str, text: &str, options: &ImportOptions) -> kumadb::formats::import::Import {
    import(vec![(file.to_owned(), text.to_owned())], options, &NoSources)
}

#[test]
fn nothing_in_a_file_of_others_is_expanded() {
    let backup = r#"{"version": "1.23.17", "monitorList": [{"id": 1, "name": "A", "type": "http", "url": "https://a",
        "method": "POST", "body": "${HOME} ${file:/etc/shadow} $${X}", "notificationIDList": {}}]}"#;
    let read_body = |options: &ImportOptions| {
        let read = read("a.json", backup, options);
        (read.fixture.things.first().map(|one| one.text("body").unwrap().to_owned()), read.problems)
    };
    let (body, problems) = read_body(&ImportOptions::default());
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(body.as_deref(), Some("${HOME} ${file:/etc/shadow} $${X}"));
    let (_, problems) = read_body(&ImportOptions { expand_env: true, ..ImportOptions::default() });
    assert!(problems[0].message.contains("HOME"), "{problems:?}");
    let file = backup.replace("${HOME} ", "");
    let problems = read("a.json", &file, &ImportOptions { expand_env: true, ..ImportOptions::default() }).problems;
    assert!(problems[0].message.contains("`${file:…}` is only expanded in fixtures"), "{problems:?}");
}

#[test]
fn a_file_that_yields_nothing_is_an_error() {
    for (file, text) in [
        ("a.json", r#"{"version": "1.23.17", "monitorList": []}"#),
        ("a.yaml", "monitors:\n"),
        ("a.yaml", "version: 1\n"),
        ("a.yaml", ""),
        ("a.txt", "one line of\nsomething else\n"),
        ("a.txt", ""),
        ("a.csv", "name,url\n"),
    ] {
        let read = read(file, text, &ImportOptions::default());
        assert!(!read.problems.is_empty(), "{file}: {text}: {read:?}");
    }
    // One of several.
    let texts = ["name,url\nA,https://a\n", "name,url\n"];
    let texts = texts.iter().zip(1..).map(|(text, n)| (format!("{n}.csv"), (*text).to_owned())).collect();
    let problems = import(texts, &ImportOptions::default(), &NoSources).problems;
    assert_eq!(problems.iter().map(|problem| problem.subject.as_str()).collect::<Vec<_>>(), ["2.csv"]);
    assert!(read("a.yaml", "monitors: []\n", &ImportOptions::default()).problems.is_empty());
}

#[test]
fn invalid_entries_of_any_format_can_be_skipped() {
    let skip = ImportOptions { skip_invalid: true, ..ImportOptions::default() };
    for (file, text) in [
        ("a.csv", "name,url\nA,https://a\nB,mailto:x@y\n"),
        ("a.csv", "name,url\nA,https://a\nB,https://b,more\n"),
        ("a", "name,url\nA,https://a\nB\n"),
        ("a.csv", "name,type,push_token\nA,push,\nB,push\n"),
        ("a.txt", "ping:a\nnot a line\n"),
        ("a.yaml", "monitors:\n- {name: A, type: push}\n- {name: B, intervall: 3, type: push}\n"),
    ] {
        assert!(!read(file, text, &ImportOptions::default()).problems.is_empty(), "{text}");
        let read = read(file, text, &skip);
        assert!(read.problems.is_empty(), "{:?}", read.problems);
        assert_eq!((read.fixture.things.len(), read.remarks.len()), (1, 1), "{text}: {:?}", read.remarks);
    }
}

#[test]
fn problems_of_converted_files_name_the_monitor() {
    let problems = read("a.csv", "name,url,interval\nA,https://a,soon\n", &ImportOptions::default()).problems;
    assert_eq!(problems[0].subject, "a.csv:2:3: monitors[A].interval");
}

#[test]
fn numbers_keep_their_text_where_a_text_is_meant() {
    let yaml = "monitors:\n- {name: 1.10, type: push, interval: 0060}\n- {name: 0x1F, type: push}\n- {name: 0755, type: push}\n";
    let read = read("a.yaml", yaml, &ImportOptions::default());
    assert!(read.problems.is_empty(), "{:?}", read.problems);
    let names: Vec<String> = read.fixture.things.iter().map(|one| one.name()).collect();
    assert_eq!(names, ["1.10", "0x1F", "0755"]);
}

#[test]
fn a_template_is_named_with_its_line() {
    let problems =
        read("a.yaml", "monitors:\n{% for host in hosts %}\n- {name: a}\n", &ImportOptions::default()).problems;
    assert_eq!(problems[0].subject, "a.yaml:2:1");
    assert!(problems[0].message.contains("is a template"), "{problems:?}");
}

/// Columns of a monitor that these files set.
const COLUMNS: [&str; 33] = [
    "type",
    "active",
    "interval",
    "retry_interval",
    "maxretries",
    "timeout",
    "url",
    "method",
    "body",
    "headers",
    "http_body_encoding",
    "auth_method",
    "basic_auth_user",
    "ignore_tls",
    "expiry_notification",
    "upside_down",
    "accepted_statuscodes_json",
    "keyword",
    "invert_keyword",
    "json_path",
    "json_path_operator",
    "expected_value",
    "hostname",
    "port",
    "packet_size",
    "dns_resolve_type",
    "dns_resolve_server",
    "conditions",
    "docker_container",
    "database_connection_string",
    "mqtt_topic",
    "game",
    "description",
];

/// The rows of a configuration, without what the page stores in every monitor.
fn rows(config: &ConfigRows, plain: &ConfigRows) -> String {
    let paths = existing_names(&MONITORS, config);
    let name = |table: &str, id: Option<i64>| {
        id.and_then(|id| config.row(table, id)?.text("name").map(str::to_owned)).unwrap_or_default()
    };
    let usual = |column: &str| plain.rows("monitor")[0].cell(column).to_string();
    let mut lines = Vec::new();
    for row in config.rows("monitor").iter().skip(1) {
        let cells = COLUMNS.iter().map(|column| (column, row.cell(column).to_string()));
        let cells =
            cells.filter(|(column, value)| !value.is_empty() && (**column == "type" || *value != usual(column)));
        let mut parts: Vec<String> = cells.map(|(column, value)| format!("{column}={value}")).collect();
        let of = |table: &'static str| config.rows(table).iter().filter(|one| one.int("monitor_id") == row.int("id"));
        parts
            .extend(of("monitor_tag").map(|one| {
                format!("tag {}={}", name("tag", one.int("tag_id")), one.text("value").unwrap_or_default())
            }));
        parts.extend(
            of("monitor_notification")
                .map(|one| format!("notification {}", name("notification", one.int("notification_id")))),
        );
        lines.push(format!("  {:?} {}\n", paths[&row.int("id").unwrap()], parts.join(", ")));
    }
    for row in config.rows("notification").iter().skip(1) {
        lines.push(format!("  notification {:?} {}\n", row.text("name").unwrap(), row.text("config").unwrap()));
    }
    for row in config.rows("status_page") {
        lines.push(format!("  status page {:?}\n", row.text("slug").unwrap()));
    }
    lines.sort();
    lines.concat()
}

/// A copy of an instance.
fn copy_of(made: &Made, folder: &Path, number: usize) -> SqliteFile {
    let path = folder.join(format!("{number}.db"));
    let mut writer = made.connect.writer(&WriteKey::for_tests()).unwrap();
    writer.query(&format!("VACUUM INTO '{}'", path.display()), &[]).unwrap();
    SqliteFile::new(path)
}

#[test]
fn every_published_file_gives_its_rows() {
    let made = Made::sqlite("2.5.3".parse().unwrap());
    let plain = serde_json::json!({
        "notifications": [{"name": "ops", "type": "webhook", "config": {"webhookURL": "https://ops.example.com"}}],
        "docker_hosts": [{"name": "local", "docker_type": "socket", "docker_daemon": "/var/run/docker.sock"}],
        "monitors": [{"name": "Plain", "type": "group"}],
    });
    made.apply(&Node::from_json(&At::nowhere("test"), &plain), &ApplyOptions::default());
    let plain = made.config();
    let folder = tempfile::tempdir().unwrap();
    let mut names: Vec<String> =
        fs::read_dir(cases()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut reported = String::new();
    let wishes = ApplyOptions { skip_invalid: true, skip_unsupported: true, ..ApplyOptions::default() };
    for (number, name) in names.iter().enumerate() {
        let read = import(texts(name), &ImportOptions { skip_invalid: true, ..ImportOptions::default() }, &NoSources);
        if let Some(problem) = read.problems.first() {
            reported.push_str(&format!("{name}: refused: {}\n", problem.message));
            continue;
        }
        let database = copy_of(&made, folder.path(), number);
        let config = |database: &SqliteFile| read_config(&mut *database.reader().unwrap(), "test").unwrap();
        let outline = plan_fixture(&config(&database), &read.fixture, &wishes, &mut Counted(0)).unwrap();
        let outline = outline.unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
        let mut writer = database.writer(&WriteKey::for_tests()).unwrap();
        writer.begin().unwrap();
        write_plan(&mut *writer, &plain.database.schema, &outline.plan).unwrap();
        writer.commit().unwrap();
        drop(writer);
        let report = read.remarks.len() + outline.left_out.len();
        reported.push_str(&format!("{name}: {report} in the report\n{}", rows(&config(&database), &plain)));
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/formats/published/rows.txt");
    assert_data_eq!(reported, Data::read_from(&file, None).raw());
}

#[test]
fn a_file_of_which_nothing_is_left_is_an_error() {
    let skip = ImportOptions { skip_invalid: true, ..ImportOptions::default() };
    for (file, text, expected) in [
        ("b.yaml", "monitors: [", "is not valid YAML"),
        ("b.yaml", "{\"a\": 1}", "is in no known format"),
        ("b.yaml", "version: 1\nmonitor: []\n", "unknown key"),
        ("b.json", "{\"a\": 1", "is not valid JSON"),
    ] {
        let good = ("a.yaml".to_owned(), "monitors: [{name: A, type: push}]\n".to_owned());
        let read = import(vec![good, (file.to_owned(), text.to_owned())], &skip, &NoSources);
        assert_eq!((read.problems.len(), read.remarks.len()), (1, 0), "{text}: {:?}", read.problems);
        let given = format!("{}: {}", read.problems[0].subject, read.problems[0].message);
        assert!(given.starts_with(file) && given.contains(expected), "{given}");
    }
    // Of a folder, something is left.
    let options = ImportOptions { in_folders: ["b.yaml".to_owned()].into(), ..skip.clone() };
    let texts = [("a.yaml", "monitors: [{name: A, type: push}]\n"), ("b.yaml", "monitors: [")];
    let found = import(texts.map(|(file, text)| (file.to_owned(), text.to_owned())).into(), &options, &NoSources);
    assert_eq!((found.problems.len(), found.left_out.len()), (0, 1), "{:?}", found.problems);
    let read = read("a.csv", "name,url\nA,mailto:x@y\n", &skip);
    assert_eq!((read.problems.len(), read.left_out.len()), (1, 0), "{:?}", read.problems);
}

#[test]
fn what_is_left_out_is_named_with_all_that_is_wrong_with_it() {
    let skip = ImportOptions { skip_invalid: true, ..ImportOptions::default() };
    let text = "monitors:\n- {name: A, type: push}\n- {name: B, type: push, interval: soon, intervall: 3}\n- {type: group}\n\
                - {name: C, type: push, interval: soon}\n";
    let found = read("a.yaml", text, &skip);
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    let what: Vec<&str> = found.remarks.iter().map(|remark| remark.what.as_str()).collect();
    assert_eq!(what, ["monitor `B`", "monitor `C`"], "{:?}", found.remarks);
    let why = &found.remarks[0].why;
    assert!(why.starts_with("`interval`: ") && why.contains("; `intervall`: is not a field"), "{why}");
    assert_eq!(found.left_out.len(), 2);
    // A line of a table has only a position, which is shown before it.
    let found = read("a.csv", "name,url\nA,https://a\nB,https://b,more\n", &skip);
    assert_eq!((found.remarks[0].what.as_str(), found.left_out.len()), ("", 1), "{:?}", found.remarks);
}
