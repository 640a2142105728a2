//! Tables of the database as JSON: `{kumaconf, tables: {monitor: {columns, rows}}, omitted_secrets}`.
//!
//! Rows are joined into the things that the socket API would send, and go the way of those.

use super::super::node::{Data, Entry, Node};
use super::Source;
use super::columns::{has, nearest};
use super::draft::{Draft, entry};
use super::dump::{self, Dump};

/// The tables whose rows are converted.
const TABLES: [&str; 17] = [
    "monitor",
    "tag",
    "monitor_tag",
    "notification",
    "monitor_notification",
    "proxy",
    "docker_host",
    "remote_browser",
    "status_page",
    "group",
    "monitor_group",
    "status_page_cname",
    "incident",
    "maintenance",
    "monitor_maintenance",
    "maintenance_status_page",
    "setting",
];

/// Settings in which a server notes what it did to its own database.
const OWN_SETTINGS: [&str; 5] =
    ["jwtSecret", "database_version", "databasePatchedFiles", "migrateAggregateTableState", "initServerTimezone"];

pub(super) fn convert(draft: &mut Draft, sources: &[Source]) {
    let mut dumps = Vec::new();
    for document in sources.iter().flat_map(|source| &source.documents) {
        let Some(Node { data: Data::Map(_), .. }) = document.find("tables") else {
            draft.wrong(&document.at, "a kumaconf document", "it has no map `tables`");
            continue;
        };
        let tables = Tables::read(draft, document);
        refuse_omitted(draft, document, &tables);
        tables.settings(draft);
        dumps.push(tables.dump());
    }
    dump::convert(draft, &dumps, &[]);
}

/// All rows, each a map from column to cell.
struct Tables(Vec<(String, Vec<Node>)>);

impl Tables {
    fn read(draft: &mut Draft, document: &Node) -> Tables {
        let mut tables = Vec::new();
        for table in document.find("tables").map_or(&[][..], Node::entries) {
            let rows = rows(draft, table);
            if !TABLES.contains(&table.key.as_str()) {
                let what = format!("table `{}`, {} rows", table.key, rows.len());
                match nearest(&table.key, TABLES.into_iter()).filter(|near| near.len().abs_diff(table.key.len()) <= 1) {
                    Some(near) => {
                        draft.wrong(&table.at, &what, format!("there is no such table, did you mean `{near}`?"))
                    }
                    None if rows.is_empty() => {}
                    None => {
                        draft.skip(&table.at, what, "it is no configuration, or belongs to the server it comes from")
                    }
                }
                continue;
            }
            tables.push((table.key.clone(), rows));
        }
        Tables(tables)
    }

    fn rows(&self, table: &str) -> &[Node] {
        self.0.iter().find(|(name, _)| name == table).map_or(&[], |(_, rows)| rows)
    }

    /// The rows of `table` whose `column` is `id`, in the order of their weight.
    fn below(&self, table: &str, column: &str, id: &str) -> Vec<&Node> {
        let cell = |row: &Node, column: &str| row.find(column).and_then(Node::scalar);
        let mut rows: Vec<&Node> =
            self.rows(table).iter().filter(|row| cell(row, column).as_deref() == Some(id)).collect();
        rows.sort_by_key(|row| row.find("weight").and_then(Node::int).unwrap_or(0));
        rows
    }

    fn settings(&self, draft: &mut Draft) {
        for row in self.rows("setting") {
            let Some(key) = row.find("key").and_then(Node::scalar) else { continue };
            if OWN_SETTINGS.contains(&key.as_str()) {
                draft.skip(&row.at, format!("setting `{key}`"), "it belongs to the server it comes from");
            } else if let Some(value) = row.find("value") {
                let json = value.text().and_then(|text| serde_json::from_str(text).ok());
                draft.setting(entry(key, json.map_or_else(|| value.clone(), |json| Node::from_json(&value.at, &json))));
            }
        }
    }

    fn dump(&self) -> Dump {
        let with = |table: &str, more: &dyn Fn(&str, &Node) -> Vec<Entry>| -> Vec<Node> {
            let joined = |row: &Node| {
                let id = row.find("id").and_then(Node::scalar).unwrap_or_default();
                let entries = row.entries().iter().cloned().chain(more(&id, row)).collect();
                Node { at: row.at.clone(), data: Data::Map(entries) }
            };
            self.rows(table).iter().map(joined).collect()
        };
        let list = |key: &str, row: &Node, items: Vec<Node>| vec![entry(key, Node::new(row.at.clone(), items))];
        let ids = |table: &str, own: &str, id: &str, other: &str| -> Vec<Node> {
            self.below(table, own, id).into_iter().filter_map(|link| link.find(other).cloned()).collect()
        };
        Dump {
            monitors: with("monitor", &|id, row| {
                let notified = ids("monitor_notification", "monitor_id", id, "notification_id");
                let mut more = list("notificationIDList", row, notified);
                more.extend(list("tags", row, self.tags_of(id)));
                more
            }),
            notifications: self.rows("notification").to_vec(),
            proxies: self.rows("proxy").to_vec(),
            docker_hosts: self.rows("docker_host").to_vec(),
            remote_browsers: self.rows("remote_browser").to_vec(),
            tags: self.rows("tag").to_vec(),
            status_pages: with("status_page", &|id, row| {
                let groups = self.below("group", "status_page_id", id).into_iter().map(|group| self.group(group));
                let mut more = list("groups", row, groups.collect());
                more.extend(list("domains", row, ids("status_page_cname", "status_page_id", id, "domain")));
                let incidents = self.below("incident", "status_page_id", id).into_iter().cloned();
                more.extend(list("incidents", row, incidents.collect()));
                more
            }),
            maintenance: with("maintenance", &|id, row| {
                let mut more = list("monitors", row, ids("monitor_maintenance", "maintenance_id", id, "monitor_id"));
                let pages = ids("maintenance_status_page", "maintenance_id", id, "status_page_id");
                more.extend(list("status_pages", row, pages));
                more
            }),
        }
    }

    /// The tags of a monitor, with their names and colors.
    fn tags_of(&self, monitor: &str) -> Vec<Node> {
        let named = |link: &Node| {
            let id = link.find("tag_id").and_then(Node::scalar)?;
            let tag = self.below("tag", "id", &id).into_iter().next()?;
            let value = link.find("value").cloned().map(|value| entry("value", value));
            let entries = tag.entries().iter().cloned().chain(value).collect();
            Some(Node { at: link.at.clone(), data: Data::Map(entries) })
        };
        self.below("monitor_tag", "monitor_id", monitor).into_iter().filter_map(named).collect()
    }

    fn group(&self, group: &Node) -> Node {
        let id = group.find("id").and_then(Node::scalar).unwrap_or_default();
        let monitors: Vec<Node> = self.below("monitor_group", "group_id", &id).into_iter().map(shown).collect();
        let list = entry("monitors", Node::new(group.at.clone(), monitors));
        Node { at: group.at.clone(), data: Data::Map(group.entries().iter().cloned().chain([list]).collect()) }
    }
}

/// A row of `monitor_group` without its own id, which is not the monitor's.
fn shown(link: &Node) -> Node {
    let entries = link.entries().iter().filter(|entry| entry.key != "id").cloned().collect();
    Node { at: link.at.clone(), data: Data::Map(entries) }
}

/// The rows of `{columns: [...], rows: [[...]]}`, as maps.
fn rows(draft: &mut Draft, table: &Entry) -> Vec<Node> {
    let what = format!("table `{}`", table.key);
    let columns: Vec<String> =
        table.value.find("columns").map_or(&[][..], Node::list).iter().filter_map(Node::scalar).collect();
    let mut found = Vec::new();
    for row in table.value.find("rows").unwrap_or(&table.value).list() {
        match &row.data {
            Data::Map(_) => found.push(row.clone()),
            Data::List(cells) if cells.len() == columns.len() => {
                let entries = columns.iter().zip(cells).map(|(column, cell)| entry(column.as_str(), cell.clone()));
                found.push(Node { at: row.at.clone(), data: Data::Map(entries.collect()) });
            }
            Data::List(cells) => {
                draft.wrong(
                    &row.at,
                    &what,
                    format!("a row has {} cells, there are {} columns", cells.len(), columns.len()),
                );
            }
            _ => draft.wrong(&row.at, &what, format!("a row is {}", row.noun())),
        }
    }
    found
}

/// Refuses secrets that were left out when the file was made and that nobody has put in since.
fn refuse_omitted(draft: &mut Draft, document: &Node, tables: &Tables) {
    for secret in document.find("omitted_secrets").map_or(&[][..], Node::list) {
        let Some((table, column)) = secret.text().and_then(|text| text.split_once('.')) else { continue };
        if !TABLES.contains(&table) || table == "setting" && column == "jwtSecret" {
            continue;
        }
        let is_used =
            |row: &&Node| table != "monitor" || has(row.find("type").and_then(Node::text).unwrap_or_default(), column);
        let rows: Vec<&Node> = tables.rows(table).iter().filter(is_used).collect();
        let supplied = rows.iter().filter(|row| row.find(column).is_some_and(|cell| !cell.is_null())).count();
        // A config is never empty, while a monitor may well have no password.
        let enough = if column == "config" { supplied == rows.len() } else { supplied > 0 || rows.is_empty() };
        if !enough {
            let message =
                "was left out as a secret when the file was made; export it again with its secrets, or write them in";
            draft.wrong(&secret.at, &format!("`{table}.{column}`"), message);
        }
    }
}
