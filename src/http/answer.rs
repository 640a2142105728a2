//! Interprets responses of the server. The paths and responses are those of 2.5.3.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::{Reply, Response, ServerLogin};
use crate::kuma::init::fits;
use crate::model::state::ConfigRows;
use crate::value::{Row, Secret, stored_time};

/// A response, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseVerdict {
    /// It is as expected.
    pub good: bool,
    /// The response, in a word or two.
    pub answer: String,
    /// Its meaning.
    pub means: String,
}

impl ResponseVerdict {
    fn good(answer: impl Into<String>, means: impl Into<String>) -> ResponseVerdict {
        ResponseVerdict { good: true, answer: answer.into(), means: means.into() }
    }

    fn bad(answer: impl Into<String>, means: impl Into<String>) -> ResponseVerdict {
        ResponseVerdict { good: false, answer: answer.into(), means: means.into() }
    }
}

/// What responds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// The server.
    Server,
    /// The server, but not ready: migrating, or waiting for its setup.
    NotYet,
    /// Something else.
    Other,
    /// Nothing.
    NoResponse,
}

/// Interprets the response of `/api/entry-page`; `front` requests `/`, which distinguishes a migration from another
/// server.
pub fn judge_entry(reply: &Reply, front: impl FnOnce() -> Reply) -> (ServerState, ResponseVerdict) {
    let response = match &reply.response {
        Ok(response) => response,
        Err(why) => return (ServerState::NoResponse, ResponseVerdict::bad("none", why)),
    };
    if let Some(verdict) = judge_in_front(response) {
        return (ServerState::Other, verdict);
    }
    if response.status == 404 {
        // The server and its setup page have this path; the page during a migration does not.
        return match front().response {
            Ok(page) if page.status == 200 && page.body.contains("Migration") => {
                let means = "the server is migrating its database: wait until the migration is finished, and do not \
                             stop the server";
                (ServerState::NotYet, ResponseVerdict::bad("404", means))
            }
            _ => (ServerState::Other, ResponseVerdict::bad("404", "not Uptime Kuma, or not at this URL")),
        };
    }
    let json: Json = serde_json::from_str(&response.body).unwrap_or_default();
    let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
    match text("type").as_str() {
        "entryPage" => {
            let entry = text("entryPage");
            let means = match entry.strip_prefix("statusPage-") {
                Some(slug) => format!("the server; `/` redirects to the status page `{slug}`"),
                None => "the server; `/` redirects to the dashboard".into(),
            };
            (ServerState::Server, ResponseVerdict::good("entryPage", means))
        }
        "statusPageMatchedDomain" => {
            let means = format!(
                "the server; with this host name `/` shows the status page `{}`; log in at /dashboard",
                text("statusPageSlug")
            );
            (ServerState::Server, ResponseVerdict::good("statusPageMatchedDomain", means))
        }
        "setup-database" => {
            let means =
                "the server found no database and shows its setup page: do not complete the setup; run `kumadb doctor`";
            (ServerState::NotYet, ResponseVerdict::bad("setup-database", means))
        }
        _ => (ServerState::Other, ResponseVerdict::bad(response.status.to_string(), "not Uptime Kuma")),
    }
}

/// Interprets the response of a reverse proxy.
fn judge_in_front(response: &Response) -> Option<ResponseVerdict> {
    let answer = response.status.to_string();
    Some(match response.status {
        300..=399 => {
            let place = response.location.as_deref().unwrap_or("another URL");
            ResponseVerdict::bad(answer, format!("redirects to {place}: specify that URL with --url"))
        }
        401 | 403 => ResponseVerdict::bad(answer, "a reverse proxy requires its own login, or denies access"),
        502..=504 => ResponseVerdict::bad(answer, "a reverse proxy responds, but the server behind it does not"),
        500.. => ResponseVerdict::bad(answer, "the server failed; see `kumadb logs`"),
        _ => return None,
    })
}

/// Interprets the response of `/metrics` to `login`; users, keys and settings in `config` explain a rejected login.
pub fn judge_metrics(reply: &Reply, login: Option<&ServerLogin>, config: Option<&ConfigRows>) -> ResponseVerdict {
    let response = match &reply.response {
        Ok(response) => response,
        Err(why) => return ResponseVerdict::bad("none", why),
    };
    match (response.status, login) {
        (200, _) if !response.body.contains("# HELP") => {
            ResponseVerdict::bad("200", "the response is not metrics: is a reverse proxy in front of the server?")
        }
        (200, None) => ResponseVerdict::bad("200", "public: authentication is disabled (`disableAuth`)"),
        (200, Some(login)) => ResponseVerdict::good("200", format!("{} is accepted", named(login))),
        (401, None) => ResponseVerdict::good("401", "login required, as expected; to log in, use --user or --api-key"),
        (401, Some(login)) => ResponseVerdict::bad("401", why_refused(login, config)),
        (404, _) => ResponseVerdict::bad("404", "no metrics at this URL: does a reverse proxy change the path?"),
        _ => judge_in_front(response)
            .unwrap_or_else(|| ResponseVerdict::bad(response.status.to_string(), "unexpected response")),
    }
}

fn named(login: &ServerLogin) -> String {
    if login.is_key() { "the API key".into() } else { format!("user `{}`", login.name) }
}

/// Why the server rejects `login`, according to its database.
fn why_refused(login: &ServerLogin, config: Option<&ConfigRows>) -> String {
    let Some(config) = config else { return "wrong name, password or key".into() };
    let takes_keys = config.setting("apiKeysEnabled").is_some_and(|row| row.text("value") == Some("true"));
    let wrong = match (login.is_key(), takes_keys) {
        (true, false) => {
            return "API keys are disabled (`apiKeysEnabled`), so user and password are required; `kumadb api-key add` \
                    enables API keys"
                .into();
        }
        (false, true) => {
            return "API keys are enabled, so an API key is required instead of a password: use --api-key".into();
        }
        (true, true) => wrong_key(login.secret.reveal(), config.rows("api_key")),
        (false, false) => wrong_password(login, config.rows("user")),
    };
    wrong.unwrap_or_else(|| {
        format!(
            "{} is valid in this database: too many failed logins within a minute, a setting changed less than a \
             minute ago, or the server uses another database",
            named(login)
        )
    })
}

/// The problem of an API key, `uk<id>_<clear>`.
fn wrong_key(text: &str, keys: &[Row]) -> Option<String> {
    let parts = text.strip_prefix("uk").and_then(|rest| rest.split_once('_'));
    let Some((id, clear)) = parts.and_then(|(id, clear)| Some((id.parse::<i64>().ok()?, clear))) else {
        return Some(
            "not a valid API key: keys start with uk1_ or similar, and the server shows a key only when it is \
             created"
                .into(),
        );
    };
    let Some(key) = keys.iter().find(|key| key.int("id") == Some(id)) else {
        return Some(format!("API key {id} not found in the server's database; to list keys: kumadb api-key list"));
    };
    let name = key.text("name").unwrap_or_default();
    if !key.cell("active").truthy() {
        return Some(format!("API key `{name}` is disabled; to enable it: kumadb api-key enable {id}"));
    }
    let expires = key.text("expires").and_then(stored_time);
    if expires.is_some_and(|time| time < chrono::Utc::now().naive_utc()) {
        return Some(format!("API key `{name}` has expired"));
    }
    let hash = key.text("key").unwrap_or_default();
    (!fits(&Secret::new(clear), hash)).then(|| {
        format!(
            "wrong key: the id is that of API key `{name}`, but the secret \
                                                        does not match"
        )
    })
}

fn wrong_password(login: &ServerLogin, users: &[Row]) -> Option<String> {
    let same = |user: &&Row| user.text("username").map(str::trim) == Some(login.name.trim());
    let Some(user) = users.iter().find(same) else {
        return Some(format!(
            "user `{}` not found in the server's database; to list users: kumadb user \
                             list",
            login.name
        ));
    };
    if !user.cell("active").truthy() {
        return Some(format!("user `{0}` is inactive; to activate it: kumadb user activate {0}", login.name));
    }
    let hash = user.text("password").unwrap_or_default();
    // The older hash format cannot be checked here; the server can.
    (hash.starts_with("$2") && !fits(&login.secret, hash)).then(|| "wrong password".into())
}

/// Interprets a badge, an image whose title is its text.
pub fn judge_badge(reply: &Reply, public: bool) -> ResponseVerdict {
    let response = match &reply.response {
        Ok(response) => response,
        Err(why) => return ResponseVerdict::bad("none", why),
    };
    let title =
        response.body.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>")).map(|(title, _)| title);
    match (response.status, title) {
        (200, Some("N/A")) if public => ResponseVerdict::bad(
            "N/A",
            "the server does not treat the monitor as public, or has no heartbeat of the monitor; badges are cached \
             for five minutes",
        ),
        (200, Some("N/A")) => ResponseVerdict::good(
            "N/A",
            "the monitor is not on a public status page, so its badge is not \
                                                    available",
        ),
        (200, Some(title)) => ResponseVerdict::good(title, "public badge; cached for up to five minutes"),
        (404, _) => ResponseVerdict::bad(
            "404",
            "this release does not have such a badge, or the URL is not that of the \
                                         server",
        ),
        (429, _) => ResponseVerdict::bad("429", "too many requests within a minute"),
        _ => {
            judge_in_front(response).unwrap_or_else(|| ResponseVerdict::bad(response.status.to_string(), "not a badge"))
        }
    }
}

/// Monitors on a public status page.
pub fn public_monitors(config: &ConfigRows) -> Vec<i64> {
    let groups: BTreeSet<Option<i64>> = config
        .rows("group")
        .iter()
        .filter(|group| group.cell("public").truthy())
        .map(|group| group.int("id"))
        .collect();
    let links = config.rows("monitor_group").iter().filter(|link| groups.contains(&link.int("group_id")));
    links.filter_map(|link| link.int("monitor_id")).collect::<BTreeSet<_>>().into_iter().collect()
}

impl ServerLogin {
    /// Whether it is an API key.
    pub fn is_key(&self) -> bool {
        self.name.is_empty()
    }
}
