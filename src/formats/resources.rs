//! The Terraform provider `breml/uptimekuma`: its resources for monitors, and the columns that their attributes stand for.

/// The provider, as Terraform names it.
pub(super) const PROVIDER: &str = "breml/uptimekuma";

/// The beginning of the types of all its resources.
pub(super) const PREFIX: &str = "uptimekuma_";

/// Attributes, each with its column.
type Attributes = &'static [(&'static str, &'static str)];

/// A resource for monitors of one type.
pub(super) struct ResourceType {
    /// The type of the monitors.
    pub(super) kind: &'static str,
    /// The name of the resource without `uptimekuma_monitor_`.
    pub(super) name: &'static str,
    /// What it has besides the attributes of all monitors.
    own: &'static [Attributes],
}

/// Attributes of all monitors.
const COMMON: Attributes = &[
    ("active", "active"),
    ("description", "description"),
    ("interval", "interval"),
    ("retry_interval", "retry_interval"),
    ("resend_interval", "resend_interval"),
    ("max_retries", "maxretries"),
    ("upside_down", "upside_down"),
    ("parent", "parent"),
];

const HTTP: Attributes = &[
    ("url", "url"),
    ("method", "method"),
    ("timeout", "timeout"),
    ("http_body_encoding", "http_body_encoding"),
    ("body", "body"),
    ("headers", "headers"),
    ("auth_method", "auth_method"),
    ("basic_auth_user", "basic_auth_user"),
    ("basic_auth_pass", "basic_auth_pass"),
    ("auth_domain", "auth_domain"),
    ("auth_workstation", "auth_workstation"),
    ("oauth_auth_method", "oauth_auth_method"),
    ("oauth_token_url", "oauth_token_url"),
    ("oauth_client_id", "oauth_client_id"),
    ("oauth_client_secret", "oauth_client_secret"),
    ("oauth_scopes", "oauth_scopes"),
    ("oauth_audience", "oauth_audience"),
    ("tls_cert", "tls_cert"),
    ("tls_key", "tls_key"),
    ("tls_ca", "tls_ca"),
    ("accepted_status_codes", "accepted_statuscodes_json"),
    ("max_redirects", "maxredirects"),
    ("ignore_tls", "ignore_tls"),
    ("expiry_notification", "expiry_notification"),
    ("cache_buster", "cache_bust"),
    ("proxy_id", "proxy_id"),
];
const DOMAIN: Attributes = &[("domain_expiry_notification", "domain_expiry_notification")];
const HOST: Attributes = &[("hostname", "hostname")];
const PORT: Attributes = &[("port", "port")];
const CONDITIONS: Attributes = &[("conditions", "conditions")];
const JSON: Attributes = &[("json_path", "json_path"), ("expected_value", "expected_value")];
const OPERATOR: Attributes = &[("json_path_operator", "json_path_operator")];
const KEYWORD: Attributes = &[("keyword", "keyword"), ("invert_keyword", "invert_keyword")];
const RESOLVER: Attributes = &[("dns_resolve_server", "dns_resolve_server"), ("dns_resolve_type", "dns_resolve_type")];
const CONNECTION: Attributes = &[("database_connection_string", "database_connection_string")];
const QUERY: Attributes = &[("database_query", "database_query")];

macro_rules! resources {
    ($($kind:literal $name:literal: $($own:expr),*;)*) => {
        &[$(ResourceType { kind: $kind, name: $name, own: &[$($own),*] }),*]
    };
}

/// All resources for monitors.
const RESOURCES: &[ResourceType] = resources! {
    "dns" "dns": HOST, PORT, RESOLVER, CONDITIONS, DOMAIN;
    "docker" "docker": &[("docker_host_id", "docker_host"), ("docker_container", "docker_container")];
    "gamedig" "gamedig": HOST, PORT, DOMAIN,
        &[("game", "game"), ("gamedig_given_port_only", "gamedig_given_port_only")];
    "globalping" "globalping": HTTP, HOST, PORT, RESOLVER, KEYWORD, JSON, OPERATOR,
        &[("subtype", "subtype"), ("location", "location"), ("protocol", "protocol"), ("ip_family", "ip_family"),
          ("ping_count", "ping_count")];
    "group" "group": ;
    "grpc-keyword" "grpc_keyword": KEYWORD, DOMAIN,
        &[("grpc_url", "grpc_url"), ("grpc_protobuf", "grpc_protobuf"), ("grpc_service_name", "grpc_service_name"),
          ("grpc_method", "grpc_method"), ("grpc_body", "grpc_body"), ("grpc_enable_tls", "grpc_enable_tls")];
    "http" "http": HTTP, DOMAIN;
    "json-query" "http_json_query": HTTP, DOMAIN, JSON, OPERATOR;
    "keyword" "http_keyword": HTTP, DOMAIN, KEYWORD;
    "kafka-producer" "kafka_producer":
        &[("brokers", "kafka_producer_brokers"), ("topic", "kafka_producer_topic"),
          ("message", "kafka_producer_message"), ("ssl", "kafka_producer_ssl"),
          ("allow_auto_topic_creation", "kafka_producer_allow_auto_topic_creation"),
          ("sasl_options", "kafka_producer_sasl_options")];
    "mongodb" "mongodb": CONNECTION, QUERY, JSON, CONDITIONS;
    "mqtt" "mqtt": HOST, PORT, JSON, CONDITIONS, DOMAIN,
        &[("mqtt_topic", "mqtt_topic"), ("mqtt_websocket_path", "mqtt_websocket_path"),
          ("mqtt_username", "mqtt_username"), ("mqtt_password", "mqtt_password"),
          ("mqtt_check_type", "mqtt_check_type"), ("mqtt_success_message", "mqtt_success_message")];
    "mysql" "mysql": CONNECTION, QUERY, CONDITIONS;
    "oracledb" "oracledb": CONNECTION, QUERY, CONDITIONS,
        &[("basic_auth_user", "basic_auth_user"), ("basic_auth_pass", "basic_auth_pass")];
    "ping" "ping": HOST, DOMAIN, &[("packet_size", "packet_size"), ("timeout", "timeout")];
    "postgres" "postgres": CONNECTION, QUERY, CONDITIONS;
    "push" "push": ;
    "rabbitmq" "rabbitmq":
        &[("nodes", "rabbitmq_nodes"), ("username", "rabbitmq_username"), ("password", "rabbitmq_password"),
          ("timeout", "timeout")];
    "radius" "radius": HOST, PORT, DOMAIN,
        &[("radius_username", "radius_username"), ("radius_password", "radius_password"),
          ("radius_secret", "radius_secret"), ("called_station_id", "radius_called_station_id"),
          ("calling_station_id", "radius_calling_station_id")];
    "real-browser" "real_browser": DOMAIN,
        &[("url", "url"), ("remote_browser", "remote_browser"), ("screenshot_delay", "screenshot_delay"),
          ("timeout", "timeout"), ("accepted_status_codes", "accepted_statuscodes_json"),
          ("max_redirects", "maxredirects"), ("ignore_tls", "ignore_tls"), ("proxy_id", "proxy_id")];
    "redis" "redis": CONNECTION, CONDITIONS, &[("ignore_tls", "ignore_tls")];
    "sip-options" "sip_options": HOST, PORT, DOMAIN;
    "smtp" "smtp": HOST, PORT, DOMAIN, &[("smtp_security", "smtp_security")];
    "snmp" "snmp": HOST, PORT, JSON, OPERATOR, CONDITIONS, DOMAIN,
        &[("snmp_oid", "snmp_oid"), ("snmp_version", "snmp_version"), ("snmp_community", "radius_password"),
          ("snmp_v3_username", "snmp_v3_username")];
    "sqlserver" "sqlserver": CONNECTION, QUERY, CONDITIONS;
    "steam" "steam": HOST, PORT, DOMAIN, &[("timeout", "timeout")];
    "system-service" "system_service": &[("system_service_name", "system_service_name")];
    "tailscale-ping" "tailscale_ping": HOST, DOMAIN;
    "port" "tcp_port": HOST, PORT, DOMAIN;
    "websocket-upgrade" "websocket_upgrade": HTTP, DOMAIN,
        &[("ws_subprotocol", "ws_subprotocol"),
          ("ws_ignore_sec_websocket_accept_header", "ws_ignore_sec_websocket_accept_header")];
};

/// The resource for monitors of a type.
pub(super) fn of_kind(kind: &str) -> Option<&'static ResourceType> {
    RESOURCES.iter().find(|resource| resource.kind == kind)
}

/// The resource with a name, without `uptimekuma_monitor_`.
pub(super) fn of_name(name: &str) -> Option<&'static ResourceType> {
    RESOURCES.iter().find(|resource| resource.name == name)
}

impl ResourceType {
    /// Its attributes, each with its column.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        std::iter::once(&COMMON).chain(self.own).flat_map(|attributes| attributes.iter().copied())
    }

    /// The column of an attribute.
    pub(super) fn column(&self, attribute: &str) -> Option<&'static str> {
        self.attributes().find(|(name, _)| *name == attribute).map(|(_, column)| column)
    }
}
