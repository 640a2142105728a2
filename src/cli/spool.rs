//! A snapshot on standard input, which is read more than once: it is written into a file first.

use std::io::{IsTerminal as _, Read as _, Write as _};

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

impl Verb {
    /// Writes the snapshot on standard input into a file and selects that, where the verb reads one from there; returns the folder of
    /// the file, which is removed with it.
    ///
    /// # Errors
    /// [`InputError::Option`]: standard input is a terminal; there is not enough disk space.
    pub(super) fn spool(&mut self, ui: &mut Ui) -> Result<Option<TempDir>> {
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
        let folder = files::temp_folder("kumadb-", None)?;
        let failed = Error::file("read", "standard input");
        let mut piece = vec![0; PIECE];
        let mut first = Vec::new();
        stdin.by_ref().take(ENCRYPTED.len() as u64).read_to_end(&mut first).map_err(failed)?;
        let ending = if first == ENCRYPTED { "kuma.tar.zst.age" } else { "kuma.tar" };
        let path = folder.path().join(format!("standard-input.{ending}"));
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
        Ok(Some(folder))
    }
}
