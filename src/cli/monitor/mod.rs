//! `kumadb monitor …`

mod active;
pub mod add;
mod clone;
mod delete;
mod edit;
pub mod fields;
mod list;
mod outages;
mod show;
mod span;
mod uptime;

use std::collections::BTreeMap;

use clap::{Args, Subcommand};

pub use outages::read_outages;

use super::Context;
use super::inputs::Inputs;
use super::observe::SourceArgs;
use super::write::read_from;
use crate::cli::lazy::Lazy;
use crate::error::{Exit, Hint, Result};
use crate::instance::Instance;
use crate::kuma::read::{Columns, read_monitors, read_state};
use crate::model::state::{Monitor, MonitorConfig};
use crate::plan::pick::Pick;

#[derive(Debug, Subcommand)]
pub enum MonitorVerb {
    /// List monitors with their status
    #[command(visible_alias = "ls")]
    List(Lazy<list::ListArgs>),
    /// Show status, uptime, response times and fields of a monitor
    Show(Lazy<show::ShowArgs>),
    /// Show the uptime of monitors
    Uptime(Lazy<uptime::UptimeArgs>),
    /// List the outages of monitors
    Outages(Lazy<outages::OutagesArgs>),
    /// Add a monitor
    Add(Lazy<add::AddArgs>),
    /// Change fields, tags and notifications of monitors
    Edit(Lazy<edit::EditArgs>),
    /// Copy a monitor
    Clone(Lazy<clone::CloneArgs>),
    /// Delete monitors with their history
    #[command(visible_alias = "rm")]
    Delete(Lazy<delete::DeleteArgs>),
    /// Pause monitors
    Pause(Lazy<active::ActiveArgs>),
    /// Resume paused monitors
    Resume(Lazy<active::ActiveArgs>),
}

impl MonitorVerb {
    /// Whether it changes anything.
    pub fn writes(&self) -> bool {
        !matches!(self, MonitorVerb::List(_) | MonitorVerb::Show(_) | MonitorVerb::Uptime(_) | MonitorVerb::Outages(_))
    }

    /// Where it reads from, if that may be a snapshot.
    pub fn source(&self) -> Option<&SourceArgs> {
        match self {
            MonitorVerb::List(args) => Some(&args.source),
            MonitorVerb::Show(args) => Some(&args.source),
            MonitorVerb::Uptime(args) => Some(&args.source),
            MonitorVerb::Outages(args) => Some(&args.source),
            _ => None,
        }
    }

    /// Checks the options that need no data.
    pub fn check(&self) -> Result<()> {
        match self {
            MonitorVerb::Edit(args) => args.pick.required().map(drop),
            MonitorVerb::Delete(args) => args.pick.required().map(drop),
            MonitorVerb::Pause(args) | MonitorVerb::Resume(args) => args.pick.required().map(drop),
            _ => Ok(()),
        }
    }

    /// Packs the files of its options for a remote job.
    pub fn pack(&self, inputs: &mut Inputs) -> Result<()> {
        self.source().map_or(Ok(()), |source| source.pack(inputs))
    }
}

/// Which monitors.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Filters")]
pub struct PickArgs {
    /// Select monitors by id, name or path (Group/Name or /Name)
    #[arg(value_name = "MONITOR", help_heading = "Arguments")]
    named: Vec<String>,
    /// Select monitors with this tag: NAME or NAME=VALUE
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Select monitors of one of these types
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    kinds: Vec<String>,
    /// Exclude monitors of these types
    #[arg(long = "not-type", value_name = "TYPE", value_delimiter = ',')]
    not_kinds: Vec<String>,
    /// Select monitors in this group, at any depth
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Select monitors whose name (or path, if it contains /) matches this glob: 'web-*'
    #[arg(long = "name", value_name = "GLOB")]
    globs: Vec<String>,
    /// Select active monitors
    #[arg(long, conflicts_with = "paused")]
    active: bool,
    /// Select paused monitors
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
            not_kinds: self.not_kinds.clone(),
            groups: self.groups.clone(),
            globs: self.globs.clone(),
            active: if self.active { Some(true) } else { self.paused.then_some(false) },
        }
    }

    /// The selection, which must not be empty: a forgotten filter does not mean all.
    pub fn required(&self) -> Result<Pick> {
        let pick = self.pick();
        if pick.is_empty() {
            Err(crate::error::InputError::Missing {
                what: "monitor".into(),
                hint: Hint::advice("specify monitors, or filter them: --tag, --type, --group, --name '*'"),
            }
            .into())
        } else {
            Ok(pick)
        }
    }
}

/// The state that a plan is made for, and the monitors of `pick` with all their columns.
fn read_picked(instance: &Instance, pick: &Pick) -> Result<(MonitorConfig, BTreeMap<i64, Monitor>)> {
    read_from(instance, |reader, name| {
        let state = read_state(reader, name)?;
        let monitors = read_monitors(reader, &state.database.schema, Columns::All, Some(&pick.ids(&state)?))?;
        Ok((state, monitors))
    })
}

pub fn run(verb: &MonitorVerb, context: &mut Context<'_>) -> Result<Exit> {
    match verb {
        MonitorVerb::List(args) => list::run(args, context),
        MonitorVerb::Show(args) => show::run(args, context),
        MonitorVerb::Uptime(args) => uptime::run(args, context),
        MonitorVerb::Outages(args) => outages::run(args, context),
        MonitorVerb::Add(args) => add::run(args, context),
        MonitorVerb::Edit(args) => edit::run(args, context),
        MonitorVerb::Clone(args) => clone::run(args, context),
        MonitorVerb::Delete(args) => delete::run(args, context),
        MonitorVerb::Pause(args) => active::run(args, false, context),
        MonitorVerb::Resume(args) => active::run(args, true, context),
    }
}
