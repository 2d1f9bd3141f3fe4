//! Builds one directory of a capture.

use crate::{
    capture::FileRecord,
    capture_state::CaptureState,
    error::{Result, VaultError},
    id::Id,
    node::{NodeKind, NodeMeta},
    pack::BlobKind,
    tree::TreeBuilder,
};
use std::sync::{Arc, atomic::Ordering};

/// Builds one directory. Names must come in strictly ascending byte order. Memory holds the directory's wire form.
#[derive(Debug)]
pub struct DirectoryWriter {
    capture: Arc<CaptureState>,
    tree: TreeBuilder,
}

impl DirectoryWriter {
    pub(crate) fn new(capture: Arc<CaptureState>) -> Self {
        Self { capture, tree: TreeBuilder::new() }
    }

    /// Adds a file; `meta.size` is replaced by the record's length.
    pub fn add_file(&mut self, name: &[u8], meta: &NodeMeta, record: &FileRecord) -> Result<()> {
        if meta.kind != NodeKind::File {
            return Err(VaultError::internal("a stream was added as something that is not a file"));
        }
        let sized = NodeMeta { size: record.length, ..meta.clone() };
        self.tree.add(name, &sized, &record.content, None)?;
        let counts = &self.capture.counts;
        let files = if record.crc32.is_some() { &counts.files_new } else { &counts.files_unmodified };
        files.fetch_add(1, Ordering::Relaxed);
        counts.bytes.fetch_add(record.length, Ordering::Relaxed);
        Ok(())
    }

    /// Adds a directory whose own builder is finished.
    pub fn add_directory(&mut self, name: &[u8], meta: &NodeMeta, subtree: Id) -> Result<()> {
        if meta.kind != NodeKind::Directory {
            return Err(VaultError::internal("a tree was added as something that is not a directory"));
        }
        self.tree.add(name, meta, &[], Some(subtree))
    }

    /// Adds a node without content: symlink, device, fifo, socket.
    pub fn add_special(&mut self, name: &[u8], meta: &NodeMeta) -> Result<()> {
        if matches!(meta.kind, NodeKind::File | NodeKind::Directory) {
            return Err(VaultError::internal("a file or directory was added without its content"));
        }
        self.tree.add(name, meta, &[], None)
    }

    /// Stores the tree; the answer is its id.
    pub fn finish(self) -> Result<Id> {
        self.capture.check_cancelled()?;
        let json = self.tree.finish();
        let id = Id::of(&json);
        let new = self.capture.store(BlobKind::Tree, id, &json)?;
        let counts = &self.capture.counts;
        let directories = if new { &counts.dirs_new } else { &counts.dirs_unmodified };
        directories.fetch_add(1, Ordering::Relaxed);
        Ok(id)
    }
}
