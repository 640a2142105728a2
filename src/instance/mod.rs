//! One server with its data folder, its engine and its container, and how each of them is reached.

pub(crate) mod config;
pub(crate) mod find;
pub(crate) mod location;
pub(crate) mod server;
pub(crate) mod target;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::cancel::{Cancel, Hold};
use crate::docker::{Helper, RunState};
use crate::engine::mariadb::Address;
use crate::engine::sqlite::SqliteFile;
use crate::engine::{Connect, EngineKind, Reader};
use crate::error::{DockerError, Error, FileError, OperationError, Result, TargetError};
use crate::files::{self, FileSystem, Lock};
use crate::text::one_line;
use crate::wait::Deadline;

pub use location::{Location, RemoteData};
pub use server::Server;
pub use target::Locator;

/// kumadb's own folder inside the data folder: lock, journal, and the staged copy of a write. It is on the same file system as
/// the database, so that the copy may share its blocks.
const WORK: &str = files::WORK;

/// The folder in it with pending snapshots: they outlive the operation.
pub const KEPT: &str = "kept";

/// Prefix of a pending snapshot that could not be moved into that folder.
pub const SET_ASIDE: &str = "kept-";

/// The file in it that notes where the newest undo snapshot is.
pub const LAST_UNDO: &str = "last-undo.json";

/// How long to wait for other readers of a database before a write; another kumadb takes less than a second.
const READERS: Duration = Duration::from_secs(3);

/// Polling interval of processes and connections that are ending.
const LOOK: Duration = Duration::from_millis(50);

/// Wraps a connection in another one: for tests that make it fail, count and slow down.
pub type Wrap = Arc<dyn Fn(Box<dyn Connect>) -> Box<dyn Connect> + Send + Sync>;

/// One server and everything that belongs to it.
pub struct Instance {
    /// Its name: in the config file, else of the container, or of the folder.
    pub name: String,
    /// The data folder, where this machine can access it.
    pub folder: Option<PathBuf>,
    /// The container, where there is one.
    pub container: Option<Server>,
    /// The location of its database.
    pub place: DbLocation,
    /// For tests: a wrapper of every connection to the database.
    pub wrap: Option<Wrap>,
    work: PathBuf,
}

/// The location of a database.
#[derive(Clone, Debug)]
pub enum DbLocation {
    /// A file.
    Sqlite(SqliteFile),
    /// The MariaDB inside the container, over the socket in the data folder.
    Embedded(Address),
    /// An external MariaDB.
    External(Address),
}

impl Instance {
    /// An instance; its journal is in `folder`, or under `state` where there is none.
    pub fn new(
        name: String,
        folder: Option<PathBuf>,
        container: Option<Server>,
        place: DbLocation,
        state: &Path,
    ) -> Instance {
        let work = work_of(&name, &origin(folder.as_deref(), &place), state);
        // A folder can have any name, and the name is a part of messages.
        let name = one_line(&name).into_owned();
        Instance { name, folder, container, place, wrap: None, work }
    }

    /// The same instance under its name in the config file. Its lock and journal stay where they are.
    pub fn called(self, name: impl Into<String>) -> Instance {
        Instance { name: name.into(), ..self }
    }

    /// What ends work on its database early.
    pub(crate) fn cancel(&self) -> Cancel {
        match &self.place {
            DbLocation::Sqlite(file) => file.cancel(),
            DbLocation::Embedded(address) | DbLocation::External(address) => address.cancel.clone(),
        }
    }

    /// The same instance; `cancel` ends work on its database early.
    pub fn cancelled_by(self, cancel: &Cancel) -> Instance {
        let place = match self.place {
            DbLocation::Sqlite(file) => DbLocation::Sqlite(file.cancelled_by(cancel.clone())),
            DbLocation::Embedded(address) => DbLocation::Embedded(Address { cancel: cancel.clone(), ..address }),
            DbLocation::External(address) => DbLocation::External(Address { cancel: cancel.clone(), ..address }),
        };
        Instance { place, ..self }
    }

    /// The same instance with its database at `place`. Its lock and journal stay where they are.
    pub fn moved_to(&self, place: DbLocation) -> Instance {
        Instance {
            name: self.name.clone(),
            folder: self.folder.clone(),
            container: self.container.as_ref().map(Server::again),
            place,
            wrap: self.wrap.clone(),
            work: self.work.clone(),
        }
    }

    /// The engine of its database.
    pub fn engine(&self) -> EngineKind {
        match self.place {
            DbLocation::Sqlite(_) => EngineKind::Sqlite,
            _ => EngineKind::MariaDb,
        }
    }

    /// The address of its MariaDB, if it has one.
    pub fn address(&self) -> Option<&Address> {
        match &self.place {
            DbLocation::Sqlite(_) => None,
            DbLocation::Embedded(address) | DbLocation::External(address) => Some(address),
        }
    }

    /// The kind of its database: `SQLite`, `MariaDB (embedded)`, `MariaDB (external)`.
    pub fn engine_words(&self) -> &'static str {
        match self.place {
            DbLocation::Sqlite(_) => "SQLite",
            DbLocation::Embedded(_) => "MariaDB (embedded)",
            DbLocation::External(_) => "MariaDB (external)",
        }
    }

    /// Its location: its data folder, or the address of its database.
    pub fn origin(&self) -> String {
        origin(self.folder.as_deref(), &self.place)
    }

    /// The folder of its lock, journal and staged copy.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Takes the lock of this instance for `verb`.
    pub fn lock(&self, verb: &str) -> Result<Lock> {
        files::claim_folder(&self.work)?;
        if let Some(folder) = &self.folder {
            files::check_writable(folder)?;
            files::check_own(&self.work)?;
        }
        if let DbLocation::Sqlite(file) = &self.place {
            file.parts().iter().try_for_each(|part| files::check_only_name(part))?;
            if files::exists(file.path()) {
                files::check_file_writable(file.path())?;
            }
        }
        Lock::take(&self.work.join("lock"), &format!("`{verb}`, pid {}", std::process::id()))
    }

    /// What is wrong with its `db-config.json`: with an invalid one, the server opens a different database at its next start
    /// than the user intends, or none.
    ///
    /// # Errors
    /// [`FileError`] when it cannot be read.
    pub fn config_problem(&self) -> Result<Option<String>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        match &self.container {
            Some(server) => config::find_problem(folder, &server.container().env),
            None => config::find_problem(folder, &BTreeMap::new()),
        }
    }

    /// Fails when its `db-config.json` is invalid: the database is not known for certain.
    ///
    /// # Errors
    /// [`TargetError::DbConfig`].
    pub fn check_config(&self) -> Result<()> {
        match (self.config_problem()?, &self.folder) {
            (Some(why), Some(folder)) => Err(TargetError::DbConfig { path: folder.join(config::FILE), why }.into()),
            _ => Ok(()),
        }
    }

    /// The file system of its data folder, where that is a network file system.
    pub fn network(&self) -> Result<Option<FileSystem>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        Ok(Some(files::file_system(folder)?).filter(FileSystem::is_network))
    }

    /// Removes the files of a run in [`work`](Self::work), all but the lock, the journal, the pending snapshots, and folders
    /// where a snapshot is being unpacked.
    pub fn clear_work(&self, _lock: &Lock) -> Result<()> {
        let stays =
            |name: &str| ["lock", "journal.json", KEPT, LAST_UNDO].contains(&name) || name.starts_with(SET_ASIDE);
        let entries = files::entries(&self.work)?.into_iter();
        entries
            .filter(|path| !path.file_name().is_some_and(|name| stays(&name.to_string_lossy())) && !is_in_use(path))
            .try_for_each(|path| files::remove_folder(&path))
    }

    /// Id and name of the container.
    pub fn container_name(&self) -> Option<(String, String)> {
        self.container.as_ref().map(|server| (server.id(), server.name()))
    }

    /// The state of its container; `None` where there is none.
    pub fn life(&self) -> Result<Option<RunState>> {
        self.container.as_ref().map(Server::life).transpose()
    }

    /// Whether its container is running; `false` where there is none.
    pub fn is_running(&self) -> Result<bool> {
        self.container.as_ref().map_or(Ok(false), Server::is_running)
    }

    /// Fails when a write would harm another user of the data: a second container on the folder.
    pub fn check_alone(&self) -> Result<()> {
        match (&self.container, &self.folder) {
            (Some(server), Some(folder)) => server.check_alone(folder),
            _ => Ok(()),
        }
    }

    /// A connection to its database in its current state.
    ///
    /// # Errors
    /// An embedded MariaDB only listens while its container runs, see [`Instance::open`]; [`DockerError::Paused`] when it is paused
    /// too.
    pub fn connect(&self) -> Result<Box<dyn Connect>> {
        if let (DbLocation::Embedded(_), Some(server)) = (&self.place, &self.container) {
            let name = server.name();
            match server.life()? {
                RunState::Paused => return Err(Error::Docker(DockerError::Paused { container: name.to_owned() })),
                RunState::Restarting => {
                    return Err(Error::Docker(DockerError::RestartLoop { container: name.clone() }));
                }
                RunState::Running | RunState::Stopped => {}
            }
        }
        let connect: Box<dyn Connect> = match &self.place {
            DbLocation::Sqlite(file) => Box::new(file.clone()),
            DbLocation::Embedded(address) | DbLocation::External(address) => Box::new(address.clone()),
        };
        Ok(match &self.wrap {
            Some(wrap) => wrap(connect),
            None => connect,
        })
    }

    /// Opens the database for reading, in any state of the server.
    ///
    /// # Errors
    /// [`OperationError::Locked`] when a helper container is required and another run has the lock: there can be only one.
    pub fn open(&self) -> Result<Session<'_>> {
        if self.needs_helper()? {
            let lock = self.lock("reading")?;
            Ok(Session { lock: Some(lock), ..self.open_under()? })
        } else {
            self.open_under()
        }
    }

    /// As [`open`](Self::open), for a run that has the lock.
    pub fn open_locked(&self, _lock: &Lock) -> Result<Session<'_>> {
        self.open_under()
    }

    fn needs_helper(&self) -> Result<bool> {
        Ok(matches!(self.place, DbLocation::Embedded(_)) && !self.is_running()?)
    }

    fn open_under(&self) -> Result<Session<'_>> {
        let helper = match &self.place {
            DbLocation::Embedded(address) if self.needs_helper()? => {
                let hold = address.cancel.hold();
                // A MariaDB that is stopped while it starts may never end.
                let patient = Address { cancel: Cancel::default(), ..address.clone() };
                Some((self.start_helper(&patient)?, hold))
            }
            _ => None,
        };
        Ok(Session { connect: self.connect()?, helper, lock: None })
    }

    /// Opens the database with the server verified stopped, for a run that has the lock.
    ///
    /// # Errors
    /// [`DockerError::RestartLoop`] or [`FileError::HeldOpen`] when it is not.
    pub fn open_still(&self, lock: &Lock) -> Result<Session<'_>> {
        if let Some(server) = &self.container
            && server.is_running()?
        {
            return Err(server.meanwhile());
        }
        if let (DbLocation::External(_), Some(_)) = (&self.place, &self.container) {
            // Our own server is down, so any other connection is a second one on the same database.
            let connections = self.read_others()?;
            if connections > 0 {
                return Err(Error::Operation(OperationError::InUse {
                    database: format!("the database of `{}`", self.name),
                    connections,
                }));
            }
        }
        if let DbLocation::Sqlite(file) = &self.place {
            let deadline = Deadline::after(READERS, LOOK);
            loop {
                let holders = files::holders(&file.parts());
                if holders.is_empty() {
                    break;
                }
                if !deadline.wait() {
                    return Err(Error::File(FileError::HeldOpen { path: file.path().to_owned(), holders }));
                }
            }
        }
        self.open_locked(lock)
    }

    fn start_helper(&self, address: &Address) -> Result<Helper<'_>> {
        match &self.container {
            Some(server) => server.start_helper(&server.name(), &mut || address.reader().is_ok()),
            None => Err(Error::Target(TargetError::NoContainerForMariaDb { instance: self.name.clone() })),
        }
    }

    /// Fails where an external MariaDB would refuse every write; see [`Address::check_accepts_writes`].
    pub fn check_accepts_writes(&self) -> Result<()> {
        match &self.place {
            DbLocation::External(address) => address.check_accepts_writes(),
            // An account of its own, with all privileges; a folder is checked with its lock.
            DbLocation::Embedded(_) | DbLocation::Sqlite(_) => Ok(()),
        }
    }

    /// Removes helper containers that an earlier run left.
    pub fn remove_stale_helpers(&self) -> Result<()> {
        self.container.as_ref().map_or(Ok(()), |server| server.remove_stale_helpers(&server.name()))
    }

    /// Number of other connections to an external MariaDB: without a known container, they are the only sign of a running
    /// server. Waits for one that is just being closed.
    pub fn read_others(&self) -> Result<u64> {
        let DbLocation::External(_) = self.place else { return Ok(0) };
        let sql =
            "SELECT count(*) AS n FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> CONNECTION_ID()";
        let mut reader = self.connect()?.reader()?;
        let deadline = Deadline::after(Duration::from_secs(1), LOOK);
        loop {
            let rows = reader.query(sql, &[])?;
            let others = rows.first().and_then(|row| row.int("n")).unwrap_or(0).unsigned_abs();
            if others == 0 || !deadline.wait() {
                return Ok(others);
            }
        }
    }

    /// Size of the database on disk, in bytes; 0 where that is unknown.
    pub fn size(&self) -> u64 {
        match (&self.place, &self.folder) {
            (DbLocation::Sqlite(file), _) => file.size(),
            (DbLocation::Embedded(_), Some(folder)) => files::folder_size(&folder.join("mariadb/kuma")),
            _ => 0,
        }
    }

    /// Its db-config.json.
    pub fn config_path(&self) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(config::FILE)).filter(|path| files::exists(path))
    }

    /// Database files that 1.x left before it patched its own, with the time of each, newest first.
    pub fn old_copies(&self) -> Vec<(PathBuf, DateTime<Utc>)> {
        let Some(folder) = &self.folder else { return Vec::new() };
        let mut found: Vec<(PathBuf, DateTime<Utc>)> = files::look_into(folder, ".")
            .into_iter()
            .filter(|(name, about)| name.starts_with("kuma.db.bak") && about.is_regular())
            .map(|(name, about)| (folder.join(name), about.modified))
            .collect();
        found.sort_by_key(|(_, changed)| std::cmp::Reverse(*changed));
        found
    }

    /// Folders that belong into a snapshot beside the database; screenshots, which are many and can be recreated, only on
    /// request.
    pub fn extras(&self, screenshots: bool) -> Vec<PathBuf> {
        let names = ["upload", "docker-tls"].into_iter().chain(screenshots.then_some("screenshots"));
        let folders = self.folder.iter().flat_map(|folder| names.clone().map(move |name| folder.join(name)));
        // A link there could lead to files that only this user can read.
        folders.filter(|folder| matches!(files::look(folder), Ok(Some(found)) if found.is_folder())).collect()
    }
}

/// The folder of the lock, journal and staged copy of the instance called `name` at `origin`: in its data folder or, without
/// one, under `state`.
fn work_of(name: &str, origin: &str, state: &Path) -> PathBuf {
    match Path::new(origin) {
        folder if files::is_folder(folder) => folder.join(WORK),
        // Two databases of one name are two instances.
        _ => state.join(format!("{}{}", name.replace('/', "_"), mark(origin))),
    }
}

/// The same, if it exists, whatever the name of the instance.
pub fn find_work(origin: &str, state: &Path) -> Result<Option<PathBuf>> {
    if files::is_folder(Path::new(origin)) {
        return Ok(Some(Path::new(origin).join(WORK)));
    }
    let mark = mark(origin);
    let is_its = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(&mark));
    Ok(files::entries(state)?.into_iter().find(is_its))
}

/// The suffix of the folder of the instance at `origin`, under the state folder.
fn mark(origin: &str) -> String {
    format!("-{}", &blake3::hash(origin.as_bytes()).to_hex()[..12])
}

fn origin(folder: Option<&Path>, place: &DbLocation) -> String {
    match (folder, place) {
        (Some(folder), _) => folder.display().to_string(),
        (None, DbLocation::Sqlite(file)) => file.path().display().to_string(),
        (None, DbLocation::Embedded(address) | DbLocation::External(address)) => address.describe(),
    }
}

/// An open database, with the helper container that serves it.
pub struct Session<'a> {
    connect: Box<dyn Connect>,
    helper: Option<(Helper<'a>, Hold)>,
    /// Released after the helper.
    lock: Option<Lock>,
}

impl Session<'_> {
    /// The connection.
    pub fn connect(&self) -> &dyn Connect {
        &*self.connect
    }

    /// Runs `work` with it, and closes it whatever the result.
    pub fn with<T>(self, work: impl FnOnce(&dyn Connect) -> Result<T>) -> Result<T> {
        let done = work(self.connect());
        let closed = self.close();
        let done = done?;
        closed.map(|()| done)
    }

    /// Reads from it, and closes it whatever the result.
    pub fn read<T>(self, read: impl FnOnce(&mut dyn Reader) -> Result<T>) -> Result<T> {
        self.with(|connect| read(&mut *connect.reader()?))
    }

    /// Stops the helper container; required before the server is started.
    pub fn close(self) -> Result<()> {
        let closed = self.helper.map_or(Ok(()), |(helper, _hold)| helper.stop());
        drop(self.lock);
        closed
    }
}

/// Whether `path` is a folder with an active lock: the scratch folder of a run.
fn is_in_use(path: &Path) -> bool {
    let lock = path.join("lock");
    files::is_there(&lock).unwrap_or(false)
        && matches!(Lock::take(&lock, "clearing away"), Err(Error::Operation(OperationError::Locked { .. })))
}
