//! What a document asks for: things by name, with what it says about each, and where it says it.

use super::entities::Entity;
use super::fields::{Field, Shape};
use super::view::spelled;
use crate::error::Problem;
use crate::text::At;
use crate::value::Value;

/// Everything that the documents of one run ask for.
#[derive(Clone, Debug, Default)]
pub struct Fixture {
    /// The things, in the order they were written.
    pub things: Vec<Wanted>,
    /// The kinds of things that were written down, if only as empty lists: pruning looks at no others.
    pub kinds: Vec<&'static Entity>,
}

/// One thing that should exist, or a part of one.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What it is.
    pub entity: &'static Entity,
    /// Where it stands.
    pub at: At,
    /// Where it stands in the document: `monitors[3]`.
    pub path: String,
    /// The id it has already, if that was said.
    pub id: Option<i64>,
    /// The name (of a monitor the path) that it had before.
    pub was: Option<String>,
    /// What is not said of it has its default. Otherwise only what is said changes, and it must exist.
    pub whole: bool,
    /// What is said of its columns.
    pub cells: Vec<Said>,
    /// Secrets that an export did not write down: they stay as they are.
    pub left_out: Vec<String>,
    /// Its parts, as far as something is said about them.
    pub parts: Vec<(&'static Entity, Vec<Wanted>)>,
}

/// What is said of one column.
#[derive(Clone, Debug)]
pub struct Said {
    /// The column.
    pub field: &'static Field,
    /// Its value.
    pub value: Meant,
    /// Where it stands.
    pub at: At,
}

/// A value as people mean it.
#[derive(Clone, Debug, PartialEq)]
pub enum Meant {
    /// This value.
    Value(Value),
    /// The thing with this name.
    Named(String),
}

impl Wanted {
    /// What is said of `column`.
    pub fn said(&self, column: &str) -> Option<&Said> {
        self.cells.iter().find(|said| said.field.column == column)
    }

    /// The text that is said of `column`, be it a value or the name of a thing.
    pub fn text(&self, column: &str) -> Option<&str> {
        match &self.said(column)?.value {
            Meant::Value(value) => value.text(),
            Meant::Named(name) => Some(name),
        }
    }

    /// What people know it by: its name, and of a monitor the path, `Group/Name`.
    pub fn name(&self) -> String {
        let name = self.text(self.entity.name).unwrap_or_default();
        match self.entity.key {
            "monitors" if self.entity.owner.is_empty() => match self.text("parent").filter(|parent| !parent.is_empty())
            {
                Some(parent) => format!("{parent}/{name}"),
                None => name.to_owned(),
            },
            "proxies" => {
                let value = |column: &str| match self.said(column).map(|said| &said.value) {
                    Some(Meant::Value(value)) if !value.is_null() => value.to_string(),
                    _ => String::new(),
                };
                proxy_name(&value("protocol"), name, &value("port"))
            }
            _ => name.to_owned(),
        }
    }

    /// Everything that it and its parts refer to, by kind and name.
    pub fn references(&self) -> Vec<(&'static str, String)> {
        let named = self.cells.iter().filter_map(|said| match (&said.value, said.field.shape) {
            (Meant::Named(name), Shape::Reference(to)) => Some((to.entity().key, name.clone())),
            _ => None,
        });
        let of_parts = self.parts.iter().flat_map(|(_, items)| items).flat_map(Wanted::references);
        named.chain(of_parts).collect()
    }

    /// The parts called `key`, if something is said about them.
    pub fn part(&self, key: &str) -> Option<&[Wanted]> {
        self.parts.iter().find(|(part, _)| part.key == key).map(|(_, items)| items.as_slice())
    }

    /// Says that something is wrong with what is said of `column`, or with the thing itself where nothing is said of it.
    pub fn problem(&self, column: &str, message: impl Into<String>) -> Problem {
        let at = self.said(column).map_or(&self.at, |said| &said.at);
        let path = match column {
            "" => self.path.clone(),
            column => format!("{}.{}", self.path, spelled(self.entity, column)),
        };
        Problem::at(at, &path, message)
    }
}

/// What people call a proxy, which has no name of its own.
pub fn proxy_name(protocol: &str, host: &str, port: &str) -> String {
    match port {
        "" => format!("{protocol}://{host}"),
        port => format!("{protocol}://{host}:{port}"),
    }
}
