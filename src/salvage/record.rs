//! Records: variable-length integers, cells, and chains of overflow pages.

use std::collections::BTreeSet;

use super::image::DatabaseImage;
use crate::pages::{Page, PageCell, RawValue, be32, raw_value, size_of, varint};
use crate::value::Value;

/// Longer records are invalid: the server stores nothing of that size.
const LONGEST: u64 = 64 << 20;

/// SQLite's own limit of columns.
const WIDEST: usize = 2000;

/// The cells of one row or one entry of an index.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The readable cells, in order.
    pub cells: Vec<Value>,
    /// The record is complete and consistent. Otherwise the last cell may be truncated, and others may be missing.
    pub whole: bool,
}

/// Calls `each` for the overflow pages of `cell`; returns whether the chain is complete.
fn follow(image: &DatabaseImage<'_>, cell: &PageCell, each: &mut dyn FnMut(u32, &[u8])) -> bool {
    if cell.size > LONGEST {
        return false;
    }
    let mut left = cell.size.saturating_sub(cell.local as u64);
    let (room, mut next, mut seen) = (image.usable() as u64 - 4, cell.overflow, BTreeSet::new());
    while left > 0 {
        if next == 0 || !seen.insert(next) {
            return false;
        }
        let Some(bytes) = image.bytes(next) else { return false };
        each(next, &bytes[4..image.usable()]);
        next = be32(&bytes, 0);
        left = left.saturating_sub(room);
    }
    next == 0
}

/// The overflow pages of `cell`, and whether the chain is complete.
pub fn overflow_pages(image: &DatabaseImage<'_>, cell: &PageCell) -> (Vec<u32>, bool) {
    let mut pages = Vec::new();
    let whole = follow(image, cell, &mut |page, _| pages.push(page));
    (pages, whole)
}

/// Reads the record of `cell` on `page`.
pub fn read(image: &DatabaseImage<'_>, page: &Page, cell: &PageCell) -> Record {
    let local = &page.bytes()[cell.at..cell.at + cell.local];
    if cell.size == cell.local as u64 {
        return decode(local, true);
    }
    let mut payload = local.to_vec();
    let whole = follow(image, cell, &mut |_, bytes| payload.extend(bytes));
    payload.truncate(usize::try_from(cell.size).unwrap_or(usize::MAX));
    decode(&payload, whole && payload.len() as u64 == cell.size)
}

/// Reads the cells of `payload`; `whole` means that it is complete.
pub fn decode(payload: &[u8], whole: bool) -> Record {
    let mut record = Record { cells: Vec::new(), whole };
    let Some((header, mut at)) = varint(payload, 0) else { return Record { whole: false, ..record } };
    let header = usize::try_from(header).unwrap_or(usize::MAX);
    if header < at || header > payload.len() {
        return Record { whole: false, ..record };
    }
    // Each cell has at least one byte of the header.
    record.cells.reserve_exact((header - at).min(WIDEST));
    let mut body = header;
    while at < header {
        if record.cells.len() == WIDEST {
            return Record { whole: false, ..record };
        }
        let Some((serial, read)) = varint(&payload[..header], at) else { return Record { whole: false, ..record } };
        at += read;
        let Some(size) = size_of(serial) else { return Record { whole: false, ..record } };
        let end = body.saturating_add(size);
        let there = &payload[body.min(payload.len())..end.min(payload.len())];
        if there.len() < size {
            record.whole = false;
            record.cells.extend(cut(serial, there));
            return record;
        }
        match value(serial, there) {
            Some(value) => record.cells.push(value),
            None => {
                record.whole = false;
                record.cells.push(Value::Text(String::from_utf8_lossy(there).into_owned()));
            }
        }
        body = end;
    }
    record.whole &= body == payload.len();
    record
}

/// The cell of type `serial` from its bytes; `None` for invalid text.
fn value(serial: i64, bytes: &[u8]) -> Option<Value> {
    Some(match raw_value(serial, bytes) {
        RawValue::Null => Value::Null,
        RawValue::Int(number) => Value::Int(number),
        RawValue::Real(number) => Value::Real(number),
        RawValue::Blob(bytes) => Value::Blob(bytes.to_vec()),
        RawValue::Text(bytes) => Value::Text(std::str::from_utf8(bytes).ok()?.to_owned()),
    })
}

/// The readable part of a truncated text.
fn cut(serial: i64, bytes: &[u8]) -> Option<Value> {
    if serial < 13 || serial % 2 == 0 || bytes.is_empty() {
        return None;
    }
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    };
    (!valid.is_empty()).then(|| Value::Text(valid.to_owned()))
}
