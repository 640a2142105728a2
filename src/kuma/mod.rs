//! All SQL that knows the server's tables, written once for both engines.

pub mod evidence;
pub mod history;
pub mod init;
pub mod read;
pub mod sweep;
pub mod write;
