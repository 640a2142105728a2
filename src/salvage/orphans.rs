//! Orphan pages: finds the tables that their rows belong to.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::image::DatabaseImage;
use super::shape::{RowFit, TableShape};
use super::walk::{Claims, trunk_leaves};
use super::{Survey, record};
use crate::pages::{Page, PageKind};
use crate::value::Value;

/// Orphan pages.
#[derive(Default)]
pub struct OrphanPages {
    /// Pages of rows.
    pub leaves: Vec<u32>,
    /// Pages of rows on free pages.
    pub deleted: u64,
    /// The parent page of each page.
    parents: HashMap<u32, u32>,
}

/// Finds them. A list of free pages without a reference from page 1 is recognised by its structure.
pub fn look(image: &DatabaseImage<'_>, claims: &mut Claims) -> OrphanPages {
    let mut strays = OrphanPages::default();
    let mut free = HashSet::new();
    for number in (1..=image.pages()).filter(|page| claims.is_orphan(*page)) {
        let Some(bytes) = image.bytes(number) else { continue };
        if bytes[0] == 0 && bytes[4..8] != [0; 4] {
            free.extend(trunk_leaves(&bytes, image).into_iter().flatten());
        }
        let Some(page) = Page::parse(number, bytes, image.usable()) else { continue };
        match page.kind {
            PageKind::TableLeaf if page.count() > 0 => strays.leaves.push(number),
            PageKind::TableInterior => {
                let children = page.cells().flatten().map(|cell| cell.child).chain([page.last_child()]);
                strays.parents.extend(children.map(|child| (child, number)));
            }
            _ => {}
        }
    }
    let before = strays.leaves.len();
    strays.leaves.retain(|page| !free.contains(page));
    strays.deleted = (before - strays.leaves.len()) as u64;
    claims.add_free(free);
    strays
}

impl OrphanPages {
    /// The topmost ancestor of `page`.
    fn top(&self, page: u32) -> u32 {
        let (mut top, mut seen) = (page, HashSet::new());
        while let Some(parent) = self.parents.get(&top).filter(|_| seen.insert(top)) {
            top = *parent;
        }
        top
    }
}

/// The complete rows on a page.
pub fn rows(image: &DatabaseImage<'_>, page: &Page) -> Vec<(i64, Vec<Value>)> {
    page.cells().flatten().map(|cell| (cell.rowid, record::read(image, page, &cell).cells)).collect()
}

/// Assigns orphan pages of rows, tree by tree, to the tables that fit best.
pub fn place(survey: &mut Survey<'_>, strays: &OrphanPages) {
    let mut groups: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for leaf in &strays.leaves {
        groups.entry(strays.top(*leaf)).or_default().push(*leaf);
    }
    // A complete table has no other pages.
    let open: Vec<usize> = (0..survey.tables.len()).filter(|at| !survey.tables[*at].is_complete()).collect();
    let mut tied = Vec::new();
    for leaves in groups.into_values() {
        let best = best(survey, &open, &leaves);
        match best.as_slice() {
            [] => {}
            [one] => survey.tables[*one].orphans.extend(leaves),
            _ => tied.push((leaves, best)),
        }
    }
    // References decide among link tables, after the referenced tables are assigned.
    let ids = Ids::read(survey, &tied);
    for (leaves, mut best) in tied {
        best.retain(|at| leaves.iter().all(|leaf| ids.contain(survey, *at, *leaf)));
        match best.as_slice() {
            [one] => survey.tables[*one].orphans.extend(leaves),
            several => {
                let names: Vec<String> = several.iter().map(|at| survey.tables[*at].shape.table.clone()).collect();
                survey.unplaced.extend(leaves.into_iter().map(|leaf| (leaf, names.clone())));
            }
        }
    }
}

/// The tables that most rows of `leaves` fit best.
fn best(survey: &Survey<'_>, open: &[usize], leaves: &[u32]) -> Vec<usize> {
    let mut scores: BTreeMap<usize, u64> = BTreeMap::new();
    let mut all = 0;
    for leaf in leaves {
        let Some(page) = survey.image.page(*leaf) else { continue };
        for (rowid, cells) in rows(&survey.image, &page) {
            all += 1;
            for at in open {
                let score = score(&survey.tables[*at].shape, rowid, &cells);
                if score > 0 {
                    *scores.entry(*at).or_default() += score;
                }
            }
        }
    }
    let most = scores.values().copied().max().unwrap_or(0);
    // At least half of the rows must be possible.
    if most == 0 || most < all {
        return Vec::new();
    }
    scores.into_iter().filter(|(_, score)| *score == most).map(|(at, _)| at).collect()
}

fn score(shape: &TableShape, rowid: i64, cells: &[Value]) -> u64 {
    let exact = u64::from(cells.len() == shape.columns.len());
    match shape.fit(rowid, cells) {
        RowFit::Well => 4 + 2 * exact,
        RowFit::Oddly => 2 + exact,
        RowFit::Not => 0,
    }
}

/// Ids of the rows of referenced tables.
struct Ids(BTreeMap<String, BTreeSet<i64>>);

impl Ids {
    fn read(survey: &Survey<'_>, tied: &[(Vec<u32>, Vec<usize>)]) -> Ids {
        let schema = survey.recording.schema();
        let mut ids = BTreeMap::new();
        for at in tied.iter().flat_map(|(_, best)| best) {
            let keys = schema.table(&survey.tables[*at].shape.table).map(|table| table.foreign_keys.as_slice());
            for key in keys.unwrap_or_default() {
                let Some(parent) = survey.table(&key.table) else { continue };
                ids.entry(key.table.clone()).or_insert_with(|| {
                    let mut found = BTreeSet::new();
                    let Ok(_) = survey.visit::<std::convert::Infallible>(parent, &mut |row| {
                        found.insert(row.rowid);
                        Ok(())
                    });
                    found
                });
            }
        }
        Ids(ids)
    }

    /// Whether the rows on `leaf` would refer to existing rows if they belonged to this table.
    fn contain(&self, survey: &Survey<'_>, at: usize, leaf: u32) -> bool {
        let shape = &survey.tables[at].shape;
        let schema = survey.recording.schema();
        let keys = schema.table(&shape.table).map(|table| table.foreign_keys.clone()).unwrap_or_default();
        let rows = survey.image.page(leaf).map(|page| rows(&survey.image, &page)).unwrap_or_default();
        rows.iter().all(|(_, cells)| {
            keys.iter().all(|key| match shape.position(&key.column).and_then(|at| cells.get(at)) {
                Some(Value::Int(id)) => self.0.get(&key.table).is_none_or(|ids| ids.is_empty() || ids.contains(id)),
                _ => true,
            })
        })
    }
}
