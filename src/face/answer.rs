//! What an answer of the server means, in words. The addresses and their answers were read in 2.5.3.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::{Login, Reply, Said};
use crate::kuma::init::fits;
use crate::model::state::Config;
use crate::value::{Row, Secret};

/// What was answered, and what that means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// It is as it should be.
    pub good: bool,
    /// The answer, in a word or two.
    pub answer: String,
    /// What that means for a person.
    pub means: String,
}

impl Verdict {
    fn good(answer: impl Into<String>, means: impl Into<String>) -> Verdict {
        Verdict { good: true, answer: answer.into(), means: means.into() }
    }

    fn bad(answer: impl Into<String>, means: impl Into<String>) -> Verdict {
        Verdict { good: false, answer: answer.into(), means: means.into() }
    }
}

/// Who it is that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// The real server.
    Server,
    /// The server, busy with something else: migrating, or waiting for somebody to choose a database.
    NotYet,
    /// Something else.
    Other,
    /// Nobody.
    Nobody,
}

/// Judges the answer of `/api/entry-page`; `front` asks for `/`, which tells a migration from a stranger.
pub fn judge_entry(reply: &Reply, front: impl FnOnce() -> Reply) -> (Page, Verdict) {
    let said = match &reply.said {
        Ok(said) => said,
        Err(why) => return (Page::Nobody, Verdict::bad("none", why)),
    };
    if let Some(verdict) = judge_in_front(said) {
        return (Page::Other, verdict);
    }
    if said.status == 404 {
        // Neither the server nor its set-up page lacks this address; the page shown while it migrates does.
        return match front().said {
            Ok(page) if page.status == 200 && page.body.contains("Migration") => {
                let means = "it is migrating its database: leave it alone until that is over, however long it takes";
                (Page::NotYet, Verdict::bad("404", means))
            }
            _ => (Page::Other, Verdict::bad("404", "what answers is not Uptime Kuma, or not at this address")),
        };
    }
    let json: Json = serde_json::from_str(&said.body).unwrap_or_default();
    let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
    match text("type").as_str() {
        "entryPage" => {
            let entry = text("entryPage");
            let means = match entry.strip_prefix("statusPage-") {
                Some(slug) => format!("the server; `/` leads to the status page `{slug}`"),
                None => "the server; `/` leads to the dashboard".into(),
            };
            (Page::Server, Verdict::good("entryPage", means))
        }
        "statusPageMatchedDomain" => {
            let means = format!(
                "the server; under this host name it shows the status page `{}`, people log in at /dashboard",
                text("statusPageSlug")
            );
            (Page::Server, Verdict::good("statusPageMatchedDomain", means))
        }
        "setup-database" => {
            let means =
                "it found no database and waits for somebody to choose one: `kumadb doctor` says why; choose nothing";
            (Page::NotYet, Verdict::bad("setup-database", means))
        }
        _ => (Page::Other, Verdict::bad(said.status.to_string(), "what answers is not Uptime Kuma")),
    }
}

/// Judges what a proxy in front of the server says in its place.
fn judge_in_front(said: &Said) -> Option<Verdict> {
    let answer = said.status.to_string();
    Some(match said.status {
        300..=399 => {
            let place = said.location.as_deref().unwrap_or("another address");
            Verdict::bad(answer, format!("it sends everybody to {place}: ask there, with --url"))
        }
        401 | 403 => {
            Verdict::bad(answer, "something in front of the server asks for a login of its own, or lets nobody through")
        }
        502..=504 => Verdict::bad(answer, "a proxy answers, and the server behind it does not"),
        500.. => Verdict::bad(answer, "the server has failed on its own: kumadb logs"),
        _ => return None,
    })
}

/// Judges the answer of `/metrics` to `login`; what `config` knows of users, keys and settings tells why somebody was refused.
pub fn judge_metrics(reply: &Reply, login: Option<&Login>, config: Option<&Config>) -> Verdict {
    let said = match &reply.said {
        Ok(said) => said,
        Err(why) => return Verdict::bad("none", why),
    };
    match (said.status, login) {
        (200, _) if !said.body.contains("# HELP") => {
            Verdict::bad("200", "what answers are no metrics: is something else in front of the server?")
        }
        (200, None) => Verdict::bad("200", "everybody may read it: the login is switched off (`disableAuth`)"),
        (200, Some(login)) => Verdict::good("200", format!("{} is let in", named(login))),
        (401, None) => Verdict::good("401", "it asks for a login, as it should; give one with --user or --api-key"),
        (401, Some(login)) => Verdict::bad("401", why_refused(login, config)),
        (404, _) => Verdict::bad("404", "the server has no metrics at this address: does a proxy change the path?"),
        _ => judge_in_front(said)
            .unwrap_or_else(|| Verdict::bad(said.status.to_string(), "nothing that the server says")),
    }
}

fn named(login: &Login) -> String {
    match login.is_key() {
        true => "the API key".into(),
        false => format!("user `{}`", login.name),
    }
}

/// Why the server refuses `login`, as far as its database tells.
fn why_refused(login: &Login, config: Option<&Config>) -> String {
    let Some(config) = config else { return "wrong name, password or key".into() };
    let takes_keys = config.setting("apiKeysEnabled").is_some_and(|row| row.text("value") == Some("true"));
    let wrong = match (login.is_key(), takes_keys) {
        (true, false) => {
            return "API keys are switched off (`apiKeysEnabled`), so it takes user and password; `kumadb api-key add` \
                    switches them on"
                .into();
        }
        (false, true) => {
            return "API keys are switched on, so it takes one of them and no password: use --api-key".into();
        }
        (true, true) => wrong_key(login.secret.reveal(), config.rows("api_key")),
        (false, false) => wrong_password(login, config.rows("user")),
    };
    wrong.unwrap_or_else(|| {
        format!(
            "{} is right by this database: too many wrong logins within a minute, a setting that is younger than a minute, or \
             a server on another database",
            named(login)
        )
    })
}

/// What is wrong with an API key, `uk<id>_<clear>`.
fn wrong_key(text: &str, keys: &[Row]) -> Option<String> {
    let parts = text.strip_prefix("uk").and_then(|rest| rest.split_once('_'));
    let Some((id, clear)) = parts.and_then(|(id, clear)| Some((id.parse::<i64>().ok()?, clear))) else {
        return Some("this is no API key: they read uk1_… and the server shows each only once".into());
    };
    let Some(key) = keys.iter().find(|key| key.int("id") == Some(id)) else {
        return Some(format!("there is no API key {id} in its database"));
    };
    let name = key.text("name").unwrap_or_default();
    if !key.cell("active").truthy() {
        return Some(format!("API key `{name}` is switched off: kumadb api-key enable {id}"));
    }
    let expires =
        key.text("expires").and_then(|time| chrono::NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S%.f").ok());
    if expires.is_some_and(|time| time < chrono::Utc::now().naive_utc()) {
        return Some(format!("API key `{name}` has ended"));
    }
    let hash = key.text("key").unwrap_or_default();
    (!fits(&Secret::new(clear), hash)).then(|| format!("wrong key: its number is that of `{name}`, the rest is not"))
}

fn wrong_password(login: &Login, users: &[Row]) -> Option<String> {
    let same = |user: &&Row| user.text("username").map(str::trim) == Some(login.name.trim());
    let Some(user) = users.iter().find(same) else {
        return Some(format!("there is no user `{}` in its database: kumadb user list", login.name));
    };
    if !user.cell("active").truthy() {
        return Some(format!("user `{0}` is switched off: kumadb user activate {0}", login.name));
    }
    let hash = user.text("password").unwrap_or_default();
    // An older form of hash cannot be checked here; the server can.
    (hash.starts_with("$2") && !fits(&login.secret, hash)).then(|| "wrong password".into())
}

/// Judges a badge, a picture whose title is what it says.
pub fn judge_badge(reply: &Reply, public: bool) -> Verdict {
    let said = match &reply.said {
        Ok(said) => said,
        Err(why) => return Verdict::bad("none", why),
    };
    let title =
        said.body.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>")).map(|(title, _)| title);
    match (said.status, title) {
        (200, Some("N/A")) if public => Verdict::bad(
            "N/A",
            "the server does not take it for public, or has no beat of it; a badge is up to five minutes old",
        ),
        (200, Some("N/A")) => Verdict::good("N/A", "it is on no public status page, so nobody may see it"),
        (200, Some(title)) => Verdict::good(title, "as everybody sees it; up to five minutes old"),
        (404, _) => Verdict::bad("404", "this release has no such badge, or what answers is not the server"),
        (429, _) => Verdict::bad("429", "asked too often within a minute"),
        _ => judge_in_front(said).unwrap_or_else(|| Verdict::bad(said.status.to_string(), "no badge")),
    }
}

/// Monitors on a status page that everybody can see.
pub fn public_monitors(config: &Config) -> Vec<i64> {
    let groups: BTreeSet<Option<i64>> = config
        .rows("group")
        .iter()
        .filter(|group| group.cell("public").truthy())
        .map(|group| group.int("id"))
        .collect();
    let links = config.rows("monitor_group").iter().filter(|link| groups.contains(&link.int("group_id")));
    links.filter_map(|link| link.int("monitor_id")).collect::<BTreeSet<_>>().into_iter().collect()
}

impl Login {
    /// Whether it is an API key.
    pub fn is_key(&self) -> bool {
        self.name.is_empty()
    }
}
