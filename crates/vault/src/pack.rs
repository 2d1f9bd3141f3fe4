//! Pack files: many sealed blobs, a sealed header, and the header's length.

use crate::{
    crypto::{OVERHEAD, SealingKey},
    error::{Result, VaultError},
    id::Id,
};

/// Most bytes that a sealed header may have.
pub(crate) const MAX_HEADER: u32 = 16 << 20;
/// Bytes of the header's length at the end.
pub(crate) const TRAILER: usize = 4;
const RAW_ENTRY: usize = 37;
const COMPRESSED_ENTRY: usize = 41;

/// What a blob is part of. Data and trees never share a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum BlobKind {
    Data,
    Tree,
}

/// One blob of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackedBlob {
    pub id: Id,
    pub kind: BlobKind,
    pub offset: u32,
    /// Sealed bytes in the pack.
    pub length: u32,
    /// Plain bytes when compressed.
    pub uncompressed: Option<u32>,
}

impl PackedBlob {
    /// Bytes that the header needs for it.
    pub fn entry_length(&self) -> usize {
        if self.uncompressed.is_some() { COMPRESSED_ENTRY } else { RAW_ENTRY }
    }

    /// Plain bytes.
    pub fn plain_length(&self) -> u32 {
        self.uncompressed.unwrap_or(self.length.saturating_sub(OVERHEAD as u32))
    }
}

/// The plain header of these blobs, which must lie in this order and without gaps.
pub(crate) fn header(blobs: &[PackedBlob]) -> Vec<u8> {
    let mut header = Vec::with_capacity(blobs.len() * COMPRESSED_ENTRY);
    for blob in blobs {
        let kind = u8::from(blob.kind == BlobKind::Tree);
        header.push(kind + if blob.uncompressed.is_some() { 2 } else { 0 });
        header.extend_from_slice(&blob.length.to_le_bytes());
        if let Some(uncompressed) = blob.uncompressed {
            header.extend_from_slice(&uncompressed.to_le_bytes());
        }
        header.extend_from_slice(blob.id.as_bytes());
    }
    header
}

/// Appends header and trailer to the blobs of a pack.
pub(crate) fn finish(key: &SealingKey, bytes: &mut Vec<u8>, blobs: &[PackedBlob]) -> Result<()> {
    let sealed = key.seal(&header(blobs))?;
    let length = u32::try_from(sealed.len()).ok().filter(|length| *length <= MAX_HEADER);
    let length = length.ok_or_else(|| VaultError::internal("a pack has too many blobs"))?;
    bytes.extend_from_slice(&sealed);
    bytes.extend_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Bytes of a whole pack with these blobs.
pub(crate) fn file_length(blobs: &[PackedBlob]) -> u64 {
    let of_blobs: u64 = blobs.iter().map(|blob| u64::from(blob.length) + blob.entry_length() as u64).sum();
    of_blobs + (OVERHEAD + TRAILER) as u64
}

/// Opens the last bytes of a pack, which must begin with the sealed header and end with its length.
pub(crate) fn parse_tail(key: &SealingKey, pack: &Id, tail: &[u8]) -> Result<Vec<PackedBlob>> {
    let wrong = || VaultError::damaged(format!("the header of pack {pack} does not have the length it says"));
    let (sealed, length) = tail.split_last_chunk::<TRAILER>().ok_or_else(wrong)?;
    if sealed.len() as u64 != u64::from(u32::from_le_bytes(*length)) {
        return Err(wrong());
    }
    let plain = key.open(sealed, &|| format!("the header of pack {pack}"))?;
    parse_header(pack, &plain)
}

/// Reads a plain header.
pub(crate) fn parse_header(pack: &Id, mut header: &[u8]) -> Result<Vec<PackedBlob>> {
    let wrong = || VaultError::damaged(format!("the header of pack {pack} cannot be understood"));
    let mut blobs = Vec::with_capacity(header.len() / RAW_ENTRY);
    let mut offset = 0_u32;
    while let Some((&kind, rest)) = header.split_first() {
        let (length, mut rest) = take_u32(rest).ok_or_else(wrong)?;
        let uncompressed = match kind {
            0 | 1 => None,
            2 | 3 => {
                let (uncompressed, after) = take_u32(rest).ok_or_else(wrong)?;
                rest = after;
                Some(uncompressed)
            }
            _ => return Err(wrong()),
        };
        let (id, rest) = rest.split_first_chunk::<32>().ok_or_else(wrong)?;
        let kind = if kind % 2 == 0 { BlobKind::Data } else { BlobKind::Tree };
        blobs.push(PackedBlob { id: Id::from_bytes(*id), kind, offset, length, uncompressed });
        offset = offset.checked_add(length).ok_or_else(wrong)?;
        header = rest;
    }
    Ok(blobs)
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::KeyMaterial;
    use proptest::prelude::*;

    fn key() -> SealingKey {
        SealingKey::new(KeyMaterial::from_bytes(&[7; 64]))
    }

    fn blobs(parts: &[(bool, u32, Option<u32>)]) -> Vec<PackedBlob> {
        let mut offset = 0;
        let blob = |(index, (tree, length, uncompressed)): (usize, &(bool, u32, Option<u32>))| {
            let kind = if *tree { BlobKind::Tree } else { BlobKind::Data };
            let id = Id::of(&index.to_le_bytes());
            let blob = PackedBlob { id, kind, offset, length: *length, uncompressed: *uncompressed };
            offset += length;
            blob
        };
        parts.iter().enumerate().map(blob).collect()
    }

    #[test]
    fn a_pack_has_the_length_that_restic_calculates() {
        let blobs = blobs(&[(false, 100, Some(500)), (false, 40, None)]);
        let mut bytes = vec![0; 140];
        finish(&key(), &mut bytes, &blobs).unwrap();
        assert_eq!(bytes.len() as u64, file_length(&blobs));
        assert_eq!(bytes.len(), 140 + 41 + 37 + 36);
        assert_eq!(parse_tail(&key(), &Id::of(b""), &bytes[140..]).unwrap(), blobs);
    }

    #[test]
    fn torn_and_foreign_tails_are_reported() {
        let mut bytes = Vec::new();
        finish(&key(), &mut bytes, &blobs(&[(true, 100, Some(5))])).unwrap();
        for cut in 0..bytes.len() {
            assert!(parse_tail(&key(), &Id::of(b""), &bytes[cut + 1..]).is_err());
        }
        assert!(parse_header(&Id::of(b""), &[9; 41]).is_err());
    }

    proptest! {
        #[test]
        fn every_header_survives(parts in proptest::collection::vec((any::<bool>(), 0_u32..1 << 24, any::<Option<u32>>()), 0..50)) {
            let blobs = blobs(&parts);
            prop_assert_eq!(parse_header(&Id::of(b""), &header(&blobs)).unwrap(), blobs);
        }

        #[test]
        fn arbitrary_headers_never_panic(header: Vec<u8>) {
            let _ = parse_header(&Id::of(b""), &header);
        }
    }
}
