//! Where a password comes from: never from an argument, which everybody on the machine can read.

use std::path::PathBuf;

use clap::Args;

use super::Context;
use super::far::Luggage;
use crate::error::{Error, Result};
use crate::files;
use crate::value::Secret;

#[derive(Args, Debug)]
pub struct PasswordArgs {
    /// Read the password from this file; else it is asked for, or comes from stdin or KUMADB_ADMIN_PASSWORD
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The password, from the environment only
    #[arg(long, env = "KUMADB_ADMIN_PASSWORD", hide = true, hide_env_values = true)]
    password: Option<String>,
}

impl PasswordArgs {
    /// Takes the password along, from wherever it comes.
    pub fn pack(&self, luggage: &mut Luggage) -> Result<()> {
        match (&self.password_file, &self.password) {
            (Some(file), _) => luggage.take(file),
            (None, Some(_)) => Ok(()),
            (None, None) => luggage.take_stdin(),
        }
    }

    /// Whether a file was named.
    pub fn has_file(&self) -> bool {
        self.password_file.is_some()
    }

    /// The password of the user `name`.
    pub fn read(&self, name: &str, context: &mut Context<'_>) -> Result<Secret> {
        if let Some(path) = &self.password_file {
            let text = files::read_text(path)?.ok_or_else(|| Error::Usage(format!("no file `{}`", path.display())))?;
            return Ok(Secret::new(text.lines().next().unwrap_or_default()));
        }
        match &self.password {
            Some(password) => Ok(Secret::new(password)),
            None => context.ui.password(&format!("`{name}`")).map(Secret::new),
        }
    }
}
