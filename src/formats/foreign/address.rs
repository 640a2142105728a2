//! Derives the type and columns of a monitor from an address.

use std::net::Ipv6Addr;

use super::super::node::{Entry, Node};
use super::draft::entry;

/// A parsed address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ParsedAddress {
    /// `https://example.com`
    Web(String),
    /// `wss://example.com`
    Socket(String),
    /// `tcp://example.com:22`, `example.com:22`
    Port(String, i64),
    /// `ping://example.com`, `example.com`
    Ping(String),
    /// `dns://example.com`
    Name(String),
}

impl ParsedAddress {
    /// The address in `text`; `None` if it is not one.
    pub(super) fn read(text: &str) -> Option<ParsedAddress> {
        let text = text.trim();
        if text.is_empty() || text.contains(char::is_whitespace) {
            return None;
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return match host_and_port(text) {
                Some((host, Some(port))) => Some(ParsedAddress::Port(host, port)),
                Some((host, None)) => Some(ParsedAddress::Ping(host)),
                None => None,
            };
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (host, port) = host_and_port(authority.rsplit_once('@').map_or(authority, |(_, host)| host))?;
        match (scheme.to_ascii_lowercase().as_str(), port) {
            ("http" | "https", _) => Some(ParsedAddress::Web(text.to_owned())),
            ("ws" | "wss", _) => Some(ParsedAddress::Socket(text.to_owned())),
            ("tcp", Some(port)) => Some(ParsedAddress::Port(host, port)),
            ("ping" | "icmp", None) => Some(ParsedAddress::Ping(host)),
            ("dns", None) => Some(ParsedAddress::Name(host)),
            _ => None,
        }
    }

    /// The type of monitor that checks it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            ParsedAddress::Web(_) => "http",
            ParsedAddress::Socket(_) => "websocket-upgrade",
            ParsedAddress::Port(..) => "port",
            ParsedAddress::Ping(_) => "ping",
            ParsedAddress::Name(_) => "dns",
        }
    }

    /// Its columns, at the position of `node`.
    pub(super) fn columns(&self, node: &Node) -> Vec<Entry> {
        let text = |key: &str, text: &str| entry(key, Node::new(node.at.clone(), text));
        match self {
            ParsedAddress::Web(url) | ParsedAddress::Socket(url) => vec![text("url", url)],
            ParsedAddress::Ping(host) | ParsedAddress::Name(host) => vec![text("hostname", host)],
            ParsedAddress::Port(host, port) => {
                vec![text("hostname", host), entry("port", Node::new(node.at.clone(), *port))]
            }
        }
    }

    /// The default name of a monitor: the host, with its port if that is checked.
    pub(super) fn name(&self) -> String {
        match self {
            ParsedAddress::Web(url) | ParsedAddress::Socket(url) => host_of(url).unwrap_or_else(|| url.clone()),
            ParsedAddress::Ping(host) | ParsedAddress::Name(host) => host.clone(),
            ParsedAddress::Port(host, port) => {
                if host.contains(':') {
                    format!("[{host}]:{port}")
                } else {
                    format!("{host}:{port}")
                }
            }
        }
    }
}

/// The host in a URL.
pub(super) fn host_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host_and_port(authority).map(|(host, _)| host)
}

/// `example.com:22` as host and port; `[::1]:22` without brackets.
pub(super) fn host_and_port(text: &str) -> Option<(String, Option<i64>)> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None if text.matches(':').count() > 1 => {
            text.split('%').next().unwrap_or_default().parse::<Ipv6Addr>().ok()?;
            (text, None)
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        Some(port) => Some(port.parse::<u16>().ok().filter(|port| *port > 0)?),
        None => None,
    };
    (!host.is_empty()).then(|| (host.to_owned(), port.map(i64::from)))
}

/// The type for a common synonym; other words are not changed.
pub(super) fn kind_of(word: &str) -> String {
    let lower = word.trim().to_lowercase();
    let meant = match lower.as_str() {
        "https" | "http(s)" | "web" | "website" | "url" => "http",
        "tcp" | "tcp-port" | "tcp port" => "port",
        "icmp" => "ping",
        "json" | "jsonquery" | "json_query" | "json query" => "json-query",
        "game" => "gamedig",
        "websocket" | "ws" | "wss" => "websocket-upgrade",
        "container" => "docker",
        "heartbeat" => "push",
        "browser" => "real-browser",
        other => other,
    };
    meant.to_owned()
}

/// The type that a program wrote: as it is if it is known or nothing like a known one, otherwise that one.
pub(super) fn type_of(word: &str) -> String {
    let meant = kind_of(word);
    if crate::model::kind(word).is_none() && crate::model::kind(&meant).is_some() { meant } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_what_checks_it() {
        for (text, kind, name) in [
            ("https://user:pass@example.com:8443/a?b=c", "http", "example.com"),
            ("wss://example.com/live", "websocket-upgrade", "example.com"),
            ("tcp://10.0.0.1:22", "port", "10.0.0.1:22"),
            ("db.example.com:5432", "port", "db.example.com:5432"),
            ("[::1]:22", "port", "[::1]:22"),
            ("::1", "ping", "::1"),
            ("ping://router", "ping", "router"),
            ("router", "ping", "router"),
            ("dns://example.com", "dns", "example.com"),
        ] {
            let address = ParsedAddress::read(text).expect(text);
            assert_eq!((address.kind(), address.name().as_str()), (kind, name), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_says_nothing() {
        for text in
            ["", "two words", "tcp://host", "host:port", "host:0", "host:70000", "ftp://example.com", "http://", ":22"]
        {
            assert_eq!(ParsedAddress::read(text), None, "{text}");
        }
    }
}
