//! Whether the server can use a snapshot of another release.

use crate::backup::Manifest;
use crate::cli::Ui;
use crate::docker::Shipped;
use crate::error::{Error, Hint, Result, SnapshotError};
use crate::model::state::Database;
use crate::run::check_shipped;
use crate::text::counted;

/// Fails when the server in `image` would reject the database of `then`; warns when it would migrate it.
pub fn check_image(then: &Manifest, shipped: &Shipped, image: &str, ui: &mut Ui) -> Result<()> {
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

/// Fails unless `then` has the release of the current database.
pub fn check_same(now: &Database, then: &Manifest, config_only: bool) -> Result<()> {
    if now.migrations.iter().eq(&then.migrations) {
        return Ok(());
    }
    Err(Error::Snapshot(SnapshotError::OtherRelease {
        id: then.id.clone(),
        release: then.release.to_string(),
        here: now.release.to_string(),
        hint: Some(Hint::advice(match config_only {
            false => {
                "if the server's image is of that release or newer, add `--other-release`; otherwise start that image \
                 first"
            }
            true => "run the image of that release first, on a new data folder or database",
        })),
    }))
}
