//! Status pages in the format of the server: their settings, groups and incidents.

use super::super::node::{Data, Entry, Node};
use super::draft;
use super::draft::{Draft, Places, entry};
use super::words::{flag, is_off};

/// The columns of a status page with their names in sources, and whether they are flags.
const COLUMNS: [(&str, &[&str], bool); 20] = [
    ("slug", &["slug"], false),
    ("title", &["title"], false),
    ("description", &["description"], false),
    ("theme", &["theme"], false),
    ("icon", &["icon"], false),
    ("published", &["published"], true),
    ("search_engine_index", &["search_engine_index", "searchEngineIndex"], true),
    ("show_tags", &["show_tags", "showTags"], true),
    ("footer_text", &["footer_text", "footerText"], false),
    ("custom_css", &["custom_css", "customCSS", "customCss"], false),
    ("show_powered_by", &["show_powered_by", "showPoweredBy"], true),
    ("analytics_id", &["analytics_id", "analyticsId", "google_analytics_tag_id", "googleAnalyticsId"], false),
    ("analytics_type", &["analytics_type", "analyticsType"], false),
    ("analytics_script_url", &["analytics_script_url", "analyticsScriptUrl"], false),
    ("show_certificate_expiry", &["show_certificate_expiry", "showCertificateExpiry"], true),
    ("auto_refresh_interval", &["auto_refresh_interval", "autoRefreshInterval"], false),
    ("show_only_last_heartbeat", &["show_only_last_heartbeat", "showOnlyLastHeartbeat"], true),
    ("rss_title", &["rss_title", "rssTitle"], false),
    ("domains", &["domains", "domainNameList", "domain_name_list"], false),
    ("groups", &GROUPS, false),
];

const GROUPS: [&str; 3] = ["publicGroupList", "public_group_list", "groups"];
const INCIDENTS: [&str; 3] = ["incidents", "incidentList", "incident"];

/// Internal keys of a page, and keys that are handled separately.
const DROPPED: [&str; 18] = [
    "id",
    "monitors",
    "monitorList",
    "type",
    "name",
    "config",
    "user_id",
    "userId",
    "password",
    "created_date",
    "createdDate",
    "modified_date",
    "modifiedDate",
    "maintenanceList",
    "heartbeatList",
    "uptimeList",
    "ok",
    "msg",
];

/// Converts a status page to the native format; `{config, publicGroupList}` or the page itself.
pub(super) fn status_page(draft: &mut Draft, one: &Node, places: &Places) -> Option<Node> {
    let config = one.find("config").unwrap_or(one);
    let Some(slug) = config.find("slug").and_then(Node::scalar).filter(|slug| !slug.is_empty()) else {
        draft.skip(&one.at, "a status page", "the slug is missing");
        return None;
    };
    let what = format!("status page `{slug}`");
    if one.find("config").is_some() {
        draft.account_keys(one, &["ok", "msg", "maintenanceList", "heartbeatList", "uptimeList"]);
    }
    let mut entries = Vec::new();
    for column in config.entries() {
        entries.extend(shown(draft, &what, column));
    }
    // Before 2.1, the only analytics type was implicit.
    let is_google = |key: &str| matches!(key, "google_analytics_tag_id" | "googleAnalyticsId");
    let google = config.entries().iter().find(|entry| is_google(&entry.key));
    if let Some(google) = google.filter(|google| google.value.scalar().is_some_and(|id| !id.is_empty())) {
        entries.push(entry("analytics_type", Node::new(google.at.clone(), "google")));
    }
    if let Some(id) = config.first(&["id"]).and_then(draft::id_of) {
        draft.refer("status_pages", &id, slug.as_str());
    }
    let listed = one.first(&GROUPS).or_else(|| config.first(&GROUPS));
    let direct = one.first(&["monitors", "monitorList"]).or_else(|| config.first(&["monitors", "monitorList"]));
    if let Some(direct) = direct.filter(|_| listed.is_none()) {
        let whole = Node::map(direct.at.clone(), [("monitors", direct.clone())]);
        let groups = vec![group(draft, &what, &whole, places)];
        entries.push(entry("groups", Node::new(direct.at.clone(), groups)));
    }
    if let Some(listed) = listed {
        let groups: Vec<Node> = listed.list().iter().map(|one| group(draft, &what, one, places)).collect();
        entries.push(entry("groups", Node::new(listed.at.clone(), groups)));
    }
    let reported = if one.find("config").is_some() { vec![one, config] } else { vec![one] };
    let incidents: Vec<Node> = reported.into_iter().flat_map(|page| incidents(draft, page)).collect();
    if let Some(first) = incidents.first().map(|first| first.at.clone()) {
        entries.push(entry("incidents", Node::new(first, incidents)));
    }
    Some(Node { at: one.at.clone(), data: Data::Map(entries) })
}

/// A column of a page in the native format; `None` for a default.
fn shown(draft: &mut Draft, what: &str, one: &Entry) -> Option<Entry> {
    let key = one.key.as_str();
    let Some((column, _, is_flag)) = COLUMNS.iter().find(|(_, names, _)| names.contains(&key)) else {
        match DROPPED.contains(&key) {
            true if matches!(key, "monitors" | "monitorList" | "config") => {}
            true => draft.account(&one.value),
            false if INCIDENTS.contains(&key) => {}
            false => draft.unknown(one, what, COLUMNS.iter().map(|(column, ..)| *column)),
        }
        return None;
    };
    let is_nothing = match &one.value.data {
        Data::Null => true,
        Data::Text(text) if *column == "icon" && text == "/icon.svg" => {
            draft.account(&one.value);
            true
        }
        Data::Text(text) => text.is_empty(),
        Data::List(items) => items.is_empty(),
        _ => false,
    };
    if is_nothing || *column == "groups" {
        return None;
    }
    let value = if *is_flag { flag(&one.value) } else { one.value.clone() };
    Some(Entry { key: (*column).to_owned(), at: one.at.clone(), value })
}

/// What the server adds to the groups of a page and their monitors.
const SHOWN: [&str; 11] = [
    "id",
    "weight",
    "monitor_id",
    "group_id",
    "name",
    "type",
    "active",
    "public",
    "certExpiryDaysRemaining",
    "validCert",
    "tags",
];

fn group(draft: &mut Draft, what: &str, one: &Node, places: &Places) -> Node {
    draft.account_keys(one, &["id", "weight", "active", "public", "status_page_id", "created_date"]);
    let name = one.find("name").cloned().unwrap_or_else(|| Node::new(one.at.clone(), "Services"));
    let listed = one.first(&["monitorList", "monitor_list", "monitors"]);
    let mut monitors = Vec::new();
    for one in listed.map_or(&[][..], Node::list) {
        draft.account_keys(one, &SHOWN);
        let id = one.find("id").or(one.find("monitor_id")).or(one.find("name")).unwrap_or(one);
        let id = id.scalar().unwrap_or_default();
        match places.of(&draft.key(&id)) {
            Some(place) => monitors.push(link(draft, one, &place.path, place.url.as_deref())),
            // A name refers to an existing monitor.
            None if id.parse::<i64>().is_err() && !id.is_empty() => monitors.push(link(draft, one, &id, None)),
            None => draft.skip(&one.at, format!("monitor `{id}` on {what}"), "the monitor is not in the file"),
        }
    }
    let list = Node::new(listed.map_or(&one.at, |listed| &listed.at).clone(), monitors);
    Node::map(one.at.clone(), [("name", name), ("monitors", list)])
}

/// A monitor in a group of a page: its path, and whether a URL is shown, `own` or another.
fn link(draft: &mut Draft, one: &Node, path: &str, own: Option<&str>) -> Node {
    let monitor = Node::new(one.at.clone(), path);
    let sends = one.first(&["sendUrl", "send_url"]);
    let addresses = ["customUrl", "custom_url", "url"].into_iter().filter_map(|key| one.find(key));
    addresses.filter(|url| url.text().is_some()).for_each(|url| draft.account(url));
    sends.filter(|sends| is_off(sends)).into_iter().for_each(|sends| draft.account(sends));
    let Some(sends) = sends.filter(|sends| sends.truthy()) else { return monitor };
    // The server sends the monitor's own URL if there is no other.
    let is_other = |url: &&Node| url.text().is_some_and(|url| !url.is_empty() && Some(url) != own);
    let custom = one.first(&["customUrl", "custom_url", "url"]).filter(is_other);
    let mut entries = vec![("monitor", monitor), ("send_url", flag(sends))];
    entries.extend(custom.map(|url| ("custom_url", url.clone())));
    Node::map(one.at.clone(), entries)
}

fn incidents(draft: &mut Draft, page: &Node) -> Vec<Node> {
    let found = page.first(&INCIDENTS);
    let listed = match found.map(|found| (&found.data, found)) {
        Some((Data::List(items), _)) => items.clone(),
        Some((Data::Map(_), one)) => vec![one.clone()],
        _ => Vec::new(),
    };
    const STORED: [&str; 8] = [
        "id",
        "status_page_id",
        "createdDate",
        "created_date",
        "lastUpdatedDate",
        "last_updated_date",
        "pinned_date",
        "user_id",
    ];
    listed.iter().for_each(|one| draft.account_keys(one, &STORED));
    listed.iter().map(incident).collect()
}

fn incident(one: &Node) -> Node {
    let mut entries = Vec::new();
    for key in ["title", "content", "style", "pin", "active"] {
        entries.extend(one.find(key).filter(|value| !value.is_null()).map(|value| match key {
            "pin" | "active" => (key, flag(value)),
            _ => (key, value.clone()),
        }));
    }
    Node::map(one.at.clone(), entries)
}
