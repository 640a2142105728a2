//! The content of fixtures: items by name, with their fields and positions.

use super::entities::Entity;
use super::fields::{Field, ValueShape};
use super::view::{proxy_name, spelled};
use crate::error::Problem;
use crate::text::At;
use crate::value::Value;

/// The content of all fixtures of one run.
#[derive(Clone, Debug, Default)]
pub struct Fixture {
    /// The items, in the order of the fixtures.
    pub things: Vec<Desired>,
    /// The kinds that the fixtures contain, also as empty lists: only these are pruned.
    pub kinds: Vec<&'static Entity>,
}

/// One item that should exist, or a part of one.
#[derive(Clone, Debug)]
pub struct Desired {
    /// Its kind.
    pub entity: &'static Entity,
    /// Its position.
    pub at: At,
    /// Its path in the fixture: `monitors[3]`.
    pub path: String,
    /// Its existing id, if specified.
    pub id: Option<i64>,
    /// Its former name (for a monitor, its path).
    pub was: Option<String>,
    /// The name of the user it belongs to, if specified.
    pub user: Option<String>,
    /// Unspecified fields get their defaults. Otherwise only specified fields change, and it must exist.
    pub whole: bool,
    /// Its specified fields.
    pub cells: Vec<FieldValue>,
    /// Secrets that an export left out: they are not changed.
    pub left_out: Vec<String>,
    /// Its specified parts.
    pub parts: Vec<(&'static Entity, Vec<Desired>)>,
}

/// One specified field.
#[derive(Clone, Debug)]
pub struct FieldValue {
    /// The column.
    pub field: &'static Field,
    /// Its value.
    pub value: ValueOrRef,
    /// Its position.
    pub at: At,
}

/// A value, or a reference by name.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueOrRef {
    /// This value.
    Value(Value),
    /// The item with this name.
    Named(String),
}

impl Desired {
    /// The specified value of `column`.
    pub fn given(&self, column: &str) -> Option<&FieldValue> {
        self.cells.iter().find(|given| given.field.column == column)
    }

    /// The specified text of `column`: a value or the name of an item.
    pub fn text(&self, column: &str) -> Option<&str> {
        match &self.given(column)?.value {
            ValueOrRef::Value(value) => value.text(),
            ValueOrRef::Named(name) => Some(name),
        }
    }

    /// Its name, or the path of a monitor, `Group/Name`.
    pub fn name(&self) -> String {
        let name = self.text(self.entity.name).unwrap_or_default();
        match self.entity.key {
            "monitors" if self.entity.owner.is_empty() => match self.text("parent").filter(|parent| !parent.is_empty())
            {
                Some(parent) => format!("{parent}/{name}"),
                None => name.to_owned(),
            },
            "proxies" => {
                let value = |column: &str| match self.given(column).map(|given| &given.value) {
                    Some(ValueOrRef::Value(value)) if !value.is_null() => value.to_string(),
                    _ => String::new(),
                };
                proxy_name(&value("protocol"), name, &value("port"))
            }
            _ => name.to_owned(),
        }
    }

    /// Everything that it and its parts refer to, by kind and name.
    pub fn references(&self) -> Vec<(&'static str, String)> {
        let named = self.cells.iter().filter_map(|given| match (&given.value, given.field.shape) {
            (ValueOrRef::Named(name), ValueShape::Reference(to)) => Some((to.entity().key, name.clone())),
            _ => None,
        });
        let of_parts = self.parts.iter().flat_map(|(_, items)| items).flat_map(Desired::references);
        named.chain(of_parts).collect()
    }

    /// The parts with this key, if specified.
    pub fn part(&self, key: &str) -> Option<&[Desired]> {
        self.parts.iter().find(|(part, _)| part.key == key).map(|(_, items)| items.as_slice())
    }

    /// A problem of `column`, or of the item if `column` is not specified.
    pub fn problem(&self, column: &str, message: impl Into<String>) -> Problem {
        let at = self.given(column).map_or(&self.at, |given| &given.at);
        let path = match column {
            "" => self.path.clone(),
            column => format!("{}.{}", self.path, spelled(self.entity, column)),
        };
        Problem::at(at, &path, message)
    }
}
