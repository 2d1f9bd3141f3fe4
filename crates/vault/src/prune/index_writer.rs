//! Writes index files of a good size.

use crate::{
    core::Core,
    error::Result,
    id::Id,
    index::IndexedPack,
    index_wire::{IndexFile, MarkedPack},
};

/// Blobs of one index file; restic's figure.
const MAX_BLOBS: usize = 50_000;
/// Packs of one index file, for those without blobs.
const MAX_PACKS: usize = 10_000;

/// Collects packs and marks and writes them as index files.
pub(super) struct IndexWriter<'a> {
    core: &'a Core,
    next: IndexFile,
    blobs: usize,
    /// Files written.
    pub written: Vec<Id>,
}

impl<'a> IndexWriter<'a> {
    pub fn new(core: &'a Core) -> Self {
        Self { core, next: IndexFile::default(), blobs: 0, written: Vec::new() }
    }

    /// Lists a pack.
    pub fn list(&mut self, pack: IndexedPack) -> Result<()> {
        self.blobs += pack.blobs.len();
        self.next.packs.push(pack);
        self.write_if_full()
    }

    /// Marks a pack.
    pub fn mark(&mut self, marked: MarkedPack) -> Result<()> {
        self.blobs += marked.pack.blobs.len();
        self.next.marked.push(marked);
        self.write_if_full()
    }

    fn write_if_full(&mut self) -> Result<()> {
        let full = self.blobs >= MAX_BLOBS || self.next.packs.len() + self.next.marked.len() >= MAX_PACKS;
        if full { self.finish() } else { Ok(()) }
    }

    /// Writes what is left.
    pub fn finish(&mut self) -> Result<()> {
        if self.next == IndexFile::default() {
            return Ok(());
        }
        self.written.push(self.core.write_index_file(&self.next)?);
        self.next = IndexFile::default();
        self.blobs = 0;
        Ok(())
    }
}
