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

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
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

    /// The text of `object`, if it was read before and has the same version.
    pub(super) fn get(&self, object: &Object) -> Option<&str> {
        let known = self.known.get(&object.name)?;
        (object.version.as_ref() == Some(&known.version)).then_some(known.text.as_str())
    }

    /// Replaces what is cached with `valid`: objects, and their texts.
    ///
    /// # Errors
    /// The folder belongs to another user, or cannot be written to.
    pub(super) fn replace(self, valid: Vec<(&Object, Vec<u8>)>) -> Result<()> {
        let Some(file) = self.file else { return Ok(()) };
        let entry = |(object, text): (&Object, Vec<u8>)| {
            let text = String::from_utf8(text).ok()?;
            Some((object.name.clone(), CachedManifest { version: object.version.clone()?, text }))
        };
        let new: BTreeMap<String, CachedManifest> = valid.into_iter().filter_map(entry).collect();
        if new == self.known {
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
    files::about(files::parent(file)).is_ok_and(|folder| folder.is_folder() && folder.owner().0 == files::our_uid())
}
