//! The target of a new instance: a folder, a database, or the data folder of a container that was never started.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backup::{Store, Stores};
use crate::cli::{Context, engine, remote_job};
use crate::docker::{Container, Docker, RunState};
use crate::engine::mariadb::Address;
use crate::error::{DatabaseError, DockerError, Error, Hint, Result, TargetError};
use crate::files;
use crate::instance::{Location, RemoteData};

/// What only a data folder has.
const DATA: [&str; 2] = ["kuma.db", "db-config.json"];

/// The target of `--to`.
pub enum RestoreTarget {
    /// A folder, absent or empty.
    Folder(PathBuf),
    /// A database on MariaDB, by its address, and as typed without the password.
    Database(Address),
    /// A container that was never started, and its data folder on this machine.
    Container(Box<NewContainer>),
}

/// A container that was never started.
pub struct NewContainer {
    /// Its engine.
    pub docker: Arc<Docker>,
    /// The container.
    pub container: Container,
    /// Its data folder.
    pub folder: PathBuf,
}

impl RestoreTarget {
    /// The target called `text`.
    ///
    /// # Errors
    /// [`DatabaseError::Occupied`](crate::error::DatabaseError::Occupied) when it cannot take a new instance.
    pub fn find(text: &str, context: &Context<'_>) -> Result<Location<RestoreTarget>> {
        if text.starts_with("mysql://") || text.starts_with("mariadb://") {
            return Ok(Location::Local(RestoreTarget::Database(Address::parse(text)?)));
        }
        if text.contains('/') || text.starts_with('.') || Path::new(text).symlink_metadata().is_ok() {
            return RestoreTarget::folder(text, context).map(Location::Local);
        }
        let missing = |why: String| Error::from(TargetError::NoPlace { place: text.to_owned(), why });
        let docker = engine::connect(&engine::surroundings(&context.global)).map_err(|error| match error {
            error @ Error::Docker(DockerError::Unreachable { .. }) => missing(error.to_string()),
            error => error,
        })?;
        match docker.container(text)? {
            Some(container) => fresh(docker, container),
            None => Err(missing(format!("none at {}", docker.address()))),
        }
    }

    /// Its data folder, if it has one.
    pub fn data(&self) -> Option<&Path> {
        match self {
            RestoreTarget::Folder(folder) => Some(folder),
            RestoreTarget::Container(fresh) => Some(&fresh.folder),
            RestoreTarget::Database(_) => None,
        }
    }

    /// Its name in messages.
    pub fn shown(&self) -> String {
        match self {
            RestoreTarget::Folder(folder) => format!("`{}`", folder.display()),
            RestoreTarget::Container(fresh) => format!("container `{}`", fresh.container.name),
            RestoreTarget::Database(address) => address.to_string(),
        }
    }

    fn folder(text: &str, context: &Context<'_>) -> Result<RestoreTarget> {
        let global = &context.global;
        let is_named = global.docker_host.is_some() || global.docker_context.is_some();
        if is_named && !engine::surroundings(global).endpoint()?.is_local() {
            return Err(Error::Database(DatabaseError::Occupied {
                place: format!("`{text}`"),
                why: "the folder is on this machine, but Docker is on another".into(),
                hint: Hint::advice(format!(
                    "create a container on that machine (docker create --name NAME -v {text}:/app/data … IMAGE) and \
                     use `--to NAME`, \
                     or leave out `--host` and `--context`"
                )),
            }));
        }
        folder_at(text).map(RestoreTarget::Folder)
    }
}

/// The folder `text`, which may be absent, with the links above it resolved.
pub fn folder_at(text: &str) -> Result<PathBuf> {
    let folder = files::absolute(text)?;
    let above = folder.ancestors().skip(1).find(|above| above.exists());
    let real = above.and_then(|above| Some(above.canonicalize().ok()?.join(folder.strip_prefix(above).ok()?)));
    Ok(real.unwrap_or(folder))
}

/// Fails when the new data folder `folder` and a store would be inside one another, or when it is inside the data
/// folder of an instance: what one of them removes or gives away would be part of the other.
pub fn check_nesting(folder: &Path, stores: &Stores) -> Result<()> {
    let refused = |why: String| {
        let hint = Hint::advice("use a separate folder");
        Err(Error::Database(DatabaseError::Occupied { place: format!("`{}`", folder.display()), why, hint }))
    };
    for store in stores.iter().chain([stores.local()]).filter_map(Store::folder) {
        let store = folder_at(&store.to_string_lossy())?;
        if folder.starts_with(&store) {
            return refused(format!("it is inside the store `{}`", store.display()));
        }
        if store.starts_with(folder) {
            return refused(format!("the store `{}` is inside it", store.display()));
        }
    }
    let is_data = |above: &&Path| DATA.iter().any(|name| above.join(name).symlink_metadata().is_ok());
    match folder.ancestors().skip(1).find(is_data) {
        Some(above) => refused(format!("it is inside the data folder `{}`", above.display())),
        None => Ok(()),
    }
}

/// The container, checked: never started, with a data folder.
fn fresh(docker: Arc<Docker>, container: Container) -> Result<Location<RestoreTarget>> {
    let occupied = |why: &str, hint: Hint| {
        Err(Error::Database(DatabaseError::Occupied {
            place: format!("container `{}`", container.name),
            why: why.into(),
            hint,
        }))
    };
    if container.state.life != RunState::Stopped || container.state.started_at.is_some() {
        let why = if container.state.life == RunState::Stopped { "it was started before" } else { "it is running" };
        return occupied(why, Hint::command(format!("kumadb -t {} restore SNAPSHOT", container.name)));
    }
    let data = match container.data() {
        Ok(data) if data.read_only => {
            let hint = Hint::advice("create the container again with a data folder that is not read-only");
            return occupied("its data folder is mounted read-only", hint);
        }
        Ok(data) => data,
        Err(error @ Error::Target(TargetError::NoDataFolder { .. } | TargetError::NotOnAVolume { .. })) => {
            let hint = format!("remove it (docker rm {0}), and create it again with -v {0}:/app/data", container.name);
            return occupied(&error.to_string(), Hint::advice(hint));
        }
        Err(error) => return Err(error),
    };
    let folder = data.path.canonicalize().unwrap_or_else(|_| data.path.clone());
    let on_host = remote_job::overrides()?.is_some();
    if !on_host && !is_here(&docker, &container, &data.inside, &folder)? {
        return Ok(Location::Remote(RemoteData { docker, folder: data.path, container: Arc::new(container) }));
    }
    Ok(Location::Local(RestoreTarget::Container(Box::new(NewContainer { docker, container, folder }))))
}

/// Whether this process can write to `folder` in a way that the container can read.
fn is_here(docker: &Docker, container: &Container, inside: &Path, folder: &Path) -> Result<bool> {
    // The engine creates a missing folder of the host when its contents are requested, as when the container starts.
    if !folder.exists() && (docker.stat(container, inside).is_err() || !folder.exists()) {
        return Ok(false);
    }
    if !docker.shares(container, inside, folder) || std::fs::read_dir(folder).is_err() {
        return Ok(false);
    }
    // A rootless engine has users of its own.
    let owner = std::fs::metadata(docker.engine()?.root).map(|root| root.uid());
    Ok(files::check_writable(folder).is_ok() && owner.is_ok_and(|owner| owner == 0))
}
