//! `kumadb salvage`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value as Json, json};

use super::{Context, Ui};
use crate::engine::sqlite::SqliteFile;
use crate::error::{DatabaseError, Error, Exit, Result};
use crate::files;
use crate::instance::DbLocation;
use crate::kuma::damaged::{DamagedDb, JournalUse, WalUse};
use crate::kuma::fresh::{Salvaged, TableReport, estimate, make};
use crate::operation::{Observer as _, RebuiltFrom};
use crate::salvage::List;
use crate::schema::Release;
use crate::text::{counted, one_line};

#[derive(Args, Debug)]
pub struct SalvageArgs {
    /// Read this damaged kuma.db, or the one of this SQLite instance
    #[arg(value_name = "FILE|TARGET")]
    from: String,
    /// Create this new database; it must not exist
    #[arg(long, value_name = "NEW.DB", required_unless_present = "dry_run")]
    to: Option<PathBuf>,
    /// Set the release of the server, if it cannot be detected
    #[arg(long, value_name = "RELEASE")]
    release: Option<Release>,
    /// Show what can be recovered, without writing a new database
    #[arg(short = 'n', long)]
    dry_run: bool,
}

pub fn run(args: &SalvageArgs, context: &mut Context<'_>) -> Result<Exit> {
    let path = find(&args.from, context)?;
    let file = SqliteFile::new(&path);
    let holders = files::holders(&file.parts());
    if !holders.is_empty() {
        let who = holders.join(", ");
        context.ui.warn(&format!("{who} has the database open: rows written during the salvage may be incomplete"));
    }
    let damaged = DamagedDb::open(file.path())?;
    let salvaged = match &args.to {
        Some(to) if !args.dry_run => {
            make(&damaged, to, args.release, &mut |done, total| context.ui.progress(done, total))?
        }
        _ => estimate(&damaged, args.release)?,
    };
    let to = args.to.as_ref().filter(|_| !args.dry_run);
    let mut document = salvaged_json(&salvaged);
    document["from"] = json!(file.path());
    document["to"] = json!(to);
    context.ui.result(&document, || {
        let mut text = salvaged_text(&salvaged);
        if let Some(to) = to {
            text.push_str(&format!(
                "\n\nwrote `{}`, a complete database of release {}",
                to.display(),
                salvaged.release
            ));
        }
        text
    })?;
    Ok(if salvaged.is_whole() { Exit::Done } else { Exit::Partial })
}

/// The database file: the argument itself, or that of an instance.
fn find(from: &str, context: &mut Context<'_>) -> Result<PathBuf> {
    let path = Path::new(from);
    if path.is_file() {
        return Ok(path.to_owned());
    }
    context.select(Some(from.to_owned()));
    match context.instance()?.place {
        DbLocation::Sqlite(file) => Ok(file.path().to_owned()),
        _ => Err(Error::Database(DatabaseError::NotSalvageable { database: from.to_string() })),
    }
}

/// The result as JSON, as in `docs/json.md`.
pub fn salvaged_json(salvaged: &Salvaged) -> Json {
    let tables: Vec<Json> = salvaged.tables.iter().map(table_json).collect();
    let wal = match salvaged.wal {
        WalUse::None => "none",
        WalUse::Used(_) => "used",
        WalUse::Ignored => "ignored",
    };
    json!({
        "release": salvaged.release, "wal": wal, "journal": journal_word(&salvaged.journal), "tables": tables, "indexes_damaged": salvaged.broken_indexes,
        "tables_unknown": salvaged.unknown, "deleted_pages": salvaged.deleted_pages, "refilled": salvaged.refilled,
        "left_out": salvaged.notes, "complete": salvaged.is_whole(),
    })
}

fn journal_word(journal: &JournalUse) -> &'static str {
    match journal {
        JournalUse::None => "none",
        JournalUse::RolledBack(_) => "rolled_back",
        JournalUse::Ignored(_) => "ignored",
    }
}

/// What was done with the rollback journal, where there is one.
fn journal_text(journal: &JournalUse) -> Option<String> {
    match journal {
        JournalUse::None => None,
        JournalUse::RolledBack(pages) => Some(format!(
            "an unfinished transaction was rolled back: {} from `kuma.db-journal`",
            counted(*pages as usize, "page")
        )),
        JournalUse::Ignored(why) => Some(format!("without `kuma.db-journal`: {why}")),
    }
}

fn table_json(report: &TableReport) -> Json {
    json!({
        "table": report.table, "certain": report.rows.certain, "doubtful": report.rows.doubtful,
        "lost": report.rows.lost, "missing_pages": report.missing_pages, "left_out": report.left_out,
        "emptied": report.emptied,
    })
}

/// The result as text: tables that have, or should have, rows.
pub fn salvaged_text(salvaged: &Salvaged) -> String {
    let number = |n: u64| if n == 0 { String::new() } else { n.to_string() };
    let rows = salvaged.tables.iter().filter(|report| **report != empty(report)).map(|report| {
        let tally = report.rows;
        let lost = match (tally.lost, report.missing_pages) {
            (lost, 0) => number(lost),
            (0, pages) => format!("? ({})", counted(pages as usize, "page")),
            (lost, pages) => format!("{lost} ({})", counted(pages as usize, "page")),
        };
        vec![
            report.table.clone(),
            number(tally.certain + tally.doubtful),
            number(tally.doubtful),
            lost,
            number(report.left_out),
        ]
    });
    let mut text = vec![Ui::table(&["table", "found", "doubtful", "lost", "left out"], rows.collect())];
    text.push(match salvaged.wal {
        WalUse::None => "no WAL".into(),
        WalUse::Used(frames) => {
            format!("with the WAL: {} are part of the database", counted(frames as usize, "frame"))
        }
        WalUse::Ignored => "without the WAL: more rows can be read from the file alone".into(),
    });
    text.extend(journal_text(&salvaged.journal));
    match salvaged.list {
        List::Whole => {}
        List::InPart => {
            text.push("the list of tables is damaged; the missing tables were detected by their row format".into())
        }
        List::Lost => text.push("the list of tables is lost; all tables were detected by their row format".into()),
    }
    if !salvaged.broken_indexes.is_empty() {
        text.push(format!("{} damaged and rebuilt", counted(salvaged.broken_indexes.len(), "index")));
    }
    if !salvaged.unknown.is_empty() {
        text.push(format!(
            "skipped tables that {} does not have: {}",
            salvaged.release,
            one_line(&salvaged.unknown.join(", "))
        ));
    }
    if salvaged.refilled > 0 {
        text.push(format!(
            "{} added that every database of {} has",
            counted(salvaged.refilled as usize, "row"),
            salvaged.release
        ));
    }
    if let Some(notes) = &salvaged.notes {
        text.push(format!("doubtful, changed and skipped rows are listed in {}", notes.display()));
    }
    text.join("\n")
}

/// What a new database was built from, as in `docs/json.md`.
pub fn rebuilt_json(made: &RebuiltFrom) -> Json {
    match made {
        RebuiltFrom::Whole { with_wal, journal } => json!({
            "from": "files", "wal": if *with_wal { "used" } else { "ignored" }, "journal": journal_word(journal),
        }),
        RebuiltFrom::Salvaged(salvaged) => {
            let mut document = salvaged_json(salvaged);
            document["from"] = json!("rows");
            document
        }
    }
}

/// The same as text.
pub fn rebuilt_text(made: &RebuiltFrom) -> String {
    match made {
        RebuiltFrom::Whole { with_wal, journal } => {
            let wal = if *with_wal { "" } else { " without its WAL" };
            let whole = format!("the database is complete{wal}: its indexes were rebuilt");
            [whole].into_iter().chain(journal_text(journal)).collect::<Vec<_>>().join("\n")
        }
        RebuiltFrom::Salvaged(salvaged) => format!("built a new database from the rows:\n{}", salvaged_text(salvaged)),
    }
}

/// The report of an empty table.
fn empty(report: &TableReport) -> TableReport {
    TableReport { table: report.table.clone(), ..TableReport::default() }
}
