//! Exports tags, notifications and monitors as resources of Terraform, with blocks that import the existing ones.

mod hcl;

use std::collections::{BTreeSet, HashMap};

use serde_json::Value as Json;

use self::hcl::{block, json_encode, literal, quote};
use super::super::resources::{self, PREFIX, PROVIDER, ResourceType};
use super::cells::is_secret;
use super::files::{Labels, Losses, ToolFiles, is_chosen, other_kinds};
use super::{ExportChoice, Exporter, Secrets};
use crate::model::entities::{DOCKER_HOSTS, Entity, MONITORS, NOTIFICATIONS, PROXIES, TAGS};
use crate::model::provider_keys::is_public;
use crate::model::state::ConfigRows;
use crate::model::view::{existing_name, read_cell};
use crate::model::{Field, ValueShape, field, kind};
use crate::value::{Row, Value};

/// Numbers that the provider accepts.
const RANGES: [(&str, i64, i64); 5] = [
    ("interval", 20, 2_073_600),
    ("retry_interval", 20, 2_073_600),
    ("max_retries", 0, 10),
    ("max_redirects", 0, 20),
    ("timeout", 1, 3600),
];

/// Texts that the provider refuses.
const REFUSED: [(&str, &[&str]); 2] = [("auth_method", &["bearer"]), ("smtp_security", &["secure", "starttls"])];

const NOT_ACCEPTED: &str = "the provider does not accept this value";
const NO_ATTRIBUTE: &str = "the provider has no attribute for it";

/// Attributes, each with its expression.
type Attributes = Vec<(String, String)>;

struct Writer<'a> {
    exporter: Exporter<'a>,
    labels: Labels,
    /// The addresses of rows, by table and id: `uptimekuma_tag.env`.
    addresses: HashMap<(&'static str, i64), String>,
    losses: Losses,
    body: String,
}

pub(super) fn export(config: &ConfigRows, choice: &ExportChoice) -> ToolFiles {
    // Without a value for its secrets, Terraform would remove them.
    let secrets = if choice.secrets == Secrets::Include { Secrets::Include } else { Secrets::Variables };
    let inner = ExportChoice { secrets, ..choice.clone() };
    let mut writer = Writer {
        exporter: Exporter::new(config, &inner),
        labels: Labels::new('_'),
        addresses: HashMap::new(),
        losses: Losses::default(),
        body: String::new(),
    };
    let monitors = if is_chosen(choice, MONITORS.key) { writer.exporter.chosen_monitors() } else { Vec::new() };
    let of_things = |entity: &Entity| if is_chosen(choice, entity.key) { config.rows(entity.table) } else { &[] };
    let (tags, notifications) = (of_things(&TAGS), of_things(&NOTIFICATIONS));
    for (entity, rows) in [(&TAGS, tags), (&NOTIFICATIONS, notifications)] {
        rows.iter().for_each(|row| drop(writer.named(entity, row, "")));
    }
    for (row, _) in &monitors {
        if let Some(resource) = resources::of_kind(row.text("type").unwrap_or_default()) {
            let path = row.int("id").and_then(|id| writer.exporter.name_of(&MONITORS, id)).cloned().unwrap_or_default();
            writer.address(&MONITORS, row, &format!("monitor_{}", resource.name), &path);
        }
    }
    writer.data(&monitors);
    tags.iter().for_each(|row| writer.tag(row));
    notifications.iter().for_each(|row| writer.notification(row));
    let written = monitors.iter().filter(|(row, differing)| writer.monitor(row, differing)).count();
    for (entity, count) in [(&TAGS, tags.len()), (&NOTIFICATIONS, notifications.len()), (&MONITORS, written)] {
        if count > 0 {
            writer.exporter.counts.push((entity.key, count));
        }
    }
    let referred = ["docker_hosts", "proxies"];
    let known = [TAGS.key, NOTIFICATIONS.key, MONITORS.key];
    let is_lost = |key: &str| is_chosen(choice, key) && choice.monitors.is_none();
    for key in referred.into_iter().filter(|key| is_lost(key)) {
        writer.unmanaged(key);
    }
    let notes = other_kinds(&mut writer.exporter, &[&known[..], &referred].concat(), "not exported to Terraform");
    writer.finish(choice, notes)
}

impl Writer<'_> {
    fn named(&mut self, entity: &'static Entity, row: &Row, scope: &str) -> String {
        let singular = entity.noun.replace(' ', "_");
        self.address(entity, row, &format!("{scope}{singular}"), &existing_name(entity, row))
    }

    /// Gives the row an address.
    fn address(&mut self, entity: &'static Entity, row: &Row, resource: &str, name: &str) -> String {
        let (data, resource) = match resource.strip_prefix("data.") {
            Some(resource) => ("data.", resource),
            None => ("", resource),
        };
        let address = self.labels.label(&format!("{data}{PREFIX}{resource}."), &name.replace('/', "_"));
        self.addresses.insert((entity.table, row.int("id").unwrap_or_default()), address.clone());
        address
    }

    /// A block for the resource at `address`, and one that imports it.
    fn resource(&mut self, address: &str, id: i64, attributes: &[(String, String)], inner: &str) {
        let (kind, label) = address.split_once('.').unwrap_or_default();
        self.body.push_str(&format!("\nimport {{\n  to = {address}\n  id = \"{id}\"\n}}\n"));
        self.body.push_str(&format!("\n{}", block(&format!("resource \"{kind}\" \"{label}\""), attributes, inner)));
    }

    /// The Docker hosts and proxies that monitors refer to: the provider reads them, but cannot import them.
    fn data(&mut self, monitors: &[(&Row, BTreeSet<&'static str>)]) {
        let config = self.exporter.config;
        for (column, entity, keys) in
            [("docker_host", &DOCKER_HOSTS, &["name"][..]), ("proxy_id", &PROXIES, &["id"][..])]
        {
            let mut ids: Vec<i64> = monitors.iter().filter_map(|(row, _)| row.int(column)).collect();
            ids.sort_unstable();
            ids.dedup();
            for row in ids.into_iter().filter_map(|id| config.row(entity.table, id)) {
                let address = self.named(entity, row, "data.");
                let (kind, label) = address["data.".len()..].split_once('.').unwrap_or_default();
                let attributes: Attributes = keys.iter().map(|key| ((*key).to_owned(), plain(row.cell(key)))).collect();
                self.body.push_str(&format!("\n{}", block(&format!("data \"{kind}\" \"{label}\""), &attributes, "")));
            }
        }
    }

    fn unmanaged(&mut self, key: &str) {
        let Some(entity) = crate::model::entities::entity(key) else { return };
        if let n @ 1.. = self.exporter.config.rows(entity.table).len() {
            let items = crate::text::counted(n, entity.noun);
            self.exporter
                .warnings
                .push(format!("{items}: the provider cannot import them: monitors refer to them as data"));
        }
    }

    fn tag(&mut self, row: &Row) {
        let id = row.int("id").unwrap_or_default();
        let Some(address) = self.addresses.get(&(TAGS.table, id)).cloned() else { return };
        let attributes = ["name", "color"].map(|column| (column.to_owned(), plain(row.cell(column))));
        self.resource(&address, id, &attributes, "");
    }

    fn notification(&mut self, row: &Row) {
        let id = row.int("id").unwrap_or_default();
        let Some(address) = self.addresses.get(&(NOTIFICATIONS.table, id)).cloned() else { return };
        let name = existing_name(&NOTIFICATIONS, row);
        let provider = read_cell(&NOTIFICATIONS, row, "type").text().unwrap_or_default().to_owned();
        let config = read_cell(&NOTIFICATIONS, row, "config");
        let config = serde_json::from_str(config.text().unwrap_or_default()).unwrap_or(Json::Null);
        let mut entries = Attributes::new();
        for (key, json) in config.as_object().into_iter().flatten() {
            let is_text = json.as_str().is_some_and(|text| !text.is_empty());
            let may_be_secret = is_text || json.is_object() || json.is_array();
            let value = if may_be_secret && !is_public(&provider, key, json) {
                self.secret(&format!("notification `{name}`"), &format!("config.{key}"), json)
            } else {
                literal(json, 4)
            };
            entries.push((key.clone(), value));
        }
        let flag = |column: &str| row.cell(column).truthy().to_string();
        let attributes = [
            ("name".to_owned(), quote(&name)),
            ("type".to_owned(), quote(&provider)),
            ("is_default".to_owned(), flag("is_default")),
            ("is_active".to_owned(), flag("active")),
            ("config".to_owned(), json_encode(&entries)),
        ];
        self.resource(&address, id, &attributes, "");
    }

    /// A secret: its value, or a variable with a name of its own.
    fn secret(&mut self, subject: &str, column: &str, json: &Json) -> String {
        if self.exporter.choice.secrets == Secrets::Include {
            return literal(json, 4);
        }
        let name = self.exporter.variable(subject, column);
        let label = name.to_lowercase();
        let text = json.as_str().map_or_else(|| json.to_string(), str::to_owned);
        self.exporter.variables.push((name, text));
        self.exporter.left_out.push(format!("{subject}: {column}"));
        if json.is_string() { format!("var.{label}") } else { format!("jsondecode(var.{label})") }
    }

    /// Writes a monitor; returns whether the provider has a resource for its type.
    fn monitor(&mut self, row: &Row, differing: &BTreeSet<&'static str>) -> bool {
        let id = row.int("id").unwrap_or_default();
        let path = self.exporter.name_of(&MONITORS, id).cloned().unwrap_or_default();
        let name = row.text("type").unwrap_or_default();
        let (Some(resource), Some(address)) =
            (resources::of_kind(name), self.addresses.get(&(MONITORS.table, id)).cloned())
        else {
            let why = format!("the provider has no resource for the type `{name}`");
            self.exporter.warnings.push(format!("monitor `{path}`: {why}: left out"));
            return false;
        };
        let mut attributes = vec![("name".to_owned(), plain(row.cell("name")))];
        let mut ignored = Vec::new();
        for (attribute, column) in resource.attributes() {
            let Some(field) = field(column).filter(|field| row.columns().iter().any(|own| own == field.column)) else {
                continue;
            };
            match self.value(&path, name, (attribute, field), row.cell(column)) {
                Expression::Is(value) => attributes.push((attribute.to_owned(), value)),
                Expression::Refused => ignored.push(attribute),
                Expression::Nothing => {}
            }
        }
        attributes.extend(self.tags(id));
        attributes.push(("notification_ids".to_owned(), self.notifications(id)));
        let unheld = |column: &&&str| !matches!(**column, "push_token" | "name") && !holds(resource, column);
        for column in differing.iter().filter(unheld) {
            self.losses.field(column, name, &path, NO_ATTRIBUTE);
        }
        let inner = if ignored.is_empty() {
            String::new()
        } else {
            format!("\n  lifecycle {{\n    ignore_changes = [{}]\n  }}\n", ignored.join(", "))
        };
        self.resource(&address, id, &attributes, &inner);
        true
    }

    /// The expression for the value of a field.
    fn value(&mut self, path: &str, kind_name: &str, about: (&str, &Field), value: &Value) -> Expression {
        let (attribute, field) = about;
        if value.is_nothing() {
            let is_needed = kind(kind_name).is_some_and(|kind| kind.is_needed(field.column));
            return if is_needed { Expression::Is(quote("")) } else { Expression::Nothing };
        }
        let is_refused =
            REFUSED.iter().any(|(name, texts)| *name == attribute && texts.contains(&value.text().unwrap_or("")));
        let range = RANGES.iter().find(|(name, ..)| *name == attribute);
        let is_outside = range.zip(value.int()).is_some_and(|((_, least, most), n)| !(least..=most).contains(&&n));
        let conditions = if attribute == "conditions" { conditions(value) } else { Some(String::new()) };
        if is_refused || is_outside || conditions.is_none() {
            self.losses.field(field.column, kind_name, path, NOT_ACCEPTED);
            return Expression::Refused;
        }
        let json = || serde_json::from_str::<Json>(value.text().unwrap_or_default()).unwrap_or(Json::Null);
        Expression::Is(match field.shape {
            ValueShape::Reference(reference) => self.reference(reference.entity(), value.int().unwrap_or_default()),
            _ if is_secret(MONITORS.table, field, value) => {
                let text = Json::from(value.to_string());
                self.secret(&format!("monitor `{path}`"), field.column, &text)
            }
            _ if attribute == "conditions" => match conditions {
                Some(conditions) if !conditions.is_empty() => conditions,
                _ => return Expression::Nothing,
            },
            ValueShape::Flag => value.truthy().to_string(),
            _ if attribute == "nodes" => format!("jsonencode({})", literal(&json(), 2)),
            ValueShape::StatusCodes | ValueShape::Texts => literal(&json(), 2),
            _ => plain(value),
        })
    }

    /// The id of a row: that of its resource, or the number.
    fn reference(&self, entity: &Entity, id: i64) -> String {
        self.addresses.get(&(entity.table, id)).map_or_else(|| id.to_string(), |address| format!("{address}.id"))
    }

    fn tags(&self, id: i64) -> Option<(String, String)> {
        let rows = self.exporter.parts.get("monitor_tag")?.get(&id)?;
        let mut list = String::from("[\n");
        for row in rows {
            let tag = self.reference(&TAGS, row.int("tag_id").unwrap_or_default());
            let value = row.text("value").unwrap_or_default();
            let value = if value.is_empty() { String::new() } else { format!(", value = {}", quote(value)) };
            list.push_str(&format!("    {{ tag_id = {tag}{value} }},\n"));
        }
        Some(("tags".to_owned(), list + "  ]"))
    }

    fn notifications(&self, id: i64) -> String {
        let rows = self.exporter.parts.get("monitor_notification").and_then(|by_owner| by_owner.get(&id));
        let mut ids: Vec<i64> = rows.into_iter().flatten().filter_map(|row| row.int("notification_id")).collect();
        ids.sort_unstable();
        format!("[{}]", ids.into_iter().map(|id| self.reference(&NOTIFICATIONS, id)).collect::<Vec<_>>().join(", "))
    }

    fn finish(self, choice: &ExportChoice, notes: Vec<String>) -> ToolFiles {
        let Writer { exporter, losses, body, .. } = self;
        let Exporter { left_out, mut variables, mut warnings, counts, .. } = exporter;
        warnings.extend(losses.lines());
        let mut text = format!(
            "terraform {{\n  required_providers {{\n    uptimekuma = {{\n      source = \"{PROVIDER}\"\n    }}\n  }}\n}}\n"
        );
        for (name, _) in &variables {
            let attributes = [("type", "string"), ("sensitive", "true")];
            let attributes = attributes.map(|(key, value)| (key.to_owned(), value.to_owned()));
            text.push_str(&format!("\n{}", block(&format!("variable \"{}\"", name.to_lowercase()), &attributes, "")));
        }
        text.push_str(&body);
        // Terraform takes the values of its variables from these.
        variables.iter_mut().for_each(|(name, _)| *name = format!("TF_VAR_{}", name.to_lowercase()));
        let left_out = if choice.secrets == Secrets::Variables { Vec::new() } else { left_out };
        ToolFiles { files: vec![(String::new(), text)], left_out, variables, warnings, notes, counts }
    }
}

/// The expression for a value.
enum Expression {
    /// This one.
    Is(String),
    /// None: the provider refuses it, so that changes of it are ignored.
    Refused,
    /// None: there is no value.
    Nothing,
}

/// Whether a resource has an attribute for `column`.
fn holds(resource: &ResourceType, column: &str) -> bool {
    resource.attributes().any(|(_, own)| own == column)
}

/// A number or a text.
fn plain(value: &Value) -> String {
    match value {
        Value::Int(n) => n.to_string(),
        Value::Real(x) => literal(&Json::from(*x), 0),
        other => quote(&other.to_string()),
    }
}

/// Conditions as the provider has them: a list without groups.
fn conditions(value: &Value) -> Option<String> {
    let list = serde_json::from_str::<Json>(value.text()?).ok()?;
    let mut text = String::new();
    for one in list.as_array()? {
        let part = |key: &str| one.get(key).and_then(Json::as_str);
        if part("type").is_some_and(|kind| kind != "expression") {
            return None;
        }
        let (variable, operator, value) = (part("variable")?, part("operator")?, part("value")?);
        let and_or = part("andOr").unwrap_or("and");
        let parts = [("variable", variable), ("operator", operator), ("value", value), ("and_or", and_or)];
        let parts: Vec<String> = parts.iter().map(|(key, value)| format!("{key} = {}", quote(value))).collect();
        text.push_str(&format!("    {{ {} }},\n", parts.join(", ")));
    }
    Some(if text.is_empty() { text } else { format!("[\n{text}  ]") })
}
