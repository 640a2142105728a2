//! Decodes files to text.

/// The text in a file.
pub struct Decoded {
    /// The text, without a byte order mark.
    pub text: String,
    /// Whether it was in an encoding of Unicode.
    pub is_unicode: bool,
}

/// Decodes UTF-8, UTF-16 with a byte order mark, or otherwise Windows-1252.
///
/// # Errors
/// What the bytes are, if they are not a text.
pub fn decode(bytes: Vec<u8>) -> Result<Decoded, &'static str> {
    let units = |join: fn([u8; 2]) -> u16| -> Vec<u16> {
        bytes[2..].chunks_exact(2).map(|pair| join([pair[0], pair[1]])).collect()
    };
    let wide = match bytes.get(..2) {
        Some([0xff, 0xfe]) => Some(units(u16::from_le_bytes)),
        Some([0xfe, 0xff]) => Some(units(u16::from_be_bytes)),
        _ => None,
    };
    if let Some(units) = wide {
        let text = String::from_utf16(&units).map_err(|_| "it is not valid UTF-16")?;
        return Ok(Decoded { text, is_unicode: true });
    }
    match () {
        () if bytes.starts_with(&[0x1f, 0x8b]) => return Err("it is a gzip file; unpack it first with gunzip"),
        () if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) => {
            return Err("it is a zstd file; unpack it first with zstd -d");
        }
        () if bytes.starts_with(b"PK\x03\x04") => return Err("it is a zip file or a spreadsheet; save it as CSV"),
        () if bytes.contains(&0) => return Err("it is not a text file"),
        () => {}
    }
    Ok(match String::from_utf8(bytes) {
        Ok(mut text) => {
            if text.starts_with('\u{feff}') {
                text.remove(0);
            }
            Decoded { text, is_unicode: true }
        }
        Err(error) => {
            Decoded { text: error.into_bytes().iter().map(|byte| windows_1252(*byte)).collect(), is_unicode: false }
        }
    })
}

/// The character of a byte in Windows-1252.
fn windows_1252(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}
