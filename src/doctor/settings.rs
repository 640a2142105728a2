//! Faults of settings and users.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::monitors::{delete, set, subject};
use super::{Cure, Evidence, Fault};
use crate::value::Row;

/// Settings as the servers from 1.23 to 2.5.3 spell them.
const KEYS: [&str; 32] = [
    "apiKeysEnabled",
    "checkBeta",
    "checkUpdate",
    "chromeExecutable",
    "cloudflaredTunnelToken",
    "databasePatchedFiles",
    "database_version",
    "description",
    "disableAuth",
    "dnsCache",
    "domainExpiryNotifyDays",
    "entryPage",
    "globalpingApiToken",
    "icon",
    "initServerTimezone",
    "jwtSecret",
    "keepDataPeriodDays",
    "migrateAggregateTableState",
    "nscd",
    "primaryBaseURL",
    "rdapDnsData",
    "searchEngineIndex",
    "serverTimezone",
    "statusPagePublished",
    "statusPageTags",
    "statusPageTheme",
    "steamAPIKey",
    "title",
    "tlsExpiryNotifyDays",
    "trustProxy",
    "webpushPrivateVapidKey",
    "webpushPublicVapidKey",
];

/// What stands in `migrateAggregateTableState` while the upgrade to 2.x counts up old beats.
const MIGRATING: &str = "migrating";

/// The upgrade to 2.x was cut off while it counted up old beats, and refuses to begin again.
pub(super) fn find_stuck_statistics(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    let Some(row) = setting(evidence, "migrateAggregateTableState") else { return };
    let Some(text) = row.text("value") else { return };
    let is_text = serde_json::from_str::<Json>(text).is_ok_and(|json| json == MIGRATING);
    if !is_text && text != MIGRATING {
        return;
    }
    let mut steps: Vec<_> = content
        .statistics
        .iter()
        .map(|(table, monitor, rows)| {
            let subject = format!("half-made statistics of monitor {monitor} in `{table}`");
            delete(table, &subject, "monitor_id", *monitor, *rows)
        })
        .collect();
    // Last: only with the tables empty may the server count again.
    steps.push(set("setting", "setting `migrateAggregateTableState`", row, &[("value", "\"\"".into())]));
    faults.push(Fault {
        subject: subject("setting", row, "value"),
        what: "the upgrade was cut off while it counted up old beats, and each start now ends with \"migration is already \
               in progress\""
            .into(),
        cure: Cure::Rows(steps),
    });
}

/// Nobody can log in: no user is active, a password that cannot be checked, a second factor without its secret.
pub(super) fn find_locked_out(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    let users = content.config.rows("user");
    let nobody = users.iter().all(|row| !row.cell("active").truthy());
    if let Some(row) = users.first().filter(|_| nobody) {
        let name = named(row);
        faults.push(Fault {
            subject: subject("user", row, "active"),
            what: format!("no user is active, {name} neither: nobody can log in"),
            cure: Cure::Rows(vec![set("user", &name, row, &[("active", 1.into())])]),
        });
    }
    for row in users {
        let name = named(row);
        if !is_hash(row.text("password").unwrap_or_default()) {
            faults.push(Fault {
                subject: subject("user", row, "password"),
                what: format!(
                    "{name}: the password is stored in a form that the server cannot check: no password fits"
                ),
                cure: Cure::Password {
                    id: row.int("id").unwrap_or_default(),
                    name: row.text("username").unwrap_or_default().to_owned(),
                    old: row.cell("password").clone(),
                },
            });
        }
        if row.cell("twofa_status").truthy() && row.cell("twofa_secret").is_nothing() {
            faults.push(Fault {
                subject: subject("user", row, "twofa_status"),
                what: format!("{name}: a second factor is asked for, and its secret is not there: no code fits"),
                cure: Cure::Rows(vec![set("user", &name, row, &[("twofa_status", 0.into())])]),
            });
        }
    }
}

fn named(row: &Row) -> String {
    format!("user `{}`", row.text("username").unwrap_or_default())
}

/// A hash of bcrypt, or the older `sha1$salt$rounds$hash` that the server still takes.
fn is_hash(text: &str) -> bool {
    let bcrypt = ["$2a$", "$2b$", "$2y$"].iter().any(|head| text.starts_with(head)) && text.len() == 60;
    bcrypt || text.starts_with("sha1$") && text.split('$').count() == 4
}

/// The key that sessions are signed with is empty; without the row, the server makes a new one.
pub(super) fn find_empty_secret(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(row) = setting(evidence, "jwtSecret").filter(|row| row.cell("value").is_nothing()) else { return };
    let step = delete("setting", "setting `jwtSecret`", "id", row.int("id").unwrap_or_default(), 1);
    faults.push(Fault {
        subject: subject("setting", row, "value"),
        what:
            "the key that sessions are signed with is empty: every login fails with \"secretOrPrivateKey must have a \
               value\""
                .into(),
        cure: Cure::Rows(vec![step]),
    });
}

/// What `/` leads to is no text, or a status page that is not there. Nothing, and text without quotes, do no harm (2.5.3).
pub(super) fn find_lost_entry(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(row) = setting(evidence, "entryPage") else { return };
    let Some(content) = &evidence.database else { return };
    let text = row.text("value").unwrap_or_default();
    let entry = serde_json::from_str::<Json>(text).unwrap_or_else(|_| text.into());
    let why = match entry.as_str().map(|entry| entry.strip_prefix("statusPage-")) {
        _ if entry.is_null() => return,
        None => format!(
            "is {}, no text: `/` never answers, and health checks fail",
            super::monitors::shown(row.cell("value"))
        ),
        Some(None) => return,
        Some(Some(slug)) => {
            let same = |page: &Row| page.text("slug") == Some(slug);
            if content.config.rows("status_page").iter().any(same) {
                return;
            }
            format!("is the status page `{slug}`, which is not there: `/` leads nowhere")
        }
    };
    let step = set("setting", "setting `entryPage`", row, &[("value", "\"dashboard\"".into())]);
    faults.push(Fault {
        subject: subject("setting", row, "value"),
        what: format!("the entry page {why}"),
        cure: Cure::Rows(vec![step]),
    });
}

/// Settings that are there twice, under names that differ in their letters' case or not at all; only SQLite keeps such.
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
        // Of which of two the server knows, its own spelling tells; of two alike it takes any.
        let known = |row: &&&Row| KEYS.contains(&row.text("key").unwrap_or_default());
        let cure = match rows.iter().filter(known).count() {
            1 => Cure::Rows(
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
            _ => Cure::Advice("look which of them holds what is meant, and delete the other".into()),
        };
        faults.push(Fault {
            subject: subject("setting", rows[0], "key"),
            what: format!("the settings {keys} are one to MariaDB, and to a person: the server reads only one, and no conversion takes both"),
            cure,
        });
    }
}

/// A status page under the host name that people know the dashboard by.
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
                what: format!("`{domain}` is the host name of the dashboard (`primaryBaseURL`) and of a status page: `/` shows the status page"),
                cure: Cure::Advice(format!(
                    "people still log in at https://{domain}/dashboard; there, or with `kumadb apply`, take the domain off the status page"
                )),
            });
        }
    }
}

/// The host name in an address.
fn host_of(address: &str) -> Option<&str> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next()?.rsplit('@').next()?;
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    (!host.is_empty()).then_some(host)
}

fn setting<'e>(evidence: &'e Evidence, key: &str) -> Option<&'e Row> {
    evidence.database.as_ref()?.config.setting(key)
}
