//! Summary of a plan: how many items are created, changed, deleted and unchanged.

use serde_json::{Value as Json, json};

use super::Context;
use super::document::Planned;

use crate::model::entities::ENTITIES;
use crate::plan::fixture::Fate;
use crate::text::counted;

/// The summary in words: `3 to create, 1 unchanged`.
pub fn summary(planned: &Planned) -> String {
    let Tally { created, changed, deleted, unchanged } = Tally::of(planned);
    let parts: Vec<String> = [
        (created, "to create"),
        (changed, "to change"),
        (deleted, "to delete"),
        (unchanged, "unchanged"),
        (planned.skipped.len(), "skipped"),
    ]
    .iter()
    .filter(|(n, _)| *n > 0)
    .map(|(n, what)| format!("{n} {what}"))
    .collect();
    if parts.is_empty() { "nothing to do".to_owned() } else { parts.join(", ") }
}

struct Tally {
    created: usize,
    changed: usize,
    deleted: usize,
    unchanged: usize,
}

impl Tally {
    fn of(planned: &Planned) -> Tally {
        let count = |fate: Fate| planned.outline.accounts.iter().filter(|account| account.fate == fate).count();
        let deleted = ENTITIES.iter().map(|entity| planned.outline.plan.tally(entity.table).deleted).sum();
        Tally {
            created: count(Fate::Created),
            changed: count(Fate::Changed),
            deleted,
            unchanged: count(Fate::Unchanged),
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
    let counts = [count("created", "new"), count("changed", "changed"), count("deleted", "deleted")];
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
pub fn summary_json(planned: &Planned) -> Json {
    let Tally { created, changed, deleted, unchanged } = Tally::of(planned);
    let things: Vec<Json> = planned
        .outline
        .accounts
        .iter()
        .map(|account| {
            let fate = match account.fate {
                Fate::Created => "created",
                Fate::Changed => "changed",
                Fate::Unchanged => "unchanged",
            };
            json!({"location": account.at.to_string(), "subject": account.subject, "result": fate})
        })
        .collect();
    let skipped: Vec<Json> = planned
        .skipped
        .iter()
        .map(|skipped| json!({"location": skipped.at.to_string(), "subject": skipped.what, "why": skipped.why}))
        .collect();
    json!({
        "summary": {"created": created, "changed": changed, "deleted": deleted, "unchanged": unchanged, "skipped": skipped.len()},
        "items": things,
        "skipped": skipped,
    })
}

/// Shows warnings, and what was skipped.
pub fn tell(planned: &Planned, context: &mut Context<'_>) {
    const SHOWN: usize = 20;
    for skipped in planned.skipped.iter().take(SHOWN) {
        context.ui.warn(&format!("{}: {}: {}: skipped", skipped.at, skipped.what, skipped.why));
    }
    if planned.skipped.len() > SHOWN {
        context.ui.warn(&format!("… and {} more skipped; to list all: --json", planned.skipped.len() - SHOWN));
    }
    for warning in planned.outline.warnings.iter().take(SHOWN) {
        context.ui.warn(warning);
    }
    if planned.outline.warnings.len() > SHOWN {
        context.ui.warn(&format!("… and {} more", planned.outline.warnings.len() - SHOWN));
    }
    planned.outline.notes.iter().for_each(|note| context.ui.say(note));
}
