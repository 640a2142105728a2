//! The values that the server's Add page fills in, by release.
//!
//! A column without an entry is not sent by the page: the database's default applies.

use super::release::*;
use crate::schema::Release;
use crate::value::Value;

/// One default of the page.
#[derive(Debug)]
pub struct Default {
    /// The column.
    pub column: &'static str,
    /// The types it applies to; empty means all.
    pub kinds: &'static [&'static str],
    /// The first release with it.
    pub since: Release,
    /// The first release without it.
    pub until: Option<Release>,
    /// The value that is sent.
    pub given: Given,
}

/// A value of a default.
#[derive(Clone, Copy, Debug)]
pub enum Given {
    /// NULL.
    Nothing,
    /// A whole number; flags are 0 and 1.
    Int(i64),
    /// Seconds.
    Real(f64),
    /// Text, JSON included.
    Text(&'static str),
}

impl From<Given> for Value {
    fn from(given: Given) -> Value {
        match given {
            Given::Nothing => Value::Null,
            Given::Int(n) => Value::Int(n),
            Given::Real(x) => Value::Real(x),
            Given::Text(text) => Value::from(text),
        }
    }
}

/// The default of the page of `release` for `column` of a new monitor of type `kind`; `None` if it sends nothing.
pub fn page_default(column: &str, kind: &str, release: Release) -> Option<Value> {
    DEFAULTS
        .iter()
        .filter(|default| default.column == column)
        .filter(|default| default.since <= release && default.until.is_none_or(|until| release < until))
        .filter(|default| default.kinds.is_empty() || default.kinds.contains(&kind))
        .max_by_key(|default| (!default.kinds.is_empty(), default.since))
        .map(|default| default.given.into())
}

/// What the pages of all releases, and the tools that copy them, send in `column` for types that do not use it. Where the pages send
/// nothing, these tools send what the pages send for the types that use it.
pub fn defaults_of(column: &str) -> Vec<Value> {
    let all = || DEFAULTS.iter().filter(move |default| default.column == column);
    let is_general = all().any(|default| default.kinds.is_empty() && !matches!(default.given, Nothing));
    all().filter(|default| !is_general || default.kinds.is_empty()).map(|default| default.given.into()).collect()
}

/// The placeholder that the page shows in `column` of that type. It is never intended as a value.
pub fn template(column: &str, kind: &str) -> Option<&'static str> {
    Some(match (column, kind) {
        ("url", "websocket-upgrade") => "wss://",
        ("url", _) => "https://",
        ("database_connection_string", "sqlserver") => {
            "Server=<hostname>,<port>;Database=<your database>;User Id=<your user id>;Password=<your password>;\
             Encrypt=<true/false>;TrustServerCertificate=<Yes/No>;Connection Timeout=<int>"
        }
        ("database_connection_string", "postgres") => "postgres://username:password@host:port/database",
        ("database_connection_string", "mysql") => "mysql://username:password@host:port/database",
        ("database_connection_string", "mongodb") => "mongodb://username:password@host:port/database",
        ("database_connection_string", "oracledb") => "localhost:1521/FREEPDB1",
        ("database_connection_string", "redis") => "redis://user:password@host:port",
        _ => return None,
    })
}

const fn all(column: &'static str, since: Release, given: Given) -> Default {
    Default { column, kinds: &[], since, until: None, given }
}

const fn only(column: &'static str, kinds: &'static [&'static str], since: Release, given: Given) -> Default {
    Default { column, kinds, since, until: None, given }
}

impl Default {
    const fn until(mut self, release: Release) -> Default {
        self.until = Some(release);
        self
    }
}

use Given::*;

/// Every default of every page.
static DEFAULTS: &[Default] = &[
    all("url", R1_23, Text("https://")),
    only("url", &["websocket-upgrade"], R2_1, Text("wss://")),
    all("ws_subprotocol", R2_1, Text("")),
    all("method", R1_23, Text("GET")),
    all("protocol", R2_1, Nothing),
    only("protocol", &["globalping"], R2_1, Text("ICMP")),
    only("subtype", &["globalping"], R2_1, Text("ping")),
    all("location", R2_1, Text("world")),
    all("ip_family", R2_0, Nothing),
    all("interval", R1_23, Int(60)),
    only("interval", &["ntp"], R2_5, Int(300)),
    all("retry_interval", R1_23, Int(60)),
    only("retry_interval", &["ntp"], R2_5, Int(300)),
    all("resend_interval", R1_23, Int(0)),
    all("maxretries", R1_23, Int(1)).until(R1_23_8),
    all("maxretries", R1_23_8, Int(0)),
    all("retry_only_on_status_code_failure", R2_1, Int(0)),
    all("timeout", R1_23, Real(48.0)),
    only("timeout", &["ping"], R2_0, Real(10.0)),
    only("timeout", &["snmp"], R2_0, Real(5.0)),
    only("timeout", &["kafka-producer"], R2_5, Real(1.0)),
    all("parent", R1_23, Nothing),
    all("ignore_tls", R1_23, Int(0)),
    all("upside_down", R1_23, Int(0)),
    all("expiry_notification", R1_23, Int(0)),
    all("domain_expiry_notification", R2_1, Int(1)),
    // These three releases enable it only if they know the domain's registry.
    all("domain_expiry_notification", R2_1_1, Int(0)).until(R2_2),
    all("maxredirects", R1_23, Int(10)),
    all("accepted_statuscodes_json", R1_23, Text("[\"200-299\"]")),
    only("accepted_statuscodes_json", &["websocket-upgrade"], R2_1, Text("[\"1000\"]")).until(R2_2),
    all("save_response", R2_1, Int(0)),
    all("save_error_response", R2_1, Int(1)),
    all("response_max_length", R2_1, Int(1024)),
    all("dns_resolve_type", R1_23, Text("A")),
    all("dns_resolve_server", R1_23, Text("1.1.1.1")).until(R2_1),
    all("dns_resolve_server", R2_1, Text("")),
    only("dns_resolve_server", &["dns"], R2_1, Text("1.1.1.1")),
    only("port", &["dns"], R1_23, Int(53)),
    only("port", &["radius"], R1_23, Int(1812)),
    only("port", &["snmp"], R2_0, Int(161)),
    only("port", &["globalping"], R2_1, Int(80)),
    only("port", &["ntp"], R2_5, Int(123)),
    all("docker_container", R1_23, Text("")),
    all("docker_host", R1_23, Nothing),
    all("proxy_id", R1_23, Nothing),
    all("basic_auth_user", R2_3, Text("")),
    all("basic_auth_pass", R2_3, Text("")),
    all("bearer_token", R2_4, Text("")),
    all("mqtt_username", R1_23, Text("")),
    all("mqtt_password", R1_23, Text("")),
    all("mqtt_topic", R1_23, Text("")),
    all("mqtt_websocket_path", R2_0, Text("")),
    all("mqtt_success_message", R1_23, Text("")),
    all("mqtt_check_type", R2_0, Text("keyword")),
    all("auth_method", R1_23, Nothing),
    all("oauth_auth_method", R1_23, Text("client_secret_basic")),
    all("http_body_encoding", R1_23, Nothing),
    only("http_body_encoding", &["http", "keyword", "json-query"], R1_23, Text("json")),
    all("kafka_producer_brokers", R1_23, Text("[]")),
    all("kafka_producer_sasl_options", R1_23, Text("{\"mechanism\":\"None\"}")),
    all("kafka_producer_ssl", R1_23_3, Int(0)),
    all("kafka_producer_allow_auto_topic_creation", R1_23_3, Int(0)),
    all("cache_bust", R2_0, Int(0)),
    all("gamedig_given_port_only", R1_23, Int(1)),
    all("gamedig_token", R2_4, Text("")),
    all("remote_browser", R2_0, Nothing),
    all("screenshot_delay", R2_1, Int(0)),
    all("rabbitmq_nodes", R2_0, Text("[]")),
    all("rabbitmq_username", R2_0, Text("")),
    all("rabbitmq_password", R2_0, Text("")),
    all("conditions", R2_0, Text("[]")),
    all("system_service_name", R2_1, Text("")),
    all("ntp_stratum_threshold", R2_5, Int(5)),
    all("ntp_time_offset_threshold", R2_5, Int(1000)),
    all("ntp_root_dispersion_threshold", R2_5, Int(500)),
    all("packet_size", R1_23, Int(56)),
    all("ping_count", R2_0, Int(3)),
    all("ping_numeric", R2_0, Int(1)),
    all("ping_per_request_timeout", R2_0, Int(2)),
    all("snmp_version", R2_0, Text("2c")),
    all("json_path", R2_0, Text("$")),
    all("json_path_operator", R2_0, Text("==")),
];
