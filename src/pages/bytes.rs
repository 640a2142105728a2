//! Bytes of a file or in memory, and the numbers in them.

/// Bytes of a file or in memory.
pub trait Bytes: Sync {
    /// Their number.
    fn size(&self) -> u64;

    /// Fills `into` from `at` on; returns how many bytes could be read: fewer at the end or after a read error.
    fn read_at(&self, at: u64, into: &mut [u8]) -> usize;
}

impl Bytes for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> usize {
        let rest = usize::try_from(at).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        count
    }
}

impl Bytes for Vec<u8> {
    fn size(&self) -> u64 {
        self.as_slice().size()
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> usize {
        self.as_slice().read_at(at, into)
    }
}

/// A big-endian number of two bytes.
pub fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// A big-endian number of four bytes.
pub fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The variable-length integer at `at`, and its size in bytes.
pub fn varint(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    let mut number: u64 = 0;
    for (index, byte) in bytes.get(at..)?.iter().take(9).enumerate() {
        if index == 8 {
            return Some(((number << 8 | u64::from(*byte)) as i64, 9));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number as i64, index + 1));
        }
    }
    None
}

/// The value of a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RawValue<'b> {
    /// NULL.
    Null,
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Real(f64),
    /// A text, which need not be valid UTF-8.
    Text(&'b [u8]),
    /// A blob.
    Blob(&'b [u8]),
}

/// The value of type `serial` in `bytes`, of which there are as many as [`size_of`] returns.
pub fn raw_value(serial: i64, bytes: &[u8]) -> RawValue<'_> {
    match serial {
        0 => RawValue::Null,
        1..=6 => {
            let start = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
            RawValue::Int(bytes.iter().fold(start, |number, byte| number << 8 | i64::from(*byte)))
        }
        7 => RawValue::Real(f64::from_bits(bytes.iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte)))),
        8 | 9 => RawValue::Int(serial - 8),
        _ if serial % 2 == 0 => RawValue::Blob(bytes),
        _ => RawValue::Text(bytes),
    }
}

/// Bytes of a cell of type `serial`; `None` for an invalid type.
pub fn size_of(serial: i64) -> Option<usize> {
    Some(match serial {
        0 | 8 | 9 => 0,
        1..=4 => serial as usize,
        5 => 6,
        6 | 7 => 8,
        12.. => usize::try_from((serial - 12) / 2).ok()?,
        _ => return None,
    })
}
