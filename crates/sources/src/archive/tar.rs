//! Headers of tar members: ustar, with a pax record only where ustar has no room.
//!
//! The bytes depend on nothing but the entry. Names are raw bytes: those that fit stand in the header as they are, as
//! GNU tar, bsdtar and Python read them; longer ones become a pax `path`.

use crate::Timestamp;

/// A header, and what contents are padded to.
pub const BLOCK_BYTES: u64 = 512;
/// Zero bytes that end an archive.
pub const END_BYTES: u64 = 2 * BLOCK_BYTES;
/// The largest size that needs no pax record: 8 GiB less one byte.
pub const LARGEST_PLAIN_SIZE: u64 = 0o77_777_777_777;
/// The latest time that needs no pax record, seconds since 1970 (in the year 2242).
pub const LARGEST_PLAIN_TIME: i64 = 0o77_777_777_777;

const LARGEST_PLAIN_ID: u32 = 0o7_777_777;
const NAME_BYTES: usize = 100;
/// The field's 32 bytes less the NUL that ends it.
const OWNER_BYTES: usize = 31;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryType<'a> {
    /// Bytes of content, which follow the header and are padded to [`BLOCK_BYTES`].
    File {
        size: u64,
    },
    Directory,
    /// Target.
    Symlink(&'a [u8]),
    /// Path of an earlier member.
    HardLink(&'a [u8]),
    Fifo,
    CharacterDevice {
        major: u32,
        minor: u32,
    },
    BlockDevice {
        major: u32,
        minor: u32,
    },
}

/// A member without its content.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Relative, without a slash at the end (that of a directory is added).
    pub path: &'a [u8],
    pub entry_type: EntryType<'a>,
    /// Permission bits, as in `st_mode & 0o7777`.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub user: &'a str,
    pub group: &'a str,
    /// Nanoseconds cost a pax record.
    pub modified: Timestamp,
    /// Names and raw values, kept as `SCHILY.xattr.*` records, which GNU tar and bsdtar understand.
    pub extended_attributes: &'a [(Vec<u8>, Vec<u8>)],
}

impl<'a> Entry<'a> {
    /// A file of mode 0644 and owner 0.
    pub fn file(path: &'a [u8], size: u64, modified: Timestamp) -> Self {
        Self {
            path,
            entry_type: EntryType::File { size },
            mode: 0o644,
            uid: 0,
            gid: 0,
            user: "",
            group: "",
            modified,
            extended_attributes: &[],
        }
    }
}

/// Zero bytes after a content of `size` bytes.
pub fn padding(size: u64) -> u64 {
    (BLOCK_BYTES - size % BLOCK_BYTES) % BLOCK_BYTES
}

/// The header of a member: a multiple of [`BLOCK_BYTES`], most often just one block.
pub fn header(entry: &Entry<'_>) -> Vec<u8> {
    let mut path = entry.path.to_vec();
    if entry.entry_type == EntryType::Directory {
        path.push(b'/');
    }
    let records = records(entry, &path);
    let mut bytes = Vec::new();
    if !records.is_empty() {
        let size = records.len() as u64;
        bytes.extend(block(&Entry::file(b"././@PaxHeader", size, Timestamp::default()), b"././@PaxHeader", b'x'));
        bytes.extend(&records);
        bytes.resize(bytes.len() + padding(size) as usize, 0);
    }
    bytes.extend(block(entry, &path, type_flag(entry.entry_type)));
    bytes
}

fn type_flag(entry_type: EntryType<'_>) -> u8 {
    match entry_type {
        EntryType::File { .. } => b'0',
        EntryType::HardLink(_) => b'1',
        EntryType::Symlink(_) => b'2',
        EntryType::CharacterDevice { .. } => b'3',
        EntryType::BlockDevice { .. } => b'4',
        EntryType::Directory => b'5',
        EntryType::Fifo => b'6',
    }
}

fn size_of(entry_type: EntryType<'_>) -> u64 {
    match entry_type {
        EntryType::File { size } => size,
        EntryType::Directory
        | EntryType::Symlink(_)
        | EntryType::HardLink(_)
        | EntryType::Fifo
        | EntryType::CharacterDevice { .. }
        | EntryType::BlockDevice { .. } => 0,
    }
}

fn link_of<'a>(entry_type: EntryType<'a>) -> &'a [u8] {
    match entry_type {
        EntryType::Symlink(target) | EntryType::HardLink(target) => target,
        EntryType::File { .. }
        | EntryType::Directory
        | EntryType::Fifo
        | EntryType::CharacterDevice { .. }
        | EntryType::BlockDevice { .. } => &[],
    }
}

/// Pax records for what does not fit into the header; empty for most members.
fn records(entry: &Entry<'_>, path: &[u8]) -> Vec<u8> {
    let mut records = Vec::new();
    if path.len() > NAME_BYTES {
        record(&mut records, b"path", path);
    }
    if link_of(entry.entry_type).len() > NAME_BYTES {
        record(&mut records, b"linkpath", link_of(entry.entry_type));
    }
    let size = size_of(entry.entry_type);
    if size > LARGEST_PLAIN_SIZE {
        record(&mut records, b"size", size.to_string().as_bytes());
    }
    for (name, id) in [(b"uid", entry.uid), (b"gid", entry.gid)] {
        if id > LARGEST_PLAIN_ID {
            record(&mut records, name, id.to_string().as_bytes());
        }
    }
    for (name, owner) in [(b"uname", entry.user), (b"gname", entry.group)] {
        if owner.len() > OWNER_BYTES {
            record(&mut records, name, owner.as_bytes());
        }
    }
    if entry.modified.nanoseconds != 0 || !(0..=LARGEST_PLAIN_TIME).contains(&entry.modified.seconds) {
        record(&mut records, b"mtime", decimal(entry.modified).as_bytes());
    }
    for (name, value) in entry.extended_attributes {
        let mut key = b"SCHILY.xattr.".to_vec();
        for byte in name {
            // As GNU tar does it: the first `=` ends a record's key.
            match byte {
                b'%' => key.extend(b"%25"),
                b'=' => key.extend(b"%3D"),
                other => key.push(*other),
            }
        }
        record(&mut records, &key, value);
    }
    records
}

/// Appends `<length> <key>=<value>\n`, where the length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend(length.to_string().as_bytes());
    records.push(b' ');
    records.extend(key);
    records.push(b'=');
    records.extend(value);
    records.push(b'\n');
}

/// Seconds with nine decimals; before 1970 negative.
fn decimal(time: Timestamp) -> String {
    if time.seconds < 0 && time.nanoseconds > 0 {
        return format!("-{}.{:09}", -(time.seconds + 1), 1_000_000_000 - time.nanoseconds);
    }
    format!("{}.{:09}", time.seconds, time.nanoseconds)
}

/// One ustar header. What does not fit is cut or zero: a pax record before it says the truth.
fn block(entry: &Entry<'_>, path: &[u8], flag: u8) -> [u8; BLOCK_BYTES as usize] {
    let mut block = [0; BLOCK_BYTES as usize];
    text(&mut block[0..100], path);
    octal(&mut block[100..108], u64::from(entry.mode & 0o7777));
    octal(&mut block[108..116], if entry.uid > LARGEST_PLAIN_ID { 0 } else { entry.uid.into() });
    octal(&mut block[116..124], if entry.gid > LARGEST_PLAIN_ID { 0 } else { entry.gid.into() });
    let size = size_of(entry.entry_type);
    octal(&mut block[124..136], if size > LARGEST_PLAIN_SIZE { 0 } else { size });
    let seconds = u64::try_from(entry.modified.seconds.min(LARGEST_PLAIN_TIME)).unwrap_or(0);
    octal(&mut block[136..148], seconds);
    block[148..156].fill(b' ');
    block[156] = flag;
    text(&mut block[157..257], link_of(entry.entry_type));
    block[257..265].copy_from_slice(b"ustar\x0000");
    text(&mut block[265..265 + OWNER_BYTES], entry.user.as_bytes());
    text(&mut block[297..297 + OWNER_BYTES], entry.group.as_bytes());
    let (major, minor) = match entry.entry_type {
        EntryType::CharacterDevice { major, minor } | EntryType::BlockDevice { major, minor } => (major, minor),
        EntryType::File { .. }
        | EntryType::Directory
        | EntryType::Symlink(_)
        | EntryType::HardLink(_)
        | EntryType::Fifo => (0, 0),
    };
    octal(&mut block[329..337], u64::from(major));
    octal(&mut block[337..345], u64::from(minor));
    let checksum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    octal(&mut block[148..155], checksum);
    block[155] = b' ';
    block
}

fn text(field: &mut [u8], value: &[u8]) {
    let count = field.len().min(value.len());
    field[..count].copy_from_slice(&value[..count]);
}

/// Octal digits to the field's width less one, then NUL.
fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    for (place, byte) in field[..digits].iter_mut().rev().enumerate() {
        *byte = b'0' + ((value >> (3 * place)) & 7) as u8;
    }
    field[digits] = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_digits() {
        for value_bytes in 0..2000 {
            let mut records = Vec::new();
            record(&mut records, b"path", &vec![b'x'; value_bytes]);
            let digits = records.iter().position(|byte| *byte == b' ').unwrap();
            let length: usize = std::str::from_utf8(&records[..digits]).unwrap().parse().unwrap();
            assert_eq!(length, records.len());
        }
    }

    #[test]
    fn times_before_1970_are_negative_decimals() {
        assert_eq!(decimal(Timestamp { seconds: -1, nanoseconds: 500_000_000 }), "-0.500000000");
        assert_eq!(decimal(Timestamp { seconds: -2, nanoseconds: 1 }), "-1.999999999");
        assert_eq!(decimal(Timestamp { seconds: -2, nanoseconds: 0 }), "-2.000000000");
        assert_eq!(decimal(Timestamp { seconds: 7, nanoseconds: 1 }), "7.000000001");
    }

    #[test]
    fn an_ordinary_member_needs_one_block_only() {
        let at = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
        assert_eq!(header(&Entry::file(&[b'n'; 100], LARGEST_PLAIN_SIZE, at)).len(), 512);
        assert_eq!(header(&Entry::file(&[b'n'; 101], 1, at)).len(), 1536);
        assert_eq!(header(&Entry::file(b"n", LARGEST_PLAIN_SIZE + 1, at)).len(), 1536);
    }
}
