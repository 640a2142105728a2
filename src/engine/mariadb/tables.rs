//! Tables, their definitions, and checks.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{AT_ONCE, IntegrityError, quote, read_numbers};
use super::literal::quoted;
use super::{MariaDb, Reader as _};
use crate::error::Result;
use crate::schema::{Column, ForeignKey, Index, Schema, Table, enum_choices, foreign_keys};
use crate::value::Row;

/// A table with more rows is asked about in a statement of its own: ALTER TABLE of all tables in a statement waits for its end.
const LARGE: u64 = 20_000;

/// One base table.
pub(super) struct BaseTable {
    pub(super) name: String,
    pub(super) engine: String,
    /// MariaDB's estimate of its rows.
    pub(super) estimate: u64,
    /// The bytes of its rows, as MariaDB estimates them.
    pub(super) bytes: u64,
}

impl BaseTable {
    /// Whether its engine supports transactions.
    pub(super) fn rolls_back(&self) -> bool {
        self.engine.eq_ignore_ascii_case("InnoDB")
    }
}

/// One foreign key with all its columns.
struct Reference {
    table: String,
    columns: Vec<String>,
    parent: String,
    parent_columns: Vec<String>,
}

impl MariaDb {
    /// All base tables of the database, sorted by name.
    pub(super) fn tables(&mut self) -> Result<Vec<BaseTable>> {
        let rows = self.all(
            "SELECT TABLE_NAME, ENGINE, TABLE_ROWS, DATA_LENGTH FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() \
             AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')",
        )?;
        let mut tables: Vec<BaseTable> = rows
            .iter()
            .map(|row| BaseTable {
                name: text(row, 0),
                engine: text(row, 1),
                estimate: row.at(2).int().unwrap_or_default().unsigned_abs(),
                bytes: row.at(3).int().unwrap_or_default().unsigned_abs(),
            })
            .collect();
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tables)
    }

    /// Tables, columns, keys and indexes, read once each for all tables.
    pub(super) fn read_schema(&mut self) -> Result<Schema> {
        let mut schema = Schema::default();
        for table in self.tables()? {
            schema.tables.insert(table.name, Table::default());
        }
        for row in self.all(
            "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, COLUMN_KEY, EXTRA, \
             CHARACTER_SET_NAME, COLLATION_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() \
             ORDER BY TABLE_NAME, ORDINAL_POSITION",
        )? {
            let Some(table) = schema.tables.get_mut(&text(&row, 0)) else { continue };
            let sql_type = text(&row, 2);
            table.columns.push(Column {
                name: text(&row, 1),
                choices: enum_choices(&sql_type),
                sql_type,
                not_null: row.at(3).text() == Some("NO"),
                // MariaDB prints a default of NULL; a column without a default has none.
                default: row.at(4).text().filter(|default| *default != "NULL").map(str::to_owned),
                primary_key: row.at(5).text() == Some("PRI"),
                extra: text(&row, 6),
                charset: row.at(7).text().map(str::to_owned),
                collation: row.at(8).text().map(str::to_owned),
            });
        }
        for row in self.all(
            "SELECT k.TABLE_NAME, k.CONSTRAINT_NAME, k.COLUMN_NAME, k.REFERENCED_TABLE_NAME, k.REFERENCED_COLUMN_NAME, \
             r.UPDATE_RULE, r.DELETE_RULE FROM information_schema.KEY_COLUMN_USAGE k \
             JOIN information_schema.REFERENTIAL_CONSTRAINTS r ON r.CONSTRAINT_SCHEMA = DATABASE() \
             AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME \
             WHERE k.TABLE_SCHEMA = DATABASE() AND k.CONSTRAINT_SCHEMA = DATABASE() AND k.REFERENCED_TABLE_NAME IS NOT NULL",
        )? {
            let Some(table) = schema.tables.get_mut(&text(&row, 0)) else { continue };
            table.foreign_keys.push(ForeignKey {
                name: Some(text(&row, 1)),
                column: text(&row, 2),
                table: text(&row, 3),
                to: text(&row, 4),
                on_update: text(&row, 5),
                on_delete: text(&row, 6),
            });
        }
        // Hidden from an account that may only read.
        if schema.tables.values().all(|table| table.foreign_keys.is_empty()) {
            for (name, table) in &mut schema.tables {
                let created = self.one(&format!("SHOW CREATE TABLE {}", quote(name)))?;
                table.foreign_keys = foreign_keys(created.at(1).text().unwrap_or_default());
            }
        }
        self.read_indexes(&mut schema)?;
        for table in schema.tables.values_mut() {
            table.foreign_keys.sort_by(|a, b| (&a.column, &a.name).cmp(&(&b.column, &b.name)));
            table.indexes.sort();
        }
        Ok(schema)
    }

    fn read_indexes(&mut self, schema: &mut Schema) -> Result<()> {
        for row in self.all(
            "SELECT TABLE_NAME, INDEX_NAME, NON_UNIQUE, COLUMN_NAME FROM information_schema.STATISTICS \
             WHERE TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX",
        )? {
            let Some(table) = schema.tables.get_mut(&text(&row, 0)) else { continue };
            let name = text(&row, 1);
            match table.indexes.last_mut().filter(|index| index.name == name) {
                Some(index) => index.columns.push(text(&row, 3)),
                None => {
                    let unique = row.at(2).int() == Some(0);
                    table.indexes.push(Index { name, unique, columns: vec![text(&row, 3)] });
                }
            }
        }
        Ok(())
    }

    /// The faults that `CHECK TABLE … how` reports.
    pub(super) fn check_tables(&mut self, how: &str) -> Result<Vec<IntegrityError>> {
        let names: Vec<String> = self.tables()?.iter().map(|table| quote(&table.name)).collect();
        let mut faults = Vec::new();
        // It opens and closes one table after the other.
        for names in names.chunks(AT_ONCE) {
            for row in self.all(&format!("CHECK TABLE {} {how}", names.join(", ")))? {
                let (kind, message) = (text(&row, 2).to_lowercase(), text(&row, 3));
                if kind == "error" || kind == "warning" || (kind == "status" && message != "OK") {
                    // `database.table`.
                    let place = text(&row, 0);
                    let table = place.get(self.address.database.len() + 1..).unwrap_or(&place);
                    faults.push(IntegrityError { what: format!("`{table}`: {message}"), rows: 0 });
                }
            }
        }
        Ok(faults)
    }

    /// Broken foreign keys of the tables `only`, or of all, also where a trigger can have changed others; counted by one anti-join
    /// each, many in one statement.
    pub(super) fn check_references(&mut self, only: Option<&BTreeSet<String>>) -> Result<Vec<IntegrityError>> {
        let tables = self.tables()?;
        let is_large = |name: &str| tables.iter().any(|table| table.name == name && table.estimate > LARGE);
        let (mut together, mut alone) = (Vec::new(), Vec::new());
        let (references, has_triggers) = self.references()?;
        let is_checked =
            |reference: &Reference| has_triggers || only.is_none_or(|only| only.contains(&reference.table));
        for reference in references.into_iter().filter(is_checked) {
            let columns: Vec<String> = reference
                .columns
                .iter()
                .map(|column| format!("{}.{}", quote(&reference.table), quote(column)))
                .collect();
            let what = format!("{} refers to a `{}` that does not exist", columns.join(", "), reference.parent);
            let given: Vec<String> =
                reference.columns.iter().map(|column| format!("c.{} IS NOT NULL", quote(column))).collect();
            let mut sql = format!("SELECT COUNT(*) FROM {} c", quote(&reference.table));
            let mut desired = given;
            if tables.iter().any(|table| table.name == reference.parent) {
                let pairs = reference.columns.iter().zip(&reference.parent_columns);
                let pairs: Vec<String> =
                    pairs.map(|(column, to)| format!("p.{} = c.{}", quote(to), quote(column))).collect();
                sql.push_str(&format!(" LEFT JOIN {} p ON {}", quote(&reference.parent), pairs.join(" AND ")));
                desired.extend(reference.parent_columns.iter().take(1).map(|to| format!("p.{} IS NULL", quote(to))));
            }
            let counted = (what, format!("{sql} WHERE {}", desired.join(" AND ")));
            if is_large(&reference.table) { alone.push(vec![counted]) } else { together.push(counted) }
        }
        let mut faults = Vec::new();
        for counted in alone.into_iter().chain([together]) {
            let (what, counts): (Vec<_>, Vec<_>) = counted.into_iter().unzip();
            let rows = read_numbers(self, &counts)?.into_iter().map(i64::unsigned_abs);
            faults.extend(what.into_iter().zip(rows).map(|(what, rows)| IntegrityError { what, rows }));
        }
        faults.retain(|fault| fault.rows > 0);
        Ok(faults)
    }

    /// The references, and whether a table has a trigger.
    fn references(&mut self) -> Result<(Vec<Reference>, bool)> {
        let rows = self.all(
            "SELECT TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME, \
             EXISTS (SELECT * FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = DATABASE()) \
             FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = DATABASE() AND REFERENCED_TABLE_NAME IS NOT NULL \
             ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION",
        )?;
        let has_triggers = rows.first().is_some_and(|row| row.at(5).truthy());
        let mut references: BTreeMap<(String, String), Reference> = BTreeMap::new();
        for row in rows {
            let reference = references.entry((text(&row, 0), text(&row, 1))).or_insert_with(|| Reference {
                table: text(&row, 0),
                columns: Vec::new(),
                parent: text(&row, 3),
                parent_columns: Vec::new(),
            });
            reference.columns.push(text(&row, 2));
            reference.parent_columns.push(text(&row, 4));
        }
        Ok((references.into_values().collect(), has_triggers))
    }

    /// Other objects of the database, each as the statement that creates it, on one line. The server itself has none; a
    /// dump lists them in comments, and a load ignores them.
    pub fn extras(&mut self) -> Result<Vec<String>> {
        let database = quoted(&self.address.database.clone());
        let found = self.query(
            &format!(
                "SELECT 'VIEW', TABLE_NAME, 1 FROM information_schema.VIEWS WHERE TABLE_SCHEMA = {database} \
                 UNION ALL SELECT 'TRIGGER', TRIGGER_NAME, 2 FROM information_schema.TRIGGERS \
                 WHERE TRIGGER_SCHEMA = {database} \
                 UNION ALL SELECT ROUTINE_TYPE, ROUTINE_NAME, 2 FROM information_schema.ROUTINES \
                 WHERE ROUTINE_SCHEMA = {database} AND ROUTINE_TYPE IN ('PROCEDURE', 'FUNCTION') \
                 UNION ALL SELECT 'EVENT', EVENT_NAME, 3 FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {database} \
                 ORDER BY 1, 2"
            ),
            &[],
        )?;
        let mut extras = Vec::new();
        for row in found {
            let (kind, name) = (text(&row, 0), text(&row, 1));
            let at = row.at(2).int().and_then(|at| usize::try_from(at).ok()).unwrap_or_default();
            let made = self.one(&format!("SHOW CREATE {kind} {}", quote(&name)))?;
            // Without the privilege to read the body, only the name.
            let made = made.at(at).text().map_or_else(|| format!("{kind} {}", quote(&name)), str::to_owned);
            extras.push(made.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        Ok(extras)
    }
}

pub(super) fn text(row: &Row, at: usize) -> String {
    row.at(at).text().unwrap_or_default().to_owned()
}
