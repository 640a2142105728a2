//! The test bench: a real Docker engine, and in it containers of the stand-in server (`tests/stand-in/`).
//!
//! `tests/run` starts an engine where none answers; without one, tests that need it are skipped.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use kumadb::docker::{Container, Docker, Endpoint};
use tempfile::TempDir;

use super::need;

/// An image of the stand-in server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// SQLite only; busybox's wget is what answers questions.
    Slim,
    /// With MariaDB inside, and with curl.
    Full,
}

impl Image {
    /// What `docker run` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Image::Slim => "louislam/uptime-kuma:stand-in-slim",
            Image::Full => "louislam/uptime-kuma:stand-in",
        }
    }
}

/// An engine with the images in it.
pub struct Bench {
    /// The connection under test.
    pub docker: Docker,
}

/// The engine that `DOCKER_HOST` names, or the usual one, with the images of the stand-in in it.
pub fn bench() -> Option<Bench> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stand-in");
    for program in ["docker", "busybox", "sqlite3", "mariadbd"] {
        if need::program(&[program]).is_none() {
            return need::left_out(&format!("the program {program}"));
        }
    }
    need::static_binary()?;
    let Ok(docker) = Docker::connect(&endpoint()) else {
        return need::left_out("a Docker engine");
    };
    // One at a time, whichever process of the test runner is first.
    let lock = fs::File::create(std::env::temp_dir().join("kumadb-stand-in.lock")).unwrap();
    lock.lock().unwrap();
    let mut hash = blake3::Hasher::new();
    for file in ["server", "images"] {
        hash.update(&fs::read(here.join(file)).unwrap());
    }
    let release = kumadb::schema::newest().to_string();
    hash.update(release.as_bytes());
    let stamp = hash.finalize().to_hex()[..16].to_owned();
    let label = r#"{{index .Config.Labels "kumadb.stand-in"}}"#;
    let made = Command::new("docker").args(["image", "inspect", "-f", label, Image::Full.name()]).output().unwrap();
    if String::from_utf8_lossy(&made.stdout).trim() != stamp {
        let status = Command::new(here.join("images")).args([&stamp, &release]).status().unwrap();
        assert!(status.success(), "the images of the stand-in cannot be made");
    }
    Some(Bench { docker })
}

/// Where the engine is: what `DOCKER_HOST` says, else the usual place.
pub fn endpoint() -> Endpoint {
    let host = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    host.map_or_else(Endpoint::default, |host| Endpoint::parse(&host, None).unwrap())
}

/// Runs the docker CLI, which must succeed; what it printed.
#[track_caller]
pub fn cli(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().unwrap();
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A data folder, with a parent of its own that goes with it.
pub struct Folder {
    path: PathBuf,
    _parent: TempDir,
}

impl Folder {
    /// An empty data folder, which the container's users may enter.
    pub fn empty() -> Folder {
        let parent = tempfile::Builder::new().prefix("kumadb-test-").tempdir().unwrap();
        let path = parent.path().join("data");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Folder { path, _parent: parent }
    }

    /// A data folder for the engine `kind` (as in db-config.json), which the stand-in fills with `seed` at first.
    pub fn of(kind: &str, seed: &str) -> Folder {
        let folder = Folder::empty();
        folder.write("db-config.json", &format!(r#"{{"type":"{kind}"}}"#));
        folder.write("seed.sql", seed);
        folder
    }

    /// Writes one file in it.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path.join(name), text).unwrap();
    }

    /// Has the stand-in misbehave from its next start, see `tests/stand-in/server`; several separated by line breaks.
    pub fn misbehave(&self, how: &str) {
        self.write("misbehave", &format!("{how}\n"));
    }

    /// Has it behave again.
    pub fn behave(&self) {
        let _ = fs::remove_file(self.path.join("misbehave"));
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `docker run -v` wants to hear to mount it as the data folder.
    pub fn mount(&self) -> String {
        format!("{}:/app/data", self.path.display())
    }
}

/// A container of the stand-in; gone when dropped.
pub struct Server {
    /// Its name.
    pub name: String,
}

impl Bench {
    /// `docker run` with `args` (`-v`, `-e`, `--restart` …) before the image, under a name of its own.
    #[track_caller]
    pub fn run(&self, image: Image, args: &[&str]) -> Server {
        self.run_as(&["-d"], image.name(), args, &[])
    }

    /// As [`run`](Self::run), on `folder`.
    #[track_caller]
    pub fn serve(&self, image: Image, folder: &Folder) -> Server {
        self.run(image, &["-v", &folder.mount()])
    }

    /// `docker run FLAGS ARGS IMAGE COMMAND`.
    #[track_caller]
    pub fn run_as(&self, flags: &[&str], image: &str, args: &[&str], command: &[&str]) -> Server {
        let name = tempfile::Builder::new().prefix("kumadb-test-").rand_bytes(8).tempdir().unwrap();
        let name = name.path().file_name().unwrap().to_str().unwrap().to_owned();
        let server = Server { name };
        // Making the filter of system calls is a quarter of the start of any process in a container; nothing here depends on it.
        let mut words = vec!["run", "--security-opt", "seccomp=unconfined", "--name", &server.name];
        // A network of its own is half of the start. In that of the host, each server has an address of its own, and the port of no
        // server that somebody really uses.
        let address = format!("UPTIME_KUMA_HOST={}", own_address(&server.name));
        if !args.contains(&"--network") {
            words.extend(["--network", "host", "-e", &address, "-e", "UPTIME_KUMA_PORT=3301"]);
        }
        words.extend(flags.iter().chain(args));
        words.push(image);
        words.extend(command);
        cli(&words);
        server
    }

    /// The container of `server`, as it is now.
    #[track_caller]
    pub fn look(&self, server: &Server) -> Container {
        self.docker.container(&server.name).unwrap().expect("the container is there")
    }
}

/// An address of the loopback that no other server has.
fn own_address(name: &str) -> Ipv4Addr {
    let [b, c, d, ..] = *blake3::hash(name.as_bytes()).as_bytes();
    Ipv4Addr::new(127, b.max(1), c, d)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "-f", "-v", &self.name]).output();
    }
}
