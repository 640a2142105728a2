//! `kumadb recover`

use clap::Args;
use serde_json::json;

use super::Context;
use super::write::{WriteArgs, finish};
use crate::error::{Exit, Result};
use crate::run::{self, Resumed};
use crate::text::counted;

#[derive(Args, Debug)]
pub struct RecoverArgs {
    #[command(flatten)]
    write: WriteArgs,
}

pub fn run(args: &RecoverArgs, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.find()?;
    let store = context.store()?;
    let resumed = run::resume(&instance, &store, &args.write.settings("recover"), context.ui)?;
    let (document, text, outcome) = match resumed {
        Resumed::Finished(record, outcome) => {
            let snapshot = outcome.snapshot.as_ref().map(|snapshot| snapshot.manifest.id.clone());
            let document = json!({"verb": record.verb, "ended": "finished", "snapshot": snapshot});
            (document, format!("finished `{}`: the change is committed", record.verb), *outcome)
        }
        Resumed::Packed(packing) => {
            let warnings = packing.warnings.iter().map(ToString::to_string).collect();
            let outcome = run::Outcome { warnings, ..run::Outcome::default() };
            let ids: Vec<&str> = packing.packed.iter().map(|snapshot| snapshot.manifest.id.as_str()).collect();
            let text = format!("{} stored: {}", counted(ids.len(), "pending snapshot"), ids.join(" "));
            (json!({"ended": "packed", "snapshots": ids}), text, outcome)
        }
        Resumed::Undone(record, changed) => {
            let how = match changed {
                true => "the database is as it was before",
                false => "nothing had been changed",
            };
            let document = json!({"verb": record.verb, "ended": "undone", "changed": changed});
            (document, format!("rolled back `{}`: {how}", record.verb), run::Outcome::default())
        }
    };
    context.ui.result(&document, || text)?;
    finish(&outcome, context.ui)
}
