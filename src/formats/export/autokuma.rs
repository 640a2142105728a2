//! Exports tags, notifications, Docker hosts and monitors as files of AutoKuma, one for each entity; its path is its id.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value as Json, json};

use super::cells::{has_login, is_secret};
use super::files::{Labels, Losses, ToolFiles, is_chosen, other_kinds};
use super::{ExportChoice, Exporter, Secrets};
use crate::model::entities::{DOCKER_HOSTS, Entity, MONITORS, NOTIFICATIONS, TAGS};
use crate::model::provider_keys::is_public;
use crate::model::state::ConfigRows;
use crate::model::view::{existing_name, read_cell};
use crate::model::{Field, ValueShape, field};
use crate::value::{Row, Value};

/// Columns of all monitors.
const COMMON: [&str; 8] = [
    "description",
    "interval",
    "retry_interval",
    "resend_interval",
    "maxretries",
    "upside_down",
    "accepted_statuscodes_json",
    "conditions",
];

const HTTP: &str = "url timeout expiry_notification ignore_tls maxredirects method http_body_encoding body headers auth_method \
    basic_auth_user basic_auth_pass auth_domain auth_workstation oauth_auth_method oauth_token_url oauth_client_id \
    oauth_client_secret oauth_scopes oauth_audience tls_cert tls_key tls_ca";

/// The types that AutoKuma has, each with the columns that it can set.
const KINDS: [(&str, &str, &str); 26] = [
    ("dns", "hostname port dns_resolve_server dns_resolve_type", ""),
    ("docker", "docker_container docker_host", ""),
    ("gamedig", "hostname port game gamedig_given_port_only", ""),
    (
        "globalping",
        "subtype location protocol hostname port ip_family ping_count dns_resolve_server dns_resolve_type keyword \
         invert_keyword json_path json_path_operator expected_value cache_bust",
        HTTP,
    ),
    ("group", "", ""),
    (
        "grpc-keyword",
        "keyword invert_keyword grpc_url grpc_protobuf grpc_service_name grpc_method grpc_body grpc_metadata \
         grpc_enable_tls maxredirects cache_bust",
        "",
    ),
    ("http", "cache_bust", HTTP),
    ("json-query", "json_path json_path_operator expected_value", HTTP),
    (
        "kafka-producer",
        "kafka_producer_brokers kafka_producer_topic kafka_producer_message kafka_producer_ssl \
         kafka_producer_allow_auto_topic_creation kafka_producer_sasl_options",
        "",
    ),
    ("keyword", "keyword invert_keyword", HTTP),
    ("mongodb", "database_connection_string database_query json_path expected_value", ""),
    (
        "mqtt",
        "hostname port mqtt_username mqtt_password mqtt_topic mqtt_check_type mqtt_success_message json_path \
         json_path_operator expected_value",
        "",
    ),
    ("mysql", "database_connection_string database_query radius_password", ""),
    ("ping", "hostname packet_size", ""),
    ("port", "hostname port", ""),
    ("postgres", "database_connection_string database_query", ""),
    ("push", "push_token", ""),
    ("rabbitmq", "rabbitmq_nodes rabbitmq_username rabbitmq_password", ""),
    (
        "radius",
        "hostname port radius_username radius_password radius_secret radius_called_station_id radius_calling_station_id",
        "",
    ),
    ("real-browser", "url", ""),
    ("redis", "database_connection_string ignore_tls", ""),
    ("smtp", "hostname port smtp_security", ""),
    ("snmp", "hostname port radius_password snmp_oid snmp_version json_path json_path_operator expected_value", ""),
    ("sqlserver", "database_connection_string database_query", ""),
    ("steam", "hostname port", ""),
    ("tailscale-ping", "hostname", ""),
];

/// AutoKuma's name of a column.
fn key_of(field: &Field) -> &'static str {
    match field.column {
        "accepted_statuscodes_json" => "accepted_statuscodes",
        "maxretries" => "max_retries",
        "maxredirects" => "max_redirects",
        "auth_method" | "database_query" | "rabbitmq_nodes" | "rabbitmq_password" | "rabbitmq_username"
        | "snmp_oid" => field.api,
        column => column,
    }
}

/// The columns that AutoKuma can set for monitors of a type.
fn columns(kind: &str) -> Option<Vec<&'static str>> {
    let (_, own, shared) = KINDS.iter().find(|(name, ..)| *name == kind)?;
    Some(COMMON.into_iter().chain(own.split_whitespace()).chain(shared.split_whitespace()).collect())
}

/// Whether AutoKuma expands anything in a text.
fn has_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark))
}

struct Writer<'a> {
    exporter: Exporter<'a>,
    labels: Labels,
    /// The ids of entities, by table and id of the row.
    ids: HashMap<(&'static str, i64), String>,
    losses: Losses,
    files: Vec<(String, String)>,
}

pub(super) fn export(config: &ConfigRows, choice: &ExportChoice) -> ToolFiles {
    let mut writer = Writer {
        exporter: Exporter::new(config, choice),
        labels: Labels::new('-'),
        ids: HashMap::new(),
        losses: Losses::default(),
        files: Vec::new(),
    };
    let monitors = if is_chosen(choice, MONITORS.key) { writer.exporter.chosen_monitors() } else { Vec::new() };
    for (entity, part, column) in [
        (&TAGS, Some("monitor_tag"), "tag_id"),
        (&NOTIFICATIONS, Some("monitor_notification"), "notification_id"),
        (&DOCKER_HOSTS, None, "docker_host"),
    ] {
        let referred = writer.referred(&monitors, part, column);
        let is_desired =
            |row: &&Row| is_chosen(choice, entity.key) || row.int("id").is_some_and(|id| referred.contains(&id));
        let rows: Vec<&Row> = config.rows(entity.table).iter().filter(is_desired).collect();
        rows.iter().for_each(|row| writer.thing(entity, row));
        if !rows.is_empty() {
            writer.exporter.counts.push((entity.key, rows.len()));
        }
    }
    for (row, _) in monitors.iter().filter(|(row, _)| columns(row.text("type").unwrap_or_default()).is_some()) {
        let id = row.int("id").unwrap_or_default();
        let path = writer.exporter.name_of(&MONITORS, id).cloned().unwrap_or_default();
        let label = writer.labels.label("monitors/", &path);
        writer.ids.insert((MONITORS.table, id), label);
    }
    let written = monitors.iter().filter(|(row, differing)| writer.monitor(row, differing)).count();
    if written > 0 {
        writer.exporter.counts.push((MONITORS.key, written));
    }
    let known = [TAGS.key, NOTIFICATIONS.key, DOCKER_HOSTS.key, MONITORS.key];
    let notes = other_kinds(&mut writer.exporter, &known, "not exported to AutoKuma");
    let Writer { exporter, losses, files, .. } = writer;
    let Exporter { left_out, variables, mut warnings, counts, .. } = exporter;
    warnings.extend(losses.lines());
    ToolFiles { files, left_out, variables, warnings, notes, counts }
}

impl Writer<'_> {
    /// The ids that monitors refer to.
    fn referred(
        &self,
        monitors: &[(&Row, BTreeSet<&'static str>)],
        part: Option<&'static str>,
        column: &str,
    ) -> BTreeSet<i64> {
        let Some(part) = part else { return monitors.iter().filter_map(|(row, _)| row.int(column)).collect() };
        let by_owner = self.exporter.parts.get(part);
        let rows = monitors.iter().filter_map(|(row, _)| by_owner?.get(&row.int("id")?)).flatten();
        rows.filter_map(|row| row.int(column)).collect()
    }

    fn write(&mut self, id: &str, entity: Map<String, Json>) {
        let text = serde_json::to_string_pretty(&Json::Object(entity)).unwrap_or_default();
        self.files.push((format!("{id}.json"), text + "\n"));
    }

    /// A text as AutoKuma reads it: it expands templates in all texts.
    fn text(&mut self, subject: &str, text: &str) -> Json {
        match (has_template(text), text.contains("endraw")) {
            (true, false) => json!(format!("{{% raw %}}{text}{{% endraw %}}")),
            (true, true) => {
                self.exporter
                    .warnings
                    .push(format!("{subject}: a text contains `endraw`, which AutoKuma expands: left out"));
                Json::Null
            }
            (false, _) => json!(text),
        }
    }

    /// Whether AutoKuma reads a key as it is written; warns if not.
    fn is_plain(&mut self, subject: &str, key: &str) -> bool {
        let is_plain = !has_template(key);
        if !is_plain {
            let warning = format!("{subject}: the key `{key}` contains a template, which AutoKuma expands: left out");
            self.exporter.warnings.push(warning);
        }
        is_plain
    }

    /// The same for all texts in a value.
    fn escaped(&mut self, subject: &str, json: &Json) -> Json {
        match json {
            Json::String(text) => self.text(subject, text),
            Json::Array(items) => items.iter().map(|item| self.escaped(subject, item)).collect(),
            Json::Object(map) => {
                let kept: Vec<_> = map.iter().filter(|(key, _)| self.is_plain(subject, key)).collect();
                Json::Object(kept.into_iter().map(|(key, value)| (key.clone(), self.escaped(subject, value))).collect())
            }
            // Seconds are stored as 48.0.
            Json::Number(number) => match number.as_f64() {
                Some(x) if x.fract() == 0.0 && x.abs() < 9e15 => json!(x as i64),
                _ => json.clone(),
            },
            other => other.clone(),
        }
    }

    /// A tag, a notification or a Docker host.
    fn thing(&mut self, entity: &'static Entity, row: &Row) {
        let name = existing_name(entity, row);
        let subject = format!("{} `{name}`", entity.noun);
        let id = self.labels.label(&format!("{}/", entity.key), &name.replace('/', "-"));
        self.ids.insert((entity.table, row.int("id").unwrap_or_default()), id.clone());
        let mut map = Map::new();
        map.insert("type".into(), json!(entity.noun.replace(' ', "_").to_lowercase()));
        map.insert("name".into(), self.text(&subject, &name));
        match entity.key {
            "tags" => {
                let color = self.escaped(&subject, &json!(row.text("color")));
                map.insert("color".into(), color);
            }
            "docker_hosts" => {
                for (key, column) in [("connection_type", "docker_type"), ("host", "docker_daemon")] {
                    let is_secret = has_login(DOCKER_HOSTS.table, column, row.cell(column));
                    if is_secret && self.exporter.choice.secrets != Secrets::Include {
                        self.exporter.left_out.push(format!("{subject}: {column}"));
                        continue;
                    }
                    let text = self.escaped(&subject, &json!(row.text(column)));
                    map.insert(key.into(), text);
                }
            }
            _ => {
                map.insert("active".into(), json!(row.cell("active").truthy()));
                map.insert("is_default".into(), json!(row.cell("is_default").truthy()));
                let config = self.config(&subject, row);
                map.insert("config".into(), config);
            }
        }
        self.write(&id, map);
    }

    fn config(&mut self, subject: &str, row: &Row) -> Json {
        let provider = read_cell(&NOTIFICATIONS, row, "type").text().unwrap_or_default().to_owned();
        let config = read_cell(&NOTIFICATIONS, row, "config");
        let config = serde_json::from_str(config.text().unwrap_or_default()).unwrap_or(Json::Null);
        let mut map = Map::from_iter([("type".to_owned(), self.text(subject, &provider))]);
        for (key, json) in config.as_object().into_iter().flatten() {
            let may_be_secret =
                json.as_str().is_some_and(|text| !text.is_empty()) || json.is_object() || json.is_array();
            let is_secret = may_be_secret && !is_public(&provider, key, json);
            if is_secret && self.exporter.choice.secrets != Secrets::Include {
                self.exporter.left_out.push(format!("{subject}: config.{key}"));
            } else if self.is_plain(subject, key) {
                map.insert(key.clone(), self.escaped(subject, json));
            }
        }
        Json::Object(map)
    }

    /// Writes a monitor; returns whether AutoKuma has its type.
    fn monitor(&mut self, row: &Row, differing: &BTreeSet<&'static str>) -> bool {
        let id = row.int("id").unwrap_or_default();
        let path = self.exporter.name_of(&MONITORS, id).cloned().unwrap_or_default();
        let subject = format!("monitor `{path}`");
        let kind = row.text("type").unwrap_or_default();
        let (Some(columns), Some(own)) = (columns(kind), self.ids.get(&(MONITORS.table, id)).cloned()) else {
            self.exporter.warnings.push(format!("{subject}: AutoKuma has no type `{kind}`: left out"));
            return false;
        };
        let mut map = Map::from_iter([("type".to_owned(), json!(kind))]);
        map.insert("name".into(), self.text(&subject, row.text("name").unwrap_or_default()));
        if let Some(parent) = row.int("parent") {
            match self.ids.get(&(MONITORS.table, parent)) {
                Some(parent) => drop(map.insert("parent_name".into(), json!(parent))),
                None => self.losses.field("parent", kind, &path, "the group is not exported"),
            }
        }
        for column in &columns {
            let known = crate::model::kind(kind)
                .is_some_and(|kind| kind.has(column, self.exporter.config.database.release.release));
            let Some(field) = field(column).filter(|_| known || differing.contains(column)) else { continue };
            self.field(&path, kind, (field, row.cell(column)), &mut map);
        }
        if !row.cell("active").truthy() {
            map.insert("create_paused".into(), json!(true));
        }
        self.parts(id, &mut map);
        let staged = ["name", "parent", "active"];
        for column in differing.iter().filter(|column| !columns.contains(column) && !staged.contains(column)) {
            self.losses.field(column, kind, &path, "AutoKuma has no field for it");
        }
        self.write(&own, map);
        true
    }

    fn field(&mut self, path: &str, kind: &str, about: (&Field, &Value), map: &mut Map<String, Json>) {
        let (field, value) = about;
        let subject = format!("monitor `{path}`");
        if value.is_nothing() {
            return;
        }
        if field.column == "docker_host" {
            let host = value.int().and_then(|id| self.ids.get(&(DOCKER_HOSTS.table, id)));
            host.into_iter().for_each(|host| drop(map.insert("docker_host_name".into(), json!(host))));
            return;
        }
        if is_secret(MONITORS.table, field, value) && self.exporter.choice.secrets != Secrets::Include {
            return self.exporter.left_out.push(format!("{subject}: {}", field.column));
        }
        if field.column == "auth_method" && value.text() == Some("bearer") {
            return self.losses.field(field.column, kind, path, "AutoKuma does not have this value");
        }
        let json = || serde_json::from_str::<Json>(value.text().unwrap_or_default()).unwrap_or(Json::Null);
        let json = match field.shape {
            ValueShape::Flag => json!(value.truthy()),
            ValueShape::StatusCodes | ValueShape::Texts | ValueShape::Array | ValueShape::Object => json(),
            _ => value.json(),
        };
        if json != json!([]) {
            let json = self.escaped(&subject, &json);
            map.insert(key_of(field).to_owned(), json);
        }
    }

    /// Tags and notifications.
    fn parts(&mut self, id: i64, map: &mut Map<String, Json>) {
        let rows = |part: &str| self.exporter.parts.get(part).and_then(|by_owner| by_owner.get(&id)).cloned();
        let (tags, notifications) = (rows("monitor_tag"), rows("monitor_notification"));
        let mut names = Vec::new();
        for row in tags.into_iter().flatten() {
            let Some(tag) = row.int("tag_id").and_then(|id| self.ids.get(&(TAGS.table, id))).cloned() else { continue };
            let mut one = Map::from_iter([("name".to_owned(), json!(tag))]);
            if let Some(value) = row.text("value").filter(|value| !value.is_empty()) {
                let value = self.text(&format!("a tag `{tag}`"), value);
                one.insert("value".into(), value);
            }
            names.push(Json::Object(one));
        }
        if !names.is_empty() {
            map.insert("tag_names".into(), json!(names));
        }
        let ids = notifications.into_iter().flatten().filter_map(|row| row.int("notification_id"));
        let names: Vec<&String> = ids.filter_map(|id| self.ids.get(&(NOTIFICATIONS.table, id))).collect();
        if !names.is_empty() {
            map.insert("notification_name_list".into(), json!(names));
        }
    }
}
