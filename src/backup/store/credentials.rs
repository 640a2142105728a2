//! What opens stores elsewhere, how long they are waited for, and what ends that waiting early.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::value::Secret;

/// What stores want to know of who is asking: names as in the environment (`AWS_ACCESS_KEY_ID`), and their values. And how
/// they are asked.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    named: Vec<(String, Secret)>,
    pub(super) patience: Patience,
    pub(super) cancel: Cancel,
}

/// How long a store that does not work is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// A request that fails is sent again for at least so long: a server that is restarted is back by then.
    pub retry: Duration,
    /// A connection on which nothing moves is given up after that.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { retry: Duration::from_secs(30), silence: Duration::from_secs(60) }
    }
}

impl Patience {
    /// For a check, which somebody waits for.
    pub const SHORT: Patience = Patience { retry: Duration::from_secs(2), silence: Duration::from_secs(10) };
}

/// Tells the number of the signal that came, or 0.
#[derive(Clone)]
pub(super) struct Cancel(pub(super) Arc<dyn Fn() -> i32 + Send + Sync>);

impl Default for Cancel {
    fn default() -> Cancel {
        Cancel(Arc::new(|| 0))
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cancel")
    }
}

impl Credentials {
    /// The prefixes of the names that any store knows.
    pub const PREFIXES: [&'static str; 4] = ["AWS_", "AZURE_", "GOOGLE_", "WEBDAV_"];

    /// Out of these names and values; of a name that is there twice the first value counts.
    pub fn new(named: impl IntoIterator<Item = (String, Secret)>) -> Credentials {
        let mut known: Vec<(String, Secret)> = Vec::new();
        for (name, value) in named {
            if !known.iter().any(|(other, _)| *other == name) {
                known.push((name, value));
            }
        }
        Credentials { named: known, ..Credentials::default() }
    }

    /// These and, for what is not among them, `others`; what is asked is asked as with `others`.
    pub fn or(self, others: &Credentials) -> Credentials {
        let all = self.named.into_iter().chain(others.named.iter().cloned());
        Credentials { patience: others.patience, cancel: others.cancel.clone(), ..Credentials::new(all) }
    }

    /// The same, for stores that are waited for as `patience` says.
    pub fn with_patience(self, patience: Patience) -> Credentials {
        Credentials { patience, ..self }
    }

    /// The same; waiting for a store ends as soon as `signal` tells the number of one.
    pub fn cancelled_by(self, signal: impl Fn() -> i32 + Send + Sync + 'static) -> Credentials {
        Credentials { cancel: Cancel(Arc::new(signal)), ..self }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.named.iter().map(|(name, value)| (name.as_str(), value.reveal()))
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The keys of one kind of store, with their values; what it does not know is for others.
    pub(super) fn keys<K: std::str::FromStr>(&self, prefix: &str) -> impl Iterator<Item = (K, String)> {
        let ours = self.iter().filter(move |(name, _)| name.starts_with(prefix));
        ours.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value.to_owned())))
    }
}
