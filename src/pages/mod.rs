//! SQLite's file format: the numbers in it, its pages, and whether a file is sound. Pure: bytes in.

mod bytes;
mod page;
mod sound;

pub use bytes::{Bytes, RawValue};
pub(crate) use bytes::{be32, raw_value, size_of, varint};
pub(crate) use page::{Page, PageCell, PageKind, fills};
pub use sound::RawRow;
pub(crate) use sound::{ColumnKind, ColumnRule, Contents, LeafTest, Tree, check};
