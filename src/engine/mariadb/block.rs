//! Waiting for MariaDB: what a connection waits for ends when the run has to end.

use std::future::{Future, poll_fn};
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
const BATCH: (usize, usize) = (512, 128 << 10);

/// Batches that wait to be processed. A batch has more bytes than its size if a single row has.
const QUEUED: usize = 1;

/// The cells of a row as MariaDB sent them.
pub(super) type RawRow = Vec<Option<mysql_async::Value>>;

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
    /// Passes each row to `each`.
    pub(super) fn each(self, each: &mut dyn FnMut(Row) -> Result<()>) -> Result<()> {
        let (columns, shapes) = (self.columns.clone(), self.shapes.clone());
        let read = |(cell, shape): (_, &LiteralKind)| match cell {
            Some(mysql_async::Value::Bytes(bytes)) => shape.read(bytes),
            _ => Value::Null,
        };
        self.each_raw(&mut |cells| each(Row::new(columns.clone(), cells.into_iter().zip(&shapes).map(read).collect())))
    }

    /// The same with the cells of each row as MariaDB sent them. They are received in another thread, while `each` runs.
    pub(super) fn each_raw(mut self, each: &mut dyn FnMut(RawRow) -> Result<()>) -> Result<()> {
        let is_ended = AtomicBool::new(false);
        let (first, is_last) = self.receive(&is_ended)?;
        if is_last {
            return first.into_iter().try_for_each(each);
        }
        let (queue, batches) = mpsc::sync_channel(QUEUED);
        let process = || {
            let processed = first.into_iter().chain(batches.iter().flatten()).try_for_each(each);
            is_ended.store(true, Ordering::Relaxed);
            drop(batches);
            processed
        };
        let receive = || {
            let queue = queue;
            loop {
                let (batch, is_last) = self.receive(&is_ended)?;
                // Who does not take it has failed, and returns the reason.
                if queue.send(batch).is_err() || is_last {
                    return Ok(());
                }
            }
        };
        let (processed, received) = join(process, receive);
        processed.and(received)
    }

    /// The next rows, and whether they are the last ones. Rows that have arrived do not wait for others; once it `is_ended`, there may be
    /// none.
    fn receive(&mut self, is_ended: &AtomicBool) -> Result<(Vec<RawRow>, bool)> {
        let result = &mut self.result;
        let batch = async {
            let (mut rows, mut size) = (Vec::new(), 0);
            while rows.len() < BATCH.0 && size < BATCH.1 {
                let mut next = pin!(result.next());
                // A row that has not arrived is asked for again: the connection gives it as a whole.
                let arrived = poll_fn(|context| match next.as_mut().poll(context) {
                    Poll::Ready(row) => Poll::Ready(Some(row)),
                    Poll::Pending if !rows.is_empty() || is_ended.load(Ordering::Relaxed) => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                });
                let Some(row) = arrived.await else { break };
                let Some(row) = row? else { return Ok((rows, true)) };
                let cells = row.unwrap_raw();
                let bytes = |cell: &Option<mysql_async::Value>| match cell {
                    Some(mysql_async::Value::Bytes(bytes)) => bytes.len(),
                    _ => 0,
                };
                size += cells.iter().map(bytes).sum::<usize>();
                rows.push(cells);
            }
            Ok((rows, false))
        };
        let (rows, is_last) = until(self.runtime, self.address, self.id, batch)?;
        if !is_last {
            check(self.runtime, self.address, self.id)?;
        }
        Ok((rows, is_last))
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
