//! Converts files of other tools to native fixtures.
//!
//! Every converter is a pure function from nodes to nodes. Values keep their positions, so that later problems are
//! reported with the lines of the original file.

mod address;
mod autokuma;
mod columns;
mod csv;
mod draft;
mod dump;
mod guess;
mod kuma_v1;
mod kumaconf;
mod lines;
mod listed;
mod loader_toml;
mod maintenance;
mod monitor_list;
mod status_page;
mod uptimerobot;
mod yaml_list;

use super::node::{At, Node};
use crate::error::Problem;

use draft::Draft;

/// An input file, already read.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file name as specified.
    pub file: String,
    /// Its text.
    pub text: String,
    /// Its parsed content; empty for formats that are lines of text.
    pub documents: Vec<Node>,
}

/// The result of a conversion.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The native fixture.
    pub document: Node,
    /// Parts of the source that were skipped.
    pub skipped: Vec<Skipped>,
}

/// One object of a source that was skipped, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its position.
    pub at: At,
    /// Its name: `` monitor `Shop` ``.
    pub what: String,
    /// Why it was skipped.
    pub why: String,
}

/// A foreign format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The JSON backup of 1.x.
    KumaV1,
    /// The list of monitors that the socket API sends, or a wrapper around it.
    MonitorList,
    /// Entities of AutoKuma, in files or in Docker labels.
    Autokuma,
    /// Tables of the database, as JSON.
    Kumaconf,
    /// A table of monitors.
    Csv,
    /// An UptimeRobot export, as CSV or JSON.
    UptimeRobot,
    /// TOML of a loader script: `[[monitor]]`.
    LoaderToml,
    /// YAML with monitors under the names of their groups.
    YamlList,
    /// One monitor per line.
    Lines,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 9] = [
        Format::KumaV1,
        Format::MonitorList,
        Format::Autokuma,
        Format::Kumaconf,
        Format::Csv,
        Format::UptimeRobot,
        Format::LoaderToml,
        Format::YamlList,
        Format::Lines,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::KumaV1 => "kuma-v1",
            Format::MonitorList => "monitor-list",
            Format::Autokuma => "autokuma",
            Format::Kumaconf => "kumaconf",
            Format::Csv => "csv",
            Format::UptimeRobot => "uptimerobot",
            Format::LoaderToml => "loader-toml",
            Format::YamlList => "yaml-list",
            Format::Lines => "lines",
        }
    }

    /// The format with this name.
    pub fn parse(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The format of `source`, if it can be detected; `None` for a native fixture.
    pub fn guess(source: &Source) -> Option<Format> {
        guess::guess(source)
    }
}

/// Converts `sources` to a native fixture.
///
/// # Errors
/// All problems.
pub fn convert(format: Format, sources: &[Source]) -> Result<Converted, Vec<Problem>> {
    let first = sources.first().map(|source| match source.documents.first() {
        Some(document) => document.at.clone(),
        None => At { file: source.file.as_str().into(), line: 1, column: 1 },
    });
    let mut draft = Draft::new(first.unwrap_or_else(|| At::nowhere("-")));
    match format {
        Format::KumaV1 => kuma_v1::convert(&mut draft, sources),
        Format::MonitorList => monitor_list::convert(&mut draft, sources),
        Format::Autokuma => autokuma::convert(&mut draft, sources),
        Format::Kumaconf => kumaconf::convert(&mut draft, sources),
        Format::Csv => csv::convert(&mut draft, sources),
        Format::UptimeRobot => uptimerobot::convert(&mut draft, sources),
        Format::LoaderToml => loader_toml::convert(&mut draft, sources),
        Format::YamlList => yaml_list::convert(&mut draft, sources),
        Format::Lines => lines::convert(&mut draft, sources),
    }
    draft.finish()
}

/// A problem of `what` at `at`.
pub(crate) fn problem(at: &At, what: &str, message: impl AsRef<str>) -> Problem {
    Problem::at(at, what, message.as_ref())
}
