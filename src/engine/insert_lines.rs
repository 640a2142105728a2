//! INSERT lines of a dump, with many rows each.

use crate::engine::quote;
use crate::error::Result;

/// Bytes of one INSERT, unless a single row is larger. Part of the format: the same rows must produce the same lines.
const LINE: usize = 512 * 1024;

/// Where an INSERT line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// When it is full: the lines of a dump.
    Size,
    /// Also after rows that are drawn by their content: for a store that keeps equal parts of several dumps once.
    Content,
}

/// The INSERT lines of one table.
pub(crate) struct InsertLines {
    line: Vec<u8>,
    /// The length of a line without rows.
    head: usize,
    grouping: Grouping,
    /// Whether the line ends with its last row, although it is not full.
    is_ended: bool,
    count: u64,
}

impl InsertLines {
    /// For `table` with the quoted column names `names`.
    pub(crate) fn of(table: &str, names: impl Iterator<Item = String>) -> InsertLines {
        let names: Vec<String> = names.collect();
        let head = format!("INSERT INTO {} ({}) VALUES ", quote(table), names.join(",")).into_bytes();
        InsertLines::after(head, Grouping::Size)
    }

    /// For lines that begin with `head`, up to the first row.
    pub(crate) fn after(head: Vec<u8>, grouping: Grouping) -> InsertLines {
        InsertLines { head: head.len(), line: head, grouping, is_ended: false, count: 0 }
    }

    /// Whether its lines begin with `head`.
    pub(crate) fn is_after(&self, head: &[u8]) -> bool {
        self.line[..self.head] == *head
    }

    /// Adds one row, `(1,'a')`; passes the previous line to `put` if it is full.
    pub(crate) fn add(&mut self, row: &[u8], put: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        if self.line.len() > self.head {
            if self.line.len() + row.len() < LINE && !self.is_ended {
                self.line.push(b',');
            } else {
                self.put(put)?;
            }
        }
        self.line.extend_from_slice(row);
        self.count += 1;
        self.is_ended = self.grouping == Grouping::Content && ends_insert(row);
        Ok(())
    }

    /// Passes the last line to `put`; returns the number of rows.
    pub(crate) fn end(mut self, put: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<u64> {
        if self.line.len() > self.head {
            self.put(put)?;
        }
        Ok(self.count)
    }

    /// The number of rows so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    fn put(&mut self, put: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.line.extend_from_slice(b";\n");
        put(&self.line)?;
        self.line.truncate(self.head);
        Ok(())
    }
}

/// Whether the INSERT that `row` is added to ends with it, in a dump whose unchanged parts are to stay the same bytes from day to
/// day: the row itself decides, so rows that are deleted or added before it do not move the ends of the other statements. About
/// one row of 512 does.
fn ends_insert(row: &[u8]) -> bool {
    /// Enough for the id, and for what differs in tables without one.
    const READ: usize = 48;
    // FNV-1a, whose low bits reach the high ones by the last multiplication.
    let hash = row
        .iter()
        .take(READ)
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_an_insert_after_about_512_rows() {
        for row in [|id| format!("({id},0,7,1,'200 - OK')"), |id| format!("('monitor {id}',NULL)")] {
            let ends = (0..512_000).filter(|id| ends_insert(row(*id).as_bytes())).count();
            assert!((900..1100).contains(&ends), "{ends} of 1000");
        }
    }
}
