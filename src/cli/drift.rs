//! `kumadb drift`

use std::collections::HashMap;

use clap::{Args, ValueEnum};
use serde_json::{Value as Json, json};

use super::Context;
use super::document::{self, DocumentArgs};
use super::fleet::{self, Fleet, FleetArgs};
use super::tally::PlannedFixture;
use super::tally::{self, summary, summary_json};
use super::write::{changes_json, shown_lines, step_lines};
use crate::error::{Exit, Result};
use crate::plan::PlanStep;
use crate::plan::fixture::{ItemOutcome, ItemReport, Unmanaged};
use crate::text::{At, one_line};

#[derive(Args, Debug)]
pub struct DriftArgs {
    #[command(flatten)]
    pub documents: DocumentArgs,
    /// Set the output format
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: DriftFormat,
    #[command(flatten)]
    pub fleet: FleetArgs,
}

/// Where the result is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum DriftFormat {
    /// The lines of a plan
    #[default]
    Text,
    /// Annotations of GitHub Actions
    Github,
    /// A code quality report of GitLab CI
    Gitlab,
}

/// One difference between the files and the instance.
struct Difference<'a> {
    at: Option<&'a At>,
    subject: &'a str,
    what: String,
}

pub fn run(args: &DriftArgs, context: &mut Context<'_>) -> Result<Exit> {
    if args.fleet.is_many() {
        return fleet::run(&Fleet { args: args.fleet.clone(), more: &[], words: tally::words }, context);
    }
    let instance = context.instance()?;
    let planned = document::plan(&args.documents, Unmanaged::Listed, &instance, context)?;
    tally::report(&planned, context);
    let (changes, unmanaged) = (&planned.report.plan, &planned.report.unmanaged);
    let is_none = changes.is_empty() && unmanaged.is_empty();
    let mut found = summary_json(&planned);
    found["changes"] = changes_json(changes);
    let text = match args.format {
        DriftFormat::Github => differences(&planned).iter().map(github).collect::<Vec<_>>().join("\n"),
        DriftFormat::Gitlab => format!("{:#}", gitlab(&differences(&planned))),
        DriftFormat::Text => {
            let mut lines = shown_lines(changes, context.ui);
            lines.extend(unmanaged.iter().map(|subject| format!("? {} (unmanaged)", one_line(subject))));
            let verdict = if is_none { "no drift" } else { "drift" };
            lines.push(format!("{}{verdict}: {}", if lines.is_empty() { "" } else { "\n" }, summary(&planned)));
            lines.join("\n")
        }
    };
    context.ui.result(&found, || text)?;
    Ok(match (is_none, planned.is_whole()) {
        (false, _) => Exit::Changes,
        (true, true) => Exit::Done,
        (true, false) => Exit::Partial,
    })
}

fn differences(planned: &PlannedFixture) -> Vec<Difference<'_>> {
    let steps = steps_by_item(planned);
    let differs = |account: &&ItemReport| account.outcome != ItemOutcome::Unchanged;
    let accounts = planned.report.accounts.iter().filter(differs).map(|account| {
        let what = match account.outcome {
            ItemOutcome::Created => "does not exist on the instance".to_owned(),
            _ => {
                let (own, parts) = (format!("~ {}: ", account.subject), format!(" of {}", account.subject));
                let lines = steps.get(account.subject.as_str()).into_iter().flatten().flat_map(|step| step_lines(step));
                lines.map(|line| line.replacen(&own, "", 1).replacen(&parts, "", 1)).collect::<Vec<_>>().join("; ")
            }
        };
        Difference { at: Some(&account.at), subject: &account.subject, what }
    });
    let unmanaged = planned.report.unmanaged.iter().map(|subject| Difference {
        at: None,
        subject,
        what: "is on the instance, but not in the files".to_owned(),
    });
    accounts.chain(unmanaged).collect()
}

/// The changes of each item and of its parts, by the name of the item.
fn steps_by_item(planned: &PlannedFixture) -> HashMap<&str, Vec<&PlanStep>> {
    let accounts = planned.report.accounts.iter();
    let mut all: HashMap<&str, Vec<&PlanStep>> =
        accounts.map(|account| (account.subject.as_str(), Vec::new())).collect();
    for step in &planned.report.plan.steps {
        // `` tag `env` of monitor `Shop` `` is a part of the monitor.
        let owners = step.subject.match_indices(" of ").map(|(at, of)| &step.subject[at + of.len()..]);
        let item = std::iter::once(step.subject.as_str()).chain(owners).find(|name| all.contains_key(name));
        if let Some(steps) = item.and_then(|item| all.get_mut(item)) {
            steps.push(step);
        }
    }
    all
}

/// A workflow command, which GitHub shows beside the line.
fn github(difference: &Difference<'_>) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let at = difference.at.filter(|at| at.line > 0).map_or(String::new(), |at| {
        let column = if at.column > 0 { format!(",col={}", at.column) } else { String::new() };
        format!("file={},line={}{column},", property(&at.file), at.line)
    });
    format!("::error {at}title=Drift::{}", data(&difference.line()))
}

/// A report of the form of Code Climate, which GitLab reads as `codequality`.
fn gitlab(differences: &[Difference<'_>]) -> Json {
    let first = differences.iter().find_map(|difference| difference.at).map_or("-", |at| &at.file);
    let issue = |difference: &Difference<'_>| {
        let path = difference.at.map_or(first, |at| &at.file);
        let line = difference.at.map_or(1, |at| at.line.max(1));
        json!({
            "description": difference.line(),
            "check_name": "drift",
            "fingerprint": blake3::hash(difference.line().as_bytes()).to_hex().as_str(),
            "severity": "major",
            "location": {"path": path, "lines": {"begin": line}},
        })
    };
    differences.iter().map(issue).collect()
}

impl Difference<'_> {
    fn line(&self) -> String {
        one_line(&format!("{}: {}", self.subject, self.what)).into_owned()
    }
}
