//! `kumadb monitor delete`

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;

use super::PickArgs;
use crate::cli::Context;
use crate::cli::write::{WriteArgs, WriteRequest, carry_out, read_from};
use crate::error::{Exit, Result};
use crate::kuma::read::{read_dependents, read_state};
use crate::operation::Outcome;
use crate::plan::monitor::plan_delete;
use crate::text::counted;

#[derive(Args, Debug)]
pub struct DeleteArgs {
    #[command(flatten)]
    pub pick: PickArgs,
    /// Delete the monitors in a deleted group, too; otherwise they stay without a group
    #[arg(long)]
    with_children: bool,
    #[command(flatten)]
    write: WriteArgs,
}

pub fn run(args: &DeleteArgs, context: &mut Context<'_>) -> Result<Exit> {
    let pick = args.pick.required()?;
    let instance = context.instance()?;
    let (state, ids, dependents) = read_from(&instance, |reader, name| {
        let state = read_state(reader, name)?;
        let mut ids = pick.ids(&state)?;
        if args.with_children {
            ids = ids.into_iter().flat_map(|id| state.family(id)).collect();
            ids.sort_unstable();
            ids.dedup();
        }
        let mut dependents = BTreeMap::new();
        for id in &ids {
            dependents.insert(*id, read_dependents(reader, &state.database.schema, *id)?);
        }
        Ok((state, ids, dependents))
    })?;
    let plan = plan_delete(&state, &ids, &dependents);
    let beats: u64 = dependents.values().filter_map(|tables| tables.get("heartbeat")).sum();
    let what = match ids.as_slice() {
        [id] => format!("monitor `{}`", state.path(*id)),
        ids => format!("{} monitors", ids.len()),
    };
    let question = Some(format!("delete {what} and {}?", counted(beats as usize, "heartbeat")));
    let done = |_: &Outcome| {
        (
            json!({"deleted": ids, "deleted_heartbeats": beats}),
            vec![format!("deleted {what} and {}", counted(beats as usize, "heartbeat"))],
        )
    };
    let request = WriteRequest { verb: "monitor delete", plan, names: &state, question, done: &done };
    carry_out(&request, &args.write, &instance, context)
}
