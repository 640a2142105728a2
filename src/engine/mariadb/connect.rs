//! Opening a connection to the server.

use std::os::fd::AsRawFd as _;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

use super::{Address, fault};
use crate::error::{Denied, Result};
use crate::files;

/// Timeout of a new connection.
const CONNECT_TIME: Duration = Duration::from_secs(8);

/// Opens a connection; `name` overrides the name that the certificate must contain.
pub(super) async fn dial(address: &Address, name: Option<&str>) -> std::result::Result<Conn, mysql_async::Error> {
    let options = address.options(name);
    if let (Some(path), Some(folder)) = (&address.socket, &address.beneath) {
        let socket = files::open_socket(folder, path)?;
        return Conn::new(options.socket(Some(format!("/proc/self/fd/{}", socket.as_raw_fd())))).await;
    }
    // The path of a socket has at most 107 characters; the path of an anonymous volume is longer.
    match address.socket.as_ref().filter(|path| path.as_os_str().len() > 107) {
        None => Conn::new(options).await,
        Some(path) => {
            let (folder, file) = (path.parent().unwrap_or(path), path.file_name().unwrap_or_default());
            let folder = files::open_folder(folder)?;
            let way = format!("/proc/self/fd/{}/{}", folder.as_raw_fd(), file.display());
            Conn::new(options.socket(Some(way))).await
        }
    }
}

/// Opens a connection to the database at `address`.
pub(super) async fn connect(address: &Address) -> Result<Conn> {
    let attempt = async {
        let error = match dial(address, None).await {
            Ok(conn) => return Ok(conn),
            Err(error) => error,
        };
        // The certificate chain is valid, only the name differs, which the server ignores too.
        if let Some(name) =
            fault::certificate_names(&error).and_then(|names| names.iter().find_map(|name| fault::plain_name(name)))
        {
            return dial(address, Some(&name)).await.map_err(|error| fault::explain(address, error));
        }
        Err(if fault::is_refused_login(&error) && is_shadowed(address).await {
            fault::denied(address, Denied::Shadowed)
        } else {
            fault::explain(address, error)
        })
    };
    match tokio::time::timeout(CONNECT_TIME, attempt).await {
        Ok(outcome) => outcome,
        Err(_) => Err(fault::unreachable(address, &format!("timed out after {} s", CONNECT_TIME.as_secs()))),
    }
}

/// Whether the anonymous account of MariaDB matches this login before the named account: then the same name can log in
/// without a password.
async fn is_shadowed(address: &Address) -> bool {
    let bare = Address { password: Default::default(), database: String::new(), ..address.clone() };
    let Ok(mut conn) = dial(&bare, None).await else { return false };
    let account: Option<String> = conn.query_first("SELECT CURRENT_USER()").await.unwrap_or_default();
    let _ = conn.disconnect().await;
    account.is_some_and(|account| account.starts_with('@'))
}
