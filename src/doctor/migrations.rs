//! Checks of the schema: incomplete migrations, and tables, columns, indexes and keys that are missing.

use super::incomplete::{Unrecorded, make_column, make_table, redefine_column, unrecorded};
use super::monitors::delete;
use super::place::find_old_image;
use super::{Evidence, Fault, Fix, Subject};

use crate::plan::{Change, PlanStep};
use crate::schema::{self, EngineKind, ForeignKey, Index, Recording, Release, Schema, Table, quote};
use crate::text::counted;

/// The migration lock is set, or is not exactly one row.
pub(super) fn find_lock(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    let Some(lock) = &content.lock else { return };
    let locked = lock.iter().filter(|row| row.cell("is_locked").truthy()).count();
    if lock.len() == 1 && locked == 0 {
        return;
    }
    let subject = Subject::column("knex_migrations_lock", "is_locked");
    // If the lock is set while the server stays up, a migration may be running.
    if locked > 0 && is_up(evidence) {
        faults.push(Fault {
            subject,
            what:
                "the migration lock is set: a migration was interrupted, or is still in progress, because the server \
                 is running"
                    .into(),
            fix: Fix::Advice(
                "wait; if the log has not changed for hours, stop the server and run `kumadb doctor` again".into(),
            ),
        });
        return;
    }
    let kept = lock.iter().position(|row| !row.cell("is_locked").truthy() && !row.cell("is_locked").is_null());
    let mut steps: Vec<PlanStep> = lock
        .iter()
        .enumerate()
        .filter(|(at, _)| Some(*at) != kept)
        .filter_map(|(_, row)| row.int("index"))
        .map(|index| delete("knex_migrations_lock", "the lock of an interrupted migration", "index", index, 1))
        .collect();
    if kept.is_none() {
        let columns = [String::from("is_locked")].into();
        let change = Change::Insert { columns, cells: vec![0.into()].into() };
        steps.push(PlanStep { table: "knex_migrations_lock".into(), subject: "the lock, unlocked".into(), change });
    }
    let why = match (locked, lock.len()) {
        (0, 0) => "the migration lock has no row",
        (0, _) => "the migration lock has several rows",
        _ => "a migration was interrupted and left its lock",
    };
    // Together with the rest of the migration, which changes more than rows: with the lock alone removed, the server
    // would fail because a part already exists.
    let fix = match unrecorded(evidence) {
        Some(Unrecorded { statements: Some(_), .. }) => Fix::Statements(vec![
            "DELETE FROM `knex_migrations_lock`".into(),
            "INSERT INTO `knex_migrations_lock` (`is_locked`) VALUES (0)".into(),
        ]),
        _ => Fix::Rows(steps),
    };
    faults.push(Fault {
        subject,
        what: format!("{why}; each start fails with \"Migration table is already locked\""),
        fix,
    });
}

/// Missing tables and columns of applied migrations, and a migration that is partly applied but not recorded.
pub(super) fn find_half_migrated(evidence: &Evidence, faults: &mut Vec<Fault>) {
    if let (Some((live, recorded)), Some(recording)) = (both(evidence), recording(evidence)) {
        for (name, table) in &recorded.tables {
            let Some(now) = live.table(name) else {
                let what = format!(
                    "table `{name}` is missing, although the migration that creates it is recorded as applied; the server \
                     does not create it again, and fails where it uses it"
                );
                faults.push(half(name, None, what, Some(make_table(recording, name))));
                continue;
            };
            for column in table.columns.iter().filter(|column| now.column(&column.name).is_none()) {
                let what = format!(
                    "column `{}` of table `{name}` is missing, although the migration that adds it is recorded as \
                     applied; the server does not add it again, and fails where it writes it",
                    column.name
                );
                let makes = make_column(recording, name, &column.name).map(|makes| vec![makes]);
                faults.push(half(name, Some(&column.name), what, makes));
            }
            for column in &table.columns {
                let Some(choices) = now.column(&column.name).map(|now| &now.choices) else { continue };
                let has_all = column.choices.iter().all(|choice| choices.contains(choice));
                if choices.is_empty() || has_all && !column.choices.is_empty() {
                    continue;
                }
                let what = format!(
                    "column `{}` of table `{name}` only accepts `{}`, although the migration that changes that is recorded \
                     as applied: the server fails where it writes other values",
                    column.name,
                    choices.join("`, `")
                );
                faults.push(half(name, Some(&column.name), what, redefine_column(recording, name, &column.name)));
            }
        }
    }
    faults.extend(unrecorded(evidence).map(|found| not_recorded(evidence, found)));
}

fn not_recorded(evidence: &Evidence, found: Unrecorded) -> Fault {
    let Unrecorded { migrations, release, table, column, statements } = found;
    let first = migrations.first().copied().unwrap_or_default();
    let what = match (migrations.len(), column) {
        (1, None) => format!("table `{table}` exists, but migration `{first}` of {release}, which creates it, is"),
        (1, Some(column)) => {
            format!("column `{column}` of `{table}` exists, but migration `{first}` of {release}, which creates it, is")
        }
        (several, _) => format!(
            "all tables and columns of {several} migrations of {release} or older, from `{first}` on, exist, but they are"
        ),
    };
    // An older server ignores it, and would not start with the migration recorded.
    if is_up(evidence) && !runs(evidence, release) {
        let what = format!("{what} not recorded as applied; a server of an older release does not need it");
        let advice = format!(
            "to finish the migration, stop the server, switch to image {release} or newer if it is older, and run \
             `kumadb doctor --fix K009`"
        );
        return Fault { fix: Fix::Advice(advice), ..half(table, column, what, None) };
    }
    let end = if is_up(evidence) {
        "the server applies it again at its next start, and fails because a part exists already"
    } else {
        "a migration was interrupted, or records of migrations were lost, and the server cannot finish them"
    };
    half(table, column, format!("{what} not recorded as applied; {end}"), statements)
}

/// Whether the image of the container is of this release or newer, according to its files.
fn runs(evidence: &Evidence, release: Release) -> bool {
    let image = evidence.container.as_ref().and_then(|container| container.release.as_deref()?.parse::<Release>().ok());
    image.is_some_and(|image| image >= release)
}

fn half(table: &str, column: Option<&str>, what: String, fix: Option<Vec<String>>) -> Fault {
    Fault {
        subject: Subject { table: Some(table.into()), column: column.map(str::to_owned), ..Subject::default() },
        what,
        fix: match fix {
            Some(statements) => Fix::Statements(statements),
            None => Fix::Advice(
                "restore the snapshot from before the upgrade: `kumadb backup list`, then `kumadb \
                                  restore ID`"
                    .into(),
            ),
        },
    }
}

/// Whether a server runs, and is not in a restart loop, or a process has the database open.
pub(super) fn is_up(evidence: &Evidence) -> bool {
    evidence.container.as_ref().is_some_and(|container| container.up && !container.looping)
        || evidence.folder.as_ref().is_some_and(|folder| !folder.holders.is_empty())
}

/// Text in a character set with which rows may become too large for MariaDB. The server itself stores a few columns as
/// utf8mb3 (2.0.0 to 2.5.3).
pub(super) fn find_narrow_text(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    let narrow = |table: &Table| {
        let sets = table.columns.iter().filter_map(|column| column.charset.as_deref());
        sets.into_iter().find(|set| !["utf8mb4", "utf8mb3", "utf8", "ascii"].contains(set)).map(str::to_owned)
    };
    for (name, table) in &content.config.database.schema.tables {
        if let Some(charset) = narrow(table) {
            faults.push(Fault {
                subject: Subject { table: Some(name.clone()), ..Subject::default() },
                what: format!(
                    "table `{name}` stores its text as {charset}: an upgrade fails with \"Row size too large\", and \
                     emoji are lost"
                ),
                fix: Fix::Statements(vec![
                    "ALTER DATABASE CHARACTER SET utf8mb4".into(),
                    format!("ALTER TABLE {} CONVERT TO CHARACTER SET utf8mb4", quote(name)),
                ]),
            });
        }
    }
}

/// Missing indexes and foreign keys, as after a manual conversion.
pub(super) fn find_lost_keys(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some((live, recorded)) = both(evidence) else { return };
    let Some(recording) = recording(evidence) else { return };
    for (name, table) in &recorded.tables {
        let Some(now) = live.table(name) else { continue };
        let (mut lost, mut statements) = (Vec::new(), Vec::new());
        // Two indexes may be on the same columns, one of them partial; and an index may have another name.
        let is_taken = |name: &str| table.indexes.iter().any(|index| index.name == name);
        for index in &table.indexes {
            let is_same = |other: &&Index| other.name == index.name || !is_taken(&other.name);
            if !now.indexes.iter().filter(is_same).any(|other| other.columns == index.columns) {
                lost.push(format!("the index on {}", index.columns.join(", ")));
                statements.push(make_index(recording, name, index));
            }
        }
        for key in &table.foreign_keys {
            if !now.foreign_keys.iter().any(|other| (&other.column, &other.table) == (&key.column, &key.table)) {
                lost.push(format!("the foreign key from {} to {}", key.column, key.table));
                statements.push(make_key(recording.engine, name, key));
            }
        }
        if lost.is_empty() {
            continue;
        }
        faults.push(Fault {
            subject: Subject { table: Some(name.clone()), ..Subject::default() },
            what: format!(
                "table `{name}` is missing {}: queries are slow, or rows of deleted items are \
                           kept",
                lost.join(", ")
            ),
            fix: match statements.into_iter().collect() {
                Some(statements) => Fix::Statements(statements),
                None => Fix::Advice(
                    "SQLite cannot add a constraint to an existing table: export the configuration (`kumadb export`), \
                     create a new instance (`kumadb init`), and apply it there"
                        .into(),
                ),
            },
        });
    }
}

/// The statement that creates an index; `None` if it is part of its table.
fn make_index(recording: &Recording, table: &str, index: &Index) -> Option<String> {
    if recording.engine == EngineKind::Sqlite {
        // As recorded: some indexes are partial.
        let named = format!("INDEX {} ON {} ", quote(&index.name), quote(table));
        return schema::script(recording.sql)
            .find(|sql| sql.starts_with("CREATE") && sql.contains(&named))
            .map(str::to_owned);
    }
    let columns: Vec<String> = index.columns.iter().map(|column| quote(column)).collect();
    let unique = if index.unique { "UNIQUE " } else { "" };
    let makes = format!("CREATE {unique}INDEX {} ON {} ({})", quote(&index.name), quote(table), columns.join(", "));
    (index.name != "PRIMARY").then_some(makes)
}

/// The statement that creates a foreign key; SQLite has none.
fn make_key(engine: EngineKind, table: &str, key: &ForeignKey) -> Option<String> {
    let name = key.name.as_ref().map_or(String::new(), |name| format!("CONSTRAINT {} ", quote(name)));
    let (column, parent, to) = (quote(&key.column), quote(&key.table), quote(&key.to));
    let makes = format!(
        "ALTER TABLE {} ADD {name}FOREIGN KEY ({column}) REFERENCES {parent} ({to}) ON DELETE {} ON UPDATE {}",
        quote(table),
        key.on_delete,
        key.on_update
    );
    (engine == EngineKind::MariaDb).then_some(makes)
}

/// Whether each applied migration is known, although no release has exactly this set: an upgrade was interrupted
/// between two of them.
pub fn is_between_releases(evidence: &Evidence) -> bool {
    evidence.database.is_some() && !evidence.has_unknown_migrations()
}

/// Migrations that are in no known release.
pub(super) fn find_foreign_migrations(evidence: &Evidence, faults: &mut Vec<Fault>) {
    find_old_image(evidence, faults);
    let Some(content) = &evidence.database else { return };
    let unknown = content.config.database.unknown_migrations();
    if unknown.is_empty() {
        return;
    }
    let newest = schema::recorded(content.config.database.engine).last().map(|recording| recording.release);
    let names = unknown.iter().take(3).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    faults.push(Fault {
        subject: Subject::column("knex_migrations", "name"),
        what: format!(
            "the database has {} that kumadb does not know ({names}): it is of a release newer than {}, a beta, a nightly \
             build or a fork; kumadb only reads it, and its rows were not checked",
            counted(unknown.len(), "migration"),
            newest.map_or_else(|| "any known release".to_owned(), |release| release.to_string()),
        ),
        fix: Fix::Advice(
            "keep running an image at least as new as the one that ran last, and do not edit `knex_migrations`; a newer \
             kumadb may know this release; to go back to an older release, restore a snapshot from before the upgrade: \
             `kumadb backup list`, then `kumadb restore ID`"
                .into(),
        ),
    });
}

/// The recording of the database's release, if the release is certain.
fn recording(evidence: &Evidence) -> Option<&'static Recording> {
    let database = &evidence.database.as_ref()?.config.database;
    schema::recorded(database.engine)
        .iter()
        .find(|one| database.release.exact && one.release == database.release.release)
}

/// The live schema and the recorded one of its release.
fn both(evidence: &Evidence) -> Option<(&Schema, &'static Schema)> {
    let live = &evidence.database.as_ref()?.config.database.schema;
    Some((live, recording(evidence)?.schema()))
}
