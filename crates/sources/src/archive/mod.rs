//! Downloads: `.tar.gz` files that are never stored, whose every byte can be computed where it is wanted.
//!
//! The gzip layer uses *stored* deflate blocks only. So the length is arithmetic, any range is read without reading what
//! lies before it, the CRC-32 of the trailer is combined from those recorded at capture, and the bytes do not change
//! with a compressor's version. The price is an uncompressed transfer.
//!
//! One member: [`single_member`]. Many: give the headers of [`tar::header`] and the contents, in order, to a
//! [`Concatenation`] (or to a [`RandomRead`](crate::RandomRead) of your own, where the list would not fit in memory),
//! take their checksum with a [`RunningCrc`], and wrap it all in a [`StoredGzip`].

mod crc;
mod gzip;
mod segments;
pub mod tar;

pub use crc::RunningCrc;
pub use gzip::{StoredGzip, stored_gzip_length};
pub use segments::{Concatenation, Segment};

use crate::{ErrorKind, RandomRead, Result, SourceError, Timestamp};

/// Longest name of a single member, bytes: what fits into the header itself, so that the length never depends on it.
pub const SINGLE_MEMBER_NAME_BYTES: usize = 100;

/// Length of [`single_member`]'s archive for a content of `size` bytes, whatever its name and time.
pub fn single_member_length(size: u64) -> u64 {
    let header = tar::BLOCK_BYTES + if size > tar::LARGEST_PLAIN_SIZE { 2 * tar::BLOCK_BYTES } else { 0 };
    stored_gzip_length(header + size + tar::padding(size) + tar::END_BYTES)
}

/// A `.tar.gz` with `content` as its only member, at top level, mode 0644, owner 0. `crc32` is that of the content.
///
/// # Errors
/// [`ErrorKind::Internal`] for a name that is empty, too long ([`SINGLE_MEMBER_NAME_BYTES`]) or holds `/` or NUL.
pub fn single_member(
    name: &str,
    modified: Timestamp,
    content: Box<dyn RandomRead>,
    crc32: u32,
) -> Result<StoredGzip<Concatenation>> {
    if name.is_empty() || name.len() > SINGLE_MEMBER_NAME_BYTES || name.contains(['/', '\0']) {
        return Err(SourceError::new(ErrorKind::Internal, "The name of an archive's member is not usable."));
    }
    let size = content.length();
    // Whole seconds since 1970, so that no extended record is needed and the length stays what it was said to be.
    let modified = Timestamp { seconds: modified.seconds.clamp(0, tar::LARGEST_PLAIN_TIME), nanoseconds: 0 };
    let header = tar::header(&tar::Entry::file(name.as_bytes(), size, modified));
    let mut crc = RunningCrc::new();
    crc.append_bytes(&header);
    crc.append(crc32, size);
    crc.append_zeros(tar::padding(size) + tar::END_BYTES);
    let payload = Concatenation::new(vec![
        Segment::Bytes(header),
        Segment::Content(content),
        Segment::Zeros(tar::padding(size) + tar::END_BYTES),
    ]);
    Ok(StoredGzip::new(payload, crc.value()))
}
