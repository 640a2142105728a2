//! The binary: parses the command line, runs it, prints an error once, and exits with its code.

use std::process::ExitCode;

use anyhow::Context as _;
use kumadb::cli::{Cli, Ui};

/// Fixtures, plans and configurations consist of hundreds of thousands of small texts.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) fn main() -> anyhow::Result<ExitCode> {
    if kumadb::cli::complete() {
        return Ok(ExitCode::SUCCESS);
    }
    let cli = Cli::read();
    let mut ui = Ui::new(&cli).context("signals cannot be caught")?;
    let exit = cli.run(&mut ui).unwrap_or_else(|error| ui.fail(&error));
    Ok(ExitCode::from(exit as u8))
}
