//! What a database has: tables, columns, defaults, keys; and which release of the server that makes it.
//!
//! `migrations/` is embedded here: the server's own schema, recorded release by release.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A release of the server, `2.5.3`. Ordered as releases are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Release {
    /// 1 or 2.
    pub major: u16,
    /// The second number.
    pub minor: u16,
    /// The third number.
    pub patch: u16,
}

impl Release {
    /// The release `major.minor.patch`.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Release { major, minor, patch }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for Release {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('.').map(str::parse);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) => Ok(Release { major, minor, patch }),
            _ => Err(format!("`{text}` is not a release such as 2.5.3")),
        }
    }
}

impl TryFrom<String> for Release {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Release> for String {
    fn from(release: Release) -> String {
        release.to_string()
    }
}

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
