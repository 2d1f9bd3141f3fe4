//! Small caches in front of the store: blobs read lately, and stretches of packs.
//!
//! Neighbouring small files lie next to each other in a pack. Fetching a stretch with the first of them saves one request for each of the
//! others, which is what makes restoring many small files from S3 bearable. Both caches draw from the byte budget without waiting and give
//! everything back when somebody else waits.

use crate::{
    backend::{Backend, FileKind},
    budget::{MemoryBudget, Permit, Reclaim},
    core::lock,
    error::Result,
    id::Id,
    index::Location,
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

/// Plain bytes of blobs kept.
const BLOB_BYTES: usize = 8 << 20;
/// Blobs above this are not kept.
const MAX_BLOB: usize = 2 << 20;
/// Stored bytes fetched at once around a small blob.
const STRETCH: u32 = 512 << 10;
/// Blobs above this are fetched alone.
const SMALL: u32 = 64 << 10;
/// Stretches kept: writers fill two packs at a time.
const STRETCHES: usize = 6;

/// The read caches of a vault.
#[derive(Debug)]
pub(crate) struct ReadCache {
    budget: Arc<MemoryBudget>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Newest last.
    blobs: VecDeque<(Id, Arc<Vec<u8>>, Permit)>,
    blob_bytes: usize,
    stretches: VecDeque<Stretch>,
}

#[derive(Debug)]
struct Stretch {
    pack: Id,
    offset: u32,
    bytes: Arc<Vec<u8>>,
    _permit: Permit,
}

impl ReadCache {
    pub fn new(budget: &Arc<MemoryBudget>) -> Arc<Self> {
        let cache = Arc::new(Self { budget: Arc::clone(budget), kept: Mutex::default() });
        let weak = Arc::downgrade(&cache);
        budget.register(weak);
        cache
    }

    /// A blob read lately.
    pub fn blob(&self, id: &Id) -> Option<Arc<Vec<u8>>> {
        let mut kept = lock(&self.kept);
        let position = kept.blobs.iter().rposition(|(kept, ..)| kept == id)?;
        let entry = kept.blobs.remove(position)?;
        let blob = Arc::clone(&entry.1);
        kept.blobs.push_back(entry);
        Some(blob)
    }

    /// Keeps a blob, as far as the budget allows.
    pub fn keep(&self, id: Id, blob: &Arc<Vec<u8>>) {
        if blob.len() > MAX_BLOB {
            return;
        }
        let mut kept = lock(&self.kept);
        while kept.blob_bytes + blob.len() > BLOB_BYTES {
            let Some((_, oldest, _permit)) = kept.blobs.pop_front() else { break };
            kept.blob_bytes -= oldest.len();
        }
        if let Some(permit) = self.budget.try_acquire(blob.len() as u64) {
            kept.blob_bytes += blob.len();
            kept.blobs.push_back((id, Arc::clone(blob), permit));
        }
    }

    /// The stored bytes of a blob; small ones come with their neighbourhood.
    pub fn range(&self, backend: &dyn Backend, location: &Location) -> Result<Vec<u8>> {
        let Location { pack, blob, pack_end } = location;
        let (offset, length) = (blob.offset, blob.length);
        let name = pack.to_hex();
        if length > SMALL {
            return backend.read_range(FileKind::Pack, &name, offset.into(), length.into());
        }
        if let Some(bytes) = self.stretch(pack, offset, length) {
            return Ok(bytes);
        }
        let wanted = STRETCH.min(pack_end.saturating_sub(offset)).max(length);
        let Some(permit) = self.budget.try_acquire(wanted.into()) else {
            return backend.read_range(FileKind::Pack, &name, offset.into(), length.into());
        };
        let bytes = Arc::new(backend.read_range(FileKind::Pack, &name, offset.into(), wanted.into())?);
        let wanted = bytes.get(..length as usize).unwrap_or(&bytes).to_vec();
        let mut kept = lock(&self.kept);
        if kept.stretches.len() >= STRETCHES {
            kept.stretches.pop_front();
        }
        kept.stretches.push_back(Stretch { pack: *pack, offset, bytes, _permit: permit });
        Ok(wanted)
    }

    /// Forgets everything, so that what is read next comes from the store.
    pub fn forget(&self) {
        self.reclaim();
    }

    fn stretch(&self, pack: &Id, offset: u32, length: u32) -> Option<Vec<u8>> {
        lock(&self.kept).stretches.iter().rev().filter(|stretch| stretch.pack == *pack).find_map(|stretch| {
            let start = offset.checked_sub(stretch.offset)? as usize;
            stretch.bytes.get(start..start + length as usize).map(<[u8]>::to_vec)
        })
    }
}

impl Reclaim for ReadCache {
    fn reclaim(&self) {
        let emptied = std::mem::take(&mut *lock(&self.kept));
        drop(emptied);
    }
}
