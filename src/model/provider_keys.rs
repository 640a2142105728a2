//! The keys of each provider's config that are not secret: what a person may keep in a public place. Read in the forms of the
//! web UI from 1.23.0 to 2.5.3; fields that it shows as passwords, tokens, keys, webhook URLs, headers and request bodies are
//! not among them, and neither is any key of an unknown provider.

use serde_json::Value as Json;

/// Provider, and its public keys, sorted by the name of the provider without regard to case.
const PUBLIC: [(&str, &[&str]); 83] = [
    ("alerta", &["alertaAlertState", "alertaApiEndpoint", "alertaEnvironment", "alertaRecoverState"]),
    ("AliyunSMS", &["optionalParameters", "signName", "templateCode"]),
    ("apprise", &["title"]),
    ("bale", &["baleChatID"]),
    ("Bark", &["apiVersion", "barkGroup", "barkSound"]),
    ("bearsms", &["bearsmsPhoneNumber", "bearsmsSenderId", "bearsmsUsername"]),
    ("Bitrix24", &["bitrix24UserID"]),
    ("Brevo", &["brevoBccEmail", "brevoCcEmail", "brevoFromEmail", "brevoFromName", "brevoSubject", "brevoToEmail"]),
    (
        "Cellsynt",
        &[
            "cellsyntAllowLongSMS",
            "cellsyntDestination",
            "cellsyntLogin",
            "cellsyntOriginator",
            "cellsyntOriginatortype",
        ],
    ),
    ("clicksendsms", &["clicksendsmsLogin", "clicksendsmsSenderName", "clicksendsmsToNumber"]),
    ("ClickUp", &["clickupChannelId", "clickupDisableUrl", "clickupWorkspaceId"]),
    ("DingDing", &["mentioning", "mobileList", "userList"]),
    (
        "discord",
        &[
            "disableUrl",
            "discordChannelType",
            "discordMessageFormat",
            "discordMessageTemplate",
            "discordPrefixMessage",
            "discordSuppressNotifications",
            "discordUsername",
            "postName",
            "threadId",
        ],
    ),
    ("egosms", &["egosmsPhoneNumber", "egosmsSender", "egosmsUsername"]),
    ("Elks", &["elksFromNumber", "elksToNumber", "elksUsername"]),
    (
        "evolution",
        &[
            "evolutionApiUrl",
            "evolutionCustomMessage",
            "evolutionInstanceName",
            "evolutionRecipient",
            "evolutionUseCustomMessage",
        ],
    ),
    ("FlashDuty", &["flashdutySeverity"]),
    ("fluxer", &["fluxerMessageFormat", "fluxerMessageTemplate", "fluxerPrefixMessage", "fluxerUsername"]),
    ("FreeMobile", &["freemobileUser"]),
    ("GoAlert", &["goAlertBaseURL"]),
    ("GoogleChat", &["googleChatMaxRetries", "googleChatTemplate", "googleChatUseTemplate"]),
    ("gorush", &["gorushPlatform", "gorushPriority", "gorushRetry", "gorushServerURL", "gorushTitle", "gorushTopic"]),
    ("gotify", &["gotifyPriority", "gotifyserverurl"]),
    ("gtxmessaging", &["gtxMessagingFrom", "gtxMessagingTo"]),
    ("HaloPSA", &["haloUsername"]),
    ("HomeAssistant", &["homeAssistantUrl", "notificationService"]),
    ("JiraServiceManagement", &["jsmCloudId", "jsmEmail", "jsmPriority"]),
    ("Kook", &["kookGuildID"]),
    ("line", &["lineUserID"]),
    ("lunasea", &["lunaseaTarget"]),
    ("matrix", &["homeserverUrl", "internalRoomId", "matrixTemplate", "matrixUseTemplate"]),
    ("mattermost", &["mattermostchannel", "mattermosticonemo", "mattermosticonurl", "mattermostusername"]),
    ("max", &["maxApiUrl", "maxChatID", "maxTemplate", "maxTemplateFormat", "maxUseTemplate"]),
    ("Milky", &["httpAddr", "msgType", "recieverId"]),
    ("nextcloudtalk", &["host", "sendSilentDown", "sendSilentUp"]),
    ("nostr", &["recipients", "relays"]),
    ("notifery", &["notiferyGroup", "notiferyTitle"]),
    (
        "ntfy",
        &[
            "ntfyAuthenticationMethod",
            "ntfyCall",
            "ntfyCustomMessage",
            "ntfyCustomTitle",
            "ntfyIcon",
            "ntfyPriority",
            "ntfyPriorityDown",
            "ntfyUseTemplate",
            "ntfyserverurl",
            "ntfyusername",
        ],
    ),
    ("octopush", &["octopushLogin", "octopushPhoneNumber", "octopushSMSType", "octopushSenderName", "octopushVersion"]),
    ("OneBot", &["httpAddr", "msgType", "recieverId"]),
    ("OneChat", &["botId", "recieverId"]),
    ("Onesender", &["onesenderReceiver", "onesenderTypeReceiver", "onesenderURL"]),
    ("Ooredoo", &["ooredooServerUrl", "ooredooToNumber", "ooredooUsername"]),
    ("openwa", &["openwaApiUrl", "openwaChatId", "openwaCustomMessage", "openwaSession", "openwaUseCustomMessage"]),
    ("Opsgenie", &["opsgeniePriority", "opsgenieRegion"]),
    ("PagerDuty", &["pagerdutyAutoResolve", "pagerdutyIntegrationUrl", "pagerdutyPriority"]),
    ("PagerTree", &["pagertreeAutoResolve", "pagertreeUrgency"]),
    ("plivo", &["plivoAnswerUrl", "plivoAuthID", "plivoFromNumber", "plivoMessageType", "plivoToNumber"]),
    (
        "promosms",
        &["promosmsAllowLongSMS", "promosmsLogin", "promosmsPhoneNumber", "promosmsSMSType", "promosmsSenderName"],
    ),
    ("PushByTechulus", &["pushChannel", "pushSound", "pushTimeSensitive", "pushTitle"]),
    ("PushDeer", &["pushdeerServer"]),
    (
        "pushover",
        &["pushoverdevice", "pushoverpriority", "pushoversounds", "pushoversounds_up", "pushovertitle", "pushoverttl"],
    ),
    ("Resend", &["resendFromEmail", "resendFromName", "resendSubject", "resendToEmail"]),
    ("rocket.chat", &["rocketchannel", "rocketiconemo", "rocketusername"]),
    ("SendGrid", &["sendgridBccEmail", "sendgridCcEmail", "sendgridFromEmail", "sendgridSubject", "sendgridToEmail"]),
    (
        "serwersms",
        &[
            "serwersmsGroupId",
            "serwersmsPhoneNumber",
            "serwersmsRecipientType",
            "serwersmsSenderName",
            "serwersmsUsername",
        ],
    ),
    ("SevenIO", &["sevenioReceiver", "sevenioSender"]),
    ("signal", &["signalNumber", "signalRecipients", "signalTemplate", "signalURL", "signalUseTemplate"]),
    (
        "slack",
        &[
            "slackIncludeGroupName",
            "slackTemplate",
            "slackUseTemplate",
            "slackchannel",
            "slackchannelnotify",
            "slackiconemo",
            "slackrichmessage",
            "slackusername",
        ],
    ),
    ("smsc", &["smscLogin", "smscSenderName", "smscToNumber", "smscTranslit"]),
    (
        "SMSEagle",
        &[
            "smseagleApiType",
            "smseagleDuration",
            "smseagleEncoding",
            "smseagleMsgType",
            "smseaglePriority",
            "smseagleRecipient",
            "smseagleRecipientContact",
            "smseagleRecipientGroup",
            "smseagleRecipientTo",
            "smseagleRecipientType",
            "smseagleTtsModel",
            "smseagleUrl",
        ],
    ),
    ("SMSGateway", &["smsgatewayTo", "smsgatewayUrl"]),
    ("smsir", &["smsirNumber", "smsirTemplate"]),
    ("SMSManager", &["messageType", "numbers"]),
    ("SMSPartner", &["smspartnerPhoneNumber", "smspartnerSenderName"]),
    ("SMSPlanet", &["smsplanetPhoneNumbers", "smsplanetSenderName"]),
    (
        "smtp",
        &[
            "customBody",
            "customSubject",
            "htmlBody",
            "smtpBCC",
            "smtpCC",
            "smtpDkimDomain",
            "smtpDkimHashAlgo",
            "smtpDkimKeySelector",
            "smtpDkimheaderFieldNames",
            "smtpDkimskipFields",
            "smtpFrom",
            "smtpHost",
            "smtpIgnoreSTARTTLS",
            "smtpIgnoreTLSError",
            "smtpPort",
            "smtpSecure",
            "smtpTo",
            "smtpUsername",
        ],
    ),
    ("Splunk", &["splunkAutoResolve", "splunkSeverity"]),
    ("teams", &["teamsEnableTags"]),
    (
        "telegram",
        &[
            "telegramChatID",
            "telegramMessageThreadID",
            "telegramProtectContent",
            "telegramSendSilently",
            "telegramServerUrl",
            "telegramTemplate",
            "telegramTemplateParseMode",
            "telegramUseTemplate",
        ],
    ),
    ("telnyx", &["telnyxMessagingProfileId", "telnyxPhoneNumber", "telnyxToNumber"]),
    (
        "Teltonika",
        &["teltonikaModem", "teltonikaPhoneNumber", "teltonikaUnsafeTls", "teltonikaUrl", "teltonikaUsername"],
    ),
    ("threema", &["threemaRecipient", "threemaRecipientType", "threemaSenderIdentity"]),
    (
        "TurboSMTP",
        &[
            "turbosmtpBccEmail",
            "turbosmtpCcEmail",
            "turbosmtpFromEmail",
            "turbosmtpRegion",
            "turbosmtpSubject",
            "turbosmtpToEmail",
        ],
    ),
    ("twilio", &["twilioAccountSID", "twilioFromNumber", "twilioMessagingServiceSID", "twilioToNumber"]),
    ("VK", &["vkApiVersion", "vkDontParseLinks", "vkPeerId"]),
    ("VKTeams", &["vkteamsBaseUrl", "vkteamsChatId", "vkteamsTemplate", "vkteamsTemplateFormat", "vkteamsUseTemplate"]),
    ("waha", &["wahaApiUrl", "wahaChatId", "wahaSession"]),
    ("webhook", &["httpMethod", "webhookContentType"]),
    ("WeCom", &["weComMentionedMobileList"]),
    ("whapi", &["whapiApiUrl", "whapiRecipient"]),
    (
        "Whatsapp360messenger",
        &[
            "Whatsapp360messengerGroupIds",
            "Whatsapp360messengerRecipient",
            "Whatsapp360messengerTemplate",
            "Whatsapp360messengerUseTemplate",
        ],
    ),
    ("WPush", &["wpushChannel"]),
];

/// Whether `value` of `key`, in the config of a notification of `provider`, is public. A URL with a login or a query is not.
pub fn is_public(provider: &str, key: &str, value: &Json) -> bool {
    let is_key = PUBLIC.iter().any(|(name, keys)| *name == provider && keys.contains(&key));
    let may_be_secret = |text: &str| text.split_once("://").is_some_and(|(_, rest)| rest.contains(['@', '?']));
    is_key && !value.as_str().is_some_and(may_be_secret)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{PUBLIC, is_public};
    use crate::model::providers::missing_provider;
    use crate::schema::Release;

    #[test]
    fn every_provider_is_one_of_the_server() {
        let last = Release::new(2, 5, 3);
        for (name, _) in PUBLIC {
            // Removed ones stay in old databases.
            assert!(
                missing_provider(name, last).is_none() || missing_provider(name, Release::new(1, 23, 17)).is_none(),
                "{name}"
            );
        }
        assert!(PUBLIC.windows(2).all(|pair| pair[0].0.to_lowercase() < pair[1].0.to_lowercase()));
    }

    #[test]
    fn what_gives_access_is_not_public() {
        for (provider, key) in
            [("ntfy", "ntfyPriority"), ("webhook", "httpMethod"), ("smtp", "smtpHost"), ("telegram", "telegramChatID")]
        {
            assert!(is_public(provider, key, &json!("x")), "{provider}.{key}");
        }
        for (provider, key) in [
            ("ntfy", "ntfytopic"),
            ("webhook", "webhookURL"),
            ("webhook", "webhookAdditionalHeaders"),
            ("smtp", "smtpPassword"),
            ("smtp", "smtpDkimPrivateKey"),
            ("telegram", "telegramBotToken"),
            ("Unknown", "httpMethod"),
            ("slack", "httpMethod"),
        ] {
            assert!(!is_public(provider, key, &json!("x")), "{provider}.{key}");
        }
        assert!(is_public("gotify", "gotifyserverurl", &json!("https://push.example.com")));
        assert!(!is_public("gotify", "gotifyserverurl", &json!("https://me:word@push.example.com")));
    }
}
