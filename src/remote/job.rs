//! The description of a remote job, in a private file: arguments and environment may contain secrets.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::{ORDER, Pack};
use crate::backup::undo::Bounds;
use crate::error::{Error, RemoteError, Result};
use crate::files;

/// Name of the job file, and of its standard input, in [`ORDER`].
const FILE: &str = "order.json";
const STDIN: &str = "stdin";

/// A verb with everything that it needs from this machine.
pub struct RemoteJob {
    /// The arguments, as typed.
    pub args: Vec<String>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// The current folder.
    pub here: PathBuf,
    /// The options that are overridden on the remote host.
    pub overrides: Overrides,
    /// The standard input.
    pub stdin: Option<Vec<u8>>,
    /// Files that it reads: remote path, and path on this machine.
    pub files: BTreeMap<PathBuf, PathBuf>,
    /// Whether a file will be fetched after it has ended.
    pub fetched: bool,
    /// Whether a program answers its questions.
    pub asks: bool,
    /// Whether it uses a terminal.
    pub tty: bool,
}

/// The job as it is serialized.
#[derive(Serialize, Deserialize)]
struct WireJob {
    /// The version that sent it: another one may interpret it differently.
    version: String,
    /// The executable.
    place: PathBuf,
    /// Where it was just unpacked, if it was sent.
    arrived: Option<PathBuf>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    here: PathBuf,
}

/// Options that are overridden on the remote host.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Overrides {
    /// The container, by its id.
    pub target: Option<String>,
    /// Its name in the config file of the machine that sent the job.
    pub name: Option<String>,
    /// The names of the other instances there.
    #[serde(default)]
    pub others: Vec<String>,
    /// The stores.
    pub stores: Vec<String>,
    /// The archive to restore.
    pub snapshot: Option<String>,
    /// Recipients of snapshots, if they are encrypted.
    pub recipients: Vec<String>,
    /// Limits of undo snapshots.
    #[serde(default)]
    pub undo: Option<Bounds>,
}

impl Overrides {
    /// The environment variable with the overrides.
    pub const VARIABLE: &str = "KUMADB_REMOTE_JOB";
}

impl RemoteJob {
    /// A tar, for the root of the container, with the job to run the executable `place`, which may have been unpacked
    /// under another name.
    pub(super) fn pack(self, place: &str, arrived: Option<String>) -> Result<File> {
        let failed = |error: serde_json::Error| Error::Remote(RemoteError::WriteJobSpec { why: error.to_string() });
        let mut env = self.env;
        env.push((Overrides::VARIABLE.into(), serde_json::to_string(&self.overrides).map_err(failed)?));
        let version = env!("CARGO_PKG_VERSION").into();
        let (place, arrived) = (place.into(), arrived.map(PathBuf::from));
        let written = WireJob { version, place, arrived, args: self.args, env, here: self.here };
        let text = serde_json::to_vec(&written).map_err(failed)?;
        // Fixtures compress well; archives hardly, and higher levels only slow them down.
        let mut pack = Pack::new("/", 1)?;
        pack.add(&Path::new(ORDER).join(FILE), files::PRIVATE, text.len() as u64, &text[..])?;
        if let Some(stdin) = &self.stdin {
            pack.add(&Path::new(ORDER).join(STDIN), files::PRIVATE, stdin.len() as u64, &stdin[..])?;
        }
        for (there, here) in &self.files {
            let file = File::open(here).map_err(Error::file("read", here))?;
            let size = file.metadata().map_err(Error::file("read", here))?.len();
            pack.add(there, files::PRIVATE, size, file)?;
        }
        pack.done()
    }

    /// The command of the job in `folder`; the job file is removed.
    ///
    /// # Errors
    /// The job was sent by another version.
    pub fn take(folder: &Path) -> Result<Command> {
        let path = folder.join(FILE);
        let wrong = |why: String| Error::Remote(RemoteError::JobSpec { path: path.clone(), why });
        let text = files::read_text(&path)?.ok_or_else(|| wrong("it does not exist".into()))?;
        files::remove(&path)?;
        let order: WireJob = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if order.version != env!("CARGO_PKG_VERSION") {
            let (here, there) = (order.version, env!("CARGO_PKG_VERSION"));
            return Err(wrong(format!("it was created by kumadb {here}, but the kumadb sent with it is {there}")));
        }
        if let Some(arrived) = &order.arrived {
            files::flush(arrived)?;
            files::rename(arrived, &order.place)?;
        }
        files::make_folder(&order.here)?;
        let mut command = Command::new(&order.place);
        command.args(order.args).envs(order.env).current_dir(&order.here);
        let stdin = folder.join(STDIN);
        if stdin.exists() {
            command.stdin(File::open(&stdin).map_err(Error::file("read", &stdin))?);
            files::remove(&stdin)?;
        }
        Ok(command)
    }
}
