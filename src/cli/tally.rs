//! Summary of a plan: how many items are created, changed, deleted and unchanged.

use serde_json::{Value as Json, json};

use super::Context;
use crate::formats::foreign::{ImportOutcome, ReportLine};
use crate::model::entities::ENTITIES;
use crate::model::state::ConfigRows;
use crate::plan::fixture::ItemOutcome;
use crate::plan::fixture::PlanReport;
use crate::text::counted;

/// The summary in words: `3 to create, 1 unchanged`.
pub fn summary(planned: &PlannedFixture) -> String {
    let Tally { created, changed, deleted, unchanged } = Tally::of(planned);
    let parts: Vec<String> = [
        (created, "to create"),
        (changed, "to change"),
        (deleted, "to delete"),
        (unchanged, "unchanged"),
        (planned.report.unmanaged.len(), "unmanaged"),
        (skipped(planned), "skipped"),
    ]
    .iter()
    .filter(|(n, _)| *n > 0)
    .map(|(n, what)| format!("{n} {what}"))
    .collect();
    if parts.is_empty() { "nothing to do".to_owned() } else { parts.join(", ") }
}

fn skipped(planned: &PlannedFixture) -> usize {
    planned.remarks.iter().filter(|remark| remark.outcome == ImportOutcome::Skipped).count()
}

struct Tally {
    created: usize,
    changed: usize,
    deleted: usize,
    unchanged: usize,
}

impl Tally {
    fn of(planned: &PlannedFixture) -> Tally {
        let count =
            |outcome: ItemOutcome| planned.report.accounts.iter().filter(|account| account.outcome == outcome).count();
        let deleted = ENTITIES.iter().map(|entity| planned.report.plan.tally(entity.table).deleted).sum();
        Tally {
            created: count(ItemOutcome::Created),
            changed: count(ItemOutcome::Changed),
            deleted,
            unchanged: count(ItemOutcome::Unchanged),
        }
    }
}

/// `summary` after the change: `3 created, 1 unchanged`.
pub fn applied(summary: &str) -> String {
    summary.replace(" to create", " created").replace(" to change", " changed").replace(" to delete", " deleted")
}

/// Summary of one instance for the table of many.
pub fn words(document: &Json) -> String {
    let count = |name: &str, word: &str| {
        let n = document["summary"][name].as_u64().unwrap_or(0);
        (n > 0).then(|| format!("{n} {word}"))
    };
    let counts = [("created", "new"), ("changed", "changed"), ("deleted", "deleted"), ("unmanaged", "unmanaged")];
    let counts = counts.map(|(name, word)| count(name, word));
    let words: Vec<String> = counts.into_iter().flatten().collect();
    match (words.is_empty(), document["dry_run"].as_bool()) {
        (_, Some(true)) => {
            format!("dry run: {}", counted(document["changes"].as_array().map_or(0, Vec::len), "row change"))
        }
        (true, _) => "nothing to change".into(),
        (false, _) => words.join(", "),
    }
}

/// The summary as JSON, with every item.
pub fn summary_json(planned: &PlannedFixture) -> Json {
    let Tally { created, changed, deleted, unchanged } = Tally::of(planned);
    let things: Vec<Json> = planned
        .report
        .accounts
        .iter()
        .map(|account| {
            let outcome = match account.outcome {
                ItemOutcome::Created => "created",
                ItemOutcome::Changed => "changed",
                ItemOutcome::Unchanged => "unchanged",
            };
            json!({"location": account.at.to_string(), "subject": account.subject, "result": outcome})
        })
        .collect();
    let of = |outcome: ImportOutcome| -> Vec<Json> {
        let remarks = planned.remarks.iter().filter(|remark| remark.outcome == outcome);
        remarks
            .map(|remark| json!({"location": remark.at.to_string(), "subject": remark.what, "why": remark.why}))
            .collect()
    };
    json!({
        "summary": {"created": created, "changed": changed, "deleted": deleted, "unchanged": unchanged, "skipped": skipped(planned),
            "unmanaged": planned.report.unmanaged.len()},
        "unmanaged": planned.report.unmanaged,
        "items": things,
        "skipped": of(ImportOutcome::Skipped),
        "dropped": of(ImportOutcome::Dropped),
        "doubtful": of(ImportOutcome::Doubtful),
    })
}

/// The lines that are shown of a report.
const SHOWN: usize = 20;

/// Shows warnings, and the report about the files.
pub fn report(planned: &PlannedFixture, context: &mut Context<'_>) {
    report_remarks(&planned.remarks, context);
    for warning in planned.report.warnings.iter().take(SHOWN) {
        context.ui.warn(warning);
    }
    if planned.report.warnings.len() > SHOWN {
        context.ui.warn(&format!("… and {} more", planned.report.warnings.len() - SHOWN));
    }
    planned.report.notes.iter().for_each(|note| context.ui.say(note));
}

/// Shows the report about files.
pub fn report_remarks(remarks: &[ReportLine], context: &mut Context<'_>) {
    for remark in remarks.iter().take(SHOWN) {
        let end = match remark.outcome {
            ImportOutcome::Skipped => ": skipped",
            ImportOutcome::Dropped => ": dropped",
            ImportOutcome::Doubtful => "",
        };
        // A problem of a line has only a position.
        let what = if remark.what.is_empty() { String::new() } else { format!("{}: ", remark.what) };
        context.ui.warn(&format!("{}: {what}{}{end}", remark.at, remark.why));
    }
    if remarks.len() > SHOWN {
        context.ui.warn(&format!("… and {} more; to list all: --json", remarks.len() - SHOWN));
    }
}

/// A plan and what it was made for.
pub struct PlannedFixture {
    /// The configuration that was read.
    pub config: ConfigRows,
    /// The plan.
    pub report: PlanReport,
    /// The report about the files.
    pub remarks: Vec<ReportLine>,
}

impl PlannedFixture {
    /// Whether everything in the fixtures was planned.
    pub fn is_whole(&self) -> bool {
        self.remarks.iter().all(|remark| remark.outcome == ImportOutcome::Dropped) && self.report.warnings.is_empty()
    }
}
