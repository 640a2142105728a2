//! `kumadb recover`

use clap::Args;
use serde_json::json;

use super::Context;
use super::write::{WriteArgs, finish};
use crate::error::{Exit, Result};
use crate::operation::{self, Preview, Resumed};
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
    let resumed = operation::resume(&instance, &store, &settings, context.ui)?;
    let (document, text, outcome) = match resumed {
        Resumed::Finished(record, outcome) => {
            let snapshot = outcome.snapshot.as_ref().map(|snapshot| snapshot.manifest.id.clone());
            let document = json!({"verb": record.verb, "ended": "finished", "snapshot": snapshot});
            (document, format!("finished `{}`: the change is committed", record.verb), *outcome)
        }
        Resumed::Packed(packing) => {
            let warnings = packing.warnings.iter().map(ToString::to_string).collect();
            let outcome = operation::Outcome { warnings, ..operation::Outcome::default() };
            let ids: Vec<&str> = packing.packed.iter().map(|snapshot| snapshot.manifest.id.as_str()).collect();
            let text = format!("{} stored: {}", counted(ids.len(), "pending snapshot"), ids.join(" "));
            (json!({"ended": "stored", "snapshots": ids}), text, outcome)
        }
        Resumed::Undone(record, changed) => {
            let how = match changed {
                true => "the previous state of the database was restored",
                false => "nothing was changed",
            };
            let document = json!({"verb": record.verb, "ended": "rolled_back", "changed": changed});
            let mut outcome = operation::Outcome::default();
            if record.leaves_tables(changed) {
                outcome.warnings.push(
                    "the new database on the external MariaDB may have tables of the interrupted conversion, with the mark \
                     `kumadb_unfinished_restore`: the next conversion into it removes them"
                        .into(),
                );
            }
            (document, format!("rolled back `{}`: {how}", record.verb), outcome)
        }
    };
    context.ui.result(&document, || text)?;
    finish(&outcome, context.ui)
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
