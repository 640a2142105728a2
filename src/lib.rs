//! Works on Uptime Kuma's own database, safely.

pub mod backup;
pub mod cli;
pub mod config;
pub mod docker;
pub mod doctor;
pub mod engine;
pub mod error;
pub mod face;
pub mod far;
pub mod files;
pub mod formats;
pub mod instance;
pub mod kuma;
pub mod model;
pub mod plan;
pub mod run;
pub mod salvage;
pub mod schedule;
pub mod schema;
pub mod text;
pub mod tls;
pub mod value;

pub use error::{Error, Exit, Result};
