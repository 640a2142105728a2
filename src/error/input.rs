//! What is wrong with what a person typed or wrote.

use std::path::PathBuf;

use super::{ErrorReport, Exit, Hint, Problem};
use crate::text::{counted, did_you_mean};

/// How many problems are shown.
const SHOWN: usize = 20;

/// The command line, a fixture, the config file or an environment variable is wrong.
#[derive(Debug)]
#[allow(missing_docs, reason = "the report of each variant is its documentation")]
#[non_exhaustive]
pub enum InputError {
    /// All problems of fixtures, fields and options, collected.
    Problems(Vec<Problem>),
    /// An option has a value that it cannot have.
    Option {
        option: String,
        why: String,
        hint: Option<Hint>,
    },
    /// Two options that exclude each other.
    Conflict {
        option: String,
        other: String,
    },
    /// An option that does not apply to what the command works on.
    NotFor {
        option: String,
        subject: String,
        why: String,
    },
    /// An option that needs another one.
    Requires {
        option: String,
        needs: String,
    },
    /// Something that must be given and was not.
    Missing {
        what: String,
        hint: Hint,
    },
    /// A name that is none of those that exist.
    Unknown {
        kind: &'static str,
        name: String,
        known: Vec<String>,
    },
    /// The beginning of several ids.
    Ambiguous {
        kind: &'static str,
        prefix: String,
        count: usize,
    },
    /// A name that is taken.
    Exists {
        kind: &'static str,
        name: String,
    },
    /// The value of an environment variable.
    Variable {
        name: String,
        why: String,
    },
    /// An environment variable that must be set.
    VariableMissing {
        name: String,
        because: String,
    },
    /// A point in time.
    Time {
        why: String,
    },
    /// A URL, an address of a store or of a database. A password in it is not shown.
    Address {
        kind: &'static str,
        shown: String,
        why: String,
    },
    /// The address of a database names none.
    NoDatabaseName,
    /// A file that the command line names.
    FileNotFound {
        path: PathBuf,
    },
    /// A file whose first line must be a value.
    EmptyFirstLine {
        path: PathBuf,
    },
    /// A file that cannot be what it must be.
    FileContent {
        path: PathBuf,
        why: String,
    },
    /// No container has a label that begins with this prefix.
    NoLabels {
        prefix: String,
        engine: String,
    },
    /// A file of another kind than a fixture, the command that makes it readable, and what to do then.
    NotFixture {
        path: PathBuf,
        what: String,
        command: String,
        then: &'static str,
    },
    /// A line of a file.
    Line {
        path: PathBuf,
        line: usize,
        why: String,
    },
    /// PEM with the certificates of authorities.
    Authorities {
        why: String,
    },
    /// No config file, or it cannot be read.
    NoConfig {
        looked: Vec<String>,
    },
    /// A file that would be overwritten.
    FileExists {
        path: PathBuf,
    },
    /// The config file has no section of a kind.
    NoSection {
        section: &'static str,
    },
    NotUtf8 {
        what: String,
    },
    PasswordsDiffer,
    /// Several runs at once cannot ask for a secret.
    CannotPrompt {
        secret: String,
    },
    /// A fixture that a format cannot express.
    Render {
        why: String,
    },
    /// The type of a monitor that takes no heartbeats from outside.
    NotAPushMonitor {
        monitor: String,
        kind: String,
    },
    /// Filters or a name that select no monitor.
    NoMonitor {
        what: String,
    },
    /// An instance or instance group that the config file does not have.
    NotConfigured {
        kind: &'static str,
        name: String,
        known: Vec<String>,
    },
    SeveralMonitors {
        what: String,
        count: usize,
    },
    /// Resources that were skipped as invalid, and would be deleted because they are not in the fixtures.
    PruneSkipped {
        count: usize,
        first: String,
    },
    /// A new monitor with the name of another one in its group, without a terminal to ask.
    SamePath {
        id: i64,
        path: String,
    },
    ConfirmationRequired,
    Cancelled,
}

impl InputError {
    /// Message, exit code and hints.
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub fn report(&self) -> ErrorReport {
        let usage = |message: String| ErrorReport::new(Exit::Usage, message);
        match self {
            Self::Problems(problems) => {
                let mut lines = listed(problems).into_iter();
                let exit = if problems.iter().all(|problem| problem.not_found) { Exit::NotFound } else { Exit::Usage };
                ErrorReport::new(exit, lines.next().unwrap_or_default()).lines(lines).with(hints(problems))
            }
            Self::Option { option, why, hint } => usage(format!("invalid {option}: {why}")).with(hint.clone()),
            Self::Conflict { option, other } => {
                usage(format!("cannot combine {option} with {other}")).hint("leave out one of them")
            }
            Self::NotFor { option, subject, why } => {
                usage(format!("cannot use {option} with {subject}: {why}")).hint(format!("leave out {option}"))
            }
            Self::Requires { option, needs } => {
                usage(format!("{option} requires {needs}")).hint(format!("add {needs}, or leave out {option}"))
            }
            Self::Missing { what, hint } => usage(format!("no {what} given")).with([hint.clone()]),
            Self::Unknown { kind, name, known } => {
                usage(format!("unknown {kind} `{name}`{}", did_you_mean(name, known)))
                    .with((!known.is_empty()).then(|| Hint::advice(format!("use one of {}", known.join(", ")))))
            }
            Self::Ambiguous { kind, prefix, count } => {
                ErrorReport::new(Exit::NotFound, format!("`{prefix}` matches {}", counted(*count, kind)))
                    .hint("type more characters of the id")
            }
            Self::Exists { kind, name } => {
                usage(format!("cannot create {kind} `{name}`: it already exists")).hint("choose another name")
            }
            Self::Variable { name, why } => {
                usage(format!("invalid value of `{name}`: {why}")).hint(format!("set `{name}` to a valid value"))
            }
            Self::VariableMissing { name, because } => {
                usage(format!("`{name}` is not set: {because}")).hint(format!("set `{name}`"))
            }
            Self::Time { why } => usage(why.clone()),
            Self::Address { kind, shown, why } => usage(if shown.is_empty() {
                format!("invalid {kind}: {why}")
            } else {
                format!("invalid {kind} `{shown}`: {why}")
            }),
            Self::NoDatabaseName => usage("invalid database URL: the database name is missing".into())
                .hint("write it as mysql://user@host/database"),
            Self::FileNotFound { path } => {
                usage(format!("cannot read `{}`: no such file or directory", path.display())).hint("check the path")
            }
            Self::EmptyFirstLine { path } => usage(format!("the first line of `{}` is empty", path.display()))
                .hint("put the value on the first line"),
            Self::FileContent { path, why } => usage(format!("cannot use `{}`: {why}", path.display())),
            Self::NoLabels { prefix, engine } => usage(format!(
                "no container on `{engine}` has a label that begins with `{prefix}.`"
            ))
            .hint("set `--label-prefix` as AUTOKUMA__DOCKER__LABEL_PREFIX is set, and `--host` to another engine"),
            Self::NotFixture { path, what, command, then } => {
                usage(format!("`{}` is not a fixture but {what}", path.display())).command(command.clone()).hint(*then)
            }
            Self::Line { path, line, why } => usage(format!("`{}`, line {line}: {why}", path.display())),
            Self::Authorities { why } => usage(format!("cannot read the CA certificates: {why}"))
                .hint("use a PEM file with at least one CERTIFICATE block"),
            Self::NoConfig { looked } => usage(format!("no config file found: looked for {}", looked.join(", ")))
                .command("kumadb config init")
                .hint("or specify one with `--config`"),
            Self::FileExists { path } => usage(format!("`{}` already exists, and is not overwritten", path.display()))
                .hint("move it away, or write another file with `--config FILE`"),
            Self::NoSection { section } => {
                usage(format!("the config file has no `{section}` section")).hint(format!("add a `{section}` section"))
            }
            Self::NotUtf8 { what } => usage(format!("{what} is not valid UTF-8")).hint("set it to valid UTF-8"),
            Self::PasswordsDiffer => usage("the passwords do not match".into()).hint("run the command again"),
            Self::CannotPrompt { secret } => {
                usage(format!("cannot ask for the {secret}: several instances are processed in parallel"))
                    .hint("run the command for this instance alone, with `-t`")
            }
            Self::Render { why } => usage(format!("cannot write this format: {why}")).hint("choose another `--format`"),
            Self::NotAPushMonitor { monitor, kind } => {
                usage(format!("cannot push a heartbeat to `{monitor}`: it is a {kind} monitor, not a push monitor"))
                    .command("kumadb monitor list --type push")
            }
            Self::NoMonitor { what } => {
                ErrorReport::new(Exit::NotFound, format!("no monitor matches {what}")).command("kumadb monitor list")
            }
            Self::NotConfigured { kind, name, known } => {
                let report = ErrorReport::new(
                    Exit::NotFound,
                    format!("no {kind} `{name}` in the config file{}", did_you_mean(name, known)),
                );
                if known.is_empty() {
                    report.hint("add one to the config file")
                } else {
                    report.hint(format!("use one of {}", known.join(", ")))
                }
            }
            Self::SeveralMonitors { what, count } => ErrorReport::new(
                Exit::NotFound,
                format!("{count} monitors match {what}; this command requires exactly one"),
            )
            .hint("specify its id or path; to list both: kumadb monitor list"),
            Self::PruneSkipped { count, first } => ErrorReport::new(
                Exit::Refused,
                format!(
                    "`--skip-invalid` skipped {}, so `--prune` would delete what is only invalid; the first: {first}",
                    counted(*count, "resource")
                ),
            )
            .hint("correct the fixtures, or leave out `--prune`"),
            Self::SamePath { id, path } => {
                ErrorReport::new(Exit::Refused, format!("monitor {id} has the same path `{path}`; nothing was changed"))
                    .hint("choose another name, or add `--allow-duplicate`")
            }
            Self::ConfirmationRequired => ErrorReport::new(
                Exit::Refused,
                "confirmation required, but this is not a terminal; nothing was changed",
            )
            .hint("add `--yes` to confirm, or `--dry-run` to preview"),
            Self::Cancelled => ErrorReport::new(Exit::Failed, "cancelled; nothing was changed"),
        }
    }
}

fn listed(all: &[Problem]) -> Vec<String> {
    let mut text: Vec<String> =
        all.iter().take(SHOWN).map(|problem| format!("{}: {}", problem.subject, problem.message)).collect();
    if all.len() > SHOWN {
        text.push(format!("… and {} more", all.len() - SHOWN));
    }
    text
}

/// What to do about the problems that are shown, each hint once.
fn hints(all: &[Problem]) -> Vec<Hint> {
    let mut hints: Vec<Hint> = Vec::new();
    for hint in all.iter().take(SHOWN).filter_map(|problem| problem.hint.clone()) {
        if !hints.contains(&hint) {
            hints.push(hint);
        }
    }
    hints
}
