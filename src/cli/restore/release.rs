//! Whether the server can use a snapshot of another release.

use chrono::Utc;

use crate::backup::{Manifest, StagedCopy};
use crate::cli::Ui;
use crate::docker::ServerFiles;
use crate::engine::EngineKind;
use crate::error::{Error, Hint, OperationError, Result, SnapshotError};
use crate::instance::Instance;
use crate::kuma::read::read_database;
use crate::kuma::upgrade::UpgradeOptions;
use crate::model::state::Database;
use crate::operation::upgrade::upgrade_copy;
use crate::operation::{UpgradeWork, check_shipped};
use crate::schema::{Release, recognise_applied};
use crate::text::counted;
use crate::upgrade::Route;
use crate::upgrade::rules::Style;

/// Fails when the server in `image` would reject the database of `then`; warns when it would migrate it.
pub fn check_image(then: &Manifest, shipped: &ServerFiles, image: &str, ui: &mut Ui) -> Result<()> {
    let what = format!("snapshot `{}` ({})", then.id, then.release);
    check_shipped(shipped, image, what, &then.migrations.iter().cloned().collect())?;
    let missing =
        shipped.migrations().into_iter().filter(|name| !then.migrations.iter().any(|had| had == name)).count();
    if missing > 0 {
        let release = shipped.release.as_deref().unwrap_or("an unknown release");
        ui.warn(&format!(
            "snapshot `{}` is of release {}, image `{image}` of {release}: the server will migrate the database when it starts ({})",
            then.id,
            then.release,
            counted(missing, "migration")
        ));
    }
    Ok(())
}

/// `staged` upgraded to the release of the image that has the files `shipped`, where that is newer: the server would migrate it when it
/// starts, slowly and not as one transaction.
///
/// A copy is left as it is where that is not possible without more knowledge: of the release of the image, or of the tables
/// on MariaDB, which have to be of that release already.
pub fn upgrade(
    staged: StagedCopy,
    shipped: Option<&ServerFiles>,
    instance: &Instance,
    ui: &mut Ui,
) -> Result<StagedCopy> {
    let Some(shipped) = shipped else { return Ok(staged) };
    let names = shipped.migrations().into_iter().map(str::to_owned).collect();
    let found = recognise_applied(&names);
    let Some(route) = newer(&staged.manifest, found.exact.then_some(found.release)) else { return Ok(staged) };
    if instance.engine() == EngineKind::MariaDb {
        let now = instance.open().and_then(|session| session.read(|reader| read_database(reader, "the database")));
        if !now.is_ok_and(|now| now.migrations == names) {
            return Ok(staged);
        }
    }
    upgrade_along(staged, &route, "the release of the image", ui)
}

/// The way from the release of `manifest` to `to`, if that is a newer one.
pub fn newer(manifest: &Manifest, to: Option<Release>) -> Option<Route> {
    let applied = manifest.migrations.iter().cloned().collect();
    let route = Route::find(EngineKind::Sqlite, &applied, &manifest.release, to?).ok()?;
    (manifest.is_whole() && !route.is_current()).then_some(route)
}

/// `staged` upgraded to the release of `route`, on SQLite; `what` is that release, in words.
pub fn upgrade_along(staged: StagedCopy, route: &Route, what: &str, ui: &mut Ui) -> Result<StagedCopy> {
    let (id, from, to) = (staged.manifest.id.clone(), route.from.clone(), route.target.release.to_string());
    let order = UpgradeWork { route, options: UpgradeOptions { style: Style::Intended, zone: None, now: Utc::now() } };
    let (staged, made) = upgrade_copy(staged, &order, ui).map_err(|error| match error {
        Error::Operation(OperationError::CannotUpgrade(problems)) => {
            let problems = problems.iter().map(|one| format!("{}: {}", one.subject, one.message)).collect();
            Error::Snapshot(SnapshotError::CannotUpgrade {
                id: id.clone(),
                from: from.clone(),
                to: to.clone(),
                problems,
            })
        }
        other => other,
    })?;
    ui.say(&format!("snapshot `{id}` ({from}) is upgraded to {to}, {what}"));
    made.transfer.left_out.iter().for_each(|left| ui.warn(&format!("{} is left out", left.words())));
    Ok(staged)
}

/// Fails unless `then` has the release of the current database.
pub fn check_same(now: &Database, then: &Manifest, config_only: bool) -> Result<()> {
    if now.migrations.iter().eq(&then.migrations) {
        return Ok(());
    }
    Err(Error::Snapshot(SnapshotError::OtherRelease {
        id: then.id.clone(),
        release: then.release.to_string(),
        here: now.release.to_string(),
        hint: Some(Hint::advice(if config_only {
            "run the image of that release first, on a new data folder or database"
        } else {
            "if the server's image is of that release or newer, add `--other-release`; otherwise start that image \
                 first"
        })),
    }))
}
