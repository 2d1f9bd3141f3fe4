//! All that a vault's index files say at one moment, for work that must not be surprised by what others add meanwhile.
//!
//! Unlike the index that captures and readers share, a census never changes once it is taken, so that of a blob stored twice the same copy
//! counts in every question. Memory: as [`ScratchIndex`], about 1.5 bytes for each blob beyond the newest 250,000 and 150 for each pack,
//! which for 16 million blobs in 60,000 packs is 45 MB and a file of 770 MB.

use crate::{
    backend::{Entry, FileKind},
    core::{Core, REFRESH_TRIES},
    error::{Result, VaultError, VaultErrorKind},
    id::Id,
    index::{IndexedPack, Location, Place, Slot},
    index_wire::IndexFile,
    maintenance::{MaintenanceEvents, check_cancelled},
    pack::{self, BlobKind},
    parallel::read_each,
    scratch_index::ScratchIndex,
    unpacked,
};
use chrono::{DateTime, Utc};
use std::collections::{HashMap, HashSet};

/// An index file with fewer blobs is small; writers end one after 50,000.
pub(crate) const SMALL_INDEX: usize = 5_000;
/// So many small index files are worth being joined.
pub(crate) const MANY_INDEXES: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Census {
    listed: ScratchIndex,
    marked: ScratchIndex,
    /// By the pack's number.
    pub packs: Vec<ListedPack>,
    /// Packs marked for removal.
    pub marks: HashMap<Id, Mark>,
    pub files: Vec<CountedFile>,
    /// Index files that could not be read.
    pub damaged: Vec<(Id, VaultError)>,
}

/// What the index files say of one pack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListedPack {
    /// Bytes that its file must have.
    pub length: u64,
    pub blobs: u32,
    /// Index files that list it.
    pub listings: u32,
    /// Whether they disagree.
    pub contradictory: bool,
}

/// What the index files say of one marked pack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub time: Option<DateTime<Utc>>,
    pub size: u64,
    /// 0 when nobody could tell what it holds.
    pub blobs: usize,
}

/// An index file that was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CountedFile {
    pub id: Id,
    pub blobs: usize,
    /// It says nothing; restic writes such when it rebuilds the index of an empty vault.
    pub is_empty: bool,
}

impl Census {
    /// Reads all index files.
    pub fn take(core: &Core, events: &dyn MaintenanceEvents) -> Result<Self> {
        for _ in 0..REFRESH_TRIES {
            if let Some(census) = Self::try_take(core, events)? {
                return Ok(census);
            }
        }
        Err(VaultError::new(VaultErrorKind::StoreUnavailable, "the index changes faster than it can be read")
            .with_hint("try again when fewer programs prune this vault"))
    }

    /// `None` when a file was removed since it was listed: its content is in one that was not listed.
    fn try_take(core: &Core, events: &dyn MaintenanceEvents) -> Result<Option<Self>> {
        let mut census = Self {
            listed: ScratchIndex::new(core)?,
            marked: ScratchIndex::new(core)?,
            packs: Vec::new(),
            marks: HashMap::new(),
            files: Vec::new(),
            damaged: Vec::new(),
        };
        let mut vanished = false;
        let files = unpacked::list(&*core.backend, FileKind::Index)?;
        read_each(
            &files,
            |id| core.read_index_file(id),
            |id, file| {
                check_cancelled(events)?;
                match file {
                    Ok(file) => census.add(*id, file)?,
                    Err(error) => match error.kind() {
                        VaultErrorKind::Missing => vanished = true,
                        VaultErrorKind::Damaged | VaultErrorKind::Unsupported => census.damaged.push((*id, error)),
                        _ => return Err(error.during("reading the index")),
                    },
                }
                Ok(())
            },
        )?;
        Ok((!vanished).then_some(census))
    }

    fn add(&mut self, id: Id, file: IndexFile) -> Result<()> {
        self.files.push(CountedFile { id, blobs: file.blobs(), is_empty: file == IndexFile::default() });
        self.listed.add(id, &file.packs)?;
        for pack in &file.packs {
            let length = pack::file_length(&pack.blobs);
            let blobs = u32::try_from(pack.blobs.len()).unwrap_or(u32::MAX);
            match self.number(&pack.id).and_then(|number| self.packs.get_mut(number as usize)) {
                Some(known) => {
                    known.listings += 1;
                    known.contradictory |= (known.length, known.blobs) != (length, blobs);
                }
                // Numbers are given in the order of the listings, so that this is the next one.
                None => self.packs.push(ListedPack { length, blobs, listings: 1, contradictory: false }),
            }
        }
        let mut marked: Vec<IndexedPack> = Vec::with_capacity(file.marked.len());
        for mark in file.marked {
            self.marks.insert(mark.pack.id, Mark { time: mark.time, size: mark.size, blobs: mark.pack.blobs.len() });
            marked.push(mark.pack);
        }
        self.marked.add(id, &marked)
    }

    /// A listed pack's number.
    pub fn number(&self, pack: &Id) -> Option<u32> {
        self.listed.index().packs().find(pack)
    }

    /// The listed packs' names in the order of their numbers.
    pub fn names(&self) -> &[Id] {
        &self.listed.index().packs().ids
    }

    /// The copy of a blob that counts.
    pub fn slot(&self, kind: BlobKind, id: &Id) -> Result<Option<(Slot, Place)>> {
        self.listed.index().slot(kind, id)
    }

    /// Where the copy of a blob lies that counts.
    pub fn find(&self, kind: BlobKind, id: &Id) -> Result<Option<Location>> {
        self.listed.index().find(kind, id)
    }

    /// How many copies of blobs are one too many, at least.
    pub fn duplicates(&self) -> usize {
        let listed: usize = self.packs.iter().map(|pack| pack.blobs as usize).sum();
        listed.saturating_sub(self.listed.index().len())
    }

    /// Where a blob lies in a pack that is marked for removal.
    pub fn find_marked(&self, kind: BlobKind, id: &Id) -> Result<Option<Location>> {
        self.marked.index().find(kind, id)
    }

    /// An empty set of listed blobs.
    pub fn no_blobs(&self) -> BlobSet {
        BlobSet { bits: vec![0; self.listed.index().run_len().div_ceil(64)], fresh: HashSet::new() }
    }
}

/// A set of blobs of one census: one bit for each that lies in its file.
#[derive(Debug)]
pub(crate) struct BlobSet {
    bits: Vec<u64>,
    fresh: HashSet<(BlobKind, Id)>,
}

impl BlobSet {
    /// Adds a blob; `true` when it was not in it.
    pub fn insert(&mut self, kind: BlobKind, id: &Id, slot: Slot) -> bool {
        match slot {
            Slot::Fresh => self.fresh.insert((kind, *id)),
            Slot::Run(number) => {
                let Some(word) = self.bits.get_mut(number / 64) else { return false };
                let bit = 1 << (number % 64);
                let is_new = *word & bit == 0;
                *word |= bit;
                is_new
            }
        }
    }

    /// Whether a blob is in it.
    pub fn contains(&self, kind: BlobKind, id: &Id, slot: Slot) -> bool {
        match slot {
            Slot::Fresh => self.fresh.contains(&(kind, *id)),
            Slot::Run(number) => self.bits.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1),
        }
    }
}

/// The packs in the store with their lengths.
pub(crate) fn stored_packs(core: &Core) -> Result<HashMap<Id, u64>> {
    let entries = core.backend.list(FileKind::Pack)?;
    Ok(entries.into_iter().filter_map(|Entry { name, length }| Some((name.parse().ok()?, length))).collect())
}
