//! Backs up, edits, restores and repairs the database of Uptime Kuma, on SQLite and MariaDB.
//!
//! # Laws
//! - **No write without a verified copy.** Only [`backup::Guarded`] opens a database for writing, and it requires a
//!   [`backup::StagedCopy`] that was read back. The exceptions create databases: [`kuma::init`], [`kuma::create`].
//! - **One way to write**: [`operation::run`] locks the instance, opens a journal, stops the server, stages the copy, writes in
//!   one transaction, starts the server, and verifies that it is up. When a step fails, everything is rolled back; after an
//!   interruption, [`operation::resume()`] finishes or rolls back the operation.
//! - **Reading changes nothing**: no lock, no checkpoint, no file beside the database.
//! - **The data folder is not trusted**: no link in it is followed, nothing in it is executed.
//! - **Errors are typed**: each [`Error`] has an exit code and hints, and names what to do.
//!
//! # Where to start
//! An [`instance::Locator`] finds an [`instance::Instance`]: by folder, container, or address. Then:
//!
//! | to | use |
//! |---|---|
//! | read the configuration, the history, statistics | [`kuma::read`], [`kuma::history`], [`report`] |
//! | take a snapshot, find and unpack one | [`operation::take`], [`backup`] |
//! | plan changes, or make a fixture of a file and plan it | [`plan`], [`formats`] |
//! | write what was planned, restore, undo, prune, upgrade | [`operation::run`] with an [`operation::Work`] |
//! | examine and fix an instance, rebuild a damaged database | [`operation::examine`], [`doctor`], [`salvage`], [`kuma::fresh`] |
//! | create a database, move one to the other engine | [`kuma::init`], [`operation::rebuild`], [`operation::convert`] |
//! | read the config file, run its jobs | [`config`], [`schedule`] |
//!
//! These use [`engine`] (SQLite and MariaDB), [`docker`], [`files`], [`schema`] and [`model`] (what each release has),
//! [`upgrade`] (what each migration does), [`value`], [`cancel`] and [`error`]. `ARCHITECTURE.md` describes the modules and
//! their layers; the ones that only kumadb itself needs are private.
//!
//! The monitors of an instance whose server does not have to run:
//! ```no_run
#![doc = include_str!("../examples/list_monitors.rs")]
//! ```
//! `examples/backup.rs` takes a verified backup.
//!
//! The feature `cli` (default) has the command line: the module `cli`, and the crates that only it needs.

pub mod backup;
pub mod cancel;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod docker;
pub mod doctor;
pub mod engine;
pub mod error;
pub mod files;
pub mod formats;
pub(crate) mod http;
pub mod instance;
pub mod kuma;
pub mod model;
pub mod operation;
pub(crate) mod pages;
pub mod plan;
pub(crate) mod remote;
pub mod report;
pub mod salvage;
pub mod schedule;
pub mod schema;
pub(crate) mod text;
pub(crate) mod tls;
pub mod upgrade;
pub mod value;
mod wait;

pub use error::{Error, Exit, Result};
