//! Images: the user of their server, and whether they have a MariaDB; and the files in the image of a container: the release of
//! the server, and its migrations.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use bollard::query_parameters::DownloadFromContainerOptionsBuilder;
use futures_util::TryStreamExt as _;

use super::{Container, Docker, status};
use crate::error::{DockerError, Error, Result};

/// The folder of the 2.x migrations, below the folder of the server (read in 2.0.2 and 2.5.3).
const KNEX: &str = "db/knex_migrations/";

/// Set in images with an embedded MariaDB.
const EMBEDDED: &str = "UPTIME_KUMA_ENABLE_EMBEDDED_MARIADB";

/// Maximum size of what is read of the files of a server, in bytes: its owner may change them.
const LARGEST: usize = 64 << 20;

/// A local image, or that of a container with the container's overrides.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its name: `louislam/uptime-kuma:2`.
    pub name: String,
    /// Its exact id.
    pub id: String,
    /// The user its server runs as, as written in the image or by the user; empty for root.
    pub user: String,
    /// Whether it has an embedded MariaDB.
    pub has_mariadb: bool,
    pub(super) security_opt: Option<Vec<String>>,
    pub(super) userns_mode: Option<String>,
}

impl Image {
    /// The image of `container`.
    pub fn of(container: &Container) -> Image {
        Image {
            name: container.image.clone(),
            id: container.image_id.clone(),
            user: container.user.clone(),
            has_mariadb: container.env(&[EMBEDDED]).is_some_and(is_on),
            security_opt: container.security_opt.clone(),
            userns_mode: container.userns_mode.clone(),
        }
    }

    /// The user and group its server runs as, where they are numbers or names that every image of the server has.
    pub fn ids(&self) -> Option<(u32, u32)> {
        ids(&self.user)
    }
}

fn is_on(value: &str) -> bool {
    matches!(value, "1" | "true")
}

/// The user and group that `user`, such as `node` or `1000:1000`, means in every image of the server.
pub(super) fn ids(user: &str) -> Option<(u32, u32)> {
    let (user, group) = user.split_once(':').unwrap_or((user, ""));
    let number = |name: &str| match name {
        "" | "root" => Some(0),
        "node" => Some(1000),
        other => other.parse().ok(),
    };
    let uid = number(user)?;
    Some((uid, if group.is_empty() { uid } else { number(group)? }))
}

/// The files of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFiles {
    /// Its release, as in its files: `2.5.3`.
    pub release: Option<String>,
    /// The files below `db`: migrations of 2.x in `knex_migrations`, patches of 1.x in `db` itself or in
    /// `old_migrations`.
    files: BTreeSet<String>,
}

impl ServerFiles {
    /// Those of `release`, of which only the migrations or patches are known.
    pub fn of_release(release: String, names: impl IntoIterator<Item = String>) -> ServerFiles {
        let folder = |name: &str| if name.starts_with("patch-") { "db/" } else { KNEX };
        let files = names.into_iter().map(|name| format!("{}{name}", folder(&name))).collect();
        ServerFiles { release: Some(release), files }
    }

    /// Whether it has the migration or patch called `name`.
    pub fn knows(&self, name: &str) -> bool {
        self.files.iter().any(|file| file.rsplit('/').next() == Some(name))
    }

    /// The migrations or patches in `applied` that it does not have: those of a newer release.
    pub fn problems<'n>(&self, applied: impl IntoIterator<Item = &'n String>) -> Vec<&'n str> {
        applied.into_iter().map(String::as_str).filter(|name| !self.knows(name)).collect()
    }

    /// Every migration that it applies to a database without it: those of 2.x or, where it has none, patches of 1.x.
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
    /// The image called `name`, if this engine has it.
    pub fn image(&self, name: &str) -> Result<Option<Image>> {
        let found = match self.block(self.client.inspect_image(name)) {
            Ok(found) => found,
            Err(error) if status(&error) == Some(404) => return Ok(None),
            Err(error) => {
                let Error::Docker(DockerError::Action { why, .. }) = self.failed("access", name, &error) else {
                    return Err(self.failed("access", name, &error));
                };
                return Err(Error::Docker(DockerError::Image { image: name.to_owned(), why: why.to_string() }));
            }
        };
        let config = found.config.unwrap_or_default();
        let env = config.env.unwrap_or_default();
        let on = |line: &String| line.split_once('=').is_some_and(|(key, value)| key == EMBEDDED && is_on(value));
        Ok(Some(Image {
            name: name.to_owned(),
            id: found.id.unwrap_or_default(),
            user: config.user.unwrap_or_default(),
            has_mariadb: env.iter().any(on),
            security_opt: None,
            userns_mode: None,
        }))
    }

    /// The files of the server in `container`, whether it runs or not, and its release; `None` where they are not like the
    /// official ones, or the engine does not show them.
    pub fn shipped(&self, container: &Container) -> Result<Option<ServerFiles>> {
        let Some(files) = self.migration_files(container)? else { return Ok(None) };
        let package = self.download(container, &container.working_dir.join("package.json"))?.unwrap_or_default();
        let unreadable = |error: std::io::Error| self.unreadable(container, &error.to_string());
        let mut text = String::new();
        if let Some(file) = tar::Archive::new(&package[..]).entries().map_err(unreadable)?.next() {
            file.and_then(|mut file| file.read_to_string(&mut text)).map_err(unreadable)?;
        }
        let about: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        Ok(Some(ServerFiles { release: about["version"].as_str().map(str::to_owned), ..files }))
    }

    /// The same without the release, which takes a second request.
    pub fn migration_files(&self, container: &Container) -> Result<Option<ServerFiles>> {
        let Some(archive) = self.download(container, &container.working_dir.join("db"))? else { return Ok(None) };
        let mut files = BTreeSet::new();
        let unreadable = |error: std::io::Error| self.unreadable(container, &error.to_string());
        for entry in tar::Archive::new(&archive[..]).entries().map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let is_file = entry.header().entry_type().is_file();
            files.extend(entry.path().map(|path| path.to_string_lossy().into_owned()).ok().filter(|_| is_file));
        }
        let found = ServerFiles { release: None, files };
        Ok(Some(found).filter(|found| !found.migrations().is_empty()))
    }

    /// The file or folder `path` of `container` as a tar, if it exists and can be read.
    fn download(&self, container: &Container, path: &Path) -> Result<Option<Vec<u8>>> {
        let options = DownloadFromContainerOptionsBuilder::default().path(&path.to_string_lossy()).build();
        let pieces = self.client.download_from_container(&container.id, Some(options));
        let read = pieces.try_fold(Vec::new(), |mut all, piece| async move {
            all.extend_from_slice(&piece);
            if all.len() > LARGEST {
                Err(std::io::Error::from(std::io::ErrorKind::FileTooLarge).into())
            } else {
                Ok(all)
            }
        });
        match self.block(read) {
            Ok(archive) => Ok(Some(archive)),
            Err(error) if matches!(status(&error), Some(403 | 404)) => Ok(None),
            Err(error) => Err(self.failed("read the files of", &container.name, &error)),
        }
    }

    fn unreadable(&self, container: &Container, why: &str) -> Error {
        Error::Docker(DockerError::Action {
            act: "read the files of",
            container: container.name.clone(),
            why: why.to_owned(),
            forbidden: false,
        })
    }
}
