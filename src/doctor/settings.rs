//! Faults of settings and users.

use serde_json::Value as Json;

use super::monitors::{delete, set, subject};
use super::{Cure, Evidence, Fault};
use crate::value::Row;

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

fn setting<'e>(evidence: &'e Evidence, key: &str) -> Option<&'e Row> {
    evidence.database.as_ref()?.config.setting(key)
}
