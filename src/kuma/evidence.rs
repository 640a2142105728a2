//! Reads the evidence of the doctor from a database in few passes: the complete configuration, and figures of the
//! history.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::read::{STATISTICS, read_config};
use super::write::{highest_in, last_ids};
use crate::doctor::evidence::{BeatFigures, DatabaseContent, NAMED, Orphans, ReusedIds};
use crate::engine::space::{AutoVacuum, Layout};
use crate::engine::{Connect, Depth, IntegrityError, RawRow, RawValue, Reader, RowTest, join, quote, read_numbers};
use crate::error::Result;
use crate::model::state::Database;
use crate::schema::{self, EngineKind, ForeignKey, Recording, Schema};
use crate::value::{Row, Value, server_text};

/// Seconds by which statistics may be in the future: the upgrade to 2.x wrote them in local time.
const AHEAD: i64 = 2 * 86_400;

/// Reads it, except for the heartbeats ([`read_beats`]). `now` is in seconds since 1970; `is_zone` returns whether a
/// time zone exists.
///
/// # Errors
/// As [`read_config`].
pub fn read_content(
    reader: &mut dyn Reader,
    name: &str,
    now: i64,
    is_zone: &dyn Fn(&str) -> bool,
) -> Result<DatabaseContent> {
    let config = read_config(reader, name)?;
    let schema = &config.database.schema;
    let lock = match schema.table("knex_migrations_lock") {
        Some(_) => Some(reader.query("SELECT * FROM `knex_migrations_lock`", &[])?),
        None => None,
    };
    let (version, eager) = read_engine(reader)?;
    let orphans = read_orphans(reader, &config.database)?;
    let reused_ids = read_reused_ids(reader, schema)?;
    let lost_counters = read_lost_counters(reader, schema)?;
    let (future, statistics) = read_statistics(reader, schema, now)?;
    let is_aggregating = config.setting("migrateAggregateTableState").and_then(|row| row.text("value"));
    let (aggregated, unaggregated) = if is_aggregating.is_some_and(|state| state.contains("migrating")) {
        read_aggregated(reader)?
    } else {
        Default::default()
    };
    let zones = config.rows("maintenance").iter().filter_map(|row| row.text("timezone"));
    let unknown_zones: BTreeSet<String> = zones
        .filter(|zone| !zone.is_empty() && *zone != "SAME_AS_SERVER" && !is_zone(zone))
        .map(str::to_owned)
        .collect();
    Ok(DatabaseContent {
        lock,
        beats: BeatFigures::default(),
        orphans,
        reused_ids,
        lost_counters,
        future,
        statistics,
        aggregated,
        unaggregated,
        version,
        eager,
        unknown_zones,
        config,
    })
}

/// The number of tables, if some are missing and the others are empty: the first start of the server was interrupted.
pub fn read_half_made(reader: &mut dyn Reader) -> Result<Option<usize>> {
    let schema = reader.schema()?;
    let newest = schema::recorded(reader.kind()).last().map(Recording::schema).cloned().unwrap_or_default();
    let made = schema.tables.keys().filter(|table| newest.table(table).is_some()).count();
    // Settings are written before the first user exists.
    let is_filled = |table: &&String| *table != "setting" && !table.starts_with("knex_");
    for table in schema.tables.keys().filter(is_filled) {
        if !reader.query(&format!("SELECT 1 FROM {} LIMIT 1", quote(table)), &[])?.is_empty() {
            return Ok(None);
        }
    }
    Ok((made > 0).then_some(made))
}

/// Monitors with daily statistics of more heartbeats than they still have, and monitors with heartbeats and no daily
/// statistics. Rows of monitors that do not exist do not count.
fn read_aggregated(reader: &mut dyn Reader) -> Result<(BTreeSet<i64>, BTreeSet<i64>)> {
    let mut monitors = |sql: &str| -> Result<BTreeSet<i64>> {
        Ok(reader.query(sql, &[])?.iter().filter_map(|row| row.int("monitor")).collect())
    };
    let aggregated = monitors(
        "SELECT s.`monitor_id` AS monitor FROM (SELECT `monitor_id`, sum(`up`) + sum(`down`) AS beats FROM `stat_daily` \
         GROUP BY `monitor_id`) s WHERE s.beats > (SELECT count(*) FROM `heartbeat` h WHERE h.`monitor_id` = \
         s.`monitor_id`) AND s.`monitor_id` IN (SELECT `id` FROM `monitor`)",
    )?;
    let unaggregated = monitors(
        "SELECT m.`id` AS monitor FROM `monitor` m WHERE EXISTS (SELECT 1 FROM `heartbeat` h WHERE h.`monitor_id` = m.`id`) \
         AND NOT EXISTS (SELECT 1 FROM `stat_daily` s WHERE s.`monitor_id` = m.`id`)",
    )?;
    Ok((aggregated, unaggregated))
}

/// Checks every heartbeat, with two connections in parallel. `now` is in seconds since 1970.
///
/// # Errors
/// Errors of the engine.
pub fn read_beats(connect: &dyn Connect, now: i64) -> Result<BeatFigures> {
    let ends = connect.reader()?.query("SELECT min(`id`) AS first, max(`id`) AS last FROM `heartbeat`", &[])?;
    let Some((first, last)) = ends.first().and_then(|row| Some((row.int("first")?, row.int("last")?))) else {
        return Ok(BeatFigures::default());
    };
    let middle = first / 2 + last / 2;
    // Both limits are explicit: with a limit out of range of the column, MariaDB would read every row.
    let half = |ids| read_beats_within(&mut *connect.reader()?, now, ids);
    let (older, newer) = join(|| half(first..=middle), || half(middle + 1..=last));
    let mut beats = older?;
    beats.add(newer?);
    Ok(beats)
}

/// Checks every heartbeat and the database itself, if its engine reads each heartbeat for that anyway and nothing of them is to be
/// reported; else `None`.
///
/// # Errors
/// Errors of the engine.
pub fn check_with_beats(
    reader: &mut dyn Reader,
    depth: Depth,
    now: i64,
) -> Result<Option<(Vec<IntegrityError>, BeatFigures)>> {
    let limit = limit(now);
    let limit = limit.text().unwrap_or_default().as_bytes();
    // What `read_beats_within` reports of, or may: the text of another type is not compared here.
    let passes = |row: &RawRow<'_>| {
        let Some(RawValue::Text(time)) = row.value(1) else { return false };
        let is_in_time = time <= limit;
        match row.value(0) {
            Some(RawValue::Int(1..=3)) => is_in_time,
            Some(RawValue::Int(0)) => is_in_time && !may_be_timeout(row.value(2)),
            _ => false,
        }
    };
    let test = RowTest { table: "heartbeat", columns: &["status", "time", "msg"], passes: &passes };
    let checked = reader.check_testing(depth, &test)?.filter(|(_, rows)| rows.failed == 0);
    Ok(checked.map(|(faults, rows)| (faults, BeatFigures { rows: rows.all, ..BeatFigures::default() })))
}

/// The first words of a message of the server that waited in vain for a connection to its database.
const TIMEOUT: &str = "Knex: Timeout";

/// Whether a message begins with [`TIMEOUT`], as `LIKE` compares it, or is of a type that only the engine can compare.
fn may_be_timeout(message: Option<RawValue<'_>>) -> bool {
    match message {
        Some(RawValue::Text(text)) => {
            text.get(..TIMEOUT.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(TIMEOUT.as_bytes()))
        }
        Some(RawValue::Null) => false,
        _ => true,
    }
}

/// Checks the heartbeats with these ids.
pub fn read_beats_within(reader: &mut dyn Reader, now: i64, ids: RangeInclusive<i64>) -> Result<BeatFigures> {
    // InnoDB copies the message of every row that it reads, so only those of the few that are down are looked up.
    let waited = format!("EXISTS (SELECT 1 FROM `heartbeat` w WHERE w.`id` = h.`id` AND w.`msg` LIKE '{TIMEOUT}%')");
    // The most common case comes first.
    let is_reported = format!(
        "CASE WHEN `status` = 1 AND `time` <= ? THEN 0 WHEN `time` > ? THEN 1 WHEN `status` IN (1, 2, 3) THEN 0 \
         WHEN `status` = 0 THEN {waited} ELSE 1 END"
    );
    let (limit, first, last) = (limit(now), Value::Int(*ids.start()), Value::Int(*ids.end()));
    let counted = reader.query(
        &format!("SELECT count(*) AS n, sum({is_reported}) AS odd FROM `heartbeat` h WHERE `id` BETWEEN ? AND ?"),
        &[limit.clone(), limit.clone(), first.clone(), last.clone()],
    )?;
    let count = |name: &str| counted.first().and_then(|row| row.int(name)).unwrap_or(0).unsigned_abs();
    let mut beats = BeatFigures { rows: count("n"), ..BeatFigures::default() };
    // Few histories contain any, and counting takes no longer than checking.
    if count("odd") == 0 {
        return Ok(beats);
    }
    let sql = format!(
        "SELECT `id`, `status`, `status` = 0 AND {waited} AS waited, `time` > ? AS ahead, \
         (`status` IN (0, 1, 2, 3)) IS NOT TRUE AS odd FROM `heartbeat` h WHERE `id` BETWEEN ? AND ? AND {is_reported}"
    );
    let params = [limit.clone(), first, last, limit.clone(), limit];
    reader.stream(&sql, &params, &mut |row| {
        beats.timeouts += u64::from(row.cell("waited").truthy());
        let id = row.int("id").unwrap_or_default();
        if row.cell("ahead").truthy() && beats.future.len() < NAMED {
            beats.future.push(id);
        }
        if row.cell("odd").truthy() {
            match row.cell("status") {
                Value::Int(status) => *beats.odd_statuses.entry(*status).or_insert(0) += 1,
                _ if beats.odd.len() < NAMED => beats.odd.push(id),
                _ => {}
            }
        }
        Ok(())
    })?;
    Ok(beats)
}

/// The time after which a heartbeat is in the future, in any time zone of a 1.x.
fn limit(now: i64) -> Value {
    let at = chrono::DateTime::from_timestamp(now + AHEAD, 0).unwrap_or_default();
    server_text(&at).into()
}

/// The version of MariaDB, and whether SQLite shrinks the file at every commit.
fn read_engine(reader: &mut dyn Reader) -> Result<(String, bool)> {
    match reader.kind() {
        EngineKind::MariaDb => {
            let rows = reader.query("SELECT VERSION() AS version", &[])?;
            Ok((rows.first().and_then(|row| row.text("version")).unwrap_or_default().to_owned(), false))
        }
        EngineKind::Sqlite => Ok((String::new(), Layout::read(reader)?.auto_vacuum == AutoVacuum::Full)),
    }
}

/// Every foreign key that exists, or should exist in this release, by one anti-join over its index.
fn read_orphans(reader: &mut dyn Reader, database: &Database) -> Result<Vec<Orphans>> {
    let schema = &database.schema;
    let recording = schema::recorded(database.engine).iter().find(|one| one.release == database.release.release);
    let recorded = recording.map(Recording::schema).cloned().unwrap_or_default();
    let mut keys = Vec::new();
    for (table, described) in &schema.tables {
        let lost = recorded.table(table).into_iter().flat_map(|table| &table.foreign_keys).filter(|key| {
            !described.foreign_keys.iter().any(|other| (&other.column, &other.table) == (&key.column, &key.table))
        });
        let there = |key: &&ForeignKey| schema.has(table, &key.column) && schema.has(&key.table, &key.to);
        keys.extend(described.foreign_keys.iter().chain(lost).filter(there).map(|key| (table, key)));
    }
    // The distinct values first: a million heartbeats belong to a few monitors, and MariaDB skips from one to the next in
    // the index.
    let lost_values = |(table, key): &(&String, &ForeignKey)| {
        let (child, column, parent, to) = (quote(table), quote(&key.column), quote(&key.table), quote(&key.to));
        format!(
            "FROM (SELECT DISTINCT {column} AS lost FROM {child} WHERE {column} IS NOT NULL) g WHERE NOT EXISTS (SELECT 1 \
             FROM {parent} p WHERE p.{to} = g.lost)"
        )
    };
    let any: Vec<String> = keys.iter().map(|key| format!("SELECT 1 {} LIMIT 1", lost_values(key))).collect();
    let any = read_numbers(reader, &any)?;
    let mut found = Vec::new();
    for ((table, key), _) in keys.into_iter().zip(any).filter(|(_, any)| *any > 0) {
        let (child, column) = (quote(table), quote(&key.column));
        let rows = format!("(SELECT count(*) FROM {child} c WHERE c.{column} = g.lost)");
        let sql = format!("SELECT g.lost, {rows} AS n {}", lost_values(&(table, key)));
        for row in reader.query(&sql, &[])? {
            if let (Some(value), Some(rows)) = (row.int("lost"), row.int("n")) {
                let (table, column, parent) = (table.clone(), key.column.clone(), key.table.clone());
                found.push(Orphans { table, column, parent, value, rows: rows.unsigned_abs() });
            }
        }
    }
    Ok(found)
}

/// Tables whose counter of ids is below what other rows refer to: each look is one step in an index.
fn read_reused_ids(reader: &mut dyn Reader, schema: &Schema) -> Result<Vec<ReusedIds>> {
    let parents = schema.tables.keys().filter(|parent| schema.has(parent, "id"));
    let references = parents.map(|parent| (parent.as_str(), schema.references_to(parent)));
    let references: Vec<_> = references.filter(|(_, references)| !references.is_empty()).collect();
    let parents: Vec<&str> = references.iter().map(|(parent, _)| *parent).collect();
    // Before the counters: of what the server adds in between, both grow.
    let mut highest =
        highest_in(reader, references.iter().flat_map(|(_, references)| references.iter().copied()))?.into_iter();
    let lasts = last_ids(reader, &parents)?;
    let mut found = Vec::new();
    for ((parent, references), last) in references.into_iter().zip(lasts) {
        let mut reused = ReusedIds { parent: parent.to_owned(), last, highest: last, rows: BTreeMap::new() };
        for ((table, column), highest) in references.into_iter().zip(&mut highest) {
            if highest > last {
                let sql = format!("SELECT count(*) AS n FROM {} WHERE {} > ?", quote(table), quote(column));
                let n = reader.query(&sql, &[Value::Int(last)])?.first().and_then(|row| row.int("n")).unwrap_or(0);
                *reused.rows.entry(table.to_owned()).or_insert(0) += n.unsigned_abs();
                reused.highest = reused.highest.max(highest);
            }
        }
        if reused.highest > last {
            found.push(reused);
        }
    }
    Ok(found)
}

/// Tables of SQLite whose ids are counted, with rows and without a counter. MariaDB keeps its counters itself.
fn read_lost_counters(reader: &mut dyn Reader, schema: &Schema) -> Result<Vec<(String, i64)>> {
    if reader.kind() == EngineKind::MariaDb {
        return Ok(Vec::new());
    }
    let counted = "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%' ORDER BY name";
    let mut found = Vec::new();
    for row in reader.query(counted, &[])? {
        let Some(table) = row.text("name").filter(|name| schema.has(name, "id")) else { continue };
        let sql = format!("SELECT max(id) AS id FROM {}", quote(table));
        let Some(highest) = reader.query(&sql, &[])?.first().and_then(|row| row.int("id")) else { continue };
        let sql = "SELECT max(seq) AS seq FROM sqlite_sequence WHERE name = ?";
        if reader.query(sql, &[table.into()])?.first().and_then(|row| row.int("seq")).is_none() {
            found.push((table.to_owned(), highest));
        }
    }
    Ok(found)
}

type Counted = Vec<(String, i64, u64)>;

/// Rows of statistics in the future, by time, and rows of each monitor.
fn read_statistics(reader: &mut dyn Reader, schema: &Schema, now: i64) -> Result<(Counted, Counted)> {
    let (mut future, mut all) = (Vec::new(), Vec::new());
    for table in STATISTICS.into_iter().filter(|table| schema.has(table, "timestamp")) {
        let count = |rows: Vec<Row>| -> Counted {
            let cells = rows.iter().filter_map(|row| Some((row.int("what")?, row.int("n")?.unsigned_abs())));
            cells.map(|(what, n)| (table.to_owned(), what, n)).collect()
        };
        let sql = format!(
            "SELECT `timestamp` AS what, count(*) AS n FROM {} WHERE `timestamp` > ? GROUP BY `timestamp` ORDER BY 1",
            quote(table)
        );
        future.extend(count(reader.query(&sql, &[Value::Int(now + AHEAD)])?));
        let sql = format!(
            "SELECT `monitor_id` AS what, count(*) AS n FROM {} GROUP BY `monitor_id` ORDER BY 1",
            quote(table)
        );
        all.extend(count(reader.query(&sql, &[])?));
    }
    Ok((future, all))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::sqlite::SqliteFile;

    const NOW: i64 = 1_790_000_000;

    /// One heartbeat among others, with every kind of status, time and message: the figures are those of the engine's own look at
    /// every heartbeat, and none are returned where there is anything to report.
    #[test]
    fn heartbeats_are_counted_while_the_file_is_checked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kuma.db");
        let change = |sql: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        change(include_str!("../../migrations/sqlite/2.5.3.sql"));
        change(
            "PRAGMA journal_mode = WAL; PRAGMA foreign_keys = OFF;
             INSERT INTO heartbeat (id, important, monitor_id, status, msg, time, duration)
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
             SELECT i, 0, 1, i % 4, iif(i % 9, 'connect ECONNREFUSED', NULL), '2026-01-01 00:00:00.' || i, 60 FROM n;",
        );
        let long = format!("'{}'", "knex: timeout ".repeat(900));
        let statuses = ["0", "1", "2", "3", "4", "-1", "'x'", "1.5"];
        let times = ["'2026-09-22 00:00:00.000'", "'2026-10-01 00:00:00.000'", "'now'", "7", "x'32'"];
        let messages =
            ["'200 - OK'", "NULL", "'Knex: Timeout acquiring'", "'kNEX: tIMEOUT'", "'Knex'", "x'4b'", long.as_str()];
        let (mut quick, mut slow) = (0, 0);
        for (status, time, message) in statuses
            .iter()
            .flat_map(|status| times.iter().map(move |time| (status, time)))
            .flat_map(|(status, time)| messages.iter().map(move |message| (status, time, message)))
        {
            change(&format!("UPDATE heartbeat SET status = {status}, time = {time}, msg = {message} WHERE id = 1500"));
            let file = SqliteFile::new(&path);
            let read = read_beats(&file, NOW).unwrap();
            let is_fine = (&read.odd, &read.future, read.timeouts, read.odd_statuses.len()) == (&vec![], &vec![], 0, 0);
            assert_eq!(read.rows, 3000);
            match check_with_beats(&mut *file.reader().unwrap(), Depth::Structure, NOW).unwrap() {
                Some((faults, counted)) => {
                    assert!(faults.is_empty() && is_fine, "{status}, {time}, {message}: {faults:?}");
                    assert_eq!(counted.rows, 3000);
                    quick += 1;
                }
                // Of a time that is not a text, or a message that is not one, the engine is asked.
                None => {
                    let is_text = time.starts_with('\'') && !message.starts_with('x');
                    assert!(!is_fine || !is_text, "{status}, {time}, {message}");
                    slow += 1;
                }
            }
        }
        // Statuses 1 to 3 in time with every message, and 0 with those that are no timeout.
        assert_eq!((quick, slow), (3 * 7 + 3, statuses.len() * times.len() * messages.len() - 24));
    }

    /// A database in use is left to the engine, and so is one that is not sound.
    #[test]
    fn only_a_sound_file_that_nothing_has_open_is_read_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kuma.db");
        let open = rusqlite::Connection::open(&path).unwrap();
        open.execute_batch(include_str!("../../migrations/sqlite/2.5.3.sql")).unwrap();
        open.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE beside (id INTEGER)").unwrap();
        let check = || check_with_beats(&mut *SqliteFile::new(&path).reader().unwrap(), Depth::Quick, NOW).unwrap();
        assert!(check().is_none());
        drop(open);
        assert!(check().is_some_and(|(faults, beats)| faults.is_empty() && beats.rows == 0));
        let full = check_with_beats(&mut *SqliteFile::new(&path).reader().unwrap(), Depth::Full, NOW).unwrap();
        assert!(full.is_none());
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 4096;
        bytes[last] = 77;
        std::fs::write(&path, bytes).unwrap();
        assert!(check().is_none());
    }
}
