//! Rows as text of a dump, read over one or two connections.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use super::MariaDb;
use super::block::Batch;
use super::literal::LiteralKind;
use crate::error::Result;

/// Batches that wait to be processed: with two connections about one part of a table, which is read while the part before it is
/// processed.
const QUEUED: [usize; 2] = [1, 32];

/// Rows as they are in a dump, `(1,'a')`, one after another.
struct RowTexts {
    bytes: Vec<u8>,
    /// Where each row ends.
    ends: Vec<usize>,
}

impl RowTexts {
    fn of(batch: &Batch, kinds: &[LiteralKind]) -> Result<RowTexts> {
        let mut texts = RowTexts { bytes: Vec::new(), ends: Vec::new() };
        batch.each(&mut |cells| {
            for (at, (cell, kind)) in cells.iter().zip(kinds).enumerate() {
                texts.bytes.push(if at == 0 { b'(' } else { b',' });
                match cell {
                    Some(cell) => kind.write(cell, &mut texts.bytes),
                    None => texts.bytes.extend_from_slice(b"NULL"),
                }
            }
            texts.bytes.push(b')');
            texts.ends.push(texts.bytes.len());
            Ok(())
        })?;
        Ok(texts)
    }

    fn each(&self, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut start = 0;
        self.ends.iter().try_for_each(|end| each(&self.bytes[std::mem::replace(&mut start, *end)..*end]))
    }
}

/// Passes the rows of `selects`, one after another, to `each` as text. The connections take turns: one reads the next rows while
/// those of the other are processed.
pub(super) fn each_text(
    connections: Vec<&mut MariaDb>,
    selects: &[String],
    each: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let (is_ended, turns) = (AtomicBool::new(false), connections.len());
    thread::scope(|scope| {
        let (mut queues, mut readers) = (Vec::new(), Vec::new());
        for (turn, connection) in connections.into_iter().enumerate() {
            let (queue, texts) = mpsc::sync_channel(QUEUED[usize::from(turns > 1)]);
            queues.push(texts);
            let (mut its, is_ended) = (selects.iter().skip(turn).step_by(turns), &is_ended);
            readers
                .push(scope.spawn(move || its.try_for_each(|select| connection.send_texts(select, is_ended, &queue))));
        }
        let processed = take_turns(&queues, selects.len(), each);
        is_ended.store(true, Ordering::Relaxed);
        drop(queues);
        let read = readers.into_iter().map(|reader| reader.join().unwrap_or_else(|panic| resume_unwind(panic)));
        processed.and(read.collect())
    })
}

/// Passes the rows of `count` queries to `each`; a query ends with `None`.
fn take_turns(
    queues: &[Receiver<Option<RowTexts>>],
    count: usize,
    each: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    for queue in queues.iter().cycle().take(count) {
        loop {
            match queue.recv() {
                Ok(Some(texts)) => texts.each(each)?,
                Ok(None) => break,
                // The connection has failed, and returns the reason.
                Err(_) => return Ok(()),
            }
        }
    }
    Ok(())
}

impl MariaDb {
    fn send_texts(&mut self, select: &str, is_ended: &AtomicBool, queue: &SyncSender<Option<RowTexts>>) -> Result<()> {
        if is_ended.load(Ordering::Relaxed) {
            return Ok(());
        }
        let rows = self.rows(select)?;
        let kinds = rows.shapes.clone();
        // Who does not take them has failed, and returns the reason.
        rows.each_batch(is_ended, &mut |batch| Ok(queue.send(Some(RowTexts::of(&batch, &kinds)?)).is_ok()))?;
        let _ = queue.send(None);
        Ok(())
    }
}
