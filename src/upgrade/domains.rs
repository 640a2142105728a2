//! Which monitors keep the notification about the expiry of their domain: migration
//! `2026-02-07-0000-disable-domain-expiry-unsupported-tlds.js` of 2.1.1, with the list of 2.1.2 to 2.5.3.

use std::net::Ipv6Addr;

/// Top-level domains whose registry has an RDAP server: `extra/rdap-dns.json` of 2.1.2 to 2.5.3, of 2026-02-13.
const SUPPORTED: &str = include_str!("tlds.txt");

/// The field with the host of a monitor of this type, where the server checks domains for the type.
pub fn host_field(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "http" | "keyword" | "json-query" | "real-browser" | "websocket-upgrade" => "url",
        "grpc-keyword" => "grpc_url",
        "port" | "ping" | "dns" | "smtp" | "snmp" | "gamedig" | "steam" | "mqtt" | "radius" | "tailscale-ping"
        | "sip-options" => "hostname",
        _ => return None,
    })
}

/// Whether the server can look up when the domain of `address` expires: a URL or a host.
pub fn is_supported(address: &str) -> bool {
    let Some(host) = host(address) else { return false };
    let last = host.rsplit('.').next().unwrap_or_default();
    SUPPORTED.split_ascii_whitespace().any(|known| known == last)
}

/// The host in `address`, in lower case; `None` for an address without one, or with an IP address.
fn host(address: &str) -> Option<String> {
    let address = address.trim_matches(|c: char| c <= ' ');
    let address: String = address.chars().filter(|c| !matches!(c, '\t' | '\n' | '\r')).collect();
    let authority = authority(&address)?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if authority.starts_with('[') || authority.parse::<Ipv6Addr>().is_ok() {
        return None;
    }
    let host = match authority.split_once(':') {
        Some((host, port)) if !port.contains(':') => host,
        Some(_) => return None,
        None => authority,
    };
    let host = host.trim_end_matches('.').to_lowercase();
    let is_ipv4 = host.split('.').count() == 4 && host.chars().all(|c| c.is_ascii_digit() || c == '.');
    (is_valid(&host) && !is_ipv4).then_some(host)
}

/// The part of `address` with user, host and port.
fn authority(address: &str) -> Option<&str> {
    let end = |text: &str, also: &[char]| {
        text.find(|c| matches!(c, '/' | '?' | '#') || also.contains(&c)).unwrap_or(text.len())
    };
    if let Some(rest) = address.strip_prefix("//") {
        return Some(&rest[..end(rest, &[])]);
    }
    if address.starts_with("data:") {
        return None;
    }
    let (scheme, rest) = match address.find(":/") {
        Some(at) => (&address[..at], &address[at + 1..]),
        // Without a slash, a colon is behind a user or before a port, or the rest is not an address.
        None => match address.split_once(':').filter(|(scheme, _)| is_special(scheme)) {
            Some((scheme, rest)) if !is_port(rest) => (scheme, rest),
            _ => {
                let authority = &address[..end(address, &[])];
                let opaque = match authority.split_once(':') {
                    Some((_, rest)) => !rest.contains(['@', ':']) && !is_port(rest),
                    None => false,
                };
                return (!opaque).then_some(authority);
            }
        },
    };
    if is_special(scheme) {
        let rest = rest.trim_start_matches(['/', '\\']);
        return Some(&rest[..end(rest, &['\\'])]);
    }
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let rest = rest.strip_prefix("//").filter(|_| scheme.chars().all(is_scheme))?;
    Some(&rest[..end(rest, &[])])
}

fn is_port(text: &str) -> bool {
    let digits = text.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_special(scheme: &str) -> bool {
    ["http", "https", "ws", "wss", "ftp"].iter().any(|special| scheme.eq_ignore_ascii_case(special))
}

fn is_valid(host: &str) -> bool {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_') || !c.is_ascii();
    // A dot at the start is accepted.
    let labels: Vec<&str> = host.strip_prefix('.').unwrap_or(host).split('.').collect();
    host.len() <= 255
        && labels.iter().all(|label| {
            let dashes = label.starts_with('-') || label.ends_with('-');
            !label.is_empty() && label.len() <= 63 && !dashes && label.chars().all(is_part)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_host_of_every_address() {
        for address in [
            "https://example.com/x",
            "http://user:p@a.b.co.uk:8080/",
            "https://com",
            "//foo.org/",
            "https://EXAMPLE.COM.",
            "https://under_score.net",
            "mailto:x@example.org",
            "example.dev:99",
            "https://a.b.c.fr?x=1",
            "https://a.nl#f",
            "example.com/path",
            "  https://a.com  ",
        ] {
            assert!(is_supported(address), "{address}");
        }
        for address in [
            "https://example.de",
            "https://10.0.0.1",
            "http://[::1]:3000",
            "2a01:e35::1",
            "https://exa mple.com",
            "",
            "https://localhost",
            "mailto:com",
            "https://-ex.com",
            "https://a..com",
            "foo:/a.com",
        ] {
            assert!(!is_supported(address), "{address}");
        }
        assert_eq!(SUPPORTED.split_ascii_whitespace().count(), 1197);
    }
}
