//! The download of a directory: a `.tar.gz` that is made as it is read, from any offset.
//!
//! Members are `./…`, relative to the captured directory, so that the length never depends on what the download is
//! called. Sockets have no place in a tar and are left out. Names longer than `PATH_MAX` stand in the tar as they are;
//! few programs unpack them, a restore does.

use std::sync::Arc;

use super::layout::{Layout, STREAM};
use crate::{
    ErrorKind, PartReader, RandomRead, Result, SourceError,
    archive::{StoredGzip, tar},
};

/// Opens the download of `part`.
pub(super) fn open(part: Arc<dyn PartReader>) -> Result<StoredGzip<PartTar>> {
    let manifest = part.manifest();
    let recorded = manifest.download.as_ref().map(|download| download.length).ok_or_else(|| {
        SourceError::new(ErrorKind::Unsupported, "This part was captured without a download.")
            .hint("Restore it to a new path instead.")
    })?;
    let layout = Layout::open(part.open(&[STREAM.as_bytes()])?)?;
    let crc32 = layout.tar_crc32();
    let download = StoredGzip::new(PartTar { part, layout, block: None, content: None }, crc32);
    if download.length() == recorded { Ok(download) } else { Err(damaged()) }
}

/// The tar: headers from the layout, contents from the part.
pub(super) struct PartTar {
    part: Arc<dyn PartReader>,
    layout: Layout,
    block: Option<LoadedBlock>,
    /// The content that was read last, by its offset in the tar.
    content: Option<(u64, Box<dyn RandomRead>)>,
}

/// The members of one block with their place in the tar.
struct LoadedBlock {
    start: u64,
    end: u64,
    headers: Vec<u8>,
    paths: Vec<u8>,
    members: Vec<Placed>,
}

#[derive(Clone, Copy)]
struct Placed {
    start: u64,
    /// In `headers`.
    header: (usize, usize),
    /// In `paths`.
    path: (usize, usize),
    content: u64,
}

/// What lies at an offset of the tar.
enum Piece {
    Header(usize, usize),
    Content { member: Placed, offset: u64 },
    Zeros(u64),
}

impl PartTar {
    fn load(&mut self, offset: u64) -> Result<()> {
        if self.block.as_ref().is_some_and(|block| (block.start..block.end).contains(&offset)) {
            return Ok(());
        }
        let mut found = self.layout.find(offset)?;
        let mut block = LoadedBlock {
            start: found.tar_offset,
            end: found.tar_offset,
            headers: Vec::new(),
            paths: Vec::new(),
            members: Vec::new(),
        };
        while let Some(member) = found.members.next()? {
            let header = block.headers.len();
            block.headers.extend_from_slice(&member.header());
            let path = block.paths.len();
            block.paths.extend_from_slice(member.path);
            let content = member.content();
            block.members.push(Placed {
                start: block.end,
                header: (header, block.headers.len()),
                path: (path, block.paths.len()),
                content,
            });
            block.end += (block.headers.len() - header) as u64 + content + tar::padding(content);
        }
        self.block = Some(block);
        Ok(())
    }

    /// What lies at `offset`, which is within the tar.
    fn piece(&mut self, offset: u64) -> Result<Piece> {
        let end = self.layout.tar_length() - tar::END_BYTES;
        if offset >= end {
            return Ok(Piece::Zeros(self.layout.tar_length() - offset));
        }
        self.load(offset)?;
        let block = self.block.as_ref().ok_or_else(damaged)?;
        let place = block.members.partition_point(|member| member.start <= offset);
        let member = *place.checked_sub(1).and_then(|place| block.members.get(place)).ok_or_else(damaged)?;
        let within = offset - member.start;
        let header = (member.header.1 - member.header.0) as u64;
        if within < header {
            return Ok(Piece::Header(member.header.0 + within as usize, member.header.1));
        }
        let within = within - header;
        if within < member.content {
            return Ok(Piece::Content { member, offset: within });
        }
        match (member.content + tar::padding(member.content)).checked_sub(within) {
            Some(zeros) if zeros > 0 => Ok(Piece::Zeros(zeros)),
            _ => Err(damaged()),
        }
    }

    fn read_content(&mut self, member: Placed, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        if self.content.as_ref().is_none_or(|(start, _)| *start != member.start) {
            let block = self.block.as_ref().ok_or_else(damaged)?;
            let path = &block.paths[member.path.0..member.path.1];
            let mut names: Vec<&[u8]> = vec![super::DATA.as_bytes()];
            names.extend(path.split(|byte| *byte == b'/'));
            let content = self.part.open(&names)?;
            if content.length() != member.content {
                return Err(damaged());
            }
            self.content = Some((member.start, content));
        }
        let Some((_, content)) = &mut self.content else { return Err(damaged()) };
        let count = usize::try_from(member.content - offset).unwrap_or(usize::MAX).min(buffer.len());
        match content.read_at(offset, &mut buffer[..count])? {
            0 => Err(damaged()),
            read => Ok(read),
        }
    }
}

impl RandomRead for PartTar {
    fn length(&self) -> u64 {
        self.layout.tar_length()
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let available = self.length().saturating_sub(offset);
        let wanted = usize::try_from(available).unwrap_or(usize::MAX).min(buffer.len());
        let mut filled = 0;
        while filled < wanted {
            let rest = &mut buffer[filled..wanted];
            filled += match self.piece(offset + filled as u64)? {
                Piece::Header(start, end) => {
                    let block = self.block.as_ref().ok_or_else(damaged)?;
                    let count = (end - start).min(rest.len());
                    rest[..count].copy_from_slice(&block.headers[start..start + count]);
                    count
                }
                Piece::Content { member, offset } => self.read_content(member, offset, rest)?,
                Piece::Zeros(zeros) => {
                    let count = usize::try_from(zeros).unwrap_or(usize::MAX).min(rest.len());
                    rest[..count].fill(0);
                    count
                }
            };
        }
        Ok(filled)
    }
}

fn damaged() -> SourceError {
    SourceError::new(ErrorKind::Store, "The part's files and the layout of its download do not fit together.")
        .hint("Verify the backup; its files can still be restored.")
}
