//! One entry per monitor type: its name, first release, required and optional columns.
//!
//! This file is a table. `needs` are the columns that the page, the server or the check itself requires; `offers` are
//! the other fields of the page for the type.

use super::fields::{Field, field};
use super::release::*;
use crate::schema::Release;

/// One type of monitor.
#[derive(Debug)]
pub struct MonitorType {
    /// The name in the database: `http`, `grpc-keyword`.
    pub name: &'static str,
    /// The name on the page.
    pub title: &'static str,
    /// The section of the page that lists it.
    pub section: TypeSection,
    /// The first release with it.
    pub since: Release,
    /// Required columns.
    pub needs: &'static [&'static str],
    /// Optional columns; those of every type are in [`COMMON`].
    pub offers: &'static [OfferedColumn],
    /// A note for users; empty for most types.
    pub note: &'static str,
}

/// A column, and the first release whose page offers it for that type.
#[derive(Debug)]
pub struct OfferedColumn(pub &'static str, pub Release);

/// A section of the page's list of types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeSection {
    /// Addresses, hosts, containers, services.
    General,
    /// Groups.
    Special,
    /// Passive types.
    Passive,
    /// One protocol each.
    Specific,
    /// Databases.
    Database,
    /// Game servers.
    Game,
}

impl TypeSection {
    /// The heading of the section.
    pub fn title(self) -> &'static str {
        match self {
            TypeSection::General => "General",
            TypeSection::Special => "Special",
            TypeSection::Passive => "Passive",
            TypeSection::Specific => "Specific",
            TypeSection::Database => "Database",
            TypeSection::Game => "Game server",
        }
    }
}

/// Columns that every type has.
pub static COMMON: [&str; 10] = [
    "name",
    "description",
    "parent",
    "active",
    "interval",
    "retry_interval",
    "maxretries",
    "resend_interval",
    "upside_down",
    "weight",
];

impl MonitorType {
    /// The fields of this type on `release`: required ones, the type's own, then the common ones.
    pub fn fields(&self, release: Release) -> Vec<&'static Field> {
        let offered = self.offers.iter().filter(|offer| offer.1 <= release).map(|offer| offer.0);
        let columns = ["name"].into_iter().chain(self.needs.iter().copied()).chain(offered).chain(COMMON);
        let mut fields: Vec<&'static Field> = Vec::new();
        for known in columns.filter_map(field).filter(|known| known.since <= release) {
            if !fields.iter().any(|there| there.column == known.column) {
                fields.push(known);
            }
        }
        fields
    }

    /// Whether monitors of this type have the field `column` on `release`.
    pub fn has(&self, column: &str, release: Release) -> bool {
        field(column).is_some_and(|known| known.column == column && self.takes(known, release))
    }

    /// The same for a known field.
    pub(super) fn takes(&self, known: &Field, release: Release) -> bool {
        let offered = || self.offers.iter().any(|offer| offer.0 == known.column && offer.1 <= release);
        known.since <= release && (offered() || self.needs.contains(&known.column) || COMMON.contains(&known.column))
    }

    /// Whether `column` is required and must not be empty.
    pub fn is_needed(&self, column: &str) -> bool {
        self.needs.contains(&column)
    }
}

/// The type with this name; `None` for types that 2.5.3 does not have.
pub fn kind(name: &str) -> Option<&'static MonitorType> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// The types that `release` has, in the order of the page.
pub fn kinds(release: Release) -> impl Iterator<Item = &'static MonitorType> {
    KINDS.iter().filter(move |kind| kind.since <= release)
}

/// The type of `release` most similar to a mistyped `name`, if one is similar enough.
pub fn nearest_kind(name: &str, release: Release) -> Option<&'static str> {
    let name = name.trim().to_lowercase();
    let meant = match name.as_str() {
        "https" | "web" | "url" => Some("http"),
        "tcp" => Some("port"),
        "icmp" => Some("ping"),
        "mssql" => Some("sqlserver"),
        "mariadb" => Some("mysql"),
        "postgresql" => Some("postgres"),
        "mongo" => Some("mongodb"),
        "oracle" => Some("oracledb"),
        "kafka" => Some("kafka-producer"),
        "grpc" => Some("grpc-keyword"),
        "json" => Some("json-query"),
        "browser" | "chrome" => Some("real-browser"),
        "websocket" | "ws" => Some("websocket-upgrade"),
        "sip" => Some("sip-options"),
        "tailscale" => Some("tailscale-ping"),
        "service" | "systemd" => Some("system-service"),
        "container" => Some("docker"),
        _ => None,
    };
    let known = || kinds(release).map(|kind| kind.name);
    meant.filter(|meant| known().any(|name| name == *meant)).or_else(|| crate::text::nearest(&name, known()))
}

const fn from(column: &'static str, since: Release) -> OfferedColumn {
    OfferedColumn(column, since)
}

/// The columns of an HTTP request, and those that a type adds.
macro_rules! http_and {
    ($($own:expr),* $(,)?) => {
        &[
            $($own,)*
            from("method", R1_23),
            from("http_body_encoding", R1_23),
            from("body", R1_23),
            from("headers", R1_23),
            from("auth_method", R1_23),
            from("basic_auth_user", R1_23),
            from("basic_auth_pass", R1_23),
            from("bearer_token", R2_4),
            from("auth_domain", R1_23),
            from("auth_workstation", R1_23),
            from("oauth_auth_method", R1_23),
            from("oauth_token_url", R1_23),
            from("oauth_client_id", R1_23),
            from("oauth_client_secret", R1_23),
            from("oauth_scopes", R1_23),
            from("oauth_audience", R2_0),
            from("tls_cert", R1_23),
            from("tls_key", R1_23),
            from("tls_ca", R1_23),
            from("timeout", R1_23),
            from("accepted_statuscodes_json", R1_23),
            from("maxredirects", R1_23),
            from("ignore_tls", R1_23),
            from("expiry_notification", R1_23),
            from("domain_expiry_notification", R2_1),
            from("cache_bust", R2_0),
            from("ip_family", R2_0),
            from("save_response", R2_1),
            from("save_error_response", R2_1),
            from("response_max_length", R2_1),
            from("proxy_id", R1_23),
        ]
    };
}

/// All types, in the order of the page of 2.5.3. No release removed a type.
pub static KINDS: [MonitorType; 33] = [
    MonitorType {
        name: "http",
        title: "HTTP(s)",
        section: TypeSection::General,
        since: R1_23,
        needs: &["url"],
        offers: http_and!(),
        note: "",
    },
    MonitorType {
        name: "keyword",
        title: "HTTP(s) - Keyword",
        section: TypeSection::General,
        since: R1_23,
        needs: &["url", "keyword"],
        offers: http_and!(from("invert_keyword", R1_23)),
        note: "",
    },
    MonitorType {
        name: "port",
        title: "TCP Port",
        section: TypeSection::General,
        since: R1_23,
        needs: &["hostname", "port"],
        offers: &[
            from("smtp_security", R2_1),
            from("expected_tls_alert", R2_1),
            from("expiry_notification", R2_1),
            from("domain_expiry_notification", R2_1),
            from("timeout", R2_1),
        ],
        note: "",
    },
    MonitorType {
        name: "ping",
        title: "Ping",
        section: TypeSection::General,
        since: R1_23,
        needs: &["hostname"],
        offers: &[
            from("packet_size", R1_23),
            from("ping_count", R2_0),
            from("ping_numeric", R2_0),
            from("ping_per_request_timeout", R2_0),
            from("timeout", R2_0),
            from("domain_expiry_notification", R2_1),
        ],
        note: "",
    },
    MonitorType {
        name: "dns",
        title: "DNS",
        section: TypeSection::General,
        since: R1_23,
        needs: &["hostname", "dns_resolve_server", "dns_resolve_type", "port"],
        offers: &[from("conditions", R2_0), from("domain_expiry_notification", R2_1)],
        note: "",
    },
    MonitorType {
        name: "docker",
        title: "Docker Container",
        section: TypeSection::General,
        since: R1_23,
        needs: &["docker_container", "docker_host"],
        offers: &[],
        note: "",
    },
    MonitorType {
        name: "system-service",
        title: "System Service",
        section: TypeSection::General,
        since: R2_1,
        needs: &["system_service_name"],
        offers: &[],
        note: "works only if the server runs outside a container",
    },
    MonitorType {
        name: "pm2",
        title: "PM2 Process",
        section: TypeSection::General,
        since: R2_5,
        needs: &["system_service_name"],
        offers: &[],
        note: "",
    },
    MonitorType {
        name: "real-browser",
        title: "HTTP(s) - Browser Engine (Chrome/Chromium)",
        section: TypeSection::General,
        since: R1_23,
        needs: &["url"],
        offers: &[
            from("remote_browser", R2_0),
            from("screenshot_delay", R2_1),
            from("domain_expiry_notification", R2_1),
        ],
        note: "",
    },
    MonitorType {
        name: "group",
        title: "Group",
        section: TypeSection::Special,
        since: R1_23,
        needs: &[],
        offers: &[],
        note: "",
    },
    MonitorType {
        name: "push",
        title: "Push",
        section: TypeSection::Passive,
        since: R1_23,
        needs: &["push_token"],
        offers: &[],
        note: "a token is generated if none is specified",
    },
    MonitorType {
        name: "manual",
        title: "Manual",
        section: TypeSection::Passive,
        since: R2_0,
        needs: &[],
        offers: &[from("manual_status", R2_0)],
        note: "",
    },
    MonitorType {
        name: "globalping",
        title: "Globalping",
        section: TypeSection::Specific,
        since: R2_1,
        needs: &["subtype", "location"],
        offers: &[
            from("hostname", R2_1),
            from("url", R2_1),
            from("protocol", R2_1),
            from("port", R2_1),
            from("ip_family", R2_1),
            from("ping_count", R2_1),
            from("dns_resolve_server", R2_1),
            from("dns_resolve_type", R2_1_2),
            from("keyword", R2_1),
            from("invert_keyword", R2_1),
            from("json_path", R2_1),
            from("json_path_operator", R2_1),
            from("expected_value", R2_1),
            from("method", R2_1),
            from("headers", R2_1),
            from("auth_method", R2_1),
            from("basic_auth_user", R2_1),
            from("basic_auth_pass", R2_1),
            from("bearer_token", R2_4),
            from("oauth_auth_method", R2_1),
            from("oauth_token_url", R2_1),
            from("oauth_client_id", R2_1),
            from("oauth_client_secret", R2_1),
            from("oauth_scopes", R2_1),
            from("oauth_audience", R2_1),
            from("accepted_statuscodes_json", R2_1),
            from("ignore_tls", R2_1),
            from("cache_bust", R2_1),
            from("expiry_notification", R2_1),
        ],
        note: "`ping` and `dns` require a hostname, `http` requires a URL",
    },
    MonitorType {
        name: "grpc-keyword",
        title: "gRPC(s) - Keyword",
        section: TypeSection::Specific,
        since: R1_23,
        needs: &["grpc_url", "keyword", "grpc_service_name", "grpc_method", "grpc_protobuf", "grpc_body"],
        offers: &[
            from("invert_keyword", R1_23),
            from("grpc_enable_tls", R1_23),
            from("grpc_metadata", R1_23),
            from("maxredirects", R1_23),
            from("accepted_statuscodes_json", R1_23),
            from("ip_family", R2_0),
            from("domain_expiry_notification", R2_1),
        ],
        note: "the web UI accepts an empty protobuf and body, but the check fails without them",
    },
    MonitorType {
        name: "json-query",
        title: "HTTP(s) - Json Query",
        section: TypeSection::Specific,
        since: R1_23,
        needs: &["url", "json_path", "expected_value"],
        offers: http_and!(from("json_path_operator", R2_0), from("retry_only_on_status_code_failure", R2_1)),
        note: "",
    },
    MonitorType {
        name: "kafka-producer",
        title: "Kafka Producer",
        section: TypeSection::Specific,
        since: R1_23,
        needs: &["kafka_producer_brokers", "kafka_producer_topic", "kafka_producer_message"],
        offers: &[
            from("kafka_producer_ssl", R1_23),
            from("kafka_producer_allow_auto_topic_creation", R1_23),
            from("kafka_producer_sasl_options", R1_23),
            from("timeout", R2_5),
        ],
        note: "",
    },
    MonitorType {
        name: "mqtt",
        title: "MQTT",
        section: TypeSection::Specific,
        since: R1_23,
        needs: &["hostname", "port", "mqtt_topic"],
        offers: &[
            from("mqtt_username", R1_23),
            from("mqtt_password", R1_23),
            from("mqtt_success_message", R1_23),
            from("mqtt_check_type", R2_0),
            from("mqtt_websocket_path", R2_0),
            from("json_path", R2_0),
            from("expected_value", R2_0),
            from("json_path_operator", R2_0),
            from("conditions", R2_1),
            from("domain_expiry_notification", R2_1),
        ],
        note: "",
    },
    MonitorType {
        name: "ntp",
        title: "NTP",
        section: TypeSection::Specific,
        since: R2_5,
        needs: &["hostname", "port"],
        offers: &[
            from("ntp_stratum_threshold", R2_5),
            from("ntp_time_offset_threshold", R2_5),
            from("ntp_root_dispersion_threshold", R2_5),
            from("timeout", R2_5),
        ],
        note: "",
    },
    MonitorType {
        name: "rabbitmq",
        title: "RabbitMQ",
        section: TypeSection::Specific,
        since: R2_0,
        needs: &["rabbitmq_nodes", "rabbitmq_username", "rabbitmq_password"],
        offers: &[from("timeout", R2_0)],
        note: "",
    },
    MonitorType {
        name: "sip-options",
        title: "SIP Options Ping",
        section: TypeSection::Specific,
        since: R2_1,
        needs: &["hostname", "port"],
        offers: &[from("domain_expiry_notification", R2_1)],
        note: "works only if the server runs outside a container, with sipsak installed",
    },
    MonitorType {
        name: "smtp",
        title: "SMTP",
        section: TypeSection::Specific,
        since: R2_0,
        needs: &["hostname", "port"],
        offers: &[from("smtp_security", R2_0), from("domain_expiry_notification", R2_1)],
        note: "",
    },
    MonitorType {
        name: "snmp",
        title: "SNMP",
        section: TypeSection::Specific,
        since: R2_0,
        needs: &["hostname", "port", "snmp_oid", "json_path", "expected_value"],
        offers: &[
            from("snmp_version", R2_0),
            from("radius_password", R2_0),
            from("snmp_v3_username", R2_1),
            from("json_path_operator", R2_0),
            from("timeout", R2_0),
            from("domain_expiry_notification", R2_1),
        ],
        note: "the community string is `radius_password`",
    },
    MonitorType {
        name: "tailscale-ping",
        title: "Tailscale Ping",
        section: TypeSection::Specific,
        since: R1_23,
        needs: &["hostname"],
        offers: &[from("domain_expiry_notification", R2_1)],
        note: "works only if the server runs outside a container, with tailscale installed",
    },
    MonitorType {
        name: "websocket-upgrade",
        title: "Websocket Upgrade",
        section: TypeSection::Specific,
        since: R2_1,
        needs: &["url"],
        offers: &[
            from("ws_subprotocol", R2_1),
            from("ws_ignore_sec_websocket_accept_header", R2_1),
            from("accepted_statuscodes_json", R2_1),
            from("timeout", R2_1),
            from("headers", R2_3),
            from("auth_method", R2_3),
            from("basic_auth_user", R2_3),
            from("basic_auth_pass", R2_3),
            from("bearer_token", R2_4),
            from("oauth_auth_method", R2_3),
            from("oauth_token_url", R2_3),
            from("oauth_client_id", R2_3),
            from("oauth_client_secret", R2_3),
            from("oauth_scopes", R2_3),
            from("oauth_audience", R2_3),
            from("tls_cert", R2_3),
            from("tls_key", R2_3),
            from("tls_ca", R2_3),
            from("ignore_tls", R2_3),
            from("domain_expiry_notification", R2_1),
        ],
        note: "a clean close has code 1000. Since 2.2, the default of the web UI does not accept it; to accept it, set \
               `--accepted-statuscodes 1000`",
    },
    MonitorType {
        name: "sqlserver",
        title: "Microsoft SQL Server",
        section: TypeSection::Database,
        since: R1_23,
        needs: &["database_connection_string"],
        offers: &[from("database_query", R1_23), from("conditions", R2_1)],
        note: "",
    },
    MonitorType {
        name: "mongodb",
        title: "MongoDB",
        section: TypeSection::Database,
        since: R1_23,
        needs: &["database_connection_string"],
        offers: &[from("database_query", R2_0), from("json_path", R2_0), from("expected_value", R2_0)],
        note: "",
    },
    MonitorType {
        name: "mysql",
        title: "MySQL/MariaDB",
        section: TypeSection::Database,
        since: R1_23,
        needs: &["database_connection_string"],
        offers: &[from("database_query", R1_23), from("radius_password", R1_23), from("conditions", R2_1)],
        note: "the password, when it is not in the connection string, is `radius_password`",
    },
    MonitorType {
        name: "oracledb",
        title: "Oracle Database",
        section: TypeSection::Database,
        since: R2_3,
        needs: &["database_connection_string", "basic_auth_user", "basic_auth_pass"],
        offers: &[from("database_query", R2_3), from("conditions", R2_3)],
        note: "",
    },
    MonitorType {
        name: "postgres",
        title: "PostgreSQL",
        section: TypeSection::Database,
        since: R1_23,
        needs: &["database_connection_string"],
        offers: &[from("database_query", R1_23)],
        note: "",
    },
    MonitorType {
        name: "radius",
        title: "Radius",
        section: TypeSection::Database,
        since: R1_23,
        needs: &[
            "hostname",
            "port",
            "radius_username",
            "radius_password",
            "radius_secret",
            "radius_called_station_id",
            "radius_calling_station_id",
        ],
        offers: &[from("domain_expiry_notification", R2_1)],
        note: "",
    },
    MonitorType {
        name: "redis",
        title: "Redis",
        section: TypeSection::Database,
        since: R1_23,
        needs: &["database_connection_string"],
        offers: &[from("ignore_tls", R2_0)],
        note: "",
    },
    MonitorType {
        name: "gamedig",
        title: "GameDig",
        section: TypeSection::Game,
        since: R1_23,
        needs: &["hostname", "port", "game"],
        offers: &[
            from("gamedig_given_port_only", R1_23),
            from("gamedig_token", R2_4),
            from("domain_expiry_notification", R2_1),
        ],
        note: "",
    },
    MonitorType {
        name: "steam",
        title: "Steam Game Server",
        section: TypeSection::Game,
        since: R1_23,
        needs: &["hostname", "port"],
        offers: &[from("timeout", R2_0), from("domain_expiry_notification", R2_1)],
        note: "requires a Steam API key in the settings of the server",
    },
];
