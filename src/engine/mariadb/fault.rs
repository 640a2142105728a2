//! What MariaDB and the way to it say when they fail, in words a person understands and without anything secret.

use std::io;

use mysql_async::{DriverError, IoError, ServerError};

use super::Address;
use crate::error::Error;
use crate::tls;

/// The error of the project for `error`, met while talking to `address`.
pub(super) fn explain(address: &Address, error: mysql_async::Error) -> Error {
    let unreachable = |why: &str| Error::Unreachable { address: address.place(), why: why.to_owned() };
    match error {
        mysql_async::Error::Server(error) => explain_server(address, &error),
        mysql_async::Error::Io(IoError::Io(error)) => match find_tls(&error) {
            Some(error) => refuse_tls(address, tls::explain(error)),
            None => unreachable(&explain_io(address, &error)),
        },
        mysql_async::Error::Io(IoError::Tls(error)) => refuse_tls(address, explain_tls_setup(&error)),
        mysql_async::Error::Driver(error) => match error {
            DriverError::ConnectionClosed => unreachable("the connection is closed"),
            DriverError::NoClientSslFlagFromServer => refuse_tls(address, "it offers none".into()),
            DriverError::UnknownAuthPlugin { name } => {
                denied(address, &format!("it asks for `{name}`, which kumadb cannot do"))
            }
            DriverError::MysqlOldPasswordDisabled => {
                denied(address, "it keeps the password in the form of before MySQL 4.1")
            }
            DriverError::CleartextPluginDisabled => denied(address, "it asks for the password in plain text"),
            DriverError::PacketTooLarge => unreachable("one statement is larger than `max_allowed_packet`"),
            DriverError::PacketOutOfOrder | DriverError::UnexpectedPacket { .. } => {
                unreachable("it does not speak the protocol of MariaDB")
            }
            other => unreachable(&other.to_string()),
        },
        other => unreachable(&other.to_string()),
    }
}

/// The certificate that TLS was refused for is good for these names; asked for after [`explain`] would say so.
pub(super) fn certificate_names(error: &mysql_async::Error) -> Option<Vec<String>> {
    let mysql_async::Error::Io(IoError::Io(error)) = error else { return None };
    match find_tls(error)? {
        rustls::Error::InvalidCertificate(rustls::CertificateError::NotValidForNameContext { presented, .. }) => {
            Some(presented.clone())
        }
        _ => None,
    }
}

/// A login that failed for the user, not for the way to the server.
pub(super) fn is_refused_login(error: &mysql_async::Error) -> bool {
    matches!(error, mysql_async::Error::Server(error) if error.code == 1045)
}

fn denied(address: &Address, why: &str) -> Error {
    Error::AccessDenied { address: address.place(), user: address.user.clone(), why: why.to_owned(), shadowed: false }
}

fn refuse_tls(address: &Address, why: String) -> Error {
    Error::Tls { address: address.place(), why }
}

fn explain_server(address: &Address, error: &ServerError) -> Error {
    let database = address.to_string();
    let unreachable = |why: &str| Error::Unreachable { address: address.place(), why: why.to_owned() };
    let message = error.message.as_str();
    match error.code {
        1045 if address.password.reveal().is_empty() => denied(address, "it wants a password, and none was given"),
        1045 => denied(address, "wrong user or password"),
        1698 => denied(
            address,
            "only the user of the same name on the machine of MariaDB may log in so, through its socket",
        ),
        // The server names the account that it took, and an anonymous one has no name.
        1044 => Error::AccessDenied {
            address: address.place(),
            user: address.user.clone(),
            why: format!("it may not use the database `{}`", address.database),
            shadowed: message.contains("''@"),
        },
        1142 | 1143 | 1227 | 1370 => denied(address, &format!("it lacks a privilege ({message})")),
        1130 => denied(address, "MariaDB accepts nobody from this machine"),
        1251 => denied(address, "it asks for a way to log in that kumadb cannot do"),
        1820 | 1862 => denied(address, "its password has expired"),
        3118 | 4151 => denied(address, "the account is locked"),
        1129 => unreachable("it blocks this machine after too many failed connections, until `FLUSH HOSTS`"),
        1040 | 1203 | 1226 => unreachable("too many connections are open already"),
        1053 => unreachable("it is shutting down"),
        1317 | 1927 => unreachable("somebody ended the connection there"),
        1049 => Error::NoSuchDatabase { address: address.place(), database: address.database.clone() },
        1205 | 1213 | 1020 => Error::Busy { database },
        1021 | 1114 => Error::DiskFull { database },
        _ if message.contains("Errcode: 28") || message.contains("error 28") => Error::DiskFull { database },
        1290 | 1836 => Error::ReadOnly { database, why: "it is set to `read_only`".into() },
        1792 => Error::ReadOnly { database, why: "this connection only reads".into() },
        1153 => Error::Sql { database, message: "one row is larger than `max_allowed_packet` of MariaDB".into() },
        1412 => Error::Sql { database, message: "the tables were altered while they were read".into() },
        _ => Error::Sql { database, message: without_values(message) },
    }
}

/// `message` without the values it quotes, which may be a token or a password.
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
    use io::ErrorKind::*;
    match (error.kind(), &address.socket) {
        (NotFound, Some(_)) => "there is no such socket".into(),
        (PermissionDenied, Some(_)) => "this user may not open the socket".into(),
        (ConnectionRefused, Some(_)) => "nobody listens on the socket, MariaDB is not running".into(),
        (ConnectionRefused, None) => "nobody listens there".into(),
        (HostUnreachable | NetworkUnreachable, _) => "there is no way to that machine".into(),
        (TimedOut, _) => "it does not answer in time".into(),
        (ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof, _) => "the connection broke".into(),
        _ if error.to_string().contains("failed to lookup address") => "there is no machine of that name".into(),
        _ => {
            let text = error.to_string();
            text.split_once(" (os error").map_or(text.clone(), |(words, _)| words.to_lowercase())
        }
    }
}

fn find_tls(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref().or_else(|| inner.source()?.downcast_ref())
}

fn explain_tls_setup(error: &impl std::fmt::Display) -> String {
    format!("the given authority cannot be used ({error})")
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
