//! What all parts of an opened vault share: its place, its key, its options and its index.

use crate::{
    backend::{Backend, FileKind},
    blob::BlobDecoder,
    cache::ReadCache,
    crypto::SealingKey,
    error::{Result, VaultError, VaultErrorKind},
    id::Id,
    index::{self, Index, IndexedPack, Location},
    index_run::{Run, RunKey},
    pack::{BlobKind, PackedBlob},
    parallel::read_each,
    read_pool::ReadPool,
    unpacked,
    vault::VaultOptions,
};
use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

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
        let mut index = self.index_mut();
        // Listed under the lock: a file that our own writer has taken in is durable before, and so cannot be missed here.
        let listed: HashSet<Id> = unpacked::list(&*self.backend, FileKind::Index)?.into_iter().collect();
        if index.files().iter().any(|known| !listed.contains(known)) {
            *index = Index::default();
        }
        let damaged = lock(&self.damaged).clone();
        let new: Vec<Id> =
            listed.iter().filter(|id| !index.files().contains(id) && !damaged.contains(id)).copied().collect();
        self.read_index_files(&new, &mut index)?;
        self.spill_if_large(&mut index);
        Ok(())
    }

    fn read_index_files(&self, ids: &[Id], index: &mut Index) -> Result<()> {
        read_each(
            ids,
            |id| self.read_index_file(id),
            |id, packs| match packs {
                Ok(packs) => {
                    index.add_file(*id, &packs);
                    Ok(())
                }
                // Removed since it was listed: by a prune, which put its content into a new file.
                Err(error) if error.kind() == &VaultErrorKind::Missing => Ok(()),
                Err(error) if matches!(error.kind(), VaultErrorKind::Damaged | VaultErrorKind::Unsupported) => {
                    tracing::error!(vault.id = %self.id, index.id = %id, error = %error, "an index file is damaged");
                    lock(&self.damaged).insert(*id);
                    Ok(())
                }
                Err(error) => Err(error.during("reading the index")),
            },
        )
    }

    fn read_index_file(&self, id: &Id) -> Result<Vec<IndexedPack>> {
        let json = unpacked::read(&*self.backend, &self.key, FileKind::Index, id)?;
        index::from_json(&json)
            .map_err(|error| VaultError::damaged(format!("index file {id} cannot be understood")).with_source(error))
    }

    fn spill_if_large(&self, index: &mut Index) {
        let Some(place) = self.run.as_ref().filter(|_| index.should_spill()) else { return };
        if let Err(error) = index.spill(&place.path, &place.key) {
            tracing::warn!(vault.id = %self.id, error = %error, "the index cache cannot be written; the index stays in memory");
        }
    }

    /// Stores an index file for packs that are durable, and takes it in.
    pub fn add_index(&self, packs: &[IndexedPack]) -> Result<()> {
        let json = index::to_json(packs)
            .map_err(|error| VaultError::internal("an index cannot be written").with_source(error))?;
        let id = unpacked::write(&*self.backend, &self.key, FileKind::Index, &json)?;
        let mut index = self.index_mut();
        index.add_file(id, packs);
        self.spill_if_large(&mut index);
        Ok(())
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

    /// Whether a blob is indexed.
    pub fn contains(&self, kind: BlobKind, id: &Id) -> Result<bool> {
        self.with_index(|index| index.contains(kind, id))
    }

    /// Where a blob lies, if it is indexed.
    pub fn find(&self, kind: BlobKind, id: &Id) -> Result<Option<Location>> {
        self.with_index(|index| index.find(kind, id))
    }

    /// Where a blob lies; an unknown one is damage, because something referenced it.
    pub fn locate(&self, kind: BlobKind, id: &Id) -> Result<Location> {
        let noun = if kind == BlobKind::Data { "blob" } else { "tree" };
        self.find(kind, id)?.ok_or_else(|| VaultError::damaged(format!("{noun} {id} is in no index")))
    }

    /// Asks the index; a cache that fails while it is read is thrown away and the index is read from the vault.
    fn with_index<T>(&self, ask: impl Fn(&Index) -> Result<T>) -> Result<T> {
        let answer = ask(&self.index());
        let Err(error) = answer else { return answer };
        tracing::warn!(vault.id = %self.id, error = %error, "the index cache failed; reading the index from the vault");
        *self.index_mut() = Index::default();
        self.refresh()?;
        ask(&self.index())
    }

    /// A whole blob, through the caches.
    pub fn load(&self, kind: BlobKind, id: &Id) -> Result<Arc<Vec<u8>>> {
        if let Some(blob) = self.cache.blob(id) {
            return Ok(blob);
        }
        let location = self.locate(kind, id)?;
        let sealed = self.cache.range(&*self.backend, &location)?;
        let plain = Arc::new(self.decode(&location.pack, &location.blob, &sealed)?);
        self.cache.keep(*id, &plain);
        Ok(plain)
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
