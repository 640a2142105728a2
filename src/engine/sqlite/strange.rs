//! What no release creates, and what would make a small file return any amount of rows and values: views in place of tables, and
//! generated columns. The data folder may belong to an attacker.

use super::Sqlite;
use crate::engine::{Connect as _, EngineKind, Reader as _};
use crate::error::{DatabaseError, Result};
use crate::schema;

impl Sqlite {
    /// Fails if a table of the server is a view, or has a generated column.
    ///
    /// # Errors
    /// [`DatabaseError::Strange`].
    pub(super) fn check_tables_are_plain(&mut self) -> Result<()> {
        let views = self.query("SELECT name FROM sqlite_schema WHERE type = 'view'", &[])?;
        let columns = self.query(
            "SELECT m.name, x.name AS `column` FROM sqlite_schema m, pragma_table_xinfo(m.name) x \
             WHERE m.type = 'table' AND x.hidden IN (2, 3)",
            &[],
        )?;
        let found = views.iter().chain(&columns).map(|row| (row.text("name").unwrap_or_default(), row.text("column")));
        for (table, column) in found {
            if schema::is_of_server(EngineKind::Sqlite, table) {
                return Err(DatabaseError::strange(self.file.describe(), table, column).into());
            }
        }
        Ok(())
    }
}
