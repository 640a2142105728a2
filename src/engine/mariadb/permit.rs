//! Whether rows can be changed here: known before a server is stopped for it.

use super::{Access, Address, MariaDb, Transaction};
use crate::engine::EngineKind;
use crate::error::{DatabaseError, Result};
use crate::schema::{self, quote};

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
        let schema = db.read_schema()?;
        for (name, table) in &schema.tables {
            let (Some(column), table) = (table.columns.first(), quote(name)) else { continue };
            let column = quote(&column.name);
            db.run(format!("INSERT INTO {table} SELECT * FROM {table} WHERE FALSE"))?;
            db.run(format!("UPDATE {table} SET {column} = {column} WHERE FALSE"))?;
            db.run(format!("DELETE FROM {table} WHERE FALSE"))?;
        }
        Ok(())
    }

    /// Number of nodes of the Galera cluster that it is a node of; `None` outside one.
    pub fn cluster_nodes(&self) -> Result<Option<u64>> {
        self.read_only()?.cluster_nodes()
    }
}

impl MariaDb {
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
