//! The transaction itself: checked before it commits, or rehearsed and rolled back.

use super::apply::Settings;
use super::{Observer, Silent, Step};
use crate::backup::Guarded;
use crate::engine::sqlite::SqliteFile;
use crate::engine::{Connect as _, EngineKind, Writer};
use crate::error::{Error, Result};
use crate::instance::{Instance, Place};
use crate::kuma::read::{read_database, read_fingerprint};
use crate::kuma::write::{Written, check_clean, check_written, write_plan};
use crate::model::state::{Database, Fingerprint};
use crate::plan::Plan;
use crate::schema::{Recognition, Schema};

/// Rehearses `plan`: the same transaction with the same checks, then rolled back. A SQLite database is rehearsed on a
/// copy of its own, because not even a rolled back transaction may be opened beside a running server.
pub fn rehearse(instance: &Instance, plan: &Plan, settings: &Settings, observer: &mut dyn Observer) -> Result<()> {
    observer.step(&Step::Rehearse)?;
    let scratch = tempfile::tempdir().map_err(Error::file("make a folder in", std::env::temp_dir()))?;
    let session = instance.open()?;
    let mut try_it = || {
        let mut guarded = match &instance.place {
            Place::Sqlite(_) => {
                let copy = scratch.path().join("kuma.db");
                session.connect().reader()?.dump(&copy, &[], &mut |done, total| observer.progress(done, total))?;
                Guarded::rehearse(&SqliteFile::new(copy))?
            }
            _ => Guarded::rehearse(session.connect())?,
        };
        let database = read_database(guarded.writer(), &instance.name)?;
        check_release(&database, instance, settings)?;
        guarded.writer().begin()?;
        let tried = transact(&mut guarded, &database.schema, plan, &mut Silent);
        guarded.writer().rollback()?;
        tried.map(drop)
    };
    let tried = try_it();
    session.close()?;
    tried
}

/// Rehearses statements on a copy; says whether that was possible: MariaDB has no copy, and makes each durable at once.
pub fn rehearse_statements(
    instance: &Instance,
    statements: &[String],
    settings: &Settings,
    observer: &mut dyn Observer,
) -> Result<bool> {
    let Place::Sqlite(file) = &instance.place else { return Ok(false) };
    observer.step(&Step::Rehearse)?;
    let scratch = tempfile::tempdir().map_err(Error::file("make a folder in", std::env::temp_dir()))?;
    let copy = scratch.path().join("kuma.db");
    file.reader()?.dump(&copy, &[], &mut |done, total| observer.progress(done, total))?;
    let mut guarded = Guarded::rehearse(&SqliteFile::new(copy))?;
    let database = read_database(guarded.writer(), &instance.name)?;
    check_release(&database, instance, settings)?;
    let before = read_fingerprint(guarded.writer(), &database.schema)?;
    run_statements(guarded.writer(), statements, &database.schema, &before, &mut Silent)?;
    Ok(true)
}

pub(super) fn check_release(database: &Database, instance: &Instance, settings: &Settings) -> Result<()> {
    if database.migrating && !settings.opens_lock {
        return Err(Error::MigrationLocked { database: format!("the database of `{}`", instance.name) });
    }
    if !database.release.exact && !settings.allow_unknown_release {
        return Err(Error::UnknownRelease {
            database: format!("the database of `{}`", instance.name),
            why: difference(&database.release),
        });
    }
    Ok(())
}

fn difference(found: &Recognition) -> String {
    let named = |names: &[String]| match names {
        [] => String::new(),
        [one] => format!("`{one}`"),
        [first, rest @ ..] => format!("`{first}` and {} more", rest.len()),
    };
    match (found.unknown.as_slice(), found.missing.as_slice()) {
        ([], missing) => format!("nearest to {}, but without {}", found.release, named(missing)),
        (unknown, []) => format!("newer than {}, with {}", found.release, named(unknown)),
        (unknown, missing) => {
            format!("nearest to {}, with {} and without {}", found.release, named(unknown), named(missing))
        }
    }
}

/// Writes `plan` in the open transaction and checks it; returns the ids that were given, and what the configuration is now.
pub(super) fn transact(
    guarded: &mut Guarded,
    schema: &Schema,
    plan: &Plan,
    observer: &mut dyn Observer,
) -> Result<(Written, Fingerprint)> {
    observer.step(&Step::Write { changes: plan.steps.len() })?;
    let written = write_plan(guarded.writer(), schema, plan)?;
    observer.step(&Step::ReadBack)?;
    let after = check_written(guarded.writer(), schema, plan, &written)?;
    observer.step(&Step::Check)?;
    let before = guarded.before().to_vec();
    check_clean(guarded.writer(), &before)?;
    Ok((written, after))
}

/// Runs statements that change no cell, which the configuration `before` of the tables `schema` proves: what was made besides
/// is not looked at. One transaction on SQLite; MariaDB ends one
/// with each of them.
pub(super) fn run_statements(
    writer: &mut dyn Writer,
    statements: &[String],
    schema: &Schema,
    before: &Fingerprint,
    observer: &mut dyn Observer,
) -> Result<()> {
    observer.step(&Step::Write { changes: statements.len() })?;
    let transacts = writer.kind() == EngineKind::Sqlite;
    if transacts {
        writer.begin()?;
    }
    for statement in statements {
        writer.execute(statement, &[])?;
    }
    observer.step(&Step::ReadBack)?;
    if read_fingerprint(writer, schema)? != *before {
        return Err(Error::Unclean(vec!["cells differ that no statement was to change".into()]));
    }
    if transacts { writer.commit() } else { Ok(()) }
}
