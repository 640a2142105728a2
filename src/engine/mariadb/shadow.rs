//! Puts a dump in the place of the database, definitions and all: made in a second database beside it, proven there, then
//! exchanged by one RENAME.
//!
//! Found out with 10.11.19 and 11.8 under SIGKILL: a RENAME of many tables across databases is wholly made or wholly undone
//! when MariaDB comes back; before 10.6 it had no log of such statements, and half of one may be left. Foreign keys go with
//! their tables in both cases, and point to the tables that then have the old names. So nothing is noted anywhere about how
//! far a RENAME came: [`swap_back`](Shadow::swap_back) looks which tables are where.

use std::collections::BTreeSet;
use std::path::Path;

use super::fill::{Filler, MANY};
use super::literal::{quoted, split_definition};
use super::load::{CopiedTable, Copy};
use super::tables::text;
use super::{Address, MariaDb};
use crate::engine::{Fault, Fit, Shadow, quote};
use crate::error::{DatabaseError, Error, Hint, Result};

/// What the names of the two databases beside `kuma` end in.
const NEW: &str = "_kumadb_new";
const OLD: &str = "_kumadb_old";
/// The longest name that MariaDB gives to anything.
const LONGEST: usize = 64;

impl Shadow for MariaDb {
    fn suits(&mut self, from: &Path) -> Result<Fit> {
        let copy = Copy::read(from)?;
        let alike = self.is_made_like(&copy)?;
        if alike && !self.lacks_many(&copy)? {
            return Ok(Fit::Rows);
        }
        // Where rows alone would do as well, they do without the rights and the space that tables need.
        let rows_would_do = alike || self.compare(&copy).is_ok();
        match (self.check_free(), rows_would_do) {
            (Ok(()), true) => Ok(Fit::Either),
            (Ok(()), false) => Ok(Fit::Tables),
            (Err(Error::Database(DatabaseError::CannotSwapTables { .. })), true) => Ok(Fit::Rows),
            (Err(error), _) => Err(error),
        }
    }

    fn reserve(&mut self) -> Result<()> {
        self.clear()?;
        // Rights can be granted in too many ways to be worked out; what is empty may be created and dropped.
        match self.make_room().and_then(|()| self.clear()) {
            Err(Error::Database(DatabaseError::AccessDenied { .. })) => Err(self.lacks_right()),
            tried => tried,
        }
    }

    fn fill(&mut self, from: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Vec<Fault>> {
        let copy = Copy::read(from)?;
        self.lock()?;
        self.clear()?;
        self.make_room()?;
        Filler::open(&self.beside(NEW))?.make_all(&copy, from, progress)
    }

    fn swap(&mut self) -> Result<()> {
        let (new, here, old) = (self.beside(NEW).database, self.address.database.clone(), self.beside(OLD).database);
        let (arriving, leaving) = (self.names_in(&new)?, self.names_in(&here)?);
        // The old ones first: then a table is never in the way, and every order in between can be told.
        self.rename([(&here, &old, &leaving), (&new, &here, &arriving)])
    }

    fn swap_back(&mut self, tables: &BTreeSet<&str>) -> Result<bool> {
        let (new, here, old) = (self.beside(NEW).database, self.address.database.clone(), self.beside(OLD).database);
        let (present, aside) = (self.names_in(&here)?, self.names_in(&old)?);
        // A table whose old self stands aside is a new one, and so is one that the database did not have.
        let is_new = |name: &&String| aside.contains(*name) || !tables.contains(name.as_str());
        let away: BTreeSet<String> = present.iter().filter(is_new).cloned().collect();
        let moves = !away.is_empty() || !aside.is_empty();
        if moves {
            self.run(format!("CREATE DATABASE IF NOT EXISTS {}", quote(&new)))?;
            self.rename([(&here, &new, &away), (&old, &here, &aside)])?;
        }
        let present = self.names_in(&here)?;
        if !present.iter().map(String::as_str).eq(tables.iter().copied()) {
            let missing = tables.iter().filter(|name| !present.contains(**name)).map(|name| quote(name));
            let missing: Vec<String> = missing.collect();
            return Err(self.wrong(format!("these tables are neither there nor set aside: {}", missing.join(", "))));
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
    /// The way to the database beside this one whose name ends in `end`.
    fn beside(&self, end: &str) -> Address {
        Address { database: format!("{}{end}", self.address.database), ..self.address.clone() }
    }

    /// Whether the tables of `copy` are those of this database, made in the same way to the last index.
    fn is_made_like(&mut self, copy: &Copy) -> Result<bool> {
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

    /// Whether so many rows of `copy` are missing here that it is faster to write all of them.
    fn lacks_many(&mut self, copy: &Copy) -> Result<bool> {
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
    /// [`DatabaseError::CannotSwapTables`](crate::error::DatabaseError::CannotSwapTables) where databases beside this one cannot have its name, or tables cannot be exchanged with them.
    fn check_free(&mut self) -> Result<()> {
        let here = self.address.database.clone();
        if here.len() + NEW.len() > LONGEST {
            return Err(self.no_shadow("its name is too long", None));
        }
        // Tables with triggers stay in their database, and those that others refer to would take the others along.
        for (what, sql) in [
            ("the trigger", "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()"),
            (
                "the foreign key from another database",
                "SELECT CONSTRAINT_NAME FROM information_schema.KEY_COLUMN_USAGE \
                 WHERE REFERENCED_TABLE_SCHEMA = DATABASE() AND TABLE_SCHEMA <> DATABASE()",
            ),
        ] {
            if let Some(row) = self.all(sql)?.first() {
                let why = format!("{what} {} is in the way", quote(&text(row, 0)));
                return Err(self.no_shadow(&why, Some(Hint::advice("drop it first"))));
            }
        }
        let old = self.beside(OLD).database;
        if !self.names_in(&old)?.is_empty() {
            let why = format!("database `{old}` contains tables that an earlier restore set aside");
            let look = format!("if you do not need them any more: DROP DATABASE {}", quote(&old));
            return Err(self.no_shadow(&why, Some(Hint::advice(look))));
        }
        Ok(())
    }

    /// Makes both databases, empty, with the character set of this one.
    fn make_room(&mut self) -> Result<()> {
        let row = self.one("SELECT @@character_set_database, @@collation_database")?;
        let (charset, collation) = (text(&row, 0), text(&row, 1));
        [NEW, OLD].into_iter().try_for_each(|end| {
            let database = quote(&self.beside(end).database);
            self.run(format!("CREATE DATABASE {database} CHARACTER SET {charset} COLLATE {collation}")).map(drop)
        })
    }

    /// The error of a user who may not make databases, with what gives the right.
    fn lacks_right(&mut self) -> Error {
        let account = self.one("SELECT CURRENT_USER()").map(|row| text(&row, 0)).unwrap_or_default();
        let (user, host) = account.rsplit_once('@').unwrap_or((&account, "%"));
        let pattern = format!("{}\\_kumadb\\_%", self.address.database.replace('_', "\\_").replace('%', "\\%"));
        let grant = format!(
            "as root of MariaDB: GRANT ALL PRIVILEGES ON {}.* TO {}@{}",
            quote(&pattern),
            quoted(user),
            quoted(host)
        );
        let why = format!("user `{}` may not create databases", self.address.user);
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

    /// The names of all tables in `database`; none where it does not exist.
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

    /// Whether `table` is made as it is in its copy, and its next row gets no lower number.
    pub(super) fn is_made_as(&mut self, table: &CopiedTable) -> Result<bool> {
        let now = self.definition(&table.name)?;
        Ok(without_counter(&now) == without_counter(&table.create) && counter(&now) >= counter(&table.create))
    }
}

/// `create` without the number that its next row gets.
fn without_counter(create: &str) -> String {
    match split_counter(create) {
        Some((before, _, after)) => format!("{before}{after}"),
        None => create.to_owned(),
    }
}

/// The number that the next row of the table made by `create` gets.
fn counter(create: &str) -> u64 {
    split_counter(create).and_then(|(_, number, _)| number.parse().ok()).unwrap_or(0)
}

/// `create` before, in and after the option that holds the counter.
fn split_counter(create: &str) -> Option<(&str, &str, &str)> {
    const OPTION: &str = " AUTO_INCREMENT=";
    let (_, rest) = split_definition(create)?;
    let end = create.len() - rest.len();
    let at = end + rest.find(OPTION)?;
    let digits = &create[at + OPTION.len()..];
    let length = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    Some((&create[..at], &digits[..length], &digits[length..]))
}
