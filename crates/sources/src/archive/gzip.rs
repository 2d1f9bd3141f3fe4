//! gzip without compression: an RFC 1952 wrapper around stored deflate blocks (RFC 1951, 3.2.4).

use super::segments::fill;
use crate::{RandomRead, Result};

/// Magic, deflate, no flags, no time, no extra flags, "unknown" operating system: the same on every machine.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// CRC-32 and length modulo 2^32.
const TRAILER_BYTES: u64 = 8;
/// Payload of one stored block: the most that its 16-bit length can say.
const BLOCK_BYTES: u64 = 65535;
/// Final flag and type, length, its complement.
const BLOCK_HEADER_BYTES: u64 = 5;

/// Blocks of a payload; an empty one still has its final block.
fn blocks(payload: u64) -> u64 {
    payload.div_ceil(BLOCK_BYTES).max(1)
}

/// Bytes of the gzip file around a payload of `payload` bytes.
pub fn stored_gzip_length(payload: u64) -> u64 {
    HEADER.len() as u64 + blocks(payload) * BLOCK_HEADER_BYTES + payload + TRAILER_BYTES
}

/// The gzip file around a payload, readable from any offset. `crc32` is taken on trust: it is not checked against what
/// is read, since a range may be all that is.
pub struct StoredGzip<P> {
    payload: P,
    crc32: u32,
}

impl<P: RandomRead> StoredGzip<P> {
    /// `crc32` is that of the whole payload.
    pub fn new(payload: P, crc32: u32) -> Self {
        Self { payload, crc32 }
    }

    fn block_header(&self, block: u64) -> [u8; 5] {
        let payload = self.payload.length();
        let length = (payload - block * BLOCK_BYTES).min(BLOCK_BYTES) as u16;
        let [low, high] = length.to_le_bytes();
        let is_final = u8::from(block + 1 == blocks(payload));
        [is_final, low, high, !low, !high]
    }

    fn trailer(&self) -> [u8; 8] {
        let [a, b, c, d] = self.crc32.to_le_bytes();
        let [e, f, g, h] = (self.payload.length() as u32).to_le_bytes();
        [a, b, c, d, e, f, g, h]
    }

    /// Fills `buffer` with what begins at `offset` and is of one piece; never empty while both are not.
    fn read_piece(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let payload = self.payload.length();
        let header_end = HEADER.len() as u64;
        let body_end = header_end + blocks(payload) * BLOCK_HEADER_BYTES + payload;
        if offset < header_end {
            return Ok(copy_from(&HEADER, offset, buffer));
        }
        if offset >= body_end {
            return Ok(copy_from(&self.trailer(), offset - body_end, buffer));
        }
        let block = (offset - header_end) / (BLOCK_HEADER_BYTES + BLOCK_BYTES);
        let within = (offset - header_end) % (BLOCK_HEADER_BYTES + BLOCK_BYTES);
        if within < BLOCK_HEADER_BYTES {
            return Ok(copy_from(&self.block_header(block), within, buffer));
        }
        let start = block * BLOCK_BYTES + (within - BLOCK_HEADER_BYTES);
        let end = ((block + 1) * BLOCK_BYTES).min(payload);
        let count = usize::try_from(end - start).unwrap_or(usize::MAX).min(buffer.len());
        fill(&mut self.payload, start, &mut buffer[..count])?;
        Ok(count)
    }
}

impl<P: RandomRead> RandomRead for StoredGzip<P> {
    fn length(&self) -> u64 {
        stored_gzip_length(self.payload.length())
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let available = self.length().saturating_sub(offset);
        let wanted = usize::try_from(available).unwrap_or(usize::MAX).min(buffer.len());
        let mut filled = 0;
        while filled < wanted {
            filled += self.read_piece(offset + filled as u64, &mut buffer[filled..wanted])?;
        }
        Ok(filled)
    }
}

/// Copies what `bytes` holds from `offset` on, as much as `buffer` takes.
fn copy_from(bytes: &[u8], offset: u64, buffer: &mut [u8]) -> usize {
    let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
    let count = rest.len().min(buffer.len());
    buffer[..count].copy_from_slice(&rest[..count]);
    count
}
