//! One member of the download: its header, and its record in a block.
//!
//! ```text
//! record := kind:u8 flags:u8 shared:varint suffix:bytes
//!           [mode:varint] [uid:varint gid:varint user:bytes group:bytes] mtime:zigzag
//!           [count:varint (name:bytes value:bytes)*] content
//! bytes  := length:varint the bytes
//! ```
//! A path shares its first `shared` bytes with that of the record before it in the block. Mode and owner are left out
//! where they are those of the record before.

use crate::{
    ErrorKind, Result, SourceError, Timestamp,
    archive::tar::{self, Entry, EntryType},
};

const SAME_MODE: u8 = 1;
const SAME_OWNER: u8 = 2;
const ATTRIBUTES: u8 = 4;

const DIRECTORY: u8 = 0;
const FILE: u8 = 1;
const HARD_LINK: u8 = 2;
const SYMLINK: u8 = 3;
const FIFO: u8 = 4;
const CHARACTER_DEVICE: u8 = 5;
const BLOCK_DEVICE: u8 = 6;

/// What a member is. Sockets have no place in a tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberKind<'a> {
    Directory,
    File {
        length: u64,
        crc32: u32,
    },
    /// Another name of `first`, whose length and checksum stand here too: the next capture may meet this name first.
    HardLink {
        first: &'a [u8],
        length: u64,
        crc32: u32,
    },
    Symlink(&'a [u8]),
    Fifo,
    CharacterDevice(u64),
    BlockDevice(u64),
}

/// A member of the download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member<'a> {
    /// Below the captured directory; empty for the directory itself.
    pub path: &'a [u8],
    pub kind: MemberKind<'a>,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub user: &'a str,
    pub group: &'a str,
    /// Seconds since 1970.
    pub modified: i64,
    pub attributes: &'a [(Vec<u8>, Vec<u8>)],
}

impl Member<'_> {
    /// The tar header. Member paths begin with `./`, so that they do not depend on what the download is called.
    pub fn header(&self) -> Vec<u8> {
        let path = member_path(self.path);
        let first;
        let entry_type = match self.kind {
            MemberKind::Directory => EntryType::Directory,
            MemberKind::File { length, crc32: _ } => EntryType::File { size: length },
            MemberKind::HardLink { first: target, length: _, crc32: _ } => {
                first = member_path(target);
                EntryType::HardLink(&first)
            }
            MemberKind::Symlink(target) => EntryType::Symlink(target),
            MemberKind::Fifo => EntryType::Fifo,
            MemberKind::CharacterDevice(device) => {
                EntryType::CharacterDevice { major: rustix::fs::major(device), minor: rustix::fs::minor(device) }
            }
            MemberKind::BlockDevice(device) => {
                EntryType::BlockDevice { major: rustix::fs::major(device), minor: rustix::fs::minor(device) }
            }
        };
        tar::header(&Entry {
            path: &path,
            entry_type,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            user: self.user,
            group: self.group,
            modified: Timestamp { seconds: self.modified, nanoseconds: 0 },
            extended_attributes: self.attributes,
        })
    }

    /// Bytes of content that follow the header, without padding.
    pub fn content(&self) -> u64 {
        match self.kind {
            MemberKind::File { length, crc32: _ } => length,
            MemberKind::Directory
            | MemberKind::HardLink { .. }
            | MemberKind::Symlink(_)
            | MemberKind::Fifo
            | MemberKind::CharacterDevice(_)
            | MemberKind::BlockDevice(_) => 0,
        }
    }
}

fn member_path(path: &[u8]) -> Vec<u8> {
    let mut member = Vec::with_capacity(path.len() + 3);
    member.push(b'.');
    if !path.is_empty() {
        member.push(b'/');
        member.extend_from_slice(path);
    }
    member
}

/// What the record before in the same block said.
#[derive(Default)]
pub(super) struct Before {
    pub path: Vec<u8>,
    pub mode: Option<u32>,
    pub owner: Option<(u32, u32)>,
}

impl Before {
    pub fn clear(&mut self) {
        self.path.clear();
        self.mode = None;
        self.owner = None;
    }
}

/// Appends the record of `member` to `block`.
pub(super) fn encode(member: &Member<'_>, before: &mut Before, block: &mut Vec<u8>) {
    let owner = (member.uid, member.gid);
    let mut flags = 0;
    if before.mode == Some(member.mode) {
        flags |= SAME_MODE;
    }
    if before.owner == Some(owner) {
        flags |= SAME_OWNER;
    }
    if !member.attributes.is_empty() {
        flags |= ATTRIBUTES;
    }
    block.push(match member.kind {
        MemberKind::Directory => DIRECTORY,
        MemberKind::File { .. } => FILE,
        MemberKind::HardLink { .. } => HARD_LINK,
        MemberKind::Symlink(_) => SYMLINK,
        MemberKind::Fifo => FIFO,
        MemberKind::CharacterDevice(_) => CHARACTER_DEVICE,
        MemberKind::BlockDevice(_) => BLOCK_DEVICE,
    });
    block.push(flags);
    let shared = before.path.iter().zip(member.path).take_while(|(left, right)| left == right).count();
    put_number(block, shared as u64);
    put_bytes(block, &member.path[shared..]);
    before.path.truncate(shared);
    before.path.extend_from_slice(&member.path[shared..]);
    if flags & SAME_MODE == 0 {
        put_number(block, u64::from(member.mode));
        before.mode = Some(member.mode);
    }
    if flags & SAME_OWNER == 0 {
        put_number(block, u64::from(member.uid));
        put_number(block, u64::from(member.gid));
        put_bytes(block, member.user.as_bytes());
        put_bytes(block, member.group.as_bytes());
        before.owner = Some(owner);
    }
    put_number(block, ((member.modified << 1) ^ (member.modified >> 63)).cast_unsigned());
    if flags & ATTRIBUTES != 0 {
        put_number(block, member.attributes.len() as u64);
        for (name, value) in member.attributes {
            put_bytes(block, name);
            put_bytes(block, value);
        }
    }
    match member.kind {
        MemberKind::Directory | MemberKind::Fifo => {}
        MemberKind::File { length, crc32 } => put_content(block, length, crc32),
        MemberKind::HardLink { first, length, crc32 } => {
            put_bytes(block, first);
            put_content(block, length, crc32);
        }
        MemberKind::Symlink(target) => put_bytes(block, target),
        MemberKind::CharacterDevice(device) | MemberKind::BlockDevice(device) => put_number(block, device),
    }
}

fn put_content(block: &mut Vec<u8>, length: u64, crc32: u32) {
    put_number(block, length);
    block.extend_from_slice(&crc32.to_le_bytes());
}

fn put_bytes(block: &mut Vec<u8>, bytes: &[u8]) {
    put_number(block, bytes.len() as u64);
    block.extend_from_slice(bytes);
}

/// LEB128.
fn put_number(block: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        block.push(number as u8 | 0x80);
        number >>= 7;
    }
    block.push(number as u8);
}

/// Reads the records of a block one after another.
#[derive(Default)]
pub(crate) struct BlockCursor {
    bytes: Vec<u8>,
    at: usize,
    path: Vec<u8>,
    mode: u32,
    uid: u32,
    gid: u32,
    /// Where the names lie in `bytes`.
    user: (usize, usize),
    group: (usize, usize),
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl BlockCursor {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// The next member; `None` at the block's end.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] where the block is damaged.
    pub fn next(&mut self) -> Result<Option<Member<'_>>> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let kind = self.byte()?;
        let flags = self.byte()?;
        let shared = self.length()?;
        if shared > self.path.len() {
            return Err(damaged());
        }
        let suffix = self.span()?;
        self.path.truncate(shared);
        self.path.extend_from_slice(&self.bytes[suffix.0..suffix.1]);
        if flags & SAME_MODE == 0 {
            self.mode = self.small()?;
        }
        if flags & SAME_OWNER == 0 {
            self.uid = self.small()?;
            self.gid = self.small()?;
            self.user = self.span()?;
            self.group = self.span()?;
        }
        let modified = self.number()?;
        let modified = (modified >> 1).cast_signed() ^ -((modified & 1).cast_signed());
        self.attributes.clear();
        if flags & ATTRIBUTES != 0 {
            for _ in 0..self.length()? {
                let (name, value) = (self.span()?, self.span()?);
                self.attributes.push((self.bytes[name.0..name.1].to_vec(), self.bytes[value.0..value.1].to_vec()));
            }
        }
        let (target, length, crc32) = match kind {
            DIRECTORY | FIFO => ((0, 0), 0, 0),
            FILE => ((0, 0), self.number()?, self.checksum()?),
            HARD_LINK => (self.span()?, self.number()?, self.checksum()?),
            SYMLINK => (self.span()?, 0, 0),
            CHARACTER_DEVICE | BLOCK_DEVICE => ((0, 0), self.number()?, 0),
            _ => return Err(damaged()),
        };
        let target = &self.bytes[target.0..target.1];
        Ok(Some(Member {
            path: &self.path,
            kind: match kind {
                FILE => MemberKind::File { length, crc32 },
                HARD_LINK => MemberKind::HardLink { first: target, length, crc32 },
                SYMLINK => MemberKind::Symlink(target),
                FIFO => MemberKind::Fifo,
                CHARACTER_DEVICE => MemberKind::CharacterDevice(length),
                BLOCK_DEVICE => MemberKind::BlockDevice(length),
                _ => MemberKind::Directory,
            },
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            user: std::str::from_utf8(&self.bytes[self.user.0..self.user.1]).map_err(|_| damaged())?,
            group: std::str::from_utf8(&self.bytes[self.group.0..self.group.1]).map_err(|_| damaged())?,
            modified,
            attributes: &self.attributes,
        }))
    }

    fn byte(&mut self) -> Result<u8> {
        let byte = *self.bytes.get(self.at).ok_or_else(damaged)?;
        self.at += 1;
        Ok(byte)
    }

    fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(damaged())
    }

    fn small(&mut self) -> Result<u32> {
        u32::try_from(self.number()?).map_err(|_| damaged())
    }

    fn length(&mut self) -> Result<usize> {
        usize::try_from(self.number()?).map_err(|_| damaged())
    }

    fn span(&mut self) -> Result<(usize, usize)> {
        let length = self.length()?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or_else(damaged)?;
        let start = std::mem::replace(&mut self.at, end);
        Ok((start, end))
    }

    fn checksum(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes([self.byte()?, self.byte()?, self.byte()?, self.byte()?]))
    }
}

pub(super) fn damaged() -> SourceError {
    SourceError::new(ErrorKind::Store, "The layout of this part's download is damaged.")
        .hint("Verify the backup; its files can still be restored.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_were_written() {
        let attributes = vec![(b"user.a".to_vec(), b"\0\xff".to_vec())];
        let member = |path, kind, mode, uid, modified| Member {
            path,
            kind,
            mode,
            uid,
            gid: 7,
            user: if uid == 0 { "root" } else { "" },
            group: "games",
            modified,
            attributes: if uid == 0 { &attributes } else { &[] },
        };
        let members = [
            member(b"", MemberKind::Directory, 0o755, 0, 1),
            member(b"a", MemberKind::File { length: u64::MAX, crc32: 0xdead_beef }, 0o644, 0, -1),
            member(b"a\xff", MemberKind::HardLink { first: b"a", length: 3, crc32: 4 }, 0o644, 1, i64::MIN),
            member(b"ab/c", MemberKind::Symlink(b"../x"), 0o777, 1, i64::MAX),
            member(b"ab/d", MemberKind::Fifo, 0o600, 1, 0),
            member(b"b", MemberKind::CharacterDevice(259), 0o600, 0, 0),
            member(b"c", MemberKind::BlockDevice(u64::MAX), 0o600, u32::MAX, 0),
        ];
        let (mut before, mut block) = (Before::default(), Vec::new());
        for member in &members {
            encode(member, &mut before, &mut block);
        }
        let mut cursor = BlockCursor::new(block.clone());
        for member in &members {
            assert_eq!(cursor.next().unwrap().as_ref(), Some(member));
        }
        assert!(cursor.next().unwrap().is_none());

        for length in 0..block.len() {
            let mut cursor = BlockCursor::new(block[..length].to_vec());
            while let Ok(Some(_)) = cursor.next() {}
        }
    }
}
