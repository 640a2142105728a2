//! Snapshots that a command names, and how they are printed.

use serde_json::{Value as Json, json};

use super::Context;
use crate::backup::{Snapshot, Stores};
use crate::error::Result;

/// The copies of the snapshot `desired`; only `latest` needs an instance.
pub(super) fn find(stores: &Stores, desired: &str, context: &mut Context<'_>) -> Result<Vec<Snapshot>> {
    let origin = if desired == "latest" { context.origin()? } else { String::new() };
    stores.find(desired, &origin, &mut |error| context.ui.warn(&error.to_string()))
}

/// The JSON document of the copies of one snapshot.
pub(super) fn document(copies: &[&Snapshot]) -> Json {
    let first = copies[0];
    let paths: Vec<String> = copies.iter().map(|copy| copy.location()).collect();
    json!({
        "path": paths[0],
        "paths": paths,
        "size_bytes": first.size,
        "encrypted": first.is_encrypted(),
        "class": first.manifest.class(),
        "manifest": first.manifest,
    })
}
