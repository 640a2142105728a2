//! Targets: what users write to select an instance, and how it is found.

use std::collections::BTreeMap;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::config::{self, DbConfig};
use super::{DbLocation, Instance, Location, RemoteData, Server};
use crate::docker::{Container, Docker, NO_SOCKET, RunState};
use crate::engine::mariadb::{Address, Tls};
use crate::engine::sqlite::SqliteFile;
use crate::error::{DockerError, Error, Hint, Result, TargetError};
use crate::files;

/// The socket of the embedded MariaDB inside the container.
const SOCKET: &str = "/app/data/run/mariadb.sock";

/// How long an external database may take to respond before it is tried in the container's network only.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where instances are searched.
pub struct Locator {
    /// The Docker engine, or why it cannot be reached.
    pub docker: Result<Arc<Docker>>,
    /// The current folder.
    pub here: PathBuf,
    /// The folder of journals of instances without an accessible data folder.
    pub state: PathBuf,
    /// Whether this process runs on the host of the containers, with their users and in their network, as a remote job
    /// does.
    pub on_host: bool,
}

impl Locator {
    /// Finds instances in folders and databases only, without a Docker engine: containers that use them are not seen. The
    /// journals of databases without a data folder are in `.kumadb` in the current folder.
    pub fn without_docker() -> Locator {
        let docker = Err(Error::Docker(DockerError::Unreachable {
            address: "none".into(),
            why: NO_SOCKET.into(),
            hint: Hint::advice("use a Locator with a Docker engine"),
        }));
        Locator { docker, here: PathBuf::from("."), state: PathBuf::from(".kumadb"), on_host: false }
    }

    /// Where the instance selected by `target` is; without one, the only instance found.
    pub fn find(&self, target: Option<&str>) -> Result<Location> {
        let Some(target) = target else { return self.only() };
        if target.starts_with("mysql://") || target.starts_with("mariadb://") {
            let address = Address::parse(target)?;
            let name = format!("{}-{}", address.host, address.database);
            let place = DbLocation::External(address);
            return Ok(Location::Local(Instance::new(name, None, None, place, &self.state)));
        }
        let path = Path::new(target);
        if files::about_target(path).is_ok() {
            return self.at(path);
        }
        match &self.docker {
            Ok(docker) => match docker.container(target)? {
                Some(container) => self.of(docker, container),
                None => Err(no_such(target)),
            },
            Err(Error::Docker(DockerError::Unreachable { address, why, hint })) if !target.contains('/') => {
                let why = format!("{why}; there is also no folder `{target}`");
                Err(Error::Docker(DockerError::Unreachable { address: address.clone(), why, hint: hint.clone() }))
            }
            Err(_) => Err(no_such(target)),
        }
    }

    /// Every instance found: the containers, and the current folder. One that cannot be used is listed with the reason.
    pub fn all(&self) -> Result<Vec<(String, Result<Location>)>> {
        let mut found = Vec::new();
        if let Ok(docker) = &self.docker {
            for container in docker.containers()? {
                found.push((container.name.clone(), self.of(docker, container)));
            }
        }
        let used = |folder: &Path| {
            found.iter().any(|(_, location): &(String, Result<Location>)| {
                matches!(location, Ok(Location::Local(instance)) if instance.folder.as_deref() == Some(folder))
            })
        };
        for folder in [self.here.clone(), self.here.join("data")] {
            if holds_data(&folder) && !used(&files::real(&folder)) {
                let instance = self.at(&folder);
                found.push((folder.display().to_string(), instance));
                break;
            }
        }
        Ok(found)
    }

    fn only(&self) -> Result<Location> {
        let mut all = self.all()?;
        match all.len() {
            0 => match &self.docker {
                Err(Error::Docker(DockerError::Unreachable { address, why, hint })) if why != NO_SOCKET => {
                    Err(Error::Docker(DockerError::Unreachable {
                        address: address.clone(),
                        why: why.clone(),
                        hint: hint.clone(),
                    }))
                }
                _ => Err(Error::Target(TargetError::NoneFound)),
            },
            1 => all.remove(0).1,
            _ => Err(Error::Target(TargetError::SeveralFound(all.into_iter().map(|(name, _)| name).collect()))),
        }
    }

    /// The instance on the folder (or of the `kuma.db`) at `path`, with the container that uses it.
    pub(super) fn at(&self, path: &Path) -> Result<Location> {
        let (folder, file) = if files::is_folder(path) {
            (files::real(path), None)
        } else {
            let file = SqliteFile::new(path);
            (file.path().parent().map(Path::to_owned).unwrap_or_default(), Some(file))
        };
        // A file other than an instance's database, a copy beside it for instance, is an instance of its own.
        if let Some(file) = file.as_ref().filter(|file| file.path() != folder.join("kuma.db")) {
            let name = file.path().file_name().map_or("kuma.db".into(), |name| name.to_string_lossy().into_owned());
            let place = DbLocation::Sqlite(file.clone());
            return Ok(Location::Local(Instance::new(name, None, None, place, &self.state)));
        }
        if let Ok(docker) = &self.docker {
            let mut using = docker.containers_on(&folder)?;
            using.retain(|neighbour| neighbour.server);
            let running = using.iter().filter(|neighbour| neighbour.life != RunState::Stopped).count();
            if running > 1 {
                let containers = using.into_iter().map(|neighbour| neighbour.name).collect();
                return Err(Error::Target(TargetError::TwoContainers {
                    folder: folder.display().to_string(),
                    containers,
                }));
            }
            using.sort_by_key(|neighbour| neighbour.life == RunState::Stopped);
            if let Some(neighbour) = using.first()
                && let Some(container) = docker.container(&neighbour.id)?
            {
                return self.of(docker, container);
            }
        }
        let name = folder.file_name().map_or("data".into(), |name| name.to_string_lossy().into_owned());
        let place = match file {
            Some(file) => DbLocation::Sqlite(file),
            None => place(&folder, None)?,
        };
        Ok(Location::Local(Instance::new(name, Some(folder), None, place, &self.state)))
    }

    pub(super) fn of(&self, docker: &Arc<Docker>, container: Container) -> Result<Location> {
        let data = container.data()?;
        let folder = files::real(&data.path);
        let remote = |container: Container| {
            let (docker, folder) = (docker.clone(), data.path.clone());
            Ok(Location::Remote(RemoteData { docker, container: Arc::new(container), folder }))
        };
        if !docker.shares(&container, &data.inside, &folder) {
            return remote(container);
        }
        if let Err(error) = files::check_readable(&folder) {
            // A user of the engine may also access the files through it, as the `docker` group does.
            if error.kind() == std::io::ErrorKind::PermissionDenied && !self.on_host {
                return remote(container);
            }
            return Err(Error::Target(TargetError::NoDataFolder {
                container: container.name,
                why: format!("`{}`: {error}", folder.display()),
            }));
        }
        let place = place(&folder, Some(&container))?;
        if !self.on_host && (is_out_of_reach(&place) || has_other_users(docker, &folder, &place)?) {
            return remote(container);
        }
        let name = container.name.clone();
        let server = Server::new(docker.clone(), container);
        Ok(Location::Local(Instance::new(name, Some(folder), Some(server), place, &self.state)))
    }
}

/// Whether `folder` belongs to users that this process cannot act as: those of a rootless engine, which exist only in
/// its containers. MariaDB's `node` is always one of them.
fn has_other_users(docker: &Docker, folder: &Path, place: &DbLocation) -> Result<bool> {
    let owner = |path: &Path| files::about_target(path).map(|found| found.uid);
    let us = rustix::process::geteuid();
    let others = matches!(place, DbLocation::Embedded(_))
        || !us.is_root() && owner(folder).is_ok_and(|owner| owner != us.as_raw());
    Ok(others && owner(&docker.engine()?.root).is_ok_and(|owner| owner != 0))
}

/// Whether nothing responds at the address of the server's MariaDB, which may exist in the container's network only.
fn is_out_of_reach(place: &DbLocation) -> bool {
    let DbLocation::External(address) = place else { return false };
    match &address.socket {
        Some(socket) => files::about_target(socket).is_err(),
        None => !(address.host.as_str(), address.port)
            .to_socket_addrs()
            .is_ok_and(|mut places| places.any(|place| TcpStream::connect_timeout(&place, PATIENCE).is_ok())),
    }
}

/// Fails where the `db-config.json` of `folder` must not name the socket of `address`: kumadb would not follow it.
///
/// # Errors
/// [`TargetError::Socket`].
pub fn check_socket(folder: &Path, address: &Address) -> Result<()> {
    let socket = address.socket.clone();
    socket.map_or(Ok(()), |socket| find_socket(folder, None, socket, &address.database).map(drop))
}

/// Where nothing responds at `place` from here, but the container of `instance` may reach it in its own network: the data of
/// that container, whose host is to be used.
pub fn reached_by_container(instance: &Instance, place: &DbLocation) -> Option<RemoteData> {
    match (&instance.container, &instance.folder) {
        (Some(server), Some(folder)) if is_out_of_reach(place) => Some(server.remote_data(folder)),
        _ => None,
    }
}

/// The folder and the path of a socket that `container` sees at `inside`, on this machine.
fn socket_in(container: Option<&Container>, inside: &Path) -> Option<(PathBuf, PathBuf)> {
    let (mounted, rest) = container?.host_place(inside)?;
    let mounted = files::real(&mounted);
    let socket = mounted.join(rest);
    Some((mounted, socket))
}

/// Where the socket of an external MariaDB is that the configuration of the data folder `folder` names: in that folder or
/// another one of its container. A MariaDB lets a user of its machine in without a password, and the owner of the data
/// folder is another user than root.
///
/// # Errors
/// [`TargetError::Socket`]: it is anywhere else.
fn find_socket(
    folder: &Path,
    container: Option<&Container>,
    socket: PathBuf,
    database: &str,
) -> Result<(Option<PathBuf>, PathBuf)> {
    if let Some((mounted, socket)) = socket_in(container, &socket) {
        return Ok((Some(mounted), socket));
    }
    if container.is_none() {
        // The data folder is a real path, and the configuration may name it by another one.
        let inside = socket.parent().zip(socket.file_name()).map(|(parent, name)| files::real(parent).join(name));
        if let Some(inside) = inside.filter(|inside| inside.starts_with(folder)) {
            return Ok((Some(folder.to_owned()), inside));
        }
        let us = files::our_uid();
        // A user who may change the configuration is let in there too.
        if us != 0 && files::about_target(folder).is_ok_and(|found| found.uid == us) {
            return Ok((None, socket));
        }
    }
    let (config, database) = (folder.join(config::FILE), database.to_owned());
    Err(TargetError::Socket { config, socket, database }.into())
}

/// The embedded MariaDB of the data folder `folder`.
pub fn embedded_place(folder: &Path, container: Option<&Container>) -> DbLocation {
    // The server expects its own MariaDB at this path, wherever its data folder is (read in 2.0.2 and 2.5.3).
    let (mounted, socket) =
        socket_in(container, Path::new(SOCKET)).unwrap_or_else(|| (folder.to_owned(), folder.join("run/mariadb.sock")));
    // The embedded server has users of the operating system only, each authenticated by the socket.
    let address = Address::on_socket(socket, Address::embedded_user(), "kuma");
    DbLocation::Embedded(Address { beneath: Some(mounted), ..address })
}

fn place(folder: &Path, container: Option<&Container>) -> Result<DbLocation> {
    let none = BTreeMap::new();
    Ok(match config::read_config(folder, container.map_or(&none, |container| &container.env))? {
        DbConfig::Sqlite => {
            // A file that does not exist is found to be so where it is read: a snapshot can still be restored to its place.
            DbLocation::Sqlite(SqliteFile::new(folder.join("kuma.db")))
        }
        DbConfig::Embedded => embedded_place(folder, container),
        DbConfig::External(external) => DbLocation::External({
            let named = external.socket_path.filter(|path| !path.as_os_str().is_empty());
            let found = named.map(|path| find_socket(folder, container, path, &external.db_name)).transpose()?;
            let (beneath, socket) = found.unzip();
            Address {
                socket,
                beneath: beneath.flatten(),
                host: external.hostname,
                port: external.port,
                user: external.username,
                password: external.password,
                database: external.db_name,
                tls: if external.ssl {
                    Tls::On { verify: true, ca: external.ca.filter(|ca| !ca.trim().is_empty()) }
                } else {
                    Tls::Off
                },
                ..Address::default()
            }
        }),
    })
}

/// A mistyped address may contain a password.
fn no_such(target: &str) -> Error {
    let shown = target.rsplit_once('@').map_or(target, |(_, place)| place);
    Error::Target(TargetError::NotFound(shown.to_owned()))
}

pub(super) fn holds_data(folder: &Path) -> bool {
    ["kuma.db", config::FILE].iter().any(|name| files::exists(&folder.join(name)))
}
