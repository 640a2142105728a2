//! Whether a database file is sound: what `PRAGMA quick_check` of SQLite 3.54 looks for, on several threads.
//!
//! A file that passes is sound to SQLite as well. The reverse is not true: what is rare is not understood here, and what is wrong is
//! not named, so SQLite has to be asked about every other file.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use super::bytes::{Bytes, RawValue, be16, be32, raw_value, size_of, varint};
use super::page::{Page, PageCell, PageKind};

/// Bytes of the file's header.
const HEADER: usize = 100;

/// The page with this byte is never used: SQLite has its locks there.
const PENDING_BYTE: u64 = 0x4000_0000;

/// No tree has so many levels.
const DEEPEST: usize = 20;

/// Bytes of the longest row that is checked here.
const LONGEST: u64 = 16 << 20;

/// Pages that are read at once, and unused ones between two of them.
const RUN: u32 = 64;
const GAP: u32 = 4;

/// A table or an index, by the number of its root page.
pub enum Tree {
    /// A table with row ids; without rules, its rows are not checked.
    Table {
        /// Its root.
        root: u32,
        /// Its columns, in the order of the cells.
        columns: Option<Vec<ColumnRule>>,
    },
    /// An index.
    Index {
        /// Its root.
        root: u32,
        /// The root of its table, if it has one entry for each row.
        table: Option<u32>,
    },
}

impl Tree {
    /// Its root.
    pub fn root(&self) -> u32 {
        match self {
            Tree::Table { root, .. } | Tree::Index { root, .. } => *root,
        }
    }
}

/// What a column permits.
#[derive(Clone, Copy)]
pub struct ColumnRule {
    /// Which values.
    pub kind: ColumnKind,
    /// Not NULL.
    pub not_null: bool,
    /// Rows that were written before the column was added have a value other than NULL.
    pub has_default: bool,
}

/// The values that a column permits without a conversion that SQLite would have made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// The row id itself: the cell is NULL.
    RowId,
    /// No numbers.
    Text,
    /// No texts that are numbers.
    Number,
    /// All.
    Any,
}

/// A test of the rows of one table, which are read for the check.
pub struct LeafTest<'t> {
    /// The root of the table; it has rules.
    pub root: u32,
    /// The columns that the test looks at, by their place in the table.
    pub columns: &'t [usize],
    /// Whether a row passes it.
    pub passes: &'t (dyn Fn(&RawRow<'_>) -> bool + Sync),
}

/// A row of a table that is tested.
pub struct RawRow<'r> {
    record: &'r [u8],
    /// The type of each cell, and where its bytes begin.
    cells: &'r [(i64, usize)],
    columns: &'r [usize],
}

impl<'r> RawRow<'r> {
    /// The value in the column at `place` among those of the test; `None` in a row that was written before the column was added.
    pub fn value(&self, place: usize) -> Option<RawValue<'r>> {
        let (serial, at) = *self.cells.get(*self.columns.get(place)?)?;
        Some(raw_value(serial, self.record.get(at..at + size_of(serial)?)?))
    }
}

/// What a sound database contains.
pub struct Contents {
    /// Rows of each table, by its root.
    pub rows: BTreeMap<u32, u64>,
    /// Rows that did not pass the test.
    pub failed: u64,
}

/// Checks the database in `file`, which must not change meanwhile: `None` unless it is sound and consists of the tables and indexes
/// `trees`, all of them, or with `go_on` false, where it stops.
pub fn check(
    file: &dyn Bytes,
    trees: &[Tree],
    test: Option<&LeafTest<'_>>,
    threads: usize,
    go_on: &(dyn Fn() -> bool + Sync),
) -> Option<Contents> {
    Check::new(file, test, go_on)?.run(trees, threads)
}

/// A page, and the row ids that may be below it.
#[derive(Clone, Copy)]
struct Span {
    page: u32,
    after: Option<i64>,
    to: i64,
}

/// Each step is `None` where something is not as it should be.
struct Check<'a> {
    file: &'a dyn Bytes,
    go_on: &'a (dyn Fn() -> bool + Sync),
    head: [u8; HEADER],
    size: usize,
    usable: usize,
    pages: u32,
    /// A bit for each page.
    used: Vec<AtomicU32>,
    test: Option<&'a LeafTest<'a>>,
    /// Rows that did not pass.
    failed: AtomicU64,
}

/// What is in the leaves of a tree.
struct Rules<'a> {
    leaf: PageKind,
    columns: Option<&'a [ColumnRule]>,
    test: Option<&'a LeafTest<'a>>,
}

/// Buffers of one thread.
#[derive(Default)]
struct Buffers {
    bytes: Vec<u8>,
    page: PageBuffers,
}

/// Buffers for what is on one page.
#[derive(Default)]
struct PageBuffers {
    taken: Vec<(usize, usize)>,
    cells: Vec<(i64, usize)>,
}

impl<'a> Check<'a> {
    fn new(
        file: &'a dyn Bytes,
        test: Option<&'a LeafTest<'a>>,
        go_on: &'a (dyn Fn() -> bool + Sync),
    ) -> Option<Check<'a>> {
        let mut head = [0; HEADER];
        if file.read_at(0, &mut head) < HEADER || !head.starts_with(b"SQLite format 3\0") {
            return None;
        }
        let size = match be16(&head, 16) {
            1 => 65536,
            size => usize::from(size),
        };
        let usable = size.checked_sub(usize::from(head[20]))?;
        let known = head[21..24] == [64, 32, 32]
            && head[18..20].iter().all(|version| [1, 2].contains(version))
            && be32(&head, 56) == 1;
        // Of files with an `auto_vacuum`, the map of pages would have to be checked.
        let is_plain = be32(&head, 52) == 0 && be32(&head, 64) == 0;
        if !known || !is_plain || !size.is_power_of_two() || usable < 480 || !file.size().is_multiple_of(size as u64) {
            return None;
        }
        let pages = u32::try_from(file.size() / size as u64).ok()?;
        // Only valid if the last one who wrote to the file knew of it.
        if be32(&head, 24) == be32(&head, 92) && be32(&head, 28) != pages {
            return None;
        }
        let mut used = Vec::new();
        used.resize_with(pages as usize / 32 + 1, AtomicU32::default);
        let check = Check { file, go_on, head, size, usable, pages, used, test, failed: AtomicU64::new(0) };
        let pending = PENDING_BYTE / size as u64 + 1;
        if pending <= u64::from(pages) {
            check.claim(pending as u32)?;
        }
        Some(check)
    }

    fn run(&self, trees: &[Tree], threads: usize) -> Option<Contents> {
        self.free_pages()?;
        let mut rows = BTreeMap::new();
        for tree in trees {
            if let Tree::Table { root, columns } = tree {
                let test = self.test.filter(|test| test.root == *root);
                let rules = Rules { leaf: PageKind::TableLeaf, columns: columns.as_deref(), test };
                rows.insert(*root, self.tree(*root, &rules, threads)?);
            }
        }
        for tree in trees {
            if let Tree::Index { root, table } = tree {
                let rules = Rules { leaf: PageKind::IndexLeaf, columns: None, test: None };
                let entries = self.tree(*root, &rules, threads)?;
                if table.is_some_and(|table| rows.get(&table) != Some(&entries)) {
                    return None;
                }
            }
        }
        let used = self.used.iter().map(|part| u64::from(part.load(Ordering::Relaxed).count_ones())).sum::<u64>();
        (used == u64::from(self.pages)).then(|| Contents { rows, failed: self.failed.load(Ordering::Relaxed) })
    }

    /// Uses a page, which nothing else may use.
    fn claim(&self, page: u32) -> Option<()> {
        if page == 0 || page > self.pages {
            return None;
        }
        let bit = 1 << (page % 32);
        (self.used[page as usize / 32].fetch_or(bit, Ordering::Relaxed) & bit == 0).then_some(())
    }

    /// The first bytes of a page, or all.
    fn read<'b>(&self, page: u32, into: &'b mut [u8]) -> Option<&'b [u8]> {
        let read = self.file.read_at(u64::from(page - 1) * self.size as u64, into);
        (read == into.len()).then_some(into)
    }

    fn free_pages(&self) -> Option<()> {
        let (mut trunk, mut left) = (be32(&self.head, 32), be32(&self.head, 36));
        let mut bytes = vec![0; self.size];
        while trunk != 0 {
            self.claim(trunk)?;
            self.read(trunk, &mut bytes)?;
            let count = be32(&bytes, 4);
            if count as usize > self.usable / 4 - 2 {
                return None;
            }
            left = left.checked_sub(1 + count)?;
            (0..count as usize).try_for_each(|at| self.claim(be32(&bytes, 8 + 4 * at)))?;
            trunk = be32(&bytes, 0);
        }
        (left == 0).then_some(())
    }

    /// Checks one tree; returns its number of rows or entries.
    fn tree(&self, root: u32, rules: &Rules<'_>, threads: usize) -> Option<u64> {
        let mut level = vec![Span { page: root, after: None, to: i64::MAX }];
        let mut buffers = Buffers::default();
        if self.kind(root)? == rules.leaf {
            return self.leaves(&mut level, rules, &mut buffers, true);
        }
        // Down to the last level of interior pages: all leaves have the same depth.
        let (mut entries, mut depth) = (0, 1);
        while self.kind(self.last_child(level[0].page)?)? != rules.leaf {
            depth += 1;
            if depth == DEEPEST {
                return None;
            }
            let mut below = Vec::new();
            for span in &level {
                entries += self.interior(*span, rules, &mut buffers, &mut below)?;
                // What is made to look like a tree may have any number of children.
                if below.len() > self.pages as usize {
                    return None;
                }
            }
            level = below;
        }
        let (next, counted, failed) = (AtomicUsize::new(0), AtomicU64::new(entries), AtomicBool::new(false));
        let work = || {
            let (mut buffers, mut children) = (Buffers::default(), Vec::new());
            while let Some(span) = level.get(next.fetch_add(1, Ordering::Relaxed)) {
                children.clear();
                let own = self.interior(*span, rules, &mut buffers, &mut children);
                let all = own.and_then(|own| Some(own + self.leaves(&mut children, rules, &mut buffers, false)?));
                match all {
                    Some(count) if (self.go_on)() && !failed.load(Ordering::Relaxed) => {
                        counted.fetch_add(count, Ordering::Relaxed);
                    }
                    _ => {
                        failed.store(true, Ordering::Relaxed);
                        break;
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads.min(level.len()) {
                scope.spawn(work);
            }
            work();
        });
        (!failed.into_inner()).then(|| counted.into_inner())
    }

    /// Its place in a tree, if it is a page of one.
    fn kind(&self, page: u32) -> Option<PageKind> {
        let head = if page == 1 { HEADER as u64 } else { 0 };
        let mut flag = [0];
        (1..=self.pages).contains(&page).then_some(())?;
        let at = u64::from(page - 1) * self.size as u64 + head;
        (self.file.read_at(at, &mut flag) == 1).then_some(())?;
        PageKind::of(flag[0])
    }

    fn last_child(&self, page: u32) -> Option<u32> {
        let mut bytes = vec![0; self.size];
        let page = Page::parse(page, self.read(page, &mut bytes)?, self.usable)?;
        page.kind.is_interior().then(|| page.last_child())
    }

    /// Checks an interior page, and adds its children to `below`; returns the number of entries on it.
    fn interior(&self, span: Span, rules: &Rules<'_>, buffers: &mut Buffers, below: &mut Vec<Span>) -> Option<u64> {
        self.claim(span.page)?;
        buffers.bytes.resize(self.size, 0);
        let page = Page::parse(span.page, self.read(span.page, &mut buffers.bytes)?, self.usable)?;
        let is_table = page.kind.is_table();
        if !page.kind.is_interior() || is_table != rules.leaf.is_table() {
            return None;
        }
        let mut after = span.after;
        let is_covered = page.is_covered(&mut buffers.page.taken, |cell| {
            let to = if is_table { cell.rowid } else { i64::MAX };
            let in_order = !is_table || after.is_none_or(|after| to > after) && to < span.to;
            below.push(Span { page: cell.child, after, to });
            if is_table {
                after = Some(to);
            }
            in_order && (is_table || has_header(&page, cell)) && self.overflow(cell, None).is_some()
        });
        below.push(Span { page: page.last_child(), after, to: span.to });
        is_covered.then(|| if is_table { 0 } else { page.count() as u64 })
    }

    /// Checks leaves, in the order in which they are in the file; returns the number of their cells.
    fn leaves(&self, spans: &mut [Span], rules: &Rules<'_>, buffers: &mut Buffers, is_root: bool) -> Option<u64> {
        spans.sort_unstable_by_key(|span| span.page);
        spans.iter().try_for_each(|span| self.claim(span.page))?;
        let (mut cells, mut rest) = (0, &*spans);
        while let Some(first) = rest.first().map(|span| span.page) {
            let close = |pair: &[Span]| pair[1].page - pair[0].page <= GAP && pair[1].page - first < RUN;
            let run = 1 + rest.windows(2).take_while(|pair| close(pair)).count();
            let last = rest[run - 1].page;
            buffers.bytes.resize((last - first + 1) as usize * self.size, 0);
            let bytes = self.read(first, &mut buffers.bytes)?;
            for span in &rest[..run] {
                let page = &bytes[(span.page - first) as usize * self.size..][..self.size];
                let page = Page::parse(span.page, page, self.usable)?;
                if page.kind != rules.leaf || page.count() == 0 && !is_root {
                    return None;
                }
                self.leaf(&page, *span, rules, &mut buffers.page).then_some(())?;
                cells += page.count() as u64;
            }
            rest = &rest[run..];
        }
        Some(cells)
    }

    fn leaf(
        &self,
        page: &Page<&[u8]>,
        span: Span,
        rules: &Rules<'_>,
        PageBuffers { taken, cells }: &mut PageBuffers,
    ) -> bool {
        let (mut after, mut failed) = (span.after, 0);
        let mut fits = |record: &[u8], columns| {
            let Some(test) = rules.test else { return fits(record, columns, |_, _| {}) };
            cells.clear();
            let fits = fits(record, columns, |serial, at| cells.push((serial, at)));
            failed += u64::from(fits && !(test.passes)(&RawRow { record, cells, columns: test.columns }));
            fits
        };
        let is_covered = page.is_covered(taken, |cell| {
            if page.kind.is_table() {
                if after.is_some_and(|after| cell.rowid <= after) || cell.rowid > span.to {
                    return false;
                }
                after = Some(cell.rowid);
            }
            let local = &page.bytes()[cell.at..cell.at + cell.local];
            match rules.columns {
                Some(columns) if cell.size > cell.local as u64 => {
                    if cell.size > LONGEST {
                        return false;
                    }
                    let mut record = local.to_vec();
                    self.overflow(cell, Some(&mut record)).is_some() && fits(&record, columns)
                }
                Some(columns) => fits(local, columns),
                None => has_header(page, cell) && self.overflow(cell, None).is_some(),
            }
        });
        if failed > 0 {
            self.failed.fetch_add(failed, Ordering::Relaxed);
        }
        is_covered
    }

    /// The pages with the rest of a record, which is added to `record`.
    fn overflow(&self, cell: &PageCell, mut record: Option<&mut Vec<u8>>) -> Option<()> {
        let mut left = cell.size - cell.local as u64;
        if left == 0 {
            return Some(());
        }
        let mut bytes = vec![0; if record.is_some() { self.usable } else { 4 }];
        let mut next = cell.overflow;
        while left > 0 {
            self.claim(next)?;
            self.read(next, &mut bytes)?;
            next = be32(&bytes, 0);
            let here = left.min(self.usable as u64 - 4);
            if let Some(record) = &mut record {
                record.extend(&bytes[4..][..here as usize]);
            }
            left -= here;
        }
        (next == 0).then_some(())
    }
}

/// Whether the record of a cell begins with a header that is more than its own size.
fn has_header<B: AsRef<[u8]>>(page: &Page<B>, cell: &PageCell) -> bool {
    cell.local > 0 && page.bytes()[cell.at] > 1
}

/// Whether `record` is a row of a table with these columns; `each` is called with the type of each cell, and where its bytes begin.
fn fits(record: &[u8], columns: &[ColumnRule], mut each: impl FnMut(i64, usize)) -> bool {
    let Some((header, mut at)) = varint(record, 0) else { return false };
    let Ok(header) = usize::try_from(header) else { return false };
    if header <= at || header > record.len() {
        return false;
    }
    let (mut body, mut columns) = (header, columns.iter());
    while at < header {
        let Some((serial, read)) = varint(&record[..header], at) else { return false };
        let (Some(length), Some(column)) = (size_of(serial), columns.next()) else { return false };
        let Some(end) = body.checked_add(length) else { return false };
        let is_right = match serial {
            0 => !column.not_null || column.kind == ColumnKind::RowId,
            // SQLite reads one that is not a number as NULL.
            7 => permits_number(*column) && is_number(record.get(body..end)),
            1..=9 => permits_number(*column),
            _ if column.kind == ColumnKind::RowId => false,
            _ if serial % 2 == 1 && column.kind == ColumnKind::Number => {
                record.get(body..end).is_some_and(is_no_number)
            }
            _ => true,
        };
        if !is_right {
            return false;
        }
        each(serial, body);
        (at, body) = (at + read, end);
    }
    at == header && body == record.len() && columns.all(|column| !column.not_null || column.has_default)
}

fn permits_number(column: ColumnRule) -> bool {
    matches!(column.kind, ColumnKind::Number | ColumnKind::Any)
}

fn is_number(real: Option<&[u8]>) -> bool {
    let real = real.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    real.is_some_and(|bytes| !f64::from_be_bytes(bytes).is_nan())
}

/// Whether SQLite cannot convert a text to a number; `false` if it is not certain.
fn is_no_number(text: &[u8]) -> bool {
    text.is_empty() || text.iter().any(|byte| !byte.is_ascii_digit() && !b"+-.eE \t\n\x0b\x0c\r\0".contains(byte))
}
