//! Replaces all tables by those of a dump, including definitions: creates them in a second database, verifies them
//! there, then exchanges the tables by one RENAME.
//!
//! Tested with 10.11.19 and 11.8 and SIGKILL: a RENAME of many tables across databases is completely applied or rolled
//! back when MariaDB restarts; before 10.6 it had no log of such statements, and may apply only a part. Foreign keys
//! move with their tables in both cases, and refer to the tables that then have the old names. So the progress of a
//! RENAME is not recorded: [`swap_back`](Shadow::swap_back) checks which tables are in which database.

use std::collections::BTreeSet;
use std::path::Path;

use super::definition::{counter, without_counter};
use super::fill::{Filler, MANY};
use super::keep::check_definitions;
use super::literal::quoted;
use super::load::{CopiedTable, DumpContent};
use super::tables::text;
use super::{Address, MariaDb};
use crate::engine::{DumpFit, IntegrityError, RowFilter, Shadow, quote};
use crate::error::{DatabaseError, Error, Hint, Result};

/// The suffixes of the two additional databases.
const NEW: &str = "_kumadb_new";
const OLD: &str = "_kumadb_old";
/// The longest name in MariaDB.
const LONGEST: usize = 64;

impl Shadow for MariaDb {
    fn suits(&mut self, from: &Path) -> Result<DumpFit> {
        let copy = DumpContent::read(from)?;
        let alike = self.is_made_like(&copy)?;
        if alike && !self.are_many_missing(&copy)? {
            return Ok(DumpFit::Rows);
        }
        // Loading only rows does not require the privileges and disk space that tables do.
        let rows_would_do = alike || self.compare(&copy).is_ok();
        match (self.check_free(), rows_would_do) {
            (Ok(()), true) => Ok(DumpFit::Either),
            (Ok(()), false) => Ok(DumpFit::Tables),
            (Err(Error::Database(DatabaseError::CannotSwapTables { .. })), true) => Ok(DumpFit::Rows),
            (Err(error), _) => Err(error),
        }
    }

    fn reserve(&mut self) -> Result<()> {
        self.clear()?;
        // Privileges can be granted in too many ways to be computed; an empty database may be created and dropped.
        let tried = self.make_room().and_then(|()| self.clear());
        tried.map_err(|error| self.explain_denied(error))
    }

    fn fill(&mut self, from: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Vec<IntegrityError>> {
        let copy = DumpContent::read(from)?;
        self.lock()?;
        self.clear()?;
        self.make_room()?;
        Filler::open(&self.beside(NEW))?.make_all(&copy, from, progress)
    }

    fn make_empty(&mut self) -> Result<Address> {
        self.check_free()?;
        self.lock()?;
        let made = self.clear().and_then(|()| self.make_room());
        made.map_err(|error| self.explain_denied(error))?;
        Ok(self.beside(NEW))
    }

    fn swap(&mut self) -> Result<()> {
        let (new, here, old) = (self.beside(NEW).database, self.address.database.clone(), self.beside(OLD).database);
        let (arriving, leaving) = (self.names_in(&new)?, self.names_in(&here)?);
        // The old ones first: then a name is always free, and every intermediate state can be recognised.
        self.rename([(&here, &old, &leaving), (&new, &here, &arriving)])
    }

    fn can_keep(&mut self, tables: &[&str]) -> Result<bool> {
        self.can_keep_in(tables)
    }

    fn fill_kept(&mut self, kept: &[RowFilter], progress: &mut dyn FnMut(u64, u64)) -> Result<Address> {
        let beside = self.make_empty()?;
        self.make_kept(kept, &beside, progress)?;
        Ok(beside)
    }

    fn swap_kept(&mut self) -> Result<Address> {
        let (new, here, old) = (self.beside(NEW).database, self.address.database.clone(), self.beside(OLD).database);
        let (arriving, all) = (self.names_in(&new)?, self.names_in(&here)?);
        let before = self.definitions(&all)?;
        self.rename([(&here, &old, &arriving), (&new, &here, &arriving)])?;
        check_definitions(&all, &before, &self.definitions(&all)?)?;
        Ok(self.beside(OLD))
    }

    fn is_swapped(&mut self, tables: &BTreeSet<&str>) -> Result<bool> {
        let (away, aside) = self.exchanged(tables)?;
        Ok(!away.is_empty() || !aside.is_empty())
    }

    fn swap_back(&mut self, tables: &BTreeSet<&str>) -> Result<bool> {
        let (new, here, old) = (self.beside(NEW).database, self.address.database.clone(), self.beside(OLD).database);
        let (away, aside) = self.exchanged(tables)?;
        let moves = !away.is_empty() || !aside.is_empty();
        if moves {
            self.run(format!("CREATE DATABASE IF NOT EXISTS {}", quote(&new)))?;
            self.rename([(&here, &new, &away), (&old, &here, &aside)])?;
        }
        let present = self.names_in(&here)?;
        if !present.iter().map(String::as_str).eq(tables.iter().copied()) {
            let missing = tables.iter().filter(|name| !present.contains(**name)).map(|name| quote(name));
            let missing: Vec<String> = missing.collect();
            return Err(self.wrong(format!(
                "these tables exist neither in the database nor under their temporary \
                                           names: {}",
                missing.join(", ")
            )));
        }
        Ok(moves)
    }

    fn clear(&mut self) -> Result<()> {
        self.run("SET SESSION foreign_key_checks = 0")?;
        for end in [NEW, OLD] {
            let database = self.beside(end).database;
            if self.exists(&database)? {
                self.run(format!("DROP DATABASE {}", quote(&database)))?;
            }
        }
        self.run("SET SESSION foreign_key_checks = 1").map(drop)
    }
}

impl MariaDb {
    /// The address of the additional database with the suffix `end`.
    fn beside(&self, end: &str) -> Address {
        Address { database: format!("{}{end}", self.address.database), ..self.address.clone() }
    }

    /// The new tables in this database, which had `tables`, and the old ones that were set aside.
    fn exchanged(&mut self, tables: &BTreeSet<&str>) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
        let (here, old) = (self.address.database.clone(), self.beside(OLD).database);
        let (present, aside) = (self.names_in(&here)?, self.names_in(&old)?);
        // A table is new if its original was set aside, or if the database did not have it.
        let is_new = |name: &String| aside.contains(name) || !tables.contains(name.as_str());
        Ok((present.into_iter().filter(is_new).collect(), aside))
    }

    /// Whether the tables of `copy` are the same as in this database, including all indexes.
    fn is_made_like(&mut self, copy: &DumpContent) -> Result<bool> {
        let here = self.names_in(&self.address.database.clone())?;
        if !copy.tables.iter().map(|table| &table.name).eq(&here) {
            return Ok(false);
        }
        for table in &copy.tables {
            if without_counter(&self.definition(&table.name)?) != without_counter(&table.create) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether so many rows of `copy` are missing that writing all of them is faster.
    fn are_many_missing(&mut self, copy: &DumpContent) -> Result<bool> {
        let total: u64 = copy.tables.iter().map(|table| table.rows).sum();
        if total < MANY {
            return Ok(false);
        }
        let mut missing = 0;
        for table in &copy.tables {
            let row = self.one(&format!("SELECT COUNT(*) FROM {}", quote(&table.name)))?;
            missing += table.rows.saturating_sub(row.at(0).int().unwrap_or_default().unsigned_abs());
        }
        Ok(missing > total / 2)
    }

    /// # Errors
    /// [`DatabaseError::CannotSwapTables`](crate::error::DatabaseError::CannotSwapTables) if additional databases
    /// cannot have the required name, or tables cannot be exchanged.
    pub(super) fn check_free(&mut self) -> Result<()> {
        let here = self.address.database.clone();
        if here.len() + NEW.len() > LONGEST {
            return Err(self.no_shadow("the name of the database is too long", None));
        }
        // Tables with triggers cannot be moved, and moving tables that other databases refer to would change those.
        for (what, sql) in [
            ("the trigger", "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()"),
            (
                "the foreign key from another database",
                "SELECT CONSTRAINT_NAME FROM information_schema.KEY_COLUMN_USAGE \
                 WHERE REFERENCED_TABLE_SCHEMA = DATABASE() AND TABLE_SCHEMA <> DATABASE()",
            ),
        ] {
            if let Some(row) = self.all(sql)?.first() {
                let why = format!("{what} {} prevents the exchange of tables", quote(&text(row, 0)));
                return Err(self.no_shadow(&why, Some(Hint::advice(format!("drop {what} first")))));
            }
        }
        let old = self.beside(OLD).database;
        if !self.names_in(&old)?.is_empty() {
            let why = format!("database `{old}` contains tables that an earlier restore set aside");
            let look = format!("if you no longer need these tables: DROP DATABASE {}", quote(&old));
            return Err(self.no_shadow(&why, Some(Hint::advice(look))));
        }
        Ok(())
    }

    /// Creates both databases, empty, with the character set of this one.
    fn make_room(&mut self) -> Result<()> {
        let row = self.one("SELECT @@character_set_database, @@collation_database")?;
        let (charset, collation) = (text(&row, 0), text(&row, 1));
        [NEW, OLD].into_iter().try_for_each(|end| {
            let database = quote(&self.beside(end).database);
            self.run(format!("CREATE DATABASE {database} CHARACTER SET {charset} COLLATE {collation}")).map(drop)
        })
    }

    fn explain_denied(&mut self, error: Error) -> Error {
        match error {
            Error::Database(DatabaseError::AccessDenied { .. }) => self.missing_privilege(),
            other => other,
        }
    }

    /// The error of a user without the privilege to create databases, with the statement that grants it.
    fn missing_privilege(&mut self) -> Error {
        let account = self.one("SELECT CURRENT_USER()").map(|row| text(&row, 0)).unwrap_or_default();
        let (user, host) = account.rsplit_once('@').unwrap_or((&account, "%"));
        let pattern = format!("{}\\_kumadb\\_%", self.address.database.replace('_', "\\_").replace('%', "\\%"));
        let grant = format!(
            "as root of MariaDB: GRANT ALL PRIVILEGES ON {}.* TO {}@{}",
            quote(&pattern),
            quoted(user),
            quoted(host)
        );
        let why = format!("user `{}` is not permitted to create databases", self.address.user);
        self.no_shadow(&why, Some(Hint::command(grant)))
    }

    fn no_shadow(&self, why: &str, hint: Option<Hint>) -> Error {
        Error::Database(DatabaseError::CannotSwapTables {
            database: self.address.to_string(),
            why: why.to_owned(),
            hint,
        })
    }

    fn exists(&mut self, database: &str) -> Result<bool> {
        let sql = format!("SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {}", quoted(database));
        Ok(!self.all(&sql)?.is_empty())
    }

    /// The names of all tables in `database`; empty if it does not exist.
    fn names_in(&mut self, database: &str) -> Result<BTreeSet<String>> {
        let rows = self.all(&format!(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} \
             AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')",
            quoted(database)
        ))?;
        Ok(rows.iter().map(|row| text(row, 0)).collect())
    }

    /// One statement that moves tables from one database to another, in this order.
    fn rename(&mut self, moves: [(&str, &str, &BTreeSet<String>); 2]) -> Result<()> {
        let all = moves.iter().flat_map(|(from, to, names)| {
            names.iter().map(move |name| format!("{}.{} TO {}.{}", quote(from), quote(name), quote(to), quote(name)))
        });
        let all: Vec<String> = all.collect();
        if all.is_empty() {
            return Ok(());
        }
        self.run("SET SESSION foreign_key_checks = 0")?;
        let renamed = self.run(format!("RENAME TABLE {}", all.join(", ")));
        self.run("SET SESSION foreign_key_checks = 1")?;
        renamed.map(drop)
    }

    /// Whether `table` has the same definition as in the dump, and its next id is not lower.
    pub(super) fn is_made_as(&mut self, table: &CopiedTable) -> Result<bool> {
        let now = self.definition(&table.name)?;
        Ok(without_counter(&now) == without_counter(&table.create) && counter(&now) >= counter(&table.create))
    }
}
