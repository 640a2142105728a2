//! Columns of a monitor that differ from the page's defaults.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::fields::{FIELDS, Field};
use super::kinds::MonitorType;
use super::row::{NewMonitorContext, TypeDefaults};
use super::view::same_cell;
use crate::value::{Row, Value};

impl TypeDefaults<'_> {
    /// The columns of a monitor that differ from the page's defaults.
    pub fn differing(&self, known: Option<&MonitorType>, row: &Row, by: &NewMonitorContext) -> BTreeSet<&'static str> {
        /// Fields that the page computes from others: checked last, one at a time, because the interval determines the
        /// retry interval and the timeout.
        const DERIVED: [&str; 5] = ["interval", "protocol", "port", "retry_interval", "timeout"];
        let release = self.release();
        let fields: Vec<&'static Field> = match known {
            Some(known) => known.fields(release),
            None => FIELDS.iter().filter(|field| field.is_typed()).collect(),
        };
        let fields: Vec<&'static Field> = fields
            .into_iter()
            .filter(|field| {
                !matches!(field.column, "name" | "type" | "parent")
                    && row.columns().iter().any(|name| name == field.column)
            })
            .collect();
        let mut given: BTreeMap<&str, Value> = BTreeMap::from([("name", row.cell("name").clone())]);
        let mut found = BTreeSet::new();
        loop {
            let made = self.row(given.clone(), by);
            let made: HashMap<&str, &Value> = made.iter().map(|(column, value)| (column.as_str(), value)).collect();
            let differs = |field: &&'static Field| {
                let now = row.cell(field.column);
                match made.get(field.column) {
                    Some(value) => !same_cell(field, now, value),
                    None => !now.is_nothing(),
                }
            };
            let open: Vec<&'static Field> =
                fields.iter().copied().filter(|field| !found.contains(field.column)).filter(differs).collect();
            let plain: Vec<&'static Field> =
                open.iter().copied().filter(|field| !DERIVED.contains(&field.column)).collect();
            let one = || DERIVED.iter().find_map(|column| open.iter().find(|field| field.column == *column));
            let next: Vec<&'static Field> = match (plain.is_empty(), one()) {
                (false, _) => plain,
                (true, Some(one)) => vec![*one],
                (true, None) => return found,
            };
            for field in next {
                found.insert(field.column);
                given.insert(field.column, row.cell(field.column).clone());
            }
        }
    }
}
