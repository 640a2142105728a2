//! Whether rows can be changed here: known before a server is stopped for it.

use super::tables::text;
use super::{Access, Address, MariaDb, Transaction};
use crate::engine::EngineKind;
use crate::error::{DatabaseError, Result};
use crate::schema::{self, quote};

/// Tables whose privileges one statement tries.
const TRIED: usize = 100;

impl Address {
    /// Tries the privileges to insert, update and delete in every table, with statements that change no row.
    ///
    /// # Errors
    /// [`DatabaseError`](crate::error::DatabaseError): `ReadOnly` on a replica, `NotMariaDb` on MySQL, `NodeNotReady` in a
    /// Galera cluster, or `AccessDenied` with the missing privilege.
    pub fn check_accepts_writes(&self) -> Result<()> {
        let mut db = MariaDb::open(self, Access::Write)?;
        // Refused by a read-only server, even where the account may do everything else.
        db.run("START TRANSACTION READ WRITE")?;
        db.transaction = Transaction::Open;
        let columns = db.first_columns()?;
        for columns in columns.chunks(TRIED) {
            // One compound statement, which ends with the first error.
            let mut block = "BEGIN NOT ATOMIC ".to_owned();
            for (table, column) in columns {
                let (table, column) = (quote(table), quote(column));
                block.push_str(&format!(
                    "INSERT INTO {table} SELECT * FROM {table} WHERE FALSE; UPDATE {table} SET {column} = {column} WHERE FALSE; \
                     DELETE FROM {table} WHERE FALSE; "
                ));
            }
            db.run(block + "END")?;
        }
        Ok(())
    }

    /// Number of nodes of the Galera cluster that it is a node of; `None` outside one.
    pub fn cluster_nodes(&self) -> Result<Option<u64>> {
        // It reads no table of the database, whatever that is.
        MariaDb::open(self, Access::Read)?.cluster_nodes()
    }
}

impl MariaDb {
    /// Each base table with its first column.
    fn first_columns(&mut self) -> Result<Vec<(String, String)>> {
        let tables: Vec<String> = self.tables()?.into_iter().map(|table| table.name).collect();
        let rows = self.all(
            "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() \
             AND ORDINAL_POSITION = 1",
        )?;
        Ok(rows.iter().map(|row| (text(row, 0), text(row, 1))).filter(|(table, _)| tables.contains(table)).collect())
    }

    /// Fails if a table of the server is a view, or has a generated column: the files of an embedded MariaDB may be an attacker's.
    ///
    /// # Errors
    /// [`DatabaseError::Strange`].
    pub(super) fn check_tables_are_plain(&mut self) -> Result<()> {
        let rows = self.all(
            "SELECT TABLE_NAME, NULL FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'VIEW' \
             UNION ALL SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = DATABASE() AND GENERATION_EXPRESSION IS NOT NULL",
        )?;
        for row in &rows {
            let (table, column) = (row.at(0).text().unwrap_or_default(), row.at(1).text());
            if schema::is_of_server(EngineKind::MariaDb, table) {
                return Err(DatabaseError::strange(self.address.to_string(), table, column).into());
            }
        }
        Ok(())
    }

    /// Fails on MySQL.
    pub fn require_mariadb(&self) -> Result<()> {
        if self.is_mariadb() {
            Ok(())
        } else {
            let (database, version) = (self.address.to_string(), self.version.clone());
            Err(DatabaseError::NotMariaDb { database, version }.into())
        }
    }

    /// See [`Address::cluster_nodes`].
    pub(super) fn cluster_nodes(&mut self) -> Result<Option<u64>> {
        let status =
            "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'wsrep_cluster_size'";
        let rows = self.all(status)?;
        // Without Galera it is 0, or not there.
        let nodes = rows.first().and_then(|row| row.at(0).to_string().parse().ok());
        Ok(nodes.filter(|&nodes: &u64| nodes > 0))
    }
}
