//! Stores and keys, from options and environment.

use std::path::{Path, PathBuf};

use clap::Args;

use super::Ui;
use super::environment::{value, variable};
use super::inputs::Inputs;
use crate::backup::{CopyScope, Credentials, Encryption, Keys, Store, Stores};
use crate::error::{Error, InputError, Result};
use crate::files;
use crate::operation::BackupOptions;
use crate::value::Secret;

/// How a snapshot is put away.
#[derive(Args, Debug)]
#[command(next_help_heading = "Encryption and upload")]
pub struct EncryptionArgs {
    /// Encrypt to this age recipient: age1... (can be repeated)
    #[arg(hide_short_help = true, long, value_name = "RECIPIENT")]
    encrypt_to: Vec<String>,
    /// Encrypt to the age recipients in this file, one per line
    #[arg(hide_short_help = true, long, value_name = "FILE", env = variable("KUMADB_RECIPIENTS_FILE"), hide_env_values = true)]
    recipients_file: Vec<PathBuf>,
    /// Encrypt with the passphrase in the first line of this file
    #[arg(hide_short_help = true, long, value_name = "FILE", conflicts_with_all = ["encrypt_to", "recipients_file"])]
    passphrase_file: Option<PathBuf>,
    /// Skip reading the uploaded snapshot back; only its size is compared
    #[arg(hide_short_help = true, long)]
    no_read_back: bool,
}

/// What opens encrypted snapshots.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Decryption")]
pub struct KeyArgs {
    /// Decrypt snapshots with the age identities in this file (can be repeated)
    #[arg(hide_short_help = true, long, value_name = "FILE", env = variable("KUMADB_IDENTITY"), hide_env_values = true)]
    identity: Vec<PathBuf>,
    /// Decrypt snapshots with the passphrase in the first line of this file
    #[arg(hide_short_help = true, long, value_name = "FILE", env = variable("KUMADB_PASSPHRASE_FILE"), hide_env_values = true)]
    passphrase_file: Option<PathBuf>,
}

impl EncryptionArgs {
    /// Packs the files of these options for a remote job.
    pub fn pack(&self, inputs: &mut Inputs) -> Result<()> {
        self.recipients_file.iter().chain(&self.passphrase_file).try_for_each(|file| inputs.take(file))
    }

    /// Checks what is typed. The files are read once, because one may be a pipe.
    pub fn check(&self) -> Result<()> {
        Encryption::read(&self.encrypt_to, &[], None).map(drop)
    }

    /// The backup options for a snapshot of `scope`.
    pub fn options(&self, scope: CopyScope) -> Result<BackupOptions> {
        let encryption = Encryption::read(&self.encrypt_to, &self.recipients_file, self.passphrase_file.as_deref())?;
        Ok(BackupOptions { scope, encryption, unread: self.no_read_back, ..BackupOptions::default() })
    }
}

impl KeyArgs {
    /// Packs the files of these options for a remote job.
    pub fn pack(&self, inputs: &mut Inputs) -> Result<()> {
        self.identity.iter().chain(&self.passphrase_file).try_for_each(|file| inputs.take(file))
    }

    /// The keys of these options.
    pub fn keys(&self) -> Result<Keys> {
        Keys::read(&self.identity, self.passphrase_file.as_deref())
    }

    /// The same; asks for a required passphrase on a terminal.
    pub fn keys_or_ask(&self, ui: &Ui) -> Result<Keys> {
        Ok(self.keys()?.asking(ui.asks_passphrase()))
    }
}

/// Variables that may also name a file, with the suffix `_FILE`.
const BY_FILE: [&str; 3] = ["AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "WEBDAV_PASSWORD"];

/// Who uses the stores, from the environment.
pub fn credentials() -> Result<Vec<(String, Secret)>> {
    let known = |name: &str| Credentials::PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let mut named = Vec::new();
    for (name, value) in std::env::vars_os() {
        // Other variables may have any content.
        let Some(name) = name.to_str().filter(|name| known(name) && !value.is_empty()) else { continue };
        match value.to_str() {
            Some(value) => named.push((name.to_owned(), Secret::new(value))),
            None => return Err(Error::Input(InputError::NotUtf8 { what: format!("`{name}`") })),
        }
    }
    for name in BY_FILE {
        if let Some(file) = value(&format!("{name}_FILE")) {
            named.push((name.to_owned(), Secret::new(files::read_first_line(Path::new(&file))?)));
        }
    }
    Ok(named)
}

/// The stores at `addresses`, or else `default`.
pub fn open(addresses: &[String], default: Store, credentials: Credentials) -> Result<Stores> {
    let mut stores: Vec<Store> =
        addresses.iter().map(|address| Store::open(address, &credentials)).collect::<Result<_>>()?;
    if stores.is_empty() {
        stores.push(default.clone());
    }
    Ok(Stores::new(stores, default).with_credentials(credentials))
}
