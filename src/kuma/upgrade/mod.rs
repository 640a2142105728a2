//! Upgrades the rows of a database to a newer release while they are transferred: its own rows by the rules of each migration, and
//! the rows that the server adds.

mod converted;
pub mod correct;
mod facts;
mod row;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

pub use converted::UpgradeConverted;
pub use facts::{read_facts, read_state};

use self::row::TableMap;
use super::transfer::{Feed, Put, Schemas, Transform};
use crate::engine::{EngineKind, Reader, quote};
use crate::error::{Error, OperationError, Result};
use crate::model::state::Database;
use crate::schema::Schema;
use crate::upgrade::Route;
use crate::upgrade::preflight::Facts;
use crate::upgrade::rules::{RuleResult, Style, is_line_notify};
use crate::upgrade::settings::{AGGREGATED, MIGRATED, PATCHED, with_patches};
use crate::upgrade::statistics::{Aggregation, TABLES};
use crate::upgrade::thinning::Thinning;
use crate::value::{Value, server_text};

/// How an upgrade is done.
#[derive(Clone, Copy, Debug)]
pub struct UpgradeOptions {
    /// With the mistakes of the server or without them.
    pub style: Style,
    /// As the server: the time zone of its process.
    pub zone: Option<Tz>,
    /// The current time: the age of heartbeats decides which statistics they belong to.
    pub now: DateTime<Utc>,
}

/// What an upgrade has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upgraded {
    /// Changed or deleted rows, by what was done.
    pub rules: BTreeMap<&'static str, u64>,
    /// Rows of statistics, by table.
    pub statistics: BTreeMap<String, u64>,
    /// Heartbeats that were deleted after they had been aggregated.
    pub deleted_beats: u64,
}

/// The upgrade of one database.
pub struct Upgrade<'r> {
    route: &'r Route,
    options: UpgradeOptions,
    maps: BTreeMap<String, TableMap>,
    /// Tables whose rows may refer to monitors that do not exist.
    unguarded: BTreeSet<String>,
    monitors: BTreeSet<i64>,
    /// Notifications that are deleted.
    deleted: BTreeSet<i64>,
    /// What stays of the heartbeats, where they are aggregated.
    thinning: Option<Thinning>,
    aggregation: Option<Aggregation>,
    /// The monitor whose heartbeats are aggregated now, and the last id of a row of statistics.
    monitor: Option<i64>,
    last: i64,
    next_setting: i64,
    has_state: bool,
    /// The highest id and batch of a migration.
    migrations: (i64, i64),
    /// What was changed until now.
    pub done: Upgraded,
}

impl<'r> Upgrade<'r> {
    /// Reads from `source`, the database in question, what the upgrade along `route` needs before the first row.
    pub fn prepare(
        source: &mut dyn Reader,
        database: &Database,
        route: &'r Route,
        facts: &Facts,
        options: UpgradeOptions,
    ) -> Result<Upgrade<'r>> {
        let (schema, target) = (&database.schema, route.target.schema());
        let mut upgrade = Upgrade {
            route,
            options,
            maps: row::maps(schema, target, &route.missing()),
            unguarded: facts::unguarded(schema, target),
            monitors: BTreeSet::new(),
            deleted: BTreeSet::new(),
            thinning: None,
            aggregation: None,
            monitor: None,
            last: 0,
            next_setting: next_id(source, "setting")?,
            has_state: facts.state.is_some(),
            migrations: read_last_migration(source, schema)?,
            done: Upgraded::default(),
        };
        source.stream("SELECT `id` FROM `monitor`", &[], &mut |row| {
            upgrade.monitors.extend(row.at(0).int());
            Ok(())
        })?;
        if route.migrations.contains("2025-12-29-0000-remove-line-notify.js") {
            source.stream("SELECT `id`, `config` FROM `notification`", &[], &mut |row| {
                if is_line_notify(row.cell("config")) {
                    upgrade.deleted.extend(row.int("id"));
                }
                Ok(())
            })?;
        }
        if facts.is_aggregated(route) {
            upgrade.thinning = Some(read_newest(source, &upgrade.monitors, options.now)?);
        }
        Ok(upgrade)
    }

    /// The aggregation for `table`, where heartbeats are aggregated for it.
    fn aggregation_for(&self, table: &str) -> Option<Aggregation> {
        self.thinning.as_ref()?;
        let at = TABLES.iter().position(|(name, _)| *name == table)?;
        Some(Aggregation::new(self.options.now.timestamp_millis(), self.options.zone, at))
    }

    /// Whether a row of the source stays at all.
    fn stays(&mut self, table: &str, row: &[Value]) -> bool {
        let Some(map) = self.maps.get(table) else { return false };
        let int = |column: &str| map.old(row, column).int().unwrap_or_default();
        match (table, &self.thinning) {
            ("heartbeat", Some(thinning)) => {
                let (time, important) = (map.old(row, "time"), map.old(row, "important"));
                let stays = thinning.keeps(int("id"), int("monitor_id"), time, important);
                self.done.deleted_beats += u64::from(!stays);
                stays
            }
            ("monitor_notification", _) => !self.deleted.contains(&int("notification_id")),
            _ => !self.unguarded.contains(table) || self.monitors.contains(&int("monitor_id")),
        }
    }

    fn change(&mut self, table: &str, row: &[Value]) -> Option<Vec<Value>> {
        let map = self.maps.get(table)?;
        let mut made = map.make(row);
        for rule in &map.rules {
            let verdict = (rule.apply)(&mut made, self.options.style);
            if verdict != RuleResult::Same {
                *self.done.rules.entry(rule.what).or_insert(0) += 1;
            }
            if verdict == RuleResult::Deleted {
                return None;
            }
        }
        if let ("setting", Some(at)) = (table, made.at("value")) {
            match map.old(row, "key").text() {
                Some(PATCHED) if !self.route.patches.is_empty() => {
                    let old = map.old(row, "value").text().unwrap_or_default();
                    let order = self.route.target.patches_in_order();
                    made.cells[at] = with_patches(old, &self.route.patches, &order).into();
                }
                Some(AGGREGATED) if self.thinning.is_some() => made.cells[at] = MIGRATED.into(),
                _ => {}
            }
        }
        Some(made.cells)
    }

    /// Aggregates one heartbeat; puts the rows of the monitor before it, where that is another one.
    fn aggregate(&mut self, table: &str, row: &[Value], put: Put<'_>) -> Result<()> {
        let [monitor, time, status, ping] = row else { return Ok(()) };
        if self.monitor != monitor.int() {
            self.put_statistics(table, put)?;
            self.monitor = monitor.int();
        }
        if self.aggregation.is_none() {
            self.aggregation = self.aggregation_for(table);
        }
        let Some(aggregation) = &mut self.aggregation else { return Ok(()) };
        aggregation.add(time, status, ping).map_err(|unknown| {
            let what = format!("heartbeats have the status {}, which no release has", unknown.0);
            Error::Operation(OperationError::ChecksFailed(vec![what]))
        })
    }

    fn put_statistics(&mut self, table: &str, put: Put<'_>) -> Result<()> {
        let (Some(monitor), Some(aggregation)) = (self.monitor, &mut self.aggregation) else { return Ok(()) };
        for (start, bucket) in aggregation.take() {
            self.last += 1;
            put(vec![
                self.last.into(),
                monitor.into(),
                start.into(),
                bucket.ping.into(),
                bucket.up.into(),
                bucket.down.into(),
                bucket.ping_min.into(),
                bucket.ping_max.into(),
                bucket.extras(),
            ])?;
        }
        self.done.statistics.insert(table.to_owned(), self.last.unsigned_abs());
        Ok(())
    }

    fn put_migrations(&mut self, put: Put<'_>) -> Result<()> {
        let now = match self.route.target.engine {
            EngineKind::Sqlite => Value::Int(self.options.now.timestamp_millis()),
            EngineKind::MariaDb => server_text(&self.options.now).into(),
        };
        let (last, batch) = self.migrations;
        for (id, name) in (last + 1..).zip(&self.route.migrations) {
            put(vec![id.into(), name.as_str().into(), (batch + 1).into(), now.clone()])?;
        }
        Ok(())
    }
}

/// The columns of the rows of statistics.
const STATISTICS: [&str; 9] = ["id", "monitor_id", "timestamp", "ping", "up", "down", "ping_min", "ping_max", "extras"];

/// Those of the tables of migrations.
const MIGRATIONS: [&str; 4] = ["id", "name", "batch", "migration_time"];
const LOCK: [&str; 2] = ["index", "is_locked"];

impl Transform for Upgrade<'_> {
    fn columns(&self, table: &str, schemas: Schemas<'_>) -> Vec<String> {
        let owned = |columns: &[&str]| columns.iter().map(|column| (*column).to_owned()).collect();
        match (table, self.maps.get(table)) {
            _ if self.aggregation_for(table).is_some() => owned(&STATISTICS),
            ("knex_migrations", _) => owned(&MIGRATIONS),
            ("knex_migrations_lock", None) => owned(&LOCK),
            (_, Some(map)) => map.columns.clone(),
            (_, None) => {
                let columns = schemas.target.table(table).map_or(&[][..], |found| &found.columns);
                columns.iter().map(|column| column.name.clone()).collect()
            }
        }
    }

    fn feeds(&self, table: &str, _: Schemas<'_>) -> Vec<Feed> {
        let owned = |columns: &[&str]| columns.iter().map(|column| (*column).to_owned()).collect();
        if let Some(aggregation) = self.aggregation_for(table) {
            let since = aggregation.since().map(|since| since.format("%Y-%m-%d").to_string());
            return vec![Feed {
                table: "heartbeat".into(),
                columns: owned(&["monitor_id", "time", "status", "ping"]),
                filter: since.map(|since| format!("`time` >= '{since}'")),
                order: owned(&["monitor_id", "time", "id"]),
            }];
        }
        match (table, self.maps.get(table)) {
            ("knex_migrations", Some(_)) => {
                vec![Feed { table: table.into(), columns: owned(&MIGRATIONS), ..Feed::default() }]
            }
            (_, Some(map)) => vec![Feed { table: table.into(), columns: map.source.clone(), ..Feed::default() }],
            (_, None) => Vec::new(),
        }
    }

    fn row(&mut self, table: &str, _: usize, row: Vec<Value>, put: Put<'_>) -> Result<()> {
        if table == "knex_migrations" {
            return put(row);
        }
        if self.thinning.is_some() && TABLES.iter().any(|(name, _)| *name == table) {
            return self.aggregate(table, &row, put);
        }
        if !self.stays(table, &row) {
            return Ok(());
        }
        self.change(table, &row).map_or(Ok(()), put)
    }

    fn end(&mut self, table: &str, put: Put<'_>) -> Result<()> {
        match table {
            "setting" if self.thinning.is_some() && !self.has_state => {
                put(vec![self.next_setting.into(), AGGREGATED.into(), MIGRATED.into(), Value::Null])
            }
            "knex_migrations" => self.put_migrations(put),
            "knex_migrations_lock" if !self.maps.contains_key(table) => put(vec![Value::Int(1), Value::Int(0)]),
            _ => {
                self.put_statistics(table, put)?;
                (self.aggregation, self.monitor, self.last) = (None, None, 0);
                Ok(())
            }
        }
    }
}

/// Learns which heartbeats are the newest of each monitor.
fn read_newest(source: &mut dyn Reader, monitors: &BTreeSet<i64>, now: DateTime<Utc>) -> Result<Thinning> {
    let mut thinning = Thinning::new(server_text(&(now - TimeDelta::days(1))), monitors.clone());
    let sql = "SELECT `id`, `monitor_id`, `time`, `important` FROM `heartbeat` ORDER BY `monitor_id`, `time`, `id`";
    source.stream(sql, &[], &mut |row| {
        let (id, monitor) = (row.at(0).int().unwrap_or_default(), row.at(1).int().unwrap_or_default());
        thinning.see(id, monitor, row.at(2), row.at(3));
        Ok(())
    })?;
    thinning.end();
    Ok(thinning)
}

fn read_last_migration(source: &mut dyn Reader, schema: &Schema) -> Result<(i64, i64)> {
    if schema.table("knex_migrations").is_none() {
        return Ok((0, 0));
    }
    let rows = source.query("SELECT max(`id`) AS id, max(`batch`) AS batch FROM `knex_migrations`", &[])?;
    let highest = |column: &str| rows.first().and_then(|row| row.int(column)).unwrap_or(0);
    Ok((highest("id"), highest("batch")))
}

/// The id that the engine would give to the next row of `table`.
fn next_id(source: &mut dyn Reader, table: &str) -> Result<i64> {
    let counter = match source.kind() {
        EngineKind::Sqlite => "SELECT max(`seq`) FROM `sqlite_sequence` WHERE `name` = ?",
        EngineKind::MariaDb => {
            "SELECT `AUTO_INCREMENT` - 1 FROM `information_schema`.`TABLES` WHERE `TABLE_SCHEMA` = DATABASE() AND \
             `TABLE_NAME` = ?"
        }
    };
    let mut highest = |sql: &str, params: &[Value]| -> Result<i64> {
        Ok(source.query(sql, params)?.first().and_then(|row| row.at(0).int()).unwrap_or(0))
    };
    let used = highest(&format!("SELECT max(`id`) FROM {}", quote(table)), &[])?;
    Ok(used.max(highest(counter, &[table.into()])?) + 1)
}
