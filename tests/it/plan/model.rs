//! The model against rows that real servers stored, and every limit with its words. One file above 500 lines, because
//! all of it needs the same few functions that make a monitor out of what is typed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kumadb::engine::EngineKind;
use kumadb::error::{Hint, Problem};
use kumadb::model::fields::FIELDS;
use kumadb::model::kinds::KINDS;
use kumadb::model::{self, NewMonitorContext, ValueShape, field, kind, kinds, nearest, nearest_kind};
use kumadb::schema::{Column, Release, Table, recorded};
use kumadb::value::{Cells, Value};
use proptest::prelude::*;
use serde::Deserialize;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const RELEASES: [&str; 10] =
    ["1.23.17", "2.0.2", "2.1.0", "2.1.3", "2.2.1", "2.3.2", "2.4.0", "2.5.0", "2.5.1", "2.5.3"];
const NEWEST: Release = Release::new(2, 5, 3);

/// What was typed into a real server, and the rows it stored.
#[derive(Deserialize)]
struct Golden {
    common: BTreeMap<String, Value>,
    kinds: BTreeMap<String, GoldenKind>,
}

#[derive(Deserialize)]
struct GoldenKind {
    typed: BTreeMap<String, serde_json::Value>,
    row: BTreeMap<String, Value>,
}

fn golden(release: &str) -> Golden {
    let text = std::fs::read_to_string(format!("{ROOT}/fixtures/golden/{release}.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

impl GoldenKind {
    /// The typed values by column.
    fn values(&self) -> BTreeMap<String, Value> {
        self.typed
            .iter()
            .map(|(name, json)| {
                let field = field(name).unwrap_or_else(|| panic!("no field {name}"));
                (field.column.to_owned(), model::from_json(field, json).unwrap())
            })
            .collect()
    }
}

/// The table `monitor` of a release; `None` where the release does not have the engine.
fn table(release: &str, engine: EngineKind) -> Option<Table> {
    let recording = recorded(engine).iter().find(|recording| recording.release.to_string() == release)?;
    recording.schema().table("monitor").cloned()
}

fn by() -> NewMonitorContext {
    NewMonitorContext {
        user_id: 1,
        push_token: "abcdefghijABCDEFGHIJ0123456789xy".to_owned(),
        ..NewMonitorContext::default()
    }
}

fn release(text: &str) -> Release {
    text.parse().unwrap()
}

/// What somebody types for a working monitor of this type: the golden input, as far as the release has the fields.
fn sample(name: &str, release: Release) -> BTreeMap<String, Value> {
    let kind = kind(name).unwrap();
    let mut values = golden("2.5.3").kinds[name].values();
    values.retain(|column, _| kind.has(column, release));
    values
}

fn make(kind: &str, on: &str, typed: &[(&str, &str)]) -> Result<BTreeMap<String, Value>, Vec<Problem>> {
    let table = table(on, EngineKind::Sqlite).unwrap();
    let mut values = sample(kind, release(on));
    values.insert("name".to_owned(), Value::from("monitor"));
    let mut problems = Vec::new();
    for (column, text) in typed {
        match field(column).filter(|field| field.is_typed()).map(|field| model::parse(field, text)) {
            Some(Ok(value)) => drop(values.insert((*column).to_owned(), value)),
            Some(Err(problem)) => problems.push(problem),
            None => drop(values.insert((*column).to_owned(), Value::from(*text))),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    model::new_monitor(release(on), &table, kind, &values, &by()).map(|row| row.into_iter().collect())
}

#[track_caller]
fn taken(kind: &str, on: &str, typed: &[(&str, &str)]) -> BTreeMap<String, Value> {
    make(kind, on, typed).unwrap_or_else(|problems| panic!("{kind} on {on}: {problems:?}"))
}

fn given(problem: &Problem) -> String {
    let hint = problem.hint.as_ref().map(|hint| format!(" | {}", hint.text())).unwrap_or_default();
    format!("{}: {}{hint}", problem.subject, problem.message)
}

fn is_blessing() -> bool {
    std::env::var("SNAPSHOTS").is_ok_and(|value| value == "overwrite")
}

/// One case a line, `TYPE on RELEASE: column=text; …`, and below it `taken` or what is said.
#[test]
fn says_what_is_wrong_and_what_would_be_right() {
    let path = format!("{ROOT}/fixtures/golden/limits.txt");
    let written = std::fs::read_to_string(&path).unwrap();
    let mut answered = String::new();
    for line in written.lines().filter(|line| !line.starts_with("    ")) {
        writeln!(answered, "{line}").unwrap();
        let Some((head, typed)) = line.split_once(": ").filter(|_| !line.starts_with(['#', '='])) else { continue };
        let (kind, on) = head.split_once(" on ").unwrap();
        let typed = typed.replace("\\t", "\t");
        let typed: Vec<(&str, &str)> = typed.split("; ").map(|pair| pair.split_once('=').unwrap()).collect();
        match make(kind, on, &typed) {
            Ok(_) => writeln!(answered, "    taken").unwrap(),
            Err(problems) => problems.iter().for_each(|problem| writeln!(answered, "    {}", given(problem)).unwrap()),
        }
    }
    if is_blessing() {
        std::fs::write(&path, &answered).unwrap();
    }
    for (line, (desired, found)) in written.lines().zip(answered.lines()).enumerate() {
        assert!(
            is_blessing() || desired == found,
            "limits.txt, line {}: expected `{desired}`, found `{found}`; SNAPSHOTS=overwrite writes the answers",
            line + 1
        );
    }
    assert!(is_blessing() || written.lines().count() == answered.lines().count());
}

#[test]
fn knows_every_column_of_the_newest_release() {
    for engine in [EngineKind::Sqlite, EngineKind::MariaDb] {
        let live: Vec<String> = table("2.5.3", engine).unwrap().columns.into_iter().map(|column| column.name).collect();
        let ours: Vec<&str> = FIELDS.iter().map(|field| field.column).collect();
        let unknown: Vec<_> = live.iter().filter(|name| !ours.contains(&name.as_str())).collect();
        let unrecorded: Vec<_> = ours.iter().filter(|name| !live.iter().any(|one| one == *name)).collect();
        assert!(
            unknown.is_empty() && unrecorded.is_empty() && live.len() == ours.len(),
            "{engine:?}: not in src/model/fields.rs: {unknown:?}; not in the recorded schema (docs/design/releases.md): \
             {unrecorded:?}"
        );
    }
    for on in RELEASES {
        let table = table(on, EngineKind::Sqlite).unwrap();
        for known in FIELDS.iter() {
            assert_eq!(table.column(known.column).is_some(), known.since <= release(on), "{} on {on}", known.column);
        }
    }
}

#[test]
fn gives_texts_the_room_that_mariadb_has() {
    for column in table("2.5.3", EngineKind::MariaDb).unwrap().columns {
        let room = match field(&column.name).unwrap().shape {
            ValueShape::Text(room) => room,
            _ => continue,
        };
        let live = column.sql_type.strip_prefix("varchar(").map(|rest| rest.trim_end_matches(')').parse().unwrap());
        assert!(live.is_none_or(|live: usize| live == room), "{} is {}", column.name, column.sql_type);
    }
}

#[test]
fn has_the_types_of_each_release() {
    let count = |on: &str| kinds(release(on)).count();
    assert_eq!(KINDS.len(), 33);
    assert_eq!(
        (count("1.23.17"), count("2.0.2"), count("2.1.0"), count("2.3.2"), count("2.5.3")),
        (22, 26, 30, 31, 33)
    );
    for on in ["1.23.17", "2.0.2", "2.5.3"] {
        let mut ours: Vec<&str> = kinds(release(on)).map(|kind| kind.name).collect();
        ours.sort_unstable();
        assert_eq!(golden(on).kinds.keys().collect::<Vec<_>>(), ours, "{on}");
    }
    for kind in &KINDS {
        for column in kind.needs.iter().chain(kind.offers.iter().map(|offer| &offer.0)) {
            assert!(field(column).is_some_and(|field| field.column == *column), "{} of {}", column, kind.name);
        }
    }
}

#[test]
fn makes_the_rows_that_real_servers_store() {
    for on in ["1.23.17", "2.0.2", "2.5.3"] {
        let golden = golden(on);
        for engine in [EngineKind::Sqlite, EngineKind::MariaDb] {
            let Some(table) = table(on, engine) else { continue };
            for (name, desired) in &golden.kinds {
                let mut typed = desired.values();
                typed.insert("name".to_owned(), Value::from("monitor"));
                let row = model::new_monitor(release(on), &table, name, &typed, &by())
                    .unwrap_or_else(|problems| panic!("{name} on {on}: {problems:?}"));
                let row: BTreeMap<String, Value> = row.into_iter().collect();
                for (column, common) in &golden.common {
                    let desired = desired.row.get(column).unwrap_or(common);
                    let found = row.get(column).unwrap_or_else(|| panic!("{name} on {on}: no {column}"));
                    // The two engines spell numbers differently, and mean the same.
                    let fits = if engine == EngineKind::Sqlite { found == desired } else { found.same(desired) };
                    assert!(fits, "{name} on {on} ({engine:?}): {column} is {found:?}, the server stores {desired:?}");
                }
                assert_eq!(row["user_id"], Value::Int(1));
                assert_eq!(row["active"], Value::Int(1));
                assert_eq!(row["type"], Value::from(name.as_str()));
                let others = ["active", "user_id", "type", "name"];
                let extra: Vec<&String> = row
                    .keys()
                    .filter(|column| !golden.common.contains_key(*column) && !others.contains(&column.as_str()))
                    .collect();
                assert!(extra.is_empty(), "{name} on {on}: {extra:?}");
            }
        }
    }
}

#[test]
fn makes_every_type_on_every_release_and_engine() {
    for on in RELEASES {
        for engine in [EngineKind::Sqlite, EngineKind::MariaDb] {
            let Some(table) = table(on, engine) else { continue };
            for kind in kinds(release(on)) {
                let row =
                    model::new_monitor(release(on), &table, kind.name, &sample(kind.name, release(on)), &{ by() });
                let row = match (row, kind.name) {
                    (Ok(row), _) => row,
                    // These have nothing to be named after.
                    (Err(problems), _) if problems.iter().all(|problem| problem.subject == "name") => {
                        let mut typed = sample(kind.name, release(on));
                        typed.insert("name".into(), Value::from("monitor"));
                        model::new_monitor(release(on), &table, kind.name, &typed, &by()).unwrap()
                    }
                    (Err(problems), name) => panic!("{name} on {on} ({engine:?}): {problems:?}"),
                };
                for (name, value) in &row {
                    let column = table.column(name).unwrap();
                    assert!(
                        !(column.not_null && value.is_null()),
                        "{} on {on} ({engine:?}): {name} is NULL",
                        kind.name
                    );
                }
                let row_names: Vec<&String> = row.iter().map(|(name, _)| name).collect();
                let left_out: Vec<&str> = table
                    .columns
                    .iter()
                    .filter(|column| !row_names.contains(&&column.name))
                    .map(|column| column.name.as_str())
                    .collect();
                assert_eq!(left_out, ["id", "created_date"], "{} on {on} ({engine:?})", kind.name);
                assert_eq!(model::check_monitor(release(on), kind.name, &row), []);
            }
        }
    }
}

#[test]
fn follows_the_page_of_each_release() {
    let value = |kind: &str, on: &str, column: &str| taken(kind, on, &[])[column].clone();
    let codes = "accepted_statuscodes_json";
    assert_eq!(value("websocket-upgrade", "2.1.3", codes), Value::from("[\"1000\"]"));
    assert_eq!(value("websocket-upgrade", "2.2.1", codes), Value::from("[\"200-299\"]"));
    let domain = "domain_expiry_notification";
    assert_eq!(
        ["2.1.0", "2.1.3", "2.2.1"].map(|on| value("http", on, domain)),
        [Value::Int(1), Value::Int(0), Value::Int(1)]
    );
    assert_eq!(value("kafka-producer", "2.4.0", "timeout"), Value::Real(48.0));
    assert_eq!(value("kafka-producer", "2.5.0", "timeout"), Value::Real(1.0));
    assert_eq!(value("http", "2.2.1", "basic_auth_user"), Value::Null);
    assert_eq!(value("http", "2.3.2", "basic_auth_user"), Value::from(""));
    assert_eq!(value("ping", "1.23.17", "timeout"), Value::Real(48.0));
    assert_eq!((model::push_token_length(release("1.23.17")), model::push_token_length(NEWEST)), (10, 32));
}

#[test]
fn works_out_what_follows_from_the_interval() {
    let row = taken("http", "2.5.3", &[("interval", "31")]);
    assert_eq!((&row["retry_interval"], &row["timeout"]), (&Value::Int(31), &Value::Real(24.8)));
    let row = taken("http", "2.5.3", &[("interval", "600"), ("retry_interval", "30")]);
    assert_eq!((&row["retry_interval"], &row["timeout"]), (&Value::Int(30), &Value::Real(48.0)));
    let row = taken("ping", "2.5.3", &[("timeout", "119.6"), ("ping_count", "100")]);
    assert_eq!((&row["timeout"], &row["interval"]), (&Value::Real(120.0), &Value::Int(132)));
    let row = taken("ntp", "2.5.3", &[]);
    assert_eq!((&row["interval"], &row["retry_interval"]), (&Value::Int(300), &Value::Int(300)));
    let row = taken("globalping", "2.5.3", &[("subtype", "dns"), ("protocol", "udp")]);
    assert_eq!((&row["protocol"], &row["port"]), (&Value::from("UDP"), &Value::Int(53)));
}

#[test]
fn names_a_monitor_after_what_it_checks() {
    let named = |kind: &str, typed: &[(&str, &str)]| {
        let mut all = vec![("name", "")];
        all.extend(typed);
        taken(kind, "2.5.3", &all)["name"].clone()
    };
    assert_eq!(named("ping", &[]), Value::from("192.168.1.1"));
    assert_eq!(named("pm2", &[]), Value::from("api"));
    assert_eq!(
        named("http", &[("url", "https://kuma:secret@shop.example.com:8443/x")]),
        Value::from("shop.example.com")
    );
    assert_eq!(given(&make("group", "2.5.3", &[("name", "")]).unwrap_err()[0]), "name: is required | --name Shop");
}

#[test]
fn takes_the_proxy_and_the_token_of_the_maker() {
    let table = table("2.5.3", EngineKind::Sqlite).unwrap();
    let maker = NewMonitorContext { proxy_id: Some(7), created_date: Some("2026-01-31 08:00:00".into()), ..by() };
    let typed = BTreeMap::from([("name".to_owned(), Value::from("backup"))]);
    let row: BTreeMap<String, Value> =
        model::new_monitor(NEWEST, &table, "push", &typed, &maker).unwrap().into_iter().collect();
    assert_eq!(row["push_token"], Value::from("abcdefghijABCDEFGHIJ0123456789xy"));
    assert_eq!(row["proxy_id"], Value::Int(7));
    assert_eq!(row["created_date"], Value::from("2026-01-31 08:00:00"));
}

#[test]
fn keeps_columns_of_a_newer_server() {
    let mut table = table("2.5.3", EngineKind::Sqlite).unwrap();
    for name in ["sparkle", "glitter"] {
        table.columns.push(Column { name: name.into(), sql_type: "TEXT".into(), ..Column::default() });
    }
    let typed = BTreeMap::from([("name".into(), Value::from("x")), ("sparkle".into(), Value::from("much"))]);
    let row = model::new_monitor(Release::new(2, 6, 0), &table, "group", &typed, &by()).unwrap();
    assert_eq!(row.last(), Some(&("sparkle".to_owned(), Value::from("much"))));
    assert!(!row.iter().any(|(name, _)| name == "glitter"));
}

#[test]
fn takes_a_field_only_where_the_database_has_its_column() {
    let mut table = table("2.5.3", EngineKind::Sqlite).unwrap();
    table.columns.retain(|column| column.name != "ping_count");
    let problems = |value: i64| {
        let mut typed = sample("ping", NEWEST);
        typed.insert("ping_count".into(), Value::Int(value));
        let made = model::new_monitor(NEWEST, &table, "ping", &typed, &by());
        made.err().unwrap_or_default().iter().map(given).collect::<Vec<_>>()
    };
    let missing =
        "ping_count: this database has no column `ping_count`, which belongs to release 2.0.0 | omit `ping_count`";
    assert_eq!(problems(5), [missing]);
    assert_eq!(problems(3), [""; 0], "the default is what the server does");
}

#[test]
fn finds_a_field_by_each_of_its_names() {
    for name in ["ignore_tls", "ignoreTls", "ignore-tls"] {
        assert_eq!(field(name).unwrap().column, "ignore_tls");
    }
    for known in FIELDS.iter() {
        for name in [known.column, known.api, &known.option()] {
            assert_eq!(field(name).map(|found| found.column), Some(known.column), "{name}");
        }
    }
    assert_eq!(field("accepted-statuscodes").unwrap().column, "accepted_statuscodes_json");
    assert_eq!(field("proxy").unwrap().column, "proxy_id");
    assert!(field("url2").is_none());
    let near = ["max_retries", "hostnme", "acceptedStatusCodes", "intervall", "dns_server", "zzz"].map(nearest);
    let desired = [
        Some("maxretries"),
        Some("hostname"),
        Some("accepted_statuscodes_json"),
        Some("interval"),
        Some("dns_resolve_server"),
        None,
    ];
    assert_eq!(near, desired);
    let near =
        ["htpp", "tcp", "postgresql", "mogodb", "ntp", "banana"].map(|name| nearest_kind(name, release("2.0.2")));
    assert_eq!(near, [Some("http"), Some("port"), Some("postgres"), Some("mongodb"), None, None]);
}

#[test]
fn names_types_and_fields_that_are_not_there() {
    let unknown = |kind: &str, on: &str| given(&model::check_monitor(release(on), kind, &Cells::default())[0]);
    assert_eq!(unknown("htp", "2.5.3"), "type: release 2.5.3 has no type `htp` (did you mean `http`?)");
    assert_eq!(
        unknown("ntp", "2.4.0"),
        "type: `ntp` is available since release 2.5.0; this instance is 2.4.0 | upgrade the server to 2.5.0 first"
    );
    assert_eq!(unknown("", "2.5.3"), "type: is required | kumadb monitor add --help");

    let name = |kind: &str, on: &str, column: &str| given(&model::check_names(release(on), kind, [column])[0]);
    assert_eq!(name("http", "2.5.3", "intervall"), "intervall: unknown field (did you mean `interval`?)");
    assert_eq!(name("http", "2.5.3", "zzz"), "zzz: unknown field | kumadb monitor add http --help");
    assert_eq!(name("ping", "2.5.3", "url"), "url: is not a field of type `ping` | kumadb monitor add ping --help");
    assert_eq!(
        name("http", "2.5.3", "hostname"),
        "hostname: is not a field of type `http` | kumadb monitor add http --help"
    );
    assert_eq!(name("http", "2.5.3", "user_id"), "user_id: is only written by the server | omit `user_id`");
    assert_eq!(
        name("http", "2.3.2", "bearer_token"),
        "bearer_token: is available since release 2.4.0; this instance is 2.3.2 | omit `bearer_token`"
    );
    assert_eq!(
        name("websocket-upgrade", "2.2.1", "headers"),
        "headers: is a field of type `websocket-upgrade` since release 2.3.0; this instance is 2.2.1 | omit `headers`"
    );
}

#[test]
fn misses_each_required_field() {
    for kind in &KINDS {
        for column in kind.needs {
            let with_default =
                model::options(kind, NEWEST).iter().any(|option| option.field.column == *column && !option.required);
            let mut typed = sample(kind.name, NEWEST);
            typed.insert("name".into(), Value::from("monitor"));
            typed.remove(*column);
            let row =
                model::new_monitor(NEWEST, &table("2.5.3", EngineKind::Sqlite).unwrap(), kind.name, &typed, &by());
            if with_default {
                assert!(row.is_ok(), "{} without {column}: {row:?}", kind.name);
                typed.insert((*column).to_owned(), Value::from(""));
            }
            let row =
                model::new_monitor(NEWEST, &table("2.5.3", EngineKind::Sqlite).unwrap(), kind.name, &typed, &by());
            let problems = row.unwrap_err();
            let problem = problems.iter().find(|problem| problem.subject == *column).unwrap();
            assert_eq!(problem.message, format!("is required by type `{}`", kind.name));
            let hint = problem.hint.as_ref().unwrap();
            let option = field(column).unwrap().option();
            assert!(hint.text().starts_with(&format!("--{option} ")), "{hint}");
        }
    }
}

#[test]
fn refuses_what_mariadb_would_cut() {
    let cut = |kind: &str, column: &str, letter: &str, times: usize| {
        given(&make(kind, "2.5.3", &[(column, &letter.repeat(times))]).unwrap_err()[0])
    };
    assert_eq!(cut("http", "name", "n", 151), "name: has 151 characters; the maximum is 150");
    assert_eq!(cut("keyword", "keyword", "ä", 256), "keyword: has 256 characters; the maximum is 255");
    assert_eq!(cut("http", "description", "ä", 32_768), "description: has 65,536 bytes; the maximum is 65,535");
    assert_eq!(cut("push", "push_token", "t", 33), "push_token: has 33 characters; the maximum is 32");
    let mut typed = sample("globalping", NEWEST);
    typed.extend(
        [("subtype", "dns"), ("protocol", "UDP"), ("dns_resolve_type", "DNSKEY")]
            .map(|(column, text)| (column.to_owned(), Value::from(text))),
    );
    assert!(
        model::new_monitor(NEWEST, &table("2.5.3", EngineKind::Sqlite).unwrap(), "globalping", &typed, &by()).is_ok()
    );
    let problems =
        model::new_monitor(NEWEST, &table("2.5.3", EngineKind::MariaDb).unwrap(), "globalping", &typed, &by())
            .unwrap_err();
    assert_eq!(problems[0].message, "has 6 characters; the maximum in this MariaDB database is 5");
}

#[test]
fn never_shows_a_secret_in_a_problem() {
    let secret = "hunter2-not-to-be-seen";
    for known in FIELDS.iter().filter(|known| known.secret) {
        for kind in KINDS.iter().filter(|kind| kind.has(known.column, NEWEST)) {
            for text in [secret.to_owned(), format!("{{\"a\": {secret}"), format!("[{secret}"), secret.repeat(4_000)] {
                if let Err(problems) = make(kind.name, "2.5.3", &[(known.column, &text)]) {
                    assert!(!format!("{problems:?}").contains(secret), "{problems:?}");
                }
            }
        }
    }
}

#[test]
fn lets_old_faults_be_in_an_edit_unless_they_hang_the_server() {
    let mut row: Cells = taken("http", "2.5.3", &[]).into_iter().collect();
    let mut set = |column: &str, value: Value| {
        assert!(row.set(column, value));
        row.clone()
    };
    let old = set("interval", Value::Int(0));
    assert_eq!(model::check_edit(NEWEST, "http", &old, &["name"]), []);
    assert_eq!(model::check_edit(NEWEST, "http", &old, &["interval"]).len(), 1);
    assert_eq!(model::check_edit(NEWEST, "http", &old, &["hostname"])[0].message, "is not a field of type `http`");
    let broken = set("conditions", Value::from(""));
    let problems = model::check_edit(NEWEST, "http", &broken, &["name"]);
    assert_eq!(problems[0].message, "is not valid JSON; must be a list");
    assert_eq!(problems[0].hint, Some(Hint::command("--conditions '[]'")));
    let broken = set("conditions", Value::from("null"));
    assert_eq!(model::check_edit(NEWEST, "http", &broken, &["name"])[0].message, "is JSON, but not a list");
    assert_eq!(model::check_edit(NEWEST, "of-the-future", &old, &["name"]), []);
}

#[test]
fn reads_what_people_write() {
    let read = |column: &str, text: &str| model::parse(field(column).unwrap(), text).unwrap();
    assert_eq!(read("ignore_tls", "YES"), Value::Int(1));
    assert_eq!(read("port", " 53 "), Value::Int(53));
    assert_eq!(read("port", ""), Value::Null);
    assert_eq!(read("timeout", "0.5"), Value::Real(0.5));
    assert_eq!(read("accepted_statuscodes_json", "200-299, 301"), Value::from("[\"200-299\",\"301\"]"));
    assert_eq!(read("accepted_statuscodes_json", "[200]"), Value::from("[\"200\"]"));
    assert_eq!(read("kafka_producer_brokers", "a:1,b:2"), Value::from("[\"a:1\",\"b:2\"]"));
    assert_eq!(read("method", "post"), Value::from("POST"));
    assert_eq!(read("parent", "Network"), Value::from("Network"));
    assert_eq!(read("parent", "12"), Value::Int(12));
    assert_eq!(read("url", " https://a.example "), Value::from("https://a.example"));
    assert_eq!(read("auth_method", ""), Value::Null);
    let from = |column: &str, json: serde_json::Value| model::from_json(field(column).unwrap(), &json).unwrap();
    assert_eq!(from("upsideDown", serde_json::json!(true)), Value::Int(1));
    assert_eq!(from("accepted_statuscodes", serde_json::json!(["200-299", 301])), Value::from("[\"200-299\",\"301\"]"));
    assert_eq!(from("headers", serde_json::json!({"A": "b"})), Value::from("{\n    \"A\": \"b\"\n}"));
    assert_eq!(from("expectedValue", serde_json::json!(1.5)), Value::from("1.5"));
    assert_eq!(from("snmpVersion", serde_json::json!(1)), Value::from("1"));
    assert!(model::from_json(field("interval").unwrap(), &serde_json::json!(true)).is_err());
    assert!(model::from_json(field("url").unwrap(), &serde_json::json!([1])).is_ok_and(|value| value.text().is_some()));
    let headers = field("headers").unwrap();
    assert!(model::same(headers, &Value::from("{\"A\":1}"), &Value::from("{\n  \"A\": 1 }")));
    assert!(!model::same(field("body").unwrap(), &Value::from("{}"), &Value::from("{ }")));
}

/// Values that a field of this shape can hold.
fn value_of(shape: ValueShape) -> BoxedStrategy<Value> {
    let texts = || proptest::collection::vec("[^\0]{0,12}", 0..4);
    match shape {
        ValueShape::Flag => any::<bool>().prop_map(Value::from).boxed(),
        ValueShape::Whole(least, most) => (least..=most).prop_map(Value::Int).boxed(),
        ValueShape::Real => (0.0..1e9f64).prop_map(Value::Real).boxed(),
        ValueShape::Reference(_) => any::<i64>().prop_map(Value::Int).boxed(),
        ValueShape::Choice(picks) => (0..picks.len()).prop_map(move |at| Value::from(picks[at].value)).boxed(),
        ValueShape::StatusCodes | ValueShape::Texts => {
            texts().prop_map(|items| Value::from(serde_json::json!(items).to_string())).boxed()
        }
        ValueShape::Array => texts().prop_map(|items| Value::from(serde_json::json!([items]).to_string())).boxed(),
        ValueShape::Object => {
            texts().prop_map(|items| Value::from(serde_json::json!({"a": items}).to_string())).boxed()
        }
        _ => "[^\0]{0,40}".prop_map(Value::from).boxed(),
    }
}

proptest! {
    #[test]
    fn reads_back_what_it_renders((at, value) in (0..FIELDS.len())
        .prop_filter("typed", |at| FIELDS[*at].is_typed())
        .prop_flat_map(|at| (Just(at), value_of(FIELDS[at].shape))))
    {
        let known = &FIELDS[at];
        let value = match &value {
            Value::Text(text) if known.trimmed => Value::from(text.trim()),
            _ => value,
        };
        let read = model::parse(known, &model::render(known, &value));
        prop_assert_eq!(read, Ok(value), "{}", known.column);
    }

    #[test]
    fn never_panics_on_text(at in 0..FIELDS.len(), text in any::<String>()) {
        let _ = model::parse(&FIELDS[at], &text);
        let _ = nearest(&text);
        if FIELDS[at].is_typed() {
            for kind in KINDS.iter().filter(|kind| kind.has(FIELDS[at].column, NEWEST)).take(2) {
                let row = Cells::from_iter([(FIELDS[at].column.to_owned(), Value::from(text.as_str()))]);
                let _ = model::check_monitor(NEWEST, kind.name, &row);
            }
        }
    }
}

/// The beginning of docs/monitor-types.md.
const FRAME: &str = r#"# Monitor types

```sh
kumadb monitor add http      --name Shop     --url https://shop.example.com
kumadb monitor add ping      --name Router   --hostname 192.168.1.1
kumadb monitor add port      --name SSH      --hostname 192.168.1.10 --port 22
kumadb monitor add dns       --name Resolver --hostname example.com --dns-resolve-server 1.1.1.1 --dns-resolve-type A
kumadb monitor add docker    --name Web      --docker-host cellar --docker-container web
kumadb monitor add mqtt      --name Sensors  --hostname mqtt.lan --port 1883 --mqtt-topic sensors/alive
kumadb monitor add grpc-keyword --name Api   --grpc-url api.lan:50051 --grpc-service-name Health --grpc-method check \
    --grpc-protobuf "$(cat health.proto)" --grpc-body '{"key": "value"}' --keyword SERVING
kumadb monitor add radius    --name Radius   --hostname radius.lan --port 1812 --radius-secret "$SECRET" \
    --radius-username probe --radius-password "$PASSWORD" --radius-called-station-id 1 --radius-calling-station-id 2
kumadb monitor add sqlserver --name Orders   --database-connection-string "$MSSQL" --database-query 'SELECT 1'
kumadb monitor add postgres  --name Users    --database-connection-string "$PG"    --database-query 'SELECT 1'
kumadb monitor add mysql     --name Stock    --database-connection-string "$MYSQL" --database-query 'SELECT 1'
```

A new monitor has the same values as in the Add page of the web UI: the defaults of the release, the default notifications
(`--notification NAME` selects others, `--no-notifications` selects none), the default proxy, and a push token. To show the options of one type,
run `kumadb monitor add TYPE --help`.

In a [fixture](fixtures.md) (a YAML, JSON or TOML file that describes monitors), the same fields are keys, with underscores instead of dashes:
`--dns-resolve-server 1.1.1.1` is `dns_resolve_server: 1.1.1.1`. The keys are the names of the columns, except `accepted_statuscodes` and
`proxy`; their columns `accepted_statuscodes_json` and `proxy_id` also work as keys. Boolean values are `true` or `false`, lists and maps are
written as lists and maps, and references to other resources use their names.

Options in **bold** are required. The defaults are those of the Add page of the web UI in 2.5.3. This page is generated from the tables in
`src/model`: `SNAPSHOTS=overwrite cargo test --test it model`.

## Every type

"#;

/// docs/monitor-types.md, generated from the tables.
fn reference() -> String {
    let mut text = String::from(FRAME);
    let row = |text: &mut String, option: &model::FieldOption| {
        let name = format!("`--{}`", option.field.option());
        let name = if option.required { format!("**{name}**") } else { name };
        let default = option.default.as_ref().map(|default| format!("`{default}`")).unwrap_or_default();
        let since = if option.field.since.major < 2 { String::new() } else { option.field.since.to_string() };
        let choices: Vec<String> = option.choices.iter().map(|choice| format!("`{choice}`")).collect();
        let choices = if choices.is_empty() { String::new() } else { format!(": {}", choices.join(", ")) };
        writeln!(text, "| {name} | {}{choices} | {default} | {since} |", option.field.help).unwrap();
    };
    const HEAD: &str = "| option | description | default | since |\n|---|---|---|---|\n";
    text += HEAD;
    for option in model::options(kind("group").unwrap(), NEWEST) {
        row(&mut text, &option);
    }
    for kind in &KINDS {
        write!(text, "\n## {}\n\n{}, {}", kind.name, kind.title, kind.section.title().to_lowercase()).unwrap();
        if kind.since.major >= 2 {
            write!(text, ", since {}", kind.since).unwrap();
        }
        text += ".";
        if !kind.note.is_empty() {
            write!(text, " Note: {}.", kind.note).unwrap();
        }
        text += "\n";
        let own: Vec<_> = model::options(kind, NEWEST)
            .into_iter()
            .filter(|option| !model::kinds::COMMON.contains(&option.field.column))
            .collect();
        if !own.is_empty() {
            text += "\n";
            text += HEAD;
        }
        for option in own {
            row(&mut text, &option);
        }
    }
    text
}

#[test]
fn the_reference_of_types_is_up_to_date() {
    let path = format!("{ROOT}/docs/monitor-types.md");
    let desired = reference();
    if is_blessing() {
        std::fs::write(&path, &desired).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == desired, "docs/monitor-types.md is out of date: run with SNAPSHOTS=overwrite");
}
