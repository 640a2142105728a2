//! A second connection with the snapshot of the first one, so that both can read one table.
//!
//! MariaDB cannot pass the snapshot of one connection to another. But two snapshots have the same rows of a table if no transaction
//! that changed it was committed between them. While a third connection has a read lock of the table, none is: MariaDB grants the
//! lock only when no transaction with changes of the table is open, and later changes wait until it is released. That takes as
//! long as two statements; the lock itself is never waited for.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use super::tables::BaseTable;
use super::{Access, MariaDb};
use crate::engine::{join, quote};
use crate::error::{DatabaseError, Error, Result};

/// Tables with more bytes are read over both connections.
const LARGE: u64 = 8 << 20;

/// How often the lock is tried, and the time between.
const ATTEMPTS: (u32, Duration) = (5, Duration::from_millis(20));

/// Seconds after which MariaDB releases the lock if this process or the network stops.
const LONGEST: u32 = 2;

const BEGIN: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT";

/// The second connection.
pub(super) struct Pair {
    pub(super) other: MariaDb,
    /// The tables of which both snapshots have the same rows.
    tables: BTreeSet<String>,
}

impl Pair {
    /// Whether both snapshots have the same rows of `table`.
    pub(super) fn has(&self, table: &str) -> bool {
        self.tables.contains(table)
    }
}

impl MariaDb {
    /// Opens a transaction with a snapshot; the large ones of `tables` can also be read over a second connection, if it is returned.
    pub(super) fn begin_snapshot<'a>(&mut self, tables: impl Iterator<Item = &'a BaseTable>) -> Result<Option<Pair>> {
        let large = tables.filter(|table| table.bytes >= LARGE && table.rolls_back());
        let large: BTreeSet<String> = large.map(|table| table.name.clone()).collect();
        if !large.is_empty()
            && let Some(pair) = self.begin_pair(large)
        {
            return Ok(Some(pair));
        }
        self.run(BEGIN)?;
        Ok(None)
    }

    /// The same over two connections; `None` if these are not known to have the same snapshot of `tables`, for any reason.
    fn begin_pair(&mut self, tables: BTreeSet<String>) -> Option<Pair> {
        // A node of a Galera cluster applies the changes of other nodes in spite of the lock.
        if !self.is_mariadb() || self.cluster_nodes().ok()?.is_some() {
            return None;
        }
        let mut other = MariaDb::open(&self.address, Access::Read).ok()?;
        let mut lock = MariaDb::open(&self.address, Access::Read).ok()?;
        lock.run(format!("SET SESSION wait_timeout = {LONGEST}")).ok()?;
        lock.lock_at_once(&tables).ok()?;
        let (mine, its) = join(|| self.run(BEGIN), || other.run(BEGIN));
        // It fails if the lock was lost before.
        let released = lock.run("UNLOCK TABLES");
        mine.and(its).and(released).ok()?;
        Some(Pair { other, tables })
    }

    /// Locks `tables` for reading.
    fn lock_at_once(&mut self, tables: &BTreeSet<String>) -> Result<()> {
        let names: Vec<String> = tables.iter().map(|table| format!("{} READ", quote(table))).collect();
        let sql = format!("LOCK TABLES {} NOWAIT", names.join(", "));
        let (mut left, pause) = ATTEMPTS;
        loop {
            left -= 1;
            match self.run(sql.as_str()) {
                Err(Error::Database(DatabaseError::Busy { .. })) if left > 0 => thread::sleep(pause),
                locked => return locked.map(drop),
            }
        }
    }
}
