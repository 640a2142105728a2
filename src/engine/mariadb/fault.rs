//! Converts errors of MariaDB and its connection, without secrets.

use std::io;

use mysql_async::{DriverError, IoError, ServerError};

use super::Address;
use crate::error::{DatabaseError, Denied, Error, TlsFault, find, io_reason, reason};
use crate::tls::{self, TlsFaultSide};

/// Converts `error` of a connection to `address`.
pub(super) fn explain(address: &Address, error: mysql_async::Error) -> Error {
    let unreachable = |why: &str| unreachable(address, why);
    match error {
        mysql_async::Error::Server(error) => explain_server(address, &error),
        mysql_async::Error::Io(IoError::Io(error)) => match find::<rustls::Error>(&error) {
            Some(error) => refuse_tls(address, tls_fault(error)),
            None => unreachable(&explain_io(address, &error)),
        },
        mysql_async::Error::Io(IoError::Tls(error)) => refuse_tls(address, TlsFault::Authority(reason(&error))),
        mysql_async::Error::Driver(error) => match error {
            DriverError::ConnectionClosed => unreachable("the server closed the connection"),
            DriverError::NoClientSslFlagFromServer => refuse_tls(address, TlsFault::NotOffered),
            DriverError::UnknownAuthPlugin { name } => denied(address, Denied::Method(format!("`{name}`"))),
            DriverError::MysqlOldPasswordDisabled => denied(address, Denied::Method("of before MySQL 4.1".into())),
            DriverError::CleartextPluginDisabled => {
                denied(address, Denied::Method("`mysql_clear_password` (plain text)".into()))
            }
            DriverError::PacketTooLarge => unreachable("one statement is larger than `max_allowed_packet`"),
            DriverError::PacketOutOfOrder | DriverError::UnexpectedPacket { .. } => {
                unreachable("the program on that port is not MariaDB")
            }
            other => unreachable(&other.to_string()),
        },
        other => unreachable(&reason(&other)),
    }
}

pub(super) fn unreachable(address: &Address, why: &str) -> Error {
    DatabaseError::Unreachable { address: address.place(), why: why.to_owned() }.into()
}

/// The names in the certificate that was rejected.
pub(super) fn certificate_names(error: &mysql_async::Error) -> Option<Vec<String>> {
    let mysql_async::Error::Io(IoError::Io(error)) = error else { return None };
    match find::<rustls::Error>(error)? {
        rustls::Error::InvalidCertificate(rustls::CertificateError::NotValidForNameContext { presented, .. }) => {
            Some(presented.clone())
        }
        _ => None,
    }
}

/// A rejected login.
pub(super) fn is_refused_login(error: &mysql_async::Error) -> bool {
    matches!(error, mysql_async::Error::Server(error) if error.code == 1045)
}

pub(super) fn denied(address: &Address, why: Denied) -> Error {
    DatabaseError::AccessDenied { address: address.place(), user: address.user.clone(), why }.into()
}

fn refuse_tls(address: &Address, why: TlsFault) -> Error {
    DatabaseError::Tls { address: address.place(), why }.into()
}

fn tls_fault(error: &rustls::Error) -> TlsFault {
    let why = tls::explain(error);
    match tls::blame(error) {
        TlsFaultSide::Authority => TlsFault::Certificate(why),
        TlsFaultSide::Certificate => TlsFault::Unusable(why),
        TlsFaultSide::Handshake => TlsFault::Handshake(why),
    }
}

fn explain_server(address: &Address, error: &ServerError) -> Error {
    let database = address.to_string();
    let unreachable = |why: &str| unreachable(address, why);
    let message = error.message.as_str();
    match error.code {
        1045 if address.password.reveal().is_empty() => denied(address, Denied::NoPassword),
        1045 => denied(address, Denied::WrongPassword),
        1698 => denied(address, Denied::SocketOnly),
        // The server reports the account that it chose, and an anonymous one has no name.
        1044 if message.contains("''@") => denied(address, Denied::Shadowed),
        1044 => denied(address, Denied::Database(address.database.clone())),
        1142 | 1143 | 1227 | 1370 => denied(address, Denied::Privilege(message.to_owned())),
        1130 => denied(address, Denied::Host),
        1251 => denied(address, Denied::Method("of the server".into())),
        1820 | 1862 => denied(address, Denied::Expired),
        3118 | 4151 => denied(address, Denied::Locked),
        3159 => denied(address, Denied::TlsOnly),
        1129 => {
            unreachable("this machine is blocked after too many failed connections; as root of MariaDB: FLUSH HOSTS")
        }
        1040 | 1203 | 1226 => unreachable("too many connections"),
        1053 => unreachable("MariaDB is shutting down"),
        1317 | 1927 => unreachable("the connection was killed"),
        1049 => DatabaseError::NoSuchDatabase { address: address.place(), database: address.database.clone() }.into(),
        1205 | 1213 | 1020 => DatabaseError::Busy { database }.into(),
        1021 | 1114 => DatabaseError::DiskFull { database }.into(),
        _ if message.contains("Errcode: 28") || message.contains("error 28") => {
            DatabaseError::DiskFull { database }.into()
        }
        1047 if message.contains("WSREP") => DatabaseError::NodeNotReady { address: address.place() }.into(),
        1290 | 1836 => DatabaseError::ReadOnly { database, why: "`read_only` is set" }.into(),
        1792 => DatabaseError::ReadOnly { database, why: "kumadb opened this connection for reading" }.into(),
        1153 => DatabaseError::Sql { database, message: "a row is larger than `max_allowed_packet`".into() }.into(),
        1412 => DatabaseError::Sql { database, message: "tables were altered during the read".into() }.into(),
        _ => DatabaseError::Sql { database, message: without_values(message) }.into(),
    }
}

/// `message` without quoted values, which may be a token or a password.
fn without_values(message: &str) -> String {
    for (before, after) in [("entry '", "' for key"), ("value: '", "' for column"), ("value: '", "'"), ("near '", "")] {
        if let Some(start) = message.find(before) {
            let start = start + before.len() - 1;
            let end =
                if after.is_empty() { message.len() } else { message.rfind(after).map_or(message.len(), |at| at + 1) };
            if end > start {
                return format!("{}(…){}", &message[..start], &message[end..]);
            }
        }
    }
    message.to_owned()
}

fn explain_io(address: &Address, error: &io::Error) -> String {
    match (error.kind(), &address.socket) {
        (io::ErrorKind::NotFound, Some(_)) => {
            "no such socket; MariaDB is not running, or its socket is at another path".into()
        }
        (io::ErrorKind::ConnectionRefused, Some(_)) => "connection refused: MariaDB is not running".into(),
        (io::ErrorKind::UnexpectedEof, _) => "the server closed the connection".into(),
        _ => io_reason(error),
    }
}

/// The name inside `DnsName("db.example")`, or a host name that matches a wildcard.
pub(super) fn plain_name(presented: &str) -> Option<String> {
    let name = presented.split('"').nth(1).unwrap_or(presented);
    let name = name.replace('*', "any");
    (!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:".contains(c))).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_out_the_values_that_a_message_quotes() {
        for (message, expected) in [
            ("Duplicate entry 'se'cret' for key 'push_token'", "Duplicate entry (…) for key 'push_token'"),
            (
                "Incorrect integer value: 'secret' for column `k`.`m`.`port` at row 1",
                "Incorrect integer value: (…) for column `k`.`m`.`port` at row 1",
            ),
            ("Truncated incorrect DOUBLE value: 'secret'", "Truncated incorrect DOUBLE value: (…)"),
            ("You have an error near 'secret' at line 1", "You have an error near (…)"),
            ("Table 'kuma.x' doesn't exist", "Table 'kuma.x' doesn't exist"),
        ] {
            assert_eq!(without_values(message), expected);
        }
    }
}
