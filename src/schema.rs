//! What a database has: tables, columns, defaults, keys; and which release of the server that makes it.
//!
//! `migrations/` is embedded here: the server's own schema, recorded release by release.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Every table of one database.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// Tables by name; the engine's own bookkeeping tables are left out.
    pub tables: BTreeMap<String, Table>,
}

/// One table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Columns in their order.
    pub columns: Vec<Column>,
    /// Foreign keys, sorted by column.
    pub foreign_keys: Vec<ForeignKey>,
    /// Indexes, sorted by name; SQLite's automatic ones included when they enforce UNIQUE.
    pub indexes: Vec<Index>,
}

/// One column.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as the database spells it.
    pub sql_type: String,
    /// NULL is refused.
    pub not_null: bool,
    /// The default expression as the database spells it.
    pub default: Option<String>,
    /// Part of the primary key.
    pub primary_key: bool,
    /// MariaDB: `auto_increment` and the like; empty on SQLite.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub extra: String,
    /// MariaDB: the character set of a text column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// MariaDB: the collation of a text column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<String>,
}

/// One foreign key of one column.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ForeignKey {
    /// The constraint's name; SQLite keeps none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The referencing column.
    pub column: String,
    /// The referenced table.
    pub table: String,
    /// The referenced column.
    pub to: String,
    /// What an update of the referenced key does.
    pub on_update: String,
    /// What a delete of the referenced row does.
    pub on_delete: String,
}

/// One index.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Values are unique.
    pub unique: bool,
    /// Its columns, in order.
    pub columns: Vec<String>,
}

impl Schema {
    /// The table called `name`.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.get(name)
    }

    /// Whether `table` has `column`.
    pub fn has(&self, table: &str, column: &str) -> bool {
        self.table(table).is_some_and(|table| table.column(column).is_some())
    }

    /// Names of all tables.
    pub fn names(&self) -> BTreeSet<&str> {
        self.tables.keys().map(String::as_str).collect()
    }
}

impl Table {
    /// The column called `name`.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}
