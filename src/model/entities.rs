//! The other entities of a configuration: one entry per entity, with its columns, defaults and parts.
//!
//! This file is a table. The columns and their limits are those of 2.5.3; the defaults are those of the server's page.

use super::defaults::Given;
use super::fields::{
    ChoiceValue, FIELDS, Field, INT, Reference,
    ValueShape::{self, *},
    entry, pick, same_name,
};
use super::release::*;
use crate::schema::Release;

/// One entity, or a part of one.
#[derive(Debug)]
pub struct Entity {
    /// The key of their list in a fixture: `notifications`.
    pub key: &'static str,
    /// The noun in messages: `notification`.
    pub noun: &'static str,
    /// The table that stores them.
    pub table: &'static str,
    /// The column with the name.
    pub name: &'static str,
    /// The columns that users can set; only the server writes the others.
    pub fields: &'static [Field],
    /// Defaults of columns. Columns that are not listed default to NULL, empty or 0, according to their shape.
    pub defaults: &'static [(&'static str, Given)],
    /// Its parts: rows of other tables that are created and deleted with it.
    pub parts: &'static [Entity],
    /// The column of a part that refers to the item it belongs to; empty for an item that is not a part.
    pub owner: &'static str,
    /// The column with the order of parts, counted from 1; empty if they have none.
    pub order: &'static str,
    /// A part with a name only may be written as the name.
    pub short: bool,
    /// Two parts with the same name are equal only if this column is equal too; empty if the name is enough.
    pub also: &'static str,
    /// The first release with it.
    pub since: Release,
}

impl Entity {
    /// Whether each of its items belongs to a user (read in 1.23 to 2.5.3).
    pub fn has_user(&self) -> bool {
        const OWNED: [&str; 7] =
            ["monitor", "notification", "proxy", "docker_host", "remote_browser", "maintenance", "api_key"];
        self.owner.is_empty() && OWNED.contains(&self.table)
    }

    /// The field called `name`: a column, the name that the socket API uses, or that name in another spelling.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        // The name of a column comes before the other names of another column.
        let by_name = self.fields.iter().find(|field| same_name(field.column, name));
        by_name.or_else(|| self.fields.iter().find(|field| field.is_also(name)))
    }

    /// The part with this key.
    pub fn part(&self, key: &str) -> Option<&'static Entity> {
        self.parts.iter().find(|part| same_name(part.key, key))
    }

    /// The default of `column`.
    pub fn default(&self, column: &str) -> Given {
        let said = self.defaults.iter().find(|(name, _)| *name == column).map(|(_, given)| *given);
        let shape = self.fields.iter().find(|field| field.column == column).map(|field| field.shape);
        said.unwrap_or(match shape {
            Some(Flag) => Given::Int(0),
            Some(Object) => Given::Text("{}"),
            _ => Given::Nothing,
        })
    }

    /// The field name most similar to `name`.
    pub fn nearest(&self, name: &str) -> Option<&'static str> {
        let fields = self.fields.iter().filter(|field| field.is_typed()).map(|field| field.column);
        crate::text::nearest(name, fields.chain(self.parts.iter().map(|part| part.key)))
    }
}

/// The entity with this key in fixtures.
pub fn entity(key: &str) -> Option<&'static Entity> {
    ENTITIES.iter().copied().find(|entity| same_name(entity.key, key))
}

/// The entity whose rows are in `table`; none for a part of one, such as the tags of monitors.
pub fn entity_of(table: &str) -> Option<&'static Entity> {
    ENTITIES.into_iter().find(|entity| entity.table == table)
}

/// How messages call a row of `table`.
pub fn noun(table: &str) -> &str {
    entity_of(table).map_or(table, |entity| entity.noun)
}

impl Reference {
    /// The entity that is referred to.
    pub fn entity(self) -> &'static Entity {
        match self {
            Reference::Group | Reference::Monitor => &MONITORS,
            Reference::DockerHost => &DOCKER_HOSTS,
            Reference::Proxy => &PROXIES,
            Reference::RemoteBrowser => &REMOTE_BROWSERS,
            Reference::Tag => &TAGS,
            Reference::Notification => &NOTIFICATIONS,
            Reference::StatusPage => &STATUS_PAGES,
        }
    }
}

const THING: Entity = Entity {
    key: "",
    noun: "",
    table: "",
    name: "name",
    fields: &[],
    defaults: &[],
    parts: &[],
    owner: "",
    order: "",
    short: false,
    also: "",
    since: R1_23,
};

const fn reference(column: &'static str, api: &'static str, to: Reference, help: &'static str) -> Field {
    entry(column, api, ValueShape::Reference(to), help)
}

/// All entities, in the order in which they are created: targets of references come first.
pub static ENTITIES: [&Entity; 11] = [
    &TAGS,
    &PROXIES,
    &DOCKER_HOSTS,
    &REMOTE_BROWSERS,
    &NOTIFICATIONS,
    &USERS,
    &MONITORS,
    &STATUS_PAGES,
    &MAINTENANCE,
    &API_KEYS,
    &SETTINGS,
];

/// Tags.
pub static TAGS: Entity = Entity {
    key: "tags",
    noun: "tag",
    table: "tag",
    fields: &TAG_FIELDS,
    defaults: &[("color", Given::Text("#4B5563"))],
    ..THING
};
static TAG_FIELDS: [Field; 2] = [
    entry("name", "name", Text(255), "name of the tag").example("env"),
    entry("color", "color", Text(255), "color of the tag").example("'#059669'"),
];

/// Proxies. They have no name: they are identified by their address, `http://10.0.0.1:3128`.
pub static PROXIES: Entity = Entity {
    key: "proxies",
    noun: "proxy",
    table: "proxy",
    name: "host",
    fields: &PROXY_FIELDS,
    defaults: &[("active", Given::Int(1)), ("username", Given::Nothing)],
    ..THING
};
static PROTOCOLS: [ChoiceValue; 6] =
    [pick("http"), pick("https"), pick("socks"), pick("socks5"), pick("socks5h"), pick("socks4")];
static PROXY_FIELDS: [Field; 8] = [
    entry("protocol", "protocol", Choice(&PROTOCOLS), "protocol of the proxy"),
    entry("host", "host", Text(255), "host name or address of the proxy").trimmed().example("10.0.0.1"),
    entry("port", "port", Whole(1, 65_535), "port of the proxy").example("3128"),
    entry("auth", "auth", Flag, "the proxy requires a user and password"),
    entry("username", "username", Text(255), "user of the proxy").example("kuma"),
    entry("password", "password", Text(255), "password of the proxy").secret(),
    entry("active", "active", Flag, "whether it is used"),
    entry("default", "isDefault", Flag, "assigned to new monitors by default"),
];

/// Docker hosts.
pub static DOCKER_HOSTS: Entity = Entity {
    key: "docker_hosts",
    noun: "docker host",
    table: "docker_host",
    fields: &DOCKER_FIELDS,
    defaults: &[("docker_type", Given::Text("socket")), ("docker_daemon", Given::Text("/var/run/docker.sock"))],
    ..THING
};
static DOCKER_TYPES: [ChoiceValue; 2] = [pick("socket"), pick("tcp")];
static DOCKER_FIELDS: [Field; 3] = [
    entry("name", "name", Text(255), "name of the host").example("local"),
    entry("docker_type", "dockerType", Choice(&DOCKER_TYPES), "connection type"),
    entry("docker_daemon", "dockerDaemon", Text(255), "path of the socket, or URL").example("/var/run/docker.sock"),
];

/// Remote browsers.
pub static REMOTE_BROWSERS: Entity = Entity {
    key: "remote_browsers",
    noun: "remote browser",
    table: "remote_browser",
    fields: &BROWSER_FIELDS,
    since: R2_0,
    ..THING
};
static BROWSER_FIELDS: [Field; 2] = [
    entry("name", "name", Text(255), "name of the browser").example("chrome"),
    entry("url", "url", Text(255), "URL of the browser").trimmed().example("ws://chrome:3000"),
];

/// Notifications. `type` and `config` are one JSON text in the database.
pub static NOTIFICATIONS: Entity = Entity {
    key: "notifications",
    noun: "notification",
    table: "notification",
    fields: &NOTIFICATION_FIELDS,
    defaults: &[("active", Given::Int(1))],
    ..THING
};
static NOTIFICATION_FIELDS: [Field; 5] = [
    entry("name", "name", Text(255), "name of the notification").example("ops"),
    entry("type", "type", LongText, "provider, by the server's name: webhook, telegram, smtp, ntfy, …").example("ntfy"),
    entry("is_default", "default", Flag, "assigned to new monitors by default"),
    entry("active", "active", Flag, "whether it is sent"),
    entry("config", "config", Object, "settings of the provider, with the server's names").secret(),
];

/// Users.
pub static USERS: Entity = Entity {
    key: "users",
    noun: "user",
    table: "user",
    name: "username",
    fields: &USER_FIELDS,
    defaults: &[("active", Given::Int(1))],
    ..THING
};
static USER_FIELDS: [Field; 4] = [
    entry("username", "username", Text(255), "login name").example("admin"),
    entry("password", "password_hash", Text(255), "password, or its bcrypt hash as `password_hash`").secret(),
    entry("active", "active", Flag, "whether the user can log in"),
    entry("timezone", "timezone", Text(150), "time zone of the user").example("Europe/Berlin"),
];

/// Monitors; which fields one has depends on its type.
pub static MONITORS: Entity = Entity {
    key: "monitors",
    noun: "monitor",
    table: "monitor",
    fields: &FIELDS,
    parts: &[MONITOR_TAGS, MONITOR_NOTIFICATIONS],
    ..THING
};
const MONITOR_TAGS: Entity = Entity {
    key: "tags",
    noun: "tag",
    table: "monitor_tag",
    name: "tag_id",
    fields: &MONITOR_TAG_FIELDS,
    owner: "monitor_id",
    also: "value",
    ..THING
};
static MONITOR_TAG_FIELDS: [Field; 2] = [
    reference("tag_id", "name", Reference::Tag, "name of the tag"),
    entry("value", "value", LongText, "value on this monitor").example("prod"),
];
const MONITOR_NOTIFICATIONS: Entity = Entity {
    key: "notifications",
    noun: "notification",
    table: "monitor_notification",
    name: "notification_id",
    fields: &MONITOR_NOTIFICATION_FIELDS,
    owner: "monitor_id",
    short: true,
    ..THING
};
static MONITOR_NOTIFICATION_FIELDS: [Field; 1] =
    [reference("notification_id", "name", Reference::Notification, "name of the notification")];

/// Status pages.
pub static STATUS_PAGES: Entity = Entity {
    key: "status_pages",
    noun: "status page",
    table: "status_page",
    name: "slug",
    fields: &STATUS_PAGE_FIELDS,
    defaults: &[
        ("icon", Given::Text("/icon.svg")),
        ("theme", Given::Text("auto")),
        ("published", Given::Int(1)),
        ("search_engine_index", Given::Int(1)),
        ("show_powered_by", Given::Int(1)),
        ("auto_refresh_interval", Given::Int(300)),
    ],
    parts: &[DOMAINS, PAGE_GROUPS, INCIDENTS],
    ..THING
};
static THEMES: [ChoiceValue; 3] = [pick("auto"), pick("light"), pick("dark")];
static ANALYTICS: [ChoiceValue; 5] = [pick("google"), pick("umami"), pick("plausible"), pick("matomo"), pick("rybbit")];
static STATUS_PAGE_FIELDS: [Field; 19] = [
    entry("slug", "slug", Text(255), "last part of its URL, /status/SLUG").trimmed().example("homelab"),
    entry("title", "title", Text(255), "title of the page").example("Homelab"),
    entry("description", "description", LongText, "text above the monitors").example("'what runs'"),
    entry("icon", "icon", Text(255), "logo: a path on the server or a URL").example("/icon.svg"),
    entry("theme", "theme", Choice(&THEMES), "light, dark, or the setting of the browser"),
    entry("published", "published", Flag, "whether the page is public"),
    entry("search_engine_index", "searchEngineIndex", Flag, "allow search engines to index it"),
    entry("show_tags", "showTags", Flag, "show the tags of monitors"),
    entry("footer_text", "footerText", LongText, "text below the monitors, Markdown").example("'by the ops team'"),
    entry("custom_css", "customCSS", LongText, "custom CSS").example("'body { color: black }'"),
    entry("show_powered_by", "showPoweredBy", Flag, "show \"Powered by Uptime Kuma\""),
    entry("google_analytics_tag_id", "googleAnalyticsId", Text(255), "Google Analytics tag (1.x)").example("G-1"),
    entry("show_certificate_expiry", "showCertificateExpiry", Flag, "show when certificates expire"),
    entry("auto_refresh_interval", "autoRefreshInterval", Whole(0, INT), "seconds between automatic reloads")
        .since(R2_0)
        .example("300"),
    entry("analytics_id", "analyticsId", Text(255), "id at the analytics service").since(R2_1).example("G-1"),
    entry("analytics_script_url", "analyticsScriptUrl", Text(255), "URL of the analytics script")
        .since(R2_1)
        .example("https://stats.example.com/script.js"),
    entry("analytics_type", "analyticsType", Choice(&ANALYTICS), "analytics service").since(R2_1),
    entry("show_only_last_heartbeat", "showOnlyLastHeartbeat", Flag, "show the last heartbeat instead of the history")
        .since(R2_1),
    entry("rss_title", "rssTitle", Text(255), "title of the RSS feed").since(R2_1).example("Homelab"),
];
const DOMAINS: Entity = Entity {
    key: "domains",
    noun: "domain",
    table: "status_page_cname",
    name: "domain",
    fields: &DOMAIN_FIELDS,
    owner: "status_page_id",
    short: true,
    ..THING
};
static DOMAIN_FIELDS: [Field; 1] =
    [entry("domain", "domain", Text(255), "host name of the page").example("status.example.com")];
const PAGE_GROUPS: Entity = Entity {
    key: "groups",
    noun: "group",
    table: "group",
    fields: &PAGE_GROUP_FIELDS,
    defaults: &[("public", Given::Int(1)), ("active", Given::Int(1))],
    parts: &[PAGE_MONITORS],
    owner: "status_page_id",
    order: "weight",
    ..THING
};
static PAGE_GROUP_FIELDS: [Field; 3] = [
    entry("name", "name", Text(255), "heading").example("Services"),
    entry("public", "public", Flag, "whether it is shown on the page"),
    entry("active", "active", Flag, "whether it is used"),
];
const PAGE_MONITORS: Entity = Entity {
    key: "monitors",
    noun: "monitor",
    table: "monitor_group",
    name: "monitor_id",
    fields: &PAGE_MONITOR_FIELDS,
    owner: "group_id",
    order: "weight",
    short: true,
    ..THING
};
static PAGE_MONITOR_FIELDS: [Field; 3] = [
    reference("monitor_id", "monitor", Reference::Monitor, "path of the monitor"),
    entry("send_url", "sendUrl", Flag, "show the monitor's URL as a link"),
    entry("custom_url", "customUrl", LongText, "another URL for that link").since(R2_0),
];
const INCIDENTS: Entity = Entity {
    key: "incidents",
    noun: "incident",
    table: "incident",
    name: "title",
    fields: &INCIDENT_FIELDS,
    defaults: &[("style", Given::Text("primary")), ("pin", Given::Int(1)), ("active", Given::Int(1))],
    owner: "status_page_id",
    ..THING
};
static STYLES: [ChoiceValue; 7] =
    [pick("info"), pick("warning"), pick("danger"), pick("primary"), pick("light"), pick("dark"), pick("maintenance")];
static INCIDENT_FIELDS: [Field; 5] = [
    entry("title", "title", Text(255), "headline").example("'disk failed'"),
    entry("content", "content", LongText, "what happened, Markdown").example("'it was replaced'"),
    entry("style", "style", Choice(&STYLES), "color"),
    entry("pin", "pin", Flag, "pin to the top of the page"),
    entry("active", "active", Flag, "whether it is unresolved"),
];

/// Maintenance windows.
pub static MAINTENANCE: Entity = Entity {
    key: "maintenance",
    noun: "maintenance",
    table: "maintenance",
    name: "title",
    fields: &MAINTENANCE_FIELDS,
    defaults: &[
        ("description", Given::Text("")),
        ("active", Given::Int(1)),
        ("strategy", Given::Text("single")),
        ("weekdays", Given::Text("[]")),
        ("days_of_month", Given::Text("[]")),
        ("interval_day", Given::Int(1)),
        ("timezone", Given::Text("SAME_AS_SERVER")),
    ],
    parts: &[MAINTENANCE_MONITORS, MAINTENANCE_PAGES],
    ..THING
};
static STRATEGIES: [ChoiceValue; 6] = [
    pick("manual"),
    pick("single"),
    pick("cron"),
    pick("recurring-interval"),
    pick("recurring-weekday"),
    pick("recurring-day-of-month"),
];
static MAINTENANCE_FIELDS: [Field; 14] = [
    entry("title", "title", Text(150), "headline").example("'patch night'"),
    entry("description", "description", LongText, "description, Markdown").example("'weekly updates'"),
    entry("active", "active", Flag, "whether it is enabled"),
    entry("strategy", "strategy", Choice(&STRATEGIES), "type of schedule"),
    entry("start_date", "startDate", Text(40), "start, YYYY-MM-DD HH:MM:SS").example("'2026-01-31 08:00:00'"),
    entry("end_date", "endDate", Text(40), "end, YYYY-MM-DD HH:MM:SS").example("'2026-01-31 09:00:00'"),
    entry("start_time", "startTime", Text(8), "start time of day, HH:MM").example("'02:00'"),
    entry("end_time", "endTime", Text(8), "end time of day, HH:MM").example("'03:00'"),
    entry("weekdays", "weekdays", Array, "days of the week, 1 is Monday, 0 is Sunday").example("'[1, 3]'"),
    entry("days_of_month", "daysOfMonth", Array, "days of the month; lastDay1 is the last one").example("'[1, 15]'"),
    entry("interval_day", "intervalDay", Whole(1, 3650), "interval in days").example("7"),
    entry("cron", "cron", LongText, "start, as a cron expression").example("'30 3 * * *'"),
    entry("timezone", "timezoneOption", Text(255), "time zone of the dates and times").example("Europe/Berlin"),
    entry("duration", "duration", Whole(0, INT), "duration in seconds").example("3600"),
];
const MAINTENANCE_MONITORS: Entity = Entity {
    key: "monitors",
    noun: "monitor",
    table: "monitor_maintenance",
    name: "monitor_id",
    fields: &MAINTENANCE_MONITOR_FIELDS,
    owner: "maintenance_id",
    short: true,
    ..THING
};
static MAINTENANCE_MONITOR_FIELDS: [Field; 1] =
    [reference("monitor_id", "monitor", Reference::Monitor, "path of a monitor under maintenance")];
const MAINTENANCE_PAGES: Entity = Entity {
    key: "status_pages",
    noun: "status page",
    table: "maintenance_status_page",
    name: "status_page_id",
    fields: &MAINTENANCE_PAGE_FIELDS,
    owner: "maintenance_id",
    short: true,
    ..THING
};
static MAINTENANCE_PAGE_FIELDS: [Field; 1] =
    [reference("status_page_id", "slug", Reference::StatusPage, "slug of a status page that shows it")];

/// API keys for /metrics. The database stores a hash; the key itself is shown once, when it is created.
pub static API_KEYS: Entity = Entity {
    key: "api_keys",
    noun: "API key",
    table: "api_key",
    fields: &API_KEY_FIELDS,
    defaults: &[("active", Given::Int(1))],
    ..THING
};
static API_KEY_FIELDS: [Field; 4] = [
    entry("name", "name", Text(255), "name of the key").example("prometheus"),
    entry("key", "key", Text(255), "bcrypt hash of an existing key; default: a new key").secret(),
    entry("active", "active", Flag, "whether it is accepted"),
    entry("expires", "expires", Text(40), "expiry date, YYYY-MM-DD HH:MM:SS; empty for never")
        .example("'2027-01-01 00:00:00'"),
];

/// Settings, by name; their values are JSON.
pub static SETTINGS: Entity =
    Entity { key: "settings", noun: "setting", table: "setting", name: "key", fields: &SETTING_FIELDS, ..THING };
static SETTING_FIELDS: [Field; 2] = [
    entry("key", "key", Text(200), "name of the setting").example("keepDataPeriodDays"),
    entry("value", "value", LongText, "value, as JSON").example("180"),
];

/// Keys of settings as written by the servers from 1.23 to 2.5.3.
pub const SETTING_KEYS: [&str; 32] = [
    "apiKeysEnabled",
    "checkBeta",
    "checkUpdate",
    "chromeExecutable",
    "cloudflaredTunnelToken",
    "databasePatchedFiles",
    "database_version",
    "description",
    "disableAuth",
    "dnsCache",
    "domainExpiryNotifyDays",
    "entryPage",
    "globalpingApiToken",
    "icon",
    "initServerTimezone",
    "jwtSecret",
    "keepDataPeriodDays",
    "migrateAggregateTableState",
    "nscd",
    "primaryBaseURL",
    "rdapDnsData",
    "searchEngineIndex",
    "serverTimezone",
    "statusPagePublished",
    "statusPageTags",
    "statusPageTheme",
    "steamAPIKey",
    "title",
    "tlsExpiryNotifyDays",
    "trustProxy",
    "webpushPrivateVapidKey",
    "webpushPublicVapidKey",
];

/// Internal settings of the server: they are not configured, exported or copied to another instance.
pub const SERVER_SETTINGS: &[&str] = &[
    "jwtSecret",
    "database_version",
    "databasePatchedFiles",
    "migrateAggregateTableState",
    "initServerTimezone",
    "version",
    "previousVersion",
];

/// Whether the setting `key` is a secret.
pub fn is_secret_setting(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["secret", "token", "password", "apikey", "api_key"].iter().any(|word| key.contains(word))
        && key != "apikeysenabled"
}
