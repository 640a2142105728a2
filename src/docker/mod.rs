//! The Docker engine: which containers run the server, what state they are in, stopping and starting them, and seeing
//! that the server works.
//!
//! Knows nothing of databases. All of the async code is here, behind the one runtime that a [`Docker`] owns.

mod archive;
mod container;
mod errand;
mod exec;
mod helper;
mod life;
mod logs;
mod ready;

pub use archive::{Fetched, Stat};
pub use container::{Compose, Container, DataFolder, Life, Mount, MountKind, Neighbour, State};
pub use errand::{Console, Engine, Errand, SOCKET, VOLUME};
pub use exec::Output;
pub use helper::{Helper, StaleHelper};
pub use life::{GRACE, Start};
pub use ready::{Answer, Page};

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Result};

/// Where the engine listens when nobody says otherwise.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// How long an ordinary request may take.
const REQUEST: Duration = Duration::from_secs(60);

/// How long the engine may take to say that it is there.
const GREETING: Duration = Duration::from_secs(10);

/// A connection to one Docker engine.
pub struct Docker {
    client: bollard::Docker,
    address: String,
    runtime: Runtime,
}

impl Docker {
    /// Connects to the engine at `host` (`unix:///path`, a path, or `tcp://host:port` without TLS; by default
    /// [`DEFAULT_HOST`]) and asks whether it is there.
    ///
    /// # Errors
    /// [`Error::NoDocker`] when nothing answers, or when this user may not ask.
    pub fn connect(host: Option<&str>) -> Result<Docker> {
        let address = match host {
            None | Some("") => DEFAULT_HOST.to_owned(),
            Some(path) if path.starts_with('/') => format!("unix://{path}"),
            Some(host) => host.to_owned(),
        };
        let unreachable = |why: String| Error::NoDocker { address: address.clone(), why };
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| unreachable(format!("no runtime: {error}")))?;
        let version = bollard::API_DEFAULT_VERSION;
        let client = match address.split_once("://") {
            Some(("unix", _)) => bollard::Docker::connect_with_unix(&address, REQUEST.as_secs(), version),
            Some(("tcp" | "http", _)) => bollard::Docker::connect_with_http(&address, REQUEST.as_secs(), version),
            Some((scheme, _)) => return Err(unreachable(format!("`{scheme}://` is not supported"))),
            None => return Err(unreachable("not an address such as unix:///var/run/docker.sock".into())),
        }
        .map_err(|error| unreachable(reason(&error)))?;
        let ping = async { tokio::time::timeout(GREETING, client.ping()).await };
        match runtime.block_on(ping) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(unreachable(reason(&error))),
            Err(_) => return Err(unreachable(format!("no answer within {} s", GREETING.as_secs()))),
        }
        Ok(Docker { client, address, runtime })
    }

    /// The engine's address, as given or by default.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Every container that runs the server, in whatever state, sorted by name.
    pub fn containers(&self) -> Result<Vec<Container>> {
        let mut found = self.all(true)?;
        found.retain(|container| container.server);
        Ok(found)
    }

    /// The container with this name, id, or beginning of an id; whether it runs the server says [`Container::server`].
    pub fn container(&self, name: &str) -> Result<Option<Container>> {
        let plausible = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let name = name.strip_prefix('/').unwrap_or(name);
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(plausible) {
            return Ok(None);
        }
        self.block(self.inspect(name))
    }

    /// `container` as it is now.
    ///
    /// # Errors
    /// [`Error::Docker`] when it is gone.
    pub fn again(&self, container: &Container) -> Result<Container> {
        self.block(self.inspect(&container.id))?.ok_or_else(|| Error::Docker {
            act: "find",
            container: container.name.clone(),
            why: "it no longer exists".into(),
        })
    }

    /// Every container, running or not, that mounts `folder` of the host, a part of it, or a folder above it, sorted
    /// by name. Our own helper containers are left out.
    pub fn containers_on(&self, folder: &Path) -> Result<Vec<Neighbour>> {
        let folder = real(folder);
        Ok(self.all(true)?.iter().filter_map(|container| container.neighbour(&folder)).collect())
    }

    /// Names of the other running servers on the data folder of `container`: one database, two servers.
    pub fn others_on(&self, container: &Container) -> Result<Vec<String>> {
        let Ok(data) = container.data() else { return Ok(Vec::new()) };
        let folder = real(&data.path);
        let shares = |other: &Container| {
            other.id != container.id
                && other.server
                && other.state.life != Life::Stopped
                && other.data().is_ok_and(|theirs| real(&theirs.path) == folder)
        };
        Ok(self.all(false)?.into_iter().filter(shares).map(|other| other.name).collect())
    }

    fn all(&self, stopped_too: bool) -> Result<Vec<Container>> {
        self.block(async {
            let options = ListContainersOptionsBuilder::default().all(stopped_too).build();
            let listed = self.client.list_containers(Some(options)).await;
            let listed = listed.map_err(|error| self.failed("list", "", &error))?;
            let ours = |labels: Option<&HashMap<String, String>>| {
                labels.is_some_and(|labels| helper::is_ours(|label| labels.contains_key(label)))
            };
            let ids = listed.into_iter().filter(|one| !ours(one.labels.as_ref())).filter_map(|one| one.id);
            // The list tells neither the environment nor the image as it was typed, so each is looked at. One that goes
            // away meanwhile is no longer there.
            let looks = stream::iter(ids).map(|id| async move { self.inspect(&id).await }).buffer_unordered(8);
            let mut found: Vec<Container> = looks.try_filter_map(|one| async { Ok(one) }).try_collect().await?;
            found.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(found)
        })
    }

    async fn inspect(&self, name: &str) -> Result<Option<Container>> {
        match self.client.inspect_container(name, None::<InspectContainerOptions>).await {
            Ok(answer) => Ok(Some(Container::from_inspect(answer))),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(self.failed("look at", name, &error)),
        }
    }

    fn block<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// What went wrong while we tried to `act` on `container`, told apart from an engine that is not there any more.
    fn failed(&self, act: &'static str, container: &str, error: &bollard::errors::Error) -> Error {
        let why = reason(error);
        match status(error) {
            None if io_error(error).is_some() => Error::NoDocker { address: self.address.clone(), why },
            _ => Error::Docker { act, container: container.to_owned(), why },
        }
    }
}

/// The HTTP status that the engine refused with, if it answered.
fn status(error: &bollard::errors::Error) -> Option<u16> {
    match error {
        bollard::errors::Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// The I/O error at the bottom of `error`.
fn io_error(error: &bollard::errors::Error) -> Option<&io::Error> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(found) = error.downcast_ref::<io::Error>() {
            return Some(found);
        }
        source = error.source();
    }
    None
}

/// Why a request failed, in words.
fn reason(error: &bollard::errors::Error) -> String {
    use bollard::errors::Error as Bollard;
    match error {
        Bollard::DockerResponseServerError { message, .. } => message.trim().trim_end_matches('.').to_owned(),
        Bollard::SocketNotFoundError(path) => format!("there is no socket {path}"),
        Bollard::RequestTimeoutError => "no answer in time".into(),
        error => match io_error(error).map(io::Error::kind) {
            Some(io::ErrorKind::PermissionDenied) => "permission denied".into(),
            Some(io::ErrorKind::ConnectionRefused) => "connection refused, nothing listens there".into(),
            _ => {
                // The outer errors only say that there is an inner one.
                let mut innermost: &dyn std::error::Error = error;
                while let Some(source) = innermost.source() {
                    innermost = source;
                }
                innermost.to_string()
            }
        },
    }
}

/// `path` without symbolic links where it can be seen from here, as it is otherwise.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
