//! The same dump with other INSERT lines: the rows stay, and where a line ends changes.

use std::path::Path;

use super::dump_text::{INSERT, each_line};
use super::literal::row_starts;
use super::load::values_of;
pub use crate::engine::insert_lines::Grouping;
use crate::engine::insert_lines::InsertLines;
use crate::error::Result;

/// Passes the lines of the dump at `path` to `put`, grouped by `grouping`.
pub fn regroup_dump(path: &Path, grouping: Grouping, put: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut regrouping = Regrouping::by(grouping);
    each_line(path, 0, &mut |line| regrouping.add(line, put).map(|()| true))?;
    regrouping.end(put)
}

/// A dump that is copied line by line.
pub struct Regrouping {
    grouping: Grouping,
    lines: Option<InsertLines>,
}

impl Regrouping {
    /// Its lines will end as `grouping` specifies. By size, they are those that [`Reader::dump`](crate::engine::Reader::dump) writes.
    pub fn by(grouping: Grouping) -> Regrouping {
        Regrouping { grouping, lines: None }
    }

    /// Passes the lines that are complete with `line`, the next one, to `put`. A line that kumadb would write otherwise is not changed.
    pub fn add(&mut self, line: &[u8], put: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let Some(values) = line.starts_with(INSERT).then(|| values_of(line)).flatten() else {
            self.end(put)?;
            return put(line);
        };
        let head = &line[..line.len() - values.len() - b";\n".len()];
        if !self.lines.as_ref().is_some_and(|lines| lines.is_after(head)) {
            self.end(put)?;
        }
        let grouping = self.grouping;
        let lines = self.lines.get_or_insert_with(|| InsertLines::after(head.to_vec(), grouping));
        let mut starts = row_starts(values).map(|after| after - 1).peekable();
        while let Some(start) = starts.next() {
            // Without the comma between two rows.
            let end = starts.peek().map_or(values.len(), |next| next - 1);
            lines.add(&values[start..end], put)?;
        }
        Ok(())
    }

    /// Passes the last line to `put`.
    pub fn end(&mut self, put: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.lines.take().map_or(Ok(()), |lines| lines.end(put).map(drop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regrouped(dump: &[u8], grouping: Grouping) -> Vec<u8> {
        let (mut regrouping, mut out) = (Regrouping::by(grouping), Vec::new());
        let mut put = |line: &[u8]| {
            out.extend_from_slice(line);
            Ok(())
        };
        for line in dump.split_inclusive(|byte| *byte == b'\n') {
            regrouping.add(line, &mut put).expect("a line");
        }
        regrouping.end(&mut put).expect("the last line");
        out
    }

    fn dump(ids: std::ops::Range<u32>) -> Vec<u8> {
        let mut out = b"-- kumadb dump 1 of `kuma`\nCREATE TABLE `t` (`id` int, `a` text);\n".to_vec();
        for table in ["t", "u"] {
            let mut lines = InsertLines::of(table, ["`id`", "`a) VALUES (`"].map(str::to_owned).into_iter());
            let mut put = |line: &[u8]| {
                out.extend_from_slice(line);
                Ok(())
            };
            for id in ids.clone() {
                let row = format!("({id},'a ({id}), \\'),(\\\\',x'00ff',NULL,{:0>200})", id % 7);
                lines.add(row.as_bytes(), &mut put).expect("a row");
            }
            lines.end(&mut put).expect("the last line");
            out.extend_from_slice(format!("-- `{table}`: rows\n").as_bytes());
        }
        out
    }

    #[test]
    fn a_dump_comes_back_as_it_was() {
        for rows in [0..0, 0..1, 0..20_000] {
            let before = dump(rows.clone());
            let text = regrouped(&before, Grouping::Content);
            assert_eq!(text == before, rows.len() < 2, "{rows:?}");
            assert!(regrouped(&text, Grouping::Size) == before, "{rows:?}");
        }
    }

    #[test]
    fn rows_that_are_gone_move_no_line() {
        let (before, after) = (dump(0..20_000), dump(3_333..21_000));
        let lines = |grouping, dump: &[u8]| -> Vec<Vec<u8>> {
            regrouped(dump, grouping).split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
        };
        let known = |grouping| {
            let before = lines(grouping, &before);
            lines(grouping, &after).iter().filter(|line| line.starts_with(INSERT) && before.contains(line)).count()
        };
        assert_eq!(known(Grouping::Size), 0);
        assert!(known(Grouping::Content) > 30, "{}", known(Grouping::Content));
    }
}
