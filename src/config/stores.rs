//! The stores that the config file names.

use std::path::Path;

use super::{Job, Place, Target};
use crate::backup::{Credentials, Keys, Seal, Store, Stores};
use crate::error::{Error, Result};
use crate::files;
use crate::value::Secret;

impl Job {
    /// What its snapshots are encrypted with, where it says so itself.
    pub fn seal(&self) -> Result<Option<Seal>> {
        Seal::read(&self.encrypt_to, self.recipients_file.as_slice(), self.passphrase_file.as_deref())
    }

    /// What opens them.
    pub fn keys(&self) -> Result<Keys> {
        Keys::read(self.identity_file.as_slice(), self.passphrase_file.as_deref())
    }
}

impl Target {
    /// What its snapshots are encrypted with, where it says so.
    pub fn seal(&self) -> Result<Option<Seal>> {
        Seal::read(&self.encrypt_to, self.recipients_file.as_slice(), None)
    }
}

/// Opens the stores at `places` with their credential files, and with `credentials` besides; `fallback` is where archives are made
/// when none of them is a folder.
pub fn open_stores(places: &[&Place], credentials: &Credentials, fallback: &Store) -> Result<Stores> {
    let open = |place: &&Place| {
        let own = place.credentials_file.as_deref().map(read_credentials).transpose()?.unwrap_or_default();
        let own = Credentials::new(own);
        Store::open(&place.address, &own.or(credentials))
    };
    let stores = Stores::new(places.iter().map(open).collect::<Result<_>>()?, fallback.clone());
    Ok(stores.with_credentials(credentials.clone()))
}

/// The lines `NAME=VALUE` of `file`.
pub fn read_credentials(file: &Path) -> Result<Vec<(String, Secret)>> {
    let text = files::read_whole(file)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .enumerate()
        .map(|(n, line)| match line.split_once('=') {
            Some((name, value)) => Ok((name.trim().to_owned(), Secret::new(value.trim()))),
            None => Err(Error::Usage(format!("`{}`: entry {} is not NAME=VALUE", file.display(), n + 1))),
        })
        .collect()
}
