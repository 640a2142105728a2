//! The Docker engine: which containers run the server and in what state, stopping and starting them, and verifying that the
//! server is up.
//!
//! Independent of databases. All of the async code is here, behind the one runtime that a [`Docker`] owns.

mod archive;
mod connector;
mod container;
mod endpoint;
mod exec;
mod fault;
mod helper;
mod image;
mod job;
mod label;
mod labels;
mod life;
mod logs;
mod ready;
mod ssh;
mod successor;
mod surroundings;
mod volume;

pub use archive::{Fetched, Stat};
pub use container::{
    Compose, Container, ContainerStatus, DataFolder, Mount, MountKind, MountingContainer, Orchestrator, RunState,
};
pub use endpoint::{DEFAULT_HOST, Endpoint, TlsFiles};
pub use exec::Output;
pub use fault::NO_SOCKET;
pub use helper::{Helper, StaleHelper};
pub use image::{Image, ServerFiles};
pub use job::{Console, Engine, JobSpec, SOCKET, VOLUME};
pub use labels::Labelled;
pub use life::{GRACE, Start};
pub use logs::LogRange;
pub use ready::{Answer, EntryPage, is_loopback};
pub use successor::Successor;
pub use surroundings::DockerEnv;
pub use volume::Volume;

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::runtime::{Builder, Runtime};

use self::connector::Connector;
use self::endpoint::Transport;
use self::fault::{ConnectionFault, io_error, reason};
use crate::error::{DockerError, Error, Result};

/// Timeout of an ordinary request.
const REQUEST: Duration = Duration::from_secs(60);

/// Timeout of the first response of the engine.
const GREETING: Duration = Duration::from_secs(10);

/// How often a container that has just ended is inspected again, and the pause between.
const SETTLING: u32 = 100;
const MOMENT: Duration = Duration::from_millis(50);

/// The oldest API version with all required calls; supported by Docker 19.03 and Podman 3.
const OLDEST: (u32, u32) = (1, 40);

/// A connection to one Docker engine.
pub struct Docker {
    client: bollard::Docker,
    endpoint: Endpoint,
    runtime: Runtime,
    line: Connector,
}

impl Docker {
    /// Connects to the engine at `endpoint` and checks that it responds.
    ///
    /// # Errors
    /// [`DockerError::Unreachable`] when nothing responds, when access is
    /// denied, or when the engine is too old.
    pub fn connect(endpoint: &Endpoint) -> Result<Docker> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| ConnectionFault::plain(&error).at(endpoint))?;
        let line = Connector::to(endpoint)?;
        let version = Arc::new(OnceLock::new());
        let client = client(endpoint, &line, &version)
            .map_err(|error| ConnectionFault::of_request(endpoint, &error).at(endpoint))?;
        let docker = Docker { client, endpoint: endpoint.clone(), runtime, line };
        let ping = docker.runtime.block_on(async { tokio::time::timeout(GREETING, docker.client.ping()).await });
        match ping {
            Ok(Ok(_)) => docker.check_version(version.get().map_or("", String::as_str)).map(|()| docker),
            Ok(Err(error)) => Err(docker.unreachable(&error)),
            Err(_) => Err(docker.unreachable(&bollard::errors::Error::RequestTimeoutError)),
        }
    }

    fn check_version(&self, version: &str) -> Result<()> {
        let number = |text: &str| text.parse::<u32>().ok();
        let spoken = version.split_once('.').and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
        let (major, minor) = OLDEST;
        match spoken {
            Some(spoken) if spoken >= OLDEST => Ok(()),
            Some(_) => Err(ConnectionFault::new(
                format!("it supports Docker API version {version}, but kumadb requires {major}.{minor}"),
                "install Docker 19.03 or newer, or Podman 3 or newer on that host",
            )
            .at(&self.endpoint)),
            None => {
                let why = "the service is not a Docker engine: it does not report a Docker API version";
                Err(ConnectionFault::new(why, "check the port").at(&self.endpoint))
            }
        }
    }

    /// Why a request had no response.
    fn unreachable(&self, error: &bollard::errors::Error) -> Error {
        let given = match &self.line {
            Connector::Ssh(ssh) => ssh.fault(),
            _ => None,
        };
        given.unwrap_or_else(|| ConnectionFault::of_request(&self.endpoint, error)).at(&self.endpoint)
    }

    /// The engine's address, as given or by default.
    pub fn address(&self) -> &str {
        self.endpoint.address()
    }

    /// Whether it is reached by a local socket, so that its folders are most likely on this machine.
    pub fn is_local(&self) -> bool {
        self.endpoint.is_local()
    }

    /// Every container that runs the server, in any state, sorted by name.
    pub fn containers(&self) -> Result<Vec<Container>> {
        let mut found = self.all(true)?;
        found.retain(|container| container.server);
        Ok(found)
    }

    /// Every container, in any state, sorted by name; our own helpers are left out.
    pub fn all_containers(&self) -> Result<Vec<Container>> {
        self.all(true)
    }

    /// The container with this name, id, or beginning of an id; [`Container::server`] shows whether it runs the server.
    pub fn container(&self, name: &str) -> Result<Option<Container>> {
        let plausible = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let name = name.strip_prefix('/').unwrap_or(name);
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(plausible) {
            return Ok(None);
        }
        self.block(self.inspect(name))
    }

    /// Inspects `container` again.
    ///
    /// # Errors
    /// [`DockerError::Removed`] when it is gone.
    pub fn again(&self, container: &Container) -> Result<Container> {
        self.block(self.inspect(&container.id))?.ok_or_else(|| removed(&container.name))
    }

    /// Every container, running or not, that mounts `folder` of the host, a part of it, or a folder above it, sorted
    /// by name. Our own helper containers are left out.
    pub fn containers_on(&self, folder: &Path) -> Result<Vec<MountingContainer>> {
        let folder = real(folder);
        Ok(self.all(true)?.iter().filter_map(|container| container.neighbour(&folder)).collect())
    }

    /// Names of the other running servers on the data folder of `container`: two servers on one database.
    pub fn others_on(&self, container: &Container) -> Result<Vec<String>> {
        let Ok(data) = container.data() else { return Ok(Vec::new()) };
        let folder = real(&data.path);
        let shares = |other: &Container| {
            other.id != container.id
                && other.server
                && other.state.life != RunState::Stopped
                && other.data().is_ok_and(|theirs| real(&theirs.path) == folder)
        };
        Ok(self.all(false)?.into_iter().filter(shares).map(|other| other.name).collect())
    }

    fn all(&self, stopped_too: bool) -> Result<Vec<Container>> {
        self.block(async {
            let options = ListContainersOptionsBuilder::default().all(stopped_too).build();
            let listed = settled(|| self.client.list_containers(Some(options.clone()))).await;
            let listed = listed.map_err(|error| self.failed("list", "", &error))?;
            let ours = |labels: Option<&HashMap<String, String>>| {
                labels.is_some_and(|labels| label::is_ours(|label| labels.contains_key(label)))
            };
            let ids = listed.into_iter().filter(|one| !ours(one.labels.as_ref())).filter_map(|one| one.id);
            // The list has neither the environment nor the image name as given, so each container is inspected. One that is
            // removed meanwhile is left out.
            // away meanwhile is no longer there.
            let looks = stream::iter(ids).map(|id| async move { self.inspect(&id).await }).buffer_unordered(8);
            let mut found: Vec<Container> = looks.try_filter_map(|one| async { Ok(one) }).try_collect().await?;
            found.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(found)
        })
    }

    async fn inspect(&self, name: &str) -> Result<Option<Container>> {
        match settled(|| self.client.inspect_container(name, None::<InspectContainerOptions>)).await {
            Ok(answer) => Ok(Some(Container::from_inspect(answer))),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(self.failed("access", name, &error)),
        }
    }

    fn block<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The error of the action `act` on `container`, distinguishing an engine that is gone.
    fn failed(&self, act: &'static str, container: &str, error: &bollard::errors::Error) -> Error {
        match status(error) {
            None if io_error(error).is_some() => self.unreachable(error),
            Some(404) if reason(error).to_lowercase().contains("no such container") => removed(container),
            // Docker's messages for a container that is being removed.
            Some(409) if reason(error).contains("marked for removal") => removed(container),
            status => {
                let container = container.to_owned();
                let forbidden = matches!(status, Some(401 | 403));
                let why = match status {
                    // The answer of a proxy is a page, or empty.
                    Some(status @ (401 | 403)) => {
                        format!("the Docker engine, or a proxy in front of it, refused the request (HTTP {status})")
                    }
                    _ => reason(error),
                };
                Error::Docker(DockerError::Action { act, container, why, forbidden })
            }
        }
    }
}

fn removed(container: &str) -> Error {
    Error::Docker(DockerError::Removed {
        container: container.to_owned(),
        what: "no longer exists".into(),
        unfinished: false,
        hint: None,
    })
}

/// Connects through `line`, and notes the engine's API version.
fn client(
    endpoint: &Endpoint,
    line: &Connector,
    version: &Arc<OnceLock<String>>,
) -> Result<bollard::Docker, bollard::errors::Error> {
    // Idle connections are kept, because a new one over ssh starts a program on the remote host.
    let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(None).build(line.clone());
    let version = version.clone();
    let send = move |request: bollard::BollardRequest| {
        let (answer, version) = (client.request(request), version.clone());
        async move {
            let answer = answer.await?;
            if let Some(spoken) = answer.headers().get("Api-Version").and_then(|spoken| spoken.to_str().ok()) {
                version.get_or_init(|| spoken.to_owned());
            }
            Ok(answer)
        }
    };
    // Only a proxy reads the name.
    let name = match &endpoint.way {
        Transport::Tcp { host, port, .. } if host.contains(':') => format!("http://[{host}]:{port}"),
        Transport::Tcp { host, port, .. } => format!("http://{host}:{port}"),
        Transport::Unix(_) | Transport::Ssh(_) => "http://docker".to_owned(),
    };
    bollard::Docker::connect_with_custom_transport(send, Some(name), REQUEST.as_secs(), bollard::API_DEFAULT_VERSION)
}

/// The response to `ask`. Podman briefly reports `stopped` for a container that has just ended, before `exited`, and
/// bollard accepts only Docker's states. bollard takes only Docker's words.
async fn settled<T, F>(ask: impl Fn() -> F) -> Result<T, bollard::errors::Error>
where
    F: Future<Output = Result<T, bollard::errors::Error>>,
{
    for _ in 0..SETTLING {
        match ask().await {
            Err(bollard::errors::Error::JsonDataError { message, .. }) if message.contains("`stopped`") => {
                tokio::time::sleep(MOMENT).await;
            }
            answer => return answer,
        }
    }
    ask().await
}

/// The HTTP status of the engine's error response, if it responded.
fn status(error: &bollard::errors::Error) -> Option<u16> {
    match error {
        bollard::errors::Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// `path` without symbolic links where it exists on this machine, unchanged otherwise.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
