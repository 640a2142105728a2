//! The providers of notifications that each release has. Read in the tags 1.23.0 to 2.5.3 of the server, where a provider is a
//! file in `server/notification-providers`, and is found by its exact name.

use super::release::{R1_23, R2_1};
use crate::schema::Release;
use crate::text;

/// The first release with each provider.
const SINCE: [(Release, &[&str]); 10] = [
    (
        R1_23,
        &[
            "alerta",
            "AlertNow",
            "AliyunSMS",
            "apprise",
            "Bark",
            "clicksendsms",
            "DingDing",
            "discord",
            "Feishu",
            "FlashDuty",
            "FreeMobile",
            "GoAlert",
            "GoogleChat",
            "gorush",
            "gotify",
            "HomeAssistant",
            "Kook",
            "line",
            "LineNotify",
            "lunasea",
            "matrix",
            "mattermost",
            "nostr",
            "ntfy",
            "octopush",
            "OneBot",
            "Opsgenie",
            "PagerDuty",
            "PagerTree",
            "promosms",
            "pushbullet",
            "PushByTechulus",
            "PushDeer",
            "pushover",
            "pushy",
            "rocket.chat",
            "ServerChan",
            "serwersms",
            "signal",
            "slack",
            "smsc",
            "SMSEagle",
            "SMSManager",
            "smtp",
            "Splunk",
            "squadcast",
            "stackfield",
            "teams",
            "telegram",
            "twilio",
            "webhook",
            "WeCom",
            "ZohoCliq",
        ],
    ),
    (
        Release::new(2, 0, 0),
        &[
            "Bitrix24",
            "Brevo",
            "CallMeBot",
            "Cellsynt",
            "Elks",
            "evolution",
            "GrafanaOncall",
            "gtxmessaging",
            "HeiiOnCall",
            "Keep",
            "nextcloudtalk",
            "notifery",
            "OneChat",
            "Onesender",
            "pumble",
            "PushPlus",
            "SendGrid",
            "SevenIO",
            "SIGNL4",
            "SMSPartner",
            "SMSPlanet",
            "SpugPush",
            "threema",
            "waha",
            "whapi",
            "WPush",
            "YZJ",
        ],
    ),
    (
        Release::new(2, 1, 0),
        &["bale", "GoogleSheets", "HaloPSA", "JiraServiceManagement", "Resend", "smsir", "Webpush"],
    ),
    (Release::new(2, 1, 2), &["Teltonika"]),
    (Release::new(2, 2, 0), &["Whatsapp360messenger"]),
    (Release::new(2, 2, 1), &["fluxer"]),
    (Release::new(2, 3, 0), &["max", "telnyx", "VK"]),
    (Release::new(2, 4, 0), &["egosms", "VKTeams"]),
    (Release::new(2, 5, 0), &["Flowtriq", "Ooredoo", "plivo", "WxPusher"]),
    (Release::new(2, 5, 1), &["bearsms", "ClickUp", "Milky", "openwa", "pinglet", "SMSGateway", "TurboSMTP"]),
];

/// The first release without a provider: LINE ended the service, and the upgrade deletes its notifications (migration
/// 2025-12-29-0000-remove-line-notify).
const REMOVED: [(&str, Release); 1] = [("LineNotify", R2_1)];

/// Why a release does not have a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is available since this release.
    Later(Release),
    /// It was removed in this release.
    Removed(Release),
    /// No recorded release has it; the one with a similar name.
    Unknown(Option<&'static str>),
}

/// Whether `release` has no provider called `name`, and why.
pub fn missing_provider(name: &str, release: Release) -> Option<Missing> {
    if let Some((_, since)) = REMOVED.iter().find(|(removed, since)| is_removed(removed, name) && *since <= release) {
        return Some(Missing::Removed(*since));
    }
    match SINCE.iter().find(|(_, names)| names.contains(&name)) {
        Some((since, _)) => (*since > release).then_some(Missing::Later(*since)),
        None => {
            let known =
                SINCE.iter().filter(|(since, _)| *since <= release).flat_map(|(_, names)| names.iter().copied());
            Some(Missing::Unknown(text::nearest(name, known)))
        }
    }
}

/// The upgrade deletes notifications whatever the case of the name, and also `line-notify`.
fn is_removed(removed: &str, name: &str) -> bool {
    name.replace('-', "").eq_ignore_ascii_case(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_come_and_go() {
        let release = |text: &str| text.parse::<Release>().unwrap_or(R1_23);
        for (name, of, expected) in [
            ("telegram", "1.23.0", None),
            ("LineNotify", "2.0.2", None),
            ("LineNotify", "2.1.0", Some(Missing::Removed(R2_1))),
            ("line-notify", "2.5.3", Some(Missing::Removed(R2_1))),
            ("line", "2.5.3", None),
            ("Resend", "2.0.2", Some(Missing::Later(R2_1))),
            ("ClickUp", "2.5.0", Some(Missing::Later(release("2.5.1")))),
            ("Telegram", "2.5.3", Some(Missing::Unknown(Some("telegram")))),
            ("nonsense", "2.5.3", Some(Missing::Unknown(None))),
        ] {
            assert_eq!(missing_provider(name, release(of)), expected, "{name} {of}");
        }
    }
}
