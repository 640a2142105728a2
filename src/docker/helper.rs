//! Helper containers: the embedded MariaDB of a stopped server, run from the server's own image on its files, without the
//! server and without a network. Or of a new server, on a new folder.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptions};

use super::label::LABEL;
use super::{Container, Docker, Image, RunState, status};
use crate::error::{DockerError, Error, FileError, Result};
use crate::files;
use crate::wait::Deadline;

/// The label of remote jobs whose files are downloaded after they have ended.
pub(super) const FETCHED: &str = "kumadb.remote-job.fetched";

/// How long MariaDB may take to accept connections: after a crash it repairs itself first.
const DEADLINE: Duration = Duration::from_secs(180);

/// How long MariaDB may take to write everything and end.
const GRACE: Duration = Duration::from_secs(120);

const PAUSE: Duration = Duration::from_millis(50);

/// What the server does before it starts MariaDB (read in 2.0.2 and 2.5.3): creates the folder for the socket, owned by
/// `node`.
/// A socket left by a killed server would look ready, so it is removed.
const PREPARE: &str = "run=/app/data/run
[ -d $run ] || { mkdir $run && chmod 755 $run && { [ \"$(id -u)\" != 0 ] || chown 1000:1000 $run; }; } || exit
rm -f $run/mariadb.sock $run/mysqld.pid
exec \"$@\"";

/// Ends unless the mounted folder is the one with this device and inode. The engine follows links in the path of what it
/// mounts, as root, and that path may lead through a folder of an attacker: nothing is changed in any other folder.
fn check_mounted((device, inode): (u64, u64)) -> String {
    format!(
        "[ \"$(stat -c %d:%i /app/data)\" = {device}:{inode} ] || {{ echo 'another folder was mounted' >&2; exit 1; }}\n"
    )
}

/// Creates the files of a new MariaDB, as the server does at its first start (read in 2.0.2 and 2.5.3), and continues
/// with [`PREPARE`]. Without a network its own name cannot be resolved, which `--force` permits: the accounts are
/// local.
const INSTALL: &str = "data=/app/data/mariadb
mkdir -p $data && chmod 755 $data && { [ \"$(id -u)\" != 0 ] || chown 1000:1000 $data; } || exit
mariadb-install-db --force --user=node --auth-root-socket-user=node --auth-root-authentication-method=socket \
    --skip-test-db --datadir=$data >/tmp/install.log 2>&1 || { cat /tmp/install.log >&2; exit 1; }
";

/// The server's command line, but without a port.
const MARIADBD: [&str; 6] = [
    "mariadbd",
    "--user=node",
    "--datadir=/app/data/mariadb",
    "--socket=/app/data/run/mariadb.sock",
    "--pid-file=/app/data/run/mysqld.pid",
    "--skip-networking",
];

/// Asks for about a second whether it accepts connections, which is cheaper than as many requests from outside. Access denied
/// is a response too, and the exit code is 0.
const PING: &str = "left=10
until mariadb-admin --no-defaults --socket=/app/data/run/mariadb.sock ping; do
  left=$((left - 1)); [ $left -gt 0 ] || exit 1
  sleep 0.1
done";

/// The data of a helper: what it does with them first, and their location.
struct Data {
    script: String,
    volumes_from: Option<Vec<String>>,
    binds: Option<Vec<String>>,
}

/// A running helper container. If it is dropped without [`stop`](Helper::stop), it is stopped and removed as well as
/// possible.
pub struct Helper<'a> {
    docker: &'a Docker,
    container: Container,
    gone: bool,
}

/// A helper container that an earlier run left.
#[derive(Clone, Debug)]
pub struct StaleHelper {
    /// Its name.
    pub name: String,
    /// The label given to [`Helper::start`].
    pub label: String,
    /// The container itself.
    pub container: Container,
}

impl<'a> Helper<'a> {
    /// Starts the embedded MariaDB of `server`, which must be stopped, and waits until it accepts connections: on
    /// `/app/data/run/mariadb.sock`, at the path on the host given by [`Container::host_place`]. `ready` returns
    /// whether it does; without it MariaDB is pinged inside the helper. `label` is set on the container for
    /// [`Docker::stale_helpers`].
    ///
    /// # Errors
    /// [`DockerError::Helper`](crate::error::DockerError::Helper) when the server runs or MariaDB does not come up
    /// (with its last error lines); [`TargetError::NoDataFolder`](crate::error::TargetError::NoDataFolder)
    /// when the data is on no volume. Nothing is left behind.
    pub fn start(
        docker: &'a Docker,
        server: &Container,
        label: &str,
        mut ready: Option<&mut dyn FnMut() -> bool>,
    ) -> Result<Helper<'a>> {
        let failed = |why: String, log| Error::Docker(DockerError::Helper { container: server.name.clone(), why, log });
        let now = docker.again(server)?;
        if now.state.life != RunState::Stopped {
            return Err(failed("the server and its own MariaDB are running".into(), Vec::new()));
        }
        now.data()?;
        let data = Data { script: PREPARE.to_owned(), volumes_from: Some(vec![now.id.clone()]), binds: None };
        let container = docker.create_helper(&Image::of(&now), data, label, &server.name)?;
        Helper { docker, container, gone: false }.up(&server.name, &mut ready)
    }

    /// Creates a new embedded MariaDB with the programs of `image`, in the local folder `data`, which becomes its
    /// `/app/data`,
    /// and opens it like [`start`](Self::start).
    ///
    /// # Errors
    /// [`DockerError::Helper`](crate::error::DockerError::Helper) when it cannot be created or does not come up. The
    /// files created so far stay in the folder.
    pub fn install(
        docker: &'a Docker,
        image: &Image,
        data: &Path,
        label: &str,
        ready: &mut dyn FnMut() -> bool,
    ) -> Result<Helper<'a>> {
        let binds = Some(vec![format!("{}:/app/data", data.display())]);
        let mounted = check_mounted(files::folder_identity(data)?);
        let data = Data { script: format!("{mounted}{INSTALL}{PREPARE}"), volumes_from: None, binds };
        let container = docker.create_helper(image, data, label, &image.name)?;
        Helper { docker, container, gone: false }.up(&image.name, &mut Some(ready))
    }

    /// Starts its container, and waits until MariaDB accepts connections.
    fn up(mut self, of: &str, ready: &mut Option<&mut dyn FnMut() -> bool>) -> Result<Helper<'a>> {
        let failed = |why: String, log| Error::Docker(DockerError::Helper { container: of.to_owned(), why, log });
        self.docker.start(&self.container).map_err(|error| failed(error.to_string(), Vec::new()))?;
        let deadline = Deadline::after(DEADLINE, PAUSE);
        loop {
            let open = match ready {
                Some(ready) => ready(),
                None => self.ping(),
            };
            if open {
                return Ok(self);
            }
            self.container = self.docker.again(&self.container)?;
            let why = match self.container.state.life {
                RunState::Running if deadline.wait() => continue,
                RunState::Running => format!("MariaDB accepts no connection after {} s", DEADLINE.as_secs()),
                _ => format!("MariaDB exited with code {}", self.container.state.exit_code),
            };
            let log = self.docker.last_errors(&self.container, None);
            return Err(failed(why, log));
        }
    }

    /// The helper's container.
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// Whether MariaDB accepts connections on its socket, checked inside the helper.
    pub fn ping(&self) -> bool {
        self.docker.answers(&self.container)
    }

    /// Stops MariaDB cleanly, removes the container, and verifies that it is gone. Only then may the server start
    /// again.
    ///
    /// # Errors
    /// [`DockerError::StopTimeout`](crate::error::DockerError::StopTimeout) when it has not ended after 120 s: it keeps
    /// running, to be found by [`Docker::stale_helpers`].
    pub fn stop(mut self) -> Result<()> {
        // Whatever happens, dropping must not kill a MariaDB that does not end.
        self.gone = true;
        self.docker.dismiss(&self.container)
    }
}

impl Drop for Helper<'_> {
    fn drop(&mut self) {
        if !self.gone {
            let _ = self.docker.dismiss(&self.container);
        }
    }
}

impl Docker {
    /// Existing helper containers, running or not: those of an interrupted run.
    pub fn stale_helpers(&self) -> Result<Vec<StaleHelper>> {
        let stale = self.labelled(LABEL)?.into_iter().map(|container| {
            let label = container.labels.get(LABEL).cloned().unwrap_or_default();
            StaleHelper { name: container.name.clone(), label, container }
        });
        Ok(stale.collect())
    }

    /// Stops and removes such a helper, like [`Helper::stop`]; one that is still starting comes up first.
    pub fn remove_helper(&self, stale: &StaleHelper) -> Result<()> {
        // A MariaDB that is stopped during its start can wait forever for a thread of its own that has ended (10.11.19).
        let starts = |now: Container| now.state.life == RunState::Running && !self.answers(&now);
        let deadline = Deadline::after(DEADLINE, PAUSE);
        while self.block(self.inspect(&stale.container.id))?.is_some_and(starts) && deadline.wait() {}
        self.dismiss(&stale.container)
    }

    /// Whether the MariaDB of a helper accepts connections on its socket.
    fn answers(&self, helper: &Container) -> bool {
        self.exec(helper, &["sh", "-c", PING], b"", Duration::from_secs(10)).is_ok_and(|output| output.code == 0)
    }

    fn create_helper(&self, image: &Image, data: Data, label: &str, of: &str) -> Result<Container> {
        let failed =
            |why: String| Error::Docker(DockerError::Helper { container: of.to_owned(), why, log: Vec::new() });
        let name = random_name("kumadb-helper")?;
        let words = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
        let body = ContainerCreateBody {
            image: Some(image.id.clone()),
            user: Some(image.user.clone()),
            entrypoint: words(&["sh", "-c", &data.script, "sh"]),
            cmd: words(&MARIADBD),
            labels: Some(HashMap::from([(LABEL.to_owned(), label.to_owned())])),
            network_disabled: Some(true),
            healthcheck: Some(HealthConfig { test: words(&["NONE"]), ..Default::default() }),
            stop_signal: Some("SIGTERM".into()),
            host_config: Some(HostConfig {
                volumes_from: data.volumes_from,
                binds: data.binds,
                network_mode: Some("none".into()),
                // Whatever the engine's default log driver, this log must be readable.
                log_config: Some(HostConfigLogConfig { typ: Some("json-file".into()), config: None }),
                security_opt: image.security_opt.clone(),
                userns_mode: image.userns_mode.clone(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let created = self.block(self.client.create_container(Some(options), body));
        let created = created.map_err(|error| match self.failed("create", &name, &error) {
            Error::Docker(DockerError::Action { why, .. }) => failed(why),
            other => other,
        })?;
        let container = self.block(self.inspect(&created.id))?;
        container.ok_or_else(|| failed("it was removed immediately".into()))
    }

    /// Ends a helper without killing it, removes it, and verifies that it is gone.
    fn dismiss(&self, helper: &Container) -> Result<()> {
        let Some(now) = self.block(self.inspect(&helper.id))? else { return Ok(()) };
        if now.state.life != RunState::Stopped {
            self.end(&now, GRACE, &mut |_| Ok(()))?;
        }
        // Without its volumes: they belong to the server.
        match self.block(self.client.remove_container(&now.id, None::<RemoveContainerOptions>)) {
            Err(error) if status(&error) != Some(404) => return Err(self.failed("remove", &now.name, &error)),
            _ => {}
        }
        match self.block(self.inspect(&now.id))? {
            None => Ok(()),
            Some(_) => Err(Error::Docker(DockerError::Action {
                act: "remove",
                container: now.name,
                why: "it still exists".into(),
                forbidden: false,
            })),
        }
    }
}

/// `prefix-0123abcd`: an unused name.
pub(super) fn random_name(prefix: &str) -> Result<String> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|error| Error::File(FileError::Random { why: error.to_string() }))?;
    Ok(format!("{prefix}-{:08x}", u32::from_be_bytes(bytes)))
}
