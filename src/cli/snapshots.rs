//! Snapshots that a command names, and how they are printed.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::Context;
use super::environment::value;
use super::instance::SnapshotOwner;
use crate::backup::{Manifest, Snapshot, Stores};
use crate::error::Result;
use crate::text::counted;

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

/// Keeps the snapshots that are `desired`; returns how many others there are.
pub(super) fn keep(snapshots: &mut Vec<Snapshot>, desired: impl Fn(&Manifest) -> bool) -> usize {
    let mut others = BTreeSet::new();
    snapshots.retain(|snapshot| {
        let is_desired = desired(&snapshot.manifest);
        if !is_desired {
            others.insert(snapshot.manifest.id.clone());
        }
        is_desired
    });
    others.len()
}

/// States that there are none, of `owner` where it is given.
pub(super) fn no_snapshots(stores: &Stores, what: &str, owner: Option<&SnapshotOwner>) -> String {
    let names: Vec<String> = stores.iter().map(|store| format!("`{}`", store.address())).collect();
    let of = owner.map_or(String::new(), |owner| format!(" of `{}`", owner.name));
    format!("no {what}{of} in {}", names.join(", "))
}

/// How many snapshots of other instances were `excluded`, and how to list them; `None` where there are none.
pub(super) fn of_others(excluded: usize) -> Option<String> {
    (excluded > 0).then(|| format!("{} of other instances; to list all: {}", counted(excluded, "snapshot"), list_all()))
}

/// The command that lists the snapshots of all instances.
fn list_all() -> &'static str {
    let is_selected = value("KUMADB_TARGET").is_some();
    if is_selected { "KUMADB_TARGET= kumadb backup list" } else { "kumadb backup list" }
}
