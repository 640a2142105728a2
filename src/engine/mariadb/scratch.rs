//! A MariaDB of our own for a while, on a folder that is thrown away: the place to try out whether a dump can be loaded.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::load::{CopiedTable, Copy, each_line};
use super::{Access, Address, MariaDb};
use crate::engine::Reader as _;
use crate::error::{Error, Result};

/// How long it may take to answer for the first time.
const START_TIME: Duration = Duration::from_secs(60);

/// What is loaded goes into this database.
const DATABASE: &str = "drill";

/// A running `mariadbd` that only its socket leads to. It ends, and its folders go, when it is dropped.
pub struct Scratch {
    child: Child,
    /// The way of a socket has at most 107 characters, so it lies apart.
    socket: tempfile::TempDir,
}

impl Scratch {
    /// Starts one on the new folder `folder`.
    ///
    /// # Errors
    /// [`Error::Refused`] where there is no `mariadbd`, or where it does not start.
    pub fn start(folder: &Path) -> Result<Scratch> {
        let wrong = |why: &str| Error::Refused(format!("no MariaDB could be started to try the dump on: {why}"));
        let as_ourselves: &[&str] = if rustix::process::geteuid().is_root() { &["--user=root"] } else { &[] };
        let data = format!("--datadir={}", folder.display());
        let mut install = program("mariadb-install-db")?;
        install.args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal", &data]);
        // Servers that share one delete each other's temporary tables when they start.
        let own = format!("--tmpdir={}", folder.display());
        let made = install.arg(&own).args(as_ourselves).output().map_err(|error| wrong(&error.to_string()))?;
        if !made.status.success() {
            return Err(wrong(String::from_utf8_lossy(&made.stderr).trim()));
        }
        let socket = tempfile::Builder::new().prefix("kumadb-").tempdir();
        let socket = socket.map_err(Error::file("make a folder in", std::env::temp_dir()))?;
        let log = format!("--log-error={}", folder.join("error.log").display());
        let mut server = program("mariadbd")?;
        server.args([
            "--no-defaults",
            "--skip-networking",
            "--skip-log-bin",
            "--innodb-flush-log-at-trx-commit=0",
            &data,
            &own,
        ]);
        server.arg(format!("--socket={}", socket.path().join("sock").display())).arg(log).args(as_ourselves);
        let child = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut scratch = Scratch { child: child.map_err(|error| wrong(&error.to_string()))?, socket };
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

    /// Loads `dump` as the `mariadb` client would, writes a dump of what came of it to the new file `again`, and compares
    /// both.
    ///
    /// # Errors
    /// [`Error::Snapshot`] naming the first table that is not what it was; what MariaDB says of a statement.
    pub fn try_dump(&self, dump: &Path, again: &Path) -> Result<()> {
        let mut server = MariaDb::open(&self.address(""), Access::Write)?;
        server.run(format!("DROP DATABASE IF EXISTS `{DATABASE}`"))?;
        server.run(format!("CREATE DATABASE `{DATABASE}` CHARACTER SET utf8mb4"))?;
        let mut database = MariaDb::open(&self.address(DATABASE), Access::Write)?;
        each_line(dump, 0, &mut |line| {
            if let Some(statement) = line.strip_suffix(b";\n").filter(|line| !line.starts_with(b"--")) {
                database.run(statement)?;
            }
            Ok(true)
        })?;
        MariaDb::open(&self.address(DATABASE), Access::Read)?.dump(again, &[], &mut |_, _| {})?;
        let (then, now) = (Copy::read(dump)?, Copy::read(again)?);
        let is_back = |table: &&CopiedTable| now.tables.iter().any(|other| table.is_like(other));
        match then.tables.iter().find(|table| !is_back(table)) {
            None => Ok(()),
            Some(table) => Err(Error::Snapshot(format!("`{}` is another one after the dump was loaded", table.name))),
        }
    }

    fn address(&self, database: &str) -> Address {
        Address::on_socket(self.socket.path().join("sock"), "root", database)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing of it is to be kept, so it need not end in order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program `name`, where servers stand too: /usr/sbin is not in everybody's PATH.
fn program(name: &str) -> Result<Command> {
    let found =
        |path: &PathBuf| match Command::new(path).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status()
        {
            Err(error) => error.kind() != ErrorKind::NotFound,
            Ok(_) => true,
        };
    let places = [PathBuf::from(name), Path::new("/usr/sbin").join(name), Path::new("/usr/local/sbin").join(name)];
    match places.iter().find(|path| found(path)) {
        Some(path) => Ok(Command::new(path)),
        None => Err(Error::Refused(format!(
            "`{name}` is not installed here, and only a MariaDB can tell whether a dump can be loaded: apt-get install \
             mariadb-server"
        ))),
    }
}
