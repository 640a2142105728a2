//! Settings and other rows that the server adds when it upgrades a database.

use std::collections::BTreeSet;

use crate::value::Value;

/// The setting that shows whether heartbeats were aggregated.
pub const AGGREGATED: &str = "migrateAggregateTableState";

/// The setting with the patches of 1.x.
pub const PATCHED: &str = "databasePatchedFiles";

/// The value of [`AGGREGATED`] after the aggregation.
pub const MIGRATED: &str = "\"migrated\"";

/// The progress of the aggregation of a database, according to [`AGGREGATED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregationState {
    /// Not started, or the database has statistics of a development release.
    None,
    /// Interrupted: the server refuses to start.
    Interrupted,
    /// Done.
    Done,
}

impl AggregationState {
    /// As the server reads the cell.
    pub fn of(cell: &Value) -> AggregationState {
        let text = cell.text().map(|text| serde_json::from_str(text).unwrap_or_else(|_| text.to_owned()));
        match text.as_deref() {
            Some("migrated") => AggregationState::Done,
            Some("migrating") => AggregationState::Interrupted,
            _ => AggregationState::None,
        }
    }
}

/// The value of [`PATCHED`] with `patches` added, as the server writes it.
pub fn with_patches(value: &str, patches: &BTreeSet<String>, order: &[String]) -> String {
    let mut map: serde_json::Map<String, serde_json::Value> = serde_json::from_str(value).unwrap_or_default();
    for patch in order.iter().filter(|patch| patches.contains(*patch)) {
        map.insert(patch.clone(), true.into());
    }
    serde_json::Value::Object(map).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_state_as_the_server_does() {
        for (cell, state) in [
            ("\"migrated\"", AggregationState::Done),
            ("migrated", AggregationState::Done),
            ("\"migrating\"", AggregationState::Interrupted),
            ("\"\"", AggregationState::None),
            ("null", AggregationState::None),
        ] {
            assert_eq!(AggregationState::of(&cell.into()), state, "{cell}");
        }
        assert_eq!(AggregationState::of(&Value::Null), AggregationState::None);
    }

    #[test]
    fn adds_patches_in_the_order_of_the_server() {
        let order = ["c.sql", "b.sql", "d.sql"].map(str::to_owned);
        let added = with_patches("{\"a.sql\":true}", &BTreeSet::from(["b.sql".into(), "c.sql".into()]), &order);
        assert_eq!(added, "{\"a.sql\":true,\"c.sql\":true,\"b.sql\":true}");
    }
}
