//! All SQL for the server's tables, written once for both engines.

pub(crate) mod beats;
pub mod create;
pub mod damaged;
pub mod evidence;
pub(crate) mod expiry;
pub mod fresh;
pub mod history;
pub mod init;
pub(crate) mod keep;
pub(crate) mod mark;
pub(crate) mod merge;
pub mod prune;
pub mod public;
pub mod read;
mod scan;
pub mod transfer;
pub mod upgrade;
pub mod uptime;
pub mod write;
