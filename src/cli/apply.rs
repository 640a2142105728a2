//! `kumadb apply`

use clap::Args;
use serde_json::{Value as Json, json};

use super::Context;
use super::document::{self, DocumentArgs, UnmanagedArgs};
use super::fleet::{self, Fleet, FleetArgs};
use super::inputs::Inputs;
use super::plan::SavedPlan;
use super::tally::PlannedFixture;
use super::tally::{self, summary, summary_json};
use super::write::{WriteArgs, WriteRequest, carry_out, read_from};
use crate::error::{Error, Exit, InputError, OperationError, Result};
use crate::instance::Instance;
use crate::kuma::read::read_config;
use crate::operation::Outcome;
use crate::plan::fixture::NewKey;

#[derive(Args, Debug)]
pub struct ApplyArgs {
    #[command(flatten)]
    documents: DocumentArgs,
    #[command(flatten)]
    prune: UnmanagedArgs,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    pub fleet: FleetArgs,
}

impl ApplyArgs {
    /// Packs the input for a remote job: a saved plan, or fixtures.
    pub fn pack(&self, inputs: &mut Inputs) -> Result<()> {
        match self.documents.files.as_slice() {
            [file] if file.as_os_str() != "-" && SavedPlan::read(file)?.is_some() => inputs.take(file),
            _ => self.documents.pack(inputs),
        }
    }
}

pub fn run(args: &ApplyArgs, context: &mut Context<'_>) -> Result<Exit> {
    if args.fleet.is_many() {
        return fleet::run(&Fleet { args: args.fleet.clone(), more: &[], words: tally::words }, context);
    }
    let instance = context.instance()?;
    match read_plan(args, &instance)? {
        Some((planned, summary)) => {
            let result = SummarizedPlan { planned, summary, document: json!({}) };
            result.carry_out("apply", &args.write, &instance, context)
        }
        None => {
            let planned = document::plan(&args.documents, args.prune.unmanaged(), &instance, context)?;
            tally::report(&planned, context);
            carry_out_planned("apply", planned, &args.write, &instance, context)
        }
    }
}

/// Writes what was planned.
pub fn carry_out_planned(
    verb: &str,
    planned: PlannedFixture,
    write: &WriteArgs,
    instance: &Instance,
    context: &mut Context<'_>,
) -> Result<Exit> {
    let (summary, document) = (summary(&planned), summary_json(&planned));
    SummarizedPlan { planned, summary, document }.carry_out(verb, write, instance, context)
}

/// What was planned, with its summary as text and as JSON.
struct SummarizedPlan {
    planned: PlannedFixture,
    summary: String,
    document: Json,
}

impl SummarizedPlan {
    fn carry_out(self, verb: &str, write: &WriteArgs, instance: &Instance, context: &mut Context<'_>) -> Result<Exit> {
        let SummarizedPlan { planned, summary, mut document } = self;
        let is_whole = planned.is_whole();
        let PlannedFixture { config, report, .. } = planned;
        if report.plan.is_empty() {
            if let Some(document) = document.as_object_mut() {
                document.insert("changes".into(), json!([]));
            }
            context.ui.result(&document, || summary)?;
            return Ok(if is_whole { Exit::Done } else { Exit::Partial });
        }
        let keys = report.keys;
        let done = |outcome: &Outcome| {
            let made: Vec<(String, String)> = keys.iter().filter_map(|key| whole_key(key, outcome)).collect();
            let mut document = document.clone();
            let list: Vec<Json> = made.iter().map(|(name, key)| json!({"name": name, "key": key})).collect();
            document["api_keys"] = json!(list);
            let keys = made.iter().map(|(name, key)| format!("API key `{name}` (shown only once): {key}"));
            let applied = format!("applied: {}", tally::applied(&summary));
            (document, std::iter::once(applied).chain(keys).collect())
        };
        let question = Some(format!("apply these changes ({summary})?"));
        let request = WriteRequest { verb, plan: report.plan, names: &config, question, done: &done };
        let exit = carry_out(&request, write, instance, context)?;
        Ok(if exit == Exit::Done && !is_whole { Exit::Partial } else { exit })
    }
}

/// The key in the form that clients use.
fn whole_key(key: &NewKey, outcome: &Outcome) -> Option<(String, String)> {
    let id = outcome.written.ids.get(&key.step)?;
    Some((key.name.clone(), format!("uk{id}_{}", key.clear)))
}

/// The saved plan, if the argument is one.
fn read_plan(args: &ApplyArgs, instance: &Instance) -> Result<Option<(PlannedFixture, String)>> {
    let saved: Vec<Option<SavedPlan>> = args
        .documents
        .files
        .iter()
        .map(|file| if file.as_os_str() == "-" { Ok(None) } else { SavedPlan::read(file) })
        .collect::<Result<_>>()?;
    match (saved.len(), saved.into_iter().flatten().next()) {
        (_, None) => Ok(None),
        (1, Some(saved)) => {
            if saved.origin != instance.origin() {
                return Err(Error::Operation(OperationError::OtherInstance {
                    origin: saved.origin.clone(),
                    instance: instance.name.clone(),
                }));
            }
            let config = read_from(instance, read_config)?;
            if saved.report.plan.fingerprint.as_ref().is_some_and(|made_for| *made_for != config.fingerprint) {
                return Err(Error::Operation(OperationError::StalePlan));
            }
            Ok(Some((PlannedFixture { config, report: saved.report, remarks: Vec::new() }, saved.summary)))
        }
        _ => Err(Error::Input(InputError::Conflict { option: "a saved plan".into(), other: "other files".into() })),
    }
}
