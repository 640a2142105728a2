//! Why something failed, in the words that people search for: never an error number.

use std::any::TypeId;
use std::error::Error as StdError;
use std::io;

use crate::tls;

/// The reason in `error`, wherever in its chain it is: that of TLS, else that of the operating system, else the text of the
/// innermost cause.
pub fn reason(error: &(dyn StdError + 'static)) -> String {
    if let Some(tls) = find::<rustls::Error>(error) {
        return format!("TLS: {}", tls::explain(tls));
    }
    if let Some(http) = find::<ureq::Error>(error) {
        return http_reason(http);
    }
    if is_lookup(error) {
        return "host name not found".into();
    }
    if find::<tokio::time::error::Elapsed>(error).is_some() {
        return "timed out".into();
    }
    match find::<io::Error>(error) {
        Some(io) => io_reason(io),
        None => innermost(error),
    }
}

/// The reason in an error of the HTTP client.
fn http_reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "timed out".into(),
        ureq::Error::HostNotFound => "host name not found".into(),
        ureq::Error::ConnectionFailed => "connection refused".into(),
        ureq::Error::Io(error) => io_reason(error),
        ureq::Error::Rustls(error) => format!("TLS: {}", tls::explain(error)),
        ureq::Error::Tls(why) => format!("TLS: {why}"),
        ureq::Error::StatusCode(code) => format!("the server answered with HTTP status {code}"),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => "invalid URL".into(),
        ureq::Error::Protocol(_) => "the server does not speak HTTP".into(),
        ureq::Error::BodyExceedsLimit(_) => "the response is too large".into(),
        other => innermost(other),
    }
}

/// The reason in `error`, without the number that the operating system adds.
pub fn io_reason(error: &io::Error) -> String {
    use io::ErrorKind::*;
    if let Some(tls) = find::<rustls::Error>(error) {
        return format!("TLS: {}", tls::explain(tls));
    }
    if is_lookup(error) {
        return "host name not found".into();
    }
    let known = match error.kind() {
        NotFound => "no such file or directory",
        PermissionDenied => "permission denied",
        ConnectionRefused => "connection refused",
        ConnectionReset => "connection reset",
        ConnectionAborted | NotConnected => "connection aborted",
        BrokenPipe => "broken pipe",
        HostUnreachable => "host unreachable",
        NetworkUnreachable | NetworkDown => "network unreachable",
        TimedOut => "timed out",
        UnexpectedEof => "unexpected end of file",
        StorageFull => "disk full",
        QuotaExceeded => "disk quota exceeded",
        ReadOnlyFilesystem => "read-only file system",
        AlreadyExists => "already exists",
        NotADirectory => "not a directory",
        IsADirectory => "is a directory",
        DirectoryNotEmpty => "directory not empty",
        AddrInUse => "address already in use",
        _ => return plain(error),
    };
    known.into()
}

/// `error`, and each error that is the cause of the one before.
fn causes<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'e (dyn StdError + 'static) = *error;
        // What an I/O error wraps is not its source but beside it.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inner.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| error.source())
    })
}

/// The error of type `E` among the causes of `error`: the innermost I/O error, because one may wrap another; else the first.
pub fn find<'e, E: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e E> {
    let mut found = causes(error).filter_map(|cause| cause.downcast_ref::<E>());
    if TypeId::of::<E>() == TypeId::of::<io::Error>() { found.last() } else { found.next() }
}

/// Whether a host name was looked for in vain. The standard library has no kind for it.
pub fn is_lookup(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|cause| cause.to_string().contains("failed to lookup address information"))
}

/// The message of the innermost cause of `error`.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    match cause.to_string().trim_end_matches('.') {
        "operation timed out" | "deadline has elapsed" => "timed out".into(),
        text => lower(text),
    }
}

/// The message of the operating system, without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    lower(text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words))
}

/// With a small first letter, unless it begins an abbreviation.
fn lower(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), second) if second.is_none_or(char::is_lowercase) => first.to_lowercase().chain(letters).collect(),
        _ => text.to_owned(),
    }
}
