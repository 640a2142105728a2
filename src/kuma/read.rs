//! Reads the configuration from the database.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{Reader, quote, read_numbers};
use crate::error::{DatabaseError, Error, Result};
use crate::model::state::{
    ConfigRows, Database, Fingerprint, Monitor, MonitorConfig, NotificationLink, Summary, TagLink,
};
use crate::schema::{self, Schema};
use crate::text::counted;
use crate::value::{Row, Value};

/// Tables of statistics.
pub(super) const STATISTICS: [&str; 3] = ["stat_minutely", "stat_hourly", "stat_daily"];

/// Other tables that grow while the server runs, and internal ones: like the history, they do not affect a plan.
const BOOKKEEPING: &[&str] = &[
    "monitor_tls_info",
    "notification_sent_history",
    "domain_expiry",
    "incident",
    "setting",
    "knex_migrations",
    "knex_migrations_lock",
];

/// Columns of configuration tables that the server itself updates.
const MOVING: &[(&str, &str)] = &[
    ("monitor", "dns_last_result"),
    ("monitor", "manual_status"),
    ("maintenance", "last_start_date"),
    ("user", "twofa_last_token"),
    ("user", "password"),
];

/// Which columns of `monitor` to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// Those shown in a list.
    Listed,
    /// All in the live schema.
    All,
}

const LISTED: &[&str] = &[
    "id",
    "name",
    "type",
    "active",
    "parent",
    "user_id",
    "interval",
    "retry_interval",
    "timeout",
    "url",
    "hostname",
    "port",
    "push_token",
];

/// Identifies the database.
///
/// # Errors
/// [`DatabaseError::NotKuma`] if the tables of the server are missing.
pub fn read_database(reader: &mut dyn Reader, name: &str) -> Result<Database> {
    let database = read_any_database(reader)?;
    let schema = &database.schema;
    let missing: Vec<&str> =
        ["monitor", "user", "setting", "heartbeat"].into_iter().filter(|table| schema.table(table).is_none()).collect();
    if missing.is_empty() {
        return Ok(database);
    }
    let why = match schema.tables.len() {
        0 => "it has no tables".to_owned(),
        n => format!("it has {}, but no `{}`", counted(n, "table"), missing.join("`, `")),
    };
    Err(Error::Database(DatabaseError::NotKuma { database: name.to_owned(), why }))
}

/// The same for any database, also an empty one.
pub fn read_any_database(reader: &mut dyn Reader) -> Result<Database> {
    let schema = reader.schema()?;
    let mut migrations = BTreeSet::new();
    let mut migrating = false;
    if schema.table("knex_migrations").is_some() {
        let rows = reader.query("SELECT `name` FROM `knex_migrations`", &[])?;
        migrations.extend(rows.iter().filter_map(|row| row.text("name").map(str::to_owned)));
    }
    if schema.table("knex_migrations_lock").is_some() {
        let rows = reader.query("SELECT `is_locked` FROM `knex_migrations_lock`", &[])?;
        migrating = rows.iter().any(|row| row.cell("is_locked").truthy());
    }
    let settings = if schema.has("setting", "key") && schema.has("setting", "value") {
        reader.query("SELECT `value` FROM `setting` WHERE `key` = 'databasePatchedFiles'", &[])?
    } else {
        Vec::new()
    };
    let patches = settings
        .first()
        .and_then(|row| row.text("value"))
        .and_then(|text| serde_json::from_str::<BTreeMap<String, serde_json::Value>>(text).ok())
        .unwrap_or_default();
    let patches: BTreeSet<String> = patches.into_keys().collect();
    // 1.x has no such table, and its upgrade creates it only after several migrations, each of which it records.
    let lost = migrations.is_empty() && schema.table("stat_hourly").is_some();
    let release = if lost { schema::without_migrations() } else { schema::recognise(&migrations, &patches) };
    let migrations = if migrations.is_empty() && !lost { patches } else { migrations };
    Ok(Database { engine: reader.kind(), schema, release, migrations, migrating })
}

/// The tables of the history, which are most of a database: a configuration-only snapshot does not contain them.
pub fn history(schema: &Schema) -> Vec<String> {
    schema.tables.keys().filter(|table| is_history(table)).cloned().collect()
}

/// The tables in `names` that belong to the history.
pub fn history_of<'n>(names: impl Iterator<Item = &'n String>) -> Vec<String> {
    names.filter(|table| is_history(table)).cloned().collect()
}

fn is_history(table: &str) -> bool {
    table == "heartbeat" || STATISTICS.contains(&table)
}

/// Whether a migration is running or was interrupted. Reads only this table, because a migrating server may lock the
/// others; `false` if it does not exist (1.x).
pub fn read_migrating(reader: &mut dyn Reader) -> bool {
    let rows = reader.query("SELECT `is_locked` FROM `knex_migrations_lock`", &[]).unwrap_or_default();
    rows.iter().any(|row| row.cell("is_locked").truthy())
}

/// Reads the configuration, monitors with the columns of a list.
pub fn read_state(reader: &mut dyn Reader, name: &str) -> Result<MonitorConfig> {
    let mut state = read_shown_state(reader, name)?;
    state.fingerprint = read_fingerprint(reader, &state.database.schema)?;
    Ok(state)
}

/// The same for display only: the fingerprint, which requires reading the complete configuration, is
/// [`Fingerprint::none`], so that a plan for it cannot be applied.
pub fn read_shown_state(reader: &mut dyn Reader, name: &str) -> Result<MonitorConfig> {
    let database = read_database(reader, name)?;
    let schema = &database.schema;
    let monitors = read_monitors(reader, schema, Columns::Listed, None)?;
    let mut list = |table: &str, columns: &[&str]| match schema.table(table) {
        Some(_) => reader.query(&format!("SELECT {} FROM {} ORDER BY `id`", names(columns), quote(table)), &[]),
        None => Ok(Vec::new()),
    };
    let tags = list("tag", &["id", "name", "color"])?;
    let notifications = list("notification", &["id", "name", "active", "is_default", "user_id"])?;
    let proxies = list("proxy", &["id", "protocol", "host", "port", "default"])?;
    let docker_hosts = list("docker_host", &["id", "name"])?;
    let remote_browsers = list("remote_browser", &["id", "name"])?;
    let users = reader.query("SELECT `id` FROM `user` ORDER BY `active` DESC, `id`", &[])?;
    let users: Vec<i64> = users.iter().filter_map(|row| row.int("id")).collect();
    let fingerprint = Fingerprint::none();
    Ok(MonitorConfig {
        database,
        monitors,
        tags,
        notifications,
        proxies,
        docker_hosts,
        remote_browsers,
        users,
        fingerprint,
    })
}

/// The texts in `column` of `table`, in the order of the ids.
pub fn read_texts(reader: &mut dyn Reader, table: &str, column: &str) -> Result<Vec<String>> {
    let sql = format!("SELECT {} FROM {} ORDER BY `id`", quote(column), quote(table));
    let rows = reader.query(&sql, &[])?;
    Ok(rows.iter().filter_map(|row| row.at(0).text().map(str::to_owned)).collect())
}

/// Reads the complete configuration.
pub fn read_config(reader: &mut dyn Reader, name: &str) -> Result<ConfigRows> {
    let database = read_database(reader, name)?;
    let mut tables: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    let hashes = read_configuration(reader, &database.schema, &|_| true, &mut |table, row| {
        match tables.get_mut(table) {
            Some(rows) => rows.push(row),
            None => drop(tables.insert(table.to_owned(), vec![row])),
        }
        Ok(())
    })?;
    // Rows that the server updates are not in the fingerprint, but users configure them too.
    for table in ["incident", "setting"].into_iter().filter(|table| database.schema.table(table).is_some()) {
        let rows = reader.query(&format!("SELECT * FROM {} ORDER BY `id`", quote(table)), &[])?;
        tables.insert(table.to_owned(), rows);
    }
    let users = tables.get("user").map_or(&[][..], Vec::as_slice);
    let owner = users.iter().max_by_key(|row| (row.cell("active").truthy(), row.int("id").map(std::cmp::Reverse)));
    let owner = owner.and_then(|row| row.int("id"));
    Ok(ConfigRows { database, tables, owner, fingerprint: hashes.fingerprint() })
}

/// For each monitor, the number of dependent rows by table (column `monitor_id`), which are deleted with it.
pub fn read_all_dependents(reader: &mut dyn Reader, schema: &Schema) -> Result<BTreeMap<i64, BTreeMap<String, u64>>> {
    let mut found: BTreeMap<i64, BTreeMap<String, u64>> = BTreeMap::new();
    for table in schema.tables.keys().filter(|table| schema.has(table, "monitor_id")) {
        let sql = format!("SELECT `monitor_id`, count(*) AS n FROM {} GROUP BY `monitor_id`", quote(table));
        reader.stream(&sql, &[], &mut |row| {
            if let (Some(id), Some(n)) = (row.int("monitor_id"), row.int("n")) {
                found.entry(id).or_default().insert(table.clone(), n.unsigned_abs());
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// Reads monitors with their tags and notifications: all, or those with these ids.
pub fn read_monitors(
    reader: &mut dyn Reader,
    schema: &Schema,
    columns: Columns,
    only: Option<&[i64]>,
) -> Result<BTreeMap<i64, Monitor>> {
    let picked = match columns {
        Columns::All => "*".to_owned(),
        Columns::Listed => {
            names(&LISTED.iter().copied().filter(|column| schema.has("monitor", column)).collect::<Vec<_>>())
        }
    };
    let filter = |column: &str| match only {
        Some(ids) => format!(" WHERE {} IN ({})", quote(column), ids_text(ids)),
        None => String::new(),
    };
    let mut monitors = BTreeMap::new();
    reader.stream(&format!("SELECT {picked} FROM `monitor`{}", filter("id")), &[], &mut |row| {
        if let Some(id) = row.int("id") {
            monitors.insert(id, Monitor { id, row, tags: Vec::new(), notifications: Vec::new() });
        }
        Ok(())
    })?;
    let sql = format!(
        "SELECT `id`, `monitor_id`, `tag_id`, `value` FROM `monitor_tag`{} ORDER BY `id`",
        filter("monitor_id")
    );
    reader.stream(&sql, &[], &mut |row| {
        if let (Some(id), Some(owner), Some(tag)) = (row.int("id"), row.int("monitor_id"), row.int("tag_id"))
            && let Some(monitor) = monitors.get_mut(&owner)
        {
            monitor.tags.push(TagLink { id, tag, value: row.text("value").unwrap_or_default().to_owned() });
        }
        Ok(())
    })?;
    let sql = format!(
        "SELECT `id`, `monitor_id`, `notification_id` FROM `monitor_notification`{} ORDER BY `id`",
        filter("monitor_id")
    );
    reader.stream(&sql, &[], &mut |row| {
        if let (Some(id), Some(owner), Some(notification)) =
            (row.int("id"), row.int("monitor_id"), row.int("notification_id"))
            && let Some(monitor) = monitors.get_mut(&owner)
        {
            monitor.notifications.push(NotificationLink { id, notification });
        }
        Ok(())
    })?;
    Ok(monitors)
}

/// The hash of each table of the configuration, so that after a change only the changed tables are read again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableHashes(BTreeMap<String, blake3::Hash>);

impl TableHashes {
    /// The hash of all.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hasher = blake3::Hasher::new();
        for (table, hash) in &self.0 {
            hasher.update(table.as_bytes());
            hasher.update(hash.as_bytes());
        }
        Fingerprint(hasher.finalize().to_hex().to_string())
    }

    /// The same with the tables of `changed`.
    pub(super) fn with(&self, changed: TableHashes) -> TableHashes {
        let mut all = self.0.clone();
        all.extend(changed.0);
        TableHashes(all)
    }
}

/// Hashes the configuration, without columns that the server itself updates.
pub fn read_fingerprint(reader: &mut dyn Reader, schema: &Schema) -> Result<Fingerprint> {
    Ok(read_table_hashes(reader, schema)?.fingerprint())
}

/// The same, table by table.
pub fn read_table_hashes(reader: &mut dyn Reader, schema: &Schema) -> Result<TableHashes> {
    read_configuration(reader, schema, &|_| true, &mut |_, _| Ok(()))
}

/// Whether `table` is part of the fingerprint.
pub fn is_configuration(table: &str) -> bool {
    !is_history(table) && !BOOKKEEPING.contains(&table)
}

/// Whether the fingerprint ignores `column` of `table`.
pub fn is_unguarded(table: &str, column: &str) -> bool {
    !is_configuration(table) || MOVING.contains(&(table, column))
}

/// Whether the server itself updates `column` of `table`, so that a difference is not a change by a user.
pub fn is_moving(table: &str, column: &str) -> bool {
    // The server rehashes passwords at times, and users set them too.
    MOVING.contains(&(table, column)) && column != "password"
}

/// Reads the `selected` tables of the configuration, passes each complete row with its table to `each`, and returns their
/// hashes.
pub(super) fn read_configuration(
    reader: &mut dyn Reader,
    schema: &Schema,
    selected: &dyn Fn(&str) -> bool,
    each: &mut dyn FnMut(&str, Row) -> Result<()>,
) -> Result<TableHashes> {
    let mut hashes = TableHashes::default();
    let mut text = Vec::new();
    let tables = schema.tables.iter().filter(|(table, _)| is_configuration(table) && selected(table));
    for (table, described) in tables {
        let mut hasher = blake3::Hasher::new();
        let columns: Vec<&str> = described.columns.iter().map(|column| column.name.as_str()).collect();
        let still: Vec<bool> = columns.iter().map(|column| !MOVING.contains(&(table.as_str(), column))).collect();
        let order = if described.column("id").is_some() { " ORDER BY `id`" } else { "" };
        reader.stream(&format!("SELECT {} FROM {}{order}", names(&columns), quote(table)), &[], &mut |row| {
            text.clear();
            row.cells().iter().zip(&still).filter(|(_, still)| **still).for_each(|(cell, _)| append(&mut text, cell));
            hasher.update(&text);
            each(table, row)
        })?;
        hashes.0.insert(table.clone(), hasher.finalize());
    }
    Ok(hashes)
}

/// Appends a unique encoding of `cell`: its kind, length and bytes.
pub(super) fn append(text: &mut Vec<u8>, cell: &Value) {
    let (tag, bytes): (u8, &[u8]) = match cell {
        Value::Null => (0, &[]),
        Value::Int(n) => (1, &n.to_le_bytes()),
        Value::Real(x) => (2, &x.to_le_bytes()),
        Value::Text(text) => (3, text.as_bytes()),
        Value::Blob(bytes) => (4, bytes),
    };
    text.push(tag);
    text.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    text.extend_from_slice(bytes);
}

/// The id of the newest heartbeat, 0 if there is none: later ones have greater ids.
pub fn read_last_beat(reader: &mut dyn Reader) -> Result<i64> {
    let rows = reader.query("SELECT max(`id`) AS last FROM `heartbeat`", &[])?;
    Ok(rows.first().and_then(|row| row.int("last")).unwrap_or(0))
}

/// The newest heartbeat of each monitor with an id greater than `after`: monitor_id, status, msg, ping, time.
pub fn read_beats(reader: &mut dyn Reader, after: i64) -> Result<BTreeMap<i64, Row>> {
    let mut beats = BTreeMap::new();
    let sql = "SELECT `monitor_id`, `status`, `msg`, `ping`, `time` FROM `heartbeat` WHERE `id` > ? ORDER BY `id`";
    reader.stream(sql, &[Value::Int(after)], &mut |row| {
        if let Some(id) = row.int("monitor_id") {
            beats.insert(id, row);
        }
        Ok(())
    })?;
    Ok(beats)
}

/// The number of dependent rows of monitor `id` by table (column `monitor_id`), which are deleted with it.
pub fn read_dependents(reader: &mut dyn Reader, schema: &Schema, id: i64) -> Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for table in schema.tables.keys().filter(|table| schema.has(table, "monitor_id")) {
        let sql = format!("SELECT count(*) AS n FROM {} WHERE `monitor_id` = ?", quote(table));
        let rows = reader.query(&sql, &[Value::Int(id)])?;
        found.insert(table.clone(), rows.first().and_then(|row| row.int("n")).unwrap_or(0).unsigned_abs());
    }
    Ok(found)
}

/// Identifies the database, and reads the [`Summary`] of it.
///
/// # Errors
/// As [`read_database`].
pub fn read_overview(reader: &mut dyn Reader, name: &str) -> Result<(Database, Summary)> {
    let database = read_database(reader, name)?;
    let summary = read_summary(reader, &database.schema)?;
    Ok((database, summary))
}

/// The [`Summary`] of a database with this schema.
pub fn read_summary(reader: &mut dyn Reader, schema: &Schema) -> Result<Summary> {
    let counted = reader.query(
        "SELECT count(*) AS n, sum(`active` <> 0) AS active, (SELECT count(*) FROM `user`) AS users FROM `monitor`",
        &[],
    )?;
    let count = |name: &str| counted.first().and_then(|row| row.int(name)).unwrap_or(0).unsigned_abs();
    // By id, not by time: ids are the table's order, so this reads one row of millions.
    let newest = if schema.has("heartbeat", "time") {
        reader.query("SELECT `time` FROM `heartbeat` ORDER BY `id` DESC LIMIT 1", &[])?
    } else {
        Vec::new()
    };
    Ok(Summary {
        users: count("users"),
        monitors: count("n"),
        active: count("active"),
        newest_beat: newest.first().and_then(|row| row.text("time").map(str::to_owned)),
    })
}

/// Rows per table, of all tables.
pub fn read_counts(reader: &mut dyn Reader, schema: &Schema) -> Result<crate::engine::Counts> {
    let counts: Vec<String> =
        schema.tables.keys().map(|table| format!("SELECT count(*) FROM {}", quote(table))).collect();
    let counts = read_numbers(reader, &counts)?;
    Ok(schema.tables.keys().cloned().zip(counts.into_iter().map(i64::unsigned_abs)).collect())
}

fn names(columns: &[&str]) -> String {
    columns.iter().map(|column| quote(column)).collect::<Vec<_>>().join(", ")
}

/// Ids in one list of a statement. MariaDB does not use ranges of an index for a list of 1,000 or more, and reads all rows of each
/// monitor (`in_predicate_conversion_threshold`).
pub(super) const LISTED_IDS: usize = 900;

pub(crate) fn ids_text(ids: &[i64]) -> String {
    match ids {
        // An empty list is invalid SQL; no row has the id NULL.
        [] => "NULL".to_owned(),
        ids => ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", "),
    }
}
