//! The cells of a new row.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Cell;

/// The cells of a new row, in the order of its columns. Most cells of a monitor are defaults: it has only those in which it
/// differs from a row before it, and shares the others.
#[derive(Clone, Debug)]
pub struct InsertCells {
    /// The row that it is compared with.
    base: Arc<[Cell]>,
    /// The cells that differ, with their positions, in order.
    own: Box<[(u32, Cell)]>,
}

impl InsertCells {
    /// The cells of the next row of the same table.
    pub fn following(&self, cells: impl ExactSizeIterator<Item = Cell>) -> InsertCells {
        let count = cells.len();
        if count != self.len() {
            return InsertCells::from(cells.collect::<Vec<_>>());
        }
        let mut own = Vec::new();
        for (at, cell) in (0..).zip(cells) {
            if self.base[at as usize] != cell {
                own.push((at, cell));
            }
        }
        // More than that take less space on their own, and the next row may be like this one.
        if own.len() * 2 <= count {
            return InsertCells { base: self.base.clone(), own: own.into() };
        }
        let mut own = own.into_iter().peekable();
        let whole = (0..).zip(self.base.iter());
        let whole = whole.map(|(at, shared)| match own.next_if(|(own, _)| *own == at) {
            Some((_, cell)) => cell,
            None => shared.clone(),
        });
        InsertCells::from(whole.collect::<Vec<_>>())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.base.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.base.is_empty()
    }

    /// The cell at this position.
    pub fn get(&self, at: usize) -> Option<&Cell> {
        let own = self.own.iter().find(|(own, _)| *own as usize == at);
        own.map(|(_, cell)| cell).or_else(|| self.base.get(at))
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Cell> {
        let mut own = self.own.iter().peekable();
        (0..).zip(self.base.iter()).map(move |(at, shared)| match own.next_if(|(own, _)| *own == at) {
            Some((_, cell)) => cell,
            None => shared,
        })
    }
}

impl From<Vec<Cell>> for InsertCells {
    fn from(cells: Vec<Cell>) -> InsertCells {
        InsertCells { base: cells.into(), own: Box::default() }
    }
}

impl PartialEq for InsertCells {
    fn eq(&self, other: &InsertCells) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Serialize for InsertCells {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for InsertCells {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<InsertCells, D::Error> {
        Vec::deserialize(deserializer).map(InsertCells::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[i64]) -> Vec<Cell> {
        cells.iter().map(|cell| Cell::from(*cell)).collect()
    }

    #[test]
    fn a_row_that_shares_cells_is_the_same_row() {
        let first = InsertCells::from(row(&[1, 2, 3, 4]));
        for (cells, own) in [([1, 2, 3, 4], 0), ([1, 9, 3, 4], 1), ([1, 2, 8, 9], 2), ([1, 7, 8, 9], 0)] {
            let next = first.following(row(&cells).into_iter());
            assert_eq!(next.own.len(), own);
            assert_eq!(next, InsertCells::from(row(&cells)));
            assert_eq!(next.iter().cloned().collect::<Vec<_>>(), row(&cells));
            assert!(row(&cells).iter().enumerate().all(|(at, cell)| next.get(at) == Some(cell)));
            assert_eq!((next.len(), next.get(4)), (4, None));
            let text = serde_json::to_string(&next).expect("it can be written");
            assert_eq!(text, serde_json::to_string(&row(&cells)).expect("it can be written"));
            assert_eq!(serde_json::from_str::<InsertCells>(&text).expect("it can be read"), next);
        }
        assert_eq!(first.following(row(&[1, 2]).into_iter()), InsertCells::from(row(&[1, 2])));
        assert_ne!(first.following(row(&[1, 2, 3, 5]).into_iter()), first);
    }
}
