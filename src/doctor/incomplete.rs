//! What each migration creates, and how one is finished that is not recorded as applied: its missing tables and columns are
//! created as recorded for its release, then it is recorded. Existing tables and data are not changed.

use std::collections::BTreeSet;

use super::Evidence;
use super::books::has_tables_of;
use super::evidence::DatabaseContent;
use crate::schema::{self, EngineKind, Recording, Release, Schema, quote};

/// Columns, or whole tables if no column is named, that a migration creates (read in the migrations of 2.5.3).
/// Migrations that only change columns or rows can be run again.
type Made = (&'static str, &'static str, &'static [&'static str]);

const WHOLE: &[&str] = &[];

const MADE: &[Made] = &[
    ("2023-08-16-0000-create-uptime.js", "stat_minutely", WHOLE),
    ("2023-08-16-0000-create-uptime.js", "stat_daily", WHOLE),
    ("2023-08-18-0301-heartbeat.js", "heartbeat", &["end_time"]),
    ("2023-09-29-0000-heartbeat-retires.js", "heartbeat", &["retries"]),
    ("2023-10-08-0000-mqtt-query.js", "monitor", &["mqtt_check_type"]),
    ("2023-10-16-0000-create-remote-browsers.js", "remote_browser", WHOLE),
    ("2023-10-16-0000-create-remote-browsers.js", "monitor", &["remote_browser"]),
    ("2023-12-20-0000-alter-status-page.js", "status_page", &["auto_refresh_interval"]),
    ("2023-12-21-0000-stat-ping-min-max.js", "stat_daily", &["ping_min", "ping_max"]),
    ("2023-12-21-0000-stat-ping-min-max.js", "stat_minutely", &["ping_min", "ping_max"]),
    ("2023-12-22-0000-hourly-uptime.js", "stat_hourly", WHOLE),
    ("2024-01-22-0000-stats-extras.js", "stat_daily", &["extras"]),
    ("2024-01-22-0000-stats-extras.js", "stat_minutely", &["extras"]),
    ("2024-01-22-0000-stats-extras.js", "stat_hourly", &["extras"]),
    ("2024-04-26-0000-snmp-monitor.js", "monitor", &["snmp_oid", "snmp_version", "json_path_operator"]),
    ("2024-08-24-000-add-cache-bust.js", "monitor", &["cache_bust"]),
    ("2024-08-24-0000-conditions.js", "monitor", &["conditions"]),
    ("2024-10-1315-rabbitmq-monitor.js", "monitor", &["rabbitmq_nodes", "rabbitmq_username", "rabbitmq_password"]),
    ("2025-01-01-0000-add-smtp.js", "monitor", &["smtp_security"]),
    ("2025-02-15-2312-add-wstest.js", "monitor", &["ws_ignore_sec_websocket_accept_header", "ws_subprotocol"]),
    (RENAMES, "status_page", &["analytics_id", "analytics_script_url", "analytics_type"]),
    (
        "2025-03-04-0000-ping-advanced-options.js",
        "monitor",
        &["ping_count", "ping_numeric", "ping_per_request_timeout"],
    ),
    ("2025-05-09-0000-add-custom-url.js", "monitor_group", &["custom_url"]),
    ("2025-06-03-0000-add-ip-family.js", "monitor", &["ip_family"]),
    ("2025-06-11-0000-add-manual-monitor.js", "monitor", &["manual_status"]),
    (RECKONS, "maintenance", &["last_start_date"]),
    ("2025-06-24-0000-add-audience-to-oauth.js", "monitor", &["oauth_audience"]),
    ("2025-07-17-0000-mqtt-websocket-path.js", "monitor", &["mqtt_websocket_path"]),
    ("2025-09-02-0000-add-domain-expiry.js", "monitor", &["domain_expiry_notification"]),
    ("2025-09-02-0000-add-domain-expiry.js", "domain_expiry", WHOLE),
    (
        "2025-10-15-0001-add-monitor-response-config.js",
        "monitor",
        &["save_response", "save_error_response", "response_max_length"],
    ),
    ("2025-10-15-0002-add-response-to-heartbeat.js", "heartbeat", &["response"]),
    ("2025-10-24-0000-show-only-last-heartbeat.js", "status_page", &["show_only_last_heartbeat"]),
    ("2025-12-09-0000-add-system-service-monitor.js", "monitor", &["system_service_name"]),
    ("2025-12-17-0000-add-globalping-monitor.js", "monitor", &["subtype", "location", "protocol"]),
    ("2025-12-31-2143-add-snmp-v3-username.js", "monitor", &["snmp_v3_username"]),
    ("2026-01-05-0000-add-rss-title.js", "status_page", &["rss_title"]),
    ("2026-01-05-0000-add-tls-monitor.js", "monitor", &["expected_tls_alert"]),
    ("2026-01-15-0000-add-json-query-retry-only-status-code.js", "monitor", &["retry_only_on_status_code_failure"]),
    ("2026-01-16-0000-add-screenshot-delay.js", "monitor", &["screenshot_delay"]),
    (
        "2026-03-27-0000-add-ntp-monitor.js",
        "monitor",
        &["ntp_stratum_threshold", "ntp_time_offset_threshold", "ntp_root_dispersion_threshold"],
    ),
    ("2026-05-20-0000-add-bearer-token.js", "monitor", &["bearer_token"]),
    ("2026-05-25-0000-add-gamedig-token.js", "monitor", &["gamedig_token"]),
];

/// It also renames a column.
const RENAMES: &str = "2025-02-17-2142-generalize-analytics.js";

/// It also computes cron expressions for maintenance windows.
const RECKONS: &str = "2025-06-13-0000-maintenance-add-last-start.js";

/// They change only rows, so the tables do not show whether they were applied.
const ROWS_ONLY: [&str; 4] = [
    "2024-10-31-0000-fix-snmp-monitor.js",
    "2025-12-29-0000-remove-line-notify.js",
    "2026-01-02-0713-gamedig-v4-to-v5.js",
    "2026-02-07-0000-disable-domain-expiry-unsupported-tlds.js",
];

/// Migrations that are not recorded as applied, although what they create exists.
pub(super) struct Unrecorded {
    /// Their names, in their order: one that is incomplete, or all that are complete.
    pub migrations: Vec<&'static str>,
    /// The oldest recorded release that has them.
    pub release: Release,
    /// The table of the first existing part.
    pub table: &'static str,
    /// The column of the first existing part; `None` for a whole table.
    pub column: Option<&'static str>,
    /// The statements that create what is missing and record them; `None` if they need more than that.
    pub statements: Option<Vec<String>>,
}

/// The migrations of a database that are not recorded, if a part of one exists.
pub(super) fn unrecorded(evidence: &Evidence) -> Option<Unrecorded> {
    let content = evidence.database.as_ref()?;
    let database = &content.config.database;
    let all = schema::recorded(database.engine);
    let order: Vec<&str> = all.last()?.migrations().collect();
    // The patches of 1.x are named otherwise.
    let applied: BTreeSet<&str> =
        database.migrations.iter().map(String::as_str).filter(|name| !name.ends_with(".sql")).collect();
    // An unknown release may have created it differently.
    if applied.iter().any(|name| !order.contains(name)) {
        return None;
    }
    let exists = |(table, column): &(&str, Option<&str>)| match column {
        Some(column) => database.schema.has(table, column),
        None => database.schema.table(table).is_some(),
    };
    let not_applied: Vec<&str> = order.iter().copied().filter(|name| !applied.contains(name)).collect();
    let (first, there, missing) = not_applied.iter().find_map(|name| {
        let (there, missing): (Vec<_>, Vec<_>) = parts(name).into_iter().partition(exists);
        there.first().map(|part| (*name, *part, missing))
    })?;
    let is_complete = |name: &&str| !parts(name).is_empty() && parts(name).iter().all(exists);
    let migrations = if missing.is_empty() {
        all_of_release(&database.schema, all, &applied, first)
            .unwrap_or_else(|| not_applied.iter().copied().filter(is_complete).collect())
    } else {
        vec![first]
    };
    let has_all = |one: &&Recording| migrations.iter().all(|name| one.migrations().any(|other| other == *name));
    let recording = all.iter().find(has_all)?;
    let statements = finish(content, recording, &migrations, &missing);
    Some(Unrecorded { migrations, release: recording.release, table: there.0, column: there.1, statements })
}

/// The migrations of the release whose tables a database has, that are not `applied`, if `first` is one of them. Those that change
/// columns and rows are among them: applied once more, they would undo what later ones did
/// (`2025-10-15-0000-stat-table-fix.js` rounds the response times). Only the last ones may not have been applied yet.
fn all_of_release(
    live: &Schema,
    all: &'static [Recording],
    applied: &BTreeSet<&str>,
    first: &str,
) -> Option<Vec<&'static str>> {
    let is_it = |one: &&Recording| {
        let migrations: BTreeSet<&str> = one.migrations().collect();
        let is_other =
            |name: &String| !one.schema().tables.contains_key(name) && schema::is_of_server(one.engine, name);
        migrations.contains(first)
            && applied.is_subset(&migrations)
            && has_tables_of(live, one.schema())
            && !live.tables.keys().any(is_other)
    };
    let recording = all.iter().filter(|one| one.release.major > 1).find(is_it)?;
    let mut migrations: Vec<&str> = recording.migrations().filter(|name| !applied.contains(name)).collect();
    while migrations.last().is_some_and(|last| ROWS_ONLY.contains(last)) {
        migrations.pop();
    }
    Some(migrations)
}

/// What `migration` creates: tables, and columns of tables.
fn parts(migration: &str) -> Vec<(&'static str, Option<&'static str>)> {
    MADE.iter()
        .filter(|(name, ..)| *name == migration)
        .flat_map(|(_, table, columns)| match *columns {
            [] => vec![(*table, None)],
            columns => columns.iter().map(|column| (*table, Some(*column))).collect(),
        })
        .collect()
}

fn finish(
    content: &DatabaseContent,
    recording: &Recording,
    migrations: &[&str],
    missing: &[(&'static str, Option<&'static str>)],
) -> Option<Vec<String>> {
    let schema = &content.config.database.schema;
    let reckons = migrations.contains(&RECKONS)
        && content
            .config
            .rows("maintenance")
            .iter()
            .any(|row| row.text("strategy") == Some("recurring-interval") && row.text("cron") == Some("* * * * *"));
    let renames = missing.iter().any(|(_, column)| *column == Some("analytics_id"));
    if reckons || renames || !schema.has("knex_migrations", "batch") {
        return None;
    }
    let mut statements = Vec::new();
    for (table, column) in missing {
        match column {
            Some(column) => statements.push(make_column(recording, table, column)?),
            None => statements.extend(make_table(recording, table)),
        }
    }
    let now = match recording.engine {
        EngineKind::Sqlite => "unixepoch() * 1000",
        EngineKind::MariaDb => "now()",
    };
    let names: Vec<String> = migrations.iter().map(|name| format!("SELECT '{name}' AS `name`")).collect();
    statements.push(format!(
        "INSERT INTO `knex_migrations` (`name`, `batch`, `migration_time`) SELECT `name`, \
         (SELECT coalesce(max(`batch`), 0) + 1 FROM `knex_migrations`), {now} FROM ({}) AS applied",
        names.join(" UNION ALL ")
    ));
    Some(statements)
}

/// The statement that adds `column` to `table` as recorded; `None` if existing rows could not have it.
pub(super) fn make_column(recording: &Recording, table: &str, column: &str) -> Option<String> {
    let described = recording.schema().table(table)?.column(column)?.clone();
    if described.not_null && described.default.is_none() {
        return None;
    }
    Some(format!("ALTER TABLE {} ADD COLUMN {}", quote(table), definition(recording, table, column)?))
}

/// The statements that change the definition of `column` of `table` to the recorded one, and keep its values.
pub(super) fn redefine_column(recording: &Recording, table: &str, column: &str) -> Option<Vec<String>> {
    let (of, name) = (quote(table), quote(column));
    if recording.engine == EngineKind::MariaDb {
        return Some(vec![format!("ALTER TABLE {of} MODIFY COLUMN {}", definition(recording, table, column)?)]);
    }
    // SQLite cannot change a column.
    let old = quote(&format!("{column}_old"));
    Some(vec![
        format!("ALTER TABLE {of} RENAME COLUMN {name} TO {old}"),
        make_column(recording, table, column)?,
        format!("UPDATE {of} SET {name} = {old}"),
        format!("ALTER TABLE {of} DROP COLUMN {old}"),
    ])
}

/// The definition of `column` as recorded, which begins with its name.
fn definition(recording: &Recording, table: &str, column: &str) -> Option<&'static str> {
    let head = format!("{} ", quote(column));
    let lines = made(recording, table)?.lines().map(|line| line.trim().trim_end_matches(','));
    lines.skip(1).find(|line| line.starts_with(&head))
}

/// The statements that create `table` and its indexes as recorded.
pub(super) fn make_table(recording: &Recording, table: &str) -> Vec<String> {
    let on = format!(" ON {} ", quote(table));
    let indexes = schema::script(recording.sql).filter(|sql| {
        sql.starts_with("CREATE")
            && sql.split_once('(').is_some_and(|(head, _)| head.contains("INDEX ") && head.contains(&on))
    });
    made(recording, table).into_iter().chain(indexes).map(str::to_owned).collect()
}

fn made(recording: &Recording, table: &str) -> Option<&'static str> {
    let head = format!("CREATE TABLE {} (", quote(table));
    schema::script(recording.sql).find(|sql| sql.starts_with(&head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_makes_what_the_recordings_say() {
        for engine in [EngineKind::Sqlite, EngineKind::MariaDb] {
            let all: Vec<&Recording> = schema::recorded(engine).iter().filter(|one| one.release.major > 1).collect();
            for pair in all.windows(2) {
                let (before, after) = (pair[0].schema(), pair[1].schema());
                let old: Vec<&str> = pair[0].migrations().collect();
                for (table, described) in &after.tables {
                    let new = described.columns.iter().filter(|column| !before.has(table, &column.name));
                    for column in new {
                        let makes = |(name, made, columns): &&Made| {
                            pair[1].migrations().any(|other| other == *name)
                                && !old.contains(name)
                                && *made == table
                                && (columns.is_empty() || columns.contains(&column.name.as_str()))
                        };
                        assert!(
                            MADE.iter().any(|made| makes(&made)),
                            "{engine} {}: {table}.{}",
                            pair[1].release,
                            column.name
                        );
                    }
                }
            }
            let newest = all[all.len() - 1];
            for (name, table, columns) in MADE {
                assert!(newest.migrations().any(|other| other == *name), "{name}");
                assert!(!make_table(newest, table).is_empty(), "{table}");
                for column in *columns {
                    assert!(make_column(newest, table, column).is_some(), "{table}.{column}");
                }
            }
        }
    }
}
