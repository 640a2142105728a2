//! HTTP authentication of WebDAV: Basic, or Digest (RFC 7616).

use std::fmt::Write as _;
use std::sync::Mutex;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use md5::{Digest as _, Md5};
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Url};
use sha2::Sha256;

/// A user and a password, and the authentication scheme of the server.
pub(super) struct HttpLogin {
    user: String,
    password: String,
    way: Mutex<Scheme>,
}

/// The scheme.
enum Scheme {
    /// Not known yet.
    Unknown,
    Basic,
    Digest {
        challenge: Challenge,
        used: u32,
    },
}

/// The parameters of a digest challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    /// The algorithm as written; MD5 by default.
    algorithm: Option<String>,
    /// Whether the server supports `qop=auth`; very old ones do not.
    counts: bool,
}

/// A request with a digest.
struct DigestRequest<'r> {
    method: &'r str,
    /// Path and query.
    target: &'r str,
    /// The how many-th with its challenge it is.
    used: u32,
    /// The nonce of the client.
    client: &'r str,
}

impl HttpLogin {
    /// With `at_once` the password is sent with the first request, which is safe only with TLS.
    pub(super) fn new(user: &str, password: &str, at_once: bool) -> HttpLogin {
        let way = if at_once { Scheme::Basic } else { Scheme::Unknown };
        HttpLogin { user: user.to_owned(), password: password.to_owned(), way: Mutex::new(way) }
    }

    /// The header of the next request.
    pub(super) fn authorization(&self, method: &Method, url: &Url) -> Option<HeaderValue> {
        let mut way = self.way.lock().ok()?;
        let text = match &mut *way {
            Scheme::Unknown => return None,
            Scheme::Basic => format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", self.user, self.password))),
            Scheme::Digest { challenge, used } => {
                *used += 1;
                let mut random = [0; 12];
                getrandom::fill(&mut random).ok()?;
                let target = match url.query() {
                    Some(query) => format!("{}?{query}", url.path()),
                    None => url.path().to_owned(),
                };
                let request =
                    DigestRequest { method: method.as_str(), target: &target, used: *used, client: &hex(&random) };
                challenge.answer(&self.user, &self.password, &request)
            }
        };
        let mut value = HeaderValue::from_bytes(text.as_bytes()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Processes the challenge of a server that rejected `sent`; returns whether to send the request again.
    pub(super) fn refused(&self, sent: Option<&HeaderValue>, headers: &HeaderMap) -> bool {
        let offers: Vec<(String, Vec<(String, String)>)> =
            headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).flat_map(offers).collect();
        let is = |offer: &str, desired: &str| offer.eq_ignore_ascii_case(desired);
        let digests = offers.iter().filter(|(scheme, _)| is(scheme, "Digest"));
        let best = digests.filter_map(|(_, values)| Challenge::of(values)).max_by_key(Challenge::strength);
        let basic = offers.iter().any(|(scheme, _)| is(scheme, "Basic"));
        let Ok(mut way) = self.way.lock() else { return false };
        let sent = sent.and_then(|sent| sent.to_str().ok()).unwrap_or_default();
        match (best, basic) {
            // A rejected nonce that was used means a wrong password; a new one means that the old one had expired.
            (Some(challenge), _) if sent.contains(&format!("nonce=\"{}\"", challenge.nonce)) => false,
            (Some(challenge), _) => {
                *way = Scheme::Digest { challenge, used: 0 };
                true
            }
            (None, true) if !sent.starts_with("Basic ") => {
                *way = Scheme::Basic;
                true
            }
            _ => false,
        }
    }
}

impl Challenge {
    /// `None` for unsupported algorithms.
    fn of(values: &[(String, String)]) -> Option<Challenge> {
        let value =
            |name: &str| values.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone());
        let qop = value("qop");
        let counts = qop.as_ref().is_some_and(|qop| qop.split(',').any(|one| one.trim().eq_ignore_ascii_case("auth")));
        let challenge = Challenge {
            realm: value("realm")?,
            nonce: value("nonce")?,
            opaque: value("opaque"),
            algorithm: value("algorithm"),
            counts,
        };
        Some(challenge).filter(|challenge| (counts || qop.is_none()) && challenge.strength() > 0)
    }

    fn algorithm(&self) -> String {
        self.algorithm.as_deref().unwrap_or("MD5").to_ascii_uppercase()
    }

    fn strength(&self) -> u8 {
        match self.algorithm().trim_end_matches("-SESS") {
            "SHA-256" => 2,
            "MD5" => 1,
            _ => 0,
        }
    }

    fn hash(&self, text: &str) -> String {
        match self.strength() {
            2 => hex(&Sha256::digest(text)),
            _ => hex(&Md5::digest(text)),
        }
    }

    /// The header of `request`.
    fn answer(&self, user: &str, password: &str, request: &DigestRequest<'_>) -> String {
        let Challenge { realm, nonce, .. } = self;
        let DigestRequest { method, target, used, client } = request;
        let mut secret = self.hash(&format!("{user}:{realm}:{password}"));
        if self.algorithm().ends_with("-SESS") {
            secret = self.hash(&format!("{secret}:{nonce}:{client}"));
        }
        let asked = self.hash(&format!("{method}:{target}"));
        let response = if self.counts {
            self.hash(&format!("{secret}:{nonce}:{used:08x}:{client}:auth:{asked}"))
        } else {
            self.hash(&format!("{secret}:{nonce}:{asked}"))
        };
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut header = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{nonce}\", uri=\"{target}\", response=\"{response}\"",
            quoted(user),
            quoted(realm)
        );
        if let Some(algorithm) = &self.algorithm {
            let _ = write!(header, ", algorithm={algorithm}");
        }
        if let Some(opaque) = &self.opaque {
            let _ = write!(header, ", opaque=\"{opaque}\"");
        }
        if self.counts {
            let _ = write!(header, ", qop=auth, nc={used:08x}, cnonce=\"{client}\"");
        }
        header
    }
}

/// The schemes in one header, each with its parameters.
fn offers(header: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = header.trim_start_matches([' ', ',']);
    while !rest.is_empty() {
        let end = rest.find([' ', '=', ',']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = match after.trim_start().strip_prefix('=') {
            Some(value) if !found.is_empty() => {
                let (value, after) = text(value.trim_start());
                if let Some((_, values)) = found.last_mut() {
                    values.push((word.to_owned(), value));
                }
                after
            }
            // A token of an unknown scheme.
            Some(after) => after,
            None => {
                found.push((word.to_owned(), Vec::new()));
                after
            }
        };
        rest = rest.trim_start_matches([' ', ',']);
    }
    found
}

/// The value at the beginning of `header`, quoted or not, and the rest.
fn text(header: &str) -> (String, &str) {
    let Some(quoted) = header.strip_prefix('"') else {
        let (value, after) = header.split_at(header.find(',').unwrap_or(header.len()));
        return (value.trim().to_owned(), after);
    };
    let (mut value, mut letters) = (String::new(), quoted.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            letter => value.push(letter),
        }
    }
    (value, "")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
