//! Copies sealed blobs from pack to pack.

use crate::{
    core::Core,
    error::Result,
    index::IndexedPack,
    open_pack::OpenPack,
    pack::{BlobKind, PackedBlob, file_length},
    prune::plan::PackCount,
};

/// Blobs after which new packs are listed.
const INDEX_BLOBS: usize = 50_000;

/// Fills new packs with blobs that are sealed already; their bytes stay as they are.
pub(super) struct Repacker<'a> {
    core: &'a Core,
    open: [Option<OpenPack>; 2],
    stored: Vec<IndexedPack>,
    pub written: PackCount,
}

impl<'a> Repacker<'a> {
    pub fn new(core: &'a Core) -> Self {
        Self { core, open: [None, None], stored: Vec::new(), written: PackCount::default() }
    }

    /// Adds a blob that was just decoded without fault.
    pub fn add(&mut self, blob: &PackedBlob, sealed: &[u8]) -> Result<()> {
        let slot = &mut self.open[usize::from(blob.kind == BlobKind::Tree)];
        let mut pack = slot.take().unwrap_or_else(|| OpenPack::new(blob.kind, Vec::new()));
        // The memory of two packs is part of what the whole prune has asked for.
        pack.add(blob.id, sealed, blob.uncompressed, 0, self.core.options.budget.nothing())?;
        if pack.is_full() {
            return self.store(pack);
        }
        *slot = Some(pack);
        Ok(())
    }

    /// Makes all that was added durable and lists it.
    pub fn finish(&mut self) -> Result<()> {
        for kind in 0..self.open.len() {
            if let Some(pack) = self.open[kind].take() {
                self.store(pack)?;
            }
        }
        self.list()
    }

    fn store(&mut self, pack: OpenPack) -> Result<()> {
        let (stored, _) = pack.store(&*self.core.backend, &self.core.key)?;
        self.written.add(file_length(&stored.pack.blobs));
        self.stored.push(stored.pack);
        if self.stored.iter().map(|pack| pack.blobs.len()).sum::<usize>() >= INDEX_BLOBS { self.list() } else { Ok(()) }
    }

    fn list(&mut self) -> Result<()> {
        let stored = std::mem::take(&mut self.stored);
        if stored.is_empty() { Ok(()) } else { self.core.add_index(&stored) }
    }
}
