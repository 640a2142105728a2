//! Whether the server can use a snapshot of another release.

use std::collections::BTreeSet;

use crate::backup::Manifest;
use crate::cli::Ui;
use crate::docker::Shipped;
use crate::error::{DatabaseError, Error, Hint, OlderImage, Result, SnapshotError};
use crate::model::state::Database;
use crate::schema;
use crate::text::counted;
use crate::value::image_parts;

/// Fails when the server in `image` would reject the database of `then`; warns when it would migrate it.
pub fn check_image(then: &Manifest, shipped: &Shipped, image: &str, ui: &mut Ui) -> Result<()> {
    let lacking = shipped.lacks(&then.migrations);
    if !lacking.is_empty() {
        return Err(Error::Database(DatabaseError::OlderImage(Box::new(OlderImage {
            image: image.to_owned(),
            of: shipped.release.clone(),
            what: format!("snapshot `{}` ({})", then.id, then.release),
            lacking: lacking.into_iter().map(str::to_owned).collect(),
            needed: newer(then, image),
        }))));
    }
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

/// The image that the database of `then` needs.
fn newer(then: &Manifest, image: &str) -> String {
    let (repository, _) = image_parts(image);
    let found = schema::recognise(&then.migrations.iter().cloned().collect::<BTreeSet<_>>(), &BTreeSet::new());
    match found.exact {
        true => format!("{repository}:{}", found.release),
        false => format!("{repository}:2"),
    }
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
