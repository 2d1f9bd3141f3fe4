//! One blob's way from plain to stored bytes and back.

use crate::{
    crypto::{RandomBytes, SealingKey},
    error::{Result, VaultError},
    id::Id,
    pack::{BlobKind, PackedBlob},
};
use std::io::Read;
use zstd::bulk::{Compressor, Decompressor};

/// Working buffers larger than this are given back after use.
const KEEP_BYTES: usize = 4 << 20;
/// A blob is stored raw when compression gains less than one part in this many.
const MIN_GAIN: usize = 33;

/// Turns plain blobs into stored ones and checks each result (level V0). One per worker: contexts and buffers are reused.
pub(crate) struct BlobEncoder {
    compressor: Compressor<'static>,
    random: RandomBytes,
    compressed: Vec<u8>,
    sealed: Vec<u8>,
    decoder: BlobDecoder,
}

/// A stored blob in its encoder's buffer.
pub(crate) struct Encoded<'a> {
    pub sealed: &'a [u8],
    /// Plain bytes when compressed.
    pub uncompressed: Option<u32>,
}

impl BlobEncoder {
    pub fn new(zstd_level: i32) -> Result<Self> {
        Ok(Self {
            compressor: Compressor::new(zstd_level.clamp(1, 19)).map_err(no_context)?,
            random: RandomBytes::new(),
            compressed: Vec::new(),
            sealed: Vec::new(),
            decoder: BlobDecoder::new()?,
        })
    }

    /// Compresses, seals, then opens the result again and compares its digest with `id`: a fault of memory or processor on the way shows
    /// now and not at restore.
    pub fn encode(&mut self, key: &SealingKey, kind: BlobKind, id: &Id, plain: &[u8]) -> Result<Encoded<'_>> {
        let length = u32::try_from(plain.len()).map_err(|_| VaultError::unsupported("a blob of 4 GiB or more"))?;
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        self.compressor
            .compress_to_buffer(plain, &mut self.compressed)
            .map_err(|error| VaultError::internal("the compressor failed").with_source(error))?;
        let gains = self.compressed.len() < plain.len() - plain.len() / MIN_GAIN;
        // restic repacks uncompressed trees whenever it meets them. Of length zero nothing can be compressed.
        let uncompressed = (length > 0 && (gains || kind == BlobKind::Tree)).then_some(length);
        let content = if uncompressed.is_some() { &self.compressed[..] } else { plain };
        key.seal_with(&self.random.next()?, content, &mut self.sealed);
        let what = || "a blob just sealed".to_owned();
        self.decoder.decode(key, id, &self.sealed, uncompressed, &what).map_err(|error| {
            VaultError::internal("a blob was not stored because it did not survive compression and encryption")
                .with_hint("this machine's memory or processor makes errors; test it before anything else")
                .with_source(error)
        })?;
        Ok(Encoded { sealed: &self.sealed, uncompressed })
    }

    /// Gives unusually large buffers back.
    pub fn trim(&mut self) {
        for buffer in [&mut self.compressed, &mut self.sealed] {
            if buffer.capacity() > KEEP_BYTES {
                *buffer = Vec::new();
            }
        }
        self.decoder.trim();
    }
}

/// Turns stored blobs into plain ones. Contexts and buffers are reused.
pub(crate) struct BlobDecoder {
    decompressor: Decompressor<'static>,
    opened: Vec<u8>,
    plain: Vec<u8>,
}

impl BlobDecoder {
    pub fn new() -> Result<Self> {
        Ok(Self { decompressor: Decompressor::new().map_err(no_context)?, opened: Vec::new(), plain: Vec::new() })
    }

    /// Checks the MAC, decrypts, decompresses and compares the digest with `id`. `what` names the blob in errors.
    pub fn decode(
        &mut self,
        key: &SealingKey,
        id: &Id,
        sealed: &[u8],
        uncompressed: Option<u32>,
        what: &dyn Fn() -> String,
    ) -> Result<&[u8]> {
        key.open_into(sealed, &mut self.opened, what)?;
        let plain = match uncompressed {
            None => &self.opened,
            Some(length) => {
                self.decompress(length, what)?;
                &self.plain
            }
        };
        if Id::of(plain) != *id {
            return Err(VaultError::damaged(format!("{} does not have the content its name stands for", what())));
        }
        Ok(plain)
    }

    /// Decompresses `opened` into `plain`. A wrong length is noticed before memory is taken for it.
    fn decompress(&mut self, length: u32, what: &dyn Fn() -> String) -> Result<()> {
        let wrong_length = || VaultError::damaged(format!("{} does not have the length the index says", what()));
        let broken = |error: std::io::Error| {
            VaultError::damaged(format!("{} cannot be decompressed", what())).with_source(error)
        };
        self.plain.clear();
        match zstd::zstd_safe::get_frame_content_size(&self.opened) {
            Ok(Some(said)) if said != u64::from(length) => return Err(wrong_length()),
            Ok(None) if length as usize > KEEP_BYTES => {
                let decoder = zstd::stream::read::Decoder::with_buffer(&self.opened[..]).map_err(broken)?;
                decoder.take(u64::from(length) + 1).read_to_end(&mut self.plain).map_err(broken)?;
            }
            Err(_) => return Err(VaultError::damaged(format!("{} is not compressed as the index says", what()))),
            Ok(_) => {
                self.plain.reserve_exact(length as usize);
                self.decompressor.decompress_to_buffer(&self.opened, &mut self.plain).map_err(broken)?;
            }
        }
        if self.plain.len() == length as usize { Ok(()) } else { Err(wrong_length()) }
    }

    /// As [`BlobDecoder::decode`], for a blob read from its place in a pack.
    pub fn decode_packed(&mut self, key: &SealingKey, pack: &Id, blob: &PackedBlob, sealed: &[u8]) -> Result<&[u8]> {
        let what = || format!("blob {} at offset {} of pack {pack}", blob.id, blob.offset);
        self.decode(key, &blob.id, sealed, blob.uncompressed, &what)
    }

    /// Gives unusually large buffers back.
    pub fn trim(&mut self) {
        for buffer in [&mut self.opened, &mut self.plain] {
            if buffer.capacity() > KEEP_BYTES {
                *buffer = Vec::new();
            }
        }
    }
}

fn no_context(error: std::io::Error) -> VaultError {
    VaultError::internal("no memory for the compressor").with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::KeyMaterial;

    #[test]
    fn compressible_blobs_are_compressed_and_others_are_stored_raw() {
        let key = SealingKey::new(KeyMaterial::from_bytes(&[5; 64]));
        let mut noise = vec![0; 100_000];
        crate::crypto::fill_random(&mut noise).unwrap();
        let mut encoder = BlobEncoder::new(3).unwrap();
        let mut decoder = BlobDecoder::new().unwrap();
        let cases: [(&[u8], BlobKind, bool); 6] = [
            (&[b'a'; 5000], BlobKind::Data, true),
            (&noise, BlobKind::Data, false),
            (&noise, BlobKind::Tree, true),
            (b"x", BlobKind::Data, false),
            (b"{}", BlobKind::Tree, true),
            (b"", BlobKind::Data, false),
        ];
        for (plain, kind, compressed) in cases {
            let id = Id::of(plain);
            let encoded = encoder.encode(&key, kind, &id, plain).unwrap();
            assert_eq!(encoded.uncompressed.is_some(), compressed);
            let what = || String::new();
            assert_eq!(decoder.decode(&key, &id, encoded.sealed, encoded.uncompressed, &what).unwrap(), plain);
            assert!(decoder.decode(&key, &Id::of(b"other"), encoded.sealed, encoded.uncompressed, &what).is_err());
            let wrong_length = encoded.uncompressed.map_or(Some(7), |length| Some(length + 1));
            assert!(decoder.decode(&key, &id, encoded.sealed, wrong_length, &what).is_err());
            assert!(decoder.decode(&key, &id, encoded.sealed, Some(u32::MAX), &what).is_err());
        }
    }

    #[test]
    fn a_wrong_id_never_reaches_the_store() {
        let key = SealingKey::new(KeyMaterial::from_bytes(&[5; 64]));
        let mut encoder = BlobEncoder::new(3).unwrap();
        assert!(encoder.encode(&key, BlobKind::Data, &Id::of(b"before the bit flipped"), b"after").is_err());
    }
}
