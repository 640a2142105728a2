//! Why the running server does not answer, or does not accept a heartbeat.

use super::{ErrorReport, Exit, Hint};

/// HTTP requests to the server.
#[derive(Debug)]
#[allow(missing_docs, reason = "the report of each variant is its documentation")]
#[non_exhaustive]
pub enum ServerError {
    NoResponse {
        address: String,
        why: String,
        hint: Hint,
    },
    /// It answers, and does not accept the heartbeat.
    PushRefused {
        address: String,
        monitor: String,
        why: String,
    },
    /// A paused monitor takes no heartbeats.
    MonitorPaused {
        monitor: String,
    },
    /// A push monitor without a token.
    NoToken {
        monitor: String,
    },
}

impl ServerError {
    /// Message, exit code and hints.
    pub fn report(&self) -> ErrorReport {
        match self {
            Self::NoResponse { address, why, hint } => {
                ErrorReport::new(Exit::Failed, format!("no response from the server at {address}: {why}"))
                    .with([hint.clone()])
            }
            Self::PushRefused { address, monitor, why } => ErrorReport::new(
                Exit::Failed,
                format!("the server at {address} did not accept the heartbeat of `{monitor}`: {why}"),
            )
            .command("kumadb probe"),
            Self::MonitorPaused { monitor } => ErrorReport::new(
                Exit::Refused,
                format!("cannot push a heartbeat to `{monitor}`: it is paused, or its group is"),
            )
            .command(format!("kumadb monitor resume '{monitor}'")),
            Self::NoToken { monitor } => {
                ErrorReport::new(Exit::Refused, format!("cannot push a heartbeat to `{monitor}`: it has no push token"))
                    .hint("set one: `kumadb monitor edit` with `--set push_token=TOKEN`")
            }
        }
    }
}
