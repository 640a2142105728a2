//! MariaDB: over TCP, with TLS or without, or through its Unix socket.
//!
//! Statements are sent as text with their parameters as literals, because text results contain every cell exactly as MariaDB prints it:
//! invalid dates, decimals, floats. A connection owns a runtime; nothing is shared, and nothing is async for the caller, which may use
//! one connection inside a callback of another.

mod address;
mod block;
mod collation;
mod connect;
mod copied;
mod create;
mod definition;
mod dump;
mod dump_text;
mod fault;
mod fill;
mod keep;
mod literal;
mod load;
mod pair;
mod permit;
pub mod regroup;
mod rows;
pub mod scratch;
mod shadow;
mod tables;
mod texts;
mod transfer;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use tokio::runtime::Runtime;

pub use address::{Address, Tls};
pub use collation::compared;
pub use copied::{DumpedRows, DumpedTables, read_dumped_tables, stream_dumped_rows};
pub use create::{PendingCreate, UNFINISHED};
pub use dump::filter_dump;
pub use fill::split_keys;
pub use load::count_dump;
pub use transfer::Transferred;

use self::{block::Rows, connect::connect, literal::LiteralKind};
use super::{
    Connect, Counts, Depth, EngineKind, IntegrityError, Reader, RowDigest, RowFilter, Shadow, WriteKey, Writer, join,
};
use crate::cancel::Cancel;
use crate::error::{DatabaseError, Error, Result};
use crate::schema::Schema;
use crate::text::bytes;
use crate::value::{Row, Value};

/// Timeout for closing a connection.
const GOODBYE_TIME: Duration = Duration::from_secs(5);
/// Seconds to wait for a lock.
const LOCK_SECONDS: u32 = 5;
/// Bytes of one INSERT with many rows, unless a single row is larger.
const BATCH: usize = 1 << 20;

/// The SQL mode of every connection. Strict, so that nothing is truncated silently; an id of 0 stays 0; `||`
/// concatenates, as in SQLite; dates such as 0000-00-00 are allowed.
const SQL_MODE: &str =
    "STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION,PIPES_AS_CONCAT,ALLOW_INVALID_DATES";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

impl Connect for Address {
    fn kind(&self) -> EngineKind {
        EngineKind::MariaDb
    }

    fn describe(&self) -> String {
        self.to_string()
    }

    fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }

    fn reader(&self) -> Result<Box<dyn Reader>> {
        Ok(Box::new(self.read_only()?))
    }

    fn writer(&self, _key: &WriteKey) -> Result<Box<dyn Writer>> {
        Ok(Box::new(MariaDb::open(self, Access::Write)?))
    }
}

impl Address {
    /// Opens it for reading: the server rejects every change on such a connection.
    pub fn read_only(&self) -> Result<MariaDb> {
        let mut db = MariaDb::open(self, Access::Read)?;
        db.check_tables_are_plain()?;
        Ok(db)
    }
}

/// One open connection.
pub struct MariaDb {
    /// `Some` until the connection is dropped.
    conn: Option<Conn>,
    runtime: Runtime,
    address: Address,
    access: Access,
    version: String,
    /// The number of this connection on the server.
    id: u64,
    /// Whether what is being done must be finished.
    finishes: bool,
    /// The longest statement that the server accepts, in bytes.
    max_packet: usize,
    transaction: Transaction,
    /// How many times it has taken the lock of this database without releasing it.
    locks: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transaction {
    None,
    Open,
    /// Rolled back by the server (deadlock, timeout): further statements would be committed individually, so they are
    /// rejected.
    Lost,
}

impl MariaDb {
    fn open(address: &Address, access: Access) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
            Error::Database(DatabaseError::Unreachable { address: address.place(), why: error.to_string() })
        })?;
        let conn = runtime.block_on(connect(address))?;
        let mut db = MariaDb {
            conn: Some(conn),
            runtime,
            address: address.clone(),
            access,
            version: String::new(),
            id: 0,
            finishes: false,
            max_packet: BATCH,
            transaction: Transaction::None,
            locks: 0,
        };
        let row = db.one("SELECT VERSION(), @@max_allowed_packet, CONNECTION_ID()")?;
        db.version = row.at(0).text().unwrap_or_default().to_owned();
        db.max_packet = row.at(1).int().and_then(|n| usize::try_from(n).ok()).unwrap_or(BATCH);
        db.id = row.at(2).int().unwrap_or_default().unsigned_abs();
        // Long read and write timeouts: a callback may wait for the user. UTC: so that a TIMESTAMP is read correctly,
        // and a DATETIME default is as the server expects it.
        let mut setup = format!(
            "SET NAMES utf8mb4, SESSION sql_mode = '{SQL_MODE}', time_zone = '+00:00', autocommit = 1, \
             lock_wait_timeout = {LOCK_SECONDS}, innodb_lock_wait_timeout = {LOCK_SECONDS}, net_read_timeout = 3600, \
             net_write_timeout = 3600, wait_timeout = 28800, sql_quote_show_create = 1, foreign_key_checks = 1, \
             unique_checks = 1, sql_auto_is_null = 0"
        );
        match db.is_mariadb() {
            true => setup.push_str(", max_statement_time = 0"),
            false if access == Access::Write => db.require_mariadb()?,
            false => {}
        }
        db.run(setup)?;
        let mode = if access == Access::Read { ", READ ONLY" } else { "" };
        db.run(format!("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ{mode}"))?;
        Ok(db)
    }

    /// The version of the server: `10.11.18-MariaDB-0+deb12u1`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether it is MariaDB; MySQL has the same protocol, but Uptime Kuma does not support it.
    pub fn is_mariadb(&self) -> bool {
        self.version.contains("MariaDB")
    }

    fn wrong(&self, message: impl Into<String>) -> Error {
        Error::Database(DatabaseError::Sql { database: self.address.to_string(), message: message.into() })
    }

    /// Runs one statement that returns the number of rows.
    fn run(&mut self, sql: impl Into<Vec<u8>>) -> Result<u64> {
        let conn = self.conn.as_mut().ok_or_else(|| fault::explain(&self.address, closed()))?;
        let sql = sql.into();
        if sql.len() >= self.max_packet {
            // MariaDB would close the connection while it is being sent.
            let message = format!(
                "one statement of {} is larger than `max_allowed_packet` of MariaDB, {}",
                bytes(sql.len() as u64),
                bytes(self.max_packet as u64)
            );
            return Err(DatabaseError::Sql { database: self.address.to_string(), message }.into());
        }
        let outcome = block::until(&self.runtime, &self.address, (!self.finishes).then_some(self.id), async {
            let result = conn.query_iter(sql).await?;
            let rows = result.affected_rows();
            result.drop_result().await?;
            Ok(rows)
        });
        outcome.map_err(|error| {
            if self.transaction == Transaction::Open
                && matches!(
                    error,
                    Error::Database(DatabaseError::Busy { .. }) | Error::Database(DatabaseError::Unreachable { .. })
                )
            {
                self.transaction = Transaction::Lost;
            }
            error
        })
    }

    /// Runs one statement that returns rows.
    fn rows(&mut self, sql: impl Into<Vec<u8>>) -> Result<Rows<'_>> {
        let conn = self.conn.as_mut().ok_or_else(|| fault::explain(&self.address, closed()))?;
        let sql = sql.into();
        let id = (!self.finishes).then_some(self.id);
        let result = block::until(&self.runtime, &self.address, id, conn.query_iter(sql))?;
        let found = result.columns_ref();
        let columns = found.iter().map(|column| column.name_str().into_owned()).collect();
        let shapes = found.iter().map(LiteralKind::of).collect();
        let (runtime, address) = (&self.runtime, &self.address);
        Ok(Rows { result, runtime, address, id, columns, shapes })
    }

    /// All rows of an internal statement.
    fn all(&mut self, sql: &str) -> Result<Vec<Row>> {
        let mut all = Vec::new();
        self.rows(sql)?.each(&mut |row| {
            all.push(row);
            Ok(())
        })?;
        Ok(all)
    }

    /// The single row of an internal statement.
    fn one(&mut self, sql: &str) -> Result<Row> {
        self.all(sql)?.into_iter().next().ok_or_else(|| self.wrong("the query returned no rows"))
    }

    fn filled(&self, sql: &str, params: &[Value]) -> Result<Vec<u8>> {
        literal::fill(sql, params).map_err(|message| self.wrong(message))
    }

    /// A read-only connection accepts only queries: `SET`, for example, could remove its limits.
    fn allow_question(&self, sql: &str) -> Result<()> {
        const QUESTIONS: [&str; 7] = ["SELECT", "WITH", "SHOW", "EXPLAIN", "DESCRIBE", "DESC", "VALUES"];
        if self.access == Access::Write || QUESTIONS.contains(&literal::verb(sql).as_str()) {
            return Ok(());
        }
        Err(DatabaseError::ReadOnly {
            database: self.address.to_string(),
            why: "kumadb opened this connection for reading",
        }
        .into())
    }

    /// The name of the lock that a kumadb process on another machine uses too.
    fn lock_name(&self) -> String {
        // MariaDB accepts names of up to 64 characters.
        let name: String = self.address.database.chars().take(40).collect();
        literal::quoted(&format!("kumadb {name}"))
    }

    /// Runs one statement, unless its transaction was rolled back.
    fn change(&mut self, sql: impl Into<Vec<u8>>) -> Result<u64> {
        if self.transaction == Transaction::Lost {
            return Err(self.wrong("MariaDB rolled back the transaction"));
        }
        self.run(sql)
    }

    /// Locks this database until the connection ends or the lock is released.
    fn lock(&mut self) -> Result<()> {
        let lock = self.one(&format!("SELECT GET_LOCK({}, 0)", self.lock_name()))?;
        match lock.at(0).int() {
            Some(1) => {
                self.locks += 1;
                Ok(())
            }
            _ => Err(DatabaseError::Busy { database: self.address.to_string() }.into()),
        }
    }

    fn release(&mut self) -> Result<()> {
        self.run(self.release_statement())?;
        self.locks = self.locks.saturating_sub(1);
        Ok(())
    }

    fn release_statement(&self) -> String {
        format!("DO RELEASE_LOCK({})", self.lock_name())
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        let Some(mut conn) = self.conn.take() else { return };
        let undo = self.transaction == Transaction::Open;
        // Waits, so that the next connection does not meet the locks of this one. Closing the connection does the same,
        // but later.
        let release = (self.locks > 0).then(|| self.release_statement());
        let goodbye = async {
            if undo {
                conn.query_drop("ROLLBACK").await?;
            }
            if let Some(release) = release {
                conn.query_drop(release).await?;
            }
            conn.disconnect().await
        };
        let _ = self.runtime.block_on(async { tokio::time::timeout(GOODBYE_TIME, goodbye).await });
    }
}

fn closed() -> mysql_async::Error {
    mysql_async::DriverError::ConnectionClosed.into()
}

impl Reader for MariaDb {
    fn kind(&self) -> EngineKind {
        EngineKind::MariaDb
    }

    fn stream(&mut self, sql: &str, params: &[Value], each: &mut dyn FnMut(Row) -> Result<()>) -> Result<()> {
        self.allow_question(sql)?;
        let sql = self.filled(sql, params)?;
        self.rows(sql)?.each(each)
    }

    fn more(&self) -> Option<Box<dyn Connect>> {
        (self.transaction == Transaction::None).then(|| Box::new(self.address.clone()) as Box<dyn Connect>)
    }

    fn schema(&mut self) -> Result<Schema> {
        self.read_schema()
    }

    fn differences(&mut self, from: &Path) -> Result<Vec<String>> {
        self.differences_from(&load::read_definitions(from)?)
    }

    fn digest(&mut self, table: &str, filter: Option<&RowFilter>) -> Result<RowDigest> {
        self.digest_rows(table, filter)
    }

    /// Inside a transaction only references are checked, for any `depth`: `CHECK TABLE` would commit.
    fn check(&mut self, depth: Depth) -> Result<Vec<IntegrityError>> {
        let mut faults = match depth {
            _ if self.transaction == Transaction::Open => Vec::new(),
            Depth::References => Vec::new(),
            Depth::Structure | Depth::Quick => self.check_tables("QUICK")?,
            Depth::Full => self.check_tables("EXTENDED")?,
        };
        if depth != Depth::Structure {
            faults.extend(self.check_references(None)?);
        }
        Ok(faults)
    }

    fn dump(&mut self, to: &Path, without: &[String], progress: &mut dyn FnMut(u64, u64)) -> Result<Counts> {
        self.write_dump(to, without, progress)
    }
}

impl Writer for MariaDb {
    /// Also fails immediately if another kumadb process, on any machine, is writing to the same database, or if a table
    /// cannot be rolled back.
    fn begin(&mut self) -> Result<()> {
        if self.transaction != Transaction::None {
            return Err(self.wrong("a transaction is already open"));
        }
        let tables = self.tables()?;
        if let Some(table) = tables.iter().find(|table| !table.rolls_back()) {
            let (table, engine) = (table.name.clone(), table.engine.clone());
            return Err(DatabaseError::NoTransactions { table, engine }.into());
        }
        self.lock()?;
        self.run("START TRANSACTION")?;
        self.transaction = Transaction::Open;
        Ok(())
    }

    /// Inside a transaction, statements that would end it (`CREATE`, `ALTER`, …) are rejected; run them before
    /// [`begin`](Writer::begin).
    fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64> {
        const HARMLESS: [&str; 8] = ["INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "SELECT", "SET", "SAVEPOINT"];
        let verb = literal::verb(sql);
        if self.transaction == Transaction::Open && !HARMLESS.contains(&verb.as_str()) {
            return Err(self.wrong(format!("`{verb}` would end the transaction")));
        }
        let sql = self.filled(sql, params)?;
        self.change(sql)
    }

    fn check_changed(&mut self, changed: &BTreeSet<String>) -> Result<Vec<IntegrityError>> {
        self.check_references(Some(changed))
    }

    /// The next statement is built while MariaDB executes the previous one.
    fn insert(&mut self, table: &str, columns: &[&str], rows: &mut dyn Iterator<Item = Vec<Value>>) -> Result<u64> {
        let limit = BATCH.min(self.max_packet.saturating_sub(1024));
        let (queue, statements) = mpsc::sync_channel(1);
        let write = || {
            let mut send = |statement| queue.send(statement).is_ok();
            let written = literal::write_inserts(table, columns, rows, limit, &mut send);
            drop(queue);
            written
        };
        let send = || {
            let statements = statements;
            statements.iter().try_for_each(|statement| self.change(statement).map(drop))
        };
        let (written, sent) = join(write, send);
        sent?;
        written.map_err(|message| self.wrong(message))
    }

    fn commit(&mut self) -> Result<()> {
        self.finishes = true;
        match self.change("COMMIT") {
            Ok(_) => {
                self.transaction = Transaction::None;
                // Closing the connection releases the lock too; the change is committed in any case.
                let _ = self.release();
                Ok(())
            }
            Err(Error::Database(DatabaseError::Unreachable { .. })) => {
                Err(DatabaseError::CommitInDoubt { database: self.address.to_string() }.into())
            }
            Err(other) => Err(other),
        }
    }

    fn rollback(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.transaction, Transaction::None) == Transaction::None {
            return Ok(());
        }
        self.finishes = true;
        match self.run("ROLLBACK").and_then(|_| self.release()) {
            // A closed connection has rolled back already.
            Err(Error::Database(DatabaseError::Unreachable { .. })) => Ok(()),
            other => other,
        }
    }

    fn load(&mut self, from: &Path, without: &[String], progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        self.load_dump(from, without, progress)
    }

    fn shadow(&mut self) -> Option<&mut dyn Shadow> {
        Some(self)
    }
}
