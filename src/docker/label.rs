//! The labels of the containers of kumadb.

/// The label of our helper containers; its value is set by the caller.
pub(super) const LABEL: &str = "kumadb.helper";

/// The label of remote jobs; its value is the id of the server's container.
pub(super) const JOB: &str = "kumadb.remote-job";

/// Whether these are the labels of a container of kumadb.
pub(super) fn is_ours(has: impl Fn(&str) -> bool) -> bool {
    has(LABEL) || has(JOB)
}
