//! Exports the configuration as files of another tool, with a report about everything that these files cannot contain.

pub use super::files::ToolFiles;

use super::{ExportChoice, autokuma, terraform};
use crate::model::state::ConfigRows;

/// A tool with files of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Terraform, with the provider `breml/uptimekuma`.
    Terraform,
    /// AutoKuma, which reads a folder with one file for each entity.
    Autokuma,
}

/// Exports the part of `config` that `choice` selects for `tool`.
pub fn export_to(tool: Tool, config: &ConfigRows, choice: &ExportChoice) -> ToolFiles {
    match tool {
        Tool::Terraform => terraform::export(config, choice),
        Tool::Autokuma => autokuma::export(config, choice),
    }
}
