//! A pack while it is being filled, written and checked.

use crate::{
    backend::{Backend, FileKind},
    budget::Permit,
    crypto::SealingKey,
    error::{Result, VaultError},
    id::Id,
    index::IndexedPack,
    pack::{self, BlobKind, PackedBlob},
};

/// Stored bytes after which a data pack is full. Two are open at a time and two more on their way, so that this also bounds memory.
pub(crate) const DATA_PACK: usize = 16 << 20;
/// The same for trees, which are few.
pub(crate) const TREE_PACK: usize = 4 << 20;
/// Blobs after which a pack is full whatever its size, so that its header stays small: below 1 MiB.
const MAX_BLOBS: usize = 20_000;

/// Blobs on their way into one pack.
#[derive(Debug)]
pub(crate) struct OpenPack {
    pub kind: BlobKind,
    bytes: Vec<u8>,
    blobs: Vec<PackedBlob>,
    /// The generation of each blob; see [`crate::session`].
    generations: Vec<u64>,
    permit: Option<Permit>,
}

/// A durable pack that waits for its index.
#[derive(Debug)]
pub(crate) struct StoredPack {
    pub pack: IndexedPack,
    pub generations: Vec<u64>,
}

impl OpenPack {
    /// An empty pack that uses this buffer.
    pub fn new(kind: BlobKind, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { kind, bytes: buffer, blobs: Vec::new(), generations: Vec::new(), permit: None }
    }

    /// Appends a sealed blob together with the right to hold its bytes.
    pub fn add(
        &mut self,
        id: Id,
        sealed: &[u8],
        uncompressed: Option<u32>,
        generation: u64,
        permit: Permit,
    ) -> Result<()> {
        let too_large = |_| VaultError::unsupported("a pack of 4 GiB or more");
        let offset = u32::try_from(self.bytes.len()).map_err(too_large)?;
        let length = u32::try_from(sealed.len()).map_err(too_large)?;
        offset.checked_add(length).ok_or_else(|| VaultError::unsupported("a pack of 4 GiB or more"))?;
        self.bytes.extend_from_slice(sealed);
        self.blobs.push(PackedBlob { id, kind: self.kind, offset, length, uncompressed });
        self.generations.push(generation);
        match &mut self.permit {
            Some(held) => held.merge(permit),
            none => *none = Some(permit),
        }
        Ok(())
    }

    /// Whether it shall be written now.
    pub fn is_full(&self) -> bool {
        let target = if self.kind == BlobKind::Data { DATA_PACK } else { TREE_PACK };
        self.bytes.len() >= target || self.blobs.len() >= MAX_BLOBS
    }

    /// The oldest generation of its blobs; `None` while it is empty.
    pub fn oldest_generation(&self) -> Option<u64> {
        self.generations.iter().copied().min()
    }

    /// Completes the file, stores it durably and checks what the store has (level V1). Also gives the buffer back.
    pub fn store(mut self, backend: &dyn Backend, key: &SealingKey) -> Result<(StoredPack, Vec<u8>)> {
        pack::finish(key, &mut self.bytes, &self.blobs)?;
        let id = Id::of(&self.bytes);
        let name = id.to_hex();
        backend.write(FileKind::Pack, &name, &self.bytes)?;
        let Self { bytes, blobs, generations, .. } = self;
        let pack = IndexedPack { id, blobs };
        check_stored(backend, key, &pack)?;
        Ok((StoredPack { pack, generations }, bytes))
    }
}

/// Level V1: the stored file has the right length and its header, read back, lists exactly these blobs.
fn check_stored(backend: &dyn Backend, key: &SealingKey, pack: &IndexedPack) -> Result<()> {
    let IndexedPack { id, blobs } = pack;
    let wrong = |why: &str| {
        VaultError::damaged(format!("pack {id} was stored, but {why}"))
            .with_hint("the store does not keep what it is given; check its disk or service")
    };
    let name = id.to_hex();
    let length = backend.length(FileKind::Pack, &name)?;
    let expected = pack::file_length(blobs);
    if length != expected {
        return Err(wrong(&format!("has {length} instead of {expected} bytes")));
    }
    let content: u64 = blobs.iter().map(|blob| u64::from(blob.length)).sum();
    let tail = backend.read_range(FileKind::Pack, &name, content, expected - content)?;
    if pack::parse_tail(key, id, &tail)? != *blobs {
        return Err(wrong("its header lists other blobs"));
    }
    Ok(())
}
