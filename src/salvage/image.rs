//! The numbered pages of a database file, alone or with its WAL applied.

use super::wal::Frames;
use crate::pages::{Bytes, Page, fills};

/// Page sizes of SQLite, the server's first.
const SIZES: [usize; 8] = [4096, 1024, 8192, 2048, 16384, 32768, 512, 65536];

/// Pages that are checked to find the page size.
const SAMPLES: u64 = 200;

/// The pages of a database at one point in time.
pub struct DatabaseImage<'a> {
    file: &'a dyn Bytes,
    wal: Option<(&'a dyn Bytes, &'a Frames)>,
    size: usize,
    reserved: usize,
    pages: u32,
}

impl<'a> DatabaseImage<'a> {
    /// The file alone.
    pub fn alone(file: &'a dyn Bytes) -> DatabaseImage<'a> {
        let mut head = [0; 100];
        let read = file.read_at(0, &mut head);
        let size = page_size(file, &head[..read]);
        DatabaseImage::new(file, None, size)
    }

    /// The file with the committed frames of `wal` applied.
    pub fn with(file: &'a dyn Bytes, wal: &'a dyn Bytes, frames: &'a Frames) -> DatabaseImage<'a> {
        DatabaseImage::new(file, Some((wal, frames)), frames.page_size)
    }

    fn new(file: &'a dyn Bytes, wal: Option<(&'a dyn Bytes, &'a Frames)>, size: usize) -> DatabaseImage<'a> {
        let in_file = file.size().div_ceil(size as u64);
        let pages = wal.map_or(in_file, |(_, frames)| u64::from(frames.pages).min(in_file + frames.committed));
        let mut image =
            DatabaseImage { file, wal, size, reserved: 0, pages: pages.min(u64::from(u32::MAX - 1)) as u32 };
        // Byte 20 of the header; it is 0 in the server's databases, and implausible values are ignored.
        let reserved = image.bytes(1).map_or(0, |head| usize::from(head[20]));
        if reserved <= 32 && size - reserved >= 480 {
            image.reserved = reserved;
        }
        image
    }

    /// Bytes of a page.
    pub fn page_size(&self) -> usize {
        self.size
    }

    /// Usable bytes of a page.
    pub fn usable(&self) -> usize {
        self.size - self.reserved
    }

    /// How many pages there are; the first has number 1.
    pub fn pages(&self) -> u32 {
        self.pages
    }

    /// The bytes of page `number`; `None` if it does not exist. A truncated page is filled with zeroes.
    pub fn bytes(&self, number: u32) -> Option<Vec<u8>> {
        if number == 0 || number > self.pages {
            return None;
        }
        let mut bytes = vec![0; self.size];
        let read = match self.wal.and_then(|(wal, frames)| Some((wal, frames.place(number)?))) {
            Some((wal, at)) => wal.read_at(at, &mut bytes),
            None => self.file.read_at(u64::from(number - 1) * self.size as u64, &mut bytes),
        };
        (read > 0).then_some(bytes)
    }

    /// Page `number`, if it is a page of a tree.
    pub fn page(&self, number: u32) -> Option<Page> {
        Page::parse(number, self.bytes(number)?, self.usable())
    }
}

/// The page size: that of the header, unless the pages contradict it.
fn page_size(file: &dyn Bytes, head: &[u8]) -> usize {
    let given = match head.get(16..18) {
        Some([0, 1]) => 65536,
        Some([high, low]) => usize::from(*high) << 8 | usize::from(*low),
        _ => 0,
    };
    let mut candidates = vec![given];
    candidates.extend(SIZES);
    candidates.retain(|size| SIZES.contains(size));
    let mut best = (0.0, candidates[0]);
    for size in candidates {
        let score = sample(file, size);
        if score > best.0 {
            best = (score, size);
        }
    }
    best.1
}

/// The share of some pages that look like pages of `size` bytes, from 0 to 1.
fn sample(file: &dyn Bytes, size: usize) -> f64 {
    let pages = file.size() / size as u64;
    let step = (pages / SAMPLES).max(1);
    let (mut good, mut seen) = (0.0, 0.0);
    // The first page has another header, and may be lost.
    for at in (1..pages).step_by(step as usize) {
        let mut bytes = vec![0; size];
        file.read_at(at * size as u64, &mut bytes);
        seen += 1.0;
        good += f64::from(u8::from(fills(&bytes)));
    }
    if seen == 0.0 { 0.0 } else { good / seen }
}
