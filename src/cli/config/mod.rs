//! `kumadb config`, and where the config file is.

mod check;
mod init;
mod risks;

use std::path::PathBuf;

use clap::Subcommand;

use super::Context;
use crate::cli::environment::value;
use crate::cli::lazy::Lazy;
use crate::config::{ConfigFile, read_config};
use crate::error::{Error, Exit, FileError, InputError, Result};
use crate::files;

#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Write a config file for the instances on this machine
    Init(Lazy<init::InitArgs>),
    /// Check the config file and show when each job is due
    Check(Lazy<check::CheckArgs>),
}

pub fn run(verb: &ConfigVerb, context: &mut Context<'_>) -> Result<Exit> {
    match verb {
        ConfigVerb::Init(args) => init::run(args, context),
        ConfigVerb::Check(args) => check::run(args, context),
    }
}

/// Reads the config file, which must exist; returns its path too.
pub fn required(context: &Context<'_>) -> Result<(PathBuf, ConfigFile)> {
    locate(context)?.ok_or_else(|| {
        let places: Vec<String> = places(context).iter().map(|path| format!("`{}`", path.display())).collect();
        Error::Input(InputError::NoConfig { looked: places })
    })
}

/// Reads the config file, if there is one.
///
/// # Errors
/// A file that was named and does not exist; all problems in it.
pub fn read(context: &Context<'_>) -> Result<Option<ConfigFile>> {
    if let Some(config) = context.config.get() {
        return Ok(config.clone());
    }
    let config = locate(context)?.map(|(_, config)| config);
    Ok(context.config.get_or_init(|| config).clone())
}

fn locate(context: &Context<'_>) -> Result<Option<(PathBuf, ConfigFile)>> {
    for path in places(context) {
        match files::read_small_text(&path) {
            Ok(Some(text)) => {
                let config = read_config(&path.to_string_lossy(), &text)
                    .map_err(|why| Error::Input(InputError::Problems(why)))?;
                return Ok(Some((path, config)));
            }
            Ok(None) if context.global.config.is_some() => {
                return Err(Error::Input(InputError::NoConfig { looked: vec![format!("`{}`", path.display())] }));
            }
            // Root's config file may contain secrets and is readable by root only.
            Err(Error::File(FileError::Io { source, .. }))
                if source.kind() == std::io::ErrorKind::PermissionDenied && context.global.config.is_none() => {}
            Err(error) => return Err(error),
            Ok(None) => {}
        }
    }
    Ok(None)
}

/// The paths of the config file, in order; the first that exists is used.
fn places(context: &Context<'_>) -> Vec<PathBuf> {
    if let Some(path) = &context.global.config {
        return vec![path.clone()];
    }
    let named = |variable: &str| value(variable).map(PathBuf::from);
    let home = named("XDG_CONFIG_HOME").or_else(|| Some(named("HOME")?.join(".config")));
    let own = home.map(|home| home.join("kumadb/kumadb.toml"));
    own.into_iter().chain([PathBuf::from("/etc/kumadb/kumadb.toml")]).collect()
}
