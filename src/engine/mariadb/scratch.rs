//! A temporary MariaDB: on a temporary folder, to test that a dump can be loaded; or on a folder that becomes the
//! embedded MariaDB of a new instance.

use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::load::{CopiedTable, DumpContent, LOADING};
use super::{Access, Address, MariaDb};
use crate::engine::Reader as _;
use crate::error::{DatabaseError, Error, Result, SnapshotError};
use crate::files::{self, Confined};
use crate::wait::Deadline;

/// Timeout of the start.
const START_TIME: Duration = Duration::from_secs(60);

/// Its log file, in its folder.
const LOG: &str = "error.log";

/// Prefix of the folder of its socket, in the temporary folder.
const SOCKETS: &str = "kumadb-";

/// The variable that names the folder that it is started for.
const MARK: &str = "KUMADB_SCRATCH";

/// Users that nothing belongs to, one for each process; and the one for systems without such numbers.
const STRANGERS: u32 = 2_000_000_000;
const NOBODY: u32 = 65534;

/// The database for loading.
const DATABASE: &str = "restore_test";

/// The account for loading.
const ACCOUNT: &str = "restore_test";

/// The MariaDB series in the server's images (2.0 to 2.5): it does not start on files of a newer one.
const SERIES: &str = "10.11.";

/// A running `mariadbd` that is reachable only through its socket. Dropping it stops it and removes its folders.
pub struct ScratchMariaDb {
    child: Child,
    folder: PathBuf,
    /// The path of a socket has at most 107 characters, so it is in another folder.
    socket: tempfile::TempDir,
}

impl ScratchMariaDb {
    /// Starts one for data that may come from an attacker, on the new folder `folder`, or on another one that its user can
    /// reach. Where root starts it, that is a user that owns nothing else.
    ///
    /// # Errors
    /// [`DatabaseError::MariaDbStart`] where there is no `mariadbd`, or where it does not start.
    pub fn start(folder: &Path) -> Result<ScratchMariaDb> {
        let socket = files::temp_folder(SOCKETS, Some(&files::real(&std::env::temp_dir())))?;
        let mut data = folder.to_owned();
        let user = match files::our_uid() {
            0 => Some(give_to_stranger(socket.path())?),
            _ => None,
        };
        if let Some(user) = user {
            if !is_passable(folder) {
                data = socket.path().join("data");
                files::make_folder(&data)?;
            }
            files::set_owner(&data, user, user)?;
        }
        let launch = Launch { scratch: folder, data: &data, user };
        launch.run(socket, &["--auth-root-authentication-method=normal"], &["--innodb-flush-log-at-trx-commit=0"])
    }

    /// Checks that the MariaDB in the server's images can start on files of this machine's `mariadbd`.
    ///
    /// # Errors
    /// [`DatabaseError::MariaDbStart`] with the reason why not.
    pub fn check_series() -> Result<()> {
        let output = program("mariadbd")?.arg("--version").output().map_err(Error::file("run", "mariadbd"))?;
        let version = String::from_utf8_lossy(&output.stdout).into_owned();
        if version.split_whitespace().any(|word| word.starts_with(SERIES)) {
            Ok(())
        } else {
            Err(Error::Database(DatabaseError::MariaDbSeries { version: version.trim().to_owned(), series: SERIES }))
        }
    }

    /// Starts one on the new folder `folder`, which will be the `mariadb` folder of a server, with the server's
    /// accounts, owned by `owner` where root starts it. Until [`keep`](Scratch::keep) only this user can reach it, without
    /// an account.
    ///
    /// # Errors
    /// [`DatabaseError::MariaDbStart`] where there is no `mariadbd`, or where it does not start.
    pub fn start_kept(folder: &Path, owner: u32) -> Result<ScratchMariaDb> {
        let accounts = ["--auth-root-authentication-method=socket", "--auth-root-socket-user=node"];
        let socket = files::temp_folder(SOCKETS, Some(&files::real(&std::env::temp_dir())))?;
        // Whose files they will be: the owner of the folder above may be an attacker, and exchange it.
        let user = Some(owner).filter(|_| files::our_uid() == 0 && is_passable(folder) && is_passable(socket.path()));
        for path in user.iter().flat_map(|_| [folder, socket.path()]) {
            files::set_owner(path, owner, owner)?;
        }
        Launch { scratch: folder, data: folder, user }.run(socket, &accounts, &["--skip-grant-tables"])
    }

    /// Shuts it down and keeps its folder.
    pub fn keep(mut self) -> Result<()> {
        MariaDb::open(&self.address(""), Access::Write)?.run("SHUTDOWN")?;
        let ended = self.child.wait().map_err(Error::file("wait for", "mariadbd"))?;
        if !ended.success() {
            return Err(Error::Database(DatabaseError::MariaDbStop { status: ended.to_string() }));
        }
        files::remove(&self.folder.join(LOG))
    }

    /// Loads the tables and rows of `dump`, dumps the result to the new file `again`, and compares both. The dump may
    /// come from an attacker: it is loaded with an account that can do nothing outside of its database.
    ///
    /// # Errors
    /// [`SnapshotError::RestoreTest`] with the first table that differs; the
    /// error of a statement.
    pub fn try_dump(&self, dump: &Path, again: &Path) -> Result<()> {
        let then = DumpContent::read(dump)?;
        let mut server = MariaDb::open(&self.address(""), Access::Write)?;
        server.run(format!("DROP DATABASE IF EXISTS `{DATABASE}`"))?;
        server.run(format!("CREATE DATABASE `{DATABASE}` CHARACTER SET utf8mb4"))?;
        server.run(format!("CREATE USER IF NOT EXISTS `{ACCOUNT}`@localhost"))?;
        server.run(format!("GRANT ALL ON `{DATABASE}`.* TO `{ACCOUNT}`@localhost"))?;
        let mut database = MariaDb::open(&Address { user: ACCOUNT.into(), ..self.address(DATABASE) }, Access::Write)?;
        database.run(format!("SET SESSION {LOADING}"))?;
        for table in &then.tables {
            database.run(table.create.as_str())?;
            table.each_insert(dump, 0..table.lines.len(), &table.name, &mut |rows| {
                database.run(rows.statement()).map(drop)
            })?;
        }
        MariaDb::open(&self.address(DATABASE), Access::Read)?.dump(again, &[], &mut |_, _| {})?;
        let now = DumpContent::read(again)?;
        let is_back = |table: &&CopiedTable| now.tables.iter().any(|other| table.is_like(other));
        match then.tables.iter().find(|table| !is_back(table)) {
            None => Ok(()),
            Some(table) => Err(Error::Snapshot(SnapshotError::RestoreTest { table: table.name.clone() })),
        }
    }

    /// The address of `database` on it.
    pub fn address(&self, database: &str) -> Address {
        Address::on_socket(self.socket.path().join("sock"), "root", database)
    }
}

/// What is started, and for whom.
struct Launch<'a> {
    /// The folder that it is started for, by which [`end_left`] finds it.
    scratch: &'a Path,
    /// The folder of its data.
    data: &'a Path,
    /// Its user, where that is another one than this.
    user: Option<u32>,
}

impl Launch<'_> {
    fn run(&self, socket: tempfile::TempDir, accounts: &[&str], options: &[&str]) -> Result<ScratchMariaDb> {
        let none = socket.path().join("none");
        files::make_folder(&none)?;
        if let Some(user) = self.user {
            files::set_owner(&none, user, user)?;
        }
        // What a dump makes of it can reach nothing else either.
        let reach = Confined { write: vec![self.data.to_owned(), socket.path().to_owned()], programs: true };
        let child = reach.run(|| {
            self.install(accounts)?;
            self.spawn(socket.path(), options)
        })?;
        let mut scratch = ScratchMariaDb { child, folder: self.data.to_owned(), socket };
        let deadline = Deadline::after(START_TIME, Duration::from_millis(50));
        while let Err(error) = MariaDb::open(&scratch.address(""), Access::Read) {
            let ended = scratch.child.try_wait().map_err(|error| wrong(&error.to_string()))?;
            if ended.is_some() || !deadline.wait() {
                return Err(wrong(&error.to_string()));
            }
        }
        Ok(scratch)
    }

    fn install(&self, accounts: &[&str]) -> Result<()> {
        let mut install = self.program("mariadb-install-db")?;
        let made = install.arg("--skip-test-db").args(accounts).output().map_err(|error| wrong(&error.to_string()))?;
        if made.status.success() { Ok(()) } else { Err(wrong(String::from_utf8_lossy(&made.stderr).trim())) }
    }

    fn spawn(&self, socket: &Path, options: &[&str]) -> Result<Child> {
        let mut server = self.program("mariadbd")?;
        server.args(["--skip-networking", "--skip-log-bin", "--skip-symbolic-links"]).args(options);
        let none = socket.join("none");
        // No statement reads or writes a file of this machine, or loads a program.
        server.args(["secure-file-priv", "plugin-dir"].map(|option| format!("--{option}={}", none.display())));
        let files =
            [("socket", socket.join("sock")), ("pid-file", socket.join("pid")), ("log-error", self.data.join(LOG))];
        server.args(files.map(|(option, path)| format!("--{option}={}", path.display())));
        let child = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        child.map_err(|error| wrong(&error.to_string()))
    }

    /// The program `name` on these data, as the right user.
    fn program(&self, name: &'static str) -> Result<Command> {
        let mut program = program(name)?;
        program.env(MARK, self.scratch).arg("--no-defaults");
        // Servers with the same temporary folder delete each other's temporary tables when they start.
        program.args(["datadir", "tmpdir"].map(|option| format!("--{option}={}", self.data.display())));
        match self.user {
            Some(user) => drop(program.uid(user).gid(user)),
            None if files::our_uid() == 0 => drop(program.arg("--user=root")),
            None => {}
        }
        Ok(program)
    }
}

fn wrong(why: &str) -> Error {
    Error::Database(DatabaseError::MariaDbStart { why: why.to_owned() })
}

/// As root, gives the new folder `folder` to a user that owns nothing else; returns that user.
fn give_to_stranger(folder: &Path) -> Result<u32> {
    if !is_passable(folder) {
        let shown = folder.parent().unwrap_or(folder).display();
        return Err(wrong(&format!(
            "its user cannot reach the temporary folder `{shown}`: set TMPDIR, to /var/tmp for instance"
        )));
    }
    let stranger = STRANGERS + std::process::id();
    // A container may not have such numbers.
    files::set_owner(folder, stranger, stranger)
        .map(|()| stranger)
        .or_else(|_| files::set_owner(folder, NOBODY, NOBODY).map(|()| NOBODY))
}

/// Whether every user can reach `folder`, if not what is in it.
fn is_passable(folder: &Path) -> bool {
    folder.ancestors().skip(1).all(|above| files::about_target(above).is_ok_and(|found| found.mode & 0o001 != 0))
}

/// Ends every server of ours that was started for a folder in or below `folder` and whose kumadb was killed; for a run that has
/// the lock of that folder. Returns how many there were.
///
/// # Errors
/// One does not end.
pub fn end_left(folder: &Path) -> Result<usize> {
    let desired = format!("{MARK}={}", folder.display());
    let is_ours =
        |variable: &str| variable.strip_prefix(&desired).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let mut ended = 0;
    // Without /proc there is nothing to find them by.
    for path in files::entries(Path::new("/proc")).unwrap_or_default() {
        let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse::<i32>().ok()) else { continue };
        // One that has ended meanwhile is what is wanted.
        let read = |name| std::fs::read(path.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let (Ok(line), Ok(variables)) = (read("cmdline"), read("environ")) else { continue };
        let mut args = line.split('\0');
        let is_mariadbd = args.next().is_some_and(|program| program.ends_with("mariadbd"));
        if !is_mariadbd || !variables.split('\0').any(is_ours) {
            continue;
        }
        let Ok(owner) = files::about_target(&path).map(|found| found.uid) else { continue };
        let Some(pid) = rustix::process::Pid::from_raw(pid) else { continue };
        // What it keeps is thrown away, so it need not end in order.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        let deadline = Deadline::after(START_TIME, Duration::from_millis(20));
        while std::fs::read(path.join("cmdline")).is_ok_and(|now| !now.is_empty()) {
            if !deadline.wait() {
                let status = format!("process {pid} of an interrupted run is still running");
                return Err(Error::Database(DatabaseError::MariaDbStop { status }));
            }
        }
        let socket = args.find_map(|arg| Path::new(arg.strip_prefix("--socket=")?).parent().map(Path::to_owned));
        socket
            .filter(|folder| is_socket_folder(folder, owner))
            .map_or(Ok(()), |folder| files::remove_folder(&folder))?;
        ended += 1;
    }
    Ok(ended)
}

/// Whether `folder` is one that [`ScratchMariaDb`] makes for the socket of a process of the user `owner`. The command line that names it
/// may be that of any process, root's in a container too, so only a folder of that user's, directly in the temporary folder, is
/// one.
fn is_socket_folder(folder: &Path, owner: u32) -> bool {
    let is_named = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(SOCKETS));
    let is_its = matches!(files::look(folder), Ok(Some(found)) if found.is_folder() && found.uid == owner);
    is_named && is_its && folder.parent() == Some(files::real(&std::env::temp_dir()).as_path())
}

impl Drop for ScratchMariaDb {
    fn drop(&mut self) {
        // Its data is discarded, so it need not shut down.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program `name`, also in /usr/sbin, which is not in every PATH.
fn program(name: &'static str) -> Result<Command> {
    let found =
        |path: &PathBuf| match Command::new(path).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status()
        {
            Err(error) => error.kind() != ErrorKind::NotFound,
            Ok(_) => true,
        };
    let places = [PathBuf::from(name), Path::new("/usr/sbin").join(name), Path::new("/usr/local/sbin").join(name)];
    match places.iter().find(|path| found(path)) {
        Some(path) => Ok(Command::new(path)),
        None => Err(Error::Database(DatabaseError::MariaDbNotInstalled { program: name })),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_a_folder_of_our_own_in_the_temporary_folder_is_one_for_a_socket() {
        let ours = tempfile::Builder::new().prefix(SOCKETS).tempdir().unwrap();
        assert!(is_socket_folder(ours.path(), files::our_uid()));
        let inner = ours.path().join(format!("{SOCKETS}inner"));
        std::fs::create_dir(&inner).unwrap();
        assert!(!is_socket_folder(&inner, files::our_uid()), "not directly in the temporary folder");
        let link = std::env::temp_dir().join(format!("{SOCKETS}link-{}", std::process::id()));
        std::os::unix::fs::symlink(&inner, &link).unwrap();
        assert!(!is_socket_folder(&link, files::our_uid()), "a link");
        std::fs::remove_file(&link).unwrap();
        let other = tempfile::Builder::new().prefix("other-").tempdir().unwrap();
        assert!(!is_socket_folder(other.path(), files::our_uid()), "another name");
    }
}
