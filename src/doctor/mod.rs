//! Diagnoses an instance: what is wrong, what it means, and how to fix it.
//!
//! Pure functions: [`Evidence`] in, [`Finding`]s out. One check is one function and one row of [`CHECKS`].

mod access;
mod books;
mod checks;
pub mod evidence;
mod files;
mod history;
mod incomplete;
mod kinds;
mod maintenance;
mod migrations;
mod monitors;
mod place;
mod settings;
mod startup;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use crate::plan::{Assignment, Cell, Change, Plan, PlanStep};
use crate::text::counted;
use crate::value::Value;

pub use checks::CHECKS;
pub use evidence::Evidence;
pub use migrations::is_between_releases;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The server does not start, hangs, or loses data.
    Critical,
    /// Something does not work as expected.
    Error,
    /// It still works.
    Warning,
    /// Harmless.
    Info,
}

impl Severity {
    /// Its name, in lower case.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

/// One kind of fault.
pub struct Check {
    /// `K001`.
    pub code: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    /// Its severity.
    pub severity: Severity,
    /// What people see, and where it comes from.
    pub explanation: &'static str,
    /// What the fix does.
    pub fix: &'static str,
    /// Codes of findings that this one can cause.
    pub explains: &'static [&'static str],
    /// The check.
    pub find: fn(&Evidence, &mut Vec<Fault>),
}

/// One fault, as a check finds it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Fault {
    /// Where.
    pub subject: Subject,
    /// What is wrong and what that means.
    pub what: String,
    /// What to do.
    pub fix: Fix,
}

/// Where something is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// The table.
    pub table: Option<String>,
    /// The row.
    pub id: Option<i64>,
    /// The column.
    pub column: Option<String>,
    /// The file.
    pub path: Option<PathBuf>,
}

impl Subject {
    /// A column, whatever the row.
    fn column(table: &str, column: &str) -> Subject {
        Subject { table: Some(table.into()), column: Some(column.into()), ..Subject::default() }
    }
}

/// How to fix a fault.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fix {
    /// Changes of rows.
    Rows(Vec<PlanStep>),
    /// Statements that change the structure of tables but no cell: an index, a foreign key, a character set, a missing
    /// column; and the records of migrations. Each is harmless if the others fail, and the doctor finds what is left.
    Statements(Vec<String>),
    /// A new database from the readable rows of a damaged one.
    Salvage,
    /// Changes of files.
    Files(Vec<FileChange>),
    /// A new password for this user, which has to be entered.
    Password {
        /// The user.
        id: i64,
        /// Its name.
        name: String,
        /// The present hash.
        old: Value,
    },
    /// Steps for the user: there is no automatic fix.
    Advice(String),
}

/// A change of one file, harmless to repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileChange {
    /// New owner, group and mode.
    Own {
        /// The file.
        path: PathBuf,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Permission bits.
        mode: u32,
    },
    /// Renames it in the same folder; nothing is deleted.
    SetAside {
        /// The file or folder.
        path: PathBuf,
        /// Its new path.
        to: PathBuf,
    },
}

/// One fault of an instance.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// `K001`.
    pub code: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    /// Its severity.
    pub severity: Severity,
    /// Where, what, and what to do.
    pub fault: Fault,
    /// Codes of other findings that this one explains.
    pub explains: Vec<&'static str>,
}

impl Finding {
    /// Whether `--fix` can fix it.
    pub fn is_fixable(&self) -> bool {
        !matches!(self.fault.fix, Fix::Advice(_))
    }

    /// What `--fix` changes on this instance, or what to do where it changes nothing.
    pub fn fix(&self) -> String {
        match &self.fault.fix {
            Fix::Advice(advice) => advice.clone(),
            Fix::Rows(steps) => changes(steps).join(", "),
            Fix::Password { name, .. } => format!("ask for a new password of user `{name}`"),
            Fix::Files(_) if CHOSEN_BY_NAME.contains(&self.code) => {
                format!("rename it: `kumadb doctor --fix {}`", self.code)
            }
            Fix::Statements(_) | Fix::Salvage | Fix::Files(_) => {
                check(self.code).map_or_else(String::new, |check| check.fix.to_owned())
            }
        }
    }
}

/// The changes of rows, each kind with its number.
fn changes(steps: &[PlanStep]) -> Vec<String> {
    let mut kinds: Vec<(String, String, u64)> = Vec::new();
    for step in steps {
        let table = &step.table;
        let (what, rows) = match &step.change {
            Change::Insert { .. } => ("insert".into(), 1),
            Change::Delete { rows, .. } => ("delete".into(), *rows),
            Change::Update { set, .. } => {
                let cells: Vec<String> = set.iter().map(assigned).collect();
                (format!("set {} in", cells.join(" and ")), 1)
            }
        };
        match kinds.iter_mut().find(|(kind, of, _)| (kind, of) == (&what, table)) {
            Some((.., sum)) => *sum += rows,
            None => kinds.push((what, table.clone(), rows)),
        }
    }
    kinds.iter().map(|(what, table, rows)| format!("{what} {} of `{table}`", counted(*rows as usize, "row"))).collect()
}

fn assigned(cell: &Assignment) -> String {
    match &cell.new {
        _ if cell.secret => format!("a new `{}`", cell.column),
        Cell::Is(Value::Null) => format!("`{}` to NULL", cell.column),
        Cell::Is(Value::Text(text)) => format!("`{}` to '{text}'", cell.column),
        Cell::Is(value) => format!("`{}` to {value}", cell.column),
        Cell::IdOf(_) => format!("`{}` to the new row", cell.column),
    }
}

/// The check with this code, written as `K001`, `k1` or `1`.
pub fn check(code: &str) -> Option<&'static Check> {
    let number: u32 = code.trim_start_matches(['k', 'K']).parse().ok()?;
    CHECKS.iter().find(|check| check.code == format!("K{number:03}"))
}

/// Checks of files, of the container and of what every release has. The others judge rows and tables by the schema of a
/// known release: a newer one may mean something else by them (3.0 has users with text ids, and rows without a user).
const OF_ANY_RELEASE: [&str; 17] = [
    "K003", "K004", "K011", "K020", "K021", "K022", "K023", "K032", "K033", "K034", "K035", "K037", "K039", "K050",
    "K060", "K062", "K063",
];

/// Codes whose fix is a choice that a person has to make by naming it: `doctor --fix K021`.
pub const CHOSEN_BY_NAME: [&str; 1] = ["K021"];

/// Whether its fix deletes rows because other rows were not found.
pub fn deletes_orphans(finding: &Finding) -> bool {
    finding.code == "K007" && matches!(&finding.fault.fix, Fix::Rows(steps) if steps.iter().any(PlanStep::is_delete))
}

/// All findings: those that explain others first, then by severity, then by code.
pub fn examine(evidence: &Evidence) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_unknown = evidence.has_unknown_migrations();
    for check in CHECKS.iter().filter(|check| !is_unknown || OF_ANY_RELEASE.contains(&check.code)) {
        let mut faults = Vec::new();
        (check.find)(evidence, &mut faults);
        findings.extend(faults.into_iter().map(|fault| Finding {
            code: check.code,
            title: check.title,
            severity: check.severity,
            fault,
            explains: check.explains.to_vec(),
        }));
    }
    let found: BTreeSet<&str> = findings.iter().map(|finding| finding.code).collect();
    for finding in &mut findings {
        finding.explains.retain(|code| found.contains(code));
    }
    findings.sort_by_key(|finding| (finding.explains.is_empty(), finding.severity, finding.code));
    findings
}

/// One plan of all fixes of rows in `findings`, for the configuration in `evidence`.
pub fn plan_fixes(findings: &[&Finding], evidence: &Evidence) -> Plan {
    let fingerprint = evidence.database.as_ref().map(|content| content.config.fingerprint.clone());
    let mut plan = Plan { fingerprint, steps: Vec::new() };
    for finding in findings {
        if let Fix::Rows(steps) = &finding.fault.fix {
            plan.steps.extend(steps.iter().cloned());
        }
    }
    settle(&mut plan.steps);
    plan
}

/// Two fixes may affect one row: a deleted row need not be changed or deleted again, and all changes of one row are
/// written together, because SQLite checks every reference of a row that is written.
fn settle(steps: &mut Vec<PlanStep>) {
    let gone: BTreeSet<(String, i64)> = steps
        .iter()
        .filter_map(|step| match &step.change {
            Change::Delete { column, value, .. } if column == "id" => Some((step.table.clone(), *value)),
            _ => None,
        })
        .collect();
    let mut deleted = BTreeSet::new();
    let mut settled: Vec<PlanStep> = Vec::new();
    // The position of the update of a row.
    let mut updates: BTreeMap<(String, i64), usize> = BTreeMap::new();
    for step in steps.drain(..) {
        match &step.change {
            Change::Update { id, set } => {
                let row = (step.table.clone(), *id);
                let first = updates.get(&row).and_then(|at| settled.get_mut(*at));
                if let Some(PlanStep { change: Change::Update { set: cells, .. }, .. }) = first {
                    let more = set.iter().filter(|cell| !cells.iter().any(|other| other.column == cell.column));
                    let more: Vec<_> = more.cloned().collect();
                    cells.extend(more);
                    continue;
                }
                if set.is_empty() || gone.contains(&row) {
                    continue;
                }
                updates.insert(row, settled.len());
            }
            Change::Delete { column, value, .. } => {
                if !deleted.insert((step.table.clone(), column.clone(), *value)) {
                    continue;
                }
            }
            Change::Insert { .. } => {}
        }
        settled.push(step);
    }
    *steps = settled;
}
