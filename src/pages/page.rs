//! One page of a tree: its header, its cells, and its consistency.

use super::bytes::{be16, be32, varint};

/// Bytes of the file's header, before the tree on page 1.
const FILE_HEADER: usize = 100;

/// The type of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    /// Rows of a table.
    TableLeaf,
    /// Interior page of a table.
    TableInterior,
    /// Entries of an index.
    IndexLeaf,
    /// Interior page of an index.
    IndexInterior,
}

impl PageKind {
    pub fn of(flag: u8) -> Option<PageKind> {
        Some(match flag {
            13 => PageKind::TableLeaf,
            5 => PageKind::TableInterior,
            10 => PageKind::IndexLeaf,
            2 => PageKind::IndexInterior,
            _ => return None,
        })
    }

    /// Whether it is an interior page.
    pub fn is_interior(self) -> bool {
        matches!(self, PageKind::TableInterior | PageKind::IndexInterior)
    }

    /// Whether it belongs to a table.
    pub fn is_table(self) -> bool {
        matches!(self, PageKind::TableLeaf | PageKind::TableInterior)
    }
}

/// One page of a tree, in bytes of its own or borrowed ones.
pub struct Page<B = Vec<u8>> {
    /// Its number.
    pub number: u32,
    /// What it is.
    pub kind: PageKind,
    bytes: B,
    usable: usize,
    head: usize,
    count: usize,
}

/// One cell of a page.
#[derive(Clone, Copy, Debug)]
pub struct PageCell {
    /// The child page of an interior cell.
    pub child: u32,
    /// The row id of a table's cell.
    pub rowid: i64,
    /// Total bytes of the record.
    pub size: u64,
    /// Start of the part of the record on this page.
    pub at: usize,
    /// Bytes of that part.
    pub local: usize,
    /// The page that the rest is on, or 0.
    pub overflow: u32,
    end: usize,
}

impl<B: AsRef<[u8]>> Page<B> {
    /// Reads the header of a page; `None` if it is not a page of a tree.
    pub fn parse(number: u32, bytes: B, usable: usize) -> Option<Page<B>> {
        let head = if number == 1 { FILE_HEADER } else { 0 };
        let kind = PageKind::of(bytes.as_ref()[head])?;
        let count = usize::from(be16(bytes.as_ref(), head + 3));
        let page = Page { number, kind, bytes, usable, head, count };
        (page.cells_begin() + 2 * count <= usable).then_some(page)
    }

    /// The number of cells in its header.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// Usable bytes of a page.
    pub fn usable(&self) -> usize {
        self.usable
    }

    /// The rightmost child of an interior page.
    pub fn last_child(&self) -> u32 {
        be32(self.bytes(), self.head + 8)
    }

    /// Its cells in order; `None` for each that is not within the page.
    pub fn cells(&self) -> impl Iterator<Item = Option<PageCell>> + '_ {
        (0..self.count).map(|at| self.cell(usize::from(be16(self.bytes(), self.cells_begin() + 2 * at))))
    }

    fn cells_begin(&self) -> usize {
        self.head + if self.kind.is_interior() { 12 } else { 8 }
    }

    fn cell(&self, start: usize) -> Option<PageCell> {
        if start < self.cells_begin() + 2 * self.count || start + 4 > self.usable {
            return None;
        }
        let mut cell = PageCell { child: 0, rowid: 0, size: 0, at: start, local: 0, overflow: 0, end: 0 };
        if self.kind.is_interior() {
            cell.child = be32(self.bytes(), start);
            cell.at += 4;
        }
        let bytes = &self.bytes()[..self.usable];
        if self.kind != PageKind::TableInterior {
            let (size, read) = varint(bytes, cell.at)?;
            cell.size = size as u64;
            cell.at += read;
        }
        if self.kind.is_table() {
            let (rowid, read) = varint(bytes, cell.at)?;
            cell.rowid = rowid;
            cell.at += read;
        }
        cell.local = self.local(cell.size);
        cell.end = cell.at + cell.local;
        if cell.size > cell.local as u64 {
            if cell.end + 4 > self.usable {
                return None;
            }
            cell.overflow = be32(bytes, cell.end);
            cell.end += 4;
        }
        // A cell never uses less than the size of a free block.
        cell.end = cell.end.max(start + 4);
        (cell.end <= self.usable).then_some(cell)
    }

    /// How much of a record of `size` bytes is on the page.
    fn local(&self, size: u64) -> usize {
        let usable = self.usable;
        let largest = if self.kind == PageKind::TableLeaf { usable - 35 } else { (usable - 12) * 64 / 255 - 23 };
        if size <= largest as u64 {
            return size as usize;
        }
        let least = (usable - 12) * 32 / 255 - 23;
        let kept = least + ((size - least as u64) % (usable as u64 - 4)) as usize;
        if kept <= largest { kept } else { least }
    }

    /// Whether every byte of it is accounted for, as in SQLite's own check: cells do not overlap, and the gaps match
    /// the list of free blocks and the number of fragmented bytes.
    pub fn is_whole(&self) -> bool {
        self.is_covered(&mut Vec::with_capacity(self.count + 4), |_| true)
    }

    /// The same, if `each` is true for all cells, which it gets in their order. `taken` is a buffer.
    pub fn is_covered(&self, taken: &mut Vec<(usize, usize)>, mut each: impl FnMut(&PageCell) -> bool) -> bool {
        let first = match be16(self.bytes(), self.head + 5) {
            0 => 65536,
            first => usize::from(first),
        };
        if first < self.cells_begin() + 2 * self.count || first > self.usable {
            return false;
        }
        taken.clear();
        for at in 0..self.count {
            let start = usize::from(be16(self.bytes(), self.cells_begin() + 2 * at));
            match self.cell(start) {
                Some(cell) if start >= first && each(&cell) => taken.push((start, cell.end)),
                _ => return false,
            }
        }
        let mut free = usize::from(be16(self.bytes(), self.head + 1));
        while free != 0 {
            if free < first || free + 4 > self.usable {
                return false;
            }
            let (next, size) = (usize::from(be16(self.bytes(), free)), usize::from(be16(self.bytes(), free + 2)));
            // SQLite joins free blocks that are next to each other, and what is between two of them could be one.
            if size < 4 || free + size > self.usable || next != 0 && next <= free + size + 3 {
                return false;
            }
            taken.push((free, free + size));
            free = next;
        }
        taken.sort_unstable();
        let (mut end, mut between) = (first, 0);
        for &(start, stop) in &*taken {
            if start < end {
                return false;
            }
            between += start - end;
            end = stop;
        }
        between + (self.usable - end) == usize::from(self.bytes()[self.head + 7])
    }
}

/// Whether `bytes` are a page of a tree of that size: with a smaller page size, the second half would not be used.
pub fn fills(bytes: &[u8]) -> bool {
    let Some(page) = Page::parse(2, bytes, bytes.len()) else { return false };
    let furthest = page.cells().flatten().map(|cell| cell.end).max();
    page.is_whole() && furthest.is_some_and(|end| end > bytes.len() / 2)
}
