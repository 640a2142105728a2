//! The environment of the process: variables, and the folders of its user.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::backup::Store;

/// The value of the variable `name`; an empty one counts as not set.
pub(super) fn value(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The variable `name` as the default of an option, where it is not empty.
pub(super) fn variable(name: &'static str) -> Option<&'static str> {
    std::env::var_os(name).is_none_or(|value| !value.is_empty()).then_some(name)
}

/// The store that is used where none is given.
pub(super) fn default_store() -> Store {
    Store::new(local_folder("XDG_DATA_HOME", ".local/share").join("snapshots"))
}

/// The folder of journals of instances without a data folder.
pub(super) fn state_folder() -> PathBuf {
    local_folder("XDG_STATE_HOME", ".local/state").join("instances")
}

/// The folder of manifests of remote stores; none where this user has no home.
pub(super) fn cache_folder() -> Option<PathBuf> {
    let has_home = ["XDG_CACHE_HOME", "HOME"].into_iter().any(|name| value(name).is_some());
    let is_known = has_home || rustix::process::geteuid().is_root();
    is_known.then(|| local_folder("XDG_CACHE_HOME", ".cache").join("manifests"))
}

/// The folder of this user's kumadb: a system folder for root, a folder at home for others.
pub(super) fn local_folder(variable: &str, home: &str) -> PathBuf {
    if let Some(folder) = value(variable) {
        return PathBuf::from(folder).join("kumadb");
    }
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/kumadb");
    }
    match value("HOME") {
        Some(folder) => PathBuf::from(folder).join(home).join("kumadb"),
        None => PathBuf::from(".kumadb"),
    }
}
