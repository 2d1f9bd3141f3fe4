//! Files that are not packs: indexes, snapshots and locks are JSON, compressed and sealed, and named by the digest of what is stored.

use crate::{
    backend::{Backend, FileKind},
    crypto::SealingKey,
    error::{Result, VaultError, VaultErrorKind},
    id::Id,
};
use std::io::Read;

/// First byte of a compressed file; uncompressed ones begin with `{` or `[`.
const COMPRESSED: u8 = 2;
/// Most bytes of JSON that one such file may hold. restic's own stay below 10 MB.
const MAX_PLAIN: u64 = 1 << 30;
const ZSTD_LEVEL: i32 = 3;

/// Seals JSON as a file; the answer is its name and its bytes.
pub(crate) fn encode(key: &SealingKey, json: &[u8]) -> Result<(Id, Vec<u8>)> {
    let mut plain = vec![COMPRESSED];
    let compressed = zstd::bulk::compress(json, ZSTD_LEVEL)
        .map_err(|error| VaultError::internal("the compressor failed").with_source(error))?;
    plain.extend_from_slice(&compressed);
    let sealed = key.seal(&plain)?;
    Ok((Id::of(&sealed), sealed))
}

/// Opens such a file: its name must be its digest, its MAC must hold.
pub(crate) fn decode(key: &SealingKey, kind: FileKind, id: &Id, stored: &[u8]) -> Result<Vec<u8>> {
    let what = || format!("{} {id}", noun(kind));
    if Id::of(stored) != *id {
        return Err(VaultError::damaged(format!("{} does not have the content its name stands for", what())));
    }
    let plain = key.open(stored, &what)?;
    match plain.first() {
        Some(b'{' | b'[') => Ok(plain),
        Some(&COMPRESSED) => {
            let mut json = Vec::new();
            let wrong = |error| VaultError::damaged(format!("{} cannot be decompressed", what())).with_source(error);
            let decoder = zstd::stream::read::Decoder::with_buffer(&plain[1..]).map_err(wrong)?;
            decoder.take(MAX_PLAIN + 1).read_to_end(&mut json).map_err(wrong)?;
            if json.len() as u64 > MAX_PLAIN {
                return Err(VaultError::unsupported(format!("{} is larger than {MAX_PLAIN} bytes", what())));
            }
            Ok(json)
        }
        first => {
            Err(VaultError::new(VaultErrorKind::Unsupported, format!("{} has an unknown encoding ({first:?})", what()))
                .with_hint("it may have been written by a newer version of restic"))
        }
    }
}

/// Encodes and stores; the answer is the name.
pub(crate) fn write(backend: &dyn Backend, key: &SealingKey, kind: FileKind, json: &[u8]) -> Result<Id> {
    let (id, stored) = encode(key, json)?;
    backend.write(kind, &id.to_hex(), &stored)?;
    Ok(id)
}

/// Reads and opens.
pub(crate) fn read(backend: &dyn Backend, key: &SealingKey, kind: FileKind, id: &Id) -> Result<Vec<u8>> {
    let stored = backend.read(kind, &id.to_hex())?;
    decode(key, kind, id, &stored)
}

/// The ids of all files of a kind. Other names are not ours to judge and are left out.
pub(crate) fn list(backend: &dyn Backend, kind: FileKind) -> Result<Vec<Id>> {
    Ok(backend.list(kind)?.into_iter().filter_map(|entry| entry.name.parse().ok()).collect())
}

/// The word for a file of this kind in sentences.
pub(crate) fn noun(kind: FileKind) -> &'static str {
    kind.noun()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::KeyMaterial;

    fn key() -> SealingKey {
        SealingKey::new(KeyMaterial::from_bytes(&[3; 64]))
    }

    #[test]
    fn json_survives_compressed_and_plain() {
        let (id, stored) = encode(&key(), b"{\"a\":1}").unwrap();
        assert_eq!(decode(&key(), FileKind::Snapshot, &id, &stored).unwrap(), b"{\"a\":1}");
        let plain = key().seal(b"[1]").unwrap();
        assert_eq!(decode(&key(), FileKind::Index, &Id::of(&plain), &plain).unwrap(), b"[1]");
    }

    #[test]
    fn a_wrong_name_an_unknown_encoding_and_a_torn_frame_are_reported() {
        let (_, stored) = encode(&key(), b"{}").unwrap();
        let wrong_name = decode(&key(), FileKind::Lock, &Id::of(b"other"), &stored).unwrap_err();
        assert_eq!(wrong_name.kind(), &VaultErrorKind::Damaged);
        let unknown = key().seal(b"\x07abc").unwrap();
        let error = decode(&key(), FileKind::Lock, &Id::of(&unknown), &unknown).unwrap_err();
        assert_eq!(error.kind(), &VaultErrorKind::Unsupported);
        for plain in [&b"\x02"[..], b"\x02garbage", b""] {
            let torn = key().seal(plain).unwrap();
            assert!(decode(&key(), FileKind::Lock, &Id::of(&torn), &torn).is_err() || plain == b"\x02");
        }
    }
}
