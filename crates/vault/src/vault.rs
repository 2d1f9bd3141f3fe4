//! Opening a vault and the operations on it as a whole.

use crate::{
    backend::{Backend, FileKind},
    budget::MemoryBudget,
    capture::{Capture, CaptureEvents, VerifyOptions},
    capture_state::CaptureState,
    chunker::GearTable,
    config::Config,
    core::{Core, lock},
    crypto::KeyMaterial,
    error::{Result, VaultError, VaultErrorKind},
    id::Id,
    key::{self, Kdf, KeyLabel},
    lock::{HeldLocks, Lock, LockInfo, LockMode},
    password::Password,
    reader::TreeReader,
    session::Session,
    snapshot::{self, Snapshot, SnapshotDraft, SnapshotList},
    unpacked, verify,
};
use chrono::Utc;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

/// How a vault is used by this process.
#[derive(Clone, Debug)]
pub struct VaultOptions {
    /// Shared by all vaults of the process.
    pub budget: Arc<MemoryBudget>,
    /// 1 to 19, others count as the nearest; 2 is the default.
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

impl VaultOptions {
    /// Level 3, no cache directory, one worker per processor (at most 8).
    pub fn new(budget: Arc<MemoryBudget>, lock_host: impl Into<String>, lock_user: impl Into<String>) -> Self {
        Self {
            budget,
            zstd_level: 2,
            cache_directory: None,
            lock_host: lock_host.into(),
            lock_user: lock_user.into(),
            workers: std::thread::available_parallelism().map_or(2, usize::from).min(8),
        }
    }
}

/// An opened vault. Clones share everything, the writer included.
#[derive(Clone, Debug)]
pub struct Vault {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    core: Arc<Core>,
    gear: GearTable,
    /// The key file that opened it.
    key_id: Id,
    session: Mutex<Option<Arc<Session>>>,
    locks: HeldLocks,
}

impl Vault {
    /// Makes a new vault. Fails when there is one already. The key file is written first and `config` last: a crash between leaves no
    /// vault.
    pub fn create(backend: Arc<dyn Backend>, password: &Password, kdf: Kdf, options: VaultOptions) -> Result<Self> {
        let exists = || {
            VaultError::new(VaultErrorKind::Unsupported, format!("there is a vault at {} already", backend.location()))
                .with_hint("open it with its password, or choose an empty place")
        };
        backend.prepare()?;
        if Config::exists(&*backend)? {
            return Err(exists());
        }
        let master = KeyMaterial::random()?;
        let label = KeyLabel { created: Utc::now(), username: &options.lock_user, hostname: &options.lock_host };
        let key_id = key::add(&*backend, &master, password, kdf, &label, &options.budget)?;
        let key = crate::crypto::SealingKey::new(master);
        let config = Config::random()?;
        if !config.create(&*backend, &key)? {
            backend.remove(FileKind::Key, &key_id.to_hex())?;
            return Err(exists());
        }
        Self::assemble(backend, key, key_id, config.id, options)
    }

    /// Opens an existing vault.
    pub fn open(backend: Arc<dyn Backend>, password: &Password, options: VaultOptions) -> Result<Self> {
        if !Config::exists(&*backend)? {
            return Err(VaultError::new(
                VaultErrorKind::NoVault,
                format!("there is no vault at {}", backend.location()),
            ));
        }
        let opened = key::open(&*backend, password, &options.budget)?;
        let config = Config::read(&*backend, &opened.master)?;
        Self::assemble(backend, opened.master, opened.id, config.id, options)
    }

    fn assemble(
        backend: Arc<dyn Backend>,
        key: crate::crypto::SealingKey,
        key_id: Id,
        id: Id,
        options: VaultOptions,
    ) -> Result<Self> {
        let gear = GearTable::new(&key)?;
        let core = Core::open(backend, key, id, options)?;
        let inner = Inner { core, gear, key_id, session: Mutex::default(), locks: HeldLocks::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The id in `config`; the same for as long as the vault lives.
    pub fn id(&self) -> Id {
        self.inner.core.id
    }

    /// Whether the vault that lies at this place is still this one. Somebody may have removed it since it was opened, and made another one
    /// there, even with the same password: that has a master key of its own, and could read nothing of what this one would write. Reads
    /// one small file.
    ///
    /// # Errors
    /// As the store has them.
    pub fn is_still_there(&self) -> Result<bool> {
        let Core { backend, key, id, .. } = &*self.inner.core;
        match Config::read(&**backend, key) {
            Ok(config) => Ok(config.id == *id),
            // Gone, or sealed with a key that is not ours.
            Err(error) if matches!(error.kind(), VaultErrorKind::Missing | VaultErrorKind::Damaged) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.inner.core
    }

    /// The place of its files.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.inner.core.backend
    }

    /// The budget that this vault draws from.
    pub fn budget(&self) -> &Arc<MemoryBudget> {
        &self.inner.core.options.budget
    }

    /// Takes a lock; waits up to `wait` while others hold a conflicting one.
    pub fn lock(&self, mode: LockMode, wait: Duration) -> Result<Lock> {
        self.lock_unless(mode, wait, &|| false)
    }

    /// The same; who waits asks several times a second whether it is cancelled.
    ///
    /// # Errors
    /// `Locked`, `Cancelled`.
    pub fn lock_unless(&self, mode: LockMode, wait: Duration, is_cancelled: &dyn Fn() -> bool) -> Result<Lock> {
        Lock::take(&self.inner.core, &self.inner.locks, mode, wait, is_cancelled)
    }

    /// All lock files that can be read, also those of others.
    pub fn locks(&self) -> Result<Vec<LockInfo>> {
        crate::lock::list(&self.inner.core)
    }

    /// Removes these lock files, whether they exist or not; for those of an expired lease.
    pub fn remove_locks(&self, ids: &[Id]) -> Result<()> {
        ids.iter().try_for_each(|id| self.inner.core.backend.remove(FileKind::Lock, &id.to_hex()))
    }

    /// Lock files that a dead process of this node left, or that this installation has not refreshed for 30 minutes.
    pub fn own_stale_locks(&self) -> Result<Vec<LockInfo>> {
        crate::lock::own_stale(&self.inner.core, &self.inner.locks, Utc::now())
    }

    /// All snapshots.
    pub fn snapshots(&self) -> Result<SnapshotList> {
        snapshot::read_all(&self.inner.core)
    }

    /// One snapshot.
    pub fn snapshot(&self, id: &Id) -> Result<Snapshot> {
        snapshot::read(&self.inner.core, id)
    }

    /// Removes a snapshot; its bytes are freed by a later prune. A missing one is a success.
    pub fn forget(&self, id: &Id) -> Result<()> {
        self.inner.core.backend.remove(FileKind::Snapshot, &id.to_hex())
    }

    /// Makes sure that nothing which an existing snapshot needs is marked for removal: for who takes over a snapshot that an earlier attempt
    /// has written and not vouched for. All trees are read; packs that a prune has marked are listed again.
    ///
    /// # Errors
    /// `Damaged` when something of it is no longer there.
    pub fn secure(&self, snapshot: &Snapshot, is_cancelled: &dyn Fn() -> bool) -> Result<()> {
        let core = &self.inner.core;
        loop {
            core.refresh()?;
            let removals = core.removals();
            verify::check_tree(core, snapshot.record.tree, VerifyOptions::NOTHING_READ, is_cancelled)?;
            core.refresh()?;
            if core.removals() == removals {
                return Ok(());
            }
        }
    }

    /// Reads the tree of a snapshot. Takes in what other processes have stored first, when the tree is not known yet.
    pub fn reader(&self, snapshot: &Snapshot) -> Result<TreeReader> {
        let core = &self.inner.core;
        let tree = snapshot.record.tree;
        if !core.contains(crate::pack::BlobKind::Tree, &tree)? {
            core.refresh()?;
        }
        Ok(TreeReader::new(Arc::clone(core), tree))
    }

    /// Begins a capture. `previous` gives the content of unchanged files. Hold a shared lock until the capture and its writers are gone.
    pub fn capture(
        &self,
        draft: SnapshotDraft,
        previous: Option<&Snapshot>,
        events: Arc<dyn CaptureEvents>,
    ) -> Result<Capture> {
        let core = &self.inner.core;
        // What a prune has removed must not be taken for stored.
        core.refresh()?;
        let previous = match previous {
            Some(snapshot) => Some((snapshot.id, self.reader(snapshot)?)),
            None => None,
        };
        let session = self.session()?;
        let gear = self.inner.gear.clone();
        Ok(Capture::new(CaptureState::new(Arc::clone(core), session, draft, events, gear, previous)))
    }

    /// Takes in what other processes have added to or removed from `index/`.
    pub fn refresh(&self) -> Result<()> {
        self.inner.core.refresh()
    }

    /// Index files that could not be read when this vault was opened or refreshed.
    pub fn damaged_index_files(&self) -> Vec<Id> {
        self.inner.core.damaged_index_files()
    }

    #[cfg(test)]
    pub(crate) fn spill_index_now(&self) {
        self.inner.core.spill_now();
    }

    /// The key file that opened this vault.
    pub fn key_id(&self) -> Id {
        self.inner.key_id
    }

    /// Adds a password; the answer is the id of its key file.
    pub fn add_key(&self, password: &Password, kdf: Kdf) -> Result<Id> {
        let Core { backend, key, options, .. } = &*self.inner.core;
        let label = KeyLabel { created: Utc::now(), username: &options.lock_user, hostname: &options.lock_host };
        key::add(&**backend, key.material(), password, kdf, &label, &options.budget)
    }

    /// Removes a key file; a missing one is a success. Refuses to remove the last one.
    pub fn remove_key(&self, id: &Id) -> Result<()> {
        let backend = self.backend();
        let keys = unpacked::list(&**backend, FileKind::Key)?;
        if keys.iter().all(|key| key == id) && !keys.is_empty() {
            return Err(VaultError::unsupported("the last key of a vault cannot be removed")
                .with_hint("add another password first"));
        }
        backend.remove(FileKind::Key, &id.to_hex())
    }

    /// The writer, with one more capture in it.
    fn session(&self) -> Result<Arc<Session>> {
        let mut slot = lock(&self.inner.session);
        if let Some(session) = slot.as_ref().filter(|session| session.join()) {
            return Ok(Arc::clone(session));
        }
        let session = Session::start(&self.inner.core)?;
        *slot = Some(Arc::clone(&session));
        Ok(session)
    }
}
