//! Checks of the history: heartbeats, statistics, and orphan rows.

use std::collections::BTreeMap;

use super::evidence::{DatabaseContent, Orphans, ReusedIds};
use super::monitors::{delete, id, set};
use super::{Evidence, Fault, Fix, Subject};
use crate::model::entities::noun;
use crate::plan::PlanStep;
use crate::schema::{EngineKind, HIGHEST_ID, quote};
use crate::text::counted;
use crate::value::{Row, Value};

/// With more heartbeats than this the page becomes slow.
const MANY: u64 = 1_000_000;

/// The column with the group of a monitor.
const GROUP: (&str, &str) = ("monitor", "parent");

/// Heartbeats with an invalid status: a single one makes the upgrade to 2.x fail.
pub(super) fn find_odd_statuses(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    let total = content.beats.odd_statuses.values().sum::<u64>() + content.beats.odd.len() as u64;
    if total == 0 {
        return;
    }
    let mut steps: Vec<_> = content
        .beats
        .odd_statuses
        .iter()
        .map(|(status, rows)| {
            delete("heartbeat", &format!("heartbeats with status {status}"), "status", *status, *rows)
        })
        .collect();
    let unclear = content.beats.odd.iter();
    steps
        .extend(unclear.map(|beat| delete("heartbeat", &format!("heartbeat {beat} without a status"), "id", *beat, 1)));
    faults.push(Fault {
        subject: Subject::column("heartbeat", "status"),
        what: format!(
            "{} a status other than down, up, pending and maintenance: an upgrade fails",
            beats(total, "has", "have")
        ),
        fix: Fix::Rows(steps),
    });
}

/// Rows that refer to rows that do not exist. Missing users and groups of monitors are K015: what is theirs is kept.
pub(super) fn find_orphans(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    let mut found: BTreeMap<(&str, &str, &str), Vec<&Orphans>> = BTreeMap::new();
    for orphans in &content.orphans {
        let is_ghost = orphans.parent == "user" || (orphans.table.as_str(), orphans.column.as_str()) == GROUP;
        if !is_ghost {
            found.entry((&orphans.table, &orphans.column, &orphans.parent)).or_default().push(orphans);
        }
    }
    for ((table, column, parent), orphans) in found {
        let rows: u64 = orphans.iter().map(|orphans| orphans.rows).sum();
        let values: Vec<String> = orphans.iter().take(10).map(|orphans| orphans.value.to_string()).collect();
        let more = if orphans.len() > values.len() { ", …" } else { "" };
        faults.push(Fault {
            subject: Subject::column(table, column),
            what: format!(
                "{} of `{table}` {} to {parent} {}{more}, which {} not exist: upgrades and deletes fail with \"FOREIGN \
                 KEY constraint failed\"",
                counted(rows as usize, "row"),
                if rows == 1 { "refers" } else { "refer" },
                values.join(", "),
                if orphans.len() == 1 { "does" } else { "do" },
            ),
            fix: Fix::Rows(orphans.iter().flat_map(|orphans| detach(content, orphans)).collect()),
        });
    }
}

/// The changes after which nothing refers to the missing row: a row that is valid without the reference is kept. Rows of
/// the configuration are deleted one by one, so that each is shown; those of the history all at once.
fn detach(content: &DatabaseContent, orphans: &Orphans) -> Vec<PlanStep> {
    let Orphans { table, column, parent, value, rows } = orphans;
    let refers: Vec<&Row> = content.config.rows(table).iter().filter(|row| row.int(column) == Some(*value)).collect();
    let described = content.config.database.schema.table(table).and_then(|table| table.column(column));
    if described.is_some_and(|column| !column.not_null) {
        let cleared = |row: &&Row| set(table, &format!("{} {}", noun(table), id(row)), row, &[(column, Value::Null)]);
        return refers.iter().map(cleared).collect();
    }
    let of = format!("of {parent} {value}, which does not exist");
    if refers.is_empty() {
        return vec![delete(table, &format!("`{table}` {of}"), column, *value, *rows)];
    }
    let gone = |row: &&Row| delete(table, &format!("`{table}` {} {of} ({})", id(row), cells(row)), "id", id(row), 1);
    refers.iter().map(gone).collect()
}

/// What identifies a row: its name, and what it refers to.
fn cells(row: &Row) -> String {
    let reports = |column: &str| column.ends_with("_id") || ["name", "title", "domain", "value"].contains(&column);
    let cells = row.iter().filter(|(column, value)| reports(column) && !value.is_nothing());
    cells.map(|(column, value)| format!("{column} {value}")).collect::<Vec<_>>().join(", ")
}

/// Rows that refer to an id that the server will give to a new row.
pub(super) fn find_reused_ids(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    for ReusedIds { parent, last, highest, rows } in &content.reused_ids {
        let listed: Vec<String> = rows.iter().map(|(table, rows)| format!("{rows} in `{table}`")).collect();
        faults.push(Fault {
            subject: Subject::column(parent, "id"),
            what: format!(
                "the next id of `{parent}` is {}, but the database still contains rows that refer to deleted ids up \
                 to {highest} ({}): new rows would reuse these ids and inherit them",
                last + 1,
                listed.join(", ")
            ),
            fix: if *highest < HIGHEST_ID {
                Fix::Statements(raise_counter(content.config.database.engine, parent, *highest))
            } else {
                Fix::Advice("delete these rows first: `kumadb doctor --fix K007`".into())
            },
        });
    }
}

/// Tables whose counter is gone: the id of the last row is given out again once that row is deleted.
pub(super) fn find_lost_counters(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    let is_reused = |table: &str| content.reused_ids.iter().any(|reused| reused.parent == table);
    let lost: Vec<&(String, i64)> = content.lost_counters.iter().filter(|(table, _)| !is_reused(table)).collect();
    let Some((first, _)) = lost.first() else { return };
    let statements = lost.iter().flat_map(|(table, highest)| raise_counter(EngineKind::Sqlite, table, *highest));
    let more = if lost.len() > 1 { format!(" and {} more", counted(lost.len() - 1, "table")) } else { String::new() };
    faults.push(Fault {
        subject: Subject { table: Some("sqlite_sequence".into()), ..Subject::default() },
        what: format!(
            "the id counter of `{first}`{more} is missing in `sqlite_sequence`: the server gives the id of a \
             deleted row to the next one, and links to it (`/dashboard/ID`, badges) then lead to another item"
        ),
        fix: Fix::Statements(statements.collect()),
    });
}

/// Statements after which the next id of `table` is above `highest`.
fn raise_counter(engine: EngineKind, table: &str, highest: i64) -> Vec<String> {
    match engine {
        EngineKind::Sqlite => vec![
            format!("DELETE FROM sqlite_sequence WHERE name = '{table}'"),
            format!("INSERT INTO sqlite_sequence (name, seq) VALUES ('{table}', {highest})"),
        ],
        EngineKind::MariaDb => vec![format!("ALTER TABLE {} AUTO_INCREMENT = {}", quote(table), highest + 1)],
    }
}

/// A history that is too long, or a database on which the server timed out.
pub(super) fn find_long_history(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    if content.beats.rows > MANY {
        faults.push(Fault {
            subject: Subject::column("heartbeat", "id"),
            what: format!("{} heartbeats are stored: the web UI becomes slow, and monitors that are up may be \
                           reported as down", content.beats.rows),
            fix: Fix::Advice(
                "`kumadb history stats`, then `kumadb history prune --keep DAYS --vacuum`; with `--set-retention DAYS` \
                 the server also keeps fewer days in the future"
                    .into(),
            ),
        });
    }
    if content.beats.timeouts > 0 {
        faults.push(Fault {
            subject: Subject::column("heartbeat", "msg"),
            what: format!(
                "{} a timeout of the server's own database (\"Knex: Timeout\"): these monitors were not really down",
                beats(content.beats.timeouts, "reports", "report")
            ),
            fix: Fix::Advice(
                "keep fewer days of history, check fewer monitors at the same time, or use a faster \
                                disk"
                    .into(),
            ),
        });
    }
}

/// Statistics with timestamps in the future.
pub(super) fn find_future_statistics(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    let mut tables: Vec<&str> = content.future.iter().map(|(table, ..)| table.as_str()).collect();
    tables.dedup();
    for table in tables {
        let rows: Vec<_> = content.future.iter().filter(|(name, ..)| name == table).collect();
        let total: u64 = rows.iter().map(|(.., rows)| rows).sum();
        let all = content.statistics.iter().filter(|(name, ..)| name == table).map(|(.., rows)| rows).sum();
        let steps = rows.iter().map(|(_, at, rows)| {
            let when = chrono::DateTime::from_timestamp(*at, 0).map_or_else(|| at.to_string(), |at| at.to_string());
            delete(table, &format!("statistics in `{table}` for {when}"), "timestamp", *at, *rows)
        });
        faults.push(Fault {
            subject: Subject::column(table, "timestamp"),
            what: format!(
                "{} of `{table}` {} in the future: charts and uptimes are wrong until then",
                counted(total as usize, "row"),
                if total == 1 { "is" } else { "are" },
            ),
            fix: unless_clock_is_wrong(evidence, total, all, steps.collect()),
        });
    }
}

/// Where most rows are in the future, it is rather the clock of this machine that is wrong.
fn unless_clock_is_wrong(evidence: &Evidence, future: u64, all: u64, steps: Vec<PlanStep>) -> Fix {
    if future * 2 > all && all > 10 {
        Fix::Advice(format!(
            "check the clock: this machine has {} UTC, and most rows are newer; if that is right, restore a snapshot, or \
             delete these rows with `kumadb sql`",
            evidence.now.format("%Y-%m-%d %H:%M")
        ))
    } else {
        Fix::Rows(steps)
    }
}

/// Heartbeats with timestamps in the future.
pub(super) fn find_future_beats(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    let beats = &content.beats.future;
    if beats.is_empty() {
        return;
    }
    let steps = beats.iter().map(|id| delete("heartbeat", &format!("heartbeat {id} in the future"), "id", *id, 1));
    faults.push(Fault {
        subject: Subject::column("heartbeat", "time"),
        what: format!(
            "{} in the future: until then the web UI shows {} as the newest, and state changes are not detected",
            self::beats(beats.len() as u64, "is", "are"),
            if beats.len() == 1 { "it" } else { "them" }
        ),
        fix: unless_clock_is_wrong(evidence, beats.len() as u64, content.beats.rows, steps.collect()),
    });
}

/// A SQLite file that moves pages at every delete, as files of early 1.x do.
pub(super) fn find_eager_vacuum(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    if !content.eager {
        return;
    }
    faults.push(Fault {
        subject: Subject {
            path: evidence.folder.as_ref().map(|folder| folder.path.join("kuma.db")),
            ..Subject::default()
        },
        what: "`auto_vacuum` is FULL: every clean-up of old heartbeats moves pages, and the server is slow in the \
               meantime"
            .into(),
        fix: Fix::Advice("kumadb vacuum --auto-vacuum incremental".into()),
    });
}

/// `1 heartbeat has`, `2 heartbeats have`.
fn beats(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", counted(n as usize, "heartbeat"), if n == 1 { one } else { many })
}
