//! docs/fixtures.md: its tables are those of `src/model/entities.rs`, and its examples can be read.

use std::fmt::Write as _;

use kumadb::engine::EngineKind;
use kumadb::formats::Lookup;
use kumadb::formats::native::read_fixture;
use kumadb::formats::text::{self, Syntax};
use kumadb::model::ValueShape;
use kumadb::model::entities::{ENTITIES, Entity, SERVER_SETTINGS};
use kumadb::model::fields::Field;
use kumadb::schema::{Release, Schema, recorded};
use kumadb::value::Value;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/fixtures.md");
const START: &str = "<!-- tables -->\n";
const END: &str = "<!-- /tables -->";

fn since(release: Release) -> String {
    if release.major < 2 { String::new() } else { release.to_string() }
}

/// What a document calls a field.
fn name(field: &Field) -> String {
    match (field.column, field.shape) {
        ("is_default", _) => "default".to_owned(),
        ("tag_id" | "notification_id", _) => "name".to_owned(),
        (_, ValueShape::Reference(_)) => field.option().replace('-', "_"),
        (column, _) => column.to_owned(),
    }
}

fn is_required(entity: &Entity, field: &Field, schema: &Schema) -> bool {
    // Of these the schema does not say it.
    let also = [("proxy", "port"), ("user", "password"), ("incident", "content"), ("notification", "type")];
    let live = schema.table(entity.table).and_then(|table| table.column(field.column));
    let needed = live.is_some_and(|live| live.not_null && live.default.is_none())
        || also.contains(&(entity.table, field.column));
    let default: Value = entity.default(field.column).into();
    // A key that is not given is made.
    field.column == entity.name || needed && default.is_null() && entity.table != "api_key"
}

fn default(entity: &Entity, field: &Field) -> String {
    let value: Value = entity.default(field.column).into();
    match (field.shape, value) {
        (_, Value::Null) => String::new(),
        (ValueShape::Flag, value) => format!("`{}`", value.truthy()),
        (_, value) if value.text() == Some("") => String::new(),
        (_, value) => format!("`{value}`"),
    }
}

fn table(text: &mut String, entity: &Entity, schema: &Schema) {
    text.push_str("\n| field | description | default | since |\n|---|---|---|---|\n");
    for field in entity.fields {
        let shown = format!("`{}`", name(field));
        let shown = if is_required(entity, field, schema) { format!("**{shown}**") } else { shown };
        let choices = match field.shape {
            ValueShape::Choice(picks) => {
                let picks: Vec<String> = picks.iter().map(|pick| format!("`{}`", pick.value)).collect();
                format!(": {}", picks.join(", "))
            }
            _ => String::new(),
        };
        let (default, since) = (default(entity, field), since(field.since));
        writeln!(text, "| {shown} | {}{choices} | {default} | {since} |", field.help).unwrap();
    }
}

fn parts(text: &mut String, entity: &Entity, path: &str, schema: &Schema) {
    for part in entity.parts {
        let path = format!("{path}[].{}", part.key);
        write!(text, "\n### {path}\n").unwrap();
        if part.short {
            let name = part.fields.iter().find(|field| field.column == part.name).map(name).unwrap();
            let short = if part.fields.len() > 1 {
                format!("If only `{name}` is set, the value can be written instead of the map.")
            } else {
                format!("The value of `{name}` can be written instead of a map.")
            };
            write!(text, "\n{short}\n").unwrap();
        }
        table(text, part, schema);
        parts(text, part, &path, schema);
    }
}

fn tables() -> String {
    let newest = recorded(EngineKind::Sqlite).iter().max_by_key(|recording| recording.release).unwrap();
    let schema = newest.schema();
    let mut text = String::from(
        "\nThese tables are generated from `src/model/entities.rs`: `SNAPSHOTS=overwrite cargo test --test it fixture_tables`.\n",
    );
    for entity in ENTITIES {
        write!(text, "\n### {}\n", entity.key).unwrap();
        if entity.since.major >= 2 {
            write!(text, "\nSince {}.\n", entity.since).unwrap();
        }
        match entity.key {
            "settings" => {
                let own: Vec<String> = SERVER_SETTINGS.iter().map(|key| format!("`{key}`")).collect();
                write!(
                    text,
                    "\nA map of names and values: `settings: {{keepDataPeriodDays: 180}}`. A setting that is not in the fixture \
                     does not change. The server\nmanages the following settings itself; they cannot be set: {}.\n",
                    own.join(", ")
                )
                .unwrap();
            }
            "monitors" => text.push_str("\nSee [monitor-types.md](monitor-types.md).\n"),
            _ => table(&mut text, entity, schema),
        }
        parts(&mut text, entity, entity.key, schema);
    }
    text.push('\n');
    text
}

#[test]
fn the_tables_of_fixtures_are_up_to_date() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(START).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    let desired = tables();
    if std::env::var("SNAPSHOTS").is_ok_and(|value| value == "overwrite") {
        std::fs::write(PAGE, format!("{before}{START}{desired}{END}{after}")).unwrap();
        return;
    }
    assert!(written == desired, "docs/fixtures.md is not what the tables say: run with SNAPSHOTS=overwrite");
}

/// Whatever is asked for is there.
struct Everywhere;

impl Lookup for Everywhere {
    fn variable(&self, _name: &str) -> Option<String> {
        Some("value".into())
    }

    fn file(&self, _from: &str, _path: &str) -> Result<String, String> {
        Ok("text\n".into())
    }
}

fn check(file: &str, yaml: &str) {
    let included = |_: &str| Ok("{name: Router, type: ping, hostname: 192.168.1.1}".to_owned());
    let documents = text::read(file, yaml, Syntax::Yaml, &included).unwrap_or_else(|problem| panic!("{problem:?}"));
    let fixture = read_fixture(&documents, &Everywhere).unwrap_or_else(|problems| panic!("{problems:?}\n{yaml}"));
    assert!(!fixture.things.is_empty(), "asks for nothing:\n{yaml}");
}

#[test]
fn every_example_can_be_read() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let blocks: Vec<&str> = page.split("\n```yaml\n").skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect();
    assert!(blocks.len() > 5);
    blocks.into_iter().for_each(|block| check("fixtures.md", block));
    let tour = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tour.yaml")).unwrap();
    check("tour.yaml", &tour);
}
