//! The address of an engine, with its TLS files.

use std::path::{Path, PathBuf};

use crate::error::{DockerError, Error, Hint, Result};

/// The default socket.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// The address of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address in messages.
    pub(super) address: String,
    pub(super) way: Transport,
}

/// The transport to an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// A local socket.
    Unix(PathBuf),
    /// A port, with or without TLS.
    Tcp { host: String, port: u16, tls: Option<TlsFiles> },
    /// Through Docker's command line on another machine.
    Ssh(SshLogin),
}

/// The parameters of an ssh login. Unset ones come from the configuration of ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SshLogin {
    pub user: Option<String>,
    pub host: String,
    pub port: Option<u16>,
    /// The engine's socket on the remote host, if not the default one of Docker's command line there.
    pub socket: Option<String>,
}

/// The TLS parameters, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Their folder.
    pub folder: PathBuf,
    /// The authority that signed the engine's certificate; without one, those of this system.
    pub ca: Option<PathBuf>,
    /// The client certificate.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Whether the engine's certificate is verified.
    pub verify: bool,
}

impl TlsFiles {
    /// `ca.pem`, `cert.pem` and `key.pem`, as far as they exist in `folder`.
    pub fn of(folder: &Path, verify: bool) -> TlsFiles {
        let file = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
        TlsFiles { folder: folder.to_owned(), ca: file("ca.pem"), cert: file("cert.pem"), key: file("key.pem"), verify }
    }

    /// Whether none of them exists.
    pub fn is_empty(&self) -> bool {
        self.ca.is_none() && self.cert.is_none() && self.key.is_none()
    }
}

impl Endpoint {
    /// Whether it is a local socket, so that the engine's folders are most likely on this machine.
    pub fn is_local(&self) -> bool {
        matches!(self.way, Transport::Unix(_))
    }

    /// Parses `unix:///path`, a path, `tcp://host:port`, `host:port`, `http(s)://host:port` or
    /// `ssh://[user@]host[:port][/path/of/the/socket]`. A port uses TLS where `tls` is given; the others never do.
    ///
    /// # Errors
    /// [`DockerError::Unreachable`](crate::error::DockerError::Unreachable) when it is none of these.
    pub fn parse(address: &str, tls: Option<TlsFiles>) -> Result<Endpoint> {
        let wrong = |why: &str| {
            Error::Docker(DockerError::Unreachable {
                // It may contain a password.
                address: address.rsplit_once('@').map_or(address, |(_, place)| place).to_owned(),
                why: why.to_owned(),
                hint: Hint::advice("use unix:///path, tcp://host:port or ssh://user@host"),
            })
        };
        let (scheme, rest) = match address.split_once("://") {
            Some(parts) => parts,
            None if address.starts_with('/') => ("unix", address),
            None => ("tcp", address),
        };
        let way = match scheme {
            "unix" if !rest.is_empty() => Ok(Transport::Unix(rest.into())),
            "unix" => Err("the path of the socket is missing"),
            "tcp" | "http" | "https" => {
                let tls = match scheme {
                    "https" => Some(tls.unwrap_or_else(|| TlsFiles::of(Path::new(""), true))),
                    _ => tls,
                };
                let default = if tls.is_some() { 2376 } else { 2375 };
                split_port(rest.trim_end_matches('/')).map(|(host, port)| Transport::Tcp {
                    host,
                    port: port.unwrap_or(default),
                    tls,
                })
            }
            "ssh" => login(rest).map(Transport::Ssh),
            _ => Err("this scheme is not supported"),
        };
        let address = if address.contains("://") { address.to_owned() } else { format!("{scheme}://{rest}") };
        Ok(Endpoint { address, way: way.map_err(wrong)? })
    }

    /// The engine on the local socket `path`.
    pub fn socket(path: &Path) -> Endpoint {
        Endpoint { address: format!("unix://{}", path.display()), way: Transport::Unix(path.to_owned()) }
    }

    /// The address in messages.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Endpoint {
            address: DEFAULT_HOST.to_owned(),
            way: Transport::Unix(DEFAULT_HOST.trim_start_matches("unix://").into()),
        }
    }
}

fn login(text: &str) -> Result<SshLogin, &'static str> {
    let (place, path) = text.split_once('/').unwrap_or((text, ""));
    let (user, place) = match place.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, place),
    };
    if user.is_some_and(|user| user.contains(':')) {
        return Err("it must not contain a password; ssh uses keys or a prompt");
    }
    let (host, port) = split_port(place)?;
    if host.starts_with('-') || user.is_some_and(|user| user.starts_with('-') || user.is_empty()) {
        return Err("user and host must not begin with `-`");
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-@:+,".contains(c);
    // The remote shell interprets it.
    if !path.chars().all(plain) {
        return Err("the path of the socket contains characters that a shell would interpret");
    }
    let socket = Some(path).filter(|path| !path.is_empty()).map(|path| format!("/{path}"));
    Ok(SshLogin { user: user.map(str::to_owned), host, port, socket })
}

/// `host`, `host:port`, `[::1]:port`.
fn split_port(place: &str) -> Result<(String, Option<u16>), &'static str> {
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or("the port after the brackets is missing")?)),
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    if host.is_empty() || host.contains(['/', '?', '#', '@']) {
        return Err("it is not a valid URL such as unix:///var/run/docker.sock or tcp://host:2375");
    }
    let port =
        port.map(|port| port.parse().ok().filter(|port| *port > 0).ok_or("the port must be a number up to 65535"));
    Ok((host.to_owned(), port.transpose()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(address: &str) -> Option<Transport> {
        Endpoint::parse(address, None).ok().map(|endpoint| endpoint.way)
    }

    #[test]
    fn reads_every_kind_of_address() {
        assert_eq!(way("/run/x.sock"), Some(Transport::Unix("/run/x.sock".into())));
        assert_eq!(way("unix:///run/x.sock"), Some(Transport::Unix("/run/x.sock".into())));
        let tcp = |host: &str, port| Some(Transport::Tcp { host: host.into(), port, tls: None });
        for (text, host, port) in [
            ("tcp://cellar", "cellar", 2375),
            ("tcp://cellar:99/", "cellar", 99),
            ("http://cellar:99", "cellar", 99),
            ("cellar:99", "cellar", 99),
            ("tcp://[::1]:99", "::1", 99),
            ("tcp://[::1]", "::1", 2375),
        ] {
            assert_eq!(way(text), tcp(host, port), "{text}");
        }
        let ssh = |user: Option<&str>, host: &str, port, socket: Option<&str>| {
            Some(Transport::Ssh(SshLogin {
                user: user.map(Into::into),
                host: host.into(),
                port,
                socket: socket.map(Into::into),
            }))
        };
        assert_eq!(way("ssh://cellar"), ssh(None, "cellar", None, None));
        assert_eq!(way("ssh://me@cellar:2222"), ssh(Some("me"), "cellar", Some(2222), None));
        assert_eq!(
            way("ssh://me@[::1]:22/run/user/1000/docker.sock"),
            ssh(Some("me"), "::1", Some(22), Some("/run/user/1000/docker.sock"))
        );
    }

    #[test]
    fn refuses_what_is_no_address_and_keeps_passwords_to_itself() {
        for text in ["", "unix://", "ftp://host", "tcp://host:x", "tcp://host:0", "tcp://host/path", "ssh://", "fd://"]
        {
            assert!(Endpoint::parse(text, None).is_err(), "{text}");
        }
        for text in ["ssh://me:hunter2@host", "ssh://-oProxyCommand=x", "ssh://-x@host", "ssh://host/$(reboot)"] {
            let refused = Endpoint::parse(text, None).map_err(|error| error.to_string());
            assert!(refused.is_err_and(|error| !error.contains("hunter2")), "{text}");
        }
    }
}
