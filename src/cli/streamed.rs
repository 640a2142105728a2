//! `kumadb backup create --stdout` for data on another machine: the snapshot is made there, sent compressed, and becomes a stream here.

use std::fs::File;
use std::path::Path;

use super::backup::{BackupVerb, written_words};
use super::spool::Spool;
use super::{Context, Verb};
use crate::backup::{SnapshotStream, Store};
use crate::error::{Error, Result, SnapshotError};
use crate::operation::Observer as _;
use crate::remote::RemoteJob;

/// Options that the job does not get.
const OURS: [&str; 2] = ["--stdout", "--unencrypted"];

/// The local end of it.
pub struct StreamedJob {
    /// The store that the snapshot is sent to.
    folder: Spool,
    out: File,
}

impl StreamedJob {
    /// For `verb`, if it is one.
    ///
    /// # Errors
    /// Standard output is a terminal; the snapshots of the instance have to be encrypted.
    pub fn of(verb: &Verb, context: &mut Context<'_>) -> Result<Option<StreamedJob>> {
        let Verb::Backup(BackupVerb::Create(args)) = verb else { return Ok(None) };
        if !args.is_streamed() {
            return Ok(None);
        }
        args.check_stream(context.encryption()?.is_some())?;
        Ok(Some(StreamedJob { folder: Spool::make()?, out: context.ui.stream_out()? }))
    }

    /// The store that the snapshot is sent to.
    pub fn store(&self) -> &Path {
        self.folder.path()
    }

    /// Makes `order` one that stores an unencrypted snapshot.
    pub fn prepare(order: &mut RemoteJob) {
        order.args.retain(|arg| !OURS.contains(&arg.as_str()));
        order.env.retain(|(name, _)| name != "KUMADB_RECIPIENTS_FILE");
        order.overrides.recipients.clear();
        // Its result is not shown, and a terminal would mix it with the progress.
        (order.tty, order.asks) = (false, false);
    }

    /// Writes the snapshot that was sent.
    pub fn write(self, context: &mut Context<'_>) -> Result<()> {
        let sent = Store::new(self.folder.path()).list()?.snapshots.pop();
        let sent = sent.ok_or_else(|| Error::Snapshot(SnapshotError::NotFound(String::new())))?;
        let staged = sent.unpack(&self.folder.path().join("staged"))?;
        // They are a part of it, and were unpacked with it.
        let (cancel, ui) = (context.ui.cancel().clone(), &mut *context.ui);
        let stream = SnapshotStream::prepare(&staged, &[], &cancel, &mut |done, total| ui.progress(done, total))?;
        stream.write(self.out, "standard output", &mut |done, total| ui.progress(done, total))?;
        ui.say(&written_words(stream.manifest()));
        Ok(())
    }
}
