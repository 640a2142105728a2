//! The tree of a file: every value has its file, line and column.
//!
//! YAML, JSON, TOML and CSV are read into this tree, so that problems have a position in any of them.

pub use crate::text::At;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value as Json;

/// One value of a file.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its position.
    pub at: At,
    /// Its data.
    pub data: Data,
}

/// The data of a value.
#[derive(Clone, Debug)]
pub enum Data {
    /// Null.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// Any other number.
    Real(f64),
    /// Text.
    Text(String),
    /// A number whose text contains more than its value: `1.10`, `0755`, `0x1F`. Fields for text keep the text.
    Written(String, Box<Data>),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file.
    Map(Vec<Entry>),
}

/// One entry of a map.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// The position of the key.
    pub at: At,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// A value at `at`.
    pub fn new(at: At, data: impl Into<Data>) -> Node {
        Node { at, data: data.into() }
    }

    /// A map of `entries` at `at`; each key has the position of its value.
    pub fn map(at: At, entries: impl IntoIterator<Item = (&'static str, Node)>) -> Node {
        let entry = |(key, value): (&'static str, Node)| Entry { key: key.to_owned(), at: value.at.clone(), value };
        Node { at, data: Data::Map(entries.into_iter().map(entry).collect()) }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A text, number or Boolean as text; `None` for other values.
    pub fn scalar(&self) -> Option<String> {
        match &self.data {
            Data::Bool(yes) => Some(yes.to_string()),
            Data::Int(n) => Some(n.to_string()),
            Data::Real(x) => Some(x.to_string()),
            Data::Text(text) | Data::Written(text, _) => Some(text.clone()),
            Data::Null | Data::List(_) | Data::Map(_) => None,
        }
    }

    /// The integer, if it is one or a text that is one.
    pub fn int(&self) -> Option<i64> {
        match &self.data {
            Data::Int(n) => Some(*n),
            Data::Real(x) => whole(*x),
            Data::Text(text) => text.trim().parse().ok().or_else(|| whole(text.trim().parse().ok()?)),
            Data::Written(_, number) => match **number {
                Data::Int(n) => Some(n),
                Data::Real(x) => whole(x),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether it is true: `true`, a number other than 0, and common words for it.
    pub fn truthy(&self) -> bool {
        match &self.data {
            Data::Bool(yes) => *yes,
            Data::Int(n) => *n != 0,
            Data::Text(text) => matches!(text.trim().to_ascii_lowercase().as_str(), "true" | "yes" | "on" | "1"),
            _ => false,
        }
    }

    /// The items of a list; empty for other values.
    pub fn list(&self) -> &[Node] {
        match &self.data {
            Data::List(items) => items,
            _ => &[],
        }
    }

    /// The entries of a map; empty for other values.
    pub fn entries(&self) -> &[Entry] {
        match &self.data {
            Data::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of `key` in a map.
    pub fn find(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The value of the first of `keys` that exists and is not null.
    pub fn first(&self, keys: &[&str]) -> Option<&Node> {
        keys.iter().filter_map(|key| self.find(key)).find(|node| !node.is_null())
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self.data, Data::Null)
    }

    /// Its type, for messages: `a list`.
    pub fn noun(&self) -> &'static str {
        match self.data {
            Data::Null => "an empty value",
            Data::Bool(_) => "a boolean",
            Data::Int(_) | Data::Real(_) | Data::Written(..) => "a number",
            Data::Text(_) => "text",
            Data::List(_) => "a list",
            Data::Map(_) => "a map",
        }
    }

    /// The same value without positions.
    pub fn json(&self) -> Json {
        self.data.json()
    }

    /// `json` as a tree whose values all have the position `at`.
    pub fn from_json(at: &At, json: &Json) -> Node {
        let data = match json {
            Json::Null => Data::Null,
            Json::Bool(yes) => Data::Bool(*yes),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(n), _) => Data::Int(n),
                (None, Some(x)) => Data::Real(x),
                (None, None) => Data::Text(number.to_string()),
            },
            Json::String(text) => Data::Text(text.clone()),
            Json::Array(items) => Data::List(items.iter().map(|item| Node::from_json(at, item)).collect()),
            Json::Object(map) => Data::Map(
                map.iter()
                    .map(|(key, value)| Entry { key: key.clone(), at: at.clone(), value: Node::from_json(at, value) })
                    .collect(),
            ),
        };
        Node { at: at.clone(), data }
    }
}

/// The integer that `x` is.
fn whole(x: f64) -> Option<i64> {
    (x.fract() == 0.0 && x.abs() < 9e15).then_some(x as i64)
}

impl Data {
    fn json(&self) -> Json {
        match self {
            Data::Null => Json::Null,
            Data::Bool(yes) => Json::Bool(*yes),
            Data::Int(n) => (*n).into(),
            Data::Real(x) => (*x).into(),
            Data::Text(text) => Json::String(text.clone()),
            Data::Written(_, number) => number.json(),
            Data::List(items) => items.iter().map(Node::json).collect(),
            Data::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), entry.value.json())).collect(),
        }
    }
}

impl From<&str> for Data {
    fn from(text: &str) -> Data {
        Data::Text(text.to_owned())
    }
}

impl From<String> for Data {
    fn from(text: String) -> Data {
        Data::Text(text)
    }
}

impl From<i64> for Data {
    fn from(n: i64) -> Data {
        Data::Int(n)
    }
}

impl From<bool> for Data {
    fn from(yes: bool) -> Data {
        Data::Bool(yes)
    }
}

impl From<Vec<Node>> for Data {
    fn from(items: Vec<Node>) -> Data {
        Data::List(items)
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.data.serialize(serializer)
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Data::Null => serializer.serialize_none(),
            Data::Bool(yes) => serializer.serialize_bool(*yes),
            Data::Int(n) => serializer.serialize_i64(*n),
            Data::Real(x) => serializer.serialize_f64(*x),
            Data::Text(text) => serializer.serialize_str(text),
            Data::Written(_, number) => number.serialize(serializer),
            Data::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Data::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|entry| map.serialize_entry(&entry.key, &entry.value))?;
                map.end()
            }
        }
    }
}
