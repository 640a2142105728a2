//! The alerts of a job: which services its runs are reported to.

use super::Text;

/// A service that the runs of a job are reported to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertKind {
    /// A push monitor of Uptime Kuma: the result of each run.
    Push,
    /// A server that receives JSON: the start and the result of each run.
    Webhook,
    /// A check of Healthchecks, hosted or self-hosted: the start and the result of each run.
    Healthchecks,
    /// A topic of ntfy: failed runs.
    Ntfy,
}

/// An alert of a job.
#[derive(Clone, Debug)]
pub struct Alert {
    /// The service.
    pub kind: AlertKind,
    /// Its URL, which contains its token.
    pub url: Text,
}

impl AlertKind {
    /// All of them, in the order in which they are sent.
    pub const ALL: [AlertKind; 4] = [AlertKind::Push, AlertKind::Healthchecks, AlertKind::Ntfy, AlertKind::Webhook];

    /// Its key in the config file; with `_file`, the key for a file with the URL.
    pub fn key(self) -> &'static str {
        match self {
            AlertKind::Push => "push_url",
            AlertKind::Webhook => "webhook",
            AlertKind::Healthchecks => "healthchecks_url",
            AlertKind::Ntfy => "ntfy_url",
        }
    }

    /// Its name in `config check`.
    pub fn name(self) -> &'static str {
        match self {
            AlertKind::Push => "push",
            AlertKind::Webhook => "webhook",
            AlertKind::Healthchecks => "healthchecks",
            AlertKind::Ntfy => "ntfy",
        }
    }

    /// What is sent, in messages: `the push`.
    pub fn what(self) -> &'static str {
        match self {
            AlertKind::Push => "the push",
            AlertKind::Webhook => "the webhook",
            AlertKind::Healthchecks => "the ping to Healthchecks",
            AlertKind::Ntfy => "the ntfy message",
        }
    }

    /// The service that `url` most likely belongs to; a webhook if it shows no other.
    pub fn of_url(url: &str) -> AlertKind {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (login, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = login.rsplit('@').next().unwrap_or_default();
        match host {
            _ if path.starts_with("api/push/") || path.contains("/api/push/") => AlertKind::Push,
            _ if host == "hc-ping.com" || path.starts_with("ping/") => AlertKind::Healthchecks,
            _ if host.starts_with("ntfy.") => AlertKind::Ntfy,
            _ => AlertKind::Webhook,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AlertKind;

    #[test]
    fn a_url_shows_its_service() {
        for (url, kind) in [
            ("https://kuma.example.com/api/push/Sesame?status=up", AlertKind::Push),
            ("https://example.com/kuma/api/push/Sesame", AlertKind::Push),
            ("https://hc-ping.com/5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278", AlertKind::Healthchecks),
            ("https://health.example.com/ping/5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278", AlertKind::Healthchecks),
            ("https://ntfy.sh/kuma", AlertKind::Ntfy),
            ("https://:tk_secret@ntfy.example.com/kuma", AlertKind::Ntfy),
            ("https://hooks.example.com/ntfy", AlertKind::Webhook),
            ("ntfy", AlertKind::Webhook),
        ] {
            assert_eq!(AlertKind::of_url(url), kind, "{url}");
        }
    }
}
