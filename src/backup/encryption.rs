//! Encryption in the format of `age`, so that the `age` command can open an archive without kumadb.

use std::fmt;
use std::io::{self, BufRead, Write};
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use age::secrecy::{ExposeSecret as _, SecretString};
use age::stream::{StreamReader, StreamWriter};
use age::{Decryptor, Encryptor, Identity, Recipient, scrypt, x25519};

use crate::error::{Error, Result, SnapshotError};
use crate::files;
use crate::value::Secret;

/// Work factor of a passphrase, as a power of two: as in the `age` command, a second and 256 MiB.
const WORK: u8 = 18;
/// Maximum work factor accepted from an archive: 1 GiB.
const MOST_WORK: u8 = 20;

/// What an archive is encrypted with.
#[derive(Clone)]
pub enum Encryption {
    /// The identity of any of these opens it.
    Recipients(Vec<x25519::Recipient>),
    /// This passphrase opens it.
    Passphrase(Secret),
}

/// What opens encrypted archives.
#[derive(Clone, Default)]
pub struct Keys {
    identities: Vec<x25519::Identity>,
    passphrase: Option<Secret>,
    /// Asks the user for the passphrase of the archive with this name.
    ask: Option<Arc<Ask>>,
}

/// Loads the messages of `age`, which reads them from files in a debug build: not where nothing can be read.
pub(super) fn load_messages() {
    drop(age::DecryptError::NoMatchingKeys.to_string());
}

/// Gets the passphrase of the archive with this name.
type Ask = dyn Fn(&str) -> Result<Secret> + Send + Sync;

/// A new key: its recipient, and the content of a file with it as `age-keygen` writes it.
pub fn new_identity() -> (String, Secret) {
    let identity = x25519::Identity::generate();
    let recipient = identity.to_public().to_string();
    let file = format!("# public key: {recipient}\n{}\n", identity.to_string().expose_secret());
    (recipient, Secret::new(file))
}

impl Encryption {
    /// The requested encryption: with the passphrase in the first line of a file or, without one, to `recipients` and
    /// those in the files `lists`, one per line; `None` where none was requested.
    ///
    /// # Errors
    /// [`FileError::Io`](crate::error::FileError::Io);
    /// [`SnapshotError::NoRecipient`] as in [`Encryption::to`], and for a file
    /// without a passphrase.
    pub fn read(recipients: &[String], lists: &[PathBuf], passphrase: Option<&Path>) -> Result<Option<Encryption>> {
        if let Some(file) = passphrase {
            return Ok(Some(Encryption::Passphrase(Secret::new(files::read_first_line(file)?))));
        }
        if recipients.is_empty() && lists.is_empty() {
            return Ok(None);
        }
        let texts: Vec<String> = lists.iter().map(|list| files::read_whole(list)).collect::<Result<_>>()?;
        let listed = texts.iter().flat_map(|text| text.lines());
        Encryption::to(recipients.iter().map(String::as_str).chain(listed)).map(Some)
    }

    /// Encryption to the recipients in `texts`, one each; blank ones and those that begin with `#` are skipped.
    ///
    /// # Errors
    /// [`SnapshotError::NoRecipient`]: one of them is not a valid age
    /// recipient, or there is none.
    pub fn to<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Encryption> {
        let meant = texts.map(str::trim).filter(|text| !text.is_empty() && !text.starts_with('#'));
        let recipients: Vec<x25519::Recipient> = meant
            .map(|text| {
                if text.starts_with("AGE-SECRET-KEY-") {
                    // Its content must not be repeated on the screen.
                    Err(Error::Snapshot(SnapshotError::SecretKey))
                } else {
                    text.parse().map_err(|why| {
                        Error::Snapshot(SnapshotError::Recipient { text: text.to_owned(), why: str::to_owned(why) })
                    })
                }
            })
            .collect::<Result<_>>()?;
        if recipients.is_empty() {
            Err(Error::Snapshot(SnapshotError::NoRecipient))
        } else {
            Ok(Encryption::Recipients(recipients))
        }
    }

    /// The recipients, as text; empty for a passphrase.
    pub fn recipients(&self) -> Vec<String> {
        match self {
            Encryption::Recipients(recipients) => recipients.iter().map(ToString::to_string).collect(),
            Encryption::Passphrase(_) => Vec::new(),
        }
    }

    /// Encrypts the file `from` into the new file `to`, which only its owner can read.
    pub fn encrypt(&self, from: &Path, to: &Path) -> Result<()> {
        let (mut source, file) = (files::open(from)?, files::create_private(to)?);
        let mut encrypted = || {
            let (mut sealed, _) = self.begin(&file)?;
            io::copy(&mut source, &mut sealed)?;
            sealed.finish()?;
            file.sync_all()
        };
        encrypted().map_err(Error::file("write", to))
    }

    /// Starts an encrypted stream into `to`. Also returns keys that open only this stream, to read it back: without the
    /// recipient's identity, the result could not be verified. The extra key is created for this and forgotten.
    pub(super) fn begin<W: Write>(&self, to: W) -> io::Result<(StreamWriter<W>, Keys)> {
        let (encryptor, keys) = match self {
            Encryption::Passphrase(passphrase) => {
                let mut recipient = scrypt::Recipient::new(secret(passphrase));
                // By default age measures the speed of this machine, which varies from run to run.
                recipient.set_work_factor(WORK);
                let only = iter::once(&recipient as &dyn Recipient);
                (
                    Encryptor::with_recipients(only).map_err(io::Error::other)?,
                    Keys { passphrase: Some(passphrase.clone()), ..Keys::default() },
                )
            }
            Encryption::Recipients(recipients) => {
                let proving = x25519::Identity::generate();
                let ours = proving.to_public();
                let all = recipients.iter().chain(iter::once(&ours)).map(|recipient| recipient as &dyn Recipient);
                let encryptor = Encryptor::with_recipients(all).map_err(io::Error::other)?;
                (encryptor, Keys { identities: vec![proving], ..Keys::default() })
            }
        };
        Ok((encryptor.wrap_output(to)?, keys))
    }
}

impl Keys {
    /// The keys in identity files of `age-keygen`, and the passphrase in the first line of a file.
    ///
    /// # Errors
    /// [`FileError::Io`](crate::error::FileError::Io);
    /// [`SnapshotError::NoRecipient`]: a line is not an identity, a file has
    /// no passphrase.
    pub fn read(identities: &[PathBuf], passphrase: Option<&Path>) -> Result<Keys> {
        let texts: Vec<String> = identities.iter().map(|file| files::read_whole(file)).collect::<Result<_>>()?;
        let lines = texts.iter().flat_map(|text| text.lines()).map(str::trim);
        let meant = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let identities = meant
            .map(|line| {
                line.parse().map_err(|why| Error::Snapshot(SnapshotError::Identity { why: str::to_owned(why) }))
            })
            .collect::<Result<_>>()?;
        let passphrase = passphrase.map(files::read_first_line).transpose()?.map(Secret::new);
        Ok(Keys { identities, passphrase, ask: None })
    }

    /// The same keys; where a passphrase is required and missing, `ask` gets it.
    pub fn asking(self, ask: impl Fn(&str) -> Result<Secret> + Send + Sync + 'static) -> Keys {
        Keys { ask: Some(Arc::new(ask)), ..self }
    }

    /// Whether there is any key.
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty() && self.passphrase.is_none() && self.ask.is_none()
    }

    /// Opens the encrypted stream `raw` of the archive called `name`.
    ///
    /// # Errors
    /// [`SnapshotError::Key`](crate::error::SnapshotError::Key): it needs another key;
    /// [`SnapshotError::Invalid`](crate::error::SnapshotError::Invalid): it is not an age stream.
    pub(super) fn open<R: BufRead>(&self, name: &str, raw: R) -> Result<StreamReader<R>> {
        use age::DecryptError::*;
        let key = |why: &'static str| Error::Snapshot(SnapshotError::Key { archive: name.to_owned(), why });
        let broken = |why: String| Error::Snapshot(SnapshotError::Invalid { name: name.to_owned(), why });
        let decryptor = Decryptor::new_buffered(raw).map_err(|error| broken(error.to_string()))?;
        let opened = match decryptor.is_scrypt() {
            true => {
                let passphrase = match (&self.passphrase, &self.ask) {
                    (Some(passphrase), _) => passphrase.clone(),
                    (None, Some(ask)) => ask(name)?,
                    (None, None) => return Err(key("it is encrypted with a passphrase")),
                };
                let mut identity = scrypt::Identity::new(secret(&passphrase));
                // A machine slower than the one that encrypted must open it too.
                identity.set_max_work_factor(MOST_WORK);
                decryptor.decrypt(iter::once(&identity as &dyn Identity))
            }
            false if self.identities.is_empty() => {
                return Err(key("it is encrypted to recipients, so an identity is required"));
            }
            false => decryptor.decrypt(self.identities.iter().map(|identity| identity as &dyn Identity)),
        };
        opened.map_err(|error| match error {
            NoMatchingKeys => key("none of the identities can decrypt it"),
            DecryptionFailed | KeyDecryptionFailed => key("wrong passphrase, or the header of the archive is damaged"),
            other => broken(other.to_string()),
        })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(keys)")
    }
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(encryption)")
    }
}

fn secret(text: &Secret) -> SecretString {
    SecretString::from(text.reveal().to_owned())
}
