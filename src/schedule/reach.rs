//! Checks whether the notifications of a job can be delivered, without sending any.

use serde_json::Value as Json;

use super::notice::{agent, failed, notice};
use crate::error::Result;
use crate::value::Secret;

/// A token that no push monitor has.
const NO_TOKEN: &str = "kumadb-config-check";

/// Sends a push for a monitor that does not exist: no heartbeat is written, and every proxy on the way lets pushes
/// through. The token in `address` is not checked.
///
/// # Errors
/// There is no response, or it is not from an Uptime Kuma.
pub fn reach_push(address: &Secret) -> Result<()> {
    const WHAT: &str = "the push";
    let base = address.reveal().split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let Some((base, _)) = base.split_once("/api/push/") else {
        return Err(notice(
            WHAT,
            "its URL does not contain `/api/push/TOKEN`: copy it from the push monitor in the web UI",
        ));
    };
    let request = agent().get(format!("{base}/api/push/{NO_TOKEN}")).config().http_status_as_error(false).build();
    let text = request.call().and_then(|mut answer| answer.body_mut().read_to_string()).map_err(failed(WHAT))?;
    match serde_json::from_str::<Json>(&text) {
        Ok(answer) if answer["ok"].is_boolean() => Ok(()),
        _ => Err(notice(WHAT, "the response is not from Uptime Kuma")),
    }
}

/// Sends OPTIONS, which has no effect, to a webhook, and returns the status of the response.
///
/// # Errors
/// There is no response, or a proxy reports that the server behind it is not running.
pub fn reach_webhook(address: &Secret) -> Result<u16> {
    const WHAT: &str = "the webhook";
    let request = agent().options(address.reveal()).config().http_status_as_error(false).build();
    match request.call().map_err(failed(WHAT))?.status().as_u16() {
        status @ 502..=504 => {
            Err(notice(WHAT, &format!("the response was {status}: the server behind the proxy is not running")))
        }
        status => Ok(status),
    }
}
