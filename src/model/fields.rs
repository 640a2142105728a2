//! One entry per column of `monitor`: what may be in it. All 114 columns of 2.5.3; none was ever dropped.
//!
//! This file is a table, and longer than 500 lines for that reason.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::release::*;
use crate::schema::Release;

/// One column of `monitor`.
#[derive(Debug)]
pub struct Field {
    /// The column's name.
    pub column: &'static str,
    /// The name that the server's page and its socket API use.
    pub api: &'static str,
    /// The shape of its values.
    pub shape: ValueShape,
    /// Never shown on a screen or in a log.
    pub secret: bool,
    /// Leading and trailing spaces are removed, as on the page.
    pub trimmed: bool,
    /// The first release with this column.
    pub since: Release,
    /// Its description, in one line.
    pub help: &'static str,
    /// An example value; empty if the shape is clear.
    pub example: &'static str,
}

/// The shape of the values of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueShape {
    /// Text with a maximum number of characters (a VARCHAR on MariaDB).
    Text(usize),
    /// Text of at most 65,535 bytes (a TEXT on MariaDB).
    LongText,
    /// An integer in a range, both ends included.
    Whole(i64, i64),
    /// A number, not negative.
    Real,
    /// True or false, stored as 1 or 0.
    Flag,
    /// One of these texts; which of them depends on type and release.
    Choice(&'static [ChoiceValue]),
    /// A JSON array of HTTP or WebSocket status codes, `["200-299"]`.
    StatusCodes,
    /// A JSON array of texts.
    Texts,
    /// A JSON array of anything.
    Array,
    /// A JSON object.
    Object,
    /// The id of a row of another table, specified by name.
    Reference(Reference),
    /// The type of the monitor.
    Kind,
    /// Written only by the server.
    Server,
}

/// What a column refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A monitor of type `group`.
    Group,
    /// A row of `docker_host`.
    DockerHost,
    /// A row of `proxy`.
    Proxy,
    /// A row of `remote_browser`.
    RemoteBrowser,
    /// A row of `tag`.
    Tag,
    /// A row of `notification`.
    Notification,
    /// A monitor of any type.
    Monitor,
    /// A row of `status_page`.
    StatusPage,
}

/// One value of a choice.
#[derive(Debug, PartialEq)]
pub struct ChoiceValue {
    /// The text that is stored.
    pub value: &'static str,
    /// The first release that has it.
    pub since: Release,
    /// The types that have it; empty means all types with the column.
    pub kinds: &'static [&'static str],
}

impl Field {
    /// The name as a command-line option, without the leading dashes: `accepted-statuscodes`, `ignore-tls`.
    pub fn option(&self) -> String {
        self.short().replace('_', "-")
    }

    /// The column without its storage suffix: `accepted_statuscodes` of `accepted_statuscodes_json`.
    fn short(&self) -> &'static str {
        let name = self.column.strip_suffix("_json").or_else(|| self.column.strip_suffix("_id"));
        match self.shape {
            ValueShape::StatusCodes | ValueShape::Reference(_) => name.unwrap_or(self.column),
            _ => self.column,
        }
    }

    /// Whether `name` is another name of it, in any spelling: that of the socket API, or of the option.
    pub(super) fn is_also(&self, name: &str) -> bool {
        same_name(self.api, name) || same_name(self.short(), name)
    }

    /// Whether users can set it.
    pub fn is_typed(&self) -> bool {
        self.shape != ValueShape::Server
    }

    /// Whether it can be NULL: numbers, choices and references can be unset.
    pub fn is_unset_by_nothing(&self) -> bool {
        matches!(
            self.shape,
            ValueShape::Whole(..) | ValueShape::Real | ValueShape::Choice(_) | ValueShape::Reference(_)
        )
    }

    /// The values of a choice for monitors of type `kind` on `release`; empty for other shapes.
    pub fn picks(&self, kind: &str, release: Release) -> Vec<&'static str> {
        let ValueShape::Choice(picks) = self.shape else { return Vec::new() };
        picks
            .iter()
            .filter(|pick| pick.since <= release && (pick.kinds.is_empty() || pick.kinds.contains(&kind)))
            .map(|pick| pick.value)
            .collect()
    }

    pub(super) const fn secret(mut self) -> Field {
        self.secret = true;
        self
    }

    pub(super) const fn trimmed(mut self) -> Field {
        self.trimmed = true;
        self
    }

    pub(super) const fn since(mut self, release: Release) -> Field {
        self.since = release;
        self
    }

    pub(super) const fn example(mut self, text: &'static str) -> Field {
        self.example = text;
        self
    }
}

/// The field with this name: a column (`ignore_tls`), a name of the page or the socket API (`ignoreTls`),
/// or an option (`ignore-tls`). `None` for names the server of 2.5.3 does not have.
pub fn field(name: &str) -> Option<&'static Field> {
    static BY_NAME: LazyLock<HashMap<String, &'static Field>> = LazyLock::new(|| {
        // A column's own name comes before the other names of another one.
        let columns = FIELDS.iter().map(|field| (field.column.to_owned(), field));
        let others = |field: &'static Field| [snake(field.api), snake(field.short())].map(|name| (name, field));
        let mut names: HashMap<String, &'static Field> = FIELDS.iter().flat_map(others).collect();
        names.extend(columns);
        names
    });
    // Asked for every cell of every monitor, and mostly with the column's own name.
    BY_NAME.get(name).or_else(|| BY_NAME.get(&snake(name))).copied()
}

/// A hint with options, `--interval 60 --timeout 48`, in another syntax: the result of `spell` for each column and
/// value. `None` for any other hint.
pub fn respell(hint: &str, spell: impl Fn(&str, &str) -> String) -> Option<Vec<String>> {
    hint.strip_prefix("--")?
        .split(" --")
        .map(|option| {
            let (name, value) = option.split_once(' ')?;
            Some(spell(field(name)?.column, value))
        })
        .collect()
}

/// The column name most similar to a mistyped `name`, if one is similar enough.
pub fn nearest(name: &str) -> Option<&'static str> {
    crate::text::nearest(name, FIELDS.iter().filter(|field| field.is_typed()).map(|field| field.column))
}

/// `ignoreTls` and `ignore-tls` as `ignore_tls`.
pub(super) fn snake(name: &str) -> String {
    snake_letters(name).collect()
}

/// Whether both are the same name, in any spelling. Allocates nothing: fixtures contain many names.
pub(super) fn same_name(one: &str, other: &str) -> bool {
    snake_letters(one).eq(snake_letters(other))
}

fn snake_letters(name: &str) -> impl Iterator<Item = char> {
    let mut lower_before = false;
    name.trim().chars().flat_map(move |letter| {
        let begins_word = lower_before && letter.is_ascii_uppercase();
        lower_before = letter.is_ascii_lowercase() || letter.is_ascii_digit();
        let letter = if matches!(letter, '-' | ' ') { '_' } else { letter.to_ascii_lowercase() };
        begins_word.then_some('_').into_iter().chain([letter])
    })
}

pub(super) const fn entry(column: &'static str, api: &'static str, shape: ValueShape, help: &'static str) -> Field {
    Field { column, api, shape, secret: false, trimmed: false, since: R1_23, help, example: "" }
}

pub(super) const fn pick(value: &'static str) -> ChoiceValue {
    ChoiceValue { value, since: R1_23, kinds: &[] }
}

pub(super) const fn pick_since(value: &'static str, since: Release) -> ChoiceValue {
    ChoiceValue { value, since, kinds: &[] }
}

pub(super) const fn pick_for(value: &'static str, kinds: &'static [&'static str]) -> ChoiceValue {
    ChoiceValue { value, since: R1_23, kinds }
}

/// The largest INT of MariaDB.
pub(super) const INT: i64 = 2_147_483_647;
const HTTP: &[&str] = &["http", "keyword", "json-query"];
const DNS: &[&str] = &["dns"];
const GLOBALPING: &[&str] = &["globalping"];

static METHODS: [ChoiceValue; 7] = [
    pick("GET"),
    pick("HEAD"),
    pick("OPTIONS"),
    pick_for("POST", HTTP),
    pick_for("PUT", HTTP),
    pick_for("PATCH", HTTP),
    pick_for("DELETE", HTTP),
];
static BODY_ENCODINGS: [ChoiceValue; 3] = [pick("json"), pick_since("form", R2_0), pick("xml")];
static AUTH_METHODS: [ChoiceValue; 5] = [
    pick("basic"),
    pick_since("bearer", R2_4),
    pick("oauth2-cc"),
    pick_for("ntlm", HTTP),
    pick_for("mtls", &["http", "keyword", "json-query", "websocket-upgrade"]),
];
static OAUTH_METHODS: [ChoiceValue; 2] = [pick("client_secret_basic"), pick("client_secret_post")];
static RECORDS: [ChoiceValue; 17] = [
    pick("A"),
    pick("AAAA"),
    pick_for("ANY", GLOBALPING),
    pick_for("CAA", DNS),
    pick("CNAME"),
    pick_for("DNSKEY", GLOBALPING),
    pick_for("DS", GLOBALPING),
    pick_for("HTTPS", GLOBALPING),
    pick("MX"),
    pick("NS"),
    pick_for("NSEC", GLOBALPING),
    pick("PTR"),
    pick_for("RRSIG", GLOBALPING),
    pick("SOA"),
    pick("SRV"),
    pick_for("SVCB", GLOBALPING),
    pick("TXT"),
];
static MQTT_CHECKS: [ChoiceValue; 2] = [pick("keyword"), pick("json-query")];
static SNMP_VERSIONS: [ChoiceValue; 3] = [pick("1"), pick("2c"), pick_since("3", R2_1)];
static OPERATORS: [ChoiceValue; 7] =
    [pick(">"), pick(">="), pick("<"), pick("<="), pick("!="), pick("=="), pick("contains")];
static SECURITY: [ChoiceValue; 3] = [pick("secure"), pick("nostarttls"), pick("starttls")];
static IP_FAMILIES: [ChoiceValue; 2] = [pick("ipv4"), pick("ipv6")];
static MEASUREMENTS: [ChoiceValue; 3] = [pick("ping"), pick("http"), pick_since("dns", R2_1_2)];
static PROTOCOLS: [ChoiceValue; 4] = [pick("ICMP"), pick("TCP"), pick_since("UDP", R2_1_2), pick("HTTP2")];
static TLS_ALERTS: [ChoiceValue; 9] = [
    pick("none"),
    pick("certificate_required"),
    pick("bad_certificate"),
    pick("certificate_unknown"),
    pick("unknown_ca"),
    pick("access_denied"),
    pick("handshake_failure"),
    pick("certificate_expired"),
    pick("certificate_revoked"),
];

use ValueShape::*;

/// Every column of `monitor`, in the order of the database of 2.5.3.
pub static FIELDS: [Field; 114] = [
    entry("id", "id", Server, "id of the monitor"),
    entry("name", "name", Text(150), "display name").example("Shop"),
    entry("active", "active", Flag, "whether the monitor is active; false is paused"),
    entry("user_id", "userId", Server, "user the monitor belongs to"),
    entry("interval", "interval", Whole(1, INT), "seconds between checks").example("60"),
    entry("url", "url", LongText, "URL to check").trimmed().example("https://example.com"),
    entry("type", "type", Kind, "type of the monitor"),
    entry("weight", "weight", Whole(-INT, INT), "position in the list, higher numbers first").example("2000"),
    entry("hostname", "hostname", Text(255), "host name or address to check").trimmed().example("example.com"),
    entry("port", "port", Whole(1, 65_535), "port to check").example("443"),
    entry("created_date", "createdDate", Server, "when the monitor was created, UTC"),
    entry("keyword", "keyword", Text(255), "text that the response must contain").example("OK"),
    entry("maxretries", "maxretries", Whole(0, INT), "retries before the monitor is down").example("3"),
    entry("ignore_tls", "ignoreTls", Flag, "ignore TLS certificate errors"),
    entry("upside_down", "upsideDown", Flag, "invert the status: reachable is down"),
    entry("maxredirects", "maxredirects", Whole(0, INT), "maximum number of redirects to follow; 0 disables them")
        .example("10"),
    entry("accepted_statuscodes_json", "accepted_statuscodes", StatusCodes, "status codes that are accepted as up")
        .example("200-299,301"),
    entry("dns_resolve_type", "dns_resolve_type", Choice(&RECORDS), "record type to query"),
    entry("dns_resolve_server", "dns_resolve_server", Text(255), "name server to query").example("1.1.1.1"),
    entry("dns_last_result", "dns_last_result", Server, "last response of the name server"),
    entry("retry_interval", "retryInterval", Whole(1, INT), "seconds between checks while retrying").example("60"),
    entry("push_token", "pushToken", Text(32), "unique token in the push URL").secret(),
    entry("method", "method", Choice(&METHODS), "HTTP method"),
    entry("body", "body", LongText, "request body").secret().example("'{\"key\": \"value\"}'"),
    entry("headers", "headers", LongText, "request headers, as JSON").secret().example("'{\"X-Key\": \"value\"}'"),
    entry("basic_auth_user", "basic_auth_user", LongText, "user for basic, NTLM or Oracle authentication")
        .example("admin"),
    entry("basic_auth_pass", "basic_auth_pass", LongText, "password for basic, NTLM or Oracle authentication").secret(),
    entry("docker_host", "docker_host", Reference(self::Reference::DockerHost), "Docker host the container runs on")
        .example("local"),
    entry("docker_container", "docker_container", Text(255), "name or id of the container").example("nginx"),
    entry("proxy_id", "proxyId", Reference(self::Reference::Proxy), "proxy for the request")
        .example("proxy.example.com"),
    entry("expiry_notification", "expiryNotification", Flag, "warn before the certificate expires"),
    entry("mqtt_topic", "mqttTopic", LongText, "topic to subscribe to").example("home/status"),
    entry("mqtt_success_message", "mqttSuccessMessage", Text(255), "text that the message must contain")
        .example("online"),
    entry("mqtt_username", "mqttUsername", Text(255), "user for the broker").example("kuma"),
    entry("mqtt_password", "mqttPassword", Text(255), "password for the broker").secret(),
    entry("database_connection_string", "databaseConnectionString", Text(2000), "database connection string")
        .secret()
        .trimmed(),
    entry("database_query", "databaseQuery", LongText, "query that must succeed; a JSON command for MongoDB")
        .example("'SELECT 1'"),
    entry("auth_method", "authMethod", Choice(&AUTH_METHODS), "authentication method"),
    entry("auth_domain", "authDomain", LongText, "NTLM domain").example("CORP"),
    entry("auth_workstation", "authWorkstation", LongText, "NTLM workstation").example("KUMA"),
    entry("grpc_url", "grpcUrl", Text(255), "host and port of the gRPC service").example("example.com:50051"),
    entry("grpc_protobuf", "grpcProtobuf", LongText, "service definition, in proto3")
        .example("\"$(cat health.proto)\""),
    entry("grpc_body", "grpcBody", LongText, "message to send, as JSON").secret().example("'{}'"),
    entry("grpc_metadata", "grpcMetadata", LongText, "metadata of the call, as JSON").secret().example("'{}'"),
    entry("grpc_method", "grpcMethod", Text(255), "method to call").example("check"),
    entry("grpc_service_name", "grpcServiceName", Text(255), "service to call").example("Health"),
    entry("grpc_enable_tls", "grpcEnableTls", Flag, "connect with TLS"),
    entry("radius_username", "radiusUsername", Text(255), "user to log in").example("kuma"),
    entry("radius_password", "radiusPassword", Text(255), "password (RADIUS, MySQL) or community string (SNMP)")
        .secret(),
    entry("radius_calling_station_id", "radiusCallingStationId", Text(50), "id of the calling device").example("kuma"),
    entry("radius_called_station_id", "radiusCalledStationId", Text(50), "id of the called device").example("kuma"),
    entry("radius_secret", "radiusSecret", Text(255), "secret shared with the RADIUS server").secret(),
    entry(
        "resend_interval",
        "resendInterval",
        Whole(0, INT),
        "resend the notification after this many failed checks; \
                                                               0 disables it",
    )
    .example("10"),
    entry("packet_size", "packetSize", Whole(1, 65_500), "size of a ping packet in bytes").example("56"),
    entry("game", "game", Text(255), "GameDig identifier of the game").example("minecraft"),
    entry("http_body_encoding", "httpBodyEncoding", Choice(&BODY_ENCODINGS), "format of the request body"),
    entry("description", "description", LongText, "description").example("'behind the load balancer'"),
    entry("tls_ca", "tlsCa", LongText, "CA certificate, PEM").example("\"$(cat ca.pem)\""),
    entry("tls_cert", "tlsCert", LongText, "client certificate, PEM").example("\"$(cat client.pem)\""),
    entry("tls_key", "tlsKey", LongText, "key of the client certificate, PEM")
        .secret()
        .example("\"$(cat client.key)\""),
    entry("parent", "parent", Reference(self::Reference::Group), "group the monitor is in").example("Network"),
    entry("invert_keyword", "invertKeyword", Flag, "the keyword must be absent"),
    entry("json_path", "jsonPath", LongText, "JSONata expression that selects a value").example("'$.status'"),
    entry("expected_value", "expectedValue", Text(255), "value to compare with").example("ok"),
    entry("kafka_producer_topic", "kafkaProducerTopic", Text(255), "topic to write to").example("health"),
    entry("kafka_producer_brokers", "kafkaProducerBrokers", Texts, "brokers, host:port").example("k1:9092,k2:9092"),
    entry("kafka_producer_sasl_options", "kafkaProducerSaslOptions", Object, "SASL options for the brokers")
        .secret()
        .example("'{\"mechanism\": \"None\"}'"),
    entry("kafka_producer_message", "kafkaProducerMessage", LongText, "message to write").example("ping"),
    entry("oauth_client_id", "oauth_client_id", LongText, "OAuth2 client id").example("kuma"),
    entry("oauth_client_secret", "oauth_client_secret", LongText, "OAuth2 client secret").secret(),
    entry("oauth_token_url", "oauth_token_url", LongText, "OAuth2 token URL")
        .example("https://login.example.com/token"),
    entry("oauth_scopes", "oauth_scopes", LongText, "OAuth2 scopes, separated by spaces").example("health"),
    entry("oauth_auth_method", "oauth_auth_method", Choice(&OAUTH_METHODS), "OAuth2 client authentication method"),
    entry("timeout", "timeout", Real, "timeout of a check in seconds").example("48"),
    entry("gamedig_given_port_only", "gamedigGivenPortOnly", Flag, "query only the given port"),
    entry("kafka_producer_ssl", "kafkaProducerSsl", Flag, "connect to the brokers with TLS"),
    entry(
        "kafka_producer_allow_auto_topic_creation",
        "kafkaProducerAllowAutoTopicCreation",
        Flag,
        "create the topic automatically",
    ),
    entry("mqtt_check_type", "mqttCheckType", Choice(&MQTT_CHECKS), "how to check the message").since(R2_0),
    entry(
        "remote_browser",
        "remote_browser",
        Reference(self::Reference::RemoteBrowser),
        "remote browser that opens the page",
    )
    .since(R2_0)
    .example("chrome"),
    entry("snmp_oid", "snmpOid", Text(255), "object identifier to read").since(R2_0).example("1.3.6.1.2.1.1.3.0"),
    entry("snmp_version", "snmpVersion", Choice(&SNMP_VERSIONS), "SNMP version").since(R2_0),
    entry("json_path_operator", "jsonPathOperator", Choice(&OPERATORS), "comparison operator").since(R2_0),
    entry("cache_bust", "cacheBust", Flag, "add a random parameter to avoid cached responses").since(R2_0),
    entry("conditions", "conditions", Array, "conditions for the response, as stored by the web UI")
        .since(R2_0)
        .example("'[]'"),
    entry("rabbitmq_nodes", "rabbitmqNodes", Texts, "management URLs of the nodes")
        .since(R2_0)
        .example("https://node1:15672"),
    entry("rabbitmq_username", "rabbitmqUsername", Text(255), "user for the management API")
        .since(R2_0)
        .example("kuma"),
    entry("rabbitmq_password", "rabbitmqPassword", Text(255), "password for the management API").since(R2_0).secret(),
    entry("smtp_security", "smtpSecurity", Choice(&SECURITY), "TLS mode: implicit, none, or STARTTLS").since(R2_0),
    entry(
        "ws_ignore_sec_websocket_accept_header",
        "wsIgnoreSecWebsocketAcceptHeader",
        Flag,
        "ignore an invalid Sec-WebSocket-Accept header",
    )
    .since(R2_1),
    entry("ws_subprotocol", "wsSubprotocol", Text(255), "subprotocols, separated by commas")
        .since(R2_1)
        .example("mqtt"),
    entry("ping_count", "ping_count", Whole(1, 100), "pings per check").since(R2_0).example("3"),
    entry("ping_numeric", "ping_numeric", Flag, "do not resolve addresses to names").since(R2_0),
    entry("ping_per_request_timeout", "ping_per_request_timeout", Whole(1, 60), "timeout of one ping in seconds")
        .since(R2_0)
        .example("2"),
    entry("ip_family", "ipFamily", Choice(&IP_FAMILIES), "only IPv4 or only IPv6").since(R2_0),
    entry("manual_status", "manual_status", Whole(0, 1), "status to report: 0 (down), 1 (up) or empty (pending)")
        .since(R2_0)
        .example("1"),
    entry("oauth_audience", "oauth_audience", Text(255), "audience of the OAuth2 token").since(R2_0).example("api"),
    entry("mqtt_websocket_path", "mqttWebsocketPath", Text(255), "path for MQTT over WebSocket")
        .since(R2_0)
        .example("/mqtt"),
    entry("domain_expiry_notification", "domainExpiryNotification", Flag, "warn before the domain expires").since(R2_1),
    entry("save_response", "saveResponse", Flag, "save the response of successful checks for notifications")
        .since(R2_1),
    entry("save_error_response", "saveErrorResponse", Flag, "save the response of failed checks for notifications")
        .since(R2_1),
    entry(
        "response_max_length",
        "responseMaxLength",
        Whole(0, 1_048_576),
        "maximum length of a saved response in \
                                                                            bytes",
    )
    .since(R2_1)
    .example("1024"),
    entry("system_service_name", "system_service_name", Text(255), "name of the service or PM2 process")
        .since(R2_1)
        .trimmed()
        .example("sshd"),
    entry("subtype", "subtype", Choice(&MEASUREMENTS), "type of measurement").since(R2_1),
    entry("location", "location", Text(255), "location of the probe").since(R2_1).example("Europe"),
    entry("protocol", "protocol", Choice(&PROTOCOLS), "protocol of the measurement").since(R2_1),
    entry("snmp_v3_username", "snmpV3Username", Text(255), "user for SNMP version 3").since(R2_1).example("kuma"),
    entry(
        "expected_tls_alert",
        "expectedTlsAlert",
        Choice(&TLS_ALERTS),
        "TLS alert that is accepted as \
                                                                          up",
    )
    .since(R2_1),
    entry(
        "retry_only_on_status_code_failure",
        "retryOnlyOnStatusCodeFailure",
        Flag,
        "retry only if the status code is not accepted",
    )
    .since(R2_1),
    entry("screenshot_delay", "screenshot_delay", Whole(0, INT), "delay before the screenshot in milliseconds")
        .since(R2_1)
        .example("500"),
    entry("ntp_stratum_threshold", "ntpStratumThreshold", Whole(1, 15), "maximum stratum that is accepted as up")
        .since(R2_5)
        .example("5"),
    entry("ntp_time_offset_threshold", "ntpTimeOffsetThreshold", Whole(1, INT), "maximum clock offset in milliseconds")
        .since(R2_5)
        .example("1000"),
    entry(
        "ntp_root_dispersion_threshold",
        "ntpRootDispersionThreshold",
        Whole(1, INT),
        "maximum root dispersion in milliseconds",
    )
    .since(R2_5)
    .example("500"),
    entry("bearer_token", "bearer_token", LongText, "bearer token for the request").since(R2_4).secret(),
    entry("gamedig_token", "gamedigToken", LongText, "token that some games require").since(R2_4).secret(),
];
