//! Checks of what others use to reach the server: push tokens, API keys, domains of status pages.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::monitors::{Monitors, id, set, shown, subject};
use super::{Evidence, Fault, Fix};
use crate::model::push_token_length;
use crate::value::{Row, Value, stored_time};

/// Push tokens that no heartbeat can be sent to. The server takes the first active monitor with the token that is in
/// the path of the URL (1.23.17, 2.5.3).
pub(super) fn find_bad_tokens(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(monitors) = Monitors::of(evidence) else { return };
    let longest = push_token_length(monitors.content.config.database.release.release).max(32);
    let mut taken: BTreeMap<&str, &Row> = BTreeMap::new();
    let pushes = monitors.rows.iter().filter(|row| row.text("type") == Some("push"));
    for row in pushes {
        let cell = row.cell("push_token");
        let token = cell.text().unwrap_or_default();
        // A token with which heartbeats may arrive is not replaced: the senders use it.
        let mut may_be_in_use = false;
        let why = if token.trim().is_empty() {
            format!("has {} push token: no heartbeat can be sent to it", if cell.is_null() { "no" } else { "a blank" })
        } else if let Some(odd) = token.chars().find(|c| c.is_whitespace() || c.is_control() || "/?#%\\".contains(*c)) {
            may_be_in_use = true;
            format!(
                "has a push token with {}: heartbeats only arrive if this character is encoded in the URL",
                if odd.is_whitespace() { "a space".to_owned() } else { format!("`{}`", odd.escape_default()) }
            )
        } else if token.chars().count() > longest {
            may_be_in_use = true;
            format!("has a push token of more than {longest} characters, which only SQLite can store")
        } else if !row.cell("active").truthy() {
            continue;
        } else if let Some(first) = taken.get(token) {
            format!(
                "has the same push token as {} ({}): the server counts every heartbeat for that one, and this one \
                 stays down",
                monitors.name(first),
                id(first)
            )
        } else {
            taken.insert(token, row);
            continue;
        };
        let fix = match evidence.tokens.get(&id(row)).filter(|_| !may_be_in_use) {
            Some(token) => Fix::Rows(vec![monitors.set(row, &[("push_token", token.as_str().into())])]),
            None => Fix::Advice(format!("set a new token: kumadb monitor edit {} -s push_token=TOKEN", id(row))),
        };
        faults.push(Fault {
            subject: monitors.subject(row, "push_token"),
            what: format!("{} {why}", monitors.name(row)),
            fix,
        });
    }
}

/// API keys are required, and none can be used; or a key whose date of expiry is not a date, which never expires. With
/// `apiKeysEnabled` the server does not accept passwords for `/metrics` (2.5.3).
pub(super) fn find_unusable_keys(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    let keys = content.config.rows("api_key");
    for row in keys {
        let expires = row.cell("expires");
        if !expires.is_null() && expiry(expires).is_none() {
            let name = row.text("name").unwrap_or_default();
            faults.push(Fault {
                subject: subject("api_key", row, "expires"),
                what: format!("API key `{name}` expires at {}, which is not a date: it never expires", shown(expires)),
                fix: Fix::Advice(format!(
                    "replace the key: kumadb api-key add NAME --expires DATE, then: kumadb api-key delete {}",
                    id(row)
                )),
            });
        }
    }
    let Some(setting) = content.config.setting("apiKeysEnabled").filter(|row| row.text("value") == Some("true")) else {
        return;
    };
    let is_valid = |row: &&Row| expiry(row.cell("expires")).is_none_or(|end| end > evidence.now);
    let usable = keys.iter().filter(|row| row.cell("active").truthy()).filter(is_valid).count();
    if usable == 0 {
        let why = if keys.is_empty() { "there is none" } else { "all are disabled or expired" };
        faults.push(Fault {
            subject: subject("setting", setting, "value"),
            what: format!(
                "API keys are enabled, but {why}: `/metrics` answers 401 to everybody, because the server does not \
                 accept passwords while `apiKeysEnabled` is true"
            ),
            fix: Fix::Advice(
                "create a key: kumadb api-key add NAME; or, to use the password again, set `apiKeysEnabled: false` \
                 under `settings` in a fixture, and apply it"
                    .into(),
            ),
        });
    }
}

/// When a key expires.
fn expiry(cell: &Value) -> Option<DateTime<Utc>> {
    stored_time(cell.text()?).map(|time| time.and_utc())
}

/// Domains of status pages that no browser sends: the server compares them with the host name of a request, which has
/// lower case and neither scheme, port nor path (2.5.3).
pub(super) fn find_bad_domains(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    let rows = content.config.rows("status_page_cname");
    let is_behind_proxy = content.config.setting("trustProxy").is_some_and(|row| row.text("value") == Some("true"));
    for row in rows {
        let domain = row.text("domain").unwrap_or_default();
        let host = host_of(domain);
        if host == domain && !domain.is_empty() {
            continue;
        }
        // A proxy may send the host name with a port, and the server compares it as it is (2.5.3).
        let port = domain.strip_prefix(&host).and_then(|rest| rest.strip_prefix(':'));
        if is_behind_proxy && port.is_some_and(|port| port.chars().all(|c| c.is_ascii_digit())) {
            continue;
        }
        let is_taken = rows.iter().any(|other| other.text("domain") == Some(host.as_str()));
        let named = format!("domain `{domain}`");
        let (what, fix) = if host.is_empty() || host.contains(char::is_whitespace) {
            let advice = "set the domain again in the web UI, or with a fixture and `kumadb apply`";
            (format!("{named} of a status page is not a host name"), Fix::Advice(advice.into()))
        } else if is_taken {
            let advice = format!("remove it in the web UI: `{host}` already exists");
            (format!("{named} of a status page has more than a host name in lower case"), Fix::Advice(advice))
        } else {
            let step = set("status_page_cname", &named, row, &[("domain", host.as_str().into())]);
            (format!("{named} of a status page has more than the host name `{host}`"), Fix::Rows(vec![step]))
        };
        faults.push(Fault {
            subject: subject("status_page_cname", row, "domain"),
            what: format!("{what}: the server never shows the page at this domain"),
            fix,
        });
    }
}

/// The host name in what people write for a domain.
fn host_of(domain: &str) -> String {
    let rest = domain.trim();
    let rest = rest.split_once("://").map_or(rest, |(_, rest)| rest).trim_start_matches('/');
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    host.trim().trim_end_matches('.').to_lowercase()
}
