//! Backs up, edits, restores and repairs the database of Uptime Kuma, on SQLite and MariaDB.
//!
//! A write ([`run::run`]) takes the lock of the instance, opens a journal, stops the server, stages and verifies a copy of
//! the database, writes in one transaction, starts the server, and verifies that it is up. When a step fails, everything is
//! rolled back; after an interruption, [`run::resume()`] finishes or rolls back the operation. No connection can write without
//! a verified copy: see [`backup::Guarded`].
//!
//! An [`instance::Instance`] is found by an [`instance::Sight`], which takes the same targets as `kumadb -t`. `ARCHITECTURE.md`
//! describes the modules and their layers.

pub mod backup;
pub mod cancel;
pub mod cli;
pub mod config;
pub mod docker;
pub mod doctor;
pub mod engine;
pub mod error;
pub mod files;
pub mod formats;
pub mod http;
pub mod instance;
pub mod kuma;
pub mod model;
pub mod operation;
pub mod plan;
pub mod remote;
pub mod report;
pub mod salvage;
pub mod schedule;
pub mod schema;
pub mod text;
pub mod tls;
pub mod upgrade;
pub mod value;

pub use error::{Error, Exit, Result};
