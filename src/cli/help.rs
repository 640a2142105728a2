//! The command line as a whole: what its help pages show, and how wide.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{ArgMatches, Command, CommandFactory as _, FromArgMatches as _};

use super::examples::{EXAMPLES, NOTES, TOOLS};
use super::format::OutputFormat;
use super::lazy::{Lazily, lazily};
use super::{Cli, monitor, ui};

/// Lines are no longer than this, however wide the terminal is.
const WIDEST: usize = 120;

/// The verbs by topic, as `kumadb --help` lists them.
const TOPICS: [(&str, &[&str]); 4] = [
    ("Inspect", &["find", "status", "report", "doctor", "probe", "logs"]),
    ("Configure", &["monitor", "maintenance", "plan", "drift", "apply", "export", "user", "api-key", "push"]),
    ("Back up and restore", &["backup", "restore", "undo", "recover", "salvage"]),
    (
        "Maintain",
        &[
            "init",
            "upgrade",
            "convert",
            "history",
            "vacuum",
            "sql",
            "restart",
            "config",
            "formats",
            "schema",
            "completions",
            "man",
        ],
    ),
];

impl Cli {
    /// Reads the command line of this process. Where that asks for help or for what does not exist, shows it, and ends the
    /// process.
    pub fn read() -> Cli {
        Cli::try_read(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    /// Reads `typed`, the name of the program first.
    ///
    /// # Errors
    /// What is wrong with it; help or version, where that is what is asked for.
    pub fn try_read(typed: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        let typed: Vec<OsString> = typed.into_iter().collect();
        let is_typed = |name: &str| typed.iter().any(|word| word == name);
        // Most command lines need none of the help pages.
        let shows = ["--help", "-h", "help", "--version", "-V"].into_iter().any(is_typed);
        if !shows && let Ok(cli) = lazily(Lazily::Verbs, || Cli::matched(&mut Cli::command(), &typed)) {
            return Ok(cli);
        }
        let is_long = is_typed("--help") || typed.get(1).is_some_and(|word| word == "help");
        let whose = if is_typed("add") { Lazily::Nothing } else { Lazily::Types };
        let mut command = finished(lazily(whose, Cli::command), is_long);
        if is_typed("-v") || is_typed("--verbose") {
            command = command.version(build());
        }
        Cli::matched(&mut command, &typed).map_err(|error| without_verb(error, &typed, &mut command))
    }

    fn matched(command: &mut Command, typed: &[OsString]) -> Result<Cli, clap::Error> {
        let matches = command.try_get_matches_from_mut(typed)?;
        let mut cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(command))?;
        cli.global.json |= is_json(&matches);
        Ok(cli)
    }
}

/// The version, and which build it is. `packaging/release` sets the variables; other builds do not know their commit.
fn build() -> String {
    let commit = option_env!("KUMADB_BUILD_COMMIT").unwrap_or("unknown");
    let date = option_env!("KUMADB_BUILD_DATE").unwrap_or("unknown");
    let libc = if cfg!(target_env = "musl") { " (musl)" } else { "" };
    let (system, machine) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("{}\ncommit: {commit} ({date})\ntarget: {system} {machine}{libc}", env!("CARGO_PKG_VERSION"))
}

/// `error`, or the help of a command that is typed without the one below it that is required.
fn without_verb(error: clap::Error, typed: &[OsString], command: &mut Command) -> clap::Error {
    if !matches!(error.kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand) {
        return error;
    }
    let mut found = command;
    for word in typed.iter().skip(1) {
        match word.to_str() {
            Some(name) if found.find_subcommand(name).is_some() => {
                let inner = found.find_subcommand_mut(name);
                // It was there a line before.
                let Some(inner) = inner else { return error };
                found = inner;
            }
            _ => return found.error(ErrorKind::MissingSubcommand, "a command is required; see --help"),
        }
    }
    let name = found.get_bin_name().unwrap_or("kumadb").to_owned();
    // Its help, as `-h` prints it.
    found.clone().try_get_matches_from([name.as_str(), "-h"]).err().unwrap_or(error)
}

/// Whether the verb has a `--format`, and it is `json`.
fn is_json(matches: &ArgMatches) -> bool {
    match matches.subcommand() {
        Some((_, inner)) => is_json(inner),
        None => matches!(matches.try_get_one::<OutputFormat>("format"), Ok(Some(OutputFormat::Json))),
    }
}

/// The whole command line, with every help page.
pub fn command() -> Command {
    finished(Cli::command(), true)
}

/// `command` with its help pages; the list of verbs is followed by the global options when the help is a long one.
fn finished(command: Command, is_long: bool) -> Command {
    let command = finish(command, "kumadb").term_width(ui::terminal_width().min(WIDEST));
    let topics = topics(&command, is_long);
    command.help_template(topics)
}

/// Gives `command`, which is typed as `path`, what its help ends with.
fn finish(command: Command, path: &str) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|one| one.get_name().to_owned()).collect();
    let short = if names.is_empty() {
        format!("All options and examples: {path} --help\nGlobal options: kumadb --help")
    } else {
        format!("Help for a command: {path} COMMAND --help\nGlobal options: kumadb --help")
    };
    let mut long: Vec<String> =
        NOTES.iter().filter(|(of, _)| *of == path).map(|(_, note)| (*note).to_owned()).collect();
    long.extend(examples(path, &command));
    let command = names
        .iter()
        .fold(command, |command, name| command.mut_subcommand(name, |one| finish(one, &format!("{path} {name}"))));
    let command = command.after_help(short);
    if long.is_empty() { command.after_long_help("") } else { command.after_long_help(long.join("\n\n")) }
}

/// The examples of `command`, which is typed as `path`.
fn examples(path: &str, command: &Command) -> Option<String> {
    let known = EXAMPLES.iter().chain(&TOOLS).find(|(of, _)| *of == path);
    let all: Vec<(String, String)> = match (known, path.strip_prefix("kumadb monitor add ")) {
        (Some((_, examples)), _) => examples.iter().map(|(what, line)| ((*what).into(), (*line).into())).collect(),
        (None, Some(kind)) if command.get_arguments().next().is_some() => monitor::add::examples(kind),
        (None, _) => return None,
    };
    let blocks: Vec<String> = all.into_iter().map(|(what, line)| format!("  # {what}\n  {}", broken(&line))).collect();
    Some(format!("Examples:\n{}", blocks.join("\n\n")))
}

/// `line`, broken as for a shell before an option where it is too long for 80 columns.
fn broken(line: &str) -> String {
    let mut parts = line.split(" --");
    let mut text = parts.next().unwrap_or_default().to_owned();
    let mut width = text.len();
    for part in parts {
        let length = part.len() + 3;
        if width + length > 74 {
            text.push_str(" \\\n     ");
            width = 5;
        }
        text.push_str(&format!(" --{part}"));
        width += length;
    }
    text
}

/// The help of `kumadb` itself: its verbs by topic.
fn topics(command: &Command, is_long: bool) -> String {
    let header = command.get_styles().get_header();
    let literal = command.get_styles().get_literal();
    let about = |name: &str| command.find_subcommand(name).and_then(Command::get_about).map(ToString::to_string);
    let mut text = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    for (topic, names) in TOPICS {
        text.push_str(&format!("\n{header}{topic}:{header:#}\n"));
        // Packages install the manual pages, and the short help fits a screen.
        for name in names.iter().filter(|name| is_long || **name != "man") {
            text.push_str(&format!("  {literal}{name:<13}{literal:#}{}\n", about(name).unwrap_or_default()));
        }
    }
    if is_long {
        text.push_str(&format!("\n{header}Global options:{header:#}\n{{options}}"));
    }
    // What comes next begins with an empty line.
    text.trim_end().to_owned() + "{after-help}"
}
