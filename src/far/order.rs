//! What is to be done over there, in a file that only its owner reads: arguments and environment may hold secrets.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::{ORDER, Pack};
use crate::backup::undo::Bounds;
use crate::error::{Error, Result};
use crate::files;

/// The file of the order, and the one of what it reads from stdin, in [`ORDER`].
const FILE: &str = "order.json";
const STDIN: &str = "stdin";

/// One verb with all that it needs of this machine.
pub struct Order {
    /// The arguments, as they were typed.
    pub args: Vec<String>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// The folder it is run in.
    pub here: PathBuf,
    /// What is said otherwise over there.
    pub overrides: Overrides,
    /// What comes from stdin.
    pub stdin: Option<Vec<u8>>,
    /// Files that it reads: where they are over there, and where here.
    pub files: BTreeMap<PathBuf, PathBuf>,
    /// Something will be fetched when it has ended.
    pub fetched: bool,
    /// A program answers its questions.
    pub asks: bool,
    /// It talks to a terminal.
    pub tty: bool,
}

/// The order as it is written down.
#[derive(Serialize, Deserialize)]
struct Written {
    /// The version that gave it: another one may mean something else by it.
    version: String,
    /// Where kumadb belongs.
    place: PathBuf,
    /// Where it is instead, if it has just been sent.
    arrived: Option<PathBuf>,
    /// What is run, in that place.
    program: Vec<String>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    here: PathBuf,
}

/// What of the options is something else over there.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Overrides {
    /// The container, by its id.
    pub target: Option<String>,
    /// Its name in the config file of the machine that sent this.
    pub name: Option<String>,
    /// The names of the other instances there.
    #[serde(default)]
    pub others: Vec<String>,
    /// The stores.
    pub stores: Vec<String>,
    /// The archive that `restore` puts back.
    pub snapshot: Option<String>,
    /// Recipients that snapshots are encrypted to, if they are.
    pub recipients: Vec<String>,
    /// How many undo snapshots are kept.
    #[serde(default)]
    pub undo: Option<Bounds>,
}

impl Overrides {
    /// The environment variable that they stand in.
    pub const VARIABLE: &str = "KUMADB_REMOTE_JOB";
}

impl Order {
    /// The order to run `program`, which lies in `place` or has arrived in another folder, as a tar that belongs at the root
    /// of the container.
    pub(super) fn pack(self, place: &str, program: Vec<String>, arrived: Option<String>) -> Result<File> {
        let failed = |error: serde_json::Error| Error::Refused(format!("the order cannot be written down: {error}"));
        let mut env = self.env;
        env.push((Overrides::VARIABLE.into(), serde_json::to_string(&self.overrides).map_err(failed)?));
        let version = env!("CARGO_PKG_VERSION").into();
        let (place, arrived) = (place.into(), arrived.map(PathBuf::from));
        let written = Written { version, place, arrived, program, args: self.args, env, here: self.here };
        let text = serde_json::to_vec(&written).map_err(failed)?;
        // Documents shrink a lot; archives hardly, and are only slowed down by more.
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

    /// The command that the order in `folder` means; the order itself is gone then.
    ///
    /// # Errors
    /// It is the order of another version.
    pub fn take(folder: &Path) -> Result<Command> {
        let path = folder.join(FILE);
        let wrong = |why: String| Error::Refused(format!("`{}` is no order: {why}", path.display()));
        let text = files::read_text(&path)?.ok_or_else(|| wrong("it is not there".into()))?;
        files::remove(&path)?;
        let order: Written = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if order.version != env!("CARGO_PKG_VERSION") {
            let (here, there) = (order.version, env!("CARGO_PKG_VERSION"));
            return Err(wrong(format!("it is of kumadb {here}, and the one that was sent along is {there}")));
        }
        if let Some(arrived) = &order.arrived {
            settle(arrived, &order.place)?;
        }
        let program = order.program.split_first().ok_or_else(|| wrong("it names no program".into()))?;
        files::make_folder(&order.here)?;
        let mut command = Command::new(program.0);
        command.args(program.1).args(order.args).envs(order.env).current_dir(&order.here);
        let stdin = folder.join(STDIN);
        if stdin.exists() {
            command.stdin(File::open(&stdin).map_err(Error::file("read", &stdin))?);
            files::remove(&stdin)?;
        }
        Ok(command)
    }
}

/// Gives what has arrived its place, so that it is there whole or not at all, after a power cut too.
fn settle(arrived: &Path, place: &Path) -> Result<()> {
    for part in files::entries(arrived)? {
        files::flush(&part)?;
    }
    match files::rename(arrived, place) {
        // Another was quicker with the same bytes. We run on, out of files that have no name any more.
        Err(_) if place.exists() => files::remove_folder(arrived),
        renamed => renamed,
    }
}
