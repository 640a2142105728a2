//! `kumadb monitor pause` and `kumadb monitor resume`

use clap::Args;
use serde_json::json;

use super::PickArgs;
use crate::cli::Context;
use crate::cli::write::{WriteArgs, WriteRequest, carry_out, input, read_state};
use crate::error::{Exit, Result};
use crate::operation::Outcome;
use crate::plan::monitor::{Edit, plan_edit};

#[derive(Args, Debug)]
pub struct ActiveArgs {
    #[command(flatten)]
    pub pick: PickArgs,
    #[command(flatten)]
    write: WriteArgs,
}

pub fn run(args: &ActiveArgs, active: bool, context: &mut Context<'_>) -> Result<Exit> {
    let pick = args.pick.required()?;
    let instance = context.instance()?;
    let state = read_state(&instance)?;
    let ids = pick.ids(&state)?;
    let monitors = ids.iter().filter_map(|id| Some((*id, state.monitors.get(id)?.clone()))).collect();
    let edit = Edit { set: [("active".to_owned(), active.into())].into_iter().collect(), ..Edit::default() };
    let plan = input(plan_edit(&state, &monitors, &edit, false))?;
    let (verb, did) = if active { ("monitor resume", "resumed") } else { ("monitor pause", "paused") };
    let question = (ids.len() > 1).then(|| format!("{} {} monitors?", verb.replacen("monitor ", "", 1), ids.len()));
    let names: Vec<String> = ids.iter().map(|id| format!("{id} `{}`", state.path(*id))).collect();
    let done = |_: &Outcome| (json!({"monitors": ids, "active": active}), vec![format!("{did} {}", names.join(", "))]);
    let request = WriteRequest { verb, plan, names: &state, question, done: &done };
    carry_out(&request, &args.write, &instance, context)
}
