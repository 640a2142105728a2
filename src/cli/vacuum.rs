//! `kumadb vacuum`

use clap::{Args, ValueEnum};
use serde_json::{Value as Json, json};

use super::Context;
use super::write::{WriteArgs, finish, outcome_json, read_from, with};
use crate::engine::EngineKind;
use crate::engine::space::{AutoVacuum, Space, read_space};
use crate::error::{Error, Exit, InputError, OperationError, Result};
use crate::instance::DbLocation;
use crate::operation::{self, Replacement, compact};
use crate::schema::quote;
use crate::text::bytes;

/// A table of MariaDB with less free space than this, in bytes, is not rewritten.
const LITTLE: u64 = 4 << 20;

#[derive(Args, Debug)]
pub struct VacuumArgs {
    /// SQLite: only release free pages, all or this many, without rewriting the file
    #[arg(long, value_name = "PAGES", num_args = 0..=1, default_missing_value = "0", conflicts_with = "auto_vacuum")]
    incremental: Option<u32>,
    /// SQLite: set how free pages are handled
    #[arg(long, value_name = "MODE")]
    auto_vacuum: Option<Mode>,
    /// MariaDB: rewrite these tables [default: those with much free space]
    #[arg(long, value_name = "TABLES", value_delimiter = ',')]
    tables: Vec<String>,
    #[command(flatten)]
    write: WriteArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// Keep free pages in the file and reuse them
    None,
    /// Truncate the file at every commit
    Full,
    /// Truncate the file only when the server or --incremental requests it
    Incremental,
}

pub fn run(args: &VacuumArgs, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    let space = read_from(&instance, |reader, _| read_space(reader))?;
    let statements = match instance.engine() {
        EngineKind::Sqlite => on_sqlite(args, &space)?,
        EngineKind::MariaDb => on_mariadb(args, &space)?,
    };
    if statements.is_empty() {
        let free = bytes(space.free);
        context.ui.result(&json!({"changes": []}), || format!("nothing to reclaim: {free} free"))?;
        return Ok(Exit::Done);
    }
    if args.incremental.is_none() {
        compact::check_room(&instance, &space)?;
    }
    let named = json!({"statements": statements, "size_before": space.total, "free_before": space.free});
    if args.write.is_dry_run() {
        context.ui.result(&with(named, json!({"dry_run": true})), || {
            let (total, free) = (bytes(space.total), bytes(space.free));
            format!("~ {}\ndry run: {total}, {free} of it free; nothing was changed", statements.join("\n~ "))
        })?;
        return Ok(Exit::Done);
    }
    if matches!(instance.place, DbLocation::External(_)) {
        context.ui.say(
            "kumadb cannot check the disk of this MariaDB: make sure that there is free space for a second copy \
             of the largest table",
        );
    }
    let settings = args.write.settings("vacuum");
    let store = context.store()?;
    let outcome = operation::run(&instance, &store, Replacement::Compact(&statements), &settings, context.ui)?;
    let after = read_from(&instance, |reader, _| read_size(reader))?;
    let document = with(with(named, json!({"size_bytes": after})), Json::Object(outcome_json(&outcome)));
    context.ui.result(&document, || sizes(space.total, after))?;
    finish(&outcome, context.ui)
}

fn read_size(reader: &mut dyn crate::engine::Reader) -> Result<u64> {
    match reader.kind() {
        EngineKind::Sqlite => {
            let layout = crate::engine::space::Layout::read(reader)?;
            Ok(layout.pages * layout.page_size)
        }
        EngineKind::MariaDb => Ok(read_space(reader)?.total),
    }
}

/// The size before and after.
pub fn sizes(before: u64, after: u64) -> String {
    format!("size {} → {}", bytes(before), bytes(after))
}

/// The statements that rewrite the file, or these tables of MariaDB.
pub fn compacting(engine: EngineKind, tables: &[&String]) -> Vec<String> {
    match engine {
        EngineKind::Sqlite => vec!["VACUUM".into()],
        EngineKind::MariaDb => tables.iter().map(|table| format!("OPTIMIZE TABLE {}", quote(table))).collect(),
    }
}

fn on_sqlite(args: &VacuumArgs, space: &Space) -> Result<Vec<String>> {
    if !args.tables.is_empty() {
        return Err(Error::Input(InputError::NotFor {
            option: "`--tables`".into(),
            subject: "SQLite".into(),
            why: "the full file is rewritten".into(),
        }));
    }
    let mode = space.layout.map(|layout| layout.auto_vacuum);
    if let Some(pages) = args.incremental {
        let free = space.layout.map_or(0, |layout| layout.free_pages);
        return match mode {
            _ if free == 0 => Ok(Vec::new()),
            Some(AutoVacuum::None) | None => Err(Error::Operation(OperationError::NoAutoVacuum { free_pages: free })),
            _ => Ok(vec![format!("PRAGMA incremental_vacuum({pages})")]),
        };
    }
    let switch = args.auto_vacuum.map(|mode| format!("PRAGMA auto_vacuum = {}", format!("{mode:?}").to_uppercase()));
    Ok(switch.into_iter().chain(compacting(EngineKind::Sqlite, &[])).collect())
}

fn on_mariadb(args: &VacuumArgs, space: &Space) -> Result<Vec<String>> {
    if args.incremental.is_some() || args.auto_vacuum.is_some() {
        return Err(Error::Input(InputError::NotFor {
            option: "`--incremental` or `--auto-vacuum`".into(),
            subject: "MariaDB".into(),
            why: "it rewrites full tables".into(),
        }));
    }
    if let Some(unknown) = args.tables.iter().find(|table| !space.tables.contains_key(*table)) {
        return Err(Error::Input(InputError::Unknown {
            kind: "table",
            name: unknown.clone(),
            known: space.tables.keys().cloned().collect(),
        }));
    }
    let is_worth_it = |free: u64, used: u64| free >= LITTLE && free * 10 >= used;
    let loose = space.tables.iter().filter(|(_, table)| is_worth_it(table.free, table.rows + table.indexes));
    let tables: Vec<&String> =
        if args.tables.is_empty() { loose.map(|(table, _)| table).collect() } else { args.tables.iter().collect() };
    Ok(compacting(EngineKind::MariaDb, &tables))
}
