//! Databases that must not be written to: of a release that kumadb does not know, or newer than the image of their server.

use std::collections::BTreeSet;

use super::work::{Settings, Work};
use crate::docker::ServerFiles;
use crate::engine::Reader;
use crate::error::{DatabaseError, Error, OlderImage, Result};
use crate::instance::{Instance, Server};
use crate::kuma::read::read_database;
use crate::model::state::Database;
use crate::plan::Change;
use crate::schema::{RecognizedRelease, recognise_applied};
use crate::value::image_parts;

/// Fails while the server still runs where `work` would be refused once it is stopped: because of the release of its
/// database, as far as that can be read now, or because of its image.
///
/// A load replaces the database: `restore` has its own check of the image, and `undo` restores what was there. What is
/// salvaged cannot be read, and an upgrade checks more than this.
pub(super) fn check_before_stop(instance: &Instance, work: &Work<'_>, settings: &Settings) -> Result<()> {
    if work.replaces_all() {
        return Ok(());
    }
    let read = |reader: &mut dyn Reader| read_database(reader, &instance.name);
    match instance.connect().and_then(|connect| read(&mut *connect.reader()?)) {
        Ok(database) => {
            check_writable(instance, &database, settings)?;
            check_inserts(&database, work)
        }
        // The MariaDB of a stopped container is not there; the database is checked again where it is opened.
        Err(_) => Ok(()),
    }
}

/// Fails where `work` adds rows to a table without a column that the release has.
fn check_inserts(database: &Database, work: &Work<'_>) -> Result<()> {
    let Some(plan) = work.plan() else { return Ok(()) };
    let inserts = plan.steps.iter().filter(|step| matches!(step.change, Change::Insert { .. }));
    let tables: BTreeSet<&str> = inserts.map(|step| step.table.as_str()).collect();
    Ok(database.check_columns(tables)?)
}

/// Fails where the database, or the image of its server, is not of a release that is written to.
pub(super) fn check_writable(instance: &Instance, database: &Database, settings: &Settings) -> Result<()> {
    check_release(database, instance, settings)?;
    match &instance.container {
        Some(server) => check_image(instance, server, database),
        None => Ok(()),
    }
}

/// Fails where the image of `server` is older than its database, according to its files.
fn check_image(instance: &Instance, server: &Server, database: &Database) -> Result<()> {
    let Some(files) = server.migration_files()? else { return Ok(()) };
    if files.problems(&database.migrations).is_empty() {
        return Ok(());
    }
    // The error names its release.
    let shipped = server.shipped()?.unwrap_or(files);
    let what = format!("the database of `{}` ({})", instance.name, database.release);
    check_shipped(&shipped, &server.container().image, what, &database.migrations)
}

/// Fails where `image`, which has the files `shipped`, does not have some of the `migrations` of `what`: a database or a
/// snapshot.
///
/// # Errors
/// [`DatabaseError::OlderImage`].
pub fn check_shipped(shipped: &ServerFiles, image: &str, what: String, migrations: &BTreeSet<String>) -> Result<()> {
    let lacking = shipped.problems(migrations);
    if lacking.is_empty() {
        return Ok(());
    }
    let (repository, _) = image_parts(image);
    let found = recognise_applied(migrations);
    let needed = if found.exact { found.oldest.to_string() } else { "2".into() };
    Err(Error::Database(DatabaseError::OlderImage(Box::new(OlderImage {
        needed: format!("{repository}:{needed}"),
        of: shipped.release.clone(),
        what,
        lacking: lacking.into_iter().map(str::to_owned).collect(),
        image: image.to_owned(),
    }))))
}

/// Fails where a migration is running or was interrupted, or `database` is of a release that kumadb does not know.
pub(super) fn check_release(database: &Database, instance: &Instance, settings: &Settings) -> Result<()> {
    let named = || format!("the database of `{}`", instance.name);
    if database.migrating && !settings.opens_lock {
        return Err(Error::Database(DatabaseError::MigrationLocked { database: named() }));
    }
    if database.release.exact || settings.allow_unknown_release {
        return Ok(());
    }
    Err(Error::Database(match database.unknown_migrations().as_slice() {
        [] => DatabaseError::UnknownRelease { database: named(), why: difference(&database.release) },
        unknown @ [first, ..] => {
            DatabaseError::UnknownMigrations { database: named(), first: (*first).to_owned(), count: unknown.len() }
        }
    }))
}

fn difference(found: &RecognizedRelease) -> String {
    let named = |names: &[String]| match names {
        [] => String::new(),
        [one] => format!("`{one}`"),
        [first, rest @ ..] => format!("`{first}` and {} more", rest.len()),
    };
    match (found.unknown.as_slice(), found.missing.as_slice()) {
        ([], missing) => format!("closest to {}, but without {}", found.release, named(missing)),
        (unknown, []) => format!("{found}, with {}", named(unknown)),
        (_, missing) if found.within.is_some() => format!("{found}, without {}", named(missing)),
        (unknown, missing) => {
            format!("closest to {}, with {} and without {}", found.release, named(unknown), named(missing))
        }
    }
}
