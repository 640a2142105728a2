//! The keys and indexes of tables.

use super::{Reader as _, Sqlite};
use crate::engine::quote;
use crate::error::Result;
use crate::schema::{ForeignKey, Index};

impl Sqlite {
    pub(super) fn foreign_keys(&mut self, table: &str) -> Result<Vec<ForeignKey>> {
        let mut keys: Vec<ForeignKey> = self
            .query(&format!("PRAGMA foreign_key_list({})", quote(table)), &[])?
            .iter()
            .map(|row| ForeignKey {
                name: None,
                column: row.text("from").unwrap_or_default().to_owned(),
                table: row.text("table").unwrap_or_default().to_owned(),
                to: row.text("to").unwrap_or("id").to_owned(),
                on_update: row.text("on_update").unwrap_or_default().to_owned(),
                on_delete: row.text("on_delete").unwrap_or_default().to_owned(),
            })
            .collect();
        keys.sort();
        Ok(keys)
    }

    pub(super) fn indexes(&mut self, table: &str) -> Result<Vec<Index>> {
        let mut indexes = Vec::new();
        for row in self.query(&format!("PRAGMA index_list({})", quote(table)), &[])? {
            let name = row.text("name").unwrap_or_default().to_owned();
            let columns = self.query(&format!("PRAGMA index_info({})", quote(&name)), &[])?;
            let is_of_all = columns.iter().all(|row| row.text("name").is_some()) && !row.cell("partial").truthy();
            indexes.push(Index {
                unique: row.cell("unique").truthy() && is_of_all,
                columns: columns.iter().filter_map(|row| row.text("name").map(str::to_owned)).collect(),
                name,
            });
        }
        indexes.sort();
        Ok(indexes)
    }
}
