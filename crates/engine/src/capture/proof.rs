//! Proof that a stored part is what was captured: everything is read the way a restore reads it, into nowhere.
//!
//! Each stream that the manifest names must have the length and the digests that were recorded while it was captured. Files of a tree
//! have no digests of their own in the manifest: they are read through the download, whose checksum was made from the bytes as captured.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use trivault_sources::{ErrorKind, Progress, RandomRead, SourceError, StreamRecord};
use trivault_vault::NodeKind;

use super::{
    reader::StoredPart,
    sink::{MANIFEST, PartEvents},
};
use crate::{
    domain::{Error, ErrorCode, Result},
    failure::{from_source, from_vault},
};

/// Bytes read at a time.
const PIECE_BYTES: usize = 1 << 20;

/// What a proof has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) streams: u64,
    /// Files that the manifest has no digest of: their lengths were compared, their content is still to be read.
    pub(crate) unread: u64,
    pub(crate) bytes: u64,
}

impl StoredPart {
    /// Reads every directory and every recorded stream. Files without a record are only measured.
    ///
    /// # Errors
    /// `Damaged` with the path for what is not as it was captured; `Cancelled`; `StoreUnavailable`.
    pub(crate) fn prove(&self, events: &dyn PartEvents) -> Result<Proof> {
        let mut proof = Proof::default();
        let mut expected: BTreeMap<&str, &StreamRecord> =
            self.capture_manifest().streams.iter().map(|(path, record)| (path.as_str(), record)).collect();
        let mut ahead: Vec<Vec<Vec<u8>>> = vec![Vec::new()];
        while let Some(directory) = ahead.pop() {
            stop_if_asked(events)?;
            let path = self.full_of(&directory);
            for node in self.tree.list(&path).map_err(from_vault)? {
                let below: Vec<Vec<u8>> = directory.iter().cloned().chain([node.name.clone()]).collect();
                match node.meta.kind {
                    NodeKind::Directory => ahead.push(below),
                    NodeKind::File => {
                        let shown = shown(&below);
                        let mut reader =
                            self.tree.open(&node).map_err(from_vault).map_err(|error| at(&shown, error))?;
                        if reader.length() != node.meta.size {
                            return Err(differs(&shown, "length"));
                        }
                        match expected.remove(shown.as_str()) {
                            Some(record) => {
                                let mut read =
                                    |offset: u64, buffer: &mut [u8]| reader.read_at(offset, buffer).map_err(from_vault);
                                compare(&shown, record, &mut read, events, &mut proof.bytes)?;
                                proof.streams += 1;
                            }
                            None if shown == MANIFEST => {}
                            None => proof.unread += 1,
                        }
                    }
                    _ => {}
                }
            }
        }
        match expected.keys().next() {
            Some(missing) => Err(Error::new(ErrorCode::Damaged, format!("The backup has lost its stream {missing}."))),
            None => Ok(proof),
        }
    }

    fn full_of<'p>(&'p self, path: &'p [Vec<u8>]) -> Vec<&'p [u8]> {
        std::iter::once(self.source.as_slice()).chain(path.iter().map(Vec::as_slice)).collect()
    }
}

/// Reads a gzip file of stored blocks to its end and compares its content with the checksum that it ends with.
///
/// # Errors
/// `Damaged` when it differs, or is no such file; `Cancelled`; `StoreUnavailable`.
pub(crate) fn prove_download(download: &mut dyn RandomRead, events: &dyn PartEvents, bytes: &mut u64) -> Result<()> {
    let damaged = || differs("download", "content");
    let (length, mut at) = (download.length(), GZIP_HEADER_BYTES);
    let mut content = crc32fast::Hasher::new();
    let mut total: u64 = 0;
    let mut buffer = vec![0; BLOCK_HEADER_BYTES + usize::from(u16::MAX)];
    loop {
        stop_if_asked(events)?;
        exactly(download, at, &mut buffer[..BLOCK_HEADER_BYTES])?;
        let (kind, size) = (buffer[0], u16::from_le_bytes([buffer[1], buffer[2]]));
        let complement = u16::from_le_bytes([buffer[3], buffer[4]]);
        if kind > 1 || size != !complement {
            return Err(damaged());
        }
        at += BLOCK_HEADER_BYTES as u64;
        let block = &mut buffer[..usize::from(size)];
        exactly(download, at, block)?;
        content.update(block);
        at += u64::from(size);
        total += u64::from(size);
        *bytes += u64::from(size);
        events.progress(Progress { bytes_read: *bytes, ..Progress::default() });
        if kind == 1 {
            break;
        }
    }
    let mut trailer = [0; GZIP_TRAILER_BYTES];
    exactly(download, at, &mut trailer)?;
    let [a, b, c, d, e, f, g, h] = trailer;
    let recorded = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    // The length is kept modulo 2^32.
    let is_same = recorded == (content.finalize(), total as u32) && at + GZIP_TRAILER_BYTES as u64 == length;
    if is_same { Ok(()) } else { Err(damaged()) }
}

/// Of the gzip files that downloads are (RFC 1952 without names, stored blocks of RFC 1951).
const GZIP_HEADER_BYTES: u64 = 10;
const GZIP_TRAILER_BYTES: usize = 8;
const BLOCK_HEADER_BYTES: usize = 5;

fn compare(
    path: &str,
    record: &StreamRecord,
    read: &mut dyn FnMut(u64, &mut [u8]) -> Result<usize>,
    events: &dyn PartEvents,
    bytes: &mut u64,
) -> Result<()> {
    let StreamRecord { length, sha256, crc32 } = record;
    let (mut digest, mut checksum, mut offset) = (Sha256::new(), crc32fast::Hasher::new(), 0_u64);
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        stop_if_asked(events)?;
        let count = read(offset, &mut buffer).map_err(|error| at(path, error))?;
        if count == 0 {
            break;
        }
        // Where there is a SHA-256, it says all that a checksum could.
        match sha256 {
            Some(_) => digest.update(&buffer[..count]),
            None => checksum.update(&buffer[..count]),
        }
        offset += count as u64;
        *bytes += count as u64;
        events.progress(Progress { bytes_read: *bytes, ..Progress::default() });
    }
    if offset != *length {
        return Err(differs(path, "length"));
    }
    let is_same = match sha256 {
        Some(recorded) => hex::encode(digest.finalize()) == *recorded,
        None => checksum.finalize() == *crc32,
    };
    if is_same { Ok(()) } else { Err(differs(path, "content")) }
}

fn exactly(reader: &mut dyn RandomRead, offset: u64, buffer: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        let read = reader.read_at(offset + filled as u64, &mut buffer[filled..]).map_err(from_source)?;
        if read == 0 {
            return Err(differs("download", "length"));
        }
        filled += read;
    }
    Ok(())
}

fn stop_if_asked(events: &dyn PartEvents) -> Result<()> {
    if events.is_cancelled() {
        return Err(from_source(SourceError::new(ErrorKind::Cancelled, "The job was stopped.")));
    }
    Ok(())
}

fn differs(path: &str, what: &str) -> Error {
    Error::new(ErrorCode::Damaged, format!("The {what} of {path} is not what was captured."))
}

/// With the path in front, where the failure tells of damage.
fn at(path: &str, mut error: Error) -> Error {
    if error.code == ErrorCode::Damaged {
        error.sentence = format!("{path}: {}", error.sentence);
    }
    error
}

fn shown(path: &[Vec<u8>]) -> String {
    let names: Vec<_> = path.iter().map(|name| String::from_utf8_lossy(name)).collect();
    names.join("/")
}

#[cfg(test)]
mod tests {
    use trivault_sources::archive::StoredGzip;

    use super::*;
    use crate::capture::NoEvents;

    struct Bytes(Vec<u8>);

    impl RandomRead for Bytes {
        fn length(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> trivault_sources::Result<usize> {
            let rest = self.0.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }
    }

    fn proven(content: Vec<u8>, crc32: u32) -> Result<u64> {
        let mut bytes = 0;
        prove_download(&mut StoredGzip::new(Bytes(content), crc32), &NoEvents, &mut bytes).map(|()| bytes)
    }

    #[test]
    fn a_download_is_proven_by_the_checksum_of_its_content() {
        for length in [0_usize, 1, 65_535, 65_536, 200_000] {
            let content: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let crc32 = crc32fast::hash(&content);
            assert_eq!(proven(content.clone(), crc32).unwrap(), length as u64);
            assert_eq!(proven(content, !crc32).unwrap_err().code, ErrorCode::Damaged);
        }
    }

    #[test]
    fn a_stream_is_compared_by_its_length_and_its_digest() {
        let content = vec![7_u8; 2_500_000];
        let record = |length, sha256, crc32| StreamRecord { length, sha256, crc32 };
        let proven = |record: StreamRecord| {
            let mut stored = Bytes(content.clone());
            let mut read = |offset: u64, buffer: &mut [u8]| stored.read_at(offset, buffer).map_err(from_source);
            let mut bytes = 0;
            compare("data", &record, &mut read, &NoEvents, &mut bytes).map_err(|error| error.sentence)
        };
        let (length, crc32) = (content.len() as u64, crc32fast::hash(&content));
        let sha256 = Some(hex::encode(Sha256::digest(&content)));
        assert_eq!(proven(record(length, sha256.clone(), 0)), Ok(()));
        assert_eq!(proven(record(length, None, crc32)), Ok(()));
        let differs = |what| Err(format!("The {what} of data is not what was captured."));
        assert_eq!(proven(record(length + 1, sha256, 0)), differs("length"));
        assert_eq!(proven(record(length, None, crc32 ^ 1)), differs("content"));
        assert_eq!(proven(record(length, Some("00".into()), crc32)), differs("content"));
    }
}
