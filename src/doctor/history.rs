//! Checks of the history: heartbeats, statistics, and orphan rows.

use super::evidence::ReusedIds;
use super::monitors::{delete, id, set};
use super::{Cure, Evidence, Fault, Subject};
use crate::schema::{EngineKind, HIGHEST_ID, quote};
use crate::text::counted;
use crate::value::Value;

/// With more heartbeats than this the page becomes slow.
const MANY: u64 = 1_000_000;

/// Columns whose missing targets are reported as K015.
const GHOSTS: [&str; 2] = ["user_id", "parent"];

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
        subject: whole("heartbeat", "status"),
        what: format!(
            "{} a status other than down, up, pending and maintenance: an upgrade fails",
            beats(total, "has", "have")
        ),
        cure: Cure::Rows(steps),
    });
}

/// Rows that refer to rows that do not exist.
pub(super) fn find_orphans(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    for orphans in &content.orphans {
        let (table, column, value) = (&orphans.table, &orphans.column, orphans.value);
        if table == "monitor" && GHOSTS.contains(&column.as_str()) {
            continue;
        }
        let subject = format!("`{table}` of {} {value}, which does not exist", orphans.parent);
        let nullable = content.config.database.schema.table(table).and_then(|table| table.column(column));
        // A row that is valid without the reference is kept.
        let steps = match nullable.is_some_and(|column| !column.not_null) {
            true => content
                .config
                .rows(table)
                .iter()
                .filter(|row| row.int(column) == Some(value))
                .map(|row| set(table, &format!("{table} {}", id(row)), row, &[(column, Value::Null)]))
                .collect(),
            false => vec![delete(table, &subject, column, value, orphans.rows)],
        };
        faults.push(Fault {
            subject: whole(table, column),
            what: format!(
                "{} of `{table}` {} to {} {value}, which does not exist: upgrades and deletes fail with \"FOREIGN KEY \
                 constraint failed\"",
                counted(orphans.rows as usize, "row"),
                if orphans.rows == 1 { "refers" } else { "refer" },
                orphans.parent
            ),
            cure: Cure::Rows(steps),
        });
    }
}

/// Rows that refer to an id that the server will give to a new row.
pub(super) fn find_reused_ids(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    for ReusedIds { parent, last, highest, rows } in &content.reused_ids {
        let listed: Vec<String> = rows.iter().map(|(table, rows)| format!("{rows} in `{table}`")).collect();
        faults.push(Fault {
            subject: whole(parent, "id"),
            what: format!(
                "the next id of `{parent}` is {}, but the database still contains rows that refer to deleted ids up \
                 to {highest} ({}): new rows would reuse these ids and inherit them",
                last + 1,
                listed.join(", ")
            ),
            cure: match *highest < HIGHEST_ID {
                true => Cure::Statements(raise_counter(content.config.database.engine, parent, *highest)),
                false => Cure::Advice("delete these rows first: `kumadb doctor --fix K007`".into()),
            },
        });
    }
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
            subject: whole("heartbeat", "id"),
            what: format!("{} heartbeats are stored: the web UI becomes slow, and monitors that are up may be \
                           reported as down", content.beats.rows),
            cure: Cure::Advice(
                "`kumadb history stats`, then `kumadb history prune --keep DAYS --vacuum`; with `--set-retention DAYS` \
                 the server also keeps fewer days in the future"
                    .into(),
            ),
        });
    }
    if content.beats.timeouts > 0 {
        faults.push(Fault {
            subject: whole("heartbeat", "msg"),
            what: format!(
                "{} a timeout of the server's own database (\"Knex: Timeout\"): these monitors were not really down",
                beats(content.beats.timeouts, "reports", "report")
            ),
            cure: Cure::Advice(
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
        let steps = rows.iter().map(|(_, at, rows)| {
            let when = chrono::DateTime::from_timestamp(*at, 0).map_or_else(|| at.to_string(), |at| at.to_string());
            delete(table, &format!("statistics in `{table}` for {when}"), "timestamp", *at, *rows)
        });
        faults.push(Fault {
            subject: whole(table, "timestamp"),
            what: format!(
                "{} of `{table}` {} in the future: charts and uptimes are wrong until then",
                counted(total as usize, "row"),
                if total == 1 { "is" } else { "are" },
            ),
            cure: Cure::Rows(steps.collect()),
        });
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
        subject: whole("heartbeat", "time"),
        what: format!(
            "{} in the future: until then the web UI shows {} as the newest, and state changes are not detected",
            self::beats(beats.len() as u64, "is", "are"),
            if beats.len() == 1 { "it" } else { "them" }
        ),
        cure: Cure::Rows(steps.collect()),
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
        cure: Cure::Advice("kumadb vacuum --auto-vacuum incremental".into()),
    });
}

fn whole(table: &str, column: &str) -> Subject {
    Subject { table: Some(table.into()), column: Some(column.into()), ..Subject::default() }
}

/// `1 heartbeat has`, `2 heartbeats have`.
fn beats(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", counted(n as usize, "heartbeat"), if n == 1 { one } else { many })
}
