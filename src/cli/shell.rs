//! `kumadb completions` and `kumadb man`

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use serde_json::json;

use super::{Context, completion, help};
use crate::error::{Error, Exit, InputError, Result};
use crate::files;
use crate::text::counted;

/// Everybody may read a manual page.
const MODE: u32 = 0o644;

#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// Set the shell
    shell: Shell,
}

#[derive(Args, Debug)]
pub struct ManArgs {
    /// Print the manual page of this command, such as `backup create` [default: kumadb itself]
    #[arg(value_name = "COMMAND", conflicts_with = "output")]
    verb: Vec<String>,
    /// Write the manual pages of all commands to this folder
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub fn completions(args: &CompletionsArgs, context: &mut Context<'_>) -> Result<Exit> {
    let text = completion::script(args.shell);
    context.ui.raw_result(&json!({"text": text}), || text.clone())?;
    Ok(Exit::Done)
}

pub fn man(args: &ManArgs, context: &mut Context<'_>) -> Result<Exit> {
    let mut command = shown(&help::command()).disable_help_subcommand(true);
    command.build();
    if let Some(folder) = &args.output {
        files::make_folder(folder)?;
        let mut written = Vec::new();
        write_pages(&command, folder, &mut written)?;
        let document = json!({"written": written});
        let text = || format!("wrote {} to `{}`", counted(written.len(), "manual page"), folder.display());
        context.ui.result(&document, text)?;
        return Ok(Exit::Done);
    }
    let mut found = &command;
    for name in &args.verb {
        found = found.find_subcommand(name).ok_or_else(|| {
            let known = found.get_subcommands().map(|one| one.get_name().to_owned()).collect();
            Error::Input(InputError::Unknown { kind: "command", name: name.clone(), known })
        })?;
    }
    let (_, page) = page(found)?;
    context.ui.raw_result(&json!({"text": page}), || page.clone())?;
    Ok(Exit::Done)
}

/// Writes the pages of `command` and of all below it.
fn write_pages(command: &Command, folder: &Path, written: &mut Vec<PathBuf>) -> Result<()> {
    let (name, text) = page(command)?;
    let path = folder.join(name);
    files::replace(&path, MODE, |file| file.write_all(text.as_bytes()))?;
    written.push(path);
    command.get_subcommands().try_for_each(|one| write_pages(one, folder, written))
}

/// The name of the page of `command`, and the page.
fn page(command: &Command) -> Result<(String, String)> {
    let man = Man::new(command.clone()).manual("kumadb manual");
    let mut page = Vec::new();
    man.render(&mut page).map_err(Error::file("write", "/dev/stdout"))?;
    Ok((man.get_filename(), String::from_utf8_lossy(&page).into_owned()))
}

/// `command` without what is hidden.
pub fn shown(command: &Command) -> Command {
    let visible = command.get_subcommands().filter(|one| !one.is_hide_set()).cloned();
    let mut shown = Command::new("kumadb")
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .subcommand_required(true)
        .args(command.get_arguments().filter(|one| !one.is_hide_set()).cloned())
        .subcommands(visible);
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    if let Some(more) = command.get_after_long_help() {
        shown = shown.after_long_help(more.clone());
    }
    shown
}
