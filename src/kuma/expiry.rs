//! Reads when certificates and domains expire, as the server last saw them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use crate::engine::Reader;
use crate::error::Result;
use crate::schema::Schema;
use crate::value::{Value, server_time};

/// The end of the certificate of each of these monitors: `certInfo.validTo` of `monitor_tls_info` (1.23 to 2.5).
pub fn read_certificates(reader: &mut dyn Reader, schema: &Schema) -> Result<BTreeMap<i64, DateTime<Utc>>> {
    let mut ends = BTreeMap::new();
    if schema.table("monitor_tls_info").is_none() {
        return Ok(ends);
    }
    reader.stream("SELECT `monitor_id`, `info_json` FROM `monitor_tls_info` ORDER BY `id`", &[], &mut |row| {
        let end = row.at(1).text().and_then(|text| serde_json::from_str::<Json>(text).ok()).and_then(|info| {
            let end = info["certInfo"]["validTo"].as_str()?;
            DateTime::parse_from_rfc3339(end).ok().map(|end| end.to_utc())
        });
        if let (Some(id), Some(end)) = (row.at(0).int(), end) {
            ends.insert(id, end);
        }
        Ok(())
    })?;
    Ok(ends)
}

/// The end of the registration of the domain that `host` belongs to, from `domain_expiry` (2.1 and newer).
pub fn read_domain(reader: &mut dyn Reader, schema: &Schema, host: &str) -> Result<Option<DateTime<Utc>>> {
    if !schema.has("domain_expiry", "expiry") {
        return Ok(None);
    }
    // The domain is the end of the host name that the registry knows; the longest that is stored fits best.
    let labels: Vec<&str> = host.trim_end_matches('.').split('.').collect();
    for at in 0..labels.len().saturating_sub(1) {
        let domain = labels[at..].join(".");
        let sql = "SELECT `expiry` FROM `domain_expiry` WHERE `domain` = ? AND `expiry` IS NOT NULL";
        let rows = reader.query(sql, &[Value::from(domain)])?;
        if let Some(end) = rows.first().and_then(|row| row.at(0).text()).and_then(server_time) {
            return Ok(Some(end));
        }
    }
    Ok(None)
}
