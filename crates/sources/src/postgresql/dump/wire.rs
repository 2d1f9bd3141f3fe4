//! Integers and strings as archives have them.

use std::io::Read;

use super::{
    error::{DumpError, malformed},
    framing::{INTEGER_BYTES, integer},
    text::Text,
};

/// Header and table of contents of one archive may have so many bytes: 10,000 tables need some 20 MiB.
pub(super) const TOC_LIMIT_BYTES: u64 = 256 * 1024 * 1024;
/// What is allocated before the bytes are there.
const FIRST_ALLOCATION_BYTES: u64 = 4096;

/// Bytes of an archive, read without looking ahead.
pub(super) struct Input<'a, R> {
    reader: &'a mut R,
    /// Bytes that may still be read.
    left: u64,
}

impl<'a, R: Read> Input<'a, R> {
    pub fn new(reader: &'a mut R, limit: u64) -> Self {
        Self { reader, left: limit }
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DumpError> {
        self.take(N as u64)?;
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).map_err(DumpError::reading)?;
        Ok(bytes)
    }

    pub fn byte(&mut self) -> Result<u8, DumpError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn integer(&mut self) -> Result<i32, DumpError> {
        self.array().and_then(decode_integer)
    }

    /// `None` is null.
    pub fn optional_text(&mut self) -> Result<Option<Text>, DumpError> {
        let length = self.integer()?;
        if length == -1 {
            return Ok(None);
        }
        let length = u64::try_from(length).map_err(|_| malformed("a text has a negative length"))?;
        self.take(length)?;
        let mut bytes = Vec::with_capacity(length.min(FIRST_ALLOCATION_BYTES) as usize);
        let read = self.reader.take(length).read_to_end(&mut bytes).map_err(DumpError::reading)?;
        if (read as u64) < length {
            return Err(malformed("it ends too early"));
        }
        Ok(Some(Text::from(bytes)))
    }

    pub fn text(&mut self) -> Result<Text, DumpError> {
        self.optional_text()?.ok_or_else(|| malformed("a text is null that must not be"))
    }

    fn take(&mut self, length: u64) -> Result<(), DumpError> {
        let too_large = || malformed(format!("its table of contents has more than {} MiB", TOC_LIMIT_BYTES >> 20));
        self.left = self.left.checked_sub(length).ok_or_else(too_large)?;
        Ok(())
    }
}

/// Refuses what `pg_dump` would not write: other signs than 0 and 1, a negative zero, more than fits.
pub(super) fn decode_integer(bytes: [u8; INTEGER_BYTES as usize]) -> Result<i32, DumpError> {
    let [sign, a, b, c, d] = bytes;
    let magnitude = i64::from(u32::from_le_bytes([a, b, c, d]));
    let value = match sign {
        0 => i32::try_from(magnitude).ok(),
        1 if magnitude > 0 => i32::try_from(-magnitude).ok(),
        _ => None,
    };
    value.ok_or_else(|| malformed("an integer is not written as pg_dump writes it"))
}

pub(super) fn put_integer(out: &mut Vec<u8>, value: i32) {
    out.extend(integer(value));
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    // Texts that were read have fewer bytes than the limit of a table of contents.
    put_integer(out, i32::try_from(text.len()).unwrap_or(i32::MAX));
    out.extend(text);
}

pub(super) fn put_optional_text(out: &mut Vec<u8>, text: Option<&Text>) {
    match text {
        Some(text) => put_text(out, text.as_bytes()),
        None => put_integer(out, -1),
    }
}
