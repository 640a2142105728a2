//! What no item of a fixture contains: tables and columns of another server, and rows of items that do not exist.

use std::collections::BTreeSet;

use super::ExportChoice;
use crate::model::entities::{ENTITIES, Entity};
use crate::model::state::ConfigRows;
use crate::schema::{self, Schema};
use crate::text::counted;

/// The rows and cells of `config` that an export of `choice` leaves out, in words.
pub(super) fn left_out(config: &ConfigRows, choice: &ExportChoice) -> Vec<String> {
    // A selection of monitors is not a complete export anyway.
    if choice.monitors.is_some() {
        return Vec::new();
    }
    let is_chosen = |entity: &&Entity| choice.kinds.is_empty() || choice.kinds.contains(entity.key);
    let chosen: Vec<&Entity> = ENTITIES.into_iter().filter(is_chosen).collect();
    let mut found = Vec::new();
    for entity in &chosen {
        orphans(entity, config, &mut found);
    }
    let release = config.database.release.release;
    let recorded = schema::recorded(config.database.engine).iter().rev().find(|one| one.release <= release);
    let recorded = recorded.map(schema::Recording::schema).cloned().unwrap_or_default();
    for entity in &chosen {
        columns(entity, config, &recorded, &mut found);
    }
    if choice.kinds.is_empty() {
        tables(config, &recorded, &mut found);
    }
    found
}

/// Parts of items that do not exist.
fn orphans(entity: &Entity, config: &ConfigRows, found: &mut Vec<String>) {
    let items: BTreeSet<i64> = config.rows(entity.table).iter().filter_map(|row| row.int("id")).collect();
    for part in entity.parts {
        let is_orphan = |owner: Option<i64>| owner.is_none_or(|owner| !items.contains(&owner));
        let rows = config.rows(part.table).iter().filter(|row| is_orphan(row.int(part.owner)));
        match (part.table, rows.clone().count()) {
            (_, 0) => {}
            // A group has a name.
            ("group", _) => found.extend(rows.map(|row| {
                format!("group `{}` belongs to no status page: left out", row.text("name").unwrap_or_default())
            })),
            (table, n) => found.push(format!(
                "{} of `{table}` {} to no {}: left out",
                counted(n, "row"),
                if n == 1 { "belongs" } else { "belong" },
                entity.noun
            )),
        }
        orphans(part, config, found);
    }
}

/// Columns that no release has, with anything in them.
fn columns(entity: &Entity, config: &ConfigRows, recorded: &Schema, found: &mut Vec<String>) {
    let live = config.database.schema.table(entity.table);
    for column in live.into_iter().flat_map(|table| &table.columns) {
        let name = column.name.as_str();
        let is_known = recorded.has(entity.table, name) || entity.fields.iter().any(|field| field.column == name);
        let cells = config.rows(entity.table).iter().filter(|row| !row.cell(name).is_nothing()).count();
        if !is_known && cells > 0 {
            let table = entity.table;
            found.push(format!("column `{name}` of `{table}` is unknown: {} left out", counted(cells, "value")));
        }
    }
    entity.parts.iter().for_each(|part| columns(part, config, recorded, found));
}

/// Tables that no release has, with rows.
fn tables(config: &ConfigRows, recorded: &Schema, found: &mut Vec<String>) {
    for table in config.database.schema.tables.keys().filter(|table| recorded.table(table).is_none()) {
        match config.rows(table).len() {
            0 => {}
            n => found.push(format!("table `{table}` is unknown: {} left out", counted(n, "row"))),
        }
    }
}
