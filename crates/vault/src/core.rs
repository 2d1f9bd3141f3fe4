//! What all parts of an opened vault share: its place, its key, its options and its index.

use crate::{
    backend::{Backend, FileKind},
    blob::BlobDecoder,
    cache::ReadCache,
    crypto::SealingKey,
    error::{Result, VaultError, VaultErrorKind},
    id::Id,
    index::{Index, IndexedPack, Location},
    index_run::{Run, RunKey},
    index_wire::{self, IndexFile},
    interrupt::{self, Interrupt, lock_unless_interrupted},
    marks::Marks,
    pack::{BlobKind, PackedBlob},
    parallel::read_each,
    read_pool::ReadPool,
    unpacked,
    vault::VaultOptions,
};
use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError, TryLockResult,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How often a listing of the index is begun anew because files of it were removed meanwhile.
pub(crate) const REFRESH_TRIES: usize = 10;

/// An opened vault's insides.
#[derive(Debug)]
pub(crate) struct Core {
    pub backend: Arc<dyn Backend>,
    pub key: SealingKey,
    pub id: Id,
    pub options: VaultOptions,
    pub cache: Arc<ReadCache>,
    pub pool: ReadPool,
    index: RwLock<Index>,
    /// Held by who reads index files: others who want to can be called off while they wait.
    refreshing: Mutex<()>,
    /// Rises whenever index files were taken in or dropped.
    changes: AtomicU64,
    /// Rises whenever known index files have vanished.
    removals: AtomicU64,
    /// Packs marked for removal as of a value of `changes`; read only when something is in no index.
    marks: Mutex<Option<(u64, Arc<Marks>)>>,
    /// Index files that could not be read. They are tried again when the vault is opened anew.
    damaged: Mutex<HashSet<Id>>,
    run: Option<RunPlace>,
    decoders: Decoders,
}

#[derive(Debug)]
struct RunPlace {
    path: PathBuf,
    key: RunKey,
}

impl Core {
    /// Takes the parts together and reads the index.
    pub fn open(backend: Arc<dyn Backend>, key: SealingKey, id: Id, options: VaultOptions) -> Result<Arc<Self>> {
        let run = match &options.cache_directory {
            None => None,
            Some(directory) => {
                let mut bytes = [0; 16];
                key.derive("trivault-index-cache-v1", &mut bytes)?;
                Some(RunPlace { path: directory.join(id.to_hex()).join("index.run"), key: RunKey::new(&bytes) })
            }
        };
        let begun = run.as_ref().and_then(|place| Run::open(&place.path, &place.key).ok());
        let core = Arc::new(Self {
            cache: ReadCache::new(&options.budget),
            pool: ReadPool::new(options.workers.max(1)),
            index: RwLock::new(begun.map_or_else(Index::default, Index::with_run)),
            refreshing: Mutex::default(),
            changes: AtomicU64::default(),
            removals: AtomicU64::default(),
            marks: Mutex::default(),
            damaged: Mutex::default(),
            run,
            decoders: Decoders::default(),
            backend,
            key,
            id,
            options,
        });
        core.refresh()?;
        Ok(core)
    }

    /// Takes in what others have added to `index/`; reads all anew when they have removed something.
    pub fn refresh(&self) -> Result<()> {
        let _turn = lock_unless_interrupted(&self.refreshing)?;
        let mut index = self.index_mut();
        for _ in 0..REFRESH_TRIES {
            // Listed under the lock: a file that our own writer has taken in is durable before, and so cannot be missed here.
            let listed: HashSet<Id> = unpacked::list(&*self.backend, FileKind::Index)?.into_iter().collect();
            if index.files().iter().any(|known| !listed.contains(known)) {
                *index = Index::default();
                self.removals.fetch_add(1, Ordering::SeqCst);
                self.changes.fetch_add(1, Ordering::SeqCst);
            }
            let damaged = lock(&self.damaged).clone();
            let new: Vec<Id> =
                listed.iter().filter(|id| !index.files().contains(id) && !damaged.contains(id)).copied().collect();
            if !new.is_empty() {
                self.changes.fetch_add(1, Ordering::SeqCst);
            }
            let vanished = self.read_index_files(&new, &mut index)?;
            self.spill_if_large(&mut index);
            if !vanished {
                return Ok(());
            }
        }
        Err(VaultError::new(VaultErrorKind::StoreUnavailable, "the index changes faster than it can be read")
            .with_hint("try again when fewer programs prune this vault"))
    }

    /// Takes these files in; `true` when one was removed since it was listed, by a prune that has put its content into a new one.
    fn read_index_files(&self, ids: &[Id], index: &mut Index) -> Result<bool> {
        let mut vanished = false;
        read_each(
            ids,
            |id| self.read_index_file(id),
            |id, file| match file {
                Ok(file) => {
                    index.add_file(*id, &file.packs);
                    Ok(())
                }
                Err(error) if error.kind() == &VaultErrorKind::Missing => {
                    vanished = true;
                    Ok(())
                }
                Err(error) if matches!(error.kind(), VaultErrorKind::Damaged | VaultErrorKind::Unsupported) => {
                    tracing::error!(vault.id = %self.id, index.id = %id, error = %error, "an index file is damaged");
                    lock(&self.damaged).insert(*id);
                    Ok(())
                }
                Err(error) => Err(error.during("reading the index")),
            },
        )?;
        Ok(vanished)
    }

    /// What one index file says.
    pub fn read_index_file(&self, id: &Id) -> Result<IndexFile> {
        let json = unpacked::read(&*self.backend, &self.key, FileKind::Index, id)?;
        index_wire::from_json(&json)
            .map_err(|error| VaultError::damaged(format!("index file {id} cannot be understood")).with_source(error))
    }

    /// Stores an index file, which is not taken in; the answer is its name.
    pub fn write_index_file(&self, file: &IndexFile) -> Result<Id> {
        let json = index_wire::to_json(file)
            .map_err(|error| VaultError::internal("an index cannot be written").with_source(error))?;
        unpacked::write(&*self.backend, &self.key, FileKind::Index, &json)
    }

    /// Rises whenever a known index file has vanished: what was found in the index before may have been marked for removal.
    pub fn removals(&self) -> u64 {
        self.removals.load(Ordering::SeqCst)
    }

    fn spill_if_large(&self, index: &mut Index) {
        let Some(place) = self.run.as_ref().filter(|_| index.should_spill()) else { return };
        if let Err(error) = index.spill(&place.path, &place.key) {
            tracing::warn!(vault.id = %self.id, error = %error, "the index cache cannot be written; the index stays in memory");
        }
    }

    /// Stores an index file for packs that are durable, and takes it in.
    pub fn add_index(&self, packs: &[IndexedPack]) -> Result<()> {
        let id = self.write_index_file(&IndexFile { packs: packs.to_vec(), marked: Vec::new() })?;
        // Where that is called off, the file is durable and taken in by the next refresh.
        self.list(Self::patiently(|| self.index.try_write(), || self.index_mut())?, id, packs);
        Ok(())
    }

    /// Takes in an index file that was just stored.
    pub fn take_in(&self, id: Id, packs: &[IndexedPack]) {
        self.list(self.index_mut(), id, packs);
    }

    fn list(&self, mut index: RwLockWriteGuard<'_, Index>, id: Id, packs: &[IndexedPack]) {
        index.add_file(id, packs);
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.spill_if_large(&mut index);
    }

    /// Writes the run file now, however little there is.
    #[cfg(test)]
    pub fn spill_now(&self) {
        let place = self.run.as_ref().unwrap();
        self.index_mut().spill(&place.path, &place.key).unwrap();
    }

    /// Index files that were damaged when they were read.
    pub fn damaged_index_files(&self) -> Vec<Id> {
        lock(&self.damaged).iter().copied().collect()
    }

    /// Whether an index file lists a pack.
    pub fn lists_pack(&self, pack: &Id) -> bool {
        self.index().packs().find(pack).is_some()
    }

    /// Whether a blob is indexed.
    pub fn contains(&self, kind: BlobKind, id: &Id) -> Result<bool> {
        self.with_index(|index| index.contains(kind, id))
    }

    /// Where a blob lies, if it is indexed. Packs that are marked for removal do not count: nothing new may come to need them.
    pub fn find(&self, kind: BlobKind, id: &Id) -> Result<Option<Location>> {
        self.with_index(|index| index.find(kind, id))
    }

    /// Where a blob can be read, be it in a pack that is marked for removal; an unknown one is damage, because something referenced it.
    pub fn locate(&self, kind: BlobKind, id: &Id) -> Result<Location> {
        if let Some(location) = self.find(kind, id)? {
            return Ok(location);
        }
        let noun = if kind == BlobKind::Data { "blob" } else { "tree" };
        self.find_marked(kind, id)?.ok_or_else(|| VaultError::damaged(format!("{noun} {id} is in no index")))
    }

    /// The packs that are marked for removal now.
    pub fn fresh_marks(&self) -> Result<Marks> {
        Marks::read(self)
    }

    /// Where a blob lies in a pack that is marked for removal.
    pub fn find_marked(&self, kind: BlobKind, id: &Id) -> Result<Option<Location>> {
        let current = self.changes.load(Ordering::SeqCst);
        let mut marks = lock_unless_interrupted(&self.marks)?;
        if marks.as_ref().is_none_or(|(seen, _)| *seen != current) {
            *marks = None;
            *marks = Some((current, Arc::new(Marks::read(self)?)));
        }
        marks.as_ref().map_or(Ok(None), |(_, marks)| marks.find(kind, id))
    }

    /// Asks the index; a cache that fails while it is read is thrown away and the index is read from the vault.
    fn with_index<T>(&self, ask: impl Fn(&Index) -> Result<T>) -> Result<T> {
        let answer = ask(&*Self::patiently(|| self.index.try_read(), || self.index())?);
        let Err(error) = answer else { return answer };
        tracing::warn!(vault.id = %self.id, error = %error, "the index cache failed; reading the index from the vault");
        *self.index_mut() = Index::default();
        // Who relies on hearing of removals hears of one too many.
        self.removals.fetch_add(1, Ordering::SeqCst);
        self.refresh()?;
        ask(&self.index())
    }

    /// Tries once more when a pack has vanished that the index names: a prune elsewhere has copied what was in it to another and, a day
    /// later, deleted it.
    pub fn with_fresh_index<T>(&self, read: impl Fn() -> Result<T>) -> Result<T> {
        match read() {
            Err(error) if error.kind() == &VaultErrorKind::Missing => {
                self.refresh()?;
                read()
            }
            answer => answer,
        }
    }

    /// A whole blob, through the caches.
    pub fn load(&self, kind: BlobKind, id: &Id) -> Result<Arc<Vec<u8>>> {
        if let Some(blob) = self.cache.blob(id) {
            return Ok(blob);
        }
        let plain = Arc::new(self.with_fresh_index(|| self.read_at(&self.locate(kind, id)?))?);
        self.cache.keep(*id, &plain);
        Ok(plain)
    }

    /// The blob at a place; small ones come with their neighbourhood, for the next call.
    pub fn read_at(&self, location: &Location) -> Result<Vec<u8>> {
        let sealed = self.cache.range(&*self.backend, location)?;
        self.decode(&location.pack, &location.blob, &sealed)
    }

    /// A whole blob, straight from the store; the machine's own cache of the pack is dropped before.
    pub fn load_uncached(&self, kind: BlobKind, id: &Id) -> Result<Vec<u8>> {
        let Location { pack, blob, .. } = self.locate(kind, id)?;
        let name = pack.to_hex();
        self.backend.discard_cache(FileKind::Pack, &name);
        let sealed = self.backend.read_range(FileKind::Pack, &name, blob.offset.into(), blob.length.into())?;
        self.decode(&pack, &blob, &sealed)
    }

    /// Opens a blob's stored bytes.
    pub fn decode(&self, pack: &Id, blob: &PackedBlob, sealed: &[u8]) -> Result<Vec<u8>> {
        let mut decoder = self.decoders.take()?;
        let plain = decoder.decode_packed(&self.key, pack, blob, sealed).map(<[u8]>::to_vec);
        self.decoders.put(decoder);
        plain
    }

    /// The index, unless this thread's work is called off while another one's refresh holds it and waits for the store.
    fn patiently<G>(attempt: impl Fn() -> TryLockResult<G>, wait: impl FnOnce() -> G) -> Result<G> {
        const STEP: Duration = Duration::from_millis(1);
        loop {
            match attempt() {
                Ok(guard) => return Ok(guard),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) if Interrupt::current().is_none() => return Ok(wait()),
                Err(TryLockError::WouldBlock) => interrupt::check()?,
            }
            std::thread::sleep(STEP);
        }
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decoders that are not in use.
#[derive(Default)]
struct Decoders(Mutex<Vec<BlobDecoder>>);

impl Decoders {
    const KEEP: usize = 4;

    fn take(&self) -> Result<BlobDecoder> {
        match lock(&self.0).pop() {
            Some(decoder) => Ok(decoder),
            None => BlobDecoder::new(),
        }
    }

    fn put(&self, mut decoder: BlobDecoder) {
        decoder.trim();
        let mut kept = lock(&self.0);
        if kept.len() < Self::KEEP {
            kept.push(decoder);
        }
    }
}

impl std::fmt::Debug for Decoders {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Decoders")
    }
}

/// Locks a mutex. What it guards is left whole by every holder between two statements, so that a panic elsewhere does not spoil it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
