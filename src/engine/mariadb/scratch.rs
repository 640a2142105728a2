//! A temporary MariaDB: on a temporary folder, to test that a dump can be loaded; or on a folder that becomes the
//! embedded MariaDB of a new instance.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::load::{CopiedTable, Copy, each_line};
use super::{Access, Address, MariaDb};
use crate::engine::Reader as _;
use crate::error::{DatabaseError, Error, Result, SnapshotError};
use crate::files;

/// Timeout of the start.
const START_TIME: Duration = Duration::from_secs(60);

/// Its log file, in its folder.
const LOG: &str = "error.log";

/// Prefix of the folder of its socket, in the temporary folder.
const SOCKETS: &str = "kumadb-";

/// The database for loading.
const DATABASE: &str = "restore_test";

/// The account for loading.
const ACCOUNT: &str = "restore_test";

/// The MariaDB series in the server's images (2.0 to 2.5): it does not start on files of a newer one.
const SERIES: &str = "10.11.";

/// A running `mariadbd` that is reachable only through its socket. Dropping it stops it and removes its folders.
pub struct Scratch {
    child: Child,
    folder: PathBuf,
    /// The path of a socket has at most 107 characters, so it is in another folder.
    socket: tempfile::TempDir,
}

impl Scratch {
    /// Starts one on the new folder `folder`.
    ///
    /// # Errors
    /// [`DatabaseError::MariaDbStart`] where there is no `mariadbd`, or where it does not start.
    pub fn start(folder: &Path) -> Result<Scratch> {
        let accounts = ["--auth-root-authentication-method=normal"];
        Self::launch(folder, &accounts, &["--innodb-flush-log-at-trx-commit=0"])
    }

    /// Checks that the MariaDB in the server's images can start on files of this machine's `mariadbd`.
    ///
    /// # Errors
    /// [`DatabaseError::MariaDbStart`] with the reason why not.
    pub fn check_series() -> Result<()> {
        let output = program("mariadbd")?.arg("--version").output().map_err(Error::file("run", "mariadbd"))?;
        let version = String::from_utf8_lossy(&output.stdout).into_owned();
        match version.split_whitespace().any(|word| word.starts_with(SERIES)) {
            true => Ok(()),
            false => Err(Error::Database(DatabaseError::MariaDbSeries {
                version: version.trim().to_owned(),
                series: SERIES,
            })),
        }
    }

    /// Starts one on the new folder `folder`, which will be the `mariadb` folder of a server, with the server's
    /// accounts. Until [`keep`](Scratch::keep) only this user can reach it, without an account.
    ///
    /// # Errors
    /// [`DatabaseError::MariaDbStart`] where there is no `mariadbd`, or where it does not start.
    pub fn start_kept(folder: &Path) -> Result<Scratch> {
        let accounts = ["--auth-root-authentication-method=socket", "--auth-root-socket-user=node"];
        Self::launch(folder, &accounts, &["--skip-grant-tables"])
    }

    fn launch(folder: &Path, accounts: &[&str], options: &[&str]) -> Result<Scratch> {
        let wrong = |why: &str| Error::Database(DatabaseError::MariaDbStart { why: why.to_owned() });
        let as_ourselves: &[&str] = if rustix::process::geteuid().is_root() { &["--user=root"] } else { &[] };
        let data = format!("--datadir={}", folder.display());
        let mut install = program("mariadb-install-db")?;
        install.args(["--no-defaults", "--skip-test-db", &data]).args(accounts);
        // Servers with the same temporary folder delete each other's temporary tables when they start.
        let own = format!("--tmpdir={}", folder.display());
        let made = install.arg(&own).args(as_ourselves).output().map_err(|error| wrong(&error.to_string()))?;
        if !made.status.success() {
            return Err(wrong(String::from_utf8_lossy(&made.stderr).trim()));
        }
        let socket = files::temp_folder(SOCKETS, None)?;
        let none = socket.path().join("none");
        files::make_folder(&none)?;
        let log = format!("--log-error={}", folder.join(LOG).display());
        let mut server = program("mariadbd")?;
        server.args(["--no-defaults", "--skip-networking", "--skip-log-bin", &data, &own]).args(options);
        server.arg(format!("--socket={}", socket.path().join("sock").display())).arg(log).args(as_ourselves);
        // No statement reads or writes a file of this machine, or loads a program.
        server.args(["secure-file-priv", "plugin-dir"].map(|option| format!("--{option}={}", none.display())));
        server.arg("--skip-symbolic-links");
        server.arg(format!("--pid-file={}", socket.path().join("pid").display()));
        let child = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.map_err(|error| wrong(&error.to_string()))?;
        let mut scratch = Scratch { child, folder: folder.to_owned(), socket };
        let end = Instant::now() + START_TIME;
        while let Err(error) = MariaDb::open(&scratch.address(""), Access::Read) {
            let ended = scratch.child.try_wait().map_err(|error| wrong(&error.to_string()))?;
            if ended.is_some() || Instant::now() > end {
                return Err(wrong(&error.to_string()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(scratch)
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

    /// Loads `dump` as the `mariadb` client would, dumps the result to the new file `again`, and compares both. The dump may
    /// come from an attacker: it is loaded with an account that can do nothing outside of its database.
    ///
    /// # Errors
    /// [`SnapshotError::RestoreTest`] with the first table that differs; the
    /// error of a statement.
    pub fn try_dump(&self, dump: &Path, again: &Path) -> Result<()> {
        let then = Copy::read(dump)?;
        let mut server = MariaDb::open(&self.address(""), Access::Write)?;
        server.run(format!("DROP DATABASE IF EXISTS `{DATABASE}`"))?;
        server.run(format!("CREATE DATABASE `{DATABASE}` CHARACTER SET utf8mb4"))?;
        server.run(format!("CREATE USER IF NOT EXISTS `{ACCOUNT}`@localhost"))?;
        server.run(format!("GRANT ALL ON `{DATABASE}`.* TO `{ACCOUNT}`@localhost"))?;
        let mut database = MariaDb::open(&Address { user: ACCOUNT.into(), ..self.address(DATABASE) }, Access::Write)?;
        each_line(dump, 0, &mut |line| {
            if let Some(statement) = line.strip_suffix(b";\n").filter(|line| !line.starts_with(b"--")) {
                database.run(statement)?;
            }
            Ok(true)
        })?;
        MariaDb::open(&self.address(DATABASE), Access::Read)?.dump(again, &[], &mut |_, _| {})?;
        let now = Copy::read(again)?;
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

/// Ends every server of ours whose data is in or below `folder` and whose kumadb was killed; for a run that has the lock of that
/// folder. Returns how many there were.
///
/// # Errors
/// One does not end.
pub fn end_left(folder: &Path) -> Result<usize> {
    let wanted = format!("--datadir={}", folder.display());
    let is_ours = |arg: &&str| arg.strip_prefix(&wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let mut ended = 0;
    // Without /proc there is nothing to find them by.
    for path in files::entries(Path::new("/proc")).unwrap_or_default() {
        let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse::<i32>().ok()) else { continue };
        // One that has ended meanwhile is what is wanted.
        let Ok(line) = std::fs::read(path.join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&line).into_owned();
        let mut args = line.split('\0');
        let is_mariadbd = args.next().is_some_and(|program| program.ends_with("mariadbd"));
        if !is_mariadbd || !args.clone().any(|arg| is_ours(&arg)) {
            continue;
        }
        let Some(pid) = rustix::process::Pid::from_raw(pid) else { continue };
        // What it keeps is thrown away, so it need not end in order.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        let end = Instant::now() + START_TIME;
        while std::fs::read(path.join("cmdline")).is_ok_and(|now| !now.is_empty()) {
            if Instant::now() > end {
                let status = format!("process {pid} of an interrupted run is still running");
                return Err(Error::Database(DatabaseError::MariaDbStop { status }));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let socket = args.find_map(|arg| Path::new(arg.strip_prefix("--socket=")?).parent().map(Path::to_owned));
        socket.filter(|folder| is_socket_folder(folder)).map_or(Ok(()), |folder| files::remove_folder(&folder))?;
        ended += 1;
    }
    Ok(ended)
}

/// Whether `folder` is one that [`Scratch`] makes for a socket. The command line that names it may be that of any process,
/// root's in a container too, so only a folder of this user's, directly in the temporary folder, is one.
fn is_socket_folder(folder: &Path) -> bool {
    let is_named = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(SOCKETS));
    let is_ours = folder
        .symlink_metadata()
        .is_ok_and(|found| found.is_dir() && found.uid() == rustix::process::geteuid().as_raw());
    is_named && is_ours && folder.parent() == Some(std::env::temp_dir().as_path())
}

impl Drop for Scratch {
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
        assert!(is_socket_folder(ours.path()));
        let inner = ours.path().join(format!("{SOCKETS}inner"));
        std::fs::create_dir(&inner).unwrap();
        assert!(!is_socket_folder(&inner), "not directly in the temporary folder");
        let link = std::env::temp_dir().join(format!("{SOCKETS}link-{}", std::process::id()));
        std::os::unix::fs::symlink(&inner, &link).unwrap();
        assert!(!is_socket_folder(&link), "a link");
        std::fs::remove_file(&link).unwrap();
        let other = tempfile::Builder::new().prefix("other-").tempdir().unwrap();
        assert!(!is_socket_folder(other.path()), "another name");
    }
}
