//! `kumadb completions` and `kumadb man`

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use serde_json::json;

use super::{Cli, Context};
use crate::error::{Error, Exit, Result};

#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

#[derive(Args, Debug)]
pub struct ManArgs {}

pub fn completions(args: &CompletionsArgs, context: &mut Context<'_>) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kumadb", &mut script);
    print(script, context)
}

pub fn man(_args: &ManArgs, context: &mut Context<'_>) -> Result<Exit> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(Error::file("write", "/dev/stdout"))?;
    print(page, context)
}

fn print(text: Vec<u8>, context: &mut Context<'_>) -> Result<Exit> {
    let text = String::from_utf8_lossy(&text).into_owned();
    context.ui.result(&json!({"text": text}), || text.clone())?;
    Ok(Exit::Done)
}
