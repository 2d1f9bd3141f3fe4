//! The writer of a vault: one for all captures that run at the same time.
//!
//! ```text
//! streams (cut, hash, look up) -> queue -> workers (compress, seal, check) -> open packs -> uploaders (store, check) -> index
//! ```
//!
//! Every blob belongs to the **generation** in which it was queued. A commit closes the current generation and waits until no blob of it
//! or an older one is outstanding, which means: in a durable pack that a durable index lists. A capture that found a blob already on its
//! way relies on the same count, because that blob's generation is not newer than its own commit.
//!
//! A failure to store anything fails all captures of the session; the next capture begins a new one. Threads live as long as captures do.
//! Lock order: the state's mutex is never held while the store, the index or the budget is waited for.

use crate::{
    budget::{Permit, Reclaim},
    core::{Core, lock},
    error::{Result, VaultError},
    id::Id,
    interrupt::Interrupt,
    open_pack::{OpenPack, StoredPack},
    pack::BlobKind,
    session_threads,
    tally::Tally,
};
use std::{
    collections::{HashSet, VecDeque},
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Plain bytes that may lie between the streams and the workers.
const QUEUE_BYTES: usize = 8 << 20;
/// Packs that may wait for an uploader before the workers pause.
pub(crate) const MAX_UPLOADS: usize = 1;
/// Threads that store packs.
pub(crate) const UPLOADERS: usize = 2;
/// Open data packs; a blob goes into one of them at random, so that positions tell less about the lengths of a known file's chunks.
pub(crate) const DATA_PACKS: usize = 2;
/// How often somebody who waits looks for a cancellation.
pub(crate) const WAIT_STEP: Duration = Duration::from_millis(100);
/// Pack buffers kept for re-use.
const KEPT_BUFFERS: usize = 2;
/// Buffers for plain blobs kept for re-use, and the capacity above which they are not.
const KEPT_BLOBS: usize = 32;
const MAX_KEPT_BLOB: usize = 512 << 10;

/// Counts what one capture adds to the vault.
#[derive(Debug, Default)]
pub(crate) struct Added {
    pub data_blobs: AtomicU64,
    pub tree_blobs: AtomicU64,
    /// Plain bytes.
    pub plain: AtomicU64,
    /// Stored bytes.
    pub stored: AtomicU64,
}

/// What a capture gives the session with each blob.
pub(crate) trait BlobOwner: Send + Sync {
    /// Whether the capture was asked to stop.
    fn is_cancelled(&self) -> bool;
    /// Its counters.
    fn added(&self) -> &Added;
    /// So many bytes were put into a pack for it.
    fn stored(&self, bytes: u64);
}

/// A blob on its way to the workers.
pub(crate) struct Job {
    pub kind: BlobKind,
    pub id: Id,
    pub plain: Vec<u8>,
    pub permit: Permit,
    pub generation: u64,
    pub owner: Arc<dyn BlobOwner>,
}

/// The writer's shared state and its threads' meeting point.
pub(crate) struct Session {
    pub core: Arc<Core>,
    state: Mutex<State>,
    /// There may be something to compress.
    pub work: Condvar,
    /// There may be something to upload.
    pub upload: Condvar,
    /// Something has moved on.
    pub progress: Condvar,
}

pub(crate) struct State {
    pub failure: Option<VaultError>,
    captures: usize,
    /// The last capture has gone; threads end.
    pub closing: bool,
    /// Of the last capture, which waits for what is being written.
    pub ending: Option<Interrupt>,
    /// A commit waits for an index of what is stored.
    pub index_wanted: bool,
    pub queue: VecDeque<Job>,
    pub queued_bytes: usize,
    pub pending: HashSet<(BlobKind, Id)>,
    generation: u64,
    /// Blobs that no index lists yet.
    pub outstanding: Tally,
    /// Of these, blobs in the queue or with a worker.
    pub with_workers: Tally,
    /// Of these, blobs in durable packs.
    pub uploaded: Tally,
    pub open: [Option<OpenPack>; DATA_PACKS + 1],
    pub uploads: VecDeque<OpenPack>,
    /// Threads that are writing to the store.
    pub writing: usize,
    pub stored: Vec<StoredPack>,
    pub indexed_at: Instant,
    pub pack_buffers: Vec<Vec<u8>>,
    pub blob_buffers: Vec<Vec<u8>>,
}

impl Session {
    /// Begins a session with one capture in it.
    pub fn start(core: &Arc<Core>) -> Result<Arc<Self>> {
        core.backend.sweep()?;
        let state = State {
            failure: None,
            captures: 1,
            closing: false,
            ending: None,
            index_wanted: false,
            queue: VecDeque::new(),
            queued_bytes: 0,
            pending: HashSet::new(),
            generation: 0,
            outstanding: Tally::default(),
            with_workers: Tally::default(),
            uploaded: Tally::default(),
            open: [const { None }; DATA_PACKS + 1],
            uploads: VecDeque::new(),
            writing: 0,
            stored: Vec::new(),
            indexed_at: Instant::now(),
            pack_buffers: Vec::new(),
            blob_buffers: Vec::new(),
        };
        let session = Arc::new(Self {
            core: Arc::clone(core),
            state: Mutex::new(state),
            work: Condvar::new(),
            upload: Condvar::new(),
            progress: Condvar::new(),
        });
        session_threads::start(&session)?;
        let weak: Weak<Self> = Arc::downgrade(&session);
        core.options.budget.register(weak);
        Ok(session)
    }

    /// Lets another capture in, unless the session is over.
    pub fn join(&self) -> bool {
        let mut state = self.state();
        let open = !state.closing && state.failure.is_none();
        if open {
            state.captures += 1;
        }
        open
    }

    /// Lets a capture go. With the last one goes what has not reached the store yet; packs that have are listed in an index, so that a
    /// retry finds them. Returns only when nothing is being written any more: afterwards the capture's lock may be released.
    pub fn leave(&self) {
        let mut state = self.state();
        state.captures -= 1;
        if state.captures > 0 {
            return;
        }
        state.closing = true;
        // A capture that is called off waits for a silent store no longer than for its own requests.
        state.ending = Interrupt::current().map(Interrupt::patient);
        state.give_up();
        self.work.notify_all();
        self.upload.notify_all();
        self.progress.notify_all();
        while state.writing > 0 {
            state = self.wait(&self.progress, state);
        }
        let listable = state.failure.is_none();
        drop(state);
        if listable && let Err(error) = Interrupt::tidying(|| self.write_index()) {
            tracing::warn!(vault.id = %self.core.id, error = %error, "packs of an ended backup stay unlisted; a retry stores them again");
        }
    }

    /// Stores a blob unless the vault has it; `true` when it is new. Blocks while queue or budget are full.
    pub fn store(&self, kind: BlobKind, id: Id, plain: &[u8], owner: &Arc<dyn BlobOwner>) -> Result<bool> {
        {
            let state = self.state();
            state.check()?;
            if state.pending.contains(&(kind, id)) {
                return Ok(false);
            }
        }
        // After the look at what is on its way: a blob is in the index before it leaves that list.
        if self.core.contains(kind, &id)? {
            return Ok(false);
        }
        let permit = self.core.options.budget.acquire(plain.len() as u64, &|| owner.is_cancelled())?;
        let mut state = self.state();
        while state.queued_bytes > 0 && state.queued_bytes + plain.len() > QUEUE_BYTES {
            state = self.wait(&self.progress, state);
            state.check()?;
            if owner.is_cancelled() {
                return Err(VaultError::cancelled());
            }
        }
        state.check()?;
        if !state.pending.insert((kind, id)) {
            return Ok(false);
        }
        let generation = state.generation;
        state.outstanding.add(generation, 1);
        state.with_workers.add(generation, 1);
        state.queued_bytes += plain.len();
        let mut buffer = state.blob_buffers.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(plain);
        state.queue.push_back(Job { kind, id, plain: buffer, permit, generation, owner: Arc::clone(owner) });
        drop(state);
        self.work.notify_one();
        let added = owner.added();
        let blobs = if kind == BlobKind::Data { &added.data_blobs } else { &added.tree_blobs };
        blobs.fetch_add(1, Ordering::Relaxed);
        added.plain.fetch_add(plain.len() as u64, Ordering::Relaxed);
        Ok(true)
    }

    /// Returns when every blob queued so far lies in a durable pack that a durable index lists.
    pub fn flush(&self, is_cancelled: &dyn Fn() -> bool) -> Result<()> {
        let mut state = self.state();
        let last = state.generation;
        state.generation += 1;
        loop {
            state.check()?;
            if is_cancelled() {
                return Err(VaultError::cancelled());
            }
            let outstanding = state.outstanding.up_to(last);
            if outstanding == 0 {
                return Ok(());
            }
            if state.with_workers.up_to(last) == 0 && state.seal_open_packs(last) {
                self.upload.notify_all();
            }
            if state.uploaded.up_to(last) == outstanding {
                // By a thread of the session: who is called off in the middle of it must not fail the others' captures.
                state.index_wanted = true;
                self.upload.notify_one();
            }
            state = self.wait(&self.progress, state);
        }
    }

    /// Lists the stored packs in an index file.
    pub fn write_index(&self) -> Result<()> {
        let mut state = self.state();
        if state.stored.is_empty() {
            return Ok(());
        }
        state.index_wanted = false;
        let stored = std::mem::take(&mut state.stored);
        state.indexed_at = Instant::now();
        state.uploaded = Tally::default();
        state.writing += 1;
        drop(state);
        let (packs, generations): (Vec<_>, Vec<_>) =
            stored.into_iter().map(|StoredPack { pack, generations }| (pack, generations)).unzip();
        let written = self.core.add_index(&packs);
        let mut state = self.state();
        state.writing -= 1;
        match written {
            Ok(()) => {
                for blob in packs.iter().flat_map(|pack| &pack.blobs) {
                    state.pending.remove(&(blob.kind, blob.id));
                }
                for generation in generations.into_iter().flatten() {
                    state.outstanding.subtract(generation, 1);
                }
            }
            Err(error) => state.fail(error),
        }
        let result = state.check();
        drop(state);
        self.progress.notify_all();
        result
    }

    /// Locks the state.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Waits for a signal, but not for long.
    pub fn wait<'a>(&self, signal: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        signal.wait_timeout(state, WAIT_STEP).unwrap_or_else(PoisonError::into_inner).0
    }
}

impl State {
    /// The failure of the session, if it has one.
    pub fn check(&self) -> Result<()> {
        self.failure.as_ref().map_or(Ok(()), |failure| Err(failure.duplicate()))
    }

    /// Fails the session; the first failure counts. Nothing that is still held will be stored.
    pub fn fail(&mut self, error: VaultError) {
        self.failure.get_or_insert(error);
        self.give_up();
    }

    /// Lets go of everything that has not reached the store.
    fn give_up(&mut self) {
        self.queue.clear();
        self.queued_bytes = 0;
        self.uploads.clear();
        self.open = [const { None }; DATA_PACKS + 1];
    }

    /// Hands the open packs that hold blobs of this or an older generation to the uploaders; whether there were any.
    pub fn seal_open_packs(&mut self, generation: u64) -> bool {
        let before = self.uploads.len();
        for slot in &mut self.open {
            if slot.as_ref().is_some_and(|pack| pack.oldest_generation().is_some_and(|oldest| oldest <= generation)) {
                self.uploads.extend(slot.take());
            }
        }
        self.uploads.len() > before
    }

    /// Keeps a plain blob's buffer for the next one.
    pub fn give_back_blob(&mut self, buffer: Vec<u8>) {
        if self.blob_buffers.len() < KEPT_BLOBS && buffer.capacity() <= MAX_KEPT_BLOB {
            self.blob_buffers.push(buffer);
        }
    }

    /// Keeps a pack's buffer for the next one.
    pub fn give_back_pack(&mut self, buffer: Vec<u8>) {
        if self.pack_buffers.len() < KEPT_BUFFERS && buffer.capacity() <= 2 * crate::open_pack::DATA_PACK {
            self.pack_buffers.push(buffer);
        }
    }
}

impl Reclaim for Session {
    fn reclaim(&self) {
        let mut state = self.state();
        state.pack_buffers.clear();
        if state.seal_open_packs(u64::MAX) {
            self.upload.notify_all();
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Session")
    }
}
