//! `kumadb remote-job`: started by a kumadb on another machine. Users never type it.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use clap::Args;

use crate::error::{Error, Exit, RemoteError, Result};
use crate::remote::{Overrides, RemoteJob};

#[derive(Args, Debug)]
pub struct RemoteJobArgs {
    /// Read the job from this folder
    folder: PathBuf,
}

/// Becomes the verb of the job.
pub fn run(args: &RemoteJobArgs) -> Result<Exit> {
    let mut command = RemoteJob::take(&args.folder)?;
    let failed = command.exec();
    Err(Error::file("run", command.get_program())(failed))
}

/// The error otherwise, where this is such a verb.
pub fn overrides() -> Result<Option<Overrides>> {
    let Ok(text) = std::env::var(Overrides::VARIABLE) else { return Ok(None) };
    let wrong = |error| {
        Error::Remote(RemoteError::Overrides { name: Overrides::VARIABLE, why: serde_json::Error::to_string(&error) })
    };
    serde_json::from_str(&text).map(Some).map_err(wrong)
}
