//! Which blob lies where: the content of all index files of a vault.
//!
//! What a process has learnt lately is a map in memory; the bulk may lie in a sorted file ([`crate::index_run`]) that is only a cache:
//! losing it costs reading `index/` again.

use crate::{
    error::Result,
    id::Id,
    index_run::{Run, RunKey},
    pack::{BlobKind, PackedBlob},
};
use std::collections::{HashMap, HashSet};

/// Blobs in memory that are worth a new run file.
const SPILL_BLOBS: usize = 250_000;

/// Where a blob lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub pack: Id,
    /// Its place in the pack.
    pub blob: PackedBlob,
    /// End of the last blob known in that pack: reading on is allowed up to here.
    pub pack_end: u32,
}

/// A blob's place with the pack as a number into the table of packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub pack: u32,
    pub offset: u32,
    pub length: u32,
    pub uncompressed: Option<u32>,
}

/// A pack and all of its blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexedPack {
    pub id: Id,
    pub blobs: Vec<PackedBlob>,
}

/// Where an index keeps what it knows of a blob, so that one bit per blob can be kept beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// In memory.
    Fresh,
    /// The record of this number in the run file.
    Run(usize),
}

/// The known packs; their numbers never change while an [`Index`] lives.
#[derive(Debug, Default)]
pub(crate) struct PackTable {
    pub ids: Vec<Id>,
    pub ends: Vec<u32>,
    numbers: HashMap<Id, u32>,
}

impl PackTable {
    /// The number of a pack that is known.
    pub fn find(&self, id: &Id) -> Option<u32> {
        self.numbers.get(id).copied()
    }

    pub fn number(&mut self, id: Id) -> u32 {
        *self.numbers.entry(id).or_insert_with(|| {
            self.ids.push(id);
            self.ends.push(0);
            (self.ids.len() - 1) as u32
        })
    }

    pub fn add(&mut self, id: Id, end: u32) {
        let number = self.number(id) as usize;
        self.ends[number] = self.ends[number].max(end);
    }
}

/// All blobs known to lie in packs.
#[derive(Debug, Default)]
pub(crate) struct Index {
    files: HashSet<Id>,
    packs: PackTable,
    data: HashMap<Id, Place>,
    trees: HashMap<Id, Place>,
    run: Option<Run>,
}

impl Index {
    /// An index that begins with what a run file holds.
    pub fn with_run(run: Run) -> Self {
        let mut packs = PackTable::default();
        for (id, end) in run.packs() {
            packs.add(*id, *end);
        }
        Self { files: run.files().iter().copied().collect(), packs, run: Some(run), ..Self::default() }
    }

    /// The index files that were taken in.
    pub fn files(&self) -> &HashSet<Id> {
        &self.files
    }

    /// Takes in an index file; once only.
    pub fn add_file(&mut self, file: Id, packs: &[IndexedPack]) {
        if !self.files.insert(file) {
            return;
        }
        for pack in packs {
            let number = self.packs.number(pack.id);
            for blob in &pack.blobs {
                let PackedBlob { id, kind, offset, length, uncompressed } = *blob;
                let end = &mut self.packs.ends[number as usize];
                *end = (*end).max(offset.saturating_add(length));
                self.map(kind).insert(id, Place { pack: number, offset, length, uncompressed });
            }
        }
    }

    /// The packs and their numbers.
    pub fn packs(&self) -> &PackTable {
        &self.packs
    }

    /// Number of records in the run file: one more than the greatest [`Slot::Run`].
    pub fn run_len(&self) -> usize {
        self.run.as_ref().map_or(0, Run::len)
    }

    /// Number of blobs; one that lies in memory and in the run file counts twice.
    pub fn len(&self) -> usize {
        self.run_len() + self.data.len() + self.trees.len()
    }

    /// A blob's record and place, if it is known. Fails only when the run file cannot be read.
    pub fn slot(&self, kind: BlobKind, id: &Id) -> Result<Option<(Slot, Place)>> {
        let fresh = if kind == BlobKind::Data { self.data.get(id) } else { self.trees.get(id) };
        match (fresh, &self.run) {
            (Some(place), _) => Ok(Some((Slot::Fresh, *place))),
            (None, Some(run)) => Ok(run.find(kind, id)?.map(|(number, place)| (Slot::Run(number), place))),
            (None, None) => Ok(None),
        }
    }

    /// Where a blob lies, if it is known. Fails only when the run file cannot be read.
    pub fn find(&self, kind: BlobKind, id: &Id) -> Result<Option<Location>> {
        Ok(self.slot(kind, id)?.and_then(|(_, place)| self.location(kind, id, place)))
    }

    /// A place with its pack by name.
    pub fn location(&self, kind: BlobKind, id: &Id, place: Place) -> Option<Location> {
        let Place { pack, offset, length, uncompressed } = place;
        let (pack_id, end) = (self.packs.ids.get(pack as usize)?, self.packs.ends.get(pack as usize)?);
        let blob = PackedBlob { id: *id, kind, offset, length, uncompressed };
        Some(Location { pack: *pack_id, blob, pack_end: *end })
    }

    /// Whether a blob is known.
    pub fn contains(&self, kind: BlobKind, id: &Id) -> Result<bool> {
        let fresh = if kind == BlobKind::Data { &self.data } else { &self.trees };
        match &self.run {
            _ if fresh.contains_key(id) => Ok(true),
            Some(run) => Ok(run.find(kind, id)?.is_some()),
            None => Ok(false),
        }
    }

    /// Whether so much has come together in memory that a new run file is worth its writing.
    pub fn should_spill(&self) -> bool {
        let merged = self.run.as_ref().map_or(0, Run::len);
        self.data.len() + self.trees.len() >= SPILL_BLOBS.max(merged / 8)
    }

    /// Moves everything into a new run file at `path`.
    pub fn spill(&mut self, path: &std::path::Path, key: &RunKey) -> Result<()> {
        let mut fresh = Vec::with_capacity(self.data.len() + self.trees.len());
        for (kind, map) in [(BlobKind::Data, &self.data), (BlobKind::Tree, &self.trees)] {
            fresh.extend(map.iter().map(|(id, place)| key.record(kind, id, *place)));
        }
        fresh.sort_unstable();
        let files: Vec<Id> = self.files.iter().copied().collect();
        let packs: Vec<(Id, u32)> = self.packs.ids.iter().copied().zip(self.packs.ends.iter().copied()).collect();
        Run::write(path, &files, &packs, self.run.as_ref(), &fresh)?;
        self.run = Some(Run::open(path, key)?);
        self.data = HashMap::new();
        self.trees = HashMap::new();
        Ok(())
    }

    fn map(&mut self, kind: BlobKind) -> &mut HashMap<Id, Place> {
        if kind == BlobKind::Data { &mut self.data } else { &mut self.trees }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packs(count: u32) -> Vec<IndexedPack> {
        let blob = |number: u32| PackedBlob {
            id: Id::of(&number.to_le_bytes()),
            kind: if number.is_multiple_of(5) { BlobKind::Tree } else { BlobKind::Data },
            offset: number,
            length: 50 + number,
            uncompressed: number.is_multiple_of(3).then_some(1000 + number),
        };
        vec![IndexedPack { id: Id::of(b"pack"), blobs: (0..count).map(blob).collect() }]
    }

    fn assert_holds(index: &Index, packs: &[IndexedPack]) {
        for pack in packs {
            for blob in &pack.blobs {
                let location = index.find(blob.kind, &blob.id).unwrap().unwrap();
                assert_eq!((location.pack, location.blob), (pack.id, *blob));
                let other = if blob.kind == BlobKind::Data { BlobKind::Tree } else { BlobKind::Data };
                assert!(!index.contains(other, &blob.id).unwrap());
            }
        }
        assert_eq!(index.find(BlobKind::Data, &Id::of(b"unknown")).unwrap(), None);
    }

    #[test]
    fn blobs_are_found_in_memory_and_after_spilling_twice() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run");
        let key = RunKey::new(&[9; 16]);
        let mut index = Index::default();
        let all = packs(1000);
        let (first, second) = all[0].blobs.split_at(600);
        let part = |blobs: &[PackedBlob], name: &[u8]| vec![IndexedPack { id: Id::of(name), blobs: blobs.to_vec() }];
        let (first, second) = (part(first, b"one"), part(second, b"two"));
        index.add_file(Id::of(b"file 1"), &first);
        assert_holds(&index, &first);
        index.spill(&path, &key).unwrap();
        assert_holds(&index, &first);
        index.add_file(Id::of(b"file 2"), &second);
        index.spill(&path, &key).unwrap();
        let reopened = Index::with_run(Run::open(&path, &key).unwrap());
        for index in [&index, &reopened] {
            assert_holds(index, &first);
            assert_holds(index, &second);
            assert_eq!(index.files().len(), 2);
        }
    }
}
