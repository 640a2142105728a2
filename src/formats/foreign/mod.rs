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
mod gatus;
mod guess;
mod homepage;
mod kuma_v1;
mod kumaconf;
mod ledger;
mod lines;
mod listed;
mod loader_toml;
mod lookshe;
mod maintenance;
mod mapped;
mod monitor_list;
mod path;
mod status_page;
mod terraform;
mod uptimerobot;
mod words;
mod yaml_list;

use super::node::{At, Node};
use crate::error::Problem;

pub use autokuma::{LabelledContainer, of_containers};
use draft::Draft;
pub use mapped::{ListMap, NameList};

/// An input file, already read.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The file name as specified.
    pub file: String,
    /// Its text.
    pub text: String,
    /// Its parsed content; empty for formats that are lines of text.
    pub documents: Vec<Node>,
    /// Lines that are not in the content.
    pub problems: Vec<Problem>,
}

/// The result of a conversion.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The native fixture.
    pub document: Node,
    /// What of the source is not in it, or is probably not intended.
    pub remarks: Vec<ReportLine>,
    /// What is wrong with the source.
    pub problems: Vec<Problem>,
}

/// One line of the report about a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportLine {
    /// The position.
    pub at: At,
    /// Its name: `` monitor `Shop` ``.
    pub what: String,
    /// The reason.
    pub why: String,
    /// What happened to it.
    pub outcome: ImportOutcome,
}

/// What happened to a part of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportOutcome {
    /// It is not imported.
    Skipped,
    /// It is not imported, and had no effect in the source either.
    Dropped,
    /// It is imported, but it is probably not intended.
    Doubtful,
}

/// A foreign format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForeignFormat {
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
    /// A configuration of Gatus.
    Gatus,
    /// The state of the Terraform provider `uptimekuma`.
    TerraformState,
    /// The API of Better Stack Uptime.
    BetterStack,
    /// The API of Healthchecks.io.
    Healthchecks,
    /// The export of Statping.
    Statping,
    /// The table of the bulk import of Checkmate.
    Checkmate,
    /// The monitors of the OpenStatus CLI.
    OpenStatus,
    /// The configuration of Upptime.
    Upptime,
    /// Target lists of Prometheus.
    PrometheusSd,
    /// The services of Homepage.
    Homepage,
    /// The configuration of kuma-sync.
    KumaSync,
    /// The configuration of uptime-kuma-monitor-configure.
    Lookshe,
}

impl ForeignFormat {
    /// All of them.
    pub const ALL: [ForeignFormat; 21] = [
        ForeignFormat::KumaV1,
        ForeignFormat::MonitorList,
        ForeignFormat::Autokuma,
        ForeignFormat::Kumaconf,
        ForeignFormat::Csv,
        ForeignFormat::UptimeRobot,
        ForeignFormat::LoaderToml,
        ForeignFormat::YamlList,
        ForeignFormat::Lines,
        ForeignFormat::Gatus,
        ForeignFormat::TerraformState,
        ForeignFormat::BetterStack,
        ForeignFormat::Healthchecks,
        ForeignFormat::Statping,
        ForeignFormat::Checkmate,
        ForeignFormat::OpenStatus,
        ForeignFormat::Upptime,
        ForeignFormat::PrometheusSd,
        ForeignFormat::Homepage,
        ForeignFormat::KumaSync,
        ForeignFormat::Lookshe,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            ForeignFormat::KumaV1 => "kuma-v1",
            ForeignFormat::MonitorList => "monitor-list",
            ForeignFormat::Autokuma => "autokuma",
            ForeignFormat::Kumaconf => "kumaconf",
            ForeignFormat::Csv => "csv",
            ForeignFormat::UptimeRobot => "uptimerobot",
            ForeignFormat::LoaderToml => "loader-toml",
            ForeignFormat::YamlList => "yaml-list",
            ForeignFormat::Lines => "lines",
            ForeignFormat::Gatus => "gatus",
            ForeignFormat::TerraformState => "terraform-state",
            ForeignFormat::BetterStack => "better-stack",
            ForeignFormat::Healthchecks => "healthchecks",
            ForeignFormat::Statping => "statping",
            ForeignFormat::Checkmate => "checkmate",
            ForeignFormat::OpenStatus => "openstatus",
            ForeignFormat::Upptime => "upptime",
            ForeignFormat::PrometheusSd => "prometheus-sd",
            ForeignFormat::Homepage => "homepage",
            ForeignFormat::KumaSync => "kuma-sync",
            ForeignFormat::Lookshe => "lookshe",
        }
    }

    /// What its files are, in one line.
    pub fn about(self) -> &'static str {
        match self {
            ForeignFormat::KumaV1 => "the JSON backup of Uptime Kuma 1.x",
            ForeignFormat::MonitorList => "monitors as the socket API of Uptime Kuma sends them (JSON)",
            ForeignFormat::Autokuma => {
                "AutoKuma: entities, labels, Compose files, docker inspect, KumaEntity resources"
            }
            ForeignFormat::Kumaconf => "tables of the database of Uptime Kuma as JSON",
            ForeignFormat::Csv => "a table with a line of headers: name, url, and any field of a monitor",
            ForeignFormat::UptimeRobot => "UptimeRobot: the CSV export, or the JSON of its API v2 and v3",
            ForeignFormat::LoaderToml => "TOML with [[monitor]], [[notification]], [[docker]], [[status]]",
            ForeignFormat::YamlList => "YAML or JSON lists of monitors, also under the names of their groups",
            ForeignFormat::Lines => "one monitor a line: ping:host, https://host, tcp:host:port, host",
            ForeignFormat::Gatus => "the configuration of Gatus (YAML)",
            ForeignFormat::TerraformState => "the state of the Terraform provider uptimekuma (JSON)",
            ForeignFormat::BetterStack => "monitors of the Better Stack API (JSON)",
            ForeignFormat::Healthchecks => "checks of the Healthchecks.io API (JSON), as push monitors",
            ForeignFormat::Statping => "the export of Statping and Statping-ng (JSON)",
            ForeignFormat::Checkmate => "the table of the bulk import of Checkmate (CSV)",
            ForeignFormat::OpenStatus => "monitors of the OpenStatus CLI (YAML)",
            ForeignFormat::Upptime => "the configuration of Upptime (.upptimerc.yml)",
            ForeignFormat::PrometheusSd => "target lists of Prometheus file_sd (JSON or YAML)",
            ForeignFormat::Homepage => "the services of Homepage (services.yaml)",
            ForeignFormat::KumaSync => "the configuration of kuma-sync (YAML)",
            ForeignFormat::Lookshe => "the configuration of uptime-kuma-monitor-configure by lookshe (YAML)",
        }
    }

    /// Its map, if it is a list under other names.
    fn map(self) -> Option<ListMap> {
        let text = match self {
            ForeignFormat::BetterStack => include_str!("maps/better-stack.toml"),
            ForeignFormat::Healthchecks => include_str!("maps/healthchecks.toml"),
            ForeignFormat::Statping => include_str!("maps/statping.toml"),
            ForeignFormat::Checkmate => include_str!("maps/checkmate.toml"),
            ForeignFormat::OpenStatus => include_str!("maps/openstatus.toml"),
            ForeignFormat::Upptime => include_str!("maps/upptime.toml"),
            ForeignFormat::PrometheusSd => include_str!("maps/prometheus-sd.toml"),
            ForeignFormat::KumaSync => include_str!("maps/kuma-sync.toml"),
            _ => return None,
        };
        toml::from_str(text).ok()
    }

    /// The format with this name.
    pub fn parse(name: &str) -> Option<ForeignFormat> {
        ForeignFormat::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The format of a text whose file name does not show it, if it is not YAML or JSON.
    pub fn of_text(file: &str, text: &str) -> Option<ForeignFormat> {
        guess::of_text(file, text)
    }

    /// Whether its own tool expands variables of the environment in these files.
    pub fn has_variables(self, sources: &[SourceFile]) -> bool {
        let is_compose =
            |source: &SourceFile| source.documents.iter().any(|document| document.find("services").is_some());
        self == ForeignFormat::Gatus || self == ForeignFormat::Autokuma && sources.iter().any(is_compose)
    }

    /// The format of `source`, if it can be detected; `None` for a native fixture.
    pub fn guess(source: &SourceFile) -> Option<ForeignFormat> {
        guess::guess(source)
    }
}

/// Converts `sources` to a native fixture, with everything that is wrong with them.
pub fn convert(format: ForeignFormat, sources: &[SourceFile]) -> Converted {
    let mut draft = Draft::new(start_of(sources));
    match format {
        ForeignFormat::KumaV1 => kuma_v1::convert(&mut draft, sources),
        ForeignFormat::MonitorList => monitor_list::convert(&mut draft, sources),
        ForeignFormat::Autokuma => autokuma::convert(&mut draft, sources),
        ForeignFormat::Kumaconf => kumaconf::convert(&mut draft, sources),
        ForeignFormat::Csv => csv::convert(&mut draft, sources),
        ForeignFormat::UptimeRobot => uptimerobot::convert(&mut draft, sources),
        ForeignFormat::LoaderToml => loader_toml::convert(&mut draft, sources),
        ForeignFormat::YamlList => yaml_list::convert(&mut draft, sources),
        ForeignFormat::Lines => lines::convert(&mut draft, sources),
        ForeignFormat::Gatus => gatus::convert(&mut draft, sources),
        ForeignFormat::TerraformState => terraform::convert(&mut draft, sources),
        ForeignFormat::Homepage => homepage::convert(&mut draft, sources),
        ForeignFormat::Lookshe => lookshe::convert(&mut draft, sources),
        listed => mapped::convert(&mut draft, sources, &listed.map().unwrap_or_default()),
    }
    draft.finish(format.name(), sources)
}

/// Converts files of AutoKuma, of which labels begin with `prefix` and a point.
pub fn convert_labels(prefix: &str, sources: &[SourceFile]) -> Converted {
    let mut draft = Draft::new(start_of(sources));
    draft.label_prefix = Some(prefix.to_owned());
    autokuma::convert(&mut draft, sources);
    draft.finish(ForeignFormat::Autokuma.name(), sources)
}

/// Converts `sources` by a map of the user.
pub fn convert_by(map: &ListMap, sources: &[SourceFile]) -> Converted {
    let mut draft = Draft::new(start_of(sources));
    mapped::convert(&mut draft, sources, map);
    mapped::report_unused(&mut draft, sources, map);
    draft.finish("a list, by this map", sources)
}

/// The position at which `sources` begin.
fn start_of(sources: &[SourceFile]) -> At {
    let first = sources.first().map(|source| match source.documents.first() {
        Some(document) => document.at.clone(),
        None => At { file: source.file.as_str().into(), line: 1, column: 1 },
    });
    first.unwrap_or_else(|| At::nowhere("-"))
}

/// A problem of `what` at `at`.
pub(crate) fn problem(at: &At, what: &str, message: impl AsRef<str>) -> Problem {
    Problem::at(at, what, message.as_ref())
}
