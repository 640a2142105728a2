//! A write-ahead log: its committed frames, verified by salts and checksums.

use std::collections::HashMap;

use crate::pages::{Bytes, be32};

/// Bytes of the log's header.
const HEADER: usize = 32;

/// Bytes of a frame's header.
const FRAME: usize = 24;

/// The committed content of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frames {
    /// Bytes of a page.
    pub page_size: usize,
    /// Pages of the database after the last commit.
    pub pages: u32,
    /// Committed frames.
    pub committed: u64,
    places: HashMap<u32, u64>,
}

impl Frames {
    /// The frames up to the last commit before the first invalid one; `None` if none was committed. A log without a
    /// valid header is read from its second frame on, with pages of `page_size`.
    pub fn read(wal: &dyn Bytes, page_size: usize) -> Option<Frames> {
        let mut header = [0; HEADER];
        if wal.read_at(0, &mut header) < HEADER {
            return None;
        }
        match FrameChecksum::begin(&header) {
            Some((chain, page_size)) => follow(wal, chain, page_size, 0),
            None => {
                let first = frame(wal, page_size, 0)?;
                [false, true].into_iter().find_map(|big| follow(wal, FrameChecksum::after(&first, big), page_size, 1))
            }
        }
    }

    /// The position of the newest committed content of `page` in the log.
    pub fn place(&self, page: u32) -> Option<u64> {
        self.places.get(&page).copied()
    }
}

fn follow(wal: &dyn Bytes, mut chain: FrameChecksum, page_size: usize, first: u64) -> Option<Frames> {
    let written = wal.size().saturating_sub(HEADER as u64) / (FRAME + page_size) as u64;
    let mut frames = Frames { page_size, pages: 0, committed: 0, places: HashMap::new() };
    let mut waiting = Vec::new();
    for at in first..written {
        let Some(bytes) = frame(wal, page_size, at).filter(|bytes| chain.accepts(bytes)) else { break };
        let (page, pages) = (be32(&bytes, 0), be32(&bytes, 4));
        waiting.push((page, HEADER as u64 + at * (FRAME + page_size) as u64 + FRAME as u64));
        if pages > 0 {
            frames.places.extend(waiting.drain(..));
            frames.pages = pages;
            frames.committed = at + 1;
        }
    }
    (frames.committed > 0).then_some(frames)
}

fn frame(wal: &dyn Bytes, page_size: usize, at: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; FRAME + page_size];
    let whole = wal.read_at(HEADER as u64 + at * bytes.len() as u64, &mut bytes) == bytes.len();
    whole.then_some(bytes)
}

/// The running checksum of the frames.
struct FrameChecksum {
    big: bool,
    salts: [u8; 8],
    sum: (u32, u32),
}

impl FrameChecksum {
    /// The initial checksum of a valid header, and its page size.
    fn begin(header: &[u8; HEADER]) -> Option<(FrameChecksum, usize)> {
        let magic = be32(header, 0);
        let page_size = be32(header, 8) as usize;
        let valid = magic & !1 == 0x377f_0682 && (512..=65536).contains(&page_size) && page_size.is_power_of_two();
        let mut chain = FrameChecksum { big: magic & 1 == 1, salts: [0; 8], sum: (0, 0) };
        chain.salts.copy_from_slice(&header[16..24]);
        chain.add(&header[..24]);
        (valid && chain.sum == (be32(header, 24), be32(header, 28))).then_some((chain, page_size))
    }

    /// The checksum after `frame`, which is assumed to be valid.
    fn after(frame: &[u8], big: bool) -> FrameChecksum {
        let mut salts = [0; 8];
        salts.copy_from_slice(&frame[8..16]);
        FrameChecksum { big, salts, sum: (be32(frame, 16), be32(frame, 20)) }
    }

    fn accepts(&mut self, frame: &[u8]) -> bool {
        self.add(&frame[..8]);
        self.add(&frame[FRAME..]);
        frame[8..16] == self.salts && be32(frame, 0) > 0 && self.sum == (be32(frame, 16), be32(frame, 20))
    }

    fn add(&mut self, bytes: &[u8]) {
        let word = |four: &[u8]| {
            let four = [four[0], four[1], four[2], four[3]];
            if self.big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
        };
        let (mut one, mut two) = self.sum;
        for pair in bytes.chunks_exact(8) {
            one = one.wrapping_add(word(&pair[..4])).wrapping_add(two);
            two = two.wrapping_add(word(&pair[4..])).wrapping_add(one);
        }
        self.sum = (one, two);
    }
}
