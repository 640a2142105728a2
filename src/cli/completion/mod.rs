//! Completion in the shell: for each TAB, the script of the shell runs kumadb, which answers with the words that can follow.
//!
//! Names of monitors, snapshots and so on are read like those of any verb, read-only. No error is shown, and a completion never
//! waits for a network: the user waits for it in the middle of a word.

mod line;
mod values;

use std::ffi::OsString;
use std::sync::mpsc;
use std::time::Duration;

use clap::Command;
use clap_complete::Shell;
use clap_complete::engine::{CompletionCandidate, complete};
use clap_complete::env::Shells;

use super::ui;
use line::{CommandLine, unquoted};

/// The variable with the name of the shell that asks.
const SHELL: &str = "KUMADB_COMPLETE";

/// The line up to the cursor, for bash.
const LINE: &str = "KUMADB_COMPLETE_LINE";

/// The characters that end a word for bash, `COMP_WORDBREAKS`.
const BREAKS: &str = "KUMADB_COMPLETE_BREAKS";

/// What takes longer than this is given up: a network file system, a database under a long lock.
const PATIENCE: Duration = Duration::from_secs(2);

/// Answers a shell that completes a command line; `false` where this process is run for anything else.
pub fn answer() -> bool {
    let Some(shell) = std::env::var(SHELL).ok().filter(|shell| !shell.is_empty()) else { return false };
    let (done, answer) = mpsc::channel();
    std::thread::spawn(move || done.send(answer_of(&shell).unwrap_or_default()));
    ui::put_answer(&answer.recv_timeout(PATIENCE).unwrap_or_default());
    true
}

/// The script that makes `shell` ask.
pub fn script(shell: Shell) -> String {
    let name = match shell {
        Shell::Bash => return include_str!("kumadb.bash").into(),
        Shell::Zsh => return include_str!("kumadb.zsh").into(),
        Shell::Fish => return include_str!("kumadb.fish").into(),
        other => other.to_string(),
    };
    let mut script = Vec::new();
    let known = Shells::builtins();
    // Writing to memory does not fail.
    let _ =
        known.completer(&name).map(|shell| shell.write_registration(SHELL, "kumadb", "kumadb", "kumadb", &mut script));
    String::from_utf8_lossy(&script).into_owned()
}

fn answer_of(shell: &str) -> Option<String> {
    match shell {
        "bash" => {
            let text = std::env::var(LINE).ok()?;
            let breaks = std::env::var(BREAKS).unwrap_or_default();
            let line = CommandLine::read(&text, &breaks);
            let found = candidates(line.words())?;
            let replies = found.iter().filter_map(|one| line.reply(one.get_value().to_str()?));
            Some(replies.map(|reply| reply + "\n").collect())
        }
        "zsh" | "fish" => {
            let mut words: Vec<String> = typed().into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
            // The shells remove the quotes of the other words.
            if let Some(last) = words.last_mut() {
                *last = unquoted(last);
            }
            Some(candidates(words)?.iter().filter_map(described).collect())
        }
        other => {
            let (words, mut text) = (typed(), Vec::new());
            let lossy = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
            let shells = Shells::builtins();
            shells.completer(other)?.write_complete(&mut command(lossy), words, None, &mut text).ok()?;
            Some(String::from_utf8_lossy(&text).into_owned())
        }
    }
}

/// The words of the line, the name of the program first and the word at the cursor last.
fn typed() -> Vec<OsString> {
    std::env::args_os().skip_while(|word| word != "--").skip(1).collect()
}

/// What can stand for the last of `words`.
fn candidates(words: Vec<String>) -> Option<Vec<CompletionCandidate>> {
    let is_empty = words.last()?.is_empty();
    let typed: Vec<OsString> = words.iter().map(OsString::from).collect();
    let (at, here) = (typed.len() - 1, std::env::current_dir().ok());
    let mut found = complete(&mut command(words), typed, at, here.as_deref()).ok()?;
    // A file can have any name.
    found.retain(|one| !one.get_value().to_string_lossy().contains(char::is_control));
    // All options after all monitors would hide these.
    let is_option = |one: &CompletionCandidate| one.get_value().to_string_lossy().starts_with('-');
    if is_empty && !found.iter().all(is_option) {
        found.retain(|one| !is_option(one));
    }
    Some(found)
}

/// A candidate with its description, as a line.
fn described(candidate: &CompletionCandidate) -> Option<String> {
    let value = candidate.get_value().to_str()?;
    let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
    let first = help.lines().next().unwrap_or_default();
    Some(if first.is_empty() { format!("{value}\n") } else { format!("{value}\t{first}\n") })
}

/// The command line, with the values that are read.
fn command(words: Vec<String>) -> Command {
    values::attach(super::shell::shown(&super::help::command()), &words.into())
}
