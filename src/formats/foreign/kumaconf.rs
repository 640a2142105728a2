//! Tables of the database as JSON: `{kumaconf, tables: {monitor: {columns, rows}}, omitted_secrets}`.
//!
//! Rows are joined into the items that the socket API would send, and converted like those.

use crate::text::{meant, nearest};
use std::collections::HashMap;

use super::super::node::{Data, Entry, Node};
use super::SourceFile;
use super::columns::has;
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

/// Facts about the file and its server.
const FACTS: [&str; 8] = [
    "format_version",
    "created_at",
    "secrets_included",
    "kuma_version",
    "app_version",
    "database_version",
    "source",
    "tool_version",
];

/// Columns that are read to join rows.
const LINKS: [&str; 8] =
    ["id", "monitor_id", "tag_id", "notification_id", "status_page_id", "group_id", "maintenance_id", "weight"];

/// Settings in which a server records changes of its own database.
const OWN_SETTINGS: [&str; 5] =
    ["jwtSecret", "database_version", "databasePatchedFiles", "migrateAggregateTableState", "initServerTimezone"];

pub(super) fn convert(draft: &mut Draft, sources: &[SourceFile]) {
    let mut dumps = Vec::new();
    for document in sources.iter().flat_map(|source| &source.documents) {
        let Some(Node { data: Data::Map(_), .. }) = document.find("tables") else {
            draft.wrong(&document.at, "a kumaconf file", "the map `tables` is missing");
            continue;
        };
        about(draft, document);
        let tables = Tables::read(draft, document);
        refuse_omitted(draft, document, &tables);
        tables.settings(draft);
        dumps.push(tables.dump());
    }
    dump::convert(draft, &dumps, &[]);
}

/// The keys beside the tables, and beside the rows of each table.
fn about(draft: &mut Draft, document: &Node) {
    let others = |node: &Node, known: &[&str]| {
        let entries = node.entries().iter().filter(|one| !known.contains(&one.key.as_str())).cloned().collect();
        Node { at: node.at.clone(), data: Data::Map(entries) }
    };
    draft.root(others(document, &["tables", "omitted_secrets"]));
    if let Some(about) = document.find("kumaconf") {
        draft.account_keys(about, &FACTS);
    }
    for table in document.find("tables").map_or(&[][..], Node::entries) {
        draft.root(others(&table.value, &["columns", "rows"]));
    }
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
                match nearest(&table.key, TABLES).filter(|near| near.len().abs_diff(table.key.len()) <= 1) {
                    Some(near) => draft.wrong(&table.value.at, &what, format!("unknown table{}", meant(near))),
                    None if rows.is_empty() && table.value.scalar().is_none() => {}
                    None => {
                        draft.skip_entry(table, what, "it is not configuration, or is specific to the source server")
                    }
                }
                continue;
            }
            for row in &rows {
                let links = row.entries().iter().filter(|one| LINKS.contains(&one.key.as_str()));
                links.filter(|one| one.value.scalar().is_some()).for_each(|one| draft.account(&one.value));
                draft.root(row.clone());
            }
            tables.push((table.key.clone(), rows));
        }
        Tables(tables)
    }

    fn rows(&self, table: &str) -> &[Node] {
        self.0.iter().find(|(name, _)| name == table).map_or(&[], |(_, rows)| rows)
    }

    /// The rows of `table` by their value in `column`, in the order of their weight.
    fn by(&self, table: &str, column: &str) -> Links<'_> {
        let mut links: HashMap<String, Vec<&Node>> = HashMap::new();
        for row in self.rows(table) {
            if let Some(id) = row.find(column).and_then(Node::scalar) {
                links.entry(id).or_default().push(row);
            }
        }
        for rows in links.values_mut() {
            rows.sort_by_key(|row| row.find("weight").and_then(Node::int).unwrap_or(0));
        }
        Links(links)
    }

    fn settings(&self, draft: &mut Draft) {
        for row in self.rows("setting") {
            let Some(key) = row.find("key").and_then(Node::scalar) else { continue };
            draft.account_keys(row, &["key", "type"]);
            if OWN_SETTINGS.contains(&key.as_str()) {
                draft.skip(&row.at, format!("setting `{key}`"), "it is specific to the source server");
            } else if let Some(value) = row.find("value") {
                let json = value.text().and_then(|text| serde_json::from_str(text).ok());
                draft.setting(entry(key, json.map_or_else(|| value.clone(), |json| Node::from_json(&value.at, &json))));
            }
        }
    }

    fn dump(&self) -> Dump {
        Dump {
            monitors: self.monitors(),
            notifications: self.rows("notification").to_vec(),
            proxies: self.rows("proxy").to_vec(),
            docker_hosts: self.rows("docker_host").to_vec(),
            remote_browsers: self.rows("remote_browser").to_vec(),
            tags: self.rows("tag").to_vec(),
            status_pages: self.status_pages(),
            maintenance: self.maintenance(),
        }
    }

    /// Monitors with their tags and notifications.
    fn monitors(&self) -> Vec<Node> {
        let (tags, links) = (self.by("tag", "id"), self.by("monitor_tag", "monitor_id"));
        let notified = self.by("monitor_notification", "monitor_id");
        let tag = |link: &&Node| {
            let tag = link.find("tag_id").and_then(Node::scalar).and_then(|id| tags.of(&id).first().copied())?;
            let value = link.find("value").cloned().map(|value| entry("value", value));
            Some(with(tag, value))
        };
        let joined = |row: &Node| {
            let id = id(row);
            let tags = links.of(&id).iter().filter_map(tag).collect();
            with(
                row,
                [list("tags", row, tags), list("notificationIDList", row, notified.cells(&id, "notification_id"))],
            )
        };
        self.rows("monitor").iter().map(joined).collect()
    }

    /// Status pages with their groups, domains and incidents.
    fn status_pages(&self) -> Vec<Node> {
        let (groups, shown) = (self.by("group", "status_page_id"), self.by("monitor_group", "group_id"));
        let (domains, incidents) =
            (self.by("status_page_cname", "status_page_id"), self.by("incident", "status_page_id"));
        let group = |group: &&Node| {
            let monitors = shown.of(&id(group)).iter().map(|link| without_id(link)).collect();
            with(group, [list("monitors", group, monitors)])
        };
        let joined = |row: &Node| {
            let id = id(row);
            let groups = groups.of(&id).iter().map(group).collect();
            let incidents = incidents.of(&id).iter().map(|row| (*row).clone()).collect();
            let domains = domains.cells(&id, "domain");
            with(row, [list("groups", row, groups), list("domains", row, domains), list("incidents", row, incidents)])
        };
        self.rows("status_page").iter().map(joined).collect()
    }

    /// Maintenance with its monitors and pages.
    fn maintenance(&self) -> Vec<Node> {
        let monitors = self.by("monitor_maintenance", "maintenance_id");
        let pages = self.by("maintenance_status_page", "maintenance_id");
        let joined = |row: &Node| {
            let (monitors, pages) = (monitors.cells(&id(row), "monitor_id"), pages.cells(&id(row), "status_page_id"));
            with(row, [list("monitors", row, monitors), list("status_pages", row, pages)])
        };
        self.rows("maintenance").iter().map(joined).collect()
    }
}

/// Rows by the id of the row they belong to.
struct Links<'t>(HashMap<String, Vec<&'t Node>>);

impl<'t> Links<'t> {
    fn of(&self, id: &str) -> &[&'t Node] {
        self.0.get(id).map_or(&[], Vec::as_slice)
    }

    fn cells(&self, id: &str, column: &str) -> Vec<Node> {
        self.of(id).iter().filter_map(|row| row.find(column).cloned()).collect()
    }
}

fn id(row: &Node) -> String {
    row.find("id").and_then(Node::scalar).unwrap_or_default()
}

/// `row` with more entries.
fn with(row: &Node, more: impl IntoIterator<Item = Entry>) -> Node {
    Node { at: row.at.clone(), data: Data::Map(row.entries().iter().cloned().chain(more).collect()) }
}

fn list(key: &str, row: &Node, items: Vec<Node>) -> Entry {
    entry(key, Node::new(row.at.clone(), items))
}

/// A row of `monitor_group` without its own id, which is not the monitor's.
fn without_id(link: &Node) -> Node {
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
                    format!("a row has {} values, but there are {} columns", cells.len(), columns.len()),
                );
            }
            _ => draft.wrong(&row.at, &what, format!("a row must be a list or a map, not {}", row.noun())),
        }
    }
    found
}

/// Rejects secrets that were left out of the file and have not been added since.
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
        // A config is never empty, but a monitor may have no password.
        let enough = if column == "config" { supplied == rows.len() } else { supplied > 0 || rows.is_empty() };
        if !enough {
            let message = "is a secret that was left out of the file; export it again with secrets, or add the value";
            draft.wrong(&secret.at, &format!("`{table}.{column}`"), message);
        }
    }
}
