//! Credentials and timeouts of remote stores, and the signal that ends a wait early.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::value::Secret;

/// Credentials: names as in the environment (`AWS_ACCESS_KEY_ID`), and their values. And the timeouts of requests.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    named: Vec<(String, Secret)>,
    pub(super) patience: Timeouts,
    pub(super) cancel: CancelSignal,
    pub(super) notice: Notice,
    pub(super) cache: Option<PathBuf>,
}

/// Timeouts of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A failed request is repeated for at least this long: a restarted server is back by then.
    pub retry: Duration,
    /// Timeout of a connection without any traffic.
    pub silence: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts { retry: Duration::from_secs(30), silence: Duration::from_secs(60) }
    }
}

impl Timeouts {
    /// For an interactive check.
    pub const SHORT: Timeouts = Timeouts { retry: Duration::from_secs(2), silence: Duration::from_secs(10) };
}

/// Returns the number of the received signal, or 0.
#[derive(Clone)]
pub(super) struct CancelSignal(pub(super) Arc<dyn Fn() -> i32 + Send + Sync>);

impl Default for CancelSignal {
    fn default() -> CancelSignal {
        CancelSignal(Arc::new(|| 0))
    }
}

impl fmt::Debug for CancelSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CancelSignal")
    }
}

/// Is given one line when a store does not answer and is asked again.
#[derive(Clone)]
pub(super) struct Notice(pub(super) Arc<dyn Fn(&str) + Send + Sync>);

impl Default for Notice {
    fn default() -> Notice {
        Notice(Arc::new(|_| ()))
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notice")
    }
}

impl Credentials {
    /// The prefixes of all variables that stores use.
    pub const PREFIXES: [&'static str; 4] = ["AWS_", "AZURE_", "GOOGLE_", "WEBDAV_"];

    /// From these names and values; the first value of a repeated name counts.
    pub fn new(named: impl IntoIterator<Item = (String, Secret)>) -> Credentials {
        let mut known: Vec<(String, Secret)> = Vec::new();
        for (name, value) in named {
            if !known.iter().any(|(other, _)| *other == name) {
                known.push((name, value));
            }
        }
        Credentials { named: known, ..Credentials::default() }
    }

    /// These and, for missing names, `others`; with the timeouts and the cache of `others`.
    pub fn or(self, others: &Credentials) -> Credentials {
        let all = self.named.into_iter().chain(others.named.iter().cloned());
        let Credentials { patience, cancel, notice, cache, .. } = others.clone();
        Credentials { patience, cancel, notice, cache, ..Credentials::new(all) }
    }

    /// The same, with the timeouts `patience`.
    pub fn with_patience(self, patience: Timeouts) -> Credentials {
        Credentials { patience, ..self }
    }

    /// The same; a wait ends as soon as `signal` returns a number.
    pub fn cancelled_by(self, signal: impl Fn() -> i32 + Send + Sync + 'static) -> Credentials {
        Credentials { cancel: CancelSignal(Arc::new(signal)), ..self }
    }

    /// The same; `notice` is given a line when a store does not answer and the request is sent again, once a store.
    pub fn noticed_by(self, notice: impl Fn(&str) + Send + Sync + 'static) -> Credentials {
        Credentials { notice: Notice(Arc::new(notice)), ..self }
    }

    /// The same; manifests that were read from a remote store are cached in `folder`.
    pub fn cached_in(self, folder: Option<PathBuf>) -> Credentials {
        Credentials { cache: folder, ..self }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.named.iter().map(|(name, value)| (name.as_str(), value.reveal()))
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The variables of one kind of store, with their values; unknown ones belong to others.
    pub(super) fn keys<K: std::str::FromStr>(&self, prefix: &str) -> impl Iterator<Item = (K, String)> {
        let ours = self.iter().filter(move |(name, _)| name.starts_with(prefix));
        ours.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value.to_owned())))
    }
}
