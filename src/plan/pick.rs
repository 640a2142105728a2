//! Selects monitors by name or by filters.

use globset::{Glob, GlobMatcher};

use super::names::{find_group, find_monitor};
use crate::error::{Error, InputError, Problem, Result};
use crate::model::state::{Monitor, MonitorConfig};
use crate::model::{kind, nearest_kind};
use crate::text::{meant, quoted};

/// Names and filters; a monitor is selected if it matches all filters that are set.
#[derive(Clone, Debug, Default)]
pub struct Pick {
    /// Ids, names or paths.
    pub named: Vec<String>,
    /// `name` or `name=value`; all must be attached.
    pub tags: Vec<String>,
    /// Types; one of them.
    pub kinds: Vec<String>,
    /// Types; none of them.
    pub not_kinds: Vec<String>,
    /// Groups; the monitor is inside one of them, at any depth.
    pub groups: Vec<String>,
    /// Globs for the name, or for the path if they contain a `/`; one of them.
    pub globs: Vec<String>,
    /// Only active ones, or only paused ones.
    pub active: Option<bool>,
}

impl Pick {
    /// Whether neither names nor filters are set.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && !self.has_filters()
    }

    /// Whether a filter is set.
    pub fn has_filters(&self) -> bool {
        let lists = [&self.tags, &self.kinds, &self.not_kinds, &self.groups, &self.globs];
        lists.iter().any(|list| !list.is_empty()) || self.active.is_some()
    }

    /// The selection as shown in messages.
    pub fn words(&self) -> String {
        let filter = |option: &str, values: &[String]| {
            values.iter().map(|value| format!("--{option} {}", quoted(value))).collect::<Vec<_>>()
        };
        let mut parts: Vec<String> = self.named.iter().map(|name| format!("`{name}`")).collect();
        parts.extend(filter("tag", &self.tags));
        parts.extend(filter("type", &self.kinds));
        parts.extend(filter("not-type", &self.not_kinds));
        parts.extend(filter("group", &self.groups));
        parts.extend(filter("name", &self.globs));
        parts.extend(self.active.map(|yes| if yes { "--active" } else { "--paused" }.to_owned()));
        parts.join(" ")
    }

    /// Ids of the selected monitors, in ascending order.
    ///
    /// # Errors
    /// Every name that means no monitor or several; [`InputError::NoMonitor`] when the filters let none pass.
    pub fn ids(&self, state: &MonitorConfig) -> Result<Vec<i64>> {
        let mut problems = Vec::new();
        let mut named = Vec::new();
        for name in &self.named {
            match find_monitor(state, name) {
                Ok(monitor) => named.push(monitor.id),
                Err(problem) => problems.push(problem),
            }
        }
        let mut below = Vec::new();
        for group in &self.groups {
            match find_group(state, group) {
                Ok(id) => below.extend(state.family(id).into_iter().skip(1)),
                Err(problem) => {
                    problems.push(Problem::new("--group", problem.message).command("kumadb monitor list --type group"));
                }
            }
        }
        for (option, kinds) in [("--type", &self.kinds), ("--not-type", &self.not_kinds)] {
            problems.extend(kinds.iter().filter_map(|name| check_kind(state, option, name)));
        }
        let mut globs = Vec::new();
        for glob in &self.globs {
            match Glob::new(glob) {
                Ok(made) => globs.push((glob.contains('/'), made.compile_matcher())),
                Err(error) => {
                    problems.push(Problem::new("--name", format!("`{glob}` is not a valid pattern: {}", error.kind())))
                }
            }
        }
        if !problems.is_empty() {
            let unknown = problems.iter().all(|problem| problem.message.starts_with("no monitor"));
            return Err(match problems.as_slice() {
                [one] if unknown => {
                    Error::Input(InputError::NoMonitor { what: one.message.replacen("no monitor ", "", 1) })
                }
                _ => Error::Input(InputError::Problems(problems)),
            });
        }
        let found: Vec<i64> = state
            .monitors
            .values()
            .filter(|monitor| self.named.is_empty() || named.contains(&monitor.id))
            .filter(|monitor| self.groups.is_empty() || below.contains(&monitor.id))
            .filter(|monitor| self.lets(state, monitor, &globs))
            .map(|monitor| monitor.id)
            .collect();
        if found.is_empty() && !self.is_empty() {
            Err(Error::Input(InputError::NoMonitor { what: self.words() }))
        } else {
            Ok(found)
        }
    }

    fn lets(&self, state: &MonitorConfig, monitor: &Monitor, globs: &[(bool, GlobMatcher)]) -> bool {
        let tagged = |desired: &String| {
            let (name, value) = match desired.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (desired.as_str(), None),
            };
            monitor.tags.iter().any(|link| {
                let called =
                    state.tags.iter().any(|row| row.int("id") == Some(link.tag) && row.text("name") == Some(name));
                called && value.is_none_or(|value| value == link.value)
            })
        };
        self.tags.iter().all(tagged)
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == monitor.kind()))
            && !self.not_kinds.iter().any(|kind| kind == monitor.kind())
            && (globs.is_empty()
                || globs.iter().any(|(path, glob)| {
                    if *path { glob.is_match(state.path(monitor.id)) } else { glob.is_match(monitor.name()) }
                }))
            && self.active.is_none_or(|active| active == monitor.active())
    }
}

/// The problem of selecting or excluding the type `name`, where there is none of that name.
fn check_kind(state: &MonitorConfig, option: &str, name: &str) -> Option<Problem> {
    let is_known = kind(name).is_some() || state.monitors.values().any(|monitor| monitor.kind() == name);
    (!is_known).then(|| {
        let near = nearest_kind(name, state.database.release.release);
        let problem = Problem::new(option, format!("unknown type `{name}`{}", near.map_or_else(String::new, meant)));
        match near {
            Some(near) => problem.command(format!("{option} {near}")),
            None => problem.command("kumadb monitor add --help"),
        }
    })
}
