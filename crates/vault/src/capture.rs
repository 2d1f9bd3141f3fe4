//! Captures: streams and trees on their way into the vault.
#![allow(unused_variables, dead_code)]

use crate::{
    error::{Result, VaultError},
    id::Id,
    node::{Node, NodeMeta},
    snapshot::Summary,
};
use std::sync::Arc;

/// What a caller wants to hear of a capture while it runs. Called from several threads, often: must be cheap.
pub trait CaptureEvents: Send + Sync {
    /// So many more bytes lie in the store (sealed size of new blobs).
    fn stored(&self, bytes: u64);
    /// Whether the capture shall stop; every call on it then fails as cancelled.
    fn is_cancelled(&self) -> bool;
}

/// How a stream is cut into chunks. A source keeps its choice for life: changing it stores all anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutting {
    /// Content-defined, mean 64 KiB, growing with the offset.
    ContentDefined,
    /// Fixed: 16 KiB up to 16 GiB of offset, 64 KiB up to 256 GiB, then 1 MiB.
    Pages,
    /// Only where [`FileWriter::cut`] is called, and at 8 MiB.
    AtMarks,
}

/// How a stream is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// Where chunks end.
    pub cutting: Cutting,
    /// Also take a SHA-256 over the whole stream: a second hash of every byte.
    pub whole_digest: bool,
}

/// A stream that is stored (or about to be): what a file node needs. Can be put into any directory of its capture, several times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRecord {
    /// Blobs in their order.
    pub content: Arc<Vec<Id>>,
    /// Bytes.
    pub length: u64,
    /// Over the whole stream, when asked for.
    pub sha256: Option<[u8; 32]>,
    /// CRC-32 (IEEE, as in gzip) over the whole stream; `None` when the content was taken over from a previous snapshot unread.
    pub crc32: Option<u32>,
}

/// Which blobs are read back before a capture counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyOptions {
    /// How many data blobs, chosen at random. All trees are read in any case.
    pub random_blobs: usize,
    /// Upper limit of their plain bytes.
    pub max_bytes: u64,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { random_blobs: 32, max_bytes: 64 << 20 }
    }
}

/// A finished capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The new snapshot.
    pub snapshot: Id,
    /// Its figures, as stored in the snapshot: `data_added` plain bytes of new blobs, `data_added_packed` their stored bytes.
    pub summary: Summary,
    /// Data blobs read back.
    pub verified_blobs: usize,
}

/// One snapshot in the making. Dropped without [`Capture::commit`], no snapshot is written; stored blobs stay for a retry.
#[derive(Debug)]
pub struct Capture {}

impl Capture {
    /// A new directory's builder, independent of all others. The tree is built from the leaves: finish a directory, then add its id to
    /// the one above.
    pub fn directory(&self) -> DirectoryWriter {
        DirectoryWriter {}
    }

    /// A new stream. Several may be open at once, on several threads.
    pub fn file(&self, options: FileOptions) -> Result<FileWriter> {
        Err(VaultError::internal("not finished"))
    }

    /// Looks a node up in the previous snapshot, from its root.
    pub fn previous_node(&self, path: &[&[u8]]) -> Result<Option<Node>> {
        Err(VaultError::internal("not finished"))
    }

    /// The content of a file of a previous snapshot, without reading it; `None` when a blob of it is no longer there or the lengths do
    /// not add up, so that the file must be read again.
    pub fn reuse(&self, node: &Node) -> Result<Option<FileRecord>> {
        Err(VaultError::internal("not finished"))
    }

    /// Makes everything durable, checks it and writes the snapshot. `guard` is called right before the snapshot is written; its error
    /// ends the capture without one. On error no snapshot stays.
    pub fn commit(self, root: Id, guard: &mut dyn FnMut() -> Result<()>, verify: VerifyOptions) -> Result<Committed> {
        Err(VaultError::internal("not finished"))
    }
}

/// Builds one directory. Names must come in strictly ascending byte order.
#[derive(Debug)]
pub struct DirectoryWriter {}

impl DirectoryWriter {
    /// Adds a file; `meta.size` is replaced by the record's length.
    pub fn add_file(&mut self, name: &[u8], meta: &NodeMeta, record: &FileRecord) -> Result<()> {
        Err(VaultError::internal("not finished"))
    }

    /// Adds a directory whose own builder is finished.
    pub fn add_directory(&mut self, name: &[u8], meta: &NodeMeta, subtree: Id) -> Result<()> {
        Err(VaultError::internal("not finished"))
    }

    /// Adds a node without content: symlink, device, fifo, socket.
    pub fn add_special(&mut self, name: &[u8], meta: &NodeMeta) -> Result<()> {
        Err(VaultError::internal("not finished"))
    }

    /// Stores the tree; the answer is its id.
    pub fn finish(self) -> Result<Id> {
        Err(VaultError::internal("not finished"))
    }
}

/// One stream on its way into the vault. Writes block while the process-wide byte budget is used up.
#[derive(Debug)]
pub struct FileWriter {}

impl FileWriter {
    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Err(VaultError::internal("not finished"))
    }

    /// Appends zero bytes; cheaper than writing them.
    pub fn write_zeros(&mut self, length: u64) -> Result<()> {
        Err(VaultError::internal("not finished"))
    }

    /// Ends the current chunk here; only for [`Cutting::AtMarks`], elsewhere without effect.
    pub fn cut(&mut self) -> Result<()> {
        Err(VaultError::internal("not finished"))
    }

    /// Ends the stream. Its blobs are durable when the capture is committed.
    pub fn finish(self) -> Result<FileRecord> {
        Err(VaultError::internal("not finished"))
    }
}
