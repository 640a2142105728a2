//! An ssh server of our own on loopback, and a client configuration that knows it: `ssh://` without anything of this
//! machine's.

use std::ffi::OsString;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::need;

/// It runs; gone when dropped.
pub struct Sshd {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    server: Child,
    root: TempDir,
}

impl Sshd {
    /// Starts one whose sessions see the Docker engine of the tests.
    pub fn start() -> Option<Sshd> {
        Self::with("")
    }

    /// The same with more lines of `sshd_config`.
    pub fn with(lines: &str) -> Option<Sshd> {
        let (Some(program), Some(_)) = (need::program(&["sshd"]), need::program(&["ssh"])) else {
            return need::left_out("ssh (apt-get install openssh-server openssh-client)");
        };
        // sshd wants this folder when root starts it; whoever installs it as a service has it made.
        let _ = fs::create_dir_all("/run/sshd");
        let root = tempfile::Builder::new().prefix("kumadb-ssh-").tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for name in ["host_key", "other_host_key", "user_key", "other_user_key"] {
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(at(name)).status();
            assert!(made.unwrap().success());
        }
        fs::copy(at("user_key.pub"), at("authorized_keys")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let given = |name: &str| format!("\"{name}={}\"", std::env::var(name).unwrap_or_default());
        let environment =
            ["PATH", "DOCKER_HOST", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"];
        fs::write(
            at("sshd_config"),
            format!(
                "{lines}\nPort {port}\nListenAddress 127.0.0.1\nHostKey {host}\nAuthorizedKeysFile {keys}\nStrictModes no\n\
                 UsePAM no\nPidFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
                 PermitRootLogin prohibit-password\nSetEnv {environment}\n",
                host = at("host_key").display(),
                keys = at("authorized_keys").display(),
                environment = environment.map(given).join(" "),
            ),
        )
        .unwrap();
        let server = Command::new(program)
            .args(["-D", "-e", "-f"])
            .arg(at("sshd_config"))
            .stdin(Stdio::null())
            .stderr(fs::File::create(at("log")).unwrap())
            .spawn()
            .unwrap();
        let sshd = Sshd { port, server, root };
        sshd.know("host_key");
        sshd.log_in_with("user_key");
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(sshd);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("sshd does not start: {}", sshd.log());
    }

    /// The address of the engine behind it, as kumadb takes it.
    pub fn address(&self) -> String {
        format!("ssh://127.0.0.1:{}", self.port)
    }

    /// A PATH on which `ssh` is one that reads our configuration: ssh itself asks the system where home is.
    pub fn path(&self) -> OsString {
        let mut path = OsString::from(self.bin());
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        path
    }

    /// Has the client expect the host key `name`, or none.
    pub fn know(&self, name: &str) {
        let key = fs::read_to_string(self.root.path().join(format!("{name}.pub"))).unwrap_or_default();
        let line = if key.is_empty() { key } else { format!("[127.0.0.1]:{} {key}", self.port) };
        fs::write(self.root.path().join("known_hosts"), line).unwrap();
    }

    /// Has the client show the key `name`.
    pub fn log_in_with(&self, name: &str) {
        let at = |name: &str| self.root.path().join(name).display().to_string();
        let config = format!(
            "Host *\n  IdentityFile {}\n  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile {}\n  \
             GlobalKnownHostsFile /dev/null\n",
            at(name),
            at("known_hosts")
        );
        fs::write(at("config"), config).unwrap();
        fs::create_dir_all(self.bin()).unwrap();
        let ssh = need::program(&["ssh"]).unwrap();
        let script =
            format!("#!/bin/sh\necho \"$*\" >>{}\nexec {} -F {} \"$@\"\n", at("calls"), ssh.display(), at("config"));
        fs::write(self.bin().join("ssh"), script).unwrap();
        fs::set_permissions(self.bin().join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// How often somebody logged in.
    pub fn logins(&self) -> usize {
        self.log().matches("Accepted publickey").count()
    }

    /// Ends every session that is open.
    pub fn cut(&self) {
        end(&self.sessions());
    }

    /// The processes of open sessions.
    fn sessions(&self) -> Vec<String> {
        let server = self.server.id();
        let children = fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap_or_default();
        children.split_whitespace().map(str::to_owned).collect()
    }

    /// The command lines that ssh was called with.
    pub fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.root.path().join("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// What the server tells.
    pub fn log(&self) -> String {
        fs::read_to_string(self.root.path().join("log")).unwrap_or_default()
    }

    fn bin(&self) -> PathBuf {
        Path::new(self.root.path()).join("bin")
    }
}

fn end(sessions: &[String]) {
    for session in sessions {
        let _ = Command::new("kill").args(["-KILL", session]).status();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let sessions = self.sessions();
        let _ = self.server.kill();
        let _ = self.server.wait();
        end(&sessions);
    }
}
