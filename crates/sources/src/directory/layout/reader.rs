//! Reading a layout: any block of it, or its checksums in order.

use super::{
    BLOCK_LIMIT_BYTES, FOOTER_BYTES, INDEX_ENTRY_BYTES, MAGIC, VERSION,
    record::{BlockCursor, Member, MemberKind, damaged},
    walk_order,
};
use crate::{RandomRead, Result};

/// A layout that was opened; holds no more of it than its footer.
pub(crate) struct Layout {
    stream: Box<dyn RandomRead>,
    blocks: u64,
    index_offset: u64,
    tar_length: u64,
    tar_crc32: u32,
}

/// One block.
pub(crate) struct Block {
    /// Where its first member begins in the tar.
    pub tar_offset: u64,
    pub members: BlockCursor,
}

impl Layout {
    pub fn open(mut stream: Box<dyn RandomRead>) -> Result<Self> {
        let length = stream.length();
        let footer_offset = length.checked_sub(FOOTER_BYTES as u64).ok_or_else(damaged)?;
        let mut footer = [0; FOOTER_BYTES];
        read_exact(stream.as_mut(), footer_offset, &mut footer)?;
        let (magic, rest) = footer.split_at(MAGIC.len());
        let (version, rest) = rest.split_at(4);
        let (crc32, numbers) = rest.split_at(4);
        if magic != MAGIC || version != VERSION.to_le_bytes() {
            return Err(damaged());
        }
        let (blocks, index_offset, tar_length) = (number(numbers, 1)?, number(numbers, 2)?, number(numbers, 3)?);
        let index_end = blocks.checked_mul(INDEX_ENTRY_BYTES as u64).and_then(|index| index.checked_add(index_offset));
        if index_end != Some(footer_offset) {
            return Err(damaged());
        }
        let tar_crc32 = u32::from_le_bytes(crc32.try_into().map_err(|_| damaged())?);
        Ok(Self { stream, blocks, index_offset, tar_length, tar_crc32 })
    }

    /// Bytes of the tar.
    pub fn tar_length(&self) -> u64 {
        self.tar_length
    }

    pub fn tar_crc32(&self) -> u32 {
        self.tar_crc32
    }

    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The block in which the member at `tar_offset` is: the last one that begins at or before it.
    pub fn find(&mut self, tar_offset: u64) -> Result<Block> {
        let (mut low, mut high) = (0, self.blocks);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.index(middle)?.0 <= tar_offset {
                low = middle;
            } else {
                high = middle;
            }
        }
        self.block(low)
    }

    pub fn block(&mut self, block: u64) -> Result<Block> {
        if block >= self.blocks {
            return Err(damaged());
        }
        let (tar_offset, start) = self.index(block)?;
        let end = if block + 1 < self.blocks { self.index(block + 1)?.1 } else { self.index_offset };
        let length = end.checked_sub(start).filter(|length| *length <= BLOCK_LIMIT_BYTES).ok_or_else(damaged)?;
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| damaged())?];
        read_exact(self.stream.as_mut(), start, &mut bytes)?;
        Ok(Block { tar_offset, members: BlockCursor::new(bytes) })
    }

    fn index(&mut self, block: u64) -> Result<(u64, u64)> {
        let mut entry = [0; INDEX_ENTRY_BYTES];
        read_exact(self.stream.as_mut(), self.index_offset + block * INDEX_ENTRY_BYTES as u64, &mut entry)?;
        Ok((number(&entry, 0)?, number(&entry, 1)?))
    }
}

fn number(bytes: &[u8], place: usize) -> Result<u64> {
    let bytes = bytes.get(8 * place..8 * place + 8).ok_or_else(damaged)?;
    Ok(u64::from_le_bytes(bytes.try_into().map_err(|_| damaged())?))
}

fn read_exact(stream: &mut dyn RandomRead, offset: u64, buffer: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read_at(offset + filled as u64, &mut buffer[filled..])? {
            0 => return Err(damaged()),
            read => filled += read,
        }
    }
    Ok(())
}

/// The checksums of the previous backup's files, asked in the order of the walk: one pass, one block in memory.
pub(crate) struct PreviousChecksums {
    layout: Layout,
    next_block: u64,
    members: BlockCursor,
    /// The next member with content that has not been passed.
    pending: Pending,
}

#[derive(Default)]
struct Pending {
    valid: bool,
    path: Vec<u8>,
    length: u64,
    crc32: u32,
    modified: i64,
}

impl PreviousChecksums {
    pub fn new(layout: Layout) -> Self {
        Self { layout, next_block: 0, members: BlockCursor::default(), pending: Pending::default() }
    }

    /// The CRC-32 of the file at `path`, if it had that length and time then.
    pub fn take(&mut self, path: &[u8], length: u64, modified: i64) -> Result<Option<u32>> {
        while !self.pending.valid || walk_order(&self.pending.path, path).is_lt() {
            if !self.advance()? {
                return Ok(None);
            }
        }
        let Pending { valid: _, path: found, length: found_length, crc32, modified: found_modified } = &self.pending;
        let same = found == path && *found_length == length && *found_modified == modified;
        Ok(same.then_some(*crc32))
    }

    /// Moves on to the next member with content; false at the end.
    fn advance(&mut self) -> Result<bool> {
        loop {
            let Some(member) = self.members.next()? else {
                if self.next_block == self.layout.blocks() {
                    self.pending.valid = false;
                    return Ok(false);
                }
                self.members = self.layout.block(self.next_block)?.members;
                self.next_block += 1;
                continue;
            };
            let Member { path, kind, modified, .. } = member;
            if let MemberKind::File { length, crc32 } | MemberKind::HardLink { first: _, length, crc32 } = kind {
                self.pending.path.clear();
                self.pending.path.extend_from_slice(path);
                self.pending.valid = true;
                (self.pending.length, self.pending.crc32, self.pending.modified) = (length, crc32, modified);
                return Ok(true);
            }
        }
    }
}
