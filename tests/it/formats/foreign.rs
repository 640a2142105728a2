//! The files of others as native documents: what is in them, what was left out, what is refused.

use std::fs;
use std::path::Path;

use kumadb::formats::foreign::{Converted, ForeignFormat, SourceFile, convert};
use kumadb::formats::text::{self, Syntax};
use serde_json::Value as Json;
use snapbox::{Data, assert_data_eq, file};

use crate::support::lab::Lab;

/// A text as the import reads it.
pub fn source(file: &str, text: &str) -> SourceFile {
    let syntax = Syntax::of(file).unwrap_or_else(|| Syntax::guess(text));
    let is_lines = Syntax::of(file).is_none() && syntax == Syntax::Yaml;
    let documents = if is_lines { Vec::new() } else { text::read(file, text, syntax, &text::no_files).unwrap() };
    SourceFile { file: file.to_owned(), text: text.to_owned(), documents, problems: Vec::new() }
}

fn fixture(name: &str) -> SourceFile {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/foreign").join(name);
    source(name, &fs::read_to_string(path).unwrap())
}

fn converted(format: ForeignFormat, sources: &[SourceFile]) -> Converted {
    let converted = convert(format, sources);
    assert!(converted.problems.is_empty(), "{:#?}", converted.problems);
    converted
}

/// The document of one text.
fn document(format: ForeignFormat, file: &str, text: &str) -> Json {
    converted(format, &[source(file, text)]).document.json()
}

/// What is wrong with one text, a line each.
fn problems(format: ForeignFormat, file: &str, text: &str) -> String {
    let problems = convert(format, &[source(file, text)]).problems;
    assert!(!problems.is_empty(), "it is refused");
    problems.iter().map(|problem| format!("{}: {}\n", problem.subject, problem.message)).collect()
}

/// What was left out, a line each.
fn skipped(converted: &Converted) -> String {
    converted.remarks.iter().map(|one| format!("{}: {}: {}: {:?}\n", one.at, one.what, one.why, one.outcome)).collect()
}

/// Converts fixtures, which must be guessed, and compares document and skipped with a snapshot.
fn check(format: ForeignFormat, names: &[&str], expected: Data) {
    let sources: Vec<SourceFile> = names.iter().map(|name| fixture(name)).collect();
    for source in &sources {
        assert_eq!(ForeignFormat::guess(source), Some(format), "{}", source.file);
    }
    let converted = converted(format, &sources);
    let document = serde_json::to_string_pretty(&converted.document.json()).unwrap();
    let text = format!("{document}\n\nskipped:\n{}", skipped(&converted));
    assert_data_eq!(text, expected.raw());
}

#[test]
fn a_backup_of_1x_becomes_a_document() {
    check(ForeignFormat::KumaV1, &["kuma-v1.json"], file!["foreign/kuma-v1.txt"]);
}

#[test]
fn a_list_of_monitors_becomes_a_document() {
    check(ForeignFormat::MonitorList, &["monitor-list.json"], file!["foreign/monitor-list.txt"]);
}

#[test]
fn a_list_of_monitors_in_a_wrapper_becomes_a_document() {
    check(ForeignFormat::MonitorList, &["monitor-list-wrapped.json"], file!["foreign/monitor-list-wrapped.txt"]);
}

#[test]
fn entities_of_autokuma_become_one_document() {
    let names = ["autokuma/apps.json", "autokuma/labels.env", "autokuma/stack.json", "autokuma/wiki.toml"];
    check(ForeignFormat::Autokuma, &names, file!["foreign/autokuma.txt"]);
}

#[test]
fn tables_become_a_document() {
    check(ForeignFormat::Kumaconf, &["kumaconf.json"], file!["foreign/kumaconf.txt"]);
}

#[test]
fn a_table_of_monitors_becomes_a_document() {
    check(ForeignFormat::Csv, &["monitors.csv"], file!["foreign/monitors.txt"]);
}

#[test]
fn a_table_of_names_and_addresses_becomes_a_document() {
    check(ForeignFormat::Csv, &["plain.csv"], file!["foreign/plain.txt"]);
}

#[test]
fn exports_of_uptimerobot_become_documents() {
    check(ForeignFormat::UptimeRobot, &["uptimerobot.csv"], file!["foreign/uptimerobot-csv.txt"]);
    check(ForeignFormat::UptimeRobot, &["uptimerobot.json"], file!["foreign/uptimerobot-json.txt"]);
}

#[test]
fn toml_of_a_loader_becomes_a_document() {
    check(ForeignFormat::LoaderToml, &["loader.toml"], file!["foreign/loader.txt"]);
}

#[test]
fn groups_in_yaml_become_a_document() {
    check(ForeignFormat::YamlList, &["groups.yaml"], file!["foreign/groups.txt"]);
}

#[test]
fn lines_become_a_document() {
    check(ForeignFormat::Lines, &["lines.txt"], file!["foreign/lines.txt"]);
}

#[test]
fn a_native_document_is_guessed_as_none() {
    let yaml = "version: 1\ntags: [{name: env}]\nmonitors:\n  - {name: Router, type: ping, hostname: 192.168.1.1}\n";
    let json = r#"{"monitors": [{"name": "Router", "type": "ping", "hostname": "192.168.1.1"}]}"#;
    let toml = "[[monitors]]\nname = \"Router\"\ntype = \"ping\"\nhostname = \"192.168.1.1\"\n";
    let maintenance = "[[maintenance]]\ntitle = \"night\"\nstrategy = \"manual\"\n";
    for (file, text) in [
        ("a.yaml", yaml),
        ("a.json", json),
        ("a.toml", toml),
        ("b.toml", maintenance),
        ("b.yaml", "settings: {entryPage: dashboard}\n"),
        ("c.yaml", "monitors: []\n"),
        ("d.json", "{}"),
        ("e.txt", "nothing that could be known\n"),
        ("f.yaml", "some: {thing: else}\n"),
    ] {
        assert_eq!(ForeignFormat::guess(&source(file, text)), None, "{file}: {text}");
    }
}

#[test]
fn every_format_has_a_name_of_its_own() {
    for format in ForeignFormat::ALL {
        assert_eq!(ForeignFormat::parse(format.name()), Some(format));
    }
    assert_eq!(ForeignFormat::parse("kuma-db"), None);
}

#[test]
fn groups_of_yaml_without_a_list_of_their_own_are_guessed() {
    let text = "Network:\n  interval: 20\n  monitors:\n    - {name: Router, type: ping, hostname: 192.168.1.1}\n";
    assert_eq!(ForeignFormat::guess(&source("a.yaml", text)), Some(ForeignFormat::YamlList));
    let below = "Site:\n  Network:\n    monitors: [ping:192.168.1.1]\n";
    assert_eq!(ForeignFormat::guess(&source("a.yaml", below)), Some(ForeignFormat::YamlList));
    let document = document(ForeignFormat::YamlList, "a.yaml", below);
    assert_eq!(document["monitors"][2]["parent"], "Site/Network");
}

#[test]
fn a_table_from_standard_input_is_guessed_and_read() {
    let piped = source("-", "name,url\nShop,https://shop.example.com\n");
    assert_eq!(ForeignFormat::guess(&piped), Some(ForeignFormat::Csv));
    assert_eq!(converted(ForeignFormat::Csv, &[piped]).document.json()["monitors"][0]["name"], "Shop");
    let robot = source("-", "ID,Type,Status,Friendly Name,URL/IP\n1,HTTP,Up,Shop,https://shop.example.com\n");
    assert_eq!(ForeignFormat::guess(&robot), Some(ForeignFormat::UptimeRobot));
    assert_eq!(converted(ForeignFormat::UptimeRobot, &[robot]).document.json()["monitors"][0]["name"], "Shop");
}

#[test]
fn everything_that_is_wrong_with_a_table_is_reported_at_once() {
    let text = "nam,hostnme,type,url\n,,,\nShop,,http,https://shop.example.com\n,,ping,\n,,,not an address\n";
    let reported = problems(ForeignFormat::Csv, "a.csv", text);
    assert_data_eq!(reported, file!["foreign/problems-csv.txt"].raw());
}

#[test]
fn lines_that_mean_nothing_are_reported_with_their_places() {
    let reported = problems(ForeignFormat::Lines, "hosts.txt", "ping:a\n  tcp:host\nexample.com\nudp:host:53\n");
    assert_data_eq!(reported, file!["foreign/problems-lines.txt"].raw());
}

#[test]
fn slips_in_what_people_write_by_hand_are_reported() {
    let yaml = "intervall: 30\nmonitors:\n  Network:\n    - {name: Router, type: ping, hostnme: a}\n    - {url: ''}\n    - 7\n    - {type: ping}\n  Text: true\n";
    let toml = "title = \"x\"\n[[monitors]]\nname = \"Shop\"\nmetod = \"GET\"\nurl = \"https://shop.example.com\"\n[[monitr]]\n[[docker]]\nname = \"local\"\ndockerDeamon = \"/x\"\n[[maintenance]]\ntitle = \"night\"\nstrategy = \"manual\"\nweekday = [1]\n[[status]]\nslug = \"lab\"\ntitel = \"Lab\"\n";
    let label = "kuma.shop.http.nmae=Shop\nkuma.shop.http.url={{url}}\nkuma.shop.http.interval=1\nkuma.shop.http.interval=2\nkuma.shop.http\n";
    let entity = r#"{"shop": {"url": "https://shop.example.com"}}"#;
    let reported = [
        problems(ForeignFormat::YamlList, "a.yaml", yaml),
        problems(ForeignFormat::LoaderToml, "a.toml", toml),
        problems(ForeignFormat::Autokuma, "a.env", label),
        problems(ForeignFormat::Autokuma, "a.json", entity),
    ];
    assert_data_eq!(reported.concat(), file!["foreign/problems-by-hand.txt"].raw());
}

#[test]
fn broken_exports_are_reported() {
    let reported = [
        problems(ForeignFormat::KumaV1, "a.json", r#"{"version": "1.23.16"}"#),
        problems(
            ForeignFormat::KumaV1,
            "b.json",
            r#"{"monitorList": [{"name": "A"}, {"type": "http"}, {"name": "B", "type": "http", "urll": "x"}],
                "notificationList": [{"id": 1, "name": "ops", "config": "{\"type\""}]}"#,
        ),
        problems(ForeignFormat::MonitorList, "c.json", "7"),
        problems(
            ForeignFormat::UptimeRobot,
            "d.json",
            r#"[{"friendly_name": "A", "type": 4, "url": "a"}, {"type": 1, "colour": 1}]"#,
        ),
        problems(ForeignFormat::Kumaconf, "e.json", r#"{"kumaconf": {}}"#),
        problems(
            ForeignFormat::Kumaconf,
            "f.json",
            r#"{"kumaconf": {}, "tables": {"monitor": {"columns": ["id", "name"], "rows": [[1]]}, "monitr": {"columns": [], "rows": []}}}"#,
        ),
    ];
    assert_data_eq!(reported.concat(), file!["foreign/problems-exports.txt"].raw());
}

#[test]
fn secrets_that_were_left_out_are_refused_until_somebody_writes_them_in() {
    let with = |config: &str, pass: &str| {
        format!(
            r#"{{"kumaconf": {{"secrets_included": false}}, "tables": {{
                "notification": {{"columns": ["id", "name", "config"], "rows": [[1, "ops", {config}]]}},
                "monitor": {{"columns": ["id", "name", "type", "url", "basic_auth_pass"], "rows": [
                    [1, "Shop", "http", "https://shop.example.com", {pass}], [2, "Group", "group", null, null]]}}}},
                "omitted_secrets": ["notification.config", "monitor.basic_auth_pass", "monitor.radius_secret",
                    "proxy.password", "api_key.key", "setting.jwtSecret"]}}"#
        )
    };
    assert_eq!(
        problems(ForeignFormat::Kumaconf, "a.json", &with("null", "null"))
            .lines()
            .map(|line| line.split(": ").nth(1).unwrap())
            .collect::<Vec<_>>(),
        ["`notification.config`", "`monitor.basic_auth_pass`"]
    );
    let supplied = document(ForeignFormat::Kumaconf, "a.json", &with(r#""{\"type\": \"ntfy\"}""#, r#""hunter2""#));
    assert_eq!(supplied["notifications"][0]["type"], "ntfy");
    assert_eq!(supplied["monitors"][1]["basic_auth_pass"], "hunter2");
}

#[test]
fn masked_secrets_are_passed_on_for_others_to_refuse() {
    let text = r#"{"monitorList": [{"id": 1, "name": "A", "type": "http", "url": "https://a", "basic_auth_pass": "********"}]}"#;
    assert_eq!(document(ForeignFormat::KumaV1, "a.json", text)["monitors"][0]["basic_auth_pass"], "********");
}

#[test]
fn an_unknown_type_keeps_every_known_column() {
    let text = r#"[{"id": 1, "name": "A", "type": "quantum", "notificationIDList": {}, "maxredirects": 10, "hostname": "a", "keyword": null}]"#;
    let monitor = &document(ForeignFormat::MonitorList, "a.json", text)["monitors"][0];
    let expected = r#"{"name":"A","type":"quantum","maxredirects":10,"hostname":"a","notifications":[]}"#;
    assert_eq!(monitor.to_string(), expected);
}

#[test]
fn a_group_inside_itself_is_taken_out() {
    let text = r#"[{"id": 1, "name": "A", "type": "group", "parent": 2, "notificationIDList": {}},
        {"id": 2, "name": "B", "type": "group", "parent": 1, "notificationIDList": {}},
        {"id": 3, "name": "C", "type": "push", "parent": 2, "notificationIDList": {}},
        {"id": 4, "name": "D", "type": "push", "parent": 77, "notificationIDList": {}}]"#;
    let converted = converted(ForeignFormat::MonitorList, &[source("a.json", text)]);
    let parents: Vec<Json> =
        converted.document.json()["monitors"].as_array().unwrap().iter().map(|one| one["parent"].clone()).collect();
    assert_eq!(parents, [Json::Null, "A".into(), "A/B".into(), Json::Null]);
    assert_data_eq!(skipped(&converted), file!["foreign/skipped-parents.txt"].raw());
}

#[test]
fn numbers_of_one_file_mean_nothing_in_another() {
    let backup = |name: &str, notification: &str| {
        let text = format!(
            r#"{{"monitorList": [{{"id": 1, "name": "{name}", "type": "push", "notificationIDList": {{"1": true}}}}],
                "notificationList": [{{"id": 1, "name": "{notification}", "config": "{{\"type\": \"ntfy\"}}"}}]}}"#
        );
        source(&format!("{name}.json"), &text)
    };
    let document =
        converted(ForeignFormat::KumaV1, &[backup("A", "ops"), backup("B", "dev"), backup("C", "ops")]).document.json();
    let names: Vec<&Json> =
        document["monitors"].as_array().unwrap().iter().map(|one| &one["notifications"][0]).collect();
    assert_eq!(names, ["ops", "dev", "ops (2)"]);
}

#[test]
fn one_name_has_one_color() {
    let text = r##"{"monitors": [{"id": 1, "name": "A", "type": "push", "notificationIDList": {}}],
        "tags": [{"id": 1, "name": "env", "color": "#111111"}, {"id": 2, "name": "env", "color": "#222222"}]}"##;
    let converted = converted(ForeignFormat::MonitorList, &[source("a.json", text)]);
    assert_eq!(converted.document.json()["tags"].as_array().unwrap().len(), 1);
    assert!(skipped(&converted).contains("tag `env` in #222222"), "{}", skipped(&converted));
}

#[test]
fn values_keep_the_places_they_have_in_the_source() {
    let converted = converted(
        ForeignFormat::Csv,
        &[source("a.csv", "name,url\nDocs,https://docs.example.com\nShop,https://shop.example.com\n")],
    );
    let monitor = &converted.document.find("monitors").unwrap().list()[1];
    assert_eq!(monitor.find("url").unwrap().at.to_string(), "a.csv:3:2");
    assert_eq!(monitor.at.to_string(), "a.csv:3");
}

#[test]
fn thousands_of_the_same_name_are_distinguished_at_once() {
    let lines = "ping:host\n".repeat(5_000);
    let document = converted(ForeignFormat::Lines, &[source("hosts.txt", &lines)]).document;
    let last = document.find("monitors").unwrap().list().last().unwrap().clone();
    assert_eq!(last.find("name").unwrap().text(), Some("host (5000)"));
}

#[test]
fn a_name_that_looks_like_the_next_twin_stays_free_of_it() {
    let document =
        document(ForeignFormat::Csv, "a.csv", "name,url\nA,https://a\nA (2),https://b\nA,https://c\nA,https://d\n");
    let names: Vec<&Json> = document["monitors"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["A", "A (2)", "A (3)", "A (4)"]);
}

/// Every section of the page that has a file and a document beneath it.
#[test]
fn the_examples_in_the_documentation_are_true() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/foreign-formats.md");
    let page = fs::read_to_string(page).unwrap();
    let mut shown = Vec::new();
    for section in page.split("\n## ").skip(1) {
        let Some(name) = section.lines().next().and_then(|line| line.split('`').nth(1)) else { continue };
        let format = ForeignFormat::parse(name).unwrap_or_else(|| panic!("{name} is no format"));
        let blocks: Vec<&str> = section.split("\n```").skip(1).step_by(2).collect();
        let (becomes, files) = blocks.split_last().unwrap();
        let sources: Vec<SourceFile> = files
            .iter()
            .map(|block| {
                let (head, text) = block.split_once('\n').unwrap();
                source(head.split_once(' ').unwrap().1, text)
            })
            .collect();
        for source in &sources {
            assert_eq!(ForeignFormat::guess(source), Some(format), "{}", source.file);
        }
        let text = becomes.split_once('\n').unwrap().1;
        let expected = text::read("docs", text, Syntax::Yaml, &text::no_files).unwrap();
        let expected = expected.first().map(|node| node.json()).unwrap_or_default();
        let found = converted(format, &sources).document.json();
        if let Ok(folder) = std::env::var("KUMADB_DOCS_EXAMPLES") {
            fs::write(Path::new(&folder).join(format!("{name}.json")), found.to_string()).unwrap();
        }
        shown.push((format, expected, found));
    }
    for format in ForeignFormat::ALL {
        assert!(
            shown.iter().any(|(one, ..)| *one == format),
            "docs/foreign-formats.md has no section `{}`",
            format.name()
        );
    }
    let order: Vec<_> = shown.iter().map(|(format, ..)| format.name()).collect();
    assert_eq!(
        order,
        ForeignFormat::ALL.map(ForeignFormat::name),
        "sections of docs/foreign-formats.md have the order of Format::ALL"
    );
    for (format, expected, found) in shown {
        assert_eq!(expected, found, "{}", format.name());
    }
}

#[test]
fn a_value_far_into_a_long_line_knows_its_column() {
    let names: Vec<String> = (0..400).map(|_| "\"ü🐻\"".to_owned()).collect();
    let line = format!("[\n[{}]\n]", names.join(","));
    let read = text::read("a.json", &line, Syntax::Json, &text::no_files).unwrap();
    let columns: Vec<u32> = read[0].list()[0].list().iter().map(|name| name.at.column).collect();
    assert_eq!(columns, (0..400).map(|at| 2 + at * 5).collect::<Vec<u32>>());
}

#[test]
fn a_tag_has_the_color_that_any_of_its_monitors_names() {
    let lab = Lab::sqlite("2.5.3");
    let monitor =
        |id: u32, tag: &str| format!(r#""{id}": {{"id": {id}, "name": "M{id}", "type": "group", "tags": [{tag}]}}"#);
    let list = [
        monitor(1, r#"{"tag_id": 1, "name": "env", "value": "a"}"#),
        monitor(2, r##"{"tag_id": 1, "name": "env", "value": "b", "color": "#123456"}"##),
    ];
    let path = lab.root.path().join("list.json");
    fs::write(&path, format!("{{{}}}", list.join(", "))).unwrap();
    lab.ok(&format!("apply --from monitor-list {} --yes", path.display()));
    assert_eq!(lab.sql("SELECT name, color FROM tag"), "env\t#123456\n");
}
