//! Addresses and credentials of stores, checked before any connection.

use std::path::Path;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;
use object_store::path::Path as Key;
use reqwest::Url;

use super::credentials::Credentials;
use crate::error::{Error, InputError, Result};
use crate::text::did_you_mean;

/// The address of a store that is not a folder.
#[derive(Debug)]
pub(super) struct StoreAddress<'a> {
    pub(super) scheme: &'a str,
    /// A bucket, a container, or `host:port`.
    pub(super) host: &'a str,
    pub(super) prefix: Key,
}

/// Checks the address of a store; makes no connection.
///
/// # Errors
/// The reason, and the right form.
pub fn check_address(address: &str) -> Result<(), String> {
    match address.split_once("://") {
        None => match address.split_once(':') {
            _ if address.is_empty() => Err("the store URL is empty".into()),
            Some((scheme @ ("s3" | "az" | "gs" | "webdav" | "webdavs"), rest)) => Err(format!(
                "`{address}`: write `{scheme}://{}`, or `./{address}` for a folder of that name",
                rest.trim_start_matches('/')
            )),
            _ => Ok(()),
        },
        Some((scheme @ ("http" | "https"), rest)) => Err(format!(
            "`{address}`: for WebDAV write `{}://{rest}`; for S3 set AWS_ENDPOINT_URL to the \
             server's URL, and write `s3://BUCKET/PREFIX`",
            scheme.replacen("http", "webdav", 1)
        )),
        Some(_) => parse(address).map(drop),
    }
}

/// Splits an address with a scheme. `http` and `https` are for an archive on any web server.
pub(super) fn parse(address: &str) -> Result<StoreAddress<'_>, String> {
    let wrong = |why: String| format!("`{address}`: {why}");
    let (scheme, rest) = address.split_once("://").unwrap_or_default();
    let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if !["s3", "az", "gs", "webdav", "webdavs", "http", "https"].contains(&scheme) {
        return Err(wrong(format!("`{scheme}` is not a supported scheme (s3, az, gs, webdav, webdavs)")));
    }
    if host.is_empty() {
        return Err(wrong("the bucket, container or host is missing".into()));
    }
    if host.contains('@') {
        return Err(
            "a store URL must not contain user and password, because every user of this machine can see them in the \
             process list; set WEBDAV_USERNAME and WEBDAV_PASSWORD instead"
                .into(),
        );
    }
    if let Some(c) = rest.chars().find(|c| matches!(c, '?' | '#') || c.is_control()) {
        return Err(wrong(format!("a URL cannot contain {c:?}")));
    }
    if scheme.starts_with("webdav") || scheme.starts_with("http") {
        let url = format!("{}://{host}", scheme.replacen("webdav", "http", 1));
        Url::parse(&url).map_err(|error| wrong(format!("{error} in `{host}`")))?;
    } else if let Some((server, port)) = host.split_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()) {
        return Err(wrong(format!(
            "`{server}:{port}` is a server, not a bucket or container: set {}, and write \
             `{scheme}://{}`",
            match scheme {
                "s3" => format!("AWS_ENDPOINT_URL=http://{server}:{port}"),
                "az" => format!("AZURE_ENDPOINT=http://{server}:{port}"),
                _ => format!("GOOGLE_BASE_URL=http://{server}:{port}"),
            },
            if prefix.is_empty() { "BUCKET/PREFIX" } else { prefix }
        )));
    } else if let Some(c) = host.chars().find(|c| !c.is_ascii_alphanumeric() && !"-._".contains(*c)) {
        return Err(wrong(format!("{c:?} is not allowed in the name of a bucket or container")));
    }
    let prefix = Key::parse(prefix).map_err(|error| wrong(error.to_string()))?;
    Ok(StoreAddress { scheme, host, prefix })
}

/// Fails unless requests to a store of `scheme` can be made with `credentials`.
pub(super) fn check_credentials(scheme: &str, credentials: &Credentials) -> Result<()> {
    for (name, value) in credentials.iter().filter(|(name, _)| is_used(scheme, name)) {
        let wrong = |why: &str| Err(Error::Input(InputError::Variable { name: name.to_owned(), why: why.to_owned() }));
        // Google's key is a JSON document, and a password may have any form.
        if value.chars().any(char::is_control) && name != "GOOGLE_SERVICE_ACCOUNT_KEY" {
            return wrong("it contains a line break or another control character");
        }
        if !value.is_ascii() && !name.starts_with("WEBDAV_") {
            return wrong("it contains a non-ASCII character");
        }
        if name == "GOOGLE_SERVICE_ACCOUNT_KEY" && serde_json::from_str::<serde_json::Value>(value).is_err() {
            return wrong("it is not a JSON key of a service account");
        }
        if is_url(name) {
            check_url(name, value)?;
        }
        if ["AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_MASTER_KEY"].contains(&name)
            && BASE64_STANDARD.decode(value).is_err()
        {
            return wrong(
                "it is not valid base64: copy the full `key1`, including the `=` at the end, from \"Access keys\" of \
                 the storage account",
            );
        }
        if ["GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH"].contains(&name) {
            check_json(name, Path::new(value))?;
        }
    }
    for (one, other) in [("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")]
    {
        if scheme == "s3" && credentials.value(one).is_some() && credentials.value(other).is_none() {
            return Err(Error::Input(InputError::VariableMissing {
                name: other.into(),
                because: format!("`{one}` is set, and requires it"),
            }));
        }
    }
    let account = ["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_USE_EMULATOR", "AZURE_USE_FABRIC_ENDPOINT"];
    if scheme == "az" && account.iter().all(|name| credentials.value(name).is_none()) {
        return Err(Error::Input(InputError::VariableMissing {
            name: account[0].into(),
            because: "the name of the storage account is required".into(),
        }));
    }
    Ok(())
}

/// Whether a store of `scheme` uses the variable `name`.
fn is_used(scheme: &str, name: &str) -> bool {
    let key = name.to_ascii_lowercase();
    match scheme {
        "s3" => name.starts_with("AWS_") && AmazonS3ConfigKey::from_str(&key).is_ok(),
        "az" => name.starts_with("AZURE_") && AzureConfigKey::from_str(&key).is_ok(),
        "gs" => name.starts_with("GOOGLE_") && GoogleConfigKey::from_str(&key).is_ok(),
        _ => DAV.contains(&name),
    }
}

const DAV: [&str; 2] = ["WEBDAV_USERNAME", "WEBDAV_PASSWORD"];

/// The common ones; others are known too.
const USUAL: [&str; 17] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_TENANT_ID",
    "AZURE_ENDPOINT",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_BASE_URL",
    DAV[0],
    DAV[1],
];

/// Fails unless some store uses the variable `name`; suggests the nearest one.
///
/// # Errors
/// The problem.
pub fn check_variable(name: &str) -> Result<(), String> {
    if ["s3", "az", "gs", "webdav"].iter().any(|scheme| is_used(scheme, name)) {
        Ok(())
    } else {
        Err(format!("no store uses `{name}`{}", did_you_mean(name, USUAL)))
    }
}

fn is_url(name: &str) -> bool {
    let is_address = name.contains("ENDPOINT") || name.ends_with("_URL") || name.ends_with("AUTHORITY_HOST");
    is_address && !name.contains("_USE_")
}

/// Fails unless `value` is the address of a server.
fn check_url(name: &str, value: &str) -> Result<()> {
    // A value that may contain a password is not repeated.
    let shown = if value.contains('@') { "a URL with @" } else { value };
    let wrong = |why: String| {
        Err(Error::Input(InputError::Variable { name: name.to_owned(), why: format!("`{shown}`: {why}") }))
    };
    let Some((scheme, _)) = value.split_once("://") else {
        let is_near = value.starts_with("localhost") || value.rsplit_once(':').is_some_and(|(_, port)| port != "443");
        let scheme = if is_near { "http" } else { "https" };
        return wrong(format!("`http://` or `https://` is missing; use `{scheme}://{shown}`"));
    };
    if !["http", "https"].contains(&scheme) {
        return wrong("it must begin with `http://` or `https://`".into());
    }
    match Url::parse(value) {
        Err(error) => wrong(format!("{error}; use a URL such as `https://s3.example.com` or `http://10.0.0.5:9000`")),
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            wrong("remove the part that begins with `?` or `#`".into())
        }
        Ok(url) if value.parse::<http::Uri>().is_err() || url.host_str().is_none() => {
            wrong("invalid URL; use one such as `https://s3.example.com` or `http://10.0.0.5:9000`".into())
        }
        Ok(url) if name.contains("ENDPOINT") && (!url.username().is_empty() || url.password().is_some()) => {
            wrong("remove user and password from it".into())
        }
        Ok(_) => Ok(()),
    }
}

/// Fails unless `file` is a JSON document.
fn check_json(name: &str, file: &Path) -> Result<()> {
    let text = crate::files::read_whole(file)
        .map_err(|error| Error::Input(InputError::Variable { name: name.to_owned(), why: error.to_string() }))?;
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::Input(InputError::Variable {
            name: name.to_owned(),
            why: format!("`{}` is not the JSON file of a service account", file.display()),
        })),
    }
}
