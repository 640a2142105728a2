//! `kumadb history …`: shows and prunes heartbeats and statistics.

mod prune;
mod stats;

use clap::Subcommand;

use super::Context;
use crate::cli::lazy::Lazy;
use crate::error::{Exit, Result};

#[derive(Debug, Subcommand)]
pub enum HistoryVerb {
    /// Show size, growth and largest monitors of the heartbeat history
    Stats(Lazy<stats::StatsArgs>),
    /// Delete old heartbeats and statistics
    Prune(Lazy<prune::PruneArgs>),
}

pub fn run(verb: &HistoryVerb, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    match verb {
        HistoryVerb::Stats(args) => stats::run(args, &instance, context),
        HistoryVerb::Prune(args) => prune::run(args, &instance, context),
    }
}
