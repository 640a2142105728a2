//! `kumadb monitor …`

mod active;
mod add;
mod clone;
mod delete;
mod edit;
mod list;
mod show;

use clap::{Args, Subcommand};

use super::Context;
use crate::error::{Exit, Result};
use crate::plan::pick::Pick;

#[derive(Debug, Subcommand)]
pub enum MonitorVerb {
    /// List monitors: all, or those that pass the filters
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    /// Show the fields of one monitor
    Show(show::ShowArgs),
    /// Add a monitor
    Add(add::AddArgs),
    /// Change fields, tags and notifications of one or many monitors
    Edit(edit::EditArgs),
    /// Copy a monitor under another name
    Clone(clone::CloneArgs),
    /// Delete monitors with their history
    #[command(visible_alias = "rm")]
    Delete(delete::DeleteArgs),
    /// Switch monitors off
    Pause(active::ActiveArgs),
    /// Switch monitors on
    Resume(active::ActiveArgs),
}

impl MonitorVerb {
    /// Whether it changes anything.
    pub fn writes(&self) -> bool {
        !matches!(self, MonitorVerb::List(_) | MonitorVerb::Show(_))
    }
}

/// Which monitors are meant.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which monitors")]
pub struct PickArgs {
    /// Ids, names or paths (Group/Name)
    #[arg(value_name = "MONITOR")]
    named: Vec<String>,
    /// Only those with this tag: NAME or NAME=VALUE
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Only those of this type
    #[arg(long = "type", value_name = "TYPE")]
    kinds: Vec<String>,
    /// Only those somewhere below this group
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Only those whose name (or path, with a / in it) is like this: 'web-*'
    #[arg(long = "name", value_name = "GLOB")]
    globs: Vec<String>,
    /// Only active ones
    #[arg(long, conflicts_with = "paused")]
    active: bool,
    /// Only paused ones
    #[arg(long)]
    paused: bool,
}

impl PickArgs {
    /// The selection by these options.
    pub fn pick(&self) -> Pick {
        Pick {
            named: self.named.clone(),
            tags: self.tags.clone(),
            kinds: self.kinds.clone(),
            groups: self.groups.clone(),
            globs: self.globs.clone(),
            active: if self.active { Some(true) } else { self.paused.then_some(false) },
        }
    }

    /// The selection, which must not be empty: a forgotten filter does not mean all.
    pub fn required(&self) -> Result<Pick> {
        let pick = self.pick();
        match pick.is_empty() {
            true => Err(crate::Error::Input(crate::error::InputError::Usage(
                "name monitors, or filter them: --tag, --type, --group, --name '*'".into(),
            ))),
            false => Ok(pick),
        }
    }
}

pub fn run(verb: &MonitorVerb, context: &mut Context<'_>) -> Result<Exit> {
    match verb {
        MonitorVerb::List(args) => list::run(args, context),
        MonitorVerb::Show(args) => show::run(args, context),
        MonitorVerb::Add(args) => add::run(args, context),
        MonitorVerb::Edit(args) => edit::run(args, context),
        MonitorVerb::Clone(args) => clone::run(args, context),
        MonitorVerb::Delete(args) => delete::run(args, context),
        MonitorVerb::Pause(args) => active::run(args, false, context),
        MonitorVerb::Resume(args) => active::run(args, true, context),
    }
}
