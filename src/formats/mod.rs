//! Reads and writes fixtures: the native format as YAML, JSON, TOML and CSV, and foreign formats.

pub mod decode;
mod expand;
pub mod export;
pub mod foreign;
pub mod import;
pub(crate) mod json_schema;
mod lines;
pub mod native;
pub(crate) mod node;
pub mod render;
mod resources;
mod table;
pub mod text;
mod unknown;

pub use expand::{Expand, Lookup, NoSources};
pub use node::{At, Data, Entry, Node};
pub use text::Syntax;
