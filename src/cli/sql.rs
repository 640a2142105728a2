//! `kumadb sql`: SQL queries and changes that no verb covers.

use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value as Json, json};

use super::format::{self, FormatArgs, OutputFormat, output_file};
use super::inputs::Inputs;
use super::write::{WriteArgs, finish, outcome_json, read_from};
use super::{Context, Ui};
use crate::engine::statement::{split, verb};
use crate::engine::{EngineKind, Reader};
use crate::error::{DatabaseError, Error, Exit, FileError, Hint, InputError, OperationError, Result};
use crate::files;
use crate::instance::Instance;
use crate::model::entities::ENTITIES;
use crate::model::fields::field;
use crate::operation::script::{Changes, RowChange, Script};
use crate::operation::{self, Transaction};
use crate::text::{self, counted, without_credentials};
use crate::value::{Row, Value};

/// Number of rows that determine the widths of columns, and are kept in memory for that.
const MEASURED: usize = 500;

/// Maximum number of changed rows on the screen.
const SHOWN: usize = 40;

#[derive(Args, Debug)]
pub struct SqlArgs {
    /// Run these statements, separated by `;` [default: standard input]
    #[arg(value_name = "STATEMENT", conflicts_with = "file")]
    statement: Option<String>,
    /// Read the statements from this file
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
    /// Write the rows to this new file (mode 0600)
    #[arg(short, long, value_name = "FILE", value_parser = output_file(), conflicts_with = "change")]
    pub output: Option<PathBuf>,
    /// Change rows, with a preview, a confirmation prompt, a snapshot and one transaction
    #[arg(long = "write")]
    pub change: bool,
    /// With --write: continue even if doctor reports new findings
    #[arg(long, requires = "change")]
    allow_findings: bool,
    #[command(flatten)]
    write: WriteArgs,
}

impl SqlArgs {
    /// Packs the statements for a remote job, whatever their source.
    pub fn pack(&self, inputs: &mut Inputs) -> Result<()> {
        match (&self.statement, &self.file) {
            (_, Some(file)) => inputs.take(file),
            (Some(_), None) => Ok(()),
            (None, None) => inputs.take_stdin(),
        }
    }
}

pub fn run(args: &SqlArgs, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    let statements = split(instance.engine(), &read_text(args)?);
    if statements.is_empty() {
        return Err(Error::Input(InputError::Missing {
            what: "SQL statement".into(),
            hint: Hint::command("kumadb sql 'SELECT COUNT(*) FROM monitor'"),
        }));
    }
    if args.change { change(args, statements, &instance, context) } else { ask(args, &statements, &instance, context) }
}

fn read_text(args: &SqlArgs) -> Result<String> {
    match (&args.statement, &args.file) {
        (Some(statement), _) => Ok(statement.clone()),
        (None, Some(path)) => std::fs::read_to_string(path).map_err(Error::file("read", path)),
        (None, None) => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(Error::file("read", "/dev/stdin"))?;
            Ok(text)
        }
    }
}

// ---- queries --------------------------------------------------------------------------------------------------------

/// Runs queries, on a read-only connection.
fn ask(args: &SqlArgs, statements: &[String], instance: &Instance, context: &mut Context<'_>) -> Result<Exit> {
    for statement in statements {
        check_question(statement, instance.engine())?;
    }
    let file = args.output.as_ref().map(|path| files::create_private(path)).transpose()?;
    let form = match (context.ui.is_json(), args.format.format) {
        (true, _) => Form::Json,
        (false, OutputFormat::Csv) => Form::Csv,
        // Rows come one by one, each on one line.
        (false, OutputFormat::Table | OutputFormat::Wide | OutputFormat::Json) => Form::Table,
    };
    let mut out = Out { ui: context.ui, file: file.map(BufWriter::new), form, pending: String::new(), closed: false };
    let asked = read_from(instance, |reader, _| {
        statements.iter().enumerate().try_for_each(|(at, statement)| out.answer(at, statement, reader))
    });
    match asked {
        // The reader has closed the pipe.
        Err(_) if out.closed => Ok(Exit::Done),
        Err(Error::Database(DatabaseError::ReadOnly { .. })) => Err(refused("this statement")),
        Err(Error::File(FileError::Io { source, .. })) if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(refused("this statement"))
        }
        asked => asked.and_then(|()| out.end()).map(|()| Exit::Done),
    }
}

/// Fails unless `statement` is a query. The engine refuses writes to the database; this refuses what would write to
/// other places, such as files of the server, or checkpoint.
fn check_question(statement: &str, engine: EngineKind) -> Result<()> {
    const QUESTIONS: [&str; 7] = ["SELECT", "WITH", "VALUES", "EXPLAIN", "SHOW", "DESCRIBE", "DESC"];
    const PRAGMAS: [&str; 16] = [
        "table_info",
        "table_xinfo",
        "table_list",
        "index_list",
        "index_info",
        "index_xinfo",
        "foreign_key_list",
        "foreign_key_check",
        "integrity_check",
        "quick_check",
        "page_count",
        "page_size",
        "freelist_count",
        "auto_vacuum",
        "user_version",
        "compile_options",
    ];
    let verb = verb(statement);
    if verb == "PRAGMA" && engine == EngineKind::Sqlite {
        let name = statement[verb.len()..].trim_start().split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next();
        let is_known = name.is_some_and(|name| PRAGMAS.contains(&name.to_ascii_lowercase().as_str()));
        return if is_known && !statement.contains('=') { Ok(()) } else { Err(refused("this PRAGMA")) };
    }
    let capitals = statement.to_ascii_uppercase();
    let words: Vec<&str> = capitals.split_ascii_whitespace().collect();
    // MariaDB writes such a file even in a read-only transaction.
    let writes_file = words
        .windows(2)
        .any(|two| two[0].ends_with("INTO") && ["OUTFILE", "DUMPFILE"].iter().any(|file| two[1].starts_with(file)));
    if QUESTIONS.contains(&verb.as_str()) && !writes_file {
        Ok(())
    } else {
        Err(refused(&if verb.is_empty() { "this".into() } else { format!("`{verb}`") }))
    }
}

fn refused(what: &str) -> Error {
    Error::Operation(OperationError::ReadOnly { statement: what.to_owned() })
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Table,
    Json,
    Csv,
}

/// Where rows go, as they are read.
struct Out<'a> {
    ui: &'a mut Ui,
    file: Option<BufWriter<File>>,
    form: Form,
    pending: String,
    /// The reader of standard output has closed the pipe.
    closed: bool,
}

impl Out<'_> {
    /// Prints the result of `statement`.
    fn answer(&mut self, at: usize, statement: &str, reader: &mut dyn Reader) -> Result<()> {
        let mut first: Vec<Row> = Vec::new();
        let (mut widths, mut rows) = (Vec::new(), 0u64);
        let form = self.form;
        reader.stream(statement, &[], &mut |row| {
            rows += 1;
            match form {
                Form::Json => {
                    let separator = if rows > 1 { "," } else { "" };
                    let head = if rows == 1 { json_head(at, statement, row.columns()) } else { String::new() };
                    let cells: Vec<Json> = row.cells().iter().map(Value::json).collect();
                    self.put(&format!("{head}{separator}\n{}", Json::Array(cells)))
                }
                Form::Csv => {
                    let head = if rows == 1 {
                        csv_line(row.columns().iter().map(|name| csv_text(name)))
                    } else {
                        String::new()
                    };
                    let line = csv_line(row.cells().iter().map(csv_cell));
                    self.put(&format!("{}{head}{line}", if rows == 1 && at > 0 { "\n" } else { "" }))
                }
                Form::Table if first.len() < MEASURED && widths.is_empty() => {
                    first.push(row);
                    Ok(())
                }
                Form::Table => {
                    if widths.is_empty() {
                        widths = self.put_table(at, &std::mem::take(&mut first))?;
                    }
                    self.put(&table_line(row.cells().iter().map(shown), &widths))
                }
            }
        })?;
        match form {
            Form::Json if rows == 0 => self.put(&format!("{}\n]}}", json_head(at, statement, &[]))),
            Form::Json => self.put("\n]}"),
            Form::Csv => Ok(()),
            Form::Table => {
                if widths.is_empty() && !first.is_empty() {
                    self.put_table(at, &first)?;
                }
                self.put(&format!("({})\n", counted(rows as usize, "row")))
            }
        }
    }

    /// Prints the header and the first rows; returns the width of each column.
    fn put_table(&mut self, at: usize, rows: &[Row]) -> Result<Vec<usize>> {
        let columns = rows.first().map_or(&[][..], Row::columns);
        let width = |at: usize| rows.iter().map(|row| shown(row.at(at)).chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> =
            columns.iter().enumerate().map(|(at, name)| name.chars().count().max(width(at)).min(80)).collect();
        if at > 0 {
            self.put("\n")?;
        }
        self.put(&table_line(columns.iter().cloned(), &widths))?;
        rows.iter().try_for_each(|row| self.put(&table_line(row.cells().iter().map(shown), &widths)))?;
        Ok(widths)
    }

    fn put(&mut self, text: &str) -> Result<()> {
        self.pending.push_str(text);
        if self.pending.len() > 1 << 16 { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let text = std::mem::take(&mut self.pending);
        match &mut self.file {
            Some(file) => file.write_all(text.as_bytes()).map_err(Error::file("write", "the output")),
            None => {
                self.closed = !self.ui.put(&text)?;
                if self.closed { Err(Error::Operation(OperationError::Interrupted { signal: 13 })) } else { Ok(()) }
            }
        }
    }

    fn end(&mut self) -> Result<()> {
        if self.form == Form::Json {
            self.put("\n]}\n")?;
        }
        let flushed = self.flush();
        if self.closed {
            return Ok(());
        }
        flushed?;
        match &mut self.file {
            Some(file) => file.flush().map_err(Error::file("write", "the output")),
            None => Ok(()),
        }
    }
}

fn json_head(at: usize, statement: &str, columns: &[String]) -> String {
    let before = if at == 0 { "{\"results\": [\n" } else { ",\n" };
    format!("{before}{{\"statement\": {}, \"columns\": {}, \"rows\": [", json!(statement), json!(columns))
}

fn table_line(cells: impl Iterator<Item = String>, widths: &[usize]) -> String {
    let cells: Vec<String> = cells.zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
    format!("{}\n", cells.join("  ").trim_end())
}

/// A cell on one line, without control characters.
fn shown(cell: &Value) -> String {
    let text = cell.to_string();
    if text.contains(char::is_control) {
        text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
    } else {
        text
    }
}

fn csv_line(cells: impl Iterator<Item = String>) -> String {
    format!("{}\n", cells.collect::<Vec<_>>().join(","))
}

fn csv_cell(cell: &Value) -> String {
    match cell {
        Value::Null => String::new(),
        Value::Text(text) => csv_text(text),
        other => other.json().as_str().map_or_else(|| other.to_string(), str::to_owned),
    }
}

/// In quotes where it is empty too, because it is not NULL.
fn csv_text(text: &str) -> String {
    if text.is_empty() { "\"\"".into() } else { format::csv_cell(text) }
}

// ---- changes --------------------------------------------------------------------------------------------------------

/// Dry-runs the statements, shows the changes, asks, and writes them.
fn change(args: &SqlArgs, statements: Vec<String>, instance: &Instance, context: &mut Context<'_>) -> Result<Exit> {
    let script = Script { statements, shown: None };
    script.check()?;
    let settings = args.write.settings("sql");
    let tried = operation::dry_run_transaction(instance, &Transaction::Script(&script), &settings, context.ui)?.changes;
    let mut document = document(&script, &tried);
    if tried.is_empty() {
        context.ui.result(&json!({"changes": []}), || "no rows would change".into())?;
        return Ok(Exit::Done);
    }
    let text = text(&script, &tried);
    if args.write.is_dry_run() {
        document.insert("dry_run".into(), json!(true));
        context.ui.result(&Json::Object(document), || format!("{text}\ndry run: rolled back; nothing was changed"))?;
        return Ok(Exit::Done);
    }
    context.ui.say_text(&text);
    if !tried.findings.is_empty() && !args.allow_findings {
        return Err(Error::Operation(OperationError::NewFindings { findings: tried.findings.clone() }));
    }
    context.ui.ask("make these changes?")?;
    let store = context.store()?;
    let script = Script { shown: Some(tried), ..script };
    let outcome = operation::run(instance, &store, Transaction::Script(&script), &settings, context.ui)?;
    document.insert("affected".into(), json!(outcome.changes.affected));
    document.extend(outcome_json(&outcome));
    context.ui.result(&Json::Object(document), || {
        let rows: u64 = outcome.changes.affected.iter().sum();
        format!("{} changed", counted(rows as usize, "row"))
    })?;
    finish(&outcome, context.ui)
}

fn document(script: &Script, changes: &Changes) -> serde_json::Map<String, Json> {
    let tables: Vec<Json> = changes
        .tables
        .iter()
        .map(|table| {
            let rows =
                table.rows.as_ref().map(|rows| rows.iter().map(|row| row_json(&table.table, row)).collect::<Vec<_>>());
            json!({"table": table.table, "before": table.before, "after": table.after, "rows": rows})
        })
        .collect();
    [
        ("statements".to_owned(), json!(script.statements)),
        ("affected".to_owned(), json!(changes.affected)),
        ("tables".to_owned(), json!(tables)),
        ("findings".to_owned(), json!(changes.findings)),
    ]
    .into_iter()
    .collect()
}

fn row_json(table: &str, row: &RowChange) -> Json {
    let cells: Vec<Json> = row
        .cells
        .iter()
        .map(|(column, old, new)| {
            json!({"column": column, "old": redacted(table, column, old).json(), "new": redacted(table, column, new).json()})
        })
        .collect();
    json!({"key": row.key, "action": action(row), "cells": cells})
}

/// The cell, or `(secret)`: secrets are shown in queries, but not in changes.
fn redacted(table: &str, column: &str, cell: &Value) -> Value {
    let is_reported = match table {
        "setting" => column != "value",
        "monitor" => !field(column).is_some_and(|field| field.secret || column == "push_token"),
        _ => {
            let mut fields = ENTITIES.iter().filter(|entity| entity.table == table).flat_map(|entity| entity.fields);
            column != "twofa_secret" && !fields.any(|field| field.column == column && field.secret)
        }
    };
    match cell {
        Value::Text(text) if is_reported => without_credentials(text).into(),
        cell if is_reported || cell.is_nothing() => cell.clone(),
        _ => "(secret)".into(),
    }
}

fn action(row: &RowChange) -> &'static str {
    match row.was_and_is {
        (false, _) => "create",
        (_, false) => "delete",
        _ => "change",
    }
}

fn text(script: &Script, changes: &Changes) -> String {
    let mut lines = Vec::new();
    for table in &changes.tables {
        let Some(rows) = &table.rows else {
            lines
                .push(format!("  `{}`: {} rows → {}, not compared row by row", table.table, table.before, table.after));
            continue;
        };
        for row in rows {
            let cells = |sign: &str, side: fn(&(String, Value, Value)) -> &Value| {
                let reported = row.cells.iter().filter(|cell| !side(cell).is_null());
                let reported: Vec<String> = reported
                    .map(|cell| format!("{}={}", cell.0, shown(&redacted(&table.table, &cell.0, side(cell)))))
                    .collect();
                format!("{sign} `{}` {}: {}", table.table, row.key, reported.join(", "))
            };
            match action(row) {
                "create" => lines.push(cells("+", |cell| &cell.2)),
                "delete" => lines.push(cells("-", |cell| &cell.1)),
                _ => lines.extend(row.cells.iter().map(|(column, old, new)| {
                    let side = |cell| shown(&redacted(&table.table, column, cell));
                    format!("~ `{}` {}: {column} {} → {}", table.table, row.key, side(old), side(new))
                })),
            }
        }
    }
    let more = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    if more > 0 {
        lines.push(format!("… and {more} more lines; to show all: --dry-run --json"));
    }
    for (statement, rows) in script.statements.iter().zip(&changes.affected) {
        lines.push(format!("{}: {}", counted(*rows as usize, "row"), shown(&statement.as_str().into())));
    }
    lines.extend(changes.findings.iter().map(|finding| format!("! {finding}")));
    text::lines(lines)
}
