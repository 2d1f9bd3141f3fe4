//! Captures: streams and trees on their way into the vault.

use crate::{
    backend::FileKind,
    capture_state::CaptureState,
    core::REFRESH_TRIES,
    directory_writer::DirectoryWriter,
    error::{Result, VaultError, VaultErrorKind},
    file_writer::FileWriter,
    id::Id,
    interrupt::{self, Interrupt},
    node::{Node, NodeKind},
    pack::BlobKind,
    snapshot::{self, SnapshotRecord, Summary},
    unpacked, verify,
};
use chrono::Utc;
use std::sync::{Arc, atomic::Ordering};

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

impl VerifyOptions {
    /// No data blob is read back, trees are.
    pub(crate) const NOTHING_READ: Self = Self { random_blobs: 0, max_bytes: 0 };
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

/// One snapshot in the making. Dropped without [`Capture::commit`], no snapshot is written; full packs that reached the store stay for a
/// retry, the rest is given up, unless [`Capture::abandon`] is called. Its lock may be released when it and all of its writers are gone.
#[derive(Debug)]
pub struct Capture {
    state: Arc<CaptureState>,
}

impl Capture {
    pub(crate) fn new(state: CaptureState) -> Self {
        Self { state: Arc::new(state) }
    }

    /// A new directory's builder, independent of all others. The tree is built from the leaves: finish a directory, then add its id to
    /// the one above.
    pub fn directory(&self) -> DirectoryWriter {
        DirectoryWriter::new(Arc::clone(&self.state))
    }

    /// A new stream. Several may be open at once, on several threads.
    pub fn file(&self, options: FileOptions) -> Result<FileWriter> {
        self.state.check_cancelled()?;
        Ok(FileWriter::new(Arc::clone(&self.state), options))
    }

    /// Looks a node up in the previous snapshot, from its root.
    pub fn previous_node(&self, path: &[&[u8]]) -> Result<Option<Node>> {
        match &self.state.previous {
            Some((_, reader)) => reader.find(path),
            None => Ok(None),
        }
    }

    /// The content of a file of a previous snapshot, without reading it; `None` when a blob of it is no longer there or the lengths do
    /// not add up, so that the file must be read again.
    pub fn reuse(&self, node: &Node) -> Result<Option<FileRecord>> {
        if node.meta.kind != NodeKind::File {
            return Ok(None);
        }
        let mut length = 0;
        for id in node.content.iter() {
            match self.state.core.find(BlobKind::Data, id)? {
                Some(location) => length += u64::from(location.blob.plain_length()),
                None => return Ok(None),
            }
        }
        let record = FileRecord { content: Arc::clone(&node.content), length, sha256: None, crc32: None };
        Ok((length == node.meta.size).then_some(record))
    }

    /// Makes what was stored so far durable and findable, so that a retry need not store it again, and ends the capture without a
    /// snapshot.
    pub fn abandon(self) -> Result<()> {
        // By a capture that is called off: as long as its last things may take.
        Interrupt::tidying(|| self.state.session.flush(&|| interrupt::check().is_err()))
    }

    /// Makes everything durable, checks it (levels V1 to V3) and writes the snapshot. `guard` is called right before the snapshot is
    /// written; its error ends the capture without one. On error no snapshot stays.
    pub fn commit(self, root: Id, guard: &mut dyn FnMut() -> Result<()>, verify: VerifyOptions) -> Result<Committed> {
        let state = &*self.state;
        let is_cancelled = || state.owner.events.is_cancelled();
        state.check_cancelled()?;
        state.session.flush(&is_cancelled)?;
        // Whatever was found stored already must be there still: somebody may have pruned meanwhile.
        state.core.refresh()?;
        let removals = state.core.removals();
        let verified_blobs = verify::check_tree(&state.core, root, verify, &is_cancelled).map_err(|error| {
            error.during("the backup was not finished because what was stored does not pass its check")
        })?;
        state.check_cancelled()?;
        guard()?;
        let record = self.record(root);
        let json = snapshot::to_json(&record)?;
        let snapshot = unpacked::write(&*state.core.backend, &state.core.key, FileKind::Snapshot, &json)?;
        if let Err(error) = snapshot::read(&state.core, &snapshot) {
            state.core.backend.remove(FileKind::Snapshot, &snapshot.to_hex())?;
            return Err(error.during("the snapshot just written could not be read back and was removed"));
        }
        // A prune that had not seen the snapshot when it looked removes index files before: either it sees the snapshot when it looks
        // again, or we see here that index files have vanished.
        if let Err(error) = self.secure(root, removals) {
            state.core.backend.remove(FileKind::Snapshot, &snapshot.to_hex())?;
            return Err(
                error.during("the snapshot just written was removed because a prune has taken away what it needs")
            );
        }
        let summary = record.summary.unwrap_or_default();
        Ok(Committed { snapshot, summary, verified_blobs })
    }

    /// Looks at everything again if index files have vanished since `removals`.
    fn secure(&self, root: Id, mut removals: u64) -> Result<()> {
        let core = &self.state.core;
        for _ in 0..REFRESH_TRIES {
            core.refresh()?;
            if core.removals() == removals {
                return Ok(());
            }
            removals = core.removals();
            verify::check_tree(core, root, VerifyOptions::NOTHING_READ, &|| false)?;
        }
        Err(VaultError::new(VaultErrorKind::StoreUnavailable, "the index changes faster than it can be read"))
    }

    fn record(&self, tree: Id) -> SnapshotRecord {
        let CaptureState { draft, owner, counts, previous, .. } = &*self.state;
        let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let summary = Summary {
            backup_start: draft.time,
            backup_end: Utc::now().max(draft.time),
            files_new: get(&counts.files_new),
            files_changed: 0,
            files_unmodified: get(&counts.files_unmodified),
            dirs_new: get(&counts.dirs_new),
            dirs_changed: 0,
            dirs_unmodified: get(&counts.dirs_unmodified),
            data_blobs: get(&owner.added.data_blobs),
            tree_blobs: get(&owner.added.tree_blobs),
            data_added: get(&owner.added.plain),
            data_added_packed: get(&owner.added.stored),
            total_files_processed: get(&counts.files_new) + get(&counts.files_unmodified),
            total_bytes_processed: get(&counts.bytes),
        };
        SnapshotRecord {
            time: draft.time,
            parent: previous.as_ref().map(|(id, _)| *id),
            tree,
            paths: draft.paths.clone(),
            hostname: draft.hostname.clone(),
            username: draft.username.clone(),
            uid: 0,
            gid: 0,
            excludes: Vec::new(),
            tags: draft.tags.clone(),
            original: None,
            program_version: draft.program_version.clone(),
            summary: Some(summary),
        }
    }
}
