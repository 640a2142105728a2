//! Remote jobs: a command of kumadb in a container of its own, made from the image of a server, with the files, networks and
//! engine of the server. It continues when this process ends.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount as Wanted, MountType,
    NetworkConnectRequest,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, KillContainerOptionsBuilder,
    ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder, ResizeContainerTTYOptionsBuilder,
    StartContainerOptions, WaitContainerOptions,
};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{Stream, StreamExt as _};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::endpoint::Transport;
use super::label;
use super::{Container, Docker, Mount, MountKind, RunState, helper, status};
use crate::error::{DockerError, Error, RemoteError, Result};
use crate::files;

/// The path of the engine's socket inside the container of a remote job.
pub const SOCKET: &str = "/var/run/docker.sock";

/// The volume with what outlives a remote job, and its path in the container.
pub const VOLUME: (&str, &str) = ("kumadb", "/var/lib/kumadb");

/// Polling interval for typed keys and signals.
const TICK: Duration = Duration::from_millis(20);

/// How long a job may take to end after its output has ended.
const SOON: Duration = Duration::from_secs(1);

/// Maximum number of reconnections.
const REUNIONS: u32 = 5;

/// How many bytes at the end of the received output are compared with the log.
const LAST: usize = 4096;

/// How long an ended container is left for the process that started it, which needs its exit code.
const JUST_ENDED: TimeDelta = TimeDelta::minutes(1);

/// The same for one that is being created, while kumadb is uploaded, and for one whose files are downloaded.
const IN_TRANSFER: TimeDelta = TimeDelta::hours(24);

/// Properties of an engine.
#[derive(Clone, Debug)]
pub struct Engine {
    /// `linux`, `windows`.
    pub system: String,
    /// `x86_64`, `aarch64`, with Rust's names.
    pub machine: String,
    /// Its data folder.
    pub root: PathBuf,
    /// Its clock.
    pub now: DateTime<Utc>,
}

/// The description of a remote job.
#[derive(Clone, Debug)]
pub struct JobSpec {
    /// The command line.
    pub command: Vec<String>,
    /// Whether it uses a terminal.
    pub tty: bool,
    /// Whether input is typed while it runs.
    pub stdin: bool,
    /// Whether files are downloaded after it has ended.
    pub fetched: bool,
    /// The container of the server; image, networks and security options come from it.
    pub server: Container,
    /// Paths of that container whose mounts it needs, at their paths on the engine's host.
    pub inside: Vec<PathBuf>,
    /// More folders of the host, read-only.
    pub read: Vec<PathBuf>,
    /// Sockets of the engine's host to try; the first that exists is used.
    pub sockets: Vec<String>,
}

/// The output of a remote job, as it arrives.
type LogStream<'a> = Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send + 'a>>;

/// A connection to a container.
struct Streams<'a> {
    output: LogStream<'a>,
    /// None to its log.
    input: Option<Pin<Box<dyn AsyncWrite + Send>>>,
}

/// Bytes received of stdout and of stderr, and the end of them.
#[derive(Default)]
struct Received {
    count: [usize; 2],
    last: [Vec<u8>; 2],
}

impl Received {
    fn hear(&mut self, stream: usize, bytes: &[u8]) {
        self.count[stream] += bytes.len();
        let last = &mut self.last[stream];
        last.extend(bytes);
        last.drain(..last.len().saturating_sub(LAST));
    }

    /// Whether both end with the same bytes; `end` may have received fewer.
    fn ends_like(&self, end: &Received) -> bool {
        (0..2).all(|stream| {
            let (ours, theirs) = (&self.last[stream], &end.last[stream]);
            let n = ours.len().min(theirs.len());
            self.count[stream] >= end.count[stream] && ours[ours.len() - n..] == theirs[theirs.len() - n..]
        })
    }
}

/// 1 for stderr, 0 for everything else; a terminal has only one stream.
fn stream_of(piece: &LogOutput) -> usize {
    usize::from(matches!(piece, LogOutput::StdErr { .. }))
}

/// The local end of a remote job.
pub trait Console {
    /// Output on stdout.
    fn out(&mut self, bytes: &[u8]);
    /// Output on stderr.
    fn err(&mut self, bytes: &[u8]);
    /// Input typed since the last call.
    fn typed(&mut self) -> Vec<u8>;
    /// The number of a signal received since the last call.
    fn signal(&mut self) -> Option<i32>;
    /// Columns and lines of the terminal, if there is one and they changed since the last call.
    fn resized(&mut self) -> Option<(u16, u16)>;
}

impl Docker {
    /// The properties of this engine.
    pub fn engine(&self) -> Result<Engine> {
        let found = self.block(self.client.info()).map_err(|error| self.failed("access", "the engine", &error))?;
        Ok(Engine {
            system: found.os_type.unwrap_or_else(|| "linux".into()),
            machine: match found.architecture.as_deref() {
                Some("amd64") | None => "x86_64".into(),
                Some("arm64") => "aarch64".into(),
                Some("armv7l" | "armv6l") => "arm".into(),
                Some("i386" | "i686") => "x86".into(),
                Some(other) => other.to_owned(),
            },
            now: found
                .system_time
                .and_then(|now| DateTime::parse_from_rfc3339(&now).ok())
                .map_or_else(Utc::now, |now| now.to_utc()),
            root: found.docker_root_dir.unwrap_or_else(|| "/var/lib/docker".into()).into(),
        })
    }

    /// The likely paths of this engine's socket on its own machine.
    pub fn own_sockets(&self) -> Vec<String> {
        let known = match &self.endpoint.way {
            Transport::Unix(path) => Some(path.to_string_lossy().into_owned()),
            Transport::Ssh(login) => login.socket.clone(),
            Transport::Tcp { .. } => None,
        };
        let mut sockets: Vec<String> = known.into_iter().collect();
        sockets.extend([SOCKET, "/run/podman/podman.sock"].map(str::to_owned));
        sockets.dedup();
        sockets
    }

    /// Creates the container of `job`; does not start it.
    ///
    /// # Errors
    /// [`RemoteError::CannotRun`] when the engine refuses every known way.
    pub fn create_job(&self, job: &JobSpec) -> Result<Container> {
        let mut refused = String::new();
        for socket in &job.sockets {
            // Not every engine lets a container see the host's processes: then fewer processes with an open file are named.
            for pid_mode in [Some("host"), None] {
                match self.try_job(job, socket, pid_mode) {
                    Ok(container) => return Ok(container),
                    Err(Error::Docker(DockerError::Action { why, .. })) => refused = why,
                    Err(error) => return Err(error),
                }
            }
        }
        // Every engine names the missing file in its error.
        let why = match job.sockets.last() {
            Some(last) if refused.contains(last.as_str()) => {
                let tried = job.sockets.join("`, `");
                format!("no Docker socket found at `{tried}`; set its path with `--remote-socket PATH`")
            }
            _ => format!("cannot create its container: {refused}"),
        };
        Err(Error::Remote(RemoteError::CannotRun { engine: self.address().to_owned(), why }))
    }

    fn try_job(&self, job: &JobSpec, socket: &str, pid_mode: Option<&str>) -> Result<Container> {
        let name = helper::random_name("kumadb-job")?;
        let server = &job.server;
        let words = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
        let mut security: Vec<String> = server.security_opt.clone().unwrap_or_default();
        // SELinux and AppArmor keep containers from the engine's socket and from files of other containers.
        security.retain(|option| !option.starts_with("label") && !option.starts_with("apparmor"));
        security.extend(["label=disable".to_owned(), "apparmor=unconfined".to_owned()]);
        let body = ContainerCreateBody {
            image: Some(server.image_id.clone()),
            user: Some("0".into()),
            entrypoint: Some(job.command[..1].to_vec()),
            cmd: Some(job.command[1..].to_vec()),
            working_dir: Some("/".into()),
            labels: Some(job.labels()),
            healthcheck: Some(HealthConfig { test: words(&["NONE"]), ..Default::default() }),
            stop_signal: Some("SIGTERM".into()),
            tty: Some(job.tty),
            open_stdin: Some(job.stdin),
            stdin_once: Some(job.stdin),
            host_config: Some(HostConfig {
                mounts: Some(job.mounts(socket)),
                network_mode: Some(server.network_mode.clone()).filter(|mode| !mode.is_empty()),
                extra_hosts: server.extra_hosts.clone(),
                pid_mode: pid_mode.map(str::to_owned),
                cap_add: words(&["SYS_PTRACE"]),
                // Whatever the engine's default log driver, the output must not leave the host.
                log_config: Some(HostConfigLogConfig { typ: Some("json-file".into()), config: None }),
                security_opt: Some(security),
                // Root in it is root of the host: the owners of the files do not matter.
                userns_mode: Some("host".into()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let created = self.block(self.client.create_container(Some(options), body));
        let created = created.map_err(|error| self.failed("create", &name, &error))?;
        let gone = || {
            Error::Docker(DockerError::Action {
                act: "find",
                container: name.clone(),
                why: "it was removed immediately".into(),
                forbidden: false,
            })
        };
        let container = self.block(self.inspect(&created.id))?.ok_or_else(gone)?;
        for network in server.networks.iter().filter(|network| !container.networks.contains(network)) {
            let request = NetworkConnectRequest { container: container.id.clone(), endpoint_config: None };
            let joined = self.block(self.client.connect_network(network, request));
            if let Err(error) = joined {
                let error = self.failed("connect", &container.name, &error);
                self.remove_job(&container)?;
                return Err(error);
            }
        }
        Ok(container)
    }

    /// Starts `container`, attaches `console`, and returns its exit code.
    ///
    /// # Errors
    /// [`RemoteError::ConnectionLost`] when the connection breaks: the job
    /// continues.
    pub fn run_job(&self, container: &Container, console: &mut dyn Console) -> Result<i64> {
        let failed = |act, error: &bollard::errors::Error| self.failed(act, &container.name, error);
        let lost = |why: String| {
            Error::Remote(RemoteError::ConnectionLost {
                engine: self.address().to_owned(),
                container: container.name.clone(),
                why,
            })
        };
        let attach =
            AttachContainerOptionsBuilder::default().stream(true).stdin(true).stdout(true).stderr(true).build();
        let attached = self.block(self.client.attach_container(&container.id, Some(attach)));
        let attached = attached.map_err(|error| failed("attach to", &error))?;
        let started = self.block(self.client.start_container(&container.id, None::<StartContainerOptions>));
        started.map_err(|error| failed("start", &error))?;
        let mut heard = Received::default();
        let mut broken = self.follow(
            container,
            Streams { output: attached.output, input: Some(attached.input) },
            &mut heard,
            console,
        );
        // A broken connection may work again, and the engine's log has the output of the meantime.
        for _ in 0..REUNIONS {
            let wait = self.client.wait_container(&container.id, None::<WaitContainerOptions>).into_future();
            // A non-zero code is returned as an error; the engine's record of the container has it in any case.
            let _ = self.block(async { tokio::time::timeout(SOON, wait).await });
            let again = self.again(container);
            let now = again.map_err(|error| lost(broken.err().unwrap_or_else(|| error.to_string())))?;
            if now.state.life == RunState::Stopped && self.is_all(container, &heard).map_err(lost)? {
                return Ok(now.state.exit_code);
            }
            let log = LogsOptionsBuilder::default().stdout(true).stderr(true).follow(true).build();
            let log = Box::pin(self.client.logs(&container.id, Some(log)));
            broken = self.follow(container, Streams { output: log, input: None }, &mut heard, console);
        }
        Err(lost(broken.err().unwrap_or_else(|| "it stopped responding, but has not exited".into())))
    }

    /// Forwards the output beyond what was `heard`, and input of `console`, until the connection ends.
    fn follow(
        &self,
        container: &Container,
        Streams { mut output, mut input }: Streams<'_>,
        heard: &mut Received,
        console: &mut dyn Console,
    ) -> Result<(), String> {
        let mut old = if input.is_none() { heard.count } else { [0; 2] };
        loop {
            match self.block(async { tokio::time::timeout(TICK, output.next()).await }) {
                Ok(Some(Ok(piece))) => {
                    let stream = stream_of(&piece);
                    let known = old[stream].min(piece.as_ref().len());
                    old[stream] -= known;
                    let fresh = &piece.as_ref()[known..];
                    heard.hear(stream, fresh);
                    match stream {
                        0 => console.out(fresh),
                        _ => console.err(fresh),
                    }
                }
                Ok(Some(Err(error))) => return Err(super::fault::reason(&error)),
                Ok(None) => return Ok(()),
                Err(_) => {}
            }
            let typed = console.typed();
            if let Some(input) = input.as_mut().filter(|_| !typed.is_empty()) {
                let written = self.block(async {
                    input.write_all(&typed).await?;
                    input.flush().await
                });
                written.map_err(|error| error.to_string())?;
            }
            if let Some((columns, lines)) = console.resized() {
                let size = ResizeContainerTTYOptionsBuilder::default().w(columns.into()).h(lines.into()).build();
                // A terminal of the wrong size still works.
                let _ = self.block(self.client.resize_container_tty(&container.id, size));
            }
            if let Some(signal) = console.signal() {
                let signal = KillContainerOptionsBuilder::default().signal(&signal.to_string()).build();
                match self.block(self.client.kill_container(&container.id, Some(signal))) {
                    // It has just ended.
                    Err(error) if status(&error) != Some(409) => return Err(super::fault::reason(&error)),
                    _ => {}
                }
            }
        }
    }

    /// Whether `heard` is everything in the engine's log: the last lines are compared.
    fn is_all(&self, container: &Container, heard: &Received) -> Result<bool, String> {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail("10").build();
        let mut end = Received::default();
        let mut log = Box::pin(self.client.logs(&container.id, Some(options)));
        while let Some(piece) = self.block(log.next()) {
            let piece = piece.map_err(|error| super::fault::reason(&error))?;
            end.hear(stream_of(&piece), piece.as_ref());
        }
        Ok(heard.ends_like(&end))
    }

    /// Removes the container of a remote job, running or not.
    pub fn remove_job(&self, container: &Container) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.block(self.client.remove_container(&container.id, Some(options))) {
            // Another run may have been faster.
            Err(error) if !matches!(status(&error), Some(404 | 409)) => {
                Err(self.failed("remove", &container.name, &error))
            }
            _ => Ok(()),
        }
    }

    /// The existing containers of remote jobs, in any state.
    pub fn jobs(&self) -> Result<Vec<Container>> {
        self.labelled(label::JOB)
    }

    /// Removes ended remote jobs that no process waits for. `now` is the time of the engine's clock.
    pub fn remove_old_jobs(&self, now: DateTime<Utc>) -> Result<()> {
        for job in self.jobs()?.iter().filter(|job| job.state.life == RunState::Stopped) {
            let (since, patience) = match job.state.finished_at {
                Some(ended) if job.labels.contains_key(helper::FETCHED) => (Some(ended), IN_TRANSFER),
                Some(ended) => (Some(ended), JUST_ENDED),
                None => (job.created, IN_TRANSFER),
            };
            if since.is_some_and(|since| now.signed_duration_since(since) > patience) {
                self.remove_job(job)?;
            }
        }
        Ok(())
    }

    pub(super) fn labelled(&self, label: &str) -> Result<Vec<Container>> {
        self.block(async {
            let filters = HashMap::from([("label", vec![label])]);
            let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
            let listed = super::settled(|| self.client.list_containers(Some(options.clone()))).await;
            let mut found = Vec::new();
            for one in listed.map_err(|error| self.failed("list", label, &error))? {
                found.extend(self.inspect(&one.id.unwrap_or_default()).await?);
            }
            Ok(found)
        })
    }
}

impl JobSpec {
    fn labels(&self) -> HashMap<String, String> {
        let mut labels = HashMap::from([(label::JOB.to_owned(), self.server.id.clone())]);
        labels.extend(self.fetched.then(|| (helper::FETCHED.to_owned(), String::new())));
        labels
    }

    /// Its mounts: its own volume, the engine's socket, and each required mount of the server, at the host's own path.
    fn mounts(&self, socket: &str) -> Vec<Wanted> {
        let mut mounts = vec![
            mount(MountType::VOLUME, VOLUME.0, Path::new(VOLUME.1), false),
            mount(MountType::BIND, socket, Path::new(SOCKET), false),
        ];
        let mut add = |desired: Wanted| {
            if !mounts.iter().any(|mount| mount.target == desired.target) {
                mounts.push(desired);
            }
        };
        for found in self.inside.iter().filter_map(|inside| self.server.mount_of(inside)) {
            add(of_server(found));
        }
        for folder in &self.read {
            add(mount(MountType::BIND, &folder.to_string_lossy(), folder, true));
        }
        mounts
    }

    /// Whether `path` is on one of its mounts.
    pub fn is_mounted(&self, path: &Path) -> bool {
        self.mounts(SOCKET)
            .iter()
            .filter_map(|mount| mount.target.as_ref())
            .any(|target| files::tidy(path).starts_with(target))
    }
}

/// A volume is mounted by name, not by path: only then does the engine mount it first, wherever it is.
fn of_server(found: &Mount) -> Wanted {
    match &found.kind {
        MountKind::Volume(name) => mount(MountType::VOLUME, name, &found.source, false),
        _ => mount(MountType::BIND, &found.source.to_string_lossy(), &found.source, false),
    }
}

fn mount(kind: MountType, source: &str, target: &Path, read_only: bool) -> Wanted {
    Wanted {
        typ: Some(kind),
        source: Some(source.to_owned()),
        target: Some(target.to_string_lossy().into_owned()),
        read_only: Some(read_only),
        ..Default::default()
    }
}
