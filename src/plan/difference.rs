//! Compares two configurations field by field: what a restore would change. For display only.

use std::collections::{HashMap, HashSet};

use super::{Assignment, Cell, Change, Plan, PlanStep};
use crate::model::entities::{ENTITIES, Entity, entity_of, is_secret_setting};
use crate::model::fields::ValueShape;
use crate::model::state::ConfigRows;
use crate::model::view::{canonical, existing_name, existing_names};
use crate::value::{Row, Value};

/// The changes from `now` to `then`, table by table, without the columns for which `skips` is true: those that the
/// server updates itself. A part with another id, the same owner and the same name is the same part: the server deletes and
/// inserts links again whenever their owner is saved.
pub fn difference(now: &ConfigRows, then: &ConfigRows, skips: &dyn Fn(&str, &str) -> bool) -> Plan {
    let (here, there) = (Names::of(now), Names::of(then));
    let mut plan = Plan::default();
    // Parts of a created or deleted object are created or deleted with it.
    let mut moved: HashSet<(&str, i64)> = HashSet::new();
    // Parts that have another id then.
    let mut renumbered: HashMap<(&str, i64), i64> = HashMap::new();
    for (table, entity, parent) in tables(now, then) {
        let owner_id = |row: &Row| row.int(entity?.owner);
        let owner = |row: &Row| Some((parent?, owner_id(row)?));
        let mut gone: Vec<(i64, &Row)> = Vec::new();
        for (id, old) in rows(now, table) {
            match counterpart(then, table, id, old) {
                Some(new) => {
                    let subject = there.subject(table, entity, parent, new);
                    plan.update(table, subject, id, changed(table, entity, old, new, skips));
                }
                None if owner(old).is_some_and(|owner| moved.contains(&owner)) => {
                    moved.insert((table, id));
                }
                None => gone.push((id, old)),
            }
        }
        let mut new_rows: Vec<(i64, &Row)> =
            rows(then, table).filter(|(id, new)| counterpart(now, table, *id, new).is_none()).collect();
        if let (Some(entity), Some(parent)) = (entity, parent) {
            for (id, new_id, old, new) in same_parts(entity, parent, &mut gone, &mut new_rows, &renumbered) {
                renumbered.insert((table, id), new_id);
                let mut set = changed(table, Some(entity), old, new, skips);
                set.retain(|cell| cell.column != "id" && cell.column != entity.owner);
                plan.update(table, there.subject(table, Some(entity), Some(parent), new), id, set);
            }
        }
        for (id, old) in gone {
            moved.insert((table, id));
            plan.delete(table, here.subject(table, entity, parent, old), ("id", id), 1);
        }
        for (id, new) in new_rows {
            let with_owner = owner(new).is_some_and(|owner| moved.contains(&owner));
            moved.insert((table, id));
            if !with_owner {
                let change = Change::Insert { columns: [].into(), cells: Vec::new().into() };
                plan.steps.push(PlanStep {
                    table: table.into(),
                    subject: there.subject(table, entity, parent, new),
                    change,
                });
            }
        }
    }
    plan
}

/// The row of `config` that is the same object as `row`. A setting is its key: releases give it another id.
fn counterpart<'c>(config: &'c ConfigRows, table: &str, id: i64, row: &Row) -> Option<&'c Row> {
    match table {
        "setting" => config.rows(table).iter().find(|other| other.cell("key").same(row.cell("key"))),
        _ => config.row(table, id),
    }
}

/// Takes the parts out of `gone` and `new_rows` that are the same: first those that are the same in everything, then those of
/// which only a value differs. Returns the id before and after, and the rows.
fn same_parts<'r>(
    entity: &Entity,
    parent: &'static str,
    gone: &mut Vec<(i64, &'r Row)>,
    new_rows: &mut Vec<(i64, &'r Row)>,
    renumbered: &HashMap<(&str, i64), i64>,
) -> Vec<(i64, i64, &'r Row, &'r Row)> {
    let owner_id = |row: &Row| row.int(entity.owner);
    let key = |row: &Row, owner: i64, exact: bool| {
        let also = if exact && !entity.also.is_empty() { row.cell(entity.also).to_string() } else { String::new() };
        (owner, row.cell(entity.name).to_string(), also)
    };
    let mut same = Vec::new();
    for exact in [true, false] {
        gone.retain(|(id, old)| {
            let Some(owner) = owner_id(old) else { return true };
            let owner = renumbered.get(&(parent, owner)).copied().unwrap_or(owner);
            let desired = key(old, owner, exact);
            let is_same = |(_, new): &(i64, &Row)| owner_id(new).is_some_and(|owner| key(new, owner, exact) == desired);
            let Some(at) = new_rows.iter().position(is_same) else { return true };
            let (new_id, new) = new_rows.remove(at);
            same.push((*id, new_id, *old, new));
            false
        });
    }
    same
}

fn rows<'c>(config: &'c ConfigRows, table: &str) -> impl Iterator<Item = (i64, &'c Row)> {
    config.rows(table).iter().filter_map(|row| Some((row.int("id")?, row)))
}

/// Every table, objects before their parts, with its entity and the table that it is a part of.
fn tables<'c>(
    now: &'c ConfigRows,
    then: &'c ConfigRows,
) -> Vec<(&'c str, Option<&'static Entity>, Option<&'static str>)> {
    let mut known = Vec::new();
    for entity in ENTITIES.iter().copied() {
        add(entity, None, &mut known);
    }
    let all: HashSet<&str> = now.tables.keys().chain(then.tables.keys()).map(String::as_str).collect();
    let mut tables: Vec<_> =
        known.iter().filter_map(|(entity, parent)| Some((*all.get(entity.table)?, Some(*entity), *parent))).collect();
    let mut others: Vec<&str> =
        all.into_iter().filter(|table| known.iter().all(|(entity, _)| entity.table != *table)).collect();
    others.sort_unstable();
    tables.extend(others.into_iter().map(|table| (table, None, None)));
    tables
}

fn add(
    entity: &'static Entity,
    parent: Option<&'static str>,
    known: &mut Vec<(&'static Entity, Option<&'static str>)>,
) {
    if known.iter().all(|(other, _)| other.table != entity.table) {
        known.push((entity, parent));
    }
    entity.parts.iter().for_each(|part| add(part, Some(entity.table), known));
}

fn changed(
    table: &str,
    entity: Option<&'static Entity>,
    old: &Row,
    new: &Row,
    skips: &dyn Fn(&str, &str) -> bool,
) -> Vec<Assignment> {
    let same = |column: &str, old: &Value, new: &Value| {
        let (old, new) = (canonical(column, old), canonical(column, new));
        old.same(&new) || old.is_nothing() && new.is_nothing()
    };
    let shared = old.iter().filter(|(column, _)| new.columns().iter().any(|other| other == column));
    shared
        .filter(|(column, _)| *column != "id" || table != "setting")
        .filter(|(column, cell)| !skips(table, column) && !same(column, cell, new.cell(column)))
        .map(|(column, cell)| Assignment {
            column: column.to_owned(),
            old: cell.clone(),
            new: Cell::Is(new.cell(column).clone()),
            secret: is_secret(table, entity, column, old) || is_secret(table, entity, column, new),
        })
        .collect()
}

/// Whether a cell is redacted: also if its meaning is unknown.
fn is_secret(table: &str, entity: Option<&'static Entity>, column: &str, row: &Row) -> bool {
    let plain = ["id", "name", "active", "user_id", "monitor_id", "created_date", "status", "weight"];
    match table {
        "setting" => column == "value" && row.text("key").is_none_or(is_secret_setting),
        "incident" => false,
        _ => match entity.and_then(|entity| entity.fields.iter().find(|field| field.column == column)) {
            Some(field) => field.secret,
            None => !plain.contains(&column),
        },
    }
}

/// Names of objects.
struct Names<'c> {
    config: &'c ConfigRows,
    names: HashMap<&'static str, HashMap<i64, String>>,
}

impl Names<'_> {
    fn of(config: &ConfigRows) -> Names<'_> {
        let named = ENTITIES.iter().copied().map(|entity| (entity.table, existing_names(entity, config)));
        Names { config, names: named.collect() }
    }

    fn name(&self, table: &str, id: i64) -> Option<&String> {
        self.names.get(table)?.get(&id)
    }

    /// The name of the object in `row` in messages: a part with its owner, a link with both of its ends.
    fn subject(&self, table: &str, entity: Option<&'static Entity>, parent: Option<&'static str>, row: &Row) -> String {
        let id = row.int("id").unwrap_or(0);
        let Some(entity) = entity else { return format!("row {id} of `{table}`") };
        if let Some(name) = self.name(table, id).filter(|name| !name.is_empty()) {
            return format!("{} `{name}`", entity.noun);
        }
        let refers = entity.fields.iter().find_map(|field| match field.shape {
            ValueShape::Reference(reference) if field.column != entity.owner => {
                Some((field.column, reference.entity().table))
            }
            _ => None,
        });
        let referred = refers.and_then(|(column, table)| self.name(table, row.int(column)?));
        let mut own = referred.cloned().unwrap_or_else(|| existing_name(entity, row));
        // A tag may be on one monitor with several values.
        if let Some(value) = row.text(entity.also).filter(|value| !entity.also.is_empty() && !value.is_empty()) {
            own = format!("{own}: {value}");
        }
        let noun = if entity.noun.is_empty() { table } else { entity.noun };
        let owner = parent.and_then(|parent| self.owner(parent, row.int(entity.owner)?));
        let owner = owner.map_or(String::new(), |owner| format!("{owner}: "));
        if own.is_empty() { format!("{owner}{noun} {id}") } else { format!("{owner}{noun} `{own}`") }
    }

    /// What a message calls row `id` of `table`, which has parts.
    fn owner(&self, table: &str, id: i64) -> Option<String> {
        if let Some(entity) = entity_of(table) {
            return Some(format!("{} `{}`", entity.noun, self.name(table, id)?));
        }
        let (whole, part) =
            ENTITIES.iter().find_map(|whole| Some((whole, whole.parts.iter().find(|part| part.table == table)?)))?;
        Some(self.subject(table, Some(part), Some(whole.table), self.config.row(table, id)?))
    }
}
