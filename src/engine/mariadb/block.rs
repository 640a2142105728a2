//! Waiting for MariaDB: what a connection waits for ends when the run has to end.

use std::future::{Future, poll_fn};
use std::iter;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{QueryResult, TextProtocol};
use tokio::runtime::Runtime;

use super::connect::dial;
use super::literal::LiteralKind;
use super::{Address, fault};
use crate::engine::join;
use crate::error::Result;
use crate::value::{Row, Value};

/// How often a request to end is looked for.
const TICK: Duration = Duration::from_millis(100);

/// Timeout for ending a statement.
const KILL_TIME: Duration = Duration::from_millis(500);

/// One batch of rows that have arrived, in rows and in bytes of their cells.
const BATCH: (usize, usize) = (1024, 64 << 10);

/// Batches that wait to be processed. A batch has more bytes than its size if a single row has.
const QUEUED: usize = 1;

/// A cell as MariaDB sent it; `None` for NULL.
type Cell<'a> = Option<&'a [u8]>;

/// Rows that have arrived, cell by cell as MariaDB sent them.
pub(super) struct Batch {
    /// All cells, one after another.
    bytes: Vec<u8>,
    /// Where each cell ends; `None` for NULL.
    ends: Vec<Option<usize>>,
    /// The number of cells in a row.
    width: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.ends.len() > self.width * BATCH.0 || self.bytes.len() >= BATCH.1
    }

    fn add(&mut self, row: &mysql_async::Row) {
        for at in 0..self.width {
            self.ends.push(match row.as_ref(at) {
                Some(mysql_async::Value::Bytes(bytes)) => {
                    self.bytes.extend_from_slice(bytes);
                    Some(self.bytes.len())
                }
                _ => None,
            });
        }
    }

    /// Passes the cells of each row to `each`.
    pub(super) fn each(&self, each: &mut dyn FnMut(&[Cell<'_>]) -> Result<()>) -> Result<()> {
        let (mut cells, mut start) = (Vec::with_capacity(self.width), 0);
        for ends in self.ends.chunks(self.width.max(1)) {
            cells.clear();
            cells.extend(ends.iter().map(|end| {
                let end = (*end)?;
                Some(&self.bytes[std::mem::replace(&mut start, end)..end])
            }));
            each(&cells)?;
        }
        Ok(())
    }
}

/// Streamed rows.
pub(super) struct Rows<'a> {
    pub(super) result: QueryResult<'a, 'static, TextProtocol>,
    pub(super) runtime: &'a Runtime,
    pub(super) address: &'a Address,
    /// The number of the connection, if they can be ended early.
    pub(super) id: Option<u64>,
    pub(super) columns: Arc<[String]>,
    pub(super) shapes: Vec<LiteralKind>,
}

impl Rows<'_> {
    /// Passes each row to `each`. Rows are received in another thread, while `each` runs.
    pub(super) fn each(mut self, each: &mut dyn FnMut(Row) -> Result<()>) -> Result<()> {
        let (columns, shapes) = (self.columns.clone(), self.shapes.clone());
        let read = |(cell, shape): (&Cell<'_>, &LiteralKind)| cell.map_or(Value::Null, |cell| shape.read(cell));
        let mut pass = |batch: Batch| {
            batch.each(&mut |cells| each(Row::new(columns.clone(), cells.iter().zip(&shapes).map(read).collect())))
        };
        let is_ended = AtomicBool::new(false);
        let (first, is_last) = self.receive(&is_ended)?;
        if is_last {
            return pass(first);
        }
        let (queue, batches) = mpsc::sync_channel(QUEUED);
        let process = || {
            let processed = iter::once(first).chain(&batches).try_for_each(pass);
            is_ended.store(true, Ordering::Relaxed);
            drop(batches);
            processed
        };
        let receive = || {
            let queue = queue;
            // Who does not take it has failed, and returns the reason.
            self.each_batch(&is_ended, &mut |batch| Ok(queue.send(batch).is_ok()))
        };
        let (processed, received) = join(process, receive);
        processed.and(received)
    }

    /// Passes rows to `each` as they arrive, until it returns `false`; once it `is_ended`, without waiting for more.
    pub(super) fn each_batch(
        mut self,
        is_ended: &AtomicBool,
        each: &mut dyn FnMut(Batch) -> Result<bool>,
    ) -> Result<()> {
        loop {
            let (batch, is_last) = self.receive(is_ended)?;
            if !each(batch)? || is_last {
                return Ok(());
            }
        }
    }

    /// The next rows, and whether they are the last ones. Rows that have arrived do not wait for others; once it `is_ended`, there may be
    /// none.
    fn receive(&mut self, is_ended: &AtomicBool) -> Result<(Batch, bool)> {
        let (result, width) = (&mut self.result, self.columns.len());
        let batch = async {
            let mut batch = Batch { bytes: Vec::new(), ends: Vec::new(), width };
            while !batch.is_full() {
                let mut next = pin!(result.next());
                // A row that has not arrived is asked for again: the connection gives it as a whole.
                let arrived = poll_fn(|context| match next.as_mut().poll(context) {
                    Poll::Ready(row) => Poll::Ready(Some(row)),
                    Poll::Pending if !batch.ends.is_empty() || is_ended.load(Ordering::Relaxed) => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                });
                let Some(row) = arrived.await else { break };
                let Some(row) = row? else { return Ok((batch, true)) };
                batch.add(&row);
            }
            Ok((batch, false))
        };
        let (batch, is_last) = until(self.runtime, self.address, self.id, batch)?;
        if !is_last {
            check(self.runtime, self.address, self.id)?;
        }
        Ok((batch, is_last))
    }
}

/// Waits for `future`, which connection `id` of the server works on; without a number, whatever the run has to do.
///
/// # Errors
/// That of `future`; [`OperationError::Interrupted`](crate::error::OperationError::Interrupted): the statement was killed.
pub(super) fn until<T>(
    runtime: &Runtime,
    address: &Address,
    id: Option<u64>,
    future: impl Future<Output = std::result::Result<T, mysql_async::Error>>,
) -> Result<T> {
    let explain = |error| fault::explain(address, error);
    let mut future = pin!(future);
    let Some(id) = id else { return runtime.block_on(future).map_err(explain) };
    runtime.block_on(async {
        // What has arrived already needs no timer.
        if let Poll::Ready(done) = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
            return done.map_err(explain);
        }
        loop {
            match tokio::time::timeout(TICK, future.as_mut()).await {
                Ok(done) => return done.map_err(explain),
                Err(_) => look(address, id).await?,
            }
        }
    })
}

/// Fails once the run has to end.
fn check(runtime: &Runtime, address: &Address, id: Option<u64>) -> Result<()> {
    id.map_or(Ok(()), |id| runtime.block_on(look(address, id)))
}

async fn look(address: &Address, id: u64) -> Result<()> {
    let ended = address.cancel.check();
    if ended.is_err() {
        // The server does not notice a closed connection before the statement ends, and keeps its locks until then.
        let kill = async {
            let mut conn = dial(address, None).await?;
            conn.query_drop(format!("KILL {id}")).await?;
            conn.disconnect().await
        };
        let _ = tokio::time::timeout(KILL_TIME, kill).await;
    }
    ended
}
