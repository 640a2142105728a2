//! A real `mariadbd` on a temporary folder, ended with the test.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use kumadb::engine::mariadb::Address;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder, Value};
use tempfile::TempDir;

use super::need;

const START_TIME: Duration = Duration::from_secs(60);

/// A running server; nothing but its socket leads to it unless [`with`](Mariadbd::with) says otherwise.
pub struct Mariadbd {
    child: Child,
    folder: TempDir,
    programs: [PathBuf; 3],
    options: Vec<String>,
    port: u16,
}

impl Mariadbd {
    /// Starts one, or says that MariaDB is missing.
    pub fn start() -> Option<Mariadbd> {
        Self::with(&["--skip-networking"])
    }

    /// Starts one on a copy of the data directory `data`.
    pub fn start_on(data: &Path) -> Option<Mariadbd> {
        let folder = tempfile::Builder::new().prefix("kumadb-mariadb-").tempdir().unwrap();
        copy_folder(data, &folder.path().join("data"));
        Self::within(folder, &["--skip-networking"])
    }

    /// Starts one with these options; `{port}` in them becomes a free port on the loopback, `{folder}` the folder.
    pub fn with(options: &[&str]) -> Option<Mariadbd> {
        let folder = tempfile::Builder::new().prefix("kumadb-mariadb-").tempdir().unwrap();
        Self::within(folder, options)
    }

    /// The same in a folder that the caller has put something into, perhaps the data directory as well.
    pub fn within(folder: TempDir, options: &[&str]) -> Option<Mariadbd> {
        let programs = need::mariadb()?;
        let data = folder.path().join("data");
        if !data.exists() {
            copy_folder(&template(&programs), &data);
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let place = folder.path().to_str().unwrap();
        let options: Vec<String> =
            options.iter().map(|o| o.replace("{port}", &port.to_string()).replace("{folder}", place)).collect();
        let child = launch(&programs, folder.path(), &options);
        let mut server = Mariadbd { child, folder, programs, options, port };
        server.wait();
        Some(server)
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("sock")
    }

    /// Its data directory, with a folder for each database.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The port that `{port}` became.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A database of this name and character set, as the way to it.
    pub fn create_database(&self, name: &str, charset: &str) -> Address {
        self.sql("", &format!("CREATE DATABASE {} CHARACTER SET {charset}", kumadb::engine::quote(name)));
        self.address(name)
    }

    /// The way to a database on it, through the socket.
    pub fn address(&self, database: &str) -> Address {
        Address::on_socket(self.socket(), user(), database)
    }

    /// The database as what people type.
    pub fn target(&self, database: &str) -> String {
        format!("mysql://{}@localhost/{database}?socket={}", user(), self.socket().display())
    }

    /// Runs SQL and returns the rows as `mariadb --batch --skip-column-names` prints them; fails the test if it fails. A
    /// client takes longer to start than most statements take to run.
    #[track_caller]
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let to = OptsBuilder::default()
            .socket(Some(self.socket().display().to_string()))
            .user(Some(user()))
            .db_name(Some(database).filter(|database| !database.is_empty()))
            .init(vec!["SET NAMES utf8mb4"]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(printed_rows(to, sql)).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// How many transactions are open in InnoDB.
    ///
    /// MariaDB answers from a cache that it renews only when nobody has read it for 100 ms: asked more often, it
    /// repeats its first answer for ever.
    pub fn transactions(&self) -> usize {
        std::thread::sleep(Duration::from_millis(150));
        self.sql("", "SELECT count(*) FROM information_schema.INNODB_TRX").trim().parse().unwrap()
    }

    /// Feeds a file of SQL to the `mariadb` client, as a person does.
    pub fn source(&self, database: &str, file: &Path) {
        let input = fs::File::open(file).unwrap();
        let output = self.client(database).stdin(input).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The `mariadb` client on `database`.
    pub fn client(&self, database: &str) -> Command {
        let mut client = Command::new(&self.programs[2]);
        client.arg("--no-defaults").arg("--default-character-set=utf8mb4");
        client.arg(format!("--socket={}", self.socket().display())).arg(format!("--user={}", user()));
        client.args(Some(database).filter(|database| !database.is_empty()));
        client
    }

    /// Ends it in order, and copies what it leaves to the new folder `to`.
    pub fn shut_down(mut self, to: &Path) {
        self.sql("", "SHUTDOWN");
        self.child.wait().unwrap();
        copy_without_zeros(&self.folder.path().join("data"), to);
    }

    /// Ends it with SIGKILL, as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the folder that it left behind.
    pub fn start_again(&mut self) {
        let _ = fs::remove_file(self.socket());
        self.child = launch(&self.programs, self.folder.path(), &self.options);
        self.wait();
    }

    fn wait(&mut self) {
        let begun = Instant::now();
        loop {
            let answers =
                UnixStream::connect(self.socket()).and_then(|mut stream| stream.read_exact(&mut [0; 5])).is_ok();
            if answers {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || begun.elapsed() > START_TIME {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                panic!("mariadbd did not start ({ended:?}):\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Mariadbd {
    fn drop(&mut self) {
        // The folder goes with it, so nothing has to be flushed.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let from = log.char_indices().rev().nth(4_000).map_or(0, |(at, _)| at);
            eprintln!("mariadbd said:\n{}", &log[from..]);
        }
    }
}

async fn printed_rows(to: OptsBuilder, sql: &str) -> mysql_async::Result<String> {
    let mut server = Conn::new(to).await?;
    let mut lines = Vec::new();
    let mut result = server.query_iter(sql).await?;
    while !result.is_empty() {
        result.for_each(|row| print_row(&row, &mut lines)).await?;
    }
    // After SHUTDOWN, the server may have closed the connection already.
    let _ = server.disconnect().await;
    Ok(printed(lines))
}

fn print_row(row: &mysql_async::Row, lines: &mut Vec<u8>) {
    for at in 0..row.len() {
        if at > 0 {
            lines.push(b'\t');
        }
        let Some(Value::Bytes(text)) = row.as_ref(at) else {
            lines.extend(b"NULL");
            continue;
        };
        for byte in text {
            match byte {
                0 => lines.extend(b"\\0"),
                b'\t' => lines.extend(b"\\t"),
                b'\n' => lines.extend(b"\\n"),
                b'\\' => lines.extend(b"\\\\"),
                other => lines.push(*other),
            }
        }
    }
    lines.push(b'\n');
}

/// The user who runs the test, whom MariaDB takes by his socket.
fn user() -> &'static str {
    static USER: LazyLock<String> = LazyLock::new(|| {
        let id = Command::new("id").arg("-un").output().unwrap();
        String::from_utf8(id.stdout).unwrap().trim().to_owned()
    });
    &USER
}

/// What makes a start cheaper: by default it fills 256 MB of buffers for tables that are not InnoDB's, and writes a temporary file.
const SMALL: [&str; 3] =
    ["--key-buffer-size=1M", "--aria-pagecache-buffer-size=8M", "--innodb-temp-data-file-path=ibtmp1:5M:autoextend"];

fn launch(programs: &[PathBuf; 3], folder: &Path, options: &[String]) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
    ended_with_test(&programs[0])
        .arg("--no-defaults")
        .arg(format!("--datadir={}", folder.join("data").display()))
        .arg(format!("--socket={}", folder.join("sock").display()))
        .arg(format!("--pid-file={}", folder.join("pid").display()))
        .arg(format!("--user={}", user()))
        // Servers that share one delete each other's temporary tables when they start.
        .arg(format!("--tmpdir={}", folder.display()))
        .args(["--innodb-buffer-pool-size=64M", "--innodb-log-file-size=32M"])
        .args(SMALL)
        .args(options)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// `program`, which the kernel ends when the thread that started it ends, also by SIGKILL.
fn ended_with_test(program: &Path) -> Command {
    let Some(setpriv) = need::program(&["setpriv"]) else { return Command::new(program) };
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// A data folder as `mariadb-install-db` makes it, made once for all tests.
fn template(programs: &[PathBuf; 3]) -> PathBuf {
    let version = Command::new(&programs[0]).arg("--version").output().unwrap().stdout;
    let version: String = String::from_utf8_lossy(&version).chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mariadb-data-{version}"));
    if place.exists() {
        return place;
    }
    let made = tempfile::Builder::new().prefix("mariadb-new-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let output = Command::new(&programs[1])
        .arg("--no-defaults")
        .arg(format!("--datadir={}", made.path().display()))
        .arg(format!("--user={}", user()))
        .args(["--auth-root-authentication-method=socket", &format!("--auth-root-socket-user={}", user())])
        .args(["--skip-test-db", "--innodb-log-file-size=32M"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let sparse = made.path().with_extension("sparse");
    copy_without_zeros(made.path(), &sparse);
    // Another test may have been faster; its folder is as good.
    if fs::rename(&sparse, &place).is_err() {
        fs::remove_dir_all(&sparse).unwrap();
    }
    place
}

/// What a client printed. Text that is not UTF-8 can be compared too.
pub fn printed(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|wrong| wrong.as_bytes().escape_ascii().to_string())
}

/// Copies a folder with everything in it to the new folder `to`.
pub fn copy_folder(from: &Path, to: &Path) {
    copy(&["-a"], from, to);
}

/// The same with holes in place of zeros, which most of a new MariaDB is: such a folder is copied much faster.
fn copy_without_zeros(from: &Path, to: &Path) {
    copy(&["-a", "--sparse=always"], from, to);
}

fn copy(options: &[&str], from: &Path, to: &Path) {
    let done = Command::new("cp").args(options).arg(from).arg(to).status().unwrap();
    assert!(done.success());
}
