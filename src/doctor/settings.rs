//! Checks of settings and users.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::migrations::is_up;
use super::monitors::{delete, set, subject};
use super::{Evidence, Fault, Fix};
use crate::model::entities::SETTING_KEYS;
use crate::text::counted;
use crate::value::Row;

/// The value of `migrateAggregateTableState` while the upgrade to 2.x aggregates old heartbeats.
const MIGRATING: &str = "migrating";

/// Its value afterwards, as JSON.
const MIGRATED: &str = "\"migrated\"";

/// The upgrade to 2.x was interrupted while it aggregated old heartbeats, and refuses to start again.
pub(super) fn find_stuck_statistics(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    let Some(row) = setting(evidence, "migrateAggregateTableState") else { return };
    let Some(text) = row.text("value") else { return };
    let is_text = serde_json::from_str::<Json>(text).is_ok_and(|json| json == MIGRATING);
    if !is_text && text != MIGRATING {
        return;
    }
    if is_up(evidence) {
        // A server that finds this state at its start ends at once: this one has written it.
        let what = "a server aggregates the heartbeats of 1.x now: its upgrade is not done".into();
        let fix = Fix::Advice(
            "wait until it is done; its log shows the progress. Do not stop the server: it would not start again"
                .into(),
        );
        faults.push(Fault { subject: subject("setting", row, "value"), what, fix });
        return;
    }
    // Old heartbeats are deleted after the last one was aggregated (2.0.0 to 2.5.3): their statistics are complete, and cannot
    // be computed again.
    let is_done = !content.aggregated.is_empty();
    let what = "the upgrade was interrupted while it aggregated old heartbeats, and each start now fails with \
                \"migration is already in progress\"";
    if is_done && !content.unaggregated.is_empty() {
        // Heartbeats are gone although not all were aggregated: the server has not deleted them.
        let missing = counted(content.unaggregated.len(), "monitor");
        faults.push(Fault {
            subject: subject("setting", row, "value"),
            what: format!(
                "{what}; {missing} with heartbeats still have no statistics, and heartbeats of other monitors were deleted"
            ),
            fix: Fix::Advice(
                "restore the backup from before the upgrade, and let the upgrade finish: kumadb restore ID".into(),
            ),
        });
        return;
    }
    let mut steps: Vec<_> = content
        .statistics
        .iter()
        .filter(|_| !is_done)
        .map(|(table, monitor, rows)| {
            let subject = format!("partial statistics of monitor {monitor} in `{table}`");
            delete(table, &subject, "monitor_id", *monitor, *rows)
        })
        .collect();
    // Last: the server may aggregate again only when the tables are empty.
    let state = if is_done { MIGRATED } else { "\"\"" };
    steps.push(set("setting", "setting `migrateAggregateTableState`", row, &[("value", state.into())]));
    faults.push(Fault { subject: subject("setting", row, "value"), what: what.into(), fix: Fix::Rows(steps) });
}

/// No user can log in: no active user, a password that cannot be checked, or two-factor authentication without a
/// secret.
pub(super) fn find_locked_out(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    let users = content.config.rows("user");
    let no_user = users.iter().all(|row| !row.cell("active").truthy());
    if let Some(row) = users.first().filter(|_| no_user) {
        let name = named(row);
        faults.push(Fault {
            subject: subject("user", row, "active"),
            what: "no user is active, so no one can log in".into(),
            fix: Fix::Rows(vec![set("user", &name, row, &[("active", 1.into())])]),
        });
    }
    for row in users {
        let name = named(row);
        let stored = row.text("password").unwrap_or_default();
        if let Some(why) = unusable(stored) {
            // As `htpasswd -n` prints it.
            let bare = stored.trim().trim_start_matches(':');
            let fix = if is_hash(bare) {
                Fix::Rows(vec![set("user", &name, row, &[("password", bare.into())])])
            } else {
                Fix::Password {
                    id: row.int("id").unwrap_or_default(),
                    name: row.text("username").unwrap_or_default().to_owned(),
                    old: row.cell("password").clone(),
                }
            };
            faults.push(Fault {
                subject: subject("user", row, "password"),
                what: format!("{name}: the stored password {why}: the server cannot check it, so every login fails"),
                fix,
            });
        }
        if row.cell("twofa_status").truthy() && row.cell("twofa_secret").is_nothing() {
            faults.push(Fault {
                subject: subject("user", row, "twofa_status"),
                what: format!(
                    "{name}: two-factor authentication is enabled without a secret, so every code is \
                               rejected"
                ),
                fix: Fix::Rows(vec![set("user", &name, row, &[("twofa_status", 0.into())])]),
            });
        }
    }
}

fn named(row: &Row) -> String {
    format!("user `{}`", row.text("username").unwrap_or_default())
}

/// Why the server cannot check a password with `stored`; `None` for a bcrypt hash, and for the older
/// `sha1$salt$rounds$hash`, which it still accepts. bcryptjs 2.4.3 takes `$2a$`, `$2b$` and `$2y$` with any cost from 4
/// to 31, and only 60 characters.
fn unusable(stored: &str) -> Option<String> {
    let bare = stored.trim().trim_start_matches(':');
    if stored.is_empty() {
        return Some("is empty".into());
    }
    if is_hash(stored) {
        return None;
    }
    let bcrypt = ["$2a$", "$2b$", "$2y$"].iter().any(|head| bare.starts_with(head));
    Some(match bare {
        _ if is_hash(bare) && stored.starts_with(':') => "begins with `:`, as `htpasswd -n` prints it".into(),
        _ if is_hash(bare) => "has a space or line break around its hash".into(),
        _ if bcrypt && bare.len() != 60 => format!("is a bcrypt hash of {} characters instead of 60", bare.len()),
        _ if bcrypt => "is an invalid bcrypt hash".into(),
        _ if bare.starts_with("$argon2") => "is an Argon2 hash; only bcrypt is supported".into(),
        _ if ["$1$", "$5$", "$6$", "$y$", "$apr1$"].iter().any(|head| bare.starts_with(head)) => {
            "is a hash of crypt(3); only bcrypt is supported".into()
        }
        _ if bare.starts_with("$pbkdf2") || bare.starts_with("pbkdf2") => {
            "is a PBKDF2 hash; only bcrypt is supported".into()
        }
        _ if bare.starts_with("sha1$") => "is not `sha1$salt$rounds$hash`".into(),
        _ => "is not a hash: it may be the password itself".into(),
    })
}

fn is_hash(text: &str) -> bool {
    let is_cost = |cost: &str| cost.len() == 2 && cost.parse().is_ok_and(|cost: u8| (4..=31).contains(&cost));
    let is_rest =
        |rest: &str| rest.len() == 53 && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"./".contains(&b));
    match text.split('$').collect::<Vec<_>>().as_slice() {
        ["", "2a" | "2b" | "2y", cost, rest] => is_cost(cost) && is_rest(rest),
        ["sha1", _, _, _] => true,
        _ => false,
    }
}

/// The key that signs sessions is empty; without the row, the server generates a new one.
pub(super) fn find_empty_secret(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(row) = setting(evidence, "jwtSecret").filter(|row| row.cell("value").is_nothing()) else { return };
    let step = delete("setting", "setting `jwtSecret`", "id", row.int("id").unwrap_or_default(), 1);
    faults.push(Fault {
        subject: subject("setting", row, "value"),
        what: "the key that signs sessions is empty: every login fails with \"secretOrPrivateKey must have a value\""
            .into(),
        fix: Fix::Rows(vec![step]),
    });
}

/// The entry page is not text, or is a status page that does not exist. An empty value, and text without quotes, are
/// harmless (2.5.3).
pub(super) fn find_lost_entry(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(row) = setting(evidence, "entryPage") else { return };
    let Some(content) = &evidence.database else { return };
    let text = row.text("value").unwrap_or_default();
    let entry = serde_json::from_str::<Json>(text).unwrap_or_else(|_| text.into());
    let why = match entry.as_str().map(|entry| entry.strip_prefix("statusPage-")) {
        _ if entry.is_null() => return,
        None => format!(
            "is {}, which is not text: `/` does not respond, and health checks fail",
            super::monitors::shown(row.cell("value"))
        ),
        Some(None) => return,
        Some(Some(slug)) => {
            let same = |page: &Row| page.text("slug") == Some(slug);
            if content.config.rows("status_page").iter().any(same) {
                return;
            }
            format!("is the status page `{slug}`, which does not exist: `/` shows an error")
        }
    };
    let step = set("setting", "setting `entryPage`", row, &[("value", "\"dashboard\"".into())]);
    faults.push(Fault {
        subject: subject("setting", row, "value"),
        what: format!("the entry page {why}"),
        fix: Fix::Rows(vec![step]),
    });
}

/// Settings that exist twice, with keys that are equal or differ only in case; only SQLite allows them.
pub(super) fn find_doubled(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    let mut named: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
    for row in content.config.rows("setting") {
        named.entry(row.text("key").unwrap_or_default().to_lowercase()).or_default().push(row);
    }
    for rows in named.values().filter(|rows| rows.len() > 1) {
        let keys = rows
            .iter()
            .map(|row| format!("`{}`", row.text("key").unwrap_or_default()))
            .collect::<Vec<_>>()
            .join(" and ");
        // The server reads the row whose key is spelled as in its source; of two equal keys it reads either.
        let known = |row: &&&Row| SETTING_KEYS.contains(&row.text("key").unwrap_or_default());
        let fix = match rows.iter().filter(known).count() {
            1 => Fix::Rows(
                rows.iter()
                    .filter(|row| !known(row))
                    .map(|row| {
                        delete(
                            "setting",
                            &format!("setting `{}`", row.text("key").unwrap_or_default()),
                            "id",
                            super::monitors::id(row),
                            1,
                        )
                    })
                    .collect(),
            ),
            _ => Fix::Advice("check which row has the correct value, and delete the other row".into()),
        };
        faults.push(Fault {
            subject: subject("setting", rows[0], "key"),
            what: format!(
                "the settings {keys} differ only in case: the server reads only one of them, and a \
                           conversion to MariaDB fails"
            ),
            fix,
        });
    }
}

/// A status page whose domain is the host name of the dashboard.
pub(super) fn find_taken_host(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    let address =
        setting(evidence, "primaryBaseURL").and_then(|row| serde_json::from_str::<String>(row.text("value")?).ok());
    let Some(host) = address.as_deref().and_then(host_of) else { return };
    for row in content.config.rows("status_page_cname") {
        let domain = row.text("domain").unwrap_or_default();
        if domain.eq_ignore_ascii_case(host) {
            faults.push(Fault {
                subject: subject("status_page_cname", row, "domain"),
                what: format!(
                    "`{domain}` is the host name of both the dashboard (`primaryBaseURL`) and a status page: \
                               `/` shows the status page"
                ),
                fix: Fix::Advice(format!(
                    "log in at https://{domain}/dashboard, and remove the domain from the status page in the web UI \
                     or with `kumadb apply`"
                )),
            });
        }
    }
}

/// The host name of a URL.
fn host_of(address: &str) -> Option<&str> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next()?.rsplit('@').next()?;
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    (!host.is_empty()).then_some(host)
}

fn setting<'e>(evidence: &'e Evidence, key: &str) -> Option<&'e Row> {
    evidence.database.as_ref()?.config.setting(key)
}
