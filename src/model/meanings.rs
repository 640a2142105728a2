//! Fields that have another meaning for monitors of some types than for the rest, as the server of 2.5.3 uses them.
//!
//! This file is a table.

/// Type, column, and what the column is for monitors of this type.
static OTHER: [(&str, &str, &str); 10] = [
    ("push", "interval", "how long the server waits for a push"),
    ("push", "retry_interval", "how often the server records that no push has arrived"),
    ("group", "interval", "how often the server looks at the status of the monitors in it"),
    ("group", "retry_interval", "how often the server looks at the status of the monitors in it while one is down"),
    ("manual", "interval", "how often the server records the status that a user has set"),
    ("dns", "hostname", "the name that is looked up"),
    ("dns", "port", "the port of the DNS server"),
    ("ping", "timeout", "the time for all packets of a check"),
    ("kafka-producer", "timeout", "the time for the connection only"),
    ("snmp", "maxretries", "also how often a request of one check is sent again"),
];

/// What `column` is for monitors of type `kind`, if that is something else than for most types.
pub fn other_meaning(kind: &str, column: &str) -> Option<&'static str> {
    OTHER.iter().find(|(of, name, _)| *of == kind && *name == column).map(|(_, _, meaning)| *meaning)
}
