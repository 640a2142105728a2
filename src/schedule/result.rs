//! What a run of a job has done.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};

use crate::backup::Snapshot;
use crate::error::{Error, Exit};

/// The result of a run.
#[derive(Debug)]
pub struct RunResult {
    /// The snapshots, the first copy of each.
    pub taken: Vec<Snapshot>,
    /// The result for each instance in each store.
    pub copies: Vec<StoredCopy>,
    /// Number of old snapshots that were deleted.
    pub removed: usize,
    /// Errors of snapshots.
    pub errors: Vec<Error>,
    /// Problems that need attention, though the snapshots are good.
    pub warnings: Vec<String>,
    /// Notifications that failed.
    pub unreported: Vec<Error>,
    /// How long it took.
    pub took: Duration,
    /// When it ended, UTC.
    pub at: DateTime<Utc>,
}

impl RunResult {
    /// Whether the run was successful.
    pub fn is_good(&self) -> bool {
        self.errors.is_empty()
    }

    /// Total size of the snapshots, in bytes.
    pub fn size(&self) -> u64 {
        self.taken.iter().map(|snapshot| snapshot.size).sum()
    }

    /// The result of the job called `name`, as JSON.
    pub fn document(&self, name: &str) -> Json {
        let snapshot = |one: &Snapshot| json!({"id": one.manifest.id, "instance": one.manifest.instance, "origin": one.manifest.origin, "path": one.location(), "size_bytes": one.size});
        let words = |errors: &[Error]| errors.iter().map(Error::to_string).collect::<Vec<_>>();
        let copy = |one: &StoredCopy| json!({"instance": one.instance, "store": one.store, "ok": one.good, "id": one.snapshot.as_ref().map(|(id, _)| id)});
        json!({
            "job": name,
            "ok": self.is_good(),
            "snapshots": self.taken.iter().map(snapshot).collect::<Vec<_>>(),
            "copies": self.copies.iter().map(copy).collect::<Vec<_>>(),
            "deleted": self.removed,
            "seconds": self.took.as_secs_f64(),
            "errors": words(&self.errors),
            "warnings": self.warnings,
            "notifications_failed": words(&self.unreported),
        })
    }

    /// The exit code of the result.
    pub fn exit(&self) -> Exit {
        match self.errors.first() {
            Some(first) if self.taken.is_empty() => first.exit(),
            None if self.unreported.is_empty() => Exit::Done,
            _ => Exit::Partial,
        }
    }
}

/// The result for one instance in one store.
#[derive(Clone, Debug)]
pub struct StoredCopy {
    /// Name of the instance.
    pub instance: String,
    /// Name of the store.
    pub store: String,
    /// Id of the snapshot and size of its archive, where it was stored.
    pub snapshot: Option<(String, u64)>,
    /// Whether it is stored and passed all checks of the job.
    pub good: bool,
    /// How long the snapshot took, for all stores together.
    pub took: Duration,
}
