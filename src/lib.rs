//! Works on Uptime Kuma's own database, safely.

pub mod docker;
pub mod engine;
pub mod error;
pub mod files;
pub mod kuma;
pub mod model;
pub mod schema;
pub mod value;

pub use error::{Error, Exit, Result};
