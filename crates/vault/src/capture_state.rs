//! What the parts of one capture share.

use crate::{
    capture::CaptureEvents,
    chunker::GearTable,
    core::{Core, lock},
    error::{Result, VaultError},
    id::Id,
    pack::BlobKind,
    reader::TreeReader,
    session::{Added, BlobOwner, Session},
    snapshot::SnapshotDraft,
};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, atomic::AtomicU64},
};

/// Counts of what went into the capture's trees.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub files_new: AtomicU64,
    pub files_unmodified: AtomicU64,
    pub dirs_new: AtomicU64,
    pub dirs_unmodified: AtomicU64,
    pub bytes: AtomicU64,
}

/// The capture as the session sees it. Apart from [`CaptureState`], because queued blobs hold it and must not keep the session alive.
pub(crate) struct Owner {
    pub events: Arc<dyn CaptureEvents>,
    pub added: Added,
}

impl BlobOwner for Owner {
    fn is_cancelled(&self) -> bool {
        self.events.is_cancelled()
    }

    fn added(&self) -> &Added {
        &self.added
    }

    fn stored(&self, bytes: u64) {
        self.events.stored(bytes);
    }
}

/// One capture's shared state. Dropped, it leaves the session.
pub(crate) struct CaptureState {
    pub core: Arc<Core>,
    pub session: Arc<Session>,
    pub draft: SnapshotDraft,
    pub owner: Arc<Owner>,
    blob_owner: Arc<dyn BlobOwner>,
    pub gear: GearTable,
    pub zeros: Zeros,
    pub counts: Counts,
    pub previous: Option<(Id, TreeReader)>,
}

impl CaptureState {
    pub fn new(
        core: Arc<Core>,
        session: Arc<Session>,
        draft: SnapshotDraft,
        events: Arc<dyn CaptureEvents>,
        gear: GearTable,
        previous: Option<(Id, TreeReader)>,
    ) -> Self {
        let owner = Arc::new(Owner { events, added: Added::default() });
        let blob_owner: Arc<dyn BlobOwner> = owner.clone();
        let (zeros, counts) = (Zeros::default(), Counts::default());
        Self { core, session, draft, owner, blob_owner, gear, zeros, counts, previous }
    }

    /// Fails when the caller has asked to stop.
    pub fn check_cancelled(&self) -> Result<()> {
        if self.owner.is_cancelled() { Err(VaultError::cancelled()) } else { Ok(()) }
    }

    /// Stores a blob unless the vault has it.
    pub fn store(&self, kind: BlobKind, id: Id, plain: &[u8]) -> Result<bool> {
        self.session.store(kind, id, plain, &self.blob_owner)
    }
}

impl Drop for CaptureState {
    fn drop(&mut self) {
        self.session.leave();
    }
}

impl fmt::Debug for CaptureState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CaptureState(of {:?})", self.draft.hostname)
    }
}

/// Ids of all-zero blobs by length: sparse files and empty pages are hashed and looked up once.
#[derive(Debug, Default)]
pub(crate) struct Zeros(Mutex<HashMap<usize, Id>>);

/// Odd lengths are many and rare; they are not remembered beyond this number.
const MAX_LENGTHS: usize = 64;

impl Zeros {
    /// Stores a blob of zeros, the first time; the answer is its id.
    pub fn store(&self, capture: &CaptureState, length: usize) -> Result<Id> {
        if let Some(id) = lock(&self.0).get(&length) {
            return Ok(*id);
        }
        let zeros = vec![0; length];
        let id = Id::of(&zeros);
        capture.store(BlobKind::Data, id, &zeros)?;
        let mut known = lock(&self.0);
        if known.len() < MAX_LENGTHS {
            known.insert(length, id);
        }
        Ok(id)
    }
}
