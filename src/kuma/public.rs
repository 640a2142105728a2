//! Reads status pages, maintenance windows and the time zone of the server.

use chrono_tz::Tz;

use crate::engine::{Reader, quote};
use crate::error::{Error, InputError, Problem, Result};
use crate::schema::Schema;
use crate::value::{Row, Value};

/// What a status page shows.
#[derive(Clone, Debug)]
pub struct StatusPage {
    /// Its row.
    pub row: Row,
    /// Its public groups in order: name, and ids of the monitors in it in order.
    pub groups: Vec<(String, Vec<i64>)>,
    /// Its open incidents, newest first: title, content.
    pub incidents: Vec<(String, String)>,
    /// Ids of the maintenance windows that it shows while they are in progress.
    pub maintenance: Vec<i64>,
}

/// Reads the status page with this slug, as the server does for its visitors (`getStatusPageData`, 2.5.3).
///
/// # Errors
/// [`InputError::Unknown`] if there is no such page, [`InputError::Problems`] if it is not published.
pub fn read_status_page(reader: &mut dyn Reader, schema: &Schema, slug: &str) -> Result<StatusPage> {
    let slug = slug.to_lowercase();
    let rows = reader.query("SELECT * FROM `status_page` WHERE `slug` = ?", &[Value::from(slug.as_str())])?;
    let Some(row) = rows.into_iter().next() else {
        let known = reader.query("SELECT `slug` FROM `status_page` ORDER BY `slug`", &[])?;
        let known = known.iter().filter_map(|row| row.at(0).text().map(str::to_owned)).collect();
        return Err(Error::Input(InputError::Unknown { kind: "status page", name: slug, known }));
    };
    if !row.cell("published").truthy() {
        let problem = Problem::new("--status-page", format!("`{slug}` is not published, so its visitors see nothing"));
        return Err(Error::Input(InputError::Problems(vec![problem.hint("publish it in the web UI")])));
    }
    let id = [Value::Int(row.int("id").unwrap_or_default())];
    let mut groups = Vec::new();
    let sql = "SELECT `id`, `name` FROM `group` WHERE `public` = 1 AND `status_page_id` = ? ORDER BY `weight`, `id`";
    for group in reader.query(sql, &id)? {
        let sql = "SELECT `monitor_id` FROM `monitor_group` WHERE `group_id` = ? ORDER BY `weight`, `id`";
        let monitors = reader.query(sql, &[group.at(0).clone()])?;
        let name = group.text("name").unwrap_or_default().to_owned();
        groups.push((name, monitors.iter().filter_map(|row| row.at(0).int()).collect()));
    }
    let sql = "SELECT `title`, `content` FROM `incident` WHERE `pin` = 1 AND `active` = 1 AND `status_page_id` = ? \
               ORDER BY `created_date` DESC";
    let text = |row: &Row, column: &str| row.text(column).unwrap_or_default().to_owned();
    let incidents = reader.query(sql, &id)?.iter().map(|row| (text(row, "title"), text(row, "content"))).collect();
    let mut maintenance = Vec::new();
    if schema.table("maintenance_status_page").is_some() {
        let sql = "SELECT DISTINCT `maintenance_id` FROM `maintenance_status_page` WHERE `status_page_id` = ?";
        maintenance.extend(reader.query(sql, &id)?.iter().filter_map(|row| row.at(0).int()));
    }
    Ok(StatusPage { row, groups, incidents, maintenance })
}

/// The rows of all maintenance windows.
pub fn read_maintenance(reader: &mut dyn Reader, schema: &Schema) -> Result<Vec<Row>> {
    match schema.table("maintenance") {
        Some(_) => reader.query(&format!("SELECT * FROM {} ORDER BY `id`", quote("maintenance")), &[]),
        None => Ok(Vec::new()),
    }
}

/// The time zone of the server: its setting `serverTimezone`, JSON text. UTC where it is not set: the server then uses
/// that of its host, and its image has UTC (2.5.3).
pub fn read_server_zone(reader: &mut dyn Reader) -> Result<Tz> {
    let rows = reader.query("SELECT `value` FROM `setting` WHERE `key` = 'serverTimezone'", &[])?;
    let name = rows.first().and_then(|row| row.at(0).text()).unwrap_or_default();
    Ok(name.trim_matches('"').parse().unwrap_or(Tz::UTC))
}
