//! The block manifest of a table: which rows lie where, so that a few of them are found without reading the others.
//!
//! Rows are cut into blocks (module `rows`), and each block is a chunk of the vault. The stream `data/<directory>/blocks`
//! says of each block how long it is and which keys it holds. It exists only for a table of at least two blocks;
//! [`open`] answers for the others as well.
//!
//! ```text
//! stream   leaf* root trailer
//! leaf     block*                         about 200 blocks of one range; a chunk of the vault
//! block    length rows first last filter  varint, varint, text, text, filter
//! root     0x01 order comparison filtered varint(leaves) entry*
//! entry    range offset length rows blocks position size first last
//! trailer  position of the root (u64), its length (u32), its CRC-32 (u32), magic (8 bytes); little-endian
//! ```
//! Numbers are LEB128 varints, a text is a varint length and bytes. `first` and `last` are values of the first key column
//! as the server prints them, COPY's escapes undone: of the first and last row where rows lie in the order of the key, else
//! the smallest and the largest where we can compare them, else empty. `filter`, where the root says so, is a Bloom filter
//! over these values: two bytes for each row, see [`Filter`]. An entry's `range` is the number in the stream's name,
//! `offset` and `length` are bytes of rows in it, `position` and `size` those of the leaf in the manifest.
//!
//! A leaf holds no positions, and it ends at a block chosen by the hash of a key: rows that come or go change one leaf and
//! the root, and all others are found in the vault again.

// Its reader is there for restores of parts.
#![allow(dead_code, unused_imports)]

mod compare;
mod filter;
mod reader;
mod writer;

pub(in crate::postgresql) use self::{
    compare::Comparison,
    filter::Filter,
    reader::{Block, Reader, open},
};
pub(super) use self::{
    filter::hash,
    writer::{BlockFacts, RangeBlocks, TableBlocks},
};

const MAGIC: &[u8; 8] = b"TVBLOCKS";
const VERSION: u8 = 1;
/// Root's position and length, checksum, magic.
const TRAILER_BYTES: usize = 24;

fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text);
}

/// Reads what [`put_number`] and [`put_text`] wrote; `None` where the bytes end or make no sense.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}
