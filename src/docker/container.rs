//! One container as the engine describes it: whether it runs the server, its state, and its data folder.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, MountPoint, PortMap};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{label, real};
use crate::error::{Error, Result, TargetError};
use crate::files::tidy;
use crate::value::{Secret, image_parts};

/// The label `org.opencontainers.image.source` of the 2.x images; those of 1.x have none.
const SOURCE: &str = "https://github.com/louislam/uptime-kuma";

/// Whether a container runs. After an operation it is what it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Its processes run.
    Running,
    /// Its processes are paused.
    Paused,
    /// It ended, and the engine is about to restart it.
    Restarting,
    /// It was never started, or has ended.
    Stopped,
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RunState::Running => "running",
            RunState::Paused => "paused",
            RunState::Restarting => "restarting",
            RunState::Stopped => "stopped",
        })
    }
}

/// The state of a container at one point in time.
#[derive(Clone, Debug)]
pub struct ContainerStatus {
    /// Whether it runs.
    pub life: RunState,
    /// Exit code of its last run; 0 while it runs.
    pub exit_code: i64,
    /// Whether its last run was killed because of memory.
    pub oom_killed: bool,
    /// How often its restart policy has started it since it was started explicitly.
    pub restart_count: i64,
    /// When its current or last run began, by the engine's clock.
    pub started_at: Option<DateTime<Utc>>,
    /// When its last run ended, by the engine's clock.
    pub finished_at: Option<DateTime<Utc>>,
    /// `starting`, `healthy` or `unhealthy`, where it has a health check. A healthy server may still have a damaged database.
    pub health: Option<String>,
    /// Its first process on the engine's host; 0 when it does not run.
    pub pid: i64,
}

/// The kind of storage of a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// A folder or file of the host.
    Bind,
    /// A volume, by its name.
    Volume(String),
    /// Storage without a path on the host's disk, such as `tmpfs`.
    Other(String),
}

/// One mount of a container.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Its storage.
    pub kind: MountKind,
    /// Its path on the engine's host; empty for [`MountKind::Other`].
    pub source: PathBuf,
    /// Its path in the container.
    pub destination: PathBuf,
    /// Whether it is read-only in the container.
    pub read_only: bool,
}

/// The data folder of a container.
#[derive(Clone, Debug)]
pub struct DataFolder {
    /// Its path on the engine's host.
    pub path: PathBuf,
    /// Its path in the container.
    pub inside: PathBuf,
    /// Its storage.
    pub kind: MountKind,
    /// Whether it is read-only in the container.
    pub read_only: bool,
}

/// The compose file of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compose {
    /// The project.
    pub project: String,
    /// The service in it.
    pub service: String,
}

/// The orchestrator that replaces a stopped container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Orchestrator {
    /// Docker Swarm, for this service.
    Swarm(String),
    /// Kubernetes, for the pod of this name in this namespace.
    Kubernetes(String, String),
}

impl fmt::Display for Orchestrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Orchestrator::Swarm(service) => write!(f, "swarm service {service}"),
            Orchestrator::Kubernetes(namespace, pod) => write!(f, "pod {namespace}/{pod}"),
        }
    }
}

/// A container that mounts a given folder.
#[derive(Clone, Debug)]
pub struct MountingContainer {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub life: RunState,
    /// Whether it runs the server, and that folder is its data folder.
    pub server: bool,
    /// Whether the folder is read-only in it.
    pub read_only: bool,
}

/// One container.
#[derive(Clone, Debug)]
pub struct Container {
    /// Its full id.
    pub id: String,
    /// Its name, without the slash.
    pub name: String,
    /// Its image as given: `louislam/uptime-kuma:2`.
    pub image: String,
    /// The id of exactly that image: `sha256:…`.
    pub image_id: String,
    /// Whether it runs the server, according to image, labels and environment.
    pub server: bool,
    /// Its state when it was inspected.
    pub state: ContainerStatus,
    /// `no`, `always`, `unless-stopped`, `on-failure`.
    pub restart_policy: String,
    /// Whether the engine deletes it as soon as it stops.
    pub auto_remove: bool,
    /// The user it runs as, from the image or the command line; empty for root.
    pub user: String,
    /// Its environment, including passwords.
    pub env: BTreeMap<String, Secret>,
    /// Its labels, the image's included.
    pub labels: BTreeMap<String, String>,
    /// Its compose file.
    pub compose: Option<Compose>,
    /// The orchestrator that keeps it running, if any.
    pub orchestrator: Option<Orchestrator>,
    /// Its mounts.
    pub mounts: Vec<Mount>,
    /// Its command line.
    pub command: Vec<String>,
    /// Its working folder.
    pub working_dir: PathBuf,
    /// `bridge`, `host`, `none`, or the name of a network.
    pub network_mode: String,
    /// The networks it is in, by name.
    pub networks: Vec<String>,
    /// When it was created, by the engine's clock.
    pub created: Option<DateTime<Utc>>,
    /// The port of this machine where its page is published, if there is one.
    pub published_port: Option<u16>,
    /// Its published TCP ports while it runs: its own port, and an address and port of the engine's host.
    pub published: Vec<(u16, String, u16)>,
    /// Its own addresses in the networks of the engine.
    pub addresses: Vec<String>,
    /// More host names in it, as `host:address`.
    pub(super) extra_hosts: Option<Vec<String>>,
    /// Security options, which a second container on the same files needs too.
    pub(super) security_opt: Option<Vec<String>>,
    /// The user namespace, likewise.
    pub(super) userns_mode: Option<String>,
}

/// The published port in the bindings, if there is exactly one; a container in the host's network needs none.
fn published(network: Option<&str>, bindings: Option<&PortMap>) -> Option<u16> {
    if network == Some("host") {
        return Some(3001);
    }
    let mut ports =
        bindings?.values().flatten().flatten().filter_map(|binding| binding.host_port.as_ref()?.parse().ok());
    let first = ports.next()?;
    ports.all(|port| port == first).then_some(first)
}

/// The published TCP ports, as far as the engine reports them.
fn bindings(ports: Option<PortMap>) -> Vec<(u16, String, u16)> {
    let mut found = Vec::new();
    for (port, bindings) in ports.unwrap_or_default() {
        let Some(own) = port.strip_suffix("/tcp").and_then(|port| port.parse().ok()) else { continue };
        for binding in bindings.unwrap_or_default() {
            if let Some(port) = binding.host_port.and_then(|port| port.parse().ok()) {
                found.push((own, binding.host_ip.unwrap_or_default(), port));
            }
        }
    }
    found.sort();
    found
}

impl Container {
    pub(super) fn from_inspect(answer: ContainerInspectResponse) -> Container {
        let config = answer.config.unwrap_or_default();
        let host = answer.host_config.unwrap_or_default();
        let labels: BTreeMap<String, String> = config.labels.unwrap_or_default().into_iter().collect();
        let env = config.env.unwrap_or_default();
        let env: BTreeMap<String, Secret> = env
            .iter()
            .map(|line| line.split_once('=').unwrap_or((line, "")))
            .map(|(name, value)| (name.to_owned(), Secret::new(value)))
            .collect();
        let image = config.image.unwrap_or_default();
        let label = |name: &str| labels.get(name).cloned();
        let compose = label("com.docker.compose.project")
            .zip(label("com.docker.compose.service"))
            .map(|(project, service)| Compose { project, service });
        let network = answer.network_settings.unwrap_or_default();
        let networks = network.networks.unwrap_or_default();
        let addresses = networks.values().filter_map(|endpoint| endpoint.ip_address.clone());
        let mut addresses: Vec<String> = addresses.filter(|address| !address.is_empty()).collect();
        addresses.sort();
        let mut command = vec![answer.path.unwrap_or_default()];
        command.extend(answer.args.unwrap_or_default());
        Container {
            id: answer.id.unwrap_or_default(),
            name: answer.name.unwrap_or_default().trim_start_matches('/').to_owned(),
            image_id: answer.image.unwrap_or_default(),
            server: is_server(&image, &labels, &env),
            state: ContainerStatus::from_inspect(answer.state.unwrap_or_default(), answer.restart_count.unwrap_or(0)),
            restart_policy: host
                .restart_policy
                .and_then(|policy| policy.name)
                .map(|name| name.to_string())
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| "no".into()),
            auto_remove: host.auto_remove.unwrap_or(false),
            user: config.user.unwrap_or_default(),
            compose,
            orchestrator: label("com.docker.swarm.service.name")
                .or_else(|| label("com.docker.swarm.service.id"))
                .map(Orchestrator::Swarm)
                .or_else(|| {
                    let namespace = label("io.kubernetes.pod.namespace").unwrap_or_else(|| "default".into());
                    Some(Orchestrator::Kubernetes(namespace, label("io.kubernetes.pod.name")?))
                }),
            mounts: answer.mounts.unwrap_or_default().into_iter().map(Mount::from_inspect).collect(),
            command,
            working_dir: config.working_dir.filter(|dir| !dir.is_empty()).unwrap_or_else(|| "/".into()).into(),
            published: bindings(network.ports),
            addresses,
            published_port: published(host.network_mode.as_deref(), host.port_bindings.as_ref()),
            network_mode: host.network_mode.unwrap_or_default(),
            networks: networks.into_keys().collect(),
            created: answer.created.and_then(|at| Some(DateTime::parse_from_rfc3339(&at).ok()?.to_utc())),
            extra_hosts: host.extra_hosts,
            security_opt: host.security_opt,
            userns_mode: host.userns_mode.filter(|mode| !mode.is_empty()),
            image,
            env,
            labels,
        }
    }

    /// The value of the first of `names` that is set in the environment.
    pub fn env(&self, names: &[&str]) -> Option<&str> {
        names.iter().filter_map(|name| self.env.get(*name)).map(Secret::reveal).find(|value| !value.is_empty())
    }

    /// The value of `--name=value` on the command line.
    pub(super) fn flag(&self, name: &str) -> Option<&str> {
        self.command.iter().find_map(|word| word.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('='))
    }

    /// The user and group its server runs as, where they are numbers or names that every image of the server has.
    pub fn ids(&self) -> Option<(u32, u32)> {
        super::image::ids(&self.user)
    }

    /// The data folder inside the container: `DATA_DIR`, `--data-dir`, else `/app/data`.
    pub fn data_inside(&self) -> PathBuf {
        match self.env(&["DATA_DIR"]).or_else(|| self.flag("data-dir")) {
            Some(folder) => tidy(&self.working_dir.join(folder)),
            None => "/app/data".into(),
        }
    }

    /// The data folder: the mount at [`data_inside`](Self::data_inside), or the one that contains it.
    ///
    /// # Errors
    /// [`TargetError::NoDataFolder`](crate::error::TargetError::NoDataFolder) when it is on no mount, so that the data is lost with the container, or on one that is not on a
    /// disk.
    pub fn data(&self) -> Result<DataFolder> {
        let inside = self.data_inside();
        let none = |why: String| Error::Target(TargetError::NoDataFolder { container: self.name.clone(), why });
        let no_volume = || TargetError::NotOnAVolume { container: self.name.clone(), folder: inside.clone() };
        let (mount, path) = self.place(&inside).ok_or_else(no_volume)?;
        match &mount.kind {
            MountKind::Other(kind) => {
                Err(none(format!("`{}` is on {kind}, not on a volume or folder", inside.display())))
            }
            kind => Ok(DataFolder { path, inside, kind: kind.clone(), read_only: mount.read_only }),
        }
    }

    /// The place on the engine's host of a path of the container, if it is on a mount that has one: the folder that is
    /// mounted and the path in it, or the parent and the name of a file that is mounted itself.
    pub fn host_place(&self, inside: &Path) -> Option<(PathBuf, PathBuf)> {
        let mount = self.mount_of(inside)?;
        let rest = inside.strip_prefix(&mount.destination).ok()?;
        if rest.as_os_str().is_empty() {
            return Some((mount.source.parent()?.to_owned(), mount.source.file_name()?.into()));
        }
        Some((mount.source.clone(), rest.to_owned()))
    }

    /// The innermost mount that contains `inside`, if it is on a disk.
    pub(super) fn mount_of(&self, inside: &Path) -> Option<&Mount> {
        let (mount, _) = self.place(inside)?;
        Some(mount).filter(|mount| !matches!(mount.kind, MountKind::Other(_)))
    }

    /// The innermost mount that contains `inside`, and its path on the host.
    fn place(&self, inside: &Path) -> Option<(&Mount, PathBuf)> {
        let depth = |mount: &&Mount| mount.destination.components().count();
        let mount = self.mounts.iter().filter(|mount| inside.starts_with(&mount.destination)).max_by_key(depth)?;
        let rest = inside.strip_prefix(&mount.destination).ok()?;
        // An empty part would add a slash at the end.
        let path = if rest.as_os_str().is_empty() { mount.source.clone() } else { mount.source.join(rest) };
        Some((mount, path))
    }

    /// This container as a user of `folder` on the host, which is a real path, if it mounts it.
    pub(super) fn neighbour(&self, folder: &Path) -> Option<MountingContainer> {
        let touches = |mount: &&Mount| {
            let source = real(&mount.source);
            !mount.source.as_os_str().is_empty() && (source.starts_with(folder) || folder.starts_with(&source))
        };
        let mut mounts = self.mounts.iter().filter(touches).peekable();
        mounts.peek()?;
        Some(MountingContainer {
            id: self.id.clone(),
            name: self.name.clone(),
            life: self.state.life,
            server: self.server && self.data().is_ok_and(|data| real(&data.path) == folder),
            read_only: mounts.all(|mount| mount.read_only),
        })
    }
}

impl ContainerStatus {
    /// The state of the container over a longer time: one in a restart loop runs in between, each time for less than the 10 s
    /// after which the engine counts a run as successful.
    pub fn life_so_far(&self) -> RunState {
        let young = |at: DateTime<Utc>| Utc::now().signed_duration_since(at).num_seconds() < 10;
        match self.life {
            RunState::Running if self.restart_count > 0 && self.started_at.is_some_and(young) => RunState::Restarting,
            life => life,
        }
    }

    /// Whether its last run ended by itself, with an error: it was not stopped.
    pub fn failed(&self) -> bool {
        self.life == RunState::Stopped && (self.oom_killed || ![0, 130, 137, 143].contains(&self.exit_code))
    }

    fn from_inspect(state: ContainerState, restart_count: i64) -> ContainerStatus {
        let yes = |flag: Option<bool>| flag.unwrap_or(false);
        let life = if yes(state.restarting) {
            RunState::Restarting
        } else if yes(state.paused) {
            RunState::Paused
        } else if yes(state.running) || state.status == Some(ContainerStateStatusEnum::STOPPING) {
            // Podman's `stopping` is `running` for Docker.
            RunState::Running
        } else {
            RunState::Stopped
        };
        // The engine writes the year 1 for "never".
        let time = |text: Option<String>| {
            let time = DateTime::parse_from_rfc3339(&text?).ok()?.to_utc();
            (time.timestamp() > 0).then_some(time)
        };
        ContainerStatus {
            life,
            exit_code: state.exit_code.unwrap_or(0),
            oom_killed: yes(state.oom_killed),
            restart_count,
            started_at: time(state.started_at),
            finished_at: time(state.finished_at),
            health: state
                .health
                .and_then(|health| health.status)
                .map(|status| status.to_string())
                .filter(|status| !status.is_empty() && status != "none"),
            pid: state.pid.unwrap_or(0),
        }
    }
}

impl Mount {
    fn from_inspect(mount: MountPoint) -> Mount {
        let source = PathBuf::from(mount.source.unwrap_or_default());
        let (kind, source) = match mount.typ.as_deref() {
            Some("bind") => (MountKind::Bind, source),
            Some("volume") => (MountKind::Volume(mount.name.unwrap_or_default()), source),
            other => (MountKind::Other(other.unwrap_or("an unknown mount").to_owned()), PathBuf::new()),
        };
        let destination = tidy(Path::new(&mount.destination.unwrap_or_default()));
        Mount { kind, source, destination, read_only: !mount.rw.unwrap_or(true) }
    }
}

/// Whether image name, labels or environment identify the server. Our helper containers use its image too.
fn is_server(image: &str, labels: &BTreeMap<String, String>, env: &BTreeMap<String, Secret>) -> bool {
    if label::is_ours(|label| labels.contains_key(label)) {
        return false;
    }
    let (repository, _) = image_parts(image);
    repository == "louislam/uptime-kuma"
        || repository.ends_with("/louislam/uptime-kuma")
        || labels.get("org.opencontainers.image.source").is_some_and(|source| source == SOURCE)
        || env.get("UPTIME_KUMA_IS_CONTAINER").is_some_and(|value| value.reveal() == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_name_identifies_the_server() {
        for image in [
            "louislam/uptime-kuma",
            "louislam/uptime-kuma:2",
            "ghcr.io/louislam/uptime-kuma:2.5.3-slim",
            "registry.lan:5000/louislam/uptime-kuma",
            "louislam/uptime-kuma:1@sha256:00",
        ] {
            assert!(is_server(image, &BTreeMap::new(), &BTreeMap::new()), "{image}");
        }
        for image in ["nginx", "uptime-kuma-exporter", "louislam/dockge:1", "x:louislam/uptime-kuma/y"] {
            assert!(!is_server(image, &BTreeMap::new(), &BTreeMap::new()), "{image}");
        }
    }

    #[test]
    fn one_that_podman_is_stopping_still_runs() {
        let life = |status, running| {
            let state = ContainerState { status: Some(status), running, ..Default::default() };
            ContainerStatus::from_inspect(state, 0).life
        };
        assert_eq!(life(ContainerStateStatusEnum::STOPPING, Some(false)), RunState::Running);
        assert_eq!(life(ContainerStateStatusEnum::EXITED, Some(false)), RunState::Stopped);
    }

    #[test]
    fn the_innermost_mount_holds_the_data() {
        let mount = |destination: &str, source: &str| MountPoint {
            typ: Some("bind".into()),
            source: Some(source.into()),
            destination: Some(destination.into()),
            ..Default::default()
        };
        let container = |mounts: Vec<MountPoint>| {
            Container::from_inspect(ContainerInspectResponse { mounts: Some(mounts), ..Default::default() })
        };
        let path = |container: Container| container.data().map(|data| data.path).ok();
        let below = mount("/app/data/upload", "/srv/upload");
        assert_eq!(path(container(vec![mount("/app/data/", "/srv/kuma")])), Some("/srv/kuma".into()));
        assert_eq!(path(container(vec![mount("/app", "/srv"), below.clone()])), Some("/srv/data".into()));
        assert_eq!(path(container(vec![mount("/app", "/x"), mount("/app/data", "/y")])), Some("/y".into()));
        assert_eq!(path(container(vec![mount("/app/database", "/srv"), below])), None);
        let socket = container(vec![mount("/run/db.sock", "/run/mysqld/mysqld.sock")]);
        let place = socket.host_place(Path::new("/run/db.sock"));
        assert_eq!(place, Some(("/run/mysqld".into(), "mysqld.sock".into())));
    }
}
