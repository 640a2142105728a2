//! Why an engine cannot be reached, with hints.

use std::io;

use super::endpoint::{Endpoint, SshLogin, Transport};
use crate::error::{DockerError, Error, Hint, find, io_reason};
use crate::tls;

/// Why there is no engine at the default places.
pub const NO_SOCKET: &str = "no such socket";

/// A problem with the connection to an engine.
#[derive(Debug)]
pub(super) struct ConnectionFault {
    why: String,
    hint: Hint,
}

impl ConnectionFault {
    pub fn new(why: impl Into<String>, hint: impl Into<String>) -> ConnectionFault {
        ConnectionFault { why: why.into(), hint: Hint::advice(hint) }
    }

    /// With a command to type.
    fn with_command(why: impl Into<String>, command: impl Into<String>) -> ConnectionFault {
        ConnectionFault { why: why.into(), hint: Hint::command(command) }
    }

    /// A local problem.
    pub fn plain(error: &io::Error) -> ConnectionFault {
        ConnectionFault::new(io_reason(error), "is Docker running? `docker ps` must work for the same user")
    }

    /// The error for users, about `endpoint`.
    pub fn at(self, endpoint: &Endpoint) -> Error {
        Error::Docker(DockerError::Unreachable { address: endpoint.address.clone(), why: self.why, hint: self.hint })
    }

    /// An error message of ssh, or of Docker's command line on the remote host.
    pub fn of_ssh(login: &SshLogin, complaint: &str) -> ConnectionFault {
        let place = login.user.as_ref().map_or(login.host.clone(), |user| format!("{user}@{}", login.host));
        let port = login.port.map(|port| format!(" -p {port}")).unwrap_or_default();
        let ssh = format!("ssh{port} {place}");
        let has = |words: &str| complaint.contains(words);
        let known = match login.port {
            Some(port) if port != 22 => format!("'[{}]:{port}'", login.host),
            _ => login.host.clone(),
        };
        if has("IDENTIFICATION HAS CHANGED") {
            return ConnectionFault::new(
                "its host key does not match known_hosts: another machine answers, or the host was reinstalled",
                format!("if the host was reinstalled, remove its old key: ssh-keygen -R {known}, then `{ssh}`"),
            );
        }
        if has("Host key verification failed") {
            return ConnectionFault::new(
                "its host key is unknown",
                format!("run `{ssh}` once, and compare the key that it shows"),
            );
        }
        if let Some(line) = complaint.lines().find(|line| line.contains("Permission denied (")) {
            let methods = line.split_once('(').map_or("", |(_, rest)| rest.trim_end_matches(['.', ')']));
            return ConnectionFault::new(
                format!("ssh login failed: permission denied ({methods})"),
                format!("`{ssh}` must work: load the key with ssh-add, or install it with ssh-copy-id{port} {place}"),
            );
        }
        if has("Could not resolve hostname") {
            return ConnectionFault::new(
                format!("host name `{}` not found", login.host),
                "check the host name: `getent hosts NAME`",
            );
        }
        if has("Connection refused") {
            return ConnectionFault::new("connection refused", format!("`{ssh}` must work"));
        }
        if has("command not found") || has("docker: not found") {
            return ConnectionFault::new(
                "`docker` not found on the remote host",
                format!(
                    "`{ssh} docker version` must work: install the Docker CLI on the remote host, in the PATH of ssh \
                     sessions"
                ),
            );
        }
        if has("permission denied") {
            return ConnectionFault::with_command(
                "permission denied on Docker's socket of the remote host",
                format!("{ssh} sudo usermod -aG docker {}", login.user.as_deref().unwrap_or("USER")),
            );
        }
        if has("dial unix") || has("Is the docker daemon running") {
            return ConnectionFault::with_command(
                "Docker is not running on the remote host",
                format!("{ssh} sudo systemctl start docker"),
            );
        }
        let last = complaint.lines().rev().map(str::trim).find(|line| !line.is_empty());
        let why = last.unwrap_or("ssh exited without a message").trim_end_matches('.');
        ConnectionFault::new(why, format!("`{ssh} docker version` must work"))
    }

    /// A failed request.
    pub fn of_request(endpoint: &Endpoint, error: &bollard::errors::Error) -> ConnectionFault {
        if let (Transport::Tcp { tls, .. }, Some(fault)) = (&endpoint.way, find(error)) {
            let folder = tls.as_ref().map(|tls| tls.folder.display().to_string()).unwrap_or_default();
            return of_tls(&folder, tls.as_ref().is_some_and(|tls| tls.cert.is_some()), fault);
        }
        let why = reason(error);
        if why.contains("HTTP request to an HTTPS server") {
            return ConnectionFault::new(
                "the port requires TLS",
                "set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to a folder with ca.pem, cert.pem and key.pem",
            );
        }
        let hint = match (&endpoint.way, io_error(error).map(io::Error::kind)) {
            (Transport::Unix(_), Some(io::ErrorKind::PermissionDenied)) => {
                "add your user to the group `docker`, or run kumadb as root"
            }
            (Transport::Tcp { host, .. }, _) if crate::error::is_lookup(error) => {
                let why = format!("host name `{host}` not found");
                return ConnectionFault::with_command(why, format!("getent hosts {host}"));
            }
            (Transport::Tcp { .. }, _) => {
                "check that the engine listens on that port; on its host: `ss -ltnp | grep dockerd`"
            }
            _ => "is Docker running? `docker ps` must work for the same user",
        };
        ConnectionFault::new(why, hint)
    }
}

fn of_tls(folder: &str, shown: bool, fault: &rustls::Error) -> ConnectionFault {
    use rustls::Error::*;
    match fault {
        InvalidCertificate(_) => ConnectionFault::new(
            tls::explain(fault),
            format!(
                "put the CA certificate that signed it into `{folder}/ca.pem`, and use the host name in the certificate"
            ),
        ),
        AlertReceived(_) if shown => {
            let why = format!("the engine rejects our certificate: {}", tls::explain(fault));
            ConnectionFault::new(
                why,
                format!("cert.pem and key.pem in `{folder}` must be signed by the CA of the engine"),
            )
        }
        AlertReceived(_) => ConnectionFault::new(
            "the engine requires a client certificate",
            format!("put cert.pem and key.pem into `{folder}`, signed by the CA of the engine"),
        ),
        InvalidMessage(_) => {
            ConnectionFault::new("the port does not use TLS", "unset DOCKER_TLS_VERIFY and DOCKER_TLS")
        }
        _ => ConnectionFault::new(tls::explain(fault), format!("check the files in `{folder}`")),
    }
}

/// The innermost I/O error of `error`.
pub(super) fn io_error(error: &bollard::errors::Error) -> Option<&io::Error> {
    find(error)
}

/// Why a request failed, in words.
pub(super) fn reason(error: &bollard::errors::Error) -> String {
    use bollard::errors::Error as Bollard;
    match error {
        Bollard::DockerResponseServerError { message, .. } => message.trim().trim_end_matches('.').to_owned(),
        Bollard::RequestTimeoutError => "timed out".into(),
        error => match io_error(error).map(io::Error::kind) {
            Some(io::ErrorKind::NotFound) => NO_SOCKET.into(),
            _ => crate::error::reason(error),
        },
    }
}
