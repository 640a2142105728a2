//! Two instances with one name in one store.

use std::fmt;

use super::{BESIDE, Store, archive};
use crate::error::Result;

/// How many of the newest snapshots under a name are checked.
const NEWEST: usize = 10;

/// Another instance whose snapshots are in the same store under the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameConflict {
    /// The store.
    pub store: String,
    /// The name.
    pub name: String,
    /// The location of the instance in question.
    pub origin: String,
    /// The location of the other one.
    pub other: String,
}

impl fmt::Display for NameConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NameConflict { store, name, origin, other } = self;
        write!(
            f,
            "the store `{store}` also has snapshots of another instance called `{name}`: of {other}, and now of {origin}; \
             give each a name of its own in the config file, as `[instances.NAME]` with its `target`"
        )
    }
}

impl Store {
    /// The other instance among the newest snapshots under `name`, where that is not at `origin`.
    ///
    /// # Errors
    /// The store does not respond. An unreadable manifest is ignored.
    pub fn namesake(&self, name: &str, origin: &str) -> Result<Option<NameConflict>> {
        let ours = |manifest: &str| {
            let folder = manifest.split_once('/').map(|(folder, _)| folder);
            folder == Some(archive::folder_name(name).as_str())
                && manifest.strip_suffix(BESIDE).is_some_and(archive::is_archive)
        };
        let mut names: Vec<String> =
            self.objects.list()?.into_iter().map(|object| object.name).filter(|name| ours(name)).collect();
        // The names begin with the time.
        names.sort_by(|a, b| b.cmp(a));
        names.truncate(NEWEST);
        let texts = self.objects.read_all(&names)?;
        let mut manifests = names.iter().zip(texts).filter_map(|(name, text)| archive::parse(name, &text.ok()?).ok());
        let other = manifests.find(|manifest| manifest.instance == name && manifest.origin != origin);
        Ok(other.map(|other| NameConflict {
            store: self.address(),
            name: name.to_owned(),
            origin: origin.to_owned(),
            other: other.origin,
        }))
    }
}
