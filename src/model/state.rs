//! The content of a database.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::error::DatabaseError;
use crate::schema::{EngineKind, RecognizedRelease, Schema, recorded, recording};
use crate::text::counted;
use crate::value::Row;

/// The hash of a configuration; a plan for one does not fit another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub String);

impl Fingerprint {
    /// The fingerprint of no configuration: a plan with it fits none.
    pub fn none() -> Fingerprint {
        Fingerprint("none".to_owned())
    }
}

/// A database that was recognised as one of the server.
#[derive(Clone, Debug)]
pub struct Database {
    /// Its engine.
    pub engine: EngineKind,
    /// Its tables.
    pub schema: Schema,
    /// Its release.
    pub release: RecognizedRelease,
    /// Names of the migrations that were applied; for 1.x the patches.
    pub migrations: BTreeSet<String>,
    /// A migration is running or was interrupted (`knex_migrations_lock`).
    pub migrating: bool,
}

impl Database {
    /// Applied migrations that no recorded release has: those of a newer release, a beta, a nightly build or a fork. What
    /// they did to the tables is not known.
    pub fn unknown_migrations(&self) -> Vec<&str> {
        if self.release.unknown.is_empty() {
            return Vec::new();
        }
        // The recordings of both engines have the same names; only SQLite has the patches of 1.x.
        let all = recorded(EngineKind::Sqlite).iter();
        let known: BTreeSet<String> =
            all.flat_map(|one| one.migrations().map(str::to_owned).chain(one.patches())).collect();
        self.release.unknown.iter().map(String::as_str).filter(|name| !known.contains(*name)).collect()
    }

    /// Fails where one of `tables` misses a column although its migration is recorded as applied: no row can be added, not
    /// even by the server (2.1 betas left such databases).
    ///
    /// # Errors
    /// [`DatabaseError::MissingColumn`].
    pub fn check_columns<'t>(&self, tables: impl IntoIterator<Item = &'t str>) -> Result<(), DatabaseError> {
        let mut tables = tables.into_iter().peekable();
        let recording = recording(self.engine, self.release.release).filter(|_| self.release.exact);
        let Some(recording) = recording.filter(|_| tables.peek().is_some()) else { return Ok(()) };
        let recorded = recording.schema();
        for table in tables {
            let (Some(recorded), Some(live)) = (recorded.table(table), self.schema.table(table)) else { continue };
            if let Some(missing) = recorded.columns.iter().find(|column| live.column(&column.name).is_none()) {
                return Err(DatabaseError::MissingColumn { table: table.to_owned(), column: missing.name.clone() });
            }
        }
        Ok(())
    }
}

/// What a database contains, in figures; fast with a history of any length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Its users.
    pub users: u64,
    /// Its monitors.
    pub monitors: u64,
    /// Those that are active.
    pub active: u64,
    /// The time of its newest heartbeat, in UTC, as stored.
    pub newest_beat: Option<String>,
}

impl Summary {
    /// The time of its newest heartbeat in seconds: SQLite has fractions of a second, MariaDB has none.
    pub fn newest_second(&self) -> Option<&str> {
        self.newest_beat.as_deref().map(|time| time.get(..19).unwrap_or(time))
    }

    /// `1 user, 12 monitors, newest heartbeat 2026-11-30 03:14:15 UTC`.
    pub fn words(&self) -> String {
        let newest = self.newest_second().map_or("no heartbeats".into(), |at| format!("newest heartbeat {at} UTC"));
        format!("{}, {}, {newest}", counted(self.users as usize, "user"), counted(self.monitors as usize, "monitor"))
    }
}

/// The complete configuration, every row of every table: the input of plans for fixtures and of exports.
#[derive(Clone, Debug)]
pub struct ConfigRows {
    /// The database it was read from.
    pub database: Database,
    /// The rows of each table of the configuration, in the order of their ids.
    pub tables: BTreeMap<String, Vec<Row>>,
    /// The first active user: the owner of new items.
    pub owner: Option<i64>,
    /// The hash of this configuration.
    pub fingerprint: Fingerprint,
}

impl ConfigRows {
    /// The row of `table` with this id.
    pub fn row(&self, table: &str, id: i64) -> Option<&Row> {
        let rows = self.rows(table);
        rows.binary_search_by_key(&Some(id), |row| row.int("id")).ok().map(|at| &rows[at])
    }

    /// The setting with this key.
    pub fn setting(&self, key: &str) -> Option<&Row> {
        self.rows("setting").iter().find(|row| row.text("key") == Some(key))
    }

    /// The rows that belong to no user, or to one who does not exist, by table: the server's page does not show them, or
    /// does not let anyone change them (2.5.3).
    pub fn ownerless(&self) -> Vec<(&str, Vec<&Row>)> {
        let users: BTreeSet<Option<i64>> = self.rows("user").iter().map(|row| row.int("id")).collect();
        let owned = self.database.schema.references_to("user");
        let tables = owned.into_iter().map(|(table, column)| {
            let is_lost = |row: &&Row| !users.contains(&row.int(column));
            (table, self.rows(table).iter().filter(is_lost).collect::<Vec<_>>())
        });
        tables.filter(|(_, rows)| !rows.is_empty()).collect()
    }

    /// The rows of `table`; empty if the release has no such table.
    pub fn rows(&self, table: &str) -> &[Row] {
        self.tables.get(table).map_or(&[], Vec::as_slice)
    }
}

/// The monitors and the names that they refer to: the input of plans for monitors.
#[derive(Clone, Debug)]
pub struct MonitorConfig {
    /// The database it was read from.
    pub database: Database,
    /// All monitors, by id.
    pub monitors: BTreeMap<i64, Monitor>,
    /// All tags: id, name, color.
    pub tags: Vec<Row>,
    /// All notifications: id, name, active, is_default.
    pub notifications: Vec<Row>,
    /// All proxies: id, protocol, host, port, default.
    pub proxies: Vec<Row>,
    /// All docker hosts: id, name.
    pub docker_hosts: Vec<Row>,
    /// All remote browsers: id, name. Empty before 2.0.
    pub remote_browsers: Vec<Row>,
    /// Ids of all users, active ones first.
    pub users: Vec<i64>,
    /// The hash of this configuration.
    pub fingerprint: Fingerprint,
}

/// One monitor.
#[derive(Clone, Debug)]
pub struct Monitor {
    /// Its id.
    pub id: i64,
    /// Its row; which columns it contains depends on how it was read.
    pub row: Row,
    /// Its tags, in the order they were attached.
    pub tags: Vec<TagLink>,
    /// Its notifications.
    pub notifications: Vec<NotificationLink>,
}

/// A tag on a monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagLink {
    /// Id in `monitor_tag`.
    pub id: i64,
    /// The tag.
    pub tag: i64,
    /// Its value on this monitor; empty for none.
    pub value: String,
}

/// A notification on a monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationLink {
    /// Id in `monitor_notification`.
    pub id: i64,
    /// The notification.
    pub notification: i64,
}

impl Monitor {
    /// Its name; NULL reads as empty.
    pub fn name(&self) -> &str {
        self.row.text("name").unwrap_or_default()
    }

    /// Its type, known or not.
    pub fn kind(&self) -> &str {
        self.row.text("type").unwrap_or_default()
    }

    /// The group it is in.
    pub fn parent(&self) -> Option<i64> {
        self.row.int("parent")
    }

    /// Whether it is active itself; it may still be paused by a group.
    pub fn active(&self) -> bool {
        self.row.cell("active").truthy()
    }
}

impl MonitorConfig {
    /// The first active user: the owner of new items.
    pub fn owner(&self) -> Option<i64> {
        self.users.first().copied()
    }

    /// The user of this monitor, if that user exists.
    pub fn user_of(&self, monitor: i64) -> Option<i64> {
        self.monitors.get(&monitor)?.row.int("user_id").filter(|user| self.users.contains(user))
    }

    /// The path of a monitor: `Group/Subgroup/Name`.
    pub fn path(&self, id: i64) -> String {
        path_of(id, &|id| self.monitors.get(&id).map(|monitor| (monitor.name(), monitor.parent())))
    }

    /// Paths of all monitors, by id.
    pub fn paths(&self) -> HashMap<i64, String> {
        self.monitors.keys().map(|id| (*id, self.path(*id))).collect()
    }

    /// Monitors whose parent is `id`.
    pub fn children(&self, id: i64) -> impl Iterator<Item = &Monitor> {
        self.monitors.values().filter(move |monitor| monitor.parent() == Some(id))
    }

    /// `id` and everything inside it, parents first.
    pub fn family(&self, id: i64) -> Vec<i64> {
        let mut found = vec![id];
        let mut at = 0;
        while at < found.len() {
            let more: Vec<i64> =
                self.children(found[at]).map(|child| child.id).filter(|child| !found.contains(child)).collect();
            found.extend(more);
            at += 1;
        }
        found
    }

    /// The groups that monitor `id` is in, the nearest first.
    pub fn ancestors(&self, id: i64) -> Vec<i64> {
        let mut found = Vec::new();
        let mut at = self.monitors.get(&id).and_then(Monitor::parent);
        // A cycle of parents ends where it closes.
        while let Some(group) = at.filter(|group| !found.contains(group)) {
            found.push(group);
            at = self.monitors.get(&group).and_then(Monitor::parent);
        }
        found
    }

    /// Whether the server checks this monitor: it and every group above it are active (as in 2.5.3).
    pub fn runs(&self, id: i64) -> bool {
        let mut seen = BTreeSet::new();
        let mut at = self.monitors.get(&id);
        while let Some(monitor) = at {
            if !monitor.active() || !seen.insert(monitor.id) {
                return false;
            }
            at = monitor.parent().and_then(|parent| self.monitors.get(&parent));
        }
        !seen.is_empty()
    }

    /// Monitors that write a heartbeat automatically soon after the server starts. A push monitor waits for a call, and
    /// a manual one for the user.
    pub fn beating(&self) -> Vec<i64> {
        let silent = ["push", "manual"];
        self.monitors
            .values()
            .filter(|monitor| !silent.contains(&monitor.kind()) && self.runs(monitor.id))
            .map(|monitor| monitor.id)
            .collect()
    }
}

/// The path of every monitor: `Group/Subgroup/Name`.
pub fn monitor_paths(rows: &[Row]) -> HashMap<i64, String> {
    let known: HashMap<i64, (&str, Option<i64>)> = rows
        .iter()
        .filter_map(|row| Some((row.int("id")?, (row.text("name").unwrap_or_default(), row.int("parent")))))
        .collect();
    known.keys().map(|id| (*id, path_of(*id, &|id| known.get(&id).copied()))).collect()
}

/// The path of the monitor `id`, from the name and parent of each monitor.
fn path_of<'n>(id: i64, monitor: &dyn Fn(i64) -> Option<(&'n str, Option<i64>)>) -> String {
    let (mut parts, mut seen, mut at) = (Vec::new(), HashSet::new(), Some(id));
    // Cycles of parents exist in practice; they must not cause an endless loop as in the server.
    while let Some((id, (name, parent))) = at.and_then(|id| Some((id, monitor(id)?))) {
        if !seen.insert(id) {
            break;
        }
        parts.push(name);
        at = parent;
    }
    parts.reverse();
    parts.join("/")
}
