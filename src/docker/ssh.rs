//! Docker's command line on another machine, over the local ssh: with ssh's agent, keys, configuration and known hosts, and
//! nothing is installed on the remote host.
//!
//! One ssh logs in and goes into the background; every connection to the engine is a session within it, without another login.
//! It ends with the value that started it; after a SIGKILL it ends by itself when it is unused.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::endpoint::SshLogin;
use super::fault::ConnectionFault;
use crate::wait::Deadline;

/// How long an unused login stays open, in seconds.
const LINGER: u32 = 8;

/// How long a session may take to report why it ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// An ssh login.
pub(super) struct Ssh {
    login: SshLogin,
    /// The control socket, and the error output of every ssh.
    folder: TempDir,
}

impl Ssh {
    /// Logs in. On a terminal, ssh may ask for a passphrase, or to confirm a host key.
    pub fn connect(login: &SshLogin) -> Result<Ssh, ConnectionFault> {
        let folder =
            tempfile::Builder::new().prefix("kumadb-").tempdir().map_err(|error| ConnectionFault::plain(&error))?;
        let ssh = Ssh { login: login.clone(), folder };
        let mut command = ssh.command(&["-M", "-N", "-f"]).map_err(|error| ConnectionFault::plain(&error))?;
        command.args(["-o", &format!("ControlPersist={LINGER}"), "-o", "ServerAliveInterval=15"]);
        match command.arg("--").arg(&login.host).stdin(Stdio::null()).stdout(Stdio::null()).status() {
            Ok(status) if status.success() => {
                // Messages of a successful login are not the reason why a session ends later.
                File::create(ssh.complaints()).map_err(|error| ConnectionFault::plain(&error))?;
                Ok(ssh)
            }
            Ok(_) => Err(ConnectionFault::of_ssh(login, &ssh.complaint())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ConnectionFault::new("there is no `ssh` on this machine", "apt install openssh-client"))
            }
            Err(error) => Err(ConnectionFault::plain(&error)),
        }
    }

    /// A new connection to the remote engine. It is open before the engine has responded; [`fault`](Self::fault) returns why it
    /// ended then.
    pub fn open(&self) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        // Without prompts, because it has no terminal: a Ctrl-C must not reach it before this process.
        let mut command = self.command(&["-o", "ControlMaster=no", "-o", "BatchMode=yes"])?;
        command.process_group(0).args(["--", &self.login.host, "docker"]);
        if let Some(socket) = &self.login.socket {
            command.args(["--host", &format!("unix://{socket}")]);
        }
        command.args(["system", "dial-stdio"]);
        let mut child = command.stdin(OwnedFd::from(theirs.try_clone()?)).stdout(OwnedFd::from(theirs)).spawn()?;
        // It has the other end of the pair until here. It ends when our end is closed.
        drop(command);
        std::thread::spawn(move || child.wait());
        Ok(ours)
    }

    /// Why an open connection ended.
    pub fn fault(&self) -> Option<ConnectionFault> {
        let deadline = Deadline::after(LAST_WORDS, Duration::from_millis(20));
        loop {
            let complaint = self.complaint();
            if !complaint.is_empty() {
                return Some(ConnectionFault::of_ssh(&self.login, &complaint));
            }
            if !deadline.wait() {
                return None;
            }
        }
    }

    fn complaint(&self) -> String {
        std::fs::read_to_string(self.complaints()).unwrap_or_default().trim().to_owned()
    }

    fn complaints(&self) -> PathBuf {
        self.folder.path().join("complaints")
    }

    /// `ssh` with the common options.
    fn command(&self, options: &[&str]) -> io::Result<Command> {
        let complaints = File::options().create(true).append(true).open(self.complaints())?;
        let mut command = Command::new("ssh");
        command.args(options).args(["-T", "-o", "ConnectTimeout=30", "-S"]).arg(self.folder.path().join("s"));
        if let Some(user) = &self.login.user {
            command.args(["-l", user]);
        }
        if let Some(port) = self.login.port {
            command.args(["-p", &port.to_string()]);
        }
        command.stderr(complaints);
        Ok(command)
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        if let Ok(mut exit) = self.command(&["-O", "exit"]) {
            // It may have ended before.
            let _ = exit.arg("--").arg(&self.login.host).stdin(Stdio::null()).stdout(Stdio::null()).status();
        }
    }
}
