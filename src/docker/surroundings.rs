//! Selecting the engine: options, environment and files, with the names and the precedence of the docker CLI.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::endpoint::{DEFAULT_HOST, Endpoint, TlsFiles};
use crate::error::{DockerError, Error, Hint, InputError, Result};
use crate::files;
use crate::text::did_you_mean;

/// The context that means `DOCKER_HOST` or the default socket.
const DEFAULT_CONTEXT: &str = "default";

/// The options and environment that select the engine. The caller reads the environment.
#[derive(Clone, Debug, Default)]
pub struct DockerEnv {
    /// The option `-H`.
    pub host: Option<String>,
    /// The option `--context`.
    pub context: Option<String>,
    /// `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub docker_context: Option<String>,
    /// `CONTAINER_HOST`, which is Podman's.
    pub container_host: Option<String>,
    /// `DOCKER_TLS_VERIFY`: TLS with verification of the engine's certificate.
    pub tls_verify: bool,
    /// `DOCKER_TLS`: TLS without verification.
    pub tls: bool,
    /// `DOCKER_CERT_PATH`.
    pub cert_path: Option<PathBuf>,
    /// `DOCKER_CONFIG`, else `~/.docker`.
    pub config: PathBuf,
    /// `XDG_RUNTIME_DIR`.
    pub runtime: Option<PathBuf>,
    /// The home folder.
    pub home: Option<PathBuf>,
}

/// A context in the docker CLI's `contexts/meta/<hash>/meta.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    name: String,
    #[serde(default)]
    endpoints: Endpoints,
}

#[derive(Default, Deserialize)]
struct Endpoints {
    docker: Option<DockerEndpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEndpoint {
    #[serde(default)]
    host: String,
    #[serde(default, rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

impl DockerEnv {
    /// The same, with the engine at `host` or of `context` where no option is given.
    pub fn or(&self, host: Option<&str>, context: Option<&str>) -> DockerEnv {
        if self.host.is_some() || self.context.is_some() {
            return self.clone();
        }
        DockerEnv { host: host.map(str::to_owned), context: context.map(str::to_owned), ..self.clone() }
    }

    /// The selected engine: the option, `DOCKER_HOST`, `DOCKER_CONTEXT`, the current context of the docker CLI, else
    /// the first existing socket of Docker or Podman.
    ///
    /// # Errors
    /// [`DockerError::Unreachable`](crate::error::DockerError::Unreachable) for an invalid address, or a context that
    /// does not exist.
    pub fn endpoint(&self) -> Result<Endpoint> {
        let context = match (&self.host, &self.context) {
            (Some(_), Some(_)) => {
                return Err(Error::Input(InputError::Conflict { option: "`-H`".into(), other: "`--context`".into() }));
            }
            (Some(host), None) => return self.at(host),
            (None, Some(context)) => Some(context.clone()),
            (None, None) if self.docker_host.is_some() => None,
            (None, None) => {
                self.docker_context.clone().map_or_else(|| self.current_context(), |name| Ok(Some(name)))?
            }
        };
        match (context.filter(|name| name != DEFAULT_CONTEXT), &self.docker_host) {
            (Some(name), _) => self.context(&name),
            (None, Some(host)) => self.at(host),
            (None, None) => self.first_socket(),
        }
    }

    fn at(&self, host: &str) -> Result<Endpoint> {
        let folder = self.cert_path.as_ref().unwrap_or(&self.config);
        Endpoint::parse(host, (self.tls || self.tls_verify).then(|| TlsFiles::of(folder, self.tls_verify)))
    }

    /// The current context in `config.json`.
    fn current_context(&self) -> Result<Option<String>> {
        #[derive(Deserialize)]
        struct Config {
            #[serde(rename = "currentContext")]
            current: Option<String>,
        }
        let config: Option<Config> = read(&self.config.join("config.json"))?;
        Ok(config.and_then(|config| config.current).filter(|name| !name.is_empty()))
    }

    /// The engine of the context `name`.
    fn context(&self, name: &str) -> Result<Endpoint> {
        let mut names = Vec::new();
        for folder in files::entries(&self.config.join("contexts/meta"))? {
            let Some(meta) = read::<Meta>(&folder.join("meta.json"))? else { continue };
            if meta.name != name {
                names.push(meta.name);
                continue;
            }
            let Some(docker) = meta.endpoints.docker else {
                return Err(no_context(name, "it does not specify an engine".into()));
            };
            let hash = folder.file_name().unwrap_or_default();
            let tls =
                TlsFiles::of(&self.config.join("contexts/tls").join(hash).join("docker"), !docker.skip_tls_verify);
            let tls = Some(tls).filter(|tls| !tls.is_empty() || !tls.verify);
            return if docker.host.is_empty() { self.first_socket() } else { Endpoint::parse(&docker.host, tls) };
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Err(no_context(name, format!("no such context{}", did_you_mean(name, &names))))
    }

    /// The first existing socket: Docker's, that of rootless Docker, Docker Desktop's, Podman's.
    fn first_socket(&self) -> Result<Endpoint> {
        let docker = [
            Some(PathBuf::from(DEFAULT_HOST.trim_start_matches("unix://"))),
            self.runtime.as_ref().map(|folder| folder.join("docker.sock")),
            self.home.as_ref().map(|folder| folder.join(".docker/run/docker.sock")),
        ];
        let podman = [
            self.runtime.as_ref().map(|folder| folder.join("podman/podman.sock")),
            Some(PathBuf::from("/run/podman/podman.sock")),
        ];
        let first = |sockets: &[Option<PathBuf>]| sockets.iter().flatten().find(|path| path.exists()).cloned();
        if let Some(socket) = first(&docker) {
            return Ok(Endpoint::socket(&socket));
        }
        if let Some(host) = &self.container_host {
            return Endpoint::parse(host, None);
        }
        Ok(first(&podman).map_or_else(Endpoint::default, |socket| Endpoint::socket(&socket)))
    }
}

fn no_context(name: &str, why: String) -> Error {
    Error::Docker(DockerError::Unreachable {
        address: format!("context {name}"),
        why,
        hint: Hint::command("docker context ls"),
    })
}

/// Reads a JSON file of the docker CLI at `path`, if it exists.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let unread = |why: String| {
        Error::Docker(DockerError::Unreachable {
            address: path.display().to_string(),
            why,
            hint: Hint::advice("see `docker context ls`, or specify the engine with `-H`"),
        })
    };
    match files::read_text(path) {
        Ok(Some(text)) => serde_json::from_str(&text).map(Some).map_err(|error| unread(error.to_string())),
        Ok(None) => Ok(None),
        Err(error) => Err(unread(error.to_string())),
    }
}
