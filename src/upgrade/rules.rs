//! What each migration and patch changes in the rows, as the server does it. Migrations that only add tables and columns have no
//! rule: an added column has its default.
//!
//! Read in 1.23.0 to 2.5.3. No release has changed what a migration of an earlier one does to rows, except that 2.1.1 had one more
//! top-level domain in its list.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::domains::{host_field, is_supported};
use crate::model::games::renamed_game;
use crate::schema::Release;
use crate::value::Value;

/// The row that is written, and the row that was read.
pub trait RowCells {
    /// The cell under `column` of the row that was read; NULL where there is no such column.
    fn old(&self, column: &str) -> &Value;
    /// The cell under `column` of the row that is written.
    fn get(&self, column: &str) -> &Value;
    /// Changes a cell of the row that is written; nothing where the target has no such column.
    fn set(&mut self, column: &str, cell: Value);
}

/// What a rule does with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleResult {
    /// The row is as it was.
    Same,
    /// A cell was changed.
    Changed,
    /// The row is left out.
    Deleted,
}

/// How the rows are upgraded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// What the migrations are for.
    #[default]
    Intended,
    /// As the server does it, with its mistakes.
    AsServer,
}

/// The change that one migration or patch makes to the rows of one table.
#[derive(Debug)]
pub struct Rule {
    /// Its name, in `knex_migrations` or `databasePatchedFiles`.
    pub migration: &'static str,
    /// The first release that has it.
    pub release: Release,
    /// The table.
    pub table: &'static str,
    /// What it does, for the report.
    pub what: &'static str,
    /// Does it.
    pub apply: fn(&mut dyn RowCells, Style) -> RuleResult,
}

/// The rules, in the order in which the server applies them.
pub const RULES: &[Rule] = &[
    Rule {
        migration: "patch-fix-kafka-producer-booleans.sql",
        release: Release::new(1, 23, 4),
        table: "monitor",
        what: "Kafka options (SSL, create topics): the server resets both, kumadb keeps them",
        apply: kafka_options,
    },
    Rule {
        migration: "patch-timeout.sql",
        release: Release::new(1, 23, 5),
        table: "monitor",
        what: "timeout set to 80 % of the interval, because none was set",
        apply: timeout,
    },
    Rule {
        migration: "2024-10-31-0000-fix-snmp-monitor.js",
        release: Release::new(2, 0, 0),
        table: "monitor",
        what: "JSON path operator set to `==`",
        apply: json_path_operator,
    },
    Rule {
        migration: "2025-02-17-2142-generalize-analytics.js",
        release: Release::new(2, 1, 0),
        table: "status_page",
        what: "analytics type set to `google`, which the server leaves empty, so that the page loses its analytics",
        apply: analytics,
    },
    Rule {
        migration: "2025-06-13-0000-maintenance-add-last-start.js",
        release: Release::new(2, 0, 0),
        table: "maintenance",
        what: "cron expression made from the start time",
        apply: maintenance_cron,
    },
    Rule {
        migration: "2025-09-02-0000-add-domain-expiry.js",
        release: Release::new(2, 1, 0),
        table: "monitor",
        what: "notification about the expiry of the domain enabled, as for every monitor",
        apply: domain_expiry,
    },
    Rule {
        migration: "2025-12-29-0000-remove-line-notify.js",
        release: Release::new(2, 1, 0),
        table: "notification",
        what: "LINE Notify deleted, a service that no longer exists",
        apply: line_notify,
    },
    Rule {
        migration: "2026-01-02-0713-gamedig-v4-to-v5.js",
        release: Release::new(2, 1, 0),
        table: "monitor",
        what: "game renamed, as the server's GameDig 5 calls it",
        apply: game,
    },
    Rule {
        migration: "2026-01-10-0000-convert-float-precision.js",
        release: Release::new(2, 1, 0),
        table: "stat_minutely",
        what: EMPTY_PING,
        apply: empty_ping,
    },
    Rule {
        migration: "2026-01-10-0000-convert-float-precision.js",
        release: Release::new(2, 1, 0),
        table: "stat_hourly",
        what: EMPTY_PING,
        apply: empty_ping,
    },
    Rule {
        migration: "2026-01-10-0000-convert-float-precision.js",
        release: Release::new(2, 1, 0),
        table: "stat_daily",
        what: EMPTY_PING,
        apply: empty_ping,
    },
    Rule {
        migration: "2026-02-07-0000-disable-domain-expiry-unsupported-tlds.js",
        release: Release::new(2, 1, 1),
        table: "monitor",
        what: "notification about the expiry of the domain disabled again, because the domain cannot be looked up",
        apply: unsupported_domain,
    },
];

const EMPTY_PING: &str = "response time of an empty statistic set to 0: the upgrade of the server fails there";

/// The column of the source that a renamed column of the target has its cells from.
pub fn renamed_from(table: &str, column: &str) -> Option<&'static str> {
    ((table, column) == ("status_page", "analytics_id")).then_some("google_analytics_tag_id")
}

/// The rules for migrations in `missing`.
pub fn due(missing: &BTreeSet<String>) -> impl Iterator<Item = &'static Rule> {
    RULES.iter().filter(|rule| missing.contains(rule.migration))
}

/// The notification that a notification's configuration is for, as the migration reads it.
pub fn is_line_notify(config: &Value) -> bool {
    let parsed = config.text().and_then(|text| serde_json::from_str::<Json>(text).ok());
    let kind = parsed.as_ref().and_then(|config| config.get("type")?.as_str()).map(str::to_lowercase);
    matches!(kind.as_deref(), Some("linenotify" | "line-notify"))
}

/// Whether a window is one that `maintenance_cron` changes.
pub fn is_without_cron(row: &dyn Fn(&str) -> Option<String>) -> bool {
    row("strategy").as_deref() == Some("recurring-interval") && row("cron").as_deref() == Some("* * * * *")
}

/// The cron expression of a window that starts at `start` each day; `None` where the server makes one that never fires.
pub fn cron_of(start: &str) -> Option<String> {
    let mut parts = start.split(':');
    let (hour, minute) = (leading_integer(parts.next()?)?, leading_integer(parts.next()?)?);
    Some(format!("{minute} {hour} * * *"))
}

/// The integer at the start of `text`, as `parseInt` reads it.
fn leading_integer(text: &str) -> Option<i64> {
    let text = text.trim_start();
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

fn kafka_options(row: &mut dyn RowCells, style: Style) -> RuleResult {
    let mut verdict = RuleResult::Same;
    for column in ["kafka_producer_ssl", "kafka_producer_allow_auto_topic_creation"] {
        let old = row.old(column).clone();
        let on = old.truthy() || old.text().is_some_and(|text| text.eq_ignore_ascii_case("true"));
        row.set(column, (on && style == Style::Intended).into());
        if on {
            verdict = RuleResult::Changed;
        }
    }
    verdict
}

fn timeout(row: &mut dyn RowCells, _: Style) -> RuleResult {
    let given = row.old("timeout").number().is_some_and(|seconds| seconds > 0.0);
    match row.old("interval").number() {
        Some(interval) if !given => {
            row.set("timeout", (interval * 0.8).into());
            RuleResult::Changed
        }
        _ => RuleResult::Same,
    }
}

fn json_path_operator(row: &mut dyn RowCells, _: Style) -> RuleResult {
    if !row.old("json_path_operator").is_null() {
        return RuleResult::Same;
    }
    row.set("json_path_operator", "==".into());
    RuleResult::Changed
}

fn analytics(row: &mut dyn RowCells, style: Style) -> RuleResult {
    if row.get("analytics_id").is_null() || style == Style::AsServer {
        return RuleResult::Same;
    }
    row.set("analytics_type", "google".into());
    RuleResult::Changed
}

fn maintenance_cron(row: &mut dyn RowCells, _: Style) -> RuleResult {
    let text = |column: &str| row.old(column).text().map(str::to_owned);
    if !is_without_cron(&text) {
        return RuleResult::Same;
    }
    let cron = text("start_time").and_then(|start| cron_of(&start));
    row.set("cron", cron.unwrap_or_else(|| "NaN NaN * * *".into()).into());
    RuleResult::Changed
}

fn domain_expiry(row: &mut dyn RowCells, _: Style) -> RuleResult {
    row.set("domain_expiry_notification", 1.into());
    RuleResult::Changed
}

fn line_notify(row: &mut dyn RowCells, _: Style) -> RuleResult {
    if is_line_notify(row.old("config")) { RuleResult::Deleted } else { RuleResult::Same }
}

fn game(row: &mut dyn RowCells, _: Style) -> RuleResult {
    let renamed = match row.old("type").text() {
        Some("gamedig") => row.old("game").text().and_then(|game| renamed_game(game, Release::new(2, 1, 0))),
        _ => None,
    };
    match renamed {
        Some(renamed) => {
            row.set("game", renamed.into());
            RuleResult::Changed
        }
        None => RuleResult::Same,
    }
}

fn empty_ping(row: &mut dyn RowCells, _: Style) -> RuleResult {
    let mut verdict = RuleResult::Same;
    for column in ["ping", "ping_min", "ping_max"] {
        if row.get(column).is_null() {
            row.set(column, 0.into());
            verdict = RuleResult::Changed;
        }
    }
    verdict
}

fn unsupported_domain(row: &mut dyn RowCells, _: Style) -> RuleResult {
    if row.get("domain_expiry_notification").int() != Some(1) {
        return RuleResult::Same;
    }
    let field = row.old("type").text().and_then(host_field);
    if field.and_then(|field| row.old(field).text()).is_some_and(is_supported) {
        return RuleResult::Same;
    }
    row.set("domain_expiry_notification", 0.into());
    RuleResult::Changed
}
