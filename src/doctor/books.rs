//! Checks of the bookkeeping of 1.x, which the server of 2.x still obeys on SQLite before its own migrations (2.0.0 to
//! 2.5.3): the settings `database_version` and `databasePatchedFiles`.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::evidence::DatabaseContent;
use super::monitors::{set, subject};
use super::{Evidence, Fault, Fix, Subject};
use crate::plan::{Cell, Change, PlanStep};
use crate::schema::{self, Column, EngineKind, Recording, Schema};
use crate::value::{Row, Value};

/// The number of the last schema change of 1.x.
const VERSION: &str = "database_version";

/// The names of the later ones.
const PATCHES: &str = "databasePatchedFiles";

/// Values with which the server applies changes again that the database has, or none at all.
pub(super) fn find_lost_books(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = evidence.database.as_ref().filter(|content| is_sqlite(content)) else { return };
    let Some(recording) = recording(content) else { return };
    let expected: BTreeMap<&str, &str> = recording.settings().collect();
    let (Some(version), Some(patches)) = (expected.get(VERSION), expected.get(PATCHES)) else { return };
    if let Some(what) = wrong_version(content.config.setting(VERSION), version) {
        faults.push(fault(content, VERSION, version, what));
    }
    if let Some(what) = wrong_patches(content.config.setting(PATCHES), recording) {
        faults.push(fault(content, PATCHES, patches, what));
    }
}

fn is_sqlite(content: &DatabaseContent) -> bool {
    content.config.database.engine == EngineKind::Sqlite
}

/// The recording whose bookkeeping is right: any of 2.x, because the upgrade applies all changes of 1.x first; in 1.x
/// the newest with exactly the tables of this database.
fn recording(content: &DatabaseContent) -> Option<&'static Recording> {
    let all = schema::recorded(EngineKind::Sqlite);
    let live = &content.config.database.schema;
    match live.table("knex_migrations") {
        Some(_) => all.last(),
        None => all.iter().rev().filter(|one| one.release.major < 2).find(|one| has_tables_of(live, one.schema())),
    }
}

/// Whether `live` has the tables of `recorded`, with the same columns.
pub(super) fn has_tables_of(live: &Schema, recorded: &Schema) -> bool {
    fn definition(column: &Column) -> (&str, bool, &[String]) {
        (&column.sql_type, column.not_null, &column.choices)
    }
    recorded.tables.iter().all(|(name, table)| {
        live.table(name).is_some_and(|now| {
            let is_same =
                |column: &Column| now.column(&column.name).is_some_and(|other| definition(other) == definition(column));
            table.columns.len() == now.columns.len()
                && table.columns.iter().all(is_same)
                && table.foreign_keys.len() == now.foreign_keys.len()
        })
    })
}

/// What the server makes of the number: it reads the digits at its beginning, and nothing counts as 0.
fn wrong_version(row: Option<&Row>, expected: &str) -> Option<String> {
    let cell = row.map_or(&Value::Null, |row| row.cell("value"));
    let text = cell.to_string();
    let digits: String = text.trim().chars().take_while(char::is_ascii_digit).collect();
    let (found, right) = (digits.parse::<u64>().unwrap_or(0), expected.parse::<u64>().unwrap_or(0));
    let is = match row {
        None => "is missing".to_owned(),
        Some(_) => format!("is {}", super::monitors::shown(cell)),
    };
    match found {
        _ if found == right => None,
        0 => Some(format!(
            "setting `{VERSION}` {is}: at its next start, the server applies the oldest schema changes again, which \
             reduces table `monitor` to 12 columns and deletes the configuration of all monitors"
        )),
        _ if found < right => Some(format!(
            "setting `{VERSION}` {is}, but the tables are those of {right}: the server applies schema changes again, \
             fails with \"table already exists\", and restarts repeatedly"
        )),
        _ => Some(format!("setting `{VERSION}` {is}, but {right} is the last number: no server has written this")),
    }
}

fn wrong_patches(row: Option<&Row>, recording: &Recording) -> Option<String> {
    let fails = "the server applies them again, fails with \"already exists\" or \"duplicate column name\", and \
                 restarts repeatedly";
    let text = row.and_then(|row| row.text("value")).unwrap_or_default();
    let Ok(Json::Object(noted)) = serde_json::from_str::<Json>(text) else {
        let is = if row.is_none() { "is missing" } else { "is not a list of names" };
        return Some(format!("setting `{PATCHES}` {is}, but the tables have all schema changes in it: {fails}"));
    };
    let lost: Vec<String> = recording.patches().into_iter().filter(|name| !noted.contains_key(name)).collect();
    let first = lost.first()?;
    let more = if lost.len() > 1 { format!(" and {} more", lost.len() - 1) } else { String::new() };
    Some(format!("setting `{PATCHES}` does not contain `{first}`{more}, but the tables have these changes: {fails}"))
}

/// Writes the right value of setting `key`; the names of later changes in it are kept by the server itself.
fn fault(content: &DatabaseContent, key: &str, right: &str, what: String) -> Fault {
    let named = format!("setting `{key}`");
    let row = content.config.setting(key);
    let step = match row {
        Some(row) => set("setting", &named, row, &[("value", right.into())]),
        None => PlanStep {
            table: "setting".into(),
            subject: named,
            change: Change::Insert {
                columns: ["key", "value"].map(str::to_owned).into(),
                cells: [key, right].map(|text| Cell::Is(text.into())).to_vec().into(),
            },
        },
    };
    let subject = match row {
        Some(row) => subject("setting", row, "value"),
        None => Subject::column("setting", "value"),
    };
    Fault { subject, what, fix: Fix::Rows(vec![step]) }
}
