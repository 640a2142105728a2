//! A snapshot on standard input, which is read more than once: it is written into a file first.

use std::fs::File;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use tempfile::TempDir;

use super::backup::BackupVerb;
use super::{Ui, Verb};
use crate::error::{Error, Hint, InputError, Result};
use crate::files;
use crate::operation::Observer as _;

/// The first bytes of a file that is encrypted with age.
const ENCRYPTED: &[u8] = b"age-encryption.org/";

/// Bytes that are read at a time.
const PIECE: usize = 1 << 18;

/// The file that is locked while its folder is used.
const LOCK: &str = "lock";

/// A folder for a snapshot among the temporary files. It is removed with this; if the process is killed, by the next one that makes one.
pub(super) struct Spool {
    folder: TempDir,
    _lock: File,
}

impl Spool {
    /// Makes a new one.
    pub(super) fn make() -> Result<Spool> {
        remove_left_spools();
        let folder = files::temp_folder("kumadb-", None)?;
        // Locked until this process ends, however that is.
        let lock = files::create_private(&folder.path().join(LOCK))?;
        lock.try_lock().map_err(|error| Error::file("lock", folder.path())(error.into()))?;
        Ok(Spool { folder, _lock: lock })
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Verb {
    /// Writes the snapshot on standard input into a file and selects that, where the verb reads one from there.
    ///
    /// # Errors
    /// [`InputError::Option`]: standard input is a terminal; there is not enough disk space.
    pub(super) fn spool(&mut self, ui: &mut Ui) -> Result<Option<Spool>> {
        let is_read = match self {
            Verb::Restore(args) => args.reads_stdin(ui.is_yes())?,
            Verb::Backup(BackupVerb::Verify(args)) => args.stdin,
            _ => false,
        };
        if !is_read {
            return Ok(None);
        }
        let mut stdin = std::io::stdin().lock();
        if stdin.is_terminal() {
            return Err(Error::Input(InputError::Option {
                option: "`--stdin`".into(),
                why: "standard input is a terminal".into(),
                hint: Some(Hint::command("restic dump latest kuma.kuma.tar | kumadb restore --stdin --yes")),
            }));
        }
        let spool = Spool::make()?;
        let failed = Error::file("read", "standard input");
        let mut piece = vec![0; PIECE];
        let mut first = Vec::new();
        stdin.by_ref().take(ENCRYPTED.len() as u64).read_to_end(&mut first).map_err(failed)?;
        let ending = if first == ENCRYPTED { "kuma.tar.zst.age" } else { "kuma.tar" };
        let path = spool.path().join(format!("standard-input.{ending}"));
        let mut file = files::create_private(&path)?;
        let mut write = |bytes: &[u8]| file.write_all(bytes).map_err(Error::file("write", &path));
        write(&first)?;
        let mut done = first.len() as u64;
        loop {
            ui.cancel().check()?;
            let read = stdin.read(&mut piece).map_err(Error::file("read", "standard input"))?;
            if read == 0 {
                break;
            }
            write(&piece[..read])?;
            done += read as u64;
            ui.progress(done, 0);
        }
        if done == 0 {
            return Err(Error::Input(InputError::Option {
                option: "`--stdin`".into(),
                why: "standard input is empty".into(),
                hint: Some(Hint::advice("the program before the `|` has failed, or found nothing")),
            }));
        }
        let path = path.display().to_string();
        match self {
            Verb::Restore(args) => args.take_snapshot(path),
            Verb::Backup(BackupVerb::Verify(args)) => args.take_snapshot(path),
            _ => {}
        }
        Ok(Some(spool))
    }
}

/// Removes the snapshots that killed runs of this user left among the temporary files.
fn remove_left_spools() {
    for path in files::entries(&std::env::temp_dir()).unwrap_or_default() {
        let is_named = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("kumadb-"));
        let is_ours = || files::look(&path).ok().flatten().is_some_and(|found| found.uid == files::our_uid());
        if is_named && is_ours() && files::open_regular(&path.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok()) {
            // The next run tries again.
            let _ = files::remove_folder(&path);
        }
    }
}
