//! Addresses of MariaDB databases: `mysql://user:password@host:3306/database`.

use std::fmt;
use std::path::{Path, PathBuf};

use mysql_async::{OptsBuilder, SslOpts};

use crate::cancel::Cancel;
use crate::error::{Error, InputError, Result};
use crate::files;
use crate::value::Secret;

const DEFAULT_PORT: u16 = 3306;
const KNOWN_OPTIONS: &str = "`ssl`, `ca`, `verify`, `socket`";

/// One database on one MariaDB, and the user who logs in. A socket takes precedence over host and port, as in
/// db-config.json.
#[derive(Clone, Debug, Default)]
pub struct Address {
    /// Unix socket; the embedded MariaDB has only this one (`run/mariadb.sock` in the data folder).
    pub socket: Option<PathBuf>,
    /// The folder that the socket must be in, reached through no link: that of the user who names it. Without one, a user of
    /// kumadb has named it.
    pub beneath: Option<PathBuf>,
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User name; for the embedded MariaDB the user it runs as.
    pub user: String,
    /// Password, empty for none.
    pub password: Secret,
    /// Database; empty to log in without one.
    pub database: String,
    /// Encryption of the TCP connection; a socket is never encrypted.
    pub tls: Tls,
    /// What ends work on its connections early.
    pub cancel: Cancel,
}

/// Encryption of a TCP connection.
///
/// Its meaning in db-config.json: 2.0.x ignores `ssl` and `ca` and never encrypts, which is [`Tls::Off`]. From 2.1.0 to
/// 2.5.3 a truthy `ssl` is [`Tls::On`] with `verify: true`; `ca` is the PEM text itself (not a path), blank means none,
/// and it replaces the public authorities. The server verifies the chain of the certificate but not its host name
/// (mysql2 3.11 without `verifyIdentity`), and so does kumadb.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// Plain text.
    #[default]
    Off,
    /// TLS 1.2 or newer.
    On {
        /// The trusted authority as PEM text; the public ones if `None`.
        ca: Option<String>,
        /// Verify the certificate chain; `false` accepts any certificate.
        verify: bool,
    },
}

impl Address {
    /// The database `database` behind the Unix socket `path`, as `user` without a password.
    pub fn on_socket(path: impl Into<PathBuf>, user: impl Into<String>, database: impl Into<String>) -> Self {
        Address {
            socket: Some(path.into()),
            host: "localhost".into(),
            port: DEFAULT_PORT,
            user: user.into(),
            database: database.into(),
            ..Address::default()
        }
    }

    /// The server of an embedded MariaDB whose `/app/data` is the folder `data`. Its socket is reached through no link: one to
    /// the socket of a MariaDB of this machine would let root in there.
    pub fn in_data(data: &Path) -> Self {
        let socket = data.join("run/mariadb.sock");
        Address { beneath: Some(data.to_owned()), ..Address::on_socket(socket, Address::embedded_user(), "") }
    }

    /// The user of this process for an embedded MariaDB. It has two, with their names inside the container (verified
    /// with 2.0.2): `root`, and `node` with the uid 1000.
    pub fn embedded_user() -> &'static str {
        if rustix::process::geteuid().is_root() { "root" } else { "node" }
    }

    /// Reads `mysql://user:password@host:3306/database?ssl=true&ca=/path/ca.pem&verify=false&socket=/run/mysqld.sock`;
    /// `mariadb://` is the same. User, password, host and values are percent-decoded; `ca` is a path here, and the file
    /// is read at once. Messages never contain the address, because it contains the password.
    pub fn parse(text: &str) -> Result<Self> {
        let rest = text
            .strip_prefix("mysql://")
            .or_else(|| text.strip_prefix("mariadb://"))
            .ok_or_else(|| wrong("it must begin with `mysql://` or `mariadb://`"))?;
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (login, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, place) = login.rsplit_once('@').unwrap_or(("", login));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (host, port) = split_port(place).ok_or_else(|| wrong(PORT))?;
        let options = UrlOptions::parse(options)?;
        let mut address = Address {
            socket: options.socket,
            beneath: None,
            host: decoded(host, "the host")?,
            port,
            user: decoded(user, "the user")?,
            password: Secret::new(decoded(password, "the password")?),
            database: decoded(database, "the database")?,
            tls: options.tls,
            cancel: Cancel::default(),
        };
        if address.user.is_empty() {
            return Err(wrong("the user is missing"));
        }
        if address.database.is_empty() {
            return Err(wrong("the database is missing, such as `/kuma` after the host"));
        }
        if address.host.is_empty() {
            if address.socket.is_none() {
                return Err(wrong("host or socket is missing"));
            }
            address.host = "localhost".into();
        }
        Ok(address)
    }

    /// In the format of [`parse`](Self::parse), without the password and TLS.
    pub fn url(&self) -> String {
        match &self.socket {
            Some(path) => format!("mysql://{}@localhost/{}?socket={}", self.user, self.database, path.display()),
            None => format!("mysql://{}@{}/{}", self.user, self.place(), self.database),
        }
    }

    /// Host and port, or the socket: the name of the server in messages.
    pub fn place(&self) -> String {
        match &self.socket {
            Some(path) => path.display().to_string(),
            None if self.host.contains(':') => format!("[{}]:{}", self.host, self.port),
            None => format!("{}:{}", self.host, self.port),
        }
    }

    /// The options for the driver; `name` overrides the name that the certificate must contain.
    pub(super) fn options(&self, name: Option<&str>) -> OptsBuilder {
        const LARGEST_PACKET: usize = 1 << 30;
        const HOURS_8: usize = 28_800;
        let mut options = OptsBuilder::default()
            .ip_or_hostname(self.host.clone())
            .tcp_port(self.port)
            .user(Some(self.user.clone()))
            .pass(Some(self.password.reveal()).filter(|password| !password.is_empty()))
            .db_name(Some(self.database.as_str()).filter(|database| !database.is_empty()))
            .socket(self.socket.as_ref().map(|path| path.to_string_lossy().into_owned()))
            .prefer_socket(false)
            .tcp_keepalive(Some(std::time::Duration::from_secs(30)))
            // SQLite counts the rows that an UPDATE matches, not those it changes; so must MariaDB.
            .client_found_rows(true)
            // Set here, they are not queried at every connection.
            .max_allowed_packet(Some(LARGEST_PACKET))
            .wait_timeout(Some(HOURS_8));
        if let (Tls::On { ca, verify }, None) = (&self.tls, &self.socket) {
            let ca = ca.as_ref().filter(|ca| !ca.trim().is_empty());
            let mut tls = SslOpts::default()
                .with_disable_built_in_roots(ca.is_some())
                .with_root_certs(ca.map(|pem| pem.clone().into_bytes().into()).into_iter().collect())
                .with_danger_accept_invalid_certs(!verify);
            if let Some(name) = name {
                tls = tls.with_danger_tls_hostname_override(Some(name.to_owned()));
            }
            options = options.ssl_opts(tls);
        }
        options
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` at {}", self.database, self.place())
    }
}

/// Why a port is refused: often it is a part of the password.
const PORT: &str = "the port must be a number from 1 to 65535; in the password, write `/` as %2F, `:` as %3A, `@` as %40, `?` as \
                    %3F, `#` as %23 and `%` as %25";

fn wrong(what: &str) -> Error {
    Error::Input(InputError::Address { kind: "database URL", shown: String::new(), why: what.to_owned() })
}

/// The options of a database URL.
struct UrlOptions {
    tls: Tls,
    socket: Option<PathBuf>,
}

impl UrlOptions {
    fn parse(text: &str) -> Result<UrlOptions> {
        let (mut on, mut authority, mut checked, mut socket) = (None, None, true, None);
        for option in text.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, "true"));
            let value = decoded(value, "an option")?;
            let flag = || match value.as_str() {
                "true" | "1" => Ok(true),
                "false" | "0" => Ok(false),
                _ => Err(wrong(&format!("option `{name}` must be `true` or `false`"))),
            };
            match name {
                "ssl" => on = Some(flag()?),
                "verify" => checked = flag()?,
                "ca" => authority = Some(files::read_whole(Path::new(&value))?),
                "socket" => socket = Some(value.into()),
                _ => {
                    let known = KNOWN_OPTIONS;
                    return Err(wrong(&format!("unknown option `{name}` in the database URL; valid options: {known}")));
                }
            }
        }
        let tls = if on.unwrap_or(authority.is_some()) { Tls::On { ca: authority, verify: checked } } else { Tls::Off };
        Ok(UrlOptions { tls, socket })
    }
}

/// `part` of a database URL without percent-encoding.
fn decoded(part: &str, what: &str) -> Result<String> {
    decode(part).ok_or_else(|| wrong(&format!("{what} has a `%` without two hex digits after it")))
}

/// Host and port of `place`; an IPv6 address is in brackets.
fn split_port(place: &str) -> Option<(&str, u16)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => match place.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let port = match port {
        Some(digits) => digits.parse().ok().filter(|port| *port > 0)?,
        None => DEFAULT_PORT,
    };
    Some((host, port))
}

/// `text` with every `%41` decoded.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Address::parse(text).expect_err("this address must be refused").to_string()
    }

    #[test]
    fn reads_every_part_of_an_address() {
        let address = Address::parse("mysql://ku%40ma:p%3Aw%2F@db.example:3307/my%20kuma").expect("a right address");
        assert_eq!(address.user, "ku@ma");
        assert_eq!(address.password.reveal(), "p:w/");
        assert_eq!((address.host.as_str(), address.port), ("db.example", 3307));
        assert_eq!(address.database, "my kuma");
        assert_eq!(address.tls, Tls::Off);
        assert_eq!(address.to_string(), "`my kuma` at db.example:3307");
    }

    #[test]
    fn reads_sockets_and_options() {
        let address = Address::parse("mariadb://root@/kuma?socket=%2Frun%2Fx.sock").expect("a right address");
        assert_eq!(address.socket, Some("/run/x.sock".into()));
        assert_eq!(address.place(), "/run/x.sock");
        let address = Address::parse("mysql://u@[::1]/kuma?ssl=true&verify=false").expect("a right address");
        assert_eq!((address.host.as_str(), address.place().as_str()), ("::1", "[::1]:3306"));
        assert_eq!(address.tls, Tls::On { ca: None, verify: false });
    }

    #[test]
    fn refuses_a_wrong_address_without_repeating_it() {
        for (address, why) in [
            ("postgres://u:hunter2@h/kuma", "must begin with"),
            ("mysql://u:hunter2@h:0/kuma", "the port"),
            ("mysql://u:hunter2@h:port/kuma", "the port"),
            ("mysql://u:hunter2@h/", "database is missing"),
            ("mysql://h/kuma", "user is missing"),
            ("mysql://u:hunter2@/kuma", "host or socket is missing"),
            ("mysql://u:hunter2%zz@h/kuma", "the password"),
            ("mysql://u:hunter2@h/kuma?tls=1", "unknown option `tls`"),
            ("mysql://u:hunter2@h/kuma?ssl=maybe", "must be `true` or `false`"),
            ("mysql://u:hunter2@h/kuma?ca=/no/such/file", "/no/such/file"),
        ] {
            let message = refused(address);
            assert!(message.contains(why), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn never_shows_the_password() {
        let address = Address::parse("mysql://u:hunter2@h/kuma").expect("a right address");
        assert!(!format!("{address:?} {address}").contains("hunter2"));
    }
}
