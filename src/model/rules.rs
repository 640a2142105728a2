//! The rules of single types: what a URL, a host, a status code, a query must look like.

use std::net::IpAddr;

use serde_json::Value as Json;

use super::fields::field;
use super::games::renamed_game;
use super::release::*;
use super::subject::{CheckedRow, RowProblem, grouped, shell_word};
use super::typed::{shown, texts};
use crate::text::without_credentials;

/// Adds the problems of the fields of the subject's type.
pub(super) fn check(subject: &CheckedRow, found: &mut Vec<RowProblem>) {
    let has = |column: &str| subject.kind.has(column, subject.release);
    match subject.kind.name {
        "http" | "keyword" | "json-query" | "real-browser" => {
            found.extend(check_url(subject, "url", &["http", "https"]));
        }
        "websocket-upgrade" => found.extend(check_url(subject, "url", &["ws", "wss"])),
        "globalping" => check_globalping(subject, found),
        "ping" => check_ping(subject, found),
        "dns" => check_dns(subject, found),
        "mqtt" => check_mqtt(subject, found),
        "snmp" => check_snmp(subject, found),
        "rabbitmq" => check_rabbitmq(subject, found),
        "kafka-producer" => check_kafka(subject, found),
        "grpc-keyword" => check_grpc(subject, found),
        "system-service" | "pm2" => found.extend(check_service(subject)),
        "gamedig" => found.extend(check_game(subject)),
        "mongodb" => found.extend(check_json_text(subject, "database_query", "'{\"ping\": 1}'")),
        _ => {}
    }
    if has("hostname") && !matches!(subject.kind.name, "mqtt" | "globalping") {
        found.extend(check_host(subject));
    }
    if has("accepted_statuscodes_json") {
        found.extend(check_status_codes(subject));
    }
    if has("headers") {
        found.extend(check_json_text(subject, "headers", "'{\"X-Key\": \"value\"}'"));
    }
    if has("body") && matches!(subject.text("http_body_encoding"), None | Some("json")) {
        found.extend(check_json_value(subject, "body", "--http-body-encoding form"));
    }
    if has("auth_method") {
        check_authentication(subject, found);
    }
    if has("json_path_operator") {
        found.extend(check_comparison(subject));
    }
    if has("screenshot_delay") {
        found.extend(check_screenshot_delay(subject));
    }
    if has("push_token") {
        found.extend(check_push_token(subject));
    }
    if has("database_connection_string") {
        found.extend(check_connection_string(subject));
    }
}

fn check_url(subject: &CheckedRow, column: &'static str, schemes: &[&str]) -> Option<RowProblem> {
    if subject.is_empty(column) {
        return None;
    }
    let url = subject.text(column)?;
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default().rsplit('@').next().unwrap_or_default();
    let desired: Vec<String> = schemes.iter().map(|scheme| format!("`{scheme}://`")).collect();
    let desired = desired.join(" or ");
    let safest = schemes.last().copied().unwrap_or_default();
    if !schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        let message = format!("invalid value `{}`; must start with {desired}", without_credentials(url));
        return Some(
            RowProblem::about(&[column], message)
                .typed(&without_credentials(&format!("{safest}://{rest}")).replace("***@", "")),
        );
    }
    if host.is_empty() || host.starts_with(':') || url.contains(char::is_whitespace) {
        let message = format!("`{}` is not a URL with a host", without_credentials(url));
        return Some(RowProblem::about(&[column], message).typed(&format!("{safest}://example.com/")));
    }
    None
}

fn check_host(subject: &CheckedRow) -> Option<RowProblem> {
    let typed = subject.text("hostname")?;
    let host = typed.trim();
    if let Some((_, rest)) = host.split_once("://") {
        let bare = rest.split(['/', '?', '#']).next()?.rsplit('@').next()?;
        let (bare, port) = split_port(bare);
        let port = port.filter(|_| subject.kind.has("port", subject.release));
        let bare = shell_word(bare);
        let hint = port.map_or_else(|| format!("--hostname {bare}"), |port| format!("--hostname {bare} --port {port}"));
        return Some(RowProblem::about(&["hostname"], "must be a host name or address, not a URL").command(hint));
    }
    if let (bare, Some(port)) = split_port(host)
        && is_host(bare, false)
        && host.parse::<IpAddr>().is_err()
    {
        let message = format!("`{}` contains a port", without_credentials(host));
        let hint = if subject.kind.has("port", subject.release) {
            format!("--hostname {bare} --port {port}")
        } else {
            format!("--hostname {bare}")
        };
        return Some(RowProblem::about(&["hostname"], message).command(hint));
    }
    let is_dns = subject.kind.name == "dns";
    if !(is_host(host, is_dns) || is_dns && host == ".") {
        let message = format!("`{}` is not a valid host name or address", without_credentials(host));
        return Some(RowProblem::about(&["hostname"], message).typed("example.com"));
    }
    None
}

/// An address without what is before its `@`, which may be a password.
fn without_login(address: &str) -> &str {
    address.rsplit('@').next().unwrap_or(address)
}

/// `example.com:443` as host and port; an IPv6 address contains colons itself.
fn split_port(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((bare, port)) if !bare.contains(':') || bare.ends_with(']') => match port.parse() {
            Ok(port) => (bare.trim_start_matches('[').trim_end_matches(']'), Some(port)),
            Err(_) => (host, None),
        },
        _ => (host, None),
    }
}

/// Whether `host` is an address, or a name that the page accepts: underscores and a trailing dot are allowed.
fn is_host(host: &str, wildcard: bool) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if bare.parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let name = if wildcard { name.strip_prefix("*.").unwrap_or(name) } else { name };
    !name.is_empty()
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.chars().count() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_'))
        })
}

fn check_status_codes(subject: &CheckedRow) -> Option<RowProblem> {
    let column = "accepted_statuscodes_json";
    let codes = texts(subject.text(column)?)?;
    let example = if subject.kind.name == "websocket-upgrade" { "1000" } else { "200-299,301" };
    if codes.is_empty() {
        return Some(RowProblem::about(&[column], "is empty, so no response is accepted as up").typed(example));
    }
    let code = |text: &str| -> Option<u16> {
        let is_code = text.len() == 3 || text.len() == 4 && subject.kind.name == "websocket-upgrade";
        text.parse().ok().filter(|code| is_code && *code >= 100)
    };
    let wrong = codes.iter().find(|text| match text.split_once('-') {
        Some((first, last)) => !matches!((code(first), code(last)), (Some(first), Some(last)) if first <= last),
        None => code(text).is_none(),
    })?;
    let form = if subject.kind.name == "websocket-upgrade" { "`1000` or `1000-1003`" } else { "`204` or `200-299`" };
    Some(RowProblem::about(&[column], format!("`{wrong}` is not a valid status code; use {form}")).typed(example))
}

/// Text that must be a JSON object if present.
fn check_json_text(subject: &CheckedRow, column: &'static str, example: &str) -> Option<RowProblem> {
    let message = match serde_json::from_str::<Json>(subject.text(column)?) {
        Ok(Json::Object(_)) => return None,
        Ok(_) => "is JSON, but not an object".to_owned(),
        Err(error) => not_json(&error),
    };
    Some(RowProblem::about(&[column], message).typed(example))
}

/// Text that must be JSON of any shape if present.
fn check_json_value(subject: &CheckedRow, column: &'static str, hint: &str) -> Option<RowProblem> {
    let error = serde_json::from_str::<Json>(subject.text(column)?).err()?;
    Some(RowProblem::about(&[column], not_json(&error)).command(hint))
}

/// Where the JSON is invalid, without its text: it may be a secret.
fn not_json(error: &serde_json::Error) -> String {
    format!("is not valid JSON (line {}, column {})", error.line(), error.column())
}

fn check_authentication(subject: &CheckedRow, found: &mut Vec<RowProblem>) {
    let (method, needed): (&str, &[&str]) = match subject.text("auth_method") {
        Some("oauth2-cc") => ("oauth2-cc", &["oauth_token_url", "oauth_client_id", "oauth_client_secret"]),
        Some("mtls") => ("mtls", &["tls_cert", "tls_key"]),
        _ => return,
    };
    for column in needed.iter().filter(|column| subject.is_empty(column)) {
        let mut missing = subject.missing(column, &format!("by authentication method `{method}`"));
        missing.also("auth_method");
        found.push(missing);
    }
}

fn check_comparison(subject: &CheckedRow) -> Option<RowProblem> {
    let operator = subject.text("json_path_operator").filter(|operator| operator.starts_with(['<', '>']))?;
    let value = subject.text("expected_value")?;
    value.trim().parse::<f64>().is_err().then(|| {
        let message = format!("invalid value `{value}`; must be a number, because `{operator}` compares numbers");
        RowProblem::about(&["expected_value", "json_path_operator"], message).typed("0")
    })
}

fn check_screenshot_delay(subject: &CheckedRow) -> Option<RowProblem> {
    let (delay, interval) = (subject.number("screenshot_delay")?, subject.number("interval")?);
    let limit = interval * 500.0;
    (delay >= limit).then(|| {
        let message = format!(
            "invalid value {} ms; must be below {} ms, half of the interval",
            grouped(delay as i64),
            grouped(limit as i64)
        );
        RowProblem::about(&["screenshot_delay", "interval"], message).typed("1000")
    })
}

fn check_push_token(subject: &CheckedRow) -> Option<RowProblem> {
    let token = subject.text("push_token")?;
    let fits = token.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_'));
    (!fits).then(|| {
        RowProblem::about(&["push_token"], "has characters other than letters, digits, `-` and `_`")
            .hint("omit `push_token` to generate one")
    })
}

fn check_connection_string(subject: &CheckedRow) -> Option<RowProblem> {
    let text = subject.text("database_connection_string")?;
    let schemes: &[&str] = match subject.kind.name {
        "postgres" => &["postgres://", "postgresql://", "socket:", "/"],
        "mysql" => &["mysql://", "mariadb://"],
        "mongodb" => &["mongodb://", "mongodb+srv://"],
        "redis" => &["redis://", "rediss://"],
        _ => return None,
    };
    let lower = text.to_lowercase();
    if schemes.iter().any(|scheme| lower.starts_with(scheme)) {
        return None;
    }
    let desired: Vec<String> =
        schemes.iter().filter(|scheme| scheme.contains("://")).map(|scheme| format!("`{scheme}`")).collect();
    let message = format!("must start with {}", desired.join(" or "));
    let example = format!("{}kuma:…@{}", schemes[0], if subject.kind.name == "redis" { "cache" } else { "db/app" });
    Some(RowProblem::about(&["database_connection_string"], message).typed(&example))
}

fn check_ping(subject: &CheckedRow, found: &mut Vec<RowProblem>) {
    if subject.release < R2_0 {
        return;
    }
    // 0 means "default timeout" to the server, and the page computes it.
    let Some(timeout) = subject.number("timeout").map(f64::round).filter(|timeout| *timeout != 0.0) else { return };
    if !(1.0..=300.0).contains(&timeout) {
        let message = format!("invalid value {timeout} s; must be 1 to 300 s for a ping");
        found.push(RowProblem::about(&["timeout"], message).typed("10"));
        return;
    }
    if let Some(each) = subject.number("ping_per_request_timeout").filter(|each| timeout < *each) {
        let message = format!(
            "invalid value {timeout} s; must be at least {each} s, the timeout of one ping \
                               (`ping_per_request_timeout`)"
        );
        found.push(RowProblem::about(&["timeout", "ping_per_request_timeout"], message).typed(&each.to_string()));
    }
}

fn check_dns(subject: &CheckedRow, found: &mut Vec<RowProblem>) {
    if let Some(host) = subject.text("hostname")
        && host.trim().parse::<IpAddr>().is_ok()
        && subject.text("dns_resolve_type").is_some_and(|record| record != "PTR")
    {
        let message = format!("`{host}` is an address, which only `PTR` queries accept");
        found.push(RowProblem::about(&["hostname", "dns_resolve_type"], message).command("--dns-resolve-type PTR"));
    }
    let Some(servers) = subject.text("dns_resolve_server") else { return };
    if subject.release < R2_1 {
        if servers.trim().trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_err() {
            let message = format!("invalid value `{servers}`; release {} accepts only one IP address", subject.release);
            found.push(RowProblem::about(&["dns_resolve_server"], message).typed("1.1.1.1"));
        }
        return;
    }
    let mut servers = servers.split(',').map(str::trim).filter(|server| !server.is_empty()).peekable();
    match servers.peek() {
        None => found.push(subject.missing("dns_resolve_server", "")),
        Some(_) => found.extend(servers.find(|server| !is_host(server, false)).map(|server| {
            let message = format!("`{server}` is not a valid host name or address");
            RowProblem::about(&["dns_resolve_server"], message).typed("1.1.1.1")
        })),
    }
}

fn check_mqtt(subject: &CheckedRow, found: &mut Vec<RowProblem>) {
    const SCHEMES: [&str; 4] = ["mqtt", "mqtts", "ws", "wss"];
    if let Some(typed) = subject.text("hostname") {
        let (scheme, host) = typed.trim().split_once("://").unwrap_or(("mqtt", typed.trim()));
        let (bare, port) = split_port(host);
        if !SCHEMES.contains(&scheme) {
            let message = format!("`{scheme}://` is not supported; use `mqtt://`, `mqtts://`, `ws://` or `wss://`");
            found.push(RowProblem::about(&["hostname"], message).typed(&format!("mqtt://{}", without_login(bare))));
        } else if let Some(port) = port {
            let hint = format!("--hostname {scheme}://{} --port {port}", shell_word(without_login(bare)));
            let message = format!("`{}` contains a port", without_credentials(typed));
            found.push(RowProblem::about(&["hostname"], message).command(hint));
        } else if !is_host(host, false) {
            let message = format!("`{}` is not a valid host name or address", without_credentials(typed));
            found.push(RowProblem::about(&["hostname"], message).typed("mqtt.example.com"));
        }
    }
    if let Some(path) = subject.text("mqtt_websocket_path")
        && !path
            .strip_prefix('/')
            .is_some_and(|rest| rest.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_&()*+".contains(letter)))
    {
        let message = format!("`{path}` is not a valid path; use `/`, then letters, digits and `-_&()*+`");
        found.push(RowProblem::about(&["mqtt_websocket_path"], message).typed("/mqtt"));
    }
    if subject.text("mqtt_check_type") == Some("json-query") {
        for column in ["json_path", "expected_value"].into_iter().filter(|column| subject.is_empty(column)) {
            let mut missing = subject.missing(column, "by check type `json-query`");
            missing.also("mqtt_check_type");
            found.push(missing);
        }
    }
}

fn check_snmp(subject: &CheckedRow, found: &mut Vec<RowProblem>) {
    if let Some(oid) = subject.text("snmp_oid") {
        let mut parts = oid.split('.');
        let is_root = parts.next().is_some_and(|root| matches!(root, "0" | "1" | "2"));
        let is_oid = is_root
            && parts.all(|part| {
                part.bytes().all(|digit| digit.is_ascii_digit())
                    && (part == "0" || !part.starts_with('0') && !part.is_empty())
            });
        if !is_oid {
            let message = format!("`{oid}` is not a valid object identifier");
            found.push(RowProblem::about(&["snmp_oid"], message).typed("1.3.6.1.2.1.1.3.0"));
        }
    }
    let (needed, version) = match subject.text("snmp_version") {
        Some("3") if subject.release < R2_1 => return,
        Some("3") => ("snmp_v3_username", "by SNMP version 3"),
        _ => ("radius_password", "by SNMP versions 1 and 2c, as the community string"),
    };
    if subject.is_empty(needed) {
        let mut missing = subject.missing(needed, version);
        missing.also("snmp_version");
        found.push(missing);
    }
}

fn check_rabbitmq(subject: &CheckedRow, found: &mut Vec<RowProblem>) {
    let Some(nodes) = subject.text("rabbitmq_nodes").and_then(texts) else { return };
    found.extend(nodes.iter().find(|node| !node.starts_with("http://") && !node.starts_with("https://")).map(|node| {
        let message = format!("`{}` must start with `http://` or `https://`", without_credentials(node));
        RowProblem::about(&["rabbitmq_nodes"], message).typed("https://node1:15672")
    }));
}

fn check_kafka(subject: &CheckedRow, found: &mut Vec<RowProblem>) {
    if let Some(brokers) = subject.text("kafka_producer_brokers").and_then(texts) {
        let is_broker = |broker: &str| matches!(split_port(broker), (host, Some(_)) if is_host(host, false));
        found.extend(brokers.iter().find(|broker| !is_broker(broker)).map(|broker| {
            let message = format!("`{broker}` is not a valid broker; use `host:port`");
            RowProblem::about(&["kafka_producer_brokers"], message).typed("k1:9092,k2:9092")
        }));
    }
    let column = "kafka_producer_sasl_options";
    let Some(Ok(Json::Object(options))) = subject.text(column).map(serde_json::from_str) else { return };
    const MECHANISMS: [&str; 5] = ["None", "plain", "scram-sha-256", "scram-sha-512", "aws"];
    let text = |key: &str| options.get(key).and_then(Json::as_str).filter(|text| !text.is_empty());
    match text("mechanism") {
        Some(known) if MECHANISMS.contains(&known) => {
            let needed: &[&str] = match known {
                "aws" => &["authorizationIdentity", "accessKeyId", "secretAccessKey"],
                _ => &[],
            };
            for key in needed.iter().filter(|key| text(key).is_none()) {
                let message = format!("`{key}` is required by mechanism `aws`");
                let hint = "--kafka-producer-sasl-options '{\"mechanism\": \"aws\", …}'";
                found.push(RowProblem::about(&[column], message).command(hint));
            }
        }
        other => {
            let known: Vec<String> = MECHANISMS.iter().map(|name| format!("`{name}`")).collect();
            let what = other.map_or_else(|| "no mechanism".to_owned(), |name| format!("unknown mechanism `{name}`"));
            let message = format!("{what}; must be one of {}", known.join(", "));
            found.push(RowProblem::about(&[column], message).typed("'{\"mechanism\": \"None\"}'"));
        }
    }
}

fn check_grpc(subject: &CheckedRow, found: &mut Vec<RowProblem>) {
    if let Some((scheme @ ("http" | "https" | "grpc" | "grpcs"), rest)) =
        subject.text("grpc_url").and_then(|url| url.split_once("://"))
    {
        let message = format!("must be a host and port without `{scheme}://`");
        let tls = if matches!(scheme, "https" | "grpcs") { " --grpc-enable-tls true" } else { "" };
        let hint = format!("--grpc-url {}{tls}", shell_word(without_login(rest).trim_end_matches('/')));
        found.push(RowProblem::about(&["grpc_url"], message).command(hint));
    }
    found.extend(check_json_text(subject, "grpc_body", "'{}'"));
    found.extend(check_json_text(subject, "grpc_metadata", "'{}'"));
}

fn check_game(subject: &CheckedRow) -> Option<RowProblem> {
    let game = subject.text("game")?;
    let here = renamed_game(game, subject.release)?;
    let message = format!("release {} knows the game `{game}` as `{here}`", subject.release);
    Some(RowProblem::about(&["game"], message).typed(here))
}

fn check_service(subject: &CheckedRow) -> Option<RowProblem> {
    let column = "system_service_name";
    let name = subject.text(column)?;
    if subject.kind.name == "pm2" {
        return name
            .contains(|letter: char| letter < ' ' || letter == '\x7f')
            .then(|| RowProblem::about(&[column], "contains control characters").typed("api"));
    }
    let fits = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-@".contains(letter));
    (!fits).then(|| {
        let what = field(column).map_or_else(|| "it".into(), |known| shown(known, name));
        let message = format!("{what} is not a valid service name; use letters, digits and `._-@`");
        RowProblem::about(&[column], message).typed("sshd")
    })
}

fn check_globalping(subject: &CheckedRow, found: &mut Vec<RowProblem>) {
    if let Some(location) = subject.text("location").filter(|location| location.contains(',')) {
        let message = format!(
            "`{location}` contains several locations, but only one is supported; combine filters \
                               with `+`"
        );
        found.push(
            RowProblem::about(&["location"], message).typed(&location.replace([',', ' '], "+").replace("++", "+")),
        );
    }
    let subtype = subject.text("subtype").unwrap_or("ping");
    let needed = if subtype == "http" { "url" } else { "hostname" };
    if subject.is_empty(needed) {
        let mut missing = subject.missing(needed, &format!("by measurement `{subtype}`"));
        missing.also("subtype");
        found.push(missing);
    }
    match subtype {
        "http" => found.extend(check_url(subject, "url", &["http", "https"])),
        _ => found.extend(check_host(subject)),
    }
    let protocols: &[&str] = match subtype {
        "http" => &["HTTP2"],
        "dns" => &["UDP", "TCP"],
        _ => &["ICMP", "TCP"],
    };
    let protocol = subject.text("protocol");
    if protocol.map_or(subtype != "http", |protocol| !protocols.contains(&protocol)) {
        let known: Vec<String> = protocols.iter().map(|name| format!("`{name}`")).collect();
        let what = protocol.map_or_else(|| "is empty".to_owned(), |protocol| format!("invalid value `{protocol}`"));
        let message = format!("{what}; must be {} for measurement `{subtype}`", known.join(" or "));
        found.push(RowProblem::about(&["protocol", "subtype"], message).typed(protocols[0]));
    }
    let needs_port = subtype == "dns" || subtype == "ping" && protocol == Some("TCP");
    if needs_port && subject.is_empty("port") {
        let mut missing = subject.missing("port", &format!("by measurement `{subtype}`"));
        missing.also("protocol");
        found.push(missing);
    }
}
