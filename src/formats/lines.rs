//! Positions in a text: lines and columns, counted from 1.

use std::sync::Arc;

use super::node::At;

/// Converts byte offsets to lines and columns.
pub(super) struct Lines<'t> {
    file: Arc<str>,
    text: &'t str,
    starts: Vec<usize>,
    /// Characters before each block: generated files often have one line of many megabytes.
    counted: Vec<usize>,
}

/// Bytes in a block of [`Lines::counted`].
const BLOCK: usize = 256;

impl<'t> Lines<'t> {
    pub(super) fn new(file: &str, text: &'t str) -> Lines<'t> {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let mut counted = vec![0];
        for block in text.as_bytes().chunks(BLOCK) {
            counted.push(counted.last().unwrap_or(&0) + letters(block));
        }
        Lines { file: file.into(), text, starts, counted }
    }

    /// The position of a byte.
    pub(super) fn at(&self, offset: usize) -> At {
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let column = self.before(offset).saturating_sub(self.before(self.starts[line - 1])) + 1;
        At { file: self.file.clone(), line: line as u32, column: column as u32 }
    }

    /// The number of characters before a byte.
    fn before(&self, offset: usize) -> usize {
        let offset = offset.min(self.text.len());
        let block = offset / BLOCK;
        self.counted[block] + letters(&self.text.as_bytes()[block * BLOCK..offset])
    }
}

/// The number of characters that begin in `bytes`.
fn letters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| (**byte & 0xC0) != 0x80).count()
}
