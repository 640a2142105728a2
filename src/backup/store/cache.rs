//! Manifests of remote stores that were read before, so that a listing reads only those of new snapshots.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::objects::Object;
use crate::error::Result;
use crate::files;

/// The manifests of one store, in a file of this user.
pub(super) struct ManifestCache {
    /// The file; `None` where nothing is cached.
    file: Option<PathBuf>,
    /// By the name of the object.
    known: BTreeMap<String, CachedManifest>,
}

#[derive(Serialize, Deserialize)]
struct CachedManifest {
    /// The version of the object with this text.
    version: String,
    text: String,
}

/// The file in `folder` for the store at `address`.
pub(super) fn cache_file(folder: &Path, address: &str) -> PathBuf {
    folder.join(format!("{}.json", &blake3::hash(address.as_bytes()).to_hex()[..32]))
}

impl ManifestCache {
    /// What `file` has. A cache that is damaged, or that another user could have written, is empty: everything is read from the
    /// store again.
    pub(super) fn read(file: Option<&Path>) -> ManifestCache {
        let known = file.filter(|file| is_private(file)).and_then(|file| files::read_text(file).ok().flatten());
        let known = known.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        ManifestCache { file: file.map(Path::to_owned), known }
    }

    /// Whether the text of `object` was read before, and it has the same version.
    pub(super) fn has(&self, object: &Object) -> bool {
        self.known.get(&object.name).is_some_and(|known| object.version.as_ref() == Some(&known.version))
    }

    /// Takes the text of `object`, if it [has](ManifestCache::has) that.
    pub(super) fn take(&mut self, object: &Object) -> Option<Vec<u8>> {
        if self.has(object) { self.known.remove(&object.name).map(|known| known.text.into_bytes()) } else { None }
    }

    /// Replaces what is cached with `valid`: objects, and their texts. With `is_same`, these are all that were taken.
    ///
    /// # Errors
    /// The folder belongs to another user, or cannot be written to.
    pub(super) fn replace(self, valid: Vec<(&Object, Vec<u8>)>, is_same: bool) -> Result<()> {
        let Some(file) = self.file else { return Ok(()) };
        if is_same && self.known.is_empty() {
            return Ok(());
        }
        let entry = |(object, text): (&Object, Vec<u8>)| {
            let text = String::from_utf8(text).ok()?;
            Some((object.name.clone(), CachedManifest { version: object.version.clone()?, text }))
        };
        let new: BTreeMap<String, CachedManifest> = valid.into_iter().filter_map(entry).collect();
        // Objects without a version are not cached.
        if new.is_empty() && self.known.is_empty() {
            return Ok(());
        }
        files::claim_folder(files::parent(&file))?;
        files::replace(&file, files::PRIVATE, |file| {
            serde_json::to_writer(&mut *file, &new)?;
            file.flush()
        })
    }
}

/// Whether only this user can write to the folder of `file`.
fn is_private(file: &Path) -> bool {
    let is_ours = |folder: files::About| folder.owner().0 == files::our_uid() && folder.mode & 0o022 == 0;
    files::about(files::parent(file)).is_ok_and(|folder| folder.is_folder() && is_ours(folder))
}
