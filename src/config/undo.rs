//! `[undo]`: limits of undo snapshots.

use super::Reader;
use crate::backup::undo::{Bounds, parse_age, parse_size};
use crate::formats::node::{Data, Node};

/// Parses the text of a limit.
type Parse = fn(&str) -> Result<u64, String>;

const UNDO: [&str; 4] = ["keep_last", "max_count", "max_age", "max_size"];

impl Reader {
    /// The limits in `root`, or the default ones.
    pub(super) fn undo(&mut self, root: &Node) -> Bounds {
        let mut bounds = Bounds::default();
        let Some(table) = root.find("undo") else { return bounds };
        if !matches!(table.data, Data::Map(_)) {
            self.wrong(table, "`undo` must be a table: [undo]");
            return bounds;
        }
        self.check_keys(table, &UNDO);
        for (key, at) in [("keep_last", &mut bounds.keep_last), ("max_count", &mut bounds.max_count)] {
            // Every write needs an undo snapshot.
            match table.find(key).map(|node| (node, &node.data)) {
                None => {}
                Some((_, Data::Int(n))) if *n > 0 => *at = n.unsigned_abs(),
                Some((node, _)) => self.wrong(node, format!("`{key}` must be a number of at least 1")),
            }
        }
        let texts: [(&str, &mut u64, Parse); 2] =
            [("max_age", &mut bounds.max_age, parse_age), ("max_size", &mut bounds.max_size, parse_size)];
        for (key, at, parse) in texts {
            let Some(node) = table.find(key) else { continue };
            match parse(&node.scalar().unwrap_or_default()) {
                Ok(n) => *at = n,
                Err(why) => self.wrong(node, format!("`{key}`: {why}")),
            }
        }
        bounds
    }
}
