//! The stores that the config file names.

use std::path::Path;

use super::Place;
use crate::backup::{Credentials, Store, Stores};
use crate::error::{Error, Result};
use crate::value::Secret;

/// Opens the stores at `places` with their credential files, and with what is `named` besides; `fallback` is where archives are
/// made when none of them is a folder.
pub fn open_stores(places: &[&Place], named: &[(String, Secret)], fallback: &Store) -> Result<Stores> {
    let open = |place: &&Place| {
        let mut all = match &place.credentials_file {
            Some(file) => read_credentials(file)?,
            None => Vec::new(),
        };
        all.extend(named.iter().cloned());
        Store::open(&place.address, &Credentials::new(all))
    };
    Ok(Stores::new(places.iter().map(open).collect::<Result<_>>()?, fallback.clone()))
}

/// The lines `NAME=VALUE` of `file`.
fn read_credentials(file: &Path) -> Result<Vec<(String, Secret)>> {
    let text = std::fs::read_to_string(file).map_err(Error::file("read", file))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .enumerate()
        .map(|(n, line)| match line.split_once('=') {
            Some((name, value)) => Ok((name.trim().to_owned(), Secret::new(value.trim()))),
            None => Err(Error::Usage(format!("`{}`: entry {} is not NAME=VALUE", file.display(), n + 1))),
        })
        .collect()
}
