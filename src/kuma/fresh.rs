//! Builds a new database from the rows of a damaged one: of the same release, with all references intact.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::mem;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::damaged::{DamagedDb, JournalUse, WalUse};
use super::read::history;
use crate::engine::sqlite::{Sqlite, SqliteFile};
use crate::engine::{Depth, Reader as _, Writer as _, join, points_nowhere, quote};
use crate::error::{DatabaseError, Error, Result};
use crate::files::{self, Confined, JsonList};
use crate::salvage::{DamagedTable, FoundRow, List, RowTally, Survey};
use crate::schema::{self, ForeignKey, Recording, Release, Schema};
use crate::value::Value;

/// SQLite's own counter of ids.
const COUNTER: &str = "sqlite_sequence";

/// The result for one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableReport {
    /// Its name.
    pub table: String,
    /// Rows found, their certainty, and rows known to be lost.
    pub rows: RowTally,
    /// Missing pages with an unknown number of rows.
    pub missing_pages: u64,
    /// Rows that could not be inserted into the new database.
    pub left_out: u64,
    /// Broken references that were cleared.
    pub emptied: u64,
}

impl TableReport {
    /// Whether all of its rows were recovered and are certain.
    pub fn is_whole(&self) -> bool {
        let RowTally { doubtful, lost, .. } = self.rows;
        (doubtful, lost, self.missing_pages, self.left_out, self.emptied) == (0, 0, 0, 0, 0)
    }
}

/// The result of a salvage.
#[derive(Clone, Debug)]
pub struct Salvaged {
    /// Its release.
    pub release: Release,
    /// How its WAL was used.
    pub wal: WalUse,
    /// How the rollback journal was used.
    pub journal: JournalUse,
    /// How the tables were found.
    pub list: List,
    /// Every table of the release.
    pub tables: Vec<TableReport>,
    /// Damaged indexes; they are rebuilt in the new database.
    pub broken_indexes: Vec<String>,
    /// Tables that the release does not have.
    pub unknown: Vec<String>,
    /// Pages of deleted rows, which were ignored.
    pub deleted_pages: u64,
    /// Rows of every such database that were missing and added: migrations, settings of the server.
    pub refilled: u64,
    /// The file with the rows that were left out or changed, a JSON array, if there are any.
    pub notes: Option<PathBuf>,
}

impl Salvaged {
    /// Whether all rows were recovered and are certain.
    pub fn is_whole(&self) -> bool {
        self.tables.iter().all(TableReport::is_whole) && self.unknown.is_empty() && self.refilled == 0
    }

    /// Rows that were found in all tables.
    pub fn found(&self) -> u64 {
        self.tables.iter().map(|table| table.rows.certain + table.rows.doubtful).sum()
    }
}

/// Estimates the result of a salvage without writing anything.
pub fn estimate(damaged: &DamagedDb, release: Option<Release>) -> Result<Salvaged> {
    Confined::default().run(|| {
        let (survey, wal) = damaged.survey(release)?;
        let mut salvaged = describe(&survey, wal, damaged.journal().clone());
        for table in ordered(&survey) {
            salvaged.tables.push(TableReport { rows: estimate_table(&survey, table), ..report(table) });
        }
        Ok(salvaged)
    })
}

/// The distinct rows of `table`: a doubtful row that exists already is from an old copy of a page.
fn estimate_table(survey: &Survey<'_>, table: &DamagedTable) -> RowTally {
    let mut seen: BTreeMap<i64, Vec<Vec<Value>>> = BTreeMap::new();
    let Ok(rows) = survey.visit::<Infallible>(table, &mut |row| {
        if !row.certain {
            seen.entry(row.rowid).or_default();
        }
        Ok(())
    });
    let mut copies = 0;
    if !seen.is_empty() {
        let Ok(_) = survey.visit::<Infallible>(table, &mut |row| {
            if let Some(before) = seen.get_mut(&row.rowid) {
                if before.contains(&row.cells) { copies += u64::from(!row.certain) } else { before.push(row.cells) }
            }
            Ok(())
        });
    }
    without_copies(table, rows, copies)
}

/// `tally` of `table` without doubtful copies of other rows.
fn without_copies(table: &DamagedTable, mut tally: RowTally, copies: u64) -> RowTally {
    tally.doubtful = tally.doubtful.saturating_sub(copies);
    tally.lost = table.lost(&tally);
    tally
}

/// Builds the new database `to` and, if rows are missing, `to` with the ending `left-out.json`: both or none, readable
/// only by their owner.
///
/// # Errors
/// As [`salvage`]; `to` exists already.
pub fn make(
    damaged: &DamagedDb,
    to: &Path,
    release: Option<Release>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Salvaged> {
    let notes = to.with_extension("left-out.json");
    if let Some(taken) = [to, &notes].into_iter().find(|path| files::exists(path)) {
        return Err(Error::file("make", taken)(std::io::ErrorKind::AlreadyExists.into()));
    }
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    files::require_space(folder, damaged.size())?;
    let workshop = files::temp_folder(".kumadb-salvage-", Some(folder))?;
    let made = workshop.path().join("kuma.db");
    let mut salvaged = Confined::folder(workshop.path()).run_with_progress(progress, |progress| {
        salvage(damaged, &made, &workshop.path().join("notes"), release, progress)
    })?;
    if let Some(written) = salvaged.notes.take() {
        files::rename(&written, &notes)?;
        salvaged.notes = Some(notes);
    }
    files::rename(&made, to)?;
    Ok(salvaged)
}

/// Builds the new database `to` from `damaged`. Rows that are left out or changed are written to `notes`, if there are
/// any.
///
/// # Errors
/// [`DatabaseError::NoRows`] where nothing is found; [`DatabaseError::ReleaseNotFound`]; the engine's own check of what was made.
pub fn salvage(
    damaged: &DamagedDb,
    to: &Path,
    notes: &Path,
    release: Option<Release>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Salvaged> {
    let (survey, wal) = damaged.survey(release)?;
    let mut salvaged = describe(&survey, wal, damaged.journal().clone());
    let mut build = Build::begin(to, notes, survey.recording)?;
    let tables = ordered(&survey);
    for (at, table) in tables.iter().enumerate() {
        progress(at as u64, tables.len() as u64 + 1);
        salvaged.tables.push(build.fill(&survey, table)?);
    }
    build.note_unplaced(&survey)?;
    build.count_on(&survey)?;
    progress(tables.len() as u64, tables.len() as u64 + 1);
    salvaged.refilled = build.refill()?;
    build.settle(&mut salvaged.tables)?;
    if salvaged.found() == 0 {
        return Err(Error::Database(DatabaseError::NoRows(damaged.path().to_owned())));
    }
    salvaged.notes = build.finish()?;
    Ok(salvaged)
}

fn describe(survey: &Survey<'_>, wal: WalUse, journal: JournalUse) -> Salvaged {
    Salvaged {
        release: survey.recording.release,
        wal,
        journal,
        list: survey.list,
        tables: Vec::new(),
        broken_indexes: survey.broken_indexes.clone(),
        unknown: survey.unknown.clone(),
        deleted_pages: survey.deleted,
        refilled: 0,
        notes: None,
    }
}

/// The tables of `survey`: the configuration first.
fn ordered<'s>(survey: &'s Survey<'_>) -> Vec<&'s DamagedTable> {
    let beats = history(survey.recording.schema());
    let mut tables: Vec<&DamagedTable> = survey.tables.iter().filter(|table| table.shape.table != COUNTER).collect();
    tables.sort_by_key(|table| beats.contains(&table.shape.table));
    tables
}

fn report(table: &DamagedTable) -> TableReport {
    TableReport { table: table.shape.table.clone(), missing_pages: table.gaps, ..TableReport::default() }
}

/// The new database while it is being built.
struct Build {
    writer: Sqlite,
    path: PathBuf,
    recording: &'static Recording,
    schema: Schema,
    notes: Notes,
}

impl Build {
    /// Creates the tables. No other process uses the file before it is complete, so it needs no journal.
    fn begin(to: &Path, notes: &Path, recording: &'static Recording) -> Result<Build> {
        let mut writer = SqliteFile::new(to).create()?;
        for statement in schema::script(recording.sql).filter(|sql| sql.starts_with("PRAGMA")) {
            if !statement.contains("journal_mode") {
                writer.query(statement, &[])?;
            }
        }
        for setting in ["journal_mode = OFF", "synchronous = OFF", "foreign_keys = OFF", "cache_size = -24576"] {
            writer.query(&format!("PRAGMA {setting}"), &[])?;
        }
        // The indexes are sorted beside it: the usual place may have no space, and cannot be reached from here.
        let folder = files::parent(to).display().to_string().replace('\'', "''");
        writer.query(&format!("PRAGMA temp_store_directory = '{folder}'"), &[])?;
        writer.begin()?;
        for statement in schema::script(recording.sql).filter(|sql| sql.starts_with("CREATE") && !is_late(sql)) {
            writer.execute(statement, &[])?;
        }
        let notes = Notes(JsonList::new(notes));
        Ok(Build { writer, path: to.to_owned(), recording, schema: recording.schema().clone(), notes })
    }

    /// Inserts the rows of `table`, certain ones first.
    fn fill(&mut self, survey: &Survey<'_>, table: &DamagedTable) -> Result<TableReport> {
        let mut report = report(table);
        let mut copies = 0;
        let mut statements = BTreeMap::new();
        let is_history = history(&self.schema).contains(&table.shape.table);
        report.rows = survey.visit_batches(table, &mut |mut rows| -> Result<()> {
            let cells: Vec<Vec<Value>> = rows.iter_mut().map(|row| self.cells(table, row)).collect::<Result<_>>()?;
            let mut begin = 0;
            for same in cells.chunk_by(|one, next| one.len() == next.len()) {
                let count = same[0].len();
                let statement = statements.entry(count).or_insert_with(|| self.statement(table, count));
                let refused = self.writer.execute_each(statement, same)?;
                for (at, row) in rows[begin..begin + same.len()].iter().enumerate() {
                    if refused.contains(&at) {
                        if self.is_there(table, row, &same[at])? {
                            copies += u64::from(!row.certain);
                        } else {
                            report.left_out += 1;
                            self.note_refused(table, row, &same[at])?;
                        }
                    } else if !row.certain && !is_history {
                        self.notes.doubtful(&RowId { table: &table.shape.table, id: row.rowid }, row.cut)?;
                    }
                }
                begin += same.len();
            }
            Ok(())
        })?;
        report.rows = without_copies(table, report.rows, copies);
        Ok(report)
    }

    fn note_refused(&mut self, table: &DamagedTable, row: &FoundRow, cells: &[Value]) -> Result<()> {
        let columns = table.shape.columns.iter().cloned().zip(cells.iter().map(Value::json));
        let why = "another row has the same id or the same unique value, or a required value is lost";
        self.notes.left_out(&RowId { table: &table.shape.table, id: row.rowid }, &columns.collect(), why)
    }

    /// Takes the cells of `row` to insert: with the row id, and in a doubtful row without JSON that would make the server
    /// fail.
    fn cells(&mut self, table: &DamagedTable, row: &mut FoundRow) -> Result<Vec<Value>> {
        let mut cells = mem::take(&mut row.cells);
        for (at, cell) in cells.iter_mut().enumerate() {
            if table.shape.is_key(at) {
                *cell = Value::Int(row.rowid);
            } else if !row.certain && table.shape.is_broken_json(at, cell) {
                let column = &table.shape.columns[at];
                let why = "the value is not valid JSON, and the server would fail";
                self.notes.changed(&RowId { table: &table.shape.table, id: row.rowid }, column, cell, why)?;
                *cell = self.default(&table.shape.table, column);
            }
        }
        Ok(cells)
    }

    /// The default text of a column.
    fn default(&self, table: &str, column: &str) -> Value {
        let described = self.schema.table(table).and_then(|table| table.column(column));
        let text = described.and_then(|column| column.default.as_deref()).unwrap_or_default();
        text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).into()
    }

    /// The statement that inserts the first `count` columns, without those that the release does not have.
    fn statement(&self, table: &DamagedTable, count: usize) -> String {
        let name = &table.shape.table;
        let columns = table.shape.columns.iter().take(count).enumerate();
        let known: Vec<(usize, String)> = columns
            .filter(|(_, column)| self.schema.has(name, column))
            .map(|(at, column)| (at, quote(column)))
            .collect();
        let marks: Vec<String> = known.iter().map(|(at, _)| format!("?{}", at + 1)).collect();
        let columns: Vec<&str> = known.iter().map(|(_, column)| column.as_str()).collect();
        let (columns, marks) = (columns.join(", "), marks.join(", "));
        let source = if known.len() == count {
            format!("VALUES ({marks})")
        } else {
            // Every parameter is used, also those of columns that the release does not have.
            let all: Vec<String> = (1..=count).map(|at| format!("?{at}")).collect();
            format!("SELECT {marks} FROM (SELECT {})", all.join(", "))
        };
        format!("INSERT OR IGNORE INTO {} ({columns}) {source}", quote(name))
    }

    /// Whether the table contains the same row already, from another copy of the page.
    fn is_there(&mut self, table: &DamagedTable, row: &FoundRow, cells: &[Value]) -> Result<bool> {
        let Some(key) = (0..table.shape.columns.len()).find(|at| table.shape.is_key(*at)) else { return Ok(false) };
        let (name, key) = (quote(&table.shape.table), quote(&table.shape.columns[key]));
        let rows = self.writer.query(&format!("SELECT * FROM {name} WHERE {key} = ?"), &[Value::Int(row.rowid)])?;
        Ok(rows.first().is_some_and(|there| {
            table.shape.columns.iter().zip(cells).all(|(column, cell)| there.cell(column) == cell)
        }))
    }

    fn note_unplaced(&mut self, survey: &Survey<'_>) -> Result<()> {
        for (page, tables) in &survey.unplaced {
            for (rowid, cells) in survey.unplaced_rows(*page) {
                let cells: Vec<Json> = cells.iter().map(Value::json).collect();
                self.notes.0.add(&json!({
                    "what": "left out", "id": rowid, "cells": cells,
                    "why": format!("the table of the row is ambiguous: {}", tables.join(", ")),
                }))?;
            }
        }
        Ok(())
    }

    /// Restores the counters of ids, so that no id is reused.
    fn count_on(&mut self, survey: &Survey<'_>) -> Result<()> {
        let Some(table) = survey.table(COUNTER) else { return Ok(()) };
        survey.visit(table, &mut |row| -> Result<()> {
            let (Some(Value::Text(name)), Some(count @ Value::Int(_))) = (row.cells.first(), row.cells.get(1)) else {
                return Ok(());
            };
            if self.schema.table(name).is_some() {
                let (name, count) = (Value::Text(name.clone()), count.clone());
                let insert = "INSERT INTO `sqlite_sequence` (`name`, `seq`) SELECT ?1, 0 WHERE NOT EXISTS \
                              (SELECT 1 FROM `sqlite_sequence` WHERE `name` = ?1)";
                self.writer.execute(insert, std::slice::from_ref(&name))?;
                self.writer
                    .execute("UPDATE `sqlite_sequence` SET `seq` = max(`seq`, ?) WHERE `name` = ?", &[count, name])?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Adds missing rows that every database of the release has: without its migrations the server would run them
    /// again.
    fn refill(&mut self) -> Result<u64> {
        let mut refilled = 0;
        for migration in self.recording.migrations() {
            refilled += self.writer.execute(
                "INSERT INTO `knex_migrations` (`name`, `batch`, `migration_time`) SELECT ?1, 1, unixepoch() * 1000 \
                 WHERE NOT EXISTS (SELECT 1 FROM `knex_migrations` WHERE `name` = ?1)",
                &[migration.into()],
            )?;
        }
        if self.schema.table("knex_migrations_lock").is_some() {
            refilled += self.writer.execute(
                "INSERT INTO `knex_migrations_lock` (`is_locked`) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM \
                 `knex_migrations_lock`)",
                &[],
            )?;
        }
        for (key, value) in self.recording.settings() {
            // An ignored insert would increment the counter of ids.
            let statement = "INSERT INTO `setting` (`key`, `value`) SELECT ?1, ?2 \
                             WHERE NOT EXISTS (SELECT 1 FROM `setting` WHERE `key` = ?1)";
            refilled += self.writer.execute(statement, &[key.into(), value.into()])?;
        }
        Ok(refilled)
    }

    /// Clears or removes references to missing rows until all are intact.
    fn settle(&mut self, reports: &mut [TableReport]) -> Result<()> {
        let schema = self.schema.clone();
        loop {
            let mut changed = 0;
            for report in reports.iter_mut() {
                let Some(described) = schema.table(&report.table) else { continue };
                for key in &described.foreign_keys {
                    let empties = described.column(&key.column).is_some_and(|column| !column.not_null);
                    let count = self.settle_key(&report.table, key, empties)?;
                    *(if empties { &mut report.emptied } else { &mut report.left_out }) += count;
                    changed += count;
                }
            }
            if changed == 0 {
                return Ok(());
            }
        }
    }

    fn settle_key(&mut self, table: &str, key: &ForeignKey, empties: bool) -> Result<u64> {
        let (name, column) = (quote(table), quote(&key.column));
        let nowhere = points_nowhere(key);
        let why = |value: &Value| format!("the row refers to `{}` {value}, which was not recovered", key.table);
        let notes = &mut self.notes;
        let mut found = 0;
        self.writer.stream(&format!("SELECT * FROM {name} WHERE {nowhere}"), &[], &mut |row| {
            found += 1;
            let value = row.cell(&key.column);
            let id = row.int("id").unwrap_or_default();
            if empties {
                notes.changed(&RowId { table, id }, &key.column, value, &why(value))
            } else {
                notes.left_out(&RowId { table, id }, &row.json(), &why(value))
            }
        })?;
        if found == 0 {
            return Ok(0);
        }
        let change = if empties {
            format!("UPDATE {name} SET {column} = NULL WHERE {nowhere}")
        } else {
            format!("DELETE FROM {name} WHERE {nowhere}")
        };
        self.writer.execute(&change, &[])
    }

    /// Creates the other indexes, and runs the engine's own check.
    fn finish(mut self) -> Result<Option<PathBuf>> {
        for statement in schema::script(self.recording.sql).filter(|sql| is_late(sql)) {
            self.writer.execute(statement, &[])?;
        }
        self.writer.commit()?;
        self.writer.query("PRAGMA journal_mode = WAL", &[])?;
        // The disk writes while SQLite checks.
        let (faults, flushed) = join(|| self.writer.check(Depth::Quick), || files::flush(&self.path));
        flushed?;
        let faults = faults?;
        drop(self.writer);
        if !faults.is_empty() {
            let problems = faults.iter().map(ToString::to_string).collect();
            return Err(Error::Database(DatabaseError::Damaged {
                database: format!("`{}`", self.path.display()),
                problems,
            }));
        }
        files::flush(&self.path)?;
        self.notes.0.finish()
    }
}

/// An index that is not unique: it is created at the end, which takes less time.
fn is_late(statement: &str) -> bool {
    statement.starts_with("CREATE INDEX")
}

/// A row of the damaged database.
struct RowId<'r> {
    table: &'r str,
    id: i64,
}

/// Rows that were left out or changed.
struct Notes(JsonList);

impl Notes {
    fn left_out(&mut self, RowId { table, id }: &RowId<'_>, row: &Json, why: &str) -> Result<()> {
        self.0.add(&json!({"what": "left out", "table": table, "id": id, "row": row, "why": why}))
    }

    fn changed(&mut self, RowId { table, id }: &RowId<'_>, column: &str, was: &Value, why: &str) -> Result<()> {
        let was = was.json();
        self.0.add(&json!({"what": "changed", "table": table, "id": id, "column": column, "was": was, "why": why}))
    }

    fn doubtful(&mut self, RowId { table, id }: &RowId<'_>, cut: bool) -> Result<()> {
        let why =
            if cut { "the end of the row is missing or inconsistent" } else { "the page of the row is inconsistent" };
        self.0.add(&json!({"what": "doubtful", "table": table, "id": id, "why": why}))
    }
}
