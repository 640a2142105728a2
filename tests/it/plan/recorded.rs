//! What the model fills in, against what the pages of real servers send, and what they store for everything but monitors.

use std::collections::BTreeMap;
use std::fs;

use kumadb::engine::EngineKind;
use kumadb::model::defaults::{page_default, template};
use kumadb::model::{self, field, kinds};
use kumadb::schema::{Release, recorded};
use kumadb::value::Value;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::support::lab::Lab;

const RELEASES: [&str; 3] = ["1.23.17", "2.0.2", "2.5.3"];

#[derive(Deserialize)]
struct Golden {
    page: Page,
    entities: BTreeMap<String, Vec<Case>>,
}

#[derive(Deserialize)]
struct Page {
    common: Map<String, Json>,
    kinds: BTreeMap<String, Map<String, Json>>,
}

#[derive(Deserialize)]
struct Case {
    typed: Map<String, Json>,
    row: Map<String, Json>,
}

fn golden(release: &str) -> Golden {
    let path = format!("{}/fixtures/golden/{release}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// What the page of `release` sends for a monitor of type `kind`, by column; what it only shows as an example is left out.
fn sent(page: &Page, kind: &str) -> BTreeMap<String, Value> {
    let own = page.kinds.get(kind).into_iter().flatten();
    let named: BTreeMap<&String, &Json> = page.common.iter().chain(own).collect();
    let values = named.into_iter().map(|(name, json)| {
        let field = field(name).unwrap_or_else(|| panic!("no field {name}"));
        (field.column.to_owned(), model::from_json(field, json).unwrap())
    });
    let is_example =
        |column: &str, value: &Value| column == "database_connection_string" && value.text() == template(column, kind);
    values.filter(|(column, value)| !is_example(column, value)).collect()
}

#[test]
fn fills_in_what_the_pages_send() {
    for on in RELEASES {
        let golden = golden(on);
        let release: Release = on.parse().unwrap();
        let recording = recorded(EngineKind::Sqlite).iter().find(|one| one.release == release).unwrap();
        let schema = recording.schema();
        let table = schema.table("monitor").unwrap();
        for kind in kinds(release) {
            let sent = sent(&golden.page, kind.name);
            for column in &table.columns {
                let ours = page_default(&column.name, kind.name, release);
                let theirs = sent.get(&column.name);
                let is_equal = match (&ours, theirs) {
                    (Some(ours), Some(theirs)) => ours.same(theirs),
                    (None, None) => true,
                    _ => false,
                };
                assert!(is_equal, "{} on {on}, {}: {ours:?}, the page sends {theirs:?}", kind.name, column.name);
            }
        }
    }
}

/// A fixture with everything that was typed; an incident belongs to the first status page.
fn fixture(golden: &Golden) -> Json {
    let typed = |key: &str| -> Vec<Json> {
        let cases = golden.entities.get(key).into_iter().flatten();
        cases.map(|case| Json::Object(case.typed.clone())).collect()
    };
    let mut all: Map<String, Json> = golden.entities.keys().map(|key| (key.clone(), typed(key).into())).collect();
    let incidents = all.remove("incidents").unwrap();
    all["status_pages"][0]["incidents"] = incidents;
    all.into()
}

/// The rows of the table of `key`, the oldest first.
fn rows(lab: &Lab, table: &str) -> Vec<Map<String, Json>> {
    let columns = lab.sql(&format!(
        "SELECT group_concat('''' || name || ''', \"' || name || '\"') FROM pragma_table_info('{table}')"
    ));
    let rows = lab.sql(&format!("SELECT json_object({}) FROM \"{table}\" ORDER BY rowid", columns.trim()));
    rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect()
}

#[test]
fn stores_what_the_server_stores() {
    for on in RELEASES {
        let golden = golden(on);
        let lab = Lab::sqlite(on);
        let file = lab.root.path().join("typed.json");
        fs::write(&file, fixture(&golden).to_string()).unwrap();
        lab.ok(&format!("apply {} --yes", file.display()));
        for (key, cases) in &golden.entities {
            let table = match key.as_str() {
                "incidents" => "incident",
                _ => model::entities::entity(key).unwrap().table,
            };
            let stored = rows(&lab, table);
            assert_eq!(stored.len(), cases.len(), "{key} on {on}");
            for (stored, case) in stored.iter().zip(cases) {
                for (column, theirs) in &case.row {
                    let ours = &stored[column];
                    assert!(
                        is_same(column, ours, theirs),
                        "{key} on {on}, {column}: {ours}, the server stores {theirs}"
                    );
                }
            }
        }
    }
}

/// Whether both mean the same to the server.
fn is_same(column: &str, ours: &Json, theirs: &Json) -> bool {
    match column {
        // The page of 2.0 and before leaves it empty, and the server reads both as its own time zone.
        "timezone" if theirs.is_null() => ours == "SAME_AS_SERVER",
        // Keys of the page itself are stored with those of the provider.
        "config" => {
            let [ours, theirs] =
                [ours, theirs].map(|text| serde_json::from_str::<Map<String, Json>>(text.as_str().unwrap()).unwrap());
            theirs.iter().all(|(key, value)| key == "applyExisting" || ours.get(key) == Some(value))
        }
        _ => ours == theirs,
    }
}
