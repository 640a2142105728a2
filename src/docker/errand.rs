//! An errand: a command of ours in a container of its own, made from the image of a server, with the files, the networks
//! and the engine that the server has. It goes on when we go.

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

use super::endpoint::Way;
use super::{Container, Docker, Life, Mount, MountKind, helper, status};
use crate::error::{Error, Result};
use crate::files;

/// Where the engine's own socket is inside an errand.
pub const SOCKET: &str = "/var/run/docker.sock";

/// The volume that keeps what outlives an errand, and where an errand sees it.
pub const VOLUME: (&str, &str) = ("kumadb", "/var/lib/kumadb");

/// How often typed keys and signals are looked for.
const TICK: Duration = Duration::from_millis(20);

/// How long one whose output has ended may take to end itself.
const SOON: Duration = Duration::from_secs(1);

/// How often a line may break while it is followed.
const REUNIONS: u32 = 5;

/// How much of the end of what was heard is compared with the log.
const LAST: usize = 4096;

/// How long a container that has ended is left to whoever started it, who still wants its exit code.
const JUST_ENDED: TimeDelta = TimeDelta::minutes(1);

/// The same for one that is being made, while kumadb is sent into it, and for one that files are fetched out of.
const IN_TRANSFER: TimeDelta = TimeDelta::hours(24);

/// What an engine is.
#[derive(Clone, Debug)]
pub struct Engine {
    /// `linux`, `windows`.
    pub system: String,
    /// `x86_64`, `aarch64`, as Rust calls them.
    pub machine: String,
    /// Where it keeps its things.
    pub root: PathBuf,
    /// Its clock.
    pub now: DateTime<Utc>,
}

/// What an errand is made of.
#[derive(Clone, Debug)]
pub struct Errand {
    /// The command line.
    pub command: Vec<String>,
    /// It talks to a terminal.
    pub tty: bool,
    /// Something is typed while it runs.
    pub stdin: bool,
    /// Something will be fetched out of it when it has ended.
    pub fetched: bool,
    /// The server it is about; image, networks and security options are those.
    pub server: Container,
    /// Paths of that container whose mounts it needs; it sees them where the engine's host has them.
    pub inside: Vec<PathBuf>,
    /// More folders of the host, for reading.
    pub read: Vec<PathBuf>,
    /// Sockets of the engine's host to try, the first that is there.
    pub sockets: Vec<String>,
}

/// What an errand prints, as it comes.
type Said<'a> = Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send + 'a>>;

/// How much was heard of stdout and of stderr, and the last of it.
#[derive(Default)]
struct Heard {
    count: [usize; 2],
    last: [Vec<u8>; 2],
}

impl Heard {
    fn hear(&mut self, stream: usize, bytes: &[u8]) {
        self.count[stream] += bytes.len();
        let last = &mut self.last[stream];
        last.extend(bytes);
        last.drain(..last.len().saturating_sub(LAST));
    }

    /// Whether both end in the same words; `end` may have heard less.
    fn ends_like(&self, end: &Heard) -> bool {
        (0..2).all(|stream| {
            let (ours, theirs) = (&self.last[stream], &end.last[stream]);
            let n = ours.len().min(theirs.len());
            self.count[stream] >= end.count[stream] && ours[ours.len() - n..] == theirs[theirs.len() - n..]
        })
    }
}

/// 1 for stderr, 0 for everything else; a terminal has no second.
fn stream_of(piece: &LogOutput) -> usize {
    usize::from(matches!(piece, LogOutput::StdErr { .. }))
}

/// Who sits at this end of an errand.
pub trait Console {
    /// It printed this.
    fn out(&mut self, bytes: &[u8]);
    /// It complained so.
    fn err(&mut self, bytes: &[u8]);
    /// What was typed since the last question.
    fn typed(&mut self) -> Vec<u8>;
    /// The number of a signal that came since the last question.
    fn signal(&mut self) -> Option<i32>;
    /// Columns and lines of the terminal, if there is one and they changed since the last question.
    fn resized(&mut self) -> Option<(u16, u16)>;
}

impl Docker {
    /// What this engine is.
    pub fn engine(&self) -> Result<Engine> {
        let found = self.block(self.client.info()).map_err(|error| self.failed("look at", "the engine", &error))?;
        Ok(Engine {
            system: found.os_type.unwrap_or_else(|| "linux".into()),
            machine: match found.architecture.as_deref() {
                Some("amd64") | None => "x86_64".into(),
                Some("arm64") => "aarch64".into(),
                Some(other) => other.to_owned(),
            },
            now: found
                .system_time
                .and_then(|now| DateTime::parse_from_rfc3339(&now).ok())
                .map_or_else(Utc::now, |now| now.to_utc()),
            root: found.docker_root_dir.unwrap_or_else(|| "/var/lib/docker".into()).into(),
        })
    }

    /// Where this engine's socket may be on its own machine, as far as the way to it tells.
    pub fn own_sockets(&self) -> Vec<String> {
        let known = match &self.endpoint.way {
            Way::Unix(path) => Some(path.to_string_lossy().into_owned()),
            Way::Ssh(login) => login.socket.clone(),
            Way::Tcp { .. } => None,
        };
        let mut sockets: Vec<String> = known.into_iter().collect();
        sockets.extend([SOCKET, "/run/podman/podman.sock"].map(str::to_owned));
        sockets.dedup();
        sockets
    }

    /// Makes the container of `errand`, not yet started.
    ///
    /// # Errors
    /// [`Error::Far`] when the engine refuses it in every way that we know.
    pub fn create_errand(&self, errand: &Errand) -> Result<Container> {
        let mut refused = String::new();
        for socket in &errand.sockets {
            // Not every engine lets a container see the host's processes: then fewer of those are named who hold a file.
            for pid_mode in [Some("host"), None] {
                match self.try_errand(errand, socket, pid_mode) {
                    Ok(container) => return Ok(container),
                    Err(Error::Docker { why, .. }) => refused = why,
                    Err(error) => return Err(error),
                }
            }
        }
        // Every engine names the file that it does not have.
        let why = match errand.sockets.last() {
            Some(last) if refused.contains(last.as_str()) => {
                let tried = errand.sockets.join("`, `");
                format!("the socket of its engine is not at `{tried}`; `--remote-socket PATH` says where it is")
            }
            _ => format!("its container cannot be made: {refused}"),
        };
        Err(Error::Far { engine: self.address().to_owned(), why })
    }

    fn try_errand(&self, errand: &Errand, socket: &str, pid_mode: Option<&str>) -> Result<Container> {
        let name = helper::random_name("kumadb-job")?;
        let server = &errand.server;
        let words = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
        let mut security: Vec<String> = server.security_opt.clone().unwrap_or_default();
        // The socket of the engine and the files of other containers are what SELinux and AppArmor keep containers from.
        security.retain(|option| !option.starts_with("label") && !option.starts_with("apparmor"));
        security.extend(["label=disable".to_owned(), "apparmor=unconfined".to_owned()]);
        let body = ContainerCreateBody {
            image: Some(server.image_id.clone()),
            user: Some("0".into()),
            entrypoint: Some(errand.command[..1].to_vec()),
            cmd: Some(errand.command[1..].to_vec()),
            working_dir: Some("/".into()),
            labels: Some(errand.labels()),
            healthcheck: Some(HealthConfig { test: words(&["NONE"]), ..Default::default() }),
            stop_signal: Some("SIGTERM".into()),
            tty: Some(errand.tty),
            open_stdin: Some(errand.stdin),
            stdin_once: Some(errand.stdin),
            host_config: Some(HostConfig {
                mounts: Some(errand.mounts(socket)),
                network_mode: Some(server.network_mode.clone()).filter(|mode| !mode.is_empty()),
                extra_hosts: server.extra_hosts.clone(),
                pid_mode: pid_mode.map(str::to_owned),
                cap_add: words(&["SYS_PTRACE"]),
                // Whatever the engine's default driver, what it says must not leave the host.
                log_config: Some(HostConfigLogConfig { typ: Some("json-file".into()), config: None }),
                security_opt: Some(security),
                // Root there is root of the host: the files belong to whomever they belong.
                userns_mode: Some("host".into()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let created = self.block(self.client.create_container(Some(options), body));
        let created = created.map_err(|error| self.failed("create", &name, &error))?;
        let gone = || Error::Docker { act: "find", container: name.clone(), why: "it was removed at once".into() };
        let container = self.block(self.inspect(&created.id))?.ok_or_else(gone)?;
        for network in server.networks.iter().filter(|network| !container.networks.contains(network)) {
            let request = NetworkConnectRequest { container: container.id.clone(), endpoint_config: None };
            let joined = self.block(self.client.connect_network(network, request));
            if let Err(error) = joined {
                let error = self.failed("connect", &container.name, &error);
                self.remove_errand(&container)?;
                return Err(error);
            }
        }
        Ok(container)
    }

    /// Starts `container`, lets `console` follow it, and returns its exit code.
    ///
    /// # Errors
    /// [`Error::LostErrand`] when the connection breaks: the errand goes on.
    pub fn run_errand(&self, container: &Container, console: &mut dyn Console) -> Result<i64> {
        let failed = |act, error: &bollard::errors::Error| self.failed(act, &container.name, error);
        let lost = |why: String| Error::LostErrand {
            engine: self.address().to_owned(),
            container: container.name.clone(),
            why,
        };
        let attach =
            AttachContainerOptionsBuilder::default().stream(true).stdin(true).stdout(true).stderr(true).build();
        let attached = self.block(self.client.attach_container(&container.id, Some(attach)));
        let attached = attached.map_err(|error| failed("attach to", &error))?;
        let started = self.block(self.client.start_container(&container.id, None::<StartContainerOptions>));
        started.map_err(|error| failed("start", &error))?;
        let mut heard = Heard::default();
        let mut broken = self.follow(container, attached.output, Some(attached.input), &mut heard, console);
        // A line that broke may be there again, and the engine's log has what was said meanwhile.
        for _ in 0..REUNIONS {
            let wait = self.client.wait_container(&container.id, None::<WaitContainerOptions>).into_future();
            // A code that is not 0 comes as an error; what the engine notes of the container says it in any case.
            let _ = self.block(async { tokio::time::timeout(SOON, wait).await });
            let again = self.again(container);
            let now = again.map_err(|error| lost(broken.err().unwrap_or_else(|| error.to_string())))?;
            if now.state.life == Life::Stopped && self.is_all(container, &heard).map_err(lost)? {
                return Ok(now.state.exit_code);
            }
            let log = LogsOptionsBuilder::default().stdout(true).stderr(true).follow(true).build();
            let log = Box::pin(self.client.logs(&container.id, Some(log)));
            broken = self.follow(container, log, None, &mut heard, console);
        }
        Err(lost(broken.err().unwrap_or_else(|| "it says nothing more, and has not ended".into())))
    }

    /// Passes on what comes of `output` beyond what was `heard`, and what `console` has to say, until the line ends.
    fn follow(
        &self,
        container: &Container,
        mut output: Said<'_>,
        mut input: Option<Pin<Box<dyn AsyncWrite + Send>>>,
        heard: &mut Heard,
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
                // A terminal of the wrong size is none the less one.
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

    /// Whether `heard` is all that the engine's log has: its last lines are compared.
    fn is_all(&self, container: &Container, heard: &Heard) -> Result<bool, String> {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail("10").build();
        let mut end = Heard::default();
        let mut log = Box::pin(self.client.logs(&container.id, Some(options)));
        while let Some(piece) = self.block(log.next()) {
            let piece = piece.map_err(|error| super::fault::reason(&error))?;
            end.hear(stream_of(&piece), piece.as_ref());
        }
        Ok(heard.ends_like(&end))
    }

    /// Removes the container of an errand, running or not.
    pub fn remove_errand(&self, container: &Container) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.block(self.client.remove_container(&container.id, Some(options))) {
            // Another run may have been quicker.
            Err(error) if !matches!(status(&error), Some(404 | 409)) => {
                Err(self.failed("remove", &container.name, &error))
            }
            _ => Ok(()),
        }
    }

    /// The containers of errands that are there, in whatever state.
    pub fn errands(&self) -> Result<Vec<Container>> {
        self.labelled(helper::ERRAND)
    }

    /// Removes what is left of errands that have ended without anybody hearing of it. It is `now` by the engine's clock.
    pub fn clear_errands(&self, now: DateTime<Utc>) -> Result<()> {
        for errand in self.errands()?.iter().filter(|errand| errand.state.life == Life::Stopped) {
            let (since, patience) = match errand.state.finished_at {
                Some(ended) if errand.labels.contains_key(helper::FETCHED) => (Some(ended), IN_TRANSFER),
                Some(ended) => (Some(ended), JUST_ENDED),
                None => (errand.created, IN_TRANSFER),
            };
            if since.is_some_and(|since| now.signed_duration_since(since) > patience) {
                self.remove_errand(errand)?;
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

impl Errand {
    fn labels(&self) -> HashMap<String, String> {
        let mut labels = HashMap::from([(helper::ERRAND.to_owned(), self.server.id.clone())]);
        labels.extend(self.fetched.then(|| (helper::FETCHED.to_owned(), String::new())));
        labels
    }

    /// What it sees: its own volume, the engine, and each mount of the server that is needed, at the host's own path.
    fn mounts(&self, socket: &str) -> Vec<Wanted> {
        let mut mounts = vec![
            mount(MountType::VOLUME, VOLUME.0, Path::new(VOLUME.1), false),
            mount(MountType::BIND, socket, Path::new(SOCKET), false),
        ];
        let mut add = |wanted: Wanted| {
            if !mounts.iter().any(|mount| mount.target == wanted.target) {
                mounts.push(wanted);
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

    /// Whether `path` lies on one of its mounts.
    pub fn is_mounted(&self, path: &Path) -> bool {
        self.mounts(SOCKET)
            .iter()
            .filter_map(|mount| mount.target.as_ref())
            .any(|target| files::tidy(path).starts_with(target))
    }
}

/// A volume is named and not bound by its path: only so does the engine mount it first, wherever it really is.
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
