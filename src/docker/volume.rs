//! Volumes: storage that outlives the containers that used it.

use std::path::PathBuf;

use bollard::query_parameters::ListVolumesOptions;

use super::Docker;
use crate::error::Result;

/// One volume.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its path on the engine's host.
    pub path: PathBuf,
}

impl Docker {
    /// Every volume, sorted by name.
    pub fn volumes(&self) -> Result<Vec<Volume>> {
        let listed = self.block(self.client.list_volumes(None::<ListVolumesOptions>));
        let listed = listed.map_err(|error| self.failed("list the volumes beside", "", &error))?;
        let mut volumes: Vec<Volume> = listed
            .volumes
            .unwrap_or_default()
            .into_iter()
            .map(|volume| Volume { name: volume.name, path: volume.mountpoint.into() })
            .collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }
}
