//! The values that are read: names in the database, in the config file and in the stores.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::Arc;

use clap::{Arg, Args as _, Command, FromArgMatches as _};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter};

use crate::backup::Store;
use crate::cli::environment::default_store;
use crate::cli::list_map::all_formats;
use crate::cli::monitor::fields;
use crate::cli::{Context, Global, Ui, config, engine};
use crate::docker::is_loopback;
use crate::engine::Reader;
use crate::engine::mariadb::Address;
use crate::kuma::read::{read_shown_state, read_texts};
use crate::model::fields::ValueShape;
use crate::model::state::MonitorConfig;
use crate::model::{field, kinds};
use crate::schema;
use crate::text::for_terminal;
use crate::value::{Row, local_time};

/// Options that select what is read, with a value each.
const SELECTORS: [(&str, Option<char>); 5] =
    [("target", Some('t')), ("host", Some('H')), ("context", None), ("store", None), ("config", None)];

/// A value, and its description.
type Named = (String, String);

/// What stands for the value of an argument.
#[derive(Clone, Copy, Debug)]
enum Values {
    Monitors,
    Groups,
    /// `NAME` and `NAME=VALUE`.
    Tags,
    TagNames,
    Notifications,
    DockerHosts,
    Proxies,
    RemoteBrowsers,
    /// Texts in the column of this table.
    Rows(&'static str, &'static str),
    Snapshots {
        undo: bool,
    },
    Targets,
    Instances,
    InstanceGroups,
    Jobs,
    /// Types of monitors.
    Types,
    /// Formats of files to plan.
    Formats,
    /// Fields with a `=`.
    Fields,
    /// The values of a field with a fixed list of them.
    Choices(&'static [crate::model::fields::ChoiceValue]),
    Flag,
}

/// `command` with the values of its arguments; `words` is the line up to the cursor.
pub fn attach(command: Command, words: &Arc<[String]>) -> Command {
    attach_below(command, "", words)
}

fn attach_below(command: Command, path: &str, words: &Arc<[String]>) -> Command {
    let command = command.mut_args(|arg| match values_of(&arg, path) {
        Some(values) => {
            let words = words.clone();
            arg.add(ArgValueCompleter::new(move |current: &OsStr| values.matching(&words, current)))
        }
        None => arg,
    });
    command.mut_subcommands(|one| {
        let path = format!("{path} {}", one.get_name());
        attach_below(one, path.trim_start(), words)
    })
}

/// The values of `arg` of the verb `path`.
fn values_of(arg: &Arg, path: &str) -> Option<Values> {
    if let Some(column) = arg.get_id().as_str().strip_prefix(fields::PREFIX) {
        return match (column, field(column)?.shape) {
            ("parent", _) => Some(Values::Groups),
            ("docker_host", _) => Some(Values::DockerHosts),
            ("proxy_id", _) => Some(Values::Proxies),
            ("remote_browser", _) => Some(Values::RemoteBrowsers),
            (_, ValueShape::Choice(picks)) => Some(Values::Choices(picks)),
            (_, ValueShape::Flag) => Some(Values::Flag),
            _ => None,
        };
    }
    let name = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    match (arg.get_long().unwrap_or_default(), name) {
        (_, "MONITOR") => Some(Values::Monitors),
        ("remove-tag", _) => Some(Values::TagNames),
        (_, "TAG") => Some(Values::Tags),
        (_, "GROUP") => Some(Values::Groups),
        ("notification" | "add-notification" | "remove-notification", _) => Some(Values::Notifications),
        (_, "SLUG") => Some(Values::Rows("status_page", "slug")),
        ("", "WINDOW") => Some(Values::Rows("maintenance", "title")),
        ("", "KEY") => Some(Values::Rows("api_key", "name")),
        ("", "NAME") if path.starts_with("user ") && path != "user add" => Some(Values::Rows("user", "username")),
        (_, "SNAPSHOT" | "SNAPSHOTS") => Some(Values::Snapshots { undo: false }),
        ("", "ID") if path == "undo" => Some(Values::Snapshots { undo: true }),
        ("target", _) => Some(Values::Targets),
        ("instance" | "of", _) => Some(Values::Instances),
        ("instance-group", _) => Some(Values::InstanceGroups),
        (_, "JOB") => Some(Values::Jobs),
        (_, "TYPE") => Some(Values::Types),
        ("set", "FIELD=VALUE") => Some(Values::Fields),
        ("from", "FORMAT") => Some(Values::Formats),
        _ => None,
    }
}

impl Values {
    /// Those that begin with `current`, where they can be read at once.
    fn matching(self, words: &[String], current: &OsStr) -> Vec<CompletionCandidate> {
        let Some(text) = current.to_str() else { return Vec::new() };
        if matches!(self, Values::Targets) && text.starts_with(['/', '.']) {
            return clap_complete::engine::ValueCompleter::complete(&PathCompleter::any(), current);
        }
        let found = self.read(words, text).unwrap_or_default().into_iter();
        // A name with a line break or a control character could be anything in a shell.
        let is_plain = |text: &str| {
            !(text.is_empty() || text.starts_with('-') || text.contains(char::is_control)) && for_terminal(text) == text
        };
        let matching = found.filter(|(value, _)| value.starts_with(text) && is_plain(value));
        matching
            .map(|(value, about)| {
                let about = Some(about).filter(|about| is_plain(about)).map(Into::into);
                CompletionCandidate::new(value).help(about)
            })
            .collect()
    }

    fn read(self, words: &[String], current: &str) -> Option<Vec<Named>> {
        let plain = |values: Vec<String>| values.into_iter().map(|value| (value, String::new())).collect();
        match self {
            Values::Types => Some(kinds(schema::newest()).map(|kind| (kind.name.into(), kind.title.into())).collect()),
            Values::Formats => {
                Some(all_formats().into_iter().map(|(name, about)| (name.into(), about.into())).collect())
            }
            Values::Fields => Some(plain(fields::all().iter().map(|field| format!("{}=", field.column)).collect())),
            Values::Choices(picks) => Some(plain(picks.iter().map(|pick| pick.value.to_owned()).collect())),
            Values::Flag => Some(plain(vec!["true".into(), "false".into()])),
            Values::Rows(table, column) => read(words, |reader| Some(plain(read_texts(reader, table, column).ok()?))),
            Values::Snapshots { undo } => with_context(words, |context| Some(snapshots(context, undo))),
            Values::Targets | Values::Instances | Values::InstanceGroups | Values::Jobs => {
                with_context(words, |context| self.configured(context))
            }
            _ => read(words, |reader| Some(self.of_state(&read_shown_state(reader, "").ok()?, current))),
        }
    }

    fn of_state(self, state: &MonitorConfig, current: &str) -> Vec<Named> {
        let names = |rows: &[Row], about: &str| -> Vec<Named> {
            rows.iter().filter_map(|row| Some((row.text("name")?.to_owned(), about.to_owned()))).collect()
        };
        match self {
            Values::Monitors => monitors(state, current, |_| true),
            Values::Groups => monitors(state, current, |kind| kind == "group"),
            Values::Tags => tags(state),
            Values::TagNames => names(&state.tags, ""),
            Values::Notifications => names(&state.notifications, ""),
            Values::DockerHosts => names(&state.docker_hosts, ""),
            Values::RemoteBrowsers => names(&state.remote_browsers, ""),
            Values::Proxies => {
                let shown = |row: &Row| {
                    let port = row.int("port").map_or(String::new(), |port| format!(":{port}"));
                    Some((row.int("id")?.to_string(), format!("{}{port}", row.text("host")?)))
                };
                state.proxies.iter().filter_map(shown).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Names in the config file; for a target, also of the instances found where it has none.
    fn configured(self, context: &Context<'_>) -> Option<Vec<Named>> {
        let config = config::read(context).ok()?.unwrap_or_default();
        let plain = |names: Vec<String>| names.into_iter().map(|name| (name, String::new())).collect();
        let instances: Vec<String> = config.instances.keys().cloned().collect();
        Some(plain(match self {
            Values::Jobs => config.jobs.into_iter().map(|job| job.name).collect(),
            Values::InstanceGroups => {
                let mut groups: Vec<String> = config.instances.into_values().flat_map(|one| one.groups).collect();
                groups.sort();
                groups.dedup();
                groups
            }
            Values::Targets if instances.is_empty() && is_near(context) => {
                context.locator().ok()?.all().ok()?.into_iter().map(|(name, _)| name).collect()
            }
            _ => instances,
        }))
    }
}

/// Names of monitors of some types, with their types; paths where a name is not unique, or a path is typed.
fn monitors(state: &MonitorConfig, current: &str, is_desired: impl Fn(&str) -> bool) -> Vec<Named> {
    let desired: Vec<_> = state.monitors.values().filter(|monitor| is_desired(monitor.kind())).collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    desired.iter().for_each(|monitor| *counts.entry(monitor.name()).or_default() += 1);
    let mut named: Vec<Named> = desired
        .iter()
        .map(|monitor| {
            let is_path = current.contains('/') || counts.get(monitor.name()) != Some(&1);
            let name = match (is_path, monitor.parent()) {
                (false, _) => monitor.name().to_owned(),
                (true, Some(_)) => state.path(monitor.id),
                (true, None) if current.starts_with('/') || counts.get(monitor.name()) != Some(&1) => {
                    format!("/{}", monitor.name())
                }
                (true, None) => state.path(monitor.id),
            };
            (name, monitor.kind().to_owned())
        })
        .collect();
    named.sort();
    named
}

/// Names of tags, and those with the values that monitors have.
fn tags(state: &MonitorConfig) -> Vec<Named> {
    let mut texts: Vec<String> = Vec::new();
    for tag in &state.tags {
        let (Some(id), Some(name)) = (tag.int("id"), tag.text("name")) else { continue };
        texts.push(name.to_owned());
        let links = state.monitors.values().flat_map(|monitor| &monitor.tags);
        let values = links.filter(|link| link.tag == id && !link.value.is_empty());
        texts.extend(values.map(|link| format!("{name}={}", link.value)));
    }
    texts.sort();
    texts.dedup();
    texts.into_iter().map(|text| (text, String::new())).collect()
}

/// The snapshots in the folders among the stores, the newest first.
fn snapshots(context: &Context<'_>, undo: bool) -> Vec<Named> {
    let mut stores: Vec<Store> = context.local_stores().unwrap_or_default().into_iter().map(Store::new).collect();
    if stores.is_empty() {
        stores.push(default_store());
    }
    let mut found: Vec<_> =
        stores.iter().filter_map(|store| store.list().ok()).flat_map(|list| list.snapshots).collect();
    found.retain(|snapshot| snapshot.manifest.undo == undo);
    found.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.manifest.created));
    let latest = (!undo && !found.is_empty()).then(|| ("latest".to_owned(), String::new()));
    let shown = found.iter().map(|snapshot| {
        let manifest = &snapshot.manifest;
        (manifest.id.clone(), format!("{}, {}", manifest.instance, local_time(manifest.created)))
    });
    let mut named: Vec<Named> = latest.into_iter().chain(shown).collect();
    named.dedup_by(|a, b| a.0 == b.0);
    named
}

/// Reads from the database of the instance that the line selects, if that is on this machine and its database is up.
fn read<T>(words: &[String], read: impl FnOnce(&mut dyn Reader) -> Option<T>) -> Option<T> {
    with_context(words, |context| {
        if !is_near(context) {
            return None;
        }
        let instance = context.find().ok()?;
        if !instance.address().is_none_or(is_here) {
            return None;
        }
        read(&mut *instance.connect().ok()?.reader().ok()?)
    })
}

/// Whether no other machine is asked for the Docker engine of the instance.
fn is_near(context: &Context<'_>) -> bool {
    let around = match context.named().ok().flatten() {
        Some(named) => engine::of(&named.target, &context.global),
        None => engine::surroundings(&context.global),
    };
    around.endpoint().is_ok_and(|endpoint| endpoint.is_local())
}

/// Whether a MariaDB is on this machine.
fn is_here(address: &Address) -> bool {
    address.socket.is_some() || is_loopback(&address.host)
}

/// Calls `read` with what the options of the line select.
fn with_context<T>(words: &[String], read: impl FnOnce(&Context<'_>) -> Option<T>) -> Option<T> {
    let bare = Command::new("kumadb").version("").disable_help_flag(true).disable_version_flag(true);
    let matches = Global::augment_args(bare).try_get_matches_from(selectors(words)).ok()?;
    let global = Global::from_arg_matches(&matches).ok()?;
    let mut ui = Ui::silent();
    let (found, located) = (RefCell::default(), RefCell::default());
    read(&Context { ui: &mut ui, global, config: OnceCell::new(), found, located, recipients: None, bounds: None })
}

/// The options in `words` that select what is read, as a command line of its own; the word at the cursor is not complete.
fn selectors(words: &[String]) -> Vec<String> {
    let mut selected = vec!["kumadb".to_owned()];
    let mut words = words.iter().take(words.len().saturating_sub(1)).skip(1);
    while let Some(word) = words.next() {
        for (long, short) in SELECTORS {
            let short = short.map(|letter| format!("-{letter}"));
            let is_alone = short.as_ref() == Some(word) || word.strip_prefix("--") == Some(long);
            let is_joined = word.strip_prefix("--").is_some_and(|rest| rest.starts_with(&format!("{long}=")))
                || short.as_ref().is_some_and(|short| word.starts_with(short.as_str()) && word != short);
            if is_joined {
                selected.push(word.clone());
            } else if is_alone && let Some(value) = words.next() {
                selected.extend([word.clone(), value.clone()]);
                break;
            }
        }
    }
    selected
}

#[cfg(test)]
mod tests {
    use super::selectors;

    #[test]
    fn options_that_select_an_instance_are_read() {
        let of = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            selectors(&words)[1..].join(" ")
        };
        assert_eq!(of("kumadb -t cellar monitor show R"), "-t cellar");
        assert_eq!(
            of("kumadb monitor list --target=/srv --host unix:///x --tag a -tattic --config f --down x"),
            "--target=/srv --host unix:///x -tattic --config f"
        );
        assert_eq!(of("kumadb monitor list --target"), "");
        assert_eq!(of("kumadb monitor list -t "), "");
    }
}
