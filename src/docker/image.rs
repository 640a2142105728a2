//! What the image of a container brings along: the release of the server, and the migrations that it knows.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use bollard::query_parameters::DownloadFromContainerOptionsBuilder;
use futures_util::TryStreamExt as _;

use super::{Container, Docker, status};
use crate::error::{Error, Result};

/// What the migrations of 2.x lie in, under the folder of the server (read in 2.0.2 and 2.5.3).
const KNEX: &str = "db/knex_migrations/";

/// What a server brings along, as its files say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shipped {
    /// Its release, as it calls itself: `2.5.3`.
    pub release: Option<String>,
    /// The files below `db`: migrations of 2.x in `knex_migrations`, patches of 1.x in `db` itself or in `old_migrations`.
    files: BTreeSet<String>,
}

impl Shipped {
    /// Whether it knows the migration or patch called `name`.
    pub fn knows(&self, name: &str) -> bool {
        self.files.iter().any(|file| file.rsplit('/').next() == Some(name))
    }

    /// Every migration that it applies to a database which lacks it: those of 2.x or, where it has none, patches of 1.x.
    pub fn migrations(&self) -> BTreeSet<&str> {
        let below = |folder: &str, head: &str| -> BTreeSet<&str> {
            let names = self.files.iter().filter_map(|file| file.strip_prefix(folder));
            names.filter(|name| name.starts_with(head) && !name.contains('/') && !name.ends_with(".md")).collect()
        };
        let knex = below(KNEX, "20");
        if knex.is_empty() { below("db/", "patch-") } else { knex }
    }
}

impl Docker {
    /// What the server in `container` brings along, whether it runs or not; `None` where its files are not as the real
    /// ones, or the engine does not show them.
    pub fn shipped(&self, container: &Container) -> Result<Option<Shipped>> {
        let app = &container.working_dir;
        let Some(archive) = self.download(container, &app.join("db"))? else { return Ok(None) };
        let mut files = BTreeSet::new();
        let unreadable = |error: std::io::Error| self.unreadable(container, &error.to_string());
        for entry in tar::Archive::new(&archive[..]).entries().map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let is_file = entry.header().entry_type().is_file();
            files.extend(entry.path().map(|path| path.to_string_lossy().into_owned()).ok().filter(|_| is_file));
        }
        let package = self.download(container, &app.join("package.json"))?.unwrap_or_default();
        let mut text = String::new();
        if let Some(file) = tar::Archive::new(&package[..]).entries().map_err(unreadable)?.next() {
            file.and_then(|mut file| file.read_to_string(&mut text)).map_err(unreadable)?;
        }
        let about: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let shipped = Shipped { release: about["version"].as_str().map(str::to_owned), files };
        Ok(Some(shipped).filter(|shipped| !shipped.migrations().is_empty()))
    }

    /// The file or folder `path` of `container` as a tar, if it is there and may be seen.
    fn download(&self, container: &Container, path: &Path) -> Result<Option<Vec<u8>>> {
        let options = DownloadFromContainerOptionsBuilder::default().path(&path.to_string_lossy()).build();
        let pieces = self.client.download_from_container(&container.id, Some(options));
        let read = pieces.try_fold(Vec::new(), |mut all, piece| async move {
            all.extend_from_slice(&piece);
            Ok(all)
        });
        match self.block(read) {
            Ok(archive) => Ok(Some(archive)),
            Err(error) if matches!(status(&error), Some(403 | 404)) => Ok(None),
            Err(error) => Err(self.failed("read the files of", &container.name, &error)),
        }
    }

    fn unreadable(&self, container: &Container, why: &str) -> Error {
        Error::Docker { act: "read the files of", container: container.name.clone(), why: why.to_owned() }
    }
}
