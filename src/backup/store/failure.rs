//! Errors of stores in short, with hints.

/// The hint for an unknown failure.
const UNKNOWN: &str = "check the URL, and that the server can be reached from this machine";

/// The hint for a WebDAV server without listings.
const UNLISTED: &str = "the server does not list folders (PROPFIND), so kumadb could not find snapshots: enable full WebDAV support on the server (nginx: the module ngx_http_dav_ext with `dav_ext_methods PROPFIND OPTIONS;`)";

/// Patterns of failures with their hints; the first match counts. Statuses are written as in Rust's `http`.
const HINTS: [(&[&str], &str); 23] = [
    (
        &["RequestTimeTooSkewed", "date header too old", "date header in the request is too old"],
        "the clocks of this machine and the server differ: correct the wrong one, for example with \
         `timedatectl set-ntp true`",
    ),
    (
        &["AuthorizationHeaderMalformed", "IllegalLocationConstraint", "without LOCATION", "PermanentRedirect"],
        "set AWS_REGION to the region of the bucket (Garage: `garage`, MinIO: `us-east-1`)",
    ),
    (&["SignatureDoesNotMatch"], "AWS_SECRET_ACCESS_KEY does not match AWS_ACCESS_KEY_ID: copy it again"),
    (
        &["InvalidAccessKeyId"],
        "the server does not know AWS_ACCESS_KEY_ID: check AWS_ENDPOINT_URL, and copy the key again",
    ),
    (
        &["NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist"],
        "create the bucket or container first, or check its name in the URL",
    ),
    (
        &["XMinioStorageFull", "507 Insufficient Storage", "QuotaExceeded", "No space left"],
        "the disk or the quota of the server is full: free disk space on the server, or delete old snapshots with \
         `kumadb backup prune`",
    ),
    (
        &["413 Payload Too Large", "EntityTooLarge"],
        "the server or a proxy in front of it limits the size of a request; raise the limit (nginx: \
         `client_max_body_size 0;`, Apache: `LimitRequestBody 0`, PHP of Nextcloud: `upload_max_filesize`)",
    ),
    (
        &["423 Locked"],
        "another client has locked the file on the server: close it there, or wait until the lock expires",
    ),
    (&["429 Too Many Requests", "SlowDown"], "the server asks for fewer requests: run the command again later"),
    (
        &["169.254.169.254"],
        "no credentials given, and none provided by a cloud environment: set AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY (Google: GOOGLE_APPLICATION_CREDENTIALS, Azure: AZURE_STORAGE_ACCOUNT_KEY)",
    ),
    (
        &["Client sent an HTTP request to an HTTPS server", "plain HTTP request was sent to HTTPS"],
        "this port uses TLS: use `https://` (WebDAV: `webdavs://`)",
    ),
    (
        &["corrupt message of type InvalidContentType", "tls handshake eof"],
        "this port does not use TLS: use `http://` (WebDAV: `webdav://`), or the HTTPS port",
    ),
    (
        &["certificate"],
        "if it is signed by a private CA, set SSL_CERT_FILE to that CA certificate (PEM); otherwise use the host name \
         that the certificate contains",
    ),
    (
        &["connection refused"],
        "no service listens on that port: start the server, or check host and port (MinIO: S3 API on 9000, console on \
         9001; Garage: S3 API on 3900)",
    ),
    (&["failed to lookup address", "dns error"], "check the spelling of the host name, and the DNS of this machine"),
    (
        &["invalid HTTP version", "invalid header", "unexpected message from connection"],
        "the service on that port does not speak HTTP: check the port; for HTTPS use `https://` (WebDAV: `webdavs://`)",
    ),
    (
        &["before message completed"],
        "the server closed the connection without an answer: check the port, `https://` or `http://`, and the log of \
         the server",
    ),
    (&["no response within"], "the server accepts connections but does not respond: check its log, then restart it"),
    (
        &["timed out", "operation timed out", "deadline has elapsed"],
        "a firewall may drop the connection: check host, port and firewall",
    ),
    (
        &["invalid list response", "list response", "error decoding", "InvalidListResponse"],
        "the endpoint is not an S3 API: check AWS_ENDPOINT_URL (MinIO: S3 API on port 9000, console on 9001)",
    ),
    (
        &["409 Conflict"],
        "a parent folder is missing on the server, or a file with the same name exists: check the path in the URL",
    ),
    (
        &["502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"],
        "the server behind the proxy is not running: start it, or wait until it has started",
    ),
    (&["500 Internal Server Error"], "check the log of the server"),
];

/// The error of a store in short, with a hint. `credentials` is the hint when access is denied.
pub(super) fn explain(error: &object_store::Error, credentials: &'static str) -> (String, &'static str) {
    use object_store::Error::{PermissionDenied, Unauthenticated};
    let whole = whole(error);
    let known = HINTS.iter().find(|(signs, _)| signs.iter().any(|sign| contains(&whole, sign)));
    let is_refused = matches!(error, Unauthenticated { .. } | PermissionDenied { .. })
        // The library has no error kind for a refused listing.
        || ["401 Unauthorized", "403 Forbidden"].iter().any(|status| whole.contains(status));
    let unlisted = ["200 OK", "404 Not Found", "405 Method Not Allowed", "501 Not Implemented"];
    let is_unlisted = whole.contains("PROPFIND") && unlisted.iter().any(|status| whole.contains(status));
    let hint = match (known, is_refused) {
        _ if is_unlisted => UNLISTED,
        (Some((_, hint)), _) => hint,
        (None, true) => credentials,
        (None, false) => UNKNOWN,
    };
    (words(error, &whole), hint)
}

/// Ignores the case of the first letter.
fn contains(whole: &str, sign: &str) -> bool {
    whole.contains(sign) || whole.contains(&lower(sign)) || whole.contains(&upper(sign))
}

/// The full error with all causes, including the server's own message.
fn whole(error: &object_store::Error) -> String {
    let mut whole = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(one) = cause {
        whole.push_str(": ");
        whole.push_str(&one.to_string());
        cause = one.source();
    }
    whole
}

/// A short form: S3, Azure and Google respond in XML, others with HTML.
fn words(error: &object_store::Error, whole: &str) -> String {
    let tagged = |tag: &str| {
        let after = whole.split_once(&format!("<{tag}>"))?.1;
        after.split_once(&format!("</{tag}>")).map(|(text, _)| text.trim())
    };
    let reason = match (tagged("Code"), tagged("Message")) {
        (Some(code), Some(message)) => format!("{} ({code})", message.lines().next().unwrap_or_default()),
        (Some(code), None) => code.to_owned(),
        _ => root(error),
    };
    // Without a response, the address is half of the reason.
    let server = whole.split_once("://").and_then(|(_, rest)| rest.split(['/', ' ', '?', ')']).next());
    match server.filter(|_| !whole.contains("non-2xx") && !reason.contains("://")) {
        Some(server) if !server.is_empty() => format!("{server}: {reason}"),
        _ => reason,
    }
}

/// The innermost cause, on one line.
pub(super) fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text = cause.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let text = text.split(" to the request").next().unwrap_or_default();
    let text = text.split(": <").next().unwrap_or_default().lines().next().unwrap_or_default();
    lower(text.trim_start_matches("Server returned non-2xx status code: ").trim_end_matches([':', ' ']))
}

/// With a lower-case first letter, unless it begins an abbreviation.
fn lower(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), second) if second.is_none_or(char::is_lowercase) => first.to_lowercase().chain(letters).collect(),
        _ => text.to_owned(),
    }
}

fn upper(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
