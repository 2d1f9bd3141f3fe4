//! Writing a layout.

use super::{
    FOOTER_BYTES, MAGIC, VERSION,
    record::{Before, Member, MemberKind, encode},
};
use crate::{
    Result, StreamSink, StreamSummary,
    archive::{RunningCrc, tar},
};

/// A block ends at a path whose checksum has these bits clear: one in 256.
const BLOCK_END_MASK: u32 = 0xff;
/// Members of the shortest block.
const BLOCK_MEMBERS_MIN: usize = 32;
/// Members of the longest block.
const BLOCK_MEMBERS_MAX: usize = 1024;
/// A block that is longer than this ends with its next member: bytes.
const BLOCK_BYTES: usize = 256 * 1024;

/// Zeros for a content's padding.
const PADDING: [u8; tar::BLOCK_BYTES as usize] = [0; tar::BLOCK_BYTES as usize];

/// What a finished layout was.
pub(crate) struct WrittenLayout {
    pub stream: StreamSummary,
    /// Bytes of the tar.
    pub tar_length: u64,
    /// Of the whole tar.
    pub tar_crc32: u32,
}

/// Takes the members in the order of the walk.
pub(crate) struct LayoutWriter<'s> {
    stream: Box<dyn StreamSink + 's>,
    /// Bytes written to the stream.
    written: u64,
    tar: RunningCrc,
    block: Vec<u8>,
    block_members: usize,
    block_start: u64,
    before: Before,
    /// Of each block: where its first member begins in the tar, and where it begins in the layout.
    index: Vec<(u64, u64)>,
    members: u64,
}

impl<'s> LayoutWriter<'s> {
    pub fn new(stream: Box<dyn StreamSink + 's>) -> Self {
        Self {
            stream,
            written: 0,
            tar: RunningCrc::new(),
            block: Vec::new(),
            block_members: 0,
            block_start: 0,
            before: Before::default(),
            index: Vec::new(),
            members: 0,
        }
    }

    pub fn add(&mut self, member: &Member<'_>) -> Result<()> {
        self.tar.append_bytes(&member.header());
        if let MemberKind::File { length, crc32 } = member.kind {
            self.tar.append(crc32, length);
            self.tar.append_bytes(&PADDING[..tar::padding(length) as usize]);
        }
        encode(member, &mut self.before, &mut self.block);
        self.members += 1;
        self.block_members += 1;
        let marked = self.block_members >= BLOCK_MEMBERS_MIN && crc32fast::hash(member.path) & BLOCK_END_MASK == 0;
        if marked || self.block_members >= BLOCK_MEMBERS_MAX || self.block.len() >= BLOCK_BYTES {
            self.end_block()?;
        }
        Ok(())
    }

    fn end_block(&mut self) -> Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        self.index.push((self.block_start, self.written));
        self.stream.write(&self.block)?;
        self.stream.cut()?;
        self.written += self.block.len() as u64;
        self.block.clear();
        self.block_members = 0;
        self.block_start = self.tar.length();
        self.before.clear();
        Ok(())
    }

    pub fn finish(mut self) -> Result<WrittenLayout> {
        self.end_block()?;
        self.tar.append_zeros(tar::END_BYTES);
        let mut tail = Vec::with_capacity(self.index.len() * super::INDEX_ENTRY_BYTES + FOOTER_BYTES);
        for (tar, layout) in &self.index {
            tail.extend_from_slice(&tar.to_le_bytes());
            tail.extend_from_slice(&layout.to_le_bytes());
        }
        tail.extend_from_slice(MAGIC);
        tail.extend_from_slice(&VERSION.to_le_bytes());
        tail.extend_from_slice(&self.tar.value().to_le_bytes());
        for number in [self.members, self.index.len() as u64, self.written, self.tar.length()] {
            tail.extend_from_slice(&number.to_le_bytes());
        }
        self.stream.write(&tail)?;
        let stream = self.stream.finish()?;
        Ok(WrittenLayout { stream, tar_length: self.tar.length(), tar_crc32: self.tar.value() })
    }
}
