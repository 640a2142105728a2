//! Faults of what grows: beats, statistics, and rows that point nowhere.

use super::monitors::{delete, id, set};
use super::{Cure, Evidence, Fault, Subject};

use crate::text::counted;
use crate::value::Value;

/// Beats beyond which the page becomes slow.
const MANY: u64 = 1_000_000;

/// Columns whose lost targets are another code's: they make ghosts of monitors.
const GHOSTS: [&str; 2] = ["user_id", "parent"];

/// Beats with a status that does not exist: the upgrade to 2.x dies of one of them.
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
        .map(|(status, rows)| delete("heartbeat", &format!("beats with status {status}"), "status", *status, *rows))
        .collect();
    let unclear = content.beats.odd.iter();
    steps.extend(unclear.map(|beat| delete("heartbeat", &format!("beat {beat} without a status"), "id", *beat, 1)));
    faults.push(Fault {
        subject: whole("heartbeat", "status"),
        what: format!(
            "{} a status that is none of down, up, pending and maintenance: an upgrade dies of it",
            beats(total, "has", "have")
        ),
        cure: Cure::Rows(steps),
    });
}

/// Rows that point to rows that are not there.
pub(super) fn find_orphans(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    for orphans in &content.orphans {
        let (table, column, value) = (&orphans.table, &orphans.column, orphans.value);
        if table == "monitor" && GHOSTS.contains(&column.as_str()) {
            continue;
        }
        let subject = format!("`{table}` of {} {value}, which is not there", orphans.parent);
        let nullable = content.config.database.schema.table(table).and_then(|table| table.column(column));
        // A thing that can do without what it points to is kept.
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
                "{} of `{table}` {} to {} {value}, which is not there: upgrades and deletes end with \"FOREIGN KEY \
                 constraint failed\"",
                counted(orphans.rows as usize, "row"),
                if orphans.rows == 1 { "points" } else { "point" },
                orphans.parent
            ),
            cure: Cure::Rows(steps),
        });
    }
}

/// A history that is too long, or a database that the server waited for in vain.
pub(super) fn find_long_history(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    if content.beats.rows > MANY {
        faults.push(Fault {
            subject: whole("heartbeat", "id"),
            what: format!("{} beats are kept: the page becomes slow, and monitors seem down that are not", content.beats.rows),
            cure: Cure::Advice(
                "kumadb history stats, then `kumadb history prune --keep DAYS --vacuum`; `--set-retention DAYS` lets the server \
                 keep fewer from then on"
                    .into(),
            ),
        });
    }
    if content.beats.timeouts > 0 {
        faults.push(Fault {
            subject: whole("heartbeat", "msg"),
            what: format!(
                "{} that the server waited in vain for its own database (\"Knex: Timeout\"): these downs were none",
                beats(content.beats.timeouts, "says", "say")
            ),
            cure: Cure::Advice("keep fewer days of history, check fewer monitors at once, or use a faster disk".into()),
        });
    }
}

/// Statistics of days that have not been.
pub(super) fn find_future_statistics(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    let mut tables: Vec<&str> = content.future.iter().map(|(table, ..)| table.as_str()).collect();
    tables.dedup();
    for table in tables {
        let rows: Vec<_> = content.future.iter().filter(|(name, ..)| name == table).collect();
        let total: u64 = rows.iter().map(|(.., rows)| rows).sum();
        let steps = rows.iter().map(|(_, at, rows)| {
            let when = chrono::DateTime::from_timestamp(*at, 0).map_or_else(|| at.to_string(), |at| at.to_string());
            delete(table, &format!("statistics in `{table}` of {when}"), "timestamp", *at, *rows)
        });
        faults.push(Fault {
            subject: whole(table, "timestamp"),
            what: format!(
                "{} of `{table}` {} in the future: charts and uptimes are wrong until then",
                counted(total as usize, "row"),
                if total == 1 { "lies" } else { "lie" },
            ),
            cure: Cure::Rows(steps.collect()),
        });
    }
}

/// Beats of days that have not been.
pub(super) fn find_future_beats(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    let beats = &content.beats.future;
    if beats.is_empty() {
        return;
    }
    let steps = beats.iter().map(|id| delete("heartbeat", &format!("beat {id} of the future"), "id", *id, 1));
    faults.push(Fault {
        subject: whole("heartbeat", "time"),
        what: format!(
            "{} in the future: until then the page shows {} as the newest, and state changes are missed",
            self::beats(beats.len() as u64, "lies", "lie"),
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
        what: "`auto_vacuum` is FULL: every clean-up of old beats moves pages, and the page is slow meanwhile".into(),
        cure: Cure::Advice("kumadb vacuum --auto-vacuum incremental".into()),
    });
}

fn whole(table: &str, column: &str) -> Subject {
    Subject { table: Some(table.into()), column: Some(column.into()), ..Subject::default() }
}

/// `1 beat has`, `2 beats have`.
fn beats(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", counted(n as usize, "beat"), if n == 1 { one } else { many })
}
