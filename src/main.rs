//! The command line: parse, run, print the error once, exit.

use std::process::ExitCode;

use clap::Parser as _;
use kumadb::cli::{Cli, Ui};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut ui = Ui::new(&cli);
    let exit = cli.run(&mut ui).unwrap_or_else(|error| ui.fail(&error));
    ExitCode::from(exit as u8)
}
