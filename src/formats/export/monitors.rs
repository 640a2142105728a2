//! Monitors: only what differs from what the page would send.

use std::collections::{BTreeSet, HashMap};

use super::super::node::{Data, Node};
use super::cells::is_secret;
use super::{Exporter, entry};
use crate::model::entities::MONITORS;
use crate::model::fields::{FIELDS, ValueShape};
use crate::model::view::{canonical, spelled};
use crate::model::{NewMonitorContext, TypeDefaults, kind};
use crate::value::Row;

impl<'a> Exporter<'a> {
    pub(super) fn monitors(&mut self) -> Option<Node> {
        let nodes = self.chosen_monitors().into_iter().map(|(row, given)| self.monitor(row, &given)).collect();
        self.counted(&MONITORS, nodes)
    }

    /// Monitors by path, so that groups come before their members, each with the columns that differ from the defaults.
    pub(super) fn chosen_monitors(&mut self) -> Vec<(&'a Row, BTreeSet<&'static str>)> {
        let config = self.config;
        let Some(table) = config.database.schema.table("monitor") else { return Vec::new() };
        let release = config.database.release.release;
        let desired = |row: &&Row| {
            self.choice.monitors.as_ref().is_none_or(|ids| row.int("id").is_some_and(|id| ids.contains(&id)))
        };
        let mut rows: Vec<&Row> = config.rows("monitor").iter().filter(desired).collect();
        rows.sort_by_cached_key(|row| {
            let path = row.int("id").and_then(|id| self.name_of(&MONITORS, id)).cloned().unwrap_or_default();
            (path.split('/').map(str::to_owned).collect::<Vec<_>>(), row.int("id"))
        });
        self.warn_of_twins(&MONITORS, &rows);
        let proxy = config.rows("proxy").iter().find(|row| row.cell("default").truthy()).and_then(|row| row.int("id"));
        let by = NewMonitorContext { proxy_id: proxy, ..NewMonitorContext::default() };
        let mut pages: HashMap<String, TypeDefaults<'_>> = HashMap::new();
        let mut chosen = Vec::with_capacity(rows.len());
        for row in rows {
            let name = row.text("type").unwrap_or_default().to_owned();
            let page = pages.entry(name.clone()).or_insert_with(|| TypeDefaults::new(release, table, &name));
            let known = kind(&name).filter(|kind| kind.since <= release);
            chosen.push((row, page.differing(known, row, &by)));
        }
        chosen
    }

    fn monitor(&mut self, row: &Row, given: &BTreeSet<&'static str>) -> Node {
        let id = row.int("id").unwrap_or_default();
        let path = self.name_of(&MONITORS, id).cloned().unwrap_or_default();
        let subject = format!("monitor `{path}`");
        let text = |column: &str| row.text(column).unwrap_or_default().to_owned();
        let mut entries = vec![entry("name", self.text(&text("name"))), entry("type", self.text(&text("type")))];
        let mut left_out = Vec::new();
        if let Some(parent) = row.int("parent") {
            match self.name_of(&MONITORS, parent).cloned() {
                Some(parent) => entries.push(entry("parent", self.text(&parent))),
                None => self.warnings.push(format!("{subject}: its parent does not exist")),
            }
        }
        let ip_family = row.cell("ip_family");
        if !ip_family.is_nothing() && canonical("ip_family", ip_family).is_null() {
            self.warnings.push(format!("{subject}: `ip_family` is `{ip_family}`, which the server ignores: left out"));
        }
        for field in FIELDS.iter().filter(|field| given.contains(field.column)) {
            let value = row.cell(field.column);
            let node = match field.shape {
                ValueShape::Reference(reference) => {
                    let name = value.int().and_then(|id| self.name_of(reference.entity(), id)).cloned();
                    match (name, value.is_null()) {
                        (Some(name), _) => self.text(&name),
                        (None, true) => self.node(Data::Null),
                        (None, false) => {
                            self.warnings.push(format!("{subject}: its `{}` does not exist", field.column));
                            continue;
                        }
                    }
                }
                _ if is_secret(MONITORS.table, field, value) => {
                    match self.secret(&subject, field.column, value, &mut left_out) {
                        Some(node) => node,
                        None => continue,
                    }
                }
                _ => self.value(field, value),
            };
            entries.push(entry(spelled(&MONITORS, field.column), node));
        }
        entries.extend(self.owner(&MONITORS, row));
        self.finish(&MONITORS, row, entries, left_out)
    }
}
