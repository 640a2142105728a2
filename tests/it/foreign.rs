//! The files of others as native documents: what is in them, what was left out, what is refused.

use std::fs;
use std::path::Path;

use kumadb::formats::foreign::{Converted, Format, Source, convert};
use kumadb::formats::text::{self, Syntax};
use serde_json::Value as Json;
use snapbox::{Data, assert_data_eq, file};

/// A text as the import reads it.
fn source(file: &str, text: &str) -> Source {
    let syntax = Syntax::of(file).unwrap_or_else(|| Syntax::guess(text));
    let is_lines = Syntax::of(file).is_none() && syntax == Syntax::Yaml;
    let documents = match is_lines {
        true => Vec::new(),
        false => text::read(file, text, syntax, &text::no_files).unwrap(),
    };
    Source { file: file.to_owned(), text: text.to_owned(), documents }
}

fn fixture(name: &str) -> Source {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/foreign").join(name);
    source(name, &fs::read_to_string(path).unwrap())
}

fn converted(format: Format, sources: &[Source]) -> Converted {
    convert(format, sources).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// The document of one text.
fn document(format: Format, file: &str, text: &str) -> Json {
    converted(format, &[source(file, text)]).document.json()
}

/// What is wrong with one text, a line each.
fn problems(format: Format, file: &str, text: &str) -> String {
    let problems = convert(format, &[source(file, text)]).expect_err("it is refused");
    problems.iter().map(|problem| format!("{}: {}\n", problem.subject, problem.message)).collect()
}

/// What was left out, a line each.
fn skipped(converted: &Converted) -> String {
    converted.skipped.iter().map(|one| format!("{}: {}: {}\n", one.at, one.what, one.why)).collect()
}

/// Converts fixtures, which must be guessed, and compares document and skipped with a snapshot.
fn check(format: Format, names: &[&str], expected: Data) {
    let sources: Vec<Source> = names.iter().map(|name| fixture(name)).collect();
    for source in &sources {
        assert_eq!(Format::guess(source), Some(format), "{}", source.file);
    }
    let converted = converted(format, &sources);
    let document = serde_json::to_string_pretty(&converted.document.json()).unwrap();
    let text = format!("{document}\n\nskipped:\n{}", skipped(&converted));
    assert_data_eq!(text, expected.raw());
}

#[test]
fn a_backup_of_1x_becomes_a_document() {
    check(Format::KumaV1, &["kuma-v1.json"], file!["foreign/kuma-v1.txt"]);
}

#[test]
fn a_list_of_monitors_becomes_a_document() {
    check(Format::MonitorList, &["monitor-list.json"], file!["foreign/monitor-list.txt"]);
}

#[test]
fn a_list_of_monitors_in_a_wrapper_becomes_a_document() {
    check(Format::MonitorList, &["monitor-list-wrapped.json"], file!["foreign/monitor-list-wrapped.txt"]);
}

#[test]
fn entities_of_autokuma_become_one_document() {
    let names = ["autokuma/apps.json", "autokuma/labels.env", "autokuma/stack.json", "autokuma/wiki.toml"];
    check(Format::Autokuma, &names, file!["foreign/autokuma.txt"]);
}

#[test]
fn tables_become_a_document() {
    check(Format::Kumaconf, &["kumaconf.json"], file!["foreign/kumaconf.txt"]);
}

#[test]
fn a_table_of_monitors_becomes_a_document() {
    check(Format::Csv, &["monitors.csv"], file!["foreign/monitors.txt"]);
}

#[test]
fn a_table_of_names_and_addresses_becomes_a_document() {
    check(Format::Csv, &["plain.csv"], file!["foreign/plain.txt"]);
}

#[test]
fn exports_of_uptimerobot_become_documents() {
    check(Format::UptimeRobot, &["uptimerobot.csv"], file!["foreign/uptimerobot-csv.txt"]);
    check(Format::UptimeRobot, &["uptimerobot.json"], file!["foreign/uptimerobot-json.txt"]);
}

#[test]
fn toml_of_a_loader_becomes_a_document() {
    check(Format::LoaderToml, &["loader.toml"], file!["foreign/loader.txt"]);
}

#[test]
fn groups_in_yaml_become_a_document() {
    check(Format::YamlList, &["groups.yaml"], file!["foreign/groups.txt"]);
}

#[test]
fn lines_become_a_document() {
    check(Format::Lines, &["lines.txt"], file!["foreign/lines.txt"]);
}
