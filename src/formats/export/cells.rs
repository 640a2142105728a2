//! Cells as they are written in a fixture, and what becomes of secrets.

use serde_json::Value as Json;

use super::super::node::{Data, Node};
use super::{Exporter, Secrets, entry};
use crate::model::fields::{Field, ValueShape};
use crate::model::provider_keys::is_public;
use crate::text::has_credentials;
use crate::value::Value;

impl Exporter<'_> {
    /// A secret according to the choice; `None` if it is left out.
    pub(super) fn secret(
        &mut self,
        subject: &str,
        column: &str,
        value: &Value,
        left_out: &mut Vec<String>,
    ) -> Option<Node> {
        if value.is_nothing() {
            return Some(self.plain(value));
        }
        match self.choice.secrets {
            Secrets::Include => Some(self.plain(value)),
            Secrets::LeaveOut => {
                self.left_out.push(format!("{subject}: {column}"));
                left_out.push(column.to_owned());
                None
            }
            Secrets::Variables => {
                let name = self.variable(subject, column);
                self.variables.push((name.clone(), value.to_string()));
                Some(self.node(format!("${{{name}}}")))
            }
        }
    }

    /// The config of a provider: numbers, flags and public keys are exported; every other text may be a secret.
    pub(super) fn config_node(
        &mut self,
        subject: &str,
        provider: &str,
        value: &Value,
        left_out: &mut Vec<String>,
    ) -> Option<Node> {
        let text = value.text().unwrap_or_default();
        let Ok(Json::Object(config)) = serde_json::from_str::<Json>(text) else {
            self.warnings.push(format!("{subject}: its config is not JSON: left out"));
            return None;
        };
        let mut entries = Vec::new();
        for (key, json) in &config {
            let is_open = is_public(provider, key, json)
                || !matches!(json, Json::String(text) if !text.is_empty()) && !json.is_object() && !json.is_array();
            let node = match (is_open, json) {
                (true, json) => Some(self.escaped(json)),
                (false, Json::String(text)) => {
                    self.secret(subject, &format!("config.{key}"), &text.as_str().into(), left_out)
                }
                (false, _) if self.choice.secrets == Secrets::LeaveOut => {
                    self.left_out.push(format!("{subject}: config.{key}"));
                    left_out.push(format!("config.{key}"));
                    None
                }
                (false, json) => Some(self.escaped(json)),
            };
            entries.extend(node.map(|node| entry(key, node)));
        }
        Some(self.node(Data::Map(entries)))
    }

    /// A unique name for a variable: `SHOP_BODY`.
    pub(super) fn variable(&self, subject: &str, column: &str) -> String {
        let name = subject.split('`').nth(1).unwrap_or_default();
        let column = column.strip_prefix("config.").unwrap_or(column);
        let mut plain = String::new();
        for letter in format!("{name}_{column}").chars() {
            match letter.is_ascii_alphanumeric() {
                true => plain.push(letter.to_ascii_uppercase()),
                false if plain.ends_with('_') => {}
                false => plain.push('_'),
            }
        }
        let plain = plain.trim_matches('_').to_owned();
        let plain =
            if plain.starts_with(|first: char| first.is_ascii_digit()) { format!("KUMA_{plain}") } else { plain };
        let taken = |name: &str| self.variables.iter().any(|(known, _)| known == name);
        if taken(&plain) {
            (2..).map(|n| format!("{plain}_{n}")).find(|name| !taken(name)).unwrap_or(plain)
        } else {
            plain
        }
    }

    /// A cell as written in a fixture.
    pub(super) fn value(&self, field: &Field, value: &Value) -> Node {
        match (field.shape, value) {
            (_, Value::Null) => self.node(Data::Null),
            (ValueShape::Flag, Value::Int(n)) => self.node(*n != 0),
            (
                ValueShape::StatusCodes | ValueShape::Texts | ValueShape::Array | ValueShape::Object,
                Value::Text(text),
            ) => match serde_json::from_str(text) {
                Ok(json) => self.escaped(&json),
                Err(_) => self.text(text),
            },
            _ => self.plain(value),
        }
    }

    pub(super) fn plain(&self, value: &Value) -> Node {
        match value {
            Value::Text(text) => self.text(text),
            other => self.escaped(&other.json()),
        }
    }

    pub(super) fn text(&self, text: &str) -> Node {
        self.node(escape(text))
    }

    pub(super) fn escaped(&self, json: &Json) -> Node {
        let mut node = Node::from_json(&self.at, json);
        escape_all(&mut node);
        node
    }
}

/// The columns of addresses that may have a login. No part of an item has one.
const ADDRESSES: [(&str, &str); 5] = [
    ("monitor", "url"),
    ("monitor", "grpc_url"),
    ("monitor", "rabbitmq_nodes"),
    ("docker_host", "docker_daemon"),
    ("remote_browser", "url"),
];

/// Whether `value` of `field` in `table` is a secret: any value of a secret field, and an address with a login.
pub(super) fn is_secret(table: &str, field: &Field, value: &Value) -> bool {
    field.secret || has_login(table, field.column, value)
}

/// Whether `value` of `column` in `table` is an address with a login.
pub(super) fn has_login(table: &str, column: &str, value: &Value) -> bool {
    ADDRESSES.contains(&(table, column)) && value.text().is_some_and(has_credentials)
}

/// An escaped `${`.
fn escape(text: &str) -> String {
    text.replace("${", "$${")
}

fn escape_all(node: &mut Node) {
    match &mut node.data {
        Data::Text(text) => *text = escape(text),
        Data::List(items) => items.iter_mut().for_each(escape_all),
        Data::Map(entries) => entries.iter_mut().for_each(|entry| escape_all(&mut entry.value)),
        Data::Real(x) if x.fract() == 0.0 && x.abs() < 9e15 => node.data = Data::Int(*x as i64),
        _ => {}
    }
}
