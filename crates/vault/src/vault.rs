//! Opening a vault and the operations on it as a whole.
#![allow(unused_variables, dead_code)]

use crate::{
    backend::Backend,
    budget::MemoryBudget,
    capture::{Capture, CaptureEvents},
    error::{Result, VaultError},
    id::Id,
    lock::{Lock, LockInfo, LockMode},
    password::Password,
    reader::TreeReader,
    snapshot::{Snapshot, SnapshotDraft, SnapshotList},
};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Parameters of scrypt for a new key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kdf {
    /// Binary logarithm of N.
    pub log_n: u8,
    /// Block size.
    pub r: u32,
    /// Parallelism.
    pub p: u32,
}

impl Default for Kdf {
    /// N = 2^16, r = 8, p = 1: 64 MiB and about 0.3 s. Fixed, so that keys made under load are not weaker.
    fn default() -> Self {
        Self { log_n: 16, r: 8, p: 1 }
    }
}

/// How a vault is used by this process.
#[derive(Clone, Debug)]
pub struct VaultOptions {
    /// Shared by all vaults of the process.
    pub budget: Arc<MemoryBudget>,
    /// 1 to 19; 3 is the default.
    pub zstd_level: i32,
    /// Where the index may be cached; losing it loses nothing. `None`: the index stays in memory.
    pub cache_directory: Option<PathBuf>,
    /// Host name in lock files: `trivault-<installation>`.
    pub lock_host: String,
    /// User name in lock files: the node.
    pub lock_user: String,
    /// Threads that compress and seal, and as many that read ahead.
    pub workers: usize,
}

/// An opened vault. Clones share everything, the writer included.
#[derive(Clone, Debug)]
pub struct Vault {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    backend: Arc<dyn Backend>,
    options: VaultOptions,
    id: Id,
}

impl Vault {
    /// Makes a new vault. Fails when there is one already.
    pub fn create(backend: Arc<dyn Backend>, password: &Password, kdf: Kdf, options: VaultOptions) -> Result<Self> {
        Err(VaultError::internal("not finished"))
    }

    /// Opens an existing vault.
    pub fn open(backend: Arc<dyn Backend>, password: &Password, options: VaultOptions) -> Result<Self> {
        Err(VaultError::internal("not finished"))
    }

    /// The id in `config`; the same for as long as the vault lives.
    pub fn id(&self) -> Id {
        self.inner.id
    }

    /// The place of its files.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.inner.backend
    }

    /// Takes a lock; waits up to `wait` while others hold a conflicting one.
    pub fn lock(&self, mode: LockMode, wait: Duration) -> Result<Lock> {
        Err(VaultError::internal("not finished"))
    }

    /// Removes these lock files, whether they exist or not; for those of an expired lease.
    pub fn remove_locks(&self, ids: &[Id]) -> Result<()> {
        Err(VaultError::internal("not finished"))
    }

    /// Lock files that a dead process of this node left, or that this installation has not refreshed for 30 minutes.
    pub fn own_stale_locks(&self) -> Result<Vec<LockInfo>> {
        Err(VaultError::internal("not finished"))
    }

    /// All snapshots.
    pub fn snapshots(&self) -> Result<SnapshotList> {
        Err(VaultError::internal("not finished"))
    }

    /// One snapshot.
    pub fn snapshot(&self, id: &Id) -> Result<Snapshot> {
        Err(VaultError::internal("not finished"))
    }

    /// Removes a snapshot; its bytes are freed by a later prune. A missing one is a success.
    pub fn forget(&self, id: &Id) -> Result<()> {
        Err(VaultError::internal("not finished"))
    }

    /// Reads the tree of a snapshot.
    pub fn reader(&self, snapshot: &Snapshot) -> Result<TreeReader> {
        Err(VaultError::internal("not finished"))
    }

    /// Begins a capture. `previous` gives the content of unchanged files.
    pub fn capture(
        &self,
        draft: SnapshotDraft,
        previous: Option<&Snapshot>,
        events: Arc<dyn CaptureEvents>,
    ) -> Result<Capture> {
        Err(VaultError::internal("not finished"))
    }

    /// Takes in what other processes have added to or removed from `index/`.
    pub fn refresh(&self) -> Result<()> {
        Err(VaultError::internal("not finished"))
    }

    /// Adds a password; the answer is the id of its key file.
    pub fn add_key(&self, password: &Password, kdf: Kdf) -> Result<Id> {
        Err(VaultError::internal("not finished"))
    }

    /// Removes a key file. Refuses to remove the last one.
    pub fn remove_key(&self, id: &Id) -> Result<()> {
        Err(VaultError::internal("not finished"))
    }
}
