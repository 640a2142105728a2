//! The labels of all containers.

use std::collections::BTreeMap;

use bollard::query_parameters::ListContainersOptionsBuilder;

use super::label;
use super::{Docker, settled};
use crate::error::Result;

/// A container with its labels.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its image, as the list of containers shows it.
    pub image: String,
    /// The id of that image.
    pub image_id: String,
    /// Its labels, the image's included.
    pub labels: BTreeMap<String, String>,
}

impl Docker {
    /// All containers, in any state, with their labels, sorted by name; our own helpers are left out.
    pub fn labelled_containers(&self) -> Result<Vec<Labelled>> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let listed = self.block(settled(|| self.client.list_containers(Some(options.clone()))));
        let listed = listed.map_err(|error| self.failed("list", "", &error))?;
        let labelled = listed.into_iter().map(|one| Labelled {
            name: one.names.and_then(|names| names.into_iter().next()).unwrap_or_default().replace('/', ""),
            id: one.id.unwrap_or_default(),
            image: one.image.unwrap_or_default(),
            image_id: one.image_id.unwrap_or_default(),
            labels: one.labels.unwrap_or_default().into_iter().collect(),
        });
        let mut found: Vec<Labelled> =
            labelled.filter(|one| !label::is_ours(|label| one.labels.contains_key(label))).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }
}
