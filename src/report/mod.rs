//! What monitors did: their status, uptime, outages, and how these are drawn. Pure over what was read.
//!
//! The rules are those of the server, so that the numbers are those of its page.

pub(crate) mod chart;
pub(crate) mod html;
pub mod maintenance;
pub mod outage;
pub mod status;
pub(crate) mod strip;
pub mod uptime;
