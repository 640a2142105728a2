//! Why a store does not take or show snapshots.

use super::{ErrorReport, Exit};
use crate::text::bytes;

/// Where snapshots are kept.
#[derive(Debug)]
#[allow(missing_docs, reason = "the report of each variant is its documentation")]
#[non_exhaustive]
pub enum StoreError {
    Action {
        act: &'static str,
        store: String,
        why: String,
        hint: &'static str,
    },
    /// No disk space for the undo snapshot of a write.
    Full {
        store: String,
        needed: u64,
        free: u64,
    },
    /// The library does not accept address and credentials.
    Open {
        store: String,
        variables: String,
        why: String,
    },
}

impl StoreError {
    /// Message, exit code and hints.
    pub fn report(&self) -> ErrorReport {
        match self {
            Self::Action { act, store, why, hint } => {
                ErrorReport::new(Exit::Failed, format!("cannot {act} the store `{store}`: {why}")).hint(*hint)
            }
            Self::Full { store, needed, free } => ErrorReport::new(
                Exit::Refused,
                format!(
                    "not enough disk space in the store `{store}`: {} free, {} required for the undo snapshot of this \
                     write",
                    bytes(*free),
                    bytes(*needed)
                ),
            )
            .command("kumadb backup prune --keep-last 7")
            .hint("or use a store on another disk: `--store FOLDER`"),
            Self::Open { store, variables, why } => {
                ErrorReport::new(Exit::Usage, format!("cannot open the store `{store}` with {variables}: {why}"))
                    .hint("check the URL of the store, and these variables")
            }
        }
    }
}
