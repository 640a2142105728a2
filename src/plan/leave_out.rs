//! Which monitors an edit leaves out: filters select monitors of several types, and a field may exist for some of them
//! only, or mean something else.

use std::collections::{BTreeMap, BTreeSet};

use super::pick::Pick;
use crate::error::Problem;
use crate::model::meanings::other_meaning;
use crate::model::state::Monitor;
use crate::model::{field, kind};
use crate::schema::Release;
use crate::text::counted;

/// Monitors of one type that are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOutMonitors {
    /// Their type.
    pub kind: String,
    /// Their ids.
    pub monitors: Vec<i64>,
    /// Why.
    pub reason: String,
}

impl LeftOutMonitors {
    /// As a message.
    pub fn words(&self) -> String {
        format!("left out {}: {}", counted(self.monitors.len(), &format!("{} monitor", self.kind)), self.reason)
    }
}

/// Why monitors of a type are left out.
enum Reason {
    /// They do not have this field.
    Lacks(String),
    /// It means this for them.
    Differs(String, &'static str),
}

/// The monitors among those that `pick` selects that an edit of `columns` leaves out. None where monitors or types are named,
/// and where all monitors are of one type.
///
/// # Errors
/// A column has another meaning for each selected type.
pub fn leave_out(
    release: Release,
    monitors: &BTreeMap<i64, Monitor>,
    columns: &[&str],
    pick: &Pick,
) -> Result<Vec<LeftOutMonitors>, Problem> {
    let kinds: BTreeSet<&str> = monitors.values().map(Monitor::kind).collect();
    let is_named = !(pick.named.is_empty() && pick.kinds.is_empty());
    if is_named || kinds.len() < 2 || columns.contains(&"type") {
        return Ok(Vec::new());
    }
    let reasons: BTreeMap<&str, Reason> = kinds
        .iter()
        .copied()
        .filter_map(|kind| Some((kind, columns.iter().find_map(|column| reason(release, kind, column))?)))
        .collect();
    if reasons.len() == kinds.len() {
        // A field that none of them has is reported as such.
        let differs = reasons.iter().find_map(|(kind, reason)| match reason {
            Reason::Differs(column, meaning) => Some((kind, column, meaning)),
            Reason::Lacks(_) => None,
        });
        return differs.map_or(Ok(Vec::new()), |(kind, column, meaning)| {
            let message =
                format!("has another meaning for each of the selected types; for type {kind}, it is {meaning}");
            Err(Problem::new(column, message).hint(format!("name the type to change: --type {kind}")))
        });
    }
    let ids = |kind: &str| monitors.values().filter(|one| one.kind() == kind).map(|one| one.id).collect();
    let left = reasons.into_iter().map(|(kind, reason)| LeftOutMonitors {
        kind: kind.to_owned(),
        monitors: ids(kind),
        reason: match reason {
            Reason::Lacks(column) => format!("type {kind} has no field `{column}`"),
            Reason::Differs(column, meaning) => {
                format!("for type {kind}, `{column}` is {meaning}; to change it: --type {kind}")
            }
        },
    });
    Ok(left.collect())
}

fn reason(release: Release, name: &str, column: &str) -> Option<Reason> {
    let known = field(column).filter(|known| known.since <= release)?;
    let problems = kind(name).is_some_and(|kind| !kind.has(known.column, release));
    match other_meaning(name, known.column) {
        _ if problems => Some(Reason::Lacks(known.column.to_owned())),
        meaning => meaning.map(|meaning| Reason::Differs(known.column.to_owned(), meaning)),
    }
}
