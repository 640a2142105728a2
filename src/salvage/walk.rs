//! Walks trees of pages from their roots, and finds other used pages: free pages and the map of an `auto_vacuum` file.

use std::collections::{HashMap, HashSet};

use super::image::DatabaseImage;
use super::record;
use crate::pages::{Page, PageCell, PageKind, be32};
use crate::value::Value;

/// Maximum number of index entries that are kept to compare rows; larger indexes are only counted.
const COMPARED: usize = 200_000;

/// The owner of each page.
pub struct Claims {
    trees: Vec<bool>,
    chained: HashSet<u32>,
    free: HashSet<u32>,
    shared: HashSet<u32>,
    map: Option<Map>,
}

/// A page of rows, and whether the page and the path to it are intact.
#[derive(Clone, Copy, Debug)]
pub struct Leaf {
    /// Its number.
    pub page: u32,
    /// It is certain.
    pub sure: bool,
}

/// The tree of one root.
#[derive(Debug, Default)]
pub struct Tree {
    /// Its pages of rows or entries, in the order of their keys.
    pub leaves: Vec<Leaf>,
    /// Child pages that are missing or invalid.
    pub gaps: u64,
    /// Entries of an index, on all pages.
    pub entries: u64,
    /// Whether it is intact.
    pub whole: bool,
}

/// The entries of one index by row id: hashes of its columns.
pub type Entries = HashMap<i64, u64>;

impl Claims {
    /// Only the file's own free pages and map pages are claimed.
    pub fn new(image: &DatabaseImage<'_>) -> Claims {
        let map = Map::find(image);
        let mut claims = Claims {
            trees: vec![false; image.pages() as usize + 1],
            chained: HashSet::new(),
            free: HashSet::new(),
            shared: HashSet::new(),
            map,
        };
        claims.read_free(image);
        claims
    }

    /// Whether `page` is unclaimed.
    pub fn is_orphan(&self, page: u32) -> bool {
        !self.trees[page as usize]
            && !self.chained.contains(&page)
            && !self.free.contains(&page)
            && !self
                .map
                .as_ref()
                .is_some_and(|map| map.is_map(page) || map.entry(page).is_some_and(|(kind, _)| kind == 2))
    }

    /// Whether `page` is claimed more than once.
    pub fn is_shared(&self, page: u32) -> bool {
        self.shared.contains(&page)
    }

    /// Adds `pages` to the free ones.
    pub fn add_free(&mut self, pages: impl IntoIterator<Item = u32>) {
        self.free.extend(pages);
    }

    /// The list of free pages, from page 1.
    fn read_free(&mut self, image: &DatabaseImage<'_>) {
        let Some(head) = image.bytes(1).filter(|head| head.starts_with(b"SQLite format 3\0")) else { return };
        let mut trunk = be32(&head, 32);
        while trunk != 0 && self.free.insert(trunk) {
            let Some(bytes) = image.bytes(trunk) else { break };
            let Some(leaves) = trunk_leaves(&bytes, image) else { break };
            self.free.extend(leaves);
            trunk = be32(&bytes, 0);
        }
    }

    /// Claims a page of a tree; `false` if it is claimed already or does not exist.
    fn claim(&mut self, page: u32) -> bool {
        if page == 0 || page as usize >= self.trees.len() || self.trees[page as usize] {
            self.shared.insert(page);
            return false;
        }
        self.trees[page as usize] = true;
        if self.chained.contains(&page) || self.free.contains(&page) {
            self.shared.insert(page);
        }
        true
    }

    /// Claims the rest of a record that begins on `page`.
    fn chain(&mut self, image: &DatabaseImage<'_>, cell: &PageCell) {
        for page in record::overflow_pages(image, cell).0 {
            if self.trees[page as usize] || self.free.contains(&page) || !self.chained.insert(page) {
                self.shared.insert(page);
            }
        }
    }

    /// Whether the overflow pages of `cell` on `page` are claimed only once.
    pub fn is_own_chain(&self, image: &DatabaseImage<'_>, page: u32, cell: &PageCell) -> bool {
        let (pages, whole) = record::overflow_pages(image, cell);
        let before = std::iter::once(page).chain(pages.iter().copied());
        let fits = |(at, (before, page)): (usize, (u32, &u32))| {
            let desired = (if at == 0 { 3 } else { 4 }, before);
            self.map.as_ref().and_then(|map| map.entry(*page)).is_none_or(|entry| entry == desired)
        };
        whole
            && !pages.iter().any(|page| self.shared.contains(page) || self.trees[*page as usize])
            && before.zip(&pages).enumerate().all(fits)
    }

    /// Follows the tree that begins at `root`. With `entries`, those of an index over `columns` columns are kept there.
    pub fn walk(
        &mut self,
        image: &DatabaseImage<'_>,
        root: u32,
        table: bool,
        mut entries: Option<(&mut Entries, usize)>,
    ) -> Tree {
        let mut tree = Tree { whole: true, ..Tree::default() };
        let mut next = vec![Step { page: root, parent: 0, low: None, high: None, sure: true }];
        while let Some(step) = next.pop() {
            let claimed = self.claim(step.page);
            let page = if claimed { image.page(step.page).filter(|page| page.kind.is_table() == table) } else { None };
            let Some(page) = page else {
                tree.gaps += 1;
                tree.whole = false;
                if claimed {
                    // It may belong to another tree.
                    self.trees[step.page as usize] = false;
                }
                continue;
            };
            let parent = if step.parent == 0 { (1, 0) } else { (5, step.parent) };
            let mapped = self.map.as_ref().and_then(|map| map.entry(step.page)).is_none_or(|entry| entry == parent);
            let sure = step.sure && mapped && page.is_whole() && (!table || step.holds(&page));
            tree.whole &= sure && !self.is_shared(step.page);
            if page.kind != PageKind::TableInterior {
                tree.entries += page.count() as u64;
                for cell in page.cells().flatten() {
                    if cell.overflow != 0 {
                        self.chain(image, &cell);
                    }
                    if let Some((kept, columns)) = entries.as_mut().filter(|(kept, _)| kept.len() <= COMPARED) {
                        keep(kept, *columns, record::read(image, &page, &cell).cells);
                    }
                }
            }
            if page.kind.is_interior() {
                step.descend(&page, sure, &mut next)
            } else {
                tree.leaves.push(Leaf { page: step.page, sure })
            }
        }
        if let Some((kept, _)) = entries.filter(|(kept, _)| !tree.whole || kept.len() > COMPARED) {
            // With its memory, which `clear` would keep.
            *kept = Entries::new();
        }
        tree
    }
}

/// Keeps one entry of an index: its last cell is the row id.
fn keep(entries: &mut Entries, columns: usize, mut cells: Vec<Value>) {
    if let (true, Some(Value::Int(rowid))) = (cells.len() == columns + 1, cells.pop()) {
        entries.insert(rowid, digest(cells.iter()));
    }
}

/// A hash of some cells.
pub fn digest<'a>(cells: impl Iterator<Item = &'a Value>) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    for cell in cells {
        match cell {
            Value::Null => 0.hash(&mut hasher),
            Value::Int(n) => (1, n).hash(&mut hasher),
            Value::Real(x) => (2, x.to_bits()).hash(&mut hasher),
            Value::Text(text) => (3, text).hash(&mut hasher),
            Value::Blob(bytes) => (4, bytes).hash(&mut hasher),
        }
    }
    hasher.finish()
}

/// A page to visit, and the range of its row ids.
struct Step {
    page: u32,
    parent: u32,
    low: Option<i64>,
    high: Option<i64>,
    sure: bool,
}

impl Step {
    /// Whether the row ids of a page are ascending and within the range of its parents.
    fn holds(&self, page: &Page) -> bool {
        let mut before = self.low;
        page.cells().all(|cell| {
            let Some(cell) = cell else { return false };
            let rises = before.is_none_or(|before| cell.rowid > before);
            before = Some(cell.rowid);
            rises && self.high.is_none_or(|high| cell.rowid <= high)
        })
    }

    fn descend(&self, page: &Page, sure: bool, next: &mut Vec<Step>) {
        let mut children = Vec::with_capacity(page.count() + 1);
        let mut low = self.low;
        for cell in page.cells().flatten() {
            let high = (page.kind == PageKind::TableInterior).then_some(cell.rowid);
            children.push(Step { page: cell.child, parent: self.page, low, high, sure });
            low = high.or(low);
        }
        children.push(Step { page: page.last_child(), parent: self.page, low, high: self.high, sure });
        next.extend(children.into_iter().rev());
    }
}

/// The pages in a page of the free list; `None` if it is invalid.
pub fn trunk_leaves(bytes: &[u8], image: &DatabaseImage<'_>) -> Option<Vec<u32>> {
    let count = be32(bytes, 4) as usize;
    if count > image.usable() / 4 - 2 {
        return None;
    }
    let leaves: Vec<u32> = (0..count).map(|at| be32(bytes, 8 + 4 * at)).collect();
    let is_page = |page: &u32| *page > 1 && *page <= image.pages();
    let unique: HashSet<&u32> = leaves.iter().collect();
    let next = be32(bytes, 0);
    (leaves.iter().all(is_page) && unique.len() == count && (next == 0 || is_page(&next))).then_some(leaves)
}

/// The entry of a page in the map of an `auto_vacuum` file: its type and parent.
struct Map {
    /// Entries of one page of the map.
    each: u32,
    kinds: HashMap<u32, (u8, u32)>,
}

impl Map {
    fn find(image: &DatabaseImage<'_>) -> Option<Map> {
        let each = (image.usable() / 5) as u32;
        let first = image.bytes(1).filter(|head| head.starts_with(b"SQLite format 3\0"));
        let is_map = match &first {
            Some(head) => be32(head, 52) != 0 && !image.page(2).is_some_and(|page| page.is_whole()),
            None => image.bytes(2).is_some_and(|bytes| (0..3).all(|at| (1..=5).contains(&bytes[5 * at]))),
        };
        let mut map = Map { each, kinds: HashMap::new() };
        let mut at = 2;
        while is_map && at <= image.pages() {
            let bytes = image.bytes(at)?;
            for entry in 0..each {
                let start = 5 * entry as usize;
                if (1..=5).contains(&bytes[start]) {
                    map.kinds.insert(at + 1 + entry, (bytes[start], be32(&bytes, start + 1)));
                }
            }
            at += each + 1;
        }
        is_map.then_some(map)
    }

    fn is_map(&self, page: u32) -> bool {
        page >= 2 && (page - 2).is_multiple_of(self.each + 1)
    }

    fn entry(&self, page: u32) -> Option<(u8, u32)> {
        self.kinds.get(&page).copied()
    }
}
