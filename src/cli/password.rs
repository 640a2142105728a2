//! Reading passwords: never from an argument, which every user of the machine can read.

use std::path::PathBuf;

use clap::Args;

use super::Context;
use super::environment::value;
use super::inputs::Inputs;
use crate::error::Result;
use crate::files;
use crate::value::Secret;

#[derive(Args, Debug)]
pub struct PasswordArgs {
    /// Read the password from this file [default: KUMADB_ADMIN_PASSWORD, else a prompt or standard input]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl PasswordArgs {
    /// Packs the password for a remote job, whatever its source.
    pub fn pack(&self, inputs: &mut Inputs) -> Result<()> {
        match &self.password_file {
            Some(file) => inputs.take(file),
            None if value("KUMADB_ADMIN_PASSWORD").is_some() => Ok(()),
            None => inputs.take_stdin(),
        }
    }

    /// Whether a file was named.
    pub fn has_file(&self) -> bool {
        self.password_file.is_some()
    }

    /// Reads the password of the user `name`.
    pub fn read(&self, name: &str, context: &mut Context<'_>) -> Result<Secret> {
        if let Some(path) = &self.password_file {
            return files::read_first_line(path).map(Secret::new);
        }
        match value("KUMADB_ADMIN_PASSWORD").and_then(|password| password.into_string().ok()) {
            Some(password) => Ok(Secret::new(password)),
            None => context.ui.password(&format!("`{name}`")).map(Secret::new),
        }
    }
}
