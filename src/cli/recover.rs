//! `kumadb recover`

use clap::Args;
use serde_json::{Value as Json, json};

use super::Context;
use super::write::{WriteArgs, finish};
use crate::error::{Exit, Result};
use crate::operation::{self, JournalRecord, Outcome, Preview, Resumed};
use crate::text::counted;

#[derive(Args, Debug)]
pub struct RecoverArgs {
    /// Roll back a committed change instead of verifying that the server is running with it
    #[arg(long)]
    roll_back: bool,
    #[command(flatten)]
    write: WriteArgs,
}

pub fn run(args: &RecoverArgs, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.find()?;
    let settings = operation::Settings { rolls_back: args.roll_back, ..args.write.settings("recover") };
    if args.write.is_dry_run() {
        return foresee(operation::foresee(&instance, &settings)?, context);
    }
    let store = context.store()?;
    // What it finishes or rolls back is not left halfway.
    context.ui.cancel().defer(true);
    let (document, text, outcome) = match operation::resume(&instance, &store, &settings, context.ui)? {
        Resumed::Finished(record, outcome) => finished(&record, *outcome),
        Resumed::Packed(packing) => {
            let warnings = packing.warnings.iter().map(ToString::to_string).collect();
            let outcome = Outcome { warnings, ..Outcome::default() };
            let ids: Vec<&str> = packing.packed.iter().map(|snapshot| snapshot.manifest.id.as_str()).collect();
            let text = format!("{} stored: {}", counted(ids.len(), "pending snapshot"), ids.join(" "));
            (json!({"ended": "stored", "snapshots": ids}), text, outcome)
        }
        Resumed::Undone(record, changed) => undone(&record, changed),
    };
    context.ui.result(&document, || text)?;
    finish(&outcome, context.ui)
}

fn finished(record: &JournalRecord, outcome: Outcome) -> (Json, String, Outcome) {
    let snapshot = outcome.snapshot.as_ref().map(|snapshot| snapshot.manifest.id.clone());
    let document = json!({"verb": record.verb, "ended": "finished", "snapshot": snapshot, "fixes": record.fixes});
    let what = made(record).unwrap_or_else(|| "the change is committed".into());
    (document, format!("finished `{}`: {what}", record.verb), outcome)
}

fn undone(record: &JournalRecord, changed: bool) -> (Json, String, Outcome) {
    let verb = &record.verb;
    let document = json!({"verb": verb, "ended": "rolled_back", "changed": changed, "fixes": record.fixes});
    let mut outcome = Outcome::default();
    if record.leaves_tables(changed) {
        outcome.warnings.push(
            "the new database on the external MariaDB may have tables of the interrupted conversion, with the mark \
             `kumadb_unfinished_restore`: the next conversion into it removes them"
                .into(),
        );
    }
    let restored = "the previous state of the database was restored";
    let text = match (made(record), changed) {
        (Some(made), true) => format!("rolled back `{verb}`: {restored}; {made}"),
        (Some(made), false) => format!("ended `{verb}`: {made}"),
        (None, true) => format!("rolled back `{verb}`: {restored}"),
        (None, false) => format!("rolled back `{verb}`: nothing was changed"),
    };
    (document, text, outcome)
}

/// The fixes of an interrupted `doctor --fix` that stay.
fn made(record: &JournalRecord) -> Option<String> {
    let fixes = record.fixes?;
    let rest = if fixes.is_partial() { "; to fix the rest: kumadb doctor --fix" } else { "" };
    fixes.words().map(|made| format!("{made}{rest}"))
}

/// Shows what would be done.
fn foresee(foreseen: Preview, context: &mut Context<'_>) -> Result<Exit> {
    let (verb, would, what) = match &foreseen {
        Preview::Verify(record) => {
            (Some(&record.verb), "verify", "be finished, or rolled back if the server is not running")
        }
        Preview::Finish(record) => (Some(&record.verb), "finish", "be finished: only its snapshot is not stored yet"),
        Preview::RollBack(record) => (Some(&record.verb), "roll_back", "be rolled back"),
        Preview::Pack(_) => (None, "store", ""),
    };
    let mut document = json!({"dry_run": true, "verb": verb, "would": would});
    let text = match (&foreseen, verb) {
        (Preview::Pack(pending), _) => {
            document["pending"] = json!(pending);
            format!("dry run: {} would be stored; nothing changed", counted(*pending, "pending snapshot"))
        }
        (_, verb) => format!("dry run: `{}` would {what}; nothing changed", verb.map_or("", String::as_str)),
    };
    context.ui.result(&document, || text)?;
    Ok(Exit::Done)
}
