//! Tables created again with some of their rows, in the second database that [`Shadow`](crate::engine::Shadow) exchanges:
//! faster than deleting the others when these are many.

use std::collections::BTreeSet;

use super::definition::{counter, find_outside_quotes, rewrite, without_counter};
use super::dump_text::name_of;
use super::fill::{Filler, split_keys};
use super::literal::{quoted, split_definition};
use super::{Address, MariaDb};
use crate::engine::{RowDigest, RowFilter, quote};
use crate::error::{DatabaseError, Error, OperationError, Result};

impl MariaDb {
    /// See [`Shadow::can_keep`](crate::engine::Shadow::can_keep).
    pub(super) fn can_keep_in(&mut self, tables: &[&str]) -> Result<bool> {
        if self.cluster_nodes()?.is_some() {
            return Ok(false);
        }
        match self.check_free() {
            Err(Error::Database(DatabaseError::CannotSwapTables { .. })) => return Ok(false),
            checked => checked?,
        }
        // A table that refers to one of them would have to be exchanged as well.
        let names: Vec<String> = tables.iter().map(|table| quoted(table)).collect();
        let sql = format!(
            "SELECT 1 FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = DATABASE() AND REFERENCED_TABLE_NAME \
             IN ({}) LIMIT 1",
            names.join(", ")
        );
        if !self.all(&sql)?.is_empty() {
            return Ok(false);
        }
        let plain = self.tables()?.into_iter().filter(|table| table.rolls_back()).map(|table| table.name);
        let plain: BTreeSet<String> = plain.collect();
        for table in tables {
            let is_known = plain.contains(*table) && rewrite(&self.definition(table)?).is_some();
            if !is_known {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Creates the tables of `kept` with these rows at `to`, which is empty, and then their keys.
    pub(super) fn make_kept(
        &mut self,
        kept: &[RowFilter],
        to: &Address,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<()> {
        let here = self.address.database.clone();
        let mut filler = Filler::open(to)?;
        for (done, filter) in kept.iter().enumerate() {
            let create = self.definition(&filter.table)?;
            let create = refer_to(&create, &here).ok_or_else(|| self.unknown_definition(&filter.table))?;
            let rows = self.query_for(filter, &here)?;
            filler.make_kept(&create, rows)?;
            progress(done as u64 + 1, kept.len() as u64);
        }
        Ok(())
    }

    fn unknown_definition(&self, table: &str) -> Error {
        self.wrong(format!("the definition of table `{table}` cannot be read"))
    }

    /// The statement that inserts the rows of `filter` into a table of the same name in the database that is used.
    fn query_for(&mut self, filter: &RowFilter, here: &str) -> Result<Vec<u8>> {
        let columns = self.stored_columns(&filter.table)?.join(",");
        let table = quote(&filter.table);
        // In the order of the table, so that its pages are filled one after another.
        let sql = format!(
            "INSERT INTO {table} ({columns}) SELECT {columns} FROM {}.{table} FORCE INDEX (PRIMARY) WHERE {} ORDER BY `id`",
            quote(here),
            filter.condition
        );
        self.filled(&sql, &filter.params)
    }

    /// The columns of `table` that a row stores, quoted.
    fn stored_columns(&mut self, table: &str) -> Result<Vec<String>> {
        let sql = format!(
            "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {} \
             AND EXTRA NOT LIKE '%GENERATED%' ORDER BY ORDINAL_POSITION",
            quoted(table)
        );
        Ok(self.all(&sql)?.iter().map(|row| quote(row.at(0).text().unwrap_or_default())).collect())
    }

    /// See [`Reader::digest`](crate::engine::Reader::digest).
    pub(super) fn digest_rows(&mut self, table: &str, filter: Option<&RowFilter>) -> Result<RowDigest> {
        let filter = match filter {
            Some(filter) => self.filled(&format!(" WHERE {}", filter.condition), &filter.params)?,
            None => Vec::new(),
        };
        let filter = String::from_utf8_lossy(&filter).into_owned();
        let mut hasher = blake3::Hasher::new();
        let mut add = |line: &[u8]| {
            hasher.update(line);
            Ok(())
        };
        let create = self.definition(table)?;
        let rows = self.write_rows(&create, &filter, &mut add, &mut |_| {})?;
        Ok(RowDigest { rows, hash: hasher.finalize() })
    }

    /// The definitions of `tables`.
    pub(super) fn definitions(&mut self, tables: &BTreeSet<String>) -> Result<Vec<String>> {
        tables.iter().map(|table| self.definition(table)).collect()
    }
}

/// Fails unless the definitions of `tables` are `before`, except for the next id, which is not lower.
pub(super) fn check_definitions(tables: &BTreeSet<String>, before: &[String], now: &[String]) -> Result<()> {
    let wrong = tables.iter().zip(before.iter().zip(now)).filter_map(|(table, (was, is))| {
        if without_counter(was) != without_counter(is) {
            Some(format!("`{table}` has another definition than before"))
        } else {
            (counter(is) < counter(was))
                .then(|| format!("another client added rows to `{table}` while its rows were copied"))
        }
    });
    let wrong: Vec<String> = wrong.collect();
    if wrong.is_empty() { Ok(()) } else { Err(Error::Operation(OperationError::ChecksFailed(wrong))) }
}

/// The definition `create` for another database: its foreign keys refer to the tables of the database `here`.
fn refer_to(create: &str, here: &str) -> Option<String> {
    const REFERS: &str = " REFERENCES ";
    let create = rewrite(create)?;
    let (parts, rest) = split_definition(&create)?;
    let table = create.strip_prefix("CREATE TABLE ").and_then(name_of)?;
    let parts = parts.into_iter().map(|part| {
        if !part.starts_with("CONSTRAINT ") || !part.contains(" FOREIGN KEY (") {
            return Some(part.to_owned());
        }
        let at = find_outside_quotes(part, REFERS)? + REFERS.len();
        Some(format!("{}{}.{}", &part[..at], quote(here), &part[at..]))
    });
    let parts: Option<Vec<String>> = parts.collect();
    Some(format!("CREATE TABLE {} ( {} ) {rest}", quote(&table), parts?.join(", ")))
}

impl Filler {
    /// Creates the table of `create`, fills it by the statement `rows`, and then adds its other keys.
    fn make_kept(&mut self, create: &str, rows: Vec<u8>) -> Result<()> {
        let (bare, keys) = split_keys(create);
        // Not `unique_checks = 0`: then MariaDB would sort the rows before it inserts them, in twice the time.
        self.run("SET SESSION check_constraint_checks = 0")?;
        self.run(bare)?;
        self.run(rows)?;
        keys.map_or(Ok(()), |keys| self.run(keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_keys_name_their_database() {
        let create = "CREATE TABLE `a` ( `id` int(11) NOT NULL DEFAULT 1 COMMENT ' REFERENCES `x`', PRIMARY KEY (`id`), CONSTRAINT \
                      ` REFERENCES ` FOREIGN KEY (`id`) REFERENCES `b` (`id`) ON DELETE CASCADE ) ENGINE=InnoDB AUTO_INCREMENT=5";
        let expected = create.replace(" REFERENCES `b`", " REFERENCES `ku``ma`.`b`");
        assert_eq!(refer_to(create, "ku`ma"), Some(expected));
        assert_eq!(refer_to("CREATE TABLE `a` ( `id` int ) DATA DIRECTORY='/etc'", "kuma"), None);
    }
}
