//! Waiting for MariaDB: what a connection waits for ends when the run has to end.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{QueryResult, TextProtocol};
use tokio::runtime::Runtime;

use super::literal::LiteralKind;
use super::{Address, dial, fault};
use crate::error::Result;
use crate::value::{Row, Value};

/// How often a request to end is looked for.
const TICK: Duration = Duration::from_millis(100);

/// Timeout for ending a statement.
const KILL_TIME: Duration = Duration::from_millis(500);

/// Rows between two looks for a request to end: those that have arrived are not waited for.
const LOOK: u64 = 1024;

/// Streamed rows.
pub(super) struct Rows<'a> {
    pub(super) result: QueryResult<'a, 'static, TextProtocol>,
    pub(super) runtime: &'a Runtime,
    pub(super) address: &'a Address,
    /// The number of the connection, if they can be ended early.
    pub(super) id: Option<u64>,
    pub(super) seen: u64,
    pub(super) columns: Arc<[String]>,
    pub(super) shapes: Vec<LiteralKind>,
}

impl Rows<'_> {
    /// The next row, its cells as MariaDB sent them.
    pub(super) fn raw(&mut self) -> Result<Option<Vec<Option<mysql_async::Value>>>> {
        let row = until(self.runtime, self.address, self.id, self.result.next())?;
        self.seen += 1;
        if self.seen.is_multiple_of(LOOK) {
            check(self.runtime, self.address, self.id)?;
        }
        Ok(row.map(mysql_async::Row::unwrap_raw))
    }

    pub(super) fn next(&mut self) -> Result<Option<Row>> {
        Ok(self.raw()?.map(|cells| {
            let read = |(cell, shape): (_, &LiteralKind)| match cell {
                Some(mysql_async::Value::Bytes(bytes)) => shape.read(bytes),
                _ => Value::Null,
            };
            Row::new(self.columns.clone(), cells.into_iter().zip(&self.shapes).map(read).collect())
        }))
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
        // Most rows have arrived before they are asked for, and need no timer.
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
pub(super) fn check(runtime: &Runtime, address: &Address, id: Option<u64>) -> Result<()> {
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
