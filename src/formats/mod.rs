//! Reads and writes fixtures: the native format as YAML, JSON, TOML and CSV, and foreign formats.

pub mod export;
pub mod foreign;
pub mod json_schema;
mod lines;
pub mod native;
pub mod node;
pub mod render;
pub mod text;

pub use node::{At, Data, Entry, Node};
pub use text::Syntax;
