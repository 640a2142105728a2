//! HTTP checks of the server from outside, as a browser, Prometheus or a script uses it.

mod answer;
mod metrics;

use std::io;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value as Json;
use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use crate::error::{Error, InputError, Result, find, reason};
use crate::tls::{self, TlsFaultSide};
use crate::value::Secret;

pub use answer::{ResponseVerdict, ServerState, judge_badge, judge_entry, judge_metrics, public_monitors};
pub use metrics::{Known, read_monitors};

/// Maximum size of a response: the metrics of 100,000 monitors.
const LONGEST: u64 = 64 << 20;

/// How a TLS connection is verified.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// CA certificates, as PEM, instead of the public ones.
    pub authorities: Option<String>,
    /// Skip verification.
    pub anybody: bool,
}

/// Timeout and TLS verification.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Timeout of a request.
    pub timeout: Duration,
    /// TLS verification.
    pub trust: Trust,
}

/// The credentials.
#[derive(Clone, Debug)]
pub struct ServerLogin {
    /// The user name; empty with an API key, for which the server ignores it.
    pub name: String,
    /// The password, or the API key.
    pub secret: Secret,
}

/// The HTTP interface of a server.
pub struct HttpClient {
    base: String,
    agent: Agent,
}

/// The result of a request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its duration.
    pub took: Duration,
    /// The response, or the reason why there is none.
    pub response: Result<Response, String>,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The `Location` of a redirect.
    pub location: Option<String>,
    /// Its body.
    pub body: String,
}

impl HttpClient {
    /// The server at `base`, such as `https://kuma.example.com/path`. A proxy in the environment is not used, and
    /// redirects are not followed: both would lead to another server.
    ///
    /// # Errors
    /// [`InputError::Address`]: `base` is not a valid URL, or the CA certificates
    /// are not valid PEM.
    pub fn new(base: &str, manner: &HttpOptions) -> Result<HttpClient> {
        let base = base.trim_end_matches('/');
        let host =
            base.split_once("://").filter(|(scheme, _)| ["http", "https"].contains(scheme)).map(|(_, host)| host);
        if host.is_none_or(|host| host.is_empty() || host.contains(['?', '#', '@', ' '])) {
            return Err(Error::Input(InputError::Address {
                kind: "URL",
                shown: base.to_owned(),
                why: "use a URL such as https://kuma.example.com".into(),
            }));
        }
        let mut tls = TlsConfig::builder().disable_verification(manner.trust.anybody);
        if let Some(pem) = &manner.trust.authorities {
            tls = tls.root_certs(read_authorities(pem)?);
        }
        let config = Agent::config_builder()
            .timeout_global(Some(manner.timeout))
            .tls_config(tls.build())
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent("kumadb");
        Ok(HttpClient { base: base.to_owned(), agent: config.build().into() })
    }

    /// Its URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Requests `path`, which begins with a `/`.
    pub fn ask(&self, path: &str, login: Option<&ServerLogin>) -> Reply {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(login) = login {
            let pair = BASE64_STANDARD.encode(format!("{}:{}", login.name, login.secret.reveal()));
            request = request.header("authorization", format!("Basic {pair}"));
        }
        reply(request)
    }

    /// Sends one heartbeat to the push monitor with this token; `ping` is in milliseconds. Returns the response of the
    /// server: `Ok`, or why it was rejected (2.5.3).
    pub fn push(&self, token: &Secret, status: &str, message: &str, ping: Option<f64>) -> Result<(), String> {
        let request = self
            .agent
            .get(format!("{}/api/push/{}", self.base, token.reveal()))
            .query("status", status)
            .query("msg", message)
            .query("ping", ping.map_or(String::new(), |ping| ping.to_string()));
        let response = reply(request).response?;
        match serde_json::from_str::<Json>(&response.body) {
            Ok(answer) if answer["ok"] == Json::Bool(true) => Ok(()),
            Ok(answer) => Err(answer["msg"].as_str().unwrap_or("the server rejected it").to_owned()),
            Err(_) => Err(format!("the response (status {}) is not from Uptime Kuma", response.status)),
        }
    }
}

fn reply(request: ureq::RequestBuilder<ureq::typestate::WithoutBody>) -> Reply {
    let since = Instant::now();
    let response = request.call().and_then(|mut answer| {
        let location = answer.headers().get("location").and_then(|place| place.to_str().ok()).map(str::to_owned);
        let body = answer.body_mut().with_config().limit(LONGEST).lossy_utf8(true).read_to_string()?;
        Ok(Response { status: answer.status().as_u16(), location, body })
    });
    Reply { took: since.elapsed(), response: response.map_err(|error| silence(&error)) }
}

/// Why there is no response. Addresses may contain tokens, so it repeats none.
fn silence(error: &ureq::Error) -> String {
    let why = reason(error);
    let advice = match (error, find::<rustls::Error>(error)) {
        (_, Some(tls)) => match tls::blame(tls) {
            TlsFaultSide::Authority => "give the CA certificate with --ca FILE, or skip verification with --insecure",
            TlsFaultSide::Certificate => "use its host name with --url, or skip verification with --insecure",
            TlsFaultSide::Handshake => "use http://",
        },
        (ureq::Error::Timeout(_), None) => "the server hangs, or a firewall drops the connection",
        (ureq::Error::Protocol(_), None) => "use https://",
        (ureq::Error::Io(error), None) if is_cut_off(error) => {
            "check the scheme of the URL: the server may expect https:// instead of http://, or the reverse"
        }
        _ => return why,
    };
    format!("{why}: {advice}")
}

/// Whether the server closed the connection without a response.
fn is_cut_off(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), ConnectionReset | UnexpectedEof | ConnectionAborted)
}

fn read_authorities(pem: &str) -> Result<RootCerts> {
    let wrong = |why: String| Error::Input(InputError::Authorities { why });
    let mut found = Vec::new();
    for item in parse_pem(pem.as_bytes()) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(wrong(error.to_string())),
        }
    }
    if found.is_empty() {
        return Err(wrong("the file does not contain a certificate".into()));
    }
    Ok(RootCerts::new_with_certs(&found))
}
